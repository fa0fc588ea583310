package promapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

const tick = 30 * time.Second

// dawn is where the recorded history begins; dusk is where it ends.
var (
	dawn = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	dusk = dawn.Add(4 * time.Hour)
)

func at(d time.Duration) time.Time { return dawn.Add(d) }

// recording is what a server is filled with: a shop of pods, scraped every 15 s, each at its own
// odd millisecond.
type recording struct {
	lines map[string][]string // by family
}

func (r *recording) write(family, series string, t time.Time, v float64) {
	r.lines[family] = append(r.lines[family], fmt.Sprintf("%s %g %d.%03d", series, v, t.Unix(), t.Nanosecond()/1e6))
}

func (r *recording) text() string {
	var b strings.Builder
	for _, family := range slices.Sorted(maps.Keys(r.lines)) {
		fmt.Fprintf(&b, "# TYPE %s unknown\n%s\n", family, strings.Join(r.lines[family], "\n"))
	}
	b.WriteString("# EOF\n")
	return b.String()
}

// life is when a process runs: its counters begin at 0 with it.
type life struct{ from, to time.Duration }

// record plays a pod: in every scrape of its lives the counters have grown. Errors begin only after
// some time: their series does not exist before the first one.
func (r *recording) pod(name, labels string, offset time.Duration, errorsFrom time.Duration, silent []life, lives ...life) {
	id := fmt.Sprintf(`job="shop",instance="%s:80",pod="%s"%s`, name, name, labels)
	for _, l := range lives {
		var ok, bad, le1, n float64
		for d := l.from; d < l.to; d += 15 * time.Second {
			k := float64(d/(15*time.Second)) + float64(len(name))
			ok += 7 + float64(int(k)%5)
			n += 10
			le1 += 8 + float64(int(k)%3)
			if d >= errorsFrom && int(k)%4 == 0 {
				bad += 1 + float64(int(k)%3)
			}
			if slices.ContainsFunc(silent, func(s life) bool { return d >= s.from && d < s.to }) {
				continue
			}
			t := at(d + offset)
			r.write("http_requests_total", `http_requests_total{`+id+`,code="200",route="/buy"}`, t, ok)
			if bad > 0 {
				r.write("http_requests_total", `http_requests_total{`+id+`,code="500",route="/buy"}`, t, bad)
			}
			r.write("process_start_time_seconds", `process_start_time_seconds{`+id+`}`, t, float64(at(l.from).Unix()))
			r.write("queue_length", `queue_length{`+id+`}`, t, float64(int(k)%10))
			r.write("seconds_count", `seconds_count{`+id+`}`, t, n)
			// Every pod spells the bound in its own way.
			le := map[string]string{"a": "1", "b": "1.0", "c": "1e0", "d": "1", "e": "1"}[name]
			if name == "e" {
				r.write("seconds_bucket", `seconds_bucket{`+id+`,le="0.25"}`, t, le1-7)
			}
			r.write("seconds_bucket", `seconds_bucket{`+id+`,le="0.5"}`, t, le1-5)
			r.write("seconds_bucket", `seconds_bucket{`+id+`,le="`+le+`"}`, t, le1)
			r.write("seconds_bucket", `seconds_bucket{`+id+`,le="+Inf"}`, t, n)
		}
	}
}

// history is what the tests ask about: a runs all along; b restarts twice, once after ten minutes
// without a scrape; c is born late, with a process younger than the first look; d is away for more
// than an hour and comes back as if nothing had been.
func history(t *testing.T) *promtest.Server {
	t.Helper()
	return historyOf(t, nil)
}

// historyOf is history on a server with external labels.
func historyOf(t *testing.T, external map[string]string) *promtest.Server {
	t.Helper()
	r := &recording{lines: map[string][]string{}}
	end := dusk.Sub(dawn)
	hour, min := time.Hour, time.Minute
	r.pod("a", "", 117*time.Millisecond, 41*min, nil, life{0, end})
	r.pod("b", "", 4*time.Second+3*time.Millisecond, 2*hour, nil, life{0, hour + 7*min}, life{hour + 8*min, 2 * hour}, life{2*hour + 10*min, end})
	r.pod("c", "", 14*time.Second+999*time.Millisecond, 0, nil, life{hour + 30*min, end})
	r.pod("e", "", 9*time.Second, 3*hour, nil, life{2*hour + 15*min, end})
	r.pod("d", "", 0, 20*min, []life{{hour + 40*min, 2*hour + 55*min}}, life{0, end})

	dir := t.TempDir()
	promtest.CreateBlocks(t, dir, strings.NewReader(r.text()))
	return promtest.Start(t, promtest.Options{Dir: dir, ExternalLabels: external})
}

