package web

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// board is a report in the order of urgency. Nobody changes it.
type board struct {
	report   *sinks.Report // nil before the first
	blocks   []block       // the most urgent first
	counts   [isUnknown + 1]int
	worst    state
	services []string         // sorted
	teams    []string         // sorted, without ""
	states   map[string]state // the worst, by service
	trouble  []string         // what of the daemon does not work, as it was at the report
	words    func() [][]string
	kept     kept
}

// block is one SLO with its budgets, the most urgent first: one, or one of each group.
type block struct {
	o    *slo.Objective
	rows []rank
}

// rank is where a budget stands among others.
type rank struct {
	st        *slo.Status
	state     state
	remaining float64
	burning   float64 // burn rate of the last hour
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

// Class is the state as a class of the style sheet, the name of an icon, and in an address.
func (s state) Class() string { return states[s].Class }

// low is the share of the budget below which it is called low.
const low = 0.25

// board is that of the newest report, made once for each.
func (s *Server) board() *board {
	r := s.report.Load()
	if b := s.latest.Load(); b != nil && b.report == r {
		return b
	}
	// Two at a time make the same twice, and either is right.
	b := newBoard(r)
	if st, ok := s.Status(); ok {
		b.trouble = troubleOf(&st)
	}
	s.latest.Store(b)
	return b
}

func newBoard(r *sinks.Report) *board {
	b := &board{report: r, worst: isUnknown, states: map[string]state{}}
	if r == nil {
		return b
	}
	for i := range r.SLOs {
		st := &r.SLOs[i]
		if i == 0 || st.Objective != r.SLOs[i-1].Objective {
			b.blocks = append(b.blocks, block{o: st.Objective})
		}
		rows := &b.blocks[len(b.blocks)-1].rows
		*rows = append(*rows, newRank(st))
	}
	for i := range b.blocks {
		rows := b.blocks[i].rows
		slices.SortStableFunc(rows, byUrgency)
		for _, row := range rows {
			b.counts[row.state]++
		}
		o := b.blocks[i].o
		b.services = append(b.services, o.Service)
		if team := o.Labels["team"]; team != "" {
			b.teams = append(b.teams, team)
		}
		if have, ok := b.states[o.Service]; !ok || rows[0].state < have {
			b.states[o.Service] = rows[0].state
		}
	}
	slices.SortStableFunc(b.blocks, func(x, y block) int { return byUrgency(x.rows[0], y.rows[0]) })
	b.services, b.teams = distinct(b.services), distinct(b.teams)
	// Not to know is better than low and worse than fine.
	for _, s := range []state{isFine, isUnknown, isLow, isBurning, isFiring} {
		if b.counts[s] > 0 {
			b.worst = s
		}
	}
	b.words = sync.OnceValue(b.spell)
	return b
}

// troubleOf says which sources and sinks do not answer. What else is wrong is among the notices.
func troubleOf(st *Status) []string {
	var out []string
	say := func(what, name string, up bool, last *time.Time, failures map[string]float64, then string) {
		if up || len(failures) == 0 {
			return // well, or not asked yet
		}
		since := "has not answered yet"
		if last != nil {
			since = "answers no more, the last time at " + moment(*last).Text()
		}
		out = append(out, what+" "+oneLine(name)+" "+since+": "+then)
	}
	for _, one := range st.Sources {
		say("Source", one.Name, one.Up, one.LastSuccess, one.Failures, "what it would say is missing below, never good.")
	}
	for _, one := range st.Sinks {
		say("Sink", one.Name, one.Up, one.LastSuccess, one.Failures, "what it should have shows elsewhere late or never.")
	}
	return out
}

func distinct(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}

// headline is the number of budgets in each state.
func (b *board) headline() string {
	var parts []string
	for _, s := range []state{isFiring, isBurning, isLow, isUnknown, isFine} {
		if b.counts[s] > 0 {
			parts = append(parts, strconv.Itoa(b.counts[s])+" "+s.Word())
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "no SLOs")
}

// spell writes out what a search looks in, for every row of every block, in lower case.
func (b *board) spell() [][]string {
	out := make([][]string, len(b.blocks))
	for i, block := range b.blocks {
		o := block.o
		about := o.Name + "\n" + o.Service
		for _, value := range o.Labels {
			about += "\n" + value
		}
		about = strings.ToLower(about)
		out[i] = make([]string, len(block.rows))
		for k, row := range block.rows {
			out[i][k] = about + "\n" + row.state.Word()
			for _, value := range row.st.Labels {
				out[i][k] += "\n" + strings.ToLower(value)
			}
		}
	}
	return out
}

// byUrgency puts what needs somebody first: by state, then by what is left, then by the burn rate.
func byUrgency(a, b rank) int {
	return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(a.remaining, b.remaining), cmp.Compare(b.burning, a.burning))
}

func newRank(st *slo.Status) rank {
	r := rank{st: st, state: stateOfBudget(st), remaining: st.Budget.RemainingRatio}
	if hour, ok := windowOf(st, time.Hour); ok && hour.BurnRate.Defined {
		r.burning = hour.BurnRate.Float
	}
	return r
}

func stateOfBudget(st *slo.Status) state {
	hour, _ := windowOf(st, time.Hour)
	switch {
	case slices.ContainsFunc(st.Alerts, func(a slo.Alert) bool { return a.Firing }):
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
