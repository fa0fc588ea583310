package promapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/increments"
)

// answer is a decoded reply of the query API.
type answer struct {
	status    string
	kind      string // resultType: matrix, vector, scalar or string
	series    []series
	samples   int    // size of series: its floats, and every bucket of its histograms
	errorType string // of status "error"
	errorText string
	warning   string // the first warning; "" when there was none
	partial   bool   // VictoriaMetrics' isPartial
	values    []string
	memo      *memo // that the list of series is lent by; nil when it is the answer's own
}

// series is one series of an answer, its samples ascending in time.
type series struct {
	labels labels.Labels
	floats []increments.Point
	hists  []histogram
}

// histogram is one sample of a native histogram.
type histogram struct {
	t       int64 // Unix milliseconds
	count   float64
	below   float64 // observations below the question's threshold; filled in when counted
	buckets []increments.Bucket
}

// decode reads one reply. It accepts fields in any order and passes over those it does not know,
// so that servers may add to the format; what it does read must be whole: half a reply, samples
// out of order or anything after the reply are errors, never a shorter answer.
func decode(r io.Reader) (*answer, error) { return new(memo).decode(r) }

// decode reads one reply like the function of that name, with what earlier ones have taught. The list
// of series is the memo's and good until it decodes again; what they hold is good for ever.
func (m *memo) decode(r io.Reader) (*answer, error) {
	if m.buf == nil {
		m.buf = make([]byte, 64<<10)
	}
	s := &scanner{r: r, buf: m.buf, word: m.word, memo: m}
	m.forget()
	a := &answer{series: m.list[:0]}
	defer func() { m.word = s.word; m.end(a) }()
	if c := s.token(); c != '{' {
		if s.err != nil {
			return nil, s.err
		}
		return nil, errors.New("the answer is not a JSON object")
	}
	s.object(func(key string) {
		switch key {
		case "status":
			a.status = s.text()
		case "errorType":
			a.errorType = s.textOrNull()
		case "error":
			a.errorText = s.textOrNull()
		case "isPartial":
			a.partial = s.truth()
		case "warnings":
			s.list(func() {
				if w := s.text(); a.warning == "" {
					a.warning = w + " " // an empty warning is one too
				}
			})
		case "data":
			s.data(a)
		default:
			s.skip(0)
		}
	})
	if s.err == nil && s.tokenOrEnd() != 0 {
		s.fail("something follows the answer")
	}
	if s.err != nil {
		return nil, s.err
	}
	if a.status != "success" && a.status != "error" {
		return nil, fmt.Errorf("the answer's status is %q", clip(a.status, 40))
	}
	return a, nil
}

// data reads the data field: a query's result, or a list of strings (label values).
func (s *scanner) data(a *answer) {
	switch s.token() {
	case '[':
		s.list(func() {
			if s.token() == '"' {
				a.values = append(a.values, s.text())
				return
			}
			s.skip(0)
		})
	case '{':
		s.object(func(key string) {
			switch key {
			case "resultType":
				a.kind = s.text()
			case "result":
				s.list(func() {
					if s.token() == '{' {
						s.series(a)
						return
					}
					s.skip(0) // a scalar or string is [time, "value"]; nobody asks for one
				})
			case "storageRetention":
				if s.token() == '"' {
					a.values = append(a.values, s.text())
					return
				}
				s.skip(0)
			default:
				s.skip(0)
			}
		})
	default:
		s.skip(0)
	}
}

func (s *scanner) series(a *answer) {
	if s.quick(a) {
		return
	}
	var one series
	begin, fills, fields := s.pos, s.fills, 0
	s.object(func(key string) {
		fields++
		switch key {
		case "metric":
			var b labels.ScratchBuilder
			s.object(func(name string) { b.Add(name, s.text()) })
			b.Sort()
			one.labels = b.Labels()
			if name, dup := one.labels.HasDuplicateLabelNames(); dup {
				s.fail("label " + clip(name, 80) + " appears twice")
			}
			// What was read at one go, as the first field, will be known when it comes again.
			if fields == 1 && s.fills == fills && s.err == nil {
				s.memo.learn(s.buf[begin:s.pos], one.labels)
			}
		case "value":
			s.float(&one)
		case "values":
			s.list(func() { s.float(&one) })
		case "histogram":
			s.histogram(&one)
		case "histograms":
			s.list(func() { s.histogram(&one) })
		default:
			s.skip(0)
		}
	})
	a.samples += len(one.floats)
	for _, h := range one.hists {
		a.samples += 1 + len(h.buckets)
	}
	a.series = append(a.series, one)
}

// float reads [time, "value"].
func (s *scanner) float(one *series) {
	s.expect('[')
	t := s.millis()
	s.expect(',')
	v := s.quoted()
	s.expect(']')
	if n := len(one.floats); n > 0 && one.floats[n-1].T > t {
		s.fail("samples are out of order")
	}
	if s.err == nil {
		s.add(one, t, v)
	}
}

