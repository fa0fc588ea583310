package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// replay is what the SLOs of one configuration would have done, before the change and after it.
type replay struct {
	file, over string
	base       string // commit; "" when there is nothing to compare with
	trouble    string // why something cannot be said
	changed    []pair
	same       int // SLOs, or groups of them, that would have done the same
}

// pair is one SLO, or one group of it; nil where it is not.
type pair struct {
	name       string
	base, head *summary
}

// summary is what yoyu backtest says of one SLO, or one group of it.
type summary struct {
	SLO        string            `json:"slo"`
	Labels     map[string]string `json:"labels"`
	Objective  float64           `json:"objective"` // 0 to 1
	Policy     string            `json:"policy"`
	Period     string            `json:"period"`
	Severities []severity        `json:"severities"`
	Remaining  *float64          `json:"remaining_ratio"` // of the budget, at the end of the data
}

type severity struct {
	Severity string   `json:"severity"`
	Count    int      `json:"count"`
	Firing   float64  `json:"firing_seconds"`
	Median   *float64 `json:"median_detection_seconds"`
}

// name is the SLO with its group, as yoyu prints it.
func (s summary) name() string {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		labels = append(labels, key+"="+s.Labels[key])
	}
	if len(labels) == 0 {
		return s.SLO
	}
	return s.SLO + "{" + strings.Join(labels, ",") + "}"
}

// compare replays each configuration as it is in the checkout and as it is in the base.
func compare(ctx context.Context, s settings, log io.Writer) []replay {
	over := s.data
	if over == "" {
		over = "the sources' history from " + s.start
		if s.end != "" {
			over += " to " + s.end
		}
		s.end = cmp.Or(s.end, strconv.FormatInt(time.Now().Unix(), 10)) // one moment for both
	}
	commit := baseOf(ctx, s)
	folder, done, err := checkout(ctx, s, commit)
	defer done()
	if err != nil {
		fmt.Fprintln(log, annotation("warning", "base "+commit+": "+err.Error()+": the change is shown with nothing to compare it with"))
	}
	var all []replay
	for _, file := range s.files {
		r := replay{file: file, over: over}
		head, err := backtest(ctx, s, s.workspace, file)
		if err != nil {
			r.trouble = "This configuration could not be replayed; the log of the job says why."
			fmt.Fprintln(log, annotation("warning", "backtest: "+file+": "+err.Error()))
			all = append(all, r)
			continue
		}
		var base []summary
		switch name, inside := relative(s.workspace, file); {
		case folder == "" || !inside:
			r.trouble = "The base could not be had; the log of the job says why."
		case missing(filepath.Join(folder, name)):
			r.base = commit
		default:
			r.base = commit
			if base, err = backtest(ctx, s, folder, name); err != nil {
				r.base, r.trouble = "", "The base's configuration could not be replayed; the log of the job says why."
				fmt.Fprintln(log, annotation("warning", "backtest of the base: "+file+": "+err.Error()))
			}
		}
		r.pair(base, head)
		all = append(all, r)
	}
	return all
}

// pair sets the two beside each other. Without a base all are shown.
func (r *replay) pair(base, head []summary) {
	before := map[string]*summary{}
	for i := range base {
		before[base[i].name()] = &base[i]
	}
	for i := range head {
		name := head[i].name()
		was := before[name]
		delete(before, name)
		if was != nil && reflect.DeepEqual(*was, head[i]) {
			r.same++
			continue
		}
		r.changed = append(r.changed, pair{name, was, &head[i]})
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		r.changed = append(r.changed, pair{name, before[name], nil})
	}
}

// write adds the table: two lines for an SLO.
func (r *replay) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n#### What %s would have done on %s\n\n", code(r.file), code(r.over))
	if r.trouble != "" {
		fmt.Fprintf(b, "%s\n\n", r.trouble)
	}
	if len(r.changed) > 0 {
		var severities []string
		for _, p := range r.changed {
			for _, s := range []*summary{p.head, p.base} {
				if s == nil {
					continue
				}
				for _, one := range s.Severities {
					if !slices.Contains(severities, one.Severity) {
						severities = append(severities, one.Severity)
					}
				}
			}
		}
		b.WriteString("| SLO | | objective | period | policy |")
		for _, name := range severities {
			fmt.Fprintf(b, " %s | detected after |", code(name))
		}
		fmt.Fprintf(b, " budget left at the end |\n|---|---|---|---|---|%s---|\n", strings.Repeat("---|---|", len(severities)))
		for i, p := range r.changed {
			line := p.row(code(p.name), "base", p.base, severities)
			if r.base == "" {
				line = ""
			}
			line += p.row(code(p.name), "head", p.head, severities)
			if b.Len()+len(line) > longest {
				fmt.Fprintf(b, "\nand %d more.\n", len(r.changed)-i)
				break
			}
			b.WriteString(line)
		}
		b.WriteString("\n")
	}
	switch {
	case r.base == "":
	case len(r.changed) == 0:
		fmt.Fprintf(b, "All %d SLOs would have done the same as in the base, %.10s.\n", r.same, r.base)
	default:
		fmt.Fprintf(b, "Base is %.10s. A severity is counted in incidents, with the time that it fired; detected after is their median. The others, %d, would have done the same.\n", r.base, r.same)
	}
}

