package promapi

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"strconv"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/increments"
)

// memo remembers the labels of series by the text in which a server writes them. The same question
// is answered by the same series in the same order again and again, so that of most series nothing
// is read but that they are the next one. It is of use for one answer at a time.
//
// There may be many of them for a long time, so there are few pointers: they would cost the garbage
// collector more than they are worth.
type memo struct {
	buf, word []byte   // of the scanner
	list      []series // of the last answer; the next one is read into it

	texts   []byte // of all metrics
	metrics []metric
	known   map[uint64]int32 // by the hash of the text; of two with one hash, one
	seed    maphash.Seed

	last  int32 // that came, as an index and one more; 0: none
	first int32 // of the present answer
}

// metric is the beginning of a series: the text {"metric":{…} with the labels that it says.
type metric struct {
	labels          labels.Labels
	from, to        int32 // its place in texts
	next            int32 // what followed it last time, as an index and one more
	series, samples int32 // of the last answer that began with it
}

// maxList bounds the list of series that waits for the next answer: 4 MB.
const maxList = 1 << 16

// forget lets go of what the last answer's series hold.
func (m *memo) forget() {
	clear(m.list)
	m.list = m.list[:0]
	if cap(m.list) > maxList {
		m.list = nil
	}
}

// maxMemo bounds the texts that are remembered, in bytes: some 100,000 series. Beyond it all is
// learnt anew, so that series that have gone do not stay for ever.
const maxMemo = 16 << 20

// learn notes the labels of a text, if it is what a series begins with and not more.
func (m *memo) learn(text []byte, l labels.Labels) {
	if !bytes.HasPrefix(text, []byte(`{"metric":{`)) {
		return // white space, which no server writes
	}
	if len(m.texts)+len(text) > maxMemo || m.known == nil {
		*m = memo{buf: m.buf, word: m.word, list: m.list, known: map[uint64]int32{}, seed: maphash.MakeSeed()}
		if len(text) > maxMemo {
			return
		}
	}
	from := int32(len(m.texts))
	m.texts = append(m.texts, text...)
	m.metrics = append(m.metrics, metric{labels: l, from: from, to: int32(len(m.texts))})
	m.known[maphash.Bytes(m.seed, text)] = int32(len(m.metrics))
	m.came(int32(len(m.metrics)))
}

// came notes which one came.
func (m *memo) came(one int32) {
	if m.last != 0 {
		m.metrics[m.last-1].next = one
	}
	if m.first == 0 {
		m.first = one
	}
	m.last = one
}

// end notes how long an answer was.
func (m *memo) end(a *answer) {
	m.list = a.series
	if m.first != 0 {
		one := &m.metrics[m.first-1]
		one.series, one.samples = int32(len(a.series)), int32(min(a.samples, 1<<20))
		m.first = 0
	}
}

// begins reports whether text begins with a metric's. Then it says the same labels: the braces of the
// metric's are closed.
func (m *memo) begins(text []byte, one int32) bool {
	known := m.texts[m.metrics[one-1].from:m.metrics[one-1].to]
	return len(text) >= len(known) && bytes.Equal(text[:len(known)], known)
}

// expected is the metric that text begins with, if it is known; else 0.
func (m *memo) expected(text []byte) int32 {
	if m.last != 0 {
		if one := m.metrics[m.last-1].next; one != 0 && m.begins(text, one) {
			return one
		}
	}
	end := bytes.IndexByte(text, '}') // one within a label's value is no end, and then nothing is found
	if end < 0 || len(m.metrics) == 0 {
		return 0
	}
	if one := m.known[maphash.Bytes(m.seed, text[:end+1])]; one != 0 && m.begins(text, one) {
		return one
	}
	return 0
}

// quick takes series whose labels are known and whose samples are few, as long as they are written as
// servers write them. It takes nothing of what is written otherwise.
func (s *scanner) quick(a *answer) bool {
	m, comma := s.memo, 0
	for {
		if s.end-s.pos < oneGo {
			s.ahead()
		}
		text := s.buf[s.pos+comma : s.end]
		index := m.expected(text)
		if index == 0 {
			return comma > 0
		}
		found := &m.metrics[index-1]
		if len(a.series) == 0 {
			s.points = make([]increments.Point, found.samples)
			if cap(a.series) < int(found.series) {
				a.series = make([]series, 0, found.series)
			}
		}
		length := int(found.to - found.from)
		floats, width := s.brief(text[length:])
		if width == 0 {
			return comma > 0
		}
		m.came(index)
		a.samples += len(floats)
		if len(a.series) == cap(a.series) {
			a.series = slices.Grow(a.series, 1)
		}
		a.series = a.series[:len(a.series)+1]
		one := &a.series[len(a.series)-1]
		one.labels, one.floats, one.hists = found.labels, floats, nil

		s.pos += comma + length + width
		if s.end-s.pos < 2 || s.buf[s.pos] != ',' || s.buf[s.pos+1] != '{' {
			return true
		}
		comma = 1 // taken with the next one, or not at all
	}
}

