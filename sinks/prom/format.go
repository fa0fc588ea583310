package prom

import (
	"strconv"
	"strings"

	"github.com/yoyu-sre/yoyu/sinks"
)

// format is how a page is written. The two differ in the heads of counters, in how whole numbers
// are spelled, and in their end.
type format uint8

const (
	text        format = iota // the classic one, version 0.0.4
	openMetrics               // 1.0.0, and 0.0.1 with the same bytes
	formatsLen
)

// head is the HELP and TYPE of a family.
func (f format) head(of *sinks.Family) string {
	name, quotes := of.Name, false
	if f == openMetrics {
		quotes = true
		if of.Type == sinks.Counter {
			name = strings.TrimSuffix(name, "_total")
		}
	}
	head := append([]byte("# HELP "+name+" "), appendEscaped(nil, of.Help, quotes)...)
	return string(head) + "\n# TYPE " + name + " " + of.Type.String() + "\n"
}

// appendValue appends the shortest number that reads back as v, as client_golang spells it.
func appendValue(to []byte, v float64, f format) []byte {
	// Many numbers are whole and small.
	if whole := int64(v); float64(whole) == v && -1e6 < v && v < 1e6 {
		to = strconv.AppendInt(to, whole, 10)
		if f == openMetrics {
			to = append(to, ".0"...)
		}
		return to
	}
	if v-v != 0 { // +Inf, -Inf, NaN
		return strconv.AppendFloat(to, v, 'g', -1, 64)
	}
	// Neither small nor whole, so it has a point or an exponent, as OpenMetrics wants it.
	return appendFraction(to, v)
}
