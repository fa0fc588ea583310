package pipeline

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Who asks waits for no source: not between turns, nor while a turn waits for one that hangs.
func TestAsksWaitForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := run(t, 30*slo.Day, &steady{name: "a", bad: 10})
		pass(time.Minute)
		look := func() (at time.Time, total float64) {
			began := time.Now()
			err := w.line.Asks.Ask(t.Context(), func(e *slo.Engine) {
				c := e.Course(slo.CourseQuery{Name: "a", Step: time.Hour})
				at, total = c.At, c.Total
			})
			if err != nil || time.Since(began) > 0 {
				t.Errorf("an answer after %s: %v", time.Since(began), err)
			}
			return at, total
		}
		st := w.sink.status(t, "a")
		if at, total := look(); !at.Equal(st.At) || total != window(st, "7d").Total {
			t.Errorf("between turns: %v events at %s, the report says %v at %s", total, at, window(st, "7d").Total, st.At)
		}

		w.sources["a"].set(func(ctx context.Context, _ slo.Span, _ []string) error { <-ctx.Done(); return ctx.Err() })
		pass(time.Until(time.Now().Truncate(tick).Add(tick + time.Second))) // a second into the turn
		look()

		// Many at once cost no turn.
		ctx, stop := context.WithCancel(t.Context())
		before := w.sink.count()
		var many sync.WaitGroup
		for range 8 {
			many.Go(func() {
				for ctx.Err() == nil {
					_ = w.line.Asks.Ask(ctx, func(e *slo.Engine) { e.Sparks(0, 10, 8) })
					timer := time.NewTimer(50 * time.Millisecond)
					<-timer.C
				}
			})
		}
		pass(10 * tick)
		if got := w.sink.count() - before; got < 9 {
			t.Errorf("%d reports in ten ticks", got)
		}
		stop()
		many.Wait()

		err := w.line.Asks.Ask(t.Context(), func(*slo.Engine) { panic("a mistake") })
		if err == nil || !strings.Contains(err.Error(), "a mistake") {
			t.Errorf("a look that panics: %v", err)
		}
		look()

		w.sources["a"].set(nil)
		w.stop()
		over, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.line.Asks.Ask(over, func(*slo.Engine) { t.Error("a loop that has ended looked") }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the end: %v", err)
		}
	})
}
