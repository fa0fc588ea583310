package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// yoyu is the program, built once.
var yoyu string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		folder, err := os.MkdirTemp("", "yoyu-action-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		yoyu = filepath.Join(folder, "yoyu")
		if out, err := exec.CommandContext(context.Background(), "go", "build", "-o", yoyu, "../../..").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// repo is a repository as GitHub serves it, and the pull request in it.
type repo struct {
	t                  *testing.T
	server, work       string // folders
	base, head, merged string // commits
}

func (r *repo) git(folder string, args ...string) string {
	r.t.Helper()
	c := exec.CommandContext(r.t.Context(), "git", args...)
	c.Dir, c.Env = folder, append(os.Environ(), gitEnv...)
	out, err := c.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// gitEnv keeps this machine's settings out.
var gitEnv = []string{
	"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
	"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
}

// newRepo has the files of base on main, and those of head on a branch from there; main has gone on
// since by what is in later.
func newRepo(t *testing.T, base, head, later map[string]string) *repo {
	t.Helper()
	r := &repo{t: t, server: t.TempDir(), work: t.TempDir()}
	r.git(r.work, "init", "--quiet", "-b", "main")
	commit := func(files map[string]string) string {
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(r.work, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		r.git(r.work, "add", "-A")
		r.git(r.work, "commit", "--quiet", "--allow-empty", "-m", "a change")
		return r.git(r.work, "rev-parse", "HEAD")
	}
	commit(base)
	r.git(r.work, "checkout", "--quiet", "-b", "change")
	r.head = commit(head)
	r.git(r.work, "checkout", "--quiet", "main")
	r.base = commit(later)
	r.git(r.work, "checkout", "--quiet", "--detach")
	r.git(r.work, "merge", "--quiet", "--no-ff", "-m", "Merge", r.head)
	r.merged = r.git(r.work, "rev-parse", "HEAD")
	r.git(r.work, "branch", "pull", r.merged) // what a checkout of refs/pull/7/merge gets
	r.git(r.server, "clone", "--quiet", "--bare", r.work, "shop/slos.git")
	return r
}

// checkout is the job's, one commit deep as actions/checkout makes it.
func (r *repo) checkout() string {
	folder := filepath.Join(r.t.TempDir(), "checkout")
	r.git(r.server, "clone", "--quiet", "--depth=1", "--branch=pull", "file://"+r.server+"/shop/slos.git", folder)
	return folder
}

// files are the pull request's, as GitHub's list of them has their patches.
func (r *repo) files() (all []changed) {
	at := r.git(r.work, "merge-base", r.base, r.head)
	for _, name := range strings.Fields(r.git(r.work, "diff", "--name-only", at, r.head)) {
		patch := r.git(r.work, "diff", at, r.head, "--", name)
		_, patch, _ = strings.Cut(patch, "\n@@")
		all = append(all, changed{Filename: name, Status: "modified", Patch: "@@" + patch})
	}
	return all
}

// act runs the action's script in a checkout as a job of a pull request does.
func (r *repo) act(d *double, token string, env ...string) (out, summary string, code int) {
	r.t.Helper()
	d.look(func() { d.head, d.files = r.head, r.files() })
	folder := r.t.TempDir()
	event, err := json.Marshal(map[string]any{"pull_request": map[string]any{
		"number": number, "head": map[string]any{"sha": r.head}, "base": map[string]any{"sha": r.base},
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "event.json"), event, 0o644); err != nil {
		r.t.Fatal(err)
	}
	script, err := filepath.Abs("../review.sh")
	if err != nil {
		r.t.Fatal(err)
	}
	c := exec.CommandContext(r.t.Context(), "bash", script)
	c.Dir = r.checkout()
	c.Env = append(append(os.Environ(), gitEnv...), "YOYU="+yoyu, "TOKEN="+token, "FILES=config.yaml",
		"GITHUB_EVENT_NAME=pull_request", "GITHUB_EVENT_PATH="+filepath.Join(folder, "event.json"), "GITHUB_API_URL="+d.base,
		"GITHUB_SERVER_URL=file://"+r.server, "GITHUB_REPOSITORY="+repository, "GITHUB_WORKSPACE="+c.Dir,
		"GITHUB_STEP_SUMMARY="+filepath.Join(folder, "summary.md"), "RUNNER_TEMP="+folder)
	c.Env = append(c.Env, env...)
	said, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil {
		r.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "summary.md"))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, "yoyu*")); len(left) > 0 {
		r.t.Errorf("left behind: %v", left)
	}
	return string(said), string(text), c.ProcessState.ExitCode()
}

// burst is a configuration over recorded traffic that is checked in, with other promises.
func burst(objective string, more ...string) string {
	return `tick: 60s
sources:
  - name: recorded
    type: prometheus
    url: http://127.0.0.1:9090
slos:
  - name: burst
    service: checkout
    objective: ` + objective + `
    period: 30d
    source: recorded
    indicator:
      counters:
        total: http_requests_total{service="checkout"}
        bad: http_requests_total{service="checkout",code=~"5.."}
` + strings.Join(more, "")
}

func another(name, objective string) string {
	return `  - name: ` + name + `
    service: checkout
    objective: ` + objective + `
    period: 30d
    source: recorded
    indicator:
      counters: {total: 'http_requests_total{service="checkout"}', bad: 'http_requests_total{service="checkout",code=~"5.."}'}
`
}

func recording(t *testing.T) string {
	t.Helper()
	data, err := filepath.Abs("../../../testdata/conformance/burst/traffic.om.gz")
	if err != nil {
		t.Fatal(err)
	}
	return "DATA=" + data
}

func TestActionReviewsFaults(t *testing.T) {
	// A fault on a line of the change, one far from it, and a base that has grown by two lines before
	// both: in the checkout, which is the merge, they are in lines 11 and 34.
	base := burst("99.9", another("b", "99"), another("c", "99"), another("d", "120"))
	r := newRepo(t,
		map[string]string{"config.yaml": base},
		map[string]string{"config.yaml": strings.Replace(base, "objective: 99.9", "objective: 0.999", 1)},
		map[string]string{"config.yaml": "# owned by\n# somebody\n" + base})
	d := &double{t: t}
	d.serve()
	out, _, code := r.act(d, writer, recording(t))
	if code != 1 || !strings.Contains(out, "::error file=config.yaml,line=11,") || strings.Contains(out, "review comments") {
		t.Errorf("exit %d\n%s", code, out)
	}
	d.look(func() {
		if len(d.comments) != 1 || *d.comments[0].Line != 9 || !strings.Contains(shown(d.comments[0].Body), "99.9") {
			t.Errorf("comments: %+v", d.comments)
		}
		if len(d.page) != 1 || !strings.Contains(shown(d.page[0].Body), "config.yaml:34 ") || !strings.Contains(d.page[0].Body, "waits until the faults are gone") {
			t.Errorf("page: %+v", d.page)
		}
		d.writes = nil
	})
	if out, _, code := r.act(d, writer, recording(t)); code != 1 {
		t.Errorf("again: exit %d\n%s", code, out)
	}
	d.look(func() {
		if len(d.writes) != 0 {
			t.Errorf("again: %v", d.writes)
		}
	})

	// The same from a fork: nothing is written, nothing is lost, and the exit code is the check's.
	d = &double{t: t}
	d.serve()
	out, summary, code := r.act(d, reader, recording(t))
	if code != 1 || !strings.Contains(out, "::error file=config.yaml,line=11,") || !strings.Contains(out, "::warning::yoyu: review comments: the token may not write them") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if !strings.Contains(shown(summary), "config.yaml:11 ") || !strings.Contains(shown(summary), "config.yaml:34 ") {
		t.Errorf("the summary: %s", summary)
	}
	if strings.Contains(out+summary, reader) {
		t.Error("the token is printed")
	}
	d.look(func() {
		if len(d.writes) != 0 {
			t.Errorf("written: %v", d.writes)
		}
	})
}

func TestActionComparesWithTheBase(t *testing.T) {
	r := newRepo(t,
		map[string]string{"config.yaml": burst("99.9", another("b", "99"), another("old", "99"))},
		map[string]string{"config.yaml": burst("99", another("b", "99"), another("new", "99.9"))},
		nil)
	d := &double{t: t}
	d.serve()
	out, summary, code := r.act(d, writer, recording(t))
	if code != 0 || strings.Contains(out, "::") {
		t.Errorf("exit %d\n%s", code, out)
	}
	// What yoyu backtest prints of each by itself: testdata/conformance/burst has the recording.
	want := []string{
		"| burst | base | 99.9 % | 30d | workbook | 1 × (52m) | 2m | 1 × (6h24m) | 0s | -87.1 % |",
		"| burst | head | 99 % | 30d | workbook | never | – | 1 × (6h2m) | 10m | 81.3 % |",
		"| new | base | not there |",
		"| new | head | 99.9 % | 30d | workbook | 1 × (52m) | 2m | 1 × (6h24m) | 0s | -87.1 % |",
		"| old | base | 99 % | 30d | workbook | never | – | 1 × (6h2m) | 10m | 81.3 % |",
		"| old | head | not there |",
		fmt.Sprintf("Base is %.10s.", r.base),
		"The others, 1, would have done the same.",
	}
	d.look(func() {
		if len(d.page) != 1 || len(d.reviews) != 0 {
			t.Fatalf("%+v %+v\n%s", d.page, d.reviews, out)
		}
		for _, text := range []string{shown(d.page[0].Body), shown(summary)} {
			for _, line := range want {
				if !strings.Contains(text, line) {
					t.Errorf("lacks %q:\n%s", line, text)
				}
			}
			if strings.Contains(text, "| b |") {
				t.Errorf("what has not changed is shown:\n%s", text)
			}
		}
	})
	if !strings.Contains(summary, "```\nSLO") {
		t.Errorf("the summary lacks the alerts: %s", summary)
	}

	// A repository that cannot be reached leaves the change alone, and says so.
	d = &double{t: t}
	d.serve()
	out, _, code = r.act(d, writer, recording(t), "GITHUB_SERVER_URL=file:///nowhere")
	if code != 0 || !strings.Contains(out, "::warning::yoyu: base "+r.base) {
		t.Errorf("exit %d\n%s", code, out)
	}
	d.look(func() {
		if len(d.page) != 1 || !strings.Contains(shown(d.page[0].Body), "The base could not be had") || !strings.Contains(shown(d.page[0].Body), want[1]) {
			t.Errorf("%+v", d.page)
		}
	})
	if out, _, code := r.act(d, writer, recording(t), "COMMENT=false"); code != 0 || strings.Contains(out, "::") {
		t.Errorf("no comments asked for: exit %d\n%s", code, out)
	}
}

// A real Prometheus' own history says what the recording that it was filled with says.
func TestActionOverHistory(t *testing.T) {
	packed, err := os.Open("../../../testdata/conformance/burst/traffic.om.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	text, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	tsdb := t.TempDir()
	promtest.CreateBlocks(t, tsdb, text)
	prom := promtest.Start(t, promtest.Options{Dir: tsdb})
	config := func(objective string) map[string]string {
		return map[string]string{"config.yaml": strings.Replace(burst(objective), "http://127.0.0.1:9090", prom.URL(), 1)}
	}
	r := newRepo(t, config("99.9"), config("99"), nil)
	d := &double{t: t}
	d.serve()
	out, summary, code := r.act(d, writer, "START=2026-01-01T00:00:00Z", "END=2026-01-01T13:00:00Z")
	if code != 0 || strings.Contains(out, "::") {
		t.Errorf("exit %d\n%s", code, out)
	}
	d.look(func() {
		if len(d.page) != 1 {
			t.Fatalf("%+v\n%s", d.page, out)
		}
		for _, line := range []string{
			"on the sources' history from 2026-01-01T00:00:00Z to 2026-01-01T13:00:00Z",
			"| burst | base | 99.9 % | 30d | workbook | 1 × (52m) | 2m | 1 × (6h24m) | 0s |",
			"| burst | head | 99 % | 30d | workbook | never | – | 1 × (6h2m) | 10m |",
		} {
			if text := shown(d.page[0].Body); !strings.Contains(text, line) {
				t.Errorf("lacks %q:\n%s", line, text)
			}
		}
	})
	if !strings.Contains(summary, "the history from 2026-01-01T00:00:00Z") {
		t.Errorf("the summary: %s", summary)
	}
}
