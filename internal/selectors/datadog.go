package selectors

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Datadog is a count of events as a configuration writes it for a Datadog source: metric queries
// that are added up or taken away, such as
//
//	sum:http.hits{service:checkout,code:5xx}.as_count() + sum:http.timeouts{service:checkout}
//
// Every term is asked by itself and added up afterwards: a sum within Datadog has no value where
// one of its terms has none.
type Datadog []DatadogTerm

// DatadogTerm is one metric query.
type DatadogTerm struct {
	Negative   bool   // it is taken away
	Aggregator string // "sum", "count", or a threshold on a distribution: "count(v: v<=0.3)"
	Metric     string
	Scope      string // what stands between the braces, "*" for all
}

// ParseDatadog reads a count. It refuses what is no count of what was measured: averages, rates,
// ratios, values that are filled in, and what yoyu writes itself (the rollup, by). An error says at
// which character, and what to write instead.
func ParseDatadog(text string) (Datadog, error) {
	s := datadogScanner{text: text}
	var out Datadog
	for negative := false; ; {
		term, err := s.term()
		if err != nil {
			return nil, err
		}
		term.Negative = negative
		out = append(out, term)
		s.space()
		switch {
		case s.at == len(s.text):
			return out, nil
		case s.take("+"):
			negative = false
		case s.take("-"):
			negative = true
		case strings.HasPrefix(s.rest(), "*"), strings.HasPrefix(s.rest(), "/"):
			return nil, s.fault("only + and - join counts, yoyu divides by itself")
		case s.take(","):
			return nil, s.fault("one count is written here, join several by +")
		default:
			return nil, s.fault("%q follows the query", clip(s.rest(), 20))
		}
	}
}

// Query is the term as it is asked: by these tags, the events of each bucket added up.
func (t DatadogTerm) Query(by []string, bucket time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%s{%s}", t.Aggregator, t.Metric, t.Scope)
	if len(by) > 0 {
		fmt.Fprintf(&b, " by {%s}", strings.ToLower(strings.Join(by, ","))) // as tags are stored
	}
	fmt.Fprintf(&b, ".as_count().rollup(sum, %d)", int(bucket.Seconds()))
	return b.String()
}

// String is the count in the one spelling that ParseDatadog reads again.
func (d Datadog) String() string {
	var b strings.Builder
	for i, t := range d {
		switch {
		case t.Negative:
			b.WriteString(" - ")
		case i > 0:
			b.WriteString(" + ")
		}
		fmt.Fprintf(&b, "%s:%s{%s}", t.Aggregator, t.Metric, t.Scope)
	}
	return b.String()
}

// Metrics are the names of the metrics that are counted.
func (d Datadog) Metrics() []string {
	out := make([]string, len(d))
	for i, t := range d {
		out[i] = t.Metric
	}
	return out
}

var (
	datadogWord      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)
	datadogMetric    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]*`)
	datadogThreshold = regexp.MustCompile(`^\(\s*v\s*:\s*v\s*(<=|>=|<|>)\s*([0-9.eE+-]+)\s*\)`)
	datadogFunction  = regexp.MustCompile(`^\.([A-Za-z_]+)\(([^)]*)\)`)
)

type datadogScanner struct {
	text string
	at   int
}

func (s *datadogScanner) rest() string { return s.text[s.at:] }

func (s *datadogScanner) space() {
	s.at += len(s.rest()) - len(strings.TrimLeft(s.rest(), " \t\r\n"))
}

func (s *datadogScanner) take(word string) bool {
	if !strings.HasPrefix(s.rest(), word) {
		return false
	}
	s.at += len(word)
	return true
}

func (s *datadogScanner) fault(format string, args ...any) error {
	return fmt.Errorf("at character %d: %s", len([]rune(s.text[:s.at]))+1, fmt.Sprintf(format, args...))
}

// term reads one metric query.
func (s *datadogScanner) term() (t DatadogTerm, err error) {
	s.space()
	const like = "write it like sum:http.hits{service:checkout}"
	word := datadogWord.FindString(s.rest())
	switch {
	case s.at == len(s.text):
		return t, s.fault("a query is missing, %s", like)
	case word == "" && strings.HasPrefix(s.rest(), "("):
		return t, s.fault("parentheses are not read, leave them out")
	case word == "":
		return t, s.fault("%q begins no query, %s", clip(s.rest(), 20), like)
	}
	after := s.rest()[len(word):]
	switch {
	case word == "count" && strings.HasPrefix(after, "("):
		m := datadogThreshold.FindStringSubmatch(after)
		if m == nil {
			return t, s.fault("no threshold that is read, write it like count(v: v<=0.3):http.request.duration{*}")
		}
		if _, err := strconv.ParseFloat(m[2], 64); err != nil {
			return t, s.fault("%s is not a number", m[2])
		}
		t.Aggregator = "count(v: v" + m[1] + m[2] + ")"
		s.at += len(word) + len(m[0])
	case strings.HasPrefix(after, "("):
		return t, s.fault("function %s changes what was measured, leave it out", word)
	case word == "sum", word == "count":
		t.Aggregator = word
		s.at += len(word)
	case strings.HasPrefix(after, ":"):
		return t, s.fault("%s adds no events up, use sum", word)
	default:
		return t, s.fault("a query begins with how it adds up, %s", like)
	}
	if !s.take(":") {
		return t, s.fault("a colon and the metric are missing, %s", like)
	}
	if t.Metric = datadogMetric.FindString(s.rest()); t.Metric == "" || len(t.Metric) > 200 {
		return t, s.fault("no name of a metric, %s", like)
	}
	s.at += len(t.Metric)
	if err := s.scope(&t); err != nil {
		return t, err
	}
	return t, s.functions()
}

// scope reads what stands between the braces.
func (s *datadogScanner) scope(t *DatadogTerm) error {
	if !s.take("{") {
		return s.fault("the tags are missing, write {*} for all of them")
	}
	end := strings.IndexAny(s.rest(), "{}")
	if end < 0 || s.rest()[end] == '{' {
		return s.fault("the brace is never closed")
	}
	t.Scope = strings.TrimSpace(s.rest()[:end])
	switch {
	case t.Scope == "":
		return s.fault("no tags, write * for all of them")
	case strings.Contains(t.Scope, "$"):
		return s.fault("template variables have no value here")
	case strings.Count(t.Scope, "(") != strings.Count(t.Scope, ")"):
		return s.fault("a parenthesis is never closed")
	}
	s.at += end + 1
	return nil
}

// functions reads what may follow a query: that it counts.
func (s *datadogScanner) functions() error {
	rest := strings.TrimLeft(s.rest(), " \t\r\n")
	if word := datadogWord.FindString(rest); word == "by" {
		s.space()
		return s.fault("by splits the count, write group_by in its place")
	}
	counted := false
	for strings.HasPrefix(s.rest(), ".") {
		m := datadogFunction.FindStringSubmatch(s.rest())
		if m == nil {
			return s.fault("%q is no function", clip(s.rest(), 20))
		}
		switch m[1] {
		case "as_count":
			if counted || strings.TrimSpace(m[2]) != "" {
				return s.fault("%s is written once, and without arguments", ".as_count()")
			}
			counted = true
		case "as_rate":
			return s.fault("a rate is no count, write .as_count()")
		case "rollup":
			return s.fault("yoyu rolls up by itself, leave .rollup out")
		case "fill":
			return s.fault(".fill invents events where nothing was measured, leave it out")
		default:
			return s.fault("function %s changes what was measured, leave it out", m[1])
		}
		s.at += len(m[0])
	}
	return nil
}

// clip cuts text for a message.
func clip(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}
