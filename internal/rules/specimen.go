package rules

import (
	"errors"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// specimen is an SLO over raw metrics with series that it would count: a unit test needs some, and
// selectors say only which they choose.
type specimen struct {
	*bare
	all, bad, good []labels.Labels // all: as many events as bad or good ones, of the same moment
	chooses        []selectors.Selector
}

var (
	errExpression = errors.New("it counts by an expression, for which nobody here can make up series")
	errSelectors  = errors.New("no series was found that its selectors choose, and one that they choose as bad")
	errSlice      = errors.New("it has windows shorter than 2m or slices that do not divide 5m, and the test puts in one sample a minute")
)

func newSpecimen(b *bare) (s specimen, err error) {
	s.bare = b
	if s.Budgeting.Slices() && (s.Budgeting.Slice < 2*time.Minute || slotLength%s.Budgeting.Slice != 0) {
		return s, errSlice
	}
	for _, one := range b.Policy.Severities {
		for _, p := range one.Pairs {
			if p.Short < 2*time.Minute {
				return s, errSlice
			}
		}
	}
	e := b.events
	switch b.Indicator.Kind {
	case sources.Counters:
		s.chooses = []selectors.Selector{e.total, e.part}
		in, okIn := choose(e.total, e.part, true)
		out, okOut := choose(e.total, e.part, false)
		if !okIn || !okOut {
			return s, errSelectors
		}
		s.bad, s.good = []labels.Labels{in}, []labels.Labels{out}
		if b.Indicator.Good != "" {
			s.bad, s.good = s.good, s.bad
		}
		return s, nil
	case sources.Latency:
		s.chooses = []selectors.Selector{e.total, e.part, e.native}
		count, ok := choose(e.total, e.total, true)
		if !ok {
			return s, errSelectors
		}
		bucket := labels.NewBuilder(count).Set(model.MetricNameLabel, e.part.Name).Set(labels.BucketLabel, number(b.Indicator.Below)).Labels()
		s.all, s.good = []labels.Labels{count}, []labels.Labels{bucket}
		return s, nil
	}
	return s, errExpression
}

// choose makes up the labels of a series that one selector chooses, and that another chooses or
// does not.
func choose(always, part selectors.Selector, in bool) (labels.Labels, bool) {
	candidates := map[string][]string{}
	for _, m := range slices.Concat(always.Matchers, part.Matchers) {
		candidates[m.Name] = append(candidates[m.Name], guesses(m)...)
	}
	names := slices.Sorted(maps.Keys(candidates))
	for _, name := range names {
		candidates[name] = append(candidates[name], "", "200", "404", "500", "some", "none", "x")
		slices.Sort(candidates[name][:len(candidates[name])-7])
		candidates[name] = slices.Compact(candidates[name])
	}
	tries := 0
	chosen := map[string]string{}
	var try func(i int) bool
	try = func(i int) bool {
		if tries++; tries > 20000 {
			return false
		}
		if i == len(names) {
			l := labels.FromMap(chosen)
			return always.Matches(l) && part.Matches(l) == in
		}
		name := names[i]
		for _, value := range candidates[name] {
			fits := true
			for _, m := range always.Matchers {
				fits = fits && (m.Name != name || m.Matches(value))
			}
			if !fits || name == model.MetricNameLabel && value == "" {
				continue
			}
			chosen[name] = value
			if value == "" {
				delete(chosen, name)
			}
			if try(i + 1) {
				return true
			}
			delete(chosen, name)
		}
		return false
	}
	if !try(0) {
		return labels.EmptyLabels(), false
	}
	return labels.FromMap(chosen), true
}

// guesses are values that a matcher may choose.
func guesses(m *labels.Matcher) []string {
	switch m.Type {
	case labels.MatchEqual, labels.MatchNotEqual:
		return []string{m.Value}
	}
	re, err := syntax.Parse(m.Value, syntax.Perl)
	if err != nil {
		return nil
	}
	return instances(re)
}

// instances are a few texts that a regular expression matches, as a rule.
func instances(re *syntax.Regexp) []string {
	const few = 4
	var out []string
	switch re.Op {
	case syntax.OpLiteral:
		out = []string{string(re.Rune)}
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune) && len(out) < few; i += 2 {
			out = append(out, string(max(re.Rune[i], min(re.Rune[i+1], 'a'))))
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		out = []string{"0"}
	case syntax.OpCapture, syntax.OpPlus:
		out = instances(re.Sub[0])
	case syntax.OpStar, syntax.OpQuest:
		out = append([]string{""}, instances(re.Sub[0])...)
	case syntax.OpRepeat:
		out = []string{""}
		for range re.Min {
			out = product(out, instances(re.Sub[0]))
		}
	case syntax.OpConcat:
		out = []string{""}
		for _, sub := range re.Sub {
			out = product(out, instances(sub))
		}
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			out = append(out, instances(sub)...)
		}
	default: // anchors, the empty text
		out = []string{""}
	}
	return out[:min(len(out), 2*few)]
}

func product(a, b []string) []string {
	var out []string
	for _, one := range a {
		for _, two := range b {
			if len(out) < 8 {
				out = append(out, one+two)
			}
		}
	}
	return out
}

// pack puts SLOs together whose series count for none of the others: every test is evaluated with
// every rule.
func pack(all []specimen) [][]specimen {
	meddles := func(a, b specimen) bool {
		for _, l := range slices.Concat(a.all, a.bad, a.good) {
			for _, sel := range b.chooses {
				if sel.Matches(l) {
					return true
				}
			}
		}
		return false
	}
	var out [][]specimen
	for _, s := range all {
		i := slices.IndexFunc(out, func(together []specimen) bool {
			return !slices.ContainsFunc(together, func(o specimen) bool { return meddles(s, o) || meddles(o, s) })
		})
		if i < 0 {
			out = append(out, nil)
			i = len(out) - 1
		}
		out[i] = append(out[i], s)
	}
	return out
}

