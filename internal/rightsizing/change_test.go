package rightsizing

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// after is a scene whose CPU request was cut from a core to 700m at noon, as a patch of yoyu's would
// have done, and goes on.
type after struct {
	*scene
	t   *testing.T
	j   *Judge
	now time.Time
}

func cut(t *testing.T) *after {
	s := newScene()
	s.judge()
	a := &after{s, t, &Judge{Prices: s.prices, Memory: s.memory, Tick: 30 * time.Second}, noon.Add(time.Minute)}
	a.ask(0.7, `{"limits":{"memory":"2Gi"},"requests":{"cpu":"700m","memory":"2Gi"}}`)
	a.look()
	return a
}

func (a *after) ask(cpu float64, raw string) { a.app().CPU.Request, a.app().Raw = is(cpu), raw }

// look judges as things are now.
func (a *after) look() *Workload {
	for i := range a.statuses {
		a.statuses[i].At, a.statuses[i].Newest = a.now, a.now
	}
	for i := range a.workloads {
		for k := range a.workloads[i].Containers {
			if c := a.workloads[i].Containers[k].Checkpoint; c != nil {
				fresh := *c
				fresh.Updated = a.now
				a.workloads[i].Containers[k].Checkpoint = &fresh
			}
		}
	}
	a.j.Judge(a.workloads, a.statuses, a.now)
	return a.checkout()
}

// pass lets time go by, with a look every ten minutes.
func (a *after) pass(d time.Duration) *Workload {
	for end := a.now.Add(d); a.now.Before(end); {
		a.now = a.now.Add(10 * time.Minute)
		a.look()
	}
	return a.checkout()
}

// outcome is what is said of the last change: outcome, reasons, then what was counted.
func outcome(w *Workload) string {
	if w.Change == nil {
		return "none"
	}
	out := []string{string(w.Change.Direction), string(w.Change.Outcome)}
	for _, r := range w.Change.Reasons {
		out = append(out, strings.Trim(r.Container+"/"+r.Resource+"="+r.Code, "/="))
	}
	for _, t := range w.Tallies {
		out = append(out, fmt.Sprintf("%s/%s:%d", t.Direction, t.Outcome, t.Count))
	}
	return strings.Join(out, " ")
}

