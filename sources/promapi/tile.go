package promapi

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// stretch is a part (from, to] of a span whose tiles have one length, all in ms. Tiles end on
// multiples of their length in Unix time, and from and to do too, unless the span itself ends there.
type stretch struct{ from, to, tile int64 }

// block is what is known of the tiles of one block of time, a day or a little more, all in ms.
type block struct {
	seen  int64 // moments up to here were looked at; 0: none
	since int64 // from here on the tiles have their length; before, they are plain
	tile  int64 // 0: nothing learned so far
}

const (
	paceLook  = time.Hour        // samples before a moment that say how often a series is scraped
	paceEvery = 10 * time.Minute // moments that are looked at in a block that began in silence
	paceLeast = 5                // differences between a series' samples below which it says nothing
	paceJobs  = 20               // jobs of a question that are looked at
	maxBlocks = 100              // remembered for a question
)

// stretches says how long the tiles of a span are whose increase the server is asked for: four
// samples of a series or more, and a minute or more, since increase() extrapolates over what is
// missing.
//
// How often a series is scraped is learned for every block from the samples before it, and in a
// block that began in silence from those before the first of its moments that has enough; up to
// there tiles are plain: a minute, or the tick. So the lengths follow from what the server holds
// and from nothing else, and the same span is cut alike whenever it is asked, and by whom.
func (s *Source) stretches(ctx context.Context, q *question, span slo.Span) ([]stretch, error) {
	from, to := span.From.UnixMilli(), span.To.UnixMilli()
	length := s.blockLength()
	plain := s.tileOf(0)
	var out []stretch
	add := func(next stretch) {
		next.from, next.to = max(next.from, from), min(next.to, to)
		switch last := len(out) - 1; {
		case next.from >= next.to:
		case last >= 0 && out[last].tile == next.tile:
			out[last].to = next.to
		default:
			out = append(out, next)
		}
	}
	for begin := from / length * length; begin < to; begin += length {
		end := begin + length
		b, err := s.learn(ctx, span.To, q, begin, min(end, to))
		if err != nil {
			return nil, err
		}
		if b.tile == 0 {
			b.since = end
		}
		add(stretch{begin, min(b.since, end), plain})
		add(stretch{b.since, end, b.tile})
	}
	return out, nil
}

// blockLength is a day in whole ticks, in ms.
func (s *Source) blockLength() int64 { return ceil((24 * time.Hour).Milliseconds(), s.tick) }

// tileOf is the length of tiles for series scraped at this pace, in ms: whole ticks that divide a
// block, so that no tile lies across the end of one.
func (s *Source) tileOf(pace int64) int64 {
	ticks := s.blockLength() / s.tick
	n := min(ticks, ceil(max(time.Minute.Milliseconds(), 4*pace), s.tick)/s.tick)
	for ticks%n != 0 {
		n++
	}
	return n * s.tick
}

// learn finds the tiles of the block that begins at a moment, as far as the samples up to another
// one say. What was looked at once is not looked at again.
func (s *Source) learn(ctx context.Context, youngest time.Time, q *question, begin, to int64) (block, error) {
	q.mu.Lock()
	b := q.blocks[begin]
	q.mu.Unlock()
	known := b
	settle := func(at, pace int64) {
		b.tile = s.tileOf(pace)
		b.since = ceil(at, multiple(s.tileOf(0), b.tile))
	}
	if b.seen == 0 {
		pace, err := s.pace(ctx, youngest, q, begin)
		if err != nil {
			return b, err
		}
		if b.seen = begin; pace != 0 {
			settle(begin, pace)
		}
	}
	every := paceEvery.Milliseconds()
	last := begin + (min(to, begin+s.blockLength()-1)-begin)/every*every
	if b.tile == 0 && b.seen < last {
		moments, err := s.lively(ctx, youngest, q, b.seen+every, last, every)
		if err != nil {
			return b, err
		}
		for _, at := range moments {
			pace, err := s.pace(ctx, youngest, q, at)
			if err != nil {
				return b, err
			}
			if pace != 0 {
				settle(at, pace)
				break
			}
		}
		b.seen = last
	}
	if b != known {
		q.mu.Lock()
		if len(q.blocks) >= maxBlocks || q.blocks == nil {
			q.blocks = map[int64]block{}
		}
		if q.blocks[begin].tile == 0 { // somebody else may have seen more meanwhile
			q.blocks[begin] = b
		}
		q.mu.Unlock()
	}
	return b, nil
}

// paced are the selectors whose series say how often a question's targets are scraped.
func (q *question) paced() []selectors.Selector {
	if q.Indicator.Kind == sources.Latency {
		all := q.plan.Selectors()
		return []selectors.Selector{all[0], all[2]}
	}
	return q.apart()
}

// lively are the moments first, first+every … last before which some series had enough samples.
func (s *Source) lively(ctx context.Context, youngest time.Time, q *question, first, last, every int64) ([]int64, error) {
	var out []int64
	for _, sel := range q.paced() {
		found, err := s.matrix(ctx, youngest, fmt.Sprintf("max(count_over_time(%s[%dms]))", sel, paceLook.Milliseconds()), first, last, every)
		if err != nil {
			return nil, err
		}
		for _, one := range found {
			for _, p := range one.floats {
				if p.V > paceLeast {
					out = append(out, p.T)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// pace is the time between two samples of the series whose targets are scraped most seldom, as it
// was before a moment: one series of each job speaks for it, by the median of its differences. In
// whole seconds, since scrapes jitter, as ms; 0 when no series had enough samples.
func (s *Source) pace(ctx context.Context, youngest time.Time, q *question, at int64) (int64, error) {
	slowest := int64(0)
	for _, sel := range q.paced() {
		a, err := s.client.instant(ctx, youngest, fmt.Sprintf("topk by (job) (1, count_over_time(%s[%dms]))", sel, paceLook.Milliseconds()), at)
		if err != nil {
			return 0, err
		}
		var speakers []labels.Labels
		for _, one := range a.series {
			if n := len(one.floats); n > 0 && one.floats[n-1].V > paceLeast && len(speakers) < paceJobs {
				speakers = append(speakers, one.labels)
			}
		}
		if len(speakers) == 0 {
			continue
		}
		if a, err = s.client.instant(ctx, youngest, fmt.Sprintf("%s[%dms]", closely(sel, speakers), paceLook.Milliseconds()), at); err != nil {
			return 0, err
		}
		for _, one := range a.series {
			slowest = max(slowest, one.pace())
		}
	}
	return slowest, nil
}

// pace is the median time between the series' samples in whole seconds, a second or more, as ms;
// 0 when there are too few.
func (one *series) pace() int64 {
	var times []int64
	for _, p := range one.floats {
		times = append(times, p.T)
	}
	for _, h := range one.hists {
		times = append(times, h.t)
	}
	if len(times) <= paceLeast {
		return 0
	}
	slices.Sort(times)
	gaps := make([]int64, len(times)-1)
	for i := range gaps {
		gaps[i] = times[i+1] - times[i]
	}
	slices.Sort(gaps)
	return max(1000, (gaps[len(gaps)/2]+500)/1000*1000)
}

// multiple is the least common multiple of two lengths.
func multiple(a, b int64) int64 {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
