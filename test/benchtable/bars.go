package main

// bar is one promise about what yoyu costs.
type bar struct {
	what    string // what is measured
	against string // and against what
	of      figure
	over    figure // divides of, where the ratio is not measured as one; the zero figure is none

	most, least float64 // bounds that are not 0 must hold; atMost0 is a most of 0
	atMost0     bool
	scale       float64 // what the figure is divided by to be in the bound's unit; 0 is 1
	unit        string  // behind the figure and its bound
}

// figure is a number that a benchmark reports.
type figure struct {
	bench string // without "Benchmark" and the number of cores: "Tick/slos=100000"
	unit  string // as reported: "ns/op", "allocs/op" or its own
}

// What a figure stands against, where it is said more than once.
const (
	bound   = "an absolute bound"
	itself  = "yoyu itself, in the same run"
	plainly = "client_golang's const collector and promhttp, in the same process, CPU of all threads"
	rules   = "an unmodified Prometheus 3.16 evaluating Sloth-style rules for the same SLOs (two series each, thirty days, a sample each 30 s); CPU of the processes"
)

// bars are the rows of the table. A benchmark that does not exist yet fills its row when it does.
var bars = []bar{
	{what: "One tick in memory, 100,000 SLOs", against: "the time this machine takes to stream the bytes of a tick through memory, in the same run",
		of: figure{"Tick/slos=100000", "x-stream"}, most: 3, unit: "×"},
	{what: "One tick in memory, 100,000 SLOs, for each", against: bound, of: figure{"Tick/slos=100000", "ns/slo"}, most: 40, unit: " ns"},
	{what: "One tick in memory, 100,000 SLOs, allocations", against: bound, of: figure{"Tick/slos=100000", "allocs/op"}, atMost0: true},
	{what: "One durable tick, 100,000 SLOs, for each", against: bound, of: figure{"TickDurable/slos=100000", "ns/slo"}, most: 60, unit: " ns"},
	{what: "An SLO among 1,000,000", against: "an SLO among 10,000, in the same run",
		of: figure{"Tick/slos=1000000", "ns/slo"}, over: figure{"Tick/slos=10000", "ns/slo"}, most: 1.5, unit: "×"},
	{what: "A tick with periods of 90 days", against: "a tick with periods of 7 days, in the same run",
		of: figure{"TickPeriod", "x-7d"}, most: 1.1, least: 0.9, unit: "×"},
	{what: "Memory of an SLO with 90 days", against: bound, of: figure{"Memory/narrow", "KB/slo"}, most: 16, unit: " KB"},
	{what: "Memory of an SLO with 90 days and more than 2³² events", against: bound, of: figure{"Memory/wide", "KB/slo"}, most: 32, unit: " KB"},

	{what: "A tick's /metrics, 10,000 SLOs with 250,000 series, plain", against: plainly, of: figure{"ExpositionRatio", "x-plain"}, least: 50, unit: "× less"},
	{what: "The same, compressed", against: plainly, of: figure{"ExpositionRatio", "x-gzip"}, least: 25, unit: "× less"},
	{what: "A further scraper in the same tick, plain", against: bound, of: figure{"Exposition/yoyu/further-plain", "ns/op"}, most: 1, scale: 1e6, unit: " ms"},
	{what: "A further scraper in the same tick, compressed", against: bound, of: figure{"Exposition/yoyu/further-gzip", "ns/op"}, most: 1, scale: 1e6, unit: " ms"},
	{what: "Allocations of a tick's /metrics, plain", against: bound, of: figure{"Exposition/yoyu/plain", "allocs/op"}, most: 10},
	{what: "Allocations of a tick's /metrics, compressed", against: bound, of: figure{"Exposition/yoyu/gzip", "allocs/op"}, most: 10},

	{what: "Scanning an API answer of 10,000 results", against: "encoding/json with model.Vector, in the same process, CPU",
		of: figure{"DecodeRatio", "x-json"}, least: 40, unit: "× less"},
	{what: "Scanning an API answer, a result", against: bound, of: figure{"DecodeRatio", "ns/result"}, most: 100, unit: " ns"},

	{what: "600 SLOs, everything: asking, windows, disk, /metrics and its ingestion", against: rules, of: figure{"Sloth", "x-cpu"}, least: 300, unit: "× less"},
	{what: "600 SLOs, the windows alone", against: rules, of: figure{"Sloth", "x-arithmetic"}, least: 100_000, unit: "× less"},
	{what: "The ratio of thirty days, worst of 600 SLOs", against: "increase[30d] of the same Prometheus", of: figure{"Sloth", "off-%"}, most: 0.5, unit: " % off"},

	{what: "The overview of 10,000 groups of 100 SLOs, 95 of 100 answers", against: bound, of: figure{"Overview/groups=10000/slos=100", "p95-ms"}, most: 200, unit: " ms"},
	{what: "The overview of 10,000 SLOs, 95 of 100 answers", against: bound, of: figure{"Overview/groups=10000/slos=10000", "p95-ms"}, most: 200, unit: " ms"},
	{what: "The same, the largest answer on the wire", against: bound, of: figure{"Overview/groups=10000/slos=10000", "wire-KB"}, most: 1000, unit: " KB"},

	{what: "A restart with 100,000 SLOs and 90 days", against: bound, of: figure{"Restart/slos=100000", "s"}, most: 3, unit: " s"},
	{what: "The state file after 120 simulated days", against: "the same file after 90 days", of: figure{"StateFile/days=120", "x-size"}, most: 1.1, unit: "×"},
	{what: "A commit of 100,000 SLOs", against: bound, of: figure{"TickDurable/slos=100000", "commit-ms"}, most: 30, unit: " ms"},
}

