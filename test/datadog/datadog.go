// Package datadog is a fake of Datadog, for tests and for a first look without an account: the
// intake of metrics, queries over what it took, and the monitors, dashboards, SLOs and corrections
// that a program may keep there.
//
// It is built to rules that were read from recorded traffic and from Datadog's documentation, and
// it is as unkind as the real one: it accepts a payload and silently loses single series of it,
// keeps the last value written for a second, changes objects while it stores them, shuffles tags,
// counts every request against a quota, and fails where it is told to.
//
//	request ──▶ fault? ──▶ key ──▶ quota ──▶ endpoint ──▶ fault? ──▶ answer
//	                                           │
//	             POST series ──▶ normalise ──▶ store ──▶ visible later ──▶ query
//
// Time is a virtual clock unless told otherwise, so an hour takes no time. Ids and shuffles come
// from a seed. Nothing here is Datadog's own code.
package datadog

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The keys that a fake accepts unless told otherwise.
const (
	APIKey = "0123456789abcdef0123456789abcdef"
	AppKey = "fedcba9876543210fedcba9876543210fedcba98"
)

// Options are what a fake is made of. The zero value is fine.
type Options struct {
	Clock   func() time.Time // nil: a virtual clock that begins at Now and only moves by SetTime and Advance
	Now     time.Time        // where the virtual clock begins; zero: 2026-01-02T00:00:00Z
	APIKeys []string         // accepted; nil: APIKey
	AppKeys []string         // accepted; nil: AppKey
	Seed    uint64           // of ids and shuffles
	Visible time.Duration    // from the submission of a point to its first appearance in a query; the real one takes some 20s
	Strict  bool             // series with fields that the intake does not know are lost, and counted
	Variant Variant
}

// Variant is what nobody could see from outside. A client has to live with either.
type Variant struct {
	QueryError int  // status of a query that cannot be parsed: 422 (the default), 400, or 200 with status "error"
	Nulls      bool // series of one answer share their times, with nulls where one of them has no value; else they are sparse
	NoDedup    bool // an identical monitor is created a second time
	Page       int  // most objects that a listing shows at once, however many it is asked for; 0: as many
}

// Datadog is one organisation. Its methods may be called while it serves.
type Datadog struct {
	URL string // of the server that Start began; without a slash at the end

	options Options
	mux     *http.ServeMux

	mu      sync.Mutex
	now     time.Time
	random  *rand.Rand
	lastID  int64
	store   store
	drops   map[string]int
	quotas  quotas
	faults  []*Fault
	journal []Request
	objects objects
	meta    map[string]map[string]any // metadata of metrics
}

// Request is one request with what became of it.
type Request struct {
	At       time.Time
	Method   string
	Path     string
	Query    map[string][]string
	Header   http.Header // without the keys
	Key      string      // which API key came: "" none, "accepted", "unknown"
	Body     []byte      // inflated, where it could be
	Wire     int         // bytes of the body as sent
	Inflated int         // bytes of the body as meant
	Status   int         // of the answer; 0: none was given
	Fault    string      // the fault that acted, or ""
}

// New makes a fake without a server: it is an http.Handler.
func New(o Options) *Datadog {
	if o.Now.IsZero() {
		o.Now = time.Date(2026, time.January, 2, 0, 0, 0, 0, time.UTC)
	}
	if o.APIKeys == nil {
		o.APIKeys = []string{APIKey}
	}
	if o.AppKeys == nil {
		o.AppKeys = []string{AppKey}
	}
	if o.Variant.QueryError == 0 {
		o.Variant.QueryError = http.StatusUnprocessableEntity
	}
	d := &Datadog{
		options: o,
		mux:     http.NewServeMux(),
		now:     o.Now,
		random:  rand.New(rand.NewPCG(o.Seed, 1)),
		lastID:  100_000_000,
		drops:   map[string]int{},
		quotas:  newQuotas(),
		meta:    map[string]map[string]any{},
	}
	d.routes()
	return d
}

// Start runs a fake on loopback until the test ends.
func Start(t testing.TB, o Options) *Datadog {
	t.Helper()
	d := New(o)
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

// Now is the time by the fake's clock.
func (d *Datadog) Now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.time()
}

func (d *Datadog) time() time.Time {
	if d.options.Clock != nil {
		return d.options.Clock()
	}
	return d.now
}

// SetTime moves the virtual clock, also back.
func (d *Datadog) SetTime(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = now
}

// Advance moves the virtual clock on.
func (d *Datadog) Advance(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(by)
}

// Rotate exchanges the keys that are accepted; nil leaves them.
func (d *Datadog) Rotate(apiKeys, appKeys []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if apiKeys != nil {
		d.options.APIKeys = apiKeys
	}
	if appKeys != nil {
		d.options.AppKeys = appKeys
	}
}

// Journal is every request so far, in the order in which they were finished.
func (d *Datadog) Journal() []Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.journal)
}

// ClearJournal forgets the requests so far.
func (d *Datadog) ClearJournal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.journal = nil
}

// Drops is how many points, series or tags the intake silently lost or changed, by reason.
func (d *Datadog) Drops() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.drops)
}

// answer is a response on its way.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body = append(a.body, p...)
	return len(p), nil
}

// set replaces the answer.
func (a *answer) set(status int, contentType string, body string) {
	a.status, a.body = status, []byte(body)
	a.header.Set("Content-Type", contentType)
}

// call is a request at an endpoint, with its body read.
type call struct {
	*http.Request
	text    []byte // the body, inflated
	wire    int
	broken  string // why the body could not be inflated
	answer  *answer
	fault   *Fault
	journal *Request
}

