// Package promapi asks servers that speak the Prometheus query API (Prometheus, Mimir, Thanos,
// VictoriaMetrics, Amazon Managed Prometheus) and counts exactly.
//
// It never asks for increase(): that extrapolates, and loses the first error ever. It reads the
// raw samples of every series and takes the increases itself, so a count is what an independent
// recount of the stored samples gives. Every answer is a function of what the server holds: a span
// asked twice, or in halves, or by a fresh process, is answered the same.
//
//	questions ──bundles──▶ requests ──sel[span] @ to──▶ samples ──place──▶ series of a question
//	                                                                            │
//	   Sample ◀── increments.Memory.Count ◀── last values of new series, asked for once
//
// Requests are shared: a selector that another one contains is answered from its answer, and
// selectors that differ in one label's value are asked as one. Answers are read whole or not at
// all: a warning, a partial answer, half a reply or an error leave the questions concerned
// unanswered, and their memories where they stood.
//
// Spans of an hour and more come by remote read where the server speaks it (remote_read: auto, the
// default): as the chunks that it keeps. That is a way, not another source: every such answer must
// have the series that the query API shows, all labels included, each with as many samples, or it is
// thrown away and the span asked for in text. So a server with external labels is read in text.
//
// Expressions (promql, ratio) and pushdown are evaluated by the server, on ticks and on tiles. Their
// counts are approximate, but they too follow from what the server holds: how long the tiles of a
// time are is learned from the samples before it. Only samples that the server gains or loses
// afterwards can change an answer.
package promapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/config"
	"golang.org/x/sync/errgroup"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/internal/redact"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// Source answers questions about request counts from one server.
type Source struct {
	name         string
	client       *client
	logger       *slog.Logger
	tick         int64 // ms
	lookback     int64 // ms, how long a sample vouches
	before       int64 // ms, how far before a span samples are asked for by a memory that is new
	limits       Limits
	replicaLabel string

	questions []*question          // each asked once
	bySLO     map[string]*question // the question of an objective
	slos      []string             // in the order of the questions given

	mu    sync.Mutex
	rates map[string]float64 // samples per ms that a request's last answer held
	caps  map[string]int64   // ms, the longest piece that a request was answered for after one was refused
	apart map[string]bool    // merged requests that are refused however short the piece is
	plans map[string][]*bundle

	remote remote
}

var _ sources.Source[slo.Sample] = (*Source)(nil)

