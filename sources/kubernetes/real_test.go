package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/yoyu-sre/yoyu/internal/kubetest"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

// base is what a cluster is given: the role that these tests live with is the one that is shipped.
const base = "../../deploy/kubernetes/base"

const shopWeb = `apiVersion: apps/v1
kind: Deployment
metadata: {namespace: shop, name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: app
          image: registry.example/web:1
          resources: {requests: {cpu: %s, memory: 512Mi}, limits: {memory: 1Gi}}
`

const shopVPA = `apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {namespace: shop, name: web}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  updatePolicy: {updateMode: "Off"}
`

// recommends is the status of shopVPA as a recommender writes it.
func recommends(cpu string) string {
	return fmt.Sprintf(`{"recommendation":{"containerRecommendations":[{"containerName":"app",
		"target":{"cpu":%q,"memory":"250Mi"},"lowerBound":{"cpu":"25m","memory":"250Mi"},
		"upperBound":{"cpu":"100G","memory":"97656250000Ki"},"uncappedTarget":{"cpu":%[1]q,"memory":"250Mi"}}]}}`, cpu)
}

// deployed is a cluster with yoyu's own objects in it, and a source that runs under the token of
// yoyu's ServiceAccount.
func deployed(t *testing.T, log io.Writer) (*kubetest.Cluster, *Source) {
	t.Helper()
	c := kubetest.Start(t)
	c.Kubectl("apply", "-f", base+"/../namespace.yaml")
	c.Kubectl("apply", "-k", base)
	c.Kubectl("create", "namespace", "shop")
	s, err := New(Options{
		Name: "cluster", Config: Config{Kubeconfig: c.Kubeconfig("yoyu", "yoyu")},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// One life of a source on a real API server: the VPA's API comes only later, objects come, change
// and go, the server is started again under the watches and has forgotten the versions they know.
// In the end the server says what it was asked: no more and no less than the role allows.
func TestRealServer(t *testing.T) {
	var log safeBuffer
	c, s := deployed(t, &log)
	running(t, s)

	becomes(t, s, "")
	if n := strings.Count(log.String(), "no VerticalPodAutoscaler API"); n != 1 {
		t.Errorf("said %d times that there is no VPA, want once:\n%s", n, log.String())
	}
	c.Apply(fmt.Sprintf(shopWeb, 2, "500m"))
	c.Apply(c.VPA())
	c.Established("verticalpodautoscalers.autoscaling.k8s.io")
	c.Apply(shopVPA)
	becomes(t, s, "web 2 0")
	c.Status("shop", "vpa/web", recommends("600m"))
	becomes(t, s, "web 2 0.6")
	c.Apply(fmt.Sprintf(shopWeb, 3, "500m"))
	becomes(t, s, "web 3 0.6")
	pods(t, c)
	settles(t, s, "the pods, their kill and their autoscaler", func(w rightsizing.Workload) bool {
		return !w.Containers[0].OOMKilled.IsZero() && w.Autoscaler != nil && !w.RolledOut.IsZero()
	})
	w := collect(t, s)[0]
	if got := w.Containers[0].CPU; got.Request != is(0.5) || got.Running != is(0.7) || got.Upper != is(100e9) {
		t.Errorf("cpu of the container: %+v; want a request of 0.5, 0.7 as the largest pod runs, at most 1e11", got)
	}
	if want := time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC); !w.Containers[0].OOMKilled.Equal(want) {
		t.Errorf("killed at %v, want %v", w.Containers[0].OOMKilled, want)
	}
	if w.StatusAt.IsZero() {
		t.Error("nobody knows when the status was written: the server's managed fields say it")
	}
	c.Kubectl("delete", "hpa/web", "--namespace=shop")
	settles(t, s, "no autoscaler", func(w rightsizing.Workload) bool { return w.Autoscaler == nil })

	// While the server is away, what is known stands. It comes back without the versions that the
	// watches ask for, and tells them so in the stream.
	old := versionOf(t, c)
	c.Stop()
	becomes(t, s, "web 3 0.6")
	lists := times(c)["list deployments.apps"]
	c.Forget()
	c.Restart()
	expires(t, c, old)
	c.Apply(fmt.Sprintf(shopWeb, 4, "500m"))
	c.Status("shop", "vpa/web", recommends("700m"))
	becomes(t, s, "web 4 0.7")
	if times(c)["list deployments.apps"] == lists {
		t.Error("deployments were not listed anew: the watches had not expired")
	}

	c.Kubectl("delete", "deployment/web", "--namespace=shop")
	becomes(t, s, "web 2 0.7") // its pods are left: of those there are two
	c.Kubectl("delete", "pods", "--all", "--namespace=shop", "--force", "--grace-period=0")
	becomes(t, s, "web 0 –")
	c.Kubectl("delete", "vpa/web", "--namespace=shop")
	becomes(t, s, "")

	// The API goes as it came.
	c.Apply(shopVPA)
	becomes(t, s, "web 0 –")
	c.Kubectl("delete", "crd/verticalpodautoscalers.autoscaling.k8s.io")
	becomes(t, s, "")

	allowed, answered := granted(t), times(c)
	for _, one := range c.Asked("yoyu", "yoyu") {
		if one.Namespace = ""; !allowed[one.String()] {
			t.Errorf("%v is not what the role is about", one)
		}
	}
	for _, one := range slices.Sorted(maps.Keys(allowed)) {
		if answered[one] == 0 {
			t.Errorf("the role is to allow %s, which was never asked for and answered", one)
		}
	}
}

// The token of yoyu's ServiceAccount opens nothing else, and a role that lacks something is told
// with the words that mend it.
func TestRealRole(t *testing.T) {
	c, s := deployed(t, io.Discard)
	c.Apply(c.VPA())
	c.Apply(fmt.Sprintf(shopWeb, 2, "500m"))
	c.Established("verticalpodautoscalers.autoscaling.k8s.io")
	c.Apply(shopVPA)
	becomes(t, s, "web 2 0") // without running: everything is listed each time

	own := c.Kubeconfig("yoyu", "yoyu")
	for _, one := range [][]string{
		{"get", "secrets", "--all-namespaces"},
		{"get", "configmaps", "--namespace=yoyu"},
		{"get", "nodes"},
		{"get", "deployment/web", "--namespace=shop"}, // one by name is not asked for either
		{"scale", "deployment/web", "--namespace=shop", "--replicas=0"},
		{"delete", "vpa/web", "--namespace=shop"},
		{"create", "token", "yoyu", "--namespace=yoyu"},
	} {
		if out, err := c.Try(own, "", one...); err == nil || !strings.Contains(strings.ToLower(err.Error()), "forbidden") {
			t.Errorf("kubectl %s: %v, want Forbidden\n%s", strings.Join(one, " "), err, out)
		}
	}

	c.Kubectl("patch", "clusterrole/yoyu", "--type=json", "--patch", `[{"op":"remove","path":"/rules/1"}]`)
	const want = `403 Forbidden: deployments.apps is forbidden: User "system:serviceaccount:yoyu:yoyu" cannot list resource "deployments" in API group "apps" at the cluster scope (needed: verb list on deployments in API group apps)`
	refused := func() bool {
		_, err := s.Collect(t.Context(), slo.Span{})
		return err != nil && strings.Contains(err.Error(), want)
	}
	awaits(t, want, refused)
	c.Kubectl("apply", "-k", base)
	becomes(t, s, "web 2 0")
}

// The roles that are shipped for some namespaces are enough where yoyu is told their names: it asks
// for nothing of the cluster as a whole or of another namespace, and in each for all that they allow.
func TestRealNamespaces(t *testing.T) {
	c := kubetest.Start(t)
	c.Kubectl("apply", "-f", base+"/../namespace.yaml")
	for _, name := range []string{"shop", "payments", "other"} {
		c.Kubectl("create", "namespace", name)
	}
	c.Kubectl("apply", "-k", base+"/../overlays/namespaced")
	c.Apply(c.VPA())
	c.Established("verticalpodautoscalers.autoscaling.k8s.io")
	for i, namespace := range []string{"shop", "payments", "other"} {
		c.Apply(strings.ReplaceAll(fmt.Sprintf(shopWeb, 2+i, "500m"), "shop", namespace))
		c.Apply(strings.ReplaceAll(shopVPA, "shop", namespace))
	}
	s, err := New(Options{Config: Config{Kubeconfig: c.Kubeconfig("yoyu", "yoyu"), Namespaces: []string{"shop", "payments"}}})
	if err != nil {
		t.Fatal(err)
	}
	running(t, s)
	becomes(t, s, "web 3 0, web 2 0") // payments, shop

	allowed := granted(t)
	want := map[string]bool{}
	for one := range allowed {
		for _, namespace := range s.namespaces {
			want[one+" in "+namespace] = true
		}
	}
	answered := func() map[string]bool {
		all := map[string]bool{}
		for _, one := range c.Asked("yoyu", "yoyu") {
			if one.Allowed {
				all[one.String()] = true
			}
		}
		return all
	}
	podsUsed := "list " + podMetrics.full() + " in payments"
	awaits(t, "all that the roles allow", func() bool {
		got := answered()
		for one := range want {
			// This server has no metrics: once it has said so, the other namespaces are not asked for.
			if one != podsUsed && !got[one] {
				return false
			}
		}
		return true
	})
	for _, one := range c.Asked("yoyu", "yoyu") {
		if !want[one.String()] {
			t.Errorf("%v is not what the roles are about", one)
		}
	}
}

// The same on the oldest API server that is supported.
func TestRealOldest(t *testing.T) {
	kubetest.Oldest(t)
	t.Run("server", TestRealServer)
	t.Run("role", TestRealRole)
	t.Run("namespaces", TestRealNamespaces)
}

// What is asked and what is allowed are written in two places; this holds them together where
// there is no real server.
func TestRole(t *testing.T) {
	allowed := granted(t)
	want := map[string]bool{}
	for _, k := range kinds {
		for _, verb := range []string{"list", "watch"} {
			want[verb+" "+k.full()] = true
		}
	}
	want["list "+podMetrics.full()] = true // they cannot be watched
	if !maps.Equal(allowed, want) {
		t.Errorf("clusterrole.yaml allows\n%v\nand the source asks for\n%v", slices.Sorted(maps.Keys(allowed)), slices.Sorted(maps.Keys(want)))
	}
}

// granted is what the role that is shipped allows, each as "list deployments.apps".
func granted(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(base + "/clusterrole.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role struct {
		Rules []struct {
			Groups    []string `json:"apiGroups"`
			Resources []string `json:"resources"`
			Verbs     []string `json:"verbs"`
		} `json:"rules"`
	}
	if err := yaml.Unmarshal(text, &role); err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, rule := range role.Rules {
		for _, group := range rule.Groups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all[kubetest.Request{Verb: verb, Group: group, Resource: resource}.String()] = true
				}
			}
		}
	}
	return all
}

