package web_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

func TestBeforeTheFirstReport(t *testing.T) {
	h := face(t, web.Options{}, nil)
	for target, want := range map[string]string{
		"/api/v1/slos":           `{"reports":[],"alerts":[]}`,
		"/api/v1/slos?slo=later": `{"reports":[],"alerts":[]}`,
		"/api/v1/alerts":         `{"time":null,"alerts":[]}`,
		"/api/v1/rightsizing":    `{"time":null,"totals":[],"workloads":[]}`,
	} {
		if status, body, _ := ask(h, "GET", target); status != 200 || body != want+"\n" {
			t.Errorf("%s: %d %s, want %s", target, status, body, want)
		}
	}
	if status, body, _ := ask(h, "GET", "/explain?slo=later"); status != 503 || !strings.HasPrefix(body, "no report yet") {
		t.Errorf("explain: %d %s", status, body)
	}
}

func TestSLOs(t *testing.T) {
	h := face(t, web.Options{}, small())
	const first = `{"slo":"checkout-availability","service":"checkout","labels":{"route":"/pay"},"objective":0.999,"period":"30d",` +
		`"windows":{"5m":{"total":2468,"bad":24,"error_ratio":0.009724473257699612,"burn_rate":9.724473257699612,"coverage":1},` +
		`"1h":{"total":0,"bad":0,"error_ratio":null,"burn_rate":null,"coverage":0}},` +
		`"error_budget":{"allowed":86.4,"spent":24,"remaining_ratio":0.7222222222222222,"exhaustion_seconds":null},` +
		`"alerts":[{"severity":"page","firing":false,"burn_ratio":0.4,"pairs":[{"long":"1h","short":"5m","factor":14.4,"firing":false}]}]}`
	want := `{"reports":[{"time":"2026-01-02T00:00:00Z","slos":[` + first + `]}],"alerts":[]}` + "\n"
	if status, body, _ := ask(h, "GET", "/api/v1/slos"); status != 200 || body != want {
		t.Errorf("got  %d %s\nwant %s", status, body, want)
	}
}

// small is the report that the documentation shows.
func small() *sinks.Report {
	o := sinktest.Objective("checkout-availability", "checkout", "99.9", slo.RollingPeriod(30*slo.Day))
	o.GroupBy = []string{"route"}
	return &sinks.Report{Time: sinktest.Time, SLOs: []slo.Status{{
		Objective: o, Labels: []string{"/pay"}, At: sinktest.Time,
		Windows: []slo.Window{
			{Key: "5m", Total: 2468, Bad: 24, Coverage: 1, ErrorRatio: slo.Defined(0.009724473257699612), BurnRate: slo.Defined(9.724473257699612)},
			{Key: "1h"},
		},
		Budget: slo.Budget{Allowed: 86.4, Spent: 24, RemainingRatio: 0.7222222222222222},
		Alerts: []slo.Alert{{Severity: "page", BurnRatio: slo.Defined(0.4), Pairs: []slo.PairStatus{{Pair: o.Policy.Severities[0].Pairs[0]}}}},
	}}}
}

