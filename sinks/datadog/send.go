package datadog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	client "github.com/DataDog/datadog-api-client-go/v2/api/datadog"
	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"
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

	// excerpt is how much of an answer's own words goes into an error.
	excerpt = 200

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

// failure is why a part was not taken.
type failure struct {
	text   string
	reason string        // one of the pipeline's closed list
	fate   fate          //
	reset  time.Duration // how long Datadog asks to wait; 0: it did not say
	cause  error         // nil: an answer says it all
}

func (f *failure) Error() string { return "series: " + f.text }

// Reason is the word for the failure in yoyu_sink_failures_total.
func (f *failure) Reason() string { return f.reason }

func (f *failure) Unwrap() error { return f.cause }

// errTooLarge is a request that is not even sent.
var errTooLarge = errors.New("request is larger than an intake takes")

// server is the address of the intake, as the client takes it: values of a context.
func server(c Config) context.Context {
	index, variables := 2, map[string]string{"site": cmp.Or(c.Site, defaultSite)} // any site
	if c.URL != "" {
		index = 1 // any address
		protocol, name, _ := strings.Cut(strings.TrimRight(c.URL, "/"), "://")
		variables = map[string]string{"protocol": protocol, "name": name}
	}
	ctx := context.WithValue(context.Background(), client.ContextServerIndex, index)
	return context.WithValue(ctx, client.ContextServerVariables, variables)
}

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
	key, err := readKey(s.keyFile)
	if err != nil {
		return err
	}
	d := delivery{sink: s, key: key, until: time.Now().Add(retryFor)}
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
	key   string
	tries int       // that failed and were followed by a wait
	until time.Time // no wait lasts longer
	over  bool      // there is no point in sending the other parts
}

// deliver sends one part, and takes it out of the outbox once it has been taken or never will be.
func (d *delivery) deliver(ctx context.Context, part []string) error {
	s := d.sink
	for {
		f := s.submit(ctx, d.key, part)
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
			if key, err := readKey(s.keyFile); err == nil && key != d.key {
				d.key = key
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
func (s *Sink) submit(ctx context.Context, key string, part []string) *failure {
	for _, name := range []any{client.ContextServerIndex, client.ContextServerVariables} {
		ctx = context.WithValue(ctx, name, s.server.Value(name))
	}
	ctx = context.WithValue(ctx, client.ContextAPIKeys, map[string]client.APIKey{"apiKeyAuth": {Key: key}})
	answer, response, err := s.api.SubmitMetrics(ctx, datadogV1.MetricsPayload{Series: s.outbox.series(part)},
		*datadogV1.NewSubmitMetricsOptionalParameters().WithContentEncoding(datadogV1.METRICCONTENTENCODING_GZIP))
	if response != nil {
		s.compareClocks(response.Header.Get("Date"))
	}
	if err == nil {
		// A proxy in front may answer as the intake of version 2 does: accepted, with complaints.
		if complaints, ok := answer.AdditionalProperties["errors"].([]any); ok && len(complaints) > 0 {
			s.dropped("bad_request", min(len(complaints), len(part)))
			return &failure{text: told(fmt.Sprint(complaints...), key), reason: "partial", fate: taken}
		}
		return nil
	}
	var refused client.GenericOpenAPIError
	if errors.As(err, &refused) && response != nil {
		f := judge(response)
		f.text = response.Status
		if model, ok := refused.ErrorModel.(datadogV1.APIErrorResponse); ok && len(model.Errors) > 0 {
			f.text += ": " + strings.Join(model.Errors, ", ")
		} else if response.StatusCode < 300 {
			f.text += ": not the answer of an intake"
		}
		f.text = told(f.text, key)
		return f
	}
	if errors.Is(err, errTooLarge) {
		return &failure{text: errTooLarge.Error(), reason: "limit", fate: halved}
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // the address is in the configuration; an error need not repeat it
	}
	f := &failure{text: err.Error(), reason: reasonOf(err), fate: again, cause: err}
	if strings.Contains(f.text, key) {
		f.text, f.cause = told(f.text, key), nil
	}
	return f
}

// judge says what an answer other than yes means.
func judge(response *http.Response) *failure {
	switch code := response.StatusCode; {
	case code == http.StatusRequestEntityTooLarge:
		return &failure{reason: "http_4xx", fate: halved}
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return &failure{reason: "http_4xx", fate: rekeyed}
	case code == http.StatusRequestTimeout:
		return &failure{reason: "http_4xx", fate: again}
	case code == http.StatusTooManyRequests:
		f := &failure{reason: "http_4xx", fate: again}
		if seconds, err := strconv.Atoi(response.Header.Get("X-Ratelimit-Reset")); err == nil && seconds > 0 {
			f.reset = time.Duration(min(seconds, 24*3600)) * time.Second
		}
		return f
	case code >= 500:
		return &failure{reason: "http_5xx", fate: again}
	case code == http.StatusBadRequest, code == http.StatusUnprocessableEntity:
		return &failure{reason: "http_4xx", fate: dropped}
	case code >= 400:
		return &failure{reason: "http_4xx", fate: held} // somebody else is at the address
	case code >= 300:
		return &failure{reason: "redirect", fate: held}
	}
	return &failure{reason: "decode", fate: held}
}

// reasonOf is the word for an error of the network.
func reasonOf(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	}
	return "other"
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

// told is somebody else's text, fit for an error: without the key, on one line, not too long.
func told(text, key string) string {
	text = strings.ReplaceAll(text, key, "<secret>")
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > excerpt {
		text = strings.ToValidUTF8(text[:excerpt], "") + "…"
	}
	return text
}

// readKey reads the API key. It is a small file and a report is rare: reading it each time is the
// surest way to notice a new one.
func readKey(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("api key: %w", err)
	}
	key := strings.TrimSpace(string(data))
	if key == "" {
		return "", fmt.Errorf("api key: %s is empty", path)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("api key: %s holds more than a key", path)
	}
	return key, nil
}

// bounded sends no request that is too large, and reads no more of an answer than an intake has to
// say.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.ContentLength > maxWire {
		request.Body.Close()
		return nil, errTooLarge
	}
	response, err := b.RoundTripper.RoundTrip(request)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(response.Body, answerLimit), response.Body}
	}
	return response, err
}
