package slo

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
	"time"
)

// slot is the column of one slot over all rows. A slot in which nothing happened is no record.
func (e *Engine) slot(level int, end, width int64) Record {
	cells := e.journal.cells[:0]
	for _, l := range e.lanes {
		g, head := l.grid, l.head
		if level > int(g.rings) || head-(end-width) > g.known(level) || !g.knows(end-width, head) || !g.knows(end, head) {
			continue // not known exactly, and so not needed any more
		}
		from, to := l.edge(end-width), l.edge(end)
		if from == to {
			continue // both are the newest totals
		}
		for _, b := range l.blocks {
			if b.wide {
				cells = collect(b, b.large, from, to, cells)
			} else {
				cells = collect(b, b.small, from, to, cells)
			}
		}
	}
	e.journal.cells = cells
	record := Record{Bucket: slotBucket, Key: slotKey(level, end)}
	if len(cells) == 0 {
		return record
	}
	byRow := func(a, b Cell) int { return int(a.Row) - int(b.Row) }
	if !slices.IsSortedFunc(cells, byRow) {
		slices.SortFunc(cells, byRow)
	}
	values := e.journal.values
	e.journal.values = appendCells(values, cells)
	record.Value = slices.Clip(e.journal.values[len(values):])
	return record
}

// collect appends what the rows of a block counted between two slots; −1 is the newest totals.
func collect[T int32 | int64](b *block, columns []total[T], from, to int64, cells []Cell) []Cell {
	column := func(slot int64) []total[T] {
		if slot < 0 {
			return nil
		}
		return columns[int(slot)*b.room:][:b.rows]
	}
	first, last := column(from), column(to)
	for row, number := range b.numbers[:b.rows] {
		if number == 0 {
			continue
		}
		then, now := b.now[row], b.now[row]
		end := total[T]{T(now.total), T(now.bad)}
		begin := end
		if first != nil {
			begin = first[row]
		}
		if last != nil {
			end = last[row]
		}
		then.total, then.bad = int64(end.total-begin.total), int64(end.bad-begin.bad)
		if then != (counts{}) {
			cells = append(cells, Cell{number, then.total, then.bad})
		}
	}
	return cells
}

// A slot's record is one of two, whichever is quicker to read:
//
//	number of cells, then each: row − row before, total, bad       varints
//	0, first row, rows, width, total by row, cells with bad, …     totals of one width, 1, 2, 4 or 8
//	                                                               bytes, little endian; then the
//	                                                               bad ones as above without totals
//
// The second is for rows that stand close together, none of them below zero.
func appendCells(out []byte, cells []Cell) []byte {
	first, rows := cells[0].Row, int(cells[len(cells)-1].Row-cells[0].Row)+1
	most, least, bad := int64(0), int64(0), 0
	for i := range cells {
		most, least = max(most, cells[i].Total), min(least, cells[i].Total)
		if cells[i].Bad != 0 {
			bad++
		}
	}
	if least < 0 || rows > 2*len(cells) {
		out = binary.AppendUvarint(slices.Grow(out, 4+6*len(cells)), uint64(len(cells)))
		last := uint32(0)
		for _, c := range cells {
			out = binary.AppendUvarint(out, uint64(c.Row-last))
			out = binary.AppendVarint(out, c.Total)
			out = binary.AppendVarint(out, c.Bad)
			last = c.Row
		}
		return out
	}
	width := 1
	for bits.Len64(uint64(most)) > 8*width {
		width *= 2
	}
	out = append(slices.Grow(out, 32+rows*width+4*bad), 0)
	out = binary.AppendUvarint(out, uint64(first))
	out = binary.AppendUvarint(out, uint64(rows))
	out = append(out, byte(width))
	at := len(out)
	out = out[:at+rows*width]
	totals := out[at:]
	clear(totals)
	for i := range cells {
		k, v := int(cells[i].Row-first), uint64(cells[i].Total)
		switch width {
		case 1:
			totals[k] = byte(v)
		case 2:
			binary.LittleEndian.PutUint16(totals[2*k:], uint16(v))
		case 4:
			binary.LittleEndian.PutUint32(totals[4*k:], uint32(v))
		default:
			binary.LittleEndian.PutUint64(totals[8*k:], v)
		}
	}
	out = binary.AppendUvarint(out, uint64(bad))
	last := first
	for i := range cells {
		if cells[i].Bad != 0 {
			out = binary.AppendUvarint(out, uint64(cells[i].Row-last))
			out = binary.AppendVarint(out, cells[i].Bad)
			last = cells[i].Row
		}
	}
	return out
}

