package dashboards

// The thresholds of what is left of a budget, and of burn rates: 1 is the steady pace, 6 and 14.4
// are the factors of the workbook's pages over 30 days.
var (
	budgetSteps = []step{{nil, vermilion}, {0, orange}, {0.25, blue}}
	burnSteps   = []step{{nil, blue}, {1, orange}, {6, vermilion}}
	noneIsWell  = []step{{nil, blue}, {1, vermilion}}
	firingWords = []object{{"type": "value", "options": object{
		"0": object{"text": "quiet", "color": blue, "index": 0}, "1": object{"text": "firing", "color": vermilion, "index": 1},
	}}}
)

// overview is every SLO on one page, the scarcest budget first.
func overview(o Options) *dashboard {
	d := &dashboard{
		uid: "yoyu-overview", title: "yoyu / Error budgets", from: "now-7d", yoyu: o.ExternalURL,
		about: "How much room is left in every error budget, and what burns it.",
		variables: []object{
			chooser("team", "Team", `label_values(slo_info, team)`),
			chooser("service", "Service", `label_values(slo_info{team=~"$team"}, service)`),
		},
	}
	remaining := one(`slo_error_budget_remaining_ratio`)
	d.panels = []panel{
		{
			kind: "stat", title: "SLOs", about: "Service level objectives that yoyu counts.", width: 4, height: 4,
			queries: []query{{orNone("count(" + chosen(one(`slo_objective_ratio`)) + ")"), ""}}, unit: "none",
		},
		{
			kind: "stat", title: "Budget left", about: "Of all events together: bad events still allowed, over those that the period allows.", width: 4, height: 4,
			queries: []query{{"sum(" + chosen(one(`slo_error_budget_remaining_events`)) + ") / sum(" + chosen(one(`slo_error_budget_events`)) + ")", ""}},
			unit:    "percentunit", decimals: 1, steps: budgetSteps,
		},
		{
			kind: "stat", title: "Budgets spent", about: "Objectives, or groups of them, with nothing left.", width: 4, height: 4,
			queries: []query{{orNone("count(" + chosen(parens(remaining+" <= 0")) + ")"), ""}}, unit: "none", steps: noneIsWell,
		},
		{
			kind: "stat", title: "Pages firing", about: "Alerts of severity page.", width: 4, height: 4,
			queries: []query{{orNone("sum(" + chosen(one(`slo_alert_firing{severity="page"}`)) + ")"), ""}}, unit: "none", steps: noneIsWell,
		},
		{
			kind: "stat", title: "Tickets firing", about: "Alerts of severity ticket.", width: 4, height: 4,
			queries: []query{{orNone("sum(" + chosen(one(`slo_alert_firing{severity="ticket"}`)) + ")"), ""}}, unit: "none", steps: []step{{nil, blue}, {1, orange}},
		},
		{
			kind: "stat", title: "Without fresh data", about: "Objectives, or groups of them, whose source has not answered for ten minutes.", width: 4, height: 4,
			queries: []query{{orNone("count(" + chosen(parens("time() - "+one(`slo_last_sample_timestamp_seconds`)+" > 600")) + ")"), ""}}, unit: "none", steps: noneIsWell,
		},
		{
			kind: "table", title: "Budgets, the scarcest first", width: 24, height: 11,
			about: "One row for each SLO or group of it. Burn rates are multiples of the steady pace; a budget that burns at 1 lasts exactly its period.",
			queries: []query{
				{chosen(remaining), ""},
				{chosen(without("instance, pod, window", `slo_burn_rate{window="1h"}`)), ""},
				{chosen(without("instance, pod, window", `slo_burn_rate{window="6h"}`)), ""},
				{chosen(without("instance, pod, window", `slo_burn_rate{window="3d"}`)), ""},
				{chosen(one(`slo_error_budget_exhaustion_seconds`)), ""},
				{chosen(one(`slo_error_budget_remaining_events`)), ""},
				{chosen(without("instance, pod, severity", `slo_alert_firing{severity="page"}`)), ""},
				{chosen(without("instance, pod, severity", `slo_alert_firing{severity="ticket"}`)), ""},
			},
			transformations: merged("Budget left", false, "Budget left", "Burn 1h", "Burn 6h", "Burn 3d", "Lasts", "Bad events left", "Page", "Ticket"),
			overrides: []object{
				override("slo", property("links", []object{inDetail("${__data.fields.slo}"), explain("${__data.fields.slo}")})),
				override("Budget left", property("unit", "percentunit"), property("decimals", 1), coloured, thresholdsOf(budgetSteps)),
				override("Burn 1h", property("decimals", 2), coloured, thresholdsOf(burnSteps)),
				override("Burn 6h", property("decimals", 2), coloured, thresholdsOf(burnSteps)),
				override("Burn 3d", property("decimals", 2), coloured, thresholdsOf(burnSteps)),
				override("Lasts", property("unit", "s")),
				override("Bad events left", property("unit", "short")),
				override("Page", property("mappings", firingWords), coloured),
				override("Ticket", property("mappings", firingWords), coloured),
			},
		},
		{
			kind: "status-history", title: "Burn rate of the last hour", width: 24, height: 9, unit: "none", decimals: 1, steps: burnSteps, points: 100,
			about:   "Each strip is one SLO or group: blue is slower than the period, orange faster, vermilion at the pace of a page.",
			queries: []query{{chosen(one(`slo_burn_rate{window="1h"}`)), ""}},
			links:   []object{inDetail("${__field.labels.slo}"), explain("${__field.labels.slo}")},
			options: object{"showValue": "never"},
		},
		{
			kind: "state-timeline", title: "Alerts", width: 12, height: 9, mappings: firingWords, steps: noneIsWell,
			about:   "Severities that fired in the time shown.",
			queries: []query{{chosen(one(`slo_alert_firing`) + ` and ignoring (instance, pod) (max_over_time(slo_alert_firing[$__range]) > 0)`), "{{severity}} {{slo}}"}},
			links:   []object{inDetail("${__field.labels.slo}"), explain("${__field.labels.slo}")},
		},
		{
			kind: "timeseries", title: "Budgets left", width: 12, height: 9, unit: "percentunit", steps: budgetSteps,
			about:   "The ten scarcest of now. Below the line a budget is overspent.",
			queries: []query{{"bottomk(10, " + chosen(remaining) + ")", ""}},
			custom:  object{"fillOpacity": 0, "thresholdsStyle": object{"mode": "line"}},
		},
	}
	return d
}

// coloured paints a table's cell in the colour of its threshold.
var coloured = property("custom.cellOptions", object{"type": "color-background", "mode": "basic"})

func thresholdsOf(steps []step) object {
	var out []object
	for _, s := range steps {
		out = append(out, object{"value": s.from, "color": s.color})
	}
	return property("thresholds", object{"mode": "absolute", "steps": out})
}
