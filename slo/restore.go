package slo

import (
	"cmp"
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
	return e.RestoreParted(records, 1, func(part func(int)) { part(0) })
}

// RestoreParted is Restore in so many parts where they are independent: run calls its argument once
// with each of 0 … parts−1, at the same time if it likes, and returns when all of them have. What is
// restored is the same whatever their number.
func (e *Engine) RestoreParted(records []Record, parts int, run func(part func(int))) error {
	e.Keeping()
	in := restoring{
		engine: e, parts: parts, run: run, objectives: map[string]*objectiveRecord{}, slots: map[slotID][]byte{},
		heads: map[*tracked]int64{}, seen: map[*row]counters{},
	}
	// What is a text is read by all parts, and then put in its place.
	texts, faults := make([]any, len(records)), make([]error, len(records))
	run(func(part int) {
		for i := part; i < len(records); i += parts {
			texts[i], faults[i] = readText(records[i])
		}
	})
	for i, r := range records {
		err := faults[i]
		if err == nil {
			err = in.read(r, texts[i])
		}
		if err != nil {
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
	parts      int
	run        func(part func(int))
	rows       []numbered
	objectives map[string]*objectiveRecord
	fits       []*objectiveRecord // by place of the objective that it is of; nil: that begins anew
	slots      map[slotID][]byte
	named      []*row // by number
	heads      map[*tracked]int64
	seen       map[*row]counters

	base, lanes, counts, looked []byte // records
}

// numbered is a row by its number.
type numbered struct {
	number uint32
	rowRecord
}

// counters are what a row had counted since watching began, at a tick.
type counters struct {
	counts
	lastHit int64
	at      int64
}

// readText reads the record of a row or of an objective; nil for others.
func readText(r Record) (any, error) {
	switch r.Bucket {
	case rowBucket:
		if len(r.Key) != 4 {
			return nil, errors.New("no key of a row")
		}
		row := &numbered{number: binary.BigEndian.Uint32(r.Key)}
		return row, json.Unmarshal(r.Value, &row.rowRecord)
	case objectiveBucket:
		o := new(objectiveRecord)
		return o, json.Unmarshal(r.Value, o)
	}
	return nil, nil
}

func (in *restoring) read(r Record, text any) error {
	switch text := text.(type) {
	case *numbered:
		in.rows = append(in.rows, *text)
	case *objectiveRecord:
		in.objectives[string(r.Key)] = text
	}
	switch r.Bucket {
	case slotBucket:
		if len(r.Key) != 9 {
			return errors.New("no key of a slot")
		}
		in.slots[slotID{int(r.Key[0]), int64(binary.BigEndian.Uint64(r.Key[1:]))}] = r.Value
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
	in.fits = make([]*objectiveRecord, len(e.inOrder))
	for name, o := range in.objectives {
		t := e.byName[name]
		if t == nil {
			e.journal.gone = append(e.journal.gone, Record{objectiveBucket, []byte(name), nil})
		} else if slices.Equal(t.GroupBy, o.GroupBy) && t.shape() == o.Shape {
			in.fits[t.place] = o
			maps.Copy(t.folded, o.Folded)
		}
	}
	slices.SortFunc(in.rows, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	if n := len(in.rows); n > 0 {
		in.named = make([]*row, uint64(in.rows[n-1].number)+1)
	}
	ledgers := make([]*ledger, 0, len(in.rows))
	for _, record := range in.rows {
		number := record.number
		e.journal.next = max(e.journal.next, number+1)
		t := e.byName[record.SLO]
		if t == nil || in.fits[t.place] == nil || len(record.Labels) != len(t.GroupBy) {
			e.journal.gone = append(e.journal.gone, Record{rowBucket, binary.BigEndian.AppendUint32(nil, number), nil})
			continue
		}
		r := t.row(record.Labels)
		in.named[number] = r
		switch {
		case record.Taken:
			if r.taken == nil {
				r.taken = t.newTaken()
			}
			r.takenNumber = number
			r.taken.name(number)
			ledgers = append(ledgers, r.taken)
		case record.Budget:
			r.slices = number
			r.budget.name(number)
			ledgers = append(ledgers, r.budget)
		default:
			r.number = number
			r.events.name(number)
			ledgers = append(ledgers, r.events)
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
	for place, o := range in.fits {
		if o != nil {
			t := e.inOrder[place]
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
	for place, o := range in.fits {
		if o != nil {
			e.inOrder[place].restoreCorrections(o)
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
	for place, o := range in.fits {
		if t := e.inOrder[place]; o != nil && o.Behind == nil && len(o.Effects) == 0 && !t.corrected() {
			e.journal.saved[t.Name] = t.signature()
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
func (t *tracked) restore(o *objectiveRecord, judged int64, like *history) *history {
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
		e.latest[t.place].told = h.asked[n-1].to
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
	if o.Watched != nil {
		t.watching, t.watchSet = *o.Watched, true
	} else if head > 0 { // up to there all is counted, or history
		t.watching, t.watchSet = head*e.tick.Milliseconds(), true
	}
	e.watching = max(e.watching, t.watching)
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
func (t *tracked) restoreCorrections(o *objectiveRecord) {
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
	if len(r.b) > 0 && r.b[0] < 0x80 { // most are small
		v := uint64(r.b[0])
		r.b = r.b[1:]
		return v
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.broken = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v := r.uvarint() // as binary.Varint: the sign is the lowest bit
	return int64(v>>1) ^ -int64(v&1)
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
				e.latest[t.place].newest = lanes[lane].head*tickMs - runs[0].behind
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
	if uint64(number) < uint64(len(in.named)) && in.named[number] != nil {
		in.seen[in.named[number]] = c
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
			e.latest[t.place].newest = newest
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
