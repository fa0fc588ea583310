package rightsizing

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A patch tests all that it is about to change, and goes by steps.
func TestPatch(t *testing.T) {
	const at = "/spec/template/spec/containers/0"
	name := `test ` + at + `/name "app"`
	for _, tt := range []struct {
		about string
		scene func(s *scene)
		want  []string
	}{
		{"a shrink, 30 % at a time; the limit goes along where it was equal", nil, []string{
			name,
			`test ` + at + `/resources/requests/cpu "1"`, `test ` + at + `/resources/requests/memory "2Gi"`, `test ` + at + `/resources/limits/memory "2Gi"`,
			`replace ` + at + `/resources/requests/cpu "700m"`, `replace ` + at + `/resources/requests/memory "1440Mi"`, `replace ` + at + `/resources/limits/memory "1440Mi"`,
		}},
		{"a CronJob has its template deeper down", func(s *scene) {
			s.checkout().Kind, s.checkout().Pods = "CronJob", is(4)
			s.app().Memory.Uncontrolled = true
		}, []string{
			`test /spec/jobTemplate` + at + `/name "app"`, `test /spec/jobTemplate` + at + `/resources/requests/cpu "1"`,
			`replace /spec/jobTemplate` + at + `/resources/requests/cpu "700m"`,
		}},
		{"a missing request is added, if the others are still what they are", func(s *scene) {
			s.app().CPU.Request, s.app().Raw = none, `{"limits":{"memory":"2Gi"},"requests":{"memory":"2Gi"}}`
			s.app().Memory.Uncontrolled = true
		}, []string{
			name, `test ` + at + `/resources {"limits":{"memory":"2Gi"},"requests":{"memory":"2Gi"}}`,
			`add ` + at + `/resources/requests/cpu "380m"`,
		}},
		{"nothing is asked for at all", func(s *scene) {
			s.app().CPU.Request, s.app().Memory.Request, s.app().Memory.Limit, s.app().Raw = none, none, none, ""
		}, []string{
			name, `test ` + at + `/resources {}`, `add ` + at + `/resources/requests {"cpu":"380m","memory":"464Mi"}`,
		}},
		{"a raise goes all the way, with its limit", func(s *scene) {
			s.app().CPU = Resource{Request: is(0.1), Limit: is(0.5), Target: is(0.379), Lower: is(0.245), Upper: is(0.587), Uncapped: is(0.379)}
			s.app().Memory.Uncontrolled = true
			s.app().Raw = `{"limits":{"cpu":"500m"},"requests":{"cpu":"100m"}}`
		}, []string{
			name, `test ` + at + `/resources/requests/cpu "100m"`, `test ` + at + `/resources/limits/cpu "500m"`,
			`replace ` + at + `/resources/requests/cpu "390m"`, `replace ` + at + `/resources/limits/cpu "780m"`,
		}},
		{"what a budget blocks is not patched, what grows is", func(s *scene) {
			s.slo().Budget.RemainingRatio = 0.1
			s.app().CPU = Resource{Request: is(0.1), Target: is(0.379), Lower: is(0.245), Upper: is(0.587), Uncapped: is(0.379)}
			s.app().Raw = `{"limits":{"memory":"2Gi"},"requests":{"cpu":"100m","memory":"2Gi"}}`
		}, []string{name, `test ` + at + `/resources/requests/cpu "100m"`, `replace ` + at + `/resources/requests/cpu "390m"`}},
		{"what waits is not patched", func(s *scene) { s.checkout().RolledOut = noon }, nil},
		{"what others put there is not patched", func(s *scene) { s.app().Place = Injected }, nil},
	} {
		t.Run(tt.about, func(t *testing.T) {
			s := newScene()
			if tt.scene != nil {
				tt.scene(s)
			}
			ops, err := s.judge().Patch()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, op := range ops {
				got = append(got, fmt.Sprintf("%s %s %s", op.Op, op.Path, op.Value))
			}
			if a, b := strings.Join(got, "\n"), strings.Join(tt.want, "\n"); a != b {
				t.Errorf("got\n%s\nwant\n%s", a, b)
			}
		})
	}
}

func TestPointer(t *testing.T) {
	if got, want := pointer("metadata", "annotations", "sidecar.istio.io/proxy~CPU"), "/metadata/annotations/sidecar.istio.io~1proxy~0CPU"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A shell reads the line as it was meant.
func TestCommand(t *testing.T) {
	w := &Workload{Namespace: "shop", Kind: "Deployment", Name: "checkout"}
	got, err := w.Command([]Operation{{"test", "/a", json.RawMessage(`"it's"`)}})
	if err != nil {
		t.Fatal(err)
	}
	if want := `kubectl patch deployment checkout --namespace shop --type json --patch '[{"op":"test","path":"/a","value":"it'\''s"}]'`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestQuantity(t *testing.T) {
	for _, tt := range []struct {
		resource string
		amount   float64
		want     string
	}{
		{"cpu", 0.59, "590m"}, {"cpu", 2, "2"}, {"cpu", 0.005, "5m"}, {"cpu", 1.35, "1350m"},
		{"memory", 592 * mib, "592Mi"}, {"memory", 2 * gib, "2Gi"}, {"memory", 476450463, "476450463"}, {"memory", 0, "0"},
	} {
		if got := Quantity(tt.resource, tt.amount); got != tt.want {
			t.Errorf("%v of %s: %s, want %s", tt.amount, tt.resource, got, tt.want)
		}
	}
}
