package promtest_test

import (
	"maps"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

func TestSurvivesRestartAndKill(t *testing.T) {
	server := promtest.Start(t, promtest.Options{
		Jobs: []promtest.Job{{Name: "self", Targets: []string{promtest.Self}}},
	})
	url := server.URL()
	server.AwaitScrape("self", time.Now())

	began := time.Now()
	server.Restart()
	server.AwaitScrape("self", time.Now())
	restarted := time.Now()
	server.Kill()
	server.Restart()
	server.AwaitScrape("self", time.Now())

	if server.URL() != url {
		t.Errorf("the server moved from %s to %s", url, server.URL())
	}
	const up = `up{job="self"}`
	for _, life := range []struct {
		name     string
		from, to time.Time
	}{
		{"before the restart", began.Add(-time.Minute), began},
		{"after the restart", began, restarted},
		{"after the kill", restarted, time.Now()},
	} {
		samples := server.RawSamples(up, life.from, life.to)
		if len(samples) != 1 || len(samples[0].Values) == 0 {
			t.Errorf("%s: samples %v, want some of one series", life.name, samples)
		}
	}
}

func TestRawSamplesAreThoseOfASpanOpenOnTheLeft(t *testing.T) {
	server := promtest.Start(t, promtest.Options{Dir: recorded(t)})
	at := func(s int64) time.Time { return time.Unix(1_700_000_000+s, 0) }

	matrix := server.RawSamples(`requests_total{code="500"}`, at(0), at(60))
	if len(matrix) != 1 {
		t.Fatalf("%d series, want 1", len(matrix))
	}
	want := []model.SamplePair{
		{Timestamp: model.TimeFromUnix(at(30).Unix()), Value: 5},
		{Timestamp: model.TimeFromUnix(at(60).Unix()), Value: 9},
	}
	if !slices.Equal(matrix[0].Values, want) {
		t.Errorf("samples %v, want %v", matrix[0].Values, want)
	}
	if got := server.QueryAt(`sum(requests_total)`, at(60)); got.String() != "{} => 109 @[1700000060]" {
		t.Errorf("sum is %s, want 109", got)
	}
}

// A retention that the blocks are older than shows that old recordings stay by default, and that
// the option reaches the server.
func TestRetentionIsForEverUnlessToldOtherwise(t *testing.T) {
	for retention, want := range map[string]string{"": "100y", "30d": "30d"} {
		server := promtest.Start(t, promtest.Options{Retention: retention})
		flags, err := server.API().Flags(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := flags["storage.tsdb.retention.time"]; got != want {
			t.Errorf("retention %q: the server keeps %s, want %s", retention, got, want)
		}
	}
}

func TestTargetLabelsAndNativeHistograms(t *testing.T) {
	registry := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total"}, []string{"service"})
	duration := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "request_duration_seconds", Buckets: []float64{0.1, 1}, NativeHistogramBucketFactor: 1.1,
	})
	registry.MustRegister(requests, duration)
	requests.WithLabelValues("checkout").Add(7)
	duration.Observe(0.25)
	target := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(target.Close)
	address := strings.TrimPrefix(target.URL, "http://")

	pod := map[string]string{"namespace": "shop", "service": "yoyu", "pod": "yoyu-0", "container": "main"}
	server := promtest.Start(t, promtest.Options{
		Jobs: []promtest.Job{
			{Name: "honoured", Targets: []string{address}, Labels: pod, HonorLabels: true},
			{Name: "overruled", Targets: []string{address}, Labels: pod},
		},
		ExternalLabels: map[string]string{"cluster": "tokyo"},
	})
	server.Scrape(promtest.Job{Name: "native", Targets: []string{address}, NativeHistograms: true, Interval: 500 * time.Millisecond})
	for _, job := range []string{"honoured", "overruled", "native"} {
		server.AwaitScrape(job, time.Now())
	}

	for _, f := range []struct {
		name, query string
		count       int
	}{
		{"the series' own label wins", `requests_total{job="honoured",service="checkout",pod="yoyu-0"} == 7`, 1},
		{"the target's label wins", `requests_total{job="overruled",service="yoyu",exported_service="checkout",container="main"}`, 1},
		{"classic buckets", `request_duration_seconds_bucket{job="honoured",le="1.0"} == 1`, 1},
		{"a native histogram replaces them", `request_duration_seconds_bucket{job="native"}`, 0},
		{"a native histogram", `histogram_count(request_duration_seconds{job="native"}) == 1`, 1},
	} {
		vector, ok := server.Query(f.query).(model.Vector)
		if !ok || len(vector) != f.count {
			t.Errorf("%s: %s: %v, want %d series", f.name, f.query, vector, f.count)
		}
	}
	raw := server.RawSamples(`request_duration_seconds{job="native"}`, time.Now().Add(-time.Minute), time.Now())
	if len(raw) != 1 || len(raw[0].Histograms) == 0 || raw[0].Histograms[0].Histogram.Count != 1 {
		t.Errorf("raw native histograms %v, want samples of one observation", raw)
	}
	if !strings.Contains(configOf(t, server), "cluster: tokyo") {
		t.Error("the external label did not reach the server")
	}
}

