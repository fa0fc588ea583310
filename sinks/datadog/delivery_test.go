package datadog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// The tests of this file are those that a sink for Datadog cannot do without. Each says in its name
// what has to hold.

// counted is a sink that notes what it drops and how many series a report becomes.
type counted struct {
	*Sink
	drops  map[string]int
	series int
}

func newCounted(t *testing.T, d *fake.Datadog, c Config) *counted {
	t.Helper()
	if c.APIKeyFile == "" {
		c.APIKeyFile = keyFile(t, fake.APIKey)
	}
	out := &counted{drops: map[string]int{}}
	s, err := New(Options{
		Name: "dd", Config: c, Transport: d.Transport(),
		Dropped: func(reason string, n int) {
			if !slices.Contains(Reasons, reason) {
				t.Errorf("%q is no reason", reason)
			}
			out.drops[reason] += n
		},
		Counted: func(series int) { out.series = series },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.drops) != len(Reasons) {
		t.Errorf("reasons %v are born, want %v", out.drops, Reasons)
	}
	out.Sink = s
	return out
}

// dropped is how many points were counted in all.
func (c *counted) dropped() int {
	n := 0
	for _, k := range c.drops {
		n += k
	}
	return n
}

// random is a report of n SLOs whose labels and groups are noise: it hardly compresses.
func random(r *rand.Rand, n, noise int) *sinks.Report {
	word := func(length int) string {
		out := make([]byte, length)
		for i := range out {
			out[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789_-/. &é"[r.IntN(52)]
		}
		return string(out)
	}
	out := &sinks.Report{Time: time.Now()}
	for i := range n {
		o := sinktest.Objective(fmt.Sprintf("slo-%d", i), "service-"+word(r.IntN(8)), "99.9", slo.RollingPeriod(30*slo.Day))
		o.GroupBy = []string{"route"}
		o.Labels = map[string]string{"team": word(r.IntN(noise + 1)), "note": word(noise)}
		counts := map[string]sinktest.Counts{"5m": {Total: 100, Bad: r.Float64() * 100, Coverage: 1}, "1h": {Total: 1e6, Bad: r.Float64() * 100, Coverage: 1}}
		for range 1 + r.IntN(3) {
			out.SLOs = append(out.SLOs, sinktest.Status(o, []string{"/" + word(r.IntN(noise+1))}, counts))
		}
	}
	return out
}

// Whatever a report holds: every request is within what an intake takes, and what is stored is what
// was given, less what was counted as dropped.
func TestEveryRequestIsWithinLimitsAndEverythingIsStoredOnce(t *testing.T) {
	for seed, c := range []struct {
		preset      Preset
		slos, noise int
		requests    int // at least
	}{
		{Minimal, 1, 0, 1}, {Standard, 40, 100, 1}, {Full, 220, 150, 2},
		{Minimal, 1200, 190, 2}, // incompressible: less than 5 MB and 10,000 series, halved by what goes over the wire
	} {
		t.Run(fmt.Sprintf("%s %d %d", c.preset, c.slos, c.noise), func(t *testing.T) {
			bubble(t, func(t *testing.T, d *fake.Datadog) {
				report := random(rand.New(rand.NewPCG(uint64(seed), 7)), c.slos, c.noise)
				s := newCounted(t, d, Config{Metrics: c.preset})
				write(t, s.Sink, report)
				journal, inflated := d.Journal(), 0
				for _, q := range journal {
					inflated += q.Inflated
				}
				if len(journal) < c.requests {
					t.Errorf("%d requests, want at least %d", len(journal), c.requests)
				}
				t.Logf("%d requests, %d bytes", len(journal), inflated)
				for _, q := range d.Journal() {
					if q.Status != 202 && q.Status != 413 || q.Wire >= 512_000 || q.Inflated > 5_242_880 {
						t.Errorf("a request of %d bytes, %d inflated: %d", q.Wire, q.Inflated, q.Status)
					}
				}
				given := map[string]float64{}
				points := 0
				for p := range report.Points(presets[c.preset]) {
					points++
					id := identity(p.Family.Dotted(), s.tagger.tags(p))
					if _, twice := given[id]; !twice {
						given[id] = p.Value
					}
				}
				stored := d.Stored()
				if len(stored) != len(given) || len(stored)+s.dropped() != points || s.series != len(given) {
					t.Errorf("%d series of %d points are stored, %d were told, %v dropped, want %d", len(stored), points, s.series, s.drops, len(given))
				}
				for _, one := range stored {
					id := identity(one.Name, one.Tags)
					if v, ok := given[id]; !ok || len(one.Points) != 1 || one.Points[0].Value != v || !one.Points[0].At.Equal(report.Time.Truncate(time.Second)) {
						t.Fatalf("%s holds %v, want %v", id, one.Points, v)
					}
				}
				if len(d.Drops()) > 0 {
					t.Errorf("Datadog lost %v", d.Drops())
				}
			})
		})
	}
}

// A request that is too large for whoever stands in front is halved until it fits; a single series
// that never does is dropped once, and takes no other with it.
func TestTooLargeIsHalvedAndAGiantIsDroppedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		d.Fault(fake.Fault{Body: `"metric":"slo\.burn_rate"[^}]*window:3d`, Do: fake.Status(413)})
		s := newCounted(t, d, Config{})
		report := sinktest.Large(100)
		err := s.Write(t.Context(), report)
		if err == nil || strings.Count(err.Error(), "413") != 100 {
			t.Errorf("error %.300v, want one for each giant", err)
		}
		if n := len(d.Stored()); n != 1000 || s.drops["too_large"] != 100 {
			t.Errorf("%d series are stored and %v dropped, want 1000 and 100", n, s.drops)
		}
		d.ClearJournal()
		if err := s.Flush(t.Context()); err != nil || len(d.Journal()) > 0 {
			t.Errorf("a giant is sent again: %v", err)
		}
	})
}

