package datadog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// expression is one query of a comma-joined list, parsed.
type expression interface{ text() string }

// metricQuery is agg:metric{filter} by {keys} with its methods.
type metricQuery struct {
	space  string     // how series are put together: avg, sum, min, max, count, p95 …; "" is avg
	below  *condition // count(v: v<=X)
	metric string
	filter filter
	scope  string // the filter as written
	by     []string

	asCount, asRate bool
	rollup          string // how points of a bucket are put together; "" is the default
	interval        int64  // seconds; 0 is the default
	fill            string // "" is the default: interpolation
	zero            bool   // default_zero
}

type condition struct {
	op    string
	value float64
}

// number is a constant.
type number float64

// binary is arithmetic on two expressions.
type binary struct {
	op          byte
	left, right expression
}

// call of a function on one expression.
type function struct {
	name string
	of   expression
	args []string
}

// named is a reference of a formula to one of its queries.
type named string

func (q *metricQuery) text() string {
	scope := q.scope
	if q.space == "" {
		return q.metric + "{" + scope + "}"
	}
	return q.space + ":" + q.metric + "{" + scope + "}"
}
func (n number) text() string { return strconv.FormatFloat(float64(n), 'g', -1, 64) }
func (b binary) text() string {
	return "(" + b.left.text() + " " + string(b.op) + " " + b.right.text() + ")"
}
func (f function) text() string {
	return f.name + "(" + strings.Join(append([]string{f.of.text()}, f.args...), ", ") + ")"
}
func (n named) text() string { return string(n) }

// filter says whether a series with these tags is meant.
type filter func(tags map[string]bool) bool

// parser reads queries.
type parser struct {
	in    string
	at    int
	names map[string]bool // of a formula's queries; nil: no formula
}

// parseQueries reads a comma-joined list of queries.
func parseQueries(text string) ([]expression, error) {
	p := &parser{in: text}
	return p.all()
}

// parseFormula reads arithmetic over named queries.
func parseFormula(text string, names map[string]bool) (expression, error) {
	p := &parser{in: text, names: names}
	e, err := p.sum()
	if err == nil && p.skip() < len(p.in) {
		err = p.fault("unexpected %q", p.in[p.at:])
	}
	return e, err
}

func (p *parser) all() ([]expression, error) {
	var out []expression
	for {
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
		if p.skip() == len(p.in) {
			return out, nil
		}
		if !p.take(',') {
			return nil, p.fault("unexpected %q", p.in[p.at:])
		}
	}
}

func (p *parser) fault(format string, arguments ...any) error {
	return fmt.Errorf("unable to parse %s: at %d: %s", p.in, p.at, fmt.Sprintf(format, arguments...))
}

// skip passes over blanks and returns where it is.
func (p *parser) skip() int {
	for p.at < len(p.in) && unicode.IsSpace(rune(p.in[p.at])) {
		p.at++
	}
	return p.at
}

