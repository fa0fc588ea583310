package web_test

import (
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// gated is a report of four SLOs of the shop: one untouched, one that wants a review, one per route
// of which one froze, and one whose source fell silent.
func gated() *sinks.Report {
	policy := slo.BudgetPolicy{MinEvents: 1000, Steps: []slo.BudgetStep{
		{Below: sinktest.Share("50"), Action: "review risky changes"},
		{Below: sinktest.Share("0"), Action: "feature freeze", Closed: true},
	}}
	objective := func(name string) *slo.Objective {
		o := sinktest.Objective(name, "shop", "99", slo.RollingPeriod(30*slo.Day))
		o.BudgetPolicy = policy
		return o
	}
	counts := func(bad float64, hour float64) map[string]sinktest.Counts {
		return map[string]sinktest.Counts{"1h": {Total: 100, Coverage: hour}, "30d": {Total: 10000, Bad: bad, Coverage: 0.5}}
	}
	grouped := objective("grouped")
	grouped.GroupBy = []string{"route"}
	grouped.RunbookURL = "https://runbooks/shop"
	return &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{
		sinktest.Status(objective("fine"), nil, counts(0, 1)),
		sinktest.Status(grouped, []string{"/items"}, counts(10, 1)),
		sinktest.Status(grouped, []string{"/pay"}, counts(120, 1)),
		sinktest.Status(objective("review"), nil, counts(60, 1)),
		sinktest.Status(objective("silent"), nil, counts(0, 0)),
		sinktest.Status(objective("new"), nil, map[string]sinktest.Counts{"1h": {Total: 10, Bad: 9, Coverage: 1}, "30d": {Total: 10, Bad: 9, Coverage: 0.001}}),
	}}
}

func TestGate(t *testing.T) {
	h := face(t, web.Options{}, gated())
	for _, f := range []struct {
		query  string
		status int
		parts  []string
	}{
		{"slo=fine", 200, []string{`"gate":"open","reason":"fine: 100% of the error budget left","budgets":[`, `"cause":"budget_allows"`, `"step":null`}},
		{"slo=review", 200, []string{`"reason":"review: 40% of the error budget left, budget policy: review risky changes"`,
			`"step":{"below":"50%","action":"review risky changes","gate":"open"}`}},
		{"slo=grouped", 409, []string{`"gate":"closed","reason":"grouped{route=\"/pay\"}: -20% of the error budget left, budget policy: feature freeze"`,
			`"budgets":[{"slo":"grouped","service":"shop","labels":{"route":"/pay"},"gate":"closed","cause":"budget"`,
			`"remaining_ratio":-0.19999999999999996`, `"step":{"below":"0%","action":"feature freeze","gate":"closed"},"total":10000,"known_ratio":0.5,"newest":"2026-01-01T23:59:50Z","runbook_url":"https://runbooks/shop"`}},
		{"slo=grouped&route=%2Fitems", 200, []string{`"gate":"open"`, `"labels":{"route":"/items"}`}},
		{"slo=grouped&route=%2Fpay", 409, []string{`"labels":{"route":"/pay"}`}},
		{"slo=silent", 409, []string{`"cause":"data_missing"`, `"reason":"silent: data missing: the source has answered for nothing of the last hour`}},
		{"slo=new", 200, []string{`"cause":"early"`, `too little is known for the budget to act: 0.1% of the period 30d and 10 events, of at least 10% or 1000 events`}},
		{"slo=fine&slo=review", 200, []string{`"reason":"none of 2 budgets forbids it"`}},
		{"service=shop", 409, []string{`feature freeze; silent: data missing`}},
		{"slo=grouped&route=%2Fnone", 404, []string{`group route=%2Fnone: unknown`}},
		{"slo=fin", 404, []string{`slo \"fin\": unknown, did you mean \"fine\"?`}},
		{"slo=", 404, []string{`slo \"\": unknown`}},
		{"service=shp", 404, []string{`did you mean \"shop\"?`}},
		{"", 400, []string{`name an SLO or a service, as in /api/v1/gate?slo=NAME`}},
		{"route=%2Fpay", 400, []string{`name an SLO`}},
		{"slo=fine&rout=x", 400, []string{`neither slo, service nor a label to group by`}},
	} {
		status, body, header := ask(h, "GET", "/api/v1/gate?"+f.query)
		if status != f.status || header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: status %d, want %d; %v in %s", f.query, status, f.status, header, body)
		}
		for _, part := range f.parts {
			if !strings.Contains(body, part) {
				t.Errorf("%s: no %s in\n%s", f.query, part, body)
			}
		}
	}
	if status, body, _ := ask(face(t, web.Options{}, nil), "GET", "/api/v1/gate?slo=fine"); status != 503 || !strings.Contains(body, "no report yet") {
		t.Errorf("before the first report: %d %s", status, body)
	}
	if status, _, _ := ask(h, "HEAD", "/api/v1/gate?slo=grouped"); status != 409 {
		t.Errorf("HEAD: %d", status)
	}
}

