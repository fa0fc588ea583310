package web

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// explanation is a status with the way to every number of it, so that a person can go that way
// again with the source's own counts.
type explanation struct {
	SLO       string                `json:"slo"`
	Service   string                `json:"service"`
	Labels    map[string]string     `json:"labels"` // the group_by labels
	Objective sinks.Number          `json:"objective"`
	Period    string                `json:"period"`
	Counts    string                `json:"counts"` // what an event of the budget is
	At        time.Time             `json:"at"`     // the right edge of every window
	Newest    *time.Time            `json:"newest"` // newest answered moment
	Note      string                `json:"note,omitempty"`
	Windows   []explainedWindow     `json:"windows"`
	Budget    []step                `json:"error_budget"`
	Policy    explainedPolicy       `json:"budget_policy"`
	Corrected *explainedCorrections `json:"corrected,omitempty"` // nil while no correction applies to the period
	Alerts    []explainedAlert      `json:"alerts"`
	title     string                // of the text
	percent   string                // the objective in percent, as it was written
	rest      string                // 1 − objective, exactly
	policy    string                // name of the alert policy
}

// step is one number: how it is worked out, and of what.
type step struct {
	Name    string       `json:"name"`
	Formula string       `json:"formula"`
	Numbers string       `json:"numbers,omitempty"` // the formula with its numbers
	Value   sinks.Number `json:"value"`
	Note    string       `json:"note,omitempty"` // why it is not what the formula gives
}

// explainedWindow is what was counted in (Counted, To], Counted being the known moment nearest to From.
type explainedWindow struct {
	Window   string       `json:"window"`
	From     time.Time    `json:"from"`
	Counted  time.Time    `json:"counted_from"`
	To       time.Time    `json:"to"`
	Total    sinks.Number `json:"total"`
	Bad      sinks.Number `json:"bad"`
	Coverage sinks.Number `json:"coverage"`
	Steps    []step       `json:"steps"`
}

// explainedCorrections is what corrections do to the period: total and bad are what is left.
type explainedCorrections struct {
	Corrections []explainedCorrection `json:"corrections"`
	Steps       []step                `json:"steps"`
}

// explainedCorrection is a correction and when it applies.
type explainedCorrection struct {
	sinks.JSONCorrection
	When string `json:"when"`
}

// explainedPolicy is what is to be done while the budget runs out.
type explainedPolicy struct {
	Steps  []explainedStep `json:"steps"`
	Gate   string          `json:"gate"` // open or closed
	Cause  slo.GateCause   `json:"cause"`
	Reason string          `json:"reason"`
}

// explainedStep is a step of the policy.
type explainedStep struct {
	sinks.JSONStep
	InForce bool `json:"in_force"`
}

// explainedAlert is one severity: it fires when any pair does.
type explainedAlert struct {
	Severity  string          `json:"severity"`
	Firing    bool            `json:"firing"`
	Since     *time.Time      `json:"since"` // first tick of the unbroken run; null while it does not fire
	BurnRatio sinks.Number    `json:"burn_ratio"`
	Pairs     []explainedPair `json:"pairs"`
}

// explainedPair fires when all its conditions hold.
type explainedPair struct {
	Long       string      `json:"long"`
	Short      string      `json:"short"`
	Factor     string      `json:"factor"` // exact: a decimal, or a fraction such as "14/15"
	Firing     bool        `json:"firing"`
	Held       bool        `json:"held"`
	Conditions []condition `json:"conditions"`
	Note       string      `json:"note,omitempty"` // why there are none
	Reason     string      `json:"reason"`         // why it fires or does not, in a few words
	Detection  step        `json:"detection"`      // how soon the present error ratio would fire it, after good traffic
}

