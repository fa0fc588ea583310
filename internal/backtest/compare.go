package backtest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// Summary is what one objective, or one group of it, did over the whole replay: one line of a
// comparison.
type Summary struct {
	SLO        string
	Labels     map[string]string // the group
	Objective  *slo.Objective
	Severities []SeveritySummary // in the order of the policy
	Remaining  slo.Value         // share of the budget left at the end of the data; undefined for a group that is gone by then
}

// SeveritySummary is what one severity did. An incident is a stretch of time in which any pair of
// windows fired: what a person is called for once.
type SeveritySummary struct {
	Severity string
	Count    int           // incidents
	Firing   time.Duration // all of them together; one that still fires counts up to the end of the data

	// From the beginning of the trouble to the first tick that fired, in seconds. Undefined without
	// an incident whose beginning is known; the median of an even number is the mean of the middle two.
	Earliest, Median, Longest slo.Value
	SpentAtFirst              slo.Value // share of the budget that was gone when the first one started
}

// Compare sums up every objective and group of a result, in the order of its last report; groups
// that were forgotten before the end come last.
func Compare(r *Result) []Summary {
	if r.Last == nil {
		return nil
	}
	var out []Summary
	objectives := map[string]*slo.Objective{}
	for i := range r.Last.SLOs {
		s := &r.Last.SLOs[i]
		objectives[s.Objective.Name] = s.Objective
		if !s.NoGroup {
			out = append(out, Summary{
				SLO: s.Objective.Name, Labels: sinks.GroupLabels(s), Objective: s.Objective,
				Remaining: slo.Defined(s.Budget.RemainingRatio),
			})
		}
	}
	here := map[string]bool{}
	for _, s := range out {
		here[keyOf(s.SLO, s.Labels)] = true
	}
	own := map[string][]Alert{}
	for _, a := range r.Alerts {
		key := keyOf(a.SLO, a.Labels)
		if !here[key] && objectives[a.SLO] != nil {
			out, here[key] = append(out, Summary{SLO: a.SLO, Labels: a.Labels, Objective: objectives[a.SLO]}), true
		}
		own[key+"\xff"+a.Severity] = append(own[key+"\xff"+a.Severity], a)
	}
	for i := range out {
		s := &out[i]
		for _, severity := range s.Objective.Policy.Severities {
			alerts := own[keyOf(s.SLO, s.Labels)+"\xff"+severity.Name]
			s.Severities = append(s.Severities, summarise(severity.Name, alerts, r.Last.Time))
		}
	}
	return out
}

func keyOf(name string, labels map[string]string) string {
	var key strings.Builder
	key.WriteString(name)
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		key.WriteString("\xff" + label + "\xff" + labels[label])
	}
	return key.String()
}

// summarise joins the pairs of one severity, given by start, into incidents.
func summarise(severity string, alerts []Alert, end time.Time) SeveritySummary {
	s := SeveritySummary{Severity: severity}
	var until time.Time // of the incident so far
	var seconds []float64
	for _, a := range alerts {
		stop := a.End
		if stop.IsZero() {
			stop = end
		}
		if s.Count > 0 && !a.Start.After(until) {
			// At until the pair before fired no more, and this one did: there was no tick between.
			if stop.After(until) {
				s.Firing += stop.Sub(until)
				until = stop
			}
			continue
		}
		if s.Count == 0 {
			s.SpentAtFirst = a.Spent
		}
		s.Count++
		s.Firing += stop.Sub(a.Start)
		until = stop
		if d := a.Detection(); d.Defined {
			seconds = append(seconds, d.Float)
		}
	}
	if n := len(seconds); n > 0 {
		slices.Sort(seconds)
		s.Earliest, s.Longest = slo.Defined(seconds[0]), slo.Defined(seconds[n-1])
		s.Median = slo.Defined((seconds[(n-1)/2] + seconds[n/2]) / 2)
	}
	return s
}