// A name of nobody and a name of somebody, but of another service: an empty answer is no leave.
func TestGateOfNothing(t *testing.T) {
	r := gated()
	r.SLOs = append(r.SLOs, sinktest.Status(sinktest.Objective("other", "search", "99", slo.RollingPeriod(7*slo.Day)), nil, nil))
	if status, body, _ := ask(face(t, web.Options{}, r), "GET", "/api/v1/gate?slo=fine&service=search"); status != 404 {
		t.Errorf("%d %s", status, body)
	}
}

// Page and explanation say the same as the gate.
func TestBudgetPolicyIsShown(t *testing.T) {
	h := face(t, web.Options{}, gated())
	_, page, _ := ask(h, "GET", "/")
	for _, part := range []string{
		"Budget policy below 50%: review risky changes</td>",
		"Budget policy below 0%: feature freeze; the gate for risky changes is closed</td>",
		"The gate for risky changes is closed while data is missing</td>",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q on the page", part)
		}
	}
	for slo, want := range map[string]string{
		"review": "\nError budget policy\n  below 50%: review risky changes (in force)\n  below 0%: feature freeze, gate closed\n" +
			"  gate open: 40% of the error budget left, budget policy: review risky changes\n",
		"fine": "\nError budget policy\n  below 50%: review risky changes\n  below 0%: feature freeze, gate closed\n  gate open: 100% of the error budget left\n",
	} {
		if _, body, _ := ask(h, "GET", "/explain?slo="+slo); !strings.Contains(body, want) {
			t.Errorf("no\n%s in\n%s", want, body)
		}
	}
	_, body, _ := ask(h, "GET", "/api/v1/slos?slo=review")
	if want := `"budget_policy":{"below":"50%","action":"review risky changes","gate":"open"}}`; !strings.Contains(body, want) {
		t.Errorf("no %s in %s", want, body)
	}
}

// The family joins: at most one series for each budget, and none while the budget does not act.
func TestBudgetPolicyAsSeries(t *testing.T) {
	var got []string
	for p := range gated().Points(sinks.Selection{Families: []*sinks.Family{sinks.SLOBudgetPolicy}}) {
		text := ""
		for _, l := range p.Labels {
			text += l.Name + "=" + l.Value + " "
		}
		got = append(got, text)
	}
	want := []string{
		"slo=grouped service=shop route=/pay action=feature freeze below=0% gate=closed ",
		"slo=review service=shop action=review risky changes below=50% gate=open ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// What corrections take out of the numbers is said wherever the numbers are, and how exactly.
func TestCorrectionsAreShown(t *testing.T) {
	h := face(t, web.Options{}, sinktest.Report())
	_, page, _ := ask(h, "GET", "/")
	if want := "Corrected: db-move (drop, 1h, approximate), nightly (good, 10m, now)</td>"; !strings.Contains(page, want) {
		t.Errorf("no %q on the page", want)
	}
	_, body, _ := ask(h, "GET", "/explain?slo=checkout-availability")
	want := "\nCorrections of 30d: what they take is in no number above or below.\n" +
		"  db-move (drop): once (2025-12-31T00:00:00Z, 2025-12-31T01:00:00Z], 1h of the period; 4m of it in proportion to time, the source could not be asked again\n" +
		"  nightly (good): once (2026-01-01T23:50:00Z, 2026-01-02T00:20:00Z], 10m of the period, also now\n" +
		"  total = events counted − taken out by corrections = 21630000 − 30000 = 21600000\n" +
		"  bad = bad events counted − taken out by corrections = 6600 − 1200 = 5400\n"
	if !strings.Contains(body, want) {
		t.Errorf("no\n%s in\n%s", want, body)
	}
	if _, body, _ := ask(h, "GET", "/explain?slo=search-latency"); strings.Contains(body, "Corrections") {
		t.Errorf("corrections of nobody in\n%s", body)
	}
	_, body, _ = ask(h, "GET", "/explain?slo=checkout-availability&format=json")
	if want := `"corrected":{"corrections":[{"name":"db-move","effect":"drop","active":false,"seconds":3600,"approximate_seconds":240,"when":"once (2025-12-31T00:00:00Z, 2025-12-31T01:00:00Z]"},`; !strings.Contains(body, want) {
		t.Errorf("no %s in %s", want, body)
	}
	_, body, _ = ask(h, "GET", "/api/v1/slos?slo=checkout-availability")
	if want := `"corrections":[{"name":"db-move","effect":"drop","active":false,"seconds":3600,"approximate_seconds":240},` +
		`{"name":"nightly","effect":"good","active":true,"seconds":600,"approximate_seconds":0}],"corrected":{"total":30000,"bad":1200}}`; !strings.Contains(body, want) {
		t.Errorf("no %s in %s", want, body)
	}
	_, body, _ = ask(h, "GET", "/api/v1/gate?slo=checkout-availability")
	if want := `"approximations":["correction db-move: 4m of 1h in proportion to time"]`; !strings.Contains(body, want) {
		t.Errorf("no %s in %s", want, body)
	}
}
