package provision

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/test/datadog/recorded"
)

var madeAt = map[string]Kind{"/api/v1/monitor": Monitor, "/api/v1/slo": SLO, "/api/v1/dashboard": Dashboard, "/api/v1/slo/correction": Correction}

// answered is the object in an answer; nil of a list.
func answered(t *testing.T, kind Kind, e recorded.Exchange) map[string]any {
	t.Helper()
	var answer map[string]any
	if err := json.Unmarshal(e.Answer, &answer); err != nil {
		return nil
	}
	answer = plainMap(t, answer)
	switch data := answer["data"].(type) {
	case []any:
		if len(data) == 1 {
			return data[0].(map[string]any)
		}
		return nil
	case map[string]any:
		if kind == Correction {
			return opened(data)
		}
		return data
	}
	return answer
}

// decided are what Datadog decides by itself, whatever it is sent: yoyu sends none of it.
var decided = regexp.MustCompile(`^id: |^draft_status: |^thresholds\[\d\]\.(target|warning)_display: |^notify_list\[|^options\.on_missing_data: is absent, want "default"$|^priority: is absent, want 0$`)

// What the real Datadog made of something is that something, whatever it added and rewrote: of all
// that was ever recorded as made, nothing would be written again.
func TestRecordedCreationsNeedNoChange(t *testing.T) {
	n := map[Kind]int{}
	for _, e := range recorded.All(t, func(e recorded.Exchange) bool {
		return e.Method == http.MethodPost && madeAt[e.Path] != "" && e.Status == http.StatusOK
	}) {
		kind := madeAt[e.Path]
		var sent map[string]any
		if err := json.Unmarshal(e.Request, &sent); err != nil {
			t.Fatal(err)
		}
		if data, ok := sent["data"].(map[string]any); ok && kind == Correction {
			sent = opened(data)
			delete(sent, "id")
		}
		theirs := answered(t, kind, e)
		if theirs == nil {
			t.Errorf("%s %s: no object in %.200s", e.Cassette, e.Path, e.Answer)
			continue
		}
		n[kind]++
		for _, d := range differences(sent, theirs) {
			if !decided.MatchString(d) {
				t.Errorf("%s %d: %s: %.300s", e.Cassette, e.Sequence, e.Path, d)
			}
		}
		if id := idOf(kind, plainMap(t, json.RawMessage(e.Answer))); id == "" {
			t.Errorf("%s %d: no id in the answer to a creation: %.200s", e.Cassette, e.Sequence, e.Answer)
		}
	}
	if n[Monitor] < 30 || n[SLO] < 20 || n[Dashboard] < 50 || n[Correction] < 5 {
		t.Errorf("only %v were made", n)
	}
	for _, o := range wanted(t) {
		if d := differences(o.Body, map[string]any{}); slices.ContainsFunc(d, decided.MatchString) {
			t.Errorf("%s %s says what Datadog decides: %v", o.Kind, o.Key, d)
		}
	}
	t.Logf("made: %v", n)
}

// Everything that was ever recorded of others stays as it is, among it monitors, dashboards, SLOs
// and corrections of other tools with marks of their own.
func TestRecordedObjectsAreForeign(t *testing.T) {
	paths := regexp.MustCompile(`^/api/v1/(monitor|dashboard|slo|slo/correction)(/[^/]+)?$`)
	all := recorded.All(t, func(e recorded.Exchange) bool {
		return e.Status == http.StatusOK && paths.MatchString(e.Path) && (e.Method == http.MethodGet || e.Method == http.MethodPost)
	})
	inOffice(t, func(t *testing.T, o *office) {
		have := map[Kind]int{}
		for _, e := range all {
			path := paths.FindStringSubmatch(e.Path)
			kind := madeAt["/api/v1/"+path[1]]
			if path[1] == "slo" && path[2] == "/correction" {
				kind = Correction
			}
			body := answered(t, kind, e)
			if body == nil || text(body["id"]) == "" {
				continue
			}
			before := len(o.stored(kind))
			o.fake.Insert(string(kind), body)
			have[kind] += len(o.stored(kind)) - before
		}
		was := map[Kind]string{}
		for _, kind := range kinds {
			if have[kind] < 5 {
				t.Errorf("%d %ss are of others", have[kind], kind)
			}
			was[kind] = fmt.Sprint(o.stored(kind))
		}
		o.must(func(options *Options) { options.Prune = true })
		if err := o.once(); err != nil {
			t.Error(err)
		}
		for _, w := range o.writes() {
			if !strings.HasPrefix(w, "POST ") {
				t.Errorf("%s is about what is not yoyu's", w)
			}
		}
		o.wanted = slices.DeleteFunc(o.wanted, func(w Object) bool { return w.Kind != Monitor || w.Key != "burn-page" })
		o.must(func(options *Options) { options.Prune = true })
		o.wanted = nil
		o.must(func(options *Options) { options.Prune = true })
		for _, kind := range kinds {
			if is := fmt.Sprint(o.stored(kind)); is != was[kind] {
				t.Errorf("%ss of others are not what they were", kind)
			}
		}
	})
}

// stored are the objects of a kind.
func (o *office) stored(kind Kind) []map[string]any {
	switch kind {
	case Monitor:
		return o.fake.Monitors()
	case Dashboard:
		return o.fake.Dashboards()
	case SLO:
		return o.fake.SLOs()
	default:
		return o.fake.Corrections()
	}
}
