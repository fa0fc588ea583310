package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/slo"
)

// document is one file while it is read: every fault finds its place through it.
type document struct {
	file   string
	env    func(name string) (string, bool)
	faults *Faults
	warned *Faults

	secrets map[string]bool // paths of sources and sinks from which a plain secret was taken
}

// value is one value of a file with its place.
type value struct {
	doc  *document
	node *yaml.Node
	path string // such as slos[0].objective
	name string // name of the list entry that path begins with
}

// fault reports what is wrong with the value, and what would be right.
func (v value) fault(problem, remedy string) { v.report(v.doc.faults, problem, remedy) }

// warn reports what is doubtful about the value.
func (v value) warn(problem, remedy string) { v.report(v.doc.warned, problem, remedy) }

func (v value) report(list *Faults, problem, remedy string) {
	*list = append(*list, Fault{
		File: v.doc.file, Line: v.node.Line, Column: v.node.Column,
		Field: v.path, Name: v.name,
		Problem: problem, Remedy: remedy,
		Warning: list == v.doc.warned,
	})
}

// missing reports a field that the mapping v must have.
func (v value) missing(key, remedy string) { v.at(key).fault("is missing", remedy) }

// at is the path of a field of v, at the place of v itself.
func (v value) at(key string) value {
	if v.path != "" {
		key = v.path + "." + key
	}
	return value{v.doc, v.node, key, v.name}
}

// child is a field of v.
func (v value) child(key string, node *yaml.Node) value {
	c := v.at(key)
	c.node = node
	return c
}

// item is an entry of the list v. Entries of a top-level list are called by their name.
func (v value) item(i int, node *yaml.Node) value {
	c := value{v.doc, node, fmt.Sprintf("%s[%d]", v.path, i), v.name}
	if !strings.ContainsAny(v.path, ".[") {
		if n := lookup(node, "name"); n != nil && n.Kind == yaml.ScalarNode && len(n.Value) <= 100 {
			c.name = n.Value
		}
	}
	return c
}

// lookup finds a field of a mapping node; nil when there is none.
func lookup(node *yaml.Node, key string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// parseDocument reads the one YAML document of a file; nil when a fault was reported instead.
func parseDocument(doc *document, data []byte) (root *yaml.Node) {
	place := value{doc: doc, node: &yaml.Node{Line: 1}}
	defer func() {
		// The YAML reader is known to panic on some malformed text: that too is a fault of the text.
		if r := recover(); r != nil {
			place.fault("is not YAML", "")
			root = nil
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var file, second yaml.Node
	switch err := decoder.Decode(&file); {
	case errors.Is(err, io.EOF):
		place.fault("the file is empty", "write at least sources and slos")
		return nil
	case err != nil:
		syntaxFault(place, data, err)
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		place.node = &yaml.Node{Line: second.Line}
		place.fault("a second document begins here", "a configuration is one document, remove the line \"---\"")
		return nil
	} else if !errors.Is(err, io.EOF) {
		syntaxFault(place, data, err)
		return nil
	}
	root = file.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		place.fault("the file is empty", "write at least sources and slos")
		return nil
	}
	return root
}

var errorLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)

// syntaxFault turns the YAML reader's error into a fault at the line that breaks it.
func syntaxFault(place value, data []byte, err error) {
	m := errorLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	line := 1
	if n, err := strconv.Atoi(m[1]); err == nil {
		line = n
	}
	lines := strings.SplitAfter(string(data), "\n")
	if len(lines)*len(data) < 20<<20 {
		line = breakingLine(lines)
	}
	remedy := ""
	if line <= len(lines) {
		text := lines[line-1]
		if indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]; strings.Contains(indent, "\t") {
			remedy = "the line is indented by a tab, YAML wants spaces"
		}
	}
	if strings.Contains(m[2], "expected comment or line break") {
		remedy = `put text that begins with > or | in quotes, like ">= 1"`
	}
	place.node = &yaml.Node{Line: line}
	place.fault("is not YAML, "+m[2], remedy)
}

