package provision

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/teambition/rrule-go"

	"github.com/yoyu-sre/yoyu/slo"
)

// Recurring is a schedule that recurs by a rule of RFC 5545, as the configuration has it.
type Recurring interface {
	slo.Schedule
	Recurs() (rule string, from time.Time, zone *time.Location, length time.Duration)
}

// most is how many corrections Datadog takes of one SLO: of those that happen once, and of those
// that recur daily, weekly and monthly.
var most = map[rrule.Frequency]int{once: 100, rrule.DAILY: 2, rrule.WEEKLY: 3, rrule.MONTHLY: 5}

// once stands among frequencies for what does not recur.
const once rrule.Frequency = -1

// Corrections are what Datadog's SLOs need to leave out what yoyu's leave out: a correction of
// Datadog for each correction of an objective that has an SLO object there. left says, a line each,
// of which there is none and why. Datadog knows stretches of time that count as nothing, once, or
// daily, weekly and monthly at a fixed moment of UTC.
func Corrections(all []Native) (out []Object, left []string) {
	for _, n := range all {
		if _, err := native(n); err != nil {
			continue // it has no SLO object, which SLOs says
		}
		count, names := map[rrule.Frequency]int{}, map[string]string{}
		for _, c := range n.Objective.Corrections {
			name := tagValue(c.Name)
			when, frequency, err := mirrored(c)
			switch {
			case err != nil:
			case names[name] != "":
				err = fmt.Errorf("its name and that of %s differ in case alone", names[name])
			case count[frequency] == most[frequency]:
				err = fmt.Errorf("Datadog takes %s of an SLO", limitOf(frequency))
			}
			if err != nil {
				left = append(left, fmt.Sprintf("correction %s of slo %s: it is not in Datadog: %v", c.Name, n.Objective.Name, err))
				continue
			}
			names[name] = c.Name
			count[frequency]++
			of := tagValue(n.Objective.Name)
			key := of + "/" + name
			when["category"], when["timezone"] = "Scheduled Maintenance", "UTC"
			when["description"] = fmt.Sprintf("Correction %s of yoyu's SLO %s. %s", c.Name, n.Objective.Name, lineOf(key))
			out = append(out, Object{Kind: Correction, Key: key, Of: of, Body: when})
		}
	}
	return out, left
}

func limitOf(f rrule.Frequency) string {
	if f == once {
		return fmt.Sprintf("%d corrections that do not recur", most[f])
	}
	return fmt.Sprintf("%d corrections that recur with FREQ=%s", most[f], f)
}

// mirrored says when a correction applies in Datadog's words.
func mirrored(c slo.Correction) (object, rrule.Frequency, error) {
	if c.Effect != slo.Drop {
		return nil, 0, errors.New("Datadog leaves time out, it does not count what is in it as good")
	}
	switch when := c.When.(type) {
	case slo.Once:
		begin, end := when.From.Truncate(time.Second), when.To
		if whole := end.Truncate(time.Second); whole.Before(end) { // outwards, as everywhere
			end = whole.Add(time.Second)
		}
		return object{"start": begin.Unix(), "end": end.Unix()}, once, nil
	case Recurring:
		return recurring(when)
	}
	return nil, 0, fmt.Errorf("Datadog has nothing like %s", c.When)
}

// since is where a rule begins that is not said to begin anywhere. It is a fixed moment, so that what
// is written does not change from day to day, and lies before all that Datadog still keeps (15 months).
var since = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)

// compared is over how long a rule in Datadog's words must mean what the configuration's means.
const compared = 10 * 366 * slo.Day

