package datadog

import (
	"bytes"
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
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
	"github.com/yoyu-sre/yoyu/test/datadog/recorded"
)

// TestContract runs on the machine's own clock, over a network: the sample reports are of now.
func TestContract(t *testing.T) {
	then := sinktest.Time
	defer func() { sinktest.Time = then }()
	sinktest.Time = time.Now().Truncate(time.Minute)
	var stored int
	sinktest.Run(t, func(t *testing.T) sinks.Sink {
		d := fake.Start(t, fake.Options{Clock: time.Now, Strict: true})
		t.Cleanup(func() {
			stored += len(d.Stored())
			if drops := d.Drops(); len(drops) > 0 {
				t.Errorf("Datadog lost %v", drops)
			}
		})
		return newSink(t, d, Config{URL: d.URL})
	})
	if stored == 0 {
		t.Error("nothing was stored")
	}
}

// The whole payload of a typical report under the standard preset.
func TestTypicalPayload(t *testing.T) {
	t.Setenv("DD_ENV", "prod")
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		write(t, newSink(t, d, Config{Tags: []string{"cluster:tokyo"}}), sinktest.Report())
		compare(t, lines(d), typicalLines())
	})
}

// typicalTags are the sink's own tags in typicalLines.
var typicalTags = []string{"cluster:tokyo", "env:prod"}

// typicalLines are the points of the typical report, as "name{tag,tag} value@second".
func typicalLines() []string {
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
	return want
}

// The numbers in the presets' own documentation.
func TestPresets(t *testing.T) {
	status := sinktest.Report().SLOs[0]
	corrected, plain := status, *status.Objective
	plain.Corrections = nil
	status.Objective = &plain
	workload := sinktest.Workload()
	workload.Containers[0].Memory.Uncapped = slo.Defined(1)
	workload.Change = nil // of a workload, not of a container
	for _, c := range []struct {
		preset         Preset
		slo, container int
	}{
		{Minimal, 3, 0}, {Standard, 11, 2}, {"", 11, 2}, {Full, 35, 22},
	} {
		s := newSink(t, fake.New(fake.Options{}), Config{Metrics: c.preset})
		if n := s.Count(&sinks.Report{SLOs: []slo.Status{status}}); n != c.slo {
			t.Errorf("%s: an SLO is %d custom metrics, want %d", c.preset, n, c.slo)
		}
		more := 0
		if c.preset == Full {
			more = 3 * len(corrected.Corrections)
		}
		if n := s.Count(&sinks.Report{SLOs: []slo.Status{corrected}}); n != c.slo+more {
			t.Errorf("%s: a corrected SLO is %d custom metrics, want %d", c.preset, n, c.slo+more)
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
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		write(t, newSink(t, d, Config{}), r)
		if got := len(lines(d)); got != 8 {
			t.Errorf("%d points, want the 8 of 11 that are numbers:\n%s", got, strings.Join(lines(d), "\n"))
		}
	})
}

func TestNothingToSayAsksNothing(t *testing.T) {
	d := fake.Start(t, fake.Options{Clock: time.Now})
	s, err := New(Options{Config: Config{APIKeyFile: filepath.Join(t.TempDir(), "absent"), URL: d.URL}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, sinktest.Empty())
	if n := len(d.Journal()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

// Kubernetes exchanges the file under a running process: the next report has the new key.
func TestKeyIsReadAgain(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		file := keyFile(t, "old\n")
		s := sinkWith(t, d, Config{APIKeyFile: file})
		err := s.Write(t.Context(), sinktest.Report())
		if err == nil || err.Error() != "series: 403 Forbidden: is the API key wrong?" {
			t.Errorf("error %v", err)
		}
		if err := os.WriteFile(file, []byte(fake.APIKey), 0o600); err != nil {
			t.Fatal(err)
		}
		write(t, s, sinktest.Report())
		if got := d.Journal(); len(got) != 2 || got[0].Key != "unknown" || got[1].Key != "accepted" {
			t.Errorf("requests %+v", got)
		}
	})
}

// A key that is exchanged between its reading and its refusal counts at once.
func TestKeyIsReadAgainWhenRefused(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		file := keyFile(t, "old")
		d.Rotate([]string{"new"}, nil)
		exchange := transport(func(r *http.Request) (*http.Response, error) {
			if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
				t.Error(err)
			}
			return d.Transport().RoundTrip(r)
		})
		s, err := New(Options{Config: Config{APIKeyFile: file, Tags: typicalTags}, Transport: exchange})
		if err != nil {
			t.Fatal(err)
		}
		write(t, s, sinktest.Report())
		compare(t, lines(d), typicalLines())
	})
}

