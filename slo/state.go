package slo

import (
	"encoding/binary"
	"encoding/json"
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
//	engine      tick          ──▶ the tick
//	            base          ──▶ counters by row       now and then, and where objectives stand
//	            lanes         ──▶ heads, newest …       what changes with every tick
//	            looked        ──▶ from, to …            when somebody looked at alerts
//
// A counter is told from the base and the slots since then; one that moved otherwise (a revision, a
// group's last event) stands with the lanes until the next base.
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
	baseKey   = []byte("base")
	lanesKey  = []byte("lanes")
	lookedKey = []byte("looked")
	countsKey = []byte("counts") // base and lanes in one, as yoyu 0.1 wrote them
)

// journal is what of an engine's state is not in the store yet.
type journal struct {
	pending   map[int]coverage // by level: changed ticks whose slots are not written
	next      uint32           // number of the next row
	nameless  []*row           // they have no number yet
	unwritten []given
	touched   map[*tracked]bool // their records may have to be written
	saved     map[string]signature
	gone      []Record // rows and objectives that went
	swept     int64    // head at which expired slots were last deleted
	ticked    bool     // the tick is written
	looked    bool     // when somebody looked at alerts is not

	stale  bool            // the base is of other objectives, rows or lanes
	base   map[*lane]int64 // heads at which the base was written
	moved  map[*row]bool   // their counters have moved otherwise than their counts since then
	cells  []Cell          // memory of slot
	values []byte          // memory of the values of slots
}

