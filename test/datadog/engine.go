package datadog

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Result is one series that a query gives.
type Result struct {
	Query    int               // which of the comma-joined queries, from 0
	Group    []string          // "key:value" for every key of by, in its order
	Interval int64             // seconds of a bucket
	Buckets  []Bucket          // oldest first; those without a value are absent
	by       []string          // keys of the grouping
	groups   map[string]string // values by key
	expr     string
	scope    string
	metric   string
	space    string
}

// Bucket is the value of a stretch of time that begins at a whole multiple of its length.
type Bucket struct {
	Start time.Time
	Value float64
}

// maxBuckets is how many a series has at most; a finer interval is silently made coarser.
const maxBuckets = 1500

// maxGap is how far apart two points of a gauge may lie for values to be invented between them.
const maxGap = 5 * time.Minute

// defaultInterval is the length of buckets that a span of time gets.
func defaultInterval(span time.Duration) int64 {
	for _, step := range []struct {
		upTo    time.Duration
		seconds int64
	}{
		{5 * time.Minute, 1}, {15 * time.Minute, 5}, {30 * time.Minute, 10}, {time.Hour, 20}, {2 * time.Hour, 30}, {4 * time.Hour, 60},
		{24*time.Hour + time.Minute, 300}, {48 * time.Hour, 600}, {7 * 24 * time.Hour, 3600},
	} {
		if span <= step.upTo {
			return step.seconds
		}
	}
	return 4 * 3600
}

// rounded are the lengths that a bucket may be raised to.
var rounded = []int64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400}

// bucketLength is the length that a query gets: what it asked for, unless that is too many buckets.
func bucketLength(asked int64, span time.Duration) int64 {
	length := asked
	if length == 0 {
		length = defaultInterval(span)
	}
	least := int64(math.Ceil(span.Seconds() / maxBuckets))
	if length >= least {
		return length
	}
	for _, r := range rounded {
		if r >= least {
			return r
		}
	}
	return least
}

// window is the time that a query is about.
type window struct {
	from, to  time.Time
	inclusive bool // a bucket that begins at to counts: version 1 of the API
	now       time.Time
	force     int64 // seconds of every bucket, whatever was asked for; 0: as asked
}

// Query works out a comma-joined list of queries, at the fake's present.
func (d *Datadog) Query(query string, from, to time.Time) ([]Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.query(query, window{from: from, to: to, inclusive: true, now: d.time()})
}

func (d *Datadog) query(query string, w window) ([]Result, error) {
	list, err := parseQueries(query)
	if err != nil {
		return nil, err
	}
	var out []Result
	for i, e := range list {
		for _, r := range d.eval(e, w, nil) {
			r.Query = i
			out = append(out, r)
		}
	}
	return out, nil
}

// eval works out one expression. A constant alone is no series.
func (d *Datadog) eval(e expression, w window, queries map[string]expression) []Result {
	switch e := e.(type) {
	case *metricQuery:
		return d.metricOf(e, w)
	case named:
		return d.eval(queries[string(e)], w, queries)
	case function:
		return d.evalFunction(e, w, queries)
	case binary:
		return d.evalBinary(e, w, queries)
	}
	return nil
}

func (d *Datadog) evalFunction(f function, w window, queries map[string]expression) []Result {
	if f.name == "default_zero" {
		zero(f.of, queries)
	}
	found := d.eval(f.of, w, queries)
	argument := 0.0
	if len(f.args) > 0 {
		argument, _ = strconv.ParseFloat(f.args[0], 64) // what is no number says how to sort
	}
	for i := range found {
		r := &found[i]
		for k := range r.Buckets {
			v := &r.Buckets[k].Value
			switch f.name {
			case "abs":
				*v = math.Abs(*v)
			case "per_second":
				*v /= float64(r.Interval)
			case "per_minute":
				*v = *v * 60 / float64(r.Interval)
			case "clamp_min":
				*v = max(*v, argument)
			case "clamp_max":
				*v = min(*v, argument)
			}
		}
		r.expr = f.name + "(" + r.expr + ")"
	}
	if f.name == "exclude_null" {
		found = slices.DeleteFunc(found, func(r Result) bool {
			return slices.ContainsFunc(r.Group, func(tag string) bool { return strings.HasSuffix(tag, ":N/A") })
		})
	}
	if n := int(argument); f.name == "top" && n > 0 && len(found) > n {
		mean := func(r Result) float64 {
			sum := 0.0
			for _, b := range r.Buckets {
				sum += b.Value
			}
			return sum / float64(len(r.Buckets))
		}
		slices.SortStableFunc(found, func(a, b Result) int {
			if mean(a) > mean(b) {
				return -1
			}
			return 1
		})
		found = found[:n]
	}
	return found
}

