package promapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/slo"
)

// manySeries is an answer of so many series, with so many samples each that end at a moment, in the
// memory of an earlier one: of a benchmark it must cost next to nothing.
func manySeries(b []byte, series, samples int, end int64) []byte {
	number := func(n int64) { b = strconv.AppendInt(b, n, 10) }
	word := func(s string) { b = append(b, s...) }
	word(`{"status":"success","data":{"resultType":"matrix","result":[`)
	for i := range int64(series) {
		if i > 0 {
			word(",")
		}
		word(`{"metric":{"__name__":"hits_total","code":"`)
		number(200 + i%2*300)
		word(`","instance":"10.0.`)
		number(i / 256)
		word(".")
		number(i % 256)
		word(`:8080","job":"shop","pod":"shop-`)
		number(i / 10)
		word(`","route":"/r`)
		number(i % 10)
		word(`"},"values":[`)
		for k := range int64(samples) {
			if k > 0 {
				word(",")
			}
			at := end - (int64(samples)-1-k)*15
			word("[")
			number(at - 1)
			word(`.123,"`)
			number(at/15*7 + i)
			word(`"]`)
		}
		word(`]}`)
	}
	word(`]}}`)
	return b
}

// One answer of a million samples: a thousand series for four hours.
func BenchmarkDecodeMillionSamples(b *testing.B) {
	body := manySeries(nil, 1000, 1000, dusk.Unix())
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(bytes.NewReader(body)); err != nil {
			b.Fatal(err)
		}
	}
}

// One live tick over 20,000 series, two samples each, answered on loopback.
func BenchmarkTickOf20000Series(b *testing.B) {
	var memory atomic.Pointer[[]byte] // of the answer before
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		if strings.Contains(query, "(") {
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
			return
		}
		end, _ := strconv.ParseFloat(r.FormValue("time"), 64)
		body := memory.Swap(nil)
		if body == nil {
			body = new([]byte)
		}
		*body = manySeries((*body)[:0], 20000, 2, int64(end))
		_, _ = w.Write(*body)
		memory.Store(body)
	}))
	defer server.Close()
	o := Options{Name: "prom", Config: DefaultConfig(), Tick: tick, Questions: nil}
	o.Config.URL = server.URL
	o.Questions = append(o.Questions, counters("hits", `hits_total{job="shop"}`, `hits_total{job="shop",code="500"}`, "route"))
	s, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	at := dawn
	b.ReportAllocs()
	for b.Loop() {
		got, err := s.Collect(context.Background(), slo.Span{From: at, To: at.Add(tick)})
		if err != nil || got[0].Err != nil {
			b.Fatal(err, got)
		}
		at = at.Add(tick)
	}
}

// A day of 200 series from a real Prometheus, in text and by remote read in turns, as a backfill
// asks for it: ns of wall and of CPU, here and there, and bytes of answers, all per sample. The
// counts must be the same.
func BenchmarkDayOfHistory(b *testing.B) {
	const series, day = 200, 24 * time.Hour
	r := &recording{lines: map[string][]string{}}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range series {
		v, rate, offset := 0.0, 100*random.Float64(), time.Duration(random.IntN(15000))*time.Millisecond
		id := fmt.Sprintf(`hits_total{job="shop",instance="10.0.%d.%d:8080",pod="shop-%d",code="%d",route="/r%d"}`, i/256, i%256, i/10, 200+i%2*300, i%10)
		for d := offset; d < day; d += 15 * time.Second {
			v += float64(int(rate * (0.5 + random.Float64())))
			r.write("hits_total", id, at(d), v)
		}
	}
	dir := b.TempDir()
	promtest.CreateBlocks(b, dir, strings.NewReader(r.text()))
	server := promtest.Start(b, promtest.Options{Dir: dir})
	samples := float64(series) * day.Seconds() / 15

	type cost struct{ wall, here, there, bytes, events float64 }
	costs := map[string]*cost{remoteNever: {}, remoteAuto: {}}
	there := func() float64 {
		reply, err := http.Get(server.URL() + "/metrics")
		if err != nil {
			b.Fatal(err)
		}
		defer reply.Body.Close()
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(reply.Body)
		if err != nil {
			b.Fatal(err)
		}
		return families["process_cpu_seconds_total"].GetMetric()[0].GetCounter().GetValue()
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	here := func() float64 {
		families, err := registry.Gather()
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "process_cpu_seconds_total" {
				return f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return 0 // not on this platform
	}
	turn := func(way string) {
		c := costs[way]
		var read atomic.Int64
		o := Options{Name: "prom", Config: DefaultConfig(), Tick: tick}
		o.Config.URL, o.Config.RemoteRead = server.URL(), way
		o.Wrap = func(next http.RoundTripper) http.RoundTripper { return weighing{next, &read} }
		o.Questions = append(o.Questions, counters("hits", `hits_total{job="shop"}`, `hits_total{job="shop",code="500"}`, "route"))
		s, err := New(o)
		if err != nil {
			b.Fatal(err)
		}
		far, near, began := there(), here(), time.Now()
		c.events = 0
		for from := dawn; from.Before(dawn.Add(day)); from = from.Add(4 * time.Hour) {
			got, err := s.Collect(context.Background(), slo.Span{From: from, To: from.Add(4 * time.Hour)})
			if err != nil || got[0].Err != nil {
				b.Fatal(err, got[0].Err)
			}
			for _, g := range got[0].Groups {
				for _, inc := range g.Increments {
					c.events += inc.Total
				}
			}
		}
		c.wall += time.Since(began).Seconds()
		c.here += here() - near
		c.there += there() - far
		c.bytes += float64(read.Load())
		if s.remote.off != (way == remoteNever) || s.remote.lost > 0 {
			b.Fatalf("%s: %+v", way, s.remote)
		}
	}
	for b.Loop() {
		turn(remoteNever)
		turn(remoteAuto)
	}
	if text, chunks := costs[remoteNever], costs[remoteAuto]; text.events != chunks.events || text.events == 0 {
		b.Fatalf("%g events in text, %g by remote read", text.events, chunks.events)
	}
	for way, name := range map[string]string{remoteNever: "text", remoteAuto: "remote"} {
		c, n := costs[way], samples*float64(b.N)
		b.ReportMetric(c.wall*1e9/n, name+"-wall-ns/sample")
		b.ReportMetric(c.here*1e9/n, name+"-own-cpu-ns/sample")
		b.ReportMetric(c.there*1e9/n, name+"-server-cpu-ns/sample")
		b.ReportMetric(c.bytes/n, name+"-B/sample")
	}
}

// weighing counts the bytes of answers.
type weighing struct {
	next http.RoundTripper
	read *atomic.Int64
}

func (w weighing) RoundTrip(r *http.Request) (*http.Response, error) {
	reply, err := w.next.RoundTrip(r)
	if err == nil {
		reply.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(reply.Body, w), reply.Body}
	}
	return reply, err
}

func (w weighing) Write(p []byte) (int, error) {
	w.read.Add(int64(len(p)))
	return len(p), nil
}
