package scrape

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// Source scrapes targets and counts for the questions of many objectives. It is safe for
// concurrent use: answers from memory never wait for a target.
type Source struct {
	name    string
	tick    time.Duration
	targets []*target
	fetcher *fetcher
	reader  *reader
	limit   int   // targets asked at the same time
	pods    *pods // nil: only the targets that are configured
	log     *slog.Logger
	failed  func(*Failure)
	keep    bool // answers carry what is remembered

	turn chan struct{} // holds a token while a turn scrapes: it owns the targets

	mu        sync.Mutex // guards what follows
	questions []*question
	newest    time.Time // of the last turn that a target answered
}

var _ sources.Source[slo.Sample] = (*Source)(nil)

// Options are what a source is made of.
type Options struct {
	Name      string
	Config    Config
	Tick      time.Duration
	Questions []sources.Question
	Logger    *slog.Logger // nil: no log

	// Failed is told of each target that failed in a turn where others answered: nobody else would
	// hear of it. Where none answered, the failures are Collect's error. nil: not told.
	Failed func(*Failure)

	// Pods are the addresses, host:port, of the pods that Config.Kubernetes means, as they are now. It
	// may only be nil where nothing is asked.
	Pods func(context.Context) ([]string, error)

	// Keep has every answer carry what is remembered after it (slo.Sample.Progress), and Progress
	// is what such answers carried before a restart, by SLO: counters then remember for us what
	// happened in between.
	Keep     bool
	Progress map[string]slo.Progress
}

// New checks the configuration and the questions. It opens no connection. Every fault is reported,
// one a line.
func New(o Options) (*Source, error) {
	if o.Tick < time.Millisecond || o.Tick%time.Millisecond != 0 {
		return nil, fmt.Errorf("tick: %s is no whole number of milliseconds", o.Tick)
	}
	c, targets, err := o.Config.completed(o.Name, o.Tick)
	faults := []error{err}
	plans := make([]*selectors.Plan, 0, len(o.Questions))
	for _, q := range o.Questions {
		plan, err := newPlan(q)
		if err != nil {
			faults = append(faults, fmt.Errorf("slo %s: %w", q.SLO, err))
			continue
		}
		plans = append(plans, plan)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	native := slices.ContainsFunc(plans, func(p *selectors.Plan) bool { return p.Question.Indicator.Kind == sources.Latency })
	fetcher, err := newFetcher(o.Name, c, native)
	if err != nil {
		return nil, err
	}
	s := &Source{
		name: o.Name, tick: o.Tick,
		targets: targets, fetcher: fetcher, limit: c.Limits.Concurrency,
		reader: newReader(plans, c.Job, c.Limits.Samples, increments.Lookback(o.Tick).Milliseconds()),
		log:    o.Logger, failed: o.Failed,
		turn: make(chan struct{}, 1), keep: o.Keep,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if c.Kubernetes != nil {
		s.pods = &pods{find: o.Pods, like: *c.Kubernetes, fixed: targets}
	}
	for _, plan := range plans {
		q := newQuestion(plan, o.Tick)
		if kept, ok := o.Progress[plan.Question.SLO]; ok {
			if err := q.memory.Restore(kept.Names, kept.Values); err != nil {
				return nil, fmt.Errorf("slo %s: %w", plan.Question.SLO, err)
			}
		}
		s.questions = append(s.questions, q)
	}
	return s, nil
}

func newPlan(q sources.Question) (*selectors.Plan, error) {
	switch kind := q.Indicator.Kind; {
	case q.Pushdown:
		return nil, errors.New("counting: pushdown needs a server that counts, and a scraped page is none: remove it, every series is counted exactly")
	case kind == sources.PromQL || kind == sources.Ratio:
		return nil, fmt.Errorf("a scraped page cannot answer a %s indicator: use counters, latency or gauge, or a source of type prometheus", kind)
	}
	return selectors.NewPlan(q)
}

// Name is the source's name in the configuration.
func (s *Source) Name() string { return s.name }

// Collect answers for a span that lies on whole ticks. If its end is newer than all before it, it
// is the present: every target is scraped once and the samples are booked at the span's end; else
// the answer is what is remembered of it. Reason tells errors and Sample.Err apart.
func (s *Source) Collect(ctx context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	if span.Empty() || !s.whole(span.From) || !s.whole(span.To) {
		return nil, fmt.Errorf("span %s does not lie on whole ticks of %s", span, s.tick)
	}
	if s.due(span.To) {
		if err := s.scrape(ctx, span.To); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	samples := make([]slo.Sample, 0, len(s.questions))
	for _, q := range s.questions {
		if len(only) == 0 || slices.Contains(only, q.plan.Question.SLO) {
			sample := q.answer(span)
			if s.keep && sample.Err == nil && span.To.Equal(q.done) {
				sample.Progress = &slo.Progress{Names: q.memory.Names(), Values: q.memory.Values()}
			}
			samples = append(samples, sample)
		}
	}
	return samples, nil
}

func (s *Source) whole(t time.Time) bool {
	return t.Nanosecond()%int(time.Millisecond) == 0 && t.UnixMilli()%s.tick.Milliseconds() == 0
}

// due reports whether a moment is newer than every turn: then it is the present (see the package's
// words on time).
func (s *Source) due(at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.questions) > 0 && at.After(s.newest)
}

// scrape takes one turn: every target once. It fails when no target answers, and then nothing has
// changed.
func (s *Source) scrape(ctx context.Context, at time.Time) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !s.due(at) {
		return nil // the turn before was this one
	}
	if err := s.discover(ctx); err != nil {
		return err
	}
	found, failed := s.pages(ctx, at)
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	// At the deadline of ctx, what was answered in time still counts.
	answered := slices.ContainsFunc(found, func(p *page) bool { return p != nil })
	s.report(failed, answered)
	if !answered {
		return errors.Join(failed...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, q := range s.questions {
		q.count(at, i, found, failed)
	}
	s.newest = at
	return nil
}

// pages asks every target, those that failed last time after the others: where they hang, they
// hold up one another only.
func (s *Source) pages(ctx context.Context, at time.Time) (found []*page, failed []error) {
	found, failed = make([]*page, len(s.targets)), make([]error, len(s.targets))
	var g errgroup.Group
	g.SetLimit(s.limit)
	for _, down := range [2]bool{false, true} {
		for i, t := range s.targets {
			if (t.down != "") != down {
				continue
			}
			g.Go(func() error {
				p, err := s.page(ctx, t, at)
				if err != nil {
					failed[i] = &Failure{Target: t.String(), Why: reason(err), Err: err}
					return nil
				}
				found[i] = p
				return nil
			})
		}
	}
	_ = g.Wait() // failures are by target
	return found, failed
}

func (s *Source) page(ctx context.Context, t *target, at time.Time) (*page, error) {
	body, contentType, err := s.fetcher.fetch(ctx, t)
	if err != nil {
		return nil, err
	}
	t.size = len(body)
	return s.reader.read(body, contentType, t, at.UnixMilli())
}

// report notes who is down. The log hears of a target when that changes, not at every tick.
func (s *Source) report(failed []error, answered bool) {
	for i, t := range s.targets {
		var failure *Failure
		if !errors.As(failed[i], &failure) {
			if t.down != "" {
				s.log.Info("target answers again", "source", s.name, "target", t.String())
			}
			t.down = ""
			continue
		}
		if answered {
			if t.down != failure.Why {
				s.log.Warn("target failed", "source", s.name, "target", failure.Target, "reason", failure.Why, "err", failure.Err)
			}
			if s.failed != nil {
				s.failed(failure)
			}
		}
		t.down = failure.Why
	}
}
