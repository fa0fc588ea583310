package datadog

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func toText(v any) string { return fmt.Sprint(v) }

const burning = "max(last_5m):max:slo.alert_burn_ratio{severity:page} by {slo,service} > 1"

func monitor(name string, more map[string]any) map[string]any {
	out := map[string]any{"name": name, "type": "query alert", "query": burning, "message": "m", "tags": []string{"managed_by:yoyu"}, "options": map[string]any{"thresholds": map[string]any{"critical": 1}}}
	for key, value := range more {
		out[key] = value
	}
	return out
}

// What comes back is not what was sent: texts are trimmed, numbers get a point, defaults appear,
// what says nothing goes, and types change into each other.
func TestMonitorsComeBackChanged(t *testing.T) {
	d := Start(t, Options{})
	status, body := ask(t, d, "POST", "/api/v1/monitor", monitor(" burn ", map[string]any{
		"query": burning + "\n", "options": map[string]any{"thresholds": map[string]any{"critical": 1, "warning": nil, "ok": 0}, "escalation_message": "up\n", "on_missing_data": "default"}}))
	if status != 200 {
		t.Fatalf("%d %v", status, body)
	}
	options := mapOf(body["options"])
	if body["name"] != "burn" || body["query"] != burning || options["escalation_message"] != "up" || options["include_tags"] != true || options["new_host_delay"] != 300.0 || options["on_missing_data"] != nil {
		t.Errorf("%v", body)
	}
	if got := fmt.Sprint(options["thresholds"]); got != "map[critical:1]" {
		t.Errorf("thresholds %s", got)
	}
	raw := d.Journal()
	if len(raw) != 1 || !strings.Contains(string(raw[0].Body), `"ok"`) {
		t.Errorf("journal %v", raw)
	}
	if status, body = ask(t, d, "POST", "/api/v1/monitor", monitor("m", map[string]any{"type": "metric alert", "query": "avg(current_1mo):avg:load{*} > 1"})); status != 200 || body["type"] != "query alert" {
		t.Errorf("%d %v", status, body)
	}
}

// A change keeps what is not sent, but replaces options as a whole; a type cannot change.
func TestMonitorUpdates(t *testing.T) {
	d := Start(t, Options{})
	_, made := ask(t, d, "POST", "/api/v1/monitor", monitor("burn", map[string]any{"options": map[string]any{"thresholds": map[string]any{"critical": 1}, "evaluation_delay": 60, "no_data_timeframe": 20}}))
	path := "/api/v1/monitor/" + toText(d.Monitors()[0]["id"])
	status, body := ask(t, d, "PUT", path, map[string]any{"message": "other", "options": map[string]any{"thresholds": map[string]any{"critical": 1}}})
	if status != 200 || body["message"] != "other" || body["query"] != burning || mapOf(body["options"])["evaluation_delay"] != nil || body["creator"] != nil || made["creator"] == nil {
		t.Errorf("%d %v", status, body)
	}
	if status, body = ask(t, d, "PUT", path, map[string]any{"type": "log alert"}); status != 400 || fmt.Sprint(body["errors"]) != "[Monitor type change not allowed]" {
		t.Errorf("another type: %d %v", status, body)
	}
	if status, _ = ask(t, d, "PUT", path, map[string]any{"type": "metric alert"}); status != 200 {
		t.Errorf("the other name of the same type: %d", status)
	}
	if status, _ = ask(t, d, "PUT", "/api/v1/monitor/1", map[string]any{"message": "x"}); status != 404 {
		t.Errorf("nobody: %d", status)
	}
}

func TestMonitorsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		more map[string]any
		want string
	}{
		{"no type", map[string]any{"type": ""}, "The parameter 'type' is required"},
		{"no query", map[string]any{"query": " "}, "The parameter 'query' is required"},
		{"no operator", map[string]any{"query": "query"}, "invalid operator specified"},
		{"no window", map[string]any{"query": "max:slo.burn_rate{*} > 1"}, "unable to parse"},
		{"no filter", map[string]any{"query": "max(last_5m):max:slo.burn_rate > 1"}, "expected {"},
		{"another threshold", map[string]any{"options": map[string]any{"thresholds": map[string]any{"critical": 2}}}, "does not match that used in the query"},
		{"of nobody", map[string]any{"type": "composite", "query": "1 && 2", "options": map[string]any{}}, "was not found"},
		{"an SLO that is not there", map[string]any{"type": "slo alert", "query": `burn_rate("0123456789abcdef0123456789abcdef").over("30d").long_window("1h").short_window("5m") > 14.4`, "options": map[string]any{}}, "was not found"},
		{"a burn rate of no grammar", map[string]any{"type": "slo alert", "query": `burn_rate("x") > 1`, "options": map[string]any{}}, "unable to parse"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Start(t, Options{})
			for _, path := range []string{"/api/v1/monitor/validate", "/api/v1/monitor"} {
				if status, body := ask(t, d, "POST", path, monitor("m", c.more)); status != 400 || !strings.Contains(fmt.Sprint(body["errors"]), c.want) {
					t.Errorf("%s: %d %v, want 400 with %s", path, status, body, c.want)
				}
			}
			if len(d.Monitors()) != 0 {
				t.Error("it is kept all the same")
			}
		})
	}
}

