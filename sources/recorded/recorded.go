// Package recorded answers questions from a recording: OpenMetrics text with timestamps, plain or
// gzip, series in any order — what `promtool tsdb create-blocks-from openmetrics` takes.
//
// It stands for any source in a backtest and fills the demo's past. The whole recording is read
// once; only series that a question counts are kept. Like every source it answers spans, in any
// order and as often as asked.
package recorded

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// Source is a recording in memory. Collect is safe for one goroutine at a time.
type Source struct {
	name      string
	tick      time.Duration
	questions []*question
	started   []started
	oldest    int64
	newest    int64
}

var _ sources.Source[slo.Sample] = (*Source)(nil)

// question is one objective with the recorded series it counts.
type question struct {
	sources.Question
	plan   *selectors.Plan
	why    string // why nothing can be counted; "" when it can
	series []increments.Series
	bounds selectors.Bounds
	memory *increments.Memory
}

// started is what process_start_time_seconds said of a target.
type started struct {
	target string
	at     time.Time
}

// Options are what a recording is read for.
type Options struct {
	Name      string
	Tick      time.Duration
	Questions []sources.Question
}

// Read reads a recording to its end. An error names the line that is broken.
func Read(r io.Reader, o Options) (*Source, error) {
	s := &Source{name: o.Name, tick: o.Tick}
	for _, q := range o.Questions {
		one := &question{Question: q, bounds: selectors.Bounds{}}
		plan, err := selectors.NewPlan(q)
		if err != nil {
			one.why = fmt.Sprintf("a recording cannot answer %s indicators", q.Indicator.Kind)
		}
		one.plan = plan
		s.questions = append(s.questions, one)
	}
	data, err := text(r)
	if err != nil {
		return nil, err
	}
	if err := s.parse(data); err != nil {
		return nil, err
	}
	for _, q := range s.questions {
		if fault := q.bounds.Fault(q.Indicator.Below); fault != "" {
			q.why = fault
		}
	}
	return s, nil
}

// text is the recording without its gzip, if it had one.
func text(r io.Reader) ([]byte, error) {
	br := bufio.NewReader(r)
	if magic, _ := br.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		zr, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("recording: %w", err)
		}
		defer zr.Close()
		data, err := io.ReadAll(zr)
		if err != nil {
			return nil, fmt.Errorf("recording: %w", err)
		}
		return data, nil
	}
	data, err := io.ReadAll(br)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	return data, nil
}

// track is one series of the recording with where its samples go.
type track struct {
	labels  labels.Labels
	points  []increments.Point
	counted bool // by some question
	created bool // a _created series
	start   bool // process_start_time_seconds
}

func (s *Source) parse(data []byte) error {
	p := textparse.NewOpenMetricsParser(data, labels.NewSymbolTable())
	tracks := map[string]*track{}
	var order []*track
	entries := 0
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("recording: %w (after %d samples)", err, entries)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		entries++
		name, at, v := p.Series()
		t, ok := tracks[string(name)]
		if !ok {
			t = &track{}
			p.Labels(&t.labels)
			t.counted = s.counts(t.labels)
			metric := t.labels.Get(model.MetricNameLabel)
			t.created = strings.HasSuffix(metric, "_created")
			t.start = metric == "process_start_time_seconds"
			tracks[string(name)] = t
			order = append(order, t)
		}
		if at == nil {
			return fmt.Errorf("recording: sample %d, %s, has no timestamp", entries, name)
		}
		if s.newest == 0 || *at > s.newest {
			s.newest = *at
		}
		if s.oldest == 0 || *at < s.oldest {
			s.oldest = *at
		}
		if t.counted || t.created || t.start {
			t.points = append(t.points, increments.Point{T: *at, V: v})
		}
	}
	s.place(order)
	return nil
}

// counts reports whether some question has a use for the series, as counter or as bucket bound.
func (s *Source) counts(l labels.Labels) bool {
	for _, q := range s.questions {
		if q.plan == nil {
			continue
		}
		if histogram, bound, ok := q.plan.Bound(l); ok {
			q.bounds.See(histogram, bound)
		}
		if _, ok := q.plan.Series(l); ok {
			return true
		}
	}
	return false
}

