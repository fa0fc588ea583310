package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/yoyu-sre/yoyu/internal/backtest"
	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/recorded"
)

func addBacktest(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("backtest", "Replay recorded time: reports of any moment, and every alert that would have fired.")
	var o backtestOptions
	c.Flag("config.file", "Configuration file.").Default("config.yaml").StringVar(&o.file)
	c.Flag("data", "Recording: OpenMetrics text with timestamps, plain or gzip. It stands for every source.").StringVar(&o.data)
	c.Flag("start", "Without --data: from when the Prometheus sources are asked (RFC 3339 or Unix seconds).").StringVar(&o.start)
	c.Flag("end", "Without --data: until when (now when left out).").StringVar(&o.end)
	c.Flag("at", "Print the report of this moment (RFC 3339 or Unix seconds; repeatable).").StringsVar(&o.at)
	c.Flag("slo", "Replay only this SLO (repeatable).").StringsVar(&o.only)
	c.Flag("objective", "With --slo: try this objective, in percent, beside its own.").StringVar(&o.variant.Objective)
	c.Flag("policy", "With --slo: try this alert policy beside its own.").StringVar(&o.variant.Policy)
	c.Flag("period", "With --slo: try this period beside its own.").StringVar(&o.variant.Period)
	c.Flag("output", "How to print.").Short('o').Default("table").EnumVar(&o.output, "table", "json", "markdown", "html")
	return "backtest", func(ctx context.Context) error { return p.backtest(ctx, o) }
}

type backtestOptions struct {
	file, data, start, end, output string
	at, only                       []string
	variant                        config.Variant
}

func (p *process) backtest(ctx context.Context, o backtestOptions) error {
	c, err := loadConfig(p, o.file)
	if err != nil {
		return err
	}
	if err := narrow(c, o.only); err != nil {
		return err
	}
	if err := tryOthers(c, o); err != nil {
		return err
	}
	var at []time.Time
	for _, text := range o.at {
		moment, err := parseMoment(text)
		if err != nil {
			return fmt.Errorf("--at %s: %w", text, err)
		}
		at = append(at, moment)
	}
	run := backtest.Options{Objectives: c.Objectives, Tick: c.Tick, At: at}
	if o.data != "" {
		err = p.recording(&run, c, o.data)
	} else {
		err = p.history(&run, c, o)
	}
	if err != nil {
		return err
	}
	bar := newProgress(p.stderr, "replaying")
	run.Progress = func(done, all int) { bar.set(int64(done), int64(all)) }
	result, err := backtest.Run(ctx, run)
	bar.end()
	if err != nil {
		return err
	}
	return writeBacktest(p.stdout, o.output, result)
}

// recording makes a file the source of everything.
func (p *process) recording(run *backtest.Options, c *config.Config, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	source, err := recorded.Read(f, recorded.Options{Name: "recording", Tick: c.Tick, Questions: questions(c)})
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	why := source.Unanswerable()
	for _, o := range c.Objectives {
		if reason, ok := why[o.Name]; ok {
			fmt.Fprintf(p.stderr, "slo %s: not covered: %s\n", o.Name, reason)
		}
	}
	run.Source, run.Span = source, source.Span()
	return nil
}

// history makes the Prometheus sources' own past the recording.
func (p *process) history(run *backtest.Options, c *config.Config, o backtestOptions) error {
	if o.start == "" {
		return errors.New("backtest: --data names a recording, or --start the beginning of a Prometheus source's history")
	}
	from, err := parseMoment(o.start)
	if err != nil {
		return fmt.Errorf("--start %s: %w", o.start, err)
	}
	to := time.Now()
	if o.end != "" {
		if to, err = parseMoment(o.end); err != nil {
			return fmt.Errorf("--end %s: %w", o.end, err)
		}
	}
	parts, err := assemble(c, nil, partOptions{log: p.log})
	if err != nil {
		return err
	}
	all := &historySources{said: map[string]bool{}, say: func(name string, err error) {
		fmt.Fprintf(p.stderr, "slo %s: not covered: %v\n", name, err)
	}}
	for _, l := range parts.lanes {
		if l.Backfill == 0 {
			for _, name := range l.Objectives {
				fmt.Fprintf(p.stderr, "slo %s: not covered: source %s knows no past\n", name, l.Source.Name())
			}
			continue
		}
		all.all = append(all.all, &historySource{source: l.Source, names: l.Objectives, tick: c.Tick})
	}
	floor := func(t time.Time) time.Time {
		tick := c.Tick.Milliseconds()
		return time.UnixMilli(t.UnixMilli() / tick * tick).UTC()
	}
	run.Source, run.Span = all, slo.Span{From: floor(from), To: floor(to)}
	if run.Span.Empty() {
		return fmt.Errorf("backtest: --end %s is not after --start %s", o.end, o.start)
	}
	for _, one := range all.all {
		one.end = run.Span.To
	}
	return nil
}

