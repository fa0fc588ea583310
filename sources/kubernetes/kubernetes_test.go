package kubernetes

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/slo"
)

var is = slo.Defined

// demoWeb is the Deployment of the recorded answers: what a stranger with kubectl would read.
func demoWeb() rightsizing.Workload {
	const mebi = 1 << 20
	return rightsizing.Workload{
		Namespace: "demo", APIVersion: "apps/v1", Kind: "Deployment", Name: "web", VPA: "web", UpdateMode: "Off", Replicas: 3,
		StatusAt: time.Date(2026, time.November, 22, 20, 43, 19, 0, time.UTC),
		Containers: []rightsizing.Container{{
			Name:   "app",
			Raw:    `{"limits":{"memory":"1Gi"},"requests":{"cpu":"500m","memory":"512Mi"}}`,
			CPU:    rightsizing.Resource{Request: is(0.5), Target: is(0.379), Lower: is(0.245), Upper: is(1.321), Uncapped: is(0.379), MaxAllowed: is(2)},
			Memory: rightsizing.Resource{Request: is(512 * mebi), Limit: is(1024 * mebi), Target: is(476450463), Lower: is(474089365), Upper: is(1661404982), Uncapped: is(476450463)},
		}, {
			Name: "sidecar", Index: 1,
			Raw:    `{"requests":{"cpu":"100m","memory":"128Mi"}}`,
			CPU:    rightsizing.Resource{Request: is(0.1), Target: is(0.023), Lower: is(0.022), Upper: is(0.080), Uncapped: is(0.023)},
			Memory: rightsizing.Resource{Request: is(128 * mebi), Target: is(125 * mebi), Lower: is(125 * mebi), Upper: is(221583534), Uncapped: is(125 * mebi)},
		}},
	}
}

// answers are what a server answers by path; a path it does not have is 404 as kube-apiserver
// says it.
type answers map[string]string

// others are the kinds of which a server has none unless a test says otherwise.
var others = []string{"verticalpodautoscalercheckpoints", "replicasets", "controllerrevisions", "jobs", "cronjobs",
	"replicationcontrollers", "pods", "horizontalpodautoscalers", "limitranges", "resourcequotas"}

const (
	vpaPath    = "/apis/autoscaling.k8s.io/v1/verticalpodautoscalers"
	deployPath = "/apis/apps/v1/deployments"
	statefulP  = "/apis/apps/v1/statefulsets"
	daemonPath = "/apis/apps/v1/daemonsets"
	emptyList  = `{"kind":"List","apiVersion":"v1","metadata":{},"items":[]}`
	token      = "s3cr3t-token"
)

// asked are the requests a server got.
type asked struct {
	mu    sync.Mutex
	paths []string
}

func (a *asked) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(slices.Values(a.paths))
}

// cluster starts a server and makes a source that finds it through a kubeconfig.
func cluster(t *testing.T, handle http.HandlerFunc, config Config, log *slog.Logger) (*Source, *asked) {
	t.Helper()
	var got asked
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.mu.Lock()
		got.paths = append(got.paths, r.URL.Path)
		got.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, `{"kind":"Status","message":"Unauthorized"}`, http.StatusUnauthorized)
			return
		}
		handle(w, r)
	}))
	srv.Config.ErrorLog = stdlog.New(io.Discard, "", 0) // connections that the client opened and did not need
	srv.StartTLS()
	t.Cleanup(srv.Close)
	config.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	text := fmt.Sprintf(`
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: yoyu, user: {token: %s}}, {name: stranger, user: {token: wrong}}]
contexts:
  - {name: here, context: {cluster: test, user: yoyu}}
  - {name: other, context: {cluster: test, user: stranger}}
`, srv.URL, base64.StdEncoding.EncodeToString(ca), token)
	if err := os.WriteFile(config.Kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Name: "cluster", Config: config, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return s, &got
}

