package app

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// A service that names its workloads has those and no others; one that names none finds them by the
// first label that names it.
func TestOwners(t *testing.T) {
	c := &config.Config{
		Services: []config.Service{
			{Name: "named", Workloads: []config.Workload{{Namespace: "shop", Kind: "Deployment", Name: "a"}, {Namespace: "shop", Kind: "Deployment", Name: "shared"}}},
			{Name: "also", Workloads: []config.Workload{{Namespace: "shop", Kind: "Deployment", Name: "shared"}}},
			{Name: "looking"},
		},
		Objectives: []slo.Objective{{Service: "undescribed"}, {Service: "named"}},
	}
	owners := newOwners(c)
	const datadog, part, name = "tags.datadoghq.com/service", "app.kubernetes.io/part-of", "app.kubernetes.io/name"
	for _, tt := range []struct {
		about string
		w     rightsizing.Workload
		want  []string
	}{
		{"named", rightsizing.Workload{Namespace: "shop", Kind: "Deployment", Name: "a"}, []string{"named"}},
		{"named twice", rightsizing.Workload{Namespace: "shop", Kind: "Deployment", Name: "shared"}, []string{"named", "also"}},
		{"of another kind", rightsizing.Workload{Namespace: "shop", Kind: "StatefulSet", Name: "a"}, nil},
		{"of another namespace", rightsizing.Workload{Namespace: "test", Kind: "Deployment", Name: "a"}, nil},
		{"labelled, but its service names its workloads", rightsizing.Workload{Name: "x", Labels: map[string]string{name: "named"}}, nil},
		{"labelled", rightsizing.Workload{Name: "x", Labels: map[string]string{name: "looking"}}, []string{"looking"}},
		{"Datadog's label first", rightsizing.Workload{Name: "x", Labels: map[string]string{datadog: "undescribed", part: "looking"}}, []string{"undescribed"}},
		{"a label that names nobody is passed over", rightsizing.Workload{Name: "x", Labels: map[string]string{datadog: "stranger", part: "looking"}}, []string{"looking"}},
		{"named before labelled", rightsizing.Workload{Namespace: "shop", Kind: "Deployment", Name: "a", Labels: map[string]string{name: "looking"}}, []string{"named"}},
		{"without a word", rightsizing.Workload{Name: "x"}, nil},
	} {
		if got := owners.of(&tt.w); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.about, got, tt.want)
		}
	}
}

// Of two clusters the one that rightsizing names is read.
func TestOneCluster(t *testing.T) {
	c, err := config.Parse("c.yaml", []byte(`
sources:
  - {name: east, type: kubernetes, objects: east.yaml}
  - {name: west, type: kubernetes, objects: west.yaml}
rightsizing: {source: west}
`))
	if err != nil {
		t.Fatal(err)
	}
	parts, err := assemble(c, nil, partOptions{log: slogDiscard})
	if err != nil {
		t.Fatal(err)
	}
	if len(parts.workloads) != 1 || parts.workloads[0].Name() != "west" {
		t.Errorf("workloads come from %v", parts.workloads)
	}
}

// What was judged is the report's own: the source shows the same workloads at the next tick.
func TestJudgeLeavesTheSourceAlone(t *testing.T) {
	found := []rightsizing.Workload{{Name: "x", Containers: []rightsizing.Container{{Name: "app",
		CPU: rightsizing.Resource{Request: slo.Defined(0.1), Target: slo.Defined(1), Lower: slo.Defined(0.5)}}}}}
	r := &sinks.Report{Time: time.Now(), Workloads: found}
	judge(&config.Config{}, rightsizing.NewMemory())(r)
	if r.Workloads[0].Verdict != rightsizing.Raise {
		t.Errorf("verdict %s", r.Workloads[0].Verdict)
	}
	if w := found[0]; w.Verdict != "" || w.Containers[0].CPU.Verdict != "" || w.Containers[0].CPU.Proposed.Defined {
		t.Errorf("the source's workload is judged: %+v", w.Judgement)
	}
}

// Two weeks of having watched survive a restart, with the state file and in it.
func TestMemorySurvives(t *testing.T) {
	dir := t.TempDir()
	objects := filepath.Join(dir, "objects.yaml")
	at := time.Now().Truncate(time.Second)
	stamp := func(ago time.Duration) string { return at.Add(-ago).UTC().Format(time.RFC3339) }
	text := fmt.Sprintf(`
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 4, template: {spec: {containers: [{name: app, resources: {requests: {cpu: 1}}}]}}}}
---
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {name: web, namespace: shop}
spec: {targetRef: {kind: Deployment, name: web}}
status: {recommendation: {containerRecommendations: [{containerName: app, target: {cpu: 380m}, lowerBound: {cpu: 245m}, upperBound: {cpu: 587m}}]}}
---
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscalerCheckpoint
metadata: {name: web-app, namespace: shop}
spec: {vpaObjectName: web, containerName: app}
status: {lastUpdateTime: %q, firstSampleStart: %q, lastSampleStart: %q, totalSamplesCount: 99999, cpuHistogram: {bucketWeights: {"19": 1}}}
`, stamp(time.Minute), stamp(30*slo.Day), stamp(0))
	if err := os.WriteFile(objects, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("c.yaml", []byte(`{sources: [{name: cluster, type: kubernetes, objects: `+objects+`}]}`))
	if err != nil {
		t.Fatal(err)
	}
	verdict := func(from, to time.Duration) rightsizing.Verdict {
		t.Helper()
		engine, err := newEngine(c)
		if err != nil {
			t.Fatal(err)
		}
		s := newState(filepath.Join(dir, "data"), slog.New(slog.NewTextHandler(io.Discard, nil)))
		if _, err := s.open(engine, false); err != nil {
			t.Fatal(err)
		}
		defer s.close()
		parts, err := assemble(c, nil, partOptions{log: slogDiscard})
		if err != nil {
			t.Fatal(err)
		}
		look := judge(c, s.memory)
		var last rightsizing.Verdict
		for ago := from; ago >= to; ago -= 6 * time.Hour {
			found, err := parts.workloads[0].Collect(t.Context(), slo.Span{})
			if err != nil {
				t.Fatal(err)
			}
			r := &sinks.Report{Time: at.Add(-ago), Workloads: found}
			look(r)
			s.commit(engine, nil)
			last = r.Workloads[0].Verdict
		}
		return last
	}
	if got := verdict(14*slo.Day, 12*time.Hour); got != rightsizing.Shrink {
		t.Errorf("after two weeks: %s", got)
	}
	if got := verdict(0, 0); got != rightsizing.Shrink {
		t.Errorf("after a restart: %s, want the two weeks to be remembered", got)
	}
}
