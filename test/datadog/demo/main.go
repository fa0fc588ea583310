// Command demo shows the whole way to Datadog and back without an account: it runs yoyu's demo with
// its sink pointed at a fake Datadog, says what that answers, puts monitors and dashboards there, and
// counts an SLO from what others have sent there. Flags are those of yoyu demo.
//
//	shop ──▶ yoyu demo ──POST /api/v1/series──▶ fake Datadog ──▶ what was stored, what queries answer
//	           yoyu provision datadog ────────▶  │    ▲
//	           yoyu report ◀──GET /api/v1/query──┘    └── hits and errors of others
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/yoyu-sre/yoyu/internal/app"
	"github.com/yoyu-sre/yoyu/internal/demo"
	"github.com/yoyu-sre/yoyu/test/datadog"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run serves until ctx ends and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	fake := datadog.New(datadog.Options{Clock: time.Now, APIKeys: []string{demo.Key}, Visible: 5 * time.Second})
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintf(stderr, "fake Datadog: %v\n", err)
		return 1
	}
	server := &http.Server{Handler: fake.Console(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // it ends when it is closed
	}()
	defer func() { server.Close(); <-served }()
	address := "http://" + listener.Addr().String()

	dir, err := os.MkdirTemp("", "yoyu-demo-datadog-")
	if err != nil {
		fmt.Fprintf(stderr, "storage: %v\n", err)
		return 1
	}
	defer os.RemoveAll(dir)

	others(fake)
	config, err := configuration(dir, address)
	if err != nil {
		fmt.Fprintf(stderr, "configuration: %v\n", err)
		return 1
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		tell(ctx, stdout, fake, address)
		commands(ctx, stdout, config, dir, address)
	}()
	defer func() { stop(); <-told }()
	return app.Main(ctx, append([]string{"demo", "--datadog-url=" + address, "--storage.path=" + dir, "--log.level=warn"}, args...), stdout, stderr)
}

// others have counted six hours of requests in Datadog already: ten a second, and one of 500 fails.
func others(fake *datadog.Datadog) {
	now := fake.Now().Truncate(time.Minute)
	for name, each := range map[string]float64{"gateway.hits": 600, "gateway.errors": 1.2} {
		var points []datadog.Point
		sent := 0.0
		for at := now.Add(-6 * time.Hour); at.Before(now); at = at.Add(time.Minute) {
			due := math.Floor(each * (1 + at.Sub(now.Add(-6*time.Hour)).Minutes())) // whole events
			points = append(points, datadog.Point{At: at, Value: due - sent})
			sent = due
		}
		fake.Seed(datadog.Metric{Name: name, Type: datadog.Count, Interval: 60, Tags: []string{"env:demo", "service:gateway"}}, points...)
	}
}

// configuration writes what the commands need beside the demo: the fake's keys, the sink that the
// demo has, and an SLO that is counted from Datadog.
func configuration(dir, address string) (file string, err error) {
	file = filepath.Join(dir, "config.yaml")
	for name, text := range map[string]string{
		"api-key": demo.Key, "app-key": datadog.AppKey,
		"config.yaml": fmt.Sprintf(`sources:
  - {name: dd, type: datadog, url: %[1]q, api_key_file: api-key, app_key_file: app-key, limits: {backfill: 6h}}
sinks:
  - {name: dd, type: datadog, url: %[1]q, api_key_file: api-key, tags: [env:demo]}
slos:
  - name: gateway-availability
    service: gateway
    objective: 99
    period: 7d
    indicator: {datadog: {total: "sum:gateway.hits{env:demo}", bad: "sum:gateway.errors{env:demo}"}}
`, address),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return file, nil
}

// commands runs what goes the other ways, and shows what they print.
func commands(ctx context.Context, w io.Writer, config, dir, address string) {
	for _, c := range []struct {
		about string
		args  []string
	}{
		{"Monitors, dashboards and an SLO of its own are put there by", []string{"provision", "datadog", "--config.file=" + config, "--storage.path=" + dir, "--slos", "--apply"}},
		{"A second time there is nothing to do:", []string{"provision", "datadog", "--config.file=" + config, "--storage.path=" + dir, "--slos", "--apply"}},
		{"What others have sent there is counted by", []string{"report", "--config.file=" + config}},
	} {
		if ctx.Err() != nil {
			return
		}
		fmt.Fprintf(w, "%s\n\n  yoyu %s\n\n", c.about, strings.Join(c.args, " "))
		var out bytes.Buffer
		app.Main(ctx, c.args, &out, &out) // what went wrong is in what it printed
		for line := range strings.Lines(out.String()) {
			if strings.TrimSpace(line) != "" {
				line = "      " + line
			}
			fmt.Fprint(w, line)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "Look at %[1]s/_fake/monitors, %[1]s/_fake/dashboards and %[1]s/_fake/slos.\n\n", address)
}

// questions are what an SRE would ask Datadog first.
var questions = []string{
	"min:slo.error_budget_remaining_ratio{env:demo} by {slo}",
	"max:slo.burn_rate{env:demo,window:1h} by {slo,service}",
	"max:slo.alert_burn_ratio{severity:page} by {slo}",
	"sum:rightsizing.headroom_cpu_cores{*} by {kube_deployment}",
}

// tell waits for the first points, and says what Datadog has and answers.
func tell(ctx context.Context, w io.Writer, fake *datadog.Datadog, address string) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		now := fake.Now()
		found, err := fake.Query(questions[0], now.Add(-10*time.Minute), now)
		if err == nil && len(found) > 0 {
			break
		}
	}
	fmt.Fprintf(w, "\nDatadog, as %s plays it, has %d series by now. Look at\n\n", address, len(fake.Stored()))
	fmt.Fprintf(w, "  %s/                 what there is\n  %s/_fake/series     what was stored\n  %s/_fake/journal    what was asked\n", address, address, address)
	fmt.Fprintf(w, "  curl -d do=503 -d times=3 %s/_fake/faults   let it fail: nothing is lost\n\nIt answers\n\n", address)
	for _, q := range questions {
		now := fake.Now()
		found, err := fake.Query(q, now.Add(-10*time.Minute), now)
		if err != nil {
			fmt.Fprintf(w, "  %s: %v\n", q, err)
			continue
		}
		fmt.Fprintf(w, "  %s\n  %s/_fake/query?query=%s\n", q, address, url.QueryEscape(q))
		for _, r := range found {
			fmt.Fprintf(w, "      %-60s %.4g\n", strings.Join(r.Group, ","), r.Buckets[len(r.Buckets)-1].Value)
		}
	}
	fmt.Fprintln(w)
}
