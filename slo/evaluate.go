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
	e.Judge(now)
	out := newSheet(e)
	for _, t := range e.inOrder {
		objective, corrections := &t.Objective, t.corrections()
		for _, key := range t.keys {
			st := out.next(t)
			t.status(st, objective, t.rows[key])
			st.Corrections = corrections
		}
		if len(t.keys) == 0 { // grouped, and no group yet: it is there all the same
			bare := out.next(t)
			t.status(bare, objective, nil)
			bare.NoGroup, bare.Corrections = true, corrections
		}
	}
	for _, l := range e.lanes {
		l.judged = l.head
	}
	e.look(e.floor(now))
	for _, t := range e.unjudged {
		t.fresh = false
		if t.looked == 0 {
			t.looked = t.lane.head
		}
		e.touch(t)
	}
	e.unjudged = e.unjudged[:0]
	return out.statuses
}

// Judge brings every objective to the last whole tick at or before now minus its delay, and works
// out there what Evaluate tells: the counts of all windows, what is left of the budgets, and which
// pairs of windows burn above their factors. It costs the same whatever the windows' lengths.
func (e *Engine) Judge(now time.Time) {
	e.settle()
	for i := 0; i < len(e.lanes); i++ {
		l := e.lanes[i]
		at := e.floor(now.Add(-l.delay))
		e.come(l, at)
	}
	e.meet()
	e.forget()
	for _, l := range e.lanes {
		for _, b := range l.blocks {
			if b.plan == bare || len(b.free) == b.rows {
				continue
			}
			b.judge()
		}
	}
}

// meet has lanes that have caught up be one with the lane of their kind.
func (e *Engine) meet() {
	for _, l := range e.lanes {
		if !l.apart {
			continue
		}
		to := e.laneOf(l.grid, l.delay)
		if to.head != l.head {
			continue
		}
		for _, t := range e.inOrder {
			if t.lane == l {
				t.join(to)
			}
		}
		e.tidy()
		e.meet()
		return
	}
}

// leap stops where a pair of windows loses its coverage on the way to a tick, so that the state it
// keeps is taken while its edges are known, however far the way is.
func (e *Engine) leap(l *lane, to int64) {
	if l.head == 0 || to <= l.head+1 {
		return
	}
	stopsOf := func(t *tracked) (stops []int64) {
		newest, ok := t.history().covered.newest(l.head)
		if !ok {
			return nil
		}
		for _, p := range t.plan.pairs {
			if stop := newest + t.plan.windows[p.short].ticks; stop > l.head && stop < to {
				stops = append(stops, stop)
			}
		}
		return stops
	}
	type stopping struct {
		at int64
		t  *tracked
	}
	var stops []stopping
	for _, t := range e.inOrder {
		if t.lane == l {
			for _, at := range stopsOf(t) {
				stops = append(stops, stopping{at, t})
			}
		}
	}
	slices.SortStableFunc(stops, func(a, b stopping) int { return int(a.at - b.at) })
	for _, s := range stops {
		l.advance(s.at)
		cover := s.t.history().cover(s.t.plan)
		for _, r := range s.t.rows {
			for _, p := range s.t.plan.pairs {
				s.t.pair(r, p, cover, nil)
			}
		}
	}
}

// forget lets go of what has left every window: groups one period after their last event.
func (e *Engine) forget() {
	for _, h := range e.histories {
		old := h.lane.head - h.lane.grid.horizon
		h.covered, h.asked = h.covered.forget(old), h.asked.forget(old)
	}
	for t := range e.spreading {
		left := 0
		for _, r := range t.rows {
			r.events.forget()
			left += len(r.events.spreads)
			if r.taken != nil {
				r.taken.forget()
			}
		}
		e.touch(t)
		if left == 0 {
			delete(e.spreading, t)
		}
	}
	for t := range e.approximate {
		old := t.lane.head - t.lane.grid.horizon
		t.approx, t.again = t.approx.expire(old), t.again.expire(old)
		if len(t.approx) == 0 {
			delete(e.approximate, t)
		}
	}
	for _, t := range e.grouped {
		head, period := t.lane.head, int64(t.Period.Longest()/e.tick)
		for i := 0; i < len(t.keys); {
			r := t.rows[t.keys[i]]
			if r.lastHit > 0 && head-r.lastHit >= period {
				e.dropped(r)
				e.unbase()
				e.touch(t)
				t.vacate(r)
				delete(t.episodes, r)
				delete(t.rows, t.keys[i])
				t.keys = append(t.keys[:i], t.keys[i+1:]...)
				continue
			}
			i++
		}
		for key, last := range t.folded {
			if head-last >= period {
				e.touch(t)
				delete(t.folded, key)
			}
		}
	}
}

func (t *tracked) unitOfBudget() float64 {
	if t.Budgeting.Slices() {
		return sliceUnit
	}
	return t.unit
}

