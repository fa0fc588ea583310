package app

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/version"

	"github.com/yoyu-sre/yoyu/internal/web"
)

// inside tells how the daemon is. What /metrics says too is read from the same registry, so that the
// two cannot disagree.
func (d *daemon) inside(st *web.Status) {
	m := gathered(d.registry)
	st.Started = d.began
	st.Version = web.StatusVersion{Version: version.Version, Revision: version.GetRevision(), GoVersion: version.GoVersion}
	st.Store = d.state.status()
	st.Store.Bytes = m.value("yoyu_store_size_bytes", "", "")
	st.Store.Writable = m.value("yoyu_store_writable", "", "") == 1
	st.Config.ReloadedOK = m.value("yoyu_config_last_reload_successful", "", "") == 1
	st.Config.Reloaded = moment(m.value("yoyu_config_last_reload_success_timestamp_seconds", "", ""))
	c := d.present.Load()
	if c == nil {
		return // nothing was read yet
	}
	next := time.Now().Truncate(c.Tick).Add(c.Tick)
	st.Tick, st.NextTick = c.Tick.Seconds(), &next
	answers := map[string]int{}
	for _, q := range c.Questions {
		answers[q.Source]++
	}
	for _, s := range c.Sources {
		st.Sources = append(st.Sources, web.StatusSource{
			Name: s.Name, Type: s.Type, SLOs: answers[s.Name], Delay: s.Delay.Seconds(),
			Up: m.value("yoyu_source_up", "source", s.Name) == 1, LastSuccess: moment(m.value("yoyu_source_last_success_timestamp_seconds", "source", s.Name)),
			Backfill: m.value("yoyu_backfill_remaining_seconds", "source", s.Name), Failures: m.reasons("yoyu_source_failures_total", "source", s.Name),
		})
	}
	sink := func(name, kind string) {
		st.Sinks = append(st.Sinks, web.StatusSink{
			Name: name, Type: kind, Up: m.value("yoyu_sink_up", "sink", name) == 1,
			LastSuccess: moment(m.value("yoyu_sink_last_success_timestamp_seconds", "sink", name)),
			Failures:    m.reasons("yoyu_sink_failures_total", "sink", name), Dropped: m.reasons("yoyu_sink_points_dropped_total", "sink", name),
		})
	}
	for _, s := range c.Sinks {
		sink(s.Name, s.Type)
	}
	sink(d.exposed.Name(), "metrics")
	sink(d.face.Name(), "web")
	if text, err := c.Shown(); err != nil {
		d.log.Error("configuration cannot be shown", "err", err)
	} else {
		st.Config.YAML = string(text)
	}
}

// families are the metrics of a registry at one moment.
type families map[string]*dto.MetricFamily

func gathered(g prometheus.Gatherer) families {
	all, _ := g.Gather() // what could be gathered is there all the same
	out := families{}
	for _, f := range all {
		out[f.GetName()] = f
	}
	return out
}

// value is of the series with a label, or of the only one; 0 for one that is not there.
func (f families) value(family, label, value string) float64 {
	for _, m := range f[family].GetMetric() {
		if label == "" || labelled(m, label) == value {
			if m.Counter != nil {
				return m.Counter.GetValue()
			}
			return m.Gauge.GetValue()
		}
	}
	return 0
}

// reasons are the counters of a family by reason, those above 0.
func (f families) reasons(family, label, value string) map[string]float64 {
	out := map[string]float64{}
	for _, m := range f[family].GetMetric() {
		if v := m.Counter.GetValue(); labelled(m, label) == value && v > 0 {
			out[labelled(m, "reason")] = v
		}
	}
	return out
}

func labelled(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// moment is a timestamp of a metric; nil for 0, which is none.
func moment(seconds float64) *time.Time {
	if seconds == 0 {
		return nil
	}
	whole, part := math.Modf(seconds)
	at := time.Unix(int64(whole), int64(part*1e9)).UTC()
	return &at
}

// status is where the state is kept, and what is wrong with it.
func (s *state) status() web.StatusStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := web.StatusStore{Path: s.file(), Trouble: s.trouble}
	if !s.committed.IsZero() {
		at := s.committed.UTC()
		out.LastCommit = &at
	}
	return out
}
