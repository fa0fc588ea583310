package sinks_test

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// mixed has one SLO of every kind: overspent, burning, untouched, unknown.
func mixed() *sinks.Report {
	r := sinktest.Report()
	r.SLOs = append(r.SLOs, sinktest.Unknown().SLOs...)
	spent := sinktest.Objective("login", "login", "99.95", slo.RollingPeriod(7*slo.Day))
	r.SLOs = append(r.SLOs, sinktest.Status(spent, nil, map[string]sinktest.Counts{
		"1h": {Total: 1000, Bad: 0, Coverage: 1}, "6h": {Total: 6000, Bad: 3, Coverage: 1},
		"3d": {Total: 72000, Bad: 72, Coverage: 1}, "7d": {Total: 1234567.5, Bad: 926, Coverage: 0.99999},
	}))
	return r
}

func TestTable(t *testing.T) {
	compare(t, sinks.WriteTable, mixed(), `
Error budgets at 2026-01-02T00:00:00Z

SLO                             Objective  Period        Total    Bad  Remaining  Burn 1h  Burn 6h  Burn 3d  Alerts  Coverage
login                              99.95%      7d  1,234,567.5    926    -50.02%     0.00     1.00     2.00  ticket     99.9%
checkout-availability               99.9%     30d   21,600,000  5,400     75.00%    18.00     3.50     0.50  page       99.9%
search-latency{route="/items"}        99%   month        2,400      6     75.00%     0.00     0.50     0.25  quiet     100.0%
search-latency{route="_other"}        99%   month        2,880      0    100.00%     0.00     0.00     0.00  quiet     100.0%
carts                               99.5%      7d            0      0          –        –        –        –  quiet       0.0%

carts: histogram has no bucket 0.25: the bounds around it are 0.1 and 0.5
`)
	compare(t, sinks.WriteTable, sinktest.Empty(), `
Error budgets at 2026-01-02T00:00:00Z

SLO  Objective  Period  Total  Bad  Remaining  Burn 1h  Burn 6h  Burn 3d  Alerts  Coverage
no SLOs
`)
}

func TestMarkdown(t *testing.T) {
	o := sinktest.Objective("a|b", "s", "99", slo.RollingPeriod(30*slo.Day))
	o.GroupBy = []string{"route"}
	r := &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{sinktest.Status(o, []string{"<script>\n"}, nil)}}
	r.SLOs[0].Note = "no data\nat all"
	compare(t, sinks.WriteMarkdown, r, `
### Error budgets at 2026-01-02T00:00:00Z

| SLO | Objective | Period | Total | Bad | Remaining | Burn 1h | Burn 6h | Burn 3d | Alerts | Coverage |
|:---|---:|---:|---:|---:|---:|---:|---:|---:|:---|---:|
| a\|b{route="&lt;script&gt;\\n"} | 99% | 30d | 0 | 0 | – | – | – | – | quiet | 0.0% |

* a\|b{route="&lt;script&gt;\\n"}: no data`+"\uFFFD"+`at all
`)
}

// 100 % means whole, and what is overspent by the least is negative.
func TestPercentRoundsDown(t *testing.T) {
	for _, c := range []struct {
		remaining float64
		want      string
	}{
		{1, "100.00%"}, {0.99999, "99.99%"}, {0.29, "29.00%"}, {0.7, "70.00%"}, {0.00001, "0.00%"},
		{0, "0.00%"}, {-0.00001, "-0.01%"}, {-48.32633, "-4832.64%"},
	} {
		o := sinktest.Objective("a", "s", "99", slo.RollingPeriod(30*slo.Day))
		st := sinktest.Status(o, nil, map[string]sinktest.Counts{"30d": {Total: 1, Coverage: 1}})
		st.Budget.RemainingRatio = c.remaining
		var out strings.Builder
		if err := sinks.WriteTable(&out, &sinks.Report{SLOs: []slo.Status{st}}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), " "+c.want) {
			t.Errorf("%v: want %s in\n%s", c.remaining, c.want, out.String())
		}
	}
}

// Whatever names hold, the page stays well-formed, and nothing in them becomes markup.
func TestHTML(t *testing.T) {
	for name, r := range map[string]*sinks.Report{"mixed": mixed(), "odd": sinktest.Odd(), "empty": sinktest.Empty()} {
		var out strings.Builder
		if err := sinks.WriteHTML(&out, r); err != nil {
			t.Fatal(err)
		}
		rows := -1 // the head
		in := xml.NewDecoder(strings.NewReader(out.String()))
		in.Strict, in.AutoClose, in.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
		for {
			token, err := in.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "tr" {
				rows++
			} else if ok && (e.Name.Local == "f" || e.Name.Local == "script") {
				t.Errorf("%s: element <%s>", name, e.Name.Local)
			}
		}
		if rows != len(r.SLOs) {
			t.Errorf("%s: %d rows, want %d", name, rows, len(r.SLOs))
		}
		for _, outside := range []string{"http://", "https://", "url(", "<link"} {
			if strings.Contains(out.String(), outside) {
				t.Errorf("%s: the page refers to %s", name, outside)
			}
		}
	}
}

func compare(t *testing.T, write func(io.Writer, *sinks.Report) error, r *sinks.Report, want string) {
	t.Helper()
	var out strings.Builder
	if err := write(&out, r); err != nil {
		t.Fatal(err)
	}
	if got := "\n" + out.String(); got != want {
		t.Errorf("got:%s\nwant:%s", got, want)
	}
}
