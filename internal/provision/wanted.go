package provision

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// Watch is what monitors are made for.
type Watch struct {
	Severities  []string            // of the alert policies in use
	Sent        []*sinks.Family     // what Datadog gets
	Env         bool                // the series carry env, so that it tells notifications apart
	Notify      map[string][]string // handles such as @pagerduty-sre, by severity, DataMissing or BudgetSpent
	ExternalURL string              // where people reach yoyu, without a slash at its end; "": nobody said
}

// The keys of the monitors beside those of severities, which are called burn-SEVERITY.
const (
	DataMissing = "data-missing"
	BudgetSpent = "budget-spent"
)

// Monitors are one multi-alert monitor for each severity, whatever the number of SLOs and of their
// pairs of windows; one that fires when nothing is heard of an SLO; and one when its budget is spent.
//
// slo.alert_burn_ratio is above 1 exactly while the severity fires, so that Datadog need not know
// of windows, factors and guards. The monitor of missing data watches for silence: of the burn rate
// of the shortest window, which is absent as soon as nothing is known of it, or where that is not
// sent of the alerts' ratio. Its threshold is one that nothing reaches.
func Monitors(w Watch) []Object {
	by := []string{"slo", "service"}
	if w.Env {
		by = append(by, "env")
	}
	link := ""
	if w.ExternalURL != "" {
		link = "\n" + w.ExternalURL + "/explain?slo={{slo.name}}"
	}
	ratio := sinks.SLOAlertBurnRatio
	var out []Object
	for i, severity := range w.Severities {
		tag := tagValue(severity)
		message := fmt.Sprintf("{{#is_alert}}The error budget of SLO {{slo.name}} ({{service.name}}) burns: at {{value}} times what a %s allows.%s{{/is_alert}}"+
			"{{#is_recovery}}The error budget of SLO {{slo.name}} ({{service.name}}) burns no faster than a %s allows.{{/is_recovery}}", severity, link, severity)
		out = append(out, monitor("burn-"+tag, "yoyu: error budgets burn: "+severity,
			fmt.Sprintf("max(last_5m):%s > 1", over("max", ratio, by, "severity:"+tag)), message, w.Notify[severity], min(1+2*i, 5), object{"critical": 1}, nil))
	}
	silent, shortest := sinks.SLOBurnRate, slo.FormatDuration(slo.Windows[0])
	heard := over("max", silent, by, "window:"+shortest)
	if !slices.Contains(w.Sent, silent) && len(w.Severities) > 0 {
		heard = over("max", ratio, by, "severity:"+tagValue(w.Severities[0]))
	}
	out = append(out, monitor(DataMissing, "yoyu: data missing",
		fmt.Sprintf("max(last_5m):%s < 0", heard),
		"{{#is_no_data}}Nothing is known of SLO {{slo.name}} ({{service.name}}): its source does not answer, has no data, or yoyu itself is away. Its alerts cannot fire meanwhile."+link+"{{/is_no_data}}"+
			"{{#is_recovery}}SLO {{slo.name}} ({{service.name}}) is counted again.{{/is_recovery}}",
		w.Notify[DataMissing], 2, object{"critical": 0}, object{"notify_no_data": true, "no_data_timeframe": 10}))
	out = append(out, monitor(BudgetSpent, "yoyu: error budgets spent",
		fmt.Sprintf("max(last_5m):%s <= 0", over("min", sinks.SLORemainingRatio, by)),
		"{{#is_alert}}The error budget of SLO {{slo.name}} ({{service.name}}) is spent."+link+"{{/is_alert}}"+
			"{{#is_recovery}}SLO {{slo.name}} ({{service.name}}) has error budget left again.{{/is_recovery}}",
		w.Notify[BudgetSpent], 4, object{"critical": 0}, nil))
	return out
}

type object = map[string]any

// over is a query over a family, with groups by tags.
func over(space string, f *sinks.Family, by []string, scope ...string) string {
	if len(scope) == 0 {
		scope = []string{"*"}
	}
	return fmt.Sprintf("%s:%s{%s} by {%s}", space, f.Dotted(), strings.Join(scope, ","), strings.Join(by, ","))
}

// monitor is one object. The options say what Datadog would otherwise choose by itself.
func monitor(key, name, query, message string, notify []string, priority int, thresholds, options object) Object {
	if len(notify) > 0 {
		message += "\n" + strings.Join(notify, " ")
	}
	all := object{
		"thresholds": thresholds, "include_tags": true, "notify_audit": false, "require_full_window": false,
		"notify_no_data": false, "renotify_interval": 0, "new_group_delay": 60,
	}
	for k, v := range options {
		all[k] = v
	}
	return Object{Kind: Monitor, Key: key, Body: object{
		"name": name, "type": "query alert", "query": query, "message": message, "priority": priority, "tags": tagsOf(key), "options": all,
	}}
}

