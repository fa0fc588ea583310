package slo

import (
	"math/bits"
	"time"
)

// grid says which moments of the past a ledger still knows: all ticks of the last two hours, then
// ticks that thin out with age, so that the distance between two known ticks is at most 1/129 of
// their age. A window's trailing edge is therefore never off by more than 0.78 % of its length,
// whatever the length, and a longer horizon costs 130 slots per doubling.
//
// Beyond the fine ring, tick k lives in the ring of its trailing zeros: ring j holds the odd
// multiples of 2^(base+j), the last ring all multiples of its step.
type grid struct {
	tick    time.Duration
	fine    int64 // ticks kept without thinning
	base    uint  // log2 of the step of ring 0
	rings   int64 // number of thinned rings
	last    int64 // slots of the last ring
	horizon int64 // ticks for which answers exist
}

const perRing = 130

func newGrid(tick, horizon time.Duration) grid {
	g := grid{tick: tick, fine: max(int64((2*time.Hour+10*time.Minute)/tick), 2*perRing) + 2}
	g.base = uint(bits.Len64(uint64(g.fine/(perRing-1)))) - 1
	g.horizon = int64(horizon/tick) + int64(horizon/tick)/64 + 2
	for g.rings = 1; (perRing-1)<<(uint(g.rings)+g.base) < g.horizon; g.rings++ {
	}
	g.last = g.horizon>>(g.base+uint(g.rings)-1) + 3
	return g
}

func (g *grid) slots() int64 { return g.fine + (g.rings-1)*perRing + g.last }

// coarse is the slot of tick k in the thinned rings, or −1 when it lives in none.
func (g *grid) coarse(k int64) int64 {
	if k&(1<<g.base-1) != 0 {
		return -1
	}
	k >>= g.base
	j := int64(bits.TrailingZeros64(uint64(k)))
	if k == 0 || j >= g.rings-1 {
		return g.fine + (g.rings-1)*perRing + mod(k>>uint(g.rings-1), g.last)
	}
	return g.fine + j*perRing + mod(k>>uint(j+1), perRing)
}

// step is the distance between known ticks around tick k when the newest is head: 1 in the fine
// ring, else the smallest power of two whose multiples are all still there.
func (g *grid) step(k, head int64) int64 {
	if head-k < g.fine {
		return 1
	}
	for j := int64(0); j < g.rings-1; j++ {
		step := int64(1) << (g.base + uint(j))
		if head-k&^(step-1) < (perRing-1)*2*step {
			return step
		}
	}
	return 1 << (g.base + uint(g.rings-1))
}

// ticks calls yield for every known tick after `after`, in no order: the fine ones first. Some
// come twice, with both of their slots.
func (g *grid) ticks(after, head int64, yield func(k, slot int64)) {
	for k := max(after, head-g.fine) + 1; k <= head; k++ {
		yield(k, mod(k, g.fine))
	}
	after = max(after, head-g.horizon)
	for j := int64(0); j < g.rings; j++ {
		step, count := int64(1)<<(g.base+uint(j)), int64(perRing)
		if j == g.rings-1 {
			count = g.last
		}
		stride, first := 2*step, head&^(step-1)
		if j == g.rings-1 {
			stride = step
		} else if first&(2*step-1) == 0 {
			first -= step // the newest odd multiple
		}
		for k, n := first, int64(0); k > after && n < count; k, n = k-stride, n+1 {
			yield(k, g.coarse(k))
		}
	}
}

func mod(k, n int64) int64 {
	if m := k % n; m >= 0 {
		return m
	}
	return k%n + n
}

// counts are events in the ledger's unit.
type counts struct{ total, bad int64 }

func (c counts) plus(d counts) counts  { return counts{c.total + d.total, c.bad + d.bad} }
func (c counts) minus(d counts) counts { return counts{c.total - d.total, c.bad - d.bad} }

// ledger is the memory of one budget: running totals C(k) at the known ticks of its grid. The
// count of a window is a difference of two of them. Totals are integers and may wrap: nothing
// drifts, and only differences mean anything.
type ledger struct {
	grid    *grid
	head    int64    // newest tick; totals hold from here on
	now     counts   // C(head)
	totals  []counts // by slot of the grid
	spreads []spread // still known by the answers that own them
}

// spread is a Spread on the ledger: total and bad events of one series across a gap.
type spread struct {
	from, to int64 // ms
	learned  int64 // tick whose answer owns it
	total    float64
	bad      float64
	unit     float64
}

