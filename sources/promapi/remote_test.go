package promapi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
	want, asked := count(plain.URL(), "")
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
}

// A server that does not speak remote read, or breaks off in the middle of it, is asked in text:
// the first for good, the second for this piece.
func TestRemoteReadThatFails(t *testing.T) {
	server := history(t)
	target, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
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
			proxy := httputil.NewSingleHostReverseProxy(target)
			own := &http.Transport{} // the default one is closed by whichever test server ends
			defer own.CloseIdleConnections()
			proxy.Transport = own
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != remotePath {
					proxy.ServeHTTP(w, r)
					return
				}
				asked.Add(1)
				c.answer(w, r)
			}))
			defer front.Close()
			got := added(t, collect(t, newSource(t, front.URL, func(o *Options) { o.Config.RemoteRead = remoteAuto }, question), dawn, dusk)...)
			differ(t, c.name, got, want)
			if n := asked.Load(); n == 0 || c.forGood && n > 1 {
				t.Errorf("asked %d times", n)
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
		"a flipped bit":       {flipped, "does not match its checksum"},
		"cut in the frame":    {two[:len(two)-1], "a frame ends after"},
		"cut in the checksum": {two[:2], "the checksum of a frame"},
		"a length of its own": {[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, "a frame of"},
		"a length cut":        {[]byte{0xff}, "the length of a frame"},
		"another encoding":    {framed(t, prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{Chunks: []prompb.Chunk{{Type: 77, Data: []byte{0, 1, 2}}}}}}), "chunks of encoding"},
		"an empty chunk":      {framed(t, prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{Chunks: []prompb.Chunk{{Type: prompb.Chunk_XOR}}}}}), "a chunk without samples"},
		"a chunk that is cut": {framed(t, prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{Chunks: []prompb.Chunk{{Type: prompb.Chunk_XOR, Data: []byte{0, 9, 1}}}}}}), "a chunk: "},
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
