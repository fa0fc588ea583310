// Package remotewrite sends reports to whatever takes Prometheus' remote write: Mimir, Thanos,
// VictoriaMetrics, AMP behind a signing proxy, a Prometheus with its receiver on.
//
// The series are those of /metrics with the external labels added, each with one sample at the time
// of the report. One that has no value any more is ended by Prometheus' staleness marker, so that a
// query does not go on with what it last said.
//
//	*Report ──values──▶ samples ──requests──▶ waiting, oldest first ──▶ POST, protobuf in snappy
//	         labels, once ┘                        ▲                       │
//	                                               └──── not taken ────────┘
//
// A server takes the samples of a series in order. What it does not take waits, oldest first, for
// the next report or the end of the process: at most 16 MiB of requests and what is an hour old.
// After an error of the network, 429 and 5xx a request is made again, with random waits and those
// that the server asks for; any other answer is final (Prometheus Remote-Write 1.0), and its samples
// are counted as dropped.
package remotewrite

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/yoyu-sre/yoyu/internal/redact"
	"github.com/yoyu-sre/yoyu/sinks"
)

// Sink sends reports to one server.
type Sink struct {
	name     string
	url      string
	timeout  time.Duration
	external map[string]string
	shows    sinks.Selection
	client   *http.Client
	log      *slog.Logger
	dropped  func(reason string, samples int)
	counted  func(series int)

	mu     sync.Mutex // a sink outlives a reload, and the loop before it may still be writing
	layout *layout
	values []float64
	last   time.Time // of the newest report that was taken over
	queue  queue
	pause  time.Time // nothing is sent before
	why    error     // there is a pause

	patience time.Duration // of a write with a server that fails: half of the least time between reports
}

var (
	_ sinks.Sink    = (*Sink)(nil)
	_ sinks.Flusher = (*Sink)(nil)
)

// Reasons is the closed list of why a sample is never sent.
var Reasons = []string{
	"too_old",     // it waited for an hour, and servers take nothing older
	"bad_request", // refused for good
	"too_large",   // a single sample that is larger than a request may be
	"overflow",    // it waited with more others than memory is meant for
}

// Options are what a sink is made of.
type Options struct {
	Name           string
	Config         Config
	ExternalLabels map[string]string                // on every series that has none of that name
	Selection      sinks.Selection                  // what of the report is sent
	Transport      http.RoundTripper                // in place of what Config.HTTP makes; nil: that
	Logger         *slog.Logger                     // nil: silent
	Dropped        func(reason string, samples int) // hears of samples that are never sent, by Reasons; 0 of each at first. nil: nobody
	Counted        func(series int)                 // hears how many series a report has become. nil: nobody
}

// New makes a sink. It sends nothing yet. Errors name the field at fault.
func New(o Options) (*Sink, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	s := &Sink{
		name:     cmp.Or(o.Name, "remote_write"),
		url:      o.Config.URL,
		timeout:  cmp.Or(time.Duration(o.Config.Timeout), defaultTimeout),
		external: maps.Clone(o.ExternalLabels),
		shows:    o.Selection,
		log:      o.Logger,
		dropped:  o.Dropped,
		counted:  o.Counted,
		queue:    queue{most: mostBytes},
		patience: retryFor,
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
	var err error
	if s.client, err = config.NewClientFromConfig(o.Config.HTTP, "sink_"+s.name, config.WithUserAgent("yoyu")); err != nil {
		return nil, err
	}
	if o.Transport != nil {
		s.client.Transport = o.Transport
	}
	s.client.Transport = redact.Answers(s.client.Transport)
	// Headers with secrets would go to wherever a redirect points.
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s, nil
}

// Name is the sink's name.
func (s *Sink) Name() string { return s.name }

// Write sends the report, after what waited. An error names what the server said; what may succeed
// later waits for the next report.
func (s *Sink) Write(ctx context.Context, r *sinks.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if apart := r.Time.Sub(s.last); !s.last.IsZero() && apart > 0 {
		s.patience = min(s.patience, apart/2)
	}
	if err := s.take(r); err != nil {
		return err
	}
	return s.send(ctx, s.patience)
}

// Flush sends what waits, while ctx lasts: what a daemon does before it ends. Series are not ended:
// a restart goes on with them.
func (s *Sink) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause = time.Time{}
	return s.send(ctx, retryFor)
}

