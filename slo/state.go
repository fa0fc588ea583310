package slo

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"
)

// Record is one piece of the engine's state for a store: a key with its value in a bucket. A nil
// value means that the key goes.
//
// On disk a slot of time holds what happened in it, never a running total, so that a revision
// rewrites the slots it touches and nothing else:
//
//	slots       level and end ──▶ row, total, bad …     what happened in one slot
//	rows        number        ──▶ objective, group      what a row of a slot stands for
//	objectives  name          ──▶ coverage, spreads …   what is known of an objective
//	engine      tick, counts  ──▶ counters, heads       what changes with every tick
type Record struct {
	Bucket     string
	Key, Value []byte
}

// The buckets of the engine's records.
const (
	slotBucket      = "slots"
	rowBucket       = "rows"
	objectiveBucket = "objectives"
	engineBucket    = "engine"
)

var (
	tickKey   = []byte("tick")
	countsKey = []byte("counts")
)

// journal is what of an engine's state is not in the store yet.
type journal struct {
	pending   map[int]coverage // by level: changed ticks whose slots are not written
	next      uint32
	unwritten []given
	saved     map[string]signature
	gone      []Record // rows and objectives that went
	swept     int64    // head at which expired slots were last deleted
	ticked    bool     // the tick is written
}

// signature tells whether an objective's record has to be written again.
type signature struct {
	shape        string
	rows, folded int
	spans        uint64 // hash of coverage and spreads
}

// level 0 is the ticks; level j+1 is ring j of the grid. Its width is in ticks.
func (g *grid) width(level int) int64 {
	if level == 0 {
		return 1
	}
	return 1 << (g.base + uint(level-1))
}

// keep is for how many ticks the slots of a level are needed.
func (g *grid) keep(level int) int64 {
	if level == 0 {
		return g.fine
	}
	if int64(level) == g.rings {
		return g.horizon + 2*g.width(level)
	}
	return 2*perRing*g.width(level) + 2*g.width(level)
}

// known is up to which age, of their beginning, the slots of a level are known exactly: the grid
// has both of their edges.
func (g *grid) known(level int) int64 {
	switch {
	case level == 0:
		return g.fine - 1
	case int64(level) == g.rings:
		return g.horizon
	}
	return (perRing - 1) * 2 * g.width(level)
}

// changed notes that ticks of a ledger are not in the store as they are.
func (e *Engine) changed(span ticks) {
	if e.journal == nil {
		return
	}
	for level := range e.levels() {
		e.journal.pending[level] = e.journal.pending[level].add(span)
	}
}

// levels is how many levels of slots the longest horizon needs.
func (e *Engine) levels() int {
	if e.widest == nil {
		return 1
	}
	return int(e.widest.rings) + 1
}

// Keeping has the engine note what changes, for Changes. Without it nothing is noted.
func (e *Engine) Keeping() {
	if e.journal == nil {
		e.journal = &journal{pending: map[int]coverage{}, next: 1, saved: map[string]signature{}}
	}
}

