package alertmanager_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/alertmanager"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
)

func TestContract(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinks.Sink { return sinkFor(t, config(newReceiver(t).URL)) })
}

// received is an alert as it came over the wire.
type received struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

// receiver stands for an Alertmanager: it takes what is posted, and fails when told to.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests [][]received
	asked    int
	answer   func(w http.ResponseWriter) bool // true: it has answered
}

// all are the requests it took.
func (r *receiver) all() [][]received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// count is how often it was asked, well or not.
func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var alerts []received
		decoder := json.NewDecoder(request.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&alerts); err != nil || request.URL.Path != "/api/v2/alerts" || request.Method != http.MethodPost {
			t.Errorf("%s %s: %v", request.Method, request.URL.Path, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked++
		if r.answer != nil && r.answer(w) {
			return
		}
		r.requests = append(r.requests, alerts)
	}))
	t.Cleanup(r.Close)
	return r
}

// take returns what came since the last time, as "severity slo start..end" relative to a moment.
func (r *receiver) take(zero time.Time) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, request := range r.requests {
		for _, a := range request {
			out = append(out, fmt.Sprintf("%s %s..%s", a.Labels["severity"], a.StartsAt.Sub(zero), a.EndsAt.Sub(zero)))
		}
	}
	r.requests = nil
	return out
}

