package slo

// strip is how many rows are judged at a time: what is made of them stays in the nearest cache, and a
// column of a narrow strip is a page of memory.
const strip = 512

// nearly is how far apart two products in floating point must be to be believed; what is closer is
// compared exactly.
const nearly = 1 - 1e-9

// judge works out a block at its lane's newest tick: what every row counted in the windows, and of
// that what is left of its budget, and whether a pair of its windows may burn above its factor. The
// counts themselves are not kept, a difference of two columns says them again.
func (b *block) judge() {
	b.slots = b.slots[:0]
	for w := range b.plan.windows {
		b.slots = append(b.slots, b.lane.edge(b.plan.from(w, b.lane)))
	}
	clear(b.burns[:b.rows])
	if b.wide {
		b.judgeLarge()
		return
	}
	for first := 0; first < b.rows; first += strip {
		if next := first + strip; next < b.rows {
			b.announce(next)
		}
		b.judgeSmall(first, min(strip, b.rows-first))
	}
}

// announce reads a few lines of every column of the strip that comes next. A processor fetches ahead
// of a reader only within a page, and only once it has seen it read there twice: a strip is a page of
// every column, so that without this each of them begins with waiting.
func (b *block) announce(first int) {
	const line = 8 // rows
	last, sum := b.room-1, int32(0)
	for _, slot := range b.slots {
		if slot < 0 {
			continue
		}
		column := b.small[int(slot)*b.room:][:b.room]
		sum += column[first].total + column[min(first+line, last)].total + column[min(first+2*line, last)].total
	}
	b.announced = sum
}

// column is a part of a column; nil for a window that begins at the newest totals, and so is empty.
func column[T int32 | int64](b *block, columns []total[T], window, first, n int) []total[T] {
	slot := b.slots[window]
	if slot < 0 {
		return nil
	}
	return columns[int(slot)*b.room+first:][:n]
}

// judgeSmall judges a strip of narrow rows, pair by pair, in integers alone and without a branch for
// a row: the thresholds are rounded down, so that no pair that burns is missed.
//
//	bad > factor · (1 − target) · total   ⇒   bad·2³² > ⌊factor · (1 − target) · 2³²⌋ · total
//
// Counts that are not in order, bad beyond [0, total], are put in order where they are compared
// exactly; that never makes a pair burn which is not marked here.
func (b *block) judgeSmall(first, n int) {
	var (
		heads [strip]total[int32]
		rests [strip]uint64 // (1 − target) · 2⁴⁰
	)
	now := b.now[first:][:n]
	head, rest, scaled, burns := heads[:len(now)], b.rest[first:][:len(now)], rests[:len(now)], b.burns[first:][:len(now)]
	most := uint64(1)
	for i := range now {
		head[i] = total[int32]{int32(now[i].total), int32(now[i].bad)}
		scaled[i] = uint64(rest[i] * (1 << 40))
		most = max(most, scaled[i])
	}
	for k := range b.plan.pairs {
		pair := &b.plan.pairs[k]
		long, short := column(b, b.small, pair.long, first, n), column(b, b.small, pair.short, first, n)
		if long == nil || short == nil {
			continue
		}
		// Above 1 a threshold is never exceeded: none needs to be larger, and none overflows.
		factor := uint64(min(pair.factor, (1<<40)/float64(most)) * (1 << 22))
		long, short, scaled, burns := long[:len(head)], short[:len(head)], scaled[:len(head)], burns[:len(head)]
		for i := range head {
			threshold := scaled[i] * factor >> 30
			inLong := threshold*uint64(uint32(head[i].total-long[i].total)) - uint64(uint32(head[i].bad-long[i].bad))<<32
			inShort := threshold*uint64(uint32(head[i].total-short[i].total)) - uint64(uint32(head[i].bad-short[i].bad))<<32
			burns[i] |= uint8(inLong & inShort >> 63) // both below 0
		}
	}
	left, whole := b.left[first:][:len(head)], column(b, b.small, b.plan.whole, first, n)
	if whole == nil {
		whole = head
	}
	whole, rest = whole[:len(head)], rest[:len(head)]
	for i, h := range head {
		c := total[int32]{h.total - whole[i].total, h.bad - whole[i].bad}
		if uint32(c.bad) > uint32(c.total) || c.total < 0 { // hardly ever: bad is within [0, total]
			c.total = max(c.total, 0)
			c.bad = min(max(c.bad, 0), c.total)
		}
		left[i] = remaining(rest[i]*float64(c.total), float64(c.bad))
	}
}

// judgeLarge judges a wide block. Its rows are few, and their counts too large for less than floating
// point.
func (b *block) judgeLarge() {
	unit := 1.0
	for row := range b.rows {
		if l := b.owners[row]; l != nil {
			unit = l.owner.unitOfBudget()
			break
		}
	}
	share := 1 / unit // a power of two: exact
	rest, now, burns, left := b.rest[:b.rows], b.now[:b.rows], b.burns[:b.rows], b.left[:b.rows]
	above := func(row int, then total[int64], factor float64) bool {
		c := now[row].minus(counts(then)).clamped()
		return float64(c.bad) > rest[row]*factor*float64(c.total)
	}
	for k := range b.plan.pairs {
		pair := &b.plan.pairs[k]
		long, short := column(b, b.large, pair.long, 0, b.rows), column(b, b.large, pair.short, 0, b.rows)
		if long == nil || short == nil {
			continue
		}
		for i := range now {
			if factor := pair.factor * nearly; above(i, long[i], factor) && above(i, short[i], factor) {
				burns[i] = 1
			}
		}
	}
	whole := column(b, b.large, b.plan.whole, 0, b.rows)
	for i := range now {
		var c counts
		if whole != nil {
			c = now[i].minus(counts(whole[i])).clamped()
		}
		left[i] = remaining(rest[i]*(float64(c.total)*share), float64(c.bad)*share)
	}
}

// remaining is the ratio of a budget that is left.
func remaining(allowed, spent float64) float64 {
	if allowed > 0 {
		return 1 - spent/allowed
	}
	return 1
}

// counted is what a row counted in a window of the plan, at the tick that was judged last.
func (b *block) counted(window, row int) counts {
	slot := b.slots[window]
	if slot < 0 {
		return counts{}
	}
	return b.now[row].minus(b.get(slot, row)).clamped()
}
