package slo

import (
	"slices"
	"strings"
	"time"
)

// CourseQuery asks for the course of an objective.
type CourseQuery struct {
	Name   string
	Groups [][]string    // values of GroupBy, of the rows that are added up; nil: all there are
	Span   Span          // zero From: the start of the period; zero To, or one ahead: the newest tick
	Step   time.Duration // between two edges, which lie on its multiples in Unix time; a tick at least
}

// Course is what an objective, or groups of it together, counted step by step. It is told from the
// columns that windows are told from, with the same edges, so the counts of all steps add up to the
// count of a window over the same span, exactly.
type Course struct {
	Objective *Objective
	Groups    int       // rows added up
	At        time.Time // the newest tick, as in Status
	Span      Span      // of all slots; its edges are ticks that are known
	Step      time.Duration
	Slots     []Slot // oldest first, without a hole

	Period    Span    // so far; its left edge is the known tick nearest to the start
	Total     float64 // of the period, as its window has it
	Bad       float64
	Coverage  float64 // of the period
	Allowed   float64 // (1 − target)·total
	Remaining float64

	Fired       []Fired          // alerts of these rows that fired in Span, by their beginning
	Watched     []Span           // parts of Span in which somebody looked at alerts
	Corrections []CorrectionSpan // that touch Span, by their beginning
}

// Slot is one step of a course: what happened between two known ticks.
type Slot struct {
	Span
	Total, Bad float64
	Coverage   float64 // share of the slot the source answered for, 0–1
	ErrorRatio Value   // as in Window
	BurnRate   Value
	// Remaining is what was left of the budget at the slot's end; undefined before the period. Of a
	// rolling period the budget is that of the present window as a whole, and this is how it was
	// spent; of a calendar one it is the budget as it was then.
	Remaining Value
}

// CorrectionSpan is one stretch in which a correction applies.
type CorrectionSpan struct {
	Name   string
	Effect Effect
	Span
	Approximate time.Duration // of it, what was taken in proportion to time
}

// Oldest is the oldest moment that a course of an objective can begin at; zero for one that is not
// there or was never answered.
func (e *Engine) Oldest(name string) time.Time {
	t := e.byName[name]
	if t == nil || t.lane.head == 0 {
		return time.Time{}
	}
	return e.timeOf(t.lane.head - t.lane.grid.horizon)
}

// Course tells the course of an objective; nil for one that is not there, or none of whose rows is
// asked for, and for a span of which nothing is kept. A span that reaches back further than what is
// kept is cut.
func (e *Engine) Course(q CourseQuery) *Course {
	t := e.byName[q.Name]
	if t == nil || t.lane.head == 0 {
		return nil
	}
	var rows []*row
	for _, key := range t.keys {
		if q.Groups == nil || slices.ContainsFunc(q.Groups, func(labels []string) bool { return strings.Join(labels, "\xff") == key }) {
			rows = append(rows, t.rows[key])
		}
	}
	head := t.lane.head
	begin := t.plan.from(t.plan.whole, t.lane)
	from, to := begin, head
	if !q.Span.From.IsZero() {
		from = e.floor(q.Span.From)
	}
	if !q.Span.To.IsZero() {
		to = min(e.floor(q.Span.To), head)
	}
	from = max(from, head-t.lane.grid.horizon)
	if len(rows) == 0 && len(t.GroupBy) == 0 || q.Groups != nil && len(rows) < len(q.Groups) || from >= to {
		return nil
	}
	c := &Course{Objective: &t.Objective, Groups: len(rows), At: e.timeOf(head)}
	width := t.quantum()
	step := max(-floorDiv(-int64(q.Step), int64(e.tick)), 1)
	step = -floorDiv(-step, width) * width
	c.Step = time.Duration(step) * e.tick
	edges := t.lane.edges(from, to, step)
	if oldest := head - t.lane.grid.horizon; edges[0] < oldest { // what was covered before is forgotten
		edges[0] += t.lane.grid.step(oldest, head)
		if len(edges) > 1 && edges[1] <= edges[0] {
			edges = edges[1:]
		}
	}
	c.Span = Span{e.timeOf(edges[0]), e.timeOf(edges[len(edges)-1])}

	t.budgetOf(c, rows, begin)
	t.slots(c, rows, begin, edges)
	t.marks(c, rows, ticks{edges[0], edges[len(edges)-1]})
	return c
}

// nearest is the known tick nearest to k: the one whose slot edge answers with.
func (l *lane) nearest(k int64) int64 {
	if k >= l.head {
		return l.head
	}
	step := l.grid.step(k, l.head)
	return min((k+step/2)&^(step-1), l.head)
}