// zero gives default_zero to every metric below.
func zero(e expression, queries map[string]expression) {
	switch e := e.(type) {
	case *metricQuery:
		e.zero = true
	case named:
		zero(queries[string(e)], queries)
	case function:
		zero(e.of, queries)
	case binary:
		zero(e.left, queries)
		zero(e.right, queries)
	}
}

// evalBinary puts series together bucket by bucket. Series with groups meet those of the same
// group, and a series without meets all.
func (d *Datadog) evalBinary(b binary, w window, queries map[string]expression) []Result {
	if n, ok := constant(b.left); ok {
		return mapped(d.eval(b.right, w, queries), func(v float64) float64 { return calculate(b.op, n, v) }, func(text string) string { return "(" + number(n).text() + " " + string(b.op) + " " + text + ")" })
	}
	if n, ok := constant(b.right); ok {
		return mapped(d.eval(b.left, w, queries), func(v float64) float64 { return calculate(b.op, v, n) }, func(text string) string { return "(" + text + " " + string(b.op) + " " + number(n).text() + ")" })
	}
	var out []Result
	right := d.eval(b.right, w, queries)
	for _, l := range d.eval(b.left, w, queries) {
		for _, r := range right {
			if len(l.Group) > 0 && len(r.Group) > 0 && !slices.Equal(l.Group, r.Group) {
				continue
			}
			both := l
			if len(l.Group) == 0 {
				both = r
			}
			both.expr = "(" + l.expr + " " + string(b.op) + " " + r.expr + ")"
			both.space = ""
			both.Buckets = nil
			values := map[time.Time]float64{}
			for _, x := range r.Buckets {
				values[x.Start] = x.Value
			}
			for _, x := range l.Buckets {
				if y, ok := values[x.Start]; ok {
					if v := calculate(b.op, x.Value, y); !math.IsNaN(v) && !math.IsInf(v, 0) {
						both.Buckets = append(both.Buckets, Bucket{x.Start, v})
					}
				}
			}
			if len(both.Buckets) > 0 {
				out = append(out, both)
			}
		}
	}
	return out
}

// constant works out an expression without series.
func constant(e expression) (float64, bool) {
	switch e := e.(type) {
	case number:
		return float64(e), true
	case binary:
		l, ok := constant(e.left)
		r, also := constant(e.right)
		return calculate(e.op, l, r), ok && also
	}
	return 0, false
}

func mapped(all []Result, value func(float64) float64, text func(string) string) []Result {
	for i := range all {
		kept := all[i].Buckets[:0]
		for _, b := range all[i].Buckets {
			if v := value(b.Value); !math.IsNaN(v) && !math.IsInf(v, 0) {
				kept = append(kept, Bucket{b.Start, v})
			}
		}
		all[i].Buckets, all[i].expr, all[i].space = kept, text(all[i].expr), ""
	}
	return slices.DeleteFunc(all, func(r Result) bool { return len(r.Buckets) == 0 })
}

func calculate(op byte, a, b float64) float64 {
	switch op {
	case '+':
		return a + b
	case '-':
		return a - b
	case '*':
		return a * b
	}
	return a / b
}

