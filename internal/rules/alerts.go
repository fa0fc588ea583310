package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Alerts are the alerting rules over yoyu's own series: comparisons, none of which looks back over
// more than a quarter of an hour. Without SLOs they fit any configuration that writes nothing over
// its severities and groups by neither team, tier nor pod.
func Alerts(o Options) (*File, error) {
	a := newAlerting(o)
	f := &File{intro: a.intro(), evaluated: time.Minute, groups: []group{a.group(), health()}}
	f.tests = append(a.tests(), healthTests()...)
	return f, f.check()
}

// alerting are the rules of one configuration on their way.
type alerting struct {
	slos    []SLO
	joined  []string // labels that an alert takes from slo_info
	odd     []*class // SLOs that the general rule would get wrong, by what is odd about them
	stale   time.Duration
	missing time.Duration
	keep    time.Duration
}

// class are SLOs whose alerts are asked for alike.
type class struct {
	names  []string // of the SLOs; none: all that are in no other class
	joined []string
	pod    bool   // grouped by pod: the label is theirs, not the replica's
	burns  []said // what its policies write over severities; nil: nothing
	first  *slo.Objective
}

// basic are the labels of slo_info that alerts carry wherever SLOs have them.
var basic = []string{"team", "tier"}

func newAlerting(o Options) *alerting {
	a := &alerting{slos: o.SLOs, keep: o.Keep, stale: 3 * time.Minute, missing: 10 * time.Minute}
	if o.Tick <= 0 {
		o.Tick = 30 * time.Second
	}
	more := map[string]bool{}
	for _, s := range o.SLOs {
		for name := range s.Labels {
			// alertname is the rule's own, and pod would be that of a replica wherever an SLO has none.
			if name != "alertname" && name != "pod" && !slices.Contains(basic, name) {
				more[name] = true
			}
		}
		// The newest sample is as old as the source is late, and up to a tick and a scrape more.
		a.stale = max(a.stale, (s.Delay + 2*o.Tick + time.Minute).Round(time.Minute))
	}
	a.missing = max(a.missing, a.stale+5*time.Minute)
	a.joined = append(append(slices.Clone(basic), slices.Sorted(maps.Keys(more))...), "runbook_url")

	classes := map[string]*class{}
	for i := range o.SLOs {
		s := &o.SLOs[i]
		c := &class{first: s.Objective, pod: slices.Contains(s.GroupBy, "pod")}
		for _, name := range a.joined {
			if !slices.Contains(s.GroupBy, name) {
				c.joined = append(c.joined, name)
			}
		}
		key := fmt.Sprint(c.pod, c.joined)
		if all := saidOf(s.Objective); slices.ContainsFunc(all, func(one said) bool { return !one.plain() }) {
			c.burns = all
			for _, one := range all {
				key += fmt.Sprintf("|%q %s", one.names(), keyOf(one.labels))
			}
		}
		if !c.pod && c.burns == nil && len(c.joined) == len(a.joined) {
			continue // the general rule is right
		}
		if classes[key] == nil {
			classes[key] = c
			a.odd = append(a.odd, c)
		}
		classes[key].names = append(classes[key].names, s.Name)
	}
	return a
}

// classes are the general one and then the odd ones, or those of them that differ in more than
// what their policies write.
func (a *alerting) classes(burns bool) []*class {
	general := &class{joined: a.joined}
	out := []*class{general}
	for _, c := range a.odd {
		if burns || c.pod || len(c.joined) != len(a.joined) {
			out = append(out, c)
		}
	}
	return out
}

// selector chooses the series of a class of a family, with further matchers if need be.
func (a *alerting) selector(family string, all []*class, c *class, more ...string) string {
	matchers := slices.Clone(more)
	if len(c.names) > 0 {
		matchers = append([]string{"slo" + anyOf(c.names)}, matchers...)
	} else {
		var others []string
		for _, o := range all {
			others = append(others, o.names...)
		}
		if len(others) > 0 {
			matchers = append([]string{"slo" + noneOf(others)}, matchers...)
		}
	}
	if len(matchers) == 0 {
		return family
	}
	return family + "{" + strings.Join(matchers, ",") + "}"
}

// replicas are the labels that tell replicas of yoyu apart.
func (c *class) replicas() string {
	if c.pod {
		return "instance"
	}
	return "instance, pod"
}

