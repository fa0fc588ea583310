package web

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/slo"
)

// screen is a page: what stands around every one of them, and what it is about.
type screen struct {
	Here     string // which of the pages: budgets, slo, explain, rightsizing, readiness, status
	Title    string // of the tab, before the worst state; "" on the first page
	State    state  // the worst
	Headline string
	Time     moment   // of the report
	Waiting  string   // why the daemon is not ready; "" when it is
	Notices  []string // what is wrong with yoyu itself
	Version  string
	Charts   bool // the page draws some
	Body     any
}

// Asset is the address of a file beside the page.
func (screen) Asset(name string) string { return assets[name] }

// num is a number on a page. Besides its words it carries itself in full precision and the name of
// the series that it is, so that a test can hold it against /metrics.
type num struct {
	Text   string
	Value  string // full precision; "" when undefined
	Of     string // family; "" for what /metrics does not have
	Window string // as the series has it
	With   string // one more label, as in severity="page"
}

// newNum words a number that may be undefined.
func newNum(v slo.Value, of string, words func(float64) string) num {
	n := num{Text: sinks.Undefined, Of: of}
	if v.Defined {
		n.Text, n.Value = words(v.Float), plain(v.Float)
	}
	return n
}

func (n num) at(window string) num        { n.Window = window; return n }
func (n num) with(name, value string) num { n.With = name + "=" + strconv.Quote(value); return n }

// moment is a time on a page, shown in UTC; a script adds the viewer's zone.
type moment time.Time

// Machine is for the attribute datetime; "" for no time.
func (m moment) Machine() string {
	if time.Time(m).IsZero() {
		return ""
	}
	return time.Time(m).UTC().Format(time.RFC3339)
}

// Text is for people.
func (m moment) Text() string { return time.Time(m).UTC().Format("2006-01-02 15:04:05 UTC") }

//go:embed static
var files embed.FS

//go:embed templates
var templates embed.FS

// pages are the templates of all pages, each with what they share.
var pages = func() map[string]*template.Template {
	out := map[string]*template.Template{}
	shared := template.Must(template.New("").Funcs(template.FuncMap{
		"moment": func(v any) moment {
			switch t := v.(type) {
			case time.Time:
				return moment(t)
			case *time.Time:
				if t != nil {
					return moment(*t)
				}
			}
			return moment{}
		},
	}).ParseFS(templates, "templates/layout.html", "templates/parts.html"))
	for _, name := range []string{"overview", "slo", "explain", "rightsizing", "readiness", "status", "refusal"} {
		out[name] = template.Must(template.Must(shared.Clone()).ParseFS(templates, "templates/"+name+".html"))
	}
	return out
}()

// assets are the addresses of the files beside the pages, by name. They change with the content,
// so that no cache holds on to an old one.
var assets = func() map[string]string {
	out := map[string]string{}
	entries, err := files.ReadDir("static")
	if err != nil {
		panic(fmt.Sprintf("web: embedded files: %v", err))
	}
	for _, entry := range entries {
		text, err := files.ReadFile("static/" + entry.Name())
		if err != nil {
			panic(fmt.Sprintf("web: embedded files: %v", err))
		}
		out[entry.Name()] = entry.Name() + "?v=" + digest(text)
	}
	return out
}()

// static are the files beside the pages, by name: style sheets, scripts, and an icon for each state.
func static() map[string]http.Handler {
	out := map[string]http.Handler{}
	for name := range assets {
		text, err := files.ReadFile("static/" + name)
		if err != nil {
			panic(fmt.Sprintf("web: embedded files: %v", err))
		}
		kind := cmp.Or(map[string]string{".js": "text/javascript; charset=utf-8", ".txt": "text/plain; charset=utf-8"}[path.Ext(name)],
			mime.TypeByExtension(path.Ext(name)))
		packed := pack(text)
		tag := digest(text)
		out[name] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h, body, mark := w.Header(), text, tag
			h.Set("Cache-Control", "max-age=3600")
			h.Set("Content-Type", kind)
			h.Set("Vary", "Accept-Encoding")
			if len(packed) < len(text) && takesGzip(r) {
				h.Set("Content-Encoding", "gzip")
				body, mark = packed, tag+"-gzip"
			}
			h.Set("ETag", `"`+mark+`"`)
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
		})
	}
	return out
}

