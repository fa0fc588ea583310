package promapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// double stands in for a server that misbehaves, which a real one does not do on demand.
type double struct {
	*httptest.Server
	mu      sync.Mutex
	queries []string
}

// misbehave starts a server. reply answers the queries for raw samples, given the selector and the
// span in seconds; everything else (probes of the history) is answered with nothing found.
func misbehave(t *testing.T, reply func(w http.ResponseWriter, r *http.Request, query string)) *double {
	t.Helper()
	d := &double{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		d.mu.Lock()
		d.queries = append(d.queries, r.URL.Path+" "+query)
		d.mu.Unlock()
		raw := strings.HasSuffix(query, "ms]") && !strings.Contains(query, "(")
		if !raw {
			io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
			return
		}
		reply(w, r, query)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *double) raw() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.queries), func(q string) bool { return strings.Contains(q, "(") })
}

// one request of a good series that grows by 10 and a bad one that grows by 1, at 1772323215 and
// 1772323230, a quarter and half a minute past midnight.
const healthy = `{"status":"success","data":{"resultType":"matrix","result":[` +
	`{"metric":{"__name__":"hits_total","code":"200","job":"j"},"values":[[1772323185,"80"],[1772323200,"90"],[1772323215.000,"100"],[1772323230,"110"]]},` +
	`{"metric":{"__name__":"hits_total","code":"500","job":"j"},"values":[[1772323185,"8"],[1772323200,"9"],[1772323215.000,"10"],[1772323230,"11"]]}]}}`

var hits = counters("hits", `hits_total`, `hits_total{code="500"}`)

func TestMisbehaviour(t *testing.T) {
	first := slo.Span{From: dawn, To: dawn.Add(tick)}
	for _, f := range []struct {
		name   string
		status int
		body   string
		reason string
		fault  string // of the error; "" when there is none
	}{
		{"all is well", 200, healthy, "", ""},
		{"infos are no warnings", 200, strings.Replace(healthy, `"data"`, `"infos":["PromQL info: metric might not be a counter"],"data"`, 1), "", ""},
		{"fields nobody knows", 200, strings.Replace(healthy, `"data"`, `"stats":{"seriesFetched":"2","deep":[{"a":[null,true,-1.5e3]}]},"data"`, 1), "", ""},
		{"warnings", 200, strings.Replace(healthy, `"data"`, `"warnings":["store gateway-1 is down"],"data"`, 1), "partial", "query: the answer has a warning: store gateway-1 is down"},
		{"a partial answer", 200, strings.Replace(healthy, `"data"`, `"isPartial":true,"data"`, 1), "partial", "query: the answer is partial"},
		{"500", 500, "boom\nat line 7", "http_5xx", "query: 500 Internal Server Error: boom"},
		{"503 as Prometheus says it", 503, `{"status":"error","errorType":"unavailable","error":"service unavailable"}`, "http_5xx", "query: 503 Service Unavailable: service unavailable"},
		{"503 of a proxy", 503, "<html><body>503</body></html>", "http_5xx", "query: 503 Service Unavailable"},
		{"unauthorised", 401, "", "http_4xx", "query: 401 Unauthorized"},
		{"a bad question", 400, `{"status":"error","errorType":"bad_data","error":"parse error"}`, "http_4xx", "query: 400 Bad Request: parse error"},
		{"an error with a good status", 200, `{"status":"error","errorType":"execution","error":"no"}`, "other", "query: the server says execution: no"},
		{"HTML", 200, "<html>please log in</html>", "decode", "query: the answer is not a JSON object"},
		{"half a JSON", 200, healthy[:len(healthy)/2], "decode", "query: the answer breaks off: unexpected EOF"},
		{"one bracket short", 200, healthy[:len(healthy)-1], "decode", "query: the answer breaks off: unexpected EOF"},
		{"two answers", 200, healthy + healthy, "decode", "query: something follows the answer"},
		{"nothing", 200, "", "decode", "query: the answer breaks off: unexpected EOF"},
		{"a scalar", 200, `{"status":"success","data":{"resultType":"scalar","result":[1772323230,"1"]}}`, "decode", `query: the answer is a "scalar", not a matrix or vector`},
		{"no result", 200, `{"status":"success"}`, "decode", `query: the answer is a "", not a matrix or vector`},
		{"out of order", 200, strings.Replace(healthy, "1772323230", "1772323100", 1), "decode", "query: samples are out of order"},
	} {
		t.Run(f.name, func(t *testing.T) {
			sick := true
			d := misbehave(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
				if !sick {
					io.WriteString(w, healthy)
					return
				}
				w.WriteHeader(f.status)
				io.WriteString(w, f.body)
			})
			s := newSource(t, d.URL, nil, hits)
			got := collect(t, s, first.From, first.To)[0]
			if f.fault != "" {
				if got.Err == nil || got.Err.Error() != "source prom: slo hits: "+f.fault || Reason(got.Err) != f.reason {
					t.Errorf("error %q (%s), want %q (%s)", got.Err, Reason(got.Err), f.fault, f.reason)
				}
				if got.Groups != nil || got.Covered != nil {
					t.Errorf("a failure answers %+v", got)
				}
				// When it is well again nothing is missing.
				sick = false
				got = collect(t, s, first.From, first.To)[0]
			}
			if total, bad := added(t, got).sums(); total != 22 || bad != 2 || len(got.Covered) != 1 {
				t.Errorf("total %g, bad %g, covered %v; want 22, 2 and the tick", total, bad, got.Covered)
			}
		})
	}
}

