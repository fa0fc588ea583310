package dashboards

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/yoyu-sre/yoyu/sinks"
)

var update = flag.Bool("update", false, "write deploy/grafana and deploy/datadog anew")

// What lies in deploy is what the command writes.
func TestKept(t *testing.T) {
	for kept, write := range map[string]func(Options) ([]File, error){"../../deploy/grafana": Grafana, "../../deploy/datadog": Datadog} {
		files, err := write(Options{})
		if err != nil {
			t.Fatal(err)
		}
		keeps(t, kept, files)
	}
}

// keeps holds a folder to the files that were written.
func keeps(t *testing.T, kept string, files []File) {
	t.Helper()
	names := map[string]bool{}
	for _, f := range files {
		names[f.Name] = true
		at := filepath.Join(kept, f.Name)
		if *update {
			if err := os.WriteFile(at, f.JSON, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(at)
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(have, f.JSON) {
			t.Errorf("%s is not what yoyu writes: go test ./internal/dashboards -update", at)
		}
	}
	found, err := filepath.Glob(filepath.Join(kept, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range found {
		if !names[filepath.Base(at)] {
			t.Errorf("%s: nobody writes it", at)
		}
	}
}

// written is the part of Grafana's JSON that the tests speak of.
type written struct {
	UID           string
	Title         string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type string
			Definition string
		}
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Datasource               struct{ UID string }
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct {
			RefID, Expr, LegendFormat string
			Datasource                struct{ UID string }
		}
	}
}

func read(t *testing.T) map[string]written {
	t.Helper()
	files, err := Grafana(Options{ExternalURL: "https://yoyu.example"})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]written{}
	for _, f := range files {
		var w written
		if err := json.Unmarshal(f.JSON, &w); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		out[f.Name] = w
		if w.UID+".json" != f.Name || w.SchemaVersion < 39 {
			t.Errorf("%s: uid %s, schema %d", f.Name, w.UID, w.SchemaVersion)
		}
	}
	return out
}

// own are yoyu's series about itself that the dashboards name; the end-to-end test asks a daemon
// for each of them. Those of a histogram are named by their base.
var own = []string{
	"yoyu_build_info", "yoyu_source_up", "yoyu_sink_up", "yoyu_store_writable", "yoyu_config_last_reload_successful",
	"yoyu_tick_duration_seconds", "yoyu_ticks_missed_total", "yoyu_source_request_duration_seconds", "yoyu_source_failures_total",
	"yoyu_source_last_success_timestamp_seconds", "yoyu_sink_request_duration_seconds", "yoyu_sink_failures_total",
	"yoyu_sink_points_dropped_total", "yoyu_sink_last_success_timestamp_seconds", "yoyu_backfill_remaining_seconds",
	"yoyu_events_clamped_total", "yoyu_series_baselined_total", "yoyu_slo_groups_folded", "yoyu_store_commit_duration_seconds",
	"yoyu_store_size_bytes", "process_resident_memory_bytes",
}

// Queries are all that the dashboards hold, in words that Prometheus understands.
func TestQueriesAreThoseOfTheFiles(t *testing.T) {
	have := map[string]int{}
	for _, q := range Queries() {
		have[q.Dashboard+".json"]++
		if strings.Contains(q.Expr, "$") {
			t.Errorf("%s, %s: a variable is left in %s", q.Dashboard, q.Panel, q.Expr)
		}
	}
	for name, d := range read(t) {
		for _, p := range d.Panels {
			have[name] -= len(p.Targets)
		}
		if have[name] != 0 {
			t.Errorf("%s: %d queries more than in the file", name, have[name])
		}
	}
}

// labelsOf are the labels that a family's series may have, beside those of a target and a group.
func labelsOf(f *sinks.Family) []string {
	out := []string{"instance", "pod", "job", "__name__"}
	workload := []string{"namespace", "workload_kind", "workload"}
	switch f.Scope {
	case sinks.PerSLO, sinks.PerGroup:
		out = append(out, "slo", "service")
	case sinks.PerWorkload:
		out = append(out, workload...)
	case sinks.PerContainer:
		out = append(append(out, workload...), "container")
	case sinks.PerCheckpoint:
		out = append(out, "namespace", "container", "vpa")
	case sinks.PerEdge:
		out = append(append(out, workload...), "service")
	default:
		out = append(append(out, workload...), "container", "vpa")
	}
	if f == sinks.SLOInfo {
		out = append(out, "team") // an SLO's own label
	}
	return append(out, f.Labels...)
}

// Every query parses, names series that exist by labels that they have, and counts no replica twice.
func TestQueries(t *testing.T) {
	families := map[string]*sinks.Family{}
	for _, f := range sinks.Families {
		families[f.Name] = f
	}
	used := map[string]bool{}
	parse := parser.NewParser(parser.Options{})
	for name, d := range read(t) {
		queries := 0
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				queries++
				expr, err := parse.ParseExpr(example.Replace(target.Expr))
				if err != nil {
					t.Errorf("%s: %s: %v in\n%s", name, p.Title, err, target.Expr)
					continue
				}
				parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
					selector, ok := node.(*parser.VectorSelector)
					if !ok {
						return nil
					}
					used[selector.Name] = true
					family := families[selector.Name]
					if family == nil {
						if base := regexp.MustCompile("_(bucket|sum|count)$").ReplaceAllString(selector.Name, ""); !slices.Contains(own, base) {
							t.Errorf("%s: %s: yoyu publishes no %s", name, p.Title, selector.Name)
						}
						return nil
					}
					for _, m := range selector.LabelMatchers {
						if !slices.Contains(labelsOf(family), m.Name) {
							t.Errorf("%s: %s: %s has no label %s", name, p.Title, selector.Name, m.Name)
						}
						if m.Type == labels.MatchEqual && m.Value == "" {
							t.Errorf("%s: %s: a matcher of nothing in %s", name, p.Title, selector)
						}
					}
					if !deduplicated(path, node) {
						t.Errorf("%s: %s: a second replica counts twice in\n%s", name, p.Title, target.Expr)
					}
					return nil
				})
			}
		}
		if queries == 0 {
			t.Errorf("%s asks nothing", name)
		}
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			parts := regexp.MustCompile(`^label_values\((.*), ([a-z]+)\)$`).FindStringSubmatch(v.Definition)
			if parts == nil {
				t.Errorf("%s: variable %s: %q", name, v.Name, v.Definition)
			} else if _, err := parse.ParseExpr(example.Replace(parts[1])); err != nil {
				t.Errorf("%s: variable %s: %v", name, v.Name, err)
			}
		}
	}
	for _, name := range own {
		if !used[name] && !used[name+"_bucket"] {
			t.Errorf("no panel names %s", name)
		}
	}
}