// condition is a comparison and whether it holds.
type condition struct {
	Of      string       `json:"of"` // a window, or the name of a guard
	Formula string       `json:"formula"`
	Numbers string       `json:"numbers"`
	Limit   sinks.Number `json:"limit"` // the right-hand side
	Holds   bool         `json:"holds"`
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	report := s.report.Load()
	query := r.URL.Query()
	sel, asJSON := selectionOf(query, "format"), wantsJSON(r.Header.Get("Accept"))
	format := query.Get("format")
	if report != nil && sel.groupedBy(report, "format") {
		sel, format = selectionOf(query), "" // then it is a label, and Accept alone chooses
	}
	if _, named := query["format"]; (!named || format == "") && wantsPage(r.Header.Get("Accept")) {
		s.explainPage(w, r, sel)
		return
	}
	switch format {
	case "":
	case "json", "text":
		asJSON = format == "json"
	default:
		s.refuseExplain(w, refuse(http.StatusBadRequest, "format %q: use text or json", format), asJSON)
		return
	}
	if report == nil {
		s.refuseExplain(w, refuse(http.StatusServiceUnavailable, "%s", s.waiting()), asJSON)
		return
	}
	if len(sel.slos) == 0 {
		var names []string
		for i := range report.SLOs {
			names = append(names, report.SLOs[i].Objective.Name)
		}
		names = slices.Compact(names)
		s.refuseExplain(w, refuse(http.StatusBadRequest, "name an SLO, as in /explain?slo=NAME; there are %d: %q", len(names), names), asJSON)
		return
	}
	picked, no := sel.from(report)
	if no != nil {
		s.refuseExplain(w, no, asJSON)
		return
	}
	all := make([]explanation, len(picked))
	for i := range picked {
		all[i] = explainStatus(&picked[i])
	}
	if asJSON {
		s.writeJSON(w, r, struct {
			Time         time.Time     `json:"time"`
			Explanations []explanation `json:"explanations"`
		}{report.Time.UTC(), all})
		return
	}
	var text strings.Builder
	for i := range all {
		if i > 0 {
			text.WriteString("\n\n")
		}
		all[i].write(&text)
	}
	answer(w, http.StatusOK, text.String())
}

func (s *Server) refuseExplain(w http.ResponseWriter, no *refusal, asJSON bool) {
	if asJSON {
		s.refuse(w, no)
		return
	}
	answer(w, no.status, no.reason+"\n")
}

// wantsJSON reports whether a request asks for JSON by name, and for no text before it.
func wantsJSON(accept string) bool {
	asked, text := 0.0, 0.0
	for part := range strings.SplitSeq(accept, ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		quality := 1.0
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			quality = q
		}
		switch kind {
		case "application/json":
			asked = max(asked, quality)
		case "text/plain", "text/html":
			text = max(text, quality)
		}
	}
	return asked > 0 && asked >= text
}

func explainStatus(st *slo.Status) explanation {
	o := st.Objective
	e := explanation{
		SLO: o.Name, Service: o.Service, Labels: sinks.GroupLabels(st),
		Objective: number(o.Target.Float()), Period: o.Period.Key(), Counts: counted(o),
		At: st.At.UTC(), Note: st.Note, Windows: []explainedWindow{}, Alerts: []explainedAlert{},
		title: sinks.Title(st), percent: o.Target.Percent(), rest: exact(rest(o)), policy: o.Policy.Name,
	}
	if !st.Newest.IsZero() {
		e.Newest = utc(st.Newest)
	}
	for i := range st.Windows {
		e.Windows = append(e.Windows, explainWindow(st, &st.Windows[i]))
	}
	e.Budget = explainBudget(st)
	e.Policy = explainPolicy(st)
	e.Corrected = explainCorrections(st)
	for i := range st.Alerts {
		a := &st.Alerts[i]
		alert := explainedAlert{Severity: a.Severity, Firing: a.Firing, BurnRatio: sinks.Number(a.BurnRatio), Pairs: []explainedPair{}}
		if a.Firing && !a.Since.IsZero() {
			alert.Since = utc(a.Since)
		}
		for k := range a.Pairs {
			pair := explainPair(st, &a.Pairs[k])
			pair.Reason, pair.Detection = pair.why(), detection(st, &a.Pairs[k])
			alert.Pairs = append(alert.Pairs, pair)
		}
		e.Alerts = append(e.Alerts, alert)
	}
	return e
}

// counted says what the total and the bad of an objective are.
func counted(o *slo.Objective) string {
	switch b := o.Budgeting; {
	case b.Method == slo.Timeslices:
		return fmt.Sprintf("slices of %s, good with %s%% or more of their events good, %s when empty",
			slo.FormatDuration(b.Slice), b.Target.Percent(), emptySlice(b.Empty))
	case b.Method == slo.RatioTimeslices:
		return fmt.Sprintf("slices of %s, each as bad as the share of its bad events, %s when empty",
			slo.FormatDuration(b.Slice), emptySlice(b.Empty))
	case o.Counting == "pushdown":
		return "events, their increases taken by the server (pushdown)"
	case o.Fractional:
		return "events, fractional by nature"
	}
	return "events, exactly"
}

