package promapi

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/sources"
)

// question is what one or more objectives want counted, with what the source learned about it.
// What it learned is about the server, never about where the caller stands: the same span asked
// again is answered the same.
type question struct {
	sources.Question          // of the first objective; Period is the longest of all
	slos             []string // who asks
	plan             *selectors.Plan

	mu      sync.Mutex
	cursors []*cursor // by last use, the newest last

	oldest  int64 // ms, where the question's history begins, as far as somebody looked; 0: not known
	counted int64 // ms, moment of the last count of series; 0: never
	series  int   // that count
	suspect bool  // an answer held more series than it may
	over    bool  // too many series: not asked
	replica string
	les     []string          // spellings of the threshold that the server knows; nil: not asked yet
	noBound map[string]string // what is wrong with a histogram, by family
	blocks  map[int64]block   // what pushdown learned of its tiles, by the block's begin in ms
}

// maxCursors are kept for a question: the live one, that of the backfill, and a few for spans that
// are asked again.
const maxCursors = 4

// cursor is a memory of the question's series that stands at one moment.
type cursor struct {
	mem       *increments.Memory
	whole     bool               // the question has no history but what the memory was given
	asked     map[string]int64   // targets whose history was asked for; ms when last seen
	seen      map[string]int64   // targets that had a sample; ms when last seen
	replica   string             // the replica followed
	heard     int64              // ms, the replica's last sample
	shapes    map[string]shaping // of histograms, by family
	native    map[string]histogram
	unbounded int64         // ms, the last sample of a histogram without the bound
	lacking   labels.Labels // its _count series
	swept     int64         // ms

	nextReplica string // what examine found, for count
	nextHeard   int64
}

// needs are the selectors whose samples answer the question.
func (q *question) needs() []selectors.Selector {
	all := q.plan.Selectors()
	if q.Indicator.Kind != sources.Latency {
		return all
	}
	// One request for a histogram in all its shapes, so that they come from the same instant.
	q.mu.Lock()
	les := append([]string{""}, q.spellings()...)
	q.mu.Unlock()
	names := make([]string, len(all))
	for i, sel := range all {
		names[i] = sel.Name
	}
	slices.Sort(names)
	matchers := []*labels.Matcher{oneOf(model.MetricNameLabel, names), oneOf(labels.BucketLabel, les)}
	for _, m := range all[0].Matchers {
		if m.Name != model.MetricNameLabel {
			matchers = append(matchers, m)
		}
	}
	return []selectors.Selector{{Matchers: matchers}}
}

// totals chooses the series whose number and history stand for the question.
func (q *question) totals() selectors.Selector {
	all := q.plan.Selectors()
	if q.Indicator.Kind != sources.Latency {
		return all[0]
	}
	matchers := []*labels.Matcher{oneOf(model.MetricNameLabel, []string{all[2].Name, all[0].Name})}
	for _, m := range all[0].Matchers {
		if m.Name != model.MetricNameLabel {
			matchers = append(matchers, m)
		}
	}
	return selectors.Selector{Matchers: matchers}
}

// parts chooses the series that count beside the totals; ok is false when the totals hold them.
func (q *question) parts() (sel selectors.Selector, ok bool) {
	all := q.plan.Selectors()
	switch q.Indicator.Kind {
	case sources.Gauge:
		return sel, false
	case sources.Latency:
		q.mu.Lock()
		defer q.mu.Unlock()
		return all[1].With(oneOf(labels.BucketLabel, q.spellings())), true
	}
	held := true
	for _, m := range all[0].Matchers {
		held = held && slices.ContainsFunc(all[1].Matchers, func(o *labels.Matcher) bool { return o.String() == m.String() })
	}
	return all[1], !held
}

// apart are the selectors that together choose all series of a question, one metric each where the
// question names it.
func (q *question) apart() []selectors.Selector {
	all := q.plan.Selectors()
	part, beside := q.parts()
	switch {
	case q.Indicator.Kind == sources.Latency:
		return []selectors.Selector{all[0], all[2], part}
	case beside:
		return []selectors.Selector{all[0], part}
	}
	return all[:1]
}

// spellings are the ways in which the threshold may be written as le: those the server is known
// to hold, and the usual ones.
func (q *question) spellings() []string {
	v := q.Indicator.Below
	out := []string{strconv.FormatFloat(v, 'g', -1, 64), strconv.FormatFloat(v, 'f', -1, 64)}
	if !strings.ContainsAny(out[1], ".") {
		out = append(out, out[1]+".0")
	}
	out = append(out, q.les...)
	slices.Sort(out)
	return slices.Compact(out)
}

// isThreshold reports whether a value of le is the question's threshold.
func (q *question) isThreshold(le string) bool {
	v, err := strconv.ParseFloat(le, 64)
	return err == nil && v == q.Indicator.Below
}

// take finds the cursor that stands at a moment, so that nobody else moves it meanwhile; nil when
// there is none.
func (q *question) take(at time.Time) *cursor {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := len(q.cursors) - 1; i >= 0; i-- {
		if c := q.cursors[i]; c.mem.AsOf().Equal(at) {
			q.cursors = slices.Delete(q.cursors, i, i+1)
			return c
		}
	}
	return nil
}

// put keeps a cursor for the span that follows. One that stands where another does is dropped.
func (q *question) put(c *cursor) {
	if c == nil || c.mem.AsOf().IsZero() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cursors = slices.DeleteFunc(q.cursors, func(o *cursor) bool { return o.mem.AsOf().Equal(c.mem.AsOf()) })
	q.cursors = append(q.cursors, c)
	if len(q.cursors) > maxCursors {
		q.cursors = slices.Delete(q.cursors, 0, 1)
	}
	if c.replica != "" {
		q.replica = c.replica
	}
}

func (q *question) newCursor(tick time.Duration) *cursor {
	q.mu.Lock()
	defer q.mu.Unlock()
	return &cursor{
		mem:     increments.NewMemory(tick, q.Period),
		asked:   map[string]int64{},
		seen:    map[string]int64{},
		shapes:  map[string]shaping{},
		native:  map[string]histogram{},
		replica: q.replica,
	}
}

// sweep forgets targets and histograms that were silent for the whole period.
func (c *cursor) sweep(now int64, keep time.Duration) {
	if keep <= 0 || now-c.swept < time.Hour.Milliseconds() {
		return
	}
	c.swept = now
	old := now - keep.Milliseconds()
	for _, m := range []map[string]int64{c.asked, c.seen} {
		for k, t := range m {
			if t <= old {
				delete(m, k)
			}
		}
	}
	for k, h := range c.native {
		if h.t <= old {
			delete(c.native, k)
		}
	}
	for k, shape := range c.shapes {
		if shape.at <= old {
			delete(c.shapes, k)
		}
	}
}
