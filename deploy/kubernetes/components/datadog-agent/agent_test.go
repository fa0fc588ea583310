// Package agent writes the annotation by which the Datadog Agent scrapes yoyu, and holds it to what
// the sink would send.
package agent

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/datadog"
	"github.com/yoyu-sre/yoyu/sinks/prom"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	fake "github.com/yoyu-sre/yoyu/test/datadog"
)

var update = flag.Bool("update", false, "write statefulset.yaml anew")

// file is the patch, and annotation its key: after the slash stands the name of the container.
const (
	file       = "statefulset.yaml"
	annotation = "ad.datadoghq.com/yoyu.checks"
)

// check is what the Agent is told of one check. Its own tags are about the pod that yoyu runs in, not
// about what yoyu speaks of.
type check struct {
	InitConfig struct{}   `json:"init_config"`
	Ignore     bool       `json:"ignore_autodiscovery_tags"`
	Instances  []instance `json:"instances"`
}

// instance is one scrape of the check: all names in Datadog begin with its namespace.
type instance struct {
	Endpoint     string                `json:"openmetrics_endpoint"`
	Namespace    string                `json:"namespace"`
	Metrics      []map[string]string   `json:"metrics"`             // names on the page, and after the namespace
	Share        map[string]sharedWith `json:"share_labels"`        // by the name of the info
	Cache        bool                  `json:"cache_shared_labels"` // the first scrape's for ever
	Rename       map[string]string     `json:"rename_labels"`
	Tags         []string              `json:"tags"`
	ByEndpoint   bool                  `json:"tag_by_endpoint"`
	NoHost       bool                  `json:"empty_default_hostname"` // a host multiplies custom metrics
	Most         int                   `json:"max_returned_metrics"`
	EverySeconds int                   `json:"min_collection_interval"`
}

// sharedWith says which labels of an info others get, that are like it in those of match.
type sharedWith struct {
	Match  []string `json:"match"`
	Labels []string `json:"labels"`
}

// written is the check for all gauges of the vocabulary.
func written() map[string]check {
	out := check{Ignore: true}
	for _, one := range []instance{
		{Namespace: "slo", Share: map[string]sharedWith{sinks.SLOInfo.Name: {[]string{"slo"}, []string{"team", "tier"}}},
			// A group's own label of these names is one to the sink, too: theirs are for people.
			Rename: map[string]string{"version": "group_version", "runbook_url": "group_runbook_url"}},
		{Namespace: "vpa"}, {Namespace: "rightsizing"},
	} {
		if one.Namespace != "slo" {
			one.Share = map[string]sharedWith{sinks.WorkloadInfo.Name: {[]string{"namespace", "workload_kind", "workload"}, []string{"service"}}}
			one.Rename = map[string]string{
				"namespace": "kube_namespace", "container": "kube_container_name", "vpa": "verticalpodautoscaler",
				"workload_kind": "kube_ownerref_kind", "workload": "kube_ownerref_name",
			}
		}
		for _, f := range datadog.Full.Families() {
			if rest, ours := strings.CutPrefix(f.Dotted(), one.Namespace+"."); ours {
				one.Metrics = append(one.Metrics, map[string]string{f.Name: rest})
			}
		}
		one.Endpoint, one.Tags, one.NoHost, one.Most, one.EverySeconds = "http://%%host%%:9912/metrics", []string{"env:prod"}, true, 50_000, 30
		out.Instances = append(out.Instances, one)
	}
	return map[string]check{"openmetrics": out}
}

