package promapi

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/slo"
)

// manySeries is an answer of so many series, with so many samples each that end at a moment.
func manySeries(series, samples int, end int64) []byte {
	var b bytes.Buffer
	b.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
	for i := range series {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"metric":{"__name__":"hits_total","code":"%d","instance":"10.0.%d.%d:8080","job":"shop","pod":"shop-%d","route":"/r%d"},"values":[`,
			200+i%2*300, i/256, i%256, i/10, i%10)
		for k := range samples {
			if k > 0 {
				b.WriteByte(',')
			}
			at := end - int64(samples-1-k)*15
			fmt.Fprintf(&b, `[%d.123,"%d"]`, at-1, at/15*7+int64(i))
		}
		b.WriteString(`]}`)
	}
	b.WriteString(`]}}`)
	return b.Bytes()
}

// One answer of a million samples: a thousand series for four hours.
func BenchmarkDecodeMillionSamples(b *testing.B) {
	body := manySeries(1000, 1000, dusk.Unix())
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
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		if strings.Contains(query, "(") {
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
			return
		}
		end, _ := strconv.ParseFloat(r.FormValue("time"), 64)
		_, _ = w.Write(manySeries(20000, 2, int64(end)))
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
