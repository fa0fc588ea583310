package datadog

import (
	"fmt"
	"math"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// compared is the end of a monitor's query: how its value is compared with what.
var compared = regexp.MustCompile(`(>=|<=|==|!=|>|<)\s*(-?[0-9][0-9.eE+-]*)\s*$`)

// called is a query that begins with a function.
var called = regexp.MustCompile(`^[a-z_]+\(`)

// checkMonitor says what is wrong with a monitor, "" when it may be created.
func (d *Datadog) checkMonitor(body map[string]any) string {
	kind, query := text(body["type"]), strings.TrimSpace(text(body["query"]))
	switch {
	case kind == "":
		return "The parameter 'type' is required"
	case !slices.Contains(monitorTypes, kind):
		return fmt.Sprintf("The value provided for parameter 'type' is invalid: %q", kind)
	case query == "":
		return "The parameter 'query' is required"
	}
	switch kind {
	case "composite":
		return d.checkComposite(query)
	case "service check", "process alert", "event alert", "synthetics alert", "network-performance alert":
		return ""
	case "slo alert":
		return d.checkSLOAlert(query, body)
	}
	found := compared.FindStringSubmatch(query)
	if found == nil {
		return "The value provided for parameter 'query' is invalid: invalid operator specified: "
	}
	if kind == "metric alert" || kind == "query alert" {
		if m, err := parseMonitor(query); err == nil {
			if _, err := parseQueries(m.query); err != nil && m.plain() {
				return "The value provided for parameter 'query' is invalid: " + err.Error()
			}
		} else if !called.MatchString(query) {
			return "The value provided for parameter 'query' is invalid: " + err.Error()
		}
	}
	options, _ := body["options"].(map[string]any)          // a monitor may have none
	thresholds, _ := options["thresholds"].(map[string]any) // and neither thresholds
	threshold, err := strconv.ParseFloat(found[2], 64)      // the expression lets in numbers and a few other texts
	if critical, ok := asFloat(thresholds["critical"]).(float); ok && err == nil && math.Abs(float64(critical)-threshold) > 1e-9*math.Abs(threshold) {
		return fmt.Sprintf("Alert threshold (%s) does not match that used in the query (%s)", number(critical).text(), number(threshold).text())
	}
	return ""
}

var monitorTypes = []string{
	"metric alert", "query alert", "composite", "service check", "event alert", "event-v2 alert", "log alert", "process alert", "rum alert",
	"trace-analytics alert", "slo alert", "synthetics alert", "audit alert", "ci-pipelines alert", "ci-tests alert", "error-tracking alert",
	"database-monitoring alert", "network-performance alert", "cost alert", "data-quality alert", "data-jobs alert", "network-path alert",
	"llm-observability alert",
}

var operand = regexp.MustCompile(`[0-9]+`)

func (d *Datadog) checkComposite(query string) string {
	ids := operand.FindAllString(query, -1)
	if len(ids) == 0 {
		return "The value provided for parameter 'query' is invalid: no monitors are referenced"
	}
	if len(ids) > 10 {
		return "The value provided for parameter 'query' is invalid: at most 10 monitors may be referenced"
	}
	for _, id := range ids {
		if d.objects.monitors.find(id) == nil {
			return fmt.Sprintf("The value provided for parameter 'query' is invalid: monitor %s was not found", id)
		}
	}
	return ""
}

var (
	burnAlert   = regexp.MustCompile(`^burn_rate\("([0-9a-f]{32})"\)\.over\("(7d|30d|90d)"\)\.long_window\("([0-9]+)h"\)\.short_window\("([0-9]+[mh])"\)\s*>\s*([0-9.]+)$`)
	budgetAlert = regexp.MustCompile(`^error_budget\("([0-9a-f]{32})"\)\.over\("(7d|30d|90d)"\)\s*>\s*([0-9.]+)$`)
)

func (d *Datadog) checkSLOAlert(query string, body map[string]any) string {
	const wrong = "The value provided for parameter 'query' is invalid: "
	id := ""
	burn := burnAlert.FindStringSubmatch(query)
	switch {
	case burn != nil:
		id = burn[1]
		long, _ := time.ParseDuration(burn[3] + "h") // digits they are
		short, _ := time.ParseDuration(burn[4])
		if long < time.Hour || long > 48*time.Hour {
			return wrong + "long window must be between 1h and 48h"
		}
		if short >= long {
			return wrong + "short window must be shorter than the long window"
		}
	default:
		budget := budgetAlert.FindStringSubmatch(query)
		if budget == nil {
			return wrong + "unable to parse " + query
		}
		id = budget[1]
	}
	slo := d.objects.slos.find(id)
	if slo == nil {
		return wrong + fmt.Sprintf("SLO %s was not found", id)
	}
	if burn == nil {
		return ""
	}
	threshold, _ := strconv.ParseFloat(burn[5], 64) // the expression lets in digits and dots
	target := targetOf(slo.body, burn[2])
	if target >= 100 {
		return "A target of 100% leaves no budget to burn"
	}
	if most := 1 / (1 - target/100); threshold > most {
		return fmt.Sprintf("Alert threshold (%s) must be in range 0 to %s for burn rate alerts (max threshold = 1/1-slo target).",
			number(threshold).text(), strings.TrimSuffix(strconv.FormatFloat(math.Round(most*1e6)/1e6, 'f', 6, 64), "00000"))
	}
	return ""
}

func targetOf(slo map[string]any, timeframe string) float64 {
	list, _ := slo["thresholds"].([]any) // one without thresholds has no target
	for _, one := range list {
		t, _ := one.(map[string]any) // checked when it was created
		if text(t["timeframe"]) == timeframe {
			f, _ := asFloat(t["target"]).(float)
			return float64(f)
		}
	}
	return 0
}

// eventTypes are the monitors that count events by a search.
var eventTypes = []string{"log alert", "rum alert", "ci-pipelines alert", "ci-tests alert", "error-tracking alert", "audit alert", "event-v2 alert", "trace-analytics alert", "database-monitoring alert"}

// storedOptions makes of the options that were sent what is kept: defaults come, what says nothing
// goes.
func storedOptions(in map[string]any, kind string) map[string]any {
	out := map[string]any{"notify_audit": false, "notify_no_data": false, "silenced": map[string]any{}, "include_tags": true, "new_host_delay": 300}
	if slices.Contains(eventTypes, kind) {
		out["groupby_simple_monitor"] = false
	}
	if _, ok := in["new_group_delay"]; ok {
		delete(out, "new_host_delay")
	}
	if _, ok := in["on_missing_data"]; ok {
		delete(out, "notify_no_data")
	}
	for key, value := range in {
		switch v := value.(type) {
		case map[string]any:
			if key == "thresholds" {
				kept := map[string]any{}
				for name, t := range v {
					if t != nil && (name != "ok" || kind == "service check") {
						kept[name] = asFloat(t)
					}
				}
				if len(kept) == 0 {
					continue
				}
				out[key] = kept
				continue
			}
			out[key] = clone(v)
		case string:
			if key == "on_missing_data" && v == "default" {
				continue
			}
			if key == "escalation_message" {
				v = strings.TrimSpace(v)
			}
			out[key] = v
		default:
			out[key] = clone(v)
		}
	}
	return out
}

// storedType is the type a monitor comes back with: the two kinds of monitors of metrics are one,
// and either is answered for the other.
func storedType(kind, query string) string {
	switch {
	case kind == "query alert" && strings.HasPrefix(query, "formula("):
		return "metric alert"
	case kind == "metric alert" && strings.Contains(query, "(current_1mo)"):
		return "query alert"
	}
	return kind
}

func sameType(a, b string) bool {
	plain := func(s string) string {
		if s == "metric alert" {
			return "query alert"
		}
		return s
	}
	return plain(a) == plain(b)
}

// copied are the fields of a monitor that are kept as they were sent.
var copied = []string{"name", "message", "query", "tags", "priority", "restricted_roles", "draft_status", "assets"}

func (d *Datadog) createMonitor(c *call) {
	in, ok := c.body()
	if !ok {
		return
	}
	if fault := d.checkMonitor(in); fault != "" {
		c.fail(http.StatusBadRequest, fault)
		return
	}
	now := d.time()
	id := d.nextID()
	body := map[string]any{
		"id": id, "org_id": 1000, "type": storedType(text(in["type"]), text(in["query"])), "multi": strings.Contains(text(in["query"]), " by ") || strings.Contains(text(in["query"]), ".by("),
		"created": stamp(now), "created_at": now.Unix() * 1000, "modified": stamp(now), "deleted": nil,
		"overall_state": "No Data", "overall_state_modified": nil, "creator": creator(), "priority": nil,
		"restricted_roles": nil, "restriction_policy": nil, "draft_status": "published", "assets": []any{}, "tags": []any{}, "message": "",
		"name": defaultName(strings.TrimSpace(text(in["query"]))),
	}
	d.fill(body, in)
	if !d.options.Variant.NoDedup {
		for _, o := range d.objects.monitors {
			if sameMonitor(o.body, body) {
				c.fail(http.StatusBadRequest, fmt.Sprintf("Duplicate of an existing monitor_id:%s org_id:1000", o.id))
				return
			}
		}
	}
	d.objects.monitors = append(d.objects.monitors, &object{id: strconv.FormatInt(id, 10), created: now, changed: now, body: body})
	c.json(http.StatusOK, body)
}

// defaultName is the name of a monitor that came without one.
func defaultName(query string) string {
	m, err := parseMonitor(query)
	if err != nil {
		return query
	}
	how := map[string]string{"avg": "on average", "max": "at least once", "min": "at all times", "sum": "in total"}[m.how]
	list, err := parseQueries(m.query)
	if err != nil {
		return query
	}
	q, ok := list[0].(*metricQuery)
	if !ok {
		return query
	}
	limit := strconv.FormatFloat(m.limit, 'f', -1, 64)
	if !strings.Contains(limit, ".") {
		limit += ".0"
	}
	window := compared.ReplaceAllString(query, "")
	window, _, _ = strings.Cut(window[strings.IndexByte(window, '_')+1:], ")")
	return fmt.Sprintf("**%s** over **%s** was **%s %s** %s during the **last %s**.", q.metric, q.scope, m.op, limit, how, window)
}

// fill takes over what was sent.
func (d *Datadog) fill(body, in map[string]any) {
	for _, key := range copied {
		v, ok := in[key]
		if !ok {
			continue
		}
		if s, isText := v.(string); isText {
			v = strings.TrimSpace(s)
			if key == "name" && v == "" {
				continue
			}
		}
		body[key] = clone(v)
	}
	if n, ok := asFloat(in["priority"]).(float); ok && n == 0 {
		body["priority"] = nil
	}
	if tags, ok := in["tags"]; ok && tags == nil {
		body["tags"] = []any{}
	}
	if assets, ok := in["assets"].([]any); ok {
		body["assets"] = storedAssets(assets, body["id"])
	}
	options, sent := in["options"].(map[string]any)
	if sent || body["options"] == nil {
		body["options"] = storedOptions(options, text(body["type"]))
	}
}

func storedAssets(assets []any, id any) []any {
	out := make([]any, 0, len(assets))
	for _, one := range assets {
		asset := map[string]any{"monitor_id": id, "options": map[string]any{}, "template_variables": map[string]any{}, "resource_key": nil, "resource_type": nil}
		if sent, ok := one.(map[string]any); ok {
			for key, value := range sent {
				asset[key] = clone(value)
			}
		}
		out = append(out, asset)
	}
	return out
}

func sameMonitor(a, b map[string]any) bool {
	if !sameType(text(a["type"]), text(b["type"])) {
		return false
	}
	for _, key := range []string{"query", "name", "message", "options", "tags"} {
		if !reflect.DeepEqual(a[key], b[key]) {
			return false
		}
	}
	return true
}

var groupStates = []string{"all", "alert", "warn", "no data", "ok", "ignored"}

// statesAsked reports whether the parameter group_states makes sense; false when it has answered.
func (c *call) statesAsked() bool {
	for _, state := range split(c.URL.Query().Get("group_states")) {
		if !slices.Contains(groupStates, strings.TrimSpace(strings.ToLower(state))) {
			c.fail(http.StatusBadRequest, "Invalid group_state filters.")
			return false
		}
	}
	return true
}

// monitor finds the one of the path; nil when it has answered.
func (d *Datadog) monitor(c *call) *object {
	o := d.objects.monitors.find(c.PathValue("id"))
	if o == nil || c.Method == http.MethodGet && d.hidden(c, o) {
		c.fail(http.StatusNotFound, "Monitor not found")
		return nil
	}
	return o
}

func (d *Datadog) getMonitor(c *call) {
	o := d.monitor(c)
	if o == nil || !c.statesAsked() {
		return
	}
	body := cloneMap(o.body)
	body["matching_downtimes"] = []any{}
	if assets, _ := body["assets"].([]any); c.URL.Query().Get("with_assets") == "true" {
		for _, one := range assets {
			if asset, ok := one.(map[string]any); ok {
				delete(asset, "monitor_id")
			}
		}
	} else {
		body["assets"] = []any{}
	}
	c.json(http.StatusOK, body)
}

func (d *Datadog) listMonitors(c *call) {
	if !c.statesAsked() {
		return
	}
	q := c.URL.Query()
	all := d.listed(c, d.objects.monitors)
	var found shelf
	for _, o := range all {
		tags := texts(o.body["tags"])
		if hasAll(tags, split(q.Get("monitor_tags"))) && (q.Get("name") == "" || strings.Contains(text(o.body["name"]), q.Get("name"))) && scoped(text(o.body["query"]), split(q.Get("tags"))) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b *object) int { return int(number64(a.id) - number64(b.id)) })
	size := intOf(c.Request, "page_size", 100)
	size = d.atOnce(min(size, 1000))
	switch {
	case q.Has("id_offset"):
		found = slices.DeleteFunc(found, func(o *object) bool { return number64(o.id) <= number64(q.Get("id_offset")) })
		found = page(found, 0, size)
	case q.Has("page"):
		found = page(found, intOf(c.Request, "page", 0)*size, size)
	}
	out := make([]map[string]any, 0, len(found))
	for _, o := range found {
		body := cloneMap(o.body)
		body["matching_downtimes"] = []any{}
		out = append(out, body)
	}
	c.json(http.StatusOK, out)
}