func questions(c *config.Config) []sources.Question {
	out := make([]sources.Question, len(c.Questions))
	for i, q := range c.Questions {
		out[i] = q.Question
	}
	return out
}

// tryOthers puts beside every named SLO the same one with another objective, policy or period. Its
// name says what is different.
func tryOthers(c *config.Config, o backtestOptions) error {
	if o.variant == (config.Variant{}) {
		return nil
	}
	if len(o.only) == 0 {
		return errors.New("backtest: --objective, --policy and --period try others for the SLOs that --slo names")
	}
	other := ""
	for _, part := range [][2]string{{"objective", o.variant.Objective}, {"policy", o.variant.Policy}, {"period", o.variant.Period}} {
		if part[1] != "" {
			other += " " + part[0] + "=" + part[1]
		}
	}
	var objectives []slo.Objective
	var asked []config.Question
	for i, own := range c.Objectives {
		variant, err := c.Variant(own.Name, o.variant)
		if err != nil {
			return fmt.Errorf("backtest: slo %s:%s: %w", own.Name, other, err)
		}
		variant.Name = own.Name + other
		question := c.Questions[i]
		question.SLO = variant.Name
		objectives, asked = append(objectives, own, variant), append(asked, c.Questions[i], question)
	}
	c.Objectives, c.Questions = objectives, asked
	return nil
}

// narrow leaves only the SLOs that were named.
func narrow(c *config.Config, only []string) error {
	for _, name := range only {
		if !slices.ContainsFunc(c.Objectives, func(o slo.Objective) bool { return o.Name == name }) {
			return fmt.Errorf("--slo %s: there is no such SLO", name)
		}
	}
	if len(only) == 0 {
		return nil
	}
	var objectives []slo.Objective
	var asked []config.Question
	for i, o := range c.Objectives {
		if slices.Contains(only, o.Name) {
			objectives, asked = append(objectives, o), append(asked, c.Questions[i])
		}
	}
	c.Objectives, c.Questions = objectives, asked
	return nil
}

// parseMoment reads RFC 3339 or Unix seconds.
func parseMoment(text string) (time.Time, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if seconds != seconds || seconds < -6e10 || seconds > 2.5e11 {
			return time.Time{}, errors.New("no moment of this era")
		}
		return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("neither RFC 3339 (2026-01-02T15:04:05Z) nor Unix seconds")
	}
	return t.UTC(), nil
}

func writeBacktest(w io.Writer, output string, result *backtest.Result) error {
	if output == "json" {
		return sinks.WriteJSON(w, result.Reports, jsonAlerts(result.Alerts))
	}
	write := sinks.WriteTable
	switch output {
	case "markdown":
		write = sinks.WriteMarkdown
	case "html":
		write = sinks.WriteHTML
	}
	for _, r := range result.Reports {
		if err := write(w, r); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return writeAlerts(w, output, result.Alerts)
}

// writeAlerts lists the alerts for people.
func writeAlerts(w io.Writer, output string, alerts []backtest.Alert) error {
	rows := [][]string{{"SLO", "SEVERITY", "PAIR", "BEGAN", "FIRED", "AFTER", "ENDED", "BUDGET GONE"}}
	for _, a := range alerts {
		end := "still firing"
		if !a.End.IsZero() {
			end = a.End.UTC().Format(time.RFC3339)
		}
		rows = append(rows, []string{
			title(a.SLO, a.Labels), a.Severity, slo.FormatDuration(a.Long) + "/" + slo.FormatDuration(a.Short),
			a.Began.UTC().Format(time.RFC3339), a.Start.UTC().Format(time.RFC3339),
			slo.FormatDuration(a.Start.Sub(a.Began)), end, fmt.Sprintf("%.1f %%", 100*a.Spent),
		})
	}
	if len(alerts) == 0 {
		_, err := fmt.Fprintln(w, "No alert would have fired.")
		return err
	}
	return writeRows(w, output, rows)
}

func title(name string, labels map[string]string) string {
	if len(labels) == 0 {
		return name
	}
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		keys[i] = k + "=" + labels[k]
	}
	return name + "{" + strings.Join(keys, ",") + "}"
}

