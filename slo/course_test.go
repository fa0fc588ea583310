package slo_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// courses are the courses of every row and of all rows together, over the period and over other
// spans, each held to what Evaluate said at the same tick.
func courses(t testing.TB, e *slo.Engine, all []slo.Status, step time.Duration) []slo.Course {
	t.Helper()
	var out []slo.Course
	type whole struct {
		total, bad float64
		rows       int
	}
	sums := map[string]*whole{}
	for i := range all {
		st := &all[i]
		name := st.Objective.Name
		if sums[name] == nil {
			sums[name] = &whole{}
		}
		if st.NoGroup {
			continue
		}
		period := st.Windows[len(st.Windows)-1]
		for _, w := range st.Windows {
			if w.IsPeriod {
				period = w
			}
		}
		sums[name].total += period.Total
		sums[name].bad += period.Bad
		sums[name].rows++
		c := e.Course(slo.CourseQuery{Name: name, Groups: [][]string{st.Labels}, Step: step})
		if c == nil {
			t.Fatalf("%s %q: no course", name, st.Labels)
		}
		holds(t, c, period.Total, period.Bad, st.Budget.RemainingRatio)
		if c.Coverage != period.Coverage || c.Allowed != st.Budget.Allowed || !c.At.Equal(st.At) {
			t.Fatalf("%s %q: coverage %v, allowed %v at %s; the status says %v, %v at %s",
				name, st.Labels, c.Coverage, c.Allowed, c.At, period.Coverage, st.Budget.Allowed, st.At)
		}
		for _, w := range st.Windows { // the same law for every other window
			if w.IsPeriod {
				continue
			}
			part := e.Course(slo.CourseQuery{Name: name, Groups: [][]string{st.Labels}, Span: slo.Span{From: st.At.Add(-w.Length)}, Step: step})
			total, bad := added(part)
			if total != w.Total || bad != w.Bad {
				t.Fatalf("%s %q: the steps of %s add up to %v and %v bad, its window says %v and %v",
					name, st.Labels, w.Key, total, bad, w.Total, w.Bad)
			}
			out = append(out, *part)
		}
		out = append(out, *c)
	}
	for i := range all {
		name := all[i].Objective.Name
		sum := sums[name]
		if sum == nil {
			continue
		}
		delete(sums, name)
		c := e.Course(slo.CourseQuery{Name: name, Step: step})
		if c == nil || c.Groups != sum.rows {
			t.Fatalf("%s: the course together %+v, want %d rows", name, c, sum.rows)
		}
		if total, bad := added(c); total != sum.total || bad != sum.bad {
			t.Fatalf("%s: the steps of all groups add up to %v and %v bad, the groups to %v and %v", name, total, bad, sum.total, sum.bad)
		}
		out = append(out, *c)
	}
	return out
}

func added(c *slo.Course) (total, bad float64) {
	for _, s := range c.Slots {
		total += s.Total
		bad += s.Bad
	}
	return total, bad
}

// holds checks what is true of every course over the period.
func holds(t testing.TB, c *slo.Course, total, bad, remaining float64) {
	t.Helper()
	name := c.Objective.Name
	if a, b := added(c); a != total || b != bad || c.Total != total || c.Bad != bad {
		t.Fatalf("%s: the steps add up to %v and %v bad, the course says %v and %v, the window %v and %v", name, a, b, c.Total, c.Bad, total, bad)
	}
	if c.Remaining != remaining {
		t.Fatalf("%s: %v of the budget left, the status says %v", name, c.Remaining, remaining)
	}
	if len(c.Slots) == 0 {
		return
	}
	if last := c.Slots[len(c.Slots)-1]; !last.To.Equal(c.At) || last.Remaining != slo.Defined(remaining) {
		t.Fatalf("%s: the course ends with %+v, the status at %s with %v left", name, last, c.At, remaining)
	}
	at, left := c.Slots[0].From, 1.0
	for _, s := range c.Slots {
		if !s.From.Equal(at) || s.Empty() {
			t.Fatalf("%s: step %s after one that ended at %s", name, s.Span, at)
		}
		at = s.To
		switch {
		case s.Total < 0 || s.Bad < 0 || s.Bad > s.Total:
			t.Fatalf("%s: step %s counts %v of which %v bad", name, s.Span, s.Total, s.Bad)
		case s.Coverage < 0 || s.Coverage > 1:
			t.Fatalf("%s: step %s covered %v", name, s.Span, s.Coverage)
		case s.ErrorRatio.Defined != (s.Total > 0) || s.ErrorRatio.Defined && s.ErrorRatio.Float != s.Bad/s.Total && math.Abs(s.ErrorRatio.Float*s.Total-s.Bad) > 1e-9*s.Bad:
			t.Fatalf("%s: step %s with %v of %v bad has error ratio %v", name, s.Span, s.Bad, s.Total, s.ErrorRatio)
		case s.BurnRate.Defined != (s.Coverage > 0):
			t.Fatalf("%s: step %s covered %v burns %v", name, s.Span, s.Coverage, s.BurnRate)
		case !s.Remaining.Defined || s.Remaining.Float > 1:
			t.Fatalf("%s: step %s leaves %v", name, s.Span, s.Remaining)
		}
		left = s.Remaining.Float
	}
	if left != remaining {
		t.Fatalf("%s: the course ends at %v, not at %v", name, left, remaining)
	}
}

