// Package prom shows the newest report to whoever scrapes /metrics.
//
// It is a sink and a prometheus.Collector at once, to be registered beside yoyu's own metrics. A
// report is turned into metrics when it is written, not when it is scraped: scrapes only read an
// atomic snapshot, so they wait for nobody, hold up no tick, see whole reports only, and cost the
// same however many there are. Before the first report it shows nothing.
//
//	*Report ──Write──▶ snapshot ──Collect──▶ registry ──▶ promhttp
package prom

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/yoyu-sre/yoyu/sinks"
)

// Sink holds the newest report as metrics. It is safe for concurrent use.
//
// As a collector it is unchecked, because SLOs differ in their labels.
type Sink struct {
	name      string
	selection sinks.Selection
	metrics   atomic.Pointer[[]prometheus.Metric]

	// Of the writer alone: what one report shares with the next.
	pairs map[sinks.Label]*dto.LabelPair
	descs map[*sinks.Family]*prometheus.Desc
}

var (
	_ sinks.Sink           = (*Sink)(nil)
	_ prometheus.Collector = (*Sink)(nil)
)

// Options are the choices of the metrics page.
type Options struct {
	Name       string // of the sink in logs and in yoyu's own metrics; "metrics" unless told
	AllWindows bool   // slo_error_ratio and slo_window_coverage_ratio for every window (series: full)
}

// New makes a sink that shows nothing yet.
func New(o Options) *Sink {
	s := &Sink{
		name:      cmp.Or(o.Name, "metrics"),
		selection: sinks.Selection{AllWindows: o.AllWindows},
		pairs:     map[sinks.Label]*dto.LabelPair{},
		descs:     map[*sinks.Family]*prometheus.Desc{},
	}
	for _, f := range sinks.Families {
		// The labels of a Desc matter to checked collectors only.
		s.descs[f] = prometheus.NewDesc(f.Name, f.Help, nil, nil)
	}
	return s
}

// Name is the sink's name.
func (s *Sink) Name() string { return s.name }

// Write replaces what is shown. It keeps nothing of the report but its strings, and has nothing to
// wait for: an ended context is an error, and what was shown before stays.
func (s *Sink) Write(ctx context.Context, r *sinks.Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	size := 0
	if old := s.metrics.Load(); old != nil {
		size = len(*old)
	}
	// Series come and go (groups, containers); past twice the need the pairs start again.
	if len(s.pairs) > 1024+2*size {
		clear(s.pairs)
	}

	metrics := make([]prometheus.Metric, 0, size)
	for p := range r.Points(s.selection) {
		m := &metric{desc: s.descs[p.Family], counter: p.Family.Type == sinks.Counter, value: p.Value}
		m.labels = make([]*dto.LabelPair, len(p.Labels))
		for i, l := range p.Labels {
			m.labels[i] = s.pair(l)
		}
		slices.SortFunc(m.labels, func(a, b *dto.LabelPair) int { return strings.Compare(*a.Name, *b.Name) })
		metrics = append(metrics, m)
	}
	s.metrics.Store(&metrics)
	return nil
}

// pair is a label as the registry wants it, made once for all series that carry it. A value that
// is not UTF-8 would cost the whole scrape, so what is broken in it is replaced.
func (s *Sink) pair(l sinks.Label) *dto.LabelPair {
	if pair, ok := s.pairs[l]; ok {
		return pair
	}
	name, value := l.Name, strings.ToValidUTF8(l.Value, "\uFFFD")
	pair := &dto.LabelPair{Name: &name, Value: &value}
	s.pairs[l] = pair
	return pair
}

// Describe sends nothing: the collector is unchecked.
func (s *Sink) Describe(chan<- *prometheus.Desc) {}

// Collect sends the newest report's series.
func (s *Sink) Collect(ch chan<- prometheus.Metric) {
	metrics := s.metrics.Load()
	if metrics == nil {
		return
	}
	for _, m := range *metrics {
		ch <- m
	}
}

// metric is one series of a snapshot. Nobody changes it.
type metric struct {
	desc    *prometheus.Desc
	labels  []*dto.LabelPair // by name
	value   float64
	counter bool
}

// Desc names the family.
func (m *metric) Desc() *prometheus.Desc { return m.desc }

// Write hands over the value and the shared labels, which are immutable by the registry's contract.
func (m *metric) Write(out *dto.Metric) error {
	out.Label = m.labels
	if m.counter {
		out.Counter = &dto.Counter{Value: &m.value}
	} else {
		out.Gauge = &dto.Gauge{Value: &m.value}
	}
	return nil
}
