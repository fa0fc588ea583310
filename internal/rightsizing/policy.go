package rightsizing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Applies reports whether the VPA changes pods itself. What the template asks for then counts only
// where VPA is not at work, and what a pod gets is a matter of the VPA's policy.
func (w *Workload) Applies() bool { return w.UpdateMode != "" && w.UpdateMode != "Off" }

// below looks for how far the policy's minAllowed could go down: to the worst of two weeks, when
// nothing speaks against a shrink as far. The policy is somebody's word, so no verdict goes below it.
func (j *Judge) below(w *Workload, c *Container, r *Resource, f facts, now time.Time) {
	if !w.Applies() || !slices.Contains(r.Reasons, CappedByMin) || !r.MinAllowed.Defined || !r.Request.Defined {
		return
	}
	probe := *r
	probe.Reasons = nil
	probe.Proposed = slo.Defined(round(f.name, max(r.Evidence.HighWater.Float, f.used(c, &r.Evidence))))
	if now := r.MinAllowed.Float; now-probe.Proposed.Float < max(f.name.smallest(), 0.1*now, f.name.scale().width(now, 2)) {
		return
	}
	if probe.wait(w, c, f, now); probe.Verdict == Shrink {
		r.lower = probe.Proposed
	}
}

// policies says what the VPA's policy should become, where the VPA applies what it recommends.
func (w *Workload) policies() {
	if !w.Applies() {
		return
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		if c.Place == Sidecar || c.Excluded {
			continue
		}
		for _, name := range both {
			r := name.of(c)
			if r.Verdict == "" || r.Verdict == Unknown {
				continue
			}
			if slices.Contains(r.Reasons, CappedByMax) && r.MaxAllowed.Defined {
				up := r.Uncapped.Float
				if r.Verdict == Raise {
					up = max(up, r.Proposed.Float)
				}
				r.NextMax = slo.Defined(round(name, up))
			}
			if r.lower.Defined && w.bears {
				r.NextMin = slo.Defined(max(r.lower.Float, round(name, r.MinAllowed.Float*(1-w.most))))
			}
		}
		c.KeepLimit = !c.KeepsLimit && c.Memory.cut()
	}
}

// cut reports whether the limit that VPA makes of a memory limit, in proportion to the request, would
// cut into what was used, where the present one does not.
func (r *Resource) cut() bool {
	if r.Uncontrolled || !r.Target.Defined || !r.Request.Defined || !r.Limit.Defined || r.Limit == r.Request || !r.Evidence.Max.Defined {
		return false
	}
	enough := r.Evidence.Max.Float * clearance
	return r.Limit.Float >= enough && r.Limit.Float*r.Target.Float/r.Request.Float < enough
}

// PolicyPatch is the change of the VPA's own policy: a ceiling that holds back what is needed goes
// up, a floor that wastes goes down step by step where the budgets bear it, limits are left alone
// where VPA would cut them into use. It tests that the VPA is still as it was. Nil when the policy
// may stay as it is.
func (w *Workload) PolicyPatch() ([]Operation, error) {
	if w.Spec == "" || !slices.ContainsFunc(w.Containers, func(c Container) bool { return c.changesPolicy() }) {
		return nil, nil
	}
	var spec struct {
		Resource map[string]any `json:"resourcePolicy"`
		Update   struct {
			Mode string `json:"updateMode"`
		} `json:"updatePolicy"`
	}
	from := json.NewDecoder(bytes.NewReader([]byte(w.Spec)))
	from.UseNumber() // what is only carried along stays as it is written
	if err := from.Decode(&spec); err != nil {
		return nil, fmt.Errorf("spec of the VPA: %w", err)
	}
	policy := spec.Resource
	if policy == nil {
		policy = map[string]any{}
	}
	all, _ := policy["containerPolicies"].([]any)
	for i := range w.Containers {
		if c := &w.Containers[i]; c.changesPolicy() {
			all = c.policy(all)
		}
	}
	policy["containerPolicies"] = all
	text, err := json.Marshal(policy)
	if err != nil {
		return nil, err
	}
	patch := []Operation{
		{"test", "/spec", json.RawMessage(w.Spec)},
		{"add", "/spec/resourcePolicy", text},
	}
	if spec.Update.Mode == "Auto" { // deprecated, and means just this
		patch = append(patch, Operation{"replace", "/spec/updatePolicy/updateMode", json.RawMessage(`"Recreate"`)})
	}
	return patch, nil
}

func (c *Container) changesPolicy() bool {
	return c.KeepLimit || c.CPU.NextMin.Defined || c.CPU.NextMax.Defined || c.Memory.NextMin.Defined || c.Memory.NextMax.Defined
}

// policy puts a container's new policy among those of a VPA. The policy for all others ("*") does not
// apply to a container that has its own, so its own begins as a copy of that.
func (c *Container) policy(all []any) []any {
	named := func(name string) int {
		return slices.IndexFunc(all, func(one any) bool {
			m, ok := one.(map[string]any)
			return ok && m["containerName"] == name
		})
	}
	i := named(c.Name)
	if i < 0 {
		own := map[string]any{}
		if rest := named("*"); rest >= 0 {
			own = clone(all[rest].(map[string]any))
		}
		own["containerName"] = c.Name
		all, i = append(slices.Clone(all), own), len(all)
	}
	own := all[i].(map[string]any)
	for _, name := range both {
		r := name.of(c)
		for _, one := range []struct {
			field string
			next  slo.Value
		}{{"minAllowed", r.NextMin}, {"maxAllowed", r.NextMax}} {
			if !one.next.Defined {
				continue
			}
			amounts, _ := own[one.field].(map[string]any)
			if amounts == nil {
				amounts = map[string]any{}
				own[one.field] = amounts
			}
			amounts[string(name)] = Quantity(string(name), one.next.Float)
		}
	}
	if c.KeepLimit {
		own["controlledValues"] = "RequestsOnly"
	}
	return all
}

// clone copies a policy with its amounts.
func clone(from map[string]any) map[string]any {
	to := make(map[string]any, len(from))
	for name, value := range from {
		if inner, ok := value.(map[string]any); ok {
			value = clone(inner)
		}
		to[name] = value
	}
	return to
}

// Change is what a container asks for after the next change, by list (requests, limits) and resource;
// what stays is not in it. shrink says whether what shrinks may. Nil when nothing changes, or the
// template does not hold the container.
func (c *Container) Change(shrink bool) map[string]map[string]string {
	if c.Place != Main {
		return nil
	}
	var out map[string]map[string]string
	for _, list := range []string{"requests", "limits"} {
		for _, name := range both {
			want := c.next(name, list)
			if want == "" || name.of(c).Verdict == Shrink && !shrink {
				continue
			}
			if out == nil {
				out = map[string]map[string]string{}
			}
			if out[list] == nil {
				out[list] = map[string]string{}
			}
			out[list][string(name)] = want
		}
	}
	return out
}
