// Package kubernetes reads what VerticalPodAutoscalers recommend and what their workloads ask for,
// from a cluster or from a file of objects.
//
//	verticalpodautoscalers, checkpoints ─┐
//	deployments, statefulsets, …         │
//	replicasets, controllerrevisions     ├─ join by targetRef and owner ─▶ []rightsizing.Workload
//	pods                                 │
//	horizontalpodautoscalers             │
//	limitranges, resourcequotas          ┘
//
// It only lists and watches, each kind of object once (in each namespace, when namespaces are
// named). It writes nothing to the cluster. A cluster without the VPA API is a cluster without
// VPAs, not an error. What an object does not say is undefined, never 0.
package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
	without    atomic.Bool               // the cluster has no VPA API: said once, not at every turn
	mirrors    atomic.Pointer[[]*mirror] // nil while nobody follows
	meter      meter                     // what pods use, while somebody follows
	scales     scales                    // of custom resources
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

// SetDirectory has relative names of files start at dir, the folder of the configuration.
func (c *Config) SetDirectory(dir string) {
	for _, file := range []*string{&c.Kubeconfig, &c.Objects} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(dir, *file)
		}
	}
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
		found, err := readFile(s.objects)
		if err != nil {
			return nil, err
		}
		return join(found, s.namespaces)
	}
	var found objects
	var err error
	if mirrors := s.mirrors.Load(); mirrors != nil {
		found, err = s.reflected(ctx, *mirrors)
	} else {
		found, err = s.list(ctx)
	}
	if err != nil {
		return nil, err
	}
	found.scales = s.scales.of(ctx, s, found.vpas)
	return join(found, nil)
}

// list asks the API server for everything, VPAs first: a cluster without any is asked no more.
func (s *Source) list(ctx context.Context) (objects, error) {
	found, err := s.each(ctx, vpas)
	if err != nil || len(found.vpas) == 0 {
		return objects{}, err
	}
	parts := make([]objects, len(kinds)-1)
	g, limited := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, k := range kinds[1:] {
		g.Go(func() (err error) {
			parts[i], err = s.each(limited, k)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return objects{}, err
	}
	for _, p := range parts {
		found.checkpoints = append(found.checkpoints, p.checkpoints...)
		found.workloads = append(found.workloads, p.workloads...)
		found.revisions = append(found.revisions, p.revisions...)
		found.pods = append(found.pods, p.pods...)
		found.scalers = append(found.scalers, p.scalers...)
		found.ranges = append(found.ranges, p.ranges...)
		found.quotas = append(found.quotas, p.quotas...)
	}
	if usage, err := s.use(ctx); err == nil { // else nobody says
		found.usage = usage
	}
	return found, nil
}

// each lists one kind of object in the namespaces, or in all of them. A kind that the server does
// not have is one without objects, unless every cluster has it.
func (s *Source) each(ctx context.Context, k kind) (objects, error) {
	var found objects
	for _, namespace := range s.spaces() {
		_, err := s.api.list(ctx, k, namespace, func(raw json.RawMessage) error {
			one, err := k.decode(raw)
			if err != nil {
				return fmt.Errorf("answer: %w", err)
			}
			found.put(one)
			return nil
		})
		if missing := (*missingError)(nil); errors.As(err, &missing) && !k.needed {
			if k.name == vpas.name {
				s.noVPAs(true)
			}
			return objects{}, nil
		}
		if err != nil {
			return objects{}, fmt.Errorf("%s: %w", where(k, namespace), err)
		}
	}
	if k.name == vpas.name {
		s.noVPAs(false)
	}
	return found, nil
}

// spaces are the namespaces that are asked, one by one; "" is all of them.
func (s *Source) spaces() []string {
	if len(s.namespaces) == 0 {
		return []string{""}
	}
	return s.namespaces
}

// noVPAs says once that the cluster has no VPA API: a state, no error.
func (s *Source) noVPAs(so bool) {
	if s.without.Swap(so) != so && so {
		s.log.Info("cluster has no VerticalPodAutoscaler API: no recommendations to show", "source", s.name)
	}
}

// Follow follows the cluster until ctx ends: everything is listed once, and then changes as it
// changes there. Meanwhile Collect asks nobody. Without Follow, Collect lists everything each time.
// The function that it returns waits for the end.
func (s *Source) Follow(ctx context.Context) (wait func()) {
	if s.api == nil {
		return func() {}
	}
	var mirrors []*mirror
	for _, k := range kinds {
		for _, namespace := range s.spaces() {
			mirrors = append(mirrors, newMirror(k, namespace, s.api))
		}
	}
	s.mirrors.Store(&mirrors)
	var running sync.WaitGroup
	for _, m := range mirrors {
		running.Go(func() { m.follow(ctx) })
	}
	running.Go(func() { s.meter.follow(ctx, s) })
	return func() {
		running.Wait()
		s.mirrors.Store(nil)
	}
}

// Run is Follow for those who wait anyway.
func (s *Source) Run(ctx context.Context) error {
	s.Follow(ctx)()
	return ctx.Err()
}

// reflected is the cluster as the mirrors hold it, once they hold it whole.
func (s *Source) reflected(ctx context.Context, mirrors []*mirror) (objects, error) {
	var found objects
	for _, m := range mirrors {
		if err := m.wait(ctx); err != nil {
			return objects{}, err
		}
		m.mu.Lock()
		missing := m.missing
		m.mu.Unlock()
		if m.kind.name == vpas.name {
			s.noVPAs(missing)
		}
	}
	for _, m := range mirrors {
		m.put(&found)
	}
	found.usage = s.meter.now(time.Now())
	return found, nil
}
