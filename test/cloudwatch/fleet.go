package cloudwatch

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// resource is what the tagging API knows of one.
type resource struct {
	kind, arn string
	tags      map[string]string
}

const hexadecimal = "0123456789abcdef"

// Balancer is an Application Load Balancer.
type Balancer struct {
	c   *Cloud
	ARN string
	Dim string // value of the dimension LoadBalancer
}

// Group is a target group of one.
type Group struct {
	c        *Cloud
	balancer *Balancer
	ARN      string
	Dim      string // value of the dimension TargetGroup
}

// Service is an ECS service.
type Service struct {
	cluster, name string
	ARN           string
	Groups        []*Group
	Next          []*Group // of the deployment that is under way
}

// Balancer makes a load balancer.
func (c *Cloud) Balancer(name string, tags map[string]string) *Balancer {
	c.mu.Lock()
	defer c.mu.Unlock()
	dim := "app/" + name + "/" + c.id(16, hexadecimal)
	b := &Balancer{c: c, Dim: dim, ARN: "arn:aws:elasticloadbalancing:" + Region + ":" + Account + ":loadbalancer/" + dim}
	c.tagged = append(c.tagged, resource{"elasticloadbalancing:loadbalancer/app", b.ARN, tags})
	return b
}

// Group makes a target group behind it.
func (b *Balancer) Group(name string, tags map[string]string) *Group {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	dim := "targetgroup/" + name + "/" + b.c.id(16, hexadecimal)
	g := &Group{c: b.c, balancer: b, Dim: dim, ARN: "arn:aws:elasticloadbalancing:" + Region + ":" + Account + ":" + dim}
	b.c.tagged = append(b.c.tagged, resource{"elasticloadbalancing:targetgroup", g.ARN, tags})
	return g
}

// Service makes an ECS service behind target groups.
func (c *Cloud) Service(cluster, name string, tags map[string]string, groups ...*Group) *Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &Service{cluster: cluster, name: name, Groups: groups, ARN: "arn:aws:ecs:" + Region + ":" + Account + ":service/" + cluster + "/" + name}
	c.services = append(c.services, s)
	c.tagged = append(c.tagged, resource{"ecs:service", s.ARN, tags})
	return s
}

// Traffic is what a target group saw in one minute.
type Traffic struct {
	Requests int       // for which a target was chosen
	Errors   int       // of them, answered with 5xx by a target
	Refused  int       // 503 of the load balancer itself: no target was chosen
	Broken   int       // of the requests, 502 of the load balancer
	Seconds  []float64 // how long targets took; nil: nobody measured
	Late     time.Duration
}

// Serve publishes a minute by the reporting criteria of "CloudWatch metrics for your Application Load
// Balancer", for the group and for its load balancer.
func (g *Group) Serve(minute time.Time, t Traffic) {
	c, b := g.c, g.balancer
	visible := minute.Truncate(time.Minute).Add(time.Minute + c.options.Visible + t.Late)
	of := func(name string, own bool, dims map[string]string, datum Datum) {
		all := []map[string]string{{"LoadBalancer": b.Dim}}
		if own {
			all = append(all, map[string]string{"LoadBalancer": b.Dim, "TargetGroup": g.Dim},
				map[string]string{"LoadBalancer": b.Dim, "TargetGroup": g.Dim, "AvailabilityZone": Region + "a"})
		}
		if dims != nil {
			all = []map[string]string{dims}
		}
		datum.At = minute
		if datum.Visible.IsZero() {
			datum.Visible = visible
		}
		for _, dims := range all {
			c.Put(Metric{"AWS/ApplicationELB", name, dims}, datum)
		}
	}
	count := func(n int) Datum { return Datum{Sum: float64(n), Count: float64(n)} }
	of("HealthyHostCount", false, map[string]string{"LoadBalancer": b.Dim, "TargetGroup": g.Dim}, Datum{Sum: 2, Count: 1})
	of("ConsumedLCUs", false, map[string]string{"LoadBalancer": b.Dim}, Datum{Sum: 0.01, Count: 1})
	if t.Requests > 0 || !c.options.Silent {
		of("RequestCount", true, nil, count(t.Requests))
	}
	if t.Errors > 0 {
		of("HTTPCode_Target_5XX_Count", true, nil, count(t.Errors))
	}
	if n := t.Refused + t.Broken; n > 0 {
		of("HTTPCode_ELB_5XX_Count", false, map[string]string{"LoadBalancer": b.Dim}, count(n))
	}
	if t.Refused > 0 {
		of("HTTPCode_ELB_503_Count", false, map[string]string{"LoadBalancer": b.Dim}, count(t.Refused))
	}
	if t.Broken > 0 {
		of("HTTPCode_ELB_502_Count", false, map[string]string{"LoadBalancer": b.Dim}, count(t.Broken))
	}
	if len(t.Seconds) > 0 {
		of("TargetResponseTime", true, nil, Datum{Values: t.Seconds})
	}
}

