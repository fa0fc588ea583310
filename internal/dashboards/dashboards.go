// Package dashboards writes what others draw: dashboards over the series that yoyu publishes.
//
//	the vocabulary (sinks) ──▶ panels with their queries ──▶ JSON, one file for each dashboard
//
// It promises that a query names nothing that yoyu does not publish: a panel about a family that
// the vocabulary does not hold is left out. Two replicas of yoyu say the same thing twice, so every
// query takes the maximum without the labels that tell them apart before it adds anything up. It
// is text out: nobody is talked to, and equal options write equal bytes.
package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/yoyu-sre/yoyu/sinks"
)

// File is one dashboard as a file.
type File struct {
	Name string // "yoyu-overview.json"
	JSON []byte // with a line's end at its end
}

// Options are what dashboards are written for.
type Options struct {
	// ExternalURL is where people reach yoyu, without a slash at its end: links to /explain begin
	// with it. It is the default of a variable, so that one dashboard serves several yoyus.
	ExternalURL string

	// Sent are the families that Datadog gets; nil: those of the sink's preset standard.
	Sent []*sinks.Family

	// Severities are those of the alert policies in use, for Datadog's dashboards; nil: page and ticket,
	// those of the built-in one.
	Severities []string
}

// DefaultURL is where yoyu is reached on the machine that it runs on.
const DefaultURL = "http://localhost:9912"

// Grafana are the dashboards for Grafana, over a Prometheus that scrapes yoyu with honor_labels.
func Grafana(o Options) ([]File, error) {
	if o.ExternalURL == "" {
		o.ExternalURL = DefaultURL
	}
	var out []File
	for _, d := range grafana(o) {
		var text bytes.Buffer
		to := json.NewEncoder(&text)
		to.SetEscapeHTML(false) // ">" is a comparison in a query, and is read by people
		to.SetIndent("", "  ")
		if err := to.Encode(d.json()); err != nil {
			return nil, fmt.Errorf("dashboard %s: %w", d.uid, err)
		}
		out = append(out, File{Name: d.uid + ".json", JSON: text.Bytes()})
	}
	return out, nil
}

// Query is what a panel asks.
type Query struct {
	Dashboard string // "yoyu-overview"
	Panel     string // its title
	Expr      string // PromQL, with an example in place of each variable of Grafana
}

// example stands in for Grafana, which fills its variables in.
var example = strings.NewReplacer(
	"$__rate_interval", "5m", "$__range", "1h", "$slo", "it", "$service", ".*", "$team", ".*", "$instance", ".*")

// Queries are those of all dashboards for Grafana: what must be published for no panel to stay empty.
func Queries() []Query {
	var out []Query
	for _, d := range grafana(Options{ExternalURL: DefaultURL}) {
		for _, p := range d.panels {
			if !p.published() {
				continue
			}
			for _, q := range p.queries {
				out = append(out, Query{d.uid, p.title, example.Replace(q.expr)})
			}
		}
	}
	return out
}

func grafana(o Options) []*dashboard {
	return []*dashboard{overview(o), detail(o), rightsizing(o), health(o)}
}

// named are the families of the vocabulary that a query may name.
var named = regexp.MustCompile(`\b(slo|vpa|rightsizing)_[a-z0-9_]+`)

// published reports whether the vocabulary holds every family that a query names.
func published(query string) bool {
	for _, name := range named.FindAllString(query, -1) {
		found := false
		for _, f := range sinks.Families {
			found = found || f.Name == name
		}
		if !found {
			return false
		}
	}
	return true
}
