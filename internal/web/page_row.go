package web

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// budgetRow is one budget in words.
type budgetRow struct {
	State  state
	Word   string // the state, and whether the budget is spent
	Lead   bool   // the first row of its SLO: names it
	Name   string // of the SLO
	Group  string // `route="/pay"`; "" without groups
	Link   string // to its page
	SLO    string // as the series have it, for whoever compares
	Labels string // likewise, as JSON

	Service, Team     string
	Objective, Period string
	Runbook           string

	Left      num
	Bar       bar
	Spark     sketch
	Burn      []burnCell
	Exhausted num
	Coverage  num
	Missing   bool // a part of the period is not known
	Alerts    []firingAlert
	Notes     []note
}

// burnCell is one burn rate under its window.
type burnCell struct {
	Window string // "5m", or the period's key
	Rate   num
	Heat   int    // 0 unknown, 1 nothing, 2 within the pace, 3 faster than it, 4 part of an alert that fires
	Factor string // that of the alert; "" where none looks at the window
	Says   string // the heat in words
}

// heats are what a heat means.
var heats = []string{"no data", "no errors", "within the steady pace", "faster than the steady pace", "an alert fires"}

// firingAlert is a severity that fires.
type firingAlert struct {
	Severity string
	Since    time.Time // zero when nobody knows
}

// note is a line below a row.
type note struct{ Kind, Text string }

// shown are the windows whose burn rates are on the page, with the names that their series have.
var shown = []time.Duration{5 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, slo.Day, 3 * slo.Day}

// row words a budget.
func (k rank) row(sparks *Sparks, lead bool) budgetRow {
	st := k.st
	o := st.Objective
	whole := periodOf(st)
	row := budgetRow{
		State: k.state, Word: k.state.Word(), Lead: lead, Name: oneLine(o.Name), Group: groupOf(st), Link: "slo?" + queryOf(st),
		SLO: o.Name, Labels: attribute(sinks.GroupLabels(st)),
		Service: oneLine(o.Service), Team: oneLine(o.Labels["team"]), Objective: o.Target.Percent() + "%", Period: o.Period.Key(), Runbook: safeLink(o.RunbookURL),
		Left: num{Text: sinks.Undefined}, Exhausted: newExhausted(st.Budget),
		Coverage: newNum(slo.Defined(whole.Coverage), "slo_window_coverage_ratio", percent).at("period"), Missing: whole.Coverage < 0.9995,
		Burn: burnCells(st),
	}
	if whole.Total > 0 || whole.Coverage > 0 {
		row.Left = newNum(slo.Defined(st.Budget.RemainingRatio), "slo_error_budget_remaining_ratio", percent)
		row.Bar = newBar(st.Budget.RemainingRatio)
		if spent := st.Budget.RemainingRatio <= 0; spent && k.state == isLow {
			row.Word = "spent"
		} else if spent {
			row.Word += ", spent"
		}
	}
	if sparks != nil {
		row.Spark = newSketch(sparks.Points(st), 100, 28)
	}
	for _, a := range st.Alerts {
		if a.Firing {
			row.Alerts = append(row.Alerts, firingAlert{oneLine(a.Severity), a.Since})
		}
	}
	for _, n := range []note{{"policy", policyOf(st)}, {"corrected", correctionsOf(st)}, {"missing", missingOf(st)}} {
		if n.Text != "" {
			row.Notes = append(row.Notes, n)
		}
	}
	return row
}

// safeLink is an address that a page may lead to; "" for one that a browser would run or open in ways
// of its own.
func safeLink(address string) string {
	if u, err := url.Parse(address); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return address
	}
	return ""
}

func newExhausted(b slo.Budget) num {
	return newNum(b.Exhaustion, "slo_error_budget_exhaustion_seconds", func(float64) string { return exhausted(b) })
}

// missingOf says why nothing is counted, or that a source is silent; "" when all is well.
func missingOf(st *slo.Status) string {
	switch {
	case st.Note != "":
		return oneLine(st.Note)
	case st.Silent():
		text := "The source has answered for nothing of the last hour"
		if !st.Newest.IsZero() {
			text += "; newest sample " + st.Newest.UTC().Format(time.RFC3339)
		}
		return text
	}
	return ""
}

// burnCells are the burn rates of a budget by window.
func burnCells(st *slo.Status) []burnCell {
	out := make([]burnCell, 0, len(shown))
	for _, length := range shown {
		w, ok := windowOf(st, length)
		if !ok {
			w = slo.Window{Key: slo.FormatDuration(length)}
		}
		out = append(out, newBurnCell(st, w, slo.FormatDuration(length)))
	}
	return out
}

func newBurnCell(st *slo.Status, w slo.Window, series string) burnCell {
	cell := burnCell{Window: w.Key, Rate: newNum(w.BurnRate, "slo_burn_rate", rate).at(series)}
	factor, ok := factorOf(st, w.Length)
	if ok {
		cell.Factor = factor.String()
	}
	switch burn := w.BurnRate; {
	case !burn.Defined:
	case burn.Float == 0:
		cell.Heat = 1
	case burn.Float <= 1:
		cell.Heat = 2
	case fires(st, w.Length):
		cell.Heat = 4
	default:
		cell.Heat = 3
	}
	cell.Says = heats[cell.Heat]
	return cell
}