func TestWholeConfiguration(t *testing.T) {
	server := promtest.Start(t, promtest.Options{
		Config: `
global: {scrape_interval: 300ms, scrape_timeout: 300ms}
scrape_configs:
  - job_name: own
    static_configs: [{targets: ["` + promtest.Self + `"]}]
`,
		RemoteWrite: true,
		ExtraFlags:  []string{"--query.lookback-delta=7s"},
	})
	server.AwaitScrape("own", time.Now())
	flags, err := server.API().Flags(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"web.enable-remote-write-receiver": "true", "query.lookback-delta": "7s"}
	maps.DeleteFunc(flags, func(name, _ string) bool { _, asked := want[name]; return !asked })
	if !maps.Equal(flags, want) {
		t.Errorf("flags %v, want %v", flags, want)
	}
}

// The version that is printed is a flag of test/build.sh; the version that is built is in go.mod.
func TestVersionIsTheModules(t *testing.T) {
	output, err := exec.Command(promtest.Prometheus(t), "--version").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command("go", "-C", "../../test/prometheus", "list", "-m", "-f", "{{.Version}}", "github.com/prometheus/prometheus").Output()
	if err != nil {
		t.Fatal(err)
	}
	// Prometheus 3.16.0 is the module v0.316.0.
	printed := strings.Fields(strings.TrimPrefix(string(output), "prometheus, version "))[0]
	numbers := strings.Split(printed, ".")
	if module := strings.TrimSpace(string(version)); len(numbers) != 3 || module != "v0."+numbers[0]+numbers[1]+"."+numbers[2] {
		t.Errorf("the program says %s, its module is %s", printed, module)
	}
}

func TestAlertmanagerIsTheModules(t *testing.T) {
	output, err := exec.Command(promtest.AlertmanagerProgram(t), "--version").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command("go", "-C", "../../test/alertmanager", "list", "-m", "-f", "{{.Version}}", "github.com/prometheus/alertmanager").Output()
	if err != nil {
		t.Fatal(err)
	}
	if printed := strings.Fields(strings.TrimPrefix(string(output), "alertmanager, version "))[0]; "v"+printed != strings.TrimSpace(string(version)) {
		t.Errorf("the program says %s, its module is %s", printed, version)
	}
}

// Killed and started again it answers on the same port.
func TestAlertmanagerConfigurationOfAWebhook(t *testing.T) {
	webhook := promtest.NewWebhook(t)
	alertmanager := promtest.StartAlertmanager(t, webhook.Config())
	url := alertmanager.URL()
	alertmanager.Kill()
	alertmanager.Restart()
	if alertmanager.URL() != url || len(alertmanager.Alerts()) != 0 {
		t.Errorf("at %s it holds %v, want nothing at %s", alertmanager.URL(), alertmanager.Alerts(), url)
	}
}

// recorded is a data folder with two series of three samples.
func recorded(t *testing.T) string {
	dir := t.TempDir()
	promtest.CreateBlocks(t, dir, strings.NewReader(`# TYPE requests counter
requests_total{code="200"} 10 1700000000
requests_total{code="500"} 1 1700000000
requests_total{code="200"} 50 1700000030
requests_total{code="500"} 5 1700000030
requests_total{code="200"} 100 1700000060
requests_total{code="500"} 9 1700000060
# EOF
`))
	return dir
}

func configOf(t *testing.T, server *promtest.Server) string {
	config, err := server.API().Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return config.YAML
}
