// Package policy holds one rule for all that is given to operators, whatever it is written in: what
// runs yoyu runs without rights that it does not need.
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/yoyu-sre/yoyu/internal/app"
	"github.com/yoyu-sre/yoyu/internal/kubetest"
	"github.com/yoyu-sre/yoyu/internal/realtest"
)

// secret is what looks like one in plain text: a value under such a name, unless it names a file.
var secret = regexp.MustCompile(`(?i)(password|passwd|token|api_?key|app_?key|secret_?key|credential)s?["']?\s*[:=]\s*["']?[^\s"'{\[/]+`)

// podFaults says what is wrong with a pod; own is false for pods that run for a moment, without probes.
func podFaults(spec corev1.PodSpec, long bool) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if spec.HostNetwork || spec.HostPID || spec.HostIPC {
		fault("shares a namespace of the node")
	}
	pod := spec.SecurityContext
	if pod == nil || pod.RunAsNonRoot == nil || !*pod.RunAsNonRoot || pod.RunAsUser == nil || *pod.RunAsUser == 0 {
		fault("may run as root")
	}
	if pod == nil || pod.SeccompProfile == nil || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		fault("has no seccomp profile")
	}
	for _, v := range spec.Volumes {
		if v.HostPath != nil {
			fault("volume %s is a folder of the node", v.Name)
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		s := c.SecurityContext
		if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			fault("%s: its root can be written", c.Name)
		}
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Privileged != nil && *s.Privileged {
			fault("%s: privileges", c.Name)
		}
		if s == nil || s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") || len(s.Capabilities.Add) > 0 {
			fault("%s: capabilities", c.Name)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			fault("%s: no requests, or no limit of memory", c.Name)
		}
		if long && (c.LivenessProbe == nil || c.ReadinessProbe == nil || c.StartupProbe == nil) {
			fault("%s: lacks a probe", c.Name)
		}
		if _, tag, ok := strings.Cut(c.Image, ":"); !ok || strings.HasPrefix(tag, "latest") {
			fault("%s: image %s is of no version", c.Name, c.Image)
		}
		for _, m := range c.VolumeMounts {
			if m.SubPath != "" {
				fault("%s: %s is mounted by subPath: it would never change", c.Name, m.MountPath)
			}
		}
		for _, e := range c.Env {
			if regexp.MustCompile(`(?i)key|token|password|secret`).MatchString(e.Name) {
				fault("%s: %s: secrets come from files", c.Name, e.Name)
			}
		}
	}
	return faults
}

func manifests(t *testing.T, what, text string) {
	t.Helper()
	pods := 0
	for _, document := range strings.Split("\n"+text, "\n---") {
		var object struct {
			Kind string
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, document)
		}
		switch object.Kind {
		case "Secret":
			t.Errorf("%s: holds a Secret: its text would be in git", what)
		case "StatefulSet", "Deployment", "DaemonSet", "Job":
			pods++
			for _, fault := range podFaults(object.Spec.Template.Spec, object.Kind != "Job") {
				t.Errorf("%s: %s: %s", what, object.Kind, fault)
			}
		case "Pod":
			var pod corev1.Pod
			if err := yaml.Unmarshal([]byte(document), &pod); err != nil {
				t.Fatal(err)
			}
			for _, fault := range podFaults(pod.Spec, false) {
				t.Errorf("%s: pod: %s", what, fault)
			}
		case "ClusterRole", "Role":
			for _, word := range []string{"secrets", "'*'", "create", "update", "patch", "delete", "escalate"} {
				if regexp.MustCompile(`[\[ "]` + regexp.QuoteMeta(word) + `[\], "\n]`).MatchString(document) {
					t.Errorf("%s: the role holds %s", what, word)
				}
			}
		}
	}
	if pods == 0 {
		t.Errorf("%s: runs nothing", what)
	}
}

// The rule finds what it is for.
func TestRuleFinds(t *testing.T) {
	for _, change := range []func(*corev1.PodSpec){
		func(s *corev1.PodSpec) { s.HostNetwork = true },
		func(s *corev1.PodSpec) { s.SecurityContext.RunAsNonRoot = nil },
		func(s *corev1.PodSpec) { s.SecurityContext.SeccompProfile = nil },
		func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.ReadOnlyRootFilesystem = nil },
		func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil },
		func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil },
		func(s *corev1.PodSpec) { s.Containers[0].Resources.Limits = nil },
		func(s *corev1.PodSpec) { s.Containers[0].LivenessProbe = nil },
		func(s *corev1.PodSpec) { s.Containers[0].Image = "yoyu:latest" },
		func(s *corev1.PodSpec) { s.Containers[0].VolumeMounts[0].SubPath = "config.yaml" },
		func(s *corev1.PodSpec) { s.Containers[0].Env = []corev1.EnvVar{{Name: "DD_API_KEY", Value: "x"}} },
	} {
		text, err := os.ReadFile("../kubernetes/base/statefulset.yaml")
		if err != nil {
			t.Fatal(err)
		}
		var set struct {
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		if err := yaml.Unmarshal(text, &set); err != nil {
			t.Fatal(err)
		}
		spec := &set.Spec.Template.Spec
		spec.Containers[0].Image = "yoyu:v1"
		if faults := podFaults(*spec, true); len(faults) != 0 {
			t.Fatalf("unchanged: %v", faults)
		}
		if change(spec); len(podFaults(*spec, true)) != 1 {
			t.Errorf("%+v: %v, want one fault", spec, podFaults(*spec, true))
		}
	}
}

func TestKustomize(t *testing.T) {
	kubectl := kubetest.Kubectl(t)
	folders, err := filepath.Glob("../kubernetes/overlays/*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no overlays, error %v", err)
	}
	for _, folder := range append(folders, "../kubernetes/base") {
		out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", folder).Output()
		if err != nil {
			t.Fatalf("%s: %v", folder, err)
		}
		manifests(t, folder, string(out))
	}
}

