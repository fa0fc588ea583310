package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// office is one organisation, one machine's state, and what is wanted.
type office struct {
	t      *testing.T
	fake   *fake.Datadog
	folder string
	wanted []Object
}

// inOffice runs a test in a bubble, where waiting takes no time.
func inOffice(t *testing.T, test func(t *testing.T, o *office)) {
	t.Helper()
	inOfficeOf(t, fake.Variant{}, test)
}

// inOfficeOf is inOffice with a Datadog that behaves in one of the ways that cannot be told from outside.
func inOfficeOf(t *testing.T, variant fake.Variant, test func(t *testing.T, o *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &office{t: t, fake: fake.New(fake.Options{Clock: time.Now, Variant: variant}), folder: t.TempDir(), wanted: wanted(t)}
		for file, key := range map[string]string{"api": fake.APIKey, "app": fake.AppKey} {
			if err := os.WriteFile(filepath.Join(o.folder, file), []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		test(t, o)
	})
}

func (o *office) api() *datadogapi.Client {
	return datadogapi.New(datadogapi.Options{
		URL: "http://datadog.fake", APIKeyFile: filepath.Join(o.folder, "api"), AppKeyFile: filepath.Join(o.folder, "app"), Transport: o.fake.Transport(),
	})
}

func (o *office) stateFile() string { return filepath.Join(o.folder, "state", "provision.json") }

// provisioner is a fresh process.
func (o *office) provisioner(change func(*Options)) *Provisioner {
	o.t.Helper()
	options := Options{API: o.api(), Wanted: o.wanted, State: o.stateFile()}
	if change != nil {
		change(&options)
	}
	p, err := New(options)
	if err != nil {
		o.t.Fatal(err)
	}
	return p
}

// apply plans and applies, as one run of the command.
func (o *office) apply(ctx context.Context, change func(*Options)) (*Plan, error) {
	o.t.Helper()
	p := o.provisioner(change)
	plan, err := p.Plan(ctx)
	if err != nil {
		return nil, err
	}
	return plan, p.Apply(ctx, plan)
}

// must is apply, without an error.
func (o *office) must(change func(*Options)) *Plan {
	o.t.Helper()
	plan, err := o.apply(o.t.Context(), change)
	if err != nil {
		o.t.Fatal(err)
	}
	return plan
}

// writes are the requests since the journal was cleared that changed something.
func (o *office) writes() []string {
	var out []string
	for _, r := range o.fake.Journal() {
		if r.Method != http.MethodGet && !strings.HasSuffix(r.Path, "/validate") {
			out = append(out, r.Method+" "+r.Path)
		}
	}
	return out
}

// marks are the keys of everything marked, with how often each is there.
func (o *office) marks() map[string]int {
	out := map[string]int{}
	for kind, all := range map[Kind][]map[string]any{Monitor: o.fake.Monitors(), Dashboard: o.fake.Dashboards(), SLO: o.fake.SLOs(), Correction: o.fake.Corrections()} {
		for _, body := range all {
			if key, ok := markOf(kind, plainMap(o.t, body)); ok {
				out[string(kind)+"/"+key]++
			}
		}
	}
	return out
}

func plainMap(t *testing.T, v any) map[string]any {
	t.Helper()
	out, ok := plain(v).(map[string]any)
	if !ok {
		t.Fatalf("%v is no object", v)
	}
	return out
}

// once reports whether everything wanted is there once, and nothing else is marked.
func (o *office) once() error {
	want := map[string]int{}
	for _, w := range o.wanted {
		want[string(w.Kind)+"/"+w.Key] = 1
	}
	if got := o.marks(); !maps.Equal(got, want) {
		return fmt.Errorf("there are %v, want %v", got, want)
	}
	return nil
}

const board = `{"title":"yoyu / %[1]s","description":"About %[1]s.","layout_type":"ordered","template_variables":[{"name":"env","prefix":"env","available_values":[],"defaults":["*"]}],"widgets":[
 {"definition":{"type":"note","content":"Hello"}},
 {"definition":{"type":"query_value","title":"Budget left","autoscale":true,"precision":2,"requests":[{"response_format":"scalar","queries":[{"aggregator":"last","data_source":"metrics","name":"a","query":"min:slo.error_budget_remaining_ratio{$env}"}],"formulas":[{"formula":"a * 100"}]}]}}]}`

func wanted(t *testing.T) []Object {
	t.Helper()
	out := Monitors(Watch{
		Severities: []string{"page", "ticket"}, Sent: []*sinks.Family{sinks.SLORemainingRatio, sinks.SLOAlertBurnRatio, sinks.SLOBurnRate},
		Env: true, Notify: map[string][]string{"page": {"@pagerduty-sre"}}, ExternalURL: "https://yoyu.example",
	})
	boards, err := Dashboards([]Drawn{{"yoyu-overview", fmt.Appendf(nil, board, "overview")}, {"yoyu-slo", fmt.Appendf(nil, board, "slo")}})
	if err != nil {
		t.Fatal(err)
	}
	target, err := slo.ParsePercent("99.9")
	if err != nil {
		t.Fatal(err)
	}
	all := []Native{{
		Objective: &slo.Objective{Name: "checkout", Service: "Shop", Target: target, Period: slo.RollingPeriod(30 * slo.Day), Labels: map[string]string{"team": "Payments"}, GroupBy: []string{"route"},
			Corrections: []slo.Correction{{Name: "db-move", Effect: slo.Drop, When: move}, {Name: "Nightly", Effect: slo.Drop, When: nightly{}}}},
		CountedBy: "datadog", Total: "sum:http.hits{*} + sum:rpc.hits{*}", Bad: "sum:http.errors{*} - sum:http.known{*}",
	}}
	natives, left := SLOs(all)
	corrections, unsaid := Corrections(all)
	if len(left) > 0 || len(unsaid) > 0 {
		t.Fatal(left, unsaid)
	}
	return append(append(append(out, boards...), natives...), corrections...)
}

// one is one of the objects.
func one(all []Object, kind Kind, key string) Object {
	return all[slices.IndexFunc(all, func(o Object) bool { return o.Kind == kind && o.Key == key })]
}

var move = slo.Once{From: time.Date(2026, time.November, 2, 16, 0, 0, 500, time.UTC), To: time.Date(2026, time.November, 2, 17, 0, 0, 500, time.UTC)}

// nightly is half an hour every night at three o'clock of UTC.
type nightly struct{}

func (nightly) Recurs() (string, time.Time, *time.Location, time.Duration) {
	return "FREQ=DAILY;BYHOUR=3", time.Time{}, time.UTC, 30 * time.Minute
}

func (nightly) String() string { return "nightly" }

func (nightly) Within(span slo.Span) []slo.Span {
	var out []slo.Span
	for day := span.From.UTC().Truncate(slo.Day); day.Before(span.To); day = day.Add(slo.Day) {
		one := slo.Span{From: day.Add(3 * time.Hour), To: day.Add(3*time.Hour + 30*time.Minute)}
		if one.From.Before(span.To) && span.From.Before(one.To) {
			out = append(out, one)
		}
	}
	return out
}

// Applied twice it writes nothing, whatever Datadog makes of what it is sent; a plan alone writes
// nothing at all, neither there nor here.
func TestTwice(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		plan, err := o.provisioner(nil).Plan(t.Context())
		if err != nil || plan.Writes() != len(o.wanted) || len(o.writes()) != 0 {
			t.Fatalf("%v, plan of %d writes, %v written", err, plan.Writes(), o.writes())
		}
		if _, err := os.Stat(o.stateFile()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a plan wrote the state: %v", err)
		}
		o.must(nil)
		if err := o.once(); err != nil || len(o.writes()) != len(o.wanted) {
			t.Errorf("%v; written %v", err, o.writes())
		}
		for range 5 { // tags are shuffled anew with every read
			o.fake.ClearJournal()
			plan = o.must(nil)
			if plan.Writes() != 0 || len(o.writes()) != 0 {
				t.Errorf("the second time %v is written", o.writes())
			}
		}
	})
}

