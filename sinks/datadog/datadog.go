// Package datadog sends reports to Datadog as gauges.
//
// Names are those of /metrics with a dot after the first word (slo.burn_rate), tags are made to
// join with what Datadog already knows: service, env, team, kube_namespace, kube_deployment. Every
// point carries the time of the report in whole seconds; Datadog keeps the last value written for
// a name, its tags and a second, so writing a report again changes nothing.
//
//	*Report ──Points──▶ names and tags ──▶ newest of each series ──parts──▶ POST /api/v1/series, gzip
//	                                             ▲                              │
//	                                             └───────── not taken ──────────┘
//
// What Datadog does not take is held back: the newest value of each series, never a queue, so an
// outage costs no more memory than the report itself. The next report puts newer values in its
// place. A request that may succeed later is tried again for some seconds, with random waits,
// because all yoyus of the world tick at the same time; then the next report is the next try.
// What Datadog would take and silently lose is not sent, but counted.
//
// The key is read from its file at every write and again when it is refused, so a rotated key
// counts at once; it appears in no error and no log.
//
// The official client is used for the intake of version 1, whose package compiles in a fraction of
// the other's time. It neither splits, nor tries again after an error of the network, nor filters
// what JSON cannot hold: all of that is done here.
package datadog

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
	"github.com/yoyu-sre/yoyu/sinks"
)

// Sink sends reports to one organisation.
type Sink struct {
	name      string
	selection sinks.Selection
	tagger    tagger
	api       *datadogapi.Client
	metrics   *datadogV1.MetricsApi
	log       *slog.Logger
	dropped   func(reason string, points int)
	counted   func(series int)

	mu      sync.Mutex // a sink outlives a reload, and the loop before it may still be writing
	outbox  outbox
	told    counts // what the log was told last
	pause   time.Time
	refused error // why there is a pause
	skewed  bool  // the log has been told of a clock that differs
}

var (
	_ sinks.Sink    = (*Sink)(nil)
	_ sinks.Flusher = (*Sink)(nil)
)

// counts is what one report becomes.
type counts struct {
	series int // custom metrics: what Datadog bills
	merged int // left out, because Datadog cannot tell them from another
}

// Reasons is the closed list of why a point is never sent.
var Reasons = []string{
	"nan",         // no number that JSON can hold
	"too_old",     // Datadog would lose it: an outage lasted too long, or its source is that far behind
	"future",      // Datadog would lose it: a clock is wrong
	"merged",      // its name and tags are those of another point, once Datadog has normalised them
	"bad_request", // refused for good
	"too_large",   // a single series that is larger than a request may be
	"overflow",    // held back with more others than memory is meant for
}

// Options are what a sink is made of.
type Options struct {
	Name           string
	Config         Config                          // as validated
	ExternalLabels map[string]string               // tags of every series, unless it has its own of that key
	Env            string                          // tag env where Config.Tags have none; DD_ENV when empty
	Transport      http.RoundTripper               // nil: a clone of the default one
	Logger         *slog.Logger                    // nil: silent
	Dropped        func(reason string, points int) // hears of points that are never sent, by Reasons; 0 of each at first. nil: nobody
	Counted        func(series int)                // hears how many custom metrics a report has become. nil: nobody
}

// New makes a sink. It sends nothing yet, and does not ask for the key before the first report.
func New(o Options) (*Sink, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	s := &Sink{
		name:      cmp.Or(o.Name, "datadog"),
		selection: presets[cmp.Or(o.Config.Metrics, Standard)],
		tagger:    newTagger(o.Config.Tags, cmp.Or(o.Env, os.Getenv("DD_ENV")), o.ExternalLabels),
		log:       o.Logger,
		dropped:   o.Dropped,
		counted:   o.Counted,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.dropped == nil {
		s.dropped = func(string, int) {}
	}
	if s.counted == nil {
		s.counted = func(int) {}
	}
	for _, reason := range Reasons {
		s.dropped(reason, 0)
	}
	transport := o.Transport
	if transport == nil {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	s.api = datadogapi.New(datadogapi.Options{
		Site: o.Config.Site, URL: o.Config.URL, APIKeyFile: o.Config.APIKeyFile, Transport: bounded{transport}, Timeout: requestTimeout, Answer: answerLimit,
	})
	s.metrics = datadogV1.NewMetricsApi(s.api.APIClient)
	return s, nil
}

// Name is the sink's name.
func (s *Sink) Name() string { return s.name }

// Write sends the report, and what was held back before. An error names every request that failed,
// without the key; what may succeed later is held back for the next report.
func (s *Sink) Write(ctx context.Context, r *sinks.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(s.take(r))
	return s.send(ctx)
}

// Flush sends what is held back, while ctx lasts: what a daemon does before it ends.
func (s *Sink) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(ctx)
}

// Count is the number of custom metrics that the report becomes: what Datadog bills.
func (s *Sink) Count(r *sinks.Report) int {
	seen := map[string]struct{}{}
	for p := range r.Points(s.selection) {
		seen[identity(p.Family.Dotted(), s.tagger.tags(p))] = struct{}{}
	}
	return len(seen)
}

// take puts the report's gauges into the outbox.
func (s *Sink) take(r *sinks.Report) counts {
	now := time.Now()
	var n counts
	s.outbox.turn()
	for p := range r.Points(s.selection) {
		switch reason := s.outbox.put(identity(p.Family.Dotted(), s.tagger.tags(p)), r.Time, p.Value, now); reason {
		case "":
			n.series++
		case "merged":
			n.merged++ // of two values for one series the last would win, whichever that is
			s.dropped(reason, 1)
		default:
			s.dropped(reason, 1)
		}
	}
	if over := s.outbox.shrink(2*n.series + spare); over > 0 {
		s.dropped("overflow", over)
	}
	return n
}

// tell says what a report costs, when that changes.
func (s *Sink) tell(n counts) {
	s.counted(n.series)
	if n.series != s.told.series {
		s.log.Info("Datadog custom metrics", "sink", s.name, "count", n.series)
	}
	if n.merged != s.told.merged && n.merged > 0 {
		s.log.Warn("Datadog cannot tell some series apart: their tags differ only in case, in characters it replaces, or beyond its length; the first of each is sent",
			"sink", s.name, "left_out", n.merged)
	}
	s.told = n
}
