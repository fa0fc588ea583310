package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// image is a state file as its bytes are read, without bbolt and without mapping it: a damaged
// page may then be wrong in any way and is still no more than an error. bbolt is handed a file only
// after all of it has been read like this.
type image struct {
	f     io.ReaderAt
	size  int64
	slots [2]slot // the two meta pages
	meta          // the newer one that is whole
	// spare is what is wrong with the other meta page, if anything.
	spare error
	// rolledBack: the damaged one was, or may have been, the newer one.
	rolledBack bool
	// torn: what the newer meta page leads to did not all reach the disk; the older one is taken.
	torn bool
}

// bbolt's file format, version 2. Integers are in the byte order of the machine.
const (
	pageSize   = 4096
	pageHeader = 16 // id 8, flags 2, count 2, overflow 4
	entrySize  = 16 // leaf: flags 4, pos 4, ksize 4, vsize 4; branch: pos 4, ksize 4, child 8
	bucketHead = 16 // root page 8 (0: the page follows inline), sequence 8

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10

	metaSize = 64 // magic 4, version 4, page size 4, flags 4, root 16, freelist 8, high 8, txid 8, checksum 8
	slotSize = pageHeader + metaSize

	magic       = 0xED0CDAED
	pageVersion = 2
)

var order = binary.NativeEndian

// slot is the part of a meta page that says anything.
type slot [slotSize]byte

// meta is a transaction's entry point.
type meta struct {
	root     uint64 // page of the root bucket
	freelist uint64 // page of the list of free pages
	high     uint64 // first page that was never used
	txid     uint64
}

var errVersion = errors.New("page format is newer")

// parse reads a meta page.
func (s *slot) parse() (meta, error) {
	b := s[pageHeader:]
	switch {
	case order.Uint32(b) != magic:
		return meta{}, errors.New("meta page has no magic number")
	case order.Uint64(b[56:]) != s.sum():
		return meta{}, errors.New("meta page fails its checksum")
	case order.Uint32(b[4:]) != pageVersion:
		return meta{}, errVersion
	case order.Uint32(b[8:]) != pageSize:
		return meta{}, fmt.Errorf("meta page says pages of %d bytes, want %d", order.Uint32(b[8:]), pageSize)
	}
	return meta{
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		high:     order.Uint64(b[40:]),
		txid:     order.Uint64(b[48:]),
	}, nil
}

// header checks what stands before the meta itself; bbolt does not look at it when it opens a file.
func (s *slot) header(id int) error {
	if order.Uint64(s[:]) != uint64(id) || order.Uint16(s[8:]) != metaPage {
		return errors.New("meta page has a damaged header")
	}
	return nil
}

func (s *slot) sum() uint64 {
	h := fnv.New64a()
	h.Write(s[pageHeader : pageHeader+56])
	return h.Sum64()
}

// as is the slot with another transaction's number, sealed.
func (s slot) as(id int, txid uint64) slot {
	order.PutUint64(s[:], uint64(id))
	order.PutUint64(s[pageHeader+48:], txid)
	order.PutUint64(s[pageHeader+56:], s.sum())
	return s
}

// mayBeNewer says whether a damaged meta page may have been that of the transaction after txid.
// The two meta pages take turns, so it belonged to txid−1 or to txid+1. It still tells which one
// where its number is legible or its checksum fits one of the two; in doubt it was the newer one.
func (s slot) mayBeNewer(txid uint64) bool {
	legible := order.Uint64(s[pageHeader+48:])
	sealed := func(n uint64) bool {
		as := s
		order.PutUint64(as[pageHeader+48:], n)
		return as.sum() == order.Uint64(as[pageHeader+56:])
	}
	switch {
	case sealed(txid + 1):
		return true
	case sealed(txid - 1):
		return false
	}
	return legible != txid-1
}

// readSlots reads both meta pages.
func readSlots(f io.ReaderAt) (slots [2]slot, err error) {
	for i := range slots {
		if _, err := f.ReadAt(slots[i][:], int64(i)*pageSize); err != nil {
			return slots, unexpected(err)
		}
	}
	return slots, nil
}

