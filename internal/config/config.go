package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/compatibility"
	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
)

// Config is a whole configuration as plain values: defaults applied, files merged, objectives
// checked and expanded. Nobody changes it.
type Config struct {
	Tick           time.Duration     // length of a turn: divides 5 minutes or is a multiple of them
	ExternalLabels map[string]string // for sinks, never for /metrics
	Series         sinks.Selection   // what of the report is on /metrics
	Gate           Gate

	Sources     []Source
	Sinks       []Sink
	Services    []Service
	Objectives  []slo.Objective
	Questions   []Question // one for each objective, in the same order
	Corrections []Correction
	Rightsizing Rightsizing

	Compatibility []compatibility.Project // whose names the report has on /metrics besides
	Files         []string                // every file that was read, the configuration itself first
	Globs         []string                // where files are looked for besides: slo_files, from the configuration's folder
	Warnings      Faults                  // what loads, but can never work or is doubtful

	policies []policy         // as written, for YAML and Variant
	entries  map[string]value // where each objective is written
}

// Gate says when a budget may close a gate.
type Gate struct {
	MinEvents float64 // counted events from which a budget acts even while hardly covered
}

// Source is one outside system to ask.
type Source struct {
	Name  string        // unique among sources
	Type  string        // prometheus, scrape …
	Delay time.Duration // how far behind the clock its answers are complete
	Line  int           // where its entry begins
	options
}

// Sink is one outside system to tell.
type Sink struct {
	Name string // unique among sinks
	Type string // datadog …
	Line int    // where its entry begins
	options
}

// Question is what one objective wants counted, and who is asked.
type Question struct {
	sources.Question
	Source string // name of the source
}

// Service is what the objectives of one service share.
type Service struct {
	Name       string
	Labels     map[string]string // already in its objectives, unless they have their own
	RunbookURL string            // likewise
	Workloads  []Workload        // nil: found by the labels of the workloads
	Engagement Engagement
}

// Workload names a Kubernetes workload that serves a service.
type Workload struct {
	Namespace, Kind, Name string
}

// Engagement says who stands behind a service.
type Engagement struct {
	Level string // such as sre-supported
	Pager string // who is paged
}

// Rightsizing says where recommendations come from and what they are worth.
type Rightsizing struct {
	Source     string // name of the cluster's source; "" when there is none
	Prices     Prices
	HelmValues []HelmValues
}

// HelmValues says where the values of a chart hold the resources of containers. A workload's own
// annotation goes before it, and what names more before what names less.
type HelmValues struct {
	Chart     string // as the label helm.sh/chart says it, without the version
	Workload  string // "" is any of the chart
	Container string // "" is the only one of the workload
	Path      string // keys with dots between them, such as api.resources
}

// Prices turn cores and memory into money. The zero value means that no prices are known.
type Prices struct {
	CPUCoreHour   float64 // money for one core for an hour
	MemoryGiBHour float64 // money for one GiB for an hour
	Currency      string  // three letters, such as USD
}

// SourceType is a type of source as the running program knows it.
type SourceType struct {
	Answers  []sources.Kind // indicators it can count; none for a source that counts nothing
	Pushdown bool           // it can take increases itself (counting: pushdown)
	Cluster  bool           // it knows workloads and their recommendations
	Delay    time.Duration  // used where the configuration gives none
	Present  bool           // it knows the present only: it cannot be asked later, so it has no delay
}

// Types are the sources and sinks that the running program has, by type.
type Types struct {
	Sources map[string]SourceType
	Sinks   []string
}

// BuiltIn are the types of this version of yoyu.
func BuiltIn() Types {
	return Types{
		Sources: map[string]SourceType{
			"prometheus": {
				Answers:  []sources.Kind{sources.Counters, sources.Latency, sources.Gauge, sources.PromQL, sources.Ratio},
				Pushdown: true,
				Delay:    15 * time.Second,
			},
			"datadog":    {Answers: []sources.Kind{sources.Datadog}, Delay: 2 * time.Minute},
			"cloudwatch": {Answers: []sources.Kind{sources.CloudWatch}, Delay: 3 * time.Minute},
			"scrape":     {Answers: []sources.Kind{sources.Counters, sources.Latency, sources.Gauge}, Present: true},
			"kubernetes": {Cluster: true},
		},
		Sinks: []string{"alertmanager", "datadog", "remote_write"},
	}
}

