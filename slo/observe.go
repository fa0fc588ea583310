package slo

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Observe puts answers: each replaces what was known of its span. Answers with Err, for unknown
// objectives or for spans off the ticks change nothing; the last two are errors.
//
// Answers of one turn are put the quicker the more of them come together, in the order of Set.
func (e *Engine) Observe(samples ...Sample) error {
	turn := turn{engine: e}
	for i := range samples {
		s := &samples[i]
		if turn.next >= len(e.seats) || e.seats[turn.next].name != s.SLO {
			t := e.byName[s.SLO]
			if t == nil {
				return fmt.Errorf("slo %q: answer for an unknown objective", s.SLO)
			}
			turn.next = t.place
		}
		at := turn.next
		turn.next++
		if s.Err != nil {
			continue
		}
		if !s.Span.same(&turn.span) {
			from, ok1 := e.ticksAt(s.Span.From)
			to, ok2 := e.ticksAt(s.Span.To)
			if !ok1 || !ok2 || from > to {
				return fmt.Errorf("slo %s: answer for %s, which does not lie on whole ticks of %s", s.SLO, s.Span, e.tick)
			}
			turn.begin(s.Span, ticks{from, to})
		}
		if !turn.add(s, &e.seats[at], &e.latest[at]) {
			e.inOrder[at].observe(s, turn.ticks)
		}
	}
	return nil
}

// turn is a run of answers for one span.
type turn struct {
	engine *Engine
	next   int // place of the objective that is expected
	span   Span
	ticks  ticks
	from   int64 // ms
	to     int64
	single bool // it is one tick, after watching of all began
	noted  bool // in the journal
}

func (u *turn) begin(span Span, t ticks) {
	u.span, u.ticks, u.noted = span, t, false
	u.from, u.to = span.From.UnixMilli(), span.To.UnixMilli()
	u.single = t.to == t.from+1 && u.from >= u.engine.watching
}

// add puts an answer the short way: one whole new tick of an objective without groups, counted
// event by event. It reports false, and has done nothing, for everything else.
func (u *turn) add(s *Sample, seat *seat, last *latest) bool {
	b, h := seat.block, seat.history
	if b == nil || !u.single || last.told >= u.ticks.to || len(s.Groups) > 1 || s.Note != "" || seat.noted ||
		len(s.Covered) != 1 || !s.Covered[0].same(&u.span) {
		return false
	}
	var sum counts
	if len(s.Groups) == 1 {
		g := &s.Groups[0]
		if len(g.Spreads) > 0 || len(g.Labels) > 0 {
			return false
		}
		unit := 1.0
		if b.wide {
			unit = b.owners[seat.row].owner.unit
		}
		for i := range g.Increments {
			inc := &g.Increments[i]
			if inc.At != u.span.To {
				if at := inc.At.UnixMilli(); at <= u.from || at > u.to {
					return false
				}
			}
			sum.total += whole(inc.Total * unit)
			sum.bad += whole(inc.Bad * unit)
		}
	}
	most := int64(step)
	if b.wide {
		most = 1 << 52
	}
	if uint64(sum.bad) > uint64(sum.total) || uint64(sum.total) >= uint64(most) { // below 0, too
		return false
	}
	if u.ticks.to != b.lane.head {
		if u.ticks.to < b.lane.head {
			return false
		}
		u.engine.come(b.lane, u.ticks.to)
	}
	if h.coming != u.ticks {
		u.engine.settleOne(h)
		if h = seat.history; len(h.asked) > 0 && h.asked[len(h.asked)-1].to > u.ticks.from {
			return false
		}
		h.coming = u.ticks
	}
	h.answered++
	now := &b.now[seat.row]
	now.total += sum.total
	now.bad += sum.bad
	last.told = u.ticks.to
	newest := u.to
	if s.Newest != u.span.To {
		newest = unixMilli(s.Newest)
	}
	last.newest = max(last.newest, newest)
	if !u.noted {
		u.noted = true
		u.engine.changed(u.ticks)
	}
	return true
}

