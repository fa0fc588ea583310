// Package kubernetes reads what VerticalPodAutoscalers recommend and what their workloads ask for,
// from a cluster or from a file of objects.
//
//	verticalpodautoscalers ─┐
//	deployments             │  join by targetRef
//	statefulsets            ├────────────────────▶ []rightsizing.Workload
//	daemonsets              ┘
//
// It only lists: one call for each kind of object (one for each namespace, when namespaces are
// named), in pages. It writes nothing to the cluster. A cluster without the VPA API is a cluster
// without VPAs, not an error. What an object does not say is undefined, never 0.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// Source lists VPAs and the workloads they watch. It is safe for concurrent use.
type Source struct {
	name       string
	namespaces []string
	objects    string  // file of objects in place of a cluster
	api        *server // nil when objects are read from a file
	log        *slog.Logger
	without    atomic.Bool // the cluster has no VPA API: said once, not at every turn
}

var _ sources.Source[rightsizing.Workload] = (*Source)(nil)

// Config says which cluster is read. Its zero value is the cluster that yoyu runs in, or outside
// of one what $KUBECONFIG or ~/.kube/config name.
type Config struct {
	Kubeconfig string   `yaml:"kubeconfig,omitempty"` // path of a kubeconfig
	Context    string   `yaml:"context,omitempty"`    // of the kubeconfig; "" is its current one
	Namespaces []string `yaml:"namespaces,omitempty"` // none: all of them
	Objects    string   `yaml:"objects,omitempty"`    // path of a file of objects, YAML or JSON, in place of a cluster
}

// Validate names every field that cannot be right, each as "field: what is wrong".
func (c Config) Validate() error {
	var faults []error
	for _, other := range []struct{ name, value string }{{"kubeconfig", c.Kubeconfig}, {"context", c.Context}} {
		if c.Objects != "" && other.value != "" {
			faults = append(faults, fmt.Errorf("%s: names a cluster, but objects stand in place of one", other.name))
		}
	}
	for i, namespace := range c.Namespaces {
		if len(namespace) > 63 || !namespaceName.MatchString(namespace) {
			faults = append(faults, fmt.Errorf("namespaces[%d]: %q is no name of a namespace", i, namespace))
		} else if slices.Contains(c.Namespaces[:i], namespace) {
			faults = append(faults, fmt.Errorf("namespaces[%d]: %q comes twice", i, namespace))
		}
	}
	return errors.Join(faults...)
}

// namespaceName is a DNS label: nothing in it can lead an address elsewhere.
var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// Options are what a source is made of.
type Options struct {
	Name   string
	Config Config
	Client *http.Client // talks to the API server in place of the one the kubeconfig describes; nil as a rule
	Logger *slog.Logger // nil: silent
}

// New makes a source. It reads the kubeconfig but asks nothing yet. A configuration that is not
// valid is an error, and so is a cluster that cannot be found by it.
func New(o Options) (*Source, error) {
	s := &Source{name: o.Name, namespaces: o.Config.Namespaces, objects: o.Config.Objects, log: o.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if s.objects != "" {
		return s, nil
	}
	api, err := dial(o.Config.Kubeconfig, o.Config.Context, o.Client)
	if err != nil {
		return nil, err
	}
	s.api = api
	return s, nil
}

// Name is the source's name.
func (s *Source) Name() string { return s.name }

// Collect lists the workloads that a VPA watches, by namespace, kind and name; one that two VPAs
// watch comes twice, the VPA that the cluster obeys first. A VPA whose workload is of another kind,
// or gone, is a workload without containers.
//
// The span is ignored: a cluster only knows the present. So is only: workloads are not asked for
// by name.
func (s *Source) Collect(ctx context.Context, _ slo.Span, _ ...string) ([]rightsizing.Workload, error) {
	if s.objects != "" {
		found, err := read(s.objects)
		if err != nil {
			return nil, err
		}
		return join(found, s.namespaces)
	}
	found, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	return join(found, nil)
}

// list asks the API server for everything, VPAs first: a cluster without any is asked no more.
func (s *Source) list(ctx context.Context) (objects, error) {
	var found objects
	err := each(ctx, s.api, vpas, s.namespaces, &found.vpas)
	if missing := (*missingError)(nil); errors.As(err, &missing) {
		if !s.without.Swap(true) {
			s.log.Info("cluster has no VerticalPodAutoscaler API: no recommendations to show", "source", s.name)
		}
		return objects{}, nil
	}
	if err != nil {
		return objects{}, err
	}
	s.without.Store(false)
	if len(found.vpas) == 0 {
		return found, nil
	}
	workloads := make([][]workload, len(workloadKinds))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(len(workloadKinds))
	for i, kind := range workloadKinds {
		g.Go(func() error {
			err := each(ctx, s.api, kind, s.namespaces, &workloads[i])
			for j := range workloads[i] {
				workloads[i][j].Kind = kind.name
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return objects{}, err
	}
	found.workloads = slices.Concat(workloads...)
	return found, nil
}

// each lists one kind of object in the namespaces, or in all of them.
func each[T any](ctx context.Context, api *server, kind kind, namespaces []string, into *[]T) error {
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, namespace := range namespaces {
		if err := list(ctx, api, kind, namespace, into); err != nil {
			where := "in all namespaces"
			if namespace != "" {
				where = "in namespace " + namespace
			}
			return fmt.Errorf("%s %s: %w", kind.resource, where, err)
		}
	}
	return nil
}