// Changes are the records that bring a store up to date, and done, to be called once they are
// durable. Until then they are part of the next Changes again.
func (e *Engine) Changes() (records []Record, done func()) {
	j := e.journal
	if j == nil {
		return nil, func() {}
	}
	newest, lag, widest := int64(0), int64(0), e.widest
	for _, l := range e.lanes {
		newest = max(newest, l.head)
	}
	for _, l := range e.lanes {
		if l.head > 0 {
			lag = max(lag, newest-l.head)
		}
	}
	if widest == nil {
		widest = &grid{tick: e.tick}
	}
	if !j.ticked {
		records = append(records, Record{engineBucket, tickKey, binary.AppendVarint(nil, e.tick.Milliseconds())})
	}
	records = append(records, j.gone...)
	gone := len(j.gone)
	written := len(e.number(&records))
	left := map[int]coverage{}
	for level := range e.levels() {
		width, oldest := widest.width(level), newest-lag-widest.known(level)
		for _, span := range j.pending[level] {
			first := -floorDiv(-max(span.from-width+1, oldest), width)*width + width
			for end := first; end-width < span.to; end += width {
				if end > newest {
					left[level] = left[level].add(ticks{max(span.from, end-width), span.to})
					break
				}
				records = append(records, e.slot(level, end, width))
			}
		}
		// What expired since the last time.
		if j.swept > 0 {
			kept := widest.keep(level) + lag + width
			for end := floorDiv(j.swept-kept, width)*width + width; end <= newest-kept; end += width {
				records = append(records, Record{slotBucket, slotKey(level, end), nil})
			}
		}
	}
	signatures := map[string]signature{}
	for _, t := range e.inOrder {
		if sig := t.signature(); j.saved[t.Name] != sig {
			signatures[t.Name] = sig
			records = append(records, Record{objectiveBucket, []byte(t.Name), t.encode()})
		}
	}
	records = append(records, Record{engineBucket, countsKey, e.encodeCounts()})
	return records, func() {
		j.ticked, j.swept = true, newest
		j.pending = left
		j.gone = j.gone[gone:]
		maps.Copy(j.saved, signatures)
		j.unwritten = j.unwritten[written:]
	}
}

// given is a number that a row was given.
type given struct {
	slo    string
	labels []string
	number uint32
	budget bool // of its slices, beside its events
	taken  bool // of what corrections take out
}

// dropped forgets the numbers of a row that went: should its group come back, it is another row.
func (e *Engine) dropped(r *row) {
	if e.journal == nil {
		return
	}
	for _, number := range []*uint32{&r.number, &r.slices, &r.takenNumber} {
		e.forgetNumber(number)
	}
}

// forgetNumber takes a number of a row back. Cells that go by it mean nothing any more.
func (e *Engine) forgetNumber(number *uint32) {
	n := *number
	if *number = 0; n == 0 || e.journal == nil {
		return
	}
	e.journal.unwritten = slices.DeleteFunc(e.journal.unwritten, func(g given) bool { return g.number == n })
	e.journal.gone = append(e.journal.gone, Record{rowBucket, binary.BigEndian.AppendUint32(nil, n), nil})
}

// number gives every row that has none a number. Its record is written until it is durable.
func (e *Engine) number(records *[]Record) []given {
	j := e.journal
	give := func(t *tracked, r *row, number *uint32, budget, taken bool) {
		if *number != 0 {
			return
		}
		*number = j.next
		j.unwritten = append(j.unwritten, given{t.Name, r.labels, j.next, budget, taken})
		j.next++
	}
	for _, t := range e.inOrder {
		for _, key := range t.keys {
			r := t.rows[key]
			give(t, r, &r.number, false, false)
			if t.Budgeting.Slices() {
				give(t, r, &r.slices, true, false)
			}
			if r.taken != nil {
				give(t, r, &r.takenNumber, false, true)
			}
		}
	}
	for _, g := range j.unwritten {
		text, err := json.Marshal(rowRecord{g.slo, g.labels, g.budget, g.taken})
		if err != nil {
			panic("slo: row: " + err.Error()) // strings always can be written
		}
		*records = append(*records, Record{rowBucket, binary.BigEndian.AppendUint32(nil, g.number), text})
	}
	return j.unwritten
}

type rowRecord struct {
	SLO    string   `json:"slo"`
	Labels []string `json:"labels,omitempty"`
	Budget bool     `json:"budget,omitempty"`
	Taken  bool     `json:"taken,omitempty"`
}

func slotKey(level int, end int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(level)}, uint64(end))
}

