package promapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// Check is what the server says about one objective's question before anything is counted.
type Check struct {
	SLO      string
	Kind     sources.Kind
	Exists   bool // the total has a series, or the expression a value
	Series   int  // series with a sample in the last minutes: of total, and of bad or good beside it
	Over     bool // more than max_series: it will not be counted exactly
	Pushdown bool // the server takes the increases, so that Over does not matter

	// Events in the last hour: of a gauge its samples, else roughly, as the server extrapolates
	// them. For promql the values at this moment; for ratio Total is 1 and Part its worst value.
	Total, Part float64
	PartIs      string // what Part counts: "bad" or "good"; "" when it could not be told
	Counted     bool   // Total could be told
	Within      bool   // the part is no more than the total

	SamplesPerTick  float64 // samples that one tick asks for; 0 for expressions and pushdown, and where it cannot be told
	SamplesBackfill float64 // samples that filling the windows asks for
	Note            string  // what is wrong, for people: no such series, no such bucket
	Err             error   // the server did not answer; without the names of source and SLO
}

// Fault reports whether the SLO would not be counted as things are, or would be counted wrongly.
func (c Check) Fault() bool {
	return c.Err != nil || !c.Exists || c.Over && !c.Pushdown || c.Note != "" || !c.Within
}

// Text says it all in one line for people, without the names of source and SLO.
func (c Check) Text() string {
	expression := c.Kind == sources.PromQL || c.Kind == sources.Ratio
	series := thousands(c.Series) + " series"
	switch {
	case c.Err != nil:
		return c.Err.Error()
	case !c.Exists, c.Over && !c.Pushdown, c.Note != "" && expression:
		return c.Note // it names the series itself
	case c.Note != "":
		return series + ": " + c.Note
	case !c.Within && expression:
		return fmt.Sprintf("%s is not within total: %s of %s events at this moment; do both expressions mean the same requests?", c.PartIs, amount(c.Part), amount(c.Total))
	case !c.Within:
		return fmt.Sprintf("%s: %s is not within total: about %s of %s events in the last hour; do both selectors mean the same requests?", series, c.PartIs, amount(c.Part), amount(c.Total))
	case expression && !c.Counted:
		return "the expression has a value, but it is no number at this moment"
	case c.Kind == sources.Ratio:
		return fmt.Sprintf("the share of %s events is %s at this moment, in the worst group if there are several", c.PartIs, amount(c.Part))
	case expression:
		return "at this moment " + c.events("in a tick")
	}
	out := series
	switch {
	case c.Pushdown:
		out += ", counted by the server (counting: pushdown)"
	case c.SamplesPerTick > 0:
		out += fmt.Sprintf(", %s samples a tick and %s to fill the windows", amount(c.SamplesPerTick), amount(c.SamplesBackfill))
	}
	if c.Counted {
		out += "; " + c.events("in the last hour")
	}
	return out
}

// events says how many events there were, and how many of them were bad.
func (c Check) events(when string) string {
	if c.Total == 0 {
		return "no events " + when
	}
	noun, about, bad := "events", "about ", c.Part
	if c.Kind == sources.Gauge {
		noun, about = "samples", ""
	}
	if c.PartIs == "good" {
		bad = max(0, c.Total-c.Part) // the part may be more by what extrapolation adds
	}
	out := fmt.Sprintf("%s%s %s %s", about, amount(c.Total), noun, when)
	if c.PartIs == "" {
		return out
	}
	return out + fmt.Sprintf(", %s of them bad", amount(bad))
}