func emptySlice(e slo.Empty) string {
	if e == "" || e == slo.EmptySkip {
		return "skipped"
	}
	return string(e)
}

func explainWindow(st *slo.Status, w *slo.Window) explainedWindow {
	span := slo.Span{From: st.At.Add(-w.Length), To: st.At}
	if w.IsPeriod {
		span = st.Objective.Period.Span(st.At)
	}
	ratio := step{Name: "error_ratio", Formula: "bad / total", Value: sinks.Number(w.ErrorRatio)}
	if w.ErrorRatio.Defined {
		ratio.Numbers = plain(w.Bad) + " / " + plain(w.Total)
	} else {
		ratio.Note = "undefined: no events"
	}
	burn := step{Name: "burn_rate", Formula: "error_ratio / (1 − objective)", Value: sinks.Number(w.BurnRate)}
	switch {
	case !w.BurnRate.Defined:
		burn.Note = "undefined: the source answered for no part of the window"
	case !w.ErrorRatio.Defined:
		burn.Note = "covered silence burns nothing"
	default:
		burn.Numbers = plain(w.ErrorRatio.Float) + " / " + exact(rest(st.Objective))
	}
	return explainedWindow{
		Window: w.Key, From: span.From.UTC(), Counted: st.Left(w).UTC(), To: span.To.UTC(),
		Total: number(w.Total), Bad: number(w.Bad), Coverage: number(w.Coverage), Steps: []step{ratio, burn},
	}
}

func explainBudget(st *slo.Status) []step {
	o, b, whole := st.Objective, st.Budget, periodOf(st)
	remaining := step{Name: "remaining_ratio", Formula: "1 − bad / allowed", Value: number(b.RemainingRatio)}
	if b.Allowed > 0 {
		remaining.Numbers = "1 − " + plain(b.Spent) + " / " + plain(b.Allowed)
	} else {
		remaining.Note = "nothing was counted, nothing is spent"
	}

	length := o.Period.Length.Seconds()
	left := step{
		Name: "exhaustion_seconds", Formula: "remaining_ratio · period / burn_rate", Value: sinks.Number(b.Exhaustion),
	}
	switch burning := longestBurning(st); {
	case b.RemainingRatio <= 0:
		left.Note = "the budget is spent"
	case !b.Exhaustion.Defined:
		left.Note = "undefined: no window of an alert burns faster than the period"
	// The longest may be a window of the policy that is not published.
	case burning != nil && near(b.RemainingRatio*length/burning.BurnRate.Float, b.Exhaustion.Float):
		left.Numbers = fmt.Sprintf("%s · %s / %s", plain(b.RemainingRatio), plain(length), plain(burning.BurnRate.Float))
		left.Note = fmt.Sprintf("by the burn rate of %s, the longest window of an alert that burns faster than the period", burning.Key)
	default:
		left.Note = "by a window of the alert policy that is not published"
	}
	return []step{
		{Name: "allowed", Formula: "(1 − objective) · total",
			Numbers: exact(rest(o)) + " · " + plain(whole.Total), Value: number(b.Allowed)},
		{Name: "spent", Formula: "bad", Numbers: plain(whole.Bad), Value: number(b.Spent)},
		remaining,
		left,
	}
}

func explainCorrections(st *slo.Status) *explainedCorrections {
	out := &explainedCorrections{}
	for i, c := range st.Corrections {
		if c.Applied == 0 {
			continue
		}
		o := &st.Objective.Corrections[i]
		out.Corrections = append(out.Corrections, explainedCorrection{
			sinks.JSONCorrection{
				Name: o.Name, Effect: o.Effect, Active: c.Active,
				Seconds: c.Applied.Seconds(), ApproximateSeconds: c.Approximate.Seconds(),
			}, o.When.String(),
		})
	}
	if len(out.Corrections) == 0 {
		return nil
	}
	whole := periodOf(st)
	left := func(name, word string, left, taken float64) step {
		return step{Name: name, Formula: word + " counted − taken out by corrections",
			Numbers: plain(left+taken) + " − " + plain(taken), Value: number(left)}
	}
	out.Steps = []step{left("total", "events", whole.Total, st.TakenTotal), left("bad", "bad events", whole.Bad, st.TakenBad)}
	return out
}

