// Package test holds what is tested from outside: the scripts that build the real parts, and the
// suites that run the whole program against them.
package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The script is tried on a module of one tiny program in the place of Prometheus.
func TestBuild(t *testing.T) {
	house := newHouse(t)

	where, _, err := house.build("--path", "prometheus")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(where); !os.IsNotExist(err) {
		t.Fatalf("--path built %s", where)
	}

	dir, said, err := house.build("prometheus")
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if dir != where || !strings.HasPrefix(dir, house.cache) {
		t.Errorf("built into %s, want %s below %s", dir, where, house.cache)
	}
	program := filepath.Join(dir, "prometheus")
	if output, err := exec.Command(program).CombinedOutput(); err != nil || string(output) != "real\n" {
		t.Errorf("%s printed %q, error %v", program, output, err)
	}

	// A second run must not build: not even a source that no longer compiles is looked at.
	house.write("prometheus/main.go", "package broken")
	if again, said, err := house.build("prometheus"); err != nil || again != dir || said != "" {
		t.Errorf("again: built into %s and said %q, error %v", again, said, err)
	}

	// Another go.sum is another key; a build that fails leaves nothing that looks like one.
	house.write("prometheus/go.sum", "\n")
	if broken, _, err := house.build(); err == nil {
		t.Errorf("a broken source was built into %s", broken)
	}
	left, err := os.ReadDir(house.cache)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || left[0].Name() != filepath.Base(dir) {
		t.Errorf("the cache holds %v, want %s alone", left, filepath.Base(dir))
	}
}

// What a module ships beside its programs is put beside them.
func TestBuildShips(t *testing.T) {
	house := newHouse(t)
	bare, _, err := house.build("--path", "prometheus")
	if err != nil {
		t.Fatal(err)
	}
	house.write("prometheus/ships", "example.org/prometheus crds/thing.yaml\n")
	house.write("prometheus/crds/thing.yaml", "kind: Thing\n")
	dir, said, err := house.build("prometheus")
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if dir == bare {
		t.Error("the key does not hold what is shipped")
	}
	if text, err := os.ReadFile(filepath.Join(dir, "thing.yaml")); err != nil || string(text) != "kind: Thing\n" {
		t.Errorf("shipped %q, error %v", text, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("the folder holds %v, error %v; want a program and a file", left, err)
	}

	house.write("prometheus/ships", "example.org/prometheus crds/gone.yaml\n")
	if dir, _, err := house.build("prometheus"); err == nil {
		t.Errorf("without what it ships it was built into %s", dir)
	}
}

func TestBuildRefusesWhatItDoesNotKnow(t *testing.T) {
	house := newHouse(t)
	for argument, want := range map[string]string{
		"promteheus": "unknown part promteheus; known: alertmanager helm kubernetes kubernetes-oldest operators prometheus vpa",
		"--pat":      "unknown flag --pat",
	} {
		if _, said, err := house.build("--path", argument); err == nil || !strings.Contains(said, want) {
			t.Errorf("%s: error %v, said %q, want %q", argument, err, said, want)
		}
	}
}

// house is a folder with the script and a module beside it.
type house struct {
	t          *testing.T
	dir, cache string
}

func newHouse(t *testing.T) house {
	script, err := os.ReadFile("build.sh")
	if err != nil {
		t.Fatal(err)
	}
	h := house{t: t, dir: t.TempDir(), cache: filepath.Join(t.TempDir(), "cache of tests")}
	h.write("build.sh", string(script))
	h.write("prometheus/go.mod", "module example.org/prometheus\n\ngo 1.26\n\ntool example.org/prometheus\n")
	h.write("prometheus/go.sum", "")
	h.write("prometheus/main.go", "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"real\") }\n")
	return h
}

func (h house) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// build runs the script and returns the path it prints and what it says besides.
func (h house) build(arguments ...string) (path, said string, err error) {
	h.t.Helper()
	command := exec.Command("bash", append([]string{filepath.Join(h.dir, "build.sh")}, arguments...)...)
	command.Env = append(os.Environ(), "YOYU_TEST_CACHE="+h.cache)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	return strings.TrimSpace(stdout.String()), stderr.String(), err
}
