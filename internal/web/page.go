package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// view is everything the page shows.
type view struct {
	State     state // the worst
	Headline  string
	Time      string   // of the report, RFC 3339; "" before the first
	Waiting   string   // why the daemon is not ready; "" when it is
	Notices   []string // what is wrong with yoyu itself
	Style     string   // path of the style sheet, with its version
	Blocks    []block
	Workloads []workloadView // nil without a cluster source
	Worth     []string       // what workloads could release or would cost
	Version   string
}

// HasCluster reports whether a cluster source is there, even if it has no workload.
func (v view) HasCluster() bool { return v.Workloads != nil }

// block is one SLO with its groups below it, or with the one row it has.
type block struct {
	State     state // the worst of its rows
	Name      string
	Link      string // to its explanation, from the page
	Service   string
	Objective string
	Period    string
	Runbook   string
	Grouped   bool
	Rows      []budgetRow
}

// budgetRow is one budget.
type budgetRow struct {
	State     state
	Word      string // the state in words
	Group     string // `route="/pay"`; "" without groups
	Link      string // to its explanation, from the page
	Meter     string // share of the budget left for <meter>, 0 to 1; "" when nothing was counted
	Left      string
	Burn      []burnCell
	Exhausted string // in how long
	Coverage  string
	Firing    string
	Note      string // why nothing is counted; "" when all is well
	Policy    string // what the budget policy says now; "" for nothing
	Corrected string // which corrections apply; "" for none

	remaining, burning float64 // to order by
}

// burnCell is one burn rate under its window.
type burnCell struct {
	Window, Rate string
	Fast         bool // faster than the steady pace
}

// state says how urgent a budget is. The page never says it by colour alone.
type state int

// The states, the most urgent first: the order of the rows.
const (
	isFiring  state = iota // an alert fires
	isBurning              // faster than the period over the last hour
	isLow                  // less than a quarter left
	isFine
	isUnknown // the source answered for nothing of the last hour
)

var states = []struct{ Word, Class string }{
	isFiring: {"firing", "firing"}, isBurning: {"burning", "burning"}, isLow: {"low", "low"},
	isFine: {"fine", "fine"}, isUnknown: {"no data", "unknown"},
}

// Word is the state in words.
func (s state) Word() string { return states[s].Word }

// Class is the state as a class of the style sheet and the name of an icon.
func (s state) Class() string { return states[s].Class }

// low is the share of the budget below which it is called low.
const low = 0.25

// shown are the windows whose burn rates are on the page.
var shown = []time.Duration{5 * time.Minute, time.Hour, 6 * time.Hour, 3 * slo.Day}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

//go:embed static
var files embed.FS

// static are the files beside the page, by name: the style sheet, and an icon for each state.
func static() map[string]http.Handler {
	out := map[string]http.Handler{}
	entries, err := files.ReadDir("static")
	if err != nil {
		panic(fmt.Sprintf("web: embedded files: %v", err))
	}
	for _, entry := range entries {
		text, err := files.ReadFile("static/" + entry.Name())
		if err != nil {
			panic(fmt.Sprintf("web: embedded files: %v", err))
		}
		tag := `"` + digest(text) + `"`
		out[entry.Name()] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=3600")
			w.Header().Set("ETag", tag)
			http.ServeContent(w, r, entry.Name(), time.Time{}, bytes.NewReader(text))
		})
	}
	return out
}

// stylePath changes with the style sheet, so that no cache holds on to an old one.
var stylePath = func() string {
	text, err := files.ReadFile("static/style.css")
	if err != nil {
		panic(fmt.Sprintf("web: embedded files: %v", err))
	}
	return "style.css?v=" + digest(text)
}()

func digest(text []byte) string { return fmt.Sprintf("%x", sha256.Sum256(text))[:12] }

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, s.view()); err != nil {
		s.broken(w, r, err)
		return
	}
	send(w, http.StatusOK, "text/html; charset=utf-8", body.Bytes())
}

