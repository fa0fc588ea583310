// Package datadogapi is the way to one Datadog organisation for those who ask it something or send it
// something: its address, its keys, patience, and what went wrong in a line.
//
// The official client does the talking. It ends no request in time, reads answers of any length and
// follows redirects with the keys in their headers; all of that is done here. The keys are read
// from their files at every request, so that a new one counts from the next request on. They appear
// in no address, no error and no log.
package datadogapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"
	"unicode"

	client "github.com/DataDog/datadog-api-client-go/v2/api/datadog"
	"github.com/DataDog/datadog-api-client-go/v2/api/datadogV1"
)

// DefaultSite is Datadog's own default: US1.
const DefaultSite = "datadoghq.com"

// Options are what a Client is made from.
type Options struct {
	Site       string // datadoghq.com, datadoghq.eu …; DefaultSite when empty
	URL        string // another address, such as a proxy, in place of the site's
	APIKeyFile string
	AppKeyFile string            // "": for those who only submit, and need none
	Transport  http.RoundTripper // nil: a clone of the default one
	Timeout    time.Duration     // of one request, its answer included; 0: a minute
	Answer     int64             // bytes of an answer that are read; 0: 64 MiB
}

// Client is the official client, made ready for one organisation. Its methods want a context from
// Context.
type Client struct {
	*client.APIClient
	options Options
	index   int
	server  map[string]string
}

// New makes a client. It reads no key and sends nothing.
func New(o Options) *Client {
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	o.Answer = cmp.Or(o.Answer, 64<<20)
	if o.Transport == nil {
		o.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	c := &Client{options: o, index: 2, server: map[string]string{"site": cmp.Or(o.Site, DefaultSite)}}
	if o.URL != "" {
		protocol, name, _ := strings.Cut(strings.TrimRight(o.URL, "/"), "://")
		c.index, c.server = 1, map[string]string{"protocol": protocol, "name": name}
	}
	settings := client.NewConfiguration()
	settings.UserAgent = "yoyu"
	settings.HTTPClient = &http.Client{
		Transport: limited{o.Transport, o.Answer},
		Timeout:   o.Timeout,
		// The keys are headers that a redirect would carry to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.APIClient = client.NewAPIClient(settings)
	return c
}

// Where is the organisation's address, for people and for files that remember it.
func (c *Client) Where() string {
	if c.options.URL != "" {
		return strings.TrimRight(c.options.URL, "/")
	}
	return "https://api." + c.server["site"]
}

// Context is ctx with the address and the keys as they are now.
func (c *Client) Context(ctx context.Context) (context.Context, error) {
	apiKey, err := readKey("api_key_file", c.options.APIKeyFile)
	if err != nil {
		return nil, err
	}
	keys := map[string]client.APIKey{"apiKeyAuth": {Key: apiKey}}
	if c.options.AppKeyFile != "" {
		appKey, err := readKey("app_key_file", c.options.AppKeyFile)
		if err != nil {
			return nil, err
		}
		keys["appKeyAuth"] = client.APIKey{Key: appKey}
	}
	ctx = context.WithValue(ctx, client.ContextServerIndex, c.index)
	ctx = context.WithValue(ctx, client.ContextServerVariables, c.server)
	return context.WithValue(ctx, client.ContextAPIKeys, keys), nil
}

// SameKeys reports whether two contexts from Context carry the same keys.
func SameKeys(a, b context.Context) bool { return maps.Equal(keysOf(a), keysOf(b)) }

func keysOf(ctx context.Context) map[string]client.APIKey {
	keys, _ := ctx.Value(client.ContextAPIKeys).(map[string]client.APIKey) // one from elsewhere has none
	return keys
}

// readKey reads one key: a small file, read each time, which is the surest way to notice a new one.
func readKey(field, path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", &Error{What: field, Text: err.Error(), reason: "other", err: err, early: true} // its text is path and cause
	}
	key := strings.TrimSpace(string(data))
	switch {
	case key == "":
		return "", &Error{What: field, Text: path + " is empty", reason: "other", early: true}
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", &Error{What: field, Text: path + " holds more than a key", reason: "other", early: true}
	}
	return key, nil
}

// Do makes one request in JSON, for endpoints where what Datadog says is needed as it says it: the
// typed methods drop the fields that they do not know. body nil is none; out nil leaves the answer
// unread.
func (c *Client) Do(ctx context.Context, what, method, path string, query url.Values, body, out any) error {
	ctx, err := c.Context(ctx)
	if err != nil {
		return err
	}
	base, err := c.Cfg.ServerURLWithContext(ctx, "")
	if err != nil {
		return Failed(what, "other", "the address cannot be made: %v", err)
	}
	headers := map[string]string{"Accept": "application/json"}
	client.SetAuthKeys(ctx, &headers, [2]string{"apiKeyAuth", "DD-API-KEY"}, [2]string{"appKeyAuth", "DD-APPLICATION-KEY"})
	var text any // no body; a nil slice would be one
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return Failed(what, "other", "cannot be written as JSON: %v", err)
		}
		headers["Content-Type"], text = "application/json", encoded
	}
	request, err := c.PrepareRequest(ctx, base+path, method, text, headers, query, nil, nil)
	if err != nil {
		return Fault(ctx, what, nil, err)
	}
	response, err := c.CallAPI(request)
	if err != nil {
		return Fault(ctx, what, response, err)
	}
	defer response.Body.Close()
	answer, err := client.ReadBody(response)
	if err != nil {
		return Fault(ctx, what, nil, err)
	}
	wrong := client.GenericOpenAPIError{ErrorBody: answer, ErrorMessage: "no JSON"}
	if response.StatusCode >= 300 {
		return Fault(ctx, what, response, wrong)
	}
	if out == nil {
		return nil
	}
	in := json.NewDecoder(bytes.NewReader(answer))
	in.UseNumber() // ids are longer than a float is exact
	if err := in.Decode(out); err != nil {
		return Fault(ctx, what, response, wrong)
	}
	return nil
}

