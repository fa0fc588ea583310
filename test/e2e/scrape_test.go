package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The same without any Prometheus: yoyu scrapes the program itself, through two restarts and the
// first error ever.
func TestScrapesExactly(t *testing.T) {
	shopAddress, yoyuAddress := freeAddress(t), freeAddress(t)
	config := fmt.Sprintf(`
tick: 1s
sources: [{name: pods, type: scrape, targets: ["http://%s/metrics"]}]
defaults: {source: pods, period: 2h}
slos:
  - name: checkout-availability
    service: checkout
    objective: 99.9
    indicator:
      counters:
        total: http_requests_total{service="checkout"}
        bad: http_requests_total{service="checkout",code=~"5.."}
`, shopAddress)

	answered := map[string]int{}
	var y *yoyu
	scraped := func(want int) { // once yoyu has scraped what was answered so far
		until(t, "a scrape", func() (bool, string) {
			w := y.slo("checkout-availability").Windows["1h"]
			return int(w.Total) == want, fmt.Sprintf("yoyu counts %v, want %d", w.Total, want)
		})
	}
	scrapes := func() string {
		text, err := get("http://" + yoyuAddress + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, `yoyu_source_last_success_timestamp_seconds{source="pods"}`) {
				return line
			}
		}
		return ""
	}
	run := func(codes string, during func(s *shop)) {
		s := openShop(t, shopAddress, codes)
		if y == nil {
			y = startYoyu(t, yoyuAddress, config)
		}
		// Two successful scrapes begin after now: the new process has been seen.
		for range 2 {
			before := scrapes()
			until(t, "a scrape of the new process", func() (bool, string) { return scrapes() != before, before })
		}
		during(s)
		before := answered["200"] + answered["500"]
		until(t, "the last scrape", func() (bool, string) {
			text, err := get("http://" + shopAddress + "/metrics")
			if err != nil {
				return false, err.Error()
			}
			want := before
			for line := range strings.Lines(text) {
				if rest, ok := strings.CutPrefix(line, "http_requests_total{"); ok {
					n := 0
					if _, err := fmt.Sscan(rest[strings.LastIndex(rest, " ")+1:], &n); err != nil {
						return false, err.Error()
					}
					want += n
				}
			}
			w := y.slo("checkout-availability").Windows["1h"]
			return int(w.Total) == want, fmt.Sprintf("yoyu counts %v, the program %d", w.Total, want)
		})
		s.close(answered)
	}
	traffic := func(s *shop, failing bool, d time.Duration) {
		halt := s.load(failing)
		pass(t, d)
		halt()
	}
	run("200", func(s *shop) { traffic(s, false, 3*time.Second) })
	run("200", func(s *shop) {
		traffic(s, false, 2*time.Second)
		traffic(s, true, 3*time.Second) // the first errors ever
	})
	run("200,500", func(s *shop) { traffic(s, true, 2*time.Second) })

	total := answered["200"] + answered["500"]
	if answered["500"] < 20 || total < 500 {
		t.Fatalf("too little traffic to prove anything: %v", answered)
	}
	scraped(total)
	if w := y.slo("checkout-availability").Windows["1h"]; int(w.Bad) != answered["500"] {
		t.Errorf("yoyu counts %v bad, the program answered %d", w.Bad, answered["500"])
	}
	y.stop()
}
