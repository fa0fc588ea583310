package promapi

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// The bounds of one request about the past.
const (
	maxTargets = 100 // targets asked about at once
	maxSeries  = 500 // series whose last samples are looked for at once
	maxProbes  = 20  // counts in one query
	maxValues  = 50  // alternatives that a narrowing matcher holds; beyond, it does not narrow
)

// probe asks how many series a selector has in a window that ends at a moment.
type probe struct {
	asking *question
	sel    selectors.Selector
	window int64 // ms
	at     int64 // ms
}

// tally answers probes, many in one request. A probe that failed has its error in its place.
func (s *Source) tally(ctx context.Context, youngest time.Time, probes []probe) ([]float64, []error) {
	found, errs := make([]float64, len(probes)), make([]error, len(probes))
	for first := 0; first < len(probes); first += maxProbes {
		last := min(first+maxProbes, len(probes))
		err := s.tallyBatch(ctx, youngest, probes[first:last], found[first:last])
		if err == nil {
			continue
		}
		for i := first; i < last; i++ {
			errs[i] = err
			if (refused(err) || loaded(err)) && last-first > 1 && ctx.Err() == nil {
				errs[i] = s.tallyBatch(ctx, youngest, probes[i:i+1], found[i:i+1])
			}
		}
	}
	return found, errs
}

func (s *Source) tallyBatch(ctx context.Context, youngest time.Time, probes []probe, found []float64) error {
	at := probes[0].at
	var expr strings.Builder
	for i, p := range probes {
		if i > 0 {
			expr.WriteString(" or ")
		}
		moment := ""
		if p.at != at {
			moment = " @ " + seconds(p.at)
		}
		one := fmt.Sprintf("count(last_over_time(%s[%dms]%s))", p.sel, p.window, moment)
		if s.replicaLabel != "" {
			one = fmt.Sprintf("max(count by (%s) (last_over_time(%s[%dms]%s)))", s.replicaLabel, p.sel, p.window, moment)
		}
		fmt.Fprintf(&expr, `label_replace(%s, "probe", "%d", "", "")`, one, i)
	}
	a, err := s.client.instant(ctx, youngest, expr.String(), at)
	if err != nil {
		return err
	}
	clear(found)
	for _, one := range a.series {
		var i int
		if _, err := fmt.Sscanf(one.labels.Get("probe"), "%d", &i); err == nil && i >= 0 && i < len(found) && len(one.floats) > 0 {
			found[i] = one.floats[0].V
		}
	}
	return nil
}

// sides are the selectors that together choose all series of a question.
func (q *question) sides() []selectors.Selector {
	out := []selectors.Selector{q.totals()}
	if part, ok := q.parts(); ok {
		out = append(out, part)
	}
	return out
}

// prepare learns what must be known before the samples are read: how the threshold is spelt, how
// many series there are, and for memories that begin with the span whether the question's history
// begins before it. It gives works their errors and notes.
func (s *Source) prepare(ctx context.Context, span slo.Span, works []*work) {
	from, to := span.From.UnixMilli(), span.To.UnixMilli()

	var unspelt []*question
	for _, w := range works {
		w.q.mu.Lock()
		if w.q.Indicator.Kind == sources.Latency && w.q.les == nil {
			unspelt = append(unspelt, w.q)
		}
		w.q.mu.Unlock()
	}
	if len(unspelt) > 0 {
		if _, err := s.respell(ctx, span.To, unspelt, from-s.before, to); err != nil {
			for _, w := range works {
				if slices.Contains(unspelt, w.q) {
					w.err = err
				}
			}
		}
	}

	// How many series?
	var probes []probe
	byQuestion := map[*question]*work{}
	for _, w := range works {
		byQuestion[w.q] = w
		q := w.q
		q.mu.Lock()
		due := q.counted == 0 || q.suspect || to-q.counted >= time.Hour.Milliseconds()
		q.mu.Unlock()
		if w.err != nil || !due {
			continue
		}
		for _, sel := range q.sides() {
			probes = append(probes, probe{q, sel, s.lookback, to})
		}
	}
	numbers, errs := s.tally(ctx, span.To, probes)
	sums := map[*question]float64{}
	for i, p := range probes {
		if errs[i] != nil {
			byQuestion[p.asking].err = errs[i]
			continue
		}
		sums[p.asking] += numbers[i]
	}
	for q, n := range sums {
		q.mu.Lock()
		q.series, q.counted, q.suspect, q.over = int(n), to, false, int(n) > s.limits.MaxSeries
		q.mu.Unlock()
	}
	for _, w := range works {
		w.q.mu.Lock()
		if w.err == nil && w.q.over {
			w.note = s.tooMany(w.q)
		}
		w.q.mu.Unlock()
	}

	// Where does the history begin?
	fresh := slices.DeleteFunc(slices.Clone(works), func(w *work) bool {
		return w.err != nil || w.note != "" || !w.fresh || w.q.Indicator.Kind == sources.Gauge
	})
	s.beginnings(ctx, span.To, fresh, from)
}

