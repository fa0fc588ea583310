package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/yoyu-sre/yoyu/sinks"
)

// datadogStandard are the families that the Datadog sink sends unless told otherwise.
var datadogStandard = []*sinks.Family{
	sinks.SLORemainingRatio, sinks.SLOAlertBurnRatio, sinks.SLOBurnRate, sinks.HeadroomCPU, sinks.HeadroomMemory,
}

// Datadog are the dashboards for Datadog, over the gauges that the Datadog sink sends. Widgets
// about families that are not sent are left out.
func Datadog(o Options) ([]File, error) {
	if o.ExternalURL == "" {
		o.ExternalURL = DefaultURL
	}
	if o.Sent == nil {
		o.Sent = datadogStandard
	}
	if o.Severities == nil {
		o.Severities = []string{"page", "ticket"}
	}
	var out []File
	for _, d := range []struct {
		name string
		body object
	}{{"yoyu-overview", datadogOverview(o)}, {"yoyu-slo", datadogDetail(o)}} {
		var text bytes.Buffer
		to := json.NewEncoder(&text)
		to.SetEscapeHTML(false) // as in those for Grafana
		to.SetIndent("", "  ")
		if err := to.Encode(d.body); err != nil {
			return nil, fmt.Errorf("dashboard %s: %w", d.name, err)
		}
		out = append(out, File{Name: d.name + ".json", JSON: text.Bytes()})
	}
	return out, nil
}

// widget is one drawing on a Datadog dashboard.
type widget struct {
	kind, title string
	families    []*sinks.Family // that its queries are about; without one of them it is left out
	queries     []string
	formulas    []formula // none: one for each query
	order       string    // of a list: "asc" or "desc" by its first formula
	marker      string    // a line in a time series: "y = 1"
	label       string    // of the marker
	colours     []object
	precision   int
}

// formula is what is shown of the queries, which are named a, b, c ….
type formula struct {
	text, alias string
	colours     []object
}

// asks is a query over a family. space puts series of the same group together; by are tags.
func asks(space string, f *sinks.Family, scope string, by ...string) string {
	q := space + ":" + f.Dotted() + "{" + scope + "}"
	if len(by) > 0 {
		q += " by {" + strings.Join(by, ",") + "}"
	}
	return q
}

// scoped is the scope of every query, narrowed by tags.
func scoped(variables string, tags ...string) string {
	return strings.Join(append(tags, variables), ",")
}

// datadogColours paint a number from a value on, the last that holds: of the palettes that Datadog
// has, those that can be told apart without telling red from green.
func datadogColours(comparator string, act, look float64) []object {
	return []object{
		{"comparator": comparator, "value": act, "palette": "white_on_red"},
		{"comparator": comparator, "value": look, "palette": "black_on_light_yellow"},
	}
}

func (w *widget) sent(families []*sinks.Family) bool {
	for _, f := range w.families {
		if !slices.Contains(families, f) {
			return false
		}
	}
	return true
}

func (w *widget) json() object {
	format := "scalar"
	if w.kind == "timeseries" {
		format = "timeseries"
	}
	var queries, formulas []object
	for i, q := range w.queries {
		one := object{"data_source": "metrics", "name": string(rune('a' + i)), "query": q}
		if format == "scalar" {
			one["aggregator"] = "last"
		}
		queries = append(queries, one)
	}
	shown := w.formulas
	if shown == nil {
		for i := range w.queries {
			shown = append(shown, formula{text: string(rune('a' + i))})
		}
	}
	for _, f := range shown {
		one := object{"formula": f.text}
		if f.alias != "" {
			one["alias"] = f.alias
		}
		if f.colours != nil {
			one["conditional_formats"] = f.colours
		}
		if w.kind == "query_table" {
			one["cell_display_mode"] = "number"
		}
		formulas = append(formulas, one)
	}
	request := object{"response_format": format, "queries": queries, "formulas": formulas}
	definition := object{"type": w.kind, "title": w.title, "requests": []object{request}}
	switch w.kind {
	case "query_value":
		definition["autoscale"], definition["precision"] = false, w.precision
		if w.colours != nil {
			request["conditional_formats"] = w.colours
		}
	case "timeseries":
		request["display_type"] = "line"
		definition["show_legend"] = true
	default:
		request["sort"] = object{"count": 100, "order_by": []object{{"type": "formula", "index": 0, "order": w.order}}}
	}
	if w.marker != "" {
		definition["markers"] = []object{{"value": w.marker, "display_type": "error dashed", "label": w.label}}
	}
	return object{"definition": definition}
}

// datadogPage is a whole dashboard.
func datadogPage(o Options, title, about, note string, variables []string, widgets []widget) object {
	all := []object{{"definition": object{"type": "note", "content": note, "background_color": "white", "font_size": "14", "text_align": "left", "show_tick": false}}}
	for _, w := range widgets {
		if w.sent(o.Sent) {
			all = append(all, w.json())
		}
	}
	var list []object
	for _, name := range variables {
		list = append(list, object{"name": name, "prefix": name, "available_values": []string{}, "defaults": []string{"*"}})
	}
	return object{
		"title": title, "description": about, "layout_type": "ordered", "template_variables": list, "widgets": all,
	}
}

