package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// jsonGate says whether a risky change may go ahead: whether all of the budgets asked for let it.
type jsonGate struct {
	Time    time.Time        `json:"time"`
	Gate    string           `json:"gate"`   // open or closed
	Reason  string           `json:"reason"` // in one sentence
	Budgets []jsonBudgetGate `json:"budgets"`
}

// jsonBudgetGate is what one budget says.
type jsonBudgetGate struct {
	SLO       string            `json:"slo"`
	Service   string            `json:"service"`
	Labels    map[string]string `json:"labels"` // the group_by labels
	Gate      string            `json:"gate"`
	Cause     slo.GateCause     `json:"cause"` // budget, data_missing; budget_allows, early, no_gate
	Reason    string            `json:"reason"`
	Remaining sinks.Number      `json:"remaining_ratio"`
	Step      *sinks.JSONStep   `json:"step"`           // of the budget policy, in force; null for none
	Total     sinks.Number      `json:"total"`          // events of the period
	Known     sinks.Number      `json:"known_ratio"`    // share of the whole period that the source answered for
	Newest    *time.Time        `json:"newest"`         // newest answered moment
	Note      string            `json:"note,omitempty"` // why nothing is counted
	Runbook   string            `json:"runbook_url,omitempty"`
	Approx    []string          `json:"approximations,omitempty"` // why the numbers are not exact
}

// gate answers 200 while a risky change may go ahead, and 409 while one budget forbids it. What it
// cannot judge is neither: 503 before the first report, 404 for a name that is not there.
func (s *Server) gate(w http.ResponseWriter, r *http.Request) {
	report := s.report.Load()
	if report == nil {
		s.refuse(w, refuse(http.StatusServiceUnavailable, "%s", s.waiting()))
		return
	}
	sel := selectionOf(r.URL.Query())
	if len(sel.slos) == 0 && len(sel.services) == 0 {
		s.refuse(w, refuse(http.StatusBadRequest, "name an SLO or a service, as in /api/v1/gate?slo=NAME"))
		return
	}
	picked, no := sel.from(report)
	if no == nil && len(picked) == 0 {
		no = refuse(http.StatusNotFound, "no SLO is called slo=%q and belongs to service=%q", sel.slos, sel.services)
	}
	if no != nil {
		s.refuse(w, no)
		return
	}

	out := jsonGate{Time: report.Time.UTC(), Gate: sinks.GateWord(false)}
	var closed []string
	for i := range picked {
		b := newBudgetGate(&picked[i])
		out.Budgets = append(out.Budgets, b)
		if b.Gate != out.Gate {
			closed = append(closed, oneLine(sinks.Title(&picked[i]))+": "+b.Reason)
		}
	}
	status := http.StatusOK
	if len(closed) > 0 {
		// Those that forbid it first, so that a short look finds them.
		slices.SortStableFunc(out.Budgets, func(a, b jsonBudgetGate) int { return strings.Compare(a.Gate, b.Gate) })
		status, out.Gate, out.Reason = http.StatusConflict, sinks.GateWord(true), strings.Join(closed, "; ")
	} else if len(out.Budgets) == 1 {
		out.Reason = oneLine(sinks.Title(&picked[0])) + ": " + out.Budgets[0].Reason
	} else {
		out.Reason = fmt.Sprintf("none of %d budgets forbids it", len(out.Budgets))
	}
	body, err := encode(out)
	if err != nil {
		s.broken(w, r, err)
		return
	}
	sendJSON(w, status, body)
}

func newBudgetGate(st *slo.Status) jsonBudgetGate {
	o, gate := st.Objective, st.Gate()
	b := jsonBudgetGate{
		SLO: o.Name, Service: o.Service, Labels: sinks.GroupLabels(st), Gate: sinks.GateWord(gate.Closed),
		Cause: gate.Cause, Reason: reasonOf(st, gate), Remaining: number(st.Budget.RemainingRatio),
		Total: number(periodOf(st).Total), Known: number(st.Known()), Note: oneLine(st.Note), Runbook: o.RunbookURL,
	}
	if step, ok := st.Step(); ok {
		now := sinks.NewJSONStep(step)
		b.Step = &now
	}
	for _, c := range sinks.NewJSONCorrections(st) {
		if c.ApproximateSeconds > 0 {
			b.Approx = append(b.Approx, fmt.Sprintf("correction %s: %s of %s in proportion to time", oneLine(c.Name), length(c.ApproximateSeconds), length(c.Seconds)))
		}
	}
	if !st.Newest.IsZero() {
		b.Newest = utc(st.Newest)
	}
	return b
}

// reasonOf says in one sentence why a gate is as it is.
func reasonOf(st *slo.Status, gate slo.Gate) string {
	left := percent(st.Budget.RemainingRatio) + " of the error budget left"
	step, ok := st.Step()
	switch gate.Cause {
	case slo.GateNever:
		return left + ", and no step of the budget policy closes the gate"
	case slo.GateEarly:
		return fmt.Sprintf("too little is known for the budget to act: %s of the period %s and %s events, of at least 10%% or %s events",
			percent(st.Known()), st.Objective.Period.Key(), plain(periodOf(st).Total), plain(st.Objective.BudgetPolicy.MinEvents))
	case slo.GateBudget:
		if ok {
			return left + ", budget policy: " + oneLine(step.Action)
		}
		return left + ", it is spent"
	case slo.GateMissing:
		return "data missing: the source has answered for nothing of the last hour, so that nobody can say what a change does"
	}
	if ok {
		return left + ", budget policy: " + oneLine(step.Action)
	}
	return left
}
