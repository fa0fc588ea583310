package cloudwatch

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	mostQueries = 500
	mostPoints  = 100800
	listPage    = 500
	day         = 24 * time.Hour
)

// Metric is one metric by its name.
type Metric struct {
	Namespace  string
	Name       string
	Dimensions map[string]string
}

func (m Metric) wire() metric {
	out := metric{Namespace: m.Namespace, MetricName: m.Name}
	for _, name := range slices.Sorted(maps.Keys(m.Dimensions)) {
		out.Dimensions = append(out.Dimensions, dimension{name, m.Dimensions[name]})
	}
	return out
}

// Datum is what is published of one minute.
type Datum struct {
	At      time.Time // within the minute
	Sum     float64
	Count   float64
	Values  []float64 // single values, for percentile statistics; nil: a statistic set, which has none
	Visible time.Time // from when on queries see it; zero: when its minute is over and Options.Visible has passed
}

type series struct {
	metric metric
	data   map[int64][]Datum // by minute, Unix seconds
}

// Put publishes data. More of one minute is added to what is there.
func (c *Cloud) Put(m Metric, data ...Datum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wire := m.wire()
	s := c.metrics[wire.key()]
	if s == nil {
		s = &series{metric: wire, data: map[int64][]Datum{}}
		c.metrics[wire.key()] = s
	}
	for _, d := range data {
		if d.Values != nil {
			d.Sum, d.Count = 0, float64(len(d.Values))
			for _, v := range d.Values {
				d.Sum += v
			}
		}
		minute := d.At.Truncate(time.Minute)
		if d.Visible.IsZero() {
			d.Visible = minute.Add(time.Minute + c.options.Visible)
		}
		s.data[minute.Unix()] = append(s.data[minute.Unix()], d)
	}
}

// Count publishes whole events, each with the value 1, as load balancers do.
func (c *Cloud) Count(m Metric, at time.Time, n int) {
	c.Put(m, Datum{At: at, Sum: float64(n), Count: float64(n)})
}

// kept is for how long points of a period are there.
func kept(period int32) time.Duration {
	switch {
	case period%3600 == 0:
		return 455 * day
	case period%300 == 0:
		return 63 * day
	case period%60 == 0:
		return 15 * day
	}
	return 3 * time.Hour
}

var (
	queryID = regexp.MustCompile(`^[a-z][a-zA-Z0-9_]*$`)
	rankOf  = regexp.MustCompile(`^(PR|TC)\(([0-9.]*):([0-9.]*)\)$`)
)

func wrong(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "ValidationError", message: fmt.Sprintf(format, args...)}
}

// getMetricData answers as the API reference of GetMetricData says.
func (c *Cloud) getMetricData(body []byte, entry *Request) (any, *refusal) {
	var in getMetricDataInput
	if e := decode(body, &in); e != nil {
		return nil, e
	}
	var names []string
	for _, q := range in.MetricDataQueries {
		if q.MetricStat == nil {
			return nil, wrong("query %s has no MetricStat", q.Id)
		}
		names = append(names, q.MetricStat.Metric.MetricName)
		if !slices.Contains(entry.Periods, q.MetricStat.Period) {
			entry.Periods = append(entry.Periods, q.MetricStat.Period)
		}
	}
	entry.Queries, entry.Metrics = len(in.MetricDataQueries), names
	now := c.options.Clock()
	if c.options.Quota > 0 {
		if now.Unix() != c.second {
			c.second, c.used = now.Unix(), 0
		}
		if c.used++; c.used > c.options.Quota {
			return nil, (&Fault{Code: "ThrottlingException"}).refusal()
		}
	}
	if f := c.strikes("GetMetricData", names, false); f != nil {
		return nil, f.refusal()
	}
	if e := in.check(); e != nil {
		return nil, e
	}
	entry.Start = *in.StartTime
	skip := 0
	if in.NextToken != "" {
		text, err := base64.StdEncoding.DecodeString(in.NextToken)
		if err == nil {
			skip, err = strconv.Atoi(strings.TrimPrefix(string(text), in.identity()+" "))
		}
		if err != nil {
			return nil, &refusal{status: http.StatusBadRequest, code: "InvalidNextToken", message: "the token is of another request"}
		}
	}
	most := min(c.options.PageSize, mostPoints)
	if in.MaxDatapoints > 0 {
		most = min(most, in.MaxDatapoints)
	}
	var out getMetricDataOutput
	reached, end := 0, skip+most // points of the queries so far, and where this page ends
	for _, q := range in.MetricDataQueries {
		times, values := c.points(q.MetricStat, *in.StartTime, *in.EndTime, now)
		if in.ScanBy != "TimestampAscending" {
			slices.Reverse(times)
			slices.Reverse(values)
		}
		from, to := min(max(skip-reached, 0), len(times)), min(max(end-reached, 0), len(times))
		reached += len(times)
		result := metricDataResult{Id: q.Id, Label: q.MetricStat.Metric.MetricName, StatusCode: "Complete", Timestamps: times[from:to], Values: values[from:to]}
		if reached > end {
			result.StatusCode = "PartialData"
		}
		if f := c.strikes("GetMetricData", []string{q.MetricStat.Metric.MetricName}, true); f != nil {
			result.StatusCode = f.Result
			n := len(result.Values) / 2
			result.Timestamps, result.Values = result.Timestamps[:n], result.Values[:n]
		}
		out.MetricDataResults = append(out.MetricDataResults, result)
	}
	if reached > end {
		out.NextToken = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s %d", in.identity(), end))
	}
	return out, nil
}

