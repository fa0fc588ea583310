package web_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

func TestPage(t *testing.T) {
	_, page, _ := ask(face(t, web.Options{Version: "1.2.3"}, sinktest.Report()), "GET", "/")
	for _, part := range []string{
		"<title>1 firing, 2 fine · yoyu</title>",
		`<link rel="icon" type="image/svg+xml" href="firing.svg">`,
		`<noscript><meta http-equiv="refresh" content="30"></noscript>`,
		`<time datetime="2026-01-02T00:00:00Z">`,
		`<a href="slo?slo=checkout-availability">checkout-availability</a>`,
		`<a class="runbook" href="https://runbooks/checkout" rel="noreferrer">`,
		`<a href="slo?slo=search-latency&amp;route=%2Fitems">search-latency<span class="group">route=&#34;/items&#34;</span></a>`,
		`<rect class="fill" width="75" height="8"/>`,
		"yoyu 1.2.3",
		`<data value="0.0455" data-of="total_hourly_savings" data-with="gate=&#34;blocked&#34;">33.21 USD</data>`,
		`<data value="0.0020625" data-of="total_hourly_cost">1.51 USD</data>`,
		"1 urgent raise",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q in\n%s", part, page)
		}
	}
	want := []map[string]string{
		{"state": "firing", "name": "checkout-availability checkout · payments · 99.9% over 30d · runbook", "left": "75%",
			"burn 5m": "20.0", "burn 30m": "19.0", "burn 1h": "18.0", "burn 2h": "9.5", "burn 6h": "3.5", "burn 1d": "1.25", "burn 3d": "0.5",
			"spent": "spent in 18 days", "known": "known 99.9%", "alerts": "page",
			"note": "Budget policy below 80%: review risky changes\nCorrected: db-move (drop, 1h, approximate), nightly (good, 10m, now)"},
		{"state": "fine", "name": `search-latency route="/items" search · discovery · 99% over month`, "left": "75%",
			"burn 5m": "0", "burn 30m": "0", "burn 1h": "0", "burn 2h": "0.5", "burn 6h": "0.5", "burn 1d": "0.25", "burn 3d": "0.25",
			"spent": "spent in –", "known": "known 100%", "alerts": "none", "fold": "1 more group 1 fine"},
	}
	if got := budgetRows(t, page); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", lines(got), lines(want))
	}
	_, page, _ = ask(face(t, web.Options{}, sinktest.Report()), "GET", "/?open=search-latency")
	got := budgetRows(t, page)
	if len(got) != 3 || got[2]["name"] != `route="_other"` || got[2]["left"] != "100%" || got[2]["fold"] != "Fold the groups" {
		t.Errorf("unfolded: got\n%s", lines(got))
	}
}

// lines prints rows below each other.
func lines(rows []map[string]string) string {
	var out strings.Builder
	for _, row := range rows {
		for _, name := range slices.Sorted(maps.Keys(row)) {
			fmt.Fprintf(&out, "%s: %q  ", name, row[name])
		}
		out.WriteString("\n")
	}
	return out.String()
}

