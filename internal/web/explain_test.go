package web_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// Numbers that were worked out with paper and pencil, each with the line it stands in.
func TestExplainText(t *testing.T) {
	_, body, _ := ask(face(t, web.Options{}, sinktest.Report()), "GET", "/explain?slo=checkout-availability")
	for _, line := range []string{
		"checkout-availability",
		"  objective  99.9% over 30d, so 1 − objective = 0.001",
		"  counts     events, exactly",
		"  at         2026-01-02T00:00:00Z, newest answered moment 2026-01-01T23:59:50Z",
		"  5m  (2026-01-01T23:55:00Z, 2026-01-02T00:00:00Z]",
		"  30d  (2025-12-03T00:00:00Z, 2026-01-02T00:00:00Z]",
		"      total 21600000, bad 5400, coverage 0.9995",
		"      error_ratio = bad / total = 540 / 30000 = 0.018",
		"      burn_rate = error_ratio / (1 − objective) = 0.018 / 0.001 = 18",
		"  allowed = (1 − objective) · total = 0.001 · 21600000 = 21600",
		"  spent = bad = 5400",
		"  remaining_ratio = 1 − bad / allowed = 1 − 5400 / 21600 = 0.75",
		"  exhaustion_seconds = remaining_ratio · period / burn_rate = 0.75 · 2592000 / 1.25 = 1555200 (by the burn rate of 1d, the longest window of an alert that burns faster than the period)",
		"  page: firing, burn ratio 1.25",
		"    1h and 5m, factor 14.4: firing",
		"      1h: bad > factor · (1 − objective) · total: 540 > 14.4 · 0.001 · 30000 = 432: holds",
		"      5m: bad > factor · (1 − objective) · total: 50 > 14.4 · 0.001 · 2500 = 36: holds",
		"    6h and 30m, factor 6: quiet",
		"      6h: bad > factor · (1 − objective) · total: 630 > 6 · 0.001 · 180000 = 1080: does not hold",
		"      30m: bad > factor · (1 − objective) · total: 285 > 6 · 0.001 · 15000 = 90: holds",
	} {
		if !strings.Contains("\n"+body, "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, body)
		}
	}
}

// What is not known is said to be unknown, and why.
func TestExplainTheUnknown(t *testing.T) {
	_, body, _ := ask(face(t, web.Options{}, sinktest.Unknown()), "GET", "/explain?slo=carts")
	for _, part := range []string{
		"nothing answered yet\n",
		"  note       histogram has no bucket 0.25: the bounds around it are 0.1 and 0.5\n",
		"error_ratio = bad / total = undefined (undefined: no events)\n",
		"= undefined (undefined: the source answered for no part of the window)\n",
		"remaining_ratio = 1 − bad / allowed = 1 (nothing was counted, nothing is spent)\n",
		"page: quiet, burn ratio undefined\n",
		"a window is without coverage, and no earlier state is young enough to keep\n",
	} {
		if !strings.Contains(body, part) {
			t.Errorf("no %q in\n%s", part, body)
		}
	}
}

// A grouped objective over a calendar month: every group, or the one that was asked for.
func TestExplainGroups(t *testing.T) {
	h := face(t, web.Options{}, sinktest.Report())
	_, both, _ := ask(h, "GET", "/explain?slo=search-latency")
	_, one, _ := ask(h, "GET", "/explain?slo=search-latency&route=%2Fitems")
	const first, other = "search-latency{route=\"/items\"}\n", "\n\n\nsearch-latency{route=\"_other\"}\n"
	if !strings.HasPrefix(both, first) || !strings.Contains(both, other) || !strings.HasPrefix(one, first) || strings.Contains(one, other) {
		t.Errorf("both groups\n%s\n\nand one\n%s", both, one)
	}
	if want := "  month  (2026-01-01T00:00:00Z, 2026-01-02T00:00:00Z]\n"; !strings.Contains(one, want) {
		t.Errorf("no %q: the period begins with the month", want)
	}
	if want := "burn_rate = error_ratio / (1 − objective) = 0 (covered silence burns nothing)\n"; !strings.Contains(one, want) {
		t.Errorf("no %q", want)
	}
}

