package sinks

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/yoyu-sre/yoyu/slo"
)

// Undefined is how people are shown a value that is not defined.
const Undefined = "–"

// table is a report for people: one row per objective and group, the worst first.
type table struct {
	Title string
	Head  []string
	Rows  []tableRow
	Notes []string // why an objective counts nothing
}

type tableRow struct {
	Cells []string
	State string // of the row: "spent", "firing", "unknown" or "ok"
}

// numeric are the columns that are aligned on the right.
var numeric = []bool{false, true, true, true, true, true, true, true, true, false, true}

func newTable(r *Report) table {
	t := table{
		Title: "Error budgets at " + r.Time.UTC().Format(time.RFC3339),
		Head:  []string{"SLO", "Objective", "Period", "Total", "Bad", "Remaining", "Burn 1h", "Burn 6h", "Burn 3d", "Alerts", "Coverage"},
	}
	for _, st := range worstFirst(r.SLOs) {
		t.Rows = append(t.Rows, newRow(st))
		if st.Note != "" {
			t.Notes = append(t.Notes, Title(st)+": "+st.Note)
		}
	}
	return t
}

// worstFirst orders by what remains of the budget, then by how fast it burns. What nothing is
// known of comes last: it is not well, but it is not worst either.
func worstFirst(statuses []slo.Status) []*slo.Status {
	order := make([]*slo.Status, len(statuses))
	for i := range statuses {
		order[i] = &statuses[i]
	}
	slices.SortStableFunc(order, func(a, b *slo.Status) int {
		return cmp.Or(
			compareBool(unknown(a), unknown(b)),
			cmp.Compare(a.Budget.RemainingRatio, b.Budget.RemainingRatio),
			cmp.Compare(burn(b, time.Hour).Float, burn(a, time.Hour).Float),
		)
	})
	return order
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// unknown reports whether the source never answered within the period.
func unknown(st *slo.Status) bool { return period(st).Coverage == 0 && period(st).Total == 0 }

func period(st *slo.Status) slo.Window {
	for _, w := range st.Windows {
		if w.IsPeriod {
			return w
		}
	}
	return slo.Window{}
}

func burn(st *slo.Status, length time.Duration) slo.Value {
	for _, w := range st.Windows {
		if w.Length == length && !w.IsPeriod {
			return w.BurnRate
		}
	}
	return slo.Value{}
}

func newRow(st *slo.Status) tableRow {
	p := period(st)
	row := tableRow{State: "ok"}
	var firing []string
	for _, a := range st.Alerts {
		if a.Firing {
			firing = append(firing, a.Severity)
		}
	}
	remaining := percent(st.Budget.RemainingRatio, 2)
	switch {
	case unknown(st):
		row.State, remaining = "unknown", Undefined
	case st.Budget.RemainingRatio <= 0:
		row.State = "spent"
	case len(firing) > 0:
		row.State = "firing"
	}
	row.Cells = []string{
		Title(st), st.Objective.Target.Percent() + "%", st.Objective.Period.Key(), count(p.Total), count(p.Bad),
		remaining, rate(burn(st, time.Hour)), rate(burn(st, 6*time.Hour)), rate(burn(st, 3*slo.Day)),
		cmp.Or(strings.Join(firing, ", "), "quiet"), percent(p.Coverage, 1),
	}
	return row
}

// Title names a status for people: its objective, and in braces the labels of its group.
func Title(st *slo.Status) string {
	var labels []string
	for i, name := range st.Objective.GroupBy {
		if i < len(st.Labels) && st.Labels[i] != "" {
			labels = append(labels, name+"="+strconv.Quote(st.Labels[i]))
		}
	}
	title := oneLine(st.Objective.Name)
	if len(labels) > 0 {
		title += "{" + strings.Join(labels, ",") + "}"
	}
	return title
}

// oneLine replaces what would break a row.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError || r == 0x7f {
			return '\uFFFD'
		}
		return r
	}, text)
}

