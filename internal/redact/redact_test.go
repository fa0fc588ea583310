package redact

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// adding puts credentials on a copy of the request, as the clients of prometheus/common do.
type adding http.Header

func (a adding) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range a {
		r.Header[name] = values
	}
	return http.DefaultTransport.RoundTrip(r)
}

// A server that repeats everything it was sent is repeated without the secrets, and otherwise word
// for word; an answer that is none of its errors is left alone.
func TestAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		fmt.Fprintf(w, "%s is not %s; %s; key %s; tenant %s; agent %s",
			user, password, r.Header.Get("Authorization"), r.Header.Get("X-Key"), r.Header.Get("X-Tenant"), r.Header.Get("Accept"))
	}))
	defer server.Close()
	ask := func(path string, with adding) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "application/json")
		r.Header.Set("X-Tenant", "shop")
		res, err := (&http.Client{Transport: Answers(with)}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	basic := adding{"Authorization": {"Basic YW5uOmh1bnRlcjI="}, "X-Key": {"canary"}} // ann:hunter2
	if got, want := ask("/no", basic), "ann is not <secret>; <secret>; key <secret>; tenant shop; agent application/json"; got != want {
		t.Errorf("\n     %s\nwant %s", got, want)
	}
	if got := ask("/yes", basic); !strings.Contains(got, "hunter2") {
		t.Errorf("a good answer was changed: %s", got)
	}
	bearer := adding{"Authorization": {"Bearer eyJhbGciOi.x"}}
	if got, want := ask("/no", bearer), " is not ; <secret>; key ; tenant shop; agent application/json"; got != want {
		t.Errorf("\n     %s\nwant %s", got, want)
	}
	if got := ask("/no", nil); !strings.Contains(got, "tenant shop") {
		t.Errorf("without secrets: %s", got)
	}
}

func TestText(t *testing.T) {
	if got := Text("abcdef abcd abc", []string{"abcd", "abcdef", "abc", ""}); got != "<secret> <secret> abc" {
		t.Error(got)
	}
}
