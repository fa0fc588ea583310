package promapi

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// placed is a series of an answer in its place in a question.
type placed struct {
	increments.Series // of a native histogram: its count; Points are empty
	below             increments.Series
	hists             []histogram // of a native histogram
	replica           string
	labels            labels.Labels
}

// shape is how a histogram is exposed.
type shape byte

const (
	unknownShape shape = iota
	classicShape
	nativeShape
)

// shaping is the shape in which a histogram was last counted, and when, in ms.
type shaping struct {
	shape shape
	at    int64
}

func (p *placed) shape() shape {
	if len(p.hists) > 0 {
		return nativeShape
	}
	return classicShape
}

// hand is what one question holds of one piece of time before it is counted.
type hand struct {
	series []placed
	parts  []segment
	lacks  []string // targets whose history must be asked for, with their replicas
	wide   int64    // not 0: samples are needed from this moment on, and the hand is good for nothing else
}

// segment is a part of a piece in which one replica is followed. The last samples at or before cut
// are the values before; samples in (cut, from] were counted by another replica.
type segment struct {
	replica  string
	from, to int64
	cut      int64
}

// counter places a series of floats in the question. The bound of a histogram is one series however
// it is spelt: a server that writes 1.0 where it wrote 1 goes on with the same counter.
func (q *question) counter(l labels.Labels) (increments.Series, bool) {
	found, ok := q.plan.Series(l)
	if le := l.Get(labels.BucketLabel); ok && q.Indicator.Kind == sources.Latency && le != "" {
		if usual := strconv.FormatFloat(q.Indicator.Below, 'g', -1, 64); le != usual && q.isThreshold(le) {
			found.Key = labels.NewBuilder(l).Set(labels.BucketLabel, usual).Labels().String()
		}
	}
	return found, ok
}

// place finds the question's series among the samples of the requests that were made for it.
func (s *Source) place(q *question, all []series) []placed {
	var out []placed
	known := map[string]int{} // where in out
	for i := range all {
		one := &all[i]
		p := placed{}
		if s.replicaLabel != "" {
			p.replica = one.labels.Get(s.replicaLabel)
		}
		if len(one.floats) > 0 {
			found, ok := q.counter(one.labels)
			i, again := known[found.Key]
			switch {
			case ok && again: // in another spelling
				out[i].Points = mingled(out[i].Points, one.floats)
			case ok:
				known[found.Key] = len(out)
				f := p
				f.Series = s.regrouped(q, found)
				f.Points, f.labels = one.floats, one.labels
				out = append(out, f)
			}
		}
		if len(one.hists) > 0 {
			count, below, ok := q.plan.Native(one.labels)
			if _, again := known[below.Key]; ok && !again {
				known[below.Key] = len(out)
				h := p
				h.Series, h.below = s.regrouped(q, count), s.regrouped(q, below)
				h.hists, h.labels = one.hists, one.labels
				out = append(out, h)
			}
		}
	}
	return out
}

// mingled are the samples of both, ascending. Where both hold a moment the first says it.
func mingled(a, b []increments.Point) []increments.Point {
	out := slices.Concat(a, b)
	slices.SortStableFunc(out, func(a, b increments.Point) int { return cmp.Compare(a.T, b.T) })
	return slices.CompactFunc(out, func(a, b increments.Point) bool { return a.T == b.T })
}

// regrouped takes the replica out of a series' group: it says who watched, not what happened.
func (s *Source) regrouped(q *question, found increments.Series) increments.Series {
	if i := slices.Index(q.GroupBy, s.replicaLabel); s.replicaLabel != "" && i >= 0 {
		found.Group = slices.Clone(found.Group)
		found.Group[i] = ""
	}
	return found
}

// lookup is the identity under which a series' target is asked for.
func (p *placed) lookup() string { return p.Target + "\xfe" + p.replica }