func counters(name, total, bad string, groups ...string) sources.Question {
	return sources.Question{SLO: name, Period: 30 * slo.Day, GroupBy: groups, Indicator: sources.Indicator{Kind: sources.Counters, Total: total, Bad: bad}}
}

func newSource(t *testing.T, url string, change func(*Options), questions ...sources.Question) *Source {
	t.Helper()
	o := Options{Name: "prom", Config: DefaultConfig(), Tick: tick, Questions: questions}
	o.Config.URL = url
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func collect(t *testing.T, s *Source, from, to time.Time, only ...string) []slo.Sample {
	t.Helper()
	samples, err := s.Collect(context.Background(), slo.Span{From: from, To: to}, only...)
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

// tally is what answers say, without regard to how the time was cut.
type tallied struct {
	Events  map[string]map[string][2]float64 // by group and tick: total, bad
	Spreads map[string][]string
	Covered []string
}

func added(t *testing.T, samples ...slo.Sample) tallied {
	t.Helper()
	out := tallied{Events: map[string]map[string][2]float64{}, Spreads: map[string][]string{}}
	var covered []slo.Span
	for _, s := range samples {
		if s.Err != nil {
			t.Fatalf("%s: %v", s.Span, s.Err)
		}
		for _, g := range s.Groups {
			key := strings.Join(g.Labels, ",")
			if out.Events[key] == nil {
				out.Events[key] = map[string][2]float64{}
			}
			for _, inc := range g.Increments {
				if !s.Span.Holds(inc.At) {
					t.Errorf("%s holds no %s", s.Span, inc.At)
				}
				when := inc.At.UTC().Format(time.RFC3339)
				e := out.Events[key][when]
				out.Events[key][when] = [2]float64{e[0] + inc.Total, e[1] + inc.Bad}
			}
			for _, sp := range g.Spreads {
				out.Spreads[key] = append(out.Spreads[key], fmt.Sprintf("%d %d %g %g", sp.From.UnixMilli(), sp.To.UnixMilli(), sp.Total, sp.Bad))
			}
			slices.Sort(out.Spreads[key])
		}
		for _, c := range s.Covered {
			covered = appendSpan(covered, c)
		}
	}
	for _, c := range covered {
		out.Covered = append(out.Covered, c.String())
	}
	return out
}

func (a tallied) sums() (total, bad float64) {
	for _, events := range a.Events {
		for _, e := range events {
			total, bad = total+e[0], bad+e[1]
		}
	}
	for _, spreads := range a.Spreads {
		for _, text := range spreads {
			var from, to int64
			var tt, bb float64
			fmt.Sscan(text, &from, &to, &tt, &bb)
			total, bad = total+tt, bad+bb
		}
	}
	return total, bad
}

func differ(t *testing.T, what string, got, want tallied) {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		return
	}
	if !slices.Equal(got.Covered, want.Covered) {
		t.Errorf("%s: covered %v, want %v", what, got.Covered, want.Covered)
	}
	for key := range want.Events {
		for _, when := range slices.Sorted(maps.Keys(want.Events[key])) {
			if got.Events[key][when] != want.Events[key][when] {
				t.Errorf("%s: group %q at %s: %v, want %v", what, key, when, got.Events[key][when], want.Events[key][when])
				break
			}
		}
	}
	t.Errorf("%s: spreads %v, want %v; groups %d, want %d", what, got.Spreads, want.Spreads, len(got.Events), len(want.Events))
}

// recount takes the increases of the stored samples by the rules of MATHS.md, one after the other,
// knowing nothing of spans, requests or memories.
func recount(server *promtest.Server, from, to time.Time, total, bad string) tallied {
	out := tallied{Events: map[string]map[string][2]float64{"": {}}, Spreads: map[string][]string{}}
	isBad := map[string]bool{}
	for _, s := range server.RawSamples(bad, dawn.Add(-time.Hour), to) {
		isBad[s.Metric.String()] = true
	}
	all := server.RawSamples(total, dawn.Add(-time.Hour), to)
	starts := map[string]model.SamplePair{}
	for _, s := range server.RawSamples("process_start_time_seconds", dawn.Add(-time.Hour), to) {
		starts[string(s.Metric["pod"])] = s.Values[0]
	}
	slot := func(t model.Time) time.Time {
		step := tick.Milliseconds()
		return time.UnixMilli((int64(t) + step - 1) / step * step).UTC()
	}
	born, look := map[string]model.Time{}, model.Latest
	for _, s := range all {
		pod := string(s.Metric["pod"])
		if first := s.Values[0].Timestamp; born[pod] == 0 || first < born[pod] {
			born[pod] = first
		}
		look = min(look, s.Values[0].Timestamp)
	}
	for _, s := range all {
		pod := string(s.Metric["pod"])
		for i, p := range s.Values {
			inc := float64(p.Value)
			began := p.Timestamp
			if i > 0 {
				began = s.Values[i-1].Timestamp
				if p.Value >= s.Values[i-1].Value {
					inc -= float64(s.Values[i-1].Value)
				}
			} else if slot(p.Timestamp).Equal(slot(look)) ||
				born[pod] == p.Timestamp && float64(starts[pod].Value)*1000 <= float64(slot(look).UnixMilli()) {
				continue // a baseline
			}
			if p.Timestamp <= model.TimeFromUnixNano(from.UnixNano()) {
				continue
			}
			b := 0.0
			if isBad[s.Metric.String()] {
				b = inc
			}
			if p.Timestamp-began > model.Time(5*time.Minute/time.Millisecond) {
				if inc != 0 {
					out.Spreads[""] = append(out.Spreads[""], fmt.Sprintf("%d %d %g %g", began, p.Timestamp, inc, b))
				}
				continue
			}
			when := slot(p.Timestamp).Format(time.RFC3339)
			e := out.Events[""][when]
			out.Events[""][when] = [2]float64{e[0] + inc, e[1] + b}
		}
	}
	slices.Sort(out.Spreads[""])
	maps.DeleteFunc(out.Events[""], func(_ string, e [2]float64) bool { return e == [2]float64{} })
	return out
}

func TestRecount(t *testing.T) {
	server := history(t)
	total, bad := `http_requests_total{job="shop"}`, `http_requests_total{job="shop",code=~"5.."}`
	q := counters("buy", total, bad)

	want := recount(server, dawn.Add(-time.Hour), dusk, total, bad)
	sum, bads := want.sums()
	if sum < 10000 || bads < 500 || len(want.Spreads[""]) < 2 {
		t.Fatalf("the recording is too small: %g events, %g bad, spreads %v", sum, bads, want.Spreads)
	}
	whole := added(t, collect(t, newSource(t, server.URL(), nil, q), dawn.Add(-10*time.Minute), dusk)...)
	want.Covered = whole.Covered // judged below
	differ(t, "whole", whole, want)
	// d's first sample is of midnight itself, and belongs to the tick before.
	if want := "[(2026-02-28T23:59:30Z, 2026-03-01T04:00:00Z]]"; fmt.Sprint(whole.Covered) != want {
		t.Errorf("covered %v, want %s", whole.Covered, want)
	}

	t.Run("asked again", func(t *testing.T) {
		s := newSource(t, server.URL(), nil, q)
		for range 2 {
			differ(t, "the same source", added(t, collect(t, s, dawn.Add(-10*time.Minute), dusk)...), whole)
		}
	})
	t.Run("tick by tick", func(t *testing.T) {
		s := newSource(t, server.URL(), nil, q)
		var samples []slo.Sample
		for from := dawn.Add(-10 * time.Minute); from.Before(dusk); from = from.Add(tick) {
			samples = append(samples, collect(t, s, from, from.Add(tick))...)
		}
		differ(t, "one cursor", added(t, samples...), whole)
	})
	t.Run("halves, each by a process that just began", func(t *testing.T) {
		for d := 30 * time.Second; d < 4*time.Hour; d += 13*time.Minute + 30*time.Second {
			left := collect(t, newSource(t, server.URL(), nil, q), dawn.Add(-10*time.Minute), at(d))
			right := collect(t, newSource(t, server.URL(), nil, q), at(d), dusk)
			differ(t, "cut at "+d.String(), added(t, append(left, right...)...), whole)
		}
	})
	t.Run("eighths, by the same process in any order", func(t *testing.T) {
		s := newSource(t, server.URL(), nil, q)
		samples := make([]slo.Sample, 8)
		for _, i := range []int{5, 6, 0, 7, 3, 4, 1, 2} {
			from := at(time.Duration(i) * 30 * time.Minute)
			if i == 0 {
				from = dawn.Add(-10 * time.Minute)
			}
			samples[i] = collect(t, s, from, at(time.Duration(i+1)*30*time.Minute))[0]
		}
		differ(t, "eighths", added(t, samples...), whole)
	})
	t.Run("eighths, all at once", func(t *testing.T) {
		s := newSource(t, server.URL(), nil, q, counters("a", `http_requests_total{pod="a"}`, bad, "route"))
		samples := make([]slo.Sample, 8)
		var running sync.WaitGroup
		for i := range samples {
			running.Go(func() {
				from := at(time.Duration(i) * 30 * time.Minute)
				if i == 0 {
					from = dawn.Add(-10 * time.Minute)
				}
				if found, err := s.Collect(context.Background(), slo.Span{From: from, To: at(time.Duration(i+1) * 30 * time.Minute)}); err != nil {
					t.Error(err)
				} else {
					samples[i] = found[0]
				}
			})
		}
		running.Wait()
		differ(t, "eighths", added(t, samples...), whole)
	})
	t.Run("hourly chunks under a limit on samples", func(t *testing.T) {
		s := newSource(t, server.URL(), func(o *Options) { o.Config.Limits.SamplesPerRequest = 300 }, q)
		var samples []slo.Sample
		for from := dawn.Add(-time.Hour); from.Before(dusk); from = from.Add(time.Hour) {
			samples = append(samples, collect(t, s, from, from.Add(time.Hour))...)
		}
		differ(t, "small pieces", added(t, samples...), whole)
	})
	t.Run("a process that begins in the silence of another's pod", func(t *testing.T) {
		q := counters("de", `http_requests_total{pod=~"d|e"}`, `http_requests_total{pod=~"d|e",code="500"}`)
		want := recount(server, dawn.Add(-time.Hour), dusk, q.Indicator.Total, q.Indicator.Bad)
		born := at(2*time.Hour + 15*time.Minute + tick).Format(time.RFC3339)
		if want.Events[""][born] == [2]float64{} {
			t.Fatalf("the first value of e counts nothing: %v", want.Events)
		}
		for _, again := range []bool{false, true} {
			s := newSource(t, server.URL(), nil, q)
			if again {
				collect(t, s, at(time.Hour), at(time.Hour+tick))
			}
			got := added(t, collect(t, s, at(2*time.Hour), at(2*time.Hour+20*time.Minute))...)
			if got.Events[""][born] != want.Events[""][born] {
				t.Errorf("asked before %t: %v at the birth of e, want %v", again, got.Events[""][born], want.Events[""][born])
			}
		}
	})
	t.Run("good in place of bad", func(t *testing.T) {
		good := q
		good.Indicator.Bad, good.Indicator.Good = "", `http_requests_total{job="shop",code!~"5.."}`
		got := added(t, collect(t, newSource(t, server.URL(), nil, good), dawn.Add(-10*time.Minute), dusk)...)
		gotTotal, gotBad := got.sums()
		if gotTotal != sum || gotBad != bads {
			t.Errorf("total %g, bad %g; want %g and %g", gotTotal, gotBad, sum, bads)
		}
	})
	t.Run("what increase() would have said", func(t *testing.T) {
		v := server.QueryAt(`sum(increase(http_requests_total{job="shop",code=~"5.."}[4h]))`, dusk).(model.Vector)
		t.Logf("counted %g bad events, increase() says %g", bads, float64(v[0].Value))
		if float64(v[0].Value) == bads {
			t.Error("increase() was right: the recording proves nothing")
		}
	})
}

// The last sample of a series that was away is asked for in as many pieces as the server can bear.
func TestHistoryInPieces(t *testing.T) {
	server := history(t)
	q := counters("d", `http_requests_total{pod="d"}`, `http_requests_total{pod="d",code="500"}`)
	from, to := at(2*time.Hour+50*time.Minute), at(3*time.Hour)
	want := added(t, collect(t, newSource(t, server.URL(), nil, q), from, to)...)
	if len(want.Spreads[""]) != 2 {
		t.Fatalf("nobody was away: %v", want)
	}
	refused := atomic.Int64{}
	front := infront(t, server.URL(), func(w http.ResponseWriter, r *http.Request, form url.Values, pass func(url.Values)) {
		start, _ := strconv.ParseFloat(form.Get("start"), 64)
		end, _ := strconv.ParseFloat(form.Get("end"), 64)
		if end-start > 200*time.Hour.Seconds() {
			refused.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		pass(form)
	})
	differ(t, "in pieces", added(t, collect(t, newSource(t, front.URL, nil, q), from, to)...), want)
	if refused.Load() == 0 {
		t.Error("nothing was refused")
	}
}

// Bounds are numbers: every pod of the recording spells the threshold in its own way.
func TestLatency(t *testing.T) {
	server := history(t)
	latency := func(name, selector string, below float64) sources.Question {
		return sources.Question{SLO: name, Period: 30 * slo.Day, Indicator: sources.Indicator{Kind: sources.Latency, Histogram: selector, Below: below}}
	}
	// What comes of it, from the stored samples: bad is _count less the buckets, of whatever spelling.
	all := recount(server, dawn.Add(-time.Hour), dusk, `seconds_count{job="shop"}`, `seconds_count{job="shop"}`)
	good := recount(server, dawn.Add(-time.Hour), dusk, `seconds_bucket{job="shop",le=~"1|1.0|1e0"}`, `seconds_bucket{job="shop",le=~"1|1.0|1e0"}`)
	total, _ := all.sums()
	below, _ := good.sums()

	s := newSource(t, server.URL(), nil, latency("fast", `seconds{job="shop"}`, 1),
		latency("between", `seconds{job="shop"}`, 0.75), latency("above", `seconds{pod="a"}`, 20), latency("some", `seconds{pod=~"a|e"}`, 0.25),
		latency("only", `seconds{pod="e"}`, 0.25))
	samples := collect(t, s, dawn.Add(-10*time.Minute), dusk)
	whole := added(t, samples[0])
	if gotTotal, gotBad := whole.sums(); gotTotal != total || gotBad != total-below || total < 10000 || below == total {
		t.Errorf("total %g, bad %g; want %g and %g", gotTotal, gotBad, total, total-below)
	}
	if samples[0].Note != "" {
		t.Errorf("a note: %s", samples[0].Note)
	}
	for d := 30 * time.Second; d < 4*time.Hour; d += 37 * time.Minute {
		left := collect(t, newSource(t, server.URL(), nil, latency("fast", `seconds{job="shop"}`, 1)), dawn.Add(-10*time.Minute), at(d))
		right := collect(t, newSource(t, server.URL(), nil, latency("fast", `seconds{job="shop"}`, 1)), at(d), dusk)
		differ(t, "cut at "+d.String(), added(t, append(left, right...)...), whole)
	}

	for i, want := range map[int]string{
		1: `threshold 0.75 is no bucket bound of {__name__="seconds", instance="`,
		3: `threshold 0.25 is no bucket bound of {__name__="seconds", instance="a:80", job="shop", pod="a"}: the smallest is 0.5`,
		2: `threshold 20 is no bucket bound of {__name__="seconds", instance="a:80", job="shop", pod="a"}: the largest is 1`,
	} {
		one := samples[i]
		if events, _ := added(t, one).sums(); one.Err != nil || events != 0 || one.Covered != nil || !strings.HasPrefix(one.Note, want) {
			t.Errorf("%s: err %v, %g events, covered %v, note %q; want none, and the note %q", one.SLO, one.Err, events, one.Covered, one.Note, want)
		}
	}
	if total, bad := added(t, samples[4]).sums(); total == 0 || bad == 0 || samples[4].Note != "" {
		t.Errorf("only: total %g, bad %g, note %q", total, bad, samples[4].Note)
	}
	if want := ": the bounds around it are 0.5 and 1"; !strings.HasSuffix(samples[1].Note, want) {
		t.Errorf("note %q, want it to end with %q", samples[1].Note, want)
	}
}

// A gauge has no increase: every sample is one event.
func TestGauge(t *testing.T) {
	server := history(t)
	s := newSource(t, server.URL(), nil, sources.Question{SLO: "queue", Period: slo.Day, GroupBy: []string{"pod"}, Indicator: sources.Indicator{
		Kind: sources.Gauge, Selector: `queue_length{job="shop"}`, Compare: sources.Comparison{Op: "<", Value: 8},
	}})
	got := added(t, collect(t, s, at(time.Hour), at(2*time.Hour))...)
	for _, pod := range []string{"a", "b", "c", "d"} {
		var total, bad float64
		for _, one := range server.RawSamples(`queue_length{pod="`+pod+`"}`, at(time.Hour), at(2*time.Hour)) {
			for _, p := range one.Values {
				total++
				if p.Value >= 8 {
					bad++
				}
			}
		}
		gotTotal, gotBad := 0.0, 0.0
		for _, e := range got.Events[pod] {
			gotTotal, gotBad = gotTotal+e[0], gotBad+e[1]
		}
		if gotTotal != total || gotBad != bad || bad == 0 {
			t.Errorf("pod %s: total %g, bad %g; want %g and %g", pod, gotTotal, gotBad, total, bad)
		}
	}
}

// What the server evaluates itself: expressions on ticks, and pushdown on tiles.
func TestExpressions(t *testing.T) {
	server := history(t)
	from, to := at(3*time.Hour), at(3*time.Hour+30*time.Minute)
	value := func(expr string, at time.Time) float64 {
		v := server.QueryAt(expr, at).(model.Vector)
		if len(v) != 1 {
			t.Fatalf("%s at %s: %v", expr, at, v)
		}
		return float64(v[0].Value)
	}
	push := counters("push", `http_requests_total{job="shop"}`, `http_requests_total{job="shop",code="500"}`, "route")
	push.Pushdown = true
	slow := sources.Question{SLO: "push-slow", Period: slo.Day, Pushdown: true, Indicator: sources.Indicator{Kind: sources.Latency, Histogram: `seconds{pod="b"}`, Below: 1}}
	unbounded := sources.Question{SLO: "push-between", Period: slo.Day, Pushdown: true, Indicator: sources.Indicator{Kind: sources.Latency, Histogram: `seconds{pod="b"}`, Below: 0.75}}
	s := newSource(t, server.URL(), nil,
		sources.Question{SLO: "promql", Period: slo.Day, Indicator: sources.Indicator{Kind: sources.PromQL,
			Total: `sum(increase(http_requests_total[{{ .window }}]))`, Bad: `sum(increase(http_requests_total{code="500"}[{{.window}}]))`}},
		sources.Question{SLO: "none-bad", Period: slo.Day, Indicator: sources.Indicator{Kind: sources.PromQL,
			Total: `sum(increase(http_requests_total[{{.window}}]))`, Bad: `sum(increase(http_requests_total{code="418"}[{{.window}}]))`}},
		sources.Question{SLO: "no-total", Period: slo.Day, Indicator: sources.Indicator{Kind: sources.PromQL,
			Total: `sum(increase(nothing[{{.window}}]))`, Bad: `sum(increase(http_requests_total[{{.window}}]))`}},
		sources.Question{SLO: "ratio", Period: slo.Day, Indicator: sources.Indicator{Kind: sources.Ratio, Bad: `avg(queue_length) / 10`}},
		sources.Question{SLO: "no-ratio", Period: slo.Day, Indicator: sources.Indicator{Kind: sources.Ratio, Bad: `avg(queue_length) * 10`}},
		push, slow, unbounded,
	)
	by := map[string]slo.Sample{}
	for _, one := range collect(t, s, from, to) {
		by[one.SLO] = one
	}
	full := "[" + slo.Span{From: from, To: to}.String() + "]"

	got := by["promql"]
	if got.Err != nil || fmt.Sprint(got.Covered) != full || len(got.Groups) != 1 || len(got.Groups[0].Increments) != 60 {
		t.Fatalf("promql: %+v", got)
	}
	for _, inc := range got.Groups[0].Increments {
		total := value(`sum(increase(http_requests_total[30s]))`, inc.At)
		bad := value(`sum(increase(http_requests_total{code="500"}[30s]))`, inc.At)
		if inc.Total != total || inc.Bad != bad {
			t.Errorf("promql at %s: %g and %g, want %g and %g", inc.At, inc.Total, inc.Bad, total, bad)
		}
	}
	if got := by["none-bad"]; got.Err != nil || fmt.Sprint(got.Covered) != full || len(got.Groups[0].Increments) != 60 || got.Groups[0].Increments[7].Bad != 0 {
		t.Errorf("an empty bad is none: %+v", got)
	}
	if got := by["no-total"]; got.Err != nil || got.Covered != nil || len(got.Groups) != 0 {
		t.Errorf("an empty total is not covered: %+v", got)
	}
	if got := by["ratio"]; got.Err != nil || fmt.Sprint(got.Covered) != full || got.Groups[0].Increments[0].Total != 1 ||
		got.Groups[0].Increments[0].Bad != value(`avg(queue_length) / 10`, from.Add(tick)) {
		t.Errorf("ratio: %+v", got)
	}
	if got := by["no-ratio"]; got.Err == nil || !strings.HasPrefix(got.Err.Error(), "source prom: slo no-ratio: ratio: ") || !strings.Contains(got.Err.Error(), "lies outside of 0 to 1") {
		t.Errorf("no ratio: %v", got.Err)
	}
	got = by["push"]
	if got.Err != nil || fmt.Sprint(got.Covered) != full || len(got.Groups) != 1 || len(got.Groups[0].Increments) != 30 || got.Groups[0].Labels[0] != "/buy" {
		t.Fatalf("push: %+v", got)
	}
	for _, inc := range got.Groups[0].Increments {
		if total := value(`sum(increase(http_requests_total[1m]))`, inc.At); inc.Total != total || inc.At.Unix()%60 != 0 {
			t.Errorf("push at %s: %g, want %g", inc.At, inc.Total, total)
		}
	}
	whole := added(t, got)
	for d := tick; d < 30*time.Minute; d += 7 * tick {
		halves := append(collect(t, s, from, from.Add(d), "push"), collect(t, s, from.Add(d), to, "push")...)
		differ(t, "push, cut at "+d.String(), added(t, halves...), whole)
	}
	got = by["push-slow"]
	total, bad := added(t, got).sums()
	if got.Err != nil || total < 1000 || bad <= 0 || bad >= total/2 {
		t.Errorf("push-slow: total %g, bad %g, %+v", total, bad, got)
	}
	if got := by["push-between"]; got.Err != nil || got.Covered != nil || !strings.HasSuffix(got.Note, "the bounds around it are 0.5 and 1") {
		t.Errorf("push-between: %+v", got)
	}
}

// An SLO with too many series is not asked, and says both ways out; the others are.
func TestMaxSeries(t *testing.T) {
	server := history(t)
	s := newSource(t, server.URL(), func(o *Options) { o.Config.Limits.MaxSeries = 4 },
		counters("all", `http_requests_total{job="shop"}`, `http_requests_total{job="shop",code="500"}`),
		counters("one", `http_requests_total{pod="a"}`, `http_requests_total{pod="a",code="500"}`))
	samples := collect(t, s, at(3*time.Hour), at(3*time.Hour+10*tick))
	want := `http_requests_total{job="shop"} has 10 series, more than max_series 4: raise sources.prom.limits.max_series, or set counting: pushdown on the SLO`
	if samples[0].Note != want || samples[0].Err != nil || samples[0].Covered != nil || samples[0].Groups != nil {
		t.Errorf("note %q, want %q; %+v", samples[0].Note, want, samples[0])
	}
	if total, bad := added(t, samples[1]).sums(); samples[1].Note != "" || total == 0 || bad == 0 {
		t.Errorf("the other SLO: total %g, bad %g, note %q", total, bad, samples[1].Note)
	}
}

// Series that come later are counted again: at once when an answer holds too many.
func TestMaxSeriesLater(t *testing.T) {
	server := history(t)
	s := newSource(t, server.URL(), func(o *Options) { o.Config.Limits.MaxSeries = 4 }, counters("all", `http_requests_total`, `http_requests_total{code="500"}`))
	for _, f := range []struct {
		from time.Duration
		over bool
	}{{10 * time.Minute, false}, {45 * time.Minute, false}, {45*time.Minute + tick, true}, {46 * time.Minute, true}} {
		got := collect(t, s, at(f.from), at(f.from+tick))[0]
		if (got.Note != "") != f.over || (got.Covered == nil) != f.over {
			t.Errorf("after %s: note %q, covered %v; too many: %t", f.from, got.Note, got.Covered, f.over)
		}
	}
}

func TestLive(t *testing.T) {
	server := history(t)
	s := newSource(t, server.URL(), nil, counters("gone", `nothing_total`, `nothing_total{code="500"}`))
	// The recording ended long ago: at this moment nothing exists.
	checks, err := s.Live(context.Background())
	if err != nil || len(checks) != 1 || checks[0].Exists || checks[0].Text() != "nothing_total has no series with a sample in the last 5m" || !checks[0].Fault() {
		t.Errorf("%+v, %v", checks, err)
	}
	oldest, err := s.Oldest(context.Background())
	if age := time.Since(oldest); err != nil || age < 99*365*slo.Day || age > 101*366*slo.Day {
		t.Errorf("oldest %s, %v; want the retention of 100 years", oldest, err)
	}
}

// shopfront is a real program with a histogram that has classic buckets and native ones.
type shopfront struct {
	*httptest.Server
	handler atomic.Pointer[http.Handler]
	seconds prometheus.Histogram
}

func (f *shopfront) start() {
	f.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "seconds", Help: "How long it took.", Buckets: []float64{0.5, 1, 2}, NativeHistogramBucketFactor: 1.1,
	})
	r := prometheus.NewRegistry()
	r.MustRegister(f.seconds)
	h := promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	f.handler.Store(&h)
}

