package increments

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

const tick = 30 * time.Second

// at is a moment of the tests, in ms: so many seconds after a whole tick.
func at(seconds int) int64 { return 1_767_225_600_000 + int64(seconds)*1000 }

func span(from, to int) slo.Span {
	return slo.Span{From: time.UnixMilli(at(from)), To: time.UnixMilli(at(to))}
}

// counter makes a series of target a from pairs of seconds and value.
func counter(key string, role Role, pairs ...float64) Series {
	s := Series{Key: key, Target: "a", Role: role}
	for i := 0; i+1 < len(pairs); i += 2 {
		s.Points = append(s.Points, Point{T: at(int(pairs[i])), V: pairs[i+1]})
	}
	return s
}

func sums(a Answer) (total, bad float64) {
	for _, g := range a.Groups {
		for _, inc := range g.Increments {
			total, bad = total+inc.Total, bad+inc.Bad
		}
		for _, s := range g.Spreads {
			total, bad = total+s.Total, bad+s.Bad
		}
	}
	return total, bad
}

func TestCount(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		about      string
		series     []Series
		total, bad float64
		baselined  int
	}{
		{"a counter that rises", []Series{counter("x", Total, 0, 100, 30, 110, 60, 125)}, 25, 0, 1},
		{"the first look is a baseline, whatever it says", []Series{counter("x", Total, 0, 1e6)}, 0, 0, 1},
		{"a reset counts what came after it", []Series{counter("x", Total, 0, 100, 30, 7)}, 7, 0, 1},
		{"a reset to nothing counts nothing", []Series{counter("x", Total, 0, 100, 30, 0, 60, 3)}, 3, 0, 1},
		{"a sample seen twice counts once", []Series{counter("x", Total, 0, 100, 30, 110, 30, 110, 60, 111)}, 11, 0, 1},
		{"an older sample after a newer is no reset", []Series{counter("x", Total, 0, 100, 60, 120, 30, 110, 90, 121)}, 21, 0, 1},
		{"NaN is passed over", []Series{counter("x", Total, 0, 100, 30, nan, 60, 105)}, 5, 0, 1},
		{"infinity and negative counts are no counts", []Series{counter("x", Total, 0, 100, 30, math.Inf(1), 60, -4, 90, 105)}, 5, 0, 1},
		{"the first error of a known target counts", []Series{
			counter("ok", Total, 0, 100, 30, 110, 60, 120), counter("err", Total|Bad, 60, 3)}, 23, 3, 1},
		{"an error class that is there from the start does not", []Series{
			counter("ok", Total, 0, 100, 30, 110), counter("err", Total|Bad, 0, 3, 30, 4)}, 11, 1, 2},
		{"bad alone is no total", []Series{counter("err", Bad, 0, 0, 30, 2)}, 0, 2, 1},
		{"good takes bad away", []Series{
			counter("all", Total|Bad, 0, 0, 30, 10), counter("good", Good, 0, 0, 30, 9)}, 10, 1, 2},
		{"one series may be everything", []Series{counter("x", Total|Bad|Good, 0, 0, 30, 10)}, 10, 0, 1},
		{"a gap spreads, and loses nothing", []Series{counter("x", Total, 0, 0, 30, 5, 600, 105)}, 105, 0, 1},
		{"five minutes are no gap", []Series{counter("x", Total, 0, 0, 300, 5)}, 5, 0, 1},
	} {
		t.Run(c.about, func(t *testing.T) {
			a := NewMemory(tick, time.Hour).Count(span(-30, 900), c.series)
			if total, bad := sums(a); total != c.total || bad != c.bad || a.Baselined != c.baselined {
				t.Errorf("%v bad of %v, %d baselines; want %v of %v, %d", bad, total, a.Baselined, c.bad, c.total, c.baselined)
			}
		})
	}
}

