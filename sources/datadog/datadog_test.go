package datadog

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// dawn is a whole hour on the fake's clock.
var dawn = time.Date(2026, time.January, 2, 0, 0, 0, 0, time.UTC)

func span(from, to time.Duration) slo.Span { return slo.Span{From: dawn.Add(from), To: dawn.Add(to)} }

// counts asks for one objective.
func counts(name, total, bad string, groupBy ...string) sources.Question {
	return sources.Question{SLO: name, Period: 30 * slo.Day, GroupBy: groupBy, Indicator: sources.Indicator{Kind: sources.Datadog, Total: total, Bad: bad}}
}

var checkout = counts("checkout", "sum:http.hits{service:checkout}", "sum:http.hits{service:checkout,code:500}")

// settings are a configuration with the keys that the fake accepts.
func settings(t *testing.T) Config {
	t.Helper()
	c := DefaultConfig()
	c.URL = "http://datadog.fake"
	folder := t.TempDir()
	c.APIKeyFile, c.AppKeyFile = filepath.Join(folder, "api"), filepath.Join(folder, "app")
	for file, key := range map[string]string{c.APIKeyFile: fake.APIKey, c.AppKeyFile: fake.AppKey} {
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func newSource(t *testing.T, f *fake.Datadog, c Config, tick time.Duration, questions ...sources.Question) *Source {
	t.Helper()
	s, err := New(Options{Name: "dd", Config: c, Tick: tick, Questions: questions, Transport: f.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func collect(t *testing.T, s *Source, span slo.Span, only ...string) []slo.Sample {
	t.Helper()
	samples, err := s.Collect(t.Context(), span, only...)
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

// sums adds an answer up.
func sums(s slo.Sample) (total, bad float64) {
	for _, g := range s.Groups {
		for _, inc := range g.Increments {
			total, bad = total+inc.Total, bad+inc.Bad
		}
	}
	return total, bad
}

// traffic is the hits of one minute: those without an error, and the others.
func traffic(f *fake.Datadog, minute time.Time, good, bad float64, tags ...string) {
	at := minute.Add(10 * time.Second)
	for code, n := range map[string]float64{"200": good, "500": bad} {
		if n >= 0 {
			f.Seed(fake.Metric{Name: "http.hits", Type: fake.Count, Interval: 10, Tags: append([]string{"service:checkout", "code:" + code}, tags...)}, fake.Point{At: at, Value: n})
		}
	}
}

func TestOneRequestForAll(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
	for i := range 10 {
		traffic(f, dawn.Add(time.Duration(i)*time.Minute), 99, 1)
	}
	s := newSource(t, f, settings(t), time.Minute, checkout,
		counts("errors", "sum:http.hits{*}", "sum:http.hits{code:500}"), counts("again", checkout.Indicator.Total, checkout.Indicator.Bad))
	samples := collect(t, s, span(0, 10*time.Minute))
	for _, got := range samples {
		total, bad := sums(got)
		if got.Err != nil || total != 1000 || bad != 10 || !got.Newest.Equal(dawn.Add(10*time.Minute)) {
			t.Errorf("%s: %g of %g bad, newest %s, %v; want 10 of 1000", got.SLO, bad, total, got.Newest, got.Err)
		}
		if at := got.Groups[0].Increments[0].At; !at.Equal(dawn.Add(time.Minute)) {
			t.Errorf("%s: the first minute is booked at %s, want its end", got.SLO, at)
		}
	}
	if asked := f.Journal(); len(asked) != 1 || strings.Count(asked[0].Query["query"][0], "rollup(sum, 60)") != 4 {
		t.Errorf("asked %v, want one request with four queries", asked)
	}
}

// A good count stands for the bad one, terms are added up and taken away, and a distribution is
// counted below a threshold.
func TestIndicators(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
	for i := range 5 {
		traffic(f, dawn.Add(time.Duration(i)*time.Minute), 90, 10)
		f.Seed(fake.Metric{Name: "http.seconds", Type: fake.Distribution, Tags: []string{"service:checkout"}},
			fake.Point{At: dawn.Add(time.Duration(i) * time.Minute), Values: []float64{0.1, 0.2, 0.3, 0.4}})
	}
	good := counts("good", "sum:http.hits{*}", "")
	good.Indicator.Good = "sum:http.hits{!code:500}"
	latency := counts("latency", "count:http.seconds{*}", "")
	latency.Indicator.Good = "count(v: v<=0.3):http.seconds{service:checkout}"
	s := newSource(t, f, settings(t), time.Minute, good, latency,
		counts("less", "sum:http.hits{*} - sum:http.hits{code:500}", "sum:nothing{*}"),
		counts("twice", "sum:http.hits{code:200} + sum:http.hits{code:500} + sum:nothing{*}", "sum:http.hits{code:500}"))
	for i, want := range [][2]float64{{500, 50}, {20, 5}, {450, 0}, {500, 50}} {
		got := collect(t, s, span(0, 5*time.Minute))[i]
		if total, bad := sums(got); got.Err != nil || total != want[0] || bad != want[1] {
			t.Errorf("%s: %g of %g bad, %v; want %g of %g", got.SLO, bad, total, got.Err, want[1], want[0])
		}
	}
}

// A minute that is not over is not counted, and one that began before the span's first minute
// neither, whatever the tick.
func TestPartialBuckets(t *testing.T) {
	for _, tick := range []time.Duration{10 * time.Second, 25 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute} {
		f := fake.New(fake.Options{Now: dawn.Add(48*time.Minute + 50*time.Second)})
		for i := range 49 * 6 {
			at := dawn.Add(time.Duration(i) * 10 * time.Second)
			f.Seed(fake.Metric{Name: "http.hits", Type: fake.Count, Interval: 10, Tags: []string{"service:checkout"}}, fake.Point{At: at, Value: 1})
		}
		s := newSource(t, f, settings(t), tick, checkout)
		to := f.Now().Truncate(tick)
		got := collect(t, s, slo.Span{From: dawn, To: to})[0]
		total, _ := sums(got)
		if want := float64(to.Sub(dawn)/time.Minute) * 6; total != want {
			t.Errorf("tick %s: %g events up to %s, want %g: those of whole minutes", tick, total, to, want)
		}
		if !got.Newest.Equal(to.Truncate(time.Minute)) {
			t.Errorf("tick %s: the newest answered moment is %s, want the end of the last whole minute", tick, got.Newest)
		}
		for _, inc := range got.Groups[0].Increments {
			if inc.Total != 6 || !inc.At.Truncate(time.Minute).Equal(inc.At) {
				t.Errorf("tick %s: %+v, want 6 at a minute's end", tick, inc)
			}
		}
		if got.Covered[0].From != dawn.Add(ceil(time.Minute, tick)-tick) || !got.Covered[0].To.Equal(to) {
			t.Errorf("tick %s: covered %v", tick, got.Covered)
		}
	}
}

func ceil(d, step time.Duration) time.Duration { return (d + step - 1) / step * step }

// Nothing, null and zero are three things.
func TestEmptyNullZero(t *testing.T) {
	minute := func(n int) time.Time { return dawn.Add(time.Duration(n) * time.Minute) }
	for _, c := range []struct {
		name    string
		seed    func(f *fake.Datadog)
		covered string // minutes of twenty: # covered
		total   float64
		bad     float64
	}{
		{"no such metric", func(*fake.Datadog) {}, "....................", 0, 0},
		{"zeros", func(f *fake.Datadog) {
			for i := range 20 {
				traffic(f, minute(i), 0, 0)
			}
		}, "####################", 0, 0},
		{"a minute of traffic vouches for five", func(f *fake.Datadog) { traffic(f, minute(4), 9, 1) }, "....#####...........", 10, 1},
		{"no bad series at all", func(f *fake.Datadog) { traffic(f, minute(0), 9, -1) }, "#####...............", 9, 0},
		{"bad without a total", func(f *fake.Datadog) {
			traffic(f, minute(0), 9, 1)
			f.Seed(fake.Metric{Name: "http.lost", Type: fake.Count, Interval: 10}, fake.Point{At: minute(2), Value: 3})
		}, "##.##...............", 10, 1},
		{"zero bad without a total", func(f *fake.Datadog) {
			traffic(f, minute(0), 9, 1)
			f.Seed(fake.Metric{Name: "http.lost", Type: fake.Count, Interval: 10}, fake.Point{At: minute(2), Value: 0})
		}, "#####...............", 10, 1},
		{"from before the span", func(f *fake.Datadog) { traffic(f, minute(-3), 9, 1) }, "##..................", 0, 0},
	} {
		for _, nulls := range []bool{false, true} {
			f := fake.New(fake.Options{Now: dawn.Add(time.Hour), Variant: fake.Variant{Nulls: nulls}})
			c.seed(f)
			// Somebody else's metric in the same request: with shared times the gaps are nulls.
			for i := -5; i < 20; i++ {
				f.Seed(fake.Metric{Name: "other", Type: fake.Count, Interval: 10}, fake.Point{At: minute(i), Value: 1})
			}
			s := newSource(t, f, settings(t), time.Minute,
				counts("it", "sum:http.hits{*}", "sum:http.hits{code:500} + sum:http.lost{*}"), counts("other", "sum:other{*}", "sum:none{*}"))
			s.youngest = dawn.Add(time.Hour) // the past: an answer for just what is asked
			got := collect(t, s, span(0, 20*time.Minute))[0]
			covered := strings.Repeat(".", 20)
			for _, part := range got.Covered {
				for at := part.From; at.Before(part.To); at = at.Add(time.Minute) {
					i := int(at.Sub(dawn) / time.Minute)
					covered = covered[:i] + "#" + covered[i+1:]
				}
			}
			if total, bad := sums(got); covered != c.covered || total != c.total || bad != c.bad || got.Err != nil {
				t.Errorf("%s (nulls %v): covered %s, %g of %g bad, %v\nwant             %s, %g of %g", c.name, nulls, covered, bad, total, got.Err, c.covered, c.bad, c.total)
			}
		}
	}
}

// Two queries that do not mean the same requests are said, not just never covered.
func TestPartWithoutTotal(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
	f.Seed(fake.Metric{Name: "errors", Type: fake.Count, Interval: 10}, fake.Point{At: dawn, Value: 3})
	got := collect(t, newSource(t, f, settings(t), time.Minute, counts("it", "sum:hits{*}", "sum:errors{*}")), span(0, time.Minute))[0]
	if want := "there are bad events without a total in the same minute: do both queries count the same requests, with the same tags?"; got.Note != want || len(got.Groups) != 0 {
		t.Errorf("note %q, groups %v; want %q", got.Note, got.Groups, want)
	}
}

// What is wrong with an SLO is said as long as it is so: neither a tick that learns nothing new nor
// a piece of the past makes it well.
func TestNoteStays(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
	f.Seed(fake.Metric{Name: "errors", Type: fake.Count, Interval: 10}, fake.Point{At: dawn.Add(-time.Minute), Value: 3})
	s := newSource(t, f, settings(t), 30*time.Second, counts("it", "sum:hits{*}", "sum:errors{*}"))
	for _, at := range []slo.Span{span(-time.Minute, 0), span(0, 30*time.Second), span(-5*time.Hour, -4*time.Hour)} {
		if got := collect(t, s, at)[0]; got.Note == "" {
			t.Errorf("%s: nothing is wrong any more", at)
		}
	}
	f.Seed(fake.Metric{Name: "hits", Type: fake.Count, Interval: 10}, fake.Point{At: dawn.Add(-time.Minute), Value: 9})
	for _, at := range []slo.Span{span(30*time.Second, time.Minute), span(-5*time.Hour, -4*time.Hour)} {
		if got := collect(t, s, at)[0]; got.Note != "" {
			t.Errorf("%s: %s", at, got.Note)
		}
	}
}

func TestGroups(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
	traffic(f, dawn, 90, 10, "route:/Pay")
	traffic(f, dawn, 50, -1, "route:/cart")
	traffic(f, dawn, 7, 0)
	s := newSource(t, f, settings(t), time.Minute, counts("it", "sum:http.hits{*}", "sum:http.hits{code:500}", "Route"))
	got := collect(t, s, span(0, time.Minute))[0]
	found := map[string]slo.Increment{}
	for _, g := range got.Groups {
		found[strings.Join(g.Labels, ",")] = g.Increments[0]
	}
	for route, want := range map[string][2]float64{"/pay": {100, 10}, "/cart": {50, 0}, "": {7, 0}} {
		if g := found[route]; g.Total != want[0] || g.Bad != want[1] {
			t.Errorf("route %q: %g of %g bad, want %g of %g", route, g.Bad, g.Total, want[1], want[0])
		}
	}
	if len(found) != 3 || got.Series != 3 {
		t.Errorf("groups %v", found)
	}
	c := settings(t)
	c.Limits.MaxSeries = 2
	got = collect(t, newSource(t, f, c, time.Minute, counts("it", "sum:http.hits{*}", "sum:http.hits{code:500}", "route")), span(0, time.Minute))[0]
	if want := "the total has 3 groups, more than limits.max_series 2: choose fewer tags for group_by, or raise it"; got.Note != want || got.Groups != nil || got.Covered != nil {
		t.Errorf("note %q, %v; want %q", got.Note, got, want)
	}
}

// Points that come late, by up to what the intake takes, count once and all of them, also when the
// process dies meanwhile: after an hour without traffic the engine knows what was sent, bit by bit.
func TestLatePoints(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 7))
		tick := []time.Duration{30 * time.Second, time.Minute}[seed%2]
		f := fake.New(fake.Options{Now: dawn})
		engine, err := slo.NewEngine(tick)
		if err != nil {
			t.Fatal(err)
		}
		target, err := slo.ParsePercent("99")
		if err != nil {
			t.Fatal(err)
		}
		engine.Set([]slo.Objective{{Name: "checkout", Target: target, Period: slo.RollingPeriod(slo.Day), Fractional: true}})
		c := settings(t)
		s := newSource(t, f, c, tick, checkout)
		const delay = 2 * time.Minute
		var total, bad float64
		last := engine.At(dawn, delay)
		for now := dawn.Add(tick); now.Before(dawn.Add(4 * time.Hour)); now = now.Add(tick) {
			f.SetTime(now)
			if now.Before(dawn.Add(150*time.Minute)) && now.Truncate(time.Minute).Equal(now) {
				for _, code := range []string{"200", "500"} {
					n := float64(random.IntN(100))
					if code == "500" {
						n = float64(random.IntN(5))
						bad += n
					}
					total += n
					visible := now
					if random.IntN(3) == 0 {
						visible = now.Add(time.Duration(random.Int64N(int64(time.Hour))))
					}
					f.Seed(fake.Metric{Name: "http.hits", Type: fake.Count, Interval: 10, Tags: []string{"service:checkout", "code:" + code, fmt.Sprint("pod:", random.IntN(4))}},
						fake.Point{At: now.Add(-time.Second), Value: n, Visible: visible})
				}
			}
			switch random.IntN(20) {
			case 0:
				s = newSource(t, f, c, tick, checkout) // killed, and begun anew
			case 1:
				f.Fault(fake.Fault{Path: "query", Times: 1, Do: fake.Status(503)})
			}
			to := engine.At(now, delay)
			samples, err := s.Collect(t.Context(), slo.Span{From: last, To: to})
			if err != nil || samples[0].Err != nil {
				continue // the span grows
			}
			if err := engine.Observe(samples...); err != nil {
				t.Fatal(err)
			}
			last = to
		}
		gotTotal, gotBad := engine.Count("checkout", nil, slo.Span{From: dawn.Add(-time.Hour), To: last})
		if gotTotal != total || gotBad != bad || total == 0 || bad == 0 {
			t.Errorf("seed %d: %g of %g bad, want %g of %g", seed, gotBad, gotTotal, bad, total)
		}
	}
}

// An answer for the present is for what was asked, and for more only when points came late: what is
// known and stays need not be put again. Two objectives that share a question both hear of it.
func TestAnswersReachBackWhenTheyMust(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn})
	s := newSource(t, f, settings(t), time.Minute, checkout, counts("again", checkout.Indicator.Total, checkout.Indicator.Bad))
	for i := range 60 {
		traffic(f, dawn.Add(time.Duration(i)*time.Minute), 9, 1)
	}
	ask := func(minute int, total float64, back time.Duration, only ...string) {
		t.Helper()
		f.SetTime(dawn.Add(time.Duration(minute) * time.Minute))
		to := time.Duration(minute) * time.Minute
		for _, got := range collect(t, s, span(to-time.Minute, to), only...) {
			if sum, _ := sums(got); sum != total || got.Span != span(to-time.Minute-back, to) {
				t.Errorf("minute %d: %s: %g events in %s, want %g, %s further back", minute, got.SLO, sum, got.Span, total, back)
			}
		}
	}
	ask(10, 100, late) // nobody knows what was answered before
	ask(11, 10, 0)
	ask(12, 10, 0)
	traffic(f, dawn.Add(5*time.Minute), 19, 1) // ten more than a moment ago
	ask(13, 140, late)
	ask(14, 10, 0)
	traffic(f, dawn.Add(5*time.Minute), 9, 1)
	ask(15, 150, late, "again")
	ask(16, 160, late) // of what came late only one has heard
	ask(17, 10, 0)
	ask(19, 190, late) // a minute is missing
	ask(19, 190, late) // whoever asks again did not hear the answer
}

// An answer in other buckets than were asked for counts nothing.
func TestIntervalOverride(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
	traffic(f, dawn, 9, 1)
	s := newSource(t, f, settings(t), time.Minute, checkout)
	f.Fault(fake.Fault{Path: "query", Times: 1, Do: fake.Interval(300)})
	got := collect(t, s, span(0, 5*time.Minute))[0]
	want := "source dd: slo checkout: query: the answer is in buckets of 300 s, 60 s were asked for"
	if got.Err == nil || got.Err.Error() != want || got.Groups != nil || got.Covered != nil {
		t.Errorf("got %+v, want the error %s", got, want)
	}
	if total, _ := sums(collect(t, s, span(0, 5*time.Minute))[0]); total != 10 {
		t.Errorf("%g events when it is asked again, want 10", total)
	}
}

// One bad query costs its own SLO and nobody else's; it is found once, not with every tick.
func TestBadQuery(t *testing.T) {
	for _, status := range []int{http.StatusUnprocessableEntity, http.StatusBadRequest, http.StatusOK} {
		f := fake.New(fake.Options{Now: dawn.Add(time.Hour), Variant: fake.Variant{QueryError: status}})
		traffic(f, dawn, 9, 1)
		traffic(f, dawn.Add(time.Minute), 9, 1)
		questions := make([]sources.Question, 30)
		for i := range questions {
			questions[i] = counts(fmt.Sprint("slo-", i), "sum:http.hits{*}", fmt.Sprintf("sum:http.hits{code:500,!shard:%d}", i))
		}
		questions[17].Indicator.Bad = "sum:http.hits{code IN (500}" // braces are balanced here only
		questions[17].Indicator.Bad = "sum:http.hits{code:500 AND}"
		s := newSource(t, f, settings(t), time.Minute, questions...)
		for round := range 2 {
			f.ClearJournal()
			for i, got := range collect(t, s, span(time.Duration(round)*time.Minute, time.Duration(round+1)*time.Minute)) {
				if i == 17 {
					if got.Err == nil || !strings.HasPrefix(got.Err.Error(), "source dd: slo slo-17: query: ") {
						t.Errorf("%d: the bad query says %v", status, got.Err)
					}
				} else if total, bad := sums(got); got.Err != nil || total != 10 || bad != 1 {
					t.Errorf("%d: %s: %g of %g bad, %v", status, got.SLO, bad, total, got.Err)
				}
			}
			if n := len(f.Journal()); round == 0 && n > 13 || round == 1 && n != 1 {
				t.Errorf("%d: %d requests in round %d", status, n, round)
			}
		}
	}
}

// The total and the bad events of an SLO are in one request however many SLOs there are, and every
// request is of a size that proxies take.
func TestBatches(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
	var questions []sources.Question
	for i := range 60 {
		long := strings.Repeat("x", i*3)
		questions = append(questions, counts(fmt.Sprint("slo-", i),
			fmt.Sprintf("sum:a.%d{tag:%s}", i, long+"t"), fmt.Sprintf("sum:b.%d{tag:%s}", i, long+"b"), "route", "region"))
	}
	collect(t, newSource(t, f, settings(t), time.Minute, questions...), span(0, time.Minute))
	asked := map[int]int{}
	for n, r := range f.Journal() {
		query := r.Query["query"][0]
		if queries := strings.Count(query, "rollup"); queries > maxQueries || queries%2 != 0 {
			t.Errorf("request %d asks %d queries", n, queries)
		}
		for i := range questions {
			total, bad := strings.Contains(query, fmt.Sprintf("a.%d{", i)), strings.Contains(query, fmt.Sprintf("b.%d{", i))
			if total != bad {
				t.Errorf("request %d asks half of slo-%d", n, i)
			}
			if total {
				asked[i]++
			}
		}
	}
	for i := range questions {
		if asked[i] != 1 {
			t.Errorf("slo-%d is asked %d times", i, asked[i])
		}
	}
}

// A tick that is shorter than a bucket asks once a bucket, and is covered all the same.
func TestShortTicks(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn})
	s := newSource(t, f, settings(t), 10*time.Second, checkout)
	for i := range 10 {
		traffic(f, dawn.Add(time.Duration(i)*time.Minute), 9, 1)
	}
	for at := 10 * time.Second; at <= 5*time.Minute; at += 10 * time.Second {
		f.SetTime(dawn.Add(at))
		got := collect(t, s, span(at-10*time.Second, at))[0]
		if got.Err != nil || at >= time.Minute && (len(got.Covered) == 0 || !got.Covered[len(got.Covered)-1].To.Equal(got.Span.To)) {
			t.Errorf("at %s: covered %v, %v", at, got.Covered, got.Err)
		}
	}
	if n := len(f.Journal()); n != 6 {
		t.Errorf("%d requests in five minutes, want one before the first minute is over and one for each", n)
	}
}

