package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// load reads a configuration that must be without fault or warning.
func load(t *testing.T, file string) *config.Config {
	t.Helper()
	c, err := config.Load(file, config.WithEnv(environment))
	if err := errors.Join(err, decode(c)); err != nil {
		t.Fatalf("faults:\n%v", err)
	}
	if len(c.Warnings) > 0 {
		t.Fatalf("warnings:\n%v", c.Warnings)
	}
	return c
}

// goodFiles are configurations without fault.
func goodFiles(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/good/*/config.yaml", "../../config.example.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		all = append(all, files...)
	}
	return all
}

func TestGood(t *testing.T) {
	for _, file := range goodFiles(t) {
		t.Run(file, func(t *testing.T) { load(t, file) })
	}
}

// The example shows everything a newcomer may write, and needs nothing of the environment.
func TestExample(t *testing.T) {
	none := config.WithEnv(func(string) (string, bool) { return "", false })
	c, err := config.Load("../../config.example.yaml", none)
	if err := errors.Join(err, decode(c)); err != nil {
		t.Fatal(err)
	}
	types := config.BuiltIn()
	var kinds []sources.Kind
	for _, q := range c.Questions {
		kinds = append(kinds, q.Indicator.Kind)
	}
	for _, kind := range types.Sources["prometheus"].Answers {
		if !strings.Contains(strings.Join(words(kinds), " "), string(kind)) {
			t.Errorf("no objective counts by %s", kind)
		}
	}
	for _, s := range c.Sources {
		delete(types.Sources, s.Type)
	}
	if len(types.Sources) > 0 || len(c.Sinks) != len(types.Sinks) {
		t.Errorf("sources that are not shown: %v; %d sinks shown, want %d", types.Sources, len(c.Sinks), len(types.Sinks))
	}
	want := config.Rightsizing{
		Source: "cluster", Prices: config.Prices{CPUCoreHour: 0.0506, MemoryGiBHour: 0.0055, Currency: "USD"},
		HelmValues: []config.HelmValues{{Chart: "shop", Workload: "checkout", Path: "checkout.resources"}},
	}
	if !reflect.DeepEqual(c.Rightsizing, want) {
		t.Errorf("rightsizing is %+v", c.Rightsizing)
	}
}

func words[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, w := range in {
		out[i] = string(w)
	}
	return out
}

// Recorded cases of the arithmetic come with configurations of their own.
func TestConformanceLoads(t *testing.T) {
	files, err := filepath.Glob("../../testdata/conformance/*/config.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if c, err := config.Load(file); err != nil || len(c.Objectives) != 1 {
			t.Errorf("%s: %d objectives, %v", file, len(c.Objectives), err)
		}
	}
}

