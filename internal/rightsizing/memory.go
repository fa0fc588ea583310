package rightsizing

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Memory is what yoyu itself has seen of workloads and alerts over the last two weeks: VPA keeps
// neither what it recommended yesterday nor when a container was last killed. It is not safe for
// concurrent use.
type Memory struct {
	subjects map[string]*subject
	dirty    map[string]bool // changed since the last Changes
}

// NewMemory is a memory that has seen nothing.
func NewMemory() *Memory { return &Memory{subjects: map[string]*subject{}, dirty: map[string]bool{}} }

// Horizon is how far the memory looks back.
const Horizon = 14 * slo.Day

const (
	runLength = 6 * time.Hour    // changes that lie closer are remembered as one stretch
	blind     = slo.Day          // what happened in a longer gap is not known: the target may have come and gone
	patience  = 15 * time.Minute // likewise for alerts, which may come and go in minutes
	refresh   = time.Hour        // how stale the memory on disk may be
)

// subject is one container's resource, one workload or one SLO.
type subject struct {
	Runs    []run             `json:"runs,omitempty"`    // oldest first
	Killed  time.Time         `json:"killed,omitzero"`   // last OOM kill
	Asked   string            `json:"asked,omitempty"`   // what a workload's template asks for
	Raw     map[string]string `json:"raw,omitempty"`     // as it is written, by container
	Changed time.Time         `json:"changed,omitzero"`  // when that last changed
	Change  *change           `json:"change,omitempty"`  // how that went; nil: it was no change of amounts
	Tallies []Tally           `json:"tallies,omitempty"` // how all went
	Fired   time.Time         `json:"fired,omitzero"`    // when an alert was last seen firing
	Began   time.Time         `json:"began,omitzero"`    // since when it has been watched without a gap
	Seen    time.Time         `json:"seen,omitzero"`     // when it was last looked at
	kept    time.Time         // Seen as it is on disk
}

// run is a stretch of time in which a need stayed between two bounds.
type run struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Min  float64   `json:"min"`
	Max  float64   `json:"max"`
}

func (m *Memory) subject(key string) *subject {
	s := m.subjects[key]
	if s == nil {
		s = &subject{}
		m.subjects[key] = s
	}
	return s
}

// seen notes a look at now; gap is how long nobody may have looked without it mattering.
func (m *Memory) seen(key string, now time.Time, gap time.Duration) *subject {
	s := m.subject(key)
	if s.Began.IsZero() || now.Sub(s.Seen) > gap {
		s.Began = now
	}
	if now.After(s.Seen) {
		s.Seen = now
	}
	if s.Seen.Sub(s.kept) >= min(refresh, gap/2) {
		m.dirty[key] = true
	}
	return s
}

// need notes what a resource needs at now.
func (m *Memory) need(key string, now time.Time, amount float64) *subject {
	s := m.seen(key, now, blind)
	n := len(s.Runs)
	switch {
	case n > 0 && !now.After(s.Runs[n-1].To): // time stands still, or goes back
		s.Runs[n-1].widen(amount)
	case n > 0 && now.Sub(s.Runs[n-1].To) <= blind && (s.Runs[n-1].is(amount) || now.Sub(s.Runs[n-1].From) < runLength):
		s.Runs[n-1].widen(amount)
		s.Runs[n-1].To = now
	default:
		s.Runs = append(s.Runs, run{From: now, To: now, Min: amount, Max: amount})
		m.dirty[key] = true
	}
	for len(s.Runs) > 0 && now.Sub(s.Runs[0].To) > Horizon {
		s.Runs = s.Runs[1:]
	}
	return s
}

func (r *run) is(amount float64) bool { return r.Min == amount && r.Max == amount }

func (r *run) widen(amount float64) { r.Min, r.Max = min(r.Min, amount), max(r.Max, amount) }

