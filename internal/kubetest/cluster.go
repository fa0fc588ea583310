// Package kubetest runs a real Kubernetes API server inside a test: kube-apiserver and etcd on
// loopback, stopped and thrown away when the test ends.
//
//	test/build.sh ──▶ cache ──▶ Start(t) ──▶ Cluster ──▶ Kubectl, Apply, Token, Asked
//	                                           │ Stop, Restart: same objects, same port; Forget
//
// There is no kubelet, no scheduler and no controller: what an object becomes, and what its status
// says, the test writes. What there is, is real: schemas and their defaults, admission (Pod Security
// too), RBAC, resource versions, watches.
//
// The programs are the pinned ones of test/kubernetes and test/vpa, and CRDs those of test/operators.
// The API server of the oldest Kubernetes that is supported is that of test/kubernetes-oldest: see
// Oldest. They are found by $YOYU_KUBE_APISERVER, $YOYU_KUBE_APISERVER_OLDEST, $YOYU_ETCD,
// $YOYU_KUBECTL, $YOYU_VPA_RECOMMENDER and $YOYU_CONTROLLER_GEN, else in the cache of test/build.sh.
// Where they are missing the test is skipped with a word; where they must not be missing ($CI or $YOYU_REAL is true) it fails. Under `go test -short` it is skipped always.
//
// What goes wrong ends the test (t.Fatal), so the methods belong on the test's own goroutine. A
// failed test prints the last of what the API server logged.
package kubetest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/realtest"
)

// patience is how long anything may take that is expected to happen. Long, because a busy machine
// is no failure.
const patience = 2 * time.Minute

// admin is the token of the one who may do everything.
const admin = "the-test-itself"

// Cluster is one API server with its etcd, running or stopped.
type Cluster struct {
	t                        testing.TB
	apiserver, etcd, kubectl string // programs
	dir                      string
	address                  string // host:port of the API server, kept across restarts
	store                    string // URL of etcd
	journal, storeJournal    realtest.Journal
	client                   *http.Client // the admin's

	server, storage *realtest.Process // nil while stopped
}

// Kubectl is the path of the pinned kubectl; without one the test is skipped, or fails.
func Kubectl(t testing.TB) string {
	t.Helper()
	return realtest.Program(t, "kubernetes", "kubectl", "YOYU_KUBECTL")
}

// Oldest has every Start in the rest of the test, and in its subtests, run the oldest API server that
// is supported in place of the newest. etcd and kubectl stay the newest ones. It changes the
// environment, so the test must not be parallel.
func Oldest(t testing.TB) {
	t.Helper()
	t.Setenv("YOYU_KUBE_APISERVER", realtest.Program(t, "kubernetes-oldest", "kube-apiserver", "YOYU_KUBE_APISERVER_OLDEST"))
}

// Start runs an API server and returns once it is ready: some seconds. It ends with the test.
func Start(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{
		t:         t,
		apiserver: realtest.Program(t, "kubernetes", "kube-apiserver", "YOYU_KUBE_APISERVER"),
		etcd:      realtest.Program(t, "kubernetes", "server", "YOYU_ETCD"), // go build names it so
		kubectl:   Kubectl(t),
		dir:       t.TempDir(),
	}
	t.Cleanup(c.end)
	if err := c.prepare(); err != nil {
		t.Fatalf("kubernetes: %v", err)
	}
	if err := c.launch(&c.storeJournal, c.startStorage); err != nil {
		t.Fatalf("etcd: %v\n%s", err, tail(c.storeJournal.String()))
	}
	if err := c.launch(&c.journal, c.startServer); err != nil {
		t.Fatalf("kube-apiserver: %v\n%s", err, tail(c.journal.String()))
	}
	if err := c.trust(); err != nil {
		t.Fatalf("kubernetes: %v", err)
	}
	return c
}

// URL is where the API server listens, the same after a Restart.
func (c *Cluster) URL() string { return "https://" + c.address }

// Version is what the API server says it is, such as v1.37.2.
func (c *Cluster) Version() (version string) {
	c.t.Helper()
	c.Get("/version", func(r io.Reader) error {
		var said struct {
			Version string `json:"gitVersion"`
		}
		err := json.NewDecoder(r).Decode(&said)
		version = said.Version
		return err
	})
	return version
}

// Stop ends the API server as a crash does: asked politely it would wait for its watches, for up to
// a minute. etcd goes on.
func (c *Cluster) Stop() {
	c.t.Helper()
	if c.server == nil {
		c.t.Fatal("kube-apiserver: stop: not running")
	}
	c.server.Kill()
	c.server = nil
}

