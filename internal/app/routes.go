package app

import (
	"os"

	"github.com/yoyu-sre/yoyu/internal/config"
)

// agentChecks is the annotation of yoyu's own pod by which a Datadog Agent scrapes it. The manifests
// hand it over as a variable (the downward API), empty where there is none: no right on pods is needed.
const agentChecks = "YOYU_DATADOG_AGENT_CHECKS"

// twoRoutes are warnings of sinks that send to Datadog what its Agent scrapes already. A configuration
// alone cannot know.
func twoRoutes(c *config.Config) (found config.Faults) {
	if os.Getenv(agentChecks) == "" {
		return nil
	}
	for _, s := range c.Sinks {
		if s.Type != "datadog" {
			continue
		}
		f := s.Fault("", "sends to Datadog what its Agent scrapes already, by this pod's annotation: the same names from two sides are twice the custom metrics",
			"take the sink out, or the annotation ad.datadoghq.com/yoyu.checks")
		f.Warning = true
		found = append(found, f)
	}
	return found
}
