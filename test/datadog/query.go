package datadog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// queryV1 answers GET /api/v1/query.
func (d *Datadog) queryV1(c *call) {
	q := c.URL.Query()
	from, err := strconv.ParseInt(q.Get("from"), 10, 64)
	to, also := strconv.ParseInt(q.Get("to"), 10, 64)
	if err != nil || also != nil {
		c.fail(http.StatusBadRequest, "The parameters 'from' and 'to' are required")
		return
	}
	if q.Get("query") == "" {
		c.fail(http.StatusBadRequest, "The parameter 'query' is required")
		return
	}
	w := window{from: time.Unix(from, 0), to: time.Unix(to, 0), inclusive: true, now: d.time(), force: c.fault.interval()}
	found, err := d.query(q.Get("query"), w)
	if err != nil {
		d.unparsed(c, q.Get("query"), err)
		return
	}
	list, _ := parseQueries(q.Get("query")) // it was parsed before
	groupBy := []string{}
	for _, e := range list {
		if m, ok := e.(*metricQuery); ok && len(m.by) > 0 {
			groupBy = m.by
		}
	}
	series := make([]map[string]any, 0, len(found))
	shared := []int64(nil)
	if d.options.Variant.Nulls && len(found) > 1 {
		shared = times(found)
	}
	for _, r := range found {
		series = append(series, r.v1(shared))
	}
	c.json(http.StatusOK, map[string]any{
		"status": "ok", "res_type": "time_series", "from_date": from * 1000, "to_date": to * 1000, "resp_version": 1,
		"message": "", "query": q.Get("query"), "group_by": groupBy, "series": series,
	})
}

// unparsed answers that a query cannot be read: one bad query of a list fails all.
func (d *Datadog) unparsed(c *call, query string, err error) {
	status := d.options.Variant.QueryError
	if status == http.StatusOK {
		c.json(status, map[string]any{"status": "error", "res_type": "time_series", "error": "Error parsing query: " + err.Error(), "query": query, "series": []any{}})
		return
	}
	c.fail(status, "Error parsing query: "+err.Error())
}

