package slo_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// An objective says the same alone and in company, whatever becomes of the others: answers that come
// together and go the short way give what answers that come one by one and go the long way give.
func FuzzCompanyChangesNothing(f *testing.F) {
	for seed := range uint64(12) {
		f.Add(seed, uint16(200+250*seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, length uint16) {
		r := rand.New(rand.NewPCG(seed, 21))
		tick := []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute}[seed%4]
		objectives := make([]slo.Objective, 2+r.IntN(7))
		alone := make([]*slo.Engine, len(objectives))
		for i := range objectives {
			o := objective(t, []string{"99", "99.9", "90"}[r.IntN(3)], []slo.Period{
				slo.RollingPeriod(7 * slo.Day), slo.RollingPeriod(30 * slo.Day), slo.CalendarPeriod(slo.Week, time.UTC),
			}[r.IntN(3)])
			o.Name = fmt.Sprint("slo-", i)
			if r.IntN(4) == 0 {
				o.Delay = 2 * tick
			}
			o.Fractional = r.IntN(5) == 0
			objectives[i] = o
			alone[i] = engine(t, tick, o)
			alone[i].Watch(began)
		}
		together := engine(t, tick, objectives...)
		together.Watch(began)
		now := began
		compare := func() {
			t.Helper()
			all := status(together, now)
			for i, e := range alone {
				if one := status(e, now)[0]; !reflect.DeepEqual(all[i], one) {
					t.Fatalf("%s:\ntogether %+v\nalone    %+v", objectives[i].Name, all[i], one)
				}
			}
		}
		for range length % 5000 {
			now = now.Add(tick)
			outage := r.IntN(12) == 0
			var samples []slo.Sample
			for i := range objectives {
				if outage && r.IntN(3) > 0 || r.IntN(200) == 0 {
					continue // not answered
				}
				s := traffic(r, now.Add(-tick-objectives[i].Delay), 1, tick)
				s.SLO = objectives[i].Name
				if r.IntN(40) > 0 {
					s.Covered = []slo.Span{s.Span}
				}
				s.Newest = s.Span.To
				samples = append(samples, s)
				s.Groups = append(s.Groups[:1:1], slo.GroupSample{}) // nothing more, but the long way
				observe(t, alone[i], s)
			}
			switch r.IntN(3) {
			case 0:
				for _, s := range samples {
					observe(t, together, s)
				}
			case 1:
				r.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
				fallthrough
			default:
				observe(t, together, samples...)
			}
			if len(samples) > 0 && r.IntN(10) == 0 {
				observe(t, together, samples[r.IntN(len(samples))]) // asked twice
			}
			if r.IntN(50) == 0 { // an hour of one of them is asked again
				i := r.IntN(len(objectives))
				n := 1 + r.IntN(int(max(time.Hour/tick, 1)))
				s := traffic(r, now.Add(-objectives[i].Delay-time.Duration(n)*tick), n, tick)
				s.SLO = objectives[i].Name
				observe(t, together, s)
				observe(t, alone[i], s)
			}
			compare()
		}
	})
}

// Objectives come, go and change while others run, and none of the others notices.
func TestComingAndGoing(t *testing.T) {
	const tick = time.Minute
	r := rand.New(rand.NewPCG(8, 8))
	o := objective(t, "99.9", slo.RollingPeriod(30*slo.Day))
	alone, e := engine(t, tick, o), engine(t, tick, o)
	alone.Watch(began)
	e.Watch(began)
	now := began
	for round := range 40 {
		around := []slo.Objective{o}
		for i := range r.IntN(20) {
			other := objective(t, []string{"99", "95"}[r.IntN(2)], slo.RollingPeriod(time.Duration(7+7*r.IntN(4))*slo.Day))
			other.Name = fmt.Sprint("other-", i)
			other.Delay = time.Duration(r.IntN(2)) * tick
			if r.IntN(4) == 0 {
				other.GroupBy, other.GroupLimit = []string{"route"}, 3
			}
			around = append(around, other)
		}
		r.Shuffle(len(around), func(i, j int) { around[i], around[j] = around[j], around[i] })
		e.Set(around)
		for range 1 + r.IntN(100) {
			now = now.Add(tick)
			var samples []slo.Sample
			for _, a := range around {
				s := traffic(r, now.Add(-tick-a.Delay), 1, tick)
				s.SLO, s.Covered = a.Name, []slo.Span{s.Span}
				if len(a.GroupBy) > 0 {
					s.Groups[0].Labels = []string{[]string{"/a", "/b", "/c", "/d", "/e"}[r.IntN(5)]}
				}
				samples = append(samples, s)
				if a.Name == o.Name {
					observe(t, alone, s)
				}
			}
			observe(t, e, samples...)
			want := status(alone, now)[0]
			found := false
			for _, st := range e.Evaluate(now) {
				if st.Objective.Name != o.Name {
					continue
				}
				found, st.Objective = true, nil
				if !reflect.DeepEqual(st, want) {
					t.Fatalf("round %d:\namong others %+v\nalone        %+v", round, st, want)
				}
			}
			if !found {
				t.Fatalf("round %d: it is not there", round)
			}
		}
	}
}