func (r *receiver) answers(f func(w http.ResponseWriter) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func config(urls ...string) alertmanager.Config {
	c := alertmanager.DefaultConfig()
	c.URLs = urls
	return c
}

func sinkFor(t *testing.T, c alertmanager.Config) sinks.Sink {
	t.Helper()
	web, err := url.Parse("https://slo.example.com/yoyu/")
	if err != nil {
		t.Fatal(err)
	}
	s, err := alertmanager.New(alertmanager.Options{
		Name: "am", Config: c, ExternalURL: web, ExternalLabels: map[string]string{"cluster": "tokyo", "team": "platform"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var zero = sinktest.Time

// firing is a report some time after zero in which severities fire, with the start of each.
func firing(at time.Duration, starts map[string]time.Duration) *sinks.Report {
	r := sinktest.Report()
	r.SLOs = r.SLOs[:1]
	r.Time = zero.Add(at)
	st := &r.SLOs[0]
	st.At = r.Time
	for i := range st.Alerts {
		a := &st.Alerts[i]
		start, fires := starts[a.Severity]
		a.Firing, a.Since = fires, time.Time{}
		if fires && start >= 0 {
			a.Since = zero.Add(start)
		}
	}
	return r
}

const unknown = -time.Second // a start that the report does not know

func write(t *testing.T, s sinks.Sink, r *sinks.Report) {
	t.Helper()
	if err := s.Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// What an Alertmanager is told, tick by tick: the start stays, the end moves ahead at each resend
// and is told again for a quarter of an hour once it is known.
func TestLifeOfAnAlert(t *testing.T) {
	type says = map[string]time.Duration
	for _, c := range []struct {
		name  string
		ticks []time.Duration
		fires func(at time.Duration) says
		want  map[time.Duration][]string
	}{
		{
			"starts, is told again every minute, ends",
			[]time.Duration{0, 30 * time.Second, time.Minute, 90 * time.Second, 2 * time.Minute, 3 * time.Minute, 17 * time.Minute, 18 * time.Minute, 19 * time.Minute},
			func(at time.Duration) says {
				if at < 90*time.Second {
					return says{"page": 0}
				}
				return nil
			},
			map[time.Duration][]string{
				0: {"page 0s..5m0s"}, time.Minute: {"page 0s..6m0s"}, 90 * time.Second: {"page 0s..1m30s"},
				3 * time.Minute: {"page 0s..1m30s"}, 17 * time.Minute: {"page 0s..1m30s"},
			},
		},
		{
			"a start unknown to the report is the first tick it was seen at",
			[]time.Duration{time.Minute, 2 * time.Minute},
			func(time.Duration) says { return says{"page": unknown} },
			map[time.Duration][]string{time.Minute: {"page 1m0s..6m0s"}, 2 * time.Minute: {"page 1m0s..7m0s"}},
		},
		{
			"late answers move the start of a run that goes on: it stays where it was said to be",
			[]time.Duration{time.Minute, 2 * time.Minute},
			func(at time.Duration) says {
				return says{"page": map[time.Duration]time.Duration{time.Minute: 30 * time.Second, 2 * time.Minute: 0}[at]}
			},
			map[time.Duration][]string{time.Minute: {"page 30s..6m0s"}, 2 * time.Minute: {"page 30s..7m0s"}},
		},
		{
			"a second incident is another, though its reports in between were missed",
			[]time.Duration{time.Minute, 90 * time.Second},
			func(at time.Duration) says { return says{"page": at} },
			map[time.Duration][]string{time.Minute: {"page 1m0s..6m0s"}, 90 * time.Second: {"page 1m30s..6m30s"}},
		},
		{
			"a page holds back the ticket that begins with it, and hands over to it",
			[]time.Duration{0, time.Minute, 2 * time.Minute},
			func(at time.Duration) says {
				if at < 2*time.Minute {
					return says{"page": 0, "ticket": 0}
				}
				return says{"ticket": 0}
			},
			map[time.Duration][]string{
				0: {"page 0s..5m0s"}, time.Minute: {"page 0s..6m0s"}, 2 * time.Minute: {"page 0s..2m0s", "ticket 0s..7m0s"},
			},
		},
		{
			"a ticket from before the page stays",
			[]time.Duration{0, time.Minute},
			func(at time.Duration) says {
				if at == 0 {
					return says{"ticket": 0}
				}
				return says{"ticket": 0, "page": time.Minute}
			},
			map[time.Duration][]string{0: {"ticket 0s..5m0s"}, time.Minute: {"ticket 0s..6m0s", "page 1m0s..6m0s"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			am := newReceiver(t)
			s := sinkFor(t, config(am.URL))
			for _, at := range c.ticks {
				write(t, s, firing(at, c.fires(at)))
				if got := am.take(zero); !slices.Equal(got, c.want[at]) {
					t.Errorf("at %s: told %q, want %q", at, got, c.want[at])
				}
			}
		})
	}
}

// A sink that remembers nothing decides as one that remembers all: that is a restart.
func TestRestartChangesNothing(t *testing.T) {
	for _, starts := range []map[string]time.Duration{
		{"page": 0}, {"ticket": 0}, {"page": 0, "ticket": 0}, {"page": 0, "ticket": time.Minute}, {"page": time.Minute, "ticket": 0},
	} {
		old, am := newReceiver(t), newReceiver(t)
		before := sinkFor(t, config(old.URL))
		for at := time.Duration(0); at <= 2*time.Minute; at += 30 * time.Second {
			now := maps.Clone(starts)
			maps.DeleteFunc(now, func(_ string, start time.Duration) bool { return start > at })
			old.take(zero)
			write(t, before, firing(at, now))
		}
		write(t, sinkFor(t, config(am.URL)), firing(2*time.Minute, starts))
		if was, is := old.take(zero), am.take(zero); !slices.Equal(was, is) || len(is) == 0 {
			t.Errorf("%v: told %q before the restart, %q after", starts, was, is)
		}
	}
}

// Labels tell alerts apart and routes them: names alone, the more particular winning.
func TestLabelsAndLinks(t *testing.T) {
	am := newReceiver(t)
	r := sinktest.Report()
	r.SLOs[0].Objective.Policy.Severities[0].Labels = map[string]string{"severity": "critical", "team": "oncall", "slo": "ignored"}
	latency := &r.SLOs[1]
	for i := range latency.Alerts {
		if a := &latency.Alerts[i]; a.Severity == "ticket" {
			a.Firing = true
		}
	}
	write(t, sinkFor(t, config(am.URL)), r)
	if len(am.all()) != 1 || len(am.all()[0]) != 2 {
		t.Fatalf("got %+v, want two alerts in one request", am.all())
	}
	got := am.all()[0]
	slices.SortFunc(got, func(a, b received) int { return strings.Compare(a.Labels["slo"], b.Labels["slo"]) })
	want := []map[string]string{
		{"alertname": "SLOErrorBudgetBurn", "slo": "checkout-availability", "service": "checkout", "severity": "critical",
			"team": "oncall", "tier": "1", "counting": "exact", "cluster": "tokyo"},
		{"alertname": "SLOErrorBudgetBurn", "slo": "search-latency", "service": "search", "severity": "ticket", "route": "/items",
			"team": "discovery", "counting": "exact", "cluster": "tokyo"},
	}
	for i := range want {
		if !maps.Equal(got[i].Labels, want[i]) {
			t.Errorf("labels %v, want %v", got[i].Labels, want[i])
		}
	}
	for i, link := range []string{
		"https://slo.example.com/yoyu/explain?slo=checkout-availability",
		"https://slo.example.com/yoyu/explain?slo=search-latency&route=%2Fitems",
	} {
		if got[i].GeneratorURL != link {
			t.Errorf("generatorURL %s, want %s", got[i].GeneratorURL, link)
		}
	}
	if got := got[0].Annotations; got["summary"] != "checkout-availability is burning its error budget (page)" ||
		got["runbook_url"] != "https://runbooks/checkout" ||
		got["description"] != "75 % of the error budget of 30d is left, spent in 18d at this pace."+
			" 540 of 30000 events in 1h were bad: 18 times the pace that 99.9 % allows, and 20 times over the last 5m; the limit is 14.4." {
		t.Errorf("annotations %q", got)
	}
	if _, there := got[1].Annotations["runbook_url"]; there {
		t.Error("an annotation without a value was sent")
	}
}

func TestWithoutInhibition(t *testing.T) {
	am := newReceiver(t)
	c := config(am.URL)
	c.Inhibit = false
	write(t, sinkFor(t, c), firing(0, map[string]time.Duration{"page": 0, "ticket": 0}))
	if got := am.take(zero); len(got) != 2 {
		t.Errorf("told %q, want both", got)
	}
}

// A policy may give two severities the same labels: to an Alertmanager they are one alert, the page.
func TestTwoThatCannotBeToldApart(t *testing.T) {
	am := newReceiver(t)
	c := config(am.URL)
	c.Inhibit = false
	r := firing(0, map[string]time.Duration{"page": 0, "ticket": 0})
	for i := range r.SLOs[0].Objective.Policy.Severities {
		r.SLOs[0].Objective.Policy.Severities[i].Labels = map[string]string{"severity": "critical"}
	}
	write(t, sinkFor(t, c), r)
	if got := am.all(); len(got) != 1 || len(got[0]) != 1 || !strings.HasSuffix(got[0][0].Annotations["summary"], "(page)") {
		t.Errorf("told %+v, want the page alone", got)
	}
}

// One that is down costs the others nothing, is left alone for a while, and then hears the present.
func TestOneIsDown(t *testing.T) {
	well, ill := newReceiver(t), newReceiver(t)
	ill.answers(func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, err := w.Write([]byte("starting\nup"))
		return err == nil
	})
	s := sinkFor(t, config(well.URL, ill.URL))
	page := map[string]time.Duration{"page": 0}
	for at := time.Duration(0); at < 8*time.Second; at += time.Second {
		err := s.Write(t.Context(), firing(at, page))
		if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(ill.URL, "http://")+": 503 Service Unavailable: starting up") {
			t.Fatalf("at %s: error %v, want one that names the one that is down and what it said", at, err)
		}
	}
	// The pauses are 0.5 to 1 s, 1 to 2 s, 2 to 4 s: it was asked at two to five ticks, three times each.
	if asked := ill.count(); asked < 3*2 || asked > 3*5 {
		t.Errorf("the one that is down was asked %d times within eight seconds", asked)
	}
	if got := well.take(zero); len(got) == 0 {
		t.Error("the one that is well was told nothing")
	}
	ill.answers(nil)
	write(t, s, firing(20*time.Minute, page))
	if got := ill.take(zero); !slices.Equal(got, []string{"page 0s..25m0s"}) {
		t.Errorf("back again it was told %q, want the present", got)
	}
}

// An incident that was over before an Alertmanager could be told is no news.
func TestWhatNobodyHeardOfIsNotResolved(t *testing.T) {
	am := newReceiver(t)
	am.answers(func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusBadGateway); return true })
	s := sinkFor(t, config(am.URL))
	if err := s.Write(t.Context(), firing(0, map[string]time.Duration{"page": 0})); err == nil {
		t.Fatal("no error from one that is down")
	}
	am.answers(nil)
	write(t, s, firing(10*time.Minute, nil))
	if got := am.take(zero); len(got) != 0 {
		t.Errorf("told %q", got)
	}
}

// What is refused as it stands is not told at every tick, but said.
func TestRefused(t *testing.T) {
	am := newReceiver(t)
	am.answers(func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusBadRequest); return true })
	s := sinkFor(t, config(am.URL))
	for at := time.Duration(0); at <= time.Minute; at += 10 * time.Second {
		if err := s.Write(t.Context(), firing(at, map[string]time.Duration{"page": 0})); err == nil || !strings.Contains(err.Error(), "400 Bad Request") {
			t.Errorf("at %s: error %v", at, err)
		}
	}
	if asked := am.count(); asked != 2 {
		t.Errorf("asked %d times within a minute, want 2", asked)
	}
}

func TestManyAlertsGoInParts(t *testing.T) {
	am := newReceiver(t)
	write(t, sinkFor(t, config(am.URL)), sinktest.Large(6000))
	total := 0
	for _, request := range am.all() {
		if len(request) > 256 {
			t.Errorf("a request of %d alerts", len(request))
		}
		total += len(request)
	}
	if total != 600 {
		t.Errorf("told %d alerts, want 600", total)
	}
}

func TestConfigurationFaults(t *testing.T) {
	am := func(change func(c *alertmanager.Config)) alertmanager.Config {
		c := config("http://am:9093")
		change(&c)
		return c
	}
	annotation := func(text string) alertmanager.Config {
		return am(func(c *alertmanager.Config) { c.Annotations = map[string]string{"summary": text} })
	}
	for _, c := range []struct {
		config alertmanager.Config
		want   string
	}{
		{alertmanager.DefaultConfig(), "url: is missing; write the address of an Alertmanager"},
		{config("am:9093"), `urls[0]: "am:9093" is not an address; write one such as http://alertmanager:9093`},
		{config("http://a:9093", "http://a:9093/"), "urls[1]: is listed twice"},
		{config("http://a:9093/api/v2"), "urls[0]: is the base address; leave out /api/v2"},
		{config("http://u:secret@a:9093"), "urls[0]: holds a password"},
		{am(func(c *alertmanager.Config) { c.Resend = -1 }), "resend: must be above 0"},
		{am(func(c *alertmanager.Config) { c.Annotations = map[string]string{"dashboard-url": "x"} }), `annotations: "dashboard-url" is not a name`},
		{annotation("{{.Slo}}"), "annotations.summary: 1:2: .Slo is no field here; there are .SLO, .Service,"},
		{annotation("{{if .Labels}}{{else}}\n{{.Nope}}{{end}}"), "annotations.summary: 2:2: .Nope is no field here"},
		{annotation("{{range .Pairs}}{{if eq .Long `never`}}{{.SLO}}{{end}}{{end}}"), ".SLO is no field here; there are .Long, .Short,"},
		{annotation("{{range $i, $p := .Pairs}}{{if gt $i 9}}{{$p.Nope}}{{end}}{{end}}"), ".Nope is no field here"},
		{annotation("{{with $x := .SLO}}{{$x.Name}}{{end}}"), ".Name is no field here, as this is a string"},
		{annotation("{{.SLO"), "annotations.summary: 1: unclosed action"},
		{annotation("{{shout .SLO}}"), `function "shout" not defined`},
		{annotation("{{percent .SLO}}"), "wrong type for value"},
		{annotation(`{{define "x"}}{{end}}x`), "define and block are not taken"},
	} {
		err := c.config.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("fault %v, want %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a secret in %v", err)
		}
	}
	for _, text := range []string{
		"", "{{.Labels.whatever}}", "{{range $k, $v := .Group}}{{$k}}={{$v}} {{end}}", "{{$.SLO | urlquery}}", "{{.Since.Format `15:04`}}",
		"{{range .Pairs}}{{.Long}} of {{$.SLO}}{{end}}", "https://grafana/d/slo?var-slo={{urlquery .SLO}}",
	} {
		c := annotation(text)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestOwnAnnotations(t *testing.T) {
	am := newReceiver(t)
	c := config(am.URL)
	c.Annotations = map[string]string{
		"dashboard_url": "https://grafana/d/slo?var-slo={{urlquery .SLO}}", "description": "",
		"numbers": "{{percent .Remaining}} {{number .Allowed}} {{range .Pairs}}{{.Long}}/{{.Short}} {{end}}{{index .Pairs 0 | printf `%T`}}",
	}
	write(t, sinkFor(t, c), firing(0, map[string]time.Duration{"page": 0}))
	got := am.all()[0][0].Annotations
	if got["dashboard_url"] != "https://grafana/d/slo?var-slo=checkout-availability" || got["numbers"] != "75 % 21600 1h/5m alertmanager.ViewPair" {
		t.Errorf("annotations %q", got)
	}
	if _, there := got["description"]; there {
		t.Error("a description that was taken away is there")
	}
}
