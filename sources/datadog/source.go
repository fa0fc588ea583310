// Package datadog counts events that Datadog has counted already: metric queries of one
// organisation, in whole buckets of a minute.
//
//	questions ──batches──▶ GET /api/v1/query ──▶ points by query, group and bucket ──tabulate──▶ Sample
//	             ▲   │ refused: halved                                                  (bad, total)
//	   quota ────┘   └─ the organisation's limit, from the headers of every answer
//
// The total and the bad (or good) events of an SLO come from one request, so that one is never
// newer than the other. A bucket counts once it is over: spans end before the source's delay, and
// what begins before a request or ends after it is left out. Late points are learnt from an
// overlap: each answer for the present reaches back by more than Datadog accepts points late, and
// what it says is put, not added. An interval other than the one that was asked for is an error,
// never a count.
//
// Nothing, null and zero are three things. A bucket with a number, zero too, is an answer, and
// vouches for five minutes. A bucket without one says nothing. A query without any series may be no
// traffic or a wrong name: it says nothing either, and the time is not covered. Where the total has
// a number, no bad events are none, and no good events are none as well. Bad events without a total
// are not counted, and their minute is not covered until the total is there.
package datadog

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

	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"
	"golang.org/x/sync/errgroup"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

const (
	// bucket is the rollup of every query. Datadog aligns buckets to it in Unix time.
	bucket = time.Minute

	// piece is the longest span of one request: Datadog answers with at most 1,500 points, and
	// raises the rollup where that is not enough. The loop asks for a little less of the past at once.
	piece = 6 * time.Hour

	// late is how far behind an answer for the present is looked at again: the intake takes points
	// that are an hour old, and shows them a little later.
	late = 75 * time.Minute

	// exact is how far behind the newest answer single ticks are known and may be put again.
	exact = 2 * time.Hour

	// resolve is how long a question that Datadog would not have waits until it is put again.
	resolve = 10 * time.Minute
)

