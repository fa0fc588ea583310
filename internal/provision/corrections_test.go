package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
	"github.com/yoyu-sre/yoyu/slo"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// correction is what the fake stores under a key.
func (o *office) correction(key string) map[string]any {
	o.t.Helper()
	for _, body := range o.fake.Corrections() {
		if have, ok := markOf(Correction, body); ok && have == key {
			return plainMap(o.t, body)
		}
	}
	o.t.Fatalf("there is no correction %s", key)
	return nil
}

// A correction is of the SLO object that is made in the same run, in whole seconds and outwards.
func TestCorrectionsAreMade(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		id := fmt.Sprint(o.fake.SLOs()[0]["id"])
		for key, want := range map[string]map[string]any{
			"checkout/db-move": {"slo_id": id, "category": "Scheduled Maintenance", "timezone": "UTC", "start": 1793635200, "end": 1793638801,
				"description": "Correction db-move of yoyu's SLO checkout. managed_by:yoyu yoyu_id:checkout/db-move"},
			"checkout/nightly": {"slo_id": id, "category": "Scheduled Maintenance", "timezone": "UTC", "start": 1735700400, "duration": 1800, "rrule": "FREQ=DAILY",
				"description": "Correction Nightly of yoyu's SLO checkout. managed_by:yoyu yoyu_id:checkout/nightly"},
		} {
			have := o.correction(key)
			if d := differences(want, have); len(d) > 0 {
				t.Errorf("%s: %v", key, d)
			}
			if _, rule := want["rrule"]; rule == (have["rrule"] == nil) || rule != (have["end"] == nil) {
				t.Errorf("%s: %v", key, have)
			}
		}
		for _, r := range o.fake.Journal() { // the official client knows every field of what was sent
			if r.Method != http.MethodPost || r.Path != "/api/v1/slo/correction" {
				continue
			}
			var request datadogV1.SLOCorrectionCreateRequest
			if err := json.Unmarshal(r.Body, &request); err != nil {
				t.Fatal(err)
			}
			a := request.Data.Attributes
			if request.UnparsedObject != nil || len(request.AdditionalProperties)+len(request.Data.AdditionalProperties)+len(a.AdditionalProperties) > 0 || a.UnparsedObject != nil || *a.SloId != id {
				t.Errorf("the client reads %+v of %s", a, r.Body)
			}
		}
	})
}

// What a person changed of a correction is shown and restored: changed back where Datadog can, made
// again where it cannot.
func TestCorrectionDrift(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		once, nightly := fmt.Sprint(o.correction("checkout/db-move")["id"]), fmt.Sprint(o.correction("checkout/nightly")["id"])
		for name, f := range map[string]struct {
			id     string
			fields map[string]any
			lines  []string
			writes []string
		}{
			"another end": {once, map[string]any{"end": 1793649600, "category": "Other"},
				[]string{"~ update correction checkout/db-move (" + once + ")\n    category: is \"Other\", want \"Scheduled Maintenance\"\n    end: is 1793649600, want 1793638801\n"},
				[]string{"PATCH /api/v1/slo/correction/" + once}},
			"another rule": {nightly, map[string]any{"rrule": "FREQ=WEEKLY"}, []string{`    rrule: is "FREQ=WEEKLY", want "FREQ=DAILY"` + "\n"}, []string{"PATCH /api/v1/slo/correction/" + nightly}},
		} {
			o.fake.Change("correction", f.id, f.fields)
			o.fake.ClearJournal()
			plan := o.must(nil)
			var out strings.Builder
			if err := plan.Write(&out); err != nil {
				t.Fatal(err)
			}
			for _, line := range f.lines {
				if !strings.Contains(out.String(), line) {
					t.Errorf("%s: printed\n%s\nwant %s", name, out.String(), line)
				}
			}
			if !slices.Equal(o.writes(), f.writes) {
				t.Errorf("%s: written %v, want %v", name, o.writes(), f.writes)
			}
			if plan = o.must(nil); plan.Writes() != 0 {
				t.Errorf("%s: it is not restored: %+v", name, plan)
			}
		}
		o.fake.Change("correction", once, map[string]any{"rrule": "FREQ=DAILY", "duration": 60, "end": nil})
		o.fake.Change("correction", nightly, map[string]any{"rrule": nil, "duration": nil, "end": 1893638800})
		o.fake.ClearJournal()
		plan := o.must(nil)
		var out strings.Builder
		if err := plan.Write(&out); err != nil {
			t.Fatal(err)
		}
		if want := "~ update correction checkout/db-move (" + once + "): it recurs or does not for good, so it is deleted and made again\n"; !strings.Contains(out.String(), want) || !strings.Contains(out.String(), `    rrule: is "FREQ=DAILY", want absent`) {
			t.Errorf("printed\n%s\nwant %s", out.String(), want)
		}
		if want := []string{"DELETE /api/v1/slo/correction/" + once, "POST /api/v1/slo/correction", "DELETE /api/v1/slo/correction/" + nightly, "POST /api/v1/slo/correction"}; !slices.Equal(o.writes(), want) {
			t.Errorf("written %v, want %v", o.writes(), want)
		}
		if err := o.once(); err != nil {
			t.Error(err)
		}
		if plan = o.must(nil); plan.Writes() != 0 {
			t.Errorf("it is not restored: %+v", plan)
		}
	})
}

