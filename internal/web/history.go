package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// HistoryQuery asks for the course of one SLO. Spans are (From, To], as everywhere.
type HistoryQuery struct {
	SLO    string
	Groups url.Values    // group_by labels with the values asked for; a history for each group that fits. None: all groups together
	From   time.Time     // zero: the start of the period
	To     time.Time     // zero, or later than the newest tick: the newest tick
	Step   time.Duration // 0: about 240 steps; is rounded up to whole ticks
}

// History is the course of one SLO, of one group of it, or of all its groups together, told from
// the windows themselves: the same counts, the same edges.
//
// The past is known the less finely the older it is: at most 1/129 of its age lies between two
// moments that are known. So every step says what it really spans; where a step that was asked for
// would begin and end at the same known moment it is left out, and its neighbour is longer. The
// steps leave no hole, and the sum of their counts is the count of the whole: over the period it is
// exactly what the period's window says at the same tick.
type History struct {
	SLO       string            `json:"slo"`
	Service   string            `json:"service"`
	Labels    map[string]string `json:"labels"` // the group_by labels; {} for an SLO without groups and for all groups together
	Groups    int               `json:"groups"` // how many budgets are added up here: 1 unless it is all groups together
	Objective float64           `json:"objective"`
	Period    string            `json:"period"` // "30d", "month" …

	At          time.Time `json:"at"`                   // the newest tick: what is told holds for this moment
	From        time.Time `json:"from"`                 // edges of all steps together
	To          time.Time `json:"to"`                   //
	Step        float64   `json:"step_seconds"`         // as asked for, in whole ticks
	LongestStep float64   `json:"longest_step_seconds"` // the longest that there is here

	Budget HistoryBudget `json:"error_budget"`
	Steps  []HistoryStep `json:"steps"` // oldest first

	Alerts      []AlertSpan      `json:"alerts"`      // that fired in (From, To], by their beginning
	Watched     []TimeSpan       `json:"watched"`     // when somebody looked at alerts; at other times nobody knows
	Corrections []CorrectionSpan `json:"corrections"` // that apply in (From, To], by their beginning
}

// HistoryBudget is the error budget that the steps' remaining_ratio tells the course of.
type HistoryBudget struct {
	// Course says what remaining_ratio of a step means.
	//
	// "window": the burn-down of the present window. A rolling period forgets what is older than
	// itself, so the budget as it was a week ago cannot be told any more. What is told is how the
	// present window spent the budget that it allows as a whole: 1 − bad since From / allowed.
	//
	// "calendar": as it was then. The budget of a calendar period begins anew at From, so each
	// moment is 1 − bad since From / ((1 − objective) · total since From).
	//
	// Both begin at 1 and end with the present remaining_ratio.
	Course    string       `json:"course"`
	From      time.Time    `json:"from"`     // start of the period, in (From, At]
	Total     sinks.Number `json:"total"`    // in the period, as the period's window has it
	Bad       sinks.Number `json:"bad"`      //
	Coverage  sinks.Number `json:"coverage"` //
	Allowed   sinks.Number `json:"allowed"`  // (1 − objective) · total
	Remaining sinks.Number `json:"remaining_ratio"`
}

// The courses of HistoryBudget.
const (
	CourseWindow   = "window"
	CourseCalendar = "calendar"
)

// HistoryStep is what happened in (From, To].
type HistoryStep struct {
	From       time.Time    `json:"from"`
	To         time.Time    `json:"to"`
	Total      sinks.Number `json:"total"`       // events (slices, when budgeting by slices), without what corrections take out
	Bad        sinks.Number `json:"bad"`         //
	ErrorRatio sinks.Number `json:"error_ratio"` // null without events
	BurnRate   sinks.Number `json:"burn_rate"`   // null while nothing is covered; 0 in covered silence
	Coverage   sinks.Number `json:"coverage"`    // share of the step that the source answered for, 0 to 1: below 1 data is missing
	// Remaining is the budget left at To, see HistoryBudget.Course; null before the period.
	Remaining sinks.Number `json:"remaining_ratio"`
}

