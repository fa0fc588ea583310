package datadog

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// intake is a double of Datadog's intake of version 1, as recordings of the real one show it.
type intake struct {
	*httptest.Server
	key string // the one that it accepts

	mu       sync.Mutex
	requests []request
	reject   func(n int) (status int, contentType, body string) // of the n-th request; 0: accept
}

type request struct {
	key    string
	bytes  int // inflated
	series []point
}

type point struct {
	Metric string               `json:"metric"`
	Type   string               `json:"type"`
	Tags   []string             `json:"tags"`
	Points [][2]json.RawMessage `json:"points"`
}

// The answers of the real intake, letter for letter.
const (
	acceptedType = "text/json"
	acceptedBody = `{"status": "ok"}`
	refusedType  = "application/json"
	refusedBody  = `{"status":"error","code":403,"errors":["Forbidden"],"statuspage":"http://status.datadoghq.com","twitter":"http://twitter.com/datadogops","email":"user@example.com"}`
)

func newIntake(t *testing.T, key string) *intake {
	t.Helper()
	in := &intake{key: key}
	in.Server = httptest.NewServer(http.HandlerFunc(in.answer))
	t.Cleanup(in.Close)
	return in
}

// answer checks in the order in which the real intake does: key, content type, content.
func (in *intake) answer(w http.ResponseWriter, r *http.Request) {
	in.mu.Lock()
	defer in.mu.Unlock()
	reply := func(status int, contentType, body string) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
	if r.Method != http.MethodPost || r.URL.Path != "/api/v1/series" {
		reply(http.StatusNotFound, "application/json", `{"errors":["Not found"]}`)
		return
	}
	got := request{key: r.Header.Get("DD-API-KEY")}
	if got.key != in.key {
		in.requests = append(in.requests, got)
		reply(http.StatusForbidden, refusedType, refusedBody)
		return
	}
	text, err := read(r)
	if err == nil {
		got.bytes = len(text)
		got.series, err = decode(text)
	}
	if err != nil {
		reply(http.StatusBadRequest, "application/json", fmt.Sprintf(`{"errors":[%q]}`, err.Error()))
		return
	}
	in.requests = append(in.requests, got)
	if in.reject != nil {
		if status, contentType, body := in.reject(len(in.requests)); status != 0 {
			reply(status, contentType, body)
			return
		}
	}
	reply(http.StatusAccepted, acceptedType, acceptedBody)
}

func read(r *http.Request) ([]byte, error) {
	if !strings.HasSuffix(r.Header.Get("Content-Type"), "/json") {
		return nil, errors.New("content type is not JSON")
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		inflated, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, errors.New("body is not gzip")
		}
		body = inflated
	}
	return io.ReadAll(body)
}

// decode reads a payload and refuses what the real intake would silently lose.
func decode(text []byte) ([]point, error) {
	var payload struct {
		Series []point `json:"series"`
	}
	in := json.NewDecoder(strings.NewReader(string(text)))
	in.DisallowUnknownFields() // a host would multiply custom metrics
	if err := in.Decode(&payload); err != nil {
		return nil, err
	}
	for _, p := range payload.Series {
		if p.Metric == "" || p.Type != "gauge" || len(p.Points) != 1 {
			return nil, fmt.Errorf("series %s: want a gauge with one point", p.Metric)
		}
		var seconds int64
		var value float64
		if json.Unmarshal(p.Points[0][0], &seconds) != nil || json.Unmarshal(p.Points[0][1], &value) != nil {
			return nil, fmt.Errorf("series %s: want whole seconds and a number, got %s", p.Metric, p.Points[0])
		}
	}
	return payload.Series, nil
}

// received are the requests so far.
func (in *intake) received() []request {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]request(nil), in.requests...)
}

// lines are all points so far, as "name{tag,tag} value@second".
func (in *intake) lines() []string {
	var out []string
	for _, r := range in.received() {
		for _, p := range r.series {
			out = append(out, fmt.Sprintf("%s{%s} %s@%s", p.Metric, strings.Join(p.Tags, ","), p.Points[0][1], p.Points[0][0]))
		}
	}
	return out
}

func (in *intake) rejects(answer func(n int) (status int, contentType, body string)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.reject = answer
}

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
