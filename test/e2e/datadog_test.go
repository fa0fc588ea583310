package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// What yoyu has for Datadog arrives there, is counted on /metrics, and is not lost when the process
// ends while Datadog is down.
func TestDatadogGetsWhatItWasNotAbleToTake(t *testing.T) {
	d := fake.Start(t, fake.Options{Clock: time.Now, Strict: true})
	target, page := pod(t)
	page.Store("requests_total{code=\"200\"} 100\n")
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(fake.APIKey), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	y := startYoyu(t, address, fmt.Sprintf(`
tick: 1s
external_labels: {cluster: tokyo}
sources: [{name: pods, type: scrape, targets: ["http://%s/metrics"]}]
sinks: [{name: dd, type: datadog, url: %q, api_key_file: %q, metrics: minimal, tags: [env:prod]}]
slos:
  - name: it
    service: shop
    objective: 99
    period: 2h
    source: pods
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, target, d.URL, key))
	page.Store("requests_total{code=\"200\"} 200\n")
	const remaining = "slo.error_budget_remaining_ratio"
	until(t, "the first points", func() (bool, string) {
		found := d.Series(remaining)
		return len(found) == 1 && slices.Equal(found[0].Tags, []string{"cluster:tokyo", "env:prod", "service:shop", "slo:it"}), fmt.Sprint(found)
	})
	until(t, "the count of custom metrics", func() (bool, string) {
		text, err := get("http://" + address + "/metrics")
		ok := err == nil
		for _, want := range []string{`yoyu_sink_series{sink="dd"} 2`, `yoyu_sink_points_dropped_total{reason="too_old",sink="dd"} 0`, `yoyu_sink_up{sink="dd"} 1`} {
			ok = ok && strings.Contains(text, want+"\n")
		}
		return ok, fmt.Sprint(err)
	})

	d.Fault(fake.Fault{Do: fake.Status(503)})
	until(t, "a refused report", func() (bool, string) {
		text, err := get("http://" + address + "/metrics")
		return err == nil && strings.Contains(text, `yoyu_sink_up{sink="dd"} 0`), fmt.Sprint(err)
	})
	before := newest(d.Series(remaining))
	if err := y.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "the end", func() (bool, string) {
		_, err := get("http://" + address + "/-/healthy")
		return err != nil, "still serving"
	})
	d.ClearFaults()
	select {
	case err := <-y.ended:
		if err != nil {
			t.Errorf("yoyu ended with %v", err)
		}
	case <-time.After(15 * time.Second):
		t.Error("yoyu did not end within 15 s of SIGTERM")
	}
	if after := newest(d.Series(remaining)); !after.After(before) {
		t.Errorf("the newest point is of %s, as before the end", after)
	}
	if lost := d.Drops(); len(lost) > 0 {
		t.Errorf("Datadog lost %v", lost)
	}
	if text := y.stderr.String(); !strings.Contains(text, `msg="Datadog custom metrics" sink=dd count=2`) {
		t.Errorf("the log does not say what it costs:\n%s", text)
	}
	if text := y.stderr.String(); strings.Contains(text, fake.APIKey) {
		t.Error("the key is in the log")
	}
}

func newest(series []fake.Series) (at time.Time) {
	for _, s := range series {
		if p := s.Points[len(s.Points)-1]; p.At.After(at) {
			at = p.At
		}
	}
	return at
}
