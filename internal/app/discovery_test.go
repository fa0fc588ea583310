package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/slo"
)

// A configuration that names pods has them found, followed and counted. The real API server has its own
// suite.
func TestPodsAreFound(t *testing.T) {
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, `requests_total{code="200"} 100`)
	}))
	defer pod.Close()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(pod.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 100)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		asked <- r.URL.Path + " " + r.URL.Query().Get("labelSelector") + " " + r.URL.Query().Get("watch")
		if r.URL.Query().Get("watch") != "" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		fmt.Fprintf(w, `{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"namespace":"shop","name":"a","resourceVersion":"1"},"spec":{"containers":[{"name":"app","ports":[{"name":"metrics","containerPort":%s}]}]},"status":{"phase":"Running","podIP":%q}}]}`, port, host)
	}))
	defer api.Close()
	dir := t.TempDir()
	kubeconfig := fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}]}", api.URL)
	if err := os.WriteFile(filepath.Join(dir, "kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(filepath.Join(dir, "c.yaml"), []byte(`
sources: [{name: pods, type: scrape, kubernetes: {namespaces: [shop], selector: app=checkout, port: metrics, kubeconfig: kubeconfig}}]
slos: [{name: it, service: shop, objective: 99, period: 30d, indicator: {counters: {total: requests_total, bad: 'requests_total{code="500"}'}}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	parts, err := assemble(c, nil, partOptions{log: slogDiscard})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	wait := parts.follow(ctx)
	defer func() { stop(); wait() }()
	at := time.Now().Truncate(c.Tick)
	samples, err := parts.lanes[0].Source.Collect(t.Context(), slo.Span{From: at.Add(-c.Tick), To: at})
	if err != nil || len(samples) != 1 || samples[0].Err != nil || samples[0].Series != 1 {
		t.Errorf("%+v, %v; want one series of the pod", samples, err)
	}
	for _, want := range []string{"/api/v1/namespaces/shop/pods app=checkout ", "/api/v1/namespaces/shop/pods app=checkout 1"} {
		if got := <-asked; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
}
