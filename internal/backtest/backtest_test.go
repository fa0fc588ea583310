package backtest

import (
	"context"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// oracle finds the alerts of one pair by counting over and over, from the events themselves. Every
// window of it is exact, so it speaks of windows and periods of at most an hour.
type oracle struct {
	tick          time.Duration
	bad, total    []int64
	period        int // ticks
	rest          *big.Rat
	severity      string
	long, short   int // ticks
	factor        *big.Rat
	minBadInLong  int64
	objectiveName string
}

func (o *oracle) sum(from, to int) (bad, total int64) { // of the ticks from ≤ i < to
	for i := max(from, 0); i < to; i++ {
		bad, total = bad+o.bad[i], total+o.total[i]
	}
	return bad, total
}

func (o *oracle) above(from, to int) bool {
	bad, total := o.sum(from, to)
	limit := new(big.Rat).Mul(new(big.Rat).Mul(o.factor, o.rest), big.NewRat(total, 1))
	return total > 0 && big.NewRat(bad, 1).Cmp(limit) > 0
}

func (o *oracle) alerts() []Alert {
	var out []Alert
	firing := false
	for i := range o.bad {
		at := midnight.Add(time.Duration(i+1) * o.tick)
		badInLong, _ := o.sum(i+1-o.long, i+1)
		now := o.above(i+1-o.long, i+1) && o.above(i+1-o.short, i+1) && badInLong >= o.minBadInLong
		switch {
		case now && !firing:
			a := Alert{
				SLO: o.objectiveName, Severity: o.severity, Labels: map[string]string{}, Start: at,
				Long: time.Duration(o.long) * o.tick, Short: time.Duration(o.short) * o.tick,
			}
			for j := i; j >= 0 && o.above(j, j+1); j-- {
				a.Began = midnight.Add(time.Duration(j+1) * o.tick)
			}
			bad, total := o.sum(i+1-o.period, i+1)
			gone := new(big.Rat).Quo(big.NewRat(bad, 1), new(big.Rat).Mul(o.rest, big.NewRat(total, 1)))
			f, _ := gone.Float64()
			a.Spent = slo.Defined(f)
			out = append(out, a)
		case !now && firing:
			out[len(out)-1].End = at
		}
		firing = now
	}
	return out
}

// Every alert of random traffic is the one that counting from scratch finds: the same pair, the
// same beginning, start and end, and the same share of the budget gone.
func TestAlertsAgainstARecount(t *testing.T) {
	const tick = time.Minute
	rest := big.NewRat(1, 100)
	found, unbegun := 0, 0
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 4))
		var bad, total []int64
		for len(bad) < 12*60 { // stretches of one kind of traffic each, silence among them
			n, most, share := 1+rng.IntN(40), rng.Int64N(200), rng.Float64()*0.3
			if rng.IntN(3) > 0 {
				share = 0
			}
			for range n {
				events := int64(0)
				if most > 0 {
					events = rng.Int64N(most + 1)
				}
				failed := int64(0)
				for range events {
					if rng.Float64() < share {
						failed++
					}
				}
				bad, total = append(bad, failed), append(total, events)
			}
		}
		minBad := rng.Int64N(4)
		factors := []string{"5", "2.5", "1"}
		factor := func(text string) slo.Factor {
			f, err := slo.ParseFactor(text)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		o := slo.Objective{
			Name: "it", Target: percent(t, "99"), Period: slo.RollingPeriod(time.Hour),
			Policy: slo.Policy{Name: "own", MinBadEvents: float64(minBad), Severities: []slo.Severity{
				{Name: "page", Pairs: []slo.Pair{{Long: time.Hour, Short: 5 * time.Minute, Factor: factor(factors[0])}, {Long: 30 * time.Minute, Short: 5 * time.Minute, Factor: factor(factors[1])}}},
				{Name: "ticket", Pairs: []slo.Pair{{Long: time.Hour, Short: 30 * time.Minute, Factor: factor(factors[2])}}},
			}},
		}
		var want []Alert
		for _, severity := range o.Policy.Severities {
			for _, p := range severity.Pairs {
				f, _ := new(big.Rat).SetString(p.Factor.String())
				one := oracle{
					tick: tick, bad: bad, total: total, period: 60, rest: rest, severity: severity.Name, factor: f,
					long: int(p.Long / tick), short: int(p.Short / tick), minBadInLong: minBad, objectiveName: "it",
				}
				want = append(want, one.alerts()...)
			}
		}
		result := run(t, Options{
			Objectives: []slo.Objective{o}, Tick: tick, Span: upTo(tick, len(bad)),
			Source: &traffic{tick: tick, names: []string{"it"}, of: func(i int) (float64, float64) { return float64(bad[i]), float64(total[i]) }},
		})
		if len(result.Alerts) != len(want) {
			t.Fatalf("seed %d: %d alerts, the recount finds %d", seed, len(result.Alerts), len(want))
		}
		for _, a := range result.Alerts {
			i := slices.IndexFunc(want, func(w Alert) bool {
				return w.Severity == a.Severity && w.Long == a.Long && w.Short == a.Short && w.Start.Equal(a.Start)
			})
			if i < 0 {
				t.Fatalf("seed %d: the recount knows nothing of %+v", seed, a)
			}
			w := want[i]
			if !w.Began.Equal(a.Began) || !w.End.Equal(a.End) || math.Abs(w.Spent.Float-a.Spent.Float) > 1e-9*w.Spent.Float || !a.Spent.Defined {
				t.Errorf("seed %d:\ngot  %+v\nwant %+v", seed, a, w)
			}
			found++
			if a.Began.IsZero() {
				unbegun++
				if a.Detection().Defined {
					t.Errorf("seed %d: %+v was detected after nothing", seed, a)
				}
			}
		}
	}
	if found < 200 || unbegun == 0 {
		t.Errorf("%d alerts, %d of them without a bad tick of their own: too few to prove anything", found, unbegun)
	}
}

