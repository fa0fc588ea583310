package prom

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

func TestContract(t *testing.T) {
	sinktest.Run(t, func(*testing.T) sinks.Sink { return New(Options{}) })
}

// The whole page, written by hand from PRODUCT.md and a pocket calculator.
func TestTypicalPage(t *testing.T) {
	f, err := os.Open("testdata/typical.prom")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := wrote(t, Options{}, sinktest.Report())
	if err := testutil.GatherAndCompare(shown(t, s), f); err != nil {
		t.Error(err)
	}
}

func TestPages(t *testing.T) {
	availability := sinktest.Objective("a", "shop", "99.9", slo.RollingPeriod(7*slo.Day))
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	quarter := sinktest.Objective("q", "shop", "99", slo.CalendarPeriod(slo.Quarter, tokyo))
	grouped := sinktest.Objective("g", "shop", "99", slo.RollingPeriod(30*slo.Day))
	grouped.GroupBy = []string{"route", "method"}
	labelled := sinktest.Objective("l", "shop", "99", slo.RollingPeriod(30*slo.Day))
	labelled.Labels = map[string]string{"team": "x", "empty": "", "period": "mine", "slo": "mine"}
	labelled.Counting = "pushdown"
	odd := sinktest.Objective(`süd "1"`, "a\nb\\c\xff", "99", slo.RollingPeriod(30*slo.Day))

	silent := map[string]sinktest.Counts{"1h": {Coverage: 1}, "7d": {Coverage: 0.5}}
	some := map[string]sinktest.Counts{"5m": {Total: 100, Bad: 1, Coverage: 1}}

	for _, c := range []struct {
		name     string
		options  Options
		report   *sinks.Report
		families []*sinks.Family
		want     string
	}{
		{"silence has no error ratio, but burns nothing", Options{}, of(sinktest.Status(availability, nil, silent)),
			[]*sinks.Family{sinks.SLOErrorRatio, sinks.SLOBurnRate, sinks.SLORemainingRatio, sinks.SLOExhaustion}, `
slo_burn_rate{service="shop",slo="a",window="1h"} 0
slo_burn_rate{service="shop",slo="a",window="period"} 0
slo_error_budget_remaining_ratio{service="shop",slo="a"} 1
`},
		{"an unanswered source says nothing", Options{}, sinktest.Unknown(),
			[]*sinks.Family{sinks.SLOErrorRatio, sinks.SLOBurnRate, sinks.SLOLastSample, sinks.SLOAlertBurnRatio, sinks.SLOCoverage, sinks.VPAInfo, sinks.RequestCPU, sinks.Replicas}, `
slo_window_coverage_ratio{service="cart",slo="carts",window="1h"} 0
slo_window_coverage_ratio{service="cart",slo="carts",window="period"} 0
rightsizing_replicas{namespace="shop",workload="cart",workload_kind="Deployment"} 0
`},
		{"series: full shows every window", Options{Selection: sinks.Selection{AllWindows: true}}, of(sinktest.Status(availability, nil, some)),
			[]*sinks.Family{sinks.SLOErrorRatio, sinks.SLOCoverage}, `
slo_error_ratio{service="shop",slo="a",window="5m"} 0.01
slo_window_coverage_ratio{service="shop",slo="a",window="5m"} 1
slo_window_coverage_ratio{service="shop",slo="a",window="30m"} 0
slo_window_coverage_ratio{service="shop",slo="a",window="1h"} 0
slo_window_coverage_ratio{service="shop",slo="a",window="2h"} 0
slo_window_coverage_ratio{service="shop",slo="a",window="6h"} 0
slo_window_coverage_ratio{service="shop",slo="a",window="1d"} 0
slo_window_coverage_ratio{service="shop",slo="a",window="3d"} 0
slo_window_coverage_ratio{service="shop",slo="a",window="period"} 0
`},
		// The first quarter of 2026 in Tokyo starts nine hours before it does in UTC.
		{"a calendar period has edges in its zone", Options{}, of(sinktest.Status(quarter, nil, nil)),
			[]*sinks.Family{sinks.SLOPeriod, sinks.SLOPeriodStart, sinks.SLOPeriodEnd}, `
slo_period_seconds{service="shop",slo="q"} 7776000
slo_period_start_timestamp_seconds{service="shop",slo="q"} 1767193200
slo_period_end_timestamp_seconds{service="shop",slo="q"} 1774969200
`},
		{"a rolling period has no edges", Options{}, of(sinktest.Status(availability, nil, nil)),
			[]*sinks.Family{sinks.SLOPeriodStart, sinks.SLOPeriodEnd}, ""},
		{"groups share what belongs to the SLO, an empty group label is none", Options{},
			of(sinktest.Status(grouped, []string{"/pay", "GET"}, nil), sinktest.Status(grouped, []string{"/pay", ""}, nil), sinktest.Status(grouped, []string{"_other", "_other"}, nil)),
			[]*sinks.Family{sinks.SLOInfo, sinks.SLOObjective, sinks.SLOPeriod, sinks.SLOEvents}, `
slo_info{counting="exact",period="30d",service="shop",slo="g"} 1
slo_objective_ratio{service="shop",slo="g"} 0.99
slo_period_seconds{service="shop",slo="g"} 2592000
slo_events_total{method="GET",route="/pay",service="shop",slo="g"} 0
slo_events_total{route="/pay",service="shop",slo="g"} 0
slo_events_total{method="_other",route="_other",service="shop",slo="g"} 0
`},
		{"SLOs differ in their labels; no label is empty or twice", Options{}, of(sinktest.Status(availability, nil, nil), sinktest.Status(labelled, nil, nil)),
			[]*sinks.Family{sinks.SLOInfo}, `
slo_info{counting="exact",period="7d",service="shop",slo="a"} 1
slo_info{counting="pushdown",period="30d",service="shop",slo="l",team="x"} 1
`},
		{"odd characters are escaped, broken ones replaced", Options{}, of(sinktest.Status(odd, nil, nil)),
			[]*sinks.Family{sinks.SLOObjective}, `
slo_objective_ratio{service="a\nb\\c` + "\uFFFD" + `",slo="süd \"1\""} 0.99
`},
		{"two VPAs over one workload recommend twice, but it requests once", Options{}, &sinks.Report{Workloads: []rightsizing.Workload{
			{Namespace: "n", Kind: "Deployment", Name: "w", VPA: "first", Replicas: 2, Services: []string{"s"}, Containers: []rightsizing.Container{
				{Name: "c", CPU: rightsizing.Resource{Request: slo.Defined(1), Target: slo.Defined(2)}}}},
			{Namespace: "n", Kind: "Deployment", Name: "w", VPA: "second", Replicas: 2, Services: []string{"s"}, Containers: []rightsizing.Container{
				{Name: "c", CPU: rightsizing.Resource{Request: slo.Defined(1), Target: slo.Defined(3)}}}}}},
			[]*sinks.Family{sinks.VPACPU, sinks.RequestCPU, sinks.Replicas, sinks.WorkloadInfo}, `
vpa_recommendation_cpu_cores{bound="target",container="c",namespace="n",vpa="first",workload="w",workload_kind="Deployment"} 2
vpa_recommendation_cpu_cores{bound="target",container="c",namespace="n",vpa="second",workload="w",workload_kind="Deployment"} 3
rightsizing_request_cpu_cores{container="c",namespace="n",workload="w",workload_kind="Deployment"} 1
rightsizing_replicas{namespace="n",workload="w",workload_kind="Deployment"} 2
slo_workload_info{namespace="n",service="s",workload="w",workload_kind="Deployment"} 1
`},
		{"a CronJob has as many pods as run on the mean, and none that are known of before it has run twice", Options{}, &sinks.Report{Workloads: []rightsizing.Workload{
			{Namespace: "n", Kind: "CronJob", Name: "fresh"}, {Namespace: "n", Kind: "CronJob", Name: "nightly", Pods: slo.Defined(0.25)}}},
			[]*sinks.Family{sinks.Replicas}, `
rightsizing_replicas{namespace="n",workload="nightly",workload_kind="CronJob"} 0.25
`},
		{"an empty report is an empty page", Options{}, sinktest.Empty(), sinks.Families, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := wrote(t, c.options, c.report)
			names := make([]string, len(c.families))
			for i, f := range c.families {
				names[i] = f.Name
			}
			if err := testutil.GatherAndCompare(shown(t, s), headed(c.families, c.want), names...); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBeforeTheFirstReport(t *testing.T) {
	if n := series(t, New(Options{})); n != 0 {
		t.Errorf("%d series, want none", n)
	}
}

func TestLint(t *testing.T) {
	for _, r := range []*sinks.Report{sinktest.Report(), sinktest.Odd(), sinktest.Large(20)} {
		problems, err := testutil.GatherAndLint(shown(t, wrote(t, Options{Selection: sinks.Selection{AllWindows: true}}, r)))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// Gone groups must go from the page too: the next report replaces, it does not add.
func TestReportReplaces(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Report())
	if err := s.Write(t.Context(), sinktest.Empty()); err != nil {
		t.Fatal(err)
	}
	if n := series(t, s); n != 0 {
		t.Errorf("%d series are left", n)
	}
}

func TestEndedContextKeepsThePage(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Report())
	before := series(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Write(ctx, sinktest.Empty()); err == nil {
		t.Error("no error")
	}
	if after := series(t, s); after != before {
		t.Errorf("%d series, want the %d from before", after, before)
	}
}

// A reload may ask for more windows; what is shown until the next report stays.
func TestShow(t *testing.T) {
	s := wrote(t, Options{}, sinktest.Report())
	full, narrow := sinks.Selection{AllWindows: true}, sinks.Selection{Windows: []string{"5m"}}
	for _, step := range []struct {
		show  sinks.Selection
		write bool
		want  int
	}{
		{sinks.Selection{}, false, 6}, {full, false, 6}, {full, true, 24}, {sinks.Selection{}, true, 6}, {narrow, true, 3},
		{sinks.Selection{Families: []*sinks.Family{sinks.SLOInfo}}, true, 0}, {sinks.Selection{}, true, 6},
	} {
		s.Show(step.show)
		if step.write {
			if err := s.Write(t.Context(), sinktest.Report()); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := testutil.GatherAndCount(shown(t, s), "slo_window_coverage_ratio"); err != nil || n != step.want {
			t.Errorf("%+v: %d series, want %d; error %v", step, n, step.want, err)
		}
	}
}

// Numbers change with every report, labels hardly ever: then they are made anew, whatever changed.
func TestLabelsFollowTheReport(t *testing.T) {
	s := New(Options{})
	want := func(line string) {
		t.Helper()
		if body := string(scrape(t, s, "", "").body); !strings.Contains(body, line+"\n") {
			t.Errorf("the page lacks %s", line)
		}
	}
	write := func(change func(r *sinks.Report)) {
		t.Helper()
		r := sinktest.Report()
		change(r)
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	write(func(*sinks.Report) {})
	want(`slo_error_budget_remaining_ratio{service="checkout",slo="checkout-availability"} 0.75`)
	write(func(r *sinks.Report) { r.SLOs[0].Budget.RemainingRatio = 0.5 })
	want(`slo_error_budget_remaining_ratio{service="checkout",slo="checkout-availability"} 0.5`)
	write(func(r *sinks.Report) { r.SLOs[1].Labels[0] = "/basket" })
	want(`slo_error_budget_remaining_ratio{route="/basket",service="search",slo="search-latency"} 0.75`)
	write(func(r *sinks.Report) { r.SLOs[0].Objective.Labels["team"] = "tills" })
	want(`slo_info{counting="exact",period="30d",runbook_url="https://runbooks/checkout",service="checkout",slo="checkout-availability",team="tills",tier="1"} 1`)
	write(func(r *sinks.Report) { r.Workloads[0].UpdateMode = "Recreate" })
	want(`vpa_info{namespace="shop",update_mode="Recreate",vpa="checkout-vpa",workload="checkout",workload_kind="Deployment"} 1`)
	write(func(r *sinks.Report) { r.SLOs = r.SLOs[1:] })
	if body := string(scrape(t, s, "", "").body); strings.Contains(body, "checkout-availability") {
		t.Error("the SLO is gone, its series are not")
	}
}

// Two groups that only unprintable characters told apart would be one series twice, and cost
// Prometheus the second, or the registry of client_golang the whole page.
func TestGroupsThatLookAlike(t *testing.T) {
	o := sinktest.Objective("g", "shop", "99", slo.RollingPeriod(30*slo.Day))
	o.GroupBy = []string{"route"}
	first := sinktest.Status(o, []string{"/\xff"}, nil)
	first.EventsTotal = 7
	s := wrote(t, Options{}, of(first, sinktest.Status(o, []string{"/\xfe"}, nil), sinktest.Status(o, []string{"/a"}, nil)))
	families := []*sinks.Family{sinks.SLOEvents}
	if err := testutil.GatherAndCompare(shown(t, s), headed(families, `
slo_events_total{route="/`+"\uFFFD"+`",service="shop",slo="g"} 7
slo_events_total{route="/a",service="shop",slo="g"} 0
`), "slo_events_total"); err != nil {
		t.Error(err)
	}
}

// A workload without a name has no labels, and then no braces.
func TestNoLabels(t *testing.T) {
	s := wrote(t, Options{}, &sinks.Report{Workloads: []rightsizing.Workload{{Replicas: 3}}})
	if body := string(scrape(t, s, "", "").body); !strings.HasSuffix(body, "\nrightsizing_replicas 3\n") {
		t.Errorf("the page is %q", body)
	}
}

// wrote is a sink that was given one report.
func wrote(t *testing.T, o Options, r *sinks.Report) *Sink {
	t.Helper()
	s := New(o)
	if err := s.Write(t.Context(), r); err != nil {
		t.Fatalf("write: %v", err)
	}
	return s
}

func of(statuses ...slo.Status) *sinks.Report {
	return &sinks.Report{Time: sinktest.Time, SLOs: statuses}
}

// headed puts the families' heads before their series, so that the cases show numbers only.
func headed(families []*sinks.Family, series string) io.Reader {
	var page strings.Builder
	for _, f := range families {
		head := fmt.Sprintf("# HELP %s %s\n# TYPE %s %s\n", f.Name, f.Help, f.Name, f.Type)
		for line := range strings.Lines(series) {
			if strings.HasPrefix(line, f.Name+"{") {
				page.WriteString(head + line)
				head = ""
			}
		}
	}
	return strings.NewReader(page.String())
}
