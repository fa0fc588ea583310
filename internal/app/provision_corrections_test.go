package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/provision"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

const nativeSLO = `sources:
  - {name: counts, type: datadog, api_key_file: api, app_key_file: app}
slos:
  - name: checkout
    service: checkout
    objective: 99.9
    period: 30d
    indicator: {datadog: {total: "sum:http.hits{*}", bad: "sum:http.errors{*}"}}
corrections:
  - {name: c, slos: [checkout], effect: drop, %s}
`

// What a configuration says of corrections, in Datadog's words, which count in UTC from the first
// occurrence on; worked out by hand.
func TestCorrectionsInDatadogsWords(t *testing.T) {
	f := func(when, want string) {
		t.Helper()
		c, err := config.Parse("config.yaml", fmt.Appendf(nil, nativeSLO, when))
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		in := c.Questions[0].Indicator
		out, left := provision.Corrections([]provision.Native{{Objective: &c.Objectives[0], CountedBy: string(in.Kind), Total: in.Total, Bad: in.Bad}})
		got := strings.TrimPrefix(strings.Join(left, ""), "correction c of slo checkout: it is not in Datadog: ")
		if len(out) == 1 {
			b := out[0].Body
			seconds, _ := b["start"].(int64)
			start := time.Unix(seconds, 0).UTC().Format(time.RFC3339)
			if b["rrule"] == nil {
				end, _ := b["end"].(int64)
				got = fmt.Sprintf("%s to %s", start, time.Unix(end, 0).UTC().Format(time.RFC3339))
			} else {
				got = fmt.Sprintf("%s %v %vs", start, b["rrule"], b["duration"])
			}
		}
		if got != want {
			t.Errorf("%s:\n  %s\nwant\n  %s", when, got, want)
		}
	}
	const knows = "a rule of Datadog knows FREQ, INTERVAL, COUNT, UNTIL and BYDAY, and counts in UTC: it "
	f(`from: 2026-11-03T01:00:00+09:00, to: 2026-11-03T02:00:00+09:00`, "2026-11-02T16:00:00Z to 2026-11-02T17:00:00Z")
	f(`rrule: "FREQ=DAILY;BYHOUR=3", duration: 30m`, "2025-01-01T03:00:00Z FREQ=DAILY 1800s")
	f(`rrule: "RRULE:FREQ=DAILY;BYHOUR=3;BYMINUTE=15", duration: 30m, timezone: Asia/Tokyo`, "2025-01-01T18:15:00Z FREQ=DAILY 1800s")
	f(`rrule: "FREQ=WEEKLY;BYDAY=MO,TH;BYHOUR=3", duration: 1h, timezone: Asia/Tokyo`, "2025-01-01T18:00:00Z FREQ=WEEKLY;BYDAY=SU,WE 3600s")                             // Thursday the 2nd, there
	f(`rrule: "FREQ=WEEKLY;BYDAY=SU;BYHOUR=22", duration: 1h, timezone: "America/Bogota"`, "2025-01-06T03:00:00Z FREQ=WEEKLY;BYDAY=MO 3600s")                            // UTC−5 all year
	f(`rrule: "FREQ=DAILY;INTERVAL=10;COUNT=5", duration: 1h, from: 2026-05-12T09:50:14Z`, "2026-05-12T09:50:14Z FREQ=DAILY;INTERVAL=10;COUNT=5 3600s")                  // as one that was recorded
	f(`rrule: "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR;BYHOUR=3", duration: 1h, from: 2026-11-25T00:00:00Z`, "2026-11-27T03:00:00Z FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR 3600s") // then Monday, December 7th
	f(`rrule: "FREQ=DAILY;BYHOUR=3;UNTIL=20261231T235959", duration: 1h, timezone: Asia/Tokyo`, "2025-01-01T18:00:00Z FREQ=DAILY;UNTIL=20261231T145959Z 3600s")
	f(`rrule: "FREQ=MONTHLY;BYDAY=1MO;BYHOUR=3", duration: 1h`, "2025-01-06T03:00:00Z FREQ=MONTHLY;BYDAY=1MO 3600s")
	f(`rrule: "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=3", duration: 1h`, "2025-01-31T03:00:00Z FREQ=MONTHLY;BYDAY=-1FR 3600s")
	f(`rrule: "FREQ=MONTHLY;BYMONTHDAY=15;BYHOUR=3", duration: 1h`, "2025-01-15T03:00:00Z FREQ=MONTHLY 3600s")
	f(`rrule: "FREQ=DAILY;BYDAY=SA,SU;BYHOUR=0", duration: 12h, from: 2026-01-01T00:00:00Z`, "2026-01-03T00:00:00Z FREQ=DAILY;BYDAY=SA,SU 43200s")

	f(`rrule: "FREQ=DAILY;BYHOUR=3", duration: 30m, timezone: Europe/Berlin`, knows+"could not say 2025-03-30T01:00:00Z") // the clocks go forward
	f(`rrule: "FREQ=DAILY;BYHOUR=3,15", duration: 30m`, knows+"could not say 2025-01-01T15:00:00Z")
	f(`rrule: "FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=3", duration: 1h`, knows+"could not say 2025-02-28T03:00:00Z")
	f(`rrule: "FREQ=MONTHLY;BYMONTHDAY=1;BYHOUR=3", duration: 1h, timezone: Asia/Tokyo`, knows+"could not say 2025-02-28T18:00:00Z")
	f(`rrule: "FREQ=MONTHLY;BYDAY=1MO;BYHOUR=3", duration: 1h, timezone: Asia/Tokyo`, knows+"could not say 2025-08-31T18:00:00Z") // a Monday, there
	f(`rrule: "FREQ=DAILY;BYMONTH=12;BYHOUR=3", duration: 1h`, knows+"would apply at 2026-01-01T03:00:00Z, too")
	f(`rrule: "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24;BYHOUR=3", duration: 1h`, "Datadog has no FREQ=YEARLY, write a correction with from and to for each occurrence")
	f(`rrule: "FREQ=DAILY;BYHOUR=3;UNTIL=20200101T000000", duration: 1h`, "it does not begin after 2025-01-01T00:00:00Z")
}

