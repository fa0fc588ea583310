package slo

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// ErrOtherTick is Restore's answer to a state that was counted in other ticks.
var ErrOtherTick = errors.New("the state was counted with another tick")

// Restore brings back what Changes wrote, after Set and before anything is observed. Objectives
// that are no more, or whose groups or budgeting changed, begin anew. A record that cannot be read
// is an error that says which: a store hands over nothing damaged, so it is of another kind of
// yoyu.
func (e *Engine) Restore(records []Record) error {
	e.Keeping()
	in := restoring{
		engine: e, rows: map[uint32]rowRecord{}, objectives: map[string]objectiveRecord{}, slots: map[slotID][]byte{},
		named: map[uint32]*row{}, heads: map[*tracked]int64{}, seen: map[*row]counters{},
	}
	for _, r := range records {
		if err := in.read(r); err != nil {
			return fmt.Errorf("state: %s: %w", DescribeRecord(e.tick, r.Bucket, r.Key), err)
		}
	}
	if len(records) == 0 {
		return nil
	}
	return in.build()
}

type slotID struct {
	level int
	end   int64
}

type restoring struct {
	engine     *Engine
	rows       map[uint32]rowRecord
	objectives map[string]objectiveRecord
	slots      map[slotID][]byte
	named      map[uint32]*row
	heads      map[*tracked]int64
	seen       map[*row]counters

	base, lanes, counts, looked []byte // records
}

// counters are what a row had counted since watching began, at a tick.
type counters struct {
	counts
	lastHit int64
	at      int64
}

func (in *restoring) read(r Record) error {
	switch r.Bucket {
	case slotBucket:
		if len(r.Key) != 9 {
			return errors.New("no key of a slot")
		}
		in.slots[slotID{int(r.Key[0]), int64(binary.BigEndian.Uint64(r.Key[1:]))}] = r.Value
	case rowBucket:
		if len(r.Key) != 4 {
			return errors.New("no key of a row")
		}
		var row rowRecord
		if err := json.Unmarshal(r.Value, &row); err != nil {
			return err
		}
		in.rows[binary.BigEndian.Uint32(r.Key)] = row
	case objectiveBucket:
		var o objectiveRecord
		if err := json.Unmarshal(r.Value, &o); err != nil {
			return err
		}
		in.objectives[string(r.Key)] = o
	case engineBucket:
		switch string(r.Key) {
		case string(tickKey):
			if tick, n := binary.Varint(r.Value); n <= 0 || tick != in.engine.tick.Milliseconds() {
				return ErrOtherTick
			}
		case string(baseKey):
			in.base = r.Value
		case string(lanesKey):
			in.lanes = r.Value
		case string(countsKey):
			in.counts = r.Value
		case string(lookedKey):
			in.looked = r.Value
		}
	}
	return nil
}

