package slo_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// disk is a store that cannot fail: what was made durable, by bucket and key.
type disk map[[2]string]slo.Record

// commit makes an engine's changes durable.
func (d disk) commit(e *slo.Engine) {
	records, done := e.Changes()
	for _, r := range records {
		key := [2]string{r.Bucket, string(r.Key)}
		if r.Value == nil {
			delete(d, key)
		} else {
			r.Value = bytes.Clone(r.Value) // the engine writes over it
			d[key] = r
		}
	}
	done()
}

func (d disk) restore(t testing.TB, tick time.Duration, objectives ...slo.Objective) *slo.Engine {
	t.Helper()
	e := engine(t, tick, objectives...)
	if err := e.Restore(slices.Collect(maps.Values(d))); err != nil {
		t.Fatal(err)
	}
	return e
}

// An engine that dies at any commit and comes back says what one that never died says.
func FuzzDeathChangesNothing(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint16(300+700*seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, length uint16) {
		r := rand.New(rand.NewPCG(seed, 11))
		tick := []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute}[seed%4]
		grouped := objective(t, "99", slo.RollingPeriod(7*slo.Day))
		grouped.Name, grouped.GroupBy, grouped.GroupLimit = "grouped", []string{"route"}, 2
		slices1 := objective(t, "99", slo.CalendarPeriod(slo.Month, time.UTC))
		slices1.Name, slices1.Budgeting = "slices", slo.Budgeting{Method: slo.RatioTimeslices, Slice: 2 * tick}
		late := objective(t, "99.9", slo.RollingPeriod(30*slo.Day))
		late.Name, late.Delay = "late", 3*tick
		corrected := objective(t, "99", slo.RollingPeriod(7*slo.Day))
		corrected.Name, corrected.GroupBy = "corrected", []string{"route"}
		slices2 := slices1
		slices2.Name = "slices corrected"
		objectives := []slo.Objective{objective(t, "99.9", slo.RollingPeriod(30*slo.Day)), grouped, slices1, late, corrected, slices2}
		correct := func(now time.Time) { // some of them, others than before, or none
			objectives = slices.Clone(objectives)
			for i := range objectives {
				o := &objectives[i]
				if o.Name != "corrected" && o.Name != "slices corrected" {
					continue
				}
				o.Corrections = nil
				for range r.IntN(3) {
					from := now.Add(-time.Duration(r.IntN(3000)) * tick)
					o.Corrections = append(o.Corrections, once([]slo.Effect{slo.Drop, slo.Good}[r.IntN(2)], from, from.Add(time.Duration(1+r.IntN(4000))*tick)))
				}
			}
		}
		correct(began)

		d := disk{}
		steady, mortal := engine(t, tick, objectives...), d.restore(t, tick, objectives...)
		steady.Watch(began)
		mortal.Watch(began)
		both := func(s slo.Sample) {
			observe(t, steady, s)
			observe(t, mortal, s)
		}
		now := began
		compare := func(when string) {
			t.Helper()
			a, b := status(steady, now), status(mortal, now)
			if !reflect.DeepEqual(a, b) {
				for i := range a {
					if i < len(b) && !reflect.DeepEqual(a[i], b[i]) {
						t.Fatalf("%s, row %d:\nsteady %+v\nmortal %+v", when, i, a[i], b[i])
					}
				}
				t.Fatalf("%s: %d rows, want %d", when, len(b), len(a))
			}
			// Their histories add up, and are the same.
			step := time.Duration(1+r.IntN(600)) * tick
			before := courses(t, steady, steady.Evaluate(now), step)
			after := courses(t, mortal, mortal.Evaluate(now), step)
			if len(after) != len(before) {
				t.Fatalf("%s: %d courses, want %d", when, len(after), len(before))
			}
			for i := range before {
				before[i].Objective, after[i].Objective = nil, nil
				if !reflect.DeepEqual(before[i], after[i]) {
					t.Fatalf("%s, course %d:\nsteady %+v\nmortal %+v", when, i, before[i], after[i])
				}
			}
		}
		for left := int(length % 6000); left > 0; {
			n := 1 + r.IntN(1+r.IntN(min(left, 200)))
			left -= n
			from := now
			now = now.Add(time.Duration(n) * tick)
			for _, o := range objectives {
				if r.IntN(6) == 0 {
					continue // not answered
				}
				s := traffic(r, from, n, tick)
				if o.Delay > 0 {
					s = traffic(r, from.Add(-o.Delay), n, tick)
				}
				s.SLO = o.Name
				if len(o.GroupBy) > 0 {
					s.Groups[0].Labels = []string{[]string{"/a", "/b", "/c", "/d"}[r.IntN(4)]}
				}
				if gap := time.Duration(r.IntN(5000)+1) * time.Second; r.IntN(10) == 0 && !o.Budgeting.Slices() {
					end := s.Span.To.Add(-tick / 3)
					s.Groups[0].Spreads = []slo.Spread{{From: end.Add(-gap), To: end, Total: float64(r.IntN(1000) + 5), Bad: float64(r.IntN(5))}}
				}
				both(s)
			}
			if r.IntN(5) == 0 { // late answers and the past
				back := time.Duration(1+r.IntN(2000)) * tick
				s := traffic(r, now.Add(-back), 1+r.IntN(int(back/tick)), tick)
				s.Span = steady.Aligned("it", s.Span)
				if s.Span.To.After(now) {
					s.Span.To = now
				}
				s.Covered = []slo.Span{s.Span}
				both(s)
			}
			if r.IntN(3) > 0 {
				steady.Evaluate(now)
				mortal.Evaluate(now)
			}
			if r.IntN(2) == 0 {
				d.commit(mortal)
				if r.IntN(4) == 0 {
					mortal = d.restore(t, tick, objectives...)
					mortal.Watch(began)
					compare("after death")
				}
				if r.IntN(4) == 0 { // corrections change, in one life or between two
					correct(now)
					steady.Set(objectives)
					if r.IntN(2) == 0 {
						d.commit(mortal)
						mortal = d.restore(t, tick, objectives...)
						mortal.Watch(began)
					} else {
						mortal.Set(objectives)
					}
					compare("after other corrections")
					for _, o := range objectives {
						if a, b := steady.Unanswered(o.Name, slo.Span{From: began, To: now}), mortal.Unanswered(o.Name, slo.Span{From: began, To: now}); !reflect.DeepEqual(a, b) {
							t.Fatalf("%s: steady asks for %v, mortal for %v", o.Name, a, b)
						}
					}
				}
			}
		}
		d.commit(mortal)
		mortal = d.restore(t, tick, objectives...)
		compare("at the end")
	})
}

