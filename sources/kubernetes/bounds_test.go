package kubernetes

import (
	"encoding/json"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
)

// What a namespace allows: of several bounds the tightest, of quotas those of all pods.
func TestNamespaceBounds(t *testing.T) {
	var found objects
	for kindName, texts := range map[string][]string{
		"LimitRange": {
			`{"metadata":{"namespace":"shop","name":"a"},"spec":{"limits":[{"type":"Container","min":{"cpu":"10m","memory":"16Mi"},"max":{"cpu":"2"}},{"type":"Pod","max":{"cpu":"1"}}]}}`,
			`{"metadata":{"namespace":"shop","name":"b"},"spec":{"limits":[{"type":"Container","min":{"cpu":"20m"},"max":{"cpu":"4","memory":"2Gi"}}]}}`,
		},
		"ResourceQuota": {
			`{"metadata":{"namespace":"shop","name":"all"},"status":{"hard":{"requests.cpu":"10","memory":"64Gi","pods":"10"},"used":{"requests.cpu":"7500m","memory":"65Gi","pods":"3"}}}`,
			`{"metadata":{"namespace":"shop","name":"wider"},"status":{"hard":{"cpu":"100"},"used":{"cpu":"7500m"}}}`,
			`{"metadata":{"namespace":"shop","name":"some"},"spec":{"scopes":["BestEffort"]},"status":{"hard":{"cpu":"1"},"used":{"cpu":"1"}}}`,
			`{"metadata":{"namespace":"other","name":"unknown yet"},"status":{}}`,
		},
	} {
		for _, k := range kinds {
			for _, text := range texts {
				if k.name != kindName {
					continue
				}
				one, err := k.decode(json.RawMessage(text))
				if err != nil {
					t.Fatal(err)
				}
				found.put(one)
			}
		}
	}
	got := namespaceBounds(found)
	want := bounds{
		least: rightsizing.Resources{CPU: is(0.02), Memory: is(16 * mebi)},
		most:  rightsizing.Resources{CPU: is(2), Memory: is(2048 * mebi)},
		room:  rightsizing.Resources{CPU: is(2.5), Memory: is(0)},
	}
	if got["shop"] != want {
		t.Errorf("got  %+v\nwant %+v", got["shop"], want)
	}
	if got["other"] != (bounds{}) {
		t.Errorf("a quota that nobody has filled in yet bounds %+v", got["other"])
	}
}
