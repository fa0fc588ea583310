package datadog

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	timeframes = []string{"7d", "30d", "90d"}
	typeIDs    = map[string]int{"monitor": 0, "metric": 1, "time_slice": 2}
)

// checkSLO says what is wrong with an SLO, "" when it may be kept; kept is the type of the one
// that it takes the place of.
func checkSLO(body map[string]any, kept string) string {
	const wrong = "Invalid payload: "
	kind := text(body["type"])
	if text(body["name"]) == "" {
		return wrong + "Minimum length of parameter 'name' should be 1"
	}
	if _, ok := typeIDs[kind]; !ok {
		return wrong + "Value of parameter 'type' should be any of these ['metric', 'monitor', 'time_slice']"
	}
	list, ok := body["thresholds"].([]any)
	if !ok || len(list) == 0 {
		return wrong + "must specify at least one threshold"
	}
	for _, one := range list {
		t, _ := one.(map[string]any) // no object has no target
		target, ok := asFloat(t["target"]).(float)
		if !ok || target <= 0 || target > 100 {
			return wrong + "thresholds: target must be between 0 and 100"
		}
		if !slices.Contains(timeframes, text(t["timeframe"])) {
			return wrong + "thresholds: Value of parameter 'timeframe' should be any of these ['7d', '30d', '90d']"
		}
		if warning, ok := asFloat(t["warning"]).(float); ok && warning <= target {
			return wrong + "thresholds: warning must be greater than target"
		}
		if kind == "metric" && decimals(t["target"]) > 3 {
			return wrong + "thresholds: target must have at most 3 decimals"
		}
	}
	specification, _ := body["sli_specification"].(map[string]any) // there may be none
	query, _ := body["query"].(map[string]any)                     // and none of these
	if kept != "" && kept != kind {
		// The real one looks for what the kept type needs, and finds it missing.
		kind = kept
	}
	switch kind {
	case "metric":
		if query == nil && specification["count"] == nil {
			return wrong + "must specify the query for count types"
		}
		if query != nil && specification["count"] == nil {
			for _, part := range []string{"numerator", "denominator"} {
				if text(query[part]) == "" {
					return wrong + "must specify the " + part + " of the query"
				}
				if _, err := parseQueries(text(query[part])); err != nil {
					return wrong + "query." + part + " is invalid: " + err.Error()
				}
			}
		}
		if count, ok := specification["count"].(map[string]any); ok {
			return checkFormulas(count, wrong)
		}
	case "monitor":
		if ids, ok := body["monitor_ids"].([]any); !ok || len(ids) == 0 {
			return wrong + "must specify monitor_ids"
		}
	case "time_slice":
		if _, ok := specification["time_slice"].(map[string]any); !ok {
			return wrong + "must specify the sli_specification for time slice types"
		}
	}
	return ""
}

func checkFormulas(count map[string]any, wrong string) string {
	names := map[string]bool{}
	list, _ := count["queries"].([]any) // none are none
	for _, one := range list {
		q, _ := one.(map[string]any) // no object has no query
		if _, err := parseQueries(text(q["query"])); err != nil {
			return wrong + "sli_specification is invalid: " + err.Error()
		}
		names[text(q["name"])] = true
	}
	found := 0
	for _, part := range []string{"good_events_formula", "bad_events_formula", "total_events_formula"} {
		f, ok := count[part].(map[string]any)
		if !ok {
			continue
		}
		found++
		if _, err := parseFormula(text(f["formula"]), names); err != nil {
			return wrong + "sli_specification." + part + " is invalid: " + err.Error()
		}
	}
	if found != 2 {
		return wrong + "sli_specification needs two of good, bad and total events"
	}
	return ""
}

func decimals(v any) int {
	_, after, _ := strings.Cut(fmt.Sprint(v), ".")
	return len(strings.TrimRight(after, "0"))
}

// display is a percentage as an SLO shows it: "99." and "99.5".
func display(v any) any {
	f, ok := asFloat(v).(float)
	if !ok {
		return nil
	}
	out := strconv.FormatFloat(float64(f), 'f', -1, 64)
	if !strings.Contains(out, ".") {
		out += "."
	}
	return out
}

// metricTerm is one metric of a query with its methods.
var metricTerm = regexp.MustCompile(`(?:[a-z0-9]+:)?[A-Za-z][A-Za-z0-9_.]*\{[^}]*\}(?: ?by ?\{[^}]*\})?(?:\.[a-z_]+\([^)]*\))*`)

