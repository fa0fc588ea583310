// Package compatibility shows the newest report under the names of other projects, so that dashboards
// and rules which were written for them go on working: Sloth's recordings, Pyrra's generic rules, and
// what kube-state-metrics said of VerticalPodAutoscalers up to version 2.8.
//
//	*Report ──Write──▶ []prometheus.Metric ◀──Collect── /metrics
//
// The numbers are yoyu's own, under rules that the others break: what is undefined is absent where
// Sloth records NaN, and the ratio of the period is that of its events, not a mean of ratios.
package compatibility

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// Project is one whose names are used.
type Project string

// The projects.
const (
	Sloth            Project = "sloth"
	Pyrra            Project = "pyrra"
	KubeStateMetrics Project = "kube-state-metrics"
)

// Projects are all of them.
var Projects = []Project{Sloth, Pyrra, KubeStateMetrics}

// Sink holds the newest report as metrics of other projects, and is a collector of them. It is safe for
// concurrent use.
type Sink struct {
	shows atomic.Pointer[[]Project]
	now   atomic.Pointer[[]prometheus.Metric]
}

var (
	_ sinks.Sink           = (*Sink)(nil)
	_ prometheus.Collector = (*Sink)(nil)
)

// New makes a sink that shows nothing until it is told what to show.
func New() *Sink { return &Sink{} }

// Name is the sink's name.
func (s *Sink) Name() string { return "compatibility" }

// Show says whose names are used, from the next report on. None: what was shown is gone at once.
func (s *Sink) Show(projects []Project) {
	s.shows.Store(&projects)
	if len(projects) == 0 {
		s.now.Store(nil)
	}
}

// Write replaces what is shown. An ended context is an error, and what was shown before stays.
func (s *Sink) Write(ctx context.Context, r *sinks.Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &page{seen: map[string]bool{}}
	if projects := s.shows.Load(); projects != nil {
		for i := range r.SLOs {
			st := &r.SLOs[i]
			first := i == 0 || r.SLOs[i-1].Objective.Name != st.Objective.Name
			if slices.Contains(*projects, Sloth) {
				p.sloth(st, first)
			}
			if slices.Contains(*projects, Pyrra) {
				p.pyrra(st)
			}
		}
		if slices.Contains(*projects, KubeStateMetrics) {
			for i := range r.Workloads {
				p.vpa(&r.Workloads[i])
			}
		}
	}
	s.now.Store(&p.metrics)
	return nil
}

// Describe announces nothing: which labels there are is known by the report alone.
func (s *Sink) Describe(chan<- *prometheus.Desc) {}

// Collect sends what is shown.
func (s *Sink) Collect(to chan<- prometheus.Metric) {
	now := s.now.Load()
	if now == nil {
		return
	}
	for _, m := range *now {
		to <- m
	}
}

// page gathers the metrics of one report. A series that comes twice, as two SLOs may have one name to
// another project, comes once: twice would cost the whole scrape.
type page struct {
	metrics []prometheus.Metric
	seen    map[string]bool
}

// put adds a series. Labels without a value are none, and of two with one name the first counts.
func (p *page) put(name, help string, value float64, labels ...sinks.Label) {
	if value-value != 0 { // not a number, or infinite
		return
	}
	set := make(prometheus.Labels, len(labels))
	for _, l := range labels {
		if _, taken := set[l.Name]; !taken && l.Value != "" && model.LegacyValidation.IsValidLabelName(l.Name) {
			set[l.Name] = strings.ToValidUTF8(l.Value, "\uFFFD")
		}
	}
	var key strings.Builder
	key.WriteString(name)
	for _, label := range slices.Sorted(maps.Keys(set)) {
		key.WriteString("\xff" + label + "\xff" + set[label])
	}
	if p.seen[key.String()] {
		return
	}
	p.seen[key.String()] = true
	p.metrics = append(p.metrics, prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, set), prometheus.GaugeValue, value))
}

func (p *page) putValue(name, help string, v slo.Value, labels ...sinks.Label) {
	if v.Defined {
		p.put(name, help, v.Float, labels...)
	}
}

