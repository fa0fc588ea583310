package promtest

import (
	"time"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// Self stands for the server's own address in targets and in the text of a configuration: the
// port is not known before Start.
const Self = "prometheus.self:9090"

// Options say what the server is to do. The zero value is an empty server that scrapes nothing.
type Options struct {
	// Jobs are what it scrapes, and the settings around them. More come later by Server.Scrape.
	Jobs           []Job
	ScrapeInterval time.Duration     // also how often rules are evaluated; 1 s if left out
	ExternalLabels map[string]string // on what leaves the server: remote write, alerts, federation
	RuleFiles      []string          // absolute paths of rule files; globs are allowed
	Alertmanagers  []string          // host:port

	// Config is a whole prometheus.yml in place of all the above.
	Config string

	Dir         string   // data folder, made if need be; "" is a new one of the test's
	Retention   string   // how long samples are kept, "30d"; "" keeps them for ever
	RemoteWrite bool     // accept /api/v1/write
	ExtraFlags  []string // as prometheus takes them
}

// Job is one scrape configuration.
type Job struct {
	Name     string            // the series' job label
	Targets  []string          // host:port each
	Labels   map[string]string // on every target: namespace, service, pod, container as an operator attaches them
	Path     string            // "" is /metrics
	Interval time.Duration     // 0 is Options.ScrapeInterval

	// HonorLabels keeps labels of the series where a target's label has the same name; without it
	// service="checkout" of a series becomes exported_service.
	HonorLabels bool
	// NativeHistograms takes the native part of histograms that have one; the classic buckets of
	// such histograms are then left out unless ClassicHistograms asks for them too.
	NativeHistograms  bool
	ClassicHistograms bool
}

// config is the text of prometheus.yml, with Self still in it.
func (o Options) config() (string, error) {
	if o.Config != "" {
		return o.Config, nil
	}
	interval := o.ScrapeInterval
	if interval == 0 {
		interval = time.Second
	}

	type group map[string]any
	global := group{
		"scrape_interval":     model.Duration(interval).String(),
		"scrape_timeout":      model.Duration(min(interval, 10*time.Second)).String(),
		"evaluation_interval": model.Duration(interval).String(),
	}
	if len(o.ExternalLabels) > 0 {
		global["external_labels"] = o.ExternalLabels
	}
	scrapes := []group{}
	for _, job := range o.Jobs {
		targets := group{"targets": job.Targets}
		if len(job.Labels) > 0 {
			targets["labels"] = job.Labels
		}
		scrape := group{
			"job_name":                         job.Name,
			"honor_labels":                     job.HonorLabels,
			"scrape_native_histograms":         job.NativeHistograms,
			"always_scrape_classic_histograms": job.ClassicHistograms,
			"static_configs":                   []group{targets},
		}
		if job.Path != "" {
			scrape["metrics_path"] = job.Path
		}
		if job.Interval != 0 {
			scrape["scrape_interval"] = model.Duration(job.Interval).String()
			scrape["scrape_timeout"] = model.Duration(min(job.Interval, 10*time.Second)).String()
		}
		scrapes = append(scrapes, scrape)
	}
	config := group{"global": global, "scrape_configs": scrapes}
	if len(o.RuleFiles) > 0 {
		config["rule_files"] = o.RuleFiles
	}
	if len(o.Alertmanagers) > 0 {
		config["alerting"] = group{"alertmanagers": []group{{"static_configs": []group{{"targets": o.Alertmanagers}}}}}
	}
	text, err := yaml.Marshal(config)
	return string(text), err
}

// arguments are the command line of the server.
func (o Options) arguments(config, address string) []string {
	retention := o.Retention
	if retention == "" {
		retention = "100y" // the most there is
	}
	arguments := []string{
		"--config.file=" + config,
		"--web.listen-address=" + address,
		"--web.enable-lifecycle",
		"--storage.tsdb.path=" + o.Dir,
		"--storage.tsdb.retention.time=" + retention,
		// Prometheus leaves new targets alone for 5 s; a test has no reason to wait.
		"--scrape.discovery-reload-interval=100ms",
	}
	if o.RemoteWrite {
		arguments = append(arguments, "--web.enable-remote-write-receiver")
	}
	return append(arguments, o.ExtraFlags...)
}