// Error says why a request was not answered, without keys and addresses.
type Error struct {
	What   string      // "query", "monitor 12345" …
	Text   string      // "403 Forbidden: …"
	Status int         // HTTP status; 0 when there was none
	Header http.Header // of the answer; nil when there was none

	reason string
	err    error
	early  bool // nothing was sent
}

// Error is one line of text.
func (e *Error) Error() string { return e.What + ": " + e.Text }

// Unwrap gives what lies beneath, such as a context's end.
func (e *Error) Unwrap() error { return e.err }

// Reason is a word of a closed list: timeout, refused, redirect, http_4xx, http_5xx, decode, limit
// or other.
func (e *Error) Reason() string { return e.reason }

// Failed is an Error of one's own.
func Failed(what, reason, format string, args ...any) *Error {
	return &Error{What: what, Text: fmt.Sprintf(format, args...), reason: reason}
}

// Said is an Error in somebody else's words, without the keys that ctx carries.
func Said(ctx context.Context, what, reason, text string) *Error {
	return &Error{What: what, Text: line(withoutKeys(ctx, text)), reason: reason}
}

// Lost reports whether a request may have been carried out although it failed: its answer did not
// come, or came from somebody in between.
func Lost(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return true
	}
	if e.early {
		return false
	}
	return e.Status == 0 && e.reason != "refused" || e.Status == http.StatusRequestTimeout || e.Status >= 500 || e.reason == "decode"
}

// Status is the HTTP status inside an error; 0 when there is none.
func Status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// Fault turns what the client returned for a request with ctx into an *Error; nil when it succeeded.
func Fault(ctx context.Context, what string, response *http.Response, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{What: what, reason: "other", err: err}
	var refused client.GenericOpenAPIError
	var tooLong *http.MaxBytesError
	var network net.Error
	var lost *url.Error
	switch {
	case errors.As(err, &tooLong):
		e.Text, e.reason = fmt.Sprintf("the answer is longer than %d MiB", tooLong.Limit>>20), "limit"
	case errors.As(err, &refused) && response != nil:
		e.status(ctx, response, refused)
		e.err = nil // it holds the whole body
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Text, e.reason = "connection refused", "refused"
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
		e.Text = "cancelled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		e.Text, e.reason = "no answer in time", "timeout"
	case errors.As(err, &lost):
		e.Text = lost.Err.Error() // the address is in the configuration; an error need not repeat it
	default:
		e.Text = err.Error()
	}
	e.Text = line(withoutKeys(ctx, e.Text))
	return e
}