// The states in the order of their urgency, whatever the order of the report.
func TestPageOrder(t *testing.T) {
	status := func(name string, hour, period float64) slo.Status {
		o := sinktest.Objective(name, "s", "99.9", slo.RollingPeriod(30*slo.Day))
		counts := map[string]sinktest.Counts{"30d": {Total: 1e6, Bad: period, Coverage: 1}}
		if hour >= 0 {
			for _, w := range []string{"5m", "1h"} {
				counts[w] = sinktest.Counts{Total: 1e5, Bad: hour, Coverage: 1}
			}
		}
		return sinktest.Status(o, nil, counts)
	}
	unknown := sinktest.Unknown().SLOs[0]
	grouped := sinktest.Objective("grouped", "s", "99.9", slo.RollingPeriod(30*slo.Day))
	grouped.GroupBy = []string{"zone"}
	quiet, loud := status("", 0, 50), status("", 200, 50)
	quiet.Objective, quiet.Labels = grouped, []string{"a"}
	loud.Objective, loud.Labels = grouped, []string{"b"}

	r := &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{
		unknown, status("fine", 0, 100), quiet, loud, status("spent", 0, 1100), status("low", 0, 800), status("silent", -1, 100),
		status("burning", 120, 300), status("burning-spent", 120, 2000), status("firing", 5000, 100), status("half", 0, 500),
	}}
	_, page, _ := ask(face(t, web.Options{}, r), "GET", "/?open=grouped")
	var got []string
	for _, row := range budgetRows(t, page) {
		name, _, _ := strings.Cut(row["name"], " s ·")
		name, _, _ = strings.Cut(name, " cart ·")
		got = append(got, name+": "+row["state"])
	}
	want := []string{
		"firing: firing",
		"burning-spent: burning, spent", "burning: burning",
		`grouped zone="b": burning`, `zone="a": fine`,
		"spent: spent", "low: low", "half: fine", "fine: fine", "silent: no data", "carts: no data",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, part := range []string{
		"<title>1 firing, 3 burning, 2 low, 2 no data, 3 fine · yoyu</title>",
		"histogram has no bucket 0.25: the bounds around it are 0.1 and 0.5",
		"The source has answered for nothing of the last hour; newest sample 2026-01-01T23:59:50Z",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q in\n%s", part, page)
		}
	}
}

// The icon and the title say the worst, and not to know is worse than fine.
func TestPageWorstState(t *testing.T) {
	fine := sinktest.Report()
	fine.SLOs = fine.SLOs[1:]
	half := sinktest.Report()
	half.SLOs = append(half.SLOs[1:], sinktest.Unknown().SLOs...)
	for _, f := range []struct {
		name        string
		report      *sinks.Report
		icon, title string
	}{
		{"an alert fires", sinktest.Report(), "firing", "1 firing, 2 fine"},
		{"all is well", fine, "fine", "2 fine"},
		{"one is not known", half, "unknown", "1 no data, 2 fine"},
		{"none is known", sinktest.Unknown(), "unknown", "1 no data"},
		{"there is none", sinktest.Empty(), "unknown", "no SLOs"},
		{"no report yet", nil, "unknown", "no data"},
	} {
		_, page, _ := ask(face(t, web.Options{}, f.report), "GET", "/")
		if !strings.Contains(page, `href="`+f.icon+`.svg"`) || !strings.Contains(page, "<title>"+f.title+" · yoyu</title>") {
			t.Errorf("%s: want icon %s and title %s in\n%s", f.name, f.icon, f.title, page)
		}
	}
}

// Names that somebody will choose one day.
func TestPageEscapes(t *testing.T) {
	const evil = `"><script>alert(1)</script>`
	o := sinktest.Objective(evil, evil, "99", slo.RollingPeriod(30*slo.Day))
	o.GroupBy = []string{"route"}
	o.RunbookURL = "javascript:alert(1)"
	st := sinktest.Status(o, []string{evil}, nil)
	st.Note = evil
	st.Alerts[0].Severity, st.Alerts[0].Firing = evil, true
	r := &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{st}, Workloads: []rightsizing.Workload{{
		Namespace: evil, Kind: evil, Name: evil, VPA: evil, UpdateMode: evil, Services: []string{evil}, Containers: []rightsizing.Container{{Name: evil}},
	}}}
	h := face(t, web.Options{Version: evil, Ready: func() error { return errors.New(evil) }}, r)
	_, page, _ := ask(h, "GET", "/")
	const same = "slo=%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E"
	for _, target := range []string{"/", "/slo?" + same, "/explain?" + same, "/rightsizing", "/slo?slo=" + "%3Cscript%3Ealert(1)", "/?q=%22%3E%3Cscript%3E"} {
		_, page, _ := ask(h, "GET", target, "Accept", "text/html")
		for _, n := range find(parse(t, page), func(n *html.Node) bool { return true }) {
			if n.Data == "script" && (n.FirstChild != nil || !strings.HasPrefix(attr(n, "src"), "theme.js?") && !strings.HasPrefix(attr(n, "src"), "page.js?") &&
				!strings.HasPrefix(attr(n, "src"), "charts.js?") && !strings.HasPrefix(attr(n, "src"), "uPlot.iife.min.js?")) {
				t.Errorf("%s: a script that is not ours: %v", target, n.Attr)
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
					t.Errorf("%s: <%s %s=%q>", target, n.Data, a.Key, a.Val)
				}
			}
		}
	}
	if strings.Count(page, "&lt;script&gt;") < 10 {
		t.Errorf("names are not shown:\n%s", page)
	}
	const link = `href="slo?slo=%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E&amp;route=%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E"`
	if !strings.Contains(page, link) {
		t.Errorf("no %s in\n%s", link, page)
	}
	for _, target := range []string{"/api/v1/slos", "/api/v1/alerts", "/api/v1/rightsizing", "/explain?slo=" + "%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E"} {
		status, _, header := ask(h, "GET", target)
		if kind := header.Get("Content-Type"); status != 200 || strings.Contains(kind, "html") || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d, a browser may take %q for a page", target, status, kind)
		}
	}
}

