package config_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/slo"
)

// The nearest policy counts: an SLO's own, also an empty one, before that of the file.
func TestBudgetPolicy(t *testing.T) {
	c := load(t, "testdata/good/policy.yaml")
	f := func(objective int, want string) {
		t.Helper()
		p := c.Objectives[objective].BudgetPolicy
		var steps []string
		for _, s := range p.Steps {
			steps = append(steps, fmt.Sprintf("%s%% %s %v", s.Below.Percent(), s.Action, s.Closed))
		}
		if got := strings.Join(steps, "; "); got != want || p.Steps == nil || p.MinEvents != 50 {
			t.Errorf("%s: got %s, want %s; min %v", c.Objectives[objective].Name, got, want, p.MinEvents)
		}
	}
	f(0, `100% say so false; 50% review risky changes false; 12.5% no risky changes true; 0% feature freeze, "余裕" true`)
	f(1, "0% stop true")
	f(2, "")
}

func TestCorrections(t *testing.T) {
	c := load(t, "testdata/good/policy.yaml")
	var got []string
	for _, o := range c.Objectives {
		for _, one := range o.Corrections {
			got = append(got, fmt.Sprintf("%s: %s %s %s", o.Name, one.Name, one.Effect, one.When))
		}
	}
	const (
		move    = "db-move drop once (2026-11-02T16:00:00Z, 2026-11-02T17:00:00.5Z]"
		nightly = "nightly drop FREQ=DAILY;BYHOUR=3 for 30m in Asia/Tokyo"
	)
	want := []string{
		"checkout: " + move, "checkout: " + nightly,
		"search: " + move, "search: patch-day good FREQ=MONTHLY;BYDAY=2TU;BYHOUR=22 for 2h in UTC",
		"ads: " + nightly, "ads: every-other-week drop FREQ=WEEKLY;INTERVAL=2;COUNT=10 for 1h in America/New_York from 2026-01-05T22:30:00Z",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// When corrections that recur apply, across days without an hour, days with one more, and the ends
// of months. The times of the clocks are those that people in the zones lived by.
func TestRecurrence(t *testing.T) {
	f := func(what, fields, from, to string, want ...string) {
		t.Helper()
		c, err := config.Parse("config.yaml", []byte(`sources: [{name: prom, type: prometheus, url: "http://prometheus:9090"}]
slos: [{name: x, service: x, objective: 99, period: 30d, indicator: {gauge: {selector: up, good: "> 0"}}}]
corrections: [{name: it, slos: [x], effect: drop, `+fields+"}]\n"))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		at := func(text string) time.Time {
			m, err := time.Parse(time.RFC3339, text)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		var got []string
		for _, s := range c.Objectives[0].Corrections[0].When.Within(slo.Span{From: at(from), To: at(to)}) {
			got = append(got, s.From.UTC().Format("2006-01-02T15:04")+"+"+slo.FormatDuration(s.Duration()))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	const nightly = `rrule: "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", duration: 30m, timezone: `
	f("the clock in Berlin goes from 2:00 to 3:00: what begins at 2:30 does so half an hour after 2:00", nightly+"Europe/Berlin",
		"2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z", "2026-03-28T01:30+30m", "2026-03-29T01:30+30m", "2026-03-30T00:30+30m")
	f("and back from 3:00 to 2:00: it begins the first time that the clock shows 2:30", nightly+"Europe/Berlin",
		"2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z", "2026-10-24T00:30+30m", "2026-10-25T00:30+30m", "2026-10-26T01:30+30m")
	f("the same west of Greenwich, forwards", nightly+"America/New_York",
		"2026-03-07T00:00:00Z", "2026-03-10T00:00:00Z", "2026-03-07T07:30+30m", "2026-03-08T07:30+30m", "2026-03-09T06:30+30m")
	f("and backwards, where the clock shows 1:30 twice", `rrule: "FREQ=DAILY;BYHOUR=1;BYMINUTE=30", duration: 30m, timezone: America/New_York`,
		"2026-10-31T00:00:00Z", "2026-11-03T00:00:00Z", "2026-10-31T05:30+30m", "2026-11-01T05:30+30m", "2026-11-02T06:30+30m")
	f("a clock that was put forward at midnight", `rrule: "FREQ=DAILY", duration: 1h, timezone: America/Sao_Paulo`,
		"2018-11-03T12:00:00Z", "2018-11-05T12:00:00Z", "2018-11-04T03:00+1h", "2018-11-05T02:00+1h")
	f("an hour is an hour, also where the clock is put forward in the middle of it", `rrule: "FREQ=DAILY;BYHOUR=1;BYMINUTE=30", duration: 1h, timezone: Europe/Berlin`,
		"2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z", "2026-03-29T00:30+1h")
	f("half an hour of summer time", `rrule: "FREQ=DAILY;BYHOUR=2;BYMINUTE=15", duration: 30m, timezone: Australia/Lord_Howe`,
		"2026-10-03T00:00:00Z", "2026-10-05T00:00:00Z", "2026-10-03T15:45+30m", "2026-10-04T15:15+30m")

	f("no 31st in February and April", `rrule: "FREQ=MONTHLY;BYMONTHDAY=31", duration: 1d`,
		"2026-01-30T00:00:00Z", "2026-06-15T00:00:00Z", "2026-01-31T00:00+1d", "2026-03-31T00:00+1d", "2026-05-31T00:00+1d")
	f("the last day of every month", `rrule: "FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=23", duration: 2h, timezone: Asia/Tokyo`,
		"2028-01-30T00:00:00Z", "2028-04-15T00:00:00Z", "2028-01-31T14:00+2h", "2028-02-29T14:00+2h", "2028-03-31T14:00+2h")
	f("a leap day", `rrule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", duration: 1h`,
		"2026-01-01T00:00:00Z", "2033-01-01T00:00:00Z", "2028-02-29T00:00+1h", "2032-02-29T00:00+1h")
	f("the second Tuesday", `rrule: "FREQ=MONTHLY;BYDAY=2TU;BYHOUR=22", duration: 2h`,
		"2026-09-01T00:00:00Z", "2026-11-15T00:00:00Z", "2026-09-08T22:00+2h", "2026-10-13T22:00+2h", "2026-11-10T22:00+2h")
	f("the last weekday of a month", `rrule: "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", duration: 1h`,
		"2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-01-30T00:00+1h", "2026-02-27T00:00+1h", "2026-03-31T00:00+1h")
	f("nights that are over the next day", `rrule: "FREQ=WEEKLY;BYDAY=SA;BYHOUR=22", duration: 30h`,
		"2026-11-22T12:00:00Z", "2026-11-28T22:00:00Z", "2026-11-21T22:00+1d6h")
	f("what touches is one", `rrule: "FREQ=DAILY;BYHOUR=0,8,16", duration: 8h`,
		"2026-11-22T12:00:00Z", "2026-11-23T12:00:00Z", "2026-11-22T08:00+1d8h")
	f("on every other Monday from the first on", `rrule: "FREQ=WEEKLY;INTERVAL=2;COUNT=3", from: 2026-01-05T22:30:00Z, duration: 1h`,
		"2026-01-01T00:00:00Z", "2026-12-01T00:00:00Z", "2026-01-05T22:30+1h", "2026-01-19T22:30+1h", "2026-02-02T22:30+1h")
	f("years after the first, at its time of day in the zone", `rrule: "FREQ=WEEKLY", from: 2020-07-06T20:00:00Z, duration: 1h, timezone: Europe/Berlin`,
		"2026-10-20T00:00:00Z", "2026-11-03T00:00:00Z", "2026-10-26T21:00+1h", "2026-11-02T21:00+1h")
	f("nothing before the first", `rrule: "FREQ=DAILY;BYHOUR=3", from: 2026-11-22T04:00:00Z, duration: 1h`,
		"2026-11-20T00:00:00Z", "2026-11-24T00:00:00Z", "2026-11-23T03:00+1h")
	f("until a moment on the wall, which still counts", `rrule: "FREQ=DAILY;BYHOUR=3;UNTIL=20261123T030000", duration: 1h, timezone: Asia/Tokyo`,
		"2026-11-21T12:00:00Z", "2026-11-30T00:00:00Z", "2026-11-21T18:00+1h", "2026-11-22T18:00+1h")
	f("until a moment in UTC", `rrule: "FREQ=DAILY;BYHOUR=3;UNTIL=20261122T175959Z", duration: 1h, timezone: Asia/Tokyo`,
		"2026-11-21T12:00:00Z", "2026-11-30T00:00:00Z", "2026-11-21T18:00+1h")
	f("a window that ends where it begins holds nothing of it", `from: 2026-11-22T03:00:00Z, to: 2026-11-22T04:00:00Z`,
		"2026-11-22T02:00:00Z", "2026-11-22T03:00:00Z")
	f("nor one that begins where it ends", `from: 2026-11-22T03:00:00Z, to: 2026-11-22T04:00:00Z`,
		"2026-11-22T04:00:00Z", "2026-11-22T05:00:00Z")
	f("once, told with an offset", `from: 2026-11-22T12:00:00+09:00, to: 2026-11-22T04:00:00Z`,
		"2026-11-22T03:30:00Z", "2026-11-22T05:00:00Z", "2026-11-22T03:00+1h")
}
