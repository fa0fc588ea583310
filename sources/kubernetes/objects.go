package kubernetes

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

// objects are what was read of a cluster, not yet joined.
type objects struct {
	vpas        []*vpa
	checkpoints []*checkpoint
	workloads   []*workload
	revisions   []*revision
	pods        []*pod
	scalers     []*scaler
	ranges      []*limitRange
	quotas      []*quota
	usage       containerUsage // nil: nobody says
	scales      map[address]scale
}

// The parts of the objects that are read; the rest of them may change as it likes. Nobody changes
// an object once it is read: a watch hands the same one to every turn.
type (
	metadata struct {
		Namespace   string            `json:"namespace"`
		Name        string            `json:"name"`
		Version     string            `json:"resourceVersion"`
		Generation  int64             `json:"generation"`
		Created     time.Time         `json:"creationTimestamp"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		Owners      []struct {
			Kind       string `json:"kind"`
			Name       string `json:"name"`
			Controller bool   `json:"controller"`
		} `json:"ownerReferences"`
		Managed []struct {
			Subresource string    `json:"subresource"`
			Time        time.Time `json:"time"`
		} `json:"managedFields"`
	}
	// vpa is a VerticalPodAutoscaler of autoscaling.k8s.io/v1.
	vpa struct {
		Metadata metadata `json:"metadata"`
		Spec     vpaSpec  `json:"spec"`
		Status   struct {
			Recommendation struct {
				Containers []recommendation `json:"containerRecommendations"`
			} `json:"recommendation"`
			Conditions []condition `json:"conditions"`
			Observed   *int64      `json:"observedGeneration"` // nil before VPA 1.8
		} `json:"status"`
	}
	vpaSpec struct {
		plainSpec
		raw string // as it is written; "" of a VPA that does not apply it
	}
	plainSpec struct {
		TargetRef *struct {
			Version string `json:"apiVersion"`
			Kind    string `json:"kind"`
			Name    string `json:"name"`
		} `json:"targetRef"` // nil on objects older than v1
		UpdatePolicy struct {
			UpdateMode string `json:"updateMode"`
		} `json:"updatePolicy"`
		ResourcePolicy struct {
			Containers []policy `json:"containerPolicies"`
		} `json:"resourcePolicy"`
		StartupBoost json.RawMessage `json:"startupBoost"`
	}
	// policy is what a VPA may do with one container, or with all others for "*".
	policy struct {
		Name         string          `json:"containerName"`
		Mode         string          `json:"mode"`
		MinAllowed   amounts         `json:"minAllowed"`
		MaxAllowed   amounts         `json:"maxAllowed"`
		Controlled   *[]string       `json:"controlledResources"` // nil: both
		Values       string          `json:"controlledValues"`    // RequestsOnly; "" is RequestsAndLimits
		StartupBoost json.RawMessage `json:"startupBoost"`
	}
	recommendation struct {
		Name     string  `json:"containerName"`
		Target   amounts `json:"target"`
		Lower    amounts `json:"lowerBound"`
		Upper    amounts `json:"upperBound"`
		Uncapped amounts `json:"uncappedTarget"`
	}
	condition struct {
		Type    string `json:"type"`
		Status  string `json:"status"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
	}
	// checkpoint is a VerticalPodAutoscalerCheckpoint.
	checkpoint struct {
		Metadata metadata `json:"metadata"`
		Spec     struct {
			VPA       string `json:"vpaObjectName"`
			Container string `json:"containerName"`
		} `json:"spec"`
		Status struct {
			Updated time.Time `json:"lastUpdateTime"`
			First   time.Time `json:"firstSampleStart"`
			Last    time.Time `json:"lastSampleStart"`
			Samples int       `json:"totalSamplesCount"`
			CPU     histogram `json:"cpuHistogram"`
			Memory  histogram `json:"memoryHistogram"`
		} `json:"status"`
	}
	// histogram is the weights in the order of their buckets.
	histogram struct {
		buckets rightsizing.Histogram
		fault   error // why they cannot be read
	}
	// workload is anything with a template of pods.
	workload struct {
		Kind     string   `json:"kind"` // left out by lists of one kind
		Metadata metadata `json:"metadata"`
		Spec     struct {
			Replicas    *int     `json:"replicas"`    // nil is 1
			Parallelism *int     `json:"parallelism"` // Job; nil is 1
			Template    template `json:"template"`
			JobTemplate struct {
				Spec struct {
					Parallelism *int     `json:"parallelism"`
					Template    template `json:"template"`
				} `json:"spec"`
			} `json:"jobTemplate"` // CronJob
		} `json:"spec"`
		Status struct {
			Desired   int       `json:"desiredNumberScheduled"` // DaemonSet
			Started   time.Time `json:"startTime"`              // Job
			Completed time.Time `json:"completionTime"`         // Job
		} `json:"status"`
	}
	template struct {
		Metadata metadata `json:"metadata"`
		Spec     podSpec  `json:"spec"`
	}
	podSpec struct {
		Containers []container `json:"containers"`
		Init       []container `json:"initContainers"`
		Resources  resources   `json:"resources"` // of the pod as a whole
	}
	container struct {
		Name    string
		Raw     string // its resources as they are written; "" is none
		Restart string // Always: an init container that goes on running
		asks    resources
		heap    rightsizing.Heap
	}
	// resources are what a container asks for.
	resources struct {
		Requests amounts `json:"requests"`
		Limits   amounts `json:"limits"`
	}
	// amounts are those of the two resources that are read. A broken one is reported with the object
	// it belongs to, and only when that is of use: so it is kept.
	amounts struct {
		cpu, memory slo.Value
		any         bool // there is an amount of something
		fault       error
	}
	// revision is a ControllerRevision: one version of a StatefulSet's or DaemonSet's template.
	revision struct {
		Metadata metadata `json:"metadata"`
		Revision int64    `json:"revision"`
	}
	pod struct {
		Metadata   metadata
		Phase      string
		Resize     string // of a resize in place that waits: Deferred, Infeasible
		Containers []runs
	}
	// runs is one container of a pod.
	runs struct {
		container
		has     resources // what it really has
		boosted bool      // it has more for a while, and asks what it asked for before
		killed  time.Time // its last OOM kill that is known of
	}
	containerState struct {
		Terminated *struct {
			Reason   string    `json:"reason"`
			Finished time.Time `json:"finishedAt"`
		} `json:"terminated"`
	}
	// scaler is a HorizontalPodAutoscaler of autoscaling/v2.
	scaler struct {
		Metadata metadata `json:"metadata"`
		Spec     struct {
			Target struct {
				Kind string `json:"kind"`
				Name string `json:"name"`
			} `json:"scaleTargetRef"`
			Min     *int `json:"minReplicas"` // nil is 1
			Max     int  `json:"maxReplicas"`
			Metrics []struct {
				Resource  *scaled `json:"resource"`
				Container *scaled `json:"containerResource"`
			} `json:"metrics"`
		} `json:"spec"`
	}
	// scaled is a resource that an autoscaler looks at.
	scaled struct {
		Name      string `json:"name"`
		Container string `json:"container"` // of a containerResource
		Target    struct {
			Utilization *float64 `json:"averageUtilization"` // percent of the request; nil: it aims at an amount
		} `json:"target"`
	}
)

