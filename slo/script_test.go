package slo_test

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// The scripts of testdata read like the arithmetic they check:
//
//	objective 99.9% 30d        one objective, the workbook policy
//	tick 30s
//	slices timeslices 1m 95%   the budget counts slices
//	load 30s 1/100x120 0/50    every 30 s: 1 bad of 100, 120 times; then 0 of 50
//	silent 10m                 answered: no events
//	down 10m                   not answered
//	correct drop -1h 30m       takes what was from an hour ago until half an hour from now out of the
//	                           SLO, or (good) its bad events; correct none: no corrections any more
//	again                      asks the source once more for all that is still to be asked for
//	eval                       at the present moment:
//	  burn_rate 5m 15            undefined is written –
//	  alert page firing          firing, quiet or held
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			s := &script{t: t, file: file, tick: 30 * time.Second, now: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
			lines := bufio.NewScanner(f)
			for lines.Scan() {
				s.line++
				text, _, _ := strings.Cut(lines.Text(), "#")
				if words := strings.Fields(text); len(words) > 0 {
					s.do(words)
				}
			}
			if s.checks == 0 {
				t.Error("the script checks nothing")
			}
		})
	}
}

type script struct {
	t      *testing.T
	file   string
	line   int
	tick   time.Duration
	now    time.Time
	o      slo.Objective
	engine *slo.Engine
	status slo.Status
	checks int
	told   []slo.Increment // all that the source ever said
	began  time.Time
}

func (s *script) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s:%d: %s", s.file, s.line, fmt.Sprintf(format, args...))
}

func (s *script) duration(text string) time.Duration {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil {
			s.fail("%v", err)
		}
		return time.Duration(n) * slo.Day
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		s.fail("%v", err)
	}
	return d
}

func (s *script) share(text string) slo.Share {
	p, err := slo.ParsePercent(text)
	if err != nil {
		s.fail("%v", err)
	}
	return p
}

func (s *script) do(words []string) {
	switch words[0] {
	case "tick":
		s.tick = s.duration(words[1])
	case "start":
		at, err := time.Parse(time.RFC3339, words[1])
		if err != nil {
			s.fail("%v", err)
		}
		s.now = at
	case "objective":
		var period slo.Period
		if c := slo.Calendar(words[2]); c.Nominal() > 0 {
			zone := time.UTC
			if len(words) > 3 {
				var err error
				if zone, err = time.LoadLocation(words[3]); err != nil {
					s.fail("%v", err)
				}
			}
			period = slo.CalendarPeriod(c, zone)
		} else {
			period = slo.RollingPeriod(s.duration(words[2]))
		}
		s.o = slo.Objective{Name: "it", Target: s.share(words[1]), Period: period, Policy: slo.Workbook(period)}
	case "guard":
		for i := 1; i+1 < len(words); i += 2 {
			v, err := strconv.ParseFloat(words[i+1], 64)
			if err != nil {
				s.fail("%v", err)
			}
			switch words[i] {
			case "min_bad_events":
				s.o.Policy.MinBadEvents = v
			case "z":
				s.o.Policy.Confidence = v
			}
		}
	case "slices":
		s.o.Budgeting = slo.Budgeting{Method: slo.Method(words[1]), Slice: s.duration(words[2])}
		for _, w := range words[3:] {
			if strings.HasSuffix(w, "%") {
				s.o.Budgeting.Target = s.share(w)
			} else {
				s.o.Budgeting.Empty = slo.Empty(w)
			}
		}
	case "load":
		s.load(s.duration(words[1]), words[2:])
	case "silent":
		s.answer(s.duration(words[1]), nil)
	case "correct":
		s.start()
		if words[1] == "none" {
			s.o.Corrections = nil
		} else {
			at := func(text string) time.Time {
				if back, ok := strings.CutPrefix(text, "-"); ok {
					return s.now.Add(-s.duration(back))
				}
				return s.now.Add(s.duration(text))
			}
			s.o.Corrections = append(slices.Clone(s.o.Corrections), slo.Correction{
				Name: fmt.Sprint(len(s.o.Corrections)), Effect: slo.Effect(words[1]), When: slo.Once{From: at(words[2]), To: at(words[3])},
			})
		}
		s.engine.Set([]slo.Objective{s.o})
	case "again":
		for _, missing := range s.engine.Unanswered("it", slo.Span{From: s.began, To: s.now}) {
			span := s.engine.Aligned("it", missing)
			var incs []slo.Increment
			for _, inc := range s.told {
				if span.Holds(inc.At) {
					incs = append(incs, inc)
				}
			}
			if err := s.engine.Observe(slo.Sample{SLO: "it", Span: span, Covered: []slo.Span{span}, Groups: []slo.GroupSample{{Increments: incs}}}); err != nil {
				s.fail("%v", err)
			}
		}
	case "down":
		s.start()
		s.now = s.now.Add(s.duration(words[1]))
	case "eval":
		s.start()
		all := s.engine.Evaluate(s.now)
		if len(all) != 1 {
			s.fail("%d rows", len(all))
		}
		s.status = all[0]
	default:
		s.check(words)
	}
}

