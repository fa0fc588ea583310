package datadog

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Fault is a rule: which requests go wrong, and how.
type Fault struct {
	Method string  // "" is any
	Path   string  // an expression that the path matches somewhere; "" is any
	Body   string  // an expression that the inflated body matches somewhere; "" is any
	Skip   int     // let so many matching requests pass first
	Times  int     // then act on so many; 0: on all
	Chance float64 // act with this probability; 0: always
	Do     Action

	path, body *regexp.Regexp
}

// Action is what goes wrong.
type Action struct {
	name    string
	before  func(d *Datadog, c *call, w http.ResponseWriter) bool // instead of the endpoint, when it sets an answer; false: no answer at all
	after   func(d *Datadog, c *call, w http.ResponseWriter) bool // to the answer; false: it is never given
	list    func(d *Datadog, s shelf) shelf                       // to what a list shows
	young   time.Duration                                         // objects younger than this are not found
	seconds int64                                                 // of every bucket
}

// Fault adds a rule. Of several that match a request the first acts.
func (d *Datadog) Fault(f Fault) {
	f.path, f.body = regexp.MustCompile(f.Path), regexp.MustCompile(f.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, &f)
}

// ClearFaults takes all rules back.
func (d *Datadog) ClearFaults() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = nil
}

// pick is the rule that acts on a request; nil: none.
func (d *Datadog) pick(r *http.Request, body []byte) *Fault {
	for i, f := range d.faults {
		if f.Method != "" && f.Method != r.Method || !f.path.MatchString(r.URL.Path) || f.Body != "" && !f.body.Match(body) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Chance > 0 && d.random.Float64() >= f.Chance {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				d.faults = slices.Delete(slices.Clone(d.faults), i, i+1)
			}
		}
		return f
	}
	return nil
}

// interval is the length that a fault gives to every bucket; 0: none.
func (f *Fault) interval() int64 {
	if f == nil {
		return 0
	}
	return f.Do.seconds
}

// Status answers with a status in the balancer's way, and nothing is done.
func Status(code int) Action {
	return StatusBody(code, "application/json", balancer(code))
}

// StatusBody answers with a status and a body of one's own, and nothing is done.
func StatusBody(code int, contentType, body string) Action {
	return Action{name: "status " + strconv.Itoa(code), before: func(_ *Datadog, c *call, _ http.ResponseWriter) bool {
		c.answer.set(code, contentType, body)
		return true
	}}
}

// TooMany answers 429. The reset is written as it is: seconds, nonsense, or "" for no header.
func TooMany(reset string) Action {
	return Action{name: "429", before: func(_ *Datadog, c *call, _ http.ResponseWriter) bool {
		c.fail(http.StatusTooManyRequests, "Too many requests")
		if reset != "" {
			c.answer.header.Set("X-Ratelimit-Reset", reset)
			c.answer.header.Set("X-Ratelimit-Remaining", "0")
		}
		return true
	}}
}

// HTML answers with a status and a proxy's page.
func HTML(code int) Action {
	return StatusBody(code, "text/html", fmt.Sprintf("<html><head><title>%d %s</title></head><body>nginx</body></html>", code, http.StatusText(code)))
}

// Delay answers late.
func Delay(by time.Duration) Action {
	return Action{name: "delay", before: func(_ *Datadog, c *call, _ http.ResponseWriter) bool {
		late := time.NewTimer(by)
		defer late.Stop()
		select {
		case <-late.C:
			return true
		case <-c.Context().Done():
			return false
		}
	}}
}

