package slo

// strip is how many rows are judged at a time: what is made of them stays in the nearest cache.
const strip = 1024

// nearly is how far apart two products in floating point must be to be believed; what is closer is
// compared exactly.
const nearly = 1 - 1e-9

// judge works out a block at its lane's newest tick: what every row counted in every window, what is
// left of its budget, and whether a pair of its windows burns above its factor. columns are the
// totals by slot and row, counted is where the counts of windows go.
func judge[T int32 | int64](b *block, columns, counted []total[T]) {
	p := b.plan
	var unit float64 = 1
	if b.wide {
		for row := range b.rows {
			if l := b.owners[row]; l != nil {
				unit = l.owner.unitOfBudget()
				break
			}
		}
	}
	var newest [strip]total[T]
	for first := 0; first < b.rows; first += strip {
		n := min(strip, b.rows-first)
		now := b.now[first:][:n]
		head := newest[:n]
		for i := range now {
			head[i] = total[T]{T(now[i].total), T(now[i].bad)}
		}
		for w := range p.windows {
			out := counted[w*b.room+first:][:n]
			slot := b.lane.edge(p.from(w, b.lane))
			if slot < 0 {
				clear(out)
				continue
			}
			then := columns[int(slot)*b.room+first:][:n]
			for i := range out {
				all := max(head[i].total-then[i].total, 0)
				out[i] = total[T]{all, min(max(head[i].bad-then[i].bad, 0), all)}
			}
		}
		fires := b.fires[first:][:n]
		clear(fires)
		rest := b.rest[first:][:n]
		for k := range p.pairs {
			pair := &p.pairs[k]
			long, short := counted[pair.long*b.room+first:][:n], counted[pair.short*b.room+first:][:n]
			least := pair.factor * nearly
			for i := range rest {
				// bad > factor · (1 − target) · total
				threshold := rest[i] * least
				if float64(long[i].bad) > threshold*float64(long[i].total) && float64(short[i].bad) > threshold*float64(short[i].total) {
					fires[i] = true
				}
			}
		}
		for w := range p.windows {
			if !p.windows[w].period {
				continue
			}
			out, left := counted[w*b.room+first:][:n], b.left[first:][:n]
			for i := range out {
				left[i] = 1
				if allowed := rest[i] * (float64(out[i].total) / unit); allowed > 0 {
					left[i] = 1 - float64(out[i].bad)/unit/allowed
				}
			}
		}
	}
}
