package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/demo"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	sinkdatadog "github.com/yoyu-sre/yoyu/sinks/datadog"
	"github.com/yoyu-sre/yoyu/slo"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

// demoReport is what the demo's shop reports at its opening.
func demoReport(t *testing.T) (*sinks.Report, *config.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	shop := demo.New(demo.Options{Seed: 1, Now: time.Now(), Dir: t.TempDir()})
	if err := shop.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); shop.Wait() }()
	c, err := config.Parse("demo.yaml", shop.Config())
	if err != nil {
		t.Fatal(err)
	}
	parts, err := assemble(c, nil, partOptions{log: slogDiscard})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := newEngine(c)
	if err != nil {
		t.Fatal(err)
	}
	memory := rightsizing.NewMemory()
	if err := remember(ctx, engine, c, parts, memory, shop); err != nil {
		t.Fatal(err)
	}
	var workloads []rightsizing.Workload
	if workloads, err = parts.workloads[0].Collect(ctx, slo.Span{}); err != nil {
		t.Fatal(err)
	}
	r := &sinks.Report{Time: shop.Opening(), SLOs: engine.Evaluate(shop.Opening()), Workloads: workloads}
	judge(c, memory)(r)
	return r, c
}

// datadogFolder is a configuration that sends to a fake Datadog, with its keys beside it.
func datadogFolder(t *testing.T, f *fake.Datadog, more string) (file string) {
	t.Helper()
	folder := t.TempDir()
	for name, key := range map[string]string{"api": fake.APIKey, "app": fake.AppKey} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(folder, "config.yaml")
	text := fmt.Sprintf(`sources:
  - {name: counts, type: datadog, url: %[1]q, api_key_file: %[2]s/api, app_key_file: %[2]s/app}
sinks:
  - {name: dd, type: datadog, url: %[1]q, api_key_file: %[2]s/api, tags: [env:prod]%[3]s}
slos:
  - name: checkout
    service: checkout
    objective: 99.9
    period: 30d
    indicator: {datadog: {total: "sum:http.hits{*}", bad: "sum:http.errors{*}"}}
`, f.URL, folder, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func provisionIt(t *testing.T, file string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	code = Main(t.Context(), append([]string{"provision", "datadog", "--config.file=" + file, "--storage.path=" + filepath.Join(filepath.Dir(file), "data")}, args...), &out, &errs)
	return out.String(), errs.String(), code
}

var (
	monitorQuery = regexp.MustCompile(`^max\(last_\w+\):(.*) (?:>|<|<=|>=) -?[0-9.]+$`)
	variable     = regexp.MustCompile(`\$\w+`)
)

// asked are the queries of everything that was provisioned, by what they are in. Template variables
// stand for everything.
func asked(t *testing.T, f *fake.Datadog) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, m := range f.Monitors() {
		query := fmt.Sprint(m["query"])
		inner := monitorQuery.FindStringSubmatch(query)
		if inner == nil {
			t.Fatalf("monitor %v: %s is no query with a threshold", m["name"], query)
		}
		out["monitor "+query] = inner[1]
	}
	for _, d := range f.Dashboards() {
		text, err := json.Marshal(d["widgets"])
		if err != nil {
			t.Fatal(err)
		}
		var widgets []struct {
			Definition struct {
				Title    string
				Requests []struct {
					Queries []struct{ Query string }
				}
			}
		}
		if err := json.Unmarshal(text, &widgets); err != nil {
			t.Fatal(err)
		}
		for _, w := range widgets {
			for _, r := range w.Definition.Requests {
				for _, q := range r.Queries {
					all := variable.ReplaceAllString(q.Query, "*")
					all = strings.NewReplacer("{*,*,*}", "{*}", "{*,*}", "{*}", ",*,*,*}", "}", ",*,*}", "}").Replace(all)
					out[fmt.Sprintf("%v: %s: %s", d["title"], w.Definition.Title, q.Query)] = all
				}
			}
		}
	}
	return out
}

// Every query of the monitors and dashboards that are provisioned is answered by what the sink
// sends, whatever its preset, after the demo's report was sent once.
func TestProvisionedQueriesAreAnswered(t *testing.T) {
	report, _ := demoReport(t)
	for _, preset := range presetNames {
		f := fake.Start(t, fake.Options{Clock: time.Now})
		file := datadogFolder(t, f, ", metrics: "+preset)
		settings := sinkdatadog.Config{URL: f.URL, APIKeyFile: filepath.Join(filepath.Dir(file), "api"), Metrics: sinkdatadog.Preset(preset), Tags: []string{"env:prod"}}
		sink, err := sinkdatadog.New(sinkdatadog.Options{Name: "dd", Config: settings})
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.Write(t.Context(), report); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, code := provisionIt(t, file, "--apply", "--web.external-url=https://yoyu.example/")
		if code != 0 {
			t.Fatalf("%s: exit %d: %s%s", preset, code, stdout, stderr)
		}
		queries := asked(t, f)
		least := map[string]int{"minimal": 10, "standard": 20, "full": 25}[preset]
		if len(queries) < least {
			t.Errorf("%s: %d queries, want at least %d", preset, len(queries), least)
		}
		for place, query := range queries {
			found, err := f.Query(query, report.Time.Add(-5*time.Minute), report.Time.Add(time.Minute))
			if err != nil || len(found) == 0 {
				t.Errorf("%s: %s\nasked as %s: %d series, %v", preset, place, query, len(found), err)
			}
			for _, r := range found {
				if strings.Contains(strings.Join(r.Group, ","), "N/A") {
					t.Errorf("%s: %s\ngroup %v: the series do not carry what is grouped by", preset, place, r.Group)
				}
			}
		}
	}
}

// The command prints a plan and changes nothing; --apply carries it out, and a second time there is
// nothing to carry out.
func TestProvisionCommand(t *testing.T) {
	f := fake.Start(t, fake.Options{Clock: time.Now})
	file := datadogFolder(t, f, "")
	stdout, stderr, code := provisionIt(t, file)
	if code != 0 || !strings.Contains(stdout, "+ create monitor burn-page\n") || !strings.Contains(stdout, "\n6 to create, 0 to update, 0 to delete, 0 as they should be\n") ||
		stderr != "Nothing was changed: --apply carries it out.\n" || len(f.Monitors())+len(f.Dashboards()) != 0 {
		t.Errorf("exit %d, printed\n%s%s", code, stdout, stderr)
	}
	if _, stderr, code := provisionIt(t, file, "--apply", "--slos", "--notify", "page=@pagerduty-sre @slack-sre"); code != 0 || stderr != f.URL+" is as it should be.\n" {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if len(f.Monitors()) != 4 || len(f.Dashboards()) != 2 || len(f.SLOs()) != 1 || !strings.HasSuffix(fmt.Sprint(f.Monitors()[0]["message"]), "\n@pagerduty-sre @slack-sre") {
		t.Errorf("monitors %v", f.Monitors())
	}
	stdout, stderr, code = provisionIt(t, file, "--slos", "--notify", "page=@pagerduty-sre @slack-sre")
	if code != 0 || !strings.HasSuffix(stdout, "\n0 to create, 0 to update, 0 to delete, 7 as they should be\n") || stderr != "" {
		t.Errorf("exit %d, printed\n%s%s", code, stdout, stderr)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"yoyu: --notify paeg: there is no such monitor: there are page, ticket, data-missing, budget-spent\n", []string{"--notify", "paeg=@me"}},
		{"yoyu: --sink mimir: there is no such sink of type datadog: there are dd\n", []string{"--sink=mimir"}},
		{"yoyu: " + f.URL + ": app_key_file: open nowhere: no such file or directory\n", []string{"--app-key-file=nowhere"}},
	} {
		if _, stderr, code := provisionIt(t, file, c.args...); code != exitFault || stderr != c.want {
			t.Errorf("%v: exit %d: %s\nwant %s", c.args, code, stderr, c.want)
		}
	}
	f.Rotate(nil, []string{"another"})
	if _, stderr, code := provisionIt(t, file); code != exitFault || stderr != "yoyu: "+f.URL+": slos: 403 Forbidden: is a key wrong, or does the application key lack a scope?\n" {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// One site has many organisations: each sink's is provisioned with the application key of its own
// source, and what the state knows of one says nothing about another.
func TestProvisionTwoOrganisations(t *testing.T) {
	orgs := map[string]*fake.Datadog{}
	folder := t.TempDir()
	for _, name := range []string{"one", "two"} {
		api, app := name+"-api-key", name+"-app-key"
		orgs[api] = fake.New(fake.Options{Clock: time.Now, APIKeys: []string{api}, AppKeys: []string{app}})
		for _, key := range []string{api, app} {
			if err := os.WriteFile(filepath.Join(folder, key), []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		org := orgs[r.Header.Get("DD-API-KEY")]
		if org == nil {
			t.Errorf("%s %s has the key of no organisation", r.Method, r.URL.Path)
			http.Error(w, "no such organisation", http.StatusForbidden)
			return
		}
		org.ServeHTTP(w, r)
	}))
	defer server.Close()
	file := filepath.Join(folder, "config.yaml")
	text := fmt.Sprintf(`sources:
  - {name: one, type: datadog, url: %[1]q, api_key_file: one-api-key, app_key_file: one-app-key}
  - {name: two, type: datadog, url: %[1]q, api_key_file: two-api-key, app_key_file: two-app-key}
sinks:
  - {name: to-one, type: datadog, url: %[1]q, api_key_file: one-api-key}
  - {name: to-two, type: datadog, url: %[1]q, api_key_file: two-api-key}
  - {name: to-three, type: datadog, url: %[1]q, api_key_file: three-api-key}
defaults: {period: 30d, objective: 99.9, service: checkout}
slos:
  - {name: first, source: one, indicator: {datadog: {total: "sum:http.hits{*}", bad: "sum:http.errors{*}"}}}
  - {name: second, source: two, indicator: {datadog: {total: "sum:http.hits{*}", bad: "sum:http.errors{*}"}}}
`, server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, done := range []string{"6 to create, 0 to update, 0 to delete, 0 as they should be\n", "0 to create, 0 to update, 0 to delete, 6 as they should be\n"} {
		for _, sink := range []string{"to-one", "to-two"} {
			if stdout, stderr, code := provisionIt(t, file, "--sink="+sink, "--apply"); code != 0 || !strings.HasSuffix(stdout, done) {
				t.Errorf("%s: exit %d, printed\n%s%s\nwant %s", sink, code, stdout, stderr, done)
			}
		}
	}
	for key, org := range orgs {
		if len(org.Monitors()) != 4 || len(org.Dashboards()) != 2 {
			t.Errorf("%s: %d monitors, %d dashboards", key, len(org.Monitors()), len(org.Dashboards()))
		}
	}
	const want = "yoyu: --app-key-file is missing, and which of the sources one, two is of the sink's organisation nobody says: none has its api_key_file\n"
	if _, stderr, code := provisionIt(t, file, "--sink=to-three"); code != exitFault || stderr != want {
		t.Errorf("exit %d: %s\nwant %s", code, stderr, want)
	}
}

// Dashboards ask for the severities that the configuration has, not for those of the built-in policy.
func TestProvisionedSeverities(t *testing.T) {
	f := fake.Start(t, fake.Options{Clock: time.Now})
	file := datadogFolder(t, f, "")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, `    alert_policy: gentle
alert_policies:
  gentle: {severities: {Critical: {pairs: [{long: 1h, short: 5m, budget: 2%}]}, warn: {pairs: [{long: 1d, short: 2h, budget: 10%}]}}}
`...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := provisionIt(t, file, "--apply"); code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	got := map[string]int{}
	for _, query := range asked(t, f) {
		for _, m := range regexp.MustCompile(`severity:(\w+)`).FindAllStringSubmatch(query, -1) {
			got[m[1]]++
		}
	}
	// A monitor, a number and a column of the table each.
	if len(got) != 2 || got["critical"] != 3 || got["warn"] != 3 {
		t.Errorf("queries by severity: %v", got)
	}
}