// What Datadog would silently lose, or JSON cannot hold, is counted and does not hold up the rest.
func TestNaNTooOldAndFuturePointsAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		now := time.Now()
		for _, c := range []struct {
			at   time.Duration
			want string
		}{
			{-24 * time.Hour, "too_old"}, {-time.Hour, "too_old"}, {-56 * time.Minute, "too_old"}, {-54 * time.Minute, ""}, {0, ""},
			{8 * time.Minute, ""}, {10 * time.Minute, "future"}, {24 * time.Hour, "future"},
		} {
			d.Forget()
			s := newCounted(t, d, Config{Metrics: Minimal})
			r := sinktest.Report()
			r.Time = now.Add(c.at)
			write(t, s.Sink, r)
			if got := len(d.Stored()); got != map[bool]int{true: 9}[c.want == ""] {
				t.Errorf("%s from now: %d points are stored", c.at, got)
			}
			if c.want != "" && s.drops[c.want] != 9 || c.want == "" && s.dropped() != 0 {
				t.Errorf("%s from now: dropped %v", c.at, s.drops)
			}
		}
		if lost := d.Drops(); len(lost) > 0 {
			t.Errorf("Datadog lost %v", lost)
		}

		// Reports hold no such numbers; should one ever, it costs itself alone.
		d.Forget()
		s := newCounted(t, d, Config{})
		s.outbox.turn()
		for i, v := range []float64{1, math.NaN(), math.Inf(1), math.Inf(-1), 2} {
			if reason := s.outbox.put(fmt.Sprintf("slo.a{i:%d}", i), now, v, now); (reason == "nan") != (v-v != 0) {
				t.Errorf("%v: %q", v, reason)
			}
		}
		if err := s.Flush(t.Context()); err != nil || len(d.Stored()) != 2 {
			t.Errorf("%v, %d series are stored", err, len(d.Stored()))
		}
	})
}

