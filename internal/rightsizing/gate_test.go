package rightsizing

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// The worked example of facts/vpa.md, 5.4: 43.2 minutes of budget, 15 minutes to see a mistake and
// undo it.
func TestExposure(t *testing.T) {
	for _, tt := range []struct {
		about   string
		percent string
		pods    float64
		want    float64 // percent of the budget, to a tenth
	}{
		{"one pod of four at 99.9 %", "99.9", 4, 8.7},
		{"a single replica", "99.9", 1, 34.7},
		{"none is as one", "99.9", 0, 34.7},
		{"a pod that runs two hours a day", "99.9", 2.0 / 24, 34.7},
		{"one of a hundred at 99 %", "99", 100, 0.03},
		{"a single replica at 99.99 %: more than there is", "99.99", 1, 347.2},
	} {
		got := 100 * Exposure(status("a", "s", tt.percent, 1).Objective, tt.pods)
		if math.Abs(got-tt.want) > 0.05 {
			t.Errorf("%s: %.2f %%, want %v %%", tt.about, got, tt.want)
		}
	}
}

// A single replica is never safe in one step: three exposures of 34.7 % are more than a whole
// budget. One pod of four is, down to 26 % of it.
func TestSingleReplicaIsNeverSafe(t *testing.T) {
	for _, tt := range []struct {
		replicas  int
		remaining float64
		want      Passage
	}{{1, 1, Blocked}, {2, 1, Safe}, {2, 0.52, Blocked}, {4, 0.27, Safe}, {4, 0.26, Blocked}} {
		s := newScene()
		s.checkout().Replicas = tt.replicas
		s.slo().Budget.RemainingRatio = tt.remaining
		if w := s.judge(); w.Gate != tt.want {
			t.Errorf("%d replicas with %v left: %s, want %s: %s", tt.replicas, tt.remaining, w.Gate, tt.want, w.Sentence)
		}
	}
}

// Every SLO of every service of the workload must agree, and every group of it.
func TestAllMustAgree(t *testing.T) {
	for _, tt := range []struct {
		about string
		scene func(s *scene)
		want  Passage
	}{
		{"two in good health", func(s *scene) { s.statuses = append(s.statuses, status("checkout-latency", "checkout", "99", 0.5)) }, Safe},
		{"one of two is short", func(s *scene) { s.statuses = append(s.statuses, status("checkout-latency", "checkout", "99", 0.2)) }, Blocked},
		{"one group is short", func(s *scene) {
			s.statuses = append(s.statuses, status("checkout-availability", "checkout", "99.9", 0.2))
		}, Blocked},
		{"another service is short", func(s *scene) { s.statuses = append(s.statuses, status("catalog", "catalog", "99", 0)) }, Safe},
		{"a second service of the workload is short", func(s *scene) {
			s.checkout().Services = []string{"checkout", "catalog"}
			s.statuses = append(s.statuses, status("catalog", "catalog", "99", 0))
		}, Blocked},
		{"a grouped SLO that has no group yet", func(s *scene) { s.slo().NoGroup = true }, Blocked},
		{"an SLO that counts nothing", func(s *scene) { s.slo().Note = "no bucket at 0.3" }, Blocked},
		{"burns faster than its period over three days", func(s *scene) {
			for i := range s.slo().Windows {
				s.slo().Windows[i].BurnRate = slo.Defined(1.01)
			}
		}, Blocked},
		{"nobody can say whether the recommender lives", func(s *scene) {
			s.app().Checkpoint = nil
			for _, name := range both {
				r := name.of(s.app())
				r.Upper = is(r.Target.Float * 1.1) // ten days, says the spread
			}
		}, Blocked},
	} {
		s := newScene()
		tt.scene(s)
		if w := s.judge(); w.Gate != tt.want {
			t.Errorf("%s: %s, want %s: %s", tt.about, w.Gate, tt.want, told(w))
		}
	}
}

