package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/yoyu-sre/yoyu/internal/increments"
)

// native is what a page says of one native histogram beside its two counters.
type native struct {
	classic string // key of the _count series the same histogram has in its classic shape
	below   string // key of the series of observations below the threshold
	buckets []increments.Bucket
}

// isProtobuf reports whether a page says that it is protobuf.
func isProtobuf(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == protobuf
}

// readProtobuf reads a page of metric families, each a message behind its length. It holds native
// histograms, which no text has, and the created time beside every counter.
func (r *reader) readProtobuf(body []byte, contentType string, t *target, at int64) (*page, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["proto"] != family || params["encoding"] != "delimited" {
		return nil, &fault{Parse, fmt.Errorf("Content-Type %q is no format of metrics that was asked for", short(contentType))}
	}
	// Classic buckets come beside the native ones: a threshold that is a bound is answered exactly.
	parser := textparse.NewProtobufParser(body, false, true, false, false, labels.NewSymbolTable())
	p := &page{parts: make([]part, len(r.plans))}
	in := r.reading(p, t, at)
	families := 0
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, brokenFamily(families, in.family, err)
		}
		samples := 1
		switch entry {
		case textparse.EntryHelp:
			families++
		case textparse.EntryType:
			var name []byte
			name, in.kind = parser.Type()
			in.family = string(name)
		case textparse.EntrySeries:
			text, _, _ := parser.Series()
			err = in.sample(parser, nameOf(parser, text), families, parser.StartTimestamp())
		case textparse.EntryHistogram:
			samples, err = in.histogram(parser, families)
		}
		if entry != textparse.EntrySeries && entry != textparse.EntryHistogram {
			continue
		}
		if p.samples += samples; p.samples > r.samples {
			return nil, &fault{SampleLimit, fmt.Errorf("more than %d samples (limits.samples)", r.samples)}
		}
		if err != nil {
			var twice *duplicate
			if errors.As(err, &twice) {
				err = fmt.Errorf("%s stands in metric family %d already", twice.key, twice.first)
			}
			return nil, brokenFamily(families, in.family, err)
		}
	}
	in.judge()
	return p, nil
}

// nameOf is the name of the parser's present series: what it writes before the first separator,
// unless a label comes before the name by the alphabet.
func nameOf(parser textparse.Parser, series []byte) string {
	if i := bytes.IndexByte(series, model.SeparatorByte); i > 0 {
		return string(series[:i])
	} else if i < 0 {
		return string(series)
	}
	var l labels.Labels
	parser.Labels(&l)
	return strings.Clone(l.Get(model.MetricNameLabel))
}

// brokenFamily is an error within a page, with the family after or in which it was found.
func brokenFamily(number int, name string, err error) error {
	text := strings.TrimPrefix(err.Error(), "clientpb: ") // a package of the parser's
	return &fault{Parse, fmt.Errorf("metric family %d (%s): %s", number, short(name), short(text))}
}

// histogram takes the parser's present native histogram where it concerns a question, and says for
// how many samples it stands: itself and its buckets.
func (in *reading) histogram(parser textparse.Parser, here int) (samples int, err error) {
	text, stamp, whole, float := parser.Histogram()
	samples = 1
	switch {
	case whole != nil:
		samples += len(whole.PositiveBuckets) + len(whole.NegativeBuckets)
		err = whole.Validate()
	case float != nil:
		samples += len(float.PositiveBuckets) + len(float.NegativeBuckets)
		err = float.Validate()
	}
	questions := in.names[nameOf(parser, text)]
	if err != nil || len(questions) == 0 || in.kind == model.MetricTypeGaugeHistogram || stamp != nil && *stamp <= in.at-in.lookback {
		return samples, err
	}
	if whole != nil {
		float = whole.ToFloat(nil)
	}
	if math.IsNaN(float.Count) { // what is stale says so
		return samples, nil
	}
	var own labels.Labels
	parser.Labels(&own)
	if name, twice := own.HasDuplicateLabelNames(); twice {
		return samples, fmt.Errorf("label %s stands in one series twice", name)
	}
	l := in.attach(own)
	in.builder.Reset(l)
	classic := in.builder.Set(model.MetricNameLabel, l.Get(model.MetricNameLabel)+"_count").Labels().String()
	taken := false
	for _, i := range questions {
		count, below, ok := in.plans[i].Native(l)
		if !ok {
			continue
		}
		if !taken {
			if first, twice := in.lines[count.Key]; twice {
				return samples, &duplicate{count.Key, first}
			}
			in.lines[count.Key], taken = here, true
		}
		one := native{classic: classic, buckets: buckets(float)}
		threshold := in.plans[i].Question.Indicator.Below
		count.Points = []increments.Point{{T: in.at, V: float.Count, Start: parser.StartTimestamp()}}
		below.Points = []increments.Point{{T: in.at, V: increments.Below(increments.Positive(one.buckets), threshold), Start: parser.StartTimestamp()}}
		in.tell(&count)
		in.tell(&below)
		if in.target.page != "" {
			one.classic += "\xff" + in.target.page
		}
		one.below = below.Key
		part := &in.page.parts[i]
		if part.natives == nil {
			part.natives = map[string]native{}
		}
		part.natives[count.Family] = one
		part.series = append(part.series, count, below)
	}
	return samples, nil
}

