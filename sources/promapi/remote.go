package promapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	modelhist "github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/yoyu-sre/yoyu/internal/increments"
	"github.com/yoyu-sre/yoyu/internal/selectors"
)

// Remote read hands over a long span as the compressed chunks that a Prometheus keeps, which saves
// both sides a long text: a tenth of the bytes, a third of the time and work, the check included.
//
// It is less careful than a query. A server adds its external labels to the series, takes matchers
// that name one for something else, keeps its warnings to itself; and a stream has no end of its
// own, so that one cut between two frames looks whole, also behind a proxy that hands it on as if
// it were. So no answer is believed: each is held against the query API, which says how many samples
// every series has (vouched). What differs, fails or is empty is asked for in text, whole; a
// server that does not speak remote read, or not as it is spoken here, is not asked again.
const (
	remotePath = "/api/v1/read"
	streamed   = "application/x-streamed-protobuf"
	longSpan   = time.Hour // from which a span is asked for by remote read
	maxFrame   = 64 << 20  // bytes of one message; Prometheus sends about 1 MiB
	maxLost    = 3         // answers in a row that text had to stand in for, before nobody asks any more
	maxTallied = 8 << 10   // bytes of a query for numbers of samples, beyond which another one is begun
	minChunk   = 4         // bytes; the header of any encoding is shorter, and its reader takes it for granted
	metricNote = "__yoyu_metric__"
)

// unspoken says that a server does not speak remote read as it is spoken here.
type unspoken struct{ text string }

func (u *unspoken) Error() string { return "remote read: " + u.text }

// read asks for the raw samples of the series that matchers choose in (start, end], in ms, for a
// question that ends at to. More than limit samples are a load error, as they are for a query. An
// *unspoken error means that this server has to be asked in text.
func (c *client) read(ctx context.Context, to time.Time, matchers []*labels.Matcher, start, end int64, limit int) ([]series, error) {
	const what = "remote read"
	release, err := c.gate.acquire(ctx, to)
	if err != nil {
		return nil, &Error{What: what, Text: "no turn came before the end of the time allowed", reason: "timeout", err: err}
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	query := prompb.ReadRequest{
		Queries:               []*prompb.Query{{StartTimestampMs: start + 1, EndTimestampMs: end}},
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS},
	}
	for _, m := range matchers {
		one := &prompb.LabelMatcher{Type: prompb.LabelMatcher_Type(m.Type), Name: m.Name, Value: m.Value} // both count =, !=, =~, !~
		if m.Type == labels.MatchEqual {
			// An external label = its value would become "does not carry the label". A pattern is
			// left alone, and one without wildcards costs the server no more.
			one.Type, one.Value = prompb.LabelMatcher_RE, regexp.QuoteMeta(m.Value)
		}
		query.Queries[0].Matchers = append(query.Queries[0].Matchers, one)
	}
	body, err := query.Marshal()
	if err != nil {
		return nil, &Error{What: what, Text: "the request could not be made", reason: "other", err: err}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(remotePath).String(), bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		return nil, &Error{What: what, Text: "the request could not be made", reason: "other", err: err}
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	r.Header.Set("X-Prometheus-Remote-Read-Version", "0.1.0")
	r.Header["X-Idempotency-Key"] = []string{} // as in fetch
	reply, err := c.http.Do(r)
	if err != nil {
		return nil, c.broken(ctx, what, err)
	}
	defer reply.Body.Close()
	switch reply.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		return nil, &unspoken{rejected(what, reply).Text}
	default:
		return nil, rejected(what, reply)
	}
	if media, _, err := mime.ParseMediaType(reply.Header.Get("Content-Type")); err != nil || media != streamed {
		return nil, &unspoken{"the answer is no stream of chunks"}
	}
	if !delimited(reply) {
		return nil, &unspoken{"the answer ends with its connection, as it would if it were cut"}
	}
	rest := &bounded{r: reply.Body, left: c.body}
	all, err := readChunks(rest, start, end, limit)
	var strange *unspoken
	var large *tooLarge
	switch {
	case err == nil:
		return all, nil
	case rest.over:
		return nil, &Error{What: what, Text: fmt.Sprintf("the answer is longer than %d MiB", c.body>>20), reason: "limit", load: true}
	case rest.err != nil:
		return nil, c.broken(ctx, what, rest.err)
	case errors.As(err, &large):
		return nil, &Error{What: what, Text: err.Error(), reason: "limit", load: true}
	case errors.As(err, &strange):
		return nil, err
	}
	return nil, &Error{What: what, Text: err.Error(), reason: "decode", err: err}
}

