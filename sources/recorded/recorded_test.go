package recorded

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

const began = 1767225600 // a whole minute

var requests = sources.Question{
	SLO: "it", Period: 30 * slo.Day,
	Indicator: sources.Indicator{Kind: sources.Counters, Total: `requests_total`, Bad: `requests_total{code="500"}`},
}

func read(t *testing.T, text string, questions ...sources.Question) *Source {
	t.Helper()
	s, err := Read(strings.NewReader(text), Options{Name: "rec", Tick: time.Minute, Questions: questions})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func count(t *testing.T, s *Source, span slo.Span) (total, bad float64, sample slo.Sample) {
	t.Helper()
	all, err := s.Collect(t.Context(), span)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d answers: %v", len(all), err)
	}
	for _, g := range all[0].Groups {
		for _, inc := range g.Increments {
			total, bad = total+inc.Total, bad+inc.Bad
		}
		for _, sp := range g.Spreads {
			total, bad = total+sp.Total, bad+sp.Bad
		}
	}
	return total, bad, all[0]
}

const shop = `# TYPE requests counter
requests_total{code="500",pod="a"} 2 1767225720
requests_total{code="200",pod="a"} 130 1767225720
requests_total{code="200",pod="a"} 100 1767225600
requests_total{code="200",pod="a"} 110 1767225660
# EOF
`

func TestAnyOrderPlainOrGzip(t *testing.T) {
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	fmt.Fprint(zw, shop)
	zw.Close()
	for name, text := range map[string]string{"plain": shop, "gzip": zipped.String()} {
		s := read(t, text, requests)
		want := slo.Span{From: time.Unix(began-60, 0), To: time.Unix(began+120, 0)}
		if got := s.Span(); !got.From.Equal(want.From) || !got.To.Equal(want.To) {
			t.Errorf("%s: spans %s, want %s", name, got, want)
		}
		total, bad, sample := count(t, s, s.Span())
		if total != 32 || bad != 2 || sample.Baselined != 1 {
			t.Errorf("%s: %v bad of %v, %d baselines; want 2 of 32, 1", name, bad, total, sample.Baselined)
		}
		if !sample.Newest.Equal(want.To) || len(sample.Covered) != 1 || !sample.Covered[0].To.Equal(want.To) {
			t.Errorf("%s: newest %s, covered %v", name, sample.Newest, sample.Covered)
		}
	}
}

// Spans may be asked in any order and again: the answers are the same.
func TestAnyOrderOfSpans(t *testing.T) {
	s := read(t, shop, requests)
	minute := func(i int) slo.Span {
		return slo.Span{From: time.Unix(began+int64(i-1)*60, 0), To: time.Unix(began+int64(i)*60, 0)}
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 1, 0, 2, 2}} {
		for _, i := range order {
			total, bad, _ := count(t, s, minute(i))
			if want := [][2]float64{{0, 0}, {10, 0}, {22, 2}}[i]; total != want[0] || bad != want[1] {
				t.Errorf("order %v, minute %d: %v bad of %v, want %v of %v", order, i, bad, total, want[1], want[0])
			}
		}
	}
}

func TestLatencyAtAndBetweenBounds(t *testing.T) {
	const text = `# TYPE d_seconds histogram
d_seconds_bucket{le="0.1"} 0 1767225600
d_seconds_bucket{le="1.0"} 0 1767225600
d_seconds_bucket{le="+Inf"} 0 1767225600
d_seconds_count 0 1767225600
d_seconds_bucket{le="0.1"} 5 1767225660
d_seconds_bucket{le="1.0"} 8 1767225660
d_seconds_bucket{le="+Inf"} 10 1767225660
d_seconds_count 10 1767225660
# EOF
`
	latency := func(below float64) sources.Question {
		return sources.Question{SLO: "it", Period: slo.Day, Indicator: sources.Indicator{Kind: sources.Latency, Histogram: "d_seconds", Below: below}}
	}
	for below, wantBad := range map[float64]float64{0.1: 5, 1: 2} {
		s := read(t, text, latency(below))
		if total, bad, _ := count(t, s, s.Span()); total != 10 || bad != wantBad {
			t.Errorf("below %v: %v bad of %v, want %v of 10", below, bad, total, wantBad)
		}
	}
	s := read(t, text, latency(0.3))
	total, _, sample := count(t, s, s.Span())
	if total != 0 || sample.Covered != nil || !strings.Contains(sample.Note, "the bounds around it are 0.1 and 1") {
		t.Errorf("between bounds: %v events, covered %v, note %q", total, sample.Covered, sample.Note)
	}
}