// build makes rows and ledgers of what was read.
func (in *restoring) build() error {
	e := in.engine
	e.journal.ticked = true
	numbers := slices.Sorted(maps.Keys(in.rows))
	ledgers := make([]*ledger, 0, len(numbers))
	for _, number := range numbers {
		e.journal.next = max(e.journal.next, number+1)
		row := in.rows[number]
		t, o := e.byName[row.SLO], in.objectives[row.SLO]
		if t == nil || !slices.Equal(t.GroupBy, o.GroupBy) || t.shape() != o.Shape || len(row.Labels) != len(t.GroupBy) {
			e.journal.gone = append(e.journal.gone, Record{rowBucket, binary.BigEndian.AppendUint32(nil, number), nil})
			continue
		}
		r := t.row(row.Labels)
		in.named[number] = r
		switch {
		case row.Taken:
			if r.taken == nil {
				r.taken = t.newTaken()
			}
			r.takenNumber = number
			r.taken.name(number)
			ledgers = append(ledgers, r.taken)
		case row.Budget:
			r.slices = number
			r.budget.name(number)
			ledgers = append(ledgers, r.budget)
		default:
			r.number = number
			r.events.name(number)
			ledgers = append(ledgers, r.events)
		}
	}
	for name, o := range in.objectives {
		t := e.byName[name]
		if t == nil {
			e.journal.gone = append(e.journal.gone, Record{objectiveBucket, []byte(name), nil})
		} else if slices.Equal(t.GroupBy, o.GroupBy) && t.shape() == o.Shape {
			maps.Copy(t.folded, o.Folded)
		}
	}
	read := in.restoreLanes
	if in.lanes == nil {
		read = in.restoreCounts
		e.journal.gone = append(e.journal.gone, Record{engineBucket, countsKey, nil})
	}
	judged, err := read()
	if err != nil {
		return err
	}
	in.place()
	empty := &history{}
	for name, o := range in.objectives {
		if t := e.byName[name]; t != nil && slices.Equal(t.GroupBy, o.GroupBy) && t.shape() == o.Shape {
			empty = t.restore(o, judged[t], empty)
		}
	}
	if err := e.restoreLooked(in.looked); err != nil {
		return err
	}
	for _, l := range e.lanes {
		e.journal.swept = max(e.journal.swept, l.head)
		for level := range e.levels() { // slots that were not complete yet
			width := l.grid.width(level)
			e.journal.pending[level] = e.journal.pending[level].add(ticks{floorDiv(l.head, width) * width, l.head})
		}
	}
	if err := in.walk(ledgers); err != nil {
		return err
	}
	for name, o := range in.objectives {
		if t := e.byName[name]; t != nil && slices.Equal(t.GroupBy, o.GroupBy) && t.shape() == o.Shape {
			t.restoreCorrections(o)
		}
	}
	for r, seen := range in.seen {
		r.lastHit = seen.lastHit
		l, head := r.budget, r.budget.lane.head
		if seen.at < head {
			seen.counts = seen.plus(l.now().minus(l.total(seen.at)))
			if grouped := len(l.owner.GroupBy) > 0; grouped {
				events := r.events
				for k := head; k > seen.at && k > r.lastHit; k-- {
					if events.total(k) != events.total(k-1) {
						r.lastHit = k
					}
				}
			}
		}
		r.since0 = seen.minus(l.now())
	}
	for name, o := range in.objectives {
		if t := e.byName[name]; t != nil && o.Shape == t.shape() && slices.Equal(t.GroupBy, o.GroupBy) {
			if o.Behind == nil && len(o.Effects) == 0 && !t.corrected() {
				e.journal.saved[name] = t.signature()
			}
		}
	}
	e.settle()
	return nil
}

// place brings lanes to the heads that their objectives had. Objectives of one lane that had come to
// different ticks, by an older yoyu or in another lane, part until they meet.
func (in *restoring) place() {
	for _, t := range in.engine.inOrder {
		t.lane.head = max(t.lane.head, in.heads[t])
	}
	type parted struct {
		from *lane
		head int64
	}
	apart := map[parted]*lane{}
	for _, t := range in.engine.inOrder {
		head, known := in.heads[t]
		if !known || head == 0 || head == t.lane.head {
			continue
		}
		p := parted{t.lane, head}
		if apart[p] == nil {
			apart[p] = &lane{grid: t.lane.grid, delay: t.lane.delay, apart: true, head: head}
			in.engine.lanes = append(in.engine.lanes, apart[p])
		}
		t.move(apart[p])
	}
}

// restore makes an objective what its record says. like is the history of the objective before: most
// have the same.
func (t *tracked) restore(o objectiveRecord, judged int64, like *history) *history {
	e, head := t.engine, t.lane.head
	spans := func(list [][2]int64, i int) (c coverage) {
		for _, s := range list {
			c = append(c, ticks{s[0], s[1]})
		}
		if len(c) > 0 {
			switch last := &c[len(c)-1]; {
			case o.Behind != nil:
				last.to = head - o.Behind[i]
			case o.Grows[i]:
				last.to = head
			}
		}
		return c
	}
	h := &history{lane: t.lane, covered: spans(o.Covered, 0), asked: spans(o.Asked, 1)}
	if h.same(like) {
		h = like
	} else {
		e.histories = append(e.histories, h)
	}
	seat := &e.seats[t.place]
	seat.history.members--
	h.members++
	seat.history = h
	if n := len(h.asked); n > 0 {
		seat.told = h.asked[n-1].to
	}
	if len(o.Spreads) > 0 {
		e.spreading[t] = true
	}
	for _, s := range o.Spreads {
		if r := t.rows[s.Group]; r != nil {
			r.events.spreads = append(r.events.spreads, spread{
				from: s.From, to: s.To, learned: s.Learned, total: s.Total, bad: s.Bad, unit: t.unit,
			})
		}
	}
	if o.Judged > 0 {
		t.fresh = false
		if o.Behind != nil {
			judged = head + 1 - o.Judged
		}
		t.lane.judged = judged
	}
	for _, f := range o.Firing {
		if r := t.rows[f.Group]; r != nil {
			if r.since == nil {
				r.since = map[int]int64{}
			}
			r.since[f.Severity] = f.Since
		}
	}
	if t.looked = o.Looked; t.looked == 0 && o.Judged > 0 {
		t.looked = head // an older yoyu did not say
	}
	for _, f := range o.Fired {
		if r := t.rows[f.Group]; r != nil {
			if t.episodes == nil {
				t.episodes = map[*row][]episode{}
			}
			t.episodes[r] = append(t.episodes[r], episode{f.Severity, ticks{f.From, f.To}})
		}
	}
	for _, p := range o.Held {
		if r := t.rows[p.Group]; r != nil {
			if r.held == nil {
				r.held = map[pairKey]held{}
			}
			r.held[pairKey{p.Severity, p.Pair}] = held{p.At, counts{p.Long[0], p.Long[1]}, counts{p.Short[0], p.Short[1]}}
		}
	}
	return h
}

