// Package redact keeps what a request carried as a secret out of what is said about its answer.
//
// Servers, and proxies in front of them, repeat in their errors what they were sent: "invalid token
// abc". People need those words, so rooms put them into errors, logs and pages. Here they are made
// fit for that before a room reads them.
package redact

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Secret stands where a secret stood.
const Secret = "<secret>"

const (
	most  = 64 << 10 // bytes of an error's body that are kept
	least = 4        // bytes of a secret: a shorter one would blacken half of the text
)

// Answers takes out of every answer that is not 2xx whatever the request carried in headers that
// next put there itself: credentials, tokens, keys, with the password of basic auth in plain and
// encoded. It does so by looking at the request that was really sent, so it must stand outside of
// all that adds headers. The body of such an answer is cut to 64 KiB.
func Answers(next http.RoundTripper) http.RoundTripper { return answers{next} }

type answers struct{ next http.RoundTripper }

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := a.next.RoundTrip(r)
	if err != nil || answer.StatusCode/100 == 2 || answer.StatusCode < 200 || answer.Request == nil {
		return answer, err
	}
	secrets := added(r.Header, answer.Request.Header)
	if len(secrets) == 0 {
		return answer, nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, most))
	answer.Body.Close()
	text := Text(string(body), secrets)
	answer.Body = io.NopCloser(bytes.NewReader([]byte(text)))
	if err != nil { // what came before is still worth reading
		answer.Body = io.NopCloser(io.MultiReader(strings.NewReader(text), broken{err}))
	}
	answer.ContentLength = -1
	answer.Header.Del("Content-Length")
	return answer, nil
}

// CloseIdleConnections lets a client end what it keeps open.
func (a answers) CloseIdleConnections() {
	if c, ok := a.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// added are the values of headers that sent has and asked has not, and what they are made of.
func added(asked, sent http.Header) (out []string) {
	for name, values := range sent {
		if name == "User-Agent" || name == "Accept-Encoding" {
			continue
		}
		for _, value := range values {
			if slices.Contains(asked[name], value) {
				continue
			}
			out = append(out, value)
			if _, credentials, ok := strings.Cut(value, " "); ok && name == "Authorization" {
				out = append(out, credentials)
				if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
					_, password, _ := strings.Cut(string(pair), ":")
					out = append(out, string(pair), password)
				}
			}
		}
	}
	return out
}

// Text is a text without secrets, the longest first: one may be a part of another.
func Text(text string, secrets []string) string {
	secrets = slices.Clone(secrets)
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		if len(secret) >= least {
			text = strings.ReplaceAll(text, secret, Secret)
		}
	}
	return text
}
