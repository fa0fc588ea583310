package remotewrite

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

const defaultTimeout = 30 * time.Second // as Prometheus' remote_timeout

// Config is what a configuration says of one sink. Decode it over DefaultConfig.
type Config struct {
	URL     string                  `yaml:"url"`               // where series are written to, whole: …/api/v1/write, …/api/v1/push
	Timeout model.Duration          `yaml:"timeout,omitempty"` // of one request; 30s
	SigV4   any                     `yaml:"sigv4,omitempty"`   // refused, see Validate
	HTTP    config.HTTPClientConfig `yaml:",inline"`
}

// DefaultConfig is what a sink is without a word of configuration but its url.
func DefaultConfig() Config {
	return Config{Timeout: model.Duration(defaultTimeout), HTTP: config.DefaultHTTPClientConfig}
}

// SetDirectory has relative names of files start at dir, the folder of the configuration.
func (c *Config) SetDirectory(dir string) { c.HTTP.SetDirectory(dir) }

// Validate says what is wrong with the configuration, all of it at once, each as "field: what".
func (c *Config) Validate() error {
	const like = "write one such as http://mimir/api/v1/push or http://prometheus:9090/api/v1/write"
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch u, err := url.Parse(c.URL); {
	case c.URL == "":
		fault("url: is missing; %s", like)
	case err != nil:
		fault("url: is not an address; %s", like)
	case u.User != nil:
		fault("url: holds a password; write basic_auth with a password_file")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		fault("url: %q is not an address; %s", c.URL, like)
	case u.Path == "" || u.Path == "/":
		fault("url: %q has no path; %s", u.Scheme+"://"+u.Host, like) // a query may hold a token
	case u.Fragment != "":
		fault("url: must hold no fragment; headers go into http_headers")
	}
	if c.Timeout < 0 || c.Timeout > model.Duration(5*time.Minute) {
		fault("timeout: must be above 0 and at most 5m")
	}
	if c.SigV4 != nil {
		fault("sigv4: is not supported; put a signing proxy in front of the workspace and write its address as url")
	}
	if err := c.HTTP.Validate(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
