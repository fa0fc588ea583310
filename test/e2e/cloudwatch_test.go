package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	fake "github.com/yoyu-sre/yoyu/test/cloudwatch"
)

// A workload on EKS, counted by a Prometheus, and the same service on ECS, counted by the load
// balancer before it, see the same traffic for 17 days: CloudWatch has thrown the first two
// together into five minutes each. They spend the same budget, of errors and of slow answers.
func TestSameBudgetOnECSAndEKS(t *testing.T) {
	cloud := fake.Start(t, fake.Options{})
	group := cloud.Balancer("shop", nil).Group("orders", nil)
	cloud.Service("prod", "orders", nil, group)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": cloud.URL, "AWS_ACCESS_KEY_ID": fake.AccessKey, "AWS_SECRET_ACCESS_KEY": fake.SecretKey, "AWS_SESSION_TOKEN": "",
		"AWS_CA_BUNDLE": "", "AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}

	random := rand.New(rand.NewPCG(8, 8))
	now := time.Now().Truncate(time.Minute)
	const minutes = 17 * 24 * 60
	from := now.Add(-minutes * time.Minute)
	var requests, times strings.Builder
	seen := map[string]int{}
	for i := range minutes + 1 { // what is seen at the end of a minute happened within it
		at := from.Add(time.Duration(i) * time.Minute)
		if i > 0 {
			n, failed := random.IntN(6), 0
			if n > 0 && random.IntN(40) == 0 {
				failed = 1
			}
			if i > minutes-45 { // an incident that still goes on
				n, failed = 40, 8+random.IntN(10)
			}
			taken := make([]float64, n)
			for j := range taken {
				taken[j] = []float64{0.01, 0.2, 0.3, 0.31, 2}[random.IntN(5)]
				if taken[j] <= 0.3 {
					seen["0.3"]++
				}
			}
			seen["+Inf"], seen["200"], seen["500"] = seen["+Inf"]+n, seen["200"]+n-failed, seen["500"]+failed
			group.Serve(at.Add(-time.Minute), fake.Traffic{Requests: n, Errors: failed, Seconds: taken})
		}
		for _, code := range []string{"200", "500"} {
			fmt.Fprintf(&requests, "requests_total{service=\"orders\",code=%q,instance=\"orders-0\",job=\"orders\"} %d %d\n", code, seen[code], at.Unix())
		}
		for _, le := range []string{"0.3", "+Inf"} {
			fmt.Fprintf(&times, "seconds_bucket{service=\"orders\",le=%q,instance=\"orders-0\",job=\"orders\"} %d %d\n", le, seen[le], at.Unix())
		}
		fmt.Fprintf(&times, "seconds_count{service=\"orders\",instance=\"orders-0\",job=\"orders\"} %d %d\n", seen["+Inf"], at.Unix())
	}
	tsdb := t.TempDir()
	text := "# TYPE requests counter\n" + requests.String() + "# TYPE seconds histogram\n" + times.String() + "# EOF\n"
	promtest.CreateBlocks(t, tsdb, strings.NewReader(text))
	prom := promtest.Start(t, promtest.Options{Dir: tsdb})

	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
tick: 1m
sources:
  - {name: eks, type: prometheus, url: %q, delay: 2m}
  - {name: ecs, type: cloudwatch, region: %s, delay: 2m, limits: {requests_per_second: 200}}
defaults: {service: orders, objective: 99, period: 30d}
slos:
  - name: errors-eks
    source: eks
    indicator: {counters: {total: 'requests_total{service="orders"}', bad: 'requests_total{service="orders",code="500"}'}}
  - name: errors-ecs
    source: ecs
    indicator: {cloudwatch: {ecs_service: prod/orders}}
  - name: slow-eks
    source: eks
    indicator: {latency: {histogram: 'seconds{service="orders"}', below: 300ms}}
  - name: slow-ecs
    source: ecs
    indicator: {cloudwatch: {ecs_service: prod/orders, below: 300ms}}
`, prom.URL(), fake.Region), 0o600); err != nil {
		t.Fatal(err)
	}

	stdout, stderr, code := runYoyu(t, "check", "--live", file)
	if code != 0 || !strings.Contains(stdout, "slo errors-ecs: source ecs: 1 resource; ") || !strings.Contains(stdout, " USD") {
		t.Errorf("check --live: exit %d: %s%s", code, stdout, stderr)
	}
	stdout, stderr, code = runYoyu(t, "report", "--config.file="+file, "-o", "json")
	if code != 0 && code != 3 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	type window struct {
		Total, Bad, Coverage float64
		BurnRate             *float64 `json:"burn_rate"`
	}
	type status struct {
		SLO         string
		Windows     map[string]window
		ErrorBudget struct {
			Allowed, Spent float64
			Remaining      float64 `json:"remaining_ratio"`
		} `json:"error_budget"`
		Alerts []struct {
			Severity string
			Firing   bool
		}
	}
	var got struct{ Reports []struct{ SLOs []status } }
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	by := map[string]status{}
	for _, s := range got.Reports[0].SLOs {
		by[s.SLO] = s
	}
	for _, what := range []string{"errors", "slow"} {
		eks, ecs := by[what+"-eks"], by[what+"-ecs"]
		if eks.ErrorBudget != ecs.ErrorBudget || eks.ErrorBudget.Spent == 0 {
			t.Errorf("%s: the budget on EKS is %+v, on ECS %+v", what, eks.ErrorBudget, ecs.ErrorBudget)
		}
		for name, want := range eks.Windows {
			have := ecs.Windows[name]
			if have.Total != want.Total || have.Bad != want.Bad || math.Abs(have.Coverage-want.Coverage) > 0.001 || (have.BurnRate == nil) != (want.BurnRate == nil) || want.BurnRate != nil && *have.BurnRate != *want.BurnRate {
				t.Errorf("%s: window %s on EKS %+v, on ECS %+v", what, name, want, have)
			}
		}
		firing := 0
		for i, a := range eks.Alerts {
			if ecs.Alerts[i] != a {
				t.Errorf("%s: alert %+v on EKS, %+v on ECS", what, a, ecs.Alerts[i])
			}
			if a.Firing {
				firing++
			}
		}
		if firing == 0 {
			t.Errorf("%s: nothing fires: the incident is not seen", what)
		}
	}
	if w := by["errors-ecs"].Windows["30d"]; w.Total < minutes || w.Coverage < 0.56 {
		t.Errorf("of 17 days there are %+v", w)
	}
	periods := map[int32]bool{}
	for _, r := range cloud.Journal() {
		for _, p := range r.Periods {
			periods[p] = true
		}
		if r.Status != 200 {
			t.Errorf("%+v", r)
		}
	}
	if !periods[60] || !periods[300] {
		t.Errorf("asked in periods %v", periods)
	}
}