// breakingLine is the first line that no reading gets past. The YAML reader itself names the line
// at which the broken list or mapping began, which may be pages above.
func breakingLine(lines []string) int {
	for n := len(lines) - 1; n > 0; n-- {
		if readable(strings.Join(lines[:n], "")) {
			return n + 1
		}
	}
	return 1
}

func readable(text string) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var node yaml.Node
		if err := decoder.Decode(&node); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// secretFields are fields of sources and sinks that would hold a secret in plain text, with the
// field that names a file instead.
var secretFields = map[string]string{
	"api_key":                "api_key_file",
	"app_key":                "app_key_file",
	"bearer_token":           "bearer_token_file",
	"client_certificate_key": "client_certificate_key_file",
	"client_secret":          "client_secret_file",
	"credentials":            "credentials_file",
	"key":                    "key_file",
	"password":               "password_file",
	"secret_key":             "the credential chain of the AWS SDK",
	"secrets":                "files",
	"token":                  "token_file",
}

// expandedFields are fields of sources and sinks in which ${NAME} stands for a variable of the
// environment.
var expandedFields = map[string]bool{"url": true, "urls": true, "site": true, "region": true, "tags": true}

var (
	variable = regexp.MustCompile(`\$\{([^}]*)\}?`)
	envName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	userinfo = regexp.MustCompile(`://[^/?#@\s]*@`)

	// In a field that holds an address, also without a scheme.
	address        = regexp.MustCompile(`(?:^|\.)(?:urls?|targets|proxy_url|token_url)(?:\[[0-9]+\])*$`)
	userinfoBefore = regexp.MustCompile(`^[^/?#@\s]*@`)
)

// prepare walks the whole document once: it refuses what is not read anywhere, and expands the
// environment where it is expanded. It reports whether the walk may go on to the values.
func (v value) prepare(expanded, outside bool) bool {
	n := v.node
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		v.fault("anchors and aliases are not read", "write the value out, or share it by defaults and services")
		return false
	}
	if tag := n.ShortTag(); !plainTags[tag] {
		v.fault(fmt.Sprintf("tag %s is not read", tag), "remove it")
		return false
	}
	ok := true
	switch n.Kind {
	case yaml.MappingNode:
		first := map[string]int{}
		content := n.Content[:0:0]
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, node := n.Content[i], n.Content[i+1]
			if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
				v.child("<<", key).fault("merge keys are not read", "write the fields out, or share them by defaults and services")
				ok = false
				continue
			}
			if key.Kind != yaml.ScalarNode || !plainTags[key.ShortTag()] || key.Anchor != "" {
				value{v.doc, key, v.path, v.name}.fault("has a key that is not plain text", "write a word before the colon")
				ok = false
				continue
			}
			field := v.child(key.Value, node)
			if line, twice := first[key.Value]; twice {
				v.child(key.Value, key).fault(fmt.Sprintf("is written twice, first in line %d", line), "keep one of them")
				ok = false
				continue
			}
			first[key.Value] = key.Line
			if file, secret := secretFields[key.Value]; secret && outside && node.Kind != yaml.MappingNode {
				v.child(key.Value, key).fault("a secret does not belong in this file", "put it into a file and use "+file)
				entry, _, _ := strings.Cut(v.path, "].")
				v.doc.secrets[strings.TrimSuffix(entry, "]")+"]"] = true
				continue
			}
			if !field.prepare(expanded || outside && expandedFields[key.Value] || v.path == "" && key.Value == "external_labels", outside) {
				ok = false
			}
			content = append(content, key, node)
		}
		n.Content = content
	case yaml.SequenceNode:
		for i, node := range n.Content {
			inside := outside || v.path == "sources" || v.path == "sinks"
			if !v.item(i, node).prepare(expanded, inside) {
				ok = false
			}
		}
	case yaml.ScalarNode:
		if expanded {
			v.expand()
		}
		if outside && userinfo.MatchString(n.Value) { // whatever the environment put in, too
			v.fault("the address holds a password", "take it out, and use basic_auth with password_file")
			n.Value = userinfo.ReplaceAllString(n.Value, "://")
		} else if outside && address.MatchString(v.path) && userinfoBefore.MatchString(n.Value) {
			v.fault("the address holds a password", "take it out, and use basic_auth with password_file")
			n.Value = userinfoBefore.ReplaceAllString(n.Value, "")
		}
		if m := variable.FindStringSubmatch(n.Value); !expanded && m != nil && envName.MatchString(m[1]) && strings.HasSuffix(m[0], "}") {
			v.warn(fmt.Sprintf("%s is not expanded here", m[0]), "only url, site, region, tags and external_labels are")
		}
	}
	return ok
}

