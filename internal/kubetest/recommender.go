package kubetest

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/yoyu-sre/yoyu/internal/realtest"
)

// VPA is the manifest of the VPA's CRDs, as its release ships it.
func (c *Cluster) VPA() string {
	c.t.Helper()
	program := realtest.Program(c.t, "vpa", "recommender", "YOYU_VPA_RECOMMENDER")
	text, err := os.ReadFile(filepath.Join(filepath.Dir(program), "vpa-v1-crd-gen.yaml"))
	if err != nil {
		c.t.Fatalf("vpa: %v", err)
	}
	return string(text)
}

// Operators are the paths of the CRDs of operators whose objects yoyu ships: the Prometheus operator's,
// made of its types, and those of the External Secrets Operator.
func (c *Cluster) Operators() (paths []string) {
	c.t.Helper()
	dir := filepath.Dir(realtest.Program(c.t, "operators", "controller-gen", "YOYU_CONTROLLER_GEN"))
	for _, name := range []string{
		"monitoring.coreos.com_prometheusrules", "monitoring.coreos.com_servicemonitors",
		"external-secrets.io_externalsecrets", "external-secrets.io_secretstores",
	} {
		paths = append(paths, filepath.Join(dir, name+".yaml"))
	}
	return paths
}

// Recommend runs the VPA's recommender, as the admin, until the test ends. It looks every second at
// what objects of PodMetrics say, and keeps its history in checkpoints.
func (c *Cluster) Recommend(flags ...string) {
	c.t.Helper()
	program := realtest.Program(c.t, "vpa", "recommender", "YOYU_VPA_RECOMMENDER")
	address, err := realtest.FreeAddress()
	if err != nil {
		c.t.Fatalf("vpa recommender: %v", err)
	}
	var journal realtest.Journal
	command := exec.Command(program, append([]string{
		"--kubeconfig=" + c.Admin(), "--recommender-interval=1s", "--checkpoints-timeout=10s", "--address=" + address,
	}, flags...)...)
	command.Stdout, command.Stderr = &journal, &journal
	process, err := realtest.Start(command)
	if err != nil {
		c.t.Fatalf("vpa recommender: %v", err)
	}
	c.t.Cleanup(func() {
		process.Kill()
		if c.t.Failed() {
			c.t.Logf("vpa recommender logged last:\n%s", tail(journal.String()))
		}
	})
}

// PodMetrics is the manifest of a CRD that serves metrics.k8s.io from plain objects, which the test
// writes: there is no kubelet that would measure anything. The group is protected, hence the
// annotation.
const PodMetrics = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: pods.metrics.k8s.io
  annotations: {api-approved.kubernetes.io: "unapproved, a stand-in for tests"}
spec:
  group: metrics.k8s.io
  scope: Namespaced
  names: {plural: pods, singular: pod, kind: PodMetrics, listKind: PodMetricsList}
  versions:
    - name: v1beta1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`
