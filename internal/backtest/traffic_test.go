package backtest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// midnight is where the traffic of the tests begins.
var midnight = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// tickOf is the number of a tick's traffic: 0 is the one that ends a tick after midnight.
func tickOf(at time.Time, tick time.Duration) int { return int(at.Sub(midnight)/tick) - 1 }

// traffic is a source whose events are written down tick by tick.
type traffic struct {
	tick   time.Duration
	names  []string
	of     func(i int) (bad, total float64) // the events of a tick
	dark   func(i int) bool                 // the source does not answer for a tick; nil: it always does
	groups []string                         // of one label; every group has the same events. nil: no group
	asked  map[string]int                   // how often each name was asked for
	broken bool
}

var _ sources.Source[slo.Sample] = (*traffic)(nil)

func (s *traffic) Name() string { return "traffic" }

func (s *traffic) Collect(ctx context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	if s.broken {
		return nil, errors.New("503 Service Unavailable")
	}
	var out []slo.Sample
	for _, name := range s.names {
		if len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		if s.asked != nil {
			s.asked[name]++
		}
		sample := slo.Sample{SLO: name, Span: span}
		groups := s.groups
		if groups == nil {
			groups = []string{""}
		}
		for _, group := range groups {
			g := slo.GroupSample{}
			if s.groups != nil {
				g.Labels = []string{group}
			}
			for at := span.From.Add(s.tick); !at.After(span.To); at = at.Add(s.tick) {
				i := tickOf(at, s.tick)
				if i < 0 || s.dark != nil && s.dark(i) {
					continue
				}
				if group == groups[0] {
					sample.Covered = append(sample.Covered, slo.Span{From: at.Add(-s.tick), To: at})
					sample.Newest = at
				}
				if bad, total := s.of(i); total > 0 {
					g.Increments = append(g.Increments, slo.Increment{At: at, Total: total, Bad: bad})
				}
			}
			if len(g.Increments) > 0 || s.groups == nil {
				sample.Groups = append(sample.Groups, g)
			}
		}
		out = append(out, sample)
	}
	return out, nil
}

func percent(t testing.TB, text string) slo.Share {
	t.Helper()
	s, err := slo.ParsePercent(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// promise is an objective under the workbook's policy.
func promise(t testing.TB, name, objective string, period time.Duration) slo.Objective {
	t.Helper()
	p := slo.RollingPeriod(period)
	return slo.Objective{Name: name, Service: "shop", Target: percent(t, objective), Period: p, Policy: slo.Workbook(p)}
}

func run(t testing.TB, o Options) *Result {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// upTo is the span of so many ticks from midnight.
func upTo(tick time.Duration, ticks int) slo.Span {
	return slo.Span{From: midnight, To: midnight.Add(time.Duration(ticks) * tick)}
}
