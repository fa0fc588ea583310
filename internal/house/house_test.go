package house

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// The house as it stands.
func TestHouse(t *testing.T) {
	faults, err := Inspect(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults {
		t.Error(fault)
	}
}

// It looks at the real tree: a walk that finds no file finds no fault.
func TestInspectSeesThisModule(t *testing.T) {
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(module), "module "+Module+"\n") {
		t.Errorf("go.mod begins %.60q, want module %s", module, Module)
	}
	for room, floor := range map[string]int{"slo": 0, "sources": 1, "internal/pipeline": 2} {
		if _, err := os.Stat("../../" + room); err != nil {
			t.Error(err)
		}
		if _, found := roomOf(room); found != floor {
			t.Errorf("%s is on floor %d, want %d", room, found, floor)
		}
	}
}

func TestFaults(t *testing.T) {
	const up = `arrows run down`
	imports := func(packages ...string) string {
		text := "package p\n\n"
		for _, name := range packages {
			text += "import _ \"" + strings.Replace(name, "yoyu/", Module+"/", 1) + "\"\n"
		}
		return text
	}
	uses := func(expression string) string {
		return "package p\n\nimport \"time\"\n\nvar _ = " + expression + "\n"
	}

	for _, f := range []struct {
		name, file, text string
		want             string // "" is no fault; else how it begins, or what it says
	}{
		{"down from the top", "main.go", imports("yoyu/internal/app", "yoyu/slo"), ""},
		{"down by one", "internal/config/a.go", imports("yoyu/internal/pipeline"), ""},
		{"down to the ground", "internal/web/a.go", imports("yoyu/sinks", "yoyu/slo"), ""},
		{"to what is shared", "sources/datadog/a.go", imports("yoyu/internal/datadogapi", "yoyu/internal/selectors"), ""},
		{"to what was adopted by", "internal/provision/a.go", imports("yoyu/internal/datadogapi", "yoyu/sinks", "github.com/DataDog/datadog-api-client-go/v2/api/datadog"), ""},
		{"a child to its parent", "sources/scrape/a.go", imports("yoyu/sources", "yoyu/internal/increments"), ""},
		{"a grandchild to its own", "sources/scrape/parse/a.go", imports("yoyu/sources/scrape", "yoyu/sources"), ""},
		{"selectors are for all", "sources/promapi/a.go", imports("yoyu/internal/selectors"), ""},
		{"an adopted child to its parent", "internal/selectors/a.go", imports("yoyu/sources"), ""},
		{"neighbours on the ground", "internal/increments/a.go", imports("yoyu/slo"), ""},
		{"a suite outside", "test/e2e/a_test.go", imports("yoyu/internal/app", "yoyu/slo"), ""},

		{"up from the ground", "slo/a.go", imports("yoyu/sources"),
			"slo/a.go:3: slo (floor 0) imports sources (floor 1): " + up},
		{"up from a leaf", "sinks/prom/a.go", imports("time", "yoyu/internal/pipeline"),
			"sinks/prom/a.go:4: sinks/prom (floor 1) imports internal/pipeline (floor 2): " + up},
		{"up in a test", "slo/a_test.go", imports("yoyu/internal/config"), "slo (floor 0) imports internal/config (floor 3): " + up},
		{"to the very top", "internal/web/a.go", imports("yoyu/internal/app"), "imports internal/app (floor 4): " + up},
		{"out of the house", "internal/app/a.go", imports("yoyu/test/e2e"), "imports test (floor 5): " + up},
		{"sideways", "sources/promapi/a.go", imports("yoyu/sources/scrape"),
			"sources/promapi imports sources/scrape, both on floor 1: such rooms do not know each other"},
		{"an adopted child to another", "internal/selectors/a.go", imports("yoyu/sinks"), "internal/selectors imports sinks, both on floor 1"},
		{"to another's parent", "sources/promapi/a.go", imports("yoyu/sinks"), "sources/promapi imports sinks, both on floor 1"},
		{"a parent to its child", "sinks/a.go", imports("yoyu/sinks/prom"), "sinks imports sinks/prom, both on floor 1"},
		{"sideways above", "internal/web/a.go", imports("yoyu/internal/pipeline"), "both on floor 2"},
		{"a room without a floor", "internal/attic/a.go", imports(), "internal/attic/a.go:1: internal/attic is on no floor"},
		{"an import without a floor", "internal/app/a.go", imports("yoyu/cellar"), "cellar is on no floor"},

		{"the standard library", "slo/a.go", imports("math/bits", "time"), ""},
		{"a module on the ground", "internal/rightsizing/a.go", imports("gopkg.in/yaml.v3"),
			"internal/rightsizing (floor 0) imports gopkg.in/yaml.v3: floor 0 needs the standard library alone"},
		{"a module in a test of the ground", "slo/a_test.go", imports("github.com/rogpeppe/go-internal/testscript"), ""},
		{"files on the ground", "internal/increments/a.go", imports("os"), "imports os: floor 0 does no I/O"},
		{"a goroutine on the ground", "slo/a.go", "package p\n\nfunc f() {\n\tgo f()\n}\n", "slo/a.go:4: slo (floor 0) starts a goroutine"},
		{"a goroutine above", "internal/pipeline/a.go", "package p\n\nfunc f() { go f() }\n", ""},

		{"a heavy module in a leaf", "sinks/datadog/a.go", imports("github.com/DataDog/datadog-api-client-go/v2/api/datadog"), ""},
		{"a heavy module in the loop", "internal/pipeline/a.go", imports("k8s.io/client-go/rest"),
			"internal/pipeline imports k8s.io/client-go/rest: heavy modules stay in leaf rooms"},
		{"a heavy module in a parent", "sources/a.go", imports("github.com/aws/aws-sdk-go-v2/aws"), "heavy modules stay in leaf rooms"},
		{"a heavy module in a test", "slo/a_test.go", imports("k8s.io/apimachinery/pkg/api/resource"), "heavy modules stay in leaf rooms"},

		{"a clock in the loop", "internal/pipeline/a.go", uses("time.Now()"), ""},
		{"a clock in a leaf", "sources/promapi/a.go", uses("time.Now()"), ""},
		{"a clock below", "sources/recorded/a.go", uses("time.Now()"),
			"sources/recorded/a.go:5: time.Now in sources/recorded: below the loop time is an argument"},
		{"a clock that is only handed on", "slo/a.go", uses("time.Since"), "time.Since in slo"},
		{"a ticker", "internal/increments/a.go", uses("time.NewTicker(1)"), "time.NewTicker in internal/increments"},
		{"a tick", "internal/rightsizing/a.go", uses("time.Tick(1)"), "time.Tick in internal/rightsizing"},
		{"a date is no clock", "slo/a.go", uses("time.Unix(0, 0)"), ""},
		{"a clock in disguise", "slo/a.go", "package p\n\nimport t \"time\"\n\nvar _ = t.Now()\n", "time.Now in slo"},
		{"a clock without a name", "slo/a.go", "package p\n\nimport . \"time\"\n\nvar _ = Now()\n", `time is imported as "."`},
		{"another's Now", "slo/a.go", "package p\n\nvar time struct{ Now int }\nvar _ = time.Now\n", ""},
		{"a clock in a test", "slo/a_test.go", uses("time.Now()"), ""},

		{"a test that sleeps", "sources/scrape/a_test.go", "package p\n\nimport \"time\"\n\nfunc f() {\n\ttime.Sleep(1)\n}\n",
			"sources/scrape/a_test.go:6: time.Sleep in a test"},
		{"a program that sleeps", "sources/scrape/a.go", "package p\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n", ""},
		{"a test that speaks of sleeping", "slo/a_test.go", "package p\n\nconst _ = \"time.Sleep(1)\" // time.Sleep(1)\n", ""},
		{"a kit that sleeps", "internal/promtest/a.go", "package p\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n", "time.Sleep in a test"},

		{"a kit in a test", "sources/promapi/a_test.go", imports("yoyu/internal/promtest"), ""},
		{"a kit in the program", "internal/app/a.go", imports("yoyu/internal/promtest"), "internal/promtest is for tests, and this is none"},
		{"a kit knows its room", "sinks/sinktest/a.go", imports("yoyu/sinks", "yoyu/slo"), ""},

		{"another module", "tools/a.go", imports("yoyu/internal/app"), ""},
		{"test data", "slo/testdata/a.go", "no Go at all", ""},
		{"hidden", ".git/a.go", "no Go at all", ""},
	} {
		t.Run(f.name, func(t *testing.T) {
			tree := fstest.MapFS{
				"go.mod":       {Data: []byte("module " + Module)},
				"tools/go.mod": {Data: []byte("module tools")},
				"README.md":    {Data: []byte("no Go")},
				f.file:         {Data: []byte(f.text)},
			}
			faults, err := Inspect(tree)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case f.want == "" && len(faults) > 0:
				t.Errorf("faults %v, want none", faults)
			case f.want != "" && (len(faults) != 1 || !strings.Contains(faults[0].String(), f.want)):
				t.Errorf("faults %v, want one that says %q", faults, f.want)
			}
		})
	}
}

func TestInspectCannotReadWhatIsNoGo(t *testing.T) {
	if _, err := Inspect(fstest.MapFS{"slo/a.go": {Data: []byte("packag slo")}}); err == nil {
		t.Error("a file that does not parse is no fault of the house, and no success either")
	}
}