// identity is what all pages of a request have in common.
func (in *getMetricDataInput) identity() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d-%d", in.StartTime.Unix(), in.EndTime.Unix())
	for _, q := range in.MetricDataQueries {
		fmt.Fprintf(&b, "|%s %s %s %d", q.Id, q.MetricStat.Metric.key(), q.MetricStat.Stat, q.MetricStat.Period)
	}
	return b.String()
}

func (in *getMetricDataInput) check() *refusal {
	switch {
	case in.StartTime == nil || in.EndTime == nil:
		return wrong("StartTime and EndTime are required")
	case !in.StartTime.Before(*in.EndTime):
		return wrong("The parameter StartTime must be less than the parameter EndTime.")
	case len(in.MetricDataQueries) == 0:
		return wrong("The parameter MetricDataQueries is required.")
	case len(in.MetricDataQueries) > mostQueries:
		return wrong("The collection MetricDataQueries must not have a size greater than %d.", mostQueries)
	case in.MaxDatapoints < 0 || in.MaxDatapoints > mostPoints:
		return wrong("MaxDatapoints must be at most %d", mostPoints)
	case in.ScanBy != "" && in.ScanBy != "TimestampAscending" && in.ScanBy != "TimestampDescending":
		return wrong("ScanBy is %s", in.ScanBy)
	}
	seen := map[string]bool{}
	for _, q := range in.MetricDataQueries {
		s := q.MetricStat
		if !queryID.MatchString(q.Id) || seen[q.Id] {
			return wrong("The value %s for parameter MetricDataQueries.Id is not matching the expected pattern, or comes twice.", q.Id)
		}
		seen[q.Id] = true
		switch {
		case s.Period < 1 || s.Period > 1 && s.Period != 5 && s.Period != 10 && s.Period != 20 && s.Period != 30 && s.Period%60 != 0:
			return wrong("Period must be 1, 5, 10, 20, 30, or a multiple of 60.")
		case s.Metric.Namespace == "" || s.Metric.MetricName == "" || len(s.Metric.Dimensions) > 30:
			return wrong("query %s names no metric", q.Id)
		case !slices.Contains([]string{"Sum", "SampleCount", "Average", "Minimum", "Maximum"}, s.Stat) && !rankOf.MatchString(s.Stat):
			return wrong("The value %s for parameter MetricDataQueries.MetricStat.Stat is not supported.", s.Stat)
		}
		for _, d := range s.Metric.Dimensions {
			if d.Name == "" || d.Value == "" {
				return wrong("query %s has a dimension without a value", q.Id)
			}
		}
	}
	return nil
}

