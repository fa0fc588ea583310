package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/promapi"
	"github.com/yoyu-sre/yoyu/sources/scrape"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// What a scraped target's failure says of itself is what the failures are counted by, alone or
// joined with others, however it is wrapped.
func TestReasonsOfScrape(t *testing.T) {
	for _, why := range scrape.Reasons {
		if !slices.Contains(pipeline.Reasons, why) {
			t.Errorf("%s is not counted", why)
		}
		one := &scrape.Failure{Target: "http://checkout:8080/metrics", Why: why, Err: errors.New("it")}
		for _, err := range []error{one, fmt.Errorf("source pods: %w", one), errors.Join(one, errors.New("another"))} {
			if got := pipeline.Reason(err); got != why {
				t.Errorf("%v is counted as %s, want %s", err, got, why)
			}
		}
	}
}

// The same for a Prometheus: each way in which a server fails is counted by its own word, which no
// part of the way to the counter changes.
func TestReasonsOfPrometheus(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that the asker went away
		<-r.Context().Done()
	}
	says := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, c := range []struct {
		why    string
		answer http.HandlerFunc // nil: nobody listens
	}{
		{"refused", nil},
		{"timeout", hang},
		{"http_4xx", says(403, "")},
		{"http_5xx", says(500, "")},
		{"decode", says(200, "<html>")},
		{"partial", says(200, `{"status":"success","warnings":["a store is away"],"data":{"resultType":"matrix","result":[]}}`)},
		{"other", says(200, `{"status":"error","errorType":"internal","error":"it"}`)},
	} {
		t.Run(c.why, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			if c.answer == nil {
				server.Close()
			}
			settings := promapi.DefaultConfig()
			settings.URL = server.URL
			s, err := promapi.New(promapi.Options{Name: "prom", Config: settings, Tick: 30 * time.Second, Questions: []sources.Question{{
				SLO: "it", Period: 30 * slo.Day,
				Indicator: sources.Indicator{Kind: sources.Counters, Total: "requests_total", Bad: `requests_total{code="500"}`},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			patience := time.Minute // only a failure to answer may end it
			if c.why == "timeout" {
				patience = 50 * time.Millisecond
			}
			ctx, stop := context.WithTimeout(t.Context(), patience)
			defer stop()
			to := time.Now().Truncate(30 * time.Second)
			samples, err := s.Collect(ctx, slo.Span{From: to.Add(-30 * time.Second), To: to})
			if err == nil && len(samples) == 1 {
				err = samples[0].Err
			}
			if err == nil {
				t.Fatalf("answered %+v", samples)
			}
			if !slices.Contains(pipeline.Reasons, c.why) || promapi.Reason(err) != c.why || pipeline.Reason(err) != c.why {
				t.Errorf("%v is %s, counted as %s, want %s", err, promapi.Reason(err), pipeline.Reason(err), c.why)
			}
		})
	}
}

// The same for Datadog.
func TestReasonsOfDatadog(t *testing.T) {
	for _, c := range []struct {
		why  string
		what fake.Action
	}{
		{"http_4xx", fake.Status(403)},
		{"http_5xx", fake.HTML(502)},
		{"redirect", fake.StatusBody(302, "text/html", "")},
		{"decode", fake.Truncated},
		{"partial", fake.Interval(300)},
		{"other", fake.QueryError("it")},
		{"timeout", fake.Hang},
	} {
		f := fake.Start(t, fake.Options{Clock: time.Now})
		at := time.Now().Truncate(time.Minute)
		for _, name := range []string{"http.hits", "http.errors"} {
			f.Seed(fake.Metric{Name: name, Type: fake.Count, Interval: 10}, fake.Point{At: at.Add(-90 * time.Second), Value: 1})
		}
		f.Fault(fake.Fault{Do: c.what})
		settings, err := config.Load(datadogFolder(t, f, ""))
		if err != nil {
			t.Fatal(err)
		}
		parts, err := assemble(settings, nil, partOptions{log: slogDiscard})
		if err != nil {
			t.Fatal(err)
		}
		patience := time.Minute // only a failure to answer may end it
		if c.why == "timeout" {
			patience = 50 * time.Millisecond
		}
		ctx, stop := context.WithTimeout(t.Context(), patience)
		samples, err := parts.lanes[0].Source.Collect(ctx, slo.Span{From: at.Add(-time.Minute), To: at})
		stop()
		if err == nil && len(samples) == 1 {
			err = samples[0].Err
		}
		if err == nil || pipeline.Reason(err) != c.why {
			t.Errorf("%v is counted as %s, want %s", err, pipeline.Reason(err), c.why)
		}
	}
}

// The same for a server of remote write.
func TestReasonsOfRemoteWrite(t *testing.T) {
	for _, c := range []struct {
		why    string
		answer http.HandlerFunc // nil: nobody listens
	}{
		{"refused", nil},
		{"timeout", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}},
		{"http_4xx", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }},
		{"http_5xx", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }},
	} {
		var asked atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 1 && c.why != "timeout" {
				w.Header().Set("Connection", "close") // nothing is left that would be tried instead of dialling
				return
			}
			c.answer(w, r)
		}))
		t.Cleanup(server.Close)
		timeout := time.Minute
		if c.why == "timeout" {
			timeout = 50 * time.Millisecond
		}
		settings, err := config.Parse("config.yaml", fmt.Appendf(nil, `
external_labels: {cluster: tokyo}
sinks: [{name: mimir, type: remote_write, url: %q, timeout: %s}]
sources: [{name: pods, type: scrape, targets: ["http://localhost:1/metrics"]}]
slos:
  - {name: it, service: shop, source: pods, objective: 99, period: 30d, indicator: {counters: {total: requests_total, bad: errors_total}}}
`, server.URL+"/api/v1/push", timeout))
		if err != nil {
			t.Fatal(err)
		}
		dropped := map[string]int{}
		parts, err := assemble(settings, nil, partOptions{log: slogDiscard, dropped: func(sink, reason string, n int) { dropped[sink+" "+reason] += n }})
		if err != nil {
			t.Fatal(err)
		}
		engine, err := newEngine(settings)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().Truncate(30 * time.Second)
		write := func(ctx context.Context, at time.Time) error {
			return parts.sinks[0].Write(ctx, &sinks.Report{Time: at, SLOs: engine.Evaluate(at)})
		}
		if c.why == "timeout" {
			ctx, stop := context.WithTimeout(t.Context(), time.Second)
			err = write(ctx, now)
			stop()
		} else {
			// Of reports so close to each other, a write tries for 200 ms only, and the last try is a whole one.
			if err := write(t.Context(), now); err != nil {
				t.Fatalf("%s: the first report: %v", c.why, err)
			}
			if c.answer == nil {
				server.Close()
			}
			err = write(t.Context(), now.Add(400*time.Millisecond))
		}
		if err == nil || pipeline.Reason(err) != c.why {
			t.Errorf("%v is counted as %s, want %s", err, pipeline.Reason(err), c.why)
		}
		if n, born := dropped["mimir bad_request"]; !born || (n > 0) != (c.why == "http_4xx") {
			t.Errorf("%s: dropped %v", c.why, dropped)
		}
	}
}
