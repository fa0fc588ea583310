package app

import (
	"context"
	"fmt"
	"html"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
)

func addReport(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("report", "Fill the windows from the sources' history, print, and exit 3 when a budget is spent.")
	file := c.Flag("config.file", "Configuration file.").Default("config.yaml").String()
	output := c.Flag("output", "How to print.").Short('o').Default("table").Enum("table", "json", "markdown", "html")
	only := c.Flag("slo", "Report only this SLO (repeatable).").Strings()
	return "report", func(ctx context.Context) error { return p.report(ctx, *file, *output, *only) }
}

func (p *process) report(ctx context.Context, file, output string, only []string) error {
	c, err := loadConfig(p, file)
	if err != nil {
		return err
	}
	if err := narrow(c, only); err != nil {
		return err
	}
	parts, err := assemble(c, nil, partOptions{log: p.log})
	if err != nil {
		return err
	}
	engine, err := newEngine(c)
	if err != nil {
		return err
	}
	// Written by nobody: the report goes to stdout alone.
	line := pipeline.New(pipeline.Options{Engine: engine, Lanes: parts.lanes, Workloads: parts.workloads, Judge: judge(c, rightsizing.NewMemory())})
	now := time.Now()
	bar := newProgress(p.stderr, "asking for the past")
	filling := line.Backfill(ctx, now, func(done, all time.Duration) { bar.set(int64(done/time.Second), int64(all/time.Second)) })
	bar.end()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := line.Tick(ctx, now); err != nil {
		return err
	}
	r := line.Report()
	switch output {
	case "json":
		err = sinks.WriteJSON(p.stdout, []*sinks.Report{r}, nil)
	case "markdown":
		err = sinks.WriteMarkdown(p.stdout, r)
	case "html":
		err = sinks.WriteHTML(p.stdout, r)
	default:
		err = sinks.WriteTable(p.stdout, r)
	}
	if err != nil {
		return err
	}
	spent := false
	for i := range r.SLOs {
		spent = spent || r.SLOs[i].Spent()
	}
	if filling != nil { // what could be answered was printed; a spent budget is said first
		fmt.Fprintf(p.stderr, "yoyu: not everything was answered, and is not covered:\n%v\n", filling)
	}
	switch {
	case spent:
		return exit(exitSpent)
	case filling != nil:
		return exit(exitFault)
	}
	return nil
}

// progress is a bar on a terminal, and nothing anywhere else.
type progress struct {
	bar *progressbar.ProgressBar
}

func newProgress(w io.Writer, what string) *progress {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &progress{}
	}
	return &progress{progressbar.NewOptions64(1, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true))}
}

func (p *progress) set(done, all int64) {
	if p.bar != nil && all > 0 {
		p.bar.ChangeMax64(all)
		_ = p.bar.Set64(min(done, all-1)) // a terminal that went away is no reason to stop
	}
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// writeRows prints a table, its first row the heading.
func writeRows(w io.Writer, output string, rows [][]string) error {
	if output == "markdown" {
		for i, row := range rows {
			for j := range row {
				row[j] = strings.ReplaceAll(row[j], "|", "\\|")
			}
			fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(row)))
			}
		}
		return nil
	}
	if output == "html" {
		fmt.Fprintln(w, "<table>")
		for i, row := range rows {
			cell := "td"
			if i == 0 {
				cell = "th"
			}
			fmt.Fprint(w, "<tr>")
			for _, text := range row {
				fmt.Fprintf(w, "<%s>%s</%s>", cell, html.EscapeString(text), cell)
			}
			fmt.Fprintln(w, "</tr>")
		}
		_, err := fmt.Fprintln(w, "</table>")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}
