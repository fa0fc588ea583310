package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	"github.com/yoyu-sre/yoyu/sources"
)

var (
	cloudWatchKnown = fields{known: []string{
		"namespace", "dimensions", "target_group", "load_balancer", "ecs_service", "below", "alive", "total", "bad", "good",
	}}
	tagsFields = fields{known: []string{"tags"}}
)

// ready are the resources that yoyu knows the metrics of, with what they count unless told otherwise
// (Elastic Load Balancing's guide, "CloudWatch metrics for your Application Load Balancer").
//
// RequestCount leaves out what the load balancer refuses before it has chosen a target, such as
// every 503 while no target is healthy, so a load balancer's own errors are events too, but for 502
// and 504: for these a target was chosen.
var ready = map[string]struct{ alive, total, bad string }{
	"target_group": {"HealthyHostCount", "RequestCount", "HTTPCode_Target_5XX_Count"},
	"ecs_service":  {"HealthyHostCount", "RequestCount", "HTTPCode_Target_5XX_Count"},
	"load_balancer": {
		"ConsumedLCUs",
		"RequestCount + HTTPCode_ELB_5XX_Count - HTTPCode_ELB_502_Count - HTTPCode_ELB_504_Count",
		"HTTPCode_Target_5XX_Count + HTTPCode_ELB_5XX_Count",
	},
}

const applicationELB = "AWS/ApplicationELB"

// cloudWatch reads an indicator in metrics of CloudWatch.
func cloudWatch(v value, in sources.Indicator) (sources.Indicator, bool) {
	o, ok := v.object(cloudWatchKnown)
	if !ok {
		return in, false
	}
	var scope selectors.CloudWatchScope
	var what string
	for _, key := range []string{"target_group", "load_balancer", "ecs_service"} {
		if !o.has(key) {
			continue
		}
		if what != "" {
			v.fault("holds "+what+" and "+key, "keep one of them")
			return in, false
		}
		what = key
		found := read(o, key, func(v value) (*selectors.CloudWatchResource, bool) { return resource(v, key == "ecs_service") })
		scope.Namespace, ok = applicationELB, ok && found.ok
		switch key {
		case "target_group":
			scope.TargetGroup = found.value
		case "load_balancer":
			scope.LoadBalancer = found.value
		case "ecs_service":
			scope.ECSService = found.value
		}
	}
	preset, isReady := ready[what]
	if isReady {
		for _, key := range []string{"namespace", "dimensions"} {
			if from, written := o.fields[key]; written {
				from.fault(what+" knows its own", "remove it")
				ok = false
			}
		}
	} else {
		namespace := need(o, "namespace", "write it like AWS/ApplicationELB, or name a target_group, a load_balancer or an ecs_service", value.text)
		dimensions := read(o, "dimensions", textMap)
		scope.Namespace, scope.Dimensions = namespace.value, dimensions.value
		ok = ok && namespace.ok && (!dimensions.set || dimensions.ok)
	}
	alive := read(o, "alive", func(v value) (string, bool) {
		s, ok := v.text()
		if !ok {
			return "", false
		}
		c, err := selectors.ParseCloudWatch(s)
		if err == nil && (len(c) != 1 || c[0].Samples) {
			err = errors.New("name one metric, like HealthyHostCount")
		}
		if err != nil {
			v.fault("is no metric", err.Error())
			return "", false
		}
		return c[0].Metric, true
	})
	if scope.Alive = alive.value; !alive.set {
		scope.Alive = preset.alive
	}
	ok = ok && (!alive.set || alive.ok)
	in.Scope = scope.String()
	if o.has("below") {
		return cloudWatchLatency(o, in, isReady, ok)
	}
	if !o.has("total") && isReady {
		in.Total = preset.total
	} else {
		total := need(o, "total", "write the metric that counts all events, like RequestCount", cloudWatchCount)
		in.Total, ok = total.value, ok && total.ok
	}
	if !o.has("bad") && !o.has("good") && isReady {
		in.Bad = preset.bad
		return in, ok
	}
	bad, good, fine := badOrGood(o, cloudWatchCount)
	in.Bad, in.Good = bad.value, good.value
	if !fine || !ok {
		return in, false
	}
	if part, word := bad.or(good), "bad"; in.Total == in.Bad+in.Good {
		if good.set {
			word = "good"
		}
		part.from.warn(word+" counts the same as total, so every event is "+word, "")
	}
	return in, true
}

