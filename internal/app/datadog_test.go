package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	sourcedatadog "github.com/yoyu-sre/yoyu/sources/datadog"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// History, and hours of points that come in time or up to an hour late, counted by the
// loop itself while Datadog fails now and then, the process is killed and is away for a while: in
// the end every event was counted once, all of the time is covered, and no hour took more than its
// share of the organisation's queries.
func TestDatadogThroughTheLoop(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) { loopOverDatadog(t, rand.New(rand.NewPCG(seed, 3))) })
	}
}

func loopOverDatadog(t *testing.T, random *rand.Rand) {
	began := time.Now()
	f := fake.New(fake.Options{Clock: time.Now, Seed: random.Uint64()})
	const limit = 400
	f.Quota("query", limit, time.Hour)
	var total, bad float64
	for minute := began.Add(-23 * time.Hour); minute.Before(began.Add(150 * time.Minute)); minute = minute.Add(time.Minute) {
		for _, code := range []string{"200", "500"} {
			n := float64(random.IntN(100))
			if code == "500" {
				n = float64(random.IntN(3))
			}
			visible := minute.Add(time.Minute)
			if random.IntN(4) == 0 {
				visible = visible.Add(time.Duration(random.IntN(58)) * time.Minute)
			}
			f.Seed(fake.Metric{Name: "http.hits", Type: fake.Count, Interval: 10, Tags: []string{"code:" + code}},
				fake.Point{At: minute.Add(time.Duration(random.IntN(60)) * time.Second), Value: n, Visible: visible})
			total += n
			if code == "500" {
				bad += n
			}
		}
	}
	f.Fault(fake.Fault{Path: "query", Chance: 0.1, Do: fake.Status(http.StatusServiceUnavailable)})

	folder := t.TempDir()
	settings := sourcedatadog.DefaultConfig()
	settings.URL, settings.APIKeyFile, settings.AppKeyFile = "http://datadog.fake", filepath.Join(folder, "api"), filepath.Join(folder, "app")
	for file, key := range map[string]string{settings.APIKeyFile: fake.APIKey, settings.AppKeyFile: fake.AppKey} {
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	target, err := slo.ParsePercent("99")
	if err != nil {
		t.Fatal(err)
	}
	const delay = 2 * time.Minute
	period := slo.RollingPeriod(30 * time.Hour) // from before the history to the end
	objective := slo.Objective{Name: "it", Target: target, Period: period, Policy: slo.Workbook(period), Delay: delay, Fractional: true}

	// live runs one process on a state until it is killed; then its file is as it was at that moment.
	live := func(dir string, until time.Time) *slo.Engine {
		engine, err := slo.NewEngine(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		engine.Set([]slo.Objective{objective})
		kept := newState(dir, slogDiscard)
		if _, err := kept.open(engine, false); err != nil {
			t.Fatal(err)
		}
		source, err := sourcedatadog.New(sourcedatadog.Options{Name: "dd", Config: settings, Tick: 30 * time.Second, Transport: f.Transport(), Questions: []sources.Question{{
			SLO: "it", Period: period.Length, Indicator: sources.Indicator{Kind: sources.Datadog, Total: "sum:http.hits{*}", Bad: "sum:http.hits{code:500}"},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		line := pipeline.New(pipeline.Options{
			Engine: engine, Lanes: []pipeline.Lane{{Source: source, Objectives: []string{"it"}, Delay: delay, Backfill: slo.Day}}, Commit: kept.commit,
		})
		ctx, stop := context.WithDeadline(t.Context(), until)
		defer stop()
		if err := line.Run(ctx); err != nil {
			t.Fatal(err)
		}
		kept.close()
		return engine
	}

	var engine *slo.Engine
	dir := filepath.Join(folder, "0")
	for i, lives := 0, 4; i < lives; i++ {
		until := began.Add(4 * time.Hour)
		if i < lives-1 {
			until = time.Now().Add(time.Duration(20+random.IntN(20)) * time.Minute).Add(time.Duration(random.IntN(60)) * time.Second)
		}
		killed := filepath.Join(folder, fmt.Sprint(i+1))
		if i < lives-1 { // what is on the disk when the process dies; what it still writes is lost
			dies := time.AfterFunc(time.Until(until)-time.Second, func() {
				data, err := os.ReadFile(filepath.Join(dir, stateFile))
				if err == nil {
					err = os.MkdirAll(killed, 0o755)
				}
				if err == nil {
					err = os.WriteFile(filepath.Join(killed, stateFile), data, 0o600)
				}
				if err != nil {
					t.Error(err)
				}
			})
			defer dies.Stop()
		}
		engine = live(dir, until)
		if i < lives-1 {
			dir = killed
			<-time.After(time.Duration(random.IntN(20)) * time.Minute) // away
		}
	}
	end := engine.At(time.Now(), delay)
	gotTotal, gotBad := engine.Count("it", nil, slo.Span{From: began.Add(-26 * time.Hour), To: end})
	if gotTotal != total || gotBad != bad {
		t.Errorf("%g of %g bad, want %g of %g", gotBad, gotTotal, bad, total)
	}
	for _, w := range engine.Evaluate(time.Now())[0].Windows {
		// Traffic ended 90 minutes ago, and of 30 hours the first three and the last have none.
		if least := map[time.Duration]float64{6 * time.Hour: 0.7, slo.Day: 0.92, period.Length: 0.83}[w.Length]; w.Coverage < least {
			t.Errorf("coverage of %s is %g, want %g", w.Length, w.Coverage, least)
		}
	}
	used := map[int]int{}
	for _, r := range f.Journal() {
		used[int(r.At.Sub(began)/time.Hour)]++
	}
	for h, n := range used {
		if n > limit/2+2*4 { // a process that begins anew does not know what the one before used
			t.Errorf("%d requests in hour %d, want at most %d", n, h, limit/2)
		}
	}
}