func explainPolicy(st *slo.Status) explainedPolicy {
	gate := st.Gate()
	p := explainedPolicy{Steps: []explainedStep{}, Gate: sinks.GateWord(gate.Closed), Cause: gate.Cause, Reason: reasonOf(st, gate)}
	now, ok := st.Step()
	for _, step := range st.Objective.BudgetPolicy.Steps {
		p.Steps = append(p.Steps, explainedStep{sinks.NewJSONStep(step), ok && step == now})
	}
	return p
}

// longestBurning is the longest window of the alerts whose burn rate is above 1; nil without one.
func longestBurning(st *slo.Status) *slo.Window {
	var longest *slo.Window
	for _, severity := range st.Objective.Policy.Severities {
		for _, p := range severity.Pairs {
			for _, length := range []time.Duration{p.Long, p.Short} {
				w, ok := windowOf(st, length)
				if ok && w.BurnRate.Defined && w.BurnRate.Float > 1 && (longest == nil || w.Length > longest.Length) {
					longest = &w
				}
			}
		}
	}
	return longest
}

func explainPair(st *slo.Status, p *slo.PairStatus) explainedPair {
	num, den := p.Factor.Fraction()
	factor := new(big.Rat).SetFrac(new(big.Int).SetUint64(num), new(big.Int).SetUint64(den))
	out := explainedPair{
		Long: slo.FormatDuration(p.Long), Short: slo.FormatDuration(p.Short), Factor: exact(factor),
		Firing: p.Firing, Held: p.Held, Conditions: []condition{},
	}
	long, ok1 := windowOf(st, p.Long)
	short, ok2 := windowOf(st, p.Short)
	switch {
	case p.Held:
		out.Note = fmt.Sprintf("a window is without coverage: the state of the last tick at which both had some is kept, for at most %s", out.Long)
		return out
	case !p.Ratio.Defined:
		out.Note = "a window is without coverage, and no earlier state is young enough to keep"
		return out
	case !ok1 || !ok2:
		out.Note = "its windows are not published; min(burn long, burn short) / factor = " + plain(p.Ratio.Float)
		return out
	}

	threshold := new(big.Rat).Mul(factor, rest(st.Objective))
	for _, w := range []slo.Window{long, short} {
		limit := new(big.Rat).Mul(threshold, fraction(w.Total))
		f, _ := limit.Float64()
		out.Conditions = append(out.Conditions, condition{
			Of: slo.FormatDuration(w.Length), Formula: "bad > factor · (1 − objective) · total",
			Numbers: fmt.Sprintf("%s > %s · %s · %s", plain(w.Bad), exact(factor), exact(rest(st.Objective)), plain(w.Total)),
			Limit:   number(f), Holds: fraction(w.Bad).Cmp(limit) > 0,
		})
	}
	policy := st.Objective.Policy
	if policy.MinBadEvents > 0 {
		out.Conditions = append(out.Conditions, condition{
			Of: minBadEvents, Formula: "bad in the long window ≥ min_bad_events",
			Numbers: plain(long.Bad) + " ≥ " + plain(policy.MinBadEvents),
			Limit:   number(policy.MinBadEvents), Holds: long.Bad >= policy.MinBadEvents,
		})
	}
	if z := policy.Confidence; z > 0 {
		low, limit := slo.Wilson(long.Bad, long.Total, z), 0.0
		limit, _ = threshold.Float64()
		out.Conditions = append(out.Conditions, condition{
			Of: confidence, Formula: "Wilson lower bound of bad / total in the long window > factor · (1 − objective)",
			Numbers: fmt.Sprintf("wilson(%s, %s, z = %s) = %s > %s · %s",
				plain(long.Bad), plain(long.Total), plain(z), value(sinks.Number(low)), exact(factor), exact(rest(st.Objective))),
			Limit: number(limit), Holds: low.Defined && low.Float > limit,
		})
	}
	return out
}

