package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
)

// openDemo runs the demo on a state and waits until it is ready.
func openDemo(t *testing.T, data string) *yoyu {
	t.Helper()
	address := freeAddress(t)
	y := &yoyu{start(t, "yoyu", "demo", "--web.listen-address="+address, "--storage.path="+data), address}
	until(t, "the demo", func() (bool, string) {
		_, err := get("http://" + address + "/-/ready")
		return err == nil, fmt.Sprint(err)
	})
	return y
}

// read reads JSON from an address of the daemon.
func (y *yoyu) read(path string, into any) {
	y.t.Helper()
	text, err := get("http://" + y.address + path)
	if err != nil {
		y.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		y.t.Fatalf("%s: %v in %.500s", path, err, text)
	}
}

// series are the samples of /metrics by name and labels.
func (y *yoyu) series() map[string]float64 {
	y.t.Helper()
	text, err := get("http://" + y.address + "/metrics")
	if err != nil {
		y.t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		y.t.Fatal(err)
	}
	out := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			switch f.GetType() {
			case dto.MetricType_GAUGE:
				out[named(name, labels)] = m.GetGauge().GetValue()
			case dto.MetricType_COUNTER:
				out[named(name, labels)] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}

func named(name string, labels map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		name += fmt.Sprintf(" %s=%q", key, labels[key])
	}
	return name
}

// explanation is the part of /explain that has numbers.
type explanation struct {
	SLO     string
	Labels  map[string]string
	At      time.Time
	Windows []struct {
		Window               string
		Total, Bad, Coverage sinks.Number
		Steps                []explainedStep
	}
	Budget []explainedStep `json:"error_budget"`
	Alerts []struct {
		Severity  string
		Firing    bool
		BurnRatio sinks.Number `json:"burn_ratio"`
	}
}

type explainedStep struct {
	Name  string
	Value sinks.Number
}

// face is everything that the daemon says at one tick.
type face struct {
	time      time.Time
	slos      []sinks.JSONSLO
	metrics   map[string]float64
	explained map[string]explanation
	histories map[string]web.History
	groups    map[string]web.GroupShares
}

// look reads all there is. ok is false when a tick came in between.
func (y *yoyu) look() (f face, ok bool, why string) {
	var before, after sinks.JSONDocument
	y.read("/api/v1/slos", &before)
	f = face{
		time: before.Reports[0].Time, slos: before.Reports[0].SLOs, metrics: y.series(),
		explained: map[string]explanation{}, histories: map[string]web.History{}, groups: map[string]web.GroupShares{},
	}
	for _, s := range f.slos {
		query := url.Values{}
		for name, value := range s.Labels {
			query.Set(name, value)
		}
		var h struct{ Histories []web.History }
		y.read("/api/v1/slos/"+url.PathEscape(s.SLO)+"/history?"+query.Encode(), &h)
		f.histories[named(s.SLO, s.Labels)] = h.Histories[0]
		query.Set("slo", s.SLO)
		query.Set("format", "json")
		var e struct{ Explanations []explanation }
		y.read("/explain?"+query.Encode(), &e)
		f.explained[named(s.SLO, s.Labels)] = e.Explanations[0]
		if _, done := f.groups[s.SLO]; !done {
			var g web.GroupShares
			y.read("/api/v1/slos/"+url.PathEscape(s.SLO)+"/groups?top=100", &g)
			f.groups[s.SLO] = g
		}
	}
	y.read("/api/v1/slos", &after)
	if !after.Reports[0].Time.Equal(f.time) {
		return f, false, "a tick came in between"
	}
	for name, h := range f.histories { // the engine may have gone on already
		if !h.At.Equal(f.time) {
			return f, false, fmt.Sprintf("the history of %s is at %s, the report at %s", name, h.At, f.time)
		}
	}
	return f, true, ""
}