// A tick that burns at the factor itself is not above it, whatever binary fractions make of it.
func TestAboveIsExact(t *testing.T) {
	log := newAlertLog(time.Minute)
	for _, objective := range []string{"99.9", "99.95", "99.5", "99.99", "97.3", "90"} {
		o := promise(t, "it", objective, 28*slo.Day)
		status := &slo.Status{Objective: &o}
		for _, s := range o.Policy.Severities {
			a := slo.Alert{Severity: s.Name}
			for _, p := range s.Pairs {
				a.Pairs = append(a.Pairs, slo.PairStatus{Pair: p})
			}
			status.Alerts = append(status.Alerts, a)
		}
		for _, p := range log.row(status).pairs {
			// The denominator's multiples have a whole number of bad events at the very threshold.
			for k := range int64(50) {
				total := new(big.Int).Mul(p.threshold.Denom(), big.NewInt(k+1))
				bad := new(big.Int).Mul(p.threshold.Num(), big.NewInt(k+1))
				n, _ := new(big.Float).SetInt(total).Float64()
				b, _ := new(big.Float).SetInt(bad).Float64()
				if p.exceeds(b, n) {
					t.Errorf("%s %%: %v bad of %v are above %v", objective, b, n, p.threshold)
				}
				if !p.exceeds(b+1, n) {
					t.Errorf("%s %%: %v bad of %v are not above %v", objective, b+1, n, p.threshold)
				}
			}
		}
	}
}

// The budget of slices learns of a slice when it ends: the ticks between have no events of their
// own, and yet the trouble began with the first bad slice.
func TestSlicesBeginWithTheFirstBadOne(t *testing.T) {
	const tick = 15 * time.Second
	o := promise(t, "it", "99", 7*slo.Day)
	o.Budgeting = slo.Budgeting{Method: slo.Timeslices, Slice: time.Minute, Target: percent(t, "95")}
	result := run(t, Options{
		Objectives: []slo.Objective{o}, Tick: tick, Span: upTo(tick, 4*130),
		Source: &traffic{tick: tick, names: []string{"it"}, of: func(i int) (float64, float64) {
			if i < 4*60 {
				return 0, 10
			}
			return 10, 10
		}},
	})
	// 13.44 × 1 % of the hour's 60 slices are 8.06: the ninth bad slice fires, eight minutes after the first.
	i := slices.IndexFunc(result.Alerts, func(a Alert) bool { return a.Severity == "page" && a.Long == time.Hour })
	if i < 0 {
		t.Fatalf("no page: %+v", result.Alerts)
	}
	a := result.Alerts[i]
	if want := midnight.Add(69 * time.Minute); !a.Start.Equal(want) {
		t.Errorf("fires at %v, want %v", a.Start, want)
	}
	if want := midnight.Add(61 * time.Minute); !a.Began.Equal(want) {
		t.Errorf("began at %v, want %v", a.Began, want)
	}
}

