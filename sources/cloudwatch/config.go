package cloudwatch

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/slo"
)

// Config is the configuration of one source of type cloudwatch. Decode it over DefaultConfig.
//
// Credentials come by the SDK's own chain and are no part of it: the environment, a web identity
// (IRSA), a profile, a container's credentials (EKS Pod Identity, an ECS task's role), an instance's
// role. Whatever of them rotates is read again by the SDK before it expires.
type Config struct {
	Region     string `yaml:"region,omitempty"`      // ap-northeast-1; left out, AWS_REGION or the profile's
	Profile    string `yaml:"profile,omitempty"`     // of the shared configuration files, for a laptop
	RoleARN    string `yaml:"role_arn,omitempty"`    // assumed on top of that, for another account
	ExternalID string `yaml:"external_id,omitempty"` // with role_arn, where its trust policy asks for one
	URL        string `yaml:"url,omitempty"`         // of CloudWatch, such as a VPC endpoint, in place of the region's

	// PricePer1000 is what a thousand metrics cost that GetMetricData is asked for, in US dollars: for
	// the estimate alone. It is 0.01 in nearly all regions.
	PricePer1000 float64 `yaml:"price_per_1000_metrics,omitempty"`

	Limits Limits `yaml:"limits,omitempty"`
}

// Limits keep the questions from taking what others of the account need. A zero field means its
// default.
type Limits struct {
	RequestsPerSecond float64        `yaml:"requests_per_second,omitempty"` // of GetMetricData; an account has 50 in a region
	Concurrency       int            `yaml:"concurrency,omitempty"`         // requests in flight, of the present and of the past each
	MaxSeries         int            `yaml:"max_series,omitempty"`          // resources and groups of one SLO that are still counted
	Backfill          model.Duration `yaml:"backfill,omitempty"`            // how far back the windows are filled; obeyed by the caller
}

// DefaultConfig is what a source is without a word of configuration.
func DefaultConfig() Config {
	return Config{PricePer1000: 0.01, Limits: Limits{
		RequestsPerSecond: 20, Concurrency: 2, MaxSeries: 500, Backfill: model.Duration(30 * slo.Day),
	}}
}

func (l Limits) withDefaults() Limits {
	d := DefaultConfig().Limits
	if l.RequestsPerSecond == 0 {
		l.RequestsPerSecond = d.RequestsPerSecond
	}
	if l.Concurrency == 0 {
		l.Concurrency = d.Concurrency
	}
	if l.MaxSeries == 0 {
		l.MaxSeries = d.MaxSeries
	}
	if l.Backfill == 0 {
		l.Backfill = d.Backfill
	}
	return l
}

var (
	regionName = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	roleARN    = regexp.MustCompile(`^arn:[a-z-]+:iam::[0-9]{12}:role/.+$`)
)

// Validate says what is wrong with the configuration, all of it at once.
func (c *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Region != "" && !regionName.MatchString(c.Region) {
		fault("region: %q is no region such as ap-northeast-1", c.Region)
	}
	if c.RoleARN != "" && !roleARN.MatchString(c.RoleARN) {
		fault("role_arn: %q is no role such as arn:aws:iam::123456789012:role/yoyu", c.RoleARN)
	}
	if c.ExternalID != "" && c.RoleARN == "" {
		fault("external_id: is asked for by no role, write role_arn")
	}
	if c.URL != "" {
		switch u, err := url.Parse(c.URL); {
		case err != nil:
			fault("url: is no address such as https://vpce-0123.monitoring.ap-northeast-1.vpce.amazonaws.com")
		case u.User != nil:
			fault("url: holds a password, take it out")
		case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "":
			fault("url: %q is no address such as https://vpce-0123.monitoring.ap-northeast-1.vpce.amazonaws.com", c.URL)
		}
	}
	if c.PricePer1000 < 0 {
		fault("price_per_1000_metrics: must not be below 0")
	}
	if c.Limits.RequestsPerSecond < 0 {
		fault("limits.requests_per_second: must be above 0")
	}
	if c.Limits.Concurrency < 0 {
		fault("limits.concurrency: must be above 0")
	}
	if c.Limits.MaxSeries < 0 {
		fault("limits.max_series: must be above 0")
	}
	if time.Duration(c.Limits.Backfill) > oldest {
		fault("limits.backfill: is longer than 455d, and CloudWatch keeps nothing for longer")
	}
	return errors.Join(faults...)
}
