package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// events writes what an SLO counts as PromQL.
type events struct {
	by        string // the labels of the groups: "route, zone", or ""
	indicator sources.Indicator
	budgeting slo.Budgeting

	total, part selectors.Selector // counters; of latency the counts and the buckets of the threshold
	native      selectors.Selector // of latency
}

func newEvents(s SLO) (events, error) {
	e := events{by: strings.Join(s.GroupBy, ", "), indicator: s.Indicator, budgeting: s.Budgeting}
	if s.Budgeting.Slices() && s.Budgeting.Empty != slo.EmptySkip && s.Budgeting.Empty != "" {
		return e, errEmpty
	}
	switch in := s.Indicator; in.Kind {
	case sources.Counters, sources.Latency:
		plan, err := selectors.NewPlan(sources.Question{SLO: s.Name, Indicator: in})
		if err != nil {
			return e, err
		}
		all := plan.Selectors()
		for _, m := range slices.Concat(all[0].Matchers, all[1].Matchers) {
			if strings.ContainsRune(m.Value, '\ufffd') {
				return e, errNoText
			}
		}
		e.total, e.part = all[0], all[1]
		if in.Kind == sources.Latency {
			e.native = all[2]
			le, err := labels.NewMatcher(labels.MatchRegexp, labels.BucketLabel, alternatives(spellings(in.Below)))
			if err != nil {
				return e, err
			}
			e.part = e.part.With(le)
		}
	case sources.PromQL, sources.Ratio:
		if in.Kind == sources.Ratio && !s.Budgeting.Slices() {
			return e, errRatio
		}
	case sources.Gauge:
		return e, errGauge
	default:
		return e, fmt.Errorf("an indicator of kind %s is not asked of a Prometheus", in.Kind)
	}
	return e, nil
}

// spellings are the ways in which exporters write a threshold as le.
func spellings(v float64) []string {
	out := []string{strconv.FormatFloat(v, 'g', -1, 64), strconv.FormatFloat(v, 'f', -1, 64)}
	if !strings.Contains(out[1], ".") {
		out = append(out, out[1]+".0")
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// counts are all events of a window and the bad ones of them, by group. recorded chooses the
// series that the first is recorded as: the second is 0, and not absent, wherever that is.
func (e events) counts(w time.Duration, recorded string) (total, bad string) {
	none := " or on (" + e.by + ") 0 * " + recorded
	if !e.budgeting.Slices() {
		total, part := e.raw(w)
		switch {
		case e.indicator.Kind == sources.Latency:
			// No bucket of the threshold, no events: such a histogram counts nothing.
			return total, "clamp_min(" + recorded + " - on (" + e.by + ") " + part + ", 0)"
		case e.indicator.Good != "":
			return total, "clamp_min(" + recorded + " - on (" + e.by + ") (" + part + none + "), 0)"
		}
		return total, part + none
	}
	slice := e.budgeting.Slice
	subquery := fmt.Sprintf("[%s:%s]", duration(w), duration(slice))
	ratio := e.slice(slice)
	total = "count_over_time((" + ratio + ")" + subquery + ")"
	if e.budgeting.Method == slo.RatioTimeslices {
		return total, "sum_over_time((" + ratio + ")" + subquery + ")"
	}
	return total, "count_over_time((" + ratio + " > " + decimal(rest(e.budgeting.Target)) + ")" + subquery + ")" + none
}

// slice is the error ratio of one slice of time, by group; nothing where there were no events.
func (e events) slice(w time.Duration) string {
	if e.indicator.Kind == sources.Ratio {
		expression, good := e.indicator.Bad, false
		if e.indicator.Good != "" {
			expression, good = e.indicator.Good, true
		}
		ratio := "clamp(" + e.group("avg", vector(expression)) + ", 0, 1)"
		if good {
			ratio = "1 - " + ratio
		}
		return "(" + ratio + ") >= 0" // which NaN is not
	}
	total, part := e.raw(w)
	of := "(" + total + " > 0)"
	switch {
	case e.indicator.Kind == sources.Latency:
		return "clamp(1 - " + part + " / " + of + ", 0, 1)"
	case e.indicator.Good != "":
		return "clamp(1 - (" + part + " or 0 * " + total + ") / " + of + ", 0, 1)"
	}
	return "clamp((" + part + " or 0 * " + total + ") / " + of + ", 0, 1)"
}

// raw are all events of a window, and those of the part that the indicator names, bad or good.
func (e events) raw(w time.Duration) (total, part string) {
	increase := func(s selectors.Selector) string { return "increase(" + s.String() + "[" + duration(w) + "])" }
	switch e.indicator.Kind {
	case sources.PromQL:
		part := e.indicator.Bad
		if part == "" {
			part = e.indicator.Good
		}
		return e.expression(e.indicator.Total, w), e.expression(part, w)
	case sources.Latency:
		// Series by series, so that pods with classic and with native histograms add up, and one that
		// has both counts once. A native histogram is asked for its share below the threshold.
		count, bucket, native := increase(e.total), increase(e.part), increase(e.native)
		below := number(e.indicator.Below)
		total := "(" + count + " and ignoring (le) " + bucket + ") or histogram_count(" + native + ")"
		good := "sum without (le) (" + bucket + ") or histogram_count(" + native + ") * histogram_fraction(-Inf, " + below + ", " + native + ") >= 0"
		return e.group("sum", total), "(" + e.group("sum", good) + " or 0 * " + e.group("sum", "histogram_count("+native+")") + ")"
	}
	return e.group("sum", increase(e.total)), e.group("sum", increase(e.part))
}

func (e events) group(operator, expression string) string {
	if e.by == "" {
		return operator + " (" + expression + ")"
	}
	return operator + " by (" + e.by + ") (" + expression + ")"
}

var window = regexp.MustCompile(`\{\{\s*\.window\s*\}\}`)

// expression is a person's expression over a window; what is no number, or below 0, counts nothing.
func (e events) expression(text string, w time.Duration) string {
	text = window.ReplaceAllLiteralString(text, duration(w))
	return "(" + e.group("sum", vector(text)) + " >= 0)"
}

// vector is an expression that gives a vector, whatever it gave, and that others can be written
// around: without comments.
func vector(text string) string {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	switch {
	case err != nil:
		return text // File.check says what is wrong with it
	case parsed.Type() == parser.ValueTypeScalar:
		return "vector(" + parsed.String() + ")"
	}
	return parsed.String()
}