// An identical monitor is refused with the id of the one that is there.
func TestDuplicateMonitors(t *testing.T) {
	d := Start(t, Options{})
	if status, body := ask(t, d, "POST", "/api/v1/monitor", monitor("burn", nil)); status != 200 {
		t.Fatal(body)
	}
	id := toText(d.Monitors()[0]["id"])
	if status, body := ask(t, d, "POST", "/api/v1/monitor", monitor("burn", nil)); status != 400 || !strings.Contains(fmt.Sprint(body["errors"]), "Duplicate of an existing monitor_id:"+id) {
		t.Errorf("%d %v", status, body)
	}
	if status, _ := ask(t, d, "POST", "/api/v1/monitor", monitor("burn", map[string]any{"tags": []string{"managed_by:other"}})); status != 200 {
		t.Errorf("other tags: %d", status)
	}
	other := Start(t, Options{Variant: Variant{NoDedup: true}})
	for range 2 {
		if status, _ := ask(t, other, "POST", "/api/v1/monitor", monitor("burn", nil)); status != 200 {
			t.Errorf("without the check: %d", status)
		}
	}
}

// Composites go before what they are made of.
func TestComposites(t *testing.T) {
	d := Start(t, Options{})
	for _, name := range []string{"a", "b"} {
		if status, body := ask(t, d, "POST", "/api/v1/monitor", monitor(name, nil)); status != 200 {
			t.Fatal(body)
		}
	}
	a, b := toText(d.Monitors()[0]["id"]), toText(d.Monitors()[1]["id"])
	status, body := ask(t, d, "POST", "/api/v1/monitor", map[string]any{"type": "composite", "query": a + " && " + b, "options": map[string]any{"thresholds": map[string]any{}}})
	if status != 200 || mapOf(body["options"])["thresholds"] != nil || body["name"] != a+" && "+b {
		t.Fatalf("%d %v", status, body)
	}
	composite := toText(d.Monitors()[2]["id"])
	if status, body = ask(t, d, "GET", "/api/v1/monitor/can_delete?monitor_ids="+a, nil); status != 409 || !strings.Contains(fmt.Sprint(mapOf(body["errors"])[a]), "is referenced in composite monitors: ["+composite+"]") {
		t.Errorf("%d %v", status, body)
	}
	if status, _ = ask(t, d, "DELETE", "/api/v1/monitor/"+a, nil); status != 400 {
		t.Errorf("a part goes first: %d", status)
	}
	for _, id := range []string{composite, a, b} {
		if status, _ = ask(t, d, "DELETE", "/api/v1/monitor/"+id, nil); status != 200 {
			t.Errorf("%s: %d", id, status)
		}
	}
}

func TestListsOfMonitors(t *testing.T) {
	d := Start(t, Options{})
	for i := range 25 {
		tag := "managed_by:yoyu"
		if i%5 == 0 {
			tag = "managed_by:other"
		}
		if status, body := ask(t, d, "POST", "/api/v1/monitor", monitor(fmt.Sprintf("m%02d", i), map[string]any{"tags": []string{tag, "team:pay"}})); status != 200 {
			t.Fatal(body)
		}
	}
	ids := []int64{}
	for _, m := range d.Monitors() {
		ids = append(ids, m["id"].(int64))
	}
	if !slices.IsSorted(ids) {
		t.Errorf("ids %v", ids)
	}
	for query, want := range map[string]int{
		"": 25, "?monitor_tags=managed_by:yoyu": 20, "?monitor_tags=managed_by:yoyu,team:pay": 20, "?monitor_tags=nobody": 0, "?name=m2": 5, "?page=1&page_size=10": 10, "?page=2&page_size=10": 5, "?page=3&page_size=10": 0,
		fmt.Sprintf("?id_offset=%d&page_size=10", ids[19]): 5, fmt.Sprintf("?id_offset=%d&page_size=3", ids[0]): 3,
	} {
		_, body := ask(t, d, "GET", "/api/v1/monitor"+query, nil)
		if got := strings.Count(body["text"].(string), `"overall_state":`); got != want {
			t.Errorf("%s: %d monitors, want %d", query, got, want)
		}
	}
}

