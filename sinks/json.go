package sinks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// JSONDocument is what report, backtest and the API answer with. It shares no memory with the
// reports that it was made from.
type JSONDocument struct {
	Reports []JSONReport `json:"reports"` // in the order asked for
	Alerts  []JSONAlert  `json:"alerts"`  // alerts that fired over a stretch of time

	Comparison []JSONSummary `json:"comparison,omitempty"` // what each promise did, where a backtest tried others or was asked for a summary
}

// JSONReport is a report as JSON: numbers in full precision, what is undefined null.
type JSONReport struct {
	Time time.Time `json:"time"` // UTC
	SLOs []JSONSLO `json:"slos"`
}

// JSONSLO is one objective, or one group of it.
type JSONSLO struct {
	SLO         string            `json:"slo"`
	Service     string            `json:"service"`
	Labels      map[string]string `json:"labels"`    // the group_by labels only; never null
	Objective   float64           `json:"objective"` // 0 to 1
	Period      string            `json:"period"`    // "30d", "month" …
	Windows     JSONWindows       `json:"windows"`
	ErrorBudget JSONBudget        `json:"error_budget"`
	Alerts      []JSONSeverity    `json:"alerts"`

	BudgetPolicy *JSONStep `json:"budget_policy,omitempty"` // the step in force

	Corrections []JSONCorrection `json:"corrections,omitempty"` // those that apply to the period so far
	Corrected   *JSONCorrected   `json:"corrected,omitempty"`   // what they take out of it
}

// JSONCorrection is a correction that applies to the period.
type JSONCorrection struct {
	Name               string     `json:"name"`
	Effect             slo.Effect `json:"effect"` // drop or good
	Active             bool       `json:"active"` // now
	Seconds            float64    `json:"seconds"`
	ApproximateSeconds float64    `json:"approximate_seconds"` // of Seconds, taken in proportion to time
}

// JSONCorrected is what corrections take out of the period.
type JSONCorrected struct {
	Total Number `json:"total"`
	Bad   Number `json:"bad"`
}

// NewJSONCorrections are the corrections that apply to the period of a status.
func NewJSONCorrections(st *slo.Status) []JSONCorrection {
	var out []JSONCorrection
	for i, c := range st.Corrections {
		if c.Applied > 0 {
			out = append(out, JSONCorrection{
				Name: st.Objective.Corrections[i].Name, Effect: st.Objective.Corrections[i].Effect, Active: c.Active,
				Seconds: c.Applied.Seconds(), ApproximateSeconds: c.Approximate.Seconds(),
			})
		}
	}
	return out
}

// JSONStep is a step of the error budget policy.
type JSONStep struct {
	Below  string `json:"below"` // of the budget, in percent: "50%"; "0%" is a spent one
	Action string `json:"action"`
	Gate   string `json:"gate"` // open or closed
}

// NewJSONStep writes a step.
func NewJSONStep(b slo.BudgetStep) JSONStep {
	return JSONStep{Below: b.Below.Percent() + "%", Action: b.Action, Gate: GateWord(b.Closed)}
}

// JSONWindows are the windows of one objective by key, written in their order.
type JSONWindows []JSONWindow

// JSONWindow is what happened in one window.
type JSONWindow struct {
	Key        string `json:"-"`
	Total      Number `json:"total"`
	Bad        Number `json:"bad"`
	ErrorRatio Number `json:"error_ratio"`
	BurnRate   Number `json:"burn_rate"`
	Coverage   Number `json:"coverage"`
}

// JSONBudget is the error budget of the period, in events.
type JSONBudget struct {
	Allowed           Number `json:"allowed"`
	Spent             Number `json:"spent"`
	RemainingRatio    Number `json:"remaining_ratio"`
	ExhaustionSeconds Number `json:"exhaustion_seconds"`
}

// JSONSeverity is the state of one severity.
type JSONSeverity struct {
	Severity  string     `json:"severity"`
	Firing    bool       `json:"firing"`
	BurnRatio Number     `json:"burn_ratio"`
	Pairs     []JSONPair `json:"pairs"`
}

// JSONPair is the state of one pair of windows.
type JSONPair struct {
	Long   string  `json:"long"`
	Short  string  `json:"short"`
	Factor float64 `json:"factor"`
	Firing bool    `json:"firing"`
}

// JSONAlert is an alert that fired from Start to End.
type JSONAlert struct {
	SLO              string            `json:"slo"`
	Labels           map[string]string `json:"labels"` // the group_by labels; nil is written {}
	Severity         string            `json:"severity"`
	Long             string            `json:"long"`  // long window of the pair that fired first
	Short            string            `json:"short"` // its short window
	Began            *time.Time        `json:"began"` // first tick of the run up to Start above the threshold; nil if none
	Start            *time.Time        `json:"start"` // first firing tick
	End              *time.Time        `json:"end"`   // nil while it still fires at the end of the data
	DetectionSeconds Number            `json:"detection_seconds"`
	BudgetSpentRatio Number            `json:"budget_spent_ratio"`
}

// Number is a number that may be undefined, and then is null.
type Number slo.Value

// MarshalJSON writes the shortest text that reads back as the same number.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.Defined || math.IsNaN(n.Float) || math.IsInf(n.Float, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(n.Float)
}

