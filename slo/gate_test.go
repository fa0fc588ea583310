package slo_test

import (
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// What a budget says to somebody who is about to make a risky change: on the policy "below 50 %
// review, below 10 % freeze (closed)" of a 30-day SLO, unless said otherwise.
func TestGate(t *testing.T) {
	share := func(percent string) slo.Share {
		s, err := slo.ParsePercent(percent)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var (
		review = slo.BudgetStep{Below: share("50"), Action: "review"}
		freeze = slo.BudgetStep{Below: share("10"), Action: "freeze", Closed: true}
		stop   = slo.BudgetStep{Below: share("0"), Action: "stop", Closed: true}
		both   = []slo.BudgetStep{review, freeze}
		none   = []slo.BudgetStep{}
		rolls  = slo.RollingPeriod(30 * slo.Day)
	)
	f := func(what string, period slo.Period, at string, steps []slo.BudgetStep, left, total, coverage, hour float64, step string, closed bool, cause slo.GateCause, spent bool) {
		t.Helper()
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		st := slo.Status{
			Objective: &slo.Objective{Period: period, BudgetPolicy: slo.BudgetPolicy{Steps: steps, MinEvents: 1000}},
			At:        moment,
			Windows:   []slo.Window{{Length: time.Hour, Coverage: hour}, {Length: period.Length, IsPeriod: true, Total: total, Coverage: coverage}},
			Budget:    slo.Budget{RemainingRatio: left},
		}
		now, ok := st.Step()
		if now.Action != step || ok != (step != "") {
			t.Errorf("%s: step %q, want %q", what, now.Action, step)
		}
		if got, want := st.Gate(), (slo.Gate{Closed: closed, Cause: cause}); got != want {
			t.Errorf("%s: gate %+v, want %+v", what, got, want)
		}
		if st.Spent() != spent {
			t.Errorf("%s: spent %v, want %v", what, st.Spent(), spent)
		}
	}
	const at = "2026-11-15T12:00:00Z"
	f("untouched", rolls, at, both, 1, 5000, 1, 1, "", false, slo.GateBudgets, false)
	f("exactly half is not below half", rolls, at, both, 0.5, 5000, 1, 1, "", false, slo.GateBudgets, false)
	f("a step that forbids nothing", rolls, at, both, 0.49, 5000, 1, 1, "review", false, slo.GateBudgets, false)
	f("a step that closes the gate", rolls, at, both, 0.09, 5000, 1, 1, "freeze", true, slo.GateBudget, false)
	f("overspent", rolls, at, both, -3, 5000, 1, 1, "freeze", true, slo.GateBudget, true)
	f("nothing left is spent", rolls, at, []slo.BudgetStep{stop}, 0, 5000, 1, 1, "stop", true, slo.GateBudget, true)
	f("a little left is not", rolls, at, []slo.BudgetStep{stop}, 0.001, 5000, 1, 1, "", false, slo.GateBudgets, false)
	f("a policy without a gate", rolls, at, []slo.BudgetStep{review}, -1, 5000, 1, 1, "review", false, slo.GateNever, true)
	f("an empty policy", rolls, at, none, -1, 5000, 1, 0, "", false, slo.GateNever, true)
	f("no policy, spent", rolls, at, nil, 0, 5000, 1, 1, "", true, slo.GateBudget, true)
	f("no policy, not spent", rolls, at, nil, 0.01, 5000, 1, 1, "", false, slo.GateBudgets, false)

	f("new: a tenth of the period is not known", rolls, at, both, -5, 999, 0.0999, 1, "", false, slo.GateEarly, false)
	f("a tenth is", rolls, at, both, -5, 20, 0.1, 1, "freeze", true, slo.GateBudget, true)
	f("many events are enough", rolls, at, both, -5, 1000, 0.001, 1, "freeze", true, slo.GateBudget, true)
	month, tokyo := slo.CalendarPeriod(slo.Month, nil), "2026-11-03T12:00:00Z"
	f("the third of a month, all of it covered: 2.5 of 30 days are less than a tenth", month, tokyo, both, -5, 400, 1, 1, "", false, slo.GateEarly, false)
	f("half a day on", month, "2026-11-04T00:00:00Z", both, -5, 400, 1, 1, "freeze", true, slo.GateBudget, true)
	f("half covered, it takes six days", month, "2026-11-06T23:59:00Z", both, -5, 400, 0.5, 1, "", false, slo.GateEarly, false)

	f("data missing where the budget could close the gate", rolls, at, both, 1, 5000, 0.9, 0, "", true, slo.GateMissing, false)
	f("data missing, without a policy", rolls, at, nil, 1, 5000, 0.9, 0, "", true, slo.GateMissing, false)
	f("a spent budget is the better reason", rolls, at, both, -1, 5000, 0.9, 0, "freeze", true, slo.GateBudget, true)
	f("never answered: too little is known to act", rolls, at, both, 1, 0, 0, 0, "", false, slo.GateEarly, false)
}
