package datadog

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"
)

// ask sends a request with the keys, and returns status and body.
func ask(t *testing.T, d *Datadog, method, path string, body any) (int, map[string]any) {
	t.Helper()
	var in io.Reader
	if body != nil {
		text, ok := body.(string)
		if !ok {
			made, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			text = string(made)
		}
		in = bytes.NewReader([]byte(text))
	}
	r, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, in)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("DD-API-KEY", APIKey)
	r.Header.Set("DD-APPLICATION-KEY", AppKey)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	_ = json.Unmarshal(text, &out) // a list is none
	if out == nil {
		out = map[string]any{"text": string(text)}
	}
	return answer.StatusCode, out
}

func TestSubmittedPointsCanBeAsked(t *testing.T) {
	d := Start(t, Options{})
	at := d.Now().Unix()
	status, _ := ask(t, d, "POST", "/api/v2/series", map[string]any{"series": []any{map[string]any{
		"metric": "slo.burn-rate", "type": 3, "tags": []string{"SLO:Checkout", "window:1h"},
		"points": []any{map[string]any{"timestamp": at, "value": 2.5}},
	}}})
	if status != 202 {
		t.Fatalf("status %d", status)
	}
	d.Advance(time.Minute)
	found, err := d.Query("max:slo.burn_rate{slo:checkout} by {window}", d.Now().Add(-10*time.Minute), d.Now())
	if err != nil || len(found) != 1 || len(found[0].Buckets) != 1 || found[0].Buckets[0].Value != 2.5 || found[0].Group[0] != "window:1h" {
		t.Errorf("%v %v", found, err)
	}
	status, body := ask(t, d, "GET", "/api/v1/query?query=max:slo.burn_rate{*}&from=1767311000&to=1767312600", nil)
	if series, _ := body["series"].([]any); status != 200 || len(series) != 1 {
		t.Errorf("%d %v", status, body)
	}
}

func TestMonitorsAreKept(t *testing.T) {
	d := Start(t, Options{})
	monitor := map[string]any{"type": "query alert", "name": "burn ", "query": "max(last_5m):max:slo.alert_burn_ratio{severity:page} by {slo} > 1", "tags": []string{"managed_by:yoyu"}, "options": map[string]any{"thresholds": map[string]any{"critical": 1}}}
	status, body := ask(t, d, "POST", "/api/v1/monitor", monitor)
	if status != 200 || body["name"] != "burn" {
		t.Fatalf("%d %v", status, body)
	}
	if status, body = ask(t, d, "POST", "/api/v1/monitor", monitor); status != 400 {
		t.Errorf("the same again: %d %v", status, body)
	}
	monitor["query"] = "query"
	if status, body = ask(t, d, "POST", "/api/v1/monitor/validate", monitor); status != 400 {
		t.Errorf("no query: %d %v", status, body)
	}
	if n := len(d.Monitors()); n != 1 {
		t.Errorf("%d monitors", n)
	}
}
