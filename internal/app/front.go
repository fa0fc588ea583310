package app

import (
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/mdlayher/vsock"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"
)

// front is the door of the daemon: it opens the addresses, lets in who may come in, and keeps those
// who would block the way from doing so.
//
// Who may come in is said by --web.config.file and held by the exporter toolkit: TLS, client
// certificates, basic auth, a rate limit. /-/healthy and /-/ready are open to everybody all the same,
// without a certificate and without a password: a supervisor has neither, and they tell nothing.
type front struct {
	flags     *toolkit.FlagConfig
	prefix    string       // of every route
	face      http.Handler // answers every route
	reloaders []string     // who may reload; none: whoever may come in
	profiles  bool         // net/http/pprof answers under /debug/pprof/
	log       *slog.Logger
}

// The bounds of what a stranger can take. They suit a scrape of a hundred thousand series and a
// person with a slow line.
const (
	headerTime     = 5 * time.Second  // for the header of a request, and for TLS before it
	requestTime    = 30 * time.Second // for a whole request
	answerTime     = time.Minute      // for a whole answer
	idleTime       = 2 * time.Minute  // between two requests
	headerBytes    = 16 << 10
	requestBytes   = 1 << 20
	mostConnection = 512 // of one address, as Prometheus' --web.max-connections
)

