package backtest

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// Alert is one pair of windows of one severity that fired without a break.
type Alert struct {
	SLO, Severity string
	Labels        map[string]string // the group
	Long, Short   time.Duration
	Began         time.Time // first tick of the run up to Start that burnt faster than the factor itself; zero: Start's own tick did not
	Start         time.Time // the tick at which it fired first
	End           time.Time // the first tick at which it fired no more; zero: it fires at the end of the data
	Spent         slo.Value // share of the period's budget that was gone at Start; undefined without events
}

// Detection is how long after the trouble began the alert fired, in seconds: 0 when the first bad
// tick fires it, undefined when no run of bad ticks led to it.
func (a Alert) Detection() slo.Value {
	if a.Began.IsZero() {
		return slo.Value{}
	}
	return slo.Defined(a.Start.Sub(a.Began).Seconds())
}

// alertLog follows every pair of every objective and group through time.
type alertLog struct {
	tick time.Duration
	rows map[string]*alertRow
	all  []*Alert
}

// alertRow is what one objective or group of it does.
type alertRow struct {
	own   time.Duration // what a tick's own error ratio is taken over
	pairs []alertPair   // in the order of the status
	seen  time.Time
}

// alertPair is one pair of windows at work.
type alertPair struct {
	threshold *big.Rat // factor × (1 − objective)
	near      float64  // the same, rounded
	since     time.Time
	open      *Alert
}

func newAlertLog(tick time.Duration) *alertLog {
	return &alertLog{tick: tick, rows: map[string]*alertRow{}}
}

// see takes in one tick's report.
func (l *alertLog) see(e *slo.Engine, r *sinks.Report) {
	var key strings.Builder
	for i := range r.SLOs {
		s := &r.SLOs[i]
		if s.NoGroup {
			continue
		}
		key.Reset()
		key.WriteString(s.Objective.Name)
		for _, value := range s.Labels {
			key.WriteString("\xff" + value)
		}
		row := l.rows[key.String()]
		if row == nil {
			row = l.row(s)
			l.rows[key.String()] = row
		}
		row.seen = r.Time
		total, bad := e.Count(s.Objective.Name, s.Labels, slo.Span{From: s.At.Add(-row.own), To: s.At})
		k := 0
		for j := range s.Alerts {
			for _, p := range s.Alerts[j].Pairs {
				l.follow(&row.pairs[k], s, s.Alerts[j].Severity, p, total, bad)
				k++
			}
		}
	}
	for key, row := range l.rows { // a group that the engine has forgotten fires no more
		if row.seen.Equal(r.Time) {
			continue
		}
		for k := range row.pairs {
			if open := row.pairs[k].open; open != nil {
				open.End = r.Time
			}
		}
		delete(l.rows, key)
	}
}

// row begins to follow an objective or group. The budget of slices learns of a slice at its end, so
// that its ticks are judged by the newest slice.
func (l *alertLog) row(s *slo.Status) *alertRow {
	row := &alertRow{own: l.tick}
	if b := s.Objective.Budgeting; b.Slices() {
		row.own = max(row.own, b.Slice)
	}
	budget := budgetOf(s.Objective.Target)
	for _, a := range s.Alerts {
		for _, p := range a.Pairs {
			num, den := p.Factor.Fraction()
			threshold := new(big.Rat).SetFrac(new(big.Int).SetUint64(num), new(big.Int).SetUint64(den))
			threshold.Mul(threshold, budget)
			near, _ := threshold.Float64()
			row.pairs = append(row.pairs, alertPair{threshold: threshold, near: near})
		}
	}
	return row
}

// budgetOf is exactly 1 − target.
func budgetOf(target slo.Share) *big.Rat {
	percent, ok := new(big.Rat).SetString(target.Rest().Percent())
	if !ok {
		return new(big.Rat).SetFloat64(target.Rest().Float())
	}
	return percent.Quo(percent, big.NewRat(100, 1))
}

// exceeds reports bad > threshold·total, exactly: a tick that burns at the factor itself is not
// above it.
func (p *alertPair) exceeds(bad, total float64) bool {
	if total <= 0 || bad <= 0 {
		return false
	}
	limit := p.near * total
	if diff := bad - limit; math.Abs(diff) > 1e-9*max(bad, limit) {
		return diff > 0
	}
	exact := new(big.Rat).SetFloat64(total)
	return new(big.Rat).SetFloat64(bad).Cmp(exact.Mul(exact, p.threshold)) > 0
}

func (l *alertLog) follow(p *alertPair, s *slo.Status, severity string, now slo.PairStatus, total, bad float64) {
	switch {
	case !p.exceeds(bad, total):
		p.since = time.Time{}
	case p.since.IsZero():
		p.since = s.At
	}
	switch {
	case now.Firing && p.open == nil:
		a := &Alert{
			SLO: s.Objective.Name, Severity: severity, Labels: sinks.GroupLabels(s),
			Long: now.Long, Short: now.Short, Began: p.since, Start: s.At,
		}
		if s.Budget.Allowed > 0 {
			a.Spent = slo.Defined(s.Budget.Spent / s.Budget.Allowed)
		}
		p.open = a
		l.all = append(l.all, a)
	case !now.Firing && p.open != nil:
		p.open.End = s.At
		p.open = nil
	}
}

// alerts are all of them by start, then objective, severity and window.
func (l *alertLog) alerts() []Alert {
	out := make([]Alert, len(l.all))
	for i, a := range l.all {
		out[i] = *a
	}
	slices.SortStableFunc(out, func(a, b Alert) int {
		return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.SLO, b.SLO),
			strings.Compare(a.Severity, b.Severity), cmp.Compare(a.Long, b.Long))
	})
	return out
}
