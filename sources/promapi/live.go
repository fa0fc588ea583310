package promapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/sources"
)

// Check is what the server says about one objective's question before anything is counted.
type Check struct {
	SLO    string
	Kind   sources.Kind
	Exists bool // the total has a series, or the expression a value
	Series int  // series with a sample in the last minutes: of total, and of bad or good beside it
	Over   bool // more than max_series: it will not be counted exactly

	// Events in the last hour, roughly: as the server extrapolates them. For an expression its
	// value at this moment.
	Total, Part float64
	Within      bool // the part is no more than the total

	SamplesPerTick  float64 // samples that one tick asks for; 0 for expressions and where it cannot be told
	SamplesBackfill float64 // samples that filling the windows asks for
	Note            string  // what is wrong, for people: no such series, no such bucket
	Err             error   // the server did not answer
}

// Live asks the server about every question, in the order of the questions given: `check --live`.
func (s *Source) Live(ctx context.Context) ([]Check, error) {
	now, err := s.now(ctx)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.name, err)
	}
	byQuestion := map[*question]Check{}
	for _, q := range s.questions {
		c, err := s.check(ctx, q, now)
		if err != nil {
			c.Err = err
		}
		byQuestion[q] = c
	}
	out := make([]Check, 0, len(s.slos))
	for _, name := range s.slos {
		c := byQuestion[s.bySLO[name]]
		c.SLO = name
		if c.Err != nil {
			c.Err = fmt.Errorf("source %s: slo %s: %w", s.name, name, c.Err)
		}
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

func (s *Source) check(ctx context.Context, q *question, now time.Time) (Check, error) {
	c := Check{Kind: q.Indicator.Kind}
	at := now.UnixMilli()
	value := func(expr string) (float64, bool, error) {
		a, err := s.client.instant(ctx, now, expr, at)
		if err != nil || len(a.series) == 0 || len(a.series[0].floats) == 0 {
			return 0, false, err
		}
		return a.series[0].floats[0].V, true, nil
	}
	if q.plan == nil {
		return c, s.checkExpressions(ctx, q, &c, now, value)
	}

	if q.Indicator.Kind == sources.Latency {
		if _, err := s.respell(ctx, now, []*question{q}, at-s.before, at); err != nil {
			return c, err
		}
	}
	var probes []probe
	for _, sel := range q.sides() {
		probes = append(probes, probe{q, sel, s.lookback, at})
	}
	numbers, errs := s.tally(ctx, now, probes)
	if err := errors.Join(errs...); err != nil {
		return c, err
	}
	for _, n := range numbers {
		c.Series += int(n)
	}
	c.Exists, c.Over = numbers[0] > 0, c.Series > s.limits.MaxSeries
	q.mu.Lock()
	q.series = c.Series
	if c.Over && !q.Pushdown {
		c.Note = s.tooMany(q)
	}
	q.mu.Unlock()
	if !c.Exists {
		c.Note = fmt.Sprintf("%s has no series", q.totals())
		return c, nil
	}

	all := q.plan.Selectors()
	var total, part string
	switch q.Indicator.Kind {
	case sources.Counters:
		total, part = fmt.Sprintf("sum(increase(%s[1h]))", all[0]), fmt.Sprintf("sum(increase(%s[1h]))", all[1])
	case sources.Gauge:
		total = fmt.Sprintf("sum(count_over_time(%s[1h]))", all[0])
	case sources.Latency:
		total = fmt.Sprintf("sum(increase(%s[1h])) or sum(histogram_count(increase(%s[1h])))", all[0], all[2])
		bucket, _ := q.parts()
		part = fmt.Sprintf("sum(increase(%s[1h])) or sum(histogram_fraction(-Inf, %g, increase(%s[1h])) * histogram_count(increase(%s[1h])))",
			bucket, q.Indicator.Below, all[2], all[2])
	}
	var err error
	if c.Total, _, err = value(total); err != nil {
		return c, err
	}
	if part != "" {
		if c.Part, _, err = value(part); err != nil {
			return c, err
		}
	}
	c.Within = c.Part <= c.Total*1.001+1 // extrapolation is not exact
	if q.Indicator.Kind == sources.Latency {
		note, err := s.unheld(ctx, q, at-s.before, at)
		if err != nil {
			return c, err
		}
		if note != "" {
			c.Note = note
		}
	}

	for _, sel := range q.apart() {
		const look = 10 * time.Minute
		n, _, err := value(fmt.Sprintf("sum(count_over_time(%s[%dms]))", sel, look.Milliseconds()))
		if refused(err) {
			continue // several metrics with the same labels: there is no such sum
		}
		if err != nil {
			return c, err
		}
		c.SamplesPerTick += n / float64(look.Milliseconds()) * float64(s.tick)
	}
	history := min(q.Period, time.Duration(s.limits.Backfill))
	c.SamplesBackfill = c.SamplesPerTick * float64(history.Milliseconds()) / float64(s.tick)
	return c, nil
}

func (s *Source) checkExpressions(ctx context.Context, q *question, c *Check, now time.Time, value func(string) (float64, bool, error)) error {
	e, _, err := s.expressions(ctx, q, now)
	if err != nil {
		return err
	}
	sum := func(expr string) string { return "sum(" + expr + ")" }
	if e.total == "" {
		c.Total, c.Within = 1, true
		var lowest, highest float64
		if lowest, c.Exists, err = value("min(" + e.part + ")"); err != nil {
			return err
		}
		if highest, _, err = value("max(" + e.part + ")"); err != nil {
			return err
		}
		c.Part, c.Within = highest, lowest >= 0 && highest <= 1
	} else {
		if c.Total, c.Exists, err = value(sum(e.total)); err != nil {
			return err
		}
		if c.Part, _, err = value(sum(e.part)); err != nil {
			return err
		}
		c.Within = c.Part <= c.Total*1.001+1
	}
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
