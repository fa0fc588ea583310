package web

import (
	"math"
	"strconv"
	"strings"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// percent rounds down, so that 100 % is whole and a budget overspent by the least is negative.
func percent(ratio float64) string {
	// The last bits of a quotient are no reason to show 28.9 % for 29 %.
	return strconv.FormatFloat(math.Floor(ratio*1000+1e-9)/10, 'f', -1, 64) + "%"
}

// rate is a burn rate with as many digits as matter.
func rate(f float64) string {
	switch {
	case f > 0 && f < 0.01:
		return "<0.01"
	case f >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return trimmed(f, 2)
}

// trimmed has at most so many digits behind the point, and no zeros at its end.
func trimmed(f float64, digits int) string {
	text := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// exhausted says in words when a budget will be spent. It rounds down, as the number it is made
// from is a lower bound.
func exhausted(b slo.Budget) string {
	if !b.Exhaustion.Defined {
		return sinks.Undefined
	}
	switch d := b.Exhaustion.Float; {
	case d <= 0:
		return "spent"
	case d < 60:
		return "under 1 min"
	case d < 3600:
		return plain(math.Floor(d/60)) + " min"
	case d < 48*3600:
		return plain(math.Floor(d/3600)) + " h"
	default:
		return plain(math.Floor(d/86400)) + " days"
	}
}

// cores prints an amount of CPU.
func cores(f float64) string {
	if f == 0 || f >= 0.001 {
		return trimmed(f, 3)
	}
	return plain(f)
}

// size prints an amount of memory in the largest binary unit that leaves a whole part.
func size(f float64) string {
	for _, unit := range []struct {
		name  string
		bytes float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if f >= unit.bytes {
			return trimmed(f/unit.bytes, 1) + " " + unit.name
		}
	}
	return trimmed(f, 0) + " B"
}
