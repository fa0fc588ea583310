package config

import (
	"slices"
	"strings"
	"unicode"

	"github.com/yoyu-sre/yoyu/slo"
)

var stepFields = fields{known: []string{"below", "action", "gate"}}

// budgetPolicy reads the steps of an error budget policy, in any order. An empty list is a policy
// too: nothing is to be done, and the gate stays open.
func budgetPolicy(v value) (steps []slo.BudgetStep, ok bool) {
	const like = `steps like {below: 0%, action: "feature freeze", gate: closed}`
	entries, ok := v.list(like)
	if !ok {
		return nil, false
	}
	type written struct {
		slo.BudgetStep
		gate given[string]
		from value
	}
	var all []written
	for _, entry := range entries {
		o, fine := entry.object(stepFields)
		if !fine {
			ok = false
			continue
		}
		below := need(o, "below", "write the share of the budget below which it holds, like 50%, or 0% for a spent one", budgetShare)
		action := need(o, "action", `say what is to be done, like "feature freeze"`, value.line)
		gate := read(o, "gate", func(v value) (string, bool) { return v.choice("open", "closed") })
		if !below.ok || !action.ok || gate.set && !gate.ok {
			ok = false
			continue
		}
		if i := slices.IndexFunc(all, func(w written) bool { return w.Below.Cmp(below.value) == 0 }); i >= 0 {
			below.from.fault("there is a step below "+below.value.Percent()+"% already, in "+all[i].from.where(entry), "make one step of the two")
			ok = false
			continue
		}
		all = append(all, written{slo.BudgetStep{Below: below.value, Action: action.value, Closed: gate.value == "closed"}, gate, entry})
	}
	if !ok {
		return nil, false
	}
	slices.SortFunc(all, func(a, b written) int { return b.Below.Cmp(a.Below) })
	steps = make([]slo.BudgetStep, len(all))
	for i, w := range all {
		if i > 0 && steps[i-1].Closed {
			if w.gate.value == "open" {
				w.gate.from.fault("opens a gate that is closed while more of the budget is left, below "+steps[i-1].Below.Percent()+"%", "remove it")
				ok = false
			}
			w.Closed = true // what is forbidden with more left stays forbidden with less
		}
		steps[i] = w.BudgetStep
	}
	if ok && len(steps) > 0 && !steps[len(steps)-1].Closed {
		v.warn("no step closes the gate, so that /api/v1/gate never says no", "add gate: closed to one of them")
	}
	return steps, ok
}

// budgetShare reads what is left of a budget: 0 to 100 percent.
func budgetShare(v value) (slo.Share, bool) {
	const like = "write what is left of the budget, from 0% (spent) to 100% (untouched)"
	share, ok := v.percentage(like)
	whole, err := slo.ParsePercent("100")
	if ok && (err != nil || share.Cmp(whole) > 0) {
		v.fault(v.quoted()+" is more than the whole budget", like)
		return slo.Share{}, false
	}
	return share, ok
}

// line reads one line of text, for people and labels.
func (v value) line() (string, bool) {
	s, ok := v.text()
	if !ok {
		return "", false
	}
	s = strings.TrimSpace(s)
	switch {
	case strings.ContainsFunc(s, unicode.IsControl):
		v.fault("holds line breaks or control characters", "write one line of text")
	case len(s) > 200:
		v.fault(v.quoted()+" is too long for a label", "use at most 200 bytes")
	default:
		return s, true
	}
	return "", false
}
