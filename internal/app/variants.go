package app

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/yoyu-sre/yoyu/internal/backtest"
	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/slo"
)

// trial is what a backtest replays when it tries other promises.
type trial struct {
	objectives []slo.Objective   // each of its own, then what is tried in its place
	as         map[string]string // who shares whose answers
	own        map[string]string // the name that the configuration knows, by name in the trial
}

// tried reports whether there is anything to set side by side.
func (t *trial) tried() bool {
	for name, own := range t.own {
		if name != own {
			return true
		}
	}
	return false
}

// variants are the combinations that the flags ask for, without what is asked for twice.
func (o backtestOptions) variants() []config.Variant {
	or := func(texts []string) []string {
		if len(texts) == 0 {
			return []string{""} // as it is
		}
		return texts
	}
	var out []config.Variant
	for _, objective := range or(o.objectives) {
		for _, policy := range or(o.policies) {
			for _, period := range or(o.periods) {
				v := config.Variant{Objective: objective, Policy: policy, Period: period}
				if v != (config.Variant{}) && !slices.Contains(out, v) {
					out = append(out, v)
				}
			}
		}
	}
	return out
}

// suffix is what the name of a variant says beside the name of its SLO: what is different.
func suffix(v config.Variant) string {
	text := ""
	for _, part := range [][2]string{{"objective", v.Objective}, {"policy", v.Policy}, {"period", v.Period}} {
		if part[1] != "" {
			text += " " + part[0] + "=" + part[1]
		}
	}
	return text
}

// tryOthers puts beside every named SLO the same one under other promises. They count the same
// events, so the configuration is left with the questions that differ: those of another period
// remember their series for another time.
func tryOthers(c *config.Config, o backtestOptions) (*trial, error) {
	t := &trial{as: map[string]string{}, own: map[string]string{}}
	variants := o.variants()
	if len(variants) > 0 && len(o.only) == 0 {
		return nil, errors.New("backtest: --objective, --policy and --period try others for the SLOs that --slo names")
	}
	var asked []slo.Objective
	var questions []config.Question
	for i, own := range c.Objectives {
		t.objectives, t.own[own.Name] = append(t.objectives, own), own.Name
		asked, questions = append(asked, own), append(questions, c.Questions[i])
		for _, v := range variants {
			variant, err := c.Variant(own.Name, v)
			if err != nil {
				return nil, fmt.Errorf("backtest: slo %s:%s: %w", own.Name, suffix(v), err)
			}
			variant.Name = own.Name + suffix(v)
			t.objectives, t.own[variant.Name] = append(t.objectives, variant), own.Name
			if variant.Period == own.Period {
				t.as[variant.Name] = own.Name
				continue
			}
			question := c.Questions[i]
			question.SLO = variant.Name
			question.Period += variant.Period.Longest() - own.Period.Longest()
			asked, questions = append(asked, variant), append(questions, question)
		}
	}
	c.Objectives, c.Questions = asked, questions
	return t, nil
}

// sideBySide are the summaries of a trial: what is tried, if anything is, stands behind what the
// configuration says, group by group.
func (t *trial) sideBySide(result *backtest.Result) []backtest.Summary {
	place := map[string]int{} // of the SLO, then of the group
	all := backtest.Compare(result)
	for _, s := range all {
		for _, key := range []string{t.own[s.SLO], title(t.own[s.SLO], s.Labels)} {
			if _, ok := place[key]; !ok {
				place[key] = len(place)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b backtest.Summary) int {
		return cmp.Or(
			cmp.Compare(place[t.own[a.SLO]], place[t.own[b.SLO]]),
			cmp.Compare(place[title(t.own[a.SLO], a.Labels)], place[title(t.own[b.SLO], b.Labels)]),
		)
	})
	return all
}
