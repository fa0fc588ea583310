package slo

import (
	"math"
	"slices"
	"time"
)

// compiled is one severity with its thresholds as exact fractions.
type compiled struct {
	Severity
	num, den []uint64 // by pair: factor × (1 − target)
}

func compile(o Objective) []compiled {
	out := make([]compiled, len(o.Policy.Severities))
	for i, s := range o.Policy.Severities {
		out[i] = compiled{Severity: s, num: make([]uint64, len(s.Pairs)), den: make([]uint64, len(s.Pairs))}
		for j, p := range s.Pairs {
			out[i].num[j], out[i].den[j] = p.Factor.threshold(o.Target.Rest())
		}
	}
	return out
}

// Evaluate says what the counts mean at now: for every objective at the last whole tick at or
// before now minus its delay. A clock that steps back changes nothing: an objective never goes
// behind what it has seen. The order is that of Set, groups by their labels.
func (e *Engine) Evaluate(now time.Time) []Status {
	var out []Status
	for _, t := range e.inOrder {
		at := e.floor(now.Add(-t.Delay))
		if t.head == 0 {
			t.start(at)
		}
		t.leap(at)
		t.advance(at)
		for _, group := range t.forget() {
			e.dropped(t.Name, group)
		}
		objective := t.Objective
		for _, key := range t.keys {
			out = append(out, t.status(&objective, t.rows[key], e))
		}
		if len(t.keys) == 0 { // grouped, and no group yet: it is there all the same
			bare := t.status(&objective, &row{events: newLedger(t.grid, t.head), budget: newLedger(t.grid, t.head)}, e)
			bare.NoGroup = true
			out = append(out, bare)
		}
		t.judged = t.head
	}
	return out
}

// leap stops where a pair of windows loses its coverage on the way to a tick, so that the state it
// keeps is taken while its edges are known, however far the way is.
func (t *tracked) leap(to int64) {
	newest, ok := t.covered.newest(t.head)
	if !ok || to <= t.head+1 {
		return
	}
	var stops []int64
	for _, s := range t.policy {
		for _, p := range s.Pairs {
			if stop := newest + max(int64(p.Short/t.grid.tick), 1); stop > t.head && stop < to {
				stops = append(stops, stop)
			}
		}
	}
	slices.Sort(stops)
	for _, stop := range slices.Compact(stops) {
		t.advance(stop)
		for _, r := range t.rows {
			for i := range t.policy {
				t.alert(r, i)
			}
		}
	}
}

// forget lets go of what has left every window: groups one period after their last event, which it
// names.
func (t *tracked) forget() (gone []string) {
	old := t.head - t.grid.horizon
	t.covered, t.asked = t.covered.forget(old), t.asked.forget(old)
	period := int64(t.Period.Longest() / t.grid.tick)
	for i := 0; i < len(t.keys); {
		r := t.rows[t.keys[i]]
		r.events.forget()
		if len(t.GroupBy) > 0 && r.lastHit > 0 && t.head-r.lastHit >= period {
			gone = append(gone, t.keys[i])
			delete(t.rows, t.keys[i])
			t.keys = append(t.keys[:i], t.keys[i+1:]...)
			continue
		}
		i++
	}
	for key, last := range t.folded {
		if t.head-last >= period {
			delete(t.folded, key)
		}
	}
	return gone
}

func (t *tracked) unitOfBudget() float64 {
	if t.Budgeting.Slices() {
		return sliceUnit
	}
	return t.unit
}

func (t *tracked) status(o *Objective, r *row, e *Engine) Status {
	s := Status{
		Objective: o, Labels: r.labels, At: e.timeOf(t.head),
		EventsTotal: float64(r.total) / t.unitOfBudget(), BadEventsTotal: float64(r.bad) / t.unitOfBudget(),
		Newest: t.newest, Note: t.note,
	}
	for _, w := range Windows {
		if w < t.Period.Length {
			s.Windows = append(s.Windows, t.window(r, FormatDuration(w), w, t.head-int64(w/t.grid.tick)))
		}
	}
	period := t.Period.Span(s.At)
	whole := t.window(r, t.Period.Key(), t.Period.Length, e.floor(period.From))
	whole.IsPeriod = true
	s.Windows = append(s.Windows, whole)

	s.Budget = Budget{Allowed: t.Target.Rest().Float() * whole.Total, Spent: whole.Bad, RemainingRatio: 1}
	if s.Budget.Allowed > 0 {
		s.Budget.RemainingRatio = 1 - whole.Bad/s.Budget.Allowed
	}
	for i := range t.policy {
		a := t.alert(r, i)
		if tick := t.began(r, i, a.Firing); a.Firing {
			a.Since = e.timeOf(tick)
		}
		s.Alerts = append(s.Alerts, a)
	}
	s.Budget.Exhaustion = t.exhaustion(r, s.Budget.RemainingRatio)
	return s
}

// window counts (from, head].
func (t *tracked) window(r *row, key string, length time.Duration, from int64) Window {
	w := Window{Key: key, Length: length}
	unit := t.unitOfBudget()
	c := t.counted(r, from, t.head)
	w.Total, w.Bad = float64(c.total)/unit, float64(c.bad)/unit
	if from < t.head {
		w.Coverage = float64(t.covered.within(ticks{from, t.head})) / float64(t.head-from)
	}
	w.ErrorRatio, w.BurnRate = t.ratios(c, w.Coverage > 0)
	return w
}

// counted is what the budget counts in (from, to], bad within [0, total].
func (t *tracked) counted(r *row, from, to int64) counts {
	return r.budget.count(from, to).clamped()
}

// clamped has bad within [0, total].
func (c counts) clamped() counts {
	c.total = max(c.total, 0)
	c.bad = min(max(c.bad, 0), c.total)
	return c
}

