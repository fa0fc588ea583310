package web_test

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// described is the description as programs get it.
func described(t *testing.T, h http.Handler) *openapi3.T {
	t.Helper()
	status, body, header := ask(h, "GET", "/api/v1/openapi.json")
	if status != 200 || header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s", status, header)
	}
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		t.Fatal(err)
	}
	return doc
}

// strict has a schema know no fields but those it names. Programs must not be so strict: fields may
// be added. The description must be whole all the same.
func strict(ref *openapi3.SchemaRef, seen map[*openapi3.Schema]bool) {
	if ref == nil || seen[ref.Value] {
		return
	}
	s := ref.Value
	seen[s] = true
	if len(s.Properties) > 0 {
		no := false
		s.AdditionalProperties.Has = &no
	}
	for _, p := range s.Properties {
		strict(p, seen)
	}
	strict(s.Items, seen)
	strict(s.AdditionalProperties.Schema, seen)
	for _, one := range s.AllOf {
		strict(one, seen)
	}
}

// fits holds an answer against the description: its status, its type, and what is in it.
func fits(t *testing.T, doc *openapi3.T, method, pattern string, status int, header http.Header, body string) {
	t.Helper()
	where := fmt.Sprintf("%s %s: %d", method, pattern, status)
	item := doc.Paths.Find(pattern)
	if item == nil || item.GetOperation(method) == nil {
		t.Errorf("%s: not described", where)
		return
	}
	response := item.GetOperation(method).Responses.Status(status)
	if response == nil {
		t.Errorf("%s: no such answer is described: %s", where, body)
		return
	}
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	content := response.Value.Content.Get(kind)
	if content == nil {
		t.Errorf("%s: no answer of type %s is described", where, kind)
		return
	}
	if kind != "application/json" {
		return
	}
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	strict(content.Schema, map[*openapi3.Schema]bool{})
	if err := content.Schema.Value.VisitJSON(v, openapi3.VisitAsResponse(), openapi3.EnableFormatValidation()); err != nil {
		t.Errorf("%s: %v\nin %.2000s", where, err, body)
	}
}

// Every route but pages and their files is described, and every description has its route.
func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "up 1\n")
	})
	s := web.New(web.Options{Metrics: metrics})
	if err := s.Write(t.Context(), sinktest.Report()); err != nil {
		t.Fatal(err)
	}
	doc := described(t, s.Handler())
	var routes []string
	for _, route := range s.Routes() {
		method, path, _ := strings.Cut(route, " ")
		if item := doc.Paths.Find(path); item != nil && item.GetOperation(method) != nil {
			routes = append(routes, route)
			continue
		}
		_, _, header := ask(s.Handler(), method, strings.TrimSuffix(path, "{$}"), "Accept", "text/html")
		page := strings.HasPrefix(header.Get("Content-Type"), "text/html")
		file := method == "GET" && strings.HasPrefix(header.Get("Cache-Control"), "max-age=")
		if !page && !file {
			t.Errorf("%s: not described, and neither a page nor a file of one", route)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !slices.Contains(routes, method+" "+path) {
				t.Errorf("%s %s: described, and not there", method, path)
			}
		}
	}
}

