package promapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// client speaks the query API. Its errors are *Error: noun first, the server's own words clipped
// to a line, never an address or a header, since those may hold secrets.
type client struct {
	http    *http.Client
	base    *url.URL
	gate    *gate
	timeout time.Duration // of one request, its body included
	body    int64         // bytes of an answer that are read
	memos   memos
}

// Error says why a request was not answered.
type Error struct {
	What string // "query", "label values" …
	Text string // "503 Service Unavailable: query timed out"

	reason string
	status int  // HTTP status; 0 when there was none
	load   bool // a smaller question may be answered
	err    error
}

// Error is one line of text.
func (e *Error) Error() string { return e.What + ": " + e.Text }

// Unwrap gives what lies beneath, such as a context's end.
func (e *Error) Unwrap() error { return e.err }

// Reason is a word of a closed list: timeout, refused, redirect, http_4xx, http_5xx, decode,
// partial, limit or other.
func (e *Error) Reason() string { return e.reason }

// Reason is the closed word for an error of this source: that of an *Error inside, else timeout
// or other.
func Reason(err error) string {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.reason
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "other"
}

// loaded reports whether a question about less may be answered where this one was not.
func loaded(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.load
}

// refused reports whether the server understood the question and would not have it, so that the
// questions that shared the request should be asked one by one.
func refused(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusUnprocessableEntity:
		return true
	}
	return e.reason == "limit"
}

// instant asks an instant query about a moment, for a span that ends at to.
func (c *client) instant(ctx context.Context, to time.Time, expr string, at int64) (*answer, error) {
	return c.kept(c.lent(ctx, to, expr, at))
}

// lent asks like instant. The answer's list of series, not what they hold, is lent until done is told.
func (c *client) lent(ctx context.Context, to time.Time, expr string, at int64) (*answer, error) {
	return c.askLent(ctx, to, "query", "/api/v1/query", url.Values{"query": {expr}, "time": {seconds(at)}})
}

// done takes back an answer that was lent, for the next one to be read into.
func (c *client) done(a *answer) {
	m := a.memo
	a.memo, a.series = nil, nil
	m.forget()
	c.memos.give(m)
}

// kept makes an answer that was lent the caller's own.
func (c *client) kept(a *answer, err error) (*answer, error) {
	if err != nil {
		return nil, err
	}
	m := a.memo
	a.memo = nil
	if len(a.series) <= cap(m.list)/4 { // a long list stays for the next long answer
		a.series = slices.Clone(a.series)
		m.forget()
	} else {
		m.list = nil
	}
	c.memos.give(m)
	return a, nil
}

// steps asks a range query: the expression at start, start+step … end.
func (c *client) steps(ctx context.Context, to time.Time, expr string, start, end, step int64) (*answer, error) {
	return c.ask(ctx, to, "query", "/api/v1/query_range", url.Values{
		"query": {expr}, "start": {seconds(start)}, "end": {seconds(end)}, "step": {seconds(step)},
	})
}

// labelValues asks for the values of a label among the series that the selectors choose.
func (c *client) labelValues(ctx context.Context, to time.Time, label string, match []string, start, end int64) ([]string, error) {
	a, err := c.fetch(ctx, to, "label values", http.MethodGet, "/api/v1/label/"+label+"/values", url.Values{
		"match[]": match, "start": {seconds(start)}, "end": {seconds(end)},
	})
	if err != nil {
		return nil, err
	}
	return a.values, nil
}

// ask posts a query and checks that the answer is of a kind that holds series.
func (c *client) ask(ctx context.Context, to time.Time, what, path string, form url.Values) (*answer, error) {
	return c.kept(c.askLent(ctx, to, what, path, form))
}

func (c *client) askLent(ctx context.Context, to time.Time, what, path string, form url.Values) (*answer, error) {
	a, err := c.fetchLent(ctx, to, what, http.MethodPost, path, form)
	if err != nil {
		return nil, err
	}
	if a.kind != "matrix" && a.kind != "vector" {
		c.done(a)
		return nil, &Error{What: what, Text: fmt.Sprintf("the answer is a %q, not a matrix or vector", clip(a.kind, 40)), reason: "decode"}
	}
	return a, nil
}

// fetch sends one request and reads its answer whole.
func (c *client) fetch(ctx context.Context, to time.Time, what, method, path string, form url.Values) (*answer, error) {
	return c.kept(c.fetchLent(ctx, to, what, method, path, form))
}