// A monitor is worked out over what is stored.
func TestMonitorsAreWorkedOut(t *testing.T) {
	d := New(Options{})
	for i := range 10 {
		at := d.Now().Add(time.Duration(i-9) * time.Minute)
		d.Seed(Metric{Name: "slo.alert_burn_ratio", Tags: []string{"slo:a", "service:s", "severity:page"}}, Point{At: at, Value: float64(i) / 8})
		d.Seed(Metric{Name: "slo.alert_burn_ratio", Tags: []string{"slo:b", "service:s", "severity:page"}}, Point{At: at, Value: 0.5})
	}
	states, err := d.Evaluate(burning)
	if err != nil || len(states) != 2 || !states[0].Alert || states[0].Value != 9.0/8 || states[1].Alert || !slices.Equal(states[1].Group, []string{"slo:b", "service:s"}) {
		t.Errorf("%v %v", states, err)
	}
	if states, err = d.Evaluate(strings.Replace(burning, "max(last", "min(last", 1)); err != nil || states[0].Alert {
		t.Errorf("at all times: %v %v", states, err)
	}
	d.Advance(time.Hour)
	if states, err = d.Evaluate(burning); err != nil || len(states) != 0 {
		t.Errorf("no data: %v %v", states, err)
	}
}

func board(more map[string]any) map[string]any {
	out := map[string]any{"title": "SLO: Checkout & more", "layout_type": "ordered", "description": "managed_by:yoyu", "widgets": []any{
		map[string]any{"definition": map[string]any{"type": "note", "content": "# A"}},
		map[string]any{"definition": map[string]any{"type": "group", "layout_type": "ordered", "widgets": []any{widget("query1", "query1 * 100")}}},
	}}
	for key, value := range more {
		out[key] = value
	}
	return out
}

func widget(name, formula string) map[string]any {
	return map[string]any{"definition": map[string]any{"type": "timeseries", "requests": []any{map[string]any{"response_format": "timeseries",
		"queries": []any{map[string]any{"data_source": "metrics", "name": name, "query": "max:slo.burn_rate{*}"}}, "formulas": []any{map[string]any{"formula": formula}}}}}}
}

func TestDashboards(t *testing.T) {
	d := Start(t, Options{})
	status, body := ask(t, d, "POST", "/api/v1/dashboard", board(nil))
	if status != 200 {
		t.Fatalf("%d %v", status, body)
	}
	id := text(body["id"])
	inner := mapOf(mapOf(mapOf(body["widgets"].([]any)[1])["definition"])["widgets"].([]any)[0])
	if body["url"] != "/dashboard/"+id+"/slo-checkout--more" || inner["id"] == nil || body["notify_list"] != nil || body["template_variables"] != nil {
		t.Errorf("%v", body)
	}
	// A change replaces everything.
	if status, body = ask(t, d, "PUT", "/api/v1/dashboard/"+id, map[string]any{"title": "t", "layout_type": "ordered", "widgets": []any{}}); status != 200 || body["description"] != nil || body["id"] != id {
		t.Errorf("%d %v", status, body)
	}
	_, body = ask(t, d, "GET", "/api/v1/dashboard", nil)
	if list, _ := body["dashboards"].([]any); len(list) != 1 || mapOf(list[0])["widgets"] != nil || mapOf(list[0])["title"] != "t" {
		t.Errorf("a list shows summaries: %v", body)
	}
	for _, c := range []struct {
		more map[string]any
		want string
	}{
		{map[string]any{"layout_type": ""}, "'layout_type' should be any of these"},
		{map[string]any{"widgets": nil}, "'widgets' is required"},
		{map[string]any{"tags": []string{"managed_by:yoyu"}}, "Invalid tag format. Valid tag keys are: team."},
		{map[string]any{"template_variables": []any{map[string]any{"name": "a", "default": "x", "defaults": []string{"x"}}}}, "'template_variables' is invalid"},
		{map[string]any{"widgets": []any{map[string]any{"definition": map[string]any{"type": "pie"}}}}, "unknown type"},
		{map[string]any{"widgets": []any{map[string]any{"definition": map[string]any{"type": "slo"}}}}, "'view_type' is a required property"},
		{map[string]any{"widgets": []any{widget("query1", "query2")}}, "about query2, which is no query"},
		{map[string]any{"widgets": []any{widget("query1", "100")}}, "about no query"},
	} {
		if status, body := ask(t, d, "POST", "/api/v1/dashboard", board(c.more)); status != 400 || !strings.Contains(fmt.Sprint(body["errors"]), c.want) {
			t.Errorf("%d %v, want 400 with %s", status, body, c.want)
		}
	}
	if status, _ = ask(t, d, "DELETE", "/api/v1/dashboard/"+id, nil); status != 200 {
		t.Errorf("delete: %d", status)
	}
	if status, _ = ask(t, d, "GET", "/api/v1/dashboard/"+id, nil); status != 404 {
		t.Errorf("deleted: %d", status)
	}
}