func share(t *testing.T, percent string) slo.Share {
	t.Helper()
	s, err := slo.ParsePercent(percent)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSmallest(t *testing.T) {
	c := load(t, "testdata/good/smallest.yaml")
	if c.Tick != 30*time.Second || c.Gate.MinEvents != 1000 || c.Series.AllWindows {
		t.Errorf("tick %s, gate %v, full %v", c.Tick, c.Gate, c.Series.AllWindows)
	}
	want := slo.Objective{
		Name: "checkout", Service: "checkout", Target: share(t, "99.9"), Period: slo.RollingPeriod(30 * slo.Day),
		GroupLimit: 100, Counting: "exact", Delay: 15 * time.Second,
		Budgeting: slo.Budgeting{Method: slo.Occurrences}, Policy: slo.Workbook(slo.RollingPeriod(30 * slo.Day)),
		BudgetPolicy: slo.BudgetPolicy{MinEvents: 1000},
	}
	if !reflect.DeepEqual(c.Objectives, []slo.Objective{want}) {
		t.Errorf("got %+v\nwant %+v", c.Objectives, want)
	}
	question := config.Question{Source: "prom", Question: sources.Question{
		SLO: "checkout", Period: 30 * slo.Day,
		Indicator: sources.Indicator{Kind: sources.Counters, Total: "requests_total", Bad: `requests_total{code=~"5.."}`},
	}}
	if !reflect.DeepEqual(c.Questions, []config.Question{question}) {
		t.Errorf("got %+v\nwant %+v", c.Questions, question)
	}
}

func TestShared(t *testing.T) {
	c := load(t, "testdata/good/shared.yaml")
	if c.Tick != time.Minute || !c.Series.AllWindows || c.Gate.MinEvents != 10 {
		t.Errorf("tick %s, full %v, gate %v", c.Tick, c.Series.AllWindows, c.Gate)
	}
	a, b := c.Objectives[0], c.Objectives[1]
	f := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	f("labels of an SLO in a described service", a.Labels, map[string]string{"team": "payments", "tier": "2", "stage": "prod"})
	f("labels of one in a service that nobody described", b.Labels, map[string]string{"team": "nobody", "tier": "9", "stage": "prod"})
	f("runbook of the service", a.RunbookURL, "https://runbooks/checkout")
	f("runbook of its own", b.RunbookURL, "https://runbooks/search")
	f("calendar period without a zone", a.Period, slo.CalendarPeriod(slo.Quarter, time.UTC))
	f("a quarter's series matter for as long as quarters get", c.Questions[0].Period, 92*slo.Day+2*time.Hour)
	f("groups of defaults", a.GroupBy, []string{"route"})
	f("groups taken back", len(b.GroupBy), 0)
	f("group limit", a.GroupLimit, 7)
	f("delay of prom, as written", a.Delay, time.Minute)
	f("delay of a scrape", b.Delay, time.Duration(0))
	f("source", c.Questions[1].Source, "pods")
	f("threshold", c.Questions[1].Indicator, sources.Indicator{Kind: sources.Latency, Histogram: "request_duration_seconds", Below: 0.25})
}

func TestFiles(t *testing.T) {
	c := load(t, "testdata/good/many/config.yaml")
	var names []string
	for _, o := range c.Objectives {
		names = append(names, o.Name+" "+o.Service+" "+o.Target.Percent()+" "+o.Labels["team"])
	}
	want := []string{"checkout checkout 99.9 ", "search search 99.9 discovery", "payments payments 99.9 "}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	files := []string{"testdata/good/many/config.yaml", "testdata/good/many/teams/discovery.yaml", "testdata/good/many/teams/payments.yaml"}
	if !reflect.DeepEqual(c.Files, files) {
		t.Errorf("files are %q, want %q", c.Files, files)
	}
}

func TestEnvironment(t *testing.T) {
	c := load(t, "testdata/good/environment.yaml")
	if got := c.ExternalLabels; !reflect.DeepEqual(got, map[string]string{"cluster": "tokyo", "price": "5$"}) {
		t.Errorf("external labels are %v", got)
	}
	var prom prometheusOptions
	var dd datadogOptions
	if err := errors.Join(c.Sources[0].Decode(&prom), c.Sinks[0].Decode(&dd)); err != nil {
		t.Fatal(err)
	}
	if prom.URL != "http://prometheus.shop:9090" || !reflect.DeepEqual(dd.Tags, []string{"env:prod", "cluster:tokyo-1"}) {
		t.Errorf("url is %s, tags are %s", prom.URL, dd.Tags)
	}
}

// Factors of 28 d and 7 d are worked numbers of the SRE Workbook's formula.
func TestPolicies(t *testing.T) {
	c := load(t, "testdata/good/policies.yaml")
	f := func(objective int, severity, pair int, name, long, short, factor string) {
		t.Helper()
		p := c.Objectives[objective].Policy
		s := p.Severities[severity]
		got := []string{s.Name, slo.FormatDuration(s.Pairs[pair].Long), slo.FormatDuration(s.Pairs[pair].Short), s.Pairs[pair].Factor.String()}
		if want := []string{name, long, short, factor}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(0, 0, 0, "ticket", "3d", "6h", "1")
	f(0, 1, 0, "page", "1h", "5m", "13.44") // 2 % × 28 d / 1 h
	f(0, 1, 1, "page", "6h", "30m", "5.6")  // 5 % × 28 d / 6 h
	f(1, 1, 0, "page", "1h", "5m", "3.36")  // 2 % × 7 d / 1 h
	p := c.Objectives[0].Policy
	if p.Name != "gentle" || p.MinBadEvents != 5 || p.Confidence != 1.96 || p.Severities[1].Labels["severity"] != "critical" {
		t.Errorf("policy is %+v", p)
	}
}

func TestBudgeting(t *testing.T) {
	c := load(t, "testdata/good/budgeting.yaml")
	want := []slo.Budgeting{
		{Method: slo.Occurrences},
		{Method: slo.Timeslices, Slice: time.Minute, Target: share(t, "95"), Empty: slo.EmptyBad},
		{Method: slo.RatioTimeslices, Slice: 5 * time.Minute, Empty: slo.EmptySkip},
	}
	for i, o := range c.Objectives {
		if o.Budgeting != want[i] {
			t.Errorf("%s: %+v, want %+v", o.Name, o.Budgeting, want[i])
		}
	}
	if got := c.Questions[0].Indicator.Total; got != "sum(increase(requests_total[{{.window}}]))" {
		t.Errorf("the placeholder keeps its spelling: %s", got)
	}
	if !c.Objectives[0].Fractional || c.Objectives[1].Fractional || !c.Objectives[2].Fractional {
		t.Error("expressions count in fractions, counters in whole events")
	}
}

// Every way to write a value, and what it means.
func TestValues(t *testing.T) {
	const head = "sources: [{name: prom, type: prometheus, url: \"http://prometheus:9090\"}]\nslos:\n  - name: x\n    service: x\n    "
	const ratio = "indicator: {ratio: {bad: 'error_ratio'}}\n    budgeting: {method: ratio_timeslices, slice: 1m}"
	f := func(fields, what string, want any) {
		t.Helper()
		if !strings.Contains(fields, "objective:") {
			fields += "\n    objective: 99.9"
		}
		if !strings.Contains(fields, "period:") {
			fields += "\n    period: 30d"
		}
		if !strings.Contains(fields, "indicator:") {
			fields += "\n    indicator: {counters: {total: a_total, bad: 'a_total{b=\"c\"}'}}"
		}
		c, err := config.Parse("config.yaml", []byte(head+fields+"\n"))
		if err != nil {
			t.Errorf("%s: %v", fields, err)
			return
		}
		o, in := c.Objectives[0], c.Questions[0].Indicator
		got := map[string]any{
			"objective": o.Target.Percent(), "period": o.Period.Key(), "below": in.Below,
			"compare": in.Compare, "counting": o.Counting, "ready": o.ReadyRatio, "limit": o.GroupLimit, "zone": o.Period.Location,
		}[what]
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s is %v, want %v", fields, what, got, want)
		}
	}
	f("objective: 99.9", "objective", "99.9")
	f("objective: 99.90", "objective", "99.9")
	f("objective: 99.9%", "objective", "99.9")
	f("objective: '99.95 %'", "objective", "99.95")
	f("objective: 99", "objective", "99")
	f("objective: 99.9999999", "objective", "99.9999999")
	f("period: 4w", "period", "28d")
	f("period: 1d12h", "period", "1d12h")
	f("period: 1y", "period", "365d")
	f("period: {calendar: week}", "period", "week")
	f("period: {calendar: month, timezone: UTC}", "zone", time.UTC)
	f("indicator: {latency: {histogram: h, below: 300ms}}", "below", 0.3)
	f("indicator: {latency: {histogram: h, below: 0.3}}", "below", 0.3)
	f("indicator: {latency: {histogram: h, below: 2s300ms}}", "below", 2.3)
	f("indicator: {latency: {histogram: h, below: 250us}}", "below", 0.00025)
	f("indicator: {latency: {histogram: h, below: 1d}}", "below", 86400.0)
	f("indicator: {latency: {histogram: h, below: 1e3}}", "below", 1000.0)
	f(`indicator: {gauge: {selector: up, good: ">= 1"}}`, "compare", sources.Comparison{Op: ">=", Value: 1})
	f(`indicator: {gauge: {selector: up, bad: "!=-1.5"}}`, "compare", sources.Comparison{Op: "!=", Value: -1.5})
	f("counting: raw", "counting", "exact")
	f("counting: pushdown", "counting", "pushdown")
	f(`indicator: {latency: {histogram: h, below: 300ms}}`, "counting", "exact")
	f(`indicator: {gauge: {selector: up, good: ">= 1"}}`, "counting", "exact")
	f(`indicator: {promql: {total: 'sum(increase(a[{{.window}}]))', bad: 'sum(increase(b[{{.window}}]))'}}`, "counting", "expression")
	f(ratio, "counting", "expression")
	f(ratio, "ready", true)
	f(`indicator: {promql: {total: 'sum(increase(a[{{.window}}]))', bad: 'sum(increase(b[{{.window}}]))'}}`, "ready", false)
	f("group_limit: 1e3", "limit", 1000)
	f("group_limit: 0", "limit", 0)
}

// Sources and sinks decode over their defaults, with the HTTP client of prometheus/common inlined.
func TestDecode(t *testing.T) {
	type options struct {
		URL      string                        `yaml:"url"`
		Backfill time.Duration                 `yaml:"backfill"`
		Window   model.Duration                `yaml:"window"`
		Samples  int                           `yaml:"samples"`
		Share    float64                       `yaml:"share"`
		Quiet    bool                          `yaml:"quiet"`
		HTTP     commonconfig.HTTPClientConfig `yaml:",inline"`
	}
	decode := func(text string) (options, error) {
		t.Helper()
		c, _ := config.Parse("config.yaml", []byte("sources:\n  - name: prom\n    type: prometheus\n"+text))
		into := options{HTTP: commonconfig.DefaultHTTPClientConfig, Samples: 7}
		return into, c.Sources[0].Decode(&into)
	}
	got, err := decode(`    url: http://prometheus:9090
    backfill: 30d
    window: 1w
    share: 5e6
    quiet: true
    basic_auth: {username: yoyu, password_file: /secrets/prometheus}
    tls_config: {ca_file: ca.pem, min_version: TLS12}
    http_headers: {X-Scope-OrgID: {values: [shop]}}
    proxy_url: http://proxy:3128
`)
	if err != nil {
		t.Fatal(err)
	}
	if got.Backfill != 30*slo.Day || time.Duration(got.Window) != 7*slo.Day || got.Samples != 7 || got.Share != 5e6 || !got.Quiet ||
		!got.HTTP.FollowRedirects || got.HTTP.BasicAuth.PasswordFile != "/secrets/prometheus" || got.HTTP.HTTPHeaders.Headers["X-Scope-OrgID"].Values[0] != "shop" ||
		got.HTTP.ProxyURL.Host != "proxy:3128" {
		t.Errorf("got %+v", got)
	}
	f := func(fields, want string) {
		t.Helper()
		if _, err := decode("    " + fields + "\n"); err == nil || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", fields, err, want)
		}
	}
	f("quiet: 1", `config.yaml:4:12: sources[0] prom: quiet: 1 is plain text: write true or false`)
	f("samples: 5e6.5", `config.yaml:4:14: sources[0] prom: samples: "5e6.5" is not a number: write it like 5 or 0.5`)
	f("samples: -1", `config.yaml:4:14: sources[0] prom: samples: -1 is negative: write 0 or more`)
	f("tls_config: {ca: [x]}", `config.yaml:4:22: sources[0] prom: tls_config.ca: is a list: write text`)
	f("tls_config: {cafile: x}", `config.yaml:4:18: sources[0] prom: tls_config: unknown field "cafile": did you mean "ca_file"?`)
	f("tls_config: {min_version: TLS9}", `config.yaml:4:31: sources[0] prom: tls_config.min_version: unknown TLS version: TLS9`)
	f("basic_auth: {user: yoyu}", `config.yaml:4:18: sources[0] prom: basic_auth: unknown field "user": did you mean "username"?`)
	f("proxy_url: 'http://%'", `config.yaml:4:16: sources[0] prom: proxy_url: parse "http://%": invalid URL escape "%"`)
	f("window: soon", `config.yaml:4:13: sources[0] prom: window: "soon" is not a duration: write it like 30s, 5m, 1h30m or 30d`)
}

