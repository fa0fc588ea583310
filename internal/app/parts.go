package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	sinkalertmanager "github.com/yoyu-sre/yoyu/sinks/alertmanager"
	sinkdatadog "github.com/yoyu-sre/yoyu/sinks/datadog"
	"github.com/yoyu-sre/yoyu/sinks/remotewrite"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/cloudwatch"
	sourcedatadog "github.com/yoyu-sre/yoyu/sources/datadog"
	"github.com/yoyu-sre/yoyu/sources/kubernetes"
	"github.com/yoyu-sre/yoyu/sources/promapi"
	"github.com/yoyu-sre/yoyu/sources/scrape"
)

// counting makes a source that counts, of one type. It decodes the type's own fields; with a nil
// list of questions it only checks them.
type counting func(from config.Source, o partOptions) (*counter, error)

// counter is a source that counts, as the pipeline and the commands need it.
type counter struct {
	source   sources.Source[slo.Sample]
	backfill time.Duration // how far back it can be asked; 0: it knows no past
	live     func(ctx context.Context) ([]liveFinding, error)
	oldest   func(ctx context.Context) (time.Time, error) // nil: nobody can say
	follow   func(ctx context.Context) (wait func())      // keeps up with what it finds its targets by; nil: it finds none
}

// partOptions are what every part is made with.
type partOptions struct {
	tick      time.Duration
	questions []sources.Question
	log       *slog.Logger
	failed    func(source string, err error)
	dropped   func(sink, reason string, points int)
	published func(sink string, series int)
	progress  map[string]slo.Progress // what sources remembered before a restart, by SLO
	keep      bool                    // answers carry what their source remembers, to be kept
	dry       bool                    // only check: what yoyu runs on, such as a cluster, need not be here
	external  *url.URL                // where people reach yoyu; nil: nobody said
}

// The tables of names and constructors.
var (
	countingTypes = map[string]counting{
		"cloudwatch": newCloudWatch,
		"datadog":    newDatadogSource,
		"prometheus": newPrometheus,
		"scrape":     newScrape,
	}
	clusterTypes = map[string]func(config.Source, partOptions) (sources.Source[rightsizing.Workload], error){
		"kubernetes": newKubernetes,
	}
	sinkTypes = map[string]func(config.Sink, *config.Config, partOptions) (sinks.Sink, error){
		"alertmanager": newAlertmanager,
		"datadog":      newDatadog,
		"remote_write": newRemoteWrite,
	}
)

