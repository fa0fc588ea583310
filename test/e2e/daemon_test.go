package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// pod is a target whose page is the test's to write.
func pod(t *testing.T) (address string, page *atomic.Value) {
	t.Helper()
	page = &atomic.Value{}
	page.Store("")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, page.Load().(string)) // a scraper that hangs up is its own affair
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), page
}

func post(t *testing.T, url string) (status int, body string) {
	t.Helper()
	res, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// A broken configuration is refused while the present one goes on counting; a good one takes over
// and keeps what was counted.
func TestReload(t *testing.T) {
	target, page := pod(t)
	address, dir := freeAddress(t), t.TempDir()
	config := func(objective, more string) string {
		return fmt.Sprintf(`
tick: 1s
sources: [{name: pods, type: scrape, targets: ["http://%s/metrics"]}]
defaults: {source: pods, period: 2h}
slos:
  - name: it
    service: shop
    objective: %s
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
%s`, target, objective, more)
	}
	file := filepath.Join(dir, "config.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(config("99", ""))
	page.Store("requests_total{code=\"200\"} 100\n")
	y := &yoyu{start(t, "yoyu", "--config.file="+file, "--web.listen-address="+address, "--web.enable-lifecycle", "--config.auto-reload-interval=1s", "--storage.path="+filepath.Join(dir, "data")), address}
	counts := func(what string, want float64) {
		t.Helper()
		until(t, what, func() (bool, string) {
			text, err := get("http://" + address + "/-/ready")
			if err != nil {
				return false, text + err.Error()
			}
			got := y.slo("it").Windows["1h"].Total
			return got == want, fmt.Sprintf("%v events, want %v", got, want)
		})
	}
	metric := func(line string) {
		t.Helper()
		until(t, line, func() (bool, string) {
			text, err := get("http://" + address + "/metrics")
			return err == nil && slices.Contains(strings.Split(text, "\n"), line), fmt.Sprint(err)
		})
	}
	until(t, "the first look", func() (bool, string) {
		_, err := get("http://" + address + "/-/ready")
		return err == nil && y.slo("it").Windows["1h"].Coverage > 0, fmt.Sprint(err)
	})
	page.Store("requests_total{code=\"200\"} 110\n")
	counts("ten requests", 10)

	write(config("0.99", ""))
	if status, body := post(t, "http://"+address+"/-/reload"); status < 400 || !strings.Contains(body, "did you mean 99?") {
		t.Errorf("a broken configuration: %d %s", status, body)
	}
	metric("yoyu_config_last_reload_successful 0")
	page.Store("requests_total{code=\"200\"} 125\n")
	counts("fifteen more under the old configuration", 25)

	write(config("95", `  - name: new
    service: shop
    objective: 90
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`))
	if status, body := post(t, "http://"+address+"/-/reload"); status != http.StatusOK {
		t.Errorf("a good configuration: %d %s", status, body)
	}
	metric("yoyu_config_last_reload_successful 1")
	metric(`slo_objective_ratio{service="shop",slo="it"} 0.95`)
	metric(`slo_objective_ratio{service="shop",slo="new"} 0.9`)
	page.Store("requests_total{code=\"200\"} 125\nrequests_total{code=\"500\"} 5\n")
	until(t, "counting goes on", func() (bool, string) {
		w := y.slo("it").Windows["1h"]
		return w.Total >= 25 && w.Bad == 5, fmt.Sprintf("%+v", w)
	})

	// So does the file alone, in its own time.
	write(config("94", ""))
	metric(`slo_objective_ratio{service="shop",slo="it"} 0.94`)

	// SIGHUP does the same.
	write(config("96", ""))
	if err := y.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	metric(`slo_objective_ratio{service="shop",slo="it"} 0.96`)

	// What it publishes is clean.
	text, err := get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	lint := exec.Command(promtest.Promtool(t), "check", "metrics")
	lint.Stdin = strings.NewReader(text)
	if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	y.stop()
}

// Which groups are kept apart survives a restart, whoever comes first afterwards.
func TestGroupsSurviveARestart(t *testing.T) {
	target, page := pod(t)
	address, data := freeAddress(t), t.TempDir()
	file := filepath.Join(t.TempDir(), "config.yaml")
	config := fmt.Sprintf(`
tick: 1s
sources: [{name: pods, type: scrape, targets: ["http://%s/metrics"]}]
defaults: {source: pods, period: 2h}
slos:
  - name: it
    service: shop
    objective: 99
    group_by: [route]
    group_limit: 2
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, target)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	routes := func(counts map[string]int) {
		text := ""
		for route, n := range counts {
			text += fmt.Sprintf("requests_total{route=%q,code=\"200\"} %d\n", route, n)
		}
		page.Store(text)
	}
	groups := func() map[string]bool {
		out := map[string]bool{}
		text, err := get("http://" + address + "/metrics")
		if err != nil {
			return out
		}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, `slo_error_budget_remaining_ratio{route="`); ok {
				out[rest[:strings.IndexByte(rest, '"')]] = true
			}
		}
		return out
	}
	launch := func(looked string) *yoyu {
		y := &yoyu{start(t, "yoyu", "--config.file="+file, "--web.listen-address="+address, "--storage.path="+data), address}
		until(t, "the first look", func() (bool, string) {
			text, err := get("http://" + address + "/metrics")
			return err == nil && strings.Contains(text, looked) && strings.Contains(text, `yoyu_source_up{source="pods"} 1`), fmt.Sprint(err)
		})
		return y
	}
	counts := map[string]int{"/a": 0, "/b": 0, "/c": 0, "/d": 0}
	routes(counts)
	y := launch("yoyu_series_baselined_total 4")
	counts["/c"], counts["/d"] = 5, 5 // these come first
	routes(counts)
	until(t, "two groups", func() (bool, string) { g := groups(); return g["/c"] && g["/d"], fmt.Sprint(g) })
	y.stop()

	y = launch("yoyu_series_baselined_total 0") // it remembers the counters
	counts["/a"], counts["/b"] = 7, 7           // now others do
	routes(counts)
	until(t, "the rest together", func() (bool, string) { g := groups(); return g["_other"], fmt.Sprint(g) })
	if g := groups(); g["/a"] || g["/b"] || !g["/c"] || !g["/d"] {
		t.Errorf("groups after the restart: %v, want /c, /d and _other", g)
	}
	text, err := get("http://" + address + "/metrics")
	if err != nil || !strings.Contains(text, `yoyu_slo_groups_folded{slo="it"} 2`) {
		t.Errorf("yoyu_slo_groups_folded is not 2 (%v)", err)
	}
	y.stop()
}
