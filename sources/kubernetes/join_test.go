package kubernetes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

const mebi = 1 << 20

// What stands around a workload, read by hand from the file: cases 19, 22, 23, 29, 30, 31, 33, 34
// and 36 of facts/vpa.md, 5.7.
func TestAround(t *testing.T) {
	s, err := New(Options{Config: Config{Objects: "testdata/around.yaml"}})
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	api := rightsizing.Workload{
		Namespace: "shop", APIVersion: "apps/v1beta1", Kind: "Deployment", Name: "api", VPA: "api", UpdateMode: "Recreate", Replicas: 2,
		Labels:  map[string]string{"app.kubernetes.io/name": "api", "tags.datadoghq.com/service": "checkout"},
		Managed: "Helm",
		Chart:   "shop-api", Release: "shop",
		Spec:      `{"resourcePolicy":{"containerPolicies":[{"containerName":"*","controlledResources":["memory"],"minAllowed":{"cpu":"10m"}},{"containerName":"app","controlledValues":"RequestsOnly","maxAllowed":{"cpu":2,"memory":"1.50Gi"}},{"containerName":"off","mode":"Off"}]},"targetRef":{"apiVersion":"apps/v1beta1","kind":"Deployment","name":"api"}}`,
		Condition: rightsizing.Outdated,
		RolledOut: at("2026-11-10T00:00:00Z"),
		Autoscaler: &rightsizing.Autoscaler{Name: "api", Min: 2, Max: 9, CPU: is(0.7),
			Containers: map[string]rightsizing.Resources{"app": {Memory: is(0.9)}}},
		Init: []rightsizing.Container{{Name: "migrate", CPU: rightsizing.Resource{Request: is(0.05)}, Raw: `{"requests":{"cpu":"50m"}}`}},
		Containers: []rightsizing.Container{
			{
				Name: "app", Raw: `{"limits":{"memory":"1Gi"},"requests":{"cpu":"500m","memory":"1Gi"}}`,
				CPU: rightsizing.Resource{Request: is(0.5), Running: is(0.7), MaxAllowed: is(2), Target: is(0.5), Lower: is(0.1)},
				Memory: rightsizing.Resource{Request: is(1024 * mebi), Limit: is(1024 * mebi), Running: is(1024 * mebi),
					MaxAllowed: is(1536 * mebi), Target: is(262144000)},
				OOMKilled: at("2026-11-25T10:00:00Z"), Boosted: true, Resize: "Infeasible", KeepsLimit: true, Values: "api.resources",
				Heap: rightsizing.Heap{Fixed: is(512 * mebi), Flag: "-Xmx"},
				Checkpoint: &rightsizing.Checkpoint{
					Updated: at("2026-11-26T11:59:00Z"), First: at("2026-11-16T12:00:00Z"), Last: at("2026-11-26T11:58:00Z"),
					Samples: 28800, CPU: rightsizing.Histogram{{Index: 2, Weight: 10000}, {Index: 10, Weight: 20}},
				},
			},
			{
				Name: "bare", Index: 1, Resize: "Infeasible", Values: "api.bare",
				CPU: rightsizing.Resource{Request: is(0.1), Running: is(0.1), Defaulted: true, Uncontrolled: true, MinAllowed: is(0.01)},
			},
			{
				Name: "off", Index: 2, Excluded: true, Resize: "Infeasible", Raw: `{"requests":{"cpu":"10m"}}`,
				CPU: rightsizing.Resource{Request: is(0.01), Running: is(0.01)},
			},
			{
				Name: "mesh", Index: 1, Place: rightsizing.Sidecar, Raw: `{"requests":{"cpu":"100m","memory":"64Mi"}}`,
				CPU:    rightsizing.Resource{Request: is(0.1), Uncontrolled: true, MinAllowed: is(0.01)},
				Memory: rightsizing.Resource{Request: is(64 * mebi)},
			},
			{
				Name: "injected", Place: rightsizing.Injected, Resize: "Infeasible",
				CPU: rightsizing.Resource{Request: is(0.02), Running: is(0.02), Target: is(0.025), Uncontrolled: true, MinAllowed: is(0.01)},
			},
		},
	}
	equal(t, collect(t, s), []rightsizing.Workload{
		{
			Namespace: "shop", APIVersion: "batch/v1", Kind: "CronJob", Name: "nightly", VPA: "nightly", UpdateMode: "Recreate",
			Condition:  rightsizing.NoPods,
			Spec:       `{"targetRef":{"apiVersion":"batch/v1","kind":"CronJob","name":"nightly"}}`,
			Pods:       is(3 * 2.0 / 24), // three pods for two hours on the mean, once a day
			Containers: []rightsizing.Container{{Name: "job", CPU: rightsizing.Resource{Request: is(1)}, Raw: `{"requests":{"cpu":1}}`}},
		},
		api,
		{
			Namespace: "shop", APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "canary", VPA: "canary", UpdateMode: "Recreate", Replicas: 2,
			Spec:   `{"targetRef":{"apiVersion":"argoproj.io/v1alpha1","kind":"Rollout","name":"canary"}}`,
			Labels: map[string]string{"app.kubernetes.io/name": "canary"}, RolledOut: at("2026-11-02T00:00:00Z"),
			Containers: []rightsizing.Container{{
				Name: "app", Place: rightsizing.Injected, CPU: rightsizing.Resource{Request: is(2), Running: is(2), Target: is(1)},
			}},
		},
		{
			Namespace: "shop", Kind: "Rollout", Name: "lost", VPA: "lost", UpdateMode: "Recreate",
			Condition: rightsizing.Unsupported, Message: "Cannot read targetRef",
			Spec: `{"targetRef":{"kind":"Rollout","name":"lost"}}`,
		},
		{
			Namespace: "shop", Kind: "StatefulSet", Name: "whole", VPA: "whole", UpdateMode: "Recreate", Replicas: 1,
			Condition: rightsizing.PodLevel, Managed: "Argo CD", RolledOut: at("2026-11-01T00:00:00Z"),
			Spec:       `{"targetRef":{"kind":"StatefulSet","name":"whole"}}`,
			Containers: []rightsizing.Container{{Name: "app"}},
		},
	})
}

