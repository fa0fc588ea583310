package scrape_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/scrape"
)

// found is a cluster that shows the pods that a test wants.
type found struct {
	pods []*served
	err  error
}

func (f *found) addresses(context.Context) ([]string, error) {
	var out []string
	for _, p := range f.pods {
		out = append(out, p.instance())
	}
	return out, f.err
}

func discovering(t *testing.T, f *found, more ...*served) *scraper {
	t.Helper()
	c := pages(more...)
	c.Kubernetes = &scrape.Discovery{Selector: "app=checkout", Port: "metrics"}
	return newScraper(t, scrape.Options{Config: c, Pods: f.addresses})
}

// Pods come and go. One that vanished is not asked any more, and what it had counted stays counted; one
// that comes again goes on where it was, and a new one begins where it is.
func TestPodsComeAndGo(t *testing.T) {
	a := serve(t, text(`http_requests_total{code="200"} 100`))
	b := serve(t, text(`http_requests_total{code="200"} 7`))
	cluster := &found{pods: []*served{a}}
	s := discovering(t, cluster)
	want(t, "first look", s.turn(), 0, 0)
	a.show(text(`http_requests_total{code="200"} 110`))
	want(t, "one pod", s.turn(), 10, 0)

	cluster.pods = []*served{b}
	a.show(text(`http_requests_total{code="200"} 115`))
	asked := a.asked.Load()
	want(t, "another in its place", s.turn(), 0, 0)
	b.show(text(`http_requests_total{code="200"} 9`, `http_requests_total{code="500"} 1`))
	want(t, "which then counts, its first error too", s.turn(), 3, 1)
	if a.asked.Load() != asked {
		t.Error("a pod that is gone was asked")
	}

	cluster.pods = []*served{a, b}
	want(t, "the first one again", s.turn(), 5, 0)
}

// The instance of a pod is its address, as of any target.
func TestPodsAreInstances(t *testing.T) {
	a := serve(t, text(`http_requests_total{code="200"} 1`))
	cluster := &found{pods: []*served{a}}
	q := availability
	q.GroupBy = []string{"instance"}
	c := pages()
	c.Kubernetes = &scrape.Discovery{Port: "metrics"}
	s := newScraper(t, scrape.Options{Config: c, Pods: cluster.addresses, Questions: []sources.Question{q}})
	s.turn()
	a.show(text(`http_requests_total{code="200"} 2`))
	got := s.turn()
	if len(got.Groups) != 1 || len(got.Groups[0].Labels) != 1 || got.Groups[0].Labels[0] != a.instance() {
		t.Errorf("groups %+v, want one of instance %s", got.Groups, a.instance())
	}
}

// What is configured is asked too, and once.
func TestPodsBesideTargets(t *testing.T) {
	a, b := serve(t, text(`http_requests_total{code="200"} 100`)), serve(t, text(`http_requests_total{code="200"} 100`))
	cluster := &found{pods: []*served{a, b}}
	s := discovering(t, cluster, a)
	s.turn()
	if a.asked.Load() != 1 || b.asked.Load() != 1 {
		t.Errorf("asked %d and %d times, want once each", a.asked.Load(), b.asked.Load())
	}
}

// A cluster that cannot say which pods there are leaves those that it named; before it ever named one,
// and while no pod runs, there is no answer.
func TestPodsUnknown(t *testing.T) {
	a := serve(t, text(`http_requests_total{code="200"} 100`))
	cluster := &found{err: errors.New("403 Forbidden")}
	s := discovering(t, cluster)
	if err := s.fails(); !strings.Contains(err.Error(), "kubernetes: pods: 403 Forbidden") {
		t.Errorf("error %v", err)
	}
	cluster.err = nil
	if err := s.fails(); !strings.Contains(err.Error(), `kubernetes: no pod runs that selector "app=checkout" and port "metrics" mean`) {
		t.Errorf("error %v", err)
	}
	cluster.pods = []*served{a}
	s.turn()
	a.show(text(`http_requests_total{code="200"} 110`))
	cluster.err, cluster.pods = errors.New("503 Service Unavailable"), nil
	want(t, "while nobody can say", s.turn(), 10, 0)
	cluster.err = nil
	s.fails()
}
