package increments

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Memory is what a question knows of its series as of one moment: their last values, which
// targets were seen, and when it first looked. It is not safe for concurrent use.
//
// A source that asks spans in order keeps one Memory; one that jumps makes a new one and hands it
// the samples before the span. Both give the same Answer.
type Memory struct {
	tick int64 // ms
	keep int64 // ms: how long a last value is kept

	asOf      int64            // ms; 0: nothing counted yet
	firstLook int64            // ms, end of the first tick at which any series had a sample; 0: none yet
	lastTotal int64            // ms, newest sample of a Total series
	last      map[string]Point // last sample by Key
	targets   map[string]seen  // by Target
	parts     map[string]int64 // when any target with these parts was first seen, in ms
	started   map[string]int64 // process start time in ms by Target
}

// seen is when a target first and last had a sample, in ms.
type seen struct{ first, last int64 }

// NewMemory makes an empty memory for a tick and the period for which last values matter.
func NewMemory(tick, keep time.Duration) *Memory {
	return &Memory{
		tick:    tick.Milliseconds(),
		keep:    keep.Milliseconds(),
		last:    map[string]Point{},
		targets: map[string]seen{},
		parts:   map[string]int64{},
		started: map[string]int64{},
	}
}

// AsOf is the end of the last span counted; zero before the first.
func (m *Memory) AsOf() time.Time {
	if m.asOf == 0 {
		return time.Time{}
	}
	return time.UnixMilli(m.asOf)
}

// Len is the number of series remembered.
func (m *Memory) Len() int { return len(m.last) }

// Knows reports whether a last value of the series is remembered. Before a series is called new,
// the source asks the outside system for its last sample and hands it to Recall.
func (m *Memory) Knows(key string) bool { _, ok := m.last[key]; return ok }

// Last is the last value that is remembered of a series; ok is false where there is none.
func (m *Memory) Last(key string) (p Point, ok bool) {
	p, ok = m.last[key]
	return p, ok
}

// Recall hands over a sample of a series that lies before the spans still to count.
func (m *Memory) Recall(s Series, p Point) {
	if math.IsNaN(p.V) {
		return
	}
	m.look(p.T)
	m.see(s.Target, p.T)
	if s.Role&Total != 0 {
		m.lastTotal = max(m.lastTotal, p.T)
	}
	if old, ok := m.last[s.Key]; !ok || p.T > old.T {
		m.last[s.Key] = p
	}
}

// Started hands over the process start time of a target.
func (m *Memory) Started(target string, start time.Time) { m.started[target] = start.UnixMilli() }

// Looked says that the question was asked before: series that appear after this moment are not
// part of the first look.
func (m *Memory) Looked(at time.Time) { m.look(at.UnixMilli()) }

func (m *Memory) look(ms int64) {
	if end := ceil(ms, m.tick); m.firstLook == 0 || end < m.firstLook {
		m.firstLook = end
	}
}

func (m *Memory) see(target string, ms int64) {
	s, ok := m.targets[target]
	if !ok {
		s = seen{ms, ms}
	}
	if !ok || ms < s.first {
		m.part(target, ms)
	}
	m.targets[target] = seen{min(s.first, ms), max(s.last, ms)}
}

// part notes when a target was seen first, for series that carry only a part of its labels.
func (m *Memory) part(target string, ms int64) {
	labels := strings.Split(target, "\xff")
	for without := range 1 << len(labels) {
		part := slices.Clone(labels)
		for i := range part {
			if without&(1<<i) != 0 {
				part[i] = ""
			}
		}
		key := strings.Join(part, "\xff")
		if first, ok := m.parts[key]; !ok || ms < first {
			m.parts[key] = ms
		}
	}
}

