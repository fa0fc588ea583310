package cloudwatch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	fake "github.com/yoyu-sre/yoyu/test/cloudwatch"
)

// within runs a test in a bubble, whose clock is the fake's: it begins at midnight, 2000-01-01.
func within(t *testing.T, o fake.Options, run func(t *testing.T, c *fake.Cloud, dawn time.Time)) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", fake.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", fake.SecretKey)
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_CA_BUNDLE", "")
	synctest.Test(t, func(t *testing.T) { run(t, fake.New(o), time.Now()) })
}

// scoped asks for one objective.
func scoped(name string, scope selectors.CloudWatchScope, total, bad string, groupBy ...string) sources.Question {
	if scope.Namespace == "" {
		scope.Namespace = "AWS/ApplicationELB"
	}
	return sources.Question{SLO: name, Period: 30 * slo.Day, GroupBy: groupBy, Indicator: sources.Indicator{
		Kind: sources.CloudWatch, Scope: scope.String(), Total: total, Bad: bad,
	}}
}

// group asks for a target group by its name, as the configuration does.
func group(name, target string, groupBy ...string) sources.Question {
	return scoped(name, selectors.CloudWatchScope{TargetGroup: &selectors.CloudWatchResource{Name: target}, Alive: "HealthyHostCount"},
		"RequestCount", "HTTPCode_Target_5XX_Count", groupBy...)
}

func settings() Config {
	c := DefaultConfig()
	c.Region = fake.Region
	return c
}