// The state of a machine that is gone is not needed: what carries the mark is adopted.
func TestAdopted(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		if err := os.Remove(o.stateFile()); err != nil {
			t.Fatal(err)
		}
		o.fake.ClearJournal()
		o.must(nil)
		if err := o.once(); err != nil || len(o.writes()) != 0 {
			t.Errorf("%v; written %v", err, o.writes())
		}
		o.fake.Fault(fake.Fault{Method: "GET", Path: "(monitor|dashboard|slo|correction)$", Do: fake.EmptyList})
		if _, err := o.apply(t.Context(), nil); err == nil {
			t.Error("what was adopted is not remembered")
		}
	})
}

// killed ends the process after so many requests: the context is gone before the next one.
type killed struct {
	http.RoundTripper
	after  int
	before bool // the last request never leaves; else its answer never arrives
	stop   context.CancelFunc
}

func (k *killed) RoundTrip(r *http.Request) (*http.Response, error) {
	if k.after--; k.after < 0 {
		return nil, context.Canceled
	}
	if k.after > 0 {
		return k.RoundTripper.RoundTrip(r)
	}
	if !k.before {
		response, err := k.RoundTripper.RoundTrip(r)
		if err == nil {
			response.Body.Close()
		}
	}
	k.stop()
	return nil, context.Canceled
}

