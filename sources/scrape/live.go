package scrape

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/sources"
)

// Check is what the pages say about one objective's question before anything is counted.
type Check struct {
	SLO   string
	Kind  sources.Kind
	Pages int // pages that were read
	Using int // of them, those that carry a series of total

	TotalSeries, PartSeries int // series of total, and of bad or good; of a latency, of the bucket; of a gauge, the bad samples

	// Events since the targets began, as their counters stand; for a gauge its samples.
	Total, Part float64

	Note string // what keeps it from being counted, for people: no such series, no such bucket; "" when nothing does

	part string // what Part is called
}

// Fault reports whether the question cannot be counted as it is put.
func (c Check) Fault() bool { return c.Note != "" }

// Text is the check in a sentence.
func (c Check) Text() string {
	if c.Note != "" {
		return c.Note
	}
	if c.Kind == sources.Gauge {
		return fmt.Sprintf("%d samples on %s, %d of them %s", c.TotalSeries, c.on(), c.PartSeries, c.part)
	}
	text := fmt.Sprintf("%d series of total and %d of %s on %s; %.0f of %.0f events %s since the targets began",
		c.TotalSeries, c.PartSeries, c.part, c.on(), c.Part, c.Total, c.part)
	switch {
	case c.PartSeries > 0:
	case c.part == "bad":
		text += "; the first bad one will count"
	default:
		text += "; until there is a series of good, every event is bad"
	}
	return text
}

func (c Check) on() string { return fmt.Sprintf("%d of %s", c.Using, count(c.Pages, "page")) }

// Live scrapes every target once and says what each question finds, in the order of the questions
// given: `check --live`. Nothing is counted or remembered. now tells samples that are no news, as a
// turn would. The error names the targets that failed; the checks beside it are of the others, and
// there are none when no target answered.
func (s *Source) Live(ctx context.Context, now time.Time) ([]Check, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := s.discover(ctx); err != nil {
		return nil, err
	}
	found, failed := s.pages(ctx, now)
	found = slices.DeleteFunc(found, func(p *page) bool { return p == nil })
	if len(found) == 0 {
		return nil, errors.Join(failed...)
	}
	checks := make([]Check, 0, len(s.questions))
	for i, q := range s.questions {
		checks = append(checks, check(q.plan, i, found))
	}
	return checks, errors.Join(failed...)
}

// check gathers what the pages hold for the question at an index.
func check(plan *selectors.Plan, index int, found []*page) Check {
	in := plan.Question.Indicator
	c := Check{SLO: plan.Question.SLO, Kind: in.Kind, Pages: len(found), part: "bad"}
	role := increments.Bad
	if in.Good != "" || in.Kind == sources.Latency {
		c.part, role = "good", increments.Good
	}
	for _, p := range found {
		part, used := &p.parts[index], false
		if c.Note == "" {
			c.Note = part.fault
		}
		for _, s := range part.series {
			v := s.Points[0].V
			if s.Role&increments.Total != 0 {
				c.TotalSeries++
				c.Total += v
				used = true
			}
			if in.Kind == sources.Gauge {
				if in.Compare.Holds(v) == in.CompareBad {
					c.PartSeries++
				}
			} else if s.Role&role != 0 {
				c.PartSeries++
				c.Part += v
			}
		}
		if used {
			c.Using++
		}
	}
	if in.Kind == sources.Gauge {
		c.Total, c.Part = float64(c.TotalSeries), float64(c.PartSeries)
	}
	switch total := plan.Selectors()[0]; {
	case c.Note != "":
	case c.TotalSeries == 0:
		c.Note = fmt.Sprintf("%s has no series on the %s that could be read", total, count(len(found), "page"))
	case c.Part > c.Total:
		c.Note = fmt.Sprintf("%s is not within total: %.0f of %.0f events since the targets began; do both selectors mean the same requests?", c.part, c.Part, c.Total)
	}
	return c
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
