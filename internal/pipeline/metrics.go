package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// Metrics is what the loop says about itself. Every label pair is born at zero, so that a rate
// over it never misses the first failure.
type Metrics struct {
	tickSeconds prometheus.Histogram
	ticksMissed prometheus.Counter
	baselines   prometheus.Counter
	clamped     *prometheus.CounterVec
	folded      *prometheus.GaugeVec
	remaining   *prometheus.GaugeVec
	sources     side
	sinks       side
	dropped     *prometheus.CounterVec
	published   *prometheus.GaugeVec

	clampedSeen map[string]int64
	known       [3]map[string]bool // sources, sinks and objectives with series
}

// side is the four families that sources and sinks have in common.
type side struct {
	up       *prometheus.GaugeVec
	seconds  *prometheus.HistogramVec
	failures *prometheus.CounterVec
	success  *prometheus.GaugeVec
}

// Reasons is the closed list of what may go wrong with a source or sink.
var Reasons = []string{
	"timeout", "refused", "http_4xx", "http_5xx", "decode", "partial", "limit", "redirect",
	"parse", "body_limit", "sample_limit", "other",
}

// NewMetrics registers the families; a nil registerer keeps them to itself.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	sided := func(name, noun string) side {
		return side{
			up: f.NewGaugeVec(prometheus.GaugeOpts{Name: "yoyu_" + name + "_up",
				Help: "Whether the last request to the " + noun + " succeeded."}, []string{name}),
			seconds: f.NewHistogramVec(prometheus.HistogramOpts{Name: "yoyu_" + name + "_request_duration_seconds",
				Help:    "How long requests to the " + noun + " took.",
				Buckets: []float64{.005, .025, .1, .25, 1, 2.5, 10, 30, 120}}, []string{name}),
			failures: f.NewCounterVec(prometheus.CounterOpts{Name: "yoyu_" + name + "_failures_total",
				Help: "Failures of the " + noun + " by reason."}, []string{name, "reason"}),
			success: f.NewGaugeVec(prometheus.GaugeOpts{Name: "yoyu_" + name + "_last_success_timestamp_seconds",
				Help: "When the last request to the " + noun + " succeeded."}, []string{name}),
		}
	}
	return &Metrics{
		tickSeconds: f.NewHistogram(prometheus.HistogramOpts{Name: "yoyu_tick_duration_seconds",
			Help: "How long a turn of the loop took.", Buckets: []float64{.001, .005, .025, .1, .5, 1, 5, 15}}),
		ticksMissed: f.NewCounter(prometheus.CounterOpts{Name: "yoyu_ticks_missed_total",
			Help: "Ticks that were left out because a turn took longer or the clock leapt; their spans are asked for with the next."}),
		baselines: f.NewCounter(prometheus.CounterOpts{Name: "yoyu_series_baselined_total",
			Help: "New series whose first value counted nothing, because nobody knows when its events happened."}),
		clamped: f.NewCounterVec(prometheus.CounterOpts{Name: "yoyu_events_clamped_total",
			Help: "Slots in which bad events were fewer than none or more than all."}, []string{"slo"}),
		folded: f.NewGaugeVec(prometheus.GaugeOpts{Name: "yoyu_slo_groups_folded",
			Help: "Groups beyond group_limit, counted together as _other."}, []string{"slo"}),
		remaining: f.NewGaugeVec(prometheus.GaugeOpts{Name: "yoyu_backfill_remaining_seconds",
			Help: "How much of the past is still to be asked for."}, []string{"source"}),
		sources: sided("source", "source"),
		sinks:   sided("sink", "sink"),
		dropped: f.NewCounterVec(prometheus.CounterOpts{Name: "yoyu_sink_points_dropped_total",
			Help: "Reports or points that a sink never sent, by reason."}, []string{"sink", "reason"}),
		published: f.NewGaugeVec(prometheus.GaugeOpts{Name: "yoyu_sink_series",
			Help: "Series that the newest report has become at a sink; at Datadog these are the custom metrics that it bills."}, []string{"sink"}),
		clampedSeen: map[string]int64{},
		known:       [3]map[string]bool{{}, {}, {}},
	}
}

