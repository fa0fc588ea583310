package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// slos answers with the report as JSON. Its second list, of what fired over a stretch of time, is
// empty: a report knows one moment.
func (s *Server) slos(w http.ResponseWriter, r *http.Request) {
	report := s.report.Load()
	var reports []*sinks.Report
	if report != nil {
		picked, no := selectionOf(r.URL.Query()).from(report)
		if no != nil {
			s.refuse(w, no)
			return
		}
		reports = append(reports, &sinks.Report{Time: report.Time, SLOs: picked})
	}
	var body bytes.Buffer
	if err := sinks.WriteJSON(&body, reports, nil); err != nil {
		s.broken(w, r, err)
		return
	}
	sendJSON(w, http.StatusOK, body.Bytes())
}

// jsonFiring is what fires now.
type jsonFiring struct {
	Time   *time.Time     `json:"time"` // of the report; null before the first
	Alerts []jsonNowAlert `json:"alerts"`
}

// jsonNowAlert is one severity of one objective, or of one group of it, that fires.
type jsonNowAlert struct {
	SLO            string            `json:"slo"`
	Service        string            `json:"service"`
	Labels         map[string]string `json:"labels"` // the group_by labels
	Severity       string            `json:"severity"`
	BurnRatio      sinks.Number      `json:"burn_ratio"` // above 1
	Pairs          []jsonNowPair     `json:"pairs"`      // those that fire
	RemainingRatio sinks.Number      `json:"remaining_ratio"`
	RunbookURL     string            `json:"runbook_url,omitempty"`
	ExplainURL     string            `json:"explain_url,omitempty"` // with an external address only
}

// jsonNowPair is a pair of windows that fires.
type jsonNowPair struct {
	Long   string  `json:"long"`
	Short  string  `json:"short"`
	Factor float64 `json:"factor"`
	Held   bool    `json:"held"` // the last known state, as a window is without coverage
}

func (s *Server) alerts(w http.ResponseWriter, r *http.Request) {
	out := jsonFiring{Alerts: []jsonNowAlert{}}
	if report := s.report.Load(); report != nil {
		picked, no := selectionOf(r.URL.Query()).from(report)
		if no != nil {
			s.refuse(w, no)
			return
		}
		out.Time = utc(report.Time)
		for i := range picked {
			out.Alerts = append(out.Alerts, s.firingNow(&picked[i])...)
		}
	}
	s.writeJSON(w, r, out)
}

func (s *Server) firingNow(st *slo.Status) []jsonNowAlert {
	var out []jsonNowAlert
	for _, a := range st.Alerts {
		if !a.Firing {
			continue
		}
		alert := jsonNowAlert{
			SLO: st.Objective.Name, Service: st.Objective.Service, Labels: sinks.GroupLabels(st),
			Severity: a.Severity, BurnRatio: sinks.Number(a.BurnRatio), Pairs: []jsonNowPair{},
			RemainingRatio: sinks.Number(slo.Defined(st.Budget.RemainingRatio)), RunbookURL: st.Objective.RunbookURL,
		}
		if s.external != nil {
			u := s.external.JoinPath("explain")
			u.RawQuery = queryOf(st)
			alert.ExplainURL = u.String()
		}
		for _, p := range a.Pairs {
			if p.Firing {
				alert.Pairs = append(alert.Pairs, jsonNowPair{
					Long: slo.FormatDuration(p.Long), Short: slo.FormatDuration(p.Short), Factor: p.Factor.Float(), Held: p.Held,
				})
			}
		}
		out = append(out, alert)
	}
	return out
}

func (s *Server) rightsizing(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	keeps := map[string]func(*rightsizing.Workload, string) bool{
		"namespace":     func(w *rightsizing.Workload, v string) bool { return w.Namespace == v },
		"workload_kind": func(w *rightsizing.Workload, v string) bool { return w.Kind == v },
		"workload":      func(w *rightsizing.Workload, v string) bool { return w.Name == v },
		"service":       serves,
		"verdict":       func(w *rightsizing.Workload, v string) bool { return string(w.Verdict) == v },
		"gate":          func(w *rightsizing.Workload, v string) bool { return string(w.Gate) == v },
	}
	known := []string{"namespace", "workload_kind", "workload", "service", "verdict", "gate"}
	for name := range query {
		if keeps[name] == nil {
			s.refuse(w, refuse(http.StatusBadRequest, "parameter %q: unknown%s", name, hint(name, known)))
			return
		}
	}

	out := sinks.JSONRightsizing{Totals: []sinks.JSONMoney{}, Workloads: []sinks.JSONWorkload{}}
	if report := s.report.Load(); report != nil {
		var err error
		out, err = sinks.NewRightsizing(report, func(workload *rightsizing.Workload) bool {
			for name, values := range query {
				if !slices.ContainsFunc(values, func(v string) bool { return keeps[name](workload, v) }) {
					return false
				}
			}
			return true
		})
		if err != nil {
			s.broken(w, r, err)
			return
		}
	}
	s.writeJSON(w, r, out)
}

func utc(t time.Time) *time.Time {
	t = t.UTC()
	return &t
}

// refuse answers what cannot be answered, in JSON.
func (s *Server) refuse(w http.ResponseWriter, no *refusal) {
	body, err := encode(map[string]string{"error": no.reason})
	if err != nil {
		s.log.Error("web: a refusal cannot be written", "error", err)
	}
	sendJSON(w, no.status, body)
}

// broken is an answer that could not be made: a fault of ours, told to the log and not to strangers.
func (s *Server) broken(w http.ResponseWriter, r *http.Request, err error) {
	s.log.Error("web: answer failed", "path", r.URL.Path, "error", err)
	answer(w, http.StatusInternalServerError, "internal error: the log says more\n")
}

func (s *Server) writeJSON(w http.ResponseWriter, r *http.Request, v any) {
	body, err := encode(v)
	if err != nil {
		s.broken(w, r, err)
		return
	}
	sendJSON(w, http.StatusOK, body)
}

// encode writes JSON on one line, with < and > as they are: nothing reads it as HTML.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return out.Bytes(), err
}

func sendJSON(w http.ResponseWriter, status int, body []byte) {
	send(w, status, "application/json", body)
}
