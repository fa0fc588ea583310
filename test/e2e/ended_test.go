package e2e

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"
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
