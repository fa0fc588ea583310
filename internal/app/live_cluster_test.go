package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/kubetest"
	"github.com/yoyu-sre/yoyu/internal/realtest"
)

// A real API server, asked by yoyu's own account: what it lacks is said, what the role refuses is a
// fault that names the kind, and nothing is said that is not so.
func TestCheckLiveOfCluster(t *testing.T) {
	const manifests = "../../deploy/kubernetes"
	c := kubetest.Start(t)
	c.Kubectl("apply", "-f", manifests+"/namespace.yaml")
	c.Kubectl("apply", "-k", manifests+"/base")
	file := write(t, fmt.Sprintf("sources: [{name: cluster, type: kubernetes, kubeconfig: %q}]\nrightsizing: {source: cluster}\n", c.Kubeconfig("yoyu", "yoyu")))
	becomes := func(what string, code int, says []string, never ...string) {
		t.Helper()
		checks(t, file, what, code, says, never...)
	}
	const (
		noVPA     = "autoscaling.k8s.io/v1 verticalpodautoscalers: the cluster has no such API"
		noMetrics = "source cluster: use of pods in all namespaces: 404 Not Found: the server has no pods.metrics.k8s.io"
		all       = "source cluster: all 14 kinds of objects can be listed and watched"
	)
	becomes("a cluster without VPA", 0, []string{"source cluster: " + noVPA, noMetrics}, all, "403")
	c.Apply(c.VPA())
	c.Established("verticalpodautoscalers.autoscaling.k8s.io")
	becomes("a cluster with VPA", 0, []string{all, noMetrics}, noVPA)

	c.Kubectl("patch", "clusterrole/yoyu", "--type=json", "--patch", `[{"op":"replace","path":"/rules/2/verbs","value":["list"]}]`)
	becomes("a role that may list jobs but not watch them", exitFault,
		[]string{"config.yaml:1:11: sources[0] cluster: jobs in all namespaces: 403 Forbidden", "(needed: verb watch on cronjobs in API group batch)"}, all, "verb list")
	c.Kubectl("patch", "clusterrole/yoyu", "--type=json", "--patch", `[{"op":"remove","path":"/rules/1"}]`)
	becomes("a role without workloads", exitFault,
		[]string{"(needed: verb list on deployments in API group apps)", "(needed: verb list on controllerrevisions in API group apps)"}, all)

	c.Stop()
	becomes("a cluster that is away", exitFault, []string{"config.yaml:1:11: sources[0] cluster: verticalpodautoscalers in all namespaces: "}, all)
}

// checks has check --live say of a file what is wanted. Roles, and what a new kind is, reach the server's
// own caches a moment after they are written.
func checks(t *testing.T, file, what string, code int, says []string, never ...string) {
	t.Helper()
	var got int
	var said string
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute) // a busy machine is no failure
	defer stop()
	err := realtest.Poll(ctx, nil, func() bool {
		var out strings.Builder
		got = Main(t.Context(), []string{"check", "--live", file}, &out, new(strings.Builder))
		said = out.String()
		for _, one := range says {
			if !strings.Contains(said, one) {
				return false
			}
		}
		for _, one := range never {
			if strings.Contains(said, one) {
				return false
			}
		}
		return got == code
	})
	if err != nil {
		t.Fatalf("%s: exit %d, want %d; want %q and none of %q in\n%s", what, got, code, says, never, said)
	}
}

