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
// ring, else the smallest power of two whose multiples are all still there. It changes between
// blocks of twice its length only, so that every known tick ends a slot that begins at the one
// before it: a state that is restored slot by slot knows them all.
func (g *grid) step(k, head int64) int64 {
	if head-k < g.fine {
		return 1
	}
	for j := int64(0); j < g.rings-1; j++ {
		step := int64(1) << (g.base + uint(j))
		if head-k&^(2*step-1) < (perRing-1)*2*step {
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
