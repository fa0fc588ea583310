// Command comments writes what `yoyu check` and `yoyu backtest` say about a pull request as review
// comments on it. It is a part of the action beside it, no command of yoyu: review.sh builds and
// runs it, and everything it is told comes as variables of the environment.
//
//	findings ──on a line of the diff──▶ one review, a comment on each line
//	    │                                     │ refused (422)
//	    └──elsewhere──▶ one comment of the pull request, rewritten at every push ◀── backtest of base and head
//	                                          │ may not write (403)
//	                                          └──▶ the summary of the job
//
// A finding that stands on its line already is not repeated. A token that may only read, as every
// pull request from a fork has it, costs the comments and nothing else: the program then exits with
// 0, as for every other failure of GitHub's. What comes from files of the pull request is shown as
// it is, and never read as Markdown, as HTML or as somebody's name.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Getenv, os.Stdout, http.DefaultTransport); err != nil {
		fmt.Println(annotation("warning", "review comments: "+err.Error()))
	}
}

// event is what the program needs of the event that started the workflow.
type event struct {
	PullRequest struct {
		Number int `json:"number"`
		Head   struct {
			SHA string `json:"sha"`
		} `json:"head"`
		Base struct {
			SHA string `json:"sha"`
		} `json:"base"`
	} `json:"pull_request"`
}

// settings are the program's variables.
type settings struct {
	api, server, repository string // of GitHub; repository is owner/name
	token                   string
	workspace, summary      string // folder of the checkout; file of the job's summary
	findings                string // file with the annotations that yoyu check printed
	yoyu                    string // path of the program
	files                   []string
	data, start, end        string // what is replayed; nothing when data and start are empty
	key                     string // whose comment it is, where a workflow runs the action twice
	event                   event
}

func read(env func(string) string) (settings, error) {
	s := settings{
		api:        cmp.Or(env("GITHUB_API_URL"), "https://api.github.com"),
		server:     cmp.Or(env("GITHUB_SERVER_URL"), "https://github.com"),
		repository: env("GITHUB_REPOSITORY"),
		token:      env("TOKEN"),
		workspace:  cmp.Or(env("GITHUB_WORKSPACE"), "."),
		summary:    env("GITHUB_STEP_SUMMARY"),
		findings:   env("FINDINGS"),
		yoyu:       env("YOYU"),
		files:      strings.Fields(env("FILES")),
		data:       env("DATA"),
		start:      env("START"),
		end:        env("END"),
		key:        fingerprint(env("GITHUB_WORKFLOW"), env("GITHUB_JOB"), env("FILES")),
	}
	text, err := os.ReadFile(env("GITHUB_EVENT_PATH"))
	if err != nil {
		return s, fmt.Errorf("event: %w", err)
	}
	if err := json.Unmarshal(text, &s.event); err != nil {
		return s, fmt.Errorf("event: %w", err)
	}
	s.workspace, err = filepath.Abs(s.workspace)
	return s, err
}

// run comments. Where GitHub does not let it, the job's summary holds what the comments would have
// said, and a line on log why.
func run(ctx context.Context, env func(string) string, log io.Writer, way http.RoundTripper) error {
	s, err := read(env)
	if err != nil {
		return err
	}
	if s.event.PullRequest.Number == 0 {
		return nil // a push, a schedule: nobody to tell
	}
	text, err := os.ReadFile(s.findings)
	if err != nil {
		return fmt.Errorf("findings: %w", err)
	}
	found := parseFindings(string(text), s.workspace)
	p := page{key: s.key, token: s.token, checked: s.files, head: s.event.PullRequest.Head.SHA}
	for _, f := range found {
		p.faults = p.faults || f.kind == "error"
	}
	if !p.faults && (s.data != "" || s.start != "") {
		p.replay = compare(ctx, s, log)
	}
	err = s.comment(ctx, found, &p, way)
	if err == nil && len(p.replay) == 0 {
		return nil
	}
	if err != nil {
		p.outside = found
	}
	if writing := s.summarise(p); writing != nil {
		return errors.Join(err, writing)
	}
	if refused := (*refusal)(nil); errors.As(err, &refused) && refused.readOnly() {
		return fmt.Errorf("the token may not write them (%w): what they would have said is in the annotations and the summary of the job; "+
			"give the job permissions: {contents: read, pull-requests: write}. A pull request from a fork is never given more than reading", err)
	}
	return err
}

// comment brings the findings onto the pull request, and fills the page with those that belong on
// no line of it.
func (s settings) comment(ctx context.Context, found []finding, p *page, way http.RoundTripper) error {
	g := &github{api: strings.TrimSuffix(s.api, "/"), token: s.token, repository: s.repository, number: s.event.PullRequest.Number, client: http.Client{Transport: way}}
	now, err := g.head(ctx)
	if err != nil {
		return err
	}
	if head := s.event.PullRequest.Head.SHA; now != head {
		return fmt.Errorf("the pull request has gone on from %.10s to %.10s, whose own run says what is left", head, now)
	}
	mine, err := g.mine(ctx)
	if err != nil {
		return err
	}
	var lines []draft
	if len(found) > 0 {
		diff, err := g.diff(ctx)
		if err != nil {
			return err
		}
		lines, p.outside = place(found, diff, s.workspace)
		there, err := g.reviewComments(ctx)
		if err != nil {
			return err
		}
		if err := s.review(ctx, g, fresh(lines, there, mine), p); err != nil {
			return err
		}
		p.inside = len(found) - len(p.outside)
	}
	return s.stick(ctx, g, mine, p)
}

// batch is how many comments one review holds, and most how many of them a pull request gets: more
// are read by nobody, and make GitHub ask for patience.
const (
	batch = 30
	most  = 60
)

// review writes reviews. What GitHub finds on no line of the diff goes onto the page.
func (s settings) review(ctx context.Context, g *github, lines []draft, p *page) error {
	for len(lines) > 0 {
		n := min(batch, len(lines))
		err := g.review(ctx, p.head, reviewBody(n), lines[:n])
		if refused := (*refusal)(nil); errors.As(err, &refused) && refused.status == 422 {
			for _, d := range lines[:n] { // a review is taken whole or not at all, and GitHub does not say which line it was
				p.outside = append(p.outside, d.finding)
			}
		} else if err != nil {
			return err
		}
		lines = lines[n:]
	}
	return nil
}

// stick writes the page into its own comment. One without news is not begun.
func (s settings) stick(ctx context.Context, g *github, mine func(author) bool, p *page) error {
	all, err := g.issueComments(ctx)
	if err != nil {
		return err
	}
	body := p.comment()
	for _, c := range all {
		if !mine(c.User) || !strings.HasPrefix(c.Body, marker("page", p.key)) {
			continue
		}
		if c.Body == body {
			return nil
		}
		return g.rewrite(ctx, c.ID, body)
	}
	if !p.news() {
		return nil
	}
	return g.say(ctx, body)
}

// summarise adds the page to the summary of the job.
func (s settings) summarise(p page) error {
	if s.summary == "" {
		return nil
	}
	f, err := os.OpenFile(s.summary, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	_, err = io.WriteString(f, p.text())
	return errors.Join(err, f.Close())
}

// patience is how long all waiting for GitHub's limits together may take.
const patience = 5 * time.Minute
