package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/kubernetes"
)

// amnesiac is an API server that cannot keep its versions: every watch ends after a while with 410
// Gone, so that everything is listed anew, again and again, and every list takes its time.
type amnesiac struct {
	pages  map[string][][]byte // by path
	answer time.Duration       // that a page takes
	watch  time.Duration       // that a watch lasts; 0: until it is left
	lists  atomic.Int64
}

// newAmnesiac has n VPAs, each of a Deployment with a ReplicaSet and two pods of two containers, and
// a checkpoint for each container.
func newAmnesiac(n int) *amnesiac {
	a := &amnesiac{pages: map[string][][]byte{}}
	const asks = `[{"name":"app","resources":{"requests":{"cpu":"500m","memory":"1Gi"},"limits":{"memory":"1Gi"}}},{"name":"side","resources":{"requests":{"cpu":"50m","memory":"64Mi"}}}]`
	weights := ""
	for i := range 20 {
		weights += fmt.Sprintf(`"%d":%d,`, i, 100*i)
	}
	managed := `"managedFields":[{"manager":"vpa-recommender","operation":"Update","subresource":"status","time":"2026-11-22T20:43:19Z","fieldsV1":{"f:status":{"f:conditions":{".":{},"k:{\"type\":\"RecommendationProvided\"}":{".":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:recommendation":{".":{},"f:containerRecommendations":{}}}}}]`
	items := map[string][]string{}
	put := func(path, name, text string) {
		items[path] = append(items[path], fmt.Sprintf(`{"metadata":{"namespace":"shop","name":%q,"resourceVersion":"7","uid":"0b0c7f5e-2f0e-4a43-93a2-%012d",%s%s}`, name, len(items[path]), managed, text))
	}
	for i := range n {
		name := fmt.Sprintf("workload-%04d", i)
		put("/apis/autoscaling.k8s.io/v1/verticalpodautoscalers", name, fmt.Sprintf(`},"spec":{"targetRef":{"kind":"Deployment","name":%q}},"status":{"recommendation":{"containerRecommendations":[{"containerName":"app","target":{"cpu":"379m","memory":"476450463"},"lowerBound":{"cpu":"245m","memory":"474089365"},"upperBound":{"cpu":"1321m","memory":"1661404982"},"uncappedTarget":{"cpu":"379m","memory":"476450463"}},{"containerName":"side","target":{"cpu":"23m","memory":"125Mi"}}]}}`, name))
		for _, c := range []string{"app", "side"} {
			put("/apis/autoscaling.k8s.io/v1/verticalpodautoscalercheckpoints", name+"-"+c, fmt.Sprintf(`},"spec":{"vpaObjectName":%q,"containerName":%q},"status":{"lastUpdateTime":"2026-11-22T20:43:42Z","totalSamplesCount":9000,"cpuHistogram":{"bucketWeights":{%s"21":1}},"memoryHistogram":{"bucketWeights":{%s"21":1}}}`, name, c, weights, weights))
		}
		put("/apis/apps/v1/deployments", name, `},"spec":{"replicas":2,"template":{"spec":{"containers":`+asks+`}}}`)
		put("/apis/apps/v1/replicasets", name+"-1", fmt.Sprintf(`,"creationTimestamp":"2026-11-01T00:00:00Z","ownerReferences":[{"kind":"Deployment","name":%q,"controller":true}]},"spec":{}`, name))
		for p := range 2 {
			put("/api/v1/pods", fmt.Sprintf("%s-1-%d", name, p), fmt.Sprintf(`,"ownerReferences":[{"kind":"ReplicaSet","name":"%s-1","controller":true}]},"spec":{"containers":%s},"status":{"phase":"Running","containerStatuses":[{"name":"app","state":{},"lastState":{}},{"name":"side","state":{},"lastState":{}}]}`, name, asks))
		}
	}
	for path, all := range items {
		var pages [][]byte
		for part := range slices.Chunk(all, 500) {
			more := ""
			if len(pages)*500+len(part) < len(all) {
				more = fmt.Sprintf(`"continue":"%d",`, len(pages)+1)
			}
			pages = append(pages, fmt.Appendf(nil, `{"metadata":{%s"resourceVersion":"7"},"items":[%s]}`, more, strings.Join(part, ",")))
		}
		a.pages[path] = pages
	}
	return a
}

