package datadog

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

const key = "0123456789abcdef0123456789abcdef"

func TestContract(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinks.Sink {
		return newSink(t, newIntake(t, key), Config{})
	})
}

// The whole payload of a typical report under the standard preset.
func TestTypicalPayload(t *testing.T) {
	t.Setenv("DD_ENV", "prod")
	in := newIntake(t, key)
	write(t, newSink(t, in, Config{Tags: []string{"cluster:tokyo"}}), sinktest.Report())

	const (
		at       = "@1767312000"
		checkout = "cluster:tokyo,env:prod,service:checkout,"
		items    = "cluster:tokyo,env:prod,route:/items,service:search,"
		other    = "cluster:tokyo,env:prod,route:_other,service:search,"
		first    = "slo:checkout-availability,team:payments,tier:1"
		second   = "slo:search-latency,team:discovery"
		app      = "cluster:tokyo,env:prod,kube_container_name:app,kube_deployment:checkout,kube_namespace:shop,service:checkout"
	)
	want := []string{
		"slo.error_budget_remaining_ratio{" + checkout + first + "} 0.75" + at,
		"slo.error_budget_remaining_ratio{" + items + second + "} 0.75" + at,
		"slo.error_budget_remaining_ratio{" + other + second + "} 1" + at,
		"slo.alert_burn_ratio{" + checkout + "severity:page," + first + "} 1.25" + at,
		"slo.alert_burn_ratio{" + checkout + "severity:ticket," + first + "} 0.5" + at,
		"slo.alert_burn_ratio{" + items + "severity:page," + second + "} 0" + at,
		"slo.alert_burn_ratio{" + items + "severity:ticket," + second + "} 0.25" + at,
		"slo.alert_burn_ratio{" + other + "severity:page," + second + "} 0" + at,
		"slo.alert_burn_ratio{" + other + "severity:ticket," + second + "} 0" + at,
		"rightsizing.headroom_cpu_cores{" + app + "} 0.3" + at,
		"rightsizing.headroom_memory_bytes{" + app + "} -134217728" + at,
	}
	for i, window := range []string{"5m", "30m", "1h", "2h", "6h", "1d", "3d", "period"} {
		want = append(want,
			"slo.burn_rate{"+checkout+first+",window:"+window+"} "+[]string{"20", "19", "18", "9.5", "3.5", "1.25", "0.5", "0.25"}[i]+at,
			"slo.burn_rate{"+items+second+",window:"+window+"} "+[]string{"0", "0", "0", "0.5", "0.5", "0.25", "0.25", "0.25"}[i]+at,
			"slo.burn_rate{"+other+second+",window:"+window+"} 0"+at)
	}
	got := in.lines()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The numbers in the presets' own documentation.
func TestPresets(t *testing.T) {
	status := sinktest.Report().SLOs[0]
	workload := sinktest.Workload()
	workload.Containers[0].Memory.Uncapped = slo.Defined(1)
	for _, c := range []struct {
		preset         Preset
		slo, container int
	}{
		{Minimal, 3, 0}, {Standard, 11, 2}, {"", 11, 2}, {Full, 35, 22},
	} {
		s := newSink(t, newIntake(t, key), Config{Metrics: c.preset})
		if n := s.Count(&sinks.Report{SLOs: []slo.Status{status}}); n != c.slo {
			t.Errorf("%s: an SLO is %d custom metrics, want %d", c.preset, n, c.slo)
		}
		one := s.Count(&sinks.Report{Workloads: []rightsizing.Workload{workload}})
		none := s.Count(&sinks.Report{Workloads: []rightsizing.Workload{{Namespace: "shop", Kind: "Deployment", Name: "checkout", Replicas: 3, VPA: "v"}}})
		if one-none != c.container {
			t.Errorf("%s: a container is %d custom metrics, want %d", c.preset, one-none, c.container)
		}
	}
}

func TestGaugesOnly(t *testing.T) {
	for _, f := range presets[Full].Families {
		if f.Type != sinks.Gauge {
			t.Errorf("%s is a %s of type %d", f.Name, f.Type, f.Type)
		}
	}
}

func TestUndefinedIsNotSent(t *testing.T) {
	r := sinktest.Report()
	r.SLOs = r.SLOs[:1]
	r.SLOs[0].Windows[0].BurnRate = slo.Defined(math.NaN())
	r.SLOs[0].Windows[1].BurnRate = slo.Value{}
	r.SLOs[0].Alerts[0].BurnRatio = slo.Defined(math.Inf(1))
	r.Workloads = nil
	in := newIntake(t, key)
	write(t, newSink(t, in, Config{}), r)
	if got := len(in.lines()); got != 8 {
		t.Errorf("%d points, want the 8 of 11 that are numbers:\n%s", got, strings.Join(in.lines(), "\n"))
	}
}

func TestNothingToSayAsksNothing(t *testing.T) {
	in := newIntake(t, key)
	s, err := New(Options{Config: Config{APIKeyFile: filepath.Join(t.TempDir(), "absent"), URL: in.URL}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, sinktest.Empty())
	if n := len(in.received()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

// Kubernetes exchanges the file under a running process: the next report has the new key.
func TestKeyIsReadAgain(t *testing.T) {
	in := newIntake(t, "new")
	file := keyFile(t, "old\n")
	s := sinkWith(t, in, Config{APIKeyFile: file})
	err := s.Write(t.Context(), sinktest.Report())
	if err == nil || err.Error() != "series: 403 Forbidden: Forbidden" {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, s, sinktest.Report())
	if got := in.received(); got[0].key != "old" || got[1].key != "new" {
		t.Errorf("keys %q and %q", got[0].key, got[1].key)
	}
}

func TestBadKeyFiles(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, content, want string }{
		{"empty", " \n", "api key: $FILE is empty"},
		{"two lines", "first-secret\nsecond-secret\n", "api key: $FILE holds more than a key"},
		{"not text", "first-secret\x00\xff", "api key: $FILE holds more than a key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(dir, c.name)
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			err := sinkWith(t, newIntake(t, key), Config{APIKeyFile: file}).Write(t.Context(), sinktest.Report())
			if want := strings.ReplaceAll(c.want, "$FILE", file); err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
	if err := sinkWith(t, newIntake(t, key), Config{APIKeyFile: filepath.Join(dir, "absent")}).Write(t.Context(), sinktest.Report()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that there is no file", err)
	}
}

// Whatever an intake, or what poses as one, answers: the error says it in a few words, never the
// key, and the next report goes through.
func TestAnswers(t *testing.T) {
	forbidden := refusedBody
	for _, c := range []struct {
		name              string
		status            int
		contentType, body string
		want              string
	}{
		{"a key that was withdrawn", 403, "application/json", forbidden, "series: 403 Forbidden: Forbidden"},
		{"too large", 413, "application/json", strings.Replace(forbidden, "Forbidden", "Payload too large", 1), "series: 413 Request Entity Too Large: Payload too large"},
		{"not understood", 400, "application/json", `{"errors":["request data must be valid JSON"]}`, "series: 400 Bad Request: request data must be valid JSON"},
		{"too often", 429, "application/json", `{"errors":["Too many requests"]}`, "series: 429 Too Many Requests: Too many requests"},
		{"a proxy's page", 502, "text/html", "<html>bad gateway</html>", "series: 502 Bad Gateway"},
		{"half a JSON", 400, "application/json", `{"errors":["re`, "series: 400 Bad Request"},
		{"a login page", 200, "text/html", "<html>please log in</html>", "series: 200 OK: not the answer of an intake"},
		{"the key in its own words", 403, "application/json", `{"errors":["no such key: ` + key + `"]}`, "series: 403 Forbidden: no such key: <secret>"},
		{"very many words", 400, "application/json", `{"errors":["` + strings.Repeat("very ", 100) + `many"]}`, "series: 400 Bad Request: " + strings.Repeat("very ", 36) + "ver…"},
		{"accepted with complaints, as version 2 does", 202, "application/json", `{"errors":["series 0: no points"]}`, "series: series 0: no points"},
		{"a redirect", 307, "text/html", "", "series: 307 Temporary Redirect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := newIntake(t, key)
			in.rejects(func(n int) (int, string, string) {
				if n > 1 {
					return 0, "", ""
				}
				return c.status, c.contentType, c.body
			})
			s := newSink(t, in, Config{})
			err := s.Write(t.Context(), sinktest.Report())
			if err == nil || err.Error() != c.want {
				t.Errorf("error %q, want %q", err, c.want)
			}
			write(t, s, sinktest.Report())
		})
	}
}

// The key is a header: following a redirect would hand it to wherever that points.
func TestKeyDoesNotFollowRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked elsewhere, with key %q", r.Header.Get("DD-API-KEY"))
	}))
	defer elsewhere.Close()
	in := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer in.Close()
	s, err := New(Options{Config: Config{APIKeyFile: keyFile(t, key), URL: in.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), sinktest.Report()); err == nil || err.Error() != "series: 307 Temporary Redirect" {
		t.Errorf("error %v", err)
	}
}

func TestUnreachableIntake(t *testing.T) {
	in := httptest.NewServer(http.NotFoundHandler())
	in.Close()
	s, err := New(Options{Config: Config{APIKeyFile: keyFile(t, key), URL: in.URL}})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Write(t.Context(), sinktest.Report())
	if err == nil || !strings.HasPrefix(err.Error(), "series: dial tcp ") || strings.Contains(err.Error(), key) {
		t.Errorf("error %v", err)
	}
}

// An intake that takes the request and then says nothing.
func TestSilentIntake(t *testing.T) {
	// stuck never answers, but lets go when the request is given up.
	stuck := transport(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	file := keyFile(t, key)
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Options{Config: Config{APIKeyFile: file}, Transport: stuck})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := s.Write(t.Context(), sinktest.Report()); err == nil {
			t.Error("no error")
		}
		if waited := time.Since(start); waited != requestTimeout {
			t.Errorf("gave up after %v, want %v", waited, requestTimeout)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := s.Write(ctx, sinktest.Report()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("gave up after %v, want the context's second", waited)
		}
	})
}

