package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// climb is a target whose counters are a function of how often its page was shown: after n pages
// route i has had (i+3)·n requests, of which i%4·n were bad. What yoyu must have counted between
// two pages needs no bookkeeping.
type climb struct {
	address string
	routes  int

	mu     sync.Mutex
	shown  int
	still  bool                              // the counters stand still from now on
	before func(n int, gone <-chan struct{}) // what happens before page n is shown; nil: nothing
}

func newClimb(t *testing.T, routes int) *climb {
	t.Helper()
	c := &climb{routes: routes}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.address = strings.TrimPrefix(server.URL, "http://")
	return c
}

func (c *climb) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	if !c.still {
		c.shown++
	}
	n, before := c.shown, c.before
	c.mu.Unlock()
	if before != nil {
		before(n, r.Context().Done())
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for i := range c.routes {
		good, bad := (i+3-i%4)*n, i%4*n
		fmt.Fprintf(w, "requests_total{route=\"/%d\",code=\"200\"} %d\nrequests_total{route=\"/%d\",code=\"500\"} %d\n", i, good, i, bad)
	}
}

// wait is called before page n is shown, with a channel that is closed when the scraper has gone.
func (c *climb) wait(before func(n int, gone <-chan struct{})) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = before
}

// stand makes the counters stand still, and says how many pages were shown.
func (c *climb) stand() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.still = true
	return c.shown
}

// go on after stand.
func (c *climb) on() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.still = false
}

// between is what was counted by who saw page n last, and page first as its baseline.
func (c *climb) between(first, n int) slot {
	var s slot
	for i := range c.routes {
		s.total += int64((i + 3) * (n - first))
		s.bad += int64(i % 4 * (n - first))
	}
	return s
}

// config counts it with a tick of a second, a budget for each route.
func (c *climb) config(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	err := os.WriteFile(file, fmt.Appendf(nil, `
tick: 1s
sources: [{name: pods, type: scrape, targets: ["http://%s/metrics"]}]
defaults: {source: pods, period: 2h}
slos:
  - name: it
    service: shop
    objective: 99
    group_by: [route]
    group_limit: 1000
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, c.address), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// runOn starts a daemon on a configuration and a folder, and waits until it is ready.
func runOn(t *testing.T, file, data string, more ...string) *yoyu {
	t.Helper()
	y := &yoyu{address: freeAddress(t)}
	y.program = start(t, "yoyu", append([]string{"run", "--config.file=" + file, "--web.listen-address=" + y.address, "--storage.path=" + data}, more...)...)
	until(t, "yoyu", func() (bool, string) {
		_, err := get("http://" + y.address + "/-/ready")
		return err == nil, fmt.Sprint(err)
	})
	return y
}

// counted is what the daemon counts in the last hour, all groups together.
func (y *yoyu) counted() slot {
	y.t.Helper()
	text, err := get("http://" + y.address + "/api/v1/slos")
	if err != nil {
		y.t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		y.t.Fatalf("%v in %s", err, text)
	}
	var s slot
	for _, r := range d.Reports {
		for _, one := range r.SLOs {
			s.total, s.bad = s.total+int64(one.Windows["1h"].Total), s.bad+int64(one.Windows["1h"].Bad)
		}
	}
	return s
}

// counts waits until the daemon counts exactly this.
func (y *yoyu) counts(what string, want slot) {
	y.t.Helper()
	until(y.t, what, func() (bool, string) {
		got := y.counted()
		return got == want, fmt.Sprintf("counted %+v, want %+v", got, want)
	})
}

// shows waits for a line of /metrics.
func (y *yoyu) shows(line string) {
	y.t.Helper()
	until(y.t, line, func() (bool, string) {
		text, err := get("http://" + y.address + "/metrics")
		return err == nil && strings.Contains("\n"+text, "\n"+line+"\n"), fmt.Sprint(err)
	})
}

// dumped is what the slots of a state hold together. Nobody may be using it.
func dumped(t *testing.T, data string) slot {
	t.Helper()
	var s slot
	for _, one := range dump(t, data) {
		s.total, s.bad = s.total+one.total, s.bad+one.bad
	}
	return s
}
