package provision

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// differences are what of ours is not so in theirs, a line each. What they have beside it does not
// count. Datadog writes some things otherwise than they were sent: numbers with a point, text
// without the spaces at its end, tags in any order, one type of monitor for another; and drops what
// is empty.
func differences(ours, theirs map[string]any) []string {
	var out []string
	compare("", plain(ours), plain(theirs), &out)
	return out
}

// plain is a value as it looks after a way through JSON.
func plain(v any) any {
	encoded, err := json.Marshal(v)
	if err != nil {
		return v // numbers that JSON has not; nobody makes them here
	}
	in := json.NewDecoder(bytes.NewReader(encoded))
	in.UseNumber()
	var out any
	if in.Decode(&out) != nil {
		return v
	}
	return out
}

func compare(path string, ours, theirs any, out *[]string) {
	differ := func() { *out = append(*out, fmt.Sprintf("%s: is %s, want %s", path, show(theirs), show(ours))) }
	switch a := ours.(type) {
	case map[string]any:
		b, ok := theirs.(map[string]any)
		if !ok {
			if len(a) > 0 || theirs != nil {
				differ()
			}
			return
		}
		for _, key := range slices.Sorted(maps.Keys(a)) {
			at := key
			if path != "" {
				at = path + "." + key
			}
			compare(at, a[key], b[key], out)
		}
	case []any:
		b, ok := theirs.([]any)
		switch {
		case !ok && len(a) == 0 && theirs == nil:
		case !ok:
			differ()
		case strings.HasSuffix(path, "tags"):
			for _, tag := range a {
				if !slices.Contains(b, tag) {
					differ()
					return
				}
			}
		case len(a) != len(b):
			*out = append(*out, fmt.Sprintf("%s: has %d entries, want %d", path, len(b), len(a)))
		default:
			for i := range a {
				compare(fmt.Sprintf("%s[%d]", path, i), a[i], b[i], out)
			}
		}
	case json.Number:
		b, ok := theirs.(json.Number)
		x, errX := a.Float64()
		y, errY := b.Float64()
		if !ok || errX != nil || errY != nil || x != y {
			differ()
		}
	case string:
		b, ok := theirs.(string)
		if strings.TrimSpace(a) == "" && theirs == nil {
			return
		}
		if !ok || strings.TrimSpace(a) != strings.TrimSpace(b) && (path != "type" || alike(a) != alike(b)) {
			differ()
		}
	default:
		if ours != theirs {
			differ()
		}
	}
}

// alike is one name for the two types of monitors that Datadog turns into each other.
func alike(kind string) string {
	if kind == "metric alert" {
		return "query alert"
	}
	return kind
}

// show is a value in a line of a plan.
func show(v any) string {
	if v == nil {
		return "absent"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if r := []rune(string(text)); len(r) > 120 {
		return string(r[:119]) + "…"
	}
	return string(text)
}

// merged is what is written over an object: ours, with what a person may have added that a write
// would take away. Tags stay, and so does that a monitor is muted.
func merged(o Object, theirs map[string]any) map[string]any {
	out := maps.Clone(o.Body)
	if o.Kind == Dashboard || o.Kind == Correction { // they have no tags
		return out
	}
	tags, _ := plain(o.Body["tags"]).([]any) // ours always are a list
	more, _ := theirs["tags"].([]any)        // none has none
	for _, tag := range more {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	out["tags"] = tags
	ours, _ := o.Body["options"].(map[string]any) // SLOs have none
	have, _ := theirs["options"].(map[string]any) // nor have theirs
	muted, _ := have["silenced"].(map[string]any) // or nobody muted it
	if ours != nil && len(muted) > 0 {
		options := maps.Clone(ours)
		options["silenced"] = muted
		out["options"] = options
	}
	return out
}