func TestNewTargets(t *testing.T) {
	old := counter("old", Total, 0, 50, 30, 60, 60, 70)
	fresh := counter("fresh", Total, 60, 7)
	fresh.Target = "b"
	count := func(change func(m *Memory, s *Series)) float64 {
		m, s := NewMemory(tick, time.Hour), fresh
		s.Points = append([]Point(nil), fresh.Points...)
		change(m, &s)
		total, _ := sums(m.Count(span(-30, 90), []Series{old, s}))
		return total - 20
	}
	for _, c := range []struct {
		about  string
		change func(m *Memory, s *Series)
		want   float64
	}{
		{"nobody knows since when it counts", func(*Memory, *Series) {}, 0},
		{"created after the first look", func(_ *Memory, s *Series) { s.Points[0].Start = at(45) }, 7},
		{"created before the first look", func(_ *Memory, s *Series) { s.Points[0].Start = at(-45) }, 0},
		{"its process started after the first look", func(m *Memory, _ *Series) { m.Started("b", time.UnixMilli(at(45))) }, 7},
		{"its process started before", func(m *Memory, _ *Series) { m.Started("b", time.UnixMilli(at(-4500))) }, 0},
		{"a series without target belongs to the source", func(_ *Memory, s *Series) { s.Target = "" }, 7},
		{"it carries a part of a known target's labels", func(m *Memory, s *Series) {
			m.Recall(Series{Key: "other", Target: "job\xffa:80\xffpod"}, Point{T: at(30), V: 1})
			s.Target = "job\xff\xff"
		}, 7},
		{"it carries more than any known target", func(m *Memory, s *Series) {
			m.Recall(Series{Key: "other", Target: "job\xff\xff"}, Point{T: at(30), V: 1})
			s.Target = "job\xffa:80\xff"
		}, 0},
		{"the question was asked long before", func(m *Memory, s *Series) { m.Looked(time.UnixMilli(at(-900))); s.Points[0].Start = at(-45) }, 7},
		{"recalled, it continues", func(m *Memory, s *Series) { m.Recall(*s, Point{T: at(0), V: 4}) }, 3},
	} {
		t.Run(c.about, func(t *testing.T) {
			if got := count(c.change); got != c.want {
				t.Errorf("counted %v, want %v", got, c.want)
			}
		})
	}
}

func TestCreatedTimeIsAReset(t *testing.T) {
	s := counter("x", Total, 0, 100, 30, 110, 60, 120)
	s.Points[2].Start = at(40) // began again, and is already above where it was
	if total, _ := sums(NewMemory(tick, time.Hour).Count(span(-30, 90), []Series{s})); total != 130 {
		t.Errorf("counted %v, want 10 and then 120", total)
	}
}

// The count of a histogram may rise over a restart while a bucket falls: all of it began again.
func TestOneSeriesOfAHistogramResetsAll(t *testing.T) {
	count, bucket := counter("count", Total|Bad, 0, 10, 30, 12), counter("bucket", Good, 0, 10, 30, 4)
	count.Family, bucket.Family = "h", "h"
	total, bad := sums(NewMemory(tick, time.Hour).Count(span(-30, 60), []Series{count, bucket}))
	if total != 12 || bad != 8 {
		t.Errorf("%v bad of %v, want 8 of 12", bad, total)
	}
}

func TestGapIsSpread(t *testing.T) {
	m := NewMemory(tick, time.Hour)
	m.Count(span(-30, 30), []Series{counter("x", Total, 0, 0, 30, 5)})
	a := m.Count(span(30, 930), []Series{counter("x", Total, 915, 105)})
	want := []slo.Spread{{From: time.UnixMilli(at(30)), To: time.UnixMilli(at(915)), Total: 100}}
	if len(a.Groups) != 1 || !reflect.DeepEqual(a.Groups[0].Spreads, want) || len(a.Groups[0].Increments) != 0 {
		t.Errorf("got %+v, want one spread %+v", a.Groups, want)
	}
	// The gap stays uncovered, but for the five minutes that the last sample vouches for.
	wantCovered := []slo.Span{span(30, 300), span(900, 930)}
	if !reflect.DeepEqual(a.Covered, wantCovered) {
		t.Errorf("covered %v, want %v", a.Covered, wantCovered)
	}
}