func (a answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, ok := a[r.URL.Path]
	if !ok && slices.ContainsFunc(others, func(name string) bool { return strings.HasSuffix(r.URL.Path, "/"+name) }) {
		body, ok = emptyList, true
	}
	if !ok {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, "404 page not found")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, body)
}

func recording(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func collect(t *testing.T, s *Source) []rightsizing.Workload {
	t.Helper()
	got, err := s.Collect(t.Context(), slo.Span{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func equal(t *testing.T, got, want []rightsizing.Workload) {
	t.Helper()
	differ(t, "workloads", reflect.ValueOf(got), reflect.ValueOf(want))
}

// differ names every place where two values differ, and nothing else: workloads are large.
func differ(t *testing.T, path string, got, want reflect.Value) {
	t.Helper()
	switch got.Kind() {
	case reflect.Struct:
		if _, moment := got.Interface().(time.Time); moment {
			break
		}
		for i := range got.NumField() {
			if f := got.Type().Field(i); f.IsExported() {
				differ(t, path+"."+f.Name, got.Field(i), want.Field(i))
			}
		}
		return
	case reflect.Slice:
		if got.Len() != want.Len() {
			break
		}
		for i := range got.Len() {
			differ(t, fmt.Sprintf("%s[%d]", path, i), got.Index(i), want.Index(i))
		}
		return
	case reflect.Pointer:
		if !got.IsNil() && !want.IsNil() {
			differ(t, path, got.Elem(), want.Elem())
			return
		}
	}
	if !reflect.DeepEqual(got.Interface(), want.Interface()) {
		t.Errorf("%s: got %+v, want %+v", path, got, want)
	}
}

// The recorded answers of a real API server, at the paths a real one has.
func TestRecordedAnswers(t *testing.T) {
	without := demoWeb()
	without.StatusAt = time.Time{}
	for i := range without.Containers {
		c := &without.Containers[i]
		c.CPU = rightsizing.Resource{Request: c.CPU.Request, Limit: c.CPU.Limit, MaxAllowed: c.CPU.MaxAllowed}
		c.Memory = rightsizing.Resource{Request: c.Memory.Request, Limit: c.Memory.Limit}
	}
	for _, tt := range []struct {
		name, vpas string
		want       rightsizing.Workload
	}{
		{"eight days of history", "vpa-list-prometheus.json", demoWeb()},
		{"an empty status recommends nothing, which is not 0", "vpa-list-empty-status.json", without},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, got := cluster(t, answers{
				vpaPath:    recording(t, tt.vpas),
				deployPath: recording(t, "deployments.json"),
				statefulP:  emptyList,
				daemonPath: emptyList,
			}.ServeHTTP, Config{}, nil)
			equal(t, collect(t, s), []rightsizing.Workload{tt.want})
			var want []string
			for _, k := range append(kinds[:len(kinds):len(kinds)], podMetrics) {
				want = append(want, "/"+strings.Join(k.path(""), "/"))
			}
			if slices.Sort(want); !slices.Equal(got.list(), want) {
				t.Errorf("asked %v, want one call for each kind: %v", got.list(), want)
			}
		})
	}
}

// Early in its life a VPA is sure of nothing: the upper bounds of the recorded answer are 100
// billion cores and 10^14 bytes, written as no person would.
func TestShortHistory(t *testing.T) {
	s, _ := cluster(t, answers{
		vpaPath:    recording(t, "vpa-list-checkpoint-short-history.json"),
		deployPath: recording(t, "deployments.json"),
		statefulP:  emptyList,
		daemonPath: emptyList,
	}.ServeHTTP, Config{}, nil)
	app, side := collect(t, s)[0].Containers[0], collect(t, s)[0].Containers[1]
	if got := app.CPU.Upper; got != is(2) {
		t.Errorf("cpu upper bound %v, want the 2 cores that the policy allows at most", got)
	}
	if got := side.CPU.Upper; got != is(100e9) {
		t.Errorf("cpu upper bound %v, want 1e11 cores", got)
	}
	if got := app.Memory.Upper; got != is(100e12) {
		t.Errorf("memory upper bound %v, want 1e14 bytes", got)
	}
}

// A server that answers two objects a page gets asked until it has no more.
func TestPages(t *testing.T) {
	type item = map[string]any
	var all []item
	for _, name := range []string{"e", "d", "c", "b", "a"} {
		all = append(all, item{
			"metadata": item{"namespace": "shop", "name": name},
			"spec":     item{"targetRef": item{"kind": "Deployment", "name": name}},
		})
	}
	pages := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("limit") != "500" {
			t.Errorf("limit %q", r.URL.Query().Get("limit"))
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		to := min(from+2, len(all))
		meta := item{}
		if to < len(all) {
			meta["continue"] = strconv.Itoa(to)
		}
		json.NewEncoder(w).Encode(item{"metadata": meta, "items": all[from:to]})
	}
	s, got := cluster(t, pages, Config{}, nil)
	var names []string
	for _, w := range collect(t, s) {
		names = append(names, w.Name)
	}
	if strings.Join(names, "") != "abcde" {
		t.Errorf("workloads %v, want a to e in order", names)
	}
	if n := len(got.list()); n != 15*3 {
		t.Errorf("%d requests, want 3 pages of each of 14 kinds and of what pods use", n)
	}

	s, _ = cluster(t, func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(item{"metadata": item{"continue": "again"}})
	}, Config{}, nil)
	if _, err := s.Collect(t.Context(), slo.Span{}); err == nil || !strings.Contains(err.Error(), "continues with the page it is") {
		t.Errorf("a list that never ends: error %v", err)
	}
}

// With namespaces only those are asked: the role of yoyu may be theirs alone.
func TestNamespaces(t *testing.T) {
	in := func(path, namespace string) string {
		i := strings.LastIndex(path, "/")
		return path[:i] + "/namespaces/" + namespace + path[i:]
	}
	a := answers{in(vpaPath, "demo"): recording(t, "vpa-list-prometheus.json"), in(deployPath, "demo"): recording(t, "deployments.json")}
	for _, path := range []string{vpaPath, deployPath, statefulP, daemonPath} {
		for _, namespace := range []string{"demo", "empty"} {
			a[in(path, namespace)] = cmp.Or(a[in(path, namespace)], emptyList)
		}
	}
	s, got := cluster(t, a.ServeHTTP, Config{Namespaces: []string{"empty", "demo"}}, nil)
	equal(t, collect(t, s), []rightsizing.Workload{demoWeb()})
	if n := len(got.list()); n != 2*15 {
		t.Errorf("%d requests, want 14 kinds and what pods use in 2 namespaces", n)
	}
}

// VPA is an optional API. A cluster without it is quiet, and says so once.
func TestNoVPAs(t *testing.T) {
	var log strings.Builder
	s, got := cluster(t, answers{}.ServeHTTP, Config{}, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		if w := collect(t, s); len(w) != 0 {
			t.Errorf("workloads %v", w)
		}
	}
	if n := strings.Count(log.String(), "no VerticalPodAutoscaler API"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, &log)
	}
	if n := len(got.list()); n != 3 {
		t.Errorf("%d requests in three turns, want one each", n)
	}
}

