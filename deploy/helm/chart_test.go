// Package helm checks the chart: that it is well-formed, that it deploys what the Kustomize base and
// its components deploy, and that a real API server takes what it renders.
package helm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/yoyu-sre/yoyu/internal/app"
	"github.com/yoyu-sre/yoyu/internal/kubetest"
	"github.com/yoyu-sre/yoyu/internal/realtest"
)

// types are those that rendered manifests are read into, strictly. Operators' kinds are held
// against their CRDs by a real API server, see TestApply.
var types = map[string]func() any{
	"apps/v1 StatefulSet":                             func() any { return new(appsv1.StatefulSet) },
	"networking.k8s.io/v1 NetworkPolicy":              func() any { return new(networkingv1.NetworkPolicy) },
	"rbac.authorization.k8s.io/v1 ClusterRole":        func() any { return new(rbacv1.ClusterRole) },
	"rbac.authorization.k8s.io/v1 ClusterRoleBinding": func() any { return new(rbacv1.ClusterRoleBinding) },
	"rbac.authorization.k8s.io/v1 Role":               func() any { return new(rbacv1.Role) },
	"rbac.authorization.k8s.io/v1 RoleBinding":        func() any { return new(rbacv1.RoleBinding) },
	"v1 ConfigMap":      func() any { return new(corev1.ConfigMap) },
	"v1 Pod":            func() any { return new(corev1.Pod) },
	"v1 Service":        func() any { return new(corev1.Service) },
	"v1 ServiceAccount": func() any { return new(corev1.ServiceAccount) },
}

var custom = []string{
	"monitoring.coreos.com/v1 ServiceMonitor", "monitoring.coreos.com/v1 PrometheusRule",
	"external-secrets.io/v1 SecretStore", "external-secrets.io/v1 ExternalSecret",
	"secrets-store.csi.x-k8s.io/v1 SecretProviderClass",
}

// helm runs the pinned program in a home of its own.
func helm(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	program := realtest.Program(t, "helm", "helm", "YOYU_HELM")
	command := exec.CommandContext(t.Context(), program, arguments...)
	home := t.TempDir()
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+filepath.Join(home, "none"))
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	err := command.Run()
	if err != nil {
		return out.String() + errs.String(), err
	}
	return out.String(), nil
}

// matrix are the values that the chart is rendered with: the defaults, and one file an option.
func matrix(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("yoyu/ci/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files of values, error %v", len(files), err)
	}
	out := map[string][]string{"defaults": nil}
	for _, name := range files {
		out[strings.TrimSuffix(filepath.Base(name), ".yaml")] = []string{"--values=" + name}
	}
	return out
}

func render(t *testing.T, values ...string) []map[string]any {
	t.Helper()
	text, err := helm(t, append([]string{"template", "yoyu", "yoyu", "--namespace=yoyu"}, values...)...)
	if err != nil {
		t.Fatalf("helm template %v: %v\n%s", values, err, text)
	}
	return objects(t, text)
}

func objects(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for _, document := range strings.Split("\n"+text, "\n---") {
		var one map[string]any
		if err := yaml.Unmarshal([]byte(document), &one); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		if len(one) > 0 {
			all = append(all, one)
		}
	}
	return all
}

func kind(object map[string]any) string {
	return object["apiVersion"].(string) + " " + object["kind"].(string)
}

func name(object map[string]any) string { return object["metadata"].(map[string]any)["name"].(string) }

// space is the namespace of an object of another one than the release's, with a slash.
func space(object map[string]any) string {
	if in, ok := object["metadata"].(map[string]any)["namespace"].(string); ok && in != "yoyu" {
		return in + "/"
	}
	return ""
}

