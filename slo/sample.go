package slo

import "time"

// Sample is the whole answer of a source to one objective's question for one span.
//
// It is a function of what the outside system holds, so asking again gives the same Sample, and
// putting it again changes nothing. A question that failed has Err and nothing else: the span
// stays unknown until a later answer covers it.
type Sample struct {
	SLO     string        // name of the objective
	Span    Span          // what was asked, and no less, on whole ticks
	Groups  []GroupSample // the counts by group; one with nil Labels for an ungrouped objective
	Covered []Span        // the parts of Span the source vouches for, ordered, on whole ticks
	Newest  time.Time     // newest answered moment (time of the newest sample seen); zero if none
	Err     error         // the question failed; the rest of the batch stands

	// Progress is what the source remembers after this answer, for a store that keeps both or
	// neither; nil when the source can ask for it again.
	Progress *Progress

	// Diagnostics, summed into yoyu's own metrics.
	Baselined int    // new series whose first value counted nothing
	Series    int    // series read
	Note      string // why nothing could be counted, for people ("histogram has no bucket 0.25; …")
}

// Progress is what a source remembers of one question, as bytes that only it reads: Names seldom
// change, Values do with every answer.
type Progress struct {
	Names, Values []byte
}

// GroupSample is what one group of an objective counted in the span.
type GroupSample struct {
	Labels     []string    // values of the objective's group_by labels, in its order
	Increments []Increment // booked inside Span, by time
	Spreads    []Spread    // learned inside Span, spread over the time before
}

// Increment is a number of events booked at one moment. Counts are whole except where a source's
// numbers are fractional by nature; they are quantised once, when observed.
type Increment struct {
	At    time.Time
	Total float64
	Bad   float64
}

// Spread is an increase across a gap in a series' own samples: the events are known, their moment
// is not. After a share x of (From, To] the engine has counted ⌊x·Total⌋ and ⌊x·Bad⌋ of them, so
// that a burst does not appear at the moment a scrape comes back. To lies in the Sample's span;
// From may lie before it: an answer owns the spreads that were learned in its span.
type Spread struct {
	From, To time.Time
	Total    float64
	Bad      float64 // may be negative: a gap of a "good" series takes bad events away
}
