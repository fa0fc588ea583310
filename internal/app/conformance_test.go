package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// moreCases names a folder with more recorded cases of the same kind.
const moreCases = "YOYU_CONFORMANCE"

// expectation is a case's expect.json, computed by a program that shares no code with yoyu.
type expectation struct {
	SLO           string
	Slack         float64
	CoverageSlack float64 `json:"coverage_slack"`
	Expect        []struct {
		Time int64
		SLOs []struct {
			Labels    map[string]string
			Objective float64
			Windows   map[string]struct {
				Bad, Total bounds
				Coverage   float64
			}
			Remaining *bounds `json:"remaining_ratio"`
			Firing    map[string]*bool
		} `json:"slos"`
	}
}

type bounds struct{ Min, Max float64 }

func (b bounds) hold(v, slack float64) bool {
	return v >= b.Min-slack*math.Abs(b.Min) && v <= b.Max+slack*math.Abs(b.Max)
}

// answer is the part of a report's JSON that the cases speak of.
type answer struct {
	Reports []struct {
		Time time.Time
		SLOs []answered `json:"slos"`
	}
}

// answered is one row of it.
type answered struct {
	SLO       string
	Labels    map[string]string
	Objective float64
	Windows   map[string]struct {
		Total, Bad, Coverage float64
		ErrorRatio           *float64 `json:"error_ratio"`
		BurnRate             *float64 `json:"burn_rate"`
	}
	Budget struct {
		Remaining *float64 `json:"remaining_ratio"`
	} `json:"error_budget"`
	Alerts []struct {
		Severity  string
		Firing    bool
		BurnRatio *float64 `json:"burn_ratio"`
	}
}

// Every recorded case passes through the command itself.
func TestConformance(t *testing.T) {
	cases, err := filepath.Glob("../../testdata/conformance/*/expect.json")
	if err != nil || len(cases) < 8 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	if more := os.Getenv(moreCases); more != "" {
		found, err := filepath.Glob(filepath.Join(more, "*", "expect.json"))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s=%s holds no cases: %v", moreCases, more, err)
		}
		cases = append(cases, found...)
	}
	for _, file := range cases {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) { conform(t, dir) })
	}
}

func conform(t *testing.T, dir string) {
	text, err := os.ReadFile(filepath.Join(dir, "expect.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want expectation
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	args := []string{"backtest", "--config.file=" + filepath.Join(dir, "config.yaml"), "--data=" + filepath.Join(dir, "traffic.om.gz"), "-o", "json"}
	for _, e := range want.Expect {
		args = append(args, fmt.Sprintf("--at=%d", e.Time))
	}
	var stdout, stderr bytes.Buffer
	if code := Main(t.Context(), args, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s", code, &stderr)
	}
	var got answer
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Reports) != len(want.Expect) {
		t.Fatalf("%d reports, want %d", len(got.Reports), len(want.Expect))
	}
	tick := tickIn(t, dir)
	checks := 0
	for i, e := range want.Expect {
		for _, es := range e.SLOs {
			at := fmt.Sprintf("%s %v", time.Unix(e.Time, 0).UTC().Format(time.RFC3339), es.Labels)
			k := slices.IndexFunc(got.Reports[i].SLOs, func(s answered) bool {
				return s.SLO == want.SLO && maps.Equal(s.Labels, es.Labels)
			})
			if k < 0 {
				for _, w := range es.Windows { // a group that has counted nothing yet may be absent
					if w.Total.Min > 0 {
						t.Errorf("%s: absent", at)
						break
					}
				}
				continue
			}
			s := got.Reports[i].SLOs[k]
			if s.Objective != es.Objective {
				t.Errorf("%s: objective %v, want %v", at, s.Objective, es.Objective)
			}
			for key, w := range es.Windows {
				g, ok := s.Windows[key]
				if !ok {
					t.Errorf("%s: no window %s", at, key)
					continue
				}
				checks++
				if !w.Total.hold(g.Total, want.Slack) || !w.Bad.hold(g.Bad, want.Slack) {
					t.Errorf("%s %s: %v bad of %v, want %v of %v", at, key, g.Bad, g.Total, w.Bad, w.Total)
				}
				slack := want.CoverageSlack + tick.Seconds()/lengthOf(key).Seconds()
				if math.Abs(g.Coverage-w.Coverage) > slack+1e-9 {
					t.Errorf("%s %s: coverage %v, want %v ± %v", at, key, g.Coverage, w.Coverage, slack)
				}
				switch {
				case g.Total == 0 && g.ErrorRatio != nil:
					t.Errorf("%s %s: an error ratio %v of nothing", at, key, *g.ErrorRatio)
				case g.Coverage == 0 && g.BurnRate != nil:
					t.Errorf("%s %s: a burn rate %v of nothing known", at, key, *g.BurnRate)
				case g.Coverage > 0 && g.BurnRate == nil:
					t.Errorf("%s %s: no burn rate", at, key)
				case g.Coverage > 0 && g.Total > 0:
					if follows := g.Bad / g.Total / (1 - es.Objective); math.Abs(*g.BurnRate-follows) > 1e-9*math.Max(1, follows) {
						t.Errorf("%s %s: burn rate %v, its counts say %v", at, key, *g.BurnRate, follows)
					}
				}
			}
			if es.Remaining != nil && (s.Budget.Remaining == nil || !es.Remaining.hold(*s.Budget.Remaining, want.Slack)) {
				t.Errorf("%s: remaining %v, want %v", at, s.Budget.Remaining, *es.Remaining)
			}
			for severity, firing := range es.Firing {
				for _, a := range s.Alerts {
					if a.Severity != severity {
						continue
					}
					checks++
					if firing != nil && a.Firing != *firing {
						t.Errorf("%s: %s firing %v, want %v", at, severity, a.Firing, *firing)
					}
					if above := a.BurnRatio != nil && *a.BurnRatio > 1; above != a.Firing {
						t.Errorf("%s: %s firing %v at a burn ratio of %v", at, severity, a.Firing, a.BurnRatio)
					}
				}
			}
		}
	}
	if checks == 0 {
		t.Error("the case checks nothing")
	}
}

func tickIn(t *testing.T, dir string) time.Duration {
	c, err := loadConfig(&process{log: slogDiscard}, filepath.Join(dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Tick
}

// lengthOf reads a window's key; a calendar one has its nominal length.
func lengthOf(key string) time.Duration {
	if d := slo.Calendar(key).Nominal(); d > 0 {
		return d
	}
	var n int
	var unit string
	if _, err := fmt.Sscanf(key, "%d%s", &n, &unit); err != nil {
		return time.Second
	}
	return time.Duration(n) * map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": slo.Day, "s": time.Second}[unit]
}
