package main

import (
	"os"
	"strings"
	"testing"
)

// testdata/run.txt is written by hand in the words of go test -bench: medians are in the middle,
// whatever their order; a ratio of two benchmarks is of their medians; lines that are no benchmark
// are passed over.
func TestTable(t *testing.T) {
	f, err := os.Open("testdata/run.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := read(f)
	if err != nil {
		t.Fatal(err)
	}
	got := string(render(judge([]bar{
		{what: "a bound", against: "nothing", of: figure{"Tick/slos=100000", "ns/slo"}, most: 40, unit: " ns"},
		{what: "a bound that is missed", against: "nothing", of: figure{"Tick/slos=100000", "ns/op"}, most: 3, scale: 1e6, unit: " ms"},
		{what: "no allocations", against: "nothing", of: figure{"Tick/slos=100000", "allocs/op"}, atMost0: true},
		{what: "a ratio in one benchmark", against: "theirs", of: figure{"Ratio", "x-plain"}, least: 50, unit: "× less"},
		{what: "a ratio of two", against: "few", of: figure{"Tick/slos=1000000", "ns/slo"}, over: figure{"Tick/slos=10000", "ns/slo"}, most: 1.5, unit: "×"},
		{what: "a ratio between", against: "few", of: figure{"Tick/slos=1000000", "ns/slo"}, over: figure{"Tick/slos=10000", "ns/slo"}, most: 1.1, least: 0.9, unit: "×"},
		{what: "half a ratio", against: "nothing", of: figure{"Tick/slos=1000000", "ns/slo"}, over: figure{"Nowhere", "ns/slo"}, most: 1.5, unit: "×"},
		{what: "of an absent one", against: "nothing", of: figure{"Absent", "s"}, most: 3, unit: " s"},
	}, s), s, "go1.26.0", 2))
	for _, want := range []string{
		"On: AMD EPYC 9R14, 2 cores (GOMAXPROCS 2), linux/amd64, go1.26.0.\n",
		"| a bound | 31 ns | 3 | ≤ 40 ns | yes | nothing |\n",
		"| a bound that is missed | 3.1 ms | 3 | ≤ 3 ms | no | nothing |\n",
		"| no allocations | 0 | 3 | 0 | yes | nothing |\n",
		"| a ratio in one benchmark | 91.5× less | 2 | ≥ 50× less | yes | theirs |\n",
		"| a ratio of two | 1.2× | 1 | ≤ 1.5× | yes | few |\n",
		"| a ratio between | 1.2× | 1 | 0.9 to 1.1× | no | few |\n",
		"| half a ratio | – | – | ≤ 1.5× | not measured | nothing |\n",
		"| of an absent one | – | – | ≤ 3 s | not measured | nothing |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks\n%sit is\n%s", want, got)
		}
	}
}

func TestNoBenchmarks(t *testing.T) {
	if _, err := read(strings.NewReader("ok  \tgithub.com/yoyu-sre/yoyu/slo\t0.1s\n")); err == nil {
		t.Error("nothing is measured, and that is no error")
	}
}

// Every bar has a bound, and is said once.
func TestBars(t *testing.T) {
	named := map[string]bool{}
	for _, b := range bars {
		if b.most == 0 && b.least == 0 && !b.atMost0 {
			t.Errorf("%s has no bound", b.what)
		}
		if named[b.what] || b.what == "" || b.against == "" || b.of.bench == "" || b.of.unit == "" {
			t.Errorf("%q is said twice or says too little", b.what)
		}
		named[b.what] = true
	}
}