// A configuration's corrections are mirrored with its SLO objects, and with them alone; applied twice
// nothing is written.
func TestProvisionCorrections(t *testing.T) {
	f := fake.Start(t, fake.Options{Clock: time.Now})
	file := datadogFolder(t, f, `}
corrections:
  - {name: db-move, slos: [checkout], from: 2026-11-03T01:00:00+09:00, to: 2026-11-03T02:00:00+09:00, effect: drop}
  - {name: nightly, labels: {service: checkout}, rrule: "FREQ=DAILY;BYHOUR=3", duration: 30m, effect: drop}
  - {name: quiet, slos: [checkout], rrule: "FREQ=DAILY;BYHOUR=4", duration: 30m, effect: good`)
	if _, stderr, code := provisionIt(t, file, "--apply"); code != 0 || len(f.Corrections()) != 0 {
		t.Errorf("without --slos: exit %d, %d corrections: %s", code, len(f.Corrections()), stderr)
	}
	const unsaid = "correction quiet of slo checkout: it is not in Datadog: Datadog leaves time out, it does not count what is in it as good\n"
	stdout, stderr, code := provisionIt(t, file, "--slos", "--apply")
	if code != 0 || !strings.Contains(stdout, "+ create correction checkout/db-move\n+ create correction checkout/nightly\n") || stderr != unsaid+f.URL+" is as it should be.\n" {
		t.Errorf("exit %d, printed\n%s%s", code, stdout, stderr)
	}
	if n := len(f.Corrections()); n != 2 || f.Corrections()[0]["slo_id"] != f.SLOs()[0]["id"] {
		t.Errorf("%d corrections: %v", n, f.Corrections())
	}
	stdout, stderr, code = provisionIt(t, file, "--slos")
	if code != 0 || !strings.HasSuffix(stdout, "\n0 to create, 0 to update, 0 to delete, 9 as they should be\n") || stderr != unsaid {
		t.Errorf("exit %d, printed\n%s%s", code, stdout, stderr)
	}
}