// Filters of the typical report: which SLOs and groups come, or what is said instead.
func TestFilters(t *testing.T) {
	h := face(t, web.Options{}, sinktest.Report())
	for query, want := range map[string]string{
		"":                      "checkout-availability search-latency/items search-latency_other",
		"slo=search-latency":    "search-latency/items search-latency_other",
		"service=checkout":      "checkout-availability",
		"service=search&route=": `404 group route=: unknown`,
		"route=_other":          "search-latency_other",
		"slo=search-latency&slo=checkout-availability&service=checkout": "checkout-availability",
		"slo=search-latency&route=%2Fitems&route=_other":                "search-latency/items search-latency_other",
		"slo=search-latency&service=checkout":                           "",
		"slo=search-latency&route=%2Fitem":                              `404 group route=%2Fitem: unknown`,
		"slo=serch-latency":                                             `404 slo "serch-latency": unknown, did you mean "search-latency"?`,
		"slo=checkout":                                                  `404 slo "checkout": unknown, did you mean "checkout-availability"?`,
		"slo=zzz":                                                       `404 slo "zzz": unknown`,
		"slo=":                                                          `404 slo "": unknown`,
		"service=chekout":                                               `404 service "chekout": unknown, did you mean "checkout"?`,
		"slo=search-latency&rout=x":                                     `400 parameter "rout": neither slo, service nor a label to group by, did you mean "route"?`,
		"slo=checkout-availability&route=x":                             `400 parameter "route": neither slo, service nor a label to group by`,
	} {
		status, body, _ := ask(h, "GET", "/api/v1/slos?"+query)
		var got string
		if status == 200 {
			var doc sinks.JSONDocument
			if err := json.Unmarshal([]byte(body), &doc); err != nil || len(doc.Reports) != 1 {
				t.Fatalf("%s: %v in %s", query, err, body)
			}
			var names []string
			for _, s := range doc.Reports[0].SLOs {
				names = append(names, s.SLO+s.Labels["route"])
			}
			got = strings.Join(names, " ")
		} else {
			var no map[string]string
			if err := json.Unmarshal([]byte(body), &no); err != nil {
				t.Fatalf("%s: %v in %s", query, err, body)
			}
			got = map[int]string{400: "400 ", 404: "404 "}[status] + no["error"]
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", query, got, want)
		}
	}
}

func TestAlerts(t *testing.T) {
	const firing = `{"slo":"checkout-availability","service":"checkout","labels":{},"severity":"page","burn_ratio":1.25,` +
		`"pairs":[{"long":"1h","short":"5m","factor":14.4,"held":false}],"remaining_ratio":0.75,"runbook_url":"https://runbooks/checkout"`
	const stamp = `{"time":"2026-01-02T00:00:00Z","alerts":[`
	h := face(t, web.Options{}, sinktest.Report())
	for target, want := range map[string]string{
		"/api/v1/alerts":                    stamp + firing + "}]}\n",
		"/api/v1/alerts?service=checkout":   stamp + firing + "}]}\n",
		"/api/v1/alerts?slo=search-latency": stamp + "]}\n",
	} {
		if status, body, _ := ask(h, "GET", target); status != 200 || body != want {
			t.Errorf("%s: got %d %s\nwant %s", target, status, body, want)
		}
	}
	if status, body, _ := ask(h, "GET", "/api/v1/alerts?slo=checkout-availabilty"); status != 404 ||
		body != `{"error":"slo \"checkout-availabilty\": unknown, did you mean \"checkout-availability\"?"}`+"\n" {
		t.Errorf("a slip of the pen: %d %s", status, body)
	}

	external, err := url.Parse("https://slo.example.com/yoyu/")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := ask(face(t, web.Options{ExternalURL: external, Prefix: "/yoyu"}, sinktest.Report()), "GET", "/yoyu/api/v1/alerts")
	if want := stamp + firing + `,"explain_url":"https://slo.example.com/yoyu/explain?slo=checkout-availability"}]}` + "\n"; body != want {
		t.Errorf("got %s\nwant %s", body, want)
	}
}

