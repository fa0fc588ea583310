package app

import (
	"context"
	"slices"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sources"
)

// judge completes a report: whose its workloads are, what should become of them, and what the
// budgets say to it. What it has to remember from one report to the next is in memory.
func judge(c *config.Config, memory *rightsizing.Memory) func(*sinks.Report) {
	j := &rightsizing.Judge{
		Prices: rightsizing.Prices(c.Rightsizing.Prices),
		Memory: memory,
		Tick:   c.Tick,
	}
	owners := newOwners(c)
	return func(r *sinks.Report) {
		r.Workloads = slices.Clone(r.Workloads) // the source shows them again at the next tick
		for i := range r.Workloads {
			w := &r.Workloads[i]
			w.Containers = slices.Clone(w.Containers)
			w.Services = owners.of(w)
			chartValues(w, c.Rightsizing.HelmValues)
		}
		j.Judge(r.Workloads, r.SLOs, r.Time)
	}
}

// chartValues notes where the values of a workload's chart hold the resources of its containers, as
// configuration says it: what names more goes before what names less, and what names no container is
// about a workload that has only one.
func chartValues(w *rightsizing.Workload, all []config.HelmValues) {
	if w.Chart == "" || len(all) == 0 {
		return
	}
	main := 0
	for i := range w.Containers {
		if w.Containers[i].Place == rightsizing.Main {
			main++
		}
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		if c.Place != rightsizing.Main || c.Values != "" {
			continue
		}
		best := -1
		for _, h := range all {
			if h.Chart != w.Chart || h.Workload != "" && h.Workload != w.Name || h.Container != "" && h.Container != c.Name || h.Container == "" && main > 1 {
				continue
			}
			named := 0
			if h.Workload != "" {
				named += 2
			}
			if h.Container != "" {
				named++
			}
			if named > best {
				best, c.Values = named, h.Path
			}
		}
	}
}

// follow has the sources that can keep up with their cluster by themselves, until ctx ends; the
// function waits for them.
func follow(ctx context.Context, all []sources.Source[rightsizing.Workload]) (wait func()) {
	var waits []func()
	for _, one := range all {
		if f, ok := one.(interface{ Follow(context.Context) func() }); ok {
			waits = append(waits, f.Follow(ctx))
		}
	}
	return func() {
		for _, wait := range waits {
			wait()
		}
	}
}

// follow has all parts that can keep up with a cluster by themselves, until ctx ends; the function waits
// for them.
func (a *assembled) follow(ctx context.Context) (wait func()) {
	waits := []func(){follow(ctx, a.workloads)}
	for _, one := range a.counters {
		if one.follow != nil {
			waits = append(waits, one.follow(ctx))
		}
	}
	return func() {
		for _, wait := range waits {
			wait()
		}
	}
}

// owners says which services run on a workload.
type owners struct {
	named   map[config.Workload][]string // by configuration
	labeled map[string]bool              // services that find their workloads by labels
}

// newOwners reads the services of a configuration, those that only objectives name among them. One
// that names its workloads does not look for others.
func newOwners(c *config.Config) owners {
	o := owners{map[config.Workload][]string{}, map[string]bool{}}
	for i := range c.Objectives {
		o.labeled[c.Objectives[i].Service] = true
	}
	for _, s := range c.Services {
		o.labeled[s.Name] = len(s.Workloads) == 0
		for _, w := range s.Workloads {
			if !slices.Contains(o.named[w], s.Name) {
				o.named[w] = append(o.named[w], s.Name)
			}
		}
	}
	return o
}

// of are the services of a workload: those that name it, else the first of its labels that names
// one which looks for it.
func (o owners) of(w *rightsizing.Workload) []string {
	if services := o.named[config.Workload{Namespace: w.Namespace, Kind: w.Kind, Name: w.Name}]; services != nil {
		return services
	}
	for _, label := range rightsizing.ServiceLabels {
		if service := w.Labels[label]; o.labeled[service] {
			return []string{service}
		}
	}
	return nil
}
