package e2e

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// A real program under load, scraped every second by a real Prometheus that restarts once; the
// program restarts twice, errors first appear half-way, and yoyu comes late. What yoyu counts is
// what an independent recount of the raw samples finds, and what the program itself answered.
func TestCountsExactly(t *testing.T) {
	shopAddress, yoyuAddress := freeAddress(t), freeAddress(t)
	began := time.Now()
	prom := promtest.Start(t, promtest.Options{Jobs: []promtest.Job{
		{Name: "shop", Targets: []string{shopAddress}},
		{
			Name: "yoyu", Targets: []string{yoyuAddress}, HonorLabels: true, // as an operator attaches them:
			Labels: map[string]string{"namespace": "monitoring", "service": "yoyu", "pod": "yoyu-0", "container": "yoyu"},
		},
	}})
	objects, err := filepath.Abs("testdata/objects.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
tick: 1s
sources:
  - {name: prom, type: prometheus, url: %q, delay: 2s}
  - {name: cluster, type: kubernetes, objects: %q}
defaults: {source: prom, period: 2h}
services:
  - name: checkout
    labels: {team: payments, tier: "1"}
    runbook_url: https://runbooks/checkout
    workloads: [{namespace: shop, kind: Deployment, name: checkout}]
slos:
  - name: checkout-availability
    service: checkout
    objective: 99.9
    indicator:
      counters:
        total: http_requests_total{service="checkout"}
        bad: http_requests_total{service="checkout",code=~"5.."}
rightsizing: {source: cluster}
gate: {min_events: 1}
budget_policy: [{below: 0%%, action: "feature freeze", gate: closed}]
`, prom.URL(), objects)

	answered := map[string]int{}
	run := func(codes string, during func(s *shop)) {
		s := openShop(t, shopAddress, codes)
		prom.AwaitScrape("shop", time.Now()) // the load pauses for one scrape after each start
		during(s)
		prom.AwaitScrape("shop", time.Now()) // and before each stop
		s.close(answered)
	}
	traffic := func(s *shop, failing bool, d time.Duration) {
		halt := s.load(failing)
		pass(t, d)
		halt()
	}
	run("200", func(s *shop) { traffic(s, false, 3*time.Second) })

	y := startYoyu(t, yoyuAddress, config) // late: its windows come from history

	run("200", func(s *shop) {
		traffic(s, false, 2*time.Second)
		prom.AwaitScrape("shop", time.Now())
		halt := s.load(true) // the first errors ever
		pass(t, 2*time.Second)
		prom.Restart()
		pass(t, 2*time.Second)
		halt()
	})
	run("200,500", func(s *shop) { traffic(s, true, 2*time.Second) })
	ended := time.Now()

	total, bad := float64(answered["200"]+answered["500"]), float64(answered["500"])
	if bad < 20 || total < 500 {
		t.Fatalf("too little traffic to prove anything: %v", answered)
	}
	raw := prom.RawSamples(`http_requests_total{service="checkout"}`, began, ended)
	wantTotal, wantBad := recount(raw)
	if wantTotal != total || wantBad != bad {
		t.Errorf("the recount finds %v bad of %v, the program answered %v of %v", wantBad, wantTotal, bad, total)
	}
	until(t, "yoyu's count", func() (bool, string) {
		w := y.slo("checkout-availability").Windows["1h"]
		return w.Total == wantTotal && w.Bad == wantBad,
			fmt.Sprintf("yoyu counts %v bad of %v, the raw samples hold %v of %v", w.Bad, w.Total, wantBad, wantTotal)
	})

	// What the usual query would have said of the same samples.
	for name, selector := range map[string]string{"total": `http_requests_total`, "bad": `http_requests_total{code="500"}`} {
		v := prom.QueryAt(fmt.Sprintf("sum(increase(%s[%ds]))", selector, int(ended.Sub(began).Seconds())), ended).(model.Vector)
		if len(v) == 1 {
			t.Logf("increase() says %s %.2f, where there were %v", name, float64(v[0].Value), map[string]float64{"total": total, "bad": bad}[name])
		}
	}
	t.Run("questions", func(t *testing.T) { questions(t, prom, y) })
	y.stop()
}

// recount counts raw samples by the rules of MATHS.md, on its own: the first look is a baseline,
// a fall is a reset, and a series that comes later to a known target counts from its first value.
func recount(raw model.Matrix) (total, bad float64) {
	first := int64(math.MaxInt64)
	for _, s := range raw {
		first = min(first, int64(s.Values[0].Timestamp))
	}
	firstTick := (first + 999) / 1000
	for _, s := range raw {
		sum := 0.0
		for i, v := range s.Values {
			now := float64(v.Value)
			switch {
			case i == 0 && (int64(v.Timestamp)+999)/1000 <= firstTick:
			case i == 0:
				sum += now
			case now < float64(s.Values[i-1].Value):
				sum += now
			default:
				sum += now - float64(s.Values[i-1].Value)
			}
		}
		total += sum
		if s.Metric["code"] == "500" {
			bad += sum
		}
	}
	return total, bad
}

// questions are those of PRODUCT.md, put to the Prometheus that scrapes yoyu with its own labels
// on the target: yoyu's labels must win.
func questions(t *testing.T, prom *promtest.Server, y *yoyu) {
	s := y.slo("checkout-availability")
	remaining := s.Budget.Remaining
	near := func(want float64) func(model.Vector) bool {
		return func(v model.Vector) bool {
			return len(v) == 1 && math.Abs(float64(v[0].Value)-want) <= 1e-9*math.Max(1, math.Abs(want))
		}
	}
	labelled := func(want model.Metric, inner func(model.Vector) bool) func(model.Vector) bool {
		return func(v model.Vector) bool {
			if len(v) != 1 || !inner(v) {
				return false
			}
			for name, value := range want {
				if v[0].Metric[name] != value {
					return false
				}
			}
			return true
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	squeeze := func(text string) string {
		out := ""
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(line, "  #") // what a question is about stands behind it
			out += strings.Join(strings.Fields(line), " ") + " "
		}
		return strings.Join(strings.Fields(out), " ")
	}
	asked := squeeze(string(readme))
	any1 := func(v model.Vector) bool { return len(v) == 1 }
	inReadme := 0
	for _, q := range []struct {
		about, query string
		holds        func(model.Vector) bool
	}{
		{"the series say whose they are", `slo_error_budget_remaining_ratio`, labelled(model.Metric{"service": "checkout", "slo": "checkout-availability"}, near(remaining))},
		{"burning most", `topk(10, slo_burn_rate{window="1h"} * on(slo) group_left(team) slo_info)`, labelled(model.Metric{"team": "payments", "service": "checkout"}, any1)},
		{"worst budget of a team", `min by (team) (slo_error_budget_remaining_ratio * on(slo) group_left(team) slo_info)`, labelled(model.Metric{"team": "payments"}, near(remaining))},
		{"event-weighted", `sum by (team) (slo_error_budget_remaining_events * on(slo) group_left(team) slo_info)
		  / sum by (team) (slo_error_budget_events * on(slo) group_left(team) slo_info)`, labelled(model.Metric{"team": "payments"}, near(remaining))},
		// 3 pods × (0.5 − 0.2) cores, because the budget is short; the proxy stays within VPA's bounds
		{"cores to give back where budgets are short", `sum by (service) (
		  sum by (namespace, workload_kind, workload) (rightsizing_headroom_cpu_cores)
		  * on(namespace, workload_kind, workload) rightsizing_replicas
		  * on(namespace, workload_kind, workload) group_right() slo_workload_info)
		and on(service) (min by (service) (slo_error_budget_remaining_ratio) < 0.25)`, labelled(model.Metric{"service": "checkout"}, near(0.9))},
		{"two VPAs on one workload break no scrape", `count by (workload) (vpa_info)`, labelled(model.Metric{"workload": "checkout"}, near(2))},
		{"and it has one verdict", `sum by (verdict) (rightsizing_verdict * on(namespace, workload_kind, workload) group_left() rightsizing_reason{reason="vpa_conflict"})`,
			labelled(model.Metric{"verdict": "unknown"}, near(1))}, // after minutes nobody knows what may shrink
		{"the alert", `slo_alert_firing{severity="page"} * on(slo) group_left(team, tier, runbook_url) slo_info == 1`, labelled(model.Metric{"team": "payments", "tier": "1", "runbook_url": "https://runbooks/checkout"}, near(1))},
		{"what the budget policy says", `slo_error_budget_remaining_ratio * ignoring(action, below, gate) group_left(action, gate) slo_budget_policy_info`,
			labelled(model.Metric{"slo": "checkout-availability", "action": "feature freeze", "gate": "closed"}, near(remaining))},
		{"no data is missing", `time() - slo_last_sample_timestamp_seconds > 600`, func(v model.Vector) bool { return len(v) == 0 }},
		{"data would be missing", `time() - slo_last_sample_timestamp_seconds > -600`, labelled(model.Metric{"slo": "checkout-availability"}, any1)},
		{"yoyu says it is well", `min(yoyu_source_up)`, near(1)},
	} {
		t.Run(q.about, func(t *testing.T) { prom.Await(q.query, q.holds) })
		if strings.Contains(q.query, " ") && strings.Contains(asked, squeeze(q.query)) {
			inReadme++
		}
	}
	if inReadme != 7 {
		t.Errorf("%d of the questions asked here are README's, want its 7", inReadme)
	}
}