// whole is v as quantise has it, quick where there is nothing to round.
func whole(v float64) int64 {
	if n := int64(v); float64(n) == v {
		return n
	}
	return quantise(v, 1)
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// come moves a lane on to a tick, stopping where a pair loses its coverage on the way.
func (e *Engine) come(l *lane, to int64) {
	if to <= l.head {
		return
	}
	e.leap(l, to)
	l.advance(to)
}

// own is the history of an objective, shared with nobody.
func (t *tracked) own() *history {
	e, s := t.engine, &t.engine.seats[t.place]
	h := s.history
	if h.members == 1 {
		e.settleOne(h)
		return s.history
	}
	n := h.clone()
	n.members = 1
	if h.coming != (ticks{}) && e.latest[t.place].told == h.coming.to {
		n.apply(h.coming)
		h.answered--
	}
	h.members--
	s.history = n
	e.histories = append(e.histories, n)
	return n
}

// history is for looking at: nothing is coming.
func (t *tracked) history() *history {
	s := &t.engine.seats[t.place]
	t.engine.settleOne(s.history)
	return s.history
}

func (h *history) clone() *history {
	return &history{lane: h.lane, covered: slices.Clone(h.covered), asked: slices.Clone(h.asked)}
}

// settleOne puts what is coming into a history. Members that were not told of it part from it.
func (e *Engine) settleOne(h *history) {
	if h.coming == (ticks{}) {
		return
	}
	if h.answered < h.members {
		rest := h.clone()
		for i := range e.seats {
			if s := &e.seats[i]; s.history == h && e.latest[i].told != h.coming.to {
				s.history = rest
				rest.members++
			}
		}
		h.members -= rest.members
		e.histories = append(e.histories, rest)
	}
	h.apply(h.coming)
	h.coming, h.answered = ticks{}, 0
}

// settle puts what is coming into all histories, and has those that say the same be one.
func (e *Engine) settle() {
	for i := 0; i < len(e.histories); i++ {
		e.settleOne(e.histories[i])
	}
	if len(e.histories) < 2 {
		return
	}
	var moved map[*history]*history
	known := make(map[[5]int64]*history, len(e.histories))
	kept := e.histories[:0]
	for _, h := range e.histories {
		if h.members == 0 {
			continue
		}
		print := h.print()
		if first := known[print]; first == nil {
			known[print] = h
		} else if first.same(h) {
			if moved == nil {
				moved = map[*history]*history{}
			}
			moved[h] = first
			first.members += h.members
			continue
		}
		kept = append(kept, h)
	}
	clear(e.histories[len(kept):])
	e.histories = kept
	if moved == nil {
		return
	}
	for i := range e.seats {
		if first := moved[e.seats[i].history]; first != nil {
			e.seats[i].history = first
		}
	}
}

func (e *Engine) ticksAt(at time.Time) (int64, bool) {
	ms, tick := at.UnixMilli(), e.tick.Milliseconds()
	return floorDiv(ms, tick), mod(ms, tick) == 0
}

// observe puts an answer of any kind.
func (t *tracked) observe(s *Sample, span ticks) {
	e, seat, last := t.engine, &t.engine.seats[t.place], &t.engine.latest[t.place]
	tickMs := e.tick.Milliseconds()
	e.come(t.lane, span.to)
	head := t.lane.head
	if span.to <= head-t.lane.grid.horizon {
		return // before every window
	}
	if !t.answers(s, span) {
		return
	}
	h := t.own()
	fresh := h.asked.within(span) == 0 // nothing known: rows without events need no put
	h.asked = h.asked.cut(span).add(span)
	h.covered = h.covered.cut(span)
	for _, c := range s.Covered {
		from, to := floorDiv(c.From.UnixMilli(), tickMs), floorDiv(c.To.UnixMilli(), tickMs)
		h.covered = h.covered.add(ticks{max(from, span.from), min(to, span.to)})
	}
	h.stale()
	last.newest = max(last.newest, unixMilli(s.Newest))
	told := last.told
	last.told = max(told, span.to)
	if span.to >= told {
		t.note, seat.noted = s.Note, s.Note != ""
	}

	answers := t.fold(s, span, tickMs)
	touched := span
	if t.Budgeting.Slices() {
		touched.from -= int64(t.Budgeting.Slice / e.tick)
	}
	for _, key := range t.keys { // spreads reach back, those that go and those that come
		for _, sp := range t.rows[key].events.spreads {
			if sp.learned > span.from && sp.learned <= span.to {
				touched.from = min(touched.from, floorDiv(sp.from, tickMs))
			}
		}
		for _, sp := range answers[key].spreads {
			touched.from = min(touched.from, floorDiv(sp.from, tickMs))
		}
	}
	e.changed(touched)
	e.touch(t)
	for _, key := range t.keys {
		r := t.rows[key]
		a, ok := answers[key]
		if !ok && fresh && !t.Budgeting.Slices() {
			continue
		}
		for key, h := range r.held {
			if span.from < h.at {
				delete(r.held, key) // what it was taken from is revised
			}
		}
		reach := span.from
		for _, sp := range r.events.spreads {
			if sp.learned > span.from && sp.learned <= span.to {
				reach = min(reach, floorDiv(sp.from, tickMs))
			}
		}
		for _, sp := range a.spreads {
			reach = min(reach, floorDiv(sp.from, tickMs))
		}
		seen := r.seen()
		watched := t.watches(r, min(reach, touched.from), floorDiv(t.watching, tickMs))
		before := watched()
		r.events.put(span.from, span.to, told, a.entries, a.spreads)
		if len(t.GroupBy) > 0 && a.lastHit > r.lastHit {
			r.lastHit = a.lastHit
			e.moved(r)
		}
		if t.Budgeting.Slices() {
			t.slice(r, span, reach, a)
		} else if r.taken != nil {
			f := t.effective(reach, span.to)
			r.taken.put(span.from, span.to, told, f.take(a.entries), clips(f.spans, a.spreads, tickMs))
		}
		after := watched()
		seen.total += max(0, after.total-before.total)
		seen.bad += max(0, min(after.bad-before.bad, after.total-before.total))
		since0 := seen.minus(r.budget.now())
		if since0 != r.since0 || e.journal != nil && min(reach, touched.from) < e.journal.base[t.lane] {
			r.since0 = since0
			e.moved(r)
		}
	}
	t.retold(span)
}

// moved notes that a row's counters have moved otherwise than its counts.
func (e *Engine) moved(r *row) {
	if e.journal != nil {
		e.journal.moved[r] = true
	}
}

// watches is how to see what the budget has counted since watching began, before and after an
// answer that reaches back to a tick. What lies wholly after that moment moves the newest total by
// just as much. Else both looks are taken from the same old moment: what is put for the time before
// it moves both ends and leaves the difference alone.
func (t *tracked) watches(r *row, reach, watching int64) func() counts {
	if reach >= watching {
		return func() counts { return r.budget.now() }
	}
	base := max(watching, t.lane.head-t.lane.grid.horizon)
	return func() counts { return r.budget.now().minus(r.budget.total(base)) }
}

// answered is one row's part of an answer.
type answered struct {
	entries []entry
	spreads []spread
	lastHit int64
}

// fold brings an answer to the rows: quantised, clamped, groups beyond the limit together.
func (t *tracked) fold(s *Sample, span ticks, tickMs int64) map[string]answered {
	out := make(map[string]answered, len(s.Groups))
	for i := range s.Groups {
		g := &s.Groups[i]
		if len(g.Labels) != len(t.GroupBy) {
			continue
		}
		a := t.book(g, span, tickMs)
		if len(a.entries) == 0 && len(a.spreads) == 0 {
			continue
		}
		labels := g.Labels
		key := strings.Join(labels, "\xff")
		if _, known := t.rows[key]; !known && len(labels) > 0 {
			if _, before := t.folded[key]; before || t.kept() >= t.limit() || isOther(labels) {
				if !isOther(labels) && len(t.folded) < maxFolded {
					t.folded[key] = max(t.folded[key], a.lastHit)
				}
				labels = t.other()
				key = t.otherKey()
			}
		}
		t.row(labels)
		if old, ok := out[key]; ok {
			a = merge(old, a)
		}
		out[key] = a
	}
	return out
}

// book turns a group's increments into entries on whole ticks, in the objective's unit.
func (t *tracked) book(g *GroupSample, span ticks, tickMs int64) answered {
	var a answered
	for _, inc := range g.Increments {
		tick := -floorDiv(-inc.At.UnixMilli(), tickMs) // the slot that holds it ends here
		if tick <= span.from || tick > span.to {
			continue
		}
		c := counts{quantise(inc.Total, t.unit), quantise(inc.Bad, t.unit)}
		if n := len(a.entries); n > 0 && a.entries[n-1].tick == tick {
			a.entries[n-1].counts = a.entries[n-1].plus(c)
			continue
		}
		a.entries = append(a.entries, entry{tick, c})
	}
	if !slices.IsSortedFunc(a.entries, byTick) {
		slices.SortStableFunc(a.entries, byTick)
		a = merge(answered{}, a)
	}
	kept := a.entries[:0]
	for _, en := range a.entries {
		if c := (counts{max(en.total, 0), min(max(en.bad, 0), max(en.total, 0))}); c != en.counts {
			en.counts = c
			t.clamped++
		}
		if en.counts == (counts{}) {
			continue
		}
		a.lastHit = max(a.lastHit, en.tick)
		kept = append(kept, en)
	}
	a.entries = kept
	for _, sp := range g.Spreads {
		learned := -floorDiv(-sp.To.UnixMilli(), tickMs)
		if learned <= span.from || learned > span.to || !sp.To.After(sp.From) {
			continue
		}
		a.spreads = append(a.spreads, spread{
			from: sp.From.UnixMilli(), to: sp.To.UnixMilli(), learned: learned,
			total: sp.Total, bad: sp.Bad, unit: t.unit,
		})
		a.lastHit = max(a.lastHit, learned)
	}
	t.clampSpreads(a.spreads)
	return a
}

// clampSpreads keeps the bad events of a gap within its events, as those of a slot are: an excess
// must not eat, or make, errors elsewhere.
func (t *tracked) clampSpreads(spreads []spread) {
	type gap struct{ from, to int64 }
	sums := map[gap][2]float64{}
	for _, s := range spreads {
		sum := sums[gap{s.from, s.to}]
		sums[gap{s.from, s.to}] = [2]float64{sum[0] + s.total, sum[1] + s.bad}
	}
	for g, sum := range sums {
		excess := max(0, sum[1]-sum[0]) + min(0, sum[1])
		if excess == 0 {
			continue
		}
		t.clamped++
		for i := range spreads {
			if s := &spreads[i]; s.from == g.from && s.to == g.to {
				s.bad -= excess
				break
			}
		}
	}
}

func byTick(a, b entry) int { return int(a.tick - b.tick) }

// merge adds two answers of one row; entries of one tick become one.
func merge(a, b answered) answered {
	all := append(slices.Clone(a.entries), b.entries...)
	slices.SortStableFunc(all, byTick)
	out := answered{spreads: append(slices.Clone(a.spreads), b.spreads...), lastHit: max(a.lastHit, b.lastHit)}
	for _, en := range all {
		if n := len(out.entries); n > 0 && out.entries[n-1].tick == en.tick {
			out.entries[n-1].counts = out.entries[n-1].plus(en.counts)
			continue
		}
		out.entries = append(out.entries, en)
	}
	return out
}

func quantise(v, unit float64) int64 {
	v = math.Round(v * unit)
	switch {
	case v >= 1<<62:
		return 1 << 62
	case v <= -(1 << 62):
		return -(1 << 62)
	case v != v:
		return 0
	}
	return int64(v)
}