// also are figures without a bar that explain those with one.
var also = []bar{
	{what: "50 SLOs, everything", against: "the same rules; of so few each bears more of what is the process's own", of: figure{"Sloth", "x-cpu-of-50"}, unit: "× less"},
	{what: "Rules of one SLO, one evaluation", against: "process_cpu_seconds_total over iterations of the rule groups", of: figure{"Sloth", "rules-ms/slo"}, unit: " ms"},
	{what: "yoyu for one SLO, one tick, with what it costs Prometheus", against: "process_cpu_seconds_total of both over ticks, less an idle server's", of: figure{"Sloth", "yoyu-µs/slo"}, unit: " µs"},
	{what: "of which in yoyu's own process", against: "", of: figure{"Sloth", "own-µs/slo"}, unit: " µs"},
	{what: "The rules' ratio of thirty days, worst of 600 SLOs", against: "increase[30d] of the same Prometheus", of: figure{"Sloth", "rules-off-%"}, unit: " % off"},
	{what: "A series on /metrics, plain", against: "CPU of all threads", of: figure{"Exposition/yoyu/plain", "cpu-ns/series"}, unit: " ns"},
	{what: "The same by client_golang", against: "", of: figure{"Exposition/client_golang/plain", "cpu-ns/series"}, unit: " ns"},
	{what: "100,000 series to Datadog, on the wire", against: "one report", of: figure{"Write/100k", "wire-B/op"}, scale: 1e3, unit: " KB"},
	{what: "The same, requests", against: "each within the limits of the intake", of: figure{"Write/100k", "requests/op"}},
	{what: "A commit of one slot of 400 KB", against: "", of: figure{"Commit/1x400KB", "ms-median"}, unit: " ms"},

	{what: "A look at a cluster of 5,000 VPAs and 10,000 pods that is followed", against: "joined once a minute", of: figure{"Collect", "ns/op"}, scale: 1e6, unit: " ms"},
	{what: "Judging them, beside 1,000 SLOs", against: "once a tick", of: figure{"Judge", "ns/op"}, scale: 1e6, unit: " ms"},
	{what: "From nothing to all of them followed", against: "pages are decoded one at a time", of: figure{"Start", "ns/op"}, scale: 1e9, unit: " s"},
	{what: "What they hold of memory", against: "", of: figure{"Start", "MB"}, unit: " MB"},
	{what: "A tick of 1,000 SLOs beside that cluster, both looked at and judged in every tick", against: "", of: figure{"Relist/quiet", "ms-median"}, unit: " ms"},
	{what: "The same while everything is listed anew without a pause", against: "", of: figure{"Relist/storm", "ms-median"}, unit: " ms"},
	{what: "The worst of them", against: "", of: figure{"Relist/storm", "ms-worst"}, unit: " ms"},
}
