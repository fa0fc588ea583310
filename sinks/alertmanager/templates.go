package alertmanager

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// View is what a template of an annotation sees of an alert: its dot.
type View struct {
	SLO, Service string
	Severity     string            // as the policy calls it: page, ticket …
	Group        map[string]string // the group_by labels
	Where        string            // the group for people: route=/items, zone=a; "" without one
	Labels       map[string]string // all labels of the alert, the external ones too
	Objective    string            // percent of good events promised: 99.9
	Period       string            // 30d, or month
	Remaining    float64           // share of the budget that is left: 1 untouched, negative overspent
	Allowed      float64           // bad events that the period may hold
	Spent        float64           // bad events that it held
	Exhaustion   slo.Value         // seconds until spent at the present burn
	BurnRatio    float64           // how far above its factor the alert burns: above 1
	Pairs        []ViewPair        // the pairs of windows that fire
	RunbookURL   string
	ExplainURL   string // where every number is written out; "" without --web.external-url
	Since        time.Time
	Time         time.Time // the tick the numbers hold for
}

// ViewPair is a pair of windows that fires.
type ViewPair struct {
	Long, Short string // 1h, 5m
	Factor      string // the burn rate that both exceed
	LongBurn    slo.Value
	ShortBurn   slo.Value
	LongBad     float64 // bad events in the long window
	LongTotal   float64 // all events in it
	Held        bool    // the source is silent: this is the last known state
}

// builtIn are the annotations that nobody has to write.
var builtIn = map[string]string{
	"summary": `{{.SLO}}{{with .Where}} ({{.}}){{end}} is burning its error budget ({{.Severity}})`,
	"description": `{{percent .Remaining}} of the error budget of {{.Period}} is left` +
		`{{if and .Exhaustion.Defined (gt .Remaining 0.0)}}, spent in {{duration .Exhaustion.Float}} at this pace{{end}}.` +
		`{{range .Pairs}}{{if .Held}} The source is silent: the state of the windows of {{.Long}} and {{.Short}} is the last one known.` +
		`{{else}} {{number .LongBad}} of {{number .LongTotal}} events in {{.Long}} were bad: {{number .LongBurn.Float}} times` +
		` the pace that {{$.Objective}} % allows, and {{number .ShortBurn.Float}} times over the last {{.Short}}; the limit is {{.Factor}}.{{end}}{{end}}`,
	"runbook_url": `{{.RunbookURL}}`,
}

// functions are what templates have beside the built-in ones of Go.
var functions = template.FuncMap{
	"percent":  func(ratio float64) string { return number(100*ratio) + " %" },
	"number":   number,
	"duration": duration,
}

// templates are the annotations by name.
type templates struct {
	names []string
	by    map[string]*template.Template
}

// compile reads the built-in templates and those written over them. A template that could not be
// right is an error: one that names an unknown field, whatever branch it does so in, or that fails
// on an alert as alerts are. Errors begin with the field, all of them joined.
func compile(own map[string]string) (templates, error) {
	texts := maps.Clone(builtIn)
	maps.Copy(texts, own)
	out := templates{by: map[string]*template.Template{}}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if !isLabelName(name) {
			faults = append(faults, fault("annotations", "%q is not a name such as dashboard_url", name))
			continue
		}
		if texts[name] == "" {
			continue
		}
		made, err := compileOne(texts[name])
		if err != nil {
			faults = append(faults, fault("annotations."+name, "%s", err))
			continue
		}
		out.names, out.by[name] = append(out.names, name), made
	}
	return out, errors.Join(faults...)
}

func compileOne(text string) (*template.Template, error) {
	made, err := template.New("template").Option("missingkey=zero").Funcs(functions).Parse(text)
	if err != nil {
		return nil, errors.New(withoutName(err))
	}
	if err := checkFields(made); err != nil {
		return nil, err
	}
	for _, sample := range samples {
		if err := made.Execute(&strings.Builder{}, sample); err != nil {
			return nil, errors.New(withoutName(err))
		}
	}
	return made, nil
}

// withoutName is what the template reader says, from the line on.
func withoutName(err error) string { return strings.TrimPrefix(err.Error(), "template: template:") }

// render are the annotations of one alert; those that say nothing are left out. A template that
// fails on this alert says so in its annotation: an alert must not be lost over its words.
func (t templates) render(v View) map[string]string {
	out := make(map[string]string, len(t.names))
	for _, name := range t.names {
		var text strings.Builder
		if err := t.by[name].Execute(&text, v); err != nil {
			text.Reset()
			fmt.Fprintf(&text, "the template of this annotation failed: %s", withoutName(err))
		}
		if said := strings.TrimSpace(strings.ToValidUTF8(text.String(), "\ufffd")); said != "" {
			out[name] = said
		}
	}
	return out
}

