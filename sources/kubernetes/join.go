package kubernetes

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

// address is where a targetRef points: VPA matches by kind and name, whatever the apiVersion says.
type address struct{ namespace, kind, name string }

// join puts every VPA beside the workload it watches. A VPA without a target watches nothing.
func join(found objects, namespaces []string) ([]rightsizing.Workload, error) {
	templates := map[address]*workload{}
	for i := range found.workloads {
		w := &found.workloads[i]
		templates[address{w.Metadata.namespace(), w.Kind, w.Metadata.Name}] = w
	}
	// The older VPA is the one the cluster obeys when two watch one workload, the first by name
	// when they are of one age.
	slices.SortFunc(found.vpas, func(a, b vpa) int {
		return cmp.Or(a.Metadata.Created.Compare(b.Metadata.Created), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	var out []rightsizing.Workload
	for i := range found.vpas {
		v := &found.vpas[i]
		namespace := v.Metadata.namespace()
		if v.Spec.TargetRef == nil || len(namespaces) > 0 && !slices.Contains(namespaces, namespace) {
			continue
		}
		at := address{namespace, v.Spec.TargetRef.Kind, v.Spec.TargetRef.Name}
		w := rightsizing.Workload{
			Namespace:  at.namespace,
			Kind:       at.kind,
			Name:       at.name,
			VPA:        v.Metadata.Name,
			UpdateMode: cmp.Or(v.Spec.UpdatePolicy.UpdateMode, "Recreate"), // as VPA reads a mode left out
		}
		if t := templates[at]; t != nil {
			w.Replicas = t.replicas()
			containers, err := t.containers()
			if err != nil {
				return nil, fmt.Errorf("%s %s/%s: %w", at.kind, at.namespace, at.name, err)
			}
			w.Containers = containers
		}
		if err := v.recommend(w.Containers); err != nil {
			return nil, fmt.Errorf("%s %s/%s: %w", vpas.name, namespace, v.Metadata.Name, err)
		}
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b rightsizing.Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// namespace is where the object is: a file may leave it out, as kubectl does.
func (m metadata) namespace() string { return cmp.Or(m.Namespace, "default") }

// replicas is how many pods the workload is to have.
func (w *workload) replicas() int {
	switch {
	case w.Kind == "DaemonSet":
		return w.Status.Desired
	case w.Spec.Replicas == nil:
		return 1
	}
	return *w.Spec.Replicas
}

// containers are the template's containers with what they ask for.
func (w *workload) containers() ([]rightsizing.Container, error) {
	var out []rightsizing.Container
	for _, c := range w.Spec.Template.Spec.Containers {
		one := rightsizing.Container{Name: c.Name}
		err := errors.Join(
			c.Resources.Requests.read("request", &one.CPU.Request, &one.Memory.Request),
			c.Resources.Limits.read("limit", &one.CPU.Limit, &one.Memory.Limit),
		)
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", c.Name, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// recommend fills in what the VPA says about the containers. A container that it still remembers
// but the template has no more is passed over.
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

// read sets the amounts that are there, in cores and bytes, and leaves the others undefined.
func (a amounts) read(what string, cpu, memory *slo.Value) error {
	for _, one := range []struct {
		name string
		into *slo.Value
	}{{"cpu", cpu}, {"memory", memory}} {
		text := strings.Trim(string(a[one.name]), `"`)
		if text == "" || text == "null" {
			continue
		}
		v, err := amount(text)
		if err != nil {
			return fmt.Errorf("%s %s %q: %w", what, one.name, text, err)
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