func TestHelm(t *testing.T) {
	program := realtest.Program(t, "helm", "helm", "YOYU_HELM")
	files, err := filepath.Glob("../helm/yoyu/ci/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values, error %v", err)
	}
	for _, file := range append(files, "../helm/yoyu/values.yaml") {
		out, err := exec.CommandContext(t.Context(), program, "template", "yoyu", "../helm/yoyu", "--values="+file).Output()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		manifests(t, file, string(out))
	}
}

// lint runs the readers that Docker itself uses.
func lint(t *testing.T, what, file string) []byte {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "run", "-C", "../../test/images", "-mod=readonly", "./lint", what, path)
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var said strings.Builder
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", file, err, said.String())
	}
	return out
}

func TestDockerfile(t *testing.T) {
	lint(t, "dockerfile", "../Dockerfile")
	var last map[string][]string
	if err := json.Unmarshal(lint(t, "image", "../Dockerfile"), &last); err != nil {
		t.Fatal(err)
	}
	if len(last["USER"]) != 1 || last["USER"][0] != "USER 65532:65532" {
		t.Errorf("runs as %v", last["USER"])
	}
	if len(last["RUN"]) > 0 || len(last["HEALTHCHECK"]) != 1 || !strings.Contains(last["HEALTHCHECK"][0], `CMD ["/yoyu", "healthcheck"]`) {
		t.Errorf("the last stage has no shell and asks itself: %v", last)
	}
	for _, add := range slices.Concat(last["COPY"], last["ADD"]) {
		if !strings.Contains(add, "--from=build /out/") && !strings.Contains(add, "--from=build --chown=65532:65532 /out/") {
			t.Errorf("%s: only what was built belongs into the image", add)
		}
	}
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range regexp.MustCompile(`(?m)^ARG \w+_IMAGE=(\S+)`).FindAllStringSubmatch(string(text), -1) {
		if _, tag, ok := strings.Cut(image[1], ":"); !ok || tag == "latest" {
			t.Errorf("image %s is of no version", image[1])
		}
	}
	if found := secret.FindString(string(text)); found != "" {
		t.Errorf("a secret? %s", found)
	}
}

func TestCompose(t *testing.T) {
	const file = "../docker-compose/docker-compose.yaml"
	var project struct {
		Services map[string]struct {
			Image, User, Restart string
			ReadOnly             bool     `json:"read_only"`
			CapDrop              []string `json:"cap_drop"`
			CapAdd               []string `json:"cap_add"`
			SecurityOpt          []string `json:"security_opt"`
			Privileged           bool
			NetworkMode          string `json:"network_mode"`
			MemLimit             string `json:"mem_limit"`
			Healthcheck          *struct{ Test []string }
			Ports                []struct {
				HostIP string `json:"host_ip"`
			}
			Volumes []struct {
				Type, Source, Target string
				ReadOnly             bool `json:"read_only"`
			}
			Environment map[string]*string
		}
	}
	if err := json.Unmarshal(lint(t, "compose", file), &project); err != nil {
		t.Fatal(err)
	}
	if len(project.Services) != 3 {
		t.Errorf("%d services, want yoyu, Prometheus and Grafana", len(project.Services))
	}
	for name, s := range project.Services {
		if user, _, _ := strings.Cut(s.User, ":"); user == "" || user == "0" || user == "root" {
			t.Errorf("%s: runs as %q", name, s.User)
		}
		if !s.ReadOnly || s.Privileged || s.NetworkMode == "host" || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 ||
			!slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: has rights that it does not need: %+v", name, s)
		}
		if s.Healthcheck == nil || s.MemLimit == "" || s.MemLimit == "0" {
			t.Errorf("%s: lacks a health check or a limit of memory", name)
		}
		if _, tag, ok := strings.Cut(s.Image, ":"); !ok || tag == "latest" {
			t.Errorf("%s: image %s is of no version", name, s.Image)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s: a port is open to all, %q", name, p.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if v.Type != "bind" {
				continue
			}
			if !v.ReadOnly {
				t.Errorf("%s: %s can be written", name, v.Source)
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for key, value := range s.Environment {
			if value != nil && regexp.MustCompile(`(?i)(key|token|password)$`).MatchString(key) {
				t.Errorf("%s: %s: secrets come from files", name, key)
			}
		}
	}
	prometheus, err := os.ReadFile("../docker-compose/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(prometheus), "honor_labels: true") {
		t.Error("yoyu is scraped without honor_labels")
	}
}

// The configuration of compose is one that yoyu takes.
func TestComposeConfig(t *testing.T) {
	var out bytes.Buffer
	if code := app.Main(t.Context(), []string{"check", "../docker-compose/yoyu/config.yaml"}, &out, &out); code != 0 {
		t.Errorf("exit %d\n%s", code, out.String())
	}
}

// No file of deploy/ holds what looks like a secret.
func TestNoSecretInText(t *testing.T) {
	allowed := regexp.MustCompile(`(?i)automountServiceAccountToken: ?(true|false)|secretKey: datadog-a(pi|pp)-key|remoteRef|disable_?initial_?admin|token-expiration`)
	err := filepath.WalkDir("..", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json", ".tpl", ""}, filepath.Ext(path)) || strings.HasSuffix(path, "schema.json") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(text), "\n") {
			line, _, _ = strings.Cut(line, " #")
			if secret.MatchString(line) && !allowed.MatchString(line) && !strings.Contains(line, "{{") && !strings.HasPrefix(strings.TrimSpace(line), "#") {
				t.Errorf("%s:%d: a secret? %s", path, i+1, line)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
