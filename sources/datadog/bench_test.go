package datadog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// canned answers every query with one value a minute, without working anything out but the first
// time.
type canned map[string][]byte

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	key := q.Get("from") + q.Get("query")
	if c[key] == nil {
		var from, to int64
		fmt.Sscan(q.Get("from"), &from)
		fmt.Sscan(q.Get("to"), &to)
		type series struct {
			Index    int          `json:"query_index"`
			Interval int          `json:"interval"`
			Scope    string       `json:"scope"`
			Tags     []string     `json:"tag_set"`
			Points   [][2]float64 `json:"pointlist"`
		}
		all := []series{}
		for i := range strings.Count(q.Get("query"), "rollup") {
			one := series{Index: i, Interval: 60, Scope: "*", Tags: []string{}}
			for at := from; at < to; at += 60 {
				one.Points = append(one.Points, [2]float64{float64(at) * 1000, 100})
			}
			all = append(all, one)
		}
		text, err := json.Marshal(map[string]any{"status": "ok", "series": all})
		if err != nil {
			return nil, err
		}
		c[key] = text
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(c[key])), Request: r}, nil
}

// What a minute of the present costs, with the overlap that is looked at again.
func BenchmarkCollect(b *testing.B) {
	for _, n := range []int{10, 200} {
		b.Run(fmt.Sprintf("slos=%d", n), func(b *testing.B) {
			var questions []sources.Question
			for i := range n {
				questions = append(questions, counts(fmt.Sprint("slo-", i), fmt.Sprintf("sum:http.hits{service:shop-%d}", i), fmt.Sprintf("sum:http.errors{service:shop-%d}", i)))
			}
			c := DefaultConfig()
			c.APIKeyFile, c.AppKeyFile = filepath.Join(b.TempDir(), "key"), ""
			c.AppKeyFile = c.APIKeyFile
			if err := os.WriteFile(c.APIKeyFile, []byte("key"), 0o600); err != nil {
				b.Fatal(err)
			}
			c.Limits.Concurrency = 1 // the double is for one at a time
			s, err := New(Options{Name: "dd", Config: c, Tick: 30 * time.Second, Questions: questions, Transport: canned{}})
			if err != nil {
				b.Fatal(err)
			}
			span := slo.Span{From: dawn, To: dawn.Add(time.Minute)}
			b.ReportAllocs()
			for b.Loop() {
				samples, err := s.Collect(b.Context(), span)
				if err != nil || samples[0].Err != nil || len(samples[0].Groups[0].Increments) < 60 {
					b.Fatal(err, samples[0])
				}
			}
			b.ReportMetric(float64(s.quota.round), "requests")
		})
	}
}
