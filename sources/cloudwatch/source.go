// Package cloudwatch counts events that CloudWatch has counted already: sums and sample counts of
// metrics in one region, of load balancers and ECS services above all, in whole minutes.
//
//	questions ──resolve──▶ resources ──batches──▶ GetMetricData ──▶ values by metric and bucket ──tabulate──▶ Sample
//	     ▲   ListMetrics, tags, ECS      ▲   │ refused: halved        │ silent: is it alive?          (bad, total)
//	     └── asked again every 5 min     └───┘ throttled: all wait ◀──┘
//
// The total and the bad (or good) events of a resource come from one request and one page of answers
// after the other, so that one is never newer than the other. Only what CloudWatch calls complete is
// counted. A bucket counts once it is over: spans end before the source's delay. Late points are
// learnt from an overlap: each answer for the present reaches back by an hour, and what it says is
// put, not added. That costs nothing: CloudWatch bills metrics, not points.
//
// The past is asked for in the periods that CloudWatch keeps: minutes for 15 days, then five of them
// together, then hours. The events of such a bucket are spread over its minutes.
//
// Nothing and zero are two things. A bucket with a number, zero too, is an answer, and vouches for
// five minutes. Where the total has a number, no bad events are none: load balancers do not publish
// the errors that they did not have. A total without a number is no traffic where a metric of the
// same resource that does not need any says that the resource is alive; else it says nothing, and
// the time is not covered. Bad events without a total are not counted, and their minute is not covered
// until the total is there.
package cloudwatch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

const (
	// late is how far behind an answer for the present is looked at again.
	late = time.Hour

	// exact is how far behind the newest answer single ticks are known and may be put again.
	exact = 2 * time.Hour

	// refusedFor is how long a question that AWS would not have waits until it is put again.
	refusedFor = 10 * time.Minute
)

// Source answers questions about request counts from one region.
type Source struct {
	name      string
	config    Config
	transport http.RoundTripper
	pace      *pace
	log       *slog.Logger
	tick      int64 // ms
	limits    Limits
	known     catalogue

	questions []*question
	bySLO     map[string]*question
	slos      []string

	mu       sync.Mutex
	clients  *clients
	youngest time.Time // the newest end of a span
	told     Cost      // what the log was told of
}

var _ sources.Source[slo.Sample] = (*Source)(nil)

// Options are what a Source is made from.
type Options struct {
	Name      string
	Config    Config
	Tick      time.Duration // of the engine; spans lie on whole ticks
	Questions []sources.Question
	Transport http.RoundTripper // nil: a clone of the default one
	Logger    *slog.Logger      // nil: silent
}

