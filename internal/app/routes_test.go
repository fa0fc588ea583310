package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A sink of Datadog beside the Agent's annotation is warned of by check and at the start; neither
// alone is.
func TestTwoRoutesToDatadog(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"api":         "key",
		"sink.yaml":   "sinks:\n  - name: dd\n    type: datadog\n    api_key_file: api\n",
		"nobody.yaml": "sinks:\n  - {name: am, type: alertmanager, url: 'http://am:9093'}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, one := range []struct {
		file, annotation string
		warned           bool
	}{
		{"sink.yaml", `{"openmetrics":{}}`, true}, {"sink.yaml", "", false}, {"nobody.yaml", `{"openmetrics":{}}`, false},
	} {
		t.Setenv(agentChecks, one.annotation)
		file := filepath.Join(dir, one.file)
		var log, out bytes.Buffer
		if _, err := loadConfig(&process{log: slog.New(slog.NewTextHandler(&log, nil))}, file); err != nil {
			t.Fatal(err)
		}
		if code := Main(t.Context(), []string{"check", file}, &out, &out); code != 0 {
			t.Errorf("exit %d: %s", code, out.String())
		}
		const place, what = "sink.yaml:2:5: warning: sinks[0] dd: ", "what its Agent scrapes already"
		for where, text := range map[string]string{"log": log.String(), "check": out.String()} {
			if got := strings.Count(text, what); got > 1 || got == 1 != one.warned || one.warned && !strings.Contains(text, place) {
				t.Errorf("%s with annotation %q: %s: %s", one.file, one.annotation, where, text)
			}
		}
	}
}
