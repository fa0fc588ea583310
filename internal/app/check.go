package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources/kubernetes"
)

func addCheck(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("check", "Check configuration files; every fault with file, line, what is wrong and what would be right.")
	files := c.Arg("file", "Configuration files.").Required().Strings()
	live := c.Flag("live", "Ask the sources too: does the metric exist, is bad within total, how much will be asked for.").Bool()
	output := c.Flag("output", "How to print: text, or annotations for a pull request.").Short('o').Default("text").Enum("text", "github")
	return "check", func(ctx context.Context) error { return p.check(ctx, *files, *live, *output == "github") }
}

// liveFinding is what a source said about one SLO.
type liveFinding struct {
	slo   string
	fault bool // it cannot count as configured
	text  string
}

func (p *process) check(ctx context.Context, files []string, live, github bool) error {
	say := func(f config.Fault) {
		if github {
			fmt.Fprintln(p.stdout, f.GitHub())
			return
		}
		fmt.Fprintln(p.stdout, f.Error())
	}
	bad := false
	for _, file := range files {
		c, loading := config.Load(file)
		parts, making := assemble(c, nil, partOptions{log: p.log, dry: true})
		err := errors.Join(loading, making)
		faults := config.FaultsOf(err)
		for _, f := range slices.Concat(faults, c.Warnings, twoRoutes(c)) {
			say(f)
		}
		if len(faults) == 0 && err != nil { // a part that cannot be made, and does not know its line
			say(config.Fault{File: file, Problem: err.Error()})
		}
		if len(faults) > 0 || err != nil {
			bad = true
			continue
		}
		fmt.Fprintf(p.stderr, "%s: %d SLOs, %d sources, %d sinks: good\n", file, len(c.Objectives), len(c.Sources), len(c.Sinks))
		if live {
			bad = p.live(ctx, c, parts, github, say) || bad
		}
	}
	if bad {
		return exit(exitFault)
	}
	return nil
}

// live asks every source about its SLOs, and says how many series each SLO will publish. What
// cannot be counted as configured is a fault with its place, as any other; annotations are of
// faults only.
func (p *process) live(ctx context.Context, c *config.Config, parts *assembled, github bool, say func(config.Fault)) (bad bool) {
	good := p.stdout
	if github {
		good = io.Discard
	}
	for _, from := range c.Sources {
		one := parts.counters[from.Name]
		if one == nil || one.live == nil {
			continue
		}
		ask, stop := context.WithTimeout(ctx, time.Minute)
		found, err := one.live(ask)
		stop()
		if err != nil {
			for _, f := range from.Faults(err) {
				say(f)
			}
			bad = true
		}
		for _, f := range found {
			if f.fault {
				say(c.Fault(f.slo, "indicator", f.text, ""))
				bad = true
				continue
			}
			fmt.Fprintf(good, "slo %s: source %s: %s\n", f.slo, from.Name, f.text)
		}
	}
	for _, from := range c.Sources {
		if clusterTypes[from.Type] != nil {
			bad = p.liveCluster(ctx, from, good, say) || bad
		}
	}
	for i := range c.Objectives {
		o := &c.Objectives[i]
		once, each := published(o, c.Series)
		if len(o.GroupBy) == 0 {
			fmt.Fprintf(good, "slo %s: publishes %d series\n", o.Name, once+each)
			continue
		}
		groups := "however many there are"
		if o.GroupLimit > 0 {
			groups = fmt.Sprintf("of which there are at most %d", o.GroupLimit+1)
		}
		fmt.Fprintf(good, "slo %s: publishes %d series, and %d for each group, %s\n", o.Name, once, each, groups)
	}
	return bad
}

// liveCluster asks one cluster what it lacks. What yoyu can go on without is told, and no fault.
func (p *process) liveCluster(ctx context.Context, from config.Source, good io.Writer, say func(config.Fault)) (bad bool) {
	fault := func(err error) {
		for _, f := range from.Faults(err) {
			say(f)
		}
		bad = true
	}
	source, err := clusterTypes[from.Type](from, partOptions{log: p.log})
	if err != nil {
		fault(err)
		return bad
	}
	asked, ok := source.(interface {
		Live(context.Context) ([]kubernetes.Check, error)
	})
	if !ok {
		return false
	}
	ask, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	found, err := asked.Live(ask)
	for _, one := range found {
		if one.Fault {
			fault(errors.New(one.Text))
			continue
		}
		fmt.Fprintf(good, "source %s: %s\n", from.Name, one.Text)
	}
	if err != nil {
		fault(err)
	}
	return bad
}

// published is how many series an SLO publishes once and for each of its groups, with every value
// defined, by what series of the configuration chooses: counted by the vocabulary itself.
func published(o *slo.Objective, selection sinks.Selection) (once, each int) {
	engine, err := slo.NewEngine(time.Minute)
	if err != nil {
		return 0, 0
	}
	one := *o
	one.GroupBy, one.Budgeting = nil, slo.Budgeting{}
	engine.Set([]slo.Objective{one})
	at := time.Unix(0, 0).Add(400 * slo.Day)
	span := slo.Span{From: at.Add(-time.Minute), To: at}
	if engine.Observe(slo.Sample{
		SLO: o.Name, Span: span, Covered: []slo.Span{span}, Newest: at,
		Groups: []slo.GroupSample{{Increments: []slo.Increment{{At: at, Total: 1, Bad: 1}}}},
	}) != nil {
		return 0, 0
	}
	r := sinks.Report{Time: at, SLOs: engine.Evaluate(at.Add(one.Delay))}
	for p := range r.Points(selection) {
		if p.Family.Scope == sinks.PerSLO {
			once++
		} else {
			each++
		}
	}
	return once, each
}
