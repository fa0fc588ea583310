package realtest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A newcomer's `go test ./...` must pass without real parts, and a build that promised them must
// not: a test that is skipped where it counts proves nothing.
func TestMissingProgram(t *testing.T) {
	full, empty := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "prometheus"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	in := func(dir string) func() (string, error) { return func() (string, error) { return dir, nil } }
	broken := func() (string, error) { return "", errors.New("no bash") }
	named, gone := filepath.Join(full, "prometheus"), filepath.Join(empty, "prometheus")

	for _, f := range []struct {
		name    string
		search  search
		found   string // path
		skipped bool
		fault   string
	}{
		{"in the cache", search{cache: in(full)}, named, false, ""},
		{"in the cache, where it must be", search{cache: in(full), required: true}, named, false, ""},
		{"named", search{cache: broken, named: named}, named, false, ""},
		{"nowhere", search{cache: in(empty)}, "", true, "make test builds it"},
		{"nowhere, where it must be", search{cache: in(empty), required: true}, "", false, "no such file"},
		{"named, but not there", search{cache: in(full), named: gone}, "", false, "no such file"},
		{"the cache cannot be told", search{cache: broken}, "", false, "no bash"},
		{"short", search{cache: in(full), short: true, required: true}, "", true, "short mode"},
	} {
		found, err := f.search.find("prometheus")
		var missing errMissing
		if found != f.found || errors.As(err, &missing) != f.skipped {
			t.Errorf("%s: found %q, error %v", f.name, found, err)
		}
		if err != nil && (f.fault == "" || !strings.Contains(err.Error(), f.fault)) {
			t.Errorf("%s: error %q, want one that says %q", f.name, err, f.fault)
		}
	}
}
