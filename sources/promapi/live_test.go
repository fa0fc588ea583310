package promapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/config"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// What a check says is one true sentence, whatever it found.
func TestCheckText(t *testing.T) {
	found := Check{Kind: sources.Counters, Exists: true, Series: 12, Counted: true, Total: 1200, Part: 3, PartIs: "bad", Within: true, SamplesPerTick: 24, SamplesBackfill: 2073600}
	with := func(change func(*Check)) Check {
		c := found
		change(&c)
		return c
	}
	const asked = "12 series, 24 samples a tick and 2,073,600 to fill the windows"
	for _, f := range []struct {
		name  string
		check Check
		fault bool
		text  string
	}{
		{"bad is counted", found, false, asked + "; about 1,200 events in the last hour, 3 of them bad"},
		{"good is counted", with(func(c *Check) { c.Part, c.PartIs = 1197, "good" }), false, asked + "; about 1,200 events in the last hour, 3 of them bad"},
		{"good is a hair more than total", with(func(c *Check) { c.Part, c.PartIs = 1200.5, "good" }), false, asked + "; about 1,200 events in the last hour, 0 of them bad"},
		{"a histogram counts what is good", with(func(c *Check) { c.Kind, c.Part, c.PartIs = sources.Latency, 1100, "good" }), false, asked + "; about 1,200 events in the last hour, 100 of them bad"},
		{"a gauge is counted exactly", with(func(c *Check) { c.Kind, c.Total = sources.Gauge, 240 }), false, asked + "; 240 samples in the last hour, 3 of them bad"},
		{"too much to look at", with(func(c *Check) { c.Kind, c.Counted, c.PartIs = sources.Gauge, false, "" }), false, asked},
		{"bad cannot be told", with(func(c *Check) { c.Part, c.PartIs = 0, "" }), false, asked + "; about 1,200 events in the last hour"},
		{"no traffic", with(func(c *Check) { c.Total, c.Part = 0, 0 }), false, asked + "; no events in the last hour"},
		{"fractions of samples", with(func(c *Check) { c.SamplesPerTick = 0.5 }), false, "12 series, 0.5 samples a tick and 2,073,600 to fill the windows; about 1,200 events in the last hour, 3 of them bad"},
		{"over max_series", with(func(c *Check) { c.Over, c.Note = true, "x_total has 31,022 series, more than max_series 20,000: …" }), true, "x_total has 31,022 series, more than max_series 20,000: …"},
		{"over max_series, and the server counts", with(func(c *Check) { c.Over, c.Pushdown, c.Series, c.SamplesPerTick = true, true, 31022, 0 }), false,
			"31,022 series, counted by the server (counting: pushdown); about 1,200 events in the last hour, 3 of them bad"},
		{"no such metric", Check{Kind: sources.Counters, Note: "x_total has no series with a sample in the last 5m"}, true, "x_total has no series with a sample in the last 5m"},
		{"no such bucket", with(func(c *Check) { c.Kind, c.Note = sources.Latency, "threshold 0.75 is no bucket bound of x" }), true, "12 series: threshold 0.75 is no bucket bound of x"},
		{"bad beyond total", with(func(c *Check) { c.Part, c.Within = 1300, false }), true,
			"12 series: bad is not within total: about 1,300 of 1,200 events in the last hour; do both selectors mean the same requests?"},
		{"good beyond total", with(func(c *Check) { c.Part, c.PartIs, c.Within = 1300, "good", false }), true,
			"12 series: good is not within total: about 1,300 of 1,200 events in the last hour; do both selectors mean the same requests?"},
		{"expressions", Check{Kind: sources.PromQL, Exists: true, Counted: true, Within: true, Total: 12.5, Part: 12, PartIs: "good"}, false, "at this moment about 12.5 events in a tick, 0.5 of them bad"},
		{"expressions that contradict each other", Check{Kind: sources.PromQL, Exists: true, Counted: true, Total: 12.5, Part: 20, PartIs: "bad"}, true,
			"bad is not within total: 20 of 12.5 events at this moment; do both expressions mean the same requests?"},
		{"expressions without a number", Check{Kind: sources.PromQL, Exists: true, Within: true, PartIs: "bad"}, false, "the expression has a value, but it is no number at this moment"},
		{"a ratio", Check{Kind: sources.Ratio, Exists: true, Counted: true, Within: true, Total: 1, Part: 0.0125, PartIs: "bad"}, false,
			"the share of bad events is 0.0125 at this moment, in the worst group if there are several"},
		{"no ratio", Check{Kind: sources.Ratio, Exists: true, Note: "the ratio lies outside of 0 to 1 at this moment"}, true, "the ratio lies outside of 0 to 1 at this moment"},
		{"no value", Check{Kind: sources.Ratio, Note: "the expression has no value at this moment"}, true, "the expression has no value at this moment"},
		{"no server", with(func(c *Check) { c.Err = errors.New("query: connection refused") }), true, "query: connection refused"},
	} {
		if got := f.check.Text(); got != f.text || f.check.Fault() != f.fault {
			t.Errorf("%s: %q, fault %t; want %q, %t", f.name, got, f.check.Fault(), f.text, f.fault)
		}
	}
}