func (s *Server) view() view {
	v := view{State: isUnknown, Headline: "no data", Style: stylePath, Version: s.version, Waiting: s.waiting()}
	r := s.report.Load()
	if r == nil {
		return v
	}
	v.Time = r.Time.UTC().Format(time.RFC3339)
	v.Blocks = newBlocks(r.SLOs)
	v.State, v.Headline = summary(v.Blocks)
	v.Workloads = newWorkloadViews(r.Workloads, serviceStates(v.Blocks))
	v.Worth = worth(r.Workloads)
	v.Notices = r.Notices
	return v
}

// newBlocks orders by urgency: SLOs by their worst group, groups within their SLO.
func newBlocks(statuses []slo.Status) []block {
	var out []block
	for i := range statuses {
		st := &statuses[i]
		o := st.Objective
		if i == 0 || o != statuses[i-1].Objective {
			out = append(out, block{
				Name: oneLine(o.Name), Link: "explain?slo=" + url.QueryEscape(o.Name), Service: oneLine(o.Service),
				Objective: o.Target.Percent() + "%", Period: o.Period.Key(), Runbook: o.RunbookURL, Grouped: len(o.GroupBy) > 0,
			})
		}
		last := &out[len(out)-1]
		last.Rows = append(last.Rows, newBudgetRow(st))
	}
	for i := range out {
		slices.SortStableFunc(out[i].Rows, byUrgency)
		out[i].State = out[i].Rows[0].State
	}
	slices.SortStableFunc(out, func(a, b block) int { return byUrgency(a.Rows[0], b.Rows[0]) })
	return out
}

// byUrgency puts what needs somebody first: by state, then by what is left, then by the burn rate.
func byUrgency(a, b budgetRow) int {
	return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.remaining, b.remaining), cmp.Compare(b.burning, a.burning))
}

