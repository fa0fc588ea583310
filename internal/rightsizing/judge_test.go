package rightsizing

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

var (
	none = slo.Value{}
	is   = slo.Defined
	noon = time.Date(2026, time.November, 26, 12, 0, 0, 0, time.UTC)
)

const (
	mib = 1 << 20
	gib = 1 << 30
	day = slo.Day
)

// scene is a cluster and its SLOs at noon. It begins well: checkout asks for a core and 2 GiB in
// each of four pods, has needed 379m and 454 MiB for two weeks, and its one SLO is in good health.
type scene struct {
	workloads []Workload
	statuses  []slo.Status
	prices    Prices
	memory    *Memory
	watched   time.Duration                                                   // how long yoyu has watched
	past      func(ago time.Duration, r resourceName, target float64) float64 // what VPA recommended then; nil: as now
	fired     time.Duration                                                   // an alert fired so long ago; 0: none did
	alerts    time.Duration                                                   // how long alerts have been watched
}

func newScene() *scene {
	return &scene{
		workloads: []Workload{checkout()},
		statuses:  []slo.Status{status("checkout-availability", "checkout", "99.9", 0.9)},
		prices:    Prices{CPUCoreHour: 0.05, MemoryGiBHour: 0.005, Currency: "USD"},
		memory:    NewMemory(), watched: 20 * day, alerts: 2 * day,
	}
}

func checkout() Workload {
	return Workload{
		Namespace: "shop", Kind: "Deployment", Name: "checkout", VPA: "checkout", UpdateMode: "Off",
		Replicas: 4, Services: []string{"checkout"}, RolledOut: noon.Add(-30 * day),
		Containers: []Container{{
			Name: "app",
			CPU:  Resource{Request: is(1), Target: is(0.379), Lower: is(0.245), Upper: is(0.587), Uncapped: is(0.379)},
			Memory: Resource{Request: is(2 * gib), Limit: is(2 * gib),
				Target: is(476450463), Lower: is(323522422), Upper: is(627242021), Uncapped: is(476450463)},
			Checkpoint: &Checkpoint{
				Updated: noon.Add(-time.Minute), First: noon.Add(-40 * day), Last: noon, Samples: 40 * 1440 * 4,
				CPU:    Histogram{{14, 6000}, {19, 9000}, {21, 200}}, // P90 is the end of 19: 0.331 cores
				Memory: Histogram{{20, 2000}, {22, 10000}},           // P90 is the end of 22: 414 MB
			},
			Raw: `{"limits":{"memory":"2Gi"},"requests":{"cpu":"1","memory":"2Gi"}}`,
		}},
	}
}

// status is an SLO with a share of its budget left, which burns at a fifth of the steady pace.
func status(name, service, percent string, remaining float64) slo.Status {
	target, err := slo.ParsePercent(percent)
	if err != nil {
		panic(err)
	}
	o := &slo.Objective{Name: name, Service: service, Target: target, Period: slo.RollingPeriod(30 * day)}
	st := slo.Status{Objective: o, At: noon, Newest: noon, Budget: slo.Budget{RemainingRatio: remaining}}
	for _, length := range append(slices.Clone(slo.Windows), 30*day) {
		st.Windows = append(st.Windows, slo.Window{
			Key: slo.FormatDuration(length), Length: length, IsPeriod: length == 30*day,
			Total: 1000 * length.Hours(), Coverage: 1, BurnRate: is(0.2),
		})
	}
	st.Alerts = []slo.Alert{
		{Severity: "page", Pairs: []slo.PairStatus{{Pair: slo.Pair{Long: time.Hour, Short: 5 * time.Minute}}}},
		{Severity: "ticket", Pairs: []slo.PairStatus{{Pair: slo.Pair{Long: 3 * day, Short: 6 * time.Hour}}}},
	}
	return st
}

func (s *scene) app() *Container     { return &s.workloads[0].Containers[0] }
func (s *scene) slo() *slo.Status    { return &s.statuses[0] }
func (s *scene) checkout() *Workload { return &s.workloads[0] }
func (s *scene) fires(severity int) {
	s.slo().Alerts[severity].Firing, s.slo().Alerts[severity].Pairs[0].Firing = true, true
}
func (s *scene) killed(ago time.Duration) { s.app().OOMKilled = noon.Add(-ago) }

// recommend sets what VPA says about one resource, with bounds as they usually are.
func recommend(r *Resource, target float64) {
	r.Target, r.Uncapped, r.Lower, r.Upper = is(target), is(target), is(target*0.8), is(target*1.2)
}