func TestNativeHistograms(t *testing.T) {
	front := &shopfront{}
	front.start()
	front.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*front.handler.Load()).ServeHTTP(w, r) }))
	defer front.Close()
	address := front.Listener.Addr().String()
	server := promtest.Start(t, promtest.Options{Jobs: []promtest.Job{
		{Name: "native", Targets: []string{address}, NativeHistograms: true},
		{Name: "both", Targets: []string{address}, NativeHistograms: true, ClassicHistograms: true},
		{Name: "classic", Targets: []string{address}},
	}})
	scraped := func() {
		now := time.Now()
		for _, job := range []string{"native", "both", "classic"} {
			server.AwaitScrape(job, now)
		}
	}
	begin := time.Now().Truncate(time.Second)
	front.seconds.Observe(3) // happened before anybody looked
	front.seconds.Observe(0.001)
	scraped()

	total, above1, above4 := 0.0, 0.0, 0.0
	observe := func(n int) {
		for i := range n {
			v := []float64{0.0003, 0.2, 0.9, 1, 1.1, 3.9, 4, 4.2, 60}[i%9]
			front.seconds.Observe(v)
			total++
			if v > 1 {
				above1++
			}
			if v > 4 {
				above4++
			}
		}
	}
	observe(1000)
	scraped()
	observe(311)
	scraped()
	front.start() // a restart: everything begins at 0
	observe(100)
	scraped()
	end := time.Now().Truncate(time.Second).Add(time.Second)

	question := func(job string, below float64) sources.Question {
		return sources.Question{SLO: fmt.Sprint(job, below), Period: slo.Day, Indicator: sources.Indicator{
			Kind: sources.Latency, Histogram: `seconds{job="` + job + `"}`, Below: below,
		}}
	}
	// 1 and 4 are bounds of every native schema; 4 is none of the classic ones.
	s := newSource(t, server.URL(), func(o *Options) { o.Tick = time.Second },
		question("native", 1), question("native", 4), question("both", 1), question("both", 4), question("classic", 1), question("classic", 4))
	for i, want := range []float64{above1, above4, above1, above4, above1} {
		one := collect(t, s, begin, end)[i]
		gotTotal, gotBad := added(t, one).sums()
		if one.Note != "" || gotTotal != total || gotBad != want {
			t.Errorf("%s: total %g, bad %g, note %q; want %g and %g", one.SLO, gotTotal, gotBad, one.Note, total, want)
		}
	}
	if one := collect(t, s, begin, end)[5]; !strings.HasSuffix(one.Note, ": the largest is 2") || one.Covered != nil {
		t.Errorf("classic4: %+v", one)
	}
	checks, err := s.Live(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range checks {
		if c.Err != nil || !c.Exists || !c.Within || c.Over || c.Total < 100 || (c.Part <= 0) != (i == 5) || c.SamplesPerTick <= 0 || c.SamplesBackfill < 80000*c.SamplesPerTick || (c.Note != "") != (i == 5) || c.PartIs != "good" || c.Fault() != (i == 5) {
			t.Errorf("live: %s: %+v", c.Text(), c)
		}
	}
	readAlike(t, s, `{job=~"native|both|classic"}`, begin, end, nil)
	readAlike(t, s, `{__name__=~"seconds|seconds_count|seconds_bucket",job=~"native|both|classic"}`, begin, end, nil)

	// A span and its halves, each by a source that just began.
	fresh := func(from, to time.Time) slo.Sample {
		s := newSource(t, server.URL(), func(o *Options) { o.Tick = time.Second }, question("native", 1))
		return collect(t, s, from, to)[0]
	}
	whole := added(t, fresh(begin, end))
	for cut := begin.Add(time.Second); cut.Before(end); cut = cut.Add(time.Second) {
		differ(t, "cut at "+cut.String(), added(t, fresh(begin, cut), fresh(cut, end)), whole)
	}
}

// The beginning of a history is found to the tick, with few and narrow looks.
func TestBeginning(t *testing.T) {
	server := history(t)
	q := counters("c", `http_requests_total{pod="c"}`, `http_requests_total{pod="c",code="500"}`)
	s := newSource(t, server.URL(), nil, q)
	collect(t, s, at(3*time.Hour), at(3*time.Hour+tick))
	if got, want := time.UnixMilli(s.questions[0].oldest), at(time.Hour+30*time.Minute+tick); !got.Equal(want) {
		t.Errorf("the history of c begins in the tick to %s, want %s", got, want)
	}
}
