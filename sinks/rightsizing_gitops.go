package sinks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
)

// apiVersions are those of the kinds that a template can be changed of. A Job's cannot.
var apiVersions = map[string]string{
	"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "ReplicaSet": "apps/v1",
	"CronJob": "batch/v1", "ReplicationController": "v1",
}

// WriteKustomize writes a component of Kustomize with a patch for each workload whose next change may
// be made, and a comment for each other. A patch goes by the names of containers and says only what
// changes; a workload that the base does not have is an error of kustomize, not a change of another.
// What no SLO watches is a comment too, unless ungated says that it may.
func (d JSONRightsizing) WriteKustomize(w io.Writer, ungated bool) error {
	var out strings.Builder
	fmt.Fprintf(&out, "# Rightsizing at %s. Save it as kustomization.yaml in a folder of its own, and name that folder under components.\n", d.at())
	out.WriteString("apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n")
	var patches strings.Builder
	for i := range d.Workloads {
		one := &d.Workloads[i]
		fmt.Fprintf(&patches, "  # %s: %s%s\n", one.address(), one.said(), oneLine(one.Sentence))
		switch {
		case !one.changes():
		case one.held(ungated):
			patches.WriteString("  # no SLO watches it: --ungated prints its patch\n")
		case apiVersions[one.WorkloadKind] == "":
			fmt.Fprintf(&patches, "  # the template of a %s cannot be changed\n", oneLine(one.WorkloadKind))
		case one.Chart != "" || one.ManagedBy == "Helm":
			patches.WriteString("  # it comes from a Helm chart: -o helm\n")
		default:
			text, err := one.strategic()
			if err != nil {
				return err
			}
			patches.WriteString("  - patch: |-\n")
			for line := range strings.Lines(text) {
				patches.WriteString("      " + line)
			}
		}
	}
	if strings.Contains(patches.String(), "- patch: |-\n") {
		out.WriteString("patches:\n" + patches.String())
	} else {
		out.WriteString("patches: []\n" + patches.String())
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// address is the workload in a comment.
func (w *JSONWorkload) address() string {
	return oneLine(w.Namespace + "/" + w.WorkloadKind + "/" + w.Workload)
}

// held reports whether a change is not printed, because no SLO would notice a mistake.
func (w *JSONWorkload) held(ungated bool) bool {
	return w.Gate == string(rightsizing.Ungated) && !ungated
}

// changes reports whether the next change touches anything.
func (w *JSONWorkload) changes() bool {
	return slices.ContainsFunc(w.Containers, func(c JSONContainer) bool { return len(c.Change) > 0 })
}

// strategic is the next change as a strategic merge patch. It names every container of the template,
// as kustomize puts those that are named before all others.
func (w *JSONWorkload) strategic() (string, error) {
	var containers []any
	for i := range w.Containers {
		c := &w.Containers[i]
		if c.Place != rightsizing.Main.String() {
			continue
		}
		one := map[string]any{"name": c.Container}
		if len(c.Change) > 0 {
			one["resources"] = c.Change
		}
		containers = append(containers, one)
	}
	spec := map[string]any{"template": map[string]any{"spec": map[string]any{"containers": containers}}}
	if w.WorkloadKind == "CronJob" {
		spec = map[string]any{"jobTemplate": map[string]any{"spec": spec}}
	}
	return asYAML(map[string]any{
		"apiVersion": apiVersions[w.WorkloadKind], "kind": w.WorkloadKind,
		"metadata": map[string]any{"name": w.Workload, "namespace": w.Namespace},
		"spec":     spec,
	})
}

func asYAML(v any) (string, error) {
	var out bytes.Buffer
	to := yaml.NewEncoder(&out)
	to.SetIndent(2)
	err := errors.Join(to.Encode(v), to.Close())
	return out.String(), err
}

// ErrNoValues is that changes are due, but nobody said where a chart's values hold a single one.
var ErrNoValues = errors.New("no change could be written: nobody said where the charts' values hold the resources: list them under rightsizing.helm_values, or annotate workloads with yoyu/helm-values")

// WriteHelm writes values for each release of a Helm chart, as one YAML document each: what the next
// changes that may be made ask for, at the paths that configuration or an annotation names. Where the
// path of a container is not known, or two containers have one path and want different things, the
// workload is a comment that says so: nothing is guessed. When that leaves nothing it is ErrNoValues.
func (d JSONRightsizing) WriteHelm(w io.Writer, ungated bool) error {
	type release struct {
		namespace, name, chart string
		notes                  []string
		values                 map[string]any
	}
	var releases []*release
	var others []string
	written, refused := 0, 0
	for i := range d.Workloads {
		one := &d.Workloads[i]
		note := fmt.Sprintf("%s: %s%s", one.address(), one.said(), oneLine(one.Sentence))
		if one.Chart == "" && !slices.ContainsFunc(one.Containers, func(c JSONContainer) bool { return c.Values != "" }) {
			if one.changes() {
				note += "\n# it comes from no Helm chart that is known: -o patch or -o kustomize"
			}
			others = append(others, note)
			continue
		}
		k := slices.IndexFunc(releases, func(r *release) bool {
			return r.namespace == one.Namespace && r.name == one.Release && r.chart == one.Chart
		})
		if k < 0 {
			k = len(releases)
			releases = append(releases, &release{namespace: one.Namespace, name: one.Release, chart: one.Chart, values: map[string]any{}})
		}
		r := releases[k]
		switch {
		case !one.changes():
		case one.held(ungated):
			note += "\n# no SLO watches it: --ungated prints its values"
		default:
			values, why := one.values(r.values)
			if why != "" {
				refused++
				note += "\n# left out: " + why
				break
			}
			r.values = values
			written++
		}
		r.notes = append(r.notes, note)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# Rightsizing at %s.\n", d.at())
	for _, r := range releases {
		out.WriteString("---\n")
		if len(r.values) > 0 {
			fmt.Fprintf(&out, "# helm upgrade %s CHART --namespace %s --reuse-values --values FILE\n", oneLine(orDash(r.name)), oneLine(r.namespace))
		}
		fmt.Fprintf(&out, "# Release %s of chart %s in namespace %s.\n", oneLine(orDash(r.name)), oneLine(orDash(r.chart)), oneLine(r.namespace))
		for _, note := range r.notes {
			out.WriteString("# " + note + "\n")
		}
		if len(r.values) > 0 {
			text, err := asYAML(r.values)
			if err != nil {
				return err
			}
			out.WriteString(text)
		}
	}
	if len(others) > 0 {
		out.WriteString("---\n")
	}
	for _, note := range others {
		out.WriteString("# " + note + "\n")
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return err
	}
	if refused > 0 && written == 0 {
		return ErrNoValues
	}
	return nil
}

func orDash(name string) string {
	if name == "" {
		return Undefined
	}
	return name
}

// values adds the workload's next change to the values of its release, whole or not at all: then it
// says why.
func (w *JSONWorkload) values(all map[string]any) (with map[string]any, why string) {
	with = copied(all)
	for i := range w.Containers {
		c := &w.Containers[i]
		if len(c.Change) == 0 {
			continue
		}
		if c.Values == "" {
			return nil, fmt.Sprintf("nobody said where the values of chart %s hold the resources of container %s: write {chart: %s, workload: %s, container: %s, path: …} under rightsizing.helm_values, or annotate the workload with yoyu/helm-values",
				oneLine(w.Chart), oneLine(c.Container), oneLine(w.Chart), oneLine(w.Workload), oneLine(c.Container))
		}
		at := with
		for _, key := range strings.Split(c.Values, ".") {
			inner, ok := at[key].(map[string]any)
			if at[key] != nil && !ok {
				return nil, "path " + oneLine(c.Values) + " leads through a quantity of another container's path"
			}
			if !ok {
				inner = map[string]any{}
				at[key] = inner
			}
			at = inner
		}
		for list, amounts := range c.Change {
			inner, ok := at[list].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[list] = inner
			}
			for resource, quantity := range amounts {
				if before, taken := inner[resource]; taken && before != quantity {
					return nil, fmt.Sprintf("path %s is said to be that of two containers: one wants a %s of %v %s, the other %s",
						oneLine(c.Values), strings.TrimSuffix(list, "s"), before, resource, quantity)
				}
				inner[resource] = quantity
			}
		}
	}
	return with, ""
}

func copied(from map[string]any) map[string]any {
	to := make(map[string]any, len(from))
	for key, value := range from {
		if inner, ok := value.(map[string]any); ok {
			value = copied(inner)
		}
		to[key] = value
	}
	return to
}