// judge lets yoyu have watched, and judges.
func (s *scene) judge() *Workload {
	j := &Judge{Prices: s.prices, Memory: s.memory, Tick: 30 * time.Second}
	for ago := s.watched; ago > 0; ago -= 6 * time.Hour {
		then := slices.Clone(s.workloads)
		for i := range then {
			then[i].Containers = slices.Clone(then[i].Containers)
			for k := range then[i].Containers {
				c := &then[i].Containers[k]
				for _, name := range both {
					if r := name.of(c); s.past != nil && r.Target.Defined {
						recommend(r, s.past(ago, name, r.Target.Float))
					}
				}
			}
		}
		j.Judge(then, nil, noon.Add(-ago))
	}
	for ago := s.alerts; ago > 0; ago -= 10 * time.Minute {
		then := slices.Clone(s.statuses)
		for i := range then {
			then[i].Alerts = nil
			if ago == s.fired {
				then[i].Alerts = []slo.Alert{{Firing: true, Pairs: []slo.PairStatus{{Firing: true}}}}
			}
		}
		j.budgets(then, noon.Add(-ago))
	}
	j.Judge(s.workloads, s.statuses, noon)
	return s.checkout()
}

// told is a judgement as the table below writes it: verdict, gate, urgency, then what reasons there are.
func told(w *Workload) string {
	out := []string{string(w.Verdict)}
	if w.Gate != "" {
		out = append(out, string(w.Gate))
	}
	if w.Urgency > 0 {
		out = append(out, fmt.Sprintf("u%d", w.Urgency))
	}
	var codes []string
	for _, r := range w.Reasons {
		code := r.Code
		if r.Resource != "" {
			code = r.Resource + "=" + code
		}
		codes = append(codes, code)
	}
	return strings.Join(out, " ") + " | " + strings.Join(codes, " ")
}