// getResources is the tagging API: one page holds as many as are asked for, a hundred at most.
func (c *Cloud) getResources(body []byte) (any, *refusal) {
	var in getResourcesInput
	if e := decode(body, &in); e != nil {
		return nil, e
	}
	if f := c.strikes("GetResources", nil, false); f != nil {
		return nil, f.refusal()
	}
	var found []resourceTagMapping
	for _, r := range c.tagged {
		if len(in.ResourceTypeFilters) > 0 && !slices.Contains(in.ResourceTypeFilters, r.kind) {
			continue
		}
		if slices.ContainsFunc(in.TagFilters, func(f tagFilter) bool {
			value, has := r.tags[f.Key]
			return !has || len(f.Values) > 0 && !slices.Contains(f.Values, value)
		}) {
			continue
		}
		one := resourceTagMapping{ResourceARN: r.arn, Tags: []tag{}}
		for _, key := range slices.Sorted(maps.Keys(r.tags)) {
			one.Tags = append(one.Tags, tag{key, r.tags[key]})
		}
		found = append(found, one)
	}
	size := in.ResourcesPerPage
	if size == 0 {
		size = 100
	}
	from, err := strconv.Atoi("0" + in.PaginationToken)
	if err != nil || from > len(found) {
		return nil, refuse("PaginationTokenExpiredException", "the token is of another request")
	}
	out := getResourcesOutput{ResourceTagMappingList: found[from:min(from+size, len(found))]}
	if from+size < len(found) {
		out.PaginationToken = strconv.Itoa(from + size)
	}
	return out, nil
}

// describeServices is ECS.
func (c *Cloud) describeServices(body []byte) (any, *refusal) {
	var in struct {
		Cluster  string   `json:"cluster"`
		Services []string `json:"services"`
		Include  []string `json:"include"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, refuse("SerializationException", "%s", err)
	}
	if f := c.strikes("DescribeServices", nil, false); f != nil {
		return nil, f.refusal()
	}
	if len(in.Services) == 0 || len(in.Services) > 10 {
		return nil, &refusal{status: http.StatusBadRequest, code: "InvalidParameterException", message: "Services cannot be empty, nor more than 10."}
	}
	type balancer struct {
		TargetGroup string `json:"targetGroupArn"`
		Container   string `json:"containerName"`
		Port        int    `json:"containerPort"`
	}
	type taskSet struct {
		Balancers []balancer `json:"loadBalancers"`
	}
	type service struct {
		ARN       string     `json:"serviceArn"`
		Name      string     `json:"serviceName"`
		Status    string     `json:"status"`
		Balancers []balancer `json:"loadBalancers"`
		TaskSets  []taskSet  `json:"taskSets"`
	}
	type failure struct {
		ARN    string `json:"arn"`
		Reason string `json:"reason"`
	}
	out := struct {
		Services []service `json:"services"`
		Failures []failure `json:"failures"`
	}{[]service{}, []failure{}}
	for _, name := range in.Services {
		i := slices.IndexFunc(c.services, func(s *Service) bool { return s.cluster == in.Cluster && (s.name == name || s.ARN == name) })
		if i < 0 {
			out.Failures = append(out.Failures, failure{"arn:aws:ecs:" + Region + ":" + Account + ":service/" + in.Cluster + "/" + name, "MISSING"})
			continue
		}
		s := c.services[i]
		one := service{ARN: s.ARN, Name: s.name, Status: "ACTIVE", Balancers: []balancer{}, TaskSets: []taskSet{}}
		for _, g := range s.Groups {
			one.Balancers = append(one.Balancers, balancer{g.ARN, s.name, 8080})
		}
		for _, g := range s.Next {
			one.TaskSets = append(one.TaskSets, taskSet{[]balancer{{g.ARN, s.name, 8080}}})
		}
		out.Services = append(out.Services, one)
	}
	return out, nil
}
