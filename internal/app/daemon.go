package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/compatibility"
	sinkprom "github.com/yoyu-sre/yoyu/sinks/prom"
	"github.com/yoyu-sre/yoyu/slo"
)

// serving is the flags that run and demo share.
type serving struct {
	web         *toolkit.FlagConfig
	externalURL string
	prefix      string
	lifecycle   bool
	reloaders   []string
	profiles    bool
	storage     string
	corruption  string
	look        time.Duration // how often the configuration's files are looked at; 0: never
}

func (s *serving) flags(c *kingpin.CmdClause, storage string) {
	s.web = kingpinflag.AddFlags(c, ":9912")
	c.Flag("web.external-url", "Address under which others reach yoyu, for links; its path is the route prefix.").StringVar(&s.externalURL)
	c.Flag("web.route-prefix", "Prefix of every route; the path of --web.external-url when left out.").StringVar(&s.prefix)
	c.Flag("web.enable-lifecycle", "Allow POST /-/reload.").BoolVar(&s.lifecycle)
	c.Flag("web.lifecycle-user", "One of basic_auth_users of --web.config.file who may reload, repeatable; left out, whoever may see may reload.").StringsVar(&s.reloaders)
	c.Flag("web.enable-pprof", "Answer under /debug/pprof/, to whoever may see.").BoolVar(&s.profiles)
	c.Flag("storage.path", "Folder for what must survive a restart.").Default(storage).StringVar(&s.storage)
	c.Flag("storage.on-corruption", "What to do with a damaged state file: refuse to start, or move it aside (quarantine) and fill the windows again.").Default("refuse").EnumVar(&s.corruption, "refuse", "quarantine")
}

func addRun(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("run", "Run the daemon (the default).").Default()
	file := c.Flag("config.file", "Configuration file.").Default("config.yaml").String()
	var s serving
	s.flags(c, "data/")
	c.Flag("config.auto-reload-interval", "How often the configuration's files are looked at; when they have changed they are read again. 0: only on SIGHUP and /-/reload.").
		Default("30s").DurationVar(&s.look)
	return "run", func(ctx context.Context) error {
		if s.look < 0 {
			return fmt.Errorf("--config.auto-reload-interval=%s: must not be negative; 0 turns it off", s.look)
		}
		d, err := newDaemon(p, s, func() (*config.Config, error) { return loadConfig(p, *file) })
		if err != nil {
			return err
		}
		return d.run(ctx)
	}
}

// loadConfig reads a configuration and says all that is wrong with it.
func loadConfig(p *process, file string) (*config.Config, error) {
	c, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	for _, w := range slices.Concat(c.Warnings, twoRoutes(c)) {
		p.log.Warn(w.Error())
	}
	p.warnEphemeral(c)
	return c, nil
}

// daemon is the running process: one engine, and the parts of the present configuration.
type daemon struct {
	*process
	serving
	load func() (*config.Config, error)

	registry *prometheus.Registry
	metrics  *pipeline.Metrics
	exposed  *sinkprom.Sink
	others   *compatibility.Sink // the report under names of other projects
	face     *web.Server
	state    *state
	reload   reloads
	seen     stamp    // of the files as they were last read
	external *url.URL // where people reach yoyu; nil: nobody said
	asks     pipeline.Asks
	began    time.Time
	present  atomic.Pointer[config.Config] // the configuration in force
	still    time.Time                     // the one moment to show; zero: the present, and on

	started func(address string)                                        // told once the address is open; nil: nobody
	past    func(e *slo.Engine, c *config.Config, now *assembled) error // fills the windows before the first tick; nil: nothing to fill
}

// reloads is what a reload says about itself, and the queue of one that waits.
type reloads struct {
	ok      prometheus.Gauge
	when    prometheus.Gauge
	pending chan chan error
}

func newDaemon(p *process, s serving, load func() (*config.Config, error)) (*daemon, error) {
	d := &daemon{process: p, serving: s, load: load, asks: make(pipeline.Asks), began: time.Now()}
	d.registry = prometheus.NewRegistry()
	d.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("yoyu"),
	)
	d.metrics = pipeline.NewMetrics(d.registry)
	d.reload = reloads{
		ok: prometheus.NewGauge(prometheus.GaugeOpts{Name: "yoyu_config_last_reload_successful",
			Help: "Whether the last attempt to read the configuration succeeded."}),
		when: prometheus.NewGauge(prometheus.GaugeOpts{Name: "yoyu_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration was last read successfully."}),
		pending: make(chan chan error),
	}
	d.state = newState(s.storage, p.log)
	d.registry.MustRegister(d.state.collectors()...)
	d.registry.MustRegister(d.reload.ok, d.reload.when)
	d.exposed = sinkprom.New(sinkprom.Options{Name: "metrics"})
	d.others = compatibility.New()
	d.registry.MustRegister(d.others)

	external, prefix, err := s.addresses()
	if err != nil {
		return nil, err
	}
	d.prefix, d.external = prefix, external
	var reload func(context.Context) error
	if s.lifecycle {
		reload = d.askReload
	}
	d.face = web.New(web.Options{
		Metrics: d.exposed.Handler(d.registry, sinkprom.HandlerOptions{Logger: p.log}),
		Reload:  reload, Prefix: prefix, ExternalURL: external, Version: version.Version, Logger: p.log,
		Look: d.asks.Ask, Inside: d.inside, Readiness: d.ready,
	})
	return d, d.door().checkReloaders()
}

