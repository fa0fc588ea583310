package promapi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/sources"
)

// readAlike holds remote read against the query API: the same series with the same samples, but for
// the labels that the server adds.
func readAlike(t *testing.T, s *Source, selector string, from, to time.Time, added map[string]string) {
	t.Helper()
	sel, err := selectors.Parse(selector)
	if err != nil {
		t.Fatal(err)
	}
	start, end := from.UnixMilli(), to.UnixMilli()
	asked, err := s.client.instant(context.Background(), to, selector+"["+(to.Sub(from)).String()+"]", end)
	if err != nil {
		t.Fatal(err)
	}
	read, err := s.client.read(context.Background(), to, sel.Matchers, start, end, 1e7)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range read {
		for name, value := range added {
			if one.labels.Get(name) != value {
				t.Errorf("%s: without the external label %s", one.labels, name)
			}
		}
	}
	order := func(all []series) []series {
		slices.SortFunc(all, func(a, b series) int { return labels.Compare(a.labels, b.labels) })
		return all
	}
	want, got := order(after(asked.series, start)), order(stripped(read, added))
	if len(want) == 0 || len(got) != len(want) {
		t.Fatalf("%d series, want %d", len(got), len(want))
	}
	samples := 0
	for i := range want {
		samples += len(want[i].floats) + len(want[i].hists)
		if !labels.Equal(got[i].labels, want[i].labels) || !slices.Equal(got[i].floats, want[i].floats) || len(got[i].hists) != len(want[i].hists) {
			t.Errorf("%s: %d samples and %d histograms, want %s: %d and %d", got[i].labels, len(got[i].floats), len(got[i].hists), want[i].labels, len(want[i].floats), len(want[i].hists))
			continue
		}
		for j, h := range want[i].hists {
			if !reflect.DeepEqual(got[i].hists[j], h) {
				t.Errorf("%s: histogram %+v, want %+v", got[i].labels, got[i].hists[j], h)
			}
		}
	}
	if samples == 0 {
		t.Error("nothing to compare")
	}
	// And it can be vouched for, unless it differs.
	if names, rest, ok := metrics(sel); ok {
		if read, err = s.client.read(context.Background(), to, sel.Matchers, start-1, end, 1e7); err != nil {
			t.Fatal(err)
		}
		err := s.vouched(context.Background(), to, names, rest, read, start, end)
		if (err == nil) != (len(added) == 0) {
			t.Errorf("%s: with the labels %v: %v", selector, added, err)
		}
	}
}

// stripped are series without the labels that were added to them.
func stripped(all []series, added map[string]string) []series {
	out := slices.Clone(all)
	for i := range out {
		b := labels.NewBuilder(out[i].labels)
		for name, value := range added {
			if out[i].labels.Get(name) == value {
				b.Del(name)
			}
		}
		out[i].labels = b.Labels()
	}
	return out
}

// traced counts what goes to remote read.
type traced struct {
	next http.RoundTripper
	read atomic.Int64
}

func (tr *traced) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, remotePath) {
		tr.read.Add(1)
	}
	return tr.next.RoundTrip(r)
}

