package main

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// change is a pull request: what yoyu check said of it, and what its files hold.
type change struct {
	token    string
	findings []string          // annotations
	files    map[string]string // the checkout
}

const newest = "4f0c7c1e2d3b4a5968778695a4b3c2d1e0f01234"

// comment runs the program against a double; it returns its log and the summary of the job.
func (c change) comment(t *testing.T, d *double) (log, summary string, err error) {
	t.Helper()
	folder := t.TempDir()
	put := func(name, text string) string {
		name = filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, text := range c.files {
		put("checkout/"+name, text)
	}
	event, err := json.Marshal(map[string]any{"pull_request": map[string]any{
		"number": number, "head": map[string]any{"sha": newest}, "base": map[string]any{"sha": strings.Repeat("b", 40)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"GITHUB_API_URL": "http://github.test", "GITHUB_REPOSITORY": repository, "TOKEN": c.token,
		"GITHUB_EVENT_PATH": put("event.json", string(event)), "GITHUB_WORKSPACE": filepath.Join(folder, "checkout"),
		"GITHUB_STEP_SUMMARY": filepath.Join(folder, "summary.md"), "FINDINGS": put("findings", strings.Join(c.findings, "\n")+"\n"), "FILES": "slos.yaml",
	}
	var said strings.Builder
	err = run(t.Context(), func(name string) string { return env[name] }, &said, d)
	text, reading := os.ReadFile(env["GITHUB_STEP_SUMMARY"])
	if reading != nil && !os.IsNotExist(reading) {
		t.Fatal(reading)
	}
	return said.String(), string(text), err
}

func newDouble(t *testing.T, patch string) *double {
	return &double{t: t, base: "http://github.test", head: newest, files: []changed{{Filename: "slos.yaml", Status: "modified", Patch: patch}}}
}

const (
	slosFile  = "tick: 30s\nslos:\n  - name: pay\n    objective: 0.999\n    period: 30d\n  - name: ship\n    objective: 120\n"
	slosPatch = "@@ -2,3 +2,3 @@ tick: 30s\n slos:\n   - name: pay\n-    objective: 99.9\n+    objective: 0.999"
	onLine    = "::error file=slos.yaml,line=4,col=16::slos[0] pay: objective: is 0.999 %25: did you mean 99.9?"
	elsewhere = "::error file=slos.yaml,line=7,col=16::slos[1] ship: objective: is above 100"
	ofFile    = "::warning file=other.yaml::no SLO is in it"
)

func slos(token string, findings ...string) change {
	return change{token: token, findings: findings, files: map[string]string{"slos.yaml": slosFile}}
}

// shown is what somebody reads: without marks and with entities as the signs that they are.
func shown(body string) string {
	return html.UnescapeString(regexp.MustCompile(`(?s)<!--.*?-->\n?|</?code>|</?sub>`).ReplaceAllString(body, ""))
}

func TestCommentsStandOnTheirLines(t *testing.T) {
	d := newDouble(t, slosPatch)
	c := slos(writer, onLine, elsewhere, ofFile, onLine)
	if log, summary, err := c.comment(t, d); err != nil || log != "" || summary != "" {
		t.Fatalf("%v\n%s%s", err, log, summary)
	}
	if len(d.reviews) != 1 || d.reviews[0].CommitID != newest || len(d.comments) != 1 {
		t.Fatalf("reviews: %+v", d.reviews)
	}
	if got := d.comments[0]; got.Path != "slos.yaml" || *got.Line != 4 || shown(got.Body) != "**fault** slos[0] pay: objective: is 0.999 %: did you mean 99.9?\n" {
		t.Errorf("the comment: %s:%d %q", got.Path, *got.Line, shown(got.Body))
	}
	if len(d.page) != 1 {
		t.Fatalf("the page: %+v", d.page)
	}
	text := shown(d.page[0].Body)
	for _, want := range []string{
		"finds faults and warnings in slos.yaml, 3 in all: 1 on lines of this change, 2 here",
		"- **fault** slos.yaml:7 slos[1] ship: objective: is above 100\n",
		"- **warning** other.yaml no SLO is in it\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}

	// The same again says nothing again.
	before := len(d.writes)
	if _, _, err := c.comment(t, d); err != nil || len(d.writes) != before {
		t.Errorf("again: %v, %v", err, d.writes[before:])
	}
	// One finding is gone: the page is rewritten, and is still one.
	if _, _, err := slos(writer, onLine, ofFile).comment(t, d); err != nil || len(d.writes) != before+1 || len(d.page) != 1 || strings.Contains(d.page[0].Body, "ship") {
		t.Errorf("less: %v, %v\n%s", err, d.writes[before:], d.page[0].Body)
	}
	// All are gone, and the page says so.
	if _, _, err := slos(writer).comment(t, d); err != nil || len(d.page) != 1 || !strings.Contains(shown(d.page[0].Body), "finds no fault in slos.yaml") {
		t.Errorf("none: %v\n%s", err, d.page[0].Body)
	}
	// A comment whose line has gone from the diff does not stand in the way of a new one.
	d.comments[0].Line = nil
	if _, _, err := slos(writer, onLine).comment(t, d); err != nil || len(d.reviews) != 2 || len(d.comments) != 2 {
		t.Errorf("a line that came back: %v, %d reviews", err, len(d.reviews))
	}
}

func TestNothingToSayIsNotSaid(t *testing.T) {
	d := newDouble(t, slosPatch)
	if log, summary, err := slos(writer).comment(t, d); err != nil || log != "" || summary != "" || len(d.writes) != 0 {
		t.Errorf("%v %q %q %v", err, log, summary, d.writes)
	}
}

// The checkout is the merge into a base that went on: lines have other numbers there.
func TestLinesMoveWithTheBase(t *testing.T) {
	d := newDouble(t, slosPatch)
	c := slos(writer, strings.Replace(onLine, "line=4", "line=6", 1), strings.Replace(elsewhere, "line=7", "line=4", 1))
	c.files["slos.yaml"] = "# one\n# two\n" + slosFile // line 4 is in the diff by its number, and says something else
	if _, _, err := c.comment(t, d); err != nil {
		t.Fatal(err)
	}
	if len(d.comments) != 2 || *d.comments[0].Line != 4 || *d.comments[1].Line != 2 {
		t.Errorf("comments: %+v", d.comments)
	}
}

func TestReadOnlyTokenFallsBack(t *testing.T) {
	d := newDouble(t, slosPatch)
	_, summary, err := slos(reader, onLine, elsewhere).comment(t, d)
	if err == nil || !strings.Contains(err.Error(), "Resource not accessible by integration") || !strings.Contains(err.Error(), "pull-requests: write") || !strings.Contains(err.Error(), "fork") {
		t.Errorf("the word: %v", err)
	}
	if len(d.writes) != 0 {
		t.Errorf("written: %v", d.writes)
	}
	for _, want := range []string{"slos.yaml:4 slos[0] pay: objective: is 0.999 %", "slos.yaml:7 slos[1] ship: objective: is above 100"} {
		if !strings.Contains(shown(summary), want) {
			t.Errorf("the summary lacks %q:\n%s", want, shown(summary))
		}
	}
	if _, summary, err := slos("ghs_expired", onLine).comment(t, d); err == nil || !strings.Contains(err.Error(), "Bad credentials") || strings.Contains(err.Error(), "ghs_") || !strings.Contains(shown(summary), "slos.yaml:4") {
		t.Errorf("a token that is none: %v\n%s", err, summary)
	}
}

// A push between two requests: GitHub no longer knows the line, and takes nothing of the review.
func TestLineThatGitHubRefusesGoesOntoThePage(t *testing.T) {
	d := newDouble(t, slosPatch)
	d.refuse = []refused{{status: 422, body: "Unprocessable Entity"}}
	if _, _, err := slos(writer, onLine).comment(t, d); err != nil {
		t.Fatal(err)
	}
	if len(d.comments) != 0 || len(d.page) != 1 || !strings.Contains(shown(d.page[0].Body), "slos.yaml:4 slos[0] pay") {
		t.Errorf("%+v\n%+v", d.comments, d.page)
	}
}

// A run that GitHub started for an older commit leaves what a newer one says alone.
func TestOlderRunIsSilent(t *testing.T) {
	d := newDouble(t, slosPatch)
	d.head = strings.Repeat("c", 40)
	if _, _, err := slos(writer, onLine).comment(t, d); err == nil || !strings.Contains(err.Error(), "has gone on") || len(d.writes) != 0 {
		t.Errorf("%v, %v", err, d.writes)
	}
}

func TestLimitsAreWaitedFor(t *testing.T) {
	in := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).Unix()) }
	for name, test := range map[string]struct {
		refuse func() []refused
		waits  time.Duration // at least; no more than 3 s above it
		err    string
	}{
		"secondary, told how long": {func() []refused {
			return []refused{
				{status: 403, header: map[string]string{"Retry-After": "30"}, body: "You have exceeded a secondary rate limit."},
				{status: 429, header: map[string]string{"Retry-After": "20"}, body: "Too many requests"},
			}
		}, 50 * time.Second, ""},
		"secondary, not told": {func() []refused {
			return []refused{{status: 403, body: "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}}
		}, time.Minute, ""},
		"primary": {func() []refused {
			return []refused{{status: 403, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": in(90 * time.Second)}, body: "API rate limit exceeded"}}
		}, 90 * time.Second, ""},
		"longer than a job waits": {func() []refused {
			return []refused{{status: 429, header: map[string]string{"Retry-After": "3600"}, body: "Too many requests"}}
		}, 0, "longer than the job waits"},
		"a limit without end": {func() []refused {
			return []refused{{status: 429, body: "no"}, {status: 429, body: "no"}, {status: 429, body: "no"}, {status: 429, body: "no"}}
		}, 3 * time.Minute, "longer than the job waits"},
		"what may have been written is not written again": {func() []refused {
			return []refused{{status: 502, body: "Server Error"}}
		}, 0, "502"},
	} {
		t.Run(name, func(t *testing.T) {
			c := slos(writer, onLine)
			synctest.Test(t, func(t *testing.T) {
				d := newDouble(t, slosPatch)
				d.refuse = test.refuse()
				began := time.Now()
				_, summary, err := c.comment(t, d)
				if took := time.Since(began); took < test.waits || took > test.waits+3*time.Second {
					t.Errorf("waited %s, not %s", took, test.waits)
				}
				if test.err == "" {
					if err != nil || len(d.reviews) != 1 || len(d.comments) != 1 {
						t.Errorf("%v, %d reviews", err, len(d.reviews))
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "pull-requests: write") || len(d.writes) != 0 || !strings.Contains(shown(summary), "slos.yaml:4") {
					t.Errorf("%v, %v\n%s", err, d.writes, summary)
				}
			})
		})
	}
}

// Lists are longer than a page: the file, what stands on its line, and the page are all behind the
// first hundred.
func TestListsAreReadToTheirEnd(t *testing.T) {
	d := newDouble(t, slosPatch)
	c := slos(writer, onLine, elsewhere)
	if _, _, err := c.comment(t, d); err != nil {
		t.Fatal(err)
	}
	line := 4
	for i := range 250 {
		d.files = append([]changed{{Filename: fmt.Sprintf("a%d.yaml", i), Patch: "@@ -0,0 +1 @@\n+x"}}, d.files...)
		d.comments = append([]stored{{ID: int64(1000 + i), Body: "why?", Path: "slos.yaml", Line: &line, User: user{"alice", "User"}}}, d.comments...)
		d.page = append([]stored{{ID: int64(2000 + i), Body: "hello", User: user{"alice", "User"}}}, d.page...)
	}
	before := len(d.writes)
	if _, _, err := c.comment(t, d); err != nil || len(d.writes) != before {
		t.Errorf("%v, written again: %v", err, d.writes[before:])
	}
	d.comments = nil
	if _, _, err := c.comment(t, d); err != nil || len(d.comments) != 1 {
		t.Errorf("a file behind the first page: %v, %d comments", err, len(d.comments))
	}
}

// Somebody who writes our marks into comments of their own neither silences us nor is rewritten.
func TestSomebodyElsesMark(t *testing.T) {
	d := newDouble(t, slosPatch)
	c := slos(writer, onLine, elsewhere)
	if _, _, err := c.comment(t, d); err != nil {
		t.Fatal(err)
	}
	d.comments[0].User, d.page[0].User = user{"mallory", "User"}, user{"mallory", "User"}
	copied := d.page[0].Body
	if _, _, err := c.comment(t, d); err != nil || len(d.comments) != 2 || len(d.page) != 2 || d.page[0].Body != copied {
		t.Errorf("%v, %d comments, %d pages", err, len(d.comments), len(d.page))
	}
}

func TestManyFindings(t *testing.T) {
	var file, patch strings.Builder
	var c change
	patch.WriteString("@@ -0,0 +1,100 @@\n")
	for i := range 100 {
		fmt.Fprintf(&file, "line %d\n", i)
		fmt.Fprintf(&patch, "+line %d\n", i)
		c.findings = append(c.findings, fmt.Sprintf("::error file=slos.yaml,line=%d::fault %d", i+1, i))
	}
	for i := range 3000 {
		c.findings = append(c.findings, fmt.Sprintf("::error file=other.yaml,line=%d::a fault with quite some words about it, number %d", i+1, i))
	}
	c.token, c.files = writer, map[string]string{"slos.yaml": file.String()}
	d := newDouble(t, strings.TrimSuffix(patch.String(), "\n"))
	for range 2 { // the second time changes nothing
		if _, _, err := c.comment(t, d); err != nil {
			t.Fatal(err)
		}
		if len(d.reviews) != 2 || len(d.comments) != 60 || len(d.page) != 1 {
			t.Fatalf("%d reviews, %d comments, %d pages", len(d.reviews), len(d.comments), len(d.page))
		}
	}
	if text := shown(d.page[0].Body); !regexp.MustCompile(`and \d+ more, which the annotations`).MatchString(text) || !strings.Contains(text, "3100 in all") {
		t.Errorf("the page:\n%.300s", text)
	}
}

// What stands in files is shown, and is nobody's Markdown, HTML or name.
func TestTextsOfFilesAreShownAsTheyAre(t *testing.T) {
	const nasty = "@acme/admins <img src=x onerror=alert(1)> [x](javascript:1) `` ``` | **b** <!-- --> </code> &amp; fixes #1 http://evil.test www.evil.test \\"
	d := newDouble(t, slosPatch)
	c := slos(writer,
		"::error file=slos.yaml,line=4::"+nasty+"%0A%0A# second%0D%0A@bob \u202egnp.exe\x1b[31m "+writer,
		"::error file=<b>%2C@acme/admins.yaml,line=1::"+nasty)
	if _, _, err := c.comment(t, d); err != nil {
		t.Fatal(err)
	}
	if len(d.comments) != 1 || len(d.page) != 1 {
		t.Fatalf("%+v %+v", d.comments, d.page)
	}
	if got := shown(d.comments[0].Body); !strings.Contains(got, nasty+"  # second  @bob \ufffdgnp.exe\ufffd[31m HIDDEN\n") {
		t.Errorf("shown: %q", got)
	}
	if got := shown(d.page[0].Body); !strings.Contains(got, "<b>,@acme/admins.yaml:1 "+nasty+"\n") {
		t.Errorf("shown: %q", got)
	}
	for _, body := range []string{d.comments[0].Body, d.page[0].Body} {
		inside := regexp.MustCompile(`<code>(.*?)</code>`).FindAllStringSubmatch(body, -1)
		if len(inside) == 0 {
			t.Errorf("no code: %s", body)
		}
		for _, one := range inside {
			if rest := regexp.MustCompile(`&#\d+;`).ReplaceAllString(one[1], ""); strings.ContainsAny(rest, "@<>[]()`|*&#:/.\\_~!\n") {
				t.Errorf("read as something else: %q", rest)
			}
		}
	}
	if strings.Contains(d.comments[0].Body, writer) {
		t.Error("the token is in a comment")
	}
}

// An event without a pull request, as of a push, is nobody's to comment on.
func TestNoPullRequest(t *testing.T) {
	event := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(event, []byte(`{"ref":"refs/heads/main"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), func(name string) string { return map[string]string{"GITHUB_EVENT_PATH": event}[name] }, io.Discard, &double{t: t})
	if err != nil {
		t.Error(err)
	}
}
