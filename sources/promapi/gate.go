package promapi

import (
	"context"
	"slices"
	"sync"
	"time"
)

// gate bounds the requests in flight, with the present before the past: requests for older spans
// never hold the last permit while there are two, and they wait until nobody asks for the
// youngest span.
type gate struct {
	mu       sync.Mutex
	permits  int
	busy     int // permits out
	past     int // of them for older spans
	youngest time.Time
	waiting  []*waiter
}

type waiter struct {
	to      time.Time
	granted chan struct{}
	past    bool // which kind of permit it was granted
}

func newGate(permits int) *gate { return &gate{permits: permits} }

// note tells the gate how far questions reach.
func (g *gate) note(to time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if to.After(g.youngest) {
		g.youngest = to
	}
}

// acquire waits for a permit for a span that ends at to. release must be called once.
func (g *gate) acquire(ctx context.Context, to time.Time) (release func(), err error) {
	w := &waiter{to: to, granted: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, w)
	g.grant()
	g.mu.Unlock()
	select {
	case <-w.granted:
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		if i := slices.Index(g.waiting, w); i >= 0 {
			g.waiting = slices.Delete(g.waiting, i, i+1)
		} else {
			g.put(w)
		}
		return nil, context.Cause(ctx)
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.put(w)
	}, nil
}

func (g *gate) put(w *waiter) {
	g.busy--
	if w.past {
		g.past--
	}
	g.grant()
}

// grant hands out what is free: first to the youngest span, in order of arrival.
func (g *gate) grant() {
	for g.busy < g.permits {
		next := slices.IndexFunc(g.waiting, func(w *waiter) bool { return !w.to.Before(g.youngest) })
		past := next < 0
		if past {
			if len(g.waiting) == 0 || g.past >= max(1, g.permits-1) {
				return
			}
			next = 0
		}
		w := g.waiting[next]
		g.waiting = slices.Delete(g.waiting, next, next+1)
		w.past = past
		g.busy++
		if past {
			g.past++
		}
		close(w.granted)
	}
}
