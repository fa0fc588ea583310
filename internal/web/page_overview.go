package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
)

// overview is the first page: every SLO by urgency.
type overview struct {
	Asked    asked
	Tally    []tally
	Services []choice
	Teams    []choice
	States   []choice
	Blocks   []blockRows
	Matching int    // SLOs that fit
	SLOs     int    // all
	Budgets  int    // of those that fit
	More     string // address of all that fit; "" when all are shown
	Room     *room  // nil without a cluster source
}

// asked is what an address of the overview asks for.
type asked struct {
	Search               string
	Service, Team, State string
	Open                 []string // SLOs whose groups are unfolded
	All                  bool     // however many there are
}

// tally is how many budgets are in a state.
type tally struct {
	State state
	Count int
	Link  string // to these alone, or back to all
	On    bool   // these alone are shown
}

// choice is an entry of a list to choose from.
type choice struct {
	Value, Text string
	On          bool
}

// blockRows are the rows of one SLO.
type blockRows struct {
	ID   string
	Rows []budgetRow
	Fold fold
}

// fold stands for the groups of an SLO that are not shown.
type fold struct {
	Count int    // 0: nothing is folded
	Says  string // what they are: "1 burning, 8 fine"
	Link  string // unfolds
	Rest  string // to the page of the SLO, where there are too many to unfold here; "" otherwise
	Open  bool   // the groups are unfolded, and Link folds them
}

// How much of the overview is sent at once.
const (
	shownBlocks = 100 // SLOs, unless all are asked for
	shownGroups = 3   // groups of an SLO that need somebody, before they are unfolded
	openGroups  = 100 // groups of an SLO that is unfolded; its page has all
)

// askedOf reads an address. What it does not know is passed over: a bookmark must go on working.
func askedOf(q url.Values) asked {
	return asked{
		Search: strings.TrimSpace(q.Get("q")), Service: q.Get("service"), Team: q.Get("team"), State: q.Get("state"),
		Open: q["open"], All: q.Get("all") != "",
	}
}

// address is where an overview stands that asks for this.
func (a asked) address() string {
	q := url.Values{}
	for name, value := range map[string]string{"q": a.Search, "service": a.Service, "team": a.Team, "state": a.State} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(a.Open) > 0 {
		q["open"] = a.Open
	}
	if a.All {
		q.Set("all", "1")
	}
	if len(q) == 0 {
		return "./"
	}
	return "./?" + q.Encode()
}

// Narrow reports whether something is left out.
func (a asked) Narrow() bool {
	return a.Search != "" || a.Service != "" || a.Team != "" || a.State != ""
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	b, a := s.board(), askedOf(r.URL.Query())
	key := a.address() + "\n" + s.waiting()
	sparks := s.Sparks(r.Context())
	if sparks != nil {
		key += "\n" + sparks.At.String()
	}
	s.show(w, r, b, key, func() (*rendered, error) {
		return s.render(http.StatusOK, "overview", s.screen("budgets", "", b, b.overview(a, sparks)))
	})
}

func (b *board) overview(a asked, sparks *Sparks) overview {
	v := overview{
		Asked: a, SLOs: len(b.blocks),
		Services: choices(b.services, a.Service), Teams: choices(b.teams, a.Team),
	}
	for i := range states {
		s := state(i)
		one := a
		one.State, one.Open, one.All = s.Class(), nil, false
		on := a.State == s.Class()
		if on {
			one.State = ""
		}
		v.Tally = append(v.Tally, tally{s, b.counts[i], one.address(), on})
		v.States = append(v.States, choice{s.Class(), s.Word(), on})
	}
	if b.report == nil {
		return v
	}
	v.Room = newRoom(b.report.Workloads)

	for i, block := range b.blocks {
		rows := b.fitting(i, a)
		if len(rows) == 0 {
			continue
		}
		v.Matching++
		v.Budgets += len(rows)
		if len(v.Blocks) < shownBlocks || a.All {
			v.Blocks = append(v.Blocks, newBlockRows(block, rows, a, sparks, i))
		}
	}
	if len(v.Blocks) < v.Matching {
		all := a
		all.All = true
		v.More = all.address()
	}
	return v
}

