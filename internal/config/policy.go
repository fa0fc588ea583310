package config

import (
	"fmt"
	"math"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/slo"
)

// policy is an alert policy as a person wrote it: shares of budget become factors only with the
// period of an objective.
type policy struct {
	name         string
	severities   []severity
	minBadEvents float64
	confidence   slo.Share // of the two-sided Wilson interval; zero when the guard is off
}

type severity struct {
	name   string
	pairs  []pair
	labels map[string]string
}

type pair struct {
	long, short time.Duration
	budget      slo.Share  // share of the period's budget gone after long; zero when factor is given
	factor      slo.Factor // burn rate, as written
	factorText  string
	from        value // the pair
	limit       value // its budget or factor
}

// builtIn is the policy of MATHS.md, "Alerts".
const builtIn = "workbook"

var (
	policyFields   = fields{known: []string{"severities", "min_bad_events", "confidence"}}
	severityFields = fields{known: []string{"pairs", "labels"}}
	pairFields     = fields{known: []string{"long", "short", "budget", "factor"}}
)

func (l *loader) readPolicies() {
	l.badNames = map[string]bool{}
	v, ok := l.root.fields["alert_policies"]
	if !ok {
		return
	}
	if v.node.Kind != yaml.MappingNode {
		v.fault(v.shape(), "write it as fields, one for each policy")
		return
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, entry := v.node.Content[i], v.child(v.node.Content[i].Value, v.node.Content[i+1])
		name, ok := value{v.doc, key, v.path, ""}.identifier()
		if !ok {
			continue
		}
		if name == builtIn {
			value{v.doc, key, v.path, ""}.fault("policy workbook is built in", "choose another name")
			continue
		}
		before := len(l.faults)
		p := l.readPolicy(name, entry)
		if len(l.faults) > before {
			l.badNames[name] = true
			continue
		}
		l.policies[name] = p
		l.config.policies = append(l.config.policies, p)
	}
}

func (l *loader) readPolicy(name string, v value) (p policy) {
	p.name = name
	o, ok := v.object(policyFields)
	if !ok {
		return p
	}
	p.minBadEvents = read(o, "min_bad_events", value.amount).value
	p.confidence = read(o, "confidence", func(v value) (slo.Share, bool) { return v.between("80", "99.9", "95%") }).value
	const like = "write it like {page: {pairs: [{long: 1h, short: 5m, budget: 2%}]}}"
	all, ok := o.fields["severities"]
	if !ok {
		o.missing("severities", like)
		return p
	}
	if all.node.Kind != yaml.MappingNode || len(all.node.Content) == 0 {
		all.fault(all.shape()+" without severities", like)
		return p
	}
	for i := 0; i+1 < len(all.node.Content); i += 2 {
		key := all.node.Content[i]
		entry := all.child(key.Value, all.node.Content[i+1])
		if strings.Trim(strings.ToLower(key.Value), "abcdefghijklmnopqrstuvwxyz") != "" || key.Value == "" {
			value{v.doc, key, all.path, ""}.fault(quote(key.Value)+" is not the name of a severity", "use letters only, like page or ticket")
			continue
		}
		o, ok := entry.object(severityFields)
		if !ok {
			continue
		}
		s := severity{name: key.Value}
		s.labels = read(o, "labels", func(v value) (map[string]string, bool) { return v.labels(nil) }).value
		if len(s.labels) == 0 {
			s.labels = nil
		}
		s.pairs = need(o, "pairs", "write it like [{long: 1h, short: 5m, budget: 2%}]", l.pairs).value
		p.severities = append(p.severities, s)
	}
	return p
}

func (l *loader) pairs(v value) (out []pair, ok bool) {
	const like = "pairs like {long: 1h, short: 5m, budget: 2%}"
	entries, ok := v.list(like)
	if ok && len(entries) == 0 {
		v.fault("is an empty list", "write "+like)
		return nil, false
	}
	for _, entry := range entries {
		o, fine := entry.object(pairFields)
		if !fine {
			ok = false
			continue
		}
		p := pair{from: entry}
		const windows = "write both windows, like {long: 1h, short: 5m, budget: 2%}"
		long, short := need(o, "long", windows, l.window), need(o, "short", windows, l.window)
		p.long, p.short = long.value, short.value
		if long.ok && short.ok && p.short >= p.long {
			short.from.fault(fmt.Sprintf("%s is not shorter than long, which is %s", slo.FormatDuration(p.short), slo.FormatDuration(p.long)), "a twelfth of long is usual")
		} else if short.ok && l.tickOK && p.short < 2*l.config.Tick {
			short.from.warn(fmt.Sprintf("%s is shorter than two ticks of %s, so that one scrape decides", slo.FormatDuration(p.short), slo.FormatDuration(l.config.Tick)), "use a longer window, or a shorter tick")
		}
		switch {
		case o.has("budget") && o.has("factor"):
			entry.fault("has both budget and factor", "keep one of them")
		case o.has("budget"):
			g := read(o, "budget", func(v value) (slo.Share, bool) { return v.between("0", "100", "2%") })
			p.budget, p.limit = g.value, g.from
		case o.has("factor"):
			g := read(o, "factor", factor)
			p.factor, p.limit = g.value, g.from
			p.factorText = g.from.node.Value
		default:
			entry.fault("has neither budget nor factor", "write budget: 2%, or factor: 14.4")
		}
		out = append(out, p)
	}
	return out, ok
}

