package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// double is GitHub for one pull request: the part of the REST API that the program uses, as GitHub
// documents it for version 2022-11-28. What GitHub would refuse it refuses, and what a well-behaved
// program would not send is a fault of the test.
type double struct {
	t    *testing.T
	base string // address, before the first request

	mu       sync.Mutex
	head     string
	files    []changed
	reviews  []review
	comments []stored  // of reviews
	page     []stored  // of the pull request's conversation
	writes   []string  // requests that changed something
	refuse   []refused // the next requests that would change something get these
	notUntil time.Time // after a limit
	id       int64
}

// refused is an answer in place of the usual one.
type refused struct {
	status int
	header map[string]string
	body   string
}

type changed struct {
	Filename string `json:"filename"`
	Status   string `json:"status"`
	Patch    string `json:"patch,omitempty"`
}

type review struct {
	CommitID string        `json:"commit_id"`
	Event    string        `json:"event"`
	Body     string        `json:"body"`
	Comments []lineComment `json:"comments"`
}

type lineComment struct {
	Path      string `json:"path"`
	Body      string `json:"body"`
	Position  *int   `json:"position"`
	Line      *int   `json:"line"`
	Side      string `json:"side"`
	StartLine *int   `json:"start_line"`
	StartSide string `json:"start_side"`
}

// The tokens that the double knows. Both are those of a job: an app's.
const (
	writer = "ghs_writer0123456789"
	reader = "ghs_reader0123456789" // as a pull request from a fork gets it
)

const repository, number = "shop/slos", 7

// stored is a comment as GitHub answers it.
type stored struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	Path string `json:"path,omitempty"`
	Line *int   `json:"line"`
	Side string `json:"side,omitempty"`
	User user   `json:"user"`
}

type user struct {
	Login string `json:"login"`
	Type  string `json:"type"`
}

var bot = user{"github-actions[bot]", "Bot"}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Now().Before(d.notUntil) {
		d.t.Errorf("%s %s came before the limit was over", r.Method, r.URL.Path)
	}
	say := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(v); err != nil {
			d.t.Error(err)
		}
	}
	no := func(status int, message string, faults ...string) {
		answer := map[string]any{"message": message, "status": strconv.Itoa(status), "documentation_url": "https://docs.github.com/rest"}
		if len(faults) > 0 {
			answer["errors"] = faults
		}
		say(status, answer)
	}
	if r.Header.Get("User-Agent") == "" {
		no(403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header")
		return
	}
	if got := r.Header.Get("Accept"); got != "application/vnd.github+json" {
		d.t.Errorf("%s %s: Accept: %q", r.Method, r.URL.Path, got)
	}
	if got := r.Header.Get("X-GitHub-Api-Version"); got != "2022-11-28" {
		no(400, "unsupported API version "+got)
		return
	}
	token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !isBearer || token != writer && token != reader {
		no(401, "Bad credentials")
		return
	}
	if r.Method != http.MethodGet {
		if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
			d.t.Errorf("%s %s: Content-Type: %q", r.Method, r.URL.Path, got)
		}
		if token == reader {
			no(403, "Resource not accessible by integration")
			return
		}
		if len(d.refuse) > 0 {
			one := d.refuse[0]
			d.refuse = d.refuse[1:]
			for name, value := range one.header {
				w.Header().Set(name, value)
			}
			if seconds, err := strconv.Atoi(one.header["Retry-After"]); err == nil {
				d.notUntil = time.Now().Add(time.Duration(seconds) * time.Second)
			}
			no(one.status, one.body)
			return
		}
	}
	pull := fmt.Sprintf("/repos/%s/pulls/%d", repository, number)
	conversation := fmt.Sprintf("/repos/%s/issues/%d/comments", repository, number)
	one := regexp.MustCompile(`^/repos/` + repository + `/issues/comments/(\d+)$`).FindStringSubmatch(r.URL.Path)
	switch request := r.Method + " " + r.URL.Path; {
	case request == "GET /user":
		no(403, "Resource not accessible by integration")
	case request == "GET "+pull:
		say(200, map[string]any{"number": number, "state": "open", "head": map[string]any{"sha": d.head}})
	case request == "GET "+pull+"/files":
		say(200, pageOf(d, w, r, d.files))
	case request == "GET "+pull+"/comments":
		say(200, pageOf(d, w, r, d.comments))
	case request == "GET "+conversation:
		say(200, pageOf(d, w, r, d.page))
	case request == "POST "+pull+"/reviews":
		var sent review
		if fault := strict(r, &sent); fault != "" {
			no(422, "Invalid request.", fault)
		} else if faults := d.faults(sent); len(faults) > 0 {
			no(422, "Unprocessable Entity", strings.Join(faults, ", "))
		} else {
			d.reviews = append(d.reviews, sent)
			for _, c := range sent.Comments {
				d.id++
				d.comments = append(d.comments, stored{ID: d.id, Body: c.Body, Path: c.Path, Line: c.Line, Side: c.Side, User: bot})
			}
			d.writes = append(d.writes, request)
			say(200, map[string]any{"id": d.id, "state": "COMMENTED"})
		}
	case request == "POST "+conversation, one != nil && r.Method == http.MethodPatch:
		var sent struct {
			Body *string `json:"body"`
		}
		if fault := strict(r, &sent); fault != "" || sent.Body == nil || *sent.Body == "" || utf8.RuneCountInString(*sent.Body) > 65536 {
			no(422, "Validation Failed", "body is missing, or is too long (maximum is 65536 characters)", fault)
			return
		}
		if one == nil {
			d.id++
			d.page = append(d.page, stored{ID: d.id, Body: *sent.Body, User: bot})
			d.writes = append(d.writes, request)
			say(201, d.page[len(d.page)-1])
			return
		}
		i := slices.IndexFunc(d.page, func(c stored) bool { return strconv.FormatInt(c.ID, 10) == one[1] })
		if i < 0 {
			no(404, "Not Found")
			return
		}
		d.page[i].Body = *sent.Body
		d.writes = append(d.writes, request)
		say(200, d.page[i])
	default:
		d.t.Errorf("the program asked for %s", request)
		no(404, "Not Found")
	}
}

