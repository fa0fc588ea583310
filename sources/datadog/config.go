package datadog

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
	"github.com/yoyu-sre/yoyu/slo"
)

// Config is the configuration of one source of type datadog. Decode it over DefaultConfig.
type Config struct {
	Site       string `yaml:"site,omitempty"` // datadoghq.com, datadoghq.eu …
	URL        string `yaml:"url,omitempty"`  // another address, such as a proxy, in place of the site's
	APIKeyFile string `yaml:"api_key_file"`   // read at every request
	AppKeyFile string `yaml:"app_key_file"`   // likewise; its scope timeseries_query is enough
	Limits     Limits `yaml:"limits,omitempty"`
}

// Limits keep the questions from taking what others of the organisation need. A zero field means
// its default.
type Limits struct {
	Quota       string         `yaml:"quota,omitempty"`       // share of the organisation's query limit that may be used, such as 50%
	Concurrency int            `yaml:"concurrency,omitempty"` // requests in flight, of the present and of the past each
	MaxSeries   int            `yaml:"max_series,omitempty"`  // groups of one SLO that are still counted
	Backfill    model.Duration `yaml:"backfill,omitempty"`    // how far back the windows are filled; obeyed by the caller
}

// DefaultConfig is what a source is without a word of configuration but its keys.
func DefaultConfig() Config {
	return Config{Site: datadogapi.DefaultSite, Limits: Limits{
		Quota: "50%", Concurrency: 2, MaxSeries: 1000, Backfill: model.Duration(30 * slo.Day),
	}}
}

// SetDirectory has relative names of files start at dir, the folder of the configuration.
func (c *Config) SetDirectory(dir string) {
	c.APIKeyFile, c.AppKeyFile = config.JoinDir(dir, c.APIKeyFile), config.JoinDir(dir, c.AppKeyFile)
}

func (l Limits) withDefaults() Limits {
	d := DefaultConfig().Limits
	if l.Quota == "" {
		l.Quota = d.Quota
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

// oldest is how far back Datadog keeps metrics: 15 months.
const oldest = 455 * slo.Day

// Validate says what is wrong with the configuration, all of it at once.
func (c *Config) Validate() error {
	faults := datadogapi.CheckAddress(c.Site, c.URL)
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.APIKeyFile == "" {
		fault("api_key_file: is missing, name the file that holds the API key")
	}
	if c.AppKeyFile == "" {
		fault("app_key_file: is missing, name the file that holds the application key")
	}
	if _, err := quotaShare(c.Limits.withDefaults().Quota); err != nil {
		fault("limits.quota: %s", err)
	}
	if c.Limits.Concurrency < 0 {
		fault("limits.concurrency: must be above 0")
	}
	if c.Limits.MaxSeries < 0 {
		fault("limits.max_series: must be above 0")
	}
	if time.Duration(c.Limits.Backfill) > oldest {
		fault("limits.backfill: is longer than 455d, and Datadog keeps metrics for 15 months")
	}
	return errors.Join(faults...)
}

// quotaShare reads a share of the organisation's limit, above 0 and at most 1.
func quotaShare(text string) (float64, error) {
	share, err := slo.ParsePercent(text)
	if err != nil || share.IsZero() || share.Float() > 1 {
		return 0, fmt.Errorf("%q is no share of the organisation's limit, write it like 50%%", text)
	}
	return share.Float(), nil
}
