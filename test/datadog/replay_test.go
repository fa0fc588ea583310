package datadog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/test/datadog/recorded"
)

type exchange = recorded.Exchange

// cassettes are all recordings, each in its order.
func cassettes(t *testing.T) map[string][]exchange {
	t.Helper()
	out := map[string][]exchange{}
	for _, e := range recorded.All(t, nil) {
		out[e.Cassette] = append(out[e.Cassette], e)
	}
	return out
}

var (
	// within are the parts of the API that the fake stands for, and without what lies among them
	// and is nothing to yoyu.
	within  = regexp.MustCompile(`^/api/(v1/(validate|series|query|metrics|search|monitor|dashboard|slo)|v2/(series|query))(/|$)`)
	without = regexp.MustCompile(`^/api/v1/dashboard/(public|lists)(/|$)|/restriction_policy/|/notification_rule|^/api/v1/monitor/groups`)

	// kept is an object of the API with its id.
	kept = regexp.MustCompile(`^/api/v1/(monitor|dashboard|slo/correction|slo)/([0-9]+|[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f-]{27}|[a-z0-9]{3}-[a-z0-9]{3}-[a-z0-9]{3})(/|$)`)
)

// TestRecordedTraffic plays what clients asked of the real Datadog to the fake: it accepts what was
// accepted, refuses what was refused, in the same words, and answers the same fields.
func TestRecordedTraffic(t *testing.T) {
	played, left := 0, map[string]int{}
	all := cassettes(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			r := newReplay(t, all[name])
			for _, e := range all[name] {
				if !within.MatchString(e.Path) || without.MatchString(e.Path) {
					left[regexp.MustCompile(`^/api/v\d/\w+`).FindString(e.Path)]++
					continue
				}
				r.play(e)
				played++
			}
		})
	}
	t.Logf("%d requests played; others are about %v", played, left)
	if played == 0 {
		t.Error("nothing was played")
	}
}

// replay is one recording at its own fake.
type replay struct {
	t     *testing.T
	d     *Datadog
	ids   map[string]string // recorded ids, and what the fake calls the same objects
	sent  map[string]bool   // metrics that the recording submits
	reset map[string]int    // the newest reset by period: says how much time went by
}

// newReplay makes a fake that holds what the recording takes for granted: objects that it reads
// and never makes.
func newReplay(t *testing.T, all []exchange) *replay {
	t.Helper()
	now, err := time.Parse(time.RFC3339Nano, all[0].Now)
	if err != nil {
		t.Fatal(err)
	}
	r := &replay{t: t, d: New(Options{Now: now, Visible: 20 * time.Second}), ids: map[string]string{}, reset: map[string]int{}}
	r.sent = submittedNames(all)
	made := map[string]bool{}
	have := func(kind, id string, body map[string]any) {
		if made[kind+id] {
			return
		}
		made[kind+id] = true
		body["id"] = id
		if n, err := strconv.ParseInt(id, 10, 64); err == nil && kind == "monitor" {
			body["id"] = n
		}
		r.d.Insert(kind, body)
	}
	for _, e := range all {
		var answer map[string]any
		_ = json.Unmarshal(e.Answer, &answer) // a list is none
		found := kept.FindStringSubmatch(e.Path)
		switch {
		case e.Method == http.MethodPost && e.Status < 300:
			for kind, path := range map[string]string{"monitor": "/api/v1/monitor", "dashboard": "/api/v1/dashboard", "slo": "/api/v1/slo", "correction": "/api/v1/slo/correction"} {
				if e.Path == path {
					made[kind+recordedID(answer)] = true
				}
			}
		case found != nil && e.Status != http.StatusNotFound && e.Status != http.StatusForbidden:
			kind := strings.TrimPrefix(found[1], "slo/")
			body := answer
			if data, ok := answer["data"].(map[string]any); ok && kind == "slo" && data["thresholds"] != nil {
				body = data
			}
			if body == nil || e.Status >= 300 || e.Method != http.MethodGet {
				body = map[string]any{"type": "metric", "name": "made by somebody else", "tags": []any{}}
			}
			have(kind, found[2], body)
		}
		r.others(e, answer, r.sent)
		for kind, list := range listsOf(e) {
			for _, one := range list {
				have(kind, recordedID(mapOf(one)), mapOf(one))
			}
		}
		var sent map[string]any
		_ = json.Unmarshal(e.Request, &sent) // what is no object is about nothing
		if sent["type"] == "composite" && e.Status < 300 {
			for _, id := range operand.FindAllString(text(sent["query"]), -1) {
				have("monitor", id, map[string]any{"type": "query alert", "name": "made by somebody else", "tags": []any{}})
			}
		}
	}
	return r
}

