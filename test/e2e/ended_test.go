package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// promptly is how soon yoyu ends after SIGTERM, whatever its source does: well within the 30 s after
// which Kubernetes kills.
const promptly = 10 * time.Second

// SIGTERM in the middle of a tick, while a source holds back its answer: yoyu ends promptly, what
// was answered before is durable to the last event, and the next life counts on from there. An
// answer that arrives while it ends is counted once or not yet, never in part.
func TestEndedInMidTick(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		released bool // the source answers after the signal
	}{
		{"the answer never comes", false},
		{"the answer comes while it ends", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			page := newClimb(t, 5)
			file, data := page.config(t), filepath.Join(t.TempDir(), "data")
			y := runOn(t, file, data)
			until(t, "a few ticks", func() (bool, string) {
				got := y.counted()
				return got.total >= page.between(1, 4).total, fmt.Sprintf("%+v", got)
			})
			held, release := make(chan int, 1), make(chan struct{})
			page.wait(func(n int, gone <-chan struct{}) {
				select {
				case held <- n:
				default:
				}
				select {
				case <-release:
				case <-gone:
				}
			})
			n := 0
			select {
			case n = <-held:
			case <-time.After(patience):
				t.Fatal("yoyu asked no more")
			}
			began := time.Now()
			if err := y.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if c.released {
				close(release)
			}
			select {
			case err := <-y.ended:
				if err != nil {
					t.Fatalf("ended with %v", err)
				}
			case <-time.After(promptly):
				t.Fatalf("not ended within %s of SIGTERM", promptly)
			}
			t.Logf("page %d was held back; ended %s after SIGTERM", n, time.Since(began).Round(time.Millisecond))

			got, last := dumped(t, data), n-1
			if c.released && got != page.between(1, last) {
				last = page.stand()
				page.on()
			}
			if want := page.between(1, last); got != want {
				t.Fatalf("the state holds %+v, want %+v, what %d pages said", got, want, last)
			}
			if out, stderr, code := runYoyu(t, "state", "verify", "--storage.path="+data); code != 0 {
				t.Errorf("state verify: exit %d: %s%s", code, out, stderr)
			}

			page.wait(nil)
			y = runOn(t, file, data)
			until(t, "more pages", func() (bool, string) {
				got := y.counted()
				return got.total >= page.between(1, n+2).total, fmt.Sprintf("%+v", got)
			})
			all := page.between(1, page.stand())
			y.counts("every page, of both lives", all)
			y.stop()
			if got := dumped(t, data); got != all {
				t.Errorf("in the end the state holds %+v, want %+v", got, all)
			}
		})
	}
}

// The same with a real Prometheus, whose answers a proxy holds back: what the state holds equals a
// recount of the raw samples second by second, up to the last answer, and the next life asks for the
// rest.
func TestEndedWhileAPrometheusIsAsked(t *testing.T) {
	target := httptest.NewServer(&steady{})
	t.Cleanup(target.Close)
	prom := promtest.Start(t, promtest.Options{Jobs: []promtest.Job{{Name: "shop", Targets: []string{strings.TrimPrefix(target.URL, "http://")}}}})
	prom.AwaitScrape("shop", time.Now())
	began := time.Now().Add(-time.Minute)
	to, err := url.Parse(prom.URL())
	if err != nil {
		t.Fatal(err)
	}
	var holding atomic.Bool
	held := make(chan struct{}, 100)
	pass := httputil.NewSingleHostReverseProxy(to)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if holding.Load() {
			select {
			case held <- struct{}{}:
			default:
			}
			_, _ = io.Copy(io.Discard, r.Body) // until it is read nobody notices that yoyu has gone
			<-r.Context().Done()
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	file, data := filepath.Join(t.TempDir(), "config.yaml"), filepath.Join(t.TempDir(), "data")
	err = os.WriteFile(file, fmt.Appendf(nil, `
tick: 1s
sources: [{name: prom, type: prometheus, url: %q, delay: 2s}]
defaults: {source: prom, period: 1h}
slos:
  - name: it
    service: shop
    objective: 99
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, proxy.URL), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	newest := func(slots map[int64]slot) (end int64) {
		for at := range slots {
			end = max(end, at)
		}
		return end
	}
	// counted up to a moment: every second of the recount that is not after it.
	recount := func(end int64) map[int64]slot {
		return recountByTick(prom.RawSamples("requests_total", began, time.Unix(end, 0)))
	}

	y := runOn(t, file, data)
	until(t, "a few slots", func() (bool, string) {
		w := y.slo("it").Windows["1h"]
		return w.Total > 60 && w.Bad > 0, fmt.Sprintf("%+v", w)
	})
	holding.Store(true)
	select {
	case <-held:
	case <-time.After(patience):
		t.Fatal("yoyu asked no more")
	}
	asked := time.Now()
	if err := y.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-y.ended:
		if err != nil {
			t.Fatalf("ended with %v", err)
		}
	case <-time.After(promptly):
		t.Fatalf("not ended within %s of SIGTERM", promptly)
	}
	t.Logf("ended %s after SIGTERM", time.Since(asked).Round(time.Millisecond))
	got := dump(t, data)
	sameSlots(t, got, recount(newest(got)))

	holding.Store(false)
	y = runOn(t, file, data)
	now := float64(time.Now().Unix())
	until(t, "catching up", func() (bool, string) {
		text, err := get("http://" + y.address + "/metrics")
		if err != nil {
			return false, err.Error()
		}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, `slo_last_sample_timestamp_seconds{service="shop",slo="it"} `); ok {
				at, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				return err == nil && at > now && strings.Contains(text, `yoyu_backfill_remaining_seconds{source="prom"} 0`), line
			}
		}
		return false, "no sample yet"
	})
	y.stop()
	after := dump(t, data)
	if len(after) <= len(got) {
		t.Errorf("%d slots, before the restart there were %d", len(after), len(got))
	}
	sameSlots(t, after, recount(newest(after)))
}

// A daemon that is suspended for several ticks, as on a laptop or a paused machine, goes on by
// itself: nothing is lost, nothing twice.
func TestSuspended(t *testing.T) {
	t.Parallel()
	page := newClimb(t, 5)
	file, data := page.config(t), filepath.Join(t.TempDir(), "data")
	y := runOn(t, file, data)
	for range 2 {
		seen := y.counted().total
		until(t, "counting", func() (bool, string) {
			got := y.counted()
			return got.total > seen, fmt.Sprintf("%+v", got)
		})
		if err := y.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		pass(t, 3500*time.Millisecond) // three ticks at least, and the timeout of any request
		if err := y.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	seen := y.counted().total
	until(t, "counting goes on", func() (bool, string) {
		got := y.counted()
		return got.total > seen, fmt.Sprintf("%+v", got)
	})
	all := page.between(1, page.stand())
	y.counts("every page", all)
	y.stop()
	if got := dumped(t, data); got != all {
		t.Errorf("the state holds %+v, want %+v", got, all)
	}
}