// examine says which replica counts when, and which series nobody knows.
func (s *Source) examine(q *question, c *cursor, series []placed, start, from, to int64) hand {
	h := hand{series: series}
	if s.replicaLabel == "" {
		h.parts = []segment{{from: from, to: to, cut: from}}
	} else if h.parts, h.wide = s.follow(c, series, start, from, to); h.wide != 0 {
		return h
	}
	if c.whole || q.Indicator.Kind == sources.Gauge {
		return h
	}
	lacks := map[string]bool{}
	for i := range series {
		p := &series[i]
		for _, part := range h.parts {
			if p.replica != part.replica || c.mem.Knows(p.Key) {
				continue
			}
			if _, asked := c.asked[p.lookup()]; asked || p.first() <= part.cut || p.first() > part.to {
				continue
			}
			lacks[p.lookup()] = true
		}
	}
	h.lacks = slices.Sorted(maps.Keys(lacks))
	return h
}

// first is the time of the first sample in hand.
func (p *placed) first() int64 {
	switch {
	case len(p.Points) > 0:
		return p.Points[0].T
	case len(p.hists) > 0:
		return p.hists[0].t
	}
	return math.MaxInt64
}

// last is the time of the last sample in hand.
func (p *placed) last() int64 {
	if n := len(p.hists); n > 0 {
		return p.hists[n-1].t
	}
	if n := len(p.Points); n > 0 {
		return p.Points[n-1].T
	}
	return 0
}

// follow chooses the replica to count from: the one followed before, as long as it speaks. When it
// is silent for longer than a sample vouches, and another one speaks meanwhile, that one is taken
// from the last sample of the first on, with its own samples before as the values before.
func (s *Source) follow(c *cursor, series []placed, start, from, to int64) (parts []segment, wide int64) {
	times := map[string][]int64{}
	for i := range series {
		p := &series[i]
		if p.Role&increments.Total == 0 {
			continue
		}
		for _, point := range p.Points {
			if point.T <= to {
				times[p.replica] = append(times[p.replica], point.T)
			}
		}
		for _, h := range p.hists {
			if h.t <= to {
				times[p.replica] = append(times[p.replica], h.t)
			}
		}
	}
	for _, t := range times {
		slices.Sort(t)
	}

	current, heard := c.replica, c.heard
	if heard == 0 {
		if len(times[current]) == 0 {
			current = busiest(times, "\xff", start, to)
		}
		for _, t := range times[current] {
			if t <= from {
				heard = t
			}
		}
	}
	at, cut := from, from
	for {
		// Where does the replica fall silent?
		last, until, silent := heard, to, false
		for _, t := range times[current] {
			if t <= last {
				continue
			}
			if last != 0 && t-last > s.lookback && busiest(times, current, last, t) != current {
				until, silent = t, true
				break
			}
			last = t
		}
		if !silent && last != 0 && to-last > s.lookback && busiest(times, current, last, to) != current {
			silent = true
		}
		if !silent {
			parts = append(parts, segment{replica: current, from: at, to: to, cut: cut})
			c.follows(current, max(last, heard))
			return parts, 0
		}
		if want := last - s.lookback; want < start && last > from-time.Hour.Milliseconds() {
			return nil, want
		}
		if end := max(from, ceil(last, s.tick)); end > at {
			parts = append(parts, segment{replica: current, from: at, to: end, cut: cut})
			at = end
		}
		current, heard, cut = busiest(times, current, last, until), last, last
		if last <= from-time.Hour.Milliseconds() {
			cut = from // too long ago to read it all: the history says what came before
		}
	}
}

// follows notes the replica for later; it is set by every look at the same samples alike.
func (c *cursor) follows(replica string, heard int64) {
	c.nextReplica, c.nextHeard = replica, heard
}

// busiest is a replica other than this one with samples in (from, to]: of those with nearly as
// many as the one with most the first by name, so that two looks at the same time choose alike.
// Without another it is this one.
func busiest(times map[string][]int64, but string, from, to int64) string {
	most, counts := 0, map[string]int{}
	for replica, all := range times {
		if replica == but {
			continue
		}
		n := 0
		for _, t := range all {
			if t > from && t <= to {
				n++
			}
		}
		counts[replica] = n
		most = max(most, n)
	}
	found, best := false, but
	for replica, n := range counts {
		if n > 0 && n*10 >= most*9 && (!found || replica < best) {
			found, best = true, replica
		}
	}
	if !found && but == "\xff" {
		return ""
	}
	return best
}

// counted is the answer of one piece.
type counted struct {
	increments.Answer
	lacking labels.Labels // a _count series of a histogram without the bound; empty when all have it
}

