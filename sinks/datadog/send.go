package datadog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
)

// The limits of a request. They are those of the intake of version 2, with some room: a proxy in
// front may hold the requests of version 1 to them.
const (
	maxSeries   = 10_000
	maxInflated = 5_000_000 // bytes before compression
	maxWire     = 500_000   // bytes after it
)

const (
	// requestTimeout is for one request, with everything it has to wait for.
	requestTimeout = 15 * time.Second

	// retryFor is how long one write tries again; after that the next report does.
	retryFor = 10 * time.Second

	// firstWait and longestWait bound the waits between tries, each of which is random.
	firstWait   = time.Second
	longestWait = 64 * time.Second

	// longestPause is how long a write may be put off because Datadog asked for it: what is held
	// back must not grow too old meanwhile.
	longestPause = 5 * time.Minute

	// answerLimit is how much of an answer is read: an intake says little, a broken proxy may not.
	answerLimit = 1 << 20

	// maxSkew is how far the clocks of Datadog and of this machine may be apart without a word.
	maxSkew = 2 * time.Minute
)

// fate is what becomes of a part that was not taken.
type fate int

const (
	dropped fate = iota // never to be sent
	taken               // with complaints
	halved              // too large: to be sent in two
	held                // to be sent with the next report
	again               // to be tried soon
	rekeyed             // to be tried with another key
)

