package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// apiServer speaks as much of the API as a watch needs: lists with a version, and a stream of what
// changed since. The real one has its own suite.
type apiServer struct {
	mu      sync.Mutex
	version int
	items   map[string]map[string]json.RawMessage // by path, then name
	log     []change                              // since the last compaction
	oldest  int                                   // versions before it are gone
	absent  map[string]bool                       // paths that are not there
	broken  bool                                  // answers 500
	happens chan struct{}                         // closed, and made anew, when something happened
	lists   map[string]int
}

type change struct {
	version int
	path    string
	text    string
}

func newAPIServer() *apiServer {
	return &apiServer{items: map[string]map[string]json.RawMessage{}, absent: map[string]bool{}, happens: make(chan struct{}), lists: map[string]int{}}
}

// with changes the server under its lock and tells every stream.
func (a *apiServer) with(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	close(a.happens)
	a.happens = make(chan struct{})
}

func (a *apiServer) put(path, name, spec string) {
	a.with(func() {
		a.version++
		text := fmt.Sprintf(`{"metadata":{"namespace":"shop","name":%q,"resourceVersion":"%d"},%s}`, name, a.version, spec)
		kind := "MODIFIED"
		if a.items[path] == nil {
			a.items[path] = map[string]json.RawMessage{}
		}
		if a.items[path][name] == nil {
			kind = "ADDED"
		}
		a.items[path][name] = json.RawMessage(text)
		a.log = append(a.log, change{a.version, path, fmt.Sprintf(`{"type":%q,"object":%s}`, kind, text)})
	})
}

func (a *apiServer) drop(path, name string) {
	a.with(func() {
		a.version++
		text := fmt.Sprintf(`{"type":"DELETED","object":{"metadata":{"namespace":"shop","name":%q,"resourceVersion":"%d"}}}`, name, a.version)
		delete(a.items[path], name)
		a.log = append(a.log, change{a.version, path, text})
	})
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	absent, broken := a.absent[r.URL.Path], a.broken
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case broken:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"kind":"Status","message":"etcd is away"}`)
	case absent:
		w.WriteHeader(http.StatusNotFound)
	case r.URL.Query().Get("watch") != "":
		a.stream(w, r)
	default:
		a.mu.Lock()
		defer a.mu.Unlock()
		a.lists[r.URL.Path]++
		items := slices.Collect(maps.Values(a.items[r.URL.Path]))
		if items == nil {
			items = []json.RawMessage{}
		}
		json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]string{"resourceVersion": fmt.Sprint(a.version)}, "items": items})
	}
}

func (a *apiServer) stream(w http.ResponseWriter, r *http.Request) {
	var since int
	fmt.Sscan(r.URL.Query().Get("resourceVersion"), &since)
	a.mu.Lock()
	gone := since < a.oldest
	a.mu.Unlock()
	if gone {
		fmt.Fprintln(w, `{"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410,"message":"too old resource version"}}`)
		return
	}
	for {
		a.mu.Lock()
		wait := a.happens
		var fresh []change
		for _, c := range a.log {
			if c.version > since && c.path == r.URL.Path {
				fresh = append(fresh, c)
			}
		}
		broken := a.broken || a.absent[r.URL.Path] || since < a.oldest
		a.mu.Unlock()
		if broken {
			return // the connection breaks
		}
		for _, c := range fresh {
			fmt.Fprintln(w, c.text)
			since = c.version
		}
		w.(http.Flusher).Flush()
		select {
		case <-wait:
		case <-r.Context().Done():
			return
		}
	}
}

const (
	webVPA = `"spec":{"targetRef":{"kind":"Deployment","name":"web"}},"status":{"recommendation":{"containerRecommendations":[{"containerName":"app","target":{"cpu":"%s"}}]}}`
	webAPI = `"spec":{"replicas":%d,"template":{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"1"}}}]}}}`
)

// A running source follows what changes in its cluster, and asks for nothing twice.
func TestFollows(t *testing.T) {
	api := newAPIServer()
	api.put(vpaPath, "web", fmt.Sprintf(webVPA, "500m"))
	api.put(deployPath, "web", fmt.Sprintf(webAPI, 2))
	s, _ := cluster(t, api.ServeHTTP, Config{}, nil)
	running(t, s)

	becomes(t, s, "web 2 0.5")
	api.put(vpaPath, "web", fmt.Sprintf(webVPA, "600m"))
	becomes(t, s, "web 2 0.6")
	api.put(deployPath, "web", fmt.Sprintf(webAPI, 3))
	becomes(t, s, "web 3 0.6")
	api.put(vpaPath, "other", `"spec":{"targetRef":{"kind":"Deployment","name":"other"}}`)
	becomes(t, s, "other 0 –, web 3 0.6")
	api.drop(vpaPath, "other")
	becomes(t, s, "web 3 0.6")
	api.drop(deployPath, "web")
	becomes(t, s, "web 0 –")
	api.mu.Lock()
	if n := api.lists[vpaPath]; n != 1 {
		t.Errorf("listed %d times, want once", n)
	}
	api.mu.Unlock()

	// The server forgets the versions that the watches know, as after a long night: all is listed anew.
	api.with(func() {
		api.version += 10
		api.oldest, api.log = api.version, nil
	})
	api.put(vpaPath, "web", fmt.Sprintf(webVPA, "700m"))
	api.put(deployPath, "web", fmt.Sprintf(webAPI, 4))
	becomes(t, s, "web 4 0.7")
}

// The API of VPA may be installed later, and go again: a state, not an error.
func TestFollowsLater(t *testing.T) {
	var log safeBuffer
	api := newAPIServer()
	api.absent[vpaPath], api.absent[vpaPath+"checkpoints"] = true, true
	api.put(deployPath, "web", fmt.Sprintf(webAPI, 2))
	s, _ := cluster(t, api.ServeHTTP, Config{}, slog.New(slog.NewTextHandler(&log, nil)))
	running(t, s)
	becomes(t, s, "")
	becomes(t, s, "")
	if n := strings.Count(log.String(), "no VerticalPodAutoscaler API"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, log.String())
	}
	api.with(func() { clear(api.absent) })
	api.put(vpaPath, "web", fmt.Sprintf(webVPA, "500m"))
	becomes(t, s, "web 2 0.5")
}

// A server that never gave a list is an error that says so.
func TestFollowsNothing(t *testing.T) {
	api := newAPIServer()
	api.broken = true
	s, _ := cluster(t, api.ServeHTTP, Config{}, nil)
	running(t, s)
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	_, err := s.Collect(ctx, slo.Span{})
	if err == nil || !strings.Contains(err.Error(), "in all namespaces: 500 Internal Server Error: etcd is away") {
		t.Errorf("error %v", err)
	}
}

// running runs a source until the test ends.
func running(t *testing.T, s *Source) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for s.mirrors.Load() == nil {
		<-ticker.C
	}
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}

// becomes waits for the workloads to be so: name, replicas and target.
func becomes(t *testing.T, s *Source, want string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
	defer stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		got, err := s.Collect(ctx, slo.Span{})
		var texts []string
		for _, w := range got {
			target := "–"
			for _, c := range w.Containers {
				target = fmt.Sprint(c.CPU.Target.Float)
			}
			texts = append(texts, fmt.Sprintf("%s %d %s", w.Name, w.Replicas, target))
		}
		text := strings.Join(texts, ", ")
		if err == nil && text == want {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("workloads are %q, %v; want %q", text, err, want)
		}
	}
}

// safeBuffer is a log that several goroutines write.
type safeBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