// Fields are found for faults that show only while a source is asked.
func TestFaultOfObjective(t *testing.T) {
	c := load(t, "testdata/good/smallest.yaml")
	got := c.Fault("checkout", "indicator.counters.bad", "selects nothing", "").Error()
	if want := `testdata/good/smallest.yaml:8:56: slos[0] checkout: indicator.counters.bad: selects nothing`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = c.Fault("checkout", "group_by", "makes 4000 groups", "").Error()
	if want := `testdata/good/smallest.yaml:4:5: slos[0] checkout: group_by: makes 4000 groups`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = c.Sources[0].Fault("url", "does not answer", "is it running?").Error()
	if want := `testdata/good/smallest.yaml:2:47: sources[0] prom: url: does not answer: is it running?`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What a room says when it is made has a place too: the source's line, or its field's.
func TestFaultOfSource(t *testing.T) {
	c, err := config.Parse("config.yaml", []byte(`
sources:
  - name: prom
    type: prometheus
    url: http://prometheus:9090
  - name: pods
    type: scrape
    targets: [http://a:80, b]
    "": odd
slos: []
`))
	if err != nil {
		t.Fatal(err)
	}
	pods := c.Sources[1]
	if got, want := pods.Fault("", "cannot be made", "").Error(), "config.yaml:6:5: sources[1] pods: cannot be made"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	said := errors.Join(errors.New("no tick: 0s"), errors.Join(errors.New(`targets[1]: "b" names no host`), errors.New("timeout: is longer than the tick")))
	want := `config.yaml:6:5: sources[1] pods: no tick: 0s
config.yaml:6:5: sources[1] pods: timeout: is longer than the tick
config.yaml:8:28: sources[1] pods: targets[1]: "b" names no host`
	if got := pods.Faults(said).Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := pods.Faults(nil); got != nil {
		t.Errorf("no error: %v", got)
	}
}

func TestVariant(t *testing.T) {
	c := load(t, "testdata/good/policies.yaml")
	o, err := c.Variant("checkout", config.Variant{Objective: "99.5", Policy: "workbook", Period: "30d"})
	if err != nil {
		t.Fatal(err)
	}
	if o.Target != share(t, "99.5") || o.Period.Length != 30*slo.Day || o.Policy.Name != "workbook" || o.Policy.Severities[0].Pairs[0].Factor.String() != "14.4" {
		t.Errorf("got %+v", o)
	}
	if c.Objectives[0].Policy.Name != "gentle" {
		t.Error("the configuration itself was changed")
	}
	f := func(name string, v config.Variant, want string) {
		t.Helper()
		if _, err := c.Variant(name, v); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	f("chekout", config.Variant{}, `testdata/good/policies.yaml: there is no SLO "chekout": did you mean "checkout"?`)
	f("checkout", config.Variant{Objective: "0.999"}, `checkout: objective: 0.999 is less than one percent: did you mean 99.9?`)
	f("checkout", config.Variant{Policy: "gently"}, `checkout: policy: there is no alert policy "gently": did you mean "gentle"?`)
	f("checkout", config.Variant{Objective: "90"}, `checkout: alert_policies.gentle.severities.page.pairs[0].budget: factor 13.44 can never be exceeded by SLO checkout, which burns at 10 when every event is bad (objective 90): use a factor below 10`)
}

func TestGitHub(t *testing.T) {
	f := func(fault config.Fault, want string) {
		t.Helper()
		if got := fault.GitHub(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f(config.Fault{File: "slos/a,b.yaml", Line: 5, Column: 16, Field: "slos[0].objective", Name: "checkout", Problem: "100% leaves no error budget", Remedy: "promise\nless"},
		`::error file=slos/a%2Cb.yaml,line=5,col=16::slos[0] checkout: objective: 100%25 leaves no error budget: promise\nless`)
	f(config.Fault{File: "config.yaml", Line: 2, Problem: "is not YAML", Warning: true}, `::warning file=config.yaml,line=2::is not YAML`)
	f(config.Fault{File: "config.yaml", Problem: "cannot be read", Remedy: "no such file or directory"}, `::error file=config.yaml::cannot be read: no such file or directory`)
}

func TestMissingFile(t *testing.T) {
	_, err := config.Load("testdata/none.yaml")
	if want := "testdata/none.yaml: cannot be read: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A secret that was written by mistake is in no message, and in nothing that is printed.
func TestSecretsStaySecret(t *testing.T) {
	data, err := os.ReadFile("testdata/broken/secret-plain.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("config.yaml", data)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the fault is %v", err)
	}
	out, err := c.YAML()
	if err != nil || strings.Contains(string(out), "hunter2") || !strings.Contains(string(out), "prometheus:9090") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Types that a later program has are read without a change here.
func TestTypes(t *testing.T) {
	types := config.BuiltIn()
	types.Sources["datadog"] = config.SourceType{Answers: []sources.Kind{sources.Counters}, Delay: time.Minute}
	c, err := config.Parse("config.yaml", []byte(`sources: [{name: dd, type: datadog}]
slos:
  - {name: x, service: x, objective: 99, period: 30d, indicator: {counters: {total: a_total, bad: 'a_total{b="c"}'}}}
`), config.WithTypes(types))
	if err != nil || c.Objectives[0].Delay != time.Minute {
		t.Errorf("%v, %+v", err, c.Objectives)
	}
}

// Reading is done at every reload, so it may take its time, but not long.
func BenchmarkParse1000Objectives(b *testing.B) {
	var text strings.Builder
	text.WriteString("sources: [{name: prom, type: prometheus, url: \"http://prometheus:9090\"}]\nslos:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, `  - name: checkout-%d
    service: checkout
    objective: 99.9
    period: 30d
    indicator: {counters: {total: 'requests_total{shard="%d"}', bad: 'requests_total{shard="%d",code=~"5.."}'}}
`, i, i, i)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := config.Parse("config.yaml", []byte(text.String())); err != nil {
			b.Fatal(err)
		}
	}
}
