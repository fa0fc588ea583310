// Package kubernetes checks what is given to operators for Kubernetes: against the types that the
// API is made of, and by giving it to a real API server.
package kubernetes

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	goyaml "gopkg.in/yaml.v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/yoyu-sre/yoyu/internal/app"
	"github.com/yoyu-sre/yoyu/internal/kubetest"
)

// types are those that the manifests may be of.
var types = map[string]func() any{
	"apps/v1 StatefulSet":                             func() any { return new(appsv1.StatefulSet) },
	"networking.k8s.io/v1 NetworkPolicy":              func() any { return new(networkingv1.NetworkPolicy) },
	"rbac.authorization.k8s.io/v1 ClusterRole":        func() any { return new(rbacv1.ClusterRole) },
	"rbac.authorization.k8s.io/v1 ClusterRoleBinding": func() any { return new(rbacv1.ClusterRoleBinding) },
	"v1 Namespace":      func() any { return new(corev1.Namespace) },
	"v1 Service":        func() any { return new(corev1.Service) },
	"v1 ServiceAccount": func() any { return new(corev1.ServiceAccount) },
}

// A field that the type does not know is a fault; so is a kind that nobody has listed here.
func TestManifestsAreOfTheRealTypes(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" || name == "kustomization.yaml" || name == "config.yaml" {
			return err
		}
		for _, document := range documents(t, path) {
			var head struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal(document, &head); err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			kind := head.APIVersion + " " + head.Kind
			seen[kind] = true
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

// The configuration that is shipped is one that yoyu takes, also with all its # signs taken out.
func TestConfig(t *testing.T) {
	text, err := os.ReadFile("base/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var full strings.Builder
	for line := range strings.Lines(string(text)) {
		rest := strings.TrimLeft(line, " ")
		if words, ok := strings.CutPrefix(rest, "# "); ok && !strings.HasPrefix(line, "# What") && strings.Contains(words, ":") {
			line = line[:len(line)-len(rest)] + words
		}
		full.WriteString(line)
	}
	for name, text := range map[string]string{"as it is": string(text), "in full": full.String()} {
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

	var set appsv1.StatefulSet
	if err := json.Unmarshal([]byte(c.Kubectl("get", "statefulset/yoyu", "--namespace=yoyu", "--output=json")), &set); err != nil {
		t.Fatal(err)
	}
	// The pod as the controller would make it; what Pod Security refuses in one is not refused in
	// its StatefulSet.
	pod := func(change func(*corev1.PodSpec)) string {
		p := corev1.Pod{Spec: *set.Spec.Template.Spec.DeepCopy()}
		p.APIVersion, p.Kind, p.Name, p.Namespace, p.Labels = "v1", "Pod", "yoyu-0", "yoyu", set.Spec.Template.Labels
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-yoyu-0"}}})
		change(&p.Spec)
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	create := func(text string) error {
		_, err := c.Try(c.Admin(), text, "create", "--dry-run=server", "-f", "-")
		return err
	}
	if err := create(pod(func(*corev1.PodSpec) {})); err != nil {
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
		if err := create(pod(f.change)); err == nil || !strings.Contains(err.Error(), "violates PodSecurity") || !strings.Contains(err.Error(), f.name) {
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
	base, err := filepath.Abs("base")
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(overlay, base)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte("namespace: elsewhere\nresources: ["+relative+"]\n"), 0o600); err != nil {
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
