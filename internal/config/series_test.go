package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/sinks"
)

func words(needs []wanted) string {
	out := []string{}
	for _, n := range needs {
		out = append(out, n.String())
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), "\n")
}

// What the warnings go by is what the rules and dashboards that are shipped ask for.
func TestNeedsAreThoseOfTheRules(t *testing.T) {
	files, err := filepath.Glob("../../deploy/prometheus/rules/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var rules struct {
			Groups []struct {
				Rules []struct{ Alert, Expr string }
			}
		}
		if err := yaml.Unmarshal(text, &rules); err != nil {
			t.Fatal(err)
		}
		for _, g := range rules.Groups {
			for _, r := range g.Rules {
				needs, err := neededBy(r.Expr)
				if err != nil {
					t.Fatal(err)
				}
				want := words(needs)
				if r.Alert == "" || want == "" {
					continue
				}
				found[r.Alert] = true
				have := ""
				for _, a := range needsOfAlerts {
					if a.rule == r.Alert {
						have = words(a.needs)
					}
				}
				if have != want {
					t.Errorf("the rule %s asks for\n%s\nneedsOfAlerts has\n%s", r.Alert, want, have)
				}
			}
		}
	}
	for _, a := range needsOfAlerts {
		if !found[a.rule] {
			t.Errorf("no rule %s is shipped", a.rule)
		}
	}
	if len(found) == 0 {
		t.Error("no rule was found")
	}
}

// A narrow choice is warned about once for each rule and dashboard; one that keeps what they ask for
// is not.
func TestWarnsOfNeeds(t *testing.T) {
	cluster := ""
	f := func(series string, want ...string) {
		t.Helper()
		c, err := Parse("c.yaml", []byte("series: "+series+`
sources: [{name: prom, type: prometheus, url: http://x}`+cluster+`]
slos: [{name: it, service: it, source: prom, objective: 99, period: 30d, indicator: {gauge: {selector: up, good: "> 0"}}}]
`))
		if err != nil {
			t.Fatal(err)
		}
		have := []string{}
		for _, w := range c.Warnings {
			have = append(have, w.Problem)
		}
		if !slices.Equal(have, want) {
			t.Errorf("series: %s\nwarns\n%s\nwant\n%s", series, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
	f("full")
	f("standard")
	f("{windows: [period, 3d, 6h, 1h]}")
	f("{without: [slo_period_start_timestamp_seconds, vpa_*]}")
	f("{without: [rightsizing_headroom_cpu_cores]}") // nor is there a cluster
	f("{windows: [period, 3d, 6h]}",
		`leaves out what the alert rule SLODataIncomplete asks for: slo_window_coverage_ratio{window="1h"}`,
		`leaves out what panels of the dashboard yoyu-overview ask for: slo_burn_rate{window="1h"}`,
		`leaves out what panels of the dashboard yoyu-slo ask for: slo_error_ratio{window="1h"}, slo_window_coverage_ratio{window="1h"}`,
	)
	f("{without: [slo_alert_firing]}",
		"leaves out what the alert rule SLOErrorBudgetBurn asks for: slo_alert_firing",
		"leaves out what panels of the dashboard yoyu-overview ask for: slo_alert_firing",
		"leaves out what panels of the dashboard yoyu-slo ask for: slo_alert_firing",
	)
	cluster = ", {name: cluster, type: kubernetes}"
	f("{without: [rightsizing_headroom_cpu_cores]}",
		"leaves out what panels of the dashboard yoyu-rightsizing ask for: rightsizing_headroom_cpu_cores",
	)
}

func TestSeries(t *testing.T) {
	f := func(series string, want sinks.Selection) {
		t.Helper()
		c, err := Parse("c.yaml", []byte("series: "+series+`
sources: [{name: cluster, type: kubernetes}]
`))
		if err != nil {
			t.Fatal(err)
		}
		if !c.Series.Same(want) {
			t.Errorf("series: %s\nis %+v, want %+v", series, c.Series, want)
		}
	}
	all := func(without ...*sinks.Family) []*sinks.Family {
		return slices.DeleteFunc(slices.Clone(sinks.Families), func(f *sinks.Family) bool { return slices.Contains(without, f) })
	}
	f("full", sinks.Selection{AllWindows: true})
	f("standard", sinks.Selection{})
	f("{}", sinks.Selection{})
	f("{windows: [period, 5m]}", sinks.Selection{Windows: []string{"5m", "period"}})
	f("{families: [slo_burn_rate, slo_info]}", sinks.Selection{Families: []*sinks.Family{sinks.SLOInfo, sinks.SLOBurnRate}})
	f("{without: [slo_burn_rate]}", sinks.Selection{Families: all(sinks.SLOBurnRate)})
	f("{windows: [1h], families: [slo_alert_*, slo_burn_rate], without: [slo_alert_burn_ratio]}",
		sinks.Selection{Windows: []string{"1h"}, Families: []*sinks.Family{sinks.SLOBurnRate, sinks.SLOAlertFiring}})
}