func (p *parser) take(c byte) bool {
	if p.skip() < len(p.in) && p.in[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) peek() byte {
	if p.skip() < len(p.in) {
		return p.in[p.at]
	}
	return 0
}

// word reads letters, digits, dots and underscores.
func (p *parser) word() string {
	from := p.skip()
	for p.at < len(p.in) && (letter(rune(p.in[p.at])) || '0' <= p.in[p.at] && p.in[p.at] <= '9' || strings.IndexByte("._", p.in[p.at]) >= 0) {
		p.at++
	}
	return p.in[from:p.at]
}

func (p *parser) sum() (expression, error) {
	left, err := p.product()
	for err == nil && (p.peek() == '+' || p.peek() == '-') {
		op := p.in[p.at]
		p.at++
		var right expression
		if right, err = p.product(); err == nil {
			left = binary{op, left, right}
		}
	}
	return left, err
}

func (p *parser) product() (expression, error) {
	left, err := p.factor()
	for err == nil && (p.peek() == '*' || p.peek() == '/') {
		op := p.in[p.at]
		p.at++
		var right expression
		if right, err = p.factor(); err == nil {
			left = binary{op, left, right}
		}
	}
	return left, err
}

// functions are those that the engine can work out; all take series and give as many.
var functions = map[string]bool{
	"default_zero": true, "abs": true, "per_second": true, "per_minute": true, "clamp_min": true, "clamp_max": true,
	"top": true, "exclude_null": true,
}

func (p *parser) factor() (expression, error) {
	switch c := p.peek(); {
	case c == '(':
		p.at++
		e, err := p.sum()
		if err == nil && !p.take(')') {
			err = p.fault("expected )")
		}
		if err != nil {
			return nil, err
		}
		return p.methods(e)
	case c == '-':
		p.at++
		e, err := p.factor()
		return binary{'-', number(0), e}, err
	case '0' <= c && c <= '9':
		from := p.at
		for p.at < len(p.in) && strings.IndexByte("0123456789.eE", p.in[p.at]) >= 0 {
			p.at++
		}
		f, err := strconv.ParseFloat(p.in[from:p.at], 64)
		if err != nil {
			return nil, p.fault("%q is no number", p.in[from:p.at])
		}
		return number(f), nil
	}
	from := p.at
	name := p.word()
	if name == "" {
		return nil, p.fault("expected a query")
	}
	if p.peek() == '(' {
		if q, ok, err := p.threshold(name); ok || err != nil {
			if err != nil {
				return nil, err
			}
			return p.metric(q)
		}
		if !functions[name] {
			p.at = from
			return nil, p.fault("unknown function %s", name)
		}
		p.at++
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		f := function{name: name, of: e}
		for p.take(',') {
			f.args = append(f.args, p.argument())
		}
		if !p.take(')') {
			return nil, p.fault("expected )")
		}
		return p.methods(f)
	}
	if p.names[name] && p.peek() != ':' && p.peek() != '{' {
		return named(name), nil
	}
	q := &metricQuery{metric: name}
	if p.peek() == ':' {
		p.at++
		q.space = name
		if !spaces(name) {
			p.at = from
			return nil, p.fault("%s is no aggregator", name)
		}
		if q.metric = p.word(); q.metric == "" {
			return nil, p.fault("expected the name of a metric")
		}
	}
	return p.filtered(q)
}

// spaces reports whether a word is a way to put series together.
func spaces(word string) bool {
	if slices.Contains([]string{"avg", "sum", "min", "max", "count"}, word) {
		return true
	}
	_, err := percentile(word)
	return err == nil
}

// percentile reads p99, p99.9 …, as a share.
func percentile(word string) (float64, error) {
	if len(word) < 2 || word[0] != 'p' {
		return 0, strconv.ErrSyntax
	}
	f, err := strconv.ParseFloat(word[1:], 64)
	return f / 100, err
}

// threshold reads count(v: v<=0.3): before a distribution's name.
func (p *parser) threshold(name string) (*metricQuery, bool, error) {
	rest := strings.TrimLeft(p.in[p.at+1:], " ")
	if name != "count" || !strings.HasPrefix(rest, "v:") && !strings.HasPrefix(rest, "v :") {
		return nil, false, nil
	}
	end := strings.IndexByte(p.in[p.at:], ')')
	if end < 0 {
		return nil, false, p.fault("expected )")
	}
	inside := strings.Join(strings.Fields(p.in[p.at+1:p.at+end]), "")
	inside, ok := strings.CutPrefix(inside, "v:v")
	if !ok {
		return nil, false, p.fault("expected a condition such as v: v<=0.3")
	}
	c := &condition{}
	for _, op := range []string{"<=", ">=", "<", ">"} {
		if rest, found := strings.CutPrefix(inside, op); found {
			f, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				return nil, false, p.fault("%q is no number", rest)
			}
			c.op, c.value = op, f
			break
		}
	}
	if c.op == "" {
		return nil, false, p.fault("expected a condition such as v: v<=0.3")
	}
	p.at += end + 1
	return &metricQuery{space: "count", below: c}, true, nil
}

