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