var errCells = errors.New("cut short")

// eachCell reads the cells of a slot. A row may come twice: with its total, and with its bad ones.
func eachCell(b []byte, yield func(Cell)) error {
	if len(b) == 0 {
		return nil
	}
	r := &reader{b: b}
	n := r.uvarint()
	if n == 0 && !r.broken {
		return eachDense(r, yield)
	}
	row := uint32(0)
	for ; n > 0; n-- {
		row += uint32(r.uvarint())
		c := Cell{row, r.varint(), r.varint()}
		if r.broken {
			return errCells
		}
		yield(c)
	}
	return nil
}

func eachDense(r *reader, yield func(Cell)) error {
	d, err := readDense(r)
	if err != nil {
		return err
	}
	for k := range d.rows {
		var v uint64
		switch d.width {
		case 1:
			v = uint64(d.totals[k])
		case 2:
			v = uint64(binary.LittleEndian.Uint16(d.totals[2*k:]))
		case 4:
			v = uint64(binary.LittleEndian.Uint32(d.totals[4*k:]))
		default:
			v = binary.LittleEndian.Uint64(d.totals[8*k:])
		}
		if v != 0 {
			yield(Cell{uint32(d.first + k), int64(v), 0})
		}
	}
	return eachBad(r, uint32(d.first), yield)
}

// dense are the totals of rows that follow each other.
type dense struct {
	first, rows, width uint64
	totals             []byte
}

// readDense reads the totals after the 0 that such a record begins with.
func readDense(r *reader) (d dense, err error) {
	first, rows := r.uvarint(), r.uvarint()
	if r.broken || len(r.b) == 0 || first > 1<<32 || rows > 1<<32-first {
		return d, errCells
	}
	width := uint64(r.b[0])
	if width != 1 && width != 2 && width != 4 && width != 8 || rows > uint64(len(r.b)) || uint64(len(r.b)-1) < rows*width {
		return d, errCells
	}
	d = dense{first, rows, width, r.b[1:][:rows*width]}
	r.b = r.b[1+rows*width:]
	return d, nil
}

// eachBad reads what follows the totals: the cells with bad ones.
func eachBad(r *reader, row uint32, yield func(Cell)) error {
	for n := r.uvarint(); n > 0; n-- {
		row += uint32(r.uvarint())
		bad := r.varint()
		if r.broken {
			return errCells
		}
		yield(Cell{row, 0, bad})
	}
	if r.broken {
		return errCells
	}
	return nil
}

// Cell is what one row counted in one slot, in the row's unit.
type Cell struct {
	Row   uint32 `json:"row"`
	Total int64  `json:"total"`
	Bad   int64  `json:"bad"`
}

// Cells are the cells of a slot's record; nil for a record of another kind or one that is broken.
func Cells(r Record) []Cell {
	if r.Bucket != slotBucket {
		return nil
	}
	var out []Cell
	if eachCell(r.Value, func(c Cell) { out = append(out, c) }) != nil {
		return nil
	}
	slices.SortStableFunc(out, func(a, b Cell) int { return int(a.Row) - int(b.Row) })
	merged := out[:0]
	for _, c := range out {
		if n := len(merged); n > 0 && merged[n-1].Row == c.Row {
			merged[n-1].Total += c.Total
			merged[n-1].Bad += c.Bad
			continue
		}
		merged = append(merged, c)
	}
	return merged
}

// RecordedTick is the tick that a state was counted with, if the record is the one that says so.
func RecordedTick(r Record) (time.Duration, bool) {
	if r.Bucket != engineBucket || string(r.Key) != string(tickKey) {
		return 0, false
	}
	ms, n := binary.Varint(r.Value)
	return time.Duration(ms) * time.Millisecond, n > 0
}
