package datadog

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"
)

const (
	// maxAge is how old a point is sent. Datadog silently loses those of more than an hour, and a
	// request takes its time.
	maxAge = 55 * time.Minute

	// maxAhead is how far ahead of the clock a point is sent: from ten minutes on it is lost.
	maxAhead = 9 * time.Minute

	// spare is how many series are held back at least, however few a report has.
	spare = 10_000
)

// outbox holds the newest value of each series that has not been taken yet. The zero value is
// empty.
type outbox struct {
	points map[string]point // by identity
	now    uint32           // the report that is being put
}

// point is a value at a second.
type point struct {
	at    int64 // Unix seconds
	value float64
	turn  uint32 // the report that it is from
}

// identity is a series in one string: name{tag,tag}. Tags hold no comma and names no brace.
func identity(name string, tags []string) string {
	return name + "{" + strings.Join(tags, ",") + "}"
}

// turn begins a new report.
func (o *outbox) turn() {
	if o.points == nil {
		o.points = map[string]point{}
	}
	o.now++
}

// put takes a value over, unless there is a reason not to. Of two values of one report the first
// stays; one that is newer takes the place of what was held back before.
func (o *outbox) put(id string, at time.Time, value float64, now time.Time) (reason string) {
	before, have := o.points[id]
	switch {
	case have && before.turn == o.now:
		return "merged"
	case math.IsNaN(value) || math.IsInf(value, 0):
		return "nan"
	case now.Sub(at) > maxAge:
		return "too_old"
	case at.Sub(now) > maxAhead:
		return "future"
	case have && before.at > at.Unix():
		before.turn = o.now // the clock stepped back: what is newer stays
		o.points[id] = before
		return ""
	}
	o.points[id] = point{at.Unix(), value, o.now}
	return ""
}

// expire drops what has grown too old, and says how much that was.
func (o *outbox) expire(now time.Time) (dropped int) {
	before := len(o.points)
	oldest := now.Add(-maxAge).Unix()
	maps.DeleteFunc(o.points, func(_ string, p point) bool { return p.at < oldest })
	return before - len(o.points)
}

// shrink drops the oldest points until no more than most are left, and says how many that were.
func (o *outbox) shrink(most int) (dropped int) {
	dropped = len(o.points) - most
	if dropped <= 0 {
		return 0
	}
	ids := slices.SortedFunc(maps.Keys(o.points), func(a, b string) int {
		return int(o.points[a].at - o.points[b].at)
	})
	for _, id := range ids[:dropped] {
		delete(o.points, id)
	}
	return dropped
}

// ids are the series in the outbox in order: neighbours have most of their text in common, and
// compress well.
func (o *outbox) ids() []string { return slices.Sorted(maps.Keys(o.points)) }

// cut is the first part of series that fits into one request.
func (o *outbox) cut(ids []string) (part, rest []string) {
	size := len(`{"series":[]}`)
	for i, id := range ids {
		size += encoded(id)
		if i > 0 && (size > maxInflated || i == maxSeries) {
			return ids[:i], ids[i:]
		}
	}
	return ids, nil
}

// encoded is no less than the length of a series as JSON: the identity, a pair of quotes for each
// tag, a time, the longest of numbers and the names of the fields.
func encoded(id string) int {
	return len(id) + 3*(1+strings.Count(id, ",")) + len(`{"metric":"","points":[[1767312000.000000,-2.2250738585072014e-308]],"tags":[],"type":"gauge"},`)
}

var kind = "gauge"

// series are the series of a part as the client wants them.
func (o *outbox) series(part []string) []datadogV1.Series {
	out := make([]datadogV1.Series, len(part))
	numbers := make([]float64, 2*len(part))
	pairs := make([]*float64, 2*len(part))
	rows := make([][]*float64, len(part))
	for i, id := range part {
		p := o.points[id]
		numbers[2*i], numbers[2*i+1] = float64(p.at), p.value
		pairs[2*i], pairs[2*i+1] = &numbers[2*i], &numbers[2*i+1]
		rows[i] = pairs[2*i : 2*i+2 : 2*i+2]
		name, tags, _ := strings.Cut(strings.TrimSuffix(id, "}"), "{")
		out[i] = datadogV1.Series{Metric: name, Type: &kind, Points: rows[i : i+1 : i+1]}
		if tags != "" {
			out[i].Tags = strings.Split(tags, ",")
		}
	}
	return out
}

// remove forgets what has been taken, or never will be.
func (o *outbox) remove(part []string) {
	for _, id := range part {
		delete(o.points, id)
	}
}