// The patch is what this test writes.
func TestAnnotationIsWritten(t *testing.T) {
	var text strings.Builder
	in := json.NewEncoder(&text)
	in.SetIndent("", "  ")
	in.SetEscapeHTML(false)
	if err := in.Encode(written()); err != nil {
		t.Fatal(err)
	}
	// Names stand a line each.
	short := regexp.MustCompile(`\{\s+("[a-z_]+": "[a-z_]+")\s+\}`).ReplaceAllString(text.String(), `{$1}`)
	var patch strings.Builder
	patch.WriteString("# Written by go test ./deploy/kubernetes/components/datadog-agent -update; README.md says what to change.\n" +
		"apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: yoyu\nspec:\n  template:\n    metadata:\n      annotations:\n        # The word before .checks is the name of the container.\n        " + annotation + ": |\n")
	for line := range strings.Lines(short) {
		patch.WriteString("          " + line)
	}
	if *update {
		if err := os.WriteFile(file, []byte(patch.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != patch.String() {
		t.Errorf("%s is not what is written, %v: go test . -update", file, err)
	}
}

// shipped is the annotation as it is in the patch.
func shipped(t *testing.T) check {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var patch struct {
		Spec struct {
			Template struct {
				Metadata struct{ Annotations map[string]string }
			}
		}
	}
	if err := yaml.Unmarshal(text, &patch); err != nil {
		t.Fatal(err)
	}
	in := json.NewDecoder(strings.NewReader(patch.Spec.Template.Metadata.Annotations[annotation]))
	in.DisallowUnknownFields()
	var all map[string]check
	if err := in.Decode(&all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || len(all["openmetrics"].Instances) != 3 {
		t.Fatalf("the annotation holds %v", all)
	}
	return all["openmetrics"]
}

// page is what a scrape of a report shows.
func page(t *testing.T, r *sinks.Report) map[string]*dto.MetricFamily {
	t.Helper()
	s := prom.New(prom.Options{Selection: sinks.Selection{AllWindows: true}})
	if err := s.Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler(prometheus.NewRegistry(), prom.HandlerOptions{}))
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/plain") // as the Agent asks
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// collect is what the Agent makes of a page by one instance, in the order of its own code: labels
// that are shared, those that are renamed, the instance's tags.
func (in instance) collect(page map[string]*dto.MetricFamily, each func(name string, tags []string, value float64)) {
	type set struct{ match, shared map[string]string }
	var sets []set
	for name, with := range in.Share {
		for _, m := range page[name].GetMetric() {
			one := set{map[string]string{}, map[string]string{}}
			for _, l := range m.GetLabel() {
				if slices.Contains(with.Match, l.GetName()) {
					one.match[l.GetName()] = l.GetValue()
				}
				if slices.Contains(with.Labels, l.GetName()) {
					one.shared[l.GetName()] = l.GetValue()
				}
			}
			sets = append(sets, one)
		}
	}
	for _, pair := range in.Metrics {
		for name, rest := range pair {
			for _, m := range page[name].GetMetric() {
				labels := map[string]string{}
				for _, l := range m.GetLabel() {
					labels[l.GetName()] = l.GetValue()
				}
				own := make(map[string]string, len(labels))
				for k, v := range labels {
					own[k] = v
				}
				for _, s := range sets {
					fits := true
					for k, v := range s.match {
						fits = fits && own[k] == v
					}
					if fits {
						for k, v := range s.shared {
							labels[k] = v
						}
					}
				}
				tags := slices.Clone(in.Tags)
				for k, v := range labels {
					if to, ok := in.Rename[k]; ok {
						k = to
					}
					tags = append(tags, k+":"+v)
				}
				each(in.Namespace+"."+rest, tags, m.GetGauge().GetValue())
			}
		}
	}
}

// What the Agent makes of a page and what the sink sends of the same report are the same series with
// the same values, but for what the page cannot say; workloads are called by their kind in the sink's tags, and by two tags here.
func TestAgentAndSinkSendTheSame(t *testing.T) {
	then := sinktest.Time
	defer func() { sinktest.Time = then }()
	sinktest.Time = time.Now().Truncate(time.Minute)
	r := sinktest.Report()
	grouped := sinktest.Objective("by-version", "search", "99", r.SLOs[0].Objective.Period)
	grouped.GroupBy = []string{"version"}
	for _, version := range []string{"1.2", "1.3"} {
		r.SLOs = append(r.SLOs, sinktest.Status(grouped, []string{version}, map[string]sinktest.Counts{"1h": {Total: 100, Bad: 1, Coverage: 1}}))
	}

	d := fake.New(fake.Options{Clock: time.Now})
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(fake.APIKey), 0o600); err != nil {
		t.Fatal(err)
	}
	sink, err := datadog.New(datadog.Options{Config: datadog.Config{APIKeyFile: key, Metrics: datadog.Full, Tags: []string{"env:prod"}}, Transport: d.Transport()})
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := stored(d, func(name, tag string) []string {
		if name == sinks.VPACheckpoint.Dotted() && strings.HasPrefix(tag, "service:") {
			return nil // a checkpoint is of a VPA: no label of its leads to a workload, and so to a service
		}
		if name, ok := strings.CutPrefix(tag, "kube_deployment:"); ok {
			return []string{"kube_ownerref_kind:deployment", "kube_ownerref_name:" + name}
		}
		return []string{tag}
	})

	agent := fake.New(fake.Options{Clock: time.Now})
	families := page(t, r)
	sent := 0
	for _, in := range shipped(t).Instances {
		in.collect(families, func(name string, tags []string, value float64) {
			sent++
			agent.Seed(fake.Metric{Name: name, Tags: tags}, fake.Point{At: r.Time, Value: value})
		})
	}
	have := stored(agent, func(_, tag string) []string { return []string{tag} })
	if len(have) != sent {
		t.Errorf("%d samples become %d series", sent, len(have))
	}
	for series, value := range want {
		if got, ok := have[series]; !ok || got != value {
			t.Errorf("the sink sends %s %g, the Agent %g (%v)", series, value, got, ok)
		}
	}
	for series := range have {
		if _, ok := want[series]; !ok {
			t.Errorf("the Agent sends %s, the sink does not", series)
		}
	}
	if len(want) < 100 {
		t.Errorf("only %d series were compared", len(want))
	}
}

func stored(d *fake.Datadog, translate func(name, tag string) []string) map[string]float64 {
	out := map[string]float64{}
	for _, s := range d.Stored() {
		var tags []string
		for _, tag := range s.Tags {
			tags = append(tags, translate(s.Name, tag)...)
		}
		slices.Sort(tags)
		out[fmt.Sprintf("%s{%s}", s.Name, strings.Join(tags, ","))] = s.Points[len(s.Points)-1].Value
	}
	return out
}

// Every family of the sink's full preset is mapped once, to its name in Datadog, and nothing else is;
// and what would cost or lose without a word is said in every instance.
func TestEveryFamilyIsMapped(t *testing.T) {
	c := shipped(t)
	mapped := map[string]string{}
	for _, in := range c.Instances {
		for _, pair := range in.Metrics {
			for name, rest := range pair {
				if mapped[name] != "" {
					t.Errorf("%s is mapped twice", name)
				}
				if regexp.QuoteMeta(name) != name {
					t.Errorf("%s is a pattern to the Agent", name)
				}
				mapped[name] = in.Namespace + "." + rest
			}
		}
		if in.Cache || in.ByEndpoint || !in.NoHost || in.Most < 10_000 || in.EverySeconds != 30 || in.Endpoint != "http://%%host%%:9912/metrics" || !slices.Contains(in.Tags, "env:prod") {
			t.Errorf("instance %+v", in)
		}
	}
	if !c.Ignore {
		t.Error("the tags of yoyu's pod would be on the series")
	}
	for _, f := range datadog.Full.Families() {
		if mapped[f.Name] != f.Dotted() {
			t.Errorf("%s is mapped to %q, the sink calls it %s", f.Name, mapped[f.Name], f.Dotted())
		}
		delete(mapped, f.Name)
	}
	if len(mapped) > 0 {
		t.Errorf("mapped and not sent by the sink: %v", mapped)
	}
}

// The annotation names the container and the port of the base, and no configuration that goes with
// it has a sink of type datadog.
func TestFitsTheBase(t *testing.T) {
	const base = "../../base"
	text, err := os.ReadFile(filepath.Join(base, "statefulset.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Metadata struct{ Name string }
		Spec     struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Name  string
						Ports []struct {
							ContainerPort int `yaml:"containerPort"`
						}
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	one := set.Spec.Template.Spec.Containers[0]
	if set.Metadata.Name != "yoyu" || annotation != "ad.datadoghq.com/"+one.Name+".checks" || one.Ports[0].ContainerPort != 9912 {
		t.Errorf("the base's container is %+v of %s", one, set.Metadata.Name)
	}
	config, err := os.ReadFile(filepath.Join(base, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Sinks []struct{ Type string } }
	if err := yaml.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Sinks {
		if s.Type == "datadog" {
			t.Error("the base sends to Datadog by itself")
		}
	}
}