// amount prints a number for people: 0.125, 7.5, 31,022.
func amount(v float64) string {
	if math.Abs(v) >= 100 && math.Abs(v) < 1<<53 {
		return thousands(int(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// Live asks the server about every question, in the order of the questions given: `check --live`.
// What fails is in the checks, one for each objective; an error says only that ctx was cancelled.
func (s *Source) Live(ctx context.Context) ([]Check, error) {
	now, down := s.now(ctx)
	byQuestion := map[*question]Check{}
	for _, q := range s.questions {
		c := Check{Kind: q.Indicator.Kind, Pushdown: q.Pushdown && q.plan != nil, Err: down}
		if down == nil {
			c.Err = s.check(ctx, q, &c, now)
		}
		byQuestion[q] = c
	}
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("source %s: %w", s.name, err)
	}
	out := make([]Check, 0, len(s.slos))
	for _, name := range s.slos {
		c := byQuestion[s.bySLO[name]]
		c.SLO = name
		out = append(out, c)
	}
	return out, nil
}

// now is the server's clock.
func (s *Source) now(ctx context.Context) (time.Time, error) {
	a, err := s.client.ask(ctx, time.Time{}, "query", "/api/v1/query", url.Values{"query": {"vector(time())"}})
	if err != nil {
		return time.Time{}, err
	}
	if len(a.series) != 1 || len(a.series[0].floats) != 1 {
		return time.Time{}, &Error{What: "query", Text: "vector(time()) gave no single value", reason: "decode"}
	}
	return time.UnixMilli(int64(a.series[0].floats[0].V * 1000)), nil
}

// check fills in what the server says about a question.
func (s *Source) check(ctx context.Context, q *question, c *Check, now time.Time) error {
	at := now.UnixMilli()
	value := func(expr string) (float64, bool, error) {
		a, err := s.client.instant(ctx, now, expr, at)
		if err != nil || len(a.series) == 0 || len(a.series[0].floats) == 0 {
			return 0, false, err
		}
		return a.series[0].floats[0].V, true, nil
	}
	if q.plan == nil {
		return s.checkExpressions(q, c, value)
	}

	if q.Indicator.Kind == sources.Latency {
		if _, err := s.respell(ctx, now, []*question{q}, at-s.before, at); err != nil {
			return err
		}
	}
	var probes []probe
	for _, sel := range q.sides() {
		probes = append(probes, probe{q, sel, s.lookback, at})
	}
	numbers, errs := s.tally(ctx, now, probes)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, n := range numbers {
		c.Series += int(n)
	}
	c.Exists, c.Over, c.Within = numbers[0] > 0, c.Series > s.limits.MaxSeries, true
	q.mu.Lock()
	q.series = c.Series
	if c.Over && !q.Pushdown {
		c.Note = s.tooMany(q)
	}
	q.mu.Unlock()
	if !c.Exists {
		c.Note = fmt.Sprintf("%s has no series with a sample in the last %s", q.totals(), slo.FormatDuration(time.Duration(s.lookback)*time.Millisecond))
	}
	if c.Note != "" {
		return nil // nothing to count, or too much to look at
	}

	if q.Indicator.Kind == sources.Latency {
		var err error
		if c.Note, err = s.unheld(ctx, q, at-s.before, at); err != nil {
			return err
		}
	}
	for _, sel := range q.apart() {
		const look = 10 * time.Minute
		if q.Pushdown {
			break
		}
		n, _, err := value(fmt.Sprintf("sum(count_over_time(%s[%dms]))", sel, look.Milliseconds()))
		if refused(err) { // several metrics with the same labels: there is no such sum
			c.SamplesPerTick = 0
			break
		}
		if err != nil {
			return err
		}
		c.SamplesPerTick += n / float64(look.Milliseconds()) * float64(s.tick)
	}
	history := min(q.Period, time.Duration(s.limits.Backfill))
	c.SamplesBackfill = c.SamplesPerTick * float64(history.Milliseconds()) / float64(s.tick)
	if q.Indicator.Kind == sources.Gauge {
		return s.checkGauge(ctx, q, c, now)
	}
	return s.checkCounts(q, c, value)
}

// checkCounts asks for the events of the last hour.
func (s *Source) checkCounts(q *question, c *Check, value func(string) (float64, bool, error)) error {
	all := q.plan.Selectors()
	total, part := fmt.Sprintf("sum(increase(%s[1h]))", all[0]), fmt.Sprintf("sum(increase(%s[1h]))", all[1])
	partIs := "bad"
	if q.Indicator.Good != "" {
		partIs = "good"
	}
	if q.Indicator.Kind == sources.Latency {
		bucket, _ := q.parts()
		total += fmt.Sprintf(" or sum(histogram_count(increase(%s[1h])))", all[2])
		part = fmt.Sprintf("sum(increase(%s[1h])) or sum(histogram_fraction(-Inf, %g, increase(%s[1h])) * histogram_count(increase(%s[1h])))",
			bucket, q.Indicator.Below, all[2], all[2])
		partIs = "good"
	}
	var err error
	c.Total, _, err = value(total)
	if refused(err) {
		return nil // it can be counted all the same
	}
	if err != nil {
		return err
	}
	c.Counted = true
	c.Part, _, err = value(part)
	if refused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c.PartIs = partIs
	c.Within = c.Part <= c.Total*1.001+1 // extrapolation is not exact
	return nil
}

// checkGauge counts the samples of the last hour, if they are no more than one request may hold.
func (s *Source) checkGauge(ctx context.Context, q *question, c *Check, now time.Time) error {
	if c.SamplesPerTick/float64(s.tick)*float64(time.Hour.Milliseconds()) > s.limits.SamplesPerRequest {
		return nil
	}
	a, err := s.client.instant(ctx, now, fmt.Sprintf("%s[1h]", q.plan.Selectors()[0]), now.UnixMilli())
	if loaded(err) || refused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	in := q.Indicator
	c.Counted, c.PartIs = true, "bad"
	for _, one := range after(a.series, now.Add(-time.Hour).UnixMilli()) {
		for _, p := range one.floats {
			if math.IsNaN(p.V) {
				continue
			}
			c.Total++
			if in.Compare.Holds(p.V) == in.CompareBad {
				c.Part++
			}
		}
	}
	return nil
}

// checkExpressions asks for the values of expressions at this moment.
func (s *Source) checkExpressions(q *question, c *Check, value func(string) (float64, bool, error)) error {
	e := s.expressions(q, s.tick)
	c.Within, c.PartIs = true, "bad"
	if e.good {
		c.PartIs = "good"
	}
	var err error
	if e.total == "" {
		var highest float64
		c.Total = 1
		if c.Part, c.Exists, err = value("min(" + e.part + ")"); err != nil {
			return err
		}
		if highest, _, err = value("max(" + e.part + ")"); err != nil {
			return err
		}
		if lowest := c.Part; lowest < 0 || highest > 1 {
			c.Within = false
			c.Note = fmt.Sprintf("the ratio lies outside of 0 to 1 at this moment: its values are from %s to %s", amount(lowest), amount(highest))
		}
		if !e.good {
			c.Part = highest
		}
	} else {
		if c.Total, c.Exists, err = value("sum(" + e.total + ")"); err != nil {
			return err
		}
		if c.Part, _, err = value("sum(" + e.part + ")"); err != nil {
			return err
		}
		c.Within = !(c.Part > c.Total*1.001+1)
	}
	c.Counted = !math.IsNaN(c.Total) && !math.IsNaN(c.Part)
	if !c.Exists {
		c.Note = "the expression has no value at this moment"
	}
	return nil
}

// Oldest is the oldest moment that the server can answer for: by its retention where it tells, else
// by the first sample of any question within its period. It is zero when the server has no sample
// at all. Retention by size alone is not foreseen.
func (s *Source) Oldest(ctx context.Context) (time.Time, error) {
	now, err := s.now(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("source %s: %w", s.name, err)
	}
	info, err := s.client.fetch(ctx, now, "runtime information", http.MethodGet, "/api/v1/status/runtimeinfo", nil)
	if err == nil {
		for _, text := range info.values {
			for _, word := range strings.Fields(text) { // "15d or 10GiB"
				if d, err := model.ParseDuration(word); err == nil && d > 0 {
					return now.Add(-time.Duration(d)), nil
				}
			}
		}
	}

	var works []*work
	for _, q := range s.questions {
		if q.plan != nil {
			works = append(works, &work{q: q, fresh: true, cursor: q.newCursor(time.Duration(s.tick) * time.Millisecond)})
		}
	}
	from := now.UnixMilli() / s.tick * s.tick
	s.beginnings(ctx, now, works, from)
	var oldest time.Time
	var faults []error
	for _, w := range works {
		w.q.mu.Lock()
		at := w.q.oldest
		w.q.mu.Unlock()
		switch {
		case w.err != nil:
			faults = append(faults, fmt.Errorf("source %s: slo %s: %w", s.name, w.q.slos[0], w.err))
		case at != 0 && (oldest.IsZero() || at < oldest.UnixMilli()):
			oldest = time.UnixMilli(at)
		}
	}
	if oldest.IsZero() {
		return oldest, errors.Join(faults...)
	}
	return oldest, nil
}
