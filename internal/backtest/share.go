package backtest

import (
	"context"
	"slices"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// shared answers for objectives that count the same events under other promises: their source is
// asked once.
type shared struct {
	source sources.Source[slo.Sample]
	asked  []string            // names that the source itself is asked for
	copies map[string][]string // who else is given the answer, by who is asked
}

var _ sources.Source[slo.Sample] = (*shared)(nil)

func sharing(source sources.Source[slo.Sample], names []string, as map[string]string) sources.Source[slo.Sample] {
	if len(as) == 0 {
		return source
	}
	s := &shared{source: source, copies: map[string][]string{}}
	for _, name := range names {
		if own, ok := as[name]; ok && slices.Contains(names, own) {
			s.copies[own] = append(s.copies[own], name)
		} else {
			s.asked = append(s.asked, name)
		}
	}
	return s
}

// Name is the name of the source behind it.
func (s *shared) Name() string { return s.source.Name() }

// Collect asks for the originals and hands their answers to the copies too. The engine changes no
// answer, so the copies share its memory.
func (s *shared) Collect(ctx context.Context, span slo.Span, only ...string) ([]slo.Sample, error) {
	wanted := func(name string) bool { return len(only) == 0 || slices.Contains(only, name) }
	ask := make([]string, 0, len(s.asked))
	for _, name := range s.asked {
		if wanted(name) || slices.ContainsFunc(s.copies[name], wanted) {
			ask = append(ask, name)
		}
	}
	got, err := s.source.Collect(ctx, span, ask...)
	if err != nil {
		return nil, err
	}
	out := make([]slo.Sample, 0, len(got))
	for _, sample := range got {
		name := sample.SLO
		if wanted(name) {
			out = append(out, sample)
		}
		for _, other := range s.copies[name] {
			if wanted(other) {
				sample.SLO = other
				out = append(out, sample)
			}
		}
	}
	return out, nil
}
