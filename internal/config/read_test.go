package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/config"
)

// A file without an end, and one that is merely enormous, are refused before they take all memory.
func TestFileTooLarge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	sparse, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	if err := sparse.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(file); err == nil || err.Error() != file+": cannot be read: it is larger than 64 MiB" {
		t.Errorf("%v", err)
	}
}
