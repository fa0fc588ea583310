package cloudwatch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cloudwatchtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	taggingtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"

	"github.com/yoyu-sre/yoyu/internal/selectors"
)

const (
	// fresh is how long it is remembered which resources there are.
	fresh = 5 * time.Minute

	// remembered is how long one is still asked after that is not there any more: what it counted lately
	// is looked at again, and would be put without it. A deployment that changes target groups is that.
	remembered = 3 * time.Hour

	// mostPages of a listing are read, 500 metrics each.
	mostPages = 200
)

// place is one resource: the dimensions that its metrics have.
type place struct {
	dims  string   // as dimensions writes them
	group []string // values of the group_by labels
}

// dimensions writes names and values as one comparable text.
func dimensions(all map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.WriteString(name)
		b.WriteByte('\xfe')
		b.WriteString(all[name])
		b.WriteByte('\xff')
	}
	return b.String()
}

// spelled is what dimensions wrote, for a request.
func spelled(dims string) []cloudwatchtypes.Dimension {
	var out []cloudwatchtypes.Dimension
	for one := range strings.SplitSeq(strings.TrimSuffix(dims, "\xff"), "\xff") {
		if name, value, ok := strings.Cut(one, "\xfe"); ok {
			out = append(out, cloudwatchtypes.Dimension{Name: aws.String(name), Value: aws.String(value)})
		}
	}
	return out
}

// catalogue remembers which resources there are.
type catalogue struct {
	mu    sync.Mutex // one listing at a time
	found map[string]listing
}

type listing struct {
	at    time.Time
	items []map[string]string
}

// remember asks for what is not known, or not any more. Where asking fails, what was known stands in.
func (c *catalogue) remember(key string, ask func() ([]map[string]string, error)) ([]map[string]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.found[key]
	if age := time.Since(known.at); ok && age >= 0 && age < fresh {
		return known.items, nil
	}
	items, err := ask()
	switch {
	case err == nil:
		if c.found == nil {
			c.found = map[string]listing{}
		}
		c.found[key] = listing{time.Now(), items}
		return items, nil
	case ok && time.Since(known.at) < remembered:
		return known.items, nil
	}
	return nil, err
}

// metrics lists the dimensions of all metrics of a name that have exactly the dimensions that are
// given: with their value, or with any where it is "". CloudWatch lists what had data within two
// weeks.
func (s *Source) metrics(ctx context.Context, c *clients, namespace, name string, dims map[string]string) ([]map[string]string, error) {
	key := namespace + "\xff" + name + "\xff" + dimensions(dims)
	return s.known.remember(key, func() ([]map[string]string, error) {
		in := &cloudwatch.ListMetricsInput{Namespace: &namespace, MetricName: &name}
		for _, dim := range slices.Sorted(maps.Keys(dims)) {
			filter := cloudwatchtypes.DimensionFilter{Name: aws.String(dim)}
			if value := dims[dim]; value != "" {
				filter.Value = aws.String(value)
			}
			in.Dimensions = append(in.Dimensions, filter)
		}
		var out []map[string]string
		for range mostPages {
			page, err := ask(ctx, s, c.metrics.ListMetrics, in)
			if err != nil {
				return nil, fault(ctx, "metrics", err)
			}
			for _, m := range page.Metrics {
				if len(m.Dimensions) != len(dims) {
					continue // another metric of the same name
				}
				one := map[string]string{}
				for _, d := range m.Dimensions {
					one[aws.ToString(d.Name)] = aws.ToString(d.Value)
				}
				out = append(out, one)
			}
			if aws.ToString(page.NextToken) == "" {
				return out, nil
			}
			in.NextToken = page.NextToken
		}
		return nil, failed("metrics", "limit", "%s has more metrics %s than yoyu reads: name fewer dimensions in group_by", namespace, name)
	})
}

