package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// vault gives out secrets by generation, writes them as Kubernetes mounts a Secret, and knows which
// generations are still good.
type vault struct {
	t      *testing.T
	dir    string // of the mount
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	oldest atomic.Int64 // generations before it are revoked
	newest atomic.Int64
	asked  []*sync.Map // of every server, the generations in which it was asked
}

func newVault(t *testing.T, dir string) *vault {
	v := &vault{t: t, dir: dir}
	v.caKey, v.ca = v.certificate("yoyu test", nil, nil)
	return v
}

func (v *vault) certificate(name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	v.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		v.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"localhost"},
	}
	if parent == nil {
		parent, signer, template.IsCA, template.KeyUsage = template, key, true, x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		v.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		v.t.Fatal(err)
	}
	return key, cert
}

func pemOf(t *testing.T, key *ecdsa.PrivateKey, cert *x509.Certificate) (keyPEM, certPEM string) {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// word is the secret of a generation.
func word(kind string, generation int64) string {
	return fmt.Sprintf("canary-%s-%04d", kind, generation)
}

// issue makes a new generation good and mounts it: a folder of its own, and ..data swapped over to
// it in one step, as the kubelet does. The old generation stays good until revoke.
func (v *vault) issue() {
	v.t.Helper()
	g := v.newest.Add(1)
	key, cert := v.certificate(word("client", g), v.ca, v.caKey)
	keyPEM, certPEM := pemOf(v.t, key, cert)
	_, caPEM := pemOf(v.t, v.caKey, v.ca)
	files := map[string]string{
		"user": word("user", g), "password": word("password", g) + "\n", "token": word("token", g), "header": word("header", g),
		"api": word("api", g) + "\n", "app": word("app", g), "client.key": keyPEM, "client.pem": certPEM, "ca.pem": caPEM,
	}
	folder := fmt.Sprintf("..%d", g)
	if err := os.MkdirAll(filepath.Join(v.dir, folder), 0o700); err != nil {
		v.t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(v.dir, folder, name), []byte(text), 0o600); err != nil {
			v.t.Fatal(err)
		}
		link := filepath.Join(v.dir, name)
		if _, err := os.Lstat(link); err == nil {
			continue
		}
		if err := os.Symlink(filepath.Join("..data", name), link); err != nil {
			v.t.Fatal(err)
		}
	}
	aside := filepath.Join(v.dir, "..data_tmp")
	if err := os.Symlink(folder, aside); err != nil {
		v.t.Fatal(err)
	}
	if err := os.Rename(aside, filepath.Join(v.dir, "..data")); err != nil {
		v.t.Fatal(err)
	}
	if g > 1 {
		if err := os.RemoveAll(filepath.Join(v.dir, fmt.Sprintf("..%d", g-1))); err != nil {
			v.t.Fatal(err)
		}
	}
}

func (v *vault) revoke() { v.oldest.Store(v.newest.Load()) }

// good reports whether text is the secret of a kind in a generation that counts.
func (v *vault) good(kind, text string) bool {
	for g := v.oldest.Load(); g <= v.newest.Load(); g++ {
		if text == word(kind, g) {
			return true
		}
	}
	return false
}

// guarded answers who has the credentials that check wants, and others with 401. It counts the
// generations that it was asked under, by the server.
func (v *vault) guarded(check func(*http.Request) bool, answer http.HandlerFunc) http.HandlerFunc {
	seen := new(sync.Map)
	v.asked = append(v.asked, seen)
	return func(w http.ResponseWriter, r *http.Request) {
		seen.Store(v.oldest.Load(), true)
		if !check(r) {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		answer(w, r)
	}
}

// wordsSaid is a log that knows whether a secret of the vault was ever written into it.
type wordsSaid struct{ secret atomic.Bool }

func (w *wordsSaid) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("canary-")) {
		w.secret.Store(true)
	}
	return len(line), nil
}