// count books one piece and moves the cursor to its end. Everything it needs is in hand.
func (s *Source) count(q *question, c *cursor, h hand) counted {
	out := counted{}
	for i, part := range h.parts {
		answer := s.countPart(q, c, h, part)
		if i == 0 {
			out = answer
			continue
		}
		out.add(answer)
	}
	c.replica, c.heard = c.nextReplica, c.nextHeard
	c.sweep(h.parts[len(h.parts)-1].to, q.Period)
	return out
}

func (s *Source) countPart(q *question, c *cursor, h hand, part segment) counted {
	// What belongs to the part.
	var mine []placed
	for _, p := range h.series {
		if p.replica != part.replica {
			continue
		}
		p.Points = cutFloats(p.Points, part)
		p.hists = cutHists(p.hists, part)
		if len(p.Points)+len(p.hists) > 0 {
			mine = append(mine, p)
		}
	}
	for i := range mine {
		c.seen[mine[i].Target] = part.to
		if _, ok := c.asked[mine[i].lookup()]; ok {
			c.asked[mine[i].lookup()] = part.to
		}
	}
	span := slo.Span{From: time.UnixMilli(part.from), To: time.UnixMilli(part.to)}
	if q.Indicator.Kind == sources.Gauge {
		list := make([]increments.Series, len(mine))
		for i := range mine {
			list[i] = mine[i].Series
		}
		in := q.Indicator
		return counted{Answer: c.mem.Events(span, list, func(v float64) bool { return in.Compare.Holds(v) == in.CompareBad })}
	}

	var strays []increments.Series
	var unbounded []int64
	var lacking labels.Labels
	if q.Indicator.Kind == sources.Latency {
		mine, strays, lacking = shaped(mine)
	}
	list := make([]increments.Series, 0, len(mine))
	for i := range mine {
		p := &mine[i]
		if p.shape() == nativeShape {
			p.Points, p.below.Points = c.belowPoints(p, q.Indicator.Below)
			list = append(list, p.Series, p.below)
		} else {
			list = append(list, p.Series)
		}
	}
	if q.Indicator.Kind == sources.Latency {
		c.reshape(mine)
	}
	for _, one := range strays {
		for _, p := range one.Points {
			unbounded = append(unbounded, p.T)
		}
		// What is counted after samples without the bound starts from the last of them.
		if before := keepIf(one.Points, func(p increments.Point) bool { return p.T < firstOf(list, one.Key) }); len(before) > 0 {
			c.mem.Recall(one, before[len(before)-1])
		}
	}
	out := counted{Answer: c.mem.Count(span, list)}
	for _, one := range strays {
		c.mem.Recall(one, one.Points[len(one.Points)-1])
	}
	if c.unbounded != 0 {
		unbounded = append(unbounded, c.unbounded)
	}
	if len(unbounded) > 0 {
		if lacking.Len() == 0 {
			lacking = c.lacking
		}
		if s.strike(&out.Answer, part, unbounded) {
			out.lacking = lacking
		}
		c.unbounded, c.lacking = slices.Max(unbounded), lacking
		if part.to-c.unbounded >= s.lookback {
			c.unbounded, c.lacking = 0, labels.EmptyLabels()
		}
	}
	return out
}

// firstOf is the time of the first sample of a series in the list; the end of time if it is not there.
func firstOf(list []increments.Series, key string) int64 {
	for i := range list {
		if list[i].Key == key && len(list[i].Points) > 0 {
			return list[i].Points[0].T
		}
	}
	return math.MaxInt64
}

// cutFloats are the samples that a part looks at: those up to its end, without the ones that
// another replica counted.
func cutFloats(points []increments.Point, part segment) []increments.Point {
	hi := len(points)
	for hi > 0 && points[hi-1].T > part.to {
		hi--
	}
	points = points[:hi]
	if part.cut >= part.from {
		return points
	}
	return slices.DeleteFunc(slices.Clone(points), func(p increments.Point) bool { return p.T > part.cut && p.T <= part.from })
}

func cutHists(hists []histogram, part segment) []histogram {
	hi := len(hists)
	for hi > 0 && hists[hi-1].t > part.to {
		hi--
	}
	hists = hists[:hi]
	if part.cut >= part.from {
		return hists
	}
	return slices.DeleteFunc(slices.Clone(hists), func(h histogram) bool { return h.t > part.cut && h.t <= part.from })
}