func (o *vpa) about() *metadata        { return &o.Metadata }
func (o *checkpoint) about() *metadata { return &o.Metadata }
func (o *workload) about() *metadata   { return &o.Metadata }
func (o *revision) about() *metadata   { return &o.Metadata }
func (p *pod) about() *metadata        { return &p.Metadata }
func (o *scaler) about() *metadata     { return &o.Metadata }

// kept are the annotations that are read; all others are dropped as soon as they are decoded, as
// kubectl keeps whole objects in one.
func kept(name string) bool {
	return name == revisionAnnotation || name == argoAnnotation || name == releaseAnnotation || name == valuesAnnotation || strings.HasPrefix(name, boostAnnotation)
}

// The annotations that are read.
const (
	revisionAnnotation = "deployment.kubernetes.io/revision"
	argoAnnotation     = "argocd.argoproj.io/tracking-id"
	releaseAnnotation  = "meta.helm.sh/release-name"
	valuesAnnotation   = "yoyu/helm-values"    // where the chart's values hold the resources: "api.resources", or "app=api.resources,proxy=api.proxy"
	boostAnnotation    = "vpaCpuStartupBoost/" // and the container's name: what it asked for before
)

// UnmarshalJSON reads a VPA's spec, and keeps it as it is written where the VPA applies it.
func (s *vpaSpec) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &s.plainSpec); err != nil || s.UpdatePolicy.UpdateMode == "Off" {
		return err
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, text)
	s.raw = compact.String()
	return err
}

