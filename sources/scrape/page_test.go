package scrape

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/sources"
)

// FuzzPage holds the reader of pages to four laws: it never panics; it never takes more samples
// than the limit, and no more series than samples; a page says the same whenever it is read; and
// a remark, or the order of the remarks, changes nothing.
func FuzzPage(f *testing.F) {
	const open = "application/openmetrics-text; version=1.0.0"
	for _, seed := range []struct{ contentType, page string }{
		{"", "http_requests_total{code=\"200\"} 10\nhttp_requests_total{code=\"500\"} 1 1700000000000\n"},
		{"text/plain", "# HELP d D.\n# TYPE d histogram\nd_bucket{le=\"1\"} 3\nd_bucket{le=\"+Inf\"} 4\nd_sum 5\nd_count 4\n"},
		{"text/plain", "# one\n# TYPE http_requests_total counter\n# two\nhttp_requests_total 1e3\n\n# three\nprocess_start_time_seconds 1.7e9\n"},
		{"text/plain", "{\"http_requests_total\", \"a b\"=\"c\"} NaN\n http_requests_total{a=\"\\\\\\n\\\"\",} -Inf\n"},
		{"text/plain", "http_requests_total 1\nhttp_requests_total 2\n"},
		{"text/plain", "http_requests_total{a=\"1"},
		{"text/plain", "up 1\n\x00\n"},
		{open, "# TYPE http_requests counter\n# UNIT http_requests requests\nhttp_requests_total{a=\"b\"} 7 # {t=\"u\"} 1 2\nhttp_requests_created{a=\"b\"} 1700000000.123\n# EOF\n"},
		{open, "# TYPE d histogram\nd_bucket{le=\"1.0\"} 1\nd_bucket{le=\"+Inf\"} 1\nd_count 1\nd_sum 1\nd_created 1e9\n# EOF"},
		{open, "http_requests_total 1\n"},
		{"text/html", "<html>\n"},
		{protobufType, nativePage(f)},
		{protobufType, "\xff\xff\xff\xff\x0f"},
		{protobufType, "\x03\x0a\x01d"},
	} {
		f.Add(seed.contentType, []byte(seed.page))
	}
	var plans []*selectors.Plan
	for _, in := range []sources.Indicator{
		{Kind: sources.Counters, Total: "http_requests_total", Bad: `{__name__=~"http_.*",code=~"5.."}`},
		{Kind: sources.Latency, Histogram: "d", Below: 1},
		{Kind: sources.Gauge, Selector: "up"},
	} {
		plan, err := selectors.NewPlan(sources.Question{SLO: string(in.Kind), Indicator: in})
		if err != nil {
			f.Fatal(err)
		}
		plans = append(plans, plan)
	}
	const limit, at = 50, 1_700_000_010_000
	r := newReader(plans, "pods", limit, 300_000)
	t0 := &target{instance: "checkout:8080"}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		first, err := r.read(bytes.Clone(body), contentType, t0, at)
		again, errAgain := r.read(bytes.Clone(body), contentType, t0, at)
		if !same(first, again) || (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
			t.Fatalf("read twice: %+v, %v and %+v, %v", first, err, again, errAgain)
		}
		if err == nil {
			if first.samples > limit {
				t.Fatalf("%d samples, limit %d", first.samples, limit)
			}
			for i, part := range first.parts {
				if len(part.series) > first.samples {
					t.Fatalf("question %d took %d series of %d samples", i, len(part.series), first.samples)
				}
			}
		}
		if contentType != "" && contentType != "text/plain" {
			return // OpenMetrics knows no remarks
		}
		if remarked, err2 := r.read(append([]byte("# a remark\n"), body...), contentType, t0, at); !same(first, remarked) || (err == nil) != (err2 == nil) {
			t.Fatalf("with a remark: %+v, %v; without %+v, %v", remarked, err2, first, err)
		}
		if shuffled, ok := remarksReversed(string(body)); ok {
			if other, err2 := r.read([]byte(shuffled), contentType, t0, at); !same(first, other) || (err == nil) != (err2 == nil) {
				t.Fatalf("remarks in another order: %+v, %v; first %+v, %v", other, err2, first, err)
			}
		}
	})
}

// remarksReversed puts the remarks of a page that are harmless letters in the opposite order.
func remarksReversed(page string) (string, bool) {
	lines := strings.Split(page, "\n")
	var at []int
	for i, line := range lines {
		rest, ok := strings.CutPrefix(line, "# ")
		if ok && rest != "" && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz") == "" {
			at = append(at, i)
		}
	}
	for i, j := 0, len(at)-1; i < j; i, j = i+1, j-1 {
		lines[at[i]], lines[at[j]] = lines[at[j]], lines[at[i]]
	}
	return strings.Join(lines, "\n"), len(at) > 1 && !strings.Contains(page, `"`)
}

// same compares two pages. reflect.DeepEqual will do: a kept sample is never NaN.
func same(a, b *page) bool { return reflect.DeepEqual(a, b) }

// BenchmarkPage reads a page of 10,000 samples of which a hundred count.
func BenchmarkPage(b *testing.B) {
	plan, err := selectors.NewPlan(sources.Question{SLO: "a", Indicator: sources.Indicator{
		Kind: sources.Counters, Total: "http_requests_total", Bad: `http_requests_total{code=~"5.."}`,
	}})
	if err != nil {
		b.Fatal(err)
	}
	for _, format := range []struct{ name, contentType, end string }{{"text", "text/plain", ""}, {"openmetrics", "application/openmetrics-text", "# EOF\n"}} {
		var page bytes.Buffer
		page.WriteString("# TYPE http_requests counter\n")
		for i := range 50 {
			fmt.Fprintf(&page, "http_requests_total{code=\"%d\",route=\"/a\"} %d\n", 200+i, i)
			fmt.Fprintf(&page, "http_requests_total{code=\"%d\",route=\"/b\"} %d\n", 500+i, i)
			fmt.Fprintf(&page, "http_requests_created{code=\"%d\",route=\"/a\"} 1700000000.5\n", 200+i)
		}
		for i := range 9850 {
			fmt.Fprintf(&page, "go_something_else_bytes{class=\"%d\",kind=\"unrelated\"} 123456\n", i)
		}
		page.WriteString(format.end)
		b.Run(format.name, func(b *testing.B) {
			r := newReader([]*selectors.Plan{plan}, "pods", 200_000, 300_000)
			b.ReportAllocs()
			b.SetBytes(int64(page.Len()))
			for b.Loop() {
				p, err := r.read(page.Bytes(), format.contentType, &target{instance: "checkout:8080"}, 1_700_000_010_000)
				if err != nil || len(p.parts[0].series) != 100 {
					b.Fatalf("%+v, %v", p, err)
				}
			}
		})
	}
}
