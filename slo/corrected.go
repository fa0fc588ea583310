package slo

import (
	"cmp"
	"slices"
	"time"
)

// A row of an objective with corrections has a second ledger, taken, that holds what they take out
// of its budget: every count is budget − taken, both between the same edges, so that windows,
// alerts and the budget follow. It is filled by the same answers, event by event, so that what was
// declared beforehand is exact.
//
// When corrections change, what they take is worked out anew from the budget's own totals: tick by
// tick as far back as these are known, in proportion to time where an edge falls between two of
// them. Such slots are asked for again, and exact once they are answered.

// effective is a stretch of ticks with what becomes of its events.
type effective struct {
	ticks
	good bool // else they are dropped
}

// effects are the corrections of an objective over a stretch of time.
type effects struct {
	known ticks
	spans []effective // ordered and apart; dropped wins
	each  [][]ticks   // by correction
}

// corrected reports whether an objective has corrections.
func (t *tracked) corrected() bool { return len(t.Corrections) > 0 }

// quantum is to what multiples of ticks the edges of corrections are moved.
func (t *tracked) quantum() int64 {
	if t.Budgeting.Slices() {
		return int64(t.Budgeting.Slice / t.engine.tick)
	}
	return 1
}

// effective are the corrections as they are in (from, to], and a while longer.
func (t *tracked) effective(from, to int64) *effects {
	f := &t.effects
	if f.known.from >= f.known.to || from < f.known.from || to > f.known.to {
		const ahead = 2 * Day
		oldest := min(from, t.lane.head-t.lane.grid.horizon-t.quantum())
		t.engine.touch(t)
		*f = t.effectsOf(t.Corrections, ticks{oldest, max(to, t.lane.head) + int64(ahead/t.engine.tick)})
	}
	return f
}

// effectsOf works out when corrections apply.
func (t *tracked) effectsOf(all []Correction, known ticks) effects {
	f := effects{known: known}
	var drop, good coverage
	q, tickMs := t.quantum(), t.engine.tick.Milliseconds()
	for _, c := range all {
		var own []ticks
		for _, s := range c.When.Within(Span{t.engine.timeOf(known.from), t.engine.timeOf(known.to)}) {
			one := ticks{
				floorDiv(floorDiv(s.From.UnixMilli(), tickMs), q) * q,
				-floorDiv(floorDiv(-s.To.UnixMilli(), tickMs), q) * q,
			}
			if n := len(own); n > 0 && one.from <= own[n-1].to {
				own[n-1].to = max(own[n-1].to, one.to)
			} else {
				own = append(own, one)
			}
			if c.Effect == Good {
				good = good.add(one)
			} else {
				drop = drop.add(one)
			}
		}
		f.each = append(f.each, own)
	}
	for _, d := range drop {
		good = good.cut(d)
		f.spans = append(f.spans, effective{d, false})
	}
	for _, g := range good {
		f.spans = append(f.spans, effective{g, true})
	}
	slices.SortFunc(f.spans, func(a, b effective) int { return cmp.Compare(a.from, b.from) })
	return f
}

// shares are how many ticks of a span are dropped, and how many count as good.
func shares(spans []effective, s ticks) (drop, good int64) {
	i, _ := slices.BinarySearchFunc(spans, s.from, func(e effective, from int64) int { return cmp.Compare(e.to, from+1) })
	for ; i < len(spans) && spans[i].from < s.to; i++ {
		n := min(spans[i].to, s.to) - max(spans[i].from, s.from)
		if spans[i].good {
			good += n
		} else {
			drop += n
		}
	}
	return drop, good
}

// differ are the ticks in which two lists of effects do not say the same.
func differ(a, b []effective, within ticks) coverage {
	var out coverage
	for _, good := range []bool{false, true} {
		of := func(list []effective) (c coverage) {
			for _, e := range list {
				if e.good == good {
					c = c.add(ticks{max(e.from, within.from), min(e.to, within.to)})
				}
			}
			return c
		}
		left, right := of(a), of(b)
		for _, pair := range [2][2]coverage{{left, right}, {right, left}} {
			rest := slices.Clone(pair[0])
			for _, s := range pair[1] {
				rest = rest.cut(s)
			}
			for _, s := range rest {
				out = out.add(s)
			}
		}
	}
	return out
}