// sheet is the memory of one report: few pieces, however many objectives there are.
type sheet struct {
	statuses []Status
	windows  []Window
	alerts   []Alert
	pairs    []PairStatus
}

func newSheet(e *Engine) *sheet {
	statuses, windows, alerts, pairs := 0, 0, 0, 0
	for _, t := range e.inOrder {
		n := max(len(t.keys), 1)
		statuses += n
		windows += n * len(t.plan.windows)
		alerts += n * len(t.policy)
		pairs += n * len(t.plan.pairs)
	}
	return &sheet{
		make([]Status, 0, statuses), make([]Window, windows), make([]Alert, alerts), make([]PairStatus, pairs),
	}
}

// next is the place of an objective's next status.
func (s *sheet) next(t *tracked) *Status {
	shown := 0
	for i := range t.plan.windows {
		if t.plan.windows[i].shown {
			shown++
		}
	}
	s.statuses = append(s.statuses, Status{})
	st := &s.statuses[len(s.statuses)-1]
	st.Windows, s.windows = s.windows[:shown:shown], s.windows[shown:]
	if n := len(t.policy); n > 0 {
		st.Alerts, s.alerts = s.alerts[:n:n], s.alerts[n:]
	}
	for i := range st.Alerts {
		if n := len(t.policy[i].Pairs); n > 0 {
			st.Alerts[i].Pairs, s.pairs = s.pairs[:n:n], s.pairs[n:]
		}
	}
	return st
}

// status fills in what a row says; nil is a group that is not there yet.
func (t *tracked) status(s *Status, o *Objective, r *row) {
	e, unit := t.engine, t.unitOfBudget()
	s.Objective, s.At, s.Tick, s.Note = o, e.timeOf(t.lane.head), e.tick, t.note
	if newest := e.latest[t.place].newest; newest != 0 {
		s.Newest = time.UnixMilli(newest).UTC()
	}
	if r != nil {
		seen := r.seen()
		s.Labels, s.EventsTotal, s.BadEventsTotal = r.labels, float64(seen.total)/unit, float64(seen.bad)/unit
	}
	cover := t.history().cover(t.plan)
	shown, all := 0, [maxWindows]Window{}
	windows := all[:0]
	for i := range t.plan.windows {
		w := t.window(r, i, cover)
		windows = append(windows, w)
		if t.plan.windows[i].shown {
			s.Windows[shown] = w
			shown++
		}
	}
	whole := &s.Windows[shown-1]
	if r != nil && r.taken != nil {
		c := r.taken.count(cover.from[t.plan.whole], t.lane.head)
		s.TakenTotal, s.TakenBad = float64(c.total)/unit, float64(c.bad)/unit
	}

	s.Budget = Budget{Allowed: t.Target.Rest().Float() * whole.Total, Spent: whole.Bad, RemainingRatio: 1}
	switch {
	case r != nil && t.columns():
		s.Budget.RemainingRatio = r.budget.left[r.budget.row]
	case s.Budget.Allowed > 0:
		s.Budget.RemainingRatio = 1 - whole.Bad/s.Budget.Allowed
	}
	k := 0
	for i := range t.policy {
		a := &s.Alerts[i]
		a.Severity = t.policy[i].Name
		for j := range a.Pairs {
			a.Pairs[j] = t.pair(r, t.plan.pairs[k], cover, windows)
			k++
			status := &a.Pairs[j]
			a.Firing = a.Firing || status.Firing
			if status.Ratio.Defined && (!a.BurnRatio.Defined || status.Ratio.Float > a.BurnRatio.Float) {
				a.BurnRatio = status.Ratio
			}
		}
		if tick := t.began(r, i, a.Firing); a.Firing {
			a.Since = e.timeOf(tick)
		}
	}
	s.Budget.Exhaustion = t.exhaustion(windows, s.Budget.RemainingRatio)
}

// maxWindows is for how many windows there is room without asking for memory.
const maxWindows = 16

// window is what a row counted in a window of its plan.
func (t *tracked) window(r *row, i int, cover *covering) Window {
	p := &t.plan.windows[i]
	w := Window{Key: p.key, Length: p.length, IsPeriod: p.period}
	c, unit := t.counts(r, i, cover), t.unitOfBudget()
	w.Total, w.Bad = float64(c.total)/unit, float64(c.bad)/unit
	if from := cover.from[i]; from < t.lane.head {
		w.Coverage = float64(cover.ticks[i]) / float64(t.lane.head-from)
	}
	w.ErrorRatio, w.BurnRate = t.ratios(c, w.Coverage > 0)
	return w
}

// counts are the counts of a window: those of the columns, where they were judged.
func (t *tracked) counts(r *row, i int, cover *covering) counts {
	if r == nil {
		return counts{}
	}
	if t.columns() {
		return r.budget.counted(i, r.budget.row)
	}
	return t.counted(r, cover.from[i], t.lane.head)
}