// signature tells whether an objective's record has to be written again.
type signature struct {
	shape        string
	rows, folded int
	spans        uint64 // hash of coverage, spreads, held pairs and firing alerts
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

// known is up to which age, of their beginning, the slots of a level may be known exactly.
func (g *grid) known(level int) int64 {
	switch {
	case level == 0:
		return g.fine - 1
	case int64(level) == g.rings:
		return g.horizon
	}
	return (perRing-1)*2*g.width(level) + g.width(level)
}

// knows reports whether C(k) is known, and not only its neighbours'.
func (g *grid) knows(k, head int64) bool { return k >= head || k&(g.step(k, head)-1) == 0 }

// stride is from one known tick to the next: the step there, or half of it where the tick in the
// middle is still known.
func (g *grid) stride(k, head int64) int64 {
	step := g.step(k, head)
	if half := step / 2; half >= 1<<g.base && g.step(k+half, head) <= half {
		return half
	}
	return step
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
	if e.journal != nil {
		return
	}
	e.journal = &journal{
		pending: map[int]coverage{}, next: 1, saved: map[string]signature{},
		touched: map[*tracked]bool{}, stale: true, base: map[*lane]int64{}, moved: map[*row]bool{},
	}
	for _, t := range e.inOrder {
		e.touch(t)
		for _, key := range t.keys {
			e.journal.nameless = append(e.journal.nameless, t.rows[key])
		}
	}
}

// touch notes that an objective's record may have to be written.
func (e *Engine) touch(t *tracked) {
	if e.journal != nil {
		e.journal.touched[t] = true
	}
}

// unbase notes that the base no longer fits.
func (e *Engine) unbase() {
	if e.journal != nil {
		e.journal.stale = true
	}
}

// rebase is after how many ticks the base is written again: the slots since then are ticks that
// every grid knows.
const rebase = 64

// Changes are the records that bring a store up to date, and done, to be called once they are
// durable. Until then they are part of the next Changes again. The values of the records are good
// until then too: the next call writes over them.
func (e *Engine) Changes() (records []Record, done func()) {
	j := e.journal
	if j == nil {
		return nil, func() {}
	}
	e.settle()
	j.values = j.values[:0]
	newest, lag, widest := int64(0), int64(0), e.widest
	for _, l := range e.lanes {
		newest = max(newest, l.head)
	}
	for _, l := range e.lanes {
		if l.head > 0 {
			lag = max(lag, newest-l.head)
		}
		j.stale = j.stale || l.head-j.base[l] >= rebase
	}
	if widest == nil {
		widest = &grid{tick: e.tick}
	}
	if !j.ticked {
		records = append(records, Record{engineBucket, tickKey, binary.AppendVarint(nil, e.tick.Milliseconds())})
	}
	if j.looked {
		records = append(records, Record{engineBucket, lookedKey, e.encodeLooked()})
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
	for _, h := range e.histories {
		h.sum = h.edges()
	}
	for i := range e.seats {
		if s := &e.seats[i]; s.saved != s.history.sum {
			j.touched[e.inOrder[i]] = true
		}
	}
	signatures := map[string]signature{}
	for t := range j.touched {
		if e.byName[t.Name] != t {
			continue
		}
		if sig := t.signature(); j.saved[t.Name] != sig {
			signatures[t.Name] = sig
			records = append(records, Record{objectiveBucket, []byte(t.Name), t.encode()})
		}
	}
	stale := j.stale
	if stale {
		records = append(records, Record{engineBucket, baseKey, e.encodeBase()})
	}
	records = append(records, Record{engineBucket, lanesKey, e.encodeLanes(stale)})
	return records, func() {
		j.ticked, j.looked, j.swept = true, false, newest
		j.pending = left
		j.gone = j.gone[gone:]
		maps.Copy(j.saved, signatures)
		j.unwritten = j.unwritten[written:]
		for t := range j.touched {
			if e.byName[t.Name] == t {
				s := &e.seats[t.place]
				s.saved = s.history.sum
			}
		}
		clear(j.touched)
		if stale {
			clear(j.base)
			for _, l := range e.lanes {
				j.base[l] = l.head
			}
			clear(j.moved)
			j.stale = false
		}
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
	for _, r := range j.nameless {
		t := r.events.owner
		if t.rows[r.key] != r || e.byName[t.Name] != t {
			continue // it has gone again
		}
		give(t, r, &r.number, false, false)
		r.events.name(r.number)
		if r.budget != r.events {
			give(t, r, &r.slices, true, false)
			r.budget.name(r.slices)
		}
		if r.taken != nil {
			give(t, r, &r.takenNumber, false, true)
			r.taken.name(r.takenNumber)
		}
	}
	j.nameless = j.nameless[:0]
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
	Grows   [2]bool          `json:"grows"`            // the newest span of Covered, of Asked, ends at the head and goes on with it
	Behind  *[2]int64        `json:"behind,omitempty"` // in place of Grows, as yoyu 0.1 wrote it: head − newest tick; all grow
	Spreads []spreadRecord   `json:"spreads,omitempty"`
	Folded  map[string]int64 `json:"folded,omitempty"`
	Held    []heldRecord     `json:"held,omitempty"`
	Firing  []firingRecord   `json:"firing,omitempty"`
	Fired   []firedRecord    `json:"fired,omitempty"`
	Watched *int64           `json:"watched,omitempty"` // ms, when watching began; an older yoyu did not say
	Looked  int64            `json:"looked,omitempty"`  // first tick at which somebody looked at the alerts
	Effects [][3]int64       `json:"effects,omitempty"` // of the corrections: from, to, 1 for good
	Approx  [][2]int64       `json:"approx,omitempty"`  // taken out in proportion to time
	Again   [][2]int64       `json:"again,omitempty"`   // to be asked for again
	Judged  int64            `json:"judged,omitempty"`  // 0: nobody has looked at the alerts yet; 1 + head − tick at which somebody last did, as yoyu 0.1 wrote it
}

// firingRecord is since when a severity fires: that it does is always worked out from counts.
type firingRecord struct {
	Group    string `json:"group"`
	Severity int    `json:"severity"`
	Since    int64  `json:"since"`
}

// firedRecord is a severity that fired at From and up to the tick before To.
type firedRecord struct {
	Group    string `json:"group"`
	Severity string `json:"severity"`
	From     int64  `json:"from"`
	To       int64  `json:"to"`
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

// shape is what an objective's records are counted in: with another one they mean nothing. Most
// objectives have that of the one before.
func (t *tracked) shape() string {
	last := &t.engine.shape
	if last.text == "" || last.unit != t.unit || last.budgeting != t.Budgeting {
		b := t.Budgeting
		*last = shape{t.unit, b, fmt.Sprintf("%g %s %s %s %s", t.unit, b.Method, b.Slice, b.Target.Percent(), b.Empty)}
	}
	return last.text
}

// shape is a unit and a budgeting in words.
type shape struct {
	unit      float64
	budgeting Budgeting
	text      string
}

func (t *tracked) signature() signature {
	if t.corrected() {
		t.effective(t.lane.head-t.lane.grid.horizon, t.lane.head)
	}
	s := signature{shape: t.shape(), rows: len(t.keys), folded: len(t.folded)}
	h := maphash.Hash{}
	h.SetSeed(signatureSeed)
	maphash.WriteComparable(&h, t.engine.seats[t.place].history.edges())
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
		for _, episode := range t.episodes[t.rows[key]] {
			sum += maphash.Comparable(signatureSeed, episode)
		}
		maphash.WriteComparable(&h, sum)
	}
	maphash.WriteComparable(&h, t.fresh)
	maphash.WriteComparable(&h, t.looked)
	maphash.WriteComparable(&h, t.watching)
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

// edges is a hash of a history's spans that stays the same while the newest of them grow with the
// head, and the oldest go.
func (h *history) edges() uint64 {
	hash, head := maphash.Hash{}, h.lane.head
	hash.SetSeed(signatureSeed)
	for _, c := range [2]coverage{h.covered, h.asked} {
		maphash.WriteComparable(&hash, len(c))
		for i, span := range c {
			if i == 0 && span.from <= head-h.lane.grid.horizon+1 {
				span.from = 0 // cut off by the horizon, as it will be again
			}
			if span.to == head {
				span.to = -1
			}
			maphash.WriteComparable(&hash, span)
		}
	}
	return hash.Sum64()
}

var signatureSeed = maphash.MakeSeed()

func (t *tracked) encode() []byte {
	r := objectiveRecord{GroupBy: t.GroupBy, Shape: t.shape(), Folded: t.folded}
	spans := func(c coverage) (out [][2]int64, grows bool) {
		for _, s := range c {
			out = append(out, [2]int64{s.from, s.to})
		}
		return out, len(c) > 0 && c[len(c)-1].to == t.lane.head
	}
	h := t.history()
	r.Covered, r.Grows[0] = spans(h.covered)
	r.Asked, r.Grows[1] = spans(h.asked)
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
	if !t.fresh {
		r.Judged = 1
	}
	if t.watchSet {
		r.Watched = &t.watching
	}
	r.Looked = t.looked
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
		for _, one := range t.episodes[t.rows[key]] {
			r.Fired = append(r.Fired, firedRecord{key, one.severity, one.from, one.to})
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic("slo: objective: " + err.Error()) // numbers and strings always can be written
	}
	return text
}

// encodeBase is where objectives stand and what their rows have counted since watching began.
func (e *Engine) encodeBase() []byte {
	lanes := make(map[*lane]int, len(e.lanes))
	out := binary.AppendUvarint(nil, uint64(len(e.lanes)))
	for i, l := range e.lanes {
		lanes[l] = i
		out = binary.AppendVarint(out, l.head)
	}
	out = binary.AppendUvarint(out, uint64(len(e.inOrder)))
	for _, t := range e.inOrder {
		out = binary.AppendUvarint(out, uint64(len(t.Name)))
		out = append(out, t.Name...)
		out = binary.AppendUvarint(out, uint64(lanes[t.lane]))
		out = binary.AppendUvarint(out, uint64(len(t.keys)))
		for _, key := range t.keys {
			out = t.rows[key].appendCounters(out)
		}
	}
	return out
}

func (r *row) appendCounters(out []byte) []byte {
	seen := r.seen()
	out = binary.AppendUvarint(out, uint64(r.number))
	out = binary.AppendVarint(out, seen.total)
	out = binary.AppendVarint(out, seen.bad)
	return binary.AppendVarint(out, r.lastHit)
}

// encodeLanes is what changes with every tick: heads, the newest samples by objective of the base,
// runs of the same together, and the counters that moved since the base, if it is not written with
// them.
func (e *Engine) encodeLanes(based bool) []byte {
	j := e.journal
	out := binary.AppendUvarint(nil, uint64(j.next)) // numbers are never given twice
	out = binary.AppendUvarint(out, uint64(len(e.lanes)))
	for _, l := range e.lanes {
		out = binary.AppendVarint(out, l.head)
		out = binary.AppendVarint(out, l.judged)
	}
	run, last := uint64(0), int64(0)
	flush := func() {
		if run > 0 {
			out = binary.AppendUvarint(out, run)
			out = binary.AppendVarint(out, last)
		}
	}
	tickMs := e.tick.Milliseconds()
	for i := range e.seats {
		behind := e.seats[i].history.lane.head*tickMs - e.latest[i].newest
		if run > 0 && behind != last {
			flush()
			run = 0
		}
		run, last = run+1, behind
	}
	flush()
	out = binary.AppendUvarint(out, 0) // the runs end
	if based {
		return binary.AppendUvarint(out, 0)
	}
	out = binary.AppendUvarint(out, uint64(len(j.moved)))
	for r := range j.moved {
		out = r.appendCounters(out)
	}
	return out
}
