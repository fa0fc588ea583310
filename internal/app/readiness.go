package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/internal/pipeline"
	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

func addReadiness(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("readiness", "Print for every service what it has of what production needs: an objective, an alert that can fire, a runbook, an owner, an engagement with a pager, data, a VPA, requests and limits. Exit 1 when something is missing.")
	file := c.Flag("config.file", "Configuration file.").Default("config.yaml").String()
	offline := c.Flag("offline", "Look at the configuration alone: data, VPAs and requests are unknown then.").Bool()
	output := c.Flag("output", "How to print.").Short('o').Default("table").Enum("table", "json")
	return "readiness", func(ctx context.Context) error { return p.readiness(ctx, *file, *offline, *output == "json") }
}

func (p *process) readiness(ctx context.Context, file string, offline, asJSON bool) error {
	c, err := loadConfig(p, file)
	if err != nil {
		return err
	}
	var report *sinks.Report
	clusters := 0
	if !offline {
		if report, clusters, err = p.lookOnce(ctx, c); err != nil {
			return err
		}
	}
	all := readyServices(c, report, clusters > 0)
	if asJSON {
		out := json.NewEncoder(p.stdout)
		out.SetIndent("", "  ")
		answer := sinks.JSONReadiness{Services: all}
		if report != nil {
			at := report.Time.UTC()
			answer.Time = &at
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	} else if err := writeReadiness(p.stdout, all); err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(r sinks.ServiceReadiness) bool { return !r.Ready }) {
		return exit(exitFault)
	}
	return nil
}

// lookOnce asks sources and clusters once, an hour back. What does not answer is said on stderr, and
// is then without data.
func (p *process) lookOnce(ctx context.Context, c *config.Config) (*sinks.Report, int, error) {
	parts, err := assemble(c, nil, partOptions{log: p.log})
	if err != nil {
		return nil, 0, err
	}
	engine, err := newEngine(c)
	if err != nil {
		return nil, 0, err
	}
	for i := range parts.lanes {
		parts.lanes[i].Backfill = min(parts.lanes[i].Backfill, time.Hour)
	}
	line := pipeline.New(pipeline.Options{Engine: engine, Lanes: parts.lanes})
	now := time.Now()
	if filling := line.Backfill(ctx, now, func(_, _ time.Duration) {}); filling != nil {
		fmt.Fprintf(p.stderr, "yoyu: not everything was answered:\n%v\n", filling)
	}
	if err := line.Tick(ctx, now); err != nil {
		return nil, 0, err
	}
	report := *line.Report()
	for _, source := range parts.workloads {
		found, err := source.Collect(ctx, slo.Span{From: now, To: now})
		if err != nil {
			return nil, 0, fmt.Errorf("source %s: %w", source.Name(), err)
		}
		report.Workloads = append(report.Workloads, found...)
	}
	judge(c, rightsizing.NewMemory())(&report)
	return &report, len(parts.workloads), nil
}

// ready is the same look at the newest report of the daemon; ok is false before it has a
// configuration. A cluster that has not answered yet is none that was asked.
func (d *daemon) ready(report *sinks.Report) (all []sinks.ServiceReadiness, ok bool) {
	c := d.present.Load()
	if c == nil {
		return nil, false
	}
	cluster := c.Rightsizing.Source != "" &&
		gathered(d.registry).value("yoyu_source_last_success_timestamp_seconds", "source", c.Rightsizing.Source) > 0
	return readyServices(c, report, cluster), true
}

// readyServices looks at every service of a configuration, those that only SLOs name among them. A nil
// report is that of a look at the configuration alone.
func readyServices(c *config.Config, report *sinks.Report, cluster bool) []sinks.ServiceReadiness {
	services := map[string]config.Service{}
	for _, o := range c.Objectives {
		services[o.Service] = config.Service{Name: o.Service}
	}
	for _, s := range c.Services {
		services[s.Name] = s
	}
	out := make([]sinks.ServiceReadiness, 0, len(services))
	for _, s := range services {
		r := sinks.ServiceReadiness{Service: s.Name, Ready: true}
		r.Checks = append(r.Checks, ofConfiguration(c, s)...)
		r.Checks = append(r.Checks, ofData(s.Name, report))
		r.Checks = append(r.Checks, ofWorkloads(s.Name, report, cluster)...)
		for _, one := range r.Checks {
			r.Ready = r.Ready && one.State != sinks.ReadinessMissing
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b sinks.ServiceReadiness) int { return cmp.Compare(a.Service, b.Service) })
	return out
}

// found is a check whose answer is known.
func found(check string, ok bool, is, missing string) sinks.ReadinessCheck {
	if ok {
		return sinks.ReadinessCheck{Check: check, State: sinks.ReadinessOK, Text: is}
	}
	return sinks.ReadinessCheck{Check: check, State: sinks.ReadinessMissing, Text: missing}
}

