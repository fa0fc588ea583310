package rightsizing

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sentence says in one plain sentence what to do and why.
func (j *Judge) sentence(w *Workload, now time.Time) string {
	if w.regressed(now) {
		return w.Change.back(now) + "."
	}
	switch w.Verdict {
	case Raise:
		return w.raising()
	case Shrink:
		return w.shrinking(now)
	case Keep:
		return w.keeping(now)
	}
	return w.unknowing()
}

// phrases are reasons in words, behind "because".
var phrases = map[string]string{
	OOMKilled:       "it was killed for lack of memory within a day",
	LimitBound:      "its use is cut off by its limit",
	UnderLowerBound: "it asks for less than VPA's lower bound",
	RequestUnset:    "it asks for nothing, so nothing is kept free for it",
	OverUpperBound:  "it asks for more than VPA's upper bound, and needed less for two weeks",
	OverProvisioned: "it needed less for two weeks",

	NoRecommendation:    "the VPA recommends nothing for it yet",
	Stale:               "the recommender has not looked at it for longer than at all others",
	RecommenderDown:     "the recommender has stopped",
	FloorLimited:        "the recommendation is VPA's floor for pods, and no checkpoint says what is used",
	Warming:             "yoyu has not watched it for long enough",
	string(Missing):     "the workload that the VPA names is not there, or of a kind that is not read",
	string(Unsupported): "the recommender cannot watch it",
	string(NoPods):      "it has no pods, and the recommendation is an old one",
	string(Outdated):    "the VPA has been changed, and its recommendation has not followed yet",
	string(PodLevel):    "its resources are set for the pod as a whole, which VPA does not know",
	Excluded:            "the VPA leaves it alone",
	NotControlled:       "the VPA leaves it alone",
	Unmanaged:           "VPA does not know native sidecars",

	Waiting + Warming:       "yoyu has not watched it for a week",
	Waiting + Unstable:      "its recommendation has not stood still for a week",
	Waiting + LowConfidence: "VPA has not watched it for a week",
	Waiting + RolloutRecent: "the recommendation is still a blend with the version before the last rollout",
	Waiting + SkewedPods:    "one pod needs far more than the others",
	Waiting + OOMRecent:     "it was killed for lack of memory within two weeks",
	Waiting + OOMRisk:       "peaks were above what would be its limit",
	Waiting + RuntimeHeap:   "its heap grows with its limit: a smaller limit means a smaller heap, not less need",
	HPAUtilization:          "a HorizontalPodAutoscaler keeps its use at a share of the request, and would answer with more pods",

	Blocking + SLOData:          "has too little fresh data",
	Blocking + NotTrendingOut:   "burns faster than its period over three days",
	Blocking + Soak:             "another workload of the service was changed within a day",
	Blocking + Freshness:        "nobody can say whether the recommender is alive",
	Blocking + ExposureTooLarge: "cannot bear a mistake",
	Blocking + ChangeRegressed:  "the last change went wrong",

	since + OOMKilled:       "was killed for lack of memory",
	since + LimitBound:      "has been cut off by its limit",
	since + UnderLowerBound: "asks for less than VPA's lower bound",
	since + Alerted:         "an alert of its service has begun",
	since + BurnRose:        "its service has burnt more than twice as fast",
}

// because is the phrase of a resource's first telling reason.
func because(r *Resource) string {
	for _, code := range r.Reasons {
		seenThrough := code == FloorLimited && r.Verdict != Unknown
		if text := phrases[code]; text != "" && !seenThrough {
			return text
		}
	}
	return ""
}

// raising says what each growing container needs.
func (w *Workload) raising() string {
	var parts []string
	for i := range w.Containers {
		c := &w.Containers[i]
		for _, name := range both {
			r := name.of(c)
			if r.Verdict != Raise {
				continue
			}
			from := "nothing"
			if r.Request.Defined {
				from = words(name, r.Request.Float)
			}
			if r.Proposed == r.Request && slices.Contains(r.Reasons, CappedByRange) {
				parts = append(parts, fmt.Sprintf("%s needs more %s than %s, because %s", c.Name, label(name), from, because(r)))
				continue
			}
			if r.Proposed == r.Request && r.ProposedLimit.Defined {
				parts = append(parts, fmt.Sprintf("%s needs a %s limit of %s instead of %s, because %s", c.Name, label(name), words(name, r.ProposedLimit.Float), words(name, r.Limit.Float), because(r)))
				continue
			}
			parts = append(parts, fmt.Sprintf("%s needs %s of %s instead of %s, because %s", c.Name, words(name, r.Proposed.Float), label(name), from, because(r)))
		}
	}
	text := strings.Join(parts, "; ")
	if w.Currency != "" && w.Cost.Float > 0 {
		text += fmt.Sprintf("; %s a month more for %s", w.money(w.Cost.Float), w.pods())
	}
	if slices.ContainsFunc(w.Reasons, func(r Reason) bool { return r.Code == CappedByRange }) {
		text += "; it needs more than the LimitRange of its namespace allows"
	}
	if slices.ContainsFunc(w.Reasons, func(r Reason) bool { return r.Code == QuotaExceeded }) {
		text += "; the ResourceQuota of its namespace has no room for it"
	}
	switch w.Urgency {
	case 3:
		text += "; its service burns fast: do it now"
	case 2:
		text += "; its service burns: do it soon"
	}
	if back := w.back(); len(back) > 0 {
		text += "; it could give back " + listed(back)
		if w.Gate == Blocked {
			text += ", but not now"
		}
	}
	return text + "."
}

