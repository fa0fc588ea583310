package prom

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
)

// What Prometheus 3 asks for, by default.
const acceptPrometheus3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6," +
	"application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4," +
	"text/plain;version=0.0.4;q=0.3,*/*;q=0.2"

func TestNegotiation(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Report())
	const (
		classic = "text/plain; version=0.0.4; charset=utf-8"
		om1     = "application/openmetrics-text; version=1.0.0; charset=utf-8"
		om0     = "application/openmetrics-text; version=0.0.1; charset=utf-8"
	)
	for _, f := range []struct {
		accept, encoding string
		kind             string
		compressed       bool
	}{
		{acceptPrometheus3, "gzip", om1, true},
		{acceptPrometheus3, "identity", om1, false},
		{acceptPrometheus3, "zstd,gzip", om1, true},
		{"application/openmetrics-text;version=0.0.1", "", om0, false},
		{"text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.1", "", classic, false},
		// Native histograms ask for protobuf first; there are none here.
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3", "", classic, false},
		{"", "", classic, false},
		{"text/html", "br", classic, false},
		{"", "GZIP", classic, true},
		{"", "gzip;q=0", classic, false},
		{"", "gzip; q=0.5, identity", classic, false},
		{"", "gzip; q=0.5, identity; q=0.1", classic, true},
		{"", "*", classic, true},
		{"", "*, gzip;q=0", classic, false},
		{"", "gzip;q=much", classic, false},
	} {
		got := scrape(t, s, f.accept, f.encoding)
		if got.status != http.StatusOK {
			t.Errorf("%+v: status %d", f, got.status)
		}
		if kind, _, _ := strings.Cut(got.header.Get("Content-Type"), "; escaping="); kind != f.kind {
			t.Errorf("%+v: Content-Type %q", f, kind)
		}
		if compressed := got.header.Get("Content-Encoding") == "gzip"; compressed != f.compressed {
			t.Errorf("%+v: Content-Encoding %q", f, got.header.Get("Content-Encoding"))
		}
		if length := got.header.Get("Content-Length"); length != strconv.Itoa(got.wire) {
			t.Errorf("%+v: Content-Length %s, want %d", f, length, got.wire)
		}
		if eof := bytes.Count(got.body, []byte("# EOF\n")); (eof == 1 && bytes.HasSuffix(got.body, []byte("# EOF\n"))) != (f.kind != classic) {
			t.Errorf("%+v: %d ends", f, eof)
		}
		if !slices.Contains(got.header.Values("Vary"), "Accept-Encoding") {
			t.Errorf("%+v: Vary %q", f, got.header.Values("Vary"))
		}
	}
}

func TestMethods(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Report())
	h := s.Handler(nil, HandlerOptions{})
	if got := ask(t, h, http.MethodHead, "/metrics", acceptPrometheus3, "gzip"); got.status != http.StatusOK || got.wire != 0 || got.header.Get("Content-Type") == "" {
		t.Errorf("HEAD: status %d, %d bytes, Content-Type %q", got.status, got.wire, got.header.Get("Content-Type"))
	}
	if len(s.now.pages) > 0 {
		t.Error("HEAD made a page")
	}
	if got := ask(t, h, http.MethodPost, "/metrics", "", ""); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: status %d, Allow %q", got.status, got.header.Get("Allow"))
	}
}

// rest is what a daemon has beside its reports.
func rest(t *testing.T) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "yoyu_source_failures_total", Help: "Failures \"and\" \\ reasons."}, []string{"source"})
	requests.WithLabelValues("prom").Add(3)
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "yoyu_tick_duration_seconds", Help: "Ticks.", Buckets: []float64{0.1}})
	took.Observe(0.05)
	registry.MustRegister(requests, took)
	return registry
}

