package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// steady is a source whose truth is known in closed form: ten events a second since 1970, of which
// bad per thousand are bad. What it does with a question is the test's to say.
type steady struct {
	name  string
	bad   float64
	mu    sync.Mutex
	asked []slo.Span
	do    func(ctx context.Context, span slo.Span, only []string) error // nil: answer
}

var _ sources.Source[slo.Sample] = (*steady)(nil)

func (s *steady) Name() string { return s.name }

func (s *steady) Collect(ctx context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	s.mu.Lock()
	s.asked = append(s.asked, span)
	do := s.do
	s.mu.Unlock()
	if do != nil {
		if err := do(ctx, span, only); err != nil {
			return nil, err
		}
	}
	sample := slo.Sample{SLO: s.name, Span: span, Covered: []slo.Span{span}, Newest: span.To}
	var g slo.GroupSample
	for at := span.From.Add(tick); !at.After(span.To); at = at.Add(tick) {
		n := 10 * tick.Seconds()
		g.Increments = append(g.Increments, slo.Increment{At: at, Total: n, Bad: n * s.bad / 1000})
	}
	sample.Groups = []slo.GroupSample{g}
	return []slo.Sample{sample}, nil
}

func (s *steady) set(do func(context.Context, slo.Span, []string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = do
}

// pages is a sink that keeps what it was given.
type pages struct {
	name  string
	mu    sync.Mutex
	times []time.Time
	last  *sinks.Report
	do    func(ctx context.Context) error
}

func (p *pages) Name() string { return p.name }

func (p *pages) Write(ctx context.Context, r *sinks.Report) error {
	if p.do != nil {
		if err := p.do(ctx); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times, p.last = append(p.times, r.Time), r
	return nil
}

func (p *pages) status(t *testing.T, name string) slo.Status {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		t.Fatal("nothing was written")
	}
	for _, s := range p.last.SLOs {
		if s.Objective.Name == name {
			return s
		}
	}
	t.Fatalf("no slo %s", name)
	return slo.Status{}
}

func (p *pages) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.times)
}

const tick = 30 * time.Second

func window(s slo.Status, key string) slo.Window {
	i := slices.IndexFunc(s.Windows, func(w slo.Window) bool { return w.Key == key })
	return s.Windows[i]
}

// near reports whether a window holds what was expected: exactly up to an hour, for a length that is
// off by 0.8 % at most beyond.
func near(w slo.Window, want float64) bool {
	slack := 0.0
	if w.Length > time.Hour {
		slack = 0.008 * want
	}
	return w.Total >= want-slack && w.Total <= want+slack
}

// world is a pipeline with its doubles, run in a bubble where time is an argument.
type world struct {
	line    *Pipeline
	reg     *prometheus.Registry
	sink    *pages
	sources map[string]*steady
	stop    func()
}

func run(t *testing.T, backfill time.Duration, all ...*steady) *world {
	t.Helper()
	engine, err := slo.NewEngine(tick)
	if err != nil {
		t.Fatal(err)
	}
	target, err := slo.ParsePercent("99.9")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{reg: prometheus.NewRegistry(), sink: &pages{name: "page"}, sources: map[string]*steady{}}
	o := Options{Engine: engine, Sinks: []sinks.Sink{w.sink}, Metrics: NewMetrics(w.reg), Asks: make(Asks)}
	var objectives []slo.Objective
	for _, s := range all {
		w.sources[s.name] = s
		period := slo.RollingPeriod(7 * slo.Day)
		objectives = append(objectives, slo.Objective{Name: s.name, Target: target, Period: period, Policy: slo.Workbook(period)})
		o.Lanes = append(o.Lanes, Lane{Source: s, Objectives: []string{s.name}, Backfill: backfill})
	}
	engine.Set(objectives)
	w.line = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.line.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return w
}

// pass lets time go by in the bubble and waits until everything has come to rest.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

func TestWindowsFillFromThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, 30*slo.Day, &steady{name: "a", bad: 10})
		defer w.stop()
		pass(time.Minute)
		s := w.sink.status(t, "a")
		for key, length := range map[string]time.Duration{"5m": 5 * time.Minute, "1h": time.Hour, "7d": 7 * slo.Day} {
			got := window(s, key)
			if want := 10 * length.Seconds(); got.Coverage != 1 || !near(got, want) || got.Bad*100 != got.Total {
				t.Errorf("%s: %v of %v, coverage %v; want %v of %v", key, got.Bad, got.Total, got.Coverage, want/100, want)
			}
		}
		asked := w.sources["a"].asked
		if asked[0].Duration() != live {
			t.Errorf("first asked for %s, want the last hour: the present goes before the past", asked[0].Duration())
		}
		for i := 2; i < len(asked); i++ {
			if asked[i].Duration() > tick && asked[i-1].Duration() > tick && asked[i].From.Before(asked[i-1].From) {
				t.Errorf("%s was asked after %s: the past goes oldest first", asked[i], asked[i-1])
			}
		}
		if got := testutil.ToFloat64(w.line.Metrics.remaining.WithLabelValues("a")); got != 0 {
			t.Errorf("yoyu_backfill_remaining_seconds %v at the end", got)
		}
	})
}

func TestOneSourceHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, 30*slo.Day, &steady{name: "good"}, &steady{name: "bad"})
		defer w.stop()
		pass(10 * time.Minute)

		w.sources["bad"].set(func(ctx context.Context, _ slo.Span, _ []string) error { <-ctx.Done(); return ctx.Err() })
		before := w.sink.count()
		pass(10 * time.Minute)
		// The newest report waits for the source's share of the tick, the others came one by one.
		if got := w.sink.count() - before; got < 19 {
			t.Errorf("%d reports in 10 minutes, want 19 or 20: a source that hangs costs no report", got)
		}
		if got := window(w.sink.status(t, "good"), "5m"); got.Coverage != 1 || got.Total != 3000 {
			t.Errorf("the other source: %v events, coverage %v; want 3000 and 1", got.Total, got.Coverage)
		}
		if got := window(w.sink.status(t, "bad"), "5m"); got.Coverage != 0 || got.BurnRate.Defined {
			t.Errorf("the source that hangs: coverage %v, burn rate %v; want none", got.Coverage, got.BurnRate)
		}
	})
}

func TestFailuresHealThemselves(t *testing.T) {
	for _, c := range []struct {
		about string
		err   error
		down  time.Duration
	}{
		{"a short outage", errors.New("503"), 4 * time.Minute},
		{"an outage longer than what a tick asks for", reasoned{"http_5xx"}, 3 * time.Hour},
	} {
		t.Run(c.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := run(t, 30*slo.Day, &steady{name: "a", bad: 20})
				defer w.stop()
				pass(10 * time.Minute)
				w.sources["a"].set(func(context.Context, slo.Span, []string) error { return c.err })
				pass(c.down)
				if got := window(w.sink.status(t, "a"), "5m").Coverage; got > 0.25 {
					t.Errorf("while it is down: coverage %v", got)
				}
				if got := testutil.ToFloat64(w.line.Metrics.sources.failures.WithLabelValues("a", Reason(c.err))); got == 0 {
					t.Errorf("no failure was counted under %q", Reason(c.err))
				}
				w.sources["a"].set(nil)
				pass(10 * time.Minute)
				s := w.sink.status(t, "a")
				for _, key := range []string{"1h", "6h", "7d"} {
					got := window(s, key)
					if want := 10 * got.Length.Seconds(); got.Coverage != 1 || !near(got, want) || got.Bad*50 != got.Total {
						t.Errorf("%s afterwards: %v of %v, coverage %v; want %v of %v", key, got.Bad, got.Total, got.Coverage, want/50, want)
					}
				}
			})
		})
	}
}

type reasoned struct{ reason string }

