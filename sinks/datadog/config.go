package datadog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/config"

	"github.com/yoyu-sre/yoyu/internal/datadogapi"
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
func DefaultConfig() Config { return Config{Site: datadogapi.DefaultSite, Metrics: Standard} }

// SetDirectory has relative names of files start at dir, the folder of the configuration.
func (c *Config) SetDirectory(dir string) { c.APIKeyFile = config.JoinDir(dir, c.APIKeyFile) }

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

// Validate names every field that cannot be right, each as "field: what is wrong".
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, arguments ...any) { faults = append(faults, fmt.Errorf(format, arguments...)) }

	if c.APIKeyFile == "" {
		fault("api_key_file: is missing, name the file that holds the API key")
	}
	faults = append(faults, datadogapi.CheckAddress(c.Site, c.URL)...)
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
