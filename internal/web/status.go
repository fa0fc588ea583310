package web

import (
	"net/http"
	"time"
)

// Status is how the daemon itself is: what /status shows and /api/v1/status answers. It holds no
// secret. Numbers that /metrics has too are read from there.
type Status struct {
	Time     time.Time      `json:"time"`         // the daemon's clock
	Started  time.Time      `json:"started"`      //
	Report   *time.Time     `json:"report"`       // of the newest report; null before the first
	Tick     float64        `json:"tick_seconds"` // 0 before anything ticks
	NextTick *time.Time     `json:"next_tick"`    // null while nothing ticks
	Ready    bool           `json:"ready"`
	Waiting  string         `json:"waiting,omitempty"` // why it is not ready
	Notices  []string       `json:"notices"`           // what is wrong with yoyu itself
	Version  StatusVersion  `json:"version"`
	SLOs     int            `json:"slos"`
	Budgets  int            `json:"budgets"` // SLOs and their groups
	Sources  []StatusSource `json:"sources"`
	Sinks    []StatusSink   `json:"sinks"`
	Store    StatusStore    `json:"store"`
	Config   StatusConfig   `json:"configuration"`
}

// StatusVersion is what was built.
type StatusVersion struct {
	Version   string `json:"version"`
	Revision  string `json:"revision"`
	GoVersion string `json:"go_version"`
}

// StatusSource is one source.
type StatusSource struct {
	Name        string             `json:"name"`
	Type        string             `json:"type"`
	SLOs        int                `json:"slos"` // that it answers for
	Up          bool               `json:"up"`   // the last request succeeded
	LastSuccess *time.Time         `json:"last_success"`
	Delay       float64            `json:"delay_seconds"`
	Backfill    float64            `json:"backfill_remaining_seconds"`
	Failures    map[string]float64 `json:"failures"` // by reason, since the start; those above 0
}

// StatusSink is one sink.
type StatusSink struct {
	Name        string             `json:"name"`
	Type        string             `json:"type"`
	Up          bool               `json:"up"`
	LastSuccess *time.Time         `json:"last_success"`
	Failures    map[string]float64 `json:"failures"`
	Dropped     map[string]float64 `json:"points_dropped"` // by reason; those above 0
}

// StatusStore is what survives a restart.
type StatusStore struct {
	Path       string     `json:"path"`
	Bytes      float64    `json:"size_bytes"`
	Writable   bool       `json:"writable"`
	LastCommit *time.Time `json:"last_commit"` // null before the first
	Trouble    string     `json:"trouble,omitempty"`
}

// StatusConfig is the configuration that is in force.
type StatusConfig struct {
	Reloaded   *time.Time `json:"last_reload_success"`
	ReloadedOK bool       `json:"last_reload_successful"`
	YAML       string     `json:"yaml"` // as it is understood, defaults filled in, secrets left out
}

// Status is how the daemon is at this moment; ok is false where nobody can say, as in tests of the
// page alone.
func (s *Server) Status() (st Status, ok bool) {
	st = Status{
		Time: time.Now().UTC(), Waiting: s.waiting(), Notices: []string{},
		Version: StatusVersion{Version: s.version}, Sources: []StatusSource{}, Sinks: []StatusSink{},
	}
	st.Ready = st.Waiting == ""
	if r := s.report.Load(); r != nil {
		st.Report = utc(r.Time)
		st.Notices = append(st.Notices, r.Notices...)
		for i := range r.SLOs {
			if i == 0 || r.SLOs[i].Objective != r.SLOs[i-1].Objective {
				st.SLOs++
			}
			if !r.SLOs[i].NoGroup {
				st.Budgets++
			}
		}
	}
	if s.inside == nil {
		return st, false
	}
	s.inside(&st)
	st.Started = st.Started.UTC()
	if st.NextTick != nil {
		st.NextTick = utc(*st.NextTick)
	}
	return st, true
}

// status answers /api/v1/status.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	st, ok := s.Status()
	if !ok {
		s.refuse(w, refuse(http.StatusServiceUnavailable, "status: nobody can say"))
		return
	}
	s.writeJSON(w, r, st)
}