// The rest stands after the reports, written as client_golang writes it, before the first report
// and after, in one answer that a parser takes as one page.
func TestRest(t *testing.T) {
	s := New(Options{})
	h := s.Handler(rest(t), HandlerOptions{})
	for _, encoding := range []string{"", "gzip"} {
		if got := string(answer(t, h, acceptOpenMetrics, encoding).body); got != `# HELP yoyu_source_failures Failures \"and\" \\ reasons.
# TYPE yoyu_source_failures counter
yoyu_source_failures_total{source="prom"} 3.0
# HELP yoyu_tick_duration_seconds Ticks.
# TYPE yoyu_tick_duration_seconds histogram
yoyu_tick_duration_seconds_bucket{le="0.1"} 1
yoyu_tick_duration_seconds_bucket{le="+Inf"} 1
yoyu_tick_duration_seconds_sum 0.05
yoyu_tick_duration_seconds_count 1
# EOF
` {
			t.Errorf("before the first report:\n%s", got)
		}
	}
	if err := s.Write(t.Context(), sinktest.Large(300)); err != nil {
		t.Fatal(err)
	}
	for _, accept := range []string{acceptText, acceptOpenMetrics} {
		whole := answer(t, h, accept, "").body
		if zipped := answer(t, h, accept, "gzip"); !bytes.Equal(zipped.body, whole) || zipped.wire*5 > len(whole) {
			t.Errorf("%s: compressed to %d bytes, which hold %d; plain it is %d", accept, zipped.wire, len(zipped.body), len(whole))
		}
		alone := scrape(t, s, accept, "").body
		begin := bytes.TrimSuffix(alone, []byte("# EOF\n"))
		if !bytes.HasPrefix(whole, begin) || !bytes.HasPrefix(whole[len(begin):], []byte("# HELP yoyu_source_failures")) {
			t.Errorf("%s: the rest does not follow the report", accept)
		}
	}
}

// Within a second, those who ask for everything in one form share what was gathered; a second later,
// at the next report, in another form, for some families and before the first report it is asked anew.
func TestRestIsGatheredOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gathered := 0
		counts := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			gathered++
			registry := prometheus.NewRegistry()
			registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "yoyu_gathered_total", Help: "How often."}, func() float64 { return float64(gathered) }))
			return registry.Gather()
		})
		s := New(Options{})
		h := s.Handler(counts, HandlerOptions{})
		said := func(path, encoding string) string {
			body := string(ask(t, h, http.MethodGet, path, acceptText, encoding).body)
			_, n, _ := strings.Cut(body, "\nyoyu_gathered_total ")
			return strings.TrimSpace(n)
		}
		write := func() {
			if err := s.Write(t.Context(), sinktest.Report()); err != nil {
				t.Fatal(err)
			}
		}
		for i, step := range []struct {
			what     string
			before   func()
			path     string
			encoding string
			want     string
		}{
			{"before the first report", func() {}, "/metrics", "", "1"},
			{"and again", func() {}, "/metrics", "", "2"},
			{"the first report", write, "/metrics", "", "3"},
			{"a further scraper", func() {}, "/metrics", "", "3"},
			{"just within the second", func() { <-time.After(time.Second - 1) }, "/metrics", "", "3"},
			{"a second later", func() { <-time.After(1) }, "/metrics", "", "4"},
			{"compressed", func() {}, "/metrics", "gzip", "5"},
			{"plain still", func() {}, "/metrics", "", "4"},
			{"some families", func() {}, "/metrics?collect[]=yoyu_gathered_total", "", "6"},
			{"the next report", write, "/metrics", "", "7"},
		} {
			step.before()
			if got := said(step.path, step.encoding); got != step.want {
				t.Errorf("step %d, %s: gathered %s times, want %s", i, step.what, got, step.want)
			}
		}
	})
}

// One broken collector must not hide how the services are.
func TestRestThatFails(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Report())
	var logged bytes.Buffer
	h := s.Handler(prometheus.Gatherers{rest(t), prometheus.GathererFunc(failing)}, HandlerOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	got := answer(t, h, "", "")
	for _, line := range []string{`slo_burn_rate{service="checkout",slo="checkout-availability",window="1h"} 18`, `yoyu_source_failures_total{source="prom"} 3`} {
		if !bytes.Contains(got.body, []byte(line+"\n")) {
			t.Errorf("the page lacks %s", line)
		}
	}
	if !strings.Contains(logged.String(), "no more file descriptors") {
		t.Errorf("logged %q", logged.String())
	}
}