// window reads the length of an alert window.
func (l *loader) window(v value) (time.Duration, bool) {
	d, ok := v.duration()
	if ok && l.tickOK && d%l.config.Tick != 0 {
		v.fault(fmt.Sprintf("%s is no multiple of the tick, which is %s", slo.FormatDuration(d), slo.FormatDuration(l.config.Tick)), "use whole ticks")
		return 0, false
	}
	return d, ok
}

func factor(v value) (slo.Factor, bool) {
	const like = "write a burn rate above 0, like 14.4"
	if v.node.Kind != yaml.ScalarNode || v.empty() {
		v.fault(v.shape(), like)
		return slo.Factor{}, false
	}
	f, err := slo.ParseFactor(v.node.Value)
	if err != nil || f.IsZero() {
		v.fault(v.quoted()+" is no burn rate", like)
		return slo.Factor{}, false
	}
	return f, true
}

// deviations is how many standard deviations a two-sided interval of this confidence spans on
// either side: 1.96 for 95 %. Four digits behind the point, as tables print it.
func deviations(confidence slo.Share) float64 {
	if confidence.IsZero() {
		return 0
	}
	return math.Round(math.Sqrt2*math.Erfinv(confidence.Float())*1e4) / 1e4
}

// scale turns a policy that a person wrote into alerts for one objective. A pair that cannot fire
// is a fault of the policy.
func (p policy) scale(name string, target slo.Share, period slo.Period) slo.Policy {
	out := slo.Policy{Name: p.name, MinBadEvents: p.minBadEvents, Confidence: deviations(p.confidence)}
	for _, s := range p.severities {
		scaled := slo.Severity{Name: s.name, Labels: s.labels}
		for _, w := range s.pairs {
			f := w.factor
			if !w.budget.IsZero() {
				f = slo.FactorOf(w.budget, period.Length, w.long)
			}
			if w.long > period.Length {
				w.from.fault(fmt.Sprintf("window %s is longer than the period of SLO %s, which is %s", slo.FormatDuration(w.long), name, period.Key()),
					"use shorter windows, or another policy there")
				continue
			}
			if !slo.Reachable(f, target) {
				largest := slo.LargestFactor(target)
				w.limit.fault(fmt.Sprintf("factor %s can never be exceeded by SLO %s, which burns at %s when every event is bad (objective %s)", f, name, largest, target.Percent()),
					"use a factor below "+largest)
				continue
			}
			scaled.Pairs = append(scaled.Pairs, slo.Pair{Long: w.long, Short: w.short, Factor: f})
		}
		out.Severities = append(out.Severities, scaled)
	}
	return out
}

// workbook scales the built-in policy. A pair that cannot fire is left out with a warning.
func (l *loader) workbook(target slo.Share, period slo.Period, place value) slo.Policy {
	all := slo.Workbook(period)
	out := slo.Policy{Name: all.Name, MinBadEvents: all.MinBadEvents, Confidence: all.Confidence}
	for _, s := range all.Severities {
		kept := slo.Severity{Name: s.Name, Labels: s.Labels}
		for _, w := range s.Pairs {
			name := fmt.Sprintf("%s pair %s/%s of policy workbook", s.Name, slo.FormatDuration(w.Long), slo.FormatDuration(w.Short))
			tick := l.config.Tick
			if l.tickOK && (w.Long%tick != 0 || w.Short%tick != 0) {
				l.tick.warn(fmt.Sprintf("the %s is left out, its windows are no multiples of %s", name, slo.FormatDuration(tick)), "30s is usual")
				continue
			}
			if l.tickOK && w.Short < 2*tick {
				l.tick.warn(fmt.Sprintf("the %s has a window shorter than two ticks, so that one scrape decides", name), "30s is usual")
			}
			if !slo.Reachable(w.Factor, target) {
				place.warn(fmt.Sprintf("the %s is left out, its factor %s can never be exceeded with an objective of %s", name, w.Factor, target.Percent()),
					"factors below "+slo.LargestFactor(target)+" can")
				continue
			}
			kept.Pairs = append(kept.Pairs, w)
		}
		if len(kept.Pairs) > 0 {
			out.Severities = append(out.Severities, kept)
		}
	}
	return out
}
