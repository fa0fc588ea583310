package sinktest

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// Time is the tick of every sample report.
var Time = time.Date(2026, time.January, 2, 0, 0, 0, 0, time.UTC)

// Report is a typical one: a service that burns, one with a budget per route over a calendar
// month, and the workload they run on. Every call makes a new one with the same content.
func Report() *sinks.Report {
	availability := Objective("checkout-availability", "checkout", "99.9", slo.RollingPeriod(30*slo.Day))
	availability.Labels = map[string]string{"team": "payments", "tier": "1"}
	availability.RunbookURL = "https://runbooks/checkout"
	availability.BudgetPolicy.Steps = []slo.BudgetStep{
		{Below: Share("80"), Action: "review risky changes"}, {Below: Share("0"), Action: "feature freeze", Closed: true},
	}

	availability.Corrections = []slo.Correction{
		{Name: "db-move", Effect: slo.Drop, When: slo.Once{From: Time.Add(-48 * time.Hour), To: Time.Add(-47 * time.Hour)}},
		{Name: "nightly", Effect: slo.Good, When: slo.Once{From: Time.Add(-10 * time.Minute), To: Time.Add(20 * time.Minute)}},
	}

	latency := Objective("search-latency", "search", "99", slo.CalendarPeriod(slo.Month, nil))
	latency.GroupBy = []string{"route"}
	latency.Labels = map[string]string{"team": "discovery"}

	burning := Status(availability, nil, map[string]Counts{
		"5m": {2500, 50, 1}, "30m": {15000, 285, 1}, "1h": {30000, 540, 1}, "2h": {60000, 570, 1},
		"6h": {180000, 630, 1}, "1d": {720000, 900, 1}, "3d": {2160000, 1080, 1}, "30d": {21600000, 5400, 0.9995},
	})
	burning.Corrections = []slo.CorrectionStatus{{Applied: time.Hour, Approximate: 4 * time.Minute}, {Active: true, Applied: 10 * time.Minute}}
	burning.TakenTotal, burning.TakenBad = 30000, 1200
	quiet := Status(latency, []string{"/items"}, map[string]Counts{
		"5m": {0, 0, 1}, "30m": {0, 0, 1}, "1h": {100, 0, 1}, "2h": {200, 1, 1},
		"6h": {600, 3, 1}, "1d": {2400, 6, 1}, "3d": {2400, 6, 1.0 / 3}, "month": {2400, 6, 1},
	})
	other := Status(latency, []string{slo.OtherGroup}, map[string]Counts{
		"5m": {10, 0, 1}, "30m": {60, 0, 1}, "1h": {120, 0, 1}, "2h": {240, 0, 1},
		"6h": {720, 0, 1}, "1d": {2880, 0, 1}, "3d": {2880, 0, 1.0 / 3}, "month": {2880, 0, 1},
	})
	return &sinks.Report{
		Time:      Time,
		SLOs:      []slo.Status{burning, quiet, other},
		Workloads: []rightsizing.Workload{Workload()},
	}
}

// Empty knows nothing but the time: the first tick of a configuration without SLOs.
func Empty() *sinks.Report { return &sinks.Report{Time: Time} }

// Unknown has an SLO whose source never answered and a workload that nothing is recommended for.
func Unknown() *sinks.Report {
	o := Objective("carts", "cart", "99.5", slo.RollingPeriod(7*slo.Day))
	st := Status(o, nil, nil)
	st.Newest = time.Time{}
	st.Note = "histogram has no bucket 0.25: the bounds around it are 0.1 and 0.5"
	return &sinks.Report{
		Time:      Time,
		SLOs:      []slo.Status{st},
		Workloads: []rightsizing.Workload{{Namespace: "shop", Kind: "Deployment", Name: "cart", Containers: []rightsizing.Container{{Name: "cart"}}}},
	}
}

