package selectors

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/sources"
)

// Plan is how the series of one question are counted: which of them, for what, in which group.
type Plan struct {
	Question sources.Question

	total, part Selector // Counters: total, and bad or good; Latency: _count and _bucket
	native      Selector // Latency: the histogram itself
	partRole    increments.Role
	totalRole   increments.Role
	gauge       Selector
}

// NewPlan reads the selectors of a question of kind counters, latency or gauge. Other kinds have
// no series of their own; for them it returns an error.
func NewPlan(q sources.Question) (*Plan, error) {
	p := &Plan{Question: q, totalRole: increments.Total, partRole: increments.Bad}
	in := q.Indicator
	var err error
	switch in.Kind {
	case sources.Counters:
		if p.total, err = Parse(in.Total); err != nil {
			return nil, fmt.Errorf("total: %w", err)
		}
		part, name := in.Bad, "bad"
		if in.Good != "" {
			part, name = in.Good, "good"
			p.totalRole, p.partRole = increments.Total|increments.Bad, increments.Good
		}
		if p.part, err = Parse(part); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	case sources.Latency:
		if p.native, err = Parse(in.Histogram); err != nil {
			return nil, fmt.Errorf("histogram: %w", err)
		}
		if p.native.Name == "" {
			return nil, fmt.Errorf("histogram: %s names no metric", in.Histogram)
		}
		p.total = p.native.Renamed(p.native.Name + "_count")
		p.part = p.native.Renamed(p.native.Name + "_bucket")
		p.totalRole, p.partRole = increments.Total|increments.Bad, increments.Good
	case sources.Gauge:
		if p.gauge, err = Parse(in.Selector); err != nil {
			return nil, fmt.Errorf("selector: %w", err)
		}
	default:
		return nil, fmt.Errorf("an indicator of kind %s has no series of its own", in.Kind)
	}
	return p, nil
}

// Selectors are the selectors whose series the plan reads: for counters total and then bad or
// good; for latency _count, then _bucket, then the native histogram; for a gauge the one.
func (p *Plan) Selectors() []Selector {
	switch p.Question.Indicator.Kind {
	case sources.Latency:
		return []Selector{p.total, p.part, p.native}
	case sources.Gauge:
		return []Selector{p.gauge}
	}
	return []Selector{p.total, p.part}
}

// Series places a series of floats in the question: its role, group, target and identity. ok is
// false for a series that the question does not count. Points are left to the caller.
func (p *Plan) Series(l labels.Labels) (s increments.Series, ok bool) {
	switch p.Question.Indicator.Kind {
	case sources.Gauge:
		if !p.gauge.Matches(l) {
			return s, false
		}
		s.Role = increments.Total
	case sources.Latency:
		switch {
		case p.total.Matches(l):
			s.Role = p.totalRole
		case p.part.Matches(l) && isBound(l.Get(labels.BucketLabel), p.Question.Indicator.Below):
			s.Role = p.partRole
		default:
			return s, false
		}
		s.Family = family(l)
	default:
		if p.total.Matches(l) {
			s.Role |= p.totalRole
		}
		if p.part.Matches(l) {
			s.Role |= p.partRole
		}
		if s.Role == 0 {
			return s, false
		}
	}
	s.Key, s.Target, s.Group = l.String(), increments.TargetOf(l.Get), p.Group(l)
	return s, true
}

// Native places a native histogram in the question as two counters: all its observations, and
// those below the threshold. ok is false for a histogram that the question does not count.
func (p *Plan) Native(l labels.Labels) (count, below increments.Series, ok bool) {
	if p.Question.Indicator.Kind != sources.Latency || !p.native.Matches(l) {
		return count, below, false
	}
	key := l.String()
	count = increments.Series{Key: key, Target: increments.TargetOf(l.Get), Family: key, Group: p.Group(l), Role: p.totalRole}
	below = count
	below.Key, below.Role = key+"\xffbelow", p.partRole
	return count, below, true
}

// Group are the values of the question's group_by labels; "" for one the series does not carry.
func (p *Plan) Group(l labels.Labels) []string {
	if len(p.Question.GroupBy) == 0 {
		return nil
	}
	out := make([]string, len(p.Question.GroupBy))
	for i, name := range p.Question.GroupBy {
		out[i] = l.Get(name)
	}
	return out
}

// Bound is the upper bound of a bucket series of the question's classic histogram, with the
// histogram it belongs to.
func (p *Plan) Bound(l labels.Labels) (histogram string, bound float64, ok bool) {
	if p.Question.Indicator.Kind != sources.Latency || !p.part.Matches(l) {
		return "", 0, false
	}
	bound, err := strconv.ParseFloat(l.Get(labels.BucketLabel), 64)
	if err != nil {
		return "", 0, false
	}
	return family(l), bound, true
}

// family is what the series of one classic histogram have in common.
func family(l labels.Labels) string {
	b := labels.NewBuilder(l)
	name := l.Get(model.MetricNameLabel)
	name = strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
	return b.Set(model.MetricNameLabel, name).Del(labels.BucketLabel).Labels().String()
}

// isBound compares bounds as numbers: 1, 1.0 and 1e0 are one bound.
func isBound(le string, below float64) bool {
	v, err := strconv.ParseFloat(le, 64)
	return err == nil && v == below
}

// Bounds collects the bucket bounds of a question's classic histograms.
type Bounds map[string][]float64

// See notes one bucket of a histogram.
func (b Bounds) See(histogram string, bound float64) {
	if !slices.Contains(b[histogram], bound) {
		b[histogram] = append(b[histogram], bound)
	}
}

// Fault says which histogram has no bound at the threshold, and the two bounds around it; "" when
// every one has it. A threshold between bounds is never answered from the nearest bucket.
func (b Bounds) Fault(below float64) string {
	names := make([]string, 0, len(b))
	for name := range b {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if slices.Contains(b[name], below) {
			continue
		}
		lower, upper := math.Inf(-1), math.Inf(1)
		for _, bound := range b[name] {
			if bound < below {
				lower = max(lower, bound)
			} else {
				upper = min(upper, bound)
			}
		}
		text := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
		switch {
		case math.IsInf(lower, -1):
			return fmt.Sprintf("threshold %s is no bucket bound of %s: the smallest is %s", text(below), name, text(upper))
		case math.IsInf(upper, 1):
			return fmt.Sprintf("threshold %s is no bucket bound of %s: the largest is %s", text(below), name, text(lower))
		}
		return fmt.Sprintf("threshold %s is no bucket bound of %s: the bounds around it are %s and %s", text(below), name, text(lower), text(upper))
	}
	return ""
}
