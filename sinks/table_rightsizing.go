package sinks

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
)

// monthly is the hours of a month that clouds bill by.
const monthly = 730

// WriteTable writes the verdicts for a terminal, the most pressing first, each with its sentence.
func (d JSONRightsizing) WriteTable(w io.Writer) error {
	rows := [][]string{{"Workload", "Verdict", "Gate", "CPU", "Memory", "Pods", "A month"}}
	for i := range d.Workloads {
		rows = append(rows, d.Workloads[i].row(" -> "))
	}
	right := []bool{false, false, false, false, false, true, true}
	width := make([]int, len(right))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "Rightsizing at %s\n\n", d.at())
	for k, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			gap := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				line.WriteString("  ")
			}
			if right[i] {
				line.WriteString(gap + cell)
			} else {
				line.WriteString(cell + gap)
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		if k > 0 {
			out.WriteString("    " + oneLine(d.Workloads[k-1].Sentence) + "\n")
		}
	}
	if len(d.Workloads) == 0 {
		out.WriteString("no workload has a VerticalPodAutoscaler\n")
	}
	for _, m := range d.Totals {
		out.WriteString("\n" + m.line() + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// at is the time of the report.
func (d JSONRightsizing) at() string {
	if d.Time == nil {
		return "no time yet"
	}
	return d.Time.UTC().Format(time.RFC3339)
}

// line is a currency's sum for people.
func (m JSONMoney) line() string {
	return fmt.Sprintf("A month in %s: %s safe to give back, %s blocked by a budget, %s that no SLO watches; %s more to spend",
		m.Currency, money(m.Safe), money(m.Blocked), money(m.Ungated), money(m.Cost))
}

func money(hourly float64) string { return strconv.FormatFloat(hourly*monthly, 'f', 2, 64) }

// row is a workload in cells; arrow stands between what is asked for and what is proposed.
func (w *JSONWorkload) row(arrow string) []string {
	var cpu, memory []string
	for i := range w.Containers {
		c := &w.Containers[i]
		cpu = append(cpu, change("cpu", &c.CPU, arrow))
		memory = append(memory, change("memory", &c.Memory, arrow))
	}
	verdict := w.Verdict
	if w.Urgency > 1 {
		verdict += " (urgent)"
	}
	gate, month := w.Gate, Undefined
	if gate == "" {
		gate = Undefined
	}
	if verdict == "" {
		verdict = Undefined
	}
	if w.Currency != "" {
		// What is released is negative, as on a bill.
		change := w.Cost.Float - w.Savings.Float
		month = strconv.FormatFloat(change*monthly, 'f', 2, 64) + " " + w.Currency
		if math.Abs(change*monthly) < 0.005 {
			month = "0 " + w.Currency
		}
	}
	return []string{
		oneLine(w.Namespace + "/" + w.WorkloadKind + "/" + w.Workload), verdict, gate,
		strings.Join(cpu, ", "), strings.Join(memory, ", "), strconv.Itoa(w.Replicas), month,
	}
}

// change is "500m -> 380m", or what is asked for where nothing changes.
func change(name string, r *JSONResource, arrow string) string {
	from, to := Undefined, Undefined
	if r.Request.Defined {
		from = rightsizing.Quantity(name, r.Request.Float)
	}
	if r.Proposed.Defined {
		to = rightsizing.Quantity(name, r.Proposed.Float)
	}
	if from == to || !r.Proposed.Defined {
		return from
	}
	return from + arrow + to
}

// WriteCSV writes a row for every container and resource, with a head; what is undefined is empty.
func (d JSONRightsizing) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"namespace", "workload_kind", "workload", "services", "replicas", "container", "resource", "unit",
		"request", "limit", "target", "proposed_request", "next_request", "proposed_limit", "headroom",
		"verdict", "workload_verdict", "gate", "urgency", "currency", "workload_hourly_savings", "workload_hourly_cost", "eligible_at", "reasons"}}
	number := func(n Number) string {
		if !n.Defined {
			return ""
		}
		return strconv.FormatFloat(n.Float, 'f', -1, 64)
	}
	for i := range d.Workloads {
		w := &d.Workloads[i]
		for k := range w.Containers {
			c := &w.Containers[k]
			for _, one := range []struct {
				name, unit string
				r          *JSONResource
			}{{"cpu", "core", &c.CPU}, {"memory", "byte", &c.Memory}} {
				r := one.r
				at := ""
				if r.EligibleAt != nil {
					at = r.EligibleAt.UTC().Format(time.RFC3339)
				}
				var codes []string
				for _, reason := range w.Reasons {
					if (reason.Container == "" || reason.Container == c.Container) && (reason.Resource == "" || reason.Resource == one.name) {
						codes = append(codes, reason.Reason)
					}
				}
				rows = append(rows, []string{w.Namespace, w.WorkloadKind, w.Workload, strings.Join(w.Services, " "), strconv.Itoa(w.Replicas),
					c.Container, one.name, one.unit, number(r.Request), number(r.Limit), number(r.Recommendation.Target), number(r.Proposed),
					number(r.Step), number(r.ProposedLimit), number(r.Headroom), r.Verdict, w.Verdict, w.Gate, strconv.Itoa(w.Urgency),
					w.Currency, number(w.Savings), number(w.Cost), at, strings.Join(codes, " ")})
			}
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			// A spreadsheet takes what begins like this for a formula; a number may.
			if cell != "" && strings.ContainsRune("=+@\t\r", rune(cell[0])) {
				row[i] = "'" + cell
			}
		}
	}
	return out.WriteAll(rows)
}

