package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

const podMetricsPath = "/apis/metrics.k8s.io/v1beta1/pods"

// Of five pods one does most of the work. What a metrics server says tells; without one, or with a role
// that may not ask it, nobody knows.
func TestSkew(t *testing.T) {
	for _, tt := range []struct {
		about string
		usage []string // of each pod: cpu, memory
		want  slo.Value
	}{
		{"all alike", []string{"100m 200Mi", "110m 200Mi", "90m 200Mi", "100m 200Mi", "105m 200Mi"}, is(1.1)},
		{"one does most of the work", []string{"100m 200Mi", "110m 200Mi", "90m 200Mi", "100m 200Mi", "250m 200Mi"}, is(2.5)},
		{"one holds most of the data", []string{"100m 100Mi", "100m 100Mi", "100m 100Mi", "100m 400Mi", "100m 100Mi"}, is(4)},
		{"of an even number the middle is between two", []string{"100m", "100m", "200m", "300m"}, is(2)},
		{"next to nothing tells nobody apart", []string{"1m 1Mi", "1m 1Mi", "1m 1Mi", "9m 15Mi", "1m 1Mi"}, none},
		{"all others are idle", []string{"0 200Mi", "0 200Mi", "0 200Mi", "0 200Mi", "100m 200Mi"}, is(100)},
		{"two pods have no middle", []string{"100m 200Mi", "500m 200Mi"}, none},
		{"nobody says", nil, none},
	} {
		t.Run(tt.about, func(t *testing.T) {
			var file strings.Builder
			fmt.Fprint(&file, `
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, namespace: shop}, spec: {template: {spec: {containers: [{name: app}]}}}}
---
{apiVersion: autoscaling.k8s.io/v1, kind: VerticalPodAutoscaler, metadata: {name: agent, namespace: shop}, spec: {targetRef: {kind: DaemonSet, name: agent}}}
`)
			for i := range 5 {
				fmt.Fprintf(&file, "---\n{apiVersion: v1, kind: Pod, metadata: {name: agent-%d, namespace: shop, ownerReferences: [{kind: DaemonSet, name: agent, controller: true}]}, spec: {containers: [{name: app}]}, status: {phase: Running}}\n", i)
			}
			for i, use := range tt.usage {
				cpu, memory, _ := strings.Cut(use, " ")
				if memory != "" {
					memory = ", memory: " + memory
				}
				fmt.Fprintf(&file, "---\n{apiVersion: metrics.k8s.io/v1beta1, kind: PodMetrics, metadata: {name: agent-%d, namespace: shop}, containers: [{name: app, usage: {cpu: %s%s}}]}\n", i, cpu, memory)
			}
			path := filepath.Join(t.TempDir(), "objects.yaml")
			if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := New(Options{Config: Config{Objects: path}})
			if err != nil {
				t.Fatal(err)
			}
			got := collect(t, s)[0].Skew
			if got.Defined != tt.want.Defined || got.Float-tt.want.Float > 1e-9 || tt.want.Float-got.Float > 1e-9 {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

var none slo.Value

// A source that follows reads what pods use of its own; a cluster that refuses is one without.
func TestSkewWhileFollowing(t *testing.T) {
	api := newAPIServer()
	api.put(vpaPath, "web", fmt.Sprintf(webVPA, "500m"))
	api.put("/apis/apps/v1/statefulsets", "web", fmt.Sprintf(webAPI, 3))
	api.put(vpaPath, "web", `"spec":{"targetRef":{"kind":"StatefulSet","name":"web"}}`)
	for i, cpu := range []string{"100m", "100m", "400m"} {
		name := fmt.Sprintf("web-%d", i)
		api.with(func() {
			api.version++
			text := fmt.Sprintf(`{"metadata":{"namespace":"shop","name":%q,"resourceVersion":"%d","ownerReferences":[{"kind":"StatefulSet","name":"web","controller":true}]},"spec":{"containers":[{"name":"app"}]},"status":{"phase":"Running"}}`, name, api.version)
			if api.items["/api/v1/pods"] == nil {
				api.items["/api/v1/pods"] = map[string]json.RawMessage{}
			}
			api.items["/api/v1/pods"][name] = json.RawMessage(text)
		})
		api.put(podMetricsPath, name, fmt.Sprintf(`"containers":[{"name":"app","usage":{"cpu":%q}}]`, cpu))
	}
	for _, refused := range []bool{false, true} {
		s, _ := cluster(t, func(w http.ResponseWriter, r *http.Request) {
			if refused && r.URL.Path == podMetricsPath {
				http.Error(w, `{"kind":"Status","message":"the server is currently unable to handle the request"}`, http.StatusServiceUnavailable)
				return
			}
			api.ServeHTTP(w, r)
		}, Config{}, nil)
		running(t, s)
		want := is(4)
		if refused {
			want = none
		}
		settle := time.NewTicker(5 * time.Millisecond)
		for {
			found := collect(t, s)
			if len(found) == 1 && found[0].Skew == want && (refused || len(found[0].Containers) == 1) {
				break
			}
			select {
			case <-settle.C:
			case <-t.Context().Done():
				t.Fatalf("%+v", found)
			}
		}
		settle.Stop()
	}
}

// One busy minute is not yet a pod that has more to do than the others; half an hour is.
func TestMeter(t *testing.T) {
	var m meter
	at := time.Date(2026, time.November, 26, 12, 0, 0, 0, time.UTC)
	key := [3]string{"shop", "web-0", "app"}
	reading := func(cpu float64) containerUsage { return containerUsage{key: rightsizing.Resources{CPU: is(cpu)}} }
	if m.now(at) != nil {
		t.Error("something is known before the first reading")
	}
	m.read(at, reading(0.1))
	m.read(at.Add(metered), reading(0.7))
	if got := m.now(at.Add(metered))[key].CPU.Float; got < 0.1199 || got > 0.1201 {
		t.Errorf("after one busy minute %v, want 0.12", got)
	}
	for i := range 60 {
		m.read(at.Add(time.Duration(i+2)*metered), reading(0.7))
	}
	last := at.Add(61 * metered)
	if got := m.now(last)[key].CPU.Float; got < 0.6 {
		t.Errorf("after an hour %v, want nearly 0.7", got)
	}
	if m.now(last.Add(current+1)) != nil {
		t.Error("an old reading counts")
	}
	if m.read(last, containerUsage{}); len(m.now(last)) != 0 {
		t.Error("a pod that is gone is remembered")
	}
}
