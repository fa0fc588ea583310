package sinks_test

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// The names are a promise to every dashboard and rule out there: they may be added to, no more.
func TestNamesAreFinal(t *testing.T) {
	want := strings.Fields(`
		slo_info slo_objective_ratio slo_period_seconds
		slo_period_start_timestamp_seconds slo_period_end_timestamp_seconds
		slo_events_total slo_bad_events_total slo_error_ratio slo_burn_rate slo_window_coverage_ratio
		slo_error_budget_remaining_ratio slo_error_budget_events slo_error_budget_remaining_events
		slo_error_budget_exhaustion_seconds slo_budget_policy_info
		slo_correction_active slo_correction_seconds slo_correction_approximate_seconds slo_alert_firing slo_alert_burn_ratio
		slo_last_sample_timestamp_seconds
		vpa_info vpa_recommendation_cpu_cores vpa_recommendation_memory_bytes
		vpa_checkpoint_last_update_timestamp_seconds
		rightsizing_request_cpu_cores rightsizing_request_memory_bytes
		rightsizing_limit_cpu_cores rightsizing_limit_memory_bytes
		rightsizing_proposed_request_cpu_cores rightsizing_proposed_request_memory_bytes
		rightsizing_headroom_cpu_cores rightsizing_headroom_memory_bytes
		rightsizing_replicas rightsizing_verdict rightsizing_reason rightsizing_hourly_savings rightsizing_hourly_cost
		rightsizing_last_change_timestamp_seconds rightsizing_changes_total
		slo_workload_info`)
	var got []string
	for _, f := range sinks.Families {
		got = append(got, f.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestDotted(t *testing.T) {
	for family, want := range map[*sinks.Family]string{
		sinks.SLOBurnRate: "slo.burn_rate", sinks.HeadroomCPU: "rightsizing.headroom_cpu_cores", sinks.VPAInfo: "vpa.info",
	} {
		if got := family.Dotted(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// What any sink relies on, for every report: neighbours by family, no series twice, no label
// twice or empty, every value a number.
func TestPointsAreWellFormed(t *testing.T) {
	spoilt := sinktest.Report()
	for i := range spoilt.SLOs {
		spoilt.SLOs[i].Windows[0].BurnRate = slo.Defined(math.NaN())
		spoilt.SLOs[i].Alerts[0].BurnRatio = slo.Defined(math.Inf(1))
		spoilt.SLOs[i].Budget.RemainingRatio = math.Inf(-1)
	}
	for name, r := range map[string]*sinks.Report{
		"typical": sinktest.Report(), "empty": sinktest.Empty(), "unknown": sinktest.Unknown(),
		"odd": sinktest.Odd(), "large": sinktest.Large(20), "not numbers": spoilt,
	} {
		t.Run(name, func(t *testing.T) {
			series, ended := map[string]bool{}, map[*sinks.Family]bool{}
			var last *sinks.Family
			for p := range r.Points(sinks.Selection{AllWindows: true}) {
				if p.Family != last {
					if ended[p.Family] {
						t.Errorf("%s: comes again", p.Family.Name)
					}
					ended[last], last = true, p.Family
				}
				id := key(p)
				if series[id] {
					t.Errorf("%s: twice", id)
				}
				series[id] = true
				names := map[string]bool{}
				for _, l := range p.Labels {
					if l.Value == "" || names[l.Name] {
						t.Errorf("%s: label %q is empty or there twice", id, l.Name)
					}
					names[l.Name] = true
				}
				if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
					t.Errorf("%s: %v", id, p.Value)
				}
				if (p.Status == nil) == (p.Workload == nil) {
					t.Errorf("%s: says something about an SLO or about a workload, not both or neither", id)
				}
			}
		})
	}
}

// Every label that a family has is one that it announces, so that rules and dashboards can be
// written from the vocabulary alone.
func TestFamiliesAnnounceTheirLabels(t *testing.T) {
	scopes := map[sinks.Scope][]string{
		sinks.PerSLO: {"slo", "service"}, sinks.PerGroup: {"slo", "service", "route"},
		sinks.PerWorkload:     {"namespace", "workload_kind", "workload"},
		sinks.PerContainer:    {"namespace", "workload_kind", "workload", "container"},
		sinks.PerVPA:          {"namespace", "workload_kind", "workload", "vpa"},
		sinks.PerVPAContainer: {"namespace", "workload_kind", "workload", "vpa", "container"},
		sinks.PerCheckpoint:   {"namespace", "vpa", "container"},
		sinks.PerEdge:         {"namespace", "workload_kind", "workload", "service"},
	}
	seen := map[*sinks.Family]bool{}
	for p := range sinktest.Report().Points(sinks.Selection{}) {
		seen[p.Family] = true
		for _, l := range p.Labels {
			own := p.Family == sinks.SLOInfo && p.Status.Objective.Labels[l.Name] != ""
			if !own && !slices.Contains(scopes[p.Family.Scope], l.Name) && !slices.Contains(p.Family.Labels, l.Name) {
				t.Errorf("%s: label %s is not announced", p.Family.Name, l.Name)
			}
		}
		for _, name := range p.Family.Labels {
			if !slices.ContainsFunc(p.Labels, func(l sinks.Label) bool { return l.Name == name }) && name != "runbook_url" {
				t.Errorf("%s: label %s is announced, but not there", p.Family.Name, name)
			}
		}
	}
	for _, f := range sinks.Families {
		if !seen[f] {
			t.Errorf("%s: the typical report has no series of it", f.Name)
		}
	}
}

// Names of the windows are those that rules compare with.
func TestWindowLabels(t *testing.T) {
	label := regexp.MustCompile(`^(5m|30m|1h|2h|6h|1d|3d|period)$`)
	for _, period := range []slo.Period{slo.RollingPeriod(30 * slo.Day), slo.RollingPeriod(3 * slo.Day), slo.CalendarPeriod(slo.Year, nil)} {
		r := &sinks.Report{SLOs: []slo.Status{sinktest.Status(sinktest.Objective("a", "s", "99", period), nil, nil)}}
		windows := 0
		for p := range r.Points(sinks.Selection{Families: []*sinks.Family{sinks.SLOCoverage}, AllWindows: true}) {
			windows++
			if w := p.Labels[len(p.Labels)-1]; w.Name != "window" || !label.MatchString(w.Value) {
				t.Errorf("%s: window %v", period.Key(), w)
			}
		}
		if windows != 8 {
			t.Errorf("%s: %d windows, want 8", period.Key(), windows)
		}
	}
}

func TestSelection(t *testing.T) {
	var names []string
	for p := range sinktest.Report().Points(sinks.Selection{Families: []*sinks.Family{sinks.Replicas, sinks.SLOObjective}}) {
		names = append(names, p.Family.Name)
	}
	if got, want := strings.Join(names, " "), "rightsizing_replicas slo_objective_ratio slo_objective_ratio"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A reader may stop at any point.
func TestPointsCanStopAnywhere(t *testing.T) {
	r := sinktest.Report()
	total := 0
	for range r.Points(sinks.Selection{}) {
		total++
	}
	for stop := 1; stop <= total; stop++ {
		read := 0
		for range r.Points(sinks.Selection{}) {
			if read++; read == stop {
				break
			}
		}
		if read != stop {
			t.Fatalf("read %d points, want %d", read, stop)
		}
	}
}

func TestWorkloadWithoutVPA(t *testing.T) {
	r := &sinks.Report{Workloads: []rightsizing.Workload{{Namespace: "n", Kind: "Deployment", Name: "w", Replicas: 2,
		Containers: []rightsizing.Container{{Name: "c", CPU: rightsizing.Resource{Request: slo.Defined(1), Target: slo.Defined(1)}}}}}}
	for p := range r.Points(sinks.Selection{}) {
		if strings.HasPrefix(p.Family.Name, "vpa_") {
			t.Errorf("%s: there is no VPA", key(p))
		}
	}
}

func BenchmarkPoints(b *testing.B) {
	r := sinktest.Large(10_000)
	b.ReportAllocs()
	for b.Loop() {
		for range r.Points(sinks.Selection{}) {
		}
	}
}

// key is what makes a series: its name and labels, in any order.
func key(p sinks.Point) string {
	labels := make([]string, len(p.Labels))
	for i, l := range p.Labels {
		labels[i] = fmt.Sprintf("%s=%q", l.Name, l.Value)
	}
	slices.Sort(labels)
	return p.Family.Name + "{" + strings.Join(labels, ",") + "}"
}

func ExampleReport_Points() {
	for p := range sinktest.Report().Points(sinks.Selection{Families: []*sinks.Family{sinks.SLORemainingRatio}}) {
		fmt.Println(p.Family.Name, p.Labels, p.Value)
	}
	// Output:
	// slo_error_budget_remaining_ratio [{slo checkout-availability} {service checkout}] 0.75
	// slo_error_budget_remaining_ratio [{slo search-latency} {service search} {route /items}] 0.75
	// slo_error_budget_remaining_ratio [{slo search-latency} {service search} {route _other}] 1
}
