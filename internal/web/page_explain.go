package web

import (
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// explainPage is the way to every number of some budgets.
type explainPage struct {
	All    []explainedView
	Choose []choiceLink // SLOs to choose from, where none was named
	Text   string       // addresses of the same as text and as JSON
	JSON   string
}

// explainedView is one explanation with what a page needs besides.
type explainedView struct {
	*explanation
	ID    string
	State state
	Word  string
	Group string
	Link  string // to the budget's page
	Attr  string // its labels, as JSON
}

// choiceLink is an SLO that can be explained.
type choiceLink struct {
	Name, Link string
	State      state
}

// explainedOnPage is how many budgets are explained on one page.
const explainedOnPage = 20

// Percent is the objective as it was written.
func (e *explanation) Percent() string { return e.percent + "%" }

// Rest is 1 − objective, exactly.
func (e *explanation) Rest() string { return e.rest }

// AlertPolicy is the name of the alert policy.
func (e *explanation) AlertPolicy() string { return oneLine(e.policy) }

// Exact is the value in full precision, or that there is none.
func (s step) Exact() string { return value(s.Value) }

// Sought reports whether the value says more than the numbers that it is made of.
func (s step) Sought() bool { return value(s.Value) != s.Numbers }

// Right is the right-hand side, where the numbers are a formula.
func (c condition) Right() string {
	if strings.Contains(c.Numbers, "·") {
		return value(c.Limit)
	}
	return ""
}

// State is the pair's in words.
func (p explainedPair) State() string { return stateOf(p.Firing, p.Held) }

// wantsPage reports whether somebody asks with a browser: it names HTML, and no other by name before it.
func wantsPage(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		if kind, _, err := mime.ParseMediaType(part); err == nil {
			switch kind {
			case "text/html":
				return true
			case "text/plain", "application/json":
				return false
			}
		}
	}
	return false
}

// explainPage answers a browser.
func (s *Server) explainPage(w http.ResponseWriter, r *http.Request, sel selection) {
	b := s.board()
	if b.report == nil {
		s.refusePage(w, r, "explain", refuse(http.StatusServiceUnavailable, "%s", s.waiting()))
		return
	}
	page := explainPage{}
	title := "Explain"
	if len(sel.slos) == 0 {
		for _, block := range b.blocks {
			page.Choose = append(page.Choose, choiceLink{oneLine(block.o.Name), "explain?slo=" + url.QueryEscape(block.o.Name), block.rows[0].state})
		}
	} else {
		picked, no := sel.from(b.report)
		if no != nil {
			s.refusePage(w, r, "explain", no)
			return
		}
		title += " " + oneLine(strings.Join(sel.slos, ", "))
		q := r.URL.Query()
		q.Set("format", "text")
		page.Text = "explain?" + q.Encode()
		q.Set("format", "json")
		page.JSON = "explain?" + q.Encode()
		for i := range picked[:min(len(picked), explainedOnPage)] {
			page.All = append(page.All, newExplainedView(&picked[i]))
		}
	}
	s.show(w, r, b, "", func() (*rendered, error) {
		return s.render(http.StatusOK, "explain", s.screen("explain", title, b, page))
	})
}

func newExplainedView(st *slo.Status) explainedView {
	e := explainStatus(st)
	k := newRank(st)
	return explainedView{
		explanation: &e, ID: "explained-" + digest([]byte(e.title)), State: k.state, Word: k.row(nil, true).Word, Group: groupOf(st),
		Link: "slo?" + queryOf(st), Attr: attribute(sinks.GroupLabels(st)),
	}
}

// TotalText, BadText and CoverageText are the counts in full precision.
func (w explainedWindow) TotalText() string { return value(w.Total) }

// BadText is the bad ones of them.
func (w explainedWindow) BadText() string { return value(w.Bad) }

// CoverageText is the share of the window that is known.
func (w explainedWindow) CoverageText() string { return value(w.Coverage) }