// A month of history is asked for in pieces whose buckets Datadog does not make coarser.
func TestBackfill(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn})
	const days = 3
	for i := range days * 24 * 60 {
		traffic(f, dawn.Add(-time.Duration(i+1)*time.Minute), 9, 1)
	}
	got := collect(t, newSource(t, f, settings(t), 30*time.Second, checkout), span(-days*slo.Day, 0))[0]
	if total, bad := sums(got); got.Err != nil || total != days*24*60*10 || bad != days*24*60 || len(got.Covered) != 1 || got.Covered[0] != span(-days*slo.Day+30*time.Second, 0) {
		t.Errorf("%g of %g bad, covered %v, %v", bad, total, got.Covered, got.Err)
	}
	if n := len(f.Journal()); n != days*4+1 {
		t.Errorf("%d requests, want one for six hours and one for what is left", n)
	}
}

// What fails is said in a line without a key, and counted by a word; the same span answers later.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  fake.Action
		want   string
		reason string
	}{
		{"a proxy's page", fake.HTML(502), "query: 502 Bad Gateway", "http_5xx"},
		{"unavailable", fake.Status(503), "query: 503 Service Unavailable", "http_5xx"},
		{"a page that says it is well", fake.HTML(200), "query: 200 OK: the answer is not what Datadog says: ", "decode"},
		{"half an answer", fake.Truncated, "query: 200 OK: the answer is not what Datadog says: ", "decode"},
		{"cut", fake.ResetBefore, "query: ", "other"},
		{"cut within", fake.ResetMidBody, "query: unexpected EOF", "other"},
		{"no key", fake.Status(403), "query: 403 Forbidden: is a key wrong, or does the application key lack a scope?", "http_4xx"},
		{"another series", fake.StatusBody(200, "application/json", `{"status":"ok","series":[{"query_index":7,"interval":60,"pointlist":[]}]}`),
			"query: the answer has a series of query 7, and 2 were asked", "decode"},
		{"off the minute", fake.StatusBody(200, "application/json", `{"status":"ok","series":[{"query_index":0,"interval":60,"pointlist":[[1767312030000,1]]}]}`),
			"query: the answer has a bucket at 2026-01-02T00:00:30Z, which is no whole minute", "decode"},
		{"nothing", fake.StatusBody(200, "application/json", `{}`), "query: the answer has no status", "decode"},
		{"elsewhere", fake.StatusBody(302, "text/html", ""), "query: 302 Found: it is not followed; write the address as url", "redirect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
			traffic(f, dawn, 9, 1)
			s := newSource(t, f, settings(t), time.Minute, checkout)
			f.Fault(fake.Fault{Times: 1, Do: c.fault})
			got := collect(t, s, span(0, time.Minute))[0]
			if got.Err == nil || !strings.HasPrefix(got.Err.Error(), "source dd: slo checkout: "+c.want) {
				t.Fatalf("error %v, want %s", got.Err, c.want)
			}
			var own interface{ Reason() string }
			if !errors.As(got.Err, &own) || own.Reason() != c.reason {
				t.Errorf("reason of %v, want %s", got.Err, c.reason)
			}
			if strings.Contains(got.Err.Error(), fake.APIKey) || strings.Contains(got.Err.Error(), fake.AppKey) || strings.Contains(got.Err.Error(), "datadog.fake") {
				t.Errorf("%v says too much", got.Err)
			}
			if total, _ := sums(collect(t, s, span(0, time.Minute))[0]); total != 10 {
				t.Errorf("%g events when it is asked again, want 10", total)
			}
		})
	}
}

