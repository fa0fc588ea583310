//go:build unix

package promapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

// BenchmarkDecodeRatio reads an answer of 10,000 results, one sample each, by turns as yoyu does and
// as encoding/json does into a model.Vector, so that what else the machine does hits both. It
// reports how many times the CPU that takes, and the CPU of one of our results: medians.
func BenchmarkDecodeRatio(b *testing.B) {
	const results = 10_000
	var text bytes.Buffer
	text.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
	for i := range results {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"metric":{"code":"%d","instance":"10.0.%d.%d:8080","job":"shop","service":"checkout"},"value":[1772323230.123,"%d"]}`,
			200+i%2*300, i/256, i%256, i*37)
	}
	text.WriteString(`]}}`)
	body := text.Bytes()
	var all struct {
		Data struct {
			Result model.Vector `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &all); err != nil {
		b.Fatal(err)
	}
	// The same answer, read in the same way: nothing is compared that says something else.
	var known memo
	got, err := known.decode(bytes.NewReader(body))
	if err != nil || len(got.series) != results || len(all.Data.Result) != results {
		b.Fatal(len(got.series), len(all.Data.Result), err)
	}
	for i, s := range got.series {
		want := all.Data.Result[i]
		if len(s.floats) != 1 || s.floats[0].T != int64(want.Timestamp) || s.floats[0].V != float64(want.Value) || s.labels.Get("instance") != string(want.Metric["instance"]) {
			b.Fatalf("result %d: %v, want %v", i, s, want)
		}
	}
	b.SetBytes(int64(len(body)))
	var ours, ratios []float64
	for b.Loop() {
		slow := cpu(func() {
			all.Data.Result = nil
			if err := json.Unmarshal(body, &all); err != nil {
				b.Fatal(err)
			}
		})
		all.Data.Result = nil
		runtime.GC() // what the other one left behind is its own affair
		quick := cpu(func() {
			for range 20 {
				if _, err := known.decode(bytes.NewReader(body)); err != nil {
					b.Fatal(err)
				}
			}
		}) / 20
		ours, ratios = append(ours, float64(quick.Nanoseconds())/results), append(ratios, float64(slow)/float64(quick))
	}
	slices.Sort(ours)
	slices.Sort(ratios)
	b.ReportMetric(ours[len(ours)/2], "ns/result")
	b.ReportMetric(ratios[len(ratios)/2], "x-json")
}

// cpu is the time that all threads of the process spend on something.
func cpu(on func()) time.Duration {
	spent := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			panic(err) // the kernel knows it
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begin := spent()
	on()
	return spent() - begin
}