func newSource(t *testing.T, f *fake.Cloud, c Config, tick time.Duration, questions ...sources.Question) *Source {
	t.Helper()
	s, err := New(Options{Name: "aws", Config: c, Tick: tick, Questions: questions, Transport: f.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func collect(t *testing.T, s *Source, from, to time.Time, only ...string) []slo.Sample {
	t.Helper()
	samples, err := s.Collect(t.Context(), slo.Span{From: from, To: to}, only...)
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

// sums adds an answer up.
func sums(s slo.Sample) (total, bad float64) {
	for _, g := range s.Groups {
		for _, inc := range g.Increments {
			total, bad = total+inc.Total, bad+inc.Bad
		}
	}
	return total, bad
}

func booked(s slo.Sample) (out []slo.Increment) {
	for _, g := range s.Groups {
		out = append(out, g.Increments...)
	}
	return out
}

func covered(s slo.Sample) (d time.Duration) {
	for _, one := range s.Covered {
		d += one.Duration()
	}
	return d
}

func wait(d time.Duration) { <-time.After(d) }

// Everything that can be asked in one request is, and what is asked alike is asked once.
func TestOneRequestForAll(t *testing.T) {
	within(t, fake.Options{}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
		shop := c.Balancer("shop", nil)
		g := shop.Group("checkout", nil)
		for i := range 10 {
			g.Serve(dawn.Add(time.Duration(i)*time.Minute), fake.Traffic{Requests: 100, Errors: 1, Refused: 3, Broken: 2, Seconds: []float64{.1, .3, .30001, .4}})
		}
		wait(time.Hour)
		latency := group("latency", "checkout")
		latency.Indicator.Total, latency.Indicator.Bad, latency.Indicator.Good = "count(TargetResponseTime)", "", "count(TargetResponseTime <= 0.3)"
		slow := group("slow", "checkout")
		slow.Indicator.Total, slow.Indicator.Bad = "count(TargetResponseTime)", "count(TargetResponseTime > 0.4)"
		s := newSource(t, c, settings(), time.Minute, group("checkout", "checkout"), group("again", "checkout"), latency, slow,
			scoped("by-dimensions", selectors.CloudWatchScope{Dimensions: map[string]string{"LoadBalancer": shop.Dim, "TargetGroup": g.Dim}}, "RequestCount", "HTTPCode_Target_5XX_Count"),
			scoped("balancer", selectors.CloudWatchScope{LoadBalancer: &selectors.CloudWatchResource{Name: "shop"}},
				"RequestCount + HTTPCode_ELB_5XX_Count - HTTPCode_ELB_502_Count - HTTPCode_ELB_504_Count", "HTTPCode_Target_5XX_Count + HTTPCode_ELB_5XX_Count"))
		want := map[string][2]float64{"checkout": {1000, 10}, "again": {1000, 10}, "latency": {40, 20}, "slow": {40, 0}, "by-dimensions": {1000, 10}, "balancer": {1030, 60}}
		for _, got := range collect(t, s, dawn, dawn.Add(10*time.Minute)) {
			if total, bad := sums(got); got.Err != nil || got.Note != "" || total != want[got.SLO][0] || bad != want[got.SLO][1] {
				t.Errorf("%s: %g of %g bad, %v %q; want %v", got.SLO, bad, total, got.Err, got.Note, want[got.SLO])
			}
			if got.Covered[0].Duration() != 10*time.Minute || !got.Newest.Equal(dawn.Add(10*time.Minute)) {
				t.Errorf("%s: covered is %v, newest %s", got.SLO, got.Covered, got.Newest)
			}
			if at := got.Groups[0].Increments[0].At; !at.Equal(dawn.Add(time.Minute)) {
				t.Errorf("%s: the first minute is booked at %s, want its end", got.SLO, at)
			}
		}
		// Requests and errors of the group, its times thrice, five metrics of the balancer; then the
		// heartbeat, for the minutes before dawn.
		asked := c.Journal("GetMetricData")
		if len(asked) != 2 || asked[0].Queries != 10 || asked[1].Queries != 1 {
			t.Errorf("asked %+v", asked)
		}
		for _, r := range c.Journal() {
			if r.Status != 200 || r.Operation == "GetMetricData" && r.Host != "monitoring."+fake.Region+".amazonaws.com" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// By name, by tag, by ECS service, by group: the same requests.
func TestResources(t *testing.T) {
	within(t, fake.Options{}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
		shop, other := c.Balancer("shop", map[string]string{"team": "shop"}), c.Balancer("other", nil)
		blue, green := shop.Group("checkout-blue", map[string]string{"service": "checkout"}), shop.Group("checkout-green", map[string]string{"service": "checkout", "color": "green"})
		search := other.Group("search", map[string]string{"service": "search"})
		for i := range 60 {
			at := dawn.Add(time.Duration(i) * time.Minute)
			blue.Serve(at, fake.Traffic{Requests: 10, Errors: 1})
			green.Serve(at, fake.Traffic{Requests: 5})
			search.Serve(at, fake.Traffic{Requests: 3, Errors: 3})
		}
		service := c.Service("prod", "checkout", map[string]string{"service": "checkout"}, blue)
		service.Next = []*fake.Group{green}
		wait(time.Hour)
		named := func(name string) *selectors.CloudWatchResource { return &selectors.CloudWatchResource{Name: name} }
		tagged := func(key, value string) *selectors.CloudWatchResource {
			return &selectors.CloudWatchResource{Tags: map[string]string{key: value}}
		}
		ask := func(name string, scope selectors.CloudWatchScope, by ...string) sources.Question {
			return scoped(name, scope, "RequestCount", "HTTPCode_Target_5XX_Count", by...)
		}
		s := newSource(t, c, settings(), time.Minute,
			ask("name", selectors.CloudWatchScope{TargetGroup: named("checkout-blue")}),
			ask("tag", selectors.CloudWatchScope{TargetGroup: tagged("service", "checkout")}),
			ask("two-tags", selectors.CloudWatchScope{TargetGroup: &selectors.CloudWatchResource{Tags: map[string]string{"service": "checkout", "color": "green"}}}),
			ask("service", selectors.CloudWatchScope{ECSService: named("prod/checkout")}),
			ask("service-tag", selectors.CloudWatchScope{ECSService: tagged("service", "checkout")}),
			ask("balancer-tag", selectors.CloudWatchScope{LoadBalancer: tagged("team", "shop")}),
			ask("by-group", selectors.CloudWatchScope{LoadBalancer: named("shop")}, "TargetGroup"),
			ask("by-zone", selectors.CloudWatchScope{TargetGroup: named("search")}, "AvailabilityZone"),
			ask("open", selectors.CloudWatchScope{Dimensions: map[string]string{"LoadBalancer": shop.Dim}}, "TargetGroup"))
		want := map[string]string{
			"name": "[]=600/60", "tag": "[]=900/60", "two-tags": "[]=300/0", "service": "[]=900/60", "service-tag": "[]=900/60", "balancer-tag": "[]=900/60",
			"by-group": fmt.Sprintf("[%s]=600/60 [%s]=300/0", blue.Dim, green.Dim), "by-zone": "[" + fake.Region + "a]=180/180",
			"open": fmt.Sprintf("[%s]=600/60 [%s]=300/0", blue.Dim, green.Dim),
		}
		for _, got := range collect(t, s, dawn, dawn.Add(time.Hour)) {
			var said []string
			for _, g := range got.Groups {
				total, bad := sums(slo.Sample{Groups: []slo.GroupSample{g}})
				said = append(said, fmt.Sprintf("%v=%g/%g", g.Labels, total, bad))
			}
			slices.Sort(said)
			if text := strings.Join(said, " "); got.Err != nil || text != want[got.SLO] {
				t.Errorf("%s: %s, %v %s; want %s", got.SLO, text, got.Err, got.Note, want[got.SLO])
			}
		}
		for _, r := range c.Journal() {
			if r.Status != 200 {
				t.Errorf("%+v", r)
			}
		}

		// The deployment is over and blue is gone: what it counted is still asked for.
		service.Groups, service.Next = []*fake.Group{green}, nil
		for i := range 10 {
			green.Serve(dawn.Add(time.Hour+time.Duration(i)*time.Minute), fake.Traffic{Requests: 20})
		}
		wait(10 * time.Minute)
		for _, got := range collect(t, s, dawn.Add(time.Hour), dawn.Add(70*time.Minute), "service") {
			if total, bad := sums(got); got.Err != nil || total != 200 || bad != 0 || len(got.Covered) != 1 || got.Span.Duration() != 10*time.Minute {
				t.Errorf("%g of %g bad over %s, %v", bad, total, got.Span, got.Err)
			}
		}
	})
}

// Nothing, zero and late: which minutes are known.
func TestSilence(t *testing.T) {
	for _, silent := range []bool{false, true} {
		within(t, fake.Options{Silent: silent}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
			shop := c.Balancer("shop", nil)
			g, idle := shop.Group("checkout", nil), shop.Group("idle", nil)
			for i := range 60 {
				at, traffic := dawn.Add(time.Duration(i)*time.Minute), fake.Traffic{Requests: 10, Errors: 1}
				if i >= 20 && i < 40 {
					traffic = fake.Traffic{} // a quiet time: nothing is published but that targets are healthy
				}
				if i >= 50 {
					continue // CloudWatch itself is behind
				}
				g.Serve(at, traffic)
				idle.Serve(at, fake.Traffic{})
			}
			wait(time.Hour)
			mute := group("mute", "checkout")
			mute.Indicator.Scope = strings.Replace(mute.Indicator.Scope, "HealthyHostCount", "", 1)
			typo := group("typo", "checkout")
			typo.Indicator.Total = "RequestsCount"
			late := group("late", "checkout")
			late.Indicator.Bad = "HTTPCode_Target_5XX_Count + Invented"
			c.Count(fake.Metric{Namespace: "AWS/ApplicationELB", Name: "Invented", Dimensions: map[string]string{"LoadBalancer": shop.Dim, "TargetGroup": g.Dim}}, dawn.Add(55*time.Minute), 4)
			s := newSource(t, c, settings(), time.Minute, group("alive", "checkout"), mute, typo, late, group("idle", "idle"), group("unknown", "nobody"))
			for _, got := range collect(t, s, dawn, dawn.Add(time.Hour)) {
				total, bad := sums(got)
				say := fmt.Sprintf("%g/%g %s %t", total, bad, covered(got), got.Note != "")
				// Five minutes are vouched for by what was before.
				want := map[string]string{"alive": "300/30 54m0s false", "mute": "300/30 54m0s false", "typo": "0/0 0s true", "late": "300/30 54m0s false", "idle": "0/0 54m0s false", "unknown": "0/0 0s true"}
				if silent {
					want["mute"] = "300/30 38m0s false" // nobody says that it was alive
					want["idle"] = "0/0 0s true"        // RequestCount was never published: it may be a wrong name
				}
				if say != want[got.SLO] {
					t.Errorf("silent %t: %s: %s, want %s (%v, %s)", silent, got.SLO, say, want[got.SLO], got.Err, got.Note)
				}
			}
		})
	}
}

// Old time is asked for in the periods that CloudWatch still has, and no event is lost or doubled
// where one period ends and the next begins, however the past is cut.
func TestRetention(t *testing.T) {
	within(t, fake.Options{}, func(t *testing.T, c *fake.Cloud, now time.Time) {
		g := c.Balancer("shop", nil).Group("checkout", nil)
		random := rand.New(rand.NewPCG(1, 2))
		from, end := now.Add(-70*slo.Day), now.Add(-30*time.Minute)
		total, bad := 0, 0
		for at := from; at.Before(end); at = at.Add(7 * time.Minute) {
			n, e := random.IntN(20)+1, 0
			if n > 10 {
				e = random.IntN(n)
			}
			g.Serve(at, fake.Traffic{Requests: n, Errors: e})
			total, bad = total+n, bad+e
		}
		s := newSource(t, c, settings(), 30*time.Second, group("checkout", "checkout"))
		collect(t, s, now.Add(-time.Minute), now) // the present, so that the rest is the past
		sumTotal, sumBad := 0.0, 0.0
		for at := from; at.Before(end); {
			to := at.Add(time.Duration(1+random.IntN(500)) * 30 * time.Second)
			if to.After(now.Add(-30 * time.Second)) {
				to = now.Add(-30 * time.Second)
			}
			got := collect(t, s, at, to)[0]
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			last := at
			for _, inc := range booked(got) {
				if !inc.At.After(last) || inc.At.After(to) || inc.Bad > inc.Total {
					t.Fatalf("%v in (%s, %s]", inc, at, to)
				}
				last = inc.At
			}
			a, b := sums(got)
			sumTotal, sumBad = sumTotal+a, sumBad+b
			at = to
			wait(time.Duration(random.IntN(120)) * time.Second) // retention moves on meanwhile
		}
		if sumTotal != float64(total) || sumBad != float64(bad) {
			t.Errorf("%g of %g bad, want %d of %d", sumBad, sumTotal, bad, total)
		}
		periods := map[int32]int{}
		for _, r := range c.Journal("GetMetricData") {
			for _, p := range r.Periods {
				periods[p]++
			}
		}
		if periods[60] == 0 || periods[300] == 0 || periods[3600] == 0 || len(periods) != 3 {
			t.Errorf("asked in periods %v", periods)
		}
	})
}

// Long answers come in pages; what a page calls partial is counted when the last one is complete.
func TestPages(t *testing.T) {
	within(t, fake.Options{PageSize: 97}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
		shop := c.Balancer("shop", nil)
		var questions []sources.Question
		for i := range 6 {
			name := fmt.Sprint("group-", i)
			g := shop.Group(name, nil)
			for m := range 60 {
				g.Serve(dawn.Add(time.Duration(m)*time.Minute), fake.Traffic{Requests: 10 * (i + 1), Errors: m % 2})
			}
			questions = append(questions, group(name, name))
		}
		wait(time.Hour)
		s := newSource(t, c, settings(), time.Minute, questions...)
		for i, got := range collect(t, s, dawn, dawn.Add(time.Hour)) {
			if total, bad := sums(got); got.Err != nil || total != float64(600*(i+1)) || bad != 30 {
				t.Errorf("%s: %g of %g bad, %v", got.SLO, bad, total, got.Err)
			}
		}
		if n := len(c.Journal("GetMetricData")); n < 6*90/97+1 {
			t.Errorf("%d requests", n)
		}
	})
}

// More than 500 metrics are asked for in several requests.
func TestManyMetrics(t *testing.T) {
	within(t, fake.Options{}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
		shop := c.Balancer("shop", nil)
		var questions []sources.Question
		for i := range 400 {
			name := fmt.Sprint("group-", i)
			shop.Group(name, nil).Serve(dawn, fake.Traffic{Requests: i + 1, Errors: 1})
			questions = append(questions, group(name, name))
		}
		wait(10 * time.Minute)
		s := newSource(t, c, settings(), time.Minute, questions...)
		for i, got := range collect(t, s, dawn, dawn.Add(time.Minute)) {
			if total, bad := sums(got); got.Err != nil || total != float64(i+1) || bad != 1 {
				t.Errorf("%s: %g of %g bad, %v", got.SLO, bad, total, got.Err)
			}
		}
		for i, r := range c.Journal("GetMetricData") {
			if want := []int{500, 300}; i < 2 && r.Queries != want[i] && r.Queries != want[1-i] {
				t.Errorf("request %d asks %d queries", i, r.Queries)
			}
		}
	})
}

// What CloudWatch does not call complete is not counted, and costs nobody else anything.
func TestIncomplete(t *testing.T) {
	for result, reason := range map[string]string{"PartialData": "partial", "InternalError": "partial", "Forbidden": "http_4xx"} {
		within(t, fake.Options{}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
			g := c.Balancer("shop", nil).Group("checkout", nil)
			for m := range 10 {
				g.Serve(dawn.Add(time.Duration(m)*time.Minute), fake.Traffic{Requests: 10, Errors: 1, Seconds: []float64{1, 2}})
			}
			wait(time.Hour)
			latency := group("latency", "checkout")
			latency.Indicator.Total, latency.Indicator.Bad = "count(TargetResponseTime)", "count(TargetResponseTime > 1.5)"
			s := newSource(t, c, settings(), time.Minute, group("checkout", "checkout"), latency)
			c.Fault(fake.Fault{Metric: "TargetResponseTime", Result: result})
			got := collect(t, s, dawn, dawn.Add(10*time.Minute))
			var own interface{ Reason() string }
			if total, bad := sums(got[0]); got[0].Err != nil || total != 100 || bad != 10 {
				t.Errorf("%g of %g bad, %v", bad, total, got[0].Err)
			}
			if !errors.As(got[1].Err, &own) || own.Reason() != reason || !strings.Contains(got[1].Err.Error(), "source aws: slo latency: metric data: SampleCount of TargetResponseTime is not complete: CloudWatch says "+result) {
				t.Errorf("error %v", got[1].Err)
			}
			c.Heal()
			if total, bad := sums(collect(t, s, dawn, dawn.Add(10*time.Minute), "latency")[0]); total != 20 || bad != 10 {
				t.Errorf("%g of %g bad", bad, total)
			}
		})
	}
}

// One query that AWS does not take fails alone, and is asked by itself afterwards, now and then.
func TestRefused(t *testing.T) {
	within(t, fake.Options{}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
		shop := c.Balancer("shop", nil)
		var questions []sources.Question
		for i := range 8 {
			name := fmt.Sprint("group-", i)
			g := shop.Group(name, nil)
			for m := range 60 {
				g.Serve(dawn.Add(time.Duration(m)*time.Minute), fake.Traffic{Requests: 10, Errors: 1})
			}
			questions = append(questions, group(name, name))
		}
		questions[3].Indicator.Bad = "Forbidden5xx"
		c.Fault(fake.Fault{Metric: "Forbidden5xx", Code: "ValidationError"})
		s := newSource(t, c, settings(), time.Minute, questions...)
		for m := 10; m < 40; m++ {
			wait(time.Until(dawn.Add(time.Duration(m+1) * time.Minute)))
			for i, got := range collect(t, s, dawn.Add(time.Duration(m-1)*time.Minute), dawn.Add(time.Duration(m)*time.Minute)) {
				if i == 3 {
					if got.Err == nil || !strings.Contains(got.Err.Error(), "slo group-3: metric data: ValidationError: a fault of the test") {
						t.Errorf("error %v", got.Err)
					}
				} else if got.Err != nil || len(got.Groups) != 1 {
					t.Errorf("%s: %v", got.SLO, got.Err)
				}
			}
		}
		if n := len(c.Journal("GetMetricData")); n > 30+30+2*4+4 { // with the heartbeats of the first minutes
			t.Errorf("%d requests", n)
		}
	})
}

// Late points are learnt, and only what changed is put again.
func TestLatePoints(t *testing.T) {
	within(t, fake.Options{Visible: time.Minute}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
		g := c.Balancer("shop", nil).Group("checkout", nil)
		engine, err := slo.NewEngine(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		target, err := slo.ParsePercent("99")
		if err != nil {
			t.Fatal(err)
		}
		period := slo.RollingPeriod(slo.Day)
		engine.Set([]slo.Objective{{Name: "checkout", Target: target, Period: period, Policy: slo.Workbook(period), Fractional: true}})
		random := rand.New(rand.NewPCG(3, 4))
		var total, bad float64
		for m := range 180 {
			n, e := 1+random.IntN(100), random.IntN(3)
			late := time.Duration(0)
			if random.IntN(5) == 0 {
				late = time.Duration(random.IntN(50)) * time.Minute
			}
			g.Serve(dawn.Add(time.Duration(m)*time.Minute), fake.Traffic{Requests: n, Errors: min(n, e), Late: late})
			total, bad = total+float64(n), bad+float64(min(n, e))
		}
		s := newSource(t, c, settings(), 30*time.Second, group("checkout", "checkout"))
		wide := 0
		for to := dawn.Add(time.Minute); to.Before(dawn.Add(4 * time.Hour)); to = to.Add(30 * time.Second) {
			wait(time.Until(to.Add(3 * time.Minute)))
			got := collect(t, s, to.Add(-30*time.Second), to)
			if got[0].Span.Duration() > 30*time.Second {
				wide++
			}
			if err := engine.Observe(got...); err != nil {
				t.Fatal(err)
			}
		}
		gotTotal, gotBad := engine.Count("checkout", nil, slo.Span{From: dawn, To: dawn.Add(4*time.Hour - 30*time.Second)})
		if gotTotal != total || gotBad != bad {
			t.Errorf("%g of %g bad, want %g of %g", gotBad, gotTotal, bad, total)
		}
		if wide == 0 || wide > 120 {
			t.Errorf("%d answers reached back", wide)
		}
		if n := len(c.Journal("GetMetricData")); n > 2*240+2 { // a tick in which no minute ends asks nothing
			t.Errorf("%d requests in four hours", n)
		}
	})
}

// Throttled, the source asks slower, the present first, and still gets everything.
func TestThrottling(t *testing.T) {
	within(t, fake.Options{Quota: 1}, func(t *testing.T, c *fake.Cloud, now time.Time) {
		g := c.Balancer("shop", nil).Group("checkout", nil)
		for m := range 12 * 60 {
			g.Serve(now.Add(-time.Duration(m+1)*time.Minute), fake.Traffic{Requests: 10, Errors: 1})
		}
		c.Fault(fake.Fault{Operation: "GetMetricData", Code: "ThrottlingException", Chance: 0.5, Times: 20})
		eager := settings()
		eager.Limits.RequestsPerSecond = 5 // of which there is one
		s := newSource(t, c, eager, time.Minute, group("checkout", "checkout"))
		collect(t, s, now.Add(-time.Minute), now)
		type done struct {
			total float64
			err   error
			took  time.Duration
		}
		results := make(chan done)
		ask := func(from, to time.Time) {
			began := time.Now()
			got, err := s.Collect(t.Context(), slo.Span{From: from, To: to})
			d := done{err: err, took: time.Since(began)}
			if err == nil {
				d.total, _ = sums(got[0])
				d.err = got[0].Err
			}
			results <- d
		}
		for i := range 11 {
			go ask(now.Add(-time.Duration(i+1)*time.Hour), now.Add(-time.Duration(i)*time.Hour-time.Minute))
		}
		for range 11 {
			if d := <-results; d.err != nil || d.total != 590 {
				t.Errorf("%g events, %v after %s", d.total, d.err, d.took)
			}
		}
		refused := 0
		for _, r := range c.Journal("GetMetricData") {
			if r.Status != 200 {
				refused++
			}
		}
		if refused == 0 || refused > 30 {
			t.Errorf("%d requests were refused", refused)
		}

		// For good: it gives up after a while, and says so.
		c.Fault(fake.Fault{Operation: "GetMetricData", Code: "ThrottlingException"})
		wait(10 * time.Minute)
		before := len(c.Journal("GetMetricData"))
		got := collect(t, s, now, now.Add(10*time.Minute))
		var own interface{ Reason() string }
		if !errors.As(got[0].Err, &own) || own.Reason() != "limit" || !strings.Contains(got[0].Err.Error(), "AWS throttles") {
			t.Errorf("error %v", got[0].Err)
		}
		if n := len(c.Journal("GetMetricData")) - before; n < 3 || n > 10 {
			t.Errorf("%d requests", n)
		}
	})
}

// Statistic sets have no percentiles: they are said to have none, not to be slow or quick.
func TestStatisticSets(t *testing.T) {
	within(t, fake.Options{}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
		dims := map[string]string{"Service": "checkout"}
		for m := range 10 {
			c.Put(fake.Metric{Namespace: "Shop", Name: "Latency", Dimensions: dims}, fake.Datum{At: dawn.Add(time.Duration(m) * time.Minute), Sum: 4, Count: 10})
		}
		wait(time.Hour)
		s := newSource(t, c, settings(), time.Minute, scoped("latency", selectors.CloudWatchScope{Namespace: "Shop", Dimensions: dims}, "count(Latency)", "count(Latency > 1)"))
		got := collect(t, s, dawn, dawn.Add(10*time.Minute))[0]
		if got.Err != nil || len(got.Covered) != 0 || len(got.Groups) != 0 || !strings.Contains(got.Note, "without percentiles") {
			t.Errorf("%+v", got)
		}
	})
}