// A key that was exchanged counts from the next request on; the old one is in no error.
func TestKeysAreReadAgain(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
	traffic(f, dawn, 9, 1)
	c := settings(t)
	s := newSource(t, f, c, time.Minute, checkout, counts("other", "sum:http.hits{*}", "sum:none{*}"))
	const next = "00112233445566778899aabbccddeeff"
	f.Rotate([]string{next}, nil)
	_, err := s.Collect(t.Context(), span(0, time.Minute))
	if want := "source dd: query: 403 Forbidden: is a key wrong, or does the application key lack a scope?"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s, once for all", err, want)
	}
	if err := os.WriteFile(c.APIKeyFile, []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	if total, _ := sums(collect(t, s, span(0, time.Minute))[0]); total != 10 {
		t.Errorf("%g events with the new key, want 10", total)
	}
	for _, r := range f.Journal() {
		if strings.Contains(fmt.Sprint(r.Query), next) || strings.Contains(fmt.Sprint(r.Query), fake.AppKey) {
			t.Errorf("a key is in the address: %v", r.Query)
		}
	}
	for text, want := range map[string]string{"": " is empty", "two words": " holds more than a key"} {
		if err := os.WriteFile(c.AppKeyFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Collect(t.Context(), span(0, time.Minute)); err == nil || err.Error() != "source dd: app_key_file: "+c.AppKeyFile+want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestRefusedQuestions(t *testing.T) {
	both := counts("both", "sum:a{*}", "sum:b{*}")
	both.Indicator.Good = "sum:c{*}"
	_, err := New(Options{Name: "dd", Config: settings(t), Tick: time.Minute, Questions: []sources.Question{
		{SLO: "it", Indicator: sources.Indicator{Kind: sources.Counters, Total: "a", Bad: "b"}}, both,
		counts("avg", "avg:a{*}", "sum:b{*}"), checkout, checkout,
	}})
	want := `source dd: slo it: a datadog source does not answer indicators of kind counters
source dd: slo both: datadog: needs total, and bad or good
source dd: slo avg: total: at character 1: avg adds no events up, use sum
source dd: slo checkout: is asked twice`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	s := newSource(t, fake.New(fake.Options{}), settings(t), time.Minute, checkout)
	for _, bad := range []slo.Span{span(0, 30*time.Second), span(time.Minute, time.Minute)} {
		if _, err := s.Collect(t.Context(), bad); err == nil || !strings.HasSuffix(err.Error(), "does not lie on whole ticks") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := s.Collect(t.Context(), span(0, time.Minute), "nobody"); err == nil || err.Error() != "source dd: slo nobody: is not asked here" {
		t.Error(err)
	}
}

func TestLive(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
	for i := range 60 {
		traffic(f, dawn.Add(time.Duration(i)*time.Minute), 9, 1)
	}
	s := newSource(t, f, settings(t), time.Minute, checkout,
		counts("absent", "sum:http.hist{*}", "sum:http.hits{code:500}"),
		counts("unknown", "sum:http.hist{*}", "sum:http.errors{*}"),
		counts("inside-out", "sum:http.hits{code:500}", "sum:http.hits{*}"))
	checks, err := s.Live(t.Context(), f.Now().Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"1 series; 600 events in the last hour, 60 of them bad; all SLOs of this source together: 1 request a minute at most, and the organisation has 1600 in 1h",
		"there are bad events without a total in the same minute: do both queries count the same requests, with the same tags?",
		"the total has no series with a value in the last hour: is there such a metric, with such tags?",
		"bad is not within total: 600 of 60 events in the last hour; do both queries mean the same requests?",
	}
	for i, c := range checks {
		if c.Text() != want[i] || c.Fault() != (i > 0) || c.SLO != s.slos[i] {
			t.Errorf("%s: fault %v: %s\nwant %s", c.SLO, c.Fault(), c.Text(), want[i])
		}
	}
	f.Fault(fake.Fault{Do: fake.Status(403)})
	checks, err = s.Live(t.Context(), f.Now())
	if err != nil || !slices.ContainsFunc(checks, func(c Check) bool { return c.Fault() && strings.HasPrefix(c.Text(), "query: 403 Forbidden") }) {
		t.Errorf("%+v, %v", checks, err)
	}
}

// A span and its two parts are answered alike, wherever it is cut, with gaps, groups and bad events
// that no total goes with.
func TestParts(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 11))
		tick := []time.Duration{10 * time.Second, 30 * time.Second, 50 * time.Second, time.Minute, 5 * time.Minute}[seed%5]
		f := fake.New(fake.Options{Now: dawn.Add(slo.Day)})
		for i := range 10 * 60 {
			if random.IntN(10) < 4 || random.IntN(60) == 0 {
				continue
			}
			for _, route := range []string{"/a", "/b"} {
				good := float64(random.IntN(5)) - 1 // −1: nothing is sent
				traffic(f, dawn.Add(time.Duration(i)*time.Minute), good, float64(random.IntN(3))-1, "route:"+route)
			}
		}
		s := newSource(t, f, settings(t), tick, counts("it", "sum:http.hits{code:200}", "sum:http.hits{code:500}", "route"))
		s.youngest = f.Now() // the past
		n := int64(10 * time.Hour / tick)
		cut := time.Duration(1+random.Int64N(n-1)) * tick
		whole := collect(t, s, span(0, time.Duration(n)*tick))[0]
		first, second := collect(t, s, span(0, cut))[0], collect(t, s, span(cut, time.Duration(n)*tick))[0]
		if got, want := flat(first, second), flat(whole); got != want || strings.Count(want, "\n") < 100 {
			t.Errorf("seed %d, tick %s, cut at %s:\n%s\nwant\n%s", seed, tick, cut, got, want)
		}
	}
}

// flat is what answers say, in one order.
func flat(samples ...slo.Sample) string {
	var lines []string
	var covered []slo.Span
	for _, s := range samples {
		for _, g := range s.Groups {
			for _, inc := range g.Increments {
				lines = append(lines, fmt.Sprint(inc.At.Unix(), g.Labels, inc.Total, inc.Bad))
			}
		}
		for _, c := range s.Covered {
			if n := len(covered); n > 0 && covered[n-1].To.Equal(c.From) {
				covered[n-1].To = c.To
			} else {
				covered = append(covered, c)
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + fmt.Sprint("\n", covered)
}

// A clock that is not Datadog's makes spans end in the wrong place: it is said, once each time.
func TestClocksThatDifferAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake.New(fake.Options{Clock: time.Now})
		var logged strings.Builder
		s, err := New(Options{Name: "dd", Config: settings(t), Tick: time.Minute, Questions: []sources.Question{checkout}, Transport: f.Transport(), Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().Truncate(time.Minute)
		for i, c := range []struct {
			ahead time.Duration
			said  int
		}{{0, 0}, {-29 * time.Second, 0}, {-32 * time.Second, 1}, {time.Hour, 1}, {0, 1}, {time.Minute, 2}} {
			f.ClearFaults()
			f.Fault(fake.Fault{Do: fake.Skew(c.ahead)})
			to := now.Add(time.Duration(i-10) * time.Minute)
			collect(t, s, slo.Span{From: to.Add(-time.Minute), To: to})
			if n := strings.Count(logged.String(), "clock differs from Datadog's"); n != c.said {
				t.Errorf("%s ahead: said %d times, want %d:\n%s", c.ahead, n, c.said, logged.String())
			}
		}
		if text := logged.String(); !strings.Contains(text, "from=dd by=32s") {
			t.Errorf("logged\n%s", text)
		}
	})
}
