package backtest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/recorded"
)

func TestTmp(t *testing.T) {
	dirs, _ := filepath.Glob("../../testdata/conformance/*/expect.json")
	for _, d := range dirs {
		d = filepath.Dir(d)
		t.Run(filepath.Base(d), func(t *testing.T) {
			var c struct {
				Tick time.Duration
				Slos []struct {
					Name, Service string
					Objective     string
					Indicator     struct{ Counters struct{ Total, Bad string } }
					GroupBy       []string `yaml:"group_by"`
				}
			}
			b, _ := os.ReadFile(d + "/config.yaml")
			if err := yaml.Unmarshal(b, &c); err != nil {
				t.Fatal(err)
			}
			var ex struct {
				Slack         float64
				CoverageSlack float64 `json:"coverage_slack"`
				Expect        []struct {
					Time int64
					Slos []struct {
						Labels  map[string]string
						Windows map[string]struct {
							Bad, Total struct{ Exact, Min, Max float64 }
							Coverage   float64
						}
						Remaining struct{ Min, Max float64 } `json:"remaining_ratio"`
						Firing    map[string]*bool
					}
				}
			}
			b, _ = os.ReadFile(d + "/expect.json")
			if err := json.Unmarshal(b, &ex); err != nil {
				t.Fatal(err)
			}
			s := c.Slos[0]
			target, _ := slo.ParsePercent(s.Objective)
			p := slo.RollingPeriod(30 * slo.Day)
			o := slo.Objective{Name: s.Name, Service: s.Service, Target: target, Period: p, GroupBy: s.GroupBy, GroupLimit: 100, Policy: slo.Workbook(p)}
			q := sources.Question{SLO: s.Name, Period: p.Length, GroupBy: s.GroupBy, Indicator: sources.Indicator{Kind: sources.Counters, Total: s.Indicator.Counters.Total, Bad: s.Indicator.Counters.Bad}}
			f, _ := os.Open(d + "/traffic.om.gz")
			defer f.Close()
			src, err := recorded.Read(f, recorded.Options{Name: "rec", Tick: c.Tick, Questions: []sources.Question{q}})
			if err != nil {
				t.Fatal(err)
			}
			var at []time.Time
			for _, e := range ex.Expect {
				at = append(at, time.Unix(e.Time, 0))
			}
			began := time.Now()
			res, err := Run(context.Background(), Options{Objectives: []slo.Objective{o}, Tick: c.Tick, Source: src, Span: src.Span(), At: at})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(time.Since(began), len(res.Alerts))
			bad := 0
			for i, e := range ex.Expect {
				for _, es := range e.Slos {
					found := false
					for _, st := range res.Reports[i].SLOs {
						if len(st.Labels) > 0 && st.Labels[0] != es.Labels["route"] {
							continue
						}
						found = true
						for _, w := range st.Windows {
							ew, ok := es.Windows[w.Key]
							if !ok {
								continue
							}
							if w.Total < ew.Total.Min*(1-ex.Slack) || w.Total > ew.Total.Max*(1+ex.Slack) || w.Bad < ew.Bad.Min*(1-ex.Slack) || w.Bad > ew.Bad.Max*(1+ex.Slack) || w.Coverage < ew.Coverage-ex.CoverageSlack-float64(c.Tick)/float64(w.Length) || w.Coverage > ew.Coverage+ex.CoverageSlack+float64(c.Tick)/float64(w.Length) {
								if bad++; bad < 10 {
									t.Errorf("%d %v %s: got %v/%v cov %v want %+v", e.Time, es.Labels, w.Key, w.Bad, w.Total, w.Coverage, ew)
								}
							}
						}
						if st.Budget.RemainingRatio < es.Remaining.Min-1e-6 || st.Budget.RemainingRatio > es.Remaining.Max+1e-6 {
							t.Errorf("%d remaining %v want %v", e.Time, st.Budget.RemainingRatio, es.Remaining)
						}
						for _, a := range st.Alerts {
							if want := es.Firing[a.Severity]; want != nil && *want != a.Firing {
								t.Errorf("%d %s firing %v", e.Time, a.Severity, a.Firing)
							}
						}
					}
					if !found {
						t.Errorf("%d %v absent", e.Time, es.Labels)
					}
				}
			}
		})
	}
}