// UnmarshalJSON reads a number or null.
func (n *Number) UnmarshalJSON(text []byte) error {
	*n = Number{}
	if string(text) == "null" {
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return fmt.Errorf("number %s: %w", text, err)
	}
	*n = number(f)
	return nil
}

func number(f float64) Number { return Number(slo.Defined(f)) }

// MarshalJSON writes an object whose keys keep the order of the windows. A period that is as long
// as a window ("3d") is the same window: it is written once.
func (ws JSONWindows) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, w := range ws {
		if w.Key == "" || ws[:i].has(w.Key) {
			continue
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		key, err := json.Marshal(w.Key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(w)
		if err != nil {
			return nil, err
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

func (ws JSONWindows) has(key string) bool {
	for _, w := range ws {
		if w.Key == key {
			return true
		}
	}
	return false
}

// UnmarshalJSON reads the object again, in the order in which it stands there.
func (ws *JSONWindows) UnmarshalJSON(text []byte) error {
	*ws = nil
	in := json.NewDecoder(bytes.NewReader(text))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("windows: want an object, got %.20s", text)
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return fmt.Errorf("windows: %w", err)
		}
		w := JSONWindow{}
		if err := in.Decode(&w); err != nil {
			return fmt.Errorf("window %v: %w", key, err)
		}
		w.Key, _ = key.(string) // a key of an object is always a string
		*ws = append(*ws, w)
	}
	return nil
}

// NewJSON copies a report into what is written of it: one entry for each SLO or group. A grouped
// SLO that has no group yet has none.
func NewJSON(r *Report) JSONReport {
	out := JSONReport{Time: r.Time.UTC(), SLOs: make([]JSONSLO, 0, len(r.SLOs))}
	for i := range r.SLOs {
		if !r.SLOs[i].NoGroup {
			out.SLOs = append(out.SLOs, newJSONSLO(&r.SLOs[i]))
		}
	}
	return out
}

func newJSONSLO(st *slo.Status) JSONSLO {
	o := st.Objective
	out := JSONSLO{
		SLO: o.Name, Service: o.Service, Labels: GroupLabels(st),
		Objective: o.Target.Float(), Period: o.Period.Key(),
		Windows: make(JSONWindows, len(st.Windows)),
		ErrorBudget: JSONBudget{
			Allowed: number(st.Budget.Allowed), Spent: number(st.Budget.Spent),
			RemainingRatio: number(st.Budget.RemainingRatio), ExhaustionSeconds: Number(st.Budget.Exhaustion),
		},
		Alerts: make([]JSONSeverity, len(st.Alerts)),
	}
	if step, ok := st.Step(); ok {
		now := NewJSONStep(step)
		out.BudgetPolicy = &now
	}
	if out.Corrections = NewJSONCorrections(st); len(out.Corrections) > 0 {
		out.Corrected = &JSONCorrected{number(st.TakenTotal), number(st.TakenBad)}
	}
	for i, w := range st.Windows {
		out.Windows[i] = JSONWindow{
			Key: w.Key, Total: number(w.Total), Bad: number(w.Bad),
			ErrorRatio: Number(w.ErrorRatio), BurnRate: Number(w.BurnRate), Coverage: number(w.Coverage),
		}
	}
	for i, a := range st.Alerts {
		pairs := make([]JSONPair, len(a.Pairs))
		for k, p := range a.Pairs {
			pairs[k] = JSONPair{
				Long: slo.FormatDuration(p.Long), Short: slo.FormatDuration(p.Short),
				Factor: p.Factor.Float(), Firing: p.Firing,
			}
		}
		out.Alerts[i] = JSONSeverity{Severity: a.Severity, Firing: a.Firing, BurnRatio: Number(a.BurnRatio), Pairs: pairs}
	}
	return out
}

// GroupLabels are the group_by labels of a status with their values, without the empty ones;
// never nil.
func GroupLabels(st *slo.Status) map[string]string {
	labels := make(map[string]string, len(st.Labels))
	for i, name := range st.Objective.GroupBy {
		if i < len(st.Labels) && st.Labels[i] != "" {
			labels[name] = st.Labels[i]
		}
	}
	return labels
}

// WriteJSON writes reports and alerts as one document on one line.
func WriteJSON(w io.Writer, reports []*Report, alerts []JSONAlert) error {
	doc := JSONDocument{Reports: make([]JSONReport, len(reports)), Alerts: alerts}
	for i, r := range reports {
		doc.Reports[i] = NewJSON(r)
	}
	return doc.Write(w)
}

// Write writes the document on one line. Lists are never null, times are UTC.
func (d JSONDocument) Write(w io.Writer) error {
	if d.Reports == nil {
		d.Reports = []JSONReport{}
	}
	alerts := make([]JSONAlert, len(d.Alerts))
	for i, a := range d.Alerts {
		if a.Labels == nil {
			a.Labels = map[string]string{}
		}
		a.Began, a.Start, a.End = utc(a.Began), utc(a.Start), utc(a.End)
		alerts[i] = a
	}
	d.Alerts = alerts
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return out.Encode(d)
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	in := t.UTC()
	return &in
}