// shaped keeps of every histogram, sample by sample, the shape that can answer: the classic one
// where it has the bound, else the native one. The samples of _count for which neither can are
// strays, without a role; one of their histograms is named.
func shaped(all []placed) (kept []placed, strays []increments.Series, lacking labels.Labels) {
	type family struct{ count, buckets, native []int }
	families := map[string]*family{}
	var order []string
	for i := range all {
		p := &all[i]
		// Replicas and spellings of le apart, the series of one histogram share its labels.
		f := families[p.Family]
		if f == nil {
			f = &family{}
			families[p.Family] = f
			order = append(order, p.Family)
		}
		switch {
		case len(p.hists) > 0:
			f.native = append(f.native, i)
		case p.Role&increments.Total != 0:
			f.count = append(f.count, i)
		default:
			f.buckets = append(f.buckets, i)
		}
	}
	for _, key := range order {
		f := families[key]
		if len(f.count) == 1 && len(f.buckets) == 1 && len(f.native) == 0 &&
			slices.EqualFunc(all[f.count[0]].Points, all[f.buckets[0]].Points, func(a, b increments.Point) bool { return a.T == b.T }) {
			kept = append(kept, all[f.count[0]], all[f.buckets[0]])
			continue
		}
		if len(f.count) == 0 && len(f.buckets) == 0 {
			for _, i := range f.native {
				kept = append(kept, all[i])
			}
			continue
		}
		counts, bounds, natives := map[int64]bool{}, map[int64]bool{}, map[int64]bool{}
		for _, i := range f.count {
			for _, p := range all[i].Points {
				counts[p.T] = true
			}
		}
		for _, i := range f.buckets {
			for _, p := range all[i].Points {
				bounds[p.T] = true
			}
		}
		for _, i := range f.native {
			for _, h := range all[i].hists {
				natives[h.t] = true
			}
		}
		classic := func(p increments.Point) bool { return counts[p.T] && bounds[p.T] }
		for _, i := range slices.Concat(f.count, f.buckets) {
			p := all[i]
			p.Points = keepIf(p.Points, classic)
			if len(p.Points) > 0 {
				kept = append(kept, p)
			}
		}
		for _, i := range f.native {
			p := all[i]
			p.hists = keepIf(p.hists, func(h histogram) bool { return !counts[h.t] || !bounds[h.t] })
			if len(p.hists) > 0 {
				kept = append(kept, p)
			}
		}
		for _, i := range f.count {
			stray := all[i].Series
			stray.Role = 0
			stray.Points = keepIf(stray.Points, func(p increments.Point) bool { return !bounds[p.T] && !natives[p.T] })
			if len(stray.Points) > 0 {
				strays, lacking = append(strays, stray), all[i].labels
			}
		}
	}
	return kept, strays, lacking
}

// keepIf keeps the elements that hold, without a copy where all of them do.
func keepIf[T any](all []T, holds func(T) bool) []T {
	for i, v := range all {
		if !holds(v) {
			out := slices.Clone(all[:i])
			for _, v := range all[i+1:] {
				if holds(v) {
					out = append(out, v)
				}
			}
			return out
		}
	}
	return all
}

// runs are when a histogram was counted in which shape, within one part.
type runs struct{ first, last [nativeShape + 1]int64 }

// reshape notices histograms that changed from one shape to the other. The new shape's counters
// have counted all along, so their first value is a baseline: it counts nothing.
func (c *cursor) reshape(mine []placed) {
	families := map[string]*runs{}
	for i := range mine {
		p := &mine[i]
		r := families[p.Family]
		if r == nil {
			r = &runs{}
			families[p.Family] = r
		}
		k := p.shape()
		if first := p.first(); r.first[k] == 0 || first < r.first[k] {
			r.first[k] = first
		}
		r.last[k] = max(r.last[k], p.last())
	}
	for i := range mine {
		p := &mine[i]
		r, before := families[p.Family], c.shapes[p.Family]
		own, other := p.shape(), classicShape+nativeShape-p.shape()
		switched := before.shape == other && before.at < r.first[own] || r.first[other] != 0 && r.first[other] < r.first[own]
		if !switched || before.shape == own {
			continue
		}
		for _, one := range []increments.Series{p.Series, p.below} {
			if len(one.Points) > 0 {
				one.Role = 0
				c.mem.Recall(one, one.Points[0])
			}
		}
	}
	for key, r := range families {
		now := shaping{classicShape, r.last[classicShape]}
		if r.last[nativeShape] > now.at {
			now = shaping{nativeShape, r.last[nativeShape]}
		}
		if now.at >= c.shapes[key].at {
			c.shapes[key] = now
		}
	}
}

