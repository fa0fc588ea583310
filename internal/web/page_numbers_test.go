package web_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/net/html"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/prom"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// numbered is a report of all that makes numbers odd: groups, a calendar month, time slices, what is
// undefined, a spent budget, corrections, and workloads that raise, shrink and know nothing.
func numbered(t *testing.T) *sinks.Report {
	t.Helper()
	r := sinktest.Report()
	r.SLOs = append(r.SLOs, sinktest.Unknown().SLOs...)
	r.SLOs = append(r.SLOs, spentReport(t).SLOs...)
	sliced := sinktest.Objective("sliced", "checkout", "98", slo.RollingPeriod(7*slo.Day))
	sliced.Budgeting = slo.Budgeting{Method: slo.Timeslices, Slice: time.Minute, Target: sinktest.Share("95")}
	r.SLOs = append(r.SLOs, sinktest.Status(sliced, nil, map[string]sinktest.Counts{
		"5m": {Total: 5, Bad: 1, Coverage: 1}, "1h": {Total: 60, Bad: 7, Coverage: 1}, "6h": {Total: 360, Bad: 8, Coverage: 1}, "7d": {Total: 10080, Bad: 77, Coverage: 0.75},
	}))
	shrink := sinktest.Workload()
	shrink.Name, shrink.VPA, shrink.Replicas = "images", "images", 7
	shrink.Judgement = rightsizing.Judgement{
		Verdict: rightsizing.Shrink, Gate: rightsizing.Safe, Sentence: "each pod could give some back.", Currency: "USD", Savings: slo.Defined(0.1234567),
	}
	c := &shrink.Containers[0]
	c.Memory.Evidence = rightsizing.Evidence{P50: slo.Defined(123456789), P95: slo.Defined(2.5e8), Max: slo.Defined(3.1e8), Risk: slo.Defined(0.0123)}
	r.Workloads = append(r.Workloads, shrink, sinktest.Unknown().Workloads[0])
	return r
}

// tick is what a server says three times: as series, as JSON, and on the pages that are held against them.
type tick struct {
	series    map[string]*dto.MetricFamily
	slos      []map[string]any
	sizes     map[string]any
	texts     []string // that are no numbers and hold digits, the longest first
	fromMetr  int      // numbers that a series had too
	fromJSON  int
	elsewhere int // tokens outside of <data>
}

