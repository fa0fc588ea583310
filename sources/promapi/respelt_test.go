package promapi

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// An upgrade to Prometheus 3 writes le="1" as le="1.0" from one scrape to the next, and a step back
// writes it as before. It is one bound and one counter all along.
func TestBoundIsSpeltAnew(t *testing.T) {
	r := &recording{lines: map[string][]string{}}
	end := 3 * time.Hour
	for d := time.Duration(0); d < end; d += 15 * time.Second {
		k, le := float64(d/(15*time.Second)), "1"
		if d >= time.Hour && d < 2*time.Hour {
			le = "1.0"
		}
		r.write("seconds_count", `seconds_count{job="shop"}`, at(d+time.Second), 10*k)
		r.write("seconds_bucket", `seconds_bucket{job="shop",le="`+le+`"}`, at(d+time.Second), 7*k)
	}
	dir := t.TempDir()
	promtest.CreateBlocks(t, dir, strings.NewReader(r.text()))
	server := promtest.Start(t, promtest.Options{Dir: dir})
	q := sources.Question{SLO: "fast", Period: slo.Day, Indicator: sources.Indicator{Kind: sources.Latency, Histogram: "seconds", Below: 1}}

	whole := added(t, collect(t, newSource(t, server.URL(), nil, q), dawn.Add(-time.Hour), at(end))...)
	for when, e := range whole.Events[""] {
		if e != [2]float64{20, 6} && when != at(tick).UTC().Format(time.RFC3339) { // the first sample is a baseline
			t.Errorf("at %s: %v, want 20 events, 6 of them bad", when, e)
		}
	}
	if total, bad := whole.sums(); total != 7190 || bad != 2157 {
		t.Errorf("total %g, bad %g; want 7190 and 2157", total, bad)
	}
	if want := fmt.Sprintf("[%s]", slo.Span{From: dawn, To: at(end)}); fmt.Sprint(whole.Covered) != want {
		t.Errorf("covered %v, want %s", whole.Covered, want)
	}
	for cut := tick; cut < end; cut += 29*time.Minute + tick {
		for name, fresh := range map[string]bool{"one source": false, "two": true} {
			s := newSource(t, server.URL(), nil, q)
			left := collect(t, s, dawn.Add(-time.Hour), at(cut))
			if fresh {
				s = newSource(t, server.URL(), nil, q)
			}
			differ(t, name+", cut at "+cut.String(), added(t, append(left, collect(t, s, at(cut), at(end))...)...), whole)
		}
	}
}
