package scrape

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/config"
)

// accept asks for what Prometheus asks for: OpenMetrics, then text, names in UTF-8 where they are.
const accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6," +
	"application/openmetrics-text;version=0.0.1;q=0.5," +
	"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4," +
	"text/plain;version=0.0.4;q=0.3,*/*;q=0.2"

// acceptNative asks for the protobuf format before all others: native histograms are in no text.
const acceptNative = protobuf + ";proto=" + family + ";encoding=delimited;escaping=allow-utf-8;q=0.7," + accept

// The one message that pages in protobuf are made of.
const (
	protobuf = "application/vnd.google.protobuf"
	family   = "io.prometheus.client.MetricFamily"
)

// maxRedirects is how often a target may send us on within its host.
const maxRedirects = 5

// fetcher gets pages over HTTP.
type fetcher struct {
	client  *http.Client
	timeout time.Duration // for one page, from dialling to its last byte
	limit   int64         // bytes of a page, packed or unpacked
	accept  string        // the formats asked for
}

// newFetcher makes a fetcher; native says that a question may need native histograms. Others are
// asked for as text, which every target speaks and a person can read.
func newFetcher(name string, c Config, native bool) (*fetcher, error) {
	options := []config.HTTPClientOption{config.WithUserAgent("yoyu")}
	if !c.LinkLocal {
		options = append(options, config.WithDialContextFunc(dialer()))
	}
	client, err := config.NewClientFromConfig(c.HTTP, name, options...)
	if err != nil {
		return nil, err
	}
	if c.HTTP.FollowRedirects {
		client.CheckRedirect = sameHost
	}
	f := &fetcher{client: client, timeout: c.Timeout, limit: int64(c.Limits.BodyBytes), accept: accept}
	if native {
		f.accept = acceptNative
	}
	return f, nil
}

// sameHost follows redirects within the host and port that was configured, and from http to https
// on their own ports: a page, and the credentials it needs, belong to one server.
func sameHost(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return &fault{Redirect, fmt.Errorf("more than %d redirects", maxRedirects)}
	}
	from, to := via[0].URL, next.URL
	same := strings.EqualFold(address(from), address(to)) && from.Scheme == to.Scheme
	upgrade := from.Scheme == "http" && to.Scheme == "https" && port(from) == "80" && port(to) == "443"
	if same || upgrade && strings.EqualFold(from.Hostname(), to.Hostname()) {
		return nil
	}
	return &fault{Redirect, fmt.Errorf("redirects to another host, %s://%s: it is not followed", to.Scheme, to.Host)}
}

func address(u *url.URL) string { return u.Hostname() + ":" + port(u) }

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// fetch gets the page of a target: unpacked, with its Content-Type.
func (f *fetcher) fetch(ctx context.Context, t *target) (body []byte, contentType string, err error) {
	own, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	body, contentType, err = f.get(own, t)
	switch {
	case err == nil || reason(err) != Timeout:
	case ctx.Err() != nil: // the caller's patience ended before the target's
		err = &fault{Timeout, errors.New("no whole page before the deadline")}
	default: // the transport words it in many ways; people need one
		err = &fault{Timeout, fmt.Errorf("no whole page within %s", f.timeout)}
	}
	return body, contentType, err
}

func (f *fetcher) get(ctx context.Context, t *target) (body []byte, contentType string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url.String(), nil)
	if err != nil {
		return nil, "", plain(err)
	}
	req.Header.Set("Accept", f.accept)
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(f.timeout.Seconds(), 'f', -1, 64))
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, "", plain(err)
	}
	defer resp.Body.Close() // unread rests close the connection: they are not worth reading
	if resp.StatusCode != http.StatusOK {
		return nil, "", status(resp.StatusCode)
	}
	body, err = f.read(resp, t.size)
	return body, resp.Header.Get("Content-Type"), err
}

func status(code int) error {
	why := Other
	switch code / 100 {
	case 3:
		why = Redirect
	case 4:
		why = HTTP4xx
	case 5:
		why = HTTP5xx
	}
	return &fault{why, errors.New(strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", code, http.StatusText(code))))}
}

// read unpacks the body; hint is how large it may be.
func (f *fetcher) read(resp *http.Response, hint int) ([]byte, error) {
	// Packed bytes are bounded too: a stream of empty gzip members unpacks to nothing for ever.
	var r io.Reader = &bounded{resp.Body, f.limit, f.limit}
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		unpacked, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
		r = &bounded{unpacked, f.limit, f.limit}
	default:
		return nil, fmt.Errorf("body: Content-Encoding %q was not asked for", encoding)
	}
	var body bytes.Buffer
	body.Grow(hint + bytes.MinRead)
	if _, err := body.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return body.Bytes(), nil
}

// bounded refuses to read on after left bytes, where io.LimitReader would pretend to be at the end.
type bounded struct {
	r           io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.left = 0
		return 0, &fault{BodyLimit, fmt.Errorf("larger than %s (limits.body_bytes)", Bytes(b.limit))}
	}
	return n, err
}