func (p *parser) metric(q *metricQuery) (expression, error) {
	if !p.take(':') {
		return nil, p.fault("expected :")
	}
	if q.metric = p.word(); q.metric == "" {
		return nil, p.fault("expected the name of a metric")
	}
	return p.filtered(q)
}

// filtered reads {filter}, by {keys} and the methods.
func (p *parser) filtered(q *metricQuery) (expression, error) {
	if !p.take('{') {
		return nil, p.fault("expected {")
	}
	end := strings.IndexByte(p.in[p.at:], '}')
	if end < 0 {
		return nil, p.fault("expected }")
	}
	q.scope = strings.TrimSpace(p.in[p.at : p.at+end])
	f, err := parseFilter(q.scope)
	if err != nil {
		return nil, p.fault("%v", err)
	}
	q.filter = f
	p.at += end + 1
	from := p.skip()
	if p.word() == "by" {
		if !p.take('{') {
			return nil, p.fault("expected {")
		}
		end := strings.IndexByte(p.in[p.at:], '}')
		if end < 0 {
			return nil, p.fault("expected }")
		}
		for key := range strings.SplitSeq(p.in[p.at:p.at+end], ",") {
			if key = strings.TrimSpace(key); key == "" {
				return nil, p.fault("a key is empty")
			}
			q.by = append(q.by, strings.ToLower(key))
		}
		p.at += end + 1
	} else {
		p.at = from
	}
	return p.methods(q)
}

// argument reads one argument of a method or function as text.
func (p *parser) argument() string {
	from := p.skip()
	for p.at < len(p.in) && p.in[p.at] != ',' && p.in[p.at] != ')' {
		p.at++
	}
	return strings.Trim(strings.TrimSpace(p.in[from:p.at]), `'"`)
}

func (p *parser) methods(e expression) (expression, error) {
	for p.peek() == '.' {
		p.at++
		name := p.word()
		if !p.take('(') {
			return nil, p.fault("expected (")
		}
		var args []string
		for p.peek() != ')' && p.at < len(p.in) {
			args = append(args, p.argument())
			if !p.take(',') {
				break
			}
		}
		if !p.take(')') {
			return nil, p.fault("expected )")
		}
		if err := apply(e, name, args); err != nil {
			return nil, p.fault("%v", err)
		}
	}
	return e, nil
}

// apply gives a method to every metric below an expression.
func apply(e expression, name string, args []string) error {
	switch e := e.(type) {
	case *metricQuery:
		return e.method(name, args)
	case binary:
		if err := apply(e.left, name, args); err != nil {
			return err
		}
		return apply(e.right, name, args)
	case function:
		return apply(e.of, name, args)
	}
	return nil
}

func (q *metricQuery) method(name string, args []string) error {
	switch name {
	case "as_count":
		q.asCount = true
	case "as_rate":
		q.asRate = true
	case "rollup":
		for i, arg := range args {
			if n, err := strconv.ParseInt(arg, 10, 64); err == nil && n > 0 {
				q.interval = n
			} else if i == 0 && slices.Contains([]string{"avg", "sum", "min", "max", "count"}, arg) {
				q.rollup = arg
			} else {
				return fmt.Errorf("rollup does not take %q", arg)
			}
		}
		if len(args) == 0 || len(args) > 2 {
			return fmt.Errorf("rollup takes a method and seconds")
		}
	case "fill":
		if len(args) == 0 || !slices.Contains([]string{"null", "zero", "linear", "last"}, args[0]) && !isNumber(args[0]) {
			return fmt.Errorf("fill does not take %q", args)
		}
		q.fill = args[0]
	case "weighted", "limit", "last":
	default:
		return fmt.Errorf("unknown method %s", name)
	}
	return nil
}

func isNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