// UnmarshalJSON keeps what is read of an object's metadata.
func (m *metadata) UnmarshalJSON(text []byte) error {
	type plain metadata
	var all plain
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	var few map[string]string
	for name, value := range all.Annotations {
		if kept(name) {
			if few == nil {
				few = map[string]string{}
			}
			few[name] = value
		}
	}
	all.Annotations = few
	managed := all.Managed[:0]
	for _, one := range all.Managed {
		if one.Subresource == "status" {
			managed = append(managed, one)
		}
	}
	all.Managed = managed[:len(managed):len(managed)]
	*m = metadata(all)
	return nil
}

// UnmarshalJSON reads what a container asks for once, and not at every turn.
func (c *container) UnmarshalJSON(text []byte) error {
	var all struct {
		Name      string          `json:"name"`
		Resources json.RawMessage `json:"resources"`
		Restart   string          `json:"restartPolicy"`
		Command   []string        `json:"command"`
		Args      []string        `json:"args"`
		Env       []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"env"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*c = container{Name: all.Name, Raw: string(all.Resources), Restart: all.Restart}
	if len(all.Resources) > 0 {
		if err := json.Unmarshal(all.Resources, &c.asks); err != nil {
			return fmt.Errorf("container %s: resources: %w", c.Name, err)
		}
	}
	var env []string
	for _, e := range all.Env {
		env = append(env, e.Name+"="+e.Value)
	}
	c.heap = rightsizing.HeapOf(append(all.Command, all.Args...), env)
	return nil
}

// UnmarshalJSON reads what a pod shows of its containers: what they really have, and how they died.
func (p *pod) UnmarshalJSON(text []byte) error {
	var all struct {
		Metadata metadata `json:"metadata"`
		Spec     podSpec  `json:"spec"`
		Status   struct {
			Phase      string      `json:"phase"`
			Conditions []condition `json:"conditions"`
			Containers []struct {
				Name      string         `json:"name"`
				State     containerState `json:"state"`
				Last      containerState `json:"lastState"`
				Resources resources      `json:"resources"` // while it is resized in place
			} `json:"containerStatuses"`
		} `json:"status"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*p = pod{Metadata: all.Metadata, Phase: all.Status.Phase}
	for _, c := range all.Status.Conditions {
		if c.Type == "PodResizePending" && c.Status == "True" {
			p.Resize = c.Reason
		}
	}
	for _, c := range all.Spec.Containers {
		one := runs{container: c, has: c.asks}
		one.Raw = ""
		for _, s := range all.Status.Containers {
			if s.Name != c.Name {
				continue
			}
			if s.Resources.some() {
				one.has = s.Resources
			}
			for _, state := range []containerState{s.State, s.Last} {
				if t := state.Terminated; t != nil && t.Reason == "OOMKilled" && t.Finished.After(one.killed) {
					one.killed = t.Finished
				}
			}
		}
		if before := p.Metadata.Annotations[boostAnnotation+c.Name]; before != "" {
			// Whoever may make pods may write anything here: then nobody knows what the pod asked for
			// before, and no other pod suffers from it.
			one.boosted, one.has = true, resources{}
			if json.Unmarshal([]byte(before), &one.has) != nil || one.has.Requests.fault != nil {
				one.has = resources{}
			}
		}
		p.Containers = append(p.Containers, one)
	}
	p.Metadata.Annotations = nil
	return nil
}

// some reports whether they say anything.
func (r *resources) some() bool { return r.Requests.any || r.Limits.any }

// UnmarshalJSON reads amounts by resource.
func (a *amounts) UnmarshalJSON(text []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*a = amounts{any: len(all) > 0}
	for _, one := range []struct {
		name string
		into *slo.Value
	}{{"cpu", &a.cpu}, {"memory", &a.memory}} {
		text := strings.Trim(string(all[one.name]), `"`)
		if text == "" || text == "null" {
			continue
		}
		v, err := amount(text)
		if err != nil {
			a.fault = errors.Join(a.fault, fmt.Errorf("%s %q: %w", one.name, text, err))
			continue
		}
		*one.into = slo.Defined(v)
	}
	return nil
}

// amount reads a quantity ("379m", "125Mi", "97656250000Ki", "1.50Ki", 0.5) as the nearest
// float64. It goes through decimal text: 379 × 0.001 would be off by a bit.
func amount(text string) (float64, error) {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, errors.New("not a quantity")
	}
	if q.Sign() < 0 {
		return 0, errors.New("negative")
	}
	return strconv.ParseFloat(q.AsDec().String(), 64)
}

