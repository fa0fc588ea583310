// Package pipeline is the one loop: collect, observe, evaluate, write.
//
//	tick ──▶ sources ──▶ slo.Engine ──▶ *sinks.Report ──▶ sinks
//	              ▲
//	   between ticks: the past, oldest chunk first
//
// One goroutine owns the engine. Sources and sinks run in goroutines of their own and are given a
// share of the tick; one that needs longer keeps running while the loop goes on without it, so a
// source that hangs costs its own coverage and a sink that hangs its own reports, nothing else.
// A span that was not answered is asked again, grown by the time that passed. What the loop has
// not asked within the last hour, it asks between the ticks.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// Lane is a source of counts with the objectives it answers for.
type Lane struct {
	Source     sources.Source[slo.Sample]
	Objectives []string      // names of the engine's objectives
	Delay      time.Duration // how far behind the clock its answers are complete
	Backfill   time.Duration // how far back it can be asked; 0: it knows no past
}

// Options are the parts of a pipeline. Engine has its objectives set already.
type Options struct {
	Engine    *slo.Engine
	Lanes     []Lane
	Workloads []sources.Source[rightsizing.Workload]
	Judge     func(report *sinks.Report) // completes a report before it is written; nil: nothing to add
	Sinks     []sinks.Sink
	Metrics   *Metrics
	Logger    *slog.Logger
	Every     time.Duration // how often workloads are listed; 0: every minute
	Commit    Commit        // makes the engine durable before a report is shown; nil: it lives in memory
	Asks      Asks          // what others want to look up in the engine; nil: nobody does
}

// Asks is how others look into the engine, which belongs to the loop alone: the loop runs what comes
// between its turns, and while a turn waits for sources and sinks. What is asked must be short, and
// must change nothing.
type Asks chan func(*slo.Engine)