func number64(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64) // what is no number comes first
	return n
}

func hasAll(have, want []string) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.EqualFold(h, strings.TrimSpace(w)) }) {
			return false
		}
	}
	return true
}

// scoped reports whether the query of a monitor is about all of the tags.
func scoped(query string, tags []string) bool {
	for _, tag := range tags {
		if !strings.Contains(query, strings.TrimSpace(tag)) {
			return false
		}
	}
	return true
}

func (d *Datadog) updateMonitor(c *call) {
	o := d.monitor(c)
	if o == nil {
		return
	}
	in, ok := c.body()
	if !ok {
		return
	}
	if kind := text(in["type"]); kind != "" && !sameType(kind, text(o.body["type"])) {
		c.fail(http.StatusBadRequest, "Monitor type change not allowed")
		return
	}
	// What is not sent stays, but options are replaced as a whole.
	next := cloneMap(o.body)
	for _, key := range copied {
		if v, ok := in[key]; ok {
			next[key] = v
		}
	}
	if options, ok := in["options"].(map[string]any); ok {
		next["options"] = options
	}
	if fault := d.checkMonitor(next); fault != "" {
		c.fail(http.StatusBadRequest, fault)
		return
	}
	o.before, o.changed = cloneMap(o.body), d.time()
	d.fill(o.body, in)
	o.body["modified"] = stamp(d.time())
	o.body["multi"] = strings.Contains(text(o.body["query"]), " by ") || strings.Contains(text(o.body["query"]), ".by(")
	body := cloneMap(o.body)
	delete(body, "creator")
	c.json(http.StatusOK, body)
}

