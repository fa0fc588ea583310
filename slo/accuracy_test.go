package slo_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Six kinds of traffic that are hard on thinned windows, each tick for twelve days against running
// totals of every tick: a window of more than an hour is always an exact one of a length that is off
// by 0.8 % at most, the pair 1h/5m fires exactly when it should, and the other pairs are wrong on at
// most 0.5 % of the ticks on which they fire.
func TestAccuracy(t *testing.T) {
	const (
		tick   = 30 * time.Second
		ticks  = 12 * 2880
		perDay = 2880
	)
	outage := func(r *rand.Rand, chance float64, length int) func(k int) bool {
		left := 0
		return func(int) bool {
			if left--; left < 0 && r.Float64() < chance {
				left = length
			}
			return left >= 0
		}
	}
	share := func(r *rand.Rand, total int64, p float64) (bad int64) {
		mean := float64(total) * p
		bad = int64(mean)
		if r.Float64() < mean-math.Floor(mean) {
			bad++
		}
		return min(bad, total)
	}
	for name, kind := range map[string]func(r *rand.Rand) func(k int) (total, bad int64){
		"diurnal": func(r *rand.Rand) func(int) (int64, int64) {
			return func(k int) (int64, int64) {
				total := int64(1500 * (1.05 + math.Sin(2*math.Pi*float64(k)/perDay)))
				return total, share(r, total, 0.002)
			}
		},
		"random outages": func(r *rand.Rand) func(int) (int64, int64) {
			out := outage(r, 1.0/2000, 40)
			return func(k int) (int64, int64) {
				total := int64(200 + r.IntN(400))
				if out(k) {
					return total, share(r, total, 0.3)
				}
				return total, share(r, total, 0.0005)
			}
		},
		"errors on the edges of slots": func(r *rand.Rand) func(int) (int64, int64) {
			return func(k int) (int64, int64) {
				if k%256 == 0 || k%256 == 255 {
					return 1000, 1000
				}
				return 1000, 0
			}
		},
		"one request in ten minutes": func(r *rand.Rand) func(int) (int64, int64) {
			return func(k int) (int64, int64) {
				if r.IntN(20) > 0 {
					return 0, 0
				}
				return 1, share(r, 1, 0.004)
			}
		},
		"steps": func(r *rand.Rand) func(int) (int64, int64) {
			rate := 0.0
			return func(k int) (int64, int64) {
				if k%1440 == 0 {
					rate = []float64{0, 0.0008, 0.004, 0.02}[r.IntN(4)]
				}
				return 900, share(r, 900, rate)
			}
		},
		"hundredfold bursts": func(r *rand.Rand) func(int) (int64, int64) {
			burst, out := outage(r, 1.0/1500, 60), outage(r, 1.0/1200, 20)
			return func(k int) (int64, int64) {
				total, rate := int64(100), 0.0005
				if burst(k) {
					total *= 100
				}
				if out(k) {
					rate = 0.05
				}
				return total, share(r, total, rate)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 9))
			next := kind(r)
			o := objective(t, "99.9", slo.RollingPeriod(7*slo.Day))
			e := engine(t, tick, o)
			e.Watch(began)
			totals, bads := make([]int64, 1, ticks+1), make([]int64, 1, ticks+1)
			window := func(k int, length time.Duration) (total, bad int64) {
				from := max(k-int(length/tick), 0)
				return totals[k] - totals[from], bads[k] - bads[from]
			}
			exceeds := func(total, bad int64, f slo.Factor) bool { // bad/total > factor/1000
				num, den := f.Fraction()
				return float64(bad)*float64(den)*1000 > float64(total)*float64(num)
			}
			wrong, firing := 0, 0
			now := began
			for k := 1; k <= ticks; k++ {
				total, bad := next(k)
				totals, bads = append(totals, totals[k-1]+total), append(bads, bads[k-1]+bad)
				span := slo.Span{From: now, To: now.Add(tick)}
				now = span.To
				observe(t, e, slo.Sample{SLO: "it", Span: span, Covered: []slo.Span{span}, Groups: []slo.GroupSample{{
					Increments: []slo.Increment{{At: now, Total: float64(total), Bad: float64(bad)}},
				}}})
				st := &e.Evaluate(now)[0]
				for _, w := range st.Windows {
					slack := time.Duration(0)
					if w.Length > time.Hour {
						slack = w.Length / 125
					}
					loTotal, loBad := window(k, w.Length-slack)
					hiTotal, hiBad := window(k, w.Length+slack)
					if w.Total < float64(loTotal) || w.Total > float64(hiTotal) || w.Bad < float64(loBad) || w.Bad > float64(hiBad) {
						t.Fatalf("tick %d, %s: %v of %v is outside of %d of %d and %d of %d", k, w.Key, w.Bad, w.Total, loBad, loTotal, hiBad, hiTotal)
					}
				}
				for _, a := range st.Alerts {
					for _, p := range a.Pairs {
						longTotal, longBad := window(k, p.Long)
						shortTotal, shortBad := window(k, p.Short)
						want := exceeds(longTotal, longBad, p.Factor) && exceeds(shortTotal, shortBad, p.Factor)
						if want {
							firing++
						}
						if p.Firing == want {
							continue
						}
						if p.Long == time.Hour {
							t.Fatalf("tick %d: 1h/5m fires: %v, exactly: %v", k, p.Firing, want)
						}
						wrong++
					}
				}
			}
			t.Logf("%d pairs wrong of %d firing", wrong, firing)
			if float64(wrong) > 0.005*float64(firing) {
				t.Errorf("%d pairs are wrong, of %d that fire", wrong, firing)
			}
		})
	}
}
