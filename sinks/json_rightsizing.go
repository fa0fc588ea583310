package sinks

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

// JSONRightsizing is what /api/v1/rightsizing and the command answer with: every workload with its
// verdict, the most pressing first.
type JSONRightsizing struct {
	Time      *time.Time     `json:"time"`   // of the report; null before the first
	Totals    []JSONMoney    `json:"totals"` // by currency; of the workloads below
	Workloads []JSONWorkload `json:"workloads"`
}

// JSONMoney adds up what workloads could release or would cost, an hour.
type JSONMoney struct {
	Currency string  `json:"currency"`
	Safe     float64 `json:"hourly_savings_safe"`
	Blocked  float64 `json:"hourly_savings_blocked"`
	Ungated  float64 `json:"hourly_savings_ungated"`
	Cost     float64 `json:"hourly_cost"`
}

// JSONWorkload goes by the names of the labels that the series carry.
type JSONWorkload struct {
	Namespace    string   `json:"namespace"`
	WorkloadKind string   `json:"workload_kind"`
	Workload     string   `json:"workload"`
	VPA          string   `json:"vpa"`
	UpdateMode   string   `json:"update_mode"`
	Replicas     int      `json:"replicas"`
	Services     []string `json:"services"`

	Verdict    string       `json:"verdict"` // raise, shrink, keep, unknown; "" for a second VPA of a workload
	Gate       string       `json:"gate"`    // safe, blocked, ungated; "" where nothing shrinks
	Urgency    int          `json:"urgency"` // of a raise, 0 to 3
	Sentence   string       `json:"sentence"`
	Reasons    []JSONReason `json:"reasons"`
	EligibleAt *time.Time   `json:"eligible_at"` // null when nothing waits, or nobody knows
	Currency   string       `json:"currency"`    // "" without prices
	Savings    Number       `json:"hourly_savings"`
	Cost       Number       `json:"hourly_cost"`
	Exposure   Number       `json:"budget_exposure_ratio"` // of an error budget, when a change goes wrong
	Trade      Number       `json:"monthly_savings_per_budget_percent"`
	Skew       Number       `json:"pod_skew_ratio"` // use of the largest pod over that of the one in the middle
	QoS        string       `json:"qos_class"`
	NextQoS    string       `json:"proposed_qos_class"`
	ManagedBy  string       `json:"managed_by"` // who would undo a patch; "" when nobody is known to

	Containers []JSONContainer         `json:"containers"`
	Patch      []rightsizing.Operation `json:"patch"`       // JSON patch of the next change; null where there is none, or a budget blocks it
	VPAPatch   []rightsizing.Operation `json:"vpa_patch"`   // JSON patch of the policy of a VPA that applies; null where it may stay
	LastChange *JSONChange             `json:"last_change"` // null when none was seen
	Chart      string                  `json:"helm_chart"`  // without its version; "" when none is known
	Release    string                  `json:"helm_release"`
}

// JSONChange is the last change of what a workload's template asks for, and how it went.
type JSONChange struct {
	At        time.Time               `json:"at"`
	Direction string                  `json:"direction"`     // raise, shrink, mixed
	Outcome   string                  `json:"outcome"`       // pending, held, regressed
	Ended     *time.Time              `json:"ended"`         // null while it is pending
	Reasons   []JSONReason            `json:"reasons"`       // why it has regressed
	Reverse   []rightsizing.Operation `json:"reverse_patch"` // takes it back; null unless it has regressed
}

// JSONReason is one reason of a verdict.
type JSONReason struct {
	Container string `json:"container,omitempty"`
	Resource  string `json:"resource,omitempty"`
	Reason    string `json:"reason"`
}

// JSONContainer is one container; all amounts are per pod.
type JSONContainer struct {
	Container     string                       `json:"container"`
	Place         string                       `json:"place"` // template, sidecar (it goes on running, and VPA does not know it), injected (in the pods alone)
	CPU           JSONResource                 `json:"cpu_cores"`
	Memory        JSONResource                 `json:"memory_bytes"`
	CheckpointAt  *time.Time                   `json:"checkpoint_last_update"` // the recommender's heartbeat; null without a checkpoint
	LastOOMKilled *time.Time                   `json:"last_oom_killed"`        // null when none is known of
	Change        map[string]map[string]string `json:"change"`                 // what the next change asks for, by list (requests, limits) and resource; null where nothing changes
	Values        string                       `json:"helm_values"`            // path of its resources in the chart's values; "" when nobody said
}

// JSONResource is what a container has of one resource. What is not known is null.
type JSONResource struct {
	Request        Number       `json:"request"`
	Limit          Number       `json:"limit"`
	Recommendation JSONBounds   `json:"recommendation"`
	Proposed       Number       `json:"proposed_request"`
	ProposedLimit  Number       `json:"proposed_limit"`
	Step           Number       `json:"next_request"` // of the next change: a big cut goes in stages
	Headroom       Number       `json:"headroom"`     // request − proposal: positive is waste, negative is need
	Verdict        string       `json:"verdict"`
	EligibleAt     *time.Time   `json:"eligible_at"`
	Evidence       JSONEvidence `json:"evidence"`
}

// JSONBounds is what the VPA recommends.
type JSONBounds struct {
	Target   Number `json:"target"`
	Lower    Number `json:"lower"`
	Upper    Number `json:"upper"`
	Uncapped Number `json:"uncapped"`
}

