package datadog

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Type is the kind of a metric.
type Type uint8

// The kinds of metrics.
const (
	Gauge        Type = iota
	Count             // events in the interval that ends with the point
	Rate              // events a second in the interval: what a DogStatsD counter is stored as
	Distribution      // single values: of latencies, say
)

// String is the kind as the API names it.
func (t Type) String() string { return [...]string{"gauge", "count", "rate", "distribution"}[t] }

// Metric is what tells a series from the others, and how its numbers are meant.
type Metric struct {
	Name     string
	Type     Type
	Interval int64 // seconds that a point of a count or rate stands for
	Tags     []string
	Host     string // "" is none
}

// Point is a value at a whole second.
type Point struct {
	At      time.Time
	Value   float64
	Values  []float64 // of a distribution: all of that second
	Visible time.Time // queries before this moment do not see it; zero: at once

	before *Point // what the second held before, for queries that do not see this one yet
}

// Series is a metric with its points, oldest first.
type Series struct {
	Metric
	Points []Point
}

// store holds all series of an organisation. Series that differ only in the order of their tags
// are one. A second has one value: the last that was written.
type store struct {
	series map[string]*Series
	names  map[string][]*Series
}

func (m Metric) id() string {
	var b strings.Builder
	b.WriteString(m.Name)
	b.WriteByte(0)
	b.WriteString(m.Host)
	for _, tag := range m.Tags {
		b.WriteByte(0)
		b.WriteString(tag)
	}
	return b.String()
}

// put stores points of a series whose tags are sorted.
func (st *store) put(m Metric, points []Point) {
	if st.series == nil {
		st.series, st.names = map[string]*Series{}, map[string][]*Series{}
	}
	id := m.id()
	s := st.series[id]
	if s == nil {
		s = &Series{Metric: m}
		st.series[id] = s
		st.names[m.Name] = append(st.names[m.Name], s)
	}
	s.Type, s.Interval = m.Type, m.Interval
	for _, p := range points {
		i, found := slices.BinarySearchFunc(s.Points, p, func(a, b Point) int { return a.At.Compare(b.At) })
		if found {
			if old := s.Points[i]; !p.Visible.IsZero() {
				p.before = &old
				old.before = nil // one is enough: who writes a second again and again, waits
			}
			s.Points[i] = p
		} else {
			s.Points = slices.Insert(s.Points, i, p)
		}
	}
}

// sorted are copies of series by name, then tags and host.
func sorted(all []*Series) []Series {
	out := make([]Series, len(all))
	for i, s := range all {
		out[i] = *s
		out[i].Tags, out[i].Points = slices.Clone(s.Tags), slices.Clone(s.Points)
	}
	slices.SortFunc(out, func(a, b Series) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), slices.Compare(a.Tags, b.Tags), cmp.Compare(a.Host, b.Host))
	})
	return out
}

// Stored are all series with their points, by name and tags, also what is not visible yet.
func (d *Datadog) Stored() []Series {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*Series, 0, len(d.store.series))
	for _, s := range d.store.series {
		all = append(all, s)
	}
	return sorted(all)
}

// Series are the series of one name.
func (d *Datadog) Series(name string) []Series {
	d.mu.Lock()
	defer d.mu.Unlock()
	return sorted(d.store.names[name])
}

// Seed stores points as somebody else has sent them, whatever their age. Name and tags are
// normalised; a point without a moment of visibility is visible at once.
func (d *Datadog) Seed(m Metric, points ...Point) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m.Name = storedName(m.Name)
	tags := make([]string, 0, len(m.Tags))
	for _, tag := range m.Tags {
		if stored := storedTag(tag); stored != "" {
			tags = append(tags, stored)
		}
	}
	slices.Sort(tags)
	m.Tags = slices.Compact(tags)
	kept := make([]Point, len(points))
	for i, p := range points {
		p.At = p.At.UTC().Truncate(time.Second)
		kept[i] = p
	}
	d.store.put(m, kept)
}

// Forget drops every point, as if nobody had ever sent one.
func (d *Datadog) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.store = store{}
}