func (t *tracked) ratios(c counts, covered bool) (ratio, burn Value) {
	switch {
	case c.total > 0:
		ratio = Defined(float64(c.bad) / float64(c.total))
		if covered {
			burn = Defined(ratio.Float / t.Target.Rest().Float())
		}
	case covered:
		burn = Defined(0)
	}
	return ratio, burn
}

func (t *tracked) exhaustion(r *row, remaining float64) Value {
	if remaining <= 0 {
		return Defined(0)
	}
	var longest time.Duration
	var burn float64
	for _, s := range t.policy {
		for _, p := range s.Pairs {
			for _, w := range []time.Duration{p.Long, p.Short} {
				if w <= longest {
					continue
				}
				if win := t.window(r, "", w, t.head-int64(w/t.grid.tick)); win.BurnRate.Defined && win.BurnRate.Float > 1 {
					longest, burn = w, win.BurnRate.Float
				}
			}
		}
	}
	if longest == 0 {
		return Value{}
	}
	return Defined(remaining * t.Period.Length.Seconds() / burn)
}

func (t *tracked) alert(r *row, severity int) Alert {
	s := &t.policy[severity]
	a := Alert{Severity: s.Name}
	for i, p := range s.Pairs {
		status := t.pair(r, p, pairKey{severity, i}, s.num[i], s.den[i])
		a.Firing = a.Firing || status.Firing
		if status.Ratio.Defined && (!a.BurnRatio.Defined || status.Ratio.Float > a.BurnRatio.Float) {
			a.BurnRatio = status.Ratio
		}
		a.Pairs = append(a.Pairs, status)
	}
	return a
}

// began notes and says since when a severity fires. Of the ticks that nobody looked at, the counts
// tell, for a day at most: a daemon that was away finds the start it would have seen, to the tick
// for the last hour, and to 0.4 % of its age before.
func (t *tracked) began(r *row, severity int, firing bool) int64 {
	if !firing {
		delete(r.since, severity)
		return 0
	}
	first := t.head
	oldest := max(t.judged, t.head-int64(Day/t.grid.tick))
	for first-1 > oldest && t.fired(r, severity, first-1) {
		first--
	}
	if since, ok := r.since[severity]; ok && first-1 <= t.judged {
		return since
	}
	if r.since == nil {
		r.since = map[int]int64{}
	}
	r.since[severity] = first
	return first
}

// fired reports whether a severity fired at a tick of the past, as pair would have said it then.
func (t *tracked) fired(r *row, severity int, at int64) bool {
	s := &t.policy[severity]
	for i, p := range s.Pairs {
		long, short := int64(p.Long/t.grid.tick), max(int64(p.Short/t.grid.tick), 1)
		then, ok := t.covered.newest(at)
		if then = min(then+short-1, at); !ok || at-then > long {
			continue
		}
		inLong, inShort := t.counted(r, then-long, then), t.counted(r, then-short, then)
		if exceeds(inLong.bad, inLong.total, s.num[i], s.den[i]) && exceeds(inShort.bad, inShort.total, s.num[i], s.den[i]) &&
			t.guard(inLong, float64(s.num[i])/float64(max(s.den[i], 1))) {
			return true
		}
	}
	return false
}

// pair is the state of one pair of windows now or, while one of them is without coverage, at the
// last tick at which both were covered, for at most the long window.
func (t *tracked) pair(r *row, p Pair, key pairKey, num, den uint64) PairStatus {
	status := PairStatus{Pair: p}
	long, short := int64(p.Long/t.grid.tick), max(int64(p.Short/t.grid.tick), 1)
	at := t.head
	if t.covered.within(ticks{at - short, at}) == 0 || t.covered.within(ticks{at - long, at}) == 0 {
		newest, ok := t.covered.newest(t.head)
		if !ok {
			return status
		}
		// The short window still touched the newest covered tick until just before it left.
		at = min(newest+short-1, t.head)
		if t.head-at > long {
			return status
		}
		status.Held = true
	}
	inLong, inShort := t.counted(r, at-long, at), t.counted(r, at-short, at)
	if !status.Held {
		delete(r.held, key)
	} else if h, ok := r.held[key]; ok && h.at == at {
		inLong, inShort = h.long, h.short // from when the edges were known
	} else {
		if r.held == nil {
			r.held = map[pairKey]held{}
		}
		r.held[key] = held{at, inLong, inShort}
	}
	status.Firing = exceeds(inLong.bad, inLong.total, num, den) && exceeds(inShort.bad, inShort.total, num, den)
	_, burnLong := t.ratios(inLong, true)
	_, burnShort := t.ratios(inShort, true)
	ratio := 0.0
	if f := p.Factor.Float(); f > 0 {
		ratio = min(burnLong.Float, burnShort.Float) / f
	}
	if status.Firing && !t.guard(inLong, float64(num)/float64(max(den, 1))) {
		status.Firing = false
	}
	// Above 1 exactly when it fires: rounding must not say otherwise.
	switch {
	case status.Firing && ratio <= 1:
		ratio = math.Nextafter(1, 2)
	case !status.Firing && ratio > 1:
		ratio = 1
	}
	status.Ratio = Defined(ratio)
	return status
}

// guard reports whether the long window holds enough events to wake somebody.
func (t *tracked) guard(long counts, threshold float64) bool {
	unit := t.unitOfBudget()
	total, bad := float64(long.total)/unit, float64(long.bad)/unit
	if bad < t.Policy.MinBadEvents {
		return false
	}
	if t.Policy.Confidence > 0 {
		if low := Wilson(bad, total, t.Policy.Confidence); !low.Defined || low.Float <= threshold {
			return false
		}
	}
	return true
}
