package rules

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// Options say what rules are for.
type Options struct {
	SLOs []SLO         // of a configuration; none: Alerts writes rules that fit whatever configuration
	Tick time.Duration // of the daemon: how often its series can move; 0 is 30s

	// Keep is how long an alert about a burn rate of yoyu's own series outlives its condition, so that
	// a restart of yoyu, which leaves a hole of a scrape or two, resolves no page. 0: not at all.
	Keep time.Duration
}

// DefaultKeep is what a restart of yoyu may take.
const DefaultKeep = 5 * time.Minute

// SLO is an objective with what it counts.
type SLO struct {
	*slo.Objective
	Indicator sources.Indicator // Standalone alone asks for it
}

// BurnAlert is the name of every alert about a burn rate, whoever sends it.
const BurnAlert = "SLOErrorBudgetBurn"

// File is a file of rules.
type File struct {
	intro  string // what stands above the groups, as comments
	groups []group
	tests  []test
	// promtool evaluates all groups as often, whatever their own intervals.
	evaluated time.Duration
	untold    []string // SLOs without a unit test, each with the reason
}

type group struct {
	name     string
	about    string        // a comment
	interval time.Duration // 0: that of the server
	rules    []rule
}

// rule records a series or sends an alert.
type rule struct {
	about         string // a comment
	record, alert string // one of them
	expr          string
	wait, keep    time.Duration // for, keep_firing_for
	labels        map[string]string
	annotations   []annotation
}

type annotation struct{ name, text string }

// check parses every expression, and breaks those into lines that are too long for one.
func (f *File) check() error {
	read := parser.NewParser(parser.Options{})
	for g := range f.groups {
		for i := range f.groups[g].rules {
			r := &f.groups[g].rules[i]
			r.expr = escaped(r.expr)
			parsed, err := read.ParseExpr(r.expr)
			if err != nil {
				return fmt.Errorf("rule %s%s: %s: %w", r.record, r.alert, r.expr, err)
			}
			if len(r.expr) > 100 && !strings.Contains(r.expr, "\n") {
				r.expr = escaped(parser.Prettify(parsed))
			}
		}
	}
	return nil
}

// Untested are the SLOs that Tests says nothing about, each with the reason.
func (f *File) Untested() []string { return f.untold }

// quote is a text as a string of PromQL.
func quote(s string) string { return escaped(strconv.Quote(strings.ToValidUTF8(s, "\ufffd"))) }

// escaped is PromQL whose reader takes U+FFFD for bytes that are no text, unless it is escaped.
func escaped(expression string) string { return strings.ReplaceAll(expression, "\ufffd", `\ufffd`) }

// literal is a text that the templates of labels and annotations leave as it is.
func literal(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "{{", `{{"{{"}}`)
}

// duration is a length as Prometheus writes it.
func duration(d time.Duration) string { return model.Duration(d).String() }

// anyOf is a matcher's right side that chooses these values: ="a", or =~"a|b".
func anyOf(values []string) string {
	if len(values) == 1 {
		return "=" + quote(values[0])
	}
	return "=~" + quote(alternatives(values))
}

func noneOf(values []string) string {
	if len(values) == 1 {
		return "!=" + quote(values[0])
	}
	return "!~" + quote(alternatives(values))
}

func alternatives(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = quoteMeta(v)
	}
	return strings.Join(out, "|")
}

// quoteMeta is regexp.QuoteMeta for the text of a matcher, without a backslash before "-".
func quoteMeta(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		if strings.ContainsRune(`\.+*?()|[]{}^$`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// identity are the labels of an alert that nothing may change.
func identity(o *slo.Objective, name string) bool {
	return name == "slo" || name == "service" || name == "alertname" || slices.Contains(o.GroupBy, name)
}

// said is one alert of an SLO as it leaves Prometheus: its labels beside slo, service and those of
// group_by, and the severities of the policy that it stands for. Two severities that have the same
// labels outside are one alert: an Alertmanager could not tell them apart, and would resolve the
// one while the other fires.
type said struct {
	severities []slo.Severity
	labels     map[string]string // severity, and what the policy writes over it
}

// saidOf are the alerts of an SLO, in the order of its policy.
func saidOf(o *slo.Objective) []said {
	var out []said
	for _, s := range o.Policy.Severities {
		if len(s.Pairs) == 0 {
			continue
		}
		labels := map[string]string{"severity": s.Name}
		for name, value := range s.Labels {
			if !identity(o, name) && value != "" {
				labels[name] = strings.ToValidUTF8(value, "\ufffd")
			}
		}
		i := slices.IndexFunc(out, func(one said) bool { return maps.Equal(one.labels, labels) })
		if i < 0 {
			out = append(out, said{labels: labels})
			i = len(out) - 1
		}
		out[i].severities = append(out[i].severities, s)
	}
	return out
}

// names are the severities as the policy calls them.
func (s said) names() []string {
	out := make([]string, len(s.severities))
	for i, one := range s.severities {
		out[i] = one.Name
	}
	return out
}

// plain reports whether the policy writes nothing over the severity's name.
func (s said) plain() bool {
	return len(s.severities) == 1 && len(s.labels) == 1 && s.labels["severity"] == s.severities[0].Name
}

// keyOf is one text for one set of labels.
func keyOf(labels map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, "%q=%q,", name, labels[name])
	}
	return b.String()
}

// literals are labels that no template changes.
func literals(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	out := make(map[string]string, len(labels))
	for name, value := range labels {
		out[name] = literal(value)
	}
	return out
}
