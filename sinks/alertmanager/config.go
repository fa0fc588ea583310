package alertmanager

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

const (
	defaultResend  = time.Minute      // as Prometheus' --rules.alert.resend-delay
	defaultTimeout = 10 * time.Second // as Prometheus' alertmanager_config
)

// Config is what a configuration says of one sink. Decode it over DefaultConfig.
type Config struct {
	URL         string                  `yaml:"url,omitempty"`         // base address of an Alertmanager, with its path prefix
	URLs        []string                `yaml:"urls,omitempty"`        // those of several, each of which gets everything
	Resend      model.Duration          `yaml:"resend,omitempty"`      // how often an alert is told again; 1m
	Timeout     model.Duration          `yaml:"timeout,omitempty"`     // for one Alertmanager in one tick; 10s
	Inhibit     bool                    `yaml:"inhibit"`               // a page holds back the ticket of the same SLO; true unless told
	Annotations map[string]string       `yaml:"annotations,omitempty"` // Go templates by name, over the built-in ones; "" takes one away
	HTTP        config.HTTPClientConfig `yaml:",inline"`
}

// DefaultConfig is what a sink is without a word of configuration but its url.
func DefaultConfig() Config {
	return Config{
		Resend: model.Duration(defaultResend), Timeout: model.Duration(defaultTimeout), Inhibit: true,
		HTTP: config.DefaultHTTPClientConfig,
	}
}

// SetDirectory has relative names of files start at dir, the folder of the configuration.
func (c *Config) SetDirectory(dir string) { c.HTTP.SetDirectory(dir) }

// addresses are all Alertmanagers, in the order they were written.
func (c *Config) addresses() []string {
	if c.URL != "" {
		return append([]string{c.URL}, c.URLs...)
	}
	return c.URLs
}

// Validate says what is wrong with the configuration, all of it at once, each as "field: what".
func (c *Config) Validate() error {
	var faults []error
	if len(c.addresses()) == 0 {
		faults = append(faults, fault("url", "is missing; write the address of an Alertmanager, such as http://alertmanager:9093, or several under urls"))
	}
	seen := map[string]bool{}
	check := func(field, address string) {
		if err := checkAddress(address); err != "" {
			faults = append(faults, fault(field, "%s", err))
		} else if address = strings.TrimRight(address, "/"); seen[address] {
			faults = append(faults, fault(field, "is listed twice"))
		}
		seen[address] = true
	}
	if c.URL != "" {
		check("url", c.URL)
	}
	for i, address := range c.URLs {
		check(fmt.Sprintf("urls[%d]", i), address)
	}
	if c.Resend < 0 || c.Resend > model.Duration(time.Hour) {
		faults = append(faults, fault("resend", "must be above 0 and at most 1h"))
	}
	if c.Timeout < 0 || c.Timeout > model.Duration(time.Minute) {
		faults = append(faults, fault("timeout", "must be above 0 and at most 1m"))
	}
	if _, err := compile(c.Annotations); err != nil {
		faults = append(faults, err)
	}
	if err := c.HTTP.Validate(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// checkAddress says what is wrong with a base address, "" when nothing is.
func checkAddress(address string) string {
	const like = "write one such as http://alertmanager:9093"
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "is not an address; " + like
	case u.User != nil:
		return "holds a password; write basic_auth with a password_file"
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Sprintf("%q is not an address; %s", address, like)
	case u.RawQuery != "" || u.Fragment != "":
		return "must hold no query or fragment; headers go into http_headers"
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/api/v2") || strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/api/v2/alerts"):
		return "is the base address; leave out /api/v2"
	}
	return ""
}
