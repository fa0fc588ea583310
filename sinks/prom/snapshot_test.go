package prom

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// A tick that nobody scrapes makes no page; one that everybody scrapes makes each kind once.
func TestPagesAreMadeOnceAndOnDemand(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Large(50))
	for range 3 {
		if len(s.now.pages) != 0 {
			t.Fatalf("%d pages that nobody asked for", len(s.now.pages))
		}
		if err := s.Write(t.Context(), sinktest.Large(50)); err != nil {
			t.Fatal(err)
		}
	}
	first := scrape(t, s, acceptText, "gzip")
	made := s.now.pages[pageKey{format: text, compressed: true}]
	if len(s.now.pages) != 1 || made == nil || len(made.body) == 0 {
		t.Fatalf("pages %v, want the compressed one", s.now.pages)
	}
	// A page that is not made again is not: what is scrawled over its numbers does not show.
	clear(s.now.values)
	if second := scrape(t, s, acceptText, "gzip"); !bytes.Equal(first.body, second.body) {
		t.Error("a further scraper of the same tick got another page")
	}
	if other := scrape(t, s, acceptOpenMetrics, "gzip"); bytes.Equal(other.body, first.body) || len(s.now.pages) != 2 {
		t.Error("OpenMetrics is not a page of its own")
	}
}

// A scrape during a tick sees the old report or the new one, never half of each.
func TestScrapesSeeWholeReports(t *testing.T) {
	small, large := sinktest.Large(3), sinktest.Large(100)
	s := wrote(t, Options{}, small)
	pages := map[string]bool{}
	for _, r := range []*sinks.Report{small, large} {
		for _, accept := range []string{acceptText, acceptOpenMetrics} {
			pages[string(scrape(t, wrote(t, Options{}, r), accept, "").body)] = true
		}
	}
	var scrapers sync.WaitGroup
	for i := range 8 {
		scrapers.Go(func() {
			accept, encoding := []string{acceptText, acceptOpenMetrics}[i%2], []string{"", "gzip"}[i/2%2]
			for range 20 {
				if !pages[string(scrape(t, s, accept, encoding).body)] {
					t.Errorf("%s, %s: the page of neither report", accept, encoding)
				}
			}
		})
	}
	for i := range 200 {
		r := small
		if i%2 == 0 {
			r = large
		}
		if err := s.Write(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	scrapers.Wait()
}

// slowWriter is a scraper's connection that takes its first bytes and then waits.
type slowWriter struct {
	*httptest.ResponseRecorder
	began, goOn chan struct{}
	once        sync.Once
}

func (w *slowWriter) Write(p []byte) (int, error) {
	half := len(p) / 2
	w.ResponseRecorder.Write(p[:half])
	w.once.Do(func() { close(w.began); <-w.goOn })
	w.ResponseRecorder.Write(p[half:])
	return len(p), nil
}

// Ticks go on while a scraper reads slowly, and what it reads stays as it was when it came.
func TestSlowScraper(t *testing.T) {
	for _, encoding := range []string{"", "gzip"} {
		s := wrote(t, Options{}, sinktest.Large(200))
		want := scrape(t, s, acceptText, "").body
		w := &slowWriter{ResponseRecorder: httptest.NewRecorder(), began: make(chan struct{}), goOn: make(chan struct{})}
		request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		request.Header.Set("Accept-Encoding", encoding)
		var scraper sync.WaitGroup
		scraper.Go(func() { s.Handler(nil, HandlerOptions{}).ServeHTTP(w, request) })
		<-w.began
		for i := range 6 {
			if err := s.Write(t.Context(), sinktest.Large(150+50*i)); err != nil {
				t.Fatal(err)
			}
			scrape(t, s, acceptText, encoding)
		}
		close(w.goOn)
		scraper.Wait()
		got := w.Body.Bytes()
		if encoding == "gzip" {
			got = unzip(t, got)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%q: the slow scraper's page changed under its eyes", encoding)
		}
	}
}

// held is what a sink holds in buffers.
func (s *Sink) held() (bytes int) {
	for _, n := range append([]*snapshot{s.now}, s.spare...) {
		bytes += 8 * cap(n.values)
		for _, p := range n.pages {
			bytes += cap(p.body)
		}
	}
	return bytes
}

// Ticks of the same size use the same memory; a page that nobody wants any more, or one that was
// once much larger, gives its memory back.
func TestMemory(t *testing.T) {
	s := New(Options{})
	ticks := func(n int, r *sinks.Report, encodings ...string) int {
		t.Helper()
		for range n {
			if err := s.Write(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			for _, encoding := range encodings {
				scrape(t, s, acceptText, encoding)
			}
		}
		return s.held()
	}
	large, small := sinktest.Large(300), sinktest.Large(10)
	steady := ticks(3, large, "", "gzip")
	if later := ticks(10, large, "", "gzip"); later > steady {
		t.Errorf("%d bytes are held, %d were at first", later, steady)
	}
	if some := ticks(4, large, "gzip"); some > steady/4 {
		t.Errorf("%d bytes are held without a plain scraper, with one it was %d", some, steady)
	}
	if little := ticks(4, small, "", "gzip"); little > 500_000 {
		t.Errorf("%d bytes are held for ten SLOs", little)
	}
	if none := ticks(4, small); none > 100_000 {
		t.Errorf("%d bytes are held without scrapers", none)
	}
	if len(s.spare) > maxSpare {
		t.Errorf("%d snapshots are spare", len(s.spare))
	}
}

// Labels that no series carries any more are forgotten.
func TestForgetsLabels(t *testing.T) {
	s := New(Options{})
	for round := range 60 {
		o := sinktest.Objective("groups", "shop", "99", slo.RollingPeriod(30*slo.Day))
		o.GroupBy = []string{"id"}
		r := sinktest.Empty()
		for i := range 50 {
			r.SLOs = append(r.SLOs, sinktest.Status(o, []string{fmt.Sprintf("%d-%d", round, i)}, nil))
		}
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	// A row for each group, one for what is once per SLO and one for its slo_info.
	if n := len(s.layout.rows); n != 52 {
		t.Errorf("%d rows are remembered, want 52", n)
	}
}

// The labels of a report are prepared once for all that have them.
func TestLayoutStays(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Report())
	before := s.layout
	r := sinktest.Report()
	r.SLOs[0].EventsTotal++
	r.SLOs[0].Alerts[0].Firing = !r.SLOs[0].Alerts[0].Firing
	r.SLOs[1].Budget.Exhaustion = slo.Defined(60)
	if err := s.Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if s.layout != before {
		t.Error("numbers changed, and the labels were prepared anew")
	}
}

// A tick and its first scrape, of either kind, take the memory of the ticks before.
func TestAllocations(t *testing.T) {
	s, r := New(Options{}), sinktest.Large(100)
	for _, key := range []pageKey{{}, {compressed: true}, {format: openMetrics, compressed: true}} {
		tick := func() {
			if err := s.Write(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			n := s.newest()
			n.page(key)
			s.release(n)
		}
		for range 4 {
			tick()
		}
		// The middle of many: under the race detector a sync.Pool loses every fourth that it is given.
		var each []float64
		for range 61 {
			each = append(each, testing.AllocsPerRun(1, tick))
		}
		slices.Sort(each)
		if allocs := each[len(each)/2]; allocs > 10 {
			t.Errorf("%+v: %v allocations, want at most 10", key, allocs)
		} else {
			t.Logf("%+v: %v allocations", key, allocs)
		}
	}
}