// The recorded answers of a real API server, with the pods, ReplicaSets and checkpoints beside them.
func TestRecordedSurroundings(t *testing.T) {
	s, _ := cluster(t, answers{
		vpaPath:    recording(t, "vpa-list-prometheus.json"),
		deployPath: recording(t, "deployments.json"),
		statefulP:  emptyList, daemonPath: emptyList,
		"/apis/autoscaling.k8s.io/v1/verticalpodautoscalercheckpoints": recording(t, "checkpoints.json"),
		"/apis/apps/v1/replicasets":                                    recording(t, "replicasets.json"),
		"/api/v1/pods":                                                 recording(t, "pods.json"),
	}.ServeHTTP, Config{}, nil)
	want := demoWeb()
	want.RolledOut = time.Date(2026, time.November, 22, 20, 43, 6, 0, time.UTC)
	for i, bucket := range []int{15, 1} {
		c := &want.Containers[i]
		c.CPU.Running, c.Memory.Running = c.CPU.Request, c.Memory.Request
		sampled := time.Date(2026, time.November, 22, 20, 43, 32, 0, time.UTC)
		c.Checkpoint = &rightsizing.Checkpoint{
			Updated: sampled.Add(10 * time.Second), First: sampled, Last: sampled, Samples: 3,
			CPU: rightsizing.Histogram{{Index: bucket, Weight: 10000}},
		}
	}
	got := collect(t, s)
	differ(t, "workloads", reflect.ValueOf(got), reflect.ValueOf([]rightsizing.Workload{want}))

	// And what is made of it: three samples are nothing to lean on.
	now := want.Containers[0].Checkpoint.Updated.Add(time.Minute)
	j := rightsizing.Judge{Memory: rightsizing.NewMemory()}
	j.Judge(got, nil, now)
	if w := got[0]; w.Verdict != rightsizing.Unknown || w.Containers[1].Memory.Reasons[0] != rightsizing.FloorLimited {
		t.Errorf("%s: %v", w.Verdict, w.Reasons)
	}
	if c := got[0].Containers[0].CPU.Evidence.Confidence; c != slo.Defined(0) {
		t.Errorf("confidence of %v days after three samples at one moment", c)
	}
}

