package web_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// What a search, a service, a team and a state leave of the overview.
func TestOverviewFilters(t *testing.T) {
	h := face(t, web.Options{}, sinktest.Report())
	for _, f := range []struct{ query, want string }{
		{"", `checkout-availability|search-latency route="/items"`},
		{"?q=ITEMS", `search-latency route="/items"`},
		{"?q=items+discovery", `search-latency route="/items"`},
		{"?q=items+payments", ""},
		{"?q=_other", `search-latency route="_other"`},
		{"?q=firing", "checkout-availability"},
		{"?q=tier", ""}, // the names of labels are no content
		{"?service=search", `search-latency route="/items"`},
		{"?team=payments", "checkout-availability"},
		{"?state=firing", "checkout-availability"},
		{"?state=fine", `search-latency route="/items"`},
		{"?state=fine&team=payments", ""},
		{"?service=nobody", ""},
		{"?state=nonsense", ""},
		{"?bookmark=of+old&q=pay", "checkout-availability"},
	} {
		status, page, _ := ask(h, "GET", "/"+f.query)
		var got []string
		for _, row := range budgetRows(t, page) {
			name := row["name"]
			for _, service := range []string{" checkout ·", " search ·"} {
				name, _, _ = strings.Cut(name, service)
			}
			got = append(got, name)
		}
		if strings.Join(got, "|") != f.want || status != 200 {
			t.Errorf("%q: got %d %q, want %q", f.query, status, got, f.want)
		}
		if f.want == "" && !strings.Contains(page, "None of 2 SLOs fits.") {
			t.Errorf("%q does not say that nothing fits", f.query)
		}
	}
	_, page, _ := ask(h, "GET", "/?q=it+%22ems&service=search&state=fine")
	for _, part := range []string{
		`name="q" value="it &#34;ems"`, `<option value="search" selected>`, `<option value="fine" selected>`,
		`href="./?q=it&#43;%22ems&amp;service=search"`, // the state once more takes it off
	} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q in\n%s", part, page)
		}
	}
}

// groupsOf has n SLOs with m groups each; the first group of every tenth SLO burns.
func groupsOf(n, m int) *sinks.Report {
	r := &sinks.Report{Time: sinktest.Time}
	for i := range n {
		o := sinktest.Objective(fmt.Sprintf("slo-%05d", i), fmt.Sprintf("service-%03d", i/4), "99.9", slo.RollingPeriod(30*slo.Day))
		o.Labels = map[string]string{"team": fmt.Sprintf("team-%d", i%20)}
		if m > 1 {
			o.GroupBy = []string{"route"}
		}
		for k := range m {
			bad := float64((i*7+k)%50) / 100
			if i%10 == 0 && k == 0 {
				bad = 20
			}
			counts := map[string]sinktest.Counts{"30d": {Total: 12000 * 720, Bad: 12 * bad * 720, Coverage: 1}}
			for _, w := range slo.Windows {
				counts[slo.FormatDuration(w)] = sinktest.Counts{Total: 12000 * w.Hours(), Bad: 12 * bad * w.Hours(), Coverage: 1}
			}
			var labels []string
			if m > 1 {
				labels = []string{fmt.Sprintf("/shop/items/%04d", k)}
			}
			r.SLOs = append(r.SLOs, sinktest.Status(o, labels, counts))
		}
	}
	return r
}

// Groups fold into their SLO: those that need somebody stand out, the rest is a line that unfolds.
func TestOverviewFolds(t *testing.T) {
	h := face(t, web.Options{}, groupsOf(12, 150))
	_, page, _ := ask(h, "GET", "/")
	rows := budgetRows(t, page)
	if len(rows) != 12 || rows[0]["state"] != "firing, spent" || rows[0]["fold"] != "149 more groups 149 fine" {
		t.Fatalf("%d rows, the first is %v", len(rows), rows[0])
	}
	_, page, _ = ask(h, "GET", "/?open=slo-00003&open=slo-00010&q=slo-00003")
	rows = budgetRows(t, page)
	if len(rows) != 100 || rows[99]["fold"] != "Fold the groups · 50 more on its page 50 fine" {
		t.Fatalf("%d rows, the last is %v", len(rows), rows[len(rows)-1])
	}
	fold := find(find(parse(t, page), byClass("tr", "fold"))[0], byClass("a", ""))
	if !strings.HasPrefix(attr(fold[0], "href"), "./?open=slo-00010&q=slo-00003#slo-") || attr(fold[1], "href") != "slo?slo=slo-00003" {
		t.Errorf("folds by %q, all at %q", attr(fold[0], "href"), attr(fold[1], "href"))
	}
}

