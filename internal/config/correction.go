package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Correction is a correction as it is written: of which objectives, when, and to what effect. The
// objectives have it as they need it.
type Correction struct {
	Name   string
	SLOs   []string          // names of objectives; nil: chosen by Labels
	Labels map[string]string // of objectives; service is among them
	Effect slo.Effect
	When   slo.Schedule
}

var correctionFields = fields{known: []string{"name", "slos", "labels", "from", "to", "rrule", "duration", "timezone", "effect"}}

// readCorrections gives every objective its corrections. They are read last, when all objectives
// are known.
func (l *loader) readCorrections() {
	v, ok := l.root.fields["corrections"]
	if !ok {
		return
	}
	entries, _ := v.list(`corrections, each beginning with "- name:"`)
	names := map[string]int{}
	for _, entry := range entries {
		o, ok := entry.object(correctionFields)
		if !ok {
			continue
		}
		name := need(o, "name", "the page and the metrics call a correction by its name", value.identifier)
		effect := need(o, "effect", "write drop (its events count as nothing) or good (none of them is bad)", func(v value) (string, bool) {
			return v.choice(string(slo.Drop), string(slo.Good))
		})
		when, whenOK := l.when(o)
		chosen, whoOK := l.corrected(o)
		if !name.ok || !first(names, "correction", name) || !effect.ok || !whenOK || !whoOK {
			continue
		}
		c := Correction{Name: name.value, Effect: slo.Effect(effect.value), When: when}
		c.SLOs = read(o, "slos", texts).value
		c.Labels = read(o, "labels", selectionLabels).value
		l.config.Corrections = append(l.config.Corrections, c)
		for _, i := range chosen {
			to := &l.config.Objectives[i]
			to.Corrections = append(to.Corrections, slo.Correction{Name: c.Name, Effect: c.Effect, When: c.When})
		}
	}
}

// texts reads a list of text; what is wrong with it has been said.
func texts(v value) (out []string, ok bool) {
	for _, node := range v.node.Content {
		out = append(out, node.Value)
	}
	return out, true
}

// selectionLabels reads labels to choose by, of which service is one.
func selectionLabels(v value) (map[string]string, bool) {
	return v.labels(slices.DeleteFunc(slices.Clone(reserved), func(name string) bool { return name == "service" }))
}

// corrected are the objectives that a correction is for, by their place.
func (l *loader) corrected(o object) (chosen []int, ok bool) {
	slos, byName := o.fields["slos"]
	labels, byLabel := o.fields["labels"]
	switch {
	case byName && byLabel:
		o.fault("chooses SLOs by slos and by labels", "keep one of them")
		return nil, false
	case byName:
		return l.named(slos)
	case byLabel:
		return l.labelled(labels)
	}
	o.fault("does not say which SLOs it is for", "add slos: [name, …] or labels: {team: payments}")
	return nil, false
}

func (l *loader) named(v value) (chosen []int, ok bool) {
	const like = "names of SLOs, like [checkout-availability]"
	entries, ok := v.list(like)
	if ok && len(entries) == 0 {
		v.fault("is an empty list", "write "+like)
		return nil, false
	}
	known := make([]string, len(l.config.Objectives))
	for i, o := range l.config.Objectives {
		known[i] = o.Name
	}
	for _, entry := range entries {
		name, fine := entry.text()
		i := slices.Index(known, name)
		switch {
		case !fine:
			ok = false
		case i < 0:
			entry.fault(fmt.Sprintf("there is no SLO %q", name), didYouMean(name, known))
			ok = false
		case slices.Contains(chosen, i):
			entry.fault("SLO "+name+" is in the list twice", "remove one of them")
			ok = false
		default:
			chosen = append(chosen, i)
		}
	}
	return chosen, ok
}

