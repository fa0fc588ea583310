package rules

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

var update = flag.Bool("update", false, "write deploy/prometheus/rules anew")

const kept = "../../deploy/prometheus/rules/yoyu.yml"

// What lies in deploy/prometheus is what `yoyu rules --generic` writes. Its unit tests there are
// written by hand.
func TestKept(t *testing.T) {
	f, err := Alerts(Options{Keep: DefaultKeep})
	if err != nil {
		t.Fatal(err)
	}
	text, err := f.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(kept, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, text) {
		t.Errorf("%s is not what yoyu writes: go test ./internal/rules -update", kept)
	}
}

// read is a file of rules as anybody reads it.
type read struct {
	Groups []struct {
		Name     string
		Interval string
		Rules    []readRule
	}
}

type readRule struct {
	Record, Alert, Expr string
	For                 string
	Keep                string `yaml:"keep_firing_for"`
	Labels, Annotations map[string]string
}

func parse(t testing.TB, f *File) (out read) {
	t.Helper()
	text, err := f.YAML()
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&out); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return out
}

func share(t testing.TB, percent string) slo.Share {
	t.Helper()
	s, err := slo.ParsePercent(percent)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plain is an SLO of counters under the workbook.
func plain(t testing.TB, name, objective string) SLO {
	period := slo.RollingPeriod(30 * slo.Day)
	return SLO{
		Objective: &slo.Objective{Name: name, Service: "shop", Target: share(t, objective), Period: period, Policy: slo.Workbook(period)},
		Indicator: sources.Indicator{Kind: sources.Counters, Total: `requests_total`, Bad: `requests_total{code=~"5.."}`},
	}
}

// promtool runs checks and unit tests over files that are written into one folder.
func promtool(t *testing.T, files map[string][]byte, arguments ...string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if output, err := promtest.RunPromtool(t, dir, arguments...); err != nil {
		t.Errorf("promtool %s: %v\n%.4000s", strings.Join(arguments, " "), err, output)
	}
}

// holds has promtool check a file of rules, and run the unit tests that were written with it.
func holds(t *testing.T, f *File) {
	t.Helper()
	rules, err := f.YAML()
	if err != nil {
		t.Fatal(err)
	}
	tests, err := f.Tests("yoyu.yml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"yoyu.yml": rules, "yoyu_test.yml": tests}
	promtool(t, files, "check", "rules", "--lint=all", "--lint-fatal", "yoyu.yml")
	promtool(t, files, "test", "rules", "yoyu_test.yml")
}

// The sums of raw metrics, by hand: testdata/standalone_test.yml says what is counted and why.
func TestStandaloneCounts(t *testing.T) {
	slices5m := slo.Budgeting{Method: slo.RatioTimeslices, Slice: 5 * time.Minute, Empty: slo.EmptySkip}
	guarded := plain(t, "guarded", "99.9")
	guarded.Indicator = sources.Indicator{Kind: sources.Counters, Total: `few_total`, Bad: `few_total{code="500"}`}
	guarded.Policy.MinBadEvents, guarded.Policy.Confidence = 5, 1.96
	sure := plain(t, "sure", "99.9")
	sure.Indicator = sources.Indicator{Kind: sources.Counters, Total: `some_total`, Bad: `some_total{code="500"}`}
	sure.Policy.Confidence = 1.96
	with := func(name string, in sources.Indicator, change ...func(*slo.Objective)) SLO {
		s := plain(t, name, "99.9")
		s.Indicator = in
		for _, c := range change {
			c(s.Objective)
		}
		return s
	}
	f, gaps := Standalone(Options{SLOs: []SLO{
		with("pages", sources.Indicator{Kind: sources.Counters, Total: `pages_total{job="web"}`, Bad: `pages_total{job="web",code=~"5.."}`},
			func(o *slo.Objective) { o.GroupBy = []string{"route"} }),
		with("good", sources.Indicator{Kind: sources.Counters, Total: `pages_total{job="web"}`, Good: `pages_total{job="web",code="200"}`}),
		with("fast", sources.Indicator{Kind: sources.Latency, Histogram: `took_seconds`, Below: 1}),
		with("between", sources.Indicator{Kind: sources.Latency, Histogram: `took_seconds`, Below: 0.7}),
		with("native", sources.Indicator{Kind: sources.Latency, Histogram: `native_seconds`, Below: 2}),
		with("words", sources.Indicator{Kind: sources.PromQL, Total: "sum(increase(asked_total[{{.window}}])) # all of them", Good: `sum(increase(answered_total[{{ .window }}]))`}),
		with("ready", sources.Indicator{Kind: sources.Ratio, Bad: `stale:ratio`}, func(o *slo.Objective) { o.Budgeting = slices5m }),
		with("slices", sources.Indicator{Kind: sources.Counters, Total: `pages_total{job="web"}`, Bad: `pages_total{job="web",code=~"5.."}`},
			func(o *slo.Objective) {
				o.Budgeting = slo.Budgeting{Method: slo.Timeslices, Slice: 5 * time.Minute, Target: share(t, "95")}
			}),
		guarded, sure,
	}})
	if len(gaps) != 0 {
		t.Fatal(gaps)
	}
	text, err := f.YAML()
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("testdata/standalone_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, map[string][]byte{"standalone.yml": text, "standalone_test.yml": tests}, "test", "rules", "standalone_test.yml")
	holds(t, f)
}

func TestGaps(t *testing.T) {
	with := func(name string, change func(*SLO)) SLO {
		s := plain(t, name, "99")
		change(&s)
		return s
	}
	f, gaps := Standalone(Options{SLOs: []SLO{
		with("gauge", func(s *SLO) { s.Indicator = sources.Indicator{Kind: sources.Gauge, Selector: "up"} }),
		with("ratio", func(s *SLO) { s.Indicator = sources.Indicator{Kind: sources.Ratio, Bad: "r"} }),
		with("datadog", func(s *SLO) { s.Indicator = sources.Indicator{Kind: "datadog"} }),
		with("empty", func(s *SLO) {
			s.Budgeting = slo.Budgeting{Method: slo.RatioTimeslices, Slice: time.Minute, Empty: slo.EmptyBad}
		}),
		with("month", func(s *SLO) { s.Period = slo.CalendarPeriod(slo.Month, time.UTC) }),
		with("grouped", func(s *SLO) { s.GroupBy, s.GroupLimit = []string{"route"}, 7 }),
		with("whole", func(*SLO) {}),
	}})
	var said []string
	for _, g := range gaps {
		said = append(said, fmt.Sprintf("%s (%v)", g, g.Note))
	}
	want := []string{
		"slo gauge: is not written: a gauge counts its samples, and PromQL compares at steps of its own (false)",
		"slo ratio: is not written: a ratio has no events to count, and no slices are told (false)",
		"slo datadog: is not written: an indicator of kind datadog is not asked of a Prometheus (false)",
		"slo empty: is not written: a slice without events counts as good or bad, and PromQL cannot tell it from one that nobody asked for (false)",
		"slo month: is written without its budget: a range of PromQL has one length, and a calendar period has none (false)",
		"slo grouped: group_limit 7 does not hold: rules keep every group apart (true)",
	}
	if !slices.Equal(said, want) {
		t.Errorf("gaps\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	var names []string
	for _, g := range parse(t, f).Groups {
		names = append(names, g.Name)
		if g.Name == "slo:month:slots" {
			for _, r := range g.Rules {
				if strings.Contains(r.Record+r.Alert, "budget") || r.Alert == spentAlert {
					t.Errorf("a calendar period has %s%s", r.Record, r.Alert)
				}
			}
		}
	}
	if want := []string{"slo:month", "slo:month:slots", "slo:grouped", "slo:grouped:slots", "slo:whole", "slo:whole:slots"}; !slices.Equal(names, want) {
		t.Errorf("groups %q, want %q", names, want)
	}
}

// Thresholds are decimals, as a person would have written them.
func TestThresholds(t *testing.T) {
	for _, c := range []struct {
		objective string
		period    time.Duration
		want      []string // of 1h, 6h, 1d and 3d
	}{
		{"99.9", 30 * slo.Day, []string{"0.0144", "0.006", "0.003", "0.001"}},
		{"99.95", 28 * slo.Day, []string{"0.00672", "0.0028", "0.0014", "0.00046666666666666666"}},
		{"99", 7 * slo.Day, []string{"0.1344", "0.035", "0.014", "0.0098"}},
	} {
		s := plain(t, "it", c.objective)
		s.Period = slo.RollingPeriod(c.period)
		s.Policy = slo.Workbook(s.Period)
		f, _ := Standalone(Options{SLOs: []SLO{s}})
		var got []string
		for _, r := range parse(t, f).Groups[0].Rules {
			if r.Alert != BurnAlert {
				continue
			}
			for _, m := range regexp.MustCompile(`> ([0-9.e-]+)\n`).FindAllStringSubmatch(r.Expr, -1) {
				if n := len(got); n == 0 || got[n-1] != m[1] {
					got = append(got, m[1])
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s over %s: thresholds %q, want %q", c.objective, c.period, got, c.want)
		}
	}
}

// labelled is an SLO whose policy writes labels over its severities.
func labelled(t testing.TB, name string, over map[string]map[string]string, groupBy ...string) SLO {
	s := plain(t, name, "99.9")
	s.GroupBy = groupBy
	for i := range s.Policy.Severities {
		s.Policy.Severities[i].Labels = over[s.Policy.Severities[i].Name]
	}
	return s
}

// What is odd about an SLO is put right for it, and the others stay with the general rule. The unit
// tests that are written along would fail on two alerts of one set of labels, or on none.
func TestOddSLOs(t *testing.T) {
	team := func(s SLO, team string) SLO {
		s.Labels = map[string]string{"team": team, "cost": "low", "pod": "not-a-label-to-join", "alertname": "nor this"}
		s.RunbookURL = "https://runbooks.example/" + s.Name
		return s
	}
	f, err := Alerts(Options{Keep: DefaultKeep, SLOs: []SLO{
		team(plain(t, "usual", "99.9"), "payments"),
		team(labelled(t, "critical", map[string]map[string]string{"page": {"severity": "critical", "slo": "cannot be"}}), "payments"),
		team(labelled(t, "also.critical", map[string]map[string]string{"page": {"severity": "critical"}}, "route"), "search"),
		labelled(t, "one", map[string]map[string]string{"page": {"severity": "critical"}, "ticket": {"severity": "critical"}}), // one alert outside
		labelled(t, "same", map[string]map[string]string{"page": {"severity": "ticket"}}),
		labelled(t, "routed", map[string]map[string]string{"page": {"escalate": "yes", "cost": "high"}}),
		labelled(t, "by-team", nil, "team"), // the label of a group is not that of slo_info
		labelled(t, "by-pod", nil, "pod"),   // nor that of a replica
		labelled(t, "by-pod-critical", map[string]map[string]string{"page": {"severity": "critical"}}, "pod"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, f)
	burn := 0
	for _, r := range parse(t, f).Groups[0].Rules {
		if r.Alert == BurnAlert {
			burn++
			if r.Keep != "5m" {
				t.Errorf("keep_firing_for %q, want 5m", r.Keep)
			}
		}
	}
	if burn != 4 { // plain, critical, escalate, ticket
		t.Errorf("%d rules, want one for each set of labels: 4", burn)
	}
}

// Many SLOs that have nothing odd are two lines.
func TestGeneral(t *testing.T) {
	var all []SLO
	for i := range 50 {
		s := plain(t, fmt.Sprintf("slo-%d", i), "99.9")
		s.Labels = map[string]string{"team": "a", "area": "b"}
		all = append(all, s)
	}
	f, err := Alerts(Options{SLOs: all, Tick: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	want := "max without (instance, pod) (slo_alert_firing)\n* on (slo) group_left (team, tier, area, runbook_url) topk by (slo) (1, slo_info)\n== 1"
	if got := parse(t, f).Groups[0].Rules[0]; got.Expr != want || got.Keep != "" {
		t.Errorf("the rule is\n%s\nkept for %q; want\n%s\nand not kept", got.Expr, got.Keep, want)
	}
}

// A slow source or tick is no missing data.
func TestSlowSource(t *testing.T) {
	s := plain(t, "slow", "99.9")
	s.Delay = 8 * time.Minute
	f, err := Alerts(Options{SLOs: []SLO{s}, Tick: 5 * time.Minute, Keep: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	text, err := f.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"> 1440)", "> 1140) <= 1440)"} { // 8 + 2·5 + 1 minutes, and 5 more
		if !strings.Contains(string(text), want) {
			t.Errorf("there is no %q", want)
		}
	}
	holds(t, f)
}

func TestInhibit(t *testing.T) {
	for _, c := range []struct {
		about string
		slos  []SLO
		want  string
	}{
		{"any", nil, `  - source_matchers: [alertname="SLOErrorBudgetBurn", severity="page"]
    target_matchers: [alertname="SLOErrorBudgetBurn", severity="ticket"]
    equal: [slo, service]
`},
		{"groups of all", []SLO{labelled(t, "a", nil, "route", "zone"), labelled(t, "b", nil, "route")}, `  - source_matchers: [alertname="SLOErrorBudgetBurn", severity="page"]
    target_matchers: [alertname="SLOErrorBudgetBurn", severity="ticket"]
    equal: [slo, service, route, zone]
`},
		{"labels outside", []SLO{labelled(t, "a", map[string]map[string]string{"page": {"severity": "critical", "loud": `"yes"`}})}, `  - source_matchers: ['alertname="SLOErrorBudgetBurn"', 'loud="\"yes\""', 'severity="critical"']
    target_matchers: [alertname="SLOErrorBudgetBurn", loud="", severity="ticket"]
    equal: [slo, service]
`},
	} {
		got := Inhibit(Options{SLOs: c.slos})
		var have, want any
		if err := yaml.Unmarshal(got, &have); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte("inhibit_rules:\n"+c.want), &want); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.about, got, c.want)
		}
	}
	got := Inhibit(Options{SLOs: []SLO{labelled(t, "one", map[string]map[string]string{"page": {"severity": "x"}, "ticket": {"severity": "x"}})}})
	if !strings.HasSuffix(string(got), "inhibit_rules: []\n") {
		t.Errorf("nothing to inhibit: %q", got)
	}
}

func TestPrometheusRule(t *testing.T) {
	f, err := Alerts(Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := f.PrometheusRule(Object{Name: "yoyu", Namespace: "monitoring", Labels: map[string]string{"release": "prometheus"}})
	if err != nil {
		t.Fatal(err)
	}
	var o struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct {
			Name, Namespace string
			Labels          map[string]string
		}
		Spec yaml.Node
	}
	if err := yaml.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	if o.APIVersion != "monitoring.coreos.com/v1" || o.Kind != "PrometheusRule" || o.Metadata.Name != "yoyu" ||
		o.Metadata.Namespace != "monitoring" || o.Metadata.Labels["release"] != "prometheus" {
		t.Errorf("%+v", o)
	}
	spec, err := yaml.Marshal(&o.Spec)
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, map[string][]byte{"spec.yml": spec}, "check", "rules", "--lint=all", "--lint-fatal", "spec.yml")
	var inner, whole read
	if err := yaml.Unmarshal(spec, &inner); err != nil {
		t.Fatal(err)
	}
	if whole = parse(t, f); fmt.Sprint(inner) != fmt.Sprint(whole) {
		t.Error("the object holds other rules than the file")
	}
}

// hostile are values that would end a string, a comment, a template or a document, if they could.
var hostile = []string{
	`"`, `\`, `'`, "`", "a\"}) or vector(1) #", "{{ $labels.slo }}", "{{", "}}", `{{"{{"}}`, "{{{", "# no comment", "- a: b", "a\nb", "\n", " ", "\t",
	"---", "true", "1", "null", "~", "@", "%", "&a", "*a", "!x", "|", ">", "日本語", "\u2028", "\u0000", "\u0085", "\ufeff", "\xff\xfe", "é", "$1", "a: b", "[", "1e400", "🙈",
}

func TestHostile(t *testing.T) {
	var all []SLO
	for i, value := range hostile {
		path := value
		if value == "\xff\xfe" {
			path = "" // no text: a Prometheus has no rule over it, but a label may say that it is none
		}
		s := labelled(t, fmt.Sprintf("slo%d%s", i, path), map[string]map[string]string{"page": {"severity": "x" + value, "note": value}})
		s.Service, s.RunbookURL = "service"+path, "https://runbooks.example/"+value
		s.Labels = map[string]string{"team": "team" + value, "owner": value}
		s.Indicator.Total = fmt.Sprintf("hostile%d_total{path=%s}", i, quote(path))
		s.Indicator.Bad = fmt.Sprintf("hostile%d_total{path=%s,code=\"500\"}", i, quote(path))
		all = append(all, s)
	}
	overSeries, err := Alerts(Options{SLOs: all, Keep: DefaultKeep})
	if err != nil {
		t.Fatal(err)
	}
	bare, gaps := Standalone(Options{SLOs: all})
	if len(gaps) > 0 {
		t.Fatal(gaps)
	}
	if said := bare.Untested(); len(said) > 0 {
		t.Errorf("without a unit test: %q", said)
	}
	for name, f := range map[string]*File{"over yoyu's series": overSeries, "over raw metrics": bare} {
		t.Run(name, func(t *testing.T) { holds(t, f) })
	}
}

// Whatever somebody writes into names and labels: the file is YAML, its expressions parse and
// choose what was meant, and its templates leave the text as it was.
func FuzzHostile(f *testing.F) {
	for _, value := range hostile {
		f.Add(value, value)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		s := labelled(t, name, map[string]map[string]string{"page": {"severity": value, "note": value}})
		s.Labels = map[string]string{"team": value}
		for _, standalone := range []bool{false, true} {
			file, err := Alerts(Options{SLOs: []SLO{s}})
			if standalone {
				file, _ = Standalone(Options{SLOs: []SLO{s}})
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range parse(t, file).Groups {
				for _, r := range g.Rules {
					parsed, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr)
					if err != nil {
						t.Fatalf("%s: %v", r.Expr, err)
					}
					if r.Alert == BurnAlert && r.Labels["severity"] != ticket && len(r.Labels) > 0 {
						if got := expand(t, r.Labels["note"]); got != utf8(value) {
							t.Errorf("label %q became %q, of %v", value, got, r.Labels)
						}
					}
					if !standalone {
						continue
					}
					for _, matchers := range parser.ExtractSelectors(parsed) {
						for _, m := range matchers {
							if m.Name == "slo" && m.Value != utf8(name) {
								t.Errorf("%q is looked for as %q", name, m.Value)
							}
						}
					}
				}
			}
			if tests, err := file.Tests("yoyu.yml"); err != nil {
				t.Fatal(err)
			} else if err := yaml.Unmarshal(tests, new(any)); err != nil {
				t.Fatalf("%v in\n%s", err, tests)
			}
		}
	})
}

// expand is what a Prometheus makes of a template without data.
func expand(t *testing.T, text string) string {
	t.Helper()
	made, err := template.New("").Parse(text)
	if err != nil {
		t.Fatalf("%q is no template: %v", text, err)
	}
	var out strings.Builder
	if err := made.Execute(&out, nil); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The bound of the rule is the bound that yoyu works out.
func TestConfidence(t *testing.T) {
	s := plain(t, "it", "99.9")
	s.Policy.Confidence = 1.96
	f, _ := Standalone(Options{SLOs: []SLO{s}})
	var expression string
	for _, r := range parse(t, f).Groups[0].Rules {
		if r.Alert == BurnAlert {
			expression = r.Expr
			break
		}
	}
	if !strings.Contains(expression, "sqrt") {
		t.Fatalf("no bound in\n%s", expression)
	}
	begin := strings.Index(expression, "\n    and\n    (") + len("\n    and\n    ")
	bound := expression[begin : begin+strings.Index(expression[begin:], " > ")]
	random := rand.New(rand.NewPCG(1, 2))
	var tests strings.Builder
	tests.WriteString("rule_files: []\nevaluation_interval: 1m\ntests:\n")
	for range 20 {
		total := float64(1 + random.IntN(5000))
		bad := math.Floor(total * random.Float64() * random.Float64())
		want := slo.Wilson(bad, total, 1.96)
		fmt.Fprintf(&tests, "  - input_series: [{series: 'slo:error_ratio{slo=\"it\",window=\"1h\"}', values: %s}, {series: 'slo:window_events{slo=\"it\",window=\"1h\"}', values: %s}]\n",
			number(bad/total), number(total))
		// Written otherwise, it may differ in the last digits, and around 0 there are no others.
		fmt.Fprintf(&tests, "    promql_expr_test: [{expr: 'abs(clamp_min(%s, 0) - %s) < bool 1e-12', eval_time: 0m, exp_samples: [{labels: '{slo=\"it\",window=\"1h\"}', value: 1}]}]\n",
			bound, number(want.Float))
	}
	promtool(t, map[string][]byte{"wilson.yml": []byte(tests.String())}, "test", "rules", "wilson.yml")
}
