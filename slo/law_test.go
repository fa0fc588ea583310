package slo_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// model is the dumbest engine there is: every tick's counts in a map. The real one is held to it.
type model struct {
	tick    time.Duration
	total   map[int64]float64
	bad     map[int64]float64
	covered map[int64]bool
}

func newModel(tick time.Duration) *model {
	return &model{tick, map[int64]float64{}, map[int64]float64{}, map[int64]bool{}}
}

func (m *model) put(s slo.Sample) {
	tick := int64(m.tick / time.Second)
	for at := s.Span.From.Unix() + tick; at <= s.Span.To.Unix(); at += tick {
		delete(m.total, at)
		delete(m.bad, at)
		delete(m.covered, at)
	}
	for _, c := range s.Covered {
		for at := c.From.Unix() + tick; at <= c.To.Unix(); at += tick {
			m.covered[at] = true
		}
	}
	for _, g := range s.Groups {
		for _, inc := range g.Increments {
			m.total[inc.At.Unix()] += inc.Total
			m.bad[inc.At.Unix()] += inc.Bad
		}
	}
}

// count is what happened in (to − length, to].
func (m *model) count(to time.Time, length time.Duration) (total, bad float64) {
	for at, v := range m.total {
		if at <= to.Unix() && at > to.Add(-length).Unix() {
			total += v
			bad += m.bad[at]
		}
	}
	return total, bad
}

func (m *model) coverage(to time.Time, length time.Duration) float64 {
	n := 0
	for at := range m.covered {
		if at <= to.Unix() && at > to.Add(-length).Unix() {
			n++
		}
	}
	return float64(n) / float64(length/m.tick)
}

var began = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func objective(t testing.TB, percent string, period slo.Period) slo.Objective {
	target, err := slo.ParsePercent(percent)
	if err != nil {
		t.Fatal(err)
	}
	return slo.Objective{Name: "it", Target: target, Period: period, Policy: slo.Workbook(period)}
}

func engine(t testing.TB, tick time.Duration, o ...slo.Objective) *slo.Engine {
	e, err := slo.NewEngine(tick)
	if err != nil {
		t.Fatal(err)
	}
	e.Set(o)
	return e
}

func observe(t testing.TB, e *slo.Engine, samples ...slo.Sample) {
	t.Helper()
	if err := e.Observe(samples...); err != nil {
		t.Fatal(err)
	}
}

// traffic is random traffic for a span: whole counts on ticks, some of them silent, mostly covered.
func traffic(r *rand.Rand, from time.Time, ticks int, tick time.Duration) slo.Sample {
	s := slo.Sample{SLO: "it", Span: slo.Span{From: from, To: from.Add(time.Duration(ticks) * tick)}}
	var g slo.GroupSample
	for at := from.Add(tick); !at.After(s.Span.To); at = at.Add(tick) {
		if r.IntN(8) > 0 {
			s.Covered = append(s.Covered, slo.Span{From: at.Add(-tick), To: at})
		}
		if r.IntN(4) == 0 {
			continue
		}
		total := float64(r.IntN(1000))
		if r.IntN(50) == 0 {
			total *= 1e6
		}
		g.Increments = append(g.Increments, slo.Increment{At: at, Total: total, Bad: float64(r.Int64N(int64(total) + 1))})
	}
	s.Groups = []slo.GroupSample{g}
	return s
}

// halves cuts a sample in two at a moment.
func halves(s slo.Sample, at time.Time) (left, right slo.Sample) {
	left, right = s, s
	left.Span.To, right.Span.From = at, at
	left.Covered, right.Covered = nil, nil
	for _, c := range s.Covered {
		if c.To.After(at) {
			right.Covered = append(right.Covered, c)
		} else {
			left.Covered = append(left.Covered, c)
		}
	}
	var a, b slo.GroupSample
	for _, inc := range s.Groups[0].Increments {
		if inc.At.After(at) {
			b.Increments = append(b.Increments, inc)
		} else {
			a.Increments = append(a.Increments, inc)
		}
	}
	left.Groups, right.Groups = []slo.GroupSample{a}, []slo.GroupSample{b}
	return left, right
}

