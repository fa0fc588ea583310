// Package e2e runs yoyu as a process, against real programs and a real Prometheus.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/realtest"
)

var binaries string

// builtPath names, in the environment of a test's child, the folder of what its parent has built.
const builtPath = "YOYU_E2E_BINARIES"

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if binaries = os.Getenv(builtPath); binaries != "" {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "yoyu-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binaries = dir
		for name, pkg := range map[string]string{"yoyu": "../..", "shop": "./shop"} {
			build := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "building %s: %v\n%s", name, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// patience is how long anything may take before the test gives up on it.
const patience = time.Minute

// until asks again and again until the condition holds.
func until(t testing.TB, what string, condition func() (bool, string)) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	said := ""
	for {
		ok, last := condition()
		if ok {
			return
		}
		said = last
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %s", what, patience, said)
		case <-again.C:
		}
	}
}

// pass lets real time go by: traffic needs some.
func pass(t testing.TB, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := realtest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// program is a real process of the test.
type program struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr lockedBuffer
	ended  chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t testing.TB, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, name: name, ended: make(chan error, 1)}
	p.cmd = exec.Command(filepath.Join(binaries, name), args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended long ago
		if t.Failed() {
			t.Logf("%s said:\n%s", name, tail(p.stderr.String()))
		}
	})
	return p
}

func tail(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// stop ends the process with SIGTERM, waits for it and returns what it printed.
func (p *program) stop() string {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, tail(p.stderr.String()))
	}
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Fatalf("%s ended with %v\n%s", p.name, err, tail(p.stderr.String()))
		}
	case <-time.After(15 * time.Second):
		p.t.Fatalf("%s did not end within 15 s of SIGTERM\n%s", p.name, tail(p.stderr.String()))
	}
	return p.stdout.String()
}

// shop is the program under load.
type shop struct {
	*program
	address string
}

func openShop(t *testing.T, address, codes string) *shop {
	t.Helper()
	s := &shop{start(t, "shop", "--listen="+address, "--codes="+codes), address}
	until(t, "shop", func() (bool, string) {
		_, err := get("http://" + address + "/metrics")
		return err == nil, fmt.Sprint(err)
	})
	return s
}

// load sends requests until the returned function is called, which waits for the last of them.
// Every tenth fails while failing.
func (s *shop) load(failing bool) (halt func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		next := time.NewTicker(5 * time.Millisecond)
		defer next.Stop()
		for i := 0; ; i++ {
			url := "http://" + s.address + "/pay"
			if failing && i%10 == 0 {
				url += "?fail"
			}
			res, err := http.Get(url)
			if err != nil {
				s.t.Errorf("load: %v", err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body) // an empty body
			res.Body.Close()
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
		}
	}()
	return func() { cancel(); <-done }
}

// close ends the shop and adds what it says it answered.
func (s *shop) close(into map[string]int) {
	s.t.Helper()
	answered := map[string]int{}
	if out := s.stop(); json.Unmarshal([]byte(out), &answered) != nil {
		s.t.Fatalf("shop said %q", out)
	}
	s.t.Logf("this run of the shop answered %v", answered)
	for code, n := range maps.All(answered) {
		into[code] += n
	}
}

// yoyu is the daemon under test.
type yoyu struct {
	*program
	address string
}

func startYoyu(t *testing.T, address, config string) *yoyu {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	y := &yoyu{start(t, "yoyu", "run", "--config.file="+file, "--web.listen-address="+address, "--storage.path="+filepath.Join(dir, "data")), address}
	until(t, "yoyu", func() (bool, string) {
		_, err := get("http://" + address + "/-/ready")
		return err == nil, fmt.Sprint(err)
	})
	return y
}

// document is the part of the report's JSON that the tests read.
type document struct {
	Reports []struct {
		Time time.Time
		SLOs []sloJSON `json:"slos"`
	}
}

type sloJSON struct {
	SLO     string
	Windows map[string]struct {
		Total, Bad, Coverage float64
		BurnRate             *float64 `json:"burn_rate"`
	}
	Budget struct {
		Allowed   float64
		Spent     float64
		Remaining float64 `json:"remaining_ratio"`
	} `json:"error_budget"`
	Alerts []struct {
		Severity string
		Firing   bool
	}
}

func (y *yoyu) slo(name string) sloJSON {
	y.t.Helper()
	text, err := get("http://" + y.address + "/api/v1/slos")
	if err != nil {
		y.t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		y.t.Fatalf("%v in %s", err, text)
	}
	for _, r := range d.Reports {
		for _, s := range r.SLOs {
			if s.SLO == name {
				return s
			}
		}
	}
	return sloJSON{}
}

func get(url string) (string, error) {
	res, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", url, res.Status, body)
	}
	return string(body), nil
}