// TimeSpan is (From, To].
type TimeSpan struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// AlertSpan is a severity that fired. It fired at From and at every tick somebody looked at, up to
// the tick before To.
type AlertSpan struct {
	Labels   map[string]string `json:"labels"` // of the group
	Severity string            `json:"severity"`
	From     time.Time         `json:"from"` // first firing tick
	To       *time.Time        `json:"to"`   // first tick at which it no longer fired; null while it fires
}

// CorrectionSpan is a correction where it applies.
type CorrectionSpan struct {
	Name               string     `json:"name"`
	Effect             slo.Effect `json:"effect"`
	From               time.Time  `json:"from"`
	To                 time.Time  `json:"to"` // may lie ahead
	ApproximateSeconds float64    `json:"approximate_seconds"`
}

// Limits of an answer: as many steps as Prometheus gives points, and no longer a look than the loop
// does not mind.
const (
	mostSteps = 11_000
	mostReads = 110_000 // steps of all groups
)

// patience is how long an answer waits for the loop.
const patience = 5 * time.Second

// History asks the engine. An answer waits for the turn that is under way, never for a source, and
// for nothing longer than ctx lasts. What cannot be answered is a *refusal with the status that
// says so.
func (s *Server) History(ctx context.Context, q HistoryQuery) ([]History, error) {
	report := s.report.Load()
	if report == nil {
		return nil, refuse(http.StatusServiceUnavailable, "%s", s.waiting())
	}
	if s.look == nil {
		return nil, refuse(http.StatusServiceUnavailable, "history: this yoyu keeps no windows of its own")
	}
	picked, no := selection{slos: []string{q.SLO}, groups: q.Groups}.from(report)
	if no != nil {
		return nil, no
	}
	st := &picked[0]
	o := st.Objective
	from, to := q.From, q.To
	if from.IsZero() {
		from = o.Period.Span(st.At).From
	}
	if to.IsZero() || to.After(st.At) {
		to = st.At
	}
	if !from.Before(to) {
		return nil, refuse(http.StatusBadRequest, "from %s: must be before to, and before the newest tick %s",
			from.UTC().Format(time.RFC3339), st.At.UTC().Format(time.RFC3339))
	}
	if q.Step < 0 {
		return nil, refuse(http.StatusBadRequest, "step %s: must be positive", q.Step)
	}
	step := cmp.Or(q.Step, stepFor(to.Sub(from)))
	wanted := []slo.CourseQuery{{Name: o.Name, Span: slo.Span{From: q.From, To: q.To}, Step: step}}
	rows := len(picked)
	if len(q.Groups) > 0 {
		wanted = wanted[:0]
		for i := range picked {
			wanted = append(wanted, slo.CourseQuery{
				Name: o.Name, Groups: [][]string{picked[i].Labels}, Span: slo.Span{From: q.From, To: q.To}, Step: step,
			})
		}
	}
	if n := int64(to.Sub(from)/step) + 1; n > mostSteps || n*int64(rows) > mostReads {
		return nil, refuse(http.StatusBadRequest, "step %s: makes %d steps of %d groups, more than %d, or %d over all groups: ask for longer steps, a shorter span or fewer groups",
			slo.FormatDuration(step), n, rows, mostSteps, mostReads)
	}

	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	var out []History
	var oldest time.Time
	err := s.look(ctx, func(e *slo.Engine) {
		oldest = e.Oldest(o.Name)
		for _, q := range wanted {
			if c := e.Course(q); c != nil {
				out = append(out, newHistory(c, q.Groups))
			}
		}
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, refuse(http.StatusServiceUnavailable, "history: the loop is busy or a configuration is being read: ask again in a moment")
	case err != nil:
		return nil, err
	case len(out) == 0 && !to.After(oldest):
		return nil, refuse(http.StatusBadRequest, "to %s: nothing is kept of the time before %s", to.UTC().Format(time.RFC3339), oldest.Format(time.RFC3339))
	case len(out) == 0: // gone since the report
		return nil, refuse(http.StatusNotFound, "slo %q: unknown, or its group is", q.SLO)
	}
	return out, nil
}

// stepFor is a step of a plain length that makes at most about 240 of a span.
func stepFor(span time.Duration) time.Duration {
	for _, step := range []time.Duration{
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	} {
		if span <= 240*step {
			return step
		}
	}
	return slo.Day
}

func newHistory(c *slo.Course, groups [][]string) History {
	o := c.Objective
	h := History{
		SLO: o.Name, Service: o.Service, Labels: map[string]string{}, Groups: c.Groups,
		Objective: o.Target.Float(), Period: o.Period.Key(),
		At: c.At, From: c.Span.From, To: c.Span.To, Step: c.Step.Seconds(),
		Budget: HistoryBudget{
			Course: CourseWindow, From: c.Period.From, Total: number(c.Total), Bad: number(c.Bad), Coverage: number(c.Coverage),
			Allowed: number(c.Allowed), Remaining: number(c.Remaining),
		},
		Steps: make([]HistoryStep, len(c.Slots)), Alerts: make([]AlertSpan, len(c.Fired)),
		Watched: make([]TimeSpan, len(c.Watched)), Corrections: make([]CorrectionSpan, len(c.Corrections)),
	}
	if len(groups) == 1 {
		h.Labels = labelsOf(o, groups[0])
	}
	if o.Period.Calendar != slo.Rolling {
		h.Budget.Course = CourseCalendar
	}
	for i, s := range c.Slots {
		h.LongestStep = max(h.LongestStep, s.Duration().Seconds())
		h.Steps[i] = HistoryStep{
			From: s.From, To: s.To, Total: number(s.Total), Bad: number(s.Bad), ErrorRatio: sinks.Number(s.ErrorRatio),
			BurnRate: sinks.Number(s.BurnRate), Coverage: number(s.Coverage), Remaining: sinks.Number(s.Remaining),
		}
	}
	for i, f := range c.Fired {
		h.Alerts[i] = AlertSpan{Labels: labelsOf(o, f.Labels), Severity: f.Severity, From: f.From}
		if !f.To.IsZero() {
			h.Alerts[i].To = utc(f.To)
		}
	}
	for i, s := range c.Watched {
		h.Watched[i] = TimeSpan(s)
	}
	for i, s := range c.Corrections {
		h.Corrections[i] = CorrectionSpan{s.Name, s.Effect, s.From, s.To, s.Approximate.Seconds()}
	}
	return h
}

func labelsOf(o *slo.Objective, values []string) map[string]string {
	return sinks.GroupLabels(&slo.Status{Objective: o, Labels: values})
}

// history answers /api/v1/slos/{slo}/history.
func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	q := HistoryQuery{SLO: r.PathValue("slo"), Groups: url.Values{}}
	for name, values := range query {
		var err error
		switch name {
		case "from":
			q.From, err = momentOf(values)
		case "to":
			q.To, err = momentOf(values)
		case "step":
			q.Step, err = stepOf(values)
		case "slo", "service":
			err = errors.New("the address itself names the SLO")
		default:
			q.Groups[name] = values
		}
		if err != nil {
			s.refuse(w, refuse(http.StatusBadRequest, "parameter %q: %v", name, err))
			return
		}
	}
	all, err := s.History(r.Context(), q)
	if no := (*refusal)(nil); errors.As(err, &no) {
		s.refuse(w, no)
		return
	}
	if err != nil {
		s.broken(w, r, err)
		return
	}
	s.writeJSON(w, r, struct {
		Histories []History `json:"histories"`
	}{all})
}