// failure is why a part was not taken, and what becomes of it.
type failure struct {
	err   error // a *datadogapi.Error, or one with its word
	fate  fate
	reset time.Duration // how long Datadog asks to wait; 0: it did not say
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// errTooLarge is a request that is not even sent.
var errTooLarge = errors.New("request is larger than an intake takes")

// send sends everything in the outbox, part by part. What may succeed later stays there.
func (s *Sink) send(ctx context.Context) error {
	if n := s.outbox.expire(time.Now()); n > 0 {
		s.dropped("too_old", n)
	}
	if len(s.outbox.points) == 0 {
		return ctx.Err()
	}
	if wait := time.Until(s.pause); wait > 0 {
		return fmt.Errorf("%w: waiting another %s, as it asked for", s.refused, wait.Round(time.Second))
	}
	keyed, err := s.api.Context(ctx)
	if err != nil {
		return err
	}
	d := delivery{sink: s, keyed: keyed, until: time.Now().Add(retryFor)}
	var failed []error
	for ids := s.outbox.ids(); len(ids) > 0 && ctx.Err() == nil && !d.over; {
		var part []string
		part, ids = s.outbox.cut(ids)
		if err := d.deliver(ctx, part); err != nil {
			failed = append(failed, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(failed...)
}

// delivery is one go at the outbox.
type delivery struct {
	sink  *Sink
	keyed context.Context // with the address and the key
	tries int             // that failed and were followed by a wait
	until time.Time       // no wait lasts longer
	over  bool            // there is no point in sending the other parts
}

// deliver sends one part, and takes it out of the outbox once it has been taken or never will be.
func (d *delivery) deliver(ctx context.Context, part []string) error {
	s := d.sink
	for {
		f := s.submit(d.keyed, part)
		if f == nil {
			s.outbox.remove(part)
			return nil
		}
		if ctx.Err() != nil {
			return nil // send says it, once
		}
		switch f.fate {
		case halved:
			if len(part) > 1 {
				return errors.Join(d.deliver(ctx, part[:len(part)/2]), d.rest(ctx, part[len(part)/2:]))
			}
			s.dropped("too_large", 1)
			s.outbox.remove(part)
			return f
		case taken:
			s.outbox.remove(part)
			return f
		case dropped:
			s.dropped("bad_request", len(part))
			s.outbox.remove(part)
			return f
		case rekeyed:
			if keyed, err := s.api.Context(ctx); err == nil && !datadogapi.SameKeys(keyed, d.keyed) {
				d.keyed = keyed
				continue
			}
			d.over = true
			return f
		case again:
			if d.wait(ctx, f) {
				continue
			}
		}
		d.over = true
		return f
	}
}

// rest delivers the second half of a part, unless the first has shown that there is no point.
func (d *delivery) rest(ctx context.Context, part []string) error {
	if d.over || ctx.Err() != nil {
		return nil
	}
	return d.deliver(ctx, part)
}

// wait waits before the next try; false when that would take too long.
func (d *delivery) wait(ctx context.Context, f *failure) bool {
	longest := min(firstWait<<min(d.tries, 6), longestWait)
	wait := rand.N(longest)
	if f.reset > 0 {
		wait = f.reset + rand.N(time.Second)
	}
	d.tries++
	end := time.Now().Add(wait)
	deadline, limited := ctx.Deadline()
	if end.After(d.until) || limited && end.After(deadline) {
		if f.reset > 0 {
			d.sink.pause, d.sink.refused = time.Now().Add(min(wait, longestPause)), f
		}
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// submit makes one request.
func (s *Sink) submit(ctx context.Context, part []string) *failure {
	answer, response, err := s.metrics.SubmitMetrics(ctx, datadogV1.MetricsPayload{Series: s.outbox.series(part)}, //nolint:bodyclose // the client has read and closed it
		*datadogV1.NewSubmitMetricsOptionalParameters().WithContentEncoding(datadogV1.METRICCONTENTENCODING_GZIP))
	if response != nil {
		s.compareClocks(response.Header.Get("Date"))
	}
	if err == nil {
		// A proxy in front may answer as the intake of version 2 does: accepted, with complaints.
		if complaints, ok := answer.AdditionalProperties["errors"].([]any); ok && len(complaints) > 0 {
			s.dropped("bad_request", min(len(complaints), len(part)))
			return &failure{err: datadogapi.Said(ctx, "series", "partial", fmt.Sprint(complaints...)), fate: taken}
		}
		return nil
	}
	if errors.Is(err, errTooLarge) {
		return &failure{err: datadogapi.Failed("series", "limit", "%v", errTooLarge), fate: halved}
	}
	fault := datadogapi.Fault(ctx, "series", response, err)
	var e *datadogapi.Error
	if errors.As(fault, &e) && e.Status > 0 {
		return judge(e)
	}
	return &failure{err: fault, fate: again}
}

// judge says what becomes of a part after an answer other than yes.
func judge(e *datadogapi.Error) *failure {
	f := &failure{err: e, fate: held} // somebody else is at the address
	switch code := e.Status; {
	case code == http.StatusRequestEntityTooLarge:
		f.fate = halved
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		f.fate = rekeyed
	case code == http.StatusRequestTimeout, code >= 500:
		f.fate = again
	case code == http.StatusTooManyRequests:
		f.fate = again
		if seconds, err := strconv.Atoi(e.Header.Get("X-Ratelimit-Reset")); err == nil && seconds > 0 {
			f.reset = time.Duration(min(seconds, 24*3600)) * time.Second
		}
	case code == http.StatusBadRequest, code == http.StatusUnprocessableEntity:
		f.fate = dropped
	}
	return f
}

// compareClocks says once when Datadog's clock is another: points are lost without a word when
// they seem to be from the past or the future.
func (s *Sink) compareClocks(date string) {
	at, err := http.ParseTime(date)
	if err != nil {
		return
	}
	skew := time.Until(at)
	wrong := skew.Abs() > maxSkew
	if wrong && !s.skewed {
		s.log.Warn("Datadog's clock differs from this machine's: it silently loses points that are ten minutes ahead or an hour behind",
			"sink", s.name, "ahead", skew.Round(time.Second).String())
	}
	s.skewed = wrong
}

// bounded sends no request that is too large.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.ContentLength > maxWire {
		request.Body.Close()
		return nil, errTooLarge
	}
	return b.RoundTripper.RoundTrip(request)
}
