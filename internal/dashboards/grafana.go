package dashboards

import "strings"

// object is a piece of Grafana's JSON. Keys are written in the order of the alphabet.
type object = map[string]any

// schemaVersion is that of Grafana 12, in the classic model, which later ones read too.
const schemaVersion = 41

// The colours of thresholds, told apart by people who see red and green alike (Okabe and Ito,
// "Color Universal Design", 2008). Every number is written beside its colour, too.
const (
	blue      = "#0072B2" // well
	orange    = "#E69F00" // to be looked at
	vermilion = "#D55E00" // to be acted on
	grey      = "#8E8E8E" // nothing is known
)

// dashboard is a page of panels, 24 columns wide.
type dashboard struct {
	uid, title, about string
	from              string // the time range it opens with: "now-30d"
	yoyu              string // address of yoyu, default of the variable
	variables         []object
	panels            []panel
}

// panel is one drawing. Panels are laid out from left to right in the order they are given.
type panel struct {
	kind, title, about string
	width, height      int
	queries            []query
	unit               string
	decimals           int // digits behind the point; 0 leaves it to Grafana
	steps              []step
	links              []object
	options            object   // beside those that every panel of the kind has
	custom             object   // of every field
	mappings           []object // values as words
	overrides          []object
	transformations    []object
	min, max           any // of the axis; nil leaves it to the data
	points             int // most points in a row; 0 leaves it to Grafana
}

// query is one question to the Prometheus that scrapes yoyu.
type query struct {
	expr, legend string // legend "" shows the labels that differ
}

// step is a colour from a value on; the first one has no value.
type step struct {
	from  any
	color string
}

// auto is Grafana's word for "only the labels that tell the series apart".
const auto = "__auto"

var datasource = object{"type": "prometheus", "uid": "${datasource}"}

func (d *dashboard) json() object {
	x, y, row := 0, 0, 0
	panels := make([]object, 0, len(d.panels))
	for _, p := range d.panels {
		if !p.published() {
			continue
		}
		if x+p.width > 24 {
			x, y, row = 0, y+row, 0
		}
		panels = append(panels, p.json(len(panels)+1, x, y))
		x, row = x+p.width, max(row, p.height)
	}
	variables := append([]object{{
		"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
		"hide": 0, "refresh": 1, "regex": "", "multi": false, "includeAll": false, "options": []object{}, "current": object{},
	}}, d.variables...)
	variables = append(variables, object{
		"name": "yoyu", "label": "yoyu's address", "type": "textbox", "query": d.yoyu, "hide": 0,
		"current": object{"text": d.yoyu, "value": d.yoyu}, "options": []object{{"text": d.yoyu, "value": d.yoyu, "selected": true}},
	})
	return object{
		"uid": d.uid, "title": d.title, "description": d.about, "tags": []string{"yoyu", "slo"},
		"schemaVersion": schemaVersion, "version": 1, "editable": true, "graphTooltip": 1, "fiscalYearStartMonth": 0,
		"refresh": "1m", "timezone": "", "time": object{"from": d.from, "to": "now"}, "timepicker": object{}, "weekStart": "",
		"annotations": object{"list": []object{}}, "preload": false,
		"links": []object{
			{"type": "dashboards", "tags": []string{"yoyu"}, "title": "yoyu", "asDropdown": false, "icon": "external link", "includeVars": true, "keepTime": true, "targetBlank": false, "tooltip": "", "url": ""},
			{"type": "link", "tags": []string{}, "title": "yoyu's own page", "asDropdown": false, "icon": "external link", "includeVars": false, "keepTime": false, "targetBlank": true, "tooltip": "what burns, what is left", "url": "${yoyu}/"},
		},
		"templating": object{"list": variables},
		"panels":     panels,
	}
}

// published reports whether every series of the panel exists.
func (p *panel) published() bool {
	for _, q := range p.queries {
		if !published(q.expr) {
			return false
		}
	}
	return true
}

func (p *panel) json(id, x, y int) object {
	table := p.kind == "table"
	instant := table || p.kind == "stat" || p.kind == "bargauge"
	var targets []object
	for i, q := range p.queries {
		legend, format := q.legend, "time_series"
		if legend == "" {
			legend = auto
		}
		if table {
			format = "table"
		}
		targets = append(targets, object{
			"refId": ref(i), "datasource": datasource, "editorMode": "code", "expr": q.expr, "legendFormat": legend,
			"format": format, "instant": instant, "range": !instant,
		})
	}
	steps := p.steps
	if steps == nil {
		steps = []step{{nil, blue}}
	}
	var thresholds []object
	for _, s := range steps {
		thresholds = append(thresholds, object{"value": s.from, "color": s.color})
	}
	defaults := object{
		"unit": p.unit, "color": object{"mode": colourMode(p.kind)}, "mappings": list(p.mappings), "links": list(p.links),
		"thresholds": object{"mode": "absolute", "steps": thresholds}, "custom": p.customOf(),
	}
	if p.decimals > 0 {
		defaults["decimals"] = p.decimals
	}
	if p.min != nil {
		defaults["min"] = p.min
	}
	if p.max != nil {
		defaults["max"] = p.max
	}
	out := object{
		"id": id, "type": p.kind, "title": p.title, "description": p.about, "datasource": datasource,
		"gridPos": object{"x": x, "y": y, "w": p.width, "h": p.height}, "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": list(p.overrides)},
		"options":     p.optionsOf(), "transformations": list(p.transformations),
	}
	if p.points > 0 {
		out["maxDataPoints"] = p.points
	}
	return out
}

