package remotewrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// server is a receiver in memory: it takes what Prometheus' receiver takes, in order.
type server struct {
	mu     sync.Mutex
	faults []func(w http.ResponseWriter, samples int) bool // each for one request; false: nothing is wrong
	always func(w http.ResponseWriter, samples int) bool
	series map[string][]prompb.Sample
	asked  []int // samples of each request
	bad    []string
}

func (s *server) RoundTrip(r *http.Request) (response *http.Response, err error) {
	defer func() {
		if e := recover(); e != nil {
			response, err = nil, e.(error)
		}
	}()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method != http.MethodPost || r.Header.Get("Content-Encoding") != "snappy" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("X-Prometheus-Remote-Write-Version") != "0.1.0" {
		s.bad = append(s.bad, fmt.Sprint(r.Method, r.Header))
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		panic(err)
	}
	var request prompb.WriteRequest
	if err := request.Unmarshal(plain); err != nil {
		panic(err)
	}
	s.asked = append(s.asked, len(request.Timeseries))
	if len(s.faults) > 0 {
		fault := s.faults[0]
		if s.faults = s.faults[1:]; fault(w, len(request.Timeseries)) {
			return
		}
	}
	if s.always != nil && s.always(w, len(request.Timeseries)) {
		return
	}
	if s.series == nil {
		s.series = map[string][]prompb.Sample{}
	}
	for _, one := range request.Timeseries {
		if !slices.IsSortedFunc(one.Labels, func(a, b prompb.Label) int { return strings.Compare(a.Name, b.Name) }) || slices.ContainsFunc(one.Labels, func(l prompb.Label) bool { return l.Name == "" || l.Value == "" }) {
			s.bad = append(s.bad, fmt.Sprint(one.Labels))
		}
		name := nameOf(one.Labels)
		for _, p := range one.Samples {
			if have := s.series[name]; len(have) > 0 && have[len(have)-1].Timestamp >= p.Timestamp {
				s.bad = append(s.bad, fmt.Sprintf("%s: %d after %d", name, p.Timestamp, have[len(have)-1].Timestamp))
			}
			s.series[name] = append(s.series[name], p)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// nameOf is a series as Prometheus writes it.
func nameOf(all []prompb.Label) string {
	b := labels.NewScratchBuilder(len(all))
	for _, l := range all {
		b.Add(l.Name, l.Value)
	}
	b.Sort()
	return b.Labels().String()
}

func says(code int, header, value, body string) func(http.ResponseWriter, int) bool {
	return func(w http.ResponseWriter, _ int) bool {
		if header != "" {
			w.Header().Set(header, value)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
		return true
	}
}

func cut(http.ResponseWriter, int) bool { panic(fmt.Errorf("write: %w", syscall.ECONNRESET)) }

// told is a sink with what it says of its samples.
type told struct {
	*Sink
	drops  map[string]int
	series int
}

func newTold(t testing.TB, transport http.RoundTripper, change func(*Options)) *told {
	t.Helper()
	out := &told{drops: map[string]int{}}
	o := Options{
		Name: "mimir", Config: DefaultConfig(), Transport: transport,
		Dropped: func(reason string, n int) {
			if !slices.Contains(Reasons, reason) {
				t.Errorf("%q is no reason", reason)
			}
			out.drops[reason] += n
		},
		Counted: func(n int) { out.series = n },
	}
	o.Config.URL = "http://mimir/api/v1/push"
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	out.Sink = s
	return out
}

func (s *told) lost() int {
	n := 0
	for _, k := range s.drops {
		n += k
	}
	return n
}

// points are the series of a report with their values, as a server should have them.
func points(r *sinks.Report, shows sinks.Selection, external map[string]string) map[string]float64 {
	out := map[string]float64{}
	for p := range r.Points(shows) {
		all := map[string]string{}
		maps.Copy(all, external)
		for _, l := range p.Labels {
			all[l.Name] = l.Value
		}
		all["__name__"] = p.Family.Name
		out[labels.FromMap(all).String()] = p.Value
	}
	return out
}

func TestContract(t *testing.T) {
	then := sinktest.Time
	defer func() { sinktest.Time = then }()
	sinktest.Time = time.Now().Truncate(time.Minute)
	in := &server{}
	sinktest.Run(t, func(t *testing.T) sinks.Sink { return newTold(t, &server{}, nil).Sink })
	s := newTold(t, in, nil)
	if err := s.Write(t.Context(), sinktest.Report()); err != nil || len(in.series) == 0 || len(in.bad) > 0 {
		t.Errorf("%v, %d series, %v", err, len(in.series), in.bad)
	}
}

// A real Prometheus with its receiver on has what is on /metrics, with the external labels, at the
// time of the report; what has no value any more is gone at once.
func TestRealPrometheus(t *testing.T) {
	prometheus := promtest.Start(t, promtest.Options{RemoteWrite: true})
	then := sinktest.Time
	defer func() { sinktest.Time = then }()
	external := map[string]string{"cluster": "tokyo", "slo": "loses"}
	s := newTold(t, nil, func(o *Options) {
		o.Config.URL, o.ExternalLabels, o.Transport = prometheus.URL()+"/api/v1/write", external, http.DefaultTransport
	})
	now := time.Now().Truncate(time.Minute)
	compare := func(r *sinks.Report, at time.Time) {
		t.Helper()
		want := points(r, sinks.Selection{}, external)
		have := map[string]float64{}
		for _, one := range prometheus.QueryAt(`{cluster="tokyo"}`, at).(model.Vector) {
			all := map[string]string{}
			for name, text := range one.Metric {
				all[string(name)] = string(text)
			}
			have[labels.FromMap(all).String()] = float64(one.Value)
		}
		if !maps.Equal(have, want) || len(want) < 50 {
			t.Errorf("at %s there are %d series, want %d", at, len(have), len(want))
			for name, v := range want {
				if got, ok := have[name]; !ok || got != v {
					t.Errorf("%s is %g (%v), want %g", name, got, ok, v)
				}
			}
		}
	}
	for i := range 3 {
		sinktest.Time = now.Add(time.Duration(i-3) * time.Minute)
		r := sinktest.Report()
		r.SLOs[0].Budget.RemainingRatio -= float64(i) / 10
		if i == 1 {
			r.SLOs[0].Windows[0].BurnRate = slo.Value{} // its source went away
		}
		if i == 2 {
			r.SLOs, r.Workloads = r.SLOs[:2], nil // a group and a workload, too
		}
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if n := len(points(r, sinks.Selection{}, external)); s.series != n {
			t.Errorf("%d series are counted, want %d", s.series, n)
		}
		compare(r, sinktest.Time)
		compare(r, sinktest.Time.Add(30*time.Second))
	}
	// A restart of yoyu goes on with the same series.
	again := newTold(t, nil, func(o *Options) {
		o.Config.URL, o.ExternalLabels, o.Transport = prometheus.URL()+"/api/v1/write", external, http.DefaultTransport
	})
	sinktest.Time = now
	r := sinktest.Report()
	if err := again.Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	compare(r, now)
	// Prometheus refuses what is older than what it has: dropped, counted, and over.
	sinktest.Time = now.Add(-2 * time.Hour)
	late := newTold(t, nil, func(o *Options) {
		o.Config.URL, o.ExternalLabels, o.Transport = prometheus.URL()+"/api/v1/write", external, http.DefaultTransport
	})
	if err := late.take(sinktest.Report()); err != nil {
		t.Fatal(err)
	}
	for i := range late.queue.waiting {
		late.queue.waiting[i].at = now // as if it had waited for less than an hour
	}
	if err := late.Flush(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "write: 400 Bad Request: ") || late.drops["bad_request"] == 0 || len(late.queue.waiting) > 0 {
		t.Errorf("error %v, dropped %v", err, late.drops)
	}
	if lost := s.lost() + again.lost(); lost > 0 {
		t.Errorf("%d samples are lost", lost)
	}
}

// report is one SLO at a moment, with a number that says which.
func report(at time.Time, n float64) *sinks.Report {
	r := &sinks.Report{Time: at, SLOs: []slo.Status{sinktest.Status(sinktest.Objective("pay", "shop", "99", slo.RollingPeriod(30*slo.Day)), nil, map[string]sinktest.Counts{"30d": {Total: 100, Bad: 1, Coverage: 1}})}}
	r.SLOs[0].Budget.RemainingRatio = n
	return r
}

const remaining = `{__name__="slo_error_budget_remaining_ratio", service="shop", slo="pay"}`

// What a server answers decides: again, later, or never.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  func(http.ResponseWriter, int) bool
		want   string // "" when it is tried again without a word
		reason string
		drops  string
		waits  bool // for the next report
	}{
		{"taken", says(200, "", "", ""), "", "", "", false},
		{"a failure", says(500, "", "", "no"), "", "", "", false},
		{"a proxy's page", says(502, "", "", "<html>no</html>"), "", "", "", false},
		{"cut", cut, "", "", "", false},
		{"too often", says(429, "Retry-After", "3", "slow down"), "", "", "", false},
		{"far too often", says(429, "Retry-After", "60", "slow\ndown"), "write: 429 Too Many Requests: slow down", "http_4xx", "", true},
		{"until a moment", says(503, "Retry-After", "Sat, 01 Jan 2000 00:01:00 GMT", ""), "write: 503 Service Unavailable", "http_5xx", "", true},
		{"a header that says nothing", says(429, "Retry-After", "soon", ""), "", "", "", false},
		{"refused", says(400, "", "", "out of order sample"), "write: 400 Bad Request: out of order sample", "http_4xx", "bad_request", false},
		{"who are you", says(401, "", "", ""), "write: 401 Unauthorized", "http_4xx", "bad_request", false},
		{"nobody here", says(404, "", "", "<html>not found</html>"), "write: 404 Not Found", "http_4xx", "bad_request", false},
		{"very many words", says(400, "", "", strings.Repeat("word ", 100)), "write: 400 Bad Request: " + strings.Repeat("word ", 40) + "…", "http_4xx", "bad_request", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := &server{faults: []func(http.ResponseWriter, int) bool{c.fault}}
				s := newTold(t, in, nil)
				err := s.Write(t.Context(), report(time.Now(), 1))
				if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
					t.Fatalf("error %v, want %q", err, c.want)
				}
				var own interface{ Reason() string }
				if err != nil && (!errors.As(err, &own) || own.Reason() != c.reason) {
					t.Errorf("reason of %v, want %s", err, c.reason)
				}
				if (len(s.queue.waiting) > 0) != c.waits || (s.drops["bad_request"] > 0) != (c.drops != "") {
					t.Errorf("%d requests wait, dropped %v", len(s.queue.waiting), s.drops)
				}
				<-time.After(30 * time.Second)
				if c.waits { // it is left alone as long as it asked for
					asked := len(in.asked)
					if err := s.Write(t.Context(), report(time.Now(), 2)); err == nil || !strings.HasPrefix(err.Error(), c.want+": waiting another 3") || len(in.asked) != asked {
						t.Errorf("error %v after %d requests", err, len(in.asked)-asked)
					}
					<-time.After(31 * time.Second)
				}
				if err := s.Write(t.Context(), report(time.Now(), 3)); err != nil {
					t.Error(err)
				}
				var got []float64
				for _, p := range in.series[remaining] {
					got = append(got, p.Value)
				}
				want := []float64{1, 3}
				if c.drops != "" || c.name == "taken" { // the one that said 200 was no server
					want = []float64{3}
				} else if c.waits {
					want = []float64{1, 2, 3}
				}
				if !slices.Equal(got, want) || len(in.bad) > 0 {
					t.Errorf("stored %v, want %v; %v", got, want, in.bad)
				}
			})
		})
	}
}

