package scrape_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/scrape"
)

// Every way in which a page can be broken, and what is said of it. None of it counts.
func TestBrokenPages(t *testing.T) {
	const plain, open = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"
	for _, c := range []struct {
		name, contentType, body, message string
	}{
		{"half a line", plain, "a 1\nhttp_requests_total 12", `line 2: the last line does not end: the page was cut`},
		{"a line without a value", plain, "a 1\nhttp_requests_total\n", `line 2: expected value after metric, got "\n" ("INVALID") while parsing: "http_requests_total\n"`},
		{"a value that is none", plain, "http_requests_total many\n", `line 1: strconv.ParseFloat: parsing "many": invalid syntax while parsing: "http_requests_total many"`},
		{"labels that never end", plain, "\n\nhttp_requests_total{code=\"200\" 1\n", `line 3: expected label name, got "1" ("INVALID") while parsing: "http_requests_total{code=\"200\" 1"`},
		{"a value that never ends", plain, "http_requests_total{code=\"200} 1\n", `line 1: expected label value, got "\"200} 1\n" ("INVALID") while parsing: "http_requests_total{code=\"200} 1\n"`},
		{"a label without a name", plain, "http_requests_total{=\"200\"} 1\n", `line 1: expected label name, got "=\"" ("EQUAL") while parsing: "http_requests_total{=\""`},
		{"a label twice", plain, "# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\",code=\"500\"} 1\n", `line 2: label code stands in one series twice`},
		{"text in another code", plain, "http_requests_total{code=\"\xff\xfe\"} 1\n", `line 1: invalid UTF-8 label value: "\"\xff\xfe\""`},
		{"a timestamp that is none", plain, "http_requests_total 1 yesterday\n", `line 1: expected timestamp or new record, got "y" ("INVALID") while parsing: "http_requests_total 1 y"`},
		{"a type that is none", plain, "# HELP a A.\n# TYPE http_requests_total odometer\n", `line 2: invalid metric type "odometer"`},
		{"a series twice", plain, "http_requests_total{code=\"200\"} 1\na 1\nhttp_requests_total{code=\"200\"} 2\n", `line 3: {__name__="http_requests_total", code="200", instance="ADDRESS", job="pods"} stands on line 1 already`},
		{"a series twice, labels in another order", plain, "http_requests_total{a=\"1\",b=\"2\"} 1\nhttp_requests_total{b=\"2\",a=\"1\"} 1\n", `line 2: {__name__="http_requests_total", a="1", b="2", instance="ADDRESS", job="pods"} stands on line 1 already`},
		{"a byte of zero", plain, "http_requests_total 1\n\x00http_requests_total 2\n", `line 2: holds a byte of zero: not text`},
		{"a picture", plain, "\x89PNG\r\n\x1a\n", `line 1: expected a valid start token, got "\x89" ("INVALID") while parsing: "\x89"`},
		{"HTML called text", plain, "<!doctype html>\n<p>Sign in\n", `line 1: expected a valid start token, got "<" ("INVALID") while parsing: "<"`},
		{"HTML", "text/html; charset=utf-8", "<!doctype html>", `Content-Type "text/html; charset=utf-8" is no format of metrics that was asked for`},
		{"JSON", "application/json", "{}", `Content-Type "application/json" is no format of metrics that was asked for`},
		{"protobuf that was cut", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "\x01", `metric family 0 (): insufficient length of buffer, expected at least 2 bytes, got 1 bytes`},
		{"OpenMetrics of tomorrow", "application/openmetrics-text; version=2.0.0", "# EOF\n", `Content-Type "application/openmetrics-text; version=2.0.0" is no format of metrics that was asked for`},
		{"a Content-Type that is none", "text/", "a 1\n", `Content-Type "text/" cannot be read`},
		{"OpenMetrics without its end", open, "# TYPE http_requests counter\nhttp_requests_total 1\n", `line 2: data does not end with # EOF`},
		{"OpenMetrics, nothing", open, "", `line 1: data does not end with # EOF`},
		{"OpenMetrics after its end", open, "http_requests_total 1\n# EOF\nhttp_requests_total 2\n", `line 2: unexpected data after # EOF`},
		{"OpenMetrics with a remark", open, "http_requests_total 1\n# a remark\n# EOF\n", `line 2: expected a valid start token, got "# a" ("INVALID") while parsing: "# a"`},
		{"OpenMetrics with an empty line", open, "\nhttp_requests_total 1\n# EOF\n", `line 2: expected a valid start token, got "\n" ("INVALID") while parsing: "\n"`},
		{"OpenMetrics with a unit of another name", open, "# UNIT http_requests seconds\n# EOF\n", `line 1: unit "seconds" not a suffix of metric "http_requests"`},
		{"a line without an end", plain, strings.Repeat("x", 5000) + "\n", `line 1: expected value after metric, got "\n" ("INVALID") while parsing: "` + strings.Repeat("x", 174) + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := serve(t, text(`http_requests_total 0`))
			s := newScraper(t, scrape.Options{Config: pages(target)})
			s.turn()
			target.show(typed(c.contentType, c.body))
			err := s.fails()
			if scrape.Reason(err) != scrape.Parse {
				t.Errorf("reason %s", scrape.Reason(err))
			}
			got := strings.ReplaceAll(err.Error(), target.instance(), "ADDRESS")
			if wanted := "target http://ADDRESS/metrics: " + c.message; got != wanted {
				t.Errorf("\n     %s\nwant %s", got, wanted)
			}
			target.show(text(`http_requests_total 7`))
			want(t, "the whole page after it", s.turn(), 7, 0)
		})
	}
}