func newBudgetRow(st *slo.Status) budgetRow {
	whole := periodOf(st)
	known := whole.Total > 0 || whole.Coverage > 0
	row := budgetRow{
		State: stateOfBudget(st), Group: groupOf(st), Link: "explain?" + queryOf(st), Left: sinks.Undefined, Exhausted: exhausted(st.Budget),
		Coverage: percent(whole.Coverage), Firing: cmp.Or(oneLine(strings.Join(firing(st), ", ")), "none"),
		remaining: st.Budget.RemainingRatio,
	}
	row.Word = row.State.Word()
	if known {
		row.Left = percent(st.Budget.RemainingRatio)
		row.Meter = plain(min(max(st.Budget.RemainingRatio, 0), 1))
		if spent := st.Budget.RemainingRatio <= 0; spent && row.State == isLow {
			row.Word = "spent"
		} else if spent {
			row.Word += ", spent"
		}
	}
	for _, length := range shown {
		cell := burnCell{Window: slo.FormatDuration(length), Rate: sinks.Undefined}
		if w, ok := windowOf(st, length); ok && w.BurnRate.Defined {
			cell.Rate, cell.Fast = rate(w.BurnRate.Float), w.BurnRate.Float > 1
			if length == time.Hour {
				row.burning = w.BurnRate.Float
			}
		}
		row.Burn = append(row.Burn, cell)
	}
	row.Policy, row.Corrected = policyOf(st), correctionsOf(st)
	switch {
	case st.Note != "":
		row.Note = oneLine(st.Note)
	case st.Silent():
		row.Note = "The source has answered for nothing of the last hour"
		if !st.Newest.IsZero() {
			row.Note += "; newest sample " + st.Newest.UTC().Format(time.RFC3339)
		}
	}
	return row
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
	text := strings.Join(said, "; ")
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

func stateOfBudget(st *slo.Status) state {
	hour, _ := windowOf(st, time.Hour)
	switch {
	case len(firing(st)) > 0:
		return isFiring
	case hour.BurnRate.Defined && hour.BurnRate.Float > 1:
		return isBurning
	case st.Budget.RemainingRatio < low:
		return isLow
	case st.Silent():
		return isUnknown
	}
	return isFine
}

// summary is the state of the whole page and the number of budgets in each state. Not to know is
// better than low and worse than fine.
func summary(blocks []block) (worst state, text string) {
	counts := make([]int, len(states))
	for _, b := range blocks {
		for _, row := range b.Rows {
			counts[row.State]++
		}
	}
	worst = isUnknown
	var parts []string
	for _, s := range []state{isFine, isUnknown, isLow, isBurning, isFiring} {
		if counts[s] > 0 {
			worst = s
			parts = append(parts, strconv.Itoa(counts[s])+" "+s.Word())
		}
	}
	slices.Reverse(parts)
	return worst, cmp.Or(strings.Join(parts, ", "), "no SLOs")
}

// serviceStates are the worst states by service.
func serviceStates(blocks []block) map[string]state {
	out := map[string]state{}
	for _, b := range blocks {
		if have, ok := out[b.Service]; !ok || b.State < have {
			out[b.Service] = b.State
		}
	}
	return out
}

// groupOf names the group of a status: `route="/pay" zone="a"`.
func groupOf(st *slo.Status) string {
	var parts []string
	for i, name := range st.Objective.GroupBy {
		if i < len(st.Labels) {
			parts = append(parts, name+"="+strconv.Quote(st.Labels[i]))
		}
	}
	return strings.Join(parts, " ")
}

// workloadView is one container of a workload; the workload itself is named in its first.
type workloadView struct {
	First     bool
	Rows      int // containers of the workload
	Name      string
	Namespace string
	Kind      string
	VPA       string
	Replicas  int
	Services  []serviceView
	Verdict   string // "shrink, blocked"; "" where nothing is decided
	Sign      string // class of the verdict's sign
	Sentence  string
	Container string
	Resources []resourceView // CPU, memory
}

// serviceView is a service beside its workload, with the state of its budgets.
type serviceView struct {
	Name  string
	Known bool // it has SLOs
	State state
}

// resourceView is one resource in words.
type resourceView struct {
	Name                              string
	Request, Target, Bounds, Headroom string
	Need                              bool // too little is asked for
}

func newWorkloadViews(workloads []rightsizing.Workload, states map[string]state) []workloadView {
	if workloads == nil {
		return nil
	}
	out := []workloadView{}
	ranked := make([]*rightsizing.Workload, len(workloads))
	for i := range workloads {
		ranked[i] = &workloads[i]
	}
	rightsizing.Rank(ranked)
	for _, w := range ranked {
		v := workloadView{
			Name: oneLine(w.Name), Namespace: oneLine(w.Namespace), Kind: oneLine(w.Kind), VPA: sinks.Undefined, Replicas: w.Replicas,
		}
		v.Verdict, v.Sign = verdictOf(w)
		v.Sentence = oneLine(w.Sentence)
		if w.VPA != "" {
			v.VPA = oneLine(w.VPA)
			if w.UpdateMode != "" {
				v.VPA += " (" + oneLine(w.UpdateMode) + ")"
			}
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(w.Services))) {
			if name != "" {
				s, known := states[oneLine(name)]
				v.Services = append(v.Services, serviceView{oneLine(name), known, s})
			}
		}
		containers := w.Containers
		if len(containers) == 0 {
			containers = []rightsizing.Container{{Name: sinks.Undefined}}
		}
		for k := range containers {
			c := &containers[k]
			v.First, v.Rows, v.Container = k == 0, len(containers), oneLine(c.Name)
			v.Resources = []resourceView{newResourceView("CPU", &c.CPU, cores), newResourceView("Memory", &c.Memory, size)}
			out = append(out, v)
		}
	}
	return out
}