func TestBrokenCheckpoint(t *testing.T) {
	for _, weights := range []string{`{"first": 1}`, `{"-1": 1}`, `{"3": -1}`} {
		var h histogram
		if err := json.Unmarshal([]byte(`{"bucketWeights":`+weights+`}`), &h); err != nil || h.fault == nil || h.buckets != nil {
			t.Errorf("%s: %v, read as %v, fault %v", weights, err, h.buckets, h.fault)
		}
	}
}

// A pod of a CronJob that is killed for lack of memory has failed, and runs no more: its kill counts,
// what it asked for does not.
func TestKilledJobs(t *testing.T) {
	const objects = `{"kind":"List","items":[
		{"apiVersion":"autoscaling.k8s.io/v1","kind":"VerticalPodAutoscaler","metadata":{"namespace":"shop","name":"nightly"},
			"spec":{"targetRef":{"apiVersion":"batch/v1","kind":"CronJob","name":"nightly"}}},
		{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"namespace":"shop","name":"nightly"},
			"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"app","resources":{"requests":{"memory":"1Gi"}}},{"name":"other"}]}}}}}},
		{"apiVersion":"batch/v1","kind":"Job","metadata":{"namespace":"shop","name":"nightly-1","ownerReferences":[{"kind":"CronJob","name":"nightly","controller":true}]}},
		{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"nightly-1-a","ownerReferences":[{"kind":"Job","name":"nightly-1","controller":true}]},
			"spec":{"containers":[{"name":"app","resources":{"requests":{"memory":"4Gi"}}},{"name":"gone"}]},
			"status":{"phase":"Failed","containerStatuses":[{"name":"app","state":{"terminated":{"reason":"OOMKilled","finishedAt":"2026-11-25T10:00:00Z"}}}]}},
		{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"nightly-1-b","ownerReferences":[{"kind":"Job","name":"nightly-1","controller":true}]},
			"spec":{"containers":[{"name":"app"}]},
			"status":{"phase":"Succeeded","containerStatuses":[{"name":"app","state":{"terminated":{"reason":"Completed","finishedAt":"2026-11-25T12:00:00Z"}},
				"lastState":{"terminated":{"reason":"OOMKilled","finishedAt":"2026-11-25T11:00:00Z"}}}]}}
	]}`
	file := filepath.Join(t.TempDir(), "objects.json")
	if err := os.WriteFile(file, []byte(objects), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Config: Config{Objects: file}})
	if err != nil {
		t.Fatal(err)
	}
	w := collect(t, s)[0]
	if len(w.Containers) != 2 {
		t.Fatalf("containers %+v, want the two of the template", w.Containers)
	}
	app, other := w.Containers[0], w.Containers[1]
	if want := time.Date(2026, time.November, 25, 11, 0, 0, 0, time.UTC); !app.OOMKilled.Equal(want) {
		t.Errorf("killed at %v, want %v", app.OOMKilled, want)
	}
	if app.Memory.Running.Defined || !other.OOMKilled.IsZero() {
		t.Errorf("a pod that has ended runs on %v; the container that lived was killed at %v", app.Memory.Running, other.OOMKilled)
	}
}

// What somebody writes into the annotation of one pod blinds nobody to the others.
func TestBrokenBoost(t *testing.T) {
	for _, before := range []string{`not JSON`, `[]`, `{"requests":{"cpu":"much"}}`, `{"requests":[1]}`, `{"requests":{"cpu":"-1"}}`} {
		text, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"name": "web-1", "annotations": map[string]string{boostAnnotation + "app": before}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "app", "resources": map[string]any{"requests": map[string]string{"cpu": "3"}}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var p pod
		if err := json.Unmarshal(text, &p); err != nil {
			t.Errorf("%s: %v", before, err)
			continue
		}
		w := rightsizing.Workload{Containers: []rightsizing.Container{{Name: "app", CPU: rightsizing.Resource{Request: is(1)}}}}
		if err := p.show(&w); err != nil {
			t.Errorf("%s: %v", before, err)
		}
		if c := w.Containers[0]; !c.Boosted || c.CPU.Running.Defined || c.CPU.Request != is(1) {
			t.Errorf("%s: %+v", before, c)
		}
	}
}