// Every number on a page is the one in the series and in the JSON of the same tick; in words it is the
// same, rounded. A number that neither has is a fault.
func TestPageNumbersAreTheSeries(t *testing.T) {
	r := numbered(t)
	sink := prom.New(prom.Options{})
	if err := sink.Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	h := face(t, web.Options{Metrics: sink.Handler(nil, prom.HandlerOptions{})}, r)
	k := &tick{}
	_, body, _ := ask(h, "GET", "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	var err error
	if k.series, err = parser.TextToMetricFamilies(strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Reports []struct{ SLOs []map[string]any }
	}
	_, body, _ = ask(h, "GET", "/api/v1/slos")
	if err := json.Unmarshal([]byte(body), &doc); err != nil || len(doc.Reports) != 1 {
		t.Fatal(err, body)
	}
	k.slos = doc.Reports[0].SLOs
	_, body, _ = ask(h, "GET", "/api/v1/rightsizing")
	if err := json.Unmarshal([]byte(body), &k.sizes); err != nil {
		t.Fatal(err)
	}
	k.learn(r)

	for target, least := range map[string]int{
		"/?open=search-latency":                60,
		"/slo?slo=checkout-availability":       60,
		"/slo?slo=search-latency":              25,
		"/slo?slo=search-latency&route=/items": 40,
		"/slo?slo=it":                          40,
		"/slo?slo=sliced":                      40,
		"/slo?slo=carts":                       20,
		"/rightsizing":                         40,
		"/explain?slo=checkout-availability":   20,
		"/explain?slo=search-latency":          40,
		"/explain?slo=it":                      15,
		"/explain?slo=sliced":                  15,
		"/explain?slo=carts":                   10,
	} {
		status, page, _ := ask(h, "GET", target, "Accept", "text/html")
		if status != 200 {
			t.Fatalf("%s: %d", target, status)
		}
		was := k.fromJSON
		k.page(t, target, parse(t, page))
		if got := k.fromJSON - was; got < least {
			t.Errorf("%s: %d numbers, want at least %d", target, got, least)
		}
	}
	if k.fromMetr < 300 || k.elsewhere < 200 {
		t.Errorf("%d numbers were held against a series, %d were found beside them", k.fromMetr, k.elsewhere)
	}
}

// learn takes the words with digits that are no numbers: names, windows, sentences of the report.
func (k *tick) learn(r *sinks.Report) {
	known := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			known[v] = true
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			for name, one := range v {
				known[name] = true
				walk(one)
			}
		}
	}
	for _, one := range k.slos {
		walk(one)
	}
	walk(k.sizes)
	for i := range r.SLOs { // what was configured
		o := r.SLOs[i].Objective
		known[r.SLOs[i].Note] = true
		for _, c := range o.Corrections {
			known[c.When.String()] = true
		}
		for _, step := range o.BudgetPolicy.Steps {
			known["below "+step.Below.Percent()+"%"] = true
		}
		known[o.Target.Percent()+"%"], known[o.Budgeting.Target.Percent()+"%"] = true, true
	}
	for _, w := range r.Workloads { // as the beginning of a sentence
		known[strings.ToUpper(w.Sentence[:min(1, len(w.Sentence))])+w.Sentence[min(1, len(w.Sentence)):]] = true
	}
	for _, fixed := range []string{ // what the pages say of themselves
		"From 0.01 to 1000", "1. The error budget", "2. What the windows hold", "3. Why an alert fires", "4. What the budget policy says",
		"over 1h is moved", "less than 0.8%", "95% below", "(1 − objective)", "1 − objective", "1 − bad / allowed", "p50", "p95", "1h", "1d", "3d", "6h", "7d", "5m", "30m", "2h",
		"once (", "0 to ", "last hour",
	} {
		known[fixed] = true
	}
	for text := range known {
		if strings.ContainsAny(text, "0123456789") && strings.ContainsFunc(text, func(r rune) bool { return r > '9' || r == '%' }) {
			k.texts = append(k.texts, text)
		}
	}
	slices.SortFunc(k.texts, func(a, b string) int { return len(b) - len(a) })
}

// numbersIn are numbers with what follows them.
var numbersIn = regexp.MustCompile(`-?\d[\d\x{202f}]*(?:\.\d+)?(?:e[+-]?\d+)?`)

func (k *tick) page(t *testing.T, target string, root *html.Node) {
	t.Helper()
	for n := range root.Descendants() {
		switch {
		case n.Type == html.ElementNode && n.Data == "data":
			k.datum(t, target, n)
		case n.Type == html.ElementNode && n.Data == "time":
			at, err := time.Parse(time.RFC3339, attr(n, "datetime"))
			if err != nil || words(n) != at.Format("2006-01-02 15:04:05 UTC") {
				t.Errorf("%s: time %q says %q", target, attr(n, "datetime"), words(n))
			}
		case n.Type == html.ElementNode:
			for _, name := range []string{"title", "aria-label"} {
				if text := attr(n, name); text != "" && !strings.HasPrefix(text, "Window ") {
					k.loose(t, target, n, text)
				}
			}
		case n.Type == html.TextNode && n.Parent.Data != "data" && n.Parent.Data != "time" && n.Parent.Data != "script" && n.Parent.Data != "noscript" && n.Parent.Data != "pre":
			if n.Parent.Data == "code" && n.Parent.Parent.Data == "pre" {
				continue // the patch: it is the JSON's, and rightsizing's tests hold it
			}
			k.loose(t, target, n, n.Data)
		}
	}
}

