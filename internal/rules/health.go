package rules

import "time"

// health are the alerts about yoyu itself.
func health() group {
	ticket := map[string]string{"severity": "ticket"}
	return group{
		name: "yoyu", about: "About yoyu itself, per replica: instance and pod say which one.",
		rules: []rule{
			{
				about: "Nobody else would notice: without yoyu no alert above can fire.",
				alert: "YoyuDown", expr: "absent(yoyu_build_info)", wait: 5 * time.Minute, labels: map[string]string{"severity": "page"},
				annotations: []annotation{
					{"summary", "yoyu is gone"},
					{"description", "No yoyu has been scraped for five minutes. Error budgets are watched by nobody."},
				},
			},
			{
				alert: "YoyuSourceDown", expr: "yoyu_source_up == 0", wait: 5 * time.Minute, labels: ticket,
				annotations: []annotation{
					{"summary", "yoyu cannot reach its source {{ $labels.source }}"},
					{"description", "{{ $labels.instance }} has had no answer from {{ $labels.source }} for five minutes: " +
						"yoyu_source_failures_total says why. What is missed is asked again later."},
				},
			},
			{
				alert: "YoyuSinkDown", expr: "yoyu_sink_up == 0", wait: 5 * time.Minute, labels: ticket,
				annotations: []annotation{
					{"summary", "yoyu cannot tell {{ $labels.sink }} anything"},
					{"description", "{{ $labels.sink }} has taken no report of {{ $labels.instance }} for five minutes: " +
						"yoyu_sink_failures_total says why. It is told the present when it is back."},
				},
			},
			{
				about: "One or two are a busy machine.",
				alert: "YoyuTicksMissed", expr: "increase(yoyu_ticks_missed_total[15m]) > 3", wait: 15 * time.Minute, labels: ticket,
				annotations: []annotation{
					{"summary", "yoyu does not keep up with its tick"},
					{"description", "{{ $labels.instance }} has left out ticks for a quarter of an hour. No event is lost, " +
						"but alerts come late: yoyu_tick_duration_seconds says what a turn takes."},
				},
			},
			{
				alert: "YoyuConfigReloadFailed", expr: "yoyu_config_last_reload_successful == 0", wait: 5 * time.Minute, labels: ticket,
				annotations: []annotation{
					{"summary", "yoyu did not take its new configuration"},
					{"description", "{{ $labels.instance }} goes on with the configuration it had. `yoyu check` names what is wrong with the new one."},
				},
			},
			{
				about: "Counts live on in memory: nothing is wrong yet, until yoyu restarts.",
				alert: "YoyuStateNotDurable", expr: "yoyu_store_writable == 0", wait: 5 * time.Minute, labels: ticket,
				annotations: []annotation{
					{"summary", "yoyu cannot write its state"},
					{"description", "{{ $labels.instance }} goes on from memory. Its page and its log say why; after a restart " +
						"it would have to ask its sources for everything again."},
				},
			},
		},
	}
}
