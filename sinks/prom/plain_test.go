package prom

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// plain is the usual way to show a report: constant metrics of client_golang, made anew for every
// scrape. It is what the pages are compared with.
type plain struct {
	report    *sinks.Report
	selection sinks.Selection
}

func (p plain) Describe(chan<- *prometheus.Desc) {}

func (p plain) Collect(ch chan<- prometheus.Metric) {
	var (
		descs  = map[string]*prometheus.Desc{}
		id     []byte
		names  []string
		values []string
	)
	for point := range p.report.Points(p.selection) {
		names, values = names[:0], values[:0]
		id = append(id[:0], point.Family.Name...)
		for _, l := range point.Labels {
			names, values = append(names, l.Name), append(values, strings.ToValidUTF8(l.Value, "\uFFFD"))
			id = append(append(id, ','), l.Name...)
		}
		desc := descs[string(id)]
		if desc == nil {
			desc = prometheus.NewDesc(point.Family.Name, point.Family.Help, slices.Clone(names), nil)
			descs[string(id)] = desc
		}
		kind := prometheus.GaugeValue
		if point.Family.Type == sinks.Counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(desc, kind, point.Value, values...)
	}
}

// handler is the plain way to answer scrapes.
func (p plain) handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(p)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

const (
	acceptText        = "text/plain;version=0.0.4"
	acceptOpenMetrics = "application/openmetrics-text;version=1.0.0"
)

var sampleReports = map[string]func() *sinks.Report{
	"typical": sinktest.Report, "empty": sinktest.Empty, "nothing known": sinktest.Unknown, "odd": sinktest.Odd,
	"large": func() *sinks.Report { return sinktest.Large(200) },
	"labels around the variant": func() *sinks.Report {
		o := sinktest.Objective("o", "shop", "99", slo.RollingPeriod(30*slo.Day))
		o.GroupBy = []string{"zone", "a", "session", "uri"}
		return of(sinktest.Status(o, []string{"z", "a", "s", "u"}, map[string]sinktest.Counts{"1h": {Total: 3e9, Bad: 1, Coverage: 1}}), sinktest.Status(o, []string{"", "a", "", ""}, nil))
	},
	"extreme numbers": func() *sinks.Report {
		r := sinktest.Report()
		for i, v := range []float64{math.MaxFloat64, 5e-324, -1e-7, 1e6, 999999, -1e6, 1 << 53, 1e21, 123456.5, 0.1, -0.5, math.NaN(), math.Inf(1)} {
			w := &r.SLOs[i/8].Windows[i%8]
			w.BurnRate = slo.Defined(v)
		}
		r.SLOs[0].EventsTotal = 1e15
		return r
	},
}

// The promise of the package: what it writes is what client_golang writes, line for line and byte
// for byte, but for the order in which the series of a family and the families come.
func TestSameBytesAsThePlainWay(t *testing.T) {
	for name, report := range sampleReports {
		for _, selection := range []sinks.Selection{{}, {AllWindows: true}, {
			Families: []*sinks.Family{sinks.SLOInfo, sinks.SLOErrorRatio, sinks.SLOBurnRate, sinks.Replicas}, Windows: []string{"6h", sinks.PeriodWindow},
		}} {
			s := New(Options{Selection: selection})
			// What was shown before, and how, must leave no trace.
			for _, before := range []*sinks.Report{sinktest.Odd(), sinktest.Large(10), report(), report()} {
				if err := s.Write(t.Context(), before); err != nil {
					t.Fatal(err)
				}
				for _, accept := range []string{acceptText, acceptOpenMetrics} {
					for _, encoding := range []string{"", "gzip"} {
						want := familiesOf(t, answer(t, plain{before, selection}.handler(), accept, encoding).body)
						got := familiesOf(t, scrape(t, s, accept, encoding).body)
						if len(got) != len(want) {
							t.Errorf("%s, %s: families %v, want %v", name, accept, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
						}
						for family, lines := range want {
							if !slices.Equal(got[family], lines) {
								t.Errorf("%s, %s: family\n%s\nwant\n%s", name, accept, strings.Join(got[family], "\n"), strings.Join(lines, "\n"))
							}
						}
					}
				}
			}
		}
	}
}

// Prometheus' own parsers take every page, and read the numbers that were written.
func TestPrometheusReads(t *testing.T) {
	for name, report := range sampleReports {
		r := report()
		want := map[string]float64{}
		for p := range r.Points(sinks.Selection{}) {
			b := labels.NewScratchBuilder(4)
			b.Add("__name__", p.Family.Name)
			for _, l := range p.Labels {
				b.Add(l.Name, strings.ToValidUTF8(l.Value, "\uFFFD"))
			}
			b.Sort()
			want[b.Labels().String()] = p.Value
		}
		s := wrote(t, Options{}, r)
		for _, accept := range []string{acceptText, acceptOpenMetrics} {
			answer := scrape(t, s, accept, "gzip")
			parser, err := textparse.New(answer.body, answer.header.Get("Content-Type"), labels.NewSymbolTable(), textparse.ParserOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for {
				entry, err := parser.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("%s, %s: %v", name, accept, err)
				}
				if entry == textparse.EntrySeries {
					_, _, value := parser.Series()
					var series labels.Labels
					parser.Labels(&series)
					got[series.String()] = value
				}
			}
			if !maps.EqualFunc(got, want, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }) {
				t.Errorf("%s, %s: read\n%v\nwant\n%v", name, accept, got, want)
			}
		}
	}
}