// submittedNames are the metrics that a recording submits itself.
func submittedNames(all []exchange) map[string]bool {
	out := map[string]bool{}
	for _, e := range all {
		if !strings.HasSuffix(e.Path, "/series") {
			continue
		}
		var payload struct {
			Series []struct{ Metric string }
		}
		_ = json.Unmarshal(e.Request, &payload) // what is no payload submits nothing
		for _, s := range payload.Series {
			out[storedName(s.Metric)] = true
		}
	}
	return out
}

// others makes what others of the organisation have submitted: points that a query shows, and
// metrics that are described.
func (r *replay) others(e exchange, answer map[string]any, sent map[string]bool) {
	if name, ok := strings.CutPrefix(e.Path, "/api/v1/metrics/"); ok && e.Status == http.StatusOK && !sent[name] {
		r.d.meta[name] = answer
		r.d.Seed(Metric{Name: name}, Point{At: r.d.Now()})
	}
	if e.Path != "/api/v1/query" || e.Status != http.StatusOK {
		return
	}
	series, _ := answer["series"].([]any)
	for _, one := range series {
		s := mapOf(one)
		name := text(s["metric"])
		if sent[name] {
			continue
		}
		var tags []string
		for tag := range strings.SplitSeq(text(s["scope"]), ",") {
			if tag != "*" {
				tags = append(tags, tag)
			}
		}
		var points []Point
		list, _ := s["pointlist"].([]any)
		for _, p := range list {
			pair, _ := p.([]any)
			at, _ := pair[0].(float64)
			if v, ok := pair[1].(float64); ok {
				points = append(points, Point{At: time.UnixMilli(int64(at)), Value: v})
			}
		}
		r.d.Seed(Metric{Name: name, Tags: tags}, points...)
	}
}

// listsOf are the objects that a recorded list shows, by kind; corrections without what wraps them.
func listsOf(e exchange) map[string][]any {
	if e.Method != http.MethodGet || e.Status >= 300 {
		return nil
	}
	var answer any
	_ = json.Unmarshal(e.Answer, &answer) // what is no JSON lists nothing
	list := func(v any) []any { l, _ := v.([]any); return l }
	switch e.Path {
	case "/api/v1/monitor":
		return map[string][]any{"monitor": list(answer)}
	case "/api/v1/dashboard":
		return map[string][]any{"dashboard": list(mapOf(answer)["dashboards"])}
	case "/api/v1/slo":
		return map[string][]any{"slo": list(mapOf(answer)["data"])}
	case "/api/v1/slo/correction":
		var out []any
		for _, one := range list(mapOf(answer)["data"]) {
			body := maps.Clone(mapOf(mapOf(one)["attributes"]))
			body["id"] = mapOf(one)["id"]
			out = append(out, body)
		}
		return map[string][]any{"correction": out}
	}
	return nil
}

// recordedID is the id of the object in an answer.
func recordedID(answer map[string]any) string {
	switch data := answer["data"].(type) {
	case []any:
		if len(data) > 0 {
			one, _ := data[0].(map[string]any)
			return fmt.Sprint(one["id"])
		}
	case map[string]any:
		return fmt.Sprint(data["id"])
	}
	if n, ok := answer["id"].(float64); ok {
		return strconv.FormatInt(int64(n), 10)
	}
	return fmt.Sprint(answer["id"])
}

func (r *replay) translate(s string) string {
	for from, to := range r.ids {
		s = strings.ReplaceAll(s, from, to)
	}
	return s
}

