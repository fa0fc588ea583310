package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What one scraped page says is printed by check --live, and a target that does not answer is a
// fault of its own.
func TestCheckLiveOfScrape(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "http_requests_total{code=\"200\"} 99\nhttp_requests_total{code=\"500\"} 1\n")
	}))
	defer page.Close()
	away := httptest.NewServer(http.NotFoundHandler())
	defer away.Close()
	for _, c := range []struct {
		name, total, targets string
		exit                 int
		want                 []string
	}{
		{"all is well", "http_requests_total", page.URL, 0, []string{
			"slo it: source pods: 2 series of total and 1 of bad on 1 of 1 page; 1 of 100 events bad since the targets began",
		}},
		{"a metric that is not there", "requests_total", page.URL, exitFault, []string{
			"config.yaml:7:16: slos[0] it: indicator: requests_total has no series on the 1 page that could be read",
		}},
		{"a target that does not answer", "http_requests_total", page.URL + ", " + away.URL, exitFault, []string{
			"config.yaml:1:11: sources[0] pods: target " + away.URL + "/metrics: HTTP status 404 Not Found",
			"slo it: source pods: 2 series of total and 1 of bad on 1 of 1 page; 1 of 100 events bad since the targets began",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			file := write(t, fmt.Sprintf(`sources: [{name: pods, type: scrape, targets: [%s]}]
slos:
  - name: it
    service: shop
    objective: 99.9
    period: 30d
    indicator: {counters: {total: %s, bad: 'http_requests_total{code="500"}'}}
`, c.targets, c.total))
			if got := Main(t.Context(), []string{"check", "--live", file}, &out, new(strings.Builder)); got != c.exit {
				t.Errorf("exit %d, want %d", got, c.exit)
			}
			for _, line := range c.want {
				if !strings.Contains(out.String(), line+"\n") {
					t.Errorf("printed\n%swant\n%s", out.String(), line)
				}
			}
		})
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
