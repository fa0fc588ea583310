package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

// podMetrics are what the pods use now, as a metrics server says it. They cannot be watched, and a
// cluster need not have them: then no pod is known to use more than the others.
var podMetrics = kind{"PodMetrics", "metrics.k8s.io", "v1beta1", "pods", false, into[podUsage]}

// podUsage is what the containers of a pod use.
type podUsage struct {
	Metadata   metadata `json:"metadata"`
	Containers []struct {
		Name  string  `json:"name"`
		Usage amounts `json:"usage"`
	} `json:"containers"`
}

func (o *podUsage) about() *metadata { return &o.Metadata }

// containerUsage is by namespace, pod and container.
type containerUsage map[[3]string]rightsizing.Resources

// add takes a reading.
func (u containerUsage) add(read []*podUsage) {
	for _, p := range read {
		for _, c := range p.Containers {
			u[[3]string{p.Metadata.namespace(), p.Metadata.Name, c.Name}] = rightsizing.Resources{CPU: c.Usage.cpu, Memory: c.Usage.memory}
		}
	}
}

// meter averages what containers use over about half an hour: one busy minute of a pod is not yet
// more work than the others have. It is safe for concurrent use.
type meter struct {
	mu   sync.Mutex
	mean containerUsage
	at   time.Time // of the last reading
}

const (
	metered = time.Minute           // between readings
	weight  = 1.0 / 30              // of a reading in the mean
	current = 5 * metered           // for how long a reading says something
	spread  = 3                     // pods, at least, of which one may stand out
	little  = 0.010                 // cores: less than this is no load to tell pods apart by
	small   = float64(16 * 1 << 20) // bytes, likewise
)

// read takes a reading; containers that are not in it are forgotten.
func (m *meter) read(now time.Time, fresh containerUsage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, one := range fresh {
		if before, known := m.mean[key]; known {
			one.CPU, one.Memory = towards(before.CPU, one.CPU), towards(before.Memory, one.Memory)
			fresh[key] = one
		}
	}
	m.mean, m.at = fresh, now
}

// towards moves a mean by a reading.
func towards(mean, read slo.Value) slo.Value {
	if !mean.Defined || !read.Defined {
		return read
	}
	return slo.Defined(mean.Float + weight*(read.Float-mean.Float))
}

// now is what is known; nil when the last reading is too old. Nobody changes it.
func (m *meter) now(now time.Time) containerUsage {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.at) > current {
		return nil
	}
	return m.mean
}

// follow takes readings until ctx ends. A cluster that has none, or does not give them, is one without.
func (m *meter) follow(ctx context.Context, s *Source) {
	again := time.NewTicker(metered)
	defer again.Stop()
	for {
		if fresh, err := s.use(ctx); err == nil {
			m.read(time.Now(), fresh)
		} else if ctx.Err() == nil {
			s.log.Debug("usage of pods is not known", "source", s.name, "err", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// use reads what containers use now.
func (s *Source) use(ctx context.Context) (containerUsage, error) {
	out := containerUsage{}
	for _, namespace := range s.spaces() {
		_, err := s.api.list(ctx, podMetrics, namespace, func(raw json.RawMessage) error {
			var one podUsage
			if err := json.Unmarshal(raw, &one); err != nil {
				return fmt.Errorf("answer: %w", err)
			}
			out.add([]*podUsage{&one})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where(podMetrics, namespace), err)
		}
	}
	return out, nil
}

// skew is how many times the use of the pod in the middle the largest pod uses, of the container and
// resource where that is most; undefined with few pods, or little use.
func skew(pods []*pod, usage containerUsage) slo.Value {
	if usage == nil {
		return slo.Value{}
	}
	type column struct{ cpu, memory []float64 }
	columns := map[string]*column{}
	for _, p := range pods {
		for i := range p.Containers {
			name := p.Containers[i].Name
			one, known := usage[[3]string{p.Metadata.namespace(), p.Metadata.Name, name}]
			if !known {
				continue
			}
			c := columns[name]
			if c == nil {
				c = &column{}
				columns[name] = c
			}
			if one.CPU.Defined {
				c.cpu = append(c.cpu, one.CPU.Float)
			}
			if one.Memory.Defined {
				c.memory = append(c.memory, one.Memory.Float)
			}
		}
	}
	var most slo.Value
	for _, c := range columns {
		for _, one := range []struct {
			values []float64
			least  float64
		}{{c.cpu, little}, {c.memory, small}} {
			if len(one.values) < spread {
				continue
			}
			slices.Sort(one.values)
			n := len(one.values)
			middle, largest := (one.values[(n-1)/2]+one.values[n/2])/2, one.values[n-1]
			if largest < one.least {
				continue
			}
			if ratio := largest / max(middle, one.least/10); !most.Defined || ratio > most.Float {
				most = slo.Defined(ratio)
			}
		}
	}
	return most
}
