package rules

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/slo"
)

// test is one unit test of promtool: series, a sample a minute, and what is to come of them.
type test struct {
	name   string
	series []series
	alerts []alertTest
	exprs  []exprTest
}

type series struct{ name, values string }

// alertTest expects the alerts of one name at one moment, and no others of that name.
type alertTest struct {
	at     time.Duration
	alert  string
	expect []expected
}

type expected struct {
	labels      map[string]string
	annotations map[string]string
}

// exprTest expects an expression to give one number without labels, or nothing.
type exprTest struct {
	at    time.Duration
	expr  string
	value float64 // NaN is never expected
	none  bool
}

// Tests are unit tests of the file, as `promtool test rules` takes them; rules names the file of
// rules as seen from that of the tests.
func (f *File) Tests(rules string) ([]byte, error) {
	all := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range f.tests {
		all.Content = append(all.Content, t.node())
	}
	files := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Content: []*yaml.Node{text(rules)}}
	intro := "Written by yoyu rules --tests. promtool test rules says whether they hold."
	if len(f.untold) > 0 {
		intro += "\nNot tested here:\n  " + strings.Join(f.untold, "\n  ")
	}
	return write(intro, mapping("rule_files", files, "evaluation_interval", text(duration(f.evaluated)), "tests", all), 2)
}

func (t test) node() *yaml.Node {
	in := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range t.series {
		in.Content = append(in.Content, flow(mapping("series", text(s.name), "values", text(s.values))))
	}
	node := mapping("name", text(t.name), "interval", text("1m"), "input_series", in)
	if len(t.alerts) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, a := range t.alerts {
			expect := &yaml.Node{Kind: yaml.SequenceNode}
			if len(a.expect) == 0 {
				expect.Style = yaml.FlowStyle
			}
			for _, e := range a.expect {
				one := mapping("exp_labels", flow(texts(e.labels)))
				if len(e.annotations) > 0 {
					add(one, "exp_annotations", texts(e.annotations))
				}
				expect.Content = append(expect.Content, one)
			}
			list.Content = append(list.Content, mapping("eval_time", text(duration(a.at)), "alertname", text(a.alert), "exp_alerts", expect))
		}
		add(node, "alert_rule_test", list)
	}
	if len(t.exprs) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range t.exprs {
			samples := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
			if !e.none {
				value := &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatFloat(e.value, 'g', -1, 64)}
				samples.Content = append(samples.Content, mapping("value", value))
			}
			list.Content = append(list.Content, mapping("expr", text(e.expr), "eval_time", text(duration(e.at)), "exp_samples", samples))
		}
		add(node, "promql_expr_test", list)
	}
	return node
}

func flow(n *yaml.Node) *yaml.Node {
	n.Style = yaml.FlowStyle
	return n
}

// metric is a series in the notation of PromQL; labels without a value are left out.
func metric(name string, all ...map[string]string) string {
	labels := map[string]string{}
	for _, m := range all {
		maps.Copy(labels, m)
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if labels[key] != "" {
			out = append(out, key+"="+quote(labels[key]))
		}
	}
	return name + "{" + strings.Join(out, ",") + "}"
}

// replica are the labels by which one yoyu of two is known.
var replica = []map[string]string{
	{"instance": "a:9912", "pod": "yoyu-0"},
	{"instance": "b:9912", "pod": "yoyu-1"},
}

// stand is one SLO with one of its groups, as a test puts it in.
type stand struct {
	SLO
	joined []string
}

func (s stand) own() map[string]string { return map[string]string{"slo": s.Name, "service": s.Service} }

// group are the labels of the group whose values all end so.
func (s stand) group(end string) map[string]string {
	out := s.own()
	for _, name := range s.GroupBy {
		out[name] = name + "-" + end
	}
	return out
}

// info is slo_info of both replicas, without the labels that no alert takes from it.
func (s stand) info(values string) []series {
	labels := map[string]string{"period": s.Period.Key(), "counting": s.Counting, "runbook_url": s.RunbookURL}
	for name, value := range s.Labels {
		if name != "pod" && name != "alertname" {
			labels[name] = value
		}
	}
	var out []series
	for _, r := range replica {
		out = append(out, series{metric("slo_info", r, labels, s.own()), values})
	}
	return out
}

// twice is a series of the group as both replicas say it.
func (s stand) twice(name, end, values string, more map[string]string) []series {
	var out []series
	for _, r := range replica {
		out = append(out, series{metric(name, r, s.group(end), more), values})
	}
	return out
}

