package app

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yoyu-sre/yoyu/internal/backtest"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// writeBacktest prints the reports asked for, what was tried side by side or asked for as a summary,
// and the alerts.
func writeBacktest(w io.Writer, o backtestOptions, result *backtest.Result, t *trial) error {
	var tried []backtest.Summary
	if o.summary || t.tried() {
		tried = t.sideBySide(result)
	}
	output := o.output
	if output == "json" {
		doc := sinks.JSONDocument{Alerts: jsonAlerts(result.Alerts), Comparison: jsonSummaries(tried, t)}
		for _, r := range result.Reports {
			doc.Reports = append(doc.Reports, sinks.NewJSON(r))
		}
		return doc.Write(w)
	}
	write := sinks.WriteTable
	switch output {
	case "markdown":
		write = sinks.WriteMarkdown
	case "html":
		write = sinks.WriteHTML
	}
	for _, r := range result.Reports {
		if err := write(w, r); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if len(tried) > 0 {
		if err := writeRows(w, output, comparison(tried)); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return writeAlerts(w, output, result.Alerts)
}

// comparison is the table of what was tried: one row for each promise. How late and at what price
// it was detected is said of the most urgent severity.
func comparison(all []backtest.Summary) [][]string {
	var severities []string
	for _, s := range all {
		for _, one := range s.Severities {
			if !slices.Contains(severities, one.Severity) {
				severities = append(severities, one.Severity)
			}
		}
	}
	head := []string{"SLO", "OBJECTIVE", "POLICY", "PERIOD"}
	for _, name := range severities {
		head = append(head, strings.ToUpper(name)+"S", "FIRING")
	}
	head = append(head, "EARLIEST", "MEDIAN", "LONGEST", "GONE BY FIRST", "LEFT AT END")
	rows := [][]string{head}
	for _, s := range all {
		row := []string{title(s.SLO, s.Labels), s.Objective.Target.Percent() + " %", s.Objective.Policy.Name, s.Objective.Period.Key()}
		for _, name := range severities {
			i := slices.IndexFunc(s.Severities, func(one backtest.SeveritySummary) bool { return one.Severity == name })
			if i < 0 {
				row = append(row, sinks.Undefined, sinks.Undefined)
				continue
			}
			row = append(row, strconv.Itoa(s.Severities[i].Count), slo.FormatDuration(s.Severities[i].Firing))
		}
		var first backtest.SeveritySummary
		if len(s.Severities) > 0 {
			first = s.Severities[0]
		}
		row = append(row, seconds(first.Earliest), seconds(first.Median), seconds(first.Longest), share(first.SpentAtFirst), share(s.Remaining))
		rows = append(rows, row)
	}
	return rows
}

// seconds prints a length of time for people.
func seconds(v slo.Value) string {
	if !v.Defined {
		return sinks.Undefined
	}
	return slo.FormatDuration(time.Duration(v.Float * float64(time.Second)).Round(time.Millisecond))
}

// share prints a share of a budget for people.
func share(v slo.Value) string {
	if !v.Defined {
		return sinks.Undefined
	}
	return fmt.Sprintf("%.1f %%", 100*v.Float)
}

// writeAlerts lists the alerts for people.
func writeAlerts(w io.Writer, output string, alerts []backtest.Alert) error {
	rows := [][]string{{"SLO", "SEVERITY", "PAIR", "BEGAN", "FIRED", "AFTER", "ENDED", "BUDGET GONE"}}
	for _, a := range alerts {
		end, began := "still firing", sinks.Undefined
		if !a.Began.IsZero() {
			began = a.Began.UTC().Format(time.RFC3339)
		}
		if !a.End.IsZero() {
			end = a.End.UTC().Format(time.RFC3339)
		}
		rows = append(rows, []string{
			title(a.SLO, a.Labels), a.Severity, slo.FormatDuration(a.Long) + "/" + slo.FormatDuration(a.Short),
			began, a.Start.UTC().Format(time.RFC3339), seconds(a.Detection()), end, share(a.Spent),
		})
	}
	if len(alerts) == 0 {
		_, err := fmt.Fprintln(w, "No alert would have fired.")
		return err
	}
	return writeRows(w, output, rows)
}

func title(name string, labels map[string]string) string {
	if len(labels) == 0 {
		return name
	}
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		keys[i] = k + "=" + labels[k]
	}
	return name + "{" + strings.Join(keys, ",") + "}"
}

func jsonAlerts(alerts []backtest.Alert) []sinks.JSONAlert {
	out := make([]sinks.JSONAlert, 0, len(alerts))
	for _, a := range alerts {
		start := a.Start.UTC()
		one := sinks.JSONAlert{
			SLO: a.SLO, Labels: a.Labels, Severity: a.Severity,
			Long: slo.FormatDuration(a.Long), Short: slo.FormatDuration(a.Short),
			Start:            &start,
			DetectionSeconds: sinks.Number(a.Detection()),
			BudgetSpentRatio: sinks.Number(a.Spent),
		}
		if !a.Began.IsZero() {
			began := a.Began.UTC()
			one.Began = &began
		}
		if !a.End.IsZero() {
			end := a.End.UTC()
			one.End = &end
		}
		out = append(out, one)
	}
	return out
}

func jsonSummaries(all []backtest.Summary, t *trial) []sinks.JSONSummary {
	out := make([]sinks.JSONSummary, 0, len(all))
	for _, s := range all {
		one := sinks.JSONSummary{
			SLO: s.SLO, Of: t.own[s.SLO], Labels: s.Labels, Objective: s.Objective.Target.Float(),
			Policy: s.Objective.Policy.Name, Period: s.Objective.Period.Key(), RemainingRatio: sinks.Number(s.Remaining),
		}
		for _, severity := range s.Severities {
			one.Severities = append(one.Severities, sinks.JSONSeveritySummary{
				Severity: severity.Severity, Count: severity.Count, FiringSeconds: severity.Firing.Seconds(),
				Earliest: sinks.Number(severity.Earliest), Median: sinks.Number(severity.Median), Longest: sinks.Number(severity.Longest),
				SpentAtFirst: sinks.Number(severity.SpentAtFirst),
			})
		}
		out = append(out, one)
	}
	return out
}
