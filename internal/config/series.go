package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/internal/dashboards"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/compatibility"
	"github.com/yoyu-sre/yoyu/slo"
)

// readSeries reads what of the report is on /metrics: standard, full, or some windows and families
// by name. What is left out is named where an alert rule or a dashboard asks for it.
func (l *loader) readSeries() {
	v, ok := l.root.fields["series"]
	if !ok {
		return
	}
	if v.node.Kind != yaml.MappingNode {
		word, _ := v.choice("standard", "full")
		l.config.Series.AllWindows = word == "full"
		return
	}
	o, ok := v.object(seriesFields)
	if !ok {
		return
	}
	before := len(l.faults)
	windows := read(o, "windows", value.windows)
	families := read(o, "families", value.families)
	without := read(o, "without", value.families)
	if len(l.faults) > before {
		return
	}
	s := sinks.Selection{Windows: windows.value, Families: families.value}
	if without.set {
		if s.Families == nil {
			s.Families = slices.Clone(sinks.Families)
		}
		s.Families = slices.DeleteFunc(s.Families, func(f *sinks.Family) bool { return slices.Contains(without.value, f) })
	}
	if s.Families != nil && len(s.Families) == 0 {
		v.fault("leaves nothing to publish", "keep at least one family")
		return
	}
	l.config.Series = s
}

// readCompatibility reads whose names the report has besides.
func (l *loader) readCompatibility() {
	v, ok := l.root.fields["compatibility"]
	if !ok {
		return
	}
	var names []string
	for _, p := range compatibility.Projects {
		names = append(names, string(p))
	}
	entries, _ := v.list("projects, such as [sloth, kube-state-metrics]")
	for _, entry := range entries {
		name, ok := entry.choice(names...)
		if !ok {
			continue
		}
		if p := compatibility.Project(name); !slices.Contains(l.config.Compatibility, p) {
			l.config.Compatibility = append(l.config.Compatibility, p)
		}
	}
}

// windowNames are the windows that can be chosen, by their labels.
func windowNames() []string {
	var out []string
	for _, w := range slo.Windows {
		out = append(out, slo.FormatDuration(w))
	}
	return append(out, sinks.PeriodWindow)
}

// windows reads a list of windows; it is returned from the shortest to the period.
func (v value) windows() ([]string, bool) {
	entries, ok := v.list("windows, like [1h, period]")
	if !ok {
		return nil, false
	}
	known, found, good := windowNames(), map[string]bool{}, true
	for _, entry := range entries {
		word, ok := entry.text()
		switch {
		case !ok:
			good = false
		case !slices.Contains(known, word):
			entry.fault(entry.quoted()+" is no window", "use "+either(known)+", which is the period's name whatever its length")
			good = false
		case found[word]:
			entry.fault(entry.quoted()+" is listed twice", "keep one of them")
			good = false
		}
		found[word] = true
	}
	if len(entries) == 0 {
		v.fault("is empty", "name at least one window, or leave out the families that have windows")
		return nil, false
	}
	return slices.DeleteFunc(known, func(w string) bool { return !found[w] }), good
}

// families reads a list of families; name* are all that begin with name. They are returned in the
// order of the vocabulary.
func (v value) families() ([]*sinks.Family, bool) {
	entries, ok := v.list("families, like [slo_info, slo_error_budget_*]")
	if !ok {
		return nil, false
	}
	names := make([]string, len(sinks.Families))
	for i, f := range sinks.Families {
		names[i] = f.Name
	}
	found, good := map[string]bool{}, true
	for _, entry := range entries {
		word, ok := entry.text()
		if !ok {
			good = false
			continue
		}
		prefix, many := strings.CutSuffix(word, "*")
		some := false
		for _, name := range names {
			if name == word || many && strings.HasPrefix(name, prefix) {
				found[name], some = true, true
			}
		}
		switch {
		case some:
		case strings.HasPrefix(word, "yoyu_"):
			entry.fault(entry.quoted()+" is about yoyu itself, which is always shown", "remove it; a scraper chooses by ?collect[]=")
			good = false
		case many:
			entry.fault("no family begins with "+quote(prefix), nearFamily(prefix, names))
			good = false
		default:
			entry.fault("there is no family "+entry.quoted(), nearFamily(word, names))
			good = false
		}
	}
	if len(entries) == 0 {
		v.fault("is empty", "name at least one family, or remove the field")
		return nil, false
	}
	return slices.DeleteFunc(slices.Clone(sinks.Families), func(f *sinks.Family) bool { return !found[f.Name] }), good
}