// place hands the series to their questions, with their created times.
func (s *Source) place(order []*track) {
	created := map[string][]increments.Point{}
	for _, t := range order {
		slices.SortStableFunc(t.points, func(a, b increments.Point) int { return int(a.T - b.T) })
		switch {
		case t.created:
			created[base(t.labels)] = t.points
		case t.start && len(t.points) > 0:
			// What counts is when the process of a target started that was just seen first.
			first := time.UnixMilli(int64(t.points[0].V * 1000))
			s.started = append(s.started, started{increments.TargetOf(t.labels.Get), first})
		}
	}
	for _, t := range order {
		if !t.counted {
			continue
		}
		if starts := created[base(t.labels)]; len(starts) > 0 {
			for i := range t.points {
				p := &t.points[i]
				n := sort.Search(len(starts), func(i int) bool { return starts[i].T > p.T })
				if n > 0 {
					p.Start = int64(starts[n-1].V * 1000)
				}
			}
		}
		for _, q := range s.questions {
			if q.plan == nil {
				continue
			}
			if series, ok := q.plan.Series(t.labels); ok {
				series.Points = t.points
				q.series = append(q.series, series)
			}
		}
	}
}

// base is what a counter has in common with its _created series.
func base(l labels.Labels) string {
	b := labels.NewBuilder(l)
	name := l.Get(model.MetricNameLabel)
	for _, suffix := range []string{"_created", "_total", "_count", "_bucket", "_sum"} {
		if cut, ok := strings.CutSuffix(name, suffix); ok {
			name = cut
			break
		}
	}
	return b.Set(model.MetricNameLabel, name).Del(labels.BucketLabel).Labels().String()
}

// Name is the source's name.
func (s *Source) Name() string { return s.name }

// Span is the time from just before the first sample to the last one, on whole ticks; empty for a
// recording without samples.
func (s *Source) Span() slo.Span {
	if s.oldest == 0 {
		return slo.Span{}
	}
	tick := s.tick.Milliseconds()
	ceil := func(ms int64) int64 { return (ms + tick - 1) / tick * tick }
	return slo.Span{From: time.UnixMilli(ceil(s.oldest) - tick), To: time.UnixMilli(ceil(s.newest))}
}

// Unanswerable are the objectives that a recording cannot answer, with the reason.
func (s *Source) Unanswerable() map[string]string {
	out := map[string]string{}
	for _, q := range s.questions {
		if q.why != "" {
			out[q.SLO] = q.why
		}
	}
	return out
}

// Collect answers from the recording. It never fails as a whole.
func (s *Source) Collect(ctx context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	out := make([]slo.Sample, 0, len(s.questions))
	for _, q := range s.questions {
		if len(only) > 0 && !slices.Contains(only, q.SLO) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out = append(out, s.answer(q, span))
	}
	return out, nil
}

func (s *Source) answer(q *question, span slo.Span) slo.Sample {
	sample := slo.Sample{SLO: q.SLO, Span: span, Note: q.why}
	if q.why != "" {
		return sample
	}
	from, to := span.From.UnixMilli(), span.To.UnixMilli()
	if q.memory == nil || !q.memory.AsOf().Equal(span.From) {
		q.memory = increments.NewMemory(s.tick, q.Period)
		for _, one := range s.started {
			q.memory.Started(one.target, one.at)
		}
		for _, series := range q.series { // what was there before: when first, and what last
			if n := after(series.Points, from); n > 0 {
				q.memory.Recall(series, series.Points[0])
				q.memory.Recall(series, series.Points[n-1])
			}
		}
	}
	part := make([]increments.Series, 0, len(q.series))
	for _, series := range q.series {
		lo, hi := after(series.Points, from), after(series.Points, to)
		if lo == hi {
			continue
		}
		series.Points = series.Points[lo:hi]
		part = append(part, series)
	}
	var a increments.Answer
	if in := q.Indicator; in.Kind == sources.Gauge {
		a = q.memory.Events(span, part, func(v float64) bool { return in.Compare.Holds(v) == in.CompareBad })
	} else {
		a = q.memory.Count(span, part)
	}
	sample.Groups, sample.Covered, sample.Newest = a.Groups, a.Covered, a.Newest
	sample.Baselined, sample.Series = a.Baselined, a.Series
	return sample
}

// after is the index of the first point after a moment.
func after(points []increments.Point, ms int64) int {
	return sort.Search(len(points), func(i int) bool { return points[i].T > ms })
}