// highWater is the largest need that is remembered.
func (s *subject) highWater() float64 {
	high := 0.0
	for _, r := range s.Runs {
		high = max(high, r.Max)
	}
	return high
}

// since is from when on the need has been near its present, without a gap.
func (s *subject) since(of scale, present float64) time.Time {
	var since time.Time
	for i := len(s.Runs) - 1; i >= 0; i-- {
		r := s.Runs[i]
		if !of.near(r.Min, present) || !of.near(r.Max, present) || !since.IsZero() && since.Sub(r.To) > blind {
			break
		}
		since = r.From
	}
	return since
}

// watched is for how long there has been no gap.
func (s *subject) watched(now time.Time) time.Duration {
	return min(now.Sub(s.Began), Horizon)
}

// killed notes an OOM kill and returns the last one that is known of.
func (m *Memory) killed(key string, at time.Time) time.Time {
	if at.IsZero() {
		if s := m.subjects[key]; s != nil {
			return s.Killed
		}
		return at
	}
	s := m.subject(key)
	if at.After(s.Killed) {
		s.Killed = at
		m.dirty[key] = true
	}
	return s.Killed
}

// asked notes what a workload asks for and returns when that last changed; zero: not since it has
// been watched.
func (m *Memory) asked(w *Workload, now time.Time) time.Time {
	key, what := workloadKey(w), w.asks()
	s := m.seen(key, now, blind)
	if s.Asked != what {
		if s.Asked != "" {
			s.Changed = now
			if d, less := direction(s.Asked, what); d != "" {
				s.Change = &change{At: now, Direction: d, Outcome: Pending, Less: less, Before: s.Raw}
			}
		}
		s.Asked, s.Raw = what, w.raws()
		m.dirty[key] = true
	} else if s.Raw == nil { // of a memory that did not keep it
		s.Raw = w.raws()
		m.dirty[key] = true
	}
	return s.Changed
}

// Forget drops what has not been seen since the horizon: workloads and SLOs that are gone.
func (m *Memory) forget(now time.Time) {
	for key, s := range m.subjects {
		if now.Sub(s.Seen) > Horizon && now.Sub(s.Killed) > Horizon {
			delete(m.subjects, key)
			m.dirty[key] = true
		}
	}
}

// Record is one thing that is remembered, as it is kept on disk. A nil Value: it is forgotten.
type Record struct {
	Key   string
	Value []byte
}

// Changes are the records that changed since the last call. What is lost with a crash is no more
// than an hour of having looked.
func (m *Memory) Changes() ([]Record, error) {
	if len(m.dirty) == 0 {
		return nil, nil
	}
	out := make([]Record, 0, len(m.dirty))
	for key := range m.dirty {
		s := m.subjects[key]
		if s == nil {
			out = append(out, Record{Key: key})
			continue
		}
		text, err := json.Marshal(s)
		if err != nil {
			return nil, fmt.Errorf("memory of %s: %w", key, err)
		}
		out = append(out, Record{key, text})
		s.kept = s.Seen
	}
	clear(m.dirty)
	return out, nil
}

// Restore brings back records. One that cannot be read is an error, and is not remembered.
func (m *Memory) Restore(records []Record) error {
	for _, r := range records {
		var s subject
		if err := json.Unmarshal(r.Value, &s); err != nil {
			return fmt.Errorf("memory of %s: %w", r.Key, err)
		}
		s.kept = s.Seen
		m.subjects[r.Key] = &s
	}
	return nil
}

// The keys of subjects. A zero byte is in no name.
func workloadKey(w *Workload) string { return w.Namespace + "\x00" + w.Kind + "\x00" + w.Name }

func containerKey(w *Workload, c *Container) string { return workloadKey(w) + "\x00" + c.Name }

func resourceKey(w *Workload, c *Container, r resourceName) string {
	return containerKey(w, c) + "\x00" + string(r)
}

func alertKey(slo string) string { return "\x00" + slo }