// The most urgent come first, and all when they are asked for.
func TestOverviewIsCut(t *testing.T) {
	h := face(t, web.Options{}, groupsOf(450, 1))
	_, page, _ := ask(h, "GET", "/")
	rows := budgetRows(t, page)
	if len(rows) != 100 || rows[44]["state"] != "firing, spent" || rows[45]["state"] != "fine" || !strings.Contains(page, `<a href="./?all=1" data-swap>Show all 450</a>`) {
		t.Errorf("%d rows, %v %v", len(rows), rows[44], rows[45])
	}
	_, page, _ = ask(h, "GET", "/?all=1")
	if rows := budgetRows(t, page); len(rows) != 450 {
		t.Errorf("%d rows of 450", len(rows))
	}
}

// A page that says the same is not sent again, and is sent compressed to whoever takes that.
func TestPageIsKept(t *testing.T) {
	s := web.New(web.Options{})
	write := func(r *sinks.Report) {
		t.Helper()
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	write(sinktest.Report())
	_, plain, header := ask(s.Handler(), "GET", "/")
	status, body, _ := ask(s.Handler(), "GET", "/", "If-None-Match", header.Get("ETag"))
	if status != http.StatusNotModified || body != "" {
		t.Errorf("the same again: %d with %d bytes", status, len(body))
	}
	_, packed, zipped := ask(s.Handler(), "GET", "/", "Accept-Encoding", "br;q=1, gzip;q=0.8")
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != plain {
		t.Errorf("compressed it is another: %v", err)
	}
	if zipped.Get("ETag") == header.Get("ETag") || !slices.Contains(zipped.Values("Vary"), "Accept-Encoding") {
		t.Errorf("a cache takes one for the other: %v", zipped)
	}
	if _, body, header := ask(s.Handler(), "GET", "/", "Accept-Encoding", "gzip;q=0"); body != plain || header.Get("Content-Encoding") != "" {
		t.Error("compressed for one who takes none")
	}
	next := sinktest.Report()
	next.Notices = []string{"the disk is full: nothing is durable since 00:00"}
	write(next)
	status, body, _ = ask(s.Handler(), "GET", "/", "If-None-Match", header.Get("ETag"))
	if status != 200 || !strings.Contains(body, "the disk is full") {
		t.Errorf("after the next tick: %d, %s", status, body)
	}
}

// What is wrong with yoyu itself stands on every page.
func TestTroubleIsShown(t *testing.T) {
	r := sinktest.Report()
	r.Notices = []string{"nothing is durable since 23:50: no space left on device"}
	last := sinktest.Time.Add(-time.Hour)
	h := face(t, web.Options{Inside: func(st *web.Status) {
		st.Sources = []web.StatusSource{
			{Name: "prom", LastSuccess: &last, Failures: map[string]float64{"timeout": 3}}, {Name: "fine", Up: true, LastSuccess: &last, Failures: map[string]float64{"timeout": 1}},
			{Name: "never", Failures: map[string]float64{"refused": 1}}, {Name: "new"},
		}
		st.Sinks = []web.StatusSink{{Name: "dd", LastSuccess: &last, Failures: map[string]float64{"status_403": 1}, Dropped: map[string]float64{"too_old": 7}}}
		st.Store = web.StatusStore{Path: "data/yoyu.db", Trouble: "no space left on device"}
		st.Config = web.StatusConfig{YAML: "tick: 30s\n"}
	}}, r)
	for _, target := range []string{"/", "/slo?slo=checkout-availability", "/explain?slo=checkout-availability", "/rightsizing", "/readiness", "/status", "/slo?slo=nobody"} {
		_, page, _ := ask(h, "GET", target, "Accept", "text/html")
		var alarms []string
		for _, n := range find(parse(t, page), func(n *html.Node) bool { return attr(n, "role") == "alert" && within(n, "id") == "notices" }) {
			alarms = append(alarms, words(n))
		}
		want := []string{
			"nothing is durable since 23:50: no space left on device",
			"Source prom answers no more, the last time at 2026-01-01 23:00:00 UTC: what it would say is missing below, never good.",
			"Source never has not answered yet: what it would say is missing below, never good.",
			"Sink dd answers no more, the last time at 2026-01-01 23:00:00 UTC: what it should have shows elsewhere late or never.",
		}
		if !slices.Equal(alarms, want) {
			t.Errorf("%s: got %q", target, alarms)
		}
	}
	_, page, _ := ask(h, "GET", "/status")
	for _, part := range []string{"down prom 2026-01-01 23:00:00 UTC timeout 3", "up fine", "dropped: too_old 7", "no space left on device", "tick: 30s"} {
		if got := words(parse(t, page)); !strings.Contains(got, part) {
			t.Errorf("no %q in %s", part, got)
		}
	}
}

// What is not there is said on a page, with the status that says so.
func TestPageRefusals(t *testing.T) {
	h := face(t, web.Options{}, sinktest.Report())
	for target, want := range map[string]string{
		"/slo": "400 name one SLO", "/slo?slo=checkout-availability&slo=search-latency": "400 name one SLO",
		"/slo?slo=checkout-availabilty":                           "404 did you mean \"checkout-availability\"?",
		"/slo?slo=search-latency&route=/nowhere":                  "404 group route=%2Fnowhere: unknown",
		"/slo?slo=search-latency&rout=/items":                     "400 did you mean \"route\"?",
		"/slo?slo=search-latency&service=checkout":                "404 belongs to service",
		"/explain?slo=nobody-<b>":                                 "404 slo \"nobody-<b>\": unknown",
		"/explain":                                                "200 checkout-availability",
		"/slo?slo=search-latency":                                 `200 route="_other"`,
		"/explain?slo=search-latency&route=_other":                "200 allowed (1 − objective) · total = 0.01 · 2880 = 28.8",
		"/slo?slo=checkout-availability":                          "200 5 400 of 21 600 bad events spent",
		"/explain?slo=checkout-availability&route=/pay":           "400 parameter \"route\"",
		"/explain?slo=checkout-availability&format=text&x=1&y=&z": "400",
	} {
		status, page, _ := ask(h, "GET", strings.ReplaceAll(target, "<b>", "%3Cb%3E"), "Accept", "text/html,*/*;q=0.8")
		code, part, _ := strings.Cut(want, " ")
		if fmt.Sprint(status) != code || !strings.Contains(words(parse(t, page)), part) {
			t.Errorf("%s: got %d, want %s in\n%s", target, status, want, words(parse(t, page)))
		}
	}
	early := face(t, web.Options{}, nil)
	for target, want := range map[string]int{"/": 200, "/slo?slo=x": 503, "/explain?slo=x": 503, "/rightsizing": 200, "/readiness": 200, "/status": 200} {
		if status, page, _ := ask(early, "GET", target, "Accept", "text/html"); status != want || !strings.Contains(page, "no report yet") {
			t.Errorf("%s before the first report: %d, want %d", target, status, want)
		}
	}
}

// The page of an SLO with a history behind it.
func TestSLOPage(t *testing.T) {
	s := newShop(t, 3)
	_, page, _ := ask(s.h, "GET", "/slo?slo=checkout&route=/pay")
	got := words(parse(t, page))
	for _, part := range []string{
		"Budgets / checkout checkout route=\"/pay\"", "Budget left, 2026-02-26 00:00:00 UTC to 2026-03-05 00:00:00 UTC", "Which groups burn the budget",
		"Alerts of the period", "ticket 2026-03-02 09:28:00 UTC 2026-03-02 10:13:00 UTC 45 min", `route="_other" 55% 9 900 40%`,
	} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	chart := find(parse(t, page), func(n *html.Node) bool { return attr(n, "id") == "charts" })[0]
	if all := s.histories(t, "/"+attr(chart, "data-history")); len(all) != 1 || all[0].Labels["route"] != "/pay" {
		t.Errorf("the chart asks for %s", attr(chart, "data-history"))
	}
	// Noon is missing: the drawing says so, and draws no line there.
	_, page, _ = ask(s.h, "GET", "/slo?slo=a/b+%3Cc%3E")
	if gaps := find(parse(t, page), byClass("rect", "gap")); len(gaps) < 2 {
		t.Errorf("%d gaps are drawn of the hours that are missing", len(gaps))
	}
	chart = find(parse(t, page), func(n *html.Node) bool { return attr(n, "id") == "charts" })[0]
	if all := s.histories(t, "/"+attr(chart, "data-history")); len(all) != 1 || all[0].SLO != "a/b <c>" {
		t.Errorf("the chart asks for %s", attr(chart, "data-history"))
	}
	_, page, _ = ask(s.h, "GET", "/?q=checkout")
	if sparks := find(parse(t, page), byClass("svg", "spark")); len(sparks) != 1 || !strings.Contains(attr(sparks[0], "aria-label"), "from 1") {
		t.Errorf("sparks: %d", len(sparks))
	}
}

// BenchmarkOverview is the first page over HTTP with many budgets, as browsers ask for it: of every
// ten requests one is the first after a tick, three search, one unfolds, one asks for another state.
// p95-ms is the time in which 95 of 100 were answered whole, wire-KB what the largest answer took.
func BenchmarkOverview(b *testing.B) {
	for _, f := range []struct{ slos, groups int }{{100, 100}, {10_000, 1}, {1, 10_000}} {
		b.Run(fmt.Sprintf("groups=%d/slos=%d", f.slos*f.groups, f.slos), func(b *testing.B) {
			e, r := engineOf(b, groupsOf(f.slos, f.groups))
			s := web.New(web.Options{Look: func(_ context.Context, look func(*slo.Engine)) error { look(e); return nil }})
			server := httptest.NewServer(s.Handler())
			defer server.Close()
			var took []time.Duration
			largest := int64(0)
			queries := []string{"", "", "?q=0042", "?q=team-7", "?open=slo-00000", "", "?state=firing", "?q=slo+items", "", ""}
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				if i%len(queries) == 0 {
					b.StopTimer()
					next := *r
					next.Time = r.Time.Add(time.Duration(i) * time.Second)
					if err := s.Write(b.Context(), &next); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+"/"+queries[i%len(queries)], nil)
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("Accept-Encoding", "gzip")
				began := time.Now()
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, res.Body)
				res.Body.Close()
				took = append(took, time.Since(began))
				if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Encoding") != "gzip" || n < 1000 {
					b.Fatalf("%s: %s, %d bytes, %v", req.URL, res.Status, n, err)
				}
				largest = max(largest, n)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			b.ReportMetric(float64(largest)/1000, "wire-KB")
		})
	}
}