// own are the labels of an objective, and of a group of it.
func own(st *slo.Status, group bool) []sinks.Label {
	var out []sinks.Label
	o := st.Objective
	if group {
		for k, name := range o.GroupBy {
			if k < len(st.Labels) {
				out = append(out, sinks.Label{Name: name, Value: st.Labels[k]})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Labels)) {
		out = append(out, sinks.Label{Name: name, Value: o.Labels[name]})
	}
	return out
}

// sloth puts what Sloth would record of one budget; what it says of an SLO as a whole with the first.
// An SLO named "service-name", as one that is read from a specification of Sloth's, is its "name".
func (p *page) sloth(st *slo.Status, first bool) {
	o := st.Objective
	short := strings.TrimPrefix(o.Name, o.Service+"-")
	if o.Service == "" || short == "" {
		short = o.Name
	}
	id := []sinks.Label{{Name: "sloth_id", Value: strings.TrimPrefix(o.Service+"-"+short, "-")}, {Name: "sloth_service", Value: o.Service}, {Name: "sloth_slo", Value: short}}
	if first {
		all := append(id[:3:3], own(st, false)...)
		p.put("slo:objective:ratio", "Promised share of good events.", o.Target.Float(), all...)
		p.put("slo:error_budget:ratio", "Share of events that may be bad.", o.Target.Rest().Float(), all...)
		p.put("slo:time_period:days", "Length of the compliance period.", o.Period.Length.Hours()/24, all...)
		p.put("sloth_slo_info", "An SLO.", 1, append(all[:len(all):len(all)],
			sinks.Label{Name: "sloth_version", Value: "yoyu"}, sinks.Label{Name: "sloth_mode", Value: "yoyu"},
			sinks.Label{Name: "sloth_spec", Value: "prometheus/v1"}, sinks.Label{Name: "sloth_objective", Value: o.Target.Percent()})...)
	}
	if st.NoGroup {
		return
	}
	all := append(id[:3:3], own(st, true)...)
	for i := range st.Windows {
		w := &st.Windows[i]
		text := model.Duration(w.Length).String() // 28 days are 4w, as Sloth names them
		p.putValue("slo:sli_error:ratio_rate"+text, "Share of bad events in the window.", w.ErrorRatio, append(all[:len(all):len(all)], sinks.Label{Name: "sloth_window", Value: text})...)
		switch {
		case w.IsPeriod:
			p.putValue("slo:period_burn_rate:ratio", "Burn rate of the period.", w.BurnRate, all...)
		case w.Length == 5*time.Minute:
			p.putValue("slo:current_burn_rate:ratio", "Burn rate of the last five minutes.", w.BurnRate, all...)
		}
	}
	p.put("slo:period_error_budget_remaining:ratio", "Share of the period's error budget that is left.", st.Budget.RemainingRatio, all...)
}

// pyrra puts what Pyrra's generic rules would record. They know no groups.
func (p *page) pyrra(st *slo.Status) {
	o := st.Objective
	if len(o.GroupBy) > 0 {
		return
	}
	all := append([]sinks.Label{{Name: "slo", Value: o.Name}, {Name: "service", Value: o.Service}}, own(st, false)...)
	p.put("pyrra_objective", "Promised share of good events.", o.Target.Float(), all...)
	p.put("pyrra_window", "Length of the compliance period in seconds.", o.Period.Length.Seconds(), all...)
	for i := range st.Windows {
		w := &st.Windows[i]
		switch {
		case w.IsPeriod && w.ErrorRatio.Defined:
			p.put("pyrra_availability", "Share of good events in the period.", 1-w.ErrorRatio.Float, all...)
		case w.Length == 5*time.Minute && w.Coverage > 0:
			p.put("pyrra_requests:rate5m", "Events a second over five minutes.", w.Total/w.Length.Seconds(), all...)
			p.put("pyrra_errors:rate5m", "Bad events a second over five minutes.", w.Bad/w.Length.Seconds(), all...)
		}
	}
}

// modes are the update modes there are, the deprecated last.
var modes = []string{"Off", "Initial", "Recreate", "InPlaceOrRecreate", "InPlace", "Auto"}

// vpa puts what kube-state-metrics said of a VerticalPodAutoscaler.
func (p *page) vpa(w *rightsizing.Workload) {
	if w.VPA == "" {
		return
	}
	const prefix = "kube_verticalpodautoscaler_"
	all := []sinks.Label{
		{Name: "namespace", Value: w.Namespace}, {Name: "verticalpodautoscaler", Value: w.VPA},
		{Name: "target_api_version", Value: w.APIVersion}, {Name: "target_kind", Value: w.Kind}, {Name: "target_name", Value: w.Name},
	}
	p.put(prefix+"labels", "A VerticalPodAutoscaler; its own labels are left out.", 1, all...)
	for _, mode := range modes {
		is := 0.0
		if mode == w.UpdateMode {
			is = 1
		}
		p.put(prefix+"spec_updatepolicy_updatemode", "Update mode of the VerticalPodAutoscaler.", is, append(all[:5:5], sinks.Label{Name: "update_mode", Value: mode})...)
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		for _, one := range []struct {
			resource, unit string
			r              *rightsizing.Resource
		}{{"cpu", "core", &c.CPU}, {"memory", "byte", &c.Memory}} {
			labels := append(all[:5:5], sinks.Label{Name: "container", Value: c.Name}, sinks.Label{Name: "resource", Value: one.resource}, sinks.Label{Name: "unit", Value: one.unit})
			const policies, said = prefix + "spec_resourcepolicy_container_policies_", prefix + "status_recommendation_containerrecommendations_"
			p.putValue(policies+"minallowed", "Least that the VerticalPodAutoscaler may set.", one.r.MinAllowed, labels...)
			p.putValue(policies+"maxallowed", "Most that the VerticalPodAutoscaler may set.", one.r.MaxAllowed, labels...)
			p.putValue(said+"lowerbound", "Request below which the VerticalPodAutoscaler evicts a pod.", one.r.Lower, labels...)
			p.putValue(said+"upperbound", "Request above which the VerticalPodAutoscaler evicts a pod.", one.r.Upper, labels...)
			p.putValue(said+"target", "What the VerticalPodAutoscaler recommends.", one.r.Target, labels...)
			p.putValue(said+"uncappedtarget", "What it would recommend without its policy.", one.r.Uncapped, labels...)
		}
	}
}
