package promapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// window is what stands for the tick in an expression.
var window = regexp.MustCompile(`\{\{\s*\.window\s*\}\}`)

// maxPoints is how many steps Prometheus answers at once.
const maxPoints = 11000

// expressions are what the server evaluates for a question, at the ends of steps.
type expressions struct {
	total string // "" when the part is a ratio already
	part  string
	good  bool  // the part counts good events
	step  int64 // ms: the tick, or with pushdown a tile of several
}

// evaluate answers a question by expressions: promql, ratio, and pushdown of the others. Such
// counts are the server's, and approximate: increase() extrapolates to the edges of its tile and
// loses the first value of every series. They are booked at the ends of tiles, which are aligned
// in Unix time, so that a span still is answered alike by its halves.
func (s *Source) evaluate(ctx context.Context, w *work, span slo.Span) {
	cuts := []stretch{{span.From.UnixMilli(), span.To.UnixMilli(), s.tick}}
	if w.q.plan != nil {
		if cuts, w.err = s.stretches(ctx, w.q, span); w.err != nil {
			return
		}
	}
	if w.q.Indicator.Kind == sources.Latency {
		// Every span looks for itself: a bound may be spelt anew at any time.
		if _, w.err = s.respell(ctx, span.To, []*question{w.q}, cuts[0].from-cuts[0].tile, span.To.UnixMilli()); w.err != nil {
			return
		}
	}
	for _, cut := range cuts {
		if s.evaluateCut(ctx, w, span.To, cut); w.err != nil || w.note != "" {
			w.answer = counted{}
			return
		}
	}
}

// evaluateCut adds the answer for one stretch.
func (s *Source) evaluateCut(ctx context.Context, w *work, youngest time.Time, cut stretch) {
	e := s.expressions(w.q, cut.tile)
	// The last step's end at or before the first tick's end vouches for it.
	first := (cut.from + s.tick) / e.step * e.step
	last := cut.to / e.step * e.step
	if last < first {
		return
	}
	var total, part map[string]*track
	if e.total != "" {
		if total, w.err = s.lines(ctx, youngest, w.q, e.total, first, last, e.step); w.err != nil {
			return
		}
	}
	if part, w.err = s.lines(ctx, youngest, w.q, e.part, first, last, e.step); w.err != nil {
		return
	}
	if e.total == "" {
		total = part
	}
	if w.q.Indicator.Kind == sources.Latency && len(part) == 0 && len(total) > 0 {
		// No good events at all: or nobody has such a bucket?
		w.note, w.err = s.unheld(ctx, w.q, first-e.step, last)
		if w.note != "" || w.err != nil {
			return
		}
	}
	answer, err := s.tabulate(e, cut.from, cut.to, first, last, total, part)
	if err != nil {
		w.err = err
		return
	}
	answer.Series = len(total)
	w.answer.add(answer)
}

// track is one group's values by step.
type track struct {
	group  []string
	values map[int64]float64 // by Unix milliseconds
}

// lines evaluates an expression at first, first+step … last, by group. Series of the same group
// are added up.
func (s *Source) lines(ctx context.Context, youngest time.Time, q *question, expr string, first, last, step int64) (map[string]*track, error) {
	all, err := s.matrix(ctx, youngest, expr, first, last, step)
	if err != nil {
		return nil, err
	}
	out := map[string]*track{}
	for _, one := range all {
		group := make([]string, len(q.GroupBy))
		for i, name := range q.GroupBy {
			if name != s.replicaLabel {
				group[i] = one.labels.Get(name)
			}
		}
		if len(one.hists) > 0 {
			return nil, &Error{What: "query", Text: "the expression gives histograms, not numbers", reason: "other"}
		}
		key := strings.Join(group, "\xff")
		l := out[key]
		if l == nil {
			if len(group) == 0 {
				group = nil
			}
			l = &track{group, map[int64]float64{}}
			out[key] = l
		}
		for _, p := range one.floats {
			l.values[p.T] += p.V
		}
	}
	return out, nil
}

// matrix asks a range query, as much at once as the server answers.
func (s *Source) matrix(ctx context.Context, youngest time.Time, expr string, first, last, step int64) ([]series, error) {
	points := (last-first)/step + 1
	var err error
	if points <= maxPoints {
		var a *answer
		if a, err = s.client.steps(ctx, youngest, expr, first, last, step); err == nil {
			return a.series, nil
		}
		if !loaded(err) || points == 1 || ctx.Err() != nil {
			return nil, err
		}
	}
	middle := first + (points/2-1)*step
	left, err := s.matrix(ctx, youngest, expr, first, middle, step)
	if err != nil {
		return nil, err
	}
	right, err := s.matrix(ctx, youngest, expr, middle+step, last, step)
	if err != nil {
		return nil, err
	}
	return joined(append(left, right...)), nil
}