// Option changes how a configuration is read.
type Option func(*loader)

// WithTypes says which sources and sinks the running program has, in place of BuiltIn.
func WithTypes(t Types) Option { return func(l *loader) { l.types = t } }

// WithEnv replaces os.LookupEnv.
func WithEnv(lookup func(name string) (value string, ok bool)) Option {
	return func(l *loader) { l.env = lookup }
}

// WithFiles replaces the disk under slo_files: match finds the names for a glob, read a file.
func WithFiles(match func(glob string) ([]string, error), read func(name string) ([]byte, error)) Option {
	return func(l *loader) { l.match, l.readFile = match, read }
}

// Load reads a configuration file and the files that its slo_files name.
//
// An error is Faults: every fault of every file. The Config beside it then is what could be read:
// good for its warnings and for asking sources and sinks about their own fields, not for running.
func Load(path string, options ...Option) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return &Config{Files: []string{path}}, Faults{{File: path, Problem: "cannot be read", Remedy: reason(err)}}
	}
	return Parse(path, data, options...)
}

// Parse is Load for text at hand; name is what messages call it, and where slo_files begin.
func Parse(name string, data []byte, options ...Option) (*Config, error) {
	l := &loader{
		types:    BuiltIn(),
		env:      os.LookupEnv,
		match:    filepath.Glob,
		readFile: readFile,
		config: &Config{
			Tick:    30 * time.Second,
			Gate:    Gate{MinEvents: 1000},
			Files:   []string{name},
			entries: map[string]value{},
		},
		sources:  map[string]*Source{},
		policies: map[string]policy{},
		services: map[string]placed[Service]{},
	}
	for _, option := range options {
		option(l)
	}
	l.load(name, data)
	c := l.config
	c.Warnings = l.warned.ordered(c.Files)
	return c, l.faults.ordered(c.Files).err()
}

// reason is an error of the file system without the name of the file.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// Fault is a fault of a field of an objective, for those who find one later on.
func (c *Config) Fault(objective, field, problem, remedy string) Fault {
	v, ok := c.entries[objective]
	if !ok {
		return Fault{File: c.Files[0], Field: field, Name: objective, Problem: problem, Remedy: remedy}
	}
	var faults Faults
	doc := *v.doc
	doc.faults = &faults
	v.doc = &doc
	v.find(field).fault(problem, remedy)
	return faults[0]
}

// placed is a thing with the place where it is written.
type placed[T any] struct {
	value T
	from  value
}

// loader gathers a configuration from its files.
type loader struct {
	types    Types
	env      func(string) (string, bool)
	match    func(string) ([]string, error)
	readFile func(string) ([]byte, error)

	config *Config
	faults Faults
	warned Faults

	root     object
	tick     value              // where the tick is written; the file itself where it is not
	tickOK   bool               // the tick is right, so multiples of it can be checked
	sources  map[string]*Source // by name; nil for one that is faulty
	policies map[string]policy
	badNames map[string]bool // policies that are faulty
	services map[string]placed[Service]
	defaults settings
	budget   given[[]slo.BudgetStep] // of all SLOs that have none of their own
	slos     []placed[object]
}