// Killed at any request, before it leaves or before its answer arrives, and run again, it makes
// nothing twice and ends as it should, also where listings lag behind.
func TestKilledAnywhere(t *testing.T) {
	for after := 1; ; after++ {
		done := false
		for _, before := range []bool{true, false} {
			for _, lag := range []time.Duration{0, 10 * time.Second} {
				inOffice(t, func(t *testing.T, o *office) {
					ctx, stop := context.WithCancel(t.Context())
					defer stop()
					// The objects that listings must not know twice.
					var api *datadogapi.Client
					k := &killed{RoundTripper: o.fake.Transport(), after: after, before: before, stop: stop}
					api = datadogapi.New(datadogapi.Options{URL: "http://datadog.fake", APIKeyFile: filepath.Join(o.folder, "api"), AppKeyFile: filepath.Join(o.folder, "app"), Transport: k})
					_, err := o.apply(ctx, func(options *Options) { options.API = api })
					done = err == nil
					if lag > 0 {
						o.fake.Fault(fake.Fault{Method: "GET", Path: "(monitor|dashboard|slo|correction)$", Do: fake.StaleList(lag)})
						o.fake.Fault(fake.Fault{Method: "GET", Path: "(monitor|dashboard|slo|correction)/", Do: fake.NotFound(lag)})
					}
					if _, err := o.apply(t.Context(), nil); err != nil {
						// An empty listing is not believed; a little later it is right.
						if !strings.Contains(err.Error(), "the listing is empty") || lag == 0 {
							t.Fatalf("killed at %d (%v, %v): %v", after, before, lag, err)
						}
						<-time.After(lag)
						o.must(nil)
					}
					if err := o.once(); err != nil {
						t.Errorf("killed at %d (%v, lag %v): %v", after, before, lag, err)
					}
				})
			}
		}
		if done {
			if after < 2*len(wanted(t)) {
				t.Errorf("only %d places to be killed at", after)
			}
			return
		}
	}
}

// An object that was made and whose answer never came, or came as a failure, is found and kept.
func TestAnswerLost(t *testing.T) {
	for name, what := range map[string]fake.Action{"done, then hang": fake.DoneThenHang, "done, then 502": fake.AcceptedThen(502), "cut within": fake.ResetMidBody, "half an answer": fake.Truncated} {
		for _, kind := range kinds {
			inOffice(t, func(t *testing.T, o *office) {
				o.fake.Fault(fake.Fault{Method: "POST", Path: kind.path() + "$", Times: 1, Do: what})
				o.must(nil)
				if err := o.once(); err != nil {
					t.Errorf("%s of a %s: %v", name, kind, err)
				}
				o.fake.ClearJournal()
				if o.must(nil); len(o.writes()) != 0 {
					t.Errorf("%s of a %s: then %v", name, kind, o.writes())
				}
			})
		}
	}
}

