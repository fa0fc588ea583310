package kubernetes

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// objects are what was read of a cluster, not yet joined.
type objects struct {
	vpas      []vpa
	workloads []workload
}

// The parts of the objects that are read; the rest of them may change as it likes.
type (
	metadata struct {
		Namespace string    `json:"namespace"`
		Name      string    `json:"name"`
		Created   time.Time `json:"creationTimestamp"`
	}
	// vpa is a VerticalPodAutoscaler of autoscaling.k8s.io/v1.
	vpa struct {
		Metadata metadata `json:"metadata"`
		Spec     struct {
			TargetRef *struct {
				Kind string `json:"kind"`
				Name string `json:"name"`
			} `json:"targetRef"` // nil on objects older than v1
			UpdatePolicy struct {
				UpdateMode string `json:"updateMode"`
			} `json:"updatePolicy"`
		} `json:"spec"`
		Status struct {
			Recommendation struct {
				Containers []recommendation `json:"containerRecommendations"`
			} `json:"recommendation"`
		} `json:"status"`
	}
	recommendation struct {
		Name     string  `json:"containerName"`
		Target   amounts `json:"target"`
		Lower    amounts `json:"lowerBound"`
		Upper    amounts `json:"upperBound"`
		Uncapped amounts `json:"uncappedTarget"`
	}
	// workload is a Deployment, StatefulSet or DaemonSet.
	workload struct {
		Kind     string   `json:"kind"` // left out by lists of one kind
		Metadata metadata `json:"metadata"`
		Spec     struct {
			Replicas *int `json:"replicas"` // nil is 1
			Template struct {
				Spec struct {
					Containers []container `json:"containers"`
				} `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
		Status struct {
			Desired int `json:"desiredNumberScheduled"` // DaemonSet
		} `json:"status"`
	}
	container struct {
		Name      string `json:"name"`
		Resources struct {
			Requests amounts `json:"requests"`
			Limits   amounts `json:"limits"`
		} `json:"resources"`
	}
	// amounts are quantities by resource, still as text: a broken one is reported with the object
	// it belongs to.
	amounts map[string]json.RawMessage
)

// object is enough of any object to tell what it is.
type object struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Items      []json.RawMessage `json:"items"`
}

// read reads a file of objects: YAML documents, JSON, or lists of either, also as an API server
// answers them. Objects of other kinds are passed over.
func read(path string) (objects, error) {
	var found objects
	file, err := os.Open(path)
	if err != nil {
		return found, fmt.Errorf("objects: %w", err)
	}
	defer file.Close()
	decoder := yaml.NewYAMLOrJSONDecoder(bufio.NewReader(file), 4096)
	for n := 1; ; n++ {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return found, fmt.Errorf("objects: %s: document %d: %w", path, n, err)
		}
		if err := found.add(raw, object{}); err != nil {
			return found, fmt.Errorf("objects: %s: document %d: %w", path, n, err)
		}
	}
}

// add takes one object, or every object of a list. Items of a list of one kind do not say what
// they are: outer says it for them.
func (o *objects) add(raw json.RawMessage, outer object) error {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		return nil // between two separators
	}
	var head object
	if err := json.Unmarshal(raw, &head); err != nil {
		return fmt.Errorf("not an object: %w", err)
	}
	if head.Kind == "" {
		head.Kind, head.APIVersion = outer.Kind, outer.APIVersion
	}
	if of, ok := strings.CutSuffix(head.Kind, "List"); ok {
		for i, item := range head.Items {
			if err := o.add(item, object{APIVersion: head.APIVersion, Kind: of}); err != nil {
				return fmt.Errorf("item %d: %w", i, err)
			}
		}
		return nil
	}
	if head.Kind == "" {
		return errors.New("object has no kind")
	}
	group, _, _ := strings.Cut(head.APIVersion, "/")
	if head.Kind == vpas.name && group == vpas.group {
		var v vpa
		if err := json.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("%s: %w", head.Kind, err)
		}
		o.vpas = append(o.vpas, v)
	}
	for _, kind := range workloadKinds {
		if head.Kind != kind.name || group != kind.group {
			continue
		}
		var w workload
		if err := json.Unmarshal(raw, &w); err != nil {
			return fmt.Errorf("%s: %w", head.Kind, err)
		}
		w.Kind = kind.name
		o.workloads = append(o.workloads, w)
	}
	return nil
}