// addresses reads --web.external-url and --web.route-prefix.
func (s *serving) addresses() (*url.URL, string, error) {
	var external *url.URL
	prefix := s.prefix
	if s.externalURL != "" {
		u, err := url.Parse(s.externalURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, "", fmt.Errorf("--web.external-url %q: not an address such as https://yoyu.example.com/slo", s.externalURL)
		}
		external = u
		if prefix == "" {
			prefix = u.Path
		}
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix = "/" + prefix
	}
	return external, prefix, nil
}

// run serves and counts until ctx ends. The configuration is read first: a daemon that cannot
// count does not start.
func (d *daemon) run(ctx context.Context) error {
	c, err := d.load()
	if err != nil {
		return err
	}
	engine, err := newEngine(c)
	if err != nil {
		return err
	}
	progress, err := d.state.open(engine, d.corruption == "quarantine")
	if err != nil {
		return err
	}
	defer d.state.close()
	now, err := assemble(c, nil, d.partOptions(progress))
	if err != nil {
		return err
	}
	d.seen = stampOf(c)
	d.reload.ok.Set(1)
	d.reload.when.SetToCurrentTime()
	watched := d.still
	if watched.IsZero() {
		watched = time.Now()
	}
	engine.Watch(watched)
	if d.past != nil && !d.state.restored {
		if err := d.past(engine, c, now); err != nil {
			return err
		}
	}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	served := d.serve(ctx, stop)
	defer func() { <-served }()

	if !d.still.IsZero() {
		return d.hold(ctx, engine, c, now)
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	for {
		again, err := d.turn(ctx, engine, c, now, hangup)
		if again == nil {
			d.flush(ctx, now)
			if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
				return cause
			}
			return err
		}
		engine.Set(again.config.Objectives)
		engine.Watch(time.Now())
		c, now = again.config, again.parts
	}
}

// hold shows one moment until ctx ends: no source of events is asked, and nothing is sent.
func (d *daemon) hold(ctx context.Context, engine *slo.Engine, c *config.Config, now *assembled) error {
	d.exposed.Show(c.Series)
	d.present.Store(c)
	line := pipeline.New(pipeline.Options{
		Engine: engine, Workloads: now.workloads, Judge: d.complete(c), Sinks: []sinks.Sink{d.exposed, d.face},
		Metrics: d.metrics, Logger: d.log,
	})
	if err := line.Tick(ctx, d.still); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		case look := <-d.asks:
			look(engine)
		}
	}
}

func (d *daemon) partOptions(progress map[string]slo.Progress) partOptions {
	return partOptions{
		log: d.log, failed: d.metrics.Failed, dropped: d.metrics.Dropped, published: d.metrics.Published,
		keep: true, progress: progress, external: d.external,
	}
}

// next is a configuration that has been read and assembled, ready to take over.
type next struct {
	config *config.Config
	parts  *assembled
}

// lastWords is how long sinks may take to send what they hold back when the daemon ends.
const lastWords = 10 * time.Second

// flush has every sink send what it holds back, all at once.
func (d *daemon) flush(ctx context.Context, now *assembled) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer stop()
	var all sync.WaitGroup
	for _, s := range now.sinks {
		if f, ok := s.(sinks.Flusher); ok {
			all.Go(func() {
				if err := f.Flush(ctx); err != nil {
					d.log.Warn("sink did not take what it held back", "sink", s.Name(), "err", err)
				}
			})
		}
	}
	all.Wait()
}

// complete adds to a report what the engine does not know: workloads, and what is wrong with yoyu.
func (d *daemon) complete(c *config.Config) func(*sinks.Report) {
	workloads := judge(c, d.state.memory)
	return func(r *sinks.Report) {
		workloads(r)
		r.Notices = d.state.notices()
	}
}

// glance is how often workloads are looked at. They are followed, so it costs the cluster nothing.
const glance = 15 * time.Second

