package dashboards

import "strconv"

func itoa(n int) string { return strconv.Itoa(n) }

// upWords are the words of a gauge that is 1 while all is well.
func upWords(well, ill string) []object {
	return []object{{"type": "value", "options": object{
		"0": object{"text": ill, "color": vermilion, "index": 0}, "1": object{"text": well, "color": blue, "index": 1},
	}}}
}

var upSteps = []step{{nil, vermilion}, {1, blue}}

// quantile is the 99th percentile of a histogram by labels.
func quantile(histogram, by string) string {
	return "histogram_quantile(0.99, sum by (le, " + by + ") (rate(" + histogram + "_bucket{instance=~\"$instance\"}[$__rate_interval])))"
}

// health is yoyu's own: replicas stand side by side here, for each has its own.
func health(o Options) *dashboard {
	const here = `{instance=~"$instance"}`
	d := &dashboard{
		uid: "yoyu-health", title: "yoyu / Its own health", from: "now-6h", yoyu: o.ExternalURL,
		about:     "Whether what yoyu says can be trusted: its ticks, its sources, its sinks and its state.",
		variables: []object{chooser("instance", "Instance", `label_values(yoyu_build_info, instance)`)},
	}
	age := func(of string) string { return "time() - yoyu_" + of + "_last_success_timestamp_seconds" + here }
	failures := func(of string) string {
		return "sum by (instance, " + of + ", reason) (increase(yoyu_" + of + "_failures_total" + here + "[$__rate_interval])) > 0"
	}
	ageSteps := []step{{nil, blue}, {120, orange}, {600, vermilion}}
	d.panels = []panel{
		{kind: "stat", title: "Version", about: "What runs where.", width: 6, height: 4, unit: "none", queries: []query{{"yoyu_build_info" + here, "{{instance}}: {{version}}"}}, options: object{"textMode": "name"}},
		{kind: "stat", title: "Sources", about: "Whether each source answered its last question.", width: 6, height: 4, unit: "none", steps: upSteps, mappings: upWords("answers", "fails"), queries: []query{{"min by (source) (yoyu_source_up" + here + ")", "{{source}}"}}},
		{kind: "stat", title: "Sinks", about: "Whether each sink took its last report.", width: 6, height: 4, unit: "none", steps: upSteps, mappings: upWords("takes", "fails"), queries: []query{{"min by (sink) (yoyu_sink_up" + here + ")", "{{sink}}"}}},
		{kind: "stat", title: "State on disk", about: "While it cannot be written yoyu goes on from memory, and a restart would forget.", width: 3, height: 4, unit: "none", steps: upSteps, mappings: upWords("durable", "in memory"), queries: []query{{"min(yoyu_store_writable" + here + ")", ""}}},
		{kind: "stat", title: "Configuration", about: "Whether the last one that was read is in use.", width: 3, height: 4, unit: "none", steps: upSteps, mappings: upWords("in use", "refused"), queries: []query{{"min(yoyu_config_last_reload_successful" + here + ")", ""}}},
		{kind: "timeseries", title: "Ticks", about: "99th percentile of how long a turn of the loop takes. It must stay below the tick.", width: 12, height: 8, unit: "s", min: 0, queries: []query{{quantile("yoyu_tick_duration_seconds", "instance"), "{{instance}}"}}},
		{kind: "timeseries", title: "Ticks missed", about: "Turns that did not begin in time; what they would have counted is asked for later.", width: 12, height: 8, unit: "none", min: 0, queries: []query{{"increase(yoyu_ticks_missed_total" + here + "[$__rate_interval])", "{{instance}}"}}},
		{kind: "timeseries", title: "Sources: how long they take", about: "99th percentile of a request.", width: 8, height: 8, unit: "s", min: 0, queries: []query{{quantile("yoyu_source_request_duration_seconds", "source"), "{{source}}"}}},
		{kind: "timeseries", title: "Sources: failures", about: "By reason. A question that fails is asked again, grown by the time that passed.", width: 8, height: 8, unit: "none", min: 0, queries: []query{{failures("source"), "{{source}}: {{reason}}"}}},
		{kind: "timeseries", title: "Sources: last success", about: "How long ago each source last answered.", width: 8, height: 8, unit: "s", min: 0, steps: ageSteps, queries: []query{{age("source"), "{{source}} {{instance}}"}}, custom: object{"thresholdsStyle": object{"mode": "line"}}},
		{kind: "timeseries", title: "Sinks: how long they take", about: "99th percentile of a report.", width: 8, height: 8, unit: "s", min: 0, queries: []query{{quantile("yoyu_sink_request_duration_seconds", "sink"), "{{sink}}"}}},
		{kind: "timeseries", title: "Sinks: failures and dropped points", about: "By reason.", width: 8, height: 8, unit: "none", min: 0, queries: []query{
			{failures("sink"), "{{sink}}: {{reason}}"},
			{"sum by (instance, sink, reason) (increase(yoyu_sink_points_dropped_total" + here + "[$__rate_interval])) > 0", "{{sink}}: dropped, {{reason}}"},
		}},
		{kind: "timeseries", title: "Sinks: last success", about: "How long ago each sink last took a report.", width: 8, height: 8, unit: "s", min: 0, steps: ageSteps, queries: []query{{age("sink"), "{{sink}} {{instance}}"}}, custom: object{"thresholdsStyle": object{"mode": "line"}}},
		{kind: "timeseries", title: "The past still to be asked for", about: "What a backfill has before it, by source.", width: 8, height: 8, unit: "s", min: 0, queries: []query{{"max by (source) (yoyu_backfill_remaining_seconds" + here + ")", "{{source}}"}}},
		{kind: "timeseries", title: "Counts that could not be right", about: "Slots with more bad events than events, cut to size, by SLO; and series that could only be taken as a baseline.", width: 8, height: 8, unit: "none", min: 0, queries: []query{
			{"sum by (slo) (increase(yoyu_events_clamped_total" + here + "[$__rate_interval])) > 0", "{{slo}}: clamped"},
			{"sum(increase(yoyu_series_baselined_total" + here + "[$__rate_interval]))", "baselines"},
		}},
		{kind: "timeseries", title: "Groups that share _other", about: "Groups beyond the limit of their SLO.", width: 8, height: 8, unit: "none", min: 0, queries: []query{{"max by (slo) (yoyu_slo_groups_folded" + here + ")", "{{slo}}"}}},
		{kind: "timeseries", title: "State: commits", about: "99th percentile of making a tick durable.", width: 8, height: 8, unit: "s", min: 0, queries: []query{{quantile("yoyu_store_commit_duration_seconds", "instance"), "{{instance}}"}}},
		{kind: "timeseries", title: "State: size", about: "Of the file.", width: 8, height: 8, unit: "bytes", min: 0, queries: []query{{"yoyu_store_size_bytes" + here, "{{instance}}"}}},
		{kind: "timeseries", title: "Memory", about: "Resident memory of the process.", width: 8, height: 8, unit: "bytes", min: 0, queries: []query{{"process_resident_memory_bytes" + here + " and on (job, instance) yoyu_build_info", "{{instance}}"}}},
	}
	return d
}
