package slo

// strip is how many rows are judged at a time: the counts of their windows stay in the nearest cache.
const strip = 1024

// nearly is how far apart two products in floating point must be to be believed; what is closer is
// compared exactly.
const nearly = 1 - 1e-9

// tables are where the counts of a strip lie while it is judged, by window.
type tables[T int32 | int64] [][strip]total[T]

// judge works out a block at its lane's newest tick: what every row counted in every window, and of
// that what is left of its budget, and whether a pair of its windows may burn above its factor. The
// counts themselves are not kept, a difference of two columns says them again.
func judge[T int32 | int64](b *block, columns []total[T], counted *tables[T]) {
	p := b.plan
	for len(*counted) < len(p.windows) {
		*counted = append(*counted, [strip]total[T]{})
	}
	b.slots = b.slots[:0]
	for w := range p.windows {
		b.slots = append(b.slots, b.lane.edge(p.from(w, b.lane)))
	}
	unit := 1.0
	if b.wide {
		for row := range b.rows {
			if l := b.owners[row]; l != nil {
				unit = l.owner.unitOfBudget()
				break
			}
		}
	}
	share := 1 / unit // a power of two: exact
	var newest [strip]total[T]
	for first := 0; first < b.rows; first += strip {
		n := min(strip, b.rows-first)
		now := b.now[first:][:n]
		head := newest[:len(now)]
		for i := range now {
			head[i] = total[T]{T(now[i].total), T(now[i].bad)}
		}
		for w, slot := range b.slots {
			out := (*counted)[w][:n]
			if slot < 0 {
				clear(out)
				continue
			}
			then, head := columns[int(slot)*b.room+first:][:len(out)], head[:len(out)]
			for i := range out {
				c := total[T]{head[i].total - then[i].total, head[i].bad - then[i].bad}
				if uint64(c.bad) > uint64(c.total) || c.total < 0 { // hardly ever: bad is within [0, total]
					c.total = max(c.total, 0)
					c.bad = min(max(c.bad, 0), c.total)
				}
				out[i] = c
			}
		}
		rest := b.rest[first:][:n]
		burns := b.burns[first:][:len(rest)]
		clear(burns)
		for k := range p.pairs {
			pair := &p.pairs[k]
			long, short := (*counted)[pair.long][:len(rest)], (*counted)[pair.short][:len(rest)]
			least := pair.factor * nearly
			for i := range rest {
				// bad > factor · (1 − target) · total
				threshold := rest[i] * least
				if float64(long[i].bad) > threshold*float64(long[i].total) && float64(short[i].bad) > threshold*float64(short[i].total) {
					burns[i] = true
				}
			}
		}
		whole, left := (*counted)[p.whole][:len(rest)], b.left[first:][:len(rest)]
		for i := range rest {
			left[i] = 1
			if allowed := rest[i] * (float64(whole[i].total) * share); allowed > 0 {
				left[i] = 1 - float64(whole[i].bad)*share/allowed
			}
		}
	}
}

// counted is what a row counted in a window of the plan, at the tick that was judged last.
func (b *block) counted(window, row int) counts {
	slot := b.slots[window]
	if slot < 0 {
		return counts{}
	}
	return b.now[row].minus(b.get(slot, row)).clamped()
}
