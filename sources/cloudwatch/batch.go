package cloudwatch

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// Most of one request and its answers: what GetMetricData takes and gives. Points beyond that come in
// further pages.
const (
	maxQueries = 500
	maxPoints  = 100800

	// mostAnswers are the pages of one request that are followed.
	mostAnswers = 100
)

// unit is one resource of one question. It is never divided: its total and its part come from the
// same request.
type unit struct {
	w       *work
	queries []query
}

// batch are units that one request asks.
type batch struct {
	units   []unit
	queries []query // each once
	index   map[query]int
}

// batches joins units into as few requests as may be.
func batches(works []*work, of func(*work, place) []query) []*batch {
	var out []*batch
	var open *batch
	for _, w := range works {
		if w.err != nil {
			continue
		}
		if w.q.suspect() {
			open = nil
		}
		for _, p := range w.places {
			u := unit{w, of(w, p)}
			if open == nil || !open.fits(u) {
				open = &batch{}
				out = append(out, open)
			}
			open.add(u)
		}
		if w.q.suspect() {
			open = nil
		}
	}
	return out
}

func (b *batch) fits(u unit) bool {
	count := len(b.queries)
	for _, q := range u.queries {
		if _, asked := b.index[q]; !asked {
			count++
		}
	}
	return count <= maxQueries
}

func (b *batch) add(u unit) {
	if b.index == nil {
		b.index = map[query]int{}
	}
	b.units = append(b.units, u)
	for _, q := range u.queries {
		if _, asked := b.index[q]; !asked {
			b.index[q] = len(b.queries)
			b.queries = append(b.queries, q)
		}
	}
}

// halves divides a batch that was refused.
func (b *batch) halves() [2]*batch {
	var out [2]*batch
	for i := range out {
		out[i] = &batch{}
	}
	for i, u := range b.units {
		out[i*2/len(b.units)].add(u)
	}
	return out
}

// ask makes one request, and smaller ones where it is refused: one bad query fails all that are asked
// with it.
func (s *Source) ask(ctx context.Context, c *clients, b *batch, seg segment, past bool) {
	if len(b.units) == 0 {
		return
	}
	err := s.request(ctx, c, b, seg, past)
	switch {
	case err == nil:
		for _, u := range b.units {
			u.w.q.judged(nil, time.Time{})
		}
	case invalid(err) && len(b.units) > 1:
		for _, half := range b.halves() {
			s.ask(ctx, c, half, seg, past)
		}
	default:
		for _, u := range b.units {
			u.w.fail(err)
			if invalid(err) {
				u.w.q.judged(err, time.Now().Add(refusedFor))
			}
		}
	}
}

// invalid reports whether AWS would not have a query, so that it may have others.
func invalid(err error) bool {
	word := code(err)
	return strings.HasPrefix(word, "Validation") || strings.HasPrefix(word, "Invalid") && word != "InvalidClientTokenId" || strings.HasPrefix(word, "MissingRequiredParameter")
}

// request asks for the buckets of a segment, page after page.
func (s *Source) request(ctx context.Context, c *clients, b *batch, seg segment, past bool) error {
	in := &cloudwatch.GetMetricDataInput{
		StartTime: aws.Time(time.UnixMilli(seg.from).UTC()), EndTime: aws.Time(time.UnixMilli(seg.to).UTC()),
		ScanBy: types.ScanByTimestampAscending, MaxDatapoints: aws.Int32(maxPoints),
	}
	for i, q := range b.queries {
		in.MetricDataQueries = append(in.MetricDataQueries, types.MetricDataQuery{
			Id: aws.String("q" + strconv.Itoa(i)),
			MetricStat: &types.MetricStat{
				Metric: &types.Metric{Namespace: aws.String(q.namespace), MetricName: aws.String(q.metric), Dimensions: spelled(q.dims)},
				Period: aws.Int32(int32(seg.period.Seconds())),
				Stat:   aws.String(q.statistic),
			},
		})
	}
	answers := make([]answer, len(b.queries))
	for range mostAnswers {
		out, err := s.page(ctx, c, in, past)
		if err != nil {
			return err
		}
		for i := range out.MetricDataResults {
			if err := take(answers, &out.MetricDataResults[i], seg); err != nil {
				return err
			}
		}
		if aws.ToString(out.NextToken) == "" {
			break
		}
		in.NextToken = out.NextToken
	}
	for _, u := range b.units {
		for _, q := range u.queries {
			got := &answers[b.index[q]]
			if got.status != types.StatusCodeComplete {
				u.w.fail(got.incomplete(q))
				break
			}
			u.w.put(q, got.values)
		}
	}
	return nil
}

// page makes one request. What is throttled is asked again once the source as a whole may ask.
func (s *Source) page(ctx context.Context, c *clients, in *cloudwatch.GetMetricDataInput, past bool) (*cloudwatch.GetMetricDataOutput, error) {
	for began := time.Now(); ; {
		if err := s.pace.turn(ctx, began, past); err != nil {
			return nil, err
		}
		out, err := ask(ctx, s, c.metrics.GetMetricData, in)
		if err == nil || !throttled(err) || time.Since(began) > patience {
			return out, fault(ctx, "metric data", err)
		}
	}
}

// answer is what all pages say of one query.
type answer struct {
	status types.StatusCode // what the last page said; "": none named the query
	said   string
	values map[int64]float64
}

// take adds what one page says of one query.
func take(answers []answer, result *types.MetricDataResult, seg segment) error {
	wrong := func(format string, args ...any) error {
		return failed("metric data", "decode", "the answer "+format, args...)
	}
	i, err := strconv.Atoi(strings.TrimPrefix(aws.ToString(result.Id), "q"))
	if err != nil || i < 0 || i >= len(answers) {
		return wrong("is for a query %q that was not asked", aws.ToString(result.Id))
	}
	if len(result.Timestamps) != len(result.Values) {
		return wrong("has %d moments for %d values", len(result.Timestamps), len(result.Values))
	}
	a := &answers[i]
	a.status = result.StatusCode
	for _, m := range result.Messages {
		a.said = strings.TrimSpace(aws.ToString(m.Code) + " " + aws.ToString(m.Value))
	}
	if a.values == nil {
		a.values = map[int64]float64{}
	}
	for j, moment := range result.Timestamps {
		at := moment.UnixMilli()
		if floor(at, seg.period) != at {
			return wrong("has a bucket at %s, which is no whole %s", moment.UTC().Format(time.RFC3339), seg.period)
		}
		if at < seg.from || at >= seg.to {
			continue // it was not asked for
		}
		a.values[at] = result.Values[j]
	}
	return nil
}

// incomplete is why a query has no answer that can be counted.
func (a *answer) incomplete(q query) error {
	text := fmt.Sprintf("%s of %s is not complete: CloudWatch says %s", q.statistic, q.metric, a.status)
	reason := "partial"
	switch a.status {
	case "":
		text = fmt.Sprintf("%s of %s is not in the answer", q.statistic, q.metric)
	case types.StatusCodeForbidden:
		reason = "http_4xx"
	}
	if a.said != "" {
		text += ", " + a.said
	}
	return failed("metric data", reason, "%s", text)
}

// distinct are the queries of some works, each once.
func distinct(works []*work, of func(*work, place) []query) int {
	all := map[query]bool{}
	for _, w := range works {
		for _, p := range w.places {
			for _, q := range of(w, p) {
				all[q] = true
			}
		}
	}
	return len(all)
}
