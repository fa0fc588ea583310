package slo

import "time"

// BudgetPolicy says what to do while an error budget runs out (SRE Workbook, appendix B).
type BudgetPolicy struct {
	Steps     []BudgetStep // the one with the most budget left first; nil: none was written, and a spent budget closes the gate
	MinEvents float64      // events of the period from which the budget acts even while little of the period is known
}

// BudgetStep is what to do while less than a share of the budget is left.
type BudgetStep struct {
	Below  Share  // 0 ≤ Below ≤ 1; 0 is a spent budget: nothing is left, or less
	Action string // for people
	Closed bool   // no risky change may go ahead; true for every step after one that is closed
}

// Gate is what an error budget says to somebody who is about to make a risky change.
type Gate struct {
	Closed bool
	Cause  GateCause
}

// GateCause says why a gate is open or closed.
type GateCause string

// The causes. The first that holds is the one given.
const (
	GateNever   GateCause = "no_gate"       // open: no step of the policy closes it
	GateEarly   GateCause = "early"         // open: too little of the period is known for the budget to act
	GateBudget  GateCause = "budget"        // closed: the budget policy says so
	GateMissing GateCause = "data_missing"  // closed: the source has answered for nothing of the last hour
	GateBudgets GateCause = "budget_allows" // open: there is budget left
)

// spent is the step of a budget without a policy.
var spent = BudgetStep{Closed: true}

// enough is the share of the period that must be known for a budget to act, unless it has counted
// MinEvents: MATHS.md, "Budget".
const enough = 0.1

// Known is the share of the whole period that the source answered for, 0 to 1. It differs from the
// period's coverage early in a calendar period, of which little has passed.
func (s *Status) Known() float64 {
	p := s.period()
	length := s.Objective.Period.Length
	if length <= 0 {
		return 0
	}
	passed := s.Objective.Period.Span(s.At).Duration()
	return min(1, p.Coverage*float64(passed)/float64(length))
}

// Acts reports whether enough of the period is known, or was counted, for the budget to act:
// a handful of requests on the first of a month must not freeze anything.
func (s *Status) Acts() bool {
	return s.Known() >= enough || s.period().Total >= s.Objective.BudgetPolicy.MinEvents
}

// Spent reports whether nothing of the budget is left, and enough is known to say so.
func (s *Status) Spent() bool { return s.Acts() && s.below(spent) }

// Step is the step of the budget policy that is in force: the last whose share is above what is
// left. ok is false while there is none, and while the budget does not act.
func (s *Status) Step() (step BudgetStep, ok bool) {
	if !s.Acts() {
		return BudgetStep{}, false
	}
	for _, b := range s.Objective.BudgetPolicy.Steps {
		if s.below(b) {
			step, ok = b, true
		}
	}
	return step, ok
}

// Gate says whether a risky change may go ahead. Not to know what the last hour did is no leave to
// take a risk: an SLO whose data went missing closes the gate that its budget could close.
func (s *Status) Gate() Gate {
	steps := s.Objective.BudgetPolicy.Steps
	if steps == nil {
		steps = []BudgetStep{spent}
	}
	closes, closed := false, false
	for _, b := range steps {
		closes = closes || b.Closed
		closed = closed || b.Closed && s.below(b)
	}
	switch {
	case !closes:
		return Gate{false, GateNever}
	case !s.Acts():
		return Gate{false, GateEarly}
	case closed:
		return Gate{true, GateBudget}
	case s.Silent():
		return Gate{true, GateMissing}
	}
	return Gate{false, GateBudgets}
}

// below reports whether less is left than the step says. What is left is compared as it is shown.
func (s *Status) below(b BudgetStep) bool {
	left := s.Budget.RemainingRatio
	return left < b.Below.Float() || left <= 0
}

// Silent reports whether nothing is known of the last hour, or of the period where that is shorter.
func (s *Status) Silent() bool {
	for _, w := range s.Windows {
		if w.Length == time.Hour && !w.IsPeriod {
			return w.Coverage == 0
		}
	}
	return s.period().Coverage == 0
}

// period is the window of the compliance period.
func (s *Status) period() Window {
	for _, w := range s.Windows {
		if w.IsPeriod {
			return w
		}
	}
	return Window{}
}