// cloudWatchLatency is the indicator for "answered below a threshold" of what yoyu knows the metrics of.
func cloudWatchLatency(o object, in sources.Indicator, isReady, ok bool) (sources.Indicator, bool) {
	from := o.fields["below"]
	below, fine := threshold(from)
	if !isReady {
		from.fault("is for target_group, load_balancer and ecs_service", "write good: count(METRIC <= 300ms), and total: count(METRIC)")
		return in, false
	}
	for _, key := range []string{"total", "bad", "good"} {
		if also, written := o.fields[key]; written {
			also.fault("stands beside below, which says what is counted", "remove one of them")
			fine = false
		}
	}
	const metric = "TargetResponseTime"
	in.Total = "count(" + metric + ")"
	c, err := selectors.ParseCloudWatch("count(" + metric + " <= " + decimal(below).Value + ")")
	if err != nil {
		return in, false // the threshold was refused
	}
	in.Good = c.String()
	return in, ok && fine
}

func cloudWatchCount(v value) (string, bool) {
	s, ok := v.text()
	if !ok {
		return "", false
	}
	c, err := selectors.ParseCloudWatch(s)
	if err != nil {
		v.fault("is no count of events", err.Error())
		return "", false
	}
	return c.String(), true
}

// resource reads a name, or {tags: …}.
func resource(v value, cluster bool) (*selectors.CloudWatchResource, bool) {
	like := "write its name, or {tags: {service: checkout}}"
	if cluster {
		like = "write it like cluster/service, or {tags: {service: checkout}}"
	}
	if v.node.Kind != yaml.MappingNode {
		if v.node.Kind != yaml.ScalarNode {
			v.fault(v.shape(), like)
			return nil, false
		}
		name, ok := v.text()
		if slashes := strings.Count(name, "/"); ok && (cluster && (slashes != 1 || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/")) || !cluster && slashes > 0 || strings.HasPrefix(name, "arn:")) {
			v.fault(v.quoted()+" is no name", like)
			return nil, false
		}
		return &selectors.CloudWatchResource{Name: name}, ok
	}
	o, ok := v.object(tagsFields)
	if !ok {
		return nil, false
	}
	tags := need(o, "tags", like, textMap)
	if tags.ok && len(tags.value) == 0 {
		tags.from.fault("is empty, and would find every one of them", like)
		return nil, false
	}
	return &selectors.CloudWatchResource{Tags: tags.value}, tags.ok
}

// textMap reads names of any letters with their values.
func textMap(v value) (map[string]string, bool) {
	if v.node.Kind != yaml.MappingNode {
		v.fault(v.shape(), "write it like {LoadBalancer: app/shop/50dc6c495c0c9188}")
		return nil, false
	}
	out, ok := map[string]string{}, true
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.node.Content[i].Value
		text, fine := v.child(key, v.node.Content[i+1]).text()
		out[key], ok = text, ok && fine
	}
	return out, ok
}

// cloudWatchFields prints whose metrics an indicator counts.
func cloudWatchFields(body *tree, in sources.Indicator) {
	scope, err := selectors.ParseCloudWatchScope(in.Scope)
	if err != nil {
		return // it was never read
	}
	named := func(key string, r *selectors.CloudWatchResource) {
		switch {
		case r == nil:
		case r.Name != "":
			body.put(key, quoted(r.Name))
		default:
			one := mapping()
			one.put("tags", textNodes(r.Tags))
			body.put(key, one)
		}
	}
	if scope.TargetGroup == nil && scope.LoadBalancer == nil && scope.ECSService == nil {
		body.word("namespace", scope.Namespace)
		body.put("dimensions", textNodes(scope.Dimensions))
	}
	named("target_group", scope.TargetGroup)
	named("load_balancer", scope.LoadBalancer)
	named("ecs_service", scope.ECSService)
	if scope.Alive != "" {
		body.word("alive", selectors.CloudWatchTerm{Metric: scope.Alive}.String())
	}
}

func textNodes(all map[string]string) *tree {
	out := mapping()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		out.put(key, quoted(all[key]))
	}
	return out
}
