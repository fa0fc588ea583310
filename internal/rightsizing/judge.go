package rightsizing

import "github.com/yoyu-sre/yoyu/slo"

// Judge works out, for every container of the workload, the request to propose and the headroom
// it leaves. What was read stays as it is; what was proposed before is replaced.
//
// So far the proposal is VPA's target, taken at its word: the high-water mark of two weeks, the
// verdicts and the gate that holds a shrink back while a budget is short are not here yet. A
// proposal is what would be asked for, not advice to ask for it now.
func Judge(w *Workload) {
	for i := range w.Containers {
		w.Containers[i].CPU.judge()
		w.Containers[i].Memory.judge()
	}
}

// judge proposes for one resource. Without a target there is no proposal, and without a request
// no headroom: a container that asks for nothing does not need everything.
func (r *Resource) judge() {
	r.Proposed, r.Headroom = r.Target, slo.Value{}
	if r.Request.Defined && r.Proposed.Defined {
		r.Headroom = slo.Defined(r.Request.Float - r.Proposed.Float)
	}
}
