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
	"slices"
	"strings"
	"time"

	"github.com/golang/snappy"
	modelhist "github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/yoyu-sre/yoyu/internal/increments"
)

// Remote read hands over a long span as the compressed chunks that a Prometheus keeps, which saves
// it the evaluation and both sides a long text. It knows two ways to differ from a query: external
// labels are added to every series, and a server may not speak it. So the first answer is held
// against the query API (external), and a server that does not speak it is asked in text for good.
const (
	remotePath = "/api/v1/read"
	streamed   = "application/x-streamed-protobuf"
	longSpan   = time.Hour // from which a span is asked for by remote read
	maxFrame   = 64 << 20  // bytes of one message; Prometheus sends about 1 MiB
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
		query.Queries[0].Matchers = append(query.Queries[0].Matchers, &prompb.LabelMatcher{
			Type: prompb.LabelMatcher_Type(m.Type), Name: m.Name, Value: m.Value, // both count =, !=, =~, !~
		})
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
	samples := 0
	for {
		size, err := binary.ReadUvarint(in)
		if err == io.EOF {
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
			next := series{labels: labelsOf(one.Labels)}
			for i := range one.Chunks {
				n, err := next.chunk(&one.Chunks[i], start, end)
				if err != nil {
					return nil, err
				}
				if samples += n; samples > limit {
					return nil, &tooLarge{limit}
				}
			}
			if len(next.floats)+len(next.hists) > 0 {
				all = append(all, next)
			}
		}
	}
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
func (s *series) chunk(c *prompb.Chunk, start, end int64) (samples int, err error) {
	encoding := map[prompb.Chunk_Encoding]chunkenc.Encoding{
		prompb.Chunk_XOR: chunkenc.EncXOR, prompb.Chunk_HISTOGRAM: chunkenc.EncHistogram, prompb.Chunk_FLOAT_HISTOGRAM: chunkenc.EncFloatHistogram,
	}[c.Type]
	if encoding == chunkenc.EncNone {
		return 0, &unspoken{fmt.Sprintf("chunks of encoding %s", c.Type)}
	}
	if len(c.Data) < 2 {
		return 0, errors.New("a chunk without samples")
	}
	chunk, err := chunkenc.FromData(encoding, c.Data)
	if err != nil {
		return 0, fmt.Errorf("a chunk: %w", err)
	}
	last := int64(math.MinInt64)
	it := chunk.Iterator(nil)
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		t := it.AtT()
		if t <= last {
			return 0, errors.New("a chunk whose samples do not ascend")
		}
		last = t
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
	off      bool              // the server does not speak it, or it is not wanted
	compared bool              // an answer was held against the query API
	external map[string]string // labels that the server adds to every series
}

// distant asks for a long span by remote read; ok is false where the span has to be asked for in
// text: a short one, a server that does not speak remote read, and whatever went wrong.
func (s *Source) distant(ctx context.Context, youngest time.Time, r *request, start, end int64) (found []series, samples int, ok bool) {
	s.mu.Lock()
	known := s.remote
	s.mu.Unlock()
	if known.off || end-start < longSpan.Milliseconds() {
		return nil, 0, false
	}
	found, err := s.client.read(ctx, youngest, r.sel.Matchers, start, end, 2*int(s.limits.SamplesPerRequest))
	if err == nil && len(found) == 0 {
		return nil, 0, false // nothing there, or nothing this way: text costs no more
	}
	if err == nil && !known.compared {
		known.external, err = s.external(ctx, youngest, r, found, start, end)
		known.compared = err == nil
	}
	if err != nil {
		var strange *unspoken
		if known.off = errors.As(err, &strange); known.off {
			s.logger.Info("source "+s.name+": history is asked for in text", "err", err)
		} else {
			s.logger.Debug("source "+s.name+": a piece is asked for in text", "selector", r.sel.String(), "err", err)
		}
	}
	s.mu.Lock()
	s.remote = known
	s.mu.Unlock()
	if err != nil {
		return nil, 0, false
	}
	found = stripped(found, known.external)
	for _, one := range found {
		samples += len(one.floats)
		for _, h := range one.hists {
			samples += 1 + len(h.buckets)
		}
	}
	return found, samples, true
}

// external finds the labels that remote read adds to every series of an answer, which queries do
// not show: a series must be the same one in both. An answer that differs in another way is an
// *unspoken error.
func (s *Source) external(ctx context.Context, youngest time.Time, r *request, found []series, start, end int64) (map[string]string, error) {
	shown, err := s.existing(ctx, youngest, r.sel, start, end)
	if err != nil {
		return nil, err
	}
	added := map[string]string{}
	found[0].labels.Range(func(l labels.Label) { added[l.Name] = l.Value })
	for _, one := range found {
		for name, value := range added {
			if one.labels.Get(name) != value {
				delete(added, name)
			}
		}
	}
	names := map[string]bool{}
	for _, l := range shown {
		l.Range(func(l labels.Label) { delete(added, l.Name) })
		names[string(l.Bytes(nil))] = true
	}
	plain := stripped(found, added)
	if len(names) != len(plain) || slices.ContainsFunc(plain, func(one series) bool { return !names[string(one.labels.Bytes(nil))] }) {
		return nil, &unspoken{"its series are not those that queries show"}
	}
	return added, nil
}

// stripped are series without the labels that were added to them.
func stripped(all []series, added map[string]string) []series {
	if len(added) == 0 {
		return all
	}
	out := slices.Clone(all)
	for i := range out {
		b := labels.NewBuilder(out[i].labels)
		for name, value := range added {
			if out[i].labels.Get(name) == value {
				b.Del(name)
			}
		}
		out[i].labels = b.Labels()
	}
	return out
}
