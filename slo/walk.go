package slo

import (
	"encoding/binary"
	"fmt"
	"math"
)

// walk adds the slots up, from the oldest to the newest, the finest that are kept at each age. Each
// lane walks by itself, all of its rows together, so that columns are written from end to end; its
// blocks are dealt to parts, which change nothing that they share.
func (in *restoring) walk(ledgers []*ledger) error {
	for p := range in.lanesOf(ledgers) {
		p.looked = p.head
		adders := in.deal(p, ledgers)
		faults := make([]error, len(adders))
		in.run(func(part int) { faults[part] = in.add(adders[part]) })
		for i, a := range adders {
			if faults[i] != nil {
				return faults[i]
			}
			p.blocks = append(p.blocks, a.fresh...)
			for _, t := range a.promoted {
				t.seated()
			}
		}
	}
	return nil
}

func (in *restoring) lanesOf(ledgers []*ledger) map[*lane]bool {
	out := map[*lane]bool{}
	for _, l := range ledgers {
		out[l.lane] = true
	}
	return out
}

// deal gives every part some blocks of a lane, about as many rows each.
func (in *restoring) deal(p *lane, ledgers []*ledger) []*adder {
	rows := 0
	for _, b := range p.blocks {
		rows += b.rows
	}
	adders := make([]*adder, in.parts)
	for i := range adders {
		adders[i] = &adder{lane: p, byNumber: make([]*ledger, in.engine.journal.next)}
	}
	of, before := map[*block]*adder{}, 0
	for _, b := range p.blocks {
		a := adders[min(before*in.parts/max(rows, 1), in.parts-1)]
		a.blocks = append(a.blocks, b)
		of[b] = a
		before += b.rows
	}
	for _, l := range ledgers {
		if a := of[l.block]; a != nil {
			a.ledgers = append(a.ledgers, l)
			a.byNumber[l.numbers[l.row]] = l
		}
	}
	return adders
}

// add walks along one part of a lane.
func (in *restoring) add(a *adder) error {
	g, head := a.lane.grid, a.lane.head
	if head == 0 || len(a.blocks) == 0 {
		return nil // nothing was ever answered
	}
	fault := func(level int, end int64, err error) error {
		return fmt.Errorf("state: %s: %w", DescribeRecord(in.engine.tick, slotBucket, slotKey(level, end)), err)
	}
	a.find()
	widest := g.width(int(g.rings))
	for k := floorDiv(head-g.horizon, widest) * widest; k < head; {
		step := g.stride(k, head)
		level := 0
		for g.width(level) != step {
			level++
		}
		k += step
		if err := a.add(in.slots[slotID{level, k}]); err != nil {
			return fault(level, k, err)
		}
		if coarse := g.coarse(k); coarse >= 0 {
			for _, b := range a.blocks {
				b.close(coarse)
			}
		}
		if head-k < g.fine {
			for _, b := range a.blocks {
				b.close(mod(k, g.fine))
			}
		}
		// Where a coarse slot reaches into the ticks, those are told from its end.
		back := map[uint32]counts{}
		for tick := k - 1; tick > k-step && head-tick < g.fine; tick-- {
			if err := eachCell(in.slots[slotID{0, tick + 1}], func(c Cell) {
				if a.ledger(c.Row) != nil {
					back[c.Row] = back[c.Row].plus(counts{c.Total, c.Bad})
				}
			}); err != nil {
				return fault(0, tick+1, err)
			}
			for _, l := range a.ledgers {
				l.set(mod(tick, g.fine), l.row, l.now().minus(back[l.numbers[l.row]]))
			}
		}
	}
	return nil
}

// adder adds the cells of slots to the newest totals of rows of a lane.
type adder struct {
	lane     *lane
	blocks   []*block
	fresh    []*block  // those of blocks that it made
	ledgers  []*ledger // in the order of their numbers
	byNumber []*ledger // nil for rows of others, or of none
	runs     []run
	promoted []*tracked
	moved    bool // a row, since runs were found
}

// run is rows of a block whose numbers follow each other.
type run struct {
	number uint32 // of the first
	row    int    // of the first
	rows   int
	block  *block
}

func (a *adder) find() {
	a.runs, a.moved = a.runs[:0], false
	for _, l := range a.ledgers {
		number := l.numbers[l.row]
		if n := len(a.runs); n > 0 {
			r := &a.runs[n-1]
			if r.block == l.block && r.row+r.rows == l.row && r.number+uint32(r.rows) == number {
				r.rows++
				continue
			}
		}
		a.runs = append(a.runs, run{number, l.row, 1, l.block})
	}
}

func (a *adder) ledger(number uint32) *ledger {
	if uint64(number) < uint64(len(a.byNumber)) {
		return a.byNumber[number]
	}
	return nil
}

func (a *adder) add(cells []byte) error {
	if len(cells) == 0 || cells[0] != 0 {
		return eachCell(cells, a.cell)
	}
	r := &reader{b: cells[1:]}
	d, err := readDense(r)
	if err != nil {
		return err
	}
	if a.moved {
		a.find()
	}
	for i := range a.runs {
		a.dense(&a.runs[i], &d)
	}
	if a.moved {
		return eachBad(r, uint32(d.first), a.cell)
	}
	at, last := 0, uint32(0)
	return eachBad(r, uint32(d.first), func(c Cell) {
		if c.Row < last { // they come in order, as the runs do
			at = 0
		}
		last = c.Row
		for at < len(a.runs) && c.Row >= a.runs[at].number && c.Row-a.runs[at].number >= uint32(a.runs[at].rows) {
			at++
		}
		if at < len(a.runs) && c.Row >= a.runs[at].number {
			r := &a.runs[at]
			r.block.now[r.row+int(c.Row-r.number)].bad += c.Bad
		}
	})
}

func (a *adder) cell(c Cell) {
	l := a.ledger(c.Row)
	if l == nil {
		return
	}
	if !l.wide && l.now().total+c.Total >= narrowest { // before it is too far from what its columns say
		a.promote(l)
	}
	now := &l.block.now[l.row]
	now.total += c.Total
	now.bad += c.Bad
}

// promote moves a ledger to a wide block of the adder's own.
func (a *adder) promote(l *ledger) {
	n := len(a.blocks)
	l.move(a.lane.roomAmong(&a.blocks, l.plan, true))
	a.fresh = append(a.fresh, a.blocks[n:]...)
	a.promoted = append(a.promoted, l.owner)
	a.moved = true
}

// dense adds the totals of a run of rows.
func (a *adder) dense(r *run, d *dense) {
	first := uint64(r.number)
	from, to := max(first, d.first), min(first+uint64(r.rows), d.first+d.rows)
	if from >= to {
		return
	}
	now := r.block.now[r.row+int(from-first):][:to-from]
	totals := d.totals[(from-d.first)*d.width:][:(to-from)*d.width]
	most := int64(narrowest)
	if r.block.wide {
		most = math.MaxInt64
	}
	add := func(i int, v int64) {
		if sum := now[i].total + v; sum < most {
			now[i].total = sum
		} else {
			a.cell(Cell{Row: uint32(from) + uint32(i), Total: v})
		}
	}
	switch d.width {
	case 1:
		for i, v := range totals {
			add(i, int64(v))
		}
	case 2:
		for i := range now {
			add(i, int64(binary.LittleEndian.Uint16(totals[2*i:])))
		}
	case 4:
		for i := range now {
			add(i, int64(binary.LittleEndian.Uint32(totals[4*i:])))
		}
	default:
		for i := range now {
			add(i, int64(binary.LittleEndian.Uint64(totals[8*i:])))
		}
	}
}
