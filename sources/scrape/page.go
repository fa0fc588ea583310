package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/sources"
)

// The bounds of one series that is counted, its name included. What is counted is remembered from
// page to page, so that a page alone must not say how much.
const (
	mostLabels     = 128
	mostLabelBytes = 16 << 10
)

// page is what the questions take from one page of one target.
type page struct {
	parts   []part // by question
	samples int    // on the page, counted or not
	started int64  // process start time in Unix milliseconds; 0 when the page does not say
}

// part is what one question takes from a page.
type part struct {
	series  []increments.Series
	natives map[string]native // by family, which is also the key of its count; nil without native histograms
	bounds  selectors.Bounds  // of classic histograms; nil for other questions
	fault   string            // why the question cannot be counted from this page; "" when it can
}

// reader reads pages for the questions of a source. It never changes, so pages are read side by side.
type reader struct {
	plans    []*selectors.Plan
	names    map[string][]int // questions by the metric names they fix
	nameless []int            // questions that choose names by matchers: every series concerns them
	births   map[string]bool  // names of the _created series of those names
	job      string
	samples  int   // most samples of a page
	lookback int64 // ms: an explicit timestamp older than this is no news
}

// The series of client libraries that say when the process began, in Unix seconds.
const processStart = "process_start_time_seconds"

func newReader(plans []*selectors.Plan, job string, samples int, lookback int64) *reader {
	r := &reader{plans: plans, names: map[string][]int{}, births: map[string]bool{}, job: job, samples: samples, lookback: lookback}
	for i, plan := range plans {
		nameless := false
		for _, s := range plan.Selectors() {
			nameless = nameless || s.Name == ""
		}
		if nameless {
			r.nameless = append(r.nameless, i)
			continue
		}
		for _, s := range plan.Selectors() {
			if old := r.names[s.Name]; len(old) == 0 || old[len(old)-1] != i {
				r.names[s.Name] = append(old, i)
			}
			r.births[base(s.Name)+"_created"] = true
		}
	}
	return r
}

// base is the name of the family that a series' name belongs to in OpenMetrics.
func base(name string) string {
	for _, suffix := range []string{"_total", "_bucket", "_count", "_sum"} {
		if rest, ok := strings.CutSuffix(name, suffix); ok {
			return rest
		}
	}
	return name
}

// read reads a page that was booked at a moment, in ms. It is refused whole when any of it is broken.
func (r *reader) read(body []byte, contentType string, t *target, at int64) (*page, error) {
	if isProtobuf(contentType) {
		return r.readProtobuf(body, contentType, t, at)
	}
	parser, open, err := r.parser(body, contentType)
	if err != nil {
		return nil, &fault{Parse, err}
	}
	if i := bytes.IndexByte(body, 0); i >= 0 {
		// The parser would take it for the end of the page, and what follows for nothing.
		return nil, broken(body, i, errors.New("holds a byte of zero: not text"))
	}
	if !open && len(body) > 0 && body[len(body)-1] != '\n' {
		return nil, broken(body, len(body), errors.New("the last line does not end: the page was cut"))
	}

	p := &page{parts: make([]part, len(r.plans))}
	in := r.reading(p, t, at)
	in.created = open && bytes.Contains(body, []byte("_created"))
	next := 0 // where the entry after the last whole one begins
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, broken(body, next, err)
		}
		var text []byte // a part of the body: what is behind it in the body's array says where
		switch entry {
		case textparse.EntrySeries:
			text, _, _ = parser.Series()
		case textparse.EntryType:
			text, in.kind = parser.Type()
			in.family = string(text)
		case textparse.EntryHelp:
			text, _ = parser.Help()
		case textparse.EntryUnit:
			text, _ = parser.Unit()
		case textparse.EntryComment:
			text = parser.Comment()
		}
		here := cap(body) - cap(text)
		if end := bytes.IndexByte(body[here:], '\n'); end >= 0 {
			next = here + end + 1
		} else {
			next = len(body)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		if p.samples++; p.samples > r.samples {
			return nil, &fault{SampleLimit, fmt.Errorf("more than %d samples (limits.samples)", r.samples)}
		}
		name := bytes.TrimLeft(text, " \t")
		if i := bytes.IndexAny(name, "{ \t"); i > 0 {
			name = name[:i]
		}
		if err := in.sample(parser, string(name), here, 0); err != nil {
			var twice *duplicate
			if errors.As(err, &twice) {
				err = fmt.Errorf("%s stands on line %d already", twice.key, line(body, twice.first))
			}
			return nil, broken(body, here, err)
		}
	}
	in.bear()
	in.judge()
	return p, nil
}

