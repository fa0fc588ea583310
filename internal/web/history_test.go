package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// shop is an engine with some days of traffic behind it, and a face that looks into it.
type shop struct {
	engine *slo.Engine
	now    time.Time
	report *sinks.Report
	face   *web.Server
	h      http.Handler
}

// opening is a Monday.
var opening = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func newShop(t testing.TB, days int) *shop {
	t.Helper()
	e, err := slo.NewEngine(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	target, err := slo.ParsePercent("99")
	if err != nil {
		t.Fatal(err)
	}
	week, month := slo.RollingPeriod(7*slo.Day), slo.CalendarPeriod(slo.Month, time.UTC)
	e.Set([]slo.Objective{
		{Name: "checkout", Service: "shop", Target: target, Period: week, GroupBy: []string{"route"}, GroupLimit: 3, Policy: slo.Workbook(week)},
		{Name: "a/b <c>", Service: "shop", Target: target, Period: month, Policy: slo.Workbook(month)},
		{Name: "maintained", Target: target, Period: week, Policy: slo.Workbook(week), Corrections: []slo.Correction{
			{Name: "move", Effect: slo.Drop, When: slo.Once{From: opening.Add(5 * time.Hour), To: opening.Add(7 * time.Hour)}},
			{Name: "later", Effect: slo.Good, When: slo.Once{From: opening.Add(900 * slo.Day), To: opening.Add(901 * slo.Day)}},
		}},
	})
	s := &shop{engine: e, now: opening}
	for turn := range days * 24 * 6 {
		hour := turn / 6
		span := slo.Span{From: s.now, To: s.now.Add(10 * time.Minute)}
		s.now = span.To
		for _, name := range []string{"checkout", "a/b <c>", "maintained"} {
			if name == "a/b <c>" && hour%24 == 12 {
				continue // the source is down at noon
			}
			sample := slo.Sample{SLO: name, Span: span, Covered: []slo.Span{span}, Newest: span.To}
			groups := [][]string{nil}
			if name == "checkout" {
				groups = [][]string{{"/pay"}, {"/cart"}, {"/find"}, {"/d"}, {"/e"}} // two beyond the limit
			}
			for i, labels := range groups {
				g := slo.GroupSample{Labels: labels}
				for m := range 10 {
					bad := 0.0
					if hour%24 == 9 && turn%6 < 3 {
						bad = float64(10 * (i + 2)) // half an hour of trouble every morning
					}
					g.Increments = append(g.Increments, slo.Increment{At: span.From.Add(time.Duration(m+1) * time.Minute), Total: 100, Bad: bad})
				}
				sample.Groups = append(sample.Groups, g)
			}
			if err := e.Observe(sample); err != nil {
				t.Fatal(err)
			}
		}
		e.Evaluate(s.now)
	}
	s.report = &sinks.Report{Time: s.now, SLOs: e.Evaluate(s.now)}
	s.face = web.New(web.Options{Look: func(_ context.Context, look func(*slo.Engine)) error { look(e); return nil }})
	if err := s.face.Write(t.Context(), s.report); err != nil {
		t.Fatal(err)
	}
	s.h = s.face.Handler()
	return s
}

func (s *shop) histories(t *testing.T, target string) []web.History {
	t.Helper()
	status, body, _ := ask(s.h, "GET", target)
	var doc struct{ Histories []web.History }
	if err := json.Unmarshal([]byte(body), &doc); status != 200 || err != nil {
		t.Fatalf("%s: %d %v %s", target, status, err, body)
	}
	return doc.Histories
}

func (s *shop) status(t *testing.T, name string, labels ...string) *slo.Status {
	t.Helper()
	for i := range s.report.SLOs {
		if st := &s.report.SLOs[i]; st.Objective.Name == name && slices.Equal(st.Labels, labels) {
			return st
		}
	}
	t.Fatalf("no %s %v", name, labels)
	return nil
}

func period(st *slo.Status) slo.Window {
	return st.Windows[slices.IndexFunc(st.Windows, func(w slo.Window) bool { return w.IsPeriod })]
}

// A history adds up to what /api/v1/slos says of the period, for one group, for several, and for all
// of them together.
func TestHistoryAddsUp(t *testing.T) {
	s := newShop(t, 9)
	for _, f := range []struct {
		target string
		groups [][]string // of each history
	}{
		{"/api/v1/slos/checkout/history", [][]string{{"/pay", "/cart", "/find", "_other"}}},
		{"/api/v1/slos/checkout/history?route=/pay&step=1h", [][]string{{"/pay"}}},
		{"/api/v1/slos/checkout/history?route=/pay&route=_other&step=77m", [][]string{{"/pay"}, {"_other"}}},
		{"/api/v1/slos/a%2Fb%20%3Cc%3E/history?step=3600", [][]string{nil}},
		{"/api/v1/slos/maintained/history?step=1d", [][]string{nil}},
	} {
		name, err := url.PathUnescape(strings.Split(f.target, "/")[4])
		if err != nil {
			t.Fatal(err)
		}
		all := s.histories(t, f.target)
		if len(all) != len(f.groups) {
			t.Fatalf("%s: %d histories, want %d", f.target, len(all), len(f.groups))
		}
		slices.SortFunc(all, func(a, b web.History) int { return strings.Compare(a.Labels["route"], b.Labels["route"]) })
		for i, h := range all {
			var want slo.Window
			var allowed float64
			for _, route := range append(f.groups[i], "")[:max(len(f.groups[i]), 1)] {
				labels := []string{route}
				if route == "" {
					labels = nil
				}
				st := s.status(t, name, labels...)
				w := period(st)
				want.Total, want.Bad, want.Coverage = want.Total+w.Total, want.Bad+w.Bad, w.Coverage
				allowed += st.Budget.Allowed
			}
			total, bad := 0.0, 0.0
			for _, step := range h.Steps {
				total, bad = total+step.Total.Float, bad+step.Bad.Float
			}
			if total != want.Total || bad != want.Bad || h.Budget.Total.Float != want.Total || h.Budget.Bad.Float != want.Bad || h.Budget.Coverage.Float != want.Coverage {
				t.Errorf("%s: steps add up to %v and %v bad, the budget has %v and %v, covered %v; want %v, %v, %v",
					f.target, total, bad, h.Budget.Total.Float, h.Budget.Bad.Float, h.Budget.Coverage.Float, want.Total, want.Bad, want.Coverage)
			}
			if left := 1 - want.Bad/allowed; h.Budget.Remaining.Float-left > 1e-12 || left-h.Budget.Remaining.Float > 1e-12 {
				t.Errorf("%s: %v left, want %v", f.target, h.Budget.Remaining.Float, left)
			}
			last := h.Steps[len(h.Steps)-1]
			if last.Remaining != h.Budget.Remaining || !last.To.Equal(s.now) || !h.At.Equal(s.now) || !h.To.Equal(s.now) {
				t.Errorf("%s: ends with %+v, at %s", f.target, last, h.At)
			}
			if f.groups[i] == nil && h.Budget.Remaining.Float != s.status(t, name).Budget.RemainingRatio {
				t.Errorf("%s: %v left", f.target, h.Budget.Remaining)
			}
			if len(f.groups[i]) == 1 && h.Budget.Remaining.Float != s.status(t, name, f.groups[i][0]).Budget.RemainingRatio {
				t.Errorf("%s: %v left", f.target, h.Budget.Remaining)
			}
		}
	}
}

// What is not known is missing, and what is marked stands where it was.
func TestHistoryMarks(t *testing.T) {
	s := newShop(t, 3)
	h := s.histories(t, "/api/v1/slos/a%2Fb%20%3Cc%3E/history?from=2026-03-04T11:00:00Z&to=2026-03-04T14:00:00Z&step=1h")[0]
	if h.Budget.Course != web.CourseCalendar || !h.Budget.From.Before(opening) {
		t.Errorf("budget %+v", h.Budget)
	}
	missing := 0.0
	for _, step := range h.Steps {
		missing += (1 - step.Coverage.Float) * step.To.Sub(step.From).Seconds()
		if step.Coverage.Float == 0 && (step.BurnRate.Defined || step.ErrorRatio.Defined) {
			t.Errorf("nothing is known of %+v", step)
		}
	}
	if missing != 3600 {
		t.Errorf("%v seconds missing, want the hour at noon", missing)
	}

	h = s.histories(t, "/api/v1/slos/checkout/history?route=/cart")[0]
	pages := 0
	for _, a := range h.Alerts {
		if a.Labels["route"] != "/cart" {
			t.Errorf("of another group: %+v", a)
		}
		if a.Severity == "page" {
			pages++
			// Looked at every ten minutes, and told from the first tick all the same.
			if m := a.From.Sub(a.From.Truncate(slo.Day)); m < 9*time.Hour || m > 10*time.Hour || a.To != nil && !a.To.After(a.From) {
				t.Errorf("a page from %s until %v", a.From, a.To)
			}
		}
	}
	if pages != 3 {
		t.Errorf("%d pages on three days: %+v", pages, h.Alerts)
	}
	if len(h.Watched) == 0 || !h.Watched[0].From.After(opening.Add(-time.Minute)) {
		t.Errorf("watched %+v", h.Watched)
	}

	h = s.histories(t, "/api/v1/slos/maintained/history")[0]
	if want := fmt.Sprintf("[{move drop %s %s 0}]", opening.Add(5*time.Hour), opening.Add(7*time.Hour)); fmt.Sprint(h.Corrections) != want {
		t.Errorf("corrections %v, want %s", h.Corrections, want)
	}
}

// What cannot be answered is refused in words that help.
func TestHistoryRefuses(t *testing.T) {
	s := newShop(t, 2)
	for target, want := range map[string]string{
		"chekout/history":                                                            `404 slo "chekout": unknown, did you mean "checkout"?`,
		"checkout/history?rout=x":                                                    `400 parameter "rout": neither slo, service nor a label to group by, did you mean "route"?`,
		"checkout/history?route=/nowhere":                                            `404 group route=%2Fnowhere: unknown`,
		"checkout/history?slo=maintained":                                            `400 parameter "slo": the address itself names the SLO`,
		"checkout/history?from=yesterday":                                            `400 parameter "from": "yesterday" is neither RFC 3339 (2026-01-02T15:04:05Z) nor Unix seconds`,
		"checkout/history?to=NaN":                                                    `400 parameter "to": "NaN" is neither RFC 3339 (2026-01-02T15:04:05Z) nor Unix seconds`,
		"checkout/history?from=1&from=2":                                             `400 parameter "from": given more than once`,
		"checkout/history?step=often":                                                `400 parameter "step": "often" is neither a duration of a second or more (5m, 1h, 1d) nor its seconds`,
		"checkout/history?step=-5m":                                                  `400 parameter "step": "-5m" is neither a duration of a second or more (5m, 1h, 1d) nor its seconds`,
		"checkout/history?step=0":                                                    `400 parameter "step": "0" is neither a duration of a second or more (5m, 1h, 1d) nor its seconds`,
		"checkout/history?from=2030-01-01T00:00:00Z":                                 `400 from 2030-01-01T00:00:00Z: must be before to, and before the newest tick 2026-03-04T00:00:00Z`,
		"checkout/history?from=2026-03-03T00:00:00Z&to=2026-03-02T00:00:00Z":         `400 from 2026-03-03T00:00:00Z: must be before to, and before the newest tick 2026-03-04T00:00:00Z`,
		"maintained/history?step=1s":                                                 `400 step 1s: makes 604801 steps of 1 groups, more than 11000, or 110000 over all groups: ask for longer steps, a shorter span or fewer groups`,
		"checkout/history?from=2026-01-02T00:00:00Z&to=2026-01-03T00:00:00Z&step=1h": `400 to 2026-01-03T00:00:00Z: nothing is kept of the time before 2026-02-24T21:21:00Z`,
		"checkout/groups?top=0":                                                      `400 parameter "top": ["0"] is no number of groups, 1 or more`,
		"checkout/groups?tip=1":                                                      `400 parameter "tip": unknown, did you mean "top"?`,
		"chekout/groups":                                                             `404 slo "chekout": unknown, did you mean "checkout"?`,
	} {
		status, body, header := ask(s.h, "GET", "/api/v1/slos/"+target)
		var no struct{ Error string }
		if err := json.Unmarshal([]byte(body), &no); err != nil || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v in %s", target, err, body)
		}
		if got := fmt.Sprint(status, " ", no.Error); got != want {
			t.Errorf("%s:\n got %s\nwant %s", target, got, want)
		}
	}

	// A loop that is away for longer than anybody waits.
	away := web.New(web.Options{Look: func(ctx context.Context, _ func(*slo.Engine)) error { <-ctx.Done(); return ctx.Err() }})
	if err := away.Write(t.Context(), s.report); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := away.History(ctx, web.HistoryQuery{SLO: "checkout"}); err == nil || !strings.Contains(err.Error(), "the loop is busy") {
		t.Errorf("a loop that is away: %v", err)
	}
	if sparks := away.Sparks(ctx); sparks != nil {
		t.Errorf("sparks of a loop that is away: %v", sparks)
	}
}

