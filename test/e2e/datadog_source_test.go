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
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// keys writes the keys that a fake Datadog accepts, and names their files.
func keys(t *testing.T) (api, app string) {
	t.Helper()
	folder := t.TempDir()
	api, app = filepath.Join(folder, "api"), filepath.Join(folder, "app")
	for file, key := range map[string]string{api: fake.APIKey, app: fake.AppKey} {
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return api, app
}

// The same traffic, counted by a Prometheus and by Datadog, spends the same budget: an SLO does not
// depend on who counts for it.
func TestSameBudgetFromBoth(t *testing.T) {
	dd := fake.Start(t, fake.Options{Clock: time.Now})
	random := rand.New(rand.NewPCG(5, 5))
	now := time.Now().Truncate(time.Minute)
	const minutes = 40 * 60
	from := now.Add(-minutes * time.Minute)
	var text strings.Builder
	fmt.Fprint(&text, "# TYPE requests counter\n")
	for _, route := range []string{"/pay", "/cart"} {
		for _, code := range []string{"200", "500"} {
			seen := 0
			for i := range minutes + 1 { // what is seen at the end of a minute happened within it
				at := from.Add(time.Duration(i) * time.Minute)
				n := random.IntN(200)
				if code == "500" {
					n = random.IntN(2)
					if route == "/pay" && i > minutes-45 { // an incident that still goes on
						n = 20 + random.IntN(20)
					}
				}
				if i > 0 {
					seen += n
					dd.Seed(fake.Metric{Name: "shop.requests", Type: fake.Count, Interval: 10, Tags: []string{"service:shop", "route:" + route, "code:" + code}},
						fake.Point{At: at.Add(-time.Minute + time.Duration(random.IntN(60))*time.Second), Value: float64(n)})
				}
				fmt.Fprintf(&text, "requests_total{service=\"shop\",route=%q,code=%q,instance=\"shop-0\",job=\"shop\"} %d %d\n", route, code, seen, at.Unix())
			}
		}
	}
	fmt.Fprint(&text, "# EOF\n")
	tsdb := t.TempDir()
	promtest.CreateBlocks(t, tsdb, strings.NewReader(text.String()))
	prom := promtest.Start(t, promtest.Options{Dir: tsdb})

	api, app := keys(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
tick: 1m
sources:
  - {name: prom, type: prometheus, url: %q, delay: 2m}
  - {name: dd, type: datadog, url: %q, api_key_file: %q, app_key_file: %q}
defaults: {service: shop, objective: 99, period: 7d, group_by: [route]}
slos:
  - name: by-prometheus
    source: prom
    indicator: {counters: {total: 'requests_total{service="shop"}', bad: 'requests_total{service="shop",code="500"}'}}
  - name: by-datadog
    source: dd
    indicator: {datadog: {total: "sum:shop.requests{service:shop}", bad: "sum:shop.requests{service:shop,code:500}.as_count()"}}
`, prom.URL(), dd.URL, api, app), 0o600); err != nil {
		t.Fatal(err)
	}

	stdout, stderr, code := runYoyu(t, "check", "--live", file)
	if code != 0 || !strings.Contains(stdout, "slo by-datadog: source dd: 2 series; ") {
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
		Labels      map[string]string
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
	by := map[string]map[string]status{}
	for _, s := range got.Reports[0].SLOs {
		if by[s.Labels["route"]] == nil {
			by[s.Labels["route"]] = map[string]status{}
		}
		by[s.Labels["route"]][s.SLO] = s
	}
	firing := 0
	for _, route := range []string{"/pay", "/cart"} {
		p, d := by[route]["by-prometheus"], by[route]["by-datadog"]
		if p.ErrorBudget != d.ErrorBudget || p.ErrorBudget.Spent == 0 {
			t.Errorf("%s: the budget by Prometheus is %+v, by Datadog %+v", route, p.ErrorBudget, d.ErrorBudget)
		}
		for name, want := range p.Windows {
			have := d.Windows[name]
			if have.Total != want.Total || have.Bad != want.Bad || math.Abs(have.Coverage-want.Coverage) > 0.001 || (have.BurnRate == nil) != (want.BurnRate == nil) || want.BurnRate != nil && *have.BurnRate != *want.BurnRate {
				t.Errorf("%s: window %s by Prometheus %+v, by Datadog %+v", route, name, want, have)
			}
		}
		for i, a := range p.Alerts {
			if d.Alerts[i] != a {
				t.Errorf("%s: alert %+v by Prometheus, %+v by Datadog", route, a, d.Alerts[i])
			}
			if a.Firing {
				firing++
			}
		}
	}
	if firing == 0 {
		t.Error("nothing fires: the incident is not seen")
	}
}

// Killed again and again while it asks Datadog for the past, and begun anew on what it left, yoyu
// counts every event once.
func TestKilledWhileAskingDatadog(t *testing.T) {
	dd := fake.Start(t, fake.Options{Clock: time.Now})
	random := rand.New(rand.NewPCG(16, 16))
	now := time.Now().Truncate(time.Minute)
	var want slot
	for at := now.Add(-6 * 24 * time.Hour); at.Before(now.Add(-15 * time.Minute)); at = at.Add(time.Duration(1+random.IntN(3)) * time.Minute) {
		good, bad := random.IntN(100), random.IntN(3)
		want.total, want.bad = want.total+int64(good+bad), want.bad+int64(bad)
		for code, n := range map[string]int{"200": good, "500": bad} {
			dd.Seed(fake.Metric{Name: "shop.requests", Type: fake.Count, Interval: 10, Tags: []string{"code:" + code}}, fake.Point{At: at.Add(time.Duration(random.IntN(60)) * time.Second), Value: float64(n)})
		}
	}
	api, app := keys(t)
	folder := t.TempDir()
	file, data := filepath.Join(folder, "config.yaml"), filepath.Join(folder, "data")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
tick: 1m
sources: [{name: dd, type: datadog, url: %q, api_key_file: %q, app_key_file: %q, limits: {quota: 100%%}}]
slos:
  - name: it
    service: shop
    objective: 99
    period: 7d
    indicator: {datadog: {total: "sum:shop.requests{*}", bad: "sum:shop.requests{code:500}"}}
`, dd.URL, api, app), 0o600); err != nil {
		t.Fatal(err)
	}
	// Every answer takes a moment, so that there is a moment to die in.
	dd.Fault(fake.Fault{Path: "query", Do: fake.Delay(50 * time.Millisecond)})
	for _, requests := range []int{1, 2, 5, 9, 14, 3} {
		dd.ClearJournal()
		y := start(t, "yoyu", "run", "--config.file="+file, "--web.listen-address="+freeAddress(t), "--storage.path="+data)
		until(t, fmt.Sprint(requests, " requests"), func() (bool, string) {
			select {
			case <-y.ended:
				t.Fatalf("yoyu ended by itself: %s", y.stderr.String())
			default:
			}
			n := len(dd.Journal())
			return n >= requests, fmt.Sprint(n, " requests")
		})
		y.kill()
	}
	y := runOn(t, file, data)
	y.shows(`yoyu_backfill_remaining_seconds{source="dd"} 0`)
	until(t, "every event, once", func() (bool, string) {
		w := y.slo("it").Windows["7d"]
		return w.Total == float64(want.total) && w.Bad == float64(want.bad), fmt.Sprintf("%+v, want %+v", w, want)
	})
}
