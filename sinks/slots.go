package sinks

import (
	"iter"
	"maps"
	"reflect"
	"slices"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

// Slots walks every series that the report has a place for: those of Points, and, as NaN, those
// whose value is undefined. It goes subject by subject, not family by family, and two reports of
// one Shape have the same slots: so a sink may prepare what it makes of names and labels, and pair
// it with Values ever after.
func (r *Report) Slots(sel Selection) iter.Seq[Point] {
	return func(yield func(Point) bool) {
		p := &pen{yield: yield, all: sel.AllWindows, windows: sel.Windows, whole: true}
		p.subjects(r, sel)
	}
}

// Values appends the values of Slots, in their order; undefined ones are NaN. It makes no label,
// which is what makes it quick.
func (r *Report) Values(to []float64, sel Selection) []float64 {
	p := &pen{all: sel.AllWindows, windows: sel.Windows, whole: true, blind: true, values: to}
	p.subjects(r, sel)
	return p.values
}

// subjects writes all families of one subject before it turns to the next, whose memory is
// elsewhere.
func (p *pen) subjects(r *Report, sel Selection) {
	families := sel.families()
	for i := range r.SLOs {
		for _, f := range families {
			if f.ofStatus == nil {
				continue
			}
			if p.status(r.SLOs, i, f); p.done {
				return
			}
		}
	}
	for i := range r.Workloads {
		for _, f := range families {
			if f.ofStatus != nil {
				continue
			}
			if p.workload(r.Workloads, i, f); p.done {
				return
			}
		}
	}
}

// Shape is all of a report that names and labels are made from, without its numbers. It changes
// when SLOs, groups, windows, severities or workloads come, go or are described anew. It shares
// only strings, and the maps and slices of objectives, with the report that it was taken from.
type Shape struct {
	objectives []objectiveShape
	statuses   []statusShape
	workloads  []rightsizing.Workload // strings, reasons and containers' names alone
}

type objectiveShape struct {
	name, service, runbookURL, counting string
	period                              slo.Period
	groupBy                             []string
	labels                              map[string]string
	steps                               []slo.BudgetStep
	corrections                         []slo.Correction
}

type statusShape struct {
	objective int // index
	labels    []string
	*outline
}

// outline is shared by all statuses that are alike in it.
type outline struct {
	noGroup    bool
	windows    []slo.Window // Key, Length and IsPeriod alone
	severities []string
}

// Shape takes the shape of the report.
func (r *Report) Shape() *Shape {
	s := &Shape{statuses: make([]statusShape, len(r.SLOs)), workloads: make([]rightsizing.Workload, len(r.Workloads))}
	var known []*outline
	for i := range r.SLOs {
		st := &r.SLOs[i]
		if i == 0 || st.Objective != r.SLOs[i-1].Objective {
			s.objectives = append(s.objectives, shapeOf(st.Objective))
		}
		k := slices.IndexFunc(known, func(o *outline) bool { return o.fits(st) })
		if k < 0 {
			k = len(known)
			known = append(known, outlineOf(st))
		}
		s.statuses[i] = statusShape{objective: len(s.objectives) - 1, labels: slices.Clone(st.Labels), outline: known[k]}
	}
	for i := range r.Workloads {
		w := &r.Workloads[i]
		kept := rightsizing.Workload{Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, VPA: w.VPA, UpdateMode: w.UpdateMode, Services: slices.Clone(w.Services)}
		kept.Reasons, kept.Currency, kept.Tallies = slices.Clone(w.Reasons), w.Currency, slices.Clone(w.Tallies)
		if c := w.Change; c != nil {
			kept.Change = &rightsizing.Change{Direction: c.Direction, Outcome: c.Outcome}
		}
		for k := range w.Containers {
			kept.Containers = append(kept.Containers, rightsizing.Container{Name: w.Containers[k].Name})
		}
		s.workloads[i] = kept
	}
	return s
}

// Fits reports whether a report has this shape.
func (s *Shape) Fits(r *Report) bool {
	if len(r.SLOs) != len(s.statuses) || len(r.Workloads) != len(s.workloads) {
		return false
	}
	for i := range r.SLOs {
		st, kept := &r.SLOs[i], &s.statuses[i]
		// Within a report the same pointer is the same objective, from one to the next it says nothing.
		if known := i > 0 && st.Objective == r.SLOs[i-1].Objective && kept.objective == s.statuses[i-1].objective; !known {
			if !s.objectives[kept.objective].fits(st.Objective) {
				return false
			}
		}
		if !slices.Equal(st.Labels, kept.labels) || !kept.fits(st) {
			return false
		}
	}
	for i := range r.Workloads {
		if !sameDescription(&r.Workloads[i], &s.workloads[i]) {
			return false
		}
	}
	return true
}

func shapeOf(o *slo.Objective) objectiveShape {
	return objectiveShape{
		name: o.Name, service: o.Service, runbookURL: o.RunbookURL, counting: o.Counting,
		period: o.Period, groupBy: o.GroupBy, labels: o.Labels, steps: o.BudgetPolicy.Steps,
		corrections: o.Corrections,
	}
}

func (s *objectiveShape) fits(o *slo.Objective) bool {
	return o.Name == s.name && o.Service == s.service && o.RunbookURL == s.runbookURL && o.Counting == s.counting &&
		o.Period == s.period && slices.Equal(o.GroupBy, s.groupBy) && sameMap(o.Labels, s.labels) &&
		slices.Equal(o.BudgetPolicy.Steps, s.steps) && slices.EqualFunc(o.Corrections, s.corrections, func(a, b slo.Correction) bool {
		return a.Name == b.Name && a.Effect == b.Effect // the schedule makes no label
	})
}

// sameMap is quick where the map is the very same, as it is from one tick to the next.
func sameMap(a, b map[string]string) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() || maps.Equal(a, b)
}

func outlineOf(st *slo.Status) *outline {
	s := &outline{noGroup: st.NoGroup}
	for i := range st.Windows {
		w := &st.Windows[i]
		s.windows = append(s.windows, slo.Window{Key: w.Key, Length: w.Length, IsPeriod: w.IsPeriod})
	}
	for i := range st.Alerts {
		s.severities = append(s.severities, st.Alerts[i].Severity)
	}
	return s
}

func (s *outline) fits(st *slo.Status) bool {
	if st.NoGroup != s.noGroup || len(st.Windows) != len(s.windows) || len(st.Alerts) != len(s.severities) {
		return false
	}
	for i := range st.Windows {
		w, kept := &st.Windows[i], &s.windows[i]
		if w.Key != kept.Key || w.Length != kept.Length || w.IsPeriod != kept.IsPeriod {
			return false
		}
	}
	for i := range st.Alerts {
		if st.Alerts[i].Severity != s.severities[i] {
			return false
		}
	}
	return true
}

func sameDescription(a, b *rightsizing.Workload) bool {
	return sameWorkload(a, b) && a.VPA == b.VPA && a.UpdateMode == b.UpdateMode && a.Currency == b.Currency &&
		slices.Equal(a.Services, b.Services) && slices.Equal(a.Reasons, b.Reasons) &&
		(a.Change == nil) == (b.Change == nil) && (a.Change == nil || a.Change.Direction == b.Change.Direction && a.Change.Outcome == b.Change.Outcome) &&
		slices.EqualFunc(a.Tallies, b.Tallies, func(a, b rightsizing.Tally) bool { return a.Direction == b.Direction && a.Outcome == b.Outcome }) &&
		slices.EqualFunc(a.Containers, b.Containers, func(a, b rightsizing.Container) bool { return a.Name == b.Name })
}