// alert are the labels of an alert: these, and those of slo_info beside them.
func (s stand) alert(labels ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, name := range s.joined {
		value := s.Labels[name]
		if name == "runbook_url" {
			value = s.RunbookURL
		}
		if value != "" {
			out[name] = strings.ToValidUTF8(value, "\ufffd")
		}
	}
	for _, m := range labels {
		maps.Copy(out, m)
	}
	for name, value := range out {
		if value == "" {
			delete(out, name)
		}
	}
	return out
}

// example stands for all SLOs where none are known.
func example() SLO {
	period := slo.RollingPeriod(30 * slo.Day)
	return SLO{Objective: &slo.Objective{
		Name: "pay", Service: "checkout", GroupBy: []string{"route"}, Period: period, Counting: "exact",
		Labels: map[string]string{"team": "payments", "tier": "1"}, RunbookURL: "https://runbooks.example/pay",
		Policy: slo.Workbook(period),
	}}
}

func (a *alerting) stands() []stand {
	all := a.slos
	if len(all) == 0 {
		all = []SLO{example()}
	}
	var out []stand
	for _, s := range all {
		one := stand{SLO: s}
		for _, name := range a.joined {
			if !slices.Contains(s.GroupBy, name) {
				one.joined = append(one.joined, name)
			}
		}
		out = append(out, one)
	}
	return out
}

func (a *alerting) tests() []test {
	stands := a.stands()
	runbook := func(s stand) string { return s.alert()["runbook_url"] }

	// Every SLO, with every severity: the one test that holds all of them.
	burn := test{name: "every severity of every SLO: once, whatever the replicas, with the labels to call somebody"}
	var fires []expected
	for _, s := range stands {
		burn.series = append(burn.series, s.info("1x20")...)
		burn.series = append(burn.series, s.twice("slo_error_budget_remaining_ratio", "a", "0.25x20", nil)...)
		for _, one := range saidOf(s.Objective) {
			for _, name := range one.names() {
				severity := map[string]string{"severity": name}
				burn.series = append(burn.series, s.twice("slo_alert_firing", "a", "0 0 1x4 0x14", severity)...)
				if len(s.GroupBy) > 0 {
					burn.series = append(burn.series, s.twice("slo_alert_firing", "b", "0x20", severity)...)
				}
			}
			fires = append(fires, expected{s.alert(s.group("a"), one.labels), map[string]string{
				"summary": fmt.Sprintf("%s is burning its error budget (%s)", s.Name, strings.Join(one.names(), " or ")),
				"description": fmt.Sprintf("Bad events of %s (%s) arrive faster than the alert policy allows, over its long window and still now. "+
					"25%% of the budget is left where it is shortest.", s.Name, s.Service),
				"runbook_url": runbook(s),
			}})
		}
	}
	burn.alerts = []alertTest{
		{time.Minute, BurnAlert, nil},
		{2 * time.Minute, BurnAlert, fires},
		{6 * time.Minute, BurnAlert, fires},
	}
	// It is quiet from the seventh minute on.
	if whole := a.keep.Truncate(time.Minute); whole > time.Minute {
		burn.alerts = append(burn.alerts, alertTest{5*time.Minute + whole, BurnAlert, fires})
	}
	if gone := 9*time.Minute + a.keep.Truncate(time.Minute); gone < 20*time.Minute {
		burn.alerts = append(burn.alerts, alertTest{gone, BurnAlert, nil})
	}
	out := []test{burn}

	// One SLO of each kind of rule for the others.
	seen := map[string]bool{}
	for i, s := range stands {
		key := fmt.Sprint(slices.Contains(s.GroupBy, "pod"), s.joined)
		if seen[key] {
			continue
		}
		seen[key] = true
		out = append(out, a.testsOf(s, i == 0)...)
	}
	return out
}

