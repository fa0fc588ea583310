// Package browser drives a real Chromium, so that tests see the page as people do: scripts run,
// colours are mixed, lines break. A Tab writes down what must never happen on a page of ours: words
// on the console, what an exception says, a request to another host.
//
//	Start ─▶ Browser ──Open──▶ Tab ─▶ Go, Type, Do … ─▶ Faults, Hosts
//
// Nothing of it is in the product.
package browser

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Path is the environment's name for a Chromium, when it is not the one on the path.
const Path = "YOYU_CHROMIUM"

// names are what a Chromium goes by.
var names = []string{"chromium", "google-chrome-stable", "google-chrome", "chromium-browser"}

// Find says where a Chromium is.
func Find() (string, error) {
	if path := os.Getenv(Path); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", Path, err)
		}
		return path, nil
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Chromium on the path under any of %q: install one (Debian: apt-get install chromium) or name it in %s", names, Path)
}

// Browser is a running Chromium with a profile of its own, which is empty at first.
type Browser struct {
	ctx  context.Context
	stop []context.CancelFunc
}

// Start runs a Chromium without a window. Its profile goes into dir, which has to be empty.
func Start(ctx context.Context, dir string) (*Browser, error) {
	path, err := Find()
	if err != nil {
		return nil, err
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Headless, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-extensions", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true), // a container's is small
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("font-render-hinting", "none"),
	}
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has none for root
	}
	b := &Browser{}
	run, stop := chromedp.NewExecAllocator(ctx, options...)
	b.stop = append(b.stop, stop)
	// The protocol grows faster than its Go types: events that these do not know concern nobody here.
	silent := func(string, ...any) {}
	b.ctx, stop = chromedp.NewContext(run, chromedp.WithErrorf(silent), chromedp.WithLogf(silent))
	b.stop = append(b.stop, stop)
	if err := chromedp.Do(b.ctx); err != nil {
		b.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// Close ends the browser with all its tabs.
func (b *Browser) Close() {
	for _, stop := range slices.Backward(b.stop) {
		stop()
	}
}

// View is how somebody looks at a page.
type View struct {
	Width, Height int
	Dark          bool
	NoScript      bool
	TimeZone      string  // IANA; "" is UTC
	Scale         float64 // pixels of a picture for each of the page; 0 is 1
}

// Tab is one page that is looked at, with a storage of its own. Its methods are for one goroutine.
type Tab struct {
	ctx  context.Context
	stop context.CancelFunc

	mu     sync.Mutex
	faults []string
	hosts  []string
}

// Open opens an empty tab.
func (b *Browser) Open(v View) (*Tab, error) {
	t := &Tab{}
	t.ctx, t.stop = chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	if v.Scale == 0 {
		v.Scale = 1
	}
	set := func(_ cdp.Empty, err error) error { return err }
	for _, err := range []error{
		chromedp.Listen(t.ctx, t.hear),
		set(chromedp.Call(t.ctx, network.Enable, network.EnableParams{})),
		set(chromedp.Call(t.ctx, log.Enable, cdp.Empty{})),
		set(chromedp.Call(t.ctx, runtime.Enable, cdp.Empty{})),
		set(chromedp.Call(t.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: int64(v.Width), Height: int64(v.Height), DeviceScaleFactor: v.Scale, Mobile: v.Width < 600,
		})),
		set(chromedp.Call(t.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})),
		set(chromedp.Call(t.ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: cmp.Or(v.TimeZone, "UTC")})),
		set(chromedp.Call(t.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: v.NoScript})),
	} {
		if err != nil {
			t.Close()
			return nil, fmt.Errorf("tab: %w", err)
		}
	}
	return t, nil
}

// Close closes the tab.
func (t *Tab) Close() { t.stop() }

func (t *Tab) hear(event any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fault := func(format string, args ...any) { t.faults = append(t.faults, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			var said []string
			for _, arg := range e.Args {
				said = append(said, string(arg.Value)+arg.Description)
			}
			fault("console.%s: %s", e.Type, said)
		}
	case *runtime.EventExceptionThrown:
		said := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			said += " " + x.Description
		}
		fault("exception: %s", said)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			fault("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil {
			fault("a request to %q", e.Request.URL)
		} else if u.Host != "" && !slices.Contains(t.hosts, u.Host) {
			t.hosts = append(t.hosts, u.Host)
		}
	}
}

// within is the tab's context for as long as ctx lasts.
func (t *Tab) within(ctx context.Context) (context.Context, func()) {
	run, stop := context.WithCancelCause(t.ctx)
	forget := context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })
	return run, func() { forget(); stop(nil) }
}

// Do does things in the tab, one after another.
func (t *Tab) Do(ctx context.Context, actions ...chromedp.Action[chromedp.Void]) error {
	run, done := t.within(ctx)
	defer done()
	return chromedp.Do(run, actions...)
}

// Go opens an address and waits until the page is loaded.
func (t *Tab) Go(ctx context.Context, address string) error {
	if err := t.Do(ctx, chromedp.Navigate(address)); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return nil
}

// Eval is the value of an expression in the page; that of a promise once it is kept.
func Eval[T any](ctx context.Context, t *Tab, expression string) (T, error) {
	run, done := t.within(ctx)
	defer done()
	return chromedp.Run(run, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Picture is a PNG of what the tab shows; whole: of what lies below the fold too.
func (t *Tab) Picture(ctx context.Context, whole bool) ([]byte, error) {
	run, done := t.within(ctx)
	defer done()
	if whole {
		return chromedp.Run(run, chromedp.FullScreenshot(100))
	}
	return chromedp.Run(run, chromedp.CaptureScreenshot())
}

// Faults are what the page did that no page of ours may do, since the tab was opened.
func (t *Tab) Faults() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.faults)
}

// Hosts are those that the page asked for anything, since the tab was opened.
func (t *Tab) Hosts() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.hosts)
}
