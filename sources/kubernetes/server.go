package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// server is the API server of one cluster.
type server struct {
	base   *url.URL
	client *http.Client
}

// kind is a kind of object that is listed.
type kind struct {
	name     string // as objects and targetRefs say it
	group    string
	resource string // as addresses say it
}

var (
	vpas          = kind{"VerticalPodAutoscaler", "autoscaling.k8s.io", "verticalpodautoscalers"}
	workloadKinds = []kind{
		{"Deployment", "apps", "deployments"},
		{"StatefulSet", "apps", "statefulsets"},
		{"DaemonSet", "apps", "daemonsets"},
	}
)

// The size of a page, and of the largest answer that is read: a page of 500 objects with long
// managed fields takes a few MB.
const (
	pageSize  = "500"
	maxAnswer = 256 << 20
)

// dial finds the cluster: the kubeconfig named, else the environment's, else the cluster that this
// process runs in.
func dial(kubeconfig, context string, client *http.Client) (*server, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.UserAgent = "yoyu"
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: server %q: %w", config.Host, err)
	}
	if client == nil {
		if client, err = rest.HTTPClientFor(config); err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
	}
	return &server{base: base, client: client}, nil
}

// page is a list answer.
type page[T any] struct {
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []T `json:"items"`
}

// list appends all objects of a kind in a namespace, or in all of them for "", page by page.
func list[T any](ctx context.Context, api *server, kind kind, namespace string, into *[]T) error {
	parts := []string{"apis", kind.group, "v1"}
	if namespace != "" {
		parts = append(parts, "namespaces", namespace)
	}
	address := api.base.JoinPath(append(parts, kind.resource)...)
	query := url.Values{"limit": {pageSize}}
	for {
		address.RawQuery = query.Encode()
		var p page[T]
		if err := api.ask(ctx, address.String(), kind, &p); err != nil {
			return err
		}
		*into = append(*into, p.Items...)
		if p.Metadata.Continue == "" {
			return nil
		}
		if p.Metadata.Continue == query.Get("continue") {
			return fmt.Errorf("answer continues with the page it is")
		}
		query.Set("continue", p.Metadata.Continue)
	}
}

// ask reads one answer into a value.
func (s *server) ask(ctx context.Context, address string, kind kind, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(resp.StatusCode, body, kind)
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("answer is larger than %d MiB", maxAnswer>>20)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// missingError is an API group or resource that the server does not have.
type missingError struct{ kind kind }

func (e *missingError) Error() string {
	return fmt.Sprintf("404 Not Found: the server has no %s.%s", e.kind.resource, e.kind.group)
}

// refusal is an answer that is not 200, with what the server said about it.
func refusal(code int, body []byte, kind kind) error {
	if code == http.StatusNotFound {
		return &missingError{kind}
	}
	var status struct {
		Message string `json:"message"`
	}
	text := fmt.Sprintf("%d %s", code, http.StatusText(code))
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		text += ": " + strings.TrimSpace(status.Message)
	}
	if code == http.StatusForbidden {
		text += fmt.Sprintf(" (needed: verb list on %s in API group %s)", kind.resource, kind.group)
	}
	return fmt.Errorf("%s", text)
}