func packed(t *testing.T, unpacked io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, unpacked); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bomb unpacks to size bytes.
func bomb(t *testing.T, size int) []byte {
	const member = 8 << 20
	return bytes.Repeat(packed(t, io.LimitReader(remarks{}, member)), size/member)
}

func encoded(encoding string, body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", encoding)
		_, _ = w.Write(body)
	})
}

// remarks is a page of any length that says nothing.
type remarks struct{}

func (remarks) Read(p []byte) (int, error) {
	n := 0
	for n+64 <= len(p) {
		copy(p[n:], "# "+strings.Repeat("-", 61)+"\n")
		n += 64
	}
	return n, nil
}

func TestFailures(t *testing.T) {
	elsewhere := serve(t, text(`http_requests_total 1`))
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	redirect := func(to string) http.Handler { return http.RedirectHandler(to, http.StatusFound) }
	cut := func(header string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+header+"\r\n\r\nhttp_requests_total 1\n")
			_ = conn.Close()
		})
	}
	for _, c := range []struct {
		name    string
		handler http.Handler
		reason  string
		message string
	}{
		{"not found", status(404), scrape.HTTP4xx, "HTTP status 404 Not Found"},
		{"forbidden", status(403), scrape.HTTP4xx, "HTTP status 403 Forbidden"},
		{"too busy", status(503), scrape.HTTP5xx, "HTTP status 503 Service Unavailable"},
		{"a status nobody knows", status(599), scrape.HTTP5xx, "HTTP status 599"},
		{"no content", status(204), scrape.Other, "HTTP status 204 No Content"},
		{"another host", redirect(elsewhere.page()), scrape.Redirect, "redirects to another host, " + elsewhere.URL + ": it is not followed"},
		{"another scheme", redirect("https://localhost/metrics"), scrape.Redirect, "redirects to another host, https://localhost: it is not followed"},
		{"in circles", redirect("/metrics"), scrape.Redirect, "more than 5 redirects"},
		{"nowhere", status(302), scrape.Redirect, "HTTP status 302 Found"},
		{"not modified", status(304), scrape.Redirect, "HTTP status 304 Not Modified"},
		{"a body cut short", cut("Content-Length: 1000"), scrape.Other, "body: unexpected EOF"},
		{"a chunk cut short", cut("Transfer-Encoding: chunked\r\n\r\n100\r\nhttp_requests_total 1"), scrape.Other, "body: unexpected EOF"},
		{"64 MiB and a line", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, io.LimitReader(remarks{}, 64<<20+64)) }), scrape.BodyLimit, "body: larger than 64MiB (limits.body_bytes)"},
		{"a gzip bomb", encoded("gzip", bomb(t, 256<<20)), scrape.BodyLimit, "body: larger than 64MiB (limits.body_bytes)"},
		{"half a gzip", encoded("gzip", packed(t, strings.NewReader("http_requests_total 1\n"))[:25]), scrape.Other, "body: unexpected EOF"},
		{"no gzip", encoded("gzip", []byte("http_requests_total 1\n")), scrape.Other, "body: gzip: invalid header"},
		{"an encoding not asked for", encoded("br", []byte("?")), scrape.Other, `body: Content-Encoding "br" was not asked for`},
		{"too many samples", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			var page bytes.Buffer
			for i := range 200_001 {
				fmt.Fprintf(&page, "a{n=\"%d\"} 1\n", i)
			}
			_, _ = w.Write(page.Bytes())
		}), scrape.SampleLimit, "more than 200000 samples (limits.samples)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := serve(t, c.handler)
			config := pages(target)
			config.Timeout = 10 * time.Minute // a whole tick: the race detector is slow with 64 MiB
			s := newScraper(t, scrape.Options{Config: config, Tick: config.Timeout})
			err := s.fails()
			if got := scrape.Reason(err); got != c.reason {
				t.Errorf("reason %s, want %s", got, c.reason)
			}
			if wanted := "target " + target.page() + ": " + c.message; err.Error() != wanted {
				t.Errorf("\n     %s\nwant %s", err, wanted)
			}
		})
	}
	if elsewhere.asked.Load() != 0 {
		t.Error("a redirect to another host was followed")
	}
	t.Run("nobody there", func(t *testing.T) {
		config := pages()
		config.Targets = []string{gone.URL}
		if err := newScraper(t, scrape.Options{Config: config}).fails(); scrape.Reason(err) != scrape.Refused {
			t.Error(err)
		}
	})
	t.Run("a header without an end", func(t *testing.T) {
		target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 11<<20))
			_, _ = io.WriteString(w, "http_requests_total 1\n")
		}))
		if err := newScraper(t, scrape.Options{Config: pages(target)}).fails(); scrape.Reason(err) != scrape.Other {
			t.Error(err)
		}
	})
}