// users are the composite monitors that a monitor is part of.
func (d *Datadog) users(id string) []string {
	var out []string
	for _, o := range d.objects.monitors {
		if text(o.body["type"]) == "composite" && slices.Contains(operand.FindAllString(text(o.body["query"]), -1), id) {
			out = append(out, o.id)
		}
	}
	return out
}

func (d *Datadog) deleteMonitor(c *call) {
	o := d.monitor(c)
	if o == nil {
		return
	}
	if users := d.users(o.id); len(users) > 0 && c.URL.Query().Get("force") != "true" {
		c.fail(http.StatusBadRequest, d.referenced(o, users))
		return
	}
	d.objects.monitors.remove(o.id)
	c.json(http.StatusOK, map[string]any{"deleted_monitor_id": number64(o.id)})
}

func (d *Datadog) referenced(o *object, users []string) string {
	return fmt.Sprintf("monitor [%s,%s] is referenced in composite monitors: [%s]", o.id, text(o.body["name"]), strings.Join(users, ", "))
}

func (d *Datadog) validateMonitor(c *call) {
	in, ok := c.body()
	if !ok {
		return
	}
	if id := c.PathValue("id"); id != "" && d.objects.monitors.find(id) == nil {
		c.fail(http.StatusNotFound, "Monitor not found")
		return
	}
	if fault := d.checkMonitor(in); fault != "" {
		c.fail(http.StatusBadRequest, fault)
		return
	}
	c.json(http.StatusOK, map[string]any{})
}