// However Datadog fails, in the end every series holds its newest value once, and no older one
// after it.
func TestFailuresEndInTheNewestValueStoredOnce(t *testing.T) {
	actions := []fake.Action{
		fake.Status(429), fake.TooMany("3"), fake.TooMany("garbage"), fake.TooMany("0"), fake.Status(500), fake.Status(502), fake.HTML(503), fake.Status(408), fake.ResetBefore,
		fake.ResetMidBody, fake.AcceptedThen(500), fake.AcceptedThen(504), fake.Truncated, fake.WrongType, fake.Delay(3 * time.Second), fake.Hang, fake.DoneThenHang, fake.Gzipped,
	}
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, d *fake.Datadog) {
				r := rand.New(rand.NewPCG(seed, 3))
				for _, action := range actions {
					d.Fault(fake.Fault{Chance: 0.15, Do: action})
				}
				s := newCounted(t, d, Config{Metrics: Minimal})
				const tick = 30 * time.Second
				start := time.Now()
				for i := range 40 {
					if i == 38 {
						d.ClearFaults() // the last two reports find a healthy intake
					}
					<-time.After(time.Until(start.Add(time.Duration(i) * tick)))
					report := sinktest.Report()
					report.Time = time.Now().Truncate(tick)
					report.SLOs[0].Budget.RemainingRatio = float64(i) + r.Float64()/1000
					ctx, cancel := context.WithTimeout(t.Context(), tick)
					err := s.Write(ctx, report) // an error is what the faults are for
					cancel()
					if err != nil && strings.Contains(err.Error(), fake.APIKey) {
						t.Errorf("the key is in %v", err)
					}
				}
				newest := d.Series("slo.error_budget_remaining_ratio")
				if len(newest) != 3 {
					t.Fatalf("%d series", len(newest))
				}
				for _, one := range newest {
					if !slices.Contains(one.Tags, "slo:checkout-availability") {
						continue
					}
					last := one.Points[len(one.Points)-1]
					if int(last.Value) != 39 {
						t.Errorf("the newest value is %v", last)
					}
					for k := 1; k < len(one.Points); k++ {
						if one.Points[k].Value <= one.Points[k-1].Value {
							t.Errorf("an older value comes after a newer one: %v", one.Points)
						}
					}
				}
				if s.dropped() > 0 {
					t.Errorf("dropped %v", s.drops)
				}
			})
		})
	}
}

// Accepted, but the answer says otherwise: the same values come again and change nothing.
func TestAcceptedThen500StoresTheSame(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		d.Fault(fake.Fault{Times: 2, Do: fake.AcceptedThen(500)})
		write(t, newSink(t, d, Config{Tags: typicalTags}), sinktest.Report())
		if n := len(d.Journal()); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
		compare(t, lines(d), typicalLines())
	})
}

// What is held back is sent before the process ends, within the time it is given.
func TestFlushOnShutdownWithinItsTime(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		s := newSink(t, d, Config{Tags: typicalTags})
		d.Fault(fake.Fault{Do: fake.Hang})
		ctx, stop := context.WithCancel(t.Context())
		wrote := make(chan error, 1)
		go func() { wrote <- s.Write(ctx, sinktest.Report()) }()
		synctest.Wait() // the request is under way
		stop()
		if err := <-wrote; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}

		// Still silent: the flush ends with its time.
		ten, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		start := time.Now()
		if err := s.Flush(ten); err == nil {
			t.Error("no error")
		}
		cancel()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %s", took)
		}

		d.ClearFaults()
		ten, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.Flush(ten); err != nil {
			t.Error(err)
		}
		compare(t, lines(d), typicalLines())
		d.ClearJournal()
		if err := s.Flush(ten); err != nil || len(d.Journal()) > 0 {
			t.Errorf("nothing is left, and yet %d requests: %v", len(d.Journal()), err)
		}
	})
}