// New makes a source. It sends nothing and reads no credentials. An error names every question that
// can never be answered.
func New(o Options) (*Source, error) {
	if o.Tick <= 0 {
		return nil, fmt.Errorf("source %s: tick: must be above 0", o.Name)
	}
	if err := o.Config.Validate(); err != nil {
		return nil, fmt.Errorf("source %s: %w", o.Name, err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	limits := o.Config.Limits.withDefaults()
	s := &Source{
		name: o.Name, config: o.Config, transport: o.Transport, pace: newPace(limits.RequestsPerSecond),
		log: o.Logger, tick: o.Tick.Milliseconds(), limits: limits, bySLO: map[string]*question{},
	}
	type identity struct {
		indicator sources.Indicator
		groups    string
	}
	known := map[identity]*question{}
	var faults []error
	for _, one := range o.Questions {
		id := identity{one.Indicator, strings.Join(one.GroupBy, "\xff")}
		q := known[id]
		if q == nil {
			q = &question{Question: one}
			if err := q.read(); err != nil {
				faults = append(faults, fmt.Errorf("source %s: slo %s: %w", o.Name, one.SLO, err))
			}
			known[id] = q
			s.questions = append(s.questions, q)
		}
		if s.bySLO[one.SLO] != nil {
			faults = append(faults, fmt.Errorf("source %s: slo %s: is asked twice", o.Name, one.SLO))
		}
		q.slos = append(q.slos, one.SLO)
		s.bySLO[one.SLO] = q
		s.slos = append(s.slos, one.SLO)
	}
	return s, errors.Join(faults...)
}

// Name is the source's name in the configuration.
func (s *Source) Name() string { return s.name }

// connection are the clients, made once.
func (s *Source) connection(ctx context.Context) (*clients, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients != nil {
		return s.clients, nil
	}
	c, err := connect(ctx, s.config, s.transport)
	s.clients = c
	return c, err
}

// query is one statistic of one metric of one resource.
type query struct {
	namespace, metric, dims, statistic string
}

// work is one question in one Collect.
type work struct {
	q      *question
	who    string // the objectives that it is answered for
	places []place
	eras   eras
	note   string           // why nothing can be counted
	digest map[int64]uint64 // of each minute, by its end: what it says of all groups
	alive  map[int64]bool   // by the start of the bucket, Unix milliseconds: a resource said that it is there

	mu     sync.Mutex // resources of one question may be asked side by side
	err    error
	values map[query]map[int64]float64 // by the start of the bucket, Unix milliseconds
}

func newWork(q *question, who string) *work {
	return &work{q: q, who: who, values: map[query]map[int64]float64{}, alive: map[int64]bool{}}
}

func (w *work) query(p place, metric, statistic string) query {
	return query{w.q.scope.Namespace, metric, p.dims, statistic}
}

// all is the work of every question.
func (s *Source) all() []*work {
	out := make([]*work, len(s.questions))
	for i, q := range s.questions {
		out[i] = newWork(q, "")
	}
	return out
}

// Collect answers for a span, question by question. An answer for the present may be for more than
// was asked: when points came late, or might have, it reaches back over the time in which they do.
//
// It fails as a whole when asked about objectives it does not know, when ctx has ended, when there
// are no credentials, and when every question fails for the same reason.
func (s *Source) Collect(ctx context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	if span.Empty() || span.From.UnixMilli()%s.tick != 0 || span.To.UnixMilli()%s.tick != 0 {
		return nil, fmt.Errorf("source %s: span %s: does not lie on whole ticks", s.name, span)
	}
	asked := s.slos
	if len(only) > 0 {
		asked = only
	}
	past := s.isPast(span.To)
	found := map[*question]*work{}
	remembered := map[*question]slo.Sample{}
	var works []*work
	for _, name := range asked {
		q := s.bySLO[name]
		if q == nil {
			return nil, fmt.Errorf("source %s: slo %s: is not asked here", s.name, name)
		}
		if found[q] != nil {
			found[q].who += "\xff" + name
			continue
		}
		found[q] = newWork(q, name)
		if from := floor(span.To.UnixMilli(), minutes); !past && span.From.UnixMilli() >= from {
			if answer, ok := s.remember(q, span); ok {
				remembered[q] = answer
				continue
			}
		}
		if found[q].err = q.refusal(time.Now()); found[q].err == nil {
			works = append(works, found[q])
		}
	}
	wide := span
	if !past {
		if wide.From = later(span.From.Add(-late), span.To.Add(-exact)); wide.From.After(span.From) {
			wide.From = span.From
		}
		wide.From = time.UnixMilli(-floor(-wide.From.UnixMilli(), time.Duration(s.tick)*time.Millisecond)).UTC()
	}
	if err := s.gather(ctx, works, wide, past); err != nil {
		return nil, fmt.Errorf("source %s: %w", s.name, err)
	}
	if err := same(works); err != nil && len(remembered) == 0 && len(works) == len(found) {
		return nil, fmt.Errorf("source %s: %w", s.name, err)
	}
	if !past && len(works) == len(s.questions) {
		s.tell(works)
	}

	answers := map[*question]slo.Sample{}
	for q, w := range found {
		answer, ok := remembered[q]
		switch {
		case ok:
		case w.err != nil:
			answer = slo.Sample{Span: span, Err: w.err}
		default:
			answer = s.tabulate(w, wide)
			if !past && q.learned(answer, span, w) {
				answer = s.tabulate(w, span) // nothing came late: what is known need not be put again
			}
			if past && answer.Note == "" {
				answer.Note = q.noted() // an old piece that can be counted does not make the SLO well
			}
		}
		answers[q] = answer
	}
	out := make([]slo.Sample, 0, len(asked))
	for _, name := range asked {
		answer := answers[s.bySLO[name]]
		answer.SLO = name
		if answer.Err != nil {
			answer.Err = fmt.Errorf("source %s: slo %s: %w", s.name, name, answer.Err)
		}
		out = append(out, answer)
	}
	return out, nil
}

// isPast reports whether a span ends before one that was asked for already.
func (s *Source) isPast(to time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.youngest.After(time.Now()) {
		s.youngest = time.Time{} // a clock that was ahead
	}
	past := to.Before(s.youngest)
	s.youngest = later(s.youngest, to)
	return past
}

// remember answers for a span in which no minute ends, when its beginning was answered before: a tick
// shorter than a minute need not ask again for what it cannot learn yet.
func (s *Source) remember(q *question, span slo.Span) (slo.Sample, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asked == 0 || q.asked != floor(span.To.UnixMilli(), minutes) {
		return slo.Sample{}, false
	}
	if q.to == span.From.UnixMilli() {
		q.to = span.To.UnixMilli()
	}
	out := slo.Sample{Span: span, Note: q.note}
	if q.last != 0 {
		out.Covered = s.covered(span, []int64{q.last}, nil)
		out.Newest = time.UnixMilli(q.last).UTC()
	}
	return out, true
}

// same is the error that every question failed with; nil when one was answered, or they differ.
func same(works []*work) error {
	for i, w := range works {
		if w.err == nil || i > 0 && w.err.Error() != works[0].err.Error() {
			return nil
		}
	}
	if len(works) < 2 {
		return nil // it is said of the one
	}
	return works[0].err
}

// gather asks for everything, segment of time by segment of time. What fails is in the works; an error
// is for all of them.
func (s *Source) gather(ctx context.Context, works []*work, span slo.Span, past bool) error {
	if len(works) == 0 {
		return ctx.Err()
	}
	c, err := s.connection(ctx)
	if err != nil {
		return err
	}
	for _, w := range works {
		w.places, w.note, w.err = s.resolve(ctx, c, w.q)
		if w.err == nil && len(w.places) > s.limits.MaxSeries {
			w.note = fmt.Sprintf("there are %d resources and groups, more than limits.max_series %d: choose fewer dimensions for group_by, or raise it", len(w.places), s.limits.MaxSeries)
			w.places = nil
		}
	}
	// What vouches for the first tick may lie before it.
	from := floor(span.From.UnixMilli()-increments.Lookback(time.Duration(s.tick)*time.Millisecond).Milliseconds(), minutes)
	to := floor(span.To.UnixMilli(), minutes)
	if past {
		to = -floor(-span.To.UnixMilli(), minutes) // whether the minute that the span ends in can be counted is known by now
	}
	now := erasAt(time.Now())
	segments := now.segments(from, to)
	for _, w := range works {
		w.eras = now
	}
	for _, seg := range segments {
		s.each(ctx, c, batches(works, (*work).counts), seg, past)
	}
	for _, seg := range segments {
		var silent []*work
		for _, w := range works {
			if w.err == nil && w.q.scope.Alive != "" && w.silent(seg) && s.exists(ctx, c, w) {
				silent = append(silent, w)
			}
		}
		s.each(ctx, c, batches(silent, (*work).heartbeats), seg, past)
	}
	for _, w := range works {
		w.beat()
	}
	if err := ctx.Err(); err != nil {
		return fault(ctx, "metric data", context.Cause(ctx))
	}
	return nil
}

// each asks all of some batches for a segment, several at a time.
func (s *Source) each(ctx context.Context, c *clients, all []*batch, seg segment, past bool) {
	group := &errgroup.Group{}
	group.SetLimit(s.limits.Concurrency)
	for _, b := range all {
		group.Go(func() error {
			rest := &batch{}
			for _, u := range b.units {
				if u.w.failure() == nil {
					rest.add(u)
				}
			}
			s.ask(ctx, c, rest, seg, past)
			return nil
		})
	}
	_ = group.Wait() // every question carries its own error
}

func (w *work) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *work) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// put keeps the values of one query.
func (w *work) put(q query, values map[int64]float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.values[q]
	if known == nil {
		known = map[int64]float64{}
		w.values[q] = known
	}
	for at, v := range values {
		known[at] = v
	}
}

// counts are what is asked of one resource to count its events.
func (w *work) counts(p place) []query {
	var out []query
	for _, side := range []selectors.CloudWatch{w.q.total, w.q.part} {
		for _, t := range side {
			for _, statistic := range t.Statistics() {
				if q := w.query(p, t.Metric, statistic); !slices.Contains(out, q) {
					out = append(out, q)
				}
			}
		}
	}
	return out
}

// heartbeats is what is asked of one resource to learn whether it is there.
func (w *work) heartbeats(p place) []query {
	return []query{w.query(p, w.q.scope.Alive, "SampleCount")}
}

// silent reports whether a bucket of a segment has no total.
func (w *work) silent(seg segment) bool {
	for at := seg.from; at < seg.to; at += seg.period.Milliseconds() {
		if !w.counted(at) {
			return true
		}
	}
	return false
}

// counted reports whether a bucket has a total, of any resource.
func (w *work) counted(at int64) bool {
	for _, p := range w.places {
		if _, ok := w.side(w.q.total, p, at); ok {
			return true
		}
	}
	return false
}

// exists reports whether there is such a total at all. A name that was never reported is not silent,
// it is wrong.
func (s *Source) exists(ctx context.Context, c *clients, w *work) bool {
	if w.q.there() {
		return true
	}
	for _, p := range w.places {
		for _, t := range w.q.total {
			if len(w.values[w.query(p, t.Metric, t.Statistics()[0])]) > 0 {
				w.q.wasThere()
				return true
			}
		}
	}
	for _, p := range w.places {
		dims := map[string]string{}
		for _, d := range spelled(p.dims) {
			dims[*d.Name] = *d.Value
		}
		found, err := s.metrics(ctx, c, w.q.scope.Namespace, w.q.total[0].Metric, dims)
		if err == nil && len(found) > 0 {
			w.q.wasThere()
			return true
		}
	}
	return false
}

// beat notes in which buckets a resource was alive.
func (w *work) beat() {
	if w.q.scope.Alive == "" {
		return
	}
	for _, p := range w.places {
		for at := range w.values[w.heartbeats(p)[0]] {
			w.alive[at] = true
		}
	}
}

// side adds the terms of a count up, for one resource and bucket. There is a value where any term has
// one; it is NaN where a number of samples has no rank.
func (w *work) side(terms selectors.CloudWatch, p place, at int64) (sum float64, ok bool) {
	for _, t := range terms {
		stats := t.Statistics()
		v, has := w.values[w.query(p, t.Metric, stats[0])][at]
		if !has {
			continue
		}
		ok = true
		if len(stats) > 1 && v != 0 {
			rank, has := w.values[w.query(p, t.Metric, stats[1])][at]
			if !has {
				return math.NaN(), true
			}
			v *= rank / 100
		}
		if t.Negative {
			v = -v
		}
		sum += v
	}
	return sum, ok
}

// tabulate makes the answer to one question for a span.
func (s *Source) tabulate(w *work, span slo.Span) slo.Sample {
	out := slo.Sample{Span: span, Series: len(w.places), Note: w.note}
	from, to := span.From.UnixMilli(), span.To.UnixMilli()
	buckets := map[int64]bool{}
	for q, values := range w.values {
		if !w.countsBy(q) {
			continue
		}
		for at := range values {
			buckets[at] = true
		}
	}
	for at := range w.alive {
		buckets[at] = true
	}
	answered, spoilt := map[int64]bool{}, map[int64]bool{} // by the end of the minute
	rankless, orphaned := false, false
	w.digest = map[int64]uint64{}
	groups := map[string]*slo.GroupSample{}
	type sums map[string][2]float64
	for at := range buckets {
		width := w.eras.width(at)
		ends := func(do func(i int, end int64)) {
			for i := range int(width / minutes.Milliseconds()) {
				if end := at + int64(i+1)*minutes.Milliseconds(); end <= to {
					do(i, end)
				}
			}
		}
		here, any, bad := sums{}, false, false
		for _, p := range w.places {
			all, has := w.side(w.q.total, p, at)
			some, part := w.side(w.q.part, p, at) // nothing is none
			switch {
			case math.IsNaN(all), math.IsNaN(some):
				rankless, bad = true, true
			case math.IsInf(all, 0), math.IsInf(some, 0):
				bad = true
			case !has && part && some != 0:
				orphaned, bad = true, true
			case has:
				any = true
				key := strings.Join(p.group, "\xff")
				if groups[key] == nil {
					groups[key] = &slo.GroupSample{Labels: p.group}
				}
				sum := here[key]
				here[key] = [2]float64{sum[0] + all, sum[1] + some}
			}
		}
		switch {
		case bad:
			ends(func(_ int, end int64) { spoilt[end] = true })
			continue
		case !any && w.alive[at]:
			ends(func(_ int, end int64) { answered[end], w.digest[end] = true, 1 })
			continue
		case !any:
			continue
		}
		for key, sum := range here {
			all, lost := sum[0], sum[1]
			if w.q.good {
				lost = all - lost
			}
			parts := shares(all, lost, int(width/minutes.Milliseconds()))
			ends(func(i int, end int64) {
				answered[end] = true
				w.digest[end] += digest(key, all, lost)
				if n := parts[i]; end > from && (n[0] != 0 || n[1] != 0) { // one before only vouches
					g := groups[key]
					g.Increments = append(g.Increments, slo.Increment{At: time.UnixMilli(end).UTC(), Total: n[0], Bad: n[1]})
				}
			})
		}
	}
	for at := range spoilt {
		w.digest[at] = digest("", math.NaN(), 0)
	}
	ends := make([]int64, 0, len(answered))
	for at := range answered {
		if !spoilt[at] {
			ends = append(ends, at)
		}
	}
	slices.Sort(ends)
	if n := len(ends); n > 0 {
		out.Newest = time.UnixMilli(ends[n-1]).UTC()
	}
	keys := make([]string, 0, len(groups))
	for key := range groups {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		g := groups[key]
		slices.SortFunc(g.Increments, func(a, b slo.Increment) int { return a.At.Compare(b.At) })
		if len(g.Increments) > 0 {
			out.Groups = append(out.Groups, *g)
		}
	}
	out.Covered = s.covered(span, ends, spoilt)
	switch {
	case len(out.Covered) > 0 || out.Note != "":
	case rankless:
		out.Note = "CloudWatch has samples without percentiles here, as of metrics that are published as statistic sets: no threshold can be counted"
	case orphaned:
		out.Note = fmt.Sprintf("there are %s events without a total in the same minute: do both count the same requests?", w.q.partIs())
	}
	return out
}

// countsBy reports whether a query is asked to count events, and not only to learn what is alive.
func (w *work) countsBy(q query) bool {
	for _, side := range []selectors.CloudWatch{w.q.total, w.q.part} {
		for _, t := range side {
			if t.Metric == q.metric && slices.Contains(t.Statistics(), q.statistic) {
				return true
			}
		}
	}
	return false
}

// digest is what one group's minute says, as a number that differs where that does.
func digest(group string, total, part float64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(group)) // it never fails
	var numbers [16]byte
	binary.LittleEndian.PutUint64(numbers[:8], math.Float64bits(total))
	binary.LittleEndian.PutUint64(numbers[8:], math.Float64bits(part))
	_, _ = h.Write(numbers[:])
	return h.Sum64()
}

// covered are the ticks of a span that a minute vouches for: one that ends in the tick, or in the
// minutes before its end. A tick in a spoilt minute is not covered.
func (s *Source) covered(span slo.Span, ends []int64, spoilt map[int64]bool) []slo.Span {
	lookback := increments.Lookback(time.Duration(s.tick) * time.Millisecond).Milliseconds()
	wide := minutes.Milliseconds()
	var out []slo.Span
	last := int64(math.MinInt64 / 2)
	for end := span.From.UnixMilli() + s.tick; end <= span.To.UnixMilli(); end += s.tick {
		for len(ends) > 0 && ends[0] <= end {
			last, ends = ends[0], ends[1:]
		}
		if last <= end-lookback {
			continue
		}
		// The minutes that the tick (end − tick, end] has a part in.
		whole := true
		for at := floor(end-s.tick, minutes) + wide; at-wide < end; at += wide {
			whole = whole && !spoilt[at]
		}
		if !whole {
			continue
		}
		next := slo.Span{From: time.UnixMilli(end - s.tick).UTC(), To: time.UnixMilli(end).UTC()}
		if n := len(out); n > 0 && out[n-1].To.Equal(next.From) {
			out[n-1].To = next.To
		} else {
			out = append(out, next)
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
