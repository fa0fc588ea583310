package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

func addRightsizing(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("rightsizing", "Print what should become of the requests of workloads, what it is worth, and what the error budgets say to it.")
	var o rightsizingOptions
	c.Flag("config.file", "Configuration file.").Default("config.yaml").StringVar(&o.file)
	c.Flag("url", "Address of a running yoyu to ask in place of the cluster, such as http://localhost:9912: a shrink needs what it has seen over days.").StringVar(&o.url)
	c.Flag("output", "How to print. Of each change that may be made patch writes a line of kubectl, kustomize a component, helm values of the chart where it is known where they belong.").Short('o').Default("table").
		EnumVar(&o.output, "table", "json", "csv", "patch", "kustomize", "helm", "markdown")
	c.Flag("namespace", "Only workloads of this namespace (repeatable).").StringsVar(&o.namespaces)
	c.Flag("service", "Only workloads of this service (repeatable).").StringsVar(&o.services)
	c.Flag("verdict", "Only this verdict (repeatable): raise, shrink, keep, unknown.").EnumsVar(&o.verdicts, "raise", "shrink", "keep", "unknown")
	c.Flag("gate", "Only what the error budgets say this to (repeatable): safe, blocked, ungated.").EnumsVar(&o.gates, "safe", "blocked", "ungated")
	c.Flag("ungated", "With -o patch, kustomize, helm and markdown: also the changes of what no SLO watches.").BoolVar(&o.ungated)
	return "rightsizing", func(ctx context.Context) error { return p.rightsizing(ctx, o) }
}

type rightsizingOptions struct {
	file, url, output                     string
	namespaces, services, verdicts, gates []string
	ungated                               bool
}

func (p *process) rightsizing(ctx context.Context, o rightsizingOptions) error {
	get := p.lookNow
	if o.url != "" {
		get = askRunning
	}
	d, err := get(ctx, o)
	if err != nil {
		return err
	}
	switch o.output {
	case "json":
		return d.Write(p.stdout)
	case "csv":
		return d.WriteCSV(p.stdout)
	case "patch":
		return d.WritePatch(p.stdout, o.ungated)
	case "kustomize":
		return d.WriteKustomize(p.stdout, o.ungated)
	case "helm":
		return d.WriteHelm(p.stdout, o.ungated)
	case "markdown":
		return d.WriteMarkdown(p.stdout, o.ungated)
	}
	return d.WriteTable(p.stdout)
}

// keeps reports whether a workload is asked for.
func (o *rightsizingOptions) keeps(w *rightsizing.Workload) bool {
	one := func(all []string, is func(string) bool) bool { return len(all) == 0 || slices.ContainsFunc(all, is) }
	return one(o.namespaces, func(v string) bool { return v == w.Namespace }) &&
		one(o.services, func(v string) bool { return slices.Contains(w.Services, v) }) &&
		one(o.verdicts, func(v string) bool { return v == string(w.Verdict) }) &&
		one(o.gates, func(v string) bool { return v == string(w.Gate) })
}

// lookNow asks the cluster and the sources of the SLOs once. It has no memory, so nothing shrinks
// by its word alone.
func (p *process) lookNow(ctx context.Context, o rightsizingOptions) (d sinks.JSONRightsizing, err error) {
	c, err := loadConfig(p, o.file)
	if err != nil {
		return d, err
	}
	parts, err := assemble(c, nil, partOptions{log: p.log})
	if err != nil {
		return d, err
	}
	if len(parts.workloads) == 0 {
		return d, fmt.Errorf("%s: sources: none of type kubernetes: add one such as {name: cluster, type: kubernetes}", o.file)
	}
	engine, err := newEngine(c)
	if err != nil {
		return d, err
	}
	line := pipeline.New(pipeline.Options{Engine: engine, Lanes: parts.lanes})
	now := time.Now()
	bar := newProgress(p.stderr, "asking for the past")
	filling := line.Backfill(ctx, now, func(done, all time.Duration) { bar.set(int64(done/time.Second), int64(all/time.Second)) })
	bar.end()
	if err := ctx.Err(); err != nil {
		return d, err
	}
	if err := line.Tick(ctx, now); err != nil {
		return d, err
	}
	report := *line.Report()
	for _, source := range parts.workloads {
		found, err := source.Collect(ctx, slo.Span{From: now, To: now})
		if err != nil {
			return d, fmt.Errorf("source %s: %w", source.Name(), err)
		}
		report.Workloads = append(report.Workloads, found...)
	}
	judge(c, rightsizing.NewMemory())(&report)
	if filling != nil {
		fmt.Fprintf(p.stderr, "yoyu: not everything was answered, and is not covered:\n%v\n", filling)
	}
	fmt.Fprintln(p.stderr, "yoyu: what may shrink is known by a running yoyu, which has watched for days: ask it with --url")
	return sinks.NewRightsizing(&report, o.keeps)
}

// askRunning asks a running yoyu.
func askRunning(ctx context.Context, o rightsizingOptions) (d sinks.JSONRightsizing, err error) {
	u, err := url.Parse(o.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return d, fmt.Errorf("--url %q: want an address such as http://localhost:9912", o.url)
	}
	u = u.JoinPath("api/v1/rightsizing")
	u.RawQuery = url.Values{"namespace": o.namespaces, "service": o.services, "verdict": o.verdicts, "gate": o.gates}.Encode()
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return d, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return d, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // half an excuse is one
		return d, fmt.Errorf("%s answers %s: %s", u.Redacted(), resp.Status, text)
	}
	if err := json.NewDecoder(resp.Body).Decode(&d); err != nil {
		return d, fmt.Errorf("%s: answer: %w", u.Redacted(), err)
	}
	if d.Time == nil {
		return d, errors.New(u.Redacted() + ": there is no report yet: ask again in a tick")
	}
	return d, nil
}