// nearFamily is the remedy for an unknown family. There are too many of them to list.
func nearFamily(word string, names []string) string {
	if near := nearest(word, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "/metrics shows their names"
}

// wanted is a series that somebody asks Prometheus for.
type wanted struct {
	family *sinks.Family
	window string // label; "" where any will do, or where there is none
}

func (n wanted) String() string {
	if n.window == "" {
		return n.family.Name
	}
	return fmt.Sprintf("%s{window=%q}", n.family.Name, n.window)
}

// met reports whether the series is published.
func (n wanted) met(s sinks.Selection) bool {
	if s.Families != nil && !slices.Contains(s.Families, n.family) {
		return false
	}
	return n.window == "" || s.Windows == nil || slices.Contains(s.Windows, n.window)
}

// needsOfAlerts is what each rule of deploy/prometheus/rules asks for. A test reads it there.
var needsOfAlerts = []struct {
	rule  string
	needs []wanted
}{
	{"SLOErrorBudgetBurn", []wanted{{sinks.SLOAlertFiring, ""}, {sinks.SLOInfo, ""}}},
	{"SLOBudgetSpent", []wanted{
		{sinks.SLORemainingRatio, ""}, {sinks.SLOBudgetEvents, ""},
		{sinks.SLOCoverage, sinks.PeriodWindow}, {sinks.SLOInfo, ""},
	}},
	{"SLODataMissing", []wanted{{sinks.SLOLastSample, ""}, {sinks.SLOInfo, ""}}},
	{"SLODataStale", []wanted{{sinks.SLOLastSample, ""}, {sinks.SLOInfo, ""}}},
	{"SLODataNeverSeen", []wanted{{sinks.SLOInfo, ""}, {sinks.SLOLastSample, ""}}},
	{"SLODataIncomplete", []wanted{{sinks.SLOCoverage, "1h"}, {sinks.SLOInfo, ""}}},
}

// neededBy are the series of the report that a query asks for.
func neededBy(query string) ([]wanted, error) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return nil, err
	}
	var out []wanted
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		i := slices.IndexFunc(sinks.Families, func(f *sinks.Family) bool { return f.Name == selector.Name })
		if i < 0 {
			return nil // about yoyu itself, which is always there
		}
		named := false
		for _, m := range selector.LabelMatchers {
			for _, w := range windowNames() {
				if m.Name == "window" && m.Matches(w) {
					out, named = append(out, wanted{sinks.Families[i], w}), true
				}
			}
		}
		if !named {
			out = append(out, wanted{sinks.Families[i], ""})
		}
		return nil
	})
	return out, nil
}

// warnOfNeeds says which alert rules cannot work any more, and which dashboards stay empty in part
// that need not. Without a cluster nobody misses the families of workloads.
func (l *loader) warnOfNeeds() {
	v, ok := l.root.fields["series"]
	if !ok {
		return
	}
	s := l.config.Series
	for _, alert := range needsOfAlerts {
		if missing := unmet(alert.needs, s); len(missing) > 0 {
			v.warn(fmt.Sprintf("leaves out what the alert rule %s asks for: %s", alert.rule, strings.Join(missing, ", ")),
				"keep it, or do not load this rule")
		}
	}
	var boards []string
	needs := map[string][]wanted{}
	for _, q := range dashboards.Queries() {
		found, err := neededBy(q.Expr)
		if err != nil {
			continue // a test of the dashboards parses all of them
		}
		if !slices.Contains(boards, q.Dashboard) {
			boards = append(boards, q.Dashboard)
		}
		for _, n := range found {
			if n.family.Scope <= sinks.PerGroup || l.config.Rightsizing.Source != "" {
				needs[q.Dashboard] = append(needs[q.Dashboard], n)
			}
		}
	}
	for _, board := range boards {
		if missing := unmet(needs[board], s); len(missing) > 0 {
			v.warn(fmt.Sprintf("leaves out what panels of the dashboard %s ask for: %s", board, strings.Join(missing, ", ")), "")
		}
	}
}

// unmet are the needs that stay unmet, once each.
func unmet(needs []wanted, s sinks.Selection) []string {
	var out []string
	for _, n := range needs {
		if !n.met(s) && !slices.Contains(out, n.String()) {
			out = append(out, n.String())
		}
	}
	return out
}

// seriesNode is the choice as it is written; nothing for standard.
func seriesNode(s sinks.Selection) *tree {
	if s.AllWindows {
		return plain("full")
	}
	out, windows, families := mapping(), sequence(), sequence()
	for _, w := range s.Windows {
		windows.add(quoted(w))
	}
	for _, f := range s.Families {
		families.add(quoted(f.Name))
	}
	out.put("windows", windows)
	out.put("families", families)
	return out
}
