package slo_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// crowd is an engine with n objectives of the default windows and one of 7d, and a turn of answers
// as a source gives them: 1,500 events a tick, one in a thousand bad.
type crowd struct {
	*slo.Engine
	now        time.Time
	samples    []slo.Sample
	spans      []slo.Span
	increments []slo.Increment
}

const benchTick = 30 * time.Second

func newCrowd(b testing.TB, n int, period time.Duration) *crowd {
	b.Helper()
	e, err := slo.NewEngine(benchTick)
	if err != nil {
		b.Fatal(err)
	}
	target, _ := slo.ParsePercent("99.9")
	policy := slo.Workbook(slo.RollingPeriod(period))
	week, err := slo.ParseFactor("1")
	if err != nil {
		b.Fatal(err)
	}
	last := &policy.Severities[len(policy.Severities)-1]
	last.Pairs = append(last.Pairs, slo.Pair{Long: 7 * slo.Day, Short: 6 * time.Hour, Factor: week})
	objectives := make([]slo.Objective, n)
	c := &crowd{
		Engine: e, now: began, samples: make([]slo.Sample, n),
		spans: make([]slo.Span, n), increments: make([]slo.Increment, n),
	}
	groups := make([]slo.GroupSample, n)
	for i := range objectives {
		name := fmt.Sprint("slo-", i)
		objectives[i] = slo.Objective{Name: name, Target: target, Period: slo.RollingPeriod(period), Policy: policy}
		groups[i].Increments = c.increments[i : i+1 : i+1]
		c.samples[i] = slo.Sample{SLO: name, Groups: groups[i : i+1 : i+1], Covered: c.spans[i : i+1 : i+1]}
	}
	e.Set(objectives)
	e.Watch(began)
	return c
}

// turn is the next tick's answers.
func (c *crowd) turn() {
	span := slo.Span{From: c.now, To: c.now.Add(benchTick)}
	c.now = span.To
	for i := range c.samples {
		c.samples[i].Span, c.spans[i], c.samples[i].Newest = span, span, span.To
		c.increments[i] = slo.Increment{At: span.To, Total: float64(1000 + i%1000), Bad: float64(i % 2)}
	}
}

func BenchmarkTick(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("slos=%d", n), func(b *testing.B) {
			c := newCrowd(b, n, 30*slo.Day)
			for range 5 {
				c.turn()
				if err := c.Observe(c.samples...); err != nil {
					b.Fatal(err)
				}
				c.Evaluate(c.now)
			}
			var observe, judge time.Duration
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				c.turn()
				b.StartTimer()
				start := time.Now()
				if err := c.Observe(c.samples...); err != nil {
					b.Fatal(err)
				}
				middle := time.Now()
				c.Judge(c.now)
				judge += time.Since(middle)
				observe += middle.Sub(start)
			}
			per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(b.N) / float64(n) }
			b.ReportMetric(per(observe), "observe-ns/slo")
			b.ReportMetric(per(judge), "judge-ns/slo")
			b.ReportMetric(per(observe+judge), "ns/slo")
		})
	}
}