// tooMany is the note of a question that is not asked because it has too many series.
func (s *Source) tooMany(q *question) string {
	return fmt.Sprintf("%s has %s series, more than max_series %s: raise sources.%s.limits.max_series, or set counting: pushdown on the SLO",
		q.plan.Selectors()[0], thousands(q.series), thousands(s.limits.MaxSeries), s.name)
}

// thousands prints 31022 as "31,022".
func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// search is the hunt for a question's first sample: there is none at or before none, and there is
// one at or before some.
type search struct {
	w          *work
	none, some int64
	widths     []int64 // windows before from that are still to try
}

// beginnings finds where the history of questions begins that were never asked, within their
// period before from, to the tick. It looks for all of them at once: first whether there is any,
// then by halves, with windows so narrow that the server reads little.
func (s *Source) beginnings(ctx context.Context, youngest time.Time, works []*work, from int64) {
	hour := time.Hour.Milliseconds()
	var hunting []*search
	for _, w := range works {
		w.q.mu.Lock()
		oldest := w.q.oldest
		w.q.mu.Unlock()
		if oldest != 0 && oldest <= from {
			w.cursor.mem.Looked(time.UnixMilli(oldest))
			continue
		}
		period := max(w.q.Period.Milliseconds(), hour)
		hunting = append(hunting, &search{w: w, none: from - ceil(period, s.tick), widths: []int64{0, hour, 6 * hour, 24 * hour, 7 * 24 * hour, period}})
	}
	// found reports which searches have a sample in their window.
	found := func(which []*search, window func(*search) (length, end int64)) []bool {
		out := make([]bool, len(which))
		var probes []probe
		var of []int
		for i, h := range which {
			length, end := window(h)
			for _, sel := range h.w.q.sides() {
				probes = append(probes, probe{h.w.q, sel, length, end})
				of = append(of, i)
			}
		}
		numbers, errs := s.tally(ctx, youngest, probes)
		for k, i := range of {
			if errs[k] != nil {
				which[i].w.err = errs[k]
			}
			out[i] = out[i] || numbers[k] > 0
		}
		return out
	}
	keep := func(h *search) { // the beginning is found
		h.w.q.mu.Lock()
		if h.w.q.oldest == 0 || h.some < h.w.q.oldest {
			h.w.q.oldest = h.some
		}
		h.w.q.mu.Unlock()
		h.w.cursor.mem.Looked(time.UnixMilli(h.some))
	}

	for len(hunting) > 0 {
		hits := found(hunting, func(h *search) (int64, int64) {
			switch {
			case h.some != 0: // by halves, first in hours, then in one look at what is left
				middle := ceil(h.none+(h.some-h.none)/2, s.tick)
				return min(hour, middle-h.none), middle
			case h.widths[0] == 0: // the very beginning of the period
				return hour, h.none + hour
			}
			return min(h.widths[0], from-h.none), from
		})
		var next []*search
		for i, h := range hunting {
			if h.w.err != nil {
				continue
			}
			switch {
			case h.some != 0:
				middle := ceil(h.none+(h.some-h.none)/2, s.tick)
				if hits[i] {
					h.some = middle
				} else {
					h.none = middle
				}
			case h.widths[0] == 0 && hits[i]:
				h.some = h.none + hour
				keep(h)
				continue
			case hits[i]:
				h.some = from
			default:
				if h.widths = h.widths[1:]; len(h.widths) == 0 {
					h.w.cursor.whole = true // nothing before the span at all
					continue
				}
			}
			if h.some != 0 && h.some-h.none <= s.tick {
				keep(h)
				continue
			}
			next = append(next, h)
		}
		hunting = next
	}
}

