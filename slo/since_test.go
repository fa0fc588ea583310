package slo_test

import (
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// An alert knows when it began to fire: whether somebody looked at every tick, came back after an
// hour, or was started again in the middle.
func TestSince(t *testing.T) {
	const tick = 30 * time.Second
	o := objective(t, "99.9", slo.RollingPeriod(30*slo.Day))
	good, all := 2*time.Hour, 3*time.Hour+30*time.Minute // all is well for two hours, then nothing is
	put := func(e *slo.Engine, from, to time.Duration) {
		s := slo.Sample{SLO: "it", Span: slo.Span{From: began.Add(from), To: began.Add(to)}, Covered: []slo.Span{{From: began.Add(from), To: began.Add(to)}}}
		var g slo.GroupSample
		for at := from + tick; at <= to; at += tick {
			bad := 0.0
			if at > good {
				bad = 100
			}
			g.Increments = append(g.Increments, slo.Increment{At: began.Add(at), Total: 100, Bad: bad})
		}
		s.Groups = []slo.GroupSample{g}
		observe(t, e, s)
	}
	// 100 % errors page after 51.84 s (MATHS.md): at the second tick.
	want := began.Add(good + 2*tick)
	page := func(e *slo.Engine, at time.Duration) slo.Alert { return e.Evaluate(began.Add(at))[0].Alerts[0] }

	watched := engine(t, tick, o)
	for at := tick; at <= all; at += tick {
		put(watched, at-tick, at)
		switch a := page(watched, at); {
		case a.Firing != !began.Add(at).Before(want):
			t.Fatalf("after %s: firing %v", at, a.Firing)
		case a.Firing && !a.Since.Equal(want), !a.Firing && !a.Since.IsZero():
			t.Fatalf("after %s: since %s, want %s", at, a.Since, want)
		}
	}

	watched.Set([]slo.Objective{o}) // a reload in which nothing changed
	if a := page(watched, all); !a.Since.Equal(want) {
		t.Errorf("after a reload: since %s, want %s", a.Since, want)
	}

	late := engine(t, tick, o)
	put(late, 0, all)
	page(late, good)
	if a := page(late, all); !a.Firing || !a.Since.Equal(want) {
		t.Errorf("looked at an hour later: firing %v since %s, want %s", a.Firing, a.Since, want)
	}

	for _, died := range []time.Duration{good, good + 10*time.Minute} {
		first := engine(t, tick, o)
		first.Keeping()
		put(first, 0, died)
		page(first, died)
		kept, _ := first.Changes()
		second := engine(t, tick, o)
		if err := second.Restore(kept); err != nil {
			t.Fatal(err)
		}
		put(second, died, all)
		if a := page(second, all); !a.Firing || !a.Since.Equal(want) {
			t.Errorf("died after %s: firing %v since %s, want %s", died, a.Firing, a.Since, want)
		}
	}

	// It ends, and another run begins later.
	s := slo.Sample{SLO: "it", Span: slo.Span{From: began.Add(all), To: began.Add(all + 2*time.Hour)}}
	s.Covered = []slo.Span{s.Span}
	var g slo.GroupSample
	for at := all + tick; at <= all+2*time.Hour; at += tick {
		g.Increments = append(g.Increments, slo.Increment{At: began.Add(at), Total: 100})
	}
	s.Groups = []slo.GroupSample{g}
	observe(t, watched, s)
	if a := page(watched, all+2*time.Hour); a.Pairs[0].Firing {
		t.Errorf("still firing two hours later: %+v", a)
	}
}