// The steps of a course add up to the windows and the budget of the same tick, exactly, whatever was
// counted: with gaps, spreads, corrections, slices, groups beyond the limit, calendar periods.
func FuzzCourseAddsUp(f *testing.F) {
	for seed := range uint64(10) {
		f.Add(seed, uint16(300+500*seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, length uint16) {
		r := rand.New(rand.NewPCG(seed, 31))
		tick := []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute}[seed%4]
		period := []slo.Period{
			slo.RollingPeriod(7 * slo.Day), slo.RollingPeriod(30 * slo.Day), slo.CalendarPeriod(slo.Week, time.UTC), slo.RollingPeriod(slo.Day),
		}[r.IntN(4)]
		o := objective(t, []string{"99", "99.9"}[r.IntN(2)], period)
		o.Fractional = r.IntN(4) == 0
		if r.IntN(3) == 0 {
			o.GroupBy, o.GroupLimit = []string{"route"}, 2
		}
		if r.IntN(3) == 0 {
			o.Budgeting = slo.Budgeting{Method: slo.RatioTimeslices, Slice: 2 * tick}
			o.Fractional = false
		}
		for range r.IntN(3) {
			from := began.Add(time.Duration(r.IntN(int(length)+1)) * tick)
			o.Corrections = append(o.Corrections, once([]slo.Effect{slo.Drop, slo.Good}[r.IntN(2)], from, from.Add(time.Duration(1+r.IntN(1000))*tick)))
		}
		e := engine(t, tick, o)
		now := began
		for left := int(length % 8000); left > 0; {
			n := 1 + r.IntN(min(left, 300))
			left -= n
			s := traffic(r, now, n, tick)
			now = s.Span.To
			if len(o.GroupBy) > 0 {
				s.Groups[0].Labels = []string{[]string{"/a", "/b", "/c", "/d"}[r.IntN(4)]}
			}
			if gap := time.Duration(r.IntN(9000)+1) * time.Second; r.IntN(4) == 0 && !o.Budgeting.Slices() {
				// The parts of a gap are rounded down each by itself: a part may hold a bad event and no event.
				total := r.IntN(100)
				s.Groups[0].Spreads = []slo.Spread{{From: now.Add(-gap), To: now, Total: float64(total), Bad: float64(r.IntN(2*total+1) - total/2)}}
				s.Groups[0].Increments = nil
			}
			if r.IntN(8) > 0 {
				observe(t, e, s)
			}
			if r.IntN(4) > 0 {
				step := time.Duration(1+r.IntN(7200)) * time.Second
				courses(t, e, e.Evaluate(now), step)
			}
		}
	})
}