func TestExplainRefuses(t *testing.T) {
	h := face(t, web.Options{}, sinktest.Report())
	for _, f := range []struct {
		target, accept string
		status         int
		body           string
	}{
		{"/explain", "", 400, `name an SLO, as in /explain?slo=NAME; there are 2: ["checkout-availability" "search-latency"]` + "\n"},
		{"/explain?slo=search-latenzy", "", 404, `slo "search-latenzy": unknown, did you mean "search-latency"?` + "\n"},
		{"/explain?slo=search-latenzy", "application/json", 404, `{"error":"slo \"search-latenzy\": unknown, did you mean \"search-latency\"?"}` + "\n"},
		{"/explain?slo=<script>", "", 404, `slo "<script>": unknown` + "\n"},
		{"/explain?slo=search-latency&format=pdf", "", 400, `format "pdf": use text or json` + "\n"},
	} {
		status, body, header := ask(h, "GET", strings.ReplaceAll(strings.ReplaceAll(f.target, "<", "%3C"), ">", "%3E"), "Accept", f.accept)
		if status != f.status || body != f.body {
			t.Errorf("%s: got %d %s, want %d %s", f.target, status, body, f.status, f.body)
		}
		if strings.Contains(header.Get("Content-Type"), "html") {
			t.Errorf("%s: %s", f.target, header.Get("Content-Type"))
		}
	}
}

func TestExplainNegotiates(t *testing.T) {
	h := face(t, web.Options{}, sinktest.Report())
	for _, f := range []struct {
		name, accept, format string
		json                 bool
	}{
		{"curl", "*/*", "", false},
		{"nothing said", "", "", false},
		{"a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "", false},
		{"a program", "application/json", "", true},
		{"a program that takes what it gets", "application/json, text/plain, */*", "", true},
		{"rather text", "application/json;q=0.5, text/plain", "", false},
		{"anything but JSON", "application/json;q=0", "", false},
		{"the address wins", "text/html", "&format=json", true},
		{"the address wins again", "application/json", "&format=text", false},
		{"nonsense", ";;,/", "", false},
	} {
		_, body, header := ask(h, "GET", "/explain?slo=search-latency"+f.format, "Accept", f.accept)
		if isJSON := json.Valid([]byte(body)); isJSON != f.json || header.Get("Vary") != "Accept" {
			t.Errorf("%s: JSON %v, want %v; Vary %q", f.name, isJSON, f.json, header.Get("Vary"))
		}
	}
}

// An objective may be grouped by a label that is called format.
func TestExplainGroupedByFormat(t *testing.T) {
	o := sinktest.Objective("pictures", "cdn", "99", slo.RollingPeriod(7*slo.Day))
	o.GroupBy = []string{"format"}
	r := &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{
		sinktest.Status(o, []string{"json"}, nil), sinktest.Status(o, []string{"webp"}, nil),
	}}
	_, body, _ := ask(face(t, web.Options{}, r), "GET", "/explain?slo=pictures&format=json")
	if !strings.HasPrefix(body, `pictures{format="json"}`) || strings.Contains(body, "webp") {
		t.Errorf("got %s", body)
	}
}

