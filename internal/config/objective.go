package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // calendar periods need zones where the machine has none

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// settings are the fields of an objective as one place gives them: its entry, or defaults.
type settings struct {
	service    given[string]
	source     given[string]
	objective  given[slo.Share]
	period     given[slo.Period]
	indicator  given[sources.Indicator]
	groupBy    given[[]string]
	groupLimit given[int]
	counting   given[string]
	budgeting  given[slo.Budgeting]
	labels     given[map[string]string]
	runbookURL given[string]
	policy     given[string]

	budgetPolicy given[[]slo.BudgetStep]
}

var (
	sloFields = fields{known: []string{
		"name", "service", "source", "objective", "period", "indicator", "group_by", "group_limit",
		"counting", "budgeting", "labels", "runbook_url", "alert_policy", "budget_policy",
	}}
	periodFields    = fields{known: []string{"calendar", "timezone"}}
	indicatorFields = fields{known: []string{"counters", "latency", "gauge", "promql", "ratio", "datadog", "cloudwatch"}}
	budgetingFields = fields{known: []string{"method", "slice", "target", "empty"}}
)

func (l *loader) readSettings(o object) settings {
	return settings{
		service:    read(o, "service", value.identifier),
		source:     read(o, "source", value.text),
		objective:  read(o, "objective", target),
		period:     read(o, "period", l.period),
		indicator:  read(o, "indicator", indicator),
		groupBy:    read(o, "group_by", groupBy),
		groupLimit: read(o, "group_limit", value.whole),
		counting:   read(o, "counting", func(v value) (string, bool) { return v.choice("raw", "pushdown") }),
		budgeting:  read(o, "budgeting", l.budgeting),
		labels:     read(o, "labels", sloLabels),
		runbookURL: read(o, "runbook_url", value.text),
		policy:     read(o, "alert_policy", value.text),

		budgetPolicy: read(o, "budget_policy", budgetPolicy),
	}
}

// readObjectives expands every objective, now that defaults, services, sources and policies of
// all files are known.
func (l *loader) readObjectives() {
	names := map[string]value{}
	folded := map[string]value{}
	datadog := slices.ContainsFunc(l.config.Sinks, func(s Sink) bool { return s.Type == "datadog" })
	for _, entry := range l.slos {
		name := need(entry.value, "name", "every objective has a name of its own", value.identifier)
		if !name.ok {
			name.value = ""
		} else if before, twice := names[name.value]; twice {
			name.from.fault("there is an SLO "+name.value+" already, in "+before.where(name.from), "choose another name")
		} else if before, twice := folded[strings.ToLower(name.value)]; twice && datadog {
			name.from.fault("Datadog cannot tell it from SLO "+before.node.Value+" in "+before.where(name.from)+", it lowers all letters", "choose another name")
		} else {
			names[name.value] = name.from
			folded[strings.ToLower(name.value)] = name.from
		}
		o, q := l.expand(name.value, entry.value, l.readSettings(entry.value))
		l.config.Objectives = append(l.config.Objectives, o)
		l.config.Questions = append(l.config.Questions, q)
		l.config.entries[o.Name] = entry.from
	}
}

