// Package selectors reads Prometheus series selectors and says which series of a question count
// for what.
//
// The grammar is Prometheus' own parser; this room adds the question: roles, groups, targets and
// histogram bounds. Sources that see labelled series (promapi, scrape, recorded) share it, so that
// they can never disagree about what an objective counts.
//
//	Question ──NewPlan──▶ Plan ──Series(labels)──▶ increments.Series
package selectors

import (
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Selector is a parsed series selector.
type Selector struct {
	Name     string            // metric name where it is fixed; "" when only matchers choose it
	Matchers []*labels.Matcher // all of them, the name's included
}

// Parse reads a selector such as `http_requests_total{service="checkout",code=~"5.."}`. An error
// says what is wrong and at which character.
func Parse(text string) (Selector, error) {
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(text)
	if err != nil {
		var faults parser.ParseErrors
		if errors.As(err, &faults) && len(faults) > 0 {
			f := faults[0]
			return Selector{}, fmt.Errorf("at character %d: %w", int(f.PositionRange.Start)+1, f.Err)
		}
		return Selector{}, err
	}
	s := Selector{Matchers: matchers}
	nonEmpty := false
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			s.Name = m.Value
		}
		nonEmpty = nonEmpty || !m.Matches("")
	}
	if !nonEmpty {
		return Selector{}, errors.New("it chooses every series; name a metric or one label value")
	}
	return s, nil
}

// Matches reports whether a series with these labels is chosen.
func (s Selector) Matches(l labels.Labels) bool {
	for _, m := range s.Matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return true
}

// Renamed is the same selector for another metric.
func (s Selector) Renamed(name string) Selector {
	out := Selector{Name: name, Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)}}
	for _, m := range s.Matchers {
		if m.Name != model.MetricNameLabel {
			out.Matchers = append(out.Matchers, m)
		}
	}
	return out
}

// With is the selector narrowed by further matchers.
func (s Selector) With(more ...*labels.Matcher) Selector {
	s.Matchers = append(s.Matchers[:len(s.Matchers):len(s.Matchers)], more...)
	return s
}

// String prints the selector so that Parse reads the same one.
func (s Selector) String() string {
	var b strings.Builder
	b.WriteString(s.Name)
	b.WriteByte('{')
	sep := ""
	for _, m := range s.Matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && m.Value == s.Name {
			continue
		}
		b.WriteString(sep)
		b.WriteString(m.String())
		sep = ","
	}
	b.WriteByte('}')
	if b.Len() == len(s.Name)+2 && s.Name != "" {
		return s.Name
	}
	return b.String()
}