// An account that has roles in some namespaces only: each that the configuration names is asked, and
// nothing else; what asks for all of them is a fault and is told what to do.
func TestCheckLiveOfNamespaces(t *testing.T) {
	const manifests = "../../deploy/kubernetes"
	c := kubetest.Start(t)
	c.Kubectl("apply", "-f", manifests+"/namespace.yaml")
	for _, name := range []string{"shop", "payments", "other"} {
		c.Kubectl("create", "namespace", name)
	}
	c.Kubectl("apply", "-k", manifests+"/overlays/namespaced")
	c.Apply(c.VPA())
	c.Established()
	own := c.Kubeconfig("yoyu", "yoyu")
	configured := func(namespaces string) string {
		return write(t, fmt.Sprintf("sources: [{name: cluster, type: kubernetes, kubeconfig: %q%s}]\nrightsizing: {source: cluster}\n", own, namespaces))
	}
	const (
		all     = "source cluster: all 14 kinds of objects can be listed and watched in each namespace: shop, payments\n"
		named   = ", namespaces: [shop, payments]"
		refused = "config.yaml:1:11: sources[0] cluster: "
		advice  = "source cluster: the account may read nothing in all namespaces: where its roles allow some of them only, name these under namespaces\n"
	)
	checks(t, configured(named), "the overlay's namespaces", 0,
		[]string{all, "source cluster: use of pods in namespace shop: 404 Not Found: the server has no pods.metrics.k8s.io"},
		"403", "all namespaces", "pods in namespace payments")
	for _, one := range c.Asked("yoyu", "yoyu") {
		if one.Namespace != "shop" && one.Namespace != "payments" {
			t.Errorf("asked to %v: neither namespace is meant", one)
		}
	}

	checks(t, configured(", namespaces: [shop, other]"), "a namespace without a role", exitFault,
		[]string{
			refused + "deployments in namespace other: 403 Forbidden", refused + "pods in namespace other: 403 Forbidden",
			"(needed: verb list on deployments in API group apps)",
			"source cluster: use of pods in namespace shop: 404 Not Found",
		}, "can be listed and watched", "namespace shop: 403", "in all namespaces")
	checks(t, configured(""), "all namespaces", exitFault,
		[]string{refused + "verticalpodautoscalers in all namespaces: 403 Forbidden", refused + "resourcequotas in all namespaces: 403 Forbidden", advice},
		"can be listed and watched", "without a metrics server")

	// The same holds for a source that finds pods.
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "http_requests_total{code=\"200\"} 99\nhttp_requests_total{code=\"500\"} 1\n")
	}))
	defer page.Close()
	host, port, err := net.SplitHostPort(page.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	scraped := func(namespaces string) string {
		return write(t, fmt.Sprintf(`sources: [{name: pods, type: scrape, kubernetes: {port: metrics, kubeconfig: %q%s}}]
slos: [{name: it, service: shop, objective: 99, period: 30d, indicator: {counters: {total: http_requests_total, bad: 'http_requests_total{code="500"}'}}}]
`, own, namespaces))
	}
	const kubernetes = "sources[0] pods: kubernetes: "
	checks(t, scraped(named), "namespaces without pods", exitFault, []string{kubernetes + `no pod runs that selector "" and port "metrics" mean`}, "403")
	c.Apply(fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {namespace: payments, name: web}
spec: {containers: [{name: app, image: "registry.example/web:1", ports: [{name: metrics, containerPort: %s}]}]}
`, port))
	c.Status("payments", "pod/web", fmt.Sprintf(`{"phase":"Running","podIP":%q,"podIPs":[{"ip":%[1]q}]}`, host))
	checks(t, scraped(named), "a pod in one of the namespaces", 0,
		[]string{"slo it: source pods: 2 series of total and 1 of bad on 1 of 1 page; 1 of 100 events bad since the targets began\n"})
	checks(t, scraped(", namespaces: [payments, other]"), "pods of a namespace without a role", exitFault,
		[]string{kubernetes + "pods: pods in namespace other: 403 Forbidden"}, "namespace payments: 403")
	checks(t, scraped(""), "pods of all namespaces", exitFault, []string{kubernetes + "pods: pods in all namespaces: 403 Forbidden"})

	// What pods use is nice to have: each namespace that does not let it be read is told, and none is a fault.
	c.Kubectl("patch", "role/yoyu", "--namespace=shop", "--type=json", "--patch", `[{"op":"remove","path":"/rules/5"}]`)
	checks(t, configured(named), "a role without the use of pods", 0, []string{
		all, "source cluster: use of pods in namespace shop: 403 Forbidden", ": until it may be read nobody knows",
		"source cluster: use of pods in namespace payments: 404 Not Found",
	})
	c.Kubectl("patch", "role/yoyu", "--namespace=payments", "--type=json", "--patch", `[{"op":"remove","path":"/rules/1"}]`)
	checks(t, configured(named), "a role without workloads", exitFault,
		[]string{refused + "deployments in namespace payments: 403 Forbidden", refused + "replicasets in namespace payments: 403 Forbidden"},
		"can be listed and watched", refused+"pods in namespace shop", advice)
}

// The same on the oldest API server that is supported.
func TestCheckLiveOfOldestCluster(t *testing.T) {
	kubetest.Oldest(t)
	t.Run("cluster", TestCheckLiveOfCluster)
	t.Run("namespaces", TestCheckLiveOfNamespaces)
}