// Count books the increases of the span and moves the memory to its end. The span lies on whole
// ticks. Samples outside of it and after the last one counted of their series are left out, so
// that a sample seen twice counts once.
func (m *Memory) Count(span slo.Span, series []Series) Answer {
	from, to := span.From.UnixMilli(), span.To.UnixMilli()
	answer := Answer{}

	// Samples before the span are the values before; the rest first of all says who was seen when.
	points := make([][]Point, len(series))
	for i, s := range series {
		k := 0
		for k < len(s.Points) && s.Points[k].T <= from {
			m.Recall(s, s.Points[k])
			k++
		}
		points[i] = m.fresh(s, s.Points[k:], to)
		if len(points[i]) > 0 {
			answer.Series++
			m.look(points[i][0].T)
			m.see(s.Target, points[i][0].T)
			m.see(s.Target, points[i][len(points[i])-1].T)
		}
	}

	resets := m.familyResets(series, points)
	book := newBook(from, to, m.tick)
	total := make([]int64, 0, 64) // times of Total samples
	for i, s := range series {
		if len(points[i]) == 0 {
			continue
		}
		prev, known := m.last[s.Key]
		for _, p := range points[i] {
			if s.Role&Total != 0 {
				total = append(total, p.T)
			}
			switch {
			case !known:
				if m.counts(s, p) {
					book.add(s, p.T, p.V)
				} else {
					answer.Baselined++
				}
			default:
				inc := p.V - prev.V
				if restarted(prev, p) || resets.at(s.Family, p.T) {
					inc = p.V
					answer.Resets++
				}
				if gap := p.T - prev.T; gap > MaxGap(time.Duration(m.tick)*time.Millisecond).Milliseconds() {
					book.spread(s, prev.T, p.T, inc)
				} else {
					book.add(s, p.T, inc)
				}
			}
			prev, known = p, true
		}
		m.last[s.Key] = prev
	}

	answer.Groups = book.groups()
	answer.Covered = m.cover(from, to, total)
	if m.lastTotal > 0 {
		answer.Newest = time.UnixMilli(m.lastTotal)
	}
	m.asOf = to
	m.forget(to)
	return answer
}

// restarted reports whether a counter began again between two samples. The same created time twice
// is one life, also where it lies after the first sample: clocks differ, and a scrape that is
// booked at its tick happened a moment later.
func restarted(prev, p Point) bool {
	return p.V < prev.V || p.Start > prev.T && p.Start != prev.Start
}

// fresh are the points of a series that are new, ascending and numbers.
func (m *Memory) fresh(s Series, points []Point, to int64) []Point {
	after := int64(math.MinInt64)
	if p, ok := m.last[s.Key]; ok {
		after = p.T
	}
	clean := true
	for _, p := range points {
		if p.T <= after || p.T > to || math.IsNaN(p.V) || p.V < 0 || math.IsInf(p.V, 0) {
			clean = false
			break
		}
		after = p.T
	}
	if clean {
		return points
	}
	after = math.MinInt64
	if p, ok := m.last[s.Key]; ok {
		after = p.T
	}
	out := make([]Point, 0, len(points))
	for _, p := range points {
		if p.T <= after || p.T > to || math.IsNaN(p.V) || p.V < 0 || math.IsInf(p.V, 0) {
			continue
		}
		out, after = append(out, p), p.T
	}
	return out
}

// counts reports whether the first value of a new series is events that happened while watched.
func (m *Memory) counts(s Series, p Point) bool {
	if ceil(p.T, m.tick) <= m.firstLook {
		return false // the first look sees baselines
	}
	if s.Target == "" {
		return true // it belongs to the source itself, which was seen by then
	}
	if first, ok := m.parts[s.Target]; ok && first < p.T {
		return true
	}
	if p.Start > m.firstLook {
		return true
	}
	return m.started[s.Target] > m.firstLook
}

// cover are the ticks of the span that a Total series vouches for: it had a sample in the tick or
// in the lookback before its end.
func (m *Memory) cover(from, to int64, total []int64) []slo.Span {
	slices.Sort(total)
	lookback := Lookback(time.Duration(m.tick) * time.Millisecond).Milliseconds()
	var spans []slo.Span
	for end := from + m.tick; end <= to; end += m.tick {
		for len(total) > 0 && total[0] <= end {
			m.lastTotal = max(m.lastTotal, total[0])
			total = total[1:]
		}
		if m.lastTotal == 0 || m.lastTotal <= end-lookback {
			continue
		}
		start, stop := time.UnixMilli(end-m.tick), time.UnixMilli(end)
		if n := len(spans); n > 0 && spans[n-1].To.Equal(start) {
			spans[n-1].To = stop
		} else {
			spans = append(spans, slo.Span{From: start, To: stop})
		}
	}
	return spans
}