// slot is the column of one slot over all rows. A slot in which nothing happened is no record.
func (e *Engine) slot(level int, end, width int64) Record {
	type cell struct {
		number uint32
		counts
	}
	var cells []cell
	for _, t := range e.inOrder {
		if level > int(t.lane.grid.rings) || t.lane.head-(end-width) > t.lane.grid.known(level) {
			continue // not known exactly, and so not needed any more
		}
		for _, key := range t.keys {
			r := t.rows[key]
			if c := r.events.count(end-width, end); c != (counts{}) {
				cells = append(cells, cell{r.number, c})
			}
			if r.budget != r.events {
				if c := r.budget.count(end-width, end); c != (counts{}) {
					cells = append(cells, cell{r.slices, c})
				}
			}
			if r.taken != nil {
				if c := r.taken.count(end-width, end); c != (counts{}) {
					cells = append(cells, cell{r.takenNumber, c})
				}
			}
		}
	}
	record := Record{Bucket: slotBucket, Key: slotKey(level, end)}
	if len(cells) == 0 {
		return record
	}
	slices.SortFunc(cells, func(a, b cell) int { return int(a.number) - int(b.number) })
	out := binary.AppendUvarint(make([]byte, 0, 4+6*len(cells)), uint64(len(cells)))
	last := uint32(0)
	for _, c := range cells {
		out = binary.AppendUvarint(out, uint64(c.number-last))
		out = binary.AppendVarint(out, c.total)
		out = binary.AppendVarint(out, c.bad)
		last = c.number
	}
	record.Value = out
	return record
}

// DescribeRecord says what a record of the engine is about, for people.
func DescribeRecord(tick time.Duration, bucket string, key []byte) string {
	switch {
	case bucket == slotBucket && len(key) == 9:
		end := time.UnixMilli(int64(binary.BigEndian.Uint64(key[1:])) * tick.Milliseconds()).UTC()
		return fmt.Sprintf("counts of the slot that ends at %s (level %d)", end.Format(time.RFC3339), key[0])
	case bucket == objectiveBucket:
		return "coverage of slo " + string(key)
	case bucket == rowBucket && len(key) == 4:
		return fmt.Sprintf("name of row %d", binary.BigEndian.Uint32(key))
	}
	return bucket + " " + string(key)
}

// objectiveRecord is what is known of an objective besides its counts.
type objectiveRecord struct {
	GroupBy []string         `json:"group_by,omitempty"`
	Shape   string           `json:"shape"` // unit and budgeting: counts of another shape mean nothing here
	Covered [][2]int64       `json:"covered"`
	Asked   [][2]int64       `json:"asked"`
	Behind  [2]int64         `json:"behind"` // head − newest covered and asked tick: the last spans grow with the head
	Spreads []spreadRecord   `json:"spreads,omitempty"`
	Folded  map[string]int64 `json:"folded,omitempty"`
	Held    []heldRecord     `json:"held,omitempty"`
	Firing  []firingRecord   `json:"firing,omitempty"`
	Effects [][3]int64       `json:"effects,omitempty"` // of the corrections: from, to, 1 for good
	Approx  [][2]int64       `json:"approx,omitempty"`  // taken out in proportion to time
	Again   [][2]int64       `json:"again,omitempty"`   // to be asked for again
	Judged  int64            `json:"judged,omitempty"`  // 1 + head − tick at which alerts were last looked at; 0 before the first
}

// firingRecord is since when a severity fires: that it does is always worked out from counts.
type firingRecord struct {
	Group    string `json:"group"`
	Severity int    `json:"severity"`
	Since    int64  `json:"since"`
}

// heldRecord is a pair that keeps its state during an outage: counts of total and bad.
type heldRecord struct {
	Group    string   `json:"group"`
	Severity int      `json:"severity"`
	Pair     int      `json:"pair"`
	At       int64    `json:"at"`
	Long     [2]int64 `json:"long"`
	Short    [2]int64 `json:"short"`
}

type spreadRecord struct {
	Group   string  `json:"group"`
	From    int64   `json:"from"`
	To      int64   `json:"to"`
	Learned int64   `json:"learned"`
	Total   float64 `json:"total"`
	Bad     float64 `json:"bad"`
}

func (t *tracked) shape() string {
	return fmt.Sprintf("%g %s %s %s %s", t.unit, t.Budgeting.Method, t.Budgeting.Slice, t.Budgeting.Target.Percent(), t.Budgeting.Empty)
}

