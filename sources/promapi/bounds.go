package promapi

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/selectors"
)

// missing reports whether a histogram came without the bound that nobody has looked for yet.
func (s *Source) missing(q *question, series []placed) bool {
	_, strays, _ := shaped(series)
	q.mu.Lock()
	defer q.mu.Unlock()
	found := false
	for _, one := range strays {
		if _, looked := q.noBound[one.Family]; !looked {
			found = true
			if len(q.noBound) > 1000 {
				clear(q.noBound)
			}
			q.noBound[one.Family] = ""
		}
	}
	return found
}

// respell asks how the thresholds of these questions are written as le: 1, 1.0 and 1e0 are one
// bound. It reports whether it learned a spelling that was not asked for before.
func (s *Source) respell(ctx context.Context, youngest time.Time, questions []*question, start, end int64) (bool, error) {
	learned := false
	for some := range slices.Chunk(questions, maxAlternatives) {
		match := make([]string, len(some))
		for i, q := range some {
			match[i] = q.plan.Selectors()[1].String()
		}
		values, err := s.client.labelValues(ctx, youngest, labels.BucketLabel, match, start, end)
		if err != nil && Reason(err) != "http_4xx" { // a server without this address: the usual spellings must do
			return false, err
		}
		for _, q := range some {
			q.mu.Lock()
			if q.les == nil {
				q.les = []string{}
			}
			for _, le := range values {
				if q.isThreshold(le) && !slices.Contains(q.spellings(), le) {
					q.les = append(q.les, le)
					learned = true
				}
			}
			q.mu.Unlock()
		}
	}
	return learned, nil
}

// explain names the two bounds around the threshold of a histogram that lacks it, given one of its
// _count series.
func (s *Source) explain(ctx context.Context, youngest time.Time, q *question, lacking labels.Labels, start, end int64) (string, error) {
	bucket := q.plan.Selectors()[1].Name
	family := labels.NewBuilder(lacking).Set(model.MetricNameLabel, q.plan.Selectors()[2].Name).Labels().String()
	q.mu.Lock()
	note := q.noBound[family]
	q.mu.Unlock()
	if note != "" {
		return note, nil
	}
	sel := selectors.Selector{Name: bucket, Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, bucket)}}
	lacking.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			sel = sel.With(labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
		}
	})
	a, err := s.client.instant(ctx, youngest, fmt.Sprintf("count by (le) (last_over_time(%s[%dms]))", sel, end-start), end)
	if err != nil {
		return "", err
	}
	bounds := selectors.Bounds{}
	for _, one := range a.series {
		l := labels.NewBuilder(lacking).Set(model.MetricNameLabel, bucket).Set(labels.BucketLabel, one.labels.Get(labels.BucketLabel)).Labels()
		if histogram, bound, ok := q.plan.Bound(l); ok {
			bounds.See(histogram, bound)
		}
	}
	threshold := strconv.FormatFloat(q.Indicator.Below, 'g', -1, 64)
	switch {
	case len(bounds) == 0:
		note = fmt.Sprintf("threshold %s is no bucket bound of %s: it has no buckets", threshold, family)
	default:
		if note = bounds.Fault(q.Indicator.Below); note == "" {
			// It had the bound at another time of the span.
			note = fmt.Sprintf("threshold %s was not a bucket bound of %s all the time", threshold, family)
		}
	}
	q.mu.Lock()
	q.noBound[family] = note
	q.mu.Unlock()
	return note, nil
}
