package slo

import "time"

// Status is one objective, or one group of it, at one whole tick. Nobody changes it.
type Status struct {
	Objective *Objective
	Labels    []string      // values of Objective.GroupBy; empty when it has none
	NoGroup   bool          // a grouped objective that has no group yet: it stands for none, and has no labels
	At        time.Time     // the whole tick the numbers hold for
	Tick      time.Duration `json:"-"` // of the engine; 0 where none made the status

	Windows []Window // by length; the last one is the period
	Budget  Budget
	Alerts  []Alert // one per severity of the policy, in its order

	EventsTotal    float64   // events since yoyu first watched: only rises
	BadEventsTotal float64   // the bad ones of them
	Newest         time.Time // newest answered moment; zero if none
	Note           string    // why nothing is counted, for people; "" when all is well

	Corrections []CorrectionStatus // of Objective.Corrections, in their order; nil without any
	TakenTotal  float64            // what corrections take out of the period's total
	TakenBad    float64            // and of its bad
}

// Left is the left edge of a window of the status as it was counted: the known tick nearest to the
// nominal one, which is itself up to an hour back, and less than 0.4 % of its age away beyond. A
// status that no engine made has the nominal edge.
func (s *Status) Left(w *Window) time.Time {
	from := s.At.Add(-w.Length)
	if w.IsPeriod {
		from = s.Objective.Period.Span(s.At).From
	}
	if s.Tick <= 0 {
		return from
	}
	tickMs := s.Tick.Milliseconds()
	g := newGrid(s.Tick, horizonOf(s.Objective))
	l := lane{grid: &g, head: floorDiv(s.At.UnixMilli(), tickMs)}
	return time.UnixMilli(l.nearest(floorDiv(from.UnixMilli(), tickMs)) * tickMs).UTC()
}

// CorrectionStatus is what one correction does.
type CorrectionStatus struct {
	Active      bool          // it applies at At
	Applied     time.Duration // for how long it applies in the period so far, in whole ticks or slices
	Approximate time.Duration // of Applied, what was taken in proportion to time as the source cannot say
}

// Window is what happened in (At − Length, At], or in the period so far.
type Window struct {
	Key      string        // "5m" … "3d"; of the period its length or calendar name
	Length   time.Duration // nominal for a calendar period
	IsPeriod bool
	Total    float64 // events (slices, when budgeting by slices)
	Bad      float64 // the bad ones
	Coverage float64 // share of the window the source answered for, 0–1

	ErrorRatio Value // Bad/Total; undefined when Total is 0
	BurnRate   Value // ErrorRatio/(1 − target); 0 in covered silence; undefined with coverage 0
}

// Budget is the error budget of the period.
type Budget struct {
	Allowed        float64 // (1 − target)·total: bad events the period may hold
	Spent          float64 // bad events it held
	RemainingRatio float64 // 1 untouched, 0 spent, negative overspent
	Exhaustion     Value   // seconds until spent at the present burn; 0 when spent; else undefined
}

// Alert is the state of one severity.
type Alert struct {
	Severity  string
	Firing    bool
	Since     time.Time // first tick of the unbroken run it fires in; zero while it does not
	BurnRatio Value     // largest over pairs of min(burn long, burn short)/factor: above 1 ⇔ firing
	Pairs     []PairStatus
}

// PairStatus is the state of one pair of windows.
type PairStatus struct {
	Pair
	Firing bool
	Held   bool  // a window is without coverage: the last known state is kept
	Ratio  Value // min(burn long, burn short)/factor, at most 1 when a guard says no
}

// Value is a number that may be undefined. Undefined is absent in metrics and null in JSON; it is
// never 0 and never NaN.
type Value struct {
	Float   float64
	Defined bool
}

// Defined makes a defined value.
func Defined(f float64) Value { return Value{f, true} }