// buckets are the buckets of a native histogram that hold something, ascending.
func buckets(h *histogram.FloatHistogram) []increments.Bucket {
	out := make([]increments.Bucket, 0, len(h.PositiveBuckets)+len(h.NegativeBuckets)+1)
	for it := h.AllBucketIterator(); it.Next(); {
		if b := it.At(); b.Count != 0 {
			out = append(out, increments.Bucket{Lower: b.Lower, Upper: b.Upper, Count: b.Count})
		}
	}
	return out
}

// shape keeps of every histogram that came in both shapes the one that can answer: the classic one
// where the threshold is one of its bounds, else the native one.
func (p *part) shape(threshold float64) {
	if len(p.natives) == 0 {
		return
	}
	drop := map[string]bool{} // keys of series that do not count
	for _, s := range p.series {
		name, _, _ := strings.Cut(s.Family, "\xff")
		one, both := p.natives[s.Family]
		bounds, classic := p.bounds[name]
		if !both || !classic {
			continue
		}
		ofNative := s.Key == s.Family || s.Key == one.below
		if slices.Contains(bounds, threshold) == ofNative {
			drop[s.Key] = true
		}
	}
	p.series = slices.DeleteFunc(p.series, func(s increments.Series) bool { return drop[s.Key] })
	for family := range p.natives {
		name, _, _ := strings.Cut(family, "\xff")
		if bounds, classic := p.bounds[name]; !classic {
			continue
		} else if slices.Contains(bounds, threshold) {
			delete(p.natives, family)
		} else {
			delete(p.bounds, name) // not asked
		}
	}
}

// settle prepares the histograms of a page for the memory. One that changed its shape begins as a
// baseline: its new counters have counted all along. One whose buckets were made coarser may be
// estimated lower than before although nothing was reset; it stays where it was.
func (q *question) settle(p part) {
	for i := range p.series {
		s := &p.series[i]
		if s.Family == "" || len(s.Points) == 0 {
			continue
		}
		now := &s.Points[0]
		one, isNative := p.natives[s.Family]
		other := s.Family // the count of the native shape
		if isNative {
			other = one.classic
		}
		last, known := q.memory.Last(s.Key)
		if before, ok := q.memory.Last(other); ok && (!known || before.T > last.T) {
			baseline := *s
			baseline.Role = 0
			q.memory.Recall(baseline, *now)
			continue
		}
		if !isNative || s.Key != one.below {
			continue
		}
		if count, ok := q.memory.Last(s.Family); ok && known && now.V < last.V && !q.reset(p, s.Family, count) &&
			!increments.SameLayout(q.layouts[s.Family], one.buckets) {
			now.V = last.V
		}
	}
	for family, one := range p.natives {
		if q.layouts == nil {
			q.layouts = map[string][]increments.Bucket{}
		}
		q.layouts[family] = one.buckets
	}
}

// reset reports whether a native histogram began again since its count was last seen.
func (q *question) reset(p part, family string, last increments.Point) bool {
	i := slices.IndexFunc(p.series, func(s increments.Series) bool { return s.Key == family })
	if i < 0 {
		return true
	}
	now := p.series[i].Points[0]
	return now.V < last.V || now.Start > last.T && now.Start != last.Start
}
