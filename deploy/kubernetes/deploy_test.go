// Package kubernetes checks what is given to operators for Kubernetes: against the types that the
// API is made of, and by giving it to a real API server.
package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	goyaml "gopkg.in/yaml.v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/yoyu-sre/yoyu/internal/app"
	"github.com/yoyu-sre/yoyu/internal/kubetest"
	"github.com/yoyu-sre/yoyu/internal/realtest"
)

var update = flag.Bool("update", false, "write prometheusrule.yaml anew")

// custom are kinds of operators: their CRDs say what they may be, see TestOverlays.
var custom = []string{
	"monitoring.coreos.com/v1 ServiceMonitor", "monitoring.coreos.com/v1 PrometheusRule",
	"external-secrets.io/v1 SecretStore", "external-secrets.io/v1 ExternalSecret",
	"secrets-store.csi.x-k8s.io/v1 SecretProviderClass",
}

// types are those that the other manifests may be of.
var types = map[string]func() any{
	"apps/v1 StatefulSet":                             func() any { return new(appsv1.StatefulSet) },
	"networking.k8s.io/v1 NetworkPolicy":              func() any { return new(networkingv1.NetworkPolicy) },
	"rbac.authorization.k8s.io/v1 ClusterRole":        func() any { return new(rbacv1.ClusterRole) },
	"rbac.authorization.k8s.io/v1 ClusterRoleBinding": func() any { return new(rbacv1.ClusterRoleBinding) },
	"rbac.authorization.k8s.io/v1 Role":               func() any { return new(rbacv1.Role) },
	"rbac.authorization.k8s.io/v1 RoleBinding":        func() any { return new(rbacv1.RoleBinding) },
	"v1 Namespace":      func() any { return new(corev1.Namespace) },
	"v1 Service":        func() any { return new(corev1.Service) },
	"v1 ServiceAccount": func() any { return new(corev1.ServiceAccount) },
}