// The explanation and the engine come to the same end by different ways: the engine compares
// products of integers, the explanation exact fractions of what is published. Factors that are no
// decimals (28 d), guards, slices and counts at the very threshold are among what is tried.
func TestExplanationAgreesWithTheEngine(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	fired, guarded := 0, 0
	for round := range 60 {
		o := sinktest.Objective("it", "s", []string{"99.9", "99", "99.95", "90"}[round%4], slo.RollingPeriod([]time.Duration{28, 30, 7}[round%3]*slo.Day))
		if round%5 == 0 {
			o.Policy.MinBadEvents, o.Policy.Confidence = 20, 1.96
		}
		if round%7 == 0 {
			target, err := slo.ParsePercent("99")
			if err != nil {
				t.Fatal(err)
			}
			o.Budgeting = slo.Budgeting{Method: slo.RatioTimeslices, Slice: 5 * time.Minute, Target: target}
		}
		engine, err := slo.NewEngine(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		engine.Set([]slo.Objective{*o})
		now := sinktest.Time
		worst := []float64{0.01, 0.1, 0.0144, 0.5}[random.IntN(4)]
		for range 3 * 24 * 12 {
			to := now.Add(5 * time.Minute)
			if random.IntN(50) > 0 { // else the source was down
				total := float64(1000 * random.IntN(3))
				span := slo.Span{From: now, To: to}
				sample := slo.Sample{SLO: "it", Span: span, Covered: []slo.Span{span}, Newest: to, Groups: []slo.GroupSample{{
					Increments: []slo.Increment{{At: to, Total: total, Bad: float64(int(total * worst * float64(random.IntN(2))))}},
				}}}
				if err := engine.Observe(sample); err != nil {
					t.Fatal(err)
				}
			}
			now = to
		}
		doc := explained(t, &sinks.Report{Time: now, SLOs: engine.Evaluate(now)})
		for _, a := range doc.Explanations[0].Alerts {
			any := false
			for _, p := range a.Pairs {
				any = any || p.Firing
				if p.Held || len(p.Conditions) == 0 {
					continue
				}
				all := true
				for _, c := range p.Conditions {
					all = all && c.Holds
					if c.Of == "confidence" {
						guarded++
					}
				}
				if all {
					fired++
				}
				if all != p.Firing {
					t.Errorf("round %d, %s %s/%s: conditions say %v, the engine %v: %+v", round, a.Severity, p.Long, p.Short, all, p.Firing, p.Conditions)
				}
			}
			if any != a.Firing {
				t.Errorf("round %d, %s: pairs say %v, the alert %v", round, a.Severity, any, a.Firing)
			}
		}
		for _, s := range doc.Explanations[0].Budget {
			if s.Name == "exhaustion_seconds" && s.Value != nil && *s.Value > 0 && s.Numbers == "" {
				t.Errorf("round %d: an exhaustion of %v without the numbers", round, *s.Value)
			}
		}
	}
	if fired == 0 || guarded == 0 {
		t.Errorf("%d pairs fired, %d were guarded: the rounds try too little", fired, guarded)
	}
}

// An exact tie does not fire: at 28 d the factor of 3 d is 14/15, and 14 bad of 1500 at 99 % are
// just that.
func TestExplainAFractionThatIsNoDecimal(t *testing.T) {
	o := sinktest.Objective("it", "s", "99", slo.RollingPeriod(28*slo.Day))
	st := sinktest.Status(o, nil, map[string]sinktest.Counts{"6h": {Total: 1500, Bad: 14, Coverage: 1}, "3d": {Total: 1500, Bad: 15, Coverage: 1}})
	_, body, _ := ask(face(t, web.Options{}, &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{st}}), "GET", "/explain?slo=it")
	for _, line := range []string{
		"      3d: bad > factor · (1 − objective) · total: 15 > 14/15 · 0.01 · 1500 = 14: holds\n",
		"      6h: bad > factor · (1 − objective) · total: 14 > 14/15 · 0.01 · 1500 = 14: does not hold\n",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("no %q in\n%s", line, body)
		}
	}
}

// The worked numbers of MATHS.md, at a tick of 30 s: how soon an error ratio pages.
func TestExplainDetection(t *testing.T) {
	for _, f := range []struct {
		bad        float64 // of 1000 in every window
		long       string
		seconds    float64 // 0: never, or not known
		text, note string
	}{
		{1000, "1h", 60, "0.001 / 1 · 3600 · 14.4", "at the error ratio of 5m"}, // after 51.84 s
		{100, "1h", 540, "0.001 / 0.1 · 3600 · 14.4", "at the error ratio of 5m"},
		{10, "1h", 0, "0.001 / 0.01 · 3600 · 14.4", "never: even a long window full of it does not burn above 14.4"},
		{10, "6h", 12990, "0.001 / 0.01 · 21600 · 6", "at the error ratio of 30m"}, // at 12,960 s it burns 6
		{0, "1h", 0, "", "never: nothing is bad in 5m"},
	} {
		o := sinktest.Objective("it", "s", "99.9", slo.RollingPeriod(30*slo.Day))
		all := map[string]sinktest.Counts{}
		for _, key := range []string{"5m", "30m", "1h", "2h", "6h", "1d", "3d"} {
			all[key] = sinktest.Counts{Total: 1000, Bad: f.bad, Coverage: 1}
		}
		st := sinktest.Status(o, nil, all)
		st.Tick = 30 * time.Second
		doc := explained(t, &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{st}})
		found := false
		for _, p := range doc.Explanations[0].Alerts[0].Pairs {
			if p.Long != f.long {
				continue
			}
			found = true
			seconds := 0.0
			if p.Detection.Value != nil {
				seconds = *p.Detection.Value
			}
			if seconds != f.seconds || p.Detection.Numbers != f.text || !strings.HasPrefix(p.Detection.Note, f.note) {
				t.Errorf("%v bad of 1000, %s: %+v, want %v, %s", f.bad, f.long, p.Detection, f.seconds, f.note)
			}
		}
		if !found {
			t.Errorf("no pair of %s", f.long)
		}
	}
}

