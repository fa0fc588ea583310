// Package web is the HTTP face of the daemon: the page, the JSON API, the explanation of every
// number, and the addresses that a supervisor asks.
//
// It is itself a sink. Every answer is made from the one report that was written last, the same
// that /metrics shows, so the page and the metrics cannot disagree; a request sees one whole report
// or none, and waits for nobody.
//
//	*Report ──Write──▶ snapshot ──▶ /  /explain  /api/v1/…
//	the loop ◀──look───────────────  history, sparks
//
// What a report does not hold, the courses of budgets, is looked up in the engine by the loop that
// owns it, between its turns.
//
// The pages are rendered here: every number is there without a script. Scripts of our own add
// charts, a search that answers while one types, and the viewer's zone. The
// Content-Security-Policy allows nothing but the files that stand beside the pages, and no script
// or style within them. All links are relative, so that they work behind a proxy that takes a
// prefix away.
package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// Server answers requests from the newest report. It is safe for concurrent use.
type Server struct {
	reload   func(context.Context) error
	ready    func() error
	version  string
	external *url.URL
	log      *slog.Logger
	handler  http.Handler
	known    []string // routes
	report   atomic.Pointer[sinks.Report]
	latest   atomic.Pointer[board] // of the newest report that somebody looked at

	inside   func(*Status)
	services func(*sinks.Report) ([]sinks.ServiceReadiness, bool)
	look     func(context.Context, func(*slo.Engine)) error
	sparks   atomic.Pointer[Sparks]
	drawing  sync.Mutex // of sparks
}

var _ sinks.Sink = (*Server)(nil)

// Options are the parts that the face is made of. Only Metrics matters to most; what is left out
// is off.
type Options struct {
	Metrics     http.Handler                    // answers /metrics; nil: not found
	Reload      func(ctx context.Context) error // reads the configuration again; nil: the lifecycle is off
	Ready       func() error                    // why the daemon is not ready, nil when it is; nil: the first report is enough
	Prefix      string                          // of every route: "/yoyu"; "" and "/" are none
	ExternalURL *url.URL                        // under which others reach the page; nil: the API gives no addresses of it
	Version     string                          // shown at the foot of the page
	Logger      *slog.Logger                    // nil: silent

	// Look has the loop that owns the engine look something up in it, and returns when it has, or
	// when ctx ends; nil: there is no history.
	Look func(ctx context.Context, look func(*slo.Engine)) error

	// Inside fills in what a status holds beyond reports: sources, sinks, the store, the
	// configuration. nil: there is no status.
	Inside func(*Status)

	// Readiness says of every service what it has of what production needs, by a report that may be
	// nil; ok is false where nobody can say. nil: nobody can.
	Readiness func(*sinks.Report) (all []sinks.ServiceReadiness, ok bool)
}

// New makes a face that knows no report yet.
func New(o Options) *Server {
	s := &Server{reload: o.Reload, ready: o.Ready, version: o.Version, external: o.ExternalURL, log: o.Logger, look: o.Look, inside: o.Inside, services: o.Readiness}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.handler = s.routes(o)
	return s
}

// Name is the sink's name.
func (s *Server) Name() string { return "web" }

// Write replaces what is shown by a copy of r, whose memory belongs to the next tick. It has
// nothing to wait for: an ended context is an error, and what was shown before stays.
func (s *Server) Write(ctx context.Context, r *sinks.Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.report.Store(clone(r))
	return nil
}

// clone copies what is written in place between ticks; objectives are values that stay.
func clone(r *sinks.Report) *sinks.Report {
	c := &sinks.Report{Time: r.Time, SLOs: slices.Clone(r.SLOs), Workloads: slices.Clone(r.Workloads), Notices: slices.Clone(r.Notices)}
	for i := range c.SLOs {
		st := &c.SLOs[i]
		st.Labels, st.Windows, st.Alerts = slices.Clone(st.Labels), slices.Clone(st.Windows), slices.Clone(st.Alerts)
		for k := range st.Alerts {
			st.Alerts[k].Pairs = slices.Clone(st.Alerts[k].Pairs)
		}
	}
	for i := range c.Workloads {
		w := &c.Workloads[i]
		w.Services, w.Containers = slices.Clone(w.Services), slices.Clone(w.Containers)
	}
	return c
}

// Handler answers every route, under the prefix.
func (s *Server) Handler() http.Handler { return s.handler }

// Routes are what Handler answers, as methods and patterns of paths without the prefix.
func (s *Server) Routes() []string { return slices.Clone(s.known) }