// A listing that is empty and should not be stops everything; so does one that cannot be read.
func TestEmptyListing(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		for _, kind := range kinds {
			o.fake.ClearJournal()
			o.fake.Fault(fake.Fault{Method: "GET", Path: kind.path() + "$", Do: fake.EmptyList})
			_, err := o.apply(t.Context(), nil)
			want := fmt.Sprintf(`^%ss: the listing is empty, and [124] of them are known by .*: nothing was changed; run it again later, or with --recreate if they were deleted on purpose$`, kind)
			if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) || len(o.writes()) != 0 {
				t.Errorf("error %v, written %v", err, o.writes())
			}
			o.fake.ClearFaults()
			for name, bad := range map[string]fake.Action{
				"null": fake.StatusBody(200, "application/json", "null"), "an object": fake.StatusBody(200, "application/json", "{}"),
				"a page": fake.HTML(200), "forbidden": fake.Status(403), "down": fake.Status(503),
			} {
				o.fake.Fault(fake.Fault{Method: "GET", Path: kind.path() + "$", Do: bad})
				if _, err := o.apply(t.Context(), nil); err == nil || len(o.writes()) != 0 {
					t.Errorf("%s for a listing of %ss: %v, written %v", name, kind, err, o.writes())
				}
				o.fake.ClearFaults()
			}
		}
		// Without a state the listings have each other.
		if err := os.Remove(o.stateFile()); err != nil {
			t.Fatal(err)
		}
		o.fake.Fault(fake.Fault{Method: "GET", Path: "dashboard$", Do: fake.EmptyList})
		if _, err := o.apply(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "dashboards: the listing is empty, and that of monitors is not: ") {
			t.Errorf("error %v", err)
		}
		if err := o.once(); err != nil {
			t.Error(err)
		}
	})
}

// Half a listing is no reason to make the other half again; what is really gone is made anew.
func TestPartialListing(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		o.fake.ClearJournal()
		o.fake.Fault(fake.Fault{Method: "GET", Path: "(monitor|dashboard|correction)$", Do: fake.PartialList})
		if o.must(nil); len(o.writes()) != 0 {
			t.Errorf("written %v", o.writes())
		}
		o.fake.ClearFaults()
		o.fake.Remove("monitor", fmt.Sprint(o.fake.Monitors()[1]["id"]))
		if o.must(nil); !slices.Equal(o.writes(), []string{"POST /api/v1/monitor"}) {
			t.Errorf("written %v, want the monitor that was deleted", o.writes())
		}
		for _, m := range o.fake.Monitors() {
			o.fake.Remove("monitor", fmt.Sprint(m["id"]))
		}
		if _, err := o.apply(t.Context(), nil); err == nil {
			t.Error("everything is gone, and nobody asks")
		}
		o.must(func(options *Options) { options.Recreate = true })
		if err := o.once(); err != nil {
			t.Error(err)
		}
	})
}

// A listing that shows fewer objects at once than it is asked for is read to its end: what stands on
// its later pages is not made a second time, also where no state knows of it.
func TestShortPages(t *testing.T) {
	inOfficeOf(t, fake.Variant{Page: 1}, func(t *testing.T, o *office) {
		o.must(nil)
		made := o.marks()
		if err := os.Remove(o.stateFile()); err != nil {
			t.Fatal(err)
		}
		o.fake.ClearJournal()
		o.must(nil)
		if got := o.marks(); len(o.writes()) != 0 || !maps.Equal(got, made) {
			t.Errorf("written %v: there are %v, want %v", o.writes(), got, made)
		}
		o.must(func(options *Options) { options.Wanted, options.Prune = nil, true })
		if got := o.marks(); len(got) != 0 {
			t.Errorf("left after --prune: %v", got)
		}
	})
}

