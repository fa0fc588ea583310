package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// seen is what the benchmarks of one input reported.
type seen struct {
	values map[figure][]float64
	keys   map[string][]string // goos, goarch, cpu: each value once
	cores  []string            // GOMAXPROCS of the runs
}

// read takes the figures out of what go test printed. Other lines are passed over.
func read(from io.Reader) (*seen, error) {
	s := &seen{values: map[figure][]float64{}, keys: map[string][]string{}}
	r := benchfmt.NewReader(from, "input")
	for r.Scan() {
		result, ok := r.Result().(*benchfmt.Result)
		if !ok {
			continue // a line that is none of a benchmark's, or a unit's description
		}
		name, cores := string(result.Name.Full()), "1"
		if at := strings.LastIndexByte(name, '-'); at > 0 {
			if _, err := strconv.Atoi(name[at+1:]); err == nil {
				name, cores = name[:at], name[at+1:]
			}
		}
		once(&s.cores, cores)
		for _, key := range []string{"goos", "goarch", "cpu"} {
			once2(s.keys, key, result.GetConfig(key))
		}
		for _, v := range result.Values {
			f, value := figure{name, v.Unit}, v.Value
			if v.OrigUnit != "" {
				f.unit, value = v.OrigUnit, v.OrigValue
			}
			s.values[f] = append(s.values[f], value)
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	if len(s.values) == 0 {
		return nil, fmt.Errorf("no benchmark in the input: pipe go test -bench into it")
	}
	return s, nil
}

func once(list *[]string, one string) {
	if one != "" && !slices.Contains(*list, one) {
		*list = append(*list, one)
	}
}

func once2(m map[string][]string, key, one string) {
	list := m[key]
	once(&list, one)
	m[key] = list
}

// median is the middle of what a figure was, and how often it was measured.
func (s *seen) median(f figure) (value float64, n int) {
	all := slices.Sorted(slices.Values(s.values[f]))
	if len(all) == 0 {
		return 0, 0
	}
	middle := len(all) / 2
	if len(all)%2 == 0 {
		return (all[middle-1] + all[middle]) / 2, len(all)
	}
	return all[middle], len(all)
}

// row is a bar with what was measured.
type row struct {
	bar
	figure  string // with its unit
	runs    int
	verdict string // yes, no, or not measured
}

func judge(bars []bar, s *seen) []row {
	var rows []row
	for _, b := range bars {
		r := row{bar: b, figure: "–", verdict: "not measured"}
		value, n := s.median(b.of)
		if b.over != (figure{}) {
			below, also := s.median(b.over)
			value, n = value/below, min(n, also)
		}
		value /= cmp.Or(b.scale, 1)
		if n > 0 {
			r.figure, r.runs, r.verdict = number(value)+b.unit, n, "no"
			if b.holds(value) {
				r.verdict = "yes"
			}
		}
		rows = append(rows, r)
	}
	return rows
}

func (b bar) holds(value float64) bool {
	if b.atMost0 {
		return value == 0
	}
	return (b.most == 0 || value <= b.most) && (b.least == 0 || value >= b.least)
}

// must is the bound in words.
func (b bar) must() string {
	switch {
	case b.atMost0:
		return "0"
	case b.most != 0 && b.least != 0:
		return number(b.least) + " to " + number(b.most) + b.unit
	case b.most != 0:
		return "≤ " + number(b.most) + b.unit
	}
	return "≥ " + number(b.least) + b.unit
}

// number prints three digits that count, with commas.
func number(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	switch {
	case v >= 100:
		text = strconv.FormatFloat(v, 'f', 0, 64)
	case v != 0 && v >= 0.001:
		text = strconv.FormatFloat(v, 'g', 3, 64)
	case v > 0: // 'g' would write an exponent
		text = strconv.FormatFloat(v, 'f', 2-int(math.Floor(math.Log10(v))), 64)
	}
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest == "" {
		return whole
	}
	return whole + "." + rest
}

// render writes the page.
func render(rows []row, s *seen, goVersion string, cores int) []byte {
	var out bytes.Buffer
	on := func(key string) string { return strings.Join(s.keys[key], ", ") }
	fmt.Fprintf(&out, `# What yoyu costs

Written by `+"`make bench`"+`; never by hand. Figures are medians of the runs that the column says. Where there
is something to compare with, a figure is a ratio of two things measured in one run: those hold on other
machines too, the others are this one's.

On: %s, %d cores (GOMAXPROCS %s), %s/%s, %s.

| what | measured | runs | must be | holds | against |
|---|---|---|---|---|---|
`, cmp.Or(on("cpu"), "a CPU that does not say its name"), cores, strings.Join(s.cores, ", "), on("goos"), on("goarch"), goVersion)
	for _, r := range rows {
		runs := "–"
		if r.runs > 0 {
			runs = strconv.Itoa(r.runs)
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.figure, runs, r.must(), r.verdict, r.against)
	}
	out.WriteString("\nWhat these are made of:\n\n| what | measured | runs | how |\n|---|---|---|---|\n")
	for _, r := range judge(also, s) {
		if r.runs > 0 {
			fmt.Fprintf(&out, "| %s | %s | %d | %s |\n", r.what, r.figure, r.runs, r.against)
		}
	}
	return out.Bytes()
}