func objective(more map[string]any) map[string]any {
	out := map[string]any{"name": "checkout", "type": "metric", "tags": []string{"managed_by:yoyu", "a:b", "c:d", "e:f", "g:h"},
		"query":      map[string]any{"numerator": "sum:http.hits{code:200}.as_count()", "denominator": "sum:http.hits{*}.as_count()"},
		"thresholds": []any{map[string]any{"timeframe": "30d", "target": 99.9, "warning": 99.95}, map[string]any{"timeframe": "7d", "target": 99}}}
	for key, value := range more {
		out[key] = value
	}
	return out
}

// SLOs come back as a list from a write and alone from a read, with tags in another order each time.
func TestSLOs(t *testing.T) {
	d := Start(t, Options{})
	status, body := ask(t, d, "POST", "/api/v1/slo", objective(nil))
	list, _ := body["data"].([]any)
	if status != 200 || len(list) != 1 {
		t.Fatalf("%d %v", status, body)
	}
	made := mapOf(list[0])
	id := text(made["id"])
	first := mapOf(made["thresholds"].([]any)[0])
	if len(id) != 32 || made["timeframe"] != "30d" || made["target_threshold"] != 99.9 || first["timeframe"] != "7d" || first["target_display"] != "99." || made["type_id"] != 1.0 {
		t.Errorf("%v", made)
	}
	orders := map[string]bool{}
	for range 10 {
		_, body = ask(t, d, "GET", "/api/v1/slo/"+id, nil)
		orders[fmt.Sprint(mapOf(body["data"])["tags"])] = true
	}
	if len(orders) < 3 {
		t.Errorf("tags come in the orders %v", orders)
	}
	if status, body = ask(t, d, "GET", "/api/v1/slo?tags_query=managed_by:yoyu", nil); status != 200 || len(body["data"].([]any)) != 1 {
		t.Errorf("%d %v", status, body)
	}
	if status, body = ask(t, d, "GET", "/api/v1/slo/search?query=checkout", nil); status != 200 || strings.Contains(fmt.Sprint(body), id) {
		t.Errorf("the search knows it at once: %d %v", status, body)
	}
	d.Advance(2 * time.Minute)
	if _, body = ask(t, d, "GET", "/api/v1/slo/search?query=checkout", nil); !strings.Contains(fmt.Sprint(body), id) {
		t.Errorf("the search never knows it: %v", body)
	}

	// A burn rate above what the target allows can never be.
	alert := func(factor string) map[string]any {
		return map[string]any{"type": "slo alert", "name": "n", "query": `burn_rate("` + id + `").over("30d").long_window("1h").short_window("5m") > ` + factor}
	}
	if status, body = ask(t, d, "POST", "/api/v1/monitor", alert("14.4")); status != 200 {
		t.Errorf("%d %v", status, body)
	}
	if status, body = ask(t, d, "POST", "/api/v1/monitor", alert("1001")); status != 400 || !strings.Contains(fmt.Sprint(body["errors"]), "must be in range 0 to 1000.0 for burn rate alerts") {
		t.Errorf("%d %v", status, body)
	}

	for _, c := range []struct {
		more map[string]any
		want string
	}{
		{map[string]any{"name": ""}, "Minimum length of parameter 'name' should be 1"},
		{map[string]any{"type": "monitor"}, "must specify monitor_ids"},
		{map[string]any{"query": nil}, "must specify the query for count types"},
		{map[string]any{"thresholds": []any{}}, "at least one threshold"},
		{map[string]any{"thresholds": []any{map[string]any{"timeframe": "28d", "target": 99}}}, "timeframe"},
		{map[string]any{"thresholds": []any{map[string]any{"timeframe": "7d", "target": 99, "warning": 98}}}, "warning must be greater"},
		{map[string]any{"query": map[string]any{"numerator": "sum:a", "denominator": "sum:a{*}"}}, "numerator is invalid"},
	} {
		if status, body := ask(t, d, "POST", "/api/v1/slo", objective(c.more)); status != 400 || !strings.Contains(fmt.Sprint(body["errors"]), c.want) {
			t.Errorf("%d %v, want 400 with %s", status, body, c.want)
		}
	}

	// It cannot go while a dashboard shows it, unless one insists.
	shown := map[string]any{"title": "t", "layout_type": "ordered", "widgets": []any{map[string]any{"definition": map[string]any{"type": "slo", "view_type": "detail", "slo_id": id}}}}
	if status, body = ask(t, d, "POST", "/api/v1/dashboard", shown); status != 200 {
		t.Fatal(body)
	}
	if status, body = ask(t, d, "DELETE", "/api/v1/slo/"+id, nil); status != 409 {
		t.Errorf("%d %v", status, body)
	}
	if status, _ = ask(t, d, "DELETE", "/api/v1/slo/"+id+"?force=true", nil); status != 200 {
		t.Errorf("by force: %d", status)
	}
	if status, body = ask(t, d, "GET", "/api/v1/slo/"+id, nil); status != 404 || fmt.Sprint(body["errors"]) != "[SLO not found: "+id+" not found]" {
		t.Errorf("%d %v", status, body)
	}
}

