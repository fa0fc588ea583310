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
//
//	Observe ──▶ seat ──▶ block.now ┐                    lane: one newest tick, shared histories
//	                               ├─ advance: a column ▶ block: totals by tick and row
//	Evaluate ◀── status ◀── judge ─┘
//
// What is alike goes the short way: a whole answer for the newest tick is added to one row, all rows
// are judged column by column. All else — late answers, spreads, slices, gaps in coverage, alerts
// that fire — goes row by row through ledger and status, over the same tables.
type Engine struct {
	tick     time.Duration
	byName   map[string]*tracked
	inOrder  []*tracked
	seats    []seat   // of inOrder
	latest   []latest // of inOrder
	watching int64    // ms; newest of the objectives', and of those to come until Watch is called again
	widest   *grid    // of the objectives, the one with the longest horizon
	lanes    []*lane
	plans    map[string]*plan
	grids    map[grid]*grid

	histories   []*history
	spreading   map[*tracked]bool // they have spreads
	approximate map[*tracked]bool // they have ticks that corrections took in proportion
	grouped     []*tracked        // their groups come and go
	unjudged    []*tracked        // nobody has looked at their alerts yet
	looked      coverage          // ticks of the clock at which somebody looked at alerts
	journal     *journal          // what a store does not have yet; nil: nobody keeps one
	shape       shape             // of the objective that was last asked for it
}

// tracked is one objective with its state.
type tracked struct {
	Objective
	engine  *Engine
	place   int // of its seat
	lane    *lane
	plan    *plan
	unit    float64
	rows    map[string]*row
	keys    []string         // keys of rows, ordered
	folded  map[string]int64 // groups beyond the limit, with the tick of their last event
	note    string
	clamped int64
	policy  []compiled
	fresh   bool // its alerts were not looked at yet

	watching int64 // ms; events at or before it are history and do not raise the counters
	watchSet bool  // watching is settled

	looked   int64              // first tick at which they were; 0 before
	episodes map[*row][]episode // alerts that fired, in the order in which they ended; nil without any

	effects effects  // of the corrections
	approx  coverage // ticks of which corrections took their part in proportion to time
	again   coverage // those of them to be asked for again
}

// seat is what an answer of the common kind needs of an objective, close together.
type seat struct {
	name    string
	block   *block // of its only row; nil when it goes the long way
	row     int32
	noted   bool // its objective has a note
	history *history
	saved   uint64 // of the history's edges, in the store
}

// latest is what every answer changes beside the counts. It is apart from the seat, which a turn only
// reads: what is written has to go back to memory, too.
type latest struct {
	told   int64 // newest tick of an answer; 0 before the first
	newest int64 // ms of the newest sample; 0 before the first
}

// row is one group's budget.
type row struct {
	key     string
	labels  []string
	events  *ledger // what the source counted
	budget  *ledger // what the budget counts: events, or slices made of them
	taken   *ledger // what corrections take out of the budget; nil without any
	since0  counts  // what the budget has counted since watching, less budget.now: it moves with it
	lastHit int64   // tick of the last event of a group; 0 before the first
	sliced  int64   // newest tick at which a slice was booked; 0 is not known
	number  uint32  // on disk: of events, and
	slices  uint32  // of slices; 0 when there is none yet

	takenNumber uint32 // of what is taken out

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
	return &Engine{
		tick: tick, byName: map[string]*tracked{}, plans: map[string]*plan{}, grids: map[grid]*grid{},
		spreading: map[*tracked]bool{}, approximate: map[*tracked]bool{},
	}, nil
}

// Tick is the engine's tick.
func (e *Engine) Tick() time.Duration { return e.tick }