func TestLint(t *testing.T) {
	for what, values := range matrix(t) {
		if out, err := helm(t, append([]string{"lint", "--strict", "yoyu"}, values...)...); err != nil {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
}

// Whatever the values, every manifest is of a known type and has no field that the type lacks; the
// configuration in it is one that yoyu takes.
func TestManifestsAreOfTheRealTypes(t *testing.T) {
	seen := map[string]bool{}
	for what, values := range matrix(t) {
		for _, object := range render(t, values...) {
			seen[kind(object)] = true
			if slices.Contains(custom, kind(object)) {
				continue
			}
			if types[kind(object)] == nil {
				t.Errorf("%s: %s is of no type that this test knows", what, kind(object))
				continue
			}
			text, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			typed := types[kind(object)]()
			if err := yaml.UnmarshalStrict(text, typed); err != nil {
				t.Errorf("%s: %s: %v", what, kind(object), err)
			}
			if config, ok := typed.(*corev1.ConfigMap); ok {
				file := filepath.Join(t.TempDir(), "config.yaml")
				if err := os.WriteFile(file, []byte(config.Data["config.yaml"]), 0o600); err != nil {
					t.Fatal(err)
				}
				var out bytes.Buffer
				if code := app.Main(t.Context(), []string{"check", file}, &out, &out); code != 0 {
					t.Errorf("%s: yoyu check: exit %d\n%s", what, code, out.String())
				}
			}
		}
	}
	for _, kind := range custom {
		if !seen[kind] {
			t.Errorf("no values render a %s", kind)
		}
	}
}

// Values that mean nothing, or nothing good, are refused by the schema or the templates.
func TestSchema(t *testing.T) {
	for _, values := range []string{
		"nonsense=1", "image.tag=latest", "image.digest=sha256:abc", "storage.accessModes={ReadWriteMany}", "resources.limits=null", "goMemoryLimit=1G",
		"irsa.roleArn=yoyu", "web.externalUrl=yoyu", "service.port=0", "extraArgs={rm}", "serviceMonitor.interval=often", "replicas=2",
		"datadogAgent.tags={prod}",
		"secrets.existingSecret=a,secrets.secretsStoreCSI.enabled=true", "secrets.apiKey=hunter2",
		"rbac.namespaces=shop", "rbac.namespaces={Shop}", "rbac.namespaces={shop,shop}", "rbac.namespaces={*}",
	} {
		if out, err := helm(t, "template", "yoyu", "yoyu", "--set", values); err == nil {
			t.Errorf("--set %s is taken:\n%s", values, out[:min(len(out), 200)])
		}
	}
}

// Two routes to Datadog are refused, with words that name both; each alone is taken, under the prefix
// and the tags that were asked for.
func TestOneRouteToDatadog(t *testing.T) {
	const (
		twice  = "sends to Datadog what its Agent scrapes already: one route, never both"
		agent  = "datadogAgent: {enabled: true}\n"
		byHand = "podAnnotations: {ad.datadoghq.com/yoyu.checks: '{}'}\n"
		sink   = "{name: dd, type: datadog, api_key_file: /secrets/api}"
		text   = "config: |\n  sinks:\n    - " + sink + "\n"
		given  = "config: {sinks: [" + sink + "]}\n"
		other  = "config: {sinks: [{name: am, type: alertmanager, url: 'http://am:9093'}]}\n"
	)
	for values, want := range map[string]string{
		agent + text: "sink dd " + twice, agent + given: "sink dd " + twice, byHand + text: "sink dd " + twice, byHand + given: "sink dd " + twice,
		agent + byHand:                       "the Agent would scrape yoyu twice",
		agent + "web: {configSecret: web}\n": "holds no password and no certificate",
		agent + other:                        "",
		byHand + other:                       "",
		agent:                                "",
		text:                                 "",
		given:                                "",
		agent + "existingConfigMap: mine\n" + text:                 "", // config is not used then
		agent + "web: {externalUrl: 'https://example.com/slo/'}\n": "",
	} {
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := helm(t, "template", "yoyu", "yoyu", "--values="+file)
		if (err != nil) != (want != "") || !strings.Contains(out, want) {
			t.Errorf("%s\nerror %v, want %q:\n%s", values, err, want, out[:min(len(out), 400)])
		}
	}
	for _, object := range render(t, "--values=yoyu/ci/datadog-agent.yaml", "--set=web.externalUrl=https://example.com/slo/", "--set=datadogAgent.tags={env:dev,region:tokyo}") {
		if kind(object) != "apps/v1 StatefulSet" {
			continue
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var set appsv1.StatefulSet
		if err := json.Unmarshal(text, &set); err != nil {
			t.Fatal(err)
		}
		var checks struct {
			OpenMetrics struct {
				Instances []struct {
					Endpoint string `json:"openmetrics_endpoint"`
					Tags     []string
				}
			}
		}
		if err := json.Unmarshal([]byte(set.Spec.Template.Annotations["ad.datadoghq.com/yoyu.checks"]), &checks); err != nil {
			t.Fatal(err)
		}
		if len(checks.OpenMetrics.Instances) != 3 {
			t.Errorf("%d instances", len(checks.OpenMetrics.Instances))
		}
		for _, one := range checks.OpenMetrics.Instances {
			if one.Endpoint != "http://%%host%%:9912/slo/metrics" || !slices.Equal(one.Tags, []string{"env:dev", "region:tokyo"}) {
				t.Errorf("%+v", one)
			}
		}
	}
}

// The chart and the Kustomize base, each with the same option, deploy the same: every object that one
// has the other has, equal but for the labels that Helm adds.
func TestSameAsKustomize(t *testing.T) {
	kubectl := kubetest.Kubectl(t)
	for overlay, values := range map[string][]string{
		"base": nil, "overlays/irsa": {"--values=yoyu/ci/irsa.yaml"}, "overlays/pod-identity": {"--values=yoyu/ci/pod-identity.yaml"},
		"overlays/secrets-store-csi":   {"--values=yoyu/ci/secrets-store-csi.yaml", "--values=yoyu/ci/irsa.yaml"},
		"overlays/external-secrets":    {"--values=yoyu/ci/external-secrets.yaml", "--values=yoyu/ci/irsa.yaml"},
		"overlays/prometheus-operator": {"--values=yoyu/ci/prometheus-operator.yaml"},
		"overlays/namespaced":          {"--values=yoyu/ci/namespaced.yaml"},
		"overlays/datadog-agent":       {"--values=yoyu/ci/datadog-agent.yaml"},
	} {
		t.Run(overlay, func(t *testing.T) {
			folder := filepath.Join("../kubernetes", overlay)
			out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", folder).Output()
			if err != nil {
				t.Fatal(err)
			}
			// The overlay's configuration, where it has one of its own: the chart is given it.
			if config, err := os.ReadFile(filepath.Join(folder, "config.yaml")); err == nil && overlay != "base" {
				file := filepath.Join(t.TempDir(), "config.yaml")
				text, err := yaml.Marshal(map[string]string{"config": string(config)})
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, text, 0o600); err != nil {
					t.Fatal(err)
				}
				values = append(values, "--values="+file)
			}
			want, got := map[string]string{}, map[string]string{}
			for into, list := range map[*map[string]string][]map[string]any{&want: objects(t, string(out)), &got: render(t, values...)} {
				for _, object := range list {
					if kind(object) == "v1 Pod" { // helm test; Kustomize has no such thing
						continue
					}
					(*into)[kind(object)+" "+space(object)+name(object)] = plain(t, object)
				}
			}
			for what, text := range want {
				if got[what] == "" {
					t.Errorf("the chart has no %s", what)
				} else if got[what] != text {
					t.Errorf("%s\nKustomize:\n%s\nthe chart:\n%s", what, text, got[what])
				}
			}
			for what := range got {
				if want[what] == "" {
					t.Errorf("Kustomize has no %s", what)
				}
			}
		})
	}
}

// With rbac.namespaces nothing of the cluster is asked for, and a configuration that would ask for more
// than the roles allow is not deployed.
func TestNamespaced(t *testing.T) {
	const some = "--set=rbac.namespaces={shop,payments}"
	seen := map[string]int{}
	for _, object := range render(t, some) {
		seen[kind(object)]++
		if kind(object) != "v1 ConfigMap" {
			continue
		}
		var config struct {
			Sources []struct {
				Type       string   `json:"type"`
				Namespaces []string `json:"namespaces"`
			} `json:"sources"`
		}
		text, _ := object["data"].(map[string]any)["config.yaml"].(string)
		if err := yaml.Unmarshal([]byte(text), &config); err != nil {
			t.Fatal(err)
		}
		if len(config.Sources) != 1 || !slices.Equal(config.Sources[0].Namespaces, []string{"shop", "payments"}) {
			t.Errorf("the configuration watches %+v, want shop and payments:\n%s", config.Sources, text)
		}
		if strings.Contains(text, "all namespaces") {
			t.Errorf("the configuration says that it watches all namespaces:\n%s", text)
		}
	}
	const rbac = "rbac.authorization.k8s.io/v1 "
	if seen[rbac+"Role"] != 2 || seen[rbac+"RoleBinding"] != 2 || seen[rbac+"ClusterRole"]+seen[rbac+"ClusterRoleBinding"] != 0 {
		t.Errorf("two namespaces make %v", seen)
	}

	for _, f := range []struct{ source, fault string }{
		{"{name: here, type: kubernetes, namespaces: [shop]}", ""},
		{"{name: away, type: kubernetes, kubeconfig: /secrets/kubeconfig}", ""},
		{"{name: file, type: kubernetes, objects: /data/objects.yaml}", ""},
		{"{name: here, type: kubernetes}", "source here watches all namespaces"},
		{"{name: here, type: kubernetes, namespaces: [shop, other]}", "source here watches namespace other"},
		{"{name: pods, type: scrape, targets: ['http://web:8080/metrics']}", ""},
		{"{name: pods, type: scrape, kubernetes: {namespaces: [payments], port: metrics}}", ""},
		{"{name: pods, type: scrape, kubernetes: {port: metrics}}", "source pods watches all namespaces"},
		{"{name: pods, type: scrape, kubernetes: {namespaces: [other], port: metrics}}", "source pods watches namespace other"},
	} {
		for what, values := range map[string]string{
			"mapping": "config: {sources: [" + f.source + "]}\n", "text": "config: |\n  sources: [" + f.source + "]\n",
		} {
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := helm(t, "template", "yoyu", "yoyu", some, "--values="+file)
			if f.fault == "" && err != nil || f.fault != "" && (err == nil || !strings.Contains(out, f.fault)) {
				t.Errorf("%s as %s: error %v, want fault %q\n%s", f.source, what, err, f.fault, out[:min(len(out), 300)])
			}
		}
	}
}

// plain is an object without what Helm adds to it.
func plain(t *testing.T, object map[string]any) string {
	t.Helper()
	added := []string{"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}
	var strip func(v any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, inner := range v {
				strip(inner)
				if slices.Contains(added, key) {
					delete(v, key)
				}
			}
			// The ConfigMap's text: a line more or less at its end means nothing.
			if text, ok := v["config.yaml"].(string); ok {
				v["config.yaml"] = strings.TrimSpace(text)
			}
			// The list of the driver is YAML in a text.
			if text, ok := v["objects"].(string); ok {
				var list any
				if err := yaml.Unmarshal([]byte(text), &list); err != nil {
					t.Fatal(err)
				}
				v["objects"] = list
			}
			// So is what the Datadog Agent is told, as JSON.
			if text, ok := v["ad.datadoghq.com/yoyu.checks"].(string); ok {
				var checks any
				if err := json.Unmarshal([]byte(text), &checks); err != nil {
					t.Fatal(err)
				}
				v["ad.datadoghq.com/yoyu.checks"] = checks
			}
		case []any:
			for _, inner := range v {
				strip(inner)
			}
			// Volumes and mounts are known by name, in any order.
			called := func(v any) string {
				m, _ := v.(map[string]any)
				name, _ := m["name"].(string)
				return name
			}
			slices.SortStableFunc(v, func(a, b any) int { return strings.Compare(called(a), called(b)) })
		}
	}
	strip(object)
	// Labels of the object itself select nothing here; Kustomize does not give them to a component's.
	if labels, ok := object["metadata"].(map[string]any)["labels"].(map[string]any); ok {
		delete(labels, "app.kubernetes.io/name")
		if len(labels) == 0 {
			delete(object["metadata"].(map[string]any), "labels")
		}
	}
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What files/ repeats is what it repeats.
func TestFiles(t *testing.T) {
	for copied, from := range map[string]string{
		"config.yaml": "base/config.yaml", "prometheusrule.yaml": "components/prometheus-operator/prometheusrule.yaml",
		"datadog-agent.yaml": "components/datadog-agent/statefulset.yaml",
	} {
		want, err := os.ReadFile(filepath.Join("../kubernetes", from))
		if err != nil {
			t.Fatal(err)
		}
		if have, err := os.ReadFile(filepath.Join("yoyu/files", copied)); err != nil || !bytes.Equal(have, want) {
			t.Errorf("yoyu/files/%s is not deploy/kubernetes/%s, error %v: copy it", copied, from, err)
		}
	}
}

// A real API server takes what the chart renders for every set of values, in a namespace where Pod
// Security is at its strictest.
func TestApply(t *testing.T) {
	c := kubetest.Start(t)
	for _, path := range append(c.Operators(), "../kubernetes/testdata/secretproviderclasses.yaml") {
		c.Kubectl("create", "-f", path)
	}
	c.Established()
	c.Kubectl("apply", "-f", "../kubernetes/namespace.yaml")
	for _, name := range []string{"shop", "payments"} { // of ci/namespaced.yaml
		c.Kubectl("create", "namespace", name)
	}
	for what, values := range matrix(t) {
		text, err := helm(t, append([]string{"template", "yoyu", "yoyu", "--namespace=yoyu", "--kube-version=" + c.Version()}, values...)...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", what, err, text)
		}
		if out, err := c.Try(c.Admin(), text, "create", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-"); err != nil {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
}

// The same on the oldest API server that is supported.
func TestOldest(t *testing.T) {
	kubetest.Oldest(t)
	TestApply(t)
}

// What the chart says of Kubernetes is what Helm makes of it: the oldest version is taken, as EKS calls
// it too, and the one before is refused.
func TestKubeVersion(t *testing.T) {
	text, err := os.ReadFile("yoyu/Chart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var chart struct {
		KubeVersion string `json:"kubeVersion"`
	}
	if err := yaml.Unmarshal(text, &chart); err != nil {
		t.Fatal(err)
	}
	var oldest int
	if _, err := fmt.Sscanf(chart.KubeVersion, ">=1.%d.0-0", &oldest); err != nil {
		t.Fatalf("kubeVersion %q: %v", chart.KubeVersion, err)
	}
	on := func(minor int, rest string) (string, error) {
		return helm(t, "template", "yoyu", "yoyu", fmt.Sprintf("--kube-version=v1.%d.%s", minor, rest))
	}
	for _, rest := range []string{"0", "14-eks-0123abc"} {
		if out, err := on(oldest, rest); err != nil {
			t.Errorf("1.%d.%s: %v\n%s", oldest, rest, err, out)
		}
	}
	if out, err := on(oldest-1, "99"); err == nil || !strings.Contains(out, "kubeVersion: "+chart.KubeVersion) {
		t.Errorf("1.%d: error %v, want a word about kubeVersion\n%s", oldest-1, err, out[:min(len(out), 300)])
	}
}
