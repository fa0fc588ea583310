package datadog

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
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
	case (text(a["slo_id"]) == "") == (text(a["slo_query"]) == ""):
		return "exactly one of slo_id and slo_query is required"
	case !slices.Contains(categories, text(a["category"])):
		return "invalid category"
	case !ok:
		return "start is required"
	case rule && !readableRule(text(a["rrule"])):
		return "rrule is not supported"
	case rule && !lasts:
		return "duration is required with rrule"
	case !rule && !ends:
		return "end is required without rrule"
	case ends && end <= start:
		return "end must be after start"
	}
	return ""
}

// ruleParts are the parts of rules that the API says it supports.
var ruleParts = []string{"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY"}

// limits are how many corrections one SLO may have, by what stands in their rules; "" is for those
// without one.
var limits = map[string]int{"": 100, "DAILY": 2, "WEEKLY": 3, "MONTHLY": 5}

// frequency is the FREQ of a rule, "" of none.
func frequency(rule string) string {
	for part := range strings.SplitSeq(strings.TrimPrefix(rule, "RRULE:"), ";") {
		if f, ok := strings.CutPrefix(part, "FREQ="); ok {
			return f
		}
	}
	return ""
}

func readableRule(rule string) bool {
	if _, ok := limits[frequency(rule)]; !ok || frequency(rule) == "" {
		return false
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(rule, "RRULE:"), ";") {
		key, value, ok := strings.Cut(part, "=")
		if !ok || value == "" || !slices.Contains(ruleParts, key) {
			return false
		}
	}
	return true
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
	if f := frequency(text(in["rrule"])); d.corrections(text(in["slo_id"]), f) >= limits[f] {
		c.fail(http.StatusBadRequest, "the maximum number of corrections is reached")
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

// corrections counts those of an SLO with a frequency.
func (d *Datadog) corrections(id, f string) int {
	n := 0
	for _, o := range d.objects.corrections {
		if id != "" && text(o.body["slo_id"]) == id && frequency(text(o.body["rrule"])) == f {
			n++
		}
	}
	return n
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
	found := page(all, intOf(c.Request, "offset", 0), d.atOnce(intOf(c.Request, "limit", 25)))
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
