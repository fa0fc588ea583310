package datadog

import (
	"fmt"
	"net/http"
	"slices"
)

var categories = []string{"Scheduled Maintenance", "Outside Business Hours", "Deployment", "Other"}

// correctionFields are what a correction says.
var correctionFields = []string{"category", "description", "duration", "end", "rrule", "slo_id", "slo_query", "start", "timezone"}

// attributesOf are the attributes of a body of the kind "correction"; false when it has answered.
func attributesOf(c *call) (map[string]any, bool) {
	in, ok := c.body()
	if !ok {
		return nil, false
	}
	data, _ := in["data"].(map[string]any) // none is no correction
	if text(data["type"]) != "correction" {
		c.fail(http.StatusBadRequest, "API input validation failed: Invalid type. Expected \"correction\".")
		return nil, false
	}
	attributes, ok := data["attributes"].(map[string]any)
	if !ok {
		c.fail(http.StatusBadRequest, "API input validation failed: 'attributes' is a required property")
		return nil, false
	}
	return attributes, true
}

// checkCorrection says what is wrong with one, "" when it may be kept.
func checkCorrection(a map[string]any) string {
	start, ok := asFloat(a["start"]).(float)
	end, ends := asFloat(a["end"]).(float)
	_, lasts := asFloat(a["duration"]).(float)
	rule := text(a["rrule"]) != ""
	switch {
	case text(a["slo_id"]) == "" && text(a["slo_query"]) == "":
		return "one of slo_id and slo_query is required"
	case !slices.Contains(categories, text(a["category"])):
		return "invalid category"
	case !ok:
		return "start is required"
	case rule && !lasts:
		return "duration is required with rrule"
	case !rule && !ends:
		return "end is required without rrule"
	case ends && end <= start:
		return "end must be after start"
	}
	return ""
}

func person() map[string]any {
	const id = "00000000-0000-0000-0000-000000000001"
	return map[string]any{"data": map[string]any{"id": id, "type": "users", "attributes": map[string]any{
		"email": "user@example.com", "handle": "user@example.com", "icon": "https://example.com/icon", "name": "Someone", "uuid": id}}}
}

// shownCorrection is one as an answer shows it. The answer to its creation does not know when it
// was made.
func shownCorrection(o *object, created bool) map[string]any {
	a := cloneMap(o.body)
	id := a["id"]
	delete(a, "id")
	if created {
		a["created_at"], a["modified_at"] = nil, nil
	}
	return map[string]any{"id": id, "type": "correction", "attributes": a}
}

func (d *Datadog) createCorrection(c *call) {
	in, ok := attributesOf(c)
	if !ok {
		return
	}
	if fault := checkCorrection(in); fault != "" {
		c.fail(http.StatusBadRequest, fault)
		return
	}
	if id := text(in["slo_id"]); id != "" && d.objects.slos.find(id) == nil {
		c.fail(http.StatusNotFound, fmt.Sprintf("SLO not found: %s not found", id))
		return
	}
	const h = hexDigits
	now := d.time()
	id := d.randomText(h, 8) + "-" + d.randomText(h, 4) + "-11f1-" + d.randomText(h, 4) + "-" + d.randomText(h, 12)
	body := map[string]any{"id": id, "creator": person(), "created_at": now.Unix(), "modified_at": now.Unix(), "modifier": nil, "description": "", "timezone": "UTC"}
	for _, key := range correctionFields {
		if v, ok := in[key]; ok {
			body[key] = clone(v)
		} else if body[key] == nil && key != "slo_query" {
			body[key] = nil
		}
	}
	o := &object{id: id, created: now, changed: now, body: body}
	d.objects.corrections = append(d.objects.corrections, o)
	c.json(http.StatusOK, map[string]any{"data": shownCorrection(o, true)})
}

// correction finds the one of the path; nil when it has answered.
func (d *Datadog) correction(c *call) *object {
	id := c.PathValue("id")
	o := d.objects.corrections.find(id)
	if o == nil || c.Method == http.MethodGet && d.hidden(c, o) {
		c.fail(http.StatusNotFound, fmt.Sprintf("slo correction public id %s not found", id))
		return nil
	}
	return o
}

func (d *Datadog) getCorrection(c *call) {
	if o := d.correction(c); o != nil {
		c.json(http.StatusOK, map[string]any{"data": shownCorrection(o, false)})
	}
}

func (d *Datadog) updateCorrection(c *call) {
	o := d.correction(c)
	if o == nil {
		return
	}
	in, ok := attributesOf(c)
	if !ok {
		return
	}
	next := cloneMap(o.body)
	for _, key := range correctionFields {
		if v, ok := in[key]; ok && key != "slo_id" {
			next[key] = clone(v)
		}
	}
	if fault := checkCorrection(next); fault != "" {
		c.fail(http.StatusBadRequest, fault)
		return
	}
	next["modified_at"], next["modifier"] = d.time().Unix(), person()
	o.before, o.body, o.changed = o.body, next, d.time()
	c.json(http.StatusOK, map[string]any{"data": shownCorrection(o, false)})
}

func (d *Datadog) deleteCorrection(c *call) {
	if o := d.correction(c); o != nil {
		d.objects.corrections.remove(o.id)
		c.answer.set(http.StatusNoContent, "text/html; charset=utf-8", "")
	}
}

func (d *Datadog) listCorrections(c *call) {
	all := d.listed(c, d.objects.corrections)
	found := page(all, intOf(c.Request, "offset", 0), intOf(c.Request, "limit", 25))
	out := make([]any, 0, len(found))
	for _, o := range found {
		out = append(out, shownCorrection(o, false))
	}
	c.json(http.StatusOK, map[string]any{"data": out, "meta": map[string]any{"page": map[string]any{"total_count": len(all), "total_filtered_count": len(out)}}})
}

// correctionsOf are those of one SLO.
func (d *Datadog) correctionsOf(c *call) {
	o := d.slo(c)
	if o == nil {
		return
	}
	out := []any{}
	for _, one := range d.listed(c, d.objects.corrections) {
		if text(one.body["slo_id"]) == o.id {
			out = append(out, shownCorrection(one, false))
		}
	}
	c.json(http.StatusOK, map[string]any{"data": out, "links": map[string]any{}, "meta": map[string]any{"pagination": map[string]any{
		"first_offset": 0, "last_offset": 0, "limit": 10, "next_offset": 10, "offset": 0, "prev_offset": 0, "total": len(out), "type": "offset_limit"}}})
}
