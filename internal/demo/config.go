package demo

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

//go:embed objects.yaml
var objectsText string

//go:embed config.yaml
var configText string

// The files that the configuration names.
const (
	objectsFile = "objects.yaml"
	keyFile     = "datadog-api-key"
)

// Key is what the demo shows Datadog for an API key.
const Key = "no-account-needed"

// Objects are the shop's Deployments and VPAs as they are at a moment: a file of objects for a
// kubernetes source.
func (s *Shop) Objects(at time.Time) []byte {
	stamp := func(t time.Time) string { return quoted(t.UTC().Truncate(time.Second)) }
	back := func(text string) (time.Duration, error) { return time.ParseDuration(text) }
	var out bytes.Buffer
	err := template.Must(template.New(objectsFile).Funcs(template.FuncMap{
		"now": func() string { return stamp(at) },
		"ago": func(text string) (string, error) {
			d, err := back(text)
			return stamp(s.Opening().Add(-d)), err
		},
		"last": func(text string) (string, error) {
			d, err := back(text)
			return stamp(at.Truncate(max(d, time.Second))), err
		},
	}).Parse(objectsText)).Execute(&out, nil)
	if err != nil {
		panic("demo: " + err.Error()) // it has no input but the embedded file
	}
	return out.Bytes()
}

// writeObjects writes the file of objects, whole or not at all.
func (s *Shop) writeObjects(at time.Time) error {
	name := filepath.Join(s.dir, objectsFile)
	if err := os.WriteFile(name+".new", s.Objects(at), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// cluster keeps the file of objects true: the recommender goes on writing its checkpoints, and
// gateway goes on being killed.
func (s *Shop) cluster(ctx context.Context) error {
	for {
		if err := sleep(ctx, 20*time.Second); err != nil {
			return err
		}
		if err := s.writeObjects(time.Now()); err != nil {
			return err
		}
	}
}

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
