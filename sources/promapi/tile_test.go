package promapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// Tiles hold four samples, last a minute or more, and none lies across the end of a day.
func TestTileOf(t *testing.T) {
	for _, f := range []struct {
		tick, pace, want time.Duration
	}{
		{30 * time.Second, 0, time.Minute},
		{30 * time.Second, 5 * time.Second, time.Minute},
		{30 * time.Second, 15 * time.Second, time.Minute},
		{30 * time.Second, 16 * time.Second, 90 * time.Second},
		{30 * time.Second, 30 * time.Second, 2 * time.Minute},
		{30 * time.Second, time.Minute, 4 * time.Minute},
		{30 * time.Second, 50 * time.Second, 4 * time.Minute}, // 3m30s does not divide a day
		{time.Second, 15 * time.Second, time.Minute},
		{time.Second, 17 * time.Second, 72 * time.Second},
		{25 * time.Second, 0, 75 * time.Second},
		{5 * time.Minute, 15 * time.Second, 5 * time.Minute},
		{35 * time.Minute, 15 * time.Second, 35 * time.Minute},
		{48 * time.Hour, 15 * time.Second, 48 * time.Hour},
	} {
		s := newSource(t, "http://localhost", func(o *Options) { o.Tick = f.tick }, hits)
		got := time.Duration(s.tileOf(f.pace.Milliseconds())) * time.Millisecond
		if got != f.want || s.blockLength()%got.Milliseconds() != 0 || got%f.tick != 0 {
			t.Errorf("tick %s, samples every %s: tiles of %s, want %s", f.tick, f.pace, got, f.want)
		}
	}
}

// The pace of a series is the median of its differences: a hole and jitter do not move it, and a
// handful of samples say nothing.
func TestPace(t *testing.T) {
	for name, f := range map[string]struct {
		times string // ms
		want  int64
	}{
		"steady":        {"0 15000 30000 45000 60000 75000", 15000},
		"jittery":       {"3 15001 29998 45004 60000 75002", 15000},
		"with a hole":   {"0 15000 30000 900000 915000 930000", 15000},
		"too few":       {"0 15000 30000 45000 60000", 0},
		"only one":      {"0", 0},
		"a fast scrape": {"0 100 200 300 400 500", 1000},
	} {
		one := series{}
		for text := range strings.FieldsSeq(f.times) {
			at, _ := strconv.ParseInt(text, 10, 64)
			one.hists = append(one.hists, histogram{t: at})
		}
		if got := one.pace(); got != f.want {
			t.Errorf("%s: %d ms, want %d", name, got, f.want)
		}
	}
}

// young is a server with counters that were born at odd moments, each scraped at its own pace.
func young(t *testing.T) *promtest.Server {
	t.Helper()
	r := &recording{lines: map[string][]string{}}
	for _, c := range []struct {
		name  string
		born  time.Duration
		every time.Duration
	}{
		{"fast", 3*time.Hour + 7*time.Second, 15 * time.Second},
		{"half", 3*time.Hour + 7*time.Second, 30 * time.Second},
		{"slow", 3*time.Hour + 7*time.Second, time.Minute},
		{"lame", 3*time.Hour + 7*time.Second, 4 * time.Minute},
		{"old", 21 * time.Hour, 30 * time.Second}, // for the day after
	} {
		for d := c.born; d < c.born+5*time.Hour; d += c.every {
			k := float64((d - c.born) / c.every)
			r.write(c.name+"_total", c.name+`_total{job="shop",code="200"}`, at(d+117*time.Millisecond), 100+90*k)
			r.write(c.name+"_total", c.name+`_total{job="shop",code="500"}`, at(d+117*time.Millisecond), 100+10*k)
		}
	}
	dir := t.TempDir()
	promtest.CreateBlocks(t, dir, strings.NewReader(r.text()))
	return promtest.Start(t, promtest.Options{Dir: dir})
}

func pushed(name string) sources.Question {
	q := counters(name, name+"_total", name+`_total{code="500"}`)
	q.Pushdown = true
	return q
}