func (c *client) fetchLent(ctx context.Context, to time.Time, what, method, path string, form url.Values) (got *answer, err error) {
	release, err := c.gate.acquire(ctx, to)
	if err != nil {
		return nil, &Error{What: what, Text: "no turn came before the end of the time allowed", reason: "timeout", err: err}
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	address := c.base.JoinPath(path)
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	} else {
		address.RawQuery = form.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, address.String(), body)
	if err != nil {
		return nil, &Error{What: what, Text: "the request could not be made", reason: "other", err: err}
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		// A question changes nothing, so a connection that broke may be tried again. The empty key
		// says so to net/http and is not sent.
		r.Header["X-Idempotency-Key"] = []string{}
	}
	r.Header.Set("Accept", "application/json")
	reply, err := c.http.Do(r)
	if err != nil {
		return nil, c.broken(ctx, what, err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return nil, rejected(what, reply)
	}
	rest := &bounded{r: reply.Body, left: c.body}
	memo := c.memos.borrow()
	a, err := memo.decode(rest)
	defer func() {
		if got != nil {
			got.memo = memo
			return
		}
		memo.forget()
		c.memos.give(memo)
	}()
	switch {
	case rest.over:
		return nil, &Error{What: what, Text: fmt.Sprintf("the answer is longer than %d MiB", c.body>>20), reason: "limit", load: true}
	case rest.err != nil:
		return nil, c.broken(ctx, what, rest.err)
	case err != nil:
		return nil, &Error{What: what, Text: err.Error(), reason: "decode", err: err}
	case a.status == "error":
		e := &Error{What: what, Text: "the server says " + line(a.errorType+": "+a.errorText), reason: "other"}
		e.load = a.errorType == "timeout"
		return nil, e
	case a.warning != "":
		return nil, &Error{What: what, Text: "the answer has a warning: " + line(a.warning), reason: "partial"}
	case a.partial:
		return nil, &Error{What: what, Text: "the answer is partial", reason: "partial"}
	}
	return a, nil
}

// broken is the error of a connection that failed before the answer was whole.
func (c *client) broken(ctx context.Context, what string, err error) *Error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // the outer one holds the address
	}
	var sent *redirected
	var timeout net.Error
	switch {
	case errors.As(err, &sent):
		return &Error{What: what, Text: line(sent.Error()), reason: "redirect", err: err}
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		cause := ctx.Err()
		if errors.Is(cause, context.Canceled) {
			return &Error{What: what, Text: "cancelled", reason: "other", err: cause}
		}
		if cause == nil {
			cause = context.DeadlineExceeded
		}
		return &Error{What: what, Text: "no answer in time", reason: "timeout", load: true, err: cause}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Error{What: what, Text: "connection refused", reason: "refused", err: err}
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return &Error{What: what, Text: "the connection broke off", reason: "other", err: err}
	}
	return &Error{What: what, Text: line(err.Error()), reason: "other", err: err}
}

// maxRedirects is how often the server may send us on within its host.
const maxRedirects = 5

// redirected says why a redirect is not followed.
type redirected struct{ text string }

func (r *redirected) Error() string { return r.text }

// sameHost follows redirects within the host and port that was configured, and from http to https
// on their own ports: every request carries the headers of the configuration, and a tenant or a
// token belongs to one server. One that would drop the question is not followed either.
func sameHost(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return &redirected{fmt.Sprintf("more than %d redirects", maxRedirects)}
	}
	from, to := via[0].URL, next.URL
	same := from.Scheme == to.Scheme && port(from) == port(to)
	upgrade := from.Scheme == "http" && to.Scheme == "https" && port(from) == "80" && port(to) == "443"
	switch {
	case !strings.EqualFold(from.Hostname(), to.Hostname()) || !same && !upgrade:
		return &redirected{fmt.Sprintf("the server redirects to another host, %s://%s: it is not followed; if it is right, write it as url", to.Scheme, to.Host)}
	case next.Method != via[0].Method:
		return &redirected{fmt.Sprintf("the server redirects to %s://%s in a way that loses the question (HTTP status %d); write the new address as url", to.Scheme, to.Host, next.Response.StatusCode)}
	}
	return nil
}

// port is the port of an address, that of its scheme if it names none.
func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// rejected is the error of an HTTP status, with the first line of what the server says about it.
func rejected(what string, reply *http.Response) *Error {
	e := &Error{What: what, Text: reply.Status, reason: "http_5xx", status: reply.StatusCode}
	if text := http.StatusText(reply.StatusCode); text != "" {
		e.Text = strconv.Itoa(reply.StatusCode) + " " + text
	}
	switch {
	case reply.StatusCode < 400:
		e.reason = "redirect"
	case reply.StatusCode < 500:
		e.reason = "http_4xx"
	}
	switch reply.StatusCode {
	case http.StatusUnprocessableEntity, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusRequestEntityTooLarge:
		e.load = true
	}
	text, err := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
	if err != nil && len(text) == 0 {
		return e
	}
	said := ""
	if a, err := decode(bytes.NewReader(text)); err == nil {
		said = a.errorText
	} else if text = bytes.TrimSpace(text); len(text) > 0 && text[0] != '<' && text[0] != '{' {
		said = string(text)
	}
	if said = line(said); said != "" && said != e.Text && said != http.StatusText(reply.StatusCode) {
		e.Text += ": " + said
	}
	return e
}

// line is the first line of a text, clipped and without control characters.
func line(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	return clip(strings.TrimSpace(text), 300)
}

// bounded reads at most so many bytes, and remembers how reading ended.
type bounded struct {
	r    io.Reader
	left int64
	over bool  // there was more
	err  error // reading failed
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		var one [1]byte
		n, err := b.r.Read(one[:])
		if n == 0 && err != nil {
			if err != io.EOF {
				b.err = err
			}
			return 0, err
		}
		b.over = true
		return 0, errors.New("the answer is too long")
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// seconds prints Unix milliseconds as the API takes time and duration: seconds with three decimals.
func seconds(ms int64) string {
	sign := ""
	if ms < 0 {
		sign, ms = "-", -ms
	}
	return fmt.Sprintf("%s%d.%03d", sign, ms/1000, ms%1000)
}