// momentOf reads RFC 3339 or Unix seconds.
func momentOf(values []string) (time.Time, error) {
	if len(values) > 1 {
		return time.Time{}, errors.New("given more than once")
	}
	if seconds, err := strconv.ParseFloat(values[0], 64); err == nil && math.Abs(seconds) < 1e11 {
		return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, values[0])
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither RFC 3339 (2026-01-02T15:04:05Z) nor Unix seconds", values[0])
	}
	return t.UTC(), nil
}

// stepOf reads a duration, or seconds.
func stepOf(values []string) (time.Duration, error) {
	if len(values) > 1 {
		return 0, errors.New("given more than once")
	}
	step := time.Duration(0)
	if seconds, err := strconv.ParseFloat(values[0], 64); err == nil && seconds < 1e9 {
		step = time.Duration(seconds * float64(time.Second))
	} else if d, err := model.ParseDuration(values[0]); err == nil {
		step = time.Duration(d)
	}
	if step < time.Second {
		return 0, fmt.Errorf("%q is neither a duration of a second or more (5m, 1h, 1d) nor its seconds", values[0])
	}
	return step, nil
}

// Sparks are the courses of all budgets over their periods, small enough for thousands of rows.
type Sparks struct {
	At     time.Time // when they were drawn
	points map[spark][]float32
}