// readImage finds the transaction that a file stands at. bbolt takes the newer meta page that is
// whole, so the same one is taken here.
func readImage(path string, f io.ReaderAt, size int64) (*image, error) {
	m := &image{f: f, size: size}
	damaged := func(err error) error {
		return &Damage{path, "page 0, byte 0", []string{"everything"}, err}
	}
	var err error
	if m.slots, err = readSlots(f); err != nil {
		return nil, damaged(fmt.Errorf("meta pages: %w", err))
	}
	a, errA := m.slots[0].parse()
	b, errB := m.slots[1].parse()
	if errors.Is(errA, errVersion) || errors.Is(errB, errVersion) {
		i := 0
		if errors.Is(errB, errVersion) {
			i = 1
		}
		return nil, &FormatError{path, "page format", int(order.Uint32(m.slots[i][pageHeader+4:])), pageVersion}
	}
	switch {
	case errA != nil && errB != nil:
		return nil, damaged(fmt.Errorf("both meta pages: %w", errA))
	case errA != nil:
		m.meta, m.spare, m.rolledBack = b, errA, m.slots[0].mayBeNewer(b.txid)
	case errB != nil:
		m.meta, m.spare, m.rolledBack = a, errB, m.slots[1].mayBeNewer(a.txid)
	case b.txid > a.txid:
		m.meta = b
	default:
		m.meta = a
	}
	if m.spare == nil {
		m.spare = errors.Join(m.slots[0].header(0), m.slots[1].header(1))
	}
	return m, nil
}

// A mark stands at the end of a meta page, where bbolt writes zeros. It says that the transaction of
// that number is on disk whole, and is written after the sync that made it so, without one of its own:
// a process that is killed leaves it behind, a power failure may take it away. A transaction is
// written with one sync at its end, pages and meta page in whatever order the disk likes. So one that
// is not whole may be torn if it has no mark, and then the one before it is whole; with a mark it was
// whole once, and is damaged.
//
//	number of the transaction, its complement: 8 bytes each, big endian
const (
	markSize  = 16
	markPlace = pageSize - markSize
)

func markOf(txid uint64) (b [markSize]byte) {
	binary.BigEndian.PutUint64(b[:], txid)
	binary.BigEndian.PutUint64(b[8:], ^txid)
	return b
}

// mayBeTorn reports whether nothing says that the image's transaction is on disk whole. A mark that
// is neither that of another transaction nor none at all is damaged, and counts as one.
func (m *image) mayBeTorn() bool {
	var mark [markSize]byte
	if _, err := m.f.ReadAt(mark[:], int64(m.txid%2)*pageSize+markPlace); err != nil {
		return false
	}
	txid := binary.BigEndian.Uint64(mark[:])
	return mark == [markSize]byte{} || txid != m.txid && mark == markOf(txid)
}

// examine reads all of a file at the transaction it stands at: the newest one, or the one before if
// that is whole and the newest one is torn.
func examine(path string, f io.ReaderAt, size int64, describe func(string, []byte) string) (*walk, error) {
	m, err := readImage(path, f, size)
	if err != nil {
		return nil, err
	}
	w, err := m.read(path, describe, nil)
	if d := new(Damage); !errors.As(err, &d) || m.spare != nil || !m.mayBeTorn() {
		return w, err
	}
	older, failed := m.slots[1-m.txid%2].parse()
	if failed != nil || older.txid != m.txid-1 {
		return w, err
	}
	before := &image{f: f, size: size, slots: m.slots, meta: older, spare: err, rolledBack: true, torn: true}
	if whole, failed := before.read(path, describe, nil); failed == nil {
		return whole, nil
	}
	return w, err
}

// Buckets and keys of the store's own. They sort before all others.
const (
	system    = "\x00yoyu"
	formatKey = "format" // a uvarint: the file's format; its place and shape stay for ever
	digestKey = "digest"

	// Format is the format of the files that this package writes, and the newest it reads.
	Format = 1

	largeKey = "v" // the only key of the bucket that a large value has to itself
)

// walk reads every page that a transaction reaches, checks all of it, and yields the records.
type walk struct {
	*image
	path     string
	describe func(bucket string, key []byte) string
	yield    func(Record) error // nil: only check

	used    []bool   // by page
	buffers [][]byte // by depth
	bucket  string   // where the walk is; "" is the root
	seen    map[string]*Contents
	names   []string // of the buckets, as they came
	system  map[string][]byte
	format  uint64
	listed  int // free pages
	digest  digest
	faults  []fault
	stop    error // of yield, or a FormatError
}

// fault is one thing that is wrong.
type fault struct {
	place    string
	affected []string
	err      error
}

// tooDeep is more levels than a file can have: with two entries a page it would not fit any disk.
const tooDeep = 64

// maxFaults bounds what is said about a file that is nothing but damage.
const maxFaults = 1000