// specified makes formulas of a query of two texts.
func specified(numerator, denominator string) map[string]any {
	var queries []any
	names := map[string]string{}
	formula := func(query string) map[string]any {
		out := metricTerm.ReplaceAllStringFunc(query, func(term string) string {
			if names[term] == "" {
				names[term] = "query" + strconv.Itoa(len(queries)+1)
				queries = append(queries, map[string]any{"data_source": "metrics", "name": names[term], "query": term})
			}
			return names[term]
		})
		known := map[string]bool{}
		for _, name := range names {
			known[name] = true
		}
		if e, err := parseFormula(out, known); err == nil {
			out = e.text() // parentheses as the real one sets them
		}
		return map[string]any{"formula": out}
	}
	good, total := formula(numerator), formula(denominator)
	return map[string]any{"count": map[string]any{"good_events_formula": good, "total_events_formula": total, "queries": queries}}
}

// derived makes a query of two texts of formulas.
func derived(count map[string]any) map[string]any {
	terms := map[string]string{}
	list, _ := count["queries"].([]any) // checked before
	for _, one := range list {
		q, _ := one.(map[string]any) // checked before
		terms[text(q["name"])] = text(q["query"])
	}
	spell := func(part string) string {
		f, _ := count[part].(map[string]any) // what is missing is ""
		return formulaName.ReplaceAllStringFunc(text(f["formula"]), func(name string) string {
			if terms[name] != "" {
				return terms[name]
			}
			return name
		})
	}
	good, bad, total := spell("good_events_formula"), spell("bad_events_formula"), spell("total_events_formula")
	switch {
	case total == "":
		total = "(" + good + ") + (" + bad + ")"
	case good == "":
		good = "(" + total + ") - (" + bad + ")"
	}
	return map[string]any{"numerator": good, "denominator": total}
}

// storedSLO makes of what was sent what is kept.
func storedSLO(in map[string]any) map[string]any {
	kind := text(in["type"])
	out := map[string]any{"description": "", "monitor_tags": []any{}, "tags": []any{}, "type_id": typeIDs[kind]}
	for _, key := range []string{"name", "type", "description", "tags", "groups", "monitor_ids", "query", "sli_specification", "timeframe", "target_threshold", "warning_threshold"} {
		if v, ok := in[key]; ok && v != nil {
			out[key] = clone(v)
		}
	}
	list, _ := in["thresholds"].([]any) // checked before
	var thresholds []any
	for _, one := range list {
		t, _ := one.(map[string]any) // checked before
		kept := map[string]any{"timeframe": t["timeframe"], "target": asFloat(t["target"]), "target_display": display(t["target"])}
		if t["warning"] != nil {
			kept["warning"], kept["warning_display"] = asFloat(t["warning"]), display(t["warning"])
		}
		thresholds = append(thresholds, kept)
	}
	slices.SortStableFunc(thresholds, func(a, b any) int { return span(a) - span(b) })
	out["thresholds"] = thresholds
	if out["timeframe"] == nil {
		first, _ := list[0].(map[string]any) // checked before
		out["timeframe"], out["target_threshold"] = first["timeframe"], first["target"]
		if first["warning"] != nil {
			out["warning_threshold"] = first["warning"]
		}
	}
	switch specification, _ := out["sli_specification"].(map[string]any); kind {
	case "metric":
		if count, ok := specification["count"].(map[string]any); ok {
			out["query"] = derived(count)
		} else if query, ok := out["query"].(map[string]any); ok {
			out["sli_specification"] = specified(text(query["numerator"]), text(query["denominator"]))
		}
	case "time_slice":
		if slice, ok := specification["time_slice"].(map[string]any); ok && slice["query_interval_seconds"] == nil {
			slice["query_interval_seconds"] = 300
		}
	}
	return out
}

func span(threshold any) int {
	t, _ := threshold.(map[string]any) // made above
	return slices.Index(timeframes, text(t["timeframe"]))
}

// shown is an SLO as one answer shows it: the order of tags is another every time, and a single
// read has numbers with a point where a write has them as they were sent.
func (d *Datadog) shown(o *object, read bool) map[string]any {
	out := cloneMap(o.body)
	out["tags"] = d.shuffle(out["tags"])
	if read {
		for _, key := range []string{"target_threshold", "warning_threshold"} {
			if out[key] != nil {
				out[key] = asFloat(out[key])
			}
		}
	}
	return out
}

