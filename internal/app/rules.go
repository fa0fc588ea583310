package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/rules"
	"github.com/yoyu-sre/yoyu/slo"
)

func addRules(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("rules", "Write alerting rules for Prometheus over yoyu's own series, or with --standalone over the raw metrics, and unit tests for them.")
	o := rulesOptions{object: rules.Object{Labels: map[string]string{}}}
	c.Flag("config.file", "Configuration file.").Default("config.yaml").StringVar(&o.file)
	c.Flag("generic", "Read no configuration: rules that fit any whose alert policies write no labels and whose SLOs are not grouped by team, tier or pod.").BoolVar(&o.generic)
	c.Flag("output", "What to write: a file of rules, the same as an object for the Prometheus operator, or the inhibit rules for alertmanager.yml.").
		Short('o').Default("rules").EnumVar(&o.output, "rules", "prometheusrule", "inhibit")
	c.Flag("standalone", "Record and alert over the raw metrics, for a Prometheus without yoyu. Exit 4 when an SLO cannot be said so in full: stderr says which, and why.").BoolVar(&o.standalone)
	c.Flag("source", "Write only the SLOs of this source (repeatable; --standalone).").StringsVar(&o.sources)
	c.Flag("keep-firing-for", "How long an alert about a burn rate outlives its condition, so that a restart of yoyu resolves no page; 0s: not at all.").Default(slo.FormatDuration(rules.DefaultKeep)).DurationVar(&o.keep)
	c.Flag("tests", "Write unit tests for promtool in place of the rules.").BoolVar(&o.tests)
	c.Flag("rules-file", "How the unit tests find the file of rules.").Default(rulesFile).StringVar(&o.rulesFile)
	c.Flag("output-dir", "Folder to write the rules ("+rulesFile+") and their unit tests ("+testsFile+") into; left out, the one asked for goes to stdout.").StringVar(&o.dir)
	c.Flag("name", "metadata.name of the PrometheusRule.").Default("yoyu").StringVar(&o.object.Name)
	c.Flag("namespace", "metadata.namespace of the PrometheusRule.").StringVar(&o.object.Namespace)
	c.Flag("label", "Label of the PrometheusRule, as the operator's ruleSelector wants it: release=prometheus (repeatable).").StringMapVar(&o.object.Labels)
	return "rules", func(context.Context) error { return p.rules(o) }
}

// The names of the files in --output-dir.
const (
	rulesFile = "yoyu.yml"
	testsFile = "yoyu_test.yml"
)

type rulesOptions struct {
	file, output, rulesFile, dir string
	generic, standalone, tests   bool
	sources                      []string
	keep                         time.Duration
	object                       rules.Object
}

func (o rulesOptions) check() error {
	switch {
	case o.generic && o.standalone:
		return errors.New("--standalone: wants a configuration: leave --generic out")
	case len(o.sources) > 0 && !o.standalone:
		return errors.New("--source: is for --standalone: yoyu's own series are all in one place")
	case o.keep < 0:
		return fmt.Errorf("--keep-firing-for %s: is negative", o.keep)
	case o.output != "rules" && o.tests:
		return fmt.Errorf("--tests: promtool reads files of rules, leave -o %s out", o.output)
	case o.output != "rules" && o.dir != "":
		return fmt.Errorf("--output-dir: is for files of rules, leave -o %s out", o.output)
	}
	return nil
}

func (p *process) rules(o rulesOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	var of rules.Options
	if !o.generic {
		c, err := loadConfig(p, o.file)
		if err != nil {
			return err
		}
		if of, err = ruled(c, o.sources); err != nil {
			return err
		}
		if o.standalone {
			p.severalSources(c, o.sources)
		}
	}
	of.Keep = o.keep
	if o.output == "inhibit" {
		_, err := p.stdout.Write(rules.Inhibit(of))
		return err
	}
	var file *rules.File
	var gaps []rules.Gap
	if o.standalone {
		file, gaps = rules.Standalone(of)
	} else {
		var err error
		if file, err = rules.Alerts(of); err != nil {
			return err
		}
	}
	if err := p.writeRules(file, o); err != nil {
		return err
	}
	short := false
	for _, g := range gaps {
		fmt.Fprintln(p.stderr, g)
		short = short || !g.Note
	}
	if short {
		return exit(exitShort)
	}
	return nil
}

// ruled are the SLOs of a configuration as rules need them: those of some sources, or all.
func ruled(c *config.Config, sources []string) (rules.Options, error) {
	for _, name := range sources {
		if !slices.ContainsFunc(c.Sources, func(s config.Source) bool { return s.Name == name }) {
			return rules.Options{}, fmt.Errorf("--source %s: there is no such source", name)
		}
	}
	out := rules.Options{Tick: c.Tick}
	for i := range c.Objectives {
		if len(sources) > 0 && !slices.Contains(sources, c.Questions[i].Source) {
			continue
		}
		out.SLOs = append(out.SLOs, rules.SLO{Objective: &c.Objectives[i], Indicator: c.Questions[i].Indicator})
	}
	if len(out.SLOs) == 0 {
		return out, errors.New("there are no SLOs to write rules for")
	}
	return out, nil
}

// severalSources says that rules over raw metrics belong where these are.
func (p *process) severalSources(c *config.Config, only []string) {
	var names []string
	for _, q := range c.Questions {
		if !slices.Contains(names, q.Source) && (len(only) == 0 || slices.Contains(only, q.Source)) {
			names = append(names, q.Source)
		}
	}
	if len(names) > 1 {
		fmt.Fprintf(p.stderr, "the SLOs ask %s: each Prometheus wants the rules over its own metrics, --source chooses them\n", strings.Join(names, ", "))
	}
}

func (p *process) writeRules(f *rules.File, o rulesOptions) error {
	if o.dir == "" {
		var text []byte
		var err error
		switch {
		case o.tests:
			p.untested(f)
			text, err = f.Tests(o.rulesFile)
		case o.output == "prometheusrule":
			text, err = f.PrometheusRule(o.object)
		default:
			text, err = f.YAML()
		}
		if err != nil {
			return err
		}
		_, err = p.stdout.Write(text)
		return err
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	one, err := f.YAML()
	if err != nil {
		return err
	}
	two, err := f.Tests(rulesFile)
	if err != nil {
		return err
	}
	p.untested(f)
	for _, file := range []struct {
		name string
		text []byte
	}{{rulesFile, one}, {testsFile, two}} {
		at := filepath.Join(o.dir, file.name)
		if err := os.WriteFile(at, file.text, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "%s is written\n", at)
	}
	return nil
}

func (p *process) untested(f *rules.File) {
	for _, s := range f.Untested() {
		fmt.Fprintf(p.stderr, "no unit test: %s\n", s)
	}
}
