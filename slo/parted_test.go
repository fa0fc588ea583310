package slo_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// A state that is restored in parts, at the same time, is the one that is restored in one: rows of
// several blocks, some of which come to hold too much for a narrow one on the way.
func TestRestoredInParts(t *testing.T) {
	const tick = 30 * time.Second
	var objectives []slo.Objective
	for i := range 300 {
		o := objective(t, "99.9", slo.RollingPeriod(7*slo.Day))
		o.Name = fmt.Sprintf("slo-%03d", i)
		objectives = append(objectives, o)
	}
	steady, d := engine(t, tick, objectives...), disk{}
	steady.Keeping()
	now := began
	for range 40 {
		from := now
		now = now.Add(3 * time.Hour)
		for i, o := range objectives {
			total := float64(10 + i)
			if i%7 == 3 {
				total = 1 << 26 // more than 2^30 after sixteen of them
			}
			observe(t, steady, slo.Sample{
				SLO: o.Name, Span: slo.Span{From: from, To: now}, Covered: []slo.Span{{From: from, To: now}}, Newest: now,
				Groups: []slo.GroupSample{{Increments: []slo.Increment{
					{At: from.Add(tick), Total: total, Bad: float64(i % 3)}, {At: now, Total: total / 2, Bad: 1},
				}}},
			})
		}
		steady.Judge(now)
		d.commit(steady)
	}
	records := slices.Collect(maps.Values(d))
	next := now.Add(tick)
	goOn := func(e *slo.Engine) []slo.Status { // a tick of the common kind
		for i, o := range objectives {
			observe(t, e, slo.Sample{
				SLO: o.Name, Span: slo.Span{From: now, To: next}, Covered: []slo.Span{{From: now, To: next}}, Newest: next,
				Groups: []slo.GroupSample{{Increments: []slo.Increment{{At: next, Total: float64(1000 + i), Bad: 5}}}},
			})
		}
		return status(e, next)
	}
	want := status(steady, now)
	wantNext := goOn(steady)
	for _, parts := range []int{1, 2, 3, 16} {
		e := engine(t, tick, objectives...)
		if err := e.RestoreParted(records, parts, func(part func(int)) {
			var all sync.WaitGroup
			for i := range parts {
				all.Go(func() { part(i) })
			}
			all.Wait()
		}); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(status(e, now), want) {
			t.Fatalf("%d parts: another state than before the restart", parts)
		}
		if !reflect.DeepEqual(goOn(e), wantNext) {
			t.Fatalf("%d parts: goes on otherwise than what never stopped", parts)
		}
	}
}

// What cannot be read is refused in whichever part it is found.
func TestRestoredInPartsRefusesWhatIsCutShort(t *testing.T) {
	o := objective(t, "99.9", slo.RollingPeriod(7*slo.Day))
	e, d := engine(t, 30*time.Second, o), disk{}
	e.Keeping()
	to := began.Add(time.Hour)
	observe(t, e, slo.Sample{
		SLO: o.Name, Span: slo.Span{From: began, To: to}, Covered: []slo.Span{{From: began, To: to}}, Newest: to,
		Groups: []slo.GroupSample{{Increments: []slo.Increment{{At: to, Total: 100, Bad: 5}}}},
	})
	e.Judge(to)
	d.commit(e)
	cut := 0
	for key, r := range d {
		if key[0] == "slots" && len(r.Value) > 0 {
			r.Value = r.Value[:len(r.Value)-1]
			d[key] = r
			cut++
		}
	}
	if cut == 0 {
		t.Fatal("no slot was written")
	}
	err := engine(t, 30*time.Second, o).RestoreParted(slices.Collect(maps.Values(d)), 2, func(part func(int)) { part(1); part(0) })
	if err == nil {
		t.Fatal("slots that are cut short were accepted")
	}
}
