package promapi

import (
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

func TestConfig(t *testing.T) {
	c := DefaultConfig()
	d := yaml.NewDecoder(strings.NewReader(`
url: https://mimir/prometheus
basic_auth: {username: yoyu, password_file: /secrets/password}
tls_config: {ca_file: /etc/ca.pem}
http_headers: {X-Scope-OrgID: {values: [shop]}}
follow_redirects: false
limits: {max_series: 500, samples_per_request: 2e6, backfill: 7d}
replica_label: prometheus_replica
`))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	l := c.Limits.withDefaults()
	if l.MaxSeries != 500 || l.SamplesPerRequest != 2e6 || l.Concurrency != 2 || time.Duration(l.Backfill) != 7*24*time.Hour {
		t.Errorf("limits %+v", l)
	}
	if c.HTTP.BasicAuth.Username != "yoyu" || c.HTTP.FollowRedirects || !c.HTTP.EnableHTTP2 || c.HTTP.TLSConfig.CAFile != "/etc/ca.pem" {
		t.Errorf("client %+v", c.HTTP)
	}
}

// A file that names remote_read keeps loading, and means what it says.
func TestRemoteReadConfig(t *testing.T) {
	for value, want := range map[string]remote{"": {}, "remote_read: auto": {}, "remote_read: never": {off: true}} {
		c := DefaultConfig()
		d := yaml.NewDecoder(strings.NewReader("url: http://prometheus:9090\n" + value))
		d.KnownFields(true)
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{Name: "prom", Config: c, Tick: tick})
		if err != nil {
			t.Fatal(err)
		}
		if s.remote != want {
			t.Errorf("%q: %+v, want %+v", value, s.remote, want)
		}
	}
	c := DefaultConfig()
	c.URL, c.RemoteRead = "http://prometheus:9090", "always"
	if err := c.Validate(); err == nil || err.Error() != `remote_read: is "always"; write auto or never` {
		t.Errorf("%v", err)
	}
}