// Law: a number reads back as it was, and is spelled as client_golang spells it.
func FuzzValue(f *testing.F) {
	for _, v := range []float64{0, math.Copysign(0, -1), 1, -1, 12, 999999, 1e6, -1e6, 1234567, -1234560, 10203040, 1<<53 - 1, 1 << 53, 1<<53 + 2, 1e15, 1e21, 0.1, 1.0 / 3, 5e-324, math.MaxFloat64, -2.2250738585072014e-308, math.Inf(1), math.Inf(-1), 9.5e18, -9.3e18} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v float64) {
		if math.IsNaN(v) {
			t.Skip("is not shown")
		}
		for as, encode := range map[format]func(io.Writer, *dto.MetricFamily) (int, error){
			text:        expfmt.MetricFamilyToText,
			openMetrics: func(w io.Writer, m *dto.MetricFamily) (int, error) { return expfmt.MetricFamilyToOpenMetrics(w, m) },
		} {
			got := string(appendValue(nil, v, as))
			name, kind := "x", dto.MetricType_GAUGE
			var page bytes.Buffer
			if _, err := encode(&page, &dto.MetricFamily{Name: &name, Type: &kind, Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &v}}}}); err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimSuffix(page.String()[strings.LastIndexByte(page.String(), ' ')+1:], "\n"); got != want {
				t.Errorf("%v is %q, want %q", v, got, want)
			}
			if len(got) > number {
				t.Errorf("%q is longer than %d", got, number)
			}
		}
	})
}

// Law: a label's value comes out of a parser as it went in, or with what is no UTF-8 replaced.
func FuzzLabel(f *testing.F) {
	for _, value := range []string{"a", `\`, `"`, "\n", `\n`, "a\\\"\n\\", "\xff", "\x00", "余裕", "}", ",", "# EOF\n", "\r", "\u2028"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if value == "" {
			t.Skip("no label")
		}
		s := wrote(t, Options{}, of(sinktest.Status(sinktest.Objective("a", value, "99", slo.RollingPeriod(30*slo.Day)), nil, nil)))
		families, err := shown(t, s).Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.Metric {
				i := slices.IndexFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "service" })
				if want := strings.ToValidUTF8(value, "\uFFFD"); i < 0 || m.Label[i].GetValue() != want {
					t.Fatalf("%s: labels %v, want service %q", family.GetName(), m.Label, want)
				}
			}
		}
	})
}

// answered is what a scraper got, decompressed.
type answered struct {
	status int
	header http.Header
	body   []byte
	wire   int // bytes of the body as it came
}

// scrape asks a sink for its page; "" is no header.
func scrape(t testing.TB, s *Sink, accept, encoding string) answered {
	t.Helper()
	return answer(t, s.Handler(nil, HandlerOptions{}), accept, encoding)
}

func answer(t testing.TB, h http.Handler, accept, encoding string) answered {
	t.Helper()
	return ask(t, h, http.MethodGet, "/metrics", accept, encoding)
}

func ask(t testing.TB, h http.Handler, method, target, accept, encoding string) answered {
	t.Helper()
	request := httptest.NewRequest(method, target, nil)
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	if encoding != "" {
		request.Header.Set("Accept-Encoding", encoding)
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	out := answered{status: recorder.Code, header: recorder.Result().Header, body: recorder.Body.Bytes(), wire: recorder.Body.Len()}
	if out.header.Get("Content-Encoding") == "gzip" && method != http.MethodHead {
		out.body = unzip(t, out.body)
	}
	return out
}

// unzip reads one gzip member, and nothing may come after it: there are clients that stop there.
func unzip(t testing.TB, compressed []byte) []byte {
	t.Helper()
	from := bytes.NewReader(compressed)
	z, err := gzip.NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if from.Len() > 0 {
		t.Fatalf("%d bytes come after the first gzip member", from.Len())
	}
	return out
}

// shown reads what a sink shows, for the tests' tools. On the way the series are put into order
// and refused if one comes twice.
func shown(t testing.TB, s *Sink) prometheus.Gatherer {
	return prometheus.Gatherers{prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(scrape(t, s, acceptText, "").body))
		return slices.Collect(maps.Values(families)), err
	})}
}

// series counts what a sink shows.
func series(t testing.TB, s *Sink) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(string(scrape(t, s, acceptText, "").body)) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

// familiesOf are the lines of a page by family: its head, then its series in order. A family must
// come in one piece. The end of an OpenMetrics page is a family of its own.
func familiesOf(t testing.TB, body []byte) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	name := ""
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "# HELP "), line == "# EOF":
			name = line
			if _, again := out[name]; again {
				t.Fatalf("%s: comes again", name)
			}
			out[name] = nil
		default:
			out[name] = append(out[name], line)
		}
	}
	for _, lines := range out {
		slices.Sort(lines)
	}
	return out
}
