package slo

import (
	"fmt"
	"time"
)

// Span is the half-open interval (From, To]: a moment on its right edge belongs to it, one on
// its left edge to the span before. Every window, slot and question uses this one convention, so
// that neighbouring spans neither overlap nor leave a hole.
type Span struct {
	From, To time.Time
}

// Duration is the length of the span; negative when To lies before From.
func (s Span) Duration() time.Duration { return s.To.Sub(s.From) }

// Empty reports whether the span holds no moment at all.
func (s Span) Empty() bool { return !s.To.After(s.From) }

// Holds reports whether the moment lies in (From, To].
func (s Span) Holds(t time.Time) bool { return t.After(s.From) && !t.After(s.To) }

// String shows the span the way it is meant: "(2026-01-02T00:00:00Z, 2026-01-02T00:01:00Z]".
func (s Span) String() string {
	return fmt.Sprintf("(%s, %s]", s.From.UTC().Format(time.RFC3339), s.To.UTC().Format(time.RFC3339))
}

// same is ==, field by field: the quick way for what is nearly always alike.
func (s *Span) same(o *Span) bool { return s.To == o.To && s.From == o.From } //nolint:staticcheck // QF1009: equal moments of different zones go the general way