// Every number that is told in more than one place is the same in all of them at the same tick: in
// /metrics, in the report, in histories, in explanations, in the shares of groups.
func TestNumbersAgree(t *testing.T) {
	y := openDemo(t, t.TempDir())
	var f face
	until(t, "one tick", func() (ok bool, why string) {
		f, ok, why = y.look()
		return ok, why
	})
	compared := 0
	same := func(where string, got, want sinks.Number) {
		t.Helper()
		compared++
		if got != want {
			t.Errorf("%s: %v, the report says %v", where, got, want)
		}
	}
	metric := func(name string, labels map[string]string, want sinks.Number) {
		t.Helper()
		v, ok := f.metrics[named(name, labels)]
		same(named(name, labels), sinks.Number{Float: v, Defined: ok}, want)
	}
	number := func(v float64) sinks.Number { return sinks.Number{Float: v, Defined: true} }
	if len(f.slos) < 6 {
		t.Fatalf("%d budgets", len(f.slos))
	}
	for _, s := range f.slos {
		name := named(s.SLO, s.Labels)
		labels := maps.Clone(s.Labels)
		labels["slo"], labels["service"] = s.SLO, s.Service
		with := func(key, value string) map[string]string {
			out := maps.Clone(labels)
			out[key] = value
			return out
		}
		period := s.Windows[slices.IndexFunc(s.Windows, func(w sinks.JSONWindow) bool { return w.Key == s.Period })]

		h := f.histories[name]
		total, bad := 0.0, 0.0
		for _, step := range h.Steps {
			total, bad = total+step.Total.Float, bad+step.Bad.Float
		}
		same(name+": steps", number(total), period.Total)
		same(name+": bad of steps", number(bad), period.Bad)
		same(name+": total of the history", h.Budget.Total, period.Total)
		same(name+": bad of the history", h.Budget.Bad, period.Bad)
		same(name+": coverage of the history", h.Budget.Coverage, period.Coverage)
		same(name+": allowed by the history", h.Budget.Allowed, s.ErrorBudget.Allowed)
		same(name+": left by the history", h.Budget.Remaining, s.ErrorBudget.RemainingRatio)
		same(name+": the end of the history", h.Steps[len(h.Steps)-1].Remaining, s.ErrorBudget.RemainingRatio)
		metric("slo_error_budget_remaining_ratio", labels, s.ErrorBudget.RemainingRatio)
		metric("slo_error_budget_events", labels, s.ErrorBudget.Allowed)
		metric("slo_error_budget_exhaustion_seconds", labels, s.ErrorBudget.ExhaustionSeconds)

		e := f.explained[name]
		if !e.At.Equal(f.time) || len(e.Windows) != len(s.Windows) {
			t.Errorf("%s: explained at %s with %d windows", name, e.At, len(e.Windows))
		}
		for i, w := range s.Windows {
			one, where := e.Windows[i], name+" "+w.Key
			same(where+": total explained", one.Total, w.Total)
			same(where+": bad explained", one.Bad, w.Bad)
			same(where+": coverage explained", one.Coverage, w.Coverage)
			same(where+": "+one.Steps[0].Name, one.Steps[0].Value, w.ErrorRatio)
			same(where+": "+one.Steps[1].Name, one.Steps[1].Value, w.BurnRate)
			key := w.Key
			if w.Key == s.Period {
				key = "period"
			}
			metric("slo_burn_rate", with("window", key), w.BurnRate)
		}
		for i, want := range []sinks.Number{s.ErrorBudget.Allowed, s.ErrorBudget.Spent, s.ErrorBudget.RemainingRatio, s.ErrorBudget.ExhaustionSeconds} {
			same(name+": "+e.Budget[i].Name, e.Budget[i].Value, want)
		}
		firing := map[string]bool{} // by the history
		for _, a := range h.Alerts {
			if a.To == nil {
				firing[a.Severity] = true
			}
		}
		for i, a := range s.Alerts {
			same(name+": burn ratio explained", e.Alerts[i].BurnRatio, a.BurnRatio)
			metric("slo_alert_burn_ratio", with("severity", a.Severity), a.BurnRatio)
			now := 0.0
			if a.Firing {
				now = 1
			}
			metric("slo_alert_firing", with("severity", a.Severity), number(now))
			if e.Alerts[i].Firing != a.Firing || firing[a.Severity] != a.Firing {
				t.Errorf("%s %s: fires %v, explained as %v, the history says %v", name, a.Severity, a.Firing, e.Alerts[i].Firing, firing[a.Severity])
			}
		}

		for _, g := range f.groups[s.SLO].Groups {
			if maps.Equal(g.Labels, s.Labels) {
				same(name+": bad of the group", g.Bad, period.Bad)
				same(name+": total of the group", g.Total, period.Total)
				same(name+": left of the group", g.Remaining, s.ErrorBudget.RemainingRatio)
			}
		}
	}

	// What the status tells of the daemon is what it tells of itself in /metrics. Some of it moves
	// with every tick: then it is one of the two values before and after.
	before := y.series()
	var st web.Status
	y.read("/api/v1/status", &st)
	after := y.series()
	either := func(got float64, name string, labels map[string]string) {
		t.Helper()
		compared++
		a, there := before[named(name, labels)]
		b := after[named(name, labels)]
		if !there || got < min(a, b)-1e-6 || got > max(a, b)+1e-6 {
			t.Errorf("status: %s is %v, /metrics says %v and then %v", named(name, labels), got, a, b)
		}
	}
	bit := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}
	seconds := func(at *time.Time) float64 {
		if at == nil {
			return 0
		}
		return float64(at.UnixNano()) / 1e9
	}
	if len(st.Sources) != 2 || len(st.Sinks) != 3 || !st.Ready || !st.Store.Writable || st.Store.LastCommit == nil || st.Budgets != len(f.slos) || st.Tick != 5 {
		t.Errorf("status %+v", st)
	}
	for _, s := range st.Sources {
		labels := map[string]string{"source": s.Name}
		either(bit(s.Up), "yoyu_source_up", labels)
		either(seconds(s.LastSuccess), "yoyu_source_last_success_timestamp_seconds", labels)
		if s.Type != "kubernetes" {
			either(s.Backfill, "yoyu_backfill_remaining_seconds", labels)
		}
		for _, reason := range []string{"timeout", "refused", "parse", "other"} {
			either(s.Failures[reason], "yoyu_source_failures_total", map[string]string{"source": s.Name, "reason": reason})
		}
	}
	for _, s := range st.Sinks {
		either(bit(s.Up), "yoyu_sink_up", map[string]string{"sink": s.Name})
		either(seconds(s.LastSuccess), "yoyu_sink_last_success_timestamp_seconds", map[string]string{"sink": s.Name})
		either(s.Dropped["busy"], "yoyu_sink_points_dropped_total", map[string]string{"sink": s.Name, "reason": "busy"})
	}
	either(st.Store.Bytes, "yoyu_store_size_bytes", nil)
	either(seconds(st.Config.Reloaded), "yoyu_config_last_reload_success_timestamp_seconds", nil)
	t.Logf("%d numbers compared", compared)
	if compared < 300 {
		t.Errorf("only %d numbers were compared", compared)
	}
}