func (l *loader) labelled(v value) (chosen []int, ok bool) {
	wanted, ok := selectionLabels(v)
	switch {
	case !ok:
		return nil, false
	case len(wanted) == 0:
		v.fault("is empty, and would choose every SLO", "write labels like {team: payments}, or names under slos")
		return nil, false
	}
objectives:
	for i, o := range l.config.Objectives {
		for key, text := range wanted {
			if key == "service" && o.Service == text {
				continue
			}
			if have, has := o.Labels[key]; key == "service" || !has || have != text {
				continue objectives
			}
		}
		chosen = append(chosen, i)
	}
	if len(chosen) == 0 && len(l.faults) == 0 {
		v.warn("no SLO has these labels, so that it corrects nothing", "service, and the labels of an SLO and its service are compared")
	}
	return chosen, true
}

// when reads the time of a correction: from and to, or a rule.
func (l *loader) when(o object) (slo.Schedule, bool) {
	zone := read(o, "timezone", timezone)
	length := read(o, "duration", value.duration)
	from, to := read(o, "from", moment), read(o, "to", moment)
	rule := read(o, "rrule", value.text)
	refuse := func(key, problem, remedy string) bool {
		if v, written := o.fields[key]; written {
			v.fault(problem, remedy)
			return true
		}
		return false
	}
	if !rule.set {
		const like = "write from and to for once, or rrule and duration for a correction that recurs"
		wrong := refuse("duration", "is for corrections that recur", "write to, or add rrule")
		wrong = refuse("timezone", "is for corrections that recur", "remove it, from and to say how far from UTC they are") || wrong
		switch {
		case !from.set && !to.set:
			o.fault("does not say when it applies", like)
			return nil, false
		case !from.set:
			o.missing("from", like)
			return nil, false
		case !to.set:
			o.missing("to", like)
			return nil, false
		case wrong || !from.ok || !to.ok:
			return nil, false
		case !from.value.Before(to.value):
			to.from.fault("does not come after from", "a correction lasts from one moment to a later one")
			return nil, false
		}
		return slo.Once{From: from.value, To: to.value}, true
	}
	wrong := refuse("to", "is for corrections that apply once", "end a rule by UNTIL=20261231T235959 or COUNT=3")
	switch {
	case !length.set:
		o.missing("duration", "write how long it applies each time, like 30m")
		return nil, false
	case wrong || !length.ok || !rule.ok || zone.set && !zone.ok || from.set && !from.ok:
		return nil, false
	case length.value > longest:
		length.from.fault(slo.FormatDuration(length.value)+" is longer than 366d", "30m is usual")
		return nil, false
	}
	if !zone.set {
		zone.value = time.UTC
	}
	r, err := recurs(rule.value, from.value.Truncate(time.Second), zone.value, length.value)
	if err != nil {
		rule.from.fault(quote(rule.value)+" is no rule to recur by", err.Error())
		return nil, false
	}
	return r, true
}

// timezone reads the name of an IANA zone.
func timezone(v value) (*time.Location, bool) {
	name, ok := v.text()
	if !ok {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		v.fault(fmt.Sprintf("there is no time zone %s", quote(name)), "write it like Asia/Tokyo or UTC")
		return nil, false
	}
	return zone, true
}

// moment reads a moment with its offset from UTC.
func moment(v value) (time.Time, bool) {
	const like = "write it like 2026-11-03T01:00:00+09:00 or 2026-11-02T16:00:00Z"
	text, ok := v.text()
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	switch {
	case err == nil && at.Year() < 1970:
		v.fault(quote(text)+" lies before 1970", like)
	case err == nil && at.Year() > 2200:
		v.fault(quote(text)+" lies after 2200", like)
	case err == nil:
		return at.UTC(), true
	case local(text):
		v.fault(quote(text)+" does not say how far it is from UTC", "add Z, or an offset like +09:00")
	default:
		v.fault(quote(text)+" is no moment in time", like)
	}
	return time.Time{}, false
}

// local reports whether text is a moment without an offset.
func local(text string) bool {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if _, err := time.Parse(layout, text); err == nil {
			return true
		}
	}
	return false
}