// What a person changed by hand is shown and restored; what a person added beside it stays.
func TestDrift(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		monitor := o.fake.Monitors()[0]
		id := fmt.Sprint(monitor["id"])
		options := plainMap(t, monitor["options"])
		options["thresholds"] = map[string]any{"critical": 2.0}
		options["silenced"] = map[string]any{"slo:checkout": nil}
		o.fake.Change("monitor", id, map[string]any{
			"message": "Never mind.", "options": options, "tags": append(monitor["tags"].([]any), "cost:low"), "restricted_roles": []any{"abc"},
		})
		dashboard := o.fake.Dashboards()[0]
		widgets := dashboard["widgets"].([]any)
		o.fake.Change("dashboard", fmt.Sprint(dashboard["id"]), map[string]any{"widgets": widgets[:1], "title": "Mine"})
		o.fake.ClearJournal()
		plan := o.must(nil)
		var out strings.Builder
		if err := plan.Write(&out); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{
			"~ update monitor burn-page (" + id + ")\n", `    message: is "Never mind.", want "{{#is_alert}}`, "    options.thresholds.critical: is 2, want 1\n",
			`    title: is "Mine", want "yoyu / overview"` + "\n", "    widgets: has 1 entries, want 2\n", "\n0 to create, 2 to update, 0 to delete, 7 as they should be\n",
		} {
			if !strings.Contains(out.String(), line) {
				t.Errorf("printed\n%s\nwant %s", out.String(), line)
			}
		}
		if len(o.writes()) != 2 {
			t.Errorf("written %v", o.writes())
		}
		after := o.fake.Monitors()[0]
		if text := fmt.Sprint(after["tags"], after["options"]); !strings.Contains(text, "cost:low") || !strings.Contains(text, "slo:checkout") {
			t.Errorf("what was added is lost: %s", text)
		}
		if plan = o.must(nil); plan.Writes() != 0 {
			t.Errorf("it is not restored: %+v", plan)
		}
	})
}

// Nothing without the mark is touched, however much it looks like yoyu's own, not even one that was
// yoyu's and that somebody took over.
func TestForeign(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		foreign := map[string]bool{}
		strange := plainMap(t, o.wanted[0].Body)
		strange["id"], strange["tags"] = json.Number("77"), []any{"managed_by:terraform", "yoyu_id:burn-page"}
		o.fake.Insert("monitor", strange)
		half := plainMap(t, o.wanted[1].Body)
		half["id"], half["tags"] = json.Number("78"), []any{"managed_by:yoyu"}
		o.fake.Insert("monitor", half)
		o.fake.Insert("dashboard", map[string]any{"id": "aaa-bbb-ccc", "title": "yoyu / overview", "description": "managed_by:yoyu yoyu_id:yoyu-overview\nbut not as the last line", "layout_type": "ordered", "widgets": []any{}})
		foreign["77"], foreign["78"], foreign["aaa-bbb-ccc"] = true, true, true
		o.must(nil)
		taken := o.fake.Monitors()[2]
		id := fmt.Sprint(taken["id"])
		o.fake.Change("monitor", id, map[string]any{"tags": []any{"team:sre"}, "message": "Ours now."})
		foreign[id] = true
		o.fake.ClearJournal()
		plan := o.must(func(options *Options) { options.Prune = true })
		if plan.Writes() != 0 || !slices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Action == Leave && s.ID == id && s.Why != "" }) {
			t.Errorf("plan %+v", plan)
		}
		o.wanted = o.wanted[:1]
		o.must(func(options *Options) { options.Prune = true })
		for _, w := range o.writes() {
			if foreign[w[strings.LastIndex(w, "/")+1:]] {
				t.Errorf("%s is about what is not yoyu's", w)
			}
		}
		if n := len(o.fake.Monitors()); n != 3 {
			t.Errorf("%d monitors are left, want the three of others", n)
		}
	})
}

// What is not wanted any more stays until it is pruned: dashboards before monitors before SLOs.
func TestPrune(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		all := o.wanted
		o.wanted = slices.DeleteFunc(slices.Clone(all), func(w Object) bool {
			return w.Key == "burn-ticket" || w.Key == "yoyu-slo" || w.Kind == SLO || w.Kind == Correction
		})
		o.fake.ClearJournal()
		plan := o.must(nil)
		if plan.Writes() != 0 || len(o.writes()) != 0 {
			t.Errorf("without --prune: %v", o.writes())
		}
		left := 0
		for _, s := range plan.Steps {
			if s.Action == Leave && s.Why == "it is not wanted any more; --prune deletes it" {
				left++
			}
		}
		if left != 5 {
			t.Errorf("%d are said to be left, want 5", left)
		}
		o.must(func(options *Options) { options.Prune = true })
		var kinds []string
		for _, w := range o.writes() {
			kinds = append(kinds, strings.Join(strings.Split(w, "/")[3:len(strings.Split(w, "/"))-1], "/"))
		}
		if !slices.Equal(kinds, []string{"dashboard", "monitor", "slo/correction", "slo/correction", "slo"}) {
			t.Errorf("deleted %v", o.writes())
		}
		if err := o.once(); err != nil {
			t.Error(err)
		}
		o.wanted = all // and back again
		if plan = o.must(nil); plan.Writes() != 5 {
			t.Errorf("%d writes to bring them back", plan.Writes())
		}
	})
}