// While nothing answers a write ends with its patience, or with its context; what it has waits.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &server{}
		silent := true
		s := newTold(t, transport(func(r *http.Request) (*http.Response, error) {
			if silent {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return in.RoundTrip(r)
		}), nil)
		began := time.Now()
		if err := s.Write(t.Context(), report(began, 1)); err == nil || err.Error() != "write: no answer in time" || time.Since(began) != defaultTimeout {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		began = time.Now()
		if err := s.Write(ctx, report(began, 2)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
		silent = false
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if got := in.series[remaining]; len(got) != 2 || got[0].Value != 1 || got[1].Value != 2 || len(in.bad) > 0 {
			t.Errorf("stored %v, %v", got, in.bad)
		}
	})
}

// A write tries again for half of the time between reports, so that no report is missed while a
// server is away, and never for longer than is good for anybody.
func TestPatience(t *testing.T) {
	for apart, want := range map[time.Duration]time.Duration{time.Second: 500 * time.Millisecond, 30 * time.Second: retryFor, 4 * time.Second: 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			in := &server{}
			s := newTold(t, in, nil)
			longest := time.Duration(0)
			const reports = 50
			began := time.Now()
			for i := range reports {
				if i == 2 {
					in.always = says(503, "", "", "")
				}
				<-time.After(time.Until(began.Add(time.Duration(i) * apart)))
				before := time.Now()
				if err := s.Write(t.Context(), report(before, float64(i))); (err == nil) != (i < 2) {
					t.Fatalf("%d: error %v", i, err)
				}
				longest = max(longest, time.Since(before))
			}
			if longest > want || longest < want/4 || len(s.queue.waiting) != reports-2 {
				t.Errorf("every %s: a write took up to %s, want up to %s; %d requests wait", apart, longest, want, len(s.queue.waiting))
			}
			in.always = nil
			if err := s.Flush(t.Context()); err != nil || len(in.series[remaining]) != reports || len(in.bad) > 0 {
				t.Errorf("%v: %d samples of %d, %v", err, len(in.series[remaining]), reports, in.bad)
			}
		})
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Requests hold no more samples than they should, one that is too large still is halved, and a
// single sample that is too large is dropped once.
func TestSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &server{}
		s := newTold(t, in, nil)
		r := sinktest.Large(200)
		r.Time = time.Now()
		want := points(r, sinks.Selection{}, nil)
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if len(in.series) != len(want) || slices.Max(in.asked) != perRequest || len(in.asked) != (len(want)+perRequest-1)/perRequest {
			t.Errorf("%d series of %d in requests of %v", len(in.series), len(want), in.asked)
		}
		in = &server{always: func(w http.ResponseWriter, samples int) bool {
			return samples > 300 && says(http.StatusRequestEntityTooLarge, "", "", "")(w, samples)
		}}
		s = newTold(t, in, nil)
		if err := s.Write(t.Context(), r); err != nil || len(in.series) != len(want) || s.lost() > 0 {
			t.Errorf("%v, %d series of %d, dropped %v", err, len(in.series), len(want), s.drops)
		}
		none := &server{always: says(http.StatusRequestEntityTooLarge, "", "", "")}
		s = newTold(t, none, nil)
		small := report(time.Now(), 1)
		if err := s.Write(t.Context(), small); err == nil || err.Error() != "write: 413 Request Entity Too Large" || s.drops["too_large"] != len(points(small, sinks.Selection{}, nil)) {
			t.Errorf("error %v, dropped %v", err, s.drops)
		}
	})
}

