package slo

import (
	"math/bits"
)

// counts are events in the ledger's unit.
type counts struct{ total, bad int64 }

func (c counts) plus(d counts) counts  { return counts{c.total + d.total, c.bad + d.bad} }
func (c counts) minus(d counts) counts { return counts{c.total - d.total, c.bad - d.bad} }

// clamped has bad within [0, total].
func (c counts) clamped() counts {
	c.total = max(c.total, 0)
	c.bad = min(max(c.bad, 0), c.total)
	return c
}

// ledger is the memory of one budget: a row of a block, which holds its running totals C(k) at the
// known ticks of the grid. The count of a window is a difference of two of them. Totals are integers
// and may wrap: nothing drifts, and only differences mean anything.
type ledger struct {
	*block
	row     int
	owner   *tracked
	spreads []spread // still known by the answers that own them
}

// spread is a Spread on the ledger: total and bad events of one series across a gap.
type spread struct {
	from, to int64 // ms
	learned  int64 // tick whose answer owns it
	total    float64
	bad      float64
	unit     float64
	clip     *clip // the parts that count; nil: all of it
}

// at is how much of the spread has happened at tick-time ms: whole events only, all at its end.
func (s *spread) at(ms int64) counts {
	switch {
	case s.clip != nil:
		return s.clip.at(*s, ms)
	case ms <= s.from:
		return counts{}
	case ms >= s.to:
		return counts{quantise(s.total, s.unit), quantise(s.bad, s.unit)}
	}
	// Integers as long as they are: x = part/gap, ⌊x·n⌋ = ⌊n·part/gap⌋.
	part, gap := ms-s.from, s.to-s.from
	return counts{quantise(wholeShare(s.total, part, gap), s.unit), quantise(wholeShare(s.bad, part, gap), s.unit)}
}

func wholeShare(n float64, part, gap int64) float64 {
	if n < 0 {
		return -wholeShare(-n, part, gap)
	}
	if n >= 1<<62 {
		return n / float64(gap) * float64(part)
	}
	hi, lo := bits.Mul64(uint64(n), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(gap))
	return float64(q)
}

// name gives the ledger's row its number on disk.
func (l *ledger) name(number uint32) { l.numbers[l.row] = number }

// now is C(head).
func (l *ledger) now() counts { return l.block.now[l.row] }

// edge is C at k or, where k is not known, at the known tick nearest to it: less than 0.4 % of its
// age away. Total and bad are of one instant, and only events that happened are counted: between
// two ticks a mean of both would be neither.
func (l *ledger) edge(k int64) counts {
	slot := l.lane.edge(k)
	if slot < 0 {
		return l.now()
	}
	return l.get(slot, l.row)
}

// total is C(k), exact where k is known and interpolated between its known neighbours where not:
// for putting answers whose edges are no longer known.
func (l *ledger) total(k int64) counts {
	g, head := l.lane.grid, l.lane.head
	if k >= head {
		return l.now()
	}
	step := g.step(k, head)
	if step == 1 {
		return l.get(mod(k, g.fine), l.row)
	}
	low := k &^ (step - 1)
	lo := l.get(g.coarse(low), l.row)
	if low == k {
		return lo
	}
	var hi counts
	if high := low + step; high >= head {
		hi = l.now()
	} else {
		hi = l.get(g.coarse(high), l.row)
	}
	d := hi.minus(lo)
	return lo.plus(counts{scale(d.total, k-low, step), scale(d.bad, k-low, step)})
}

