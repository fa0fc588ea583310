package rightsizing

import (
	"strings"
	"testing"
)

// What a namespace allows: a raise goes no further than a LimitRange lets it, a shrink no lower, and a
// quota without room is said.
func TestNamespaceBounds(t *testing.T) {
	grows := func(s *scene) {
		s.app().CPU = Resource{Request: is(0.1), Limit: is(0.5), Target: is(0.379), Lower: is(0.245), Upper: is(0.587), Uncapped: is(0.379)}
		s.app().Memory.Uncontrolled = true
	}
	for _, tt := range []struct {
		about           string
		scene           func(s *scene)
		want            string
		proposed, limit float64
		sentence        string // part of it
	}{
		{"a raise within the bounds", func(s *scene) { grows(s); s.app().CPU.Ceiling = is(4) },
			"raise u1 | cpu=under_lower_bound memory=not_controlled", 0.39, 0.78, ""},
		{"a raise beyond the ceiling, and its limit", func(s *scene) { grows(s); s.app().CPU.Ceiling = is(0.3) },
			"raise u1 | cpu=under_lower_bound cpu=capped:limit_range memory=not_controlled", 0.3, 0.5, "it needs more than the LimitRange of its namespace allows"},
		{"at the ceiling already", func(s *scene) {
			grows(s)
			s.app().CPU.Request, s.app().CPU.Lower, s.app().CPU.Ceiling = is(0.2), is(0.245), is(0.2)
		}, "raise u1 | cpu=under_lower_bound cpu=capped:limit_range memory=not_controlled", 0.2, 0.5, "app needs more CPU than 200m, because it asks for less than VPA's lower bound"},
		{"a request where there was none", func(s *scene) {
			grows(s)
			s.app().CPU.Request, s.app().CPU.Limit, s.app().CPU.Ceiling = none, none, is(0.25)
		}, "raise | cpu=request_unset cpu=capped:limit_range memory=not_controlled", 0.25, 0, ""},
		{"a shrink no lower than the floor", func(s *scene) { s.app().CPU.Floor, s.app().Memory.Uncontrolled = is(0.6), true },
			"shrink safe | cpu=over_upper_bound memory=not_controlled", 0.6, 0, ""},
		{"a quota without room", func(s *scene) { grows(s); s.checkout().Room.CPU = is(1) }, // 290m in each of four pods
			"raise u1 | cpu=under_lower_bound memory=not_controlled cpu=quota_exceeded", 0.39, 0.78, "the ResourceQuota of its namespace has no room for it"},
		{"a quota with just enough", func(s *scene) { grows(s); s.checkout().Room.CPU = is(1.16) },
			"raise u1 | cpu=under_lower_bound memory=not_controlled", 0.39, 0.78, ""},
	} {
		t.Run(tt.about, func(t *testing.T) {
			s := newScene()
			tt.scene(s)
			w := s.judge()
			if got := told(w); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			near(t, "proposed", s.app().CPU.Proposed, tt.proposed)
			if tt.limit > 0 {
				near(t, "limit", s.app().CPU.ProposedLimit, tt.limit)
			}
			if !strings.Contains(w.Sentence, tt.sentence) {
				t.Errorf("%q does not say %q", w.Sentence, tt.sentence)
			}
		})
	}
}
