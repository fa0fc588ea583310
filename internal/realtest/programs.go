// Package realtest finds, starts and ends real programs inside a test. Kits for one system, such as
// promtest and kubetest, stand on it.
//
// The programs are the pinned ones that test/build.sh builds; nothing here builds them, because that
// takes minutes.
package realtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Program is the path of one of the programs of a part of test/build.sh: what a variable of the
// environment names, else what the cache holds. Without it the test is skipped, or fails where real
// parts must be there ($CI or $YOYU_REAL is true).
func Program(t testing.TB, part, name, variable string) string {
	t.Helper()
	path, err := search{
		short:    testing.Short(),
		required: isTrue(os.Getenv("CI")) || isTrue(os.Getenv("YOYU_REAL")),
		named:    os.Getenv(variable),
		cache:    func() (string, error) { return cache(part) },
	}.find(name)
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
	root, err := Root()
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

// Root is the folder of the checkout, above the test that runs.
func Root() (string, error) {
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
