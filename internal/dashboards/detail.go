package dashboards

const detailUID = "yoyu-slo"

// ofSLO is a selector of the SLO that is shown.
func ofSLO(family string, matchers ...string) string {
	text := family + `{slo="$slo"`
	for _, m := range matchers {
		text += "," + m
	}
	return text + "}"
}

// detail is one SLO: what is left, what burns it, and how sure that is.
func detail(o Options) *dashboard {
	slo := chooser("slo", "SLO", `label_values(slo_info, slo)`)
	slo["multi"], slo["includeAll"], slo["current"] = false, false, object{}
	delete(slo, "allValue")
	d := &dashboard{
		uid: detailUID, title: "yoyu / One SLO", from: "now-7d", yoyu: o.ExternalURL,
		about:     "One SLO: what is left of its budget, how fast it burns against what its alerts allow, and how much of the time was seen.",
		variables: []object{slo},
	}
	toExplain := []object{explain("${slo}")}
	d.panels = []panel{
		{
			kind: "stat", title: "Objective", about: "The promised share of good events.", width: 4, height: 4, unit: "percentunit", decimals: 3, links: toExplain,
			queries: []query{{"max(" + ofSLO(`slo_objective_ratio`) + ")", ""}},
		},
		{
			kind: "stat", title: "Period", about: "How long the budget is for; nominal for a calendar one.", width: 4, height: 4, unit: "s",
			queries: []query{{"max(" + ofSLO(`slo_period_seconds`) + ")", ""}},
		},
		{
			kind: "stat", title: "Budget left", about: "Of the scarcest group, where there are groups.", width: 4, height: 4, unit: "percentunit", decimals: 1, steps: budgetSteps, links: toExplain,
			queries: []query{{"min(" + one(ofSLO(`slo_error_budget_remaining_ratio`)) + ")", ""}},
		},
		{
			kind: "stat", title: "Lasts", about: "Until it is spent at the present burn, of the group that comes first; nothing while none burns faster than its period.", width: 4, height: 4, unit: "s",
			steps:   []step{{nil, vermilion}, {86400, orange}, {604800, blue}},
			queries: []query{{"min(" + one(ofSLO(`slo_error_budget_exhaustion_seconds`)) + ")", ""}},
		},
		{
			kind: "stat", title: "Bad events still allowed", about: "All groups together; negative when overspent.", width: 4, height: 4, unit: "short", steps: []step{{nil, vermilion}, {0, blue}},
			queries: []query{{"sum(" + one(ofSLO(`slo_error_budget_remaining_events`)) + ")", ""}},
		},
		{
			kind: "stat", title: "Newest data", about: "Age of the newest moment that the source answered for.", width: 4, height: 4, unit: "s", steps: []step{{nil, blue}, {300, orange}, {600, vermilion}},
			queries: []query{{"time() - min(" + one(ofSLO(`slo_last_sample_timestamp_seconds`)) + ")", ""}},
		},
		{
			kind: "timeseries", title: "Budget burn-down", width: 12, height: 9, unit: "percentunit", steps: budgetSteps, links: toExplain,
			about:   "What is left of the period's budget. 0 is spent, below it is overspent.",
			queries: []query{{one(ofSLO(`slo_error_budget_remaining_ratio`)), ""}},
			custom:  object{"thresholdsStyle": object{"mode": "line"}}, max: 1,
		},
		{
			kind: "timeseries", title: "Burn against the alerts' factors", width: 12, height: 9, unit: "none", links: toExplain,
			about:   "The largest over a severity's pairs of min(burn long, burn short)/factor: above 1 it fires, whatever the policy.",
			steps:   []step{{nil, blue}, {1, vermilion}},
			queries: []query{{"max by (severity) (" + one(ofSLO(`slo_alert_burn_ratio`)) + ")", "{{severity}}"}},
			custom:  object{"fillOpacity": 0, "thresholdsStyle": object{"mode": "line"}}, min: 0,
		},
		{
			kind: "timeseries", title: "Burn rates by window", width: 12, height: 9, unit: "none", links: toExplain,
			about: "Multiples of the steady pace, of the group that burns fastest. The dashed lines are the factors of the workbook policy for this period; another policy has others, which the panel beside it knows.",
			queries: []query{
				{"max by (window) (" + one(ofSLO(`slo_burn_rate`)) + ")", "{{window}}"},
				{factorLine("0.02", "0.08", 3600), "factor of 1h/5m"},
				{factorLine("0.05", "0.125", 6*3600), "factor of 6h/30m"},
				{factorLine("0.1", "0.2", 24*3600), "factor of 1d/2h"},
				{factorLine("0.1", "0.42", 72*3600), "factor of 3d/6h"},
			},
			custom: object{"fillOpacity": 0, "scaleDistribution": object{"type": "symlog", "log": 10, "linearThreshold": 1}}, min: 0,
			overrides: []object{{
				"matcher": object{"id": "byRegexp", "options": "/^factor of/"},
				"properties": []object{
					property("custom.lineStyle", object{"fill": "dash", "dash": []int{8, 8}}), property("custom.lineWidth", 1),
				},
			}},
		},
		{
			kind: "state-timeline", title: "Alerts", about: "By severity, and by group where there are groups.", width: 12, height: 9, mappings: firingWords, steps: noneIsWell, links: toExplain,
			queries: []query{{one(ofSLO(`slo_alert_firing`)), ""}},
		},
		{
			kind: "timeseries", title: "Events", about: "Good and bad events a second, all groups together. These counters show flow; the budget is counted by yoyu itself.", width: 12, height: 8, unit: "cps",
			queries: []query{
				{lines("sum("+one("rate("+ofSLO(`slo_events_total`)+"[$__rate_interval])")+")", "- sum("+one("rate("+ofSLO(`slo_bad_events_total`)+"[$__rate_interval])")+")"), "good"},
				{"sum(" + one("rate("+ofSLO(`slo_bad_events_total`)+"[$__rate_interval])") + ")", "bad"},
			},
			custom: object{"fillOpacity": 40, "stacking": object{"mode": "normal", "group": "A"}}, min: 0,
			overrides: []object{
				override("good", property("color", object{"mode": "fixed", "fixedColor": blue})),
				override("bad", property("color", object{"mode": "fixed", "fixedColor": vermilion})),
			},
		},
		{
			kind: "timeseries", title: "Error ratio", about: "Bad share of the last hour and of the period, of the worst group, and what is allowed.", width: 12, height: 8, unit: "percentunit",
			queries: []query{
				{"max by (window) (" + one(ofSLO(`slo_error_ratio`, `window=~"1h|period"`)) + ")", "{{window}}"},
				{"1 - max(" + ofSLO(`slo_objective_ratio`) + ")", "allowed"},
			},
			custom:    object{"fillOpacity": 0},
			overrides: []object{override("allowed", property("custom.lineStyle", object{"fill": "dash", "dash": []int{8, 8}}), property("color", object{"mode": "fixed", "fixedColor": grey}))},
			min:       0,
		},
		{
			kind: "bargauge", title: "Groups that burn the budget", width: 12, height: 8, unit: "short",
			about:   "Bad events of the period, the ten groups with most of them.",
			queries: []query{{lines("topk(10,", "  "+one(ofSLO(`slo_error_budget_events`)), "  - "+one(ofSLO(`slo_error_budget_remaining_events`)), ")"), ""}},
			links:   toExplain,
		},
		{
			kind: "timeseries", title: "Coverage", width: 12, height: 8, unit: "percentunit", links: toExplain, min: 0, max: 1,
			about:   "Share of the window that the source answered for: what a number was counted from. What nobody could say stays uncovered.",
			queries: []query{{"min by (window) (" + one(ofSLO(`slo_window_coverage_ratio`, `window=~"1h|period"`)) + ")", "{{window}}"}},
		},
	}
	return d
}

// factorLine is the workbook's factor of a pair: a share of the budget × period / long window in
// seconds. Periods of at most ten days have shares of their own.
func factorLine(share, shortPeriod string, long int) string {
	period := "max(" + ofSLO(`slo_period_seconds`) + ")"
	return lines("("+period+" > 864000) * "+share+" / "+itoa(long), "or "+period+" * "+shortPeriod+" / "+itoa(long))
}
