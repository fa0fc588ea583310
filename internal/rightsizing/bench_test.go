package rightsizing

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// BenchmarkJudge is what a tick costs with 5,000 VPAs of two containers each, and a thousand SLOs.
func BenchmarkJudge(b *testing.B) {
	var workloads []Workload
	for i := range 5000 {
		w := checkout()
		w.Name, w.Services = fmt.Sprintf("workload-%04d", i), []string{fmt.Sprintf("service-%03d", i/5)}
		side := w.Containers[0]
		side.Name = "side"
		w.Containers = append(w.Containers, side)
		for k := range w.Containers {
			c := *w.Containers[k].Checkpoint
			c.CPU, c.Memory = nil, nil
			for n := range 20 {
				c.CPU, c.Memory = append(c.CPU, Bucket{n, 500}), append(c.Memory, Bucket{n + 3, 500})
			}
			w.Containers[k].Checkpoint = &c
		}
		workloads = append(workloads, w)
	}
	var statuses []slo.Status
	for i := range 1000 {
		statuses = append(statuses, status(fmt.Sprintf("slo-%03d", i), fmt.Sprintf("service-%03d", i), "99.9", 0.9))
	}
	j := &Judge{Memory: NewMemory(), Prices: Prices{0.05, 0.005, "USD"}, Tick: 30 * time.Second}
	now := noon
	for range 20 { // two weeks and some days
		now = now.Add(18 * time.Hour)
		j.Judge(workloads, statuses, now)
	}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(30 * time.Second)
		fresh := slices.Clone(workloads)
		j.Judge(fresh, statuses, now)
	}
}
