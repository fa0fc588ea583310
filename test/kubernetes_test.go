package test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/kubetest"
)

// What is said of the versions of Kubernetes, wherever it is said, is what the pinned modules build.
func TestKubernetesVersions(t *testing.T) {
	oldest, newest := pinned(t, "kubernetes-oldest"), pinned(t, "kubernetes")
	minor := func(version string) string { return version[1:strings.LastIndexByte(version, '.')] }
	if minor(oldest) == minor(newest) {
		t.Errorf("the oldest version is %s and the newest %s", oldest, newest)
	}
	for file, says := range map[string][]string{
		"build.sh": {
			"part kubernetes -ldflags='-s -w -X k8s.io/component-base/version.gitVersion=" + newest + "'",
			"part kubernetes-oldest -ldflags='-s -w -X k8s.io/component-base/version.gitVersion=" + oldest + "'",
		},
		"../deploy/helm/yoyu/Chart.yaml": {fmt.Sprintf("kubeVersion: %q", ">="+minor(oldest)+".0-0")},
		"../README.md":                   {fmt.Sprintf("against Kubernetes %s, the oldest supported, and %s.", minor(oldest), minor(newest))},
		"../deploy/kubernetes/README.md": {
			fmt.Sprintf("Kubernetes %s is the oldest supported, and the chart refuses older ones; %s is the newest tested.", minor(oldest), minor(newest)),
		},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range says {
			if !strings.Contains(strings.ReplaceAll(string(text), "\n", " "), want) {
				t.Errorf("%s does not say %q", file, want)
			}
		}
	}
}

// The servers are those of their modules, and the one is not the other.
func TestKubernetesServers(t *testing.T) {
	runs := func(module string) func(*testing.T) {
		return func(t *testing.T) {
			if got, want := kubetest.Start(t).Version(), pinned(t, module); got != want {
				t.Errorf("the API server is of version %s, and its module of %s", got, want)
			}
		}
	}
	t.Run("newest", runs("kubernetes"))
	kubetest.Oldest(t)
	t.Run("oldest", runs("kubernetes-oldest"))
}

// pinned is the version of Kubernetes that a module builds. Its libraries have the same one, with 0
// in the place of 1.
func pinned(t *testing.T, module string) string {
	t.Helper()
	text, err := os.ReadFile(module + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\tk8s\.io/kubernetes (v1\.\d+\.\d+)`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s/go.mod requires no k8s.io/kubernetes", module)
	}
	version := string(found[1])
	for _, one := range regexp.MustCompile(`(?m)^\tk8s\.io/\S+ => k8s\.io/\S+ (\S+)$`).FindAllSubmatch(text, -1) {
		if want := "v0" + strings.TrimPrefix(version, "v1"); string(one[1]) != want {
			t.Errorf("%s/go.mod: %s, want version %s", module, strings.TrimSpace(string(one[0])), want)
		}
	}
	return version
}