// read walks through the whole image. The error is a *Damage, a *FormatError, or that of yield.
func (m *image) read(path string, describe func(string, []byte) string, yield func(Record) error) (*walk, error) {
	w := &walk{
		image: m, path: path, describe: describe, yield: yield,
		used: make([]bool, min(m.high, uint64(m.size/pageSize))),
		seen: map[string]*Contents{}, system: map[string][]byte{},
	}
	for i := range w.used[:min(2, len(w.used))] {
		w.used[i] = true
	}
	if need := int64(m.high) * pageSize; m.high > 1<<50 || m.size < need {
		w.fault(fmt.Sprintf("byte %d", m.size), nil, fmt.Errorf("file is %d bytes long, its last transaction reaches to page %d", m.size, m.high))
	}
	free := w.free()
	w.tree(m.root, 0, nil, nil, w.enter)
	if w.stop == nil {
		w.compare(free)
	}
	if w.stop != nil {
		return w, w.stop
	}
	return w, w.damage()
}

// damage folds the faults into one error.
func (w *walk) damage() error {
	if len(w.faults) == 0 {
		return nil
	}
	d := &Damage{Path: w.path, Place: w.faults[0].place, Err: w.faults[0].err}
	for _, f := range w.faults {
		for _, a := range f.affected {
			if !slices.Contains(d.Affected, a) {
				d.Affected = append(d.Affected, a)
			}
		}
	}
	return d
}

func (w *walk) fault(place string, affected []string, err error) {
	if len(w.faults) < maxFaults {
		w.faults = append(w.faults, fault{place, affected, err})
	}
}

// place is a page in words.
func place(id uint64) string { return fmt.Sprintf("page %d, byte %d", id, id*pageSize) }

// name is a record in words, whatever its key looks like.
func (w *walk) name(key []byte) (s string) {
	if w.bucket == system {
		return "everything"
	}
	if w.describe == nil {
		return w.bucket + " " + hex.EncodeToString(key)
	}
	defer func() {
		if recover() != nil { // the key of a damaged record may be anything
			s = w.bucket + " " + hex.EncodeToString(key)
		}
	}()
	return w.describe(w.bucket, key)
}

// span is in words what lies from the key lo to before the key hi.
func (w *walk) span(lo, hi []byte) []string {
	switch {
	case w.bucket == "" && lo == nil && hi == nil, w.bucket == system:
		return []string{"everything"}
	case w.bucket == "":
		return []string{fmt.Sprintf("all buckets from %q on", lo)}
	case lo == nil && hi == nil:
		return []string{"all of " + w.bucket}
	case hi == nil:
		return []string{w.bucket + " from " + w.name(lo) + " on"}
	case lo == nil:
		return []string{w.bucket + " up to before " + w.name(hi)}
	}
	return []string{w.bucket + " from " + w.name(lo) + " to before " + w.name(hi)}
}

// page reads a page and what overflows from it into the buffer of its depth, and marks all of it
// used.
func (w *walk) page(id uint64, depth int, kinds uint16) ([]byte, error) {
	if id < 2 || id >= w.high {
		return nil, fmt.Errorf("page %d is referred to, pages go from 2 to %d", id, w.high-1)
	}
	if id >= uint64(len(w.used)) {
		return nil, fmt.Errorf("page %d: %w", id, io.ErrUnexpectedEOF)
	}
	for len(w.buffers) <= depth {
		w.buffers = append(w.buffers, make([]byte, pageSize))
	}
	b := w.buffers[depth][:pageSize]
	if _, err := w.f.ReadAt(b, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, unexpected(err))
	}
	if got := order.Uint64(b); got != id {
		return nil, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	if kind := order.Uint16(b[8:]); kind&kinds == 0 || kind&(kind-1) != 0 {
		return nil, fmt.Errorf("page %d is of kind %#x", id, kind)
	}
	pages := uint64(order.Uint32(b[12:])) + 1
	if id+pages > w.high || id+pages > uint64(len(w.used)) {
		return nil, fmt.Errorf("page %d reaches to page %d, pages go to %d", id, id+pages-1, w.high-1)
	}
	if at := slices.Index(w.used[id:id+pages], true); at >= 0 {
		return nil, fmt.Errorf("page %d is used twice", id+uint64(at))
	}
	for i := range pages {
		w.used[id+i] = true
	}
	if pages > 1 {
		b = slices.Grow(b, int(pages-1)*pageSize)[:pages*pageSize]
		w.buffers[depth] = b
		if _, err := w.f.ReadAt(b[pageSize:], int64(id+1)*pageSize); err != nil {
			return nil, fmt.Errorf("page %d: %w", id+1, unexpected(err))
		}
	}
	return b, nil
}

// unexpected: a file that ends where a page should be is damaged, not read to its end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// visitor is given the entries of a tree in the order of their keys.
type visitor func(key, value []byte, bucket bool, depth int, place string)

