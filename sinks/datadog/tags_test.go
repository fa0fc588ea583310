package datadog

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

func TestTagsAreNormalised(t *testing.T) {
	for _, c := range []struct{ name, key, value, want string }{
		{"as it should be", "slo", "checkout-availability", "slo:checkout-availability"},
		{"lower case", "Team", "Payments", "team:payments"},
		{"a path stays a path", "route", "/v1/items/:id", "route:/v1/items/:id"},
		{"what is not allowed becomes an underscore", "route", `GET /a?b="c", d`, "route:get_/a_b__c___d"},
		{"letters of other scripts stay", "route", "/カート/Zürich", "route:/カート/zürich"},
		{"broken UTF-8", "route", "/a\xff", "route:/a_"},
		{"no colon at the end", "route", "a::", "route:a"},
		{"nothing but colons", "route", "::", ""},
		{"no value", "route", "  ", ""},
		{"no key", "", "a", ""},
		{"a key starts with a letter", "_1zone", "a", "zone:a"},
		{"a key without a letter", "42", "a", ""},
		{"a colon in a key would move the value", "a:b", "c", "a_b:c"},
		{"at most 200 bytes", "k", strings.Repeat("a", 300), "k:" + strings.Repeat("a", 198)},
		{"cut between letters", "k", strings.Repeat("ö", 300), "k:" + strings.Repeat("ö", 99)},
		{"a key that leaves no room", strings.Repeat("k", 250), "a", ""},
		{"never a version", "Version", "1.2.3", ""},
		{"never a runbook", "runbook_url", "https://runbooks", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := newTag(c.key, c.value)
			text := ""
			if got != (tag{}) {
				text = got.key + ":" + got.value
			}
			if text != c.want {
				t.Errorf("got %q, want %q", text, c.want)
			}
		})
	}
}

// Every key comes once, and the nearest to the point wins.
func TestPrecedenceOfTags(t *testing.T) {
	plain := []string(nil)
	for _, c := range []struct {
		name     string
		tags     []string          // of the sink
		env      string            // DD_ENV
		external map[string]string // external_labels
		labels   map[string]string // of the SLO
		groupBy  []string
		group    []string
		want     string
	}{
		{"nothing but the SLO", plain, "", nil, nil, nil, nil, "service:shop slo:a"},
		{"env of the process", plain, "prod", nil, nil, nil, nil, "env:prod service:shop slo:a"},
		{"env of the sink goes before that of the process", []string{"env:stage"}, "prod", nil, nil, nil, nil, "env:stage service:shop slo:a"},
		{"and before that of the SLO", []string{"env:stage"}, "", nil, map[string]string{"env": "test"}, nil, nil, "env:stage service:shop slo:a"},
		{"but a group is itself", []string{"env:stage"}, "", nil, nil, []string{"env"}, []string{"test"}, "env:test service:shop slo:a"},
		{"labels of the SLO", plain, "", nil, map[string]string{"team": "Pay", "tier": "1"}, nil, nil, "service:shop slo:a team:pay tier:1"},
		{"the SLO's own go before the sink's", []string{"team:sre", "cluster:tokyo"}, "", nil, map[string]string{"team": "pay"}, nil, nil, "cluster:tokyo service:shop slo:a team:pay"},
		{"the sink's go before external labels", []string{"cluster:tokyo"}, "", map[string]string{"cluster": "osaka", "region": "jp"}, nil, nil, nil, "cluster:tokyo region:jp service:shop slo:a"},
		{"external labels may say the env", plain, "", map[string]string{"env": "prod"}, nil, nil, nil, "env:prod service:shop slo:a"},
		{"nobody renames the SLO or its service", []string{"slo:x", "service:yoyu"}, "", nil, map[string]string{"service": "z"}, nil, nil, "service:shop slo:a"},
		{"versions and runbooks are left out", plain, "", map[string]string{"version": "2"}, map[string]string{"version": "1", "runbook_url": "x"}, nil, nil, "service:shop slo:a"},
		{"groups by version stay apart", plain, "", nil, nil, []string{"version"}, []string{"1.2"}, "group_version:1.2 service:shop slo:a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := sinktest.Objective("a", "shop", "99", slo.RollingPeriod(30*slo.Day))
			o.Labels, o.GroupBy = c.labels, c.groupBy
			r := &sinks.Report{SLOs: []slo.Status{sinktest.Status(o, c.group, nil)}}
			tagger := newTagger(c.tags, c.env, c.external)
			for p := range r.Points(sinks.Selection{Families: []*sinks.Family{sinks.SLORemainingRatio}}) {
				if got := strings.Join(tagger.tags(p), " "); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
			}
		})
	}
}

// Tags of workloads are those of Datadog's own series of a cluster.
func TestWorkloadTags(t *testing.T) {
	for _, c := range []struct {
		kind     string
		services []string
		want     string
	}{
		{"Deployment", []string{"shop"}, "kube_deployment:w kube_namespace:n service:shop"},
		{"StatefulSet", nil, "kube_namespace:n kube_stateful_set:w"},
		{"DaemonSet", nil, "kube_daemon_set:w kube_namespace:n"},
		{"CronJob", nil, "kube_cronjob:w kube_namespace:n"},
		{"Rollout", []string{"shop", "cart", "shop"}, "kube_namespace:n kube_ownerref_kind:rollout kube_ownerref_name:w service:cart service:shop"},
	} {
		r := &sinks.Report{Workloads: []rightsizing.Workload{{Namespace: "n", Kind: c.kind, Name: "w", VPA: "v", Replicas: 1, Services: c.services}}}
		points := 0
		for p := range r.Points(sinks.Selection{Families: []*sinks.Family{sinks.Replicas}}) {
			points++
			if got := strings.Join(newTagger([]string{"service:other"}[:min(1, len(c.services))], "", nil).tags(p), " "); got != c.want {
				t.Errorf("%s: got %s, want %s", c.kind, got, c.want)
			}
		}
		if points != 1 {
			t.Errorf("%s: %d points, want one", c.kind, points)
		}
	}
	container := sinktest.Report()
	for p := range container.Points(sinks.Selection{Families: []*sinks.Family{sinks.VPACPU}}) {
		tags := newTagger(nil, "", nil).tags(p)
		for _, want := range []string{"kube_container_name:app", "verticalpodautoscaler:checkout-vpa"} {
			if !slices.Contains(tags, want) {
				t.Errorf("%v lack %s", tags, want)
			}
		}
	}
}

// Whatever a label holds, its tag is one that Datadog stores as it is, and making it again changes
// nothing: what a monitor looks for is what was sent.
func FuzzTags(f *testing.F) {
	for _, seed := range [][2]string{{"route", "/pay"}, {"Team", "余裕 & co"}, {"_x:y", "::a::"}, {"k\xff", "\xff\xfe"}, {"İ", "İSTANBUL"}, {"k", strings.Repeat("ö:", 150)}, {strings.Repeat("k", 199), "a"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		got := newTag(key, value)
		if got == (tag{}) {
			return
		}
		text := got.key + ":" + got.value
		first, _ := utf8.DecodeRuneInString(text)
		switch {
		case len(text) > maxTag, !utf8.ValidString(text), !unicode.IsLetter(first), strings.HasSuffix(text, ":"),
			strings.Contains(got.key, ":"), strings.ContainsAny(text, " ,|#\n\"'{}"):
			t.Errorf("%q %q: %q is no tag", key, value, text)
		}
		if again := newTag(got.key, got.value); again != got {
			t.Errorf("%q %q: %q becomes %q:%q", key, value, text, again.key, again.value)
		}
	})
}
