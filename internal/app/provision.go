package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/dashboards"
	"github.com/yoyu-sre/yoyu/internal/datadogapi"
	"github.com/yoyu-sre/yoyu/internal/provision"
	sinkdatadog "github.com/yoyu-sre/yoyu/sinks/datadog"
	sourcedatadog "github.com/yoyu-sre/yoyu/sources/datadog"
)

func addProvision(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("provision", "Put monitors and dashboards where the SLOs are looked at: print a plan, or carry it out.")
	d := c.Command("datadog", "One monitor for each severity, for missing data and for spent budgets, and two dashboards. Prints a plan; what is yoyu's own carries its mark, nothing else is touched.")
	o := provisionOptions{notify: map[string]string{}}
	d.Flag("config.file", "Configuration file.").Default("config.yaml").StringVar(&o.file)
	d.Flag("sink", "Name of the sink of type datadog whose organisation it is; needed where there are several.").StringVar(&o.sink)
	d.Flag("app-key-file", "File that holds an application key that may write monitors and dashboards; left out, that of a source of type datadog.").StringVar(&o.appKey)
	d.Flag("apply", "Carry the plan out.").BoolVar(&o.apply)
	d.Flag("prune", "Delete what carries yoyu's mark and is not wanted any more.").BoolVar(&o.prune)
	d.Flag("recreate", "Believe an empty listing: everything was deleted on purpose.").BoolVar(&o.recreate)
	d.Flag("slos", "Make SLO objects of Datadog, too, for SLOs that are counted from its metrics, and mirror their corrections.").BoolVar(&o.slos)
	d.Flag("notify", "Whom a monitor tells, as SEVERITY=@handle (repeatable); beside severities there are data-missing and budget-spent.").StringMapVar(&o.notify)
	d.Flag("web.external-url", "Address under which people reach yoyu, for links.").StringVar(&o.url)
	d.Flag("storage.path", "Folder for what must survive: ids are remembered in provision-datadog.json.").Default("data/").StringVar(&o.storage)
	return "provision datadog", func(ctx context.Context) error { return p.provision(ctx, o) }
}

type provisionOptions struct {
	file, sink, appKey, url, storage string
	apply, prune, recreate, slos     bool
	notify                           map[string]string
}

func (p *process) provision(ctx context.Context, o provisionOptions) error {
	c, err := loadConfig(p, o.file)
	if err != nil {
		return err
	}
	org, err := organisationOf(c, o)
	if err != nil {
		return err
	}
	url := strings.TrimRight(o.url, "/")
	wanted, err := p.wanted(c, o, org.sent, org.env, url)
	if err != nil {
		return err
	}
	api := org.api
	line, err := provision.New(provision.Options{
		API: api, Wanted: wanted, State: filepath.Join(o.storage, "provision-datadog.json"), Within: org.within, Prune: o.prune, Recreate: o.recreate,
	})
	if err != nil {
		return err
	}
	plan, err := line.Plan(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", api.Where(), err)
	}
	if err := plan.Write(p.stdout); err != nil {
		return err
	}
	if !o.apply {
		if plan.Writes() > 0 {
			fmt.Fprintln(p.stderr, "Nothing was changed: --apply carries it out.")
		}
		return nil
	}
	if err := line.Apply(ctx, plan); err != nil {
		return fmt.Errorf("%s: %w", api.Where(), err)
	}
	fmt.Fprintf(p.stderr, "%s is as it should be.\n", api.Where())
	return nil
}

// wanted is what should be in Datadog.
func (p *process) wanted(c *config.Config, o provisionOptions, sent sinkdatadog.Preset, env bool, url string) ([]provision.Object, error) {
	severities := severitiesOf(c)
	known := append(slices.Clone(severities), provision.DataMissing, provision.BudgetSpent)
	notify := map[string][]string{}
	for _, whom := range slices.Sorted(maps.Keys(o.notify)) {
		if !slices.Contains(known, whom) {
			return nil, fmt.Errorf("--notify %s: there is no such monitor: there are %s", whom, strings.Join(known, ", "))
		}
		notify[whom] = strings.Fields(o.notify[whom])
	}
	out := provision.Monitors(provision.Watch{Severities: severities, Sent: sent.Families(), Env: env, Notify: notify, ExternalURL: url})
	files, err := dashboards.Datadog(dashboards.Options{ExternalURL: url, Sent: sent.Families(), Severities: severities})
	if err != nil {
		return nil, err
	}
	var drawn []provision.Drawn
	for _, f := range files {
		drawn = append(drawn, provision.Drawn{Key: strings.TrimSuffix(f.Name, ".json"), JSON: f.JSON})
	}
	boards, err := provision.Dashboards(drawn)
	if err != nil {
		return nil, err
	}
	out = append(out, boards...)
	if !o.slos {
		return out, nil
	}
	var natives []provision.Native
	for i := range c.Objectives {
		in := c.Questions[i].Indicator
		natives = append(natives, provision.Native{Objective: &c.Objectives[i], CountedBy: string(in.Kind), Total: in.Total, Bad: in.Bad, Good: in.Good})
	}
	objects, left := provision.SLOs(natives)
	for _, name := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintf(p.stderr, "slo %s: no SLO object: %s\n", name, left[name])
	}
	corrections, unsaid := provision.Corrections(natives)
	for _, line := range unsaid {
		fmt.Fprintf(p.stderr, "%s\n", line)
	}
	return append(append(out, objects...), corrections...), nil
}