// Watch says when watching began of the objectives for which that is not known yet: those that were
// set since the last call, and were not restored. Events after it raise the counters of
// Status.EventsTotal; what is put for the time before is history. It is kept with the state, so that
// what happened while nobody was there counts once it is learned. Without it everything counts.
func (e *Engine) Watch(from time.Time) {
	at := from.UnixMilli()
	e.watching = max(e.watching, at)
	for _, t := range e.inOrder {
		if !t.watchSet {
			t.watching, t.watchSet = at, true
		}
	}
}

// Set makes these the objectives, in this order. One that was there keeps its history, whatever
// changed; one with other groups than before starts anew. Names must be unique.
func (e *Engine) Set(objectives []Objective) {
	e.settle()
	old, seats, answers := e.byName, e.seats, e.latest
	e.byName, e.inOrder = make(map[string]*tracked, len(objectives)), make([]*tracked, 0, len(objectives))
	e.seats, e.latest = make([]seat, len(objectives)), make([]latest, len(objectives))
	empty := map[*lane]*history{}
	for i, o := range objectives {
		t := old[o.Name]
		if t == nil || !slices.Equal(t.GroupBy, o.GroupBy) || t.Budgeting != o.Budgeting || t.unit != unitOf(o) {
			t = &tracked{
				engine: e, place: i, rows: map[string]*row{}, folded: map[string]int64{}, unit: unitOf(o),
				watching: e.watching,
			}
			e.seats[i].name = o.Name
		} else {
			e.seats[i], e.latest[i] = seats[t.place], answers[t.place]
			t.place = i
		}
		t.configure(o, empty)
		e.byName[o.Name] = t
		e.inOrder = append(e.inOrder, t)
	}
	e.widest, e.grouped = nil, nil
	for _, t := range e.inOrder {
		if e.widest == nil || t.lane.grid.horizon > e.widest.horizon {
			e.widest = t.lane.grid
		}
		if len(t.GroupBy) > 0 {
			e.grouped = append(e.grouped, t)
		}
	}
	for name, t := range old {
		if e.byName[name] == t {
			continue
		}
		t.leave()
		if e.journal == nil {
			continue
		}
		for _, key := range t.keys {
			e.dropped(t.rows[key])
		}
		delete(e.journal.saved, name)
		if e.byName[name] == nil {
			e.journal.gone = append(e.journal.gone, Record{objectiveBucket, []byte(name), nil})
		}
	}
	e.unbase()
	e.tidy()
}

// leave gives back what an objective holds.
func (t *tracked) leave() {
	for _, r := range t.rows {
		t.vacate(r)
	}
	t.lane.used--
	delete(t.engine.spreading, t)
	delete(t.engine.approximate, t)
}

func (t *tracked) vacate(r *row) {
	if r.budget != r.events {
		r.budget.release(r.budget.row)
	}
	r.events.release(r.events.row)
	if r.taken != nil {
		r.taken.release(r.taken.row)
	}
}

// tidy lets go of lanes, blocks and histories that nobody uses.
func (e *Engine) tidy() {
	e.unbase()
	e.lanes = slices.DeleteFunc(e.lanes, func(l *lane) bool { return l.used == 0 })
	for _, l := range e.lanes {
		l.blocks = slices.DeleteFunc(l.blocks, func(b *block) bool { return len(b.free) == b.rows })
	}
	for _, h := range e.histories {
		h.members = 0
	}
	for i := range e.seats {
		e.seats[i].history.members++
	}
	e.histories = slices.DeleteFunc(e.histories, func(h *history) bool { return h.members == 0 })
}