func colourMode(kind string) string {
	if kind == "timeseries" {
		return "palette-classic"
	}
	return "thresholds"
}

// customOf is how the fields of a kind of panel are drawn unless the panel says otherwise.
func (p *panel) customOf() object {
	out := object{}
	switch p.kind {
	case "timeseries":
		out = object{"drawStyle": "line", "lineWidth": 2, "fillOpacity": 5, "showPoints": "never", "spanNulls": false, "thresholdsStyle": object{"mode": "off"}}
	case "status-history", "state-timeline":
		out = object{"fillOpacity": 90, "lineWidth": 0}
	case "table":
		out = object{"align": "auto", "filterable": true, "cellOptions": object{"type": "auto"}}
	}
	return with(out, p.custom)
}

// optionsOf are the options of a kind of panel unless the panel says otherwise.
func (p *panel) optionsOf() object {
	out := object{}
	reduce := object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}
	switch p.kind {
	case "stat":
		out = object{"colorMode": "background", "graphMode": "none", "justifyMode": "auto", "textMode": "auto", "orientation": "auto", "reduceOptions": reduce}
	case "timeseries":
		out = object{"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}}, "tooltip": object{"mode": "multi", "sort": "desc"}}
	case "status-history", "state-timeline":
		out = object{"showValue": "auto", "rowHeight": 0.9, "legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true}, "tooltip": object{"mode": "single", "sort": "none"}}
		if p.kind == "state-timeline" {
			out["mergeValues"] = true
		}
	case "bargauge":
		out = object{"displayMode": "basic", "orientation": "horizontal", "showUnfilled": true, "valueMode": "color", "reduceOptions": reduce}
	case "table":
		out = object{"showHeader": true, "cellHeight": "sm", "footer": object{"show": false}}
	}
	return with(out, p.options)
}

func with(base, more object) object {
	for k, v := range more {
		base[k] = v
	}
	return base
}

// list is never null: Grafana wants lists.
func list(all []object) []object {
	if all == nil {
		return []object{}
	}
	return all
}

func ref(i int) string { return string(rune('A' + i)) }

// chooser is a variable whose values a query finds, with "all" among them.
func chooser(name, label, query string) object {
	return object{
		"name": name, "label": label, "type": "query", "datasource": datasource, "definition": query,
		"query": object{"query": query, "refId": "variable", "qryType": 1}, "refresh": 2, "sort": 1, "regex": "", "hide": 0,
		"multi": true, "includeAll": true, "allValue": ".*", "current": object{"text": []string{"All"}, "value": []string{"$__all"}}, "options": []object{},
	}
}

// explain leads from an SLO to its formula with the numbers in it.
func explain(slo string) object {
	return object{"title": "Explain every number", "url": "${yoyu}/explain?slo=" + slo, "targetBlank": true}
}

// inDetail leads from an SLO to the dashboard about it.
func inDetail(slo string) object {
	return object{"title": "This SLO in detail", "url": "/d/" + detailUID + "?var-slo=" + slo + "&${datasource:queryparam}&${yoyu:queryparam}&${__url_time_range}"}
}

// override changes the fields of one name.
func override(field string, properties ...object) object {
	return object{"matcher": object{"id": "byName", "options": field}, "properties": properties}
}

func property(id string, value any) object { return object{"id": id, "value": value} }

// merged makes one table out of several queries: a row for each set of labels, a column for each
// query. Columns named are shown under these names, the first of them first; the labels that a
// scrape adds are hidden.
func merged(sortBy string, descending bool, columns ...string) []object {
	hidden := object{"Time": true, "job": true, "endpoint": true, "prometheus": true, "__name__": true}
	names := object{}
	for i, column := range columns {
		names["Value #"+ref(i)] = column
	}
	return []object{
		{"id": "merge", "options": object{}},
		{"id": "organize", "options": object{"excludeByName": hidden, "indexByName": object{}, "renameByName": names}},
		{"id": "sortBy", "options": object{"fields": object{}, "sort": []object{{"field": sortBy, "desc": descending}}}},
	}
}

// one is a selector as a single yoyu says it, however many replicas say the same.
func one(selector string) string { return without("instance, pod", selector) }

// without is one, less more labels: those that one query fixes and the next one does not have.
func without(labels, selector string) string {
	return "max without (" + labels + ") (" + selector + ")"
}

// chosen narrows a query over series with slo and service to what the variables say.
func chosen(query string) string {
	return query + ` and on (slo) slo_info{service=~"$service",team=~"$team"}`
}

// orNone makes 0 of an empty answer to a count.
func orNone(query string) string { return query + " or vector(0)" }

func parens(query string) string { return "(" + query + ")" }

// lines joins what stands in lines of its own for reading.
func lines(text ...string) string { return strings.Join(text, "\n") }