func TestEmptyAndNaN(t *testing.T) {
	body := `{"status":"success","data":{"resultType":"matrix","result":[]}}`
	d := misbehave(t, func(w http.ResponseWriter, _ *http.Request, _ string) { io.WriteString(w, body) })
	s := newSource(t, d.URL, nil, hits)
	if got := collect(t, s, dawn, dawn.Add(tick))[0]; got.Err != nil || len(got.Covered) != 0 || len(got.Groups) != 0 {
		t.Errorf("an empty answer covers nothing: %+v", got)
	}
	body = strings.ReplaceAll(healthy, `"100"`, `"NaN"`)
	got := collect(t, newSource(t, d.URL, nil, hits), dawn, dawn.Add(tick))[0]
	if total, bad := added(t, got).sums(); total != 22 || bad != 2 {
		t.Errorf("NaN is passed over: total %g, bad %g; want 22 and 2", total, bad)
	}
}

// A server that hangs costs its own timeout, and no more than the time that the caller allows.
func TestHang(t *testing.T) {
	hang := make(chan struct{})
	d := misbehave(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		io.WriteString(w, `{"status":"success","data":{`)
		w.(http.Flusher).Flush()
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	defer close(hang)
	s := newSource(t, d.URL, func(o *Options) { o.Timeout = 50 * time.Millisecond }, hits)
	got := collect(t, s, dawn, dawn.Add(tick))[0]
	if Reason(got.Err) != "timeout" || got.Err.Error() != "source prom: slo hits: query: no answer in time" {
		t.Errorf("%v (%s)", got.Err, Reason(got.Err))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := newSource(t, d.URL, nil, hits).Collect(ctx, slo.Span{From: dawn, To: dawn.Add(tick)})
	if !errors.Is(err, context.DeadlineExceeded) || Reason(err) != "timeout" {
		t.Errorf("%v (%s)", err, Reason(err))
	}
	d.CloseClientConnections()
}

func TestRefused(t *testing.T) {
	d := httptest.NewServer(http.NotFoundHandler())
	d.Close()
	got := collect(t, newSource(t, strings.Replace(d.URL, "http://", "http://user:hunter2@", 1), nil, hits), dawn, dawn.Add(tick))[0]
	if Reason(got.Err) != "refused" || got.Err.Error() != "source prom: slo hits: query: connection refused" {
		t.Errorf("%v (%s)", got.Err, Reason(got.Err))
	}
}

// What is too much is asked for in halves, down to one tick, and nothing is left out.
func TestHalves(t *testing.T) {
	for status, says := range map[int]string{422: "query processing would load too many samples into memory in query execution", 503: "", 504: "", 413: ""} {
		var longest time.Duration
		var mu sync.Mutex
		d := misbehave(t, func(w http.ResponseWriter, r *http.Request, query string) {
			ms, _ := strconv.Atoi(strings.TrimSuffix(query[strings.LastIndex(query, "[")+1:], "ms]"))
			length := time.Duration(ms) * time.Millisecond
			if length > 2*tick {
				w.WriteHeader(status)
				fmt.Fprintf(w, `{"status":"error","errorType":"execution","error":%q}`, says)
				return
			}
			mu.Lock()
			longest = max(longest, length)
			mu.Unlock()
			end, _ := strconv.ParseFloat(r.FormValue("time"), 64)
			var values []string
			for at := int64(end) - int64(ms/1000); at <= int64(end); at += 15 { // both edges, as Prometheus 2 sends them
				values = append(values, fmt.Sprintf(`[%d,"%d"]`, at, (at-dawn.Unix())/15+1000))
			}
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"hits_total","job":"j"},"values":[%s]}]}}`, strings.Join(values, ","))
		})
		s := newSource(t, d.URL, nil, hits)
		got := added(t, collect(t, s, dawn, dawn.Add(7*time.Minute))...)
		if total, _ := got.sums(); total != 28 || longest != 2*tick && longest != tick {
			t.Errorf("status %d: %g events in pieces of %s, want 28 in pieces of %s", status, total, longest, 2*tick)
		}
		// The next time it begins with what was answered.
		before := len(d.raw())
		collect(t, s, dawn.Add(7*time.Minute), dawn.Add(14*time.Minute))
		if n := len(d.raw()) - before; n > 20 {
			t.Errorf("status %d: %d requests for 14 ticks: it did not learn", status, n)
		}
	}
}

// Questions that share a request do not share its fault.
func TestBadQuestionFailsAlone(t *testing.T) {
	d := misbehave(t, func(w http.ResponseWriter, _ *http.Request, query string) {
		if strings.Contains(query, "poison") {
			w.WriteHeader(400)
			io.WriteString(w, `{"status":"error","errorType":"bad_data","error":"poison is forbidden"}`)
			return
		}
		io.WriteString(w, strings.ReplaceAll(healthy, `"job":"j"`, `"job":"a"`))
	})
	s := newSource(t, d.URL, nil, counters("a", `hits_total{job="a"}`, `hits_total{job="a",code="500"}`),
		counters("p", `hits_total{job="poison"}`, `hits_total{job="poison",code="500"}`))
	samples := collect(t, s, dawn, dawn.Add(tick))
	if total, bad := added(t, samples[0]).sums(); total != 22 || bad != 2 {
		t.Errorf("a: total %g, bad %g; want 22 and 2", total, bad)
	}
	if err := samples[1].Err; err == nil || err.Error() != "source prom: slo p: query: 400 Bad Request: poison is forbidden" {
		t.Errorf("p: %v", err)
	}
	if raw := d.raw(); len(raw) != 3 || !strings.Contains(raw[0], `job=~"a|poison"`) {
		t.Errorf("requests %q, want one for both and then one for each", raw)
	}
}

// A limit on the series of one query, as Mimir has it, is met by no shorter span: the selectors are
// asked for alone, for long spans, and no more together.
func TestTooManySeriesTogether(t *testing.T) {
	d := misbehave(t, func(w http.ResponseWriter, r *http.Request, query string) {
		if strings.Contains(query, "=~") {
			w.WriteHeader(422)
			io.WriteString(w, `{"status":"error","errorType":"execution","error":"the query exceeded the maximum number of series"}`)
			return
		}
		ms, _ := strconv.Atoi(strings.TrimSuffix(query[strings.LastIndex(query, "[")+1:], "ms]"))
		end, _ := strconv.ParseFloat(r.FormValue("time"), 64)
		var values []string
		for at := (int64(end)-int64(ms/1000))/15*15 + 15; at <= int64(end); at += 15 {
			values = append(values, fmt.Sprintf(`[%d,"%d"]`, at, at))
		}
		_, service, _ := strings.Cut(query, `service="`)
		service, _, _ = strings.Cut(service, `"`)
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"hits_total","job":"j","service":%q},"values":[%s]}]}}`, service, strings.Join(values, ","))
	})
	const services, length = 10, 4 * time.Hour
	var questions []sources.Question
	for i := range services {
		sel := fmt.Sprintf(`hits_total{service="s%d"`, i)
		questions = append(questions, counters(fmt.Sprint("slo", i), sel+`}`, sel+`,code="500"}`))
	}
	s := newSource(t, d.URL, nil, questions...)
	for i, most := range []int{50 * services, 2 * services} { // the first time it tries shorter spans
		before := len(d.raw())
		for _, got := range collect(t, s, dawn.Add(time.Duration(i)*length), dawn.Add(time.Duration(i+1)*length)) {
			if total, _ := added(t, got).sums(); total != length.Seconds() {
				t.Errorf("%s: %g events, want %g", got.SLO, total, length.Seconds())
			}
		}
		if n := len(d.raw()) - before; n > most {
			t.Errorf("%d requests for %d services, want no more than %d", n, services, most)
		}
	}
}

// Many SLOs over one server share requests where the selectors allow.
func TestSharedRequests(t *testing.T) {
	d := misbehave(t, func(w http.ResponseWriter, _ *http.Request, _ string) { io.WriteString(w, healthy) })
	var questions []sources.Question
	for i := range 40 {
		sel := fmt.Sprintf(`hits_total{service="s.%d"`, i)
		questions = append(questions, counters(fmt.Sprint("slo", i), sel+`}`, sel+`,code=~"5.."}`))
		questions = append(questions, counters(fmt.Sprint("again", i), sel+`}`, sel+`,code=~"5.."}`))
	}
	s := newSource(t, d.URL, nil, questions...)
	if got := collect(t, s, dawn, dawn.Add(tick)); len(got) != 80 || got[79].SLO != "again39" {
		t.Errorf("%d answers", len(got))
	}
	raw := d.raw()
	if len(raw) != 1 || !strings.Contains(raw[0], `service=~"s\\.0|s\\.`) {
		t.Errorf("%d requests, want one for all: %q", len(raw), raw)
	}
}

