package dashboards

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/sinks"
)

type datadogBoard struct {
	Title       string
	Description string
	LayoutType  string                          `json:"layout_type"`
	Variables   []struct{ Name, Prefix string } `json:"template_variables"`
	Widgets     []struct {
		Definition struct {
			Type, Title, Content string
			Requests             []struct {
				ResponseFormat string                         `json:"response_format"`
				Queries        []struct{ Name, Query string } `json:"queries"`
				Formulas       []struct{ Formula string }     `json:"formulas"`
			}
		}
	}
}

func readDatadog(t *testing.T, o Options) map[string]datadogBoard {
	t.Helper()
	files, err := Datadog(o)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]datadogBoard{}
	for _, f := range files {
		var b datadogBoard
		if err := json.Unmarshal(f.JSON, &b); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		out[f.Name] = b
	}
	return out
}

var (
	datadogQuery    = regexp.MustCompile(`^(?:min|max|sum):([a-z_.0-9]+)\{([^}]*)\}(?: by \{([a-z_,]+)\})?$`)
	datadogVariable = regexp.MustCompile(`\$(\w+)`)
)

// tagKeys are the tags that the sink gives the series of a family, beside those of groups.
func tagKeys(f *sinks.Family) []string {
	out := append([]string{"env", "service", "team"}, f.Labels...)
	if f.Scope == sinks.PerContainer {
		return append(out, "kube_namespace", "kube_container_name")
	}
	return append(out, "slo")
}

// Every query names a family that is sent by tags that it has, every formula a query, every
// variable one of the dashboard's own; and a family that is not sent has no widget.
func TestDatadogQueries(t *testing.T) {
	families := map[string]*sinks.Family{}
	for _, f := range sinks.Families {
		families[f.Dotted()] = f
	}
	every := sinks.Families
	for name, sent := range map[string][]*sinks.Family{"minimal": {sinks.SLORemainingRatio, sinks.SLOAlertBurnRatio}, "standard": datadogStandard, "full": every} {
		queries := 0
		for file, b := range readDatadog(t, Options{Sent: sent}) {
			if b.LayoutType != "ordered" || b.Title == "" || b.Description == "" {
				t.Errorf("%s: %q, %q, %q", file, b.LayoutType, b.Title, b.Description)
			}
			for _, w := range b.Widgets {
				for _, r := range w.Definition.Requests {
					var names []string
					for _, q := range r.Queries {
						queries++
						names = append(names, q.Name)
						m := datadogQuery.FindStringSubmatch(q.Query)
						if m == nil || families[m[1]] == nil {
							t.Errorf("%s: %s: %s is no query over what yoyu publishes", file, w.Definition.Title, q.Query)
							continue
						}
						f := families[m[1]]
						if !slices.Contains(sent, f) {
							t.Errorf("%s of %s: %s asks for what is not sent", file, name, w.Definition.Title)
						}
						for _, tag := range strings.Split(m[2]+","+m[3], ",") {
							key, _, _ := strings.Cut(strings.TrimPrefix(tag, "$"), ":")
							if key != "" && !slices.Contains(tagKeys(f), key) {
								t.Errorf("%s: %s: %s has no tag %s", file, w.Definition.Title, m[1], key)
							}
						}
						for _, v := range datadogVariable.FindAllStringSubmatch(q.Query, -1) {
							if !slices.ContainsFunc(b.Variables, func(own struct{ Name, Prefix string }) bool { return own.Name == v[1] }) {
								t.Errorf("%s: %s: no variable %s", file, w.Definition.Title, v[1])
							}
						}
					}
					for _, f := range r.Formulas {
						if !slices.Contains(names, strings.Fields(f.Formula)[0]) {
							t.Errorf("%s: %s: %s is about none of %v", file, w.Definition.Title, f.Formula, names)
						}
					}
					if r.ResponseFormat != "scalar" && r.ResponseFormat != "timeseries" || len(r.Formulas) == 0 {
						t.Errorf("%s: %s: %+v", file, w.Definition.Title, r)
					}
				}
			}
		}
		if least := map[string]int{"minimal": 7, "standard": 16, "full": 20}[name]; queries < least {
			t.Errorf("%s: %d queries, want at least %d", name, queries, least)
		}
	}
}

// The way to the numbers behind a dashboard begins with the address that was given.
func TestDatadogLinks(t *testing.T) {
	for _, c := range []struct{ given, want string }{{"", "http://localhost:9912/"}, {"https://yoyu.example/room", "https://yoyu.example/room/"}} {
		for file, b := range readDatadog(t, Options{ExternalURL: c.given}) {
			if note := b.Widgets[0].Definition; note.Type != "note" || !strings.Contains(note.Content, c.want) {
				t.Errorf("%s: %+v does not lead to %s", file, note, c.want)
			}
		}
	}
}