// counted is what the budget counts in (from, to], less what corrections take out of it, bad within
// [0, total].
func (t *tracked) counted(r *row, from, to int64) counts {
	c := r.budget.count(from, to)
	if r.taken != nil {
		c = c.minus(r.taken.count(from, to))
	}
	return c.clamped()
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

// exhaustion is MATHS.md, "Budget": of the longest window of an alert that burns faster than the
// period.
func (t *tracked) exhaustion(windows []Window, remaining float64) Value {
	if remaining <= 0 {
		return Defined(0)
	}
	var longest *Window
	for _, p := range t.plan.pairs {
		for _, i := range [2]int{p.long, p.short} {
			w := &windows[i]
			if w.BurnRate.Defined && w.BurnRate.Float > 1 && w.Length >= t.engine.tick && (longest == nil || w.Length > longest.Length) {
				longest = w
			}
		}
	}
	if longest == nil {
		return Value{}
	}
	return Defined(remaining * t.Period.Length.Seconds() / longest.BurnRate.Float)
}

// began notes and says since when a severity fires. Of the ticks that nobody looked at, the counts
// tell, for a day at most: a daemon that was away finds the start it would have seen, to the tick
// for the last hour, and to 0.4 % of its age before.
func (t *tracked) began(r *row, severity int, firing bool) int64 {
	if !firing {
		if r != nil && len(r.since) > 0 {
			if since, ok := r.since[severity]; ok {
				t.over(r, severity, since, t.ended(r, severity, since))
			}
			delete(r.since, severity)
			t.engine.touch(t)
		}
		return 0
	}
	judged := t.judged()
	first := t.lane.head
	oldest := max(judged, t.lane.head-int64(Day/t.engine.tick))
	for first-1 > oldest && t.fired(r, severity, first-1) {
		first--
	}
	if since, ok := r.since[severity]; ok && first-1 <= judged {
		return since
	} else if ok {
		t.over(r, severity, since, judged+1) // it was quiet while nobody looked
	}
	if r.since == nil {
		r.since = map[int]int64{}
	}
	r.since[severity] = first
	t.engine.touch(t)
	return first
}

// judged is the newest tick at which somebody looked at the alerts; 0 before the first.
func (t *tracked) judged() int64 {
	if t.fresh {
		return 0
	}
	return t.lane.judged
}

// fired reports whether a severity fired at a tick of the past, as pair would have said it then.
func (t *tracked) fired(r *row, severity int, at int64) bool {
	s, covered := &t.policy[severity], t.history().covered
	for i, p := range s.Pairs {
		long, short := int64(p.Long/t.engine.tick), max(int64(p.Short/t.engine.tick), 1)
		then, ok := covered.newest(at)
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
// last tick at which both were covered, for at most the long window. windows are those of the plan;
// nil asks for what a pair without coverage keeps alone.
func (t *tracked) pair(r *row, p plannedPair, cover *covering, windows []Window) PairStatus {
	s := &t.policy[p.severity]
	status := PairStatus{Pair: s.Pairs[p.pair]}
	num, den := s.num[p.pair], s.den[p.pair]
	key := pairKey{p.severity, p.pair}
	var inLong, inShort counts
	may := true
	if cover.ticks[p.long] > 0 && cover.ticks[p.short] > 0 {
		if r != nil && r.held != nil {
			delete(r.held, key)
			t.engine.touch(t)
		}
		if windows == nil {
			return status
		}
		inLong, inShort = t.counts(r, p.long, cover), t.counts(r, p.short, cover)
		if r != nil && t.columns() {
			may = r.budget.burns[r.budget.row] != 0
		}
	} else {
		newest, ok := t.history().covered.newest(t.lane.head)
		if !ok {
			return status
		}
		// The short window still touched the newest covered tick until just before it left.
		long, short := t.plan.windows[p.long].ticks, t.plan.windows[p.short].ticks
		at := min(newest+short-1, t.lane.head)
		if t.lane.head-at > long {
			return status
		}
		status.Held = true
		if r == nil {
			// no group yet: it has counted nothing
		} else if h, ok := r.held[key]; ok && h.at == at {
			inLong, inShort = h.long, h.short // from when the edges were known
		} else {
			inLong, inShort = t.counted(r, at-long, at), t.counted(r, at-short, at)
			if r.held == nil {
				r.held = map[pairKey]held{}
			}
			r.held[key] = held{at, inLong, inShort}
			t.engine.touch(t)
		}
	}
	status.Firing = may && exceeds(inLong.bad, inLong.total, num, den) && exceeds(inShort.bad, inShort.total, num, den)
	_, burnLong := t.ratios(inLong, true)
	_, burnShort := t.ratios(inShort, true)
	ratio := 0.0
	if p.factor > 0 {
		ratio = min(burnLong.Float, burnShort.Float) / p.factor
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
