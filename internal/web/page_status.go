package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// statusPage is how the daemon is.
type statusPage struct {
	Known   bool // somebody can say
	Status  Status
	Sources []partView
	Sinks   []partView
	Tick    string
	Size    string
	Up      string // for how long
}

// partView is a source or a sink.
type partView struct {
	Name, Type string
	Up         num
	SLOs       int
	Last       *time.Time
	Delay      string
	Backfill   string
	Trouble    []pair // counts above zero
}

func (s *Server) statusPage(w http.ResponseWriter, r *http.Request) {
	b := s.board()
	page := statusPage{}
	page.Status, page.Known = s.Status()
	st := &page.Status
	up := func(yes bool, of string) num {
		n := num{Text: "down", Value: "0", Of: of}
		if yes {
			n.Text, n.Value = "up", "1"
		}
		return n
	}
	counts := func(name string, of map[string]float64) []pair {
		var out []pair
		for reason, n := range of {
			if n > 0 {
				out = append(out, pair{name + oneLine(reason), tally1(n)})
			}
		}
		slices.SortFunc(out, func(a, b pair) int { return strings.Compare(a.Name, b.Name) })
		return out
	}
	for _, one := range st.Sources {
		v := partView{Name: oneLine(one.Name), Type: one.Type, Up: up(one.Up, "yoyu_source_up"), SLOs: one.SLOs, Last: one.LastSuccess, Trouble: counts("", one.Failures)}
		if one.Delay > 0 {
			v.Delay = about(time.Duration(one.Delay * float64(time.Second)))
		}
		if one.Backfill > 0 {
			v.Backfill = about(time.Duration(one.Backfill * float64(time.Second)))
		}
		page.Sources = append(page.Sources, v)
	}
	for _, one := range st.Sinks {
		page.Sinks = append(page.Sinks, partView{
			Name: oneLine(one.Name), Type: one.Type, Up: up(one.Up, "yoyu_sink_up"), Last: one.LastSuccess,
			Trouble: append(counts("", one.Failures), counts("dropped: ", one.Dropped)...),
		})
	}
	if st.Tick > 0 {
		page.Tick = length(st.Tick)
	}
	page.Size = size(st.Store.Bytes)
	if !st.Started.IsZero() && !st.Time.IsZero() {
		page.Up = about(st.Time.Sub(st.Started))
	}
	s.show(w, r, b, "", func() (*rendered, error) {
		return s.render(http.StatusOK, "status", s.screen("status", "Status", b, page))
	})
}

// Count is a whole number in words.
func (statusPage) Count(n int) string { return grouped(strconv.Itoa(n)) }