// RoundTrip answers in place of a connection.
func (a *amnesiac) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}
	if r.URL.Query().Get("watch") != "" {
		out, in := io.Pipe()
		go func() {
			var ends <-chan time.Time
			if a.watch > 0 {
				ends = time.After(a.watch)
			}
			select {
			case <-ends:
				fmt.Fprint(in, `{"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410,"message":"too old resource version"}}`)
			case <-r.Context().Done():
			}
			in.CloseWithError(io.ErrUnexpectedEOF)
		}()
		resp.Body = out
		return resp, nil
	}
	if a.answer > 0 {
		select {
		case <-time.After(a.answer):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	body := []byte(`{"metadata":{"resourceVersion":"7"},"items":[]}`)
	if pages := a.pages[path.Clean(r.URL.Path)]; pages != nil {
		n, _ := strconv.Atoi(r.URL.Query().Get("continue")) // without one it is the first
		body = pages[n]
		if n == 0 {
			a.lists.Add(1)
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// source is a cluster behind the server.
func (a *amnesiac) source(t testing.TB) *kubernetes.Source {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := "{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: 'http://cluster.test'}}], contexts: [{name: c, context: {cluster: c}}]}"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := kubernetes.New(kubernetes.Options{Name: "cluster", Config: kubernetes.Config{Kubeconfig: file}, Client: &http.Client{Transport: a}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// steadily answers every question for its objectives at once.
type steadily []slo.Objective

func (s steadily) Name() string { return "steadily" }

func (s steadily) Collect(_ context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	var out []slo.Sample
	for i := range s {
		if len(only) > 0 && !slices.Contains(only, s[i].Name) {
			continue
		}
		out = append(out, slo.Sample{SLO: s[i].Name, Span: span, Covered: []slo.Span{span}, Newest: span.To,
			Groups: []slo.GroupSample{{Increments: []slo.Increment{{At: span.To, Total: 1000, Bad: 1}}}}})
	}
	return out, nil
}

// clocked notes how long after its tick a report came.
type clocked struct {
	mu        sync.Mutex
	late      []time.Duration
	workloads []int
	newest    []time.Time
}

func (c *clocked) Name() string { return "clocked" }

func (c *clocked) Write(_ context.Context, r *sinks.Report) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = append(c.late, time.Since(r.Time))
	c.workloads = append(c.workloads, len(r.Workloads))
	c.newest = append(c.newest, r.SLOs[0].Newest)
	return nil
}

// storm is the loop of a daemon with so many SLOs beside a cluster.
func storm(t testing.TB, tick time.Duration, slos int, from sources.Source[rightsizing.Workload], to sinks.Sink) *pipeline.Pipeline {
	t.Helper()
	engine, err := slo.NewEngine(tick)
	if err != nil {
		t.Fatal(err)
	}
	target, err := slo.ParsePercent("99.9")
	if err != nil {
		t.Fatal(err)
	}
	month := slo.RollingPeriod(30 * slo.Day)
	objectives := make([]slo.Objective, slos)
	names := make([]string, slos)
	for i := range objectives {
		names[i] = fmt.Sprintf("slo-%04d", i)
		objectives[i] = slo.Objective{Name: names[i], Service: "shop", Target: target, Period: month, Policy: slo.Workbook(month)}
	}
	engine.Set(objectives)
	return pipeline.New(pipeline.Options{
		Engine: engine, Lanes: []pipeline.Lane{{Source: steadily(objectives), Objectives: names}},
		Workloads: []sources.Source[rightsizing.Workload]{from}, Judge: judge(&config.Config{Tick: tick}, rightsizing.NewMemory()),
		Sinks: []sinks.Sink{to}, Every: tick,
	})
}

// A cluster that lists everything anew all the time, each page after twenty seconds, holds up no
// tick of the SLOs: every one has its report within a second, and the workloads that were seen last
// stay in it.
func TestRelistsHoldUpNoTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tick, turns, workloads = 30 * time.Second, 40, 100
		api := newAmnesiac(workloads)
		api.answer, api.watch = 20*time.Second, 10*time.Second
		source, reports := api.source(t), &clocked{}
		line := storm(t, tick, 10, source, reports)
		ctx, stop := context.WithCancel(t.Context())
		followed := follow(ctx, []sources.Source[rightsizing.Workload]{source})
		ended := make(chan error, 1)
		go func() { ended <- line.Run(ctx) }()
		<-time.After(turns*tick + tick/2)
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		followed()

		if n := len(reports.late); n < turns {
			t.Errorf("%d reports in %d ticks", n, turns)
		}
		for i, late := range reports.late {
			if late > time.Second {
				t.Errorf("report %d came %s after its tick", i, late)
			}
			if i > 0 && !reports.newest[i].Equal(reports.newest[i-1].Add(tick)) {
				t.Errorf("report %d knows the counts up to %s, the one before up to %s", i, reports.newest[i], reports.newest[i-1])
			}
			if n := reports.workloads[i]; i > 2 && n != workloads {
				t.Errorf("report %d shows %d workloads", i, n)
			}
		}
		if n := api.lists.Load(); n < 5*10 {
			t.Errorf("listed %d times: that is no storm", n)
		}
	})
}

// BenchmarkRelist is a tick of 1,000 SLOs beside a cluster of 5,000 VPAs and 10,000 pods that lists
// everything anew all the time, and beside one that is quiet: what a tick takes in the middle and at
// most. The tick's own second is not waited for.
func BenchmarkRelist(b *testing.B) {
	const tick, slos = time.Second, 1000
	api := newAmnesiac(5000)
	turns := func(b *testing.B, from sources.Source[rightsizing.Workload]) (middle, most time.Duration) {
		line := storm(b, tick, slos, from, &clocked{})
		now := time.Now().Truncate(tick)
		var took []time.Duration
		for b.Loop() {
			now = now.Add(tick)
			began := time.Now()
			if err := line.Tick(b.Context(), now); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)/2], took[len(took)-1]
	}
	report := func(b *testing.B, middle, most time.Duration) {
		b.ReportMetric(float64(middle.Microseconds())/1e3, "ms-median")
		b.ReportMetric(float64(most.Microseconds())/1e3, "ms-worst")
		b.ReportMetric(0, "ns/op")
	}
	beside := func(b *testing.B) *kubernetes.Source {
		source := api.source(b)
		ctx, stop := context.WithCancel(b.Context())
		followed := follow(ctx, []sources.Source[rightsizing.Workload]{source})
		b.Cleanup(func() { stop(); followed() })
		listed(b, source)
		return source
	}
	b.Run("quiet", func(b *testing.B) {
		middle, most := turns(b, beside(b))
		report(b, middle, most)
	})
	b.Run("storm", func(b *testing.B) {
		source := beside(b)
		ctx, stop := context.WithCancel(b.Context())
		var running sync.WaitGroup
		running.Go(func() {
			for ctx.Err() == nil { // one that begins lists all kinds at once, and one after another does so without a pause: worse than 410 ever is
				own, end := context.WithCancel(ctx)
				other := api.source(b)
				followed := follow(own, []sources.Source[rightsizing.Workload]{other})
				_, _ = other.Collect(own, slo.Span{}) // it waits for all lists
				end()
				followed()
			}
		})
		defer func() { stop(); running.Wait() }()
		before := api.lists.Load()
		middle, most := turns(b, source)
		report(b, middle, most)
		b.ReportMetric(float64(api.lists.Load()-before)/5/b.Elapsed().Seconds(), "relists/s")
	})
}

// listed waits until a source that is followed holds its cluster.
func listed(b *testing.B, s *kubernetes.Source) {
	b.Helper()
	if found, err := s.Collect(b.Context(), slo.Span{}); err != nil || len(found) != 5000 {
		b.Fatalf("%d workloads, %v", len(found), err)
	}
}

// BenchmarkStart is from nothing to 5,000 workloads that are followed: 10,000 pods, 10,000
// checkpoints. MB are what stays in memory, peak-MB what the heap took meanwhile.
func BenchmarkStart(b *testing.B) {
	api := newAmnesiac(5000)
	var held, peak float64
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		source := api.source(b)
		ctx, stop := context.WithCancel(b.Context())
		followed := follow(ctx, []sources.Source[rightsizing.Workload]{source})
		listed(b, source)
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		peak = max(peak, float64(sample[0].Value.Uint64())-float64(before.HeapAlloc))
		runtime.GC()
		runtime.ReadMemStats(&after)
		held = float64(after.HeapAlloc) - float64(before.HeapAlloc)
		stop()
		followed()
	}
	b.ReportMetric(held/(1<<20), "MB")
	b.ReportMetric(peak/(1<<20), "peak-MB")
}