func newScrape(from config.Source, o partOptions) (*counter, error) {
	c := scrape.DefaultConfig()
	if err := from.Decode(&c); err != nil {
		return nil, err
	}
	var pods *kubernetes.Pods
	var found func(context.Context) ([]string, error)
	if d := c.Kubernetes; d != nil {
		which := kubernetes.PodsConfig{Kubeconfig: d.Kubeconfig, Context: d.Context, Namespaces: d.Namespaces, Selector: d.Selector, Port: d.Port}
		if err := which.Validate(); err != nil {
			return nil, fmt.Errorf("kubernetes: %w", err)
		}
		if o.dry { // the cluster is looked for when somebody asks: check --live
			found = func(ctx context.Context) ([]string, error) {
				pods, err := kubernetes.NewPods(which, nil)
				if err != nil {
					return nil, err
				}
				return pods.Addresses(ctx)
			}
		} else {
			var err error
			if pods, err = kubernetes.NewPods(which, nil); err != nil {
				return nil, fmt.Errorf("kubernetes: %w", err)
			}
			found = pods.Addresses
		}
	}
	s, err := scrape.New(scrape.Options{
		Pods: found,
		Name: from.Name, Config: c, Tick: o.tick, Questions: o.questions, Logger: o.log,
		Keep: o.keep, Progress: o.progress,
		Failed: func(f *scrape.Failure) {
			if o.failed != nil {
				o.failed(from.Name, f)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	var follow func(context.Context) func()
	if pods != nil {
		follow = pods.Follow
	}
	return &counter{source: s, follow: follow, live: func(ctx context.Context) ([]liveFinding, error) {
		checks, err := s.Live(ctx, time.Now())
		out := make([]liveFinding, 0, len(checks))
		for _, one := range checks {
			out = append(out, liveFinding{slo: one.SLO, fault: one.Fault(), text: one.Text()})
		}
		return out, err
	}}, nil
}

func newKubernetes(from config.Source, o partOptions) (sources.Source[rightsizing.Workload], error) {
	var c kubernetes.Config
	if err := from.Decode(&c); err != nil || o.dry {
		return nil, err
	}
	return kubernetes.New(kubernetes.Options{Name: from.Name, Config: c, Logger: o.log})
}

func newDatadog(from config.Sink, c *config.Config, o partOptions) (sinks.Sink, error) {
	settings := sinkdatadog.DefaultConfig()
	if err := from.Decode(&settings); err != nil {
		return nil, err
	}
	if err := sinkdatadog.Ambiguous(c.Objectives); err != nil {
		return nil, err
	}
	options := sinkdatadog.Options{Name: from.Name, Config: settings, ExternalLabels: c.ExternalLabels, Env: os.Getenv("DD_ENV"), Logger: o.log}
	if o.dropped != nil {
		options.Dropped = func(reason string, points int) { o.dropped(from.Name, reason, points) }
	}
	if o.published != nil {
		options.Counted = func(series int) { o.published(from.Name, series) }
	}
	return sinkdatadog.New(options)
}

func newAlertmanager(from config.Sink, c *config.Config, o partOptions) (sinks.Sink, error) {
	settings := sinkalertmanager.DefaultConfig()
	if err := from.Decode(&settings); err != nil {
		return nil, err
	}
	return sinkalertmanager.New(sinkalertmanager.Options{
		Name: from.Name, Config: settings, ExternalLabels: c.ExternalLabels, ExternalURL: o.external, Logger: o.log,
	})
}

func newRemoteWrite(from config.Sink, c *config.Config, o partOptions) (sinks.Sink, error) {
	settings := remotewrite.DefaultConfig()
	if err := from.Decode(&settings); err != nil {
		return nil, err
	}
	options := remotewrite.Options{Name: from.Name, Config: settings, ExternalLabels: c.ExternalLabels, Selection: c.Series, Logger: o.log}
	if o.dropped != nil {
		options.Dropped = func(reason string, samples int) { o.dropped(from.Name, reason, samples) }
	}
	if o.published != nil {
		options.Counted = func(series int) { o.published(from.Name, series) }
	}
	return remotewrite.New(options)
}

// parts are the outside systems of one configuration.
type parts struct {
	lanes     []pipeline.Lane
	counters  map[string]*counter
	workloads []sources.Source[rightsizing.Workload]
	sinks     []sinks.Sink
}

// assemble makes every part of a configuration. Parts of old that did not change are kept, with
// what they remember. Every fault is reported, with its place in the file.
func assemble(c *config.Config, old *assembled, o partOptions) (*assembled, error) {
	o.tick = c.Tick
	out := &assembled{made: map[string]made{}}
	out.counters = map[string]*counter{}
	var faults []error
	for _, from := range c.Sources {
		switch {
		case countingTypes[from.Type] != nil:
			var names []string
			o.questions = nil
			for i, q := range c.Questions {
				if q.Source == from.Name {
					names, o.questions = append(names, c.Objectives[i].Name), append(o.questions, q.Question)
				}
			}
			text := fmt.Sprintf("%s %s %s %+v", from.Type, from.Text(), c.Tick, o.questions)
			m, ok := old.find(from.Name, text)
			if !ok {
				one, err := countingTypes[from.Type](from, o)
				if err != nil {
					faults = append(faults, placed(from, err))
					continue
				}
				m = made{text: text, counter: one}
			}
			out.made[from.Name] = m
			out.counters[from.Name] = m.counter
			if len(names) > 0 {
				out.lanes = append(out.lanes, pipeline.Lane{
					Source: m.counter.source, Objectives: names, Delay: from.Delay, Backfill: m.counter.backfill,
				})
			}
		case clusterTypes[from.Type] != nil:
			one, err := clusterTypes[from.Type](from, o)
			if err != nil {
				faults = append(faults, placed(from, err))
				continue
			}
			if from.Name == c.Rightsizing.Source { // one cluster at a time: two would name the same workloads
				out.workloads = append(out.workloads, one)
			}
		}
	}
	for _, from := range c.Sinks {
		text := fmt.Sprintf("%s %s %v", from.Type, from.Text(), c.ExternalLabels)
		if from.Type == "remote_write" {
			text += fmt.Sprintf(" %v", c.Series) // it sends what is on /metrics
		}
		m, ok := old.find("sink "+from.Name, text)
		if !ok {
			one, err := sinkTypes[from.Type](from, c, o)
			if err != nil {
				faults = append(faults, placed(from, err))
				continue
			}
			m = made{text: text, sink: one}
		}
		out.made["sink "+from.Name] = m
		out.sinks = append(out.sinks, m.sink)
	}
	return out, errors.Join(faults...)
}

// assembled are parts with what they were made from.
type assembled struct {
	parts
	made map[string]made
}

type made struct {
	text    string
	counter *counter
	sink    sinks.Sink // what it told whom is kept, too
}

func (a *assembled) find(name, text string) (made, bool) {
	if a == nil {
		return made{}, false
	}
	m, ok := a.made[name]
	return m, ok && m.text == text
}

// placed gives the faults of a part the place of the part in the file, unless they know their own.
func placed(from interface{ Faults(err error) config.Faults }, err error) error {
	var faults config.Faults
	if errors.As(err, &faults) {
		return err
	}
	return from.Faults(err)
}

// newEngine makes an engine for a configuration's objectives.
func newEngine(c *config.Config) (*slo.Engine, error) {
	e, err := slo.NewEngine(c.Tick)
	if err != nil {
		return nil, err
	}
	e.Set(c.Objectives)
	return e, nil
}

// newPrometheus makes a source that asks a Prometheus-compatible server.
func newPrometheus(from config.Source, o partOptions) (*counter, error) {
	c := promapi.DefaultConfig()
	if err := from.Decode(&c); err != nil {
		return nil, err
	}
	s, err := promapi.New(promapi.Options{Name: from.Name, Config: c, Tick: o.tick, Questions: o.questions, Logger: o.log})
	if err != nil {
		return nil, err
	}
	return &counter{
		source: s, backfill: time.Duration(c.Limits.Backfill), oldest: s.Oldest,
		live: func(ctx context.Context) ([]liveFinding, error) {
			checks, err := s.Live(ctx)
			out := make([]liveFinding, 0, len(checks))
			for _, one := range checks {
				out = append(out, finding(one))
			}
			return out, err
		},
	}, nil
}

// newDatadogSource makes a source that asks Datadog for what it has counted.
func newDatadogSource(from config.Source, o partOptions) (*counter, error) {
	c := sourcedatadog.DefaultConfig()
	if err := from.Decode(&c); err != nil {
		return nil, err
	}
	s, err := sourcedatadog.New(sourcedatadog.Options{Name: from.Name, Config: c, Tick: o.tick, Questions: o.questions, Logger: o.log})
	if err != nil {
		return nil, err
	}
	return &counter{source: s, backfill: time.Duration(c.Limits.Backfill), live: func(ctx context.Context) ([]liveFinding, error) {
		checks, err := s.Live(ctx, time.Now().Add(-from.Delay))
		out := make([]liveFinding, 0, len(checks))
		for _, one := range checks {
			out = append(out, liveFinding{slo: one.SLO, fault: one.Fault(), text: one.Text()})
		}
		return out, err
	}}, nil
}

// newCloudWatch makes a source that asks CloudWatch for what it has counted.
func newCloudWatch(from config.Source, o partOptions) (*counter, error) {
	c := cloudwatch.DefaultConfig()
	if err := from.Decode(&c); err != nil {
		return nil, err
	}
	s, err := cloudwatch.New(cloudwatch.Options{Name: from.Name, Config: c, Tick: o.tick, Questions: o.questions, Logger: o.log})
	if err != nil {
		return nil, err
	}
	return &counter{source: s, backfill: time.Duration(c.Limits.Backfill), live: func(ctx context.Context) ([]liveFinding, error) {
		checks, err := s.Live(ctx, time.Now().Add(-from.Delay))
		out := make([]liveFinding, 0, len(checks))
		for _, one := range checks {
			out = append(out, liveFinding{slo: one.SLO, fault: one.Fault(), text: one.Text()})
		}
		return out, err
	}}, nil
}

// finding is what a Prometheus said about one SLO, in a sentence.
func finding(c promapi.Check) liveFinding {
	return liveFinding{slo: c.SLO, fault: c.Fault(), text: c.Text()}
}
