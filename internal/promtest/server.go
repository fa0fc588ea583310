// Package promtest runs a real Prometheus, or a real Alertmanager, inside a test: on loopback, with
// its own data folder, stopped and thrown away when the test ends.
//
//	test/build.sh ──▶ cache ──▶ Start(t, Options) ──▶ Server ──▶ Query, RawSamples, Await
//	                                                   │ Stop, Kill, Restart: same folder, same port
//
// The programs are the pinned ones of test/prometheus and test/alertmanager. They are found by
// $YOYU_PROMETHEUS, $YOYU_PROMTOOL, $YOYU_ALERTMANAGER and $YOYU_AMTOOL, else in the cache of test/build.sh; nothing here builds them, because that takes
// minutes. Where they are missing the test is skipped with a word; where they must not be missing
// ($CI or $YOYU_REAL is true) it fails. Under `go test -short` it is skipped always.
//
// What goes wrong ends the test (t.Fatal), so the methods belong on the test's own goroutine. A
// failed test prints what Prometheus logged.
package promtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/yoyu-sre/yoyu/internal/realtest"
)

// patience is how long anything may take that is expected to happen: starting (a long write-ahead
// log is replayed), stopping, a scrape, a query. Long, because a busy machine is no failure.
const patience = time.Minute

// Server is one Prometheus server and its data, running or stopped.
type Server struct {
	t       testing.TB
	options Options
	binary  string
	address string // host:port, kept across restarts
	config  string // path of prometheus.yml
	journal realtest.Journal
	client  v1.API

	process *realtest.Process // nil while stopped
}

// Start runs a Prometheus and returns once it answers. It ends with the test.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	binary := Prometheus(t)

	folder := t.TempDir()
	if options.Dir == "" {
		options.Dir = filepath.Join(folder, "data")
	}
	s := &Server{t: t, options: options, binary: binary, config: filepath.Join(folder, "prometheus.yml")}
	t.Cleanup(s.end)

	// Between choosing a free port and Prometheus taking it another process may: choose again.
	var err error
	for range 5 {
		if s.address, err = realtest.FreeAddress(); err != nil {
			break
		}
		if err = s.launch(); err == nil || !strings.Contains(s.Logs(), "address already in use") {
			break
		}
	}
	if err != nil {
		t.Fatalf("prometheus: %v", err)
	}

	client, err := api.NewClient(api.Config{Address: s.URL()})
	if err != nil {
		t.Fatalf("prometheus: %v", err)
	}
	s.client = v1.NewAPI(client)
	return s
}

// URL is where the server listens, "http://127.0.0.1:port"; it is the same after a Restart.
func (s *Server) URL() string { return "http://" + s.address }

// Address is the host:port of URL.
func (s *Server) Address() string { return s.address }

// Dir is the folder of the server's blocks and write-ahead log.
func (s *Server) Dir() string { return s.options.Dir }

// API is the client for questions that have no method here.
func (s *Server) API() v1.API { return s.client }

// Logs is what the server has logged since Start, restarts included.
func (s *Server) Logs() string { return s.journal.String() }

// Stop ends the server as an operator does, with SIGTERM, and waits until it is gone.
func (s *Server) Stop() {
	s.t.Helper()
	if s.process == nil {
		s.t.Fatal("prometheus: stop: not running")
	}
	if err := s.process.Stop(patience); err != nil {
		s.t.Fatalf("prometheus: stop: %v", err)
	}
	s.process = nil
}

// Kill ends the server as a crash does: nothing is flushed, the write-ahead log is all there is.
func (s *Server) Kill() {
	s.t.Helper()
	if s.process == nil {
		s.t.Fatal("prometheus: kill: not running")
	}
	s.process.Kill()
	s.process = nil
}

// Restart stops the server where it runs, and starts it on the same data and port.
func (s *Server) Restart() {
	s.t.Helper()
	if s.process != nil {
		s.Stop()
	}
	if err := s.launch(); err != nil {
		s.t.Fatalf("prometheus: restart: %v", err)
	}
}

// Scrape adds jobs while the server runs; a job of the same name is replaced. It is for targets
// that start after Prometheus, and is not to be had together with Options.Config.
func (s *Server) Scrape(jobs ...Job) {
	s.t.Helper()
	if s.options.Config != "" {
		s.t.Fatal("prometheus: scrape: the configuration was given as text")
	}
	all := slices.Clone(s.options.Jobs)
	for _, job := range jobs {
		if i := slices.IndexFunc(all, func(known Job) bool { return known.Name == job.Name }); i >= 0 {
			all[i] = job
		} else {
			all = append(all, job)
		}
	}
	s.options.Jobs = all

	if err := s.writeConfig(); err != nil {
		s.t.Fatalf("prometheus: scrape: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.post(ctx, "/-/reload"); err != nil {
		s.t.Fatalf("prometheus: reload: %v", err)
	}
}

// launch writes the configuration, starts the program and waits for it to be ready.
func (s *Server) launch() error {
	if err := s.writeConfig(); err != nil {
		return err
	}
	command := exec.Command(s.binary, s.options.arguments(s.config, s.address)...)
	command.Stdout, command.Stderr = &s.journal, &s.journal
	process, err := realtest.Start(command)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ready := func() bool { return s.ask(ctx, "/-/ready") == nil }
	if err := realtest.Poll(ctx, process.Done(), ready); err != nil {
		process.Kill()
		return fmt.Errorf("not ready: %w", err)
	}
	s.process = process
	return nil
}

func (s *Server) writeConfig() error {
	text, err := s.options.config()
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return os.WriteFile(s.config, []byte(strings.ReplaceAll(text, Self, s.address)), 0o600)
}

// end is the test's cleanup.
func (s *Server) end() {
	if s.process != nil {
		if err := s.process.Stop(patience); err != nil {
			s.t.Errorf("prometheus: stop: %v", err)
		}
		s.process = nil
	}
	if s.t.Failed() {
		s.t.Logf("prometheus %s logged:\n%s", s.address, s.Logs())
	}
}

func (s *Server) ask(ctx context.Context, path string) error {
	return s.request(ctx, http.MethodGet, path)
}

func (s *Server) post(ctx context.Context, path string) error {
	return s.request(ctx, http.MethodPost, path)
}

func (s *Server) request(ctx context.Context, method, path string) error {
	request, err := http.NewRequestWithContext(ctx, method, s.URL()+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(body))
	}
	return nil
}
