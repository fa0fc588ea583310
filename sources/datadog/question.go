package datadog

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// question is what one or several objectives want counted. Objectives that ask alike share one.
type question struct {
	sources.Question
	slos        []string // the objectives, in the order they were given
	total, part []term
	good        bool // the part counts good events

	mu      sync.Mutex
	last    int64            // ms, end of the newest bucket with a total when it was last asked; 0: there was none
	asked   int64            // ms, up to which bucket the present was last answered; 0 before the first answer
	to      int64            // ms, and up to which tick
	who     string           // for which objectives
	note    string           // why nothing could be counted then
	digests map[int64]uint64 // what each bucket said then
	refused error            // what Datadog said when it would not have the question
	again   time.Time        // when a refused one is put again, by itself
}

// term is one query of a count.
type term struct {
	query string
	sign  float64 // 1, or -1 where it is taken away
}

// read compiles the queries.
func (q *question) read() error {
	in := q.Indicator
	if in.Kind != sources.Datadog {
		return fmt.Errorf("a datadog source does not answer indicators of kind %s", in.Kind)
	}
	if in.Total == "" || (in.Bad == "") == (in.Good == "") {
		return errors.New("datadog: needs total, and bad or good")
	}
	var err error
	if q.total, err = terms(in.Total, q.GroupBy); err != nil {
		return fmt.Errorf("total: %w", err)
	}
	word, text := "bad", in.Bad
	if in.Good != "" {
		word, text, q.good = "good", in.Good, true
	}
	if q.part, err = terms(text, q.GroupBy); err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	return nil
}

func terms(text string, groupBy []string) ([]term, error) {
	parsed, err := selectors.ParseDatadog(text)
	if err != nil {
		return nil, err
	}
	out := make([]term, len(parsed))
	for i, p := range parsed {
		out[i] = term{p.Query(groupBy, bucket), 1}
		if p.Negative {
			out[i].sign = -1
		}
	}
	return out, nil
}

// partIs names what the part counts.
func (q *question) partIs() string {
	if q.good {
		return "good"
	}
	return "bad"
}

// absent is the value that Datadog groups series under that do not carry a tag.
const absent = "N/A"

// group finds the values of the group_by labels among a series' tags. Datadog lowers all letters of
// a tag; a label that the series does not carry is empty.
func (q *question) group(tags []string) []string {
	if len(q.GroupBy) == 0 {
		return nil
	}
	out := make([]string, len(q.GroupBy))
	for i, label := range q.GroupBy {
		for _, tag := range tags {
			if key, value, ok := strings.Cut(tag, ":"); ok && strings.EqualFold(key, label) {
				if value != absent {
					out[i] = value
				}
				break
			}
		}
	}
	return out
}

// learned keeps what an answer for the present says of each bucket. It reports whether the answer
// goes on where the one before ended, for the same objectives, and says of the time before that
// nothing new.
func (q *question) learned(answer slo.Sample, span slo.Span, w *work) (nothing bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	nothing = q.to != 0 && q.to == span.From.UnixMilli() && q.who == w.who
	for at := floor(answer.Span.From.UnixMilli(), bucket) + bucket.Milliseconds(); at <= span.From.UnixMilli(); at += bucket.Milliseconds() {
		nothing = nothing && w.digest[at] == q.digests[at]
	}
	q.who, q.digests, q.to, q.asked, q.last = w.who, w.digest, span.To.UnixMilli(), floor(span.To.UnixMilli(), bucket), 0
	q.note = answer.Note
	if !answer.Newest.IsZero() {
		q.last = answer.Newest.UnixMilli()
	}
	return nothing
}

// noted is why the present could not be counted when it was last asked; "" when it could.
func (q *question) noted() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.note
}

// refusal is what a question that was refused is answered with until it may be put again.
func (q *question) refusal(now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refused != nil && now.Before(q.again) {
		return q.refused
	}
	return nil
}

// suspect reports whether the question was refused before: it is asked by itself, so that it does
// not take others with it again.
func (q *question) suspect() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refused != nil
}

// judged notes whether Datadog would have the question.
func (q *question) judged(err error, again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refused, q.again = err, again
}

// batch are questions that one request asks. A question is never divided: its total and its part
// come from the same moment.
type batch struct {
	works   []*work
	queries []string // each once
	length  int      // of the queries in an address
}

// Most of one request: as many queries as Datadog's own cluster agent joins, in an address that
// proxies take.
const (
	maxQueries = 35
	maxAddress = 7000
)

// batches joins questions into as few requests as may be.
func batches(works []*work) []*batch {
	var out []*batch
	var open *batch
	for _, w := range works {
		if w.q.suspect() {
			b := &batch{}
			b.add(w)
			out = append(out, b)
			continue
		}
		if open == nil || !open.fits(w) {
			open = &batch{}
			out = append(out, open)
		}
		open.add(w)
	}
	return out
}

func (b *batch) fits(w *work) bool {
	count, length := len(b.queries), b.length
	for _, query := range w.q.queries() {
		if b.index(query) < 0 {
			count, length = count+1, length+escapedLength(query)
		}
	}
	return count <= maxQueries && length <= maxAddress
}

func (b *batch) add(w *work) {
	b.works = append(b.works, w)
	for _, query := range w.q.queries() {
		if b.index(query) < 0 {
			b.queries = append(b.queries, query)
			b.length += escapedLength(query)
		}
	}
}

// halves divides a batch that was refused.
func (b *batch) halves() [2]*batch {
	var out [2]*batch
	for i := range out {
		out[i] = &batch{}
	}
	for i, w := range b.works {
		out[i*2/len(b.works)].add(w)
	}
	return out
}

func (b *batch) index(query string) int {
	for i, known := range b.queries {
		if known == query {
			return i
		}
	}
	return -1
}

// text is what the request asks.
func (b *batch) text() string { return strings.Join(b.queries, ",") }

func (q *question) queries() []string {
	out := make([]string, 0, len(q.total)+len(q.part))
	for _, t := range append(q.total[:len(q.total):len(q.total)], q.part...) {
		out = append(out, t.query)
	}
	return out
}

// escapedLength is what a query and its comma take in an address, at most.
func escapedLength(query string) int {
	n := 3
	for _, c := range []byte(query) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-' || c == ' ' {
			n++
		} else {
			n += 3
		}
	}
	return n
}