func (r reasoned) Error() string  { return "failed" }
func (r reasoned) Reason() string { return r.reason }

// A source that dies while a page fires does not resolve it.
func TestDeadSourceHoldsThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, 30*slo.Day, &steady{name: "a", bad: 500})
		defer w.stop()
		pass(10 * time.Minute)
		firing := func() bool { return w.sink.status(t, "a").Alerts[0].Firing }
		if !firing() {
			t.Fatal("half of all events are bad and no page fires")
		}
		w.sources["a"].set(func(context.Context, slo.Span, []string) error { return errors.New("down") })
		for range 10 {
			pass(5 * time.Minute)
			if !firing() {
				t.Fatal("the outage of the source resolved the page")
			}
		}
		pass(12 * time.Hour)
		if firing() {
			t.Error("the page is held for longer than its long window")
		}
	})
}

// A sink that hangs misses reports; the others get every one.
func TestOneSinkHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := slo.NewEngine(tick)
		if err != nil {
			t.Fatal(err)
		}
		stuck := &pages{name: "stuck", do: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		fine := &pages{name: "fine"}
		metrics := NewMetrics(nil)
		line := New(Options{Engine: engine, Sinks: []sinks.Sink{stuck, fine}, Metrics: metrics})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- line.Run(ctx) }()
		pass(10 * time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := fine.count(); n < 20 {
			t.Errorf("the other sink got %d reports in 10 minutes, want 20", n)
		}
		for i, at := range fine.times {
			if want := fine.times[0].Add(time.Duration(i) * tick); !at.Equal(want) {
				t.Errorf("report %d is of %s, want %s", i, at, want)
			}
		}
		if testutil.ToFloat64(metrics.sinks.failures.WithLabelValues("stuck", "timeout")) == 0 {
			t.Error("no timeout was counted")
		}
	})
}

// One question that fails alone does not hold up the rest of its source, nor their past.
func TestOneQuestionFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := slo.NewEngine(tick)
		if err != nil {
			t.Fatal(err)
		}
		target, _ := slo.ParsePercent("99")
		period := slo.RollingPeriod(7 * slo.Day)
		var objectives []slo.Objective
		for _, name := range []string{"good", "broken"} {
			objectives = append(objectives, slo.Objective{Name: name, Target: target, Period: period, Policy: slo.Workbook(period)})
		}
		engine.Set(objectives)
		sink := &pages{name: "page"}
		source := &twoQuestions{steady: steady{name: "good"}}
		line := New(Options{Engine: engine, Sinks: []sinks.Sink{sink},
			Lanes: []Lane{{Source: source, Objectives: []string{"good", "broken"}, Backfill: 30 * slo.Day}}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- line.Run(ctx) }()
		pass(10 * time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := window(sink.status(t, "good"), "7d"); got.Coverage != 1 {
			t.Errorf("coverage %v of the question that can be answered", got.Coverage)
		}
		if got := window(sink.status(t, "broken"), "7d"); got.Coverage != 0 || got.BurnRate.Defined {
			t.Errorf("coverage %v of the question that cannot", got.Coverage)
		}
	})
}

type twoQuestions struct{ steady }

func (s *twoQuestions) Collect(ctx context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	var out []slo.Sample
	if len(only) == 0 || slices.Contains(only, "good") {
		got, err := s.steady.Collect(ctx, span)
		if err != nil {
			return nil, err
		}
		out = got
	}
	if len(only) == 0 || slices.Contains(only, "broken") {
		out = append(out, slo.Sample{SLO: "broken", Span: span, Err: errors.New("400 bad query")})
	}
	return out, nil
}

// A source without a past is asked for the present only, from the first tick on.
func TestNoPastToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, 0, &steady{name: "a"})
		defer w.stop()
		pass(10 * time.Minute)
		for i, span := range w.sources["a"].asked {
			if span.Duration() != tick {
				t.Errorf("question %d is for %s", i, span)
			}
		}
	})
}