// Fields of the configuration file. Those that come with later versions are known already.
var (
	rootFields = fields{
		known: []string{"tick", "external_labels", "series", "gate", "sources", "sinks", "defaults", "slo_files", "services", "slos", "alert_policies", "corrections", "budget_policy", "rightsizing", "compatibility"},
		later: []string{"specs"},
	}
	fileFields    = fields{known: []string{"services", "slos"}}
	seriesFields  = fields{known: []string{"windows", "families", "without"}}
	gateFields    = fields{known: []string{"min_events"}}
	serviceFields = fields{known: []string{"name", "labels", "runbook_url", "workloads", "engagement"}}
	workFields    = fields{known: []string{"namespace", "kind", "name"}}
	engageFields  = fields{known: []string{"level", "pager"}}
	rightFields   = fields{known: []string{"source", "prices", "helm_values"}}
	helmFields    = fields{known: []string{"chart", "workload", "container", "path"}}
	priceFields   = fields{known: []string{"cpu_core_hour", "memory_gib_hour", "currency"}}
)

// reserved are the labels of yoyu's own series: no group_by, no key of labels.
var reserved = []string{"slo", "service", "window", "severity", "verdict", "gate", "bound", "le", "quantile", "job", "instance"}

// infoLabels are the further labels of slo_info, where an objective's labels go.
var infoLabels = []string{"period", "runbook_url", "counting"}

func (l *loader) load(name string, data []byte) {
	root, ok := l.open(name, data, rootFields)
	if !ok {
		return
	}
	l.root = root
	l.readTick()
	c := l.config
	c.ExternalLabels = read(root, "external_labels", func(v value) (map[string]string, bool) { return v.labels(reserved) }).value
	if len(c.ExternalLabels) == 0 {
		c.ExternalLabels = nil
	}
	l.readSeries()
	l.readCompatibility()
	l.readGate()
	l.readSources()
	l.readSinks()
	l.readPolicies()
	if v, ok := root.fields["defaults"]; ok {
		if o, ok := v.object(fields{known: sloFields.known[1:]}); ok {
			l.defaults = l.readSettings(o)
		}
	}
	l.budget = read(root, "budget_policy", budgetPolicy)
	if own := l.defaults.budgetPolicy; own.set && l.budget.set {
		own.from.fault("budget_policy is written at the top of the file too, in "+l.budget.from.where(own.from), "keep one of them")
	}
	l.collect(root)
	if v, ok := root.fields["slo_files"]; ok {
		l.readFiles(name, v)
	}
	l.readObjectives()
	l.readCorrections()
	l.readRightsizing()
	l.checkWhole()
}

// open parses one file into the fields of its top.
func (l *loader) open(name string, data []byte, allowed fields) (object, bool) {
	doc := &document{file: name, env: l.env, faults: &l.faults, warned: &l.warned, secrets: map[string]bool{}}
	node := parseDocument(doc, data)
	if node == nil {
		return object{}, false
	}
	v := value{doc: doc, node: node}
	if !v.prepare(false, false) {
		return object{}, false
	}
	return v.object(allowed)
}

func (l *loader) readTick() {
	l.tick, l.tickOK = l.root.at("tick"), true
	g := read(l.root, "tick", value.duration)
	if !g.set {
		return
	}
	l.tick = g.from
	const base = 5 * time.Minute
	switch d := g.value; {
	case !g.ok:
		l.tickOK = false
	case d%time.Second != 0:
		g.from.fault(slo.FormatDuration(d)+" is not in whole seconds", "30s is usual")
		l.tickOK = false
	case base%d != 0 && d%base != 0:
		g.from.fault(slo.FormatDuration(d)+" neither divides 5m nor is a multiple of it", "write 10s, 15s, 30s, 1m or 5m")
		l.tickOK = false
	case d > time.Hour:
		g.from.fault(slo.FormatDuration(d)+" is longer than 1h, so that no alert could see anything", "30s is usual")
		l.tickOK = false
	default:
		l.config.Tick = d
	}
}

func (l *loader) readGate() {
	v, ok := l.root.fields["gate"]
	if !ok {
		return
	}
	if o, ok := v.object(gateFields); ok {
		if g := read(o, "min_events", value.amount); g.ok {
			l.config.Gate.MinEvents = g.value
		}
	}
}

