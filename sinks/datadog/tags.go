package datadog

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yoyu-sre/yoyu/sinks"
)

// tagger gives points their tags.
//
// A key comes once: what tells the point apart (slo, service, group, window, severity) wins over
// env, that over the SLO's own labels, and these over the sink's other tags. Tags beyond what a
// series may have are left out in the opposite order.
type tagger struct {
	env    string // "env:prod", or ""
	common []tag  // the sink's other tags
}

// tag is a key and a value, both as Datadog stores them.
type tag struct{ key, value string }

// maxTag is the length from which on Datadog cuts tags off, in bytes; maxTags is how many a series
// may have: with more it is lost without a word.
const (
	maxTag  = 200
	maxTags = 100
)

// unwanted are keys that no tag has: version would start new series with every release, and a
// runbook's address is for people.
var unwanted = map[string]bool{"version": true, "runbook_url": true}

// workloadKeys are the keys by which Datadog's own series of a cluster go.
var workloadKeys = map[string]string{
	"Deployment":  "kube_deployment",
	"StatefulSet": "kube_stateful_set",
	"DaemonSet":   "kube_daemon_set",
	"ReplicaSet":  "kube_replica_set",
	"CronJob":     "kube_cronjob",
	"Job":         "kube_job",
}

// newTagger orders the tags that all points share: configured ones, then env from the
// environment, then external labels.
func newTagger(configured []string, env string, external map[string]string) tagger {
	var t tagger
	have := map[string]bool{}
	add := func(key, value string) {
		made := newTag(key, value)
		if made.value == "" || have[made.key] {
			return
		}
		have[made.key] = true
		if made.key == "env" {
			t.env = made.value
		} else {
			t.common = append(t.common, made)
		}
	}
	for _, pair := range configured {
		key, value, _ := strings.Cut(pair, ":")
		add(key, value)
	}
	add("env", env)
	for _, key := range slices.Sorted(maps.Keys(external)) {
		add(key, external[key])
	}
	return t
}

// tags are the tags of one point, sorted.
func (t tagger) tags(p sinks.Point) []string {
	out := make([]string, 0, len(p.Labels)+len(t.common)+4)
	keys := make([]string, 0, cap(out))
	add := func(made tag) bool {
		if made.value == "" || len(out) == maxTags || slices.Contains(keys, made.key) {
			return false
		}
		keys = append(keys, made.key)
		out = append(out, made.key+":"+made.value)
		return true
	}
	for _, l := range p.Labels {
		key, value := workloadTag(p, l)
		if unwanted[tagKey(key)] {
			key = "group_" + key // a group's own label: without it groups would be one
		}
		add(newTag(key, value))
	}
	if w := p.Workload; w != nil {
		if workloadKeys[w.Kind] == "" {
			add(newTag("kube_ownerref_kind", w.Kind))
		}
		// One workload may serve several services: a key may have several values.
		for i, service := range w.Services {
			if made := newTag("service", service); made.value != "" && len(out) < maxTags && !slices.Contains(w.Services[:i], service) {
				keys = append(keys, made.key)
				out = append(out, made.key+":"+made.value)
			}
		}
	}
	if t.env != "" {
		add(tag{"env", t.env})
	}
	if p.Status != nil {
		for _, name := range slices.Sorted(maps.Keys(p.Status.Objective.Labels)) {
			add(newTag(name, p.Status.Objective.Labels[name]))
		}
	}
	for _, made := range t.common {
		add(made)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// workloadTag translates the labels of workloads to the keys of Datadog's own series.
func workloadTag(p sinks.Point, l sinks.Label) (key, value string) {
	if p.Workload == nil {
		return l.Name, l.Value
	}
	switch l.Name {
	case "namespace":
		return "kube_namespace", l.Value
	case "workload":
		if key := workloadKeys[p.Workload.Kind]; key != "" {
			return key, l.Value
		}
		return "kube_ownerref_name", l.Value
	case "workload_kind":
		return "", "" // the key of the workload says it
	case "container":
		return "kube_container_name", l.Value
	case "vpa":
		return "verticalpodautoscaler", l.Value
	}
	return l.Name, l.Value
}

// newTag normalises a tag as Datadog does when it stores one, so that what is looked for later is
// what was sent: lower case; letters, digits and _ - : . /, all else an underscore; at most 200
// bytes, no colon at the end. Letters of other scripts stay: two routes must not become one. A tag
// without key or value, or with an unwanted key, comes back empty.
func newTag(key, value string) tag {
	key = tagKey(key)
	if key == "" || unwanted[key] {
		return tag{}
	}
	value = strings.TrimSpace(value)
	if value == "" {
		return tag{}
	}
	value = normalise(value)
	if room := maxTag - len(key) - 1; len(value) > room {
		for room > 0 && !utf8.RuneStart(value[room]) {
			room--
		}
		value = value[:max(0, room)]
	}
	value = strings.TrimRight(value, ":")
	if value == "" {
		return tag{}
	}
	return tag{key, value}
}

// tagKey normalises a key: it starts with a letter and holds no colon.
func tagKey(key string) string {
	key = strings.TrimLeftFunc(normalise(strings.TrimSpace(key)), func(r rune) bool { return !unicode.IsLetter(r) })
	return strings.ReplaceAll(key, ":", "_")
}

func normalise(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '_'
		case unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		case strings.ContainsRune("_-:./", r):
			return r
		}
		return '_'
	}, text)
}
