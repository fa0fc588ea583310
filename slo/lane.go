package slo

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// lane is what moves together: all objectives with one grid and one delay, and so with one newest
// tick.
type lane struct {
	grid   *grid
	delay  time.Duration
	apart  bool  // begun elsewhere: joins the lane of its kind where they meet
	head   int64 // newest tick; 0 before the first answer
	judged int64 // newest tick at which the alerts were looked at; 0 before the first
	looked int64 // newest tick at which rows were looked at for their size
	blocks []*block
	used   int // objectives
}

// room is a block of a kind that has a free row.
func (l *lane) room(p *plan, wide bool) *block { return l.roomAmong(&l.blocks, p, wide) }

// roomAmong is room in one of some blocks of the lane; a new one joins them.
func (l *lane) roomAmong(blocks *[]*block, p *plan, wide bool) *block {
	rows := 0
	for _, b := range *blocks {
		if b.plan == p && b.wide == wide {
			if !b.full() {
				return b
			}
			rows += b.rows
		}
	}
	b := newBlock(l, p, wide, min(max(rows, 1), largest))
	*blocks = append(*blocks, b)
	return b
}

// edge is the slot of tick k or, where k is not known, of the known tick nearest to it; −1 is the
// newest totals themselves.
func (l *lane) edge(k int64) int64 {
	if k >= l.head {
		return -1
	}
	step := l.grid.step(k, l.head)
	if step == 1 {
		return mod(k, l.grid.fine)
	}
	near := (k + step/2) &^ (step - 1)
	if near >= l.head {
		return -1
	}
	return l.grid.coarse(near)
}

// advance moves the newest tick on. The ticks between hold what is known: nothing happened.
func (l *lane) advance(head int64) {
	if head <= l.head {
		return
	}
	old := l.head
	l.head = head
	if head-old > l.grid.horizon+l.grid.fine {
		for _, b := range l.blocks {
			for slot := range l.grid.slots() {
				b.close(slot)
			}
		}
	} else {
		l.grid.ticks(old-1, head-1, func(_, slot int64) {
			for _, b := range l.blocks {
				b.close(slot)
			}
		})
	}
	if head-l.looked >= looks {
		l.looked = head
		for _, b := range l.blocks {
			b.crowded()
		}
	}
}

// plan is what objectives have in common that are judged alike: windows, pairs and guards.
type plan struct {
	key     string
	windows []planned
	pairs   []plannedPair
	whole   int // of windows, the period
	period  Period
}

// planned is one window of a plan.
type planned struct {
	key    string
	length time.Duration
	ticks  int64
	shown  bool // in Status.Windows; the others belong to pairs alone
	period bool // the compliance period, always the last that is shown
}

// plannedPair is a pair of windows by their places in the plan.
type plannedPair struct {
	severity    int
	pair        int
	long, short int
	factor      float64
}

// planOf works a plan out.
func planOf(o *Objective, tick time.Duration) *plan {
	p := &plan{period: o.Period}
	add := func(length time.Duration, count int64, shown bool) int {
		for i := range p.windows {
			if w := &p.windows[i]; !w.period && w.length == length && w.ticks == count {
				return i
			}
		}
		p.windows = append(p.windows, planned{key: FormatDuration(length), length: length, ticks: count, shown: shown})
		return len(p.windows) - 1
	}
	for _, w := range Windows {
		if w < o.Period.Length {
			add(w, int64(w/tick), true)
		}
	}
	p.whole = len(p.windows)
	p.windows = append(p.windows, planned{
		key: o.Period.Key(), length: o.Period.Length, ticks: int64(o.Period.Length / tick), shown: true, period: true,
	})
	text := &strings.Builder{}
	zone := ""
	if o.Period.Location != nil {
		zone = o.Period.Location.String()
	}
	fmt.Fprintf(text, "%s %s %s %v %v", o.Period.Length, o.Period.Calendar, zone, o.Policy.MinBadEvents, o.Policy.Confidence)
	for i, s := range o.Policy.Severities {
		fmt.Fprintf(text, "|%s", s.Name)
		for k, pair := range s.Pairs {
			num, den := pair.Factor.Fraction()
			fmt.Fprintf(text, " %s %s %d/%d", pair.Long, pair.Short, num, den)
			p.pairs = append(p.pairs, plannedPair{
				severity: i, pair: k, factor: pair.Factor.Float(),
				long:  add(pair.Long, int64(pair.Long/tick), false),
				short: add(pair.Short, max(int64(pair.Short/tick), 1), false), // never less than a tick
			})
		}
	}
	p.key = text.String()
	return p
}

// from is where a window that ends at the newest tick begins.
func (p *plan) from(w int, l *lane) int64 {
	if p.windows[w].period && p.period.Calendar != Rolling {
		tickMs := l.grid.tick.Milliseconds()
		start := p.period.Span(time.UnixMilli(l.head * tickMs).UTC()).From
		return floorDiv(start.UnixMilli(), tickMs)
	}
	return l.head - p.windows[w].ticks
}

// history is which ticks the source of an objective vouches for. Objectives of a lane that were
// answered alike share one, so that a turn in which all is well changes one history and not one for
// each objective.
type history struct {
	lane    *lane
	covered coverage // ticks that the source vouches for
	asked   coverage // ticks that were answered at all, if only by "nothing there"
	members int
	sum     uint64 // of edges, when last asked for

	// An answer that is the same for members but for its counts, not in the sets yet: those told of it
	// (latest.told) are answered. Settled before anybody looks.
	coming   ticks
	answered int

	covers []covering // by plan, of the newest turn
}

// covering is how many ticks of every window of a plan are covered.
type covering struct {
	plan  *plan
	head  int64
	ticks []int64
	from  []int64
	pairs bool // all windows of pairs are covered at least in part
}

// cover is the covering of a plan at the lane's newest tick.
func (h *history) cover(p *plan) *covering {
	var c *covering
	for i := range h.covers {
		if h.covers[i].plan == p {
			c = &h.covers[i]
		}
	}
	if c == nil {
		h.covers = append(h.covers, covering{plan: p})
		c = &h.covers[len(h.covers)-1]
	} else if c.head == h.lane.head {
		return c
	}
	c.head, c.ticks, c.from, c.pairs = h.lane.head, c.ticks[:0], c.from[:0], true
	for i := range p.windows {
		from := p.from(i, h.lane)
		c.from = append(c.from, from)
		c.ticks = append(c.ticks, h.covered.within(ticks{from, h.lane.head}))
	}
	for _, pair := range p.pairs {
		if c.ticks[pair.long] == 0 || c.ticks[pair.short] == 0 {
			c.pairs = false
		}
	}
	return c
}

// apply puts an answer into the sets.
func (h *history) apply(span ticks) {
	h.asked, h.covered = h.asked.add(span), h.covered.add(span)
	h.stale()
}

// stale has coverings be worked out anew.
func (h *history) stale() {
	for i := range h.covers {
		h.covers[i].head = -1
	}
}

// same reports whether two histories say the same.
func (h *history) same(o *history) bool {
	return h.lane == o.lane && slices.Equal(h.asked, o.asked) && slices.Equal(h.covered, o.covered)
}

// print is a quick hash for same.
func (h *history) print() [5]int64 {
	p := [5]int64{int64(len(h.asked)), int64(len(h.covered))}
	if n := len(h.asked); n > 0 {
		p[2] = h.asked[n-1].from ^ h.asked[n-1].to<<20
	}
	if n := len(h.covered); n > 0 {
		p[3], p[4] = h.covered[n-1].from^h.covered[n-1].to<<20, h.covered[0].from
	}
	return p
}