func TestEndlessAnswer(t *testing.T) {
	endless := transport(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 500, Status: "500 Internal Server Error", Header: http.Header{}, Body: io.NopCloser(zeros{})}, nil
	})
	s, err := New(Options{Config: Config{APIKeyFile: keyFile(t, key)}, Transport: endless})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), sinktest.Report()); err == nil || err.Error() != "series: 500 Internal Server Error" {
		t.Errorf("error %v", err)
	}
}

// A large report goes in parts, and a part that is refused takes none of the others with it.
func TestLargeReportsGoInParts(t *testing.T) {
	in := newIntake(t, key)
	in.rejects(func(n int) (int, string, string) {
		if n == 1 {
			return 400, "application/json", `{"errors":["no"]}`
		}
		return 0, "", ""
	})
	s := newSink(t, in, Config{})
	err := s.Write(t.Context(), sinktest.Large(1100))
	if err == nil || err.Error() != "series: 400 Bad Request: no" {
		t.Errorf("error %v", err)
	}
	var sizes []int
	for _, r := range in.received() {
		sizes = append(sizes, len(r.series))
		if r.bytes > 5_000_000 {
			t.Errorf("a request of %d bytes", r.bytes)
		}
	}
	if want := []int{10000, 2100}; !slices.Equal(sizes, want) {
		t.Errorf("requests of %v series, want %v", sizes, want)
	}
}