// The faults of a connection. What is cut or hangs before an answer has been worked out is not
// done; after it, it is.
var (
	// Hang never answers, and does nothing.
	Hang = Action{name: "hang", before: func(_ *Datadog, c *call, _ http.ResponseWriter) bool {
		<-c.Context().Done()
		return false
	}}
	// DoneThenHang does what it is asked and never says so.
	DoneThenHang = Action{name: "done, then hang", after: func(_ *Datadog, c *call, _ http.ResponseWriter) bool {
		<-c.Context().Done()
		return false
	}}
	// ResetBefore cuts the connection, and does nothing.
	ResetBefore = Action{name: "reset", before: func(*Datadog, *call, http.ResponseWriter) bool { panic(http.ErrAbortHandler) }}
	// ResetMidBody does what it is asked and cuts the connection within the answer.
	ResetMidBody = Action{name: "reset mid body", after: func(_ *Datadog, c *call, w http.ResponseWriter) bool {
		w.Header().Set("Content-Type", c.answer.header.Get("Content-Type"))
		w.Header().Set("Content-Length", strconv.Itoa(len(c.answer.body)+1))
		w.WriteHeader(c.answer.status)
		_, _ = w.Write(c.answer.body[:len(c.answer.body)/2])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}}
	// Truncated answers with half of the JSON.
	Truncated = Action{name: "truncated", after: func(_ *Datadog, c *call, _ http.ResponseWriter) bool {
		c.answer.body = c.answer.body[:len(c.answer.body)/2]
		return true
	}}
	// Gzipped compresses the answer, whether the client said that it can read that or not.
	Gzipped = Action{name: "gzip", after: func(_ *Datadog, c *call, _ http.ResponseWriter) bool {
		var out bytes.Buffer
		in := gzip.NewWriter(&out)
		_, _ = in.Write(c.answer.body)
		_ = in.Close()
		c.answer.body = out.Bytes()
		c.answer.header.Set("Content-Encoding", "gzip")
		return true
	}}
	// WrongType calls the answer a page.
	WrongType = Action{name: "wrong type", after: func(_ *Datadog, c *call, _ http.ResponseWriter) bool {
		c.answer.header.Set("Content-Type", "text/html")
		return true
	}}
	// AcceptedButLost says yes to a submission and stores nothing.
	AcceptedButLost = StatusBody(http.StatusAccepted, "text/json", `{"status": "ok"}`)
	// EmptyList shows lists without anything in them.
	EmptyList = Action{name: "empty list", list: func(*Datadog, shelf) shelf { return nil }}
	// PartialList shows the older half of lists.
	PartialList = Action{name: "partial list", list: func(_ *Datadog, s shelf) shelf { return s[:len(s)/2] }}
)

// AcceptedThen does what it is asked and answers with a failure.
func AcceptedThen(code int) Action {
	return Action{name: "accepted, then " + strconv.Itoa(code), after: func(_ *Datadog, c *call, _ http.ResponseWriter) bool {
		c.answer.set(code, "application/json", balancer(code))
		return true
	}}
}

// StaleList shows lists as they were so long ago.
func StaleList(ago time.Duration) Action {
	return Action{name: "stale list", list: func(d *Datadog, s shelf) shelf {
		var out shelf
		then := d.time().Add(-ago)
		for _, o := range s {
			switch {
			case o.created.After(then):
			case o.changed.After(then) && o.before != nil:
				out = append(out, &object{id: o.id, created: o.created, changed: o.created, body: o.before})
			default:
				out = append(out, o)
			}
		}
		return out
	}}
}

// NotFound hides objects from single reads while they are younger than this.
func NotFound(younger time.Duration) Action {
	return Action{name: "not found yet", young: younger}
}

// QueryError answers a query with status 200 and an error inside.
func QueryError(text string) Action {
	return StatusBody(http.StatusOK, "application/json", `{"status":"error","res_type":"time_series","error":`+strconv.Quote(text)+`,"series":[]}`)
}

// Interval makes every bucket so many seconds long, whatever was asked for.
func Interval(seconds int64) Action { return Action{name: "interval", seconds: seconds} }

// Skew sets the Date of answers wrong.
func Skew(by time.Duration) Action {
	return Action{name: "skew", after: func(d *Datadog, c *call, _ http.ResponseWriter) bool {
		c.answer.header.Set("Date", d.Now().Add(by).UTC().Format(http.TimeFormat))
		return true
	}}
}

// Others use so many requests of a quota just before this one.
func Others(quota string, requests int) Action {
	return Action{name: "others", before: func(d *Datadog, _ *call, _ http.ResponseWriter) bool {
		d.UseQuota(quota, requests)
		return true
	}}
}