// Odd holds what nobody should write and somebody will: quotes, newlines, emoji and broken UTF-8
// in names and groups, empty and very long group values, a budget overspent a thousand times.
func Odd() *sinks.Report {
	o := Objective(`kasse "süd" \ 余裕`, "a,b|c{d}=\"e\"\n<f> 🛒", "99.999", slo.RollingPeriod(28*slo.Day))
	o.GroupBy = []string{"route", "zone"}
	o.Labels = map[string]string{"team": "余裕", "empty": "", "note": "line\nbreak"}
	all := map[string]Counts{
		"5m": {1, 1, 1}, "30m": {1, 1, 0.5}, "1h": {1, 1, 0.25}, "2h": {1, 1, 0.125}, "6h": {1e15, 1e13, 1},
		"1d": {1e15, 1e13, 1}, "3d": {1e15, 1e13, 1}, "28d": {1e15, 1e13, 1e-9},
	}
	var statuses []slo.Status
	for _, group := range [][]string{
		{"", ""}, {"", "a"}, {"a", ""}, {"/カート", "東京"}, {"/item/\xff\xfe", "x"}, {strings.Repeat("ö", 300), "y"}, {"trailing:", "::"},
	} {
		statuses = append(statuses, Status(o, group, all))
	}
	return &sinks.Report{Time: Time, SLOs: statuses, Workloads: []rightsizing.Workload{
		{Namespace: "shop", Kind: "StatefulSet", Name: "db", VPA: "db", Replicas: 0, Services: []string{"", "db", "db"}},
	}}
}

// Large has n SLOs without groups, one in ten of them burning.
func Large(n int) *sinks.Report {
	r := &sinks.Report{Time: Time, SLOs: make([]slo.Status, 0, n)}
	for i := range n {
		o := Objective(fmt.Sprintf("slo-%05d", i), fmt.Sprintf("service-%04d", i/4), "99.9", slo.RollingPeriod(30*slo.Day))
		o.Labels = map[string]string{"team": fmt.Sprintf("team-%d", i%20), "tier": "1"}
		o.RunbookURL = "https://runbooks/" + o.Service
		bad := 1.0
		if i%10 == 0 {
			bad = 20
		}
		counts := map[string]Counts{}
		for _, w := range slo.Windows {
			hours := w.Hours()
			counts[slo.FormatDuration(w)] = Counts{12000 * hours, 12 * bad * hours, 1}
		}
		counts["30d"] = Counts{12000 * 720, 12 * bad * 720, 1}
		r.SLOs = append(r.SLOs, Status(o, nil, counts))
	}
	return r
}

// Objective is one with the workbook policy and exact counting.
func Objective(name, service, percent string, period slo.Period) *slo.Objective {
	return &slo.Objective{
		Name: name, Service: service, Target: Share(percent), Period: period, Counting: "exact",
		Policy: slo.Workbook(period),
	}
}

// Share is a share in percent.
func Share(percent string) slo.Share {
	share, err := slo.ParsePercent(percent)
	if err != nil {
		panic(fmt.Sprintf("sinktest: %v", err))
	}
	return share
}

// Counts is what a window of a sample holds.
type Counts struct {
	Total, Bad, Coverage float64
}

// Status works out a status from counts by window key, in plain floating point: close enough to
// what an engine says for sinks to be tried with. A window without counts is not covered.
func Status(o *slo.Objective, group []string, counts map[string]Counts) slo.Status {
	st := slo.Status{Objective: o, Labels: group, At: Time, Newest: Time.Add(-10 * time.Second)}
	burn := map[time.Duration]slo.Value{}
	window := func(key string, length time.Duration, period bool) slo.Window {
		c := counts[key]
		w := slo.Window{Key: key, Length: length, IsPeriod: period, Total: c.Total, Bad: c.Bad, Coverage: c.Coverage}
		if c.Total > 0 {
			w.ErrorRatio = slo.Defined(c.Bad / c.Total)
			w.BurnRate = slo.Defined(c.Bad / c.Total / o.Target.Rest().Float())
		} else if c.Coverage > 0 {
			w.BurnRate = slo.Defined(0)
		}
		return w
	}
	for _, length := range slo.Windows {
		w := window(slo.FormatDuration(length), length, false)
		burn[length] = w.BurnRate
		st.Windows = append(st.Windows, w)
	}
	period := window(o.Period.Key(), o.Period.Length, true)
	st.Windows = append(st.Windows, period)

	st.EventsTotal, st.BadEventsTotal = period.Total, period.Bad
	st.Budget = slo.Budget{Allowed: period.Total * o.Target.Rest().Float(), Spent: period.Bad, RemainingRatio: 1}
	if st.Budget.Allowed > 0 {
		st.Budget.RemainingRatio = 1 - st.Budget.Spent/st.Budget.Allowed
	}
	for _, severity := range o.Policy.Severities {
		alert := slo.Alert{Severity: severity.Name}
		for _, pair := range severity.Pairs {
			state := slo.PairStatus{Pair: pair}
			if long, short := burn[pair.Long], burn[pair.Short]; long.Defined && short.Defined {
				ratio := math.Min(long.Float, short.Float) / pair.Factor.Float()
				state.Ratio, state.Firing = slo.Defined(ratio), ratio > 1
				if !alert.BurnRatio.Defined || ratio > alert.BurnRatio.Float {
					alert.BurnRatio = state.Ratio
				}
				if long.Float > 1 && (!st.Budget.Exhaustion.Defined || st.Budget.RemainingRatio > 0) {
					st.Budget.Exhaustion = slo.Defined(math.Max(0, st.Budget.RemainingRatio) * o.Period.Length.Seconds() / long.Float)
				}
			}
			alert.Firing = alert.Firing || state.Firing
			alert.Pairs = append(alert.Pairs, state)
		}
		st.Alerts = append(st.Alerts, alert)
	}
	return st
}

