package rightsizing

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Change is one change of what a workload's template asks for, whoever made it, and how it went.
type Change struct {
	At        time.Time // when it was first seen
	Direction Direction
	Outcome   Outcome
	Ended     time.Time   // when the outcome was known; zero while it is pending
	Reasons   []Reason    // why it has regressed
	Reverse   []Operation // patch that takes it back, while it has regressed and still stands; nil: none
}

// Direction is which way a change goes.
type Direction string

// The directions of changes.
const (
	Raised  Direction = "raise"
	Shrunk  Direction = "shrink"
	Changed Direction = "mixed" // something grew, and something shrank
)

// Outcome is how a change went.
type Outcome string

// The outcomes of changes.
const (
	Pending   Outcome = "pending"
	Held      Outcome = "held"      // a day on, nothing had happened that speaks against it
	Regressed Outcome = "regressed" // something had
)

// Tally counts changes of one direction with one outcome.
type Tally struct {
	Direction Direction `json:"direction"`
	Outcome   Outcome   `json:"outcome"` // Held or Regressed
	Count     int       `json:"count"`
}

// change is a Change as it is remembered.
type change struct {
	At        time.Time         `json:"at"`
	Direction Direction         `json:"direction"`
	Outcome   Outcome           `json:"outcome"`
	Ended     time.Time         `json:"ended,omitzero"`
	Reasons   []Reason          `json:"reasons,omitempty"`
	Less      []Reason          `json:"less,omitempty"`   // containers and resources that were given less
	Before    map[string]string `json:"before,omitempty"` // resources by container, as they were written
	Burn      *float64          `json:"burn,omitempty"`   // worst of its services before, over a day; nil: not known
	Firing    bool              `json:"firing,omitempty"` // an alert of its services fired already
}

// raws are the resources of the template's containers as they are written.
func (w *Workload) raws() map[string]string {
	out := map[string]string{}
	for i := range w.Containers {
		if c := &w.Containers[i]; c.Place == Main {
			out[c.Name] = cmp.Or(c.Raw, "{}")
		}
	}
	return out
}

// direction compares what a template asked for with what it asks for, as asks writes both, container
// by container, and says which were given less. "" when none that is in both asks for anything else.
func direction(before, after string) (d Direction, less []Reason) {
	was := map[string][]string{}
	for line := range strings.Lines(before) {
		if f := strings.Fields(line); len(f) > 0 {
			was[f[0]] = f[1:]
		}
	}
	grew, shrank := false, false
	for line := range strings.Lines(after) {
		f := strings.Fields(line)
		if len(f) == 0 || len(was[f[0]]) != len(f)-1 {
			continue
		}
		for i, text := range f[1:] {
			a, err := strconv.ParseFloat(was[f[0]][i], 64)
			b, also := strconv.ParseFloat(text, 64)
			if err != nil || also != nil {
				continue
			}
			grew, shrank = grew || b > a, shrank || b < a
			one := Reason{Container: f[0], Resource: string(both[i/2])} // request and limit of each
			if b < a && !slices.Contains(less, one) {
				less = append(less, one)
			}
		}
	}
	switch {
	case grew && shrank:
		return Changed, less
	case grew:
		return Raised, nil
	case shrank:
		return Shrunk, less
	}
	return "", nil
}

// watch judges the last change of a workload, whose resources and alerts have been looked at.
//
// For a day, in which its alerts have been watched without a gap, a change must do no harm: no container
// is killed for lack of memory; where something was taken away, that is not cut off by its limit or below
// VPA's lower bound now, no alert of a service begins, and at the end the day's burn is not above both 1 and
// twice what it was. What coincides is no proof, but reason enough to take it back first.
func (j *Judge) watch(w *Workload, budgets map[string][]budget, now time.Time) {
	key := workloadKey(w)
	s := j.Memory.subjects[key]
	if s == nil || s.Change == nil {
		return
	}
	c := s.Change
	firing, fired, burn, watched := false, false, slo.Value{}, true
	for _, service := range w.Services {
		for _, b := range budgets[service] {
			firing = firing || b.fast || b.slow
			fired = fired || b.fired.After(c.At)
			watched = watched && b.watched >= min(quiet, now.Sub(c.At))
			if r := windowOf(b.status, soaking).BurnRate; r.Defined && (!burn.Defined || r.Float > burn.Float) {
				burn = r
			}
		}
	}
	if c.At.Equal(now) { // it has just been seen
		c.Firing = firing
		if burn.Defined {
			c.Burn = &burn.Float
		}
		j.Memory.dirty[key] = true
	}
	if c.Outcome == Pending {
		over := now.Sub(c.At) >= soaking && watched
		reasons := w.harm(c, fired && !c.Firing)
		if len(reasons) == 0 && over && c.Direction != Raised && c.Burn != nil && burn.Defined && burn.Float > max(1, 2**c.Burn) {
			reasons = append(reasons, Reason{Code: BurnRose})
		}
		switch {
		case len(reasons) > 0:
			c.Outcome, c.Reasons = Regressed, reasons
		case over:
			c.Outcome = Held
		}
		if c.Outcome != Pending {
			c.Ended = now
			s.tally(c.Direction, c.Outcome)
			j.Memory.dirty[key] = true
		}
	}
	w.Tallies = s.Tallies
	w.Change = &Change{At: c.At, Direction: c.Direction, Outcome: c.Outcome, Ended: c.Ended, Reasons: c.Reasons}
	if c.Outcome == Regressed {
		w.Change.Reverse = w.reverse(c.Before)
	}
}

