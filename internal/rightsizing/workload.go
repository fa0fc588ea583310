// Package rightsizing holds a recommendation against what a workload asks for.
//
// Like package slo it is arithmetic alone: no Kubernetes, no I/O, no clock. A source of workloads
// fills in what was read; Judge works out what it means.
package rightsizing

import "github.com/yoyu-sre/yoyu/slo"

// Workload is one Kubernetes workload with the VPA that watches it.
type Workload struct {
	Namespace  string
	Kind       string // Deployment, StatefulSet …
	Name       string
	VPA        string   // name of the VerticalPodAutoscaler
	UpdateMode string   // Off, Initial, Recreate, InPlaceOrRecreate, Auto
	Replicas   int      // pods of the workload
	Services   []string // services of the configuration that it serves
	Containers []Container
}

// Container is one container of a workload. All amounts are per pod.
type Container struct {
	Name   string
	CPU    Resource // in cores
	Memory Resource // in bytes
}

// Resource is what one container has, and what is recommended, of one resource. A value that is
// not set is undefined.
type Resource struct {
	Request, Limit                 slo.Value // as the running pods or the template ask
	Target, Lower, Upper, Uncapped slo.Value // VPA's recommendation
	Proposed                       slo.Value // the request yoyu proposes
	Headroom                       slo.Value // Request − Proposed: positive is waste, negative is need
}
