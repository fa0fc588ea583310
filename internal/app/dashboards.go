package app

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/yoyu-sre/yoyu/internal/dashboards"
	sinkdatadog "github.com/yoyu-sre/yoyu/sinks/datadog"
)

// drawers are those who draw dashboards, by the name that the command knows.
var drawers = map[string]func(dashboards.Options) ([]dashboards.File, error){
	"datadog": dashboards.Datadog,
	"grafana": dashboards.Grafana,
}

var presetNames = []string{string(sinkdatadog.Minimal), string(sinkdatadog.Standard), string(sinkdatadog.Full)}

func addDashboards(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("dashboards", "Write dashboards as JSON; every query is answered by what yoyu publishes.")
	var o dashboardOptions
	names := slices.Sorted(maps.Keys(drawers))
	c.Arg("for", "Who draws them: "+strings.Join(names, ", ")+".").Required().EnumVar(&o.drawer, names...)
	c.Flag("output-dir", "Folder to write one file each into; left out, they go to stdout, one after the other.").StringVar(&o.dir)
	c.Flag("dashboard", "Only this one, by its file's name without .json (repeatable).").StringsVar(&o.only)
	c.Flag("datadog.metrics", "What the Datadog sink sends (its metrics): "+strings.Join(presetNames, ", ")+".").Default(string(sinkdatadog.Standard)).EnumVar(&o.preset, presetNames...)
	c.Flag("web.external-url", "Address under which people reach yoyu, for links.").Default(dashboards.DefaultURL).StringVar(&o.url)
	return "dashboards", func(context.Context) error { return p.dashboards(o) }
}

type dashboardOptions struct {
	drawer, dir, url, preset string
	only                     []string
}

func (p *process) dashboards(o dashboardOptions) error {
	if u, err := url.Parse(o.url); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--web.external-url %q: want an address such as https://yoyu.example", o.url)
	}
	files, err := drawers[o.drawer](dashboards.Options{
		ExternalURL: strings.TrimRight(o.url, "/"), Sent: sinkdatadog.Preset(o.preset).Families(),
	})
	if err != nil {
		return err
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(f.Name, ".json")
	}
	for _, name := range o.only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("--dashboard %s: there is no such dashboard: there are %s", name, strings.Join(names, ", "))
		}
	}
	if o.dir != "" {
		if err := os.MkdirAll(o.dir, 0o755); err != nil {
			return err
		}
	}
	for i, f := range files {
		switch {
		case len(o.only) > 0 && !slices.Contains(o.only, names[i]):
		case o.dir == "":
			if _, err := p.stdout.Write(f.JSON); err != nil {
				return err
			}
		default:
			at := filepath.Join(o.dir, f.Name)
			if err := os.WriteFile(at, f.JSON, 0o644); err != nil {
				return err
			}
			fmt.Fprintf(p.stderr, "%s is written\n", at)
		}
	}
	return nil
}
