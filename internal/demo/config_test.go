package demo

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"gopkg.in/yaml.v3"
	"k8s.io/apimachinery/pkg/api/resource"
)

// What the sample objects are there to show, in each of the three services.
func TestObjects(t *testing.T) {
	type amounts map[string]string
	requests, targets := map[string]amounts{}, map[string]amounts{}
	for d := yaml.NewDecoder(bytes.NewReader(Objects())); ; {
		var o struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
			Spec     struct {
				TargetRef struct{ Kind, Name string } `yaml:"targetRef"`
				Template  struct {
					Spec struct {
						Containers []struct {
							Name      string
							Resources struct{ Requests amounts }
						}
					}
				}
			}
			Status struct {
				Recommendation struct {
					ContainerRecommendations []struct {
						ContainerName string `yaml:"containerName"`
						Target        amounts
					} `yaml:"containerRecommendations"`
				}
			}
		}
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if o.Metadata.Namespace != "shop" {
			t.Errorf("%s %s is in namespace %q", o.Kind, o.Metadata.Name, o.Metadata.Namespace)
		}
		for _, c := range o.Spec.Template.Spec.Containers {
			requests[o.Metadata.Name+"/"+c.Name] = c.Resources.Requests
		}
		for _, c := range o.Status.Recommendation.ContainerRecommendations {
			targets[o.Spec.TargetRef.Name+"/"+c.ContainerName] = c.Target
		}
	}
	if len(requests) != 4 || len(targets) != 4 {
		t.Fatalf("%d containers, %d recommendations", len(requests), len(targets))
	}
	ratio := func(container, what string) float64 {
		r, err1 := resource.ParseQuantity(requests[container][what])
		q, err2 := resource.ParseQuantity(targets[container][what])
		if err := errors.Join(err1, err2); err != nil {
			t.Fatalf("%s %s: %v", container, what, err)
		}
		return r.AsApproximateFloat64() / q.AsApproximateFloat64()
	}
	if got := ratio("checkout/app", "memory"); got < 3 {
		t.Errorf("checkout asks for %.2f of the memory it needs, want clearly too much", got)
	}
	if got := ratio("catalog/app", "cpu"); got > 0.5 {
		t.Errorf("catalog asks for %.2f of the cores it needs, want clearly too little", got)
	}
	for _, what := range []string{"cpu", "memory"} {
		if got := ratio("payment/app", what); got < 0.9 || got > 1.15 {
			t.Errorf("payment asks for %.2f of the %s it needs, want about all", got, what)
		}
	}
}