// reading begins a page.
func (r *reader) reading(p *page, t *target, at int64) *reading {
	return &reading{reader: r, page: p, target: t, at: at, builder: labels.NewBuilder(labels.EmptyLabels()), lines: map[string]int{}}
}

// parser chooses the format. Prometheus refuses a page without a Content-Type; by hand written
// ones are common, and they are text.
func (r *reader) parser(body []byte, contentType string) (p textparse.Parser, open bool, err error) {
	if contentType == "" {
		contentType = "text/plain"
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, false, fmt.Errorf("Content-Type %q cannot be read", short(contentType))
	}
	symbols := labels.NewSymbolTable()
	switch version := params["version"]; {
	case media == "text/plain":
		return textparse.NewPromParser(body, symbols, false), false, nil
	case media == "application/openmetrics-text" && (version == "" || version == "1.0.0" || version == "0.0.1"):
		return textparse.NewOpenMetricsParser(body, symbols), true, nil
	}
	return nil, false, fmt.Errorf("Content-Type %q is no format of metrics that was asked for", short(contentType))
}

// broken is an error at an offset of the page, with the line's number.
func broken(body []byte, offset int, err error) error {
	for offset < len(body) && body[offset] == '\n' { // the parser passes over empty lines
		offset++
	}
	return &fault{Parse, fmt.Errorf("line %d: %s", line(body, offset), short(err.Error()))}
}

// line is the number of the line that holds an offset, from 1; the last one for the page's end.
func line(body []byte, offset int) int {
	if offset >= len(body) {
		offset = max(0, len(body)-1)
	}
	return 1 + bytes.Count(body[:offset], []byte{'\n'})
}

// duplicate says that a series stood on the page before.
type duplicate struct {
	key   string
	first int // offset
}

func (d *duplicate) Error() string { return d.key + " stands on the page twice" }

// reading is a page being read.
type reading struct {
	*reader
	page    *page
	target  *target
	at      int64
	builder *labels.Builder
	family  string // of the last TYPE
	kind    model.MetricType
	lines   map[string]int // offset by the key of a counted series

	created bool                // the page may hold _created series
	born    map[string]int64    // created time in ms by family and labels
	waiting map[string][]waiter // series whose created time may come later on the page
}

// waiter is a series of a part.
type waiter struct{ part, series int }

// sample takes the parser's present sample where it concerns a question. start is its created time
// in ms where the format says it with the sample; 0 where it does not.
func (in *reading) sample(parser textparse.Parser, name string, here int, start int64) error {
	_, stamp, value := parser.Series()
	quoted := strings.HasPrefix(name, "{") // {"a name in UTF-8", …}
	questions := in.names[name]
	created := in.created && (in.births[name] || len(in.nameless) > 0 || quoted)
	if len(questions) == 0 && len(in.nameless) == 0 && !quoted && !created && name != processStart {
		return nil
	}

	var own labels.Labels
	parser.Labels(&own)
	if n := own.Len(); n > mostLabels {
		return fmt.Errorf("%s has %d labels, %d are the most", short(name), n, mostLabels)
	}
	size := 0
	own.Range(func(l labels.Label) { size += len(l.Name) + len(l.Value) })
	if size > mostLabelBytes {
		return fmt.Errorf("%s has labels of %d bytes, %d are the most", short(name), size, mostLabelBytes)
	}
	if name, twice := own.HasDuplicateLabelNames(); twice {
		return fmt.Errorf("label %s stands in one series twice", name)
	}
	full := own.Get(model.MetricNameLabel)
	if full == processStart && own.Len() == 1 {
		in.page.started = milliseconds(value)
	}
	if quoted {
		questions = in.names[full]
	}
	if math.IsNaN(value) || stamp != nil && *stamp <= in.at-in.lookback {
		return nil
	}
	if in.created && full == in.family+"_created" && (in.kind == model.MetricTypeCounter || in.kind == model.MetricTypeHistogram) {
		if in.born == nil {
			in.born = map[string]int64{}
		}
		in.born[in.birth(own)] = milliseconds(value)
		return nil
	}
	if len(questions) == 0 && len(in.nameless) == 0 {
		return nil
	}
	l := in.attach(own)
	taken := false
	for _, of := range [2][]int{questions, in.nameless} {
		for _, i := range of {
			part := &in.page.parts[i]
			if histogram, bound, ok := in.plans[i].Bound(l); ok {
				if part.bounds == nil {
					part.bounds = selectors.Bounds{}
				}
				part.bounds.See(histogram, bound)
			}
			s, ok := in.plans[i].Series(l)
			if !ok {
				continue
			}
			if !taken {
				if first, twice := in.lines[s.Key]; twice {
					return &duplicate{s.Key, first}
				}
				in.lines[s.Key], taken = here, true
			}
			if in.created && in.family != "" {
				if in.waiting == nil {
					in.waiting = map[string][]waiter{}
				}
				key := in.birth(own)
				in.waiting[key] = append(in.waiting[key], waiter{i, len(part.series)})
			}
			s.Points = []increments.Point{{T: in.at, V: value, Start: start}}
			in.tell(&s)
			part.series = append(part.series, s)
		}
	}
	return nil
}