// Odd and large reports make whole pages: every tag is closed, nothing says NaN or null.
func TestPageIsWhole(t *testing.T) {
	for name, r := range map[string]*sinks.Report{
		"typical": sinktest.Report(), "empty": sinktest.Empty(), "unknown": sinktest.Unknown(), "odd": sinktest.Odd(), "large": sinktest.Large(200), "none": nil,
	} {
		_, page, _ := ask(face(t, web.Options{}, r), "GET", "/")
		in := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(page, "<!DOCTYPE html>\n")))
		in.Strict, in.AutoClose, in.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
		depth := 0
		for {
			token, err := in.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			switch token.(type) {
			case xml.StartElement:
				depth++
			case xml.EndElement:
				depth--
			}
		}
		if depth != 0 || !strings.HasSuffix(page, "</html>\n") {
			t.Errorf("%s: %d tags are open at the end", name, depth)
		}
		for _, bad := range []string{"NaN", "Inf", "nil", "%!", "ZgotmplZ", "<no value>", " style="} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page says %q", name, bad)
			}
		}
	}
}

func TestPageWorkloads(t *testing.T) {
	r := sinktest.Empty()
	shows := func(target, part string) {
		t.Helper()
		if _, page, _ := ask(face(t, web.Options{}, r), "GET", target); !strings.Contains(page, part) {
			t.Errorf("%s: no %q in\n%s", target, part, page)
		}
	}
	shows("/", "No SLOs are configured.")
	shows("/rightsizing", "No cluster source is configured")
	if _, page, _ := ask(face(t, web.Options{}, r), "GET", "/"); strings.Contains(page, "Room in the workloads") {
		t.Errorf("workloads without a cluster source:\n%s", page)
	}
	r.Workloads = []rightsizing.Workload{}
	shows("/", "No workload has a VerticalPodAutoscaler.")
	shows("/rightsizing", "No workload has a VerticalPodAutoscaler.")
	w := sinktest.Workload()
	w.Services = []string{"checkout", "", "nobody", "checkout"}
	w.Containers = append(w.Containers, rightsizing.Container{Name: "side", CPU: rightsizing.Resource{
		Request: slo.Defined(0.01), Target: slo.Defined(0.01), Headroom: slo.Defined(0),
	}})
	r.Workloads = []rightsizing.Workload{w, {Namespace: "n", Kind: "Job", Name: "bare"}}
	r.SLOs = sinktest.Report().SLOs
	_, page, _ := ask(face(t, web.Options{}, r), "GET", "/rightsizing")
	shown := find(parse(t, page), byClass("details", "workload"))
	if len(shown) != 2 {
		t.Fatalf("%d workloads, want 2:\n%s", len(shown), page)
	}
	first, second := words(shown[0]), words(shown[1])
	for _, part := range []string{
		"raise, urgent checkout shop · Deployment · 3 pods",
		"App needs 384 MiB of memory instead of 256 MiB, because it was killed for lack of memory within a day.",
		"checkout firing , nobody", "+ 1.51 USD a month", "VPA checkout-vpa (Off)", "Budget at risk 11.6%",
		"Request 0.5 Limit 1 Proposed 0.2 Proposed limit 1 Recommended 0.2 Band 0.1 to 0.8 Headroom 0.3 to spare",
		"Request 256 MiB Limit 512 MiB Proposed 384 MiB Proposed limit 512 MiB Recommended 384 MiB Band 128 MiB to 1 GiB Headroom 128 MiB short",
		"side", "Request 0.01 Limit – Proposed – Proposed limit – Recommended 0.01 Band – to – Headroom just right",
		"over_provisioned app cpu", "oom_killed app memory",
		"kubectl patch deployment checkout --namespace shop --type json --patch '[",
	} {
		if !strings.Contains(first, part) {
			t.Errorf("no %q in\n%s", part, first)
		}
	}
	if !strings.Contains(second, "bare n · Job · 0 pods") || !strings.Contains(second, "no service") || !strings.Contains(second, "Nothing is known of its containers.") {
		t.Errorf("a bare workload: %s", second)
	}
	shows("/slo?slo=checkout-availability", `data-workload="checkout"`)
	shows("/rightsizing?verdict=shrink", "None fits.")
}

