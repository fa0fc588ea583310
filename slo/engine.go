package slo

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Engine keeps the counts of every objective and says, at any whole tick, what they mean. It is
// owned by one goroutine.
type Engine struct {
	tick     time.Duration
	byName   map[string]*tracked
	inOrder  []*tracked
	watching int64    // ms; events at or before it are history and do not raise the counters
	widest   *grid    // of the objectives, the one with the longest horizon
	journal  *journal // what a store does not have yet; nil: nobody keeps one
}

// tracked is one objective with its state.
type tracked struct {
	Objective
	grid    *grid
	head    int64 // newest tick
	unit    float64
	covered coverage // ticks that the source vouches for
	asked   coverage // ticks that were answered at all, if only by "nothing there"
	rows    map[string]*row
	keys    []string         // keys of rows, ordered
	folded  map[string]int64 // groups beyond the limit, with the tick of their last event
	newest  time.Time
	note    string
	clamped int64
	policy  []compiled
	judged  int64 // newest tick at which the alerts were looked at; 0 before the first
}

// row is one group's budget.
type row struct {
	key     string
	labels  []string
	events  *ledger // what the source counted
	budget  *ledger // what the budget counts: events, or slices made of them
	total   int64   // what the budget counts since watching, in its units
	bad     int64
	lastHit int64 // tick of the last event; 0 before the first

	held  map[pairKey]held // pairs that keep their state while a window is without coverage
	since map[int]int64    // by severity: first tick of the run in which it fires
}

// pairKey is a pair of windows by its place in the policy.
type pairKey struct{ severity, pair int }

// held is what a pair's windows counted at the last tick at which both were covered, taken while
// their edges were known.
type held struct {
	at          int64
	long, short counts
}

// fraction is the unit of counts that are fractional by nature: 1/65536 of an event.
const fraction = 1 << 16

// sliceUnit is the unit of slices: a badness keeps nine digits.
const sliceUnit = 1 << 30

// maxFolded bounds the memory for groups beyond the limit.
const maxFolded = 100_000

// NewEngine makes an engine for a tick: a divisor of five minutes, or a multiple of them.
func NewEngine(tick time.Duration) (*Engine, error) {
	if tick < time.Second || tick%time.Second != 0 || (5*time.Minute)%tick != 0 && tick%(5*time.Minute) != 0 {
		return nil, fmt.Errorf("tick %s: must be whole seconds that divide 5m, or a multiple of 5m", FormatDuration(tick))
	}
	return &Engine{tick: tick, byName: map[string]*tracked{}}, nil
}

// Tick is the engine's tick.
func (e *Engine) Tick() time.Duration { return e.tick }

// Watch says when watching began: events after it raise the counters of Status.EventsTotal, what
// is put for the time before is history. Without it everything counts.
func (e *Engine) Watch(from time.Time) { e.watching = from.UnixMilli() }

// Set makes these the objectives, in this order. One that was there keeps its history, whatever
// changed; one with other groups than before starts anew. Names must be unique.
func (e *Engine) Set(objectives []Objective) {
	old := e.byName
	e.byName, e.inOrder = make(map[string]*tracked, len(objectives)), nil
	for _, o := range objectives {
		t := old[o.Name]
		if t == nil || !slices.Equal(t.GroupBy, o.GroupBy) || t.Budgeting != o.Budgeting || t.unit != unitOf(o) {
			t = &tracked{rows: map[string]*row{}, folded: map[string]int64{}, unit: unitOf(o)}
		}
		t.configure(o, e.tick)
		e.byName[o.Name] = t
		e.inOrder = append(e.inOrder, t)
	}
	e.widest = nil
	for _, t := range e.inOrder {
		if e.widest == nil || t.grid.horizon > e.widest.horizon {
			e.widest = t.grid
		}
	}
	if e.journal == nil {
		return
	}
	for name, t := range old {
		if e.byName[name] == t {
			continue
		}
		for _, key := range t.keys {
			e.dropped(name, key)
		}
		delete(e.journal.saved, name)
		if e.byName[name] == nil {
			e.journal.gone = append(e.journal.gone, Record{objectiveBucket, []byte(name), nil})
		}
	}
}