// Formulas are made of a query, and a query of formulas.
func TestTwoWaysToSayAnSLO(t *testing.T) {
	made := specified("sum:a{x:y}.as_count()", "sum:a{x:y}.as_count() + sum:b{*} by {k}.as_count()")
	count := mapOf(made["count"])
	if got := fmt.Sprint(mapOf(count["good_events_formula"])["formula"], " ", mapOf(count["total_events_formula"])["formula"], " ", len(count["queries"].([]any))); got != "query1 (query1 + query2) 2" {
		t.Error(got)
	}
	queries := []any{map[string]any{"name": "query1", "query": "sum:a{*}.as_count()"}, map[string]any{"name": "query2", "query": "sum:b{*}.as_count()"}}
	back := derived(map[string]any{"queries": queries, "good_events_formula": map[string]any{"formula": "query1 - query2"}, "bad_events_formula": map[string]any{"formula": "query2"}})
	if back["denominator"] != "(sum:a{*}.as_count() - sum:b{*}.as_count()) + (sum:b{*}.as_count())" {
		t.Error(back)
	}
}

// The history of an SLO counts what is stored.
func TestHistory(t *testing.T) {
	d := traffic(t)
	served := Start(t, Options{Now: d.Now()})
	served.store = d.store
	_, body := ask(t, served, "POST", "/api/v1/slo", objective(nil))
	id := text(mapOf(body["data"].([]any)[0])["id"])
	_, body = ask(t, served, "GET", "/api/v1/slo/"+id+"/history?from_ts=1767311400&to_ts=1767312000", nil)
	data := mapOf(body["data"])
	if got := mapOf(data["overall"])["sli_value"]; got != 100*5.0/6 {
		t.Errorf("sli %v in %v", got, data)
	}
	if got := mapOf(mapOf(data["series"])["denominator"])["sum"]; got != 1080.0 {
		t.Errorf("%v events, want 1080", got)
	}
}

// Others of the organisation change and delete things, too.
func TestDrift(t *testing.T) {
	d := Start(t, Options{})
	d.Insert("monitor", map[string]any{"id": int64(7), "name": "theirs", "type": "query alert", "tags": []any{}})
	if !d.Change("monitor", "7", map[string]any{"message": "by hand", "tags": nil}) || d.Change("monitor", "8", nil) {
		t.Error("change")
	}
	if _, body := ask(t, d, "GET", "/api/v1/monitor/7", nil); body["message"] != "by hand" || body["tags"] != nil {
		t.Errorf("%v", body)
	}
	d.Remove("monitor", "7")
	if status, _ := ask(t, d, "GET", "/api/v1/monitor/7", nil); status != 404 {
		t.Errorf("%d", status)
	}
}