// ofConfiguration is what the configuration itself says.
func ofConfiguration(c *config.Config, s config.Service) []sinks.ReadinessCheck {
	var names, silent, without, ownerless []string
	owner := cmp.Or(s.Labels["team"], s.Labels["owner"])
	for i := range c.Objectives {
		o := &c.Objectives[i]
		if o.Service != s.Name {
			continue
		}
		names = append(names, o.Name)
		if !canFire(o) {
			silent = append(silent, o.Name)
		}
		if o.RunbookURL == "" {
			without = append(without, o.Name)
		}
		own := cmp.Or(o.Labels["team"], o.Labels["owner"])
		if own == "" && owner == "" {
			ownerless = append(ownerless, o.Name)
		}
		owner = cmp.Or(owner, own)
	}
	list := func(all []string) string { return strings.Join(all, ", ") }
	some := len(names) > 0
	alert, runbook := "there is no SLO to alert on", "there is no SLO and no runbook_url: write one under the service"
	if some {
		alert = "of " + list(silent) + " no alert can ever fire: even if every request fails, it burns more slowly than the policy asks"
		runbook = "of " + list(without) + " there is none: write runbook_url under the service"
	}
	return []sinks.ReadinessCheck{
		found("objective", some, list(names), "there is no SLO: write one under slos"),
		found("alert", some && len(silent) == 0, "every SLO can page or open a ticket", alert),
		found("runbook", s.RunbookURL != "" || some && len(without) == 0, "every alert carries one", runbook),
		found("owner", owner != "" && len(ownerless) == 0, owner, "nobody's: write labels: {team: …} under the service"),
		found("engagement", s.Engagement.Level != "" && s.Engagement.Pager != "", s.Engagement.Level+", "+s.Engagement.Pager+" is paged",
			"write engagement: {level: …, pager: …} under the service"),
	}
}

// canFire reports whether an objective has an alert whose factor can be reached at all: with every
// event bad, the burn rate is 1/(1−objective) (SRE Workbook, ch. 5).
func canFire(o *slo.Objective) bool {
	for _, severity := range o.Policy.Severities {
		for _, pair := range severity.Pairs {
			if slo.Reachable(pair.Factor, o.Target) {
				return true
			}
		}
	}
	return false
}

// ofData is whether every SLO of a service was answered for.
func ofData(service string, report *sinks.Report) sinks.ReadinessCheck {
	if report == nil {
		return sinks.ReadinessCheck{Check: "data", State: sinks.ReadinessUnknown, Text: "nobody was asked"}
	}
	answered, asked := map[string]bool{}, []string{}
	for i := range report.SLOs {
		st := &report.SLOs[i]
		if st.Objective.Service != service {
			continue
		}
		if !slices.Contains(asked, st.Objective.Name) {
			asked = append(asked, st.Objective.Name)
		}
		for _, w := range st.Windows { // the period of a daemon holds what long ago was counted
			if !w.IsPeriod && w.Length <= time.Hour && w.Total > 0 {
				answered[st.Objective.Name] = true
			}
		}
	}
	var dark []string
	for _, name := range asked {
		if !answered[name] {
			dark = append(dark, name)
		}
	}
	return found("data", len(asked) > 0 && len(dark) == 0, "every SLO has counted events within the last hour",
		cmp.Or(strings.Join(dark, ", "), "no SLO")+" has counted nothing within the last hour: yoyu check --live says why")
}

// ofWorkloads is whether what runs a service says what it needs.
func ofWorkloads(service string, report *sinks.Report, cluster bool) []sinks.ReadinessCheck {
	if report == nil || !cluster {
		return []sinks.ReadinessCheck{
			{Check: "vpa", State: sinks.ReadinessUnknown, Text: "no cluster was asked"},
			{Check: "resources", State: sinks.ReadinessUnknown, Text: "no cluster was asked"},
		}
	}
	var names, bare []string
	for i := range report.Workloads {
		w := &report.Workloads[i]
		if !slices.Contains(w.Services, service) || w.VPA == "" {
			continue
		}
		names = append(names, w.Kind+" "+w.Namespace+"/"+w.Name)
		for _, c := range w.Containers {
			if c.Place != rightsizing.Main {
				continue
			}
			if !c.CPU.Request.Defined || !c.Memory.Request.Defined || !c.Memory.Limit.Defined || c.CPU.Defaulted || c.Memory.Defaulted {
				bare = append(bare, w.Namespace+"/"+w.Name+" "+c.Name)
			}
		}
	}
	slices.Sort(names)
	slices.Sort(bare)
	return []sinks.ReadinessCheck{
		found("vpa", len(names) > 0, strings.Join(names, ", "), "no VerticalPodAutoscaler watches a workload of it: workloads of the service, or their labels, say which are its own"),
		found("resources", len(names) > 0 && len(bare) == 0, "requests of cpu and memory and a limit of memory are written",
			cmp.Or(strings.Join(bare, ", "), "no workload that is known")+": write requests of cpu and memory and a limit of memory"),
	}
}

// writeReadiness prints a line a service and then what is missing.
func writeReadiness(w io.Writer, all []sinks.ServiceReadiness) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, r := range all {
		if i == 0 {
			fmt.Fprint(table, "SERVICE\tREADY")
			for _, c := range r.Checks {
				fmt.Fprint(table, "\t"+strings.ToUpper(c.Check))
			}
			fmt.Fprintln(table)
		}
		yes := "no"
		if r.Ready {
			yes = "yes"
		}
		fmt.Fprint(table, r.Service+"\t"+yes)
		for _, c := range r.Checks {
			fmt.Fprint(table, "\t"+string(c.State))
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range all {
		for _, c := range r.Checks {
			if c.State == sinks.ReadinessMissing {
				fmt.Fprintf(w, "%s: %s: %s\n", r.Service, c.Check, c.Text)
			}
		}
	}
	return nil
}