// What is answered is as described, the good and the bad.
func TestOpenAPIFitsAnswers(t *testing.T) {
	s := newShop(t, 3)
	doc := described(t, s.h)
	inside := func(st *web.Status) {
		st.Started, st.Tick = s.now, 60
		st.Sources = append(st.Sources, web.StatusSource{Name: "a", Type: "scrape", Failures: map[string]float64{"timeout": 1}})
		st.Sinks = append(st.Sinks, web.StatusSink{Name: "b", Type: "datadog", Failures: map[string]float64{}, Dropped: map[string]float64{"busy": 2}})
	}
	external := &url.URL{Scheme: "https", Host: "yoyu.example.com"}
	early := face(t, web.Options{Inside: inside}, nil)
	typical := face(t, web.Options{Inside: inside, ExternalURL: external}, sinktest.Report())
	unknown := face(t, web.Options{}, sinktest.Unknown())
	closed := face(t, web.Options{}, spentReport(t))
	ready := face(t, web.Options{Readiness: judged}, sinktest.Report())
	newcomer := face(t, web.Options{Readiness: judged}, nil)
	tried := map[string]bool{}
	for _, f := range []struct {
		h       http.Handler
		pattern string
		rest    string // what makes an address of the pattern
		status  int
	}{
		{early, "/api/v1/slos", "", 200}, {typical, "/api/v1/slos", "", 200}, {unknown, "/api/v1/slos", "", 200}, {s.h, "/api/v1/slos", "", 200},
		{closed, "/api/v1/slos", "", 200}, {s.h, "/api/v1/slos", "?slo=nobody", 404}, {s.h, "/api/v1/slos", "?color=red", 400},
		{s.h, "/api/v1/slos/{slo}/history", "checkout", 200}, {s.h, "/api/v1/slos/{slo}/history", "maintained", 200},
		{s.h, "/api/v1/slos/{slo}/history", "a%2Fb%20%3Cc%3E", 200},
		{s.h, "/api/v1/slos/{slo}/history", "checkout?route=/pay", 200}, {s.h, "/api/v1/slos/{slo}/history", "nobody", 404},
		{s.h, "/api/v1/slos/{slo}/history", "checkout?from=2026-02-25T00:00:00Z", 200}, // from before the period
		{s.h, "/api/v1/slos/{slo}/history", "checkout?step=x", 400}, {typical, "/api/v1/slos/{slo}/history", "checkout-availability", 503},
		{s.h, "/api/v1/slos/{slo}/groups", "checkout", 200}, {s.h, "/api/v1/slos/{slo}/groups", "checkout?top=1", 200},
		{s.h, "/api/v1/slos/{slo}/groups", "maintained", 200}, {unknown, "/api/v1/slos/{slo}/groups", "carts", 200},
		{s.h, "/api/v1/slos/{slo}/groups", "nobody", 404}, {s.h, "/api/v1/slos/{slo}/groups", "checkout?top=x", 400}, {early, "/api/v1/slos/{slo}/groups", "x", 503},
		{early, "/api/v1/alerts", "", 200}, {typical, "/api/v1/alerts", "", 200}, {s.h, "/api/v1/alerts", "?slo=nobody", 404}, {s.h, "/api/v1/alerts", "?color=red", 400},
		{typical, "/api/v1/gate", "?slo=checkout-availability", 200}, {closed, "/api/v1/gate", "?service=shop", 409}, {early, "/api/v1/gate", "?slo=x", 503},
		{typical, "/api/v1/gate", "", 400}, {typical, "/api/v1/gate", "?slo=nobody", 404}, {s.h, "/api/v1/gate", "?slo=maintained", 200}, {unknown, "/api/v1/gate", "?slo=carts", 409},
		{early, "/api/v1/rightsizing", "", 200}, {typical, "/api/v1/rightsizing", "", 200}, {typical, "/api/v1/rightsizing", "?color=red", 400},
		{ready, "/api/v1/readiness", "", 200}, {newcomer, "/api/v1/readiness", "", 200}, {unknown, "/api/v1/readiness", "", 503},
		{early, "/api/v1/status", "", 200}, {typical, "/api/v1/status", "", 200}, {unknown, "/api/v1/status", "", 503},
		{early, "/api/v1/openapi.json", "", 200},
		{typical, "/explain", "?slo=checkout-availability&format=json", 200}, {typical, "/explain", "?slo=checkout-availability&format=text", 200},
		{s.h, "/explain", "?slo=checkout&slo=maintained&format=json", 200}, {unknown, "/explain", "?slo=carts&format=json", 200}, {closed, "/explain", "?slo=it&format=json", 200},
		{typical, "/explain", "?format=json", 400}, {typical, "/explain", "?slo=nobody", 404}, {early, "/explain", "?slo=x&format=json", 503},
		{early, "/-/healthy", "", 200}, {early, "/-/ready", "", 503}, {typical, "/-/ready", "", 200},
	} {
		address := f.pattern + f.rest
		if name, more, found := strings.Cut(f.rest, "?"); strings.Contains(f.pattern, "{slo}") {
			address = strings.Replace(f.pattern, "{slo}", name, 1)
			if found {
				address += "?" + more
			}
		}
		status, body, header := ask(f.h, "GET", address)
		if status != f.status {
			t.Errorf("%s: %d, want %d: %s", address, status, f.status, body)
		}
		fits(t, doc, "GET", f.pattern, status, header, body)
		tried[f.pattern] = true
	}
	status, body, header := ask(early, "POST", "/-/reload")
	fits(t, doc, "POST", "/-/reload", status, header, body)
	for path := range doc.Paths.Map() {
		if !tried[path] && path != "/-/reload" && path != "/metrics" {
			t.Errorf("%s was not tried", path)
		}
	}
}

// spentReport is of a budget that is spent, with a policy that says so and a correction.
func spentReport(t *testing.T) *sinks.Report {
	t.Helper()
	o := sinktest.Objective("it", "shop", "99", slo.RollingPeriod(30*slo.Day))
	half, err := slo.ParsePercent("50")
	if err != nil {
		t.Fatal(err)
	}
	o.BudgetPolicy.Steps = []slo.BudgetStep{{Below: half, Action: "review"}, {Action: "freeze", Closed: true}}
	o.RunbookURL = "https://runbooks.example.com"
	o.Corrections = []slo.Correction{{Name: "move", Effect: slo.Drop, When: slo.Once{From: sinktest.Time.Add(-2 * time.Hour), To: sinktest.Time.Add(-time.Hour)}}}
	st := sinktest.Status(o, nil, map[string]sinktest.Counts{"30d": {Total: 100000, Bad: 5000, Coverage: 1}, "1h": {Total: 100, Bad: 90, Coverage: 1}, "5m": {Total: 10, Bad: 9, Coverage: 1}})
	st.Corrections = []slo.CorrectionStatus{{Applied: time.Hour, Approximate: time.Minute}}
	st.TakenTotal, st.TakenBad = 50, 1
	return &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{st}, Notices: []string{"the disk is full"}}
}