// pick reads the fields that every source or sink has; all others are its own.
func (v value) pick(keys []string) (object, bool) {
	o := object{v, map[string]value{}}
	if v.node.Kind != yaml.MappingNode {
		v.fault(v.shape(), "write it as fields: "+strings.Join(keys, ", ")+" and its own")
		return o, false
	}
	for _, key := range keys {
		if node := lookup(v.node, key); node != nil {
			o.fields[key] = v.child(key, node)
		}
	}
	return o, true
}

// kindOf reads the type of a source or sink.
func kindOf(o object, what string, known []string) (string, bool) {
	g := need(o, "type", "write "+either(known), value.text)
	switch {
	case !g.ok:
		return "", false
	case contains(known, g.value):
		return g.value, true
	default:
		g.from.fault(fmt.Sprintf("unknown %s type %q", what, g.value), didYouMean(g.value, known))
	}
	return "", false
}

// first notes a name and reports one that was there before.
func first(names map[string]int, what string, g given[string]) bool {
	if line, twice := names[g.value]; twice {
		g.from.fault(fmt.Sprintf("there is a %s %s already, in line %d", what, g.value, line), "choose another name")
		return false
	}
	names[g.value] = g.from.node.Line
	return true
}

func (l *loader) readSources() {
	v, ok := l.root.fields["sources"]
	if !ok {
		return
	}
	entries, _ := v.list(`sources, each beginning with "- name:"`)
	names := map[string]int{}
	common := []string{"name", "type", "delay"}
	for _, entry := range entries {
		o, ok := entry.pick(common)
		if !ok {
			continue
		}
		name := need(o, "name", "objectives call a source by its name", value.identifier)
		kind, kindOK := kindOf(o, "source", sortedKeys(l.types.Sources))
		delay := read(o, "delay", value.length)
		if !name.ok {
			continue
		}
		if !first(names, "source", name) {
			continue
		}
		l.sources[name.value] = nil
		if !kindOK {
			continue
		}
		s := Source{Name: name.value, Type: kind, Delay: l.types.Sources[kind].Delay, Line: entry.node.Line}
		s.options = newOptions(entry, common)
		switch {
		case delay.ok && delay.value > 0 && l.types.Sources[kind].Present:
			delay.from.fault("a source of type "+kind+" sees the present only, so that its answers cannot be waited for", "remove it")
		case delay.set:
			s.Delay = delay.value
		}
		l.config.Sources = append(l.config.Sources, s)
	}
	for i := range l.config.Sources {
		l.sources[l.config.Sources[i].Name] = &l.config.Sources[i]
	}
}

func (l *loader) readSinks() {
	v, ok := l.root.fields["sinks"]
	if !ok {
		return
	}
	entries, _ := v.list(`sinks, each beginning with "- name:"`)
	names := map[string]int{}
	common := []string{"name", "type"}
	for _, entry := range entries {
		o, ok := entry.pick(common)
		if !ok {
			continue
		}
		name := need(o, "name", "logs and metrics call a sink by its name", value.identifier)
		kind, kindOK := kindOf(o, "sink", l.types.Sinks)
		if name.ok && first(names, "sink", name) && kindOK {
			l.config.Sinks = append(l.config.Sinks, Sink{Name: name.value, Type: kind, Line: entry.node.Line, options: newOptions(entry, common)})
		}
	}
}

// collect takes the services and objectives of one file; objectives are read when all are known.
func (l *loader) collect(o object) {
	if v, ok := o.fields["services"]; ok {
		entries, _ := v.list(`services, each beginning with "- name:"`)
		for _, entry := range entries {
			l.readService(entry)
		}
	}
	if v, ok := o.fields["slos"]; ok {
		entries, _ := v.list(`objectives, each beginning with "- name:"`)
		for _, entry := range entries {
			if o, ok := entry.object(sloFields); ok {
				l.slos = append(l.slos, placed[object]{o, entry})
			}
		}
	}
}