// How numbers are said: in words where that is shorter, rounded to the careful side.
func TestPageNumbers(t *testing.T) {
	o := sinktest.Objective("it", "s", "99.9", slo.RollingPeriod(30*slo.Day))
	for _, f := range []struct {
		name                  string
		remaining, exhaustion float64
		burn, coverage        float64
		left, spent           string
		rate, covered         string
	}{
		{"untouched", 1, -1, 0, 1, "100%", "–", "0", "100%"},
		{"the least is gone", 0.99999, -1, 0.001, 0.99999, "99.9%", "–", "<0.01", "99.9%"},
		{"a quotient's last bits", 0.29 - 1e-16, -1, 0.5, 0.5, "29%", "–", "0.5", "50%"},
		{"half a day", 0.5, 12*3600 + 3599, 1.255, 1, "50%", "12 h", "1.25", "100%"},
		{"almost two days", 0.5, 48*3600 - 1, 14.4, 1, "50%", "47 h", "14.4", "100%"},
		{"days", 0.5, 3.9 * 86400, 144.4, 1, "50%", "3 days", "144", "100%"},
		{"minutes", 0.01, 119, 1000, 1, "1%", "1 min", "1000", "100%"},
		{"seconds", 0.0001, 59.9, 2, 1, "0%", "under 1 min", "2", "100%"},
		{"spent", 0, 0, 2, 1, "0%", "spent", "2", "100%"},
		{"overspent by the least", -0.00001, 0, 2, 1, "-0.1%", "spent", "2", "100%"},
		{"overspent", -48.3, 0, 2, 1, "-4830%", "spent", "2", "100%"},
	} {
		st := slo.Status{Objective: o, At: sinktest.Time, Windows: []slo.Window{
			{Key: "1h", Length: time.Hour, Total: 1, Coverage: 1, BurnRate: slo.Defined(f.burn)},
			{Key: "30d", Length: 30 * slo.Day, IsPeriod: true, Total: 1000, Coverage: f.coverage},
		}}
		st.Budget.RemainingRatio = f.remaining
		if f.exhaustion >= 0 {
			st.Budget.Exhaustion = slo.Defined(f.exhaustion)
		}
		_, page, _ := ask(face(t, web.Options{}, &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{st}}), "GET", "/")
		row := budgetRows(t, page)[0]
		spentIn := f.spent
		if spentIn != "spent" {
			spentIn = "spent in " + spentIn
		}
		for column, want := range map[string]string{"left": f.left, "spent": spentIn, "burn 1h": f.rate, "known": "known " + f.covered, "burn 5m": "–"} {
			if row[column] != want {
				t.Errorf("%s: %s is %q, want %q", f.name, column, row[column], want)
			}
		}
	}
}