// recall asks for the last samples, within the period before from, of series that the works'
// memories do not know, so that none is called new that only was away.
func (s *Source) recall(ctx context.Context, b *bundle, works []*work, hands []hand, youngest time.Time, from int64, fail func(error, []*question)) {
	for _, r := range b.requests {
		asking := r.asking()
		lacks := map[string]bool{}
		period := time.Duration(0)
		for i, w := range works {
			if w.err == nil && slices.Contains(asking, w.q) {
				for _, target := range hands[i].lacks {
					lacks[target] = true
				}
				if len(hands[i].lacks) > 0 {
					period = max(period, w.q.Period)
				}
			}
		}
		if len(lacks) == 0 {
			continue
		}
		unknown := func(l labels.Labels) bool {
			for _, w := range works {
				if w.err == nil && slices.Contains(asking, w.q) {
					if p, ok := w.q.counter(l); ok && !w.cursor.mem.Knows(p.Key) {
						return true
					}
					if p, _, ok := w.q.plan.Native(l); ok && !w.cursor.mem.Knows(p.Key) {
						return true
					}
				}
			}
			return false
		}
		var past []series
		var err error
		for targets := range slices.Chunk(slices.Sorted(maps.Keys(lacks)), maxTargets) {
			var some []series
			some, err = s.lastSamples(ctx, youngest, s.narrowed(r.sel, targets), from-period.Milliseconds(), from, unknown)
			if err != nil {
				break
			}
			past = append(past, some...)
		}
		if err != nil {
			var concerned []*question
			for i, w := range works {
				if w.err == nil && len(hands[i].lacks) > 0 && slices.Contains(asking, w.q) {
					concerned = append(concerned, w.q)
				}
			}
			fail(err, concerned)
			continue
		}
		for i, w := range works {
			if w.err == nil && len(hands[i].lacks) > 0 && slices.Contains(asking, w.q) {
				w.cursor.remember(w.q, s.place(w.q, past), lacks)
			}
		}
	}
	for i, w := range works {
		if w.err == nil {
			for _, target := range hands[i].lacks {
				w.cursor.asked[target] = from
			}
		}
	}
}

// remember hands last samples to the memory.
func (c *cursor) remember(q *question, past []placed, lacks map[string]bool) {
	for i := range past {
		p := &past[i]
		if !lacks[p.lookup()] {
			continue
		}
		if p.Family != "" {
			if at := p.last(); at > c.shapes[p.Family].at {
				c.shapes[p.Family] = shaping{p.shape(), at}
			}
		}
		c.seen[p.Target] = max(c.seen[p.Target], p.last())
		if p.shape() == nativeShape {
			p.Points, p.below.Points = c.belowPoints(p, q.Indicator.Below)
			if n := len(p.below.Points); n > 0 {
				c.mem.Recall(p.below, p.below.Points[n-1])
			}
		}
		if n := len(p.Points); n > 0 {
			c.mem.Recall(p.Series, p.Points[n-1])
		}
	}
}

// narrowed is the selector for the series of these targets. It may choose a few more: the values
// of job, instance and pod are let through in any combination.
func (s *Source) narrowed(sel selectors.Selector, targets []string) selectors.Selector {
	values := make([]map[string]bool, 4)
	for i := range values {
		values[i] = map[string]bool{}
	}
	for _, target := range targets {
		identity, replica, _ := strings.Cut(target, "\xfe")
		if identity == "" {
			// The source itself: every series without a target of its own.
			identity = "\xff\xff"
		}
		for i, v := range append(strings.SplitN(identity, "\xff", 3), replica) {
			values[i][v] = true
		}
	}
	names := []string{"job", "instance", "pod", s.replicaLabel}
	for i, name := range names {
		if name != "" {
			sel = sel.With(oneOf(name, slices.Sorted(maps.Keys(values[i]))))
		}
	}
	return sel
}

// lastSamples finds the last sample in (from, to] of every series that the selector chooses and
// the caller wants.
func (s *Source) lastSamples(ctx context.Context, youngest time.Time, sel selectors.Selector, from, to int64, want func(labels.Labels) bool) ([]series, error) {
	existing, err := s.existing(ctx, youngest, sel, from, to)
	if err != nil {
		return nil, err
	}
	wanted := slices.DeleteFunc(existing, func(l labels.Labels) bool { return !want(l) })
	step := max(time.Hour.Milliseconds(), ceil((to-from)/720, 1000))
	var out []series
	for some := range slices.Chunk(wanted, maxSeries) {
		// In which step does each series end?
		ends := map[int64][]labels.Labels{}
		narrow := closely(sel, some)
		first := to - (to-from+step-1)/step*step + step
		lasts, err := s.matrix(ctx, youngest, fmt.Sprintf("last_over_time(%s[%dms])", narrow, step), first, to, step)
		if err != nil {
			return nil, err
		}
		for _, one := range lasts {
			p := placed{Series: increments.Series{Points: one.floats}, hists: one.hists}
			if last := p.last(); last != 0 && want(one.labels) {
				ends[last] = append(ends[last], one.labels)
			}
		}
		for _, end := range slices.Sorted(maps.Keys(ends)) {
			begin := max(end-step, from)
			if begin >= end {
				continue
			}
			a, err := s.client.instant(ctx, youngest, fmt.Sprintf("%s[%dms]", closely(narrow, ends[end]), end-begin), end)
			if err != nil {
				return nil, err
			}
			in := map[string]bool{}
			for _, l := range ends[end] {
				in[string(l.Bytes(nil))] = true
			}
			for _, one := range a.series {
				if !in[string(one.labels.Bytes(nil))] {
					continue
				}
				one.floats = slices.DeleteFunc(one.floats, func(p increments.Point) bool { return math.IsNaN(p.V) })
				one.floats = one.floats[max(0, len(one.floats)-1):]
				one.hists = one.hists[max(0, len(one.hists)-1):]
				out = append(out, one)
			}
		}
	}
	return out, nil
}