// An SLO that was deleted is made anew, and its corrections with it: they belong to one for good.
func TestCorrectionsFollowTheirSLO(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		old := fmt.Sprint(o.fake.SLOs()[0]["id"])
		o.fake.Remove("slo", old)
		plan := o.must(func(options *Options) { options.Recreate = true })
		if err := o.once(); err != nil || plan.Writes() != 3 {
			t.Errorf("%v after %+v", err, plan)
		}
		id := fmt.Sprint(o.fake.SLOs()[0]["id"])
		for _, key := range []string{"checkout/db-move", "checkout/nightly"} {
			if of := o.correction(key)["slo_id"]; of != id || id == old {
				t.Errorf("%s is of %s, want %s", key, of, id)
			}
		}
		// Its mark is gone: it is somebody else's, and so is what would correct it.
		o.fake.Change("slo", id, map[string]any{"tags": []any{"team:sre"}})
		o.fake.Change("correction", fmt.Sprint(o.correction("checkout/db-move")["id"]), map[string]any{"category": "Other"})
		o.fake.ClearJournal()
		plan = o.must(func(options *Options) { options.Prune, options.Recreate = true, true })
		said := 0
		for _, s := range plan.Steps {
			if s.Kind == Correction && s.Action == Leave && s.Why == "its SLO is not touched either" {
				said++
			}
		}
		if said != 2 || len(o.writes()) != 0 {
			t.Errorf("written %v, plan %+v", o.writes(), plan)
		}
	})
}

// Of many corrections, page by page, only those with the mark at their end are touched.
func TestForeignCorrections(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		for i := range 230 {
			about := "Ours."
			switch i {
			case 7:
				about = "managed_by:yoyu yoyu_id:checkout/db-move was here"
			case 8:
				about = "not_managed_by:yoyu yoyu_id:checkout/db-move"
			}
			o.fake.Insert("correction", map[string]any{"id": fmt.Sprintf("00000000-0000-11f1-0000-%012d", i), "slo_id": strings.Repeat("a", 32), "category": "Other", "start": 1, "end": 2, "description": about})
		}
		o.must(nil)
		if err := os.Remove(o.stateFile()); err != nil {
			t.Fatal(err)
		}
		o.fake.ClearJournal()
		if o.must(nil); len(o.writes()) != 0 {
			t.Errorf("written %v", o.writes())
		}
		pages := 0
		for _, r := range o.fake.Journal() {
			if r.Path == "/api/v1/slo/correction" {
				pages++
			}
		}
		if pages != 3 {
			t.Errorf("%d pages were asked for", pages)
		}
		o.wanted = slices.DeleteFunc(o.wanted, func(w Object) bool { return w.Kind == Correction })
		o.must(func(options *Options) { options.Prune = true })
		if err := o.once(); err != nil || len(o.fake.Corrections()) != 230 {
			t.Errorf("%v, %d corrections are left", err, len(o.fake.Corrections()))
		}
		// Half of a listing is none.
		o.fake.Fault(fake.Fault{Method: "GET", Path: "correction$", Do: fake.StatusBody(200, "application/json", `{"data":[],"meta":{"page":{"total_count":230,"total_filtered_count":0}}}`)})
		if _, err := o.apply(t.Context(), nil); err == nil || err.Error() != "corrections: the listing shows 0 of 230" {
			t.Errorf("error %v", err)
		}
	})
}

