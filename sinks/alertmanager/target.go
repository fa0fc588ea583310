package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	alertsPerRequest = 256 // as Prometheus' --alertmanager.notification-batch-size
	attempts         = 3   // at one tick, as long as its time allows
	firstPause       = 200 * time.Millisecond
	longestPause     = time.Minute // between the ticks at which an Alertmanager that fails is asked
	answerLimit      = 64 << 10
	excerpt          = 200 // how much of an answer's own words goes into an error
)

// target is one Alertmanager and what it has heard. It belongs to one goroutine at a time.
type target struct {
	address string // for errors: without path or password
	alerts  string // where alerts are posted
	client  *http.Client
	timeout time.Duration

	heard  map[string]hearing // by the key of the alert
	fails  int                // ticks in a row
	resume time.Time          // not asked before, after a failure
	last   error              // why it failed
}

// hearing is what an Alertmanager was told last of one alert.
type hearing struct {
	at, starts, ends time.Time
}

func newTarget(address string, client *http.Client, timeout time.Duration) (*target, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fault("url", "is not an address")
	}
	return &target{
		address: u.Host, alerts: u.JoinPath("api", "v2", "alerts").String(), client: client, timeout: timeout,
		heard: map[string]hearing{},
	}, nil
}

// tell posts what is due. After a failure the target is left alone for a while, so that a dead one
// does not cost every tick its timeout; the pause is random, so that many yoyus do not come back
// at once.
func (t *target) tell(ctx context.Context, due []*incident, now time.Time) error {
	if len(due) == 0 {
		if t.fails > 0 || len(t.heard) == 0 {
			t.fails, t.last = 0, nil // what failed is over
		}
		return t.last
	}
	if t.fails > 0 && now.Before(t.resume) && now.After(t.resume.Add(-2*longestPause)) {
		return t.last
	}
	limited, stop := context.WithTimeout(ctx, t.timeout)
	defer stop()
	for len(due) > 0 {
		part := due[:min(len(due), alertsPerRequest)]
		due = due[len(part):]
		err := t.post(limited, part)
		var refused *refusedError
		if err != nil && !errors.As(err, &refused) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			t.failed(err, now)
			return t.last
		}
		for _, in := range part {
			t.heard[in.key] = hearing{at: now, starts: in.starts, ends: in.ends}
		}
		if t.fails, t.last = 0, nil; err != nil {
			// It took what it understood; the rest is not told again before the next resend.
			t.last = fmt.Errorf("alertmanager %s: %w", t.address, err)
		}
	}
	return t.last
}

func (t *target) failed(err error, now time.Time) {
	t.last = fmt.Errorf("alertmanager %s: %w", t.address, err)
	pause := min(longestPause, time.Second<<min(t.fails, 10))
	t.fails++
	t.resume = now.Add(jitter(pause))
}

// jitter is between half of a pause and all of it.
func jitter(pause time.Duration) time.Duration {
	return pause/2 + rand.N(pause/2+1)
}

// refusedError is an answer that says the same however often it is asked.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

// post sends one request, again where that may help.
func (t *target) post(ctx context.Context, part []*incident) error {
	body, err := json.Marshal(wire(part))
	if err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	pause := firstPause
	for attempt := 1; ; attempt++ {
		again, err := t.try(ctx, body)
		if err == nil || !again || attempt == attempts {
			return err
		}
		timer := time.NewTimer(jitter(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 4
	}
}

// try is one request. again says that another may do better.
func (t *target) try(ctx context.Context, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.alerts, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := t.client.Do(request)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // the address is said already
		}
		return true, err
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, answerLimit)) // words for an error, if any
	switch code := response.StatusCode; {
	case code/100 == 2:
		return false, nil
	case code == http.StatusBadRequest:
		return false, &refusedError{said(response.Status, text)}
	default:
		return code/100 == 5 || code == http.StatusTooManyRequests, errors.New(said(response.Status, text))
	}
}

// said is somebody else's text, on one line and not too long.
func said(status string, body []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body), "")), " ")
	if len(text) > excerpt {
		text = strings.ToValidUTF8(text[:excerpt], "") + "…"
	}
	if text == "" {
		return status
	}
	return status + ": " + text
}

// wireAlert is a postableAlert of the API.
type wireAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

func wire(part []*incident) []wireAlert {
	out := make([]wireAlert, len(part))
	for i, in := range part {
		out[i] = wireAlert{in.labels, in.annotations, in.starts.UTC(), in.ends.UTC(), in.link}
		if in.firing() {
			out[i].EndsAt = in.until.UTC()
		}
	}
	return out
}

// sameHost keeps what authorises requests from being carried elsewhere by a redirect.
func sameHost(request *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("redirected too often")
	}
	if request.URL.Host != via[0].URL.Host || request.URL.Scheme != via[0].URL.Scheme && request.URL.Scheme != "https" {
		return fmt.Errorf("redirected to another host, %s", request.URL.Host)
	}
	return nil
}