// status is what Evaluate says, with the pointer to the objective looked through.
func status(e *slo.Engine, at time.Time) []slo.Status {
	all := e.Evaluate(at)
	for i := range all {
		all[i].Objective = nil
	}
	return all
}

// Windows up to an hour are exact; a longer one lies between the exact counts of a window 0.8 %
// shorter and one 0.8 % longer. A window never holds more than was observed.
func FuzzWindowsAgainstModel(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint16(3000), uint8(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, length uint16, pick uint8) {
		tick := []time.Duration{5 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute}[pick%4]
		r := rand.New(rand.NewPCG(seed, 1))
		e, m := engine(t, tick, objective(t, "99.9", slo.RollingPeriod(7*slo.Day))), newModel(tick)
		now := began
		for left := int(length % 6000); left > 0; {
			n := 1 + r.IntN(1+r.IntN(min(left, 400)))
			left -= n
			if r.IntN(10) > 0 { // else not answered
				s := traffic(r, now, n, tick)
				observe(t, e, s)
				m.put(s)
			}
			now = now.Add(time.Duration(n) * tick)
			if r.IntN(4) == 0 { // a correction of the recent past replaces what was known
				back := time.Duration(1+r.IntN(int(time.Hour/tick))) * tick
				s := traffic(r, now.Add(-back), 1+r.IntN(int(back/tick)), tick)
				observe(t, e, s)
				m.put(s)
			}
		}
		everything := 0.0
		for _, v := range m.total {
			everything += v
		}
		for _, w := range e.Evaluate(now)[0].Windows {
			total, bad := m.count(now, w.Length)
			if w.Length <= time.Hour {
				if w.Total != total || w.Bad != bad {
					t.Errorf("%s: %v of %v, want exactly %v of %v", w.Key, w.Bad, w.Total, bad, total)
				}
			} else {
				// Total and bad of one instant, at most 0.8 % of the length away.
				found := false
				for edge := -(w.Length / 125 / tick * tick); edge <= w.Length/125 && !found; edge += tick {
					total, bad := m.count(now, w.Length+edge)
					found = total == w.Total && bad == w.Bad
				}
				if !found {
					t.Errorf("%s: %v of %v is no window of %s ± 0.8 %%, exactly it is %v of %v", w.Key, w.Bad, w.Total, w.Length, bad, total)
				}
			}
			if w.Total > everything || w.Bad > w.Total {
				t.Errorf("%s holds %v of %v, more than the %v observed", w.Key, w.Bad, w.Total, everything)
			}
			if got, want := w.Coverage, m.coverage(now, w.Length); got < want-1e-9 || got > want+1e-9 {
				t.Errorf("%s: coverage %v, want %v", w.Key, got, want)
			}
		}
	})
}

// One span or its two halves give the same status, and so do duplicates and any order.
func FuzzPutNotAdded(f *testing.F) {
	for seed := range uint64(6) {
		f.Add(seed, uint8(100), uint8(40))
	}
	f.Fuzz(func(t *testing.T, seed uint64, length, cut uint8) {
		const tick = 30 * time.Second
		r := rand.New(rand.NewPCG(seed, 2))
		n := int(length)%200 + 2
		history := traffic(r, began, 3000, tick)
		whole := traffic(r, history.Span.To, n, tick)
		left, right := halves(whole, whole.Span.From.Add(time.Duration(1+int(cut)%(n-1))*tick))
		orders := map[string][]slo.Sample{
			"once":       {whole},
			"halves":     {left, right},
			"reordered":  {right, left},
			"twice":      {whole, whole},
			"overlapped": {left, whole, right, left},
		}
		var want []slo.Status
		for _, name := range []string{"once", "halves", "reordered", "twice", "overlapped"} {
			e := engine(t, tick, objective(t, "99.9", slo.RollingPeriod(30*slo.Day)))
			observe(t, e, history)
			observe(t, e, orders[name]...)
			got := status(e, whole.Span.To)
			if want == nil {
				want = got
				continue
			}
			// The counters only rise: what was counted and taken back stays in them.
			for i := range got {
				if got[i].EventsTotal < want[i].EventsTotal {
					t.Errorf("%s: slo_events_total %v, want at least %v", name, got[i].EventsTotal, want[i].EventsTotal)
				}
				got[i].EventsTotal, got[i].BadEventsTotal = want[i].EventsTotal, want[i].BadEventsTotal
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
			}
		}
	})
}