// The bomb is refused while it unpacks: memory never holds what it would become.
func TestBombIsNotUnpacked(t *testing.T) {
	config := pages(serve(t, encoded("gzip", bomb(t, 1<<30))))
	config.Limits.BodyBytes = 1 << 20
	s := newScraper(t, scrape.Options{Config: config})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := s.fails(); scrape.Reason(err) != scrape.BodyLimit {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
		t.Errorf("refusing a page over 1 MiB took %d MiB", used>>20)
	}
}

// Empty gzip members unpack to nothing, for ever: packed bytes are bounded too.
func TestEndlessNothing(t *testing.T) {
	nothing := packed(t, strings.NewReader(""))
	config := pages(serve(t, encoded("gzip", bytes.Repeat(nothing, 1000))))
	config.Limits.BodyBytes = 4 << 10
	if err := newScraper(t, scrape.Options{Config: config}).fails(); scrape.Reason(err) != scrape.BodyLimit {
		t.Error(err)
	}
}

func TestPageOfExactlyTheLimit(t *testing.T) {
	page := []byte("http_requests_total 10\n")
	for name, handler := range map[string]http.Handler{"plain": encoded("", page), "packed": encoded("gzip", packed(t, bytes.NewReader(page)))} {
		t.Run(name, func(t *testing.T) {
			config := pages(serve(t, handler))
			config.Limits = scrape.Limits{BodyBytes: 64, Samples: 1}
			if name == "plain" {
				config.Limits.BodyBytes = scrape.Bytes(len(page))
			}
			if sample := newScraper(t, scrape.Options{Config: config}).turn(); sample.Series != 1 {
				t.Errorf("answered %+v", sample)
			}
		})
	}
}