// What comes by remote read counts as what comes in text, also from a server with external labels.
func TestRemoteRead(t *testing.T) {
	plain := history(t)
	labelled := historyOf(t, map[string]string{"cluster": "tokyo", "job": "not this"})
	questions := []sources.Question{
		counters("all", `http_requests_total{job="shop"}`, `http_requests_total{job="shop",code="500"}`, "pod"),
		{SLO: "fast", Period: 30 * 24 * time.Hour, Indicator: sources.Indicator{Kind: sources.Latency, Histogram: `seconds{job="shop"}`, Below: 1}},
	}
	count := func(address, way string) ([]tallied, int64) {
		trace := &traced{}
		s := newSource(t, address, func(o *Options) {
			o.Config.RemoteRead = way
			o.Wrap = func(next http.RoundTripper) http.RoundTripper { trace.next = next; return trace }
		}, questions...)
		var out []tallied
		for _, sample := range collect(t, s, dawn.Add(-10*time.Minute), dusk) {
			out = append(out, added(t, sample))
		}
		return out, trace.read.Load()
	}
	want, asked := count(plain.URL(), remoteNever)
	if asked != 0 {
		t.Errorf("remote read was asked %d times where it was not wanted", asked)
	}
	for name, server := range map[string]*promtest.Server{"plain": plain, "with external labels": labelled} {
		got, asked := count(server.URL(), remoteAuto)
		if asked == 0 {
			t.Errorf("%s: remote read was never asked", name)
		}
		for i := range want {
			if total, _ := want[i].sums(); total == 0 {
				t.Fatalf("%s counts nothing", questions[i].SLO)
			}
			differ(t, name+": "+questions[i].SLO, got[i], want[i])
		}
	}

	s := newSource(t, plain.URL(), nil, questions...)
	readAlike(t, s, `{job="shop"}`, dawn.Add(-time.Hour), dusk, nil)
	readAlike(t, s, `http_requests_total{pod!~"a|b",code=~"2..",route!=""}`, at(time.Hour+7*time.Second), at(3*time.Hour), nil)
	readAlike(t, newSource(t, labelled.URL(), nil, questions...), `{job="shop"}`, dawn, dusk, map[string]string{"cluster": "tokyo"})
	readAlike(t, newSource(t, labelled.URL(), nil, questions...), `http_requests_total{job="shop"}`, dawn, dusk, map[string]string{"cluster": "tokyo"})
}

// Chunks of the newer encoding are read too.
func TestRemoteReadOfXOR2(t *testing.T) {
	server := promtest.Start(t, promtest.Options{Config: `
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
storage: {tsdb: {chunk_encoding: {floats: xor2}}}
scrape_configs: [{job_name: self, static_configs: [{targets: ["` + promtest.Self + `"]}]}]
`})
	for range 5 {
		server.AwaitScrape("self", time.Now())
	}
	// The last scrape may still be written while it is asked for; the ones before are not.
	end := time.UnixMilli(int64(server.Query(`max(timestamp(up))*1000-1`).(model.Vector)[0].Value))
	readAlike(t, newSource(t, server.URL(), nil), `{__name__=~"prometheus_http_requests_total|go_memstats_.*"}`, end.Add(-time.Second), end, nil)
}

// The mark that a target's series leave behind when it is gone is no sample: not in text, not in
// their number, not by remote read.
func TestRemoteReadOfSeriesThatEnded(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hits_total 7\n") }))
	server := promtest.Start(t, promtest.Options{Jobs: []promtest.Job{
		{Name: "gone", Targets: []string{target.Listener.Addr().String()}, Interval: 200 * time.Millisecond},
	}})
	server.Await(`count_over_time(hits_total[1m]) > 2`, func(v model.Vector) bool { return len(v) == 1 })
	target.Close()
	server.Await(`up{job="gone"} == 0`, func(v model.Vector) bool { return len(v) == 1 })

	end := time.Now().Truncate(time.Second).Add(time.Second) // nothing comes any more
	readAlike(t, newSource(t, server.URL(), nil), "hits_total", end.Add(-time.Minute), end, nil)
}

// infront is a proxy in front of a server. It is told the form of a query; pass hands a request on,
// with the form that it is given.
func infront(t *testing.T, server string, handle func(w http.ResponseWriter, r *http.Request, form url.Values, pass func(form url.Values))) *httptest.Server {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	own := &http.Transport{} // the default one is closed by whichever test server ends
	proxy.Transport = own
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The body is read first: a server of net/http closes it once an answer begins, and a
		// transport that has not seen its end by then drops the connection.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var form url.Values
		if r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
			if form, err = url.ParseQuery(string(body)); err != nil {
				t.Error(err)
			}
		}
		handle(w, r, form, func(form url.Values) {
			if form != nil {
				body = []byte(form.Encode())
			}
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			proxy.ServeHTTP(w, r)
		})
	}))
	t.Cleanup(func() { front.Close(); own.CloseIdleConnections() })
	return front
}

