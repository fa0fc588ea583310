package slo

import "unsafe"

// Stream moves the bytes of a tick through memory and makes nothing of them: the arrays that Observe
// and Judge touch for the tick after the newest one, in their own layout and element widths, each from
// end to end, read and added up eight bytes at a time, and written where a tick writes. It goes over
// the newest totals as often as a tick does. What a tick takes above that is its arithmetic, and the
// answers, which come from the cache.
//
//	close    totals read; the column of the tick that ends written, that of a thinned ring if it has one
//	observe  seats read; what the latest answers say read and written; totals read and written
//	judge    totals, the trailing columns of all windows and the targets read; ratios and marks written
func (e *Engine) Stream() (sum uint64) {
	nothing := nothing
	for _, l := range e.lanes {
		l.grid.ticks(l.head-1, l.head, func(_, slot int64) {
			for _, b := range l.blocks {
				column, now := words(b.small[int(slot)*b.room:][:b.rows]), b.now[:b.rows]
				now = now[:len(column)]
				for i := range column {
					column[i] = uint64(now[i].total) ^ uint64(now[i].bad) // made good by Streamed
				}
			}
		})
	}
	seats := e.seats
	for i := range seats {
		s := (*[6]uint64)(unsafe.Pointer(&seats[i]))
		sum += s[0] + s[1] + s[2] + s[3] + s[4] + s[5]
	}
	latest := e.latest
	for i := range latest {
		latest[i].told += nothing
		latest[i].newest += nothing
	}
	for _, l := range e.lanes {
		for _, b := range l.blocks {
			now := b.now[:b.rows]
			for i := range now {
				now[i].total += nothing
				now[i].bad += nothing
			}
		}
	}
	for _, l := range e.lanes {
		for _, b := range l.blocks {
			sum += added(words(b.now[:b.rows])) + added(words(b.rest[:b.rows]))
			for w := range b.plan.windows {
				sum += added(words(b.small[int(l.edge(b.plan.from(w, l)))*b.room:][:b.rows]))
			}
			left := b.left[:b.rows]
			for i := range left {
				left[i] = 1
			}
			clear(b.burns[:b.rows])
		}
	}
	return sum
}

// Streamed moves the engine on a tick, so that the next Stream finds other columns. The counts stay as
// they are.
func (e *Engine) Streamed() {
	for _, l := range e.lanes {
		l.advance(l.head + 1)
	}
}

// Touch has the memory of the columns that the next ticks read and write, as in an engine that has
// run for its whole period: memory that was never written is one page of zeros, which costs nothing to
// read.
func (e *Engine) Touch(ticks int64) {
	for _, l := range e.lanes {
		slots := map[int64]bool{}
		head := l.head
		for range ticks {
			l.grid.ticks(l.head-1, l.head, func(_, slot int64) { slots[slot] = true })
			for _, b := range l.blocks[:1] {
				for w := range b.plan.windows {
					slots[l.edge(b.plan.from(w, l))] = true
				}
			}
			l.head++
		}
		l.head = head
		for slot := range slots {
			for _, b := range l.blocks {
				for i := int(slot) * b.room; i < int(slot+1)*b.room; i += 64 {
					b.small[i].bad += int32(nothing)
				}
			}
		}
	}
}

// nothing is 0, which the compiler does not know.
var nothing int64

// added is the sum of words, quick enough that memory is what it waits for.
func added(all []uint64) uint64 {
	var a, b, c, d uint64
	for len(all) >= 8 {
		a, b, c, d = a+all[0], b+all[1], c+all[2], d+all[3]
		a, b, c, d = a+all[4], b+all[5], c+all[6], d+all[7]
		all = all[8:]
	}
	for _, v := range all {
		a += v
	}
	return a + b + c + d
}

// words is memory as words of eight bytes.
func words[T any](all []T) []uint64 {
	var one T
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(all))), uintptr(len(all))*unsafe.Sizeof(one)/8)
}
