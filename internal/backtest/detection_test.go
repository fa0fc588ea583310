package backtest

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// firstAfter is the first tick strictly after (1 − objective)/e × long × factor, where the factor is
// share × period / long, as MATHS.md says; false where that is the long window or more: never. The
// formula is worked out in whole fractions here, apart from the code under test. seen is the part
// of the long window that is looked at: 1, or what the edge of a window above 1 h may make of it.
func firstAfter(rest, e, share, seen *big.Rat, period, long, tick time.Duration) (time.Duration, bool) {
	factor := new(big.Rat).Mul(share, big.NewRat(int64(period), int64(long)))
	at := new(big.Rat).Quo(rest, e)
	at.Mul(at, big.NewRat(int64(long), 1)).Mul(at, factor).Mul(at, seen)
	if at.Cmp(big.NewRat(int64(long), 1)) >= 0 {
		return 0, false
	}
	ticks := at.Quo(at, big.NewRat(int64(tick), 1))
	whole := new(big.Int).Quo(ticks.Num(), ticks.Denom())
	return time.Duration(whole.Int64()+1) * tick, true
}

// A steady error after a long time of good traffic is detected at the tick that the mathematics
// names, by every pair of the workbook policy, and never where it names none. A window above 1 h
// counts between w·(1 − 0.8 %) and w·(1 + 0.8 %): its pair fires between the ticks of these.
func TestDetectionTimes(t *testing.T) {
	const tick = 30 * time.Second
	const good = 3*24*120 + 720 // ticks without an error before it: longer than the longest window
	rest := big.NewRat(1, 1000)
	windows := []struct {
		long, short   time.Duration
		severity      string
		share, weekly *big.Rat
	}{
		{time.Hour, 5 * time.Minute, "page", big.NewRat(2, 100), big.NewRat(8, 100)},
		{6 * time.Hour, 30 * time.Minute, "page", big.NewRat(5, 100), big.NewRat(125, 1000)},
		{24 * time.Hour, 2 * time.Hour, "ticket", big.NewRat(10, 100), big.NewRat(20, 100)},
		{72 * time.Hour, 6 * time.Hour, "ticket", big.NewRat(10, 100), big.NewRat(42, 100)},
	}
	type pair struct {
		severity    string
		long, short time.Duration
	}
	// What MATHS.md itself says of 99.9 % over 30 days, lest formula and test err together.
	written := map[string]time.Duration{
		"100 % 1h": 60 * time.Second, "10 % 1h": 540 * time.Second, "1 % 1h": -1, "1 % 6h": 12990 * time.Second,
	}
	for _, days := range []int{7, 28, 30, 90} {
		for _, load := range []struct {
			text string
			bad  int64 // of 1000
		}{{"100 %", 1000}, {"10 %", 100}, {"1 %", 10}, {"0.2 %", 2}} {
			t.Run(fmt.Sprintf("%d days/%s", days, load.text), func(t *testing.T) {
				period := time.Duration(days) * 24 * time.Hour
				type ticks struct{ first, exactly, last time.Duration }
				want, last := map[pair]ticks{}, time.Duration(0)
				never := time.Duration(0) // a window that is full of errors and still silent stays so
				for _, w := range windows {
					share := w.share
					if days <= 10 {
						share = w.weekly
					}
					e := big.NewRat(load.bad, 1000)
					after, ever := firstAfter(rest, e, share, big.NewRat(1, 1), period, w.long, tick)
					if ever {
						between := ticks{after, after, after}
						if w.long > time.Hour {
							between.first, _ = firstAfter(rest, e, share, big.NewRat(992, 1000), period, w.long, tick)
							between.last, _ = firstAfter(rest, e, share, big.NewRat(1008, 1000), period, w.long, tick)
						}
						want[pair{w.severity, w.long, w.short}] = between
						last = max(last, between.last)
					} else {
						never = max(never, w.long)
					}
					if says, ok := written[load.text+" "+slo.FormatDuration(w.long)]; ok && days == 30 && (says > 0) != ever || ok && ever && days == 30 && says != after {
						t.Errorf("the formula says %v (%v), MATHS.md %v", after, ever, says)
					}
				}
				bad := int(max(last, never)/tick) + 10
				result := run(t, Options{
					Objectives: []slo.Objective{promise(t, "it", "99.9", period)}, Tick: tick, Span: upTo(tick, good+bad),
					Source: &traffic{tick: tick, names: []string{"it"}, of: func(i int) (float64, float64) {
						if i < good {
							return 0, 1000
						}
						return float64(load.bad), 1000
					}},
				})
				onset := midnight.Add(good * tick)
				for _, a := range result.Alerts {
					key := pair{a.Severity, a.Long, a.Short}
					after, ok := want[key]
					delete(want, key)
					got := a.Start.Sub(onset)
					if !ok || got < after.first || got > after.last {
						t.Errorf("%s %s/%s fires %v after the onset, want %v (%v)", a.Severity, slo.FormatDuration(a.Long), slo.FormatDuration(a.Short), got, after, ok)
					}
					if says, ok := written[load.text+" "+slo.FormatDuration(a.Long)]; ok && days == 30 && got != says {
						t.Errorf("%s fires %v after the onset, MATHS.md says %v", slo.FormatDuration(a.Long), got, says)
					}
					// The trouble began with the first bad tick, which ends a tick after the onset.
					if d := a.Detection(); !d.Defined || d.Float != (got-tick).Seconds() {
						t.Errorf("detected after %v, want %v", d, got-tick)
					}
				}
				for key, after := range want {
					t.Errorf("%v never fires, want it after %v", key, after.exactly)
				}
			})
		}
	}
}
