package promapi

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Filling the past never holds up the present.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		now, past := dusk, dawn
		g.note(now)
		order := make(chan string, 10)
		ask := func(name string, to time.Time) (release chan struct{}) {
			release = make(chan struct{})
			go func() {
				done, err := g.acquire(t.Context(), to)
				if err != nil {
					return
				}
				order <- name
				<-release
				done()
			}()
			synctest.Wait()
			return release
		}
		next := func(want string) {
			t.Helper()
			synctest.Wait()
			select {
			case got := <-order:
				if got != want {
					t.Errorf("%q goes on, want %q", got, want)
				}
			default:
				if want != "" {
					t.Errorf("nobody goes on, want %q", want)
				}
			}
		}
		p1 := ask("past 1", past)
		next("past 1")
		p2 := ask("past 2", past)
		next("") // one permit is kept
		n1 := ask("now 1", now)
		next("now 1")
		n2 := ask("now 2", now)
		next("")
		close(p1)
		next("now 2") // though past 2 has waited for longer
		close(n1)
		next("past 2")
		close(n2)
		close(p2)
		synctest.Wait()

		ctx, cancel := context.WithCancel(t.Context())
		a, b := ask("now 3", now), ask("now 4", now)
		next("now 3")
		next("now 4")
		failed := make(chan error)
		go func() { _, err := g.acquire(ctx, now); failed <- err }()
		synctest.Wait()
		cancel()
		if err := <-failed; err == nil {
			t.Error("a turn after the end")
		}
		close(a)
		close(b)
		synctest.Wait()
		if g.busy != 0 || g.past != 0 || len(g.waiting) != 0 {
			t.Errorf("left: %d busy, %d of them past, %d waiting", g.busy, g.past, len(g.waiting))
		}
	})
}