// play sends one request and compares the answer with the recorded one.
func (r *replay) play(e exchange) {
	t := r.t
	t.Helper()
	if period := e.Headers["x-ratelimit-period"]; period != "" {
		reset, err := strconv.Atoi(e.Headers["x-ratelimit-reset"])
		if before, ok := r.reset[period]; ok && err == nil && reset < before {
			r.d.Advance(time.Duration(before-reset) * time.Second)
		}
		r.reset[period] = reset
	}
	q := url.Values{}
	for _, pair := range e.Query {
		q.Add(pair[0], r.translate(pair[1]))
	}
	body := r.translate(string(e.Request))
	if body == `""` || body == "null" {
		body = ""
	}
	request, err := http.NewRequestWithContext(t.Context(), e.Method, "http://fake"+r.translate(e.Path)+"?"+q.Encode(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("DD-API-KEY", APIKey)
	request.Header.Set("DD-APPLICATION-KEY", AppKey)
	if e.Status == http.StatusForbidden {
		request.Header.Set("DD-APPLICATION-KEY", "withdrawn") // recordings do not show keys
	}
	if e.Status == http.StatusTooManyRequests {
		r.d.Fault(Fault{Times: 1, Do: TooMany(e.Headers["x-ratelimit-reset"])})
	}
	response, err := r.d.Transport().RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	place := fmt.Sprintf("%d: %s %s?%s", e.Sequence, e.Method, e.Path, q.Encode())
	if response.StatusCode != e.Status {
		t.Errorf("%s: status %d, the real one %d\n  sent %.600s\n  got %.400s\n  the real one %.400s", place, response.StatusCode, e.Status, body, got.String(), e.Answer)
		return
	}
	var want, have any
	if json.Unmarshal([]byte(r.translate(string(e.Answer))), &want) != nil || got.Len() == 0 {
		if len(e.Answer) > 2 && got.Len() == 0 {
			t.Errorf("%s: no body, the real one %.200s", place, e.Answer)
		}
		return
	}
	if err := json.Unmarshal(got.Bytes(), &have); err != nil {
		t.Errorf("%s: no JSON: %.200s", place, got.String())
		return
	}
	if e.Method == http.MethodPost && e.Status < 300 && kept.FindString(e.Path+"/"+recordedID(mapOf(want))) != "" {
		was, is := recordedID(mapOf(want)), recordedID(mapOf(have))
		if was != "<nil>" && is != "<nil>" && was != is {
			r.ids[was] = is
			want = nil
			_ = json.Unmarshal([]byte(r.translate(string(e.Answer))), &want) // it was read before
		}
	}
	if len(listsOf(e)) > 0 {
		r.compareLists(place, e, want, have)
		return
	}
	if e.Status < 300 && (e.Path == "/api/v1/metrics" || e.Path == "/api/v1/search") {
		// Of all metrics of the organisation those count that the recording submitted.
		want, have = own(want, r.sent), own(have, r.sent)
	}
	if strings.HasPrefix(e.Path, "/api/v2/query/") && e.Status == http.StatusOK || strings.HasSuffix(e.Path, "/search") && e.Path != "/api/v1/search" {
		for _, fault := range shapes("", want, have) { // the numbers are of an organisation that the fake does not know
			t.Errorf("%s: %s", place, fault)
		}
		return
	}
	for _, fault := range differ("", want, have) {
		t.Errorf("%s: %s", place, fault)
	}
}

// own leaves of the names of metrics in an answer those that are wanted.
func own(v any, wanted map[string]bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = own(value, wanted)
		}
		return out
	case []any:
		return slices.DeleteFunc(slices.Clone(v), func(one any) bool { return !wanted[text(one)] })
	}
	return v
}