// verdictOf is a verdict in words with what else decides, and the sign of its urgency.
func verdictOf(w *rightsizing.Workload) (words, sign string) {
	words = string(w.Verdict)
	switch {
	case w.Urgency > 1:
		words += ", urgent"
	case w.Gate != "" && w.Verdict == rightsizing.Shrink:
		words += ", " + string(w.Gate)
	}
	switch {
	case w.Urgency > 1:
		return words, isFiring.Class()
	case w.Verdict == rightsizing.Raise:
		return words, isBurning.Class()
	case w.Verdict == rightsizing.Shrink:
		return words, isLow.Class()
	case w.Verdict == rightsizing.Keep:
		return words, isFine.Class()
	}
	return words, isUnknown.Class()
}

// worth is the money of all workloads in a sentence for each currency; nil without prices.
func worth(workloads []rightsizing.Workload) []string {
	d, err := sinks.NewRightsizing(&sinks.Report{Workloads: workloads}, nil)
	if err != nil {
		return nil // a patch that cannot be made is told by the API; the page shows none
	}
	var out []string
	for _, m := range d.Totals {
		out = append(out, fmt.Sprintf("A month in %s: %.2f safe to give back, %.2f blocked by an error budget, %.2f that no SLO watches; %.2f more to spend.",
			oneLine(m.Currency), m.Safe*730, m.Blocked*730, m.Ungated*730, m.Cost*730))
	}
	return out
}

func newResourceView(name string, r *rightsizing.Resource, unit func(float64) string) resourceView {
	text := func(v slo.Value) string {
		if !v.Defined {
			return sinks.Undefined
		}
		return unit(v.Float)
	}
	v := resourceView{Name: name, Request: text(r.Request), Target: text(r.Target), Headroom: sinks.Undefined}
	if r.Lower.Defined && r.Upper.Defined {
		v.Bounds = unit(r.Lower.Float) + " to " + unit(r.Upper.Float)
	}
	if h := r.Headroom; h.Defined {
		switch {
		case h.Float > 0:
			v.Headroom = unit(h.Float) + " to spare"
		case h.Float < 0:
			v.Headroom, v.Need = unit(-h.Float)+" short", true
		default:
			v.Headroom = "just right"
		}
	}
	return v
}

// percent rounds down, so that 100 % is whole and a budget overspent by the least is negative.
func percent(ratio float64) string {
	// The last bits of a quotient are no reason to show 28.9 % for 29 %.
	return strconv.FormatFloat(math.Floor(ratio*1000+1e-9)/10, 'f', -1, 64) + "%"
}

// rate is a burn rate with as many digits as matter.
func rate(f float64) string {
	switch {
	case f > 0 && f < 0.01:
		return "<0.01"
	case f >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return trimmed(f, 2)
}

// trimmed has at most so many digits behind the point, and no zeros at its end.
func trimmed(f float64, digits int) string {
	text := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// exhausted says in words when a budget will be spent. It rounds down, as the number it is made
// from is a lower bound.
func exhausted(b slo.Budget) string {
	if !b.Exhaustion.Defined {
		return sinks.Undefined
	}
	switch d := b.Exhaustion.Float; {
	case d <= 0:
		return "spent"
	case d < 60:
		return "under 1 min"
	case d < 3600:
		return plain(math.Floor(d/60)) + " min"
	case d < 48*3600:
		return plain(math.Floor(d/3600)) + " h"
	default:
		return plain(math.Floor(d/86400)) + " days"
	}
}

// cores prints an amount of CPU.
func cores(f float64) string {
	if f == 0 || f >= 0.001 {
		return trimmed(f, 3)
	}
	return plain(f)
}

// size prints an amount of memory in the largest binary unit that leaves a whole part.
func size(f float64) string {
	for _, unit := range []struct {
		name  string
		bytes float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if f >= unit.bytes {
			return trimmed(f/unit.bytes, 1) + " " + unit.name
		}
	}
	return trimmed(f, 0) + " B"
}
