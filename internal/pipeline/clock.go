package pipeline

import (
	"context"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// patience is how long a leap of the clock is doubted while no source vouches for it.
const patience = 15 * time.Minute

// leap is how far a clock may move between two turns without being doubted: as far as the samples
// of a series may lie apart without a gap.
func (p *Pipeline) leap() time.Duration { return max(5*time.Minute, 2*p.Engine.Tick()) }

// believes reports whether a turn's moment is to be believed. A clock that leaps forward was set
// wrongly, or the process was suspended; the two look alike from inside. But turning the windows on
// by a month forgets a month, and cannot be taken back. So a leap is put to the sources that have
// a past, and so a clock, of their own: one that has samples from just before that moment vouches
// for it. Without a word from any of them the leap is believed after patience, counted in turns:
// a process that wakes up while all its sources are down goes on in the end.
//
// Sources that know only the present book what they see at the moment they are told, so they can
// vouch for nothing; with no others, every leap is believed at once. A clock that steps back is no
// matter here: the engine never goes behind what it has seen, and waits.
func (p *Pipeline) believes(ctx context.Context, now time.Time) bool {
	if p.latest.IsZero() || now.Sub(p.latest) <= p.leap() || p.vouched(ctx, now) {
		p.latest, p.doubts = maxTime(p.latest, now), 0
		return true
	}
	p.doubts++
	if time.Duration(p.doubts)*p.Engine.Tick() > patience {
		p.Logger.Warn("clock leapt and no source vouches for it: believed after a while", "by", now.Sub(p.latest).String(), "waited", patience.String())
		p.latest, p.doubts = now, 0
		return true
	}
	if p.doubts == 1 {
		p.Logger.Warn("clock leapt and no source vouches for it: waiting", "by", now.Sub(p.latest).String(), "for", patience.String())
	}
	return false
}

// vouched reports whether any source with a past has samples from just before now, or whether
// there is none to ask.
func (p *Pipeline) vouched(ctx context.Context, now time.Time) bool {
	patience, stop := context.WithTimeout(ctx, p.grace())
	defer stop()
	asked, answers := 0, make(chan bool, len(p.lanes))
	for _, l := range p.lanes {
		if l.Backfill == 0 {
			continue
		}
		asked++
		to := p.Engine.At(now, l.Delay)
		span := slo.Span{From: p.Engine.At(to.Add(-p.leap()), 0), To: to}
		p.running.Go(func() {
			samples, err := l.Source.Collect(patience, span)
			fresh := false
			for i := range samples {
				fresh = fresh || err == nil && samples[i].Err == nil && samples[i].Newest.After(span.From)
			}
			answers <- fresh
		})
	}
	for range asked {
		select {
		case fresh := <-answers:
			if fresh {
				return true
			}
		case <-patience.Done():
			return false
		}
	}
	return asked == 0
}

func maxTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
