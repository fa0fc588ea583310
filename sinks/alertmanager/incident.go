package alertmanager

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// alertName is the alertname of every burn alert, the same as in the rules over yoyu's own series.
const alertName = "SLOErrorBudgetBurn"

// The two severities of the workbook, one of which inhibits the other.
const (
	page   = "page"
	ticket = "ticket"
)

// incident is the newest state of one alert. Only update changes it, before any request reads it.
type incident struct {
	key         string            // of its labels
	labels      map[string]string // without numbers, so that silences fit
	annotations map[string]string
	link        string    // generatorURL; "" without an external address
	starts      time.Time // first tick of the unbroken run of firing
	ends        time.Time // first tick after it; zero while it fires
	until       time.Time // the end that is told while it fires
	seen        time.Time // the last tick at which it fired
}

func (in *incident) firing() bool { return in.ends.IsZero() }

// update brings what is known to the state of a report: alerts begin, go on or end.
func (s *Sink) update(r *sinks.Report) {
	var info map[string][]sinks.Label // by SLO; worked out when something fires
	fires := map[string]bool{}
	for i := range r.SLOs {
		st := &r.SLOs[i]
		if st.NoGroup || !slices.ContainsFunc(st.Alerts, func(a slo.Alert) bool { return a.Firing }) {
			continue
		}
		if info == nil {
			info = infoLabels(r)
		}
		s.updateOne(st, info[st.Objective.Name], fires, r.Time)
	}
	for key, in := range s.known {
		if in.firing() && !fires[key] {
			in.ends = r.Time
			if in.ends.Before(in.starts) {
				in.ends = in.starts
			}
		}
	}
}

// updateOne takes the firing severities of one SLO or group.
func (s *Sink) updateOne(st *slo.Status, info []sinks.Label, fires map[string]bool, now time.Time) {
	type found struct {
		alert *slo.Alert
		in    *incident
	}
	var all []found
	var paged *incident
	for i := range st.Alerts {
		alert := &st.Alerts[i]
		if !alert.Firing {
			continue
		}
		labels := s.labels(st, alert.Severity, info)
		key := keyOf(labels)
		if fires[key] || slices.ContainsFunc(all, func(f found) bool { return f.in.key == key }) {
			continue // two that an Alertmanager cannot tell apart are one: the first
		}
		in := &incident{key: key, labels: labels, starts: alert.Since, seen: now}
		// Late answers may move the start of a run that goes on; for people it stays where it was.
		if before := s.known[key]; before != nil && before.firing() && !in.starts.After(before.seen) {
			in.starts = before.starts
		}
		if in.starts.IsZero() {
			in.starts = st.At
		}
		if alert.Severity == page {
			paged = in
		}
		all = append(all, found{alert, in})
	}
	for _, f := range all {
		// The start times decide, so that a restart decides the same.
		if s.inhibit && f.alert.Severity == ticket && paged != nil && !paged.starts.After(f.in.starts) && !s.goesOn(f.in) {
			continue
		}
		f.in.until = now.Add(s.lifetime())
		if s.web != nil {
			f.in.link = explainURL(s.web, st)
		}
		f.in.annotations = s.templates.render(viewOf(st, f.alert, f.in))
		s.known[f.in.key] = f.in
		fires[f.in.key] = true
	}
}

// goesOn reports whether an alert has been told already and its end has not.
func (s *Sink) goesOn(in *incident) bool {
	before := s.known[in.key]
	return before != nil && before.firing() && s.told(before)
}

// labels are those of one alert. Where two have one name the more particular one stays: identity,
// then the severity's own, then those of slo_info, then the external ones.
func (s *Sink) labels(st *slo.Status, severity string, info []sinks.Label) map[string]string {
	o := st.Objective
	out := map[string]string{"alertname": alertName}
	add := func(name, value string) {
		if _, taken := out[name]; !taken && name != "" && value != "" {
			out[name] = strings.ToValidUTF8(value, "\ufffd")
		}
	}
	add("slo", o.Name)
	add("service", o.Service)
	for i, name := range o.GroupBy {
		if i < len(st.Labels) {
			add(name, st.Labels[i])
		}
	}
	for i := range o.Policy.Severities {
		if sev := &o.Policy.Severities[i]; sev.Name == severity {
			for name, value := range sev.Labels {
				add(name, value)
			}
		}
	}
	add("severity", severity)
	for _, l := range info {
		add(l.Name, l.Value)
	}
	for _, l := range s.external {
		add(l.Name, l.Value)
	}
	return out
}

// infoLabels are the labels of slo_info by SLO, but for those that are words for people or change
// without the SLO being another.
func infoLabels(r *sinks.Report) map[string][]sinks.Label {
	out := map[string][]sinks.Label{}
	for p := range r.Points(sinks.Selection{Families: []*sinks.Family{sinks.SLOInfo}}) {
		labels := slices.DeleteFunc(slices.Clone(p.Labels), func(l sinks.Label) bool {
			return l.Name == "period" || l.Name == "runbook_url"
		})
		out[p.Status.Objective.Name] = labels
	}
	return out
}

// keyOf is one text for one set of labels.
func keyOf(labels map[string]string) string {
	names := make([]string, 0, len(labels))
	for name := range labels {
		names = append(names, name)
	}
	slices.Sort(names)
	var key strings.Builder
	for _, name := range names {
		key.WriteString(name + "\x00" + labels[name] + "\x00")
	}
	return key.String()
}

// explainURL is where the numbers of one SLO or group are written out.
func explainURL(web *url.URL, st *slo.Status) string {
	query := "slo=" + url.QueryEscape(st.Objective.Name)
	for i, name := range st.Objective.GroupBy {
		if i < len(st.Labels) {
			query += "&" + url.QueryEscape(name) + "=" + url.QueryEscape(st.Labels[i])
		}
	}
	u := web.JoinPath("explain")
	u.RawQuery = query
	return u.String()
}
