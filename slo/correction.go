package slo

import (
	"fmt"
	"time"
)

// Correction takes stretches of time out of an objective: a maintenance that was announced, a test
// that was no traffic. Its edges are moved outwards to whole ticks, or to whole slices where the
// budget counts those. Where several apply to one moment, one that drops wins.
type Correction struct {
	Name   string
	Effect Effect
	When   Schedule
}

// Effect is what becomes of the events of a correction.
type Effect string

// The effects.
const (
	Drop Effect = "drop" // they count as nothing: neither total nor bad
	Good Effect = "good" // they count, and none of them is bad
)

// Schedule says when a correction applies. It is a plain value: the same text means the same times.
type Schedule interface {
	// Within are the stretches that hold a moment of span, whole, ordered and apart.
	Within(span Span) []Span
	// String shows it to people.
	String() string
}

// Once is the schedule of a single stretch of time.
type Once Span

var _ Schedule = Once{}

// Within is the stretch itself, if it touches the span.
func (o Once) Within(span Span) []Span {
	if !o.From.Before(span.To) || !span.From.Before(o.To) {
		return nil
	}
	return []Span{Span(o)}
}

// String shows the stretch as "once (from, to]".
func (o Once) String() string {
	return fmt.Sprintf("once (%s, %s]", o.From.UTC().Format(time.RFC3339Nano), o.To.UTC().Format(time.RFC3339Nano))
}