// A field that the type does not know is a fault; so is a kind that nobody has listed here.
func TestManifestsAreOfTheRealTypes(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err == nil && name == "testdata" {
			return fs.SkipDir
		}
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" || name == "kustomization.yaml" || name == "config.yaml" {
			return err
		}
		for _, document := range documents(t, path) {
			if document[0] == '-' {
				continue // a JSON patch
			}
			var head struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal(document, &head); err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			kind := head.APIVersion + " " + head.Kind
			seen[kind] = true
			if slices.Contains(custom, kind) {
				continue
			}
			if types[kind] == nil {
				t.Errorf("%s: %s is of no type that this test knows", path, kind)
			} else if err := yaml.UnmarshalStrict(document, types[kind]()); err != nil {
				t.Errorf("%s: %s: %v", path, kind, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for kind := range types {
		if !seen[kind] {
			t.Errorf("no manifest is a %s", kind)
		}
	}
}

// The configurations that are shipped are such that yoyu takes, that of the base also with all its #
// signs taken out.
func TestConfig(t *testing.T) {
	text, err := os.ReadFile("base/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"the base": string(text)}
	overlays, err := filepath.Glob("overlays/*/config.yaml")
	if err != nil || len(overlays) == 0 {
		t.Fatalf("no overlay has a configuration, error %v", err)
	}
	for _, name := range overlays {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	var full strings.Builder
	for line := range strings.Lines(string(text)) {
		rest := strings.TrimLeft(line, " ")
		if words, ok := strings.CutPrefix(rest, "# "); ok && !strings.HasPrefix(line, "# What") && strings.Contains(words, ":") {
			line = line[:len(line)-len(rest)] + words
		}
		full.WriteString(line)
	}
	texts["the base in full"] = full.String()
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			if code := app.Main(t.Context(), []string{"check", file}, &out, &errs); code != 0 {
				t.Errorf("yoyu check: exit %d\n%s%s\n%s", code, out.String(), errs.String(), text)
			}
		})
	}
}

// The rules that the operator is given are those that yoyu writes.
func TestRules(t *testing.T) {
	const kept = "components/prometheus-operator/prometheusrule.yaml"
	var out, errs bytes.Buffer
	if code := app.Main(t.Context(), []string{"rules", "--generic", "--output=prometheusrule",
		"--label=app.kubernetes.io/name=yoyu", "--label=release=prometheus"}, &out, &errs); code != 0 {
		t.Fatalf("yoyu rules: exit %d\n%s", code, errs.String())
	}
	if *update {
		if err := os.WriteFile(kept, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(kept); err != nil || !bytes.Equal(have, out.Bytes()) {
		t.Errorf("%s is not what yoyu writes, error %v: go test ./deploy/kubernetes -update", kept, err)
	}
}

// documents are those of a file.
func documents(t *testing.T, path string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return split(t, string(text))
}

func split(t *testing.T, text string) (all [][]byte) {
	t.Helper()
	for decoder := goyaml.NewDecoder(strings.NewReader(text)); ; {
		var document any
		err := decoder.Decode(&document)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		one, err := goyaml.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

// A real API server takes the base as it is written: every field, the pod in a namespace where
// Pod Security is at its strictest, and a second time with nothing left to change.
func TestApply(t *testing.T) {
	c := kubetest.Start(t)
	strict := []string{"apply", "--validate=strict", "--warnings-as-errors"}
	c.Kubectl(append(strict, "-f", "namespace.yaml")...)
	c.Kubectl(append(strict, "-k", "base")...)
	if out := c.Kubectl("diff", "-k", "base"); out != "" {
		t.Errorf("what was applied reads otherwise now:\n%s", out)
	}

	set := deployed(t, c)
	if err := create(t, c, set, func(*corev1.PodSpec) {}); err != nil {
		t.Errorf("the pod: %v", err)
	}
	for _, f := range []struct {
		name   string
		change func(*corev1.PodSpec)
	}{
		{"runAsNonRoot", func(s *corev1.PodSpec) { s.SecurityContext.RunAsNonRoot = nil }},
		{"seccompProfile", func(s *corev1.PodSpec) { s.SecurityContext.SeccompProfile = nil }},
		{"allowPrivilegeEscalation", func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil }},
		{"unrestricted capabilities", func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil }},
	} {
		if err := create(t, c, set, f.change); err == nil || !strings.Contains(err.Error(), "violates PodSecurity") || !strings.Contains(err.Error(), f.name) {
			t.Errorf("a pod without %s: %v; want one refused, or this test proves nothing", f.name, err)
		}
	}

	// What the pod is told to read, and where others look for it, is there.
	var services corev1.ServiceList
	if err := json.Unmarshal([]byte(c.Kubectl("get", "services", "--namespace=yoyu", "--output=json")), &services); err != nil {
		t.Fatal(err)
	}
	container := set.Spec.Template.Spec.Containers[0]
	ports := map[string]bool{}
	for _, p := range container.Ports {
		ports[p.Name] = true
	}
	if len(services.Items) != 2 {
		t.Errorf("%d services, want 2", len(services.Items))
	}
	for _, s := range services.Items {
		for key, value := range s.Spec.Selector {
			if set.Spec.Template.Labels[key] != value {
				t.Errorf("service %s looks for %s=%s, which the pods do not have: %v", s.Name, key, value, set.Spec.Template.Labels)
			}
		}
		for _, p := range s.Spec.Ports {
			if !ports[p.TargetPort.StrVal] {
				t.Errorf("service %s sends to port %v, which the container does not name", s.Name, p.TargetPort)
			}
		}
	}
	if !slices.ContainsFunc(services.Items, func(s corev1.Service) bool {
		return s.Name == set.Spec.ServiceName && s.Spec.ClusterIP == corev1.ClusterIPNone
	}) {
		t.Errorf("no headless service %s, which the StatefulSet names", set.Spec.ServiceName)
	}
	if !slices.Contains(container.Args, "--storage.path=/data") || !slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.MountPath == "/data" && m.Name == set.Spec.VolumeClaimTemplates[0].Name
	}) {
		t.Errorf("the state is not on the volume that is claimed: %v, %v", container.Args, container.VolumeMounts)
	}
	config := c.Kubectl("get", "configmap/yoyu", "--namespace=yoyu", `--output=jsonpath={.data.config\.yaml}`)
	if written, err := os.ReadFile("base/config.yaml"); err != nil || config != string(written) {
		t.Errorf("the ConfigMap holds %q, error %v", config, err)
	}

	// Another namespace takes all of it, the binding's subject too.
	overlay := t.TempDir()
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte("namespace: elsewhere\nresources: ["+relative(t, overlay, "base")+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Kubectl("create", "namespace", "elsewhere")
	c.Kubectl(append(strict, "-k", overlay)...)
	if got := c.Kubectl("get", "clusterrolebinding/yoyu", "--output=jsonpath={.subjects[*].namespace}"); got != "elsewhere" {
		t.Errorf("the role is bound to the account of namespace %q, want elsewhere", got)
	}
	if got := c.Kubectl("get", "statefulset/yoyu", "--namespace=elsewhere", "--output=name"); strings.TrimSpace(got) != "statefulset.apps/yoyu" {
		t.Errorf("elsewhere has %q", got)
	}
}

// Every overlay is taken by an API server that knows its operator, and so are all components at once;
// the pod stays one that Pod Security lets in, and nothing else of the base changes.
func TestOverlays(t *testing.T) {
	c := kubetest.Start(t)
	for _, path := range append(c.Operators(), "testdata/secretproviderclasses.yaml") {
		c.Kubectl("create", "-f", path) // too large for apply, which keeps a copy in an annotation
	}
	c.Established()
	c.Kubectl("apply", "-f", "namespace.yaml")
	base := split(t, c.Kubectl("kustomize", "base"))

	overlays, err := filepath.Glob("overlays/*")
	if err != nil {
		t.Fatal(err)
	}
	components, err := filepath.Glob("components/*")
	if err != nil || len(components) == 0 || len(components) != len(overlays) {
		t.Fatalf("%d components and %d overlays, error %v", len(components), len(overlays), err)
	}
	more := map[string][]string{ // kinds that come on top of the base's
		"overlays/prometheus-operator": {"PrometheusRule", "ServiceMonitor"},
		"overlays/datadog-agent":       nil,
		"overlays/irsa":                nil,
		"overlays/pod-identity":        nil,
		"overlays/secrets-store-csi":   {"SecretProviderClass"},
		"overlays/external-secrets":    {"ExternalSecret", "SecretStore"},
	}
	for _, overlay := range overlays {
		if overlay == "overlays/namespaced" {
			continue // it takes from the base: TestNamespaced
		}
		want, known := more[overlay]
		if !known {
			t.Errorf("%s: this test does not know what comes on top", overlay)
		}
		objects := split(t, c.Kubectl("kustomize", overlay))
		if got := len(objects) - len(base); got != len(want) {
			t.Errorf("%s: %d objects more than the base, want %v", overlay, got, want)
		}
		c.Kubectl("apply", "--validate=strict", "--warnings-as-errors", "-k", overlay)
		for _, kind := range want {
			if got := c.Kubectl("get", kind, "--namespace=yoyu", "--output=name"); !strings.Contains(got, "/yoyu") {
				t.Errorf("%s: no %s: %q", overlay, kind, got)
			}
		}
		if err := create(t, c, deployed(t, c), func(*corev1.PodSpec) {}); err != nil {
			t.Errorf("%s: the pod: %v", overlay, err)
		}
	}

	// What an operator finds, and where yoyu finds what the operator brings.
	service := c.Kubectl("get", "service", "--namespace=yoyu", "--output=name",
		"--selector="+c.Kubectl("get", "servicemonitor/yoyu", "--namespace=yoyu", "--output=go-template={{range $k, $v := .spec.selector.matchLabels}}{{$k}}={{$v}},{{end}}")+"app.kubernetes.io/name")
	if service != "service/yoyu-pods\n" {
		t.Errorf("the ServiceMonitor finds %q, want service/yoyu-pods alone", service)
	}
	if got := c.Kubectl("get", "servicemonitor/yoyu", "--namespace=yoyu", "--output=jsonpath={.spec.endpoints[*].honorLabels} {.spec.endpoints[*].port}"); got != "true http-metrics" {
		t.Errorf("the ServiceMonitor's endpoint: %q", got)
	}

	// All at once, but for one of the two that bring keys and one of the two that bring a role.
	all := t.TempDir()
	text := "namespace: yoyu\nresources: [" + relative(t, all, "base") + "]\ncomponents:\n"
	for _, name := range []string{"prometheus-operator", "irsa", "secrets-store-csi"} {
		text += "  - " + relative(t, all, "components/"+name) + "\n"
	}
	if err := os.WriteFile(filepath.Join(all, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Kubectl("apply", "--validate=strict", "--warnings-as-errors", "-k", all)
	set := deployed(t, c)
	if err := create(t, c, set, func(*corev1.PodSpec) {}); err != nil {
		t.Errorf("all at once: the pod: %v", err)
	}
	if mounts := set.Spec.Template.Spec.Containers[0].VolumeMounts; len(mounts) != 4 {
		t.Errorf("all at once: %d mounts, want data, config, tmp and secrets: %v", len(mounts), mounts)
	}
	role := c.Kubectl("get", "serviceaccount/yoyu", "--namespace=yoyu", `--output=jsonpath={.metadata.annotations.eks\.amazonaws\.com/role-arn}`)
	if !strings.HasPrefix(role, "arn:aws:iam::") {
		t.Errorf("all at once: the ServiceAccount's role is %q", role)
	}
}

// Where yoyu may see some namespaces only, it has the rules of the ClusterRole in each of them, and
// nothing of the cluster or of another namespace; all else is as in the base.
func TestNamespaced(t *testing.T) {
	c := kubetest.Start(t)
	c.Kubectl("apply", "-f", "namespace.yaml")
	for _, name := range []string{"shop", "payments", "other"} {
		c.Kubectl("create", "namespace", name)
	}
	c.Kubectl("apply", "--validate=strict", "--warnings-as-errors", "-k", "overlays/namespaced")
	if out := c.Kubectl("diff", "-k", "overlays/namespaced"); out != "" {
		t.Errorf("what was applied reads otherwise now:\n%s", out)
	}
	if err := create(t, c, deployed(t, c), func(*corev1.PodSpec) {}); err != nil {
		t.Errorf("the pod: %v", err)
	}

	var whole rbacv1.ClusterRole
	base := rendered(t, c, "base")
	if err := yaml.Unmarshal([]byte(base["ClusterRole /yoyu"]), &whole); err != nil || len(whole.Rules) == 0 {
		t.Fatalf("the base's role: %v, error %v", whole.Rules, err)
	}
	overlay := rendered(t, c, "overlays/namespaced")
	for _, namespace := range []string{"shop", "payments"} {
		var role rbacv1.Role
		if err := yaml.Unmarshal([]byte(overlay["Role "+namespace+"/yoyu"]), &role); err != nil || !reflect.DeepEqual(role.Rules, whole.Rules) {
			t.Errorf("the role in %s: error %v, rules\n%v\nwant those of base/clusterrole.yaml\n%v", namespace, err, role.Rules, whole.Rules)
		}
		if overlay["RoleBinding "+namespace+"/yoyu"] == "" {
			t.Errorf("no RoleBinding in %s", namespace)
		}
		delete(overlay, "Role "+namespace+"/yoyu")
		delete(overlay, "RoleBinding "+namespace+"/yoyu")
	}
	delete(base, "ClusterRole /yoyu")
	delete(base, "ClusterRoleBinding /yoyu")
	delete(base, "ConfigMap yoyu/yoyu") // its configuration names the namespaces
	delete(overlay, "ConfigMap yoyu/yoyu")
	if !maps.Equal(base, overlay) {
		t.Errorf("besides roles and configuration the overlay has\n%v\nwant what the base has\n%v", overlay, base)
	}

	if got := c.Kubectl("get", "clusterroles,clusterrolebindings", "--selector=app.kubernetes.io/name=yoyu", "--output=name"); got != "" {
		t.Errorf("of the cluster yoyu has %q", got)
	}
	own := c.Kubeconfig("yoyu", "yoyu")
	may := func(where string) bool {
		out, err := c.Try(own, "", "auth", "can-i", "list", "deployments.apps", where)
		if err == nil != (strings.TrimSpace(out) == "yes") {
			t.Fatalf("kubectl auth can-i %s: %q, error %v", where, out, err)
		}
		return err == nil
	}
	// Roles reach the server's own caches a moment after they are written.
	for _, namespace := range []string{"shop", "payments"} {
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute) // a busy machine is no failure
		if err := realtest.Poll(ctx, nil, func() bool { return may("--namespace=" + namespace) }); err != nil {
			t.Errorf("yoyu may not list in %s", namespace)
		}
		stop()
	}
	for _, where := range []string{"--namespace=other", "--namespace=yoyu", "--all-namespaces"} {
		if may(where) {
			t.Errorf("yoyu may list with %s", where)
		}
	}

	// One's own, as the README has it: yoyu elsewhere, with another component, and one namespace.
	mine := t.TempDir()
	write := func(folder, text string, parts ...any) {
		for i, part := range parts {
			parts[i] = relative(t, filepath.Join(mine, folder), part.(string))
		}
		if err := os.MkdirAll(filepath.Join(mine, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mine, folder, "kustomization.yaml"), fmt.Appendf(nil, text, parts...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("yoyu", "namespace: elsewhere\nresources: [%s]\ncomponents: [%s, %s]\n", "base", "components/namespaced", "components/irsa")
	write("shop", "namespace: shop\nresources: [%s]\n", "components/namespaced/watched")
	write("", `resources: [yoyu, shop]
patches:
  - target: {kind: RoleBinding}
    patch: "- {op: replace, path: /subjects/0/namespace, value: elsewhere}"
`)
	moved := rendered(t, c, mine)
	for _, one := range []string{"ServiceAccount elsewhere/yoyu", "StatefulSet elsewhere/yoyu", "Role shop/yoyu"} {
		if moved[one] == "" {
			t.Errorf("moved: no %s", one)
		}
	}
	for one := range moved {
		if strings.HasPrefix(one, "ClusterRole") {
			t.Errorf("moved: %s", one)
		}
	}
	if one := moved["RoleBinding shop/yoyu"]; !strings.Contains(one, "namespace: elsewhere\n") {
		t.Errorf("moved: the binding is\n%s", one)
	}
	c.Kubectl("create", "namespace", "elsewhere")
	c.Kubectl("apply", "--validate=strict", "--warnings-as-errors", "-k", mine)
}

// rendered are the objects of an overlay, by kind, namespace and name.
func rendered(t *testing.T, c *kubetest.Cluster, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, text := range split(t, c.Kubectl("kustomize", folder)) {
		var head struct {
			Kind     string
			Metadata struct{ Namespace, Name string }
		}
		if err := yaml.Unmarshal(text, &head); err != nil {
			t.Fatal(err)
		}
		all[head.Kind+" "+head.Metadata.Namespace+"/"+head.Metadata.Name] = string(text)
	}
	return all
}

// The same on the oldest API server that is supported.
func TestOldest(t *testing.T) {
	kubetest.Oldest(t)
	t.Run("base", TestApply)
	t.Run("overlays", TestOverlays)
	t.Run("namespaced", TestNamespaced)
}

// Policies are read by AWS alone; here they are JSON, of the version that conditions need, and the
// trust names the one ServiceAccount.
func TestPolicies(t *testing.T) {
	files, err := filepath.Glob("components/*/iam/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no policies, error %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var policy struct {
			Version   string
			Statement []struct {
				Sid, Effect string
				Principal   map[string]string
				Action      any
				Resource    any
				Condition   map[string]map[string]string
			}
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&policy); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if policy.Version != "2012-10-17" || len(policy.Statement) != 1 || policy.Statement[0].Effect != "Allow" {
			t.Errorf("%s: %+v", name, policy)
			continue
		}
		one := policy.Statement[0]
		if strings.Contains(fmt.Sprint(one.Action), "*") {
			t.Errorf("%s: allows %v", name, one.Action)
		}
		if one.Principal["Federated"] != "" {
			subject, audience := "", ""
			for key, value := range one.Condition["StringEquals"] {
				if strings.HasSuffix(key, ":sub") {
					subject = value
				}
				if strings.HasSuffix(key, ":aud") {
					audience = value
				}
			}
			if subject != "system:serviceaccount:yoyu:yoyu" || audience != "sts.amazonaws.com" {
				t.Errorf("%s: trusts subject %q with audience %q", name, subject, audience)
			}
		}
	}
}

// deployed is the StatefulSet as the server has it.
func deployed(t *testing.T, c *kubetest.Cluster) (set appsv1.StatefulSet) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.Kubectl("get", "statefulset/yoyu", "--namespace=yoyu", "--output=json")), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// create asks whether the server would take the pod as the controller makes it of a StatefulSet,
// changed a little: what Pod Security refuses in a pod is not refused in its StatefulSet.
func create(t *testing.T, c *kubetest.Cluster, set appsv1.StatefulSet, change func(*corev1.PodSpec)) error {
	t.Helper()
	p := corev1.Pod{Spec: *set.Spec.Template.Spec.DeepCopy()}
	p.APIVersion, p.Kind, p.Name, p.Namespace, p.Labels = "v1", "Pod", "yoyu-0", "yoyu", set.Spec.Template.Labels
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-yoyu-0"}}})
	change(&p.Spec)
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Try(c.Admin(), string(text), "create", "--dry-run=server", "-f", "-")
	return err
}

// relative is the way from a folder to one beside this test: kustomize takes no other.
func relative(t *testing.T, from, to string) string {
	t.Helper()
	absolute, err := filepath.Abs(to)
	if err != nil {
		t.Fatal(err)
	}
	way, err := filepath.Rel(from, absolute)
	if err != nil {
		t.Fatal(err)
	}
	return way
}