// Objectives that count the same events are answered once, and each alerts as it would alone.
func TestSharedAnswers(t *testing.T) {
	const tick = time.Minute
	of := func(i int) (float64, float64) {
		if i%600 >= 560 {
			return 5, 100
		}
		return 0, 100
	}
	objectives := []slo.Objective{promise(t, "own", "99.9", 7*slo.Day), promise(t, "strict", "99.95", 7*slo.Day), promise(t, "lax", "99", 7*slo.Day)}
	for i := range objectives {
		objectives[i].GroupBy, objectives[i].GroupLimit = []string{"route"}, 10
	}
	source := &traffic{tick: tick, names: []string{"own"}, of: of, groups: []string{"/buy", "/pay"}, asked: map[string]int{}}
	result := run(t, Options{
		Objectives: objectives, Tick: tick, Span: upTo(tick, 2000), Source: source,
		As: map[string]string{"strict": "own", "lax": "own"},
	})
	if len(source.asked) != 1 || source.asked["own"] != 2000 {
		t.Errorf("asked %v, want own alone, once a tick", source.asked)
	}
	var apart []Alert
	for _, o := range objectives {
		one := run(t, Options{
			Objectives: []slo.Objective{o}, Tick: tick, Span: upTo(tick, 2000),
			Source: &traffic{tick: tick, names: []string{o.Name}, of: of, groups: []string{"/buy", "/pay"}},
		})
		if len(one.Alerts) == 0 && o.Name != "lax" {
			t.Errorf("%s alone never alerts", o.Name)
		}
		apart = append(apart, one.Alerts...)
	}
	together := slices.Clone(result.Alerts)
	order := func(a, b Alert) int {
		return strings.Compare(a.SLO+a.Labels["route"]+a.Severity+a.Long.String()+a.Start.String(), b.SLO+b.Labels["route"]+b.Severity+b.Long.String()+b.Start.String())
	}
	slices.SortFunc(together, order)
	slices.SortFunc(apart, order)
	if !reflect.DeepEqual(together, apart) {
		t.Errorf("together %d alerts, apart %d:\n%+v\n%+v", len(together), len(apart), together, apart)
	}
}

// Moments before, within, between and after the data, in the order asked for.
func TestMoments(t *testing.T) {
	const tick = time.Minute
	said := 0
	at := []time.Time{midnight.Add(26 * time.Hour), midnight.Add(-time.Hour), midnight.Add(30*time.Minute + 59*time.Second), midnight.Add(30 * time.Minute)}
	result := run(t, Options{
		Objectives: []slo.Objective{promise(t, "it", "99", 7*slo.Day)}, Tick: tick, Span: upTo(tick, 60), At: at,
		Source:   &traffic{tick: tick, names: []string{"it"}, of: func(int) (float64, float64) { return 1, 1000 }},
		Progress: func(done, all int) { said = max(said, done*1000+all) },
	})
	period := func(i int) slo.Window {
		w := result.Reports[i].SLOs[0].Windows
		return w[len(w)-1]
	}
	f := func(name string, i int, time time.Time, total float64) {
		t.Helper()
		if r := result.Reports[i]; !r.Time.Equal(time) || period(i).Total != total {
			t.Errorf("%s: %v with %v events, want %v with %v", name, r.Time, period(i).Total, time, total)
		}
	}
	f("after the data the period still holds it", 0, at[0], 60_000)
	f("before the data there is nothing", 1, at[1], 0)
	f("between two ticks it is the one before", 2, at[3], 30_000)
	f("on a tick", 3, at[3], 30_000)
	if said != 60*1000+60 {
		t.Errorf("progress ended at %d", said)
	}
	if !result.Last.Time.Equal(midnight.Add(time.Hour)) {
		t.Errorf("the data ends at %v", result.Last.Time)
	}
	nothing := run(t, Options{Objectives: []slo.Objective{promise(t, "it", "99", 7*slo.Day)}, Tick: tick, At: at[:1], Source: &traffic{tick: tick}})
	if nothing.Last != nil || len(nothing.Alerts) != 0 || nothing.Reports[0].SLOs[0].Windows[0].Coverage != 0 || Compare(nothing) != nil {
		t.Errorf("a recording of nothing says %+v", nothing)
	}
}

func TestFailures(t *testing.T) {
	const tick = time.Minute
	o := Options{Objectives: []slo.Objective{promise(t, "it", "99", 7*slo.Day)}, Tick: tick, Span: upTo(tick, 10), At: []time.Time{midnight.Add(10 * tick)}}
	o.Source = &traffic{tick: tick, names: []string{"it"}, broken: true}
	if r := run(t, o); r.Reports[0].SLOs[0].Windows[0].Coverage != 0 || len(r.Alerts) != 0 {
		t.Errorf("a source that fails says %+v", r)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
	o.Tick = 7 * time.Second // divides no five minutes
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("a tick that cannot be is taken")
	}
}
