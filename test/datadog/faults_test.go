package datadog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every fault, over a real connection: what the client sees, and whether the points are stored.
func TestFaults(t *testing.T) {
	const payload = `{"series":[{"metric":"m","points":[[1767312000,1]]}]}`
	for _, c := range []struct {
		name   string
		do     Action
		status int // 0: an error
		body   string
		stored int
	}{
		{"a status", Status(503), 503, `"Service Unavailable"`, 0},
		{"too many", TooMany("7"), 429, "Too many requests", 0},
		{"a page", HTML(502), 502, "<html>", 0},
		{"late", Delay(time.Millisecond), 202, `"ok"`, 1},
		{"never", Hang, 0, "", 0},
		{"done and never said", DoneThenHang, 0, "", 1},
		{"cut before", ResetBefore, 0, "", 0},
		{"cut within", ResetMidBody, 0, "", 1},
		{"half", Truncated, 202, `{"statu`, 1},
		{"another type", WrongType, 202, `"ok"`, 1},
		{"compressed", Gzipped, 202, `"ok"`, 1},
		{"accepted but lost", AcceptedButLost, 202, `"ok"`, 0},
		{"accepted, then 500", AcceptedThen(500), 500, `"Internal Server Error"`, 1},
		{"another clock", Skew(time.Hour), 202, `"ok"`, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Start(t, Options{})
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			switch do := c.do; do.name { // who is asked and hangs is given up
			case Hang.name:
				c.do.before = func(d *Datadog, c *call, w http.ResponseWriter) bool { stop(); return do.before(d, c, w) }
			case DoneThenHang.name:
				c.do.after = func(d *Datadog, c *call, w http.ResponseWriter) bool { stop(); return do.after(d, c, w) }
			}
			d.Fault(Fault{Method: "POST", Path: "^/api/v1/series$", Body: `"metric":"m"`, Skip: 1, Times: 1, Do: c.do})
			for i := range 3 {
				if i == 2 {
					ctx = t.Context()
				}
				d.Forget()
				r, err := http.NewRequestWithContext(ctx, "POST", d.URL+"/api/v1/series", strings.NewReader(payload))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("DD-API-KEY", APIKey)
				r.Header.Set("Content-Type", "application/json")
				status, body := 0, []byte(nil)
				answer, err := http.DefaultTransport.RoundTrip(r)
				if err == nil {
					status = answer.StatusCode
					body, err = io.ReadAll(answer.Body)
					answer.Body.Close()
				}
				if i != 1 { // only the second is hit
					if status != 202 || err != nil {
						t.Errorf("request %d: %d %v", i, status, err)
					}
					continue
				}
				if c.status == 0 && err == nil || c.status != 0 && (err != nil || status != c.status || !bytes.Contains(body, []byte(c.body))) {
					t.Errorf("%d %s %v, want %d with %s", status, body, err, c.status, c.body)
				}
				if n := len(d.Stored()); n != c.stored {
					t.Errorf("%d series are stored, want %d", n, c.stored)
				}
				if c.name == "too many" && answer.Header.Get("X-Ratelimit-Reset") != "7" {
					t.Errorf("header %v", answer.Header)
				}
				if c.name == "another clock" && answer.Header.Get("Date") != "Fri, 02 Jan 2026 01:00:00 GMT" {
					t.Errorf("header %v", answer.Header)
				}
			}
		})
	}
}

// The same without a network, inside a bubble: hours cost nothing.
func TestFaultsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Options{Clock: time.Now})
		send := func(wait time.Duration) error {
			ctx, stop := context.WithTimeout(t.Context(), wait)
			defer stop()
			r, err := http.NewRequestWithContext(ctx, "GET", "http://fake/api/v1/validate", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("DD-API-KEY", APIKey)
			answer, err := d.Transport().RoundTrip(r)
			if err == nil {
				_, err = io.ReadAll(answer.Body)
			}
			return err
		}
		for _, c := range []struct {
			do   Action
			want error
		}{{Hang, context.DeadlineExceeded}, {Delay(2 * time.Hour), context.DeadlineExceeded}, {Delay(time.Minute), nil}, {ResetBefore, io.EOF}, {ResetMidBody, io.ErrUnexpectedEOF}} {
			d.ClearFaults()
			d.Fault(Fault{Do: c.do})
			if err := send(time.Hour); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.do.name, err, c.want)
			}
		}
	})
}

// Lists that lie, and objects that are not there yet.
func TestFaultsOfLists(t *testing.T) {
	d := Start(t, Options{})
	for _, name := range []string{"a", "b"} {
		if status, body := ask(t, d, "POST", "/api/v1/monitor", map[string]any{"name": name, "type": "query alert", "query": "max(last_5m):max:slo.burn_rate{*} > 1"}); status != 200 {
			t.Fatal(body)
		}
	}
	count := func() int {
		t.Helper()
		_, body := ask(t, d, "GET", "/api/v1/monitor", nil)
		return strings.Count(body["text"].(string), `"overall_state":`)
	}
	for _, c := range []struct {
		do   Action
		want int
	}{{EmptyList, 0}, {PartialList, 1}, {StaleList(time.Minute), 0}, {WrongType, 2}} {
		d.ClearFaults()
		d.Fault(Fault{Method: "GET", Do: c.do})
		if got := count(); got != c.want {
			t.Errorf("%s: %d monitors, want %d", c.do.name, got, c.want)
		}
	}
	d.Advance(2 * time.Minute)
	d.ClearFaults()
	d.Fault(Fault{Method: "GET", Do: StaleList(time.Minute)})
	if got := count(); got != 2 {
		t.Errorf("two minutes later a list that lags by one shows %d", got)
	}
	d.ClearFaults()
	id := d.Monitors()[1]["id"]
	d.Fault(Fault{Method: "GET", Do: NotFound(30 * time.Second)})
	if status, _ := ask(t, d, "GET", "/api/v1/monitor/"+toText(id), nil); status != 200 {
		t.Errorf("an old object: %d", status)
	}
	status, made := ask(t, d, "POST", "/api/v1/monitor", map[string]any{"name": "c", "type": "query alert", "query": "max(last_5m):max:slo.burn_rate{*} > 1"})
	if status != 200 {
		t.Fatal(made)
	}
	path := "/api/v1/monitor/" + toText(d.Monitors()[2]["id"])
	if status, _ := ask(t, d, "GET", path, nil); status != 404 {
		t.Errorf("a young object: %d", status)
	}
	d.Advance(30 * time.Second)
	if status, _ := ask(t, d, "GET", path, nil); status != 200 {
		t.Errorf("half a minute later: %d", status)
	}
}
