package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/config"
)

func TestStampOf(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	main := write("config.yaml", "tick: 30s")
	c := &config.Config{Files: []string{main}, Globs: []string{filepath.Join(dir, "slos-*.yaml")}}
	last := stampOf(c)
	if last == (stamp{}) || stampOf(c) != last {
		t.Fatal("a stamp does not stand for the files")
	}
	for _, change := range []struct {
		what string
		do   func()
	}{
		{"another text of the same length", func() { write("config.yaml", "tick: 60s") }},
		{"a new file of slo_files", func() { write("slos-a.yaml", "") }},
		{"a symbolic link to another file", func() {
			write("other", "tick: 90s")
			if err := os.Remove(main); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("other", main); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file that went", func() {
			if err := os.Remove(filepath.Join(dir, "slos-a.yaml")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		change.do()
		now := stampOf(c)
		if now == last {
			t.Errorf("%s: not noticed", change.what)
		}
		last = now
	}
	if stampOf(&config.Config{Files: []string{"demo.yaml"}}) != (stamp{}) {
		t.Error("a configuration from no file has a stamp")
	}
}