func TestRightsizing(t *testing.T) {
	r := &sinks.Report{Time: sinktest.Time, Workloads: append(sinktest.Unknown().Workloads, sinktest.Workload())}
	r.Workloads[1].Containers[0].Memory.Limit = slo.Value{}
	h := face(t, web.Options{}, r)
	const (
		stamp   = `{"time":"2026-01-02T00:00:00Z","totals":[],"workloads":[`
		totals  = `{"time":"2026-01-02T00:00:00Z","totals":[{"currency":"USD","hourly_savings_safe":0,"hourly_savings_blocked":0.0455,"hourly_savings_ungated":0,"hourly_cost":0.0020625}],"workloads":[`
		bare    = `"evidence":{"p50":null,"p90":null,"p95":null,"p99":null,"max":null,"high_water":null,"stable_since":null,"watched_seconds":0,"confidence_days":null,"representative_ratio":null,"oom_risk_ratio":null,"autoscaled_replicas":null}}`
		nothing = `{"request":null,"limit":null,"recommendation":{"target":null,"lower":null,"upper":null,"uncapped":null},"proposed_request":null,"proposed_limit":null,"next_request":null,"headroom":null,"verdict":"","eligible_at":null,` + bare
		cart    = `{"namespace":"shop","workload_kind":"Deployment","workload":"cart","vpa":"","update_mode":"","replicas":0,"services":[],` +
			`"verdict":"","gate":"","urgency":0,"sentence":"","reasons":[],"eligible_at":null,"currency":"","hourly_savings":null,"hourly_cost":null,` +
			`"budget_exposure_ratio":null,"monthly_savings_per_budget_percent":null,"pod_skew_ratio":null,"qos_class":"","proposed_qos_class":"","managed_by":"",` +
			`"containers":[{"container":"cart","place":"template","cpu_cores":` + nothing + `,"memory_bytes":` + nothing + `,"checkpoint_last_update":null,"last_oom_killed":null,"change":null,"helm_values":""}],"patch":null,"vpa_patch":null,"last_change":null,"helm_chart":"","helm_release":""}`
		at       = `/spec/template/spec/containers/0`
		checkout = `{"namespace":"shop","workload_kind":"Deployment","workload":"checkout","vpa":"checkout-vpa","update_mode":"Off","replicas":3,"services":["checkout"],` +
			`"verdict":"raise","gate":"blocked","urgency":3,"sentence":"app needs 384 MiB of memory instead of 256 MiB, because it was killed for lack of memory within a day.",` +
			`"reasons":[{"container":"app","resource":"cpu","reason":"over_provisioned"},{"container":"app","resource":"memory","reason":"oom_killed"}],` +
			`"eligible_at":null,"currency":"USD","hourly_savings":0.0455,"hourly_cost":0.0020625,"budget_exposure_ratio":0.11574074,"monthly_savings_per_budget_percent":null,"pod_skew_ratio":null,` +
			`"qos_class":"Burstable","proposed_qos_class":"Burstable","managed_by":"","containers":[{"container":"app","place":"template",` +
			`"cpu_cores":{"request":0.5,"limit":1,"recommendation":{"target":0.2,"lower":0.1,"upper":0.8,"uncapped":0.2},"proposed_request":0.2,"proposed_limit":1,"next_request":0.35,"headroom":0.3,"verdict":"shrink","eligible_at":null,` + bare + `,` +
			`"memory_bytes":{"request":268435456,"limit":null,"recommendation":{"target":402653184,"lower":134217728,"upper":1073741824,"uncapped":null},"proposed_request":402653184,"proposed_limit":536870912,"next_request":402653184,"headroom":-134217728,"verdict":"raise","eligible_at":null,` + bare + `,` +
			`"checkpoint_last_update":"2026-01-01T23:59:30Z","last_oom_killed":"2026-01-01T23:00:00Z","change":{"limits":{"memory":"512Mi"},"requests":{"memory":"384Mi"}},"helm_values":""}],` +
			// The CPU that a budget blocks is not in the patch.
			`"patch":[{"op":"test","path":"` + at + `/name","value":"app"},{"op":"test","path":"` + at + `/resources/requests/memory","value":"256Mi"},{"op":"test","path":"` + at + `/resources/limits/memory","value":"512Mi"},` +
			`{"op":"replace","path":"` + at + `/resources/requests/memory","value":"384Mi"},{"op":"replace","path":"` + at + `/resources/limits/memory","value":"512Mi"}],"vpa_patch":null,` +
			`"last_change":{"at":"2026-01-01T18:00:00Z","direction":"raise","outcome":"pending","ended":null,"reasons":[],"reverse_patch":null},"helm_chart":"","helm_release":""}`
	)
	for query, want := range map[string]string{
		"":                              totals + checkout + "," + cart + "]}\n", // the most pressing first
		"?service=checkout":             totals + checkout + "]}\n",
		"?verdict=raise&gate=blocked":   totals + checkout + "]}\n",
		"?verdict=keep":                 stamp + "]}\n",
		"?namespace=shop&workload=cart": stamp + cart + "]}\n",
		"?namespace=other":              stamp + "]}\n",
		"?workload_kind=Job":            stamp + "]}\n",
		"?workloads=cart":               `{"error":"parameter \"workloads\": unknown, did you mean \"workload\"?"}` + "\n",
	} {
		if _, body, _ := ask(h, "GET", "/api/v1/rightsizing"+query); body != want {
			t.Errorf("%q: got %s\nwant %s", query, body, want)
		}
	}
}