// back is what each pod could give back now.
func (w *Workload) back() []string {
	var parts []string
	for i := range w.Containers {
		c := &w.Containers[i]
		for _, name := range both {
			if r := name.of(c); r.Verdict == Shrink {
				parts = append(parts, fmt.Sprintf("%s of %s from %s", words(name, r.Headroom.Float), label(name), c.Name))
			}
		}
	}
	return parts
}

// shrinking says what may be given back, and what the budgets say to it.
func (w *Workload) shrinking(now time.Time) string {
	text := "each of " + w.pods() + " could give back " + listed(w.back())
	if w.Currency != "" {
		text += ", " + w.money(w.Savings.Float) + " a month in all"
	}
	switch w.Gate {
	case Safe:
		return text + ": every budget it serves can bear it."
	case Ungated:
		return text + ", but no SLO would notice a mistake."
	}
	return text + ", but not now: " + w.refusal(now) + "."
}

// refusal is what the first budget has against a shrink.
func (w *Workload) refusal(now time.Time) string {
	f := w.against
	if f == nil {
		return "a budget blocks it"
	}
	text := phrases[Blocking+f.code]
	if f.about != nil {
		name := f.about.Objective.Name
		switch f.code {
		case BudgetLeft:
			text = fmt.Sprintf("%s has %s %% of its budget left, less than %v %%", name, number(percent(f.about.Budget.RemainingRatio)), leastLeft*100)
		case ExposureTooLarge:
			e := Exposure(f.about.Objective, w.Mean().Float)
			text = fmt.Sprintf("a mistake would cost %s %% of the budget of %s, and %d times that must be left", number(percent(e)), name, reserve)
		case NoAlert:
			if text = name + " has an alert that fires"; !f.until.IsZero() {
				text = fmt.Sprintf("%s must be without an alert for a day, which it is in %s", name, span(f.until.Sub(now)))
			}
		default:
			text = name + " " + text
		}
	}
	return text
}

func (w *Workload) keeping(now time.Time) string {
	for i := range w.Containers {
		c := &w.Containers[i]
		for _, name := range both {
			r := name.of(c)
			if r.Verdict == Keep && holds(r) {
				text := fmt.Sprintf("%s could give back %s of %s, but waits, because %s", c.Name, words(name, r.Headroom.Float), label(name), because(r))
				if w.EligibleAt.After(now) {
					text += fmt.Sprintf("; eligible in %s", span(w.EligibleAt.Sub(now)))
				}
				return text + "."
			}
		}
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		for _, name := range both {
			r := name.of(c)
			switch {
			case slices.Contains(r.Reasons, HPAUtilization):
				return fmt.Sprintf("%s keeps its %s, because %s.", c.Name, label(name), phrases[HPAUtilization])
			case slices.Contains(r.Reasons, CappedByMax):
				return fmt.Sprintf("%s keeps its %s, because the VPA's maxAllowed holds the recommendation down.", c.Name, label(name))
			}
		}
	}
	if slices.Contains(w.Reasons, Reason{Code: BurnNotResource}) {
		return "what it asks for is not why its service burns: look at what changed."
	}
	return "it asks for what it needs."
}

func (w *Workload) unknowing() string {
	if w.Message != "" {
		return "nothing can be said: " + strings.TrimRight(w.Message, ".") + "."
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		for _, name := range both {
			if r := name.of(c); r.Verdict == Unknown {
				return fmt.Sprintf("nothing can be said of the %s of %s: %s.", label(name), c.Name, because(r))
			}
		}
	}
	for _, r := range w.Reasons {
		if text := phrases[r.Code]; text != "" {
			return "nothing can be said: " + text + "."
		}
	}
	return "nothing can be said: VPA recommends nothing for it."
}

func (w *Workload) pods() string {
	switch {
	case w.Pods.Defined:
		return number(w.Pods.Float) + " pods on the mean"
	case w.Kind == "CronJob":
		return "its pods"
	case w.Replicas == 1:
		return "1 pod"
	}
	return strconv.Itoa(w.Replicas) + " pods"
}

func (w *Workload) money(hourly float64) string {
	return strconv.FormatFloat(hourly*monthly, 'f', 2, 64) + " " + w.Currency
}

func label(name resourceName) string {
	if name == cpu {
		return "CPU"
	}
	return "memory"
}

// words prints an amount of a resource for people.
func words(name resourceName, amount float64) string {
	if name == cpu {
		if amount < 1 {
			return number(math.Round(amount*1e6)/1e3) + "m"
		}
		return number(math.Round(amount*1e3)/1e3) + " cores"
	}
	for _, unit := range []struct {
		name  string
		bytes float64
	}{{"GiB", gibi}, {"MiB", mebi}, {"KiB", 1 << 10}} {
		if math.Abs(amount) >= unit.bytes {
			return number(math.Round(amount/unit.bytes*10)/10) + " " + unit.name
		}
	}
	return number(amount) + " B"
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// span prints how long something takes: "2 d 4 h", "45 min".
func span(d time.Duration) string {
	d = max(d, time.Minute)
	days, hours := int(d/(24*time.Hour)), int(d%(24*time.Hour)/time.Hour)
	switch {
	case days > 0 && hours > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case days > 0:
		return fmt.Sprintf("%d d", days)
	case hours > 0:
		return fmt.Sprintf("%d h", hours)
	}
	return fmt.Sprintf("%d min", int(d/time.Minute))
}

func listed(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}