// A server that is down is said once for each SLO, and its name is left to the caller.
func TestLiveWithoutServer(t *testing.T) {
	d := httptest.NewServer(http.NotFoundHandler())
	d.Close()
	s := newSource(t, d.URL, nil, hits, counters("more", "hits_total", `hits_total{code="500"}`), counters("others", "others_total", `others_total{code="500"}`))
	checks, err := s.Live(context.Background())
	if err != nil || len(checks) != 3 {
		t.Fatalf("%+v, %v", checks, err)
	}
	for i, name := range []string{"hits", "more", "others"} {
		if c := checks[i]; c.SLO != name || c.Text() != "query: connection refused" || !c.Fault() || Reason(c.Err) != "refused" {
			t.Errorf("%s: %q (%s)", c.SLO, c.Text(), Reason(c.Err))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if checks, err := s.Live(ctx); checks != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %+v, %v", checks, err)
	}
}

// A question that fails is a check that failed, and the others are answered.
func TestLiveFailsAlone(t *testing.T) {
	d := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch query := r.FormValue("query"); {
		case strings.Contains(query, "poison"):
			w.WriteHeader(400)
			io.WriteString(w, `{"status":"error","errorType":"bad_data","error":"poison is forbidden"}`)
		default:
			io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"probe":"0"},"value":[1772323230,"6"]}]}}`)
		}
	}))
	defer d.Close()
	s := newSource(t, d.URL, nil, counters("p", "poison_total", `poison_total{code="500"}`), hits)
	checks, err := s.Live(context.Background())
	if err != nil || len(checks) != 2 || checks[0].Text() != "query: 400 Bad Request: poison is forbidden" || checks[1].Fault() {
		t.Errorf("%+v, %v", checks, err)
	}
}

// Every kind of question against a server whose newest sample is of this moment.
func TestLiveKinds(t *testing.T) {
	r := &recording{lines: map[string][]string{}}
	now := time.Now().Truncate(time.Second)
	for d := 2 * time.Hour; d > 0; d -= 15 * time.Second {
		k := float64((2*time.Hour - d) / (15 * time.Second))
		at := now.Add(-d)
		for _, pod := range []string{"a", "b"} {
			id := `{job="shop",pod="` + pod + `"`
			r.write("hits_total", `hits_total`+id+`,code="200"}`, at, 10*k)
			r.write("hits_total", `hits_total`+id+`,code="500"}`, at, 1*k)
			r.write("queue", `queue`+id+`}`, at, float64(int(k)%10))
			r.write("seconds_count", `seconds_count`+id+`}`, at, 10*k)
			r.write("seconds_bucket", `seconds_bucket`+id+`,le="0.5"}`, at, 8*k)
			r.write("seconds_bucket", `seconds_bucket`+id+`,le="1.0"}`, at, 9*k)
		}
	}
	dir := t.TempDir()
	promtest.CreateBlocks(t, dir, strings.NewReader(r.text()))
	server := promtest.Start(t, promtest.Options{Dir: dir})

	ask := func(name string, in sources.Indicator) sources.Question {
		return sources.Question{SLO: name, Period: slo.Day, Indicator: in}
	}
	push := counters("push", `hits_total`, `hits_total{code="500"}`)
	push.Pushdown, push.Period = true, slo.Day
	s := newSource(t, server.URL(), func(o *Options) { o.Config.Limits.MaxSeries = 6 },
		ask("bad", sources.Indicator{Kind: sources.Counters, Total: `hits_total{pod="a"}`, Bad: `hits_total{pod="a",code="500"}`}),
		ask("good", sources.Indicator{Kind: sources.Counters, Total: `hits_total{pod="a"}`, Good: `hits_total{pod="a",code="200"}`}),
		ask("swapped", sources.Indicator{Kind: sources.Counters, Total: `hits_total{pod="a",code="500"}`, Bad: `hits_total{pod="a",code="200"}`}),
		ask("slow", sources.Indicator{Kind: sources.Latency, Histogram: `seconds{pod="a"}`, Below: 1}),
		ask("between", sources.Indicator{Kind: sources.Latency, Histogram: `seconds{pod="a"}`, Below: 0.75}),
		ask("queue", sources.Indicator{Kind: sources.Gauge, Selector: `queue{pod="a"}`, Compare: sources.Comparison{Op: "<", Value: 8}}),
		ask("many", sources.Indicator{Kind: sources.Counters, Total: `{__name__=~"queue|seconds_count",pod="a"}`, Bad: `queue{pod="b"}`}),
		ask("expressions", sources.Indicator{Kind: sources.PromQL, Total: `sum(increase(hits_total{pod="a"}[1h] offset 5m))`, Good: `sum(increase(hits_total{pod="a",code="200"}[1h] offset 5m))`}),
		ask("ratio", sources.Indicator{Kind: sources.Ratio, Good: `count(hits_total{code="200"}) / count(hits_total)`}),
		ask("none", sources.Indicator{Kind: sources.Ratio, Bad: `queue + 2`}),
		push,
	)
	checks, err := s.Live(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]Check{}
	for _, c := range checks {
		by[c.SLO] = c
		t.Logf("%s: %s", c.SLO, c.Text())
		if c.Err != nil {
			t.Errorf("%s: %v", c.SLO, c.Err)
		}
	}
	// An hour is 240 scrapes, less those since the recording ended.
	near := func(got, want float64) bool { return got > want*0.96 && got < want*1.04 }
	for name, want := range map[string]struct {
		total, part float64
		is          string
		fault       bool
		text        string // what the sentence holds
	}{
		"bad":         {2640, 240, "bad", false, "2 series, "},
		"good":        {2640, 2400, "good", false, "2 series, "},
		"swapped":     {240, 2400, "bad", true, "bad is not within total: about 2,"},
		"slow":        {2400, 2160, "good", false, "2 series, "},
		"between":     {2400, 0, "good", true, "1 series: threshold 0.75 is no bucket bound of "},
		"queue":       {240, 48, "bad", false, "samples in the last hour, "},
		"expressions": {2640, 2400, "good", false, "at this moment about 2,"},
		"ratio":       {1, 0.5, "good", false, "the share of good events is 0.5 at this moment"},
		"push":        {5280, 480, "bad", false, "4 series, counted by the server (counting: pushdown); about 5,"},
	} {
		c := by[name]
		if !near(c.Total, want.total) || want.part != 0 && !near(c.Part, want.part) || c.PartIs != want.is || c.Fault() != want.fault || !strings.Contains(c.Text(), want.text) {
			t.Errorf("%s: %s\n%+v, want %+v", name, c.Text(), c, want)
		}
	}
	if c := by["none"]; !c.Fault() || c.Text() != fmt.Sprintf("the ratio lies outside of 0 to 1 at this moment: its values are from %[1]g to %[1]g", c.Part) {
		t.Errorf("none: %s", c.Text())
	}
	// Two metrics with the same labels have no sum, and are counted all the same.
	if c := by["many"]; c.Fault() || c.Text() != "3 series" {
		t.Errorf("many: %s: %+v", c.Text(), c)
	}
	// One more series than there may be.
	s = newSource(t, server.URL(), func(o *Options) { o.Config.Limits.MaxSeries = 3 }, counters("many", "hits_total", `hits_total{code="500"}`))
	if checks, err = s.Live(context.Background()); err != nil || !checks[0].Fault() || !strings.HasPrefix(checks[0].Text(), "hits_total has 4 series, more than max_series 3: ") {
		t.Errorf("%+v, %v", checks, err)
	}
}

// tenant configures a header as a user does.
func tenant(o *Options) {
	o.Config.HTTP.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{"X-Scope-OrgID": {Values: []string{"shop"}}}}
}

// The headers of the configuration belong to one server: they do not follow a redirect elsewhere.
func TestRedirects(t *testing.T) {
	strange := make(chan string, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { strange <- r.Header.Get("X-Scope-OrgID") }))
	defer elsewhere.Close()
	for _, f := range []struct {
		name   string
		status int
		to     string
		fault  string // "" when it is followed
	}{
		{"another host", 307, elsewhere.URL + "/api/v1/query", "query: the server redirects to another host, " + elsewhere.URL + ": it is not followed; if it is right, write it as url"},
		{"another host, for good", 301, elsewhere.URL, "query: the server redirects to another host, " + elsewhere.URL + ": it is not followed; if it is right, write it as url"},
		{"another scheme on its own port", 308, "https://127.0.0.1/", "query: the server redirects to another host, https://127.0.0.1: it is not followed; if it is right, write it as url"},
		{"within the host", 307, "/moved/api/v1/query", ""},
		{"within the host, without the question", 302, "/moved/api/v1/query", "query: the server redirects to HOST in a way that loses the question (HTTP status 302); write the new address as url"},
		{"in circles", 308, "/api/v1/query", "query: more than 5 redirects"},
	} {
		d := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/moved") {
				http.Redirect(w, r, f.to, f.status)
				return
			}
			if got := r.Header.Get("X-Scope-OrgID"); got != "shop" || r.FormValue("query") == "" {
				t.Errorf("%s: tenant %q, query %q", f.name, got, r.FormValue("query"))
			}
			if query := r.FormValue("query"); strings.Contains(query, "(") {
				io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
				return
			}
			io.WriteString(w, healthy)
		}))
		s := newSource(t, d.URL, tenant, hits)
		got := collect(t, s, dawn, dawn.Add(tick))[0]
		d.Close()
		fault := strings.ReplaceAll(f.fault, "HOST", d.URL)
		switch {
		case fault == "" && got.Err != nil:
			t.Errorf("%s: %v", f.name, got.Err)
		case fault != "" && (got.Err == nil || got.Err.Error() != "source prom: slo hits: "+fault || Reason(got.Err) != "redirect"):
			t.Errorf("%s: %v (%s), want %s", f.name, got.Err, Reason(got.Err), fault)
		}
	}
	if len(strange) > 0 {
		t.Errorf("another host was asked, and told the tenant %q", <-strange)
	}
	// http on its port may become https on its own.
	for address, ok := range map[string]bool{"https://prom/": true, "https://prom:443/x": true, "https://PROM/": true, "https://prom:9090/": false, "http://prom:8080/": false, "https://other/": false} {
		first, _ := http.NewRequest(http.MethodGet, "http://prom/api/v1/query", nil)
		next, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := sameHost(next, []*http.Request{first}); (err == nil) != ok {
			t.Errorf("from http://prom to %s: %v", address, err)
		}
	}
	// And back it may not.
	first, _ := http.NewRequest(http.MethodGet, "https://prom/", nil)
	next, _ := http.NewRequest(http.MethodGet, "http://prom/", nil)
	if sameHost(next, []*http.Request{first}) == nil {
		t.Error("a redirect from https to http is followed")
	}
}

func TestRedirectsNotFollowedAtAll(t *testing.T) {
	d := httptest.NewServer(http.RedirectHandler("/moved", http.StatusTemporaryRedirect))
	defer d.Close()
	s := newSource(t, d.URL, func(o *Options) { o.Config.HTTP.FollowRedirects = false }, hits)
	got := collect(t, s, dawn, dawn.Add(tick))[0]
	if want := "source prom: slo hits: query: 307 Temporary Redirect"; fmt.Sprint(got.Err) != want || Reason(got.Err) != "redirect" {
		t.Errorf("%v (%s), want %s", got.Err, Reason(got.Err), want)
	}
}