// While every tick is known, each step holds what was booked in it and nothing else.
func TestCourseAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 32))
	tick := 30 * time.Second
	e, m := engine(t, tick, objective(t, "99", slo.RollingPeriod(30*slo.Day))), newModel(tick)
	now := began
	for range 4 {
		s := traffic(r, now, 55, tick)
		observe(t, e, s)
		m.put(s)
		now = s.Span.To
	}
	e.Evaluate(now)
	c := e.Course(slo.CourseQuery{Name: "it", Span: slo.Span{From: began}, Step: 10 * time.Minute})
	if len(c.Slots) != 11 || c.Step != 10*time.Minute {
		t.Fatalf("%d steps of %s", len(c.Slots), c.Step)
	}
	spent := 0.0
	for _, s := range c.Slots {
		total, bad := m.count(s.To, s.Duration())
		if s.Total != total || s.Bad != bad || s.Coverage != m.coverage(s.To, s.Duration()) {
			t.Errorf("step %s: %v, %v bad, covered %v; want %v, %v, %v", s.Span, s.Total, s.Bad, s.Coverage, total, bad, m.coverage(s.To, s.Duration()))
		}
		spent += bad
		if all, _ := m.count(now, 30*slo.Day); math.Abs(s.Remaining.Float-(1-spent/(0.01*all))) > 1e-12 {
			t.Errorf("step %s leaves %v, want 1 − %v/(0.01 · %v)", s.Span, s.Remaining.Float, spent, all)
		}
	}
}

// A calendar period's course is the budget as every tick's report had it.
func TestCourseOfACalendarIsWhatReportsSaid(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 33))
	tick := time.Minute
	e := engine(t, tick, objective(t, "99", slo.CalendarPeriod(slo.Month, time.UTC)))
	said := map[time.Time]float64{}
	now := began
	for range 110 {
		s := traffic(r, now, 1, tick)
		observe(t, e, s)
		now = s.Span.To
		said[now] = e.Evaluate(now)[0].Budget.RemainingRatio
	}
	c := e.Course(slo.CourseQuery{Name: "it", Span: slo.Span{From: began}, Step: tick})
	if len(c.Slots) != len(said) {
		t.Fatalf("%d steps, want %d", len(c.Slots), len(said))
	}
	for _, s := range c.Slots {
		if s.Remaining != slo.Defined(said[s.To]) {
			t.Errorf("at %s: %v left, the report said %v", s.To, s.Remaining, said[s.To])
		}
	}
}

// A window holds what happened between its edges as it says they are, exactly, however old.
func TestWindowsSayTheirEdges(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 37))
	tick := 5 * time.Minute
	m := newModel(tick)
	e := engine(t, tick, objective(t, "99", slo.CalendarPeriod(slo.Month, time.UTC)))
	now := began
	for range 40 {
		s := traffic(r, now, 100+r.IntN(57), tick)
		observe(t, e, s)
		m.put(s)
		now = s.Span.To
		st := &e.Evaluate(now)[0]
		for i := range st.Windows {
			w := &st.Windows[i]
			left := st.Left(w)
			if total, bad := m.count(now, now.Sub(left)); total != w.Total || bad != w.Bad {
				t.Errorf("%s at %s: %v, %v bad; in (%s, now] there were %v, %v", w.Key, now, w.Total, w.Bad, left, total, bad)
			}
			nominal := now.Add(-w.Length)
			if w.IsPeriod {
				nominal = st.Objective.Period.Span(now).From
			}
			if off := left.Sub(nominal).Abs(); off > now.Sub(nominal)/250 || w.Length <= time.Hour && off > 0 {
				t.Errorf("%s: left edge %s, %s off", w.Key, left, off)
			}
		}
	}
}