func digest(text []byte) string { return fmt.Sprintf("%x", sha256.Sum256(text))[:12] }

// pack compresses.
func pack(text []byte) []byte {
	var out bytes.Buffer
	// Twice as quick as the default level, and a tenth larger: a page is for one tick.
	z, err := gzip.NewWriterLevel(&out, 3)
	if err != nil {
		panic(fmt.Sprintf("web: gzip: %v", err)) // a level that does not exist
	}
	// Nothing that goes into memory fails.
	_, _ = z.Write(text)
	_ = z.Close()
	return out.Bytes()
}

// takesGzip reports whether the one who asks takes gzip. Weights but zero are passed over.
func takesGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.ReplaceAll(part, " ", ""), ";")
		if strings.EqualFold(name, "gzip") && weight != "q=0" && weight != "q=0.0" {
			return true
		}
	}
	return false
}

// rendered is a page that was made.
type rendered struct {
	status       int
	text, packed []byte
	tag          string
}

// kept are pages of one board that somebody asked for and others may ask for again before the next
// tick: a wall of screens is one rendering.
type kept struct {
	mu    sync.Mutex
	pages map[string]*rendered
}

// keptPages is how many pages are kept at most: their addresses are chosen by strangers.
const keptPages = 32

// show answers with a page, from those that are kept if it is there. key names what the page
// depends on besides the board; "" keeps nothing.
func (s *Server) show(w http.ResponseWriter, r *http.Request, b *board, key string, render func() (*rendered, error)) {
	var page *rendered
	if key != "" {
		b.kept.mu.Lock()
		page = b.kept.pages[key]
		b.kept.mu.Unlock()
	}
	if page == nil {
		var err error
		if page, err = render(); err != nil {
			s.broken(w, r, err)
			return
		}
		if key != "" {
			b.kept.mu.Lock()
			if b.kept.pages == nil || len(b.kept.pages) >= keptPages {
				b.kept.pages = map[string]*rendered{}
			}
			b.kept.pages[key] = page
			b.kept.mu.Unlock()
		}
	}
	h, body, tag := w.Header(), page.text, page.tag
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Add("Vary", "Accept-Encoding")
	if takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body, tag = page.packed, page.tag+"-gzip"
	}
	// Whoever looks asks again at every tick, and need not be told the same twice.
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `"`+tag+`"`)
	if page.status == http.StatusOK && r.Header.Get("If-None-Match") == `"`+tag+`"` {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(page.status)
	w.Write(body)
}

// render makes a page.
func (s *Server) render(status int, name string, v screen) (*rendered, error) {
	var text bytes.Buffer
	if err := pages[name].ExecuteTemplate(&text, "page", v); err != nil {
		return nil, err
	}
	return &rendered{status: status, text: text.Bytes(), packed: pack(text.Bytes()), tag: digest(text.Bytes())}, nil
}

// screen is what every page has.
func (s *Server) screen(here, title string, b *board, body any) screen {
	v := screen{Here: here, Title: title, State: isUnknown, Headline: "no data", Version: s.version, Waiting: s.waiting(), Body: body}
	if r := b.report; r != nil {
		v.State, v.Headline, v.Time = b.worst, b.headline(), moment(r.Time)
		v.Notices = append(slices.Clone(r.Notices), b.trouble...)
	}
	return v
}

// refusePage says on a page why there is no other.
func (s *Server) refusePage(w http.ResponseWriter, r *http.Request, here string, no *refusal) {
	b := s.board()
	s.show(w, r, b, "", func() (*rendered, error) {
		return s.render(no.status, "refusal", s.screen(here, http.StatusText(no.status), b, no.reason))
	})
}

// attribute is a value as JSON, for an attribute of an element.
func attribute(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("web: attribute: %v", err)) // plain values are always written
	}
	return string(text)
}