// Workloads walk in a lane of their own; when listing fails, the last list stands.
func TestWorkloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := slo.NewEngine(tick)
		if err != nil {
			t.Fatal(err)
		}
		cluster := &cluster{}
		sink := &pages{name: "page"}
		line := New(Options{
			Engine: engine, Sinks: []sinks.Sink{sink}, Workloads: []sources.Source[rightsizing.Workload]{cluster},
			Judge: func(r *sinks.Report) {
				for i := range r.Workloads {
					r.Workloads[i].Services = []string{"checkout"}
				}
			},
		})
		for i := range 10 {
			if err := line.Tick(t.Context(), time.Now().Add(time.Duration(i)*time.Minute)); err != nil {
				t.Fatal(err)
			}
			got := line.Report().Workloads
			if len(got) != 1 || got[0].Name != "checkout" || len(got[0].Services) != 1 {
				t.Fatalf("turn %d: %+v", i, got)
			}
		}
		if cluster.asked < 8 {
			t.Errorf("listed %d times in 10 minutes", cluster.asked)
		}
	})
}

type cluster struct{ asked int }

func (c *cluster) Name() string { return "cluster" }

func (c *cluster) Collect(context.Context, slo.Span, ...string) ([]rightsizing.Workload, error) {
	c.asked++
	if c.asked > 1 {
		return nil, fmt.Errorf("forbidden")
	}
	return []rightsizing.Workload{{Name: "checkout"}}, nil
}

func TestMetricsAreBornAtZero(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	m.source("prom")
	m.sink("dd")
	for _, name := range []string{"yoyu_source_failures_total", "yoyu_sink_failures_total"} {
		n, err := testutil.GatherAndCount(reg, name)
		if err != nil || n != len(Reasons) {
			t.Errorf("%s: %d series, want one for each of %d reasons (%v)", name, n, len(Reasons), err)
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}

func TestReason(t *testing.T) {
	for want, err := range map[string]error{
		"timeout":  fmt.Errorf("asking: %w", context.DeadlineExceeded),
		"http_5xx": fmt.Errorf("asking: %w", reasoned{"http_5xx"}),
		"other":    reasoned{"a whole sentence, with the token abc"},
	} {
		if got := Reason(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// A source that hangs is waited for once, not at every tick.
func TestHangingIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, 30*slo.Day, &steady{name: "good"}, &steady{name: "bad"})
		defer w.stop()
		pass(10 * time.Minute)
		w.sources["bad"].set(func(ctx context.Context, _ slo.Span, _ []string) error { <-ctx.Done(); return ctx.Err() })
		pass(10 * time.Minute)
		began := time.Now()
		if err := w.line.Tick(t.Context(), began); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("a turn took %s while a source hangs since long before", took)
		}
	})
}

// Filling the past in one go: what fails costs its own coverage, and is said at the end.
func TestBackfillGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := slo.NewEngine(tick)
		if err != nil {
			t.Fatal(err)
		}
		target, _ := slo.ParsePercent("99")
		period := slo.RollingPeriod(7 * slo.Day)
		var objectives []slo.Objective
		for _, name := range []string{"dead", "good", "broken"} {
			objectives = append(objectives, slo.Objective{Name: name, Target: target, Period: period, Policy: slo.Workbook(period)})
		}
		engine.Set(objectives)
		dead := &steady{name: "dead", do: func(context.Context, slo.Span, []string) error { return errors.New("refused") }}
		line := New(Options{Engine: engine, Lanes: []Lane{
			{Source: dead, Objectives: []string{"dead"}, Backfill: 30 * slo.Day},
			{Source: &twoQuestions{steady: steady{name: "good"}}, Objectives: []string{"good", "broken"}, Backfill: 30 * slo.Day},
		}})
		last, most := time.Duration(0), time.Duration(0)
		now := time.Now()
		err = line.Backfill(t.Context(), now, func(done, all time.Duration) {
			if done < last || done > all {
				t.Errorf("progress went from %s to %s of %s", last, done, all)
			}
			last, most = done, all
		})
		if err == nil || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), "400 bad query") {
			t.Errorf("error %v, want both", err)
		}
		if most != 14*slo.Day {
			t.Errorf("%s to do, want a week for each source", most)
		}
		for _, s := range engine.Evaluate(now) {
			want := 0.0
			if s.Objective.Name == "good" {
				want = 1
			}
			if got := window(s, "7d").Coverage; got != want {
				t.Errorf("%s: coverage %v, want %v", s.Objective.Name, got, want)
			}
		}
	})
}