// keep drops the series of sources, sinks and objectives that are no more, so that no alert over
// them stays for ever.
func (m *Metrics) keep(sourceNames, sinkNames, objectives []string) {
	gone := func(known map[string]bool, now []string, forget func(name string)) {
		for name := range known {
			if !slices.Contains(now, name) {
				delete(known, name)
				forget(name)
			}
		}
		for _, name := range now {
			known[name] = true
		}
	}
	gone(m.known[0], sourceNames, func(name string) {
		m.remaining.DeleteLabelValues(name)
		m.sources.forget("source", name)
	})
	gone(m.known[1], sinkNames, func(name string) {
		m.dropped.DeletePartialMatch(prometheus.Labels{"sink": name})
		m.published.DeleteLabelValues(name)
		m.sinks.forget("sink", name)
	})
	gone(m.known[2], objectives, func(name string) {
		m.folded.DeleteLabelValues(name)
		m.clamped.DeleteLabelValues(name)
		delete(m.clampedSeen, name)
	})
}

func (s *side) forget(label, name string) {
	match := prometheus.Labels{label: name}
	s.up.DeletePartialMatch(match)
	s.seconds.DeletePartialMatch(match)
	s.failures.DeletePartialMatch(match)
	s.success.DeletePartialMatch(match)
}

func (m *Metrics) source(name string) {
	m.remaining.WithLabelValues(name)
	m.sources.born(name)
}

func (m *Metrics) sink(name string) {
	m.sinks.born(name)
	m.dropped.WithLabelValues(name, "busy")
}

func (s *side) born(name string) {
	s.up.WithLabelValues(name)
	s.seconds.WithLabelValues(name)
	s.success.WithLabelValues(name)
	for _, reason := range Reasons {
		s.failures.WithLabelValues(name, reason)
	}
}

func (s *side) done(name string, took time.Duration, err error) {
	s.seconds.WithLabelValues(name).Observe(took.Seconds())
	if err != nil {
		s.up.WithLabelValues(name).Set(0)
		s.failures.WithLabelValues(name, Reason(err)).Inc()
		return
	}
	s.up.WithLabelValues(name).Set(1)
	s.success.WithLabelValues(name).SetToCurrentTime()
}

// Reason is the closed word for a failure: what the error says of itself, else "timeout" or
// "other". It is never the error's text.
func Reason(err error) string {
	var own interface{ Reason() string }
	if errors.As(err, &own) {
		for _, r := range Reasons {
			if own.Reason() == r {
				return r
			}
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	return "other"
}

func (m *Metrics) asked(source string, took time.Duration, err error) {
	m.sources.done(source, took, err)
}

// answered notes a request that succeeded as a whole; one question of it may have failed.
func (m *Metrics) answered(source string, took time.Duration, partly bool) {
	m.sources.seconds.WithLabelValues(source).Observe(took.Seconds())
	if partly {
		m.sources.up.WithLabelValues(source).Set(0)
		return
	}
	m.sources.up.WithLabelValues(source).Set(1)
	m.sources.success.WithLabelValues(source).SetToCurrentTime()
}

// failed notes one question that failed alone.
func (m *Metrics) failed(source string, err error) {
	m.sources.failures.WithLabelValues(source, Reason(err)).Inc()
}

// Failed notes a part of a source that failed while the rest of it answered.
func (m *Metrics) Failed(source string, err error) { m.failed(source, err) }

// Dropped notes points that a sink will never send; 0 of them gives the reason its series.
func (m *Metrics) Dropped(sink, reason string, points int) {
	m.dropped.WithLabelValues(sink, reason).Add(float64(points))
}

// Published notes how many series the newest report has become at a sink that bills by them.
func (m *Metrics) Published(sink string, series int) {
	m.published.WithLabelValues(sink).Set(float64(series))
}

func (m *Metrics) wrote(sink string, took time.Duration, err error) { m.sinks.done(sink, took, err) }
func (m *Metrics) skipped(sink string)                              { m.dropped.WithLabelValues(sink, "busy").Inc() }
func (m *Metrics) ticked(took time.Duration)                        { m.tickSeconds.Observe(took.Seconds()) }
func (m *Metrics) missed(ticks int)                                 { m.ticksMissed.Add(float64(ticks)) }
func (m *Metrics) baselined(series int)                             { m.baselines.Add(float64(series)) }

func (m *Metrics) backfill(source string, left time.Duration) {
	m.remaining.WithLabelValues(source).Set(left.Seconds())
}

// engine copies what the engine counts about itself, once per objective of the report.
func (m *Metrics) engine(e *slo.Engine, r *sinks.Report) {
	var last *slo.Objective
	for i := range r.SLOs {
		o := r.SLOs[i].Objective
		if o == last {
			continue
		}
		last = o
		m.folded.WithLabelValues(o.Name).Set(float64(e.Folded(o.Name)))
		now := e.Clamped(o.Name)
		m.clamped.WithLabelValues(o.Name).Add(float64(max(0, now-m.clampedSeen[o.Name])))
		m.clampedSeen[o.Name] = now
	}
}
