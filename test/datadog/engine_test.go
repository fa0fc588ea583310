package datadog

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// traffic is an organisation with ten minutes of traffic that ends at the clock's beginning: two
// pods count 6 and 12 requests every ten seconds, one of six is bad; a gauge is 1 and 3; latencies
// are 0.1, 0.2, 0.3 and 0.4 in every ten seconds.
func traffic(t *testing.T) *Datadog {
	t.Helper()
	d := New(Options{})
	for i := range int64(60) {
		at := time.Unix(1767312000-600+10*i, 0)
		for pod, n := range map[string]float64{"a": 6, "b": 12} {
			d.Seed(Metric{Name: "http.hits", Type: Count, Interval: 10, Tags: []string{"service:shop", "code:200", "pod:" + pod}}, Point{At: at, Value: n * 5 / 6})
			d.Seed(Metric{Name: "http.hits", Type: Count, Interval: 10, Tags: []string{"service:shop", "code:500", "pod:" + pod}}, Point{At: at, Value: n / 6})
			d.Seed(Metric{Name: "statsd.hits", Type: Rate, Interval: 10, Tags: []string{"pod:" + pod}}, Point{At: at, Value: n / 10})
		}
		d.Seed(Metric{Name: "load", Tags: []string{"pod:a"}, Host: "one"}, Point{At: at, Value: 1})
		d.Seed(Metric{Name: "load", Tags: []string{"pod:b"}, Host: "two"}, Point{At: at, Value: 3})
		d.Seed(Metric{Name: "latency", Type: Distribution, Tags: []string{"service:shop"}}, Point{At: at, Values: []float64{0.1, 0.2, 0.3, 0.4}})
	}
	return d
}

// TestEngine works out the first whole minute of queries by hand.
func TestEngine(t *testing.T) {
	d := traffic(t)
	for _, c := range []struct{ query, want string }{
		{"avg:load{*}", "2"},
		{"load{*}", "2"},
		{"sum:load{*}", "4"},
		{"min:load{*}", "1"},
		{"max:load{*}", "3"},
		{"count:load{*}", "2"},
		{"avg:load{*} by {pod}", "pod:a 1, pod:b 3"},
		{"avg:load{*}by{host,pod}", "host:one,pod:a 1, host:two,pod:b 3"},
		{"avg:load{host:two}", "3"},
		{"avg:load{pod:a OR pod:b} by {zone}", "zone:N/A 2"},
		{"avg:load{!pod:a}", "3"},
		{"avg:load{NOT pod:a AND host:t*}", "3"},
		{"avg:load{pod IN (a,c)}", "1"},
		{"avg:load{pod NOT IN (a, c)}", "3"},
		{"avg:load{pod:c}", ""},
		{"avg:nothing{*}", ""},
		{"default_zero(sum:nothing{*})", ""}, // a metric that nobody knows has no series to fill
		{"avg:load{$env,pod:a}", "1"},

		{"sum:http.hits{*}.as_count()", "108"},
		{"sum:http.hits{code:200}.as_count().rollup(sum,60)", "90"},
		{"sum:http.hits{code:5*}.as_count()", "18"},
		{"sum:http.hits{*} by {code}.as_count()", "code:200 90, code:500 18"},
		{"sum:http.hits{*}", "18"},            // without as_count a bucket is the mean of its points: a trap
		{"sum:http.hits{*}.as_rate()", "1.8"}, // a second
		{"sum:statsd.hits{*}", "1.8"},
		{"sum:statsd.hits{*}.as_count()", "108"},
		{"sum:http.hits{code:500}.as_count()/sum:http.hits{*}.as_count()", "0.166667"},
		{"(sum:http.hits{*}.as_count() - sum:http.hits{code:500}.as_count()) * 100 / sum:http.hits{*}.as_count()", "83.3333"},
		{"sum:http.hits{code:500} by {pod}.as_count() / sum:http.hits{*}.as_count()", "pod:a 0.0555556, pod:b 0.111111"},
		{"1 - avg:load{pod:a}", "0"},
		{"-avg:load{pod:b} + 2 * 3", "3"},
		{"avg:load{pod:a}, avg:load{pod:b}", "1, #1 3"},
		{"abs(0 - avg:load{pod:a})", "1"},
		{"clamp_max(avg:load{pod:b},2)", "2"},
		{"per_second(sum:http.hits{*}.as_count())", "1.8"},
		{"top(avg:load{*} by {pod}, 1, 'mean', 'desc')", "pod:b 3"},

		{"count(v: v<=0.2):latency{service:shop}.as_count()", "12"},
		{"count(v: v < 0.2):latency{service:shop}.as_count()", "6"},
		{"count(v: v>0.3):latency{*}", "6"},
		{"count:latency{*}.as_count()", "24"},
		{"p50:latency{*}", "0.2"},
		{"p99:latency{*}", "0.4"},
		{"avg:latency{*}", "0.25"},
		{"max:latency{*}.rollup(max, 60)", "0.4"},
	} {
		t.Run(c.query, func(t *testing.T) {
			w := window{from: d.Now().Add(-10 * time.Minute), to: d.Now(), now: d.Now(), force: 60}
			found, err := d.query(c.query, w)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range found {
				text := strings.Join(r.Group, ",")
				if r.Query > 0 {
					text = fmt.Sprintf("#%d", r.Query) + text
				}
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %.6g", text, r.Buckets[0].Value)))
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("got %s, want %s", text, c.want)
			}
		})
	}
}