// Two replicas behind one address: one is followed, whichever the balancer asks; when it dies the
// other takes over where it stopped, and nothing is counted twice.
func TestReplicas(t *testing.T) {
	dies := dawn.Add(10*time.Minute + 7*time.Second)
	d := misbehave(t, func(w http.ResponseWriter, r *http.Request, query string) {
		ms, _ := strconv.Atoi(strings.TrimSuffix(query[strings.LastIndex(query, "[")+1:], "ms]"))
		end, _ := strconv.ParseFloat(r.FormValue("time"), 64)
		var all []string
		for replica, offset := range map[string]int64{"A": 0, "B": 7000} {
			var values []string
			to := int64(end * 1000)
			for at := dawn.Add(-time.Hour).UnixMilli() + offset; at <= to; at += 15000 {
				if at <= to-int64(ms) || replica == "A" && at > dies.UnixMilli() {
					continue
				}
				values = append(values, fmt.Sprintf(`[%d.%03d,"%d"]`, at/1000, at%1000, at/1000)) // an event a second
			}
			if len(values) > 0 {
				all = append(all, fmt.Sprintf(`{"metric":{"__name__":"hits_total","job":"j","replica":%q},"values":[%s]}`, replica, strings.Join(values, ",")))
			}
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, strings.Join(all, ","))
	})
	follow := func(o *Options) { o.Config.ReplicaLabel = "replica" }
	end := dawn.Add(30 * time.Minute)
	q := counters("hits", `hits_total`, `hits_total{code="500"}`, "replica", "job")

	for name, step := range map[string]time.Duration{"in one piece": 30 * time.Minute, "in halves": 15 * time.Minute, "tick by tick": tick} {
		s := newSource(t, d.URL, follow, q)
		var samples []slo.Sample
		for from := dawn; from.Before(end); from = from.Add(step) {
			samples = append(samples, collect(t, s, from, from.Add(step))...)
		}
		got := added(t, samples...)
		// From A's last sample before dawn to B's last before the end: as many events as seconds.
		first, last := dawn.Unix(), end.Add(-8*time.Second).Unix()
		total, _ := got.sums()
		if want := float64(last - first); total < want-15 || total > want+15 {
			t.Errorf("%s: %g events, want %g", name, total, want)
		}
		if len(got.Events) != 1 || got.Events[",j"] == nil {
			t.Errorf("%s: the replica is no group: %v", name, got.Events)
		}
		if step == tick && len(got.Spreads[",j"]) != 1 {
			t.Errorf("%s: what happened while nobody knew that A is dead comes as a spread: %v", name, got.Spreads)
		}
	}
}

