package kubernetes

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
)

// Custom resources are known by their subresource scale: how many pods they want and, where nothing that
// is read stands between, which those are.
func TestScale(t *testing.T) {
	const (
		group   = "/apis/argoproj.io/v1alpha1"
		rollout = group + "/namespaces/shop/rollouts/web/scale"
		podText = `{"metadata":{"namespace":"shop","name":%q,"labels":{"app":"web","app.kubernetes.io/name":"web"},"ownerReferences":[{"kind":"Secret","name":"between","controller":true}]},"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"2"}}}]},"status":{"phase":%q}}`
	)
	vpas := func(refs ...string) string {
		var items []string
		for i, ref := range refs {
			items = append(items, fmt.Sprintf(`{"metadata":{"namespace":"shop","name":"v%d"},"spec":{"targetRef":%s,"updatePolicy":{"updateMode":"Off"}},"status":{"recommendation":{"containerRecommendations":[{"containerName":"app","target":{"cpu":"1"}}]}}}`, i, ref))
		}
		return `{"metadata":{},"items":[` + strings.Join(items, ",") + `]}`
	}
	const web = `{"apiVersion":"argoproj.io/v1alpha1","kind":"Rollout","name":"web"}`
	resources := `{"resources":[{"name":"rollouts","kind":"Rollout"},{"name":"rollouts/status","kind":"Rollout"},{"name":"rollouts/scale","kind":"Scale"},{"name":"fixtures","kind":"Fixture"}]}`
	base := func() answers {
		return answers{
			vpaPath: vpas(web), deployPath: emptyList, statefulP: emptyList, daemonPath: emptyList,
			"/api/v1/pods": `{"metadata":{},"items":[` + fmt.Sprintf(podText, "web-b", "Running") + `,` + fmt.Sprintf(podText, "web-a", "Running") + `,` + fmt.Sprintf(podText, "web-done", "Succeeded") + `]}`,
			group:          resources,
			rollout:        `{"kind":"Scale","spec":{"replicas":3},"status":{"replicas":2,"selector":"app=web"}}`,
		}
	}

	s, got := cluster(t, base().ServeHTTP, Config{}, nil)
	for range 2 {
		w := collect(t, s)[0]
		if w.Kind != "Rollout" || w.Replicas != 3 || w.Condition != "" || len(w.Containers) != 1 || w.Labels["app.kubernetes.io/name"] != "web" {
			t.Errorf("%+v", w)
		}
		if c := w.Containers[0]; c.Place != rightsizing.Injected || c.CPU.Request != is(2) || c.CPU.Target != is(1) {
			t.Errorf("container %+v", c)
		}
	}
	times := map[string]int{}
	for _, path := range got.list() {
		times[path]++
	}
	if times[group] != 1 || times[rollout] != 1 {
		t.Errorf("the kind was looked up %d times and the scale asked %d times within a minute, want once each", times[group], times[rollout])
	}

	for _, tt := range []struct {
		about string
		scene func(a answers)
		want  rightsizing.Condition
	}{
		{"it is gone", func(a answers) { delete(a, rollout) }, rightsizing.Missing},
		{"its API is not there", func(a answers) { delete(a, group) }, rightsizing.Missing},
		{"a kind that cannot be scaled", func(a answers) {
			a[vpaPath] = vpas(`{"apiVersion":"argoproj.io/v1alpha1","kind":"Fixture","name":"web"}`)
		}, rightsizing.Missing},
		{"it wants no pods", func(a answers) { a[rollout] = `{"spec":{},"status":{}}` }, ""},
		{"a name that leads elsewhere", func(a answers) {
			a[vpaPath] = vpas(`{"apiVersion":"argoproj.io/v1alpha1","kind":"Rollout","name":"../../../../api/v1/secrets"}`)
		}, rightsizing.Missing},
		{"a version that leads elsewhere", func(a answers) {
			a[vpaPath] = vpas(`{"apiVersion":"../api/v1","kind":"Rollout","name":"web"}`)
		}, rightsizing.Missing},
	} {
		t.Run(tt.about, func(t *testing.T) {
			a := base()
			tt.scene(a)
			s, got := cluster(t, a.ServeHTTP, Config{}, nil)
			if w := collect(t, s)[0]; w.Condition != tt.want || w.Replicas != 0 {
				t.Errorf("condition %q, %d replicas", w.Condition, w.Replicas)
			}
			for _, path := range got.list() {
				if strings.Contains(path, "secrets") || strings.Contains(path, "..") {
					t.Errorf("asked for %s", path)
				}
			}
		})
	}
}

// A role that may not read scales is told with the words that mend it, once; the pods show the rest.
func TestScaleForbidden(t *testing.T) {
	var log safeBuffer
	s, _ := cluster(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/scale"):
			http.Error(w, `{"kind":"Status","message":"rollouts.argoproj.io \"web\" is forbidden"}`, http.StatusForbidden)
			return
		case r.URL.Path == "/apis/argoproj.io/v1alpha1":
			fmt.Fprint(w, `{"resources":[{"name":"rollouts","kind":"Rollout"},{"name":"rollouts/scale","kind":"Scale"}]}`)
			return
		}
		answers{
			vpaPath:    `{"metadata":{},"items":[{"metadata":{"namespace":"shop","name":"web"},"spec":{"targetRef":{"apiVersion":"argoproj.io/v1alpha1","kind":"Rollout","name":"web"}}}]}`,
			deployPath: emptyList, statefulP: emptyList, daemonPath: emptyList,
			"/api/v1/pods": `{"metadata":{},"items":[{"metadata":{"namespace":"shop","name":"web-1","ownerReferences":[{"kind":"Rollout","name":"web","controller":true}]},"spec":{"containers":[{"name":"app"}]},"status":{"phase":"Running"}}]}`,
		}.ServeHTTP(w, r)
	}, Config{}, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		if w := collect(t, s)[0]; w.Condition != "" || w.Replicas != 1 {
			t.Errorf("condition %q, %d replicas", w.Condition, w.Replicas)
		}
	}
	if text := log.String(); strings.Count(text, "scale of a workload is not known") != 1 || !strings.Contains(text, "verb get on rollouts/scale in API group argoproj.io") {
		t.Errorf("log:\n%s", text)
	}
}
