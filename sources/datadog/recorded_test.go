package datadog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/test/datadog/recorded"
)

// tape answers every request as something was answered before.
type tape struct {
	status  int
	headers map[string]string
	body    []byte
	asked   []*http.Request
}

func (p *tape) RoundTrip(r *http.Request) (*http.Response, error) {
	p.asked = append(p.asked, r)
	header := http.Header{"Content-Type": {"application/json"}}
	for name, value := range p.headers {
		header.Set(name, value)
	}
	return &http.Response{
		StatusCode: p.status, Status: fmt.Sprintf("%d %s", p.status, http.StatusText(p.status)), Header: header, Body: io.NopCloser(bytes.NewReader(p.body)), Request: r,
	}, nil
}

// played is a tape of an exchange. Text that was no JSON was recorded as a string of it.
func played(t *testing.T, e recorded.Exchange) *tape {
	t.Helper()
	body := []byte(e.Answer)
	var text string
	if json.Unmarshal(body, &text) == nil {
		body = []byte(text)
	}
	return &tape{status: e.Status, headers: e.Headers, body: body}
}

// listens is a source that hears a tape.
func listens(t *testing.T, p *tape, questions ...string) *Source {
	t.Helper()
	all := checkout
	if len(questions) == 2 {
		all = counts("checkout", questions[0], questions[1], "host")
	}
	s, err := New(Options{Name: "dd", Config: settings(t), Tick: time.Minute, Questions: []sources.Question{all}, Transport: p})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A query that was recorded is understood as the real Datadog meant it: buckets of another length
// than a minute are refused, in whole minutes every number is counted for its host, and the
// organisation's limit is known from the headers.
func TestRecordedQueries(t *testing.T) {
	for _, e := range recorded.All(t, func(e recorded.Exchange) bool { return e.Path == "/api/v1/query" && e.Status == http.StatusOK }) {
		var answer struct {
			Series []struct {
				Metric, Scope string
				Interval      float64
				TagSet        []string `json:"tag_set"`
				Pointlist     [][2]*float64
			}
		}
		if err := json.Unmarshal(e.Answer, &answer); err != nil || len(answer.Series) == 0 {
			t.Fatalf("%s: %d series, %v", e.Cassette, len(answer.Series), err)
		}
		first := answer.Series[0]
		to := time.UnixMilli(floor(int64(*first.Pointlist[len(first.Pointlist)-1][0]), bucket)).UTC().Add(time.Minute)
		span := slo.Span{From: to.Add(-30 * time.Minute), To: to}
		total := "sum:" + first.Metric + "{*}"

		p := played(t, e)
		s := listens(t, p, total, "sum:nothing{*}")
		got := collect(t, s, span)[0]
		if first.Interval != 60 {
			want := fmt.Sprintf("source dd: slo checkout: query: the answer is in buckets of %.0f s, 60 s were asked for", first.Interval)
			if got.Err == nil || got.Err.Error() != want || got.Groups != nil || got.Covered != nil {
				t.Errorf("%s: %+v, want %s", e.Cassette, got, want)
			}
		}
		if limit, left := s.quota.limit, s.quota.left; fmt.Sprint(limit, left) != e.Headers["x-ratelimit-limit"]+" "+e.Headers["x-ratelimit-remaining"] {
			t.Errorf("%s: the quota is %v of %v, the headers say %v", e.Cassette, left, limit, e.Headers)
		}

		// The same in whole minutes: nothing else of the answer is touched.
		var whole map[string]any
		if err := json.Unmarshal(e.Answer, &whole); err != nil {
			t.Fatal(err)
		}
		want := map[string]float64{}
		for i, one := range whole["series"].([]any) {
			series := one.(map[string]any)
			series["interval"] = 60
			host := ""
			for _, tag := range answer.Series[i].TagSet {
				if name, ok := strings.CutPrefix(tag, "host:"); ok {
					host = name
				}
			}
			for _, point := range series["pointlist"].([]any) {
				pair := point.([]any)
				pair[0] = floor(int64(pair[0].(float64)), bucket)
				want[host] += pair[1].(float64)
			}
		}
		var err error
		if p.body, err = json.Marshal(whole); err != nil {
			t.Fatal(err)
		}
		have := map[string]float64{}
		got = collect(t, s, span)[0]
		for _, g := range got.Groups {
			for _, inc := range g.Increments {
				have[g.Labels[0]] += inc.Total
			}
		}
		if got.Err != nil || !maps.Equal(have, want) || len(want) == 0 {
			t.Errorf("%s: counted %v, want %v (%v)", e.Cassette, have, want, got.Err)
		}
		if query := p.asked[0].URL.Query(); !strings.HasPrefix(query.Get("query"), total) || query.Get("from") == "" || query.Get("to") == "" || p.asked[0].Method != http.MethodGet || p.asked[0].URL.Path != e.Path {
			t.Errorf("%s: asked %s", e.Cassette, p.asked[0].URL)
		}
	}
}

// What the real Datadog ever answered to something else is no count: refusals are said in a line,
// with its own words, and everything else is an error as well. Nothing is counted or covered.
func TestRecordedAnswersAreNoCounts(t *testing.T) {
	seen := map[string]bool{}
	said, other := 0, 0
	for _, e := range recorded.All(t, func(e recorded.Exchange) bool { return e.Path != "/api/v1/query" }) {
		id := fmt.Sprint(e.Status, " ", string(e.Answer))
		if len(e.Answer) > 1<<16 || seen[id] {
			continue
		}
		seen[id] = true
		samples, err := listens(t, played(t, e)).Collect(t.Context(), span(0, 5*time.Minute))
		if err == nil {
			err = samples[0].Err
			if samples[0].Groups != nil || samples[0].Covered != nil {
				t.Errorf("%s %s %d %.200s: counted %+v", e.Method, e.Path, e.Status, e.Answer, samples[0])
			}
		}
		if err == nil {
			t.Errorf("%s %s %d %.200s: is taken for a count", e.Method, e.Path, e.Status, e.Answer)
			continue
		}
		if text := err.Error(); strings.ContainsFunc(text, unicode.IsControl) || len([]rune(text)) > 400 {
			t.Errorf("%s %s %d: the error is no line: %q", e.Method, e.Path, e.Status, text)
		}
		if e.Status < 300 {
			other++
			continue
		}
		var answer struct{ Errors []string }
		if json.Unmarshal(e.Answer, &answer) == nil && len(answer.Errors) > 0 && len(answer.Errors[0]) < 150 {
			said++
			if first := strings.Join(strings.Fields(answer.Errors[0]), " "); datadogapi.Status(err) != e.Status || !strings.Contains(err.Error(), first) && first != http.StatusText(e.Status) {
				t.Errorf("%d %s: the error does not say so: %v", e.Status, e.Answer, err)
			}
		}
	}
	if said < 20 || other < 100 {
		t.Errorf("only %d refusals and %d other answers were played", said, other)
	}
	t.Logf("%d refusals in words and %d answers to something else", said, other)
}

// The queries of recorded SLOs are what a configuration may count by, or are refused with the place:
// the ones that are taken come back as Datadog was asked before.
func TestRecordedIndicators(t *testing.T) {
	taken, refused := 0, map[string]int{}
	seen := map[string]bool{}
	for _, e := range recorded.All(t, func(e recorded.Exchange) bool {
		return e.Path == "/api/v1/slo" && e.Method == http.MethodPost && e.Status == http.StatusOK
	}) {
		var sent struct {
			Query struct{ Numerator, Denominator string }
		}
		if err := json.Unmarshal(e.Request, &sent); err != nil {
			t.Fatal(err)
		}
		for _, query := range []string{sent.Query.Numerator, sent.Query.Denominator} {
			if query == "" || seen[query] {
				continue
			}
			seen[query] = true
			parsed, err := selectors.ParseDatadog(query)
			if err != nil {
				refused[err.Error()]++
				continue
			}
			taken++
			if again := parsed.String(); strings.ReplaceAll(query, ".as_count()", "") != again {
				t.Errorf("%s is read as %s", query, again)
			}
		}
	}
	if taken < 5 {
		t.Errorf("only %d queries are taken, refused %v", taken, slices.Sorted(maps.Keys(refused)))
	}
	t.Logf("%d taken, refused: %v", taken, refused)
}
