package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/yoyu-sre/yoyu/internal/redact"
)

// server is the API server of one cluster.
type server struct {
	base   *url.URL
	client *http.Client
	turn   chan struct{} // holds a token while a page is decoded

	selector string // of the labels of all that is asked for; "" is none
}

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
		client.Transport = redact.Answers(client.Transport)
	}
	return &server{base: base, client: client, turn: make(chan struct{}, 1)}, nil
}

// page is a list answer.
type page struct {
	Metadata struct {
		Continue string `json:"continue"`
		Version  string `json:"resourceVersion"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

// list yields all objects of a kind in a namespace, or in all of them for "", page by page. It
// returns the version of the list, from which on a watch goes on.
//
// Pages are decoded one at a time, whoever asked for them: when everything has to be listed anew,
// that takes one core, and others of the process go on with theirs.
func (s *server) list(ctx context.Context, k kind, namespace string, yield func(raw json.RawMessage) error) (version string, err error) {
	address := s.base.JoinPath(k.path(namespace)...)
	query := url.Values{"limit": {pageSize}}
	if s.selector != "" {
		query.Set("labelSelector", s.selector)
	}
	for {
		address.RawQuery = query.Encode()
		body, err := s.ask(ctx, address.String(), k, "list")
		if err != nil {
			return "", err
		}
		p, err := s.decode(ctx, body, yield)
		if err != nil {
			return "", err
		}
		version = p.Metadata.Version
		if p.Metadata.Continue == "" {
			return version, nil
		}
		if p.Metadata.Continue == query.Get("continue") {
			return "", errors.New("answer continues with the page it is")
		}
		query.Set("continue", p.Metadata.Continue)
	}
}

// decode reads a page when it is its turn.
func (s *server) decode(ctx context.Context, body []byte, yield func(raw json.RawMessage) error) (p page, err error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return p, ctx.Err()
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return p, fmt.Errorf("answer: %w", err)
	}
	for _, raw := range p.Items {
		if err := yield(raw); err != nil {
			return p, err
		}
	}
	return p, nil
}

// watch opens a stream of changes since a version of a list. The server ends it after some minutes.
func (s *server) watch(ctx context.Context, k kind, namespace string, o metav1.ListOptions) (*http.Response, error) {
	address := s.base.JoinPath(k.path(namespace)...)
	query := url.Values{"watch": {"1"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {o.ResourceVersion}}
	if s.selector != "" {
		query.Set("labelSelector", s.selector)
	}
	if o.TimeoutSeconds != nil {
		query.Set("timeoutSeconds", strconv.FormatInt(*o.TimeoutSeconds, 10))
	}
	address.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if resp.StatusCode == http.StatusGone {
		return nil, apierrors.NewResourceExpired("the version is too old: everything is listed anew")
	}
	return nil, refusal(resp.StatusCode, body, k, "watch")
}

// ask gets one answer; verb is what a role has to allow for it.
func (s *server) ask(ctx context.Context, address string, k kind, verb string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		return nil, refusal(resp.StatusCode, body, k, verb)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("answer is larger than %d MiB", maxAnswer>>20)
	}
	return body, nil
}

// missingError is an API group or resource that the server does not have.
type missingError struct{ kind kind }

func (e *missingError) Error() string {
	return "404 Not Found: the server has no " + e.kind.full()
}

// forbiddenError is a read that the account's roles do not allow.
type forbiddenError struct{ text string }

func (e *forbiddenError) Error() string { return e.text }

// refusal is an answer that is not 200, with what the server said about it.
func refusal(code int, body []byte, k kind, verb string) error {
	if code == http.StatusNotFound {
		return &missingError{k}
	}
	var status struct {
		Message string `json:"message"`
	}
	text := fmt.Sprintf("%d %s", code, http.StatusText(code))
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		text += ": " + strings.TrimSpace(status.Message)
	}
	if code == http.StatusForbidden {
		return &forbiddenError{text + fmt.Sprintf(" (needed: verb %s on %s in API group %s)", verb, k.resource, cmp.Or(k.group, `""`))}
	}
	return errors.New(text)
}
