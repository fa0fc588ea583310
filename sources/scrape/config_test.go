package scrape_test

import (
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/scrape"
)

func decode(text string) (scrape.Config, error) {
	c := scrape.DefaultConfig()
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	return c, d.Decode(&c)
}

func TestConfigFromYAML(t *testing.T) {
	c := scrape.DefaultConfig()
	d := yaml.NewDecoder(strings.NewReader(`
targets: [http://checkout:8080/metrics]
job: shop
timeout: 5s
limits: {body_bytes: 16MiB, samples: 5e4, concurrency: 4}
basic_auth: {username: yoyu, password_file: /secrets/password}
tls_config: {insecure_skip_verify: true}
http_headers: {X-Scope: {values: [shop]}}
`))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if c.Timeout != 5*time.Second || c.Limits != (scrape.Limits{BodyBytes: 16 << 20, Samples: 50000, Concurrency: 4}) || c.Job != "shop" ||
		c.HTTP.BasicAuth.PasswordFile != "/secrets/password" || !c.HTTP.TLSConfig.InsecureSkipVerify || !c.HTTP.FollowRedirects || !c.HTTP.EnableHTTP2 {
		t.Errorf("decoded %+v", c)
	}
	if _, err := decode("targets: [http://a]\nbody_size_limit: 3\n"); err == nil || !strings.Contains(err.Error(), "line 2: field body_size_limit not found") {
		t.Errorf("an unknown field: %v", err)
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]scrape.Bytes{"64MiB": 64 << 20, "1024": 1024, "1.5 GiB": 3 << 29, "10MB": 10_000_000, "7B": 7, "2KiB": 2048, "1e6": 1_000_000} {
		var b scrape.Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s: %d, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "0.5", "NaN", "Inf", "9e30", "64 Mib", "1.5B"} {
		var b scrape.Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %d", text, b)
		}
	}
}

// Every fault of a configuration or a question, and what is said of it.
func TestFaults(t *testing.T) {
	fine := func() scrape.Options {
		c := scrape.DefaultConfig()
		c.Targets = []string{"http://checkout:8080/metrics"}
		return scrape.Options{Name: "pods", Config: c, Tick: tick, Questions: []sources.Question{availability}}
	}
	if _, err := scrape.New(fine()); err != nil {
		t.Fatal(err)
	}
	targets := func(list ...string) func(*scrape.Options) {
		return func(o *scrape.Options) { o.Config.Targets = list }
	}
	asks := func(in sources.Indicator) func(*scrape.Options) {
		return func(o *scrape.Options) { o.Questions = []sources.Question{{SLO: "checkout", Indicator: in}} }
	}
	for _, c := range []struct {
		name  string
		spoil func(*scrape.Options)
		want  string
	}{
		{"no targets", targets(), "targets: name at least one, such as http://checkout:8080/metrics"},
		{"no scheme", targets("checkout:8080"), `targets[0]: "checkout:8080" does not begin with http:// or https://`},
		{"another scheme", targets("ftp://checkout"), `targets[0]: "ftp://checkout" does not begin with http:// or https://`},
		{"no host", targets("http:///metrics"), `targets[0]: "http:///metrics" names no host`},
		{"no address", targets("http://a", "http://user:hunter2@b:c"), `targets[1]: not an address: invalid port ":c" after host`},
		{"a password", targets("http://user:hunter2@checkout"), "targets[0]: an address must not hold a user or password: use basic_auth"},
		{"a fragment", targets("http://checkout/metrics#counters"), `targets[0]: "http://checkout/metrics#counters" has a fragment, which no server ever sees`},
		{"the same page twice", targets("http://Checkout:80", "http://checkout:80/metrics"), "targets[1]: http://checkout:80/metrics is listed twice"},
		{"two faults", targets("a", "b"), "targets[0]: \"a\" does not begin with http:// or https://\ntargets[1]: \"b\" does not begin with http:// or https://"},
		{"discovery", func(o *scrape.Options) { o.Config.Kubernetes = &scrape.Discovery{} }, "kubernetes.port: is missing: write the name or number of a container's port"},
		{"discovery by words of its own", func(o *scrape.Options) {
			o.Config.Kubernetes = &scrape.Discovery{Port: "metrics", Scheme: "ftp", Path: "metrics"}
		}, "kubernetes.scheme: \"ftp\" is neither http nor https\nkubernetes.path: \"metrics\" does not begin with /"},
		{"patience beyond the tick", func(o *scrape.Options) { o.Config.Timeout = time.Minute }, "timeout: 1m0s is not between 0 and the tick, 30s"},
		{"a negative limit", func(o *scrape.Options) { o.Config.Limits.Samples = -1 }, "limits: must not be negative"},
		{"two kinds of credentials", func(o *scrape.Options) {
			o.Config.HTTP.BearerToken, o.Config.HTTP.BearerTokenFile = "a", "b"
		}, "at most one of bearer_token & bearer_token_file must be configured"},
		{"no tick", func(o *scrape.Options) { o.Tick = 0 }, "tick: 0s is no whole number of milliseconds"},
		{"promql", asks(sources.Indicator{Kind: sources.PromQL}), "slo checkout: a scraped page cannot answer a promql indicator: use counters, latency or gauge, or a source of type prometheus"},
		{"ratio", asks(sources.Indicator{Kind: sources.Ratio}), "slo checkout: a scraped page cannot answer a ratio indicator: use counters, latency or gauge, or a source of type prometheus"},
		{"pushdown", func(o *scrape.Options) { o.Questions[0].Pushdown = true }, "slo availability: counting: pushdown needs a server that counts, and a scraped page is none: remove it, every series is counted exactly"},
		{"a selector that is none", asks(sources.Indicator{Kind: sources.Counters, Total: "a", Bad: "a{"}), "slo checkout: bad: at character 3: unexpected end of input inside braces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := fine()
			c.spoil(&o)
			if _, err := scrape.New(o); err == nil || err.Error() != c.want {
				t.Errorf("\n     %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestConfigTextIsRead(t *testing.T) {
	if _, err := decode("targets: [http://a]\nlimits: {body_bytes: many}"); err == nil || !strings.Contains(err.Error(), `"many" is not an amount of bytes such as 64MiB`) {
		t.Errorf("an amount that is none: %v", err)
	}
	if c, err := decode("targets: [http://a]\nkubernetes: {namespaces: [shop], selector: app=checkout, port: metrics}"); err != nil || c.Kubernetes.Port != "metrics" {
		t.Errorf("the key of a later day: %+v, %v", c, err)
	}
}