func TestCollect(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Report())
	h := s.Handler(rest(t), HandlerOptions{})
	all := len(sinks.Families) + 2
	for _, f := range []struct {
		query string
		want  int // families
		some  []string
	}{
		{"", all, nil},
		{"other=1", all, nil},
		{"collect[]=slo_burn_rate", 1, []string{"slo_burn_rate"}},
		{"collect[]=slo_burn_rate&collect%5B%5D=slo_info", 2, []string{"slo_info", "slo_burn_rate"}},
		{"collect[]=slo_burn_rate&collect[]=slo_b", 3, []string{"slo_burn_rate", "slo_bad_events_total", "slo_budget_policy_info"}},
		{"collect[]=slo_error_budget_remaining", 2, []string{"slo_error_budget_remaining_ratio", "slo_error_budget_remaining_events"}},
		{"collect[]=slo_error_budget_events", 1, []string{"slo_error_budget_events"}},
		{"collect[]=rightsizing_&collect[]=vpa_", 19, []string{"vpa_info", "rightsizing_replicas"}},
		{"collect[]=slo_events", 1, []string{"slo_events_total"}},
		{"collect[]=yoyu_", 2, []string{"yoyu_tick_duration_seconds"}},
		{"collect[]=yoyu_tick_duration_seconds&collect[]=slo_period_seconds", 2, []string{"yoyu_tick_duration_seconds", "slo_period_seconds"}},
		{"collect[]=", all, nil},
	} {
		for _, encoding := range []string{"", "gzip", "gzip"} {
			got := ask(t, h, http.MethodGet, "/metrics?"+f.query, acceptText, encoding)
			families := familiesOf(t, got.body)
			if got.status != http.StatusOK || len(families) != f.want {
				t.Errorf("%s: status %d, %d families, want %d", f.query, got.status, len(families), f.want)
			}
			for _, name := range f.some {
				if !bytes.Contains(got.body, []byte("# TYPE "+name+" ")) {
					t.Errorf("%s: %s is missing", f.query, name)
				}
			}
		}
	}
}

func TestCollectOfWhatThereIsNot(t *testing.T) {
	h := New(Options{}).Handler(rest(t), HandlerOptions{})
	for _, query := range []string{"collect[]=slo_burn_rates", "collect[]=slo_burn_rate&collect[]=burn_rate", "collect[]=SLO_"} {
		got := ask(t, h, http.MethodGet, "/metrics?"+query, "", "")
		body := string(got.body)
		if got.status != http.StatusBadRequest || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: status %d, Content-Type %s", query, got.status, got.header.Get("Content-Type"))
		}
		wrong := query[strings.LastIndex(query, "=")+1:]
		if !strings.HasPrefix(body, "collect[]="+wrong+": no family has this name or begins with it; there are rightsizing_changes_total, ") ||
			!strings.Contains(body, ", slo_burn_rate, ") || !strings.Contains(body, ", yoyu_tick_duration_seconds") {
			t.Errorf("%s: %s", query, body)
		}
	}
}

// Whoever asks for ever new choices pays for them alone.
func TestChoicesAreBounded(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Report())
	h := s.Handler(nil, HandlerOptions{})
	for i, first := range sinks.Families {
		for _, second := range sinks.Families[:i] {
			query := "?collect[]=" + first.Name + "&collect[]=" + second.Name
			if got := ask(t, h, http.MethodGet, "/metrics"+query, acceptText, "gzip"); len(familiesOf(t, got.body)) != 2 {
				t.Errorf("%s: %d families, want 2", query, len(familiesOf(t, got.body)))
			}
		}
	}
	if n := len(s.now.pages); n > maxPages {
		t.Errorf("%d pages are remembered, want at most %d", n, maxPages)
	}
}

// Over a real connection a scraper gets what it gets here.
func TestOverTheWire(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Large(2000))
	server := httptest.NewServer(s.Handler(rest(t), HandlerOptions{}))
	defer server.Close()
	response, err := server.Client().Get(server.URL) // asks for gzip and undoes it
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	if want := answer(t, s.Handler(rest(t), HandlerOptions{}), "", "").body; !response.Uncompressed || !bytes.Equal(body.Bytes(), want) {
		t.Errorf("%d bytes came, want %d; compressed: %v", body.Len(), len(want), response.Uncompressed)
	}
}

func failing() ([]*dto.MetricFamily, error) { return nil, errors.New("no more file descriptors") }