// What a reload removes takes its series along.
func TestSeriesOfRemovedPartsGo(t *testing.T) {
	reg := prometheus.NewRegistry()
	metrics := NewMetrics(reg)
	engine, err := slo.NewEngine(tick)
	if err != nil {
		t.Fatal(err)
	}
	lane := func(name string) Lane { return Lane{Source: &steady{name: name}, Objectives: []string{name}} }
	New(Options{Engine: engine, Metrics: metrics, Lanes: []Lane{lane("a"), lane("b")}, Sinks: []sinks.Sink{&pages{name: "s"}}})
	count := func(name string) int {
		n, err := testutil.GatherAndCount(reg, name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := count("yoyu_source_up"); got != 2 {
		t.Fatalf("%d sources", got)
	}
	New(Options{Engine: engine, Metrics: metrics, Lanes: []Lane{lane("b")}})
	for name, want := range map[string]int{
		"yoyu_source_up": 1, "yoyu_backfill_remaining_seconds": 1, "yoyu_source_failures_total": len(Reasons), "yoyu_sink_up": 0,
	} {
		if got := count(name); got != want {
			t.Errorf("%s: %d series, want %d", name, got, want)
		}
	}
}

// Trouble is said when it begins, changes and ends.
func TestTroubleIsSaidOnce(t *testing.T) {
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	var s said
	for _, text := range []string{"503", "503", "503", "timeout"} {
		s.trouble(log, "a", "failed", errors.New(text))
	}
	s.well(log, "a", "again")
	s.well(log, "a", "again")
	if got := strings.Count(out.String(), "\n"); got != 3 {
		t.Errorf("%d lines, want 3:\n%s", got, &out)
	}
}

// What is made durable is made so before it is shown, with what the source remembers.
func TestDurableBeforeVisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := slo.NewEngine(tick)
		if err != nil {
			t.Fatal(err)
		}
		target, _ := slo.ParsePercent("99")
		period := slo.RollingPeriod(7 * slo.Day)
		engine.Set([]slo.Objective{{Name: "a", Target: target, Period: period, Policy: slo.Workbook(period)}})
		sink := &pages{name: "page"}
		commits := 0
		line := New(Options{
			Engine: engine, Sinks: []sinks.Sink{sink}, Lanes: []Lane{{Source: &keeper{steady{name: "a"}}, Objectives: []string{"a"}}},
			Commit: func(_ *slo.Engine, progress map[string]*slo.Progress) {
				commits++
				if sink.count() != commits-1 {
					t.Errorf("commit %d: %d reports were shown", commits, sink.count())
				}
				if p := progress["a"]; p == nil || string(p.Values) != "remembered" {
					t.Errorf("commit %d: progress %v", commits, p)
				}
			},
		})
		for i := range 3 {
			if err := line.Tick(t.Context(), time.Now().Add(time.Duration(i)*tick)); err != nil {
				t.Fatal(err)
			}
		}
		if commits != 3 {
			t.Errorf("%d commits", commits)
		}
	})
}

type keeper struct{ steady }

func (k *keeper) Collect(ctx context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	got, err := k.steady.Collect(ctx, span, only...)
	for i := range got {
		got[i].Progress = &slo.Progress{Values: []byte("remembered")}
	}
	return got, err
}