func TestRefused(t *testing.T) {
	forbidden := `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"deployments.apps is forbidden: User \"system:serviceaccount:yoyu:yoyu\" cannot list resource \"deployments\" in API group \"apps\" at the cluster scope","reason":"Forbidden","code":403}`
	vpas := recording(t, "vpa-list-prometheus.json")
	for _, tt := range []struct {
		name   string
		config Config
		handle http.HandlerFunc
		want   string
	}{
		{"no right to list", Config{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != deployPath {
				answers{vpaPath: vpas, statefulP: emptyList, daemonPath: emptyList}.ServeHTTP(w, r)
				return
			}
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, forbidden)
		}, `deployments in all namespaces: 403 Forbidden: deployments.apps is forbidden: User "system:serviceaccount:yoyu:yoyu" cannot list resource "deployments" in API group "apps" at the cluster scope (needed: verb list on deployments in API group apps)`},
		{"a stranger", Config{Context: "other"}, answers{}.ServeHTTP,
			"verticalpodautoscalers in all namespaces: 401 Unauthorized: Unauthorized"},
		{"a proxy that is ill", Config{Namespaces: []string{"shop"}}, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>upstream", http.StatusBadGateway)
		}, "verticalpodautoscalers in namespace shop: 502 Bad Gateway"},
		{"half an answer", Config{}, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, vpas[:len(vpas)/2])
		}, "verticalpodautoscalers in all namespaces: answer: unexpected end of JSON input"},
		{"apps is not optional", Config{}, answers{vpaPath: vpas, statefulP: emptyList, daemonPath: emptyList}.ServeHTTP,
			"deployments in all namespaces: 404 Not Found: the server has no deployments.apps"},
		{"a quantity that is none", Config{}, answers{
			vpaPath:    strings.Replace(vpas, `"target":{"cpu":"23m"`, `"target":{"cpu":"23 millis"`, 1),
			deployPath: recording(t, "deployments.json"), statefulP: emptyList, daemonPath: emptyList}.ServeHTTP,
			`VerticalPodAutoscaler demo/web: container sidecar: target cpu "23 millis": not a quantity`},
		{"a request below nothing", Config{}, answers{
			vpaPath:    vpas,
			deployPath: strings.ReplaceAll(recording(t, "deployments.json"), `"requests":{"cpu":"500m"`, `"requests":{"cpu":"-500m"`), statefulP: emptyList, daemonPath: emptyList}.ServeHTTP,
			`Deployment demo/web: container app: request cpu "-500m": negative`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := cluster(t, tt.handle, tt.config, nil)
			got, err := s.Collect(t.Context(), slo.Span{})
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v\nwant  %s", err, tt.want)
			}
			if got != nil {
				t.Errorf("workloads beside an error: %v", got)
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Error("error holds the token")
			}
		})
	}
}