// existing are the series with a sample in (from, to]; asked in halves where the server cannot
// look through so much.
func (s *Source) existing(ctx context.Context, youngest time.Time, sel selectors.Selector, from, to int64) ([]labels.Labels, error) {
	a, err := s.client.instant(ctx, youngest, fmt.Sprintf("last_over_time(%s[%dms])", sel, to-from), to)
	if err == nil {
		out := make([]labels.Labels, len(a.series))
		for i := range a.series {
			out[i] = a.series[i].labels
		}
		return out, nil
	}
	if !loaded(err) || to-from <= time.Hour.Milliseconds() || ctx.Err() != nil {
		return nil, err
	}
	middle := from + (to-from)/2
	left, err := s.existing(ctx, youngest, sel, from, middle)
	if err != nil {
		return nil, err
	}
	right, err := s.existing(ctx, youngest, sel, middle, to)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	return slices.DeleteFunc(append(left, right...), func(l labels.Labels) bool {
		key := string(l.Bytes(nil))
		was := known[key]
		known[key] = true
		return was
	}), nil
}

// closely narrows a selector to hardly more than the given series.
func closely(sel selectors.Selector, all []labels.Labels) selectors.Selector {
	values := map[string]map[string]bool{}
	for _, l := range all {
		l.Range(func(label labels.Label) {
			if values[label.Name] == nil {
				values[label.Name] = map[string]bool{}
			}
			values[label.Name][label.Value] = true
		})
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, l := range all {
			if !l.Has(name) {
				values[name][""] = true
				break
			}
		}
		if len(values[name]) <= maxValues {
			sel = sel.With(oneOf(name, slices.Sorted(maps.Keys(values[name]))))
		}
	}
	if values[model.MetricNameLabel] != nil {
		sel.Name = ""
	}
	return sel
}

// processStarts asks when the processes of new targets started: the first value of a series counts
// when its process began after the first look.
func (s *Source) processStarts(ctx context.Context, works []*work, hands []hand, youngest time.Time, from, to int64, fail func(error, []*question)) {
	news := map[string]bool{}
	for i, w := range works {
		if w.err != nil || w.q.Indicator.Kind == sources.Gauge {
			continue
		}
		for _, p := range hands[i].series {
			if _, seen := w.cursor.seen[p.Target]; p.Target != "" && !seen && p.first() > from && p.first() <= to {
				news[p.Target] = true
			}
		}
	}
	if len(news) == 0 {
		return
	}
	base := selectors.Selector{Name: "process_start_time_seconds", Matchers: []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "process_start_time_seconds"),
	}}
	starts := map[string]float64{}
	for targets := range slices.Chunk(slices.Sorted(maps.Keys(news)), maxTargets) {
		sel := base
		for i, name := range []string{"job", "instance", "pod"} {
			values := map[string]bool{}
			for _, target := range targets {
				values[strings.SplitN(target, "\xff", 3)[i]] = true
			}
			sel = sel.With(oneOf(name, slices.Sorted(maps.Keys(values))))
		}
		a, err := s.client.instant(ctx, youngest, fmt.Sprintf("min_over_time(%s[%dms])", sel, to-from), to)
		if err != nil {
			var concerned []*question
			for i, w := range works {
				for _, p := range hands[i].series {
					if news[p.Target] {
						concerned = append(concerned, w.q)
						break
					}
				}
			}
			fail(err, concerned)
			return
		}
		for _, one := range a.series {
			target := increments.TargetOf(one.labels.Get)
			if len(one.floats) == 0 || !news[target] || !(one.floats[0].V > 0) {
				continue
			}
			// Several processes behind one target: the eldest speaks, so that nothing old counts.
			if v, ok := starts[target]; !ok || one.floats[0].V < v {
				starts[target] = one.floats[0].V
			}
		}
	}
	for _, w := range works {
		if w.err != nil {
			continue
		}
		for target, v := range starts {
			w.cursor.mem.Started(target, time.UnixMilli(int64(v*1000)))
		}
	}
}
