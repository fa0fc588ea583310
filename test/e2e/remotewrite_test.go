package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// What yoyu writes to a Prometheus is there with its external labels, answers the questions that
// people ask, and has no hole where the Prometheus was away.
func TestRemoteWrite(t *testing.T) {
	prometheus := promtest.Start(t, promtest.Options{RemoteWrite: true})
	target, page := pod(t)
	page.Store("requests_total{code=\"200\"} 100\n")
	address := freeAddress(t)
	startYoyu(t, address, fmt.Sprintf(`
tick: 1s
external_labels: {cluster: tokyo}
sources: [{name: pods, type: scrape, targets: ["http://%s/metrics"]}]
sinks: [{name: mimir, type: remote_write, url: %q}]
slos:
  - name: it
    service: shop
    objective: 99
    period: 2h
    source: pods
    labels: {team: payments}
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, target, prometheus.URL()+"/api/v1/write"))
	page.Store("requests_total{code=\"200\"} 200\n")

	const remaining = `slo_error_budget_remaining_ratio{cluster="tokyo",slo="it",service="shop"}`
	prometheus.Await(remaining+` * on (slo) group_left (team) slo_info{team="payments",cluster="tokyo"} == 1`, func(v model.Vector) bool { return len(v) == 1 })
	before := time.Now()
	prometheus.Stop()
	until(t, "a report that nobody took", func() (bool, string) {
		text, err := get("http://" + address + "/metrics")
		return err == nil && lineOf(text, `yoyu_sink_up{sink="mimir"}`) == "0", fmt.Sprint(err)
	})
	pass(t, 3*time.Second) // ticks that only yoyu sees
	prometheus.Restart()
	until(t, "the sink is up", func() (bool, string) {
		text, err := get("http://" + address + "/metrics")
		return err == nil && lineOf(text, `yoyu_sink_up{sink="mimir"}`) == "1", fmt.Sprint(err)
	})
	// A sample for every tick that yoyu has evaluated since, also of those while nobody listened.
	now := time.Now()
	var samples []model.SamplePair
	for _, s := range prometheus.RawSamples(remaining, before.Add(-2*time.Second), now) {
		samples = append(samples, s.Values...)
	}
	if len(samples) < 4 {
		t.Fatalf("only %d samples", len(samples))
	}
	missed := 0
	for i := 1; i < len(samples); i++ {
		if gap := samples[i].Timestamp.Sub(samples[i-1].Timestamp); gap != time.Second {
			missed += int(gap/time.Second) - 1
		}
	}
	text, err := get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if allowed, err := strconv.Atoi(lineOf(text, "yoyu_ticks_missed_total")); err != nil || missed > allowed {
		t.Errorf("%d seconds have no sample, and yoyu missed %d ticks (%v):\n%v", missed, allowed, err, samples)
	}
	for _, reason := range []string{"bad_request", "overflow", "too_old", "too_large"} {
		if n := lineOf(text, fmt.Sprintf("yoyu_sink_points_dropped_total{reason=%q,sink=%q}", reason, "mimir")); n != "0" {
			t.Errorf("%s samples were dropped: %s", n, reason)
		}
	}
}

// lineOf is the value of a series on a page, "" where there is none.
func lineOf(page, series string) string {
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