// take is what corrections take of entries.
func (f *effects) take(entries []entry) []entry {
	var out []entry
	i := 0
	for _, en := range entries {
		for i < len(f.spans) && f.spans[i].to < en.tick {
			i++
		}
		if i == len(f.spans) {
			break
		}
		if s := f.spans[i]; s.from < en.tick {
			if s.good {
				en.total = 0
			}
			if en.counts != (counts{}) {
				out = append(out, en)
			}
		}
	}
	return out
}

// clip is what corrections take of a spread: the parts of it that lie in them.
type clip struct {
	parts []clipped
}

type clipped struct {
	from, to int64 // ms
	good     bool
}

// clips are spreads as far as they are taken out.
func clips(spans []effective, spreads []spread, tickMs int64) []spread {
	var out []spread
	for _, s := range spreads {
		var c clip
		for _, e := range spans {
			if e.from*tickMs < s.to && e.to*tickMs > s.from {
				c.parts = append(c.parts, clipped{e.from * tickMs, e.to * tickMs, e.good})
			}
		}
		if len(c.parts) > 0 {
			s.clip = &c
			out = append(out, s)
		}
	}
	return out
}

// at is how much of a spread was taken out until ms.
func (c *clip) at(s spread, ms int64) counts {
	s.clip = nil
	var sum counts
	for _, p := range c.parts {
		if ms <= p.from {
			break
		}
		part := s.at(min(ms, p.to)).minus(s.at(p.from))
		if p.good {
			part.total = 0
		}
		sum = sum.plus(part)
	}
	return sum
}

// newTaken is the ledger for what corrections take out of a row.
func (t *tracked) newTaken() *ledger {
	l := &ledger{owner: t}
	l.block = t.lane.room(bare, true)
	l.row = l.take(l)
	return l
}

// correct gives a row the ledger for what corrections take out of it.
func (t *tracked) correct(r *row) {
	r.taken = t.newTaken()
	if j := t.engine.journal; j != nil {
		j.nameless = append(j.nameless, r)
	}
}

// recorrect makes the corrections of an objective the given ones, also for what was counted before.
// old is what was taken out until now.
func (t *tracked) recorrect(old []effective, corrections []Correction) {
	t.Corrections, t.effects = corrections, effects{}
	t.engine.touch(t)
	head, g := t.lane.head, t.lane.grid
	if head != 0 {
		changed := differ(old, t.effective(head-g.horizon, head).spans, ticks{head - g.horizon, head})
		if len(changed) > 0 {
			for _, key := range t.keys {
				t.retake(t.rows[key], changed)
			}
			t.ask(changed)
			for _, s := range changed {
				t.engine.changed(s)
			}
		}
	}
	for _, key := range t.keys {
		switch r := t.rows[key]; {
		case r.taken != nil && !t.corrected():
			t.engine.forgetNumber(&r.takenNumber)
			r.taken.release(r.taken.row)
			r.taken = nil
		case r.taken == nil && t.corrected():
			t.correct(r)
		}
	}
	if !t.corrected() {
		t.approx, t.again = nil, nil
	}
}