func TestQueriesThatCannotBeRead(t *testing.T) {
	for _, query := range []string{
		"", "avg:", "avg:load", "avg:load{", "avg:load{}", "avg:load{*", "mean:load{*}", "avg:load{*} by", "avg:load{*} by {}", "avg:load{*}.as_counts()", "avg:load{*}.rollup()",
		"avg:load{*}.rollup(median,60)", "avg:load{*} +", "(avg:load{*}", "avg:load{*} avg:load{*}", "moving(avg:load{*})", "count(v: v=0.3):load{*}", "count(v: v<=x):load{*}", "avg:load{pod IN a}",
		"avg:load{a OR}", "avg:load{(a}", "avg:load{*}.fill(maybe)", "avg:load{*},", "avg:load{,}",
	} {
		if found, err := New(Options{}).Query(query, time.Unix(0, 0), time.Unix(60, 0)); err == nil {
			t.Errorf("%q gives %v", query, found)
		}
	}
}

// The lengths of buckets are those of the documentation, and a finer one than 1500 buckets allow is
// silently made coarser.
func TestBucketLengths(t *testing.T) {
	for _, c := range []struct {
		asked int64
		span  time.Duration
		want  int64
	}{
		{0, 200 * time.Second, 1}, {0, time.Hour, 20}, {0, 4 * time.Hour, 60}, {0, 24 * time.Hour, 300}, {0, 48 * time.Hour, 600}, {0, 7 * 24 * time.Hour, 3600}, {0, 30 * 24 * time.Hour, 14400},
		{60, 4 * time.Hour, 60}, {60, 25 * time.Hour, 60}, {60, 25*time.Hour + time.Minute, 120}, {10, 24 * time.Hour, 60}, {1, time.Hour, 5}, {3600, time.Hour, 3600},
	} {
		if got := bucketLength(c.asked, c.span); got != c.want {
			t.Errorf("%ds asked over %s: %ds, want %ds", c.asked, c.span, got, c.want)
		}
	}
}