var plainTags = map[string]bool{
	"!!str": true, "!!int": true, "!!float": true, "!!bool": true, "!!null": true,
	"!!timestamp": true, "!!map": true, "!!seq": true, "!!merge": true,
}

// expand puts the environment's values into the text.
func (v value) expand() {
	if !strings.Contains(v.node.Value, "${") {
		return
	}
	v.node.Value = variable.ReplaceAllStringFunc(v.node.Value, func(text string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(text, "${"), "}")
		if !strings.HasSuffix(text, "}") || !envName.MatchString(name) {
			v.fault(fmt.Sprintf("%s is no variable of the environment", text), "write it like ${NAME}")
			return text
		}
		found, ok := v.doc.env(name)
		if !ok {
			v.fault(fmt.Sprintf("the environment has no variable %s", name), "set it, or write the value out")
		}
		return found
	})
	v.node.Tag = "!!str"
}

// shape names what is written, for messages.
func (v value) shape() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "is a mapping"
	case yaml.SequenceNode:
		return "is a list"
	}
	if v.empty() {
		return "has no value"
	}
	return v.quoted() + " is plain text"
}

func (v value) empty() bool { return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null" }

// quoted is the value's text for a message: numbers bare, other text in quotes, long text cut.
// What stands in a place for credentials is not repeated: it may be one that was put there by mistake.
func (v value) quoted() string {
	if credentials.MatchString(v.path) {
		return "it"
	}
	return quote(v.node.Value)
}

// credentials are the fields of sources and sinks that say how yoyu proves who it is.
var credentials = regexp.MustCompile(`^(?:(?:sources|sinks)\[[0-9]+\]\.)?(?:basic_auth|authorization|oauth2|tls_config|http_headers|proxy_connect_header|bearer_token|bearer_token_file|api_key_file|app_key_file)\b`)

func quote(text string) string {
	if number.MatchString(text) || numberWithUnit.MatchString(text) {
		return text
	}
	if r := []rune(text); len(r) > 60 {
		text = string(r[:59]) + "…"
	}
	return strconv.Quote(text)
}

var (
	number         = regexp.MustCompile(`^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
	numberWithUnit = regexp.MustCompile(`^([0-9]+[a-z]{1,2}){1,4}$|^[0-9.]{1,20}%$`)
)

// object is a mapping whose fields are known.
type object struct {
	value
	fields map[string]value
}

// fields that PRODUCT names and that this version does not have yet are known, and refused.
type fields struct {
	known []string
	later []string
}

// object reads a mapping; every other field is a fault. ok is false when it is no mapping.
func (v value) object(allowed fields) (o object, ok bool) {
	o = object{v, map[string]value{}}
	if v.node.Kind != yaml.MappingNode {
		v.fault(v.shape(), "write it as fields: "+strings.Join(allowed.known, ", "))
		return o, false
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, node := v.node.Content[i], v.node.Content[i+1]
		if contains(allowed.known, key.Value) {
			o.fields[key.Value] = v.child(key.Value, node)
			continue
		}
		place := value{v.doc, key, v.path, v.name}
		if contains(allowed.later, key.Value) {
			place.fault(key.Value+" is not part of this version of yoyu", "remove it")
			continue
		}
		place.fault(fmt.Sprintf("unknown field %q", key.Value), didYouMean(key.Value, allowed.known))
	}
	return o, true
}

func contains(words []string, word string) bool {
	for _, w := range words {
		if w == word {
			return true
		}
	}
	return false
}

// has reports whether the field is written.
func (o object) has(key string) bool { _, ok := o.fields[key]; return ok }

// given is what one place of a file says for a field.
type given[T any] struct {
	value T
	from  value // where it is written
	set   bool  // it is written
	ok    bool  // and right
}

// or is the first that is written.
func (g given[T]) or(h given[T]) given[T] {
	if g.set {
		return g
	}
	return h
}

// read reads a field by parse, if it is written.
func read[T any](o object, key string, parse func(value) (T, bool)) (g given[T]) {
	if g.from, g.set = o.fields[key]; g.set {
		g.value, g.ok = parse(g.from)
	}
	return g
}

// need is read for a field that must be written.
func need[T any](o object, key, remedy string, parse func(value) (T, bool)) given[T] {
	g := read(o, key, parse)
	if !g.set {
		o.missing(key, remedy)
	}
	return g
}

// list reads a list.
func (v value) list(of string) ([]value, bool) {
	if v.node.Kind != yaml.SequenceNode {
		v.fault(v.shape(), "write a list of "+of)
		return nil, false
	}
	out := make([]value, len(v.node.Content))
	for i, node := range v.node.Content {
		out[i] = v.item(i, node)
	}
	return out, true
}

// plain reads text that may be empty. Numbers and true or false count as the text they are.
func (v value) plain() (string, bool) {
	if v.node.Kind != yaml.ScalarNode || v.empty() {
		v.fault(v.shape(), "write text")
		return "", false
	}
	return v.node.Value, true
}

// text reads text that is not empty.
func (v value) text() (string, bool) {
	s, ok := v.plain()
	if ok && strings.TrimSpace(s) == "" {
		v.fault("is empty", "write text, or remove the field")
		return "", false
	}
	return s, ok
}

// choice reads one of some words.
func (v value) choice(words ...string) (string, bool) {
	if v.node.Kind == yaml.ScalarNode && contains(words, v.node.Value) {
		return v.node.Value, true
	}
	if v.node.Kind != yaml.ScalarNode || v.empty() {
		v.fault(v.shape(), "use "+either(words))
		return "", false
	}
	v.fault("is "+v.quoted(), didYouMean(v.node.Value, words))
	return "", false
}

// number reads a decimal number.
func (v value) number() (float64, bool) {
	if v.node.Kind != yaml.ScalarNode || v.empty() {
		v.fault(v.shape(), "write a number")
		return 0, false
	}
	if number.MatchString(v.node.Value) {
		if f, err := strconv.ParseFloat(v.node.Value, 64); err == nil {
			return f, true
		}
	}
	v.fault(v.quoted()+" is not a number", "write it like 5 or 0.5")
	return 0, false
}

// amount reads a number that is not negative.
func (v value) amount() (float64, bool) {
	f, ok := v.number()
	if ok && f < 0 {
		v.fault(v.quoted()+" is negative", "write 0 or more")
		return 0, false
	}
	return f + 0, ok // −0 is 0
}

// whole reads a whole number that is not negative.
func (v value) whole() (int, bool) {
	f, ok := v.amount()
	if ok && (f > 1e9 || f != float64(int(f))) {
		v.fault(v.quoted()+" is not a whole number", "write it like 100")
		return 0, false
	}
	return int(f), ok
}

// duration reads a duration above 0 as Prometheus writes it.
func (v value) duration() (time.Duration, bool) {
	d, ok := v.length()
	if ok && d <= 0 {
		v.fault(v.quoted()+" is no length of time", "write it like 30s, 5m, 1h30m or 30d")
		return 0, false
	}
	return d, ok
}

// length reads a duration that may be 0.
func (v value) length() (time.Duration, bool) {
	const like = "write it like 30s, 5m, 1h30m or 30d"
	if v.node.Kind != yaml.ScalarNode || v.empty() {
		v.fault(v.shape(), like)
		return 0, false
	}
	text := v.node.Value
	d, err := model.ParseDuration(text)
	switch {
	case err == nil:
		return time.Duration(d), true
	case number.MatchString(text) && !strings.HasPrefix(text, "-"):
		v.fault(text+" has no unit", fmt.Sprintf("write %ss, %sm, %sh or %sd", text, text, text, text))
	default:
		if d, err := time.ParseDuration(text); err == nil && d > 0 && d%time.Millisecond == 0 {
			v.fault(v.quoted()+" is not how a duration is written here", "write "+slo.FormatDuration(d))
			break
		}
		v.fault(v.quoted()+" is not a duration", like)
	}
	return 0, false
}

// percentage reads an exact percentage of any size, with or without a percent sign.
func (v value) percentage(remedy string) (slo.Share, bool) {
	if v.node.Kind != yaml.ScalarNode || v.empty() {
		v.fault(v.shape(), remedy)
		return slo.Share{}, false
	}
	share, err := slo.ParsePercent(v.node.Value)
	if err != nil {
		if fixed := strings.Replace(v.node.Value, ",", ".", 1); fixed != v.node.Value {
			if _, err := slo.ParsePercent(fixed); err == nil {
				remedy = fmt.Sprintf("did you mean %s?", fixed)
			}
		}
		v.fault(v.quoted()+" is not a percentage", remedy)
	}
	return share, err == nil
}

// between reads a percentage from low to high percent; low itself is allowed unless it is 0.
func (v value) between(low, high, like string) (slo.Share, bool) {
	remedy := "write it like " + like
	share, ok := v.percentage(remedy)
	if !ok {
		return share, false
	}
	least, lowErr := slo.ParsePercent(low)
	most, highErr := slo.ParsePercent(high)
	if lowErr != nil || highErr != nil {
		panic("config: " + low + " or " + high + " is no percentage") // constants of this package
	}
	if share.IsZero() || share.Cmp(least) < 0 || share.Cmp(most) > 0 {
		v.fault(fmt.Sprintf("%s is not between %s and %s percent", v.quoted(), low, high), remedy)
		return slo.Share{}, false
	}
	return share, true
}

// labels reads a mapping of label names to values.
func (v value) labels(reserved []string) (map[string]string, bool) {
	if v.node.Kind != yaml.MappingNode {
		v.fault(v.shape(), "write it like {team: payments}")
		return nil, false
	}
	out, ok := map[string]string{}, true
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.node.Content[i].Value
		if !(value{v.doc, v.node.Content[i], v.path, v.name}).label(key, reserved) {
			ok = false
			continue
		}
		text, fine := v.child(key, v.node.Content[i+1]).plain()
		out[key], ok = text, ok && fine
	}
	return out, ok
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// label checks the name of a label.
func (v value) label(name string, reserved []string) bool {
	switch {
	case !labelName.MatchString(name):
		v.fault(fmt.Sprintf("%q is no name of a label", name), "use letters, digits and underscores")
	case strings.HasPrefix(name, "__") || contains(reserved, name):
		v.fault(fmt.Sprintf("label %s is reserved for yoyu's own series", name), "use another name")
	default:
		return true
	}
	return false
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// identifier reads a name that goes into labels, paths and tags.
func (v value) identifier() (string, bool) {
	s, ok := v.text()
	switch {
	case !ok:
		return "", false
	case s == slo.OtherGroup:
		v.fault(fmt.Sprintf("%q is the name of what is left over after group_limit", s), "use another name")
	case len(s) > 100:
		v.fault(fmt.Sprintf("name has %d characters", len(s)), "use at most 100")
	case !plainName.MatchString(s):
		v.fault(v.quoted()+" is not a plain name", "use letters, digits, dots, dashes and underscores, a letter or digit first")
	default:
		return s, true
	}
	return "", false
}