// scale is ⌊n·part/whole⌋ without overflow; whole is a power of two.
func scale(n, part, whole int64) int64 {
	if n < 0 {
		return -scale(-n, part, whole)
	}
	hi, lo := bits.Mul64(uint64(n), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return int64(q)
}

// count is what happened in the ticks (from, to], or between the known ticks nearest to them.
func (l *ledger) count(from, to int64) counts { return l.edge(to).minus(l.edge(from)) }

// entry is a booked increment: so many at a tick.
type entry struct {
	tick int64
	counts
}

// put replaces what is known of the ticks (from, to]: the entries are all that was booked there,
// the spreads all that was learned there. Putting the same again changes nothing. The lane has come
// to `to` already; told is the newest tick that the objective was ever told about, after which
// nothing is booked.
func (l *ledger) put(from, to, told int64, entries []entry, spreads []spread) {
	if from >= to {
		return
	}
	kept := l.spreads[:0:0]
	var gone []spread
	for _, s := range l.spreads {
		if s.learned > from && s.learned <= to {
			gone = append(gone, s)
		} else {
			kept = append(kept, s)
		}
	}
	l.widen(entries, spreads)
	l.shift(gone, -1)
	start := l.now()
	if from < told { // else nothing has happened since: exact, however long ago it is
		start = l.total(from)
	}
	l.book(from, to, start, entries, kept)
	l.shift(spreads, 1)
	l.spreads = append(kept, spreads...)
	if len(l.spreads) > 0 {
		l.owner.engine.spreading[l.owner] = true
	}
}

// book replaces the direct counts of (from, to], where start is C(from); spreads learned elsewhere
// stay.
func (l *ledger) book(from, to int64, start counts, entries []entry, others []spread) {
	end := l.total(to)
	tickMs := l.lane.grid.tick.Milliseconds()
	foreign := func(k int64) counts {
		var c counts
		for i := range others {
			if others[i].from >= to*tickMs || others[i].to <= from*tickMs {
				continue
			}
			c = c.plus(others[i].at(k * tickMs)).minus(others[i].at(from * tickMs))
		}
		return c
	}
	sums := make([]counts, len(entries)+1)
	for i, e := range entries {
		sums[i+1] = sums[i].plus(e.counts)
	}
	booked := func(k int64) counts {
		lo, hi := 0, len(entries) // the entries at or before k
		for lo < hi {
			if mid := (lo + hi) / 2; entries[mid].tick <= k {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		return sums[lo]
	}
	after := start.plus(foreign(to)).plus(sums[len(entries)])
	moved := after.minus(end)
	l.lane.grid.ticks(from, l.lane.head, func(k, slot int64) {
		if k <= to {
			l.set(slot, l.row, start.plus(foreign(k)).plus(booked(k)))
		} else if moved != (counts{}) {
			l.set(slot, l.row, l.get(slot, l.row).plus(moved))
		}
	})
	l.block.now[l.row] = l.now().plus(moved)
}

// shift adds spreads to the totals, or takes them away.
func (l *ledger) shift(spreads []spread, sign int64) {
	tickMs := l.lane.grid.tick.Milliseconds()
	for i := range spreads {
		s := &spreads[i]
		l.lane.grid.ticks(floorDiv(s.from, tickMs), l.lane.head, func(k, slot int64) {
			c := s.at(k * tickMs)
			l.set(slot, l.row, l.get(slot, l.row).plus(counts{sign * c.total, sign * c.bad}))
		})
		c := s.at(l.lane.head * tickMs)
		l.block.now[l.row] = l.now().plus(counts{sign * c.total, sign * c.bad})
	}
}

// forget drops spreads that ended before the horizon: their events have left every window.
func (l *ledger) forget() {
	old := (l.lane.head - l.lane.grid.horizon) * l.lane.grid.tick.Milliseconds()
	kept := l.spreads[:0]
	for _, s := range l.spreads {
		if s.to > old {
			kept = append(kept, s)
		}
	}
	l.spreads = kept
}

// move takes the ledger to a row of another block, with its history as far as both lanes know it.
// Its lane must not be ahead of the other's.
func (l *ledger) move(to *block) {
	from, old := l.block, l.row
	row := to.take(l)
	to.now[row], to.numbers[row] = from.now[old], from.numbers[old]
	if *from.lane.grid == *to.lane.grid && from.lane.head == to.lane.head {
		for slot := range from.lane.grid.slots() {
			to.set(slot, row, from.get(slot, old))
		}
	} else {
		g, head := to.lane.grid, to.lane.head
		oldest := max(head-g.horizon, from.lane.head-from.lane.grid.horizon)
		first := l.total(oldest)
		for slot := range g.slots() {
			to.set(slot, row, first)
		}
		g.ticks(oldest, head, func(k, slot int64) { to.set(slot, row, l.total(k)) })
	}
	to.low[row] = l.total(max(to.lane.head-to.lane.grid.horizon, 0)).total
	l.block, l.row = to, row
	from.release(old)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