// fires reports whether a pair fires that looks at a window.
func fires(st *slo.Status, length time.Duration) bool {
	for _, a := range st.Alerts {
		for _, p := range a.Pairs {
			if p.Firing && (p.Long == length || p.Short == length) {
				return true
			}
		}
	}
	return false
}

// factorOf is the factor of the pair that looks at a window: the one whose long window it is, else
// the one whose short window it is.
func factorOf(st *slo.Status, length time.Duration) (found slo.Factor, ok bool) {
	for _, a := range st.Alerts {
		for _, p := range a.Pairs {
			if p.Long == length {
				return p.Factor, true
			}
			if p.Short == length && !ok {
				found, ok = p.Factor, true
			}
		}
	}
	return found, ok
}

// policyOf is the step of the budget policy in force, and whether the gate is closed.
func policyOf(st *slo.Status) string {
	var said []string
	if step, ok := st.Step(); ok {
		said = append(said, "Budget policy below "+step.Below.Percent()+"%: "+oneLine(step.Action))
	}
	if gate := st.Gate(); gate.Closed && len(st.Objective.BudgetPolicy.Steps) > 0 {
		said = append(said, "the gate for risky changes is closed")
		if gate.Cause == slo.GateMissing {
			said[len(said)-1] += " while data is missing"
		}
	}
	return upperFirst(strings.Join(said, "; "))
}

func upperFirst(text string) string {
	return strings.ToUpper(text[:min(1, len(text))]) + text[min(1, len(text)):]
}

// correctionsOf names the corrections that apply now or to the period so far.
func correctionsOf(st *slo.Status) string {
	var said []string
	for _, c := range sinks.NewJSONCorrections(st) {
		text := oneLine(c.Name) + " (" + string(c.Effect) + ", " + length(c.Seconds)
		if c.Active {
			text += ", now"
		}
		if c.ApproximateSeconds > 0 {
			text += ", approximate"
		}
		said = append(said, text+")")
	}
	if len(said) == 0 {
		return ""
	}
	return "Corrected: " + strings.Join(said, ", ")
}

// bar shows a share of a budget as a length. The style of a page may not be written into it, so
// that it is drawn: all lengths are of 100.
type bar struct {
	Shown bool
	Fill  string // length of what is left; of what is overspent when Over
	Over  bool   // overspent
	Class string // high, middle, low, over
}

func newBar(left float64) bar {
	b := bar{Shown: true, Fill: drawn(100 * min(math.Abs(left), 1)), Over: left < 0, Class: "high"}
	switch {
	case left < 0:
		b.Class = "over"
	case left < low:
		b.Class = "low"
	case left < 0.5:
		b.Class = "middle"
	}
	return b
}

// sketch is a small course of a budget: a line, the area below it, and where nothing is known.
type sketch struct {
	Line, Area string   // paths; "" draws nothing
	Zero       string   // height of the line where the budget is spent
	Gaps       []extent // that are not known
	Last       string   // height of the last point; "" when it is not known
	Says       string
}

// extent is a stretch of a drawing.
type extent struct{ At, Wide string }

// newSketch draws points at equal distances over width and height, from 1 (untouched) down to the
// least of them or to 0. Less than −1 is drawn as −1: how far a budget is overspent is a number.
func newSketch(points []float32, width, height float64) sketch {
	if len(points) < 2 {
		return sketch{}
	}
	lowest, first := 0.0, math.NaN()
	for _, p := range points {
		if v := float64(p); !math.IsNaN(v) {
			lowest = min(lowest, max(v, -1))
			if math.IsNaN(first) {
				first = v
			}
		}
	}
	if math.IsNaN(first) {
		return sketch{}
	}
	const edge = 2 // the line is not cut off
	y := func(v float64) float64 {
		return edge + (1-min(1, max(v, -1)))/(1-lowest)*(height-2*edge)
	}
	x := func(i int) float64 { return float64(i) / float64(len(points)-1) * width }
	var line, area strings.Builder
	s := sketch{Zero: drawn(y(0))}
	for i := 0; i < len(points); {
		if math.IsNaN(float64(points[i])) {
			from := i
			for i < len(points) && math.IsNaN(float64(points[i])) {
				i++
			}
			s.Gaps = append(s.Gaps, extent{drawn(x(max(0, from-1))), drawn(x(min(i, len(points)-1)) - x(max(0, from-1)))})
			continue
		}
		from := i
		for ; i < len(points) && !math.IsNaN(float64(points[i])); i++ {
			command := "L"
			if i == from {
				command = "M"
			}
			at := command + drawn(x(i)) + " " + drawn(y(float64(points[i])))
			line.WriteString(at)
			area.WriteString(at)
		}
		fmt.Fprintf(&area, "L%s %sL%s %sZ", drawn(x(i-1)), s.Zero, drawn(x(from)), s.Zero)
	}
	s.Line, s.Area = line.String(), area.String()
	if last := float64(points[len(points)-1]); !math.IsNaN(last) {
		s.Last = drawn(y(last))
		s.Says = "from " + percent(first) + " to " + percent(last)
	}
	return s
}

// drawn is a length of a drawing: one digit behind the point is less than a pixel.
func drawn(f float64) string { return trimmed(f, 1) }

// serviceState is a service with the worst state of its budgets.
type serviceState struct {
	Name  string
	Known bool // it has SLOs
	State state
}

func (b *board) servicesOf(names []string) []serviceState {
	var out []serviceState
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if name != "" {
			s, known := b.states[name]
			out = append(out, serviceState{oneLine(name), known, s})
		}
	}
	return out
}