// tree reads the tree below page id, whose keys go from lo to before hi; nil is no bound.
func (w *walk) tree(id uint64, depth int, lo, hi []byte, visit visitor) {
	if w.stop != nil {
		return
	}
	if depth >= tooDeep {
		w.fault(place(id), w.span(lo, hi), fmt.Errorf("page %d is %d levels deep", id, depth))
		return
	}
	b, err := w.page(id, depth, branchPage|leafPage)
	if err == nil {
		err = w.entries(b, id, depth, lo, hi, visit)
	}
	if err != nil {
		w.fault(place(id), w.span(lo, hi), err)
	}
}

// entries reads the entries of a page. It checks all of them before it goes into the first.
func (w *walk) entries(b []byte, id uint64, depth int, lo, hi []byte, visit visitor) error {
	leaf := order.Uint16(b[8:]) == leafPage
	count := int(order.Uint16(b[10:]))
	if pageHeader+count*entrySize > len(b) {
		return fmt.Errorf("page %d holds %d entries, more than fit", id, count)
	}
	if count == 0 && !leaf {
		return fmt.Errorf("page %d has no entries", id)
	}
	var last []byte
	for i := range count {
		key, value, flags, _ := entry(b, i, leaf)
		switch {
		case key == nil:
			return fmt.Errorf("page %d: entry %d reaches beyond the page", id, i)
		case leaf && flags > 1:
			return fmt.Errorf("page %d: entry %d is of kind %#x", id, i, flags)
		case flags == 1 && len(value) < bucketHead:
			return fmt.Errorf("page %d: entry %d is a bucket of %d bytes", id, i, len(value))
		case i > 0 && bytes.Compare(last, key) >= 0,
			lo != nil && bytes.Compare(key, lo) < 0,
			hi != nil && bytes.Compare(key, hi) >= 0:
			return fmt.Errorf("page %d: entry %d is out of order", id, i)
		}
		last = key
	}
	for i := range count {
		key, value, flags, child := entry(b, i, leaf)
		if leaf {
			visit(key, value, flags == 1, depth+1, place(id))
		} else {
			next := hi
			if i+1 < count {
				next, _, _, _ = entry(b, i+1, leaf)
			}
			w.tree(child, depth+1, key, next, visit)
		}
		if w.stop != nil {
			return nil
		}
	}
	return nil
}

// entry is the i-th entry of a page; its key is nil when it reaches beyond the page.
func entry(b []byte, i int, leaf bool) (key, value []byte, flags uint32, child uint64) {
	at := pageHeader + i*entrySize
	e := b[at:]
	var pos, ksize, vsize uint32
	if leaf {
		flags, pos, ksize, vsize = order.Uint32(e), order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
	} else {
		pos, ksize, child = order.Uint32(e), order.Uint32(e[4:]), order.Uint64(e[8:])
	}
	start := uint64(at) + uint64(pos)
	mid := start + uint64(ksize)
	end := mid + uint64(vsize)
	if ksize == 0 || end > uint64(len(b)) || start < uint64(at+entrySize) {
		return nil, nil, 0, 0
	}
	return b[start:mid:mid], b[mid:end:end], flags, child
}

// inside reads what is in a bucket, whose entry's value is head.
func (w *walk) inside(head []byte, depth int, place string, visit visitor) error {
	if root := order.Uint64(head); root != 0 {
		w.tree(root, depth, nil, nil, visit)
		return nil
	}
	b := head[bucketHead:] // a small bucket: its only page is inline
	if len(b) < pageHeader || order.Uint16(b[8:]) != leafPage {
		return errors.New("inline bucket is no leaf page")
	}
	if order.Uint32(b[12:]) != 0 {
		return errors.New("inline bucket overflows")
	}
	return w.entries(b, 0, depth, nil, nil, func(k, v []byte, bucket bool, depth int, _ string) {
		visit(k, v, bucket, depth, place)
	})
}

// enter reads one bucket of the root.
func (w *walk) enter(key, head []byte, bucket bool, depth int, place string) {
	name := string(key)
	defer func() { w.bucket = "" }()
	w.bucket = name
	if !bucket {
		w.fault(place, w.span(nil, nil), fmt.Errorf("entry %q is not a bucket", name))
		return
	}
	if name != system {
		w.seen[name] = &Contents{Bucket: name}
		w.names = append(w.names, name)
	}
	if err := w.inside(head, depth, place, w.record); err != nil {
		w.fault(place, w.span(nil, nil), err)
	}
	if name == system {
		w.opened()
	}
}

