package slo_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// once is a correction of a stretch of time.
func once(effect slo.Effect, from, to time.Time) slo.Correction {
	return slo.Correction{Name: "it", Effect: effect, When: slo.Once{From: from, To: to}}
}

// counted is a status without what tells of corrections, and without the counters, which they leave
// alone.
func counted(all []slo.Status) []slo.Status {
	for i := range all {
		st := &all[i]
		st.Objective, st.Corrections, st.TakenTotal, st.TakenBad, st.EventsTotal, st.BadEventsTotal = nil, nil, 0, 0, 0, 0
	}
	return all
}

// ageless is a status without since when alerts fire: what was seen to fire, did, whatever the
// counts say of it afterwards.
func ageless(all []slo.Status) []slo.Status {
	for i := range all {
		for k := range all[i].Alerts {
			all[i].Alerts[k].Since = time.Time{}
		}
	}
	return all
}

// without is traffic as it would have been: no events in the corrected spans, or no bad ones.
func without(s slo.Sample, corrections []slo.Correction) slo.Sample {
	groups := slices.Clone(s.Groups)
	for i := range groups {
		incs := []slo.Increment{}
		for _, inc := range groups[i].Increments {
			drop, good := false, false
			for _, c := range corrections {
				if slo.Span(c.When.(slo.Once)).Holds(inc.At) {
					drop, good = drop || c.Effect == slo.Drop, good || c.Effect == slo.Good
				}
			}
			if good {
				inc.Bad = 0
			}
			if !drop {
				incs = append(incs, inc)
			}
		}
		groups[i].Increments = incs
	}
	s.Groups = groups
	return s
}

// A correction over whole ticks, declared beforehand, equals traffic without those events, in every
// window, alert and budget; whatever the order of answers, with groups, and with slices of time.
func FuzzCorrectionIsTrafficWithout(f *testing.F) {
	for seed := range uint64(12) {
		f.Add(seed, uint16(700*seed+40))
	}
	f.Fuzz(func(t *testing.T, seed uint64, length uint16) {
		r := rand.New(rand.NewPCG(seed, 21))
		tick := []time.Duration{30 * time.Second, time.Minute, 5 * time.Minute}[seed%3]
		o := objective(t, "99", slo.RollingPeriod(7*slo.Day))
		quantum := tick
		switch seed % 4 {
		case 1:
			o.GroupBy = []string{"route"} // without a limit: a group that was dropped has its place all the same
		case 2:
			o.Fractional = true
		case 3:
			quantum = 2 * tick
			o.Budgeting = slo.Budgeting{Method: slo.RatioTimeslices, Slice: quantum}
		}
		n := int(length%6000) + 10
		corrected := o
		for range 1 + r.IntN(4) {
			from := began.Add(time.Duration(r.IntN(n)) * tick).Truncate(quantum)
			to := from.Add(time.Duration(1+r.IntN(1+n/3)) * quantum)
			corrected.Corrections = append(corrected.Corrections, once([]slo.Effect{slo.Drop, slo.Good}[r.IntN(2)], from, to))
		}
		got, want := engine(t, tick, corrected), engine(t, tick, o)
		now := began
		for left := n; left > 0; {
			step := 1 + r.IntN(min(left, 400))
			left -= step
			s := traffic(r, now, step, tick)
			now = s.Span.To
			if r.IntN(4) == 0 && now.Sub(began) > time.Hour { // an answer of the recent past
				back := time.Duration(1+r.IntN(int(time.Hour/tick))) * tick
				s = traffic(r, now.Add(-back), 1+r.IntN(int(back/tick)), tick)
			}
			if len(o.GroupBy) > 0 {
				s.Groups[0].Labels = []string{[]string{"/a", "/b", "/c"}[r.IntN(3)]}
			}
			observe(t, got, s)
			observe(t, want, without(s, corrected.Corrections))
			a, b := counted(got.Evaluate(now)), counted(want.Evaluate(now))
			// A group of which everything was dropped is there, and was never there.
			a = slices.DeleteFunc(a, func(st slo.Status) bool { return len(st.Labels) > 0 && !known(b, st.Labels) })
			if len(a) > 0 && !reflect.DeepEqual(a, b) {
				t.Fatalf("at %s:\n got %+v\nwant %+v", now, a, b)
			}
		}
	})
}

func known(all []slo.Status, labels []string) bool {
	return slices.ContainsFunc(all, func(st slo.Status) bool { return slices.Equal(st.Labels, labels) })
}