// metricOf works out one metric: first every series bucket by bucket, then series together.
func (d *Datadog) metricOf(q *metricQuery, w window) []Result {
	length := bucketLength(q.interval, w.to.Sub(w.from))
	if w.force > 0 {
		length = w.force
	}
	first := (w.from.Unix() + length - 1) / length * length
	last := w.to.Unix() / length * length
	if !w.inclusive && last == w.to.Unix() {
		last -= length
	}

	type group struct {
		values []string
		series []map[int64]float64
		pooled map[int64][]float64
		gauge  bool
	}
	groups := map[string]*group{}
	var order []string
	for _, s := range d.store.names[q.metric] {
		tags := s.tagSet()
		if !q.filter(tags) {
			continue
		}
		for _, values := range s.groupValues(q.by) {
			key := strings.Join(values, "\x00")
			g := groups[key]
			if g == nil {
				g = &group{values: values, pooled: map[int64][]float64{}}
				groups[key] = g
				order = append(order, key)
			}
			if s.Type == Distribution {
				s.pool(g.pooled, first, last, length, w)
				continue
			}
			buckets := s.buckets(q, first, last, length, w)
			if len(buckets) > 0 {
				g.series = append(g.series, buckets)
				g.gauge = g.gauge || s.Type == Gauge
			}
		}
	}
	slices.Sort(order)
	var out []Result
	for _, key := range order {
		g := groups[key]
		if g.gauge && !q.asCount && (q.fill == "" || q.fill == "linear") && len(g.series) > 1 {
			for _, buckets := range g.series {
				interpolate(buckets, length)
			}
		}
		merged := together(q, g.series)
		for start, values := range g.pooled {
			if v, ok := q.ofDistribution(values, length); ok {
				merged[start] = v
			}
		}
		if len(merged) == 0 {
			continue
		}
		q.fillIn(merged, first, last, length)
		r := Result{Interval: length, metric: q.metric, space: q.space, by: q.by, groups: map[string]string{}}
		for i, name := range q.by {
			r.Group = append(r.Group, name+":"+g.values[i])
			r.groups[name] = g.values[i]
		}
		scope := q.scope
		if len(r.Group) > 0 {
			if scope == "*" {
				scope = strings.Join(r.Group, ",")
			} else {
				scope += "," + strings.Join(r.Group, ",")
			}
		}
		r.scope = scope
		named := *q
		named.scope = scope
		r.expr = named.text()
		starts := make([]int64, 0, len(merged))
		for start := range merged {
			starts = append(starts, start)
		}
		slices.Sort(starts)
		for _, start := range starts {
			r.Buckets = append(r.Buckets, Bucket{time.Unix(start, 0).UTC(), merged[start]})
		}
		out = append(out, r)
	}
	return out
}

// tagSet are the tags of a series for filters; the host is one of them.
func (s *Series) tagSet() map[string]bool {
	out := make(map[string]bool, len(s.Tags)+1)
	for _, tag := range s.Tags {
		out[tag] = true
	}
	if s.Host != "" {
		out["host:"+s.Host] = true
	}
	return out
}

// groupValues are the groups that a series belongs to: more than one where a key has several
// values. A series without the key is in the group "N/A".
func (s *Series) groupValues(by []string) [][]string {
	out := [][]string{nil}
	for _, name := range by {
		var values []string
		for _, tag := range s.Tags {
			if value, ok := strings.CutPrefix(tag, name+":"); ok {
				values = append(values, value)
			}
		}
		if name == "host" && s.Host != "" {
			values = append(values, s.Host)
		}
		if len(values) == 0 {
			values = []string{"N/A"}
		}
		var next [][]string
		for _, have := range out {
			for _, v := range values {
				next = append(next, append(slices.Clone(have), v))
			}
		}
		out = next
	}
	return out
}

// seen calls f for every point of the wanted time that a query can see now.
func (s *Series) seen(first, last, length int64, w window, f func(start int64, p *Point)) {
	i, _ := slices.BinarySearchFunc(s.Points, first, func(p Point, at int64) int {
		return int(p.At.Unix() - at)
	})
	for ; i < len(s.Points); i++ {
		p := &s.Points[i]
		at := p.At.Unix()
		if at >= last+length || p.At.After(w.to) {
			return
		}
		for p != nil && p.Visible.After(w.now) {
			p = p.before
		}
		if p != nil {
			f(at/length*length, p)
		}
	}
}