// WritePatch writes one line of shell for each workload whose next change may be made, and a comment
// for each other. What no SLO watches is a comment too, unless ungated says that it may.
func (d JSONRightsizing) WritePatch(w io.Writer, ungated bool) error {
	var out strings.Builder
	fmt.Fprintf(&out, "# Rightsizing at %s. A line that has become stale is refused by its tests, and changes nothing.\n", d.at())
	for i := range d.Workloads {
		one := &d.Workloads[i]
		line, err := one.command()
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "\n# %s: %s%s\n", one.address(), one.said(), oneLine(one.Sentence))
		if one.LastChange != nil && len(one.LastChange.Reverse) > 0 {
			back, err := (&rightsizing.Workload{Namespace: one.Namespace, Kind: one.WorkloadKind, Name: one.Workload}).Command(one.LastChange.Reverse)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, "# this takes the change of %s back:\n%s\n", one.LastChange.At.Format(time.RFC3339), back)
		}
		if len(one.VPAPatch) > 0 {
			policy, err := (&rightsizing.Workload{Namespace: one.Namespace, VPA: one.VPA}).PolicyCommand(one.VPAPatch)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, "# VPA %s applies (%s), so its policy comes first:\n%s\n", oneLine(one.VPA), oneLine(one.UpdateMode), policy)
			if line != "" {
				out.WriteString("# what the template asks for counts where VPA is not at work:\n")
			}
		}
		if one.ManagedBy != "" && line != "" {
			fmt.Fprintf(&out, "# %s writes this workload and would undo it: change it there.\n", one.ManagedBy)
		}
		switch {
		case line == "":
		case one.Gate == string(rightsizing.Ungated) && !ungated:
			out.WriteString("# no SLO watches it: --ungated prints its line\n")
		default:
			out.WriteString(line + "\n")
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// said is the verdict before a sentence: "shrink, blocked: ".
func (w *JSONWorkload) said() string {
	if w.Verdict == "" {
		return ""
	}
	if w.Gate != "" {
		return w.Verdict + ", " + w.Gate + ": "
	}
	return w.Verdict + ": "
}

// command is the shell's line of the patch; "" without one.
func (w *JSONWorkload) command() (string, error) {
	if len(w.Patch) == 0 {
		return "", nil
	}
	return (&rightsizing.Workload{Namespace: w.Namespace, Kind: w.WorkloadKind, Name: w.Workload}).Command(w.Patch)
}

// WriteMarkdown writes the verdicts for a pull request: a table with what they are worth in all, the
// sentences, and the patches that may be applied: of what no SLO watches only when ungated says so.
func (d JSONRightsizing) WriteMarkdown(w io.Writer, ungated bool) error {
	var out strings.Builder
	fmt.Fprintf(&out, "### Rightsizing at %s\n\n", d.at())
	out.WriteString("| Workload | Verdict | Gate | CPU | Memory | Pods | A month |\n|:---|:---|:---|:---|:---|---:|---:|\n")
	for i := range d.Workloads {
		for _, cell := range d.Workloads[i].row(" → ") {
			out.WriteString("| " + markdown.Replace(cell) + " ")
		}
		out.WriteString("|\n")
	}
	for _, m := range d.Totals {
		out.WriteString("\n" + markdown.Replace(m.line()) + "\n")
	}
	out.WriteByte('\n')
	for i := range d.Workloads {
		one := &d.Workloads[i]
		fmt.Fprintf(&out, "* **%s**: %s\n", markdown.Replace(oneLine(one.Namespace+"/"+one.Workload)), markdown.Replace(oneLine(one.Sentence)))
	}
	for i := range d.Workloads {
		one := &d.Workloads[i]
		patches := []struct {
			of    string
			patch []rightsizing.Operation
		}{{"Patch that takes the last change back of", nil}, {"Patch of VPA " + one.VPA + " of", one.VPAPatch}, {"Patch of", one.Patch}}
		if one.LastChange != nil {
			patches[0].patch = one.LastChange.Reverse
		}
		if one.held(ungated) {
			patches[2].patch = nil
		}
		for _, p := range patches {
			if len(p.patch) == 0 {
				continue
			}
			text, err := json.MarshalIndent(p.patch, "", "  ")
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, "\n<details><summary>%s %s</summary>\n\n```json\n%s\n```\n</details>\n",
				markdown.Replace(oneLine(p.of)), markdown.Replace(oneLine(one.address())), text)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}