func TestGauge(t *testing.T) {
	const text = `# TYPE up gauge
up{instance="a"} 1 1767225600
up{instance="a"} 0 1767225660
up{instance="b"} NaN 1767225660
# EOF
`
	for about, in := range map[string]sources.Indicator{
		"good when": {Kind: sources.Gauge, Selector: "up", Compare: sources.Comparison{Op: ">=", Value: 1}},
		"bad when":  {Kind: sources.Gauge, Selector: "up", Compare: sources.Comparison{Op: "<", Value: 1}, CompareBad: true},
	} {
		s := read(t, text, sources.Question{SLO: "it", Period: slo.Day, Indicator: in})
		if total, bad, _ := count(t, s, s.Span()); total != 2 || bad != 1 {
			t.Errorf("%s: %v bad of %v samples, want 1 of 2", about, bad, total)
		}
	}
}

// A pod that was created after the first look counts from its first value.
func TestCreated(t *testing.T) {
	text := `# TYPE requests counter
requests_total{code="200",pod="a"} 5 1767225600
requests_total{code="200",pod="a"} 6 1767225720
requests_total{code="200",pod="b"} 7 1767225720
requests_created{code="200",pod="b"} 1767225690 1767225720
# EOF
`
	s := read(t, text, requests)
	if total, _, _ := count(t, s, s.Span()); total != 8 {
		t.Errorf("%v events, want 1 and then 7", total)
	}
	s = read(t, strings.Replace(text, "1767225690 ", "1767225000 ", 1), requests)
	if total, _, _ := count(t, s, s.Span()); total != 1 {
		t.Errorf("%v events, want 1: the other pod is older than the first look", total)
	}
}

func TestNothingRecorded(t *testing.T) {
	s := read(t, "# EOF\n", requests)
	if !s.Span().Empty() {
		t.Errorf("spans %s", s.Span())
	}
	promql := requests
	promql.Indicator = sources.Indicator{Kind: sources.PromQL, Total: "sum(x)", Bad: "sum(y)"}
	if why := read(t, shop, promql).Unanswerable()["it"]; why != "a recording cannot answer promql indicators" {
		t.Errorf("unanswerable: %q", why)
	}
}

// Any text is a recording or an error; a recording never counts more than its samples say.
func FuzzRead(f *testing.F) {
	f.Add([]byte(shop))
	f.Add([]byte("requests_total 1 1\nrequests_total 3 2\n# EOF\n"))
	f.Add([]byte("requests_total NaN 1\nrequests_total -3 2e9\n# EOF\n"))
	f.Add([]byte("requests_total{code=\"500\"} 1e300 1767225600\nrequests_total{code=\"500\"} 1 1767225600\n# EOF\n"))
	f.Add([]byte("\x1f\x8bbroken"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Read(bytes.NewReader(text), Options{Name: "rec", Tick: time.Minute, Questions: []sources.Question{requests}})
		if err != nil || s.Span().Duration() > time.Hour {
			return
		}
		all, err := s.Collect(t.Context(), s.Span())
		if err != nil {
			t.Fatal(err)
		}
		highest := 0.0
		for _, q := range s.questions {
			for _, series := range q.series {
				for _, p := range series.Points {
					if p.V > 0 {
						highest += p.V
					}
				}
			}
		}
		for _, g := range all[0].Groups {
			for _, inc := range g.Increments {
				if inc.Total < 0 || inc.Bad < 0 || inc.Total > highest {
					t.Errorf("%+v of samples that add up to %v", inc, highest)
				}
			}
		}
	})
}