func (l *loader) readService(entry value) {
	o, ok := entry.object(serviceFields)
	if !ok {
		return
	}
	var s Service
	name := need(o, "name", "objectives call a service by its name", value.identifier)
	s.Name = name.value
	s.Labels = read(o, "labels", sloLabels).value
	s.RunbookURL = read(o, "runbook_url", value.text).value
	s.Workloads = read(o, "workloads", workloads).value
	s.Engagement = read(o, "engagement", engagement).value
	if !name.ok {
		return
	}
	if before, twice := l.services[s.Name]; twice {
		name.from.fault("service "+s.Name+" is described already in "+before.from.where(name.from), "describe it once")
		return
	}
	l.services[s.Name] = placed[Service]{s, name.from}
	l.config.Services = append(l.config.Services, s)
}

// where is the place of v as seen from another: the line, and the file where it is another one.
func (v value) where(from value) string {
	if v.doc.file == from.doc.file {
		return fmt.Sprintf("line %d", v.node.Line)
	}
	return fmt.Sprintf("%s:%d", v.doc.file, v.node.Line)
}

func sloLabels(v value) (map[string]string, bool) {
	labels, ok := v.labels(append(slices.Clone(reserved), infoLabels...))
	if len(labels) == 0 {
		labels = nil
	}
	return labels, ok
}

func workloads(v value) (out []Workload, ok bool) {
	entries, ok := v.list("workloads like {namespace: shop, kind: Deployment, name: checkout}")
	for _, entry := range entries {
		o, fine := entry.object(workFields)
		if !fine {
			ok = false
			continue
		}
		const like = "write it like {namespace: shop, kind: Deployment, name: checkout}"
		namespace, kind, name := need(o, "namespace", like, value.text), need(o, "kind", like, value.text), need(o, "name", like, value.text)
		if first, size := utf8.DecodeRuneInString(kind.value); kind.ok && !unicode.IsUpper(first) {
			kind.from.warn(kind.from.quoted()+" is no kind of workload", "write it as Kubernetes does, like "+string(unicode.ToUpper(first))+kind.value[size:])
		}
		out = append(out, Workload{namespace.value, kind.value, name.value})
		ok = ok && namespace.ok && kind.ok && name.ok
	}
	return out, ok
}

func engagement(v value) (e Engagement, ok bool) {
	o, ok := v.object(engageFields)
	if ok {
		e.Level = read(o, "level", value.text).value
		e.Pager = read(o, "pager", value.text).value
	}
	return e, ok
}

// readFiles reads the files that slo_files name, relative to the configuration's own folder.
func (l *loader) readFiles(name string, v value) {
	globs, _ := v.list("files, like [slos/*.yaml]")
	seen := map[string]bool{filepath.Clean(name): true}
	for _, glob := range globs {
		pattern, ok := glob.text()
		if !ok {
			continue
		}
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(name), pattern)
		}
		l.config.Globs = append(l.config.Globs, pattern)
		files, err := l.match(pattern)
		if err != nil {
			glob.fault(glob.quoted()+" is not a pattern of file names", "write it like slos/*.yaml")
			continue
		}
		if len(files) == 0 {
			glob.warn("no file matches "+glob.quoted(), "")
		}
		slices.Sort(files)
		for _, file := range files {
			if file == filepath.Clean(name) {
				glob.fault(glob.quoted()+" matches the configuration itself", "keep the files of objectives in a folder of their own")
				continue
			}
			if seen[file] {
				continue
			}
			seen[file] = true
			data, err := l.readFile(file)
			if err != nil {
				glob.fault(file+" cannot be read", reason(err))
				continue
			}
			l.config.Files = append(l.config.Files, file)
			if o, ok := l.open(file, data, fileFields); ok {
				l.collect(o)
			}
		}
	}
}

