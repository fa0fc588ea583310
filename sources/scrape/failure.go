package scrape

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
)

// Failure is why one target gave nothing to one turn.
type Failure struct {
	Target string // address, without its parameters
	Why    string // one of Reasons
	Err    error
}

// Whoever counts failures by reason asks the error itself.
var _ interface {
	error
	Reason() string
} = (*Failure)(nil)

// Error names the target first: "target http://checkout:8080/metrics: HTTP status 503 …".
func (f *Failure) Error() string { return "target " + f.Target + ": " + f.Err.Error() }

// Reason is the closed word for the failure: one of Reasons, never its text.
func (f *Failure) Reason() string { return f.Why }

// Unwrap is what went wrong.
func (f *Failure) Unwrap() error { return f.Err }

// The reasons of failures: a closed list, fit for a label.
const (
	Timeout     = "timeout"      // no whole page in time
	Refused     = "refused"      // no connection: nobody listens, no such host
	HTTP4xx     = "http_4xx"     // the target will not answer
	HTTP5xx     = "http_5xx"     // the target cannot answer
	Parse       = "parse"        // the page is broken, or no exposition at all
	BodyLimit   = "body_limit"   // larger than limits.body_bytes, packed or unpacked
	SampleLimit = "sample_limit" // more samples than limits.samples
	Redirect    = "redirect"     // sends us to another host, or in circles
	Other       = "other"        // cut connections, certificates and the rest
)

// Reasons are all reasons there are.
var Reasons = []string{Timeout, Refused, HTTP4xx, HTTP5xx, Parse, BodyLimit, SampleLimit, Redirect, Other}

// Reason is the reason of an error of Collect or of a Sample; of several failures the first one's.
func Reason(err error) string {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure.Why
	}
	return reason(err)
}

// fault is an error whose reason is known where it arises.
type fault struct {
	reason string
	err    error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func reason(err error) string {
	var known *fault
	var network net.Error
	var op *net.OpError
	switch {
	case errors.As(err, &known):
		return known.reason
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return Timeout
	case errors.As(err, &op) && op.Op == "dial":
		return Refused
	}
	return Other
}

// plain is a transport's error without the address, whose parameters may be secret.
func plain(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// short keeps a broken page from filling the log.
func short(text string) string {
	const most = 240
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
