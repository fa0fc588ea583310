package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Run ticks on whole multiples of the interval until ctx ends, and fills the past between the
// ticks. It returns when every goroutine it began has ended.
func (p *Pipeline) Run(ctx context.Context) error {
	defer p.end()
	tick := p.Engine.Tick()
	next := time.Now().Truncate(tick)
	for {
		began := time.Now()
		if err := p.Tick(ctx, next); err != nil {
			return nil // only the context ends it
		}
		p.Metrics.ticked(time.Since(began))
		p.fill(ctx, next)

		// The next whole tick of the clock. A turn that took longer, or a clock that leapt, skips
		// ticks; the counts do not mind, their spans grow.
		now := time.Now()
		due := now.Truncate(tick).Add(tick)
		if due.Before(next.Add(tick)) { // the clock stepped back: hold until it is there again
			p.Logger.Warn("clock stepped back", "by", next.Sub(now).String())
		} else if missed := int(due.Sub(next)/tick) - 1; missed > 0 {
			p.Metrics.missed(missed)
		}
		next = due
		timer := time.NewTimer(time.Until(next))
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case l := <-p.filled:
				p.settle(l, time.Now())
				p.fill(ctx, time.Now())
			case look := <-p.Asks:
				look(p.Engine)
			case <-timer.C:
				waiting = false
			}
		}
		// A process that was suspended wakes up late. It asks for the present, never for the tick it
		// slept through: a scraped page would be booked there.
		if late := int(time.Since(next) / tick); late > 0 {
			p.Metrics.missed(late)
			next = next.Add(time.Duration(late) * tick)
		}
	}
}

// end waits for what is under way, and puts what was still answered: a source has moved on by it.
func (p *Pipeline) end() {
	p.running.Wait()
	for _, l := range p.lanes {
		p.take(l, l.job)
		p.take(l, l.fill)
	}
	if p.Commit != nil {
		p.Commit(p.Engine, p.progress)
		clear(p.progress)
	}
}

// fill asks every idle lane for the oldest piece of its past that is missing.
func (p *Pipeline) fill(ctx context.Context, now time.Time) {
	for _, l := range p.lanes {
		if l.Backfill == 0 || l.fill.busy() {
			continue
		}
		p.settle(l, now)
		span, only, left := p.past(l, now, live)
		p.Metrics.backfill(l.Source.Name(), left)
		if len(only) == 0 {
			continue
		}
		l.filling, l.fillingFor = span, only
		l.fill.start(ctx, &p.running, 0, func(ctx context.Context) ([]slo.Sample, error) {
			return p.ask(ctx, l.Source, []question{{span, only}})
		}, func() {
			select {
			case p.filled <- l:
			case <-ctx.Done():
			}
		})
	}
}

// settle puts a filled piece of the past. An objective that was not answered is left out for a
// while, longer each time, so that it does not hold up the others.
func (p *Pipeline) settle(l *lane, now time.Time) {
	if !p.take(l, l.fill) {
		return
	}
	for _, name := range l.fillingFor {
		if len(p.Engine.Unanswered(name, l.filling)) == 0 {
			delete(l.later, name)
			continue
		}
		r := l.later[name]
		r.fails++
		r.at = now.Add(min(time.Second<<min(r.fails, 8), 5*time.Minute))
		l.later[name] = r
	}
}

// past is the oldest missing piece of a lane's past with the objectives that miss it, and how much
// is missing in all; the present is not asked for here.
func (p *Pipeline) past(l *lane, now time.Time, present time.Duration) (span slo.Span, only []string, left time.Duration) {
	newest := p.Engine.At(now, l.Delay)
	to := newest.Add(-present)
	for _, name := range l.Objectives {
		from := p.Engine.At(newest.Add(-min(l.Backfill, p.Engine.Horizon(name))), 0)
		missing := p.Engine.Unanswered(name, slo.Span{From: from, To: to})
		sum := time.Duration(0)
		for _, m := range missing {
			sum += m.Duration()
		}
		left = max(left, sum)
		if len(missing) == 0 || now.Before(l.later[name].at) {
			continue
		}
		m := missing[0]
		if edge := p.chunkEnd(m.From); m.To.After(edge) {
			m.To = edge
		}
		m = p.Engine.Aligned(name, m)
		switch {
		case len(only) == 0 || m.From.Before(span.From):
			span, only = m, []string{name}
		case m == span:
			only = append(only, name)
		}
	}
	return span, only, left
}

// chunkEnd is where the chunk that begins after a moment ends: on a power of two of ticks, which
// is where the engine's coarse slots meet.
func (p *Pipeline) chunkEnd(from time.Time) time.Time {
	width := p.Engine.Tick()
	for width*2 <= chunk {
		width *= 2
	}
	return time.UnixMilli((from.UnixMilli()/width.Milliseconds() + 1) * width.Milliseconds())
}

// Backfill asks every lane for its whole past before now, oldest first, and puts it; progress
// hears what is done and what there is to do. What fails costs its own coverage: the errors come
// together at the end, one for each objective or source.
func (p *Pipeline) Backfill(ctx context.Context, now time.Time, progress func(done, all time.Duration)) error {
	lefts := make([]time.Duration, len(p.lanes))
	all := time.Duration(0)
	for i, l := range p.lanes {
		if l.Backfill > 0 {
			_, _, lefts[i] = p.past(l, now, 0)
			all += lefts[i]
		}
	}
	var faults []error
	done := time.Duration(0)
	for i, l := range p.lanes {
		for l.Backfill > 0 {
			span, only, left := p.past(l, now, 0)
			if progress != nil {
				progress(done+lefts[i]-min(left, lefts[i]), all)
			}
			if len(only) == 0 {
				break
			}
			samples, err := p.ask(ctx, l.Source, []question{{span, only}})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				faults = append(faults, err)
				break
			}
			for j := range samples {
				if err := samples[j].Err; err != nil {
					faults = append(faults, err)
					l.later[samples[j].SLO] = retry{at: now.Add(time.Hour)} // not again in this run
				} else if err := p.Engine.Observe(samples[j]); err != nil {
					return err
				}
			}
			if slices.ContainsFunc(only, func(name string) bool {
				return now.After(l.later[name].at) && len(p.Engine.Unanswered(name, span)) > 0
			}) {
				faults = append(faults, fmt.Errorf("source %s: no answer for %s", l.Source.Name(), span))
				break
			}
		}
		done += lefts[i]
	}
	return errors.Join(faults...)
}