// Spreads belong to the answer that learned them: asked again they are replaced, and the events
// before the answer's span come and go with them.
func FuzzSpreadsAreOwned(f *testing.F) {
	f.Add(uint64(1), uint16(1200), uint16(977), uint8(7))
	f.Add(uint64(2), uint16(3601), uint16(1), uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, gap, events uint16, bad uint8) {
		const tick = 30 * time.Second
		r := rand.New(rand.NewPCG(seed, 3))
		history := traffic(r, began, 1000, tick)
		learned := traffic(r, history.Span.To, 10, tick)
		plain := learned
		end := learned.Span.From.Add(95 * time.Second)
		learned.Groups = []slo.GroupSample{{
			Increments: learned.Groups[0].Increments,
			Spreads: []slo.Spread{{
				From: end.Add(-time.Duration(int(gap)+1) * time.Second), To: end,
				Total: float64(events), Bad: float64(min(uint16(bad), events)),
			}},
		}}
		counts := func(samples ...slo.Sample) (total, bad float64) {
			e := engine(t, tick, objective(t, "99.9", slo.RollingPeriod(30*slo.Day)))
			observe(t, e, history)
			observe(t, e, samples...)
			w := e.Evaluate(learned.Span.To)[0].Windows
			return w[len(w)-1].Total, w[len(w)-1].Bad
		}
		total, wrong := counts(plain)
		if gotTotal, gotBad := counts(learned); gotTotal != total+float64(events) || gotBad != wrong+float64(min(uint16(bad), events)) {
			t.Errorf("%v of %v, want %v and %v more", gotBad, gotTotal, events, bad)
		}
		twiceTotal, twiceBad := counts(learned, learned)
		if onceTotal, onceBad := counts(learned); twiceTotal != onceTotal || twiceBad != onceBad {
			t.Errorf("put twice: %v of %v, once: %v of %v", twiceBad, twiceTotal, onceBad, onceTotal)
		}
		if backTotal, backBad := counts(learned, plain); backTotal != total || backBad != wrong {
			t.Errorf("taken back: %v of %v, want %v of %v", backBad, backTotal, wrong, total)
		}
	})
}

// More bad events never raise what remains, and never stop an alert.
func FuzzMoreBadNeverHelps(f *testing.F) {
	f.Add(uint64(1), uint16(10), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, at uint16, more uint8) {
		const tick = time.Minute
		r := rand.New(rand.NewPCG(seed, 4))
		fine := traffic(r, began, 2000, tick)
		worse := fine
		incs := append([]slo.Increment(nil), fine.Groups[0].Increments...)
		i := int(at) % len(incs)
		incs[i].Bad = min(incs[i].Bad+float64(more), incs[i].Total)
		worse.Groups = []slo.GroupSample{{Increments: incs}}
		eval := func(s slo.Sample) slo.Status {
			e := engine(t, tick, objective(t, "99", slo.RollingPeriod(7*slo.Day)))
			observe(t, e, s)
			return e.Evaluate(s.Span.To)[0]
		}
		a, b := eval(fine), eval(worse)
		if b.Budget.RemainingRatio > a.Budget.RemainingRatio {
			t.Errorf("remaining rose from %v to %v", a.Budget.RemainingRatio, b.Budget.RemainingRatio)
		}
		for i := range a.Alerts {
			if a.Alerts[i].Firing && !b.Alerts[i].Firing {
				t.Errorf("%s stopped firing", a.Alerts[i].Severity)
			}
			if (b.Alerts[i].BurnRatio.Float > 1) != b.Alerts[i].Firing {
				t.Errorf("%s: burn ratio %v, firing %v", b.Alerts[i].Severity, b.Alerts[i].BurnRatio, b.Alerts[i].Firing)
			}
		}
	})
}

