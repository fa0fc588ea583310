package rightsizing

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/yoyu-sre/yoyu/slo"
)

// Operation is one step of a JSON patch (RFC 6902).
type Operation struct {
	Op    string          `json:"op"` // test, add, replace
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

// Patch is the next change of the workload's template: what grows as far as it should, what shrinks
// by its next step. Tests of what is there now come first, so that a patch which has become stale
// is refused whole instead of changing another container. Nil when the template needs no change.
//
// Containers that the template does not hold are left to whoever adds them, and what a budget blocks
// is left out.
func (w *Workload) Patch() ([]Operation, error) {
	template := w.template()
	if template == nil {
		return nil, nil
	}
	var guards, changes []Operation
	for i := range w.Containers {
		c := &w.Containers[i]
		if c.Place != Main {
			continue
		}
		g, ch, err := c.patch(w.Gate != Blocked, append(template[:len(template):len(template)], strconv.Itoa(c.Index)))
		if err != nil {
			return nil, fmt.Errorf("container %s: resources: %w", c.Name, err)
		}
		guards, changes = append(guards, g...), append(changes, ch...)
	}
	if len(changes) == 0 {
		return nil, nil
	}
	return append(guards, changes...), nil
}

// template is where the containers are listed; nil where they cannot be changed, as in a Job: whoever
// makes the next one has to.
func (w *Workload) template() []string {
	switch w.Kind {
	case "Job":
		return nil
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template", "spec", "containers"}
	}
	return []string{"spec", "template", "spec", "containers"}
}

func (c *Container) patch(shrink bool, at []string) (guards, changes []Operation, err error) {
	raw := c.Raw
	if raw == "" {
		raw = "{}" // as an API server shows a container without any
	}
	var parts struct{ Requests, Limits map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(raw), &parts); err != nil {
		return nil, nil, err
	}
	have := map[string]map[string]json.RawMessage{"requests": parts.Requests, "limits": parts.Limits}
	path := func(more ...string) string { return pointer(append(at[:len(at):len(at)], more...)...) }
	whole := false // what is there has been tested as a whole
	for _, list := range []string{"requests", "limits"} {
		fresh := map[string]string{}
		for _, name := range both {
			want := c.next(name, list)
			if want == "" || name.of(c).Verdict == Shrink && !shrink {
				continue
			}
			text, err := json.Marshal(want)
			if err != nil {
				return nil, nil, err
			}
			now, present := have[list][string(name)]
			switch {
			case present:
				guards = append(guards, Operation{"test", path("resources", list, string(name)), now})
				changes = append(changes, Operation{"replace", path("resources", list, string(name)), text})
			case have[list] != nil:
				// Nothing tests that a field is missing but the whole that it would be in.
				whole = true
				changes = append(changes, Operation{"add", path("resources", list, string(name)), text})
			default:
				fresh[string(name)] = want
			}
		}
		if len(fresh) > 0 {
			whole = true
			text, err := json.Marshal(fresh)
			if err != nil {
				return nil, nil, err
			}
			changes = append(changes, Operation{"add", path("resources", list), text})
		}
	}
	if len(changes) == 0 {
		return nil, nil, nil
	}
	if whole {
		guards = append([]Operation{{"test", path("resources"), json.RawMessage(raw)}}, guards...)
	}
	name, err := json.Marshal(c.Name)
	if err != nil {
		return nil, nil, err
	}
	return append([]Operation{{"test", path("name"), name}}, guards...), changes, nil
}

// next is the quantity that a resource is to have after the next change; "" when it stays.
func (c *Container) next(name resourceName, list string) string {
	r := name.of(c)
	if r.Verdict != Raise && r.Verdict != Shrink {
		return ""
	}
	was, will := r.Request, r.Step
	if list == "limits" {
		was, will = r.Limit, r.ProposedLimit
		if r.Limit == r.Request && r.ProposedLimit == r.Proposed {
			will = r.Step // they go together, step by step
		} else if will.Defined && r.Verdict == Shrink {
			will = slo.Defined(max(will.Float, r.Step.Float))
		}
	} else if r.Defaulted {
		was = slo.Value{}
	}
	if !will.Defined || will == was {
		return ""
	}
	return Quantity(string(name), will.Float)
}

// Quantity prints an amount of a resource as an API server would: 590m and 2 cores, 592Mi and 2Gi.
func Quantity(resource string, amount float64) string {
	if resource == string(cpu) {
		milli := int64(math.Ceil(amount*1000 - 1e-6))
		if milli%1000 == 0 {
			return strconv.FormatInt(milli/1000, 10)
		}
		return strconv.FormatInt(milli, 10) + "m"
	}
	bytes := int64(math.Ceil(amount))
	for _, unit := range []struct {
		name  string
		bytes int64
	}{{"Ti", 1 << 40}, {"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10}} {
		if bytes != 0 && bytes%unit.bytes == 0 {
			return strconv.FormatInt(bytes/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(bytes, 10)
}

// pointer is a JSON pointer (RFC 6901).
func pointer(parts ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var out strings.Builder
	for _, part := range parts {
		out.WriteByte('/')
		out.WriteString(escape.Replace(part))
	}
	return out.String()
}

// Command is a shell's line that applies a patch of the workload with kubectl.
func (w *Workload) Command(patch []Operation) (string, error) {
	return command(strings.ToLower(w.Kind), w.Name, w.Namespace, patch)
}

// PolicyCommand is likewise for a patch of its VPA.
func (w *Workload) PolicyCommand(patch []Operation) (string, error) {
	return command("verticalpodautoscaler", w.VPA, w.Namespace, patch)
}

func command(kind, name, namespace string, patch []Operation) (string, error) {
	text, err := json.Marshal(patch)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("kubectl patch %s %s --namespace %s --type json --patch %s",
		quote(kind), quote(name), quote(namespace), quote(string(text))), nil
}

// quote makes one word of a shell's line.
func quote(text string) string {
	plain := text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/") == ""
	if plain {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