// tell keeps the series of two pages of one instance apart: Prometheus would mix them up.
func (in *reading) tell(s *increments.Series) {
	if in.target.page == "" {
		return
	}
	s.Key += "\xff" + in.target.page
	s.Target += "\xff" + in.target.page
	if s.Family != "" {
		s.Family += "\xff" + in.target.page
	}
}

// attach gives a series the target's labels, as Prometheus does without honor_labels, and its
// bound the one spelling: a target whose library begins to write 1.0 for 1 goes on counting.
func (in *reading) attach(l labels.Labels) labels.Labels {
	b := in.builder
	b.Reset(l)
	for _, own := range [2]labels.Label{{Name: "job", Value: in.job}, {Name: "instance", Value: in.target.instance}} {
		if value := l.Get(own.Name); value != "" {
			name := model.ExportedLabelPrefix + own.Name
			for b.Get(name) != "" {
				name = model.ExportedLabelPrefix + name
			}
			b.Set(name, value)
		}
		b.Set(own.Name, own.Value)
	}
	if le := l.Get(labels.BucketLabel); le != "" && strings.HasSuffix(l.Get(model.MetricNameLabel), "_bucket") {
		if bound, err := strconv.ParseFloat(le, 64); err == nil {
			b.Set(labels.BucketLabel, labels.FormatOpenMetricsFloat(bound))
		}
	}
	return b.Labels()
}

// birth is what a series and its _created series have in common, by their own labels.
func (in *reading) birth(l labels.Labels) string {
	in.builder.Reset(l)
	in.builder.Set(model.MetricNameLabel, in.family)
	in.builder.Del(labels.BucketLabel)
	return in.builder.Labels().String()
}

// bear gives series their created times. The parser could look ahead for them itself, but does so
// for every series anew, to the end of the family.
func (in *reading) bear() {
	for key, born := range in.born {
		for _, w := range in.waiting[key] {
			in.page.parts[w.part].series[w.series].Points[0].Start = born
		}
	}
}

// judge finds the histograms that a latency question cannot be answered from.
func (in *reading) judge() {
	for i := range in.page.parts {
		part, question := &in.page.parts[i], in.plans[i].Question
		if question.Indicator.Kind != sources.Latency {
			continue
		}
		part.shape(question.Indicator.Below)
		part.fault = part.bounds.Fault(question.Indicator.Below)
		for _, s := range part.series {
			family, _, _ := strings.Cut(s.Family, "\xff")
			_, classic := part.bounds[family]
			if _, ok := part.natives[s.Family]; !ok && !classic && part.fault == "" {
				// Counted all the same, a summary would have nothing but bad events.
				part.fault = fmt.Sprintf("%s has no buckets: a summary is no histogram", family)
			}
		}
	}
}

// milliseconds reads Unix seconds; 0 for what is no time. It rounds down: a start is never later
// than it was.
func milliseconds(seconds float64) int64 {
	if !(seconds > 0 && seconds < 1e11) {
		return 0
	}
	return int64(math.Floor(seconds * 1000))
}
