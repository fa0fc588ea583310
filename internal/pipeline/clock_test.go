package pipeline

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// server is a steady source with a clock of its own: it knows nothing of the time after it.
type server struct {
	*steady
	clock time.Time
}

func (s *server) Collect(ctx context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	known := span
	if known.To.After(s.clock) {
		known.To = s.clock
	}
	if known.Empty() {
		return []slo.Sample{{SLO: s.name, Span: span}}, nil
	}
	samples, err := s.steady.Collect(ctx, known, only...)
	for i := range samples {
		samples[i].Span = span
	}
	return samples, err
}

// ticking is a pipeline over a server, turned by hand.
func ticking(t *testing.T, step time.Duration) (*Pipeline, *server, *pages) {
	t.Helper()
	engine, err := slo.NewEngine(step)
	if err != nil {
		t.Fatal(err)
	}
	target, err := slo.ParsePercent("99.9")
	if err != nil {
		t.Fatal(err)
	}
	period := slo.RollingPeriod(7 * slo.Day)
	engine.Set([]slo.Objective{{Name: "it", Target: target, Period: period, Policy: slo.Workbook(period)}})
	from := &server{steady: &steady{name: "it", bad: 10}, clock: time.Now().Truncate(step)}
	sink := &pages{name: "page"}
	engine.Watch(from.clock)
	return New(Options{Engine: engine, Sinks: []sinks.Sink{sink}, Lanes: []Lane{
		{Source: from, Objectives: []string{"it"}, Backfill: 7 * slo.Day},
	}}), from, sink
}

// A clock that is wrong for a while, however far, costs the turns it was wrong in and no count.
func TestClockSteps(t *testing.T) {
	for _, c := range []struct {
		name string
		step time.Duration
	}{
		{"an hour ahead", time.Hour},
		{"an hour behind", -time.Hour},
		{"31 days ahead", 31 * slo.Day},
		{"31 days behind", -31 * slo.Day},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				line, from, sink := ticking(t, tick)
				turn := func(wrong time.Duration) {
					from.clock = from.clock.Add(tick)
					if err := line.Tick(t.Context(), from.clock.Add(wrong)); err != nil {
						t.Fatal(err)
					}
				}
				if err := line.Backfill(t.Context(), from.clock, nil); err != nil {
					t.Fatal(err)
				}
				for range 10 {
					turn(0)
				}
				for range 10 {
					turn(c.step)
				}
				for range 10 {
					turn(0)
				}
				got := sink.status(t, "it")
				if !got.At.Equal(from.clock) {
					t.Errorf("the report holds for %s, the clock says %s", got.At, from.clock)
				}
				for _, w := range got.Windows {
					if want := 10 * w.Length.Seconds(); !near(w, want) || w.Coverage != 1 {
						t.Errorf("%s: %v events, covered %v, want %v and 1", w.Key, w.Total, w.Coverage, want)
					}
				}
			})
		})
	}
}

// A process that was really suspended goes on at once: its source knows the time it slept through.
func TestLongSleepIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line, from, sink := ticking(t, tick)
		for range 10 {
			from.clock = from.clock.Add(tick)
			if err := line.Tick(t.Context(), from.clock); err != nil {
				t.Fatal(err)
			}
		}
		from.clock = from.clock.Add(6 * time.Hour)
		if err := line.Tick(t.Context(), from.clock); err != nil {
			t.Fatal(err)
		}
		got := sink.status(t, "it")
		if w := window(got, "1h"); !got.At.Equal(from.clock) || w.Total != 36000 || w.Coverage != 1 {
			t.Errorf("at %s of %s: %v events in 1h, covered %v", got.At, from.clock, w.Total, w.Coverage)
		}
	})
}

// Where nobody vouches for a leap, because everything is down, it is believed in the end.
func TestLeapIsBelievedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line, from, sink := ticking(t, tick)
		from.clock = from.clock.Add(tick)
		if err := line.Tick(t.Context(), from.clock); err != nil {
			t.Fatal(err)
		}
		now := from.clock.Add(time.Hour) // and the source stays where it was
		turns := 0
		for before := sink.count(); sink.count() == before; turns++ {
			now = now.Add(tick)
			if err := line.Tick(t.Context(), now); err != nil || turns > 100 {
				t.Fatal("never believed", err)
			}
		}
		if waited := time.Duration(turns) * tick; waited < patience || waited > patience+2*tick {
			t.Errorf("believed after %s, want %s", waited, patience)
		}
	})
}

// A year of turns: not one event is lost or made, memory and goroutines stay as they were.
func TestYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const step = 30 * time.Minute // a multiple of the double's own tick
		line, from, sink := ticking(t, step)
		began := from.clock
		measure := func() (heap uint64, goroutines int) {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc, runtime.NumGoroutine()
		}
		var heap uint64
		var goroutines int
		for from.clock.Sub(began) < 365*slo.Day {
			from.clock = from.clock.Add(step)
			if err := line.Tick(t.Context(), from.clock); err != nil {
				t.Fatal(err)
			}
			from.asked, sink.times = nil, nil
			if from.clock.Sub(began) == 30*slo.Day {
				heap, goroutines = measure()
			}
		}
		got := sink.status(t, "it")
		if want := 365 * 86400 * 10.0; got.EventsTotal != want || got.BadEventsTotal != want/100 {
			t.Errorf("%v events, %v bad, want %v and %v", got.EventsTotal, got.BadEventsTotal, want, want/100)
		}
		for _, w := range got.Windows {
			if want := 10 * max(w.Length, step).Seconds(); w.Length >= step && !near(w, want) {
				t.Errorf("%s: %v events, want %v", w.Key, w.Total, want)
			}
		}
		if h, g := measure(); h > heap+heap/2+1<<20 || g > goroutines {
			t.Errorf("after a year %d bytes and %d goroutines, after a month %d and %d", h, g, heap, goroutines)
		}
	})
}