// Sparks are drawn once and shared, and end with the present.
func TestSparks(t *testing.T) {
	s := newShop(t, 5)
	sparks := s.face.Sparks(t.Context())
	if again := s.face.Sparks(t.Context()); again != sparks {
		t.Error("drawn again within a minute")
	}
	for i := range s.report.SLOs {
		st := &s.report.SLOs[i]
		points := sparks.Points(st)
		if len(points) != web.SparkSteps || points[len(points)-1] != float32(st.Budget.RemainingRatio) {
			t.Errorf("%s %v: %v, left %v", st.Objective.Name, st.Labels, points, st.Budget.RemainingRatio)
		}
	}
	later := s.report.SLOs[0]
	later.Budget.RemainingRatio = -3
	if points := sparks.Points(&later); points[len(points)-1] != -3 {
		t.Errorf("the present is %v", points[len(points)-1])
	}
	later.Labels = []string{"/new"}
	if points := sparks.Points(&later); points != nil {
		t.Errorf("of a budget that came since: %v", points)
	}
}

// The groups that burn a budget come first, and the rest is not forgotten.
func TestTopGroups(t *testing.T) {
	s := newShop(t, 3)
	status, body, _ := ask(s.h, "GET", "/api/v1/slos/checkout/groups?top=2")
	var got web.GroupShares
	if err := json.Unmarshal([]byte(body), &got); status != 200 || err != nil {
		t.Fatalf("%d %v %s", status, err, body)
	}
	// Every morning 30 minutes with 20, 30, 40 bad for /pay, /cart, /find, and 50 and 60 for those
	// beyond the limit, together.
	day := 30.0 * (20 + 30 + 40 + 50 + 60)
	if got.Bad.Float != 3*day || got.Total.Float != 3*5*24*60*100 || len(got.Groups) != 2 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []struct {
		route      string
		bad, share float64
	}{{"_other", 3 * 30 * 110, 110. / 200}, {"/find", 3 * 30 * 40, 40. / 200}} {
		g := got.Groups[i]
		if g.Labels["route"] != want.route || g.Bad.Float != want.bad || g.BadShare.Float != want.share ||
			g.Remaining.Float != s.status(t, "checkout", want.route).Budget.RemainingRatio {
			t.Errorf("%d: %+v, want %+v", i, g, want)
		}
	}
	if r := got.Rest; r == nil || r.Groups != 2 || r.Bad.Float != 3*30*50 || r.BadShare.Float != 0.25 || r.Remaining.Defined {
		t.Errorf("rest %+v", r)
	}
	if alone := web.TopGroups(s.report, "maintained", 3); alone == nil || len(alone.Groups) != 0 || alone.Rest != nil {
		t.Errorf("without groups: %+v", alone)
	}
}