// laneOf is the lane of all objectives with a grid and a delay.
func (e *Engine) laneOf(g *grid, delay time.Duration) *lane {
	for _, l := range e.lanes {
		if l.grid == g && l.delay == delay && !l.apart {
			return l
		}
	}
	l := &lane{grid: g, delay: delay}
	e.lanes = append(e.lanes, l)
	e.unbase()
	return l
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

// configure makes an objective what the configuration says, with the history that it has. empty are
// the histories of objectives that have none yet, by lane.
func (t *tracked) configure(o Objective, empty map[*lane]*history) {
	e := t.engine
	alike := t.Target == o.Target && reflect.DeepEqual(t.Policy, o.Policy) // it does not notice
	if t.lane != nil && (t.corrected() || len(o.Corrections) > 0) {
		t.recorrect(t.effective(t.lane.head-t.lane.grid.horizon, t.lane.head).spans, o.Corrections)
	}
	t.Objective = o
	g := newGrid(e.tick, horizonOf(&o))
	if e.grids[g] == nil {
		e.grids[g] = &g
	}
	p := planOf(&o, e.tick)
	if e.plans[p.key] == nil {
		e.plans[p.key] = p
	}
	t.plan = e.plans[p.key]
	if !alike {
		for _, r := range t.rows { // another policy has other pairs
			for severity, since := range r.since {
				t.over(r, severity, since, t.lane.head)
			}
			r.held, r.since = nil, nil
		}
	}
	t.policy = compile(o)
	e.touch(t)
	to := e.laneOf(e.grids[g], o.Delay)
	if t.lane == nil {
		t.lane, t.fresh = to, true
		t.lane.used++
		if empty[to] == nil {
			empty[to] = &history{lane: to}
			e.histories = append(e.histories, empty[to])
		}
		empty[to].members++
		e.seats[t.place].history = empty[to]
		e.unjudged = append(e.unjudged, t)
	} else {
		t.join(to)
	}
	if !alike && !t.fresh {
		t.fresh = true
		e.unjudged = append(e.unjudged, t)
	}
	for _, r := range t.rows {
		t.settleRow(r)
	}
	if len(o.GroupBy) == 0 {
		t.row(nil)
	}
	t.seated()
}

// horizonOf is for how long an objective's totals are kept.
func horizonOf(o *Objective) time.Duration {
	horizon := max(o.Period.Longest(), 3*Day)
	for _, s := range o.Policy.Severities {
		for _, p := range s.Pairs {
			horizon = max(horizon, 2*p.Long)
		}
	}
	return horizon
}

// join takes an objective to another lane. One that is behind is not joined until it has caught up:
// an objective never goes behind what it has seen.
func (t *tracked) join(to *lane) {
	if t.lane == to {
		return
	}
	if to.head < t.lane.head {
		if to.used > 0 || to.head > 0 {
			to = &lane{grid: to.grid, delay: to.delay, apart: true}
			t.engine.lanes = append(t.engine.lanes, to)
		}
		to.head, to.judged, to.looked = t.lane.head, t.lane.judged, t.lane.looked
	}
	t.move(to)
}

// move takes an objective to a lane that is not behind its own.
func (t *tracked) move(to *lane) {
	h := t.own()
	t.lane.used--
	t.lane, h.lane = to, to
	t.lane.used++
	h.stale()
	t.engine.unbase()
	for _, r := range t.rows {
		t.settleRow(r)
	}
	t.seated()
}

// bare is the plan of ledgers that are not judged in columns.
var bare = &plan{}

// columns reports whether the status of an objective can be read from the columns of its block.
func (t *tracked) columns() bool { return !t.Budgeting.Slices() && !t.corrected() }

// settleRow brings the ledgers of a row to blocks of the objective's lane and plan.
func (t *tracked) settleRow(r *row) {
	t.settle(r.events)
	if r.budget != r.events {
		t.settle(r.budget)
	}
	if r.taken != nil {
		t.settle(r.taken)
	}
}

// settle brings a ledger to a block of the objective's lane and plan.
func (t *tracked) settle(l *ledger) {
	p := t.plan
	if !t.columns() {
		p = bare
	}
	if l.lane != t.lane || l.plan != p {
		l.move(t.lane.room(p, l.wide))
	}
	l.rest[l.row] = t.Target.Rest().Float()
}

// seated brings the seat of an objective up to date with its rows.
func (t *tracked) seated() {
	s := &t.engine.seats[t.place]
	s.block, s.row = nil, 0
	if r := t.rows[""]; r != nil && len(t.GroupBy) == 0 && t.columns() {
		s.block, s.row = r.events.block, int32(r.events.row)
	}
}

func (t *tracked) newLedger() *ledger {
	p := t.plan
	if !t.columns() {
		p = bare
	}
	l := &ledger{owner: t}
	l.block = t.lane.room(p, t.unit != 1 || !t.columns())
	l.row = l.take(l)
	return l
}

// row finds the row of a group, or makes it.
func (t *tracked) row(labels []string) *row {
	key := strings.Join(labels, "\xff")
	if r := t.rows[key]; r != nil {
		return r
	}
	r := &row{key: key, labels: slices.Clone(labels), events: t.newLedger()}
	r.budget = r.events
	if t.Budgeting.Slices() {
		r.budget = t.newLedger()
	}
	if t.corrected() {
		r.taken = t.newTaken()
	}
	t.rows[key] = r
	if j := t.engine.journal; j != nil {
		j.nameless, j.stale = append(j.nameless, r), true
	}
	i, _ := slices.BinarySearch(t.keys, key)
	t.keys = slices.Insert(t.keys, i, key)
	return r
}

// seen is what a row's budget has counted since watching began.
func (r *row) seen() counts { return r.budget.now().plus(r.since0) }

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

// slice counts the slices that an answer touches, and puts them into the budget: those of its span,
// and those that its spreads reach back to as far as single ticks are known.
func (t *tracked) slice(r *row, span ticks, reach int64, a answered) {
	width := int64(t.Budgeting.Slice / t.lane.grid.tick)
	first := floorDiv(min(span.from, max(reach, t.lane.head-t.lane.grid.fine+width+1)), width) * width
	last := floorDiv(min(-floorDiv(-span.to, width)*width, t.lane.head), width) * width
	var entries []entry
	next := 0
	for end := first + width; end <= last; end += width {
		slot := ticks{end - width, end}
		var c counts
		if slot.from >= span.from && slot.to <= span.to && t.lane.head-slot.from >= t.lane.grid.fine {
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
		if badness, counted := t.badness(c, t.history().covered.within(slot)); counted {
			entries = append(entries, entry{end, counts{sliceUnit, badness}})
		}
	}
	told := r.sliced
	if told == 0 {
		told = t.lane.head
	}
	r.budget.put(first, max(last, first), told, entries, nil)
	if r.taken != nil {
		r.taken.put(first, max(last, first), told, t.effective(first, last).take(entries), nil)
	}
	r.sliced = max(told, last)
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

// Unanswered are the parts of a span that no answer has covered yet, or that are to be asked for
// again since corrections changed, oldest first, on whole ticks: what is still to be asked of an
// objective's source.
func (e *Engine) Unanswered(name string, span Span) []Span {
	t := e.byName[name]
	if t == nil {
		return nil
	}
	e.settleOne(t.history())
	from, _ := e.ticksAt(span.From)
	to, _ := e.ticksAt(span.To)
	var out []Span
	for _, m := range t.history().asked.missing(ticks{from, to}) {
		out = append(out, Span{e.timeOf(m.from), e.timeOf(m.to)})
	}
	if len(t.again) > 0 { // apart from the others: an answer to both could be refused for one
		for _, m := range t.again {
			if part := (ticks{max(m.from, from), min(m.to, to)}); part.from < part.to {
				out = append(out, Span{e.timeOf(part.from), e.timeOf(part.to)})
			}
		}
		slices.SortStableFunc(out, func(a, b Span) int { return a.From.Compare(b.From) })
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
	if step := t.lane.grid.step(from, t.lane.head); step > 1 {
		from &^= step - 1
	}
	if step := t.lane.grid.step(to, t.lane.head); step > 1 {
		to = min((to+step-1)&^(step-1), t.lane.head)
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