// viewOf is what templates see of one firing severity.
func viewOf(st *slo.Status, alert *slo.Alert, in *incident) View {
	o := st.Objective
	v := View{
		SLO: o.Name, Service: o.Service, Severity: alert.Severity, Group: sinks.GroupLabels(st), Labels: in.labels,
		Objective: o.Target.Percent(), Period: o.Period.Key(),
		Remaining: st.Budget.RemainingRatio, Allowed: st.Budget.Allowed, Spent: st.Budget.Spent,
		Exhaustion: st.Budget.Exhaustion, BurnRatio: alert.BurnRatio.Float,
		RunbookURL: o.RunbookURL, ExplainURL: in.link, Since: in.starts.UTC(), Time: st.At.UTC(),
	}
	var where []string
	for i, name := range o.GroupBy {
		if i < len(st.Labels) && st.Labels[i] != "" {
			where = append(where, name+"="+st.Labels[i])
		}
	}
	v.Where = strings.Join(where, ", ")
	for _, p := range alert.Pairs {
		if !p.Firing {
			continue
		}
		pair := ViewPair{Long: slo.FormatDuration(p.Long), Short: slo.FormatDuration(p.Short), Factor: p.Factor.String(), Held: p.Held}
		for i := range st.Windows {
			switch w := &st.Windows[i]; {
			case w.IsPeriod:
			case w.Length == p.Long:
				pair.LongBurn, pair.LongBad, pair.LongTotal = w.BurnRate, w.Bad, w.Total
			case w.Length == p.Short:
				pair.ShortBurn = w.BurnRate
			}
		}
		v.Pairs = append(v.Pairs, pair)
	}
	return v
}

// samples are alerts as they are: a page of a group, and a ticket that is held over a silent source.
var samples = []View{
	{
		SLO: "checkout-availability", Service: "checkout", Severity: page,
		Group: map[string]string{"route": "/cart"}, Where: "route=/cart",
		Labels:    map[string]string{"alertname": alertName, "slo": "checkout-availability", "severity": "critical", "route": "/cart"},
		Objective: "99.9", Period: "30d", Remaining: 0.75, Allowed: 21600, Spent: 5400, Exhaustion: slo.Defined(108000), BurnRatio: 1.25,
		Pairs: []ViewPair{
			{Long: "1h", Short: "5m", Factor: "14.4", LongBurn: slo.Defined(18), ShortBurn: slo.Defined(20), LongBad: 540, LongTotal: 30000},
			{Long: "6h", Short: "30m", Factor: "6", LongBurn: slo.Defined(7), ShortBurn: slo.Defined(19), LongBad: 1260, LongTotal: 180000},
		},
		RunbookURL: "https://runbooks.example/checkout", ExplainURL: "https://yoyu.example/explain?slo=checkout-availability",
		Since: time.Unix(1_800_000_000, 0).UTC(), Time: time.Unix(1_800_000_600, 0).UTC(),
	},
	{
		SLO: "search", Service: "search", Severity: ticket, Group: map[string]string{}, Labels: map[string]string{"alertname": alertName},
		Objective: "99", Period: "month", Remaining: -0.5, Pairs: []ViewPair{{Long: "3d", Short: "6h", Factor: "1", Held: true}},
		Since: time.Unix(1_800_000_000, 0).UTC(), Time: time.Unix(1_800_000_000, 0).UTC(),
	},
}

// number prints three digits that count, and all of a whole part: 0.0123, 18, 14.4, 30000.
func number(f float64) string {
	if f == 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	places := max(0, 2-int(math.Floor(math.Log10(math.Abs(f)))))
	text := strconv.FormatFloat(f, 'f', min(places, 12), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// duration prints seconds in the two largest units that count: 1d 6h, 3h, 45s.
func duration(seconds float64) string {
	if math.IsNaN(seconds) || math.Abs(seconds) > 1e15 {
		return number(seconds) + "s"
	}
	whole := int64(math.Round(seconds))
	if whole < 0 {
		return "-" + duration(-seconds)
	}
	var parts []string
	for _, unit := range []struct {
		name  string
		worth int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}} {
		if n := whole / unit.worth; n > 0 && len(parts) < 2 {
			parts = append(parts, strconv.FormatInt(n, 10)+unit.name)
			whole -= n * unit.worth
		} else if len(parts) > 0 {
			break
		}
	}
	if len(parts) == 0 {
		return "0s"
	}
	return strings.Join(parts, " ")
}

func isLabelName(name string) bool {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
