package compatibility

import (
	"math"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

func TestContract(t *testing.T) {
	sinktest.Run(t, func(*testing.T) sinks.Sink {
		s := New()
		s.Show(Projects)
		return s
	})
}

func wrote(t *testing.T, r *sinks.Report, projects ...Project) *Sink {
	t.Helper()
	s := New()
	s.Show(projects)
	if err := s.Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return s
}

// typical is the sample report with a VPA that says all it can, as a cluster would show it.
func typical() *sinks.Report {
	r := sinktest.Report()
	w := &r.Workloads[0]
	w.APIVersion = "apps/v1"
	w.Containers[0].CPU.MinAllowed = slo.Defined(0.05)
	w.Containers[0].Memory.MaxAllowed = slo.Defined(1 << 31)
	return r
}

// Whole pages by hand: names and labels from the projects' own documentation, numbers from the counts.
func TestPages(t *testing.T) {
	for project, file := range map[Project]string{Sloth: "sloth.prom", Pyrra: "pyrra.prom", KubeStateMetrics: "kube-state-metrics.prom"} {
		t.Run(string(project), func(t *testing.T) {
			f, err := os.Open("testdata/" + file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r := typical()
			r.SLOs = r.SLOs[:1]
			if err := testutil.CollectAndCompare(wrote(t, r, project), f); err != nil {
				t.Error(err)
			}
		})
	}
}

// Groups have their own series, what is said of an SLO as a whole comes once; what two SLOs would be
// called alike comes once too, and no report costs the scrape.
func TestGroupsAndTwins(t *testing.T) {
	s := wrote(t, typical(), Sloth, Pyrra)
	for name, want := range map[string]int{
		"slo:objective:ratio": 2, "slo:period_error_budget_remaining:ratio": 3, "slo:sli_error:ratio_rate1h": 3,
		"slo:sli_error:ratio_rate5m": 2, // one group had no events: it has no ratio
		"pyrra_objective":            1, // Pyrra knows no groups
	} {
		if n := testutil.CollectAndCount(s, name); n != want {
			t.Errorf("%s: %d series, want %d", name, n, want)
		}
	}
	twins := &sinks.Report{Time: sinktest.Time}
	for _, name := range []string{"shop-pay", "pay"} {
		o := sinktest.Objective(name, "shop", "99", slo.RollingPeriod(28*slo.Day))
		twins.SLOs = append(twins.SLOs, sinktest.Status(o, nil, map[string]sinktest.Counts{"5m": {Total: 100, Bad: 1, Coverage: 1}, "28d": {Total: 1000, Bad: 5, Coverage: 1}}))
	}
	s = wrote(t, twins, Sloth)
	if n := testutil.CollectAndCount(s, "slo:objective:ratio"); n != 1 {
		t.Errorf("%d objectives of one name, want one", n)
	}
	if n := testutil.CollectAndCount(s, "slo:sli_error:ratio_rate4w"); n != 1 {
		t.Errorf("%d ratios over 28 days, which Sloth calls 4w", n)
	}
	for _, r := range []*sinks.Report{sinktest.Odd(), sinktest.Empty(), sinktest.Unknown(), sinktest.Large(50)} {
		reg := prometheus.NewRegistry()
		reg.MustRegister(wrote(t, r, Projects...))
		if _, err := reg.Gather(); err != nil {
			t.Errorf("cannot be gathered: %v", err)
		}
	}
	two := typical()
	two.Workloads = append(two.Workloads, two.Workloads[0])
	two.Workloads[1].VPA = "second"
	two.Workloads = append(two.Workloads, rightsizing.Workload{Namespace: "shop", Kind: "Deployment", Name: "without"})
	if n := testutil.CollectAndCount(wrote(t, two, KubeStateMetrics), "kube_verticalpodautoscaler_labels"); n != 2 {
		t.Errorf("%d VPAs, want 2", n)
	}
}

// Nothing is shown that was not asked for, and at once no more when it is not any more.
func TestShow(t *testing.T) {
	s := New()
	if err := s.Write(t.Context(), typical()); err != nil || testutil.CollectAndCount(s) != 0 {
		t.Errorf("shows %d series unasked, %v", testutil.CollectAndCount(s), err)
	}
	s = wrote(t, typical(), KubeStateMetrics)
	if testutil.CollectAndCount(s, "slo:objective:ratio") != 0 || testutil.CollectAndCount(s) == 0 {
		t.Error("shows the series of another project, or none")
	}
	if s.Show(nil); testutil.CollectAndCount(s) != 0 {
		t.Error("shows what is not asked for any more")
	}
}

// What dashboards ask, in a real Prometheus: the state of Sloth's SLOs by its ids, the budget of Pyrra's
// Grafana page, and how far requests are from a VPA's target.
func TestDashboardsGoOn(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(wrote(t, typical(), Projects...))
	server := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	defer server.Close()
	prom := promtest.Start(t, promtest.Options{Jobs: []promtest.Job{{Name: "yoyu", Targets: []string{strings.TrimPrefix(server.URL, "http://")}, HonorLabels: true}}})
	prom.Await(`sloth_slo_info`, func(v model.Vector) bool { return len(v) == 2 })
	for query, want := range map[string]float64{
		`slo:sli_error:ratio_rate5m{sloth_service="checkout",sloth_slo="availability"} / on(sloth_id, sloth_slo, sloth_service) group_left slo:error_budget:ratio{sloth_service="checkout",sloth_slo="availability"}`:                                           20,
		`max(slo:current_burn_rate:ratio{sloth_id="checkout-availability"}) without (sloth_window)`:                                                                                                                                                             20,
		`1 - slo:period_burn_rate:ratio{sloth_id="checkout-availability"}`:                                                                                                                                                                                      0.75,
		`slo:period_error_budget_remaining:ratio{sloth_id="checkout-availability"} * on(sloth_id) group_left(sloth_objective) sloth_slo_info`:                                                                                                                   0.75,
		`(max(slo:sli_error:ratio_rate5m{sloth_service="checkout"} > (14.4 * 0.001)) without (sloth_window) and max(slo:sli_error:ratio_rate1h{sloth_service="checkout"} > (14.4 * 0.001)) without (sloth_window))`:                                             0.02,
		`(pyrra_availability - pyrra_objective) / (1 - pyrra_objective)`:                                                                                                                                                                                        0.75,
		`kube_verticalpodautoscaler_status_recommendation_containerrecommendations_target{resource="memory",unit="byte"} * on(namespace, verticalpodautoscaler) group_left() (kube_verticalpodautoscaler_spec_updatepolicy_updatemode{update_mode="Off"} == 1)`: 402653184,
	} {
		v := prom.Await(query, func(v model.Vector) bool { return len(v) == 1 })
		if got := float64(v[0].Value); math.Abs(got-want) > 1e-9*want {
			t.Errorf("%s\nanswers %v, want %v", query, got, want)
		}
	}
}
