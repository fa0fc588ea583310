package scrape_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/scrape"
)

func latency(below float64) []sources.Question {
	return []sources.Question{{
		SLO: "latency", Period: 30 * slo.Day,
		Indicator: sources.Indicator{Kind: sources.Latency, Histogram: "d_seconds", Below: below},
	}}
}

// timed is a process with a histogram, behind the handler that real ones have.
func timed(t *testing.T, o prometheus.HistogramOpts) (prometheus.Histogram, *served, *[]string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	o.Name = "d_seconds"
	h := prometheus.NewHistogram(o)
	registry.MustRegister(h)
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	types := &[]string{}
	return h, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		*types = append(*types, w.Header().Get("Content-Type"))
	})), types
}

// observe makes so many fast and slow observations.
func observe(h prometheus.Histogram, fast, slow int) {
	for range fast {
		h.Observe(0.1)
	}
	for range slow {
		h.Observe(3)
	}
}

func TestNativeHistogram(t *testing.T) {
	h, target, types := timed(t, prometheus.HistogramOpts{NativeHistogramBucketFactor: 1.1})
	s := newScraper(t, scrape.Options{Config: pages(target), Questions: latency(1)})
	observe(h, 40, 3)
	s.turn()
	observe(h, 90, 7)
	want(t, "97 requests, 7 of them slow", s.turn(), 97, 7)
	want(t, "none", s.turn(), 0, 0)
	observe(h, 0, 1)
	want(t, "a slow one", s.turn(), 1, 1)
	for _, got := range *types {
		if !strings.HasPrefix(got, "application/vnd.google.protobuf") {
			t.Errorf("answered as %s", got)
		}
	}
}

// A histogram in both shapes: its classic bound answers where there is one, the native buckets
// where there is none.
func TestNativeBesideClassic(t *testing.T) {
	for _, c := range []struct {
		name  string
		below float64
		slow  float64
	}{
		{"a classic bound", 1, 8},
		{"between the classic bounds, a bound of the native buckets", 2, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, target, _ := timed(t, prometheus.HistogramOpts{Buckets: []float64{0.5, 1, 2.5}, NativeHistogramBucketFactor: 2})
			s := newScraper(t, scrape.Options{Config: pages(target), Questions: latency(c.below)})
			observe(h, 1, 1)
			s.turn()
			observe(h, 20, 5)
			for range 3 {
				h.Observe(1.5)
			}
			want(t, c.name, s.turn(), 28, c.slow)
		})
	}
}

// What a program counts does not depend on the format it says it in.
func TestFormatsAgree(t *testing.T) {
	registry := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total"}, []string{"code", "A"})
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "d_seconds", Buckets: []float64{0.5, 1}})
	registry.MustRegister(requests, h)
	for _, format := range []string{
		"text/plain;version=0.0.4",
		"application/openmetrics-text;version=1.0.0",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
	} {
		t.Run(format, func(t *testing.T) {
			handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, EnableOpenMetricsTextCreatedSamples: true})
			target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("Accept", format)
				handler.ServeHTTP(w, r)
			}))
			s := newScraper(t, scrape.Options{Config: pages(target), Questions: append(latency(1), availability)})
			for turn := range 2 {
				requests.WithLabelValues("200", "b").Add(70)
				requests.WithLabelValues("500", "b").Add(2)
				observe(h, 30, 4)
				samples, err := s.Collect(t.Context(), s.next(tick))
				if err != nil {
					t.Fatal(err)
				}
				if turn == 0 {
					continue // the first look
				}
				want(t, "latency", samples[0], 34, 4)
				want(t, "availability", samples[1], 72, 2)
			}
		})
	}
}

// bucketPage is a page with one native histogram of schema 0: a bucket from each power of two.
func bucketPage(t *testing.T, schema int32, counts ...int64) http.Handler {
	t.Helper()
	h := &dto.Histogram{Schema: proto.Int32(schema), ZeroThreshold: proto.Float64(1e-128), ZeroCount: proto.Uint64(0), SampleSum: proto.Float64(1)}
	last, sum := int64(0), uint64(0)
	for _, n := range counts {
		h.PositiveDelta = append(h.PositiveDelta, n-last)
		last, sum = n, sum+uint64(n)
	}
	h.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(1), Length: proto.Uint32(uint32(len(counts)))}}
	h.SampleCount = &sum
	page := &strings.Builder{}
	if _, err := protodelim.MarshalTo(page, &dto.MetricFamily{
		Name: proto.String("d_seconds"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{Histogram: h}},
	}); err != nil {
		t.Fatal(err)
	}
	return typed("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", page.String())
}

// Buckets that a program made coarser to save memory are no reset: what is estimated may stand
// still, it never falls, and no event counts twice.
func TestCoarserBucketsAreNoReset(t *testing.T) {
	target := serve(t, bucketPage(t, 0, 12, 4)) // (1, 2] and (2, 4]
	s := newScraper(t, scrape.Options{Config: pages(target), Questions: latency(2)})
	s.turn()
	target.show(bucketPage(t, -1, 16)) // (1, 4]: half of them are estimated below 2, four fewer
	want(t, "nothing happened", s.turn(), 0, 0)
	target.show(bucketPage(t, -1, 36))
	want(t, "20 more: the estimate is 18, and was 12", s.turn(), 20, 14)
	target.show(bucketPage(t, 0, 3, 4))
	want(t, "a reset", s.turn(), 7, 4)
}

// A target whose library begins, or ceases, to speak of native histograms goes on counting.
func TestHistogramChangesItsShape(t *testing.T) {
	classic := func(good, all int) http.Handler {
		return text(
			"# TYPE d_seconds histogram", fmt.Sprintf(`d_seconds_bucket{le="2"} %d`, good),
			fmt.Sprintf(`d_seconds_bucket{le="+Inf"} %d`, all), fmt.Sprintf(`d_seconds_count %d`, all), "d_seconds_sum 1",
		)
	}
	target := serve(t, classic(90, 100))
	s := newScraper(t, scrape.Options{Config: pages(target), Questions: latency(2)})
	s.turn()
	target.show(classic(95, 110))
	want(t, "classic", s.turn(), 10, 5)
	target.show(bucketPage(t, 0, 100, 12))
	want(t, "its new counters have counted all along", s.turn(), 0, 0)
	target.show(bucketPage(t, 0, 101, 15))
	want(t, "native", s.turn(), 4, 3)
	target.show(classic(120, 140))
	want(t, "and back", s.turn(), 0, 0)
	target.show(classic(121, 142))
	want(t, "classic again", s.turn(), 2, 1)
}