// times are all starts of buckets, in milliseconds, in order.
func times(all []Result) []int64 {
	var out []int64
	for _, r := range all {
		for _, b := range r.Buckets {
			out = append(out, b.Start.UnixMilli())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// float is a number that is written with a point, as the real API writes numbers that may have one.
type float float64

// MarshalJSON writes 1 as 1.0.
func (f float) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(float64(f))
	if err == nil && !bytes.ContainsAny(text, ".eE") {
		text = append(text, ".0"...)
	}
	return text, err
}

// v1 is a series in the answer of version 1.
func (r Result) v1(shared []int64) map[string]any {
	var list [][2]any
	if shared == nil {
		for _, b := range r.Buckets {
			list = append(list, [2]any{float(b.Start.UnixMilli()), float(b.Value)})
		}
	} else {
		values := map[int64]float64{}
		for _, b := range r.Buckets {
			values[b.Start.UnixMilli()] = b.Value
		}
		for _, at := range shared {
			if v, ok := values[at]; ok {
				list = append(list, [2]any{float(at), float(v)})
			} else {
				list = append(list, [2]any{float(at), nil})
			}
		}
	}
	out := map[string]any{
		"metric": r.metric, "display_name": r.metric, "query_index": r.Query, "expression": r.expr, "scope": r.scope,
		"tag_set": r.Group, "interval": r.Interval, "length": len(list), "pointlist": list, "unit": nil, "attributes": map[string]any{},
		"aggr": nil,
	}
	if r.Group == nil {
		out["tag_set"] = []string{}
	}
	if r.space != "" {
		out["aggr"] = r.space
	} else if r.expr != "" && strings.HasPrefix(r.expr, "(") {
		out["metric"], out["display_name"] = r.expr, r.expr
	}
	if len(list) > 0 {
		out["start"] = int64(list[0][0].(float))
		out["end"] = int64(list[len(list)-1][0].(float)) + r.Interval*1000 - 1000
	}
	return out
}

// asked is the body of a query of version 2.
type asked struct {
	Data struct {
		Type       string `json:"type"`
		Attributes struct {
			From     int64 `json:"from"` // milliseconds, inclusive
			To       int64 `json:"to"`   // exclusive
			Interval int64 `json:"interval"`
			Queries  []struct {
				Source     string `json:"data_source"`
				Name       string `json:"name"`
				Query      string `json:"query"`
				Aggregator string `json:"aggregator"`
			} `json:"queries"`
			Formulas []struct {
				Formula string `json:"formula"`
				Limit   struct {
					Count int    `json:"count"`
					Order string `json:"order"`
				} `json:"limit"`
			} `json:"formulas"`
		} `json:"attributes"`
	} `json:"data"`
}

const apiType = "application/vnd.api+json"

// retention is how long points are kept: 15 months.
const retention = 15 * 30 * 24 * time.Hour

// formulas works out a query of version 2; false when it has answered.
func (d *Datadog) formulas(c *call, want string) (in asked, found [][]Result, ok bool) {
	if !isObject(c.text) || json.Unmarshal(c.text, &in) != nil {
		c.fail(http.StatusBadRequest, "API input validation failed: Invalid JSON")
		return in, nil, false
	}
	at := in.Data.Attributes
	switch {
	case in.Data.Type != want:
		c.fail(http.StatusBadRequest, fmt.Sprintf("API input validation failed: Invalid type. Expected %q.", want))
		return in, nil, false
	case at.To < d.time().Add(-retention).UnixMilli():
		c.fail(http.StatusBadRequest, "Queries ending outside the retention date are invalid")
		return in, nil, false
	case at.To <= at.From:
		c.fail(http.StatusBadRequest, "API input validation failed: to must be after from")
		return in, nil, false
	}
	queries, names := map[string]expression{}, map[string]bool{}
	for _, q := range at.Queries {
		names[q.Name] = true
		if q.Source != "metrics" {
			queries[q.Name] = number(0) // other sources have nothing here
			continue
		}
		list, err := parseQueries(q.Query)
		if err == nil && len(list) != 1 {
			err = fmt.Errorf("unable to parse %s: one query is wanted", q.Query)
		}
		if err != nil {
			c.fail(http.StatusBadRequest, "Error parsing query: "+err.Error())
			return in, nil, false
		}
		if m, ok := list[0].(*metricQuery); ok && m.interval == 0 && at.Interval > 0 {
			m.interval = max(1, at.Interval/1000)
		}
		queries[q.Name] = list[0]
	}
	w := window{from: time.UnixMilli(at.From), to: time.UnixMilli(at.To), now: d.time(), force: c.fault.interval()}
	for _, f := range at.Formulas {
		e, err := parseFormula(f.Formula, names)
		if err != nil {
			c.fail(http.StatusBadRequest, "Invalid formula: "+err.Error())
			return in, nil, false
		}
		found = append(found, d.eval(e, w, queries))
	}
	return in, found, true
}

// timeseriesV2 answers POST /api/v2/query/timeseries. All series share their times, and the
// answer does not say how long a bucket is.
func (d *Datadog) timeseriesV2(c *call) {
	_, found, ok := d.formulas(c, "timeseries_request")
	if !ok {
		return
	}
	var all []Result
	for i, results := range found {
		for _, r := range results {
			r.Query = i
			all = append(all, r)
		}
	}
	shared := times(all)
	series, values := []map[string]any{}, [][]any{}
	for _, r := range all {
		group := r.Group
		if group == nil {
			group = []string{}
		}
		series = append(series, map[string]any{"group_tags": group, "query_index": r.Query, "unit": nil})
		byTime := map[int64]float64{}
		for _, b := range r.Buckets {
			byTime[b.Start.UnixMilli()] = b.Value
		}
		row := make([]any, len(shared))
		for i, at := range shared {
			if v, ok := byTime[at]; ok {
				row[i] = v
			}
		}
		values = append(values, row)
	}
	if shared == nil {
		shared = []int64{}
	}
	c.json(http.StatusOK, map[string]any{"data": map[string]any{"id": "0", "type": "timeseries_response",
		"attributes": map[string]any{"series": series, "times": shared, "values": values}}})
	c.answer.header.Set("Content-Type", apiType)
}

// scalarV2 answers POST /api/v2/query/scalar: one number for a whole span.
func (d *Datadog) scalarV2(c *call) {
	in, found, ok := d.formulas(c, "scalar_request")
	if !ok {
		return
	}
	how := "avg"
	if qs := in.Data.Attributes.Queries; len(qs) > 0 && qs[0].Aggregator != "" {
		how = qs[0].Aggregator
	}
	var keys []string
	for _, results := range found {
		for _, r := range results {
			if keys == nil {
				keys = r.by
			}
		}
	}
	var rows [][]string
	index := map[string]int{}
	columns := make([]map[string]float64, len(found))
	for i, results := range found {
		columns[i] = map[string]float64{}
		for _, r := range results {
			id := strings.Join(r.Group, "\x00")
			if _, ok := index[id]; !ok {
				index[id] = len(rows)
				rows = append(rows, r.Group)
			}
			values := make([]float64, len(r.Buckets))
			for k, b := range r.Buckets {
				values[k] = b.Value
			}
			if len(values) > 0 {
				columns[i][id] = scalar(how, values)
			}
		}
	}
	out := []map[string]any{}
	for k, key := range keys {
		values := make([][]string, len(rows))
		for i, row := range rows {
			if k < len(row) {
				values[i] = []string{strings.TrimPrefix(row[k], key+":")}
			}
		}
		out = append(out, map[string]any{"name": key, "type": "group", "values": values})
	}
	for i, f := range in.Data.Attributes.Formulas {
		values := make([]any, len(rows))
		for id, row := range index {
			if v, ok := columns[i][id]; ok {
				values[row] = v
			}
		}
		out = append(out, map[string]any{"name": f.Formula, "type": "number", "values": values, "meta": map[string]any{"unit": nil}})
	}
	c.json(http.StatusOK, map[string]any{"data": map[string]any{"id": "0", "type": "scalar_response", "attributes": map[string]any{"columns": out}}})
	c.answer.header.Set("Content-Type", apiType)
}

func scalar(how string, values []float64) float64 {
	if how == "last" {
		return values[len(values)-1]
	}
	return aggregate(how, values)
}

// metrics answers GET /api/v1/metrics: the names that had points since a moment.
func (d *Datadog) metrics(c *call) {
	q := c.URL.Query()
	from, err := strconv.ParseInt(q.Get("from"), 10, 64)
	if err != nil {
		c.fail(http.StatusBadRequest, "The parameter 'from' is required")
		return
	}
	c.json(http.StatusOK, map[string]any{"from": q.Get("from"), "metrics": d.visible(func(p *Point) bool { return p.At.Unix() >= from-3600 }, "")})
}

// visible are the names of metrics with a point that queries see and that is wanted.
func (d *Datadog) visible(want func(*Point) bool, part string) []string {
	now := d.time()
	out := []string{}
	for name, all := range d.store.names {
		if !strings.Contains(name, part) {
			continue
		}
		if slices.ContainsFunc(all, func(s *Series) bool {
			return slices.ContainsFunc(s.Points, func(p Point) bool { return !p.Visible.After(now) && want(&p) })
		}) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// search answers GET /api/v1/search.
func (d *Datadog) search(c *call) {
	q := c.URL.Query().Get("q")
	part, ok := strings.CutPrefix(q, "metrics:")
	if q == "" {
		c.fail(http.StatusBadRequest, "The parameter 'q' is required")
		return
	}
	found := []string{}
	if ok || !strings.Contains(q, ":") {
		found = d.visible(func(*Point) bool { return true }, part)
	}
	c.json(http.StatusOK, map[string]any{"results": map[string]any{"metrics": found}})
}

var metadataFields = []string{"description", "integration", "per_unit", "short_name", "statsd_interval", "type", "unit"}

// metadata answers GET /api/v1/metrics/{name}.
func (d *Datadog) metadata(c *call) {
	name := c.PathValue("name")
	if d.store.names[name] == nil && d.meta[name] == nil {
		c.fail(http.StatusNotFound, "metric_name not found")
		return
	}
	out := map[string]any{}
	for _, field := range metadataFields {
		out[field] = d.meta[name][field]
	}
	c.json(http.StatusOK, out)
}

// setMetadata answers PUT /api/v1/metrics/{name}.
func (d *Datadog) setMetadata(c *call) {
	name := c.PathValue("name")
	in, ok := c.body()
	if !ok {
		return
	}
	if d.store.names[name] == nil {
		c.fail(http.StatusNotFound, "metric_name not found")
		return
	}
	if d.meta[name] == nil {
		d.meta[name] = map[string]any{}
	}
	for _, field := range metadataFields {
		if v, ok := in[field]; ok {
			d.meta[name][field] = v
		}
	}
	d.metadata(c)
}
