package datadog

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/yoyu-sre/yoyu/slo"
)

// Ambiguous says which names of a configuration Datadog would take for one another: it lowers
// letters, replaces characters and cuts what is long. Each fault is a line of the joined error.
func Ambiguous(objectives []slo.Objective) error {
	var faults []error
	fault := func(o *slo.Objective, what, name, before, remedy string) {
		faults = append(faults, fmt.Errorf("slo %s: Datadog cannot tell %s %s from %s: %s", o.Name, what, name, before, remedy))
	}
	slos, services := names{}, names{}
	for i := range objectives {
		o := &objectives[i]
		// Names of SLOs that differ in case alone are found where the configuration is read.
		if before, twice := slos.add("slo", o.Name); twice {
			fault(o, "its name", o.Name, before, "choose another name")
		}
		if before, twice := services.add("service", o.Service); twice {
			fault(o, "service", o.Service, before, "write one of them everywhere")
		}
		keys := names{"slo": "slo", "service": "service", "window": "window", "severity": "severity"}
		for _, name := range o.GroupBy {
			if before, twice := keys.key(name); twice {
				fault(o, "group_by label", name, before, "group by another label")
			}
		}
		for _, name := range slices.Sorted(maps.Keys(o.Labels)) {
			if before, twice := keys.key(name); twice {
				fault(o, "label", name, before, "choose another name")
			}
		}
	}
	return errors.Join(faults...)
}

// names are names by what Datadog stores of them.
type names map[string]string

// add takes the value of a tag; twice says that before is stored as the same.
func (n names) add(key, value string) (before string, twice bool) {
	return n.put(newTag(key, value).value, value)
}

// key takes the key of a tag.
func (n names) key(name string) (before string, twice bool) { return n.put(tagKey(name), name) }

func (n names) put(stored, name string) (string, bool) {
	if before, have := n[stored]; have {
		return before, before != name
	}
	n[stored] = name
	return "", false
}