// who is the series that says whom an SLO belongs to: one for each SLO, whatever the number of
// replicas, and also while a rollout has them disagree about its labels.
const who = "topk by (slo) (1, slo_info)"

func (c *class) with() string {
	return "\n* on (slo) group_left (" + strings.Join(c.joined, ", ") + ") " + who
}

func (a *alerting) group() group {
	g := group{name: "slo", rules: a.burning()}
	ticket := map[string]string{"severity": "ticket"}
	runbook := annotation{"runbook_url", "{{ $labels.runbook_url }}"}

	plain := a.classes(false)
	var spent, gaps []string
	for _, c := range plain {
		spent = append(spent, fmt.Sprintf(`(
  min without (%[1]s) (%[2]s) <= 0
  and
  (
    max without (%[1]s) (%[3]s) >= 1
    or
    max without (%[1]s, window) (%[4]s) >= 0.1
  )
)%[5]s`, c.replicas(), a.selector("slo_error_budget_remaining_ratio", plain, c),
			a.selector("slo_error_budget_events", plain, c),
			a.selector("slo_window_coverage_ratio", plain, c, `window="period"`), c.with()))
		gaps = append(gaps, fmt.Sprintf("(max without (%s) (%s) < 0.9)%s", c.replicas(),
			a.selector("slo_window_coverage_ratio", plain, c, `window="1h"`), c.with()))
	}
	all := &class{joined: a.joined}
	age := "(time() - max by (slo, service) (slo_last_sample_timestamp_seconds)"
	g.rules = append(g.rules,
		rule{
			about: "A budget that does not yet hold one whole event is spent by the first bad one: that is said\n" +
				"only once a tenth of the period is known.",
			alert: "SLOBudgetSpent", expr: strings.Join(spent, "\nor\n"), wait: 5 * time.Minute, keep: 15 * time.Minute, labels: ticket,
			annotations: []annotation{
				{"summary", "{{ $labels.slo }} has no error budget left"},
				{"description", "{{ $value | humanizePercentage }} of the period's budget of {{ $labels.slo }} ({{ $labels.service }}) is left: " +
					"the objective is missed until old errors leave the period."},
				runbook,
			},
		},
		rule{
			about: "While data is missing a burn alert keeps its last state, for as long as its long window:\n" +
				"silence is no good news. All groups of an SLO share its source, so this is said once.",
			alert: "SLODataMissing", expr: fmt.Sprintf("%s > %d)%s", age, int(a.missing.Seconds()), all.with()), labels: ticket,
			annotations: []annotation{
				{"summary", "{{ $labels.slo }} has had no data for {{ $value | humanizeDuration }}"},
				{"description", "The source of {{ $labels.slo }} ({{ $labels.service }}) has answered nothing new for {{ $value | humanizeDuration }}. " +
					"Its burn rates are unknown; its alerts keep the state they had."},
				runbook,
			},
		},
		rule{
			about: "Data that comes, but late all the time: an outage passes through here and becomes\n" +
				"SLODataMissing before this has waited long enough.",
			alert: "SLODataStale", expr: fmt.Sprintf("(%s > %d) <= %d)%s", age, int(a.stale.Seconds()), int(a.missing.Seconds()), all.with()),
			wait: 10 * time.Minute, labels: ticket,
			annotations: []annotation{
				{"summary", "{{ $labels.slo }} lives {{ $value | humanizeDuration }} in the past"},
				{"description", "For ten minutes now the newest sample of {{ $labels.slo }} ({{ $labels.service }}) has been over " + words(a.stale) + " old. " +
					"It is counted when it comes, and whoever is to be paged is paged that much later."},
				runbook,
			},
		},
		rule{
			alert: "SLODataNeverSeen",
			expr: "max by (slo, service, " + strings.Join(a.joined, ", ") + ") (slo_info)\n" +
				"unless on (slo) slo_last_sample_timestamp_seconds",
			wait: 15 * time.Minute, labels: ticket,
			annotations: []annotation{
				{"summary", "{{ $labels.slo }} has never had data"},
				{"description", "No source has ever answered for {{ $labels.slo }} ({{ $labels.service }}): does the metric exist, " +
					"do the selectors match? `yoyu check --live` says."},
				runbook,
			},
		},
		rule{
			about: "Gaps that are each too short for SLODataMissing. An hour of patience, because the windows of\n" +
				"a target that is scraped without history fill at the speed of the clock.",
			alert: "SLODataIncomplete", expr: strings.Join(gaps, "\nor\n"), wait: time.Hour, labels: ticket,
			annotations: []annotation{
				{"summary", "{{ $labels.slo }} knows only {{ $value | humanizePercentage }} of the last hour"},
				{"description", "For an hour now the source of {{ $labels.slo }} ({{ $labels.service }}) has not answered for all of its hour: " +
					"scrapes fail, or requests to the source do."},
				runbook,
			},
		},
	)
	return g
}

