package selectors

import (
	"testing"
	"time"
)

func TestDatadogQueries(t *testing.T) {
	for _, f := range []struct {
		text string
		by   []string
		want []string // one for each term, "-" in front of one that is taken away
	}{
		{"sum:http.hits{service:checkout}", nil, []string{"sum:http.hits{service:checkout}.as_count().rollup(sum, 60)"}},
		{" sum:http.hits{service:checkout,!code:5xx}.as_count() ", []string{"Route", "env"},
			[]string{"sum:http.hits{service:checkout,!code:5xx} by {route,env}.as_count().rollup(sum, 60)"}},
		{"count(v: v<=0.3):http.request.duration{service:x AND (code:200 OR code IN (201,202))}.as_count()", nil,
			[]string{"count(v: v<=0.3):http.request.duration{service:x AND (code:200 OR code IN (201,202))}.as_count().rollup(sum, 60)"}},
		{"count:http.request.duration{*}", nil, []string{"count:http.request.duration{*}.as_count().rollup(sum, 60)"}},
		{"sum:a{*} + sum:b{*}.as_count() - sum:c{x:y}", nil,
			[]string{"sum:a{*}.as_count().rollup(sum, 60)", "sum:b{*}.as_count().rollup(sum, 60)", "-sum:c{x:y}.as_count().rollup(sum, 60)"}},
	} {
		d, err := ParseDatadog(f.text)
		if err != nil {
			t.Errorf("%s: %v", f.text, err)
			continue
		}
		if len(d) != len(f.want) {
			t.Errorf("%s: %d terms, want %d", f.text, len(d), len(f.want))
			continue
		}
		for i, term := range d {
			got := term.Query(f.by, time.Minute)
			if term.Negative {
				got = "-" + got
			}
			if got != f.want[i] {
				t.Errorf("%s:\ngot  %s\nwant %s", f.text, got, f.want[i])
			}
		}
	}
}

func TestDatadogFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "at character 1: a query is missing, write it like sum:http.hits{service:checkout}",
		"sum:a{*} +":                          "at character 11: a query is missing, write it like sum:http.hits{service:checkout}",
		"avg:a{*}":                            "at character 1: avg adds no events up, use sum",
		"p99:a{*}":                            "at character 1: p99 adds no events up, use sum",
		"http.hits{*}":                        "at character 1: a query begins with how it adds up, write it like sum:http.hits{service:checkout}",
		"sum:http.hits":                       "at character 14: the tags are missing, write {*} for all of them",
		"sum:http.hits{}":                     "at character 15: no tags, write * for all of them",
		"sum:http.hits{service:checkout":      "at character 15: the brace is never closed",
		"sum:http.hits{$env}":                 "at character 15: template variables have no value here",
		"sum:{*}":                             "at character 5: no name of a metric, write it like sum:http.hits{service:checkout}",
		"sum:a{*} by {route}":                 "at character 10: by splits the count, write group_by in its place",
		"sum:a{*}.as_rate()":                  "at character 9: a rate is no count, write .as_count()",
		"sum:a{*}.as_count().rollup(sum, 60)": "at character 20: yoyu rolls up by itself, leave .rollup out",
		"sum:a{*}.as_count().fill(zero)":      "at character 20: .fill invents events where nothing was measured, leave it out",
		"sum:a{*}.as_count().as_count()":      "at character 20: .as_count() is written once, and without arguments",
		"sum:a{*}.hourly()":                   "at character 9: function hourly changes what was measured, leave it out",
		"default_zero(sum:a{*}.as_count())":   "at character 1: function default_zero changes what was measured, leave it out",
		"sum:a{*} / sum:b{*}":                 "at character 10: only + and - join counts, yoyu divides by itself",
		"(sum:a{*} + sum:b{*})":               "at character 1: parentheses are not read, leave them out",
		"sum:a{*}, sum:b{*}":                  "at character 10: one count is written here, join several by +",
		"sum:a{*} sum:b{*}":                   `at character 10: "sum:b{*}" follows the query`,
		"count(v: v=0.3):a{*}":                "at character 1: no threshold that is read, write it like count(v: v<=0.3):http.request.duration{*}",
		"sum:größe{*}":                        "at character 7: the tags are missing, write {*} for all of them",
		"sum:a{x IN (y}":                      "at character 7: a parenthesis is never closed",
		"5 + sum:a{*}":                        `at character 1: "5 + sum:a{*}" begins no query, write it like sum:http.hits{service:checkout}`,
	} {
		if d, err := ParseDatadog(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v; want %s", text, d, err, want)
		}
	}
}

// What was read is printed so that it is read as the same again.
func FuzzDatadog(f *testing.F) {
	for _, text := range []string{"sum:a{*}", "count(v: v<=0.3):x.y{a:b AND c:d}.as_count() - sum:b{x}", "sum:a{*} + sum:b{*}", "avg:a{*}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDatadog(text)
		if err != nil {
			return
		}
		again, err := ParseDatadog(d.String())
		if err != nil || again.String() != d.String() || len(again) != len(d) {
			t.Errorf("%q is %q, which is %q (%v)", text, d, again, err)
		}
	})
}