// Of two values for one series Datadog keeps the last, whichever that is. Groups that only differ
// in case are one series there: the first is sent, and the log says so once.
func TestSeriesThatDatadogCannotTellApart(t *testing.T) {
	o := sinktest.Objective("pay", "shop", "99", slo.RollingPeriod(30*slo.Day))
	o.GroupBy = []string{"route"}
	full := map[string]sinktest.Counts{"30d": {Total: 100, Bad: 1, Coverage: 1}}
	r := &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{
		sinktest.Status(o, []string{"/Pay"}, full), sinktest.Status(o, []string{"/pay"}, nil), sinktest.Status(o, []string{"/払う"}, nil), sinktest.Status(o, []string{"/支払"}, nil),
	}}
	in := newIntake(t, key)
	var logged strings.Builder
	s, err := New(Options{Config: Config{APIKeyFile: keyFile(t, key), URL: in.URL, Metrics: Minimal}, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, r)
	write(t, s, r)
	want := []string{
		"slo.error_budget_remaining_ratio{route:/pay,service:shop,slo:pay} 0@1767312000",
		"slo.error_budget_remaining_ratio{route:/払う,service:shop,slo:pay} 1@1767312000",
		"slo.error_budget_remaining_ratio{route:/支払,service:shop,slo:pay} 1@1767312000",
	}
	if got := in.lines(); !slices.Equal(got[:3], want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if n := strings.Count(logged.String(), "left_out=1"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, logged.String())
	}
	if n := strings.Count(logged.String(), "count=3"); n != 1 {
		t.Errorf("the count was said %d times, want once:\n%s", n, logged.String())
	}
}

