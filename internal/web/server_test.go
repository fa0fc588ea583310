package web_test

import (
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
)

func TestSink(t *testing.T) {
	sinktest.Run(t, func(*testing.T) sinks.Sink { return web.New(web.Options{}) })
}

// face is a server that shows r; nil: nothing yet.
func face(t *testing.T, o web.Options, r *sinks.Report) http.Handler {
	t.Helper()
	s := web.New(o)
	if r != nil {
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return s.Handler()
}

// ask answers one request with these headers, names and values by turns.
func ask(h http.Handler, method, target string, header ...string) (status int, body string, got http.Header) {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

func TestRoutes(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up 1\n") })
	fine := func(context.Context) error { return nil }
	broken := func(context.Context) error { return errors.New("config.yaml:3: tick: what is 30?") }
	full := web.Options{Metrics: metrics, Reload: fine}

	for _, f := range []struct {
		name           string
		options        web.Options
		report         *sinks.Report
		method, target string
		status         int
		body           string // that the answer holds
		kind           string // media type
	}{
		{"the page", full, sinktest.Report(), "GET", "/", 200, "<section id=\"budgets\"", "text/html; charset=utf-8"},
		{"the page before the first report", full, nil, "GET", "/", 200, "no report yet", "text/html; charset=utf-8"},
		{"metrics", full, nil, "GET", "/metrics", 200, "up 1\n", ""},
		{"metrics that nobody gave", web.Options{}, nil, "GET", "/metrics", 404, "", ""},
		{"SLOs", full, sinktest.Report(), "GET", "/api/v1/slos", 200, `"slo":"checkout-availability"`, "application/json"},
		{"alerts", full, sinktest.Report(), "GET", "/api/v1/alerts", 200, `"severity":"page"`, "application/json"},
		{"rightsizing", full, sinktest.Report(), "GET", "/api/v1/rightsizing", 200, `"workload":"checkout"`, "application/json"},
		{"an explanation", full, sinktest.Report(), "GET", "/explain?slo=checkout-availability", 200, "540 > 14.4 · 0.001 · 30000 = 432", "text/plain; charset=utf-8"},
		{"the style sheet", full, nil, "GET", "/style.css", 200, "light-dark(", "text/css; charset=utf-8"},
		{"an icon", full, nil, "GET", "/burning.svg", 200, "<svg", "image/svg+xml"},
		{"healthy", full, nil, "GET", "/-/healthy", 200, "yoyu is healthy\n", "text/plain; charset=utf-8"},
		{"not ready yet", full, nil, "GET", "/-/ready", 503, "yoyu is not ready: no report yet, the first tick is not over\n", "text/plain; charset=utf-8"},
		{"ready", full, sinktest.Empty(), "GET", "/-/ready", 200, "yoyu is ready\n", ""},
		{"not ready for a reason", web.Options{Ready: func() error { return errors.New("source prom: windows are being filled") }},
			sinktest.Report(), "GET", "/-/ready", 503, "yoyu is not ready: source prom: windows are being filled\n", ""},
		{"ready twice over", web.Options{Ready: func() error { return nil }}, sinktest.Report(), "GET", "/-/ready", 200, "yoyu is ready\n", ""},
		{"ready by its own word but without a report", web.Options{Ready: func() error { return nil }}, nil, "GET", "/-/ready", 503, "no report yet", ""},
		{"reload", full, nil, "POST", "/-/reload", 200, "configuration reloaded\n", ""},
		{"reload by a link", full, nil, "GET", "/-/reload", 405, "", ""},
		{"reload with the lifecycle off", web.Options{}, nil, "POST", "/-/reload", 403, "start yoyu with --web.enable-lifecycle", ""},
		{"reload of a broken configuration", web.Options{Reload: broken}, nil, "POST", "/-/reload", 500, "reload: config.yaml:3: tick: what is 30?\n", ""},
		{"writing to the page", full, sinktest.Report(), "POST", "/", 405, "", ""},
		{"nothing there", full, sinktest.Report(), "GET", "/nothing", 404, "", ""},
		{"below a page", full, sinktest.Report(), "GET", "/explain/more", 404, "", ""},
		{"history without an engine", full, sinktest.Report(), "GET", "/api/v1/slos/checkout-availability/history", 503, "keeps no windows", "application/json"},
	} {
		t.Run(f.name, func(t *testing.T) {
			status, body, header := ask(face(t, f.options, f.report), f.method, f.target)
			if status != f.status || !strings.Contains(body, f.body) {
				t.Errorf("got %d %s\nwant %d with %q", status, body, f.status, f.body)
			}
			if kind := header.Get("Content-Type"); f.kind != "" && kind != f.kind {
				t.Errorf("type %q, want %q", kind, f.kind)
			}
		})
	}
}

// Every answer, also one that says no, tells browsers to run nothing and to guess nothing.
func TestHeaders(t *testing.T) {
	h := face(t, web.Options{}, sinktest.Report())
	for _, target := range []string{"/", "/style.css", "/explain?slo=nobody", "/api/v1/slos", "/nothing", "/-/ready"} {
		_, _, header := ask(h, "GET", target)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
	}
	if _, _, header := ask(h, "GET", "/api/v1/slos"); header.Get("Cache-Control") != "no-store" {
		t.Errorf("the API may be cached: %q", header.Get("Cache-Control"))
	}
}

func TestHead(t *testing.T) {
	server := httptest.NewServer(face(t, web.Options{Metrics: http.NotFoundHandler()}, sinktest.Report()))
	defer server.Close()
	for _, target := range []string{"/", "/api/v1/slos", "/api/v1/alerts", "/api/v1/rightsizing", "/explain?slo=search-latency", "/-/healthy", "/-/ready", "/style.css", "/fine.svg"} {
		got, err := http.Head(server.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(got.Body)
		got.Body.Close()
		if got.StatusCode != 200 || len(body) > 0 || got.ContentLength <= 0 {
			t.Errorf("%s: %d, %d bytes of %d", target, got.StatusCode, len(body), got.ContentLength)
		}
	}
}

func TestStaticFilesAreKept(t *testing.T) {
	h := face(t, web.Options{}, nil)
	_, _, header := ask(h, "GET", "/style.css")
	tag := header.Get("ETag")
	if status, body, _ := ask(h, "GET", "/style.css", "If-None-Match", tag); tag == "" || status != 304 || body != "" {
		t.Errorf("tag %q: %d with %d bytes, want 304 without", tag, status, len(body))
	}
}

func TestPrefix(t *testing.T) {
	for _, prefix := range []string{"/yoyu", "/yoyu/", "yoyu", "/a b/{yoyu}"} {
		h := face(t, web.Options{Prefix: prefix, Metrics: http.RedirectHandler("/", http.StatusFound)}, sinktest.Report())
		under := (&url.URL{Path: "/" + strings.Trim(prefix, "/")}).EscapedPath()
		for target, want := range map[string]int{
			under + "/": 200, under + "/api/v1/slos": 200, under + "/explain?slo=search-latency": 200, under + "/style.css": 200,
			under + "/-/healthy": 200, under + "/metrics": 302, under + "/nothing": 404,
			"/": 404, "/api/v1/slos": 404, "/-/healthy": 404, "/metrics": 404, under + "more": 404,
		} {
			if status, _, _ := ask(h, "GET", target); status != want {
				t.Errorf("prefix %q: %s is %d, want %d", prefix, target, status, want)
			}
		}
		status, _, header := ask(h, "GET", under)
		if status != http.StatusFound || header.Get("Location") != under+"/" {
			t.Errorf("prefix %q alone: %d to %q", prefix, status, header.Get("Location"))
		}
	}
}

// Every link of the page leads somewhere, with a prefix and without.
func TestLinks(t *testing.T) {
	for _, prefix := range []string{"", "/yoyu"} {
		h := face(t, web.Options{Prefix: prefix, Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}, sinktest.Odd())
		_, page, _ := ask(h, "GET", prefix+"/")
		base := &url.URL{Path: prefix + "/"}
		seen := 0
		for _, part := range strings.FieldsFunc(page, func(r rune) bool { return r == ' ' || r == '>' }) {
			link, ok := strings.CutPrefix(part, `href="`)
			if !ok {
				if link, ok = strings.CutPrefix(part, `src="`); !ok {
					continue
				}
			}
			link = html.UnescapeString(strings.TrimSuffix(link, `"`))
			u, err := base.Parse(link)
			if err != nil {
				t.Fatalf("%s: %v", link, err)
			}
			seen++
			u.Fragment = "" // which a browser keeps for itself
			if status, body, _ := ask(h, "GET", u.String()); status != 200 {
				t.Errorf("%s: %d %s", u, status, body)
			}
		}
		if seen < 15 {
			t.Errorf("prefix %q: only %d links", prefix, seen)
		}
	}
}

// A page of another site that makes a browser post here gets nowhere; curl and the own address do.
func TestReloadFromElsewhere(t *testing.T) {
	reloads := 0
	external := &url.URL{Scheme: "https", Host: "slo.example.com", Path: "/yoyu"}
	h := face(t, web.Options{ExternalURL: external, Reload: func(context.Context) error { reloads++; return nil }}, nil)
	for _, f := range []struct {
		origin string
		want   int
	}{{"", 200}, {"https://slo.example.com", 200}, {"https://evil.example.com", 403}} {
		header := []string{}
		if f.origin != "" {
			header = []string{"Origin", f.origin, "Sec-Fetch-Site", "cross-site"}
		}
		if status, _, _ := ask(h, "POST", "/-/reload", header...); status != f.want {
			t.Errorf("from %q: %d, want %d", f.origin, status, f.want)
		}
	}
	if reloads != 2 {
		t.Errorf("%d reloads, want 2", reloads)
	}
}

// Requests see one whole report while the next is written.
func TestReadWhileWritten(t *testing.T) {
	s := web.New(web.Options{})
	var group sync.WaitGroup
	group.Go(func() {
		for range 50 {
			if err := s.Write(t.Context(), sinktest.Report()); err != nil {
				t.Error(err)
			}
		}
	})
	for _, target := range []string{"/", "/api/v1/slos", "/api/v1/alerts", "/explain?slo=search-latency", "/-/ready"} {
		group.Go(func() {
			for range 20 {
				if status, body, _ := ask(s.Handler(), "GET", target); status != 200 && status != 503 {
					t.Errorf("%s: %d %s", target, status, body)
				}
			}
		})
	}
	group.Wait()
}