// Requests that nobody answers, and keys.
func TestWaysAndKeys(t *testing.T) {
	d := Start(t, Options{})
	if status, body := ask(t, d, "GET", "/api/v1/nothing", nil); status != 404 || fmt.Sprint(body["errors"]) != "[Not found]" {
		t.Errorf("%d %v", status, body)
	}
	if status, _ := ask(t, d, "DELETE", "/api/v1/validate", nil); status != 405 {
		t.Errorf("%d", status)
	}
	if status, body := ask(t, d, "GET", "/api/v1/validate", nil); status != 200 || body["valid"] != true {
		t.Errorf("%d %v", status, body)
	}
	d.Rotate([]string{"new"}, nil)
	if status, body := ask(t, d, "GET", "/api/v1/validate", nil); status != 403 || body["status"] != "error" {
		t.Errorf("%d %v", status, body)
	}
	for _, q := range d.Journal() {
		if strings.Contains(fmt.Sprint(q), APIKey) || strings.Contains(fmt.Sprint(q), AppKey) {
			t.Error("the journal holds a key")
		}
	}
	if j := d.Journal(); j[2].Key != "accepted" || j[3].Key != "unknown" {
		t.Errorf("%v", j)
	}
	d.Rotate([]string{APIKey}, []string{"other"})
	if status, _ := ask(t, d, "GET", "/api/v1/monitor", nil); status != 403 {
		t.Errorf("another application key: %d", status)
	}
}

// Corrections belong to one SLO, recur by what the API supports of rules, and no more often than it
// says.
func TestCorrections(t *testing.T) {
	d := Start(t, Options{})
	_, body := ask(t, d, "POST", "/api/v1/slo", objective(nil))
	id := text(mapOf(body["data"].([]any)[0])["id"])
	post := func(attributes map[string]any) (int, string) {
		t.Helper()
		all := map[string]any{"category": "Other", "start": 1767225600}
		for key, value := range attributes {
			all[key] = value
		}
		status, body := ask(t, d, "POST", "/api/v1/slo/correction", map[string]any{"data": map[string]any{"type": "correction", "attributes": all}})
		return status, fmt.Sprint(body["errors"])
	}
	for _, c := range []struct {
		attributes map[string]any
		status     int
		want       string
	}{
		{map[string]any{"slo_id": id, "end": 1767225601}, 200, "nil"},
		{map[string]any{"slo_query": "env:prod", "end": 1767225601}, 200, "nil"},
		{map[string]any{"slo_id": id, "duration": 60, "rrule": "RRULE:FREQ=WEEKLY;BYDAY=MO;INTERVAL=2"}, 200, "nil"},
		{map[string]any{"end": 1767225601}, 400, "exactly one of slo_id and slo_query"},
		{map[string]any{"slo_id": id, "slo_query": "env:prod", "end": 1767225601}, 400, "exactly one of slo_id and slo_query"},
		{map[string]any{"slo_id": strings.Repeat("b", 32), "end": 1767225601}, 404, "SLO not found"},
		{map[string]any{"slo_id": id, "end": 1767225600}, 400, "end must be after start"},
		{map[string]any{"slo_id": id}, 400, "end is required"},
		{map[string]any{"slo_id": id, "rrule": "FREQ=DAILY"}, 400, "duration is required"},
		{map[string]any{"slo_id": id, "duration": 60, "rrule": "FREQ=DAILY;BYHOUR=3"}, 400, "rrule is not supported"},
		{map[string]any{"slo_id": id, "duration": 60, "rrule": "FREQ=HOURLY"}, 400, "rrule is not supported"},
		{map[string]any{"slo_id": id, "end": 1767225601, "category": "Holiday"}, 400, "invalid category"},
		{map[string]any{"slo_id": id, "duration": 60, "rrule": "FREQ=DAILY"}, 200, "nil"},
		{map[string]any{"slo_id": id, "duration": 60, "rrule": "FREQ=DAILY;COUNT=5"}, 200, "nil"},
		{map[string]any{"slo_id": id, "duration": 60, "rrule": "FREQ=DAILY"}, 400, "the maximum number of corrections is reached"},
	} {
		if status, said := post(c.attributes); status != c.status || !strings.Contains(said, c.want) {
			t.Errorf("%v: %d %s, want %d with %s", c.attributes, status, said, c.status, c.want)
		}
	}
}