// A server that never answers holds nobody up longer than the caller's patience.
func TestCancelled(t *testing.T) {
	reached := make(chan struct{})
	s, _ := cluster(t, func(_ http.ResponseWriter, r *http.Request) {
		close(reached)
		<-r.Context().Done()
	}, Config{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	ended := make(chan error, 1)
	go func() { _, err := s.Collect(ctx, slo.Span{}); ended <- err }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("an answer from a server that gave none")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still waiting")
	}
}

func TestObjects(t *testing.T) {
	s, err := New(Options{Name: "cluster", Config: Config{Objects: "testdata/shop.yaml"}})
	if err != nil {
		t.Fatal(err)
	}
	const gibi = 1 << 30
	db := rightsizing.Workload{Namespace: "shop", APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", VPA: "zz-older", UpdateMode: "Initial", Replicas: 1,
		Spec:   `{"targetRef":{"apiVersion":"apps/v1","kind":"StatefulSet","name":"db"},"updatePolicy":{"updateMode":"Initial"}}`,
		Rivals: []string{"younger"},
		Containers: []rightsizing.Container{{Name: "postgres",
			Raw:    `{"limits":{"cpu":2.5,"ephemeral-storage":"1Gi","memory":4294967296},"requests":{"cpu":2,"memory":"4Gi"}}`,
			CPU:    rightsizing.Resource{Request: is(2), Limit: is(2.5)},
			Memory: rightsizing.Resource{Request: is(4 * gibi), Limit: is(4 * gibi)}}}}
	second := db
	second.VPA, second.UpdateMode, second.Rivals = "younger", "InPlaceOrRecreate", nil
	second.Spec = strings.Replace(db.Spec, "Initial", "InPlaceOrRecreate", 1)
	all := []rightsizing.Workload{
		{Namespace: "default", APIVersion: "apps/v1", Kind: "DaemonSet", Name: "agent", VPA: "agent-vpa", UpdateMode: "Recreate", Replicas: 7,
			Spec:       `{"targetRef":{"apiVersion":"apps/v1","kind":"DaemonSet","name":"agent"}}`,
			Containers: []rightsizing.Container{{Name: "agent", Memory: rightsizing.Resource{Target: is(1536)}}}},
		{Namespace: "shop", APIVersion: "batch/v1", Kind: "CronJob", Name: "nightly", VPA: "batch", UpdateMode: "Recreate", Condition: rightsizing.Missing,
			Spec: `{"targetRef":{"apiVersion":"batch/v1","kind":"CronJob","name":"nightly"}}`},
		db, second, // the older VPA first: it is the one the cluster obeys
	}
	equal(t, collect(t, s), all)

	s, err = New(Options{Name: "cluster", Config: Config{Objects: "testdata/shop.yaml", Namespaces: []string{"shop"}}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, collect(t, s), all[1:])
}

// The answers of an API server are a file of objects too, one after the other in one file.
func TestObjectsOfAServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.json")
	text := recording(t, "vpa-list-prometheus.json") + "\n" + recording(t, "deployments.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Config: Config{Objects: path}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, collect(t, s), []rightsizing.Workload{demoWeb()})
}

func TestBrokenObjects(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"not YAML", "a: [", "document 1: "},
		{"not an object", "kind: Service\n---\n- one\n- two\n", "document 2: not an object: "},
		{"no kind", "metadata: {name: web}", "document 1: object has no kind"},
		{"no kind in a list", "kind: List\nitems: [{kind: Service}, {metadata: {name: web}}]", "document 1: item 1: object has no kind"},
		{"a list where a number is due", "{apiVersion: apps/v1, kind: Deployment, spec: {replicas: [1]}}", "document 1: Deployment: json: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "objects.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := New(Options{Config: Config{Objects: path}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Collect(t.Context(), slo.Span{})
			if err == nil || !strings.HasPrefix(err.Error(), "objects: "+path+": "+tt.want) {
				t.Errorf("error %v, want objects: %s: %s…", err, path, tt.want)
			}
		})
	}
	s, err := New(Options{Config: Config{Objects: "testdata/none.yaml"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context(), slo.Span{}); err == nil || !strings.Contains(err.Error(), "testdata/none.yaml") {
		t.Errorf("missing file: error %v", err)
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config Config
		want   string
	}{
		{"two places at once", Config{Objects: "o.yaml", Context: "prod"}, "context: names a cluster, but objects stand in place of one"},
		{"a namespace that leads elsewhere", Config{Namespaces: []string{"shop", "../nodes"}}, `namespaces[1]: "../nodes" is no name of a namespace`},
		{"a namespace twice", Config{Namespaces: []string{"shop", "shop"}}, `namespaces[1]: "shop" comes twice`},
		{"no such kubeconfig", Config{Kubeconfig: "testdata/none"}, "testdata/none"},
	} {
		if _, err := New(Options{Config: tt.config}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestAmount(t *testing.T) {
	for _, tt := range []struct {
		text string
		want float64
	}{
		{"379m", 0.379}, {"0.5", 0.5}, {"1e-1", 0.1}, {"100u", 0.0001}, {"2", 2}, {"100G", 100e9},
		{"125Mi", 131072000}, {"262144k", 262144000}, {"1.50Ki", 1536}, {"97656250000Ki", 1e14}, {"0", 0},
	} {
		if got, err := amount(tt.text); err != nil || got != tt.want {
			t.Errorf("%s is %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
}
