package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/config"
)

// The rooms of sources and sinks have structs like these for their own options.
type prometheusOptions struct {
	URL       string `yaml:"url"`
	BasicAuth struct {
		Username     string `yaml:"username"`
		PasswordFile string `yaml:"password_file"`
	} `yaml:"basic_auth"`
	Limits struct {
		MaxSeries         int           `yaml:"max_series"`
		SamplesPerRequest int64         `yaml:"samples_per_request"`
		Concurrency       int           `yaml:"concurrency"`
		Backfill          time.Duration `yaml:"backfill"`
	} `yaml:"limits"`
	ReplicaLabel string `yaml:"replica_label"`
}

func (o *prometheusOptions) Validate() error {
	if o.URL == "" {
		return errors.New("url: is missing; write the server's address, such as http://prometheus:9090")
	}
	return nil
}

type scrapeOptions struct {
	Targets  []string      `yaml:"targets"`
	Interval time.Duration `yaml:"interval"`
	Timeout  time.Duration `yaml:"timeout"`
	Limits   struct {
		BodyBytes int64 `yaml:"body_bytes"`
		Samples   int   `yaml:"samples"`
	} `yaml:"limits"`
}

type kubernetesOptions struct {
	Kubeconfig string   `yaml:"kubeconfig"`
	Context    string   `yaml:"context"`
	Namespaces []string `yaml:"namespaces"`
	Objects    string   `yaml:"objects"`
}

type datadogOptions struct {
	Site       string   `yaml:"site"`
	APIKeyFile string   `yaml:"api_key_file"`
	Metrics    string   `yaml:"metrics"`
	Tags       []string `yaml:"tags"`
}

// datadogSourceOptions stand for the configuration of sources/datadog.
type datadogSourceOptions struct {
	Site       string `yaml:"site"`
	APIKeyFile string `yaml:"api_key_file"`
	AppKeyFile string `yaml:"app_key_file"`
	Limits     struct {
		Quota       string        `yaml:"quota"`
		Concurrency int           `yaml:"concurrency"`
		MaxSeries   int           `yaml:"max_series"`
		Backfill    time.Duration `yaml:"backfill"`
	} `yaml:"limits"`
}

// cloudWatchOptions stand for the configuration of sources/cloudwatch.
type cloudWatchOptions struct {
	Region       string  `yaml:"region"`
	Profile      string  `yaml:"profile"`
	RoleARN      string  `yaml:"role_arn"`
	ExternalID   string  `yaml:"external_id"`
	URL          string  `yaml:"url"`
	PricePer1000 float64 `yaml:"price_per_1000_metrics"`
	Limits       struct {
		RequestsPerSecond float64       `yaml:"requests_per_second"`
		Concurrency       int           `yaml:"concurrency"`
		MaxSeries         int           `yaml:"max_series"`
		Backfill          time.Duration `yaml:"backfill"`
	} `yaml:"limits"`
}

// decode reads the options of every source and sink, as the program does when it loads.
func decode(c *config.Config) error {
	var all []error
	for _, s := range c.Sources {
		into := map[string]any{"prometheus": new(prometheusOptions), "scrape": new(scrapeOptions), "kubernetes": new(kubernetesOptions),
			"datadog": new(datadogSourceOptions), "cloudwatch": new(cloudWatchOptions)}[s.Type]
		all = append(all, s.Decode(into))
	}
	for _, s := range c.Sinks {
		into := map[string]any{"datadog": new(datadogOptions), "alertmanager": new(alertmanagerOptions), "remote_write": new(remoteWriteOptions)}[s.Type]
		all = append(all, s.Decode(into))
	}
	return errors.Join(all...)
}

// alertmanagerOptions stand for the configuration of sinks/alertmanager, which this room may not know.
type alertmanagerOptions struct {
	URL         string            `yaml:"url"`
	URLs        []string          `yaml:"urls"`
	Resend      string            `yaml:"resend"`
	Timeout     string            `yaml:"timeout"`
	Inhibit     bool              `yaml:"inhibit"`
	Annotations map[string]string `yaml:"annotations"`
}

// remoteWriteOptions stand for the configuration of sinks/remotewrite.
type remoteWriteOptions struct {
	URL     string `yaml:"url"`
	Timeout string `yaml:"timeout"`
}

// environment is the only one that tests see.
func environment(name string) (string, bool) {
	v, ok := map[string]string{"HOST": "prometheus.shop", "CLUSTER": "tokyo", "TAG": "env:prod", "WITH_PASSWORD": "https://admin:hunter2@mimir"}[name]
	return v, ok
}

// check is what a person is told of a configuration file: faults first, then warnings.
func check(file string) string {
	c, err := config.Load(file, config.WithEnv(environment))
	out := ""
	for _, f := range append(config.FaultsOf(errors.Join(err, decode(c))), c.Warnings...) {
		out += f.Error() + "\n"
	}
	return out
}

// Every broken configuration has its exact message beside it: file, line, column, field, what is
// wrong, what would be right.
func TestBroken(t *testing.T) {
	t.Chdir("testdata/broken")
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 45 {
		t.Fatalf("%d broken configurations, want at least 45", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			if len(want) == 0 {
				t.Fatal("the expected message is empty")
			}
			if got := check(file); got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}