// Corrections that come, go and change among themselves: while ticks are known one by one the
// numbers are what they would have been had the last of them been declared beforehand; and without
// any they are as they were.
func FuzzCorrectionsComeAndGo(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		const tick = 30 * time.Second
		r := rand.New(rand.NewPCG(seed, 22))
		o := objective(t, "99", slo.RollingPeriod(7*slo.Day))
		quantum := tick
		if seed%3 == 1 {
			o.Budgeting = slo.Budgeting{Method: slo.RatioTimeslices, Slice: time.Minute}
			quantum = time.Minute
		}
		s := traffic(r, began, 240, tick)
		now := s.Span.To
		if gap := time.Duration(1+r.IntN(7000)) * time.Second; seed%2 == 0 && !o.Budgeting.Slices() {
			end := now.Add(-time.Duration(r.IntN(30)) * time.Second)
			s.Groups[0].Spreads = []slo.Spread{{From: end.Add(-gap), To: end, Total: float64(r.IntN(100_000)), Bad: float64(r.IntN(5))}}
		}
		random := func() []slo.Correction {
			var out []slo.Correction
			for range r.IntN(3) {
				from := began.Add(time.Duration(r.IntN(230)) * tick).Truncate(quantum)
				out = append(out, once([]slo.Effect{slo.Drop, slo.Good}[r.IntN(2)], from, from.Add(time.Duration(1+r.IntN(60))*quantum)))
			}
			return out
		}
		e := engine(t, tick, o)
		observe(t, e, s)
		plain := ageless(counted(e.Evaluate(now)))
		for range 6 {
			changed := o
			changed.Corrections = random()
			e.Set([]slo.Objective{changed})
			beforehand := engine(t, tick, changed)
			observe(t, beforehand, s)
			a, b := ageless(e.Evaluate(now)), ageless(beforehand.Evaluate(now))
			for _, c := range a[0].Corrections {
				if c.Approximate != 0 {
					t.Errorf("%s is approximate, where every tick is known", c.Approximate)
				}
			}
			for i := range a {
				a[i].Objective, b[i].Objective = nil, nil
			}
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("%v:\n got %+v\nwant %+v", changed.Corrections, a, b)
			}
		}
		e.Set([]slo.Objective{o})
		if got := ageless(counted(e.Evaluate(now))); !reflect.DeepEqual(got, plain) {
			t.Errorf("without corrections:\n got %+v\nwant %+v", got, plain)
		}
		if missing := e.Unanswered("it", s.Span); len(missing) > 0 {
			t.Errorf("asked for again: %v", missing)
		}
	})
}

// A correction that is added ten days after the incident: in proportion to time where an edge falls
// between two known ticks, and said to be; exact once the source was asked again; and gone without a
// trace when it is removed.
func TestCorrectionAfterTheFact(t *testing.T) {
	const tick = 30 * time.Second
	o := objective(t, "99.9", slo.RollingPeriod(30*slo.Day))
	r := rand.New(rand.NewPCG(9, 9))
	days := traffic(r, began, 20*2880, tick)
	days.Covered = []slo.Span{days.Span}
	now := days.Span.To
	corrected := o
	corrected.Corrections = []slo.Correction{once(slo.Drop, began.Add(10*slo.Day+7*time.Minute), began.Add(10*slo.Day+3*time.Hour+time.Minute))}

	want := engine(t, tick, corrected)
	observe(t, want, days)
	beforehand := want.Evaluate(now)[0]
	if beforehand.Corrections[0] != (slo.CorrectionStatus{Applied: 2*time.Hour + 54*time.Minute}) || beforehand.TakenTotal == 0 {
		t.Fatalf("declared beforehand: %+v, %v events", beforehand.Corrections, beforehand.TakenTotal)
	}

	build := func() *slo.Engine {
		e := engine(t, tick, o)
		observe(t, e, days)
		return e
	}
	plain := counted(build().Evaluate(now))
	whole := func(st slo.Status) (total, bad float64) {
		w := st.Windows[len(st.Windows)-1]
		return w.Total, w.Bad
	}
	piece := func(span slo.Span) slo.Sample {
		rest := days
		if span.From.After(began) {
			_, rest = halves(rest, span.From)
		}
		if span.To.Before(now) {
			rest, _ = halves(rest, span.To)
		}
		rest.Covered = []slo.Span{span}
		return rest
	}

	e := build()
	e.Set([]slo.Objective{corrected})
	st := e.Evaluate(now)[0]
	if c := st.Corrections[0]; c.Applied != 2*time.Hour+54*time.Minute || c.Approximate == 0 || c.Approximate > 3*time.Hour {
		t.Errorf("not asked again: %+v", c)
	}
	total, _ := whole(st)
	if exact, _ := whole(beforehand); total == exact || total < exact*0.99 || total > exact*1.01 {
		t.Errorf("in proportion: %v events, exactly %v", total, exact)
	}
	missing := e.Unanswered("it", days.Span)
	if len(missing) != 2 {
		t.Fatalf("asked for again: %v, want the slots of both edges", missing)
	}
	for _, m := range missing {
		observe(t, e, piece(e.Aligned("it", m)))
	}
	if left := e.Unanswered("it", days.Span); len(left) > 0 {
		t.Errorf("still to be asked for: %v", left)
	}
	a, b := e.Evaluate(now), want.Evaluate(now)
	if a[0].Corrections[0] != b[0].Corrections[0] {
		t.Errorf("asked again: %+v, want %+v", a[0].Corrections[0], b[0].Corrections[0])
	}
	if a, b := counted(a), counted(b); !reflect.DeepEqual(a, b) {
		t.Errorf("asked again:\n got %+v\nwant %+v", a, b)
	}
	e.Set([]slo.Objective{o})
	if got := counted(e.Evaluate(now)); !reflect.DeepEqual(got, plain) {
		t.Errorf("removed:\n got %+v\nwant %+v", got, plain)
	}

	// A source that has forgotten: its answer must not make us forget, too.
	e = build()
	e.Set([]slo.Objective{corrected})
	for _, m := range e.Unanswered("it", days.Span) {
		observe(t, e, slo.Sample{SLO: "it", Span: e.Aligned("it", m)})
	}
	again := e.Evaluate(now)[0]
	if got, _ := whole(again); got != total || again.Corrections[0].Approximate == 0 || again.Windows[len(again.Windows)-1].Coverage != 20.0/30 {
		t.Errorf("forgotten by the source: %v events, %+v; want %v", got, again.Corrections[0], total)
	}
	if left := e.Unanswered("it", days.Span); len(left) > 0 {
		t.Errorf("asked for once more: %v", left)
	}
	e.Set([]slo.Objective{o})
	if got := counted(e.Evaluate(now)); !reflect.DeepEqual(got, plain) {
		t.Errorf("removed:\n got %+v\nwant %+v", got, plain)
	}
}

