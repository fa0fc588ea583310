package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// options are what a source or sink says for itself: fields that only its own room knows.
type options struct {
	doc   *document
	entry value // the whole entry
	own   *yaml.Node
}

// newOptions keeps an entry without the fields that every source or sink has.
func newOptions(entry value, common []string) options {
	own := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: entry.node.Line, Column: entry.node.Column}
	for i := 0; i+1 < len(entry.node.Content); i += 2 {
		if key := entry.node.Content[i]; !contains(common, key.Value) {
			own.Content = append(own.Content, key, entry.node.Content[i+1])
		}
	}
	return options{doc: entry.doc, entry: entry, own: own}
}

// Decode reads the entry's own fields into a struct with yaml tags, as strictly as the rest of
// the configuration: unknown fields and wrong types are Faults with their places. Durations are
// read as Prometheus writes them (30d), whole numbers also as 5e6. Values that into already holds
// are the defaults.
//
// If into has a method SetDirectory(dir string), it is told the folder of the configuration: relative
// names of files start there, wherever the process was started.
//
// If into has a method Validate() error, it is asked last. An error whose text begins with the
// path of a field ("limits.backfill: is longer than a year") is reported at that field. It is not
// asked about an entry from which a secret was taken, as its lack was reported already.
func (o options) Decode(into any) error {
	var faults Faults
	doc := *o.doc
	doc.faults = &faults
	v := o.entry
	v.doc = &doc
	v.node = copyNode(o.own)

	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("configuration: cannot decode into %T", into)
	}
	v.fits(target.Type().Elem())
	if len(faults) == 0 {
		if err := v.node.Decode(into); err != nil {
			v.rejected(err)
		}
	}
	if placed, ok := into.(interface{ SetDirectory(dir string) }); ok {
		placed.SetDirectory(filepath.Dir(doc.file))
	}
	if checked, ok := into.(interface{ Validate() error }); ok && len(faults) == 0 && !doc.secrets[v.path] {
		if err := checked.Validate(); err != nil {
			v.refused(err)
		}
	}
	return faults.ordered([]string{doc.file}).err()
}

// Has reports whether the entry has this field of its own.
func (o options) Has(field string) bool { return lookup(o.own, field) != nil }

// Fault is a fault of one of the entry's own fields; of the entry itself where it has no such field,
// or where field is "".
func (o options) Fault(field, problem, remedy string) Fault {
	v, faults := o.reporting()
	v.find(field).fault(problem, remedy)
	return (*faults)[0]
}

// Faults places what the entry's room says when it is made. Joined errors are faults of their own.
// One whose text begins with the path of a field ("targets[1]: is listed twice") is a fault of that
// field, any other one of the entry.
func (o options) Faults(err error) Faults {
	if err == nil {
		return nil
	}
	v, faults := o.reporting()
	v.refused(err)
	return faults.ordered([]string{v.doc.file})
}

// reporting is the entry's own fields, and where their faults go.
func (o options) reporting() (value, *Faults) {
	faults := new(Faults)
	doc := *o.doc
	doc.faults = faults
	v := o.entry
	v.doc = &doc
	v.node = o.own
	return v, faults
}

// find is the value at a path below v; v itself for "", and at its place where it is not written.
func (v value) find(path string) value {
	if path == "" {
		return v
	}
	found := v
	for _, step := range strings.Split(path, ".") {
		name, index, _ := strings.Cut(step, "[")
		node := lookup(found.node, name)
		if node == nil {
			if found.path == v.path {
				return v.at(path)
			}
			return found
		}
		found = found.child(name, node)
		if i, err := strconv.Atoi(strings.TrimSuffix(index, "]")); err == nil && found.node.Kind == yaml.SequenceNode && i < len(found.node.Content) && i >= 0 {
			found = found.item(i, found.node.Content[i])
		}
	}
	return found
}

var typeErrorLine = regexp.MustCompile(`^line (\d+): (.*)$`)

// rejected turns what the YAML reader says of a value into faults.
func (v value) rejected(err error) {
	var texts []string
	if e, ok := err.(*yaml.TypeError); ok { //nolint:errorlint // never wrapped
		texts = e.Errors
	} else {
		texts = []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	for _, text := range texts {
		place := v
		if m := typeErrorLine.FindStringSubmatch(text); m != nil {
			line, _ := strconv.Atoi(m[1])
			place.node, text = &yaml.Node{Line: line}, m[2]
		}
		place.fault(text, "")
	}
}

// refused turns what a Validate method says into faults.
func (v value) refused(err error) {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range list.Unwrap() {
			v.refused(e)
		}
		return
	}
	text := err.Error()
	path, rest, cut := strings.Cut(text, ": ")
	first, _, _ := strings.Cut(path, ".")
	first, _, _ = strings.Cut(first, "[")
	if cut && labelName.MatchString(first) {
		v.find(path).fault(rest, "")
		return
	}
	v.fault(text, "")
}

