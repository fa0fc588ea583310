package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/yoyu-sre/yoyu/internal/kubetest"
)

const checkoutDeployment = `apiVersion: apps/v1
kind: Deployment
metadata: {namespace: shop, name: checkout, labels: {app.kubernetes.io/part-of: checkout}}
spec:
  replicas: 2
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}}
    spec:
      containers:
        - name: proxy
          image: registry.example/proxy:1
        - name: app
          image: registry.example/checkout:1
          resources: {requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 512Mi}}
`

const checkoutVPA = `apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {namespace: shop, name: checkout}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: checkout}
  updatePolicy: {updateMode: "Off"}
  resourcePolicy: {containerPolicies: [{containerName: proxy, mode: "Off"}]}
`

// checkoutPods makes the ReplicaSet and the pods that a cluster would make of checkoutDeployment.
func checkoutPods(c *kubetest.Cluster) (names []string) {
	uid := func(object string) string {
		return c.Kubectl("get", object, "--namespace=shop", "--output=jsonpath={.metadata.uid}")
	}
	c.Apply(fmt.Sprintf(`apiVersion: apps/v1
kind: ReplicaSet
metadata:
  namespace: shop
  name: checkout-1
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: checkout, uid: %s, controller: true}]
spec:
  selector: {matchLabels: {app: checkout}}
  template: {metadata: {labels: {app: checkout}}, spec: {containers: [{name: app, image: "registry.example/checkout:1"}]}}
`, uid("deployment/checkout")))
	for _, name := range []string{"checkout-1-a", "checkout-1-b"} {
		c.Apply(fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata:
  namespace: shop
  name: %s
  labels: {app: checkout}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: checkout-1, uid: %s, controller: true}]
spec:
  containers:
    - {name: proxy, image: "registry.example/proxy:1"}
    - {name: app, image: "registry.example/checkout:1", resources: {requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 512Mi}}}
`, name, uid("replicaset/checkout-1")))
		c.Status("shop", "pod/"+name, `{"phase":"Running"}`) // the recommender leaves others out
		names = append(names, name)
	}
	return names
}

// uses writes down what a pod was using at a moment, in the place of a kubelet.
func uses(c *kubetest.Cluster, pod string, at time.Time, cpu, memory string) {
	c.Apply(fmt.Sprintf(`apiVersion: metrics.k8s.io/v1beta1
kind: PodMetrics
metadata: {namespace: shop, name: %s, labels: {app: checkout}}
timestamp: %s
window: 15s
containers: [{name: app, usage: {cpu: "%s", memory: %s}}, {name: proxy, usage: {cpu: 10m, memory: 20Mi}}]
`, pod, at.UTC().Format(time.RFC3339), cpu, memory))
}

// The real recommender sees pods that use far more than they ask for. yoyu, with the role that is
// shipped, turns what it recommends into series, a verdict that the burning SLO makes urgent, and a
// line of kubectl. The server takes that line once; the second time, and once somebody else was
// quicker, it refuses it whole.
func TestRecommendation(t *testing.T) {
	c := kubetest.Start(t)
	base := filepath.Join("..", "..", "deploy", "kubernetes")
	c.Kubectl("apply", "-f", filepath.Join(base, "namespace.yaml"))
	c.Kubectl("apply", "-k", filepath.Join(base, "base"))
	c.Kubectl("create", "namespace", "shop")
	c.Apply(c.VPA())
	c.Apply(kubetest.PodMetrics)
	c.Established("verticalpodautoscalers.autoscaling.k8s.io",
		"verticalpodautoscalercheckpoints.autoscaling.k8s.io", "pods.metrics.k8s.io")
	c.Apply(checkoutDeployment)
	c.Apply(checkoutVPA)
	pods := checkoutPods(c)
	// Of one sample the recommender is sure of nothing, and its lower bound is next to nothing. With a
	// second one ten minutes later the bound is above what the pods ask for.
	for _, name := range pods {
		uses(c, name, time.Now().Add(-10*time.Minute), "2", "3Gi")
	}
	c.Recommend()
	until(t, "a first recommendation", func() (bool, string) {
		said := c.Kubectl("get", "vpa/checkout", "--namespace=shop", "--output=jsonpath={.status.recommendation}")
		return said != "", "no recommendation"
	})
	for _, name := range pods {
		uses(c, name, time.Now(), "2", "3Gi")
	}
	until(t, "a recommendation that is sure enough", func() (bool, string) {
		said := c.Kubectl("get", "vpa/checkout", "--namespace=shop", "--output=jsonpath={.status.recommendation.containerRecommendations[0].lowerBound.cpu}")
		lower, err := resource.ParseQuantity(said)
		return err == nil && lower.Cmp(resource.MustParse("500m")) > 0, "the lower bound is " + said
	})

	target, page := pod(t)
	page.Store("requests_total{code=\"200\"} 1000\n")
	y := startYoyu(t, freeAddress(t), fmt.Sprintf(`
