package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/yoyu-sre/yoyu/test/browser"
)

// pages are those that everything is tried on.
var pages = map[string]string{
	"overview":    "/",
	"unfolded":    "/?open=checkout-availability",
	"slo":         "/slo?slo=checkout-availability&route=/pay",
	"all groups":  "/slo?slo=checkout-availability",
	"explain":     "/explain?slo=checkout-availability&route=/pay",
	"rightsizing": "/rightsizing",
	"readiness":   "/readiness",
	"status":      "/status",
}

// shop is the address of a demo that all tests look at.
var shop = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "yoyu-browser-")
	if err != nil {
		return "", err
	}
	ends = append(ends, func() { _ = os.RemoveAll(folder) })
	program := filepath.Join(folder, "yoyu")
	if out, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	address, end, err := browser.Demo(context.Background(), program, filepath.Join(folder, "state"))
	if err == nil {
		ends = append(ends, end)
	}
	return address, err
})

// ends are what the last test leaves running.
var ends []func()

func TestMain(m *testing.M) {
	code := m.Run()
	for _, end := range slices.Backward(ends) {
		end()
	}
	os.Exit(code)
}

// visit is a browser at a server; where there is no Chromium the test is skipped, or fails where real
// parts must be there.
func visit(t *testing.T) (context.Context, *browser.Browser) {
	t.Helper()
	if testing.Short() {
		t.Skip("a real browser is not run in short mode")
	}
	if _, err := browser.Find(); err != nil {
		for _, must := range []string{"CI", "YOYU_REAL"} {
			if yes, _ := strconv.ParseBool(os.Getenv(must)); yes {
				t.Fatal(err)
			}
		}
		t.Skip(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(stop)
	b, err := browser.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return ctx, b
}

func demo(t *testing.T) string {
	t.Helper()
	address, err := shop()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// open opens a page and waits for its charts.
func open(ctx context.Context, t *testing.T, b *browser.Browser, v browser.View, address string) *browser.Tab {
	t.Helper()
	if v.Height == 0 {
		v.Height = 900
	}
	tab, err := b.Open(v)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tab.Close)
	if err := tab.Go(ctx, address); err != nil {
		t.Fatal(err)
	}
	if !v.NoScript {
		eval[bool](ctx, t, tab, browser.Settled)
	}
	return tab
}

func eval[T any](ctx context.Context, t *testing.T, tab *browser.Tab, expression string) T {
	t.Helper()
	value, err := browser.Eval[T](ctx, tab, expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits for a condition in the page.
func until(ctx context.Context, t *testing.T, tab *browser.Tab, what, condition string) {
	t.Helper()
	ok, err := browser.Eval[bool](ctx, tab, `new Promise(done => {
		const end = Date.now() + 60000;
		const look = () => (`+condition+`) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 20);
		look();
	})`)
	if err != nil || !ok {
		t.Fatalf("%s: does not become true: %s (%v); the page says: %.600s", what, condition, err,
			eval[string](ctx, t, tab, `document.getElementById("main").innerText`))
	}
}

// clean holds that nothing went wrong on a page, and that it asked nobody but its own server.
func clean(t *testing.T, tab *browser.Tab, address string) {
	t.Helper()
	if faults := tab.Faults(); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range tab.Hosts() {
		if host != u.Host {
			t.Errorf("asks %s, which is not its server", host)
		}
	}
	if len(tab.Hosts()) == 0 {
		t.Error("no request was seen at all")
	}
}

// answer is what the server says as JSON.
func answer(ctx context.Context, t *testing.T, address string, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	if got.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", address, got.Status)
	}
	if err := json.NewDecoder(got.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
}

// wider are the elements that stick out of the page to the right.
const wider = `(() => {
	const wide = document.documentElement.clientWidth, out = [];
	if (document.documentElement.scrollWidth <= wide) return [];
	for (const e of document.querySelectorAll("body *")) {
		const r = e.getBoundingClientRect();
		if (r.width && r.right > wide + 0.5) out.push(e.tagName + "." + e.className + " " + Math.round(r.right));
	}
	return ["the page is " + document.documentElement.scrollWidth + " wide", ...out.slice(0, 8)];
})()`

// Every page in both themes at the width of a desk and of a phone: no fault, no strange host, nothing
// sticks out, and axe-core finds nothing serious.
func TestEveryPage(t *testing.T) {
	ctx, b := visit(t)
	address := demo(t)
	axe, err := os.ReadFile("testdata/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range pages {
		for _, v := range []browser.View{{Width: 1440}, {Width: 1440, Dark: true}, {Width: 390}, {Width: 390, Dark: true}} {
			t.Run(fmt.Sprintf("%s/%d/dark=%t", name, v.Width, v.Dark), func(t *testing.T) {
				tab := open(ctx, t, b, v, address+page)
				defer tab.Close()
				if name == "rightsizing" {
					eval[bool](ctx, t, tab, `document.querySelectorAll("details").forEach(d => d.open = true); true`)
				}
				if dark := eval[bool](ctx, t, tab, `getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).slice(0, 3).every(c => c < 80)`); dark != v.Dark {
					t.Errorf("the page is dark: %t, want %t", dark, v.Dark)
				}
				if out := eval[[]string](ctx, t, tab, wider); len(out) > 0 {
					t.Errorf("sticks out: %q", out)
				}
				clean(t, tab, address)
				found := eval[struct {
					Passes     int
					Violations []string
				}](ctx, t, tab, string(axe)+`;
axe.run(document, {resultTypes: ["violations"]}).then(r => ({
	passes: r.passes.length,
	violations: r.violations.filter(v => v.impact === "serious" || v.impact === "critical")
		.map(v => v.impact + " " + v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + " " + (n.any[0]?.message ?? "")).join(" | ")),
}))`)
				for _, v := range found.Violations {
					t.Error(v)
				}
				if found.Passes < 10 {
					t.Errorf("axe passed %d rules only: it did not look", found.Passes)
				}
			})
		}
	}
}

// shown are the SLOs whose rows the overview shows.
const shown = `[...new Set([...document.querySelectorAll("#budgets tr.row")].map(r => r.dataset.slo))].sort().join(" ")`

func TestSearchAndFilter(t *testing.T) {
	ctx, b := visit(t)
	address := demo(t)
	tab := open(ctx, t, b, browser.View{Width: 1440}, address+"/")
	all := eval[string](ctx, t, tab, shown)
	if len(strings.Fields(all)) < 5 {
		t.Fatalf("all rows: %q", all)
	}
	do := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := tab.Do(ctx, actions...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	rows := func(what, want string) {
		t.Helper()
		until(ctx, t, tab, what, fmt.Sprintf("%s === %q", shown, want))
	}
	// The key / goes to the search, letters narrow what is shown, Escape empties it.
	do("press /", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, input.DispatchKeyEvent, input.DispatchKeyEventParams{
			Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Code: "Slash", Text: "/", WindowsVirtualKeyCode: 191,
		})
		return err
	}))
	until(ctx, t, tab, "/", `document.activeElement.name === "q"`)
	do("type", chromedp.KeyEvent("refund"))
	rows("search", "payment-refunds")
	// Its first letters find the same row, and the address follows the last one.
	until(ctx, t, tab, "the address keeps the search", `new URLSearchParams(location.search).get("q") === "refund"`)
	do("Escape", chromedp.KeyEvent("\x1b"))
	rows("emptied", all)

	choose := func(name, value string) {
		t.Helper()
		eval[bool](ctx, t, tab, fmt.Sprintf(`(() => { const s = document.querySelector("select[name=%s]"); s.value = %q; s.dispatchEvent(new Event("input", {bubbles: true})); return s.value === %q })()`, name, value, value))
	}
	choose("service", "payment")
	rows("service", "payment-availability payment-refunds")
	choose("state", "low")
	rows("service and state", "payment-availability")
	choose("service", "")
	choose("state", "")
	rows("everything again", all)
	choose("team", "browsing")
	rows("team", "catalog-availability")
	choose("team", "")
	rows("everything once more", all)

	// Groups unfold in place and fold again.
	groups := `document.querySelectorAll('#budgets tr.row[data-slo="checkout-availability"]').length`
	until(ctx, t, tab, "folded", groups+" === 1")
	eval[bool](ctx, t, tab, `document.querySelector('tr.fold a').click(); true`)
	until(ctx, t, tab, "unfolded", groups+" === 2")
	eval[bool](ctx, t, tab, `document.querySelector('tr.fold a[aria-expanded=true]').click(); true`)
	until(ctx, t, tab, "folded again", groups+" === 1")

	// A tile is a filter too; Back undoes it.
	eval[bool](ctx, t, tab, `document.querySelector('a.tile.firing').click(); true`)
	rows("firing", "checkout-availability")
	eval[bool](ctx, t, tab, `history.back(); true`)
	rows("back", all)
	clean(t, tab, address)
}

// step is one of a history.
type step struct {
	From, To       time.Time
	Total, Bad     float64
	BurnRate       *float64 `json:"burn_rate"`
	RemainingRatio *float64 `json:"remaining_ratio"`
}

// A chart is pointed at, then moved along with the keys: what stands above it is what the history says
// of that step.
func TestChartsAreRead(t *testing.T) {
	ctx, b := visit(t)
	address := demo(t)
	tab := open(ctx, t, b, browser.View{Width: 1440, Height: 1200}, address+pages["slo"])
	var history struct{ Histories []struct{ Steps []step } }
	answer(ctx, t, address+eval[string](ctx, t, tab, `"/" + document.getElementById("charts").dataset.history`), &history)
	steps := history.Histories[0].Steps
	if len(steps) < 50 {
		t.Fatalf("%d steps", len(steps))
	}
	type place struct{ X, Y, Width float64 }
	over := eval[place](ctx, t, tab, `(() => { const r = document.querySelector(".u-over").getBoundingClientRect(); return {x: r.left, y: r.top + r.height / 2, width: r.width} })()`)
	read := func(what string) (values map[string]float64) {
		t.Helper()
		until(ctx, t, tab, what, `document.querySelectorAll(".readout data").length >= 3`)
		return eval[map[string]float64](ctx, t, tab, `Object.fromEntries([...document.querySelectorAll(".readout data")].map(d => [d.dataset.read, Number(d.value)]))`)
	}
	// find is the step that has just these numbers.
	find := func(values map[string]float64) int {
		return slices.IndexFunc(steps, func(s step) bool {
			return s.RemainingRatio != nil && *s.RemainingRatio == values["left"] && s.Bad == values["bad"] && s.BurnRate != nil && *s.BurnRate == values["burn"]
		})
	}
	seconds := func(at time.Time) float64 { return float64(at.UnixNano()) / 1e9 }
	first, last := seconds(steps[0].From), seconds(steps[len(steps)-1].To)
	var found []int
	for _, share := range []float64{0.25, 0.5, 0.9} {
		if err := tab.Do(ctx, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, over.X+over.Width*share, over.Y)); err != nil {
			t.Fatal(err)
		}
		// The cursor snaps to the step that is nearest.
		at := first + share*(last-first)
		nearest := 0
		for i, s := range steps {
			if math.Abs(seconds(s.To)-at) < math.Abs(seconds(steps[nearest].To)-at) {
				nearest = i
			}
		}
		until(ctx, t, tab, "hover", fmt.Sprintf(`Number(document.querySelector('.readout data[data-read="left"]')?.value) === %s`, strconv.FormatFloat(*steps[nearest].RemainingRatio, 'g', -1, 64)))
		i := find(read("hover"))
		if i < 0 || math.Abs(float64(i-nearest)) > 1 {
			t.Errorf("at %g of the width: step %d is read, %d is under the cursor", share, i, nearest)
		}
		found = append(found, i)
	}
	if len(slices.Compact(slices.Clone(found))) < 3 {
		t.Errorf("the same step is read everywhere: %v", found)
	}
	// The keys go on from where the cursor is.
	eval[bool](ctx, t, tab, `document.querySelector(".canvas").focus(); true`)
	before := eval[string](ctx, t, tab, `document.querySelector(".readout").textContent`)
	if err := tab.Do(ctx, chromedp.KeyEvent("\u0302")); err != nil { // chromedp's name of the arrow to the left
		t.Fatal(err)
	}
	until(ctx, t, tab, "arrow", fmt.Sprintf(`document.querySelector(".readout").textContent !== %q`, before))
	if i := find(read("arrow")); i != found[2]-1 {
		t.Errorf("an arrow to the left of step %d reads step %d", found[2], i)
	}
	// Another range is asked for, and drawn.
	drawn := eval[string](ctx, t, tab, `document.getElementById("charts").dataset.drawn`)
	eval[bool](ctx, t, tab, `document.querySelector('[data-range="21600"]').click(); true`)
	until(ctx, t, tab, "range", fmt.Sprintf(`document.getElementById("charts").dataset.drawn !== %q`, drawn))
	clean(t, tab, address)
}

// Copying, the theme, times of the viewer's zone.
func TestButtons(t *testing.T) {
	ctx, b := visit(t)
	address := demo(t)
	tab := open(ctx, t, b, browser.View{Width: 1440, TimeZone: "Asia/Tokyo"}, address+"/rightsizing")
	eval[bool](ctx, t, tab, `document.querySelectorAll("details").forEach(d => d.open = true);
		Object.defineProperty(navigator, "clipboard", {value: {writeText: async (text) => { window.copied = text }}}); true`)
	eval[bool](ctx, t, tab, `document.querySelector("button.copy").click(); true`)
	until(ctx, t, tab, "copy", `window.copied && document.querySelector("button.copy").textContent === "Copied"`)
	if copied := eval[string](ctx, t, tab, "window.copied"); !strings.HasPrefix(copied, "kubectl ") || !strings.Contains(copied, `"op":"test"`) {
		t.Errorf("copied %q: no guarded kubectl line", copied)
	}
	if at := eval[string](ctx, t, tab, `document.querySelector("#clock time").textContent`); !strings.Contains(at, "19:00:00") || !strings.Contains(at, "10:00:00 UTC") {
		t.Errorf("the clock says %q: want the viewer's 19:00:00 and 10:00:00 UTC", at)
	}
	theme := `document.documentElement.dataset.theme ?? "system"`
	for _, want := range []string{"light", "dark", "system"} {
		eval[bool](ctx, t, tab, `document.querySelector("[data-theme-switch]").click(); true`)
		if got := eval[string](ctx, t, tab, theme); got != want {
			t.Errorf("theme %s, want %s", got, want)
		}
		if want == "dark" {
			if err := tab.Go(ctx, address+"/"); err != nil {
				t.Fatal(err)
			}
			if got := eval[string](ctx, t, tab, theme); got != want {
				t.Errorf("another page forgets the theme: %s", got)
			}
		}
	}
	clean(t, tab, address)
}

// Without scripts the numbers are there, and the filters are a form.
func TestWithoutScripts(t *testing.T) {
	ctx, b := visit(t)
	address := demo(t)
	var report struct {
		Reports []struct {
			SLOs []struct {
				SLO         string
				Labels      map[string]string
				ErrorBudget struct {
					Remaining *float64 `json:"remaining_ratio"`
				} `json:"error_budget"`
				Windows map[string]struct {
					Total, Bad float64
					BurnRate   *float64 `json:"burn_rate"`
				}
			}
		}
	}
	answer(ctx, t, address+"/api/v1/slos", &report)
	source := func(page string) string { // the page as it is after the browser has read it
		tab := open(ctx, t, b, browser.View{Width: 390, NoScript: true}, address+page)
		defer tab.Close()
		clean(t, tab, address)
		return eval[string](ctx, t, tab, "document.documentElement.outerHTML")
	}
	overview := source("/?open=checkout-availability")
	number := func(f float64) string { return `value="` + plain(f) + `"` }
	seen := 0
	for _, s := range report.Reports[0].SLOs {
		if s.ErrorBudget.Remaining == nil {
			continue
		}
		seen++
		if !strings.Contains(overview, number(*s.ErrorBudget.Remaining)) {
			t.Errorf("overview: %s %v: no %s", s.SLO, s.Labels, number(*s.ErrorBudget.Remaining))
		}
		if s.SLO != "checkout-availability" || s.Labels["route"] != "/pay" {
			continue
		}
		page := source(pages["slo"])
		for window, w := range s.Windows {
			for _, f := range []float64{w.Total, w.Bad, *w.BurnRate} {
				if !strings.Contains(page, number(f)) {
					t.Errorf("slo: %s: no %s", window, number(f))
				}
			}
		}
		if !strings.Contains(page, `class="course-still"`) {
			t.Error("slo: no course without scripts")
		}
	}
	if seen < 5 {
		t.Errorf("%d budgets only", seen)
	}
	filtered := source("/?q=refund")
	if !strings.Contains(filtered, `data-slo="payment-refunds"`) || strings.Contains(filtered, `data-slo="catalog-availability"`) {
		t.Error("the search is no form")
	}
	if sizes := source("/rightsizing"); !strings.Contains(sizes, "USD") || !strings.Contains(sizes, "kubectl") {
		t.Error("rightsizing: no money or no patch")
	}
}

// The title and the icon show the worst state.
func TestWorstStateIsInTheTitle(t *testing.T) {
	ctx, b := visit(t)
	address := demo(t)
	tab := open(ctx, t, b, browser.View{Width: 1440}, address+"/")
	got := eval[[]string](ctx, t, tab, `[document.title, document.querySelector("link[rel=icon]").getAttribute("href")]`)
	if !strings.HasPrefix(got[0], "1 firing") || got[1] != "firing.svg" {
		t.Errorf("title and icon %q", got)
	}
}

// plain is a number as the pages write it in full: JSON's way.
func plain(f float64) string {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return string(text)
}