// opened reads the store's own bucket, the first of all.
func (w *walk) opened() {
	format, n := binary.Uvarint(w.system[formatKey])
	if n <= 0 {
		return // compare says so
	}
	w.format = format
	if format > Format {
		w.stop = &FormatError{w.path, "format", int(min(format, 1<<31-1)), Format}
		return
	}
	d, err := decodeDigest(w.system[digestKey])
	if err != nil {
		w.fault(place(w.root), []string{"everything"}, err)
		return
	}
	w.digest = d
}

// record reads one record: an entry of a bucket, or a bucket of its own when it is large.
func (w *walk) record(key, stored []byte, bucket bool, depth int, place string) {
	if !bucket {
		w.found(key, stored, place)
		return
	}
	found := 0
	err := w.inside(stored, depth, place, func(k, v []byte, bucket bool, _ int, place string) {
		if found++; bucket || found > 1 || string(k) != largeKey {
			w.fault(place, []string{w.name(key)}, errors.New("large record is not alone in its bucket"))
			return
		}
		w.found(key, v, place)
	})
	if err == nil && found == 0 {
		err = errors.New("large record has no value")
	}
	if err != nil {
		w.fault(place, []string{w.name(key)}, err)
	}
}

// found checks one record and hands it on.
func (w *walk) found(key, stored []byte, place string) {
	if w.stop != nil {
		return
	}
	value, sum, err := decode(w.bucket, key, stored)
	if err != nil {
		w.fault(place, []string{w.name(key)}, err)
		return
	}
	if w.bucket == system {
		w.system[string(key)] = slices.Clone(value)
		return
	}
	c := w.seen[w.bucket]
	c.add(sum)
	c.Bytes += int64(len(key) + len(value))
	if w.yield != nil && w.format != 0 {
		w.stop = w.yield(Record{w.bucket, key, value})
	}
}

// free reads the list of free pages.
func (w *walk) free() []uint64 {
	b, err := w.page(w.freelist, 0, freelistPage)
	if err != nil {
		w.fault(place(w.freelist), nil, fmt.Errorf("list of free pages: %w", err))
		return nil
	}
	count, at := uint64(order.Uint16(b[10:])), pageHeader
	if count == 0xffff { // the count did not fit: it is the first number
		count, at = order.Uint64(b[at:]), at+8
	}
	if count > uint64(len(b)-at)/8 {
		w.fault(place(w.freelist), nil, fmt.Errorf("list of free pages holds %d, more than fit", count))
		return nil
	}
	w.listed = int(count)
	ids := make([]uint64, count)
	for i := range ids {
		ids[i] = order.Uint64(b[at+8*i:])
	}
	return ids
}

// compare checks what can only be seen at the end: that nothing is missing. It is silent where
// something else is wrong already, since then something is missing.
func (w *walk) compare(free []uint64) {
	if w.format == 0 && len(w.faults) == 0 {
		w.fault(place(w.root), []string{"everything"}, errors.New("file holds no format record of yoyu: it was never a state file, or lost its beginning"))
	}
	if len(w.faults) > 0 {
		return
	}
	// After a fallback a backup's older meta page is the same transaction under the number before.
	if w.digest.txid != w.txid && (w.spare == nil || w.digest.txid != w.txid+1) {
		w.fault(place(w.root), []string{"everything"}, fmt.Errorf("digest is of transaction %d, the file of %d: a write was lost", w.digest.txid, w.txid))
	}
	for name, want := range w.digest.buckets {
		var got tally
		if c := w.seen[name]; c != nil {
			got = c.tally
		}
		if got.count != want.count {
			w.fault(place(w.root), []string{"all of " + name}, fmt.Errorf("bucket %s holds %d records, %d were written", name, got.count, want.count))
		} else if got != want {
			w.fault(place(w.root), []string{"all of " + name}, fmt.Errorf("bucket %s does not hold the records that were written last", name))
		}
	}
	for name := range w.seen {
		if _, ok := w.digest.buckets[name]; !ok {
			w.fault(place(w.root), []string{"all of " + name}, fmt.Errorf("bucket %s is not in the digest", name))
		}
	}
	if len(w.faults) > 0 {
		slices.SortFunc(w.faults, func(a, b fault) int { return bytes.Compare([]byte(a.err.Error()), []byte(b.err.Error())) })
		return
	}
	for _, id := range free {
		if id < 2 || id >= w.high || w.used[id] {
			w.fault(place(w.freelist), nil, fmt.Errorf("page %d is listed as free", id))
			return
		}
		w.used[id] = true
	}
	if at := slices.Index(w.used, false); at >= 0 {
		w.fault(place(uint64(at)), nil, fmt.Errorf("page %d is neither used nor free", at))
	}
}