func (d *Datadog) createSLO(c *call) {
	in, ok := c.body()
	if !ok {
		return
	}
	if fault := checkSLO(in, ""); fault != "" {
		c.fail(http.StatusBadRequest, fault)
		return
	}
	now := d.time()
	body := storedSLO(in)
	body["id"], body["creator"] = d.randomText(hexDigits, 32), creator()
	body["created_at"], body["modified_at"] = now.Unix(), now.Unix()
	o := &object{id: text(body["id"]), created: now, changed: now, body: body}
	d.objects.slos = append(d.objects.slos, o)
	c.json(http.StatusOK, map[string]any{"data": []any{d.shown(o, false)}, "error": nil})
}

// slo finds the one of the path; nil when it has answered.
func (d *Datadog) slo(c *call) *object {
	id := c.PathValue("id")
	o := d.objects.slos.find(id)
	if o == nil || c.Method == http.MethodGet && d.hidden(c, o) {
		c.fail(http.StatusNotFound, fmt.Sprintf("SLO not found: %s not found", id))
		return nil
	}
	return o
}

func (d *Datadog) getSLO(c *call) {
	o := d.slo(c)
	if o == nil {
		return
	}
	body := d.shown(o, true)
	if c.URL.Query().Get("with_configured_alert_ids") == "true" {
		body["configured_alert_ids"] = d.alertsOn(o.id)
	}
	c.json(http.StatusOK, map[string]any{"data": body, "error": nil})
}

// alertsOn are the monitors about an SLO.
func (d *Datadog) alertsOn(id string) []int64 {
	out := []int64{}
	for _, o := range d.objects.monitors {
		if text(o.body["type"]) == "slo alert" && strings.Contains(text(o.body["query"]), id) {
			out = append(out, number64(o.id))
		}
	}
	return out
}

func (d *Datadog) updateSLO(c *call) {
	in, ok := c.body()
	if !ok {
		return
	}
	// A body that can never be right is refused before the SLO is looked for.
	kept := ""
	o := d.objects.slos.find(c.PathValue("id"))
	if o != nil {
		kept = text(o.body["type"])
	}
	if fault := checkSLO(in, kept); fault != "" {
		c.fail(http.StatusBadRequest, fault)
		return
	}
	if o = d.slo(c); o == nil {
		return
	}
	body := storedSLO(in)
	for _, key := range []string{"id", "creator", "created_at"} {
		body[key] = o.body[key]
	}
	body["modified_at"] = d.time().Unix()
	o.before, o.body, o.changed = o.body, body, d.time()
	c.json(http.StatusOK, map[string]any{"data": []any{d.shown(o, false)}, "error": nil})
}

// shows are the dashboards with a widget about an SLO.
func (d *Datadog) shows(id string) bool {
	var has func(v any) bool
	has = func(v any) bool {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if key == "slo_id" && text(value) == id || has(value) {
					return true
				}
			}
		case []any:
			return slices.ContainsFunc(v, has)
		}
		return false
	}
	return slices.ContainsFunc(d.objects.dashboards, func(o *object) bool { return has(o.body["widgets"]) })
}

func (d *Datadog) deleteSLO(c *call) {
	o := d.slo(c)
	if o == nil {
		return
	}
	if d.shows(o.id) && c.URL.Query().Get("force") != "true" {
		c.json(http.StatusConflict, map[string]any{"data": nil, "errors": map[string]any{o.id: fmt.Sprintf("slo '%s' is referenced in a dashboard", o.id)}})
		return
	}
	d.objects.slos.remove(o.id)
	c.json(http.StatusOK, map[string]any{"data": []string{o.id}, "error": nil})
}

func (d *Datadog) listSLOs(c *call) {
	q := c.URL.Query()
	all := d.listed(c, d.objects.slos)
	if q.Has("ids") {
		ids := split(q.Get("ids"))
		var found shelf
		for i, id := range ids {
			if slices.Contains(ids[:i], id) {
				c.fail(http.StatusBadRequest, "All items in parameter 'True' must be unique")
				return
			}
			if o := all.find(id); o != nil {
				found = append(found, o)
			}
		}
		if len(found) == 0 {
			c.fail(http.StatusNotFound, "no SLOs found for ids: "+strings.Join(ids, ", "))
			return
		}
		all = found
	}
	var found shelf
	for _, o := range all {
		if hasAll(texts(o.body["tags"]), split(q.Get("tags_query"))) && strings.Contains(strings.ToLower(text(o.body["name"])), strings.ToLower(q.Get("query"))) {
			found = append(found, o)
		}
	}
	total := len(found)
	found = page(found, intOf(c.Request, "offset", 0), d.atOnce(intOf(c.Request, "limit", 1000)))
	out := make([]any, 0, len(found))
	for _, o := range found {
		out = append(out, d.shown(o, true))
	}
	c.json(http.StatusOK, map[string]any{"data": out, "error": nil, "metadata": map[string]any{"page": map[string]any{"total_count": total, "total_filtered_count": len(out)}}})
}