// status is what an answer says that is none.
func (e *Error) status(ctx context.Context, response *http.Response, refused client.GenericOpenAPIError) {
	e.Status, e.Header = response.StatusCode, response.Header
	e.Text = fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
	switch {
	case response.StatusCode < 300:
		e.Text, e.reason = e.Text+": the answer is not what Datadog says: "+refused.ErrorMessage, "decode"
		return
	case response.StatusCode < 400:
		e.Text, e.reason = e.Text+": it is not followed; write the address as url", "redirect"
	case response.StatusCode < 500:
		e.reason = "http_4xx"
	default:
		e.reason = "http_5xx"
	}
	said := ""
	if model, ok := refused.ErrorModel.(datadogV1.APIErrorResponse); ok && len(model.Errors) > 0 {
		said = strings.Join(model.Errors, ", ")
	} else if body := strings.TrimSpace(string(refused.ErrorBody)); strings.HasPrefix(body, "{") {
		said = saidIn(body)
	}
	if said != "" && said != http.StatusText(response.StatusCode) {
		e.Text += ": " + said
	}
	if response.StatusCode == http.StatusForbidden {
		if _, both := keysOf(ctx)["appKeyAuth"]; both {
			e.Text += ": is a key wrong, or does the application key lack a scope?"
		} else {
			e.Text += ": is the API key wrong?"
		}
	}
}

var errorsField = regexp.MustCompile(`"errors?"\s*:\s*\[?\s*"((?:[^"\\]|\\.)*)"`)

// saidIn is the first error that a body names, in whichever form.
func saidIn(body string) string {
	if m := errorsField.FindStringSubmatch(body); m != nil {
		return strings.ReplaceAll(m[1], `\"`, `"`)
	}
	return ""
}

// withoutKeys is somebody else's text without the keys that a request carried.
func withoutKeys(ctx context.Context, text string) string {
	for _, key := range keysOf(ctx) {
		text = strings.ReplaceAll(text, key.Key, "<secret>")
	}
	return text
}

// line makes one line of a text, not too long.
func line(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if r := []rune(text); len(r) > 300 {
		text = string(r[:299]) + "…"
	}
	return text
}

// limited reads no more of an answer than was foreseen.
type limited struct {
	http.RoundTripper
	most int64
}

func (l limited) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(request)
	if err == nil {
		response.Body = http.MaxBytesReader(nil, response.Body, l.most)
	}
	return response, err
}

// hostName is a site: no scheme, no path, no port.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

// CheckAddress names what cannot be right of a site and a url, each as "field: what is wrong".
func CheckAddress(site, address string) []error {
	var faults []error
	switch {
	case site == "":
	case !hostName.MatchString(site):
		faults = append(faults, fmt.Errorf("site: %q is no site, it is a host name such as datadoghq.com or datadoghq.eu", site))
	case strings.HasPrefix(site, "app."), strings.HasPrefix(site, "api."):
		faults = append(faults, fmt.Errorf("site: %q is an address within a site, leave out its first word", site))
	}
	if address == "" {
		return faults
	}
	switch u, err := url.Parse(address); {
	case err != nil:
		faults = append(faults, errors.New("url: is no address such as https://proxy:8443"))
	case u.User != nil:
		faults = append(faults, errors.New("url: holds a password, take it out"))
	case u.RawQuery != "", u.Fragment != "": // which may be a secret, too
		faults = append(faults, errors.New("url: holds a query or a fragment, take it out"))
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		faults = append(faults, fmt.Errorf("url: %q is no address such as https://proxy:8443", address))
	}
	return faults
}