// ask makes one request of a service, with a deadline of its own.
func ask[In, Out, Option any](ctx context.Context, s *Source, call func(context.Context, In, ...Option) (Out, error), in In) (Out, error) {
	ctx, stop := context.WithTimeout(ctx, answerTime)
	defer stop()
	out, err := call(ctx, in)
	s.pace.answered(time.Now(), throttled(err))
	return out, err
}

// resolve finds the resources that a question is about. The note says why there are none.
func (s *Source) resolve(ctx context.Context, c *clients, q *question) (places []place, note string, err error) {
	scope := q.scope
	dims := map[string]string{}
	maps.Copy(dims, scope.Dimensions)
	var wanted func(map[string]string) bool
	what, metric := "", q.total[0].Metric
	switch {
	case scope.TargetGroup != nil, scope.ECSService != nil:
		dims["LoadBalancer"], dims["TargetGroup"] = "", ""
		metric = "RequestCount"
		var names map[string]bool
		if r := scope.TargetGroup; r != nil {
			what = "target group"
			names, err = s.groups(ctx, c, r)
		} else {
			what = "target group of an ECS service"
			names, err = s.services(ctx, c, scope.ECSService)
		}
		wanted = func(found map[string]string) bool { return matches(found["TargetGroup"], names) }
	case scope.LoadBalancer != nil:
		dims["LoadBalancer"] = ""
		metric, what = "RequestCount", "load balancer"
		var names map[string]bool
		names, err = s.balancers(ctx, c, scope.LoadBalancer)
		wanted = func(found map[string]string) bool { return matches(found["LoadBalancer"], names) }
	}
	if err != nil {
		return nil, "", err
	}
	for _, label := range q.GroupBy {
		if _, fixed := dims[label]; !fixed {
			dims[label] = ""
		}
	}
	if wanted == nil && !slices.Contains(slices.Collect(maps.Values(dims)), "") {
		return []place{{dims: dimensions(dims), group: q.group(dims)}}, "", nil // nothing is left open
	}
	found, err := s.metrics(ctx, c, scope.Namespace, metric, dims)
	if err != nil {
		return nil, "", err
	}
	for _, one := range found {
		if wanted == nil || wanted(one) {
			places = append(places, place{dims: dimensions(one), group: q.group(one)})
		}
	}
	switch {
	case len(places) > 0:
	case what == "":
		note = fmt.Sprintf("no metric %s of %s has exactly the dimensions %s", metric, scope.Namespace, strings.Join(slices.Sorted(maps.Keys(dims)), ", "))
	default:
		note = "no " + what + " that is meant had " + metric + " within two weeks: is it there, and in this region?"
	}
	return q.still(places, time.Now()), note, nil
}

// matches finds a name in the value of a dimension: targetgroup/NAME/ID, app/NAME/ID. Names that hold
// a slash are such values themselves.
func matches(value string, names map[string]bool) bool {
	parts := strings.Split(value, "/")
	return names[value] || len(parts) == 3 && names[parts[1]]
}

// groups are the names, or the whole values, of the target groups that are meant.
func (s *Source) groups(ctx context.Context, c *clients, r *selectors.CloudWatchResource) (map[string]bool, error) {
	if r.Name != "" {
		return map[string]bool{r.Name: true}, nil
	}
	found, err := s.tagged(ctx, c, "elasticloadbalancing:targetgroup", r.Tags)
	return valuesOf(found, ":targetgroup/", "targetgroup/"), err
}

// balancers likewise.
func (s *Source) balancers(ctx context.Context, c *clients, r *selectors.CloudWatchResource) (map[string]bool, error) {
	if r.Name != "" {
		return map[string]bool{r.Name: true}, nil
	}
	found, err := s.tagged(ctx, c, "elasticloadbalancing:loadbalancer/app", r.Tags)
	return valuesOf(found, ":loadbalancer/", ""), err
}

// valuesOf are the values of a dimension in ARNs: what follows a mark, behind a prefix.
func valuesOf(arns []string, mark, prefix string) map[string]bool {
	out := map[string]bool{}
	for _, arn := range arns {
		if _, rest, ok := strings.Cut(arn, mark); ok {
			out[prefix+rest] = true
		}
	}
	return out
}