// delimited reports whether the end of an answer can be told from a connection that broke off.
func delimited(reply *http.Response) bool {
	return reply.ContentLength >= 0 || reply.ProtoMajor >= 2 || slices.Contains(reply.TransferEncoding, "chunked")
}

// tooLarge says that an answer holds more samples than it should.
type tooLarge struct{ limit int }

func (t *tooLarge) Error() string { return fmt.Sprintf("the answer has more than %d samples", t.limit) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readChunks reads a stream of frames: each is its length, a CRC-32C and a message of series with
// chunks. Samples outside of (start, end] are left out: chunks are sent whole. A stream that ends
// within a frame, or any byte that is not as it was sent, is an error, never a shorter answer.
func readChunks(r io.Reader, start, end int64, limit int) ([]series, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var all []series
	var frame bytes.Buffer
	var it chunkenc.Iterator
	samples := 0
	for {
		size, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return joined(all), nil
		}
		if err != nil {
			return nil, fmt.Errorf("the length of a frame: %w", err)
		}
		if size > maxFrame {
			return nil, fmt.Errorf("a frame of %d bytes", size)
		}
		var sum [4]byte
		if _, err := io.ReadFull(in, sum[:]); err != nil {
			return nil, fmt.Errorf("the checksum of a frame: %w", err)
		}
		frame.Reset()
		if n, err := io.CopyN(&frame, in, int64(size)); err != nil { // grows with what comes, not with what is said
			return nil, fmt.Errorf("a frame ends after %d of %d bytes", n, size)
		}
		if crc32.Checksum(frame.Bytes(), castagnoli) != binary.BigEndian.Uint32(sum[:]) {
			return nil, errors.New("a frame does not match its checksum")
		}
		var message prompb.ChunkedReadResponse
		if err := message.Unmarshal(frame.Bytes()); err != nil {
			return nil, fmt.Errorf("a frame: %w", err)
		}
		for _, one := range message.ChunkedSeries {
			next := chunked{series: series{labels: labelsOf(one.Labels)}, last: math.MinInt64, it: it}
			for i := range one.Chunks {
				n, err := next.chunk(&one.Chunks[i], start, end)
				if err != nil {
					return nil, err
				}
				if samples += n; samples > limit {
					return nil, &tooLarge{limit}
				}
			}
			it = next.it
			if len(next.floats)+len(next.hists) > 0 {
				all = append(all, next.series)
			}
		}
	}
}

// chunked is a series that is put together from the chunks of a message.
type chunked struct {
	series
	last int64             // ms, the time of the last sample that was read
	it   chunkenc.Iterator // used again
}

// encodings are those of the chunks that are understood here.
var encodings = map[prompb.Chunk_Encoding]chunkenc.Encoding{
	prompb.Chunk_XOR: chunkenc.EncXOR, prompb.Chunk_HISTOGRAM: chunkenc.EncHistogram, prompb.Chunk_FLOAT_HISTOGRAM: chunkenc.EncFloatHistogram,
	prompb.Chunk_XOR2: chunkenc.EncXOR2, prompb.Chunk_HISTOGRAM_ST: chunkenc.EncHistogramST, prompb.Chunk_FLOAT_HISTOGRAM_ST: chunkenc.EncFloatHistogramST,
}

func labelsOf(pairs []prompb.Label) labels.Labels {
	b := labels.NewScratchBuilder(len(pairs))
	for _, p := range pairs {
		b.Add(strings.Clone(p.Name), strings.Clone(p.Value)) // the frame is used again
	}
	b.Sort()
	return b.Labels()
}

