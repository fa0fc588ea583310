package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// alarm is a yoyu with one SLO of one pod, whose counters are the test's to set, and Alertmanagers.
type alarm struct {
	*yoyu
	t    *testing.T
	args []string
	page *atomic.Value
}

func startAlarm(t *testing.T, alertmanagers ...string) *alarm {
	t.Helper()
	target, page := pod(t)
	address, dir := freeAddress(t), t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`
tick: 1s
external_labels: {cluster: tokyo}
sources: [{name: pods, type: scrape, targets: ["http://%s/metrics"]}]
sinks:
  - name: am
    type: alertmanager
    urls: [%s]
    resend: 2s
    annotations: {dashboard_url: "https://grafana.example/d/slo?var-slo={{urlquery .SLO}}"}
defaults: {source: pods, period: 30d, alert_policy: paged}
alert_policies:
  paged:
    severities:
      page: {pairs: [{long: 1h, short: 5m, factor: 14.4}], labels: {severity: critical}}
      ticket: {pairs: [{long: 1d, short: 2h, factor: 3}]}
services: [{name: shop, labels: {team: payments}, runbook_url: https://runbooks.example/shop}]
slos:
  - name: it
    service: shop
    objective: 99.9
    group_by: [route]
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, target, strings.Join(alertmanagers, ", "))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &alarm{t: t, page: page, args: []string{
		"--config.file=" + file, "--web.listen-address=" + address,
		"--web.external-url=http://" + address + "/slo", "--storage.path=" + filepath.Join(dir, "data"),
	}}
	a.counts(100, 0)
	a.yoyu = &yoyu{start(t, "yoyu", a.args...), address}
	good := 100
	until(t, "the first requests counted", func() (bool, string) {
		good++ // a group is there once something happened in it
		a.counts(good, 0)
		text, err := get("http://" + address + "/slo/metrics")
		return err == nil && strings.Contains(text, `slo_events_total{route="/pay"`), fmt.Sprint(err)
	})
	return a
}

// counts is what the pod says from now on.
func (a *alarm) counts(good, bad int) {
	a.page.Store(fmt.Sprintf("requests_total{route=\"/pay\",code=\"200\"} %d\nrequests_total{route=\"/pay\",code=\"500\"} %d\n", good, bad))
}

// die is a kill, and a start on the same data.
func (a *alarm) die() {
	a.t.Helper()
	a.kill()
	a.program = start(a.t, "yoyu", a.args...)
}

// posted records what yoyu says, in place of an Alertmanager that would merge it.
type posted struct {
	url string
	mu  sync.Mutex
	all []promtest.HeldAlert
}

func record(t *testing.T) *posted {
	t.Helper()
	p := &posted{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var alerts []promtest.HeldAlert
		if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil {
			t.Errorf("posted: %v", err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all = append(p.all, alerts...)
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *posted) since(n int) []promtest.HeldAlert {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]promtest.HeldAlert(nil), p.all[n:]...)
}

// notified waits for n notifications and returns all.
func notified(t *testing.T, phone *promtest.Webhook, n int) []promtest.Notification {
	t.Helper()
	until(t, fmt.Sprintf("%d notifications", n), func() (bool, string) {
		got := phone.Notifications()
		return len(got) >= n, fmt.Sprintf("%d came", len(got))
	})
	return phone.Notifications()
}

// One incident is one notification and one resolution, whatever happens to yoyu meanwhile.
func TestOneNotificationAnIncident(t *testing.T) {
	phone := promtest.NewWebhook(t)
	am := promtest.StartAlertmanager(t, phone.Config())
	said := record(t)
	y := startAlarm(t, am.URL(), said.url)

	y.counts(1000, 500)
	first := notified(t, phone, 1)[0]
	if first.Status != "firing" || len(first.Alerts) != 1 {
		t.Fatalf("the first notification is %+v, want one alert that fires", first)
	}
	alert := first.Alerts[0]
	for name, want := range map[string]string{
		"alertname": "SLOErrorBudgetBurn", "slo": "it", "service": "shop", "route": "/pay", "severity": "critical",
		"team": "payments", "counting": "exact", "cluster": "tokyo",
	} {
		if alert.Labels[name] != want {
			t.Errorf("label %s is %q, want %q", name, alert.Labels[name], want)
		}
	}
	if len(alert.Labels) != 8 {
		t.Errorf("labels %v, want eight", alert.Labels)
	}
	if got := alert.Annotations; got["summary"] != "it (route=/pay) is burning its error budget (page)" ||
		got["runbook_url"] != "https://runbooks.example/shop" || got["dashboard_url"] != "https://grafana.example/d/slo?var-slo=it" ||
		!strings.Contains(got["description"], "500 of ") || !strings.Contains(got["description"], "times the pace that 99.9 % allows") {
		t.Errorf("annotations %q", got)
	}
	text, err := get(alert.GeneratorURL)
	if err != nil || !strings.Contains(text, "route") || !strings.Contains(text, "14.4") {
		t.Errorf("%s shows %q, error %v", alert.GeneratorURL, text, err)
	}

	// Killed in the middle: it says the same again, and nobody is called again.
	y.die()
	before := len(said.since(0))
	until(t, "told again after the restart", func() (bool, string) { return len(said.since(before)) > 1, "nothing posted" })
	pass(t, 3*time.Second)
	if got := am.Alerts(); len(got) != 1 || !got[0].StartsAt.Equal(alert.StartsAt) || got[0].Fingerprint != alert.Fingerprint {
		t.Errorf("after the restart the Alertmanager holds %+v, want %+v", got, alert)
	}
	if got := phone.Notifications(); len(got) != 1 {
		t.Errorf("%d notifications of one incident: %+v", len(got), got)
	}

	// A flood of good requests ends it; a restart after the end says nothing new.
	y.counts(10_000_000, 500)
	last := notified(t, phone, 2)[1]
	if last.Status != "resolved" || last.Alerts[0].Fingerprint != alert.Fingerprint || !last.Alerts[0].StartsAt.Equal(alert.StartsAt) {
		t.Errorf("the second notification is %+v, want the end of the first", last)
	}
	y.die()
	pass(t, 4*time.Second)
	if got := phone.Notifications(); len(got) != 2 {
		t.Errorf("%d notifications, want the incident and its end: %+v", len(got), got)
	}
}

// What yoyu says of an incident after it was killed is what it said before: the start comes from
// counts, not from memory.
func TestStartOfAnAlertSurvivesDeath(t *testing.T) {
	said := record(t)
	y := startAlarm(t, said.url)
	y.counts(1000, 500)
	until(t, "the alert", func() (bool, string) { return len(said.since(0)) > 0, "nothing posted" })
	first := said.since(0)[0]

	for died := range 3 {
		// Ticks go by first: one that took the present for the start would say the same within a second.
		pass(t, 2*time.Second)
		y.die()
		before := len(said.since(0))
		until(t, "told again", func() (bool, string) { return len(said.since(before)) > 0, "nothing posted" })
		for _, alert := range said.since(before) {
			if !alert.StartsAt.Equal(first.StartsAt) || alert.Labels["severity"] != "critical" {
				t.Errorf("after a restart it says %v since %s, want critical since %s", alert.Labels, alert.StartsAt, first.StartsAt)
			}
			if least := first.EndsAt.Add(time.Duration(2*(died+1)-1) * time.Second); alert.EndsAt.Before(least) {
				t.Errorf("its end is %s, want one that moved to %s", alert.EndsAt, least)
			}
		}
	}
}

// Of two Alertmanagers one is down: the other is told at once, and the first when it is back.
func TestOneAlertmanagerIsDown(t *testing.T) {
	phones := []*promtest.Webhook{promtest.NewWebhook(t), promtest.NewWebhook(t)}
	well, ill := promtest.StartAlertmanager(t, phones[0].Config()), promtest.StartAlertmanager(t, phones[1].Config())
	y := startAlarm(t, ill.URL(), well.URL())
	ill.Kill()

	y.counts(1000, 500)
	fires := notified(t, phones[0], 1)[0]
	until(t, "the failure in its own health", func() (bool, string) {
		text, err := get("http://" + y.address + "/slo/metrics")
		return err == nil && strings.Contains(text, `yoyu_sink_up{sink="am"} 0`), fmt.Sprint(err)
	})

	ill.Restart()
	late := notified(t, phones[1], 1)[0]
	if late.Status != "firing" || late.Alerts[0].Fingerprint != fires.Alerts[0].Fingerprint {
		t.Errorf("back again it notified of %+v, want %+v", late, fires)
	}
	y.counts(10_000_000, 500)
	for i, phone := range phones {
		if got := notified(t, phone, 2); len(got) != 2 || got[1].Status != "resolved" {
			t.Errorf("phone %d: %+v, want the incident and its end", i, got)
		}
	}
}
