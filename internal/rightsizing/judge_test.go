package rightsizing

import (
	"testing"

	"github.com/yoyu-sre/yoyu/slo"
)

var (
	none = slo.Value{}
	is   = slo.Defined
)

func TestJudge(t *testing.T) {
	const mebi = 1 << 20
	for _, tt := range []struct {
		name                       string
		request, target            slo.Value
		wantProposed, wantHeadroom slo.Value
	}{
		{"asks for twice what it needs: waste", is(2), is(1), is(1), is(1)},
		{"asks for too little: need", is(0.25), is(1), is(1), is(-0.75)},
		{"asks for just what it needs: zero is a value", is(1), is(1), is(1), is(0)},
		{"memory is bytes", is(512 * mebi), is(476450463), is(476450463), is(60420449)},
		{"VPA has said nothing yet", is(2), none, none, none},
		{"no request is not a request of 0", none, is(1), is(1), none},
		{"a request of 0 is one", is(0), is(1), is(1), is(-1)},
		{"nothing known", none, none, none, none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Resource{Request: tt.request, Target: tt.target}
			for _, w := range []*Workload{
				{Containers: []Container{{Name: "side"}, {Name: "app", CPU: r}}},
				{Containers: []Container{{Name: "side"}, {Name: "app", Memory: r}}},
			} {
				Judge(w)
				got, other := w.Containers[1].CPU, w.Containers[1].Memory
				if r == (Resource{}) || got == (Resource{}) {
					got, other = other, got
				}
				if got.Proposed != tt.wantProposed || got.Headroom != tt.wantHeadroom {
					t.Errorf("proposed %v, headroom %v; want %v, %v", got.Proposed, got.Headroom, tt.wantProposed, tt.wantHeadroom)
				}
				if got.Request != tt.request || got.Target != tt.target {
					t.Errorf("what was read changed: %+v", got)
				}
				if other != (Resource{}) || w.Containers[0] != (Container{Name: "side"}) {
					t.Errorf("a resource nobody knows got values: %+v, %+v", other, w.Containers[0])
				}
			}
		})
	}
}

// A workload is judged on every turn: what the last turn proposed must not survive a VPA that has
// gone quiet.
func TestJudgeForgets(t *testing.T) {
	w := &Workload{Containers: []Container{{Name: "app", CPU: Resource{Request: is(2), Target: is(1)}}}}
	Judge(w)
	w.Containers[0].CPU.Target = none
	Judge(w)
	if got := w.Containers[0].CPU; got.Proposed.Defined || got.Headroom.Defined {
		t.Errorf("proposed %v, headroom %v without a target", got.Proposed, got.Headroom)
	}
}
