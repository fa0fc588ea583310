// Package rightsizing turns a recommendation into a decision: how much, worth how much, safe or
// not and why, with the patch ready.
//
//	what a cluster says ─▶ Judge.Judge ─▶ verdicts, money ─▶ Judge.Gate ─▶ safe, blocked, urgent
//	                          ▲  │                               ▲
//	                          │  ▼                               │
//	                         Memory                         []slo.Status
//
// Like package slo it is arithmetic alone: no Kubernetes, no I/O, no clock. A source of workloads
// fills in what was read; what is judged stands beside it. VPA forgets a peak within three days and
// says neither since when it knows something nor whether it is still alive, so a proposal to ask
// for less leans on what Memory saw over two weeks, and on what the recommender's checkpoints say;
// a proposal to ask for more on the present alone.
package rightsizing

import (
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Workload is one Kubernetes workload with the VPA that watches it.
type Workload struct {
	Namespace  string
	Kind       string // Deployment, StatefulSet …
	APIVersion string // of the kind, as the VPA writes it: apps/v1
	Name       string
	VPA        string   // name of the VerticalPodAutoscaler
	UpdateMode string   // Off, Initial, Recreate, InPlaceOrRecreate, Auto
	Replicas   int      // pods of the workload
	Services   []string // services of the configuration that it serves
	Containers []Container

	// What was read besides.
	Labels     map[string]string // of the workload: ServiceLabels alone
	Pods       slo.Value         // pods that run on the mean, where Replicas does not say it: of a CronJob
	Init       []Container       // init containers that end: they count for the QoS class alone
	Condition  Condition         // why nothing can be said, as the VPA and its target tell it
	Message    string            // what the recommender says about it; "" for nothing
	Rivals     []string          // further VPAs that watch the same workload; the cluster obeys this one
	StatusAt   time.Time         // when the VPA's status was last written; zero when nobody knows
	RolledOut  time.Time         // when the pods' template last changed; zero when nobody knows
	Autoscaler *Autoscaler       // that decides the number of pods; nil: none does
	Managed    string            // who writes the workload: Helm, Argo CD, Flux; "" when nobody is known to
	Chart      string            // of Helm, without its version, whoever applies it; "" when none is known
	Release    string            // of the chart; "" when none is known
	Spec       string            // of a VPA that applies what it recommends, as JSON, for a patch and its guards; "" is none
	Room       Resources         // what the namespace's ResourceQuota has left; undefined: there is none
	Skew       slo.Value         // largest pod's use over that of the pod in the middle, 1 and more

	// What was judged.
	Judgement
}

// Mean is how many pods run on the mean; undefined of a CronJob that has not run twice.
func (w *Workload) Mean() slo.Value {
	if w.Pods.Defined || w.Kind == "CronJob" && w.Replicas == 0 {
		return w.Pods
	}
	return slo.Defined(float64(w.Replicas))
}

// Condition says why a VPA's recommendation says nothing. The zero value: it may say something.
type Condition string

// Conditions, each the code of the reason that it becomes.
const (
	Missing     Condition = "workload_missing"    // the target is not there, or of a kind that is not read
	Unsupported Condition = "config_unsupported"  // the recommender cannot watch it; Message says why
	NoPods      Condition = "no_pods"             // an old recommendation stays when the pods have gone
	Outdated    Condition = "spec_changed"        // the recommendation is for an older spec of the VPA
	PodLevel    Condition = "pod_level_resources" // resources of the pod as a whole: VPA does not know them
	Doubted     Condition = "low_confidence"      // the recommender itself says so (none of upstream does)
)

// ServiceLabels are the labels of a workload that may name its service, the first first.
var ServiceLabels = []string{"tags.datadoghq.com/service", "app.kubernetes.io/part-of", "app.kubernetes.io/name"}

// Autoscaler is a HorizontalPodAutoscaler: while it keeps use at a share of the request, a smaller
// request means more pods, not less money.
type Autoscaler struct {
	Name        string
	Min, Max    int
	CPU, Memory slo.Value            // use of all containers that it aims at, as a share of the request; undefined: it does not look
	Containers  map[string]Resources // likewise of single containers
}

// Resources are two numbers of one kind.
type Resources struct{ CPU, Memory slo.Value }

// Container is one container of a workload. All amounts are per pod.
type Container struct {
	Name   string
	CPU    Resource // in cores
	Memory Resource // in bytes

	// What was read besides.
	Place      Place
	Index      int         // in its list of the template, for a patch
	Raw        string      // its resources as JSON, as they are written, for a patch's guards; "" is none
	Excluded   bool        // the VPA's policy is to leave it alone
	Checkpoint *Checkpoint // nil: none is kept
	OOMKilled  time.Time   // when a pod's last was; zero: none that is known of
	Heap       Heap        // what its command says about its heap
	Boosted    bool        // pods that start have more for a while (startupBoost)
	Resize     string      // what a pod says of a resize that waits: Deferred, Infeasible
	KeepsLimit bool        // the VPA's policy is to change requests only (controlledValues)
	Values     string      // path of its resources in the values of the chart: "api.resources"; "" when nobody said

	// What was judged.
	KeepLimit bool // the VPA's policy should be to change requests only: its limit would cut into use
}

// Place is where a container is written.
type Place uint8

// Places.
const (
	Main     Place = iota // among the template's containers
	Sidecar               // an init container that goes on running: VPA recommends nothing for it
	Injected              // in the pods alone: whoever puts it there decides
)

// String is the place in a word.
func (p Place) String() string {
	switch p {
	case Sidecar:
		return "sidecar"
	case Injected:
		return "injected"
	}
	return "template"
}

// Resource is what one container has, and what is recommended, of one resource. A value that is
// not set is undefined.
type Resource struct {
	Request, Limit                 slo.Value // as the template asks; as the pods have it where the template says nothing
	Target, Lower, Upper, Uncapped slo.Value // VPA's recommendation

	// What was read besides.
	Defaulted              bool      // the template says nothing: the request is what a LimitRange gave
	Running                slo.Value // the largest request of a pod; differs while a VPA applies
	MinAllowed, MaxAllowed slo.Value // the VPA's policy
	Floor, Ceiling         slo.Value // what the namespace's LimitRange lets a container ask for, at least and at most
	Uncontrolled           bool      // the VPA's policy is to leave it alone

	// What was judged.
	Proposed      slo.Value // the request yoyu proposes, in the end
	ProposedLimit slo.Value // the limit beside it; undefined: none, as before
	Step          slo.Value // the request of the next change: a big cut goes in stages
	Headroom      slo.Value // Request − Proposed: positive is waste, negative is need
	Verdict       Verdict   // "" where VPA is not to say anything
	Reasons       []string  // codes, in the order they were found
	Evidence      Evidence
	EligibleAt    time.Time // from when a shrink that waits may go; zero: nobody knows, or it does not wait
	NextMin       slo.Value // what the VPA's minAllowed should become; undefined: it stays
	NextMax       slo.Value // likewise maxAllowed

	lower slo.Value // how far minAllowed could go down, if the budgets bear it
	short bool      // something asks for more, whether or not it is to have it
}

// Evidence is what a verdict leans on.
type Evidence struct {
	P50, P90, P95, P99, Max slo.Value // of use, from the recommender's checkpoint; of memory: of daily peaks
	HighWater               slo.Value // largest need of the last two weeks
	Since                   time.Time // since when the target has stood where it is; zero: unknown
	Watched                 time.Duration
	Confidence              slo.Value // days that VPA has watched
	Representative          slo.Value // share of the recommendation that the present version owns, 0–1
	Risk                    slo.Value // share of memory peaks above the proposed limit (or request), 0–1
	Replicas                slo.Value // how many pods an autoscaler would make of the proposal
}

// Verdict is what should become of a request.
type Verdict string

// The verdicts.
const (
	Raise   Verdict = "raise"
	Shrink  Verdict = "shrink"
	Keep    Verdict = "keep"
	Unknown Verdict = "unknown"
)

// Verdicts are all of them, the most pressing first.
var Verdicts = []Verdict{Raise, Shrink, Keep, Unknown}

// Passage is what the error budgets say to a shrink.
type Passage string

// What a gate says; "" where nothing shrinks.
const (
	Safe    Passage = "safe"    // every SLO of every service it runs allows it
	Blocked Passage = "blocked" // one does not
	Ungated Passage = "ungated" // no SLO watches it
)

// Passages are all of them.
var Passages = []Passage{Safe, Blocked, Ungated}

// Reason is one code of a verdict. Container and Resource are empty where it is about more than one.
type Reason struct {
	Container string
	Resource  string // cpu, memory
	Code      string // stable; one of Codes
}

// Judgement is what is decided about a workload.
type Judgement struct {
	Verdict    Verdict // folded: raise before shrink before keep before unknown
	Reasons    []Reason
	Sentence   string    // one plain sentence
	EligibleAt time.Time // from when all that waits may go; zero: nobody knows, or nothing waits

	Currency string    // "" when no prices are known
	Savings  slo.Value // an hour, all pods, what shrinks; undefined without prices
	Cost     slo.Value // an hour, all pods, what grows; undefined without prices

	Gate     Passage
	Exposure slo.Value // largest share of a budget that goes wrong with a change, until it is rolled back
	Trade    slo.Value // money a month for each percent of a budget at risk
	Urgency  int       // of a raise, or of taking a change back: 0 none to 3 now
	Change   *Change   // the last of what the template asks for; nil: none that was seen
	Tallies  []Tally   // how those before went

	QoS, ProposedQoS string // Guaranteed, Burstable, BestEffort; before and after

	against *fault  // the first that a budget has against the shrink; nil: none
	bears   bool    // every budget can bear a change
	most    float64 // share of a request that one change may give back
}

// resource names a resource of a container.
type resourceName string

const (
	cpu    resourceName = "cpu"
	memory resourceName = "memory"
)

func (r resourceName) scale() scale {
	if r == cpu {
		return cpuScale
	}
	return memoryScale
}

// of is the container's part of a resource.
func (r resourceName) of(c *Container) *Resource {
	if r == cpu {
		return &c.CPU
	}
	return &c.Memory
}

var both = []resourceName{cpu, memory}
