package config_test

import (
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/config"
)

// What is shown to people holds the configuration and none of the places where secrets hide.
func TestShownHidesSecrets(t *testing.T) {
	c, err := config.Parse("yoyu.yaml", []byte(`
tick: 30s
sources:
  - name: prom
    type: prometheus
    url: http://prometheus:9090/tenant
    http_headers: {X-Scope-OrgID: {values: [planted-1]}, X-Key: {files: [/secrets/planted-2]}}
    basic_auth: {username: reader, password_file: /secrets/password}
    oauth2: {client_id: it, client_secret_file: /secrets/client, token_url: "https://issuer/token?key=planted-4", endpoint_params: {audience: planted-5}}
    own: {deep: [{api_token: planted-6}, {session_secret: {inner: planted-7}}]}
sinks:
  - {name: dd, type: datadog, api_key_file: /secrets/api}
slos:
  - name: it
    service: shop
    source: prom
    objective: 99
    period: 30d
    runbook_url: https://runbooks/token?page=1
    indicator: {counters: {total: 'api_token_requests_total', bad: 'api_token_requests_total{code="500"}'}}
`))
	if err != nil {
		t.Fatalf("the test plants what is refused: %v", err)
	}
	text, err := c.Shown()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "planted") {
		t.Errorf("shown:\n%s", text)
	}
	for _, want := range []string{
		"http://prometheus:9090/tenant", "/secrets/password", "/secrets/api", "api_token_requests_total", "username: reader",
		"https://runbooks/token?page=1", config.Hidden, "client_secret_file: /secrets/client",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not shown:\n%s", want, text)
		}
	}
}