// The past may be put after the present, in whole coarse slots, oldest first.
func TestBackfillAfterTheFact(t *testing.T) {
	const tick = 30 * time.Second
	r := rand.New(rand.NewPCG(7, 7))
	days := traffic(r, began, 20*2880, tick)
	now := days.Span.To

	want := engine(t, tick, objective(t, "99.9", slo.RollingPeriod(30*slo.Day)))
	observe(t, want, days)

	got := engine(t, tick, objective(t, "99.9", slo.RollingPeriod(30*slo.Day)))
	past, present := halves(days, now.Add(-time.Hour))
	observe(t, got, present)
	missing := got.Unanswered("it", slo.Span{From: began, To: now})
	if len(missing) != 1 || missing[0] != (slo.Span{From: began, To: present.Span.From}) {
		t.Fatalf("missing %v, want everything before %s", missing, present.Span.From)
	}
	for chunk := past; ; {
		end := got.Aligned("it", slo.Span{From: chunk.Span.From, To: chunk.Span.From.Add(4 * time.Hour)}).To
		if !end.Before(chunk.Span.To) {
			observe(t, got, chunk)
			break
		}
		var piece slo.Sample
		piece, chunk = halves(chunk, end)
		observe(t, got, piece)
	}
	if missing := got.Unanswered("it", slo.Span{From: began, To: now}); len(missing) > 0 {
		t.Errorf("still missing %v", missing)
	}
	a, b := status(want, now), status(got, now)
	a[0].EventsTotal, a[0].BadEventsTotal = b[0].EventsTotal, b[0].BadEventsTotal
	for i, w := range a[0].Windows {
		if v := b[0].Windows[i]; v.Total != w.Total || v.Bad != w.Bad || v.Coverage != w.Coverage {
			t.Errorf("%s: %v of %v (%v), want %v of %v (%v)", w.Key, v.Bad, v.Total, v.Coverage, w.Bad, w.Total, w.Coverage)
		}
	}
}