// Two with one mark, as a tool that lost its memory makes them, are said, and pruned to one.
func TestTwoWithOneMark(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		twin := plainMap(t, o.fake.Dashboards()[0])
		twin["id"] = "zzz-zzz-zzz"
		o.fake.Insert("dashboard", twin)
		if plan := o.must(nil); plan.Writes() != 0 {
			t.Errorf("plan %+v", plan)
		}
		o.must(func(options *Options) { options.Prune = true })
		if err := o.once(); err != nil {
			t.Error(err)
		}
	})
}

// A monitor that is there already under another's name is not taken over.
func TestDuplicateOfAnother(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		const said = `{"errors":["Duplicate of an existing monitor_id:77 org_id:1"]}`
		other := plainMap(t, o.wanted[0].Body)
		other["id"], other["tags"] = json.Number("77"), []any{"team:sre"}
		o.fake.Insert("monitor", other)
		o.fake.Fault(fake.Fault{Method: "POST", Path: "monitor$", Times: 1, Do: fake.StatusBody(400, "application/json", said)})
		if _, err := o.apply(t.Context(), nil); err == nil || err.Error() != "monitor burn-page: 400 Bad Request: Duplicate of an existing monitor_id:77 org_id:1: that one is not yoyu's" {
			t.Errorf("error %v", err)
		}
		o.must(nil)
		if err := o.once(); err != nil {
			t.Error(err)
		}
	})
}

// Limits of requests are waited for when that is a matter of seconds.
func TestLimits(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.fake.Fault(fake.Fault{Method: "POST", Path: "monitor$", Times: 2, Do: fake.TooMany("7")})
		o.fake.Fault(fake.Fault{Method: "GET", Path: "dashboard", Times: 2, Do: fake.TooMany("3")})
		began := time.Now()
		o.must(nil)
		if took := time.Since(began); o.once() != nil || took != 20*time.Second {
			t.Errorf("%v after %s", o.once(), took)
		}
		o.fake.Fault(fake.Fault{Method: "GET", Path: "monitor$", Do: fake.TooMany("1800")})
		began = time.Now()
		if _, err := o.apply(t.Context(), nil); err == nil || time.Since(began) > time.Second {
			t.Errorf("%v after %s, want an error at once", err, time.Since(began))
		}
	})
}

// What Datadog refuses is said with its words, and nothing is pending afterwards.
func TestRefused(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.wanted[0].Body["query"] = "max(last_5m):nonsense > 1"
		_, err := o.apply(t.Context(), nil)
		if err == nil || !strings.HasPrefix(err.Error(), "monitor burn-page: validate: 400 Bad Request: ") || len(o.writes()) != 0 {
			t.Errorf("error %v, written %v", err, o.writes())
		}
		if strings.Contains(err.Error(), fake.AppKey) || strings.Contains(err.Error(), fake.APIKey) {
			t.Errorf("%v holds a key", err)
		}
		o.wanted = wanted(t)
		one(o.wanted, Dashboard, "yoyu-slo").Body["layout_type"] = "tower"
		if _, err = o.apply(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "dashboard yoyu-slo: 400 Bad Request: ") {
			t.Errorf("error %v", err)
		}
		state, err := os.ReadFile(o.stateFile())
		if err != nil || strings.Contains(string(state), "pending") {
			t.Errorf("state %s, %v", state, err)
		}
	})
}

