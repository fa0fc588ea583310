package scrape

import (
	"bytes"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/sources"
)

const protobufType = protobuf + "; proto=" + family + "; encoding=delimited"

// delimited is a page of families as a client library writes it.
func delimited(t testing.TB, families ...*dto.MetricFamily) string {
	t.Helper()
	var page bytes.Buffer
	for _, f := range families {
		if _, err := protodelim.MarshalTo(&page, f); err != nil {
			t.Fatal(err)
		}
	}
	return page.String()
}

// nativePage has one native histogram: 2 observations in (0.5, 1], 3 in (1, 2].
func nativePage(t testing.TB) string {
	return delimited(t, &dto.MetricFamily{
		Name: proto.String("d"), Type: dto.MetricType_HISTOGRAM.Enum(),
		Metric: []*dto.Metric{{Histogram: &dto.Histogram{
			SampleCount: proto.Uint64(5), SampleSum: proto.Float64(6), Schema: proto.Int32(0),
			ZeroThreshold: proto.Float64(1e-128), ZeroCount: proto.Uint64(0),
			PositiveSpan:  []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(2)}},
			PositiveDelta: []int64{2, 1},
		}}},
	})
}

func latencyReader(t testing.TB, below float64, limit int) *reader {
	t.Helper()
	plan, err := selectors.NewPlan(sources.Question{SLO: "latency", Indicator: sources.Indicator{Kind: sources.Latency, Histogram: "d", Below: below}})
	if err != nil {
		t.Fatal(err)
	}
	return newReader([]*selectors.Plan{plan}, "pods", limit, 300_000)
}

func TestNativeHistogramIsRead(t *testing.T) {
	for _, c := range []struct {
		name  string
		below float64
		want  float64
	}{
		{"under everything", 0.5, 0},
		{"at a bound", 1, 2},
		{"halfway on the logarithmic scale", 1.4142135623730951, 3.5},
		{"above everything", 2, 5},
	} {
		p, err := latencyReader(t, c.below, 100).read([]byte(nativePage(t)), protobufType, &target{instance: "checkout:8080"}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		part := p.parts[0]
		if len(part.series) != 2 || part.fault != "" {
			t.Fatalf("%s: %+v", c.name, part)
		}
		if count, below := part.series[0].Points[0].V, part.series[1].Points[0].V; count != 5 || below < c.want-1e-9 || below > c.want+1e-9 {
			t.Errorf("%s: %v of %v below, want %v of 5", c.name, below, count, c.want)
		}
	}
}

// A page that is cut or wrong anywhere is refused whole, and says where.
func TestBrokenProtobuf(t *testing.T) {
	whole := nativePage(t)
	counter := delimited(t, &dto.MetricFamily{Name: proto.String("up"), Type: dto.MetricType_COUNTER.Enum(), Metric: []*dto.Metric{{Counter: &dto.Counter{Value: proto.Float64(1)}}}})
	inconsistent := delimited(t, &dto.MetricFamily{Name: proto.String("d"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{Histogram: &dto.Histogram{
		SampleCount: proto.Uint64(5), Schema: proto.Int32(0), ZeroThreshold: proto.Float64(1),
		PositiveSpan: []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(4_000_000_000)}}, PositiveDelta: []int64{5},
	}}}})
	for _, c := range []struct{ name, contentType, page, want string }{
		{"cut in the second family", protobufType, counter + whole[:len(whole)-3], "metric family 1 (up)"},
		{"a length beyond the page", protobufType, "\xff\xff\xff\xff\x7f" + whole, "metric family 0 ()"},
		{"more buckets than values", protobufType, inconsistent, "metric family 1 (d): histogram \"d\""},
		{"the same histogram twice", protobufType, whole + whole, "stands in metric family 1 already"},
		{"too many buckets", protobufType, strings.Repeat(counter, 98) + whole, "more than 100 samples (limits.samples)"},
		{"text inside", protobufType, "http_requests_total 1\n", "metric family 0 ()"},
		{"another message", protobuf + "; proto=x.Y; encoding=delimited", whole, "is no format of metrics that was asked for"},
		{"not delimited", protobuf + "; proto=" + family + "; encoding=text", whole, "is no format of metrics that was asked for"},
	} {
		_, err := latencyReader(t, 1, 100).read([]byte(c.page), c.contentType, &target{instance: "checkout:8080"}, 1000)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
