package promtest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/realtest"
)

// Prometheus is the path of the pinned server; without one the test is skipped, or fails.
func Prometheus(t testing.TB) string {
	t.Helper()
	return realtest.Program(t, "prometheus", "prometheus", "YOYU_PROMETHEUS")
}

// Promtool is the path of the pinned promtool; without one the test is skipped, or fails.
func Promtool(t testing.TB) string {
	t.Helper()
	return realtest.Program(t, "prometheus", "promtool", "YOYU_PROMTOOL")
}

// AlertmanagerProgram is the path of the pinned Alertmanager; without one the test is skipped, or fails.
func AlertmanagerProgram(t testing.TB) string {
	t.Helper()
	return realtest.Program(t, "alertmanager", "alertmanager", "YOYU_ALERTMANAGER")
}

// Amtool is the path of the pinned amtool; without one the test is skipped, or fails.
func Amtool(t testing.TB) string {
	t.Helper()
	return realtest.Program(t, "alertmanager", "amtool", "YOYU_AMTOOL")
}

// RunPromtool runs promtool in a folder ("" is the current one) and returns all that it printed.
// A failure is the caller's to judge.
func RunPromtool(t testing.TB, dir string, arguments ...string) (string, error) {
	t.Helper()
	command := exec.Command(Promtool(t), arguments...)
	command.Dir = dir
	output, err := command.CombinedOutput()
	return string(output), err
}

// CreateBlocks writes OpenMetrics text with timestamps as blocks into dir, which a server may then
// be started on (Options.Dir). The text ends with "# EOF".
func CreateBlocks(t testing.TB, dir string, openmetrics io.Reader) {
	t.Helper()
	promtool := Promtool(t)
	text, err := os.Create(filepath.Join(t.TempDir(), "samples.om"))
	if err != nil {
		t.Fatalf("blocks: %v", err)
	}
	_, err = io.Copy(text, openmetrics)
	if err = errors.Join(err, text.Close()); err != nil {
		t.Fatalf("blocks: %v", err)
	}
	// Blocks of two hours, promtool's own choice, would make a month a matter of minutes.
	output, err := exec.Command(promtool, "tsdb", "create-blocks-from", "--max-block-duration=30d", "openmetrics", text.Name(), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("blocks: promtool: %v\n%s", err, output)
	}
}