// A damaged state is refused with what to do; another organisation's is left alone.
func TestState(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		good, err := os.ReadFile(o.stateFile())
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := strings.ReplaceAll(string(good), "http://datadog.fake", "https://api.datadoghq.eu")
		for text, want := range map[string]string{
			"{": "is damaged", `{"version":2}`: "is of version 2, this yoyu writes 1",
		} {
			if err := os.WriteFile(o.stateFile(), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := New(Options{API: o.api(), State: o.stateFile()}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", text, err, want)
			}
		}
		if err := os.WriteFile(o.stateFile(), []byte(elsewhere), 0o600); err != nil {
			t.Fatal(err)
		}
		o.must(nil)
		both, err := os.ReadFile(o.stateFile())
		if err != nil || strings.Count(string(both), `"monitor/burn-page"`) != 2 {
			t.Errorf("state %s, %v", both, err)
		}
		if left, _ := filepath.Glob(o.stateFile() + ".*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// What is sent is what the official client means by it: nothing that it does not know.
func TestOfficialClientReadsThem(t *testing.T) {
	unread := regexp.MustCompile(`UnparsedObject:map\[[^\]]`)
	for _, o := range wanted(t) {
		text, err := json.Marshal(o.Body)
		if err != nil {
			t.Fatal(err)
		}
		var into any
		switch o.Kind {
		case Monitor:
			into = new(datadogV1.Monitor)
		case Dashboard:
			into = new(datadogV1.Dashboard)
		case SLO:
			into = new(datadogV1.ServiceLevelObjectiveRequest)
		case Correction:
			into = new(datadogV1.SLOCorrectionCreateRequestAttributes)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s %s: %v", o.Kind, o.Key, err)
		}
		again, err := json.Marshal(into)
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]any
		if err := json.Unmarshal(again, &back); err != nil {
			t.Fatal(err)
		}
		if d := differences(o.Body, plainMap(t, back)); len(d) > 0 {
			t.Errorf("%s %s: the client drops %v", o.Kind, o.Key, d)
		}
		if printed := fmt.Sprintf("%+v", into); unread.MatchString(printed) {
			t.Errorf("%s %s: the client cannot read part of it", o.Kind, o.Key)
		}
	}
}

func TestMonitorQueries(t *testing.T) {
	f := func(w Watch, want ...string) {
		t.Helper()
		var got []string
		for _, m := range Monitors(w) {
			got = append(got, m.Body["query"].(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	f(Watch{Severities: []string{"page", "Slow Burn"}, Sent: []*sinks.Family{sinks.SLOBurnRate}, Env: true},
		"max(last_5m):max:slo.alert_burn_ratio{severity:page} by {slo,service,env} > 1",
		"max(last_5m):max:slo.alert_burn_ratio{severity:slow_burn} by {slo,service,env} > 1",
		"max(last_5m):max:slo.burn_rate{window:5m} by {slo,service,env} < 0",
		"max(last_5m):min:slo.error_budget_remaining_ratio{*} by {slo,service,env} <= 0")
	f(Watch{Severities: []string{"page"}, Sent: []*sinks.Family{sinks.SLOAlertBurnRatio}},
		"max(last_5m):max:slo.alert_burn_ratio{severity:page} by {slo,service} > 1",
		"max(last_5m):max:slo.alert_burn_ratio{severity:page} by {slo,service} < 0",
		"max(last_5m):min:slo.error_budget_remaining_ratio{*} by {slo,service} <= 0")
}

func TestNative(t *testing.T) {
	text, err := json.Marshal(one(wanted(t), SLO, "checkout").Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"good_events_formula":{"formula":"query1 + query2 - (query3 - query4)"}`, `"total_events_formula":{"formula":"query1 + query2"}`,
		`"query":"sum:http.errors{*} by {route}.as_count()"`, `"target_threshold":99.9,`, `"thresholds":[{"target":99.9,"timeframe":"30d"}]`,
		`"tags":["managed_by:yoyu","yoyu_id:checkout","service:shop","team:payments"]`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s\nlacks %s", text, part)
		}
	}
	percent := func(text string) slo.Share {
		s, err := slo.ParsePercent(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	month := slo.RollingPeriod(30 * slo.Day)
	of := func(o slo.Objective) Native {
		return Native{Objective: &o, CountedBy: "datadog", Total: "sum:http.hits{*}", Good: "sum:http.hits{code:2xx}"}
	}
	counters := of(slo.Objective{Name: "counters", Target: percent("99.9"), Period: month})
	counters.CountedBy = "counters"
	_, left := SLOs([]Native{
		counters,
		of(slo.Objective{Name: "good", Target: percent("99.9"), Period: month}),
		of(slo.Objective{Name: "four-weeks", Target: percent("99.9"), Period: slo.RollingPeriod(28 * slo.Day)}),
		of(slo.Objective{Name: "fine", Target: percent("99.9995"), Period: month}),
		of(slo.Objective{Name: "slices", Target: percent("99.9"), Period: month, Budgeting: slo.Budgeting{Method: slo.Timeslices, Slice: time.Minute}}),
	})
	if want := map[string]string{
		"counters": "it is counted by counters, not from Datadog's metrics", "four-weeks": "Datadog has SLOs of 7d, 30d and 90d, not of 28d",
		"fine": "Datadog keeps three decimals of a target, not 99.9995", "slices": "its budget counts slices of time",
	}; !maps.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}

// One that was made a moment ago and is in no listing and no read yet is waited for, not made again.
func TestReadAfterWrite(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.must(nil)
		<-time.After(time.Hour)
		o.fake.Remove("dashboard", fmt.Sprint(o.fake.Dashboards()[1]["id"]))
		o.must(nil)
		o.fake.ClearJournal()
		o.fake.Fault(fake.Fault{Method: "GET", Path: "dashboard$", Do: fake.StaleList(10 * time.Second)})
		o.fake.Fault(fake.Fault{Method: "GET", Path: "dashboard/", Do: fake.NotFound(10 * time.Second)})
		if o.must(nil); len(o.writes()) != 0 {
			t.Errorf("written %v", o.writes())
		}
	})
}

// What Datadog writes otherwise than it was sent is no difference; anything else is.
func TestDifferences(t *testing.T) {
	for _, c := range []struct {
		name         string
		ours, theirs string
		want         []string
	}{
		{"a number with a point", `{"options":{"thresholds":{"critical":1}}}`, `{"options":{"thresholds":{"critical":1.0,"ok":null}}}`, nil},
		{"another number", `{"priority":1}`, `{"priority":2}`, []string{"priority: is 2, want 1"}},
		{"space at the end", `{"query":"a > 2\n"}`, `{"query":"a > 2"}`, nil},
		{"two types that are one", `{"type":"query alert"}`, `{"type":"metric alert"}`, nil},
		{"two types", `{"type":"query alert"}`, `{"type":"composite"}`, []string{`type: is "composite", want "query alert"`}},
		{"a type within", `{"a":{"type":"query alert"}}`, `{"a":{"type":"metric alert"}}`, []string{`a.type: is "metric alert", want "query alert"`}},
		{"tags in any order", `{"tags":["a","b"]}`, `{"tags":["b","c","a"]}`, nil},
		{"a tag that is gone", `{"tags":["a","b"]}`, `{"tags":["b"]}`, []string{`tags: is ["b"], want ["a","b"]`}},
		{"lists in order", `{"x":["a","b"]}`, `{"x":["b","a"]}`, []string{`x[0]: is "b", want "a"`, `x[1]: is "a", want "b"`}},
		{"what is added", `{"a":[{"b":1}]}`, `{"a":[{"b":1,"id":7}],"c":2}`, nil},
		{"what is empty", `{"a":{},"b":[],"c":"","d":null}`, `{}`, nil},
		{"what is gone", `{"a":{"b":true}}`, `{}`, []string{`a: is absent, want {"b":true}`}},
		{"false is not absent", `{"a":false}`, `{}`, []string{"a: is absent, want false"}},
		{"another kind of thing", `{"a":{"b":1}}`, `{"a":[1]}`, []string{`a: is [1], want {"b":1}`}},
	} {
		var ours, theirs map[string]any
		if err := errors.Join(json.Unmarshal([]byte(c.ours), &ours), json.Unmarshal([]byte(c.theirs), &theirs)); err != nil {
			t.Fatal(err)
		}
		if got := differences(ours, theirs); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