// searchSLOs knows an SLO only some time after it was made.
func (d *Datadog) searchSLOs(c *call) {
	words := strings.Fields(strings.ReplaceAll(c.URL.Query().Get("query"), " AND ", " "))
	found := []any{}
	for _, o := range d.listed(c, d.objects.slos) {
		if d.time().Sub(o.created) >= indexed && !slices.ContainsFunc(words, func(w string) bool {
			return !hasAll(texts(o.body["tags"]), []string{w}) && !strings.Contains(text(o.body["name"]), w)
		}) {
			found = append(found, map[string]any{"data": map[string]any{"id": o.id, "type": "slo", "attributes": map[string]any{
				"name": o.body["name"], "all_tags": o.body["tags"], "slo_type": o.body["type"], "created_at": o.body["created_at"]}}})
		}
	}
	facets := map[string]any{}
	for _, name := range []string{"all_tags", "creator_name", "env_tags", "service_tags", "slo_type", "target", "team_tags", "timeframe"} {
		facets[name] = []any{}
	}
	size := intOf(c.Request, "page[size]", 10)
	number := intOf(c.Request, "page[number]", 0)
	c.json(http.StatusOK, map[string]any{
		"data": map[string]any{"type": "", "attributes": map[string]any{"facets": facets, "slos": page(found, number*size, size)}},
		"meta": map[string]any{"pagination": map[string]any{"total": len(found), "number": number, "size": size, "first_number": 0, "last_number": max(0, (len(found)-1)/max(1, size)),
			"next_number": number + 1, "prev_number": max(0, number-1), "type": "number_size"}},
		"links": map[string]any{}})
}

// indexed is how long it takes until the search knows an SLO.
const indexed = time.Minute

func (d *Datadog) canDeleteSLOs(c *call) {
	ok, denied, errors := []string{}, []string{}, map[string]any{}
	for _, id := range split(c.URL.Query().Get("ids")) {
		if d.shows(id) {
			denied = append(denied, id)
			errors[id] = fmt.Sprintf("slo '%s' is referenced in a dashboard", id)
		} else {
			ok = append(ok, id)
		}
	}
	out := map[string]any{"data": map[string]any{"ok": ok, "denied_ids": denied}, "errors": nil}
	status := http.StatusOK
	if len(denied) > 0 {
		out["errors"], status = errors, http.StatusConflict
	}
	c.json(status, out)
}

// bulkDeleteSLOs deletes time frames, and SLOs that have none left.
func (d *Datadog) bulkDeleteSLOs(c *call) {
	in, ok := c.body()
	if !ok {
		return
	}
	if len(in) == 0 {
		c.fail(http.StatusBadRequest, "'1' is invalid")
		return
	}
	deleted, updated, errors := []string{}, []string{}, []any{}
	for id, v := range in {
		o := d.objects.slos.find(id)
		if o == nil {
			errors = append(errors, map[string]any{"id": id, "message": "SLO not found", "timeframe": "all"})
			continue
		}
		gone := texts(v)
		list, _ := o.body["thresholds"].([]any) // every SLO has them
		list = slices.DeleteFunc(list, func(t any) bool {
			frame, _ := t.(map[string]any) // made when it was stored
			return slices.Contains(gone, text(frame["timeframe"]))
		})
		o.body["thresholds"] = list
		if len(list) == 0 {
			d.objects.slos.remove(id)
			deleted = append(deleted, id)
		} else {
			updated = append(updated, id)
		}
	}
	slices.Sort(deleted)
	slices.Sort(updated)
	c.json(http.StatusOK, map[string]any{"data": map[string]any{"deleted": deleted, "updated": updated}, "errors": errors})
}

// aboutSLO answers what stands below an SLO.
func (d *Datadog) aboutSLO(c *call) {
	switch c.PathValue("what") {
	case "history":
		d.history(c)
	case "corrections":
		d.correctionsOf(c)
	default:
		c.fail(http.StatusNotFound, "Not found")
	}
}

