package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// github speaks about one pull request with GitHub's REST API, version 2022-11-28. One request
// follows another, as GitHub asks of those who write.
type github struct {
	api, token, repository string
	number                 int
	client                 http.Client
	waited                 time.Duration // for limits, so far
}

// refusal is an answer that is no success.
type refusal struct {
	what    string // the request
	status  int
	message string // GitHub's own word
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s: %d %s", r.what, r.status, strings.TrimSpace(http.StatusText(r.status)+": "+r.message))
}

// readOnly reports whether the token is good, and not for this. 404 is how GitHub refuses what a
// token may not even see.
func (r *refusal) readOnly() bool { return r.status == 403 || r.status == 404 || r.status == 401 }

// largest is the size of an answer above which it is not read: 100 files with their patches.
const largest = 64 << 20

// do sends one request and decodes its answer into out; next is the address of the page after it. A
// limit is waited for within patience. What only reads or overwrites is tried again after a server's
// fault; what adds is not, because it may have been added.
func (g *github) do(ctx context.Context, method, address string, in, out any) (next string, err error) {
	if !strings.HasPrefix(address, "http") {
		address = g.api + address
	}
	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return "", err
		}
	}
	for try := 0; ; try++ {
		answer, header, status, err := g.once(ctx, method, address, body)
		if err != nil {
			return "", fmt.Errorf("%s %s: %w", method, path(address), err)
		}
		if status/100 == 2 {
			if out != nil {
				if err := json.Unmarshal(answer, out); err != nil {
					return "", fmt.Errorf("%s %s: %w", method, path(address), err)
				}
			}
			return g.next(header), nil
		}
		refused := &refusal{what: method + " " + path(address), status: status}
		var said struct {
			Message string          `json:"message"`
			Errors  json.RawMessage `json:"errors"`
		}
		if json.Unmarshal(answer, &said) == nil {
			refused.message = strings.TrimSpace(said.Message + " " + string(said.Errors))
		}
		wait, limited := limit(status, header, said.Message, try, time.Now())
		if !limited && status >= 500 && method != http.MethodPost && try < 3 {
			wait, limited = time.Second<<try, true
		}
		if !limited {
			return "", refused
		}
		if g.waited += wait; g.waited > patience {
			return "", fmt.Errorf("%w: the limit lasts %s, longer than the job waits: run it again later", &limitation{refused}, wait.Round(time.Second))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// limitation is a refusal that has nothing to do with permissions.
type limitation struct{ refused *refusal }

func (l *limitation) Error() string { return l.refused.Error() }

func (g *github) once(ctx context.Context, method, address string, body []byte) ([]byte, http.Header, int, error) {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, nil, 0, err
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("Authorization", "Bearer "+g.token)
	request.Header.Set("User-Agent", "yoyu-github-action")
	request.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := g.client.Do(request)
	if err != nil {
		return nil, nil, 0, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, largest))
	return answer, response.Header, response.StatusCode, err
}

// limit says how long to wait before a request is sent again, as GitHub documents it: retry-after,
// else x-ratelimit-reset when nothing remains, else a minute that doubles.
func limit(status int, header http.Header, message string, try int, now time.Time) (time.Duration, bool) {
	if status != http.StatusForbidden && status != http.StatusTooManyRequests {
		return 0, false
	}
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds >= 0 && seconds < 1e6 {
		return time.Duration(seconds) * time.Second, try < 5
	}
	if header.Get("X-RateLimit-Remaining") == "0" {
		if reset, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return max(time.Second, time.Unix(reset, 0).Sub(now)+time.Second), try < 5
		}
	}
	if status == http.StatusTooManyRequests || strings.Contains(strings.ToLower(message), "secondary rate limit") {
		return time.Minute << min(try, 5), try < 5
	}
	return 0, false
}

var nextLink = regexp.MustCompile(`<([^>]*)>\s*;[^,]*\brel="?next"?`)

// next is the page after this one. The token goes to GitHub alone, whatever a header says.
func (g *github) next(header http.Header) string {
	match := nextLink.FindStringSubmatch(header.Get("Link"))
	if match == nil || !strings.HasPrefix(match[1], g.api+"/") {
		return ""
	}
	return match[1]
}

