package slo

import "time"

// Objective is one service level objective, checked and expanded: plain values, no text to parse.
type Objective struct {
	Name         string            // unique in a configuration
	Service      string            // the service it belongs to
	Target       Share             // promised share of good events, 0 < Target < 1
	Period       Period            // compliance period
	GroupBy      []string          // labels with one budget per combination; nil for one budget
	GroupLimit   int               // groups kept apart; later ones fold into OtherGroup. 0: no limit
	Labels       map[string]string // team, tier …: go to slo_info, never to the series
	RunbookURL   string
	Counting     string        // "exact"; "pushdown" where the server takes increases; "expression" where it evaluates one
	Delay        time.Duration // how far behind the clock its source's answers are complete
	Fractional   bool          // counts may be fractional by nature (promql, pushdown, native histograms)
	ReadyRatio   bool          // counts are ready-made ratios: one a tick, kept to nine digits
	Budgeting    Budgeting     // what an event of the budget is
	Policy       Policy        // alerts, already scaled to the period
	Corrections  []Correction
	BudgetPolicy BudgetPolicy // what to do while the error budget runs out
}

// OtherGroup is the value of every group_by label of the group that holds what came after the
// group limit was reached.
const OtherGroup = "_other"

// Method says what the budget counts.
type Method string

// The budgeting methods of MATHS.md, "Slices as events".
const (
	Occurrences     Method = "occurrences"
	Timeslices      Method = "timeslices"
	RatioTimeslices Method = "ratio_timeslices"
)

// Empty says what a slice without events counts as.
type Empty string

// What a covered slice without events is.
const (
	EmptySkip Empty = "skip"
	EmptyGood Empty = "good"
	EmptyBad  Empty = "bad"
)

// Budgeting is how events become the budget's events. The zero value counts occurrences.
type Budgeting struct {
	Method Method
	Slice  time.Duration // length of a slice, a multiple of the tick
	Target Share         // share of good events that makes a slice good (timeslices)
	Empty  Empty         // "" is skip
}

// Slices reports whether the budget counts slices of time instead of events.
func (b Budgeting) Slices() bool { return b.Method == Timeslices || b.Method == RatioTimeslices }

// Policy is a set of burn-rate alerts, by severity in the order they are shown.
type Policy struct {
	Name         string
	Severities   []Severity
	MinBadEvents float64 // least bad events in the long window; 0: no guard
	Confidence   float64 // z of the two-sided Wilson bound, 1.96 for 95 %; 0: no guard
}

// Severity is one severity's pairs, joined by or.
type Severity struct {
	Name   string            // page, ticket …
	Pairs  []Pair            // any of them fires it
	Labels map[string]string // for the alerts themselves
}

// Pair is the condition burn(Long) > Factor and burn(Short) > Factor.
type Pair struct {
	Long, Short time.Duration
	Factor      Factor
}

// Factor is a burn rate threshold, kept as an exact fraction: share of budget × period / long.
type Factor struct {
	num, den uint64
}

// Windows are the lookbacks every objective publishes, beside its period.
var Windows = []time.Duration{5 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, Day, 3 * Day}