// The store stays bounded: what expires goes.
func TestStateIsBounded(t *testing.T) {
	const tick = 5 * time.Minute
	o := objective(t, "99.9", slo.RollingPeriod(7*slo.Day))
	d := disk{}
	e := d.restore(t, tick, o)
	r := rand.New(rand.NewPCG(5, 5))
	now, atTwenty := began, 0
	for day := range 120 {
		for range 12 {
			s := traffic(r, now, 24, tick)
			observe(t, e, s)
			now = s.Span.To
			e.Evaluate(now)
			d.commit(e)
		}
		if day == 20 {
			atTwenty = len(d)
		}
	}
	if len(d) > atTwenty+atTwenty/10 {
		t.Errorf("%d records after 20 days, %d after 120", atTwenty, len(d))
	}
}

// A commit that failed is part of the next one.
func TestFailedCommitIsNotForgotten(t *testing.T) {
	o := objective(t, "99.9", slo.RollingPeriod(7*slo.Day))
	d := disk{}
	e := d.restore(t, time.Minute, o)
	s := traffic(rand.New(rand.NewPCG(3, 3)), began, 300, time.Minute)
	left, right := halves(s, began.Add(100*time.Minute))
	observe(t, e, left)
	e.Changes() // the disk was full
	observe(t, e, right)
	d.commit(e)
	want, got := status(e, s.Span.To), status(d.restore(t, time.Minute, o), s.Span.To)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// What changed shape, or is no more, begins anew; a name that comes back is not what it was.
func TestStateOfOtherObjectives(t *testing.T) {
	o := objective(t, "99.9", slo.RollingPeriod(7*slo.Day))
	s := traffic(rand.New(rand.NewPCG(4, 4)), began, 300, time.Minute)
	saved := func() disk {
		d := disk{}
		e := d.restore(t, time.Minute, o)
		observe(t, e, s)
		d.commit(e)
		return d
	}
	total := func(e *slo.Engine) float64 { return e.Evaluate(s.Span.To)[0].Windows[0].Total }

	d := saved()
	if got := total(d.restore(t, time.Minute, o)); got == 0 {
		t.Fatal("nothing was restored")
	}
	other := o
	other.Fractional = true
	if got := total(d.restore(t, time.Minute, other)); got != 0 {
		t.Errorf("counts in another unit were taken over: %v", got)
	}
	renamed := o
	renamed.Name = "renamed"
	e := d.restore(t, time.Minute, renamed)
	d.commit(e)
	if got := total(d.restore(t, time.Minute, o)); got != 0 {
		t.Errorf("a name that came back has %v events", got)
	}

	// The same within one life: removed and added again by reloads.
	d = saved()
	e = d.restore(t, time.Minute, o)
	e.Set([]slo.Objective{renamed})
	d.commit(e)
	e.Set([]slo.Objective{o, renamed})
	next := s
	next.Span = slo.Span{From: s.Span.To, To: s.Span.To.Add(time.Minute)}
	next.Groups, next.Covered = nil, nil
	observe(t, e, next)
	d.commit(e)
	again := d.restore(t, time.Minute, o, renamed)
	if got := again.Evaluate(next.Span.To)[0].Windows; got[len(got)-1].Total != 0 {
		t.Errorf("events of the removed objective came back: %v", got[len(got)-1].Total)
	}

	wrong, err := slo.NewEngine(5 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	wrong.Set([]slo.Objective{o})
	if err := wrong.Restore(slices.Collect(maps.Values(d))); !errors.Is(err, slo.ErrOtherTick) {
		t.Errorf("another tick: %v, want ErrOtherTick", err)
	}
}

// testdata/state holds records as every version of yoyu wrote them, with what it said then; the files
// are never written again. The objectives are those of each.
func TestStatesOfOlderVersions(t *testing.T) {
	const tick = time.Minute
	grouped := objective(t, "99", slo.RollingPeriod(7*slo.Day))
	grouped.Name, grouped.GroupBy, grouped.GroupLimit = "grouped", []string{"route"}, 2
	sliced := objective(t, "99", slo.CalendarPeriod(slo.Month, time.UTC))
	sliced.Name, sliced.Budgeting = "slices", slo.Budgeting{Method: slo.RatioTimeslices, Slice: 2 * tick}
	late := objective(t, "99.9", slo.RollingPeriod(30*slo.Day))
	late.Name, late.Delay = "late", 3*tick
	objectives := []slo.Objective{objective(t, "99.9", slo.RollingPeriod(30*slo.Day)), grouped, sliced, late}

	files, err := filepath.Glob("testdata/state/*.json.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no states: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			unpacked, err := gzip.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			var old struct {
				At      time.Time
				Records []slo.Record
				Status  []slo.Status
			}
			if err := json.NewDecoder(unpacked).Decode(&old); err != nil {
				t.Fatal(err)
			}
			d := disk{}
			for _, r := range old.Records {
				d[[2]string{r.Bucket, string(r.Key)}] = r
			}
			same := func(when string, e *slo.Engine) {
				t.Helper()
				now := status(e, old.At)
				if len(now) != len(old.Status) {
					t.Fatalf("%s: %d rows, there were %d", when, len(now), len(old.Status))
				}
				for i := range now {
					text := func(st slo.Status) string { // a factor is not among what is written
						t.Helper()
						out, err := json.Marshal(st)
						if err != nil {
							t.Fatal(err)
						}
						return string(out)
					}
					if got, was := text(now[i]), text(old.Status[i]); got != was {
						t.Errorf("%s, row %d:\ngot  %s\nwas  %s", when, i, got, was)
					}
				}
			}
			e := d.restore(t, tick, objectives...)
			e.Watch(began)
			same("as read", e)
			d.commit(e)
			same("written again", d.restore(t, tick, objectives...))
		})
	}
}