// serve answers on every address until ctx ends. It returns once nothing is served any more, with
// an error when an address could not be opened or the web configuration is at fault. opened is told
// once all addresses are open.
func (f *front) serve(ctx context.Context, opened func()) error {
	listeners, err := f.listen()
	if err != nil {
		return err
	}
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	servers := make([]*http.Server, len(listeners))
	for i, l := range listeners {
		if servers[i], err = f.server(l); err != nil {
			return err
		}
	}
	if opened != nil {
		opened()
	}
	all, ended := errgroup.WithContext(ctx)
	for i, l := range listeners {
		all.Go(func() error {
			if servers[i].TLSConfig != nil {
				return servers[i].ServeTLS(l, "", "")
			}
			return servers[i].Serve(l)
		})
		all.Go(func() error {
			<-ended.Done()
			limit, end := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer end()
			if servers[i].Shutdown(limit) != nil {
				servers[i].Close()
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listen opens the addresses of the flags, as the toolkit would.
func (f *front) listen() (out []net.Listener, err error) {
	if f.flags.WebSystemdSocket != nil && *f.flags.WebSystemdSocket {
		out, err = activation.Listeners()
		if err == nil && len(out) == 0 {
			err = errors.New("--web.systemd-socket: systemd handed over no socket")
		}
		return out, err
	}
	defer func() {
		if err != nil {
			for _, l := range out {
				l.Close()
			}
		}
	}()
	for _, address := range *f.flags.WebListenAddresses {
		var l net.Listener
		if rest, ok := strings.CutPrefix(address, "vsock://:"); ok {
			port, err := strconv.ParseUint(rest, 10, 32)
			if err != nil {
				return out, fmt.Errorf("--web.listen-address %q: not an address such as vsock://:9912", address)
			}
			l, err = vsock.Listen(uint32(port), nil)
			if err != nil {
				return out, err
			}
		} else if l, err = net.Listen("tcp", address); err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, nil
}

// server makes the server of one address.
func (f *front) server(l net.Listener) (*http.Server, error) {
	crowd := &crowd{most: mostConnection, log: f.log}
	server := &http.Server{
		ReadHeaderTimeout: headerTime, ReadTimeout: requestTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: headerBytes, ConnState: crowd.state,
		ErrorLog: slog.NewLogLogger(f.log.Handler(), slog.LevelDebug), // what a stranger does to a handshake is no news
	}

	// The toolkit arms a server only as it runs it. This one's listener has nobody to accept, so
	// that it comes back armed: with a handler that asks for passwords, and TLS that reads its files
	// again at every handshake.
	armed := &http.Server{Handler: f.routes()}
	if err := toolkit.Serve(unopened{l}, armed, f.flags, f.log); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return nil, fmt.Errorf("--web.config.file %s: %w", *f.flags.WebConfigFile, err)
	}
	guarded := armed.Handler
	if armed.TLSConfig != nil && armed.TLSConfig.GetConfigForClient != nil { // not what HTTP/2 leaves behind
		doorman := &doorman{strict: armed.TLSConfig.GetConfigForClient, next: guarded}
		server.TLSConfig = armed.TLSConfig.Clone()
		server.TLSConfig.GetConfigForClient = doorman.configFor
		guarded = doorman
		if armed.TLSNextProto != nil && len(armed.TLSNextProto) == 0 { // http2: false
			server.TLSNextProto = armed.TLSNextProto
		}
	}
	open := []string{f.prefix + "/-/healthy", f.prefix + "/-/ready"}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, requestBytes)
		if slices.Contains(open, r.URL.Path) {
			f.face.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
	return server, nil
}

// unopened is a listener with nobody to accept.
type unopened struct{ net.Listener }

func (unopened) Accept() (net.Conn, error) { return nil, http.ErrServerClosed }
func (unopened) Close() error              { return nil }

// routes are those of the face, behind the question who may reload, and those of the profiler.
func (f *front) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", f.face)
	escaped := (&url.URL{Path: f.prefix}).EscapedPath()
	if len(f.reloaders) > 0 {
		mux.HandleFunc(escaped+"/-/reload", func(w http.ResponseWriter, r *http.Request) {
			if !f.mayReload(r) {
				http.Error(w, "reloading is for those whom --web.lifecycle-user names", http.StatusForbidden)
				return
			}
			f.face.ServeHTTP(w, r)
		})
	}
	if f.profiles {
		for path, handler := range map[string]http.HandlerFunc{
			"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
		} {
			mux.Handle(escaped+"/debug/pprof/"+path, http.StripPrefix(f.prefix, handler))
		}
	}
	return mux
}

// mayReload reports whether a request comes from one of those who may reload. It asks the web
// configuration itself, which may have lost its users since the daemon started: a name that nobody
// has proved is no name.
func (f *front) mayReload(r *http.Request) bool {
	name, password, ok := r.BasicAuth()
	if !ok || !slices.Contains(f.reloaders, name) {
		return false
	}
	users, err := webUsers(*f.flags.WebConfigFile)
	if err != nil {
		return false
	}
	hash, known := users[name]
	return known && bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
}

// checkReloaders says whether those who may reload can ever prove who they are.
func (f *front) checkReloaders() error {
	if len(f.reloaders) == 0 {
		return nil
	}
	if *f.flags.WebConfigFile == "" {
		return errors.New("--web.lifecycle-user: nobody can prove a name without basic_auth_users in --web.config.file")
	}
	users, err := webUsers(*f.flags.WebConfigFile)
	if err != nil {
		return fmt.Errorf("--web.config.file %s: %w", *f.flags.WebConfigFile, err)
	}
	for _, name := range f.reloaders {
		if _, ok := users[name]; !ok {
			return fmt.Errorf("--web.lifecycle-user: %s is not among basic_auth_users in %s", name, *f.flags.WebConfigFile)
		}
	}
	return nil
}

// webUsers are the users of a web configuration with the hashes of their passwords.
func webUsers(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var c struct {
		Users map[string]string `yaml:"basic_auth_users"`
	}
	if yaml.Unmarshal(text, &c) != nil { // what it says may quote a hash
		return nil, errors.New("basic_auth_users: is no list of names with hashes")
	}
	return c.Users, nil
}

// doorman asks for client certificates after the handshake instead of in it, where the web
// configuration wants one: so those who have none still reach what is open.
type doorman struct {
	strict func(*tls.ClientHelloInfo) (*tls.Config, error)
	next   http.Handler
	wanted atomic.Int32 // tls.ClientAuthType of the configuration that was read last
}

// configFor is the toolkit's configuration of a handshake, which a missing certificate does not end.
// One that is shown must be good all the same.
func (d *doorman) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c, err := d.strict(hello)
	if err != nil {
		return nil, err
	}
	d.wanted.Store(int32(c.ClientAuth))
	switch c.ClientAuth {
	case tls.RequireAnyClientCert:
		c.ClientAuth = tls.RequestClientCert
	case tls.RequireAndVerifyClientCert:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if names := c.VerifyPeerCertificate; names != nil { // client_allowed_sans
		c.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			if len(raw) == 0 {
				return nil
			}
			return names(raw, chains)
		}
	}
	return c, nil
}

func (d *doorman) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	missing := false
	switch tls.ClientAuthType(d.wanted.Load()) {
	case tls.RequireAnyClientCert:
		missing = len(r.TLS.PeerCertificates) == 0
	case tls.RequireAndVerifyClientCert:
		missing = len(r.TLS.VerifiedChains) == 0
	}
	if missing {
		http.Error(w, "a client certificate is needed", http.StatusForbidden)
		return
	}
	d.next.ServeHTTP(w, r)
}

// crowd bounds how many connections one address has, without ever turning the next one away: whoever
// has stood there longest without a whole request makes room, or else the one that takes longest to
// be answered. A bound that made newcomers wait would let a few hundred idle connections keep a
// supervisor from hearing that the daemon is well.
type crowd struct {
	most int
	log  *slog.Logger

	mu      sync.Mutex
	at      map[net.Conn]place
	waiting list.List // connections without a request, longest first
	busy    list.List // connections that are being answered, longest first
	said    time.Time
}

type place struct {
	in *list.List
	e  *list.Element
}

// state is http.Server's ConnState.
func (c *crowd) state(conn net.Conn, s http.ConnState) {
	var victim net.Conn
	c.mu.Lock()
	if c.at == nil {
		c.at = map[net.Conn]place{}
	}
	if p, ok := c.at[conn]; ok {
		p.in.Remove(p.e)
		delete(c.at, conn)
	}
	switch s {
	case http.StateNew, http.StateIdle:
		c.at[conn] = place{&c.waiting, c.waiting.PushBack(conn)}
	case http.StateActive:
		c.at[conn] = place{&c.busy, c.busy.PushBack(conn)}
	}
	if s == http.StateNew && len(c.at) > c.most {
		first := c.waiting.Front()
		if first.Value == conn && c.busy.Len() > 0 {
			first = c.busy.Front()
		}
		victim = first.Value.(net.Conn)
		p := c.at[victim]
		p.in.Remove(p.e)
		delete(c.at, victim)
		if now := time.Now(); now.Sub(c.said) > time.Minute {
			c.said = now
			c.log.Warn("more connections than are served at once: those that stand there longest are closed", "most", c.most)
		}
	}
	c.mu.Unlock()
	if victim != nil {
		if t, ok := victim.(*tls.Conn); ok { // closing it properly would wait for the other side
			victim = t.NetConn()
		}
		victim.Close()
	}
}
