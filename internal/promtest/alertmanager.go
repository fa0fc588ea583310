package promtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/realtest"
)

// Alertmanager is one Alertmanager and its data, running or stopped. It is alone: not one of a
// cluster. The program is the pinned one of test/alertmanager.
type Alertmanager struct {
	t       testing.TB
	binary  string
	address string // host:port, kept across restarts
	dir     string
	journal realtest.Journal

	process *realtest.Process // nil while stopped
}

// StartAlertmanager runs an Alertmanager on a configuration and returns once it answers. It ends
// with the test.
func StartAlertmanager(t testing.TB, config string) *Alertmanager {
	t.Helper()
	a := &Alertmanager{t: t, binary: AlertmanagerProgram(t), dir: t.TempDir()}
	if err := os.WriteFile(a.config(), []byte(config), 0o600); err != nil {
		t.Fatalf("alertmanager: %v", err)
	}
	t.Cleanup(a.end)
	var err error
	for range 5 { // another process may take the free port first
		if a.address, err = realtest.FreeAddress(); err != nil {
			break
		}
		if err = a.launch(); err == nil || !strings.Contains(a.journal.String(), "address already in use") {
			break
		}
	}
	if err != nil {
		t.Fatalf("alertmanager: %v\n%s", err, a.journal.String())
	}
	return a
}

// URL is where it listens, the same after a Restart.
func (a *Alertmanager) URL() string { return "http://" + a.address }

// Address is the host:port of URL.
func (a *Alertmanager) Address() string { return a.address }

// Kill ends it as a crash does.
func (a *Alertmanager) Kill() {
	a.t.Helper()
	if a.process == nil {
		a.t.Fatal("alertmanager: kill: not running")
	}
	a.process.Kill()
	a.process = nil
}

// Restart stops it where it runs, and starts it on the same data and port.
func (a *Alertmanager) Restart() {
	a.t.Helper()
	if a.process != nil {
		if err := a.process.Stop(patience); err != nil {
			a.t.Fatalf("alertmanager: stop: %v", err)
		}
		a.process = nil
	}
	if err := a.launch(); err != nil {
		a.t.Fatalf("alertmanager: restart: %v", err)
	}
}

// HeldAlert is an alert as an Alertmanager holds or sends it.
type HeldAlert struct {
	Status       json.RawMessage   `json:"status"` // of its API an object, in a notification firing or resolved
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// Alerts are those that it holds now and that are not resolved.
func (a *Alertmanager) Alerts() []HeldAlert {
	a.t.Helper()
	response, err := http.Get(a.URL() + "/api/v2/alerts")
	if err != nil {
		a.t.Fatalf("alertmanager: alerts: %v", err)
	}
	defer response.Body.Close()
	var out []HeldAlert
	if err := json.NewDecoder(response.Body).Decode(&out); err != nil {
		a.t.Fatalf("alertmanager: alerts: %s: %v", response.Status, err)
	}
	return out
}

func (a *Alertmanager) config() string { return filepath.Join(a.dir, "alertmanager.yml") }

func (a *Alertmanager) launch() error {
	command := exec.Command(a.binary,
		"--config.file="+a.config(), "--storage.path="+filepath.Join(a.dir, "data"),
		"--web.listen-address="+a.address, "--cluster.listen-address=")
	command.Stdout, command.Stderr = &a.journal, &a.journal
	process, err := realtest.Start(command)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ready := func() bool {
		response, err := http.Get(a.URL() + "/-/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	if err := realtest.Poll(ctx, process.Done(), ready); err != nil {
		process.Kill()
		return fmt.Errorf("not ready: %w", err)
	}
	a.process = process
	return nil
}

// end is the test's cleanup.
func (a *Alertmanager) end() {
	if a.process != nil {
		if err := a.process.Stop(patience); err != nil {
			a.t.Errorf("alertmanager: stop: %v", err)
		}
		a.process = nil
	}
	if a.t.Failed() {
		a.t.Logf("alertmanager %s logged:\n%s", a.address, a.journal.String())
	}
}

// Webhook is a receiver of notifications: what stands for the phone of a person.
type Webhook struct {
	URL string

	mu  sync.Mutex
	got []Notification
}

// Notification is one that an Alertmanager sent.
type Notification struct {
	Status string      `json:"status"` // firing or resolved
	Alerts []HeldAlert `json:"alerts"`
}

// NewWebhook listens until the test ends.
func NewWebhook(t testing.TB) *Webhook {
	t.Helper()
	w := &Webhook{}
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		var n Notification
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Errorf("webhook: %v", err)
			answer.WriteHeader(http.StatusBadRequest)
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.got = append(w.got, n)
	}))
	t.Cleanup(server.Close)
	w.URL = server.URL
	return w
}

// Notifications are all that came, in their order.
func (w *Webhook) Notifications() []Notification {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Notification(nil), w.got...)
}

// Config is a configuration of an Alertmanager that notifies this webhook of every alert by itself,
// at once, and never repeats within an hour.
func (w *Webhook) Config() string {
	return `route:
  receiver: phone
  group_by: ['...']
  group_wait: 100ms
  group_interval: 300ms
  repeat_interval: 1h
receivers:
  - name: phone
    webhook_configs: [{url: "` + w.URL + `", send_resolved: true}]
`
}
