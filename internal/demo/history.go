package demo

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Names and buckets, in the history as on the pods.
const (
	requestsName  = "http_requests"
	durationsName = "http_request_duration_seconds"
)

var bounds = []float64{0.1, 0.3, 1}

// What a request takes on the mean, in seconds, by the bucket it falls into: the history's sums.
var typical = [4]float64{0.055, 0.18, 0.6, 1.15}

// History writes what the pods would have shown from one moment to another, both included, as
// OpenMetrics text with timestamps: what `promtool tsdb create-blocks-from openmetrics` takes.
//
// Samples lie on whole steps before the opening and never after it; the step is rounded down to
// whole minutes, at least one. Counters have the value they would have: a history that begins
// later is the tail of one that begins earlier. Pods restart in it and all their counters start
// again, from zero: every series of a pod is born with it. Only checkout's durations are in it,
// which the demo's objectives ask for.
func (s *Shop) History(w io.Writer, from, to time.Time, step time.Duration) error {
	each := max(1, int64(step/time.Minute))
	first := -floorDiv(s.story.opening-from.Unix(), 60*each) * each
	last := min(0, floorDiv(floorDiv(to.Unix()-s.story.opening, 60), each)*each)
	var minutes []int64
	for k := first; k <= last; k += each {
		minutes = append(minutes, k)
	}
	return s.story.write(w, minutes)
}

// Month writes the thirty days up to the opening: every minute of the last three days, and every
// fifth before, which is as far apart as samples may lie without a gap. The text is a quarter of
// what it would be. What a pod counts after its last sample and before its end is lost, as it is
// to every scraper.
func (s *Shop) Month(w io.Writer) error {
	var minutes []int64
	for k := int64(-month); k < -month/10; k += 5 {
		minutes = append(minutes, k)
	}
	for k := int64(-month / 10); k <= 0; k++ {
		minutes = append(minutes, k)
	}
	return s.story.write(w, minutes)
}

// write writes the values at the ends of the minutes, which ascend.
func (s *story) write(to io.Writer, minutes []int64) error {
	w := &text{Writer: bufio.NewWriterSize(to, 1<<16), times: make([]string, len(minutes))}
	for i, k := range minutes {
		w.times[i] = " " + strconv.FormatInt(s.opening+60*k, 10) + "\n"
	}
	totals := make([][]count, len(counters))
	for i, c := range counters {
		totals[i] = s.totals(c, minutes)
	}
	w.head(requestsName, "counter", requestsHelp)
	for i, c := range counters {
		for _, code := range c.route.codes() {
			series := fmt.Sprintf(`%s_total{code="%d",%s} `, requestsName, code, c.labels())
			w.series(series, totals[i], func(c count) uint64 {
				switch code {
				case http.StatusOK:
					return c.fine
				case http.StatusNotFound:
					return c.unknown
				}
				return c.failed
			})
		}
	}
	w.head(durationsName, "histogram", durationsHelp)
	for i, c := range counters {
		if c.service.timed {
			w.histogram(c.labels(), totals[i])
		}
	}
	_, _ = w.WriteString("# EOF\n") // an error stays with the writer: Flush returns it
	if err := w.Flush(); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// counter is one route of one pod: what counts together and starts again together.
type counter struct {
	service *service
	pod     int    // of the service
	route   *route // of the service
	life    uint64 // number of the pod in the shop
	stream  uint64 // number of the counter in the shop
}

var counters = func() (out []counter) {
	life := uint64(0)
	for _, service := range services {
		for pod := range service.pods {
			for _, r := range service.routes {
				out = append(out, counter{service, pod, r, life, uint64(len(out))})
			}
			life++
		}
	}
	return out
}()

// labels are those of the counter as a scraper would attach them.
func (c counter) labels() string {
	return fmt.Sprintf(`instance="%s.shop:8080",job="shop",route="%s",service="%s"`, podName(c.service, c.pod), c.route.path, c.service.name)
}

// totals are the counts since the pod's birth, at the end of each of the minutes.
func (s *story) totals(c counter, minutes []int64) []count {
	out := make([]count, len(minutes))
	if len(minutes) == 0 {
		return out
	}
	var sum count
	k := s.birth(c.life, minutes[0]) // the next minute to count
	for i, end := range minutes {
		if born := s.birth(c.life, end); born >= k {
			k, sum = born, count{}
		}
		for ; k <= end; k++ {
			n := s.count(c, k)
			sum.fine += n.fine
			sum.unknown += n.unknown
			sum.failed += n.failed
			sum.slow += n.slow
			sum.slowest += n.slowest
		}
		out[i] = sum
	}
	return out
}

// codes are the answers that a route gives.
func (r *route) codes() []int {
	if r.unknown > 0 {
		return []int{http.StatusOK, http.StatusNotFound, r.broken}
	}
	return []int{http.StatusOK, r.broken}
}

// text writes samples of series at the same moments.
type text struct {
	*bufio.Writer
	times []string // blank, timestamp and newline
	line  []byte
}

func (w *text) head(name, kind, help string) {
	fmt.Fprintf(w, "# TYPE %s %s\n# HELP %s %s\n", name, kind, name, help)
}

func (w *text) series(series string, totals []count, value func(count) uint64) {
	for i, c := range totals {
		w.line = append(w.line[:0], series...)
		w.line = strconv.AppendUint(w.line, value(c), 10)
		w.line = append(w.line, w.times[i]...)
		_, _ = w.Write(w.line)
	}
}

// histogram writes the points of a histogram whole, one after the other, as OpenMetrics wants it.
func (w *text) histogram(labels string, totals []count) {
	var heads []string
	for _, b := range append(bounds[:len(bounds):len(bounds)], 0) {
		le := strconv.FormatFloat(b, 'f', -1, 64)
		switch b {
		case 0:
			le = "+Inf"
		case 1:
			le = "1.0"
		}
		heads = append(heads, fmt.Sprintf(`%s_bucket{le="%s",%s} `, durationsName, le, labels))
	}
	countHead := fmt.Sprintf("%s_count{%s} ", durationsName, labels)
	sumHead := fmt.Sprintf("%s_sum{%s} ", durationsName, labels)
	for i, c := range totals {
		all := c.all()
		under := [4]uint64{uint64(brisk * float64(all-c.slow)), all - c.slow, all - c.slowest, all}
		sum, below := 0.0, uint64(0)
		w.line = w.line[:0]
		for j, n := range under {
			sum += typical[j] * float64(n-below)
			below = n
			w.line = append(w.line, heads[j]...)
			w.line = strconv.AppendUint(w.line, n, 10)
			w.line = append(w.line, w.times[i]...)
		}
		w.line = append(w.line, countHead...)
		w.line = strconv.AppendUint(w.line, all, 10)
		w.line = append(w.line, w.times[i]...)
		w.line = append(w.line, sumHead...)
		w.line = strconv.AppendFloat(w.line, sum, 'f', 3, 64)
		w.line = append(w.line, w.times[i]...)
		_, _ = w.Write(w.line)
	}
}
