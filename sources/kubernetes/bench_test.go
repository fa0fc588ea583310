package kubernetes

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"

	"github.com/yoyu-sre/yoyu/slo"
)

// BenchmarkCollect is what a turn costs with 5,000 VPAs that are followed: 10,000 pods of two
// containers, a checkpoint for each. MB are what the mirrors hold.
func BenchmarkCollect(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, err := New(Options{Config: Config{Objects: "testdata/shop.yaml"}})
	if err != nil {
		b.Fatal(err)
	}
	s.objects = ""
	var mirrors []*mirror
	for _, k := range kinds {
		m := newMirror(k, "", nil)
		m.listed = true
		mirrors = append(mirrors, m)
		put := func(name, text string) {
			one, err := m.decode(json.RawMessage(fmt.Sprintf(`{"metadata":{"namespace":"shop","name":%q%s}`, name, text)))
			if err != nil {
				b.Fatal(err)
			}
			if err := m.Add(one); err != nil {
				b.Fatal(err)
			}
		}
		const asks = `[{"name":"app","resources":{"requests":{"cpu":"500m","memory":"1Gi"},"limits":{"memory":"1Gi"}}},{"name":"side","resources":{"requests":{"cpu":"50m","memory":"64Mi"}}}]`
		weights := ""
		for n := range 20 {
			weights += fmt.Sprintf(`"%d":%d,`, n, 100*n)
		}
		for i := range 5000 {
			name := fmt.Sprintf("workload-%04d", i)
			switch k.name {
			case "VerticalPodAutoscaler":
				put(name, fmt.Sprintf(`,"managedFields":[{"manager":"vpa-recommender","subresource":"status","time":"2026-11-22T20:43:19Z","fieldsV1":{"f:status":{"f:conditions":{},"f:recommendation":{}}}}]},"spec":{"targetRef":{"kind":"Deployment","name":%q}},"status":{"recommendation":{"containerRecommendations":[{"containerName":"app","target":{"cpu":"379m","memory":"476450463"},"lowerBound":{"cpu":"245m","memory":"474089365"},"upperBound":{"cpu":"1321m","memory":"1661404982"},"uncappedTarget":{"cpu":"379m","memory":"476450463"}},{"containerName":"side","target":{"cpu":"23m","memory":"125Mi"}}]}}`, name))
			case "VerticalPodAutoscalerCheckpoint":
				for _, c := range []string{"app", "side"} {
					put(name+"-"+c, fmt.Sprintf(`},"spec":{"vpaObjectName":%q,"containerName":%q},"status":{"lastUpdateTime":"2026-11-22T20:43:42Z","totalSamplesCount":9000,"cpuHistogram":{"bucketWeights":{%s"21":1}},"memoryHistogram":{"bucketWeights":{%s"21":1}}}`, name, c, weights, weights))
				}
			case "Deployment":
				put(name, `},"spec":{"replicas":2,"template":{"spec":{"containers":`+asks+`}}}`)
			case "ReplicaSet":
				put(name+"-1", fmt.Sprintf(`,"creationTimestamp":"2026-11-01T00:00:00Z","ownerReferences":[{"kind":"Deployment","name":%q,"controller":true}]},"spec":{}`, name))
			case "Pod":
				for p := range 2 {
					put(fmt.Sprintf("%s-1-%d", name, p), fmt.Sprintf(`,"annotations":{"a":"dropped"},"ownerReferences":[{"kind":"ReplicaSet","name":"%s-1","controller":true}]},"spec":{"containers":%s},"status":{"phase":"Running","containerStatuses":[{"name":"app","state":{},"lastState":{}},{"name":"side","state":{},"lastState":{}}]}`, name, asks))
				}
			}
		}
	}
	s.mirrors.Store(&mirrors)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportAllocs()
	for b.Loop() {
		got, err := s.Collect(b.Context(), slo.Span{})
		if err != nil || len(got) != 5000 || got[0].Containers[1].Checkpoint == nil || !got[0].Containers[0].CPU.Running.Defined {
			b.Fatalf("%d workloads, %v", len(got), err)
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB")
}