// What is older is known less finely: steps say what they really span, and steps that would be none
// are not there.
func TestCourseThinsOut(t *testing.T) {
	tick := 30 * time.Second
	e := engine(t, tick, objective(t, "99", slo.RollingPeriod(30*slo.Day)))
	for at := began; at.Before(began.Add(30 * slo.Day)); at = at.Add(6 * time.Hour) {
		s := traffic(rand.New(rand.NewPCG(3, 34)), at, int(6*time.Hour/tick), tick)
		s.Covered = []slo.Span{s.Span}
		observe(t, e, s)
	}
	now := began.Add(30 * slo.Day)
	all := e.Evaluate(now)
	courses(t, e, all, 10*time.Minute)
	c := e.Course(slo.CourseQuery{Name: "it", Step: 10 * time.Minute})
	for _, s := range c.Slots[1:] { // the first begins before anything was answered
		// Two edges, each moved by less than half the distance of known ticks, 1/129 of their age.
		if most := 10*time.Minute + now.Sub(s.From)/100; s.Duration() > most || s.Coverage != 1 {
			t.Errorf("step %s of %s, want at most %s; covered %v", s.Span, s.Duration(), most, s.Coverage)
		}
	}
	if n := len(c.Slots); n < 300 || n > 30*144 {
		t.Errorf("%d steps", n)
	}
	// Beyond what is kept there is nothing to tell.
	long := e.Course(slo.CourseQuery{Name: "it", Span: slo.Span{From: began.Add(-100 * slo.Day)}, Step: slo.Day})
	if oldest := e.Oldest("it"); long.Span.From.Before(oldest.Add(-6*time.Hour)) || now.Sub(oldest) < 30*slo.Day {
		t.Errorf("a course from %s, oldest kept %s", long.Span.From, oldest)
	}
	if long.Slots[0].Remaining.Defined {
		t.Errorf("before the period: %+v", long.Slots[0])
	}
	for _, q := range []slo.CourseQuery{
		{Name: "that"},
		{Name: "it", Groups: [][]string{{"/a"}}},
		{Name: "it", Span: slo.Span{To: began.Add(-100 * slo.Day)}},
		{Name: "it", Span: slo.Span{From: now}},
	} {
		if c := e.Course(q); c != nil {
			t.Errorf("%+v: %+v, want none", q, c)
		}
	}
}

// reports evaluates every tick and keeps what was seen, as somebody with a notebook would.
type notebook struct {
	open map[string]time.Time
	all  []string
}

func (n *notebook) see(all []slo.Status) {
	if n.open == nil {
		n.open = map[string]time.Time{}
	}
	for i := range all {
		for _, a := range all[i].Alerts {
			key := fmt.Sprint(all[i].Labels, a.Severity)
			since, open := n.open[key]
			switch {
			case a.Firing && !open:
				n.open[key] = a.Since
			case !a.Firing && open:
				n.all = append(n.all, fmt.Sprint(key, " ", since.Format(time.RFC3339), " ", all[i].At.Format(time.RFC3339)))
				delete(n.open, key)
			}
		}
	}
}

func (n *notebook) entries() []string {
	out := slices.Clone(n.all)
	for key, since := range n.open {
		out = append(out, fmt.Sprint(key, " ", since.Format(time.RFC3339), " –"))
	}
	slices.Sort(out)
	return out
}

func entries(c *slo.Course) []string {
	var out []string
	for _, f := range c.Fired {
		to := "–"
		if !f.To.IsZero() {
			to = f.To.Format(time.RFC3339)
		}
		out = append(out, fmt.Sprint(f.Labels, f.Severity, " ", f.From.Format(time.RFC3339), " ", to))
	}
	slices.Sort(out)
	return out
}

