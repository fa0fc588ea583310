// Package sinks holds what every sink is given, and the vocabulary: every family yoyu publishes,
// defined once, so that metrics, Datadog and the page can never disagree.
package sinks

import (
	"context"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

// A Sink takes reports to one outside system.
//
// Write must neither change the report nor keep it after it has returned. It is called by one
// goroutine at a time, with the newest report: a slow sink misses reports, never a queue of them.
type Sink interface {
	Name() string
	Write(ctx context.Context, r *Report) error
}

// A Flusher is a sink that holds back what its outside system has not taken yet. Flush tries once
// more, while ctx lasts; it is called after the last Write, when the process ends.
type Flusher interface {
	Flush(ctx context.Context) error
}

// Report is everything yoyu knows at one tick. Nobody changes it once it is handed out.
type Report struct {
	Time      time.Time              // the tick, a whole multiple of the interval
	SLOs      []slo.Status           // by objective, then group
	Workloads []rightsizing.Workload // by namespace, kind and name; nil without a cluster source
	Notices   []string               // what is wrong with yoyu itself, for people
}
