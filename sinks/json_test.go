package sinks_test

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// documented is the page that users read, letter for letter but for the line breaks.
const documented = `{"reports":[{"time":"2026-01-02T00:00:00Z","slos":[{` +
	`"slo":"checkout-availability","service":"checkout","labels":{"route":"/pay"},` +
	`"objective":0.999,"period":"30d",` +
	`"windows":{"5m":{"total":2468,"bad":24,"error_ratio":0.009724473257699612,"burn_rate":9.724473257699612,"coverage":1},` +
	`"1h":{"total":0,"bad":0,"error_ratio":null,"burn_rate":null,"coverage":0}},` +
	`"error_budget":{"allowed":86.4,"spent":24,"remaining_ratio":0.7222222222222222,"exhaustion_seconds":null},` +
	`"alerts":[{"severity":"page","firing":false,"burn_ratio":0.4,"pairs":[{"long":"1h","short":"5m","factor":14.4,"firing":false}]}]}]}],` +
	`"alerts":[{"slo":"checkout-availability","labels":{},"severity":"page","long":"1h","short":"5m",` +
	`"began":"2026-01-01T10:00:00Z","start":"2026-01-01T10:01:30Z","end":null,"detection_seconds":90,"budget_spent_ratio":0.03}]}` + "\n"

func TestJSONAsDocumented(t *testing.T) {
	o := sinktest.Objective("checkout-availability", "checkout", "99.9", slo.RollingPeriod(30*slo.Day))
	o.GroupBy = []string{"route"}
	r := &sinks.Report{Time: time.Date(2026, 1, 2, 9, 0, 0, 0, time.FixedZone("JST", 9*3600)), SLOs: []slo.Status{{
		Objective: o, Labels: []string{"/pay"},
		Windows: []slo.Window{
			{Key: "5m", Total: 2468, Bad: 24, Coverage: 1, ErrorRatio: slo.Defined(0.009724473257699612), BurnRate: slo.Defined(9.724473257699612)},
			{Key: "1h"},
		},
		Budget: slo.Budget{Allowed: 86.4, Spent: 24, RemainingRatio: 0.7222222222222222},
		Alerts: []slo.Alert{{Severity: "page", BurnRatio: slo.Defined(0.4), Pairs: []slo.PairStatus{{Pair: o.Policy.Severities[0].Pairs[0]}}}},
	}}}
	began := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	start := began.Add(90 * time.Second).In(time.FixedZone("CET", 3600))
	alerts := []sinks.JSONAlert{{
		SLO: "checkout-availability", Severity: "page", Long: "1h", Short: "5m", Began: &began, Start: &start,
		DetectionSeconds: sinks.Number(slo.Defined(90)), BudgetSpentRatio: sinks.Number(slo.Defined(0.03)),
	}}

	var out strings.Builder
	if err := sinks.WriteJSON(&out, []*sinks.Report{r}, alerts); err != nil {
		t.Fatal(err)
	}
	if out.String() != documented {
		t.Errorf("got  %s\nwant %s", out.String(), documented)
	}
}

func TestJSONIsNeverNullWhereListsAre(t *testing.T) {
	var out strings.Builder
	if err := sinks.WriteJSON(&out, nil, nil); err != nil {
		t.Fatal(err)
	}
	if want := `{"reports":[],"alerts":[]}` + "\n"; out.String() != want {
		t.Errorf("got %s want %s", out.String(), want)
	}
	out.Reset()
	if err := sinks.WriteJSON(&out, []*sinks.Report{sinktest.Empty()}, nil); err != nil {
		t.Fatal(err)
	}
	if want := `{"reports":[{"time":"2026-01-02T00:00:00Z","slos":[]}],"alerts":[]}` + "\n"; out.String() != want {
		t.Errorf("got %s want %s", out.String(), want)
	}
}

