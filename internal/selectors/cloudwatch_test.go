package selectors

import (
	"strings"
	"testing"
)

func TestCloudWatchCounts(t *testing.T) {
	for _, f := range []struct{ text, want string }{ // metric and statistics of each term
		{"RequestCount", "+RequestCount Sum"},
		{"sum(RequestCount)", "+RequestCount Sum"},
		{" A + B - C ", "+A Sum|+B Sum|-C Sum"},
		{"count(TargetResponseTime)", "+TargetResponseTime SampleCount"},
		{"count(TargetResponseTime <= 300ms)", "+TargetResponseTime SampleCount PR(:0.3)"},
		{"count(TargetResponseTime > 1.5)", "+TargetResponseTime SampleCount PR(1.5:)"},
		{`count( "page load time" <= 2s )`, "+page load time SampleCount PR(:2)"},
		{"http.5xx-rate/api", "+http.5xx-rate/api Sum"},
	} {
		c, err := ParseCloudWatch(f.text)
		if err != nil {
			t.Errorf("%s: %v", f.text, err)
			continue
		}
		var said []string
		for _, term := range c {
			sign := "+"
			if term.Negative {
				sign = "-"
			}
			said = append(said, sign+term.Metric+" "+strings.Join(term.Statistics(), " "))
		}
		if got := strings.Join(said, "|"); got != f.want {
			t.Errorf("%s: %s, want %s", f.text, got, f.want)
		}
	}
}

func TestCloudWatchFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "at character 1: a metric is missing, write it like RequestCount, or count(TargetResponseTime <= 300ms)",
		"A +":                     "at character 4: a metric is missing, write it like RequestCount, or count(TargetResponseTime <= 300ms)",
		"A B":                     `at character 3: "B" follows the metric; a name with spaces goes into quotes`,
		"A / B":                   "at character 3: only + and - join counts, yoyu divides by itself",
		"p99(Latency)":            "at character 1: only count(…) and sum(…) count events, p99( is neither",
		"sum(Latency <= 1)":       "at character 12: a sum has no threshold, write count(Latency …)",
		"count(Latency < 1)":      "at character 14: CloudWatch tells <= from >, and knows no <",
		"count(Latency <= soon)":  "at character 14: soon is no threshold, write a duration like 300ms or a number in the metric's own unit",
		"count(Latency <= -1)":    "at character 14: -1 is no threshold, write a duration like 300ms or a number in the metric's own unit",
		`"unclosed`:               "at character 2: no name of a metric in quotes",
		"count(Latency <= 300ms ": "at character 24: the parenthesis is never closed, write it like RequestCount, or count(TargetResponseTime <= 300ms)",
	} {
		if c, err := ParseCloudWatch(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v; want %s", text, c, err, want)
		}
	}
}

// What was read is printed so that it is read as the same again.
func FuzzCloudWatch(f *testing.F) {
	for _, text := range []string{"RequestCount", "A + count(B) - sum(C)", `count("a b" <= 300ms) + "x"`, "count(L > 1e3)", "count(L <= 0.30)"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCloudWatch(text)
		if err != nil {
			return
		}
		again, err := ParseCloudWatch(c.String())
		if err != nil || again.String() != c.String() || len(again) != len(c) {
			t.Errorf("%q is %q, which is %q (%v)", text, c, again, err)
		}
	})
}

func TestCloudWatchScope(t *testing.T) {
	for _, s := range []CloudWatchScope{
		{Namespace: "Shop", Dimensions: map[string]string{"b": "2", "a": "1"}},
		{Namespace: "AWS/ApplicationELB", TargetGroup: &CloudWatchResource{Name: "checkout"}, Alive: "HealthyHostCount"},
		{Namespace: "AWS/ApplicationELB", ECSService: &CloudWatchResource{Tags: map[string]string{"x": "y"}}},
	} {
		again, err := ParseCloudWatchScope(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%s is %s, %v", s, again, err)
		}
	}
	for _, text := range []string{"", "{}", `{"namespace":"x","more":1}`} {
		if _, err := ParseCloudWatchScope(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}
