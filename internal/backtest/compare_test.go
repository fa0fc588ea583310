package backtest

import (
	"reflect"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// Two pairs of one severity call once while one of them fires.
func TestIncidents(t *testing.T) {
	at := func(minute int) time.Time { return midnight.Add(time.Duration(minute) * time.Minute) }
	alert := func(began, start, end int, spent float64) Alert {
		a := Alert{Start: at(start), Spent: slo.Defined(spent)}
		if began >= 0 {
			a.Began = at(began)
		}
		if end >= 0 {
			a.End = at(end)
		}
		return a
	}
	none := slo.Value{}
	f := func(name string, alerts []Alert, count int, firing int, earliest, median, longest, spent slo.Value) {
		t.Helper()
		want := SeveritySummary{
			Severity: "page", Count: count, Firing: time.Duration(firing) * time.Minute,
			Earliest: earliest, Median: median, Longest: longest, SpentAtFirst: spent,
		}
		if got := summarise("page", alerts, at(100)); got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
	minutes := func(n float64) slo.Value { return slo.Defined(60 * n) }
	f("nothing fired", nil, 0, 0, none, none, none, none)
	f("one", []Alert{alert(1, 3, 10, 0.2)}, 1, 7, minutes(2), minutes(2), minutes(2), slo.Defined(0.2))
	f("a second pair within the first", []Alert{alert(1, 3, 10, 0.2), alert(1, 5, 8, 0.4)}, 1, 7, minutes(2), minutes(2), minutes(2), slo.Defined(0.2))
	f("a second pair that lasts longer", []Alert{alert(1, 3, 10, 0.2), alert(1, 5, 20, 0.4)}, 1, 17, minutes(2), minutes(2), minutes(2), slo.Defined(0.2))
	f("a second pair that takes over without a tick between", []Alert{alert(1, 3, 10, 0.2), alert(1, 10, 20, 0.4)}, 1, 17, minutes(2), minutes(2), minutes(2), slo.Defined(0.2))
	f("a tick between is a second call", []Alert{alert(1, 3, 10, 0.2), alert(10, 11, 20, 0.4)}, 2, 16, minutes(1), minutes(1.5), minutes(2), slo.Defined(0.2))
	f("three have a middle", []Alert{alert(0, 1, 2, 0.1), alert(10, 19, 20, 0.2), alert(30, 33, 34, 0.3)}, 3, 3, minutes(1), minutes(3), minutes(9), slo.Defined(0.1))
	f("one still fires", []Alert{alert(1, 3, 10, 0.2), alert(90, 95, -1, 0.9)}, 2, 12, minutes(2), minutes(3.5), minutes(5), slo.Defined(0.2))
	f("two still fire", []Alert{alert(90, 95, -1, 0.9), alert(90, 100, -1, 0.9)}, 1, 5, minutes(5), minutes(5), minutes(5), slo.Defined(0.9))
	f("nobody knows when it began", []Alert{alert(-1, 3, 10, 0.2)}, 1, 7, none, none, none, slo.Defined(0.2))
	f("a beginning at once is a detection of none", []Alert{alert(3, 3, 10, 0.2)}, 1, 7, minutes(0), minutes(0), minutes(0), slo.Defined(0.2))
}

func TestCompare(t *testing.T) {
	own, other := promise(t, "it", "99.9", 30*slo.Day), promise(t, "it objective=99", "99", 30*slo.Day)
	own.GroupBy, other.GroupBy = []string{"route"}, []string{"route"}
	status := func(o *slo.Objective, route string, remaining float64) slo.Status {
		return slo.Status{Objective: o, Labels: []string{route}, Budget: slo.Budget{RemainingRatio: remaining}}
	}
	bare := promise(t, "nobody", "99", 30*slo.Day)
	bare.GroupBy = []string{"route"}
	pay := map[string]string{"route": "/pay"}
	gone := map[string]string{"route": "/gone"}
	page := Alert{SLO: "it", Severity: "page", Labels: pay, Began: midnight, Start: midnight.Add(time.Minute), End: midnight.Add(time.Hour), Spent: slo.Defined(0.1)}
	ticket := page
	ticket.Severity = "ticket"
	lost := page
	lost.Labels = gone
	got := Compare(&Result{
		Alerts: []Alert{page, ticket, lost},
		Last: &sinks.Report{Time: midnight.Add(slo.Day), SLOs: []slo.Status{
			status(&own, "/buy", 1), status(&own, "/pay", -0.5), {Objective: &bare, NoGroup: true}, status(&other, "/pay", 0.75),
		}},
	})
	quiet := func(severity string) SeveritySummary { return SeveritySummary{Severity: severity} }
	loud := func(severity string) SeveritySummary {
		return SeveritySummary{
			Severity: severity, Count: 1, Firing: 59 * time.Minute, SpentAtFirst: slo.Defined(0.1),
			Earliest: slo.Defined(60), Median: slo.Defined(60), Longest: slo.Defined(60),
		}
	}
	want := []Summary{
		{"it", map[string]string{"route": "/buy"}, &own, []SeveritySummary{quiet("page"), quiet("ticket")}, slo.Defined(1)},
		{"it", pay, &own, []SeveritySummary{loud("page"), loud("ticket")}, slo.Defined(-0.5)},
		{"it objective=99", pay, &other, []SeveritySummary{quiet("page"), quiet("ticket")}, slo.Defined(0.75)},
		{"it", gone, &own, []SeveritySummary{loud("page"), quiet("ticket")}, slo.Value{}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
