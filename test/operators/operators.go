// Package operators holds the types of operators that deploy/kubernetes writes objects for. What
// test/build.sh makes of them are their CRDs, by the generator that the operators use themselves.
package operators

import (
	_ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)
