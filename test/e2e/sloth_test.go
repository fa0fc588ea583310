package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/promtest"
	"github.com/yoyu-sre/yoyu/slo"
)

// benchSLOs are promised in BenchmarkSloth, each with a series of good and one of bad requests;
// fewSLOs of them where it is asked what a small installation pays.
const (
	benchSLOs = 600
	fewSLOs   = 50
)

// BenchmarkSloth compares what 600 SLOs cost: as rules of the kind that Sloth generates, evaluated
// every minute by an unmodified Prometheus, and as yoyu's. Both look at the same thirty days of the
// same server, a sample each 30 s. What is compared is CPU for one SLO and one evaluation:
//
//	rules   the server's CPU while it evaluates the rules, for each iteration of a group of them
//	yoyu    its own CPU, the server's to answer its questions and to ingest its /metrics, for each tick
//
// What the server does without either is measured too, and taken off. Each of the three is the median
// of three parts, after the server is done with what its start brings. Rules are evaluated every
// minute as two cores take half of one for those of all SLOs; yoyu ticks and is scraped every 5 s, so
// that there is enough to measure. Either cost is that of one evaluation, however far apart they are.
// The CPU is that of the processes (process_cpu_seconds_total), so that others on the machine do not
// count. Rules cost the same for each SLO however many there are; of a tick a part is for the process,
// so that a few SLOs bear more of it each: x-cpu-of-50 is the same comparison for fifty.
//
// The windows alone, x-arithmetic, are what BenchmarkTick of package slo measures: Observe and Judge,
// that is all windows, budgets and alert states of all SLOs in memory.
//
// It takes some fourteen minutes, and is for -benchtime=1x.
func BenchmarkSloth(b *testing.B) {
	for range b.N {
		c := newComparison(b)
		rules, slothOff := c.rules(b)
		idle := c.idle(b)
		asked, own, yoyuOff := c.yoyu(b, benchSLOs)
		askedFew, ownFew, _ := c.yoyu(b, fewSLOs)

		rules -= idle * ruleInterval.Seconds() / benchSLOs
		yoyu := own + asked - idle*yoyuTick.Seconds()/benchSLOs
		few := ownFew + askedFew - idle*yoyuTick.Seconds()/fewSLOs
		b.Logf("a tick of %d SLOs: %.1f ms in yoyu, %.1f ms in the server; of %d: %.1f ms and %.1f ms",
			benchSLOs, own*benchSLOs*1e3, asked*benchSLOs*1e3, fewSLOs, ownFew*fewSLOs*1e3, askedFew*fewSLOs*1e3)
		b.ReportMetric(rules*1e3, "rules-ms/slo")
		b.ReportMetric(yoyu*1e6, "yoyu-µs/slo")
		b.ReportMetric(own*1e6, "own-µs/slo")
		b.ReportMetric(rules/yoyu, "x-cpu")
		b.ReportMetric(rules/few, "x-cpu-of-50")
		b.ReportMetric(rules/arithmetic(b), "x-arithmetic")
		b.ReportMetric(100*yoyuOff, "off-%")
		b.ReportMetric(100*slothOff, "rules-off-%")
	}
}

const (
	yoyuTick     = 5 * time.Second
	ruleInterval = time.Minute
)

// comparison is a month of history, and the shop that goes on from it.
type comparison struct {
	data  string // folder of the server
	shop  string // host:port
	began time.Time
}

func newComparison(b *testing.B) *comparison {
	b.Helper()
	promtest.Prometheus(b) // skips where there is none
	dir := b.TempDir()
	build := exec.Command("go", "-C", "../prometheus", "build", "-trimpath", "-buildvcs=false", "-tags=remove_all_sd,netgo", "-o", filepath.Join(dir, "history"), "./history")
	build.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	c := &comparison{data: filepath.Join(dir, "data"), began: time.Now().Truncate(30 * time.Second)}
	write := exec.Command(filepath.Join(dir, "history"), "-dir="+c.data, fmt.Sprint("-end=", c.began.Unix()), fmt.Sprint("-slos=", benchSLOs))
	out, err := write.Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			b.Fatalf("%v\n%s", err, exit.Stderr)
		}
		b.Fatal(err)
	}
	var last []struct{ Good, Bad float64 }
	if err := json.Unmarshal(out, &last); err != nil || len(last) != benchSLOs {
		b.Fatalf("%d counters: %v", len(last), err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		since := time.Since(c.began).Seconds()
		for i, l := range last {
			for code, v := range map[string]float64{"200": l.Good + math.Floor(since*float64(i+1)), "500": l.Bad + math.Floor(since*float64(i+1)/2000)} {
				fmt.Fprintf(w, "http_requests_total{service=\"service-%02d\",code=%q,instance=\"shop-0\",job=\"shop\"} %.0f\n", i, code, v)
			}
		}
	}))
	b.Cleanup(server.Close)
	c.shop = strings.TrimPrefix(server.URL, "http://")
	return c
}

