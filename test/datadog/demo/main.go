// Command demo shows the whole way to Datadog without an account: it runs yoyu's demo with its sink
// pointed at a fake Datadog, and says what to look at. Flags are those of yoyu demo.
//
//	shop ──▶ yoyu demo ──POST /api/v1/series──▶ fake Datadog ──▶ what was stored, what queries answer
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
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

	told := make(chan struct{})
	go func() { defer close(told); tell(ctx, stdout, fake, address) }()
	defer func() { stop(); <-told }()
	return app.Main(ctx, append([]string{"demo", "--datadog-url=" + address, "--storage.path=" + dir, "--log.level=warn"}, args...), stdout, stderr)
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