// restoreCorrections brings back what corrections took out, and makes it what they take out now: the
// configuration may have changed meanwhile.
func (t *tracked) restoreCorrections(o objectiveRecord) {
	var old []effective
	for _, s := range o.Effects {
		old = append(old, effective{ticks{s[0], s[1]}, s[2] == 1})
	}
	for _, s := range o.Approx {
		t.approx = append(t.approx, ticks{s[0], s[1]})
		t.engine.approximate[t] = true
	}
	for _, s := range o.Again {
		t.again = append(t.again, ticks{s[0], s[1]})
	}
	for _, r := range t.rows {
		if r.taken != nil {
			r.taken.spreads = clips(old, r.budget.spreads, t.engine.tick.Milliseconds())
		}
	}
	if len(old) > 0 || t.corrected() {
		t.recorrect(old, t.Corrections)
	}
}

// reader reads varints; what is cut short is zero and broken.
type reader struct {
	b      []byte
	broken bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.broken = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.broken = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	size := r.uvarint()
	if uint64(len(r.b)) < size {
		r.b, r.broken = nil, true
		return ""
	}
	s := string(r.b[:size])
	r.b = r.b[size:]
	return s
}

var errCutShort = errors.New("state: counters: cut short")

// restoreLanes reads base and lanes. It answers at which tick the alerts of objectives were looked
// at.
func (in *restoring) restoreLanes() (judged map[*tracked]int64, err error) {
	e := in.engine
	r := &reader{b: in.lanes}
	e.journal.next = max(e.journal.next, uint32(r.uvarint()))
	type place struct{ head, judged, based int64 }
	var lanes []place
	for n := r.uvarint(); n > 0 && !r.broken; n-- {
		lanes = append(lanes, place{head: r.varint(), judged: r.varint()})
	}
	type run struct {
		length uint64
		behind int64
	}
	var runs []run
	for n := r.uvarint(); n > 0 && !r.broken; n = r.uvarint() {
		runs = append(runs, run{n, r.varint()})
	}
	b := &reader{b: in.base}
	if n := b.uvarint(); n != uint64(len(lanes)) {
		return nil, errCutShort
	}
	for i := range lanes {
		lanes[i].based = b.varint()
	}
	judged = map[*tracked]int64{}
	tickMs := e.tick.Milliseconds()
	for objectives := b.uvarint(); objectives > 0 && !b.broken; objectives-- {
		t, lane := e.byName[b.text()], b.uvarint()
		if b.broken || lane >= uint64(len(lanes)) {
			return nil, errCutShort
		}
		if len(runs) > 0 {
			if t != nil {
				e.seats[t.place].newest = lanes[lane].head*tickMs - runs[0].behind
			}
			if runs[0].length--; runs[0].length == 0 {
				runs = runs[1:]
			}
		}
		if t != nil {
			in.heads[t], judged[t] = lanes[lane].head, lanes[lane].judged
		}
		for rows := b.uvarint(); rows > 0 && !b.broken; rows-- {
			in.counters(b, lanes[lane].based)
		}
	}
	for n := r.uvarint(); n > 0 && !r.broken; n-- {
		in.counters(r, math.MaxInt64)
	}
	if r.broken || b.broken {
		return nil, errCutShort
	}
	return judged, nil
}