tick: 1s
sources:
  - {name: pods, type: scrape, targets: ["http://%s/metrics"]}
  - {name: cluster, type: kubernetes, kubeconfig: %q}
defaults: {source: pods, period: 30d}
slos:
  - name: checkout-availability
    service: checkout
    objective: 99.9
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
rightsizing:
  source: cluster
  prices: {cpu_core_hour: 0.05, memory_gib_hour: 0.005, currency: USD}
`, target, c.Kubeconfig("yoyu", "yoyu")))
	until(t, "the first look at the traffic", func() (bool, string) {
		return y.slo("checkout-availability").Windows["1h"].Coverage > 0, ""
	})
	page.Store("requests_total{code=\"200\"} 1900\nrequests_total{code=\"500\"} 100\n")

	// Without new metrics the recommendation stands still: yoyu and the server have to agree.
	until(t, "the recommendation as series", func() (bool, string) {
		text, err := get("http://" + y.address + "/metrics")
		if err != nil {
			return false, err.Error()
		}
		var status struct {
			Recommendation struct {
				Containers []struct {
					Name                           string `json:"containerName"`
					Target, LowerBound, UpperBound map[string]resource.Quantity
				} `json:"containerRecommendations"`
			} `json:"recommendation"`
		}
		said := c.Kubectl("get", "vpa/checkout", "--namespace=shop", "--output=jsonpath={.status}")
		if said == "" {
			return false, "no status yet"
		}
		if err := json.Unmarshal([]byte(said), &status); err != nil {
			return false, err.Error()
		}
		if n := len(status.Recommendation.Containers); n != 1 || status.Recommendation.Containers[0].Name != "app" {
			return false, "recommended: " + said
		}
		one := status.Recommendation.Containers[0]
		for bound, want := range map[string]map[string]resource.Quantity{"target": one.Target, "lower": one.LowerBound, "upper": one.UpperBound} {
			for name, family := range map[string]string{"cpu": "vpa_recommendation_cpu_cores", "memory": "vpa_recommendation_memory_bytes"} {
				amount := want[name]
				labels := fmt.Sprintf(`{bound=%q,container="app",namespace="shop",vpa="checkout",workload="checkout",workload_kind="Deployment"}`, bound)
				if got, ok := series(text, family+labels); !ok || !same(got, amount) {
					return false, fmt.Sprintf("%s%s is %v, the status says %v\n%s", family, labels, got, amount.String(), said)
				}
			}
		}
		if target := one.Target["cpu"]; target.Cmp(resource.MustParse("2")) < 0 {
			return false, "it recommends less than is used: " + said
		}
		return true, ""
	})

	var w rightsizingJSON
	until(t, "a raise that is urgent", func() (bool, string) {
		w = y.workload("shop", "checkout")
		return w.Verdict == "raise" && w.Urgency == 3 && slices.Equal(w.Services, []string{"checkout"}), fmt.Sprintf("%+v", w)
	})
	text, err := get("http://" + y.address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	const of = `namespace="shop",`
	const workload = `workload="checkout",workload_kind="Deployment"}`
	for line, least := range map[string]float64{
		`rightsizing_verdict{` + of + `verdict="raise",` + workload:                              1,
		`slo_workload_info{` + of + `service="checkout",` + workload:                             1,
		`rightsizing_replicas{` + of + workload:                                                  2,
		`rightsizing_request_cpu_cores{container="app",` + of + workload:                         0.1,
		`rightsizing_proposed_request_cpu_cores{container="app",` + of + workload:                2,
		`rightsizing_hourly_cost{currency="USD",` + of + workload:                                2 * (1.9*0.05 + 2.75*0.005),
		`vpa_checkpoint_last_update_timestamp_seconds{container="app",` + of + `vpa="checkout"}`: 1e9,
	} {
		if got, ok := series(text, line); !ok || got < least {
			t.Errorf("%s is %v, want at least %v", line, got, least)
		}
	}
	if got, _ := series(text, `rightsizing_headroom_cpu_cores{container="app",`+of+workload); got > -1.9 {
		t.Errorf("headroom is %v cores, want a need of about two", got)
	}

	line := patchLine(t, y)
	before := resources(c)
	if out, err := shell(c, line); err != nil || !strings.Contains(out, "deployment.apps/checkout patched") {
		t.Fatalf("%s\n%v\n%s", line, err, out)
	}
	after := resources(c)
	if after[0] != before[0] {
		t.Errorf("the proxy, which its VPA is to leave alone, became %s", after[0])
	}
	var now struct{ Requests, Limits map[string]resource.Quantity }
	if err := json.Unmarshal([]byte(after[1]), &now); err != nil {
		t.Fatal(err)
	}
	cpu, memory, limit := now.Requests["cpu"], now.Requests["memory"], now.Limits["memory"]
	if cpu.Cmp(resource.MustParse("2")) < 0 || memory.Cmp(resource.MustParse("3Gi")) < 0 || limit.Cmp(memory) < 0 {
		t.Errorf("the container became %s", after[1])
	}
	until(t, "yoyu to see the change", func() (bool, string) {
		text, err := get("http://" + y.address + "/metrics")
		if err != nil {
			return false, err.Error()
		}
		got, _ := series(text, `rightsizing_request_cpu_cores{container="app",`+of+workload)
		return same(got, cpu), fmt.Sprint(got)
	})

	refused := func(when string) {
		t.Helper()
		before := resources(c)
		out, err := shell(c, line)
		if err == nil || !strings.Contains(out, "The request is invalid") {
			t.Errorf("%s the line is answered with %v\n%s\nwant it refused", when, err, out)
		}
		if out, err := shell(c, unguarded(t, line)+" --dry-run=server"); err != nil {
			t.Errorf("%s it was not the tests of the line that refused it, for without them: %v\n%s", when, err, out)
		}
		if after := resources(c); !slices.Equal(after, before) {
			t.Errorf("%s the line has changed %v into %v", when, before, after)
		}
	}
	refused("a second time")
	c.Apply(checkoutDeployment)
	c.Kubectl("set", "resources", "deployment/checkout", "--namespace=shop", "--containers=app", "--requests=memory=300Mi")
	refused("after somebody else's change of one number")
	c.Apply(strings.ReplaceAll(checkoutDeployment, "name: app\n", "name: worker\n"))
	refused("after a container took another's place")
	c.Apply(checkoutDeployment)
	if out, err := shell(c, line); err != nil {
		t.Errorf("once all is as it was: %v\n%s", err, out)
	}

	for _, one := range c.Asked("yoyu", "yoyu") {
		if !one.Allowed || one.Verb != "list" && one.Verb != "watch" {
			t.Errorf("yoyu asked the server: %v, allowed %t", one, one.Allowed)
		}
	}
}

// rightsizingJSON is the part of a workload's JSON that the tests read.
type rightsizingJSON struct {
	Namespace, Workload, Verdict, Gate, Sentence string
	Urgency                                      int
	Services                                     []string
}

func (y *yoyu) workload(namespace, name string) rightsizingJSON {
	y.t.Helper()
	text, err := get("http://" + y.address + "/api/v1/rightsizing")
	if err != nil {
		y.t.Fatal(err)
	}
	var d struct{ Workloads []rightsizingJSON }
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		y.t.Fatalf("%v in %s", err, text)
	}
	for _, w := range d.Workloads {
		if w.Namespace == namespace && w.Workload == name {
			return w
		}
	}
	return rightsizingJSON{}
}

// patchLine is the one line of kubectl that yoyu prints.
func patchLine(t *testing.T, y *yoyu) string {
	t.Helper()
	command := exec.Command(filepath.Join(binaries, "yoyu"), "rightsizing", "--url=http://"+y.address, "--output=patch")
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	if err := command.Run(); err != nil {
		t.Fatalf("yoyu rightsizing: %v\n%s", err, errs.String())
	}
	lines := regexp.MustCompile(`(?m)^kubectl .*$`).FindAllString(out.String(), -1)
	if len(lines) != 1 {
		t.Fatalf("%d lines of kubectl, want one:\n%s", len(lines), out.String())
	}
	return lines[0]
}

// unguarded is a line without the tests of its patch.
func unguarded(t *testing.T, line string) string {
	t.Helper()
	before, patch, found := strings.Cut(line, "--patch '")
	patch, after, ended := strings.Cut(patch, "'")
	var all, changes []map[string]any
	if err := json.Unmarshal([]byte(patch), &all); err != nil || !found || !ended {
		t.Fatalf("%s: no patch: %v", line, err)
	}
	for _, one := range all {
		if one["op"] != "test" {
			changes = append(changes, one)
		}
	}
	text, err := json.Marshal(changes)
	if err != nil || len(changes) == len(all) || len(changes) == 0 {
		t.Fatalf("%s: no tests, or nothing else: %v", line, err)
	}
	return before + "--patch '" + string(text) + "'" + after
}

// shell runs a line as an operator pastes it.
func shell(c *kubetest.Cluster, line string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	command := exec.CommandContext(ctx, "bash", "-c", line)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.Admin(), "PATH="+c.Path()+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := command.CombinedOutput()
	return string(out), err
}

// resources are those of the containers of the Deployment, as JSON.
func resources(c *kubetest.Cluster) []string {
	return strings.Split(strings.TrimSuffix(c.Kubectl("get", "deployment/checkout", "--namespace=shop",
		`--output=jsonpath={range .spec.template.spec.containers[*]}{.resources}{"\n"}{end}`), "\n"), "\n")
}

// same tells whether a number is a quantity but for the last bits of its decimals.
func same(number float64, amount resource.Quantity) bool {
	return math.Abs(number-amount.AsApproximateFloat64()) <= 1e-12*number
}

// series is the value of a line of an exposition.
func series(text, name string) (value float64, ok bool) {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, name+" "); found {
			_, err := fmt.Sscan(rest, &value)
			return value, err == nil
		}
	}
	return 0, false
}
