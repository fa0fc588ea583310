package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// The rules that yoyu writes, in a real Prometheus that scrapes two yoyus: what burns is one
// notification with the labels that the policy writes, its ticket is held back by the inhibit rules
// that yoyu writes too, and the end of it is told once.
func TestRulesFireThroughAlertmanager(t *testing.T) {
	target, page := pod(t)
	counts := func(good, bad int) {
		page.Store(fmt.Sprintf("requests_total{route=\"/pay\",code=\"200\"} %d\nrequests_total{route=\"/pay\",code=\"500\"} %d\n", good, bad))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	write := func(name, text string) string {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at
	}
	write("config.yaml", fmt.Sprintf(`
tick: 1s
sources: [{name: pods, type: scrape, targets: ["http://%s/metrics"]}]
defaults: {source: pods, period: 30d, alert_policy: paged}
alert_policies:
  paged:
    severities:
      page: {pairs: [{long: 1h, short: 5m, factor: 14.4}], labels: {severity: critical}}
      ticket: {pairs: [{long: 1d, short: 2h, factor: 3}]}
services: [{name: shop, labels: {team: payments, area: "money \"&\" more"}, runbook_url: https://runbooks.example/shop}]
slos:
  - name: it
    service: shop
    objective: 99.9
    group_by: [route]
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, target))
	said := func(args ...string) string {
		out, stderr, code := runYoyu(t, append([]string{"rules", "--config.file=" + file}, args...)...)
		if code != 0 {
			t.Fatalf("yoyu rules %q: exit %d: %s", args, code, stderr)
		}
		return out
	}
	rules := write("yoyu.yml", said("--keep-firing-for=1s"))
	phone := promtest.NewWebhook(t)
	config := strings.Replace(phone.Config(), "group_wait: 100ms", "group_wait: 2s", 1) // both alerts come before either is sent
	am := promtest.StartAlertmanager(t, config+said("-o", "inhibit"))

	addresses := []string{freeAddress(t), freeAddress(t)}
	prom := promtest.Start(t, promtest.Options{
		RuleFiles: []string{rules}, Alertmanagers: []string{am.Address()},
		Jobs: []promtest.Job{{Name: "yoyu", Targets: addresses, HonorLabels: true, Labels: map[string]string{"service": "yoyu"}}},
	})
	counts(100, 0)
	for _, address := range addresses {
		start(t, "yoyu", "--config.file="+file, "--web.listen-address="+address, "--storage.path="+filepath.Join(t.TempDir(), "data"))
	}
	good := 100
	until(t, "the first requests counted by both", func() (bool, string) {
		good++ // a group is there once something happened in it
		counts(good, 0)
		for _, address := range addresses {
			if text, err := get("http://" + address + "/metrics"); err != nil || !strings.Contains(text, `slo_events_total{route="/pay"`) {
				return false, fmt.Sprint(err)
			}
		}
		return true, ""
	})

	counts(1000, 500)
	until(t, "the page", func() (bool, string) { return len(burns(phone)) > 0, "nothing came" })
	first := burns(phone)[0]
	if first.Status != "firing" || len(first.Alerts) != 1 {
		t.Fatalf("the first notification is %+v, want one alert that fires", first)
	}
	want := map[string]string{
		"alertname": "SLOErrorBudgetBurn", "slo": "it", "service": "shop", "route": "/pay", "severity": "critical", "job": "yoyu",
		"team": "payments", "area": `money "&" more`, "runbook_url": "https://runbooks.example/shop",
	}
	if got := first.Alerts[0].Labels; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("labels %v, want %v", got, want)
	}
	if got := first.Alerts[0].Annotations; got["summary"] != "it is burning its error budget (page)" || !strings.Contains(got["description"], "% of the budget is left") ||
		got["runbook_url"] != want["runbook_url"] {
		t.Errorf("annotations %q", got)
	}

	// Both fire, once each whatever the replicas; the ticket is not sent.
	prom.Await(`count by (severity) (ALERTS{alertname="SLOErrorBudgetBurn",alertstate="firing",slo="it",route="/pay"})`, func(v model.Vector) bool {
		return len(v) == 2 && v[0].Value == 1 && v[1].Value == 1
	})
	healthy(t, prom, "slo", "yoyu")
	until(t, "the ticket held back", func() (bool, string) {
		for _, alert := range am.Alerts() {
			var status struct{ InhibitedBy []string }
			if err := json.Unmarshal(alert.Status, &status); err != nil {
				return false, err.Error()
			}
			if alert.Labels["alertname"] == "SLOErrorBudgetBurn" && alert.Labels["severity"] == "ticket" && len(status.InhibitedBy) == 1 {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", am.Alerts())
	})
	pass(t, 4*time.Second) // twice as long as a group waits

	counts(10_000_000, 500) // a flood of good requests ends it
	until(t, "the end", func() (bool, string) {
		got := burns(phone)
		return len(got) > 1, fmt.Sprintf("%+v", got)
	})
	pass(t, 4*time.Second)
	got := burns(phone)
	if len(got) != 2 || got[1].Status != "resolved" || got[1].Alerts[0].Fingerprint != first.Alerts[0].Fingerprint {
		t.Errorf("%d notifications, want the page and its end: %+v", len(got), got)
	}
}

// healthy fails unless every rule of these groups was evaluated without an error.
func healthy(t *testing.T, prom *promtest.Server, names ...string) {
	t.Helper()
	all, err := prom.API().Rules(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, g := range all.Groups {
		if !slices.Contains(names, g.Name) {
			continue
		}
		seen++
		for _, r := range g.Rules {
			switch r := r.(type) {
			case v1.AlertingRule:
				if r.Health != v1.RuleHealthGood {
					t.Errorf("group %s: %s is %s: %s", g.Name, r.Name, r.Health, r.LastError)
				}
			case v1.RecordingRule:
				if r.Health != v1.RuleHealthGood {
					t.Errorf("group %s: %s is %s: %s", g.Name, r.Name, r.Health, r.LastError)
				}
			}
		}
	}
	if seen != len(names) {
		t.Errorf("%d groups of rules, want %q", seen, names)
	}
}

// The rules for those who run no yoyu, in a real Prometheus that scrapes the metrics themselves: a
// page begins and ends through a real Alertmanager.
func TestStandaloneRulesFireThroughAlertmanager(t *testing.T) {
	target, page := pod(t)
	counts := func(good, bad int) {
		page.Store(fmt.Sprintf("requests_total{route=\"/pay\",code=\"200\"} %d\nrequests_total{route=\"/pay\",code=\"500\"} %d\n", good, bad))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(`
sources: [{name: prom, type: prometheus, url: "http://prometheus:9090"}]
defaults: {source: prom, period: 30d, labels: {team: payments, note: '{{ "literal" }}'}}
slos:
  - name: it
    service: shop
    objective: 99.9
    group_by: [route]
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	text, stderr, code := runYoyu(t, "rules", "--standalone", "--config.file="+file)
	if code != 0 {
		t.Fatalf("yoyu rules: exit %d: %s", code, stderr)
	}
	rules := filepath.Join(dir, "standalone.yml")
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	phone := promtest.NewWebhook(t)
	am := promtest.StartAlertmanager(t, phone.Config())
	counts(100, 0)
	prom := promtest.Start(t, promtest.Options{
		RuleFiles: []string{rules}, Alertmanagers: []string{am.Address()},
		Jobs: []promtest.Job{{Name: "shop", Targets: []string{target}}},
	})
	prom.Await(`slo:window_events{slo="it",window="5m"}`, func(v model.Vector) bool { return len(v) == 1 })
	counts(1000, 500)
	paged := func() []promtest.Notification {
		return slices.DeleteFunc(burns(phone), func(n promtest.Notification) bool { return n.Alerts[0].Labels["severity"] != "page" })
	}
	until(t, "the page", func() (bool, string) { return len(paged()) > 0, fmt.Sprintf("%+v", phone.Notifications()) })
	first := paged()[0]
	want := map[string]string{
		"alertname": "SLOErrorBudgetBurn", "slo": "it", "service": "shop", "route": "/pay", "severity": "page", "team": "payments", "note": `{{ "literal" }}`,
	}
	if got := first.Alerts[0].Labels; first.Status != "firing" || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s with labels %v, want %v", first.Status, got, want)
	}
	healthy(t, prom, "slo:it") // the slots come within five minutes
	counts(10_000_000, 500)
	until(t, "the end", func() (bool, string) { return len(paged()) > 1, fmt.Sprintf("%+v", phone.Notifications()) })
	if last := paged()[1]; last.Status != "resolved" || last.Alerts[0].Fingerprint != first.Alerts[0].Fingerprint {
		t.Errorf("the second notification is %+v, want the end of the first", last)
	}
}

// burns are the notifications about burn rates. A young SLO has other things to say: its budget of
// a few events is spent, and its hour is not covered.
func burns(phone *promtest.Webhook) []promtest.Notification {
	return slices.DeleteFunc(phone.Notifications(), func(n promtest.Notification) bool {
		return n.Alerts[0].Labels["alertname"] != "SLOErrorBudgetBurn"
	})
}

// step is how often the traffic below is scraped.
const step = 30 * time.Second

// stretch is traffic that stays the same for a while, in requests a step.
type stretch struct {
	long       time.Duration
	total, bad int
}

// told is traffic from a moment on in two notations of the same samples: that of promtool's unit
// tests, by code, and OpenMetrics.
func told(from time.Time, all []stretch) (values map[string]string, text string, end time.Time) {
	values = map[string]string{}
	var om strings.Builder
	om.WriteString("# TYPE requests counter\n")
	for _, code := range []string{"200", "500"} {
		n, at := 0, from
		values[code] = "0"
		fmt.Fprintf(&om, "requests_total{job=\"shop\",instance=\"a\",code=%q} 0 %d\n", code, at.Unix())
		for _, s := range all {
			each := s.bad
			if code == "200" {
				each = s.total - s.bad
			}
			steps := int(s.long / step)
			values[code] += fmt.Sprintf(" %d+%dx%d", n+each, each, steps-1)
			for range steps {
				n, at = n+each, at.Add(step)
				fmt.Fprintf(&om, "requests_total{job=\"shop\",instance=\"a\",code=%q} %d %d\n", code, n, at.Unix())
			}
		}
		end = at
	}
	om.WriteString("# EOF\n")
	return values, om.String(), end
}

// The rules that Sloth 0.16 would write for the SLO below, written out by hand: a recording for
// each window, the mean of the ratios of five minutes for the period, two alerts.
const (
	slothErrors = `sum(rate(requests_total{code="500"}[%[1]s])) / sum(rate(requests_total[%[1]s]))`
	slothBudget = "0.0009999999999999432"
)

func slothRules() string {
	var out strings.Builder
	labels := "{sloth_id: shop-it, sloth_service: shop, sloth_slo: it"
	out.WriteString("groups:\n  - name: sloth-slo-sli-recordings-shop-it\n    rules:\n")
	for _, w := range []string{"5m", "30m", "1h", "2h", "6h", "1d", "3d"} {
		fmt.Fprintf(&out, "      - {record: 'slo:sli_error:ratio_rate%[1]s', expr: '%[2]s', labels: %[3]s, sloth_window: %[1]s}}\n", w, fmt.Sprintf(slothErrors, w), labels)
	}
	fmt.Fprintf(&out, `      - record: slo:sli_error:ratio_rate30d
        expr: >-
          sum_over_time(slo:sli_error:ratio_rate5m{sloth_id="shop-it"}[30d])
          / ignoring (sloth_window)
          count_over_time(slo:sli_error:ratio_rate5m{sloth_id="shop-it"}[30d])
        labels: %s, sloth_window: 30d}
  - name: sloth-slo-alerts-shop-it
    rules:
`, labels)
	for _, severity := range []string{"page", "ticket"} {
		expression := slothAlert(severity, func(w string) string { return `slo:sli_error:ratio_rate` + w + `{sloth_id="shop-it"}` })
		fmt.Fprintf(&out, "      - {alert: Sloth, expr: '%s', labels: {sloth_severity: %s}}\n", expression, severity)
	}
	return out.String()
}

func slothAlert(severity string, ratio func(window string) string) string {
	pair := func(short, long, factor string) string {
		return fmt.Sprintf("(max(%[1]s > (%[3]s * %[4]s)) without (sloth_window) and max(%[2]s > (%[3]s * %[4]s)) without (sloth_window))",
			ratio(short), ratio(long), factor, slothBudget)
	}
	if severity == "page" {
		return pair("5m", "1h", "14.4") + " or " + pair("30m", "6h", "6")
	}
	return pair("2h", "1d", "3") + " or " + pair("6h", "3d", "1")
}

// beside is a Prometheus with traffic, yoyu's configuration for it, and rules over it.
type beside struct {
	t       *testing.T
	prom    *promtest.Server
	config  string
	folder  string // holds yoyu.yml, the rules without a daemon, and sloth.yml
	values  map[string]string
	from    time.Time
	end     time.Time
	written int // unit tests
}

func newBeside(t *testing.T, all []stretch) *beside {
	t.Helper()
	b := &beside{t: t, folder: t.TempDir(), from: time.Unix(1_767_225_600, 0)}
	var text string
	b.values, text, b.end = told(b.from, all)
	tsdb := t.TempDir()
	promtest.CreateBlocks(t, tsdb, strings.NewReader(text))
	b.prom = promtest.Start(t, promtest.Options{Dir: tsdb})
	b.config = filepath.Join(b.folder, "config.yaml")
	b.write("config.yaml", fmt.Sprintf(`
tick: 30s
sources: [{name: prom, type: prometheus, url: %q}]
defaults: {source: prom, period: 30d}
slos:
  - name: it
    service: shop
    objective: 99.9
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, b.prom.URL()))
	b.write("sloth.yml", slothRules())
	out, stderr, code := runYoyu(t, "rules", "--standalone", "--config.file="+b.config)
	if code != 0 {
		t.Fatalf("yoyu rules: exit %d: %s", code, stderr)
	}
	b.write("yoyu.yml", out)
	if out, err := promtest.RunPromtool(t, b.folder, "check", "rules", "--lint=none", "sloth.yml", "yoyu.yml"); err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	return b
}

func (b *beside) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.folder, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// expectation is an expression that must give a number at a moment, or nothing.
type expectation struct {
	at   time.Time
	expr string
	want float64 // NaN: nothing
}

// holds evaluates all rules every interval over the traffic, and compares.
func (b *beside) holds(interval time.Duration, all ...expectation) {
	b.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "rule_files: [sloth.yml, yoyu.yml]\nevaluation_interval: %s\ngroup_eval_order: [%s]\ntests:\n  - interval: 30s\n    input_series:\n", model.Duration(interval),
		// promtool takes groups in any order unless told. What Sloth recorded an interval of five
		// minutes ago is out of sight; what yoyu's alerts read of the slots, which come last here, is not.
		"sloth-slo-sli-recordings-shop-it, sloth-slo-alerts-shop-it, 'slo:it', 'slo:it:slots'")
	for code, values := range b.values {
		fmt.Fprintf(&text, "      - {series: 'requests_total{job=\"shop\",instance=\"a\",code=%q}', values: '%s'}\n", code, values)
	}
	text.WriteString("    promql_expr_test:\n")
	for _, e := range all {
		samples := ""
		if !math.IsNaN(e.want) {
			samples = fmt.Sprintf("{value: %g}", e.want)
		}
		fmt.Fprintf(&text, "      - {expr: '%s', eval_time: %s, exp_samples: [%s]}\n", e.expr, model.Duration(e.at.Sub(b.from)), samples)
	}
	b.written++
	name := fmt.Sprintf("test%d.yml", b.written)
	b.write(name, text.String())
	if out, err := promtest.RunPromtool(b.t, b.folder, "test", "rules", name); err != nil {
		b.t.Errorf("evaluated every %s: %v\n%.4000s", interval, err, out)
	}
}

// alertJSON is an alert as yoyu backtest lists it.
type alertJSON struct {
	Severity, Long string
	Start          time.Time
	End            *time.Time
}

// backtest is what yoyu says of the traffic, from the Prometheus: the report at its end, and every
// alert.
func (b *beside) backtest() (sloJSON, []alertJSON) {
	b.t.Helper()
	out, stderr, code := runYoyu(b.t, "backtest", "--config.file="+b.config, "-o", "json",
		fmt.Sprintf("--start=%d", b.from.Unix()), fmt.Sprintf("--end=%d", b.end.Unix()), fmt.Sprintf("--at=%d", b.end.Unix()))
	if code != 0 {
		b.t.Fatalf("yoyu backtest: exit %d: %s", code, stderr)
	}
	var d document
	var a struct{ Alerts []alertJSON }
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		b.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		b.t.Fatal(err)
	}
	return d.Reports[0].SLOs[0], a.Alerts
}

// runs are the stretches of time over which an expression has an answer in the real Prometheus,
// asked every step.
func (b *beside) runs(expression string) [][2]time.Time {
	b.t.Helper()
	value, _, _, err := b.prom.API().QueryRange(b.t.Context(), expression, v1.Range{Start: b.from, End: b.end, Step: step})
	if err != nil {
		b.t.Fatal(err)
	}
	var out [][2]time.Time
	for _, series := range value.(model.Matrix) {
		for _, p := range series.Values {
			at := p.Timestamp.Time()
			if n := len(out); n > 0 && at.Sub(out[n-1][1]) <= step {
				out[n-1][1] = at
				continue
			}
			out = append(out, [2]time.Time{at, at})
		}
	}
	return out
}

// Where both should fire, yoyu fires within two evaluations of Sloth: the daemon on history, and
// the rules of those who run none.
func TestFiresBesideSloth(t *testing.T) {
	const each = 1000
	b := newBeside(t, []stretch{
		{6 * time.Hour, each, 0},
		{3 * time.Hour, each, 14},     // 1.4 %, which only the long pairs see
		{90 * time.Minute, each, 0},   // long enough for the page to end
		{6 * time.Minute, each, each}, // an outage
		{30 * time.Minute, each, 0},
	})
	_, alerts := b.backtest()
	nothing := math.NaN()
	for _, severity := range []string{"page", "ticket"} {
		var began []time.Time // of yoyu's alerts, pairs that overlap taken for one
		var over time.Time
		for _, a := range alerts {
			if a.Severity != severity {
				continue
			}
			end := b.end
			if a.End != nil {
				end = *a.End
			}
			if len(began) == 0 || a.Start.After(over) {
				began = append(began, a.Start)
			}
			if end.After(over) {
				over = end
			}
		}
		sloth := b.runs(slothAlert(severity, func(w string) string { return "(" + fmt.Sprintf(slothErrors, w) + ")" }))
		want := map[string]int{"page": 2, "ticket": 1}[severity]
		if len(sloth) != want || len(began) != want {
			t.Fatalf("%s: Sloth fires %d times (%v), yoyu %d times (%v), want %d: %+v", severity, len(sloth), sloth, len(began), began, want, alerts)
		}
		for i, start := range began {
			apart := start.Sub(sloth[i][0])
			t.Logf("%s %d: yoyu at %s, Sloth %s earlier", severity, i+1, start.Sub(b.from), apart)
			if apart.Abs() > 2*step {
				t.Errorf("%s %d: yoyu fires at %s, Sloth at %s", severity, i+1, start, sloth[i][0])
			}
		}

		// The rules themselves, Sloth's and yoyu's, in the rule manager of a Prometheus.
		sent := func(selector string) string { return "count(ALERTS{" + selector + `,alertstate="firing"})` }
		theirs, ours := sent(`alertname="Sloth",sloth_severity="`+severity+`"`), sent(`alertname="SLOErrorBudgetBurn",severity="`+severity+`"`)
		interval := step
		if severity == "ticket" {
			interval = 5 * time.Minute // that of the slots, of which the windows of a day and more are sums
		}
		var all []expectation
		for _, run := range sloth {
			for _, expr := range []string{theirs, ours} {
				before, after := run[0].Add(-2*interval), run[0].Add(2*interval)
				all = append(all, expectation{b.onGrid(before, interval), expr, nothing}, expectation{b.onGrid(after, interval), expr, 1})
			}
		}
		b.holds(interval, all...)
	}
}

// onGrid is the last evaluation at or before a moment.
func (b *beside) onGrid(at time.Time, interval time.Duration) time.Time {
	return b.from.Add(at.Sub(b.from).Truncate(interval))
}

// 23 hours at 10 a second without an error, and one at 1000 a second with a tenth of them bad: the
// mean of ratios is 0.417 %, and 8.130 % of the events were bad.
func TestEventWeightedBesideSloth(t *testing.T) {
	b := newBeside(t, []stretch{{23 * time.Hour, 300, 0}, {time.Hour, 30_000, 3_000}})
	s, _ := b.backtest()
	w := s.Windows["30d"]
	if w.Total != 4_428_000 || w.Bad != 360_000 {
		t.Errorf("yoyu counts %v bad of %v, want 360000 of 4428000", w.Bad, w.Total)
	}
	if got := fmt.Sprintf("%.3f %%", 100*w.Bad/w.Total); got != "8.130 %" {
		t.Errorf("yoyu says %s, want 8.130 %%", got)
	}

	// Sloth's recording, as its rule would find it in this Prometheus.
	ratios := "(" + fmt.Sprintf(slothErrors, "5m") + ")[1d:30s]"
	mean := b.prom.QueryAt("sum_over_time("+ratios+") / count_over_time("+ratios+")", b.end).(model.Vector)
	if len(mean) != 1 || math.Abs(float64(mean[0].Value)-0.00417) > 0.0001 {
		t.Errorf("the mean of ratios is %v, want 0.417 %%", mean)
	}

	round := func(expr string) string { return "round(100000 * sum(" + expr + "))" }
	b.holds(5*time.Minute,
		expectation{b.end, round("slo:sli_error:ratio_rate30d"), 417},
		expectation{b.end, round(`slo:error_ratio{slo="it",window="period"}`), 8130},
		expectation{b.end, `sum(slo:window_events{slo="it",window="period"})`, 4_428_000},
		expectation{b.end, `sum(slo:window_bad_events{slo="it",window="period"})`, 360_000},
		expectation{b.end, round(`slo:error_ratio{slo="it",window="1d"}`), 8130},
	)
}