// chunk appends the samples of a chunk that lie in (start, end], and says how many the chunk has.
func (s *chunked) chunk(c *prompb.Chunk, start, end int64) (samples int, err error) {
	encoding := encodings[c.Type]
	if encoding == chunkenc.EncNone {
		return 0, &unspoken{fmt.Sprintf("chunks of encoding %s", c.Type)}
	}
	if len(c.Data) < 2 {
		return 0, errors.New("a chunk without samples")
	}
	if len(c.Data) < minChunk {
		return 0, fmt.Errorf("a chunk: of %d bytes", len(c.Data))
	}
	chunk, err := chunkenc.FromData(encoding, c.Data)
	if err != nil {
		return 0, fmt.Errorf("a chunk: %w", err)
	}
	s.it = chunk.Iterator(s.it)
	it := s.it
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		t := it.AtT()
		if t <= s.last {
			return 0, errors.New("a series whose samples do not ascend")
		}
		s.last = t
		samples++
		if t <= start || t > end {
			continue
		}
		switch kind {
		case chunkenc.ValFloat:
			if _, v := it.At(); !value.IsStaleNaN(v) { // no query hands it over
				s.floats = append(s.floats, increments.Point{T: t, V: v})
			}
		case chunkenc.ValHistogram, chunkenc.ValFloatHistogram:
			_, h := it.AtFloatHistogram(nil)
			if value.IsStaleNaN(h.Sum) {
				continue
			}
			if err := h.Validate(); err != nil {
				return 0, fmt.Errorf("a native histogram: %w", err)
			}
			one := native(t, h)
			samples += len(one.buckets)
			s.hists = append(s.hists, one)
		}
	}
	if err := it.Err(); err != nil {
		return 0, fmt.Errorf("a chunk: %w", err)
	}
	return samples, nil
}

// native is a native histogram as the query API would have said it.
func native(t int64, h *modelhist.FloatHistogram) histogram {
	out := histogram{t: t, count: h.Count}
	for it := h.AllBucketIterator(); it.Next(); {
		if b := it.At(); b.Count != 0 {
			out.buckets = append(out.buckets, increments.Bucket{Lower: b.Lower, Upper: b.Upper, Count: b.Count})
		}
	}
	return out
}

// remote is what a source knows of its server's remote read.
type remote struct {
	off  bool // it is not wanted, or of no use
	lost int  // answers in a row that text had to stand in for
}

// errEmpty says that there is nothing to hold against the query API: text costs no more.
var errEmpty = errors.New("remote read: the answer is empty")

// distant asks for the samples in (start, end] by remote read. tried is false where that is not the
// way: for a short span, and for a server that is not asked so. After an error the span is to be
// asked for in text, and distrust called if that was the better answer.
func (s *Source) distant(ctx context.Context, youngest time.Time, r *request, start, end int64) (found []series, samples int, tried bool, err error) {
	s.mu.Lock()
	off := s.remote.off
	s.mu.Unlock()
	names, rest, listed := metrics(r.sel)
	if off || !listed || end-start < longSpan.Milliseconds() {
		return nil, 0, false, nil
	}
	// With the moment before the span: see vouched.
	found, err = s.client.read(ctx, youngest, r.sel.Matchers, start-1, end, 2*int(s.limits.SamplesPerRequest))
	if err == nil && len(found) == 0 {
		err = errEmpty
	}
	if err == nil {
		err = s.vouched(ctx, youngest, names, rest, found, start, end)
	}
	if err != nil {
		return nil, 0, true, err
	}
	s.mu.Lock()
	s.remote.lost = 0
	s.mu.Unlock()
	found = after(found, start)
	for _, one := range found {
		samples += len(one.floats)
		for _, h := range one.hists {
			samples += 1 + len(h.buckets)
		}
	}
	return found, samples, true, nil
}

// distrust notes an answer that text had to stand in for: what differs once may differ by a sample
// that came in between, what goes wrong again and again only costs time.
func (s *Source) distrust(r *request, err error) {
	if Reason(err) == "limit" {
		return // the span was too long, and nothing is wrong with the way
	}
	var strange *unspoken
	s.mu.Lock()
	s.remote.lost++
	first := !s.remote.off
	s.remote.off = s.remote.off || errors.As(err, &strange) || s.remote.lost >= maxLost
	off := s.remote.off
	s.mu.Unlock()
	if off && first {
		s.logger.Info("source "+s.name+": history is asked for in text", "selector", r.sel.String(), "err", err)
	} else {
		s.logger.Debug("source "+s.name+": a piece is asked for in text", "selector", r.sel.String(), "err", err)
	}
}