// Workload is the Deployment behind the service checkout: CPU to spare, too little memory.
func Workload() rightsizing.Workload {
	return rightsizing.Workload{
		Namespace: "shop", Kind: "Deployment", Name: "checkout", VPA: "checkout-vpa", UpdateMode: "Off",
		Replicas: 3, Services: []string{"checkout"},
		Containers: []rightsizing.Container{{
			Name: "app",
			CPU: rightsizing.Resource{
				Request: slo.Defined(0.5), Limit: slo.Defined(1),
				Target: slo.Defined(0.2), Lower: slo.Defined(0.1), Upper: slo.Defined(0.8), Uncapped: slo.Defined(0.2),
				Proposed: slo.Defined(0.2), ProposedLimit: slo.Defined(1), Step: slo.Defined(0.35), Headroom: slo.Defined(0.3),
				Verdict: rightsizing.Shrink, Reasons: []string{rightsizing.OverProvisioned},
			},
			Memory: rightsizing.Resource{
				Request: slo.Defined(1 << 28), Limit: slo.Defined(1 << 29),
				Target: slo.Defined(3 << 27), Lower: slo.Defined(1 << 27), Upper: slo.Defined(1 << 30),
				Proposed: slo.Defined(3 << 27), ProposedLimit: slo.Defined(1 << 29), Step: slo.Defined(3 << 27), Headroom: slo.Defined(-(1 << 27)),
				Verdict: rightsizing.Raise, Reasons: []string{rightsizing.OOMKilled},
			},
			Checkpoint: &rightsizing.Checkpoint{Updated: Time.Add(-30 * time.Second), First: Time.Add(-10 * slo.Day), Last: Time, Samples: 14400},
			OOMKilled:  Time.Add(-time.Hour),
			Raw:        `{"limits":{"cpu":"1","memory":"512Mi"},"requests":{"cpu":"500m","memory":"256Mi"}}`,
		}},
		Judgement: rightsizing.Judgement{
			Verdict: rightsizing.Raise, Gate: rightsizing.Blocked, Urgency: 3,
			Reasons: []rightsizing.Reason{
				{Container: "app", Resource: "cpu", Code: rightsizing.OverProvisioned},
				{Container: "app", Resource: "memory", Code: rightsizing.OOMKilled},
			},
			Sentence: "app needs 384 MiB of memory instead of 256 MiB, because it was killed for lack of memory within a day.",
			Currency: "USD", Savings: slo.Defined(0.0455), Cost: slo.Defined(0.0020625), Exposure: slo.Defined(0.115740740),
			QoS: rightsizing.Burstable, ProposedQoS: rightsizing.Burstable,
			Change:  &rightsizing.Change{At: Time.Add(-6 * time.Hour), Direction: rightsizing.Raised, Outcome: rightsizing.Pending},
			Tallies: []rightsizing.Tally{{Direction: rightsizing.Shrunk, Outcome: rightsizing.Held, Count: 14}, {Direction: rightsizing.Shrunk, Outcome: rightsizing.Regressed, Count: 1}},
		},
	}
}