// row is one line of the table.
func (p pair) row(name, side string, s *summary, severities []string) string {
	if s == nil {
		return fmt.Sprintf("| %s | %s | not there | | |%s |\n", name, side, strings.Repeat(" | |", len(severities)))
	}
	line := fmt.Sprintf("| %s | %s | %s %% | %s | %s |", name, side, strconv.FormatFloat(100*s.Objective, 'g', 10, 64), code(s.Period), code(s.Policy))
	for _, want := range severities {
		cells := " – | – |"
		for _, one := range s.Severities {
			if one.Severity != want {
				continue
			}
			cells = " never | – |"
			if one.Count > 0 {
				cells = fmt.Sprintf(" %d × (%s) | %s |", one.Count, seconds(&one.Firing), seconds(one.Median))
			}
		}
		line += cells
	}
	left := "–"
	if s.Remaining != nil {
		left = fmt.Sprintf("%.1f %%", 100**s.Remaining)
	}
	return line + " " + left + " |\n"
}

func seconds(v *float64) string {
	if v == nil {
		return "–"
	}
	text := time.Duration(*v * float64(time.Second)).Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// backtest runs yoyu in a folder. The recording is that of the checkout for both.
func backtest(ctx context.Context, s settings, folder, file string) ([]summary, error) {
	args := []string{"backtest", "--summary", "--output=json", "--config.file=" + file}
	if s.data != "" {
		data := s.data
		if !filepath.IsAbs(data) {
			data = filepath.Join(s.workspace, data)
		}
		args = append(args, "--data="+data)
	} else {
		args = append(args, "--start="+s.start, "--end="+s.end)
	}
	yoyu, err := filepath.Abs(s.yoyu)
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, yoyu, args...)
	c.Dir, c.Env = folder, without(os.Environ(), "TOKEN")
	out, err := output(c)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Comparison []summary `json:"comparison"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return answer.Comparison, nil
}

// baseOf is the commit that the change is compared with: what the checkout was merged into, as
// GitHub checks out a pull request, else the base of the event.
func baseOf(ctx context.Context, s settings) string {
	c := exec.CommandContext(ctx, "git", "cat-file", "commit", "HEAD") // the parents are named even where they were not fetched
	c.Dir = s.workspace
	out, err := output(c)
	if err != nil {
		return s.event.PullRequest.Base.SHA
	}
	var parents []string
	for line := range strings.Lines(string(out)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" {
			break // the message begins
		}
		if word == "parent" {
			parents = append(parents, rest)
		}
	}
	if len(parents) == 2 && parents[1] == s.event.PullRequest.Head.SHA {
		return parents[0]
	}
	return s.event.PullRequest.Base.SHA
}

// checkout brings one commit of the repository into a folder of its own, without touching the
// job's. The token travels in the environment, which no list of processes shows.
func checkout(ctx context.Context, s settings, commit string) (folder string, done func(), err error) {
	done = func() {}
	if commit == "" {
		return "", done, errors.New("the event names no commit")
	}
	folder, err = os.MkdirTemp("", "yoyu-base-")
	if err != nil {
		return "", done, err
	}
	done = func() { os.RemoveAll(folder) } // what is left is a temporary folder's
	env := append(without(os.Environ(), "TOKEN"), "GIT_TERMINAL_PROMPT=0")
	if s.token != "" {
		env = append(env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http."+s.server+"/.extraheader",
			"GIT_CONFIG_VALUE_0=AUTHORIZATION: basic "+base64.StdEncoding.EncodeToString([]byte("x-access-token:"+s.token)))
	}
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"fetch", "--quiet", "--no-tags", "--depth=1", s.server + "/" + s.repository + ".git", commit},
		{"checkout", "--quiet", "--detach", commit},
	} {
		c := exec.CommandContext(ctx, "git", args...)
		c.Dir, c.Env = folder, env
		if _, err := output(c); err != nil {
			return "", done, fmt.Errorf("git %s: %w", args[0], err)
		}
	}
	return folder, done, nil
}

// output runs a command; its error ends with what the command said.
func output(c *exec.Cmd) ([]byte, error) {
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		text := strings.TrimSpace(said.String())
		return nil, fmt.Errorf("%w: %s", err, text[max(0, len(text)-2000):])
	}
	return out, nil
}

func without(env []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

// relative is a file's name from the root of the repository, if it lies in there.
func relative(workspace, file string) (string, bool) {
	if !filepath.IsAbs(file) {
		file = filepath.Join(workspace, file)
	}
	name, err := filepath.Rel(workspace, file)
	return name, err == nil && filepath.IsLocal(name)
}

func missing(file string) bool {
	_, err := os.Stat(file)
	return errors.Is(err, os.ErrNotExist)
}
