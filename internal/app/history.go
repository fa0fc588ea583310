package app

import (
	"context"
	"errors"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// historySources ask several sources as one. A question, or a whole source, that fails costs its
// own coverage and nothing else, and is said once.
type historySources struct {
	all  []*historySource
	say  func(name string, err error)
	said map[string]bool
}

// historySource answers ticks from pieces of the past that are asked for whole: a request for
// every tick of a month would be forty thousand requests.
type historySource struct {
	source sources.Source[slo.Sample]
	names  []string
	tick   time.Duration
	end    time.Time // of the history
	asked  slo.Span
	pieces map[string]slo.Sample
}

// Name is what messages call them.
func (h *historySources) Name() string { return "history" }

// Collect asks each source for the piece that holds the span, once, and cuts the span out of it.
func (h *historySources) Collect(ctx context.Context, span slo.Span, _ ...string) ([]slo.Sample, error) {
	var out []slo.Sample
	for _, one := range h.all {
		if span.From.Before(one.asked.From) || span.To.After(one.asked.To) {
			if err := h.next(ctx, one, span.From); err != nil {
				return nil, err
			}
		}
		for _, name := range one.names {
			if piece, ok := one.pieces[name]; ok {
				out = append(out, cut(piece, span))
			} else { // not answered: nothing is known of it
				out = append(out, slo.Sample{SLO: name, Span: span})
			}
		}
	}
	return out, nil
}

// next asks a source for the piece that begins at a moment. It fails only when ctx ends.
func (h *historySources) next(ctx context.Context, one *historySource, from time.Time) error {
	one.asked = slo.Span{From: from, To: earlier(from.Add(max(4*time.Hour/one.tick, 1)*one.tick), one.end)}
	one.pieces = map[string]slo.Sample{}
	got, err := one.source.Collect(ctx, one.asked, one.names...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		for _, name := range one.names {
			h.fail(name, err)
		}
		return nil
	}
	for _, s := range got {
		if s.Err != nil {
			h.fail(s.SLO, s.Err)
			continue
		}
		if s.Note != "" {
			h.fail(s.SLO, errors.New(s.Note))
		}
		one.pieces[s.SLO] = s
	}
	return nil
}

func (h *historySources) fail(name string, err error) {
	if key := name + err.Error(); !h.said[key] {
		h.said[key] = true
		h.say(name, err)
	}
}

// cut is the part of an answer that belongs to a span.
func cut(s slo.Sample, span slo.Span) slo.Sample {
	out := s
	out.Span, out.Covered, out.Groups = span, nil, nil
	if out.Newest.After(span.To) {
		out.Newest = span.To
	}
	for _, c := range s.Covered {
		part := slo.Span{From: later(c.From, span.From), To: earlier(c.To, span.To)}
		if !part.Empty() {
			out.Covered = append(out.Covered, part)
		}
	}
	for _, g := range s.Groups {
		part := slo.GroupSample{Labels: g.Labels}
		for _, inc := range g.Increments {
			if span.Holds(inc.At) {
				part.Increments = append(part.Increments, inc)
			}
		}
		for _, sp := range g.Spreads {
			if span.Holds(sp.To) {
				part.Spreads = append(part.Spreads, sp)
			}
		}
		if len(part.Increments)+len(part.Spreads) > 0 {
			out.Groups = append(out.Groups, part)
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
