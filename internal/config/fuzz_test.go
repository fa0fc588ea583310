package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/yoyu-sre/yoyu/internal/config"
)

// parse reads text without touching the disk or the environment of the machine.
func parse(data []byte) (*config.Config, error) {
	return config.Parse("config.yaml", data, config.WithEnv(environment), config.WithFiles(
		func(string) ([]string, error) { return []string{"slos/one.yaml"}, nil },
		func(string) ([]byte, error) {
			return []byte("slos: [{name: one, service: one, objective: 99, period: 30d, indicator: {gauge: {selector: up, good: '> 0'}}}]"), nil
		},
	))
}

// values is what a configuration means, without the places where it is written.
func values(c *config.Config) []any {
	out := []any{c.Tick, c.ExternalLabels, c.Series, c.Gate, c.Services, c.Objectives, c.Questions, c.Rightsizing, c.Compatibility}
	for _, s := range c.Sources {
		out = append(out, s.Name, s.Type, s.Delay)
	}
	for _, s := range c.Sinks {
		out = append(out, s.Name, s.Type)
	}
	return out
}

// stable holds the law: a configuration that is printed and read again means the same, and prints
// the same.
func stable(t *testing.T, c *config.Config) {
	t.Helper()
	first, err := c.YAML()
	if err != nil {
		t.Fatalf("printing: %v", err)
	}
	again, err := parse(first)
	if err != nil {
		t.Fatalf("what is printed has faults:\n%v\n%s", err, first)
	}
	if !reflect.DeepEqual(values(c), values(again)) {
		t.Fatalf("got\n%+v\nwant\n%+v\n%s", values(again), values(c), first)
	}
	second, err := again.YAML()
	if err != nil {
		t.Fatalf("printing again: %v", err)
	}
	if !bytes.Equal(first, second) {
		t.Fatalf("printed\n%s\nthen\n%s", first, second)
	}
}

func TestParsePrintParse(t *testing.T) {
	for _, file := range goodFiles(t) {
		t.Run(file, func(t *testing.T) { stable(t, load(t, file)) })
	}
}

// Any text gets an answer; and what has no fault is stable when printed and read again.
func FuzzParsePrintParse(f *testing.F) {
	files := goodFiles(f)
	for _, pattern := range []string{"testdata/broken/*.yaml", "testdata/broken/parts/*.yaml"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		files = append(files, more...)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // a folder among the broken ones
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		for _, fault := range append(config.FaultsOf(err), c.Warnings...) {
			if fault.Problem == "" || fault.Line < 1 || bytes.ContainsAny([]byte(fault.Error()), "\n\r") {
				t.Fatalf("fault without place, problem or on several lines: %q", fault.Error())
			}
		}
		_ = decode(c)
		if err == nil {
			stable(t, c)
		}
	})
}

// Text comes out of a printed configuration as it went in, whatever it holds: quotes, white space,
// words that YAML takes for something else.
func FuzzTextSurvives(f *testing.F) {
	f.Add("payments", "https://runbooks/checkout", "env:prod", "30d")
	f.Add("no", "0x10", "~", "-")
	f.Add("a: b # c", "'\"'", "  two\nlines\n\n", "\tx\r\n")
	f.Add("\u2028\ufeff\u0085", "{{.window}}", "5$", "$${HOST}")
	f.Add("", "2026-11-22", "1e3", "<<")
	f.Fuzz(func(t *testing.T, label, runbook, tag, key string) {
		quote := strconv.QuoteToASCII // its escapes are YAML's too
		c, err := parse([]byte(`{"sources": [{"name": "prom", "type": "prometheus", "url": "http://x", ` + quote(key) + `: [` + quote(label) + `]}],
"sinks": [{"name": "dd", "type": "datadog", "tags": [` + quote(tag) + `]}], "external_labels": {"a": ` + quote(label) + `},
"services": [{"name": "x", "runbook_url": ` + quote(runbook) + `, "labels": {"a": ` + quote(label) + `}}],
"slos": [{"name": "x", "service": "x", "objective": 99, "period": "30d", "indicator": {"gauge": {"selector": "up", "good": "> 0"}}}]}`))
		if err != nil {
			return
		}
		if got := c.Objectives[0].Labels["a"]; utf8.ValidString(label) && got != label {
			t.Fatalf("label is %q, want %q", got, label)
		}
		stable(t, c)
	})
}