// recurring says a rule in Datadog's words: FREQ, INTERVAL, COUNT, UNTIL and BYDAY are all that it
// knows, counted from the first occurrence. Its time zone is for showing only, so days are counted in
// UTC. Whether that means the same is not reasoned about but tried out, occurrence by occurrence.
func recurring(r Recurring) (object, rrule.Frequency, error) {
	text, from, zone, length := r.Recurs()
	option, err := rrule.StrToROptionInLocation(text, zone)
	if err != nil {
		return nil, 0, err
	}
	if _, known := most[option.Freq]; !known {
		return nil, 0, fmt.Errorf("Datadog has no FREQ=%s, write a correction with from and to for each occurrence", option.Freq)
	}
	if from.IsZero() {
		from = since
	}
	begun := r.Within(slo.Span{From: from, To: from.Add(compared)})
	begun = slices.DeleteFunc(begun, func(s slo.Span) bool { return s.From.Before(from) })
	if len(begun) == 0 {
		return nil, 0, fmt.Errorf("it does not begin after %s", from.UTC().Format(time.RFC3339))
	}
	first := begun[0].From.UTC()
	local := first.In(zone)
	shift := weekdayOf(first) - weekdayOf(local)
	theirs := rrule.ROption{Freq: option.Freq, Interval: option.Interval, Count: option.Count, Until: option.Until.UTC()}
	parts := []string{"FREQ=" + option.Freq.String()}
	if option.Interval > 1 {
		parts = append(parts, fmt.Sprintf("INTERVAL=%d", option.Interval))
	}
	if option.Count > 0 {
		parts = append(parts, fmt.Sprintf("COUNT=%d", option.Count))
	}
	if !option.Until.IsZero() {
		parts = append(parts, "UNTIL="+theirs.Until.Format("20060102T150405Z"))
	} else {
		theirs.Until = time.Time{}
	}
	if days := option.Byweekday; len(days) > 0 {
		var names []string
		for i := range days {
			day := weekdays[(days[i].Day()+shift+7)%7]
			if n := days[i].N(); n != 0 {
				day = day.Nth(n)
			}
			theirs.Byweekday = append(theirs.Byweekday, day)
			names = append(names, strings.TrimPrefix(day.String(), "+"))
		}
		parts = append(parts, "BYDAY="+strings.Join(names, ","))
	}
	theirs.Dtstart = first
	if err := same(r, theirs, slo.Span{From: first, To: first.Add(compared)}, length); err != nil {
		return nil, 0, err
	}
	return object{"start": first.Unix(), "duration": int64((length + time.Second - 1) / time.Second), "rrule": strings.Join(parts, ";")}, option.Freq, nil
}

var weekdays = []rrule.Weekday{rrule.MO, rrule.TU, rrule.WE, rrule.TH, rrule.FR, rrule.SA, rrule.SU}

// weekdayOf counts from Monday, as rules do.
func weekdayOf(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }

// same says where a rule in Datadog's words would leave out other times than the configuration's.
func same(r Recurring, theirs rrule.ROption, span slo.Span, length time.Duration) error {
	rule, err := rrule.NewRRule(theirs)
	if err != nil {
		return err
	}
	var all []slo.Span
	next := rule.Iterator()
	for {
		at, ok := next()
		if !ok || !at.Before(span.To) {
			break
		}
		one := slo.Span{From: at, To: at.Add(length)}
		if n := len(all); n > 0 && !one.From.After(all[n-1].To) {
			all[n-1].To = one.To
			continue
		}
		all = append(all, one)
	}
	const knows = "a rule of Datadog knows FREQ, INTERVAL, COUNT, UNTIL and BYDAY, and counts in UTC"
	wanted := r.Within(span)
	for i := range max(len(all), len(wanted)) {
		switch {
		case i >= len(wanted) || i < len(all) && all[i].From.Before(wanted[i].From):
			return fmt.Errorf("%s: it would apply at %s, too", knows, all[i].From.UTC().Format(time.RFC3339))
		case i >= len(all) || !all[i].From.Equal(wanted[i].From) || !all[i].To.Equal(wanted[i].To):
			return fmt.Errorf("%s: it could not say %s", knows, wanted[i].From.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