// take makes requests of a report and puts them behind those that wait. A report that is not newer
// than the last one has nothing that a server would take.
func (s *Sink) take(r *sinks.Report) error {
	if !r.Time.After(s.last) {
		return nil
	}
	ended := []prompb.TimeSeries(nil)
	at := r.Time.UnixMilli()
	if s.layout == nil || !s.layout.shape.Fits(r) {
		next := newLayout(r, s.shows, s.external)
		ended = next.takeOver(s.layout, at)
		s.layout = next
	}
	s.values = r.Values(s.values[:0], s.shows)
	samples := s.layout.samples(s.values, at)
	n := len(samples)
	for i := range samples {
		if value.IsStaleNaN(samples[i].Samples[0].Value) {
			n--
		}
	}
	s.counted(n)
	if err := s.queue.put(append(samples, ended...), r.Time); err != nil {
		return err
	}
	s.last = r.Time
	return nil
}

// layout is a report without its numbers, for all reports of one shape.
type layout struct {
	shape  *sinks.Shape
	labels [][]prompb.Label // of each slot, sorted
	alive  []bool           // whether its last sample was a number
}

func newLayout(r *sinks.Report, shows sinks.Selection, external map[string]string) *layout {
	l := &layout{shape: r.Shape()}
	for p := range r.Slots(shows) {
		l.labels = append(l.labels, labelsOf(p, external))
	}
	l.alive = make([]bool, len(l.labels))
	return l
}

// labelsOf are the labels of a series as they are written: its name, its own, and the external ones
// that it has none of, by name.
func labelsOf(p sinks.Point, external map[string]string) []prompb.Label {
	all := make(map[string]string, len(p.Labels)+len(external)+1)
	for name, text := range external {
		if text != "" {
			all[name] = text
		}
	}
	for _, l := range p.Labels {
		all[l.Name] = l.Value
	}
	all["__name__"] = p.Family.Name
	out := make([]prompb.Label, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, prompb.Label{Name: name, Value: all[name]})
	}
	return out
}

// takeOver goes on with the series of another layout, and ends those that are in this one no more.
func (l *layout) takeOver(old *layout, at int64) (ended []prompb.TimeSeries) {
	if old == nil {
		return nil
	}
	places := make(map[string]int, len(l.labels))
	for i, labels := range l.labels {
		places[identity(labels)] = i
	}
	for i, labels := range old.labels {
		if !old.alive[i] {
			continue
		}
		if k, here := places[identity(labels)]; here {
			l.alive[k] = true
		} else {
			ended = append(ended, sample(labels, math.Float64frombits(value.StaleNaN), at))
		}
	}
	return ended
}

// samples are those of a report: numbers, and a marker for what had one and has none now.
func (l *layout) samples(values []float64, at int64) []prompb.TimeSeries {
	out := make([]prompb.TimeSeries, 0, len(values))
	for i, v := range values {
		switch {
		case !math.IsNaN(v):
			out = append(out, sample(l.labels[i], v, at))
			l.alive[i] = true
		case l.alive[i]:
			out = append(out, sample(l.labels[i], math.Float64frombits(value.StaleNaN), at))
			l.alive[i] = false
		}
	}
	return out
}

func sample(labels []prompb.Label, v float64, at int64) prompb.TimeSeries {
	return prompb.TimeSeries{Labels: labels, Samples: []prompb.Sample{{Value: v, Timestamp: at}}}
}

// identity is a series in one string.
func identity(labels []prompb.Label) string {
	var b strings.Builder
	for _, l := range labels {
		b.WriteString(l.Name)
		b.WriteByte(0xff)
		b.WriteString(l.Value)
		b.WriteByte(0xff)
	}
	return b.String()
}
