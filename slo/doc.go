// Package slo turns counts of good and bad events into error budgets, burn rates and alerts.
//
// It is the still centre of the program: no I/O, no goroutines, no clock, the standard library
// alone. Time always arrives as an argument, so thirty days of traffic replay in a unit test in
// milliseconds.
//
//	Sample ──Observe──▶ Engine ──Evaluate(now)──▶ []Status
//
// A Sample is what a source answered for one objective over one span of time. Putting an answer
// replaces what was known of its span: asked twice, it counts once. A Status holds, at one whole
// tick, the counts of every window, the budget of the period and the state of every alert.
//
// Inside, counts are integers and windows are differences of running totals, so nothing drifts
// and an idle objective is exactly idle. The totals are time-major: a moment is a column over all
// objectives (block), columns thin out with age (grid), and a tick costs the same whatever the length
// of the windows. Decimal fractions (99.9 %) are kept as decimals.
package slo
