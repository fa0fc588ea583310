package datadog

import (
	"net/http"
	"strconv"
	"time"
)

// quotas are the limits of an organisation. They are counted in stretches of the calendar, not
// from the first request on, and everybody in the organisation draws on them.
type quotas map[string]*quota

type quota struct {
	limit  int // requests in a period; 0: any number
	period time.Duration
	start  time.Time // of the present stretch
	used   int
	named  bool // the answer says the quota's name
}

// newQuotas are the limits that recorded answers told.
func newQuotas() quotas {
	const s = time.Second
	return quotas{
		"query":                {limit: 1600, period: 3600 * s},
		"query_v2":             {limit: 1600, period: 3600 * s},
		"metrics":              {limit: 1000, period: 3600 * s},
		"metric_metadata":      {limit: 2000, period: 60 * s},
		"post_monitors":        {limit: 500, period: 10 * s, named: true},
		"put_monitors":         {limit: 500, period: 10 * s, named: true},
		"get_all_monitors":     {limit: 1000, period: 10 * s, named: true},
		"get_monitors":         {limit: 3000, period: 10 * s, named: true},
		"global_org":           {limit: 12000, period: 60 * s},
		"slo_create":           {limit: 200, period: 60 * s, named: true},
		"slo_update":           {limit: 200, period: 60 * s, named: true},
		"slo_list":             {limit: 1000, period: 10 * s},
		"slo_get":              {limit: 3000, period: 10 * s},
		"slo_delete":           {limit: 100, period: 10 * s, named: true},
		"slo_check_can_delete": {limit: 100, period: 10 * s, named: true},
		"slo_history":          {limit: 150, period: 10 * s},
		"dashboards":           {limit: 12000, period: 60 * s},
		"dashboards_list":      {limit: 60, period: 60 * s},
	}
}

// take uses one request of a quota and says in the header what is left; false when none was.
func (q quotas) take(name string, now time.Time, header http.Header) bool {
	one := q[name]
	if one == nil || one.limit <= 0 {
		return true
	}
	one.turn(now)
	ok := one.used < one.limit
	if ok {
		one.used++
	}
	header.Set("X-Ratelimit-Limit", strconv.Itoa(one.limit))
	header.Set("X-Ratelimit-Period", strconv.Itoa(int(one.period.Seconds())))
	header.Set("X-Ratelimit-Remaining", strconv.Itoa(max(0, one.limit-one.used)))
	header.Set("X-Ratelimit-Reset", strconv.Itoa(int(one.start.Add(one.period).Sub(now)/time.Second)))
	if one.named {
		header.Set("X-Ratelimit-Name", name)
	}
	return ok
}

// turn begins a new stretch when the old one is over.
func (q *quota) turn(now time.Time) {
	if start := now.Truncate(q.period); !start.Equal(q.start) {
		q.start, q.used = start, 0
	}
}

// Quota sets a limit; 0 lifts it.
func (d *Datadog) Quota(name string, limit int, period time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	named := d.quotas[name] != nil && d.quotas[name].named
	d.quotas[name] = &quota{limit: limit, period: period, named: named}
}

// UseQuota is what others of the organisation ask for in the present stretch of the calendar.
func (d *Datadog) UseQuota(name string, requests int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q := d.quotas[name]; q != nil {
		q.turn(d.time())
		q.used += requests
	}
}
