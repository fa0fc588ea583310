package slo_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// crowd is an engine with n objectives, each with the default windows and one of 7d, and a source
// that hands its answers over in batches: so they come from the cache, as they do where they were
// just decoded.
type crowd struct {
	*slo.Engine
	names []string
	now   time.Time

	samples    []slo.Sample
	spans      []slo.Span
	increments []slo.Increment
}

const (
	benchTick  = 30 * time.Second
	benchBatch = 1000
)

func newCrowd(b testing.TB, n int, period time.Duration) *crowd {
	b.Helper()
	e, err := slo.NewEngine(benchTick)
	if err != nil {
		b.Fatal(err)
	}
	target, err := slo.ParsePercent("99.9")
	if err != nil {
		b.Fatal(err)
	}
	one, err := slo.ParseFactor("1")
	if err != nil {
		b.Fatal(err)
	}
	policy := slo.Workbook(slo.RollingPeriod(period))
	last := &policy.Severities[len(policy.Severities)-1]
	last.Pairs = append(last.Pairs, slo.Pair{Long: 7 * slo.Day, Short: 6 * time.Hour, Factor: one})
	objectives := make([]slo.Objective, n)
	c := &crowd{
		Engine: e, now: began, names: make([]string, n), samples: make([]slo.Sample, benchBatch),
		spans: make([]slo.Span, benchBatch), increments: make([]slo.Increment, benchBatch),
	}
	for i := range objectives {
		c.names[i] = fmt.Sprint("slo-", i)
		objectives[i] = slo.Objective{Name: c.names[i], Target: target, Period: slo.RollingPeriod(period), Policy: policy}
	}
	groups := make([]slo.GroupSample, benchBatch)
	for i := range c.samples {
		groups[i].Increments = c.increments[i : i+1 : i+1]
		c.samples[i] = slo.Sample{Groups: groups[i : i+1 : i+1], Covered: c.spans[i : i+1 : i+1]}
	}
	e.Set(objectives)
	e.Watch(began)
	return c
}

// turn puts the next tick's answers, 1,000 to 1,999 events each of which one is bad or none, and
// judges them. It answers what that took, without making the answers.
func (c *crowd) turn(b testing.TB) (observe, judge time.Duration) {
	span := slo.Span{From: c.now, To: c.now.Add(benchTick)}
	c.now = span.To
	for first := 0; first < len(c.names); first += benchBatch {
		for i := range c.samples {
			c.samples[i].SLO, c.samples[i].Span, c.samples[i].Newest, c.spans[i] = c.names[first+i], span, span.To, span
			c.increments[i] = slo.Increment{At: span.To, Total: float64(1000 + i), Bad: float64(i % 2)}
		}
		start := time.Now()
		if err := c.Observe(c.samples...); err != nil {
			b.Fatal(err)
		}
		observe += time.Since(start)
	}
	start := time.Now()
	c.Judge(c.now)
	return observe, time.Since(start)
}

// BenchmarkTick is a tick in memory: all answers put, nine windows counted for every objective, budgets
// and alerts worked out. x-stream is what it takes against the time in which this machine streams the
// same bytes: those of a second engine, whose columns lie as far from the processor as those of the
// first, in turns with the ticks.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("slos=%d", n), func(b *testing.B) {
			c := newCrowd(b, n, 30*slo.Day)
			streamed := c
			if n < 1_000_000 { // there is no room for two
				streamed = newCrowd(b, n, 30*slo.Day)
			}
			for _, c := range []*crowd{c, streamed} {
				c.turn(b)
				c.Touch(300)
			}
			c.Evaluate(c.now)
			for range 20 {
				c.turn(b)
				streamed.Stream()
				streamed.Streamed()
			}
			var ticks, observed, judged, streams []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				observe, judge := c.turn(b)
				ticks, observed, judged = append(ticks, observe+judge), append(observed, observe), append(judged, judge)
				start := time.Now()
				streamed.Stream()
				streams = append(streams, time.Since(start))
				streamed.Streamed()
			}
			each := func(took []time.Duration) float64 { return float64(median(took).Nanoseconds()) / float64(n) }
			b.ReportMetric(each(ticks), "ns/slo")
			b.ReportMetric(each(observed), "observe-ns/slo")
			b.ReportMetric(each(judged), "judge-ns/slo")
			b.ReportMetric(each(streams), "stream-ns/slo")
			b.ReportMetric(float64(median(ticks))/float64(median(streams)), "x-stream")
		})
	}
}

func median(took []time.Duration) time.Duration {
	took = slices.Clone(took)
	slices.Sort(took)
	return took[len(took)/2]
}

// BenchmarkTickPeriod pairs periods of 7 and of 90 days, tick by tick in turns.
func BenchmarkTickPeriod(b *testing.B) {
	const n = 20_000
	short, long := newCrowd(b, n, 7*slo.Day), newCrowd(b, n, 90*slo.Day)
	var took [2][]time.Duration
	for range 20 {
		short.turn(b)
		long.turn(b)
	}
	for b.Loop() {
		for i, c := range []*crowd{short, long} {
			observe, judge := c.turn(b)
			took[i] = append(took[i], observe+judge)
		}
	}
	b.ReportMetric(float64(median(took[0]).Nanoseconds())/n, "7d-ns/slo")
	b.ReportMetric(float64(median(took[1]).Nanoseconds())/n, "90d-ns/slo")
	b.ReportMetric(float64(median(took[1]))/float64(median(took[0])), "x-7d")
}

// BenchmarkMemory is the heap that an objective takes, with the default windows, 90 days and ticks of
// 30 s: whole counts, and counts that need 64 bits.
func BenchmarkMemory(b *testing.B) {
	for _, wide := range []bool{false, true} {
		b.Run(map[bool]string{false: "narrow", true: "wide"}[wide], func(b *testing.B) {
			const n = 20_000
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				e, err := slo.NewEngine(benchTick)
				if err != nil {
					b.Fatal(err)
				}
				period := slo.RollingPeriod(90 * slo.Day)
				target, err := slo.ParsePercent("99.9")
				if err != nil {
					b.Fatal(err)
				}
				policy := slo.Workbook(period)
				objectives := make([]slo.Objective, n)
				for i := range objectives {
					objectives[i] = slo.Objective{Name: fmt.Sprint("slo-", i), Target: target, Period: period, Policy: policy, Fractional: wide}
				}
				e.Set(objectives)
				e.Judge(began)
				objectives = nil
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n/1000, "KB/slo")
				runtime.KeepAlive(e)
				runtime.KeepAlive(objectives) // nil: its memory went before the measurement
			}
		})
	}
}

// BenchmarkReport is what Evaluate makes of a judged tick: a Status for each objective.
func BenchmarkReport(b *testing.B) {
	const n = 10_000
	c := newCrowd(b, n, 30*slo.Day)
	c.turn(b)
	b.ReportAllocs()
	for b.Loop() {
		if got := c.Evaluate(c.now); len(got) != n {
			b.Fatal(len(got))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/slo")
}
