package datadog

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// widgetNeeds are the known widgets with the fields that they cannot do without.
var widgetNeeds = map[string][]string{
	"alert_graph": {"alert_id", "viz_type"}, "alert_value": {"alert_id"}, "bar_chart": {"requests"}, "change": {"requests"}, "check_status": {"check", "grouping"},
	"cohort": {"requests"}, "distribution": {"requests"}, "event_stream": {"query"}, "event_timeline": {"query"}, "free_text": {"text"}, "funnel": {"requests"},
	"geomap": {"requests", "style", "view"}, "group": {"layout_type", "widgets"}, "heatgrid": {"requests", "sort"}, "heatmap": {"requests"}, "embedded_app": nil, "point_plot": {"requests"}, "hostmap": {"requests"}, "iframe": {"url"},
	"image": {"url"}, "list_stream": {"requests"}, "log_stream": nil, "manage_status": {"query"}, "note": {"content"}, "powerpack": {"powerpack_id"},
	"query_table": {"requests"}, "query_value": {"requests"}, "retention_curve": {"requests"}, "run_workflow": {"workflow_id"}, "sankey": {"requests"},
	"scatterplot": {"requests"}, "servicemap": {"service", "filters"}, "slo": {"view_type"}, "slo_list": {"requests"}, "split_group": {"source_widget_definition", "split_config", "size"},
	"sunburst": {"requests"}, "table": {"requests"}, "timeseries": {"requests"}, "toplist": {"requests"}, "topology_map": {"requests"}, "trace_service": {"env", "service", "span_name"},
	"treemap": {"requests"}, "wildcard": {"requests"},
}

// checkDashboard says what is wrong with a dashboard, "" when it may be kept.
func checkDashboard(body map[string]any) string {
	if kind := text(body["layout_type"]); kind != "ordered" && kind != "free" {
		return "Value of parameter 'layout_type' should be any of these ['ordered', 'free']"
	}
	if _, ok := body["title"].(string); !ok {
		return "The parameter 'title' is required"
	}
	widgets, ok := body["widgets"].([]any)
	if !ok {
		return "The parameter 'widgets' is required"
	}
	if fault := checkVariables(body["template_variables"]); fault != "" {
		return fault
	}
	for _, tag := range texts(body["tags"]) {
		if !strings.HasPrefix(tag, "team:") {
			return "Invalid tag format. Valid tag keys are: team."
		}
	}
	if len(texts(body["tags"])) > 5 {
		return "A dashboard can have at most 5 tags."
	}
	return checkWidgets(widgets)
}

func checkVariables(v any) string {
	const wrong = "'template_variables' is invalid"
	list, ok := v.([]any)
	if !ok && v != nil {
		return wrong
	}
	for _, one := range list {
		variable, ok := one.(map[string]any)
		if !ok || text(variable["name"]) == "" {
			return wrong
		}
		_, single := variable["default"].(string)
		_, several := variable["defaults"].([]any)
		if single && several {
			return wrong
		}
	}
	return ""
}

func checkWidgets(widgets []any) string {
	for i, one := range widgets {
		widget, _ := one.(map[string]any) // no object has no definition
		definition, ok := widget["definition"].(map[string]any)
		if !ok {
			return fmt.Sprintf("Invalid widget definition at position %d: a widget needs a definition", i)
		}
		kind := text(definition["type"])
		needs, known := widgetNeeds[kind]
		if !known {
			return fmt.Sprintf("Invalid widget definition at position %d of type %s: unknown type", i, kind)
		}
		for _, field := range needs {
			if definition[field] == nil {
				return fmt.Sprintf("Invalid widget definition at position %d of type %s: '%s' is a required property", i, kind, field)
			}
		}
		if kind == "group" {
			inner, _ := definition["widgets"].([]any) // it has them
			if fault := checkWidgets(inner); fault != "" {
				return fault
			}
		}
		requests, _ := definition["requests"].([]any) // some widgets have an object in their place
		for k, one := range requests {
			request, _ := one.(map[string]any) // no object asks nothing
			if fault := checkRequest(request); fault != "" {
				return fmt.Sprintf("Invalid widget definition at position %d of type %s: request %d: %s", i, kind, k, fault)
			}
		}
	}
	return ""
}

var formulaName = regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*`)

// checkRequest holds formulas to the queries that they are about.
func checkRequest(request map[string]any) string {
	queries, ok := request["queries"].([]any)
	if !ok {
		if request["formulas"] != nil {
			return "'queries' is a required property"
		}
		return ""
	}
	if text(request["response_format"]) == "" && request["request_type"] == nil {
		return "'response_format' is a required property"
	}
	var names []string
	for _, one := range queries {
		q, _ := one.(map[string]any) // no object has no name
		name := text(q["name"])
		if text(q["data_source"]) == "" || name == "" && text(q["data_source"]) != "" && q["query"] != nil {
			return "a query needs 'data_source' and 'name'"
		}
		if slices.Contains(names, name) && name != "" {
			return fmt.Sprintf("two queries are named %s", name)
		}
		names = append(names, name)
	}
	formulas, _ := request["formulas"].([]any) // there may be none
	for _, one := range formulas {
		f, _ := one.(map[string]any) // no object has no formula
		formula := text(f["formula"])
		if formula == "" {
			return "'formula' is a required property"
		}
		mentioned := false
		for _, at := range formulaName.FindAllStringIndex(formula, -1) {
			name := formula[at[0]:at[1]]
			rest := strings.TrimSpace(formula[at[1]:])
			switch {
			case slices.Contains(names, name):
				mentioned = true
			case strings.HasPrefix(rest, "("), strings.Contains(formula, "'"), strings.Contains(formula, `"`), at[0] > 0 && formula[at[0]-1] >= '0' && formula[at[0]-1] <= '9':
			default:
				return fmt.Sprintf("formula %s is about %s, which is no query", formula, name)
			}
		}
		if !mentioned {
			return fmt.Sprintf("formula %s is about no query", formula)
		}
	}
	return ""
}