// strict decodes what a request holds and knows no other field.
func strict(r *http.Request, v any) string {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return err.Error()
	}
	return ""
}

// faults are what GitHub finds wrong with a review; it is taken whole or not at all.
func (d *double) faults(r review) (faults []string) {
	if r.CommitID != d.head {
		faults = append(faults, "Commit is not part of the pull request")
	}
	if r.Event != "COMMENT" || r.Body == "" {
		faults = append(faults, "the program only comments, and a comment has a body")
	}
	for _, c := range r.Comments {
		i := slices.IndexFunc(d.files, func(f changed) bool { return f.Filename == c.Path })
		switch {
		case c.Body == "" || utf8.RuneCountInString(c.Body) > 65536:
			faults = append(faults, "Body is blank or too long")
		case i < 0:
			faults = append(faults, "Path could not be resolved")
		case c.Line == nil || c.Side != "RIGHT" || c.Position != nil || c.StartLine != nil || c.StartSide != "" || !shows(d.files[i].Patch, *c.Line):
			faults = append(faults, "Line could not be resolved")
		}
	}
	return faults
}

// shows reports whether the new side of a patch has a line: by its hunks' headers alone.
func shows(patch string, line int) bool {
	for _, match := range regexp.MustCompile(`(?m)^@@ -[0-9,]+ \+(\d+)(?:,(\d+))? @@`).FindAllStringSubmatch(patch, -1) {
		from, _ := strconv.Atoi(match[1])
		length := 1
		if match[2] != "" {
			length, _ = strconv.Atoi(match[2])
		}
		if from <= line && line < from+length {
			return true
		}
	}
	return false
}

// pageOf is the part of a list that a request asks for, 30 long unless it says how long; the headers
// say where the others are.
func pageOf[T any](d *double, w http.ResponseWriter, r *http.Request, all []T) []T {
	size, page := 30, 1
	if text := r.FormValue("per_page"); text != "" {
		size, _ = strconv.Atoi(text)
		size = min(size, 100)
	}
	if text := r.FormValue("page"); text != "" {
		page, _ = strconv.Atoi(text)
	}
	from := min((page-1)*size, len(all))
	to := min(from+size, len(all))
	address := func(page int) string {
		return fmt.Sprintf("<%s%s?per_page=%d&page=%d>", d.base, r.URL.Path, size, page)
	}
	last := (len(all) + size - 1) / size
	var links []string
	if page > 1 {
		links = append(links, address(page-1)+`; rel="prev"`)
	}
	if to < len(all) {
		links = append(links, address(page+1)+`; rel="next"`, address(last)+`; rel="last"`)
	}
	if page > 1 {
		links = append(links, address(1)+`; rel="first"`)
	}
	if len(links) > 0 {
		w.Header().Set("Link", strings.Join(links, ", "))
	}
	return append([]T{}, all[from:to]...)
}

// RoundTrip answers without a network, so that a limit is waited for in no time.
func (d *double) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := r.Clone(r.Context())
	if sent.Body == nil {
		sent.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	d.ServeHTTP(answer, sent)
	return answer.Result(), nil
}

// serve puts the double on the network.
func (d *double) serve() {
	server := httptest.NewServer(d)
	d.t.Cleanup(server.Close)
	d.mu.Lock()
	d.base = server.URL
	d.mu.Unlock()
}

// look reads the double's memory.
func (d *double) look(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// The double itself keeps to what is documented.
func TestDouble(t *testing.T) {
	d := &double{t: t, base: "http://github.test", head: "abc", files: []changed{{Filename: "a.yaml", Patch: "@@ -1,2 +1,3 @@\n one\n+two\n three\n@@ -9 +10 @@\n-x\n+y"}}}
	post := func(body string) int {
		r := httptest.NewRequest(http.MethodPost, "/repos/shop/slos/pulls/7/reviews", bytes.NewReader([]byte(body)))
		for name, value := range map[string]string{"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28", "Authorization": "Bearer " + writer, "User-Agent": "test", "Content-Type": "application/json"} {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		return w.Code
	}
	for line, want := range map[int]int{0: 422, 1: 200, 3: 200, 4: 422, 9: 422, 10: 200, 11: 422} {
		if got := post(fmt.Sprintf(`{"commit_id":"abc","event":"COMMENT","body":"b","comments":[{"path":"a.yaml","line":%d,"side":"RIGHT","body":"c"}]}`, line)); got != want {
			t.Errorf("line %d: %d, not %d", line, got, want)
		}
	}
	for _, body := range []string{`{}`, `{"commit_id":"old","event":"COMMENT","body":"b"}`, `{"commit_id":"abc","event":"COMMENT","body":"b","colour":"red"}`,
		`{"commit_id":"abc","event":"COMMENT","body":"b","comments":[{"path":"b.yaml","line":1,"side":"RIGHT","body":"c"}]}`} {
		if got := post(body); got != 422 {
			t.Errorf("%s: %d", body, got)
		}
	}
}
