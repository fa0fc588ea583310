package slo

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// That a severity fires is worked out from counts, tick by tick. That it fired a week ago cannot be:
// a window of five minutes is known for two hours only. So what Evaluate saw is written down when it
// is over, beside the rows, and kept as long as their counts are.

// Fired is a severity that fired from From until To.
type Fired struct {
	Labels   []string // values of GroupBy
	Severity string
	Span     // its first firing tick, and the first after it that was not; To is zero while it fires
}

// episode is a severity that fired: at from, and up to the tick before to.
type episode struct {
	severity string
	ticks
}

// episodes is how many of them are kept of a row and severity: the newest.
const episodes = 100

// watched are the ticks of the objective's lane at which somebody looked at its alerts.
func (t *tracked) watched() coverage {
	if t.looked == 0 {
		return nil
	}
	lag := t.lane.lag()
	var out coverage
	for _, s := range t.engine.looked {
		if s.from, s.to = max(s.from-lag, t.looked-1), min(s.to-lag, t.lane.head); s.from < s.to {
			out = append(out, s)
		}
	}
	return out
}

// lag is by how many ticks the lane's newest tick is behind the clock's.
func (l *lane) lag() int64 { return -floorDiv(-int64(l.delay), int64(l.grid.tick)) }

// blink is how long nobody may look at alerts without it being told: hardly anything fires and is
// over in that time, and the start of what still fires is found in the counts.
func (e *Engine) blink() int64 { return max(int64(5*time.Minute/e.tick), 2) }

// look notes that alerts are looked at, at the tick of the clock.
func (e *Engine) look(at int64) {
	n := len(e.looked)
	switch {
	case n > 0 && at <= e.looked[n-1].to:
	case n > 0 && at-e.looked[n-1].to <= e.blink():
		e.looked[n-1].to = at
	default:
		e.looked = append(e.looked, ticks{at - 1, at})
		if e.journal != nil {
			e.journal.looked = true
		}
	}
	if e.widest != nil {
		e.looked = e.looked.forget(at - e.widest.horizon)
	}
}

// over writes down that a severity no longer fires.
func (t *tracked) over(r *row, severity int, from, to int64) {
	if severity >= len(t.policy) || from >= to {
		return
	}
	if t.episodes == nil {
		t.episodes = map[*row][]episode{}
	}
	e := episode{t.policy[severity].Name, ticks{from, to}}
	old := t.lane.head - t.lane.grid.horizon
	kept, same := t.episodes[r][:0], 0
	for _, have := range t.episodes[r] {
		switch {
		case have.to <= old:
			continue
		case have.severity == e.severity && have.to >= e.from && have.from <= e.to: // it was found to have begun earlier
			e.ticks = ticks{min(have.from, e.from), max(have.to, e.to)}
			continue
		case have.severity == e.severity:
			same++
		}
		kept = append(kept, have)
	}
	if same >= episodes {
		i := slices.IndexFunc(kept, func(have episode) bool { return have.severity == e.severity })
		kept = slices.Delete(kept, i, i+1)
	}
	t.episodes[r] = append(kept, e)
	t.engine.touch(t)
}

// ended is the first tick after which a severity that fired at the tick judged last did no longer:
// of ticks that nobody looked at, the counts tell, as far as they know every tick.
func (t *tracked) ended(r *row, severity int, from int64) int64 {
	to := t.lane.head
	oldest := max(t.judged(), from, t.lane.head-int64(time.Hour/t.engine.tick))
	for to-1 > oldest && !t.fired(r, severity, to-1) {
		to--
	}
	return to
}

// firedIn are the alerts of a row that fired in a span.
func (t *tracked) firedIn(r *row, span ticks) []Fired {
	var out []Fired
	add := func(severity string, s ticks, still bool) {
		if s.from > span.to || !still && s.to <= span.from {
			return
		}
		f := Fired{Labels: r.labels, Severity: severity, Span: Span{From: t.engine.timeOf(s.from)}}
		if !still {
			f.To = t.engine.timeOf(s.to)
		}
		out = append(out, f)
	}
	past := slices.Clone(t.episodes[r])
	for severity := range t.policy {
		since, ok := r.since[severity]
		if !ok {
			continue
		}
		name := t.policy[severity].Name
		past = slices.DeleteFunc(past, func(e episode) bool { // ended by a change of the policy alone
			if e.severity != name || e.to < since {
				return false
			}
			since = min(since, e.from)
			return true
		})
		add(name, ticks{from: since}, true)
	}
	for _, e := range past {
		add(e.severity, e.ticks, false)
	}
	return out
}

// encodeLooked writes when somebody looked at alerts: from, to …; the newest to is told by the lanes.
func (e *Engine) encodeLooked() []byte {
	out := []byte{}
	for _, s := range e.looked {
		out = binary.AppendVarint(binary.AppendVarint(out, s.from), s.to)
	}
	return out
}

// restoreLooked reads it, once the lanes are there.
func (e *Engine) restoreLooked(text []byte) error {
	r := &reader{b: text}
	e.looked = nil
	for len(r.b) > 0 {
		e.looked = append(e.looked, ticks{r.varint(), r.varint()})
	}
	if r.broken {
		return errors.New("state: looked: cut short")
	}
	if n := len(e.looked); n > 0 {
		last := &e.looked[n-1]
		for _, l := range e.lanes {
			if l.judged > 0 {
				last.to = max(last.to, l.judged+l.lag())
			}
		}
	}
	return nil
}