// Buckets lie on whole multiples of their length. The first is the first that begins in the span;
// the last may hold a part of its time only, and looks like any other.
func TestEdgesOfAQuery(t *testing.T) {
	d := traffic(t)
	end := d.Now()
	for _, c := range []struct {
		from, to    time.Duration // from the end
		first, last time.Duration
		lastValue   float64
		buckets     int
	}{
		{-5 * time.Minute, 0, -5 * time.Minute, -time.Minute, 108, 5}, // a bucket that begins at the end has no points yet
		{-5*time.Minute - 10*time.Second, -time.Minute, -5 * time.Minute, -time.Minute, 18, 5},
		{-5*time.Minute + 10*time.Second, -30 * time.Second, -4 * time.Minute, -time.Minute, 72, 4},
	} {
		found, err := d.Query("sum:http.hits{*}.as_count().rollup(sum,60)", end.Add(c.from), end.Add(c.to))
		if err != nil || len(found) != 1 {
			t.Fatalf("%v %v", found, err)
		}
		b := found[0].Buckets
		if len(b) != c.buckets || !b[0].Start.Equal(end.Add(c.first)) || !b[len(b)-1].Start.Equal(end.Add(c.last)) || b[len(b)-1].Value != c.lastValue {
			t.Errorf("from %s to %s: %d buckets from %s to %s, last %v", c.from, c.to, len(b), b[0].Start, b[len(b)-1].Start, b[len(b)-1].Value)
		}
	}
}

// Between the points of several gauges values are invented, unless the query says otherwise; counts
// have gaps.
func TestGapsAndInvention(t *testing.T) {
	d := New(Options{})
	at := func(minutes int, v float64) Point {
		return Point{At: d.Now().Add(time.Duration(minutes-20) * time.Minute), Value: v}
	}
	d.Seed(Metric{Name: "g", Tags: []string{"s:a"}}, at(0, 0), at(4, 4), at(14, 14))
	d.Seed(Metric{Name: "g", Tags: []string{"s:b"}}, at(0, 0), at(1, 0), at(2, 0), at(3, 0), at(4, 0), at(9, 0))
	d.Seed(Metric{Name: "c", Type: Count, Interval: 60, Tags: []string{"s:a"}}, at(0, 5), at(4, 5))
	for _, c := range []struct{ query, want string }{
		{"sum:g{*}.rollup(60)", "0=0 1=1 2=2 3=3 4=4 5=0 6=0 7=0 8=0 9=0 14=14"},
		{"sum:g{*}.rollup(60).fill(null)", "0=0 1=0 2=0 3=0 4=4 9=0 14=14"},
		{"sum:g{s:a}.rollup(60)", "0=0 4=4 14=14"},
		{"sum:c{*}.as_count().rollup(sum,60)", "0=5 4=5"},
		{"default_zero(sum:c{*}.as_count().rollup(sum,60))", "0=5 1=0 2=0 3=0 4=5 5=0 6=0 7=0 8=0 9=0 10=0 11=0 12=0 13=0 14=0 15=0 16=0 17=0 18=0 19=0 20=0"},
		{"sum:c{*}.as_count().rollup(sum,300).fill(zero)", "0=10 5=0 10=0 15=0 20=0"},
		{"sum:g{s:a}.rollup(300).fill(last)", "0=2 5=2 10=14 15=14 20=14"},
	} {
		found, err := d.Query(c.query, d.Now().Add(-20*time.Minute), d.Now())
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v %v", c.query, found, err)
		}
		var got []string
		for _, b := range found[0].Buckets {
			got = append(got, fmt.Sprintf("%d=%g", int(b.Start.Sub(d.Now()).Minutes())+20, b.Value))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", c.query, text, c.want)
		}
	}
}