// Why a pair fires or does not, in a few words.
func TestExplainReasons(t *testing.T) {
	o := sinktest.Objective("it", "s", "99.9", slo.RollingPeriod(30*slo.Day))
	o.Policy.MinBadEvents = 100
	st := sinktest.Status(o, nil, map[string]sinktest.Counts{
		"5m": {Total: 100, Bad: 50, Coverage: 1}, "1h": {Total: 1000, Bad: 60, Coverage: 1},
		"30m": {Total: 1000, Bad: 1, Coverage: 1}, "6h": {Total: 100000, Bad: 60, Coverage: 1},
		"2h": {Total: 1000, Bad: 300, Coverage: 1}, "1d": {Total: 2000, Bad: 300, Coverage: 1},
	})
	st.Alerts[0].Pairs[0].Firing = false // as the engine has it, which asks the guards
	doc := explained(t, &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{st}})
	got := map[string]string{}
	for _, a := range doc.Explanations[0].Alerts {
		for _, p := range a.Pairs {
			got[p.Long] = p.Reason
		}
	}
	for long, want := range map[string]string{
		"1h": "too few events are bad",
		"6h": "6h does not burn above 6, and 30m does not burn above 6, and too few events are bad",
		"1d": "both windows burn above 3",
		"3d": "a window is without coverage, and no earlier state is young enough to keep",
	} {
		if got[long] != want {
			t.Errorf("%s: %q, want %q", long, got[long], want)
		}
	}
}

// A source that is down keeps the page firing, and the explanation does not pretend to know more.
func TestExplainAHeldAlert(t *testing.T) {
	r := sinktest.Report()
	page := &r.SLOs[0].Alerts[0].Pairs[0]
	page.Held = true
	_, body, _ := ask(face(t, web.Options{}, r), "GET", "/explain?slo=checkout-availability")
	want := "    1h and 5m, factor 14.4: firing (held)\n" +
		"      a window is without coverage: the state of the last tick at which both had some is kept, for at most 1h\n" +
		"    6h and 30m"
	if !strings.Contains(body, want) {
		t.Errorf("no %q in\n%s", want, body)
	}
}

func TestExplainWhatIsCounted(t *testing.T) {
	target, err := slo.ParsePercent("95")
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(o *slo.Objective){
		"events, exactly": func(*slo.Objective) {},
		"slices of 1m, good with 95% or more of their events good, skipped when empty": func(o *slo.Objective) {
			o.Budgeting = slo.Budgeting{Method: slo.Timeslices, Slice: time.Minute, Target: target}
		},
		"slices of 5m, each as bad as the share of its bad events, bad when empty": func(o *slo.Objective) {
			o.Budgeting = slo.Budgeting{Method: slo.RatioTimeslices, Slice: 5 * time.Minute, Empty: slo.EmptyBad}
		},
		"events, their increases taken by the server (pushdown)": func(o *slo.Objective) { o.Counting, o.Fractional = "pushdown", true },
		"events, fractional by nature":                           func(o *slo.Objective) { o.Fractional = true },
	} {
		o := sinktest.Objective("it", "s", "99", slo.RollingPeriod(28*slo.Day))
		change(o)
		doc := explained(t, &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{sinktest.Status(o, nil, nil)}})
		if got := doc.Explanations[0].Counts; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// document is how a program reads an explanation.
type document struct {
	Time         time.Time
	Explanations []struct {
		Counts string
		Budget []struct {
			Name, Formula, Numbers string
			Value                  *float64
		} `json:"error_budget"`
		Alerts []struct {
			Severity string
			Firing   bool
			Pairs    []struct {
				Long, Short, Factor string
				Firing, Held        bool
				Reason              string
				Detection           struct {
					Numbers, Note string
					Value         *float64
				}
				Conditions []struct {
					Of, Numbers string
					Limit       float64
					Holds       bool
				}
			}
		}
	}
}

// explained reads the explanation of the one SLO of a report, which is called "it".
func explained(t *testing.T, r *sinks.Report) document {
	t.Helper()
	status, body, _ := ask(face(t, web.Options{}, r), "GET", "/explain?slo=it&format=json")
	var doc document
	if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 || len(doc.Explanations) != 1 {
		t.Fatalf("%d %v in %s", status, err, body)
	}
	return doc
}