func TestRedirectWithinTheHost(t *testing.T) {
	target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			http.Redirect(w, r, "/internal/metrics", http.StatusMovedPermanently)
			return
		}
		_, _ = io.WriteString(w, "http_requests_total 1\n")
	}))
	if sample := newScraper(t, scrape.Options{Config: pages(target)}).turn(); sample.Series != 1 {
		t.Errorf("answered %+v", sample)
	}
	config := pages(target)
	config.HTTP.FollowRedirects = false
	err := newScraper(t, scrape.Options{Config: config}).fails()
	if scrape.Reason(err) != scrape.Redirect || !strings.HasSuffix(err.Error(), "HTTP status 301 Moved Permanently") {
		t.Error(err)
	}
}

// An address may hold a token: no error and no log line shows it.
func TestSecretsStayOut(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	good, bad := serve(t, text(`http_requests_total 1`)), serve(t, status(500))
	for _, address := range []string{gone.URL, bad.URL} {
		config := pages(good)
		config.Targets = append(config.Targets, address+"/metrics?token=hunter2")
		var log bytes.Buffer
		var told error
		s := newScraper(t, scrape.Options{Config: config, Logger: slog.New(slog.NewTextHandler(&log, nil)), Failed: func(f *scrape.Failure) { told = f }})
		s.turn()
		if told == nil || log.Len() == 0 {
			t.Fatal("nobody was told")
		}
		if all := told.Error() + log.String(); strings.Contains(all, "hunter2") {
			t.Error(all)
		}
	}
}

// The log hears of a target when it falls and when it rises, not at every tick.
func TestLog(t *testing.T) {
	good, bad := serve(t, text(`http_requests_total 1`)), serve(t, status(500))
	var log bytes.Buffer
	s := newScraper(t, scrape.Options{Config: pages(good, bad), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 5 {
		s.turn()
	}
	bad.show(text(`http_requests_total 1`))
	for range 5 {
		s.turn()
	}
	if fell, rose := strings.Count(log.String(), "target failed"), strings.Count(log.String(), "target answers again"); fell != 1 || rose != 1 {
		t.Error(log.String())
	}
}

func TestReason(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("source pods: %w", errors.Join(&scrape.Failure{Why: scrape.Parse}, &scrape.Failure{Why: scrape.Timeout})), scrape.Parse},
		{context.DeadlineExceeded, scrape.Timeout},
		{errors.New("anything"), scrape.Other},
	} {
		if got := scrape.Reason(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

// Whoever counts failures asks the error itself for its reason: that of a whole turn's failures, of
// a question's, and of one target's.
func TestErrorsSayTheirReason(t *testing.T) {
	says := func(what string, err error, want string) {
		t.Helper()
		var own interface{ Reason() string }
		if !errors.As(err, &own) || own.Reason() != want {
			t.Errorf("%s: %v does not say %s", what, err, want)
		}
	}
	good, bad, worse := serve(t, text(`up 1`)), serve(t, status(503)), serve(t, status(404))
	s := newScraper(t, scrape.Options{Config: pages(bad, worse)})
	says("a turn that nobody answered", s.fails(), scrape.HTTP5xx)
	var told *scrape.Failure
	s = newScraper(t, scrape.Options{Config: pages(good, bad), Failed: func(f *scrape.Failure) { told = f }})
	samples, err := s.Collect(t.Context(), s.next(tick))
	if err != nil {
		t.Fatal(err)
	}
	says("a question that nobody answered", samples[0].Err, scrape.HTTP5xx)
	says("one target", told, scrape.HTTP5xx)
}

// Hanging targets come last in the next turn, so that they hold up one another only.
func TestTargetsThatFailedComeLast(t *testing.T) {
	var order []string
	note := func(name string, code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			order = append(order, name)
			w.WriteHeader(code)
		})
	}
	config := pages(serve(t, note("down", 500)), serve(t, note("up", 200)))
	config.Limits.Concurrency = 1
	s := newScraper(t, scrape.Options{Config: config, Questions: []sources.Question{availability}})
	for range 2 {
		_, _ = s.Collect(t.Context(), s.next(tick))
	}
	if got := strings.Join(order, " "); got != "down up up down" {
		t.Errorf("asked in the order %s", got)
	}
}
