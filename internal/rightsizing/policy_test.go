package rightsizing

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What the policy of a VPA that applies should become.
func TestPolicyPatch(t *testing.T) {
	const (
		ref     = `"targetRef":{"kind":"Deployment","name":"checkout"}`
		ceiling = `{` + ref + `,"resourcePolicy":{"containerPolicies":[{"containerName":"*","controlledResources":["cpu"],"maxAllowed":{"cpu":"300m","memory":4294967296}}],"future":1e3},"updatePolicy":{"updateMode":"Auto"}}`
		floor   = `{` + ref + `,"resourcePolicy":{"containerPolicies":[{"containerName":"app","minAllowed":{"cpu":1}}]},"updatePolicy":{"updateMode":"Recreate"}}`
		plain   = `{` + ref + `}`
	)
	capped := func(s *scene) {
		w := s.checkout()
		w.UpdateMode, w.Spec = "Auto", ceiling
		s.app().CPU = Resource{Request: is(0.3), Target: is(0.3), Lower: is(0.245), Upper: is(0.3), Uncapped: is(0.379), MaxAllowed: is(0.3)}
		s.app().Memory.Uncontrolled = true
	}
	floored := func(s *scene) {
		w := s.checkout()
		w.UpdateMode, w.Spec = "Recreate", floor
		s.app().CPU = Resource{Request: is(1), Target: is(1), Lower: is(1), Upper: is(1), Uncapped: is(0.379), MinAllowed: is(1)}
		s.app().Memory.Uncontrolled = true
	}
	bursts := func(s *scene) {
		w := s.checkout()
		w.UpdateMode, w.Spec = "Recreate", plain
		s.app().CPU.Uncontrolled = true
		// 454 MiB of a request of 2 GiB would make 681 MiB of a limit of 3 GiB: the peak was 395 MiB.
		s.app().Memory.Limit = is(3 * gib)
	}
	for _, tt := range []struct {
		about string
		scene func(s *scene)
		want  []string
	}{
		{"a ceiling goes up to what is needed; a container of * gets a policy of its own, with all that * says; Auto is spelt as what it means", capped, []string{
			`test /spec ` + ceiling,
			`add /spec/resourcePolicy {"containerPolicies":[{"containerName":"*","controlledResources":["cpu"],"maxAllowed":{"cpu":"300m","memory":4294967296}},` +
				`{"containerName":"app","controlledResources":["cpu"],"maxAllowed":{"cpu":"380m","memory":4294967296}}],"future":1e3}`,
			`replace /spec/updatePolicy/updateMode "Recreate"`,
		}},
		{"a VPA that is off caps nothing but its own words", func(s *scene) { capped(s); s.checkout().UpdateMode = "Off" }, nil},
		{"a floor goes down by a stage, where all agree", floored, []string{
			`test /spec ` + floor,
			`add /spec/resourcePolicy {"containerPolicies":[{"containerName":"app","minAllowed":{"cpu":"700m"}}]}`,
		}},
		{"not while a budget is short", func(s *scene) { floored(s); s.slo().Budget.RemainingRatio = 0.2 }, nil},
		{"not while no SLO watches", func(s *scene) { floored(s); s.statuses = nil }, nil},
		{"not after a rollout", func(s *scene) { floored(s); s.checkout().RolledOut = noon.Add(-time.Hour) }, nil},
		{"not below the worst of two weeks", func(s *scene) {
			floored(s)
			s.past = func(ago time.Duration, r resourceName, target float64) float64 {
				if ago > 10*day {
					return 0.95
				}
				return 0.379
			}
		}, nil},
		{"a limit that VPA would cut into use is left alone", func(s *scene) {
			bursts(s)
			s.app().Checkpoint.Memory = Histogram{{20, 2000}, {30, 10}} // one peak of 707 MB
		}, []string{
			`test /spec ` + plain,
			`add /spec/resourcePolicy {"containerPolicies":[{"containerName":"app","controlledValues":"RequestsOnly"}]}`,
		}},
		{"unless it is so already", func(s *scene) {
			bursts(s)
			s.app().Checkpoint.Memory, s.app().KeepsLimit = Histogram{{20, 2000}, {30, 10}}, true
		}, nil},
		{"a limit with room enough may shrink along", bursts, nil},
		{"a container that is left alone has its policy", func(s *scene) { capped(s); s.app().Excluded = true }, nil},
	} {
		t.Run(tt.about, func(t *testing.T) {
			s := newScene()
			tt.scene(s)
			w := s.judge()
			ops, err := w.PolicyPatch()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, op := range ops {
				if !json.Valid(op.Value) {
					t.Errorf("%s is no JSON", op.Value)
				}
				got = append(got, fmt.Sprintf("%s %s %s", op.Op, op.Path, op.Value))
			}
			if a, b := strings.Join(got, "\n"), strings.Join(tt.want, "\n"); a != b {
				t.Errorf("%s\ngot\n%s\nwant\n%s", told(w), a, b)
			}
			if w.Spec != "" && strings.HasPrefix(told(w), "shrink") && strings.Contains(tt.about, "floor") {
				t.Errorf("the verdict goes below the policy: %s", told(w))
			}
		})
	}
}

// A Job's template cannot be changed: there is no patch of it, whatever the verdict.
func TestJobHasNoPatch(t *testing.T) {
	s := newScene()
	s.checkout().Kind = "Job"
	if ops, err := s.judge().Patch(); err != nil || ops != nil {
		t.Errorf("%v, %v", ops, err)
	}
	if s.app().Change(true)["requests"]["cpu"] != "700m" {
		t.Errorf("change %v", s.app().Change(true))
	}
}