func unitOf(o Objective) float64 {
	if o.ReadyRatio {
		return sliceUnit
	}
	if o.Fractional {
		return fraction
	}
	return 1
}

func (t *tracked) configure(o Objective, tick time.Duration) {
	alike := t.Target == o.Target && reflect.DeepEqual(t.Policy, o.Policy) // it does not notice
	t.Objective = o
	horizon := max(o.Period.Longest(), 3*Day)
	for _, s := range o.Policy.Severities {
		for _, p := range s.Pairs {
			horizon = max(horizon, 2*p.Long)
		}
	}
	g := newGrid(tick, horizon)
	if t.grid == nil || *t.grid != g {
		for _, r := range t.rows {
			r.events = r.events.regrid(&g)
			if o.Budgeting.Slices() {
				r.budget = r.budget.regrid(&g)
			} else {
				r.budget = r.events
			}
		}
		t.grid = &g
	}
	t.policy = compile(o)
	if !alike {
		t.judged = 0
		for _, r := range t.rows {
			r.held, r.since = nil, nil // another policy has other pairs
		}
	}
	if len(o.GroupBy) == 0 {
		t.row(nil)
	}
}

// row finds the row of a group, or makes it.
func (t *tracked) row(labels []string) *row {
	key := strings.Join(labels, "\xff")
	if r := t.rows[key]; r != nil {
		return r
	}
	r := &row{key: key, labels: slices.Clone(labels), events: newLedger(t.grid, t.head)}
	r.budget = r.events
	if t.Budgeting.Slices() {
		r.budget = newLedger(t.grid, t.head)
	}
	t.rows[key] = r
	i, _ := slices.BinarySearch(t.keys, key)
	t.keys = slices.Insert(t.keys, i, key)
	return r
}

// Folded is the number of groups of an objective that were folded into OtherGroup.
func (e *Engine) Folded(name string) int {
	if t := e.byName[name]; t != nil {
		return len(t.folded)
	}
	return 0
}

// Clamped is the number of slots of an objective in which bad was not within [0, total].
func (e *Engine) Clamped(name string) int64 {
	if t := e.byName[name]; t != nil {
		return t.clamped
	}
	return 0
}

func isOther(labels []string) bool { return len(labels) > 0 && labels[0] == OtherGroup }

func (t *tracked) limit() int {
	if t.GroupLimit <= 0 {
		return math.MaxInt
	}
	return t.GroupLimit
}

// kept is the number of groups kept apart.
func (t *tracked) kept() int {
	n := len(t.rows)
	if _, ok := t.rows[t.otherKey()]; ok {
		n--
	}
	return n
}

func (t *tracked) otherKey() string { return strings.Join(t.other(), "\xff") }

func (t *tracked) other() []string {
	labels := make([]string, len(t.GroupBy))
	for i := range labels {
		labels[i] = OtherGroup
	}
	return labels
}

// Observe puts answers: each replaces what was known of its span. Answers with Err, for unknown
// objectives or for spans off the ticks change nothing; the last two are errors.
func (e *Engine) Observe(samples ...Sample) error {
	for i := range samples {
		s := &samples[i]
		t := e.byName[s.SLO]
		if t == nil {
			return fmt.Errorf("slo %q: answer for an unknown objective", s.SLO)
		}
		if s.Err != nil {
			continue
		}
		from, ok1 := e.ticksAt(s.Span.From)
		to, ok2 := e.ticksAt(s.Span.To)
		if !ok1 || !ok2 || from > to {
			return fmt.Errorf("slo %s: answer for %s, which does not lie on whole ticks of %s", s.SLO, s.Span, e.tick)
		}
		t.observe(s, ticks{from, to}, e)
	}
	return nil
}