// turn runs the pipeline of one configuration until ctx ends (nil) or another takes over.
func (d *daemon) turn(ctx context.Context, engine *slo.Engine, c *config.Config, now *assembled, hangup <-chan os.Signal) (*next, error) {
	d.exposed.Show(c.Series)
	d.others.Show(c.Compatibility)
	outlets := append(now.sinks[:len(now.sinks):len(now.sinks)], d.exposed, d.face)
	if len(c.Compatibility) > 0 {
		outlets = append(outlets, d.others)
	}
	d.present.Store(c)
	line := pipeline.New(pipeline.Options{
		Engine: engine, Lanes: now.lanes, Workloads: now.workloads, Judge: d.complete(c),
		Sinks: outlets, Metrics: d.metrics, Logger: d.log,
		Commit: d.state.commit, Asks: d.asks, Every: glance,
	})
	running, halt := context.WithCancel(ctx)
	followed := now.follow(running)
	defer func() { halt(); followed() }()
	ended := make(chan error, 1)
	go func() { ended <- line.Run(running) }()
	for _, w := range d.shortRetention(running, c, now) {
		d.log.Warn(w)
	}
	seen, looks := d.seen, (<-chan time.Time)(nil)
	if seen != (stamp{}) && d.look > 0 {
		ticker := time.NewTicker(d.look)
		defer ticker.Stop()
		looks = ticker.C
	}
	for {
		select {
		case err := <-ended:
			halt()
			return nil, err
		case <-looks:
			latest := stampOf(c)
			if latest == seen {
				continue
			}
			seen = latest // one that is refused is refused once
			if again, err := d.reread(now, c.Tick); err == nil {
				halt()
				<-ended //nolint:errcheck // it was told to end
				return d.takeOver(again, now), nil
			}
		case <-hangup:
			if again, err := d.reread(now, c.Tick); err == nil {
				halt()
				<-ended //nolint:errcheck // it was told to end
				return d.takeOver(again, now), nil
			}
		case answer := <-d.reload.pending:
			again, err := d.reread(now, c.Tick)
			answer <- err
			if err == nil {
				halt()
				<-ended //nolint:errcheck // it was told to end
				return d.takeOver(again, now), nil
			}
		}
	}
}

// reread reads the configuration again. One that is at fault is refused and the present one goes on.
func (d *daemon) reread(now *assembled, tick time.Duration) (*next, error) {
	c, err := d.load()
	var parts *assembled
	if err == nil {
		parts, err = assemble(c, now, d.partOptions(nil))
	}
	if err == nil && c.Tick != tick {
		err = fmt.Errorf("tick: %s cannot become %s while yoyu runs: restart it with another --storage.path", slo.FormatDuration(tick), slo.FormatDuration(c.Tick))
	}
	if err != nil {
		d.reload.ok.Set(0)
		d.log.Error("configuration refused, the present one goes on", "err", err)
		return nil, err
	}
	d.seen = stampOf(c)
	d.reload.ok.Set(1)
	d.reload.when.SetToCurrentTime()
	d.log.Info("configuration read again")
	return &next{c, parts}, nil
}

// takeOver makes the parts of a new configuration once the old ones have come to rest, so that a
// source which is made anew begins where its predecessor ended, and nothing is counted twice.
func (d *daemon) takeOver(again *next, now *assembled) *next {
	parts, err := assemble(again.config, now, d.partOptions(d.state.progressNow()))
	if err != nil { // they could be made a moment ago
		d.log.Error("configuration: a source begins anew", "err", err)
		return again
	}
	return &next{again.config, parts}
}

// askReload has the daemon read its configuration again and waits for what it says.
func (d *daemon) askReload(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case d.reload.pending <- answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shortRetention says which sources cannot answer for a whole period, so that a low coverage does
// not come as a surprise.
func (d *daemon) shortRetention(ctx context.Context, c *config.Config, now *assembled) []string {
	var out []string
	for name, one := range now.counters {
		if one.oldest == nil {
			continue
		}
		ask, stop := context.WithTimeout(ctx, 10*time.Second)
		oldest, err := one.oldest(ask)
		stop()
		if err != nil || oldest.IsZero() {
			continue
		}
		for i, q := range c.Questions {
			if period := c.Objectives[i].Period; q.Source == name && time.Since(oldest) < period.Length {
				out = append(out, fmt.Sprintf(
					"source %s: knows the last %s only, less than the period %s of slo %s: slo_window_coverage_ratio shows the share until the rest has passed",
					name, slo.FormatDuration(time.Since(oldest).Truncate(time.Hour)), period.Key(), c.Objectives[i].Name))
				break
			}
		}
	}
	return out
}

// serve opens the addresses and answers until ctx ends. One that cannot be opened ends the daemon.
// The channel is closed when nothing is served any more.
func (d *daemon) serve(ctx context.Context, stop context.CancelCauseFunc) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := d.door().serve(ctx, func() {
			if d.started != nil {
				for _, address := range *d.web.WebListenAddresses {
					d.started(address)
				}
			}
		})
		if err != nil {
			stop(fmt.Errorf("web: %w", err))
		}
	}()
	return done
}

// door is the front of this daemon.
func (d *daemon) door() *front {
	return &front{
		flags: d.web, prefix: d.prefix, face: d.face.Handler(), reloaders: d.reloaders, profiles: d.profiles, log: d.log,
	}
}
