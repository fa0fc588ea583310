package app

import (
	"context"
	"fmt"
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
	look := func() (int, string) {
		var out strings.Builder
		code := Main(t.Context(), []string{"check", "--live", file}, &out, new(strings.Builder))
		return code, out.String()
	}
	// Roles, and what a new kind is, reach the server's own caches a moment after they are written.
	becomes := func(what string, code int, says []string, never ...string) {
		t.Helper()
		var got int
		var said string
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		err := realtest.Poll(ctx, nil, func() bool {
			got, said = look()
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
	const (
		noVPA     = "autoscaling.k8s.io/v1 verticalpodautoscalers: the cluster has no such API"
		noMetrics = "source cluster: use of pods in all namespaces: 404 Not Found: the server has no pods.metrics.k8s.io"
		all       = "source cluster: all 14 kinds of objects can be listed and watched"
	)
	becomes("a cluster without VPA", 0, []string{"source cluster: " + noVPA, noMetrics}, all, "403")
	c.Apply(c.VPA())
	c.Kubectl("wait", "--for=condition=Established", "crd/verticalpodautoscalers.autoscaling.k8s.io")
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

// The same on the oldest API server that is supported.
func TestCheckLiveOfOldestCluster(t *testing.T) {
	kubetest.Oldest(t)
	TestCheckLiveOfCluster(t)
}
