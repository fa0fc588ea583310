package scrape

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/config"
)

// Config is a source of type scrape as configuration writes it, without name and type. Decode it
// over DefaultConfig: only then are redirects within a host followed and HTTP/2 spoken.
type Config struct {
	Targets    []string                `yaml:"targets"`              // http://checkout:8080/metrics; without a path /metrics is meant
	Kubernetes *Discovery              `yaml:"kubernetes,omitempty"` // pods of a cluster, beside the targets
	Job        string                  `yaml:"job,omitempty"`        // label job of every series; the source's name when empty
	Timeout    time.Duration           `yaml:"timeout,omitempty"`    // for one target, at most the tick; 0: min(10s, tick)
	Limits     Limits                  `yaml:"limits,omitempty"`
	LinkLocal  bool                    `yaml:"allow_link_local,omitempty"` // ask link-local and metadata addresses too
	HTTP       config.HTTPClientConfig `yaml:",inline"`                    // basic_auth, tls_config, http_headers …
}

// Limits keep one page, or many at once, from hurting yoyu. 0 is the default. A response's header
// is bounded by net/http.
type Limits struct {
	BodyBytes   Bytes `yaml:"body_bytes,omitempty"`  // of one page, before and after decompression; 64MiB
	Samples     int   `yaml:"samples,omitempty"`     // of one page; 200000
	Concurrency int   `yaml:"concurrency,omitempty"` // targets asked at the same time; 64
}

// Discovery finds targets in a cluster: every pod that runs and does not end.
type Discovery struct {
	Namespaces []string `yaml:"namespaces,omitempty"` // none: all of them
	Selector   string   `yaml:"selector,omitempty"`   // of labels, such as app=checkout; "" is every pod
	Port       string   `yaml:"port"`                 // name or number of a container's port
	Path       string   `yaml:"path,omitempty"`       // /metrics
	Scheme     string   `yaml:"scheme,omitempty"`     // http, or https
	Kubeconfig string   `yaml:"kubeconfig,omitempty"` // path; "" is the cluster that yoyu runs in, or what $KUBECONFIG names
	Context    string   `yaml:"context,omitempty"`    // of the kubeconfig
}

// DefaultConfig is what configuration is decoded over.
func DefaultConfig() Config { return Config{HTTP: config.DefaultHTTPClientConfig} }

// SetDirectory has relative names of files start at dir, the folder of the configuration.
func (c *Config) SetDirectory(dir string) {
	c.HTTP.SetDirectory(dir)
	if d := c.Kubernetes; d != nil && d.Kubeconfig != "" && !filepath.IsAbs(d.Kubeconfig) {
		d.Kubeconfig = filepath.Join(dir, d.Kubeconfig)
	}
}

const (
	defaultTimeout     = 10 * time.Second // as Prometheus' scrape_timeout
	defaultBodyBytes   = 64 << 20
	defaultSamples     = 200_000
	defaultConcurrency = 64
)

