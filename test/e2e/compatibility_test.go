package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A daemon that is told to shows its numbers under the names of other projects, beside its own, and no
// more once its configuration does not say so.
func TestCompatibility(t *testing.T) {
	address, dir := freeAddress(t), t.TempDir()
	objects := filepath.Join(dir, "objects.yaml")
	file := filepath.Join(dir, "config.yaml")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(objects, `
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {template: {spec: {containers: [{name: app, resources: {requests: {cpu: 1}}}]}}}}
---
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {name: web, namespace: shop}
spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
status: {recommendation: {containerRecommendations: [{containerName: app, target: {cpu: 380m}}]}}
`)
	plain := "tick: 1s\nsources: [{name: cluster, type: kubernetes, objects: " + objects + "}]\n"
	put(file, plain+"compatibility: [kube-state-metrics]\n")
	start(t, "yoyu", "--config.file="+file, "--web.listen-address="+address, "--config.auto-reload-interval=1s", "--storage.path="+filepath.Join(dir, "data"))
	const (
		theirs = `kube_verticalpodautoscaler_status_recommendation_containerrecommendations_target{container="app",namespace="shop",resource="cpu",target_api_version="apps/v1",target_kind="Deployment",target_name="web",unit="core",verticalpodautoscaler="web"} 0.38` + "\n"
		ours   = `vpa_recommendation_cpu_cores{bound="target",container="app",namespace="shop",vpa="web",workload="web",workload_kind="Deployment"} 0.38` + "\n"
	)
	shows := func(what string, both bool) {
		t.Helper()
		until(t, what, func() (bool, string) {
			text, err := get("http://" + address + "/metrics")
			if err != nil {
				return false, err.Error()
			}
			return strings.Contains(text, ours) && strings.Contains(text, theirs) == both, text
		})
	}
	shows("both names", true)
	put(file, plain)
	shows("its own alone", false)
}