// path is an address as an error may show it.
func path(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that cannot be read"
	}
	return u.Path
}

func (g *github) pull(rest string) string {
	return fmt.Sprintf("/repos/%s/pulls/%d%s", g.repository, g.number, rest)
}

// every reads a list to its last page.
func every[T any](ctx context.Context, g *github, address string) ([]T, error) {
	var all []T
	for address += "?per_page=100"; address != ""; {
		var some []T
		next, err := g.do(ctx, http.MethodGet, address, nil, &some)
		if err != nil {
			return nil, err
		}
		all, address = append(all, some...), next
	}
	return all, nil
}

// head is the newest commit of the pull request.
func (g *github) head(ctx context.Context) (string, error) {
	var answer struct {
		Head struct {
			SHA string `json:"sha"`
		} `json:"head"`
	}
	_, err := g.do(ctx, http.MethodGet, g.pull(""), nil, &answer)
	return answer.Head.SHA, err
}

// author is who wrote a comment.
type author struct {
	Login string `json:"login"`
	Type  string `json:"type"` // User, Bot
}

// mine tells our own comments from those of somebody who copied their mark: by the token's user. The
// token of an app, as a job has it, may not ask who it is; its comments are those of bots.
func (g *github) mine(ctx context.Context) (func(author) bool, error) {
	var me author
	_, err := g.do(ctx, http.MethodGet, "/user", nil, &me)
	if refused, ok := err.(*refusal); ok && refused.readOnly() { //nolint:errorlint // as do returned it: a limitation is something else
		return func(a author) bool { return a.Type == "Bot" }, nil
	}
	return func(a author) bool { return a.Login == me.Login }, err
}

// diff is the new side of every file of the pull request: by path, then by line.
func (g *github) diff(ctx context.Context) (map[string]map[int]string, error) {
	type file struct {
		Name  string `json:"filename"`
		Patch string `json:"patch"` // left out for what is binary, too long or only renamed
	}
	files, err := every[file](ctx, g, g.pull("/files"))
	if err != nil {
		return nil, err
	}
	all := map[string]map[int]string{}
	for _, f := range files {
		all[f.Name] = newLines(f.Patch)
	}
	return all, nil
}

// written is a comment that is there already.
type written struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	Path string `json:"path"` // of a review's comment, as is
	Line *int   `json:"line"` // where it is now: null when its line has gone from the diff
	User author `json:"user"`
}

func (g *github) reviewComments(ctx context.Context) ([]written, error) {
	return every[written](ctx, g, g.pull("/comments"))
}

func (g *github) issueComments(ctx context.Context) ([]written, error) {
	return every[written](ctx, g, fmt.Sprintf("/repos/%s/issues/%d/comments", g.repository, g.number))
}

// review adds one review of a commit with a comment on each line. It neither approves nor blocks.
func (g *github) review(ctx context.Context, commit, body string, lines []draft) error {
	type comment struct {
		Path string `json:"path"`
		Line int    `json:"line"`
		Side string `json:"side"`
		Body string `json:"body"`
	}
	review := struct {
		CommitID string    `json:"commit_id"`
		Event    string    `json:"event"`
		Body     string    `json:"body"`
		Comments []comment `json:"comments"`
	}{commit, "COMMENT", body, nil}
	for _, d := range lines {
		review.Comments = append(review.Comments, comment{d.path, d.line, "RIGHT", d.body(g.token)})
	}
	_, err := g.do(ctx, http.MethodPost, g.pull("/reviews"), review, nil)
	return err
}

type text struct {
	Body string `json:"body"`
}

func (g *github) say(ctx context.Context, body string) error {
	_, err := g.do(ctx, http.MethodPost, fmt.Sprintf("/repos/%s/issues/%d/comments", g.repository, g.number), text{body}, nil)
	return err
}

func (g *github) rewrite(ctx context.Context, id int64, body string) error {
	_, err := g.do(ctx, http.MethodPatch, fmt.Sprintf("/repos/%s/issues/comments/%d", g.repository, id), text{body}, nil)
	return err
}
