package scrape_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/yoyu-sre/yoyu/sources/scrape"
)

// refused turns once and returns why the target was not read; "" when it was.
func refused(t *testing.T, c scrape.Config) string {
	t.Helper()
	s := newScraper(t, scrape.Options{Config: c})
	if _, err := s.Collect(t.Context(), s.next(tick)); err != nil {
		return scrape.Reason(err) + ": " + err.Error()
	}
	return ""
}

// Where the cloud keeps its credentials is not asked, however the address is spelt.
func TestAddressesThatAreNeverAsked(t *testing.T) {
	for address, network := range map[string]string{
		"169.254.169.254":          "link-local",
		"169.254.170.2":            "link-local",
		"169.254.170.23":           "link-local",
		"[fe80::1]":                "link-local",
		"[fe80::1%25lo]":           "link-local",
		"[fd00:ec2::254]":          "AWS",
		"[fd20:ce::254]":           "Google",
		"100.100.100.200":          "Alibaba",
		"168.63.129.16":            "Azure",
		"192.0.0.192":              "Oracle",
		"[::ffff:169.254.169.254]": "link-local",
		"[::ffff:a9fe:a9fe]":       "link-local",
		"[64:ff9b::a9fe:a9fe]":     "link-local",
		"[2002:a9fe:a9fe::1]":      "link-local",
		"0.0.0.0":                  "no address",
		"[::]":                     "no address",
		"224.0.0.1":                "multicast",
		"[ff02::1]":                "multicast",
	} {
		c := scrape.DefaultConfig()
		c.Targets = []string{"http://" + address + "/latest/meta-data/"}
		_, err := scrape.New(scrape.Options{Name: "pods", Config: c, Tick: tick})
		if err == nil || !strings.Contains(err.Error(), network) || !strings.HasPrefix(err.Error(), "targets[0]: ") {
			t.Errorf("%s: %v", address, err)
		}
		c.LinkLocal = true
		if _, err := scrape.New(scrape.Options{Name: "pods", Config: c, Tick: tick}); err != nil {
			t.Errorf("%s, allowed: %v", address, err)
		}
	}
	for _, address := range []string{"127.0.0.1", "[::1]", "10.0.0.1", "192.168.1.1", "[fd00:1::1]", "100.100.100.201", "169.253.0.1", "checkout"} {
		c := scrape.DefaultConfig()
		c.Targets = []string{"http://" + address + "/metrics"}
		if _, err := scrape.New(scrape.Options{Name: "pods", Config: c, Tick: tick}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A name is looked at when it is connected to, each time: one that first stands for the pod and then
// for the metadata of the machine is read once, and never again. Numbers that only a resolver reads
// as addresses, and redirects, come to the same door.
func TestNamesThatTurn(t *testing.T) {
	target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = fmt.Fprintln(w, "http_requests_total 1")
	}))
	at, err := url.Parse(target.URL)
	if err != nil {
		t.Fatal(err)
	}
	var answer atomic.Pointer[[4]byte]
	answer.Store(&[4]byte{127, 0, 0, 1})
	resolve(t, &answer)

	c := pages()
	c.Targets = []string{"http://pod.test.:" + at.Port() + "/metrics"}
	s := newScraper(t, scrape.Options{Config: c})
	s.turn()
	if target.asked.Load() != 1 {
		t.Fatalf("the pod's own address was asked %d times", target.asked.Load())
	}
	answer.Store(&[4]byte{169, 254, 169, 254})
	err = s.fails()
	said := scrape.Reason(err) + ": " + err.Error()
	want := "refused: target http://pod.test.:" + at.Port() + "/metrics: "
	if !strings.HasPrefix(said, want) || !strings.Contains(said, "is not asked: 169.254.169.254 is link-local") || !strings.HasSuffix(said, "allow_link_local: true allows it") {
		t.Errorf("after the name has turned: %q", said)
	}

	// The first answer sends us back to the same name, which has turned by then.
	answer.Store(&[4]byte{127, 0, 0, 1})
	turning := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer.Store(&[4]byte{169, 254, 169, 254})
		w.Header().Set("Connection", "close")
		http.Redirect(w, r, "/latest/meta-data/", http.StatusFound)
	}))
	at, err = url.Parse(turning.URL)
	if err != nil {
		t.Fatal(err)
	}
	c.Targets = []string{"http://pod.test.:" + at.Port() + "/metrics"}
	if said := refused(t, c); !strings.Contains(said, "169.254.169.254 is link-local") || turning.asked.Load() != 1 {
		t.Errorf("a redirect to a name that has turned: %q", said)
	}
	turning.show(http.RedirectHandler("http://169.254.169.254/latest/meta-data/", http.StatusFound))
	c.Targets = []string{turning.page()}
	if said := refused(t, c); !strings.HasPrefix(said, "redirect: ") || strings.Contains(said, "hunter2") {
		t.Errorf("a redirect to the address itself: %q", said)
	}
}

// resolve has every name stand for the address, asked of a name server of the test's own.
func resolve(t *testing.T, answer *atomic.Pointer[[4]byte]) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return // closed
			}
			var asked dnsmessage.Message
			if asked.Unpack(buffer[:n]) != nil || len(asked.Questions) != 1 {
				continue
			}
			q := asked.Questions[0]
			reply := dnsmessage.Message{Header: dnsmessage.Header{ID: asked.ID, Response: true, Authoritative: true}, Questions: asked.Questions}
			if q.Type == dnsmessage.TypeA {
				reply.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: *answer.Load()},
				}}
			}
			if packed, err := reply.Pack(); err == nil {
				_, _ = server.WriteTo(packed, from)
			}
		}
	}()
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// A page may not make yoyu remember names without end.
func TestLabelsHaveBounds(t *testing.T) {
	many := make([]string, 130)
	for i := range many {
		many[i] = fmt.Sprintf(`l%03d="x"`, i)
	}
	long := `http_requests_total{path="` + strings.Repeat("x", 17<<10) + `"} 1`
	for page, want := range map[string]string{
		"http_requests_total{" + strings.Join(many, ",") + "} 1": "parse: line 1: http_requests_total has 131 labels, 128 are the most",
		long: "parse: line 1: http_requests_total has labels of 17439 bytes, 16384 are the most",
		"http_requests_total{" + strings.Join(many[:100], ",") + "} 1": "",
		"other{" + strings.Join(many, ",") + "} 1":                     "", // nobody counts it
	} {
		target := serve(t, text(page))
		got := refused(t, pages(target))
		if got = strings.Replace(got, "target "+target.page()+": ", "", 1); got != want {
			t.Errorf("%.60s…: %q, want %q", page, got, want)
		}
	}
}
