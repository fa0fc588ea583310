package sinks_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/internal/kubetest"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// family is a Deployment whose memory grows and whose CPU is blocked, a CronJob that gives back both, a
// Job that nobody can change, one that comes from a chart and one that no SLO watches.
func family(t *testing.T) sinks.JSONRightsizing {
	t.Helper()
	shrinks := func(kind, name string, gate rightsizing.Passage) rightsizing.Workload {
		w := sinktest.Workload()
		w.Kind, w.Name = kind, name
		c := &w.Containers[0]
		c.Memory.Verdict, c.Memory.Proposed, c.Memory.Step = rightsizing.Shrink, slo.Defined(1<<27), slo.Defined(1<<27)
		w.Judgement = rightsizing.Judgement{Verdict: rightsizing.Shrink, Gate: gate, Sentence: name + " could give something back."}
		return w
	}
	chart := shrinks("StatefulSet", "db", rightsizing.Safe)
	chart.Chart, chart.Release, chart.Managed = "shop", "prod", "Helm"
	raises := sinktest.Workload() // with a container before that keeps what it has, and one that others put there
	app := raises.Containers[0]
	app.Index = 1
	raises.Containers = []rightsizing.Container{{Name: "proxy"}, app, {Name: "mesh", Place: rightsizing.Injected}}
	r := &sinks.Report{Time: sinktest.Time, Workloads: []rightsizing.Workload{
		raises, shrinks("CronJob", "nightly", rightsizing.Safe), shrinks("Job", "once", rightsizing.Safe),
		chart, shrinks("Deployment", "unwatched", rightsizing.Ungated),
	}}
	d, err := sinks.NewRightsizing(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const component = `# Rightsizing at 2026-01-02T00:00:00Z. Save it as kustomization.yaml in a folder of its own, and name that folder under components.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
  # shop/Deployment/checkout: raise, blocked: app needs 384 MiB of memory instead of 256 MiB, because it was killed for lack of memory within a day.
  - patch: |-
      apiVersion: apps/v1
      kind: Deployment
      metadata:
        name: checkout
        namespace: shop
      spec:
        template:
          spec:
            containers:
              - name: proxy
              - name: app
                resources:
                  requests:
                    memory: 384Mi
  # shop/CronJob/nightly: shrink, safe: nightly could give something back.
  - patch: |-
      apiVersion: batch/v1
      kind: CronJob
      metadata:
        name: nightly
        namespace: shop
      spec:
        jobTemplate:
          spec:
            template:
              spec:
                containers:
                  - name: app
                    resources:
                      requests:
                        cpu: 350m
                        memory: 128Mi
  # shop/Job/once: shrink, safe: once could give something back.
  # the template of a Job cannot be changed
  # shop/StatefulSet/db: shrink, safe: db could give something back.
  # it comes from a Helm chart: -o helm
  # shop/Deployment/unwatched: shrink, ungated: unwatched could give something back.
  # no SLO watches it: --ungated prints its patch
`

func TestKustomize(t *testing.T) {
	d := family(t)
	if got := written(t, func(w io.Writer) error { return d.WriteKustomize(w, false) }); got != component {
		t.Errorf("got\n%s\nwant\n%s", got, component)
	}
	if got := written(t, func(w io.Writer) error { return d.WriteKustomize(w, true) }); !strings.Contains(got, "        name: unwatched\n") {
		t.Errorf("with --ungated:\n%s", got)
	}
	if got := written(t, func(w io.Writer) error { return sinks.JSONRightsizing{}.WriteKustomize(w, false) }); !strings.Contains(got, "\npatches: []\n") {
		t.Errorf("of nothing:\n%s", got)
	}
}

// A real kustomize changes just the numbers: what stands beside them, other containers and the image
// stay, also where the base leaves the namespace to its kustomization. What is not in the base is an error.
func TestKustomizeBuilds(t *testing.T) {
	kubectl := kubetest.Kubectl(t)
	dir := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := func() (string, error) {
		out, err := exec.Command(kubectl, "kustomize", filepath.Join(dir, "prod")).CombinedOutput()
		return string(out), err
	}
	put("base/kustomization.yaml", "namespace: shop\nresources: [shop.yaml]\n")
	put("base/shop.yaml", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout}
spec:
  template:
    spec:
      containers:
        - {name: proxy, image: proxy:1, resources: {requests: {memory: 32Mi}}}
        - {name: app, image: app:2, resources: {requests: {cpu: 0.5, memory: 262144Ki, ephemeral-storage: 1Gi}, limits: {memory: 512Mi}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec: {schedule: "@daily", jobTemplate: {spec: {template: {spec: {containers: [{name: app, image: app:2, resources: {requests: {cpu: 500m, memory: 256Mi}}}]}}}}}
`)
	put("prod/kustomization.yaml", "resources: [../base]\ncomponents: [../rightsizing]\n")
	put("rightsizing/kustomization.yaml", component)
	text, err := build()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	type pods struct {
		Spec struct {
			Containers []map[string]any `yaml:"containers"`
		} `yaml:"spec"`
	}
	got := map[string][]map[string]any{}
	for from := yaml.NewDecoder(strings.NewReader(text)); ; {
		var one struct {
			Kind string `yaml:"kind"`
			Spec struct {
				Template    pods `yaml:"template"`
				JobTemplate struct {
					Spec struct {
						Template pods `yaml:"template"`
					} `yaml:"spec"`
				} `yaml:"jobTemplate"`
			} `yaml:"spec"`
		}
		if err := from.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got[one.Kind] = append(one.Spec.Template.Spec.Containers, one.Spec.JobTemplate.Spec.Template.Spec.Containers...)
	}
	want := map[string]string{
		"Deployment": `- image: proxy:1
  name: proxy
  resources:
    requests:
        memory: 32Mi
- image: app:2
  name: app
  resources:
    limits:
        memory: 512Mi
    requests:
        cpu: 0.5
        ephemeral-storage: 1Gi
        memory: 384Mi
`,
		"CronJob": `- image: app:2
  name: app
  resources:
    requests:
        cpu: 350m
        memory: 128Mi
`,
	}
	for kind, text := range want {
		if out, err := yaml.Marshal(got[kind]); err != nil || string(out) != text {
			t.Errorf("%s, %v: got\n%s\nwant\n%s", kind, err, out, text)
		}
	}

	put("base/shop.yaml", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: checkout}, spec: {template: {spec: {containers: [{name: app, image: app:2}]}}}}`)
	if text, err := build(); err == nil || !strings.Contains(text, "nightly") {
		t.Errorf("a workload that the base does not have: %v\n%s", err, text)
	}
}

func TestHelm(t *testing.T) {
	two := func(name, values, other string) rightsizing.Workload {
		w := sinktest.Workload()
		w.Name, w.Chart, w.Release, w.Gate = name, "shop", "prod", rightsizing.Safe
		w.Sentence = name + "."
		second := w.Containers[0]
		second.Name, second.Values, second.Index = "side", other, 1
		second.CPU.Step = slo.Defined(0.1)
		second.Memory.Verdict = rightsizing.Keep
		w.Containers[0].Values = values
		w.Containers = append(w.Containers, second)
		return w
	}
	of := func(ungated bool, workloads ...rightsizing.Workload) (string, error) {
		d, err := sinks.NewRightsizing(&sinks.Report{Time: sinktest.Time, Workloads: workloads}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err = d.WriteHelm(&out, ungated)
		return out.String(), err
	}
	unmapped := two("cart", "cart.resources", "")
	conflict := two("clash", "web.resources", "web.sidecar.resources")
	conflict.Containers[0].Memory.Step = slo.Defined(1 << 30)
	plain := two("plain", "", "")
	plain.Chart = ""
	ungated := two("wild", "wild.resources", "wild.side")
	ungated.Gate, ungated.Verdict = rightsizing.Ungated, rightsizing.Shrink
	elsewhere := two("api", "resources", "side.resources")
	elsewhere.Namespace, elsewhere.Release = "test", "canary"
	got, err := of(false, two("web", "web.resources", "web.sidecar.resources"), unmapped, conflict, plain, ungated, elsewhere)
	want := `# Rightsizing at 2026-01-02T00:00:00Z.
---
# helm upgrade prod CHART --namespace shop --reuse-values --values FILE
# Release prod of chart shop in namespace shop.
# shop/Deployment/cart: raise, safe: cart.
# left out: nobody said where the values of chart shop hold the resources of container side: write {chart: shop, workload: cart, container: side, path: …} under rightsizing.helm_values, or annotate the workload with yoyu/helm-values
# shop/Deployment/clash: raise, safe: clash.
# shop/Deployment/web: raise, safe: web.
# left out: path web.resources is said to be that of two containers: one wants a request of 1Gi memory, the other 384Mi
# shop/Deployment/wild: shrink, ungated: wild.
# no SLO watches it: --ungated prints its values
web:
  resources:
    requests:
      cpu: 350m
      memory: 1Gi
  sidecar:
    resources:
      requests:
        cpu: 100m
---
# helm upgrade canary CHART --namespace test --reuse-values --values FILE
# Release canary of chart shop in namespace test.
# test/Deployment/api: raise, safe: api.
resources:
  requests:
    cpu: 350m
    memory: 384Mi
side:
  resources:
    requests:
      cpu: 100m
---
# shop/Deployment/plain: raise, safe: plain.
# it comes from no Helm chart that is known: -o patch or -o kustomize
`
	if err != nil || got != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
	}
	if got, err := of(true, ungated); err != nil || !strings.Contains(got, "wild:\n  resources:\n") {
		t.Errorf("with --ungated: %v\n%s", err, got)
	}
	if _, err := of(false, unmapped); !errors.Is(err, sinks.ErrNoValues) {
		t.Errorf("when all are left out: %v", err)
	}
}
