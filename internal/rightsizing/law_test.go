package rightsizing

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// FuzzLaws: whatever is asked for, recommended and used, a raise never asks for less, a shrink never
// goes below what was needed in two weeks, the largest peak or the policy, no step is larger than its
// end, and nothing is safe that a budget forbids.
func FuzzLaws(f *testing.F) {
	f.Add(1.0, 0.379, 0.245, 0.587, 2048.0, 454.0, 2048.0, uint8(19), uint8(22), uint16(336), uint16(0), 0.9, uint8(4))
	f.Add(0.1, 1.0, 0.5, 3.0, 128.0, 250.0, 0.0, uint8(30), uint8(3), uint16(5), uint16(1), -0.2, uint8(1))
	f.Add(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, uint8(0), uint8(0), uint16(0), uint16(0), 1.0, uint8(0))
	f.Fuzz(func(t *testing.T, request, target, lower, upper, asked, used, limit float64, cpuBucket, memoryBucket uint8, watched, killed uint16, remaining float64, replicas uint8) {
		amount := func(v, unit float64) slo.Value {
			if !(v > 0 && v < 1e6) { // neither negative, nor without a value
				return slo.Value{}
			}
			return slo.Defined(v * unit)
		}
		remaining = min(remaining, 1) // more than all is not left; what is no number is no permission
		s := newScene()
		w, c := s.checkout(), s.app()
		w.Replicas = int(replicas)
		c.CPU = Resource{Request: amount(request, 1), Target: amount(target, 1), Lower: amount(lower, 1), Upper: amount(upper, 1)}
		c.Memory = Resource{Request: amount(asked, mib), Limit: amount(limit, mib), Target: amount(used, mib), Uncapped: amount(used, mib)}
		c.Checkpoint.CPU = Histogram{{int(cpuBucket), 1}}
		c.Checkpoint.Memory = Histogram{{int(memoryBucket), 1}}
		if killed > 0 {
			c.OOMKilled = noon.Add(-time.Duration(killed) * time.Hour)
		}
		s.watched = time.Duration(watched%500) * time.Hour
		s.slo().Budget.RemainingRatio = remaining
		s.judge()

		for _, name := range both {
			r := name.of(c)
			if r.Headroom.Defined && math.Abs(r.Request.Float-r.Proposed.Float-r.Headroom.Float) > 1e-9*r.Request.Float {
				t.Errorf("%s: headroom %v of %v and %v", name, r.Headroom, r.Request, r.Proposed)
			}
			switch r.Verdict {
			case Raise:
				if !r.Proposed.Defined || r.Proposed.Float < r.Request.Float {
					t.Errorf("%s: raised from %v to %v", name, r.Request, r.Proposed)
				}
			case Shrink:
				least := max(r.Evidence.HighWater.Float, r.MinAllowed.Float)
				if name == memory {
					least = max(least, r.Evidence.Max.Float*clearance)
				}
				if r.Proposed.Float >= r.Request.Float || r.Proposed.Float < least*(1-1e-9) {
					t.Errorf("%s: shrunk from %v to %v, at least %v was needed", name, r.Request, r.Proposed, least)
				}
				if r.Step.Float < r.Proposed.Float || r.Step.Float > r.Request.Float {
					t.Errorf("%s: step %v from %v to %v", name, r.Step, r.Request, r.Proposed)
				}
				if r.Evidence.Watched < steady {
					t.Errorf("%s: shrunk after having watched for %s", name, r.Evidence.Watched)
				}
			case Unknown, Keep:
			default:
				t.Errorf("%s: verdict %q", name, r.Verdict)
			}
			if r.ProposedLimit.Defined && r.Proposed.Defined && r.ProposedLimit.Float < r.Proposed.Float && r.Limit.Float >= r.Request.Float {
				t.Errorf("%s: limit %v below the request %v", name, r.ProposedLimit, r.Proposed)
			}
		}
		if w.Gate == Safe && (!(remaining >= leastLeft) || replicas < 2) {
			t.Errorf("safe with %v left and %d pods", remaining, replicas)
		}
		if blocked := slices.ContainsFunc(w.Reasons, func(r Reason) bool { return strings.HasPrefix(r.Code, Blocking) }); blocked != (w.Gate == Blocked) {
			t.Errorf("gate %q with the reasons %v", w.Gate, w.Reasons)
		}
		if w.Savings.Float < 0 || w.Cost.Float < 0 {
			t.Errorf("savings %v, cost %v", w.Savings, w.Cost)
		}
		if _, err := w.Patch(); err != nil {
			t.Error(err)
		}
	})
}
