package browser_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/yoyu-sre/yoyu/internal/web"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/test/browser"
)

// hostile are names that somebody else wrote: in labels of series, in configurations, in a cluster.
var hostile = []string{
	`<script>window.ran = "script"</script>`,
	`"><img src=x onerror='window.ran = "img"'>`,
	`' onmouseover='window.ran = "quote"' x='`,
	`</title></a></td><svg onload='window.ran = "svg"'>`,
	`{{.}}${window.ran = 1}` + "`",
	"🔥 é \u202etxet tfel-ot-thgir\u202c \x00 \u2028",
	strings.Repeat("long", 256),
	strings.Repeat("🧯", 256),
}

// Hostile names are shown letter by letter on every page, and nothing of them runs. Their links lead to
// what they name.
func TestHostileNames(t *testing.T) {
	ctx, b := visit(t)
	for _, name := range hostile {
		t.Run(name[:min(len(name), 24)], func(t *testing.T) {
			report := sinktest.Report()
			for i := range report.SLOs {
				s := &report.SLOs[i]
				o := *s.Objective
				o.Service = name
				o.RunbookURL = "javascript:window.ran='runbook'//" + name
				o.Labels = map[string]string{"team": name, "tier": name}
				s.Objective = &o
				if len(s.Labels) > 0 && s.Labels[0] != "_other" {
					s.Labels = []string{name}
				}
			}
			for i := range report.Workloads {
				w := &report.Workloads[i]
				w.Name, w.Namespace, w.VPA, w.Managed, w.Services, w.Sentence = name, name, name, name, []string{name}, name
				for j := range w.Containers {
					w.Containers[j].Name = name
				}
			}
			face := web.New(web.Options{})
			if err := face.Write(ctx, report); err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(face.Handler())
			defer server.Close()
			look := func(page string) *browser.Tab {
				t.Helper()
				tab, err := b.Open(browser.View{Width: 390, Height: 900})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(tab.Close)
				if err := tab.Go(ctx, server.URL+page); err != nil { // no history: there are no charts to wait for
					t.Fatal(err)
				}
				eval[bool](ctx, t, tab, `document.querySelectorAll("details").forEach(d => d.open = true);
					document.querySelectorAll("body *").forEach(e => e.dispatchEvent(new MouseEvent("mouseover"))); true`)
				if ran := eval[string](ctx, t, tab, `String(window.ran)`); ran != "undefined" {
					t.Errorf("%s: %s ran", page, ran)
				}
				if strange := eval[[]string](ctx, t, tab, `[...document.querySelectorAll("script:not([src]), img:not([src$='.svg']), [onerror], [onload], [onmouseover], [href^='javascript:' i]")].map(e => e.outerHTML.slice(0, 200))`); len(strange) > 0 {
					t.Errorf("%s: became elements: %q", page, strange)
				}
				if out := eval[[]string](ctx, t, tab, wider); len(out) > 0 {
					t.Errorf("%s: sticks out: %q", page, out)
				}
				clean(t, tab, server.URL)
				return tab
			}
			// shows says that the text of the page has the name, as a browser takes it.
			shows := func(tab *browser.Tab, page string) {
				t.Helper()
				want := strings.ReplaceAll(name, "\x00", "")
				text := strings.NewReplacer("\x00", "", "\ufffd", "").Replace(eval[string](ctx, t, tab, `document.body.textContent`))
				if !strings.Contains(text, want) {
					t.Errorf("%s: the name is not there letter by letter", page)
				}
			}
			tab := look("/?open=search-latency")
			shows(tab, "overview")
			link := eval[string](ctx, t, tab, `[...document.querySelectorAll("tr.row a")].map(a => a.getAttribute("href")).find(h => h.startsWith("slo?slo=search-latency&route=") && !h.endsWith("_other"))`)
			tab.Close()
			for _, page := range []string{"/" + link, "/explain" + strings.TrimPrefix(link, "slo"), "/rightsizing", "/status"} {
				tab := look(page)
				if page != "/status" {
					shows(tab, page)
				}
				tab.Close()
			}
		})
	}
}