// known are the ticks of which a ledger knows the totals, oldest first.
func (l *lane) known() []int64 {
	var out []int64
	l.grid.ticks(l.head-l.grid.horizon, l.head, func(k, _ int64) {
		if step := l.grid.step(k, l.head); k&(step-1) == 0 { // else it is still there, and not looked at any more
			out = append(out, k)
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// retake works out anew what is taken out of a row where corrections changed.
func (t *tracked) retake(r *row, changed coverage) {
	if r.taken == nil {
		t.correct(r)
	}
	l, g, head, tickMs := r.taken, t.lane.grid, t.lane.head, t.engine.tick.Milliseconds()
	spans := t.effects.spans
	l.shift(l.spreads, -1)
	l.spreads = nil
	direct := func(k int64) counts { // of the budget, without its spreads
		c := r.budget.total(k)
		for i := range r.budget.spreads {
			c = c.minus(r.budget.spreads[i].at(k * tickMs))
		}
		return c
	}
	known := t.lane.known()
	sums := make([]counts, len(known)) // by known tick
	for i := 1; i < len(known); i++ {
		slot := ticks{known[i-1], known[i]}
		c := l.total(slot.to).minus(l.total(slot.from))
		if changed.within(slot) > 0 {
			all, width := direct(slot.to).minus(direct(slot.from)), slot.to-slot.from
			drop, good := shares(spans, slot)
			c = counts{scale(all.total, drop, width), scale(all.bad, drop+good, width)}
		}
		sums[i] = sums[i-1].plus(c)
	}
	for slot := range g.slots() {
		l.set(slot, l.row, counts{})
	}
	at := func(k int64) counts {
		i, _ := slices.BinarySearch(known, k)
		return sums[i]
	}
	g.ticks(head-g.horizon, head, func(k, slot int64) { l.set(slot, l.row, at(k)) })
	l.block.now[l.row] = at(head)
	l.spreads = clips(spans, r.budget.spreads, tickMs)
	l.shift(l.spreads, 1)
	for key, h := range r.held {
		if changed.within(ticks{h.at - t.longest(key), h.at}) > 0 {
			delete(r.held, key) // it was taken from other counts
		}
	}
}

// longest is the long window of a pair in ticks; all that is kept, for one that is no more.
func (t *tracked) longest(key pairKey) int64 {
	if key.severity < len(t.policy) && key.pair < len(t.policy[key.severity].Pairs) {
		return int64(t.policy[key.severity].Pairs[key.pair].Long / t.engine.tick)
	}
	return t.lane.grid.horizon
}

// ask notes which slots could be taken out in proportion only, so that they are asked for again.
func (t *tracked) ask(changed coverage) {
	known := t.lane.known()
	for i := 1; i < len(known); i++ {
		slot := ticks{known[i-1], known[i]}
		if changed.within(slot) == 0 {
			continue
		}
		t.approx, t.again = t.approx.cut(slot), t.again.cut(slot)
		drop, good := shares(t.effects.spans, slot)
		whole := slot.to - slot.from
		if drop > 0 && drop < whole || good > 0 && good < whole {
			if !slices.ContainsFunc(t.keys, func(key string) bool { return t.rows[key].budget.count(slot.from, slot.to) != (counts{}) }) {
				continue // nothing to take
			}
			t.approx, t.again = t.approx.add(slot), t.again.add(slot)
			t.engine.approximate[t] = true
		}
	}
}

// answers reports whether an answer may replace what is known of a span that is asked for again. A
// source that has forgotten it meanwhile must not have it forgotten here: what was taken out in
// proportion then stays so.
func (t *tracked) answers(s *Sample, span ticks) bool {
	if t.again.within(span) == 0 {
		return true
	}
	t.again = t.again.cut(span)
	t.engine.touch(t)
	tickMs := t.engine.tick.Milliseconds()
	var got coverage
	for _, c := range s.Covered {
		got = got.add(ticks{max(floorDiv(c.From.UnixMilli(), tickMs), span.from), min(floorDiv(c.To.UnixMilli(), tickMs), span.to)})
	}
	for _, c := range t.history().covered {
		if have := (ticks{max(c.from, span.from), min(c.to, span.to)}); have.from < have.to && got.within(have) < have.to-have.from {
			return false
		}
	}
	return true
}

// retold notes that a span has been answered event by event.
func (t *tracked) retold(span ticks) {
	if len(t.approx) > 0 {
		t.approx, t.again = t.approx.cut(span), t.again.cut(span)
	}
}

// expire lets go of what has left every window.
func (c coverage) expire(old int64) coverage {
	for len(c) > 0 && c[0].to <= old {
		c = c[1:]
	}
	return c
}

// corrections is what Status says of the corrections of an objective.
func (t *tracked) corrections() []CorrectionStatus {
	if !t.corrected() {
		return nil
	}
	head := t.lane.head
	period := ticks{t.plan.from(t.plan.whole, t.lane), head}
	f := t.effective(period.from, head)
	out := make([]CorrectionStatus, len(f.each))
	for i, own := range f.each {
		var applied, approx int64
		for _, s := range own {
			part := ticks{max(s.from, period.from), min(s.to, period.to)}
			if part.from >= part.to {
				continue
			}
			applied += part.to - part.from
			approx += t.approx.within(part)
			out[i].Active = out[i].Active || part.to == head
		}
		out[i].Applied, out[i].Approximate = time.Duration(applied)*t.engine.tick, time.Duration(approx)*t.engine.tick
	}
	return out
}