// Moments of the unit tests: all that is bad is seen at late; what is good ends at end.
const (
	late = 40 * time.Minute
	end  = 25 * time.Minute
)

// standaloneTests are tests of SLOs over raw metrics: all events bad, all good, and none.
func standaloneTests(all []specimen) []test {
	var out []test
	for _, together := range pack(all) {
		names := make([]string, len(together))
		for i, s := range together {
			names[i] = s.Name
		}
		who := strings.Join(names, ", ")
		bad := test{name: who + ": every event is bad"}
		good := test{name: who + ": every event is good, until there are none"}
		for _, s := range together {
			bad.series = append(bad.series, s.put(true, "x45")...)
			bad.exprs = append(bad.exprs, s.whenBad()...)
			good.series = append(good.series, s.put(false, "x25 stale")...)
			good.exprs = append(good.exprs, s.whenGood()...)
		}
		out = append(out, bad, good)
	}
	return out
}

func (s specimen) alerts(more string) string {
	return "count(ALERTS{slo=" + quote(utf8(s.Name)) + more + "})"
}

func (s specimen) firing(name, more string) string {
	return s.alerts(",alertname=" + quote(name) + `,alertstate="firing"` + more)
}

func (s specimen) whenBad() []exprTest {
	out := []exprTest{{at: late, expr: "count(" + s.of(errorRatio, slo.FormatDuration(s.least())) + " == 1)", value: 1}}
	bySeverity := map[string]float64{}
	for _, one := range saidOf(s.Objective) {
		severity := one.labels["severity"]
		bySeverity[severity] += 0
		if slices.ContainsFunc(one.severities, s.fires) {
			bySeverity[severity]++
		}
	}
	for _, severity := range slices.Sorted(maps.Keys(bySeverity)) {
		n := bySeverity[severity]
		out = append(out, exprTest{at: late, value: n, none: n == 0, expr: s.firing(BurnAlert, ",severity="+quote(severity))})
	}
	if s.Period.Calendar == slo.Rolling {
		out = append(out, exprTest{at: late, value: 1, expr: "count(" + s.of(remainingRatio) + " < 0)"})
		if s.events()*s.Target.Rest().Float() >= 2 { // whole events of budget
			out = append(out, exprTest{at: late, value: 1, expr: s.firing(spentAlert, "")})
		}
	}
	return out
}

// fires reports whether a severity does when every event is bad: guards may still keep it still.
func (s specimen) fires(severity slo.Severity) bool {
	return slices.ContainsFunc(severity.Pairs, func(p slo.Pair) bool {
		n := s.events() * min(1, float64(p.Long)/float64(late))
		limit, _ := factor(p.Factor).Float64()
		limit *= s.Target.Rest().Float()
		return n >= s.Policy.MinBadEvents && (s.Policy.Confidence == 0 || slo.Wilson(n, n, s.Policy.Confidence).Float > limit)
	})
}

// events are how many there are by late.
func (s specimen) events() float64 {
	if s.Budgeting.Slices() {
		return float64(late / s.Budgeting.Slice)
	}
	return s.rate() * late.Minutes()
}

func (s specimen) whenGood() []exprTest {
	out := []exprTest{
		{at: end, expr: "count(" + s.of(errorRatio, slo.FormatDuration(s.least())) + " == 0)", value: 1},
		{at: end, expr: s.alerts(""), none: true},
		{at: end + 10*time.Minute, expr: s.firing(dataMissingAlert, ""), none: true},
		{at: end + 25*time.Minute, expr: s.firing(dataMissingAlert, ""), value: 1},
	}
	if s.Period.Calendar == slo.Rolling {
		out = append(out, exprTest{at: end, value: 1, expr: "count(" + s.of(remainingRatio) + " == 1)"})
	}
	return out
}

// rate is how many events a minute it is given: enough for every guard.
func (s specimen) rate() float64 { return max(6000, s.Policy.MinBadEvents) }

// put are the specimen's series: many events a minute, all of them bad or all good, of one group.
func (s specimen) put(bad bool, times string) []series {
	still, rises := "0+0"+times, "0+"+number(s.rate())+times
	line := func(all []labels.Labels, values string) (out []series) {
		for _, l := range all {
			m := l.Map()
			name := m[model.MetricNameLabel]
			delete(m, model.MetricNameLabel)
			for _, by := range s.GroupBy {
				if m[by] == "" && !s.chosenBy(by) {
					m[by] = "some"
				}
			}
			out = append(out, series{metric(name, m), values})
		}
		return out
	}
	switch {
	case s.Indicator.Kind == sources.Latency && bad:
		return slices.Concat(line(s.all, rises), line(s.good, still))
	case s.Indicator.Kind == sources.Latency:
		return slices.Concat(line(s.all, rises), line(s.good, rises))
	case bad:
		return slices.Concat(line(s.bad, rises), line(s.good, still))
	}
	return slices.Concat(line(s.bad, still), line(s.good, rises))
}

// chosenBy reports whether the SLO's selectors look at a label.
func (s specimen) chosenBy(name string) bool {
	for _, sel := range s.chooses {
		if slices.ContainsFunc(sel.Matchers, func(m *labels.Matcher) bool { return m.Name == name }) {
			return true
		}
	}
	return false
}
