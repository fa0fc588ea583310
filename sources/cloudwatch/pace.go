package cloudwatch

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pace shares what an account may ask, which is everybody's: consoles, alarms of others and their
// exporters live on it too. yoyu asks no faster than it is told to, of which the past has half. Once
// AWS throttles, every request of the source waits, longer each time, and the past twice as long, so
// that the present is asked first; and from then on it asks half as fast, until it is let go on for a
// while.
type pace struct {
	most      rate.Limit
	all, past *rate.Limiter

	mu       sync.Mutex
	refusals int       // in a row
	until    time.Time // until then the present asks nothing
	longer   time.Time // and the past
}

// patience is how long a request waits for its turn; what takes longer is an error, so that the same
// span is asked again later.
const patience = 5 * time.Minute

func newPace(perSecond float64) *pace {
	most := rate.Limit(perSecond)
	return &pace{most: most, all: rate.NewLimiter(most, 1), past: rate.NewLimiter(most/2, 1)}
}

// turn waits until a request may be made that has waited since began, in earlier turns too.
func (p *pace) turn(ctx context.Context, began time.Time, past bool) error {
	for {
		p.mu.Lock()
		wait := time.Until(p.until)
		if past {
			wait = time.Until(p.longer)
		}
		p.mu.Unlock()
		if wait <= 0 {
			break
		}
		if time.Since(began)+wait > patience {
			return failed("metric data", "limit", "AWS throttles; it is asked again in %s", wait.Round(time.Second))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fault(ctx, "metric data", context.Cause(ctx))
		}
	}
	if past {
		if err := p.past.Wait(ctx); err != nil {
			return fault(ctx, "metric data", err)
		}
	}
	if err := p.all.Wait(ctx); err != nil {
		return fault(ctx, "metric data", err)
	}
	return nil
}

// answered learns whether a request was throttled.
func (p *pace) answered(now time.Time, throttled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !throttled {
		p.refusals = 0
		p.speed(now, min(p.all.Limit()+p.most/20, p.most))
		return
	}
	if now.Before(p.until) {
		return // it was under way when another one was refused
	}
	quiet := time.Second << min(p.refusals, 6)
	quiet += time.Duration(rand.Int64N(int64(quiet)))
	p.refusals++
	p.speed(now, max(p.all.Limit()/2, p.most/50))
	p.until, p.longer = now.Add(quiet), now.Add(2*quiet)
}

func (p *pace) speed(now time.Time, perSecond rate.Limit) {
	p.all.SetLimitAt(now, perSecond)
	p.past.SetLimitAt(now, perSecond/2)
}
