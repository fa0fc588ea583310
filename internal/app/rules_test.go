package app

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/demo"
	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// written runs yoyu rules into a folder, and has promtool check what came of it.
func written(t *testing.T, config string, wantCode int, args ...string) (dir, stderr string) {
	t.Helper()
	dir = t.TempDir()
	var out, errs bytes.Buffer
	args = append([]string{"rules", "--config.file=" + config, "--output-dir=" + dir}, args...)
	if code := Main(t.Context(), args, &out, &errs); code != wantCode {
		t.Fatalf("%q: exit %d, want %d: %s", args, code, wantCode, errs.String())
	}
	for _, command := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "yoyu.yml"},
		{"test", "rules", "yoyu_test.yml"},
	} {
		if output, err := promtest.RunPromtool(t, dir, command...); err != nil {
			t.Errorf("promtool %s: %v\n%.4000s", strings.Join(command, " "), err, output)
		}
	}
	return dir, errs.String()
}

// has counts what a written file holds.
func has(t *testing.T, dir, name, pattern string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return len(regexp.MustCompile(pattern).FindAll(text, -1))
}

// promtool takes the rules for the demo's SLOs, and their unit tests hold.
func TestRulesOfTheDemo(t *testing.T) {
	shop := demo.New(demo.Options{Seed: 1, Logger: slogDiscard})
	if err := shop.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "demo.yaml")
	if err := os.WriteFile(config, shop.Config(), 0o600); err != nil {
		t.Fatal(err)
	}
	written(t, config, exitOK)
	dir, stderr := written(t, config, exitShort, "--standalone") // catalog-availability follows the calendar
	if !strings.Contains(stderr, "slo catalog-availability: is written without its budget") || strings.Contains(stderr, "is not written") {
		t.Errorf("it said %q", stderr)
	}
	if n := has(t, dir, "yoyu_test.yml", `slo:error_ratio\{slo="[a-z-]+",window="5m"\} == 1`); n != 5 {
		t.Errorf("%d of five SLOs are tested", n)
	}
}

// TestRulesOfManySLOs: two hundred SLOs whose names, groups, policies, periods and indicators are
// drawn by lot.
func TestRulesOfManySLOs(t *testing.T) {
	const many = 200
	lot := rand.New(rand.NewPCG(200, 16))
	one := func(from ...string) string { return from[lot.IntN(len(from))] }
	var text strings.Builder
	text.WriteString(`
sources: [{name: prom, type: prometheus, url: "http://127.0.0.1:9090"}]
defaults: {source: prom}
services:
  - {name: plain}
  - {name: owned, labels: {team: "pay\"ments", tier: "1"}}
alert_policies:
  loud: {severities: {page: {pairs: [{long: 1h, short: 5m, factor: 14.4}, {long: 6h, short: 30m, factor: 6}], labels: {severity: critical, "note": "{{ $labels.slo }} \"quoted\" 余裕"}}, ticket: {pairs: [{long: 12h, short: 1h, factor: 1}]}}}
  single: {severities: {page: {pairs: [{long: 30m, short: 5m, factor: 1.5}], labels: {severity: high}}, ticket: {pairs: [{long: 2h, short: 10m, factor: 1.1}], labels: {severity: high}}}}
  guarded: {severities: {wake: {pairs: [{long: 2h, short: 10m, factor: 1.7}]}}, min_bad_events: 20, confidence: 95%}
slos:
`)
	groups := []string{"route", "zone", "pod", "team"}
	for i := range many {
		name := fmt.Sprintf("%s%s%d", one("checkout", "Search", "0x", "a.b"), one("-", "_", ".", "--"), i)
		metric := fmt.Sprintf("lot%d_%s", i, one("requests", "calls"))
		fmt.Fprintf(&text, "  - name: %q\n    service: %s\n    objective: %s\n    period: %s\n    alert_policy: %s\n", name,
			one("plain", "owned", "nobody"), one("99.9", "99", "99.95", "95", "99.99"),
			one("30d", "28d", "7d", "90d", "1d", "36h", "4w"), one("workbook", "workbook", "loud", "single", "guarded"))
		if i%3 == 0 {
			by := groups[:2+2*(i%2)]
			at := lot.IntN(len(by))
			if !strings.Contains(text.String()[strings.LastIndex(text.String(), "  - name:"):], "owned") || by[at] != "team" {
				fmt.Fprintf(&text, "    group_by: [%s]\n", by[at])
			}
		}
		if i%5 == 0 {
			fmt.Fprintf(&text, "    labels: {area: %q, cost: '%s'}\n", one("a", "b", "{{ x }}", "\"", "x: y"), one("low", "high"))
		}
		path := one(`/pay`, `/a\\b`, `/\"quoted\"`, `/日本`, `{{.x}}`)
		switch i % 4 {
		case 0:
			fmt.Fprintf(&text, "    indicator: {counters: {total: '%s_total{path=\"%s\"}', bad: '%s_total{path=\"%s\",code=~\"5..|429\"}'}}\n", metric, path, metric, path)
		case 1:
			fmt.Fprintf(&text, "    indicator: {counters: {total: '%s_total{path=\"%s\"}', good: '%s_total{path=\"%s\",code!~\"5..\"}'}}\n", metric, path, metric, path)
		case 2:
			fmt.Fprintf(&text, "    indicator: {latency: {histogram: '%s_seconds{path=\"%s\"}', below: %s}}\n", metric, path, one("300ms", "1s", "2.5s"))
		case 3:
			fmt.Fprintf(&text, "    indicator: {counters: {total: '{__name__=~\"%s_total\",path!=\"%s\"}', bad: '{__name__=~\"%s_total\",path!=\"%s\",code=\"500\"}'}}\n", metric, path, metric, path)
			if i%8 == 3 {
				text.WriteString("    budgeting: {method: timeslices, slice: 5m, target: 95}\n")
			}
		}
	}
	file := filepath.Join(t.TempDir(), "many.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("over yoyu's series", func(t *testing.T) {
		dir, _ := written(t, file, exitOK)
		if n := has(t, dir, "yoyu_test.yml", `exp_labels`); n < many {
			t.Errorf("the unit tests expect %d alerts, want some of each of %d SLOs", n, many)
		}
	})
	t.Run("standalone", func(t *testing.T) {
		dir, stderr := written(t, file, exitOK, "--standalone")
		if strings.Contains(stderr, "no unit test") {
			t.Errorf("it said %q", stderr)
		}
		if n := has(t, dir, "yoyu_test.yml", `slo:error_ratio\{slo="[^"]+",window="[0-9mh]+"\} == 1`); n != many {
			t.Errorf("%d of %d SLOs are tested", n, many)
		}
	})
}
