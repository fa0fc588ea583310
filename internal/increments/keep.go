package increments

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
)

// Names and Values are a memory as bytes: what seldom changes, and what changes with every span.
// A source that cannot ask for the past keeps them with the answer they belong to.

// memoryFormat is the first byte of both.
const memoryFormat = 1

// Names are the series and targets that are remembered, in order.
func (m *Memory) Names() []byte {
	out := []byte{memoryFormat}
	for _, names := range [][]string{slices.Sorted(maps.Keys(m.last)), slices.Sorted(maps.Keys(m.targets))} {
		out = binary.AppendUvarint(out, uint64(len(names)))
		for _, name := range names {
			out = binary.AppendUvarint(out, uint64(len(name)))
			out = append(out, name...)
		}
	}
	return out
}

// Values are what is remembered of them, in the order of Names.
func (m *Memory) Values() []byte {
	out := []byte{memoryFormat}
	for _, v := range []int64{m.asOf, m.firstLook, m.lastTotal} {
		out = binary.AppendVarint(out, v)
	}
	for _, name := range slices.Sorted(maps.Keys(m.last)) {
		p := m.last[name]
		out = binary.AppendVarint(out, p.T-m.asOf)
		out = binary.AppendVarint(out, p.Start)
		out = binary.BigEndian.AppendUint64(out, math.Float64bits(p.V))
	}
	for _, name := range slices.Sorted(maps.Keys(m.targets)) {
		s := m.targets[name]
		out = binary.AppendVarint(out, s.first)
		out = binary.AppendVarint(out, s.last)
		out = binary.AppendVarint(out, m.started[name])
	}
	return out
}

// Restore replaces the memory by what Names and Values of another one said. Tick and period stay
// its own. After an error it is as it was.
func (m *Memory) Restore(names, values []byte) error {
	n, v := reader{b: names}, reader{b: values}
	if n.byte() != memoryFormat || v.byte() != memoryFormat {
		return errors.New("memory: of another version")
	}
	out := &Memory{
		tick: m.tick, keep: m.keep, asOf: v.varint(), firstLook: v.varint(), lastTotal: v.varint(),
		last: map[string]Point{}, targets: map[string]seen{}, parts: map[string]int64{}, started: map[string]int64{},
	}
	for i := n.uvarint(); i > 0 && !n.short && !v.short; i-- {
		name := n.text()
		out.last[name] = Point{T: v.varint() + out.asOf, Start: v.varint(), V: v.float()}
	}
	for i := n.uvarint(); i > 0 && !n.short && !v.short; i-- {
		name := n.text()
		out.targets[name] = seen{v.varint(), v.varint()}
		if started := v.varint(); started != 0 {
			out.started[name] = started
		}
	}
	if n.short || v.short || len(n.b) > 0 || len(v.b) > 0 {
		return errors.New("memory: cut short, or values of other names")
	}
	out.parted()
	*m = *out
	return nil
}

// reader reads what was appended; short once there was too little.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short, r.b = true, nil
		return make([]byte, min(max(n, 0), 8))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.short, r.b = true, nil
		return ""
	}
	return string(r.take(int(n)))
}

func (r *reader) float() float64 { return math.Float64frombits(binary.BigEndian.Uint64(r.take(8))) }