// expand makes one objective of what it says, its service and the defaults.
func (l *loader) expand(name string, o object, own settings) (slo.Objective, Question) {
	d := l.defaults
	service := own.service.or(d.service)
	source := own.source.or(d.source)
	objective := own.objective.or(d.objective)
	period := own.period.or(d.period)
	what := own.indicator.or(d.indicator)
	group := own.groupBy.or(d.groupBy)
	limit := own.groupLimit.or(d.groupLimit)
	counting := own.counting.or(d.counting)
	budgeting := own.budgeting.or(d.budgeting)
	alerts := own.policy.or(d.policy)

	if !service.set {
		o.missing("service", "name what it belongs to, like checkout")
	}
	if !objective.set {
		o.missing("objective", "write the percentage of good events promised, like 99.9")
	}
	if !period.set {
		o.missing("period", "write 30d, here or under defaults")
	}
	if !what.set {
		o.missing("indicator", "say what is counted by "+either(indicatorFields.known))
	}
	if !limit.set {
		limit.value = 100
	}

	shared := l.services[service.value].value
	if service.ok && len(l.services) > 0 && shared.Name == "" {
		if near := nearest(service.value, sortedKeys(l.services)); near != "" {
			service.from.warn(fmt.Sprintf("no service %q is described", service.value), fmt.Sprintf("did you mean %q?", near))
		}
	}

	out := slo.Objective{
		Name:       name,
		Service:    service.value,
		Target:     objective.value,
		Period:     period.value,
		GroupBy:    group.value,
		GroupLimit: limit.value,
		Labels:     union(d.labels.value, shared.Labels, own.labels.value),
		RunbookURL: own.runbookURL.value,
		Counting:   "exact",
		Budgeting:  budgeting.value,
		BudgetPolicy: slo.BudgetPolicy{
			Steps:     own.budgetPolicy.or(d.budgetPolicy).or(l.budget).value,
			MinEvents: l.config.Gate.MinEvents,
		},
	}
	if out.RunbookURL == "" {
		out.RunbookURL = shared.RunbookURL
	}
	if out.RunbookURL == "" {
		out.RunbookURL = d.runbookURL.value
	}
	kind := what.value.Kind
	switch {
	case counting.value == "pushdown":
		out.Counting = "pushdown"
	case kind == sources.PromQL || kind == sources.Ratio || kind == sources.Datadog || kind == sources.CloudWatch:
		out.Counting = "expression" // it is the expression that counts, and yoyu cannot know how well
	}
	// A classic histogram counts whole events, a native one interpolates; which it is shows only
	// in its samples, so room is kept for parts of an event.
	out.Fractional = out.Counting != "exact" || kind == sources.Latency
	out.ReadyRatio = kind == sources.Ratio
	if out.Budgeting.Method == "" {
		out.Budgeting.Method = slo.Occurrences
	}

	q := Question{Question: sources.Question{
		SLO:       name,
		Period:    period.value.Longest(),
		GroupBy:   group.value,
		Indicator: what.value,
		Pushdown:  counting.value == "pushdown",
	}}
	if s := l.sourceOf(o, source); s != nil {
		q.Source, out.Delay = s.Name, s.Delay
		l.checkSource(o, *s, what, counting)
	}
	if kind == sources.Ratio && !out.Budgeting.Slices() && (!budgeting.set || budgeting.ok) {
		place := what.from
		if budgeting.set {
			place = budgeting.from
		}
		place.fault("a ratio has no events to count, so its budget is counted in slices of time",
			"write budgeting: {method: ratio_timeslices, slice: 1m}")
	}
	out.Policy = l.policyOf(o, name, alerts, objective, period, out.Budgeting)
	for i, label := range out.GroupBy {
		where := "labels"
		switch {
		case has(own.labels.value, label):
		case has(shared.Labels, label):
			where = "the labels of service " + shared.Name
		case has(d.labels.value, label):
			where = "the labels of defaults"
		default:
			continue
		}
		if group.ok {
			group.from.item(i, group.from.node.Content[i]).fault("label "+label+" is a key of "+where+" too, and joins with slo_info would mix the two up", "rename one of them")
		}
	}
	return out, q
}

func has(labels map[string]string, key string) bool { _, ok := labels[key]; return ok }