func TestChange(t *testing.T) {
	for _, tt := range []struct {
		about string
		goes  func(a *after)
		want  string
	}{
		{"just seen", func(*after) {}, "shrink pending"},
		{"an hour before a day is over", func(a *after) { a.pass(23 * time.Hour) }, "shrink pending"},
		{"a day without harm", func(a *after) { a.pass(24 * time.Hour) }, "shrink held shrink/held:1"},
		{"what happens later has other causes", func(a *after) {
			a.pass(24 * time.Hour)
			a.app().OOMKilled = a.now
			a.pass(time.Hour)
		}, "shrink held shrink/held:1"},
		{"killed since", func(a *after) {
			a.pass(3 * time.Hour)
			a.app().OOMKilled = a.now
			a.pass(10 * time.Minute)
		}, "shrink regressed app/memory=oom_killed shrink/regressed:1"},
		{"killed before", func(a *after) { a.killed(time.Hour); a.pass(25 * time.Hour) }, "shrink held shrink/held:1"},
		{"what shrank is below the lower bound now", func(a *after) {
			a.app().CPU.Lower, a.app().CPU.Target = is(0.9), is(1)
			a.pass(10 * time.Minute)
		}, "shrink regressed app/cpu=under_lower_bound shrink/regressed:1"},
		{"what did not shrink is", func(a *after) {
			a.app().Memory.Lower, a.app().Memory.Target, a.app().Memory.Uncapped = is(3*gib), is(4*gib), is(4*gib)
			a.pass(25 * time.Hour)
		}, "shrink held shrink/held:1"},
		{"an alert begins", func(a *after) { a.pass(time.Hour); a.fires(0); a.pass(10 * time.Minute) },
			"shrink regressed alerted shrink/regressed:1"},
		{"the day's burn rose", func(a *after) { a.burns(1.3); a.pass(24 * time.Hour) }, "shrink regressed burn_rose shrink/regressed:1"},
		{"the day's burn rose, and is slow all the same", func(a *after) { a.burns(0.9); a.pass(24 * time.Hour) }, "shrink held shrink/held:1"},
		{"its alerts were not watched: a day from when they are", func(a *after) {
			a.now = a.now.Add(20 * time.Hour)
			a.look()
			a.pass(10 * time.Hour)
		}, "shrink pending"},
		{"and then it has held", func(a *after) {
			a.now = a.now.Add(20 * time.Hour)
			a.look()
			a.pass(24 * time.Hour)
		}, "shrink held shrink/held:1"},
		{"no SLO watches: what the workload shows has to do", func(a *after) { a.statuses = nil; a.pass(24 * time.Hour) }, "shrink held shrink/held:1"},
		{"taken back", func(a *after) { a.pass(25 * time.Hour); a.ask(1, a.app().Raw); a.look() }, "raise pending shrink/held:1"},
		{"a raise is not to blame for an alert", func(a *after) {
			a.ask(1.2, a.app().Raw)
			a.look()
			a.fires(0)
			a.pass(25 * time.Hour)
		}, "raise held raise/held:1"},
		{"a raise that was not enough", func(a *after) {
			a.ask(1.2, a.app().Raw)
			a.look()
			a.app().OOMKilled = a.now.Add(time.Minute)
			a.pass(time.Hour)
		}, "raise regressed app/memory=oom_killed raise/regressed:1"},
		{"one grew, one shrank", func(a *after) { a.app().Memory.Request = is(gib); a.ask(0.9, a.app().Raw); a.look() }, "mixed pending"},
		{"a container that was renamed is no change of amounts", func(a *after) { a.app().Name = "other"; a.look() }, "shrink pending"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			a := cut(t)
			tt.goes(a)
			if got := outcome(a.checkout()); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func (a *after) burns(rate float64) {
	for i := range a.slo().Windows {
		a.slo().Windows[i].BurnRate = is(rate)
	}
}

// An alert that fired when the change was made is not its doing.
func TestChangeWhileBurning(t *testing.T) {
	s := newScene()
	s.judge()
	s.fires(0)
	a := &after{s, t, &Judge{Memory: s.memory, Tick: 30 * time.Second}, noon.Add(time.Minute)}
	a.ask(0.7, a.app().Raw)
	a.look()
	a.pass(24 * time.Hour)
	if got := outcome(a.checkout()); got != "shrink held shrink/held:1" {
		t.Error(got)
	}
}

// What has regressed is to be taken back, at once and by a patch that tests what it takes back; nothing
// else shrinks meanwhile, also after a restart.
func TestRegressed(t *testing.T) {
	a := cut(t)
	a.pass(3 * time.Hour)
	a.app().OOMKilled = a.now
	a.pass(10 * time.Minute)

	records, err := a.memory.Changes()
	if err != nil {
		t.Fatal(err)
	}
	again := NewMemory()
	if err := again.Restore(records); err != nil {
		t.Fatal(err)
	}
	a.j.Memory = again
	a.now = a.now.Add(time.Minute)
	w := a.look()

	if got, want := outcome(w), "shrink regressed app/memory=oom_killed shrink/regressed:1"; got != want {
		t.Errorf("after a restart: %s, want %s", got, want)
	}
	if w.Urgency != 3 || w.Gate != Blocked || !slices.Contains(w.Reasons, Reason{Code: ChangeRegressed}) || !slices.Contains(w.Reasons, Reason{Code: Blocking + ChangeRegressed}) {
		t.Errorf("u%d: %s", w.Urgency, told(w))
	}
	if want := "what it asks for was lowered 3 h ago, and since then app was killed for lack of memory: take it back."; w.Sentence != want {
		t.Errorf("%q\nwant %q", w.Sentence, want)
	}
	const at = "/spec/template/spec/containers/0"
	want := []string{
		`test ` + at + `/name "app"`,
		`test ` + at + `/resources {"limits":{"memory":"2Gi"},"requests":{"cpu":"700m","memory":"2Gi"}}`,
		`replace ` + at + `/resources {"limits":{"memory":"2Gi"},"requests":{"cpu":"1","memory":"2Gi"}}`,
	}
	var got []string
	for _, op := range w.Change.Reverse {
		got = append(got, fmt.Sprintf("%s %s %s", op.Op, op.Path, op.Value))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if w.regressed(w.Change.At.Add(Horizon)) {
		t.Error("still to be taken back after two weeks")
	}
	a.ask(1, `{"limits":{"memory":"2Gi"},"requests":{"cpu":"1","memory":"2Gi"}}`)
	if w = a.look(); outcome(w) != "raise pending shrink/regressed:1" || w.Urgency == 3 || w.Change.Reverse != nil {
		t.Errorf("after it was taken back: %s, u%d", outcome(w), w.Urgency)
	}
}

// What pods have been given without the template's asking comes and goes with them: nobody has changed
// anything.
func TestGivenIsNoChange(t *testing.T) {
	s := newScene()
	s.app().CPU.Request, s.app().CPU.Defaulted = is(0.1), true
	s.app().Raw = `{"limits":{"memory":"2Gi"},"requests":{"memory":"2Gi"}}`
	s.judge()
	a := &after{s, t, &Judge{Memory: s.memory, Tick: 30 * time.Second}, noon.Add(time.Minute)}
	for _, given := range []float64{0.2, 0, 0.1} { // by a VPA that applies; scaled to nothing; by a LimitRange
		s.app().CPU.Request, s.app().CPU.Defaulted = is(given), given > 0
		s.app().CPU.Request.Defined = given > 0
		if w := a.pass(10 * time.Minute); w.Change != nil || slices.Contains(w.Reasons, Reason{Code: Blocking + Soak}) {
			t.Errorf("given %v cores: change %s, %s", given, outcome(w), told(w))
		}
	}
	// A request that is left out beside a limit is the template's own word.
	s.app().CPU.Request, s.app().CPU.Limit, s.app().CPU.Defaulted = is(1), is(1), true
	if w := a.pass(10 * time.Minute); outcome(w) != "raise pending" {
		t.Errorf("with a limit of a core: %s", outcome(w))
	}
}