// add appends a sample to a series.
func (s *scanner) add(one *series, t int64, v float64) {
	if n := len(one.floats); n == cap(one.floats) {
		one.floats = append(s.room(max(1, 2*n)), one.floats...)
	}
	one.floats = append(one.floats, increments.Point{T: t, V: v})
}

// room is memory for n samples of one series. It lies beside that of others and does not reach into it.
func (s *scanner) room(n int) []increments.Point {
	if len(s.points)-s.used < n {
		s.points, s.used = make([]increments.Point, max(n, min(2*s.given, 4096), 16)), 0
	}
	s.given += n
	s.used += n
	return s.points[s.used-n : s.used-n : s.used]
}

// histogram reads [time, {"count": "…", "sum": "…", "buckets": [[rule, "lower", "upper", "count"], …]}].
func (s *scanner) histogram(one *series) {
	h := histogram{}
	s.expect('[')
	h.t = s.millis()
	s.expect(',')
	s.object(func(key string) {
		switch key {
		case "count":
			h.count = s.quoted()
		case "buckets":
			s.list(func() {
				s.expect('[')
				s.raw()
				s.expect(',')
				lower := s.quoted()
				s.expect(',')
				upper := s.quoted()
				s.expect(',')
				count := s.quoted()
				s.expect(']')
				if s.err == nil {
					h.buckets = append(h.buckets, increments.Bucket{Lower: lower, Upper: upper, Count: count})
				}
			})
		default:
			s.skip(0)
		}
	})
	s.expect(']')
	if n := len(one.hists); n > 0 && one.hists[n-1].t > h.t {
		s.fail("samples are out of order")
	}
	if s.err == nil {
		one.hists = append(one.hists, h)
	}
}

// scanner walks JSON as it arrives. Its first error sticks: from then on everything it reads is
// zero and every loop ends, so that callers look at err once, at the end.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int
	err      error
	word     []byte // the last string or number

	memo  *memo
	stamp struct { // the last time that was read, with what stands around it
		text  [24]byte
		width int
		t     int64
	}
	fills  int                // of buf so far
	ended  bool               // reading ahead came to the end
	late   error              // of reading ahead; it comes when the bytes before it have been used up
	points []increments.Point // memory for samples
	used   int                // of points
	given  int                // samples that memory was given for
}

const (
	maxDepth = 64      // nesting that skip follows
	oneGo    = 2 << 10 // bytes that hold most series, so that they can be read at one go
)

func (s *scanner) fail(text string) {
	if s.err == nil {
		s.err = errors.New(text)
	}
}

// fill reads more; false at the end of the input or after an error.
func (s *scanner) fill() bool {
	if s.err == nil {
		s.err = s.late
	}
	if s.err != nil || s.ended {
		return false
	}
	for range 100 {
		n, err := s.r.Read(s.buf)
		if n > 0 {
			s.pos, s.end = 0, n
			s.fills++
			return true
		}
		if err == io.EOF {
			return false
		}
		if err != nil {
			s.err = err
			return false
		}
	}
	s.err = io.ErrNoProgress
	return false
}

// ahead reads on while there still is something to take.
func (s *scanner) ahead() {
	if s.err != nil || s.late != nil || s.ended {
		return
	}
	rest := copy(s.buf, s.buf[s.pos:s.end])
	n, err := s.r.Read(s.buf[rest:])
	s.pos, s.end = 0, rest+n
	s.fills++
	if err == io.EOF {
		s.ended = true
		return
	}
	s.late = err
}

