package selectors

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/sources"
)

func TestParse(t *testing.T) {
	series := labels.FromStrings("__name__", "requests_total", "service", "checkout", "code", "503")
	for _, c := range []struct {
		text  string
		name  string
		match bool
	}{
		{`requests_total`, "requests_total", true},
		{`requests_total{service="checkout"}`, "requests_total", true},
		{`requests_total{code=~"5.."}`, "requests_total", true},
		{`requests_total{code!~"5.."}`, "requests_total", false},
		{`requests_total{pod=""}`, "requests_total", true}, // absent is empty
		{`{__name__="requests_total",code="503"}`, "requests_total", true},
		{`{__name__=~"requests_.*",service="checkout"}`, "", true},
		{`{"requests_total",code="503"}`, "requests_total", true},
		{`other_total`, "other_total", false},
	} {
		s, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if s.Name != c.name || s.Matches(series) != c.match {
			t.Errorf("%s: name %q, matches %v; want %q, %v", c.text, s.Name, s.Matches(series), c.name, c.match)
		}
		again, err := Parse(s.String())
		if err != nil || again.String() != s.String() || again.Matches(series) != c.match {
			t.Errorf("%s prints as %s, which reads as %s (%v)", c.text, s, again, err)
		}
	}
	for text, want := range map[string]string{
		``:                          "unexpected end of input",
		`requests_total{`:           "unexpected end of input",
		`requests_total{code=5}`:    "unexpected",
		`sum(requests_total)`:       "unexpected",
		`requests_total[5m]`:        "unexpected",
		`{code=~".*"}`:              "it chooses every series",
		`requests_total{code=~"("}`: "missing closing )",
	} {
		if s, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: read as %v, error %v; want %q", text, s, err, want)
		}
	}
}

func plan(t *testing.T, in sources.Indicator, groupBy ...string) *Plan {
	t.Helper()
	p, err := NewPlan(sources.Question{SLO: "it", GroupBy: groupBy, Indicator: in})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRoles(t *testing.T) {
	ok := labels.FromStrings("__name__", "r_total", "code", "200", "job", "shop", "route", "/pay")
	bad := labels.FromStrings("__name__", "r_total", "code", "500", "job", "shop")
	part := plan(t, sources.Indicator{Kind: sources.Counters, Total: `r_total`, Bad: `r_total{code="500"}`}, "route")
	good := plan(t, sources.Indicator{Kind: sources.Counters, Total: `r_total`, Good: `r_total{code="200"}`})
	elsewhere := plan(t, sources.Indicator{Kind: sources.Counters, Total: `r_total{code="200"}`, Bad: `r_total{code="500"}`})
	up := plan(t, sources.Indicator{Kind: sources.Gauge, Selector: `up`})
	for _, c := range []struct {
		about  string
		plan   *Plan
		series labels.Labels
		role   increments.Role
	}{
		{"total", part, ok, increments.Total},
		{"bad is part of total", part, bad, increments.Total | increments.Bad},
		{"good takes bad away", good, ok, increments.Total | increments.Bad | increments.Good},
		{"not good is bad", good, bad, increments.Total | increments.Bad},
		{"bad beside total", elsewhere, bad, increments.Bad},
		{"a gauge's sample is an event", up, labels.FromStrings("__name__", "up"), increments.Total},
		{"another metric", part, labels.FromStrings("__name__", "s_total"), 0},
	} {
		s, counted := c.plan.Series(c.series)
		if s.Role != c.role || counted != (c.role != 0) {
			t.Errorf("%s: role %v, want %v", c.about, s.Role, c.role)
		}
	}
	s, _ := part.Series(ok)
	if len(s.Group) != 1 || s.Group[0] != "/pay" || !strings.HasPrefix(s.Target, "shop") {
		t.Errorf("group %q, target %q", s.Group, s.Target)
	}
	if s, _ := part.Series(bad); len(s.Group) != 1 || s.Group[0] != "" {
		t.Errorf("a series without the label is in group %q, want the empty one", s.Group)
	}
}

func TestLatency(t *testing.T) {
	p := plan(t, sources.Indicator{Kind: sources.Latency, Histogram: `d_seconds{service="s"}`, Below: 1})
	series := func(name, le string) labels.Labels {
		return labels.FromStrings("__name__", name, "service", "s", "le", le)
	}
	for _, le := range []string{"1", "1.0", "1e0", "1.00", "+1"} {
		if s, ok := p.Series(series("d_seconds_bucket", le)); !ok || s.Role != increments.Good {
			t.Errorf("le=%s is not seen as the bound 1", le)
		}
	}
	for _, le := range []string{"0.5", "10", "+Inf", "", "one"} {
		if _, ok := p.Series(series("d_seconds_bucket", le)); ok {
			t.Errorf("le=%q is taken for the bound 1", le)
		}
	}
	count, ok := p.Series(series("d_seconds_count", ""))
	bucket, _ := p.Series(series("d_seconds_bucket", "1.0"))
	if !ok || count.Role != increments.Total|increments.Bad || count.Family != bucket.Family || count.Family == "" {
		t.Errorf("count %+v and bucket %+v are not of one histogram", count, bucket)
	}
	if _, ok := p.Series(series("d_seconds_sum", "")); ok {
		t.Error("the sum is counted")
	}
	all, below, ok := p.Native(labels.FromStrings("__name__", "d_seconds", "service", "s"))
	if !ok || all.Role != increments.Total|increments.Bad || below.Role != increments.Good || all.Key == below.Key || all.Family != below.Family {
		t.Errorf("a native histogram is %+v and %+v", all, below)
	}
}

func TestBoundsFault(t *testing.T) {
	for _, c := range []struct {
		bounds []float64
		below  float64
		want   string
	}{
		{[]float64{0.1, 0.3, 1}, 0.3, ""},
		{[]float64{0.1, 0.3, 1}, 0.25, "threshold 0.25 is no bucket bound of h: the bounds around it are 0.1 and 0.3"},
		{[]float64{1, 0.1, 0.3}, 0.5, "threshold 0.5 is no bucket bound of h: the bounds around it are 0.3 and 1"},
		{[]float64{0.1, 0.3}, 0.05, "threshold 0.05 is no bucket bound of h: the smallest is 0.1"},
		{[]float64{0.1, 0.3}, 2, "threshold 2 is no bucket bound of h: the largest is 0.3"},
	} {
		b := Bounds{}
		for _, bound := range c.bounds {
			b.See("h", bound)
			b.See("other", c.below)
		}
		if got := b.Fault(c.below); got != c.want {
			t.Errorf("%v below %v: %q, want %q", c.bounds, c.below, got, c.want)
		}
	}
}

func TestNoPlan(t *testing.T) {
	for _, in := range []sources.Indicator{
		{Kind: sources.PromQL, Total: "sum(x)", Bad: "sum(y)"},
		{Kind: sources.Counters, Total: "x{", Bad: "y"},
		{Kind: sources.Counters, Total: "x", Bad: "y{"},
		{Kind: sources.Latency, Histogram: `{service="s"}`},
		{Kind: sources.Gauge, Selector: "{"},
	} {
		if _, err := NewPlan(sources.Question{Indicator: in}); err == nil {
			t.Errorf("%+v has a plan", in)
		}
	}
}
