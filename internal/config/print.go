package config

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// YAML prints the configuration in its normal form: one file, defaults applied, the environment
// expanded. Reading it again gives the same values. It holds no secrets: the configuration has
// none.
func (c *Config) YAML() ([]byte, error) {
	root := mapping()
	root.put("tick", plain(slo.FormatDuration(c.Tick)))
	root.put("external_labels", labelNodes(c.ExternalLabels))
	root.put("series", seriesNode(c.Series))
	gate := mapping()
	gate.put("min_events", decimal(c.Gate.MinEvents))
	root.put("gate", gate)

	list := sequence()
	for _, s := range c.Sources {
		entry := mapping()
		entry.put("name", quoted(s.Name))
		entry.put("type", quoted(s.Type))
		entry.put("delay", plain(slo.FormatDuration(s.Delay)))
		list.add(entry.with(s.own))
	}
	root.put("sources", list)
	list = sequence()
	for _, s := range c.Sinks {
		entry := mapping()
		entry.put("name", quoted(s.Name))
		entry.put("type", quoted(s.Type))
		list.add(entry.with(s.own))
	}
	root.put("sinks", list)
	list = sequence()
	for _, s := range c.Services {
		list.add(serviceNode(s))
	}
	root.put("services", list)
	list = sequence()
	for i := range c.Objectives {
		list.add(objectiveNode(&c.Objectives[i], &c.Questions[i]))
	}
	root.put("slos", list)
	policies := mapping()
	for _, p := range c.policies {
		policies.put(p.name, policyNode(p))
	}
	root.put("alert_policies", policies)
	list = sequence()
	for _, one := range c.Corrections {
		list.add(correctionNode(one))
	}
	root.put("corrections", list)
	root.put("rightsizing", rightsizingNode(c.Rightsizing))
	list = sequence()
	for _, p := range c.Compatibility {
		list.add(plain(string(p)))
	}
	root.put("compatibility", list)

	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode((*yaml.Node)(root)); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

func serviceNode(s Service) *tree {
	entry := mapping()
	entry.put("name", quoted(s.Name))
	entry.put("labels", labelNodes(s.Labels))
	entry.word("runbook_url", s.RunbookURL)
	list := sequence()
	for _, w := range s.Workloads {
		one := mapping()
		one.put("namespace", quoted(w.Namespace))
		one.put("kind", quoted(w.Kind))
		one.put("name", quoted(w.Name))
		list.add(one)
	}
	entry.put("workloads", list)
	engagement := mapping()
	engagement.word("level", s.Engagement.Level)
	engagement.word("pager", s.Engagement.Pager)
	entry.put("engagement", engagement)
	return entry
}

func objectiveNode(o *slo.Objective, q *Question) *tree {
	entry := mapping()
	entry.put("name", quoted(o.Name))
	entry.put("service", quoted(o.Service))
	entry.put("source", quoted(q.Source))
	entry.put("objective", plain(o.Target.Percent()))
	entry.put("period", periodNode(o.Period))
	entry.put("indicator", indicatorNode(q.Indicator))
	list := sequence()
	for _, label := range o.GroupBy {
		list.add(quoted(label))
	}
	entry.put("group_by", list)
	entry.put("group_limit", plain(strconv.Itoa(o.GroupLimit)))
	counting := "raw"
	if q.Pushdown {
		counting = "pushdown"
	}
	entry.put("counting", plain(counting))
	entry.put("budgeting", budgetingNode(o.Budgeting))
	entry.put("labels", labelNodes(o.Labels))
	entry.word("runbook_url", o.RunbookURL)
	entry.put("alert_policy", quoted(o.Policy.Name))
	if o.BudgetPolicy.Steps != nil {
		list := sequence()
		list.Style = yaml.FlowStyle // an empty one says something too
		for _, step := range o.BudgetPolicy.Steps {
			list.add(stepNode(step))
		}
		entry.Content = append(entry.Content, textNode("budget_policy"), (*yaml.Node)(list))
	}
	return entry
}

func correctionNode(c Correction) *tree {
	entry := mapping()
	entry.put("name", quoted(c.Name))
	list := sequence()
	for _, name := range c.SLOs {
		list.add(quoted(name))
	}
	entry.put("slos", list)
	entry.put("labels", labelNodes(c.Labels))
	switch when := c.When.(type) {
	case slo.Once:
		entry.put("from", quoted(when.From.Format(time.RFC3339Nano)))
		entry.put("to", quoted(when.To.Format(time.RFC3339Nano)))
	case recurrence:
		entry.put("rrule", quoted(when.rule))
		entry.put("duration", plain(slo.FormatDuration(when.length)))
		entry.put("timezone", quoted(when.zone.String()))
		if !when.from.IsZero() {
			entry.put("from", quoted(when.from.Format(time.RFC3339Nano)))
		}
	}
	entry.put("effect", plain(string(c.Effect)))
	return entry
}

func stepNode(step slo.BudgetStep) *tree {
	entry := mapping()
	entry.put("below", plain(step.Below.Percent()+"%"))
	entry.put("action", quoted(step.Action))
	if step.Closed {
		entry.put("gate", plain("closed"))
	}
	return entry
}

func periodNode(p slo.Period) *tree {
	if p.Calendar == slo.Rolling {
		return plain(slo.FormatDuration(p.Length))
	}
	entry := mapping()
	entry.put("calendar", plain(string(p.Calendar)))
	entry.put("timezone", quoted(p.Location.String()))
	return entry
}

func indicatorNode(in sources.Indicator) *tree {
	body := mapping()
	switch in.Kind {
	case sources.Latency:
		body.put("histogram", quoted(in.Histogram))
		body.put("below", decimal(in.Below))
	case sources.Gauge:
		body.put("selector", quoted(in.Selector))
		key := "good"
		if in.CompareBad {
			key = "bad"
		}
		body.put(key, quoted(in.Compare.Op+" "+strconv.FormatFloat(in.Compare.Value, 'g', -1, 64)))
	default:
		if in.Kind == sources.CloudWatch {
			cloudWatchFields(body, in)
		}
		body.word("total", in.Total)
		body.word("bad", in.Bad)
		body.word("good", in.Good)
	}
	entry := mapping()
	entry.put(string(in.Kind), body)
	return entry
}

func budgetingNode(b slo.Budgeting) *tree {
	entry := mapping()
	entry.put("method", plain(string(b.Method)))
	if b.Slices() {
		entry.put("slice", plain(slo.FormatDuration(b.Slice)))
		if b.Method == slo.Timeslices {
			entry.put("target", plain(b.Target.Percent()))
		}
		entry.put("empty", plain(string(b.Empty)))
	}
	return entry
}

func policyNode(p policy) *tree {
	entry := mapping()
	severities := mapping()
	for _, s := range p.severities {
		one := mapping()
		list := sequence()
		for _, w := range s.pairs {
			line := mapping()
			line.put("long", plain(slo.FormatDuration(w.long)))
			line.put("short", plain(slo.FormatDuration(w.short)))
			if w.budget.IsZero() {
				line.put("factor", plain(w.factorText))
			} else {
				line.put("budget", plain(w.budget.Percent()+"%"))
			}
			list.add(line)
		}
		one.put("pairs", list)
		one.put("labels", labelNodes(s.labels))
		severities.put(s.name, one)
	}
	entry.put("severities", severities)
	if p.minBadEvents > 0 {
		entry.put("min_bad_events", decimal(p.minBadEvents))
	}
	if !p.confidence.IsZero() {
		entry.put("confidence", plain(p.confidence.Percent()+"%"))
	}
	return entry
}

func rightsizingNode(r Rightsizing) *tree {
	entry := mapping()
	if r.Source == "" {
		return entry
	}
	entry.put("source", quoted(r.Source))
	if r.Prices != (Prices{}) {
		prices := mapping()
		prices.put("cpu_core_hour", decimal(r.Prices.CPUCoreHour))
		prices.put("memory_gib_hour", decimal(r.Prices.MemoryGiBHour))
		prices.put("currency", quoted(r.Prices.Currency))
		entry.put("prices", prices)
	}
	list := sequence()
	for _, h := range r.HelmValues {
		one := mapping()
		one.put("chart", quoted(h.Chart))
		for _, f := range []struct{ name, value string }{{"workload", h.Workload}, {"container", h.Container}} {
			if f.value != "" {
				one.put(f.name, quoted(f.value))
			}
		}
		one.put("path", quoted(h.Path))
		list.add(one)
	}
	if len(r.HelmValues) > 0 {
		entry.put("helm_values", list)
	}
	return entry
}

// tree is a YAML node that is being written.
type tree yaml.Node

func mapping() *tree  { return &tree{Kind: yaml.MappingNode, Tag: "!!map"} }
func sequence() *tree { return &tree{Kind: yaml.SequenceNode, Tag: "!!seq"} }

// plain is a word or number that needs no quotes.
func plain(text string) *tree { return &tree{Kind: yaml.ScalarNode, Value: text} }

func decimal(f float64) *tree { return plain(strconv.FormatFloat(f, 'g', -1, 64)) }

// quoted is any text; the encoder puts it in quotes where it must.
func quoted(text string) *tree { return (*tree)(textNode(text)) }

func textNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if strings.TrimSpace(text) != text || strings.ContainsFunc(text, unicode.IsControl) || text == "<<" {
		n.Style = yaml.DoubleQuotedStyle // block text does not keep every kind of white space
	}
	return n
}

