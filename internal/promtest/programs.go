package promtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Prometheus is the path of the pinned server; without one the test is skipped, or fails.
func Prometheus(t testing.TB) string {
	t.Helper()
	return program(t, "prometheus", "prometheus", "YOYU_PROMETHEUS")
}

// Promtool is the path of the pinned promtool; without one the test is skipped, or fails.
func Promtool(t testing.TB) string {
	t.Helper()
	return program(t, "prometheus", "promtool", "YOYU_PROMTOOL")
}

// AlertmanagerProgram is the path of the pinned Alertmanager; without one the test is skipped, or fails.
func AlertmanagerProgram(t testing.TB) string {
	t.Helper()
	return program(t, "alertmanager", "alertmanager", "YOYU_ALERTMANAGER")
}

// Amtool is the path of the pinned amtool; without one the test is skipped, or fails.
func Amtool(t testing.TB) string {
	t.Helper()
	return program(t, "alertmanager", "amtool", "YOYU_AMTOOL")
}

// Kubectl is the path of a kubectl: $YOYU_KUBECTL, else what the PATH has; without one the test is
// skipped, or fails.
func Kubectl(t testing.TB) string {
	t.Helper()
	return find(t, "kubectl", search{named: os.Getenv("YOYU_KUBECTL"), cache: func() (string, error) {
		path, err := exec.LookPath("kubectl")
		if err != nil {
			return os.DevNull, nil // where there is none
		}
		return filepath.Dir(path), nil
	}})
}

// RunPromtool runs promtool in a folder ("" is the current one) and returns all that it printed.
// A failure is the caller's to judge.
func RunPromtool(t testing.TB, dir string, arguments ...string) (string, error) {
	t.Helper()
	command := exec.Command(Promtool(t), arguments...)
	command.Dir = dir
	output, err := command.CombinedOutput()
	return string(output), err
}

// CreateBlocks writes OpenMetrics text with timestamps as blocks into dir, which a server may then
// be started on (Options.Dir). The text ends with "# EOF".
func CreateBlocks(t testing.TB, dir string, openmetrics io.Reader) {
	t.Helper()
	promtool := Promtool(t)
	text, err := os.Create(filepath.Join(t.TempDir(), "samples.om"))
	if err != nil {
		t.Fatalf("blocks: %v", err)
	}
	_, err = io.Copy(text, openmetrics)
	if err = errors.Join(err, text.Close()); err != nil {
		t.Fatalf("blocks: %v", err)
	}
	// Blocks of two hours, promtool's own choice, would make a month a matter of minutes.
	output, err := exec.Command(promtool, "tsdb", "create-blocks-from", "--max-block-duration=30d", "openmetrics", text.Name(), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("blocks: promtool: %v\n%s", err, output)
	}
}

// program finds one of the programs of a part of test/build.sh, or ends the test.
func program(t testing.TB, part, name, variable string) string {
	t.Helper()
	return find(t, name, search{named: os.Getenv(variable), cache: func() (string, error) { return cache(part) }})
}

// find ends the test where a program is not to be found.
func find(t testing.TB, name string, s search) string {
	t.Helper()
	s.short, s.required = testing.Short(), isTrue(os.Getenv("CI")) || isTrue(os.Getenv("YOYU_REAL"))
	path, err := s.find(name)
	var missing errMissing
	switch {
	case errors.As(err, &missing):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return path
}

// errMissing is a reason to skip a test, and no failure.
type errMissing string

func (e errMissing) Error() string { return string(e) }

// search is where a program may be, and how bad it is when it is not.
type search struct {
	short    bool                   // real parts are not wanted
	required bool                   // real parts must be there
	named    string                 // path that was named by a variable; "" if none
	cache    func() (string, error) // folder of the build cache
}

func (s search) find(name string) (string, error) {
	if s.short {
		return "", errMissing(name + ": a real one is not run in short mode")
	}
	path := s.named
	if path == "" {
		dir, err := s.cache()
		if err != nil {
			return "", fmt.Errorf("%s: cache: %w", name, err)
		}
		path = filepath.Join(dir, name)
	}
	if _, err := os.Stat(path); err != nil {
		if s.required || s.named != "" {
			return "", fmt.Errorf("%s: %w (make test builds it)", name, err)
		}
		return "", errMissing(name + ": no real one on this machine: make test builds it")
	}
	return path, nil
}

// cache is the folder that test/build.sh builds the programs of a part into; it need not exist.
func cache(part string) (string, error) {
	folder, _ := caches.LoadOrStore(part, sync.OnceValues(func() (string, error) { return findCache(part) }))
	return folder.(func() (string, error))()
}

var caches sync.Map // of functions by part

func findCache(part string) (string, error) {
	root, err := root()
	if err != nil {
		return "", err
	}
	output, err := exec.Command("bash", filepath.Join(root, "test", "build.sh"), "--path", part).Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return "", fmt.Errorf("test/build.sh: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}

// root is the folder of the checkout, above the test that runs.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "test", "build.sh")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no test/build.sh in any folder above")
		}
		dir = parent
	}
}

func isTrue(text string) bool {
	yes, err := strconv.ParseBool(text)
	return err == nil && yes
}