// spark names a budget.
type spark struct{ slo, group string }

// Points are remaining ratios at the ends of SparkSteps steps of equal length over the period, as
// HistoryStep.Remaining tells them; the last is the present one, of st itself. nil for a budget that
// was not there yet, or of which nothing was answered in its period.
func (k *Sparks) Points(st *slo.Status) []float32 {
	if k == nil {
		return nil
	}
	points := slices.Clone(k.points[spark{st.Objective.Name, strings.Join(st.Labels, "\xff")}])
	if n := len(points); n > 0 {
		points[n-1] = float32(st.Budget.RemainingRatio)
	}
	return points
}

// SparkSteps is how many points a spark has.
const SparkSteps = 32

const (
	sparksLast     = time.Minute            // how long sparks are good enough
	sparksPatience = 300 * time.Millisecond // how long the one who has them drawn waits for the loop
	sparksAtOnce   = 1000                   // rows in one look: about a millisecond
)

// Sparks are the newest that were drawn; nil before the first. When they are older than a minute,
// the one who asks has them drawn anew, and waits for that a little; all others never wait.
func (s *Server) Sparks(ctx context.Context) *Sparks {
	have := s.sparks.Load()
	if s.look == nil || have != nil && time.Since(have.At) < sparksLast || !s.drawing.TryLock() {
		return have
	}
	defer s.drawing.Unlock()
	ctx, stop := context.WithTimeout(ctx, sparksPatience)
	defer stop()
	drawn := &Sparks{At: time.Now(), points: map[spark][]float32{}}
	for first := 0; first >= 0; {
		var some []slo.Spark
		err := s.look(ctx, func(e *slo.Engine) {
			from := first
			if some, first = e.Sparks(from, sparksAtOnce, SparkSteps); first == from {
				first = -1
			}
		})
		if err != nil {
			return have
		}
		for _, one := range some {
			drawn.points[spark{one.Name, one.Group}] = one.Points
		}
	}
	s.sparks.Store(drawn)
	return drawn
}

// GroupShares say which groups of an SLO burn its budget.
type GroupShares struct {
	SLO    string       `json:"slo"`
	Time   time.Time    `json:"time"`   // of the report
	Period string       `json:"period"` //
	Total  sinks.Number `json:"total"`  // of all groups, over the period
	Bad    sinks.Number `json:"bad"`
	Groups []GroupShare `json:"groups"` // by bad events, the most first
	Rest   *GroupShare  `json:"rest"`   // those beyond the number asked for, together; null without
}

