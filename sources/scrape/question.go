package scrape

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// remembered is how long answers are kept, so that a grown span is answered whole: as long as the
// slots of single ticks exist (MATHS.md, "Put, not added").
const remembered = 2 * time.Hour

// question counts for one objective. It is not safe for concurrent use.
type question struct {
	plan    *selectors.Plan
	tick    time.Duration
	memory  *increments.Memory
	answers []answer                       // by time, of the last two hours
	done    time.Time                      // newest turn that was answered; zero before the first
	err     error                          // why a turn after done was not
	layouts map[string][]increments.Bucket // of native histograms when they were last seen, by family
}

// answer is what one turn said. Its samples were all booked at one moment.
type answer struct {
	increments.Answer
	at   time.Time
	note string
}

func newQuestion(plan *selectors.Plan, tick time.Duration) *question {
	return &question{plan: plan, tick: tick, memory: increments.NewMemory(tick, plan.Question.Period)}
}

// count takes the pages of one turn: found[i] is nil where a target failed, for the reason in
// failed[i]. index is the question's place in a page.
func (q *question) count(at time.Time, index int, found []*page, failed []error) {
	if last := q.memory.AsOf(); !at.After(last) { // only the first turns after a restart can be as early
		if last.Sub(at) <= remembered {
			q.err, q.done = nil, at // counted before the restart
			return
		}
		q.memory = increments.NewMemory(q.tick, q.plan.Question.Period)
	}
	var series []increments.Series
	note, carried := "", false
	for _, p := range found {
		if p == nil {
			continue
		}
		part := p.parts[index]
		if note == "" {
			note = part.fault
		}
		q.settle(part)
		for _, s := range part.series {
			carried = carried || s.Role&increments.Total != 0
			if p.started != 0 {
				q.memory.Started(s.Target, time.UnixMilli(p.started))
			}
		}
		series = append(series, part.series...)
	}
	if err := errors.Join(failed...); err != nil && !carried {
		q.err = err
		return
	}
	q.err, q.done = nil, at
	out := answer{at: at, note: note}
	if note == "" { // else the memory waits where it is: what comes after the fault is an increase across it
		out.Answer = q.take(q.span(at), series)
	}
	maps.DeleteFunc(q.layouts, func(family string, _ []increments.Bucket) bool { return !q.memory.Knows(family) })
	q.answers = append(q.answers, out)
	for len(q.answers) > 0 && !q.answers[0].at.After(at.Add(-remembered)) {
		q.answers = slices.Delete(q.answers, 0, 1)
	}
}

// span is what the memory has not counted yet, no longer than answers are remembered.
func (q *question) span(at time.Time) slo.Span {
	from := q.memory.AsOf()
	if from.IsZero() {
		from = at.Add(-q.tick)
	}
	if oldest := at.Add(-remembered); from.Before(oldest) {
		from = oldest
	}
	return slo.Span{From: from, To: at}
}

func (q *question) take(span slo.Span, series []increments.Series) increments.Answer {
	in := q.plan.Question.Indicator
	if in.Kind == sources.Gauge {
		return q.memory.Events(span, series, func(v float64) bool { return in.Compare.Holds(v) == in.CompareBad })
	}
	return q.memory.Count(span, series)
}

// answer puts together what the turns within a span said.
func (q *question) answer(span slo.Span) slo.Sample {
	sample := slo.Sample{SLO: q.plan.Question.SLO, Span: span}
	if q.err != nil && span.To.After(q.done) {
		sample.Err = q.err
		return sample
	}
	groups := map[string]*slo.GroupSample{}
	var keys []string
	for _, a := range q.answers {
		// An answer vouches for the time before its turn too, where that was not asked alone.
		for _, c := range a.Covered {
			sample.Covered = cover(sample.Covered, c, span)
		}
		if !span.Holds(a.at) {
			continue
		}
		sample.Newest, sample.Note = a.Newest, a.note
		sample.Baselined += a.Baselined
		sample.Series = a.Series
		for _, g := range a.Groups {
			key := strings.Join(g.Labels, "\xff")
			to, ok := groups[key]
			if !ok {
				to = &slo.GroupSample{Labels: g.Labels}
				groups[key] = to
				keys = append(keys, key)
			}
			to.Increments = append(to.Increments, g.Increments...)
			to.Spreads = append(to.Spreads, g.Spreads...)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		sample.Groups = append(sample.Groups, *groups[key])
	}
	return sample
}

// cover adds the part of c that lies in the span to ordered spans.
func cover(spans []slo.Span, c, span slo.Span) []slo.Span {
	if c.From.Before(span.From) {
		c.From = span.From
	}
	if c.To.After(span.To) {
		c.To = span.To
	}
	if c.Empty() {
		return spans
	}
	if n := len(spans); n > 0 && spans[n-1].To.Equal(c.From) {
		spans[n-1].To = c.To
		return spans
	}
	return append(spans, c)
}
