// Package rules writes what a Prometheus evaluates: alerting rules over the series that yoyu
// publishes, and, for those who run no daemon, recording and alerting rules over the raw metrics.
//
//	objectives ──Alerts──────▶ File ──▶ YAML, PrometheusRule, unit tests for promtool
//	           └─Standalone──▶ File      and the inhibit rules of an Alertmanager
//
// It promises that every expression it writes parses, that no two rules of a file can send the
// same alert, and that equal options write equal bytes. It is text out: nobody is talked to.
//
// A page and the ticket of one SLO fire together, as slo_alert_firing shows both. That the page
// alone is heard is left to Alertmanager (Inhibit). `unless` in the rule would resolve a ticket
// that was sent already at the moment the page begins, and open it anew when the page ends.
package rules