// Killed while a correction is deleted and made again, it is there once after the next run.
func TestKilledWhileMadeAgain(t *testing.T) {
	for after, done := 1, false; !done; after++ {
		for _, before := range []bool{true, false} {
			for _, lag := range []time.Duration{0, 10 * time.Second} {
				inOffice(t, func(t *testing.T, o *office) {
					o.must(nil)
					<-time.After(time.Hour)
					o.fake.Change("correction", fmt.Sprint(o.correction("checkout/db-move")["id"]), map[string]any{"rrule": "FREQ=DAILY", "duration": 60, "end": nil})
					ctx, stop := context.WithCancel(t.Context())
					defer stop()
					k := &killed{RoundTripper: o.fake.Transport(), after: after, before: before, stop: stop}
					api := datadogapi.New(datadogapi.Options{URL: "http://datadog.fake", APIKeyFile: filepath.Join(o.folder, "api"), AppKeyFile: filepath.Join(o.folder, "app"), Transport: k})
					_, err := o.apply(ctx, func(options *Options) { options.API = api })
					done = err == nil
					if lag > 0 {
						o.fake.Fault(fake.Fault{Method: "GET", Path: "correction$", Do: fake.StaleList(lag)})
						o.fake.Fault(fake.Fault{Method: "GET", Path: "correction/", Do: fake.NotFound(lag)})
					}
					o.must(nil)
					if err := o.once(); err != nil {
						t.Errorf("killed at %d (%v, lag %v): %v", after, before, lag, err)
					}
				})
			}
		}
		if done && after < 12 {
			t.Errorf("only %d places to be killed at", after)
		}
	}
}

// What Datadog's corrections cannot say is said, never mirrored as something else.
func TestCorrectionsThatAreNotMirrored(t *testing.T) {
	many := []slo.Correction{{Name: "quiet", Effect: slo.Good, When: move}, {Name: "odd", Effect: slo.Drop, When: strange{}}}
	for i := range 101 {
		many = append(many, slo.Correction{Name: fmt.Sprintf("once-%d", i), Effect: slo.Drop, When: move})
	}
	for i := range 3 {
		many = append(many, slo.Correction{Name: fmt.Sprintf("nightly-%d", i), Effect: slo.Drop, When: nightly{}})
	}
	many = append(many, slo.Correction{Name: "ONCE-1", Effect: slo.Drop, When: move}, slo.Correction{Name: "lies", Effect: slo.Drop, When: lies{}})
	target, err := slo.ParsePercent("99.9")
	if err != nil {
		t.Fatal(err)
	}
	of := slo.Objective{Name: "checkout", Service: "shop", Target: target, Period: slo.RollingPeriod(30 * slo.Day), Corrections: many}
	elsewhere := of
	elsewhere.Name = "elsewhere"
	out, left := Corrections([]Native{
		{Objective: &of, CountedBy: "datadog", Total: "sum:http.hits{*}", Good: "sum:http.hits{code:2xx}"},
		{Objective: &elsewhere, CountedBy: "counters"},
	})
	want := []string{
		"correction quiet of slo checkout: it is not in Datadog: Datadog leaves time out, it does not count what is in it as good",
		"correction odd of slo checkout: it is not in Datadog: Datadog has nothing like a strange one",
		"correction once-100 of slo checkout: it is not in Datadog: Datadog takes 100 corrections that do not recur of an SLO",
		"correction nightly-2 of slo checkout: it is not in Datadog: Datadog takes 2 corrections that recur with FREQ=DAILY of an SLO",
		"correction ONCE-1 of slo checkout: it is not in Datadog: its name and that of once-1 differ in case alone",
		"correction lies of slo checkout: it is not in Datadog: a rule of Datadog knows FREQ, INTERVAL, COUNT, UNTIL and BYDAY, and counts in UTC: it would apply at 2025-01-06T03:00:00Z, too",
	}
	if len(out) != 102 || !slices.Equal(left, want) {
		t.Errorf("%d are mirrored, left\n%s\nwant\n%s", len(out), strings.Join(left, "\n"), strings.Join(want, "\n"))
	}
}

// strange is a schedule of no kind that is known.
type strange struct{ slo.Once }

func (strange) String() string { return "a strange one" }

// lies says that it recurs weekly, and does so once.
type lies struct{ nightly }

func (lies) Recurs() (string, time.Time, *time.Location, time.Duration) {
	return "FREQ=WEEKLY;BYDAY=WE,MO;BYHOUR=3", time.Time{}, time.UTC, 30 * time.Minute
}

func (lies) Within(span slo.Span) []slo.Span {
	return slo.Once{From: time.Date(2025, time.January, 1, 3, 0, 0, 0, time.UTC), To: time.Date(2025, time.January, 1, 3, 30, 0, 0, time.UTC)}.Within(span)
}
