package slo

import "slices"

// ticks is the half-open interval (from, to] of whole ticks.
type ticks struct{ from, to int64 }

// coverage is a set of ticks, kept as ordered spans that do not touch.
type coverage []ticks

// add puts a span into the set.
func (c coverage) add(s ticks) coverage {
	if s.from >= s.to {
		return c
	}
	// The common case: the newest span grows.
	if n := len(c); n > 0 && c[n-1].from <= s.from && c[n-1].to >= s.from {
		c[n-1].to = max(c[n-1].to, s.to)
		return c
	}
	i, _ := slices.BinarySearchFunc(c, s.from, func(t ticks, from int64) int {
		if t.to < from {
			return -1
		}
		return 1
	})
	j := i
	for j < len(c) && c[j].from <= s.to {
		s = ticks{min(s.from, c[j].from), max(s.to, c[j].to)}
		j++
	}
	return slices.Replace(c, i, j, s)
}

// cut takes a span out of the set.
func (c coverage) cut(s ticks) coverage {
	if s.from >= s.to || len(c) == 0 || c[len(c)-1].to <= s.from {
		return c
	}
	out := make(coverage, 0, len(c)+1)
	for _, t := range c {
		if left := (ticks{t.from, min(t.to, s.from)}); left.from < left.to {
			out = append(out, left)
		}
		if right := (ticks{max(t.from, s.to), t.to}); right.from < right.to {
			out = append(out, right)
		}
	}
	return out
}

// within is how many ticks of the span are in the set.
func (c coverage) within(s ticks) int64 {
	n := int64(0)
	for i := len(c) - 1; i >= 0 && c[i].to > s.from; i-- {
		if lo, hi := max(c[i].from, s.from), min(c[i].to, s.to); lo < hi {
			n += hi - lo
		}
	}
	return n
}

// newest is the last tick at or before k that is in the set; ok is false without one.
func (c coverage) newest(k int64) (tick int64, ok bool) {
	for i := len(c) - 1; i >= 0; i-- {
		if c[i].from < k {
			return min(c[i].to, k), true
		}
	}
	return 0, false
}

// missing are the parts of the span that are not in the set.
func (c coverage) missing(s ticks) []ticks {
	var out []ticks
	for _, t := range c {
		if t.to <= s.from {
			continue
		}
		if t.from >= s.to {
			break
		}
		if s.from < t.from {
			out = append(out, ticks{s.from, t.from})
		}
		s.from = t.to
	}
	if s.from < s.to {
		out = append(out, s)
	}
	return out
}

// forget drops everything at or before a tick.
func (c coverage) forget(old int64) coverage {
	for len(c) > 0 && c[0].to <= old {
		c = c[1:]
	}
	if len(c) > 0 && c[0].from < old {
		c[0].from = old
	}
	return c
}
