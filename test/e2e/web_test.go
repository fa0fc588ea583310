package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// authority signs certificates for the test.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	a.key, a.cert = a.sign("test authority", "", nil)
	return a
}

func (a *authority) sign(name, san string, parent *authority) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
		template.DNSNames, template.IPAddresses = []string{san}, []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert
}

// write signs a certificate and writes it and its key, as name.pem and name.key.
func (a *authority) write(dir, name, san string) {
	a.t.Helper()
	key, cert := a.sign(name, san, a)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: cert.Raw}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

// client trusts the authority and shows what is in name.pem of dir; no name: no certificate.
func (a *authority) client(dir, name string) *http.Client {
	a.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	settings := &tls.Config{RootCAs: roots}
	if name != "" {
		cert, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
		if err != nil {
			a.t.Fatal(err)
		}
		settings.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true}, Timeout: patience}
}

// watched starts a yoyu that counts one pod, with a web configuration, and waits until it is ready:
// through health's own door.
func watched(t *testing.T, scheme string, web string, client *http.Client, args ...string) (address, dir string) {
	t.Helper()
	target, page := pod(t)
	page.Store("requests_total 1\n")
	dir = t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(`
tick: 1s
sources: [{name: pods, type: scrape, targets: ["http://%s/metrics"]}]
slos:
  - {name: it, source: pods, service: shop, objective: 99, period: 2h, indicator: {counters: {total: requests_total, bad: 'requests_total{code="500"}'}}}
`, target)), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"run", "--config.file=" + config, "--storage.path=" + filepath.Join(dir, "data")}, args...)
	if web != "" {
		if err := os.WriteFile(filepath.Join(dir, "web.yaml"), []byte(web), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--web.config.file="+filepath.Join(dir, "web.yaml"))
	}
	address = freeAddress(t)
	start(t, "yoyu", append(args, "--web.listen-address="+address)...)
	until(t, "yoyu", func() (bool, string) {
		res, err := client.Get(scheme + "://" + address + "/-/ready")
		if err != nil {
			return false, err.Error()
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK, res.Status
	})
	return address, dir
}

// asks is one request as one user; "" is nobody.
func asks(t *testing.T, client *http.Client, method, url, user, password string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func hashed(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// Two users and nobody: health is everybody's, the rest is for those with a password, and of those
// the one who is named may reload.
func TestWebUsers(t *testing.T) {
	web := fmt.Sprintf("basic_auth_users: {ann: %q, ben: %q}\n", hashed(t, "anns"), hashed(t, "bens"))
	client := &http.Client{Timeout: patience}
	address, dir := watched(t, "http", web, client, "--web.enable-lifecycle", "--web.lifecycle-user=ann")
	at := "http://" + address
	for _, path := range []string{"/", "/metrics", "/api/v1/slos", "/api/v1/alerts", "/api/v1/rightsizing", "/explain?slo=it", "/style.css"} {
		for user, want := range map[string]int{"": 401, "ann": 200, "ben": 200, "eve": 401} {
			if got := asks(t, client, "GET", at+path, user, user+"s"); got != want {
				t.Errorf("GET %s as %q: %d, want %d", path, user, got, want)
			}
		}
		if got := asks(t, client, "GET", at+path, "ann", "bens"); got != 401 {
			t.Errorf("GET %s with another's password: %d", path, got)
		}
	}
	for _, path := range []string{"/-/healthy", "/-/ready"} {
		for _, user := range []string{"", "ann", "eve"} {
			if got := asks(t, client, "GET", at+path, user, "wrong"); got != 200 {
				t.Errorf("GET %s as %q: %d, want 200", path, user, got)
			}
		}
	}
	reload := func(user, password string, want int) {
		t.Helper()
		if got := asks(t, client, "POST", at+"/-/reload", user, password); got != want {
			t.Errorf("reload as %q: %d, want %d", user, got, want)
		}
	}
	reload("", "", 401)
	reload("eve", "eves", 401)
	reload("ben", "bens", 403)
	reload("ann", "bens", 401)
	reload("ann", "anns", 200)
	if got := asks(t, client, "GET", at+"/debug/pprof/", "ann", "anns"); got != 404 {
		t.Errorf("the profiler answers %d although nobody turned it on", got)
	}

	// The list of users is read again. Without one nobody can prove to be ann.
	if err := os.WriteFile(filepath.Join(dir, "web.yaml"), []byte("rate_limit: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := asks(t, client, "GET", at+"/metrics", "", ""); got != 200 {
		t.Errorf("without users: %d", got)
	}
	reload("ann", "anns", 403)

	// A web configuration that is broken closes everything but health.
	if err := os.WriteFile(filepath.Join(dir, "web.yaml"), []byte("nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := asks(t, client, "GET", at+"/metrics", "ann", "anns"); got != 500 {
		t.Errorf("with a broken web configuration: %d", got)
	}
	if got := asks(t, client, "GET", at+"/-/healthy", "", ""); got != 200 {
		t.Errorf("health with a broken web configuration: %d", got)
	}
}

// What is off unless it is turned on, and what nobody can be meant by.
func TestWebOffByDefault(t *testing.T) {
	client := &http.Client{Timeout: patience}
	address, _ := watched(t, "http", "", client)
	if got := asks(t, client, "POST", "http://"+address+"/-/reload", "", ""); got != 403 {
		t.Errorf("reload: %d, want 403", got)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/profile", "/debug/pprof/heap", "/debug/vars"} {
		if got := asks(t, client, "GET", "http://"+address+path, "", ""); got != 404 {
			t.Errorf("%s: %d, want 404", path, got)
		}
	}

	// Turned on, they answer.
	address, _ = watched(t, "http", "", client, "--web.enable-pprof", "--web.enable-lifecycle")
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap"} {
		if got := asks(t, client, "GET", "http://"+address+path, "", ""); got != 200 {
			t.Errorf("%s: %d, want 200", path, got)
		}
	}
	if got := asks(t, client, "POST", "http://"+address+"/-/reload", "", ""); got != 200 {
		t.Errorf("reload: %d, want 200", got)
	}

	// Names that nobody can prove are refused at the start.
	out, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "yoyu"), "run", "--web.lifecycle-user=ann").CombinedOutput()
	if want := "yoyu: --web.lifecycle-user: nobody can prove a name without basic_auth_users in --web.config.file\n"; err == nil || string(out) != want {
		t.Errorf("%v: %s, want %s", err, out, want)
	}
}

// With client certificates: health is open to who has none, everything else wants a good one, and
// the server's own certificate is read again when its file changes.
func TestWebClientCertificates(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	certs := t.TempDir()
	a.write(certs, "server", "yoyu")
	a.write(certs, "scraper", "prometheus.monitoring")
	a.write(certs, "other", "other.monitoring")
	stranger.write(certs, "stranger", "prometheus.monitoring")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	if err := os.WriteFile(filepath.Join(certs, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	web := fmt.Sprintf(`
tls_server_config:
  cert_file: %[1]s/server.pem
  key_file: %[1]s/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: %[1]s/ca.pem
  client_allowed_sans: [prometheus.monitoring]
basic_auth_users: {ann: %[2]q}
`, certs, hashed(t, "anns"))
	nobody := a.client(certs, "")
	address, _ := watched(t, "https", web, nobody)
	at := "https://" + address
	for _, path := range []string{"/-/healthy", "/-/ready"} {
		if got := asks(t, nobody, "GET", at+path, "", ""); got != 200 {
			t.Errorf("%s without a certificate: %d", path, got)
		}
	}
	for _, path := range []string{"/", "/metrics", "/api/v1/slos"} {
		if got := asks(t, nobody, "GET", at+path, "ann", "anns"); got != 403 {
			t.Errorf("%s with a password and no certificate: %d, want 403", path, got)
		}
		if got := asks(t, a.client(certs, "scraper"), "GET", at+path, "", ""); got != 401 {
			t.Errorf("%s with a certificate and no password: %d, want 401", path, got)
		}
		if got := asks(t, a.client(certs, "scraper"), "GET", at+path, "ann", "anns"); got != 200 {
			t.Errorf("%s with both: %d, want 200", path, got)
		}
	}
	if _, err := stranger.client(certs, "").Get(at + "/metrics"); err == nil {
		t.Error("a client that does not trust the server was served")
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	for _, name := range []string{"other", "stranger"} {
		if res, err := a.client(certs, name).Get(at + "/-/healthy"); err == nil {
			res.Body.Close()
			t.Errorf("the certificate of %s was taken: %s", name, res.Status)
		}
	}

	serial := func() string {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	a.write(certs, "server", "yoyu")
	if after := serial(); after == before {
		t.Error("the old certificate is shown although its file has changed")
	}

	// The image has no shell; its own word for this is healthcheck.
	probe := func(args ...string) error {
		out, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "yoyu"), append([]string{"healthcheck"}, args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := probe("--url="+at+"/-/ready", "--insecure-skip-verify"); err != nil {
		t.Error(err)
	}
	if err := probe("--url=" + at + "/-/ready"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	if err := probe("--url="+at+"/metrics", "--insecure-skip-verify"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("what is not open: %v", err)
	}
}

// Ten thousand connections that say nothing, headers that come byte by byte, answers that nobody
// reads, headers without end, bodies without end: all the while a supervisor hears within seconds
// that the daemon is well, and afterwards it serves as before.
func TestWebUnderSiege(t *testing.T) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	address, _ := watched(t, "http", "", client)
	well := func(what string) {
		t.Helper()
		began := time.Now()
		if got := asks(t, client, "GET", "http://"+address+"/-/healthy", "", ""); got != 200 {
			t.Errorf("%s: /-/healthy answers %d", what, got)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: /-/healthy took %s", what, took)
		}
	}
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	crowd := func(n int, say string) []net.Conn {
		t.Helper()
		var mu sync.Mutex
		var all sync.WaitGroup
		out := make([]net.Conn, 0, n)
		for range 50 {
			all.Go(func() {
				for range n / 50 {
					conn, err := net.Dial("tcp", address)
					if err != nil {
						t.Errorf("connection: %v", err)
						return
					}
					_, _ = io.WriteString(conn, say) // it may be closed on us: that is the point
					mu.Lock()
					out = append(out, conn)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		open = append(open, out...)
		return out
	}

	many := 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < 14_000 {
		many = int(limit.Cur) - 4000
		t.Logf("this machine lets a process open %d files: %d connections instead of 10,000", limit.Cur, many)
	}
	well("before")
	crowd(many, "")
	for range 20 {
		well("ten thousand silent connections")
	}
	text, err := get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" { // elsewhere it does not know
		if _, rest, ok := strings.Cut(text, "\nprocess_open_fds "); !ok {
			t.Error("no process_open_fds")
		} else if n, _, _ := strings.Cut(rest, "\n"); len(n) > 3 || n > "700" && len(n) == 3 {
			t.Errorf("%s files are open: 512 connections are the most that one address has", n)
		}
	}

	loris := crowd(2000, "GET / HTTP/1.1\r\nHost: yoyu\r\nX-Slow: ")
	for range 10 {
		for _, conn := range loris {
			_, _ = io.WriteString(conn, "x")
		}
		well("headers byte by byte")
	}

	crowd(1000, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: yoyu\r\n\r\n", 50))
	for range 5 {
		well("answers that nobody reads")
	}

	crowd(500, "POST /-/reload HTTP/1.1\r\nHost: yoyu\r\nContent-Length: 1000000000\r\n\r\nxxxx")
	well("bodies that never come")

	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	open = append(open, conn)
	go func() {
		_, _ = io.WriteString(conn, "GET /-/healthy HTTP/1.1\r\nHost: yoyu\r\nX-Huge: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of a megabyte: %s, want 431", res.Status)
	}
	well("a header of a megabyte")

	for _, conn := range open {
		conn.Close()
	}
	if got := asks(t, client, "GET", "http://"+address+"/metrics", "", ""); got != 200 {
		t.Errorf("afterwards: /metrics answers %d", got)
	}
}