// What a running daemon answers is what its description says.
func TestAnswersAreAsDescribed(t *testing.T) {
	y := openDemo(t, t.TempDir())
	until(t, "a report", func() (bool, string) {
		var doc sinks.JSONDocument
		y.read("/api/v1/slos", &doc)
		return len(doc.Reports) == 1, "none yet"
	})
	loader := openapi3.NewLoader()
	text, err := get("http://" + y.address + "/api/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := loader.LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		if item.Get == nil {
			continue
		}
		address := strings.Replace(path, "{slo}", "checkout-availability", 1)
		switch path {
		case "/api/v1/gate":
			address += "?service=checkout&service=catalog&service=payment"
		case "/explain":
			address += "?slo=checkout-availability&slo=checkout-latency&slo=payment-availability&format=json"
		}
		res, err := http.Get("http://" + y.address + address)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		described := item.Get.Responses.Status(res.StatusCode)
		if described == nil || res.StatusCode >= 400 && res.StatusCode != http.StatusConflict {
			t.Errorf("%s: %s: %s", address, res.Status, body)
			continue
		}
		content := described.Value.Content.Get(res.Header.Get("Content-Type"))
		if content == nil {
			t.Errorf("%s: no answer of type %s is described", address, res.Header.Get("Content-Type"))
			continue
		}
		if res.Header.Get("Content-Type") != "application/json" {
			continue
		}
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if err := content.Schema.Value.VisitJSON(v, openapi3.VisitAsResponse(), openapi3.EnableFormatValidation()); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// The history of a month is the same after a restart, alerts included.
func TestHistorySurvivesARestart(t *testing.T) {
	data := t.TempDir()
	y := openDemo(t, data)
	names := []string{"checkout-availability", "checkout-latency", "catalog-availability", "payment-availability"}
	var to time.Time
	until(t, "a report", func() (bool, string) {
		var doc sinks.JSONDocument
		y.read("/api/v1/slos", &doc)
		if len(doc.Reports) == 0 {
			return false, "none yet"
		}
		to = doc.Reports[0].Time
		return true, ""
	})
	type asked struct{ slo, span string }
	histories := func() map[asked]web.History {
		out := map[asked]web.History{}
		for _, name := range names {
			for span, from := range map[string]time.Duration{"30d&step=6h": 30 * 24 * time.Hour, "2h&step=1m": 2 * time.Hour} {
				_, step, _ := strings.Cut(span, "&")
				var h struct{ Histories []web.History }
				y.read(fmt.Sprintf("/api/v1/slos/%s/history?from=%d&to=%d&%s", name, to.Add(-from).Unix(), to.Unix(), step), &h)
				out[asked{name, span}] = h.Histories[0]
			}
		}
		return out
	}
	before := histories()
	y.stop()
	y = openDemo(t, data)
	after := histories()
	fired := 0
	for key, a := range before {
		b := after[key]
		// Between the two the past has grown older, and is known a little less finely here and there.
		known := map[[2]int64]web.HistoryStep{}
		for _, s := range b.Steps {
			known[[2]int64{s.From.Unix(), s.To.Unix()}] = s
		}
		equal := 0
		for _, s := range a.Steps {
			if other, ok := known[[2]int64{s.From.Unix(), s.To.Unix()}]; ok {
				equal++
				s.Remaining, other.Remaining = sinks.Number{}, sinks.Number{} // of another window meanwhile
				if s != other {
					t.Errorf("%v: %+v, before the restart %+v", key, other, s)
				}
			}
		}
		if equal < len(a.Steps)*9/10 || equal < 25 {
			t.Errorf("%v: only %d of %d steps can be compared", key, equal, len(a.Steps))
		}
		for _, alert := range a.Alerts {
			if alert.To == nil {
				continue
			}
			fired++
			if !slices.ContainsFunc(b.Alerts, func(other web.AlertSpan) bool { return reflect.DeepEqual(other, alert) }) {
				t.Errorf("%v: %+v is forgotten", key, alert)
			}
		}
	}
	if fired < 5 {
		t.Errorf("only %d alerts were over", fired)
	}
}

// No secret is in the status, and what is no secret is.
func TestStatusHoldsNoSecret(t *testing.T) {
	target, page := pod(t)
	page.Store("requests_total{code=\"200\"} 100\n")
	dir := t.TempDir()
	secret := func(name string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("planted-"+name), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	y := startYoyu(t, freeAddress(t), fmt.Sprintf(`
tick: 1s
sources:
  - name: pods
    type: scrape
    targets: ["http://%s/metrics"]
    basic_auth: {username: reader, password_file: %s}
  - name: prom
    type: prometheus
    url: http://127.0.0.1:1
    http_headers: {X-Scope: {values: [planted-in-a-header]}}
sinks:
  - {name: dd, type: datadog, url: "http://127.0.0.1:1", api_key_file: %s}
defaults: {source: pods, period: 2h}
slos:
  - name: it
    service: shop
    objective: 99
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, target, secret("password"), secret("key")))
	text, err := get("http://" + y.address + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.Index(text, "planted"); i >= 0 {
		t.Errorf("a secret is shown: …%.60s…", text[max(0, i-20):])
	}
	for _, want := range []string{`"name":"pods","type":"scrape","slos":1`, "username: reader", "http://127.0.0.1:1", "requests_total"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