// However a server fails: what is stored is what was given less what was counted as dropped, each
// sample once, in order.
func TestEverySampleOnceInOrder(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			in := &server{}
			in.always = func(w http.ResponseWriter, samples int) bool {
				switch random.IntN(12) {
				case 0, 1:
					return says(500+random.IntN(4), "", "", "")(w, samples)
				case 2:
					return says(429, "Retry-After", strconv.Itoa(random.IntN(40)), "")(w, samples)
				case 3:
					cut(w, samples)
				case 4:
					return says(400, "", "", "")(w, samples)
				case 5:
					return says(413, "", "", "")(w, samples)
				}
				return false
			}
			s := newTold(t, in, nil)
			given := 0
			for range 60 {
				r := sinktest.Large(1 + random.IntN(80))
				r.Time = time.Now()
				before := len(s.queue.waiting)
				if err := s.take(r); err != nil {
					t.Fatal(err)
				}
				for _, one := range s.queue.waiting[before:] {
					given += one.samples
				}
				_ = s.Write(t.Context(), r) // what failed is counted or waits
				<-time.After(30 * time.Second)
			}
			in.always = nil
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			stored := 0
			for _, all := range in.series {
				stored += len(all)
			}
			if stored+s.lost() != given || s.lost() == 0 || len(in.bad) > 0 {
				t.Errorf("seed %d: %d stored and %d dropped of %d; %v", seed, stored, s.lost(), given, in.bad)
			}
		})
	}
}