// JSONEvidence is what a verdict leans on.
type JSONEvidence struct {
	P50            Number     `json:"p50"` // of use, from the checkpoint
	P90            Number     `json:"p90"`
	P95            Number     `json:"p95"`
	P99            Number     `json:"p99"`
	Max            Number     `json:"max"`
	HighWater      Number     `json:"high_water"` // of the need, in two weeks
	Since          *time.Time `json:"stable_since"`
	Watched        float64    `json:"watched_seconds"`
	Confidence     Number     `json:"confidence_days"`
	Representative Number     `json:"representative_ratio"`
	Risk           Number     `json:"oom_risk_ratio"`
	Replicas       Number     `json:"autoscaled_replicas"`
}

// NewRightsizing makes the document of the workloads that keep chooses; nil keeps all.
func NewRightsizing(r *Report, keep func(*rightsizing.Workload) bool) (JSONRightsizing, error) {
	at := r.Time
	out := JSONRightsizing{Time: utc(&at), Totals: []JSONMoney{}, Workloads: []JSONWorkload{}}
	var chosen []*rightsizing.Workload
	for i := range r.Workloads {
		if w := &r.Workloads[i]; keep == nil || keep(w) {
			chosen = append(chosen, w)
		}
	}
	rightsizing.Rank(chosen)
	for _, w := range chosen {
		one, err := newJSONWorkload(w)
		if err != nil {
			return JSONRightsizing{}, fmt.Errorf("%s %s/%s: patch: %w", w.Kind, w.Namespace, w.Name, err)
		}
		out.Workloads = append(out.Workloads, one)
		out.add(w)
	}
	return out, nil
}

// add adds up a workload's money.
func (d *JSONRightsizing) add(w *rightsizing.Workload) {
	if w.Currency == "" {
		return
	}
	i := slices.IndexFunc(d.Totals, func(m JSONMoney) bool { return m.Currency == w.Currency })
	if i < 0 {
		d.Totals, i = append(d.Totals, JSONMoney{Currency: w.Currency}), len(d.Totals)
	}
	switch m := &d.Totals[i]; w.Gate {
	case rightsizing.Safe:
		m.Safe += w.Savings.Float
	case rightsizing.Blocked:
		m.Blocked += w.Savings.Float
	case rightsizing.Ungated:
		m.Ungated += w.Savings.Float
	}
	d.Totals[i].Cost += w.Cost.Float
}

// Write writes the document on one line.
func (d JSONRightsizing) Write(w io.Writer) error {
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false)
	return to.Encode(d)
}

func newJSONWorkload(w *rightsizing.Workload) (JSONWorkload, error) {
	patch, err := w.Patch()
	if err != nil {
		return JSONWorkload{}, err
	}
	policy, err := w.PolicyPatch()
	out := JSONWorkload{
		Namespace: w.Namespace, WorkloadKind: w.Kind, Workload: w.Name, VPA: w.VPA, UpdateMode: w.UpdateMode,
		Replicas: w.Replicas, Services: append([]string{}, w.Services...),
		Verdict: string(w.Verdict), Gate: string(w.Gate), Urgency: w.Urgency, Sentence: w.Sentence,
		Reasons: []JSONReason{}, EligibleAt: moment(w.EligibleAt), Currency: w.Currency,
		Savings: Number(w.Savings), Cost: Number(w.Cost), Exposure: Number(w.Exposure), Trade: Number(w.Trade),
		Skew: Number(w.Skew), QoS: w.QoS, NextQoS: w.ProposedQoS, ManagedBy: w.Managed, Containers: []JSONContainer{}, Patch: patch,
		VPAPatch: policy, Chart: w.Chart, Release: w.Release,
	}
	if c := w.Change; c != nil {
		out.LastChange = &JSONChange{
			At: c.At.UTC(), Direction: string(c.Direction), Outcome: string(c.Outcome), Ended: moment(c.Ended), Reasons: []JSONReason{}, Reverse: c.Reverse,
		}
		for _, r := range c.Reasons {
			out.LastChange.Reasons = append(out.LastChange.Reasons, JSONReason{r.Container, r.Resource, r.Code})
		}
	}
	for _, r := range w.Reasons {
		out.Reasons = append(out.Reasons, JSONReason{r.Container, r.Resource, r.Code})
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		one := JSONContainer{
			Container: c.Name, Place: c.Place.String(), CPU: newJSONResource(&c.CPU), Memory: newJSONResource(&c.Memory), LastOOMKilled: moment(c.OOMKilled),
			Change: c.Change(w.Gate != rightsizing.Blocked), Values: c.Values,
		}
		if c.Checkpoint != nil {
			one.CheckpointAt = moment(c.Checkpoint.Updated)
		}
		out.Containers = append(out.Containers, one)
	}
	return out, err
}

func newJSONResource(r *rightsizing.Resource) JSONResource {
	n := func(v slo.Value) Number { return Number(v) }
	e := &r.Evidence
	return JSONResource{
		Request: n(r.Request), Limit: n(r.Limit),
		Recommendation: JSONBounds{n(r.Target), n(r.Lower), n(r.Upper), n(r.Uncapped)},
		Proposed:       n(r.Proposed), ProposedLimit: n(r.ProposedLimit), Step: n(r.Step), Headroom: n(r.Headroom),
		Verdict: string(r.Verdict), EligibleAt: moment(r.EligibleAt),
		Evidence: JSONEvidence{
			P50: n(e.P50), P90: n(e.P90), P95: n(e.P95), P99: n(e.P99), Max: n(e.Max), HighWater: n(e.HighWater),
			Since: moment(e.Since), Watched: e.Watched.Seconds(), Confidence: n(e.Confidence),
			Representative: n(e.Representative), Risk: n(e.Risk), Replicas: n(e.Replicas),
		},
	}
}

// moment is a time in UTC; null for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return utc(&t)
}