func TestJSONWindowKeys(t *testing.T) {
	for _, c := range []struct {
		name   string
		period slo.Period
		want   string
	}{
		{"a rolling period goes by its length", slo.RollingPeriod(28 * slo.Day), "5m 30m 1h 2h 6h 1d 3d 28d"},
		{"a calendar period goes by its name", slo.CalendarPeriod(slo.Month, nil), "5m 30m 1h 2h 6h 1d 3d month"},
		{"a period as long as a window is that window", slo.RollingPeriod(3 * slo.Day), "5m 30m 1h 2h 6h 1d 3d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := sinktest.Status(sinktest.Objective("a", "b", "99", c.period), nil, nil)
			doc := read(t, &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{st}})
			var keys []string
			for _, w := range doc.Reports[0].SLOs[0].Windows {
				keys = append(keys, w.Key)
			}
			if got := strings.Join(keys, " "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestJSONNumbers(t *testing.T) {
	for text, n := range map[string]sinks.Number{
		"null":                    {},
		"0":                       sinks.Number(slo.Defined(0)),
		"9007199254740993000":     sinks.Number(slo.Defined(9007199254740993000)),
		"0.30000000000000004":     sinks.Number(slo.Defined(0.30000000000000004)),
		"-48.32633021237725":      sinks.Number(slo.Defined(-48.32633021237725)),
		"1e-7":                    sinks.Number(slo.Defined(1e-7)),
		"1.7976931348623157e+308": sinks.Number(slo.Defined(math.MaxFloat64)),
	} {
		got, err := json.Marshal(n)
		if err != nil || string(got) != text {
			t.Errorf("%v: got %s, %v; want %s", n, got, err, text)
		}
		var back sinks.Number
		if err := json.Unmarshal([]byte(text), &back); err != nil || back != n {
			t.Errorf("%s: reads back as %v, %v", text, back, err)
		}
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got, err := json.Marshal(sinks.Number(slo.Defined(f))); err != nil || string(got) != "null" {
			t.Errorf("%v: got %s, %v; want null", f, got, err)
		}
	}
}

// What is read from the document is what was written to it.
func TestJSONReadsBack(t *testing.T) {
	for name, r := range map[string]*sinks.Report{"typical": sinktest.Report(), "unknown": sinktest.Unknown(), "large": sinktest.Large(10)} {
		want := sinks.NewJSON(r)
		if got := read(t, r); !reflect.DeepEqual(got.Reports[0], want) {
			t.Errorf("%s: got %+v\nwant %+v", name, got.Reports[0], want)
		}
	}
	read(t, sinktest.Odd()) // broken UTF-8 does not survive, but must not break the document
}

// A document made at one tick still says the same after the next has overwritten the report.
func TestJSONSharesNoMemory(t *testing.T) {
	r := sinktest.Report()
	doc := sinks.NewJSON(r)
	clear(r.SLOs[0].Windows)
	clear(r.SLOs[0].Alerts[0].Pairs)
	clear(r.SLOs[1].Labels)
	if want := sinks.NewJSON(sinktest.Report()); !reflect.DeepEqual(doc, want) {
		t.Errorf("got %+v\nwant %+v", doc, want)
	}
}

func read(t *testing.T, r *sinks.Report) sinks.JSONDocument {
	t.Helper()
	var out bytes.Buffer
	if err := sinks.WriteJSON(&out, []*sinks.Report{r}, nil); err != nil {
		t.Fatal(err)
	}
	var doc sinks.JSONDocument
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	return doc
}

// A grouped SLO without a group is no entry: it has no labels to be told by.
func TestJSONWithoutGroups(t *testing.T) {
	r := &sinks.Report{SLOs: []slo.Status{{Objective: &slo.Objective{Name: "it", GroupBy: []string{"route"}}, NoGroup: true}}}
	if got := sinks.NewJSON(r).SLOs; got == nil || len(got) != 0 {
		t.Errorf("%+v, want an empty list", got)
	}
}
