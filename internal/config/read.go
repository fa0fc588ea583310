package config

import (
	"fmt"
	"io"
	"os"
)

// maxFile is how large a file of the configuration may be: some hundred thousand SLOs, written out.
const maxFile = 64 << 20

// readFile reads a file, but not more of it than a configuration can be.
func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return data, err
}
