package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Check is one thing that a cluster lacks, or a word about what it has.
type Check struct {
	Text  string
	Fault bool // workloads cannot be read while it is so
}

// Live asks the cluster whether it gives what yoyu reads: every kind once, with a list of one object and a
// watch that is closed at once. Where namespaces are named, each of them is asked and the cluster is not.
// What the account may not read is a fault, one for each kind and namespace. An API that not every
// cluster has is told without being one, and so is what pods use where the account may not read it. An
// error is a cluster that cannot be asked, after what was found until then. A file of objects has nothing
// to be asked.
func (s *Source) Live(ctx context.Context) (out []Check, err error) {
	if s.api == nil {
		return nil, nil
	}
	whole, allowed := true, false // all kinds can be read; the account may ask for any
	for _, k := range kinds {
	namespaces:
		for _, namespace := range s.spaces() {
			err := s.api.try(ctx, k, namespace, true)
			missing, refused := (*missingError)(nil), (*forbiddenError)(nil)
			switch {
			case err == nil:
				allowed = true
			case errors.As(err, &missing):
				whole, allowed = false, true
				out = append(out, Check{fmt.Sprintf("%s/%s %s: the cluster has no such API: %s", k.group, k.version, k.resource, without(k)), k.needed})
				break namespaces // other namespaces have none either
			case errors.As(err, &refused):
				whole = false
				out = append(out, Check{fmt.Sprintf("%s: %v", where(k, namespace), err), true})
			default:
				return out, fmt.Errorf("%s: %w", where(k, namespace), err)
			}
		}
	}
	for _, namespace := range s.spaces() {
		err := s.api.try(ctx, podMetrics, namespace, false)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		if refused := (*forbiddenError)(nil); errors.As(err, &refused) {
			out = append(out, Check{Text: fmt.Sprintf("use of %s: %v: until it may be read nobody knows which pod uses more than the others", where(podMetrics, namespace), err)})
			continue
		}
		out = append(out, Check{Text: fmt.Sprintf("use of %s: %v: without a metrics server nobody knows which pod uses more than the others", where(podMetrics, namespace), err)})
		break // it serves all namespaces or none
	}
	switch {
	case whole && len(s.namespaces) == 0:
		out = append(out, Check{Text: fmt.Sprintf("all %d kinds of objects can be listed and watched", len(kinds))})
	case whole:
		out = append(out, Check{Text: fmt.Sprintf("all %d kinds of objects can be listed and watched in each namespace: %s", len(kinds), strings.Join(s.namespaces, ", "))})
	case !allowed && len(s.namespaces) == 0:
		out = append(out, Check{Text: "the account may read nothing in all namespaces: where its roles allow some of them only, name these under namespaces"})
	}
	return out, nil
}

// without is what the lack of an API means.
func without(k kind) string {
	switch {
	case k.group == vpas.group:
		return "there is no recommendation until the CRDs and the recommender of the Vertical Pod Autoscaler are installed"
	case k.needed:
		return "it is older than what yoyu supports"
	}
	return "yoyu goes on without"
}

// try lists one object of a kind, and opens a watch where one is wanted.
func (s *server) try(ctx context.Context, k kind, namespace string, watched bool) error {
	address := s.base.JoinPath(k.path(namespace)...)
	address.RawQuery = url.Values{"limit": {"1"}}.Encode()
	body, err := s.ask(ctx, address.String(), k, "list")
	if err != nil || !watched {
		return err
	}
	var p page
	if err := json.Unmarshal(body, &p); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	second := int64(1)
	stream, err := s.watch(ctx, k, namespace, metav1.ListOptions{ResourceVersion: p.Metadata.Version, TimeoutSeconds: &second})
	if err != nil {
		return err
	}
	return stream.Body.Close()
}
