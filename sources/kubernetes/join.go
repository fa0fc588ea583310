package kubernetes

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

// address is where a targetRef points: VPA matches by kind and name, whatever the apiVersion says.
type address struct{ namespace, kind, name string }

// joiner finds what belongs to a workload.
type joiner struct {
	workloads   map[address]*workload
	pods        map[address][]*pod      // by the workload on top
	ended       map[address][]*pod      // likewise those that run no more
	scalers     map[address]*scaler     // by target
	checkpoints map[address]*checkpoint // by VPA's namespace and name, and container in place of the kind
	rolled      map[address]time.Time   // when the newest version of a template was made
	versions    map[address]int64       // and which it was
	jobs        map[address][]*workload // of a CronJob
	bounds      map[string]bounds       // by namespace
	usage       containerUsage
	scales      map[address]scale
	all         map[string][]*pod // by namespace, of those that a scale may choose
}

// join puts every VPA beside the workload it watches. A VPA without a target watches nothing.
func join(found objects, namespaces []string) ([]rightsizing.Workload, error) {
	j := newJoiner(found)
	// The older VPA is the one the cluster obeys when two watch one workload, the first by name
	// when they are of one age.
	slices.SortFunc(found.vpas, func(a, b *vpa) int {
		return cmp.Or(a.Metadata.Created.Compare(b.Metadata.Created), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	var out []rightsizing.Workload
	for _, v := range found.vpas {
		namespace := v.Metadata.namespace()
		if v.Spec.TargetRef == nil || len(namespaces) > 0 && !slices.Contains(namespaces, namespace) {
			continue
		}
		w, err := j.workload(v, address{namespace, v.Spec.TargetRef.Kind, v.Spec.TargetRef.Name})
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b rightsizing.Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	first := 0
	for i := range out {
		if out[i].Namespace != out[first].Namespace || out[i].Kind != out[first].Kind || out[i].Name != out[first].Name {
			first = i
		} else if i > first {
			out[first].Rivals = append(out[first].Rivals, out[i].VPA)
		}
	}
	return out, nil
}

func newJoiner(found objects) *joiner {
	j := &joiner{
		workloads: map[address]*workload{}, pods: map[address][]*pod{}, ended: map[address][]*pod{}, scalers: map[address]*scaler{},
		checkpoints: map[address]*checkpoint{}, rolled: map[address]time.Time{}, versions: map[address]int64{},
		jobs: map[address][]*workload{}, bounds: namespaceBounds(found), usage: found.usage, scales: found.scales,
		all: map[string][]*pod{},
	}
	for _, w := range found.workloads {
		at := address{w.Metadata.namespace(), w.Kind, w.Metadata.Name}
		j.workloads[at] = w
		owner, owned := w.Metadata.owner()
		switch {
		case owned && w.Kind == "ReplicaSet":
			version, _ := strconv.ParseInt(w.Metadata.Annotations[revisionAnnotation], 10, 64) // without one it is the first
			j.roll(owner, version, w.Metadata.Created)
		case owned && w.Kind == "Job":
			j.jobs[owner] = append(j.jobs[owner], w)
		}
	}
	for _, r := range found.revisions {
		if owner, owned := r.Metadata.owner(); owned {
			j.roll(owner, r.Revision, r.Metadata.Created)
		}
	}
	for _, p := range found.pods {
		at, owned := j.top(p.Metadata)
		switch {
		case !owned:
		case p.over():
			j.ended[at] = append(j.ended[at], p)
		default:
			j.pods[at] = append(j.pods[at], p)
		}
	}
	if len(j.scales) > 0 {
		for _, p := range found.pods {
			if !p.over() {
				j.all[p.Metadata.namespace()] = append(j.all[p.Metadata.namespace()], p)
			}
		}
		for _, pods := range j.all {
			slices.SortFunc(pods, func(a, b *pod) int { return cmp.Compare(a.Metadata.Name, b.Metadata.Name) })
		}
	}
	for _, pods := range j.pods { // a mirror has no order, and what is made of it must have one
		slices.SortFunc(pods, func(a, b *pod) int { return cmp.Compare(a.Metadata.Name, b.Metadata.Name) })
	}
	for _, s := range found.scalers {
		at := address{s.Metadata.namespace(), s.Spec.Target.Kind, s.Spec.Target.Name}
		if other := j.scalers[at]; other == nil || s.Metadata.Name < other.Metadata.Name {
			j.scalers[at] = s
		}
	}
	for _, c := range found.checkpoints {
		// By what it says, not by its name, which two pairs of names may share.
		j.checkpoints[address{c.Metadata.namespace(), c.Spec.Container, c.Spec.VPA}] = c
	}
	return j
}

// roll notes a version of a template.
func (j *joiner) roll(owner address, version int64, made time.Time) {
	if before, known := j.versions[owner]; !known || version > before || version == before && made.After(j.rolled[owner]) {
		j.versions[owner], j.rolled[owner] = version, made
	}
}

// owner is who controls an object.
func (m metadata) owner() (address, bool) {
	for _, o := range m.Owners {
		if o.Controller {
			return address{m.namespace(), o.Kind, o.Name}, true
		}
	}
	return address{}, false
}

// top is the workload on top of all that own an object: what VPA wants a targetRef to name.
func (j *joiner) top(m metadata) (at address, owned bool) {
	for range 8 { // nobody owns himself, but a file may say so
		up, ok := m.owner()
		if !ok {
			break
		}
		at, owned = up, true
		above := j.workloads[up]
		if above == nil {
			break
		}
		m = above.Metadata
	}
	return at, owned
}

// workload makes one of a VPA's target.
func (j *joiner) workload(v *vpa, at address) (rightsizing.Workload, error) {
	w := rightsizing.Workload{
		Namespace:  at.namespace,
		Kind:       at.kind,
		Name:       at.name,
		VPA:        v.Metadata.Name,
		UpdateMode: cmp.Or(v.Spec.UpdatePolicy.UpdateMode, "Recreate"), // as VPA reads a mode left out
		RolledOut:  j.rolled[at],
		StatusAt:   v.written(),
		Spec:       v.Spec.raw,
		APIVersion: v.Spec.TargetRef.Version,
	}
	t := j.workloads[at]
	pods := j.pods[at]
	scale, scaled := j.scales[at]
	if scaled && len(pods) == 0 && scale.selector != nil {
		// Whatever stands between the two: its pods are those that it chooses.
		for _, p := range j.all[at.namespace] {
			if scale.selector.Matches(labels.Set(p.Metadata.Labels)) {
				pods = append(pods, p)
			}
		}
	}
	w.Condition, w.Message = v.condition(t != nil || len(pods) > 0 || scaled)
	if s := j.scalers[at]; s != nil {
		w.Autoscaler = s.autoscaler()
	}
	if t != nil {
		w.Replicas = t.replicas()
		w.Labels, w.Managed = t.labels(), t.managed()
		w.Chart, w.Release = t.chart()
		if t.Kind == "CronJob" {
			w.Pods = meanPods(j.jobs[at], t.parallelism())
		}
		spec := t.template().Spec
		if w.Condition == "" && spec.Resources.some() {
			w.Condition = rightsizing.PodLevel
		}
		if err := describe(&w, spec); err != nil {
			return w, fmt.Errorf("%s %s/%s: %w", at.kind, at.namespace, at.name, err)
		}
		values(w.Containers, t.Metadata.Annotations[valuesAnnotation])
	} else if len(pods) > 0 || scaled {
		// A kind that is not read, such as a Rollout: its pods show it, but not where to change it.
		if w.Replicas = len(pods); scaled {
			w.Replicas = scale.replicas
		}
		if len(pods) > 0 {
			w.Labels = serviceLabels(pods[0].Metadata.Labels, nil)
		}
	}
	w.Skew = skew(pods, j.usage)
	w.Room = j.bounds[at.namespace].room
	for _, p := range pods {
		if err := p.show(&w); err != nil {
			return w, fmt.Errorf("%s %s/%s: pod %s: %w", at.kind, at.namespace, at.name, p.Metadata.Name, err)
		}
	}
	for _, p := range j.ended[at] {
		p.mourn(&w)
	}
	for i := range w.Containers {
		c, b := &w.Containers[i], j.bounds[at.namespace]
		c.CPU.Floor, c.Memory.Floor = b.least.CPU, b.least.Memory
		c.CPU.Ceiling, c.Memory.Ceiling = b.most.CPU, b.most.Memory
	}
	if err := errors.Join(v.policies(w.Containers), v.recommend(w.Containers), j.remember(&w)); err != nil {
		return w, fmt.Errorf("%s %s/%s: %w", vpas.name, at.namespace, v.Metadata.Name, err)
	}
	return w, nil
}

// namespace is where the object is: a file may leave it out, as kubectl does.
func (m metadata) namespace() string { return cmp.Or(m.Namespace, "default") }

// written is when the VPA's status was last written; zero when nobody says.
func (v *vpa) written() time.Time {
	var at time.Time
	for _, m := range v.Metadata.Managed {
		if m.Subresource == "status" && m.Time.After(at) {
			at = m.Time
		}
	}
	return at
}

// condition is why the recommendation says nothing. The recommender's own word goes first.
func (v *vpa) condition(found bool) (rightsizing.Condition, string) {
	said := map[string]condition{}
	for _, c := range v.Status.Conditions {
		if c.Status == "True" {
			said[c.Type] = c
		}
	}
	_, nopods := said["NoPodsMatched"]
	_, doubted := said["LowConfidence"]
	switch c, unsupported := said["ConfigUnsupported"]; {
	case unsupported:
		return rightsizing.Unsupported, c.Message
	case !found:
		return rightsizing.Missing, ""
	case nopods:
		return rightsizing.NoPods, ""
	case v.Status.Observed != nil && *v.Status.Observed != v.Metadata.Generation:
		return rightsizing.Outdated, ""
	case doubted:
		return rightsizing.Doubted, ""
	}
	return "", ""
}

// replicas is how many pods the workload is to have.
func (w *workload) replicas() int {
	switch {
	case w.Kind == "DaemonSet":
		return w.Status.Desired
	case w.Kind == "Job":
		return w.parallelism()
	case w.Kind == "CronJob":
		return 0
	case w.Spec.Replicas == nil:
		return 1
	}
	return *w.Spec.Replicas
}

func (w *workload) parallelism() int {
	p := w.Spec.Parallelism
	if w.Kind == "CronJob" {
		p = w.Spec.JobTemplate.Spec.Parallelism
	}
	if p == nil {
		return 1
	}
	return *p
}

// template is where the pods are described.
func (w *workload) template() template {
	if w.Kind == "CronJob" {
		return w.Spec.JobTemplate.Spec.Template
	}
	return w.Spec.Template
}

// labels are those that may name a service, the workload's own before its pods'.
func (w *workload) labels() map[string]string {
	return serviceLabels(w.Metadata.Labels, w.template().Metadata.Labels)
}

func serviceLabels(own, pods map[string]string) map[string]string {
	var out map[string]string
	for _, name := range rightsizing.ServiceLabels {
		if value := cmp.Or(own[name], pods[name]); value != "" {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = value
		}
	}
	return out
}

// managed is who writes the workload and would undo what others do to it.
func (w *workload) managed() string {
	l := w.Metadata.Labels
	switch {
	case w.Metadata.Annotations[argoAnnotation] != "":
		return "Argo CD"
	case l["kustomize.toolkit.fluxcd.io/name"] != "", l["helm.toolkit.fluxcd.io/name"] != "":
		return "Flux"
	case l["app.kubernetes.io/managed-by"] == "Helm":
		return "Helm"
	}
	return ""
}

// chart is the Helm chart that the workload comes from, without its version, and the chart's release.
func (w *workload) chart() (name, release string) {
	l := w.Metadata.Labels
	name = l["helm.sh/chart"]
	if m := chartVersion.FindStringIndex(name); m != nil && m[0] > 0 {
		name = name[:m[0]]
	}
	release = w.Metadata.Annotations[releaseAnnotation]
	if name != "" && release == "" {
		release = l["app.kubernetes.io/instance"]
	}
	return name, release
}

// chartVersion is the end of the label helm.sh/chart: name-1.2.3, where + is written as _.
var chartVersion = regexp.MustCompile(`-v?[0-9]+\.[0-9]+\.[0-9]+([-+_.][-+_.0-9A-Za-z]*)?$`)

// values notes where a chart's values hold the resources of containers, as an annotation says it: one
// path, of the only container, or container=path for each.
func values(containers []rightsizing.Container, annotation string) {
	only := -1
	for i := range containers {
		if containers[i].Place == rightsizing.Main {
			if only >= 0 {
				only = len(containers) // not the only one
				continue
			}
			only = i
		}
	}
	for part := range strings.SplitSeq(annotation, ",") {
		name, path, named := strings.Cut(strings.TrimSpace(part), "=")
		i := only
		if named {
			i = slices.IndexFunc(containers, func(c rightsizing.Container) bool { return c.Name == name && c.Place == rightsizing.Main })
		} else {
			path = name
		}
		if i >= 0 && i < len(containers) && path != "" {
			containers[i].Values = path
		}
	}
}

// meanPods is how many pods of a CronJob run on the mean: how long a job takes, for how long there
// is from one to the next. Undefined before the second one has started.
func meanPods(jobs []*workload, parallel int) slo.Value {
	var first, last time.Time
	var running time.Duration
	ended := 0
	for _, job := range jobs {
		at := job.Status.Started
		if at.IsZero() {
			continue
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
		if job.Status.Completed.After(at) {
			running += job.Status.Completed.Sub(at)
			ended++
		}
	}
	if ended == 0 || !last.After(first) {
		return slo.Value{}
	}
	started := 0
	for _, job := range jobs {
		if !job.Status.Started.IsZero() {
			started++
		}
	}
	every := last.Sub(first).Seconds() / float64(started-1)
	return slo.Defined(float64(parallel) * running.Seconds() / float64(ended) / every)
}

// autoscaler is what a HorizontalPodAutoscaler looks at. One that says nothing looks at CPU.
func (s *scaler) autoscaler() *rightsizing.Autoscaler {
	a := &rightsizing.Autoscaler{Name: s.Metadata.Name, Min: 1, Max: s.Spec.Max}
	if s.Spec.Min != nil {
		a.Min = *s.Spec.Min
	}
	if len(s.Spec.Metrics) == 0 {
		a.CPU = slo.Defined(0.8) // the API server's default
	}
	for _, m := range s.Spec.Metrics {
		if r := m.Resource; r != nil && r.Target.Utilization != nil {
			share := slo.Defined(*r.Target.Utilization / 100)
			switch r.Name {
			case "cpu":
				a.CPU = share
			case "memory":
				a.Memory = share
			}
		}
		if r := m.Container; r != nil && r.Target.Utilization != nil {
			if a.Containers == nil {
				a.Containers = map[string]rightsizing.Resources{}
			}
			one, share := a.Containers[r.Container], slo.Defined(*r.Target.Utilization/100)
			switch r.Name {
			case "cpu":
				one.CPU = share
			case "memory":
				one.Memory = share
			}
			a.Containers[r.Container] = one
		}
	}
	return a
}

// describe adds the template's containers with what they ask for, native sidecars among them.
func describe(w *rightsizing.Workload, spec podSpec) error {
	for i := range spec.Containers {
		one, err := spec.Containers[i].read()
		if err != nil {
			return err
		}
		one.Index = i
		w.Containers = append(w.Containers, one)
	}
	for i := range spec.Init {
		one, err := spec.Init[i].read()
		if err != nil {
			return err
		}
		if one.Index = i; spec.Init[i].Restart == "Always" {
			one.Place = rightsizing.Sidecar
			w.Containers = append(w.Containers, one)
		} else {
			w.Init = append(w.Init, one)
		}
	}
	return nil
}

// read is what a container asks for.
func (c *container) read() (rightsizing.Container, error) {
	out := rightsizing.Container{Name: c.Name, Raw: c.Raw, Heap: c.heap}
	err := errors.Join(
		c.asks.Requests.read("request", &out.CPU.Request, &out.Memory.Request),
		c.asks.Limits.read("limit", &out.CPU.Limit, &out.Memory.Limit),
	)
	if err != nil {
		return out, fmt.Errorf("container %s: %w", c.Name, err)
	}
	if !out.CPU.Request.Defined && out.CPU.Limit.Defined {
		out.CPU.Request, out.CPU.Defaulted = out.CPU.Limit, true // a request left out is the limit
	}
	if !out.Memory.Request.Defined && out.Memory.Limit.Defined {
		out.Memory.Request, out.Memory.Defaulted = out.Memory.Limit, true
	}
	return out, nil
}

// show adds what a pod shows of its containers, and those that others have put beside them.
func (p *pod) show(w *rightsizing.Workload) error {
	for i := range p.Containers {
		one := &p.Containers[i]
		k := slices.IndexFunc(w.Containers, func(c rightsizing.Container) bool { return c.Name == one.Name && c.Place != rightsizing.Sidecar })
		if k < 0 {
			has, err := one.read()
			if err != nil {
				return err
			}
			has.Place = rightsizing.Injected
			w.Containers = append(w.Containers, has)
			k = len(w.Containers) - 1
		}
		c := &w.Containers[k]
		if one.killed.After(c.OOMKilled) {
			c.OOMKilled = one.killed
		}
		c.Boosted = c.Boosted || one.boosted
		if err := one.has.Requests.fault; err != nil {
			return fmt.Errorf("container %s: request %w", one.Name, err)
		}
		runsOn(&c.CPU, one.has.Requests.cpu)
		runsOn(&c.Memory, one.has.Requests.memory)
		if p.Resize != "" && c.Resize != "Infeasible" {
			c.Resize = p.Resize
		}
	}
	return nil
}

// over reports whether a pod runs no more, and asks for nothing.
func (p *pod) over() bool { return p.Phase == "Succeeded" || p.Phase == "Failed" }

// mourn adds how a pod that runs no more died. The pods of Jobs are started once: whoever passes over
// those that failed never sees that they are killed.
func (p *pod) mourn(w *rightsizing.Workload) {
	for i := range p.Containers {
		one := &p.Containers[i]
		for k := range w.Containers {
			if c := &w.Containers[k]; c.Name == one.Name && c.Place != rightsizing.Sidecar && one.killed.After(c.OOMKilled) {
				c.OOMKilled = one.killed
			}
		}
	}
}

// runsOn notes what a running pod asks for. Where the template asks for nothing, that is what a
// LimitRange gave it.
func runsOn(r *rightsizing.Resource, request slo.Value) {
	if !request.Defined {
		return
	}
	if !r.Running.Defined || request.Float > r.Running.Float {
		r.Running = request
	}
	if !r.Request.Defined {
		r.Request, r.Defaulted = request, true
	}
}

// policies are what the VPA may do with each container: the one that names it, else that for all
// others, never both.
func (v *vpa) policies(containers []rightsizing.Container) error {
	for i := range containers {
		c := &containers[i]
		c.Boosted = c.Boosted || len(v.Spec.StartupBoost) > 0
		all := v.Spec.ResourcePolicy.Containers
		k := slices.IndexFunc(all, func(p policy) bool { return p.Name == c.Name })
		if k < 0 {
			k = slices.IndexFunc(all, func(p policy) bool { return p.Name == "*" })
		}
		if k < 0 {
			continue
		}
		p := &all[k]
		c.Excluded = p.Mode == "Off"
		c.KeepsLimit = p.Values == "RequestsOnly"
		c.Boosted = c.Boosted || len(p.StartupBoost) > 0
		if p.Controlled != nil {
			c.CPU.Uncontrolled = !slices.Contains(*p.Controlled, "cpu")
			c.Memory.Uncontrolled = !slices.Contains(*p.Controlled, "memory")
		}
		err := errors.Join(
			p.MinAllowed.read("minAllowed", &c.CPU.MinAllowed, &c.Memory.MinAllowed),
			p.MaxAllowed.read("maxAllowed", &c.CPU.MaxAllowed, &c.Memory.MaxAllowed),
		)
		if err != nil {
			return fmt.Errorf("container %s: %w", c.Name, err)
		}
	}
	return nil
}

// recommend fills in what the VPA says about the containers. A container that it still remembers
// but neither the template nor a pod has any more is passed over.
func (v *vpa) recommend(containers []rightsizing.Container) error {
	for _, r := range v.Status.Recommendation.Containers {
		i := slices.IndexFunc(containers, func(c rightsizing.Container) bool { return c.Name == r.Name })
		if i < 0 {
			continue
		}
		cpu, memory := &containers[i].CPU, &containers[i].Memory
		err := errors.Join(
			r.Target.read("target", &cpu.Target, &memory.Target),
			r.Lower.read("lowerBound", &cpu.Lower, &memory.Lower),
			r.Upper.read("upperBound", &cpu.Upper, &memory.Upper),
			r.Uncapped.read("uncappedTarget", &cpu.Uncapped, &memory.Uncapped),
		)
		if err != nil {
			return fmt.Errorf("container %s: %w", r.Name, err)
		}
	}
	return nil
}

// remember adds what the recommender's checkpoints say.
func (j *joiner) remember(w *rightsizing.Workload) error {
	for i := range w.Containers {
		c := &w.Containers[i]
		kept := j.checkpoints[address{w.Namespace, c.Name, w.VPA}]
		if kept == nil || kept.Status.Updated.IsZero() {
			continue
		}
		if err := errors.Join(kept.Status.CPU.fault, kept.Status.Memory.fault); err != nil {
			return fmt.Errorf("checkpoint %s: %w", kept.Metadata.Name, err)
		}
		c.Checkpoint = &rightsizing.Checkpoint{
			Updated: kept.Status.Updated, First: kept.Status.First, Last: kept.Status.Last,
			Samples: kept.Status.Samples, CPU: kept.Status.CPU.buckets, Memory: kept.Status.Memory.buckets,
		}
	}
	return nil
}

// read sets the amounts that are there, in cores and bytes, and leaves the others undefined.
func (a *amounts) read(what string, cpu, memory *slo.Value) error {
	if a.fault != nil {
		return fmt.Errorf("%s %w", what, a.fault)
	}
	if a.cpu.Defined {
		*cpu = a.cpu
	}
	if a.memory.Defined {
		*memory = a.memory
	}
	return nil
}