// buckets puts the points of one series together, bucket by bucket.
func (s *Series) buckets(q *metricQuery, first, last, length int64, w window) map[int64]float64 {
	method := q.rollup
	if method == "" {
		method = "avg"
		if q.asCount {
			method = "sum"
		}
	}
	found := map[int64][]float64{}
	s.seen(first, last, length, w, func(start int64, p *Point) {
		v := p.Value
		switch {
		case s.Type == Rate && q.asCount:
			v *= float64(max(1, s.Interval))
		case s.Type == Count && q.asRate:
			v /= float64(max(1, s.Interval))
		}
		found[start] = append(found[start], v)
	})
	out := make(map[int64]float64, len(found))
	for start, values := range found {
		out[start] = aggregate(method, values)
	}
	return out
}

// pool gathers the single values of a distribution.
func (s *Series) pool(into map[int64][]float64, first, last, length int64, w window) {
	s.seen(first, last, length, w, func(start int64, p *Point) {
		into[start] = append(into[start], p.Values...)
	})
}

// interpolate invents values between two that are not far apart.
func interpolate(buckets map[int64]float64, length int64) {
	starts := make([]int64, 0, len(buckets))
	for start := range buckets {
		starts = append(starts, start)
	}
	slices.Sort(starts)
	for i := 1; i < len(starts); i++ {
		a, b := starts[i-1], starts[i]
		if time.Duration(b-a)*time.Second > maxGap {
			continue
		}
		for at := a + length; at < b; at += length {
			buckets[at] = buckets[a] + (buckets[b]-buckets[a])*float64(at-a)/float64(b-a)
		}
	}
}

// together puts the series of a group together.
func together(q *metricQuery, series []map[int64]float64) map[int64]float64 {
	found := map[int64][]float64{}
	for _, buckets := range series {
		for start, v := range buckets {
			found[start] = append(found[start], v)
		}
	}
	out := make(map[int64]float64, len(found))
	for start, values := range found {
		slices.Sort(values) // sums do not depend on the order of a map
		out[start] = aggregate(q.space, values)
	}
	return out
}

func aggregate(how string, values []float64) float64 {
	switch how {
	case "sum":
		return sum(values)
	case "min":
		return slices.Min(values)
	case "max":
		return slices.Max(values)
	case "count":
		return float64(len(values))
	}
	if share, err := percentile(how); err == nil {
		return quantile(values, share)
	}
	return sum(values) / float64(len(values))
}

func sum(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total
}

// quantile is the smallest value that a share of all is not above.
func quantile(values []float64, share float64) float64 {
	values = slices.Sorted(slices.Values(values))
	i := int(math.Ceil(share*float64(len(values)))) - 1
	return values[min(max(i, 0), len(values)-1)]
}

// ofDistribution works out a bucket of pooled values.
func (q *metricQuery) ofDistribution(values []float64, length int64) (float64, bool) {
	if len(values) == 0 {
		return 0, false
	}
	if q.below == nil {
		v := aggregate(q.space, values)
		if q.space == "count" && q.asRate {
			v /= float64(length)
		}
		return v, true
	}
	n := 0
	for _, v := range values {
		if q.below.holds(v) {
			n++
		}
	}
	return float64(n), true
}

func (c *condition) holds(v float64) bool {
	switch c.op {
	case "<":
		return v < c.value
	case "<=":
		return v <= c.value
	case ">":
		return v > c.value
	}
	return v >= c.value
}

// fillIn gives buckets without a value what the query asks for.
func (q *metricQuery) fillIn(buckets map[int64]float64, first, last, length int64) {
	value, ok := 0.0, q.zero || q.fill == "zero"
	if isNumber(q.fill) {
		value, _ = strconv.ParseFloat(q.fill, 64) // it is one
		ok = true
	}
	before, have := 0.0, false
	for at := first; at <= last; at += length {
		v, found := buckets[at]
		switch {
		case found:
			before, have = v, true
		case ok:
			buckets[at] = value
		case q.fill == "last" && have:
			buckets[at] = before
		}
	}
}