// belowPoints turns the samples of a native histogram into those of two counters: all observations
// and the ones below the threshold. When the server made the buckets coarser, the estimate may
// fall although nothing was reset; it then stays where it was.
func (c *cursor) belowPoints(p *placed, threshold float64) (count, below []increments.Point) {
	count = make([]increments.Point, 0, len(p.hists))
	below = make([]increments.Point, 0, len(p.hists))
	prev, known := c.native[p.Key]
	for _, h := range p.hists {
		if known && h.t <= prev.t || math.IsNaN(h.count) {
			continue
		}
		h.below = increments.Below(increments.Positive(h.buckets), threshold)
		if known && h.count >= prev.count && h.below < prev.below && !increments.SameLayout(prev.buckets, h.buckets) {
			h.below = prev.below
		}
		count = append(count, increments.Point{T: h.t, V: h.count})
		below = append(below, increments.Point{T: h.t, V: h.below})
		prev, known = h, true
	}
	if known {
		c.native[p.Key] = prev
	}
	return count, below
}

// strike takes out of an answer every tick for which a histogram without the bound spoke: its
// events are known to nobody. It reports whether there was one.
func (s *Source) strike(a *increments.Answer, part segment, unbounded []int64) bool {
	bad := map[int64]bool{} // ends of ticks
	for _, t := range unbounded {
		for end := max(ceil(t, s.tick), part.from+s.tick); end < t+s.lookback && end <= part.to; end += s.tick {
			bad[end] = true
		}
	}
	if len(bad) == 0 {
		return false
	}
	struck := func(t time.Time) bool { return bad[ceil(t.UnixMilli(), s.tick)] }
	for i := range a.Groups {
		g := &a.Groups[i]
		g.Increments = slices.DeleteFunc(g.Increments, func(inc slo.Increment) bool { return struck(inc.At) })
		g.Spreads = slices.DeleteFunc(g.Spreads, func(sp slo.Spread) bool { return struck(sp.To) })
	}
	var covered []slo.Span
	for _, span := range a.Covered {
		for end := span.From.UnixMilli() + s.tick; end <= span.To.UnixMilli(); end += s.tick {
			if !bad[end] {
				covered = appendSpan(covered, slo.Span{From: time.UnixMilli(end - s.tick), To: time.UnixMilli(end)})
			}
		}
	}
	a.Covered = covered
	return true
}

// add appends the answer for the time that follows.
func (a *counted) add(next counted) {
	for _, g := range next.Groups {
		key := strings.Join(g.Labels, "\xff")
		i := slices.IndexFunc(a.Groups, func(o slo.GroupSample) bool { return strings.Join(o.Labels, "\xff") == key })
		if i < 0 {
			a.Groups = append(a.Groups, g)
			continue
		}
		a.Groups[i].Increments = append(a.Groups[i].Increments, g.Increments...)
		a.Groups[i].Spreads = append(a.Groups[i].Spreads, g.Spreads...)
	}
	for _, span := range next.Covered {
		a.Covered = appendSpan(a.Covered, span)
	}
	if next.Newest.After(a.Newest) {
		a.Newest = next.Newest
	}
	a.Baselined += next.Baselined
	a.Resets += next.Resets
	a.Series = max(a.Series, next.Series)
	if next.lacking.Len() > 0 {
		a.lacking = next.lacking
	}
}

// appendSpan appends a span, joined to the last one where it follows without a hole.
func appendSpan(spans []slo.Span, next slo.Span) []slo.Span {
	if n := len(spans); n > 0 && spans[n-1].To.Equal(next.From) {
		spans[n-1].To = next.To
		return spans
	}
	return append(spans, next)
}

// ceil is the end of the tick (k·tick, (k+1)·tick] that holds ms.
func ceil(ms, tick int64) int64 {
	q := ms / tick
	if ms%tick > 0 {
		q++
	}
	return q * tick
}