// The double answers what the real intake answered.
func TestDoubleIsAsRecorded(t *testing.T) {
	in := newIntake(t, key)
	for i, e := range recorded(t, func(e exchange) bool { return e.Method == http.MethodPost && e.Path == "/api/v1/series" }) {
		if e.Status != http.StatusAccepted || e.Headers["content-type"] != acceptedType || !sameJSON(e.Answer, []byte(acceptedBody)) {
			t.Errorf("exchange %d: the real one answers %d %s %s", i, e.Status, e.Headers["content-type"], e.Answer)
		}
	}
	for i, e := range recorded(t, func(e exchange) bool {
		return e.Status == http.StatusForbidden && strings.Contains(string(e.Answer), "statuspage")
	}) {
		if e.Headers["content-type"] != refusedType || !sameJSON(e.Answer, []byte(refusedBody)) {
			t.Errorf("refusal %d: the real one answers %s %s", i, e.Headers["content-type"], e.Answer)
		}
	}
	write(t, newSink(t, in, Config{}), sinktest.Report())
}

// What we send has the shape of what the real intake accepted.
func TestPayloadIsAsRecorded(t *testing.T) {
	fields := map[string]bool{}
	for _, e := range recorded(t, func(e exchange) bool { return e.Method == http.MethodPost && e.Path == "/api/v1/series" }) {
		for _, s := range rawSeries(t, e.Request) {
			for name, value := range s {
				fields[name+" "+shape(value)] = true
			}
		}
	}
	var sent []byte
	catch := transport(func(r *http.Request) (*http.Response, error) {
		inflated, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		if sent, err = io.ReadAll(inflated); err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: 202, Status: "202 Accepted", Header: http.Header{"Content-Type": {acceptedType}}, Body: io.NopCloser(strings.NewReader(acceptedBody))}, nil
	})
	s, err := New(Options{Config: Config{APIKeyFile: keyFile(t, key), Metrics: Full}, Transport: catch})
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, sinktest.Report())
	for _, series := range rawSeries(t, sent) {
		for name, value := range series {
			if !fields[name+" "+shape(value)] {
				t.Errorf("field %s as %s was never seen, only %v", name, shape(value), slices.Sorted(maps.Keys(fields)))
			}
		}
	}
}

func TestSitesAndAddresses(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, "https://api.datadoghq.com/api/v1/series"},
		{Config{Site: "datadoghq.eu"}, "https://api.datadoghq.eu/api/v1/series"},
		{Config{Site: "us5.datadoghq.com"}, "https://api.us5.datadoghq.com/api/v1/series"},
		{Config{Site: "a-site-of-tomorrow.example"}, "https://api.a-site-of-tomorrow.example/api/v1/series"},
		{Config{Site: "datadoghq.eu", URL: "http://127.0.0.1:8126/intake/"}, "http://127.0.0.1:8126/intake/api/v1/series"},
	} {
		var asked string
		catch := transport(func(r *http.Request) (*http.Response, error) {
			asked = r.URL.String()
			return nil, errors.New("no network here")
		})
		c.config.APIKeyFile = keyFile(t, key)
		s, err := New(Options{Config: c.config, Transport: catch})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write(t.Context(), sinktest.Report()); err == nil || err.Error() != "series: no network here" {
			t.Errorf("error %v", err)
		}
		if asked != c.want {
			t.Errorf("asked %s, want %s", asked, c.want)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	const slos = 1000 // 11 series each
	accept := transport(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return &http.Response{StatusCode: 202, Header: http.Header{"Content-Type": {acceptedType}}, Body: io.NopCloser(strings.NewReader(acceptedBody))}, nil
	})
	s, err := New(Options{Config: Config{APIKeyFile: keyFile(b, key)}, Transport: accept})
	if err != nil {
		b.Fatal(err)
	}
	r := sinktest.Large(slos)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Write(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(s.Count(r)), "series")
}

// newSink is a sink for the intake, with its key.
func newSink(t testing.TB, in *intake, c Config) *Sink {
	c.APIKeyFile = keyFile(t, in.key)
	return sinkWith(t, in, c)
}

func sinkWith(t testing.TB, in *intake, c Config) *Sink {
	t.Helper()
	c.URL = in.URL
	s, err := New(Options{Name: "dd", Config: c})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keyFile(t testing.TB, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "api")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func write(t *testing.T, s *Sink, r *sinks.Report) {
	t.Helper()
	if err := s.Write(t.Context(), r); err != nil {
		t.Fatalf("write: %v", err)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// zeros is a body without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func rawSeries(t *testing.T, text []byte) []map[string]any {
	t.Helper()
	var payload struct {
		Series []map[string]any `json:"series"`
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&payload); err != nil {
		t.Fatal(err)
	}
	if len(payload.Series) == 0 {
		t.Fatal("no series")
	}
	return payload.Series
}

// shape is a JSON value without its content.
func shape(v any) string {
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "[" + shape(v[0]) + "]"
	default:
		return fmt.Sprintf("%T", v)
	}
}
