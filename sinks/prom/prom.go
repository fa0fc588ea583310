// Package prom shows the newest report to whoever scrapes /metrics.
//
// A report is taken apart when it is written: its values are copied, and what its names and labels
// look like on the page is prepared anew only when they have changed. The page itself is made by
// the first scrape of a report that wants it — text 0.0.4 or OpenMetrics, plain or compressed, all
// families or some — and every further one is sent the same bytes. So a tick that nobody scrapes
// costs next to nothing, and a crowd of scrapers no more than one.
//
//	*Report ──Write──▶ values ─┐
//	              labels, once ┴─▶ snapshot ──first scrape──▶ page ──▶ GET /metrics
//	                                         prometheus.Gatherer ──────▶ (yoyu_*, go_*)
//
// Scrapes hold up no tick and see whole reports only. Before the first report there is nothing of
// the report on the page. The memory of a snapshot is used again when its last reader has left.
package prom

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"

	"github.com/yoyu-sre/yoyu/sinks"
)

// Sink holds the newest report as pages. It is safe for concurrent use.
type Sink struct {
	name  string
	shows atomic.Pointer[sinks.Selection]

	// Of the writer alone.
	layout *layout
	turn   uint64 // reports so far

	mu    sync.Mutex
	now   *snapshot   // nil before the first report
	spare []*snapshot // that nobody reads any more, at most maxSpare
}

var _ sinks.Sink = (*Sink)(nil)

// maxSpare is how many snapshots wait to be used again: one that is written while another is
// shown, and one more for a scraper that takes longer than a tick.
const maxSpare = 2

// Options are the choices of the metrics page.
type Options struct {
	Name string // of the sink in logs and in yoyu's own metrics; "metrics" unless told
	sinks.Selection
}

// New makes a sink that shows nothing yet.
func New(o Options) *Sink {
	s := &Sink{name: cmp.Or(o.Name, "metrics")}
	s.Show(o.Selection)
	return s
}

// Name is the sink's name.
func (s *Sink) Name() string { return s.name }

// Show changes Options.Selection, from the next report on. Nobody may change it afterwards.
func (s *Sink) Show(only sinks.Selection) { s.shows.Store(&only) }

// Write replaces what is shown. It has nothing to wait for: an ended context is an error, and what
// was shown before stays.
func (s *Sink) Write(ctx context.Context, r *sinks.Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	selection := *s.shows.Load()
	if s.layout == nil || !s.layout.selection.Same(selection) || !s.layout.shape.Fits(r) {
		s.layout = newLayout(r, selection)
	}
	next := s.unused()
	next.fill(s.layout, r)
	s.turn++
	next.turn = s.turn

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		s.leave(s.now)
	}
	next.readers = 1 // the sink itself, as long as it is the newest
	s.now = next
	return nil
}

// unused is a snapshot that nobody reads.
func (s *Sink) unused() *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.spare) - 1; last >= 0 {
		found := s.spare[last]
		s.spare = s.spare[:last]
		return found
	}
	return &snapshot{pages: map[pageKey]*page{}}
}

// newest is the snapshot to read from until release; nil before the first report.
func (s *Sink) newest() *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		s.now.readers++
	}
	return s.now
}

// release ends what newest began.
func (s *Sink) release(n *snapshot) {
	if n == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(n)
}

// leave counts a reader less. It is called with the lock.
func (s *Sink) leave(n *snapshot) {
	if n.readers--; n.readers == 0 && len(s.spare) < maxSpare {
		n.layout = nil
		s.spare = append(s.spare, n)
	}
}