func TestBadKeyFiles(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, content, want string }{
		{"empty", " \n", "api_key_file: $FILE is empty"},
		{"two lines", "first-secret\nsecond-secret\n", "api_key_file: $FILE holds more than a key"},
		{"not text", "first-secret\x00\xff", "api_key_file: $FILE holds more than a key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(dir, c.name)
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			bubble(t, func(t *testing.T, d *fake.Datadog) {
				err := sinkWith(t, d, Config{APIKeyFile: file}).Write(t.Context(), sinktest.Report())
				if want := strings.ReplaceAll(c.want, "$FILE", file); err == nil || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
			})
		})
	}
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		if err := sinkWith(t, d, Config{APIKeyFile: filepath.Join(dir, "absent")}).Write(t.Context(), sinktest.Report()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v, want that there is no file", err)
		}
	})
}

// Whatever an intake, or what poses as one, answers: the error says it in a few words, never the
// key, and the next report goes through. What may pass is tried again without a word.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer fake.Action
		want   string // "" when a second try delivers
	}{
		{"a key that was withdrawn", fake.Status(403), "series: 403 Forbidden: is the API key wrong?"},
		{"too large", fake.Status(413), ""},
		{"not understood", fake.StatusBody(400, "application/json", `{"errors":["request data must be valid JSON"]}`), "series: 400 Bad Request: request data must be valid JSON"},
		{"too often", fake.TooMany("2"), ""},
		{"too slow", fake.Status(408), ""},
		{"a proxy's page", fake.HTML(502), ""},
		{"a broken pipe", fake.ResetBefore, ""},
		{"half an answer", fake.ResetMidBody, ""},
		{"half a JSON", fake.StatusBody(400, "application/json", `{"errors":["re`), "series: 400 Bad Request"},
		{"somebody else", fake.StatusBody(404, "text/plain", "no such page"), "series: 404 Not Found"},
		{"a login page", fake.StatusBody(200, "text/html", "<html>please log in</html>"), "series: 200 OK: the answer is not what Datadog says: invalid character '<' looking for beginning of value"},
		{"the key in its own words", fake.StatusBody(403, "application/json", `{"errors":["no such key: `+fake.APIKey+`"]}`), "series: 403 Forbidden: no such key: <secret>: is the API key wrong?"},
		{"very many words", fake.StatusBody(400, "application/json", `{"errors":["`+strings.Repeat("very ", 100)+`many"]}`), "series: 400 Bad Request: " + strings.Repeat("very ", 56) + "ve…"},
		{"accepted with complaints, as version 2 does", fake.StatusBody(202, "application/json", `{"errors":["series 0: no points"]}`), "series: series 0: no points"},
		{"a redirect", fake.StatusBody(307, "text/html", ""), "series: 307 Temporary Redirect: it is not followed; write the address as url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, d *fake.Datadog) {
				d.Fault(fake.Fault{Times: 1, Do: c.answer})
				s := newSink(t, d, Config{Tags: typicalTags})
				if err := s.Write(t.Context(), sinktest.Report()); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
					t.Errorf("error %v, want %q", err, c.want)
				}
				write(t, s, sinktest.Report())
				compare(t, lines(d), typicalLines())
			})
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
	s, err := New(Options{Config: Config{APIKeyFile: keyFile(t, fake.APIKey), URL: in.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), fresh()); err == nil || err.Error() != "series: 307 Temporary Redirect: it is not followed; write the address as url" {
		t.Errorf("error %v", err)
	}
}

// The address is real and nobody is there: the write ends with its own patience, not with that of
// the context.
func TestUnreachableIntake(t *testing.T) {
	in := httptest.NewServer(http.NotFoundHandler())
	in.Close()
	s, err := New(Options{Config: Config{APIKeyFile: keyFile(t, fake.APIKey), URL: in.URL}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = s.Write(ctx, fresh())
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		return // the machine is slow
	}
	if err == nil || err.Error() != "series: connection refused" {
		t.Errorf("error %v", err)
	}
}

// An intake that takes the request and then says nothing.
func TestSilentIntake(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		d.Fault(fake.Fault{Do: fake.Hang})
		s := newSink(t, d, Config{})
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
	synctest.Test(t, func(t *testing.T) {
		endless := transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 400, Status: "400 Bad Request", Header: http.Header{}, Body: io.NopCloser(zeros{})}, nil
		})
		s, err := New(Options{Config: Config{APIKeyFile: keyFile(t, fake.APIKey)}, Transport: endless})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write(t.Context(), fresh()); err == nil || err.Error() != "series: the answer is longer than 1 MiB" {
			t.Errorf("error %v", err)
		}
	})
}