// counters reads what a row had counted at a tick.
func (in *restoring) counters(r *reader, at int64) {
	number := uint32(r.uvarint())
	c := counters{counts: counts{r.varint(), r.varint()}, lastHit: r.varint(), at: at}
	if row := in.named[number]; row != nil {
		in.seen[row] = c
	}
}

// restoreCounts reads base and lanes as yoyu 0.1 wrote them, in one.
func (in *restoring) restoreCounts() (judged map[*tracked]int64, err error) {
	e, r := in.engine, &reader{b: in.counts}
	e.journal.next = max(e.journal.next, uint32(r.uvarint()))
	for objectives := r.uvarint(); objectives > 0 && !r.broken; objectives-- {
		name, head, newest := r.text(), r.varint(), r.varint()
		if t := e.byName[name]; t != nil {
			in.heads[t] = head
			e.seats[t.place].newest = newest
		}
		for rows := r.uvarint(); rows > 0 && !r.broken; rows-- {
			in.counters(r, math.MaxInt64)
		}
	}
	if r.broken {
		return nil, errCutShort
	}
	return nil, nil
}

// walk adds the slots up, from the oldest to the newest, the finest that are kept at each age. Each
// lane walks by itself, all of its rows together, so that columns are written from end to end.
func (in *restoring) walk(ledgers []*ledger) error {
	sums := newAdder(in.engine.journal.next)
	for p := range in.lanesOf(ledgers) {
		sums.begin(p, ledgers)
		g, head := p.grid, p.head
		p.looked = head
		if head == 0 {
			continue // nothing was ever answered
		}
		widest := g.width(int(g.rings))
		for k := floorDiv(head-g.horizon, widest) * widest; k < head; {
			step := g.stride(k, head)
			level := 0
			for g.width(level) != step {
				level++
			}
			k += step
			if err := sums.add(in.slots[slotID{level, k}]); err != nil {
				return fmt.Errorf("state: %s: %w", DescribeRecord(in.engine.tick, slotBucket, slotKey(level, k)), err)
			}
			if coarse := g.coarse(k); coarse >= 0 {
				for _, b := range p.blocks {
					b.close(coarse)
				}
			}
			if head-k < g.fine {
				for _, b := range p.blocks {
					b.close(mod(k, g.fine))
				}
			}
			// Where a coarse slot reaches into the ticks, those are told from its end.
			back := map[uint32]counts{}
			for tick := k - 1; tick > k-step && head-tick < g.fine; tick-- {
				if err := eachCell(in.slots[slotID{0, tick + 1}], func(c Cell) {
					back[c.Row] = back[c.Row].plus(counts{c.Total, c.Bad})
				}); err != nil {
					return fmt.Errorf("state: %s: %w", DescribeRecord(in.engine.tick, slotBucket, slotKey(0, tick+1)), err)
				}
				for _, l := range sums.ledgers {
					l.set(mod(tick, g.fine), l.row, l.now().minus(back[l.numbers[l.row]]))
				}
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

// adder adds the cells of slots to the newest totals of a lane's rows.
type adder struct {
	ledgers  []*ledger
	byNumber []*ledger
	now      []*counts // by number; nil for rows of other lanes, or of none
}

func newAdder(numbers uint32) *adder {
	return &adder{byNumber: make([]*ledger, numbers), now: make([]*counts, numbers)}
}

func (a *adder) begin(lane *lane, ledgers []*ledger) {
	clear(a.byNumber)
	clear(a.now)
	a.ledgers = a.ledgers[:0]
	for _, l := range ledgers {
		if l.lane == lane {
			number := l.numbers[l.row]
			a.ledgers = append(a.ledgers, l)
			a.byNumber[number], a.now[number] = l, &l.block.now[l.row]
		}
	}
}

func (a *adder) add(cells []byte) error {
	return eachCell(cells, func(c Cell) {
		if uint64(c.Row) >= uint64(len(a.now)) || a.now[c.Row] == nil {
			return
		}
		now := a.now[c.Row]
		if now.total+c.Total >= narrowest {
			if l := a.byNumber[c.Row]; !l.wide { // before it is too far from what its columns say
				l.promote()
				now = &l.block.now[l.row]
				a.now[c.Row] = now
			}
		}
		now.total += c.Total
		now.bad += c.Bad
	})
}