// edges are the known ticks nearest to from, to, and the multiples of step between them, without
// those that are the same: one at least.
func (l *lane) edges(from, to, step int64) []int64 {
	out := make([]int64, 1, (to-from)/step+3)
	out[0] = l.nearest(from)
	add := func(k int64) {
		if k = l.nearest(k); k > out[len(out)-1] {
			out = append(out, k)
		}
	}
	for k := (floorDiv(from, step) + 1) * step; k < to; k += step {
		add(k)
	}
	add(to)
	return out
}

// remaining is 1 − bad/allowed of counts, in the same steps of floating point wherever it is asked.
func (t *tracked) remaining(bad, total int64) float64 {
	unit := t.unitOfBudget()
	if allowed := t.Target.Rest().Float() * (float64(total) / unit); allowed > 0 {
		return 1 - float64(bad)/unit/allowed
	}
	return 1
}

// budgetOf fills in the period.
func (t *tracked) budgetOf(c *Course, rows []*row, begin int64) {
	head, unit := t.lane.head, t.unitOfBudget()
	var whole counts
	for _, r := range rows {
		whole = whole.plus(t.counted(r, begin, head))
	}
	c.Period = Span{t.engine.timeOf(t.lane.nearest(begin)), t.engine.timeOf(head)}
	c.Total, c.Bad = float64(whole.total)/unit, float64(whole.bad)/unit
	if begin < head {
		c.Coverage = float64(t.history().covered.within(ticks{begin, head})) / float64(head-begin)
	}
	c.Allowed, c.Remaining = t.Target.Rest().Float()*c.Total, t.remaining(whole.bad, whole.total)
}

// slots fills in the steps.
func (t *tracked) slots(c *Course, rows []*row, begin int64, edges []int64) {
	n, unit := len(edges)-1, t.unitOfBudget()
	sums, since := make([]counts, n), make([]counts, n)
	raw := make([]counts, n)
	for _, r := range rows {
		at := func(k int64) counts { return r.at(t.lane.edge(k)) }
		start, before := at(begin), at(edges[0])
		for i, k := range edges[1:] {
			now := at(k)
			raw[i], before = now.minus(before), now
			since[i] = since[i].plus(now.minus(start).clamped())
		}
		for i, one := range reconciled(raw) {
			sums[i] = sums[i].plus(one)
		}
	}
	var whole counts
	for _, r := range rows {
		whole = whole.plus(t.counted(r, begin, t.lane.head))
	}
	covered, next := t.history().covered, 0
	c.Slots = make([]Slot, n)
	for i := range c.Slots {
		s, span := &c.Slots[i], ticks{edges[i], edges[i+1]}
		for next < len(covered) && covered[next].to <= span.from {
			next++
		}
		answered := int64(0)
		for j := next; j < len(covered) && covered[j].from < span.to; j++ {
			answered += min(covered[j].to, span.to) - max(covered[j].from, span.from)
		}
		s.Span = Span{t.engine.timeOf(span.from), t.engine.timeOf(span.to)}
		s.Total, s.Bad = float64(sums[i].total)/unit, float64(sums[i].bad)/unit
		s.Coverage = float64(answered) / float64(span.to-span.from)
		s.ErrorRatio, s.BurnRate = t.ratios(sums[i], answered > 0)
		if span.to <= t.lane.nearest(begin) {
			continue
		}
		if t.Period.Calendar == Rolling {
			s.Remaining = Defined(t.remaining(since[i].bad, whole.total))
		} else {
			s.Remaining = Defined(t.remaining(since[i].bad, since[i].total))
		}
	}
}

// reconciled has every step hold what can be, total ≥ 0 and bad within it, and all of them together
// what clamped says of their sum. What a gap in a series takes away again later would else be less
// than nothing. It works in place.
func reconciled(steps []counts) []counts {
	var sum counts
	fine := true
	for _, c := range steps {
		sum = sum.plus(c)
		fine = fine && c == c.clamped()
	}
	if fine {
		return steps
	}
	want, left := sum.clamped(), counts{}
	for i := range steps { // what a step cannot hold is the next one's
		c := steps[i].plus(left)
		steps[i] = c.clamped()
		left = c.minus(steps[i])
	}
	sum = counts{}
	for _, c := range steps {
		sum = sum.plus(c)
	}
	for i := len(steps) - 1; i >= 0; i-- { // and what the last cannot hold, those before it
		c := &steps[i]
		less := min(sum.total-want.total, c.total)
		c.total -= less
		sum.total -= less
		less = max(c.bad-c.total, 0)
		c.bad -= less
		sum.bad -= less
	}
	for i := len(steps) - 1; i >= 0; i-- {
		c := &steps[i]
		more := max(min(want.bad-sum.bad, c.total-c.bad), -c.bad)
		c.bad += more
		sum.bad += more
	}
	return steps
}

