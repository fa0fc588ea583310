package slo

// block is a table of running totals, time-major: a column for each known tick of the grid over all
// rows, so that a turn touches a few columns from end to end and not a few places of every row. Rows
// of a block are of one lane and one plan, and so share the newest tick and the edges of windows.
//
//	          row 0   row 1   row 2 …
//	slot 0    C(k₀)   C(k₀)   C(k₀)      a column: contiguous
//	slot 1    C(k₁)   …
//	now       C(head), wide, not among the columns until the lane moves on
//
// Columns are narrow, 32 bits a total, which is exact as long as no window holds 2^31 events: a row
// that comes to 2^30 moves to a wide block.
type block struct {
	lane *lane
	plan *plan
	wide bool // 64 bits a total

	rows    int // rows in use are below
	room    int
	free    []int
	owners  []*ledger
	numbers []uint32 // on disk; 0 is none yet

	now   []counts       // C(head)
	low   []int64        // a total at or before the oldest known tick: what says how much a row holds
	small []total[int32] // slot·room + row; nil when wide
	large []total[int64]
	rest  []float64 // 1 − target

	// Of the tick that was judged last.
	slots []int64   // by window of the plan: of its trailing edge; −1 is the newest totals
	left  []float64 // remaining ratio of the budget
	burns []uint8   // not 0: both windows of a pair may burn above its factor: to be compared exactly

	announced int32 // says nothing: what it is made of is thereby read
}

// total is C at one tick for one row.
type total[T int32 | int64] struct{ total, bad T }

// narrowest is how much a row of a narrow block may hold, and step how much it may grow by between
// two looks at that.
const (
	narrowest = 1 << 30
	step      = 1 << 20
	looks     = 1024 // ticks
)

// largest is the number of rows of a full block: columns of 32 KiB stream from memory and leave
// room in the caches for what is made of them.
const largest = 4096

func newBlock(l *lane, p *plan, wide bool, room int) *block {
	b := &block{lane: l, plan: p, wide: wide, room: room}
	slots := int(l.grid.slots())
	if wide {
		b.large = make([]total[int64], slots*room)
	} else {
		b.small = make([]total[int32], slots*room)
	}
	b.owners, b.now, b.low = make([]*ledger, room), make([]counts, room), make([]int64, room)
	b.rest, b.numbers = make([]float64, room), make([]uint32, room)
	b.left, b.burns = make([]float64, room), make([]uint8, room)
	return b
}

// full reports whether no row can be taken.
func (b *block) full() bool { return len(b.free) == 0 && b.rows == b.room }

// take makes a row the ledger's. It has counted nothing yet.
func (b *block) take(l *ledger) int {
	row := b.rows
	if n := len(b.free); n > 0 {
		row, b.free = b.free[n-1], b.free[:n-1]
		for slot := range b.lane.grid.slots() {
			b.set(slot, row, counts{})
		}
	} else {
		b.rows++
	}
	b.owners[row], b.now[row], b.low[row], b.numbers[row] = l, counts{}, 0, 0
	b.rest[row] = l.owner.Target.Rest().Float()
	return row
}

// release gives a row back.
func (b *block) release(row int) {
	b.owners[row], b.now[row], b.numbers[row] = nil, counts{}, 0
	b.free = append(b.free, row)
}

// get is the total of a row at a slot. A narrow one is told from the newest: they are less than 2^31
// apart.
func (b *block) get(slot int64, row int) counts {
	i := int(slot)*b.room + row
	if b.wide {
		return counts(b.large[i])
	}
	t, now := b.small[i], b.now[row]
	return counts{now.total - int64(int32(now.total)-t.total), now.bad - int64(int32(now.bad)-t.bad)}
}

func (b *block) set(slot int64, row int, c counts) {
	i := int(slot)*b.room + row
	if b.wide {
		b.large[i] = total[int64](c)
		return
	}
	b.small[i] = total[int32]{int32(c.total), int32(c.bad)}
}

// close writes the newest totals into a column.
func (b *block) close(slot int64) {
	now := b.now[:b.rows]
	if b.wide {
		column := b.large[int(slot)*b.room:][:len(now)]
		for i := range now {
			column[i] = total[int64](now[i])
		}
		return
	}
	column := b.small[int(slot)*b.room:][:len(now)]
	for i := range now {
		column[i] = total[int32]{int32(now[i].total), int32(now[i].bad)}
	}
}

// crowded moves rows on that hold too much for a narrow block. It is asked every `looks` ticks, and
// between them no row grows by more than looks·step unseen.
func (b *block) crowded() {
	if b.wide {
		return
	}
	oldest := b.lane.head - b.lane.grid.horizon
	for row := range b.rows {
		l := b.owners[row]
		if l == nil {
			continue
		}
		b.low[row] = l.total(oldest).total
		if b.now[row].total-b.low[row] >= narrowest {
			l.promote()
		}
	}
}

// promote moves the ledger to a wide block.
func (l *ledger) promote() {
	l.move(l.lane.room(l.plan, true))
	l.owner.seated()
}

// widen makes room for what is about to be put.
func (l *ledger) widen(entries []entry, spreads []spread) {
	if l.wide {
		return
	}
	more := l.now().total - l.low[l.row]
	for i := range entries {
		if more += entries[i].total; more >= narrowest || entries[i].total >= narrowest {
			l.promote()
			return
		}
	}
	for i := range spreads {
		if v := spreads[i].total * spreads[i].unit; v >= narrowest || more+int64(v) >= narrowest {
			l.promote()
			return
		} else {
			more += int64(v)
		}
	}
}
