package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// finding is one annotation of yoyu check.
type finding struct {
	kind string // error, warning
	path string // from the root of the repository, with slashes
	line int    // in the checkout, from 1; 0 when it is of the whole file
	text string // what is wrong and what would be right
}

var (
	command  = regexp.MustCompile(`^::(error|warning) ([^:]*)::(.*)$`)
	encoding = strings.NewReplacer("%25", "%", "%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",")
)

// parseFindings reads annotations as GitHub's runner reads them; one that several configurations
// share comes once.
func parseFindings(text, workspace string) []finding {
	var all []finding
	for line := range strings.Lines(text) {
		match := command.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if match == nil {
			continue
		}
		f := finding{kind: match[1], text: encoding.Replace(match[3])}
		for property := range strings.SplitSeq(match[2], ",") {
			switch name, value, _ := strings.Cut(property, "="); name {
			case "file":
				f.path = encoding.Replace(value)
			case "line":
				f.line, _ = strconv.Atoi(value) // what is no number is no line
			}
		}
		if absolute := f.path; filepath.IsAbs(absolute) {
			if inside, err := filepath.Rel(workspace, absolute); err == nil {
				f.path = inside
			}
		}
		f.path = filepath.ToSlash(filepath.Clean(f.path))
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	return all
}

// draft is a finding on its line of the pull request's newest commit.
type draft struct {
	finding // line is the line there
}

// place sorts findings into those on a line of the diff and the others. The checkout of a pull
// request is usually its merge into the base, where lines have moved when the base went on: what
// decides is what the line says.
func place(found []finding, diff map[string]map[int]string, workspace string) (inside []draft, outside []finding) {
	for _, f := range found {
		line := 0
		if lines := diff[f.path]; len(lines) > 0 && f.line > 0 && len(inside) < most {
			line = locate(f, lines, workspace)
		}
		if line == 0 {
			outside = append(outside, f)
			continue
		}
		f.line = line
		inside = append(inside, draft{f})
	}
	return inside, outside
}

// locate is the line of the diff that a finding is about, 0 when there is none: the line of its
// number when it says the same, else the only one that does.
func locate(f finding, lines map[int]string, workspace string) int {
	file, err := os.ReadFile(filepath.Join(workspace, filepath.FromSlash(f.path)))
	if err != nil {
		return 0
	}
	checkedOut := strings.Split(string(file), "\n")
	if f.line > len(checkedOut) {
		return 0
	}
	want := checkedOut[f.line-1]
	if text, ok := lines[f.line]; ok && text == want {
		return f.line
	}
	at := 0
	for line, text := range lines {
		if text != want {
			continue
		}
		if at != 0 {
			return 0
		}
		at = line
	}
	return at
}

var hunk = regexp.MustCompile(`^@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@`)

// newLines are the lines of a patch that its new side shows, changed or around a change: those that
// GitHub takes comments on.
func newLines(patch string) map[int]string {
	lines := map[int]string{}
	at := 0
	for text := range strings.SplitSeq(patch, "\n") {
		if match := hunk.FindStringSubmatch(text); match != nil {
			at, _ = strconv.Atoi(match[1]) // digits
			continue
		}
		if at > 0 && (strings.HasPrefix(text, "+") || strings.HasPrefix(text, " ")) {
			lines[at] = text[1:]
			at++
		}
	}
	return lines
}

// fresh leaves out what stands on its line already.
func fresh(lines []draft, there []written, mine func(author) bool) []draft {
	return slices.DeleteFunc(slices.Clone(lines), func(d draft) bool {
		return slices.ContainsFunc(there, func(c written) bool {
			return c.Line != nil && *c.Line == d.line && c.Path == d.path && mine(c.User) && strings.HasPrefix(c.Body, d.mark())
		})
	})
}

// fingerprint is short, and the same for the same texts only.
func fingerprint(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		h.Write([]byte(strconv.Itoa(len(t)) + ":" + t))
	}
	return hex.EncodeToString(h.Sum(nil))[:24]
}