// at is how much of the spread has happened at tick-time ms: whole events only, all at its end.
func (s *spread) at(ms int64) counts {
	switch {
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

func newLedger(g *grid, head int64) *ledger {
	return &ledger{grid: g, head: head, totals: make([]counts, g.slots())}
}

// advance moves the newest tick on. The ticks between hold what is known: nothing happened.
func (l *ledger) advance(head int64) {
	if head <= l.head {
		return
	}
	if head-l.head > l.grid.horizon+l.grid.fine {
		for i := range l.totals {
			l.totals[i] = l.now
		}
		l.head = head
		return
	}
	old := l.head
	l.head = head
	l.grid.ticks(old, head, func(_, slot int64) { l.totals[slot] = l.now })
}

// edge is C at k or, where k is not known, at the known tick nearest to it: less than 0.4 % of its
// age away. Total and bad are of one instant, and only events that happened are counted: between
// two ticks a mean of both would be neither.
func (l *ledger) edge(k int64) counts {
	if k >= l.head {
		return l.now
	}
	step := l.grid.step(k, l.head)
	if step == 1 {
		return l.totals[mod(k, l.grid.fine)]
	}
	near := (k + step/2) &^ (step - 1)
	if near >= l.head {
		return l.now
	}
	return l.totals[l.grid.coarse(near)]
}

// total is C(k), exact where k is known and interpolated between its known neighbours where not:
// for putting answers whose edges are no longer known.
func (l *ledger) total(k int64) counts {
	if k >= l.head {
		return l.now
	}
	step := l.grid.step(k, l.head)
	if step == 1 {
		return l.totals[mod(k, l.grid.fine)]
	}
	low := k &^ (step - 1)
	lo := l.totals[l.grid.coarse(low)]
	if low == k {
		return lo
	}
	var hi counts
	if high := low + step; high >= l.head {
		hi = l.now
	} else {
		hi = l.totals[l.grid.coarse(high)]
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
// the spreads all that was learned there. Putting the same again changes nothing.
func (l *ledger) put(from, to int64, entries []entry, spreads []spread) {
	if from >= to {
		l.advance(to)
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
	l.shift(gone, -1)
	start := l.total(from) // before a long advance thins out the ticks around it
	l.advance(to)
	l.book(from, to, start, entries, kept)
	l.shift(spreads, 1)
	l.spreads = append(kept, spreads...)
}

// book replaces the direct counts of (from, to], where start is C(from); spreads learned elsewhere
// stay.
func (l *ledger) book(from, to int64, start counts, entries []entry, others []spread) {
	end := l.total(to)
	tickMs := l.grid.tick.Milliseconds()
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
	l.grid.ticks(from, l.head, func(k, slot int64) {
		if k <= to {
			l.totals[slot] = start.plus(foreign(k)).plus(booked(k))
		} else if moved != (counts{}) {
			l.totals[slot] = l.totals[slot].plus(moved)
		}
	})
	l.now = l.now.plus(moved)
}

// shift adds spreads to the totals, or takes them away.
func (l *ledger) shift(spreads []spread, sign int64) {
	tickMs := l.grid.tick.Milliseconds()
	for i := range spreads {
		s := &spreads[i]
		l.grid.ticks(floorDiv(s.from, tickMs), l.head, func(k, slot int64) {
			c := s.at(k * tickMs)
			l.totals[slot] = l.totals[slot].plus(counts{sign * c.total, sign * c.bad})
		})
		c := s.at(l.head * tickMs)
		l.now = l.now.plus(counts{sign * c.total, sign * c.bad})
	}
}

// forget drops spreads that ended before the horizon: their events have left every window.
func (l *ledger) forget() {
	old := (l.head - l.grid.horizon) * l.grid.tick.Milliseconds()
	kept := l.spreads[:0]
	for _, s := range l.spreads {
		if s.to > old {
			kept = append(kept, s)
		}
	}
	l.spreads = kept
}

// regrid is the same history on another grid of the same tick.
func (l *ledger) regrid(g *grid) *ledger {
	out := newLedger(g, l.head)
	out.now, out.spreads = l.now, l.spreads
	oldest := l.head - l.grid.horizon
	first := l.total(oldest)
	for i := range out.totals {
		out.totals[i] = first
	}
	g.ticks(oldest, l.head, func(k, slot int64) { out.totals[slot] = l.total(k) })
	return out
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