// times counts what yoyu has asked so far and was not refused. A server that has just been started
// refuses everybody until it has read its roles.
func times(c *kubetest.Cluster) map[string]int {
	count := map[string]int{}
	for _, one := range c.Asked("yoyu", "yoyu") {
		if one.Namespace = ""; one.Allowed {
			count[one.String()]++
		}
	}
	return count
}

// pods makes what the controllers of a cluster would have made of shopWeb: a ReplicaSet and two
// pods, one of them larger and killed for its memory, and beside them an autoscaler.
func pods(t *testing.T, c *kubetest.Cluster) {
	t.Helper()
	uid := func(object string) string {
		return c.Kubectl("get", object, "--namespace=shop", "--output=jsonpath={.metadata.uid}")
	}
	owned := func(kind, by string) string {
		return fmt.Sprintf("[{apiVersion: apps/v1, kind: %s, name: %s, uid: %s, controller: true}]",
			kind, by, uid(strings.ToLower(kind)+"/"+by))
	}
	c.Apply(`apiVersion: apps/v1
kind: ReplicaSet
metadata: {namespace: shop, name: web-1, labels: {app: web}, annotations: {deployment.kubernetes.io/revision: "1"}, ownerReferences: ` + owned("Deployment", "web") + `}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: "registry.example/web:1"}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {namespace: shop, name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
`)
	for name, cpu := range map[string]string{"web-1-a": "500m", "web-1-b": "700m"} {
		c.Apply(`apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: ` + name + `, labels: {app: web}, ownerReferences: ` + owned("ReplicaSet", "web-1") + `}
spec:
  containers: [{name: app, image: "registry.example/web:1", resources: {requests: {cpu: ` + cpu + `, memory: 512Mi}, limits: {memory: 1Gi}}}]
`)
	}
	c.Status("shop", "pod/web-1-a", `{"phase":"Running"}`)
	c.Status("shop", "pod/web-1-b", `{"phase":"Running","containerStatuses":[{"name":"app","image":"registry.example/web:1","imageID":"","ready":true,"restartCount":1,
		"state":{"running":{"startedAt":"2026-11-01T12:00:05Z"}},
		"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled","startedAt":"2026-11-01T09:00:00Z","finishedAt":"2026-11-01T12:00:00Z"}}}]}`)
}