// A server that is away for long costs no more memory than is meant for it: the oldest samples go
// first, and are counted; what is an hour old goes, too.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &server{always: says(503, "", "", "")}
		s := newTold(t, in, nil)
		if s.queue.most != mostBytes {
			t.Errorf("%d bytes may wait", s.queue.most)
		}
		s.queue.most = 1 << 20
		given := 0
		for range 40 { // fifteen minutes
			r := sinktest.Large(200)
			r.Time = time.Now()
			if err := s.Write(t.Context(), r); err == nil {
				t.Fatal("no error")
			}
			given += s.series
			held := 0
			for _, one := range s.queue.waiting {
				held += len(one.body)
			}
			if held != s.queue.bytes || held > s.queue.most {
				t.Fatalf("%d bytes wait, it thinks %d", held, s.queue.bytes)
			}
			<-time.After(20 * time.Second)
		}
		if s.drops["overflow"] == 0 || s.drops["too_old"] != 0 {
			t.Errorf("dropped %v", s.drops)
		}
		waiting := 0
		for _, one := range s.queue.waiting {
			waiting += one.samples
		}
		if waiting+s.drops["overflow"] != given {
			t.Errorf("%d wait and %d are dropped of %d", waiting, s.drops["overflow"], given)
		}
		<-time.After(2 * time.Hour)
		if err := s.Flush(t.Context()); err != nil || s.drops["too_old"] != waiting || s.queue.bytes != 0 || len(s.queue.waiting) != 0 {
			t.Errorf("%v: dropped %v, %d bytes are left", err, s.drops, s.queue.bytes)
		}
	})
}