// engineOf is an engine with the same budgets and a day of traffic, so that sparks are drawn, and
// what it says of them.
func engineOf(b *testing.B, of *sinks.Report) (*slo.Engine, *sinks.Report) {
	b.Helper()
	e, err := slo.NewEngine(30 * time.Second)
	if err != nil {
		b.Fatal(err)
	}
	var objectives []slo.Objective
	for i := range of.SLOs {
		if o := of.SLOs[i].Objective; i == 0 || o != of.SLOs[i-1].Objective {
			objectives = append(objectives, *o)
		}
	}
	e.Set(objectives)
	from := sinktest.Time.Add(-slo.Day)
	for at := from; at.Before(sinktest.Time); at = at.Add(6 * time.Hour) {
		span := slo.Span{From: at, To: at.Add(6 * time.Hour)}
		var samples []slo.Sample
		for i := range of.SLOs {
			st := &of.SLOs[i]
			if i == 0 || st.Objective != of.SLOs[i-1].Objective {
				samples = append(samples, slo.Sample{SLO: st.Objective.Name, Span: span, Covered: []slo.Span{span}, Newest: span.To})
			}
			last := &samples[len(samples)-1]
			g := slo.GroupSample{Labels: st.Labels}
			for _, after := range []time.Duration{time.Hour, 3 * time.Hour, 6*time.Hour - 30*time.Second} {
				g.Increments = append(g.Increments, slo.Increment{At: at.Add(after), Total: 10000, Bad: 10000 * st.Windows[2].ErrorRatio.Float})
			}
			last.Groups = append(last.Groups, g)
		}
		if err := e.Observe(samples...); err != nil {
			b.Fatal(err)
		}
	}
	r := &sinks.Report{Time: sinktest.Time, SLOs: e.Evaluate(sinktest.Time)}
	if len(r.SLOs) != len(of.SLOs) {
		b.Fatalf("%d budgets, want %d", len(r.SLOs), len(of.SLOs))
	}
	return e, r
}