// Alerts that fired are told as they were seen, days later and in another life.
func TestFiredIsKept(t *testing.T) {
	tick := time.Minute
	o := objective(t, "99.9", slo.RollingPeriod(7*slo.Day))
	o.GroupBy = []string{"route"}
	d := disk{}
	e := d.restore(t, tick, o)
	e.Watch(began)
	r := rand.New(rand.NewPCG(5, 35))
	var book notebook
	now := began
	storm := map[string]int{}
	for i := range int(5 * slo.Day / tick) {
		s := slo.Sample{SLO: "it", Span: slo.Span{From: now, To: now.Add(tick)}}
		s.Covered = []slo.Span{s.Span}
		now = s.Span.To
		for _, route := range []string{"/a", "/b"} {
			if storm[route]--; storm[route] < -600 && r.IntN(400) == 0 {
				storm[route] = 5 + r.IntN(120)
			}
			bad := 0.0
			if storm[route] > 0 {
				bad = 40
			}
			s.Groups = append(s.Groups, slo.GroupSample{Labels: []string{route}, Increments: []slo.Increment{{At: now, Total: 100, Bad: bad}}})
		}
		observe(t, e, s)
		book.see(e.Evaluate(now))
		if i%97 == 0 {
			d.commit(e)
		}
		if i%1000 == 999 { // it dies, and comes back
			d.commit(e)
			e = d.restore(t, tick, o)
		}
	}
	want := book.entries()
	if len(want) < 10 {
		t.Fatalf("only %d alerts fired, that is no test", len(want))
	}
	c := e.Course(slo.CourseQuery{Name: "it", Span: slo.Span{From: began}, Step: time.Hour})
	if got := entries(c); !reflect.DeepEqual(got, want) {
		t.Errorf("fired:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if want := []slo.Span{{From: began, To: now}}; !reflect.DeepEqual(c.Watched, want) {
		t.Errorf("watched %v, want %v", c.Watched, want)
	}

	// One group, and a part of the time.
	part := e.Course(slo.CourseQuery{Name: "it", Groups: [][]string{{"/a"}}, Span: slo.Span{From: now.Add(-slo.Day)}, Step: time.Hour})
	for _, f := range part.Fired {
		if f.Labels[0] != "/a" || !f.To.IsZero() && !f.To.After(part.Span.From) {
			t.Errorf("of the last day of /a: %+v", f)
		}
	}

	// Another policy: what fired under the old one did.
	o.Policy = slo.Policy{Name: "none", Severities: []slo.Severity{{Name: "nobody"}}}
	e.Set([]slo.Objective{o})
	e.Evaluate(now)
	for i, entry := range want {
		want[i] = strings.Replace(entry, "–", now.Format(time.RFC3339), 1)
	}
	slices.Sort(want)
	c = e.Course(slo.CourseQuery{Name: "it", Span: slo.Span{From: began}, Step: time.Hour})
	if got := entries(c); !reflect.DeepEqual(got, want) {
		t.Errorf("after another policy, fired:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// While the daemon is away nobody looks at alerts, and it says so. What still fires is found to have
// begun, and what no longer does to have ended, where the counts know.
func TestNobodyLooked(t *testing.T) {
	tick := time.Minute
	o := objective(t, "99.9", slo.RollingPeriod(30*slo.Day))
	e := engine(t, tick, o)
	now := began
	say := func(minutes int, bad float64, look bool) {
		for range minutes {
			s := slo.Sample{SLO: "it", Span: slo.Span{From: now, To: now.Add(tick)}}
			s.Covered = []slo.Span{s.Span}
			now = s.Span.To
			s.Groups = []slo.GroupSample{{Increments: []slo.Increment{{At: now, Total: 100, Bad: bad}}}}
			observe(t, e, s)
			if look {
				e.Evaluate(now)
			}
		}
	}
	say(600, 0, true)
	say(20, 20, true) // fires
	left := now
	say(10, 20, false) // away: fires
	say(30, 0, false)  // and ends five minutes on
	back := now
	say(60, 0, true)

	c := e.Course(slo.CourseQuery{Name: "it", Span: slo.Span{From: began}, Step: tick})
	want := []slo.Span{{From: began, To: left}, {From: back, To: now}}
	if !reflect.DeepEqual(c.Watched, want) {
		t.Errorf("watched %v, want %v", c.Watched, want)
	}
	i := slices.IndexFunc(c.Fired, func(f slo.Fired) bool { return f.Severity == "page" })
	if i < 0 {
		t.Fatalf("no page: %+v", c.Fired)
	}
	// The bad minutes ended 10 minutes after left; 5m stop burning above 14.4 when none of them holds
	// more than 1.44 %: five minutes on. The pair of 30m and 6h goes on for longer.
	alone := engine(t, tick, o)
	var book notebook
	for at := began; at.Before(now); at = at.Add(tick) {
		bad := 0.0
		if m := at.Sub(began); m >= 600*time.Minute && m < 630*time.Minute {
			bad = 20
		}
		s := slo.Sample{SLO: "it", Span: slo.Span{From: at, To: at.Add(tick)}, Covered: []slo.Span{{From: at, To: at.Add(tick)}}}
		s.Groups = []slo.GroupSample{{Increments: []slo.Increment{{At: at.Add(tick), Total: 100, Bad: bad}}}}
		observe(t, alone, s)
		book.see(alone.Evaluate(at.Add(tick)))
	}
	if got := entries(c); !reflect.DeepEqual(got, book.entries()) {
		t.Errorf("fired %v, one who looked all the time saw %v", got, book.entries())
	}
}

// Sparks say what courses say.
func TestSparksAreCourses(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 36))
	tick := time.Minute
	var objectives []slo.Objective
	for i := range 7 {
		o := objective(t, "99", []slo.Period{slo.RollingPeriod(7 * slo.Day), slo.CalendarPeriod(slo.Week, time.UTC)}[i%2])
		o.Name = fmt.Sprint("slo-", i)
		switch i {
		case 3, 4:
			o.GroupBy, o.GroupLimit = []string{"route"}, 2
		case 5:
			o.Budgeting = slo.Budgeting{Method: slo.RatioTimeslices, Slice: 2 * tick}
		case 6:
			o.Corrections = []slo.Correction{once(slo.Drop, began.Add(time.Hour), began.Add(9*time.Hour))}
		}
		objectives = append(objectives, o)
	}
	silent := objective(t, "99", slo.RollingPeriod(7*slo.Day))
	silent.Name = "silent"
	objectives = append(objectives, silent)
	e := engine(t, tick, objectives...)
	now := began
	for range 12 {
		n := 200 + r.IntN(300)
		for _, o := range objectives[:7] {
			s := traffic(r, now, n, tick)
			s.SLO = o.Name
			if len(o.GroupBy) > 0 {
				s.Groups[0].Labels = []string{[]string{"/a", "/b", "/c", "/d"}[r.IntN(4)]}
			}
			observe(t, e, s)
		}
		now = now.Add(time.Duration(n) * tick)
	}
	e.Evaluate(now)
	const n = 16
	told := 0
	for first := 0; first < len(objectives); {
		var sparks []slo.Spark
		sparks, first = e.Sparks(first, 2, n)
		for _, s := range sparks {
			told++
			if s.Name == "silent" {
				if s.Points != nil {
					t.Errorf("silent: %v", s.Points)
				}
				continue
			}
			i := slices.IndexFunc(objectives, func(o slo.Objective) bool { return o.Name == s.Name })
			period := objectives[i].Period.Span(now)
			for k, point := range s.Points {
				to := period.From.Add(period.Duration() * time.Duration(k+1) / n)
				groups := [][]string{nil}
				if s.Group != "" {
					groups[0] = strings.Split(s.Group, "\xff")
				}
				c := e.Course(slo.CourseQuery{Name: s.Name, Groups: groups, Span: slo.Span{From: period.From, To: to}, Step: 100 * slo.Day})
				want := float32(1)
				if c != nil && len(c.Slots) > 0 {
					want = float32(c.Slots[len(c.Slots)-1].Remaining.Float)
				}
				if point != want {
					t.Errorf("%s %q: point %d is %v, the course until %s leaves %v", s.Name, s.Group, k, point, to, want)
				}
			}
		}
	}
	if told < 11 {
		t.Errorf("%d sparks", told)
	}
}

// BenchmarkCourse is one SLO over its 30 days in about 240 steps.
func BenchmarkCourse(b *testing.B) {
	for _, groups := range []int{1, 100} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			o := objective(b, "99.9", slo.RollingPeriod(30*slo.Day))
			o.GroupBy = []string{"route"}
			e := engine(b, 30*time.Second, o)
			now := began
			for range 30 {
				s := slo.Sample{SLO: "it", Span: slo.Span{From: now, To: now.Add(slo.Day)}}
				s.Covered = []slo.Span{s.Span}
				for g := range groups {
					one := slo.GroupSample{Labels: []string{fmt.Sprint(g)}}
					for at := now.Add(time.Hour); !at.After(s.Span.To); at = at.Add(time.Hour) {
						one.Increments = append(one.Increments, slo.Increment{At: at, Total: 1000, Bad: 1})
					}
					s.Groups = append(s.Groups, one)
				}
				observe(b, e, s)
				now = s.Span.To
			}
			e.Evaluate(now)
			b.ReportAllocs()
			for b.Loop() {
				if c := e.Course(slo.CourseQuery{Name: "it", Step: 3 * time.Hour}); len(c.Slots) < 100 {
					b.Fatal(len(c.Slots))
				}
			}
		})
	}
}

// BenchmarkSparks is the pass over all rows, in the pieces in which the loop does it.
func BenchmarkSparks(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			c := newCrowd(b, n, 30*slo.Day)
			for range 300 { // all columns are there
				c.turn(b)
			}
			longest := time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				rows := 0
				for first := 0; first < n; {
					began := time.Now()
					var sparks []slo.Spark
					sparks, first = c.Sparks(first, 1024, 32)
					longest = max(longest, time.Since(began))
					rows += len(sparks)
				}
				if rows != n {
					b.Fatal(rows)
				}
			}
			b.ReportMetric(float64(longest.Microseconds()), "longest-µs")
		})
	}
}
