package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// asleep is a log whose first line takes an hour: to the loop that is a suspended process.
type asleep struct {
	slog.Handler
	once chan struct{}
}

func (a asleep) Enabled(context.Context, slog.Level) bool { return true }

func (a asleep) Handle(context.Context, slog.Record) error {
	select {
	case a.once <- struct{}{}:
		<-time.After(time.Hour)
	default:
	}
	return nil
}

// A loop that was suspended between two ticks asks for the one it wakes up in: a source that knows
// the present only would take the tick it slept through for the present.
func TestSuspendedLoopAsksForThePresent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, err := slo.NewEngine(tick)
		if err != nil {
			t.Fatal(err)
		}
		target, err := slo.ParsePercent("99.9")
		if err != nil {
			t.Fatal(err)
		}
		period := slo.RollingPeriod(7 * slo.Day)
		engine.Set([]slo.Objective{
			{Name: "now", Target: target, Period: period, Policy: slo.Workbook(period)},
			{Name: "then", Target: target, Period: period, Policy: slo.Workbook(period)},
		})
		present, past := &steady{name: "now"}, &steady{name: "then"}
		var latest time.Time
		present.set(func(_ context.Context, span slo.Span, _ []string) error {
			if late := time.Since(span.To); late >= tick {
				t.Errorf("asked for %s, %s later", span, late)
			}
			latest = span.To
			return nil
		})
		past.set(func(_ context.Context, span slo.Span, _ []string) error {
			if time.Since(span.To) > 30*time.Minute {
				return errors.New("no past today") // heard of between the ticks
			}
			return nil
		})
		log := asleep{slog.DiscardHandler, make(chan struct{}, 1)}
		line := New(Options{Engine: engine, Logger: slog.New(log), Lanes: []Lane{
			{Source: present, Objectives: []string{"now"}},
			{Source: past, Objectives: []string{"then"}, Backfill: 7 * slo.Day},
		}})
		began := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- line.Run(ctx) }()
		pass(time.Hour + 5*tick/2)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(log.once) != 1 || latest.Sub(began) < time.Hour {
			t.Errorf("slept %d times, asked until %s after the start", len(log.once), latest.Sub(began))
		}
	})
}
