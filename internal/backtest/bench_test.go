package backtest

import (
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Thirty days of one SLO at a tick of a minute, with an incident a day.
func BenchmarkThirtyDays(b *testing.B) {
	const tick = time.Minute
	b.ReportAllocs()
	for b.Loop() {
		result := run(b, Options{
			Objectives: []slo.Objective{promise(b, "it", "99.9", 30*slo.Day)}, Tick: tick, Span: upTo(tick, 30*24*60),
			Source: &traffic{tick: tick, names: []string{"it"}, of: func(i int) (float64, float64) {
				if i%1440 < 20 {
					return 50, 1000
				}
				return 0, 1000
			}},
		})
		if len(result.Alerts) < 30 {
			b.Fatalf("%d alerts", len(result.Alerts))
		}
	}
}
