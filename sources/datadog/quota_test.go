package datadog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// present asks a source for what is new, minute by minute, as the loop does: what was not answered
// is part of the next span. It returns when it was answered.
func present(ctx context.Context, s *Source, answered func(slo.Sample)) (at []time.Time) {
	last := time.Now().Truncate(time.Minute)
	for ctx.Err() == nil {
		wait := time.NewTimer(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			return at
		}
		to := time.Now().Truncate(time.Minute)
		samples, err := s.Collect(ctx, slo.Span{From: last, To: to})
		if err != nil || samples[0].Err != nil {
			continue
		}
		at = append(at, time.Now())
		last = to
		for _, one := range samples {
			answered(one)
		}
	}
	return at
}

// apart is the longest time between two moments up to an end.
func apart(at []time.Time, began, end time.Time) (longest time.Duration) {
	for _, now := range append(at, end) {
		if now.After(end) {
			break
		}
		longest, began = max(longest, now.Sub(began)), now
	}
	return longest
}

// hours is how many requests came in each hour of the bubble.
func hours(f *fake.Datadog, began time.Time) []int {
	var out []int
	for _, r := range f.Journal() {
		h := int(r.At.Sub(began) / time.Hour)
		for len(out) <= h {
			out = append(out, 0)
		}
		out[h]++
	}
	return out
}

// Where the present needs more than the organisation can give, it asks less often, evenly, never
// takes more than its share, leaves the last fifth to others whatever they do, and loses nothing.
func TestStarvation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake.New(fake.Options{Clock: time.Now})
		const limit = 100
		f.Quota("query", limit, time.Hour)
		var questions []sources.Question
		for i := range 70 {
			questions = append(questions, counts(fmt.Sprint("slo-", i), "sum:http.hits{*}", fmt.Sprintf("sum:http.hits{code:500,!shard:%d}", i)))
		}
		began := time.Now()
		total := 0.0
		for i := range 4 * 60 {
			traffic(f, began.Add(time.Duration(i)*time.Minute), 9, 1)
			total += 10
		}
		s := newSource(t, f, settings(t), time.Minute, questions...)
		if s.quota.round < 2 {
			t.Fatalf("%d requests a round, want several", s.quota.round)
		}
		engine, err := slo.NewEngine(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var objectives []slo.Objective
		target, _ := slo.ParsePercent("99")
		for _, q := range questions {
			objectives = append(objectives, slo.Objective{Name: q.SLO, Target: target, Period: slo.RollingPeriod(slo.Day)})
		}
		engine.Set(objectives)
		ctx, stop := context.WithTimeout(t.Context(), 4*time.Hour+30*time.Minute)
		defer stop()
		used := time.AfterFunc(2*time.Hour+time.Second, func() { f.UseQuota("query", 70) })
		defer used.Stop()
		at := present(ctx, s, func(one slo.Sample) {
			if err := engine.Observe(one); err != nil {
				t.Error(err)
			}
		})
		for h, n := range hours(f, began) {
			if most := map[bool]int{true: 10, false: limit / 2}[h == 2]; n > most || h < 4 && n < most*3/4 {
				t.Errorf("%d requests in hour %d, want nearly %d and no more", n, h, most)
			}
		}
		if long := apart(at, began, began.Add(2*time.Hour)); long > 6*time.Minute {
			t.Errorf("%s without an answer while there was enough for every %s", long, time.Hour*time.Duration(s.quota.round)/(limit/2))
		}
		if long := apart(at, began, began.Add(4*time.Hour)); long > time.Hour {
			t.Errorf("%s without an answer", long)
		}
		for _, q := range questions {
			if got, _ := engine.Count(q.SLO, nil, slo.Span{From: began, To: began.Add(4 * time.Hour)}); got != total {
				t.Errorf("%s: %g events in the end, want %g", q.SLO, got, total)
			}
		}
	})
}

// The past takes what the present does not need, and nothing of what it will.
func TestPresentBeforePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake.New(fake.Options{Clock: time.Now})
		const limit = 200
		f.Quota("query", limit, time.Hour)
		began := time.Now()
		traffic(f, began, 9, 1)
		s := newSource(t, f, settings(t), time.Minute, checkout)
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Hour-time.Minute)
		defer stop()
		past := make(chan int)
		go func() {
			done, span := 0, slo.Span{To: began.Add(-time.Hour)}
			for ctx.Err() == nil {
				span.From = span.To.Add(-4 * time.Hour)
				if samples, err := s.Collect(ctx, span); err == nil && samples[0].Err == nil {
					done++
					span.To = span.From
					continue
				}
				select { // the loop asks a failed piece of the past again after a while
				case <-time.After(time.Minute):
				case <-ctx.Done():
				}
			}
			past <- done
		}()
		if long := apart(present(ctx, s, func(slo.Sample) {}), began, began.Add(170*time.Minute)); long > 2*time.Minute {
			t.Errorf("%s without an answer for the present", long)
		}
		if done := <-past; done < 3*(limit/2-60)-5 {
			t.Errorf("%d pieces of the past in three hours", done)
		}
		for h, n := range hours(f, began) {
			if n > limit/2 {
				t.Errorf("%d requests in hour %d, want at most %d", n, h, limit/2)
			}
		}
	})
}

// After a 429 nothing is asked until the limit begins anew, or for a while where it does not say.
func TestTooManyRequests(t *testing.T) {
	for _, c := range []struct {
		reset string
		quiet time.Duration
	}{{"1200", 20 * time.Minute}, {"", 30 * time.Second}, {"soon", 30 * time.Second}, {"-5", 30 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			f := fake.New(fake.Options{Clock: time.Now})
			s := newSource(t, f, settings(t), 30*time.Second, checkout)
			began := time.Now()
			f.Fault(fake.Fault{Times: 1, Do: fake.TooMany(c.reset)})
			span := slo.Span{From: began.Add(-time.Minute), To: began}
			got := collect(t, s, span)[0]
			if got.Err == nil || !strings.HasPrefix(got.Err.Error(), "source dd: slo checkout: query: 429 Too Many Requests") {
				t.Errorf("error %v", got.Err)
			}
			for {
				_, err := s.Collect(t.Context(), span)
				if err == nil {
					break
				}
				var own interface{ Reason() string }
				if !errors.As(err, &own) || own.Reason() != "limit" {
					t.Fatalf("error %v", err)
				}
				<-time.After(10 * time.Second)
			}
			if n, quiet := len(f.Journal()), time.Since(began); n != 2 || quiet < c.quiet || quiet > c.quiet+10*time.Second {
				t.Errorf("reset %q: %d requests, quiet for %s, want %s", c.reset, n, quiet, c.quiet)
			}
		})
	}
}

// An organisation behind a proxy that drops the headers is asked all the same.
func TestQuotaUnknown(t *testing.T) {
	f := fake.New(fake.Options{Now: dawn.Add(time.Hour)})
	f.Quota("query", 0, time.Hour)
	traffic(f, dawn, 9, 1)
	s := newSource(t, f, settings(t), time.Minute, checkout)
	for i := range 100 {
		collect(t, s, span(time.Duration(i)*time.Minute, time.Duration(i+1)*time.Minute))
	}
	if limit, _ := s.quota.known(); limit != 0 || len(f.Journal()) != 100 {
		t.Errorf("limit %d, %d requests", limit, len(f.Journal()))
	}
}
