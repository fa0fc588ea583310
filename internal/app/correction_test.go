package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Nightly maintenance at 2:30 in Berlin and the closing of the month at 23:00 on its last day, with
// nothing but errors while they last, over the night without a 2:30 and the end of March: recorded,
// and read by the command with corrections by RRULE and without. What is expected is worked out here
// from the clock's own times, written out by hand.
func TestCorrectionsAcrossClocksAndMonths(t *testing.T) {
	at := func(text string) time.Time {
		m, err := time.Parse("2006-01-02T15:04Z", text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	type span struct{ from, to time.Time }
	var away []span
	for _, night := range []string{ // 2:30 in Berlin; on the 29th the clock goes from 2:00 to 3:00
		"2026-03-27T01:30Z", "2026-03-28T01:30Z", "2026-03-29T01:30Z", "2026-03-30T00:30Z", "2026-03-31T00:30Z", "2026-04-01T00:30Z", "2026-04-02T00:30Z",
	} {
		away = append(away, span{at(night), at(night).Add(30 * time.Minute)})
	}
	away = append(away, span{at("2026-03-31T21:00Z"), at("2026-03-31T23:00Z")}) // two hours from 23:00 on: April begins at 22:00Z
	first, last, april := at("2026-03-27T00:00Z"), at("2026-04-02T12:00Z"), at("2026-03-31T22:00Z")

	var lines [2]strings.Builder
	var good, bad int
	type sum struct{ total, bad, corrected float64 }
	march, all := sum{}, sum{}
	for m := first; !m.After(last); m = m.Add(time.Minute) {
		broken := false
		for _, s := range away {
			broken = broken || m.After(s.from) && !m.After(s.to)
		}
		n := 0.0
		if m.After(first) {
			n = 10
		}
		if broken {
			bad += int(n)
		} else {
			good += int(n)
		}
		for _, into := range []*sum{&march, &all} {
			if into == &march && m.After(april) {
				continue
			}
			into.total += n
			if broken {
				into.bad += n
			} else {
				into.corrected += n
			}
		}
		fmt.Fprintf(&lines[0], "requests_total{code=\"200\"} %d %d\n", good, m.Unix())
		fmt.Fprintf(&lines[1], "requests_total{code=\"500\"} %d %d\n", bad, m.Unix())
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	data := write("traffic.om", "# TYPE requests counter\n"+lines[0].String()+lines[1].String()+"# EOF\n")
	config := write("config.yaml", `
tick: 60s
sources: [{name: prom, type: prometheus, url: "http://127.0.0.1:9090"}]
defaults: {objective: 99, indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}}
slos:
  - {name: rolling, service: shop, period: 30d, labels: {team: payments}}
  - {name: monthly, service: shop, period: {calendar: month, timezone: Europe/Berlin}, labels: {team: payments}}
  - {name: plain, service: shop, period: 30d}
corrections:
  - {name: nightly, labels: {team: payments}, rrule: "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", duration: 30m, timezone: Europe/Berlin, effect: drop}
  - {name: closing, slos: [rolling, monthly], rrule: "FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=23", duration: 2h, timezone: Europe/Berlin, effect: drop}
`)
	var stdout, stderr bytes.Buffer
	if code := Main(t.Context(), []string{
		"backtest", "--config.file=" + config, "--data=" + data, "-o", "json",
		fmt.Sprintf("--at=%d", last.Unix()), fmt.Sprintf("--at=%d", april.Unix()),
	}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s", code, &stderr)
	}
	var got struct {
		Reports []struct {
			SLOs []struct {
				SLO         string
				Windows     map[string]struct{ Total, Bad float64 }
				Corrections []struct {
					Seconds     float64
					Approximate float64 `json:"approximate_seconds"`
				}
			}
		}
		Alerts []struct{ SLO string }
	}
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	f := func(report int, name, window string, total, bad float64, seconds float64) {
		t.Helper()
		for _, s := range got.Reports[report].SLOs {
			if s.SLO != name {
				continue
			}
			if w := s.Windows[window]; w.Total != total || w.Bad != bad {
				t.Errorf("%s: %v bad of %v, want %v of %v", name, w.Bad, w.Total, bad, total)
			}
			sum := 0.0
			for _, c := range s.Corrections {
				sum += c.Seconds
				if c.Approximate != 0 {
					t.Errorf("%s: approximate for %v s, where it was declared beforehand", name, c.Approximate)
				}
			}
			if sum != seconds {
				t.Errorf("%s: corrected for %v s, want %v", name, sum, seconds)
			}
			return
		}
		t.Errorf("no %s", name)
	}
	f(0, "plain", "30d", all.total, all.bad, 0)
	// Thirty nights from 4 March on, and the closing; two nights of April and an hour; 31 nights of March,
	// an hour of its own closing and one of February's.
	f(0, "rolling", "30d", all.corrected, 0, 30*1800+7200)
	f(0, "monthly", "month", all.corrected-march.corrected, 0, 2*1800+3600)
	f(1, "monthly", "month", march.corrected, 0, 31*1800+3600+3600)
	if all.bad != 10*(7*30+120) {
		t.Errorf("%v errors were recorded, want 330 minutes of ten", all.bad)
	}
	woken := map[string]int{}
	for _, a := range got.Alerts {
		woken[a.SLO]++
	}
	if woken["plain"] == 0 || woken["rolling"] > 0 || woken["monthly"] > 0 {
		t.Errorf("alerts %v, want some of plain and none of the others", woken)
	}
}