// budget is the budget that an element is about; nil for none.
func (k *tick) budget(n *html.Node) map[string]any {
	name := within(n, "data-slo")
	if name == "" {
		return nil
	}
	var labels map[string]any
	if err := json.Unmarshal([]byte(within(n, "data-labels")), &labels); err != nil {
		return nil
	}
	for _, one := range k.slos {
		if one["slo"] == name && fmt.Sprint(one["labels"]) == fmt.Sprint(labels) {
			return one
		}
	}
	return nil
}

// workload is the workload that an element is about, and the container.
func (k *tick) workload(n *html.Node) (workload, container map[string]any) {
	for _, one := range list(k.sizes["workloads"]) {
		if one["namespace"] == within(n, "data-namespace") && one["workload_kind"] == within(n, "data-kind") && one["workload"] == within(n, "data-workload") {
			for _, c := range list(one["containers"]) {
				if c["container"] == within(n, "data-container") {
					return one, c
				}
			}
			return one, nil
		}
	}
	return nil, nil
}

func list(v any) []map[string]any {
	var out []map[string]any
	all, _ := v.([]any)
	for _, one := range all {
		out = append(out, one.(map[string]any))
	}
	return out
}

// at is what lies below v under a path of names.
func at(v any, path ...string) any {
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// datum holds a <data> against the JSON, and against the series where it has one.
func (k *tick) datum(t *testing.T, target string, n *html.Node) {
	t.Helper()
	of, window, with, value := attr(n, "data-of"), attr(n, "data-window"), attr(n, "data-with"), attr(n, "value")
	label, labelled, _ := strings.Cut(with, "=")
	if labelled != "" {
		var err error
		if labelled, err = strconv.Unquote(labelled); err != nil {
			t.Fatal(err)
		}
	}
	if of == "" && strings.HasPrefix(target, "/explain") { // a step of an explanation goes by its name
		dt := find(n.Parent.Parent.Parent, byClass("dt", ""))
		of = words(dt[0])
		if card, ok := strings.CutPrefix(within(n, "aria-label"), "Window "); ok {
			window = card
		}
		if value == "undefined" {
			value = ""
		}
	}
	where := fmt.Sprintf("%s: %s %s %s %s of %s%s %s%s", target, of, window, with, within(n, "data-resource"), within(n, "data-slo"), within(n, "data-labels"), within(n, "data-workload"), within(n, "data-group"))
	want, ok := k.json(n, of, window, label, labelled)
	if !ok {
		t.Errorf("%s: %q has no number in the JSON", where, words(n))
		return
	}
	k.fromJSON++
	same(t, where+" in the JSON", value, want)
	if want != nil && attr(n, "data-of") != "" && !said(n.FirstChild.Data, of, want.(float64)) {
		t.Errorf("%s: says %q of %v", where, words(n), want)
	}

	// The series of the same name, or those that the name adds up.
	name, labels := of, map[string]string{}
	if b := k.budget(n); b != nil {
		labels["slo"] = b["slo"].(string)
		for name, value := range b["labels"].(map[string]any) {
			labels[name] = value.(string)
		}
		if window != "" {
			labels["window"] = window
			if window == b["period"] {
				labels["window"] = "period"
			}
		}
		if family := map[string]string{
			"error_ratio": "slo_error_ratio", "burn_rate": "slo_burn_rate", "allowed": "slo_error_budget_events",
			"remaining_ratio": "slo_error_budget_remaining_ratio", "exhaustion_seconds": "slo_error_budget_exhaustion_seconds",
		}[of]; family != "" {
			name = family
		}
	} else {
		for key, attribute := range map[string]string{"namespace": "data-namespace", "workload_kind": "data-kind", "workload": "data-workload", "container": "data-container"} {
			if v := within(n, attribute); v != "" {
				labels[key] = v
			}
		}
	}
	if with != "" {
		labels[label] = labelled
	}
	name = strings.Replace(name, "total_", "rightsizing_", 1)
	family := k.series[name]
	if family == nil {
		if strings.HasPrefix(name, "slo_") || strings.HasPrefix(name, "rightsizing_re") {
			t.Errorf("%s: no family %s", where, name)
		}
		return
	}
	sum, found := 0.0, 0
	for _, m := range family.Metric {
		has := map[string]string{}
		for _, l := range m.Label {
			has[l.GetName()] = l.GetValue()
		}
		fits := true
		for name, value := range labels {
			fits = fits && has[name] == value
		}
		if fits {
			sum, found = sum+m.GetGauge().GetValue(), found+1
		}
	}
	switch {
	case found == 0 && (want == nil || want == 0.0): // what is undefined has no series
	case found == 0 && (name == "slo_error_ratio" || name == "slo_window_coverage_ratio") && window != "period" && window != "1h": // left out unless asked for
	case found == 0 || found > 1 && !strings.HasPrefix(of, "total_"):
		t.Errorf("%s: %d series, want one of %s%v", where, found, name, labels)
	default:
		k.fromMetr++
		same(t, where+" as a series", value, sum)
	}
}

// same compares the text of a number in full precision with the number; nil is undefined, "".
func same(t *testing.T, where, text string, want any) {
	t.Helper()
	got, err := strconv.ParseFloat(text, 64)
	switch want, defined := want.(float64); {
	case !defined && text != "", defined && err != nil:
		t.Errorf("%s: %q on the page, want %v", where, text, want)
	case defined && got != want && math.Abs(got-want) > 1e-14*math.Abs(want): // sums add up in another order
		t.Errorf("%s: %v on the page, want %v", where, got, want)
	}
}

// json is the number in the JSON that a <data> stands for; nil when it is undefined.
func (k *tick) json(n *html.Node, of, window, label, labelled string) (want any, ok bool) {
	if group := within(n, "data-group"); group != "" {
		return k.share(n, group, of)
	}
	if b := k.budget(n); b != nil {
		key := window
		if window == "period" {
			key = b["period"].(string)
		}
		in, defined := map[string]string{
			"slo_burn_rate": "burn_rate", "slo_error_ratio": "error_ratio", "slo_window_coverage_ratio": "coverage",
			"total": "total", "bad": "bad", "error_ratio": "error_ratio", "burn_rate": "burn_rate",
		}[of]
		if defined && window != "" {
			_, there := at(b, "windows", key).(map[string]any)
			return at(b, "windows", key, in), there
		}
		switch of {
		case "slo_error_budget_remaining_ratio", "remaining_ratio":
			return at(b, "error_budget", "remaining_ratio"), true
		case "": // nothing of the period is known, and so not what is left either
			return nil, at(b, "windows", b["period"].(string), "coverage") == 0.0
		case "slo_error_budget_exhaustion_seconds", "exhaustion_seconds":
			return at(b, "error_budget", "exhaustion_seconds"), true
		case "slo_error_budget_events", "allowed":
			return at(b, "error_budget", "allowed"), true
		case "spent":
			return at(b, "error_budget", "spent"), true
		case "slo_alert_firing", "slo_alert_burn_ratio":
			for _, a := range list(b["alerts"]) {
				if a["severity"] == labelled && of == "slo_alert_burn_ratio" {
					return a["burn_ratio"], true
				} else if a["severity"] == labelled {
					return map[bool]float64{true: 1}[a["firing"].(bool)], true
				}
			}
		// Steps that the JSON has the parts of.
		case "detection_seconds":
			return k.detection(n, b), true
		case "total", "bad": // what corrections leave of the period
			return at(b, "windows", b["period"].(string), of), true
		}
		return nil, false
	}
	if currency := within(n, "data-currency"); currency != "" {
		for _, m := range list(k.sizes["totals"]) {
			if m["currency"] == currency {
				name := strings.TrimPrefix(of, "total_")
				if labelled != "" {
					name += "_" + labelled
				}
				want, ok := m[name]
				return want, ok
			}
		}
		return nil, false
	}
	w, c := k.workload(n)
	if resource, ok := map[string]string{"cpu": "cpu_cores", "memory": "memory_bytes"}[within(n, "data-resource")]; ok && c != nil {
		switch short := strings.TrimSuffix(strings.TrimPrefix(of, "rightsizing_"), "_"+resource); short {
		case "request", "limit", "headroom", "proposed_request", "proposed_limit":
			return at(c, resource, short), true
		case "vpa_recommendation":
			return at(c, resource, "recommendation", labelled), true
		case "p50", "p95", "max", "oom_risk_ratio":
			return at(c, resource, "evidence", short), true
		}
		return nil, false
	}
	want, ok = w[strings.TrimPrefix(of, "rightsizing_")]
	return want, ok || of == "" && attr(n, "value") == ""
}

// share works out a group's part of what happened over the period.
func (k *tick) share(n *html.Node, group, of string) (any, bool) {
	page := find(rootOf(n), byClass("h1", ""))
	var total, bad [2]float64 // of the group, of all
	for _, one := range k.slos {
		name := one["slo"].(string)
		if !strings.HasPrefix(words(page[0]), name) {
			continue
		}
		whole := at(one, "windows", one["period"].(string))
		mine := ""
		for label, value := range one["labels"].(map[string]any) {
			mine += label + "=" + strconv.Quote(value.(string))
		}
		for i := range 2 {
			if i == 1 || mine == group {
				total[i] += at(whole, "total").(float64)
				bad[i] += at(whole, "bad").(float64)
			}
		}
	}
	switch of {
	case "bad":
		return bad[0], true
	case "bad_share":
		return bad[0] / bad[1], true
	case "total_share":
		return total[0] / total[1], true
	}
	return nil, false
}

func rootOf(n *html.Node) *html.Node {
	for n.Parent != nil {
		n = n.Parent
	}
	return n
}

// detection is the one of the pair that an element is about.
func (k *tick) detection(n *html.Node, b map[string]any) any {
	for _, a := range list(b["alerts"]) {
		for _, p := range list(a["pairs"]) {
			if within(n, "aria-label") == fmt.Sprintf("Pair %s and %s", p["long"], p["short"]) {
				return k.detectionOf(b, p)
			}
		}
	}
	return nil
}

// detectionOf is (1 − objective) / error_ratio · long · factor; nil when the pair never fires, or
// nobody knows.
func (k *tick) detectionOf(b, p map[string]any) any {
	long, err := model.ParseDuration(p["long"].(string))
	ratio, _ := at(b, "windows", p["short"].(string), "error_ratio").(float64)
	after := (1 - b["objective"].(float64)) / ratio * time.Duration(long).Seconds() * p["factor"].(float64)
	if err != nil || ratio == 0 || at(b, "windows", p["long"].(string), "burn_rate") == nil || after >= time.Duration(long).Seconds() {
		return nil
	}
	return after
}

// scales are what one of a unit is worth in the series.
var scales = map[string]float64{
	"%": 0.01, "USD": 1.0 / 730, "TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "min": 60, "m": 60, "h": 3600, "days": 86400, "d": 86400, "s": 1,
}

// said reports whether words say a number, rounded by less than one of their last digit.
func said(text, of string, v float64) bool {
	switch text {
	case "spent":
		return v <= 0
	case "under 1 min":
		return v > 0 && v < 60
	case "just right":
		return v == 0
	case "firing", "quiet":
		return (v == 1) == (text == "firing")
	}
	if least, ok := strings.CutPrefix(text, "<"); ok {
		f, unit := reading(least)
		return v > 0 && v < f*unit
	}
	if strings.HasSuffix(text, " short") {
		v = -v
	}
	return shows(text, v)
}

// reading is the first number of a text, and what one of its unit is worth.
func reading(text string) (f, unit float64) {
	place := numbersIn.FindStringIndex(text)
	if place == nil {
		return math.NaN(), 1
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(text[place[0]:place[1]], "\u202f", ""), 64)
	if err != nil {
		f = math.NaN()
	}
	unit = 1
	rest := strings.TrimLeft(text[place[1]:], " ")
	if word := regexp.MustCompile(`^(%|[A-Za-z]+)`).FindString(rest); scales[word] != 0 {
		unit = scales[word]
	}
	return f, unit
}

// shows reports whether a text begins with a number, rounded by less than one of its last digit.
func shows(text string, v float64) bool {
	f, unit := reading(text)
	number := numbersIn.FindString(text)
	_, digits, _ := strings.Cut(number, ".")
	last := math.Pow(10, -float64(len(digits)))
	return math.Abs(f*unit-v) <= unit*last*(1+1e-9)
}

// loose holds the numbers in a text that is no <data> against those of the budget or the workload that it is about.
func (k *tick) loose(t *testing.T, target string, n *html.Node, text string) {
	t.Helper()
	left := regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z| UTC)`).ReplaceAllString(text, "¤")
	for _, known := range k.texts {
		left = cutOut(left, known)
	}
	b := k.budget(n)
	w, c := k.workload(n)
	if within(n, "class") != "" && strings.HasPrefix(within(n, "class"), "under ") { // a note belongs to the row above it
		tr := n
		for tr != nil && !byClass("tr", "row")(tr) {
			if tr.PrevSibling != nil {
				tr = tr.PrevSibling
			} else {
				tr = tr.Parent
			}
		}
		b = k.budget(tr)
	}
	if b == nil && w == nil && strings.HasPrefix(target, "/slo?") { // its head stands outside of its numbers
		for _, one := range find(rootOf(n), func(n *html.Node) bool { return attr(n, "data-slo") != "" }) {
			b = k.budget(one)
			break
		}
	}
	var have []float64
	var gather func(v any)
	gather = func(v any) {
		switch v := v.(type) {
		case float64:
			have = append(have, v)
		case []any:
			for _, one := range v {
				gather(one)
			}
		case map[string]any:
			for _, one := range v {
				gather(one)
			}
		}
	}
	exactly := false
	switch {
	case b != nil:
		gather(b)
		objective := b["objective"].(float64)
		have = append(have, 1, 1-objective, k.gauge("slo_period_seconds", b["slo"].(string)))
		exactly = within(n, "class") != "" && strings.HasPrefix(target, "/explain")
		if taken, ok := b["corrected"].(map[string]any); ok {
			whole := at(b, "windows", b["period"].(string))
			for _, name := range []string{"total", "bad"} {
				have = append(have, at(whole, name).(float64)+taken[name].(float64))
			}
		}
		for _, a := range list(b["alerts"]) {
			for _, p := range list(a["pairs"]) {
				long, _ := model.ParseDuration(p["long"].(string))
				have = append(have, time.Duration(long).Seconds())
				for _, key := range []string{p["long"].(string), p["short"].(string)} {
					total, _ := at(b, "windows", key, "total").(float64)
					have = append(have, p["factor"].(float64)*(1-objective)*total)
				}
			}
		}
		for _, l := range k.labels("slo_info", b["slo"].(string)) {
			if f, err := strconv.ParseFloat(l, 64); err == nil {
				have = append(have, f)
			}
		}
	case c != nil:
		gather(c)
	case w != nil:
		gather(w)
	}
	if strings.Contains(text, "would fire after") { // "7 h 34 min" is one number
		have = nil
		for _, a := range list(b["alerts"]) {
			for _, p := range list(a["pairs"]) {
				if d, ok := k.detectionOf(b, p).(float64); ok {
					have = append(have, d)
				}
			}
		}
		left = regexp.MustCompile(`(\d+) (h|d) (\d+) (min|h)`).ReplaceAllStringFunc(left, func(both string) string {
			long, unit := reading(both)
			_, after, _ := strings.Cut(both[strings.Index(both, " ")+1:], " ")
			short, part := reading(after)
			word := strings.Fields(after)[1]
			return fmt.Sprintf("%v %s", math.Round((long*unit+short*part)/part), word)
		})
	}
	counts := k.counts()
	for _, place := range numbersIn.FindAllStringIndex(left, -1) {
		k.elsewhere++
		token := left[place[0]:place[1]]
		f, _ := reading(token)
		rest := strings.TrimLeft(left[place[1]:], " ")
		if attr(n.Parent, "class") == "count" {
			rest = words(find(n.Parent.Parent, byClass("span", "state"))[0])
		}
		counted := false
		for word, count := range counts {
			counted = counted || strings.HasPrefix(rest, word) && f == float64(count)
		}
		switch {
		case counted:
		case strings.Contains(attr(n.Parent, "class"), "end"): // where a drawing ends
		case exactly && !strings.HasPrefix(rest, "%") && slices.ContainsFunc(have, func(v float64) bool { return math.Abs(f-v) <= 1e-9*math.Abs(v) }):
		case (!exactly || strings.HasPrefix(rest, "%")) && slices.ContainsFunc(have, func(v float64) bool { return shows(left[place[0]:], v) }):
		default:
			t.Errorf("%s: %q in %q (%s of %s) is neither in the series nor in the JSON", target, token, text, within(n, "class"), within(n, "data-slo")+within(n, "data-workload"))
		}
	}
}

// cutOut takes a text out where it stands as a word.
func cutOut(text, known string) string {
	edge := func(s string, last bool) bool {
		if s == "" {
			return true
		}
		r := s[0]
		if last {
			r = s[len(s)-1]
		}
		return (r < '0' || r > '9') && r != '.' && (r < 'a' || r > 'z')
	}
	for from := 0; ; {
		i := strings.Index(text[from:], known)
		if i < 0 {
			return text
		}
		i += from
		if edge(text[:i], true) && edge(text[i+len(known):], false) {
			text = text[:i] + "¤" + text[i+len(known):]
		}
		from = i + 1
	}
}

// gauge is the value of an SLO's only series; NaN without.
func (k *tick) gauge(family, name string) float64 {
	for _, m := range k.series[family].GetMetric() {
		for _, l := range m.Label {
			if l.GetName() == "slo" && l.GetValue() == name {
				return m.GetGauge().GetValue()
			}
		}
	}
	return math.NaN()
}

// labels are the values of the labels of an SLO's only series.
func (k *tick) labels(family, name string) []string {
	var out []string
	for _, m := range k.series[family].GetMetric() {
		if slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "slo" && l.GetValue() == name }) {
			for _, l := range m.Label {
				out = append(out, l.GetValue())
			}
		}
	}
	return out
}

// counts are how many budgets are in a state and workloads have a verdict, counted in the JSON.
func (k *tick) counts() map[string]int {
	out := map[string]int{"firing": 0, "burning": 0, "low": 0, "no data": 0, "fine": 0, "urgent": 0, "raise": 0, "shrink": 0, "keep": 0, "unknown": 0}
	for _, b := range k.slos {
		hour, defined := at(b, "windows", "1h", "burn_rate").(float64)
		left := at(b, "error_budget", "remaining_ratio").(float64)
		switch {
		case slices.ContainsFunc(list(b["alerts"]), func(a map[string]any) bool { return a["firing"].(bool) }):
			out["firing"]++
		case defined && hour > 1:
			out["burning"]++
		case left < 0.25:
			out["low"]++
		case at(b, "windows", "1h", "coverage") == 0.0:
			out["no data"]++
		default:
			out["fine"]++
		}
	}
	for _, w := range list(k.sizes["workloads"]) {
		out[w["verdict"].(string)]++
		if w["urgency"].(float64) > 1 {
			out["urgent"]++
		}
	}
	delete(out, "")
	return maps.Clone(out)
}
