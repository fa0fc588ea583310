// Package increments turns samples of counters into events booked at moments.
//
// It is the one place where yoyu decides what a counter says: resets, series that are born and
// die, samples seen twice, gaps, and the first error ever, by the rules of MATHS.md ("Events").
// It does no I/O and reads no clock; a source hands it samples and what it remembers.
//
//	[]Series ──Memory.Count(span)──▶ Answer (increments, spreads, coverage)
package increments

import (
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Point is one sample of one series.
type Point struct {
	T     int64   // Unix milliseconds
	V     float64 // cumulative count; NaN is passed over
	Start int64   // created time in Unix milliseconds; 0 when unknown
}

// Role says what a series' events count for. A series may carry several roles.
type Role uint8

// The roles of a series in its question. Where the question names good events, every event is bad
// until it is counted good: its total series are Total|Bad, its good series Good, and one that is
// both is all three.
const (
	Total Role = 1 << iota // counts events
	Bad                    // counts bad events
	Good                   // takes bad events away
)

// Series is one counter with its samples of a span, ascending in time. Samples at or before the
// span's start are welcome: they are the value before, and nothing is counted for them.
type Series struct {
	Key    string   // identity among the question's series
	Target string   // identity of its target (TargetOf); "" belongs to the source itself
	Family string   // series of one histogram share it: a reset of one is a reset of all; "" is none
	Group  []string // values of the question's group_by labels
	Role   Role
	Points []Point
}

// Answer is what a span's samples say.
type Answer struct {
	Groups    []slo.GroupSample
	Covered   []slo.Span
	Newest    time.Time // newest sample of a Total series at or before the span's end; zero if none
	Baselined int       // new series whose first value counted nothing
	Resets    int       // counters that started again
	Series    int       // series with a sample in the span
}

// MaxGap is the longest time between two samples of a series that is no gap: max(5 min, 2 ticks).
func MaxGap(tick time.Duration) time.Duration { return max(5*time.Minute, 2*tick) }

// Lookback is how long a sample vouches for the slots after it: 5 min, or the tick if longer.
func Lookback(tick time.Duration) time.Duration { return max(5*time.Minute, tick) }

// TargetOf is the identity of the target that a series with these labels belongs to: job,
// instance and pod, as far as it carries them; "" when it carries none.
func TargetOf(label func(name string) string) string {
	job, instance, pod := label("job"), label("instance"), label("pod")
	if job == "" && instance == "" && pod == "" {
		return ""
	}
	return job + "\xff" + instance + "\xff" + pod
}
