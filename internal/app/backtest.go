package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/yoyu-sre/yoyu/internal/backtest"
	"github.com/yoyu-sre/yoyu/internal/config"
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
	c.Flag("objective", "With --slo: try this objective, in percent, beside its own (repeatable: every combination is tried).").StringsVar(&o.objectives)
	c.Flag("policy", "With --slo: try this alert policy beside its own (repeatable).").StringsVar(&o.policies)
	c.Flag("period", "With --slo: try this period beside its own (repeatable).").StringsVar(&o.periods)
	c.Flag("summary", "Say of every SLO what it did over all of it, as beside what is tried.").BoolVar(&o.summary)
	c.Flag("output", "How to print.").Short('o').Default("table").EnumVar(&o.output, "table", "json", "markdown", "html")
	return "backtest", func(ctx context.Context) error { return p.backtest(ctx, o) }
}

type backtestOptions struct {
	file, data, start, end, output string
	at, only                       []string
	objectives, policies, periods  []string
	summary                        bool
}

func (p *process) backtest(ctx context.Context, o backtestOptions) error {
	c, err := loadConfig(p, o.file)
	if err != nil {
		return err
	}
	if err := narrow(c, o.only); err != nil {
		return err
	}
	trial, err := tryOthers(c, o)
	if err != nil {
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
	run := backtest.Options{Objectives: trial.objectives, Tick: c.Tick, At: at, As: trial.as}
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
	return writeBacktest(p.stdout, o, result, trial)
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
	for _, o := range c.Objectives { // what shares an answer shares its lack
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
