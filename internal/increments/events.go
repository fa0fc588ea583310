package increments

import (
	"math"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Events books every sample of a gauge in the span as one event, bad where bad says so. NaN
// samples are no events; a sample seen twice counts once. Like Count it moves the memory on.
func (m *Memory) Events(span slo.Span, series []Series, bad func(v float64) bool) Answer {
	from, to := span.From.UnixMilli(), span.To.UnixMilli()
	answer := Answer{}
	book := newBook(from, to, m.tick)
	var times []int64
	for _, s := range series {
		prev := m.last[s.Key]
		first := true
		for _, p := range s.Points {
			if math.IsNaN(p.V) || p.T > to || p.T <= prev.T {
				continue
			}
			prev = p
			if p.T <= from {
				m.lastTotal = max(m.lastTotal, p.T)
				continue
			}
			if first {
				answer.Series, first = answer.Series+1, false
			}
			times = append(times, p.T)
			event := s
			event.Role = Total
			if bad(p.V) {
				event.Role |= Bad
			}
			book.add(event, p.T, 1)
		}
		if prev.T != 0 {
			m.last[s.Key] = prev
		}
	}
	answer.Groups = book.groups()
	answer.Covered = m.cover(from, to, times)
	if m.lastTotal > 0 {
		answer.Newest = time.UnixMilli(m.lastTotal)
	}
	m.asOf = to
	m.forget(to)
	return answer
}

// Bucket is one bucket of a native histogram: Count observations in (Lower, Upper].
type Bucket struct {
	Lower, Upper float64
	Count        float64
}

// Below is the number of a native histogram's observations at or below a threshold. Inside the
// bucket that holds the threshold it interpolates as Prometheus' histogram_fraction does: on a
// logarithmic scale where the bucket does not touch zero, linearly where it does.
func Below(buckets []Bucket, threshold float64) float64 {
	below := 0.0
	for _, b := range buckets {
		switch {
		case b.Upper <= threshold:
			below += b.Count
		case b.Lower < threshold:
			below += b.Count * share(b, threshold)
		}
	}
	return below
}

func share(b Bucket, threshold float64) float64 {
	switch {
	case math.IsInf(b.Lower, 0) || math.IsInf(b.Upper, 0):
		return 0 // nobody knows where in an endless bucket the observations lie
	case b.Lower > 0:
		return (math.Log2(threshold) - math.Log2(b.Lower)) / (math.Log2(b.Upper) - math.Log2(b.Lower))
	case b.Upper < 0:
		return 1 - (math.Log2(-threshold)-math.Log2(-b.Upper))/(math.Log2(-b.Lower)-math.Log2(-b.Upper))
	}
	return (threshold - b.Lower) / (b.Upper - b.Lower)
}