// A key that is refused for five minutes costs memory for one value of each series, and then the
// newest ones arrive. Series that vanished meanwhile arrive with what they last had.
func TestKeyRefusedForFiveMinutesThenNewestValues(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		file := keyFile(t, "withdrawn")
		s := newCounted(t, d, Config{APIKeyFile: file, Metrics: Minimal})
		held := 0
		for i := range 10 {
			r := sinktest.Report()
			r.Time = time.Now()
			r.SLOs[0].Budget.RemainingRatio = float64(i)
			if i > 0 {
				r.SLOs = r.SLOs[:2] // a group went away
			}
			if err := s.Write(t.Context(), r); err == nil || err.Error() != "series: 403 Forbidden: is the API key wrong?" {
				t.Errorf("error %v", err)
			}
			held = max(held, len(s.outbox.points))
			<-time.After(30 * time.Second)
		}
		if held != 9 {
			t.Errorf("%d points were held back, want one for each series", held)
		}
		if n := len(d.Journal()); n != 10 {
			t.Errorf("%d requests, want one for each report", n)
		}
		if err := os.WriteFile(file, []byte(fake.APIKey), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, one := range d.Series("slo.error_budget_remaining_ratio") {
			found++
			if len(one.Points) != 1 {
				t.Errorf("%v holds %d points", one.Tags, len(one.Points))
			}
			if slices.Contains(one.Tags, "slo:checkout-availability") && one.Points[0].Value != 9 {
				t.Errorf("value %v, want the newest", one.Points[0].Value)
			}
		}
		if found != 3 || s.dropped() != 0 {
			t.Errorf("%d series, dropped %v", found, s.drops)
		}
	})
}

// After a long outage what is too old is dropped and counted, not sent in vain.
func TestWhatGrewTooOldMeanwhileIsCounted(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		s := newCounted(t, d, Config{Metrics: Minimal})
		d.Fault(fake.Fault{Times: 4, Do: fake.StatusBody(404, "text/html", "no such page")})
		if err := s.Write(t.Context(), sinktest.Report()); err == nil {
			t.Error("no error")
		}
		<-time.After(time.Hour)
		if err := s.Flush(t.Context()); err != nil || s.drops["too_old"] != 9 || len(d.Journal()) != 1 {
			t.Errorf("%v, dropped %v, %d requests", err, s.drops, len(d.Journal()))
		}
	})
}

// Series that come and go during an outage do not pile up.
func TestMemoryIsBoundedWhenSeriesComeAndGo(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		s := newCounted(t, d, Config{Metrics: Minimal})
		d.Fault(fake.Fault{Do: fake.Status(403)})
		o := sinktest.Objective("pay", "shop", "99", slo.RollingPeriod(30*slo.Day))
		o.GroupBy = []string{"pod"}
		for i := range 20 {
			r := &sinks.Report{Time: time.Now()}
			for k := range 1000 {
				r.SLOs = append(r.SLOs, sinktest.Status(o, []string{fmt.Sprintf("pod-%d-%d", i, k)}, nil))
			}
			if err := s.Write(t.Context(), r); err == nil {
				t.Error("no error")
			}
			<-time.After(30 * time.Second)
		}
		if n := len(s.outbox.points); n > 2*s.series+spare {
			t.Errorf("%d points are held back", n)
		}
		if s.drops["overflow"] == 0 {
			t.Error("nothing overflowed: the test is too small")
		}
		d.ClearFaults()
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		newest := 0
		for _, one := range d.Stored() {
			if strings.Contains(strings.Join(one.Tags, ","), "pod-19-") {
				newest++
			}
		}
		if newest != s.series {
			t.Errorf("%d of the newest %d series arrived", newest, s.series)
		}
	})
}

// Datadog may ask for a pause that is longer than a write lasts: reports go on, requests do not.
func TestPauseThatDatadogAsksForIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		s := newCounted(t, d, Config{Metrics: Minimal})
		d.Fault(fake.Fault{Times: 1, Do: fake.TooMany("90")})
		start := time.Now()
		for i := range 5 {
			r := sinktest.Report()
			r.Time = time.Now()
			err := s.Write(t.Context(), r)
			if (err != nil) != (i < 4) {
				t.Errorf("report %d: error %v", i, err)
			}
			if spent := time.Since(start) - time.Duration(i)*30*time.Second; spent > time.Second {
				t.Errorf("report %d kept the loop waiting for %s", i, spent)
			}
			<-time.After(time.Until(start.Add(time.Duration(i+1) * 30 * time.Second)))
		}
		if n := len(d.Journal()); n != 2 {
			t.Errorf("%d requests, want one that was refused and one after the pause", n)
		}
	})
}