// forget drops last values and targets older than the period.
func (m *Memory) forget(now int64) {
	if m.keep <= 0 {
		return
	}
	old := now - m.keep
	for key, p := range m.last {
		if p.T <= old {
			delete(m.last, key)
		}
	}
	gone := false
	for target, s := range m.targets {
		if s.last <= old {
			delete(m.targets, target)
			delete(m.started, target)
			gone = true
		}
	}
	if gone {
		m.parted()
	}
}

// parted makes parts anew from the targets that are known.
func (m *Memory) parted() {
	clear(m.parts)
	for target, s := range m.targets {
		m.part(target, s.first)
	}
}

// familyResets finds the moments at which any series of a histogram started again.
func (m *Memory) familyResets(series []Series, points [][]Point) resets {
	var found resets
	for i, s := range series {
		if s.Family == "" {
			continue
		}
		prev, known := m.last[s.Key]
		for _, p := range points[i] {
			if known && restarted(prev, p) {
				if found == nil {
					found = resets{}
				}
				found[reset{s.Family, p.T}] = struct{}{}
			}
			prev, known = p, true
		}
	}
	return found
}

type reset struct {
	family string
	at     int64
}

type resets map[reset]struct{}

func (r resets) at(family string, ms int64) bool {
	if family == "" || r == nil {
		return false
	}
	_, ok := r[reset{family, ms}]
	return ok
}

// book collects what is counted, by group and slot.
type book struct {
	from, tick int64
	slots      int
	pages      map[string]*page
}

type page struct {
	labels     []string
	total, bad []float64 // by slot
	spreads    []slo.Spread
}

func newBook(from, to, tick int64) *book {
	return &book{from: from, tick: tick, slots: int((to - from) / tick), pages: map[string]*page{}}
}

func (b *book) page(s Series) *page {
	key := strings.Join(s.Group, "\xff")
	p, ok := b.pages[key]
	if !ok {
		p = &page{labels: s.Group, total: make([]float64, b.slots), bad: make([]float64, b.slots)}
		b.pages[key] = p
	}
	return p
}

func (b *book) add(s Series, at int64, inc float64) {
	p := b.page(s)
	if inc == 0 {
		return
	}
	slot := int((ceil(at, b.tick)-b.from)/b.tick) - 1
	if s.Role&Total != 0 {
		p.total[slot] += inc
	}
	if s.Role&Bad != 0 {
		p.bad[slot] += inc
	}
	if s.Role&Good != 0 {
		p.bad[slot] -= inc
	}
}

func (b *book) spread(s Series, from, to int64, inc float64) {
	p := b.page(s)
	if inc == 0 {
		return
	}
	spread := slo.Spread{From: time.UnixMilli(from), To: time.UnixMilli(to)}
	if s.Role&Total != 0 {
		spread.Total = inc
	}
	if s.Role&Bad != 0 {
		spread.Bad = inc
	}
	if s.Role&Good != 0 {
		spread.Bad -= inc
	}
	p.spreads = append(p.spreads, spread)
}

// groups are the pages in a stable order.
func (b *book) groups() []slo.GroupSample {
	keys := make([]string, 0, len(b.pages))
	for key := range b.pages {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out := make([]slo.GroupSample, 0, len(keys))
	for _, key := range keys {
		p := b.pages[key]
		g := slo.GroupSample{Labels: p.labels, Spreads: p.spreads}
		for i := range p.total {
			if p.total[i] == 0 && p.bad[i] == 0 {
				continue
			}
			g.Increments = append(g.Increments, slo.Increment{
				At:    time.UnixMilli(b.from + int64(i+1)*b.tick),
				Total: p.total[i],
				Bad:   p.bad[i],
			})
		}
		out = append(out, g)
	}
	return out
}

// ceil is the end of the slot (k·tick, (k+1)·tick] that holds ms.
func ceil(ms, tick int64) int64 {
	q := ms / tick
	if ms%tick > 0 {
		q++
	}
	return q * tick
}