// That the resources are not why a service burns is said only of a workload that is known to lack nothing.
func TestBurnNotResource(t *testing.T) {
	for _, tt := range []struct {
		about string
		scene func(s *scene)
		want  bool
	}{
		{"it needs less than it asks for", func(*scene) {}, true},
		{"yoyu has not watched for long enough to say what is too much", func(s *scene) { s.watched = 0 }, true},
		{"the VPA leaves one resource alone, and the other lacks nothing", func(s *scene) { s.app().CPU.Uncontrolled = true }, true},
		{"the VPA leaves the container alone", func(s *scene) { s.app().Excluded = true }, false},
		{"killed an hour ago, and the recommender has stopped", func(s *scene) {
			s.killed(time.Hour)
			s.app().Checkpoint.Updated = noon.Add(-2 * time.Hour)
		}, false},
		{"nothing is known of its memory", func(s *scene) { s.app().Memory.Target = none }, false},
		{"asks for nothing", func(s *scene) { s.app().CPU.Request = none }, false},
		{"too little CPU, which an autoscaler is to see to", func(s *scene) {
			s.checkout().Autoscaler = &Autoscaler{Name: "checkout", Min: 2, Max: 20, CPU: is(0.7)}
			s.app().CPU.Request = is(0.1)
		}, false},
	} {
		s := newScene()
		tt.scene(s)
		s.fires(0)
		if w := s.judge(); slices.Contains(w.Reasons, Reason{Code: BurnNotResource}) != tt.want {
			t.Errorf("%s: %s", tt.about, told(w))
		}
	}
}

// Who ticks twice an hour watches alerts all the same.
func TestLongTick(t *testing.T) {
	s := newScene()
	s.judge() // fills the memory of needs
	j := &Judge{Memory: NewMemory(), Tick: 30 * time.Minute}
	j.Memory.subjects = s.memory.subjects
	delete(j.Memory.subjects, alertKey("checkout-availability"))
	for ago := quiet; ago >= 0; ago -= j.Tick {
		if ago == j.Tick*4 || ago == j.Tick*5 {
			continue // two ticks that never were
		}
		j.budgets(s.statuses, noon.Add(-ago))
	}
	j.Judge(s.workloads, s.statuses, noon)
	if got := told(s.checkout()); s.checkout().Gate != Safe {
		t.Error(got)
	}
}

// What was changed must soak: the change of one workload blocks the others of its service for a day.
func TestSoak(t *testing.T) {
	s := newScene()
	other := checkout()
	other.Name = "checkout-worker"
	s.workloads = append(s.workloads, other)
	s.judge()
	for i := range s.workloads {
		if s.workloads[i].Gate != Safe {
			t.Fatalf("%s: %s", s.workloads[i].Name, told(&s.workloads[i]))
		}
	}
	j := &Judge{Memory: s.memory, Prices: s.prices}
	s.workloads[1].Containers[0].CPU.Request = is(0.7)
	s.workloads[1].RolledOut = noon
	j.Judge(s.workloads, s.statuses, noon)
	if got, want := told(s.checkout()), "shrink blocked | cpu=over_upper_bound memory=over_upper_bound blocked:soak"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if want := noon.Add(day); !s.checkout().EligibleAt.Equal(want) {
		t.Errorf("eligible at %s, want %s", s.checkout().EligibleAt, want)
	}
}

// The most pressing first, then the money for what is put at risk.
func TestRank(t *testing.T) {
	w := func(name string, v Verdict, gate Passage, urgency int, trade float64) *Workload {
		return &Workload{Name: name, Judgement: Judgement{Verdict: v, Gate: gate, Urgency: urgency, Trade: is(trade)}}
	}
	all := []*Workload{
		w("unknown", Unknown, "", 0, 0), w("keep", Keep, "", 0, 0), w("blocked", Shrink, Blocked, 0, 90), w("ungated", Shrink, Ungated, 0, 0),
		w("safe, little", Shrink, Safe, 0, 2), w("safe, much", Shrink, Safe, 0, 9), w("raise", Raise, "", 1, 0), w("raise now", Raise, Blocked, 3, 0),
	}
	Rank(all)
	want := []string{"raise now", "raise", "safe, much", "safe, little", "ungated", "blocked", "keep", "unknown"}
	for i, w := range all {
		if w.Name != want[i] {
			t.Errorf("place %d: %s, want %s", i, w.Name, want[i])
		}
	}
}