// Source answers questions about request counts from one organisation.
type Source struct {
	name   string
	api    *datadogapi.Client
	query  func(ctx context.Context, from, to int64, query string) (datadogV1.MetricsQueryResponse, *http.Response, error)
	quota  *quota
	log    *slog.Logger
	tick   int64 // ms
	limits Limits

	questions []*question
	bySLO     map[string]*question
	slos      []string

	mu       sync.Mutex
	youngest time.Time // the newest end of a span
	skewed   bool      // the clocks differ, and the log was told
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

// New makes a source. It sends nothing and reads no key. An error names every question that can
// never be answered.
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
	c := o.Config
	api := datadogapi.New(datadogapi.Options{Site: c.Site, URL: c.URL, APIKeyFile: c.APIKeyFile, AppKeyFile: c.AppKeyFile, Transport: o.Transport})
	limits := c.Limits.withDefaults()
	share, err := quotaShare(limits.Quota)
	if err != nil {
		return nil, fmt.Errorf("source %s: limits.quota: %w", o.Name, err)
	}
	s := &Source{
		name: o.Name, api: api, query: datadogV1.NewMetricsApi(api.APIClient).QueryMetrics,
		quota: &quota{share: share, every: max(o.Tick, bucket)},
		log:   o.Logger, tick: o.Tick.Milliseconds(), limits: limits, bySLO: map[string]*question{},
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
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	s.quota.round = len(batches(s.all()))
	return s, nil
}

// all is the work of every question.
func (s *Source) all() []*work {
	out := make([]*work, len(s.questions))
	for i, q := range s.questions {
		out[i] = &work{q: q, values: map[string]map[string]*track{}}
	}
	return out
}

// Name is the source's name in the configuration.
func (s *Source) Name() string { return s.name }

// work is one question in one Collect.
type work struct {
	q      *question
	who    string                       // the objectives that it is answered for
	values map[string]map[string]*track // by query and group
	err    error
	digest map[int64]uint64 // of each bucket, by its end: what it says of all groups
}

// track is one series: a query's values for one group.
type track struct {
	group  []string
	values map[int64]float64 // by the end of the bucket, Unix milliseconds
}

// Collect answers for a span, question by question. An answer for the present may be for more than
// was asked: when points came late, or might have, it reaches back over the time in which they do.
//
// It fails as a whole when asked about objectives it does not know, when ctx has ended, when the
// quota allows nothing, and when every question fails for the same reason.
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
		found[q] = &work{q: q, who: name, values: map[string]map[string]*track{}}
		if from := floor(span.To.UnixMilli(), bucket); !past && span.From.UnixMilli() >= from {
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

// remember answers for a span in which no bucket ends, when its beginning was answered before: a
// tick shorter than a bucket need not ask again for what it cannot learn yet.
func (s *Source) remember(q *question, span slo.Span) (slo.Sample, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asked == 0 || q.asked != floor(span.To.UnixMilli(), bucket) {
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

// gather asks for everything, piece of time by piece of time. What fails is in the works; an error
// is for all of them.
func (s *Source) gather(ctx context.Context, works []*work, span slo.Span, past bool) error {
	if len(works) == 0 {
		return ctx.Err()
	}
	all := batches(works)
	if !past {
		if err := s.turn(ctx, s.quota.begin); err != nil {
			return err
		}
	}
	// What vouches for the first tick may lie before it.
	from := floor(span.From.UnixMilli()-increments.Lookback(time.Duration(s.tick)*time.Millisecond).Milliseconds(), bucket)
	to := floor(span.To.UnixMilli(), bucket)
	if past {
		to = -floor(-span.To.UnixMilli(), bucket) // whether the minute that the span ends in can be counted is known by now
	}
	group := &errgroup.Group{}
	group.SetLimit(s.limits.Concurrency)
	for _, b := range all {
		group.Go(func() error {
			for start := from; start < to; start += piece.Milliseconds() {
				rest := &batch{}
				for _, w := range b.works {
					if w.err == nil {
						rest.add(w)
					}
				}
				s.ask(ctx, rest, start, min(start+piece.Milliseconds(), to), past)
			}
			return nil
		})
	}
	_ = group.Wait() // every question carries its own error
	if err := ctx.Err(); err != nil {
		return datadogapi.Fault(ctx, "query", nil, context.Cause(ctx))
	}
	return nil
}

// turn waits until a request may be made.
func (s *Source) turn(ctx context.Context, admit func(now time.Time) time.Duration) error {
	waited := time.Duration(0)
	for {
		wait := admit(time.Now())
		if wait <= 0 {
			return nil
		}
		if waited += wait; waited > patience {
			return reached(wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return datadogapi.Fault(ctx, "quota", nil, context.Cause(ctx))
		}
	}
}

// ask makes one request, and smaller ones where it is refused: one bad query fails all that are
// joined with it.
func (s *Source) ask(ctx context.Context, b *batch, from, to int64, past bool) {
	if len(b.works) == 0 {
		return
	}
	err := s.request(ctx, b, from, to, past)
	switch {
	case err == nil:
		for _, w := range b.works {
			w.q.judged(nil, time.Time{})
		}
	case smaller(err) && len(b.works) > 1:
		for _, half := range b.halves() {
			s.ask(ctx, half, from, to, past)
		}
	default:
		for _, w := range b.works {
			w.err = err
			if smaller(err) {
				w.q.judged(err, time.Now().Add(resolve))
			}
		}
	}
}

// smaller reports whether fewer questions may be answered where these were not.
func smaller(err error) bool {
	var refused *refusal
	if errors.As(err, &refused) {
		return true
	}
	switch datadogapi.Status(err) {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusUnprocessableEntity:
		return true
	}
	var e *datadogapi.Error
	return errors.As(err, &e) && e.Status == 0 && e.Reason() == "limit" && e.What == "query" // the answer was too long
}

// refusal is an answer with status 200 that says that the question is wrong.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// request asks for the buckets of [from, to), in Unix milliseconds on whole buckets.
func (s *Source) request(ctx context.Context, b *batch, from, to int64, past bool) error {
	ctx, err := s.api.Context(ctx)
	if err != nil {
		return err
	}
	if err := s.turn(ctx, func(now time.Time) time.Duration { return s.quota.admit(now, past) }); err != nil {
		return err
	}
	answer, response, err := s.query(ctx, from/1000, to/1000, b.text()) //nolint:bodyclose // the client has read and closed it
	if response != nil {
		s.quota.answered(time.Now(), response.Header, response.StatusCode)
		s.clock(response.Header)
	}
	if err := datadogapi.Fault(ctx, "query", response, err); err != nil {
		return err
	}
	return b.read(answer, from, to)
}

// clock warns where this machine's clock and Datadog's differ: spans would end in the wrong place.
func (s *Source) clock(header http.Header) {
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	off := time.Since(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if differs := off.Abs() > 30*time.Second; differs != s.skewed {
		s.skewed = differs
		if differs {
			s.log.Warn("clock differs from Datadog's", "from", s.name, "by", off.Round(time.Second).String())
		}
	}
}

// read places an answer's points. It takes all of them or none.
func (b *batch) read(answer datadogV1.MetricsQueryResponse, from, to int64) error {
	wrong := func(format string, args ...any) error {
		return datadogapi.Failed("query", "decode", "the answer "+format, args...)
	}
	if said := answer.GetError(); answer.GetStatus() != "ok" || said != "" {
		if said == "" {
			said = answer.GetMessage()
		}
		if answer.GetStatus() == "" && said == "" {
			return wrong("has no status")
		}
		return &refusal{datadogapi.Failed("query", "other", "Datadog says %s: %s", answer.GetStatus(), clip(said))}
	}
	if answer.Series == nil { // that there are none is said, as a list
		return wrong("has no series")
	}
	values := make([]map[string]*track, len(b.queries)) // by query, then by all tags
	for i := range values {
		values[i] = map[string]*track{}
	}
	for i := range answer.Series {
		series := &answer.Series[i]
		index := int64(0)
		if given, ok := series.GetQueryIndexOk(); ok {
			index = *given
		} else if len(b.queries) > 1 {
			return wrong("does not say which query a series belongs to")
		}
		if index < 0 || index >= int64(len(b.queries)) {
			return wrong("has a series of query %d, and %d were asked", index, len(b.queries))
		}
		if series.UnparsedObject != nil {
			return wrong("has a series that cannot be read")
		}
		if got := series.GetInterval(); got != int64(bucket.Seconds()) {
			return datadogapi.Failed("query", "partial", "the answer is in buckets of %d s, %d s were asked for", got, int(bucket.Seconds()))
		}
		tags := series.GetTagSet()
		if len(tags) == 0 && series.GetScope() != "*" {
			tags = strings.Split(series.GetScope(), ",")
		}
		line := &track{group: tags, values: map[int64]float64{}}
		for _, point := range series.GetPointlist() {
			if len(point) != 2 || point[0] == nil {
				return wrong("has a point without a moment")
			}
			at := int64(*point[0])
			if at%bucket.Milliseconds() != 0 {
				return wrong("has a bucket at %s, which is no whole minute", time.UnixMilli(at).UTC().Format(time.RFC3339))
			}
			if point[1] == nil || at < from || at+bucket.Milliseconds() > to {
				continue // nothing is known, or not the whole of it
			}
			line.values[at+bucket.Milliseconds()] = *point[1]
		}
		values[index][strings.Join(tags, "\xff")] = line
	}
	for i, query := range b.queries {
		for _, w := range b.works {
			if slices.Contains(w.q.queries(), query) {
				w.add(query, values[i])
			}
		}
	}
	return nil
}

// add keeps the values of one query, by group.
func (w *work) add(query string, series map[string]*track) {
	groups := w.values[query]
	if groups == nil {
		groups = map[string]*track{}
		w.values[query] = groups
	}
	for _, line := range series {
		labels := w.q.group(line.group)
		key := strings.Join(labels, "\xff")
		g := groups[key]
		if g == nil {
			g = &track{group: labels, values: map[int64]float64{}}
			groups[key] = g
		}
		for at, v := range line.values {
			g.values[at] += v
		}
	}
}

// side adds the terms of a count up, by group. A bucket has a value where any term has one.
func (w *work) side(terms []term) map[string]*track {
	out := map[string]*track{}
	for _, t := range terms {
		for key, line := range w.values[t.query] {
			g := out[key]
			if g == nil {
				g = &track{group: line.group, values: map[int64]float64{}}
				out[key] = g
			}
			for at, v := range line.values {
				g.values[at] += t.sign * v
			}
		}
	}
	return out
}

// tabulate makes the answer to one question for a span.
func (s *Source) tabulate(w *work, span slo.Span) slo.Sample {
	out := slo.Sample{Span: span}
	total, part := w.side(w.q.total), w.side(w.q.part)
	out.Series = len(total)
	if len(total) > s.limits.MaxSeries {
		out.Note = fmt.Sprintf("the total has %d groups, more than limits.max_series %d: choose fewer tags for group_by, or raise it", len(total), s.limits.MaxSeries)
		return out
	}
	from, to := span.From.UnixMilli(), span.To.UnixMilli()
	answered, spoilt := map[int64]bool{}, map[int64]bool{}
	w.digest = map[int64]uint64{}
	keys := make([]string, 0, len(total))
	for key := range total {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for key, line := range part { // bad or good events of what has no total yet
		all := total[key]
		for at, v := range line.values {
			if v == 0 {
				continue // none of nothing
			}
			if all == nil {
				spoilt[at] = true
			} else if _, ok := all.values[at]; !ok {
				spoilt[at] = true
			}
		}
	}
	for _, key := range keys {
		group := slo.GroupSample{Labels: total[key].group}
		for at, all := range total[key].values {
			some := 0.0
			if line := part[key]; line != nil {
				some = line.values[at] // nothing is none
			}
			if math.IsNaN(all) || math.IsInf(all, 0) || math.IsNaN(some) || math.IsInf(some, 0) {
				spoilt[at] = true
				continue
			}
			if at > to {
				continue // it belongs to what follows
			}
			answered[at] = true
			w.digest[at] += digest(key, all, some)
			if at <= from {
				continue // it only vouches
			}
			bad := some
			if w.q.good {
				bad = all - some
			}
			if all != 0 || bad != 0 {
				group.Increments = append(group.Increments, slo.Increment{At: time.UnixMilli(at).UTC(), Total: all, Bad: bad})
			}
		}
		slices.SortFunc(group.Increments, func(a, b slo.Increment) int { return a.At.Compare(b.At) })
		if len(group.Increments) > 0 {
			out.Groups = append(out.Groups, group)
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
	for i := range out.Groups { // of a minute all groups are known, or none
		out.Groups[i].Increments = slices.DeleteFunc(out.Groups[i].Increments, func(inc slo.Increment) bool { return spoilt[inc.At.UnixMilli()] })
	}
	out.Groups = slices.DeleteFunc(out.Groups, func(g slo.GroupSample) bool { return len(g.Increments) == 0 })
	out.Covered = s.covered(span, ends, spoilt)
	if len(spoilt) > 0 && len(out.Covered) == 0 {
		out.Note = fmt.Sprintf("there are %s events without a total in the same minute: do both queries count the same requests, with the same tags?", w.q.partIs())
	}
	return out
}

// digest is what one group's bucket says, as a number that differs where that does.
func digest(group string, total, part float64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(group)) // it never fails
	var numbers [16]byte
	binary.LittleEndian.PutUint64(numbers[:8], math.Float64bits(total))
	binary.LittleEndian.PutUint64(numbers[8:], math.Float64bits(part))
	_, _ = h.Write(numbers[:])
	return h.Sum64()
}

// covered are the ticks of a span that a bucket vouches for: one that ends in the tick, or in the
// minutes before its end. A tick in a spoilt bucket is not covered.
func (s *Source) covered(span slo.Span, ends []int64, spoilt map[int64]bool) []slo.Span {
	lookback := increments.Lookback(time.Duration(s.tick) * time.Millisecond).Milliseconds()
	wide := bucket.Milliseconds()
	var out []slo.Span
	last := int64(math.MinInt64 / 2)
	for end := span.From.UnixMilli() + s.tick; end <= span.To.UnixMilli(); end += s.tick {
		for len(ends) > 0 && ends[0] <= end {
			last, ends = ends[0], ends[1:]
		}
		if last <= end-lookback {
			continue
		}
		// The buckets that the tick (end − tick, end] has a part in.
		whole := true
		for at := floor(end-s.tick, bucket) + wide; at-wide < end; at += wide {
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

// floor is the last whole multiple of a step at or before a moment in Unix milliseconds.
func floor(ms int64, step time.Duration) int64 {
	width := step.Milliseconds()
	rest := ms % width
	if rest < 0 {
		rest += width
	}
	return ms - rest
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// clip cuts somebody else's text for an error.
func clip(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 200 {
		return string(r[:199]) + "…"
	}
	return text
}
