package remotewrite

import (
	"fmt"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

const (
	// perRequest is how many samples one request holds, as Prometheus' max_samples_per_send.
	perRequest = 2000
	// longest is how long a request waits: servers take nothing that is much older than their newest.
	longest = time.Hour
	// mostBytes is what waits at most.
	mostBytes = 16 << 20
)

// queue holds the requests that were not taken yet, oldest first.
type queue struct {
	most    int // bytes
	waiting []request
	bytes   int
}

// request is the body of one, ready to be sent.
type request struct {
	body    []byte
	samples int
	at      time.Time // of its samples
}

// put makes requests of samples and puts them last.
func (q *queue) put(samples []prompb.TimeSeries, at time.Time) error {
	for len(samples) > 0 {
		part := samples[:min(len(samples), perRequest)]
		samples = samples[len(part):]
		one, err := newRequest(part, at)
		if err != nil {
			return err
		}
		q.waiting = append(q.waiting, one)
		q.bytes += len(one.body)
	}
	return nil
}

func newRequest(samples []prompb.TimeSeries, at time.Time) (request, error) {
	message := prompb.WriteRequest{Timeseries: samples}
	plain, err := message.Marshal()
	if err != nil {
		return request{}, fmt.Errorf("samples: cannot be encoded: %w", err)
	}
	return request{snappy.Encode(nil, plain), len(samples), at}, nil
}

// first takes the oldest request away.
func (q *queue) first() {
	q.bytes -= len(q.waiting[0].body)
	q.waiting[0] = request{}
	q.waiting = q.waiting[1:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
}

// halve puts two requests in the place of the oldest; false when it holds a single sample.
func (q *queue) halve() (bool, error) {
	one := q.waiting[0]
	if one.samples < 2 {
		return false, nil
	}
	plain, err := snappy.Decode(nil, one.body)
	if err != nil {
		return false, fmt.Errorf("samples: cannot be decoded: %w", err)
	}
	var message prompb.WriteRequest
	if err := message.Unmarshal(plain); err != nil {
		return false, fmt.Errorf("samples: cannot be decoded: %w", err)
	}
	half := len(message.Timeseries) / 2
	a, err := newRequest(message.Timeseries[:half], one.at)
	if err != nil {
		return false, err
	}
	b, err := newRequest(message.Timeseries[half:], one.at)
	if err != nil {
		return false, err
	}
	q.bytes += len(a.body) + len(b.body) - len(one.body)
	q.waiting = append([]request{a, b}, q.waiting[1:]...)
	return true, nil
}

// expire drops what waited too long, and says how many samples that were.
func (q *queue) expire(now time.Time) (samples int) {
	for len(q.waiting) > 0 && now.Sub(q.waiting[0].at) > longest {
		samples += q.waiting[0].samples
		q.first()
	}
	return samples
}

// shrink drops the oldest while there is more than memory is meant for. The newest stays.
func (q *queue) shrink() (samples int) {
	for q.bytes > q.most && len(q.waiting) > 1 {
		samples += q.waiting[0].samples
		q.first()
	}
	return samples
}