// parseFilter reads what stands between { and }: tags joined by commas or AND, OR, NOT, IN and
// parentheses.
func parseFilter(text string) (filter, error) {
	f := &filterParser{}
	depth := strings.NewReplacer("(", " ( ", ")", " ) ", ",", " , ")
	f.words = strings.Fields(depth.Replace(text))
	if len(f.words) == 0 {
		return nil, fmt.Errorf("the filter is empty: * means everything")
	}
	out, err := f.or()
	if err == nil && len(f.words) > 0 {
		err = fmt.Errorf("unexpected %q in the filter", f.words[0])
	}
	return out, err
}

type filterParser struct{ words []string }

func (f *filterParser) next() string {
	if len(f.words) == 0 {
		return ""
	}
	return f.words[0]
}

func (f *filterParser) or() (filter, error) {
	left, err := f.and()
	for err == nil && strings.EqualFold(f.next(), "or") {
		f.words = f.words[1:]
		var right filter
		if right, err = f.and(); err == nil {
			a := left
			left = func(tags map[string]bool) bool { return a(tags) || right(tags) }
		}
	}
	return left, err
}

func (f *filterParser) and() (filter, error) {
	left, err := f.term()
	for err == nil && (f.next() == "," || strings.EqualFold(f.next(), "and")) {
		f.words = f.words[1:]
		var right filter
		if right, err = f.term(); err == nil {
			a := left
			left = func(tags map[string]bool) bool { return a(tags) && right(tags) }
		}
	}
	return left, err
}

func (f *filterParser) term() (filter, error) {
	word := f.next()
	switch {
	case word == "" || word == "," || word == ")":
		return nil, fmt.Errorf("the filter ends early")
	case strings.EqualFold(word, "not") || word == "!":
		f.words = f.words[1:]
		inner, err := f.term()
		return func(tags map[string]bool) bool { return !inner(tags) }, err
	case word == "(":
		f.words = f.words[1:]
		inner, err := f.or()
		if err == nil && f.next() != ")" {
			err = fmt.Errorf("expected ) in the filter")
		}
		if err == nil {
			f.words = f.words[1:]
		}
		return inner, err
	}
	f.words = f.words[1:]
	not := strings.EqualFold(f.next(), "not")
	if not {
		f.words = f.words[1:]
	}
	if strings.EqualFold(f.next(), "in") {
		f.words = f.words[1:]
		if f.next() != "(" {
			return nil, fmt.Errorf("expected ( after IN")
		}
		f.words = f.words[1:]
		var any []filter
		for f.next() != ")" && f.next() != "" {
			if f.next() != "," {
				any = append(any, tagFilter(word+":"+f.next()))
			}
			f.words = f.words[1:]
		}
		if f.next() == "" {
			return nil, fmt.Errorf("expected ) in the filter")
		}
		f.words = f.words[1:]
		return func(tags map[string]bool) bool {
			for _, one := range any {
				if one(tags) {
					return !not
				}
			}
			return not
		}, nil
	}
	if not {
		return nil, fmt.Errorf("expected IN after NOT")
	}
	if rest, ok := strings.CutPrefix(word, "!"); ok {
		inner := tagFilter(rest)
		return func(tags map[string]bool) bool { return !inner(tags) }, nil
	}
	return tagFilter(word), nil
}

// tagFilter is one tag, perhaps with wildcards. A template variable that was left in means
// everything.
func tagFilter(tag string) filter {
	switch {
	case tag == "*" || strings.HasPrefix(tag, "$"):
		return func(map[string]bool) bool { return true }
	case strings.Contains(tag, "*"):
		parts := strings.Split(strings.ToLower(tag), "*")
		return func(tags map[string]bool) bool {
			for have := range tags {
				if matches(have, parts) {
					return true
				}
			}
			return false
		}
	}
	want := storedTag(tag)
	return func(tags map[string]bool) bool { return tags[want] }
}

func matches(text string, parts []string) bool {
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	for i, part := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(rest, part)
		}
		at := strings.Index(rest, part)
		if at < 0 {
			return false
		}
		rest = rest[at+len(part):]
	}
	return rest == ""
}