var (
	durationType     = reflect.TypeFor[time.Duration]()
	promDurationType = reflect.TypeFor[model.Duration]()
	nodeType         = reflect.TypeFor[yaml.Node]()
)

// fits checks a value against the Go type it is going to be decoded into. Types that read
// themselves are only checked where they are structs with tags: the rest is left to them.
func (v value) fits(t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	n := v.node
	switch {
	case t == durationType:
		if d, ok := v.length(); ok {
			n.Value, n.Tag, n.Style = d.String(), "!!str", 0
		}
		return
	case t == promDurationType:
		v.length()
		return
	case t == nodeType:
		return
	case readsItself(t) && (n.Kind != yaml.MappingNode || t.Kind() != reflect.Struct):
		// Tried here, because what it says then has a place.
		if err := n.Decode(reflect.New(t).Interface()); err != nil {
			v.fault(withoutLine(err), "")
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		v.fitsStruct(t)
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			v.fault(v.shape(), "write it as fields with values")
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			v.child(n.Content[i].Value, n.Content[i+1]).fits(t.Elem())
		}
	case reflect.Slice, reflect.Array:
		if n.Kind != yaml.SequenceNode {
			v.fault(v.shape(), "write it as a list")
			return
		}
		for i, item := range n.Content {
			v.item(i, item).fits(t.Elem())
		}
	case reflect.String:
		if s, ok := v.plain(); ok {
			n.Value, n.Tag = s, "!!str"
		}
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			v.fault(v.shape(), "write true or false")
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if f, ok := v.amount(); ok {
			if f > 1e15 || f != float64(int64(f)) {
				v.fault(v.quoted()+" is not a whole number", "write it like 100")
				return
			}
			n.Value, n.Tag, n.Style = strconv.FormatInt(int64(f), 10), "!!int", 0
		}
	case reflect.Float32, reflect.Float64:
		if f, ok := v.number(); ok {
			n.Value, n.Tag, n.Style = strconv.FormatFloat(f, 'g', -1, 64), "!!float", 0
		}
	}
}

// readsItself finds the methods that the YAML reader asks, UnmarshalYAML in its older form too.
func readsItself(t reflect.Type) bool {
	for _, method := range []string{"UnmarshalYAML", "UnmarshalText"} {
		if _, yes := reflect.PointerTo(t).MethodByName(method); yes {
			return true
		}
	}
	return false
}

// withoutLine is what the YAML reader says of one value, without its place.
func withoutLine(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n  ")
	text = strings.TrimPrefix(text, "yaml: ")
	if m := typeErrorLine.FindStringSubmatch(text); m != nil {
		text = m[2]
	}
	return text
}

// fitsStruct checks the fields of a mapping against those of a struct.
func (v value) fitsStruct(t reflect.Type) {
	known, open := structFields(t)
	if len(known) == 0 && open == nil {
		return // it has no tags: it reads itself
	}
	if v.node.Kind != yaml.MappingNode {
		v.fault(v.shape(), "write it as fields: "+strings.Join(publicKeys(known), ", "))
		return
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, node := v.node.Content[i], v.node.Content[i+1]
		field, ok := known[key.Value]
		if !ok {
			field, ok = open, open != nil
		}
		if !ok {
			value{v.doc, key, v.path, v.name}.fault(fmt.Sprintf("unknown field %q", key.Value), didYouMean(key.Value, publicKeys(known)))
			continue
		}
		v.child(key.Value, node).fits(field)
	}
}

// structFields are the fields of a struct by their names in YAML, those of inlined structs among
// them; open is the type of all others where a map is inlined.
func structFields(t reflect.Type) (known map[string]reflect.Type, open reflect.Type) {
	known = map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, flags, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if slices.Contains(strings.Split(flags, ","), "inline") {
			inner := f.Type
			for inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Map {
				open = inner.Elem()
				continue
			}
			more, also := structFields(inner)
			for k, v := range more {
				known[k] = v
			}
			if also != nil {
				open = also
			}
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		known[name] = f.Type
	}
	return known, open
}

// publicKeys are the fields to propose: none that would hold a secret.
func publicKeys(known map[string]reflect.Type) []string {
	return slices.DeleteFunc(sortedKeys(known), func(key string) bool { return secretFields[key] != "" })
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// copyNode copies a tree, so that checking a value never changes what was read.
func copyNode(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, inner := range n.Content {
		c.Content[i] = copyNode(inner)
	}
	return &c
}