// marks fills in what is marked beside the steps.
func (t *tracked) marks(c *Course, rows []*row, span ticks) {
	e := t.engine
	for _, r := range rows {
		c.Fired = append(c.Fired, t.firedIn(r, span)...)
	}
	slices.SortStableFunc(c.Fired, func(a, b Fired) int { return a.From.Compare(b.From) })
	for _, s := range t.watched() {
		if s = (ticks{max(s.from, span.from), min(s.to, span.to)}); s.from < s.to {
			c.Watched = append(c.Watched, Span{e.timeOf(s.from), e.timeOf(s.to)})
		}
	}
	if !t.corrected() {
		return
	}
	for i, own := range t.effective(span.from, span.to).each {
		for _, s := range own {
			if s.from < span.to && s.to > span.from {
				c.Corrections = append(c.Corrections, CorrectionSpan{
					Name: t.Corrections[i].Name, Effect: t.Corrections[i].Effect, Span: Span{e.timeOf(s.from), e.timeOf(s.to)},
					Approximate: time.Duration(t.approx.within(s)) * e.tick,
				})
			}
		}
	}
	slices.SortStableFunc(c.Corrections, func(a, b CorrectionSpan) int { return a.From.Compare(b.From) })
}

// Spark is how the budget of one row went over its period, in a few points.
type Spark struct {
	Name   string
	Group  string // values of GroupBy, joined by "\xff"
	Points []float32
}

// sparking is a row whose spark is being drawn.
type sparking struct {
	t            *tracked
	r            *row
	edges        []int64 // slots
	begin, whole counts
}

// Sparks tells of the rows of some objectives, the first-th and those after it in the order of Set,
// until there are about so many, what Slot.Remaining would at the ends of n equal steps over the
// period. next is the place to go on from; it is the number of objectives when all are told. A row
// of which nothing was answered in its period has no points.
func (e *Engine) Sparks(first, rows, n int) (sparks []Spark, next int) {
	var drawn []sparking
	var lane *lane
	var plan *plan
	var edges []int64 // of the period's start, and of the ends
	for ; first < len(e.inOrder) && len(sparks) < rows; first++ {
		t := e.inOrder[first]
		if t.lane != lane || t.plan != plan {
			lane, plan = t.lane, t.plan
			begin := plan.from(plan.whole, lane)
			edges = make([]int64, 1, n+1)
			edges[0] = lane.edge(begin)
			for i := range n {
				edges = append(edges, lane.edge(begin+(lane.head-begin)*int64(i+1)/int64(n)))
			}
		}
		covered := t.history().cover(plan).ticks[plan.whole] > 0
		for _, key := range t.keys {
			sparks = append(sparks, Spark{Name: t.Name, Group: key})
			if r := t.rows[key]; covered {
				drawn = append(drawn, sparking{t: t, r: r, edges: edges})
			} else {
				drawn = append(drawn, sparking{})
			}
		}
	}
	for i := range drawn { // column by column
		if d := &drawn[i]; d.t != nil {
			d.begin = d.r.at(d.edges[0])
			d.whole = d.r.at(-1).minus(d.begin).clamped()
		}
	}
	points := make([]float32, len(sparks)*n)
	for k := range n {
		for i := range drawn {
			d := &drawn[i]
			if d.t == nil {
				continue
			}
			c := d.r.at(d.edges[k+1]).minus(d.begin).clamped()
			if d.t.Period.Calendar == Rolling {
				c.total = d.whole.total
			}
			points[i*n+k] = float32(d.t.remaining(c.bad, c.total))
		}
	}
	for i := range sparks {
		if drawn[i].t != nil {
			sparks[i].Points = points[i*n:][:n:n]
		}
	}
	return sparks, first
}

// at is what a row's budget had counted at a slot, less what corrections take out; −1 is the newest.
func (r *row) at(slot int64) counts {
	c := r.budget.at(slot)
	if r.taken != nil {
		c = c.minus(r.taken.at(slot))
	}
	return c
}

func (l *ledger) at(slot int64) counts {
	if slot < 0 {
		return l.now()
	}
	return l.get(slot, l.row)
}
