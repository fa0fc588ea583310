package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/teambition/rrule-go"

	"github.com/yoyu-sre/yoyu/slo"
)

// recurrence is a stretch of time that comes back by a rule of RFC 5545. Rules count in days as a
// clock on the wall shows them, so they are worked out without a zone and placed in it afterwards:
// the library leaves to Go what a time means that does not exist, and Go does not promise anything.
type recurrence struct {
	rule   string // as written, without RRULE:
	option rrule.ROption
	from   time.Time // no occurrence begins before it; zero: there is no first
	zone   *time.Location
	length time.Duration // of each occurrence, in absolute time
}

var _ slo.Schedule = recurrence{}

// String shows the rule with what it needs besides.
func (r recurrence) String() string {
	from := ""
	if !r.from.IsZero() {
		from = " from " + r.from.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%s for %s in %s%s", r.rule, slo.FormatDuration(r.length), r.zone, from)
}

// Recurs is what it is made of, for those who must say it in another's words: the rule as written,
// without RRULE:, the moment before which no occurrence begins (zero: there is none), the zone in
// which the rule counts and how long each occurrence lasts.
func (r recurrence) Recurs() (rule string, from time.Time, zone *time.Location, length time.Duration) {
	return r.rule, r.from, r.zone, r.length
}

// Within are the occurrences that touch the span; those that touch each other are one.
func (r recurrence) Within(span slo.Span) []slo.Span {
	const transition = 48 * time.Hour // more than clocks are ever moved
	first, last := wall(span.From.Add(-r.length), r.zone).Add(-transition), wall(span.To, r.zone).Add(transition)
	next, err := r.occurrences(first)
	if err != nil {
		return nil // it was tried when it was read
	}
	var out []slo.Span
	for {
		at, ok := next()
		if !ok || at.After(last) {
			return out
		}
		begin := instant(at, r.zone)
		one := slo.Span{From: begin, To: begin.Add(r.length)}
		if !one.From.Before(span.To) || !span.From.Before(one.To) || begin.Before(r.from) {
			continue
		}
		if n := len(out); n > 0 && !one.From.After(out[n-1].To) {
			if one.To.After(out[n-1].To) {
				out[n-1].To = one.To
			}
			continue
		}
		out = append(out, one)
	}
}

// occurrences yields the times on the wall at which occurrences begin, from about a moment on.
func (r recurrence) occurrences(after time.Time) (rrule.Next, error) {
	option := r.option
	option.Dtstart = time.Date(after.Year()-1, time.January, 1, 0, 0, 0, 0, time.UTC)
	if !r.from.IsZero() {
		first := wall(r.from, r.zone)
		anchored := option
		anchored.Dtstart = first
		rule, err := rrule.NewRRule(anchored)
		if err != nil {
			return nil, err
		}
		if option.Interval > 1 || option.Count > 0 || first.After(option.Dtstart) {
			return rule.Iterator(), nil
		}
		// What the rule takes from its first occurrence, written out, so that it can begin later.
		begin := option.Dtstart
		option = rule.Options
		option.Dtstart = begin
		for _, part := range []struct {
			of  *[]int
			one int
		}{{&option.Byhour, first.Hour()}, {&option.Byminute, first.Minute()}, {&option.Bysecond, first.Second()}} {
			if len(*part.of) == 0 {
				*part.of = []int{part.one}
			}
		}
	}
	rule, err := rrule.NewRRule(option)
	if err != nil {
		return nil, err
	}
	return rule.Iterator(), nil
}

// wall is what a clock in the zone shows, as if it were UTC.
func wall(t time.Time, zone *time.Location) time.Time {
	y, m, d := t.In(zone).Date()
	hour, minute, second := t.In(zone).Clock()
	return time.Date(y, m, d, hour, minute, second, 0, time.UTC)
}

// instant is the moment at which a clock in the zone shows a time: the first of two where the clock
// is put back; where it is put forward, the moment at which an unchanged clock would have shown it
// (RFC 5545, 3.3.5).
func instant(shown time.Time, zone *time.Location) time.Time {
	at := func(probe time.Time) time.Time {
		_, offset := probe.In(zone).Zone()
		return shown.Add(-time.Duration(offset) * time.Second)
	}
	before, after := at(shown.Add(-24*time.Hour)), at(shown.Add(24*time.Hour))
	if !wall(before, zone).Equal(shown) && wall(after, zone).Equal(shown) {
		return after
	}
	return before
}

// recurs reads a rule. What it must say depends on whether it has a first occurrence.
func recurs(text string, from time.Time, zone *time.Location, length time.Duration) (recurrence, error) {
	r := recurrence{from: from, zone: zone, length: length}
	r.rule = strings.TrimPrefix(strings.ToUpper(strings.Join(strings.Fields(text), "")), "RRULE:")
	if r.rule == "" {
		return r, errors.New("write it like FREQ=DAILY;BYHOUR=3")
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(r.rule, ";") {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case !ok:
			return r, errors.New("write it like FREQ=DAILY;BYHOUR=3")
		case seen[key]:
			return r, fmt.Errorf("%s is there twice", key)
		case key == "DTSTART":
			return r, errors.New("DTSTART is written as from, beside the rule")
		case key == "BYEASTER":
			return r, errors.New("BYEASTER is no part of RFC 5545")
		case key == "UNTIL" && len(value) == len("20060102"):
			return r, fmt.Errorf("UNTIL has no time of day, write it like %sT235959", value)
		case key == "INTERVAL" && strings.Trim(value, "0") == "":
			return r, errors.New("INTERVAL must be 1 or more")
		}
		seen[key] = true
	}
	option, err := rrule.StrToROptionInLocation(r.rule, zone)
	if err != nil {
		return r, errors.New(strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if !option.Until.IsZero() {
		option.Until = wall(option.Until, zone)
	}
	r.option = *option
	if err := r.check(seen); err != nil {
		return r, err
	}
	if _, err := rrule.NewRRule(r.option); err != nil {
		return r, err // a number out of its bounds
	}
	ever := r // whatever its end
	ever.option.Until = time.Time{}
	if !ever.begins() {
		return r, errors.New("it never happens")
	}
	if !from.IsZero() && !r.begins() {
		return r, errors.New("it ends before it begins")
	}
	return r, nil
}

// begins reports whether there is an occurrence at all, from the first or from this century on.
func (r recurrence) begins() bool {
	first := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	if !r.from.IsZero() {
		first = wall(r.from, r.zone)
	}
	next, err := r.occurrences(first)
	if err != nil {
		return false
	}
	_, ok := next()
	return ok
}

// check holds a rule to RFC 5545 where the library does not, and to what has an answer without a
// first occurrence.
func (r recurrence) check(seen map[string]bool) error {
	o := r.option
	day := seen["BYDAY"] || seen["BYMONTHDAY"] || seen["BYYEARDAY"] || seen["BYWEEKNO"]
	anchored := !r.from.IsZero()
	nth := 0
	for i := range o.Byweekday {
		nth = max(nth, o.Byweekday[i].N(), -o.Byweekday[i].N())
	}
	times := max(1, len(o.Byhour)) * max(1, len(o.Byminute)) * max(1, len(o.Bysecond))
	switch {
	case o.Freq > rrule.DAILY:
		return fmt.Errorf("FREQ=%s is not read, use FREQ=DAILY with BYHOUR and BYMINUTE", o.Freq)
	case o.Interval > 1000 || o.Count < 0 || o.Interval < 0:
		return errors.New("INTERVAL must lie between 1 and 1000, COUNT above 0")
	case seen["COUNT"] && o.Count == 0:
		return errors.New("COUNT must be 1 or more")
	case seen["COUNT"] && seen["UNTIL"]:
		return errors.New("COUNT and UNTIL do not go together")
	case (o.Interval > 1 || o.Count > 0) && !anchored:
		return errors.New("INTERVAL and COUNT need to know where they begin, add from")
	case (seen["BYWEEKNO"] || seen["BYYEARDAY"]) && o.Freq != rrule.YEARLY:
		return errors.New("BYWEEKNO and BYYEARDAY go with FREQ=YEARLY only")
	case seen["BYMONTHDAY"] && o.Freq == rrule.WEEKLY:
		return errors.New("BYMONTHDAY does not go with FREQ=WEEKLY")
	case nth > 0 && o.Freq > rrule.MONTHLY:
		return errors.New("numbered days as in 2MO go with FREQ=MONTHLY and FREQ=YEARLY only")
	case nth > 5 && (o.Freq == rrule.MONTHLY || len(o.Bymonth) > 0):
		return errors.New("a month has no sixth of any day")
	case nth > 0 && seen["BYWEEKNO"]:
		return errors.New("numbered days as in 2MO do not go with BYWEEKNO")
	case times > 288:
		return errors.New("more than 288 times a day, use fewer and a longer duration")
	case o.Freq == rrule.WEEKLY && !seen["BYDAY"] && !anchored:
		return errors.New("it does not say on which day, add BYDAY or from")
	case o.Freq < rrule.WEEKLY && !day && !anchored:
		return errors.New("it does not say on which day, add BYMONTHDAY, BYDAY or from")
	case o.Freq == rrule.YEARLY && !seen["BYMONTH"] && !seen["BYYEARDAY"] && !seen["BYWEEKNO"] && !anchored:
		return errors.New("it does not say in which month, add BYMONTH or from")
	case slices.Contains(o.Bymonthday, 0) || slices.Contains(o.Byyearday, 0) || slices.Contains(o.Bysetpos, 0) || slices.Contains(o.Byweekno, 0):
		return errors.New("days, weeks and positions count from 1, or back from −1")
	case seen["BYSETPOS"] && !day && len(o.Byhour) < 2 && len(o.Byminute) < 2:
		return errors.New("BYSETPOS chooses among several, and there is one only")
	}
	return nil
}