func (s *script) start() {
	if s.engine != nil {
		return
	}
	engine, err := slo.NewEngine(s.tick)
	if err != nil {
		s.fail("%v", err)
	}
	engine.Set([]slo.Objective{s.o})
	s.engine, s.began = engine, s.now
}

func (s *script) answer(d time.Duration, incs []slo.Increment) {
	s.start()
	span := slo.Span{From: s.now, To: s.now.Add(d)}
	err := s.engine.Observe(slo.Sample{
		SLO: "it", Span: span, Covered: []slo.Span{span}, Newest: span.To,
		Groups: []slo.GroupSample{{Increments: incs}},
	})
	if err != nil {
		s.fail("%v", err)
	}
	s.told = append(s.told, incs...)
	s.now = span.To
}

func (s *script) load(every time.Duration, parts []string) {
	for _, part := range parts {
		one, times, repeated := strings.Cut(part, "x")
		n := 1
		if repeated {
			var err error
			if n, err = strconv.Atoi(times); err != nil {
				s.fail("%v", err)
			}
		}
		bad, total, _ := strings.Cut(one, "/")
		b, err1 := strconv.ParseFloat(bad, 64)
		tt, err2 := strconv.ParseFloat(total, 64)
		if err1 != nil || err2 != nil {
			s.fail("%q is not bad/total", one)
		}
		for range n {
			s.answer(every, []slo.Increment{{At: s.now.Add(every), Total: tt, Bad: b}})
		}
	}
}

func (s *script) check(words []string) {
	s.t.Helper()
	s.checks++
	window := func(key string) slo.Window {
		for _, w := range s.status.Windows {
			if w.Key == key || key == "period" && w.IsPeriod {
				return w
			}
		}
		s.fail("no window %s", key)
		return slo.Window{}
	}
	switch words[0] {
	case "total":
		s.same(words, slo.Defined(window(words[1]).Total))
	case "bad":
		s.same(words, slo.Defined(window(words[1]).Bad))
	case "coverage":
		s.same(words, slo.Defined(window(words[1]).Coverage))
	case "error_ratio":
		s.same(words, window(words[1]).ErrorRatio)
	case "burn_rate":
		s.same(words, window(words[1]).BurnRate)
	case "allowed":
		s.same(words, slo.Defined(s.status.Budget.Allowed))
	case "remaining":
		s.same(words, slo.Defined(s.status.Budget.RemainingRatio))
	case "corrected":
		s.same(words, slo.Defined(s.status.Corrections[0].Applied.Seconds()))
	case "approximate":
		s.same(words, slo.Defined(s.status.Corrections[0].Approximate.Seconds()))
	case "exhaustion":
		s.same(words, s.status.Budget.Exhaustion)
	case "burn_ratio":
		for _, a := range s.status.Alerts {
			if a.Severity == words[1] {
				s.same(words, a.BurnRatio)
				return
			}
		}
		s.fail("no severity %s", words[1])
	case "alert":
		for _, a := range s.status.Alerts {
			if a.Severity != words[1] {
				continue
			}
			got := "quiet"
			if a.Firing {
				got = "firing"
			}
			for _, p := range a.Pairs {
				if p.Firing && p.Held {
					got = "held"
				}
			}
			if got != words[2] {
				s.fail("%s is %s, want %s: %+v", words[1], got, words[2], a)
			}
			return
		}
		s.fail("no severity %s", words[1])
	default:
		s.fail("unknown word %s", words[0])
	}
}

func (s *script) same(words []string, got slo.Value) {
	s.t.Helper()
	want := words[len(words)-1]
	if want == "–" {
		if got.Defined {
			s.fail("%s is %v, want it undefined", strings.Join(words[:len(words)-1], " "), got.Float)
		}
		return
	}
	v, err := strconv.ParseFloat(want, 64)
	if err != nil {
		s.fail("%v", err)
	}
	if !got.Defined || math.Abs(got.Float-v) > 1e-9*math.Max(1, math.Abs(v)) {
		s.fail("%s is %v, want %v", strings.Join(words[:len(words)-1], " "), got, v)
	}
}
