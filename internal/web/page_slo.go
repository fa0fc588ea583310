package web

import (
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

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// sloPage is all about one SLO: about one budget of it, or about all its groups together.
type sloPage struct {
	Name, Group       string
	State             state
	Word              string
	Service, Team     string
	Labels            []pair // the SLO's own, but its team
	Objective, Period string
	Counts            string // what an event of the budget is
	Runbook           string
	All               string // to the page of all groups; "" unless this is one of them
	Explain           string
	JSON              string // the numbers of the report
	Notes             []note

	Row     *budgetRow // nil for all groups together
	Allowed num
	Spent   num
	Gate    gateView

	Windows []windowRow
	Alerts  []alertView
	Chart   chart
	Past    *past // nil when nobody keeps a history

	Groups    []budgetRow // of all groups together: each
	MoreGroup int         // how many are not shown
	Shares    []shareRow
	ShareBad  num

	Workloads []workloadView
}

// pair is a name with its value.
type pair struct{ Name, Value string }

// gateView is what the budget says to a risky change.
type gateView struct {
	Closed bool
	Reason string
}

// windowRow is what happened in one window.
type windowRow struct {
	burnCell
	Period               bool
	Length               string
	Total, Bad           num
	ErrorRatio, Coverage num
	Missing              bool
	Gauge                gauge
}

// gauge shows a burn rate beside the steady pace and an alert's factor, on a logarithmic scale from
// 0.01 to 1000. All lengths are of 100.
type gauge struct{ Burn, Pace, Factor string }

// alertView is one severity.
type alertView struct {
	Severity string
	Firing   bool
	Since    time.Time
	Ratio    num
	Is       num // 0 or 1
	Pairs    []pairView
}

// pairView is one pair of windows.
type pairView struct {
	Long, Short, Factor string
	BurnLong, BurnShort num
	State               string // in words
	Firing              bool
	Detection           string // how long until it fires at the present error ratio; "" when it does
}

// shareRow is one group's part of what is bad.
type shareRow struct {
	Group, Link string
	Rest        int // groups that this row stands for; 0 for a group
	Bad         num
	Share       num
	Bar         string // length of 100
	Traffic     num    // share of all events
}

// chart is what a script needs to draw the course of the budget.
type chart struct {
	History string // address, without the times
	Seconds string // length of the period so far
	Factors string // JSON: windows with their factors
}

// chartFactor is the factor of an alert, a line across a chart.
type chartFactor struct {
	Label  string  `json:"label"`
	Factor float64 `json:"factor"`
}

// past is what a history says without a script.
type past struct {
	Course  sketch
	From    time.Time
	To      time.Time
	Fired   []firedRow
	Watched bool      // somebody looked at alerts all the time
	Since   time.Time // since when somebody looked
}

// firedRow is an alert that fired.
type firedRow struct {
	Severity, Group string
	From            time.Time
	To              *time.Time // nil while it fires
	Lasted          string
}

// shownOfOne is how many groups the page of an SLO lists, and shownShares how many of them have a
// row among the shares.
const (
	shownOfOne  = 300
	shownShares = 8
)

func (s *Server) sloPage(w http.ResponseWriter, r *http.Request) {
	b := s.board()
	if b.report == nil {
		s.refusePage(w, r, "slo", refuse(http.StatusServiceUnavailable, "%s", s.waiting()))
		return
	}
	sel := selectionOf(r.URL.Query())
	if len(sel.slos) != 1 {
		s.refusePage(w, r, "slo", refuse(http.StatusBadRequest, "name one SLO, as in /slo?slo=NAME"))
		return
	}
	picked, no := sel.from(b.report)
	if no == nil && len(picked) == 0 {
		no = refuse(http.StatusNotFound, "no SLO is called %q and belongs to service %q", sel.slos, sel.services)
	}
	if no != nil {
		s.refusePage(w, r, "slo", no)
		return
	}
	page := s.newSLOPage(r.Context(), b, picked, sel)
	s.show(w, r, b, "", func() (*rendered, error) {
		v := s.screen("slo", strings.TrimSpace(page.Name+" "+page.Group), b, page)
		v.Charts = s.look != nil
		return s.render(http.StatusOK, "slo", v)
	})
}

func (s *Server) newSLOPage(ctx context.Context, b *board, picked []slo.Status, sel selection) sloPage {
	ranks := make([]rank, len(picked))
	for i := range picked {
		ranks[i] = newRank(&picked[i])
	}
	slices.SortStableFunc(ranks, byUrgency)
	worst := ranks[0]
	st, o := worst.st, worst.st.Objective
	sparks := s.Sparks(ctx)

	alone := url.Values{"slo": {o.Name}}
	for name, values := range sel.groups {
		alone[name] = values
	}
	p := sloPage{
		Name: oneLine(o.Name), State: worst.state, Word: worst.state.Word(), Service: oneLine(o.Service), Team: oneLine(o.Labels["team"]),
		Objective: o.Target.Percent() + "%", Period: o.Period.Key(), Counts: counted(o), Runbook: safeLink(o.RunbookURL),
		Explain: "explain?" + alone.Encode(), JSON: "api/v1/slos?" + alone.Encode(),
	}
	for name, value := range o.Labels {
		if name != "team" && value != "" {
			p.Labels = append(p.Labels, pair{oneLine(name), oneLine(value)})
		}
	}
	slices.SortFunc(p.Labels, func(a, b pair) int { return strings.Compare(a.Name, b.Name) })
	if len(picked) == 1 {
		row := worst.row(sparks, true)
		p.Row, p.Group, p.Word, p.Notes = &row, row.Group, row.Word, row.Notes
		p.Allowed = newNum(slo.Defined(st.Budget.Allowed), "slo_error_budget_events", tally1)
		p.Spent = newNum(slo.Defined(st.Budget.Spent), "spent", tally1)
		gate := st.Gate()
		p.Gate = gateView{gate.Closed, reasonOf(st, gate)}
		p.Windows, p.Alerts = windowRows(st), alertViews(st)
	} else {
		for _, k := range ranks[:min(len(ranks), shownOfOne)] {
			p.Groups = append(p.Groups, k.row(sparks, false))
		}
		p.MoreGroup = len(ranks) - len(p.Groups)
	}
	if len(o.GroupBy) > 0 {
		if len(sel.groups) > 0 {
			p.All = "slo?slo=" + url.QueryEscape(o.Name)
		}
		p.shares(b.report, o)
	}
	p.chart(st, o, alone)
	p.past(ctx, s, o, sel.groups)
	p.Workloads = b.workloads(func(services []string) bool { return slices.Contains(services, o.Service) })
	return p
}

// tally1 is a count of events: whole as far as it is, else with the digits that matter.
func tally1(f float64) string {
	if f == math.Trunc(f) || math.Abs(f) >= 1000 {
		return grouped(strconv.FormatFloat(math.Round(f), 'f', 0, 64))
	}
	return trimmed(f, 1)
}

// ratio is a share of events in percent, with as many digits as matter.
func ratio(f float64) string {
	switch p := f * 100; {
	case p == 0 || p >= 10:
		return trimmed(p, 1) + "%"
	case p < 0.0001:
		return "<0.0001%"
	default:
		return strconv.FormatFloat(p, 'g', 3, 64) + "%"
	}
}

func windowRows(st *slo.Status) []windowRow {
	out := make([]windowRow, 0, len(st.Windows))
	for i := range st.Windows {
		w := st.Windows[i]
		series := w.Key
		if w.IsPeriod {
			series = "period"
		}
		row := windowRow{
			burnCell: newBurnCell(st, w, series), Period: w.IsPeriod,
			Total: newNum(slo.Defined(w.Total), "total", tally1).at(series), Bad: newNum(slo.Defined(w.Bad), "bad", tally1).at(series),
			ErrorRatio: newNum(w.ErrorRatio, "slo_error_ratio", ratio).at(series),
			Coverage:   newNum(slo.Defined(w.Coverage), "slo_window_coverage_ratio", percent).at(series), Missing: w.Coverage < 0.9995,
		}
		if w.BurnRate.Defined {
			row.Gauge.Burn = drawn(logarithmic(w.BurnRate.Float))
		}
		row.Gauge.Pace = drawn(logarithmic(1))
		if factor, ok := factorOf(st, w.Length); ok && !w.IsPeriod {
			row.Gauge.Factor = drawn(logarithmic(factor.Float()))
		} else {
			row.Factor = ""
		}
		out = append(out, row)
	}
	return out
}

// logarithmic is where a burn rate stands on a gauge, 0 to 100.
func logarithmic(burn float64) float64 {
	if burn <= 0.01 {
		return 0
	}
	return min(100, (math.Log10(burn)+2)/5*100)
}

func alertViews(st *slo.Status) []alertView {
	var out []alertView
	for i := range st.Alerts {
		a := &st.Alerts[i]
		is := 0.0
		if a.Firing {
			is = 1
		}
		v := alertView{
			Severity: oneLine(a.Severity), Firing: a.Firing, Since: a.Since,
			Ratio: newNum(a.BurnRatio, "slo_alert_burn_ratio", rate).with("severity", a.Severity),
			Is: newNum(slo.Defined(is), "slo_alert_firing", func(f float64) string {
				if f > 0 {
					return "firing"
				}
				return "quiet"
			}).with("severity", a.Severity),
		}
		for _, p := range a.Pairs {
			long, _ := windowOf(st, p.Long)
			short, _ := windowOf(st, p.Short)
			view := pairView{
				Long: slo.FormatDuration(p.Long), Short: slo.FormatDuration(p.Short), Factor: p.Factor.String(),
				BurnLong:  newNum(long.BurnRate, "slo_burn_rate", rate).at(slo.FormatDuration(p.Long)),
				BurnShort: newNum(short.BurnRate, "slo_burn_rate", rate).at(slo.FormatDuration(p.Short)),
				State:     stateOf(p.Firing, p.Held), Firing: p.Firing,
			}
			if !p.Firing {
				view.Detection = soon(detection(st, &p))
			}
			v.Pairs = append(v.Pairs, view)
		}
		out = append(out, v)
	}
	return out
}

// soon says when a pair that is quiet would fire.
func soon(d step) string {
	switch {
	case d.Value.Defined:
		return "would fire after " + about(time.Duration(d.Value.Float*float64(time.Second))) + " of the present error ratio"
	case strings.HasPrefix(d.Note, "never"):
		return "never at the present error ratio"
	}
	return ""
}

// about is a length of time in one or two units.
func about(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < slo.Day:
		if m := int(d.Minutes()) % 60; m > 0 && d < 10*time.Hour {
			return fmt.Sprintf("%d h %d min", int(d.Hours()), m)
		}
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	if h := int(d.Hours()) % 24; h > 0 && d < 10*slo.Day {
		return fmt.Sprintf("%d d %d h", int(d.Hours())/24, h)
	}
	return fmt.Sprintf("%d d", int(d.Hours())/24)
}

func (p *sloPage) shares(r *sinks.Report, o *slo.Objective) {
	top := TopGroups(r, o.Name, shownShares)
	if top == nil || !top.Bad.Defined || top.Bad.Float == 0 {
		return
	}
	p.ShareBad = newNum(slo.Value(top.Bad), "", tally1)
	groups := top.Groups
	if top.Rest != nil {
		groups = append(slices.Clone(groups), *top.Rest)
	}
	for i, g := range groups {
		row := shareRow{
			Bad: newNum(slo.Value(g.Bad), "bad", tally1).at("period"), Bar: "0",
			Share: newNum(slo.Value(g.BadShare), "bad_share", ratio), Traffic: newNum(slo.Value(g.TotalShare), "total_share", ratio),
		}
		if g.BadShare.Defined {
			row.Bar = drawn(100 * g.BadShare.Float)
		}
		if i == len(top.Groups) {
			row.Rest, row.Group = g.Groups, strconv.Itoa(g.Groups)+" more"
		} else {
			q := url.Values{"slo": {o.Name}}
			var parts []string
			for _, name := range o.GroupBy {
				parts = append(parts, name+"="+strconv.Quote(g.Labels[name]))
				q.Set(name, g.Labels[name])
			}
			row.Group, row.Link = strings.Join(parts, " "), "slo?"+q.Encode()
		}
		p.Shares = append(p.Shares, row)
	}
}

// chart says where a script finds what it draws.
func (p *sloPage) chart(st *slo.Status, o *slo.Objective, alone url.Values) {
	q := url.Values{}
	for name, values := range alone {
		if name != "slo" {
			q[name] = values
		}
	}
	p.Chart.History = "api/v1/slos/" + url.PathEscape(o.Name) + "/history?" + q.Encode()
	p.Chart.Seconds = plain(o.Period.Span(st.At).Duration().Seconds())
	factors := []chartFactor{}
	for _, a := range st.Alerts {
		for _, pair := range a.Pairs {
			factors = append(factors, chartFactor{a.Severity + " " + slo.FormatDuration(pair.Long), pair.Factor.Float()})
		}
	}
	p.Chart.Factors = attribute(factors)
}

// past adds what the history says.
func (p *sloPage) past(ctx context.Context, s *Server, o *slo.Objective, groups url.Values) {
	all, err := s.History(ctx, HistoryQuery{SLO: o.Name, Groups: groups})
	if err != nil {
		if no := (*refusal)(nil); !errors.As(err, &no) {
			s.log.Warn("web: no history on the page", "slo", o.Name, "error", err)
		}
		return
	}
	if len(all) == 0 || len(all[0].Steps) == 0 {
		return
	}
	h := all[0]
	p.Past = &past{From: h.From, To: h.To, Course: newSketch(courseOf(h), 600, 120)}
	for _, a := range h.Alerts {
		row := firedRow{Severity: oneLine(a.Severity), From: a.From, To: a.To, Lasted: "now"}
		for _, name := range o.GroupBy {
			if value, ok := a.Labels[name]; ok && len(groups) == 0 {
				row.Group = strings.TrimSpace(row.Group + " " + name + "=" + strconv.Quote(value))
			}
		}
		if a.To != nil {
			row.Lasted = about(a.To.Sub(a.From))
		}
		p.Past.Fired = append(p.Past.Fired, row)
	}
	slices.Reverse(p.Past.Fired) // the newest first
	if len(h.Watched) > 0 {
		p.Past.Watched = len(h.Watched) == 1 && !h.Watched[0].From.After(h.From)
		p.Past.Since = h.Watched[0].From
	}
}

// courseOf are the remaining ratios of a history at equal distances.
func courseOf(h History) []float32 {
	const points = 120
	out := make([]float32, points)
	span := h.To.Sub(h.From)
	at := 0
	for i := range out {
		t := h.From.Add(time.Duration(float64(span) * float64(i+1) / points))
		for at < len(h.Steps)-1 && h.Steps[at].To.Before(t) {
			at++
		}
		out[i] = float32(math.NaN())
		if step := h.Steps[at]; step.Remaining.Defined && !(step.Coverage.Defined && step.Coverage.Float == 0) {
			out[i] = float32(step.Remaining.Float)
		}
	}
	return out
}
