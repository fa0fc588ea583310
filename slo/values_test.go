package slo_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

func TestSharesAreExact(t *testing.T) {
	for _, c := range []struct {
		text        string
		float, rest float64
		back        string
	}{
		{"99.9", 0.999, 0.001, "99.9"},
		{"99.9%", 0.999, 0.001, "99.9"},
		{" 99.95 % ", 0.9995, 0.0005, "99.95"},
		{"99.999999", 0.99999999, 0.00000001, "99.999999"},
		{"50", 0.5, 0.5, "50"},
		{"99.90", 0.999, 0.001, "99.9"},
		{"0.1", 0.001, 0.999, "0.1"},
		{"12.5", 0.125, 0.875, "12.5"},
		{"100", 1, 0, "100"},
		{"0", 0, 1, "0"},
	} {
		s, err := slo.ParsePercent(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if s.Float() != c.float || s.Rest().Float() != c.rest || s.Percent() != c.back {
			t.Errorf("%q: %v, rest %v, prints %s; want %v, %v, %s", c.text, s.Float(), s.Rest().Float(), s.Percent(), c.float, c.rest, c.back)
		}
	}
	for _, text := range []string{"", ".", "%", "-1", "+1", "1e2", "99,9", "NaN", "٩٩", "1.2.3", "0x10", "99.99999999999", "99999999999999999999"} {
		if s, err := slo.ParsePercent(text); err == nil {
			t.Errorf("%q was read as %s %%", text, s.Percent())
		}
	}
}

func TestSharesCompare(t *testing.T) {
	share := func(text string) slo.Share {
		s, err := slo.ParsePercent(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"99.9", "99.90", 0}, {"99.9", "99.91", -1}, {"100", "99.999999", 1}, {"0", "0.0", 0}, {"0", "0.1", -1}} {
		if got := share(c.a).Cmp(share(c.b)); got != c.want {
			t.Errorf("%s against %s: %d, want %d", c.a, c.b, got, c.want)
		}
	}
	if got := (slo.Share{}).Cmp(share("0")); got != 0 {
		t.Errorf("the zero value is not 0")
	}
}

func TestWorkbook(t *testing.T) {
	for _, c := range []struct {
		period time.Duration
		want   string
	}{
		{30 * slo.Day, "page 1h/5m 14.4, page 6h/30m 6, ticket 1d/2h 3, ticket 3d/6h 1"},
		{28 * slo.Day, "page 1h/5m 13.44, page 6h/30m 5.6, ticket 1d/2h 2.8, ticket 3d/6h 0.9333"},
		{7 * slo.Day, "page 1h/5m 13.44, page 6h/30m 3.5, ticket 1d/2h 1.4, ticket 3d/6h 0.98"},
		{slo.Day, "page 1h/5m 1.92, page 6h/30m 0.5, ticket 1d/2h 0.2"},
	} {
		got := ""
		for _, s := range slo.Workbook(slo.RollingPeriod(c.period)).Severities {
			for _, p := range s.Pairs {
				got += fmt.Sprintf(", %s %s/%s %s", s.Name, slo.FormatDuration(p.Long), slo.FormatDuration(p.Short), p.Factor)
			}
		}
		if got = got[2:]; got != c.want {
			t.Errorf("%s: %s, want %s", slo.FormatDuration(c.period), got, c.want)
		}
	}
}

func TestReachable(t *testing.T) {
	for _, c := range []struct {
		factor, target string
		want           bool
		largest        string
	}{
		{"14.4", "99.9", true, "1000"},
		{"14.4", "93", false, "14.2857"},
		{"14.4", "94", true, "16.6667"},
		{"2", "50", false, "2"}, // every event bad burns at exactly 2: never above
		{"1.9999", "50", true, "2"},
	} {
		f, err := slo.ParseFactor(c.factor)
		if err != nil {
			t.Fatal(err)
		}
		target, err := slo.ParsePercent(c.target)
		if err != nil {
			t.Fatal(err)
		}
		if got := slo.Reachable(f, target); got != c.want {
			t.Errorf("a burn rate above %s at %s %%: %v, want %v", c.factor, c.target, got, c.want)
		}
		if got := slo.LargestFactor(target); got != c.largest {
			t.Errorf("largest at %s %%: %s, want %s", c.target, got, c.largest)
		}
	}
}

func TestWilson(t *testing.T) {
	for _, c := range []struct{ bad, total, want float64 }{
		{1, 3, 0.061490315276160515},
		{0, 100, 0},
		{50, 100, 0.40382982859014716},
	} {
		if got := slo.Wilson(c.bad, c.total, 1.96); !got.Defined || math.Abs(got.Float-c.want) > 1e-12 {
			t.Errorf("%v of %v: %v, want %v", c.bad, c.total, got, c.want)
		}
	}
	if slo.Wilson(0, 0, 1.96).Defined {
		t.Error("without events there is no bound")
	}
}

func TestCalendarPeriods(t *testing.T) {
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		about    string
		calendar slo.Calendar
		zone     *time.Location
		at       string
		from, to string
	}{
		{"a week begins on Monday", slo.Week, time.UTC, "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"},
		{"Sunday's last moment belongs to it", slo.Week, time.UTC, "2026-11-23T00:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"},
		{"one moment later is the next", slo.Week, time.UTC, "2026-11-23T00:00:01Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
		{"a month in Tokyo", slo.Month, tokyo, "2026-02-28T16:00:00Z", "2026-02-28T15:00:00Z", "2026-03-31T15:00:00Z"},
		{"March in Berlin loses an hour", slo.Month, berlin, "2026-03-15T00:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"},
		{"the last quarter", slo.Quarter, time.UTC, "2026-11-22T00:00:00Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"a leap year", slo.Year, time.UTC, "2028-12-31T23:59:59Z", "2028-01-01T00:00:00Z", "2029-01-01T00:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		p := slo.CalendarPeriod(c.calendar, c.zone)
		from, to := p.Edges(at)
		if got := from.UTC().Format(time.RFC3339); got != c.from {
			t.Errorf("%s: from %s, want %s", c.about, got, c.from)
		}
		if got := to.UTC().Format(time.RFC3339); got != c.to {
			t.Errorf("%s: to %s, want %s", c.about, got, c.to)
		}
		if p.Span(at).Duration() > p.Longest() {
			t.Errorf("%s: %s is longer than the longest", c.about, p.Span(at).Duration())
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 5 * time.Minute: "5m", 30 * slo.Day: "30d", 90 * time.Minute: "1h30m",
		36 * time.Hour: "1d12h", 1500 * time.Millisecond: "1s500ms", -time.Minute: "-1m",
	} {
		if got := slo.FormatDuration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tick := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, time.Hour} {
		if _, err := slo.NewEngine(tick); err != nil {
			t.Errorf("%s: %v", tick, err)
		}
	}
	for _, tick := range []time.Duration{0, -time.Second, 7 * time.Second, 7 * time.Minute, 1500 * time.Millisecond, 500 * time.Millisecond} {
		if _, err := slo.NewEngine(tick); err == nil {
			t.Errorf("%s was accepted", tick)
		}
	}
}

// Answers that make no sense change nothing and say so.
func TestObserveRefuses(t *testing.T) {
	e := engine(t, time.Minute, objective(t, "99", slo.RollingPeriod(7*slo.Day)))
	whole := slo.Span{From: began, To: began.Add(time.Minute)}
	if e.Observe(slo.Sample{SLO: "other", Span: whole}) == nil {
		t.Error("an unknown objective was accepted")
	}
	if e.Observe(slo.Sample{SLO: "it", Span: slo.Span{From: began, To: began.Add(time.Second)}}) == nil {
		t.Error("a span off the ticks was accepted")
	}
	if e.Observe(slo.Sample{SLO: "it", Span: slo.Span{From: whole.To, To: whole.From}}) == nil {
		t.Error("a span that runs backwards was accepted")
	}
	observe(t, e, slo.Sample{SLO: "it", Span: whole, Err: fmt.Errorf("503"), Covered: []slo.Span{whole}})
	if got := e.Unanswered("it", whole); len(got) != 1 {
		t.Error("a question that failed counts as answered")
	}
	// More bad than all, fewer than none, no number: clamped and counted.
	observe(t, e, slo.Sample{SLO: "it", Span: whole, Covered: []slo.Span{whole}, Groups: []slo.GroupSample{{Increments: []slo.Increment{
		{At: whole.To, Total: 10, Bad: 12},
	}}}})
	if w := e.Evaluate(whole.To)[0].Windows[0]; w.Total != 10 || w.Bad != 10 || e.Clamped("it") != 1 {
		t.Errorf("%v of %v, %d clamped; want 10 of 10, 1", w.Bad, w.Total, e.Clamped("it"))
	}
}

func ExampleEngine() {
	target, _ := slo.ParsePercent("99.9")
	period := slo.RollingPeriod(30 * slo.Day)
	engine, _ := slo.NewEngine(time.Minute)
	engine.Set([]slo.Objective{{Name: "checkout", Target: target, Period: period, Policy: slo.Workbook(period)}})

	span := slo.Span{From: time.Unix(0, 0).UTC(), To: time.Unix(3600, 0).UTC()}
	_ = engine.Observe(slo.Sample{
		SLO: "checkout", Span: span, Covered: []slo.Span{span},
		Groups: []slo.GroupSample{{Increments: []slo.Increment{{At: span.To, Total: 10_000, Bad: 4}}}},
	})
	s := engine.Evaluate(span.To)[0]
	fmt.Printf("burning at %.1f, %.0f %% of the budget left\n", s.Windows[2].BurnRate.Float, 100*s.Budget.RemainingRatio)
	// Output: burning at 0.4, 60 % of the budget left
}

func BenchmarkEngine(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("tick/slos=%d", n), func(b *testing.B) {
			const tick = 30 * time.Second
			e, err := slo.NewEngine(tick)
			if err != nil {
				b.Fatal(err)
			}
			target, _ := slo.ParsePercent("99.9")
			period := slo.RollingPeriod(30 * slo.Day)
			var objectives []slo.Objective
			var samples []slo.Sample
			for i := range n {
				name := fmt.Sprint("slo-", i)
				objectives = append(objectives, slo.Objective{Name: name, Target: target, Period: period, Policy: slo.Workbook(period)})
				samples = append(samples, slo.Sample{SLO: name, Groups: []slo.GroupSample{{Increments: []slo.Increment{{Total: 1500, Bad: 1}}}}})
			}
			e.Set(objectives)
			now := began
			b.ReportAllocs()
			for b.Loop() {
				span := slo.Span{From: now, To: now.Add(tick)}
				for i := range samples {
					samples[i].Span, samples[i].Covered = span, []slo.Span{span}
					samples[i].Groups[0].Increments[0].At = span.To
				}
				if err := e.Observe(samples...); err != nil {
					b.Fatal(err)
				}
				now = span.To
				if got := e.Evaluate(now); len(got) != n {
					b.Fatalf("%d statuses", len(got))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/slo")
		})
	}
}

// The counters go on rising for as long as there is traffic, also when watching began longer ago
// than the longest window.
func TestCountersOutliveThePeriod(t *testing.T) {
	const tick = 5 * time.Minute
	e := engine(t, tick, objective(t, "99.9", slo.RollingPeriod(slo.Day)))
	e.Watch(began)
	now, last := began, 0.0
	for n := 1.0; now.Before(began.Add(10 * slo.Day)); n++ {
		now = now.Add(tick)
		observe(t, e, slo.Sample{SLO: "it", Span: slo.Span{From: now.Add(-tick), To: now}, Groups: []slo.GroupSample{{
			Increments: []slo.Increment{{At: now, Total: n, Bad: 1}},
		}}})
		s := e.Evaluate(now)[0]
		if s.EventsTotal != last+n || s.BadEventsTotal != n {
			t.Fatalf("after %s: %v events, %v bad, want %v and %v", now.Sub(began), s.EventsTotal, s.BadEventsTotal, last+n, n)
		}
		last = s.EventsTotal
	}
}