// A source that began 5 s after the metric counts it as soon as there is anything to count, and
// in the end says of every span what a source that begins later says.
func TestYoungMetric(t *testing.T) {
	server := young(t)
	birth := at(3*time.Hour + 7*time.Second)
	for name, f := range map[string]struct {
		by    time.Duration // age of the metric at which it is counted
		total float64       // events in the hour from the third, that are known by tiles of this kind
	}{
		"fast": {2 * time.Minute, 100 * 240},
		"half": {2 * time.Minute, 100 * 120},
		"slow": {15 * time.Minute, 100 * 60},
		"lame": {time.Hour, 100 * 15},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, server.URL(), nil, pushed(name))
			begin := at(3 * time.Hour)
			var samples []slo.Sample
			first := time.Time{}
			for from := begin; from.Before(at(6 * time.Hour)); from = from.Add(tick) { // the first turn is 23 s after birth
				one := collect(t, s, from, from.Add(tick))[0]
				if len(one.Covered) > 0 && first.IsZero() {
					first = one.Span.To
				}
				samples = append(samples, one)
			}
			if age := first.Sub(birth); first.IsZero() || age > f.by {
				t.Errorf("covered first at an age of %s, want %s", age, f.by)
			}
			live := added(t, samples...)
			differ(t, "a source that begins later", added(t, collect(t, newSource(t, server.URL(), nil, pushed(name)), begin, at(6*time.Hour))...), live)
			for _, cut := range []time.Duration{tick, 9*time.Minute + tick, 13 * time.Minute, 61*time.Minute + tick} {
				cut := begin.Add(cut)
				right := collect(t, newSource(t, server.URL(), nil, pushed(name)), cut, at(6*time.Hour))
				left := collect(t, newSource(t, server.URL(), nil, pushed(name)), begin, cut)
				differ(t, "cut at "+cut.String(), added(t, append(left, right...)...), live)
			}
			if name == "lame" {
				return
			}
			hour := added(t, collect(t, s, at(4*time.Hour), at(5*time.Hour))...)
			if total, bad := hour.sums(); total < f.total*0.99 || total > f.total*1.01 || bad < total/10*0.99 || bad > total/10*1.01 {
				t.Errorf("an hour has %g events, %g bad; want about %g, and a tenth of them", total, bad, f.total)
			}
		})
	}
	t.Run("over midnight", func(t *testing.T) {
		begin, end := at(20*time.Hour), at(26*time.Hour)
		whole := collect(t, newSource(t, server.URL(), nil, pushed("old")), begin, end)
		all := added(t, whole...)
		if want := "[(2026-03-01T21:00:30Z, 2026-03-02T02:00:00Z]]"; fmt.Sprint(all.Covered) != want {
			t.Errorf("covered %v, want %s", all.Covered, want)
		}
		for _, inc := range whole[0].Groups[0].Increments {
			if at := inc.At.Sub(dawn); at > 21*time.Hour+12*time.Minute && at%(2*time.Minute) != 0 {
				t.Errorf("a tile ends at %s", inc.At)
			}
		}
		for cut := begin.Add(30 * time.Minute); cut.Before(end); cut = cut.Add(47 * time.Minute).Truncate(tick) {
			s := newSource(t, server.URL(), nil, pushed("old"))
			right := collect(t, s, cut, end) // the later half first
			differ(t, "cut at "+cut.String(), added(t, append(collect(t, s, begin, cut), right...)...), all)
		}
	})
}

// The pace is asked for with every block once it is known, and every ten minutes while it is not.
func TestPaceIsAskedSeldom(t *testing.T) {
	born := dawn.Add(35*time.Minute + 5*time.Second)
	asked := map[string]int{}
	d := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		seen := func(at int64) int64 { // samples by then, one every 15 s
			if n := (at-born.Unix())/15 + 1; at >= born.Unix() {
				return min(n, 240)
			}
			return 0
		}
		var out []string
		now, _ := strconv.ParseFloat(r.FormValue("time"), 64)
		switch {
		case strings.HasPrefix(query, "topk"):
			asked["topk"]++
			if n := seen(int64(now)); n > 0 {
				out = append(out, fmt.Sprintf(`{"metric":{"job":"j"},"value":[%d,"%d"]}`, int64(now), n))
			}
		case strings.HasPrefix(query, "max(count_over_time"):
			asked["scan"]++
			start, _ := strconv.ParseFloat(r.FormValue("start"), 64)
			end, _ := strconv.ParseFloat(r.FormValue("end"), 64)
			var values []string
			for at := int64(start); at <= int64(end); at += 600 {
				if n := seen(at); n > 0 {
					values = append(values, fmt.Sprintf(`[%d,"%d"]`, at, n))
				}
			}
			if len(values) > 0 {
				out = append(out, fmt.Sprintf(`{"metric":{},"values":[%s]}`, strings.Join(values, ",")))
			}
		case strings.HasPrefix(query, "hits_total"):
			asked["raw"]++
			if want := `hits_total{job="j"}[3600000ms]`; query != want {
				t.Errorf("asked %s, want %s", query, want)
			}
			var values []string
			for i := range seen(int64(now)) {
				values = append(values, fmt.Sprintf(`[%d,"1"]`, born.Unix()+15*i))
			}
			out = append(out, fmt.Sprintf(`{"metric":{"__name__":"hits_total","job":"j"},"values":[%s]}`, strings.Join(values, ",")))
		default:
			asked["increase"]++
			if !strings.Contains(query, "[60000ms]") {
				t.Errorf("asked %s", query)
			}
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, strings.Join(out, ","))
	}))
	defer d.Close()
	q := hits
	q.Pushdown = true
	s := newSource(t, d.URL, nil, q)
	for from := dawn; from.Before(dawn.Add(26 * time.Hour)); from = from.Add(tick) {
		if got := collect(t, s, from, from.Add(tick))[0]; got.Err != nil {
			t.Fatal(got.Err)
		}
		if from.Equal(born.Truncate(tick)) && (asked["topk"] != 1 || asked["scan"] != 3 || asked["raw"] != 0) {
			t.Errorf("before birth: %v", asked)
		}
	}
	// At dawn and at the next midnight; at 10, 20, 30 and 40 minutes, where it is found.
	if asked["topk"] != 3 || asked["scan"] != 4 || asked["raw"] != 2 {
		t.Errorf("asked %v", asked)
	}
}

// What cannot be learned for a fault of the server is learned the next time.
func TestPaceAfterAFault(t *testing.T) {
	sick := true
	d := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sick && strings.HasPrefix(r.FormValue("query"), "topk") {
			w.WriteHeader(500)
			return
		}
		io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
	}))
	defer d.Close()
	q := hits
	q.Pushdown = true
	s := newSource(t, d.URL, nil, q)
	for _, want := range []string{"http_5xx", ""} {
		got := collect(t, s, dawn, dawn.Add(tick))[0]
		if (got.Err == nil) != (want == "") || got.Err != nil && Reason(got.Err) != want {
			t.Errorf("%v, want %q", got.Err, want)
		}
		sick = false
	}
	if _, err := s.Collect(context.Background(), slo.Span{From: dawn.Add(tick), To: dawn.Add(2 * tick)}); err != nil {
		t.Error(err)
	}
}
