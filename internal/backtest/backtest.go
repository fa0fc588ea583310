// Package backtest runs the pipeline over recorded time: the same sources, engine and reports as
// the daemon, with a clock made of ticks.
//
//	recording ──▶ pipeline.Tick, tick by tick ──▶ reports at the moments asked for
//	                                        └──▶ every alert that would have fired ──▶ Compare
//
// The same SLO may be there several times, each time with another objective, policy or period:
// Options.As says whose answers it shares, and Compare sets one against the other.
package backtest

import (
	"context"
	"slices"
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

	// As names, for an objective that tries another promise, the one whose answers it is given: the
	// source is asked for that one alone. An objective that is not in it is asked for by itself.
	As map[string]string
}

// Result is what the replay found.
type Result struct {
	Reports []*sinks.Report // by the order of Options.At
	Alerts  []Alert         // by start
	Last    *sinks.Report   // at the end of the data; nil where there is none
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
		Lanes:  []pipeline.Lane{{Source: sharing(o.Source, names, o.As), Objectives: names}},
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
	result := &Result{Alerts: log.alerts(), Last: line.Report()}
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
