package slo

import (
	"fmt"
	"time"
)

// Day is twenty-four hours: windows are measured in absolute time, never in civil days.
const Day = 24 * time.Hour

// Calendar names the civil unit that a calendar period follows.
type Calendar string

// The calendar units. Week starts on Monday.
const (
	Rolling Calendar = ""
	Week    Calendar = "week"
	Month   Calendar = "month"
	Quarter Calendar = "quarter"
	Year    Calendar = "year"
)

// Nominal is the length used where a length is needed (alert factors, exhaustion): 7, 30, 90 or
// 365 days; 0 for Rolling and for names it does not know.
func (c Calendar) Nominal() time.Duration {
	switch c {
	case Week:
		return 7 * Day
	case Month:
		return 30 * Day
	case Quarter:
		return 90 * Day
	case Year:
		return 365 * Day
	}
	return 0
}

// Period is the compliance period of an objective: a rolling length, or the current calendar unit
// from its start up to now.
type Period struct {
	Length   time.Duration  // of a rolling period; nominal for a calendar one
	Calendar Calendar       // Rolling, or the civil unit
	Location *time.Location // zone of a calendar period; nil is UTC
}

// RollingPeriod is a period of fixed length that ends now.
func RollingPeriod(length time.Duration) Period { return Period{Length: length} }

// CalendarPeriod is the current civil unit in a zone.
func CalendarPeriod(c Calendar, zone *time.Location) Period {
	return Period{Length: c.Nominal(), Calendar: c, Location: zone}
}

// Key names the period's window in JSON: its length ("30d") or its calendar unit ("month").
func (p Period) Key() string {
	if p.Calendar != Rolling {
		return string(p.Calendar)
	}
	return FormatDuration(p.Length)
}

// Span is the window (start, t] of the period at t. At the very edge of a calendar unit the
// moment t still belongs to the unit that it ends.
func (p Period) Span(t time.Time) Span {
	if p.Calendar == Rolling {
		return Span{t.Add(-p.Length), t}
	}
	start, _ := p.edges(t.Add(-1))
	return Span{start, t}
}

// Edges are the first and last moment of the calendar unit that holds t; zero for a rolling one.
func (p Period) Edges(t time.Time) (start, end time.Time) {
	if p.Calendar == Rolling {
		return time.Time{}, time.Time{}
	}
	return p.edges(t.Add(-1))
}

// Longest is an upper bound of the span's length: how much history the period needs.
func (p Period) Longest() time.Duration {
	switch p.Calendar {
	case Rolling:
		return p.Length
	case Month:
		return 31*Day + 2*time.Hour
	case Quarter:
		return 92*Day + 2*time.Hour
	case Year:
		return 366*Day + 2*time.Hour
	}
	return p.Length + 2*time.Hour // a week in which the clocks go back
}

func (p Period) edges(t time.Time) (start, end time.Time) {
	zone := p.Location
	if zone == nil {
		zone = time.UTC
	}
	local := t.In(zone)
	y, m, d := local.Date()
	date := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, zone) }
	switch p.Calendar {
	case Week:
		monday := d - (int(local.Weekday())+6)%7
		return date(y, m, monday), date(y, m, monday+7)
	case Month:
		return date(y, m, 1), date(y, m+1, 1)
	case Quarter:
		first := (m-1)/3*3 + 1
		return date(y, first, 1), date(y, first+3, 1)
	}
	return date(y, 1, 1), date(y+1, 1, 1)
}

// FormatDuration prints a duration as Prometheus does, but keeps days ("30d", "1h30m", "5m"):
// the largest units first, none that is zero.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	out := ""
	if d < 0 {
		out, d = "-", -d
	}
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"d", Day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if n := d / unit.length; n > 0 {
			out += fmt.Sprintf("%d%s", n, unit.name)
			d -= n * unit.length
		}
	}
	return out
}