// tokenOrEnd is the next byte that is no white space, not taken; 0 at the end.
func (s *scanner) tokenOrEnd() byte {
	for s.pos < s.end || s.fill() {
		switch c := s.buf[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		case 0:
			s.fail("the answer holds a zero byte")
			return 0
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) token() byte {
	if s.err != nil {
		return 0
	}
	c := s.tokenOrEnd()
	if c == 0 && s.err == nil {
		s.err = fmt.Errorf("the answer breaks off: %w", io.ErrUnexpectedEOF)
	}
	return c
}

// take is the very next byte.
func (s *scanner) take() byte {
	if s.pos == s.end && !s.fill() {
		if s.err == nil {
			s.err = fmt.Errorf("the answer breaks off: %w", io.ErrUnexpectedEOF)
		}
		return 0
	}
	c := s.buf[s.pos]
	s.pos++
	return c
}

func (s *scanner) expect(want byte) {
	if c := s.token(); c != want {
		s.fail(fmt.Sprintf("the answer has %q where %q belongs", c, want))
		return
	}
	s.pos++
}

// object reads an object; field must read the value of every key.
func (s *scanner) object(field func(key string)) {
	s.expect('{')
	if s.token() == '}' {
		s.pos++
		return
	}
	for s.err == nil {
		key := s.text()
		s.expect(':')
		field(key)
		if s.more('}') {
			continue
		}
		return
	}
}

// list reads an array, or null as an empty one; item must read every element.
func (s *scanner) list(item func()) {
	if s.token() == 'n' {
		s.literal("null")
		return
	}
	s.expect('[')
	if s.token() == ']' {
		s.pos++
		return
	}
	for s.err == nil {
		item()
		if s.more(']') {
			continue
		}
		return
	}
}

// more takes a comma (true) or the closing byte (false).
func (s *scanner) more(closing byte) bool {
	switch c := s.token(); c {
	case ',':
		s.pos++
		return true
	case closing:
		s.pos++
	default:
		s.fail(fmt.Sprintf("the answer has %q where ',' or %q belongs", c, closing))
	}
	return false
}

func (s *scanner) literal(text string) {
	s.token()
	for i := range len(text) {
		if s.err == nil && s.take() != text[i] {
			s.fail("the answer has a misspelt " + text)
		}
	}
}

func (s *scanner) truth() bool {
	switch s.token() {
	case 't':
		s.literal("true")
		return s.err == nil
	case 'n':
		s.literal("null")
	default:
		s.literal("false")
	}
	return false
}

func (s *scanner) textOrNull() string {
	if s.token() == 'n' {
		s.literal("null")
		return ""
	}
	return s.text()
}

func (s *scanner) text() string { return string(s.bytes()) }

// bytes reads a string; they are good until the next read.
func (s *scanner) bytes() []byte {
	s.expect('"')
	s.word = s.word[:0]
	for s.err == nil {
		plain := s.pos
		for plain < s.end && s.buf[plain] != '"' && s.buf[plain] != '\\' {
			plain++
		}
		s.word = append(s.word, s.buf[s.pos:plain]...)
		s.pos = plain
		switch s.take() {
		case '"':
			return s.word
		case '\\':
			s.escape()
		default:
			if s.err == nil {
				s.pos-- // the first byte of a new buffer
			}
		}
	}
	return nil
}

func (s *scanner) escape() {
	switch c := s.take(); c {
	case '"', '\\', '/':
		s.word = append(s.word, c)
	case 'b':
		s.word = append(s.word, '\b')
	case 'f':
		s.word = append(s.word, '\f')
	case 'n':
		s.word = append(s.word, '\n')
	case 'r':
		s.word = append(s.word, '\r')
	case 't':
		s.word = append(s.word, '\t')
	case 'u':
		r := s.hex()
		if utf16.IsSurrogate(r) {
			if s.take() != '\\' || s.take() != 'u' {
				s.fail("the answer has half a surrogate pair")
				return
			}
			r = utf16.DecodeRune(r, s.hex())
		}
		s.word = utf8.AppendRune(s.word, r)
	default:
		s.fail(fmt.Sprintf("the answer has an unknown escape %q", c))
	}
}

func (s *scanner) hex() rune {
	var r rune
	for range 4 {
		c := s.take()
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			s.fail("the answer has a misspelt \\u escape")
			return 0
		}
	}
	return r
}

// raw reads a number's characters; they are good until the next read.
func (s *scanner) raw() []byte {
	s.token()
	s.word = s.word[:0]
	for s.err == nil {
		if s.pos == s.end && !s.fill() {
			break
		}
		c := s.buf[s.pos]
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			break
		}
		s.word = append(s.word, c)
		s.pos++
	}
	if len(s.word) == 0 {
		s.fail("the answer has no number where one belongs")
	}
	if len(s.word) > 400 {
		s.fail("the answer has an endless number")
	}
	return s.word
}

// millis reads Unix seconds with a fraction as milliseconds, exactly: 1.1 is 1100, not 1099.
func (s *scanner) millis() int64 {
	text := s.raw()
	whole, frac, dot := bytes.Cut(text, []byte{'.'})
	if ms, ok := digits(whole); ok && len(whole) <= 12 {
		ms *= 1000
		if !dot {
			return ms
		}
		if f, ok := digits(frac); ok && len(frac) <= 3 {
			for range 3 - len(frac) {
				f *= 10
			}
			return ms + f
		}
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.Abs(v) > 1e12 {
		s.fail("the answer has a time that is none")
		return 0
	}
	return int64(math.Round(v * 1000))
}

// digits reads a short run of digits; false if it is anything else.
func digits(text []byte) (int64, bool) {
	if len(text) == 0 || len(text) > 15 {
		return 0, false
	}
	n := int64(0)
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// quoted reads a number in quotation marks: "12", "NaN", "+Inf".
func (s *scanner) quoted() float64 {
	text := s.bytes()
	if s.err != nil {
		return 0
	}
	if n, ok := digits(text); ok {
		return float64(n)
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		s.fail("the answer has a value that is no number: " + strconv.Quote(clip(string(text), 40)))
		return 0
	}
	return v
}

// skip passes over any value.
func (s *scanner) skip(depth int) {
	if depth > maxDepth {
		s.fail("the answer is nested too deep")
		return
	}
	switch s.token() {
	case '{':
		s.object(func(string) { s.skip(depth + 1) })
	case '[':
		s.list(func() { s.skip(depth + 1) })
	case '"':
		s.bytes()
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.raw()
	}
}

// clip shortens text for people.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}