func (t *tracked) signature() signature {
	h0 := t.history()
	if t.corrected() {
		t.effective(t.lane.head-t.lane.grid.horizon, t.lane.head)
	}
	s := signature{shape: t.shape(), rows: len(t.keys), folded: len(t.folded)}
	h := maphash.Hash{}
	h.SetSeed(signatureSeed)
	edge := func(c coverage) {
		maphash.WriteComparable(&h, len(c))
		for i, span := range c {
			if i == 0 && span.from <= t.lane.head-t.lane.grid.horizon+1 {
				span.from = 0 // cut off by the horizon, as it will be again
			}
			if i == len(c)-1 {
				span.to -= t.lane.head // it grows with the head
			}
			maphash.WriteComparable(&h, span)
		}
	}
	edge(h0.covered)
	edge(h0.asked)
	for _, key := range t.keys {
		for _, sp := range t.rows[key].events.spreads {
			maphash.WriteComparable(&h, sp)
		}
		sum := uint64(0) // in any order
		for k, pair := range t.rows[key].held {
			sum += maphash.Comparable(signatureSeed, k) ^ maphash.Comparable(signatureSeed, pair)
		}
		for severity, since := range t.rows[key].since {
			sum += maphash.Comparable(signatureSeed, [2]int64{int64(severity), since})
		}
		maphash.WriteComparable(&h, sum)
	}
	maphash.WriteComparable(&h, t.unjudged())
	for _, e := range t.effects.spans {
		maphash.WriteComparable(&h, e)
	}
	for _, c := range []coverage{t.approx, t.again} {
		maphash.WriteComparable(&h, len(c))
		for _, span := range c {
			maphash.WriteComparable(&h, span)
		}
	}
	s.spans = h.Sum64()
	return s
}

// unjudged is objectiveRecord.Judged.
func (t *tracked) unjudged() int64 {
	judged := t.judged()
	if judged == 0 {
		return 0
	}
	return 1 + t.lane.head - judged
}

var signatureSeed = maphash.MakeSeed()

func (t *tracked) encode() []byte {
	r := objectiveRecord{GroupBy: t.GroupBy, Shape: t.shape(), Folded: t.folded}
	spans := func(c coverage) (out [][2]int64, behind int64) {
		for _, s := range c {
			out = append(out, [2]int64{s.from, s.to})
		}
		if len(c) > 0 {
			behind = t.lane.head - c[len(c)-1].to
		}
		return out, behind
	}
	r.Covered, r.Behind[0] = spans(t.history().covered)
	r.Asked, r.Behind[1] = spans(t.history().asked)
	for _, key := range t.keys {
		for _, s := range t.rows[key].events.spreads {
			r.Spreads = append(r.Spreads, spreadRecord{key, s.from, s.to, s.learned, s.total, s.bad})
		}
		for k, h := range t.rows[key].held {
			r.Held = append(r.Held, heldRecord{
				key, k.severity, k.pair, h.at, [2]int64{h.long.total, h.long.bad}, [2]int64{h.short.total, h.short.bad},
			})
		}
	}
	r.Judged = t.unjudged()
	for _, e := range t.effects.spans {
		one := [3]int64{e.from, e.to}
		if e.good {
			one[2] = 1
		}
		r.Effects = append(r.Effects, one)
	}
	r.Approx, _ = spans(t.approx)
	r.Again, _ = spans(t.again)
	for _, key := range t.keys {
		for _, severity := range slices.Sorted(maps.Keys(t.rows[key].since)) {
			r.Firing = append(r.Firing, firingRecord{key, severity, t.rows[key].since[severity]})
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic("slo: objective: " + err.Error()) // numbers and strings always can be written
	}
	return text
}

// encodeCounts is what changes with every tick: heads, newest moments and counters.
func (e *Engine) encodeCounts() []byte {
	out := binary.AppendUvarint(nil, uint64(e.journal.next)) // numbers are never given twice
	out = binary.AppendUvarint(out, uint64(len(e.inOrder)))
	for _, t := range e.inOrder {
		out = binary.AppendUvarint(out, uint64(len(t.Name)))
		out = append(out, t.Name...)
		out = binary.AppendVarint(out, t.lane.head)
		out = binary.AppendVarint(out, e.seats[t.place].newest)
		out = binary.AppendUvarint(out, uint64(len(t.keys)))
		for _, key := range t.keys {
			r := t.rows[key]
			out = binary.AppendUvarint(out, uint64(r.number))
			seen := r.seen()
			out = binary.AppendVarint(out, seen.total)
			out = binary.AppendVarint(out, seen.bad)
			out = binary.AppendVarint(out, r.lastHit)
		}
	}
	return out
}

// ErrOtherTick is Restore's answer to a state that was counted in other ticks.
var ErrOtherTick = errors.New("the state was counted with another tick")

// Restore brings back what Changes wrote, after Set and before anything is observed. Objectives
// that are no more, or whose groups or budgeting changed, begin anew. A record that cannot be read
// is an error that says which: a store hands over nothing damaged, so it is of another kind of
// yoyu.
func (e *Engine) Restore(records []Record) error {
	e.Keeping()
	in := restoring{engine: e, rows: map[uint32]rowRecord{}, objectives: map[string]objectiveRecord{}, slots: map[slotID][]byte{}, named: map[uint32]*row{}, heads: map[*tracked]int64{}, seen: map[*row]counts{}}
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
	counts     []byte
	heads      map[*tracked]int64
	seen       map[*row]counts // since watching began
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
		case string(countsKey):
			in.counts = r.Value
		}
	}
	return nil
}

