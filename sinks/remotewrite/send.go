package remotewrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// retryFor is how long one write tries again at most; after that the next report does. Half of
	// the time between reports is enough, too: a write that takes longer misses the next one.
	retryFor = 10 * time.Second
	// firstWait and longestWait bound the waits between tries, each of which is random.
	firstWait   = 200 * time.Millisecond
	longestWait = 5 * time.Second
	// longestPause is how long a write may be put off because the server asked for it.
	longestPause = 5 * time.Minute
	answerLimit  = 64 << 10
	excerpt      = 200 // how much of an answer's own words goes into an error
)

// failure is why a request was not taken.
type failure struct {
	text   string
	reason string        // one of the pipeline's closed list
	status int           // 0: there was no answer
	wait   time.Duration // what the server asks for; 0: nothing
	cause  error
}

func (f *failure) Error() string { return "write: " + f.text }

// Reason is the word for the failure in yoyu_sink_failures_total.
func (f *failure) Reason() string { return f.reason }

func (f *failure) Unwrap() error { return f.cause }

// again reports whether the same request may be taken later.
func (f *failure) again() bool {
	return f.status == 0 || f.status == http.StatusTooManyRequests || f.status >= 500 || f.status >= 300 && f.status < 400
}

// send sends what waits, oldest first, as long as there is a point in it.
func (s *Sink) send(ctx context.Context, patience time.Duration) error {
	if n := s.queue.expire(time.Now()); n > 0 {
		s.dropped("too_old", n)
	}
	if n := s.queue.shrink(); n > 0 {
		s.dropped("overflow", n)
	}
	if wait := time.Until(s.pause); wait > 0 && len(s.queue.waiting) > 0 {
		return fmt.Errorf("%w: waiting another %s, as it asked for", s.why, wait.Round(time.Second))
	}
	until := time.Now().Add(patience)
	var refused error // the first for good
	for tries := 0; len(s.queue.waiting) > 0; {
		one := s.queue.waiting[0]
		f := s.post(ctx, one.body)
		switch {
		case f == nil:
			s.queue.first()
			tries = 0
		case ctx.Err() != nil:
			return ctx.Err()
		case f.status == http.StatusRequestEntityTooLarge:
			halved, err := s.queue.halve()
			if err != nil {
				return err
			}
			if !halved {
				s.dropped("too_large", 1)
				s.queue.first()
				refused = first(refused, f)
			}
		case !f.again():
			s.dropped("bad_request", one.samples)
			s.queue.first()
			refused = first(refused, f)
		case !s.wait(ctx, f, tries, until):
			return errors.Join(refused, f)
		default:
			tries++
		}
	}
	return refused
}

func first(a error, b *failure) error {
	if a != nil {
		return a
	}
	return b
}

// wait waits before the next try; false when that would take too long.
func (s *Sink) wait(ctx context.Context, f *failure, tries int, until time.Time) bool {
	pause := rand.N(min(firstWait<<min(tries, 10), longestWait)) + f.wait
	end := time.Now().Add(pause)
	deadline, limited := ctx.Deadline()
	if end.After(until) || limited && end.After(deadline) {
		if f.wait > 0 {
			s.pause, s.why = time.Now().Add(min(pause, longestPause)), f
		}
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// post makes one request; nil when it was taken.
func (s *Sink) post(ctx context.Context, body []byte) *failure {
	ctx, stop := context.WithTimeout(ctx, s.timeout)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return &failure{text: "the request cannot be made", reason: "other"} // the address was checked
	}
	r.Header.Set("Content-Encoding", "snappy")
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	response, err := s.client.Do(r)
	if err != nil {
		return broken(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, answerLimit)) // words for an error, if any
	code := response.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	f := &failure{text: fmt.Sprintf("%d %s", code, http.StatusText(code)), status: code, reason: "http_4xx"}
	switch {
	case code < 300:
		f.reason = "decode"
	case code < 400:
		f.reason = "redirect"
		f.text += ": it is not followed; write the address as url"
		return f
	case code >= 500:
		f.reason = "http_5xx"
	}
	if said := line(string(text)); said != "" && !strings.HasPrefix(said, "<") {
		f.text += ": " + said
	}
	f.wait = retryAfter(response.Header.Get("Retry-After"), time.Now())
	return f
}

// broken is a request without an answer.
func broken(err error) *failure {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err // the address is in the configuration; an error need not repeat it
	}
	f := &failure{text: line(err.Error()), reason: "other", cause: err}
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		f.text, f.reason = "no answer in time", "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.text, f.reason = "connection refused", "refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.text = "the connection was closed before there was an answer" // by a server that restarts, or a proxy
	}
	return f
}

// retryAfter is how long a server asks to be left alone: in seconds, or until a moment.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), 24*3600)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// line makes one line of a text, not too long.
func line(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "�")
	if r := []rune(text); len(r) > excerpt {
		text = string(r[:excerpt]) + "…"
	}
	return text
}