// fitting are the rows of a block that are asked for.
func (b *board) fitting(i int, a asked) []rank {
	block := b.blocks[i]
	if a.Service != "" && block.o.Service != a.Service || a.Team != "" && block.o.Labels["team"] != a.Team {
		return nil
	}
	if a.State == "" && a.Search == "" {
		return block.rows
	}
	words := strings.Fields(strings.ToLower(a.Search))
	var out []rank
	for k, row := range block.rows {
		if a.State != "" && row.state.Class() != a.State {
			continue
		}
		if len(words) > 0 {
			about := b.words()[i][k]
			if slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(about, word) }) {
				continue
			}
		}
		out = append(out, row)
	}
	return out
}

func newBlockRows(block block, rows []rank, a asked, sparks *Sparks, i int) blockRows {
	v := blockRows{ID: "slo-" + digest([]byte(block.o.Name))}
	open := slices.Contains(a.Open, block.o.Name)
	limit := len(rows)
	if !open {
		limit = 1
		for limit < min(len(rows), shownGroups) && rows[limit].state <= isBurning {
			limit++
		}
	}
	limit = min(limit, openGroups)
	for k, row := range rows[:limit] {
		v.Rows = append(v.Rows, row.row(sparks, k == 0))
	}
	rest := rows[limit:]
	v.Fold = fold{Count: len(rest), Open: open && len(rows) > 1}
	to := a
	to.Open = slices.DeleteFunc(slices.Clone(a.Open), func(name string) bool { return name == block.o.Name })
	if !open {
		to.Open = append(to.Open, block.o.Name)
	}
	v.Fold.Link = to.address() + "#" + v.ID
	if open && len(rest) > 0 {
		v.Fold.Rest = "slo?slo=" + url.QueryEscape(block.o.Name)
	}
	counts := make([]int, len(states))
	for _, row := range rest {
		counts[row.state]++
	}
	var said []string
	for s, n := range counts {
		if n > 0 {
			said = append(said, strconv.Itoa(n)+" "+state(s).Word())
		}
	}
	v.Fold.Says = strings.Join(said, ", ")
	return v
}

func choices(words []string, chosen string) []choice {
	var out []choice
	for _, word := range words {
		if word != "" {
			out = append(out, choice{word, oneLine(word), word == chosen})
		}
	}
	return out
}

// room is what workloads could give back, and need, in one line each.
type room struct {
	Workloads int
	Urgent    int // raises that cannot wait
	Money     []money
	Counts    []verdictCount
}

// verdictCount is how many workloads have a verdict.
type verdictCount struct {
	Verdict, Sign string
	Count         int
}

// money is what all workloads could release or would cost in a currency. The words are for a
// month; the numbers are for an hour, as the series have them.
type money struct {
	Currency                     string
	Safe, Blocked, Ungated, Cost num
}

// hoursPerMonth is what a month is worth in money.
const hoursPerMonth = 730

func newRoom(workloads []rightsizing.Workload) *room {
	if workloads == nil {
		return nil
	}
	r := &room{Workloads: len(workloads), Money: totals(workloads)}
	counts := map[rightsizing.Verdict]int{}
	for i := range workloads {
		counts[workloads[i].Verdict]++
		if workloads[i].Urgency > 1 {
			r.Urgent++
		}
	}
	for _, verdict := range rightsizing.Verdicts {
		r.Counts = append(r.Counts, verdictCount{string(verdict), signOf(verdict, 0).Class(), counts[verdict]})
	}
	return r
}

// amount is money in words: a month of an hourly amount.
func amount(currency string) func(float64) string {
	return func(hourly float64) string {
		return grouped(fmt.Sprintf("%.2f", hourly*hoursPerMonth)) + " " + currency
	}
}

// grouped puts a thin space between thousands.
func grouped(number string) string {
	whole, rest, _ := strings.Cut(number, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "\u202f" + whole[at:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return sign + whole
}