// ServeHTTP answers one request.
func (d *Datadog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	wire, err := io.ReadAll(io.LimitReader(r.Body, 80<<20))
	if err != nil {
		return // the client went away
	}
	d.mu.Lock()
	note := Request{
		At: d.time(), Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), Wire: len(wire),
	}
	for _, secret := range []string{"DD-API-KEY", "DD-APPLICATION-KEY", "Authorization", "Cookie"} {
		note.Header.Del(secret)
	}
	if key := r.Header.Get("DD-API-KEY"); key != "" {
		note.Key = "unknown"
		if slices.Contains(d.options.APIKeys, key) {
			note.Key = "accepted"
		}
	}
	c := &call{Request: r, wire: len(wire), answer: &answer{header: http.Header{}}, journal: &note}
	c.text, c.broken = inflate(r.Header.Get("Content-Encoding"), wire)
	note.Body, note.Inflated = c.text, len(c.text)
	if f := d.pick(r, c.text); f != nil {
		c.fault, note.Fault = f, f.Do.name
	}
	d.mu.Unlock()

	done := func() {
		note.Status = c.answer.status
		d.mu.Lock()
		d.journal = append(d.journal, note)
		d.mu.Unlock()
	}
	if c.fault != nil && c.fault.Do.before != nil {
		if !c.fault.Do.before(d, c, w) {
			c.answer.status = 0
			done()
			return
		}
	}
	if c.answer.status == 0 {
		d.mu.Lock()
		d.serve(c)
		d.mu.Unlock()
	}
	if c.fault != nil && c.fault.Do.after != nil {
		if !c.fault.Do.after(d, c, w) {
			c.answer.status = 0
			done()
			return
		}
	}
	done()
	d.write(w, c.answer)
}

// serve lets the endpoint answer.
func (d *Datadog) serve(c *call) {
	r := c.WithContext(c.Context())
	handler, pattern := d.mux.Handler(r)
	if pattern == "" {
		found := &answer{header: http.Header{}}
		handler.ServeHTTP(found, r)
		if found.status == http.StatusMethodNotAllowed {
			c.fail(http.StatusMethodNotAllowed, "Method not allowed")
		} else {
			c.fail(http.StatusNotFound, "Not found")
		}
		return
	}
	c.Request = r.WithContext(withCall(r.Context(), c))
	d.mux.ServeHTTP(c.answer, c.Request)
}

func (d *Datadog) write(w http.ResponseWriter, a *answer) {
	d.mu.Lock()
	now := d.time()
	d.mu.Unlock()
	maps.Copy(w.Header(), a.header)
	if w.Header().Get("Date") == "" {
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if a.status != http.StatusNoContent && w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if a.status != http.StatusNoContent {
		_, _ = w.Write(a.body)
	}
}

// Transport calls the fake without a network: it works in a bubble of testing/synctest.
func (d *Datadog) Transport() http.RoundTripper { return direct{d} }

type direct struct{ d *Datadog }

func (t direct) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = r.URL.RequestURI()
	out := &wire{answer: answer{header: http.Header{}}}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		defer func() {
			cut := recover()
			if err, ok := cut.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				out.cut = true
			} else if cut != nil {
				panic(cut)
			}
		}()
		t.d.ServeHTTP(out, in)
	}()
	select {
	case <-finished:
	case <-r.Context().Done():
		<-finished // nothing here outlives the context of its request
		return nil, r.Context().Err()
	}
	if r.Body != nil {
		r.Body.Close()
	}
	if out.cut && out.status == 0 {
		return nil, io.EOF
	}
	body := io.Reader(bytes.NewReader(out.body))
	if out.cut {
		body = io.MultiReader(body, failing{})
	}
	return &http.Response{
		StatusCode: out.status, Status: strconv.Itoa(out.status) + " " + http.StatusText(out.status),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: out.header,
		Body: io.NopCloser(body), ContentLength: int64(len(out.body)), Request: r,
	}, nil
}

// wire is a connection that may be cut.
type wire struct {
	answer
	cut bool
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// forbidden is how the balancer in front of every endpoint refuses a key: an unknown one and none
// at all look the same.
const forbidden = `{"status":"error","code":403,"errors":["Forbidden"],"statuspage":"http://status.datadoghq.com","twitter":"http://twitter.com/datadogops","email":"support@datadoghq.com"}`

// balancer is the balancer's own answer for a status.
func balancer(status int) string {
	text := http.StatusText(status)
	if status == http.StatusRequestEntityTooLarge {
		text = "Payload too large"
	}
	return strings.NewReplacer("403", strconv.Itoa(status), "Forbidden", text).Replace(forbidden)
}

// fail answers with errors in the way of all endpoints.
func (c *call) fail(status int, texts ...string) {
	c.json(status, map[string]any{"errors": texts})
}

// json answers with a value.
func (c *call) json(status int, v any) {
	var out bytes.Buffer
	in := json.NewEncoder(&out)
	in.SetEscapeHTML(false)
	if err := in.Encode(v); err != nil {
		c.answer.set(http.StatusInternalServerError, "text/plain", err.Error())
		return
	}
	c.answer.set(status, "application/json", strings.TrimSuffix(out.String(), "\n"))
}

// body decodes the request's body; false when it answered that it cannot.
func (c *call) body() (map[string]any, bool) {
	in := json.NewDecoder(bytes.NewReader(c.text))
	in.UseNumber()
	var out map[string]any
	if c.broken != "" || in.Decode(&out) != nil || out == nil {
		c.fail(http.StatusBadRequest, "request data must be valid JSON")
		return nil, false
	}
	return out, true
}