func TestRights(t *testing.T) {
	within(t, fake.Options{}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
		c.Balancer("shop", nil).Group("checkout", nil).Serve(dawn, fake.Traffic{Requests: 1})
		wait(5 * time.Minute)
		for operation, right := range map[string]string{"GetMetricData": "cloudwatch:GetMetricData", "ListMetrics": "cloudwatch:ListMetrics"} {
			s := newSource(t, c, settings(), time.Minute, group("checkout", "checkout"))
			c.Fault(fake.Fault{Operation: operation, Code: "AccessDenied", Status: 403})
			got := collect(t, s, dawn, dawn.Add(time.Minute))[0]
			var own interface{ Reason() string }
			if got.Err == nil || !strings.HasSuffix(got.Err.Error(), "does the role allow "+right+"?") || !errors.As(got.Err, &own) || own.Reason() != "http_4xx" {
				t.Errorf("%s: %v", operation, got.Err)
			}
			c.Heal()
		}
	})
}

func TestLive(t *testing.T) {
	within(t, fake.Options{}, func(t *testing.T, c *fake.Cloud, now time.Time) {
		g := c.Balancer("shop", nil).Group("checkout", nil)
		for m := range 3 * 60 {
			g.Serve(now.Add(-time.Duration(m+1)*time.Minute), fake.Traffic{Requests: 10, Errors: 1})
		}
		more := group("more", "checkout")
		more.Indicator.Total, more.Indicator.Bad = "HTTPCode_Target_5XX_Count", "RequestCount"
		s := newSource(t, c, settings(), 30*time.Second, group("checkout", "checkout"), group("nobody", "nobody"), more)
		found, err := s.Live(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{
			"1 resource; 1800 events in the last three hours, 180 of them bad; all SLOs of this source together: 2 metrics every 1m, 1 more while all is silent: at most 129600 a month, some 1.30 USD",
			"no target group that is meant had RequestCount within two weeks: is it there, and in this region?",
			"bad is not within total: 1800 of 180 events in the last three hours; do both count the same requests?",
		} {
			if got := found[i]; got.Text() != want || got.Fault() != (i > 0) {
				t.Errorf("%s: %s, fault %t", got.SLO, got.Text(), got.Fault())
			}
		}
	})
}
