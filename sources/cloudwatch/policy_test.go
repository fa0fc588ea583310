package cloudwatch

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/selectors"
	fake "github.com/yoyu-sre/yoyu/test/cloudwatch"
)

// The policies that are deployed allow what the source asks of AWS, each of it and nothing else.
func TestPolicies(t *testing.T) {
	within(t, fake.Options{}, func(t *testing.T, c *fake.Cloud, dawn time.Time) {
		tags := map[string]string{"service": "checkout"}
		g := c.Balancer("shop", tags).Group("checkout", tags)
		c.Service("prod", "checkout", tags, g)
		for m := range 10 {
			g.Serve(dawn.Add(time.Duration(m)*time.Minute), fake.Traffic{Requests: m})
		}
		wait(time.Hour)
		var scopes []selectors.CloudWatchScope
		for _, r := range []*selectors.CloudWatchResource{{Name: "checkout"}, {Name: "shop"}, {Name: "prod/checkout"}, {Tags: tags}} {
			scopes = append(scopes, selectors.CloudWatchScope{TargetGroup: r}, selectors.CloudWatchScope{LoadBalancer: r})
			if r.Name == "prod/checkout" || r.Tags != nil {
				scopes = append(scopes, selectors.CloudWatchScope{ECSService: r})
			}
		}
		for _, scope := range scopes {
			scope.Alive = "HealthyHostCount"
			q := scoped("q", scope, "RequestCount", "HTTPCode_Target_5XX_Count", "LoadBalancer")
			one := newSource(t, c, settings(), time.Minute, q)
			if _, err := one.Live(t.Context(), dawn.Add(10*time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		service := map[string]string{"GetMetricData": "cloudwatch", "ListMetrics": "cloudwatch", "DescribeServices": "ecs", "GetResources": "tag"}
		var called, said []string
		for _, r := range c.Journal() {
			if action := service[r.Operation] + ":" + r.Operation; r.Status != 200 {
				t.Errorf("%+v", r)
			} else if !slices.Contains(called, action) {
				called = append(called, action)
			}
		}
		for _, action := range allowed {
			said = append(said, action)
		}
		slices.Sort(called)
		slices.Sort(said)
		if !slices.Equal(called, said) {
			t.Errorf("asked %v, and errors name %v", called, said)
		}
		files := []string{"../../deploy/ecs/iam/task-role.json"}
		more, err := filepath.Glob("../../deploy/kubernetes/components/*/iam/policy.json")
		if err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, name := range append(files, more...) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var policy struct {
				Statement []struct {
					Sid, Effect, Resource any
					Action                []string
				}
			}
			if err := json.Unmarshal(text, &policy); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(policy.Statement) == 0 || policy.Statement[0].Sid != "ReadMetrics" {
				continue // it is about something else
			}
			held++
			slices.Sort(policy.Statement[0].Action)
			if len(policy.Statement) != 1 || !slices.Equal(policy.Statement[0].Action, called) {
				t.Errorf("%s allows %v, the source asks %v", name, policy.Statement[0].Action, called)
			}
		}
		if held != 3 {
			t.Errorf("%d policies are about metrics: ECS, IRSA and Pod Identity are", held)
		}
	})
}