// put adds a field; empty lists and mappings are left out.
func (t *tree) put(key string, v *tree) {
	if v.Kind != yaml.ScalarNode && len(v.Content) == 0 {
		return
	}
	t.Content = append(t.Content, textNode(key), (*yaml.Node)(v))
}

// word adds a field that is left out when empty.
func (t *tree) word(key, text string) {
	if text != "" {
		t.put(key, quoted(text))
	}
}

func (t *tree) add(v *tree) { t.Content = append(t.Content, (*yaml.Node)(v)) }

// with adds fields as they were read.
func (t *tree) with(own *yaml.Node) *tree {
	t.Content = append(t.Content, normal(own).Content...)
	return t
}

// normal is a tree without comments and manners of writing.
func normal(n *yaml.Node) *yaml.Node {
	c := &yaml.Node{Kind: n.Kind, Tag: n.ShortTag(), Value: n.Value}
	if n.Kind == yaml.ScalarNode && c.Tag == "!!str" {
		c = textNode(n.Value)
	}
	for _, inner := range n.Content {
		c.Content = append(c.Content, normal(inner))
	}
	return c
}

func labelNodes(labels map[string]string) *tree {
	out := mapping()
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		out.put(k, quoted(labels[k]))
	}
	return out
}

// Variant is another way to promise the same thing: what a backtest compares side by side. Empty
// fields keep what the configuration says.
type Variant struct {
	Objective string // percent, such as "99.5"
	Policy    string // name of an alert policy
	Period    string // duration, such as "28d"
}