// metrics are the names that a selector chooses among, and its other matchers; ok is false where the
// names cannot be listed.
func metrics(sel selectors.Selector) (names []string, rest []*labels.Matcher, ok bool) {
	for i, m := range sel.Matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && m.Value != "" {
			names = []string{m.Value}
		} else if m.Name == model.MetricNameLabel && m.Type == labels.MatchRegexp {
			names = slices.Compact(slices.Sorted(slices.Values(m.SetMatches())))
		}
		if len(names) > 0 {
			return names, slices.Concat(sel.Matchers[:i], sel.Matchers[i+1:]), true
		}
	}
	return nil, nil, false
}

// vouched holds an answer of remote read, which must hold the moment start too, against the query
// API: the same series, all labels included, each with as many samples. A server's external labels
// are on all series that come by remote read and on none that is shown, so that they cannot pass
// unseen; a series of the answer that is not shown is an *unspoken error.
//
// Whether the left edge of the window belongs to it differs: it does not since Prometheus 3. So the
// window begins at a moment at which the answer has no sample; if it is short of one just there, the
// numbers differ.
func (s *Source) vouched(ctx context.Context, youngest time.Time, names []string, rest []*labels.Matcher, found []series, start, end int64) error {
	edge := start
	for _, one := range found {
		if len(one.floats) > 0 && one.floats[0].T == start || len(one.hists) > 0 && one.hists[0].t == start {
			edge = start - 1
		}
	}
	shown, err := s.sampled(ctx, youngest, names, rest, edge, end)
	if err != nil {
		return err
	}
	for _, one := range after(slices.Clone(found), edge) {
		n := len(one.floats) + len(one.hists)
		if n == 0 {
			continue
		}
		key := metricKey(one.labels, one.labels.Get(model.MetricNameLabel))
		want, ok := shown[key]
		switch {
		case !ok:
			return &unspoken{fmt.Sprintf("the series %s is none that queries show; has the server external labels?", one.labels)}
		case n != want:
			return &Error{What: "remote read", Text: fmt.Sprintf("%s has %d samples, %d in the query API", one.labels, n, want), reason: "decode"}
		}
		delete(shown, key)
	}
	if len(shown) > 0 {
		return &Error{What: "remote read", Text: fmt.Sprintf("%d series of the query API are missing", len(shown)), reason: "decode"}
	}
	return nil
}

// sampled are the numbers of samples in (start, end] of the series of these names that the rest of
// a selector chooses, by metricKey.
func (s *Source) sampled(ctx context.Context, youngest time.Time, names []string, rest []*labels.Matcher, start, end int64) (map[string]int, error) {
	out := map[string]int{}
	ask := func(expr string, names []string) error {
		a, err := s.client.instant(ctx, youngest, expr, end)
		if err != nil {
			return err
		}
		for _, one := range a.series {
			i, err := strconv.Atoi(one.labels.Get(metricNote))
			if err != nil || i < 0 || i >= len(names) || len(one.floats) != 1 {
				return &Error{What: "query", Text: "count_over_time gave no number", reason: "decode"}
			}
			out[metricKey(one.labels, names[i])] = int(one.floats[0].V)
		}
		return nil
	}
	var expr strings.Builder
	first := 0
	for i, name := range names {
		// The function drops the name, and "or" does not look at it.
		one := selectors.Selector{Matchers: append(slices.Clone(rest), labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))}
		if i > first {
			expr.WriteString(" or ")
		}
		fmt.Fprintf(&expr, `label_replace(count_over_time(%s[%dms]), "%s", "%d", "", "")`, one, end-start, metricNote, i-first)
		if i == len(names)-1 || expr.Len() > maxTallied {
			if err := ask(expr.String(), names[first:i+1]); err != nil {
				return nil, err
			}
			expr.Reset()
			first = i + 1
		}
	}
	return out, nil
}

// metricKey is the identity of a series by its name and its other labels.
func metricKey(l labels.Labels, name string) string {
	return labels.NewBuilder(l).Del(metricNote).Set(model.MetricNameLabel, name).Labels().String()
}
