package kubetest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// auditPolicy has the API server write down what ServiceAccounts ask, and what became of it.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, userGroups: ["system:serviceaccounts"]}
  - {level: None}
`

// Request is one that the API server answered, as RBAC sees it.
type Request struct {
	Verb, Group, Resource, Namespace string
	Allowed                          bool // by RBAC; what it got besides may be 404
}

func (r Request) String() string {
	resource := r.Resource
	if r.Group != "" {
		resource += "." + r.Group
	}
	if r.Namespace != "" {
		resource += " in " + r.Namespace
	}
	return r.Verb + " " + resource
}

// Asked is what a ServiceAccount has asked so far, in the order of the answers' beginning. A watch
// comes twice when it has ended.
func (c *Cluster) Asked(namespace, account string) []Request {
	c.t.Helper()
	text, err := os.ReadFile(c.path("audit.log"))
	if err != nil {
		c.t.Fatalf("kube-apiserver: audit log: %v", err)
	}
	who := fmt.Sprintf("system:serviceaccount:%s:%s", namespace, account)
	var asked []Request
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break // still being written
		}
		var event struct {
			Verb string `json:"verb"`
			User struct {
				Name string `json:"username"`
			} `json:"user"`
			URI    string `json:"requestURI"`
			Object *struct {
				Group       string `json:"apiGroup"`
				Resource    string `json:"resource"`
				Subresource string `json:"subresource"`
				Namespace   string `json:"namespace"`
			} `json:"objectRef"`
			Annotations map[string]string `json:"annotations"`
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			c.t.Fatalf("kube-apiserver: audit log: %v: %s", err, line)
		}
		if event.User.Name != who {
			continue
		}
		one := Request{Verb: event.Verb, Resource: event.URI, Allowed: event.Annotations["authorization.k8s.io/decision"] == "allow"}
		if o := event.Object; o != nil {
			one.Group, one.Resource, one.Namespace = o.Group, o.Resource, o.Namespace
			if o.Subresource != "" {
				one.Resource += "/" + o.Subresource
			}
		}
		asked = append(asked, one)
	}
	return asked
}
