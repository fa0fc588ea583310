package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong, or doubtful, in one place of a file.
//
// Its text is what a person reads at three in the morning: the place, what is wrong there, and
// what would be right.
type Fault struct {
	File    string
	Line    int    // from 1; 0 when the file could not be read at all
	Column  int    // from 1; 0 when only the line is known
	Field   string // path of the value, such as slos[0].objective; "" for the file itself
	Name    string // name of the list entry that Field begins with, if it has one
	Problem string // what is wrong
	Remedy  string // what would be right; "" when Problem says it all
	Warning bool   // it loads, but can never work or is doubtful
}

var _ error = Fault{}

// Error prints the fault as one line:
//
//	config.yaml:12:16: slos[0] checkout-availability: objective: 0.999 reads as 0.999 percent: did you mean 99.9?
func (f Fault) Error() string {
	place := f.File
	if f.Line > 0 {
		place += fmt.Sprintf(":%d", f.Line)
		if f.Column > 0 {
			place += fmt.Sprintf(":%d", f.Column)
		}
	}
	if f.Warning {
		place += ": warning"
	}
	return place + ": " + f.text()
}

// text is the fault without its place in the file.
func (f Fault) text() string {
	field := f.Field
	if f.Name != "" {
		entry, rest, _ := strings.Cut(f.Field, "].")
		field = strings.TrimSuffix(entry, "]") + "] " + f.Name
		if rest != "" {
			field += ": " + rest
		}
	}
	parts := make([]string, 0, 3)
	for _, part := range []string{field, f.Problem, f.Remedy} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(strings.Join(parts, ": "))
}

// GitHub prints the fault as a workflow command, which GitHub shows beside the line in a pull
// request.
func (f Fault) GitHub() string {
	command := "error"
	if f.Warning {
		command = "warning"
	}
	value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	place := "file=" + property.Replace(f.File)
	if f.Line > 0 {
		place += fmt.Sprintf(",line=%d", f.Line)
		if f.Column > 0 {
			place += fmt.Sprintf(",col=%d", f.Column)
		}
	}
	return fmt.Sprintf("::%s %s::%s", command, place, value.Replace(f.text()))
}

// Faults are all faults of a configuration, in the order of its files and lines.
type Faults []Fault

var _ error = Faults{}

// Error prints one fault a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the single faults to errors.Is and errors.As.
func (f Faults) Unwrap() []error {
	out := make([]error, len(f))
	for i, fault := range f {
		out[i] = fault
	}
	return out
}

// err is f as an error, nil when there is none.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// FaultsOf gathers every fault inside an error, also of several joined by errors.Join, in the
// order of files and lines; errors of other kinds are left out.
func FaultsOf(err error) Faults {
	all := gather(err)
	var files []string
	for _, f := range all {
		if !slices.Contains(files, f.File) {
			files = append(files, f.File)
		}
	}
	return slices.Clone(all).ordered(files)
}

func gather(err error) Faults {
	var out Faults
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil:
	case Fault:
		out = Faults{e}
	case Faults:
		out = e
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			out = append(out, gather(inner)...)
		}
	default:
		return gather(errors.Unwrap(err))
	}
	return out
}

// ordered sorts by file (in the order they were read), line and column, and drops repetitions:
// a fault under defaults is found once for every objective that takes it.
func (f Faults) ordered(files []string) Faults {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(
			cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
	seen := map[Fault]bool{}
	return slices.DeleteFunc(f, func(fault Fault) bool {
		again := seen[fault]
		seen[fault] = true
		return again
	})
}
