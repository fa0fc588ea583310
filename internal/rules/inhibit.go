package rules

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Inhibit is what an Alertmanager's configuration needs beside the rules: while the page of an SLO
// (or group) fires, its ticket is not sent. It is the whole list, as YAML.
func Inhibit(o Options) []byte {
	return []byte("# For alertmanager.yml: while the page of an SLO fires, its ticket is not sent.\n" + inhibitText(o.SLOs))
}

// The two severities of the workbook, one of which inhibits the other.
const (
	page   = "page"
	ticket = "ticket"
)

func inhibitText(slos []SLO) string {
	equal := []string{"slo", "service"}
	type pair struct{ page, ticket map[string]string }
	var pairs []pair
	groups := map[string]bool{}
	for _, s := range slos {
		for _, name := range s.GroupBy {
			if name != "alertname" {
				groups[name] = true
			}
		}
		var p pair
		for _, one := range saidOf(s.Objective) {
			for _, name := range one.names() {
				switch name {
				case page:
					p.page = one.labels
				case ticket:
					p.ticket = one.labels
				}
			}
		}
		if p.page == nil || p.ticket == nil || maps.Equal(p.page, p.ticket) {
			continue
		}
		if !slices.ContainsFunc(pairs, func(o pair) bool { return maps.Equal(o.page, p.page) && maps.Equal(o.ticket, p.ticket) }) {
			pairs = append(pairs, p)
		}
	}
	if len(slos) == 0 {
		pairs = []pair{{map[string]string{"severity": page}, map[string]string{"severity": ticket}}}
	}
	equal = append(equal, slices.Sorted(maps.Keys(groups))...)

	// matchers choose the alerts with these labels and without those of the other side.
	matchers := func(own, other map[string]string) *yaml.Node {
		out := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		out.Content = append(out.Content, text("alertname="+matcherValue(BurnAlert)))
		names := map[string]bool{}
		for name := range own {
			names[name] = true
		}
		for name := range other {
			names[name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			out.Content = append(out.Content, text(name+"="+matcherValue(own[name])))
		}
		return out
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	if len(pairs) == 0 {
		list.Style = yaml.FlowStyle
	}
	for _, p := range pairs {
		labels := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, name := range equal {
			labels.Content = append(labels.Content, text(name))
		}
		list.Content = append(list.Content, mapping(
			"source_matchers", matchers(p.page, p.ticket), "target_matchers", matchers(p.ticket, p.page), "equal", labels))
	}
	var out bytes.Buffer
	to := yaml.NewEncoder(&out)
	to.SetIndent(2)
	if err := to.Encode(mapping("inhibit_rules", list)); err != nil {
		panic("rules: " + err.Error()) // a tree of strings always can be written
	}
	return out.String()
}

// matcherValue is a value in the matcher syntax of Alertmanager, which knows \", \\ and \n alone.
func matcherValue(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "\ufffd")) + `"`
}
