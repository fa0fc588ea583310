package promapi

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// Config is the configuration of one source of type prometheus.
//
// Decode it over DefaultConfig: the HTTP client follows redirects within its host and speaks HTTP/2
// unless told otherwise, which a zero value cannot say.
type Config struct {
	URL          string                  `yaml:"url"`                     // base address, with the path prefix if there is one
	Limits       Limits                  `yaml:"limits,omitempty"`        // how gently the server is asked
	ReplicaLabel string                  `yaml:"replica_label,omitempty"` // one of several replicas behind the address is followed
	RemoteRead   string                  `yaml:"remote_read,omitempty"`   // auto: long spans come as chunks where that is exact; never: in text only; "" is auto
	SigV4        any                     `yaml:"sigv4,omitempty"`         // refused, see Validate
	HTTP         config.HTTPClientConfig `yaml:",inline"`
}

// Limits keep the questions from hurting the server. A zero field means its default.
type Limits struct {
	MaxSeries         int            `yaml:"max_series,omitempty"`          // series of one SLO that are still counted exactly
	SamplesPerRequest float64        `yaml:"samples_per_request,omitempty"` // samples one answer should hold; spans are cut to it
	Concurrency       int            `yaml:"concurrency,omitempty"`         // requests in flight
	Backfill          model.Duration `yaml:"backfill,omitempty"`            // how far back the windows are filled; obeyed by the caller
}

// The values of Config.RemoteRead. Both count the same.
const (
	remoteAuto  = "auto"
	remoteNever = "never"
)

// DefaultConfig is what a source is without a word of configuration but its url.
func DefaultConfig() Config {
	return Config{HTTP: config.DefaultHTTPClientConfig, Limits: DefaultLimits()}
}

// DefaultLimits suit a Prometheus with its own default limits.
func DefaultLimits() Limits {
	return Limits{MaxSeries: 20000, SamplesPerRequest: 5e6, Concurrency: 2, Backfill: model.Duration(30 * 24 * time.Hour)}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.MaxSeries == 0 {
		l.MaxSeries = d.MaxSeries
	}
	if l.SamplesPerRequest == 0 {
		l.SamplesPerRequest = d.SamplesPerRequest
	}
	if l.Concurrency == 0 {
		l.Concurrency = d.Concurrency
	}
	if l.Backfill == 0 {
		l.Backfill = d.Backfill
	}
	return l
}

// Validate says what is wrong with the configuration, all of it at once.
func (c *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch u, err := url.Parse(c.URL); {
	case c.URL == "":
		fault("url: is missing; write the server's address, such as http://prometheus:9090")
	case err != nil:
		fault("url: is not an address; write one such as http://prometheus:9090")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		fault("url: %q is not an address; write one such as http://prometheus:9090", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		fault("url: must hold no query or fragment; headers go into http_headers")
	}
	if c.RemoteRead != "" && c.RemoteRead != remoteAuto && c.RemoteRead != remoteNever {
		fault("remote_read: is %q; write auto or never", clip(c.RemoteRead, 40))
	}
	if c.SigV4 != nil {
		fault("sigv4: is not supported; put a signing proxy in front of the workspace and write its address as url")
	}
	if c.Limits.MaxSeries < 0 {
		fault("limits.max_series: must be above 0")
	}
	if c.Limits.SamplesPerRequest < 0 {
		fault("limits.samples_per_request: must be above 0")
	}
	if c.Limits.Concurrency < 0 {
		fault("limits.concurrency: must be above 0")
	}
	if c.ReplicaLabel != "" && !model.LegacyValidation.IsValidLabelName(c.ReplicaLabel) {
		fault("replica_label: %q is not a label name", c.ReplicaLabel)
	}
	if err := c.HTTP.Validate(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// SetDirectory has relative names of files start at dir, the folder of the configuration.
func (c *Config) SetDirectory(dir string) { c.HTTP.SetDirectory(dir) }