// Groups beyond the limit are counted together, and nothing is lost.
func TestGroupLimit(t *testing.T) {
	o := objective(t, "99", slo.RollingPeriod(7*slo.Day))
	o.GroupBy, o.GroupLimit = []string{"route"}, 2
	e := engine(t, time.Minute, o)
	// /z comes first, and keeps its place.
	before := slo.Span{From: began.Add(-time.Minute), To: began}
	observe(t, e, slo.Sample{SLO: "it", Span: before, Covered: []slo.Span{before}, Groups: []slo.GroupSample{
		{Labels: []string{"/z"}, Increments: []slo.Increment{{At: began, Total: 1}}},
	}})
	span := slo.Span{From: began, To: began.Add(time.Minute)}
	sample := slo.Sample{SLO: "it", Span: span, Covered: []slo.Span{span}}
	for i, route := range []string{"/a", "/b", "/c", "/z"} {
		sample.Groups = append(sample.Groups, slo.GroupSample{
			Labels:     []string{route},
			Increments: []slo.Increment{{At: span.To, Total: float64(10 * (i + 1)), Bad: float64(i)}},
		})
	}
	observe(t, e, sample)
	observe(t, e, sample)
	got := map[string][2]float64{}
	for _, s := range e.Evaluate(span.To) {
		got[s.Labels[0]] = [2]float64{s.Windows[0].Total, s.Windows[0].Bad}
	}
	want := map[string][2]float64{"/a": {10, 0}, "/z": {41, 3}, slo.OtherGroup: {50, 3}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if e.Folded("it") != 2 {
		t.Errorf("%d groups folded, want 2", e.Folded("it"))
	}
	// One period after its last event a group goes, and its place is free.
	later := span.To.Add(7 * slo.Day)
	if all := e.Evaluate(later); len(all) != 1 || !all[0].NoGroup || len(all[0].Labels) != 0 {
		t.Errorf("after a period without events: %+v, want the objective without a group", all)
	}
}

// A changed objective or label keeps its history; the counters keep rising.
func TestChangesKeepHistory(t *testing.T) {
	o := objective(t, "99", slo.RollingPeriod(7*slo.Day))
	e := engine(t, time.Minute, o)
	s := traffic(rand.New(rand.NewPCG(1, 1)), began, 600, time.Minute)
	observe(t, e, s)
	before := e.Evaluate(s.Span.To)[0]
	o.Target, _ = slo.ParsePercent("99.5")
	o.Period = slo.RollingPeriod(30 * slo.Day)
	o.Policy = slo.Workbook(o.Period)
	e.Set([]slo.Objective{o})
	after := e.Evaluate(s.Span.To)[0]
	if a, b := before.Windows[len(before.Windows)-1], after.Windows[len(after.Windows)-1]; a.Total != b.Total || a.Bad != b.Bad {
		t.Errorf("%v of %v, want %v of %v", b.Bad, b.Total, a.Bad, a.Total)
	}
	if after.EventsTotal != before.EventsTotal {
		t.Errorf("slo_events_total fell from %v to %v", before.EventsTotal, after.EventsTotal)
	}
}

// History that is put after watching began leaves the counters alone.
func TestCountersOnlySeeWhatWasWatched(t *testing.T) {
	e := engine(t, time.Minute, objective(t, "99", slo.RollingPeriod(7*slo.Day)))
	s := traffic(rand.New(rand.NewPCG(2, 2)), began, 600, time.Minute)
	past, present := halves(s, began.Add(500*time.Minute))
	e.Watch(present.Span.From)
	observe(t, e, present, past)
	want := 0.0
	for _, inc := range present.Groups[0].Increments {
		want += inc.Total
	}
	if got := e.Evaluate(s.Span.To)[0].EventsTotal; got != want {
		t.Errorf("slo_events_total %v, want %v: the %v events of the past are no flow", got, want, len(past.Groups[0].Increments))
	}
}

// What happened while nobody was there counts once it is learned, and so does what a second life sees;
// the past of an objective that is new in the second life does not.
func TestCountersCountWhatAStopMissed(t *testing.T) {
	const tick = time.Minute
	sum := func(s slo.Sample) (total float64) {
		for _, inc := range s.Groups[0].Increments {
			total += inc.Total
		}
		return total
	}
	it := objective(t, "99", slo.RollingPeriod(7*slo.Day))
	e := engine(t, tick, it)
	e.Keeping()
	watched := began.Add(300 * time.Minute)
	e.Watch(watched)
	all := traffic(rand.New(rand.NewPCG(3, 3)), began, 1000, tick)
	past, rest := halves(all, watched)
	first, rest := halves(rest, began.Add(500*time.Minute))
	missed, second := halves(rest, began.Add(700*time.Minute))
	observe(t, e, past, first)
	d := disk{}
	d.commit(e)

	added := it
	added.Name = "added"
	again := d.restore(t, tick, it, added)
	again.Watch(second.Span.From)
	late := missed
	late.SLO = "added"
	observe(t, again, missed, late)
	late = second
	late.SLO = "added"
	observe(t, again, second, late)
	got := again.Evaluate(all.Span.To)
	if want := sum(first) + sum(missed) + sum(second); got[0].EventsTotal != want || sum(missed) == 0 {
		t.Errorf("slo_events_total %v, want %v: %v before the stop, %v missed, %v after it", got[0].EventsTotal, want, sum(first), sum(missed), sum(second))
	}
	if want := sum(second); got[1].EventsTotal != want {
		t.Errorf("slo_events_total of a new objective %v, want %v", got[1].EventsTotal, want)
	}

	// An older yoyu did not say when watching began: what it had not counted yet is counted.
	for key, r := range d {
		if key[0] == "objectives" {
			d[key] = slo.Record{Bucket: r.Bucket, Key: r.Key, Value: regexp.MustCompile(`,"watched":[0-9]+`).ReplaceAll(r.Value, nil)}
			if bytes.Equal(d[key].Value, r.Value) {
				t.Fatalf("no moment in %s", r.Value)
			}
		}
	}
	again = d.restore(t, tick, it)
	again.Watch(second.Span.From)
	observe(t, again, missed, second)
	if got, want := again.Evaluate(all.Span.To)[0].EventsTotal, sum(first)+sum(missed)+sum(second); got != want {
		t.Errorf("slo_events_total %v from an older state, want %v", got, want)
	}
}

// Slices inside a gap count what the gap is known to have held once it is over.
func TestSlicesInAGap(t *testing.T) {
	for method, want := range map[slo.Method]float64{slo.Timeslices: 10, slo.RatioTimeslices: 5} {
		o := objective(t, "99", slo.RollingPeriod(30*slo.Day))
		o.Budgeting = slo.Budgeting{Method: method, Slice: time.Minute}
		o.Budgeting.Target, _ = slo.ParsePercent("95")
		e := engine(t, time.Minute, o)
		for i := 1; i <= 60; i++ {
			end := began.Add(time.Duration(i) * time.Minute)
			span := slo.Span{From: end.Add(-time.Minute), To: end}
			g := slo.GroupSample{Increments: []slo.Increment{{At: end, Total: 100}}}
			if i == 30 { // the errors' own series was away for ten minutes
				g.Spreads = []slo.Spread{{From: began.Add(20 * time.Minute), To: end, Total: 1000, Bad: 1000}}
			}
			observe(t, e, slo.Sample{SLO: "it", Span: span, Covered: []slo.Span{span}, Groups: []slo.GroupSample{g}})
		}
		w := e.Evaluate(began.Add(time.Hour))[0].Windows[2]
		if w.Total != 60 || math.Abs(w.Bad-want) > 1e-6 {
			t.Errorf("%s: %v bad of %v slices, want %v of 60", method, w.Bad, w.Total, want)
		}
	}
}

// More good than all in a gap is clamped there, and does not eat the errors of other hours.
func TestGapsAreClamped(t *testing.T) {
	e := engine(t, time.Minute, objective(t, "99", slo.RollingPeriod(30*slo.Day)))
	span := slo.Span{From: began, To: began.Add(time.Hour)}
	g := slo.GroupSample{}
	for i := 1; i <= 50; i++ {
		g.Increments = append(g.Increments, slo.Increment{At: began.Add(time.Duration(i) * time.Minute), Total: 100, Bad: 10})
	}
	gap := slo.Spread{From: began.Add(50 * time.Minute), To: span.To, Total: 1000, Bad: 1000}
	good := gap
	good.Total, good.Bad = 0, -1600
	g.Spreads = []slo.Spread{gap, good}
	observe(t, e, slo.Sample{SLO: "it", Span: span, Covered: []slo.Span{span}, Groups: []slo.GroupSample{g}})
	if w := e.Evaluate(span.To)[0].Windows[2]; w.Total != 6000 || w.Bad != 500 || e.Clamped("it") != 1 {
		t.Errorf("%v bad of %v, %d clamped; want 500 of 6000, 1", w.Bad, w.Total, e.Clamped("it"))
	}
}

// The state that a pair keeps during an outage does not depend on how long it lasts, nor on how
// often somebody looks.
func TestHeldPairsStay(t *testing.T) {
	build := func() *slo.Engine {
		e := engine(t, time.Minute, objective(t, "99", slo.RollingPeriod(30*slo.Day)))
		span := slo.Span{From: began, To: began.Add(10 * time.Hour)}
		var g slo.GroupSample
		for i := 1; i <= 600; i++ {
			inc := slo.Increment{At: began.Add(time.Duration(i) * time.Minute), Total: 100}
			if i > 540 {
				inc.Bad = 100
			}
			g.Increments = append(g.Increments, inc)
		}
		// Five minutes after the last sample nothing is known any more.
		observe(t, e, slo.Sample{SLO: "it", Span: span, Covered: []slo.Span{span}, Groups: []slo.GroupSample{g}})
		silence := slo.Span{From: span.To, To: span.To.Add(5 * time.Minute)}
		observe(t, e, slo.Sample{SLO: "it", Span: silence, Covered: []slo.Span{silence}})
		return e
	}
	firing := func(s slo.Status) (out []bool) {
		for _, a := range s.Alerts {
			for _, p := range a.Pairs {
				out = append(out, p.Firing)
			}
		}
		return out
	}
	often := build()
	for m := 605; m < 605+4600; m++ {
		at := began.Add(time.Duration(m) * time.Minute)
		a := firing(often.Evaluate(at)[0])
		if m%173 != 0 {
			continue
		}
		if b := firing(build().Evaluate(at)[0]); !reflect.DeepEqual(a, b) {
			t.Fatalf("%d minutes into the outage: %v to one who watched, %v to one who looks now", m-605, a, b)
		}
	}
}