// Ask has the loop run look, and returns when it has; or ctx's error, when ctx ended before the loop
// came to it. While no loop runs, as between two configurations, it waits. A look that panics is an
// error of its own and not the end of the loop.
func (a Asks) Ask(ctx context.Context, look func(*slo.Engine)) (err error) {
	done := make(chan struct{})
	asked := func(e *slo.Engine) {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("engine: a look into it panicked: %v", p)
			}
		}()
		look(e)
	}
	select {
	case a <- asked:
		<-done
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Commit makes durable what the engine knows, together with what its sources remember by SLO since
// the last time. It says itself what went wrong; what failed is part of the next.
type Commit func(e *slo.Engine, progress map[string]*slo.Progress)

// Pipeline is the loop. Tick and Run must not be used at the same time.
type Pipeline struct {
	Options
	lanes     []*lane
	workloads []*workloadLane
	outlets   []*outlet
	filled    chan *lane // a piece of the past has been answered
	report    *sinks.Report
	progress  map[string]*slo.Progress // of the sources, not yet durable
	said      said
	running   sync.WaitGroup
	began     time.Time // the first tick
	latest    time.Time // the newest moment of a turn that was believed
	doubts    int       // turns since then that were not
}

// live is how much of the past a tick asks for when it is not known: the exact windows. Older
// holes are filled between the ticks.
const live = time.Hour

// chunk is about how much of the past is asked for at once. A source cuts it where it is too much.
const chunk = 5 * time.Hour

// New makes a pipeline.
func New(o Options) *Pipeline {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Every == 0 {
		o.Every = time.Minute
	}
	var names [3][]string
	for _, l := range o.Lanes {
		names[0], names[2] = append(names[0], l.Source.Name()), append(names[2], l.Objectives...)
	}
	for _, s := range o.Workloads {
		names[0] = append(names[0], s.Name())
	}
	for _, s := range o.Sinks {
		names[1] = append(names[1], s.Name())
	}
	o.Metrics.keep(names[0], names[1], names[2])
	p := &Pipeline{Options: o, filled: make(chan *lane, len(o.Lanes)), progress: map[string]*slo.Progress{}}
	for _, l := range o.Lanes {
		p.lanes = append(p.lanes, &lane{Lane: l, job: newJob[[]slo.Sample](), fill: newJob[[]slo.Sample](), later: map[string]retry{}})
		o.Metrics.source(l.Source.Name())
	}
	for _, s := range o.Workloads {
		p.workloads = append(p.workloads, &workloadLane{source: s, job: newJob[[]rightsizing.Workload]()})
		o.Metrics.source(s.Name())
	}
	for _, s := range o.Sinks {
		p.outlets = append(p.outlets, &outlet{sink: s, job: newJob[struct{}]()})
		o.Metrics.sink(s.Name())
	}
	return p
}

// lane is a Lane at work.
type lane struct {
	Lane
	job  *job[[]slo.Sample] // the present
	fill *job[[]slo.Sample] // the past

	filling    slo.Span         // the piece of the past that is being asked for
	fillingFor []string         // and for whom
	later      map[string]retry // objectives whose past could not be answered
}

// retry is when a failed question may be put again.
type retry struct {
	fails int
	at    time.Time
}

type workloadLane struct {
	source sources.Source[rightsizing.Workload]
	job    *job[[]rightsizing.Workload]
	asked  time.Time
	found  []rightsizing.Workload
}

type outlet struct {
	sink sinks.Sink
	job  *job[struct{}]
}

// grace is how long collecting, and then writing, may take before the loop goes on without those
// that are not done: a share of the tick, and never long.
func (p *Pipeline) grace() time.Duration { return min(p.Engine.Tick()*2/5, 5*time.Second) }

// Tick is one turn at now: ask, put, evaluate, write. A turn that no source believes in does nothing
// (see believes). It never reads the clock, so ticking through
// the past is a backtest. It returns the context's error once ctx has ended.
func (p *Pipeline) Tick(ctx context.Context, now time.Time) error {
	if p.began.IsZero() {
		p.began = now
	}
	if !p.believes(ctx, now) {
		p.Metrics.missed(1)
		return ctx.Err()
	}
	p.collect(ctx, now)
	if err := ctx.Err(); err != nil {
		return err
	}
	report := &sinks.Report{Time: p.Engine.At(now, 0), SLOs: p.Engine.Evaluate(now)}
	for i := range report.SLOs { // the newest moment that any source vouches for
		if at := report.SLOs[i].At; i == 0 || at.After(report.Time) {
			report.Time = at
		}
	}
	for _, w := range p.workloads {
		report.Workloads = append(report.Workloads, w.found...)
	}
	if p.Judge != nil {
		p.Judge(report)
	}
	p.report = report
	p.Metrics.engine(p.Engine, report)
	if p.Commit != nil {
		p.Commit(p.Engine, p.progress)
		clear(p.progress)
	}
	p.write(ctx, report)
	return ctx.Err()
}

// Report is the newest report; nil before the first tick.
func (p *Pipeline) Report() *sinks.Report { return p.report }

// collect asks every source that is not still busy for what is missing, waits for the share of the
// tick, and puts what came, also from before.
func (p *Pipeline) collect(ctx context.Context, now time.Time) {
	var fresh []*job[[]slo.Sample]             // what hung before is not waited for again
	var listing []*job[[]rightsizing.Workload] // likewise
	for _, l := range p.lanes {
		p.take(l, l.job)
		if l.job.busy() {
			continue
		}
		asks := p.due(l, now)
		if len(asks) == 0 {
			continue
		}
		l.job.start(ctx, &p.running, 0, func(ctx context.Context) ([]slo.Sample, error) { return p.ask(ctx, l.Source, asks) })
		fresh = append(fresh, l.job)
	}
	for _, w := range p.workloads {
		p.takeWorkloads(w)
		if w.job.busy() || now.Sub(w.asked) < p.Every {
			continue
		}
		w.asked = now
		w.job.start(ctx, &p.running, max(p.Every, time.Minute), func(ctx context.Context) ([]rightsizing.Workload, error) {
			began := time.Now()
			found, err := w.source.Collect(ctx, slo.Span{From: now.Add(-p.Every), To: now})
			p.Metrics.asked(w.source.Name(), time.Since(began), err)
			return found, err
		})
		listing = append(listing, w.job)
	}
	patience, stop := context.WithTimeout(ctx, p.grace())
	defer stop()
	for _, job := range fresh {
		p.wait(patience, job.ended())
	}
	// Counts are not held up by a cluster that is slow: its workloads come with the next report.
	moment, end := context.WithTimeout(patience, p.grace()/10)
	defer end()
	for _, job := range listing {
		p.wait(moment, job.ended())
	}
	for _, l := range p.lanes {
		p.take(l, l.job)
	}
	for _, w := range p.workloads {
		p.takeWorkloads(w)
	}
}

// question is one request to a source: a span, and who wants it.
type question struct {
	span slo.Span
	only []string
}

// due are the spans a tick asks a lane for: what is missing of the last hour, up to the newest
// whole tick, objectives with the same need together.
func (p *Pipeline) due(l *lane, now time.Time) []question {
	to := p.Engine.At(now, l.Delay)
	from := to.Add(-max(live, 2*p.Engine.Tick()))
	if l.Backfill == 0 {
		// It knows no past: there is nothing to ask before the first tick.
		if first := p.Engine.At(p.began, l.Delay).Add(-p.Engine.Tick()); from.Before(first) {
			from = first
		}
	}
	from = p.Engine.At(from, 0)
	var out []question
	for _, name := range l.Objectives {
		missing := p.Engine.Unanswered(name, slo.Span{From: from, To: to})
		if len(missing) == 0 {
			continue
		}
		span := slo.Span{From: missing[0].From, To: to}
		i := slices.IndexFunc(out, func(q question) bool { return q.span == span })
		if i < 0 {
			out, i = append(out, question{span: span}), len(out)
		}
		out[i].only = append(out[i].only, name)
	}
	if len(out) == 1 && len(out[0].only) == len(l.Objectives) {
		out[0].only = nil
	}
	return out
}

// ask puts questions to a source, one after the other. What was answered before an error stands.
func (p *Pipeline) ask(ctx context.Context, s sources.Source[slo.Sample], asks []question) ([]slo.Sample, error) {
	var all []slo.Sample
	for _, q := range asks {
		began := time.Now()
		got, err := s.Collect(ctx, q.span, q.only...)
		if err == nil {
			partly := false
			for i := range got {
				if one := got[i].Err; one != nil {
					partly = true
					p.Metrics.failed(s.Name(), one)
					p.said.trouble(p.Logger, s.Name()+" "+got[i].SLO, "question failed", one, "from", s.Name(), "slo", got[i].SLO)
				} else {
					p.said.well(p.Logger, s.Name()+" "+got[i].SLO, "question answered again", "from", s.Name(), "slo", got[i].SLO)
				}
			}
			p.Metrics.answered(s.Name(), time.Since(began), partly)
			all = append(all, got...)
			continue
		}
		p.Metrics.asked(s.Name(), time.Since(began), err)
		return all, err
	}
	return all, nil
}

// take puts what a lane's job has answered, if it has.
func (p *Pipeline) take(l *lane, j *job[[]slo.Sample]) bool {
	samples, err, ok := j.take()
	if !ok {
		return false
	}
	if err != nil {
		p.said.trouble(p.Logger, "source "+l.Source.Name(), "source failed", err, "from", l.Source.Name())
	} else {
		p.said.well(p.Logger, "source "+l.Source.Name(), "source answers again", "from", l.Source.Name())
	}
	for i := range samples {
		if note := samples[i].Note; note != "" {
			p.said.trouble(p.Logger, "note "+samples[i].SLO, "slo is not counted", errors.New(note), "slo", samples[i].SLO)
		} else if samples[i].Err == nil {
			p.said.well(p.Logger, "note "+samples[i].SLO, "slo is counted again", "slo", samples[i].SLO)
		}
		p.Metrics.baselined(samples[i].Baselined)
	}
	refused := p.Engine.Observe(samples...) != nil
	for i := range samples {
		if refused { // not all of them: put again, it changes nothing
			if err := p.Engine.Observe(samples[i]); err != nil {
				p.Logger.Error("answer refused", "from", l.Source.Name(), "err", err)
				continue
			}
		}
		if samples[i].Progress != nil {
			p.progress[samples[i].SLO] = samples[i].Progress
		}
	}
	return true
}

func (p *Pipeline) takeWorkloads(w *workloadLane) {
	found, err, ok := w.job.take()
	if !ok {
		return
	}
	if err != nil {
		p.said.trouble(p.Logger, "source "+w.source.Name(), "source failed", err, "from", w.source.Name())
		return
	}
	p.said.well(p.Logger, "source "+w.source.Name(), "source answers again", "from", w.source.Name())
	w.found = found
}

// write hands the report to every sink that is not still busy with an older one.
func (p *Pipeline) write(ctx context.Context, r *sinks.Report) {
	var fresh []*job[struct{}]
	for _, o := range p.outlets {
		_, _, _ = o.job.take() // it has been logged and counted
		if o.job.busy() {
			p.Metrics.skipped(o.sink.Name())
			continue
		}
		o.job.start(ctx, &p.running, max(10*time.Second, p.Engine.Tick()), func(ctx context.Context) (struct{}, error) {
			began := time.Now()
			err := o.sink.Write(ctx, r)
			p.Metrics.wrote(o.sink.Name(), time.Since(began), err)
			if err != nil {
				p.said.trouble(p.Logger, "sink "+o.sink.Name(), "sink failed", err, "sink", o.sink.Name())
			} else {
				p.said.well(p.Logger, "sink "+o.sink.Name(), "sink takes reports again", "sink", o.sink.Name())
			}
			return struct{}{}, err
		})
		fresh = append(fresh, o.job)
	}
	patience, stop := context.WithTimeout(ctx, p.grace())
	defer stop()
	for _, job := range fresh {
		p.wait(patience, job.ended())
	}
}

// wait waits for work to end, or for ctx, and answers what is asked meanwhile: nothing changes the
// engine.
func (p *Pipeline) wait(ctx context.Context, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			return
		case look := <-p.Asks:
			look(p.Engine)
		}
	}
}