// A server that does not speak remote read, or breaks off in the middle of it, is asked in text:
// the first for good, the second for this piece.
func TestRemoteReadThatFails(t *testing.T) {
	server := history(t)
	question := counters("all", `http_requests_total{job="shop"}`, `http_requests_total{job="shop",code="500"}`)
	want := added(t, collect(t, newSource(t, server.URL(), func(o *Options) { o.Config.RemoteRead = remoteNever }, question), dawn, dusk)...)
	for _, c := range []struct {
		name    string
		forGood bool
		answer  http.HandlerFunc
	}{
		{"not found", true, func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) }},
		{"not implemented", true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotImplemented) }},
		{"a page of HTML", true, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }},
		{"samples instead of chunks", true, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-protobuf")
		}},
		{"other series", true, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", streamed)
			_, _ = w.Write(frameOf(t, "other", at(time.Hour).UnixMilli(), 1, 2, 3))
		}},
		{"a stream that ends with its connection", true, func(w http.ResponseWriter, _ *http.Request) {
			hijacked(t, w, frameOf(t, "http_requests_total", at(time.Hour).UnixMilli(), 1))
		}},
		{"nothing", false, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", streamed) }},
		{"overloaded", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"a stream that breaks off", false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", streamed)
			frame := frameOf(t, "http_requests_total", 1000, 1)
			_, _ = w.Write(frame[:len(frame)-1])
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int64
			front := infront(t, server.URL(), func(w http.ResponseWriter, r *http.Request, form url.Values, pass func(url.Values)) {
				if r.URL.Path != remotePath {
					pass(form)
					return
				}
				asked.Add(1)
				c.answer(w, r)
			})
			got := added(t, collect(t, newSource(t, front.URL, func(o *Options) { o.Config.RemoteRead = remoteAuto }, question), dawn, dusk)...)
			differ(t, c.name, got, want)
			if n := asked.Load(); n == 0 || c.forGood && n > 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// hijacked answers with a stream that only its connection's end delimits.
func hijacked(t *testing.T, w http.ResponseWriter, stream []byte) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nConnection: close\r\n\r\n%s", streamed, stream)
}

// zones is a server on which every series grows by a step of its own with every scrape, so that a
// sum says who was counted: 959 times the steps, for the first of 960 samples is a baseline. Some
// series carry the label zone, some do not, and two are one and the same but for it. The samples
// of aligned_total lie on whole ticks.
func zones(t *testing.T, o promtest.Options) *promtest.Server {
	t.Helper()
	r := &recording{lines: map[string][]string{}}
	for k := range 960 {
		when := at(time.Duration(k)*15*time.Second + 117*time.Millisecond)
		for series, step := range map[string]float64{
			`zones_total{job="shop",pod="a"}`:                1,
			`zones_total{job="shop",pod="a",zone="tokyo"}`:   10,
			`zones_total{job="shop",pod="b",zone="tokyo"}`:   100,
			`zones_total{job="shop",pod="b",zone="osaka"}`:   1000,
			`zones_total{job="shop",pod="c",zone="kyoto"}`:   10000,
			`zoned_total{job="shop",pod="a",zone="tokyo"}`:   1,
			`zoned_total{job="shop",pod="a",zone="osaka"}`:   10,
			`zoned_total{job="shop",pod="b",zone="osaka"}`:   100,
			`aligned_total{job="shop",pod="c",zone="osaka"}`: 1,
		} {
			name, _, _ := strings.Cut(series, "{")
			if name == "aligned_total" {
				r.write(name, series, when.Truncate(time.Second), step*float64(k))
				continue
			}
			r.write(name, series, when, step*float64(k))
		}
	}
	o.Dir = t.TempDir()
	promtest.CreateBlocks(t, o.Dir, strings.NewReader(r.text()))
	return promtest.Start(t, o)
}

// whole counts questions from an hour before dawn to dusk, in halves, and says whether all that was
// asked for by remote read, and something was, could be believed.
func whole(t *testing.T, address, way string, questions ...sources.Question) (totals []float64, trusted bool) {
	t.Helper()
	trace := &traced{}
	s := newSource(t, address, func(o *Options) {
		o.Config.RemoteRead = way
		o.Wrap = func(next http.RoundTripper) http.RoundTripper { trace.next = next; return trace }
	}, questions...)
	all := map[string]float64{}
	for from := dawn.Add(-time.Hour); from.Before(dusk); from = from.Add(5 * time.Hour / 2) {
		for _, sample := range collect(t, s, from, from.Add(5*time.Hour/2)) {
			total, _ := added(t, sample).sums()
			all[sample.SLO] += total
		}
	}
	for _, q := range questions {
		totals = append(totals, all[q.SLO])
	}
	return totals, trace.read.Load() > 0 && s.remote == remote{}
}

// External labels are on what comes by remote read, and a matcher that names one means something
// else to it: what is counted is what the server stores all the same.
func TestRemoteReadWithExternalLabels(t *testing.T) {
	const scrapes = 959
	plain := zones(t, promtest.Options{})
	tokyo := zones(t, promtest.Options{ExternalLabels: map[string]string{"zone": "tokyo"}})
	for name, f := range map[string]struct {
		server  *promtest.Server
		total   string
		steps   float64
		trusted bool
	}{
		"series with and without the label":             {tokyo, `zones_total{job="shop"}`, 11111, false},
		"a selector names the external label":           {tokyo, `zones_total{zone="tokyo"}`, 110, true},
		"with a twin that differs in nothing else":      {tokyo, `zones_total{zone="tokyo",pod="a"}`, 10, true},
		"a selector names another value of it":          {tokyo, `zones_total{zone="osaka"}`, 1000, true},
		"a selector wants it absent":                    {tokyo, `zones_total{zone=""}`, 1, false},
		"a selector wants it to be another":             {tokyo, `zones_total{zone!="tokyo"}`, 11001, false},
		"a pattern holds it":                            {tokyo, `zones_total{zone=~"tokyo|osaka"}`, 1110, true},
		"a pattern holds it, and the lack of it":        {tokyo, `zones_total{zone=~"tokyo|"}`, 111, false},
		"all series have a label of their own":          {tokyo, `zoned_total{job="shop"}`, 111, true},
		"without external labels":                       {plain, `zones_total{job="shop"}`, 11111, true},
		"without external labels, an absent one":        {plain, `zones_total{zone=""}`, 1, true},
		"without external labels, several metrics":      {plain, `{__name__=~"zone(s|d)_total",pod="b"}`, 1200, true},
		"without external labels, metrics of one label": {plain, `{__name__=~"zones_total|zoned_total",zone="tokyo",pod="a"}`, 11, true},
		"without external labels, any name":             {plain, `{__name__=~"zone.*",pod="b"}`, 1200, false},
	} {
		t.Run(name, func(t *testing.T) {
			q := counters("zones", f.total, strings.TrimSuffix(f.total, "}")+`,code="500"}`, "zone")
			want, trusted := whole(t, f.server.URL(), remoteNever, q)
			if want[0] != scrapes*f.steps || trusted {
				t.Fatalf("in text %g, want %g; remote read was believed: %t", want[0], scrapes*f.steps, trusted)
			}
			got, trusted := whole(t, f.server.URL(), "", q)
			if got[0] != want[0] || trusted != f.trusted {
				t.Errorf("%g, in text %g; believed %t, want %t", got[0], want[0], trusted, f.trusted)
			}
		})
	}
	t.Run("one after the other", func(t *testing.T) {
		got, _ := whole(t, tokyo.URL(), "", counters("zoned", `zoned_total`, `nothing_total`, "zone"),
			counters("all", `zones_total{pod=~"a|b"}`, `nothing_total`, "zone"), counters("tokyo", `zones_total{zone="tokyo",job=~".+"}`, `nothing_total`),
			counters("osaka", `zoned_total{zone="osaka",job=~".+"}`, `nothing_total`, "pod"))
		if want := []float64{scrapes * 111, scrapes * 1111, scrapes * 110, scrapes * 110}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// upstream is what a server answers to a request.
func upstream(t *testing.T, server string, r *http.Request) []byte {
	t.Helper()
	again, err := http.NewRequestWithContext(r.Context(), r.Method, server+r.URL.Path, r.Body)
	if err != nil {
		t.Fatal(err)
	}
	again.Header = r.Header
	answer, err := http.DefaultClient.Do(again)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", answer.Status, body, err)
	}
	return body
}

// The law: whatever labels the series and the server have, and whatever the selectors say of them,
// what comes by remote read counts as what comes in text.
func TestRemoteReadCountsAsText(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	names, values := []string{"zone", "host", "cell"}, []string{"", "x", "y", "x|y", "x.y"}
	believed, runs := 0, 0
	for range 3 {
		rec, known := &recording{lines: map[string][]string{}}, map[string]bool{}
		for i := range 25 {
			name := fmt.Sprintf("m%d_total", r.IntN(3))
			series := name + `{job="shop"`
			for _, label := range names {
				if v := values[r.IntN(len(values))]; v != "" {
					series += fmt.Sprintf(",%s=%q", label, v)
				}
			}
			if series += "}"; known[series] {
				continue
			}
			known[series] = true
			for k, first := 0, r.IntN(300); first+k < 960-i; k++ {
				rec.write(name, series, at(time.Duration(first+k)*15*time.Second+time.Duration(i%3)*time.Second), float64((1+i*i)*k))
			}
		}
		o := promtest.Options{Dir: t.TempDir(), ExternalLabels: map[string]string{}, ExtraFlags: []string{"--storage.remote.read-max-bytes-in-frame=400"}}
		for _, label := range names {
			if r.IntN(3) == 0 {
				o.ExternalLabels[label] = values[1+r.IntN(len(values)-1)]
			}
		}
		promtest.CreateBlocks(t, o.Dir, strings.NewReader(rec.text()))
		server := promtest.Start(t, o)
		for range 15 {
			var questions []sources.Question
			for i := range 1 + r.IntN(3) {
				sel := fmt.Sprintf(`m%d_total{job="shop"`, r.IntN(3))
				for _, label := range names {
					if r.IntN(2) == 0 {
						sel += fmt.Sprintf(",%s%s%q", label, []string{"=", "!=", "=~", "!~"}[r.IntN(4)], values[r.IntN(len(values))])
					}
				}
				questions = append(questions, counters(fmt.Sprint("q", i), sel+"}", sel+`,code="500"}`, "zone"))
			}
			want, _ := whole(t, server.URL(), remoteNever, questions...)
			got, trusted := whole(t, server.URL(), remoteAuto, questions...)
			if !slices.Equal(got, want) {
				t.Errorf("external labels %v, %v: %v, in text %v", o.ExternalLabels, questions, got, want)
			}
			if runs++; trusted {
				believed++
			}
		}
	}
	if believed < runs/4 || believed > runs*3/4 {
		t.Errorf("%d of %d were believed: nothing to compare", believed, runs)
	}
}

// A request for more metrics than one query for their numbers of samples may name.
func TestRemoteReadOfManyMetrics(t *testing.T) {
	r := &recording{lines: map[string][]string{}}
	var questions []sources.Question
	var want []float64
	path := "/" + strings.Repeat("long", 60)
	for i := range 40 {
		name := fmt.Sprintf("many%d_total", i)
		sel := fmt.Sprintf(`%s{job="shop",path=%q`, name, path)
		for k := range 960 {
			r.write(name, sel+"}", at(time.Duration(k)*15*time.Second+time.Second), float64((i+1)*k))
		}
		questions = append(questions, counters(name, sel+"}", sel+`,code="500"}`))
		want = append(want, float64((i+1)*959))
	}
	dir := t.TempDir()
	promtest.CreateBlocks(t, dir, strings.NewReader(r.text()))
	server := promtest.Start(t, promtest.Options{Dir: dir})
	var read, tallies atomic.Int64
	front := infront(t, server.URL(), func(_ http.ResponseWriter, r *http.Request, form url.Values, pass func(url.Values)) {
		if r.URL.Path == remotePath {
			read.Add(1)
		}
		if strings.Contains(form.Get("query"), metricNote) {
			tallies.Add(1)
		}
		pass(form)
	})
	got, trusted := whole(t, front.URL, "", questions...)
	if !slices.Equal(got, want) || !trusted {
		t.Errorf("%v, want %v; believed: %t", got, want, trusted)
	}
	if read.Load() != 2 || tallies.Load() != 4 {
		t.Errorf("asked %d times by remote read, and %d times for numbers; want 2 and 4", read.Load(), tallies.Load())
	}
}

// Samples on the very edge of a span are counted once, whether the server's windows hold their left
// edge, as before Prometheus 3, or not.
func TestRemoteReadOnTheEdge(t *testing.T) {
	server := zones(t, promtest.Options{})
	window := regexp.MustCompile(`\[(\d+)ms\]`)
	for name, closed := range map[string]bool{"left-open": false, "closed": true} {
		front := infront(t, server.URL(), func(_ http.ResponseWriter, _ *http.Request, form url.Values, pass func(url.Values)) {
			if closed && form != nil { // samples have whole milliseconds: [a, b] holds what (a-1, b] holds
				form.Set("query", window.ReplaceAllStringFunc(form.Get("query"), func(text string) string {
					ms, _ := strconv.Atoi(window.FindStringSubmatch(text)[1])
					return fmt.Sprintf("[%dms]", ms+1)
				}))
			}
			pass(form)
		})
		got, trusted := whole(t, front.URL, "", counters("aligned", `aligned_total`, `aligned_total{code="500"}`), counters("zones", `zones_total`, `zones_total{code="500"}`))
		if want := []float64{959, 959 * 11111}; !slices.Equal(got, want) || !trusted {
			t.Errorf("%s: %v, want %v; believed: %t", name, got, want, trusted)
		}
	}
}

// Remote read that fails again and again is not asked any more; a server that is down altogether,
// or well again, does not count.
func TestRemoteReadGivenUp(t *testing.T) {
	server := zones(t, promtest.Options{})
	var sick, down atomic.Bool
	var asked atomic.Int64
	front := infront(t, server.URL(), func(w http.ResponseWriter, r *http.Request, form url.Values, pass func(url.Values)) {
		read := r.URL.Path == remotePath
		if read {
			asked.Add(1)
		}
		if down.Load() || read && sick.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		pass(form)
	})
	s := newSource(t, front.URL, nil, counters("zones", `zones_total`, `zones_total{code="500"}`))
	events := 0.0
	hour := func(i int, fails bool) {
		t.Helper()
		got := collect(t, s, at(time.Duration(i)*time.Hour/2), at(time.Duration(i+2)*time.Hour/2))[0]
		if (got.Err != nil) != fails {
			t.Fatalf("half hour %d: %v", i, got.Err)
		}
		if !fails {
			total, _ := added(t, got).sums()
			events += total
		}
	}
	for i, f := range []struct{ sick, down, asked bool }{
		{}, // a first short piece says how long the pieces may be
		{sick: true, asked: true}, {sick: true, asked: true},
		{down: true}, {down: true}, {down: true}, // says nothing about remote read
		{asked: true}, // well again
		{sick: true, asked: true}, {sick: true, asked: true}, {sick: true, asked: true},
		{}, {}, // given up
	} {
		sick.Store(f.sick)
		down.Store(f.down)
		before := asked.Load()
		hour(i%6, f.down)
		if now := asked.Load() > before; now != f.asked && !f.down {
			t.Errorf("turn %d: remote read was asked: %t, want %t", i, now, f.asked)
		}
	}
	if events == 0 {
		t.Error("nothing was counted")
	}
}

// frames are the frames of a stream.
func frames(t *testing.T, stream []byte) (out [][]byte) {
	t.Helper()
	for len(stream) > 0 {
		size, n := binary.Uvarint(stream)
		end := n + 4 + int(size)
		if n <= 0 || end > len(stream) {
			t.Fatalf("no stream of frames: %q", stream[:min(40, len(stream))])
		}
		out, stream = append(out, stream[:end]), stream[end:]
	}
	return out
}

// A stream that is cut between two of its frames looks whole, and a proxy that does not notice
// hands it on as if it were.
func TestRemoteReadCutBetweenFrames(t *testing.T) {
	server := zones(t, promtest.Options{ExtraFlags: []string{"--storage.remote.read-max-bytes-in-frame=500"}})
	q := counters("zones", `zones_total`, `zones_total{code="500"}`, "zone", "pod")
	const want = 959 * 11111
	for _, f := range []struct {
		name    string
		keep    func(frames int) int
		send    func(w http.ResponseWriter, stream []byte)
		trusted bool
	}{
		{"whole", func(n int) int { return n }, func(w http.ResponseWriter, s []byte) { _, _ = w.Write(s) }, true},
		{"the last frame is missing", func(n int) int { return n - 1 }, func(w http.ResponseWriter, s []byte) { _, _ = w.Write(s) }, false},
		{"half, with its length", func(n int) int { return n / 2 }, func(w http.ResponseWriter, s []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(s)))
			_, _ = w.Write(s)
		}, false},
		{"half, in chunks with their end", func(n int) int { return n / 2 }, func(w http.ResponseWriter, s []byte) {
			_, _ = w.Write(s)
			w.(http.Flusher).Flush()
		}, false},
		{"half, to the end of the connection", func(n int) int { return n / 2 }, func(w http.ResponseWriter, s []byte) { hijacked(t, w, s) }, false},
		{"whole, to the end of the connection", func(n int) int { return n }, func(w http.ResponseWriter, s []byte) { hijacked(t, w, s) }, false},
		{"one frame", func(int) int { return 1 }, func(w http.ResponseWriter, s []byte) { _, _ = w.Write(s) }, false},
		{"none", func(int) int { return 0 }, func(w http.ResponseWriter, s []byte) { _, _ = w.Write(s) }, false},
	} {
		t.Run(f.name, func(t *testing.T) {
			var read, texts atomic.Int64
			front := infront(t, server.URL(), func(w http.ResponseWriter, r *http.Request, form url.Values, pass func(url.Values)) {
				if r.URL.Path != remotePath {
					if strings.HasPrefix(form.Get("query"), "zones_total[") {
						texts.Add(1)
					}
					pass(form)
					return
				}
				read.Add(1)
				all := frames(t, upstream(t, server.URL(), r))
				if len(all) < 10 {
					t.Errorf("%d frames are too few to cut", len(all))
				}
				w.Header().Set("Content-Type", streamed)
				f.send(w, bytes.Join(all[:f.keep(len(all))], nil))
			})
			s := newSource(t, front.URL, nil, q)
			s.rates[canonical(s.questions[0].needs()[0].Matchers)] = 1e-3 // as learned before: the span is one piece
			got, _ := added(t, collect(t, s, dawn, dusk)...).sums()
			if got != want || read.Load() != 1 || (texts.Load() == 0) != f.trusted {
				t.Errorf("%g events, want %d; asked %d times by remote read and %d in text", got, want, read.Load(), texts.Load())
			}
		})
	}
}

// frameOf is a frame with one series of samples a second apart, as Prometheus sends it.
func frameOf(t testing.TB, name string, first int64, values ...float64) []byte {
	t.Helper()
	chunk := chunkenc.NewXORChunk()
	app, err := chunk.Appender()
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		app.Append(0, first+int64(i)*1000, v)
	}
	return framed(t, prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{
		Labels: []prompb.Label{{Name: "__name__", Value: name}},
		Chunks: []prompb.Chunk{{Type: prompb.Chunk_XOR, MinTimeMs: first, MaxTimeMs: first, Data: chunk.Bytes()}},
	}}})
}