// completed is the configuration with defaults filled in, checked; faults are joined.
func (c Config) completed(name string, tick time.Duration) (Config, []*target, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if d := c.Kubernetes; d != nil {
		own := *d // the caller's stays as it is
		own.Scheme, own.Path = cmp.Or(own.Scheme, "http"), cmp.Or(own.Path, "/metrics")
		c.Kubernetes = &own
		if own.Scheme != "http" && own.Scheme != "https" {
			fault("kubernetes.scheme: %q is neither http nor https", own.Scheme)
		}
		if !strings.HasPrefix(own.Path, "/") {
			fault("kubernetes.path: %q does not begin with /", own.Path)
		}
		if own.Port == "" {
			fault("kubernetes.port: is missing: write the name or number of a container's port")
		}
	}
	if c.Job == "" {
		c.Job = name
	}
	switch {
	case c.Timeout == 0:
		c.Timeout = min(defaultTimeout, tick)
	case c.Timeout < 0 || c.Timeout > tick:
		fault("timeout: %s is not between 0 and the tick, %s", c.Timeout, tick)
	}
	if c.Limits.BodyBytes < 0 || c.Limits.Samples < 0 || c.Limits.Concurrency < 0 {
		fault("limits: must not be negative")
	}
	if c.Limits.BodyBytes == 0 {
		c.Limits.BodyBytes = defaultBodyBytes
	}
	if c.Limits.Samples == 0 {
		c.Limits.Samples = defaultSamples
	}
	if c.Limits.Concurrency == 0 {
		c.Limits.Concurrency = defaultConcurrency
	}
	if len(c.Targets) == 0 && c.Kubernetes == nil {
		fault("targets: name at least one, such as http://checkout:8080/metrics")
	}
	targets := make([]*target, 0, len(c.Targets))
	seen := map[string]bool{}
	for i, text := range c.Targets {
		t, err := newTarget(text)
		if err != nil {
			fault("targets[%d]: %w", i, err)
			continue
		}
		// Where a proxy resolves names, only a name that is an address can be looked at.
		if ip, err := netip.ParseAddr(t.url.Hostname()); err == nil && !c.LinkLocal {
			if why := refuses(ip); why != "" {
				fault("targets[%d]: %s is %s, which is never asked; allow_link_local: true allows it", i, ip, why)
			}
		}
		// Scheme apart, the same address is the same page: its series would count twice.
		if key := t.instance + t.page; seen[key] {
			fault("targets[%d]: %s is listed twice", i, t)
		} else {
			seen[key] = true
		}
		targets = append(targets, t)
	}
	if err := c.HTTP.Validate(); err != nil {
		faults = append(faults, err)
	}
	return c, targets, errors.Join(faults...)
}

// target is one page to scrape.
type target struct {
	url      *url.URL
	instance string // host:port as configured: the label instance
	page     string // what tells it from other pages of the instance; "" for /metrics

	// Of the turns so far; a turn owns them.
	down string // why it failed last; "" when it answered
	size int    // bytes of its last page
}

func newTarget(text string) (*target, error) {
	u, err := url.Parse(text)
	if err != nil {
		var fault *url.Error
		if errors.As(err, &fault) {
			err = fault.Err // without the address: it may hold a password
		}
		return nil, fmt.Errorf("not an address: %w", err)
	}
	switch {
	case u.User != nil:
		return nil, errors.New("an address must not hold a user or password: use basic_auth")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q does not begin with http:// or https://", text)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q names no host", text)
	case u.Fragment != "":
		return nil, fmt.Errorf("%q has a fragment, which no server ever sees", text)
	}
	u.Host = strings.ToLower(u.Host)
	if u.Path == "" {
		u.Path = "/metrics"
	}
	t := &target{url: u, instance: u.Host}
	if page := u.RequestURI(); page != "/metrics" {
		if u.RawQuery != "" { // kept with the series, on the disk too: no place for a token
			page = u.EscapedPath() + fmt.Sprintf("?%x", sha256.Sum256([]byte(u.RawQuery)))
		}
		t.page = page
	}
	return t, nil
}

// String is the target without its parameters, which may be secret.
func (t *target) String() string { return t.url.Scheme + "://" + t.url.Host + t.url.EscapedPath() }

// Bytes is an amount of bytes, in YAML a number or text such as 64MiB or 10MB.
type Bytes int64

var byteUnits = []struct {
	name string
	size float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
}

// UnmarshalText reads 64MiB, 10MB or a plain number of bytes.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, unit := strings.TrimSpace(string(text)), 1.0
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	v *= unit
	if err != nil || !(v >= 0 && v < math.MaxInt64) || v != math.Trunc(v) {
		return fmt.Errorf("%q is not an amount of bytes such as 64MiB", text)
	}
	*b = Bytes(v)
	return nil
}

// MarshalText prints the number of bytes.
func (b Bytes) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(b), 10), nil }

// String prints the amount in the largest binary unit that holds it whole.
func (b Bytes) String() string {
	for _, u := range []struct {
		name string
		size Bytes
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b >= u.size && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