// deduplicated reports whether a selector stands where it does not matter how many replicas say the
// same: below a maximum or minimum that comes before any sum, or on the right of a set operator.
func deduplicated(path []parser.Node, node parser.Node) bool {
	child := node
	for i := len(path) - 1; i >= 0; i-- {
		switch above := path[i].(type) {
		case *parser.AggregateExpr:
			return above.Op == parser.MAX || above.Op == parser.MIN
		case *parser.BinaryExpr:
			if above.Op == parser.LAND && parser.Node(above.RHS) == child {
				return true
			}
		}
		child = path[i]
	}
	return false
}

// Panels lie side by side, say what they show, and have colours that can be told apart.
func TestLayout(t *testing.T) {
	ids := map[string]bool{}
	files, err := Grafana(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range read(t) {
		if ids[d.UID] {
			t.Errorf("%s: uid %s twice", name, d.UID)
		}
		ids[d.UID] = true
		taken := map[[2]int]string{}
		for i, p := range d.Panels {
			if p.ID != i+1 || p.Title == "" || !strings.HasSuffix(p.Description, ".") {
				t.Errorf("%s: panel %d (%s) says %q", name, p.ID, p.Title, p.Description)
			}
			if p.Datasource.UID != "${datasource}" {
				t.Errorf("%s: %s asks %s", name, p.Title, p.Datasource.UID)
			}
			for k, target := range p.Targets {
				if target.RefID != string(rune('A'+k)) || target.Datasource.UID != "${datasource}" {
					t.Errorf("%s: %s: target %d is %+v", name, p.Title, k, target)
				}
			}
			if p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: %s does not fit", name, p.Title)
			}
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if other, ok := taken[at]; ok {
						t.Fatalf("%s: %s lies on %s", name, p.Title, other)
					}
					taken[at] = p.Title
				}
			}
		}
		text := string(files[slices.IndexFunc(files, func(f File) bool { return f.Name == name })].JSON)
		for _, colour := range regexp.MustCompile(`"#[0-9A-Fa-f]+"|"color": "[^"]*"|"fixedColor": "[^"]*"`).FindAllString(text, -1) {
			if !slices.ContainsFunc([]string{blue, orange, vermilion, grey}, func(ours string) bool { return strings.Contains(colour, ours) }) {
				t.Errorf("%s: %s is none of the colours", name, colour)
			}
		}
		for _, link := range regexp.MustCompile(`/d/([a-z-]+)`).FindAllStringSubmatch(text, -1) {
			if !slices.ContainsFunc(files, func(f File) bool { return f.Name == link[1]+".json" }) {
				t.Errorf("%s leads to %s, which is none of them", name, link[1])
			}
		}
	}
	for _, name := range []string{"yoyu-overview.json", "yoyu-slo.json"} {
		text := string(files[slices.IndexFunc(files, func(f File) bool { return f.Name == name })].JSON)
		if !strings.Contains(text, "${yoyu}/explain?slo=$") {
			t.Errorf("%s: no way to /explain", name)
		}
	}
}

// Links begin with the address that was given, and with this machine's where none was.
func TestExternalURL(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		files, err := Grafana(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.Contains(string(file.JSON), `"query": "`+want+`"`) {
				t.Errorf("%s does not lead to %s", file.Name, want)
			}
		}
	}
	f(Options{}, "http://localhost:9912")
	f(Options{ExternalURL: "https://yoyu.example/room"}, "https://yoyu.example/room")
}

// A panel about what the vocabulary does not hold is left out, and the others close up.
func TestOnlyWhatIsPublished(t *testing.T) {
	d := &dashboard{panels: []panel{
		{kind: "stat", title: "first", width: 12, height: 4, queries: []query{{one("slo_burn_rate"), ""}}},
		{kind: "stat", title: "of nothing", width: 12, height: 4, queries: []query{{one("slo_burn_rate"), ""}, {one("slo_unheard_of"), ""}}},
		{kind: "stat", title: "last", width: 12, height: 4, queries: []query{{"yoyu_source_up", ""}}},
	}}
	panels := d.json()["panels"].([]object)
	if len(panels) != 2 || panels[1]["title"] != "last" || panels[1]["gridPos"].(object)["x"] != 12 || panels[1]["id"] != 2 {
		t.Errorf("got %v", panels)
	}
}