// testsOf are those of one SLO: its budget, its gaps, and, if asked for, its data.
func (a *alerting) testsOf(s stand, data bool) []test {
	ticket := map[string]string{"severity": ticket}
	runbook := s.alert()["runbook_url"]
	note := func(summary, description string) map[string]string {
		return map[string]string{"summary": s.Name + " " + summary, "description": description, "runbook_url": runbook}
	}
	about := fmt.Sprintf("%s (%s)", s.Name, s.Service)
	join := func(all ...[]series) (out []series) {
		for _, one := range all {
			out = append(out, one...)
		}
		return out
	}

	out := []test{
		{
			name: s.Name + ": a spent budget, which one replica does not know of",
			series: join(s.info("1x60"),
				[]series{
					{metric("slo_error_budget_remaining_ratio", replica[0], s.group("a")), "0.1x2 -0.05x20 0.01x40"},
					{metric("slo_error_budget_remaining_ratio", replica[1], s.group("a")), "0.1x60"},
				},
				s.twice("slo_error_budget_events", "a", "86.4x60", nil)),
			alerts: []alertTest{
				{4 * time.Minute, "SLOBudgetSpent", nil},
				{10 * time.Minute, "SLOBudgetSpent", []expected{{s.alert(s.group("a"), ticket), note("has no error budget left",
					"-5% of the period's budget of "+about+" is left: the objective is missed until old errors leave the period.")}}},
				{55 * time.Minute, "SLOBudgetSpent", nil},
			},
		},
		{
			name:   s.Name + ": one bad event on the first day is no spent budget",
			series: join(s.info("1x30"), s.twice("slo_error_budget_remaining_ratio", "a", "-49x30", nil), s.twice("slo_error_budget_events", "a", "0.02x30", nil), s.twice("slo_window_coverage_ratio", "a", "0.03x30", map[string]string{"window": "period"})),
			alerts: []alertTest{{20 * time.Minute, "SLOBudgetSpent", nil}},
		},
		{
			name: s.Name + ": gaps",
			series: join(s.info("1x90"), s.twice("slo_window_coverage_ratio", "a", "0.75x90", map[string]string{"window": "1h"}),
				s.twice("slo_window_coverage_ratio", "a", "0.2x90", map[string]string{"window": "period"})),
			alerts: []alertTest{
				{59 * time.Minute, "SLODataIncomplete", nil},
				{70 * time.Minute, "SLODataIncomplete", []expected{{s.alert(s.group("a"), ticket, map[string]string{"window": "1h"}), note("knows only 75% of the last hour",
					"For an hour now the source of "+about+" has not answered for all of its hour: scrapes fail, or requests to the source do.")}}},
			},
		},
	}
	if !data {
		return out
	}

	// Data that stops at 2m, as both replicas see it.
	missing := a.missing + 3*time.Minute
	out = append(out, test{
		name:   s.Name + ": data that stops",
		series: join(s.info("1x60"), s.twice("slo_last_sample_timestamp_seconds", "a", "0 60 120x58", nil)),
		alerts: []alertTest{
			{missing - time.Minute, "SLODataMissing", nil}, // as old as it may be, and no older
			{missing, "SLODataMissing", []expected{{s.alert(s.own(), ticket), note("has had no data for "+human(missing-2*time.Minute),
				"The source of "+about+" has answered nothing new for "+human(missing-2*time.Minute)+". Its burn rates are unknown; its alerts keep the state they had.")}}},
		},
	})
	late := a.stale + time.Minute
	out = append(out, test{
		name: s.Name + ": data that is late all the time",
		series: join(s.info("1x60"), s.twice("slo_last_sample_timestamp_seconds", "a",
			fmt.Sprintf("%d+60x60", -int(late.Seconds())), nil)),
		alerts: []alertTest{
			{9 * time.Minute, "SLODataStale", nil},
			{30 * time.Minute, "SLODataStale", []expected{{s.alert(s.own(), ticket), note("lives "+human(late)+" in the past",
				"For ten minutes now the newest sample of "+about+" has been over "+words(a.stale)+" old. "+
					"It is counted when it comes, and whoever is to be paged is paged that much later.")}}},
			{30 * time.Minute, "SLODataMissing", nil},
		},
	}, test{
		name:   s.Name + ": data that is there",
		series: join(s.info("1x60"), s.twice("slo_last_sample_timestamp_seconds", "a", "-45+60x60", nil), s.twice("slo_window_coverage_ratio", "a", "1x60", map[string]string{"window": "1h"})),
		alerts: []alertTest{
			{40 * time.Minute, "SLODataStale", nil}, {40 * time.Minute, "SLODataMissing", nil},
			{40 * time.Minute, "SLODataNeverSeen", nil}, {40 * time.Minute, "SLODataIncomplete", nil},
		},
	}, test{
		name:   s.Name + ": data that never was",
		series: s.info("1x60"),
		alerts: []alertTest{
			{14 * time.Minute, "SLODataNeverSeen", nil},
			{16 * time.Minute, "SLODataNeverSeen", []expected{{s.alert(s.own(), ticket), note("has never had data",
				"No source has ever answered for "+about+": does the metric exist, do the selectors match? `yoyu check --live` says.")}}},
		},
	})
	return out
}