// Options are what a Source is made from.
type Options struct {
	Name      string
	Config    Config
	Tick      time.Duration // of the engine; spans lie on whole ticks
	Questions []sources.Question
	Logger    *slog.Logger  // nil: silent
	Timeout   time.Duration // of one request, its answer included; 0 is a minute

	// Wrap, if given, goes around the HTTP transport: for metrics of single requests.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// DefaultTimeout is the time that one request may take, its answer included.
const DefaultTimeout = time.Minute

// firstPiece is the length of the first piece of a long span, when nobody knows yet how many
// samples it holds.
const firstPiece = 10 * time.Minute

// New makes a source. It sends nothing. An error names every question that can never be answered.
func New(o Options) (*Source, error) {
	if o.Tick <= 0 {
		return nil, fmt.Errorf("source %s: tick: must be above 0", o.Name)
	}
	if err := o.Config.Validate(); err != nil {
		return nil, fmt.Errorf("source %s: %w", o.Name, err)
	}
	base, err := url.Parse(o.Config.URL)
	if err != nil {
		return nil, fmt.Errorf("source %s: url: is not an address", o.Name)
	}
	doer, err := config.NewClientFromConfig(o.Config.HTTP, "source_"+o.Name, config.WithUserAgent("yoyu"))
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", o.Name, err)
	}
	if o.Config.HTTP.FollowRedirects {
		doer.CheckRedirect = sameHost
	}
	doer.Transport = redact.Answers(doer.Transport)
	if o.Wrap != nil {
		doer.Transport = o.Wrap(doer.Transport)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	limits := o.Config.Limits.withDefaults()
	s := &Source{
		name: o.Name,
		client: &client{
			http: doer, base: base, gate: newGate(limits.Concurrency), timeout: o.Timeout,
			body: 32<<20 + int64(limits.SamplesPerRequest)*48,
		},
		logger:       o.Logger,
		tick:         o.Tick.Milliseconds(),
		lookback:     increments.Lookback(o.Tick).Milliseconds(),
		before:       max(increments.Lookback(o.Tick), increments.MaxGap(o.Tick)).Milliseconds(),
		limits:       limits,
		replicaLabel: o.Config.ReplicaLabel,
		bySLO:        map[string]*question{},
		rates:        map[string]float64{},
		caps:         map[string]int64{},
		apart:        map[string]bool{},
		plans:        map[string][]*bundle{},
		remote:       remote{off: o.Config.RemoteRead == remoteNever},
	}
	type identity struct {
		indicator sources.Indicator
		groups    string
		pushdown  bool
	}
	known := map[identity]*question{}
	var faults []error
	for _, one := range o.Questions {
		id := identity{one.Indicator, strings.Join(one.GroupBy, "\xff"), one.Pushdown}
		q := known[id]
		if q == nil {
			q = &question{Question: one, noBound: map[string]string{}}
			if err := q.read(); err != nil {
				faults = append(faults, fmt.Errorf("source %s: slo %s: %w", o.Name, one.SLO, err))
			}
			known[id] = q
			s.questions = append(s.questions, q)
		}
		q.Period = max(q.Period, one.Period)
		q.slos = append(q.slos, one.SLO)
		if s.bySLO[one.SLO] != nil {
			faults = append(faults, fmt.Errorf("source %s: slo %s: is asked twice", o.Name, one.SLO))
		}
		s.bySLO[one.SLO] = q
		s.slos = append(s.slos, one.SLO)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return s, nil
}

// read checks a question and parses its selectors.
func (q *question) read() error {
	in := q.Indicator
	switch in.Kind {
	case sources.Counters, sources.Latency, sources.Gauge:
		plan, err := selectors.NewPlan(q.Question)
		if err != nil {
			return err
		}
		q.plan = plan
		if q.Pushdown && in.Kind == sources.Gauge {
			return errors.New("counting: pushdown takes increases of counters; a gauge has none")
		}
		return nil
	case sources.PromQL:
		if in.Total == "" || (in.Bad == "") == (in.Good == "") {
			return errors.New("promql: needs total, and bad or good")
		}
		return nil
	case sources.Ratio:
		if (in.Bad == "") == (in.Good == "") {
			return errors.New("ratio: needs bad or good")
		}
		return nil
	}
	return fmt.Errorf("a prometheus source does not answer indicators of kind %s", in.Kind)
}

// raw reports whether the question is counted from raw samples.
func (q *question) raw() bool { return q.plan != nil && !q.Pushdown }

// Name is the source's name in the configuration.
func (s *Source) Name() string { return s.name }

// Collect answers for a span, question by question; it fails as a whole only when asked about
// objectives it does not know or when ctx has ended.
func (s *Source) Collect(ctx context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	if span.Empty() || span.From.UnixMilli()%s.tick != 0 || span.To.UnixMilli()%s.tick != 0 {
		return nil, fmt.Errorf("source %s: span %s: does not lie on whole ticks", s.name, span)
	}
	asked := s.slos
	if len(only) > 0 {
		asked = only
	}
	var questions []*question
	found := map[*question]*work{}
	for _, name := range asked {
		q := s.bySLO[name]
		if q == nil {
			return nil, fmt.Errorf("source %s: slo %s: is not asked here", s.name, name)
		}
		if found[q] == nil {
			found[q] = &work{q: q}
			questions = append(questions, q)
		}
	}
	s.client.gate.note(span.To)

	// Questions counted from raw samples: those whose memory stands where the span begins go on
	// from there, the others begin anew.
	var counted []*work
	for _, q := range questions {
		if !q.raw() {
			continue
		}
		w := found[q]
		w.cursor = q.take(span.From)
		if w.cursor == nil {
			w.fresh, w.cursor = true, q.newCursor(time.Duration(s.tick)*time.Millisecond)
		}
		counted = append(counted, w)
	}
	s.prepare(ctx, span, counted)

	group := &errgroup.Group{}
	group.SetLimit(s.limits.Concurrency + 2)
	var ready []*question
	for _, w := range counted {
		if w.err == nil && w.note == "" {
			ready = append(ready, w.q)
		}
	}
	for _, b := range s.plan(ready) {
		group.Go(func() error {
			s.collect(ctx, b, span, found)
			return nil
		})
	}
	for _, q := range questions {
		if !q.raw() {
			group.Go(func() error {
				s.evaluate(ctx, found[q], span)
				return nil
			})
		}
	}
	_ = group.Wait() // every question carries its own error
	for _, w := range counted {
		w.q.put(w.cursor)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("source %s: %w", s.name, &Error{What: "query", Text: "no answer in the time allowed", reason: "timeout", err: err})
	}

	out := make([]slo.Sample, 0, len(asked))
	for _, name := range asked {
		out = append(out, s.sample(name, span, found[s.bySLO[name]]))
	}
	return out, nil
}

// work is one question in one Collect.
type work struct {
	q      *question
	cursor *cursor
	fresh  bool // the cursor began with this span
	answer counted
	began  bool // answer holds something
	note   string
	err    error
}

func (s *Source) sample(name string, span slo.Span, w *work) slo.Sample {
	out := slo.Sample{SLO: name, Span: span}
	if w.err != nil {
		out.Err = fmt.Errorf("source %s: slo %s: %w", s.name, name, w.err)
		return out
	}
	out.Groups, out.Covered, out.Newest = w.answer.Groups, w.answer.Covered, w.answer.Newest
	out.Baselined, out.Series, out.Note = w.answer.Baselined, w.answer.Series, w.note
	return out
}

// plan is the requests for a set of questions, made anew when the set or the spellings of a bound
// have changed.
func (s *Source) plan(questions []*question) []*bundle {
	var key strings.Builder
	for _, q := range questions {
		key.WriteString(q.slos[0])
		if q.Indicator.Kind == sources.Latency {
			q.mu.Lock()
			key.WriteString("\xfe" + strings.Join(q.les, "\xfe"))
			q.mu.Unlock()
		}
		key.WriteByte(0xff)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	plan, ok := s.plans[key.String()]
	if !ok {
		if len(s.plans) > 16 {
			clear(s.plans)
		}
		plan = bundles(questions)
		s.plans[key.String()] = plan
	}
	return plan
}

// collect answers the questions of one bundle, piece of time by piece of time.
func (s *Source) collect(ctx context.Context, b *bundle, span slo.Span, found map[*question]*work) {
	works := make([]*work, len(b.questions))
	fresh := false
	for i, q := range b.questions {
		works[i] = found[q]
		fresh = fresh || works[i].fresh
	}
	end := span.To.UnixMilli()
	for from := span.From.UnixMilli(); from < end; {
		alive := slices.DeleteFunc(slices.Clone(works), func(w *work) bool { return w.err != nil })
		if len(alive) == 0 {
			return
		}
		to := min(end, from+s.piece(b, end-from))
		start := from
		if fresh {
			start, fresh = from-s.before, false
		}
		s.collectPiece(ctx, b, alive, span.To, start, from, to)
		from = to
	}
	for _, w := range works {
		if w.err == nil && w.answer.lacking.Len() > 0 {
			w.note, w.err = s.explain(ctx, span.To, w.q, w.answer.lacking, span.From.UnixMilli()-s.before, end)
		}
	}
}

// piece is how long a piece of time the bundle's requests are made for, in whole ticks.
func (s *Source) piece(b *bundle, rest int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	length := rest
	for _, r := range b.requests {
		rate, ok := s.rates[r.key]
		switch {
		case !ok:
			length = min(length, firstPiece.Milliseconds())
		case rate > 0:
			length = min(length, int64(s.limits.SamplesPerRequest/rate))
		}
		if limit, ok := s.caps[r.key]; ok {
			length = min(length, limit)
		}
	}
	return min(rest, max(1, length/s.tick)*s.tick)
}

// collectPiece counts one piece for every work that has no error yet, or gives it one.
func (s *Source) collectPiece(ctx context.Context, b *bundle, works []*work, youngest time.Time, start, from, to int64) {
	hands := make([]hand, len(works))
	alive := func(yield func(int, *work) bool) {
		for i, w := range works {
			if w.err == nil && !yield(i, w) {
				return
			}
		}
	}
	fail := func(err error, asking []*question) {
		for _, w := range works {
			if w.err == nil && (asking == nil || slices.Contains(asking, w.q)) {
				w.err = err
			}
		}
	}

	// The samples; once more where a spelling of the bound was missing, or where the replica that
	// is followed fell silent and another one's past is needed.
	for again := true; again; {
		var all []series
		for _, r := range b.requests {
			more, err := s.samples(ctx, youngest, r, start, to, fail)
			if err != nil {
				fail(err, r.asking())
			}
			if all == nil {
				all = more
			} else {
				all = append(all, more...)
			}
		}
		all = joined(all)
		again = false
		wide := start
		for i, w := range alive {
			hands[i] = s.examine(w.q, w.cursor, s.place(w.q, all), start, from, to)
			if hands[i].wide != 0 {
				wide = min(wide, hands[i].wide)
			}
		}
		if wide < start {
			start, again = wide, true
			continue
		}
		var missed []*question
		for i, w := range alive {
			if w.q.Indicator.Kind == sources.Latency && s.missing(w.q, hands[i].series) {
				missed = append(missed, w.q)
			}
		}
		if len(missed) > 0 {
			learned, err := s.respell(ctx, youngest, missed, start, to)
			if err != nil {
				fail(err, missed)
			}
			if learned {
				b = &bundle{questions: b.questions, requests: flat(bundles(b.questions))}
				again = true
			}
		}
	}

	s.recall(ctx, b, works, hands, youngest, from, fail)
	s.processStarts(ctx, works, hands, youngest, from, to, fail)
	for i, w := range alive {
		answer := s.count(w.q, w.cursor, hands[i])
		if w.began {
			w.answer.add(answer)
		} else {
			w.answer, w.began = answer, true
		}
		if answer.Series > s.limits.MaxSeries {
			w.q.mu.Lock()
			w.q.suspect = true
			w.q.mu.Unlock()
		}
	}
}

func flat(bundles []*bundle) []*request {
	var out []*request
	for _, b := range bundles {
		out = append(out, b.requests...)
	}
	return out
}

// asking are the questions that a request is made for.
func (r *request) asking() []*question {
	var out []*question
	for _, m := range r.members {
		out = append(out, m.asking...)
	}
	return out
}

// samples reads the raw samples of a request in (start, end]. Where the server cannot answer for
// so much it is asked for halves, down to one tick; a merged request that it refuses altogether is
// taken apart, so that a bad question fails alone.
func (s *Source) samples(ctx context.Context, youngest time.Time, r *request, start, end int64, fail func(error, []*question)) ([]series, error) {
	s.mu.Lock()
	apart := s.apart[r.key]
	s.mu.Unlock()
	if apart {
		return s.alone(ctx, youngest, r, start, end, fail), nil
	}
	all, n, tried, strange := s.distant(ctx, youngest, r, start, end)
	if tried && strange == nil {
		s.learnRate(r, n, end-start)
		return all, nil
	}
	a, err := s.client.lent(ctx, youngest, fmt.Sprintf("%s[%dms]", r.sel, end-start), end)
	switch {
	case err == nil:
		defer s.client.done(a)
		if strange != nil && (!errors.Is(strange, errEmpty) || a.samples > 0) {
			s.distrust(r, strange)
		}
		s.learnRate(r, a.samples, end-start)
		return slices.Clone(after(a.series, start)), nil
	case ctx.Err() != nil:
		return nil, err
	case loaded(err) && end-start > s.tick:
		middle := start + max(1, (end-start)/2/s.tick)*s.tick
		s.shrink(r, (end-start)/2)
		s.logger.Debug("source "+s.name+": a piece is halved", "selector", r.sel.String(), "length", time.Duration(end-start)*time.Millisecond, "err", err)
		left, err := s.samples(ctx, youngest, r, start, middle, fail)
		if err != nil {
			return nil, err
		}
		right, err := s.samples(ctx, youngest, r, middle, end, fail)
		if err != nil {
			return nil, err
		}
		return joined(append(left, right...)), nil
	case refused(err) && len(r.members) > 1:
		if loaded(err) { // for a single tick: a limit on series, say, does not mind how short a span is
			s.logger.Debug("source "+s.name+": selectors are asked for alone", "selector", r.sel.String(), "err", err)
			s.mu.Lock()
			s.apart[r.key] = true
			delete(s.caps, r.key)
			s.mu.Unlock()
		}
		return s.alone(ctx, youngest, r, start, end, fail), nil
	}
	return nil, err
}

// alone asks for the members of a request one by one. One that fails fails its own questions.
func (s *Source) alone(ctx context.Context, youngest time.Time, r *request, start, end int64, fail func(error, []*question)) []series {
	var all []series
	samples := 0
	for _, m := range r.members {
		alone := &request{sel: m.sel, key: canonical(m.sel.Matchers), members: []member{m}}
		more, err := s.samples(ctx, youngest, alone, start, end, fail)
		if err != nil {
			fail(err, m.asking)
		}
		for _, one := range more {
			samples += len(one.floats)
			for _, h := range one.hists {
				samples += 1 + len(h.buckets)
			}
		}
		all = append(all, more...)
	}
	s.learnRate(r, samples, end-start)
	return all
}

func (s *Source) learnRate(r *request, samples int, length int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rates[r.key] = float64(samples) / float64(length)
	if limit, ok := s.caps[r.key]; ok && length >= limit {
		s.caps[r.key] = limit + limit/2 // it may have been a bad moment
	}
}

func (s *Source) shrink(r *request, length int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit, ok := s.caps[r.key]; !ok || length < limit {
		s.caps[r.key] = max(length, s.tick)
	}
}

// after drops samples at or before a moment: servers before Prometheus 3 send the left edge too.
func after(all []series, start int64) []series {
	for i := range all {
		one := &all[i]
		for len(one.floats) > 0 && one.floats[0].T <= start {
			one.floats = one.floats[1:]
		}
		for len(one.hists) > 0 && one.hists[0].t <= start {
			one.hists = one.hists[1:]
		}
	}
	return all
}

// joined makes one series of those with the same labels. Where both hold a moment the first says
// it; times ascend.
func joined(all []series) []series {
	at := make(map[string]int, len(all))
	out := all[:0]
	for _, one := range all {
		key := string(one.labels.Bytes(nil))
		i, ok := at[key]
		if !ok {
			at[key] = len(out)
			out = append(out, one)
			continue
		}
		first := &out[i]
		last := int64(0)
		if n := len(first.floats); n > 0 {
			last = first.floats[n-1].T
		}
		for len(one.floats) > 0 && one.floats[0].T <= last && len(first.floats) > 0 {
			one.floats = one.floats[1:]
		}
		first.floats = append(first.floats, one.floats...)
		if n := len(first.hists); n > 0 {
			last = first.hists[n-1].t
		}
		for len(one.hists) > 0 && len(first.hists) > 0 && one.hists[0].t <= last {
			one.hists = one.hists[1:]
		}
		first.hists = append(first.hists, one.hists...)
	}
	return out
}