// serve starts the server on the month.
func (c *comparison) serve(b *testing.B, interval time.Duration, rules string, yoyu string) *promtest.Server {
	b.Helper()
	o := promtest.Options{
		Dir: c.data, ScrapeInterval: interval,
		Jobs: []promtest.Job{{Name: "shop", Targets: []string{c.shop}, HonorLabels: true}},
	}
	if rules != "" {
		o.RuleFiles = []string{rules}
	}
	if yoyu != "" {
		o.Jobs = append(o.Jobs, promtest.Job{Name: "yoyu", Targets: []string{yoyu}, HonorLabels: true})
	}
	return promtest.Start(b, o)
}

// rules is the CPU in seconds that one SLO's rules take at an evaluation, and how far their ratio of
// thirty days is off where it is most.
func (c *comparison) rules(b *testing.B) (each, off float64) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "rules.yml")
	if err := os.WriteFile(file, slothStyle(), 0o600); err != nil {
		b.Fatal(err)
	}
	server := c.serve(b, 30*time.Second, file, "")
	defer server.Stop()
	const ofSLI = `prometheus_rule_group_iterations_total{rule_group=~".*;sli-.*"}`
	settle(b, server)
	var each3 []float64
	for range 3 {
		cpu, rounds := sample(b, server.URL(), "process_cpu_seconds_total"), iterations(b, server.URL())
		pass(b, ruleInterval)
		cpu, rounds = sample(b, server.URL(), "process_cpu_seconds_total")-cpu, iterations(b, server.URL())-rounds
		if rounds < benchSLOs*9/10 {
			b.Fatalf("%s rose by %v in %s: the rules of %d SLOs do not keep up", ofSLI, rounds, ruleInterval, benchSLOs)
		}
		each3 = append(each3, cpu/rounds)
	}
	slices.Sort(each3)

	at := time.Now()
	theirs := byService(b, server.QueryAt(`max by (service) (label_replace(slo:sli_error:ratio_rate30d, "service", "$1", "sloth_service", "(.*)"))`, at))
	return each3[1], worst(b, theirs, c.truth(b, server, at))
}

// settle waits until the server is done with what its start brings: it reads its log and makes large
// blocks of the month's small ones, which takes as much CPU as hundreds of ticks.
func settle(b *testing.B, server *promtest.Server) {
	b.Helper()
	const quiet, most = time.Minute, 5 * time.Minute
	began := time.Now()
	changed, blocks := began, 0.0
	for time.Since(changed) < quiet {
		if time.Since(began) > most {
			b.Fatalf("the server still makes blocks after %s", most)
		}
		pass(b, time.Second)
		if now := sample(b, server.URL(), "prometheus_tsdb_compactions_total"); now != blocks {
			changed, blocks = time.Now(), now
		}
	}
}

// idle is the CPU in seconds that the server takes in a second with neither.
func (c *comparison) idle(b *testing.B) float64 {
	b.Helper()
	server := c.serve(b, yoyuTick, "", "")
	defer server.Stop()
	settle(b, server)
	var each3 []float64
	for range 3 {
		began, cpu := time.Now(), sample(b, server.URL(), "process_cpu_seconds_total")
		pass(b, 30*time.Second)
		each3 = append(each3, (sample(b, server.URL(), "process_cpu_seconds_total")-cpu)/time.Since(began).Seconds())
	}
	slices.Sort(each3)
	b.Logf("an idle server takes %.1f ms of CPU a second", each3[1]*1e3)
	return each3[1]
}

