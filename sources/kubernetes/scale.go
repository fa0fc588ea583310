package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/labels"
)

// scale is what a custom resource that can be scaled says of its pods.
type scale struct {
	replicas int
	selector labels.Selector // nil: it says none
}

// scales knows the custom resources that VPAs watch by their subresource scale, the one part that is the
// same for all of them. It is safe for concurrent use.
type scales struct {
	mu    sync.Mutex
	known map[address]measured
	names map[[2]string]plural // by apiVersion and kind
	said  map[string]bool      // what cannot be read
}

// measured is a scale with its age; plural is what a kind is called in addresses.
type (
	measured struct {
		scale
		found bool
		at    time.Time
	}
	plural struct {
		resource string // "" when the kind is not there, or cannot be scaled
		at       time.Time
	}
)

const (
	rescaled = time.Minute      // for how long a scale counts
	renamed  = 10 * time.Minute // for how long a kind is what it was
	custom   = 8                // asked at the same time
)

// Parts of addresses, as the API server allows them: nothing in them leads elsewhere.
var (
	groupVersion = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[0-9]+((alpha|beta)[0-9]+)?$`)
	objectName   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
)

// of are the scales of the targets of VPAs that are of no kind that is read. A target that is not there,
// cannot be scaled, or may not be asked for has none, and is known by its pods alone.
func (c *scales) of(ctx context.Context, s *Source, vpas []*vpa) map[address]scale {
	type question struct {
		at      address
		version string
	}
	var asks []question
	now := time.Now()
	c.mu.Lock()
	for _, v := range vpas {
		ref := v.Spec.TargetRef
		if ref == nil || slices.ContainsFunc(kinds, func(k kind) bool { return k.name == ref.Kind }) ||
			!groupVersion.MatchString(ref.Version) || !objectName.MatchString(ref.Name) {
			continue
		}
		at := address{v.Metadata.namespace(), ref.Kind, ref.Name}
		if one, known := c.known[at]; !known || now.Sub(one.at) >= rescaled {
			asks = append(asks, question{at, ref.Version})
		}
	}
	c.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(custom)
	for _, q := range asks {
		g.Go(func() error {
			one, err := c.ask(ctx, s, q.at, q.version)
			c.note(s, q.at, one, err, now)
			return nil
		})
	}
	_ = g.Wait() // what cannot be read is noted
	out := map[address]scale{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, one := range c.known {
		if now.Sub(one.at) > current {
			delete(c.known, at) // no VPA is about it any more
		} else if one.found {
			out[at] = one.scale
		}
	}
	return out
}

// note keeps an answer. What is in trouble says so once; a scale that was known a moment ago stands.
func (c *scales) note(s *Source, at address, one scale, err error, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known, c.said = map[address]measured{}, map[string]bool{}
	}
	missing := (*missingError)(nil)
	switch {
	case err == nil:
		c.known[at] = measured{one, true, now}
	case errors.As(err, &missing):
		c.known[at] = measured{at: now}
	default:
		if before, known := c.known[at]; !known || now.Sub(before.at) > current {
			c.known[at] = measured{at: now}
		}
		if text := err.Error(); !c.said[text] && len(c.said) < 100 {
			c.said[text] = true
			s.log.Warn("scale of a workload is not known", "source", s.name, "err", err)
		}
	}
}

// ask reads one scale.
func (c *scales) ask(ctx context.Context, s *Source, at address, version string) (scale, error) {
	resource, err := c.resource(ctx, s, version, at.kind)
	if err != nil {
		return scale{}, err
	}
	group, _, grouped := strings.Cut(version, "/")
	if !grouped {
		group = ""
	}
	k := kind{name: at.kind, group: group, resource: resource + "/scale"}
	if resource == "" {
		return scale{}, &missingError{k}
	}
	path := append(root(version), "namespaces", at.namespace, resource, at.name, "scale")
	body, err := s.api.ask(ctx, s.api.base.JoinPath(path...).String(), k, "get")
	if err != nil {
		return scale{}, fmt.Errorf("scale of %s %s/%s: %w", at.kind, at.namespace, at.name, err)
	}
	var answer struct {
		Spec struct {
			Replicas int `json:"replicas"`
		} `json:"spec"`
		Status struct {
			Selector string `json:"selector"`
		} `json:"status"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return scale{}, fmt.Errorf("scale of %s %s/%s: answer: %w", at.kind, at.namespace, at.name, err)
	}
	out := scale{replicas: answer.Spec.Replicas}
	if answer.Status.Selector != "" {
		if out.selector, err = labels.Parse(answer.Status.Selector); err != nil {
			return scale{}, fmt.Errorf("scale of %s %s/%s: selector: %w", at.kind, at.namespace, at.name, err)
		}
	}
	return out, nil
}

// resource is what a kind is called in addresses; "" when the server does not have it, or it cannot be
// scaled.
func (c *scales) resource(ctx context.Context, s *Source, version, name string) (string, error) {
	key, now := [2]string{version, name}, time.Now()
	c.mu.Lock()
	one, known := c.names[key]
	c.mu.Unlock()
	if known && now.Sub(one.at) < renamed && (one.resource != "" || now.Sub(one.at) < rescaled) {
		return one.resource, nil
	}
	body, err := s.api.ask(ctx, s.api.base.JoinPath(root(version)...).String(), kind{name: name, resource: version}, "get")
	missing := (*missingError)(nil)
	type apiResource struct {
		Name string `json:"name"` // rollouts, rollouts/scale
		Kind string `json:"kind"`
	}
	var answer struct {
		Resources []apiResource `json:"resources"`
	}
	switch {
	case errors.As(err, &missing): // the kind may come later
	case err != nil:
		return "", fmt.Errorf("resources of %s: %w", version, err)
	default:
		if err := json.Unmarshal(body, &answer); err != nil {
			return "", fmt.Errorf("resources of %s: answer: %w", version, err)
		}
	}
	found := plural{at: now}
	for _, r := range answer.Resources {
		scalable := slices.ContainsFunc(answer.Resources, func(o apiResource) bool { return o.Name == r.Name+"/scale" })
		if r.Kind == name && scalable && objectName.MatchString(r.Name) {
			found.resource = r.Name
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names = map[[2]string]plural{}
	}
	c.names[key] = found
	return found.resource, nil
}

// root is where the resources of a version of an API are.
func root(version string) []string {
	if strings.Contains(version, "/") {
		return append([]string{"apis"}, strings.Split(version, "/")...)
	}
	return []string{"api", version}
}
