package sinks_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// typical is a raise beside a blocked shrink, a workload that nothing is known of, and one that a
// spreadsheet would take for a formula.
func typical(t *testing.T) sinks.JSONRightsizing {
	t.Helper()
	cart := sinktest.Unknown().Workloads[0]
	cart.Verdict, cart.Sentence = rightsizing.Unknown, "nothing can be said: VPA recommends nothing for it."
	ungated := sinktest.Workload()
	ungated.Namespace, ungated.Name, ungated.Managed = "=shop", "odd|name", "Helm"
	c := &ungated.Containers[0]
	c.Memory.Verdict, c.Memory.Proposed = rightsizing.Keep, c.Memory.Request
	ungated.Judgement = rightsizing.Judgement{
		Verdict: rightsizing.Shrink, Gate: rightsizing.Ungated, Sentence: "each of 3 pods could give back\n300m of CPU from app.",
		Currency: "USD", Savings: slo.Defined(0.0455), Cost: slo.Defined(0),
	}
	r := &sinks.Report{Time: sinktest.Time, Workloads: []rightsizing.Workload{cart, ungated, sinktest.Workload()}}
	d, err := sinks.NewRightsizing(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var out strings.Builder
	if err := write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The money is 730 hours of 0.0455 (33.215, a hair less in binary) and of 0.0020625.
func TestRightsizingTable(t *testing.T) {
	want := `Rightsizing at 2026-01-02T00:00:00Z

Workload                   Verdict         Gate     CPU           Memory          Pods     A month
shop/Deployment/checkout   raise (urgent)  blocked  500m -> 200m  256Mi -> 384Mi     3  -31.71 USD
    app needs 384 MiB of memory instead of 256 MiB, because it was killed for lack of memory within a day.
=shop/Deployment/odd|name  shrink          ungated  500m -> 200m  256Mi              3  -33.21 USD
    each of 3 pods could give back` + "\uFFFD" + `300m of CPU from app.
shop/Deployment/cart       unknown         –        –             –                  0           –
    nothing can be said: VPA recommends nothing for it.

A month in USD: 0.00 safe to give back, 33.21 blocked by a budget, 33.21 that no SLO watches; 1.51 more to spend
`
	if got := written(t, typical(t).WriteTable); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := written(t, sinks.JSONRightsizing{}.WriteTable); !strings.Contains(got, "no workload has a VerticalPodAutoscaler") {
		t.Errorf("of nothing:\n%s", got)
	}
}

// What a budget blocks is not in a line; what no SLO watches only when it is asked for.
func TestRightsizingPatch(t *testing.T) {
	d := typical(t)
	raise := `kubectl patch deployment checkout --namespace shop --type json --patch '[{"op":"test","path":"/spec/template/spec/containers/0/name","value":"app"},` +
		`{"op":"test","path":"/spec/template/spec/containers/0/resources/requests/memory","value":"256Mi"},` +
		`{"op":"replace","path":"/spec/template/spec/containers/0/resources/requests/memory","value":"384Mi"}]'`
	want := `# Rightsizing at 2026-01-02T00:00:00Z. A line that has become stale is refused by its tests, and changes nothing.

# shop/Deployment/checkout: raise, blocked: app needs 384 MiB of memory instead of 256 MiB, because it was killed for lack of memory within a day.
` + raise + `

# =shop/Deployment/odd|name: shrink, ungated: each of 3 pods could give back` + "\uFFFD" + `300m of CPU from app.
# Helm writes this workload and would undo it: change it there.
# no SLO watches it: --ungated prints its line

# shop/Deployment/cart: unknown: nothing can be said: VPA recommends nothing for it.
`
	if got := written(t, func(w io.Writer) error { return d.WritePatch(w, false) }); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	all := written(t, func(w io.Writer) error { return d.WritePatch(w, true) })
	if !strings.Contains(all, "\nkubectl patch deployment 'odd|name' --namespace '=shop' --type json --patch '[") || !strings.Contains(all, `requests/cpu","value":"350m"`) {
		t.Errorf("with --ungated:\n%s", all)
	}
}

func TestRightsizingCSV(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(written(t, typical(t).WriteCSV)), "\n")
	want := []string{
		"namespace,workload_kind,workload,services,replicas,container,resource,unit,request,limit,target,proposed_request,next_request,proposed_limit,headroom,verdict,workload_verdict,gate,urgency,currency,workload_hourly_savings,workload_hourly_cost,eligible_at,reasons",
		"shop,Deployment,checkout,checkout,3,app,cpu,core,0.5,1,0.2,0.2,0.35,1,0.3,shrink,raise,blocked,3,USD,0.0455,0.0020625,,over_provisioned",
		"shop,Deployment,checkout,checkout,3,app,memory,byte,268435456,536870912,402653184,402653184,402653184,536870912,-134217728,raise,raise,blocked,3,USD,0.0455,0.0020625,,oom_killed",
		"'=shop,Deployment,odd|name,checkout,3,app,cpu,core,0.5,1,0.2,0.2,0.35,1,0.3,shrink,shrink,ungated,0,USD,0.0455,0,,",
	}
	if len(lines) != 1+3*2 {
		t.Errorf("%d lines, want a head and one for each container and resource", len(lines))
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("line %d\ngot  %s\nwant %s", i, lines[i], want[i])
		}
	}
}

// A pull request shows what it is worth in all, and every patch that may be applied; what no SLO watches
// only when it is asked for.
func TestRightsizingMarkdown(t *testing.T) {
	d := typical(t)
	change := func(op string) []rightsizing.Operation {
		return []rightsizing.Operation{{Op: op, Path: "/spec", Value: json.RawMessage(`{}`)}}
	}
	d.Workloads[0].VPAPatch = change("policy")
	d.Workloads[0].LastChange = &sinks.JSONChange{Reverse: change("back")}
	got := written(t, func(w io.Writer) error { return d.WriteMarkdown(w, false) })
	const summary = "<details><summary>%s</summary>\n\n```json\n[\n  {\n    \"op\": %q,"
	for _, want := range []string{
		"### Rightsizing at 2026-01-02T00:00:00Z\n",
		"| shop/Deployment/checkout | raise (urgent) | blocked | 500m → 200m | 256Mi → 384Mi | 3 | -31.71 USD |\n",
		`| =shop/Deployment/odd\|name | shrink | ungated |`,
		"\n\nA month in USD: 0.00 safe to give back, 33.21 blocked by a budget, 33.21 that no SLO watches; 1.51 more to spend\n\n* ",
		"* **shop/checkout**: app needs 384 MiB of memory instead of 256 MiB, because",
		fmt.Sprintf(summary, "Patch of shop/Deployment/checkout", "test"),
		fmt.Sprintf(summary, "Patch of VPA "+d.Workloads[0].VPA+" of shop/Deployment/checkout", "policy"),
		fmt.Sprintf(summary, "Patch that takes the last change back of shop/Deployment/checkout", "back"),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	const ungated = `<summary>Patch of =shop/Deployment/odd\|name</summary>`
	if strings.Contains(got, ungated) {
		t.Errorf("a patch that no SLO watches:\n%s", got)
	}
	if all := written(t, func(w io.Writer) error { return d.WriteMarkdown(w, true) }); !strings.Contains(all, ungated) {
		t.Errorf("with --ungated:\n%s", all)
	}
}
