package kubernetes

import (
	"encoding/json"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

// limitRange bounds what single containers of a namespace ask for. Bounds of whole pods and ratios are
// not read.
type limitRange struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		Limits []struct {
			Type string  `json:"type"`
			Min  amounts `json:"min"`
			Max  amounts `json:"max"`
		} `json:"limits"`
	} `json:"spec"`
}

// quota bounds what all pods of a namespace ask for together.
type quota struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		Scopes   []string        `json:"scopes"`        // it is about some pods only
		Selector json.RawMessage `json:"scopeSelector"` // likewise
	} `json:"spec"`
	Status struct {
		Hard map[string]string `json:"hard"`
		Used map[string]string `json:"used"`
	} `json:"status"`
}

func (o *limitRange) about() *metadata { return &o.Metadata }
func (o *quota) about() *metadata      { return &o.Metadata }

// bounds are what a namespace allows.
type bounds struct {
	least, most rightsizing.Resources // of a container
	room        rightsizing.Resources // of all together, that is left
}

// namespaceBounds puts together what LimitRanges and ResourceQuotas say, by namespace: where there are
// several, the tightest counts. An amount that cannot be read bounds nothing.
func namespaceBounds(found objects) map[string]bounds {
	out := map[string]bounds{}
	for _, r := range found.ranges {
		b := out[r.Metadata.namespace()]
		for _, l := range r.Spec.Limits {
			if l.Type != "Container" {
				continue
			}
			tighten(&b.least.CPU, l.Min.cpu, true)
			tighten(&b.least.Memory, l.Min.memory, true)
			tighten(&b.most.CPU, l.Max.cpu, false)
			tighten(&b.most.Memory, l.Max.memory, false)
		}
		out[r.Metadata.namespace()] = b
	}
	for _, q := range found.quotas {
		if len(q.Spec.Scopes) > 0 || len(q.Spec.Selector) > 0 {
			continue
		}
		b := out[q.Metadata.namespace()]
		for _, one := range []struct {
			names []string // cpu is requests.cpu
			into  *slo.Value
		}{{[]string{"requests.cpu", "cpu"}, &b.room.CPU}, {[]string{"requests.memory", "memory"}, &b.room.Memory}} {
			for _, name := range one.names {
				hard, err := amount(q.Status.Hard[name])
				used, also := amount(q.Status.Used[name])
				if err == nil && also == nil {
					tighten(one.into, slo.Defined(max(0, hard-used)), false)
				}
			}
		}
		out[q.Metadata.namespace()] = b
	}
	return out
}

// tighten takes a bound where it is tighter than the one before: a larger least, or a smaller most.
func tighten(bound *slo.Value, by slo.Value, least bool) {
	if by.Defined && (!bound.Defined || least == (by.Float > bound.Float)) {
		*bound = by
	}
}