// services are the target groups of ECS services: those of their deployments too, so that a deployment
// from one target group to another counts both.
func (s *Source) services(ctx context.Context, c *clients, r *selectors.CloudWatchResource) (map[string]bool, error) {
	clusters := map[string][]string{}
	if cluster, name, ok := strings.Cut(r.Name, "/"); ok {
		clusters[cluster] = []string{name}
	} else {
		found, err := s.tagged(ctx, c, "ecs:service", r.Tags)
		if err != nil {
			return nil, err
		}
		for _, arn := range found { // arn:aws:ecs:REGION:ACCOUNT:service/CLUSTER/NAME
			_, rest, _ := strings.Cut(arn, ":service/")
			if cluster, name, ok := strings.Cut(rest, "/"); ok {
				clusters[cluster] = append(clusters[cluster], name)
			}
		}
	}
	out := map[string]bool{}
	for _, cluster := range slices.Sorted(maps.Keys(clusters)) {
		for names := range slices.Chunk(clusters[cluster], 10) { // as many as one request takes
			found, err := s.known.remember("ecs\xff"+cluster+"\xff"+strings.Join(names, "\xff"), func() ([]map[string]string, error) {
				answer, err := ask(ctx, s, c.ecs.DescribeServices, &ecs.DescribeServicesInput{Cluster: aws.String(cluster), Services: names})
				if err != nil {
					return nil, fault(ctx, "services", err)
				}
				var arns []map[string]string
				for _, f := range answer.Failures {
					return nil, failed("services", "other", "ECS service %s/%s: %s", cluster, strings.Join(names, ","), aws.ToString(f.Reason))
				}
				add := func(all []ecstypes.LoadBalancer) {
					for _, l := range all {
						arns = append(arns, map[string]string{"arn": aws.ToString(l.TargetGroupArn)})
						if a := l.AdvancedConfiguration; a != nil {
							arns = append(arns, map[string]string{"arn": aws.ToString(a.AlternateTargetGroupArn)})
						}
					}
				}
				for i := range answer.Services {
					add(answer.Services[i].LoadBalancers)
					for j := range answer.Services[i].TaskSets {
						add(answer.Services[i].TaskSets[j].LoadBalancers)
					}
				}
				return arns, nil
			})
			if err != nil {
				return nil, err
			}
			for _, one := range found {
				maps.Copy(out, valuesOf([]string{one["arn"]}, ":targetgroup/", "targetgroup/"))
			}
		}
	}
	return out, nil
}

// tagged are the ARNs of all resources of a type that carry all of some tags.
func (s *Source) tagged(ctx context.Context, c *clients, kind string, tags map[string]string) ([]string, error) {
	found, err := s.known.remember("tags\xff"+kind+"\xff"+dimensions(tags), func() ([]map[string]string, error) {
		in := &resourcegroupstaggingapi.GetResourcesInput{ResourceTypeFilters: []string{kind}}
		for _, key := range slices.Sorted(maps.Keys(tags)) {
			in.TagFilters = append(in.TagFilters, taggingtypes.TagFilter{Key: aws.String(key), Values: []string{tags[key]}})
		}
		var arns []map[string]string
		for range mostPages {
			page, err := ask(ctx, s, c.tags.GetResources, in)
			if err != nil {
				return nil, fault(ctx, "tags", err)
			}
			for _, m := range page.ResourceTagMappingList {
				arns = append(arns, map[string]string{"arn": aws.ToString(m.ResourceARN)})
			}
			if aws.ToString(page.PaginationToken) == "" {
				return arns, nil
			}
			in.PaginationToken = page.PaginationToken
		}
		return nil, failed("tags", "limit", "more resources carry the tags than yoyu reads: write more of them")
	})
	out := make([]string, 0, len(found))
	for _, one := range found {
		out = append(out, one["arn"])
	}
	return out, err
}
