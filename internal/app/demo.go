package app

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/demo"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources/recorded"
)

func addDemo(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("demo", "Run the daemon with nothing else: an embedded shop with traffic, incidents and a month of history.")
	seed := c.Flag("seed", "Equal seeds tell equal stories.").Default("1").Int64()
	// For trying yoyu with something that plays Datadog better than the demo does.
	intake := c.Flag("datadog-url", "Address that plays Datadog in place of the demo's own.").Hidden().String()
	// For pictures, and for tests that want the same numbers every time.
	at := c.Flag("at", "Show this moment (RFC 3339) and nothing after it.").Hidden().String()
	var s serving
	s.flags(c, "data/demo/")
	return "demo", func(ctx context.Context) error {
		o := demo.Options{Seed: *seed, Intake: *intake, Logger: p.log}
		if *at != "" {
			var err error
			if o.Now, err = time.Parse(time.RFC3339, *at); err != nil {
				return fmt.Errorf("--at: %q: not a time such as 2026-01-15T10:00:00Z", *at)
			}
			o.Still = true
		}
		return p.demo(ctx, s, o)
	}
}

// demo opens the shop and runs the daemon on it. The shop's month of history comes from the same
// recorded source as a backtest's; from then on its pods are scraped like any stranger's.
func (p *process) demo(ctx context.Context, s serving, o demo.Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	shop := demo.New(o)
	if err := shop.Start(ctx); err != nil {
		return err
	}
	defer func() { stop(); shop.Wait() }()
	d, err := newDaemon(p, s, func() (*config.Config, error) { return config.Parse("demo.yaml", shop.Config()) })
	if err != nil {
		return err
	}
	d.past = func(e *slo.Engine, c *config.Config, now *assembled) error {
		return remember(ctx, e, c, now, d.state.memory, shop)
	}
	if o.Still {
		d.still = shop.Opening()
	}
	d.started = func(address string) { p.welcome(address, d.prefix, shop) }
	return d.run(ctx)
}

// remember fills the windows from the shop's history, and lets rightsizing have watched meanwhile:
// workloads over the weeks that it looks back on, alerts over the last day. Alerts are looked at over
// all of the month: it is the history that the page shows.
func remember(ctx context.Context, e *slo.Engine, c *config.Config, now *assembled, memory *rightsizing.Memory, shop *demo.Shop) error {
	var month bytes.Buffer
	if err := shop.Month(&month); err != nil {
		return err
	}
	source, err := recorded.Read(&month, recorded.Options{Name: "history", Tick: c.Tick, Questions: questions(c)})
	if err != nil {
		return err
	}
	var workloads []rightsizing.Workload
	for _, cluster := range now.workloads {
		found, err := cluster.Collect(ctx, slo.Span{})
		if err != nil {
			return err
		}
		workloads = append(workloads, found...)
	}
	look := judge(c, memory)
	all := source.Span()
	all.To = e.At(shop.Opening(), 0)
	const step = 5 * time.Minute // what fires may do so for minutes only
	watched := all.To.Add(-slo.Day - time.Hour)
	for span, turn := all, 0; span.From.Before(all.To); span.From, turn = span.To, turn+1 {
		if span.To = span.From.Add(step); span.To.After(all.To) {
			span.To = all.To
		}
		samples, err := source.Collect(ctx, span)
		if err != nil {
			return err
		}
		if err := e.Observe(samples...); err != nil {
			return err
		}
		r := &sinks.Report{Time: span.To, Workloads: workloads, SLOs: e.Evaluate(span.To)}
		if span.To.After(watched) || turn%72 == 0 {
			look(r)
		}
	}
	return nil
}

// welcome says where to look.
func (p *process) welcome(address, prefix string, shop *demo.Shop) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	at := "http://" + net.JoinHostPort(host, port) + prefix
	fmt.Fprintf(p.stdout, strings.TrimLeft(`
The shop is open. Look at

  %[1]s/                     what burns, what is left, what could be given back
  %[1]s/explain?slo=checkout-availability&route=/pay
                                             every number of one budget, to be recomputed by hand
  %[1]s/metrics              what Prometheus would scrape
  %[1]s/api/v1/slos          the same as JSON
  %[2]s/                     what Datadog would have got

checkout-availability is burning on route /pay. The first numbers are there within seconds. Ctrl-C ends it.
`, "\n"), at, shop.IntakeURL())
}