// percent rounds down, so that 100 % is whole, a budget that is overspent by the least is
// negative, and a gap in the coverage shows.
func percent(ratio float64, digits int) string {
	scale := math.Pow10(digits)
	// The last bits of a quotient are no reason to show 28.99 % for 29 %.
	down := math.Floor(ratio*100*scale+1e-9) / scale
	return strconv.FormatFloat(down, 'f', digits, 64) + "%"
}

func rate(v slo.Value) string {
	if !v.Defined {
		return Undefined
	}
	return strconv.FormatFloat(v.Float, 'f', 2, 64)
}

// count shows an event count with its thousands apart; fractions only where there are some.
func count(n float64) string {
	text := strconv.FormatFloat(math.Round(n*1000)/1000, 'f', -1, 64)
	whole, fraction, fractional := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fractional {
		return whole + "." + fraction
	}
	return whole
}

// WriteTable writes the report for a terminal: a line that says the time, and a row per objective
// and group, the worst first.
func WriteTable(w io.Writer, r *Report) error {
	t := newTable(r)
	width := make([]int, len(t.Head))
	rows := append([]tableRow{{Cells: t.Head}}, t.Rows...)
	for _, row := range rows {
		for i, cell := range row.Cells {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	out.WriteString(t.Title + "\n\n")
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row.Cells {
			gap := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				line.WriteString("  ")
			}
			if numeric[i] {
				line.WriteString(gap + cell)
			} else {
				line.WriteString(cell + gap)
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	if len(t.Rows) == 0 {
		out.WriteString("no SLOs\n")
	}
	for i, note := range t.Notes {
		if i == 0 {
			out.WriteByte('\n')
		}
		out.WriteString(oneLine(note) + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// WriteMarkdown writes the report as a table for an issue or a pull request.
func WriteMarkdown(w io.Writer, r *Report) error {
	t := newTable(r)
	var out strings.Builder
	fmt.Fprintf(&out, "### %s\n\n", t.Title)
	line := func(cells []string) {
		for _, cell := range cells {
			out.WriteString("| " + markdown.Replace(cell) + " ")
		}
		out.WriteString("|\n")
	}
	line(t.Head)
	for _, right := range numeric {
		if right {
			out.WriteString("|---:")
		} else {
			out.WriteString("|:---")
		}
	}
	out.WriteString("|\n")
	for _, row := range t.Rows {
		line(row.Cells)
	}
	for i, note := range t.Notes {
		if i == 0 {
			out.WriteByte('\n')
		}
		out.WriteString("* " + markdown.Replace(oneLine(note)) + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// markdown takes the meaning from the characters that would end a cell or start something else.
var markdown = strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`)

// WriteHTML writes the report as one page that needs nothing else: no script, no font, no address.
func WriteHTML(w io.Writer, r *Report) error {
	if err := page.Execute(w, newTable(r)); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return nil
}

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"side": func(i int) string {
		if numeric[i] {
			return "number"
		}
		return "text"
	},
}).Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 2rem; }
h1 { font-size: 1.2rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #8884; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.text { text-align: left; }
.spent td:first-child { border-left: 4px solid #d33; }
.firing td:first-child { border-left: 4px solid #e90; }
.ok td:first-child { border-left: 4px solid #3a5; }
.unknown td { opacity: .6; }
</style>
</head>
<body>
<h1>{{.Title}}</h1>
<div><table>
<thead><tr>{{range $i, $name := .Head}}<th class="{{side $i}}" scope="col">{{$name}}</th>{{end}}</tr></thead>
<tbody>
{{- range .Rows}}
<tr class="{{.State}}">{{range $i, $cell := .Cells}}<td class="{{side $i}}">{{$cell}}</td>{{end}}</tr>
{{- end}}
</tbody>
</table></div>
{{- if .Notes}}
<ul>
{{- range .Notes}}
<li>{{.}}</li>
{{- end}}
</ul>
{{- end}}
</body>
</html>
`))
