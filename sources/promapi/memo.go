package promapi

import (
	"bytes"
	"hash/maphash"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/yoyu-sre/yoyu/internal/increments"
)

// memo remembers the labels of series by the text in which a server writes them. The same question
// is answered by the same series in the same order again and again, so that of most series nothing
// is read but that they are the next one. It is of use for one answer at a time.
//
// There may be many of them for a long time, so there are few pointers: they would cost the garbage
// collector more than they are worth.
type memo struct {
	buf, word []byte // of the scanner

	texts   []byte // of all metrics
	metrics []metric
	known   map[uint64]int32 // by the hash of the text; of two with one hash, one
	seed    maphash.Seed

	last  int32 // that came, as an index and one more; 0: none
	first int32 // of the present answer
}

// metric is the beginning of a series: the text {"metric":{…} with the labels that it says.
type metric struct {
	labels          labels.Labels
	from, to        int32 // its place in texts
	next            int32 // what followed it last time, as an index and one more
	series, samples int32 // of the last answer that began with it
}

// maxMemo bounds the texts that are remembered, in bytes: some 100,000 series. Beyond it all is
// learnt anew, so that series that have gone do not stay for ever.
const maxMemo = 16 << 20

// learn notes the labels of a text, if it is what a series begins with and not more.
func (m *memo) learn(text []byte, l labels.Labels) {
	if !bytes.HasPrefix(text, []byte(`{"metric":{`)) {
		return // white space, which no server writes
	}
	if len(m.texts)+len(text) > maxMemo || m.known == nil {
		*m = memo{buf: m.buf, word: m.word, known: map[uint64]int32{}, seed: maphash.MakeSeed()}
		if len(text) > maxMemo {
			return
		}
	}
	from := int32(len(m.texts))
	m.texts = append(m.texts, text...)
	m.metrics = append(m.metrics, metric{labels: l, from: from, to: int32(len(m.texts))})
	m.known[maphash.Bytes(m.seed, text)] = int32(len(m.metrics))
	m.came(int32(len(m.metrics)))
}

// came notes which one came.
func (m *memo) came(one int32) {
	if m.last != 0 {
		m.metrics[m.last-1].next = one
	}
	if m.first == 0 {
		m.first = one
	}
	m.last = one
}

// end notes how long an answer was.
func (m *memo) end(a *answer) {
	if m.first != 0 {
		one := &m.metrics[m.first-1]
		one.series, one.samples = int32(len(a.series)), int32(min(a.samples, 1<<20))
		m.first = 0
	}
}

// begins reports whether text begins with a metric's. Then it says the same labels: the braces of the
// metric's are closed.
func (m *memo) begins(text []byte, one int32) bool {
	known := m.texts[m.metrics[one-1].from:m.metrics[one-1].to]
	return len(text) >= len(known) && bytes.Equal(text[:len(known)], known)
}

// expected is the metric that text begins with, if it is known; else 0.
func (m *memo) expected(text []byte) int32 {
	if m.last != 0 {
		if one := m.metrics[m.last-1].next; one != 0 && m.begins(text, one) {
			return one
		}
	}
	end := bytes.IndexByte(text, '}') // one within a label's value is no end, and then nothing is found
	if end < 0 || len(m.metrics) == 0 {
		return 0
	}
	if one := m.known[maphash.Bytes(m.seed, text[:end+1])]; one != 0 && m.begins(text, one) {
		return one
	}
	return 0
}

// quick takes a series whose labels are known and whose samples are few, if it is written as servers
// write it. It takes nothing of what is written otherwise.
func (s *scanner) quick(a *answer) bool {
	index := s.memo.expected(s.buf[s.pos:s.end])
	if index == 0 {
		return false
	}
	found := &s.memo.metrics[index-1]
	if len(a.series) == 0 {
		a.series, s.points = make([]series, 0, found.series), make([]increments.Point, found.samples)
	}
	one := series{labels: found.labels}
	length := int(found.to - found.from)
	width := s.brief(&one, s.buf[s.pos+length:s.end])
	if width == 0 {
		return false
	}
	s.memo.came(index)
	s.pos += length + width
	a.samples += len(one.floats)
	a.series = append(a.series, one)
	return true
}

// brief reads the rest of a series that is one sample or a few, whole numbers written without white
// space. Its width is 0 where something else stands there.
func (s *scanner) brief(one *series, text []byte) (width int) {
	const value, values = `,"value":`, `,"values":[`
	switch {
	case bytes.HasPrefix(text, []byte(value)):
		t, v, w := s.pair(text[len(value):])
		if width = len(value) + w; w == 0 || width >= len(text) || text[width] != '}' {
			return 0
		}
		one.floats = append(s.room(1), increments.Point{T: t, V: v})
		return width + 1
	case bytes.HasPrefix(text, []byte(values)):
		width = len(values)
	default:
		return 0
	}
	var floats [8]increments.Point
	n := 0
	for more := true; more; n++ {
		if n == len(floats) {
			return 0
		}
		t, v, w := s.pair(text[width:])
		if w == 0 || n > 0 && floats[n-1].T > t {
			return 0
		}
		floats[n] = increments.Point{T: t, V: v}
		width += w
		more = width < len(text) && text[width] == ','
		if more {
			width++
		}
	}
	const end = "]}"
	if !bytes.HasPrefix(text[width:], []byte(end)) {
		return 0
	}
	one.floats = append(s.room(n), floats[:n]...)
	return width + len(end)
}

// pair reads [1772323230.123,"37"], a time with at most three digits behind the point and a whole
// number. Its width is 0 where something else stands there.
func (s *scanner) pair(text []byte) (t int64, v float64, width int) {
	// The results of one question mostly bear one time.
	if p := &s.stamp; p.width > 0 && len(text) > p.width && string(text[:p.width]) == string(p.text[:p.width]) {
		t, width = p.t, p.width
	} else if t, width = stamp(text); width == 0 {
		return 0, 0, 0
	} else if width <= len(p.text) {
		p.t, p.width = t, copy(p.text[:], text[:width])
	}
	n, begin := int64(0), width
	for ; width < len(text); width++ {
		c := text[width] - '0'
		if c > 9 {
			break
		}
		n = n*10 + int64(c)
	}
	if digits := width - begin; digits == 0 || digits > 15 || len(text) < width+2 || text[width] != '"' || text[width+1] != ']' {
		return 0, 0, 0
	}
	return t, float64(n), width + 2
}

// stamp reads [1772323230.123," as milliseconds.
func stamp(text []byte) (t int64, width int) {
	end := bytes.IndexByte(text[:min(len(text), 24)], ',')
	if end < 2 || text[0] != '[' || len(text) < end+2 || text[end+1] != '"' {
		return 0, 0
	}
	whole, fraction, dot := bytes.Cut(text[1:end], []byte{'.'})
	t, ok := digits(whole)
	if !ok || len(whole) > 12 {
		return 0, 0
	}
	t *= 1000
	if dot {
		ms, ok := digits(fraction)
		if !ok || len(fraction) > 3 {
			return 0, 0
		}
		for range 3 - len(fraction) {
			ms *= 10
		}
		t += ms
	}
	return t, end + 2
}

// memos are lent to one answer at a time.
type memos struct {
	mu    sync.Mutex
	spare []*memo
}

func (m *memos) borrow() *memo {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last := len(m.spare) - 1; last >= 0 {
		one := m.spare[last]
		m.spare = m.spare[:last]
		return one
	}
	return &memo{}
}

func (m *memos) give(one *memo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.spare) < 4 {
		m.spare = append(m.spare, one)
	}
}