// yoyu is the CPU in seconds that one of so many SLOs takes at a tick: of the server, which is idle
// beside it, and of yoyu itself; and how far its ratio of thirty days is off where it is most.
func (c *comparison) yoyu(b *testing.B, slos int) (asked, own, off float64) {
	b.Helper()
	address, dir := freeAddress(b), b.TempDir()
	server := c.serve(b, yoyuTick, "", address)
	defer server.Stop()
	config := fmt.Sprintf("tick: %s\nsources: [{name: prom, type: prometheus, url: %q, delay: 15s}]\ndefaults: {source: prom, period: 30d}\nslos:\n", yoyuTick, server.URL())
	for i := range slos {
		config += fmt.Sprintf("  - name: service-%02d-availability\n    service: service-%02d\n    objective: 99.9\n", i, i)
		config += fmt.Sprintf("    indicator: {counters: {total: 'http_requests_total{service=\"service-%02d\"}', bad: 'http_requests_total{service=\"service-%02d\",code=\"500\"}'}}\n", i, i)
	}
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	y := &yoyu{start(b, "yoyu", "run", "--config.file="+file, "--web.listen-address="+address, "--storage.path="+filepath.Join(dir, "data")), address}
	defer y.stop()
	began := time.Now()
	for text := ""; !strings.Contains(text, "\nyoyu_backfill_remaining_seconds{source=\"prom\"} 0\n"); text, _ = get("http://" + address + "/metrics") {
		if time.Since(began) > 5*time.Minute {
			b.Fatalf("thirty days are not filled after five minutes")
		}
		pass(b, time.Second)
	}
	b.Logf("thirty days of %d SLOs filled in %s", slos, time.Since(began).Round(time.Second))
	settle(b, server)

	const ticks = "yoyu_tick_duration_seconds_count"
	var asked3, own3 []float64
	for range 3 {
		theirs, ours, n := sample(b, server.URL(), "process_cpu_seconds_total"), sample(b, "http://"+address, "process_cpu_seconds_total"), sample(b, "http://"+address, ticks)
		pass(b, 8*yoyuTick)
		theirs, ours, n = sample(b, server.URL(), "process_cpu_seconds_total")-theirs, sample(b, "http://"+address, "process_cpu_seconds_total")-ours, sample(b, "http://"+address, ticks)-n
		if n < 7 {
			b.Fatalf("%v ticks in %s", n, 8*yoyuTick)
		}
		asked3, own3 = append(asked3, theirs/n), append(own3, ours/n)
	}
	slices.Sort(asked3)
	slices.Sort(own3)

	text, err := get("http://" + address + "/api/v1/slos")
	if err != nil {
		b.Fatal(err)
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil || len(d.Reports) != 1 {
		b.Fatalf("%v in %s", err, text)
	}
	ratios := map[string]float64{}
	for _, s := range d.Reports[0].SLOs {
		w := s.Windows["30d"]
		if w.Coverage < 0.999 {
			b.Errorf("%s: only %v of thirty days are covered", s.SLO, w.Coverage)
		}
		ratios[strings.TrimSuffix(s.SLO, "-availability")] = w.Bad / w.Total
	}
	if len(ratios) != slos {
		b.Fatalf("%d SLOs are reported, want %d", len(ratios), slos)
	}
	return asked3[1] / float64(slos), own3[1] / float64(slos), worst(b, ratios, c.truth(b, server, d.Reports[0].Time))
}

// truth is what Prometheus itself says of the thirty days before a moment, by its longest query.
func (c *comparison) truth(b *testing.B, server *promtest.Server, at time.Time) map[string]float64 {
	b.Helper()
	return byService(b, server.QueryAt(`sum by (service) (increase(http_requests_total{code="500"}[30d])) / sum by (service) (increase(http_requests_total[30d]))`, at))
}

func byService(b *testing.B, v model.Value) map[string]float64 {
	b.Helper()
	vector, ok := v.(model.Vector)
	if !ok || len(vector) != benchSLOs {
		b.Fatalf("%d services, want %d: %v", len(vector), benchSLOs, v)
	}
	out := map[string]float64{}
	for _, s := range vector {
		out[string(s.Metric["service"])] = float64(s.Value)
	}
	return out
}

// worst is the largest relative difference among those that are there.
func worst(b *testing.B, have, want map[string]float64) (most float64) {
	b.Helper()
	for service, h := range have {
		w, ok := want[service]
		if !ok {
			b.Fatalf("there is no truth of %s", service)
		}
		most = math.Max(most, math.Abs(h/w-1))
	}
	return most
}

// sample is one number of a /metrics page, or the sum of all whose series begin so.
func sample(b *testing.B, url, series string) float64 {
	b.Helper()
	text, err := get(url + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	sum, found := 0.0, false
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series); ok && (rest[0] == ' ' || rest[0] == '{') {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				b.Fatal(err)
			}
			sum, found = sum+v, true
		}
	}
	if !found {
		b.Fatalf("%s shows no %s", url, series)
	}
	return sum
}