// union merges labels key by key; later ones win.
func union(all ...map[string]string) map[string]string {
	var out map[string]string
	for _, m := range all {
		for k, v := range m {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// counting are the names of sources that can count something.
func (l *loader) counting() []string {
	var names []string
	for _, s := range l.config.Sources {
		if len(l.types.Sources[s.Type].Answers) > 0 {
			names = append(names, s.Name)
		}
	}
	return names
}

// sourceOf finds the source of an objective; the only one that counts need not be named.
func (l *loader) sourceOf(o object, g given[string]) *Source {
	names := l.counting()
	if !g.set {
		switch {
		case len(names) == 1:
			return l.sources[names[0]]
		case len(names) == 0 && len(l.sources) == 0:
			o.missing("source", "describe one under sources")
		case len(names) > 0:
			o.missing("source", "write "+either(names)+", here or under defaults")
		case !slices.Contains(mapValues(l.sources), nil):
			o.missing("source", "add a source that counts under sources")
		}
		return nil
	}
	if !g.ok {
		return nil
	}
	s, known := l.sources[g.value]
	switch {
	case !known && len(l.sources) == 0:
		g.from.fault(fmt.Sprintf("there is no source %q", g.value), "describe it under sources")
	case !known:
		g.from.fault(fmt.Sprintf("there is no source %q", g.value), didYouMean(g.value, sortedKeys(l.sources)))
	case s != nil && len(l.types.Sources[s.Type].Answers) == 0:
		remedy := "add a source that counts under sources"
		if len(names) > 0 {
			remedy = "use " + either(names)
		}
		g.from.fault(fmt.Sprintf("source %s of type %s counts no events", s.Name, s.Type), remedy)
		return nil
	}
	return s
}

func mapValues[K comparable, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// checkSource reports what the source cannot answer.
func (l *loader) checkSource(o object, s Source, what given[sources.Indicator], counting given[string]) {
	if !what.ok {
		return
	}
	can := l.types.Sources[s.Type]
	if !slices.Contains(can.Answers, what.value.Kind) {
		words := make([]string, len(can.Answers))
		for i, k := range can.Answers {
			words[i] = string(k)
		}
		place := what.from
		place.fault(fmt.Sprintf("source %s of type %s cannot answer %s", s.Name, s.Type, what.value.Kind), "use "+either(words)+", or another source")
	}
	if counting.value != "pushdown" {
		return
	}
	switch {
	case what.value.Kind != sources.Counters && what.value.Kind != sources.Latency:
		counting.from.fault(fmt.Sprintf("pushdown is for counters and latency, this is %s", what.value.Kind), "remove it")
	case !can.Pushdown:
		counting.from.fault(fmt.Sprintf("source %s of type %s has nobody to push the counting down to", s.Name, s.Type), "remove it")
	}
}

// policyOf scales the alert policy of an objective.
func (l *loader) policyOf(o object, name string, alerts given[string], objective given[slo.Share], period given[slo.Period], budgeting slo.Budgeting) slo.Policy {
	place := o.value
	if alerts.set {
		place = alerts.from
		if !alerts.ok {
			return slo.Policy{}
		}
	}
	user, known := l.policies[alerts.value]
	if alerts.set && alerts.value != builtIn && !known {
		if !l.badNames[alerts.value] {
			place.fault(fmt.Sprintf("there is no alert policy %q", alerts.value), didYouMean(alerts.value, append(sortedKeys(l.policies), builtIn)))
		}
		return slo.Policy{}
	}
	if !objective.ok || !period.ok {
		return slo.Policy{}
	}
	var p slo.Policy
	if known {
		p = user.scale(name, objective.value, period.value)
	} else {
		p = l.workbook(objective.value, period.value, place)
	}
	if budgeting.Slices() {
		for _, s := range p.Severities {
			for _, w := range s.Pairs {
				if w.Short < budgeting.Slice {
					o.at("budgeting").warn(fmt.Sprintf("a slice of %s is longer than the window %s of alert policy %s, which stays empty most of the time",
						slo.FormatDuration(budgeting.Slice), slo.FormatDuration(w.Short), p.Name), "use a shorter slice")
					return p
				}
			}
		}
	}
	return p
}

// target reads an objective in percent.
func target(v value) (slo.Share, bool) {
	const like = "write the percentage of good events promised, like 99.9"
	share, ok := v.percentage(like)
	if !ok {
		return share, false
	}
	text := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v.node.Value), "%"))
	whole, _ := slo.ParsePercent("100")
	one, _ := slo.ParsePercent("1")
	switch {
	case share.IsZero():
		v.fault("0 promises nothing", like)
	case share.Cmp(whole) == 0:
		v.fault("100 leaves no error budget", "promise a little less, like 99.99")
	case share.Cmp(whole) > 0:
		v.fault(quote(v.node.Value)+" is more than 100 percent", like)
	case share.Cmp(one) < 0:
		remedy := like
		if meant, err := slo.ParseShare(text); err == nil && !strings.Contains(v.node.Value, "%") {
			remedy = fmt.Sprintf("did you mean %s?", meant.Percent())
		}
		v.fault(v.quoted()+" is less than one percent", remedy)
	default:
		return share, true
	}
	return slo.Share{}, false
}

// longest is the longest rolling period: a leap year.
const longest = 366 * slo.Day

// period reads a compliance period.
func (l *loader) period(v value) (slo.Period, bool) {
	if v.node.Kind == yaml.MappingNode {
		return calendar(v)
	}
	if contains([]string{"week", "month", "quarter", "year"}, v.node.Value) {
		v.fault(v.quoted()+" is a calendar period", fmt.Sprintf("write {calendar: %s, timezone: UTC}", v.node.Value))
		return slo.Period{}, false
	}
	d, ok := v.duration()
	switch {
	case !ok:
		return slo.Period{}, false
	case d < time.Hour:
		v.fault(slo.FormatDuration(d)+" is shorter than 1h, the shortest alert window", "30d is usual")
	case d > longest:
		v.fault(slo.FormatDuration(d)+" is longer than 366d", "30d is usual")
	case l.tickOK && d%l.config.Tick != 0:
		v.fault(fmt.Sprintf("%s is no multiple of the tick, which is %s", slo.FormatDuration(d), slo.FormatDuration(l.config.Tick)), "use whole hours or days")
	default:
		return slo.RollingPeriod(d), true
	}
	return slo.Period{}, false
}

func calendar(v value) (slo.Period, bool) {
	o, ok := v.object(periodFields)
	if !ok {
		return slo.Period{}, false
	}
	unit := need(o, "calendar", "write week, month, quarter or year", func(v value) (string, bool) {
		return v.choice("week", "month", "quarter", "year")
	})
	zone := read(o, "timezone", timezone)
	if !zone.set {
		zone.value = time.UTC
	}
	return slo.CalendarPeriod(slo.Calendar(unit.value), zone.value), unit.ok && (!zone.set || zone.ok)
}

func groupBy(v value) (out []string, ok bool) {
	entries, ok := v.list("labels, like [route]")
	for _, entry := range entries {
		name, fine := entry.text()
		if !fine || !entry.label(name, reserved) {
			ok = false
			continue
		}
		if contains(out, name) {
			entry.fault("label "+name+" is in the list twice", "remove one of them")
			ok = false
		}
		out = append(out, name)
	}
	return out, ok
}

// budgeting reads what the budget counts.
func (l *loader) budgeting(v value) (b slo.Budgeting, ok bool) {
	o, ok := v.object(budgetingFields)
	if !ok {
		return b, false
	}
	method := need(o, "method", "write occurrences, timeslices or ratio_timeslices", func(v value) (string, bool) {
		return v.choice(string(slo.Occurrences), string(slo.Timeslices), string(slo.RatioTimeslices))
	})
	slice := read(o, "slice", l.slice)
	share := read(o, "target", func(v value) (slo.Share, bool) { return v.between("0", "100", "95") })
	empty := read(o, "empty", func(v value) (string, bool) {
		return v.choice(string(slo.EmptySkip), string(slo.EmptyGood), string(slo.EmptyBad))
	})
	if !method.ok {
		return b, false
	}
	b = slo.Budgeting{Method: slo.Method(method.value), Slice: slice.value, Target: share.value, Empty: slo.Empty(empty.value)}
	ok = (!slice.set || slice.ok) && (!share.set || share.ok) && (!empty.set || empty.ok)
	refuse := func(key string) {
		if from, written := o.fields[key]; written {
			from.fault("method "+method.value+" has no "+key, "remove it")
			ok = false
		}
	}
	switch b.Method {
	case slo.Occurrences:
		refuse("slice")
		refuse("target")
		refuse("empty")
	case slo.RatioTimeslices:
		refuse("target")
	case slo.Timeslices:
		if !share.set {
			o.missing("target", "write the percentage of good events that makes a slice good, like 95")
			ok = false
		}
	}
	if b.Slices() {
		if !slice.set {
			o.missing("slice", "write the length of a slice, like 1m")
			ok = false
		}
		if b.Empty == "" {
			b.Empty = slo.EmptySkip
		}
	}
	return b, ok
}

func (l *loader) slice(v value) (time.Duration, bool) {
	d, ok := v.duration()
	switch {
	case !ok:
		return 0, false
	case l.tickOK && d%l.config.Tick != 0:
		v.fault(fmt.Sprintf("%s is no multiple of the tick, which is %s", slo.FormatDuration(d), slo.FormatDuration(l.config.Tick)), "use whole ticks, like "+slo.FormatDuration(max(l.config.Tick, time.Minute/l.config.Tick*l.config.Tick)))
	case d > time.Hour:
		v.fault(slo.FormatDuration(d)+" is longer than 1h", "1m or 5m is usual")
	default:
		return d, true
	}
	return 0, false
}

// indicator reads what is counted: exactly one kind.
func indicator(v value) (in sources.Indicator, ok bool) {
	o, ok := v.object(indicatorFields)
	if !ok {
		return in, false
	}
	var kinds []string
	for _, kind := range indicatorFields.known {
		if o.has(kind) {
			kinds = append(kinds, kind)
		}
	}
	switch {
	case len(kinds) > 1:
		v.fault("holds "+strings.Join(kinds, " and "), "an objective counts one thing, make several of it")
		return in, false
	case len(kinds) == 0:
		if len(v.node.Content) == 0 {
			v.fault("is empty", "say what is counted by "+either(indicatorFields.known))
		}
		return in, false
	}
	in.Kind = sources.Kind(kinds[0])
	body := o.fields[kinds[0]]
	switch in.Kind {
	case sources.Counters:
		return counters(body, in)
	case sources.Latency:
		return latency(body, in)
	case sources.Gauge:
		return gauge(body, in)
	case sources.Datadog:
		return datadog(body, in)
	case sources.CloudWatch:
		return cloudWatch(body, in)
	}
	return expressions(body, in)
}

// badOrGood reads the one of the two that an indicator must have.
func badOrGood[T any](o object, parse func(value) (T, bool)) (bad, good given[T], ok bool) {
	bad, good = read(o, "bad", parse), read(o, "good", parse)
	switch {
	case bad.set && good.set:
		o.fault("says both bad and good", "keep one of them, the other is the rest")
	case !bad.set && !good.set:
		o.fault("says neither bad nor good", "add one of them")
	default:
		return bad, good, bad.ok || good.ok
	}
	return bad, good, false
}

func counters(v value, in sources.Indicator) (sources.Indicator, bool) {
	o, ok := v.object(fields{known: []string{"total", "bad", "good"}})
	if !ok {
		return in, false
	}
	total := need(o, "total", "write the selector of the counter of all events", selector)
	bad, good, ok := badOrGood(o, selector)
	in.Total, in.Bad, in.Good = total.value.text, bad.value.text, good.value.text
	if !total.ok || !ok {
		return in, false
	}
	part, word := bad.or(good), "bad"
	if good.set {
		word = "good"
	}
	switch {
	case part.value.Name != total.value.Name:
		part.from.warn(fmt.Sprintf("%s counts %s, total counts %s", word, orAny(part.value.Name), orAny(total.value.Name)), word+" events should be among those of total")
	case in.Total == in.Bad+in.Good:
		part.from.warn(word+" selects the same series as total, so every event is "+word, "")
	}
	for _, s := range []given[text]{total, part} {
		if strings.HasSuffix(s.value.Name, "_bucket") && !hasMatcher(s.value.Selector, "le") {
			s.from.warn("every event is counted once for each bucket", "use "+strings.TrimSuffix(s.value.Name, "_bucket")+"_count, or choose one le")
		}
	}
	return in, true
}

func orAny(metric string) string {
	if metric == "" {
		return "several metrics"
	}
	return metric
}

// text is a selector as written and as read.
type text struct {
	selectors.Selector
	text string
}

func selector(v value) (text, bool) {
	s, ok := v.text()
	if !ok {
		return text{}, false
	}
	s = strings.TrimSpace(s)
	parsed, err := selectors.Parse(s)
	if err != nil {
		v.fault("is no selector of series", strings.ReplaceAll(err.Error(), "\n", " "))
		return text{}, false
	}
	return text{parsed, s}, true
}

func hasMatcher(s selectors.Selector, label string) bool {
	for _, m := range s.Matchers {
		if m.Name == label {
			return true
		}
	}
	return false
}

func latency(v value, in sources.Indicator) (sources.Indicator, bool) {
	o, ok := v.object(fields{known: []string{"histogram", "below"}})
	if !ok {
		return in, false
	}
	histogram := need(o, "histogram", "write the selector of the histogram, without _bucket", func(v value) (text, bool) {
		s, ok := selector(v)
		if !ok {
			return s, false
		}
		for _, end := range []string{"_bucket", "_count", "_sum"} {
			if strings.HasSuffix(s.Name, end) {
				v.fault(s.Name+" is a part of a histogram", "drop "+end)
				return s, false
			}
		}
		if hasMatcher(s.Selector, "le") {
			v.fault("chooses buckets by le", "drop it, below chooses the bucket")
			return s, false
		}
		if s.Name == "" {
			v.fault("names no metric", "begin with the name of the histogram")
			return s, false
		}
		return s, true
	})
	below := need(o, "below", "write a duration like 300ms, or a number in the histogram's own unit", threshold)
	in.Histogram, in.Below = histogram.value.text, below.value
	return in, histogram.ok && below.ok
}

// threshold reads a latency in seconds, or a plain number in the histogram's own unit.
func threshold(v value) (float64, bool) {
	const like = "write a duration like 300ms, or a number in the histogram's own unit"
	if v.node.Kind != yaml.ScalarNode || v.empty() {
		v.fault(v.shape(), like)
		return 0, false
	}
	text := strings.TrimSpace(v.node.Value)
	if number.MatchString(text) {
		if f, err := strconv.ParseFloat(text, 64); err == nil && f > 0 {
			return f, true
		}
	} else {
		long, err := model.ParseDuration(text) // 1d, for jobs
		d := time.Duration(long)
		if err != nil {
			d, err = time.ParseDuration(text) // 250us, 0.3s
		}
		if err == nil && d > 0 {
			return float64(d) / 1e9, true // one rounding only: 300ms is the float64 that 0.3 is
		}
	}
	v.fault(v.quoted()+" is no threshold", like)
	return 0, false
}

func gauge(v value, in sources.Indicator) (sources.Indicator, bool) {
	o, ok := v.object(fields{known: []string{"selector", "bad", "good"}})
	if !ok {
		return in, false
	}
	chosen := need(o, "selector", "write the selector of the gauge", selector)
	bad, good, ok := badOrGood(o, comparison)
	in.Selector, in.Compare, in.CompareBad = chosen.value.text, bad.or(good).value, bad.set
	return in, chosen.ok && ok
}

var comparisonText = regexp.MustCompile(`^\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*$`)

func comparison(v value) (sources.Comparison, bool) {
	s, ok := v.text()
	if !ok {
		return sources.Comparison{}, false
	}
	if m := comparisonText.FindStringSubmatch(s); m != nil && number.MatchString(m[2]) {
		if f, err := strconv.ParseFloat(m[2], 64); err == nil {
			return sources.Comparison{Op: m[1], Value: f + 0}, true
		}
	}
	v.fault(v.quoted()+" is no comparison", `write it like ">= 1", with one of > >= < <= == !=`)
	return sources.Comparison{}, false
}

// expressions reads indicators in PromQL: promql with total, ratio without.
func expressions(v value, in sources.Indicator) (sources.Indicator, bool) {
	known, parse := []string{"total", "bad", "good"}, windowed
	if in.Kind == sources.Ratio {
		known, parse = known[1:], expression
	}
	o, ok := v.object(fields{known: known})
	if !ok {
		return in, false
	}
	bad, good, ok := badOrGood(o, parse)
	in.Bad, in.Good = bad.value, good.value
	if in.Kind == sources.PromQL {
		total := need(o, "total", "write an expression for the number of all events in {{.window}}", parse)
		in.Total = total.value
		ok = ok && total.ok
	}
	return in, ok
}

// datadog reads an indicator in queries of Datadog.
func datadog(v value, in sources.Indicator) (sources.Indicator, bool) {
	o, ok := v.object(fields{known: []string{"total", "bad", "good"}})
	if !ok {
		return in, false
	}
	parse := func(v value) (string, bool) {
		s, ok := v.text()
		if !ok {
			return "", false
		}
		d, err := selectors.ParseDatadog(s)
		if err != nil {
			v.fault("is no count of events", err.Error())
			return "", false
		}
		return d.String(), true
	}
	total := need(o, "total", "write a query that counts all events, like sum:http.hits{service:checkout}", parse)
	bad, good, ok := badOrGood(o, parse)
	in.Total, in.Bad, in.Good = total.value, bad.value, good.value
	if !total.ok || !ok {
		return in, false
	}
	if part, word := bad.or(good), "bad"; in.Total == in.Bad+in.Good {
		if good.set {
			word = "good"
		}
		part.from.warn(word+" counts the same as total, so every event is "+word, "")
	}
	return in, true
}

// window is the placeholder in an expression, in the one spelling that sources are given.
const window = "{{.window}}"

var windowSpelling = regexp.MustCompile(`\{\{\s*\.window\s*\}\}`)

// windowed reads an expression that must look back over {{.window}}.
func windowed(v value) (string, bool) {
	s, ok := expression(v)
	if ok && !strings.Contains(s, window) {
		v.fault("does not look back over {{.window}}", "write it like sum(increase(errors_total[{{.window}}]))")
		return "", false
	}
	return s, ok
}

// expression reads an expression of PromQL in which {{.window}} stands for a duration.
func expression(v value) (string, bool) {
	s, ok := v.text()
	if !ok {
		return "", false
	}
	s = windowSpelling.ReplaceAllLiteralString(strings.TrimSpace(s), window)
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(strings.ReplaceAll(s, window, "5m"))
	if err != nil {
		v.fault("is no expression of PromQL", parserError(s, err))
		return "", false
	}
	if t := parsed.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		v.fault(fmt.Sprintf("gives a %s", parser.DocumentedType(t)), "it must give one number for each series, like sum(increase(…))")
		return "", false
	}
	return s, true
}

// parserError is what the parser says, with its place in the text as written.
func parserError(s string, err error) string {
	faults, ok := err.(parser.ParseErrors) //nolint:errorlint // never wrapped
	if !ok || len(faults) == 0 {
		return strings.ReplaceAll(err.Error(), "\n", " ")
	}
	at := int(faults[0].PositionRange.Start)
	for _, place := range windowSpelling.FindAllStringIndex(s, -1) {
		if place[0] < at {
			at += len(window) - len("5m")
		}
	}
	said := strings.ReplaceAll(faults[0].Err.Error(), "\n", " ")
	if strings.Contains(s, "{{") && !strings.Contains(s, window) {
		said += ", and only {{.window}} is filled in"
	}
	return fmt.Sprintf("at character %d: %s", at+1, said)
}
