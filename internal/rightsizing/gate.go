package rightsizing

import (
	"math"
	"slices"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// What a shrink asks of the budgets of every service that the workload runs.
const (
	leastLeft    = 0.25             // of a budget
	leastEvents  = 100              // of the last three days: no data is not health
	leastCovered = 0.1              // of the period, or mostEvents counted (MATHS.md, "Budget")
	mostEvents   = 1000             // likewise
	quiet        = slo.Day          // without an alert
	soaking      = slo.Day          // after a change of any workload of the service
	repair       = 15 * time.Minute // to notice that a change went wrong and roll it back
	reserve      = 3                // exposures that must be left
	latest       = 5 * time.Minute  // how old the newest answer may be, or two ticks
	fast         = 6 * time.Hour    // the longest window of an alert that wants somebody now
	lately       = 3 * slo.Day      // over which a service must not burn faster than its period
)

// Exposure is the share of an error budget that a change spends when it goes wrong and is rolled
// back: repair time · share of the traffic that it hits / (period · (1 − objective)).
//
// A rollout hits one pod of several first, and all of a single one. The budget is taken as time:
// 43.2 minutes of everything failing for 99.9 % over 30 days.
func Exposure(o *slo.Objective, pods float64) float64 {
	hit := 1.0
	if pods > 1 {
		hit = 1 / pods
	}
	return repair.Seconds() * hit / (o.Period.Length.Seconds() * o.Target.Rest().Float())
}

// budget is one SLO, or one group of it, as a gate sees it.
type budget struct {
	status  *slo.Status
	fired   time.Time     // when an alert of the SLO was last seen firing; zero: never
	watched time.Duration // for how long its alerts have been looked at
	fast    bool          // an alert with a short window fires
	slow    bool          // any other fires
}

// budgets notes which alerts fire, and puts the SLOs of each service together.
func (j *Judge) budgets(statuses []slo.Status, now time.Time) map[string][]budget {
	out := map[string][]budget{}
	for i := range statuses {
		st := &statuses[i]
		b := budget{status: st}
		for _, a := range st.Alerts {
			for _, p := range a.Pairs {
				if a.Firing && p.Firing {
					b.fast = b.fast || p.Long <= fast
					b.slow = b.slow || p.Long > fast
				}
			}
		}
		key := alertKey(st.Objective.Name)
		s := j.Memory.seen(key, now, max(patience, 3*j.Tick)) // a tick may be longer than any patience
		if b.fast || b.slow {
			if s.Fired.IsZero() || now.Sub(s.Fired) >= time.Minute {
				j.Memory.dirty[key] = true
			}
			s.Fired = now
		}
		out[st.Objective.Service] = append(out[st.Objective.Service], b)
	}
	for _, of := range out { // all groups have been looked at
		for i := range of {
			s := j.Memory.subject(alertKey(of[i].status.Objective.Name))
			of[i].fired, of[i].watched = s.Fired, s.watched(now)
		}
	}
	return out
}

// fault is what one budget has against a shrink.
type fault struct {
	code  string
	about *slo.Status
	until time.Time // zero: nobody knows
}

// refuses says all that a budget has against a change that puts so many pods at risk.
func (b budget) refuses(pods float64, tick time.Duration, now time.Time) []fault {
	st := b.status
	var out []fault
	no := func(code string, until time.Time) { out = append(out, fault{code, st, until}) }
	whole, recent := windowOf(st, 0), windowOf(st, lately)
	if st.NoGroup || st.Note != "" || st.Newest.IsZero() || st.At.Sub(st.Newest) > max(latest, 2*tick) ||
		whole.Coverage < leastCovered && whole.Total < mostEvents || recent.Total < leastEvents || !recent.BurnRate.Defined {
		no(SLOData, time.Time{})
		return out
	}
	if !(st.Budget.RemainingRatio >= leastLeft) {
		no(BudgetLeft, time.Time{})
	}
	switch {
	case b.fast || b.slow:
		no(NoAlert, time.Time{})
	case !b.fired.IsZero() && now.Sub(b.fired) < quiet:
		no(NoAlert, b.fired.Add(quiet))
	case b.watched < quiet:
		no(NoAlert, now.Add(quiet-b.watched))
	}
	if recent.BurnRate.Float > 1 {
		no(NotTrendingOut, time.Time{})
	}
	if !(st.Budget.RemainingRatio >= reserve*Exposure(st.Objective, pods)) {
		no(ExposureTooLarge, time.Time{})
	}
	return out
}

// windowOf is the window of a length, or for 0 that of the period. A period of that very length is
// the same window.
func windowOf(st *slo.Status, length time.Duration) slo.Window {
	for _, w := range st.Windows {
		if length == 0 && w.IsPeriod || length > 0 && w.Length == length {
			return w
		}
	}
	return slo.Window{}
}

// evidence are the reasons that a burn may have its cause in.
var evidence = []string{OOMKilled, LimitBound, UnderLowerBound}

// gate asks the budgets whether what shrinks may, and how pressing it is that what grows does.
func (j *Judge) gate(w *Workload, budgets map[string][]budget, changed map[string]time.Time, now time.Time) {
	pods := w.Mean() // undefined is none, and none is as one
	shrinks, lacks, doubtful := false, false, false
	for i := range w.Containers {
		for _, name := range both {
			r := name.of(&w.Containers[i])
			shrinks = shrinks || r.Verdict == Shrink
			doubtful = doubtful || r.Verdict == Shrink && slices.Contains(r.Reasons, FreshnessUnknown)
			lacks = lacks || r.Verdict == Raise && slices.ContainsFunc(r.Reasons, func(code string) bool { return slices.Contains(evidence, code) })
		}
	}
	var faults []fault
	watched, isFast, isSlow := false, false, false
	for _, service := range w.Services {
		for _, b := range budgets[service] {
			watched = true
			isFast, isSlow = isFast || b.fast, isSlow || b.slow
			if e := Exposure(b.status.Objective, pods.Float); e > w.Exposure.Float {
				w.Exposure = slo.Defined(e)
			}
			faults = append(faults, b.refuses(pods.Float, j.Tick, now)...)
		}
		if at := changed[service]; !at.IsZero() && now.Sub(at) < soaking {
			faults = append(faults, fault{code: Soak, until: at.Add(soaking)})
		}
	}
	j.watch(w, budgets, now)
	if lacks {
		switch w.Urgency = 1; {
		case isFast:
			w.Urgency = 3
		case isSlow:
			w.Urgency = 2
		}
	} else if (isFast || isSlow) && w.sound() {
		w.Reasons = append(w.Reasons, Reason{Code: BurnNotResource})
	}
	if w.regressed(now) {
		w.Urgency = 3
		w.Reasons = append(w.Reasons, Reason{Code: ChangeRegressed})
		faults = append(faults, fault{code: ChangeRegressed, until: w.Change.At.Add(Horizon)})
	}
	w.bears = watched && len(faults) == 0
	if !shrinks {
		return
	}
	if doubtful {
		faults = append(faults, fault{code: Freshness})
	}
	switch {
	case !watched:
		w.Gate = Ungated
		return
	case len(faults) == 0:
		w.Gate = Safe
	default:
		w.Gate = Blocked
		w.blocked(faults)
	}
	if w.Savings.Defined && w.Exposure.Float > 0 {
		w.Trade = slo.Defined(monthly * w.Savings.Float / (w.Exposure.Float * 100))
	}
}

// sound reports whether the workload is known to lack nothing. What nobody can judge may well lack
// something, and so may what an autoscaler is left to see to.
func (w *Workload) sound() bool {
	judged := false
	for i := range w.Containers {
		for _, name := range both {
			r := name.of(&w.Containers[i])
			switch {
			case r.Verdict == Raise, r.short, r.Verdict == Unknown && !slices.Contains(r.Reasons, Warming):
				return false
			}
			judged = judged || r.Verdict != ""
		}
	}
	return judged
}

// monthly is the hours of a month that clouds bill by.
const monthly = 730

// blocked notes each fault once, and until when they last.
func (w *Workload) blocked(faults []fault) {
	known := true
	until := w.EligibleAt
	for _, f := range faults {
		one := Reason{Code: Blocking + f.code}
		if !slices.Contains(w.Reasons, one) {
			w.Reasons = append(w.Reasons, one)
		}
		known = known && !f.until.IsZero()
		if f.until.After(until) {
			until = f.until
		}
		if w.against == nil || !w.against.until.IsZero() && f.until.IsZero() { // what time alone does not heal
			w.against = &f
		}
	}
	if w.EligibleAt = until; !known {
		w.EligibleAt = time.Time{}
	}
}

// percent rounds a share down to a tenth of a percent.
func percent(share float64) float64 { return math.Floor(share*1000+1e-9) / 10 }
