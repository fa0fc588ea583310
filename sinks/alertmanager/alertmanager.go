// Package alertmanager tells Alertmanagers which alerts fire, over their API v2.
//
// It promises one notification for each incident: the labels of an alert are made of names and
// never of numbers, and its start time is that of the report, so that a restart of yoyu changes
// neither. An alert is told as soon as it fires and again at every resend, each time with an end
// some minutes ahead; when it no longer fires its end is told, again and again for a quarter of an
// hour. Should yoyu die, its alerts end by themselves.
//
//	*Report ──▶ firing severities ──▶ alerts ──▶ due for this Alertmanager? ──▶ POST /api/v2/alerts
//	                 │ less tickets inside a page                │ all of them, side by side
//	                 └──▶ labels, start                          └──▶ failed: due again, after a pause
//
// Nothing is queued. What is remembered is the newest state of each alert and when each
// Alertmanager heard it last, so that an Alertmanager that was away for hours is told the present
// and not the past, and costs no memory meanwhile.
//
// A page inhibits the ticket of the same SLO: a ticket that begins while the page fires is told
// only once the page is over. One that was told before stays told, for a ticket that is resolved
// because things got worse would be a lie.
package alertmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/config"
	"golang.org/x/sync/errgroup"

	"github.com/yoyu-sre/yoyu/internal/redact"
	"github.com/yoyu-sre/yoyu/sinks"
)

const (
	// keepResolved is how long the end of an alert is told again: an Alertmanager that was away
	// meanwhile still learns of it. As Prometheus does.
	keepResolved = 15 * time.Minute

	// minLifetime is how far ahead the end of a firing alert lies at least: a restart of yoyu must
	// fit into it, or the incident would be resolved and announced a second time.
	minLifetime = 5 * time.Minute

	// sendersAtOnce bounds the requests in flight; each Alertmanager has one.
	sendersAtOnce = 16
)

// Sink tells a group of Alertmanagers. Every one of them gets every alert: that is how a cluster of
// them wants it.
type Sink struct {
	name      string
	inhibit   bool
	resend    time.Duration
	external  []sinks.Label
	web       *url.URL
	templates templates
	targets   []*target
	log       *slog.Logger

	mu    sync.Mutex // a sink outlives a reload, and the loop before it may still be writing
	known map[string]*incident
}

var _ sinks.Sink = (*Sink)(nil)

// Options are what a sink is made of.
type Options struct {
	Name           string
	Config         Config
	ExternalLabels map[string]string // on every alert that has none of that name
	ExternalURL    *url.URL          // where people reach yoyu, for generatorURL; nil: alerts have none
	Logger         *slog.Logger      // nil: silent
}

// New makes a sink. It sends nothing yet. Errors name the field at fault.
func New(o Options) (*Sink, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	made, err := compile(o.Config.Annotations)
	if err != nil {
		return nil, err
	}
	s := &Sink{
		name:      cmp.Or(o.Name, "alertmanager"),
		inhibit:   o.Config.Inhibit,
		resend:    cmp.Or(time.Duration(o.Config.Resend), defaultResend),
		external:  sortedLabels(o.ExternalLabels),
		web:       o.ExternalURL,
		templates: made,
		log:       o.Logger,
		known:     map[string]*incident{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	client, err := config.NewClientFromConfig(o.Config.HTTP, "sink_"+s.name, config.WithUserAgent("yoyu"))
	if err != nil {
		return nil, err
	}
	if o.Config.HTTP.FollowRedirects {
		client.CheckRedirect = sameHost
	}
	client.Transport = redact.Answers(client.Transport)
	for _, address := range o.Config.addresses() {
		t, err := newTarget(address, client, cmp.Or(time.Duration(o.Config.Timeout), defaultTimeout))
		if err != nil {
			return nil, err
		}
		s.targets = append(s.targets, t)
	}
	return s, nil
}

// Name is the sink's name.
func (s *Sink) Name() string { return s.name }

// Write tells every Alertmanager what it has not heard yet or not for a while. An error names each
// Alertmanager that does not take it, also while it is given a pause; the others have heard.
func (s *Sink) Write(ctx context.Context, r *sinks.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update(r)

	failed := make([]error, len(s.targets))
	var all errgroup.Group
	all.SetLimit(sendersAtOnce)
	for i, t := range s.targets {
		due := s.due(t, r.Time)
		all.Go(func() error {
			failed[i] = t.tell(ctx, due, r.Time)
			return nil
		})
	}
	_ = all.Wait() // what failed is in its own place
	s.forget(r.Time)
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(failed...)
}

// due are the alerts that one Alertmanager is to be told at this tick, oldest first. Their words
// are fresh for all that fire.
func (s *Sink) due(t *target, now time.Time) []*incident {
	var due []*incident
	for _, in := range s.known {
		heard, ok := t.heard[in.key]
		if !in.firing() && !s.told(in) {
			continue // over before anybody heard of it
		}
		again := !now.Before(heard.at.Add(s.resend)) || heard.at.After(now)
		if ok && heard.starts.Equal(in.starts) && heard.ends.Equal(in.ends) && !again {
			continue
		}
		due = append(due, in)
	}
	slices.SortFunc(due, func(a, b *incident) int {
		return cmp.Or(a.starts.Compare(b.starts), cmp.Compare(a.key, b.key))
	})
	return due
}

// told reports whether any Alertmanager has heard of this run of firing.
func (s *Sink) told(in *incident) bool {
	return slices.ContainsFunc(s.targets, func(t *target) bool {
		heard, ok := t.heard[in.key]
		return ok && heard.starts.Equal(in.starts)
	})
}

// forget drops alerts whose end has been told long enough.
func (s *Sink) forget(now time.Time) {
	for key, in := range s.known {
		if in.firing() || now.Sub(in.ends) < keepResolved {
			continue
		}
		delete(s.known, key)
		for _, t := range s.targets {
			delete(t.heard, key)
		}
	}
}

// lifetime is how far ahead the end of a firing alert is said to be.
func (s *Sink) lifetime() time.Duration { return max(4*s.resend, minLifetime) }

func sortedLabels(labels map[string]string) []sinks.Label {
	out := make([]sinks.Label, 0, len(labels))
	for name, value := range labels {
		out = append(out, sinks.Label{Name: name, Value: value})
	}
	slices.SortFunc(out, func(a, b sinks.Label) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// fault is a fault of one field, as the configuration places it.
func fault(field, format string, arguments ...any) error {
	return fmt.Errorf("%s: %s", field, fmt.Sprintf(format, arguments...))
}
