package cloudwatch

import (
	"errors"
	"fmt"
	"maps"
	"slices"
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
	scope       selectors.CloudWatchScope
	total, part selectors.CloudWatch
	good        bool // the part counts good events

	mu      sync.Mutex
	last    int64            // ms, end of the newest answered minute when it was last asked; 0: there was none
	asked   int64            // ms, up to which minute the present was last answered; 0 before the first answer
	to      int64            // ms, and up to which tick
	who     string           // for which objectives
	note    string           // why nothing could be counted then
	digests map[int64]uint64 // what each minute said then
	refused error            // what AWS said when it would not have the question
	again   time.Time        // when a refused one is put again, by itself
	seen    map[string]seen  // resources by their dimensions
	counted bool             // the total had a value at some time: it is there
}

// seen is a resource, and when it was last listed.
type seen struct {
	place place
	at    time.Time
}

// read compiles the question.
func (q *question) read() error {
	in := q.Indicator
	if in.Kind != sources.CloudWatch {
		return fmt.Errorf("a cloudwatch source does not answer indicators of kind %s", in.Kind)
	}
	if in.Total == "" || (in.Bad == "") == (in.Good == "") {
		return errors.New("cloudwatch: needs total, and bad or good")
	}
	var err error
	if q.scope, err = selectors.ParseCloudWatchScope(in.Scope); err != nil {
		return err
	}
	if q.total, err = selectors.ParseCloudWatch(in.Total); err != nil {
		return fmt.Errorf("total: %w", err)
	}
	word, text := "bad", in.Bad
	if in.Good != "" {
		word, text, q.good = "good", in.Good, true
	}
	if q.part, err = selectors.ParseCloudWatch(text); err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	return nil
}

// partIs names what the part counts.
func (q *question) partIs() string {
	if q.good {
		return "good"
	}
	return "bad"
}

// group are the values of the group_by labels among dimensions; nil where there are none.
func (q *question) group(dims map[string]string) []string {
	if len(q.GroupBy) == 0 {
		return nil
	}
	out := make([]string, len(q.GroupBy))
	for i, label := range q.GroupBy {
		out[i] = dims[label]
	}
	return out
}

// still adds those that were listed a while ago.
func (q *question) still(places []place, now time.Time) []place {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.seen == nil {
		q.seen = map[string]seen{}
	}
	for _, p := range places {
		q.seen[p.dims] = seen{p, now}
	}
	maps.DeleteFunc(q.seen, func(_ string, s seen) bool { return now.Sub(s.at) > remembered })
	out := make([]place, 0, len(q.seen))
	for _, dims := range slices.Sorted(maps.Keys(q.seen)) {
		out = append(out, q.seen[dims].place)
	}
	return out
}

// learned keeps what an answer for the present says of each minute. It reports whether the answer
// goes on where the one before ended, for the same objectives, and says of the time before that
// nothing new.
func (q *question) learned(answer slo.Sample, span slo.Span, w *work) (nothing bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	nothing = q.to != 0 && q.to == span.From.UnixMilli() && q.who == w.who
	for at := floor(answer.Span.From.UnixMilli(), minutes) + minutes.Milliseconds(); at <= span.From.UnixMilli(); at += minutes.Milliseconds() {
		nothing = nothing && w.digest[at] == q.digests[at]
	}
	q.who, q.digests, q.to, q.asked, q.last = w.who, w.digest, span.To.UnixMilli(), floor(span.To.UnixMilli(), minutes), 0
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

// judged notes whether AWS would have the question.
func (q *question) judged(err error, again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refused, q.again = err, again
}

// there reports whether the total had a value at some time.
func (q *question) there() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counted
}

func (q *question) wasThere() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counted = true
}