// A large report goes in parts, and a part that is refused takes none of the others with it.
func TestLargeReportsGoInParts(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		d.Fault(fake.Fault{Times: 1, Do: fake.StatusBody(400, "application/json", `{"errors":["no"]}`)})
		s := newSink(t, d, Config{})
		err := s.Write(t.Context(), sinktest.Large(1100))
		if err == nil || err.Error() != "series: 400 Bad Request: no" {
			t.Errorf("error %v", err)
		}
		var sizes []int
		for _, r := range d.Journal() {
			sizes = append(sizes, strings.Count(string(r.Body), `"metric"`))
			if r.Inflated > 5_000_000 {
				t.Errorf("a request of %d bytes", r.Inflated)
			}
		}
		if want := []int{10000, 2100}; !slices.Equal(sizes, want) {
			t.Errorf("requests of %v series, want %v", sizes, want)
		}
		if n := len(d.Stored()); n != 2100 {
			t.Errorf("%d series are stored, want those of the second request", n)
		}
	})
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
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		var logged strings.Builder
		drops := map[string]int{}
		s, err := New(Options{
			Config: Config{APIKeyFile: keyFile(t, fake.APIKey), Metrics: Minimal}, Transport: d.Transport(),
			Logger: slog.New(slog.NewTextHandler(&logged, nil)), Dropped: func(reason string, n int) { drops[reason] += n },
		})
		if err != nil {
			t.Fatal(err)
		}
		write(t, s, r)
		write(t, s, r)
		compare(t, lines(d), []string{
			"slo.error_budget_remaining_ratio{route:/pay,service:shop,slo:pay} 0@1767312000",
			"slo.error_budget_remaining_ratio{route:/払う,service:shop,slo:pay} 1@1767312000",
			"slo.error_budget_remaining_ratio{route:/支払,service:shop,slo:pay} 1@1767312000",
		})
		if n := strings.Count(logged.String(), "left_out=1"); n != 1 {
			t.Errorf("said %d times, want once:\n%s", n, logged.String())
		}
		if n := strings.Count(logged.String(), "count=3"); n != 1 {
			t.Errorf("the count was said %d times, want once:\n%s", n, logged.String())
		}
		if drops["merged"] != 2 {
			t.Errorf("%d points were merged, want one for each report", drops["merged"])
		}
	})
}

// What we send has the shape of what the real intake accepted.
func TestPayloadIsAsRecorded(t *testing.T) {
	fields := map[string]bool{}
	for _, e := range recorded.All(t, func(e recorded.Exchange) bool { return e.Method == http.MethodPost && e.Path == "/api/v1/series" }) {
		for _, s := range rawSeries(t, e.Request) {
			for name, value := range s {
				fields[name+" "+shape(value)] = true
			}
		}
	}
	var sent []byte
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		write(t, newSink(t, d, Config{Metrics: Full}), sinktest.Report())
		sent = d.Journal()[0].Body
	})
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
		synctest.Test(t, func(t *testing.T) {
			var asked string
			catch := transport(func(r *http.Request) (*http.Response, error) {
				asked = r.URL.String()
				return nil, errors.New("no network here")
			})
			c.config.APIKeyFile = keyFile(t, fake.APIKey)
			s, err := New(Options{Config: c.config, Transport: catch})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Write(t.Context(), fresh()); err == nil || err.Error() != "series: no network here" {
				t.Errorf("error %v", err)
			}
			if asked != c.want {
				t.Errorf("asked %s, want %s", asked, c.want)
			}
		})
	}
}

// bubble runs a test inside a bubble of testing/synctest, at the time of the sample reports, with a
// fake Datadog that has the same clock and is reached without a network.
func bubble(t *testing.T, test func(t *testing.T, d *fake.Datadog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		<-time.After(time.Until(sinktest.Time))
		test(t, fake.New(fake.Options{Clock: time.Now, Strict: true}))
	})
}

// fresh is the typical report of this very moment.
func fresh() *sinks.Report {
	r := sinktest.Report()
	r.Time = time.Now()
	return r
}

// lines are all points that are stored, as "name{tag,tag} value@second".
func lines(d *fake.Datadog) []string {
	var out []string
	for _, s := range d.Stored() {
		for _, p := range s.Points {
			out = append(out, fmt.Sprintf("%s{%s} %s@%d", s.Name, strings.Join(s.Tags, ","), strconv.FormatFloat(p.Value, 'f', -1, 64), p.At.Unix()))
		}
	}
	return out
}

// compare holds lines to others, in any order.
func compare(t *testing.T, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// newSink is a sink for the fake, with its key; over a network when the configuration has an
// address.
func newSink(t testing.TB, d *fake.Datadog, c Config) *Sink {
	c.APIKeyFile = keyFile(t, fake.APIKey)
	return sinkWith(t, d, c)
}

func sinkWith(t testing.TB, d *fake.Datadog, c Config) *Sink {
	t.Helper()
	o := Options{Name: "dd", Config: c}
	if c.URL == "" {
		o.Transport = d.Transport()
	}
	s, err := New(o)
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