// points are a statistic's buckets in [from, to), oldest first, as far as they are kept and can be
// seen. Dimensions are exact: nothing is added up over them.
func (c *Cloud) points(stat *metricStat, from, to, now time.Time) (times []time.Time, values []float64) {
	wanted := stat.Metric
	wanted.Dimensions = slices.SortedFunc(slices.Values(wanted.Dimensions), func(a, b dimension) int { return strings.Compare(a.Name, b.Name) })
	s := c.metrics[wanted.key()]
	if s == nil {
		return nil, nil
	}
	round := time.Minute
	switch age := now.Sub(from); {
	case age > 63*day:
		round = time.Hour
	case age > 15*day:
		round = 5 * time.Minute
	}
	period := time.Duration(stat.Period) * time.Second
	for at := from.Truncate(round).Truncate(period); at.Before(to); at = at.Add(period) {
		if at.Before(from.Truncate(round)) || now.Sub(at) > kept(stat.Period) {
			continue
		}
		var data []Datum
		for minute := at; minute.Before(at.Add(period)); minute = minute.Add(time.Minute) {
			for _, d := range s.data[minute.Unix()] {
				if !d.Visible.After(now) {
					data = append(data, d)
				}
			}
		}
		if v, ok := statistic(stat.Stat, data); ok {
			times, values = append(times, at), append(values, v)
		}
	}
	return times, values
}

// statistic works one out, as "CloudWatch statistics definitions" has them. ok is false without samples,
// and for percentile statistics of statistic sets.
func statistic(name string, data []Datum) (v float64, ok bool) {
	var sum, count float64
	var all []float64
	sets := false
	for _, d := range data {
		sum, count = sum+d.Sum, count+d.Count
		all = append(all, d.Values...)
		sets = sets || d.Values == nil
	}
	if count == 0 && len(data) == 0 {
		return 0, false
	}
	switch name {
	case "Sum":
		return sum, true
	case "SampleCount":
		return count, true
	case "Average":
		return sum / count, true
	}
	if sets {
		return 0, false
	}
	m := rankOf.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	low, high := math.Inf(-1), math.Inf(1)
	if m[2] != "" {
		low, _ = strconv.ParseFloat(m[2], 64)
	}
	if m[3] != "" {
		high, _ = strconv.ParseFloat(m[3], 64)
	}
	within := 0.0
	for _, v := range all {
		if v > low && v <= high { // the lower bound is exclusive, the upper one inclusive
			within++
		}
	}
	if m[1] == "TC" {
		return within, within > 0
	}
	return 100 * within / count, true
}

// listMetrics lists what had data within two weeks and has the dimensions that are asked for, among
// others.
func (c *Cloud) listMetrics(body []byte) (any, *refusal) {
	var in listMetricsInput
	if e := decode(body, &in); e != nil {
		return nil, e
	}
	if f := c.strikes("ListMetrics", nil, false); f != nil {
		return nil, f.refusal()
	}
	now, since := c.options.Clock(), 14*day
	if in.RecentlyActive == "PT3H" {
		since = 3 * time.Hour
	}
	var found []metric
	for _, key := range slices.Sorted(maps.Keys(c.metrics)) {
		s := c.metrics[key]
		if in.Namespace != "" && in.Namespace != s.metric.Namespace || in.MetricName != "" && in.MetricName != s.metric.MetricName {
			continue
		}
		if !slices.ContainsFunc(in.Dimensions, func(want dimension) bool {
			return !slices.ContainsFunc(s.metric.Dimensions, func(has dimension) bool {
				return has.Name == want.Name && (want.Value == "" || has.Value == want.Value)
			})
		}) && s.active(now, since) {
			found = append(found, s.metric)
		}
	}
	from, err := strconv.Atoi("0" + in.NextToken)
	if err != nil || from > len(found) {
		return nil, &refusal{status: http.StatusBadRequest, code: "InvalidParameterValue", message: "NextToken is of another request"}
	}
	out := listMetricsOutput{Metrics: found[from:min(from+listPage, len(found))]}
	if from+listPage < len(found) {
		out.NextToken = strconv.Itoa(from + listPage)
	}
	return out, nil
}

func (s *series) active(now time.Time, since time.Duration) bool {
	for minute, data := range s.data {
		if now.Sub(time.Unix(minute, 0)) <= since && slices.ContainsFunc(data, func(d Datum) bool { return !d.Visible.After(now) }) {
			return true
		}
	}
	return false
}