func jsonAlerts(alerts []backtest.Alert) []sinks.JSONAlert {
	out := make([]sinks.JSONAlert, 0, len(alerts))
	for _, a := range alerts {
		began, start := a.Began.UTC(), a.Start.UTC()
		one := sinks.JSONAlert{
			SLO: a.SLO, Labels: a.Labels, Severity: a.Severity,
			Long: slo.FormatDuration(a.Long), Short: slo.FormatDuration(a.Short),
			Began: &began, Start: &start,
			DetectionSeconds: sinks.Number(slo.Defined(a.Start.Sub(a.Began).Seconds())),
			BudgetSpentRatio: sinks.Number(slo.Defined(a.Spent)),
		}
		if !a.End.IsZero() {
			end := a.End.UTC()
			one.End = &end
		}
		out = append(out, one)
	}
	return out
}

// historySources ask several sources as one. A question, or a whole source, that fails costs its
// own coverage and nothing else, and is said once.
type historySources struct {
	all  []*historySource
	say  func(name string, err error)
	said map[string]bool
}

// historySource answers ticks from pieces of the past that are asked for whole: a request for
// every tick of a month would be forty thousand requests.
type historySource struct {
	source sources.Source[slo.Sample]
	names  []string
	tick   time.Duration
	end    time.Time // of the history
	asked  slo.Span
	pieces map[string]slo.Sample
}

// Name is what messages call them.
func (h *historySources) Name() string { return "history" }

// Collect asks each source for the piece that holds the span, once, and cuts the span out of it.
func (h *historySources) Collect(ctx context.Context, span slo.Span, _ ...string) ([]slo.Sample, error) {
	var out []slo.Sample
	for _, one := range h.all {
		if span.From.Before(one.asked.From) || span.To.After(one.asked.To) {
			if err := h.next(ctx, one, span.From); err != nil {
				return nil, err
			}
		}
		for _, name := range one.names {
			if piece, ok := one.pieces[name]; ok {
				out = append(out, cut(piece, span))
			} else { // not answered: nothing is known of it
				out = append(out, slo.Sample{SLO: name, Span: span})
			}
		}
	}
	return out, nil
}

// next asks a source for the piece that begins at a moment. It fails only when ctx ends.
func (h *historySources) next(ctx context.Context, one *historySource, from time.Time) error {
	one.asked = slo.Span{From: from, To: earlier(from.Add(max(4*time.Hour/one.tick, 1)*one.tick), one.end)}
	one.pieces = map[string]slo.Sample{}
	got, err := one.source.Collect(ctx, one.asked, one.names...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		for _, name := range one.names {
			h.fail(name, err)
		}
		return nil
	}
	for _, s := range got {
		if s.Err != nil {
			h.fail(s.SLO, s.Err)
			continue
		}
		if s.Note != "" {
			h.fail(s.SLO, errors.New(s.Note))
		}
		one.pieces[s.SLO] = s
	}
	return nil
}

func (h *historySources) fail(name string, err error) {
	if key := name + err.Error(); !h.said[key] {
		h.said[key] = true
		h.say(name, err)
	}
}

// cut is the part of an answer that belongs to a span.
func cut(s slo.Sample, span slo.Span) slo.Sample {
	out := s
	out.Span, out.Covered, out.Groups = span, nil, nil
	if out.Newest.After(span.To) {
		out.Newest = span.To
	}
	for _, c := range s.Covered {
		part := slo.Span{From: later(c.From, span.From), To: earlier(c.To, span.To)}
		if !part.Empty() {
			out.Covered = append(out.Covered, part)
		}
	}
	for _, g := range s.Groups {
		part := slo.GroupSample{Labels: g.Labels}
		for _, inc := range g.Increments {
			if span.Holds(inc.At) {
				part.Increments = append(part.Increments, inc)
			}
		}
		for _, sp := range g.Spreads {
			if span.Holds(sp.To) {
				part.Spreads = append(part.Spreads, sp)
			}
		}
		if len(part.Increments)+len(part.Spreads) > 0 {
			out.Groups = append(out.Groups, part)
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
