package rules

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Lengths of the rules over raw metrics.
const (
	slotLength = 5 * time.Minute // of the recorded increases that long windows are sums of
	rawLimit   = 6 * time.Hour   // the longest window that is asked of the raw metrics at every evaluation
	keptFor    = 10 * time.Minute
)

// Gap is something of an SLO that its rules do not say.
type Gap struct {
	SLO    string
	Reason string
	Note   bool // worth knowing, but nothing is missing
}

func (g Gap) String() string { return "slo " + g.SLO + ": " + g.Reason }

// The series that the rules record: yoyu's names with a colon after the first word. All carry slo,
// service and the group_by labels; those of windows carry window too.
const (
	slotEvents       = "slo:slot_events"       // events of the last 5 minutes, once in 5 minutes
	slotBadEvents    = "slo:slot_bad_events"   // the bad ones of them
	windowEvents     = "slo:window_events"     // events of the window
	windowBadEvents  = "slo:window_bad_events" // the bad ones of them
	errorRatio       = "slo:error_ratio"       // bad share, 0–1; absent without events
	burnRate         = "slo:burn_rate"         // multiples of the steady pace; 0 without events
	budgetEvents     = "slo:error_budget_events"
	remainingEvents  = "slo:error_budget_remaining_events"
	remainingRatio   = "slo:error_budget_remaining_ratio"
	infoSeries       = "slo:info"
	objectiveRatio   = "slo:objective_ratio"
	periodWindow     = "period"
	dataMissingAlert = "SLODataMissing"
	spentAlert       = "SLOBudgetSpent"
)

const standaloneIntro = `Written by yoyu rules --standalone, for a Prometheus without yoyu: everything is worked out from the
raw metrics.

* Event-weighted: a window is a sum of increases, bad over all, and never a mean of ratios.
* Windows up to 6h are asked of the raw metrics. Longer ones and the period are sums of increases of
  five minutes, recorded every five minutes (slo:slot_events): exact where increase() is, cheap, and
  up to five minutes late. They begin to fill when these rules begin to run.
* What increase() does not see is not here: the first value of a new series (the first error ever,
  the first requests of a new pod), and what happens between the last sample of one slot and the
  first of the next. It makes up for the latter on the average only. yoyu, the daemon, counts both.
* Where the metrics cease to come the short windows are empty within minutes, and what fired
  resolves. SLODataMissing says so; yoyu, the daemon, would have held the alert.
* The series are yoyu's with a colon after the first word (slo:burn_rate). Two Prometheus servers
  with these rules both alert, with equal labels: Alertmanager makes one of them.

A page and the ticket of the same SLO fire together. Let Alertmanager send the page alone; this is
what yoyu rules -o inhibit writes:

`

// Standalone are recording and alerting rules over the raw metrics. What an SLO asks and PromQL
// cannot say is in the gaps: such an SLO is left out, or written without that.
func Standalone(o Options) (*File, []Gap) {
	f := &File{evaluated: slotLength, intro: standaloneIntro + indent(inhibitText(o.SLOs), "  ")}
	var gaps []Gap
	var bench []specimen
	for _, s := range o.SLOs {
		e, err := newEvents(s)
		if err != nil {
			gaps = append(gaps, Gap{SLO: s.Name, Reason: "is not written: " + err.Error()})
			continue
		}
		b := &bare{SLO: s, events: e}
		own := &File{groups: []group{b.fast(), b.slow()}}
		if err := own.check(); err != nil { // an expression of the configuration that does not fit into a rule
			gaps = append(gaps, Gap{SLO: s.Name, Reason: "is not written: " + err.Error()})
			continue
		}
		f.groups = append(f.groups, own.groups...)
		if s.Period.Calendar != slo.Rolling {
			gaps = append(gaps, Gap{SLO: s.Name, Reason: "is written without its budget: a range of PromQL has one length, and a calendar period has none"})
		}
		if len(s.GroupBy) > 0 && s.GroupLimit > 0 {
			gaps = append(gaps, Gap{SLO: s.Name, Note: true, Reason: fmt.Sprintf("group_limit %d does not hold: rules keep every group apart", s.GroupLimit)})
		}
		if one, err := newSpecimen(b); err != nil {
			f.untold = append(f.untold, s.Name+": "+err.Error())
		} else {
			bench = append(bench, one)
		}
	}
	f.tests = standaloneTests(bench)
	return f, gaps
}

// bare is one SLO on its way into rules over raw metrics.
type bare struct {
	SLO
	events events
}

// labels are those that every recorded series of the SLO has; more come in pairs.
func (b *bare) labels(more ...string) map[string]string {
	out := map[string]string{"slo": utf8(b.Name), "service": utf8(b.Service)}
	for i := 0; i+1 < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	if out["service"] == "" {
		delete(out, "service")
	}
	return out
}