// why says why a pair fires, or does not.
func (p *explainedPair) why() string {
	switch {
	case p.Held && p.Firing:
		return "it fired when its windows were last covered"
	case p.Held:
		return "it was quiet when its windows were last covered"
	case p.Firing:
		return "both windows burn above " + p.Factor
	case len(p.Conditions) == 0:
		return p.Note
	}
	var fails []string
	for _, c := range p.Conditions {
		switch {
		case c.Holds:
		case c.Of == p.Long || c.Of == p.Short:
			fails = append(fails, c.Of+" does not burn above "+p.Factor)
		case c.Of == minBadEvents:
			fails = append(fails, "too few events are bad")
		default:
			fails = append(fails, "too few events to be sure")
		}
	}
	return strings.Join(fails, ", and ")
}

// The guards, as conditions go by them.
const (
	minBadEvents = "min_bad_events"
	confidence   = "confidence"
)

// detection is how soon a pair would fire at the present error ratio: MATHS.md, "Alerts".
func detection(st *slo.Status, p *slo.PairStatus) step {
	out := step{Name: "detection_seconds", Formula: "(1 − objective) / error_ratio · long · factor, the first tick after it"}
	short, ok := windowOf(st, p.Short)
	switch {
	case p.Held || !p.Ratio.Defined:
		out.Note = "undefined: a window is without coverage"
		return out
	case !ok:
		out.Note = "its short window is not published"
		return out
	case !short.ErrorRatio.Defined:
		out.Note = "undefined: no events in " + slo.FormatDuration(p.Short)
		return out
	case short.Bad == 0:
		out.Note = "never: nothing is bad in " + slo.FormatDuration(p.Short)
		return out
	}
	num, den := p.Factor.Fraction()
	factor := new(big.Rat).SetFrac(new(big.Int).SetUint64(num), new(big.Int).SetUint64(den))
	long := new(big.Rat).SetFrac64(p.Long.Milliseconds(), 1000)
	at := new(big.Rat).Mul(rest(st.Objective), new(big.Rat).Quo(fraction(short.Total), fraction(short.Bad)))
	at.Mul(at, long).Mul(at, factor)
	out.Numbers = fmt.Sprintf("%s / %s · %s · %s", exact(rest(st.Objective)), plain(short.ErrorRatio.Float), exact(long), exact(factor))
	if at.Cmp(long) >= 0 {
		out.Note = "never: even a long window full of it does not burn above " + exact(factor)
		return out
	}
	after, _ := at.Float64()
	if st.Tick > 0 {
		tick := new(big.Rat).SetFrac64(st.Tick.Milliseconds(), 1000)
		ticks := new(big.Rat).Quo(at, tick)
		whole := new(big.Int).Quo(ticks.Num(), ticks.Denom())
		after = float64(whole.Int64()+1) * st.Tick.Seconds()
	}
	out.Value = number(after)
	out.Note = fmt.Sprintf("at the error ratio of %s, had it begun after good traffic", slo.FormatDuration(p.Short))
	if st.Objective.Policy.MinBadEvents > 0 || st.Objective.Policy.Confidence > 0 {
		out.Note += "; guards may wait longer"
	}
	return out
}