// An outage keeps its page; a correction of what the page was for ends it all the same.
func TestCorrectionEndsAHeldPage(t *testing.T) {
	o := objective(t, "99.9", slo.RollingPeriod(30*slo.Day))
	e := engine(t, 30*time.Second, o)
	span := slo.Span{From: began, To: began.Add(2 * time.Hour)}
	var g slo.GroupSample
	for at := began.Add(30 * time.Second); !at.After(span.To); at = at.Add(30 * time.Second) {
		inc := slo.Increment{At: at, Total: 100}
		if at.After(began.Add(100 * time.Minute)) {
			inc.Bad = 50
		}
		g.Increments = append(g.Increments, inc)
	}
	observe(t, e, slo.Sample{SLO: "it", Span: span, Covered: []slo.Span{span}, Groups: []slo.GroupSample{g}})
	later := span.To.Add(20 * time.Minute)
	if page := e.Evaluate(later)[0].Alerts[0]; !page.Firing || !page.Pairs[0].Held {
		t.Fatalf("the page is not held: %+v", page)
	}
	o.Corrections = []slo.Correction{once(slo.Good, began.Add(100*time.Minute), later)}
	e.Set([]slo.Objective{o})
	if page := e.Evaluate(later)[0].Alerts[0]; page.Firing || !page.Pairs[0].Held {
		t.Errorf("the page is still held: %+v", page)
	}
	o.Corrections = nil
	e.Set([]slo.Objective{o})
	if page := e.Evaluate(later)[0].Alerts[0]; !page.Firing {
		t.Errorf("the page does not come back: %+v", page)
	}
}

// Slices that a correction touches are skipped whole, or good whole.
func TestCorrectedSlices(t *testing.T) {
	for effect, want := range map[slo.Effect][2]float64{slo.Drop: {10, 5}, slo.Good: {12, 5}} {
		o := objective(t, "99", slo.RollingPeriod(30*slo.Day))
		o.Budgeting = slo.Budgeting{Method: slo.Timeslices, Slice: 5 * time.Minute, Empty: slo.EmptyBad}
		o.Budgeting.Target, _ = slo.ParsePercent("95")
		// From the middle of the fourth slice to the middle of the fifth.
		o.Corrections = []slo.Correction{once(effect, began.Add(17*time.Minute), began.Add(23*time.Minute))}
		e := engine(t, time.Minute, o)
		span := slo.Span{From: began, To: began.Add(time.Hour)}
		var g slo.GroupSample
		for i := 1; i <= 60; i++ { // bad in the first half hour, and nothing at all in the last five minutes
			inc := slo.Increment{At: began.Add(time.Duration(i) * time.Minute), Total: 10}
			if i <= 30 {
				inc.Bad = 10
			}
			if i <= 55 {
				g.Increments = append(g.Increments, inc)
			}
		}
		observe(t, e, slo.Sample{SLO: "it", Span: span, Covered: []slo.Span{span}, Groups: []slo.GroupSample{g}})
		w := e.Evaluate(span.To)[0].Windows[2]
		if got := [2]float64{w.Total, w.Bad}; got != want {
			t.Errorf("%s: %v slices, want %v", effect, got, want)
		}
	}
}