// compareLists holds a list to the recorded one, object by object: others of the organisation had
// more of them.
func (r *replay) compareLists(place string, e exchange, want, have any) {
	text, err := json.Marshal(want)
	if err != nil {
		r.t.Fatal(err)
	}
	got, err := json.Marshal(have)
	if err != nil {
		r.t.Fatal(err)
	}
	wanted, found := e, e
	wanted.Answer, found.Answer = text, got
	for kind, list := range listsOf(wanted) {
		ours := map[string]any{}
		for _, one := range listsOf(found)[kind] {
			ours[recordedID(mapOf(one))] = one
		}
		if len(ours) != len(list) && len(e.Query) > 0 {
			r.t.Errorf("%s: %d objects, the real one %d", place, len(ours), len(list))
		}
		for _, one := range list {
			mine, ok := ours[recordedID(mapOf(one))]
			if !ok {
				r.t.Errorf("%s: %s %s is not listed", place, kind, recordedID(mapOf(one)))
				continue
			}
			for _, fault := range differ("", one, mine) {
				r.t.Errorf("%s: %s", place, fault)
			}
		}
	}
	if faults := shapes("", want, have); len(faults) > 0 {
		r.t.Errorf("%s: %v", place, faults)
	}
}

// shapes lists where two JSON values have other fields, whatever is in their lists.
func shapes(path string, want, have any) []string {
	w, ok := want.(map[string]any)
	if !ok {
		if _, also := have.(map[string]any); also || reflect.TypeOf(want) != reflect.TypeOf(have) && want != nil && have != nil {
			return []string{fmt.Sprintf("%s: %T, the real one has %T", path, have, want)}
		}
		return nil
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(w)) {
		v, ok := mapOf(have)[key]
		switch {
		case ok:
			out = append(out, shapes(path+"."+key, w[key], v)...)
		case !slices.Contains(people, key) && !slices.Contains(bygone, key):
			out = append(out, path+"."+key+" is missing")
		}
	}
	return out
}

func mapOf(v any) map[string]any {
	m, _ := v.(map[string]any) // what is none has no fields
	return m
}

// people are fields about who and when; bygone are fields that only some years of the real API
// answer.
var (
	people = []string{"restricted_roles", "creator", "modifier", "created", "created_at", "modified", "modified_at", "org_id", "url", "author_handle", "author_name", "overall_state", "overall_state_modified",
		"email", "timing", "links", "matching_downtimes", "from_date", "to_date"}
	bygone = []string{"is_read_only", "restricted", "run_as", "restriction_policy", "draft_status", "assets", "locked", "avalanche_window", "experience_type", "state", "sli_specification", "target_threshold",
		"warning_threshold", "timeframe", "created_at", "duration", "rrule", "metadata", "slo_query", "description", "matching_downtimes", "notify_list", "template_variables"}
)

// differ lists where two JSON values say different things.
func differ(path string, want, have any) []string {
	switch want := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %.100v, the real one has an object", path, have)}
		}
		var out []string
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if slices.Contains(people, key) {
				continue
			}
			v, ok := h[key]
			if !ok {
				if !slices.Contains(bygone, key) {
					out = append(out, fmt.Sprintf("%s.%s is missing, the real one has %.100v", path, key, want[key]))
				}
				continue
			}
			out = append(out, differ(path+"."+key, want[key], v)...)
		}
		for _, key := range slices.Sorted(maps.Keys(h)) {
			if _, ok := want[key]; !ok && !slices.Contains(people, key) && !slices.Contains(bygone, key) && (!strings.Contains(path, "widgets") || key != "id") {
				out = append(out, fmt.Sprintf("%s.%s is %.100v, the real one has none", path, key, h[key]))
			}
		}
		return out
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(want) {
			return []string{fmt.Sprintf("%s: %.200v, the real one %.200v", path, have, want)}
		}
		if strings.HasSuffix(path, ".tags") { // in any order
			want, h = sortedTexts(want), sortedTexts(h)
		}
		var out []string
		for i := range want {
			out = append(out, differ(path+"["+strconv.Itoa(i)+"]", want[i], h[i])...)
		}
		return out
	}
	if strings.HasSuffix(path, ".id") && strings.Contains(path, "widgets") || reflect.DeepEqual(want, have) {
		return nil
	}
	return []string{fmt.Sprintf("%s: %.100v, the real one %.100v", path, have, want)}
}

func sortedTexts(list []any) []any {
	return slices.SortedFunc(slices.Values(list), func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}
