package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// silent are the panels that have nothing to say while all is well, by dashboard.
var silent = map[string][]string{
	"yoyu-health.json": {"Sources: failures", "Sinks: failures and dropped points"},
}

// The demo runs, a real Prometheus scrapes two of them as replicas, and every query of every
// dashboard has an answer there; what is added up is added up once.
func TestDashboards(t *testing.T) {
	first, second := freeAddress(t), freeAddress(t)
	for _, address := range []string{first, second} {
		start(t, "yoyu", "demo", "--web.listen-address="+address, "--storage.path="+filepath.Join(t.TempDir(), "data"))
	}
	for _, address := range []string{first, second} {
		until(t, "the demo", func() (bool, string) {
			text, err := get("http://" + address + "/metrics")
			return err == nil && strings.Contains(text, "slo_burn_rate{"), text[:min(len(text), 100)]
		})
	}
	prom := promtest.Start(t, promtest.Options{Jobs: []promtest.Job{{
		Name: "yoyu", Targets: []string{first, second}, HonorLabels: true,
		Labels: map[string]string{"service": "yoyu", "endpoint": "http"}, // as an operator attaches them
	}}})
	prom.Await(`count(rate(yoyu_tick_duration_seconds_count[30s]) > 0) == 2`, func(v model.Vector) bool { return len(v) == 1 })

	rightsizing(t, prom)
	files, err := filepath.Glob("../../deploy/grafana/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	fill := strings.NewReplacer("$__rate_interval", "30s", "$__range", "5m", "$slo", "checkout-availability", "$service", ".*", "$team", ".*", "$instance", ".*")
	asked := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Templating struct {
				List []struct{ Type, Name, Definition string }
			}
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		quiet := func(title string) bool {
			for _, one := range silent[filepath.Base(file)] {
				if one == title {
					return true
				}
			}
			return false
		}
		for _, p := range d.Panels {
			t.Run(filepath.Base(file)+"/"+p.Title, func(t *testing.T) {
				for _, target := range p.Targets {
					asked++
					answers := func(v model.Vector) bool { return len(v) > 0 }
					query := fill.Replace(target.Expr)
					if quiet(p.Title) || strings.Contains(query, "_clamped_total") {
						// Without the comparison, which nothing exceeds, there are series.
						query = strings.TrimSuffix(query, " > 0")
					}
					prom.Await(query, answers)
				}
			})
		}
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			parts := regexp.MustCompile(`^label_values\((.*), ([a-z]+)\)$`).FindStringSubmatch(v.Definition)
			if parts == nil {
				t.Fatalf("%s: variable %s: %q", file, v.Name, v.Definition)
			}
			prom.Await(fill.Replace(parts[1]), func(all model.Vector) bool {
				return len(all) > 0 && all[0].Metric[model.LabelName(parts[2])] != ""
			})
		}
		for _, p := range d.Panels { // the demo's five objectives, whoever else says so too
			if filepath.Base(file) == "yoyu-overview.json" && p.Title == "SLOs" {
				v := prom.QueryAt(fill.Replace(p.Targets[0].Expr), time.Now()).(model.Vector)
				if len(v) != 1 || v[0].Value != 5 {
					t.Errorf("%v SLOs, want 5", v)
				}
			}
		}
	}
	if asked < 60 {
		t.Errorf("only %d questions asked", asked)
	}
}

// rightsizing asks the questions of PRODUCT.md that join what workloads ask for with the budgets of
// their services, of two replicas that say the same.
func rightsizing(t *testing.T, prom *promtest.Server) {
	of := func(v model.Vector, label model.LabelName) map[string]float64 {
		out := map[string]float64{}
		for _, s := range v {
			out[string(s.Metric[label])] = float64(s.Value)
		}
		return out
	}
	for _, q := range []struct {
		about, query string
		holds        func(v model.Vector) bool
	}{
		{"all four verdicts", `count by (verdict) (max without (instance, pod) (rightsizing_verdict))`, func(v model.Vector) bool {
			got := of(v, "verdict")
			return got["raise"] == 2 && got["shrink"] == 3 && got["keep"] == 1 && got["unknown"] == 1
		}},
		{"money a month", `730 * sum by (gate) (rightsizing_hourly_savings{currency="USD",instance=~"$one"})`, func(v model.Vector) bool {
			got := of(v, "gate")
			// images: 4 pods give back 0.75 cores of 0.0506 an hour; mailer: 2 pods 0.37.
			return len(got) == 3 && near(got["safe"], 730*4*0.75*0.0506) && near(got["ungated"], 730*2*0.37*0.0506) && got["blocked"] > 0
		}},
		{"why a shrink waits", `rightsizing_reason{workload="checkout",reason=~"blocked:.*",instance=~"$one"}`, func(v model.Vector) bool {
			return of(v, "reason")["blocked:no_alert"] == 1
		}},
		{"what cannot wait", `rightsizing_reason{reason="oom_killed",instance=~"$one"} and on(namespace, workload_kind, workload)
			(slo_workload_info{instance=~"$one"} and on(service) (slo_alert_firing{severity="page",instance=~"$one"} == 1))`, func(v model.Vector) bool {
			return len(v) == 1 && v[0].Metric["workload"] == "gateway" && v[0].Metric["container"] == "app"
		}},
		{"cores to give back where budgets are short", `sum by (service) (
			sum by (namespace, workload_kind, workload) (rightsizing_headroom_cpu_cores{instance=~"$one"})
			* on(namespace, workload_kind, workload) rightsizing_replicas{instance=~"$one"}
			* on(namespace, workload_kind, workload) group_right() slo_workload_info{instance=~"$one"})
			and on(service) (min by (service) (slo_error_budget_remaining_ratio{instance=~"$one"}) < 0.25)`, func(v model.Vector) bool {
			// payment has overspent its week, finds its workload by a label, and asks for what it needs.
			spare, found := of(v, "service")["payment"]
			return found && near(spare, 0)
		}},
		{"the recommender's heartbeat", `time() - max(vpa_checkpoint_last_update_timestamp_seconds) < 120`, func(v model.Vector) bool { return len(v) == 1 }},
	} {
		t.Run(q.about, func(t *testing.T) {
			one := prom.QueryAt(`rightsizing_replicas{workload="images"}`, time.Now()).(model.Vector)
			if len(one) == 0 {
				t.Fatal("no workload of the demo")
			}
			prom.Await(strings.ReplaceAll(q.query, "$one", string(one[0].Metric["instance"])), q.holds)
		})
	}
}

func near(got, want float64) bool { return got > want-1e-6 && got < want+1e-6 }
