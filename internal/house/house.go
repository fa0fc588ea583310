// Package house keeps the plan of the building: which room is on which floor, which arrows between
// them may be drawn, and where no clock hangs.
//
//	floor 4   main, internal/app                       settings into parts
//	floor 3   internal/config  internal/backtest       YAML into plain values; recorded time
//	floor 2   internal/pipeline  internal/web          the loop, the page
//	floor 1   sources/…  sinks/…  internal/specs …     one room for each outside system or format
//	floor 0   slo  internal/increments  internal/rightsizing      arithmetic: the standard library alone
//
// Imports go down. On floor 1 a room knows its own parent, internal/selectors, internal/redact and, for those
// who ask Datadog, internal/datadogapi, and no other room of the floor. Floor 0 does no I/O, starts
// no goroutine and reads no clock. It is a test's package: what it promises is that its faults name
// the file, the line and the rule.
package house

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the path that all rooms begin with.
const Module = "github.com/yoyu-sre/yoyu"

// Fault is a place where the house is not as planned.
type Fault struct {
	File string // from the root of the module, with slashes
	Line int
	What string
}

func (f Fault) String() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.What) }

// outside is the floor of what looks at the house from the street: end-to-end suites, checks of
// what is deployed. It may import everything and nothing may import it.
const outside = 5

// floors says where a room is. A folder below a room belongs to it; those directly below sources
// and sinks are rooms of their own.
var floors = map[string]int{
	"test":   outside,
	"deploy": outside,

	".":            4,
	"internal/app": 4,

	"internal/backtest": 3,
	"internal/config":   3,

	"internal/pipeline": 2,
	"internal/web":      2,

	"sources":             1,
	"sinks":               1,
	"internal/dashboards": 1,
	"internal/datadogapi": 1,
	"internal/demo":       1,
	"internal/provision":  1,
	"internal/redact":     1,
	"internal/rules":      1,
	"internal/selectors":  1,
	"internal/specs":      1,
	"internal/store":      1,

	"internal/increments":  0,
	"internal/rightsizing": 0,
	"slo":                  0,
}

// shared are the rooms of floor 1 that all others of that floor may know.
var shared = []string{"internal/datadogapi", "internal/redact", "internal/selectors"}

// adopted are rooms whose parent is not the folder that they lie in: selectors read what
// sources.Indicator holds, on behalf of every source, and rules write the same as PromQL; dashboards
// draw and monitors watch what sinks.Families names.
var adopted = map[string]string{
	"internal/selectors": "sources", "internal/rules": "sources",
	"internal/dashboards": "sinks", "internal/provision": "sinks",
}

// kits are packages for tests. Only tests may import them, from any floor, and programs that stand
// outside.
var kits = []string{
	"internal/house", "internal/kubetest", "internal/promtest", "internal/realtest",
	"sinks/sinktest", "test/cloudwatch", "test/datadog", "test/datadog/recorded",
}

// still are the rooms below the loop: time reaches them as an argument. The parents of floor 1
// stand for themselves here, not for their children.
var still = []string{
	"slo", "internal/increments", "internal/rightsizing",
	"sources", "sinks", "internal/selectors", "internal/rules", "internal/dashboards", "sources/recorded",
}

// clock is what reads the time or waits for it.
var clock = []string{"Now", "Since", "Until", "Sleep", "Tick", "NewTicker", "NewTimer", "After", "AfterFunc"}

// heavy are the modules that take minutes to compile: they stay in the leaf rooms.
var heavy = []string{"github.com/DataDog/", "github.com/aws/", "k8s.io/", "sigs.k8s.io/"}

// input are the packages of the standard library that reach out of the process.
var input = []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall"}

// Inspect walks the module below root and returns its faults in the order of files and lines. An
// error means that it could not look, not that it found something.
func Inspect(root fs.FS) ([]Fault, error) {
	var faults []Fault
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if name == "." {
				return nil
			}
			base := entry.Name()
			_, nested := fs.Stat(root, path.Join(name, "go.mod"))
			if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' || nested == nil {
				return fs.SkipDir
			}
			return nil
		case path.Ext(name) != ".go":
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		found, err := inspect(name, text)
		faults = append(faults, found...)
		return err
	})
	return faults, err
}

// file is one source file on its way through the rules.
type file struct {
	name   string
	dir    string // of its package
	room   string // "" when the plan has none
	floor  int
	test   bool // a test's file, or one of a kit
	set    *token.FileSet
	syntax *ast.File
	faults []Fault
}

func inspect(name string, text []byte) ([]Fault, error) {
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &file{name: name, dir: path.Dir(name), set: set, syntax: syntax}
	f.room, f.floor = roomOf(f.dir)
	f.test = strings.HasSuffix(name, "_test.go") || isKit(f.dir)

	if f.room == "" && !isKit(f.dir) {
		f.fault(syntax.Package, "%s is on no floor: give it one in internal/house", f.dir)
		return f.faults, nil
	}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if within, ok := inModule(imported); ok {
			f.arrow(spec, within)
		} else {
			f.foreign(spec, imported)
		}
	}
	f.time()
	f.goroutines()
	slices.SortStableFunc(f.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return f.faults, nil
}

