package datadog

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// exchange is one recorded request to the real Datadog, with its response.
type exchange struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Request json.RawMessage   `json:"req"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Answer  json.RawMessage   `json:"resp"`
}

// recorded are the exchanges that the choice holds for. Recordings lie outside of the repository:
// without them the test is skipped.
func recorded(t *testing.T, choose func(exchange) bool) []exchange {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "datadog-recorded", "interactions.jsonl.gz"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the recordings of Datadog are not beside this checkout")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inflated, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []exchange
	lines := bufio.NewScanner(inflated)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err == nil && choose(e) {
			out = append(out, e)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("nothing of the kind was recorded")
	}
	return out
}