func utf8(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// of chooses the SLO's series of one name.
func (b *bare) of(name string, window ...string) string {
	if len(window) > 0 {
		return name + "{slo=" + quote(utf8(b.Name)) + ",window=" + quote(window[0]) + "}"
	}
	return name + "{slo=" + quote(utf8(b.Name)) + "}"
}

// least is the window that every SLO has, whatever its policy: one that holds data unless there is
// none.
func (b *bare) least() time.Duration {
	if b.Budgeting.Slices() {
		return max(slotLength, 2*b.Budgeting.Slice)
	}
	return slotLength
}

// windows are the lookbacks of the policy, the shortest first: those asked of the raw metrics, and
// those that are sums.
func (b *bare) windows() (short, long []time.Duration) {
	all := map[time.Duration]bool{b.least(): true}
	for _, s := range b.Policy.Severities {
		for _, p := range s.Pairs {
			all[p.Long], all[p.Short] = true, true
		}
	}
	for _, w := range slices.Sorted(maps.Keys(all)) {
		if w <= rawLimit {
			short = append(short, w)
		} else {
			long = append(long, w)
		}
	}
	return short, long
}

// fast is the group that is evaluated as often as the server does: short windows and alerts.
func (b *bare) fast() group {
	g := group{name: "slo:" + b.Name}
	short, _ := b.windows()
	for _, w := range short {
		name := slo.FormatDuration(w)
		total, bad := b.events.counts(w, b.of(windowEvents, name))
		g.rules = append(g.rules,
			rule{record: windowEvents, expr: total, labels: b.labels("window", name)},
			rule{record: windowBadEvents, expr: bad, labels: b.labels("window", name)})
		g.rules = append(g.rules, b.ratios(name)...)
	}
	info := b.labels()
	for name, value := range b.Labels {
		if !identity(b.Objective, name) && value != "" {
			info[name] = utf8(value)
		}
	}
	if b.RunbookURL != "" {
		info["runbook_url"] = utf8(b.RunbookURL)
	}
	info["period"] = b.Period.Key()
	g.rules = append(g.rules,
		rule{record: infoSeries, expr: "vector(1)", labels: info},
		rule{record: objectiveRatio, expr: "vector(" + decimal(new(big.Rat).Sub(big.NewRat(1, 1), rest(b.Target))) + ")", labels: b.labels()})
	for _, one := range saidOf(b.Objective) {
		g.rules = append(g.rules, b.burning(one))
	}
	g.rules = append(g.rules, rule{
		alert: dataMissingAlert, wait: 10 * time.Minute,
		expr:   "max without (window) (absent(" + b.of(windowEvents, slo.FormatDuration(b.least())) + "))",
		labels: b.alertLabels(map[string]string{"severity": ticket}),
		annotations: b.annotations("has no data",
			"For ten minutes now there has been nothing to count for "+b.about()+": no series of all its events has had two samples in five minutes."),
	})
	return g
}

// slow is the group of the slots: what is a sum of them is evaluated right after them.
func (b *bare) slow() group {
	g := group{name: "slo:" + b.Name + ":slots", interval: slotLength}
	total, bad := b.events.counts(slotLength, b.of(slotEvents))
	g.rules = append(g.rules,
		rule{record: slotEvents, expr: total, labels: b.labels()},
		rule{record: slotBadEvents, expr: bad, labels: b.labels()})
	sum := func(name string, w time.Duration) {
		g.rules = append(g.rules,
			rule{record: windowEvents, expr: fmt.Sprintf("sum_over_time(%s[%s])", b.of(slotEvents), duration(w)), labels: b.labels("window", name)},
			rule{record: windowBadEvents, expr: fmt.Sprintf("sum_over_time(%s[%s])", b.of(slotBadEvents), duration(w)), labels: b.labels("window", name)})
		g.rules = append(g.rules, b.ratios(name)...)
	}
	_, long := b.windows()
	for _, w := range long {
		sum(slo.FormatDuration(w), w)
	}
	if b.Period.Calendar != slo.Rolling {
		return g
	}
	sum(periodWindow, b.Period.Length)
	all, spent := b.of(windowEvents, periodWindow), b.of(windowBadEvents, periodWindow)
	allowed := b.of(budgetEvents)
	g.rules = append(g.rules,
		rule{record: budgetEvents, expr: "max without (window) (" + decimal(rest(b.Target)) + " * " + all + ")", labels: b.labels()},
		rule{record: remainingEvents, expr: allowed + " - ignoring (window) " + spent, labels: b.labels()},
		rule{record: remainingRatio, expr: b.of(remainingEvents) + " / (" + allowed + " > 0) or (" + allowed + " == 0) + 1", labels: b.labels()},
		rule{
			alert: spentAlert, wait: slotLength, keep: 15 * time.Minute,
			expr:   b.of(remainingRatio) + " <= 0 and " + allowed + " >= 1",
			labels: b.alertLabels(map[string]string{"severity": ticket}),
			annotations: b.annotations("has no error budget left", "{{ $value | humanizePercentage }} of the budget of "+b.about()+
				" is left: the objective is missed until old errors leave the period."),
		})
	return g
}

// ratios are what follows from the counts of a window.
func (b *bare) ratios(window string) []rule {
	all, bad := b.of(windowEvents, window), b.of(windowBadEvents, window)
	return []rule{
		{record: errorRatio, expr: bad + " / (" + all + " > 0)", labels: b.labels("window", window)},
		{record: burnRate, expr: b.of(errorRatio, window) + " / " + decimal(rest(b.Target)) + " or " + all + " == 0", labels: b.labels("window", window)},
	}
}

// burning is one alert: any pair of its severities, both windows of which burn above its factor.
func (b *bare) burning(one said) rule {
	var pairs, limits []string
	seen := map[slo.Pair]bool{}
	for _, s := range one.severities {
		for _, p := range s.Pairs {
			if seen[p] {
				continue
			}
			seen[p] = true
			pairs = append(pairs, b.pair(p))
			limits = append(limits, fmt.Sprintf("%s over %s and %s", p.Factor, slo.FormatDuration(p.Long), slo.FormatDuration(p.Short)))
		}
	}
	return rule{
		alert: BurnAlert, expr: "max without (window) (\n  " + strings.Join(pairs, "\n  or\n  ") + "\n)", labels: b.alertLabels(one.labels),
		annotations: b.annotations("is burning its error budget ("+literal(strings.Join(one.names(), " or "))+")",
			"{{ $value | humanizePercentage }} of the events of "+b.about()+" were bad, and "+b.Target.Percent()+"% are promised to be good. "+
				"It fires at "+strings.Join(limits, ", or ")+" times the pace that spends the budget in a period."),
	}
}

// pair is the condition of one pair; its value is the error ratio of the long window.
func (b *bare) pair(p slo.Pair) string {
	threshold := new(big.Rat).Mul(factor(p.Factor), rest(b.Target))
	limit := decimal(threshold)
	read := func(name string, w time.Duration) string {
		one := b.of(name, slo.FormatDuration(w))
		if w > rawLimit { // recorded once in five minutes, the next a little late
			return "last_over_time(" + one + "[" + duration(keptFor) + "])"
		}
		return one
	}
	out := "(\n    " + read(errorRatio, p.Long) + " > " + limit + "\n    and ignoring (window)\n    " + read(errorRatio, p.Short) + " > " + limit
	if least := b.Policy.MinBadEvents; least > 0 {
		out += "\n    and\n    " + read(windowBadEvents, p.Long) + " >= " + number(least)
	}
	if z := b.Policy.Confidence; z > 0 {
		// The lower bound of Wilson's interval, as slo.Wilson works it out.
		ratio, all := read(errorRatio, p.Long), read(windowEvents, p.Long)
		zz := z * z
		out += "\n    and\n    " + fmt.Sprintf(`(%[1]s + %[3]s / %[2]s - %[4]s * sqrt(%[1]s * (1 - %[1]s) / %[2]s + %[5]s / (%[2]s * %[2]s))) / (1 + %[6]s / %[2]s) > %[7]s`,
			ratio, all, number(zz/2), number(z), number(zz/4), number(zz), limit)
	}
	return out + "\n  )"
}

// alertLabels are those of an alert, whoever it is about: where two have one name the more
// particular one stays, as in the alerts that yoyu sends by itself.
func (b *bare) alertLabels(severity map[string]string) map[string]string {
	out := map[string]string{}
	for name, value := range b.Labels {
		if !identity(b.Objective, name) && value != "" {
			out[name] = value
		}
	}
	maps.Copy(out, severity)
	maps.Copy(out, b.labels())
	return literals(out)
}

func (b *bare) about() string { return literal(b.Name) + " (" + literal(b.Service) + ")" }

// annotations are those of an alert; where it is about a group, the summary names it.
func (b *bare) annotations(summary, description string) []annotation {
	out := []annotation{
		{"summary", literal(b.Name) + " " + summary},
		{"description", description},
	}
	if b.RunbookURL != "" {
		out = append(out, annotation{"runbook_url", literal(b.RunbookURL)})
	}
	return out
}

func rest(target slo.Share) *big.Rat {
	r, ok := new(big.Rat).SetString(target.Rest().Percent())
	if !ok {
		panic("rules: a share does not print as a number") // it always does
	}
	return r.Quo(r, big.NewRat(100, 1))
}

func factor(f slo.Factor) *big.Rat {
	num, den := f.Fraction()
	return new(big.Rat).SetFrac(new(big.Int).SetUint64(num), new(big.Int).SetUint64(den))
}

// decimal prints a number without loss where it has an end, else the nearest float64.
func decimal(r *big.Rat) string {
	if digits, exact := r.FloatPrec(); exact && digits <= 30 {
		return r.FloatString(digits)
	}
	f, _ := r.Float64()
	return number(f)
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// errNoRules are the reasons why an SLO cannot be said in rules.
var (
	errGauge  = errors.New("a gauge counts its samples, and PromQL compares at steps of its own")
	errNoText = errors.New("a selector holds U+FFFD, which a Prometheus reads in no rule")
	errRatio  = errors.New("a ratio has no events to count, and no slices are told")
	errEmpty  = errors.New("a slice without events counts as good or bad, and PromQL cannot tell it from one that nobody asked for")
)
