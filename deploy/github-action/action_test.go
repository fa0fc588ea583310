// Package action runs the reusable GitHub Action as a runner would.
package action

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// run is the script with the action's variables; it returns its stdout, the summary and the exit code.
func run(t *testing.T, yoyu string, env ...string) (out, summary string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "summary.md")
	command := exec.CommandContext(t.Context(), "bash", "review.sh")
	command.Env = append(append(os.Environ(), "YOYU="+yoyu, "GITHUB_STEP_SUMMARY="+file), env...)
	text, err := command.Output()
	if err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text), string(written), command.ProcessState.ExitCode()
}

func TestAction(t *testing.T) {
	yoyu := filepath.Join(t.TempDir(), "yoyu")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", yoyu, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const burst = "../../testdata/conformance/burst/"
	out, summary, code := run(t, yoyu, "FILES="+burst+"config.yaml", "DATA="+burst+"traffic.om.gz")
	if code != 0 || strings.Contains(out, "::error") {
		t.Errorf("a good configuration: exit %d\n%s", code, out)
	}
	if !strings.Contains(summary, "### What "+burst+"config.yaml would have done") || !strings.Contains(summary, "page") || strings.Count(summary, "```") != 2 {
		t.Errorf("the summary: %q", summary)
	}
	const broken = "../../internal/config/testdata/broken/secret-plain.yaml"
	out, summary, code = run(t, yoyu, "FILES="+broken, "DATA="+burst+"traffic.om.gz")
	if code != 1 || !strings.Contains(out, "::error file="+broken+",line=5,") || summary != "" || strings.Contains(out, "hunter2") {
		t.Errorf("a broken configuration: exit %d\n%s%s", code, out, summary)
	}
	if out, _, code := run(t, yoyu, "FILES=  "); code != 1 || !strings.Contains(out, "names no configuration") {
		t.Errorf("no configuration: exit %d\n%s", code, out)
	}
	// What a pull request names is a name, and never a command.
	mark := filepath.Join(t.TempDir(), "mark")
	if _, _, code := run(t, yoyu, "FILES=$(touch "+mark+") `touch "+mark+"`;touch "+mark); code == 0 {
		t.Error("no file of that name exists")
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a file's name was run as a command")
	}
}

func TestActionIsWellFormed(t *testing.T) {
	text, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var action struct {
		Name, Description string
		Inputs            map[string]struct {
			Description string
			Default     *string
			Required    bool
		}
		Runs struct {
			Using string
			Steps []struct {
				If, Uses, Shell, Run string
				With                 map[string]any
				Env                  map[string]string
			}
		}
	}
	if err := yaml.UnmarshalStrict(text, &action); err != nil {
		t.Fatal(err)
	}
	for _, step := range action.Runs.Steps {
		if strings.Contains(step.Run, "${{") {
			t.Errorf("a value becomes the text of a script: %s", step.Run)
		}
		if step.Run != "" && step.Shell != "bash" {
			t.Errorf("no shell for %s", step.Run)
		}
	}
}

// The page about the action names all of its inputs and no others, and what it says to copy is pinned
// as the action itself is.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var action struct {
		Inputs map[string]any
	}
	if err := yaml.Unmarshal(text, &action); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(string(page), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			told[strings.Trim(name, "`")] = true
		}
	}
	for name := range action.Inputs {
		if !told[name] {
			t.Errorf("README.md does not tell of the input %s", name)
		}
		delete(told, name)
	}
	for name := range told {
		t.Errorf("README.md tells of the input %s, which is none", name)
	}
	for _, used := range regexp.MustCompile(`uses: (\S+)`).FindAllStringSubmatch(string(text)+string(page), -1) {
		if !regexp.MustCompile(`@([0-9a-f]{40}|COMMIT)$`).MatchString(used[1]) {
			t.Errorf("not pinned: %s", used[1])
		}
	}
	_, block, _ := strings.Cut(string(page), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	var workflow struct {
		On          string
		Permissions map[string]string
		Concurrency map[string]any
		Jobs        map[string]any
	}
	if err := yaml.UnmarshalStrict([]byte(strings.Replace(block, "on:", `"on":`, 1)), &workflow); err != nil {
		t.Fatal(err)
	}
	if workflow.On != "pull_request" || len(workflow.Permissions) != 2 || workflow.Permissions["contents"] != "read" || workflow.Permissions["pull-requests"] != "write" {
		t.Errorf("the workflow to copy: %+v", workflow)
	}
}
