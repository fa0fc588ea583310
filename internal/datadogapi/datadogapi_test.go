package datadogapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keyed is a client of a server, with keys in files.
func keyed(t *testing.T, url string, change func(*Options)) *Client {
	t.Helper()
	folder := t.TempDir()
	o := Options{URL: url, APIKeyFile: filepath.Join(folder, "api"), AppKeyFile: filepath.Join(folder, "app")}
	for file, key := range map[string]string{o.APIKeyFile: "the-api-key", o.AppKeyFile: "the-app-key"} {
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if change != nil {
		change(&o)
	}
	return New(o)
}

// What goes wrong is said in a line, with a word, without keys and addresses; and whether the
// request may have been carried out all the same.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
		reason string
		lost   bool
	}{
		{"refused with words", says(400, `{"errors":["The value provided for parameter 'query' is invalid"]}`),
			"it: 400 Bad Request: The value provided for parameter 'query' is invalid", "http_4xx", false},
		{"one word for several", says(404, `{"error": "Monitor \"x\" not found"}`), `it: 404 Not Found: Monitor "x" not found`, "http_4xx", false},
		{"the key comes back", says(401, `{"errors":["the-api-key and the-app-key are unknown"]}`), "it: 401 Unauthorized: <secret> and <secret> are unknown", "http_4xx", false},
		{"a page", says(502, "<html>\nno</html>"), "it: 502 Bad Gateway", "http_5xx", true},
		{"too many", says(429, ""), "it: 429 Too Many Requests", "http_4xx", false},
		{"in time no more", says(408, ""), "it: 408 Request Timeout", "http_4xx", true},
		{"not JSON", says(200, "<html>"), "it: 200 OK: the answer is not what Datadog says: no JSON", "decode", true},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example", http.StatusFound)
		},
			"it: 302 Found: it is not followed; write the address as url", "redirect", false},
		{"too long", says(200, `"`+strings.Repeat("x", 2<<20)+`"`), "it: the answer is longer than 1 MiB", "limit", true},
		{"never", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that the asker went away
			<-r.Context().Done()
		}, "it: no answer in time", "timeout", true},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "it: EOF", "other", true},
		{"nobody", nil, "it: connection refused", "refused", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			if c.answer == nil {
				server.Close()
			}
			patience := time.Minute
			if c.reason == "timeout" {
				patience = 200 * time.Millisecond
			}
			api := keyed(t, server.URL, func(o *Options) { o.Answer, o.Timeout = 1<<20, patience })
			var out any
			err := api.Do(t.Context(), "it", http.MethodPost, "/api/v1/monitor", nil, map[string]any{"name": "x"}, &out)
			var e *Error
			if !errors.As(err, &e) || err.Error() != c.want || e.Reason() != c.reason || Lost(err) != c.lost {
				t.Errorf("%v (lost %v), want %s (%s, lost %v)", err, Lost(err), c.want, c.reason, c.lost)
			}
		})
	}
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// A request carries both keys in its headers only, and its body as JSON; ids come back exactly.
func TestDo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("DD-API-KEY") != "the-api-key" || r.Header.Get("DD-APPLICATION-KEY") != "the-app-key" ||
			r.URL.RequestURI() != "/base/api/v1/monitor?page=0" || r.Header.Get("Content-Type") != "application/json" || string(body) != `{"a":1}` {
			t.Errorf("%s %s %v %s", r.Method, r.URL, r.Header, body)
		}
		_, _ = io.WriteString(w, `{"id":9007199254740993}`)
	}))
	defer server.Close()
	api := keyed(t, server.URL+"/base/", nil)
	var out map[string]any
	if err := api.Do(t.Context(), "it", http.MethodPut, "/api/v1/monitor", map[string][]string{"page": {"0"}}, map[string]int{"a": 1}, &out); err != nil {
		t.Fatal(err)
	}
	if out["id"] != json.Number("9007199254740993") {
		t.Errorf("id %v", out["id"])
	}
	if api.Where() != server.URL+"/base" || New(Options{}).Where() != "https://api.datadoghq.com" || New(Options{Site: "datadoghq.eu"}).Where() != "https://api.datadoghq.eu" {
		t.Errorf("addresses %s, %s", api.Where(), New(Options{}).Where())
	}
}

// Who gives up is told so.
func TestCancelled(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := keyed(t, server.URL, nil).Do(ctx, "it", http.MethodGet, "/", nil, nil, nil); err == nil || err.Error() != "it: cancelled" || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCheckAddress(t *testing.T) {
	for _, c := range []struct{ site, url, want string }{
		{"", "", ""}, {"us5.datadoghq.com", "", ""}, {"datadoghq.eu", "http://127.0.0.1:8080/proxy", ""},
		{"https://datadoghq.eu", "", `site: "https://datadoghq.eu" is no site, it is a host name such as datadoghq.com or datadoghq.eu`},
		{"api.datadoghq.eu", "", `site: "api.datadoghq.eu" is an address within a site, leave out its first word`},
		{"", "datadoghq.eu", `url: "datadoghq.eu" is no address such as https://proxy:8443`},
		{"", "https://me:secret@proxy", "url: holds a password, take it out"},
		{"", "https://proxy?x=1", "url: holds a query or a fragment, take it out"},
		{"", "https://pro xy", "url: is no address such as https://proxy:8443"},
	} {
		got := ""
		if err := errors.Join(CheckAddress(c.site, c.url)...); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q, %q: %s, want %s", c.site, c.url, got, c.want)
		}
	}
}

// Who only submits needs one key, is told of that one, and sees when it was exchanged.
func TestOneKey(t *testing.T) {
	sent := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header
		says(403, `{"errors":["Forbidden"]}`)(w, r)
	}))
	defer server.Close()
	file := ""
	api := keyed(t, server.URL, func(o *Options) { o.AppKeyFile, file = "", o.APIKeyFile })
	err := api.Do(t.Context(), "it", http.MethodPost, "/api/v1/series", nil, nil, nil)
	if err == nil || err.Error() != "it: 403 Forbidden: is the API key wrong?" {
		t.Errorf("error %v", err)
	}
	if h := <-sent; h.Get("DD-API-KEY") != "the-api-key" || h.Get("DD-APPLICATION-KEY") != "" {
		t.Errorf("sent %v", h)
	}
	before, err := api.Context(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same, err := api.Context(t.Context())
	if err != nil || !SameKeys(before, same) {
		t.Errorf("the same key is another: %v", err)
	}
	if err := os.WriteFile(file, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := api.Context(t.Context()); err != nil || SameKeys(before, other) {
		t.Errorf("another key is the same: %v", err)
	}
	if said := Said(before, "it", "partial", "no\nsuch key: the-api-key"); said.Error() != "it: no such key: <secret>" || said.Reason() != "partial" {
		t.Errorf("said %v", said)
	}
}