// build makes rows and ledgers of what was read.
func (in *restoring) build() error {
	e := in.engine
	e.journal.ticked = true
	ledgers := map[uint32]*ledger{}
	numbers := slices.Sorted(maps.Keys(in.rows))
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
		if row.Taken {
			if r.taken == nil {
				r.taken = t.newTaken()
			}
			r.takenNumber, ledgers[number] = number, r.taken
		} else if row.Budget {
			r.slices, ledgers[number] = number, r.budget
		} else {
			r.number, ledgers[number] = number, r.events
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
	if err := in.restoreCounts(); err != nil {
		return err
	}
	in.place()
	for name, o := range in.objectives {
		if t := e.byName[name]; t != nil && slices.Equal(t.GroupBy, o.GroupBy) && t.shape() == o.Shape {
			t.restore(o)
			e.journal.saved[name] = t.signature()
		}
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
		r.since0 = seen.minus(r.budget.now())
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

func (t *tracked) restore(o objectiveRecord) {
	e, h, head := t.engine, t.own(), t.lane.head
	spans := func(list [][2]int64, behind int64) (c coverage) {
		for _, s := range list {
			c = append(c, ticks{s[0], s[1]})
		}
		if len(c) > 0 { // it has grown with the head since it was written
			c[len(c)-1].to = head - behind
		}
		return c
	}
	h.covered, h.asked = spans(o.Covered, o.Behind[0]), spans(o.Asked, o.Behind[1])
	h.stale()
	if n := len(h.asked); n > 0 {
		e.seats[t.place].told = h.asked[n-1].to
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
		t.lane.judged, t.fresh = head+1-o.Judged, false
	}
	for _, f := range o.Firing {
		if r := t.rows[f.Group]; r != nil {
			if r.since == nil {
				r.since = map[int]int64{}
			}
			r.since[f.Severity] = f.Since
		}
	}
	for _, h := range o.Held {
		if r := t.rows[h.Group]; r != nil {
			if r.held == nil {
				r.held = map[pairKey]held{}
			}
			r.held[pairKey{h.Severity, h.Pair}] = held{h.At, counts{h.Long[0], h.Long[1]}, counts{h.Short[0], h.Short[1]}}
		}
	}
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
		delete(t.engine.journal.saved, t.Name) // what is in the store may be of other corrections
		t.recorrect(old, t.Corrections)
	}
}

func (in *restoring) restoreCounts() error {
	b := in.counts
	broken := errors.New("state: counters: cut short")
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b = nil
			return 0
		}
		b = b[n:]
		return v
	}
	varint := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			b = nil
			return 0
		}
		b = b[n:]
		return v
	}
	in.engine.journal.next = max(in.engine.journal.next, uint32(uvarint()))
	for objectives := uvarint(); objectives > 0; objectives-- {
		size := uvarint()
		if uint64(len(b)) < size {
			return broken
		}
		name := string(b[:size])
		b = b[size:]
		head, newest := varint(), varint()
		t := in.engine.byName[name]
		if t != nil {
			in.heads[t] = head
			in.engine.seats[t.place].newest = newest
		}
		for rows := uvarint(); rows > 0; rows-- {
			if len(b) == 0 {
				return broken
			}
			number, total, bad, hit := uint32(uvarint()), varint(), varint(), varint()
			if r := in.named[number]; r != nil {
				in.seen[r], r.lastHit = counts{total, bad}, hit
			}
		}
	}
	return nil
}