func TestNew(t *testing.T) {
	for fault, change := range map[string]func(*Options){
		`source prom: slo hits: total: at character 12: unexpected end of input inside braces`:                             func(o *Options) { o.Questions[0].Indicator.Total = "hits_total{" },
		`source prom: slo hits: a prometheus source does not answer indicators of kind datadog`:                            func(o *Options) { o.Questions[0].Indicator.Kind = "datadog" },
		`source prom: url: is missing; write the server's address, such as http://prometheus:9090`:                         func(o *Options) { o.Config.URL = "" },
		`source prom: url: "prometheus:9090" is not an address; write one such as http://prometheus:9090`:                  func(o *Options) { o.Config.URL = "prometheus:9090" },
		`source prom: sigv4: is not supported; put a signing proxy in front of the workspace and write its address as url`: func(o *Options) { o.Config.SigV4 = map[string]any{} },
		`source prom: limits.max_series: must be above 0`:                                                                  func(o *Options) { o.Config.Limits.MaxSeries = -1 },
		`source prom: replica_label: "a-b" is not a label name`:                                                            func(o *Options) { o.Config.ReplicaLabel = "a-b" },
	} {
		o := Options{Name: "prom", Config: DefaultConfig(), Tick: tick, Questions: []sources.Question{hits}}
		o.Config.URL = "http://localhost:9090"
		change(&o)
		if _, err := New(o); err == nil || err.Error() != fault {
			t.Errorf("error %q, want %q", err, fault)
		}
	}
}

