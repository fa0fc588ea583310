package cloudwatch

import (
	"math"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// How long CloudWatch keeps what in which periods (GetMetricData in its API reference): minutes for
// 15 days, five of them together for 63, whole hours for 455. Asked for more than it has, it answers
// with nothing, and calls that complete.
const (
	minutes = time.Minute
	fives   = 5 * time.Minute
	hours   = time.Hour

	keptMinutes = 15 * slo.Day
	keptFives   = 63 * slo.Day
	oldest      = 455 * slo.Day

	// early is by how much a coarser period is asked for before it has to be: an answer that was under
	// way while its data went would be a hole.
	early = 2 * time.Hour
)

// eras say in which periods a moment's data can be had. They begin on whole hours, so that no bucket
// lies in two of them.
type eras struct {
	minutes, fives, oldest int64 // Unix milliseconds from which on these periods are there
}

func erasAt(now time.Time) eras {
	from := func(kept time.Duration) int64 {
		return -floor(-now.Add(early-kept).UnixMilli(), hours)
	}
	return eras{minutes: from(keptMinutes), fives: from(keptFives), oldest: from(oldest)}
}

// width is the length of the bucket that begins at a moment.
func (e eras) width(start int64) int64 {
	switch {
	case start >= e.minutes:
		return minutes.Milliseconds()
	case start >= e.fives:
		return fives.Milliseconds()
	}
	return hours.Milliseconds()
}

// segment is a piece of time that is asked for in one period, on whole buckets.
type segment struct {
	from, to int64 // Unix milliseconds
	period   time.Duration
}

// segments divide [from, to) by what can be had, oldest first. What CloudWatch has forgotten is left
// out.
func (e eras) segments(from, to int64) []segment {
	var out []segment
	add := func(low, high int64, period time.Duration) {
		low, high = floor(max(from, low), period), -floor(-min(to, high), period)
		if low < high {
			out = append(out, segment{low, high, period})
		}
	}
	add(e.oldest, e.fives, hours)
	add(e.fives, e.minutes, fives)
	add(e.minutes, math.MaxInt64/2, minutes)
	return out
}

// shares divides the events of one bucket over its minutes, evenly and in whole events, good ones and
// bad ones by themselves: MATHS has it so for a gap.
func shares(all, bad float64, count int) [][2]float64 {
	out := make([][2]float64, count)
	part := func(n float64, i int) float64 {
		before := math.Floor(n * float64(i) / float64(count))
		if i+1 == count {
			return n - before
		}
		return math.Floor(n*float64(i+1)/float64(count)) - before
	}
	for i := range out {
		b := part(bad, i)
		out[i] = [2]float64{part(all-bad, i) + b, b}
	}
	return out
}

// floor is the last whole multiple of a step at or before a moment in Unix milliseconds.
func floor(ms int64, step time.Duration) int64 {
	width := step.Milliseconds()
	rest := ms % width
	if rest < 0 {
		rest += width
	}
	return ms - rest
}
