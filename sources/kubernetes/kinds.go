package kubernetes

import "encoding/json"

// kind is a kind of object that is read.
type kind struct {
	name     string // as objects and targetRefs say it
	group    string // "" is the core group
	version  string
	resource string // as addresses say it
	needed   bool   // a cluster without it is no cluster
	decode   func(raw []byte) (read, error)
}

// read is an object that has been read.
type read interface{ about() *metadata }

// vpas are asked for first: a cluster without any is asked no more.
var vpas = kind{"VerticalPodAutoscaler", "autoscaling.k8s.io", "v1", "verticalpodautoscalers", false, into[vpa]}

// kinds are all that is read. What RBAC has to allow is exactly list and watch on these
// (deploy/kubernetes/base/clusterrole.yaml).
var kinds = []kind{
	vpas,
	{"VerticalPodAutoscalerCheckpoint", "autoscaling.k8s.io", "v1", "verticalpodautoscalercheckpoints", false, into[checkpoint]},
	{"Deployment", "apps", "v1", "deployments", true, intoWorkload("Deployment")},
	{"StatefulSet", "apps", "v1", "statefulsets", true, intoWorkload("StatefulSet")},
	{"DaemonSet", "apps", "v1", "daemonsets", true, intoWorkload("DaemonSet")},
	{"ReplicaSet", "apps", "v1", "replicasets", true, intoWorkload("ReplicaSet")},
	{"ControllerRevision", "apps", "v1", "controllerrevisions", true, into[revision]},
	{"Job", "batch", "v1", "jobs", true, intoWorkload("Job")},
	{"CronJob", "batch", "v1", "cronjobs", true, intoWorkload("CronJob")},
	{"ReplicationController", "", "v1", "replicationcontrollers", true, intoWorkload("ReplicationController")},
	{"Pod", "", "v1", "pods", true, into[pod]},
	{"HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers", false, into[scaler]},
	{"LimitRange", "", "v1", "limitranges", true, into[limitRange]},
	{"ResourceQuota", "", "v1", "resourcequotas", true, into[quota]},
}

func into[T any, P interface {
	*T
	read
}](raw []byte) (read, error) {
	one := P(new(T))
	err := json.Unmarshal(raw, one)
	return one, err
}

// intoWorkload decodes a workload; items of a list do not say what they are.
func intoWorkload(name string) func([]byte) (read, error) {
	return func(raw []byte) (read, error) {
		w := &workload{}
		err := json.Unmarshal(raw, w)
		w.Kind = name
		return w, err
	}
}

// path is where a kind is listed, in one namespace or in all for "".
func (k kind) path(namespace string) []string {
	parts := []string{"apis", k.group, k.version}
	if k.group == "" {
		parts = []string{"api", k.version}
	}
	if namespace != "" {
		parts = append(parts, "namespaces", namespace)
	}
	return append(parts, k.resource)
}

// full is the kind's name as people and RBAC write it: deployments.apps.
func (k kind) full() string {
	if k.group == "" {
		return k.resource
	}
	return k.resource + "." + k.group
}