// A histogram that turns from classic to native keeps its count: what it had counted by then is
// not counted again.
func TestShapeChanges(t *testing.T) {
	turn := dawn.Add(5 * time.Minute)
	d := misbehave(t, func(w http.ResponseWriter, r *http.Request, query string) {
		ms, _ := strconv.Atoi(strings.TrimSuffix(query[strings.LastIndex(query, "[")+1:], "ms]"))
		end, _ := strconv.ParseFloat(r.FormValue("time"), 64)
		var counts, buckets, natives []string
		for at := dawn.Unix() - 3600; at <= int64(end); at += 15 {
			if n := at - dawn.Unix() + 7200; at <= int64(end)-int64(ms/1000) {
				continue
			} else if at <= turn.Unix() {
				counts = append(counts, fmt.Sprintf(`[%d,"%d"]`, at, n))
				buckets = append(buckets, fmt.Sprintf(`[%d,"%d"]`, at, n/3*2))
			} else {
				natives = append(natives, fmt.Sprintf(`[%d,{"count":"%d","sum":"1","buckets":[[0,"0.5","1","%d"],[0,"1","2","%d"]]}]`, at, n, n/3*2, n-n/3*2))
			}
		}
		var all []string
		if len(counts) > 0 {
			all = append(all, fmt.Sprintf(`{"metric":{"__name__":"seconds_count","job":"j"},"values":[%s]}`, strings.Join(counts, ",")),
				fmt.Sprintf(`{"metric":{"__name__":"seconds_bucket","job":"j","le":"1.0"},"values":[%s]}`, strings.Join(buckets, ",")))
		}
		if len(natives) > 0 {
			all = append(all, fmt.Sprintf(`{"metric":{"__name__":"seconds","job":"j"},"histograms":[%s]}`, strings.Join(natives, ",")))
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, strings.Join(all, ","))
	})
	q := sources.Question{SLO: "fast", Period: slo.Day, Indicator: sources.Indicator{Kind: sources.Latency, Histogram: "seconds", Below: 1}}
	end := dawn.Add(10 * time.Minute)
	whole := added(t, collect(t, newSource(t, d.URL, nil, q), dawn, end)...)
	// 600 events in 10 minutes, less the 15 s in which it changed.
	if total, bad := whole.sums(); total != 585 || bad != 195 {
		t.Errorf("total %g, bad %g; want 585 and 195", total, bad)
	}
	for cut := dawn.Add(tick); cut.Before(end); cut = cut.Add(tick) {
		left, right := collect(t, newSource(t, d.URL, nil, q), dawn, cut), collect(t, newSource(t, d.URL, nil, q), cut, end)
		differ(t, "cut at "+cut.String(), added(t, append(left, right...)...), whole)
	}
}

// A returning series is looked up once per target, not with every tick and every question.
func TestHistoryIsAskedOnce(t *testing.T) {
	d := misbehave(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		end, _ := strconv.ParseFloat(r.FormValue("time"), 64)
		at := int64(end) - 5
		var all []string
		for i := range (at - dawn.Unix()) / 30 { // with every tick a new series
			all = append(all, fmt.Sprintf(`{"metric":{"__name__":"hits_total","job":"j","code":"%d"},"values":[[%d,"5"]]}`, 500+i, at))
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, strings.Join(all, ","))
	})
	s := newSource(t, d.URL, nil, hits, counters("more", `hits_total`, `hits_total{code="501"}`))
	s.questions[0].oldest, s.questions[1].oldest = 1, 1 // there is a history
	for i := range 10 {
		collect(t, s, dawn.Add(time.Duration(i)*tick), dawn.Add(time.Duration(i+1)*tick))
	}
	n := 0
	for _, query := range d.queries {
		if strings.HasPrefix(query, `/api/v1/query last_over_time(hits_total{`) {
			n++
			if want := `/api/v1/query last_over_time(hits_total{job="j",instance="",pod=""}[2592000000ms])`; query != want {
				t.Errorf("asked %s, want %s", query, want)
			}
		}
	}
	if n != 1 {
		t.Errorf("the history was asked for %d times, want once", n)
	}
}

