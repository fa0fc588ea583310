// Package policy holds one rule for all that is given to operators, whatever it is written in: what
// runs yoyu runs without rights that it does not need.
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
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
		if why := imageFault(c.Image); why != "" {
			fault("%s: image %s: %s", c.Name, c.Image, why)
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

// agentAnnotation is what tells the Datadog Agent to scrape yoyu: after the slash stands the container.
const agentAnnotation = "ad.datadoghq.com/yoyu."

// routesFault says that manifests open two routes to Datadog, or "": the Agent scrapes yoyu, and a
// sink of its configuration sends the same names.
func routesFault(t *testing.T, text string) string {
	t.Helper()
	agent, sink := "", ""
	for _, document := range strings.Split("\n"+text, "\n---") {
		var object struct {
			Kind string
			Data map[string]string
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		for key := range object.Spec.Template.Annotations {
			if strings.HasPrefix(key, agentAnnotation) {
				agent = key
			}
		}
		if object.Kind != "ConfigMap" {
			continue
		}
		var config struct {
			Sinks []struct{ Name, Type string }
		}
		if err := yaml.Unmarshal([]byte(object.Data["config.yaml"]), &config); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		for _, s := range config.Sinks {
			if s.Type == "datadog" {
				sink = s.Name
			}
		}
	}
	if agent != "" && sink != "" {
		return fmt.Sprintf("two routes to Datadog: annotation %s, and sink %s", agent, sink)
	}
	return ""
}

// The Agent's component is refused beside a configuration with a sink; each alone is taken.
func TestOneRouteToDatadog(t *testing.T) {
	kubectl := kubetest.Kubectl(t)
	kubernetes, err := filepath.Abs("../kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	const sink = "{sinks: [{name: dd, type: datadog, api_key_file: /secrets/api}]}\n"
	for _, one := range []struct{ component, config, want string }{
		{"datadog-agent", sink, "two routes to Datadog: annotation ad.datadoghq.com/yoyu.checks, and sink dd"},
		{"datadog-agent", "{sinks: [{name: am, type: alertmanager, url: 'http://am:9093'}]}\n", ""},
		{"prometheus-operator", sink, ""},
	} {
		overlay, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		up, err := filepath.Rel(overlay, kubernetes)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"config.yaml": one.config,
			"kustomization.yaml": "resources: [" + up + "/base]\ncomponents: [" + up + "/components/" + one.component + "]\n" +
				"configMapGenerator: [{name: yoyu, namespace: yoyu, behavior: replace, files: [config.yaml]}]\n",
		} {
			if err := os.WriteFile(filepath.Join(overlay, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", overlay).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", one.component, err, out)
		}
		if got := routesFault(t, string(out)); got != one.want {
			t.Errorf("%s with %s: %q, want %q", one.component, one.config, got, one.want)
		}
	}
}

func manifests(t *testing.T, what, text string) {
	t.Helper()
	if fault := routesFault(t, text); fault != "" {
		t.Errorf("%s: %s", what, fault)
	}
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
		func(s *corev1.PodSpec) { s.Containers[0].Image = "registry:5000/yoyu" },
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

// Whatever runs yoyu takes its image by digest.
func TestDigest(t *testing.T) {
	hash := "sha256:" + strings.Repeat("0a", 32)
	want := regexp.MustCompile(`image"?: "?ghcr\.io/yoyu-sre/yoyu@` + hash + `"?[\s,}]`)
	base, err := filepath.Abs("../kubernetes/base")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if base, err = filepath.Rel(overlay, base); err != nil {
		t.Fatal(err)
	}
	text := "resources: [" + base + "]\nimages: [{name: ghcr.io/yoyu-sre/yoyu, digest: '" + hash + "'}]\n"
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, command := range map[string]*exec.Cmd{
		"Kustomize": exec.CommandContext(t.Context(), kubetest.Kubectl(t), "kustomize", overlay),
		"the chart": exec.CommandContext(t.Context(), realtest.Program(t, "helm", "helm", "YOYU_HELM"), "template", "yoyu", "../helm/yoyu", "--set=image.digest="+hash),
	} {
		out, err := command.Output()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if images := regexp.MustCompile(`(?m)^ +(- )?image: .*$`).FindAll(out, -1); len(images) == 0 || len(images) != len(want.FindAll(out, -1)) {
			t.Errorf("%s: images %s", what, images)
		}
	}
	t.Setenv("YOYU_IMAGE", "ghcr.io/yoyu-sre/yoyu@"+hash)
	if out := lint(t, "compose", "../docker-compose/docker-compose.yaml"); !want.Match(bytes.ReplaceAll(out, []byte(`":"`), []byte(`": "`))) {
		t.Errorf("compose: %s", out)
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
		if why := imageFault(image[1]); why != "" {
			t.Errorf("image %s: %s", image[1], why)
		}
	}
	if found := secret.FindString(string(text)); found != "" {
		t.Errorf("a secret? %s", found)
	}
}

// project is what a file of Docker Compose comes to, every default filled in.
type project struct {
	Services map[string]service
}

type service struct {
	Image, User, Pid, Ipc string
	Command               []string
	ReadOnly              bool     `json:"read_only"`
	CapDrop               []string `json:"cap_drop"`
	CapAdd                []string `json:"cap_add"`
	SecurityOpt           []string `json:"security_opt"`
	Devices               []any
	Privileged            bool
	NetworkMode           string `json:"network_mode"`
	MemLimit              string `json:"mem_limit"`
	Healthcheck           *struct {
		Test    []string
		Disable bool
	}
	Ports []struct {
		HostIP string `json:"host_ip"`
	}
	Volumes []struct {
		Type, Source, Target string
		ReadOnly             bool `json:"read_only"`
	}
	Environment map[string]*string
}

// composeFaults says what is wrong with what Docker Compose would run, in the order of names.
func composeFaults(p project) (faults []string) {
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		fault := func(format string, args ...any) {
			faults = append(faults, name+": "+fmt.Sprintf(format, args...))
		}
		if !notRoot(s.User) {
			fault("may run as root")
		}
		if !s.ReadOnly {
			fault("its root can be written")
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 {
			fault("capabilities")
		}
		if s.Privileged || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			fault("privileges")
		}
		if s.NetworkMode != "" || s.Pid != "" || s.Ipc != "" || len(s.Devices) > 0 {
			fault("shares what is the host's")
		}
		if s.Healthcheck == nil || s.Healthcheck.Disable || len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] == "NONE" {
			fault("does not ask itself whether it is well")
		}
		if s.MemLimit == "" || s.MemLimit == "0" {
			fault("no limit of memory")
		}
		if why := imageFault(s.Image); why != "" {
			fault("image %s: %s", s.Image, why)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				fault("a port is open to all, %q", p.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == "bind" && (!v.ReadOnly || strings.HasSuffix(v.Source, ".sock")) {
				fault("%s: the host's own can be written", v.Target)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(s.Environment)) {
			if value := s.Environment[key]; value != nil && (regexp.MustCompile(`(?i)(key|token|password|secret)$`).MatchString(key) || secret.MatchString(*value)) {
				fault("%s: secrets come from files", key)
			}
		}
		for _, argument := range s.Command {
			if secret.MatchString(argument) {
				fault("%s: a secret on the command line", argument)
			}
		}
	}
	return faults
}

func TestCompose(t *testing.T) {
	const file = "../docker-compose/docker-compose.yaml"
	text := lint(t, "compose", file)
	read := func() (p project) {
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got := slices.Sorted(maps.Keys(read().Services)); !slices.Equal(got, []string{"grafana", "prometheus", "yoyu"}) {
		t.Fatalf("services %v", got)
	}
	for _, fault := range composeFaults(read()) {
		t.Errorf("%s: %s", file, fault)
	}
	if test := read().Services["yoyu"].Healthcheck.Test; !slices.Equal(test, []string{"CMD", "/yoyu", "healthcheck"}) {
		t.Errorf("yoyu asks itself by %v", test)
	}
	for _, s := range read().Services {
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == "bind" && err != nil {
				t.Error(err)
			}
		}
	}
	// Each rule finds what it is for: every broken copy has its one fault.
	word := "x"
	for _, broken := range []struct {
		want   string
		change func(*service)
	}{
		{"may run as root", func(s *service) { s.User = "" }},
		{"may run as root", func(s *service) { s.User = "0:0" }},
		{"may run as root", func(s *service) { s.User = "nobody" }},
		{"its root can be written", func(s *service) { s.ReadOnly = false }},
		{"capabilities", func(s *service) { s.CapDrop = nil }},
		{"capabilities", func(s *service) { s.CapAdd = []string{"NET_RAW"} }},
		{"privileges", func(s *service) { s.Privileged = true }},
		{"privileges", func(s *service) { s.SecurityOpt = nil }},
		{"privileges", func(s *service) { s.SecurityOpt = append(s.SecurityOpt, "seccomp:unconfined") }},
		{"shares what is the host's", func(s *service) { s.NetworkMode = "host" }},
		{"shares what is the host's", func(s *service) { s.Pid = "host" }},
		{"shares what is the host's", func(s *service) { s.Ipc = "host" }},
		{"shares what is the host's", func(s *service) { s.Devices = []any{"/dev/mem"} }},
		{"does not ask itself whether it is well", func(s *service) { s.Healthcheck = nil }},
		{"does not ask itself whether it is well", func(s *service) { s.Healthcheck.Disable = true }},
		{"does not ask itself whether it is well", func(s *service) { s.Healthcheck.Test = []string{"NONE"} }},
		{"no limit of memory", func(s *service) { s.MemLimit = "" }},
		{"image yoyu:latest: latest is no version", func(s *service) { s.Image = "yoyu:latest" }},
		{"image yoyu: it has no version", func(s *service) { s.Image = "yoyu" }},
		{`a port is open to all, ""`, func(s *service) { s.Ports[0].HostIP = "" }},
		{"/etc/yoyu: the host's own can be written", func(s *service) {
			for i, v := range s.Volumes {
				if v.Target == "/etc/yoyu" {
					s.Volumes[i].ReadOnly = false
				}
			}
		}},
		{"DD_API_KEY: secrets come from files", func(s *service) { s.Environment["DD_API_KEY"] = &word }},
		{"--password=x: a secret on the command line", func(s *service) { s.Command = append(s.Command, "--password=x") }},
	} {
		copied := read()
		yoyu := copied.Services["yoyu"]
		broken.change(&yoyu)
		copied.Services["yoyu"] = yoyu
		if faults := composeFaults(copied); !slices.Equal(faults, []string{"yoyu: " + broken.want}) {
			t.Errorf("%q, want %q alone", faults, broken.want)
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
