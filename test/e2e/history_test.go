package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// runYoyu runs one command to its end.
func runYoyu(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, "yoyu"), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// The recorded cases, loaded into a real Prometheus, say what they say as recordings: the same
// reports and the same alerts, by two sources that share no line of reading.
func TestHistoryOfAPrometheus(t *testing.T) {
	alerted := 0
	for _, name := range []string{"first-error", "gap", "churn", "routes", "burst", "month"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("../../testdata/conformance", name)
			recording := filepath.Join(dir, "traffic.om.gz")
			f, err := os.Open(recording)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			zr, err := gzip.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(zr)
			if err != nil {
				t.Fatal(err)
			}
			tsdb := t.TempDir()
			promtest.CreateBlocks(t, tsdb, bytes.NewReader(text))
			prom := promtest.Start(t, promtest.Options{Dir: tsdb})

			config, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, bytes.ReplaceAll(config, []byte("http://127.0.0.1:9090"), []byte(prom.URL())), 0o600); err != nil {
				t.Fatal(err)
			}
			var want struct {
				SLO    string
				Expect []struct{ Time int64 }
			}
			expect, err := os.ReadFile(filepath.Join(dir, "expect.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(expect, &want); err != nil {
				t.Fatal(err)
			}
			args := []string{"backtest", "--config.file=" + file, "-o", "json"}
			if name == "month" || name == "burst" { // other promises too: their own period has a question of its own
				args = append(args, "--slo="+want.SLO, "--objective=99.5", "--objective=99.99", "--period=28d", "--period=30d")
			}
			for _, e := range want.Expect {
				args = append(args, fmt.Sprintf("--at=%d", e.Time))
			}
			end := 0 // of the recording: what is left then is compared too
			for line := range strings.Lines(string(text)) {
				if at, err := strconv.Atoi(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1 : len(line)-1]); err == nil {
					end = max(end, at)
				}
			}
			fromFile, stderr, code := runYoyu(t, append(args, "--data="+recording)...)
			if code != 0 {
				t.Fatalf("--data: exit %d: %s", code, stderr)
			}
			fromServer, stderr, code := runYoyu(t, append(args, "--start=1767225000", fmt.Sprintf("--end=%d", end))...)
			if code != 0 {
				t.Fatalf("--start: exit %d: %s", code, stderr)
			}
			var a, b map[string]any
			if err := errors.Join(json.Unmarshal([]byte(fromFile), &a), json.Unmarshal([]byte(fromServer), &b)); err != nil {
				t.Fatal(err)
			}
			for i, r := range a["reports"].([]any) {
				if other := b["reports"].([]any)[i]; !reflect.DeepEqual(r, other) {
					t.Fatalf("report %d:\nfrom the file   %v\nfrom the server %v", i, r, other)
				}
			}
			if !reflect.DeepEqual(a["alerts"], b["alerts"]) {
				t.Errorf("alerts:\nfrom the file   %v\nfrom the server %v", a["alerts"], b["alerts"])
			}
			alerted += len(a["alerts"].([]any))
			if !reflect.DeepEqual(a["comparison"], b["comparison"]) {
				t.Errorf("comparison:\nfrom the file   %v\nfrom the server %v", a["comparison"], b["comparison"])
			}
			if compared, _ := a["comparison"].([]any); (name == "month" || name == "burst") && len(compared) != 5 {
				t.Errorf("%d promises side by side, want 5", len(compared))
			}
		})
	}
	if alerted == 0 && !t.Failed() {
		t.Error("no case alerts: that both agree on none proves little")
	}
}

