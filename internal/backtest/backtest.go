// Package backtest runs the pipeline over recorded time: the same sources, engine and reports as
// the daemon, with a clock made of ticks.
//
//	recording ──▶ pipeline.Tick, tick by tick ──▶ reports at the moments asked for
//	                                        └──▶ every alert that would have fired
package backtest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// Options are what to replay.
type Options struct {
	Objectives []slo.Objective
	Tick       time.Duration
	Source     sources.Source[slo.Sample] // answers for every objective, without delay
	Span       slo.Span                   // of the data, on whole ticks; empty: there is none
	At         []time.Time                // moments to report, in the order of the answer
	Progress   func(done, all int)        // hears of ticks; nil: nobody
}

// Result is what the replay found.
type Result struct {
	Reports []*sinks.Report // by the order of Options.At
	Alerts  []Alert         // by start
}

// Alert is one pair of windows of one severity that fired without a break.
type Alert struct {
	SLO, Severity string
	Labels        map[string]string // the group
	Long, Short   time.Duration
	Began         time.Time // first tick of the run up to Start that burnt faster than the factor itself
	Start         time.Time // the tick at which it fired first
	End           time.Time // the first tick at which it fired no more; zero: it fires at the end of the data
	Spent         float64   // share of the period's budget that was gone at Start
}

// Run replays the span tick by tick. Moments before the data find nothing counted, moments after
// it find what has not left the windows.
func Run(ctx context.Context, o Options) (*Result, error) {
	engine, err := slo.NewEngine(o.Tick)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(o.Objectives))
	objectives := slices.Clone(o.Objectives)
	for i := range objectives {
		objectives[i].Delay = 0
		names[i] = objectives[i].Name
	}
	engine.Set(objectives)

	reports := map[int64]*sinks.Report{} // by whole tick
	order := make([]int64, 0, len(o.At))
	for _, at := range o.At {
		order = append(order, engine.At(at, 0).UnixMilli())
	}
	due := slices.Clone(order)
	slices.Sort(due)
	due = slices.Compact(due)

	log := newAlertLog(o.Tick)
	line := pipeline.New(pipeline.Options{
		Engine: engine,
		Lanes:  []pipeline.Lane{{Source: o.Source, Objectives: names}},
	})
	// A moment before the data: the engine is asked at once, with nothing put.
	for len(due) > 0 && (o.Span.Empty() || !time.UnixMilli(due[0]).After(o.Span.From)) {
		at := time.UnixMilli(due[0])
		reports[due[0]] = &sinks.Report{Time: at, SLOs: blank(objectives, o.Tick, at)}
		due = due[1:]
	}
	if !o.Span.Empty() {
		all, done := int(o.Span.Duration()/o.Tick), 0
		for at := o.Span.From.Add(o.Tick); !at.After(o.Span.To); at = at.Add(o.Tick) {
			if err := line.Tick(ctx, at); err != nil {
				return nil, err
			}
			log.see(engine, line.Report())
			if len(due) > 0 && due[0] == at.UnixMilli() {
				reports[due[0]] = line.Report()
				due = due[1:]
			}
			done++
			if o.Progress != nil {
				o.Progress(done, all)
			}
		}
	}
	for _, ms := range due { // after the data: nothing is asked, time passes
		at := time.UnixMilli(ms)
		reports[ms] = &sinks.Report{Time: at, SLOs: engine.Evaluate(at)}
	}
	result := &Result{Alerts: log.alerts()}
	for _, ms := range order {
		result.Reports = append(result.Reports, reports[ms])
	}
	return result, nil
}

// blank is the report of a moment before anything was seen.
func blank(objectives []slo.Objective, tick time.Duration, at time.Time) []slo.Status {
	engine, err := slo.NewEngine(tick)
	if err != nil {
		return nil
	}
	engine.Set(objectives)
	return engine.Evaluate(at)
}

// alertLog follows every pair of every objective through time.
type alertLog struct {
	tick time.Duration
	open map[string]*Alert
	runs map[string]time.Time // since when each pair's own ticks burn above its factor
	all  []*Alert
}

func newAlertLog(tick time.Duration) *alertLog {
	return &alertLog{tick: tick, open: map[string]*Alert{}, runs: map[string]time.Time{}}
}

func (l *alertLog) see(e *slo.Engine, r *sinks.Report) {
	for i := range r.SLOs {
		s := &r.SLOs[i]
		if s.NoGroup {
			continue
		}
		total, bad := e.Count(s.Objective.Name, s.Labels, slo.Span{From: s.At.Add(-l.tick), To: s.At})
		budget := s.Objective.Target.Rest().Float()
		for _, a := range s.Alerts {
			for _, p := range a.Pairs {
				key := strings.Join(append([]string{s.Objective.Name, a.Severity, p.Long.String(), p.Short.String()}, s.Labels...), "\xff")
				if total > 0 && bad > p.Factor.Float()*budget*total {
					if _, ok := l.runs[key]; !ok {
						l.runs[key] = s.At
					}
				} else {
					delete(l.runs, key)
				}
				l.follow(key, s, a.Severity, p)
			}
		}
	}
}

func (l *alertLog) follow(key string, s *slo.Status, severity string, p slo.PairStatus) {
	open := l.open[key]
	switch {
	case p.Firing && open == nil:
		a := &Alert{SLO: s.Objective.Name, Severity: severity, Labels: map[string]string{}, Long: p.Long, Short: p.Short, Began: s.At, Start: s.At}
		if since, ok := l.runs[key]; ok {
			a.Began = since
		}
		for i, name := range s.Objective.GroupBy {
			a.Labels[name] = s.Labels[i]
		}
		if s.Budget.Allowed > 0 {
			a.Spent = s.Budget.Spent / s.Budget.Allowed
		}
		l.open[key] = a
		l.all = append(l.all, a)
	case !p.Firing && open != nil:
		open.End = s.At
		delete(l.open, key)
	}
}

// alerts are all of them by start, then objective, severity and window.
func (l *alertLog) alerts() []Alert {
	out := make([]Alert, len(l.all))
	for i, a := range l.all {
		out[i] = *a
	}
	slices.SortStableFunc(out, func(a, b Alert) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		if c := strings.Compare(a.SLO, b.SLO); c != 0 {
			return c
		}
		if c := strings.Compare(a.Severity, b.Severity); c != 0 {
			return c
		}
		return int(a.Long - b.Long)
	})
	return out
}