// Secrets of every part are rotated again and again while requests never stop, and each old
// generation is revoked as soon as every part has made a request that began after the swap. Nobody
// is refused a single time. Names of files are relative, and the process stands elsewhere.
func TestSecretsRotatedUnderLoad(t *testing.T) {
	const rotations = 12
	dir := t.TempDir()
	mount := filepath.Join(dir, "secrets")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	v := newVault(t, mount)
	v.issue()
	v.revoke()

	basic := func(r *http.Request) bool {
		user, password, ok := r.BasicAuth()
		return ok && v.good("user", user) && v.good("password", password)
	}
	bearer := func(r *http.Request) bool {
		return v.good("token", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}
	header := func(r *http.Request) bool { return v.good("header", r.Header.Get("X-Yoyu-Key")) }
	client := func(r *http.Request) bool {
		return len(r.TLS.PeerCertificates) == 1 && v.good("client", r.TLS.PeerCertificates[0].Subject.CommonName)
	}
	keys := func(r *http.Request) bool {
		return v.good("api", r.Header.Get("DD-API-KEY")) && v.good("app", r.Header.Get("DD-APPLICATION-KEY"))
	}
	apiKey := func(r *http.Request) bool { return v.good("api", r.Header.Get("DD-API-KEY")) }

	says := func(kind, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, text)
		}
	}
	empty := says("application/json", `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
	serve := func(check func(*http.Request) bool, answer http.HandlerFunc) string {
		server := httptest.NewServer(v.guarded(check, answer))
		t.Cleanup(server.Close)
		return server.URL
	}
	pool := x509.NewCertPool()
	pool.AddCert(v.ca)
	key, cert := v.certificate("server", v.ca, v.caKey)
	serveTLS := func(answer http.HandlerFunc) string {
		secure := httptest.NewUnstartedServer(v.guarded(client, answer))
		secure.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
		secure.StartTLS()
		t.Cleanup(secure.Close)
		return secure.URL
	}
	// What a receiver answers to a message of remote write 1.0 that it has taken.
	taken := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}

	text := fmt.Sprintf(`
tick: 1s
sources:
  - {name: basic, type: prometheus, url: %q, remote_read: never, basic_auth: {username_file: secrets/user, password_file: secrets/password}}
  - {name: bearer, type: prometheus, url: %q, remote_read: never, authorization: {credentials_file: secrets/token}}
  - {name: header, type: prometheus, url: %q, remote_read: never, http_headers: {X-Yoyu-Key: {files: [secrets/header]}}}
  - {name: mtls, type: prometheus, url: %q, remote_read: never, tls_config: {ca_file: secrets/ca.pem, cert_file: secrets/client.pem, key_file: secrets/client.key}}
  - {name: pods, type: scrape, targets: [%q], basic_auth: {username_file: secrets/user, password_file: secrets/password}}
  - {name: dd, type: datadog, url: %q, api_key_file: secrets/api, app_key_file: secrets/app}
sinks:
  - {name: dd, type: datadog, url: %q, api_key_file: secrets/api}
  - {name: am, type: alertmanager, url: %q, resend: 1ms, authorization: {credentials_file: secrets/token}}
  - {name: rw-basic, type: remote_write, url: %q, basic_auth: {username_file: secrets/user, password_file: secrets/password}}
  - {name: rw-bearer, type: remote_write, url: %q, authorization: {credentials_file: secrets/token}}
  - {name: rw-header, type: remote_write, url: %q, http_headers: {X-Yoyu-Key: {files: [secrets/header]}}}
  - {name: rw-mtls, type: remote_write, url: %q, tls_config: {ca_file: secrets/ca.pem, cert_file: secrets/client.pem, key_file: secrets/client.key}}
defaults: {period: 2h}
slos:
`, serve(basic, empty), serve(bearer, empty), serve(header, empty), serveTLS(empty),
		serve(basic, says("text/plain; version=0.0.4", "requests_total 1\n"))+"/metrics",
		serve(keys, says("application/json", `{"status":"ok","series":[]}`)),
		serve(apiKey, says("application/json", `{"errors":[]}`)),
		serve(bearer, says("application/json", "")),
		serve(basic, taken)+"/api/v1/write", serve(bearer, taken)+"/api/v1/write", serve(header, taken)+"/api/v1/write", serveTLS(taken)+"/api/v1/write")
	for _, source := range []string{"basic", "bearer", "header", "mtls", "pods"} {
		text += fmt.Sprintf("  - {name: of-%[1]s, source: %[1]s, service: shop, objective: 99, indicator: {counters: {total: requests_total, bad: 'requests_total{code=\"500\"}'}}}\n", source)
	}
	text += "  - {name: of-dd, source: dd, service: shop, objective: 99, indicator: {datadog: {total: 'sum:hits{*}.as_count()', bad: 'sum:errors{*}.as_count()'}}}\n"
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	said := new(wordsSaid)
	parts, err := assemble(c, nil, partOptions{log: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}

	// Every part is asked again and again by a goroutine of its own.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	turns := map[string]*atomic.Int64{}
	load := func(name string, turn func(ctx context.Context, n int64) error) {
		count := new(atomic.Int64)
		turns[name] = count
		all.Go(func() {
			for n := int64(1); ctx.Err() == nil; n++ {
				if err := turn(ctx, n); err != nil && ctx.Err() == nil {
					t.Errorf("%s, turn %d: %v", name, n, err)
					stop()
				}
				count.Store(n)
			}
		})
	}
	start := time.Now().Truncate(time.Second).Add(-time.Hour)
	for _, lane := range parts.lanes {
		load("source "+lane.Source.Name(), func(ctx context.Context, n int64) error {
			at := start.Add(time.Duration(n) * time.Second)
			if lane.Source.Name() == "dd" { // a bucket at a time
				at = start.Truncate(time.Minute).Add(time.Duration(n) * time.Minute)
			}
			samples, err := lane.Source.Collect(ctx, slo.Span{From: at.Add(-time.Second), To: at})
			for _, one := range samples {
				if err == nil {
					err = one.Err
				}
			}
			return err
		})
	}
	for _, sink := range parts.sinks {
		report := sinktest.Report()
		load("sink "+sink.Name(), func(ctx context.Context, n int64) error {
			r := *report
			r.Time = time.Now().Truncate(time.Second).Add(time.Duration(n) * time.Millisecond)
			return sink.Write(ctx, &r)
		})
	}
	// after waits until every part has gone through a whole turn that began later than now.
	after := func() {
		want := map[string]int64{}
		for name, count := range turns {
			want[name] = count.Load() + 2
		}
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for patience := time.After(time.Minute); ; {
			late := ""
			for name, count := range turns {
				if count.Load() < want[name] {
					late = name
				}
			}
			if late == "" || ctx.Err() != nil {
				return
			}
			select {
			case <-look.C:
			case <-patience:
				t.Errorf("%s: stands still", late)
				return
			}
		}
	}
	if len(turns) != 12 {
		t.Errorf("%d parts are under load, want 12", len(turns))
	}
	for range rotations {
		after()
		v.issue()
		after()
		v.revoke()
	}
	after()
	stop()
	all.Wait()
	if said.secret.Load() {
		t.Error("a secret is in the log")
	}
	for i, seen := range v.asked {
		for g := int64(1); g <= rotations+1; g++ {
			if _, ok := seen.Load(g); !ok {
				t.Errorf("server %d was never asked while generation %d was the oldest", i, g)
			}
		}
	}
}