// UnmarshalJSON reads the weights of a checkpoint.
func (h *histogram) UnmarshalJSON(text []byte) error {
	var all struct {
		Weights map[string]float64 `json:"bucketWeights"` // by index
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*h = histogram{}
	if len(all.Weights) == 0 {
		return nil
	}
	h.buckets = make(rightsizing.Histogram, 0, len(all.Weights))
	for index, weight := range all.Weights {
		n, err := strconv.Atoi(index)
		if err != nil || n < 0 || weight < 0 {
			*h = histogram{fault: fmt.Errorf("bucket %q of weight %v", index, weight)}
			return nil
		}
		h.buckets = append(h.buckets, rightsizing.Bucket{Index: n, Weight: weight})
	}
	slices.SortFunc(h.buckets, func(a, b rightsizing.Bucket) int { return cmp.Compare(a.Index, b.Index) })
	return nil
}

// object is enough of any object to tell what it is.
type object struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Items      []json.RawMessage `json:"items"`
}

// readFile reads a file of objects: YAML documents, JSON, or lists of either, also as an API server
// answers them. Objects of other kinds are passed over.
func readFile(path string) (objects, error) {
	var found objects
	file, err := os.Open(path)
	if err != nil {
		return found, fmt.Errorf("objects: %w", err)
	}
	defer file.Close()
	decoder := yaml.NewYAMLOrJSONDecoder(bufio.NewReader(file), 4096)
	for n := 1; ; n++ {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return found, fmt.Errorf("objects: %s: document %d: %w", path, n, err)
		}
		if err := found.add(raw, object{}); err != nil {
			return found, fmt.Errorf("objects: %s: document %d: %w", path, n, err)
		}
	}
}

// add takes one object, or every object of a list. Items of a list of one kind do not say what
// they are: outer says it for them.
func (o *objects) add(raw json.RawMessage, outer object) error {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		return nil // between two separators
	}
	var head object
	if err := json.Unmarshal(raw, &head); err != nil {
		return fmt.Errorf("not an object: %w", err)
	}
	if head.Kind == "" {
		head.Kind, head.APIVersion = outer.Kind, outer.APIVersion
	}
	if of, ok := strings.CutSuffix(head.Kind, "List"); ok {
		for i, item := range head.Items {
			if err := o.add(item, object{APIVersion: head.APIVersion, Kind: of}); err != nil {
				return fmt.Errorf("item %d: %w", i, err)
			}
		}
		return nil
	}
	if head.Kind == "" {
		return errors.New("object has no kind")
	}
	group, _, versioned := strings.Cut(head.APIVersion, "/")
	if !versioned {
		group = "" // the core group has a version alone
	}
	for _, k := range append(kinds[:len(kinds):len(kinds)], podMetrics) {
		if head.Kind != k.name || group != k.group {
			continue
		}
		one, err := k.decode(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", head.Kind, err)
		}
		o.put(one)
	}
	return nil
}

// put takes a decoded object.
func (o *objects) put(one read) {
	switch one := one.(type) {
	case *vpa:
		o.vpas = append(o.vpas, one)
	case *checkpoint:
		o.checkpoints = append(o.checkpoints, one)
	case *workload:
		o.workloads = append(o.workloads, one)
	case *revision:
		o.revisions = append(o.revisions, one)
	case *pod:
		o.pods = append(o.pods, one)
	case *scaler:
		o.scalers = append(o.scalers, one)
	case *limitRange:
		o.ranges = append(o.ranges, one)
	case *quota:
		o.quotas = append(o.quotas, one)
	case *podUsage:
		if o.usage == nil {
			o.usage = containerUsage{}
		}
		o.usage.add([]*podUsage{one})
	}
}