func (d *Datadog) canDeleteMonitors(c *call) {
	ok, errors := []int64{}, map[string][]string{}
	for _, id := range split(c.URL.Query().Get("monitor_ids")) {
		o := d.objects.monitors.find(id)
		switch users := d.users(id); {
		case o == nil:
			errors[id] = []string{"Monitor not found"}
		case len(users) > 0:
			errors[id] = []string{d.referenced(o, users)}
		default:
			ok = append(ok, number64(id))
		}
	}
	if len(errors) > 0 {
		c.json(http.StatusConflict, map[string]any{"data": map[string]any{"ok": ok}, "errors": errors})
		return
	}
	c.json(http.StatusOK, map[string]any{"data": map[string]any{"ok": ok}, "errors": nil})
}

func (d *Datadog) searchMonitors(c *call) {
	want := strings.Fields(c.URL.Query().Get("query"))
	found := []map[string]any{}
	for _, o := range d.listed(c, d.objects.monitors) {
		tags := texts(o.body["tags"])
		if !slices.ContainsFunc(want, func(w string) bool {
			w = strings.Trim(strings.TrimPrefix(w, "tag:"), `"`)
			return !hasAll(tags, []string{w}) && !strings.Contains(text(o.body["name"]), w)
		}) {
			found = append(found, map[string]any{"id": number64(o.id), "name": o.body["name"], "type": o.body["type"], "tags": o.body["tags"], "query": o.body["query"], "status": o.body["overall_state"]})
		}
	}
	size := intOf(c.Request, "per_page", 30)
	number := intOf(c.Request, "page", 0)
	c.json(http.StatusOK, map[string]any{
		"counts": map[string]any{"status": []any{}, "muted": []any{}, "tag": []any{}, "type": []any{}}, "monitors": page(found, number*size, size),
		"metadata": map[string]any{"total_count": len(found), "page_count": (len(found) + max(1, size) - 1) / max(1, size), "page": number, "per_page": size},
	})
}