// What was silent for the whole period is forgotten, or pods that come and go would be remembered for ever.
func TestSweep(t *testing.T) {
	q := &question{}
	q.Period = slo.Day
	c := q.newCursor(tick)
	now := dawn.UnixMilli()
	for name, at := range map[string]int64{"gone": now - slo.Day.Milliseconds(), "there": now - slo.Day.Milliseconds() + 1} {
		c.asked[name], c.seen[name], c.shapes[name], c.native[name] = at, at, shaping{nativeShape, at}, histogram{t: at}
	}
	c.sweep(now, q.Period)
	for what, left := range map[string][]string{
		"asked": slices.Collect(maps.Keys(c.asked)), "seen": slices.Collect(maps.Keys(c.seen)),
		"shapes": slices.Collect(maps.Keys(c.shapes)), "native": slices.Collect(maps.Keys(c.native)),
	} {
		if !slices.Equal(left, []string{"there"}) {
			t.Errorf("%s: left are %q", what, left)
		}
	}
}

// A histogram without the bound is scraped seldom, another one with it often: while the first one
// may have counted something, nobody knows how much of it was good.
func TestUnboundedVouches(t *testing.T) {
	d := misbehave(t, func(w http.ResponseWriter, r *http.Request, query string) {
		ms, _ := strconv.Atoi(strings.TrimSuffix(query[strings.LastIndex(query, "[")+1:], "ms]"))
		end, _ := strconv.ParseFloat(r.FormValue("time"), 64)
		values := func(every int64) string {
			var out []string
			for at := dawn.Unix() - 3600; at <= int64(end); at += every {
				if at > int64(end)-int64(ms/1000) {
					out = append(out, fmt.Sprintf(`[%d,"%d"]`, at, at))
				}
			}
			return strings.Join(out, ",")
		}
		all := []string{
			fmt.Sprintf(`{"metric":{"__name__":"seconds_count","job":"often"},"values":[%s]}`, values(15)),
			fmt.Sprintf(`{"metric":{"__name__":"seconds_bucket","job":"often","le":"1"},"values":[%s]}`, values(15)),
		}
		if seldom := values(120); seldom != "" {
			all = append(all, fmt.Sprintf(`{"metric":{"__name__":"seconds_count","job":"seldom"},"values":[%s]}`, seldom))
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, strings.Join(all, ","))
	})
	q := sources.Question{SLO: "fast", Period: slo.Day, Indicator: sources.Indicator{Kind: sources.Latency, Histogram: "seconds", Below: 1}}
	for _, step := range []time.Duration{tick, 10 * time.Minute} {
		s := newSource(t, d.URL, nil, q)
		for from := dawn; from.Before(dawn.Add(10 * time.Minute)); from = from.Add(step) {
			got := collect(t, s, from, from.Add(step))[0]
			if total, _ := added(t, got).sums(); total != 0 || len(got.Covered) != 0 || got.Note == "" {
				t.Errorf("%s: %g events, covered %v, note %q; want none, and a note", got.Span, total, got.Covered, got.Note)
			}
		}
	}
}

// Without a word about retention the history of the questions says how old the oldest answer is.
func TestOldestWithoutRetention(t *testing.T) {
	d := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		switch {
		case r.URL.Path != "/api/v1/query":
			http.NotFound(w, r)
		case query == "vector(time())":
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[%d.5,"%d.5"]}]}}`, dusk.Unix(), dusk.Unix())
		default: // label_replace(count(last_over_time(hits_total[3600000ms])), "probe", "0", "", "")
			end, _ := strconv.ParseFloat(r.FormValue("time"), 64)
			if int64(end) < dawn.Unix() {
				io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
				return
			}
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"probe":"0"},"value":[%d,"3"]}]}}`, int64(end))
		}
	}))
	defer d.Close()
	got, err := newSource(t, d.URL, nil, hits).Oldest(context.Background())
	if err != nil || !got.Equal(dawn) {
		t.Errorf("oldest %s, %v; want %s", got, err, dawn)
	}
}