// Yoyus all over the world tick at the same moment: their tries must not come at the same time.
func TestWaitsBetweenTriesAreRandom(t *testing.T) {
	var first []time.Duration
	for range 8 {
		bubble(t, func(t *testing.T, d *fake.Datadog) {
			d.Fault(fake.Fault{Do: fake.Status(503)})
			s := newSink(t, d, Config{Metrics: Minimal})
			start := time.Now()
			if err := s.Write(t.Context(), sinktest.Report()); err == nil || err.Error() != "series: 503 Service Unavailable" {
				t.Errorf("error %v", err)
			}
			if took := time.Since(start); took > retryFor {
				t.Errorf("took %s", took)
			}
			j := d.Journal()
			if len(j) < 3 {
				t.Errorf("%d tries", len(j))
				return
			}
			first = append(first, j[1].At.Sub(j[0].At))
		})
	}
	if slices.Sort(first); len(slices.Compact(first)) < 4 {
		t.Errorf("waits %v", first)
	}
}

// What is stored is what is looked for: every series is found by a query for the names and tags
// that monitors and dashboards are written with.
func TestWhatIsStoredAnswersQueries(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		s := newSink(t, d, Config{Metrics: Full, Tags: []string{"env:Prod", "cluster:tokyo"}})
		for _, r := range []*sinks.Report{sinktest.Report(), sinktest.Odd(), sinktest.Unknown()} {
			r.Time = time.Now()
			write(t, s, r)
			for p := range r.Points(presets[Full]) {
				var scope []string
				for _, l := range p.Labels {
					if key, value := workloadTag(p, l); key != "" {
						if made := newTag(key, value); made.value != "" {
							scope = append(scope, made.key+":"+made.value)
						}
					}
				}
				query := fmt.Sprintf("max:%s{%s,env:prod} by {slo,service}", p.Family.Dotted(), strings.Join(scope, ","))
				found, err := d.Query(query, time.Now().Add(-time.Hour), time.Now())
				if err != nil || len(found) == 0 {
					t.Errorf("%s: %v, %d series", query, err, len(found))
				}
			}
			<-time.After(time.Minute)
		}
		states, err := d.Evaluate("max(last_5m):max:slo.alert_burn_ratio{severity:page} by {slo,service} > 1")
		if err != nil || !slices.ContainsFunc(states, func(m fake.MonitorState) bool {
			return m.Alert && slices.Equal(m.Group, []string{"slo:checkout-availability", "service:checkout"})
		}) {
			t.Errorf("monitor: %v %v", states, err)
		}
	})
}

// The official client reads what was sent, and nothing of it is unknown to it.
func TestOfficialClientReadsWhatWasSent(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		s := newSink(t, d, Config{Metrics: Full})
		for _, r := range []*sinks.Report{sinktest.Report(), sinktest.Odd(), sinktest.Large(30)} {
			r.Time = time.Now()
			write(t, s, r)
		}
		read := 0
		for _, q := range d.Journal() {
			var payload datadogV1.MetricsPayload
			if err := json.Unmarshal(q.Body, &payload); err != nil {
				t.Fatal(err)
			}
			if payload.UnparsedObject != nil || len(payload.AdditionalProperties) > 0 {
				t.Errorf("payload has %v %v", payload.UnparsedObject, payload.AdditionalProperties)
			}
			for _, one := range payload.Series {
				read++
				if one.UnparsedObject != nil || len(one.AdditionalProperties) > 0 || one.GetType() != "gauge" || one.HasHost() || len(one.Points) != 1 {
					t.Errorf("series %+v", one)
				}
				if at := one.Points[0][0]; *at != math.Trunc(*at) {
					t.Errorf("%s at %v, want a whole second", one.Metric, *at)
				}
			}
		}
		if read == 0 {
			t.Error("nothing was read")
		}
	})
}