// Forget makes etcd forget all versions before the present one, as it does every few minutes in a
// real cluster: whoever watches from one of them is told 410 Expired.
func (c *Cluster) Forget() {
	c.t.Helper()
	var now struct {
		Header struct{ Revision string }
	}
	for range 3 { // versions that nobody can have seen
		c.tellStore("/v3/kv/put", `{"key":"`+base64.StdEncoding.EncodeToString([]byte("/forget"))+`"}`, &now)
	}
	c.tellStore("/v3/kv/compaction", `{"physical":true,"revision":"`+now.Header.Revision+`"}`, &struct{}{})
}

func (c *Cluster) tellStore(path, question string, answer any) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.store+path, strings.NewReader(question))
	if err != nil {
		c.t.Fatalf("etcd: %v", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatalf("etcd: %v", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		c.t.Fatalf("etcd: %s: %v\n%s", path, err, text)
	}
}

// Restart stops the API server where it runs, and starts it on the same objects and port.
func (c *Cluster) Restart() {
	c.t.Helper()
	if c.server != nil {
		c.Stop()
	}
	if err := c.startServer(); err != nil {
		c.t.Fatalf("kube-apiserver: restart: %v", err)
	}
}

// launch tries a start again when another process took the free port first.
func (c *Cluster) launch(said *realtest.Journal, start func() error) (err error) {
	for range 5 {
		if err = start(); err == nil || !strings.Contains(said.String(), "address already in use") {
			return err
		}
		c.address = ""
	}
	return err
}

// prepare writes what the programs are started with.
func (c *Cluster) prepare() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(c.path("accounts.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600),
		os.WriteFile(c.path("tokens.csv"), []byte(admin+`,test,1,"system:masters"`+"\n"), 0o600),
		os.WriteFile(c.path("audit.yaml"), []byte(auditPolicy), 0o600),
	)
}

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

func (c *Cluster) startStorage() error {
	address, err := realtest.FreeAddress()
	if err != nil {
		return err
	}
	c.store = "http://" + address
	command := exec.Command(c.etcd,
		"--data-dir="+c.path("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls="+c.store, "--advertise-client-urls="+c.store, "--listen-peer-urls=http://127.0.0.1:0")
	command.Stdout, command.Stderr = &c.storeJournal, &c.storeJournal
	c.storage, err = c.ready(command, http.DefaultClient, func() string { return c.store + "/health" })
	return err
}

func (c *Cluster) startServer() (err error) {
	if c.address == "" {
		if c.address, err = realtest.FreeAddress(); err != nil {
			return err
		}
	}
	_, port, err := net.SplitHostPort(c.address)
	if err != nil {
		return err
	}
	command := exec.Command(c.apiserver,
		"--etcd-servers="+c.store,
		"--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+c.path("certificates"),
		"--token-auth-file="+c.path("tokens.csv"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+c.path("accounts.key"), "--service-account-signing-key-file="+c.path("accounts.key"),
		"--service-cluster-ip-range=10.0.0.0/24",
		// It would add a token to every pod, which no controller makes here.
		"--disable-admission-plugins=ServiceAccount",
		"--endpoint-reconciler-type=none",
		"--audit-policy-file="+c.path("audit.yaml"), "--audit-log-path="+c.path("audit.log"))
	command.Stdout, command.Stderr = &c.journal, &c.journal
	// The server signs its own certificate before it listens; what it says is trusted only then.
	blind := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // only whether it is up
	defer blind.CloseIdleConnections()
	c.server, err = c.ready(command, blind, func() string { return c.URL() + "/readyz" })
	return err
}

// ready starts a program and waits until an address of it answers 200.
func (c *Cluster) ready(command *exec.Cmd, client *http.Client, address func() string) (*realtest.Process, error) {
	process, err := realtest.Start(command)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = realtest.Poll(ctx, process.Done(), func() bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address(), nil)
		if err != nil {
			return false
		}
		request.Header.Set("Authorization", "Bearer "+admin)
		response, err := client.Do(request)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	if err != nil {
		process.Kill()
		return nil, fmt.Errorf("not ready: %w", err)
	}
	return process, nil
}

// trust reads the certificate that the server made, and writes the admin's kubeconfig.
func (c *Cluster) trust() error {
	ca, err := os.ReadFile(c.path("certificates/apiserver.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return errors.New("apiserver.crt holds no certificate")
	}
	c.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	return c.writeKubeconfig(c.path("admin.kubeconfig"), admin)
}

func (c *Cluster) writeKubeconfig(path, token string) error {
	ca, err := os.ReadFile(c.path("certificates/apiserver.crt"))
	if err != nil {
		return err
	}
	return os.WriteFile(path, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: test, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
`, c.URL(), base64.StdEncoding.EncodeToString(ca), token), 0o600)
}

// Admin is the path of a kubeconfig of one who may do everything.
func (c *Cluster) Admin() string { return c.path("admin.kubeconfig") }

// Kubeconfig is the path of a kubeconfig of a ServiceAccount, whose token the API server gives.
func (c *Cluster) Kubeconfig(namespace, account string) string {
	c.t.Helper()
	token := strings.TrimSpace(c.Kubectl("create", "token", account, "--namespace="+namespace))
	path := c.path(namespace + "-" + account + ".kubeconfig")
	if err := c.writeKubeconfig(path, token); err != nil {
		c.t.Fatalf("kubeconfig: %v", err)
	}
	return path
}

// Path is the folder that kubectl is in.
func (c *Cluster) Path() string { return filepath.Dir(c.kubectl) }

// Kubectl runs kubectl as the admin and returns what it prints; a failure ends the test.
func (c *Cluster) Kubectl(arguments ...string) string {
	c.t.Helper()
	out, err := c.Try(c.Admin(), "", arguments...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// Established waits until CRDs are served, by their names; all of them where none is named. A CRD that
// was just made has no status for a moment, and kubectl ends at that: then it is asked again.
func (c *Cluster) Established(names ...string) {
	c.t.Helper()
	which := []string{"crd", "--all"}
	if len(names) > 0 {
		which = nil
		for _, name := range names {
			which = append(which, "crd/"+name)
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	var err error
	if late := realtest.Poll(ctx, nil, func() bool {
		_, err = c.Try(c.Admin(), "", append([]string{"wait", "--for=condition=Established"}, which...)...)
		return err == nil
	}); late != nil {
		c.t.Fatal(errors.Join(late, err))
	}
}

// Apply creates or changes the objects of a manifest, as the admin. Fields that the server does not
// know, and what it warns of, end the test.
func (c *Cluster) Apply(manifest string) {
	c.t.Helper()
	if _, err := c.Try(c.Admin(), manifest, "apply", "--warnings-as-errors", "-f", "-"); err != nil {
		c.t.Fatal(err)
	}
}

// Status writes the status of an object, as what stands behind it would: a JSON merge patch.
func (c *Cluster) Status(namespace, object, status string) {
	c.t.Helper()
	c.Kubectl("patch", object, "--namespace="+namespace, "--subresource=status", "--type=merge", "--patch", `{"status":`+status+`}`)
}

// Try runs kubectl with a kubeconfig and something to read. Its failure, with what it said, is the
// caller's to judge.
func (c *Cluster) Try(kubeconfig, stdin string, arguments ...string) (string, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, c.kubectl, arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "KUBECACHEDIR="+c.path("discovered"), "KUBERC=off")
	command.Stdin = strings.NewReader(stdin)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w\n%s%s", strings.Join(arguments, " "), err, out.String(), said.String())
	}
	return out.String(), nil
}

// Get asks the API server for a path, as the admin, and hands the answer over while it may still be
// coming: a watch is a path too.
func (c *Cluster) Get(path string, read func(io.Reader) error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL()+path, nil)
	if err != nil {
		c.t.Fatalf("kube-apiserver: %v", err)
	}
	request.Header.Set("Authorization", "Bearer "+admin)
	response, err := c.client.Do(request)
	if err != nil {
		c.t.Fatalf("kube-apiserver: %v", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		c.t.Fatalf("kube-apiserver: %s: %s", path, response.Status)
	}
	if err := read(response.Body); err != nil {
		c.t.Fatalf("kube-apiserver: %s: %v", path, err)
	}
}

// end is the test's cleanup. Nobody needs what the programs would still write.
func (c *Cluster) end() {
	for _, one := range []*realtest.Process{c.server, c.storage} {
		if one != nil {
			one.Kill()
		}
	}
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	if c.t.Failed() {
		c.t.Logf("kube-apiserver %s logged last:\n%s", c.address, tail(c.journal.String()))
	}
}

// tail is the end of a log.
func tail(text string) string {
	const most = 8 << 10
	if len(text) <= most {
		return text
	}
	text = text[len(text)-most:]
	return text[strings.IndexByte(text, '\n')+1:]
}
