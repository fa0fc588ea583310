package web

import (
	"net/http"

	"github.com/yoyu-sre/yoyu/sinks"
)

// readinessPage is what every service has of what production needs.
type readinessPage struct {
	Known    bool // somebody can say
	Checks   []string
	Services []readinessView
}

// readinessView is one service.
type readinessView struct {
	Name    string
	Ready   bool
	Checks  []readinessCell // in the order of the page's
	Missing []pair
}

// readinessCell is one check of a service.
type readinessCell struct {
	Check string
	State string
	Sign  state
	Text  string
}

// Readiness is what the newest report and the configuration say of every service; ok is false where
// nobody can say.
func (s *Server) Readiness(report *sinks.Report) (out sinks.JSONReadiness, ok bool) {
	out.Services = []sinks.ServiceReadiness{}
	if s.services == nil {
		return out, false
	}
	all, ok := s.services(report)
	out.Services = append(out.Services, all...)
	if report != nil {
		out.Time = utc(report.Time)
	}
	return out, ok
}

// readiness answers /api/v1/readiness.
func (s *Server) readiness(w http.ResponseWriter, r *http.Request) {
	out, ok := s.Readiness(s.report.Load())
	if !ok {
		s.refuse(w, refuse(http.StatusServiceUnavailable, "readiness: nobody can say"))
		return
	}
	s.writeJSON(w, r, out)
}

func (s *Server) readinessPage(w http.ResponseWriter, r *http.Request) {
	b := s.board()
	var page readinessPage
	all, known := s.Readiness(b.report)
	page.Known = known
	for i, one := range all.Services {
		v := readinessView{Name: oneLine(one.Service), Ready: one.Ready}
		for _, c := range one.Checks {
			if i == 0 {
				page.Checks = append(page.Checks, c.Check)
			}
			cell := readinessCell{Check: c.Check, State: string(c.State), Sign: isUnknown, Text: oneLine(c.Text)}
			switch c.State {
			case sinks.ReadinessOK:
				cell.Sign = isFine
			case sinks.ReadinessMissing:
				cell.Sign = isFiring
				v.Missing = append(v.Missing, pair{c.Check, cell.Text})
			}
			v.Checks = append(v.Checks, cell)
		}
		page.Services = append(page.Services, v)
	}
	s.show(w, r, b, "", func() (*rendered, error) {
		return s.render(http.StatusOK, "readiness", s.screen("readiness", "Readiness", b, page))
	})
}
