package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// finder is a finder of pods behind a server.
func finder(t *testing.T, handle http.HandlerFunc, c PodsConfig) *Pods {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s, _ := cluster(t, handle, Config{}, nil) // it has found the server by its kubeconfig
	own := *s.api
	own.selector = c.Selector
	return &Pods{namespaces: c.Namespaces, port: c.Port, api: &own}
}

const podsPath = "/api/v1/namespaces/shop/pods"

func onePod(ip, phase string) string {
	return fmt.Sprintf(`"spec":{"initContainers":[{"name":"mesh","restartPolicy":"Always","ports":[{"name":"mesh","containerPort":15090}]}],"containers":[{"name":"app","ports":[{"name":"web","containerPort":8080},{"name":"metrics","containerPort":9100,"protocol":"TCP"},{"name":"udp","containerPort":53,"protocol":"UDP"}]}]},"status":{"phase":%q,"podIP":%q}`, phase, ip)
}

// Pods come and go as the server shows them: those that run and do not end, by name or number of a port.
func TestPods(t *testing.T) {
	api := newAPIServer()
	api.put(podsPath, "a", onePod("10.0.0.1", "Running"))
	api.put(podsPath, "b", onePod("10.0.0.2", "Pending"))
	api.put(podsPath, "c", onePod("fd00::3", "Running"))
	api.put(podsPath, "portless", `"spec":{"containers":[{"name":"app"}]},"status":{"phase":"Running","podIP":"10.0.0.9"}`)
	for port, want := range map[string][]string{
		"metrics": {"10.0.0.1:9100", "[fd00::3]:9100"}, "mesh": {"10.0.0.1:15090", "[fd00::3]:15090"},
		"9999": {"10.0.0.1:9999", "10.0.0.9:9999", "[fd00::3]:9999"}, "udp": nil, "other": nil,
	} {
		p := finder(t, api.ServeHTTP, PodsConfig{Namespaces: []string{"shop"}, Port: port})
		if got, err := p.Addresses(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("port %s: %v, %v; want %v", port, got, err, want)
		}
	}

	asked := make(chan string, 100)
	p := finder(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Query().Get("labelSelector")
		api.ServeHTTP(w, r)
	}, PodsConfig{Namespaces: []string{"shop"}, Selector: "app in (checkout, cart)", Port: "metrics"})
	ctx, stop := context.WithCancel(t.Context())
	wait := p.Follow(ctx)
	defer func() { stop(); wait() }()
	becomes := func(want ...string) {
		t.Helper()
		ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
		defer stop()
		again := time.NewTicker(5 * time.Millisecond)
		defer again.Stop()
		for {
			got, err := p.Addresses(ctx)
			if err == nil && slices.Equal(got, want) {
				return
			}
			select {
			case <-again.C:
			case <-ctx.Done():
				t.Fatalf("%v, %v; want %v", got, err, want)
			}
		}
	}
	becomes("10.0.0.1:9100", "[fd00::3]:9100")
	api.put(podsPath, "b", onePod("10.0.0.2", "Running"))
	becomes("10.0.0.1:9100", "10.0.0.2:9100", "[fd00::3]:9100")
	api.drop(podsPath, "c")
	becomes("10.0.0.1:9100", "10.0.0.2:9100")
	api.with(func() { // it ends: it may still answer, and is not asked any more
		api.version++
		text := fmt.Sprintf(`{"metadata":{"namespace":"shop","name":"a","resourceVersion":"%d","deletionTimestamp":"2026-11-26T12:00:00Z"},%s}`, api.version, onePod("10.0.0.1", "Running"))
		api.log = append(api.log, change{api.version, podsPath, `{"type":"MODIFIED","object":` + text + `}`})
	})
	becomes("10.0.0.2:9100")
	api.with(func() { api.broken = true }) // the API server goes: the pods stay
	becomes("10.0.0.2:9100")
	if got := <-asked; got != "app in (checkout, cart)" {
		t.Errorf("asked with the selector %q", got)
	}
}

func TestPodsConfig(t *testing.T) {
	for _, tt := range []struct {
		config PodsConfig
		want   string
	}{
		{PodsConfig{Port: "metrics", Selector: "app=checkout", Namespaces: []string{"shop"}}, ""},
		{PodsConfig{Port: "8080"}, ""},
		{PodsConfig{Port: "0"}, `port: "0" is neither a number nor the name of a container's port`},
		{PodsConfig{Port: "Metrics!"}, `port: "Metrics!" is neither`},
		{PodsConfig{Port: "web", Selector: "app in checkout"}, "selector: "},
		{PodsConfig{Port: "web", Namespaces: []string{"../kube-system"}}, `namespaces[0]: "../kube-system" is no name of a namespace`},
	} {
		err := tt.config.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.config, err, tt.want)
		}
	}
}