// Variant is the objective of that name under other promises.
func (c *Config) Variant(name string, v Variant) (slo.Objective, error) {
	i := slices.IndexFunc(c.Objectives, func(o slo.Objective) bool { return o.Name == name })
	if i < 0 {
		names := make([]string, len(c.Objectives))
		for i, o := range c.Objectives {
			names[i] = o.Name
		}
		return slo.Objective{}, Faults{{File: c.Files[0], Problem: "there is no SLO " + strconv.Quote(name), Remedy: didYouMean(name, names)}}
	}
	var faults, warned Faults
	l := &loader{config: &Config{Tick: c.Tick}, tickOK: true, policies: map[string]policy{}}
	doc := &document{file: "variant", faults: &faults, warned: &warned}
	for _, p := range c.policies {
		p.severities = slices.Clone(p.severities)
		for j := range p.severities {
			p.severities[j].pairs = slices.Clone(p.severities[j].pairs)
			for k := range p.severities[j].pairs {
				w := &p.severities[j].pairs[k]
				w.from.doc, w.limit.doc = doc, doc
			}
		}
		l.policies[p.name] = p
	}
	at := func(field, text string) value {
		return value{doc: doc, node: &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}, path: field}
	}
	l.tick = at("tick", "")

	o := c.Objectives[i]
	objective := given[slo.Share]{value: o.Target, set: true, ok: true}
	if v.Objective != "" {
		objective.value, objective.ok = target(at("objective", v.Objective))
	}
	period := given[slo.Period]{value: o.Period, set: true, ok: true}
	if v.Period != "" {
		period.value, period.ok = l.period(at("period", v.Period))
	}
	alerts := given[string]{value: o.Policy.Name, from: at("policy", o.Policy.Name), set: true, ok: true}
	if v.Policy != "" {
		alerts.value, alerts.from = v.Policy, at("policy", v.Policy)
	}
	o.Target, o.Period = objective.value, period.value
	o.Policy = l.policyOf(object{value: at("", "")}, name, alerts, objective, period, o.Budgeting)
	for i := range faults {
		faults[i].File, faults[i].Line, faults[i].Column = name, 0, 0
	}
	return o, faults.err()
}
