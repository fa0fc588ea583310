package datadog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Check is what Datadog says about one objective's question before anything is counted.
type Check struct {
	SLO         string
	Series      int // groups of the total with a value in the last hour
	Total, Part float64
	PartIs      string // what Part counts: "bad" or "good"
	Requests    int    // with which one look asks for all SLOs of the source
	Limit       int    // requests that the organisation has in a period; 0: it does not say
	Period      time.Duration
	Note        string // why nothing could be counted
	Err         error  // Datadog did not answer; without the names of source and SLO
}

// Fault reports whether the SLO would not be counted as things are, or would be counted wrongly.
func (c Check) Fault() bool { return c.Err != nil || c.Series == 0 || c.Note != "" || c.Part > c.Total }

// Text says it all in one line for people, without the names of source and SLO.
func (c Check) Text() string {
	switch {
	case c.Err != nil:
		return c.Err.Error()
	case c.Note != "":
		return c.Note
	case c.Series == 0:
		return "the total has no series with a value in the last hour: is there such a metric, with such tags?"
	case c.Part > c.Total:
		return fmt.Sprintf("%s is not within total: %s of %s events in the last hour; do both queries mean the same requests?", c.PartIs, amount(c.Part), amount(c.Total))
	}
	bad := c.Part
	if c.PartIs == "good" {
		bad = c.Total - c.Part
	}
	out := fmt.Sprintf("%d series; %s events in the last hour, %s of them bad; all SLOs of this source together: %s a minute at most", c.Series, amount(c.Total), amount(bad), requests(c.Requests))
	if c.Limit > 0 {
		out += fmt.Sprintf(", and the organisation has %d in %s", c.Limit, slo.FormatDuration(c.Period))
	}
	return out
}

func requests(n int) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}

// amount prints a number for people.
func amount(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// Live asks Datadog about every question, over the hour up to now, in the order of the questions
// given: `check --live`. What fails is in the checks; an error says only that ctx was cancelled.
func (s *Source) Live(ctx context.Context, now time.Time) ([]Check, error) {
	to := time.UnixMilli(floor(now.UnixMilli(), bucket)).UTC()
	span := slo.Span{From: to.Add(-time.Hour), To: to}
	works := s.all()
	all := s.gather(ctx, works, span, false)
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("source %s: %w", s.name, err)
	}
	limit, period := s.quota.known()
	found := map[string]Check{}
	for _, w := range works {
		c := Check{PartIs: w.q.partIs(), Requests: s.quota.round, Limit: limit, Period: period, Err: w.err}
		if all != nil {
			c.Err = all
		}
		if c.Err == nil {
			c.count(w, span)
			c.Note = s.tabulate(w, span).Note
		}
		for _, name := range w.q.slos {
			c.SLO = name
			found[name] = c
		}
	}
	out := make([]Check, 0, len(s.slos))
	for _, name := range s.slos {
		out = append(out, found[name])
	}
	return out, nil
}

// count adds up what both sides say of a span, whether or not it could be counted.
func (c *Check) count(w *work, span slo.Span) {
	sum := func(terms []term) (groups int, events float64) {
		for _, line := range w.side(terms) {
			seen := false
			for at, v := range line.values {
				if span.Holds(time.UnixMilli(at)) {
					seen = true
					events += v
				}
			}
			if seen {
				groups++
			}
		}
		return groups, events
	}
	c.Series, c.Total = sum(w.q.total)
	_, c.Part = sum(w.q.part)
}

// known is the organisation's limit, as far as it said.
func (q *quota) known() (limit int, period time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.limit, q.period
}
