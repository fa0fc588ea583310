package sinks

import "time"

// JSONReadiness is what /api/v1/readiness and the command answer with, and what the page shows.
type JSONReadiness struct {
	Time     *time.Time         `json:"time"` // of the report; null where only the configuration was looked at
	Services []ServiceReadiness `json:"services"`
}

// ServiceReadiness is what one service has of what it should have before people depend on it.
type ServiceReadiness struct {
	Service string           `json:"service"`
	Ready   bool             `json:"ready"` // nothing is missing; what nobody could look at is no fault
	Checks  []ReadinessCheck `json:"checks"`
}

// ReadinessCheck is one thing that a service should have.
type ReadinessCheck struct {
	Check string         `json:"check"`
	State ReadinessState `json:"state"`
	Text  string         `json:"text"` // one sentence: what is there, or what to do
}

// ReadinessState says how it is.
type ReadinessState string

// The states of a check. What is unknown is never ok.
const (
	ReadinessOK      ReadinessState = "ok"
	ReadinessMissing ReadinessState = "missing"
	ReadinessUnknown ReadinessState = "unknown" // nobody was asked, or nobody knows
)