// burning are the rules of SLOErrorBudgetBurn: one for all severities whose names the series bring
// along, and one for each set of labels that policies write over them.
func (a *alerting) burning() []rule {
	all := a.classes(true)
	var plain []string
	terms := map[string][]string{} // by the labels written
	labels := map[string]map[string]string{}
	for _, c := range all {
		firing := func(more ...string) string {
			return "max without (" + c.replicas() + ") (" + a.selector("slo_alert_firing", all, c, more...) + ")"
		}
		if c.burns == nil {
			plain = append(plain, firing()+c.with()+"\n== 1")
			continue
		}
		for _, one := range c.burns {
			chosen := firing("severity" + anyOf(one.names()))
			if len(one.severities) > 1 {
				chosen = fmt.Sprintf("label_replace(max without (severity) (%s), \"severity\", %s, \"\", \"\")", chosen, quote(strings.Join(one.names(), " or ")))
			}
			if one.plain() {
				plain = append(plain, chosen+c.with()+"\n== 1")
				continue
			}
			key := keyOf(one.labels)
			terms[key], labels[key] = append(terms[key], chosen+c.with()+"\n== 1"), one.labels
		}
	}
	out := []rule{burnRule(plain, nil, a.keep)}
	out[0].about = "Every severity of the alert policies: the label comes with the series. No \"for\": the long and\n" +
		"the short window have waited already. A restart of yoyu leaves a hole of a scrape or two, which\n" +
		"is no reason to resolve a page."
	for i, key := range slices.Sorted(maps.Keys(terms)) {
		out = append(out, burnRule(terms[key], literals(labels[key]), a.keep))
		if i == 0 {
			out[1].about = "What alert policies write over the severity."
		}
	}
	return out
}

func burnRule(terms []string, labels map[string]string, keep time.Duration) rule {
	return rule{
		alert: BurnAlert, expr: strings.Join(terms, "\nor\n"), keep: keep, labels: labels,
		annotations: []annotation{
			{"summary", "{{ $labels.slo }} is burning its error budget ({{ $labels.severity }})"},
			{"description", "Bad events of {{ $labels.slo }} ({{ $labels.service }}) arrive faster than the alert policy allows, " +
				"over its long window and still now." +
				"{{- range printf \"min(slo_error_budget_remaining_ratio{slo=%q})\" $labels.slo | query }} " +
				"{{ .Value | humanizePercentage }} of the budget is left where it is shortest.{{ end }}"},
			{"runbook_url", "{{ $labels.runbook_url }}"},
		},
	}
}

// words is a length for people: "3 minutes".
func words(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d minutes", int(d/time.Minute))
	}
	return slo.FormatDuration(d)
}

func (a *alerting) intro() string {
	text := `Written by yoyu rules. Alerts over yoyu's own series: the arithmetic is done, and a rule here asks
what is true, and for whom.

* max without (instance, pod): two replicas of yoyu say the same, and one page is enough.
* topk by (slo) (1, slo_info): who to call. One series for each SLO, whatever the number of
  replicas, and also while a rollout has them disagree about its labels: two matches would be an
  error, and an alert in error does not fire.
* The alerts about SLOs carry the labels slo, service and those of its group_by.
`
	if len(a.slos) == 0 {
		text += `
They fit any configuration whose alert policies write no labels over their severities, and whose
SLOs are grouped by none of team, tier, runbook_url and pod. yoyu rules --config.file=config.yaml
writes those that fit one.
`
	}
	return text + `
A page and the ticket of the same SLO fire together. Let Alertmanager send the page alone; this is
what yoyu rules -o inhibit writes:

` + indent(inhibitText(a.slos), "  ")
}

func indent(s, by string) string {
	var out []string
	for line := range strings.Lines(strings.TrimRight(s, "\n")) {
		out = append(out, by+strings.TrimRight(line, "\n"))
	}
	return strings.Join(out, "\n")
}
