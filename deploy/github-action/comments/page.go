package main

import (
	"fmt"
	"strings"
	"unicode"
)

// page is what is said once for the whole change: findings on no line of it, and what its SLOs would
// have done.
type page struct {
	key, token string
	head       string // commit
	checked    []string
	faults     bool
	inside     int // findings that are comments on lines
	outside    []finding
	replay     []replay
}

// longest is how much text GitHub takes for one comment, in characters, with room for an ending.
const longest = 65536 - 4096

// news reports whether there is anything that a pull request without a page needs to be told.
func (p *page) news() bool {
	for _, r := range p.replay {
		if len(r.changed) > 0 || r.trouble != "" {
			return true
		}
	}
	return len(p.outside) > 0
}

// comment is the page as the comment that the next run finds again.
func (p *page) comment() string { return marker("page", p.key) + "\n" + p.text() }

// text is the page as Markdown, cut to what GitHub takes.
func (p *page) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### yoyu: this change of SLOs\n\n")
	if len(p.outside)+p.inside == 0 {
		fmt.Fprintf(&b, "`yoyu check` finds no fault in %s.\n", codes(p.checked))
	} else {
		fmt.Fprintf(&b, "`yoyu check` finds faults and warnings in %[2]s, %[1]d in all: %[3]d on lines of this change, %[4]d here.\n\n", len(p.outside)+p.inside, codes(p.checked), p.inside, len(p.outside))
	}
	for i, f := range p.outside {
		line := fmt.Sprintf("- **%s** %s %s\n", f.word(), code(f.place()), code(f.text))
		if b.Len()+len(line) > longest {
			fmt.Fprintf(&b, "- and %d more, which the annotations of the job show\n", len(p.outside)-i)
			break
		}
		b.WriteString(line)
	}
	if p.faults {
		b.WriteString("\n`yoyu backtest` waits until the faults are gone.\n")
	}
	for _, r := range p.replay {
		r.write(&b)
	}
	fmt.Fprintf(&b, "\n<sub>of commit %.10s</sub>\n", p.head)
	return hide(b.String(), p.token)
}

// reviewBody is what a review says beside its comments.
func reviewBody(n int) string {
	if n == 1 {
		return "`yoyu check` says something of a line of this change."
	}
	return fmt.Sprintf("`yoyu check` says something of %d lines of this change.", n)
}

func (f finding) word() string {
	if f.kind == "error" {
		return "fault"
	}
	return f.kind
}

func (f finding) place() string {
	if f.line == 0 {
		return f.path
	}
	return fmt.Sprintf("%s:%d", f.path, f.line)
}

// mark is hidden at the head of a comment and says what it is about, wherever its line moves.
func (d draft) mark() string { return marker("finding", fingerprint(d.kind, d.path, d.text)) }

func (d draft) body(token string) string {
	return hide(fmt.Sprintf("%s\n**%s** %s\n", d.mark(), d.word(), code(d.text)), token)
}

func marker(kind, key string) string { return fmt.Sprintf("<!-- yoyu %s %s -->", kind, key) }

// hide makes sure of what should never be needed: a runner masks its log, and nobody masks comments.
func hide(body, token string) string {
	if token == "" {
		return body
	}
	shown := strings.TrimSuffix(strings.TrimPrefix(code(token), "<code>"), "</code>")
	return strings.NewReplacer(token, "HIDDEN", shown, "HIDDEN").Replace(body)
}

// code shows a text of somebody's file as it is. All but letters, digits and a few harmless signs
// are written as numbers, so that there is nothing in it to be read as Markdown, as HTML or as an
// address; inside code GitHub looks for no names, issues or commits. What has no shape, or turns
// the direction of reading, is shown as a replacement.
func code(s string) string {
	var b strings.Builder
	b.WriteString("<code>")
	for i, r := range s {
		switch {
		case i > 8000: // a line nobody reads to its end
			b.WriteString("…</code>")
			return b.String()
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case unicode.In(r, unicode.C, unicode.Zl, unicode.Zp):
			b.WriteRune(unicode.ReplacementChar)
		case r == ' ' || r == ',' || r == '-' || r >= 0x80 || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9':
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	b.WriteString("</code>")
	return b.String()
}

func codes(all []string) string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = code(s)
	}
	return strings.Join(out, ", ")
}

// annotation is a workflow command: one line, whatever the text holds.
func annotation(kind, text string) string {
	return "::" + kind + "::yoyu: " + strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}
