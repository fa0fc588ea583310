// Package recorded reads what clients asked of the real Datadog, and what it answered. Recordings
// are other people's and lie beside the checkout, not in it: a test that needs them is skipped
// without them, and this is the one place that does so.
package recorded

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Exchange is one request with its response. Bodies that are no JSON are strings of it.
type Exchange struct {
	Cassette string            `json:"cassette"` // the recording
	Sequence int               `json:"seq"`      // the place in it
	Now      string            `json:"now"`      // RFC 3339
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	Query    [][2]string       `json:"query"`
	Request  json.RawMessage   `json:"req"` // "" of none
	Status   int               `json:"status"`
	Headers  map[string]string `json:"headers"` // names in small letters
	Answer   json.RawMessage   `json:"resp"`    // "" of none
}

// All are the exchanges that the choice holds for, recording by recording, each in its order; nil
// chooses all. That there is none fails the test.
func All(t testing.TB, choose func(Exchange) bool) []Exchange {
	t.Helper()
	f, err := os.Open(file(t))
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
	place := map[string]int{} // of the recordings
	var out []Exchange
	lines := bufio.NewScanner(inflated)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e Exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if choose != nil && !choose(e) {
			continue
		}
		if _, known := place[e.Cassette]; !known {
			place[e.Cassette] = len(place)
		}
		out = append(out, e)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("nothing of the kind was recorded")
	}
	slices.SortStableFunc(out, func(a, b Exchange) int {
		if a.Cassette != b.Cassette {
			return place[a.Cassette] - place[b.Cassette]
		}
		return a.Sequence - b.Sequence
	})
	return out
}

// file is where the recordings are: beside the folder that holds go.mod.
func file(t testing.TB) string {
	t.Helper()
	folder, err := filepath.Abs(".")
	for err == nil {
		if _, gone := os.Stat(filepath.Join(folder, "go.mod")); gone == nil {
			return filepath.Join(folder, "..", "shared", "datadog-recorded", "interactions.jsonl.gz")
		}
		if folder == filepath.Dir(folder) {
			err = errors.New("no go.mod in any folder above")
		}
		folder = filepath.Dir(folder)
	}
	t.Fatal(err)
	return ""
}
