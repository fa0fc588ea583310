package demo

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"path/filepath"
	"strings"
)

//go:embed objects.yaml
var objectsText []byte

//go:embed config.yaml
var configText string

// The files that the configuration names.
const (
	objectsFile = "objects.yaml"
	keyFile     = "datadog-api-key"
)

// Key is what the demo shows Datadog for an API key.
const Key = "no-account-needed"

// Objects are the shop's Deployments and VPAs: a file of objects for a kubernetes source.
func Objects() []byte { return bytes.Clone(objectsText) }

// Config is the configuration that watches this shop, as text. It names the addresses of the open
// shop, so it is there once Start has returned; its files last until the shop closes.
func (s *Shop) Config() []byte {
	return []byte(strings.NewReplacer(
		"{{TARGETS}}", quoted(s.targets()),
		"{{OBJECTS}}", quoted(filepath.Join(s.dir, objectsFile)),
		"{{INTAKE}}", quoted(s.IntakeURL()),
		"{{KEY}}", quoted(filepath.Join(s.dir, keyFile)),
	).Replace(configText))
}

// IntakeURL is where the demo plays Datadog: the address of its sink, and a page that shows what
// Datadog would have. It is Options.Intake where that says another.
func (s *Shop) IntakeURL() string {
	if s.beyond != "" {
		return s.beyond
	}
	return "http://" + s.address
}

// targets are the pages of the pods.
func (s *Shop) targets() []string {
	var out []string
	for _, p := range s.pods {
		out = append(out, p.url("/metrics"))
	}
	return out
}

// quoted is a value as YAML, which takes JSON as it is.
func quoted(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("demo: " + err.Error()) // strings always can be written
	}
	return string(text)
}
