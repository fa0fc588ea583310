package cloudwatch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Check is what CloudWatch says about one objective's question before anything is counted.
type Check struct {
	SLO         string
	Resources   int // that are counted
	Total, Part float64
	PartIs      string // what Part counts: "bad" or "good"
	Answered    bool   // something of the last three hours can be counted
	Cost        Cost   // of all SLOs of the source together
	Note        string // why nothing could be counted
	Err         error  // AWS did not answer; without the names of source and SLO
}

// Fault reports whether the SLO would not be counted as things are, or would be counted wrongly.
func (c Check) Fault() bool {
	return c.Err != nil || !c.Answered || c.Note != "" || c.Part > c.Total
}

// Text says it all in one line for people, without the names of source and SLO.
func (c Check) Text() string {
	switch {
	case c.Err != nil:
		return c.Err.Error()
	case c.Note != "":
		return c.Note
	case !c.Answered:
		return "the total has no value in the last three hours, and no metric says that there was no traffic: is there such a metric, with exactly these dimensions?"
	case c.Part > c.Total:
		return fmt.Sprintf("%s is not within total: %s of %s events in the last three hours; do both count the same requests?", c.PartIs, amount(c.Part), amount(c.Total))
	}
	bad := c.Part
	if c.PartIs == "good" {
		bad = c.Total - c.Part
	}
	noun := "resources"
	if c.Resources == 1 {
		noun = "resource"
	}
	return fmt.Sprintf("%d %s; %s events in the last three hours, %s of them bad; all SLOs of this source together: %s", c.Resources, noun, amount(c.Total), amount(bad), c.Cost)
}

// amount prints a number for people.
func amount(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// Live asks about every question, over the three hours up to now, in the order of the questions given:
// `check --live`. What fails is in the checks; an error says that ctx was cancelled, or that there
// are no credentials.
func (s *Source) Live(ctx context.Context, now time.Time) ([]Check, error) {
	to := time.UnixMilli(floor(now.UnixMilli(), max(minutes, time.Duration(s.tick)*time.Millisecond))).UTC()
	span := slo.Span{From: to.Add(-3 * time.Hour), To: to}
	works := s.all()
	all := s.gather(ctx, works, span, false)
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("source %s: %w", s.name, err)
	}
	cost := s.cost(works)
	found := map[string]Check{}
	for _, w := range works {
		c := Check{PartIs: w.q.partIs(), Resources: len(w.places), Cost: cost, Err: w.err}
		if all != nil {
			c.Err = all
		}
		if c.Err == nil {
			c.count(w, span)
			answer := s.tabulate(w, span)
			c.Note, c.Answered = answer.Note, len(answer.Covered) > 0
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
	for at := span.From.UnixMilli(); at < span.To.UnixMilli(); at += minutes.Milliseconds() {
		for _, p := range w.places {
			if all, ok := w.side(w.q.total, p, at); ok && !math.IsNaN(all) {
				c.Total += all
			}
			if some, ok := w.side(w.q.part, p, at); ok && !math.IsNaN(some) {
				c.Part += some
			}
		}
	}
}