// historyStep is the length of a history's buckets, in seconds.
const historyStep = 7200

// history counts the events of an SLO over a span.
func (d *Datadog) history(c *call) {
	id := c.PathValue("id")
	o := d.objects.slos.find(id)
	if o == nil {
		c.fail(http.StatusNotFound, fmt.Sprintf("SLO ID: %s not found", id))
		return
	}
	q := c.URL.Query()
	from, to := number64(q.Get("from_ts")), number64(q.Get("to_ts"))
	if from <= 0 || to <= from {
		c.fail(http.StatusBadRequest, fmt.Sprintf("The timeframe is incorrect: invalid from %s or to %s timestamp", q.Get("from_ts"), q.Get("to_ts")))
		return
	}
	thresholds := map[string]any{}
	list, _ := o.body["thresholds"].([]any) // every SLO has them
	for _, one := range list {
		t, _ := one.(map[string]any) // made when it was stored
		thresholds[text(t["timeframe"])] = t
	}
	precision := map[string]any{}
	for frame := range thresholds {
		precision[frame] = 0
	}
	overall := map[string]any{"corrections": []any{}, "errors": []any{}, "precision": precision, "sli_value": nil, "uptime": nil, "span_precision": 2}
	data := map[string]any{"from_ts": from, "to_ts": to, "group_by": []any{}, "overall": overall, "slo": d.shown(o, true), "thresholds": thresholds, "type": o.body["type"], "type_id": o.body["type_id"]}
	query, ok := o.body["query"].(map[string]any)
	if !ok {
		for frame := range thresholds {
			precision[frame] = 2
		}
		precision["custom"] = 0
		data["overall"] = map[string]any{"corrections": []any{}, "precision": precision,
			"errors": []any{map[string]any{"error_message": "No results found for this monitor", "error_type": "NO_RESULTS"}}}
		delete(data, "group_by")
		c.json(http.StatusOK, map[string]any{"data": data, "errors": nil})
		return
	}
	times := []float{float(from / 300 * 300 * 1000)}
	for at := (from/historyStep + 1) * historyStep; at < to; at += historyStep {
		times = append(times, float(at*1000))
	}
	good := d.counted(text(query["numerator"]), 0, from, to, times)
	total := d.counted(text(query["denominator"]), 1, from, to, times)
	numerator, denominator := "default_zero("+text(query["numerator"])+")", "default_zero("+text(query["denominator"])+")"
	series := map[string]any{"times": times, "interval": historyStep, "from_date": from * 1000, "to_date": to * 1000, "res_type": "time_series", "resp_version": 2, "message": "",
		"query": numerator + ", " + denominator, "numerator": good, "denominator": total, "numerator_query": numerator, "denominator_query": denominator,
		"bad_series_query": denominator + " - " + numerator, "graph_query": numerator + ", " + denominator + " - " + numerator}
	data["series"] = series
	if all := float64(total["sum"].(float)); all > 0 {
		share := 100 * float64(good["sum"].(float)) / all
		overall["sli_value"], overall["uptime"] = share, share
	} else {
		overall["errors"] = []any{map[string]any{"error_message": "The denominator is zero valued", "error_type": "ZERO_VALUED_DENOMINATOR"}}
	}
	c.json(http.StatusOK, map[string]any{"data": data, "errors": nil})
}

// counted sums a query up into buckets that begin at times.
func (d *Datadog) counted(query string, index int, from, to int64, times []float) map[string]any {
	values := make([]float, len(times))
	sum := 0.0
	list, err := parseQueries(query)
	about := map[string]any{"expression": "default_zero(" + query + ")", "aggr": "sum", "unit": nil, "tag_set": []any{}, "query_index": index, "metric": nil, "scope": nil}
	if err == nil {
		if m, ok := list[0].(*metricQuery); ok {
			about["metric"], about["scope"] = "default_zero("+m.metric+")", m.scope
		}
	}
	if err == nil {
		w := window{from: time.Unix(from, 0), to: time.Unix(to, 0), now: d.time(), force: 60}
		for _, e := range list {
			for _, r := range d.eval(e, w, nil) {
				for _, b := range r.Buckets {
					i, found := slices.BinarySearch(times, float(b.Start.UnixMilli()))
					if !found {
						i--
					}
					values[max(i, 0)] += float(b.Value)
					sum += b.Value
				}
			}
		}
	}
	return map[string]any{"count": len(times), "sum": float(sum), "values": values, "metadata": about}
}