// GroupShare is one group's part of what is bad.
type GroupShare struct {
	Labels     map[string]string `json:"labels"` // {} of the rest
	Groups     int               `json:"groups"` // 1; of the rest how many
	Total      sinks.Number      `json:"total"`
	Bad        sinks.Number      `json:"bad"`
	BadShare   sinks.Number      `json:"bad_share"` // of the bad events of all groups, 0 to 1; null when there are none
	TotalShare sinks.Number      `json:"total_share"`
	ErrorRatio sinks.Number      `json:"error_ratio"`
	Remaining  sinks.Number      `json:"remaining_ratio"` // of the group's own budget; null of the rest
}

// TopGroups are the n groups of an SLO with the most bad events over the period; nil for an SLO
// that the report does not know, and no groups for one without.
func TopGroups(r *sinks.Report, name string, n int) *GroupShares {
	var rows []*slo.Status
	var out *GroupShares
	total, bad := 0.0, 0.0
	for i := range r.SLOs {
		st := &r.SLOs[i]
		if st.Objective.Name != name {
			continue
		}
		if out == nil {
			out = &GroupShares{SLO: name, Time: r.Time.UTC(), Period: st.Objective.Period.Key(), Groups: []GroupShare{}}
		}
		whole := periodOf(st)
		total, bad = total+whole.Total, bad+whole.Bad
		if len(st.Objective.GroupBy) > 0 && !st.NoGroup {
			rows = append(rows, st)
		}
	}
	if out == nil {
		return nil
	}
	out.Total, out.Bad = number(total), number(bad)
	slices.SortStableFunc(rows, func(a, b *slo.Status) int {
		x, y := periodOf(a), periodOf(b)
		return cmp.Or(cmp.Compare(y.Bad, x.Bad), cmp.Compare(y.Total, x.Total))
	})
	share := func(groups int, part, partBad float64) GroupShare {
		return GroupShare{
			Labels: map[string]string{}, Groups: groups, Total: number(part), Bad: number(partBad),
			BadShare: quotient(partBad, bad), TotalShare: quotient(part, total), ErrorRatio: quotient(partBad, part),
		}
	}
	n = max(n, 0)
	for _, st := range rows[:min(n, len(rows))] {
		whole := periodOf(st)
		g := share(1, whole.Total, whole.Bad)
		g.Labels, g.ErrorRatio, g.Remaining = sinks.GroupLabels(st), sinks.Number(whole.ErrorRatio), number(st.Budget.RemainingRatio)
		out.Groups = append(out.Groups, g)
	}
	if len(rows) > n {
		part, partBad := 0.0, 0.0
		for _, st := range rows[n:] {
			whole := periodOf(st)
			part, partBad = part+whole.Total, partBad+whole.Bad
		}
		rest := share(len(rows)-n, part, partBad)
		out.Rest = &rest
	}
	return out
}

// quotient is undefined over 0.
func quotient(a, b float64) sinks.Number {
	if b == 0 {
		return sinks.Number{}
	}
	return number(a / b)
}

// topGroups is how many groups are told of unless a number is asked for.
const topGroups = 10

// groups answers /api/v1/slos/{slo}/groups.
func (s *Server) groups(w http.ResponseWriter, r *http.Request) {
	report, name, n := s.report.Load(), r.PathValue("slo"), topGroups
	if report == nil {
		s.refuse(w, refuse(http.StatusServiceUnavailable, "%s", s.waiting()))
		return
	}
	for param, values := range r.URL.Query() {
		var err error
		if param != "top" {
			s.refuse(w, refuse(http.StatusBadRequest, "parameter %q: unknown%s", param, hint(param, []string{"top"})))
			return
		}
		if n, err = strconv.Atoi(values[0]); err != nil || n < 1 || len(values) > 1 {
			s.refuse(w, refuse(http.StatusBadRequest, "parameter %q: %q is no number of groups, 1 or more", param, values))
			return
		}
	}
	out := TopGroups(report, name, n)
	if out == nil {
		_, no := selection{slos: []string{name}}.from(report)
		s.refuse(w, no)
		return
	}
	s.writeJSON(w, r, out)
}
