package sinks

import (
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

// Family is one family of series: a name, what it means, and which labels tell its series apart.
type Family struct {
	Name   string   // as on /metrics
	Help   string   // unit, range and meaning in one sentence
	Type   Type     // counter, gauge or info
	Scope  Scope    // what one series stands for: says which labels come first
	Labels []string // labels beside those of the scope; slo_info carries the SLO's own labels too

	// They put the same series for the same Shape, and leave it to the pen to drop those without a
	// value: a value must decide neither whether a series is put nor what its labels are.
	ofStatus    func(p *pen, st *slo.Status)
	ofWorkload  func(p *pen, w *rightsizing.Workload)
	ofContainer func(p *pen, c *rightsizing.Container)
}

// Type is the kind of number that a family holds.
type Type uint8

// The types of families.
const (
	Gauge   Type = iota // goes up and down
	Counter             // only rises
	Info                // always 1, the message is in the labels; a gauge to outside systems
)

// String is the type as an exposition names it.
func (t Type) String() string {
	if t == Counter {
		return "counter"
	}
	return "gauge"
}

// Scope is what one series of a family stands for.
type Scope uint8

// The scopes, with the labels each of them gives its series.
const (
	PerSLO          Scope = iota // slo, service: once, whatever the groups, so that on(slo) always joins
	PerGroup                     // slo, service and the group_by labels
	PerWorkload                  // namespace, workload_kind, workload
	PerContainer                 // and container
	PerVPA                       // namespace, workload_kind, workload, vpa
	PerVPAContainer              // and container
	PerCheckpoint                // namespace, vpa, container
	PerEdge                      // service, namespace, workload_kind, workload
)

// Label is one name and value. A label without a value is the same as none, and is never written.
type Label struct {
	Name, Value string
}

// Point is one series with its value at the time of the report.
type Point struct {
	Family *Family
	Labels []Label // names differ, values are not empty; valid until the next point, copy to keep
	Value  float64 // never NaN or infinite

	Status    *slo.Status           // what it says something about; nil for workloads
	Workload  *rightsizing.Workload // nil for SLOs
	Container *rightsizing.Container
}

// Selection says which points a sink wants. The zero value is what /metrics shows by default.
type Selection struct {
	Families   []*Family // nil: all of them
	AllWindows bool      // slo_error_ratio and slo_window_coverage_ratio for every window (series: full)

	// Windows are those of slo_error_ratio, slo_burn_rate and slo_window_coverage_ratio alike, by
	// their labels ("1h", PeriodWindow). nil: every one of slo_burn_rate, and what AllWindows says.
	Windows []string
}

// Same reports whether two selections choose the same points.
func (s Selection) Same(t Selection) bool {
	same := (s.Families == nil) == (t.Families == nil) && (s.Windows == nil) == (t.Windows == nil)
	return same && s.AllWindows == t.AllWindows && slices.Equal(s.Families, t.Families) && slices.Equal(s.Windows, t.Windows)
}

func (s Selection) families() []*Family {
	if s.Families == nil {
		return Families
	}
	return s.Families
}

// PeriodWindow is the window label of the compliance period, whatever its length.
const PeriodWindow = "period"

// The families about objectives.
var (
	SLOInfo = &Family{
		Name: "slo_info", Type: Info, Scope: PerSLO, Labels: []string{"period", "runbook_url", "counting"},
		Help: "An SLO and its labels; always 1.",
		ofStatus: func(p *pen, st *slo.Status) {
			if p.blind { // what follows is labels alone
				p.put(1)
				return
			}
			o := st.Objective
			own := []Label{{"period", o.Period.Key()}, {"runbook_url", o.RunbookURL}, {"counting", o.Counting}}
			for _, name := range slices.Sorted(maps.Keys(o.Labels)) {
				own = append(own, Label{name, o.Labels[name]})
			}
			p.put(1, own...)
		},
	}
	SLOObjective = &Family{
		Name: "slo_objective_ratio", Scope: PerSLO,
		Help:     "Promised share of good events, 0 to 1.",
		ofStatus: func(p *pen, st *slo.Status) { p.put(st.Objective.Target.Float()) },
	}
	SLOPeriod = &Family{
		Name: "slo_period_seconds", Scope: PerSLO,
		Help:     "Length of the compliance period; nominal for a calendar one.",
		ofStatus: func(p *pen, st *slo.Status) { p.put(st.Objective.Period.Length.Seconds()) },
	}
	SLOPeriodStart = &Family{
		Name: "slo_period_start_timestamp_seconds", Scope: PerSLO,
		Help: "Start of the current calendar period.",
		ofStatus: func(p *pen, st *slo.Status) {
			start, _ := st.Objective.Period.Edges(st.At)
			p.putTime(start)
		},
	}
	SLOPeriodEnd = &Family{
		Name: "slo_period_end_timestamp_seconds", Scope: PerSLO,
		Help: "End of the current calendar period.",
		ofStatus: func(p *pen, st *slo.Status) {
			_, end := st.Objective.Period.Edges(st.At)
			p.putTime(end)
		},
	}
	SLOEvents = &Family{
		Name: "slo_events_total", Type: Counter, Scope: PerGroup,
		Help:     "Events seen since the SLO was first watched. Shows flow; the budget is in slo_error_budget_*.",
		ofStatus: func(p *pen, st *slo.Status) { p.put(st.EventsTotal) },
	}
	SLOBadEvents = &Family{
		Name: "slo_bad_events_total", Type: Counter, Scope: PerGroup,
		Help:     "Bad events seen since the SLO was first watched.",
		ofStatus: func(p *pen, st *slo.Status) { p.put(st.BadEventsTotal) },
	}
	SLOErrorRatio = &Family{
		Name: "slo_error_ratio", Scope: PerGroup, Labels: []string{"window"},
		Help: "Share of bad events in the window, 0 to 1; absent without events.",
		ofStatus: func(p *pen, st *slo.Status) {
			for i := range st.Windows {
				if w := &st.Windows[i]; p.shows(w) {
					p.putValue(w.ErrorRatio, Label{"window", window(w)})
				}
			}
		},
	}
	SLOBurnRate = &Family{
		Name: "slo_burn_rate", Scope: PerGroup, Labels: []string{"window"},
		Help: "How many times faster than the steady pace the window spends the error budget.",
		ofStatus: func(p *pen, st *slo.Status) {
			for i := range st.Windows {
				if w := &st.Windows[i]; p.windows == nil || p.chose(w) {
					p.putValue(w.BurnRate, Label{"window", window(w)})
				}
			}
		},
	}
	SLOCoverage = &Family{
		Name: "slo_window_coverage_ratio", Scope: PerGroup, Labels: []string{"window"},
		Help: "Share of the window that the source answered for, 0 to 1.",
		ofStatus: func(p *pen, st *slo.Status) {
			for i := range st.Windows {
				if w := &st.Windows[i]; p.shows(w) {
					p.put(w.Coverage, Label{"window", window(w)})
				}
			}
		},
	}
	SLORemainingRatio = &Family{
		Name: "slo_error_budget_remaining_ratio", Scope: PerGroup,
		Help:     "Share of the period's error budget that is left: 1 untouched, 0 spent, negative overspent.",
		ofStatus: func(p *pen, st *slo.Status) { p.put(st.Budget.RemainingRatio) },
	}
	SLOBudgetEvents = &Family{
		Name: "slo_error_budget_events", Scope: PerGroup,
		Help:     "Bad events (or slices) that the events of the period so far allow.",
		ofStatus: func(p *pen, st *slo.Status) { p.put(st.Budget.Allowed) },
	}
	SLORemainingEvents = &Family{
		Name: "slo_error_budget_remaining_events", Scope: PerGroup,
		Help:     "Bad events (or slices) still allowed; negative when overspent.",
		ofStatus: func(p *pen, st *slo.Status) { p.put(st.Budget.Allowed - st.Budget.Spent) },
	}
	SLOExhaustion = &Family{
		Name: "slo_error_budget_exhaustion_seconds", Scope: PerGroup,
		Help:     "Time until the budget is spent at the present burn; 0 when spent, absent while nothing burns faster than the period.",
		ofStatus: func(p *pen, st *slo.Status) { p.putValue(st.Budget.Exhaustion) },
	}
	SLOBudgetPolicy = &Family{
		Name: "slo_budget_policy_info", Type: Info, Scope: PerGroup, Labels: []string{"action", "below", "gate"},
		Help: "The step of the error budget policy in force: below says while how much of the budget is left, gate whether /api/v1/gate is open or closed by it. At most one for each budget, absent while none is in force; always 1.",
		ofStatus: func(p *pen, st *slo.Status) {
			if len(st.Objective.BudgetPolicy.Steps) == 0 {
				return
			}
			now, ok := st.Step()
			for _, step := range st.Objective.BudgetPolicy.Steps {
				v := math.NaN()
				if ok && step == now {
					v = 1
				}
				if p.blind {
					p.put(v)
					continue
				}
				p.put(v, Label{"action", step.Action}, Label{"below", step.Below.Percent() + "%"}, Label{"gate", GateWord(step.Closed)})
			}
		},
	}
	SLOCorrectionActive = &Family{
		Name: "slo_correction_active", Scope: PerSLO, Labels: []string{"correction", "effect"},
		Help: "1 while a correction takes its effect at the moment of the report, else 0.",
		ofStatus: func(p *pen, st *slo.Status) {
			p.putCorrections(st, func(c slo.CorrectionStatus) float64 {
				if c.Active {
					return 1
				}
				return 0
			})
		},
	}
	SLOCorrectionSeconds = &Family{
		Name: "slo_correction_seconds", Scope: PerSLO, Labels: []string{"correction", "effect"},
		Help: "How much of the period so far a correction applies to.",
		ofStatus: func(p *pen, st *slo.Status) {
			p.putCorrections(st, func(c slo.CorrectionStatus) float64 { return c.Applied.Seconds() })
		},
	}
	SLOCorrectionApproximate = &Family{
		Name: "slo_correction_approximate_seconds", Scope: PerSLO, Labels: []string{"correction", "effect"},
		Help: "How much of slo_correction_seconds was taken in proportion to time, as the source could not be asked again; 0 when it is exact.",
		ofStatus: func(p *pen, st *slo.Status) {
			p.putCorrections(st, func(c slo.CorrectionStatus) float64 { return c.Approximate.Seconds() })
		},
	}
	SLOAlertFiring = &Family{
		Name: "slo_alert_firing", Scope: PerGroup, Labels: []string{"severity"},
		Help: "1 while any pair of windows of the severity burns above its factor, else 0.",
		ofStatus: func(p *pen, st *slo.Status) {
			for _, a := range st.Alerts {
				firing := 0.0
				if a.Firing {
					firing = 1
				}
				p.put(firing, Label{"severity", a.Severity})
			}
		},
	}
	SLOAlertBurnRatio = &Family{
		Name: "slo_alert_burn_ratio", Scope: PerGroup, Labels: []string{"severity"},
		Help: "Largest over pairs of min(burn long, burn short)/factor: above 1 the severity fires.",
		ofStatus: func(p *pen, st *slo.Status) {
			for _, a := range st.Alerts {
				p.putValue(a.BurnRatio, Label{"severity", a.Severity})
			}
		},
	}
	SLOLastSample = &Family{
		Name: "slo_last_sample_timestamp_seconds", Scope: PerGroup,
		Help:     "Newest moment that the source answered for.",
		ofStatus: func(p *pen, st *slo.Status) { p.putTime(st.Newest) },
	}
)

// The families about workloads. All amounts are per pod.
var (
	VPAInfo = &Family{
		Name: "vpa_info", Type: Info, Scope: PerVPA, Labels: []string{"update_mode"},
		Help:       "A VerticalPodAutoscaler and the workload it watches; always 1.",
		ofWorkload: func(p *pen, w *rightsizing.Workload) { p.put(1, Label{"update_mode", w.UpdateMode}) },
	}
	VPACPU = &Family{
		Name: "vpa_recommendation_cpu_cores", Scope: PerVPAContainer, Labels: []string{"bound"},
		Help:        "CPU that the VerticalPodAutoscaler recommends per pod.",
		ofContainer: func(p *pen, c *rightsizing.Container) { p.putBounds(c.CPU) },
	}
	VPAMemory = &Family{
		Name: "vpa_recommendation_memory_bytes", Scope: PerVPAContainer, Labels: []string{"bound"},
		Help:        "Memory that the VerticalPodAutoscaler recommends per pod.",
		ofContainer: func(p *pen, c *rightsizing.Container) { p.putBounds(c.Memory) },
	}
	VPACheckpoint = &Family{
		Name: "vpa_checkpoint_last_update_timestamp_seconds", Scope: PerCheckpoint,
		Help: "When VPA's recommender last wrote what it knows of the container: its heartbeat.",
		ofContainer: func(p *pen, c *rightsizing.Container) {
			if c.Checkpoint == nil {
				p.put(math.NaN())
				return
			}
			p.putTime(c.Checkpoint.Updated)
		},
	}
	RequestCPU = &Family{
		Name: "rightsizing_request_cpu_cores", Scope: PerContainer,
		Help:        "CPU that the container requests per pod.",
		ofContainer: func(p *pen, c *rightsizing.Container) { p.putValue(c.CPU.Request) },
	}
	RequestMemory = &Family{
		Name: "rightsizing_request_memory_bytes", Scope: PerContainer,
		Help:        "Memory that the container requests per pod.",
		ofContainer: func(p *pen, c *rightsizing.Container) { p.putValue(c.Memory.Request) },
	}
	LimitCPU = &Family{
		Name: "rightsizing_limit_cpu_cores", Scope: PerContainer,
		Help:        "CPU limit of the container per pod.",
		ofContainer: func(p *pen, c *rightsizing.Container) { p.putValue(c.CPU.Limit) },
	}
	LimitMemory = &Family{
		Name: "rightsizing_limit_memory_bytes", Scope: PerContainer,
		Help:        "Memory limit of the container per pod.",
		ofContainer: func(p *pen, c *rightsizing.Container) { p.putValue(c.Memory.Limit) },
	}
	ProposedCPU = &Family{
		Name: "rightsizing_proposed_request_cpu_cores", Scope: PerContainer,
		Help:        "CPU request that yoyu proposes per pod.",
		ofContainer: func(p *pen, c *rightsizing.Container) { p.putValue(c.CPU.Proposed) },
	}
	ProposedMemory = &Family{
		Name: "rightsizing_proposed_request_memory_bytes", Scope: PerContainer,
		Help:        "Memory request that yoyu proposes per pod.",
		ofContainer: func(p *pen, c *rightsizing.Container) { p.putValue(c.Memory.Proposed) },
	}
	HeadroomCPU = &Family{
		Name: "rightsizing_headroom_cpu_cores", Scope: PerContainer,
		Help:        "Requested minus proposed CPU per pod: positive is waste, negative is need.",
		ofContainer: func(p *pen, c *rightsizing.Container) { p.putValue(c.CPU.Headroom) },
	}
	HeadroomMemory = &Family{
		Name: "rightsizing_headroom_memory_bytes", Scope: PerContainer,
		Help:        "Requested minus proposed memory per pod: positive is waste, negative is need.",
		ofContainer: func(p *pen, c *rightsizing.Container) { p.putValue(c.Memory.Headroom) },
	}
	Replicas = &Family{
		Name: "rightsizing_replicas", Scope: PerWorkload,
		Help:       "Pods of the workload.",
		ofWorkload: func(p *pen, w *rightsizing.Workload) { p.putValue(w.Mean()) },
	}
	Verdict = &Family{
		Name: "rightsizing_verdict", Scope: PerWorkload, Labels: []string{"verdict"},
		Help: "1 for what should become of the workload's requests: raise, shrink, keep or unknown; others are absent.",
		ofWorkload: func(p *pen, w *rightsizing.Workload) {
			for _, v := range rightsizing.Verdicts {
				p.putIf(w.Verdict == v, 1, Label{"verdict", string(v)})
			}
		},
	}
	Reason = &Family{
		Name: "rightsizing_reason", Scope: PerWorkload, Labels: []string{"container", "resource", "reason"},
		Help: "1 for every reason of the verdict that holds now.",
		ofWorkload: func(p *pen, w *rightsizing.Workload) {
			for i := range w.Reasons {
				r := &w.Reasons[i]
				p.put(1, Label{"container", r.Container}, Label{"resource", r.Resource}, Label{"reason", r.Code})
			}
		},
	}
	HourlySavings = &Family{
		Name: "rightsizing_hourly_savings", Scope: PerWorkload, Labels: []string{"currency", "gate"},
		Help: "Money an hour that all pods would release by what shrinks, by what the error budgets say to it.",
		ofWorkload: func(p *pen, w *rightsizing.Workload) {
			for _, gate := range rightsizing.Passages {
				p.putIf(w.Savings.Defined && w.Gate == gate, w.Savings.Float, Label{"currency", w.Currency}, Label{"gate", string(gate)})
			}
		},
	}
	HourlyCost = &Family{
		Name: "rightsizing_hourly_cost", Scope: PerWorkload, Labels: []string{"currency"},
		Help: "Money an hour that all pods would cost more by what grows.",
		ofWorkload: func(p *pen, w *rightsizing.Workload) {
			p.putIf(w.Cost.Defined && w.Verdict == rightsizing.Raise, w.Cost.Float, Label{"currency", w.Currency})
		},
	}
	LastChange = &Family{
		Name: "rightsizing_last_change_timestamp_seconds", Scope: PerWorkload, Labels: []string{"direction", "outcome"},
		Help: "When what the workload's template asks for was last seen to change: direction is raise, shrink or mixed, outcome pending for a day, then held or regressed; absent when no change was seen.",
		ofWorkload: func(p *pen, w *rightsizing.Workload) {
			if c := w.Change; c != nil {
				p.putTime(c.At, Label{"direction", string(c.Direction)}, Label{"outcome", string(c.Outcome)})
			}
		},
	}
	Changes = &Family{
		Name: "rightsizing_changes_total", Type: Counter, Scope: PerWorkload, Labels: []string{"direction", "outcome"},
		Help: "Changes of what the workload's template asks for that have held for a day, or have regressed.",
		ofWorkload: func(p *pen, w *rightsizing.Workload) {
			for _, t := range w.Tallies {
				p.put(float64(t.Count), Label{"direction", string(t.Direction)}, Label{"outcome", string(t.Outcome)})
			}
		},
	}
	WorkloadInfo = &Family{
		Name: "slo_workload_info", Type: Info, Scope: PerEdge,
		Help: "A service and a workload that it runs on; always 1.",
		ofWorkload: func(p *pen, w *rightsizing.Workload) {
			for i, service := range w.Services {
				if service != "" && !slices.Contains(w.Services[:i], service) {
					p.put(1, Label{"service", service})
				}
			}
		},
	}
)

// Families is the vocabulary, in the order in which it is published.
var Families = []*Family{
	SLOInfo, SLOObjective, SLOPeriod, SLOPeriodStart, SLOPeriodEnd,
	SLOEvents, SLOBadEvents, SLOErrorRatio, SLOBurnRate, SLOCoverage,
	SLORemainingRatio, SLOBudgetEvents, SLORemainingEvents, SLOExhaustion, SLOBudgetPolicy,
	SLOCorrectionActive, SLOCorrectionSeconds, SLOCorrectionApproximate,
	SLOAlertFiring, SLOAlertBurnRatio, SLOLastSample,
	VPAInfo, VPACPU, VPAMemory, VPACheckpoint,
	RequestCPU, RequestMemory, LimitCPU, LimitMemory,
	ProposedCPU, ProposedMemory, HeadroomCPU, HeadroomMemory,
	Replicas, Verdict, Reason, HourlySavings, HourlyCost, LastChange, Changes, WorkloadInfo,
}

// Dotted is the family's name in Datadog: a dot after the first word ("slo.burn_rate").
func (f *Family) Dotted() string { return strings.Replace(f.Name, "_", ".", 1) }

// Points walks the report family by family, in the order of Families, so that the series of one
// family are neighbours as an exposition wants them. A series without a defined value is left out.
//
// It is the only place where numbers get names: every sink walks here.
func (r *Report) Points(sel Selection) iter.Seq[Point] {
	return func(yield func(Point) bool) {
		p := &pen{yield: yield, all: sel.AllWindows, windows: sel.Windows}
		for _, f := range sel.families() {
			if f.ofStatus != nil {
				for i := 0; i < len(r.SLOs) && !p.done; i++ {
					p.status(r.SLOs, i, f)
				}
			} else {
				for i := 0; i < len(r.Workloads) && !p.done; i++ {
					p.workload(r.Workloads, i, f)
				}
			}
			if p.done {
				return
			}
		}
	}
}

// pen writes the points of one walk. It reuses one slice of labels for all of them.
type pen struct {
	yield func(Point) bool
	done  bool // the reader has had enough
	all   bool // every window of every family, unless windows says otherwise
	whole bool // undefined values too, as NaN
	blind bool // values alone, into values: no labels, no points

	windows []string // as in Selection

	point  Point
	base   int // labels that the scope gave
	values []float64
}

// status puts the series of one family that one status has.
func (p *pen) status(statuses []slo.Status, i int, f *Family) {
	st := &statuses[i]
	o := st.Objective
	if f.Scope == PerGroup && st.NoGroup {
		return // it stands for no group, and so has no series of one
	}
	if f.Scope == PerSLO && i > 0 && (statuses[i-1].Objective == o || statuses[i-1].Objective.Name == o.Name) {
		return
	}
	p.point.Family, p.point.Status = f, st
	if !p.blind {
		p.scope(Label{"slo", o.Name}, Label{"service", o.Service})
		if f.Scope == PerGroup {
			for k, name := range o.GroupBy {
				if k < len(st.Labels) {
					p.add(Label{name, st.Labels[k]})
				}
			}
			p.base = len(p.point.Labels)
		}
	}
	f.ofStatus(p, st)
	p.point.Status = nil
}

// workload puts the series of one family that one workload has.
func (p *pen) workload(workloads []rightsizing.Workload, i int, f *Family) {
	w := &workloads[i]
	ofVPA := f.Scope == PerVPA || f.Scope == PerVPAContainer || f.Scope == PerCheckpoint
	if ofVPA && w.VPA == "" {
		return
	}
	// A workload that two VPAs watch comes twice, but asks for its resources once.
	if !ofVPA && i > 0 && sameWorkload(w, &workloads[i-1]) {
		return
	}
	p.point.Family, p.point.Workload = f, w
	if f.Scope == PerCheckpoint {
		p.scope(Label{"namespace", w.Namespace})
	} else {
		p.scope(Label{"namespace", w.Namespace}, Label{"workload_kind", w.Kind}, Label{"workload", w.Name})
	}
	if ofVPA {
		p.add(Label{"vpa", w.VPA})
		p.base = len(p.point.Labels)
	}
	if f.ofWorkload != nil {
		f.ofWorkload(p, w)
	} else {
		scope := p.base
		for c := range w.Containers {
			p.point.Container = &w.Containers[c]
			if !p.blind {
				p.point.Labels = p.point.Labels[:scope]
				p.add(Label{"container", w.Containers[c].Name})
				p.base = len(p.point.Labels)
			}
			if f.ofContainer(p, &w.Containers[c]); p.done {
				break
			}
		}
		p.point.Container = nil
	}
	p.point.Workload = nil
}

func sameWorkload(a, b *rightsizing.Workload) bool {
	return a.Name == b.Name && a.Kind == b.Kind && a.Namespace == b.Namespace
}

// scope starts the labels of a new subject.
func (p *pen) scope(labels ...Label) {
	if p.blind {
		return
	}
	p.point.Labels = p.point.Labels[:0]
	for _, l := range labels {
		p.add(l)
	}
	p.base = len(p.point.Labels)
}

// add appends a label unless it says nothing or its name is taken: a series with one name twice
// would cost the whole scrape.
func (p *pen) add(l Label) {
	if p.blind || l.Value == "" || l.Name == "" {
		return
	}
	for _, have := range p.point.Labels {
		if have.Name == l.Name {
			return
		}
	}
	p.point.Labels = append(p.point.Labels, l)
}

// put yields one point of the subject, with further labels.
func (p *pen) put(v float64, more ...Label) {
	if p.done {
		return
	}
	if v-v != 0 { // not a number, or infinite
		if !p.whole {
			return
		}
		v = math.NaN()
	}
	if p.blind {
		p.values = append(p.values, v)
		return
	}
	p.point.Labels = p.point.Labels[:p.base]
	for _, l := range more {
		p.add(l)
	}
	p.point.Value = v
	p.done = !p.yield(p.point)
}

func (p *pen) putValue(v slo.Value, more ...Label) {
	if !v.Defined {
		v.Float = math.NaN()
	}
	p.put(v.Float, more...)
}

// putIf yields a value where it holds, and else an undefined one: the place is there for both.
func (p *pen) putIf(holds bool, v float64, more ...Label) {
	if !holds {
		v = math.NaN()
	}
	p.put(v, more...)
}

// putTime yields a moment in Unix seconds; a zero time is undefined.
func (p *pen) putTime(t time.Time, more ...Label) {
	if t.IsZero() {
		p.put(math.NaN(), more...)
		return
	}
	p.put(float64(t.UnixMilli())/1000, more...)
}

// putCorrections yields what one number says of every correction of an SLO. A report that does not
// tell of them has none.
func (p *pen) putCorrections(st *slo.Status, number func(slo.CorrectionStatus) float64) {
	for i := range st.Objective.Corrections {
		v := math.NaN()
		if i < len(st.Corrections) {
			v = number(st.Corrections[i])
		}
		if p.blind {
			p.put(v)
			continue
		}
		c := &st.Objective.Corrections[i]
		p.put(v, Label{"correction", c.Name}, Label{"effect", string(c.Effect)})
	}
}

func (p *pen) putBounds(res rightsizing.Resource) {
	p.putValue(res.Target, Label{"bound", "target"})
	p.putValue(res.Lower, Label{"bound", "lower"})
	p.putValue(res.Upper, Label{"bound", "upper"})
	p.putValue(res.Uncapped, Label{"bound", "uncapped"})
}

// shows reports whether a window is published by the families that show only some.
func (p *pen) shows(w *slo.Window) bool {
	if p.windows != nil {
		return p.chose(w)
	}
	return p.all || w.IsPeriod || w.Length == time.Hour
}

// chose reports whether a window is among those that were asked for by name.
func (p *pen) chose(w *slo.Window) bool { return slices.Contains(p.windows, window(w)) }

// GateWord is a gate in a word.
func GateWord(closed bool) string {
	if closed {
		return "closed"
	}
	return "open"
}

// window is the window label: the key, or the one name that every period shares.
func window(w *slo.Window) string {
	if w.IsPeriod {
		return PeriodWindow
	}
	return w.Key
}