// severitiesOf are the severities of the alert policies in use, in the order of the first policy
// that has them.
func severitiesOf(c *config.Config) []string {
	var out []string
	for _, o := range c.Objectives {
		for _, s := range o.Policy.Severities {
			if !slices.Contains(out, s.Name) {
				out = append(out, s.Name)
			}
		}
	}
	return out
}

// organisation is where the sink sends to, with keys that may be used there.
type organisation struct {
	api    *datadogapi.Client
	sent   sinkdatadog.Preset
	env    bool   // its series carry env
	within string // the sink's name where others send to the same address: maybe to another organisation
}

func organisationOf(c *config.Config, o provisionOptions) (organisation, error) {
	var names []string
	var to *config.Sink
	settings := map[string]sinkdatadog.Config{}
	for i, s := range c.Sinks {
		if s.Type != "datadog" {
			continue
		}
		names = append(names, s.Name)
		if s.Name == o.sink || o.sink == "" {
			to = &c.Sinks[i]
		}
		one := sinkdatadog.DefaultConfig()
		if err := s.Decode(&one); err != nil {
			return organisation{}, err
		}
		settings[s.Name] = one
	}
	switch {
	case len(names) == 0:
		return organisation{}, fmt.Errorf("%s: has no sink of type datadog: monitors and dashboards are about what it sends", o.file)
	case to == nil:
		return organisation{}, fmt.Errorf("--sink %s: there is no such sink of type datadog: there are %s", o.sink, strings.Join(names, ", "))
	case o.sink == "" && len(names) > 1:
		return organisation{}, fmt.Errorf("--sink is missing, and there are %s", strings.Join(names, ", "))
	}
	it := settings[to.Name]
	appKey := o.appKey
	if appKey == "" {
		var err error
		if appKey, err = appKeyFor(c, it); err != nil {
			return organisation{}, err
		}
	}
	out := organisation{
		api:  datadogapi.New(datadogapi.Options{Site: it.Site, URL: it.URL, APIKeyFile: it.APIKeyFile, AppKeyFile: appKey}),
		sent: cmp.Or(it.Metrics, sinkdatadog.Standard),
		env: os.Getenv("DD_ENV") != "" || c.ExternalLabels["env"] != "" ||
			slices.ContainsFunc(it.Tags, func(tag string) bool { return strings.HasPrefix(strings.ToLower(tag), "env:") }),
	}
	for _, name := range names {
		if other := settings[name]; name != to.Name && other.Site == it.Site && other.URL == it.URL && other.APIKeyFile != it.APIKeyFile {
			out.within = to.Name
		}
	}
	return out, nil
}

// appKeyFor is the file of the application key that the sources have for a sink's organisation. One
// site has many organisations: the source with the sink's own API key is of the same one; where none
// has it, the sources of the site must agree.
func appKeyFor(c *config.Config, sink sinkdatadog.Config) (string, error) {
	var names, files []string
	for _, s := range c.Sources {
		if s.Type != "datadog" {
			continue
		}
		from := sourcedatadog.DefaultConfig()
		if err := s.Decode(&from); err != nil {
			return "", err
		}
		switch {
		case from.Site != sink.Site || from.URL != sink.URL:
		case from.APIKeyFile == sink.APIKeyFile:
			return from.AppKeyFile, nil
		case !slices.Contains(files, from.AppKeyFile):
			names, files = append(names, s.Name), append(files, from.AppKeyFile)
		}
	}
	switch len(files) {
	case 0:
		return "", errors.New("--app-key-file is missing, and no source of type datadog of the same organisation has one")
	case 1:
		return files[0], nil
	}
	return "", fmt.Errorf("--app-key-file is missing, and which of the sources %s is of the sink's organisation nobody says: none has its api_key_file", strings.Join(names, ", "))
}
