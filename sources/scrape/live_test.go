package scrape_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/scrape"
)

// What each kind of question finds on two pages, and what is said of it.
func TestLive(t *testing.T) {
	a := serve(t, text(
		`http_requests_total{code="200"} 90`, `http_requests_total{code="500"} 10`, `# TYPE d histogram`,
		`d_bucket{le="0.3"} 70`, `d_bucket{le="1"} 80`, `d_bucket{le="+Inf"} 100`, `d_sum 9`, `d_count 100`,
		`ready{zone="a"} 1`, `ready{zone="b"} 0`, `errors_total 101`, `q{quantile="0.9"} 1`, `q_sum 1`, `q_count 1`,
	))
	b := serve(t, text(`http_requests_total{code="200"} 7`, `ready{zone="c"} 1`))
	for _, c := range []struct {
		name  string
		in    sources.Indicator
		fault bool
		want  string
	}{
		{"bad", availability.Indicator, false, "3 series of total and 1 of bad on 2 of 2 pages; 10 of 107 events bad since the targets began"},
		{"good", sources.Indicator{Kind: sources.Counters, Total: "http_requests_total", Good: `http_requests_total{code="200"}`}, false,
			"3 series of total and 2 of good on 2 of 2 pages; 97 of 107 events good since the targets began"},
		{"no error yet", sources.Indicator{Kind: sources.Counters, Total: "http_requests_total", Bad: `http_requests_total{code="503"}`}, false,
			"3 series of total and 0 of bad on 2 of 2 pages; 0 of 107 events bad since the targets began; the first bad one will count"},
		{"nothing good yet", sources.Indicator{Kind: sources.Counters, Total: "http_requests_total", Good: `http_requests_total{code="204"}`}, false,
			"3 series of total and 0 of good on 2 of 2 pages; 0 of 107 events good since the targets began; until there is a series of good, every event is bad"},
		{"another metric", sources.Indicator{Kind: sources.Counters, Total: "requests_total", Bad: "errors_total"}, true,
			"requests_total has no series on the 2 pages that could be read"},
		{"bad beyond total", sources.Indicator{Kind: sources.Counters, Total: `d_count`, Bad: `errors_total`}, true,
			"bad is not within total: 101 of 100 events since the targets began; do both selectors mean the same requests?"},
		{"latency", sources.Indicator{Kind: sources.Latency, Histogram: "d", Below: 0.3}, false,
			"1 series of total and 1 of good on 1 of 2 pages; 70 of 100 events good since the targets began"},
		{"between the buckets", sources.Indicator{Kind: sources.Latency, Histogram: "d", Below: 0.5}, true,
			`threshold 0.5 is no bucket bound of {__name__="d", instance="A", job="pods"}: the bounds around it are 0.3 and 1`},
		{"no histogram", sources.Indicator{Kind: sources.Latency, Histogram: "q", Below: 1}, true,
			`{__name__="q", instance="A", job="pods"} has no buckets: a summary is no histogram`},
		{"gauge", sources.Indicator{Kind: sources.Gauge, Selector: "ready", Compare: sources.Comparison{Op: ">=", Value: 1}}, false,
			"3 samples on 2 of 2 pages, 1 of them bad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScraper(t, scrape.Options{Config: pages(a, b), Questions: []sources.Question{{SLO: "it", Indicator: c.in}}})
			checks, err := s.Live(t.Context(), s.now)
			if err != nil || len(checks) != 1 {
				t.Fatal(checks, err)
			}
			got := strings.ReplaceAll(checks[0].Text(), a.instance(), "A")
			if got != c.want || checks[0].Fault() != c.fault || checks[0].SLO != "it" {
				t.Errorf("fault %v\n     %s\nwant %s", checks[0].Fault(), got, c.want)
			}
		})
	}
}

// A check counts nothing: the first turn after it is still the first look.
func TestLiveLeavesNoTrace(t *testing.T) {
	good, bad := serve(t, text(`http_requests_total 10`)), serve(t, status(http.StatusServiceUnavailable))
	s := newScraper(t, scrape.Options{Config: pages(good, bad)})
	checks, err := s.Live(t.Context(), s.now)
	if len(checks) != 1 || checks[0].Fault() || checks[0].Pages != 1 {
		t.Errorf("the page that was read: %+v", checks)
	}
	if want := "target " + bad.page() + ": HTTP status 503 Service Unavailable"; err == nil || err.Error() != want {
		t.Errorf("the other: %v, want %s", err, want)
	}
	if sample := s.turn(); sample.Baselined != 1 {
		t.Errorf("the first turn: %+v", sample)
	}
}

func TestLiveWithNobodyThere(t *testing.T) {
	s := newScraper(t, scrape.Options{Config: pages(serve(t, status(404)), serve(t, status(500)))})
	checks, err := s.Live(t.Context(), s.now)
	if len(checks) != 0 || scrape.Reason(err) != scrape.HTTP4xx {
		t.Errorf("%+v, %v", checks, err)
	}
}