// walk adds the slots up, from the oldest to the newest, the finest that are kept at each age.
// Objectives with the same grid and head walk together, so that every slot is read once for them.
func (in *restoring) walk(ledgers map[uint32]*ledger) error {
	parties := map[*lane]map[uint32]*ledger{}
	for number, l := range ledgers {
		if parties[l.lane] == nil {
			parties[l.lane] = map[uint32]*ledger{}
		}
		parties[l.lane][number] = l
	}
	for p, members := range parties {
		g, head := p.grid, p.head
		p.looked = head
		if head == 0 {
			continue // nothing was ever answered
		}
		widest := g.width(int(g.rings))
		for k := floorDiv(head-g.horizon, widest) * widest; k < head; {
			step := g.step(k, head)
			level := 0
			for g.width(level) != step {
				level++
			}
			k += step
			if err := add(in.slots[slotID{level, k}], members); err != nil {
				return fmt.Errorf("state: %s: %w", DescribeRecord(in.engine.tick, slotBucket, slotKey(level, k)), err)
			}
			fine, coarse := int64(-1), g.coarse(k)
			if head-k < g.fine {
				fine = mod(k, g.fine)
			}
			for _, l := range members {
				if fine >= 0 {
					l.set(fine, l.row, l.now())
				}
				if coarse >= 0 {
					l.set(coarse, l.row, l.now())
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
				for number, l := range members {
					l.set(mod(tick, g.fine), l.row, l.now().minus(back[number]))
				}
			}
		}
	}
	return nil
}

// add adds the cells of a slot to the running totals of its rows.
func add(cells []byte, members map[uint32]*ledger) error {
	return eachCell(cells, func(c Cell) {
		if l := members[c.Row]; l != nil {
			if !l.wide && l.now().total+c.Total >= narrowest {
				l.promote()
			}
			l.block.now[l.row] = l.now().plus(counts{c.Total, c.Bad})
		}
	})
}

// eachCell reads the cells of a slot, by row.
func eachCell(b []byte, yield func(Cell)) error {
	if len(b) == 0 {
		return nil
	}
	broken := errors.New("cut short")
	n, used := binary.Uvarint(b)
	if used <= 0 {
		return broken
	}
	b = b[used:]
	row := uint32(0)
	for ; n > 0; n-- {
		delta, i := binary.Uvarint(b)
		if i <= 0 {
			return broken
		}
		total, j := binary.Varint(b[i:])
		if j <= 0 {
			return broken
		}
		bad, k := binary.Varint(b[i+j:])
		if k <= 0 {
			return broken
		}
		b = b[i+j+k:]
		row += uint32(delta)
		yield(Cell{row, total, bad})
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
	return out
}

// RecordedTick is the tick that a state was counted with, if the record is the one that says so.
func RecordedTick(r Record) (time.Duration, bool) {
	if r.Bucket != engineBucket || string(r.Key) != string(tickKey) {
		return 0, false
	}
	ms, n := binary.Varint(r.Value)
	return time.Duration(ms) * time.Millisecond, n > 0
}