// slug is the end of a dashboard's address.
func slug(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	out := b.String()
	return out[:min(len(out), 80)]
}

// numbered gives every widget an id that has none.
func (d *Datadog) numbered(widgets []any) []any {
	for _, one := range widgets {
		widget, ok := one.(map[string]any)
		if !ok {
			continue
		}
		if widget["id"] == nil {
			widget["id"] = 1_000_000_000_000 + d.random.Int64N(8_000_000_000_000_000)
		}
		if definition, ok := widget["definition"].(map[string]any); ok {
			if inner, ok := definition["widgets"].([]any); ok {
				d.numbered(inner)
			}
		}
	}
	return widgets
}

// storedDashboard makes of what was sent what is kept.
func (d *Datadog) storedDashboard(in map[string]any) map[string]any {
	out := map[string]any{"description": nil, "notify_list": nil, "template_variables": nil, "restricted_roles": []any{}}
	for key, value := range in {
		switch key {
		case "id", "url", "author_handle", "author_name", "created_at", "modified_at":
		case "notify_list":
			list, ok := clone(value).([]any)
			if ok {
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(text(a), text(b)) })
				out[key] = list
			}
		default:
			out[key] = clone(value)
		}
	}
	if widgets, ok := out["widgets"].([]any); ok {
		out["widgets"] = d.numbered(widgets)
	}
	return out
}

func (d *Datadog) createDashboard(c *call) {
	in, ok := c.body()
	if !ok {
		return
	}
	if fault := checkDashboard(in); fault != "" {
		c.fail(http.StatusBadRequest, fault)
		return
	}
	const letters = "23456789abcdefghijkmnpqrstuvwxyz"
	id := d.randomText(letters, 3) + "-" + d.randomText(letters, 3) + "-" + d.randomText(letters, 3)
	now := d.time()
	body := d.storedDashboard(in)
	body["id"], body["url"] = id, "/dashboard/"+id+"/"+slug(text(in["title"]))
	body["author_handle"], body["author_name"] = "user@example.com", "Someone"
	body["created_at"], body["modified_at"] = stamp(now), stamp(now)
	d.objects.dashboards = append(d.objects.dashboards, &object{id: id, created: now, changed: now, body: body})
	c.json(http.StatusOK, body)
}

// dashboard finds the one of the path; nil when it has answered.
func (d *Datadog) dashboard(c *call) *object {
	id := c.PathValue("id")
	o := d.objects.dashboards.find(id)
	if o == nil || c.Method == http.MethodGet && d.hidden(c, o) {
		c.fail(http.StatusNotFound, fmt.Sprintf("Dashboard with ID %s not found", id))
		return nil
	}
	return o
}

func (d *Datadog) getDashboard(c *call) {
	if o := d.dashboard(c); o != nil {
		c.json(http.StatusOK, o.body)
	}
}

func (d *Datadog) updateDashboard(c *call) {
	in, ok := c.body()
	if !ok {
		return
	}
	if fault := checkDashboard(in); fault != "" {
		c.fail(http.StatusBadRequest, fault)
		return
	}
	o := d.dashboard(c)
	if o == nil {
		return
	}
	body := d.storedDashboard(in) // nothing of the old one stays
	for _, key := range []string{"id", "author_handle", "author_name", "created_at"} {
		body[key] = o.body[key]
	}
	body["url"], body["modified_at"] = "/dashboard/"+o.id+"/"+slug(text(in["title"])), stamp(d.time())
	o.before, o.body, o.changed = o.body, body, d.time()
	c.json(http.StatusOK, body)
}

func (d *Datadog) deleteDashboard(c *call) {
	if o := d.dashboard(c); o != nil {
		d.objects.dashboards.remove(o.id)
		c.json(http.StatusOK, map[string]any{"deleted_dashboard_id": o.id})
	}
}

// deleteDashboards deletes several at once.
func (d *Datadog) deleteDashboards(c *call) {
	in, ok := c.body()
	if !ok {
		return
	}
	list, _ := in["data"].([]any) // without one there is nothing to delete
	var ids []string
	for _, one := range list {
		entry, _ := one.(map[string]any) // no object has no id
		id := text(entry["id"])
		if d.objects.dashboards.find(id) == nil {
			c.fail(http.StatusNotFound, fmt.Sprintf("Dashboard with ID %s not found", id))
			return
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		c.fail(http.StatusBadRequest, "The parameter 'data' is required")
		return
	}
	for _, id := range ids {
		d.objects.dashboards.remove(id)
	}
	c.answer.set(http.StatusNoContent, "text/html; charset=utf-8", "")
}

func (d *Datadog) listDashboards(c *call) {
	all := d.listed(c, d.objects.dashboards)
	all = page(all, intOf(c.Request, "start", 0), d.atOnce(intOf(c.Request, "count", len(all))))
	out := make([]map[string]any, 0, len(all))
	for _, o := range all {
		summary := map[string]any{"deleted_at": nil, "is_read_only": false}
		for _, key := range []string{"id", "title", "description", "layout_type", "url", "author_handle", "created_at", "modified_at"} {
			summary[key] = o.body[key]
		}
		out = append(out, summary)
	}
	c.json(http.StatusOK, map[string]any{"dashboards": out})
}