// tabulate books the values. A step without a total, or with a number that none can be, is not
// covered; one with a total and without a part had none of it.
func (s *Source) tabulate(e expressions, from, to, first, last int64, total, part map[string]*track) (counted, error) {
	var out counted
	keys := make([]string, 0, len(total))
	for key := range total {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	type entry struct{ total, bad float64 }
	groups := make([]slo.GroupSample, len(keys))
	covered := map[int64]bool{}
	for step := first; step <= last; step += e.step {
		good, spoilt := false, false
		row := make([]entry, len(keys))
		has := make([]bool, len(keys))
		for i, key := range keys {
			all, ok := total[key].values[step]
			if !ok || math.IsNaN(all) {
				continue
			}
			if e.total == "" {
				ratio := all
				if ratio < -1e-9 || ratio > 1+1e-9 {
					return counted{}, fmt.Errorf("ratio: %g at %s lies outside of 0 to 1", ratio, time.UnixMilli(step).UTC().Format(time.RFC3339))
				}
				ratio = min(1, max(0, ratio))
				if e.good {
					ratio = 1 - ratio
				}
				row[i], has[i], good = entry{1, ratio}, true, true
				continue
			}
			some := 0.0
			if l := part[key]; l != nil {
				some = l.values[step] // absent is none
			}
			if math.IsNaN(some) && all == 0 {
				some = 0 // nothing divided by nothing
			}
			if all < 0 || math.IsInf(all, 0) || some < 0 || math.IsInf(some, 0) || math.IsNaN(some) {
				spoilt = true
				continue
			}
			if e.good {
				some = all - some
			}
			row[i], has[i], good = entry{all, some}, true, true
		}
		if !good || spoilt {
			continue
		}
		covered[step] = true
		out.Newest = time.UnixMilli(step)
		for i := range keys {
			if !has[i] || step <= from {
				continue
			}
			groups[i].Labels = total[keys[i]].group
			if row[i].total != 0 || row[i].bad != 0 {
				groups[i].Increments = append(groups[i].Increments, slo.Increment{At: time.UnixMilli(step), Total: row[i].total, Bad: row[i].bad})
			}
		}
	}
	for i, key := range keys {
		if groups[i].Labels != nil || len(groups[i].Increments) > 0 || total[key].group == nil {
			out.Groups = append(out.Groups, groups[i])
		}
	}
	for end := from + s.tick; end <= to; end += s.tick {
		if covered[end/e.step*e.step] {
			out.Covered = appendSpan(out.Covered, slo.Span{From: time.UnixMilli(end - s.tick), To: time.UnixMilli(end)})
		}
	}
	return out, nil
}

// expressions writes what the server is to evaluate, with tiles of this length.
func (s *Source) expressions(q *question, tile int64) expressions {
	in := q.Indicator
	part, good := in.Bad, false
	if in.Good != "" {
		part, good = in.Good, true
	}
	if q.plan == nil {
		tick := slo.FormatDuration(time.Duration(s.tick) * time.Millisecond)
		return expressions{
			total: window.ReplaceAllLiteralString(in.Total, tick),
			part:  window.ReplaceAllLiteralString(part, tick),
			good:  good, step: s.tick,
		}
	}
	all := q.plan.Selectors()
	e := expressions{step: tile, good: good}
	if in.Kind == sources.Counters {
		e.total, e.part = s.summed(q, "increase(%s)", all[0], tile), s.summed(q, "increase(%s)", all[1], tile)
		return e
	}
	q.mu.Lock()
	bucket := all[1].With(oneOf(labels.BucketLabel, q.spellings()))
	q.mu.Unlock()
	e.good = true
	e.total = s.summed(q, "increase(%s)", all[0], tile) + " or " + s.summed(q, "histogram_count(increase(%s))", all[2], tile)
	e.part = s.summed(q, "increase(%s)", bucket, tile) + " or " +
		s.summed(q, fmt.Sprintf("histogram_fraction(-Inf, %g, increase(%%[1]s)) * histogram_count(increase(%%[1]s))", in.Below), all[2], tile)
	return e
}

// summed adds an expression over a selector's tile up by group, of one replica where there are
// several: the one that saw most.
func (s *Source) summed(q *question, expr string, sel selectors.Selector, tile int64) string {
	expr = fmt.Sprintf(expr, fmt.Sprintf("%s[%dms]", sel, tile))
	groups := slices.DeleteFunc(slices.Clone(q.GroupBy), func(name string) bool { return name == s.replicaLabel })
	by := strings.Join(groups, ", ")
	if s.replicaLabel == "" {
		return fmt.Sprintf("sum by (%s) (%s)", by, expr)
	}
	return fmt.Sprintf("max by (%s) (sum by (%s) (%s))", by, strings.Join(append(groups, s.replicaLabel), ", "), expr)
}

// unheld says that no histogram of a pushdown question has the bound; "" when one has it.
func (s *Source) unheld(ctx context.Context, q *question, from, to int64) (string, error) {
	youngest := time.UnixMilli(to)
	all := q.plan.Selectors()
	q.mu.Lock()
	bucket := all[1].With(oneOf(labels.BucketLabel, q.spellings()))
	q.mu.Unlock()
	found, errs := s.tally(ctx, youngest, []probe{{q, bucket, to - from, to}, {q, all[2], to - from, to}})
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	if found[0]+found[1] > 0 {
		return "", nil
	}
	a, err := s.client.instant(ctx, youngest, fmt.Sprintf("topk(1, last_over_time(%s[%dms]))", all[0], to-from), to)
	if err != nil || len(a.series) == 0 {
		return "", err
	}
	return s.explain(ctx, youngest, q, a.series[0].labels, from, to)
}