func datadogOverview(o Options) object {
	const all = "$env,$team,$service"
	remaining, ratio, burn := sinks.SLORemainingRatio, sinks.SLOAlertBurnRatio, sinks.SLOBurnRate
	bySLO := []string{"slo", "service"}
	budget := datadogColours("<=", 0, 25)
	pace := datadogColours(">", 6, 1)
	widgets := []widget{
		{
			kind: "query_value", title: "Scarcest budget, % left", families: []*sinks.Family{remaining}, precision: 1, colours: budget,
			queries: []string{asks("min", remaining, all)}, formulas: []formula{{text: "a * 100"}},
		},
	}
	table := widget{
		kind: "query_table", title: "Budgets, the scarcest first", order: "asc", families: []*sinks.Family{remaining, burn, ratio},
		queries: []string{
			asks("min", remaining, all, bySLO...),
			asks("max", burn, scoped(all, "window:1h"), bySLO...),
			asks("max", burn, scoped(all, "window:6h"), bySLO...),
			asks("max", burn, scoped(all, "window:3d"), bySLO...),
		},
		formulas: []formula{
			{"a * 100", "% of the budget left", budget}, {"b", "burn 1h", pace}, {"c", "burn 6h", pace}, {"d", "burn 3d", pace},
		},
	}
	for _, severity := range o.Severities {
		of := scoped(all, "severity:"+strings.ToLower(severity)) // as Datadog stores a tag; it is letters only
		widgets = append(widgets, widget{
			kind: "query_value", title: "Nearest to a " + severity + ": above 1 it fires", families: []*sinks.Family{ratio}, precision: 2,
			colours: datadogColours(">", 1, 0.5), queries: []string{asks("max", ratio, of)},
		})
		table.formulas = append(table.formulas, formula{string(rune('a' + len(table.queries))), severity + " fires above 1", datadogColours(">", 1, 0.5)})
		table.queries = append(table.queries, asks("max", ratio, of, bySLO...))
	}
	widgets = append(append(widgets, table), []widget{
		{
			kind: "toplist", title: "Burning most: multiples of the steady pace in the last hour", order: "desc", families: []*sinks.Family{burn},
			queries: []string{asks("max", burn, scoped(all, "window:1h"), "slo")},
		},
		{
			kind: "timeseries", title: "Budgets left", families: []*sinks.Family{remaining}, marker: "y = 0", label: "spent",
			queries: []string{asks("min", remaining, all, "slo")},
		},
		{
			kind: "timeseries", title: "Alerts: above 1 they fire", families: []*sinks.Family{ratio}, marker: "y = 1", label: "fires",
			queries: []string{asks("max", ratio, all, "slo", "severity")},
		},
		{
			kind: "timeseries", title: "Coverage of the last hour", families: []*sinks.Family{sinks.SLOCoverage},
			queries: []string{asks("min", sinks.SLOCoverage, scoped(all, "window:1h"), "slo")},
		},
		{
			kind: "toplist", title: "CPU to give back, cores per pod", order: "desc", families: []*sinks.Family{sinks.HeadroomCPU},
			queries: []string{asks("max", sinks.HeadroomCPU, "$env,$service", "kube_namespace", "kube_container_name")},
		},
		{
			kind: "toplist", title: "Memory to give back, bytes per pod", order: "desc", families: []*sinks.Family{sinks.HeadroomMemory},
			queries: []string{asks("max", sinks.HeadroomMemory, "$env,$service", "kube_namespace", "kube_container_name")},
		},
	}...)
	note := "How much room is left in every error budget, and what burns it. A burn rate of 1 spends a budget exactly by the end of its period. " +
		"Every number is worked out on [yoyu's own page](" + o.ExternalURL + "/)."
	return datadogPage(o, "yoyu / Error budgets", "How much room is left in every error budget, and what burns it.", note, []string{"env", "team", "service"}, widgets)
}

func datadogDetail(o Options) object {
	const it = "$slo,$env"
	remaining, ratio, burn := sinks.SLORemainingRatio, sinks.SLOAlertBurnRatio, sinks.SLOBurnRate
	widgets := []widget{
		{
			kind: "query_value", title: "Budget left, %, of the scarcest group", families: []*sinks.Family{remaining}, precision: 1,
			colours: datadogColours("<=", 0, 25), queries: []string{asks("min", remaining, it)}, formulas: []formula{{text: "a * 100"}},
		},
		{
			kind: "query_value", title: "Burn rate of the last hour", families: []*sinks.Family{burn}, precision: 2,
			colours: datadogColours(">", 6, 1), queries: []string{asks("max", burn, scoped(it, "window:1h"))},
		},
		{
			kind: "query_value", title: "Lasts, seconds", families: []*sinks.Family{sinks.SLOExhaustion}, precision: 0,
			queries: []string{asks("min", sinks.SLOExhaustion, it)},
		},
		{
			kind: "query_value", title: "Bad events still allowed", families: []*sinks.Family{sinks.SLORemainingEvents}, precision: 0,
			colours: datadogColours("<", 0, 0), queries: []string{asks("sum", sinks.SLORemainingEvents, it)},
		},
		{
			kind: "timeseries", title: "Budget burn-down", families: []*sinks.Family{remaining}, marker: "y = 0", label: "spent",
			queries: []string{asks("min", remaining, it, "slo")},
		},
		{
			kind: "timeseries", title: "Burn against what the alerts allow", families: []*sinks.Family{ratio}, marker: "y = 1", label: "fires",
			queries: []string{asks("max", ratio, it, "severity")},
		},
		{
			kind: "timeseries", title: "Burn rates by window", families: []*sinks.Family{burn}, marker: "y = 1", label: "spends the budget by the end of the period",
			queries: []string{asks("max", burn, it, "window")},
		},
		{
			kind: "timeseries", title: "Coverage", families: []*sinks.Family{sinks.SLOCoverage},
			queries: []string{asks("min", sinks.SLOCoverage, it, "window")},
		},
	}
	note := "One SLO: choose it above as `slo`. Every number is worked out on yoyu's own page: " + o.ExternalURL + "/explain?slo=NAME"
	return datadogPage(o, "yoyu / One SLO", "One SLO: what is left of its budget, and how fast it burns against what its alerts allow.", note, []string{"slo", "env"}, widgets)
}