// settles waits until the one workload is so.
func settles(t *testing.T, s *Source, what string, so func(rightsizing.Workload) bool) {
	t.Helper()
	awaits(t, what, func() bool {
		found, err := s.Collect(t.Context(), slo.Span{})
		return err == nil && len(found) == 1 && len(found[0].Containers) > 0 && so(found[0])
	})
}

func awaits(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !so() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("still waiting for %s", what)
		}
	}
}

// versionOf is the version that a list of Deployments has now.
func versionOf(t *testing.T, c *kubetest.Cluster) string {
	t.Helper()
	var list page
	c.Get(deployPath, func(r io.Reader) error { return json.NewDecoder(r).Decode(&list) })
	if list.Metadata.Version == "" {
		t.Fatal("a list without a version")
	}
	return list.Metadata.Version
}

// expires makes sure that the server answers a watch from an old version as one of a long-running
// cluster does: 200, and within the stream that the version is gone.
func expires(t *testing.T, c *kubetest.Cluster, version string) {
	t.Helper()
	var event struct {
		Type   string `json:"type"`
		Object struct {
			Code   int    `json:"code"`
			Reason string `json:"reason"`
		} `json:"object"`
	}
	c.Get(deployPath+"?watch=1&resourceVersion="+version, func(r io.Reader) error { return json.NewDecoder(r).Decode(&event) })
	if event.Type != "ERROR" || event.Object.Code != 410 || event.Object.Reason != "Expired" {
		t.Fatalf("a watch from version %s begins with %+v, want an error in the stream: 410 Expired", version, event)
	}
}

