// Package sources holds the contract that every outside system is asked through.
//
// A source answers questions about spans of time. It hands over increments, never raw counters:
// only the source knows which series a counter belongs to, so only it can tell a reset from a
// restart. It keeps no position, only the last values of its series, so the caller decides what
// to ask, in which order, and again after an error.
package sources

import (
	"context"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// A Source answers one kind of question about one outside system.
//
// Collect answers for span, whole or not at all, question by question: a question that fails
// alone fails in its own answer (slo.Sample.Err), an error fails them all. only names the
// questions to ask; without it all are asked. After an error the same span is asked again, grown
// by the time that passed. Collect is safe for concurrent use, so that filling the past never
// holds up the present, and it returns soon after ctx ends.
type Source[T any] interface {
	Name() string
	Collect(ctx context.Context, span slo.Span, only ...string) ([]T, error)
}

// Question is what one objective wants counted.
type Question struct {
	SLO       string        // name of the objective: the answer's address
	Period    time.Duration // how far back a series' last value matters
	GroupBy   []string      // labels to count apart by
	Indicator Indicator
	Pushdown  bool // the server may take the increases itself (counting: pushdown)
}

// Kind says how an indicator counts.
type Kind string

// The kinds of indicator. Each source knows which of them it can answer.
const (
	Counters Kind = "counters" // selectors of counters
	Latency  Kind = "latency"  // a histogram below a threshold
	Gauge    Kind = "gauge"    // every sample is an event
	PromQL   Kind = "promql"   // expressions over {{.window}}
	Ratio    Kind = "ratio"    // an expression that is already a ratio
	Datadog  Kind = "datadog"  // metric queries of Datadog, added up and taken away

	CloudWatch Kind = "cloudwatch" // statistics of CloudWatch metrics, likewise
)

// Indicator says which events are counted and which of them are bad. Of Bad and Good at most one
// is set. It is a comparable value: equal indicators are asked once.
type Indicator struct {
	Kind Kind

	Total string // Counters: selector; PromQL: expression; Datadog: query; CloudWatch: metrics
	Bad   string // Counters: selector; PromQL, Ratio: expression; Datadog: query; CloudWatch: metrics
	Good  string // in place of Bad

	Scope string // CloudWatch: whose metrics, as selectors.CloudWatchScope writes it

	Histogram string  // Latency: selector by the family's base name, no _bucket
	Below     float64 // Latency: threshold in the histogram's own unit, seconds as a rule

	Selector   string     // Gauge
	Compare    Comparison // Gauge: what makes a sample good, or with CompareBad what makes it bad
	CompareBad bool
}

// Comparison is a threshold on a sample's value: "> 0", ">= 1", "== 1", "!= 0", "< 5", "<= 5".
type Comparison struct {
	Op    string
	Value float64
}

// Holds applies the comparison; an unknown operator never holds.
func (c Comparison) Holds(v float64) bool {
	switch c.Op {
	case ">":
		return v > c.Value
	case ">=":
		return v >= c.Value
	case "<":
		return v < c.Value
	case "<=":
		return v <= c.Value
	case "==":
		return v == c.Value
	case "!=":
		return v != c.Value
	}
	return false
}