// A series that ends is said to, once, also when it comes back in another shape of the report.
func TestStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := &server{}
		s := newTold(t, in, nil)
		write := func(r *sinks.Report) {
			t.Helper()
			if err := s.Write(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			<-time.After(30 * time.Second)
		}
		two := func(n float64) *sinks.Report {
			r := report(time.Now(), n)
			r.SLOs = append(r.SLOs, sinktest.Status(sinktest.Objective("search", "shop", "99", slo.RollingPeriod(30*slo.Day)), nil, map[string]sinktest.Counts{"30d": {Total: 1, Coverage: 1}}))
			return r
		}
		undefined := report(time.Now().Add(4*30*time.Second), 0)
		for i := range undefined.SLOs[0].Windows {
			undefined.SLOs[0].Windows[i].BurnRate = slo.Value{}
		}
		write(two(1))
		write(report(time.Now(), 2))
		write(report(time.Now(), 3))
		write(two(4))
		write(undefined)
		show := func(name string) string {
			var out []string
			for _, p := range in.series[name] {
				if value.IsStaleNaN(p.Value) {
					out = append(out, "ends")
				} else {
					out = append(out, strconv.FormatFloat(p.Value, 'g', 4, 64))
				}
			}
			return strings.Join(out, " ")
		}
		for name, want := range map[string]string{
			strings.Replace(remaining, `"pay"`, `"search"`, 1): "1 ends 1 ends",
			remaining: "1 2 3 4 0",
			`{__name__="slo_burn_rate", service="shop", slo="pay", window="period"}`: "1 1 1 1 ends",
		} {
			if got := show(name); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		if len(in.bad) > 0 {
			t.Error(in.bad)
		}
	})
}