var tagReplaced = regexp.MustCompile(`[^a-z0-9_./-]`)

// tagValue is a word as Datadog stores it in a tag.
func tagValue(word string) string { return tagReplaced.ReplaceAllString(strings.ToLower(word), "_") }

// Drawn is a dashboard as it is written to a file.
type Drawn struct {
	Key  string
	JSON []byte
}

// Dashboards are dashboards with their marks.
func Dashboards(drawn []Drawn) ([]Object, error) {
	var out []Object
	for _, d := range drawn {
		var body object
		if err := json.Unmarshal(d.JSON, &body); err != nil {
			return nil, fmt.Errorf("dashboard %s: %w", d.Key, err)
		}
		about, _ := body["description"].(string) // it may have none
		body["description"] = strings.TrimSpace(about + "\n" + lineOf(d.Key))
		out = append(out, Object{Kind: Dashboard, Key: d.Key, Body: body})
	}
	return out, nil
}

// Native is an objective that Datadog can keep an SLO of its own for.
type Native struct {
	Objective        *slo.Objective
	CountedBy        string // kind of its indicator: an SLO of Datadog's own can only be made of datadog
	Total, Bad, Good string // the indicator's queries, one of Bad and Good
}

// SLOs are SLO objects of Datadog for the objectives that are counted from its own metrics; left
// says of the others why there is none.
func SLOs(all []Native) (out []Object, left map[string]string) {
	left = map[string]string{}
	for _, n := range all {
		o, err := native(n)
		if err != nil {
			left[n.Objective.Name] = err.Error()
			continue
		}
		out = append(out, o)
	}
	return out, left
}

// timeframes are the periods that Datadog's SLOs have.
var timeframes = []time.Duration{7 * slo.Day, 30 * slo.Day, 90 * slo.Day}

func native(n Native) (Object, error) {
	o := n.Objective
	switch percent := o.Target.Percent(); {
	case n.CountedBy != "datadog":
		return Object{}, fmt.Errorf("it is counted by %s, not from Datadog's metrics", n.CountedBy)
	case o.Period.Calendar != slo.Rolling || !slices.Contains(timeframes, o.Period.Length):
		return Object{}, fmt.Errorf("Datadog has SLOs of 7d, 30d and 90d, not of %s", o.Period.Key())
	case o.Budgeting.Slices():
		return Object{}, fmt.Errorf("its budget counts slices of time")
	case decimals(percent) > 3:
		return Object{}, fmt.Errorf("Datadog keeps three decimals of a target, not %s", percent)
	}
	queries, formulas := []object{}, map[string]string{}
	for _, side := range []struct{ name, text string }{{"total", n.Total}, {"part", n.Bad + n.Good}} {
		parsed, err := selectors.ParseDatadog(side.text)
		if err != nil {
			return Object{}, err
		}
		for i, term := range parsed {
			name := fmt.Sprintf("query%d", len(queries)+1)
			query := fmt.Sprintf("%s:%s{%s}", term.Aggregator, term.Metric, term.Scope)
			if len(o.GroupBy) > 0 {
				query += " by {" + strings.ToLower(strings.Join(o.GroupBy, ",")) + "}"
			}
			queries = append(queries, object{"data_source": "metrics", "name": name, "query": query + ".as_count()"})
			switch {
			case term.Negative:
				formulas[side.name] += " - " + name
			case i > 0:
				formulas[side.name] += " + " + name
			default:
				formulas[side.name] = name
			}
		}
	}
	good := formulas["part"]
	if n.Bad != "" {
		good = formulas["total"] + " - (" + formulas["part"] + ")"
	}
	timeframe := slo.FormatDuration(o.Period.Length)
	target := json.Number(o.Target.Percent())
	tags := append(tagsOf(tagValue(o.Name)), "service:"+tagValue(o.Service))
	for _, name := range []string{"team", "tier"} {
		if v := o.Labels[name]; v != "" {
			tags = append(tags, name+":"+tagValue(v))
		}
	}
	return Object{Kind: SLO, Key: tagValue(o.Name), Body: object{
		"name": o.Name, "type": "metric", "description": "The objective of yoyu's SLO " + o.Name + ", as Datadog counts it.",
		"sli_specification": object{"count": object{
			"good_events_formula": object{"formula": good}, "total_events_formula": object{"formula": formulas["total"]}, "queries": queries,
		}},
		"thresholds": []object{{"timeframe": timeframe, "target": target}}, "timeframe": timeframe, "target_threshold": target, "tags": tags,
	}}, nil
}

func decimals(number string) int {
	_, after, _ := strings.Cut(number, ".")
	return len(after)
}
