package web

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// HistoryQuery asks for the course of one SLO. Spans are (From, To], as everywhere.
type HistoryQuery struct {
	SLO    string
	Groups url.Values    // group_by labels with the values asked for; a history for each group that fits. None: all groups together
	From   time.Time     // zero: the start of the period
	To     time.Time     // zero, or later than the newest tick: the newest tick
	Step   time.Duration // 0: about 240 steps; is rounded up to whole ticks
}

// History is the course of one SLO, of one group of it, or of all its groups together, told from
// the windows themselves: the same counts, the same edges.
//
// The past is known the less finely the older it is: at most 1/129 of its age lies between two
// moments that are known. So every step says what it really spans; where a step that was asked for
// would begin and end at the same known moment it is left out, and its neighbour is longer. The
// steps leave no hole, and the sum of their counts is the count of the whole: over the period it is
// exactly what the period's window says at the same tick.
type History struct {
	SLO       string            `json:"slo"`
	Service   string            `json:"service"`
	Labels    map[string]string `json:"labels"` // the group_by labels; {} for an SLO without groups and for all groups together
	Groups    int               `json:"groups"` // how many budgets are added up here: 1 unless it is all groups together
	Objective float64           `json:"objective"`
	Period    string            `json:"period"` // "30d", "month" …

	At          time.Time `json:"at"`                   // the newest tick: what is told holds for this moment
	From        time.Time `json:"from"`                 // edges of all steps together
	To          time.Time `json:"to"`                   //
	Step        float64   `json:"step_seconds"`         // as asked for, in whole ticks
	LongestStep float64   `json:"longest_step_seconds"` // the longest that there is here

	Budget HistoryBudget `json:"error_budget"`
	Steps  []HistoryStep `json:"steps"` // oldest first

	Alerts      []AlertSpan      `json:"alerts"`      // that fired in (From, To], by their beginning
	Watched     []TimeSpan       `json:"watched"`     // when somebody looked at alerts; at other times nobody knows
	Corrections []CorrectionSpan `json:"corrections"` // that apply in (From, To], by their beginning
}

// HistoryBudget is the error budget that the steps' remaining_ratio tells the course of.
type HistoryBudget struct {
	// Course says what remaining_ratio of a step means.
	//
	// "window": the burn-down of the present window. A rolling period forgets what is older than
	// itself, so the budget as it was a week ago cannot be told any more. What is told is how the
	// present window spent the budget that it allows as a whole: 1 − bad since From / allowed.
	//
	// "calendar": as it was then. The budget of a calendar period begins anew at From, so each
	// moment is 1 − bad since From / ((1 − objective) · total since From).
	//
	// Both begin at 1 and end with the present remaining_ratio.
	Course    string       `json:"course"`
	From      time.Time    `json:"from"`     // start of the period, in (From, At]
	Total     sinks.Number `json:"total"`    // in the period, as the period's window has it
	Bad       sinks.Number `json:"bad"`      //
	Coverage  sinks.Number `json:"coverage"` //
	Allowed   sinks.Number `json:"allowed"`  // (1 − objective) · total
	Remaining sinks.Number `json:"remaining_ratio"`
}

// The courses of HistoryBudget.
const (
	CourseWindow   = "window"
	CourseCalendar = "calendar"
)

// HistoryStep is what happened in (From, To].
type HistoryStep struct {
	From       time.Time    `json:"from"`
	To         time.Time    `json:"to"`
	Total      sinks.Number `json:"total"`       // events (slices, when budgeting by slices), without what corrections take out
	Bad        sinks.Number `json:"bad"`         //
	ErrorRatio sinks.Number `json:"error_ratio"` // null without events
	BurnRate   sinks.Number `json:"burn_rate"`   // null while nothing is covered; 0 in covered silence
	Coverage   sinks.Number `json:"coverage"`    // share of the step that the source answered for, 0 to 1: below 1 data is missing
	// Remaining is the budget left at To, see HistoryBudget.Course; null before the period.
	Remaining sinks.Number `json:"remaining_ratio"`
}

// TimeSpan is (From, To].
type TimeSpan struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// AlertSpan is a severity that fired. It fired at From and at every tick somebody looked at, up to
// the tick before To.
type AlertSpan struct {
	Labels   map[string]string `json:"labels"` // of the group
	Severity string            `json:"severity"`
	From     time.Time         `json:"from"` // first firing tick
	To       *time.Time        `json:"to"`   // first tick at which it no longer fired; null while it fires
}

// CorrectionSpan is a correction where it applies.
type CorrectionSpan struct {
	Name               string     `json:"name"`
	Effect             slo.Effect `json:"effect"`
	From               time.Time  `json:"from"`
	To                 time.Time  `json:"to"` // may lie ahead
	ApproximateSeconds float64    `json:"approximate_seconds"`
}

// History asks the engine. An answer waits for the turn that is under way, never for a source, and
// for nothing longer than ctx lasts. What cannot be answered is a *refusal with the status that
// says so.
func (s *Server) History(_ context.Context, _ HistoryQuery) ([]History, error) {
	return nil, refuse(http.StatusServiceUnavailable, "history: nobody keeps one")
}

// Sparks are the courses of all budgets over their periods, small enough for thousands of rows.
type Sparks struct {
	At     time.Time // when they were drawn
	points map[string][]float32
}

// Points are remaining ratios at the ends of SparkSteps steps of equal length over the period, as
// HistoryStep.Remaining tells them; the last is the present one, of st itself. NaN where nothing was
// covered since the period began. nil for a budget that was not there yet.
func (k *Sparks) Points(_ *slo.Status) []float32 {
	return nil
}

// SparkSteps is how many points a spark has.
const SparkSteps = 32

// Sparks are the newest that were drawn; nil before the first. It never waits: it has new ones
// drawn behind it when those are older than a minute.
func (s *Server) Sparks() *Sparks { return nil }

// GroupShares say which groups of an SLO burn its budget.
type GroupShares struct {
	SLO    string       `json:"slo"`
	Time   time.Time    `json:"time"`   // of the report
	Period string       `json:"period"` //
	Total  sinks.Number `json:"total"`  // of all groups, over the period
	Bad    sinks.Number `json:"bad"`
	Groups []GroupShare `json:"groups"` // by bad events, the most first
	Rest   *GroupShare  `json:"rest"`   // those beyond the number asked for, together; null without
}

// GroupShare is one group's part of what is bad.
type GroupShare struct {
	Labels     map[string]string `json:"labels"` // {} of the rest
	Groups     int               `json:"groups"` // 1; of the rest how many
	Total      sinks.Number      `json:"total"`
	Bad        sinks.Number      `json:"bad"`
	BadShare   sinks.Number      `json:"bad_share"` // of the bad events of all groups, 0 to 1; null when there are none
	TotalShare sinks.Number      `json:"total_share"`
	ErrorRatio sinks.Number      `json:"error_ratio"`
	Remaining  sinks.Number      `json:"remaining_ratio"` // of the group's own budget; null of the rest
}

// TopGroups are the n groups of an SLO with the most bad events over the period; nil for an SLO
// that the report does not know, and no groups for one without.
func TopGroups(_ *sinks.Report, _ string, _ int) *GroupShares { return nil }