// A report that is no newer than the last one is none.
func TestSameReportTwice(t *testing.T) {
	in := &server{}
	s := newTold(t, in, nil)
	now := time.Now()
	for _, at := range []time.Time{now, now, now.Add(-time.Minute)} {
		if err := s.Write(t.Context(), report(at, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if got := in.series[remaining]; len(got) != 1 || len(in.bad) > 0 {
		t.Errorf("stored %v, %v", got, in.bad)
	}
}

// Credentials come from files, are in no error, and do not follow a redirect.
func TestSecrets(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked elsewhere, with %q", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	var heard atomic.Value // a request may be under way when its write was given up
	in := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization := r.Header.Get("Authorization")
		heard.Store(authorization)
		if agent := r.Header.Get("User-Agent"); agent != "yoyu" {
			t.Errorf("it calls itself %q", agent)
		}
		switch r.URL.Path {
		case "/echo":
			http.Error(w, "no tenant for "+authorization, http.StatusForbidden)
			return
		case "/gone":
			panic(http.ErrAbortHandler)
		}
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer in.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newTold(t, nil, func(o *Options) {
		o.Config.URL = in.URL + "/push"
		o.Config.HTTP.Authorization = &config.Authorization{Type: "Bearer", CredentialsFile: file}
	})
	// A write ends by its patience, after a whole try: how slow the machine is does not matter.
	s.patience = firstWait
	err := s.Write(t.Context(), report(time.Now(), 1))
	if heard.Load() != "Bearer canary" || err == nil || len(s.queue.waiting) == 0 {
		t.Errorf("heard %q, error %v, %d wait", heard.Load(), err, len(s.queue.waiting))
	}
	if err != nil && err.Error() != "write: 307 Temporary Redirect: it is not followed; write the address as url" {
		t.Errorf("error %v", err)
	}
	echo := newTold(t, nil, func(o *Options) {
		o.Config.URL = in.URL + "/echo"
		o.Config.HTTP.Authorization = &config.Authorization{Type: "Bearer", CredentialsFile: file}
	})
	if err := echo.Write(t.Context(), report(time.Now(), 1)); err == nil || !strings.HasPrefix(err.Error(), "write: 403 Forbidden: no tenant for ") || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %v", err)
	}
	gone := newTold(t, nil, func(o *Options) {
		o.Config.URL = in.URL + "/gone"
		o.Config.HTTP.Authorization = &config.Authorization{Type: "Bearer", CredentialsFile: file}
	})
	gone.patience = firstWait
	if err := gone.Write(t.Context(), report(time.Now(), 1)); err == nil || err.Error() != "write: the connection was closed before there was an answer" {
		t.Errorf("error %v", err)
	}
	in.Close()
	s.client.CloseIdleConnections() // one that the server closed would be tried first
	if err := s.Write(t.Context(), report(time.Now(), 2)); err == nil || err.Error() != "write: connection refused" {
		t.Errorf("error %v", err)
	}
}

func TestValidate(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "url: is missing; write one such as http://mimir/api/v1/push or http://prometheus:9090/api/v1/write",
		"mimir/api/v1/push":             `url: "mimir/api/v1/push" is not an address; write one such as http://mimir/api/v1/push or http://prometheus:9090/api/v1/write`,
		"http://mimir":                  `url: "http://mimir" has no path; write one such as http://mimir/api/v1/push or http://prometheus:9090/api/v1/write`,
		"http://u:canary@mimir/push":    "url: holds a password; write basic_auth with a password_file",
		"http://mimir/push#x":           "url: must hold no fragment; headers go into http_headers",
		"http://[::1":                   "url: is not an address; write one such as http://mimir/api/v1/push or http://prometheus:9090/api/v1/write",
		"https://mimir/api/v1/push?a=b": "",
	} {
		c := DefaultConfig()
		c.URL = text
		if err := c.Validate(); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	c := DefaultConfig()
	c.URL, c.Timeout, c.SigV4 = "http://mimir/push", model.Duration(time.Hour), map[string]any{}
	c.HTTP.Authorization = &config.Authorization{Type: "Basic"}
	c.HTTP.BasicAuth = &config.BasicAuth{Username: "u"}
	if err := c.Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("error %v, want three", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, time.January, 2, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "999999999": 24 * time.Hour, "soon": 0,
		"Fri, 02 Jan 2026 00:00:30 GMT": 30 * time.Second, "Fri, 02 Jan 2026 00:00:00 GMT": 0, "Thu, 01 Jan 2026 00:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// BenchmarkRemoteWrite makes and sends a report of 1,000 SLOs; the server takes everything at once.
func BenchmarkRemoteWrite(b *testing.B) {
	wire, requests := 0, 0
	s := newTold(b, transport(func(r *http.Request) (*http.Response, error) {
		n, err := io.Copy(io.Discard, r.Body)
		wire, requests = wire+int(n), requests+1
		return &http.Response{StatusCode: 204, Body: io.NopCloser(bytes.NewReader(nil))}, err
	}), nil)
	r := sinktest.Large(1000)
	r.Time = time.Now()
	b.ReportAllocs()
	for b.Loop() {
		r.Time = r.Time.Add(time.Second)
		if err := s.Write(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	if s.series == 0 {
		b.Fatal("nothing was sent")
	}
	b.ReportMetric(float64(s.series), "series")
	b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
	b.ReportMetric(float64(wire)/float64(b.N), "wire-B/op")
}
