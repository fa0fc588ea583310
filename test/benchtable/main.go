// Command benchtable turns what go test -bench printed into the table of docs/benchmarks.md: one
// row for each bar that yoyu must clear, with what was measured, on what, and against what.
//
//	go test -run '^$' -bench . -benchmem -count 5 ./... | go run ./test/benchtable
//
// A figure is the median of all runs in the input. Where there is something to compare with it is a
// ratio of two things measured in one run, so that it holds on other machines too. A bar of which
// the input says nothing is a row without a figure; -measured leaves it out. With -strict a missed
// bar, or one that was not measured, ends the command with 1.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
)

func main() {
	strict := flag.Bool("strict", false, "fail where a bar is missed or was not measured")
	measured := flag.Bool("measured", false, "leave out what was not measured")
	to := flag.String("o", "", "file to write; stdout when left out")
	flag.Parse()
	if err := run(os.Stdin, *to, *strict, *measured); err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(1)
	}
}

func run(from io.Reader, to string, strict, measured bool) error {
	seen, err := read(from)
	if err != nil {
		return err
	}
	rows := judge(bars, seen)
	if measured {
		rows = slices.DeleteFunc(rows, func(r row) bool { return r.runs == 0 })
	}
	text := render(rows, seen, runtime.Version(), runtime.NumCPU())
	if to == "" {
		_, err = os.Stdout.Write(text)
	} else {
		err = os.WriteFile(to, text, 0o644)
	}
	if err != nil || !strict {
		return err
	}
	var missed []error
	for _, r := range rows {
		if r.verdict != "yes" {
			missed = append(missed, fmt.Errorf("%s: %s: %s, must be %s", r.what, r.verdict, r.figure, r.must()))
		}
	}
	return errors.Join(missed...)
}
