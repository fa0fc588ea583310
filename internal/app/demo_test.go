package app

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/demo"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// The demo is made of the rooms of production: its configuration is read without a warning, its
// month fills the windows, and its objects show what they are there to show.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	shop := demo.New(demo.Options{Seed: 1, Now: time.Now(), Dir: t.TempDir()})
	if err := shop.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); shop.Wait() }()
	c, err := config.Parse("demo.yaml", shop.Config())
	if err != nil || len(c.Warnings) > 0 {
		t.Fatalf("%v %v", err, c.Warnings)
	}
	parts, err := assemble(c, nil, partOptions{log: slogDiscard})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := newEngine(c)
	if err != nil {
		t.Fatal(err)
	}
	engine.Watch(shop.Opening())
	memory := rightsizing.NewMemory()
	if err := remember(ctx, engine, c, parts, memory, shop); err != nil {
		t.Fatal(err)
	}
	burning := 0
	statuses := engine.Evaluate(shop.Opening())
	for _, s := range statuses {
		period := s.Windows[len(s.Windows)-1]
		if period.Coverage < 0.95 || period.Total == 0 {
			t.Errorf("%s %v: %v events in the period, coverage %v", s.Objective.Name, s.Labels, period.Total, period.Coverage)
		}
		if s.EventsTotal != 0 {
			t.Errorf("%s %v: slo_events_total %v before anything was watched", s.Objective.Name, s.Labels, s.EventsTotal)
		}
		if s.Objective.Name == "checkout-availability" && s.Alerts[0].Firing {
			burning++
		}
	}
	if burning != 1 {
		t.Errorf("checkout-availability fires for %d routes, want one", burning)
	}

	// The alerts of the month are its history.
	course := engine.Course(slo.CourseQuery{Name: "payment-availability", Span: slo.Span{From: shop.Opening().Add(-30 * slo.Day)}, Step: slo.Day})
	if len(course.Fired) < 2 || len(course.Watched) != 1 || course.Watched[0].Duration() < 7*slo.Day {
		t.Errorf("payment-availability fired %v, watched %v", course.Fired, course.Watched)
	}

	workloads, err := parts.workloads[0].Collect(ctx, slo.Span{})
	if err != nil {
		t.Fatal(err)
	}
	report := &sinks.Report{Time: shop.Opening(), SLOs: statuses, Workloads: workloads}
	judge(c, memory)(report)
	find := func(workload, container string) *rightsizing.Container {
		for i := range report.Workloads {
			for j := range report.Workloads[i].Containers {
				if one := &report.Workloads[i].Containers[j]; report.Workloads[i].Name == workload && one.Name == container {
					if len(report.Workloads[i].Services) != 1 {
						t.Errorf("%s serves %v", workload, report.Workloads[i].Services)
					}
					return one
				}
			}
		}
		t.Fatalf("no container %s of %s", container, workload)
		return nil
	}
	if got := find("checkout", "app").Memory; got.Headroom.Float < got.Proposed.Float {
		t.Errorf("checkout has %v bytes to spare, want clearly too many", got.Headroom)
	}
	if got := find("catalog", "app").CPU; got.Headroom.Float > -got.Request.Float {
		t.Errorf("catalog has %v cores to spare, want clearly too few", got.Headroom)
	}
	if got := find("payment", "app").CPU; got.Headroom.Float < 0 || got.Headroom.Float > got.Request.Float/10 {
		t.Errorf("payment has %v cores to spare, want about none", got.Headroom)
	}

	// All four verdicts, all that a gate can say, and one raise that cannot wait.
	for _, w := range report.Workloads {
		got := strings.TrimSpace(fmt.Sprintf("%s %s %d", w.Verdict, w.Gate, w.Urgency))
		want := map[string]string{
			"checkout": "shrink blocked 0", "gateway": "raise  3", "catalog": "raise  1", "images": "shrink safe 0",
			"payment": "keep  0", "mailer": "shrink ungated 0", "reviews": "unknown  0",
		}[w.Name]
		if got != want {
			t.Errorf("%s: %s, want %s: %s %v", w.Name, got, want, w.Sentence, w.Reasons)
		}
	}
}
