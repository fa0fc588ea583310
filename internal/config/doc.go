// Package config reads yoyu's YAML and turns it into plain values.
//
// It promises to be strict and to say everything at once: an unknown field, a value that cannot
// be meant, a selector that does not parse are Faults, each with its file, line, field, what is
// wrong and what would be right. What loads but can never work is a warning. Nothing that is
// written is silently ignored.
//
//	config.yaml ─┐ nodes with     ┌ sources, sinks ── options ──▶ Decode by their own rooms
//	slo_files  ──┴─ places ──▶ ───┼ defaults, services, slos ──▶ slo.Objective, Question
//	                              └ alert_policies ──▶ scaled to each objective's period
//
// Sources and sinks hold options that only their own rooms know. They are kept as YAML and read
// by Decode, which is as strict and names places in the same way; this room imports no leaf.
//
// What may be said of an objective is looked for in its own entry, then under defaults; labels are
// merged key by key, its own before its service's before those of defaults, and its runbook_url is
// looked for in the same order.
//
// Anchors, aliases and merge keys are refused: defaults and services share what is shared, and
// every message keeps pointing at the one place where a value is written.
package config
