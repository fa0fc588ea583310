// Package sinktest is the kit that every sink must pass, and the sample reports to try them with.
//
// The kit writes reports that are typical, empty, odd and large, and holds the sink to its
// contract: it leaves reports alone, lets go of them, ends when its context ends, and goes on
// after an error.
package sinktest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
)

// patience is how long a sink may take to return once its context has ended.
const patience = 5 * time.Second

// Run holds a sink to the contract of sinks.Sink. newSink makes one whose outside system answers
// as it should; it is called once for each part, and cleans up by t.Cleanup.
func Run(t *testing.T, newSink func(t *testing.T) sinks.Sink) {
	t.Run("has a name", func(t *testing.T) {
		if newSink(t).Name() == "" {
			t.Error("the name is empty")
		}
	})

	for _, sample := range samples {
		t.Run("takes a report: "+sample.name, func(t *testing.T) {
			sink, r := newSink(t), sample.report()
			if err := sink.Write(t.Context(), r); err != nil {
				t.Fatalf("write: %v", err)
			}
			if !reflect.DeepEqual(r, sample.report()) {
				t.Error("the sink changed the report")
			}
		})
	}

	t.Run("takes one report after the other", func(t *testing.T) {
		sink := newSink(t)
		for _, sample := range samples {
			if err := sink.Write(t.Context(), sample.report()); err != nil {
				t.Fatalf("write of %s: %v", sample.name, err)
			}
		}
	})

	// The pipeline fills the same memory again once every sink has returned. Under -race this part
	// finds a sink that still reads.
	t.Run("lets go of a report", func(t *testing.T) {
		sink, r := newSink(t), Report()
		if err := sink.Write(t.Context(), r); err != nil {
			t.Fatalf("write: %v", err)
		}
		spoil(r)
		if err := sink.Write(t.Context(), Report()); err != nil {
			t.Fatalf("write of the next: %v", err)
		}
	})

	t.Run("ends with its context and goes on afterwards", func(t *testing.T) {
		sink, r := newSink(t), Report()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		returned := make(chan error, 1)
		go func() { returned <- sink.Write(ctx, r) }()
		select {
		case err := <-returned:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want that of the context, or none", err)
			}
		case <-time.After(patience):
			t.Fatalf("still writing %v after its context ended", patience)
		}
		if !reflect.DeepEqual(r, Report()) {
			t.Error("the sink changed the report")
		}
		spoil(r)
		if err := sink.Write(t.Context(), Report()); err != nil {
			t.Errorf("write after an error: %v", err)
		}
	})
}

var samples = []struct {
	name   string
	report func() *sinks.Report
}{
	{"typical", Report},
	{"empty", Empty},
	{"nothing known yet", Unknown},
	{"odd", Odd},
	{"a thousand SLOs", func() *sinks.Report { return Large(1000) }},
}

// spoil overwrites a report in place, as the next tick does.
func spoil(r *sinks.Report) {
	for i := range r.SLOs {
		st := &r.SLOs[i]
		clear(st.Labels)
		clear(st.Windows)
		clear(st.Alerts)
		st.Budget.RemainingRatio = -1
	}
	clear(r.Workloads)
	r.Time = r.Time.Add(time.Minute)
}
