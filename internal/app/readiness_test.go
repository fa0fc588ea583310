package app

import (
	"testing"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// What yoyu has seen of a service, and what readiness makes of it. Unknown is never ok.
func TestReadinessOfWhatWasSeen(t *testing.T) {
	counted := sinktest.Counts{Total: 100, Bad: 1, Coverage: 1}
	silent := sinktest.Counts{}
	app := rightsizing.Workload{Namespace: "shop", Kind: "Deployment", Name: "api", VPA: "api", Services: []string{"checkout"},
		Containers: []rightsizing.Container{{Name: "app", Place: rightsizing.Main}}}
	sized := app
	full := rightsizing.Container{Name: "app", Place: rightsizing.Main}
	full.CPU.Request, full.Memory.Request, full.Memory.Limit = slo.Defined(0.1), slo.Defined(1<<30), slo.Defined(1<<30)
	sized.Containers = []rightsizing.Container{full}
	unwatched := sized
	unwatched.VPA = ""

	for _, f := range []struct {
		name                 string
		seen                 map[string]sinktest.Counts // nil: nobody was asked
		workloads            []rightsizing.Workload
		cluster              bool
		data, vpa, resources sinks.ReadinessState
	}{
		{"nobody was asked", nil, nil, false, "unknown", "unknown", "unknown"},
		{"events within the hour, and no cluster", map[string]sinktest.Counts{"1h": counted, "30d": counted}, nil, false, "ok", "unknown", "unknown"},
		{"events of the month, none of them within the hour", map[string]sinktest.Counts{"1h": silent, "30d": counted}, nil, false, "missing", "unknown", "unknown"},
		{"a cluster that has no VPA of it", map[string]sinktest.Counts{"1h": counted, "30d": counted}, []rightsizing.Workload{unwatched}, true, "ok", "missing", "missing"},
		{"a container that asks for nothing", map[string]sinktest.Counts{"1h": counted, "30d": counted}, []rightsizing.Workload{app}, true, "ok", "ok", "missing"},
		{"all that is asked for", map[string]sinktest.Counts{"1h": counted, "30d": counted}, []rightsizing.Workload{sized}, true, "ok", "ok", "ok"},
	} {
		o := sinktest.Objective("checkout-availability", "checkout", "99.9", slo.RollingPeriod(30*slo.Day))
		var report *sinks.Report
		if f.seen != nil {
			report = &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{sinktest.Status(o, nil, f.seen)}, Workloads: f.workloads}
		}
		all := readyServices(&config.Config{Objectives: []slo.Objective{*o}}, report, f.cluster)
		if len(all) != 1 {
			t.Fatalf("%s: got %+v", f.name, all)
		}
		got := map[string]sinks.ReadinessState{}
		for _, c := range all[0].Checks {
			got[c.Check] = c.State
		}
		if got["data"] != f.data || got["vpa"] != f.vpa || got["resources"] != f.resources {
			t.Errorf("%s: data %s, vpa %s, resources %s; want %s, %s, %s", f.name, got["data"], got["vpa"], got["resources"], f.data, f.vpa, f.resources)
		}
	}
}

// Before the daemon has read anything nobody can say.
func TestReadinessBeforeAConfiguration(t *testing.T) {
	if _, ok := new(daemon).ready(nil); ok {
		t.Error("a daemon without a configuration speaks of services")
	}
}