// The cases of facts/vpa.md, 5.7, by their numbers. Those that a source has to see to first (34,
// 35, 36) come again in sources/kubernetes.
func TestCases(t *testing.T) {
	const over = "cpu=over_upper_bound memory=over_upper_bound"
	for _, tt := range []struct {
		number int
		about  string
		scene  func(s *scene)
		want   string
		more   func(t *testing.T, s *scene)
	}{
		{1, "asks for more than it ever needed, and every budget is well", nil, "shrink safe | " + over, func(t *testing.T, s *scene) {
			near(t, "CPU proposed", s.app().CPU.Proposed, 0.38)
			near(t, "CPU headroom", s.app().CPU.Headroom, 0.62)
			near(t, "memory proposed", s.app().Memory.Proposed, 464*mib)
			near(t, "an hour's savings", s.checkout().Savings, 4*(0.62*0.05+(2048-464)/1024.0*0.005))
			near(t, "CPU step", s.app().CPU.Step, 0.70) // no more than 30 % at a time
		}},
		{2, "the budget has a tenth left", func(s *scene) { s.slo().Budget.RemainingRatio = 0.1 },
			"shrink blocked | " + over + " blocked:budget_left blocked:exposure", nil},
		{3, "an alert fired three hours ago", func(s *scene) { s.fired = 3 * time.Hour },
			"shrink blocked | " + over + " blocked:no_alert", eligible(21 * time.Hour)},
		{3, "an alert fires", func(s *scene) { s.fires(1) },
			"shrink blocked | " + over + " burn_not_resource blocked:no_alert", eligible(0)},
		{3, "alerts have been watched for an hour only", func(s *scene) { s.alerts = time.Hour },
			"shrink blocked | " + over + " blocked:no_alert", eligible(23 * time.Hour)},
		{4, "the SLO has no data: that is not health", func(s *scene) {
			for i := range s.slo().Windows {
				w := &s.slo().Windows[i]
				w.Total, w.Coverage, w.BurnRate = 0, 0, none
			}
		}, "shrink blocked | " + over + " blocked:slo_data", nil},
		{4, "the newest answer is ten minutes old", func(s *scene) { s.slo().Newest = noon.Add(-10 * time.Minute) },
			"shrink blocked | " + over + " blocked:slo_data", nil},
		{5, "a single replica at 99.99 %", func(s *scene) {
			s.statuses[0] = status("checkout-availability", "checkout", "99.99", 1)
			s.checkout().Replicas = 1
		}, "shrink blocked | " + over + " blocked:exposure", nil},
		{6, "no SLO watches it", func(s *scene) { s.statuses = nil },
			"shrink ungated | " + over, nil},
		{7, "killed an hour ago, and the service burns fast", func(s *scene) {
			s.killed(time.Hour)
			s.fires(0)
			s.app().CPU.Request = is(0.4)
			s.app().Memory.Request, s.app().Memory.Limit = is(480*mib), is(480*mib)
		}, "raise u3 | memory=oom_killed", func(t *testing.T, s *scene) {
			near(t, "memory proposed", s.app().Memory.Proposed, 592*mib) // 480 MiB and the 100 MiB of VPA's own bump, rounded up
			near(t, "memory limit", s.app().Memory.ProposedLimit, 592*mib)
		}},
		{8, "killed an hour ago, and the budget is well", func(s *scene) {
			s.killed(time.Hour)
			s.app().CPU.Request = is(0.4)
		}, "raise u1 | memory=oom_killed", nil},
		{8, "killed an hour ago, and deployed anew since", func(s *scene) {
			s.killed(time.Hour)
			s.checkout().RolledOut = noon.Add(-30 * time.Minute)
			s.app().CPU.Request = is(0.4)
		}, "keep | memory=shrink_waiting:rollout_recent memory=shrink_waiting:oom_recent", eligible(14*day - time.Hour)},
		{9, "the service burns, and the workload lacks nothing", func(s *scene) {
			s.fires(0)
			s.app().CPU.Request, s.app().Memory.Request = is(0.4), is(480*mib)
		}, "keep | burn_not_resource", nil},
		{10, "asks for nothing", func(s *scene) {
			s.app().CPU.Request, s.app().Memory.Request, s.app().Memory.Limit = none, none, none
		}, "raise | cpu=request_unset memory=request_unset qos_change", func(t *testing.T, s *scene) {
			if s.app().CPU.Headroom.Defined || s.checkout().Cost.Float != 0 {
				t.Errorf("headroom %v and cost %v of a request that is not there", s.app().CPU.Headroom, s.checkout().Cost)
			}
		}},
		{11, "an HPA aims at CPU utilisation: CPU is left to it, memory is judged", func(s *scene) {
			s.checkout().Autoscaler = &Autoscaler{Name: "checkout", Min: 2, Max: 20, CPU: is(0.7)}
		}, "shrink safe | cpu=hpa_utilization memory=over_upper_bound", func(t *testing.T, s *scene) {
			near(t, "pods that the HPA would make of it", s.app().CPU.Evidence.Replicas, 11) // ⌈4 · 1/0.38⌉
			near(t, "CPU headroom", s.app().CPU.Headroom, 0)
		}},
		{12, "an HPA aims at an average value, not at a share of the request", func(s *scene) {
			s.checkout().Autoscaler = &Autoscaler{Name: "checkout", Min: 2, Max: 20}
		}, "shrink safe | " + over, nil},
		{12, "an HPA aims at another container", func(s *scene) {
			s.checkout().Autoscaler = &Autoscaler{Name: "checkout", Min: 2, Max: 20, Containers: map[string]Resources{"proxy": {CPU: is(0.7)}}}
		}, "shrink safe | " + over, nil},
		{13, "VPA's floor of 250 MiB, and no checkpoint to see through it", func(s *scene) {
			recommend(&s.app().Memory, 262144000)
			s.app().Checkpoint = nil
			s.checkout().StatusAt = noon
		}, "unknown | cpu=shrink_waiting:low_confidence memory=floor_limited", nil},
		{13, "a third of the floor, and a checkpoint that sees through it", func(s *scene) {
			recommend(&s.app().Memory, 87381333)
			s.app().Memory.Request, s.app().Memory.Limit = is(128*mib), is(128*mib)
			s.app().CPU.Request = is(0.4)
			s.app().Checkpoint.Memory = Histogram{{3, 10000}} // at most 55.3 MB
		}, "shrink safe | memory=floor_limited memory=over_provisioned", nil},
		{14, "the policy holds the recommendation down", func(s *scene) {
			s.app().CPU.Request = is(0.4)
			s.app().CPU.Target, s.app().CPU.Uncapped, s.app().CPU.Upper = is(0.3), is(0.379), is(0.3)
			s.app().CPU.MaxAllowed = is(0.3)
			s.app().Memory.Request = is(480 * mib)
		}, "keep | cpu=capped:max", nil},
		{15, "scaled to nothing: the recommendation is an old one", func(s *scene) { s.checkout().Condition = NoPods },
			"unknown | cpu=no_pods memory=no_pods", nil},
		{15, "a CronJob has no pods most of the day", func(s *scene) {
			s.checkout().Condition, s.checkout().Kind = NoPods, "CronJob"
		}, "shrink safe | " + over, nil},
		{16, "the recommender cannot watch it, and says why", func(s *scene) {
			s.checkout().Condition, s.checkout().Message = Unsupported, "Cannot read targetRef. Reason: not the topmost controller"
		}, "unknown | cpu=config_unsupported memory=config_unsupported", func(t *testing.T, s *scene) {
			if want := "nothing can be said: Cannot read targetRef. Reason: not the topmost controller."; s.checkout().Sentence != want {
				t.Errorf("%q", s.checkout().Sentence)
			}
		}},
		{17, "its checkpoint is two hours old, all others are fresh", func(s *scene) {
			s.app().Checkpoint.Updated = noon.Add(-2 * time.Hour)
			for i := range 4 {
				other := checkout()
				other.Name = fmt.Sprintf("other-%d", i)
				s.workloads = append(s.workloads, other)
			}
		}, "unknown | cpu=stale memory=stale", nil},
		{17, "all checkpoints are two hours old", func(s *scene) { s.app().Checkpoint.Updated = noon.Add(-2 * time.Hour) },
			"unknown | cpu=recommender_down memory=recommender_down", nil},
		{18, "the VPA was edited, its recommendation has not followed", func(s *scene) { s.checkout().Condition = Outdated },
			"unknown | cpu=spec_changed memory=spec_changed", nil},
		{19, "a container was renamed: the new one starts cold", func(s *scene) {
			s.app().Name, s.app().Checkpoint = "api", nil
			s.app().CPU, s.app().Memory = Resource{Request: is(1)}, Resource{Request: is(gib)}
		}, "unknown | cpu=no_recommendation memory=no_recommendation", nil},
		{20, "two VPAs watch it: the older one counts", func(s *scene) {
			second := checkout()
			second.VPA = "younger"
			recommend(&second.Containers[0].CPU, 3)
			s.checkout().Rivals = []string{"younger"}
			s.workloads = append(s.workloads, second)
		}, "shrink safe | vpa_conflict " + over, func(t *testing.T, s *scene) {
			if second := s.workloads[1]; second.Verdict != "" || second.Containers[0].CPU.Proposed.Defined {
				t.Errorf("the younger VPA is judged: %+v", second.Judgement)
			}
		}},
		{21, "one name in two namespaces and of two kinds: each by itself", func(s *scene) {
			for _, one := range []struct{ namespace, kind string }{{"test", "Deployment"}, {"shop", "StatefulSet"}} {
				w := checkout()
				w.Namespace, w.Kind = one.namespace, one.kind
				w.Containers[0].CPU.Request = is(0.1)
				s.workloads = append(s.workloads, w)
			}
		}, "shrink safe | " + over, func(t *testing.T, s *scene) {
			for _, w := range s.workloads[1:] {
				if got := told(&w); got != "raise safe u1 | cpu=under_lower_bound memory=over_upper_bound" {
					t.Errorf("%s %s: %s", w.Namespace, w.Kind, got)
				}
			}
		}},
		{22, "the policy turns the container off", func(s *scene) { s.app().Excluded = true },
			"unknown | cpu=excluded memory=excluded", nil},
		{23, "VPA controls memory alone", func(s *scene) { s.app().CPU.Uncontrolled, s.app().CPU.Target = true, none },
			"shrink safe | cpu=not_controlled memory=over_upper_bound", nil},
		{24, "23m one day, 36m the other: nothing has changed", func(s *scene) {
			s.app().CPU = Resource{Request: is(0.025)}
			recommend(&s.app().CPU, 0.036)
			s.app().Checkpoint.CPU = Histogram{{1, 8500}, {2, 1500}}
			s.past = func(ago time.Duration, r resourceName, target float64) float64 {
				if r == cpu && int(ago.Hours()/24)%2 == 0 {
					return 0.023
				}
				return target
			}
			s.app().Memory.Request = is(480 * mib)
		}, "keep |", func(t *testing.T, s *scene) {
			if since := noon.Sub(s.app().CPU.Evidence.Since); since < 14*day {
				t.Errorf("stands since %s, want two weeks: one step of the ladder is no change", since)
			}
		}},
		{25, "a quiet weekend: two weeks remember the week", func(s *scene) {
			recommend(&s.app().CPU, 0.2)
			s.past = func(ago time.Duration, r resourceName, target float64) float64 {
				if r == cpu && ago > 2*day && ago < 7*day || ago > 9*day {
					return target * 1.9
				}
				return target
			}
			s.app().Memory.Request = is(480 * mib)
		}, "keep | cpu=shrink_waiting:unstable", func(t *testing.T, s *scene) {
			near(t, "CPU proposed", s.app().CPU.Proposed, 0.38) // the Friday's, not the Sunday's
		}},
		{26, "deployed six hours ago: the recommendation is a blend", func(s *scene) { s.checkout().RolledOut = noon.Add(-6 * time.Hour) },
			"keep | cpu=shrink_waiting:rollout_recent memory=shrink_waiting:rollout_recent", func(t *testing.T, s *scene) {
				eligible(74*time.Hour)(t, s)
				near(t, "share of the new version", s.app().CPU.Evidence.Representative, 0.1591)
				if want := "app could give back 620m of CPU, but waits, because the recommendation is still a blend with the version before the last rollout; eligible in 3 d 2 h."; s.checkout().Sentence != want {
					t.Errorf("%q", s.checkout().Sentence)
				}
			}},
		{27, "a fixed heap is a floor", func(s *scene) {
			s.app().Heap = HeapOf([]string{"java", "-Xmx1g"}, nil)
		}, "shrink safe | cpu=over_upper_bound memory=over_upper_bound", func(t *testing.T, s *scene) {
			near(t, "memory proposed", s.app().Memory.Proposed, 1344*mib) // 1.25 · 1 GiB + 64 MiB
		}},
		{27, "a heap that is a share of the limit shrinks with it", func(s *scene) {
			s.app().Heap = HeapOf(nil, []string{"JAVA_TOOL_OPTIONS=-XX:MaxRAMPercentage=75"})
		}, "shrink safe | cpu=over_upper_bound memory=shrink_waiting:runtime_heap", nil},
		{28, "Guaranteed stays Guaranteed", func(s *scene) { s.app().CPU.Limit = s.app().CPU.Request },
			"shrink safe | " + over, func(t *testing.T, s *scene) {
				if s.app().CPU.ProposedLimit != s.app().CPU.Proposed || s.checkout().ProposedQoS != Guaranteed {
					t.Errorf("limit %v, class %s", s.app().CPU.ProposedLimit, s.checkout().ProposedQoS)
				}
			}},
		{29, "boosted pods have more for a while: that is no waste and no drift", func(s *scene) {
			s.app().Boosted, s.app().CPU.Running = true, is(3)
		}, "shrink safe | cpu=startup_boost " + over, nil},
		{30, "a resize that the node has no room for: what the pod has is too little", func(s *scene) {
			s.app().CPU.Request, s.app().CPU.Running, s.app().Resize = is(0.4), is(0.1), "Infeasible"
			s.app().Memory.Request = is(480 * mib)
		}, "raise u1 | cpu=drift cpu=resize_infeasible cpu=under_lower_bound memory=resize_infeasible", nil},
		{30, "a resize that waits changes nothing yet", func(s *scene) {
			s.app().CPU.Request, s.app().CPU.Running, s.app().Resize = is(0.4), is(0.39), "Deferred"
			s.app().Memory.Request = is(480 * mib)
		}, "keep | cpu=drift cpu=resize_deferred memory=resize_deferred", nil},
		{31, "a native sidecar is no business of VPA's, and makes the pod Burstable", func(s *scene) {
			s.app().CPU.Limit = s.app().CPU.Request
			s.checkout().Containers = append(s.checkout().Containers, Container{Name: "mesh", Place: Sidecar, CPU: Resource{Request: is(0.1)}})
		}, "shrink safe | " + over + " cpu=unmanaged memory=unmanaged", func(t *testing.T, s *scene) {
			if s.checkout().QoS != Burstable {
				t.Errorf("class %s", s.checkout().QoS)
			}
		}},
		{32, "one pod of a DaemonSet needs twice as much as the others", func(s *scene) {
			s.checkout().Kind, s.checkout().Skew = "DaemonSet", is(2.3)
		}, "keep | cpu=shrink_waiting:skewed_pods memory=shrink_waiting:skewed_pods", eligible(0)},
		{33, "a CronJob costs while it runs: two hours a day", func(s *scene) {
			s.checkout().Kind, s.checkout().Pods, s.checkout().Replicas = "CronJob", is(2.0/24), 0
		}, "shrink blocked | " + over + " blocked:exposure", func(t *testing.T, s *scene) {
			near(t, "an hour's savings", s.checkout().Savings, 2.0/24*(0.62*0.05+(2048-464)/1024.0*0.005))
		}},
		{33, "a CronJob that has not run twice: nobody knows what it costs", func(s *scene) {
			s.checkout().Kind, s.checkout().Replicas = "CronJob", 0
		}, "shrink blocked | " + over + " blocked:exposure", func(t *testing.T, s *scene) {
			if w := s.checkout(); w.Savings.Defined || w.Cost.Defined || w.Trade.Defined || w.Currency != "" {
				t.Errorf("savings %v, cost %v, trade %v %s", w.Savings, w.Cost, w.Trade, w.Currency)
			}
			if want := "each of its pods could give back "; !strings.HasPrefix(s.checkout().Sentence, want) {
				t.Errorf("%q", s.checkout().Sentence)
			}
		}},
		{34, "the VPA names a workload of a kind that is not read", func(s *scene) {
			s.checkout().Condition, s.checkout().Containers = Missing, nil
		}, "unknown | workload_missing", nil},
		{37, "the patch adds what is missing and tests what is there", func(s *scene) {
			s.app().CPU.Request, s.app().Raw = none, `{"limits":{"memory":"2Gi"},"requests":{"memory":"2Gi"}}`
		}, "raise safe | cpu=request_unset memory=over_upper_bound", nil}, // the patch itself: TestPatch
		{38, "a request where there was none changes the class", func(s *scene) {
			s.app().CPU.Request, s.app().Memory.Request, s.app().Memory.Limit = none, none, none
		}, "raise | cpu=request_unset memory=request_unset qos_change", func(t *testing.T, s *scene) {
			if w := s.checkout(); w.QoS != BestEffort || w.ProposedQoS != Burstable {
				t.Errorf("from %s to %s", w.QoS, w.ProposedQoS)
			}
		}},
		{39, "without prices there is no money", func(s *scene) { s.prices = Prices{} },
			"shrink safe | " + over, func(t *testing.T, s *scene) {
				if w := s.checkout(); w.Savings.Defined || w.Cost.Defined || w.Trade.Defined || w.Currency != "" {
					t.Errorf("savings %v, cost %v, trade %v %s", w.Savings, w.Cost, w.Trade, w.Currency)
				}
			}},
		{40, "an upper bound of 10¹⁴: VPA is a day old and sure of nothing", func(s *scene) {
			s.app().CPU.Upper, s.app().Memory.Upper = is(100e9), is(1e14)
			s.app().Checkpoint = nil
			s.checkout().StatusAt = noon
		}, "keep | cpu=shrink_waiting:low_confidence memory=shrink_waiting:low_confidence", nil},
		{40, "its checkpoint says how sure: three days", func(s *scene) {
			s.app().Checkpoint.First, s.app().Checkpoint.Samples = noon.Add(-3*day), 3*1440
		}, "keep | cpu=shrink_waiting:low_confidence memory=shrink_waiting:low_confidence", eligible(4 * day)},
	} {
		t.Run(fmt.Sprintf("%d %s", tt.number, tt.about), func(t *testing.T) {
			s := newScene()
			if tt.scene != nil {
				tt.scene(s)
			}
			w := s.judge()
			if got := told(w); strings.TrimSpace(got) != strings.TrimSpace(tt.want) {
				t.Errorf("%s\ngot  %s\nwant %s", w.Sentence, got, tt.want)
			}
			if w.Sentence == "" || !strings.HasSuffix(w.Sentence, ".") {
				t.Errorf("sentence %q", w.Sentence)
			}
			if tt.more != nil {
				tt.more(t, s)
			}
		})
	}
}

// eligible is a shrink that may go in so long; 0: nobody knows when.
func eligible(in time.Duration) func(*testing.T, *scene) {
	return func(t *testing.T, s *scene) {
		t.Helper()
		at := s.checkout().EligibleAt
		if in == 0 && !at.IsZero() || in > 0 && at.Sub(noon).Round(time.Minute) != in {
			t.Errorf("eligible at %s, in %s; want in %s", at, at.Sub(noon), in)
		}
	}
}

func near(t *testing.T, what string, got slo.Value, want float64) {
	t.Helper()
	if diff := got.Float - want; !got.Defined || diff > 1e-4*max(1, want) || diff < -1e-4*max(1, want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}
