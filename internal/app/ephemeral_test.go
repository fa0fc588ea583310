package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// On ECS a source that knows the present only is warned of, once; others are not, and nobody is
// elsewhere.
func TestScrapeOnECS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(`
sources:
  - {name: pods, type: scrape, targets: [http://checkout:8080/metrics]}
  - {name: unused, type: scrape, targets: [http://search:8080/metrics]}
  - {name: aws, type: cloudwatch, region: ap-northeast-1}
defaults: {service: checkout, objective: 99, period: 30d}
slos:
  - {name: one, source: pods, indicator: {counters: {total: requests_total, bad: 'requests_total{code="500"}'}}}
  - {name: two, source: pods, indicator: {gauge: {selector: up, good: "> 0"}}}
  - {name: three, source: aws, indicator: {cloudwatch: {ecs_service: prod/checkout}}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]int{"": 0, "http://169.254.170.2/v4/0123": 1} {
		t.Setenv(ecsTask, address)
		var log bytes.Buffer
		if _, err := loadConfig(&process{log: slog.New(slog.NewTextHandler(&log, nil))}, file); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "goes with the ECS task"); n != want || n > 0 && !strings.Contains(log.String(), "from=pods") {
			t.Errorf("with %q: %s", address, log.String())
		}
	}
}
