package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	sourcecloudwatch "github.com/yoyu-sre/yoyu/sources/cloudwatch"
	fake "github.com/yoyu-sre/yoyu/test/cloudwatch"
)

// Twenty days of history, of which CloudWatch has thrown the first together, and hours of points that
// come in time or late, counted by the loop itself while CloudWatch fails, throttles and answers in
// parts, its credentials expire, the process is killed and is away for a while: in the end every event
// was counted once, and all of the time is covered, the quiet of it too.
func TestCloudWatchThroughTheLoop(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, filepath.Join(t.TempDir(), "none"))
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token-of-the-service-account"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::"+fake.Account+":role/yoyu")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) { loopOverCloudWatch(t, rand.New(rand.NewPCG(seed, 8)), seed%2 == 1) })
	}
}

func loopOverCloudWatch(t *testing.T, random *rand.Rand, silent bool) {
	began := time.Now()
	f := fake.New(fake.Options{Seed: random.Uint64(), PageSize: 400, Quota: 30, Visible: 30 * time.Second, Silent: silent})
	f.Trust("token-of-the-service-account", began.Add(slo.Day))
	group := f.Balancer("shop", nil).Group("checkout", nil)
	const history = 20 * slo.Day
	var total, bad float64
	for minute := began.Add(-history); minute.Before(began.Add(3 * time.Hour)); minute = minute.Add(time.Minute) {
		n, failed := random.IntN(50)*random.IntN(2), 0 // every other minute is quiet
		if n > 0 && random.IntN(5) == 0 {
			failed = 1 + random.IntN(n)
		}
		late := time.Duration(0)
		if random.IntN(6) == 0 {
			late = time.Duration(random.IntN(45)) * time.Minute
		}
		group.Serve(minute, fake.Traffic{Requests: n, Errors: failed, Late: late})
		total, bad = total+float64(n), bad+float64(failed)
	}
	f.Fault(fake.Fault{Operation: "GetMetricData", Chance: 0.05, Code: "InternalServiceFault", Status: 500})
	f.Fault(fake.Fault{Operation: "GetMetricData", Chance: 0.05, Code: "ThrottlingException"})
	f.Fault(fake.Fault{Operation: "GetMetricData", Chance: 0.05, Result: "PartialData"})
	f.Fault(fake.Fault{Operation: "ListMetrics", Chance: 0.2, Code: "InternalServiceFault", Status: 500})

	target, err := slo.ParsePercent("99")
	if err != nil {
		t.Fatal(err)
	}
	const delay = 3 * time.Minute
	period := slo.RollingPeriod(30 * slo.Day)
	objective := slo.Objective{Name: "it", Target: target, Period: period, Policy: slo.Workbook(period), Delay: delay, Fractional: true}
	settings := sourcecloudwatch.DefaultConfig()
	settings.Region = fake.Region
	scope := selectors.CloudWatchScope{Namespace: "AWS/ApplicationELB", TargetGroup: &selectors.CloudWatchResource{Name: "checkout"}, Alive: "HealthyHostCount"}

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
		source, err := sourcecloudwatch.New(sourcecloudwatch.Options{Name: "aws", Config: settings, Tick: 30 * time.Second, Transport: f.Transport(), Questions: []sources.Question{{
			SLO: "it", Period: period.Length, Indicator: sources.Indicator{Kind: sources.CloudWatch, Scope: scope.String(), Total: "RequestCount", Bad: "HTTPCode_Target_5XX_Count"},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		line := pipeline.New(pipeline.Options{
			Engine: engine, Lanes: []pipeline.Lane{{Source: source, Objectives: []string{"it"}, Delay: delay, Backfill: 30 * slo.Day}}, Commit: kept.commit,
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
	folder := t.TempDir()
	dir := filepath.Join(folder, "0")
	for i, lives := 0, 4; i < lives; i++ {
		until := began.Add(5 * time.Hour)
		if i < lives-1 {
			until = time.Now().Add(time.Duration(15+random.IntN(20)) * time.Minute).Add(time.Duration(random.IntN(60)) * time.Second)
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
	gotTotal, gotBad := engine.Count("it", nil, slo.Span{From: began.Add(-25 * slo.Day), To: end})
	if gotTotal != total || gotBad != bad {
		t.Errorf("%g of %g bad, want %g of %g", gotBad, gotTotal, bad, total)
	}
	for _, w := range engine.Evaluate(time.Now())[0].Windows {
		// Traffic ended two hours ago, and of 30 days it had 20.
		if least := map[time.Duration]float64{6 * time.Hour: 0.6, slo.Day: 0.9, period.Length: 0.66}[w.Length]; w.Coverage < least {
			t.Errorf("coverage of %s is %g, want %g", w.Length, w.Coverage, least)
		}
	}
	exchanges := map[string]bool{}
	for _, r := range f.Journal("AssumeRoleWithWebIdentity") {
		exchanges[r.At.Format(time.RFC3339)] = true
	}
	if len(exchanges) < 3+3 { // one for each of the short lives, and three in the last one, of more than two hours
		t.Errorf("credentials were exchanged %d times by four processes in five hours", len(exchanges))
	}
}