// human is a length in whole minutes as Prometheus' humanizeDuration says it.
func human(d time.Duration) string {
	if d >= time.Hour {
		return fmt.Sprintf("%dh %dm 0s", int(d/time.Hour), int(d%time.Hour/time.Minute))
	}
	return fmt.Sprintf("%dm 0s", int(d/time.Minute))
}

func healthTests() []test {
	ticket := func(more map[string]string) map[string]string {
		out := map[string]string{"severity": ticket}
		maps.Copy(out, more)
		return out
	}
	a, b := replica[0]["instance"], replica[1]["instance"]
	at := func(name string, labels map[string]string, values string) series {
		return series{metric(name, labels), values}
	}
	on := func(instance string, more ...string) map[string]string {
		out := map[string]string{"instance": instance}
		for i := 0; i+1 < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	said := func(summary, description string) map[string]string {
		return map[string]string{"summary": summary, "description": description}
	}
	return []test{
		{
			name: "yoyu about itself",
			series: []series{
				at("yoyu_build_info", on(a, "version", "1.0.0"), "1x40"),
				at("yoyu_build_info", on(b, "version", "1.0.0"), "1x10 stale"),
				at("yoyu_source_up", on(a, "source", "prom"), "1 1 0x38"),
				at("yoyu_source_up", on(b, "source", "prom"), "1x40"),
				at("yoyu_source_up", on(a, "source", "dd"), "1 0 0 0 1x36"),
				at("yoyu_sink_up", on(a, "sink", "am"), "1 1 0x38"),
				at("yoyu_sink_up", on(b, "sink", "am"), "1x40"),
				at("yoyu_ticks_missed_total", on(a), "0+1x40"),
				at("yoyu_ticks_missed_total", on(b), "0 2x39"),
				at("yoyu_config_last_reload_successful", on(a), "1x40"),
				at("yoyu_config_last_reload_successful", on(b), "1 0x39"),
				at("yoyu_store_writable", on(b), "1 0x39"),
			},
			alerts: []alertTest{
				{6 * time.Minute, "YoyuSourceDown", nil},
				{8 * time.Minute, "YoyuSourceDown", []expected{{ticket(on(a, "source", "prom")), said("yoyu cannot reach its source prom",
					a+" has had no answer from prom for five minutes: yoyu_source_failures_total says why. What is missed is asked again later.")}}},
				{6 * time.Minute, "YoyuSinkDown", nil},
				{8 * time.Minute, "YoyuSinkDown", []expected{{ticket(on(a, "sink", "am")), said("yoyu cannot tell am anything",
					"am has taken no report of "+a+" for five minutes: yoyu_sink_failures_total says why. It is told the present when it is back.")}}},
				{15 * time.Minute, "YoyuTicksMissed", nil},
				{30 * time.Minute, "YoyuTicksMissed", []expected{{ticket(on(a)), said("yoyu does not keep up with its tick",
					a+" has left out ticks for a quarter of an hour. No event is lost, but alerts come late: yoyu_tick_duration_seconds says what a turn takes.")}}},
				{5 * time.Minute, "YoyuConfigReloadFailed", nil},
				{8 * time.Minute, "YoyuConfigReloadFailed", []expected{{ticket(on(b)), said("yoyu did not take its new configuration",
					b+" goes on with the configuration it had. `yoyu check` names what is wrong with the new one.")}}},
				{5 * time.Minute, "YoyuStateNotDurable", nil},
				{8 * time.Minute, "YoyuStateNotDurable", []expected{{ticket(on(b)), said("yoyu cannot write its state",
					b+" goes on from memory. Its page and its log say why; after a restart it would have to ask its sources for everything again.")}}},
				{30 * time.Minute, "YoyuDown", nil}, // one replica is left
			},
		},
		{
			name:   "no yoyu at all",
			series: []series{at("yoyu_build_info", on(a, "version", "1.0.0"), "1x3 stale")},
			alerts: []alertTest{
				{8 * time.Minute, "YoyuDown", nil},
				{10 * time.Minute, "YoyuDown", []expected{{map[string]string{"severity": page},
					said("yoyu is gone", "No yoyu has been scraped for five minutes. Error budgets are watched by nobody.")}}},
			},
		},
	}
}
