package datadog

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/config"

	"github.com/yoyu-sre/yoyu/sinks"
)

// Config is what a configuration says of one sink.
type Config struct {
	Site       string   `yaml:"site,omitempty"`    // datadoghq.com, datadoghq.eu …; datadoghq.com when empty
	URL        string   `yaml:"url,omitempty"`     // another intake, such as a proxy, in place of the site's
	APIKeyFile string   `yaml:"api_key_file"`      // read at every write
	Metrics    Preset   `yaml:"metrics,omitempty"` // how much is sent; standard when empty
	Tags       []string `yaml:"tags,omitempty"`    // key:value, for every series that has none of that key
}

// DefaultConfig is what a configuration is decoded over.
func DefaultConfig() Config { return Config{Site: defaultSite, Metrics: Standard} }

// SetDirectory has relative names of files start at dir, the folder of the configuration.
func (c *Config) SetDirectory(dir string) { c.APIKeyFile = config.JoinDir(dir, c.APIKeyFile) }

const defaultSite = "datadoghq.com"

// Preset says how much is sent, because every series is a custom metric and costs money.
type Preset string

// The presets, with the number of custom metrics for an SLO without groups that has the workbook
// policy, and for a container.
const (
	Minimal  Preset = "minimal"  // what monitors need: remaining budget, alert burn ratio. 3 and 0
	Standard Preset = "standard" // and burn rates of every window, headroom of workloads. 11 and 2
	Full     Preset = "full"     // every gauge of the vocabulary; infos are tags here. 35, 3 more for each correction, and 22
)

var presets = map[Preset]sinks.Selection{
	Minimal:  {Families: []*sinks.Family{sinks.SLORemainingRatio, sinks.SLOAlertBurnRatio}},
	Standard: {Families: []*sinks.Family{sinks.SLORemainingRatio, sinks.SLOAlertBurnRatio, sinks.SLOBurnRate, sinks.HeadroomCPU, sinks.HeadroomMemory}},
	Full:     {Families: gauges(), AllWindows: true},
}

func gauges() []*sinks.Family {
	return slices.DeleteFunc(slices.Clone(sinks.Families), func(f *sinks.Family) bool { return f.Type != sinks.Gauge })
}

// hostName is a site: no scheme, no path, no port.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

// Validate names every field that cannot be right, each as "field: what is wrong".
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, arguments ...any) { faults = append(faults, fmt.Errorf(format, arguments...)) }

	if c.APIKeyFile == "" {
		fault("api_key_file: is missing, name the file that holds the API key")
	}
	if c.Site != "" && !hostName.MatchString(c.Site) {
		fault("site: %q is no site, it is a host name such as datadoghq.com or datadoghq.eu", c.Site)
	} else if strings.HasPrefix(c.Site, "app.") || strings.HasPrefix(c.Site, "api.") {
		fault("site: %q is an address within a site, leave out its first word", c.Site)
	}
	if c.URL != "" {
		switch u, err := url.Parse(c.URL); {
		case err != nil:
			fault("url: is no address such as https://proxy:8443")
		case u.User != nil:
			fault("url: holds a password, take it out")
		case u.RawQuery != "", u.Fragment != "": // which may be a secret, too
			fault("url: holds a query or a fragment, take it out")
		case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
			fault("url: %q is no address such as https://proxy:8443", c.URL)
		}
	}
	if _, ok := presets[c.Metrics]; !ok && c.Metrics != "" {
		fault("metrics: %q is none of minimal, standard, full", c.Metrics)
	}
	for i, tag := range c.Tags {
		key, value, ok := strings.Cut(tag, ":")
		switch key = tagKey(key); {
		case !ok || key == "" || value == "":
			fault("tags[%d]: %q is no tag such as env:prod", i, tag)
		case key == "version":
			fault("tags[%d]: version starts new series with every release, leave it out", i)
		case unwanted[key]:
			fault("tags[%d]: %s is for people and tells no series apart, leave it out", i, key)
		case key == "host" || key == "device":
			fault("tags[%d]: %s multiplies custom metrics and says nothing about a service, leave it out", i, key)
		}
	}
	return errors.Join(faults...)
}

// Families are what a preset sends, for those who draw or watch it; those of standard where it is
// none of the presets.
func (p Preset) Families() []*sinks.Family {
	chosen, ok := presets[p]
	if !ok {
		chosen = presets[Standard]
	}
	return slices.Clone(chosen.Families)
}