// rollouts is a kind of somebody else's that can be scaled, as a cluster may have any.
const rollouts = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io}
spec:
  group: argoproj.io
  scope: Namespaced
  names: {kind: Rollout, plural: rollouts}
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
      subresources:
        status: {}
        scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
`

// A kind that is not read is known by its scale, once the role allows that: the server finds the kind's
// name in addresses, how many pods it wants, and which they are though nobody owns them.
func TestRealScale(t *testing.T) {
	var log safeBuffer
	c, s := deployed(t, &log)
	c.Apply(c.VPA())
	c.Apply(rollouts)
	c.Established("verticalpodautoscalers.autoscaling.k8s.io", "rollouts.argoproj.io")
	c.Apply("apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {namespace: shop, name: web}\nspec: {replicas: 3}\n")
	c.Status("shop", "rollouts.argoproj.io/web", `{"replicas":1,"selector":"app=web"}`)
	for _, app := range []string{"web", "other"} {
		c.Apply(fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: %[1]s-1, labels: {app: %[1]s}}
spec:
  containers: [{name: app, image: "registry.example/web:1", resources: {requests: {cpu: 700m}}}]
`, app))
	}
	c.Apply(strings.NewReplacer("apps/v1", "argoproj.io/v1alpha1", "Deployment", "Rollout").Replace(shopVPA))
	c.Status("shop", "vpa/web", recommends("600m"))

	becomes(t, s, "web 0 –")
	if want := "verb get on rollouts/scale in API group argoproj.io"; !strings.Contains(log.String(), want) {
		t.Errorf("the log does not say %q:\n%s", want, log.String())
	}

	c.Kubectl("create", "clusterrole", "yoyu-scale", "--verb=get", "--resource=rollouts.argoproj.io/scale")
	c.Kubectl("create", "clusterrolebinding", "yoyu-scale", "--clusterrole=yoyu-scale", "--serviceaccount=yoyu:yoyu")
	own := c.Kubeconfig("yoyu", "yoyu")
	awaits(t, "the role", func() bool {
		_, err := c.Try(own, "", "get", "rollouts.argoproj.io/web", "--namespace=shop", "--subresource=scale")
		return err == nil
	})
	s, err := New(Options{Name: "cluster", Config: Config{Kubeconfig: own}}) // the one before remembers for a minute that it was refused
	if err != nil {
		t.Fatal(err)
	}
	becomes(t, s, "web 3 0.6")
	w := collect(t, s)[0]
	if w.Condition != "" || len(w.Containers) != 1 || w.Containers[0].Place != rightsizing.Injected || w.Containers[0].CPU.Request != is(0.7) {
		t.Errorf("%+v; want the container of the pod that the scale chooses", w)
	}
}

