package dashboards

// ofService narrows a query over series with the labels of a workload to the services chosen.
func ofService(query string) string {
	return query + ` and on (namespace, workload_kind, workload) slo_workload_info{service=~"$service"}`
}

// ofAllReplicas multiplies what one pod asks for by the pods of its workload.
func ofAllReplicas(perPod string) string {
	return perPod + " * on (namespace, workload_kind, workload) group_left () " + one(`rightsizing_replicas`)
}

// rightsizing is the room in what workloads ask for, and what may be given back.
func rightsizing(o Options) *dashboard {
	d := &dashboard{
		uid: "yoyu-rightsizing", title: "yoyu / Rightsizing", from: "now-7d", yoyu: o.ExternalURL,
		about:     "What workloads ask for against what is proposed, and what the error budgets allow to be given back.",
		variables: []object{chooser("service", "Service", `label_values(slo_workload_info, service)`)},
	}
	cpu, memory := one(`rightsizing_headroom_cpu_cores`), one(`rightsizing_headroom_memory_bytes`)
	room := func(headroom, sign string) string {
		return orNone("sum(" + ofService(parens(ofAllReplicas(parens(headroom+" "+sign+" 0")))) + ")")
	}
	bySign := []step{{nil, orange}, {0, blue}}
	d.panels = []panel{
		{kind: "stat", title: "Cores to give back", about: "Requested more than proposed, of all replicas.", width: 6, height: 4, decimals: 2, unit: "none", queries: []query{{room(cpu, ">"), ""}}},
		{kind: "stat", title: "Memory to give back", about: "Requested more than proposed, of all replicas.", width: 6, height: 4, unit: "bytes", queries: []query{{room(memory, ">"), ""}}},
		{kind: "stat", title: "Cores that are missing", about: "Proposed more than requested, of all replicas; negative.", width: 6, height: 4, decimals: 2, unit: "none", steps: bySign, queries: []query{{room(cpu, "<"), ""}}},
		{kind: "stat", title: "Memory that is missing", about: "Proposed more than requested, of all replicas; negative.", width: 6, height: 4, unit: "bytes", steps: bySign, queries: []query{{room(memory, "<"), ""}}},
		{
			kind: "stat", title: "Savings a month, by gate", width: 12, height: 5, unit: "none", decimals: 2,
			about:   "Shrinks of all replicas, 730 hours. Safe: every error budget of the service allows it; blocked: one does not; ungated: no SLO watches the workload.",
			queries: []query{{"730 * sum by (gate, currency) (" + ofService(one(`rightsizing_hourly_savings`)) + ")", "{{gate}}, {{currency}}"}},
			overrides: []object{
				{"matcher": object{"id": "byRegexp", "options": "/^blocked/"}, "properties": []object{property("color", object{"mode": "fixed", "fixedColor": orange})}},
				{"matcher": object{"id": "byRegexp", "options": "/^ungated/"}, "properties": []object{property("color", object{"mode": "fixed", "fixedColor": grey})}},
			},
		},
		{
			kind: "stat", title: "Cost of raises a month", about: "Raises of all replicas, 730 hours.", width: 6, height: 5, unit: "none", decimals: 2,
			queries: []query{{"730 * sum by (currency) (" + ofService(one(`rightsizing_hourly_cost`)) + ")", "{{currency}}"}},
		},
		{
			kind: "stat", title: "Verdicts", about: "Workloads by verdict.", width: 6, height: 5, unit: "none",
			queries: []query{{"sum by (verdict) (" + ofService(one(`rightsizing_verdict`)) + ")", "{{verdict}}"}},
		},
		{
			kind: "table", title: "Containers, per pod", width: 24, height: 11,
			about: "Headroom is the request less what is proposed: positive is waste, negative is need.",
			queries: []query{
				{ofService(cpu), ""},
				{ofService(one(`rightsizing_request_cpu_cores`)), ""},
				{ofService(one(`rightsizing_proposed_request_cpu_cores`)), ""},
				{ofService(memory), ""},
				{ofService(one(`rightsizing_request_memory_bytes`)), ""},
				{ofService(one(`rightsizing_proposed_request_memory_bytes`)), ""},
			},
			transformations: merged("CPU headroom", true, "CPU headroom", "CPU request", "CPU proposed", "Memory headroom", "Memory request", "Memory proposed"),
			overrides: []object{
				override("CPU headroom", property("decimals", 3), coloured, thresholdsOf(bySign)),
				override("CPU request", property("decimals", 3)), override("CPU proposed", property("decimals", 3)),
				override("Memory headroom", property("unit", "bytes"), coloured, thresholdsOf(bySign)),
				override("Memory request", property("unit", "bytes")), override("Memory proposed", property("unit", "bytes")),
			},
		},
		{
			kind: "timeseries", title: "CPU: requested and proposed", about: "Of all replicas.", width: 12, height: 9, unit: "none", min: 0,
			queries: []query{
				{"sum(" + ofService(parens(ofAllReplicas(one(`rightsizing_request_cpu_cores`)))) + ")", "requested"},
				{"sum(" + ofService(parens(ofAllReplicas(one(`rightsizing_proposed_request_cpu_cores`)))) + ")", "proposed"},
			},
		},
		{
			kind: "timeseries", title: "Memory: requested and proposed", about: "Of all replicas.", width: 12, height: 9, unit: "bytes", min: 0,
			queries: []query{
				{"sum(" + ofService(parens(ofAllReplicas(one(`rightsizing_request_memory_bytes`)))) + ")", "requested"},
				{"sum(" + ofService(parens(ofAllReplicas(one(`rightsizing_proposed_request_memory_bytes`)))) + ")", "proposed"},
			},
		},
		{
			kind: "table", title: "Where budgets are short", width: 24, height: 7,
			about: "Services with less than a quarter of an error budget left, and the room that their workloads have in cores: what to give back only after a look.",
			queries: []query{{lines(
				"sum by (service) (",
				"  sum by (namespace, workload_kind, workload) ("+cpu+")",
				"  * on (namespace, workload_kind, workload) "+one(`rightsizing_replicas`),
				"  * on (namespace, workload_kind, workload) group_right () "+one(`slo_workload_info{service=~"$service"}`),
				")",
				`and on (service) (min by (service) (`+one(`slo_error_budget_remaining_ratio`)+`) < 0.25)`,
			), ""}},
			transformations: []object{{"id": "organize", "options": object{"excludeByName": object{"Time": true}, "indexByName": object{}, "renameByName": object{"Value": "Headroom in cores"}}}},
		},
	}
	return d
}