// write writes the explanation for people.
func (e *explanation) write(out *strings.Builder) {
	line := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	line("%s", e.title)
	line("  service    %s", oneLine(cmp.Or(e.Service, sinks.Undefined)))
	line("  objective  %s%% over %s, so 1 − objective = %s", e.percent, e.Period, e.rest)
	line("  counts     %s", e.Counts)
	newest := "nothing answered yet"
	if e.Newest != nil {
		newest = "newest answered moment " + e.Newest.Format(time.RFC3339)
	}
	line("  at         %s, %s", e.At.Format(time.RFC3339), newest)
	if e.Note != "" {
		line("  note       %s", oneLine(e.Note))
	}

	line("\nWindows (from, to]: what happened at the left edge is out, at the right edge in.")
	line("The left edge of those over 1h is rounded, by less than 0.8%% of their length.")
	for _, w := range e.Windows {
		line("  %s  (%s, %s]", w.Window, w.From.Format(time.RFC3339), w.To.Format(time.RFC3339))
		if !w.Counted.Equal(w.From) {
			line("      counted from %s", w.Counted.Format(time.RFC3339))
		}
		line("      total %s, bad %s, coverage %s", value(w.Total), value(w.Bad), value(w.Coverage))
		for _, s := range w.Steps {
			line("      %s", s)
		}
	}
	if c := e.Corrected; c != nil {
		line("\nCorrections of %s: what they take is in no number above or below.", e.Period)
		for _, one := range c.Corrections {
			text := fmt.Sprintf("  %s (%s): %s, %s of the period", oneLine(one.Name), one.Effect, oneLine(one.When), length(one.Seconds))
			if one.Active {
				text += ", also now"
			}
			if one.ApproximateSeconds > 0 {
				text += fmt.Sprintf("; %s of it in proportion to time, the source could not be asked again", length(one.ApproximateSeconds))
			}
			line("%s", text)
		}
		for _, s := range c.Steps {
			line("  %s", s)
		}
	}
	line("\nError budget of %s", e.Period)
	for _, s := range e.Budget {
		line("  %s", s)
	}
	line("\nError budget policy")
	for _, step := range e.Policy.Steps {
		text := fmt.Sprintf("  below %s: %s", step.Below, oneLine(step.Action))
		if step.Gate != sinks.GateWord(false) {
			text += ", gate " + step.Gate
		}
		if step.InForce {
			text += " (in force)"
		}
		line("%s", text)
	}
	line("  gate %s: %s", e.Policy.Gate, e.Policy.Reason)
	if len(e.Alerts) == 0 {
		line("\nAlerts: none")
		return
	}
	line("\nAlerts of the policy %s: a severity fires when a pair does, a pair when all its lines hold.", oneLine(cmp.Or(e.policy, sinks.Undefined)))
	for _, a := range e.Alerts {
		line("  %s: %s, burn ratio %s", oneLine(a.Severity), stateOf(a.Firing, false), value(a.BurnRatio))
		for _, p := range a.Pairs {
			line("    %s and %s, factor %s: %s", p.Long, p.Short, p.Factor, stateOf(p.Firing, p.Held))
			if p.Note != "" {
				line("      %s", p.Note)
			}
			for _, c := range p.Conditions {
				line("      %s", c)
			}
			if p.Note == "" {
				line("      %s", p.Detection)
			}
		}
	}
}

// length is a number of seconds as a duration.
func length(seconds float64) string {
	return slo.FormatDuration(time.Duration(seconds * float64(time.Second)))
}

func stateOf(firing, held bool) string {
	switch {
	case firing && held:
		return "firing (held)"
	case firing:
		return "firing"
	case held:
		return "quiet (held)"
	}
	return "quiet"
}

// String is the step on one line: name = formula = numbers = value.
func (s step) String() string {
	line := s.Name + " = " + s.Formula
	if s.Numbers != "" {
		line += " = " + s.Numbers
	}
	if v := value(s.Value); v != s.Numbers {
		line += " = " + v
	}
	if s.Note != "" {
		line += " (" + s.Note + ")"
	}
	return line
}

// String is the condition on one line.
func (c condition) String() string {
	verdict := "does not hold"
	if c.Holds {
		verdict = "holds"
	}
	line := c.Of + ": " + c.Formula + ": " + c.Numbers
	if strings.Contains(c.Numbers, "·") {
		line += " = " + value(c.Limit)
	}
	return line + ": " + verdict
}

// rest is 1 − objective, exactly.
func rest(o *slo.Objective) *big.Rat {
	r, ok := new(big.Rat).SetString(o.Target.Rest().Percent())
	if !ok {
		panic("web: a share that is no decimal: " + o.Target.Rest().Percent())
	}
	return r.Quo(r, big.NewRat(100, 1))
}

// fraction is a count exactly: a float is one.
func fraction(f float64) *big.Rat {
	if r := new(big.Rat).SetFloat64(f); r != nil {
		return r
	}
	return new(big.Rat) // infinite or no number: no engine counts that
}

// exact prints a fraction without loss: as a decimal where it is one, else as a quotient.
func exact(r *big.Rat) string {
	if digits, ok := r.FloatPrec(); ok {
		return r.FloatString(digits)
	}
	return r.RatString()
}

// plain prints a number in full precision, without an exponent as far as people read that.
func plain(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func value(n sinks.Number) string {
	if !n.Defined {
		return "undefined"
	}
	return plain(n.Float)
}

func number(f float64) sinks.Number { return sinks.Number(slo.Defined(f)) }

// near allows for the rounding of a quotient taken in another order.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b)) }

// oneLine replaces what would break a line of text.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '\uFFFD'
		}
		return r
	}, text)
}