// An objective that is idle after a burst of 1e12 is exactly idle, and a billionth is not lost beside
// a counter of 1e15.
func TestNumbersStayRight(t *testing.T) {
	const tick = 5 * time.Minute
	e := engine(t, tick, objective(t, "99.9", slo.RollingPeriod(7*slo.Day)))
	e.Watch(began)
	now := began
	put := func(total, bad float64) slo.Status {
		t.Helper()
		now = now.Add(tick)
		span := slo.Span{From: now.Add(-tick), To: now}
		observe(t, e, slo.Sample{SLO: "it", Span: span, Covered: []slo.Span{span}, Groups: []slo.GroupSample{{
			Increments: []slo.Increment{{At: now, Total: total, Bad: bad}},
		}}})
		return e.Evaluate(now)[0]
	}
	put(10, 1)
	put(1e12, 1e12)
	var last slo.Status
	for now.Before(began.Add(9 * slo.Day)) {
		last = put(0, 0)
	}
	for _, w := range last.Windows {
		if w.Total != 0 || w.Bad != 0 || w.BurnRate != slo.Defined(0) {
			t.Errorf("%s after the burst: %v of %v, burn %v", w.Key, w.Bad, w.Total, w.BurnRate)
		}
	}
	if last.Budget.RemainingRatio != 1 {
		t.Errorf("budget after the burst: %v", last.Budget.RemainingRatio)
	}
	put(1e15, 0)
	last = put(1e6, 1e6) // 1e-9 of it
	whole := last.Windows[len(last.Windows)-1]
	if whole.Total != 1e15+1e6 || whole.Bad != 1e6 {
		t.Errorf("beside 1e15: %v of %v", whole.Bad, whole.Total)
	}
	if want := 1e6 / (1e15 + 1e6); math.Abs(whole.ErrorRatio.Float/want-1) > 1e-9 {
		t.Errorf("error ratio %v, want %v", whole.ErrorRatio.Float, want)
	}
}

// A row that outgrows 32 bits says the same as one that was wide from the beginning, also where it
// comes to it step by step and by the past.
func TestOutgrowing(t *testing.T) {
	const tick = time.Minute
	narrow := objective(t, "99.9", slo.RollingPeriod(7*slo.Day))
	wide := narrow
	wide.Name, wide.Fractional = "wide", true
	e := engine(t, tick, narrow, wide)
	e.Watch(began)
	r := rand.New(rand.NewPCG(5, 6))
	now := began
	for range 6000 {
		now = now.Add(tick)
		s := traffic(r, now.Add(-tick), 1, tick)
		s.Covered = []slo.Span{s.Span}
		if r.IntN(3) > 0 {
			total := float64(r.IntN(1 << 20))
			s.Groups[0].Increments = []slo.Increment{{At: now, Total: total, Bad: math.Floor(total / 3)}}
		}
		if r.IntN(500) == 0 {
			s = traffic(r, now.Add(-2*time.Hour), 100, tick)
		}
		both := []slo.Sample{s, s}
		both[1].SLO = "wide"
		observe(t, e, both...)
		all := status(e, now)
		if !reflect.DeepEqual(all[0], all[1]) {
			t.Fatalf("at %s:\nnarrow %+v\nwide   %+v", now, all[0], all[1])
		}
	}
	if total := status(e, now)[0].Windows[7].Total; total < 1<<31 {
		t.Fatalf("only %v events: nothing was outgrown", total)
	}
}