func framed(t testing.TB, message prompb.ChunkedReadResponse) []byte {
	t.Helper()
	body, err := message.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	frame := binary.AppendUvarint(nil, uint64(len(body)))
	frame = binary.BigEndian.AppendUint32(frame, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append(frame, body...)
}

// unframed are the chunks of a frame.
func unframed(t testing.TB, frame []byte) []prompb.Chunk {
	t.Helper()
	_, n := binary.Uvarint(frame)
	var message prompb.ChunkedReadResponse
	if err := message.Unmarshal(frame[n+4:]); err != nil {
		t.Fatal(err)
	}
	return message.ChunkedSeries[0].Chunks
}

func TestReadChunks(t *testing.T) {
	two := append(frameOf(t, "a", 1000, 1, 2, 3), frameOf(t, "a", 4000, 4)...)
	got, err := readChunks(bytes.NewReader(two), 1000, 4000, 100)
	if err != nil || len(got) != 1 || len(got[0].floats) != 3 || got[0].floats[0].T != 2000 || got[0].floats[2].V != 4 {
		t.Fatalf("half-open, joined over frames: %+v, %v", got, err)
	}
	var large *tooLarge
	if _, err := readChunks(bytes.NewReader(two), 0, 1e6, 3); !errors.As(err, &large) {
		t.Errorf("over the limit: %v", err)
	}
	flipped := bytes.Clone(two)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		stream []byte
		want   string
	}{
		"a flipped bit":              {flipped, "does not match its checksum"},
		"cut in the frame":           {two[:len(two)-1], "a frame ends after"},
		"cut in the checksum":        {two[:2], "the checksum of a frame"},
		"a length of its own":        {[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, "a frame of"},
		"a length cut":               {[]byte{0xff}, "the length of a frame"},
		"samples that do not ascend": {framed(t, prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{Chunks: slices.Repeat(unframed(t, frameOf(t, "a", 1000, 1)), 2)}}}), "do not ascend"},
		"another encoding":           {framed(t, prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{Chunks: []prompb.Chunk{{Type: 77, Data: []byte{0, 1, 2}}}}}}), "chunks of encoding"},
		"an empty chunk":             {framed(t, prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{Chunks: []prompb.Chunk{{Type: prompb.Chunk_XOR}}}}}), "a chunk without samples"},
		"a chunk of half a header":   {framed(t, prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{Chunks: []prompb.Chunk{{Type: prompb.Chunk_HISTOGRAM, Data: []byte{0, 9}}}}}}), "a chunk: of 2 bytes"},
		"a chunk that is cut":        {framed(t, prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{Chunks: []prompb.Chunk{{Type: prompb.Chunk_XOR, Data: []byte{0, 9, 1}}}}}}), "a chunk: "},
	} {
		if got, err := readChunks(bytes.NewReader(c.stream), 0, 1e6, 100); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d series, %v; want %q", name, len(got), err, c.want)
		}
	}
}

