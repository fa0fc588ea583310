package web_test

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

var (
	rows  = regexp.MustCompile(`(?s)<tr[^>]*>.*?</tr>`)
	cells = regexp.MustCompile(`(?s)<t[dh][^>]*data-label="([^"]*)"[^>]*>(.*?)</t[dh]>`)
	tags  = regexp.MustCompile(`<[^>]*>`)
)

// pageRows reads the rows of the page: each a map from the column to the words in it.
func pageRows(page string) []map[string]string {
	var out []map[string]string
	for _, row := range rows.FindAllString(page, -1) {
		got := map[string]string{}
		for _, cell := range cells.FindAllStringSubmatch(row, -1) {
			got[cell[1]] = strings.TrimSpace(tags.ReplaceAllString(cell[2], ""))
		}
		if len(got) > 0 {
			out = append(out, got)
		}
	}
	return out
}

func TestPage(t *testing.T) {
	_, page, _ := ask(face(t, web.Options{Version: "1.2.3"}, sinktest.Report()), "GET", "/")
	for _, part := range []string{
		"<title>1 firing, 2 fine · yoyu</title>",
		`<link rel="icon" type="image/svg+xml" href="firing.svg">`,
		`<meta http-equiv="refresh" content="30">`,
		`<time datetime="2026-01-02T00:00:00Z">`,
		`<a href="explain?slo=checkout-availability">checkout-availability</a>`,
		`<a class="runbook" href="https://runbooks/checkout" rel="noreferrer">`,
		`<a href="explain?slo=search-latency&amp;route=%2Fitems">route=&#34;/items&#34;</a>`,
		`value="0.75" aria-hidden="true"></meter> 75%`,
		"yoyu 1.2.3",
		"A month in USD: 0.00 safe to give back, 33.21 blocked by an error budget, 0.00 that no SLO watches; 1.51 more to spend.",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q in\n%s", part, page)
		}
	}
	want := []map[string]string{
		{"State": "firing", "SLO": "checkout-availability runbook", "Service": "checkout", "Objective": "99.9%", "Period": "30d", "Budget left": "75%",
			"Burn 5m": "20.0", "Burn 1h": "18.0", "Burn 6h": "3.5", "Burn 3d": "0.5", "Spent in": "18 days", "Coverage": "99.9%", "Alerts firing": "page"},
		{"State": "fine", "SLO": "search-latency", "Service": "search", "Objective": "99%", "Period": "month", "Groups": "2 groups"},
		{"State": "fine", "Group": "route=&#34;/items&#34;", "Budget left": "75%",
			"Burn 5m": "0", "Burn 1h": "0", "Burn 6h": "0.5", "Burn 3d": "0.25", "Spent in": "–", "Coverage": "100%", "Alerts firing": "none"},
		{"State": "fine", "Group": "route=&#34;_other&#34;", "Budget left": "100%",
			"Burn 5m": "0", "Burn 1h": "0", "Burn 6h": "0", "Burn 3d": "0", "Spent in": "–", "Coverage": "100%", "Alerts firing": "none"},
		{"Workload": "shop/checkout Deployment", "Services": "checkout firing",
			"Verdict": "raise, urgent app needs 384 MiB of memory instead of 256 MiB, because it was killed for lack of memory within a day.", "Replicas": "3", "VPA": "checkout-vpa (Off)", "Container": "app",
			"CPU request": "0.5", "CPU recommended": "0.2 0.1 to 0.8", "CPU headroom": "0.3 to spare",
			"Memory request": "256 MiB", "Memory recommended": "384 MiB 128 MiB to 1 GiB", "Memory headroom": "128 MiB short"},
	}
	got := pageRows(page)
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d: %v", len(got), len(want), got)
	}
	for i := range want {
		for column, text := range want[i] {
			if got[i][column] != text {
				t.Errorf("row %d, %s: %q, want %q", i, column, got[i][column], text)
			}
		}
		if len(got[i]) != len(want[i]) {
			t.Errorf("row %d: columns %v, want %v", i, got[i], want[i])
		}
	}
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
	_, page, _ := ask(face(t, web.Options{}, r), "GET", "/")
	var got []string
	for _, row := range pageRows(page) {
		got = append(got, row["SLO"]+row["Group"]+": "+row["State"])
	}
	want := []string{
		"firing: firing",
		"burning-spent: burning, spent", "burning: burning",
		"grouped: burning", "zone=&#34;b&#34;: burning", "zone=&#34;a&#34;: fine",
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
	if strings.Contains(page, "<script") || strings.Contains(page, "javascript:") || strings.Count(page, "&lt;script&gt;") < 10 {
		t.Errorf("not escaped:\n%s", page)
	}
	const link = `href="explain?slo=%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E&amp;route=%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E"`
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
	if _, page, _ := ask(face(t, web.Options{}, r), "GET", "/"); strings.Contains(page, "Workloads") || !strings.Contains(page, "No SLOs are configured.") {
		t.Errorf("workloads without a cluster source:\n%s", page)
	}
	r.Workloads = []rightsizing.Workload{}
	if _, page, _ := ask(face(t, web.Options{}, r), "GET", "/"); !strings.Contains(page, "No workload has a VerticalPodAutoscaler.") {
		t.Errorf("a cluster without VPAs:\n%s", page)
	}
	w := sinktest.Workload()
	w.Services = []string{"checkout", "", "nobody", "checkout"}
	w.Containers = append(w.Containers, rightsizing.Container{Name: "side", CPU: rightsizing.Resource{
		Request: slo.Defined(0.01), Target: slo.Defined(0.01), Headroom: slo.Defined(0),
	}})
	r.Workloads = []rightsizing.Workload{w, {Namespace: "n", Kind: "Job", Name: "bare"}}
	_, page, _ := ask(face(t, web.Options{}, r), "GET", "/")
	got := pageRows(page)
	if len(got) != 3 || got[0]["Services"] != "checkout, nobody" || got[1]["Container"] != "side" || got[1]["Workload"] != "" ||
		got[1]["CPU headroom"] != "just right" || got[1]["Memory headroom"] != "–" || got[2]["Workload"] != "n/bare Job" || got[2]["Container"] != "–" {
		t.Errorf("got %v", got)
	}
	if !strings.Contains(page, `rowspan="2"`) {
		t.Error("the workload does not span its containers")
	}
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
		{"the least is gone", 0.99999, -1, 0.001, 0.99999, "99.9%", "–", "&lt;0.01", "99.9%"},
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
		row := pageRows(page)[0]
		for column, want := range map[string]string{"Budget left": f.left, "Spent in": f.spent, "Burn 1h": f.rate, "Coverage": f.covered, "Burn 5m": "–"} {
			if row[column] != want {
				t.Errorf("%s: %s is %q, want %q", f.name, column, row[column], want)
			}
		}
	}
}

func BenchmarkPageOf1000SLOs(b *testing.B) {
	s := web.New(web.Options{})
	if err := s.Write(b.Context(), sinktest.Large(1000)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		ask(s.Handler(), "GET", "/")
	}
}