func TestEvents(t *testing.T) {
	m := NewMemory(tick, time.Hour)
	up := counter("up", Total, 0, 1, 30, 0, 60, 1, 60, 1, 90, math.NaN())
	a := m.Events(span(-30, 90), []Series{up}, func(v float64) bool { return v < 1 })
	if total, bad := sums(a); total != 3 || bad != 1 {
		t.Errorf("%v bad of %v samples, want 1 of 3", bad, total)
	}
	again := m.Events(span(90, 120), []Series{counter("up", Total, 60, 1, 120, -1)}, func(v float64) bool { return v < 1 })
	if total, bad := sums(again); total != 1 || bad != 1 {
		t.Errorf("%v bad of %v samples, want 1 of 1: a sample seen twice counts once", bad, total)
	}
}

func TestBelow(t *testing.T) {
	buckets := []Bucket{{-0.001, 0.001, 4}, {0.001, 1, 10}, {1, 2, 8}, {2, 4, 6}, {4, math.Inf(1), 2}}
	for _, c := range []struct{ threshold, want float64 }{
		{2, 22}, {4, 28}, {1, 14}, {math.Inf(1), 30}, // on a bound: whole buckets
		{math.Sqrt2, 18}, // half of (1, 2] on a logarithmic scale
		{0, 2},           // linear around zero
		{100, 28},        // nobody knows where in (4, +Inf] they lie
		{-1, 0},
	} {
		if got := Below(buckets, c.threshold); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("at or below %v: %v, want %v", c.threshold, got, c.want)
		}
	}
}

// One span or any cut of it counts the same, with samples seen twice thrown in.
func FuzzCutsCountTheSame(f *testing.F) {
	for seed := range uint64(6) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 9))
		const ticks = 60
		var series []Series
		for i := range 4 {
			s := Series{Key: fmt.Sprint(i), Target: fmt.Sprint(i % 2), Role: Total}
			if i > 1 {
				s.Role |= Bad
			}
			v := float64(r.IntN(100))
			for ms := int64(r.IntN(400_000)); ms < ticks*30_000; ms += int64(1 + r.IntN(90_000)) {
				switch r.IntN(12) {
				case 0:
					v = float64(r.IntN(5)) // began again
				case 1:
					ms += int64(r.IntN(600_000)) // gone for a while
				}
				v += float64(r.IntN(20))
				s.Points = append(s.Points, Point{T: at(0) + ms, V: v})
			}
			series = append(series, s)
		}
		whole := NewMemory(tick, time.Hour).Count(span(0, ticks*30), series)
		wantTotal, wantBad := sums(whole)

		m := NewMemory(tick, time.Hour)
		gotTotal, gotBad, covered := 0.0, 0.0, time.Duration(0)
		for from := 0; from < ticks; {
			to := min(ticks, from+1+r.IntN(10))
			part := make([]Series, 0, len(series))
			for _, s := range series {
				cut := s
				cut.Points = nil
				for _, p := range s.Points { // one sample of overlap at either side
					if p.T > at((from-1)*30) && p.T <= at(to*30) {
						cut.Points = append(cut.Points, p)
					}
				}
				part = append(part, cut)
			}
			a := m.Count(span(from*30, to*30), part)
			total, bad := sums(a)
			gotTotal, gotBad = gotTotal+total, gotBad+bad
			for _, c := range a.Covered {
				covered += c.Duration()
			}
			from = to
		}
		wantCovered := time.Duration(0)
		for _, c := range whole.Covered {
			wantCovered += c.Duration()
		}
		if gotTotal != wantTotal || gotBad != wantBad || covered != wantCovered {
			t.Errorf("in pieces %v bad of %v, %s covered; whole %v of %v, %s", gotBad, gotTotal, covered, wantBad, wantTotal, wantCovered)
		}
	})
}