// iterations are the evaluations of groups of SLI rules so far.
func iterations(b *testing.B, url string) float64 {
	b.Helper()
	text, err := get(url + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "prometheus_rule_group_iterations_total{") && strings.Contains(line, ";sli-") {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

// slothStyle are rules of the shape that Sloth generates: for each SLO three groups with fifteen
// recordings and two alerts, the ratio of the period as the mean of the ratios of five minutes.
func slothStyle() []byte {
	var out bytes.Buffer
	out.WriteString("groups:\n")
	for i := range benchSLOs {
		service := fmt.Sprintf("service-%02d", i)
		ids := fmt.Sprintf("sloth_id=%q, sloth_service=%q, sloth_slo=%q", service+"-availability", service, "availability")
		labels := fmt.Sprintf("sloth_id: %s-availability, sloth_service: %s, sloth_slo: availability", service, service)
		record := func(name, more, expr string) {
			fmt.Fprintf(&out, "      - {record: %q, labels: {%s%s}, expr: '%s'}\n", name, labels, more, expr)
		}
		fmt.Fprintf(&out, "  - name: sli-%s\n    interval: %s\n    rules:\n", service, model.Duration(ruleInterval))
		for _, w := range []string{"5m", "30m", "1h", "2h", "6h", "1d", "3d"} {
			record("slo:sli_error:ratio_rate"+w, ", sloth_window: "+w, fmt.Sprintf(
				`sum(rate(http_requests_total{service=%q,code=~"5.."}[%s])) / sum(rate(http_requests_total{service=%q}[%s]))`, service, w, service, w))
		}
		record("slo:sli_error:ratio_rate30d", ", sloth_window: 30d", fmt.Sprintf(
			`sum_over_time(slo:sli_error:ratio_rate5m{%s}[30d]) / ignoring (sloth_window) count_over_time(slo:sli_error:ratio_rate5m{%s}[30d])`, ids, ids))

		fmt.Fprintf(&out, "  - name: meta-%s\n    interval: %s\n    rules:\n", service, model.Duration(ruleInterval))
		record("slo:objective:ratio", "", "vector(0.999)")
		record("slo:error_budget:ratio", "", "vector(1 - 0.999)")
		record("slo:time_period:days", "", "vector(30)")
		for name, window := range map[string]string{"current": "5m", "period": "30d"} {
			record("slo:"+name+"_burn_rate:ratio", "", fmt.Sprintf(
				`slo:sli_error:ratio_rate%s{%s} / on (sloth_id, sloth_slo, sloth_service) group_left slo:error_budget:ratio{%s}`, window, ids, ids))
		}
		record("slo:period_error_budget_remaining:ratio", "", fmt.Sprintf("1 - slo:period_burn_rate:ratio{%s}", ids))
		record("sloth_slo_info", ", sloth_objective: \"99.9\"", "vector(1)")

		fmt.Fprintf(&out, "  - name: alerts-%s\n    interval: %s\n    rules:\n", service, model.Duration(ruleInterval))
		for _, a := range []struct {
			severity               string
			long1, short1          string
			factor1                string
			long2, short2, factor2 string
		}{{"page", "1h", "5m", "14.4", "6h", "30m", "6"}, {"ticket", "1d", "2h", "3", "3d", "6h", "1"}} {
			burns := func(window, factor string) string {
				return fmt.Sprintf("max(slo:sli_error:ratio_rate%s{%s} > (%s * 0.001)) without (sloth_window)", window, ids, factor)
			}
			fmt.Fprintf(&out, "      - {alert: Burning, labels: {sloth_severity: %s}, expr: '(%s and %s) or (%s and %s)'}\n", a.severity,
				burns(a.short1, a.factor1), burns(a.long1, a.factor1), burns(a.short2, a.factor2), burns(a.long2, a.factor2))
		}
	}
	return out.Bytes()
}

// arithmetic is the time in seconds that yoyu's windows of one SLO take at a tick: observed and
// judged, on one core.
func arithmetic(b *testing.B) float64 {
	b.Helper()
	const tick = 30 * time.Second
	e, err := slo.NewEngine(tick)
	if err != nil {
		b.Fatal(err)
	}
	target, err := slo.ParsePercent("99.9")
	if err != nil {
		b.Fatal(err)
	}
	period := slo.RollingPeriod(30 * slo.Day)
	objectives, samples := make([]slo.Objective, benchSLOs), make([]slo.Sample, benchSLOs)
	for i := range objectives {
		name := fmt.Sprint("slo-", i)
		objectives[i] = slo.Objective{Name: name, Target: target, Period: period, Policy: slo.Workbook(period)}
		samples[i] = slo.Sample{
			SLO: name, Covered: make([]slo.Span, 1),
			Groups: []slo.GroupSample{{Increments: []slo.Increment{{Total: 1500, Bad: float64(i % 2)}}}},
		}
	}
	e.Set(objectives)
	now := time.Unix(1_700_000_010, 0).UTC()
	e.Watch(now)
	took := []float64{}
	for range 2000 {
		span := slo.Span{From: now, To: now.Add(tick)}
		now = span.To
		for i := range samples {
			samples[i].Span, samples[i].Covered[0], samples[i].Newest = span, span, now
			samples[i].Groups[0].Increments[0].At = now
		}
		began := time.Now()
		if err := e.Observe(samples...); err != nil {
			b.Fatal(err)
		}
		e.Judge(now)
		took = append(took, time.Since(began).Seconds()/benchSLOs)
	}
	if got := e.Evaluate(now); len(got) != benchSLOs || got[1].Windows == nil {
		b.Fatalf("%d statuses", len(got))
	}
	slices.Sort(took)
	return took[len(took)/2]
}