// arrow judges an import of one package of the module by another.
func (f *file) arrow(spec *ast.ImportSpec, dir string) {
	if isKit(dir) {
		if !f.test && f.floor != outside {
			f.fault(spec.Pos(), "%s is for tests, and this is none", dir)
		}
		return
	}
	if isKit(f.dir) {
		return
	}
	room, floor := roomOf(dir)
	switch {
	case room == f.room:
	case room == "":
		f.fault(spec.Pos(), "%s is on no floor: give it one in internal/house", dir)
	case floor > f.floor:
		f.fault(spec.Pos(), "%s (floor %d) imports %s (floor %d): arrows run down", f.room, f.floor, room, floor)
	case floor < f.floor, floor == 0, f.room == ".":
	case floor == 1 && (room == path.Dir(f.room) || room == adopted[f.room] || slices.Contains(shared, room)):
	default:
		f.fault(spec.Pos(), "%s imports %s, both on floor %d: such rooms do not know each other", f.room, room, floor)
	}
}

// foreign judges an import from outside the module.
func (f *file) foreign(spec *ast.ImportSpec, imported string) {
	first, _, _ := strings.Cut(imported, "/")
	standard := !strings.Contains(first, ".")
	for _, prefix := range heavy {
		if strings.HasPrefix(imported, prefix) && !isLeaf(f.room) && f.floor != outside {
			f.fault(spec.Pos(), "%s imports %s: heavy modules stay in leaf rooms (sources/…, sinks/…, internal/provision)", f.place(), imported)
		}
	}
	if f.floor != 0 || f.test {
		return
	}
	switch {
	case !standard:
		f.fault(spec.Pos(), "%s (floor 0) imports %s: floor 0 needs the standard library alone", f.room, imported)
	case slices.Contains(input, imported):
		f.fault(spec.Pos(), "%s (floor 0) imports %s: floor 0 does no I/O", f.room, imported)
	}
}

// time finds clocks below the loop, and sleeping tests.
func (f *file) time() {
	name := ""
	for _, spec := range f.syntax.Imports {
		if spec.Path.Value != `"time"` {
			continue
		}
		name = "time"
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "." {
			f.fault(spec.Pos(), `time is imported as ".": nobody sees who reads the clock`)
		}
	}
	if name == "" {
		return
	}
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if from, ok := selector.X.(*ast.Ident); !ok || from.Name != name {
			return true
		}
		switch what := selector.Sel.Name; {
		case f.test && what == "Sleep":
			f.fault(selector.Pos(), "time.Sleep in a test: wait for a condition, with a deadline")
		case !f.test && slices.Contains(clock, what) && slices.Contains(still, f.room):
			f.fault(selector.Pos(), "time.%s in %s: below the loop time is an argument", what, f.room)
		}
		return true
	})
}

// goroutines finds them where there are to be none.
func (f *file) goroutines() {
	if f.floor != 0 || f.test {
		return
	}
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		if statement, ok := node.(*ast.GoStmt); ok {
			f.fault(statement.Pos(), "%s (floor 0) starts a goroutine", f.room)
		}
		return true
	})
}

func (f *file) fault(at token.Pos, format string, arguments ...any) {
	f.faults = append(f.faults, Fault{f.name, f.set.Position(at).Line, fmt.Sprintf(format, arguments...)})
}

// place is how a message calls the file's package.
func (f *file) place() string { return cmp.Or(f.room, f.dir) }

// roomOf is the room that a package belongs to, and its floor; "" when the plan has none.
func roomOf(dir string) (room string, floor int) {
	parts := strings.Split(dir, "/")
	if parts[0] == "sources" || parts[0] == "sinks" {
		return path.Join(parts[:min(2, len(parts))]...), 1
	}
	for ; ; dir = path.Dir(dir) {
		if floor, ok := floors[dir]; ok && (dir != "." || len(parts) == 1 && parts[0] == ".") {
			return dir, floor
		}
		if dir == "." {
			return "", outside
		}
	}
}

// isLeaf says whether heavy modules are at home in a room.
func isLeaf(room string) bool {
	parent := path.Dir(room)
	return parent == "sources" || parent == "sinks" || room == "internal/provision" || room == "internal/datadogapi"
}

func isKit(dir string) bool { return slices.Contains(kits, dir) }

// inModule is the folder of a package of this module; false when it is not one.
func inModule(imported string) (dir string, ok bool) {
	if imported == Module {
		return ".", true
	}
	return strings.CutPrefix(imported, Module+"/")
}