// Neither errors nor the log hold the key, whatever goes wrong.
func TestNothingSecretIsSaid(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		var logged bytes.Buffer
		secret := "not-a-key-but-secret-0123456789"
		d.Rotate([]string{secret}, nil)
		s, err := New(Options{Config: Config{APIKeyFile: keyFile(t, secret)}, Transport: d.Transport(), Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		if err != nil {
			t.Fatal(err)
		}
		for _, action := range []fake.Action{
			fake.StatusBody(400, "application/json", `{"errors":["key `+secret+` is bad"]}`), fake.StatusBody(403, "text/html", secret), fake.StatusBody(202, "text/json", `{"errors":["`+secret+`"]}`),
			fake.StatusBody(500, "text/plain", secret), fake.ResetBefore, fake.Hang, fake.Skew(time.Hour),
		} {
			d.ClearFaults()
			d.Fault(fake.Fault{Do: action})
			r := sinktest.Report()
			r.Time = time.Now()
			if err := s.Write(t.Context(), r); err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the key is in %v", err)
			}
		}
		if strings.Contains(logged.String(), secret) {
			t.Errorf("the key is in the log: %s", logged.String())
		}
		if !strings.Contains(logged.String(), "clock differs") {
			t.Errorf("the log says nothing of the clock: %s", logged.String())
		}
	})
}

// Names that Datadog takes for one another are a fault of the configuration.
func TestAmbiguousNames(t *testing.T) {
	make := func(name, service string, groupBy []string, labels map[string]string) slo.Objective {
		o := sinktest.Objective(name, service, "99", slo.RollingPeriod(30*slo.Day))
		o.GroupBy, o.Labels = groupBy, labels
		return *o
	}
	for _, c := range []struct {
		name string
		all  []slo.Objective
		want string
	}{
		{"as it should be", []slo.Objective{make("a", "shop", []string{"route"}, map[string]string{"team": "x"}), make("b", "shop", []string{"route"}, nil)}, ""},
		{"a label that is a group as well", []slo.Objective{make("a", "shop", []string{"team"}, map[string]string{"team": "x"})}, ""},
		{"names", []slo.Objective{make("pay", "shop", nil, nil), make("Pay", "shop", nil, nil)}, "slo Pay: Datadog cannot tell its name Pay from pay: choose another name"},
		{"services", []slo.Objective{make("a", "check out", nil, nil), make("b", "check_out", nil, nil)}, "slo b: Datadog cannot tell service check_out from check out: write one of them everywhere"},
		{"groups", []slo.Objective{make("a", "shop", []string{"route", "Route"}, nil)}, "slo a: Datadog cannot tell group_by label Route from route: group by another label"},
		{"a group that is a window", []slo.Objective{make("a", "shop", []string{"Window"}, nil)}, "slo a: Datadog cannot tell group_by label Window from window: group by another label"},
		{"labels", []slo.Objective{make("a", "shop", nil, map[string]string{"Team": "x", "team": "y"})}, "slo a: Datadog cannot tell label team from Team: choose another name"},
	} {
		got := ""
		if err := Ambiguous(c.all); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A series never has more tags than Datadog stores, and those that tell it apart are among them.
func TestManyLabels(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		r := sinktest.Report()
		r.SLOs, r.Workloads = r.SLOs[:1], []rightsizing.Workload{}
		r.SLOs[0].Objective.Labels = map[string]string{}
		for i := range 300 {
			r.SLOs[0].Objective.Labels[fmt.Sprintf("a%03d", i)] = strings.Repeat("x", 150)
		}
		write(t, newSink(t, d, Config{Tags: []string{"env:prod", "zone:b"}}), r)
		stored := d.Stored()
		if len(stored) != 11 || len(d.Drops()) > 0 {
			t.Fatalf("%d series are stored, %v lost", len(stored), d.Drops())
		}
		for _, one := range stored {
			for _, want := range []string{"slo:checkout-availability", "service:checkout", "env:prod"} {
				if !slices.Contains(one.Tags, want) {
					t.Errorf("%s lacks %s", one.Name, want)
				}
			}
		}
	})
}