func (e *Engine) ticksAt(at time.Time) (int64, bool) {
	ms, tick := at.UnixMilli(), e.tick.Milliseconds()
	return floorDiv(ms, tick), mod(ms, tick) == 0
}

func (t *tracked) observe(s *Sample, span ticks, e *Engine) {
	tickMs := e.tick.Milliseconds()
	if t.head == 0 {
		t.start(span.to)
	}
	if span.to <= t.head-t.grid.horizon {
		return // before every window
	}
	t.head = max(t.head, span.to) // the rows follow as they are put: what lies behind must be known till then

	fresh := t.asked.within(span) == 0 // nothing known: rows without events need no put
	t.asked = t.asked.cut(span).add(span)
	t.covered = t.covered.cut(span)
	for _, c := range s.Covered {
		from, to := floorDiv(c.From.UnixMilli(), tickMs), floorDiv(c.To.UnixMilli(), tickMs)
		t.covered = t.covered.add(ticks{max(from, span.from), min(to, span.to)})
	}
	if s.Newest.After(t.newest) {
		t.newest = s.Newest
	}
	if span.to == t.head {
		t.note = s.Note
	}

	answers := t.fold(s, span, tickMs)
	touched := span
	if t.Budgeting.Slices() {
		touched.from -= int64(t.Budgeting.Slice / t.grid.tick)
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
	for _, key := range t.keys {
		r := t.rows[key]
		a, ok := answers[key]
		if !ok && fresh && !t.Budgeting.Slices() {
			r.events.advance(t.head)
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
		seen := t.watches(r, min(reach, touched.from), floorDiv(e.watching, tickMs))
		before := seen()
		r.events.put(span.from, span.to, a.entries, a.spreads)
		if a.lastHit > r.lastHit {
			r.lastHit = a.lastHit
		}
		if t.Budgeting.Slices() {
			t.slice(r, span, reach, a)
		}
		after := seen()
		r.total += max(0, after.total-before.total)
		r.bad += max(0, min(after.bad-before.bad, after.total-before.total))
	}
}

// watches is how to see what the budget has counted since watching began, before and after an
// answer that reaches back to a tick. What lies wholly after that moment moves the newest total by
// just as much. Else both looks are taken from the same old moment: what is put for the time before
// it moves both ends and leaves the difference alone.
func (t *tracked) watches(r *row, reach, watching int64) func() counts {
	if reach >= watching {
		return func() counts { return r.budget.now }
	}
	base := max(watching, t.head-t.grid.horizon)
	return func() counts { return r.budget.now.minus(r.budget.total(base)) }
}

// start places an objective in time, at the first answer it gets.
func (t *tracked) start(head int64) {
	t.head = head
	for _, r := range t.rows {
		r.events.advance(head)
		r.budget.advance(head)
	}
}

func (t *tracked) advance(head int64) {
	if head <= t.head {
		return
	}
	t.head = head
	for _, r := range t.rows {
		r.events.advance(head)
		r.budget.advance(head)
	}
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

// slice counts the slices that an answer touches, and puts them into the budget: those of its span,
// and those that its spreads reach back to as far as single ticks are known.
func (t *tracked) slice(r *row, span ticks, reach int64, a answered) {
	width := int64(t.Budgeting.Slice / t.grid.tick)
	first := floorDiv(min(span.from, max(reach, t.head-t.grid.fine+width+1)), width) * width
	last := floorDiv(min(-floorDiv(-span.to, width)*width, t.head), width) * width
	var entries []entry
	next := 0
	for end := first + width; end <= last; end += width {
		slot := ticks{end - width, end}
		var c counts
		if slot.from >= span.from && slot.to <= span.to && t.head-slot.from >= t.grid.fine {
			// Older than the ledger's ticks, but whole in the answer.
			for next < len(a.entries) && a.entries[next].tick <= slot.from {
				next++
			}
			for i := next; i < len(a.entries) && a.entries[i].tick <= slot.to; i++ {
				c = c.plus(a.entries[i].counts)
			}
		} else {
			c = r.events.total(slot.to).minus(r.events.total(slot.from))
		}
		c.bad = min(max(c.bad, 0), c.total)
		if badness, counted := t.badness(c, t.covered.within(slot)); counted {
			entries = append(entries, entry{end, counts{sliceUnit, badness}})
		}
	}
	r.budget.put(first, max(last, first), entries, nil)
	r.budget.advance(t.head)
}

// badness is what a slice counts as, in slice units; counted is false for one that is skipped.
func (t *tracked) badness(c counts, covered int64) (bad int64, counted bool) {
	switch {
	case covered == 0:
		return 0, false
	case c.total <= 0:
		if t.Budgeting.Empty == EmptySkip || t.Budgeting.Empty == "" {
			return 0, false
		}
		if t.Budgeting.Empty == EmptyBad {
			return sliceUnit, true
		}
		return 0, true
	case t.Budgeting.Method == RatioTimeslices:
		return int64(math.Round(float64(c.bad) / float64(c.total) * sliceUnit)), true
	}
	rest := t.Budgeting.Target.Rest()
	if exceeds(c.bad, c.total, rest.num, max(rest.den, 1)) {
		return sliceUnit, true
	}
	return 0, true
}

// Unanswered are the parts of a span that no answer has covered yet, oldest first, on whole
// ticks: what is still to be asked of an objective's source. The span is cut to the horizon.
func (e *Engine) Unanswered(name string, span Span) []Span {
	t := e.byName[name]
	if t == nil {
		return nil
	}
	from, _ := e.ticksAt(span.From)
	to, _ := e.ticksAt(span.To)
	var out []Span
	for _, m := range t.asked.missing(ticks{from, to}) {
		out = append(out, Span{e.timeOf(m.from), e.timeOf(m.to)})
	}
	return out
}

// Aligned grows a span to moments that the objective's ledger knows exactly, so that an answer
// for it can replace what is there without touching its neighbours.
func (e *Engine) Aligned(name string, span Span) Span {
	t := e.byName[name]
	if t == nil {
		return span
	}
	from, _ := e.ticksAt(span.From)
	to, onTick := e.ticksAt(span.To)
	if !onTick {
		to++
	}
	if step := t.grid.step(from, t.head); step > 1 {
		from &^= step - 1
	}
	if step := t.grid.step(to, t.head); step > 1 {
		to = min((to+step-1)&^(step-1), t.head)
	}
	return Span{e.timeOf(from), e.timeOf(to)}
}

func (e *Engine) timeOf(tick int64) time.Time {
	return time.UnixMilli(tick * e.tick.Milliseconds()).UTC()
}

// floor is the last whole tick at or before a moment.
func (e *Engine) floor(at time.Time) int64 { return floorDiv(at.UnixMilli(), e.tick.Milliseconds()) }

// At is the moment a report made at now holds for: the last whole tick at or before now − delay.
func (e *Engine) At(now time.Time, delay time.Duration) time.Time {
	return e.timeOf(e.floor(now.Add(-delay)))
}

// Horizon is how far back an objective's answers matter: its period, or its longest alert window.
func (e *Engine) Horizon(name string) time.Duration {
	t := e.byName[name]
	if t == nil {
		return 0
	}
	horizon := t.Period.Longest()
	for _, s := range t.Policy.Severities {
		for _, p := range s.Pairs {
			horizon = max(horizon, p.Long)
		}
	}
	return horizon
}

// Count is what the budget counted in a span, for one group: exact while the ledger knows both
// edges, between the known ticks nearest to them where it is older. Zero for what it does not know.
func (e *Engine) Count(name string, labels []string, span Span) (total, bad float64) {
	t := e.byName[name]
	if t == nil {
		return 0, 0
	}
	r := t.rows[strings.Join(labels, "\xff")]
	if r == nil {
		return 0, 0
	}
	c := t.counted(r, e.floor(span.From), e.floor(span.To))
	return float64(c.total) / t.unitOfBudget(), float64(c.bad) / t.unitOfBudget()
}