func (l *loader) readRightsizing() {
	var clusters []string
	for _, s := range l.config.Sources {
		if l.types.Sources[s.Type].Cluster {
			clusters = append(clusters, s.Name)
		}
	}
	r := &l.config.Rightsizing
	if len(clusters) == 1 {
		r.Source = clusters[0]
	}
	v, ok := l.root.fields["rightsizing"]
	if !ok {
		if len(clusters) > 1 {
			l.root.at("rightsizing").fault("is missing, and there are several clusters", "write rightsizing: {source: "+clusters[0]+"}")
		}
		return
	}
	o, ok := v.object(rightFields)
	if !ok {
		return
	}
	source := read(o, "source", value.text)
	switch s, known := l.sources[source.value]; {
	case !source.set && len(clusters) == 0:
		o.missing("source", "add a source of type kubernetes, and name it here")
	case !source.set && len(clusters) > 1:
		o.missing("source", "write "+either(clusters))
	case !source.ok:
	case !known:
		source.from.fault(fmt.Sprintf("there is no source %q", source.value), didYouMean(source.value, clusters))
	case s == nil:
	case !l.types.Sources[s.Type].Cluster:
		source.from.fault(fmt.Sprintf("source %s of type %s knows no workloads", s.Name, s.Type), "name a source of type kubernetes")
	default:
		r.Source = s.Name
	}
	if v, ok := o.fields["helm_values"]; ok {
		entries, _ := v.list("entries such as {chart: checkout, path: resources}")
		for _, entry := range entries {
			l.readHelmValues(entry)
		}
	}
	if v, ok := o.fields["prices"]; ok {
		if o, ok := v.object(priceFields); ok {
			const like = "write it like {cpu_core_hour: 0.0506, memory_gib_hour: 0.0055, currency: USD}"
			r.Prices.CPUCoreHour = need(o, "cpu_core_hour", like, value.amount).value
			r.Prices.MemoryGiBHour = need(o, "memory_gib_hour", like, value.amount).value
			r.Prices.Currency = need(o, "currency", like, currency).value
		}
	}
}

func (l *loader) readHelmValues(entry value) {
	o, ok := entry.object(helmFields)
	if !ok {
		return
	}
	const like = "write it like {chart: checkout, path: resources}"
	var one HelmValues
	chart, path := need(o, "chart", like, value.text), need(o, "path", like, valuesPath)
	one.Chart, one.Path = chart.value, path.value
	one.Workload = read(o, "workload", value.text).value
	one.Container = read(o, "container", value.text).value
	if !chart.ok || !path.ok {
		return
	}
	for _, other := range l.config.Rightsizing.HelmValues {
		if other.Chart == one.Chart && other.Workload == one.Workload && other.Container == one.Container {
			entry.fault("there is an entry for the same containers of chart "+one.Chart+" already, with the path "+other.Path, "keep one of them, or name a workload or container")
			return
		}
	}
	l.config.Rightsizing.HelmValues = append(l.config.Rightsizing.HelmValues, one)
}

// valuesPath reads the path of a mapping in a chart's values.
func valuesPath(v value) (string, bool) {
	s, ok := v.text()
	if ok && slices.ContainsFunc(strings.Split(s, "."), func(key string) bool { return key == "" || strings.ContainsAny(key, " []{}") }) {
		v.fault(v.quoted()+" is no path of a mapping in a chart's values", "write keys with dots between them, like api.resources")
		return "", false
	}
	return s, ok
}

func currency(v value) (string, bool) {
	s, ok := v.text()
	if ok && (len(s) != 3 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		v.fault(v.quoted()+" is no currency", "write three letters, like USD")
		return "", false
	}
	return s, ok
}

// checkWhole looks for what only shows when everything is read.
func (l *loader) checkWhole() {
	if len(l.faults) > 0 {
		return // half of it is missing, so what is left over says nothing
	}
	c := l.config
	l.warnOfNeeds()
	asked := map[string]bool{c.Rightsizing.Source: true}
	for _, q := range c.Questions {
		asked[q.Source] = true
	}
	if len(c.Objectives) == 0 && c.Rightsizing.Source == "" {
		l.root.warn("there is nothing to do, neither slos nor a source of type kubernetes", "")
		return
	}
	for i, s := range c.Sources {
		if !asked[s.Name] {
			c.Sources[i].entry.warn("no objective asks this source", "remove it, or name it as the source of an objective")
		}
	}
}