// hundredThousand is a report that becomes 100,000 custom metrics under the standard preset.
func hundredThousand() *sinks.Report {
	r := sinktest.Large(9091) // 11 each
	last := &r.SLOs[len(r.SLOs)-1]
	last.Windows = last.Windows[:len(last.Windows)-1]
	return r
}

// A hundred thousand series: every request within limits, everything stored once, and what the
// sink needs for it is bounded, also while nothing is taken.
func TestHundredThousandSeries(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of one processor")
	}
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		report := hundredThousand()
		s := newCounted(t, d, Config{})
		d.Fault(fake.Fault{Times: 3, Do: fake.StatusBody(404, "text/html", "no such page")})
		before := heap()
		for range 3 {
			if err := s.Write(t.Context(), report); err == nil {
				t.Error("no error")
			}
		}
		if held := heap() - before; held > 64<<20 {
			t.Errorf("%d MiB are held back while nothing is taken", held>>20)
		}
		d.ClearJournal()
		write(t, s.Sink, report)
		if s.series != 100_000 || s.dropped() > 0 || len(s.outbox.points) > 0 {
			t.Errorf("%d series, %v dropped, %d left", s.series, s.drops, len(s.outbox.points))
		}
		for _, q := range d.Journal() {
			if q.Status != 202 || q.Wire >= 512_000 || q.Inflated > 5_242_880 {
				t.Errorf("a request of %d bytes, %d inflated: %d", q.Wire, q.Inflated, q.Status)
			}
		}
		if n, lost := len(d.Stored()), d.Drops(); n != 100_000 || len(lost) > 0 {
			t.Errorf("%d series are stored, %v lost", n, lost)
		}
	})
}

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkWrite sends reports of 1,000 and of 100,000 series to an intake that takes everything.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []struct {
		name   string
		report *sinks.Report
	}{{"11k", sinktest.Large(1000)}, {"100k", hundredThousand()}} {
		b.Run(size.name, func(b *testing.B) {
			wire, requests := int64(0), 0
			accept := transport(func(r *http.Request) (*http.Response, error) {
				n, err := io.Copy(io.Discard, r.Body)
				wire, requests = wire+n, requests+1
				return &http.Response{StatusCode: 202, Header: http.Header{"Content-Type": {"text/json"}}, Body: io.NopCloser(strings.NewReader(`{"status": "ok"}`))}, err
			})
			s, err := New(Options{Config: Config{APIKeyFile: keyFile(b, fake.APIKey)}, Transport: accept})
			if err != nil {
				b.Fatal(err)
			}
			r := size.report
			b.ReportAllocs()
			for b.Loop() {
				r.Time = time.Now()
				if err := s.Write(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(s.told.series), "series")
			b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
			b.ReportMetric(float64(wire)/float64(b.N), "wire-B/op")
		})
	}
}

// A clock that is not Datadog's loses points without a word from there: it is said, once, and again
// when it comes back after it was right.
func TestClocksThatDifferAreSaid(t *testing.T) {
	bubble(t, func(t *testing.T, d *fake.Datadog) {
		var logged strings.Builder
		s, err := New(Options{Config: Config{APIKeyFile: keyFile(t, fake.APIKey)}, Transport: d.Transport(), Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			ahead time.Duration
			said  int
		}{{0, 0}, {2 * time.Minute, 0}, {11 * time.Minute, 1}, {11 * time.Minute, 1}, {0, 1}, {-3 * time.Minute, 2}} {
			d.ClearFaults()
			d.Fault(fake.Fault{Do: fake.Skew(c.ahead)})
			write(t, s, fresh())
			if n := strings.Count(logged.String(), "Datadog's clock differs"); n != c.said {
				t.Errorf("%s ahead: said %d times, want %d:\n%s", c.ahead, n, c.said, logged.String())
			}
		}
		if text := logged.String(); !strings.Contains(text, "ahead=11m0s") || !strings.Contains(text, "ahead=-3m0s") {
			t.Errorf("logged\n%s", text)
		}
	})
}
