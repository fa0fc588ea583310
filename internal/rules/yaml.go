package rules

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// YAML is the file as Prometheus reads it.
func (f *File) YAML() ([]byte, error) {
	return write(f.intro, mapping("groups", f.list()), 2)
}

// Object is the PrometheusRule that the Prometheus operator takes in place of a file.
type Object struct {
	Name      string            // metadata.name
	Namespace string            // "" leaves it to whoever applies it
	Labels    map[string]string // what the operator's ruleSelector wants
}

// PrometheusRule is the file as an object of Kubernetes.
func (f *File) PrometheusRule(o Object) ([]byte, error) {
	metadata := mapping("name", text(o.Name))
	if o.Namespace != "" {
		add(metadata, "namespace", text(o.Namespace))
	}
	if len(o.Labels) > 0 {
		add(metadata, "labels", texts(o.Labels))
	}
	return write(f.intro, mapping(
		"apiVersion", text("monitoring.coreos.com/v1"), "kind", text("PrometheusRule"),
		"metadata", metadata, "spec", mapping("groups", f.list())), 4)
}

func (f *File) list() *yaml.Node {
	groups := &yaml.Node{Kind: yaml.SequenceNode}
	for _, g := range f.groups {
		rules := &yaml.Node{Kind: yaml.SequenceNode}
		for _, r := range g.rules {
			rules.Content = append(rules.Content, r.node())
		}
		node := mapping("name", text(g.name))
		if g.interval > 0 {
			add(node, "interval", text(duration(g.interval)))
		}
		add(node, "rules", rules)
		node.HeadComment = comment(g.about)
		groups.Content = append(groups.Content, node)
	}
	return groups
}

func (r rule) node() *yaml.Node {
	node := mapping()
	if r.record != "" {
		add(node, "record", text(r.record))
	} else {
		add(node, "alert", text(r.alert))
	}
	add(node, "expr", text(r.expr))
	if r.wait > 0 {
		add(node, "for", text(duration(r.wait)))
	}
	if r.keep > 0 {
		add(node, "keep_firing_for", text(duration(r.keep)))
	}
	if len(r.labels) > 0 {
		add(node, "labels", texts(r.labels))
	}
	if len(r.annotations) > 0 {
		all := mapping()
		for _, a := range r.annotations {
			add(all, a.name, text(a.text))
		}
		add(node, "annotations", all)
	}
	node.HeadComment = comment(r.about)
	return node
}

// write prints a document under its introduction. The items of a list that is indented by so many
// spaces stand apart, and so do the alerts in lists within them.
func write(intro string, node *yaml.Node, indented int) ([]byte, error) {
	var body bytes.Buffer
	to := yaml.NewEncoder(&body)
	to.SetIndent(2)
	if err := to.Encode(node); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	if err := to.Close(); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	var out bytes.Buffer
	if intro != "" {
		out.WriteString(comment(intro) + "\n\n")
	}
	// What is quoted of people is indented further, so that none of it is taken for an item.
	outer, inner := strings.Repeat(" ", indented), strings.Repeat(" ", indented+4)
	first := true // nothing stands apart from the line that its list begins with
	var held []string
	for line := range strings.Lines(body.String()) {
		trimmed := strings.TrimLeft(line, " ")
		if strings.HasPrefix(line, outer+"# ") || strings.HasPrefix(line, inner+"# ") {
			held = append(held, line)
			continue
		}
		if strings.HasPrefix(line, outer+"- ") || strings.HasPrefix(line, inner+"- alert:") {
			if !first {
				out.WriteString("\n")
			}
		}
		for _, one := range held {
			out.WriteString(one)
		}
		held = held[:0]
		out.WriteString(line)
		first = trimmed == "rules:\n" || trimmed == "groups:\n" || trimmed == "tests:\n"
	}
	return out.Bytes(), nil
}

// comment is a text as lines of a comment; what could end one is not in it.
func comment(s string) string {
	if s == "" {
		return ""
	}
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		line = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return unicode.ReplacementChar
			}
			return r
		}, strings.ToValidUTF8(line, "\ufffd"))
		out = append(out, strings.TrimRight("# "+line, " "))
	}
	return strings.Join(out, "\n")
}

// mapping is a map in the order given: name, node, name, node …
func mapping(pairs ...any) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i+1 < len(pairs); i += 2 {
		add(node, pairs[i].(string), pairs[i+1].(*yaml.Node))
	}
	return node
}

func add(to *yaml.Node, name string, node *yaml.Node) {
	to.Content = append(to.Content, text(name), node)
}

// text is a string, whatever it looks like; one of several lines keeps them.
func text(s string) *yaml.Node {
	s = strings.ToValidUTF8(s, "\ufffd")
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	first, _, several := strings.Cut(s, "\n")
	odd := strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
	switch {
	case several && !odd && strings.TrimSpace(first) != "" && !strings.HasSuffix(s, "\n"):
		node.Style = yaml.LiteralStyle
	case several || odd:
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

func texts(m map[string]string) *yaml.Node {
	node := mapping()
	for _, name := range slices.Sorted(maps.Keys(m)) {
		add(node, name, text(m[name]))
	}
	return node
}