// monitorQuery is the query of a monitor of metrics, in its parts.
type monitorQuery struct {
	how    string // avg, min, max, sum …: of the buckets in the window
	window time.Duration
	query  string
	op     string
	limit  float64
}

var monitorForm = regexp.MustCompile(`^(avg|min|max|sum|percentile)\((last|current|next)_([0-9]+)(m|h|d|w|mo)\):(.*?)\s*(>=|<=|==|!=|>|<)\s*(-?[0-9][0-9.eE+-]*)\s*$`)

func parseMonitor(query string) (monitorQuery, error) {
	found := monitorForm.FindStringSubmatch(strings.TrimSpace(query))
	if found == nil {
		return monitorQuery{}, fmt.Errorf("unable to parse %s", query)
	}
	n, err := strconv.Atoi(found[3])
	if err != nil {
		return monitorQuery{}, fmt.Errorf("unable to parse %s", query)
	}
	unit := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "mo": 30 * 24 * time.Hour}[found[4]]
	limit, err := strconv.ParseFloat(found[7], 64)
	if err != nil {
		return monitorQuery{}, fmt.Errorf("unable to parse %s", query)
	}
	return monitorQuery{how: found[1], window: time.Duration(n) * unit, query: found[5], op: found[6], limit: limit}, nil
}

// plain reports whether a query is made of what the engine knows: others may be right all the same.
func (m monitorQuery) plain() bool {
	for _, name := range regexp.MustCompile(`([a-z_]+)\(`).FindAllStringSubmatch(m.query, -1) {
		if !functions[name[1]] && !slices.Contains([]string{"as_count", "as_rate", "rollup", "fill", "count"}, name[1]) {
			return false
		}
	}
	return true
}

// MonitorState is what a monitor says of one of its groups.
type MonitorState struct {
	Group []string // "key:value"; nil for a monitor without groups
	Value float64
	Alert bool
}

// Evaluate works out the query of a monitor of metrics at the present. No state at all means that
// it found no data.
func (d *Datadog) Evaluate(query string) ([]MonitorState, error) {
	m, err := parseMonitor(query)
	if err != nil {
		return nil, err
	}
	now := d.Now()
	found, err := d.Query(m.query, now.Add(-m.window), now)
	if err != nil {
		return nil, err
	}
	var out []MonitorState
	for _, r := range found {
		values := make([]float64, len(r.Buckets))
		for i, b := range r.Buckets {
			values[i] = b.Value
		}
		s := MonitorState{Group: r.Group, Value: aggregate(m.how, values)}
		switch m.op {
		case ">":
			s.Alert = s.Value > m.limit
		case ">=":
			s.Alert = s.Value >= m.limit
		case "<":
			s.Alert = s.Value < m.limit
		case "<=":
			s.Alert = s.Value <= m.limit
		case "==":
			s.Alert = s.Value == m.limit
		case "!=":
			s.Alert = s.Value != m.limit
		}
		out = append(out, s)
	}
	return out, nil
}