// brief reads the rest of a series that is one sample or a few, written without white space. Its width
// is 0 where something else stands there.
func (s *scanner) brief(text []byte) (floats []increments.Point, width int) {
	const value, values, end = `,"value":`, `,"values":[`, "]}"
	switch {
	case len(text) > len(value) && string(text[:len(value)]) == value:
		t, v, w := s.pair(text[len(value):])
		if width = len(value) + w; w == 0 || width >= len(text) || text[width] != '}' {
			return nil, 0
		}
		floats = s.room(1)[:1]
		floats[0] = increments.Point{T: t, V: v}
		return floats, width + 1
	case len(text) > len(values) && string(text[:len(values)]) == values:
		width = len(values)
	default:
		return nil, 0
	}
	var some [8]increments.Point
	n := 0
	for more := true; more; n++ {
		if n == len(some) {
			return nil, 0
		}
		t, v, w := s.pair(text[width:])
		if w == 0 || n > 0 && some[n-1].T > t {
			return nil, 0
		}
		some[n] = increments.Point{T: t, V: v}
		width += w
		more = width < len(text) && text[width] == ','
		if more {
			width++
		}
	}
	if !bytes.HasPrefix(text[width:], []byte(end)) {
		return nil, 0
	}
	return append(s.room(n), some[:n]...), width + len(end)
}

// pair reads [1772323230.123,"37"], a time with at most three digits behind the point and a number.
// Its width is 0 where something else stands there.
func (s *scanner) pair(text []byte) (t int64, v float64, width int) {
	// The results of one question mostly bear one time.
	if p := &s.stamp; p.width > 0 && len(text) > p.width && string(text[:p.width]) == string(p.text[:p.width]) {
		t, width = p.t, p.width
	} else if t, width = stamp(text); width == 0 {
		return 0, 0, 0
	} else if width <= len(p.text) {
		p.t, p.width = t, copy(p.text[:], text[:width])
	}
	v, n := number(text[width:])
	if width += n; n == 0 || len(text) < width+2 || text[width] != '"' || text[width+1] != ']' {
		return 0, 0, 0
	}
	return t, v, width + 2
}

// number reads the digits up to a quotation mark as strconv.ParseFloat does. Its width is 0 where
// something else stands there, or more than 32 bytes.
func number(text []byte) (v float64, width int) {
	n, width := run(text)
	if width > 0 && width < len(text) {
		switch text[width] {
		case '"':
			if width <= 15 {
				return float64(n), width
			}
		case '.':
			// 15 digits and the powers of ten up to 1e22 are exact in a float64, so that one division
			// rounds once: to the nearest, as it must be. (W. Clinger, How to read floating point
			// numbers accurately, 1990.)
			f, w := run(text[width+1:])
			if end := width + 1 + w; w > 0 && width+w <= 15 && end < len(text) && text[end] == '"' {
				return float64(n*powers[w]+f) / float64(powers[w]), end
			}
		}
	}
	width = bytes.IndexByte(text[:min(len(text), 33)], '"')
	if width <= 0 {
		return 0, 0
	}
	v, err := strconv.ParseFloat(string(text[:width]), 64)
	if err != nil {
		return 0, 0
	}
	return v, width
}

// powers of ten.
var powers = [...]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// run reads as many digits as there are, up to 16.
func run(text []byte) (n int64, width int) {
	for len(text)-width >= 8 && width <= 8 {
		eight, w := eightDigits(binary.LittleEndian.Uint64(text[width:]))
		n, width = n*powers[w]+eight, width+w
		if w < 8 {
			return n, width
		}
	}
	for ; width < len(text) && width < 16; width++ {
		c := text[width] - '0'
		if c > 9 {
			break
		}
		n = n*10 + int64(c)
	}
	return n, width
}

// eightDigits reads the digits that eight bytes begin with, all at once. The first is the lowest byte.
func eightDigits(x uint64) (n int64, width int) {
	x ^= 0x3030303030303030 // digits are 0 to 9 now
	// Adding 0x76 sets the highest bit of what is above 9. What it carries over goes up, behind the first such byte.
	width = bits.TrailingZeros64(((x+0x7676767676767676)|x)&0x8080808080808080) / 8
	x <<= 64 - 8*width // zeros go before them
	x = (x*10 + x>>8) & 0x00ff00ff00ff00ff
	x = (x*100 + x>>16) & 0x0000ffff0000ffff
	return int64((x*10000 + x>>32) & 0xffffffff), width
}

// stamp reads [1772323230.123," as milliseconds.
func stamp(text []byte) (t int64, width int) {
	end := bytes.IndexByte(text[:min(len(text), 24)], ',')
	if end < 2 || text[0] != '[' || len(text) < end+2 || text[end+1] != '"' {
		return 0, 0
	}
	whole, fraction, dot := bytes.Cut(text[1:end], []byte{'.'})
	t, ok := digits(whole)
	if !ok || len(whole) > 12 {
		return 0, 0
	}
	t *= 1000
	if dot {
		ms, ok := digits(fraction)
		if !ok || len(fraction) > 3 {
			return 0, 0
		}
		for range 3 - len(fraction) {
			ms *= 10
		}
		t += ms
	}
	return t, end + 2
}

// memos are lent to one answer at a time.
type memos struct {
	mu    sync.Mutex
	spare []*memo
}

func (m *memos) borrow() *memo {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last := len(m.spare) - 1; last >= 0 {
		one := m.spare[last]
		m.spare = m.spare[:last]
		return one
	}
	return &memo{}
}

func (m *memos) give(one *memo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.spare) < 4 {
		m.spare = append(m.spare, one)
	}
}
