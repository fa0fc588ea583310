package web_test

import (
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
)

// judged is a service that lacks a runbook, and whose data is known once there is a report.
func judged(r *sinks.Report) ([]sinks.ServiceReadiness, bool) {
	data := sinks.ReadinessCheck{Check: "data", State: sinks.ReadinessUnknown, Text: "nobody was asked"}
	if r != nil {
		data = sinks.ReadinessCheck{Check: "data", State: sinks.ReadinessOK, Text: "counted"}
	}
	return []sinks.ServiceReadiness{
		{Service: "checkout <b>", Checks: []sinks.ReadinessCheck{
			{Check: "runbook", State: sinks.ReadinessMissing, Text: "write runbook_url under <services>"}, data,
		}},
		{Service: "mail", Ready: true, Checks: []sinks.ReadinessCheck{{Check: "runbook", State: sinks.ReadinessOK, Text: "every alert carries one"}, data}},
	}, true
}

// The page and the API say the same, and what is unknown is never ok.
func TestReadiness(t *testing.T) {
	for _, f := range []struct {
		name   string
		report *sinks.Report
		data   string // of both services
		timed  bool
	}{
		{"before the first report", nil, "unknown", false},
		{"with a report", sinktest.Report(), "ok", true},
	} {
		h := face(t, web.Options{Readiness: judged}, f.report)
		status, body, _ := ask(h, "GET", "/api/v1/readiness")
		var got sinks.JSONReadiness
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
			t.Fatalf("%s: %d %v: %s", f.name, status, err, body)
		}
		if (got.Time != nil) != f.timed || len(got.Services) != 2 || string(got.Services[0].Checks[1].State) != f.data {
			t.Errorf("%s: got %s", f.name, body)
		}
		status, page, header := ask(h, "GET", "/readiness", "Accept", "text/html")
		if status != 200 || !strings.HasPrefix(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: page: %d %v", f.name, status, header)
		}
		root := parse(t, page)
		var rows []string
		for _, n := range find(root, func(n *html.Node) bool { return n.Data == "tr" && attr(n, "data-service") != "" }) {
			rows = append(rows, words(n))
		}
		want := "checkout <b> no missing " + f.data + " | mail yes ok " + f.data
		if strings.Join(rows, " | ") != want {
			t.Errorf("%s: got %q, want %q", f.name, rows, want)
		}
		if said := words(root); !strings.Contains(said, "runbook : write runbook_url under <services>") {
			t.Errorf("%s: nobody says what to do: %s", f.name, said)
		}
	}
	h := face(t, web.Options{}, sinktest.Report())
	if status, _, _ := ask(h, "GET", "/api/v1/readiness"); status != 503 {
		t.Errorf("where nobody can say: %d, want 503", status)
	}
	if _, page, _ := ask(h, "GET", "/readiness"); !strings.Contains(page, "Nothing is known of the services here") {
		t.Error("where nobody can say the page does not say so")
	}
}