func (s *Server) routes(o Options) http.Handler {
	prefix := strings.Trim(o.Prefix, "/")
	if prefix != "" {
		prefix = "/" + prefix
	}
	// Escaped, so that a brace of the prefix is no wildcard.
	escaped := (&url.URL{Path: prefix}).EscapedPath()
	mux := http.NewServeMux()
	handle := func(method, path string, h http.Handler) {
		s.known = append(s.known, method+" "+path)
		mux.Handle(method+" "+escaped+path, h)
	}
	handle("GET", "/{$}", http.HandlerFunc(s.page))
	handle("GET", "/slo", http.HandlerFunc(s.sloPage))
	handle("GET", "/rightsizing", http.HandlerFunc(s.rightsizingPage))
	handle("GET", "/readiness", http.HandlerFunc(s.readinessPage))
	handle("GET", "/status", http.HandlerFunc(s.statusPage))
	handle("GET", "/explain", http.HandlerFunc(s.explain))
	handle("GET", "/api/v1/slos", http.HandlerFunc(s.slos))
	handle("GET", "/api/v1/slos/{slo}/history", http.HandlerFunc(s.history))
	handle("GET", "/api/v1/slos/{slo}/groups", http.HandlerFunc(s.groups))
	handle("GET", "/api/v1/alerts", http.HandlerFunc(s.alerts))
	handle("GET", "/api/v1/gate", http.HandlerFunc(s.gate))
	handle("GET", "/api/v1/openapi.json", http.HandlerFunc(s.openAPI))
	handle("GET", "/api/v1/status", http.HandlerFunc(s.status))
	handle("GET", "/api/v1/readiness", http.HandlerFunc(s.readiness))
	handle("GET", "/api/v1/rightsizing", http.HandlerFunc(s.rightsizing))
	handle("GET", "/-/healthy", http.HandlerFunc(s.healthy))
	handle("GET", "/-/ready", http.HandlerFunc(s.isReady))
	handle("POST", "/-/reload", http.HandlerFunc(s.askReload))
	if o.Metrics != nil {
		handle("GET", "/metrics", o.Metrics)
	}
	for name, file := range static() {
		handle("GET", "/"+name, file)
	}
	if prefix != "" {
		handle("GET", "", http.RedirectHandler(escaped+"/", http.StatusFound))
	}

	// A page of another site must not make a browser reload us.
	guard := http.NewCrossOriginProtection()
	if u := o.ExternalURL; u != nil {
		if err := guard.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			s.log.Warn("the external address is not an origin: browsers may not reload through it", "error", err)
		}
	}
	return secured(guard.Handler(mux))
}

// secured sets the headers that hold for every answer.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // a query may name services
		next.ServeHTTP(w, r)
	})
}

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, "yoyu is healthy\n")
}

func (s *Server) isReady(w http.ResponseWriter, _ *http.Request) {
	if reason := s.waiting(); reason != "" {
		answer(w, http.StatusServiceUnavailable, "yoyu is not ready: "+reason+"\n")
		return
	}
	answer(w, http.StatusOK, "yoyu is ready\n")
}

// waiting says why the daemon is not ready; "" when it is.
func (s *Server) waiting() string {
	if s.ready != nil {
		if err := s.ready(); err != nil {
			return err.Error()
		}
	}
	if s.report.Load() == nil {
		return "no report yet, the first tick is not over"
	}
	return ""
}

func (s *Server) askReload(w http.ResponseWriter, r *http.Request) {
	if s.reload == nil {
		answer(w, http.StatusForbidden, "reloading over HTTP is off: start yoyu with --web.enable-lifecycle to allow it\n")
		return
	}
	if err := s.reload(r.Context()); err != nil {
		answer(w, http.StatusInternalServerError, fmt.Sprintf("reload: %v\n", err))
		return
	}
	answer(w, http.StatusOK, "configuration reloaded\n")
}

// answer sends text.
func answer(w http.ResponseWriter, status int, text string) {
	send(w, status, "text/plain; charset=utf-8", []byte(text))
}

// send answers with a whole body, which no cache keeps: the next tick makes it untrue.
func send(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// windowOf is the window that looks back by length; ok is false when none does. A rolling period
// of that length is the same window.
func windowOf(st *slo.Status, length time.Duration) (w slo.Window, ok bool) {
	for _, w := range st.Windows {
		if w.Length == length && (!w.IsPeriod || st.Objective.Period.Calendar == slo.Rolling) {
			return w, true
		}
	}
	return slo.Window{}, false
}

// periodOf is the window of the compliance period.
func periodOf(st *slo.Status) slo.Window {
	for _, w := range st.Windows {
		if w.IsPeriod {
			return w
		}
	}
	return slo.Window{}
}

// serves reports whether a workload runs a service.
func serves(w *rightsizing.Workload, service string) bool {
	return slices.Contains(w.Services, service)
}
