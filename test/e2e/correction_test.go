package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// correctedSLO is what the API says of an SLO with corrections.
type correctedSLO struct {
	SLO     string
	Windows map[string]struct{ Total, Bad, Coverage float64 }
	Budget  struct {
		Remaining float64 `json:"remaining_ratio"`
	} `json:"error_budget"`
	Corrections []struct {
		Name        string
		Seconds     float64
		Approximate float64 `json:"approximate_seconds"`
	}
}

func (s correctedSLO) String() string {
	return fmt.Sprintf("%v of %v, %v left, corrections %v", s.Windows["7d"].Bad, s.Windows["7d"].Total, s.Budget.Remaining, s.Corrections)
}

// A correction that is added three days after an incident restores the budget to what it would have
// been, to the event, as the real Prometheus behind it is asked again; the gate opens; a kill -9
// changes nothing; and once it is removed all is as it was before.
func TestCorrectionAfterAnIncident(t *testing.T) {
	now := time.Now().Truncate(time.Minute)
	from := now.Add(-5 * 24 * time.Hour)
	// An hour and a bit of nothing but errors, whose edges lie on no slot that yoyu still knows.
	began, ended := now.Add(-72*time.Hour-17*time.Minute), now.Add(-71*time.Hour+4*time.Minute)
	var text strings.Builder
	fmt.Fprint(&text, "# TYPE requests counter\n")
	var all, incident float64
	sums := map[string]int{}
	lines := map[string]*strings.Builder{"200": {}, "500": {}}
	for i := 0; !from.Add(time.Duration(i) * time.Minute).After(now); i++ {
		at, n, code := from.Add(time.Duration(i)*time.Minute), 5+i%7, "200"
		if at.After(began) && !at.After(ended) {
			code = "500"
			incident += float64(n)
		}
		if i > 0 { // the first sample is a baseline
			sums[code] += n
			all += float64(n)
		}
		for code, b := range lines {
			fmt.Fprintf(b, "requests_total{instance=\"a\",code=%q} %d %d\n", code, sums[code], at.Unix())
		}
	}
	text.WriteString(lines["200"].String() + lines["500"].String() + "# EOF\n")
	tsdb := t.TempDir()
	promtest.CreateBlocks(t, tsdb, strings.NewReader(text.String()))
	prom := promtest.Start(t, promtest.Options{Dir: tsdb})

	dir, address := t.TempDir(), freeAddress(t)
	file := filepath.Join(dir, "config.yaml")
	write := func(corrections string) {
		t.Helper()
		if err := os.WriteFile(file, fmt.Appendf(nil, `
tick: 5s
sources: [{name: prom, type: prometheus, url: %q}]
defaults: {source: prom, period: 7d}
slos:
  - name: it
    service: shop
    objective: 99.5
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
budget_policy: [{below: 0%%, action: "feature freeze", gate: closed}]
%s`, prom.URL(), corrections), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	launch := func() *yoyu {
		t.Helper()
		return &yoyu{start(t, "yoyu", "--config.file="+file, "--web.listen-address="+address, "--web.enable-lifecycle", "--storage.path="+filepath.Join(dir, "data")), address}
	}
	reload := func() {
		t.Helper()
		if status, body := post(t, "http://"+address+"/-/reload"); status != http.StatusOK {
			t.Fatalf("reload: %d %s", status, body)
		}
	}
	await := func(what string, holds func(correctedSLO) bool) {
		t.Helper()
		until(t, what, func() (bool, string) {
			body, err := get("http://" + address + "/api/v1/slos?slo=it")
			if err != nil {
				return false, err.Error()
			}
			var d struct {
				Reports []struct{ SLOs []correctedSLO }
			}
			if err := json.Unmarshal([]byte(body), &d); err != nil || len(d.Reports) == 0 {
				return false, fmt.Sprintf("%v in %s", err, body)
			}
			s := d.Reports[0].SLOs[0]
			return holds(s), s.String()
		})
	}
	gate := func(want int, part string) {
		t.Helper()
		res, err := http.Get("http://" + address + "/api/v1/gate?slo=it")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != want || !strings.Contains(string(body), part) {
			t.Errorf("gate: %d %v, want %d with %s\n%s", res.StatusCode, err, want, part, body)
		}
	}

	write("")
	y := launch()
	spoilt := func(s correctedSLO) bool {
		w := s.Windows["7d"]
		return w.Total == all && w.Bad == incident && s.Budget.Remaining == 1-incident/(0.005*all) && len(s.Corrections) == 0
	}
	await(fmt.Sprintf("an incident of %v in %v", incident, all), spoilt)
	gate(http.StatusConflict, `budget policy: feature freeze"`)

	write(fmt.Sprintf("corrections: [{name: cable, slos: [it], from: %s, to: %s, effect: drop}]\n", began.Format(time.RFC3339), ended.Format(time.RFC3339)))
	reload()
	restored := func(s correctedSLO) bool {
		w := s.Windows["7d"]
		return w.Total == all-incident && w.Bad == 0 && s.Budget.Remaining == 1 &&
			len(s.Corrections) == 1 && s.Corrections[0].Seconds == ended.Sub(began).Seconds() && s.Corrections[0].Approximate == 0
	}
	await(fmt.Sprintf("%v events without the incident, exactly", all-incident), restored)
	gate(http.StatusOK, `"gate":"open"`)

	y.kill()
	y = launch()
	await("the same after a kill -9", restored)

	write("")
	reload()
	await("the incident again", spoilt)
	gate(http.StatusConflict, `budget policy: feature freeze"`)
	y.stop()
}