// FuzzReadChunks holds the reader of streams to its laws: it never panics, what it hands over lies
// in the span and ascends, and one more frame in front never hides an error behind it.
func FuzzReadChunks(f *testing.F) {
	f.Add(frameOf(f, "a", 1000, 1, 2, 3))
	f.Add(append(frameOf(f, "a", 1000, 1), frameOf(f, "b", 2000, 2)...))
	f.Add([]byte{5, 0, 0, 0, 0, 1})
	front := frameOf(f, "front", 1000, 1)
	f.Fuzz(func(t *testing.T, stream []byte) {
		all, err := readChunks(bytes.NewReader(stream), 500, 3000, 1000)
		for _, one := range all {
			last := int64(500)
			for _, p := range one.floats {
				if p.T <= last || p.T > 3000 {
					t.Fatalf("a sample at %d after %d", p.T, last)
				}
				last = p.T
			}
		}
		if _, behind := readChunks(bytes.NewReader(append(bytes.Clone(front), stream...)), 500, 3000, 1001); (err == nil) != (behind == nil) {
			t.Fatalf("alone %v, behind a frame %v", err, behind)
		}
	})
}

// FuzzChunk holds the reader to the law for chunks of floats that no server would write, in frames that
// are whole: an error, or samples in the span that ascend; never a panic.
func FuzzChunk(f *testing.F) {
	for kind, chunk := range map[prompb.Chunk_Encoding]chunkenc.Chunk{prompb.Chunk_XOR: chunkenc.NewXORChunk(), prompb.Chunk_XOR2: chunkenc.NewXOR2Chunk()} {
		app, err := chunk.Appender()
		if err != nil {
			f.Fatal(err)
		}
		for i := range int64(4) {
			app.Append(0, 600+500*i, float64(i*i))
		}
		f.Add(kind == prompb.Chunk_XOR2, chunk.Bytes())
	}
	f.Fuzz(func(t *testing.T, newer bool, data []byte) {
		kind := prompb.Chunk_XOR
		if newer {
			kind = prompb.Chunk_XOR2
		}
		all, err := readChunks(bytes.NewReader(framed(t, prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{
			Chunks: []prompb.Chunk{{Type: kind, Data: data}},
		}}})), 500, 3000, 1e5)
		if err != nil && all != nil {
			t.Fatalf("%v, and yet %d series", err, len(all))
		}
		for _, one := range all {
			last := int64(500)
			for _, p := range one.floats {
				if p.T <= last || p.T > 3000 {
					t.Fatalf("a sample at %d after %d", p.T, last)
				}
				last = p.T
			}
		}
	})
}