// tally counts an outcome.
func (s *subject) tally(d Direction, o Outcome) {
	i := slices.IndexFunc(s.Tallies, func(t Tally) bool { return t.Direction == d && t.Outcome == o })
	if i < 0 {
		s.Tallies, i = append(slices.Clone(s.Tallies), Tally{d, o, 0}), len(s.Tallies)
	}
	s.Tallies = slices.Clone(s.Tallies) // others may hold the one before
	s.Tallies[i].Count++
}

// harm is what speaks against a change by now.
func (w *Workload) harm(c *change, alerted bool) []Reason {
	var out []Reason
	for i := range w.Containers {
		one := &w.Containers[i]
		if one.OOMKilled.After(c.At) {
			out = append(out, Reason{one.Name, string(memory), OOMKilled})
		}
		for _, name := range both {
			if !slices.Contains(c.Less, Reason{Container: one.Name, Resource: string(name)}) {
				continue
			}
			for _, code := range []string{LimitBound, UnderLowerBound} {
				if slices.Contains(name.of(one).Reasons, code) {
					out = append(out, Reason{one.Name, string(name), code})
				}
			}
		}
	}
	if alerted && c.Direction != Raised {
		out = append(out, Reason{Code: Alerted})
	}
	return out
}

// reverse is the patch that gives containers back the resources that they had, as they were written. It
// tests those that they have. Nil when nothing differs, or nobody knows.
func (w *Workload) reverse(before map[string]string) []Operation {
	template := w.template()
	if template == nil {
		return nil
	}
	var guards, changes []Operation
	for i := range w.Containers {
		c := &w.Containers[i]
		was, known := before[c.Name]
		now := cmp.Or(c.Raw, "{}")
		if c.Place != Main || !known || was == now || !json.Valid([]byte(was)) {
			continue
		}
		at := append(template[:len(template):len(template)], strconv.Itoa(c.Index))
		guards = append(guards,
			Operation{"test", pointer(append(at[:len(at):len(at)], "name")...), json.RawMessage(strconv.Quote(c.Name))},
			Operation{"test", pointer(append(at[:len(at):len(at)], "resources")...), json.RawMessage(now)})
		changes = append(changes, Operation{"replace", pointer(append(at[:len(at):len(at)], "resources")...), json.RawMessage(was)})
	}
	return append(guards, changes...)
}

// regressed reports whether the last change went wrong, lately, and still stands.
func (w *Workload) regressed(now time.Time) bool {
	return w.Change != nil && w.Change.Outcome == Regressed && now.Sub(w.Change.At) < Horizon
}

// back says that a change should be taken back, and why.
func (c *Change) back(now time.Time) string {
	did := map[Direction]string{Raised: "raised", Shrunk: "lowered", Changed: "changed"}[c.Direction]
	var why []string
	for _, r := range c.Reasons {
		text := phrases[since+r.Code]
		if r.Container != "" {
			text = r.Container + " " + text
		}
		if text != "" && !slices.Contains(why, text) {
			why = append(why, text)
		}
	}
	text := fmt.Sprintf("what it asks for was %s %s ago, and since then %s", did, span(now.Sub(c.At)), listed(why))
	if c.Direction == Raised {
		return text + ": it was not enough"
	}
	return text + ": take it back"
}

// since comes before the code of what happened since a change, in phrases.
const since = "since:"
