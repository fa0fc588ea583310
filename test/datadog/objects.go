package datadog

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// objects are what an organisation keeps.
type objects struct {
	monitors, dashboards, slos, corrections shelf
}

// shelf holds the objects of one kind, oldest first.
type shelf []*object

// object is one of them, as it would be answered.
type object struct {
	id      string
	created time.Time
	changed time.Time
	body    map[string]any
	before  map[string]any // its body before the last change, for lists that lag behind
}

func (s shelf) find(id string) *object {
	i := slices.IndexFunc(s, func(o *object) bool { return o.id == id })
	if i < 0 {
		return nil
	}
	return s[i]
}

func (s *shelf) remove(id string) {
	*s = slices.DeleteFunc(*s, func(o *object) bool { return o.id == id })
}

// clone is a deep copy of a JSON value.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = clone(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = clone(value)
		}
		return out
	}
	return v
}

func cloneMap(m map[string]any) map[string]any {
	out, _ := clone(m).(map[string]any) // a map it was
	return out
}

func (d *Datadog) bodies(s shelf) []map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]map[string]any, len(s))
	for i, o := range s {
		out[i] = cloneMap(o.body)
	}
	return out
}

// Monitors are the monitors as stored, oldest first.
func (d *Datadog) Monitors() []map[string]any { return d.bodies(d.shelf("monitor")) }

// Dashboards are the dashboards as stored, oldest first.
func (d *Datadog) Dashboards() []map[string]any { return d.bodies(d.shelf("dashboard")) }

// SLOs are the service level objectives as stored, oldest first.
func (d *Datadog) SLOs() []map[string]any { return d.bodies(d.shelf("slo")) }

// Corrections are the corrections as stored, oldest first.
func (d *Datadog) Corrections() []map[string]any { return d.bodies(d.shelf("correction")) }

func (d *Datadog) shelf(kind string) shelf {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(*d.shelfOf(kind))
}

func (d *Datadog) shelfOf(kind string) *shelf {
	switch kind {
	case "monitor":
		return &d.objects.monitors
	case "dashboard":
		return &d.objects.dashboards
	case "slo":
		return &d.objects.slos
	}
	return &d.objects.corrections
}

// Insert keeps an object that somebody else made, as it is; kind is monitor, dashboard, slo or
// correction, and the body has its id.
func (d *Datadog) Insert(kind string, body map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.shelfOf(kind)
	o := &object{id: fmt.Sprint(body["id"]), created: d.time(), changed: d.time(), body: cloneMap(body)}
	s.remove(o.id)
	*s = append(*s, o)
}

// Change gives fields of an object other values, as a person does by hand: what is nil goes. It
// reports whether there is such an object.
func (d *Datadog) Change(kind, id string, fields map[string]any) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.shelfOf(kind).find(id)
	if o == nil {
		return false
	}
	for key, value := range fields {
		if value == nil {
			delete(o.body, key)
		} else {
			o.body[key] = clone(value)
		}
	}
	return true
}

// Remove deletes an object behind everybody's back.
func (d *Datadog) Remove(kind, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shelfOf(kind).remove(id)
}

func (d *Datadog) nextID() int64 {
	d.lastID += 1 + d.random.Int64N(40)
	return d.lastID
}

const hexDigits = "0123456789abcdef"

func (d *Datadog) randomText(digits string, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = digits[d.random.IntN(len(digits))]
	}
	return string(out)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000+00:00") }

func creator() map[string]any {
	return map[string]any{"email": "user@example.com", "handle": "user@example.com", "name": "Someone"}
}

// texts are the strings of a JSON list.
func texts(v any) []string {
	list, _ := v.([]any) // what is no list has none
	out := make([]string, 0, len(list))
	for _, one := range list {
		if s, ok := one.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func text(v any) string {
	s, _ := v.(string) // what is no text is none
	return s
}

// asFloat makes a JSON number one with a point; anything else stays.
func asFloat(v any) any {
	if n, ok := v.(json.Number); ok {
		if f, err := n.Float64(); err == nil {
			return float(f)
		}
	}
	return v
}

// shuffle gives a list another order, the same for the same seed and call.
func (d *Datadog) shuffle(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	out := slices.Clone(list)
	d.random.Shuffle(len(out), func(i, k int) { out[i], out[k] = out[k], out[i] })
	return out
}

// page cuts a page out of a list.
func page[T any](list []T, start, count int) []T {
	start = min(max(start, 0), len(list))
	return list[start:min(len(list), start+max(count, 0))]
}

// atOnce is how many objects a listing shows that is asked for so many.
func (d *Datadog) atOnce(asked int) int {
	if most := d.options.Variant.Page; most > 0 {
		return min(asked, most)
	}
	return asked
}

func intOf(r *http.Request, name string, otherwise int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return n
	}
	return otherwise
}

// listed applies the faults that lists suffer from, and returns what one shows.
func (d *Datadog) listed(c *call, s shelf) shelf {
	if c.fault != nil && c.fault.Do.list != nil {
		return c.fault.Do.list(d, s)
	}
	return s
}

// hidden reports whether an object is too young to be read.
func (d *Datadog) hidden(c *call, o *object) bool {
	return c.fault != nil && c.fault.Do.young > 0 && d.time().Sub(o.created) < c.fault.Do.young
}

// split is a comma-joined parameter without its empty parts.
func split(joined string) []string {
	return slices.DeleteFunc(strings.Split(joined, ","), func(s string) bool { return s == "" })
}
