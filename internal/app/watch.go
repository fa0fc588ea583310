package app

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/yoyu-sre/yoyu/internal/config"
)

// stamp tells one state of a configuration's files from another, by their names and contents: a
// mounted ConfigMap is swapped by a symbolic link, and its times say nothing. A file that cannot be
// read counts as absent.
type stamp [sha256.Size]byte

// stampOf looks at the files a configuration was read from, and at those its slo_files would find
// now. It is the zero stamp for one that came from no file.
func stampOf(c *config.Config) stamp {
	names := slices.Clone(c.Files)
	for _, glob := range c.Globs {
		found, _ := filepath.Glob(glob) // a bad pattern is no configuration
		names = append(names, found...)
	}
	slices.Sort(names)
	hash, any := sha256.New(), false
	for _, name := range slices.Compact(names) {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		any = true
		_, _ = io.WriteString(hash, name+"\x00")
		sum := sha256.Sum256(data)
		_, _ = hash.Write(sum[:])
	}
	if !any {
		return stamp{}
	}
	return stamp(hash.Sum(nil))
}