// Version 1 of the API: one call for several queries, milliseconds, and one bad query fails all.
func TestQueryOverTheAPI(t *testing.T) {
	d := traffic(t)
	const path = "/api/v1/query?from=1767311400&to=1767312000&query="
	start := func(o Options) *Datadog {
		o.Now = d.Now()
		served := Start(t, o)
		served.store = d.store
		return served
	}
	served := start(Options{})
	status, body := ask(t, served, "GET", path+"sum:http.hits{code:500}.as_count().rollup(sum,60),sum:http.hits{*}.as_count().rollup(sum,60)", nil)
	series, _ := body["series"].([]any)
	if status != 200 || len(series) != 2 {
		t.Fatalf("%d %v", status, body)
	}
	one := mapOf(series[1])
	first, _ := one["pointlist"].([]any)[0].([]any)
	if one["query_index"] != 1.0 || one["interval"] != 60.0 || one["aggr"] != "sum" || one["scope"] != "*" || first[0] != 1767311400000.0 || first[1] != 108.0 || one["length"] != 10.0 || one["end"] != 1767311999000.0 {
		t.Errorf("%v", one)
	}
	if status, body := ask(t, served, "GET", path+"sum:http.hits{*}.as_count(),nonsense", nil); status != 422 || body["errors"] == nil {
		t.Errorf("one bad query of two: %d %v", status, body)
	}
	if status, body := ask(t, start(Options{Variant: Variant{QueryError: 200}}), "GET", path+"nonsense", nil); status != 200 || body["status"] != "error" || body["error"] == "" {
		t.Errorf("the other way to refuse: %d %v", status, body)
	}
	if status, body := ask(t, served, "GET", path+"sum:nothing{*}", nil); status != 200 || len(body["series"].([]any)) != 0 {
		t.Errorf("a metric that is not there: %d %v", status, body)
	}

	nulls := start(Options{Variant: Variant{Nulls: true}})
	nulls.Seed(Metric{Name: "late"}, Point{At: nulls.Now().Add(-time.Minute), Value: 1})
	_, body = ask(t, nulls, "GET", path+"avg:late{*}.rollup(60),avg:load{*}.rollup(60)", nil)
	points, _ := mapOf(body["series"].([]any)[0])["pointlist"].([]any)
	if len(points) != 10 || points[0].([]any)[1] != nil || points[9].([]any)[1] != 1.0 {
		t.Errorf("shared times: %v", points)
	}
}

func TestQueryVersion2(t *testing.T) {
	d := traffic(t)
	served := Start(t, Options{Now: d.Now()})
	served.store = d.store
	request := func(kind string) map[string]any {
		return map[string]any{"data": map[string]any{"type": kind, "attributes": map[string]any{
			"from": 1767311400000, "to": 1767312000000, "interval": 60000,
			"queries": []any{
				map[string]any{"data_source": "metrics", "name": "bad", "query": "sum:http.hits{code:500} by {pod}.as_count()", "aggregator": "sum"},
				map[string]any{"data_source": "metrics", "name": "all", "query": "sum:http.hits{*} by {pod}.as_count()"}},
			"formulas": []any{map[string]any{"formula": "bad / all"}, map[string]any{"formula": "all"}}}}}
	}
	status, body := ask(t, served, "POST", "/api/v2/query/timeseries", request("timeseries_request"))
	attributes := mapOf(mapOf(body["data"])["attributes"])
	if times, _ := attributes["times"].([]any); status != 200 || len(times) != 10 || times[0] != 1767311400000.0 || attributes["values"].([]any)[0].([]any)[0] != 1.0/6 {
		t.Errorf("%d %v", status, body)
	}
	if status, body = ask(t, served, "POST", "/api/v2/query/timeseries", request("scalar_request")); status != 400 || fmt.Sprint(body["errors"]) != `[API input validation failed: Invalid type. Expected "timeseries_request".]` {
		t.Errorf("another type: %d %v", status, body)
	}
	status, body = ask(t, served, "POST", "/api/v2/query/scalar", request("scalar_request"))
	columns, _ := mapOf(mapOf(body["data"])["attributes"])["columns"].([]any)
	if status != 200 || len(columns) != 3 || mapOf(columns[0])["type"] != "group" || fmt.Sprint(mapOf(columns[2])["values"]) != "[360 720]" {
		t.Errorf("%d %v", status, body)
	}
}

// A quota is counted in stretches of the calendar and shared with everybody.
func TestQuotas(t *testing.T) {
	d := Start(t, Options{Now: time.Date(2026, 1, 2, 0, 59, 50, 0, time.UTC)})
	d.Quota("query", 3, time.Hour)
	const path = "/api/v1/query?from=1&to=2&query=avg:a{*}"
	get := func() int { status, _ := ask(t, d, "GET", path, nil); return status }
	if get() != 200 {
		t.Error("the first is refused")
	}
	d.UseQuota("query", 1)
	if a, b := get(), get(); a != 200 || b != 429 {
		t.Errorf("%d %d, want 200 and 429", a, b)
	}
	d.Advance(10 * time.Second) // a new hour by the clock
	if get() != 200 {
		t.Error("refused in the new hour")
	}
}
