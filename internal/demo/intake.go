package demo

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Intake answers as Datadog's metrics intake does, and shows what it would have: somebody without
// an account sees what a sink sends. POST /api/v1/series takes points, GET / shows the newest of
// every series as text.
//
// As with Datadog, the last value written for a name and its tags in one second wins, and points
// more than an hour old or ten minutes ahead are taken with thanks and dropped.
type Intake struct {
	mux            *http.ServeMux
	wire, inflated int64 // largest body in bytes, as it comes and without its compression

	mu     sync.Mutex
	newest map[string]point // by name and tags
	posts  int
}

type point struct {
	at    time.Time
	value float64
}

var _ http.Handler = (*Intake)(nil)

// NewIntake makes an empty intake, with the limits of Datadog's.
func NewIntake() *Intake {
	i := &Intake{mux: http.NewServeMux(), wire: 3_200_000, inflated: 62_000_000, newest: map[string]point{}}
	i.mux.HandleFunc("POST /api/v1/series", i.take)
	i.mux.HandleFunc("GET /{$}", i.show)
	return i
}

// ServeHTTP answers a request.
func (i *Intake) ServeHTTP(w http.ResponseWriter, r *http.Request) { i.mux.ServeHTTP(w, r) }

// take is POST /api/v1/series.
func (i *Intake) take(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("DD-API-KEY") == "" {
		refuse(w, http.StatusForbidden, "Forbidden")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, i.wire+1))
	if err != nil {
		return // the client went away
	}
	if int64(len(body)) > i.wire {
		refuse(w, http.StatusRequestEntityTooLarge, "Payload too large")
		return
	}
	body, err = inflate(body, r.Header.Get("Content-Encoding"), i.inflated)
	if int64(len(body)) > i.inflated {
		refuse(w, http.StatusRequestEntityTooLarge, "Payload too large")
		return
	}
	var payload struct {
		Series []struct {
			Metric string        `json:"metric"`
			Tags   []string      `json:"tags"`
			Host   string        `json:"host"`
			Points [][2]*float64 `json:"points"` // Unix seconds and value
		} `json:"series"`
	}
	if err == nil {
		err = json.Unmarshal(body, &payload)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "Payload is not in the expected format: "+err.Error())
		return
	}
	now := time.Now()
	i.mu.Lock()
	i.posts++
	for _, s := range payload.Series {
		if s.Metric == "" {
			continue
		}
		tags := s.Tags
		if s.Host != "" {
			tags = append(tags, "host:"+s.Host)
		}
		slices.Sort(tags)
		key := s.Metric + "{" + strings.ToLower(strings.Join(slices.Compact(tags), ",")) + "}"
		for _, p := range s.Points {
			if p[0] == nil || p[1] == nil {
				continue
			}
			at := time.Unix(int64(*p[0]), 0).UTC()
			if at.Before(now.Add(-time.Hour)) || at.After(now.Add(10*time.Minute)) || at.Before(i.newest[key].at) {
				continue
			}
			i.newest[key] = point{at, *p[1]}
		}
	}
	i.mu.Unlock()
	w.Header().Set("Content-Type", "text/json")
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprint(w, `{"status": "ok"}`)
}

// inflate undoes a content encoding; of what is above limit it returns more than that.
func inflate(body []byte, encoding string, limit int64) ([]byte, error) {
	var r io.Reader
	var err error
	switch encoding {
	case "", "identity":
		return body, nil
	case "gzip":
		r, err = gzip.NewReader(bytes.NewReader(body))
	case "deflate":
		r, err = zlib.NewReader(bytes.NewReader(body))
	default:
		err = fmt.Errorf("content encoding %q", encoding)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, limit+1))
}

// refuse answers as Datadog's front does.
func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "error", "code": code, "errors": []string{text}})
}

// show is GET /: a line for every series, with its newest point.
func (i *Intake) show(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	lines := make([]string, 0, len(i.newest))
	for key, p := range i.newest {
		value := fmt.Sprintf("%.6g", p.value)
		if p.value == math.Trunc(p.value) && math.Abs(p.value) < 1e15 {
			value = fmt.Sprintf("%.0f", p.value)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s\n", key, value, p.at.Format(time.RFC3339)))
	}
	posts := i.posts
	i.mu.Unlock()
	slices.Sort(lines)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "What Datadog would have: %d series, from %d posts to /api/v1/series.\n\n%s", len(lines), posts, strings.Join(lines, ""))
}
