package app

import (
	"os"

	"github.com/yoyu-sre/yoyu/internal/config"
)

// ecsTask is what the agent of ECS sets in the environment of every container.
const ecsTask = "ECS_CONTAINER_METADATA_URI_V4"

// warnEphemeral warns, in a task of ECS, of what cannot be asked for again: the disk of a task on
// Fargate goes with it, and yoyu keeps its state on no EFS.
func (p *process) warnEphemeral(c *config.Config) {
	if os.Getenv(ecsTask) == "" {
		return
	}
	types := config.BuiltIn().Sources
	for _, s := range c.Sources {
		if !types[s.Type].Present {
			continue
		}
		for _, q := range c.Questions {
			if q.Source == s.Name {
				p.log.Warn("what this source has counted goes with the ECS task: it cannot be asked for again; keep it by a Prometheus, or count from CloudWatch",
					"from", s.Name, "type", s.Type)
				break
			}
		}
	}
}
