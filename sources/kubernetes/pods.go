package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/labels"
)

// Pods finds the addresses of pods by their labels and a port. It only lists and watches pods. It is
// safe for concurrent use.
type Pods struct {
	namespaces []string
	port       string
	api        *server
	mirrors    atomic.Pointer[[]*mirror] // nil while nobody follows
}

// PodsConfig says which pods are meant.
type PodsConfig struct {
	Kubeconfig string   // path; "" is the cluster that yoyu runs in, or what $KUBECONFIG names
	Context    string   // of the kubeconfig; "" is its current one
	Namespaces []string // none: all of them
	Selector   string   // of labels, as kubectl takes it; "" is every pod
	Port       string   // name or number of a container's port
}

// portName is a name of a port in Kubernetes.
var portName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$`)

// Validate names every field that cannot be right, each as "field: what is wrong".
func (c PodsConfig) Validate() error {
	faults := []error{Config{Namespaces: c.Namespaces}.Validate()}
	if _, err := labels.Parse(c.Selector); err != nil {
		faults = append(faults, fmt.Errorf("selector: %w", err))
	}
	if n, err := strconv.Atoi(c.Port); err == nil && (n < 1 || n > 65535) || err != nil && !portName.MatchString(c.Port) {
		faults = append(faults, fmt.Errorf("port: %q is neither a number nor the name of a container's port", c.Port))
	}
	return errors.Join(faults...)
}

// NewPods makes a finder. It reads the kubeconfig but asks nothing yet. client talks to the API server
// in place of the one that the kubeconfig describes; nil as a rule.
func NewPods(c PodsConfig, client *http.Client) (*Pods, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	api, err := dial(c.Kubeconfig, c.Context, client)
	if err != nil {
		return nil, err
	}
	api.selector = c.Selector
	return &Pods{namespaces: c.Namespaces, port: c.Port, api: api}, nil
}

// endpoints are pods as far as their addresses say.
var endpoints = kind{"Pod", "", "v1", "pods", true, into[endpoint]}

// endpoint is a pod with the ports it names.
type endpoint struct {
	Metadata metadata
	IP       string         // "" while it is not to be asked: it does not run, or it ends
	Ports    map[string]int // by name
}

func (e *endpoint) about() *metadata { return &e.Metadata }

// UnmarshalJSON reads the little of a pod that is of use.
func (e *endpoint) UnmarshalJSON(text []byte) error {
	type container struct {
		Restart string `json:"restartPolicy"`
		Ports   []struct {
			Name     string `json:"name"`
			Port     int    `json:"containerPort"`
			Protocol string `json:"protocol"` // "" is TCP
		} `json:"ports"`
	}
	var all struct {
		Metadata struct {
			Namespace string  `json:"namespace"`
			Name      string  `json:"name"`
			Version   string  `json:"resourceVersion"`
			Deleted   *string `json:"deletionTimestamp"`
		} `json:"metadata"`
		Spec struct {
			Containers []container `json:"containers"`
			Init       []container `json:"initContainers"`
		} `json:"spec"`
		Status struct {
			Phase string `json:"phase"`
			IP    string `json:"podIP"`
		} `json:"status"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*e = endpoint{Metadata: metadata{Namespace: all.Metadata.Namespace, Name: all.Metadata.Name, Version: all.Metadata.Version}}
	if all.Status.Phase != "Running" || all.Metadata.Deleted != nil {
		return nil
	}
	e.IP = all.Status.IP
	for _, c := range append(all.Spec.Containers, all.Spec.Init...) {
		for _, p := range c.Ports {
			if p.Name != "" && (p.Protocol == "" || p.Protocol == "TCP") {
				if e.Ports == nil {
					e.Ports = map[string]int{}
				}
				e.Ports[p.Name] = p.Port
			}
		}
	}
	return nil
}

// address is where the pod answers; "" where it does not.
func (e *endpoint) address(port string) string {
	number, err := strconv.Atoi(port)
	if err != nil {
		number = e.Ports[port]
	}
	if e.IP == "" || number == 0 {
		return ""
	}
	return net.JoinHostPort(e.IP, strconv.Itoa(number))
}

// Follow follows the pods until ctx ends; meanwhile Addresses asks nobody. The function that it returns
// waits for the end.
func (p *Pods) Follow(ctx context.Context) (wait func()) {
	var mirrors []*mirror
	for _, namespace := range p.spaces() {
		mirrors = append(mirrors, newMirror(endpoints, namespace, p.api))
	}
	p.mirrors.Store(&mirrors)
	var running sync.WaitGroup
	for _, m := range mirrors {
		running.Go(func() { m.follow(ctx) })
	}
	return func() {
		running.Wait()
		p.mirrors.Store(nil)
	}
}

func (p *Pods) spaces() []string {
	if len(p.namespaces) == 0 {
		return []string{""}
	}
	return p.namespaces
}

// Addresses are host:port of every pod that runs and does not end, in order, each once. A pod without
// the port is none. An API server that went away does not take the pods with it: those it named last
// stand. That there is no pod is no error.
func (p *Pods) Addresses(ctx context.Context) ([]string, error) {
	var out []string
	add := func(one read) {
		if address := one.(*endpoint).address(p.port); address != "" {
			out = append(out, address)
		}
	}
	if mirrors := p.mirrors.Load(); mirrors != nil {
		for _, m := range *mirrors {
			if err := m.each(ctx, add); err != nil {
				return nil, err
			}
		}
	} else {
		for _, namespace := range p.spaces() {
			_, err := p.api.list(ctx, endpoints, namespace, func(raw json.RawMessage) error {
				one, err := endpoints.decode(raw)
				if err == nil {
					add(one)
				}
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", where(endpoints, namespace), err)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// each yields what the mirror holds, once it has held all; however old that is.
func (m *mirror) each(ctx context.Context, yield func(read)) error {
	m.mu.Lock()
	listed := m.listed
	m.mu.Unlock()
	if !listed {
		if err := m.wait(ctx); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.objects {
		yield(one)
	}
	return nil
}
