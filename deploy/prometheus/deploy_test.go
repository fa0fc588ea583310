// Package prometheus checks what is given to operators for Prometheus, with its own tools.
package prometheus

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/sinks"
)

func TestPromtoolAccepts(t *testing.T) {
	for _, f := range []struct {
		name, dir string
		arguments []string
	}{
		{"the rules", "rules", []string{"check", "rules", "--lint=all", "--lint-fatal", "yoyu.yml"}},
		{"the configuration", "", []string{"check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"}},
		{"the rules' own tests", "rules", []string{"test", "rules", "yoyu_test.yml"}},
	} {
		t.Run(f.name, func(t *testing.T) {
			if output, err := promtest.RunPromtool(t, f.dir, f.arguments...); err != nil {
				t.Errorf("promtool %s: %v\n%s", strings.Join(f.arguments, " "), err, output)
			}
		})
	}
}

// A rule nobody ever saw fire, or keep still, is not known to do either.
func TestEveryAlertIsSeenFiringAndSilent(t *testing.T) {
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name   string `yaml:"alertname"`
				Expect []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	read(t, "rules/yoyu_test.yml", &tests)
	firing, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, alert := range test.Alerts {
			if len(alert.Expect) > 0 {
				firing[alert.Name] = true
			} else {
				silent[alert.Name] = true
			}
		}
	}
	for _, rule := range alerts(t) {
		if !firing[rule.Alert] {
			t.Errorf("%s: no test sees it fire", rule.Alert)
		}
		if !silent[rule.Alert] {
			t.Errorf("%s: no test sees it keep still", rule.Alert)
		}
	}
}

// A rule over a series that does not exist never fires, and nothing says so.
func TestRulesAskForWhatYoyuPublishes(t *testing.T) {
	published := []string{ // yoyu's health, which no sink but /metrics shows
		"yoyu_build_info", "yoyu_source_up", "yoyu_sink_up", "yoyu_ticks_missed_total",
		"yoyu_config_last_reload_successful", "yoyu_store_writable",
	}
	for _, family := range sinks.Families {
		published = append(published, family.Name)
	}
	for _, rule := range alerts(t) {
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr)
		if err != nil {
			t.Errorf("%s: %v", rule.Alert, err)
			continue
		}
		asked := 0
		for _, matchers := range parser.ExtractSelectors(expression) {
			for _, matcher := range matchers {
				if matcher.Name != model.MetricNameLabel {
					continue
				}
				asked++
				if !slices.Contains(published, matcher.Value) {
					t.Errorf("%s: asks for %s, which is never published", rule.Alert, matcher.Value)
				}
			}
		}
		if asked == 0 {
			t.Errorf("%s: asks for no series", rule.Alert)
		}
	}
}

type alert struct {
	Alert string
	Expr  string
}

func alerts(t *testing.T) []alert {
	var file struct {
		Groups []struct{ Rules []alert }
	}
	read(t, "rules/yoyu.yml", &file)
	var all []alert
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("rules/yoyu.yml: no alerts")
	}
	return all
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