// report fills its windows from history, prints, and says by its exit code that a budget is spent;
// check --live asks the server first.
func TestReportFromHistory(t *testing.T) {
	var text strings.Builder
	now := time.Now().Truncate(time.Minute)
	from := now.Add(-50 * time.Hour)
	fmt.Fprint(&text, "# TYPE requests counter\n")
	for code, every := range map[string]int{"200": 1, "500": 20} { // one in 20 minutes has an error
		n := 0
		for i := 0; i <= 50*60; i++ {
			if code == "200" {
				n += 10
			} else if i%every == every/2 { // none in the last minute, which a report may come too early for
				n++
			}
			fmt.Fprintf(&text, "requests_total{instance=\"a\",code=%q} %d %d\n", code, n, from.Add(time.Duration(i)*time.Minute).Unix())
		}
	}
	fmt.Fprint(&text, "# EOF\n")
	dir := t.TempDir()
	promtest.CreateBlocks(t, dir, strings.NewReader(text.String()))
	prom := promtest.Start(t, promtest.Options{Dir: dir})
	config := func(objective string) string {
		file := filepath.Join(t.TempDir(), "config.yaml")
		err := os.WriteFile(file, fmt.Appendf(nil, `
tick: 60s
sources: [{name: prom, type: prometheus, url: %q}]
defaults: {source: prom, period: 7d}
slos:
  - name: it
    service: shop
    objective: %s
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
  - name: nobody
    service: shop
    objective: 99
    indicator: {counters: {total: 'nothing_total', bad: 'nothing_total{code="500"}'}}
`, prom.URL(), objective), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	// 50 hours hold 30,000 good and 150 bad after the baselines: 0.4975 % are bad.
	out, stderr, code := runYoyu(t, "report", "--config.file="+config("99"), "-o", "json")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var d document
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	w := d.Reports[0].SLOs[0].Windows["7d"]
	if w.Total < 30100 || w.Total > 30150 || w.Bad != 150 || w.Coverage < 0.29 || w.Coverage > 0.31 {
		t.Errorf("%+v, want 150 bad of about 30,150, coverage 50 of 168 hours", w)
	}
	if got := d.Reports[0].SLOs[1].Windows["7d"]; got.Total != 0 || got.Coverage != 0 || got.BurnRate != nil {
		t.Errorf("what is not there: %+v", got)
	}
	if _, _, code := runYoyu(t, "report", "--config.file="+config("99.6")); code != 3 {
		t.Errorf("a spent budget: exit %d, want 3", code)
	}
	for output, mark := range map[string]string{"table": "BUDGET", "markdown": "| ", "html": "<table"} {
		if out, _, _ := runYoyu(t, "report", "--config.file="+config("99"), "-o", output); !strings.Contains(strings.ToUpper(out), strings.ToUpper(mark)) {
			t.Errorf("-o %s:\n%s", output, out)
		}
	}
	out, stderr, code = runYoyu(t, "check", "--live", config("99"))
	if code != 1 || !strings.Contains(out, "slo it: source prom: 2 series") || !strings.Contains(out, "slos[1] nobody: indicator: ") || !strings.Contains(out, "slo it: publishes ") {
		t.Errorf("check --live: exit %d\n%s%s", code, out, stderr)
	}
}

// A source that cannot be reached costs its own coverage: the others are reported, the failure is
// said, and the exit code is not 0.
func TestOneDeadSource(t *testing.T) {
	var text strings.Builder
	now := time.Now().Truncate(time.Minute)
	fmt.Fprint(&text, "# TYPE requests counter\n")
	for _, code := range []string{"200", "500"} {
		for i := range 181 {
			n := i * 90
			if code == "500" {
				n = i * 10
			}
			fmt.Fprintf(&text, "requests_total{instance=\"a\",code=%q} %d %d\n", code, n, now.Add(time.Duration(i-180)*time.Minute).Unix())
		}
	}
	fmt.Fprint(&text, "# EOF\n")
	dir := t.TempDir()
	promtest.CreateBlocks(t, dir, strings.NewReader(text.String()))
	prom := promtest.Start(t, promtest.Options{Dir: dir})
	file := filepath.Join(t.TempDir(), "config.yaml")
	err := os.WriteFile(file, fmt.Appendf(nil, `
tick: 60s
sources:
  - {name: dead, type: prometheus, url: "http://%s"}
  - {name: prom, type: prometheus, url: %q}
defaults: {period: 7d, indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}}
slos:
  - {name: gone, service: shop, objective: 99, source: dead}
  - {name: it, service: shop, objective: 85, source: prom}
`, freeAddress(t), prom.URL()), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	out, stderr, code := runYoyu(t, "report", "--config.file="+file, "-o", "json")
	if code != 1 || !strings.Contains(stderr, "gone") || !strings.Contains(stderr, "refused") {
		t.Errorf("report: exit %d, said %q; want 1 and what was refused", code, stderr)
	}
	check := func(what, out string) document {
		t.Helper()
		var d document
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			t.Fatalf("%s: %v in %q", what, err, out)
		}
		for _, s := range d.Reports[0].SLOs {
			w := s.Windows["1h"]
			switch s.SLO {
			case "gone":
				if w.Total != 0 || w.Coverage != 0 {
					t.Errorf("%s: what is gone has %+v", what, w)
				}
			case "it":
				if w.Bad < 580 || w.Bad > 600 || w.Total != 10*w.Bad {
					t.Errorf("%s: %+v, want about 600 bad of 6,000", what, w)
				}
			}
		}
		return d
	}
	check("report", out)

	out, stderr, code = runYoyu(t, "backtest", "--config.file="+file, "-o", "json",
		fmt.Sprintf("--start=%d", now.Add(-3*time.Hour).Unix()), fmt.Sprintf("--end=%d", now.Unix()), fmt.Sprintf("--at=%d", now.Unix()))
	if code != 0 || !strings.Contains(stderr, "slo gone: not covered: ") || strings.Count(stderr, "slo gone: not covered: ") != 1 {
		t.Errorf("backtest: exit %d, said %q; want 0 and what is not covered, once", code, stderr)
	}
	check("backtest", out)

	// Others, side by side.
	out, stderr, code = runYoyu(t, "backtest", "--config.file="+file, "-o", "json", "--slo=it", "--objective=95",
		fmt.Sprintf("--start=%d", now.Add(-3*time.Hour).Unix()), fmt.Sprintf("--end=%d", now.Unix()), fmt.Sprintf("--at=%d", now.Unix()))
	if code != 0 {
		t.Fatalf("backtest --objective: exit %d: %s", code, stderr)
	}
	d := check("other objective", out)
	if n := len(d.Reports[0].SLOs); n != 2 || d.Reports[0].SLOs[1].SLO != "it objective=95" {
		t.Fatalf("%d SLOs: %+v", n, d.Reports[0].SLOs)
	}
	if own, other := d.Reports[0].SLOs[0].Budget.Remaining, d.Reports[0].SLOs[1].Budget.Remaining; own < 0.3 || other > -0.9 {
		t.Errorf("remaining %v under 85 %%, %v under 95 %%; want about 1/3 and -1", own, other)
	}
}