// The pods that a selector chooses are targets for as long as they run; while the server is away, those
// that it named last stand.
func TestRealPods(t *testing.T) {
	c, _ := deployed(t, io.Discard)
	start := func(name, app, address string) {
		t.Helper()
		c.Apply(fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: %s, labels: {app: %s}}
spec:
  containers: [{name: app, image: "registry.example/web:1", ports: [{name: web, containerPort: 8080}, {name: metrics, containerPort: 9090}]}]
`, name, app))
		if address != "" {
			c.Status("shop", "pod/"+name, fmt.Sprintf(`{"phase":"Running","podIP":%q,"podIPs":[{"ip":%[1]q}]}`, address))
		}
	}
	p, err := NewPods(PodsConfig{Kubeconfig: c.Kubeconfig("yoyu", "yoyu"), Namespaces: []string{"shop"}, Selector: "app=checkout", Port: "metrics"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	followed := p.Follow(ctx)
	defer func() { stop(); followed() }()
	targets := func(want ...string) {
		t.Helper()
		awaits(t, fmt.Sprint(want), func() bool {
			got, err := p.Addresses(t.Context())
			return err == nil && slices.Equal(got, want)
		})
	}
	start("checkout-1", "checkout", "10.1.0.1")
	start("checkout-2", "checkout", "10.1.0.2")
	start("checkout-3", "checkout", "") // pending
	start("other-1", "other", "10.1.0.4")
	targets("10.1.0.1:9090", "10.1.0.2:9090")
	c.Kubectl("delete", "pod/checkout-1", "--namespace=shop", "--force", "--grace-period=0")
	targets("10.1.0.2:9090")
	c.Status("shop", "pod/checkout-3", `{"phase":"Running","podIP":"10.1.0.3","podIPs":[{"ip":"10.1.0.3"}]}`)
	targets("10.1.0.2:9090", "10.1.0.3:9090")
	c.Stop()
	awaits(t, "the watch to fail", func() bool {
		m := (*p.mirrors.Load())[0]
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.trouble != nil
	})
	targets("10.1.0.2:9090", "10.1.0.3:9090")
}
