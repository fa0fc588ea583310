package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Store is an open state file. Its methods may be called from several goroutines.
type Store struct {
	// RolledBack: the file's last transaction was torn, as by a power failure, or lost its meta page,
	// and the file was opened at the one before it. Set by Open; what the last transaction held has to be asked for
	// again, and its progress markers went with it.
	RolledBack bool

	path string // absolute
	o    Options
	lock lock

	mu     sync.Mutex // one Commit at a time; guards what follows
	closed bool
	digest digest  // of the last transaction
	meta   meta    // of the last transaction
	slots  [2]slot // the meta pages that belong to it
	undo   bool    // the meta pages on disk may be others: a Commit failed in its last step
	stale  bool    // bbolt has to open the file anew before it is used again
	fault  bool    // because it panicked: the whole file is to be checked first
	torn   bool    // the newer meta page is that of a torn transaction, not that of meta

	users  sync.RWMutex // readers hold it; files are closed and opened under its write lock
	file   *os.File     // all reading goes through it
	db     *bolt.DB     // all writing goes through it; nil: not writable
	handle *os.File     // bbolt's

	room []byte // memory of a transaction's records

	afterCommit func() error // tests: the last sync of a Commit fails
}

// Options of a Store. The zero value will do.
type Options struct {
	// Describe says for people what a record is: "slot (…, …] of 30s". It has to take any key: that
	// of a damaged record may be anything. nil: bucket and key in hex.
	Describe func(bucket string, key []byte) string
	Logger   *slog.Logger // nil: silent
}

// Open opens the state file at path for this process alone; a missing file and its folder are
// made. It checks every page and every record first.
//
// A file that may only be read is opened all the same: Load works, Commit says why it does not.
//
// Errors: *LockedError, *Damage, *FormatError, or what the file system says.
func Open(path string, o Options) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, plain(path, err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, plain(path, err)
	}
	if err := refuseNetwork(filepath.Dir(path)); err != nil {
		return nil, err
	}
	s := &Store{path: path, o: o}
	if s.lock, err = lockFile(path); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// open makes the file if it is missing, checks it, and hands it to bbolt.
func (s *Store) open() error {
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
		if err := create(s.path); err != nil {
			return plain(s.path, err)
		}
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	writable := err == nil
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		s.o.Logger.Warn("State file can only be read: what is new will not survive a restart", "file", s.path, "err", err)
		f, err = os.Open(s.path)
	}
	if err != nil {
		return plain(s.path, err)
	}
	s.file = f
	m, err := s.check(f)
	if err != nil {
		return err
	}
	s.meta, s.slots, s.RolledBack = m.meta, m.slots, m.rolledBack
	s.digest, s.torn = m.digest, m.torn
	switch {
	case m.rolledBack:
		s.o.Logger.Warn("State file lost its last transaction: it was opened at the one before", "file", s.path, "err", m.spare)
	case m.spare != nil:
		s.o.Logger.Warn("State file has a damaged spare meta page: the next commits write it anew", "file", s.path, "err", m.spare)
	}
	if !writable {
		s.stale = true // the first Commit tries
		return nil
	}
	if err := s.untear(); err != nil {
		return err
	}
	if err := s.openBolt(); err != nil {
		return err
	}
	s.mark() // all of it was just read
	if m.spare != nil && !m.torn {
		return nil // bbolt's own check does not accept the page that the next commits repair
	}
	return s.second()
}

// check reads all of a file.
func (s *Store) check(f *os.File) (*walk, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, plain(s.path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("state file %s: not a regular file", s.path)
	}
	return examine(s.path, f, info.Size(), s.o.Describe)
}

// create makes an empty state file, whole or not at all.
func create(path string) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(fresh, 0o600, &bolt.Options{PageSize: pageSize, Timeout: lockWait, NoStatistics: true})
	if err != nil {
		os.Remove(fresh)
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte(system))
		if err != nil {
			return err
		}
		if err := b.Put([]byte(formatKey), encode(system, []byte(formatKey), []byte{Format})); err != nil {
			return err
		}
		return b.Put([]byte(digestKey), encode(system, []byte(digestKey), digest{txid: uint64(tx.ID())}.encode()))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		os.Remove(fresh)
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// makeDir makes a folder and those above it, and makes their names durable.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	above := filepath.Dir(dir)
	if above != dir {
		if err := makeDir(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(above)
}

const (
	// reserve is address space, not memory: as long as the file fits into it, bbolt need not map
	// the file anew, for which it would wait until every reader is done.
	reserve = 1 << 30
	// growth is the least step in which the file grows, in bytes, and 1/grown of its size the usual
	// one: bbolt syncs each step, beside the commit's own sync.
	growth = 1 << 20
	grown  = 32
)

// openBolt hands a checked file to bbolt. An error leaves nothing open.
func (s *Store) openBolt() error {
	sizes := []int{reserve, 0}
	if bits.UintSize == 32 || runtime.GOOS == "windows" { // there the file itself would become as large
		sizes = sizes[1:]
	}
	var db *bolt.DB
	var handle *os.File
	var err error
	for _, size := range sizes {
		err = guard(func() (err error) {
			db, err = bolt.Open(s.path, 0o600, &bolt.Options{
				PageSize: pageSize, InitialMmapSize: size, Timeout: lockWait, NoStatistics: true,
				OpenFile: func(name string, flag int, mode fs.FileMode) (f *os.File, err error) {
					handle, err = os.OpenFile(name, flag&^os.O_CREATE, mode)
					return handle, err
				},
			})
			return err
		})
		if err == nil {
			break
		}
		if p := new(panicked); errors.As(err, &p) && handle != nil {
			unlock(handle)
			handle.Close()
		}
		if !errors.Is(err, syscall.ENOMEM) {
			break
		}
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return &LockedError{s.path, holder(s.path)}
	}
	if p := new(panicked); errors.As(err, &p) {
		return s.damaged(err)
	}
	if err != nil {
		return plain(s.path, err)
	}
	db.NoSync = true // a transaction is synced by write, once
	s.db, s.handle = db, handle
	// What bbolt opened must be what was checked.
	tx, err := db.Begin(false)
	if err != nil {
		s.closeBolt()
		return plain(s.path, err)
	}
	same := uint64(tx.ID()) == s.meta.txid && uint64(tx.Cursor().Bucket().Root()) == s.meta.root
	if err := tx.Rollback(); err != nil || !same {
		s.closeBolt()
		return s.damaged(errors.New("file changed while it was opened"))
	}
	return nil
}

// second lets bbolt check the file in its own way. It is not safe on a damaged file, so it comes
// second.
func (s *Store) second() error {
	return s.db.View(func(tx *bolt.Tx) error {
		var first error
		for err := range tx.Check() {
			if first == nil {
				first = err
			}
		}
		if first != nil {
			return s.damaged(first)
		}
		return nil
	})
}

func (s *Store) damaged(err error) error {
	return &Damage{s.path, "an unknown place", []string{"everything"}, err}
}

// Load hands over every record by bucket and key, and checks each again. It reads the file as it
// was when Load began, whatever is committed meanwhile. Key and Value are valid until yield
// returns; an error of yield ends Load and is returned as it is. After a *Damage what was handed
// over must not be used. yield must not call the Store.
func (s *Store) Load(yield func(Record) error) error {
	return s.view(func(m *image) error {
		_, err := m.read(s.path, s.o.Describe, yield)
		return err
	})
}

// view lets fn read the last transaction. Its pages stay as they are until fn returns.
func (s *Store) view(fn func(*image) error) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.users.RLock()
	defer s.users.RUnlock()
	m := &image{f: s.file, slots: s.slots, meta: s.meta}
	if s.db != nil && !s.stale {
		tx, err := s.db.Begin(false)
		if err != nil {
			s.mu.Unlock()
			return plain(s.path, err)
		}
		defer func() { _ = tx.Rollback() }() // it only reads
	} // else nobody writes before the file is opened anew, which waits for s.users
	if s.digest.txid != s.meta.txid {
		m.spare = errors.New("opened at the transaction before the last")
	}
	s.mu.Unlock()
	info, err := s.file.Stat()
	if err != nil {
		return plain(s.path, err)
	}
	m.size = info.Size()
	return fn(m)
}

// Commit writes records in one transaction: all or none. When it returns nil they are on disk and
// survive a power failure. When it returns an error nothing changed, and the same Commit may be
// tried again: it works once the cause is gone. Of two records with one key the later wins;
// deleting a key that is not there is no error. Key and Value are not kept.
//
// The error says in plain words what the disk said and wraps it: ENOSPC, EROFS, EIO and the like.
// A *Damage means that the file was changed from outside, or broke, while it was open.
func (s *Store) Commit(records []Record) error {
	for i := range records {
		if err := records[i].valid(); err != nil {
			return fmt.Errorf("state file %s: record %d: %w", s.path, i, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if len(records) == 0 {
		return nil
	}
	if s.db == nil || s.stale {
		if err := s.reopen(); err != nil {
			return err
		}
	}
	if err := s.present(); err != nil {
		return err
	}
	next := s.digest.clone()
	err := guard(func() error { return s.write(records, &next) })
	if err == nil {
		err = s.arrived(next.txid)
	}
	if err == nil {
		s.digest = next
		s.mark()
		return nil
	}
	s.stale = true // a failed transaction leaves nothing of bbolt's memory behind
	if p := new(panicked); errors.As(err, &p) {
		s.fault = true
		err = s.damaged(err)
	} else {
		err = plain(s.path, err)
	}
	s.undo = true
	if undone := s.undoMeta(); undone != nil {
		s.o.Logger.Warn("State file may hold a commit that was reported as failed; this is put right before the next", "file", s.path, "err", undone)
	}
	return err
}

// write is one transaction of bbolt. next becomes the digest after it.
func (s *Store) write(records []Record, next *digest) error {
	s.db.AllocSize = max(growth, int(s.Size()/grown))
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	next.txid = uint64(tx.ID())
	// In the order of keys: a page that grows at its end moves nothing, and one with 100,000 new
	// records would move itself for each of them.
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), bytes.Compare(a.Key, b.Key))
	})
	if s.room, err = put(tx, records, next, s.room[:0]); err != nil {
		_ = tx.Rollback() // err is why
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if err := s.db.Sync(); err != nil { // the only one: see mark
		return err
	}
	if s.afterCommit != nil {
		return s.afterCommit()
	}
	return nil
}

// mark notes in the file that its last transaction is on disk whole. Without it a damaged one would
// be taken for a torn one; nothing else is lost where it cannot be written.
func (s *Store) mark() {
	b := markOf(s.meta.txid)
	_, _ = s.file.WriteAt(b[:], int64(s.meta.txid%2)*pageSize+markPlace)
}

// untear puts a second entry to the last whole transaction in place of that to a torn one, as Backup
// does: bbolt goes by the newer of the two, whatever it leads to.
func (s *Store) untear() error {
	if !s.torn {
		return nil
	}
	id := int(1 - s.meta.txid%2)
	spare := s.slots[1-id].as(id, s.meta.txid-1)
	if _, err := s.file.WriteAt(spare[:], int64(id)*pageSize); err != nil {
		return plain(s.path, err)
	}
	if err := s.file.Sync(); err != nil {
		return plain(s.path, err)
	}
	s.slots[id], s.torn = spare, false
	return nil
}

// large is the stored length from which a record gets pages of its own, in a bucket of its own:
// bbolt keeps up to four entries on a page that overflows and writes it as a whole, so that its
// neighbours would be written with it. Small ones are cheaper together.
const large = 16 * pageSize

// put changes records within a transaction, and the digest with them. They are in room, or what it
// grew to, until the transaction ends.
func put(tx *bolt.Tx, records []Record, d *digest, room []byte) ([]byte, error) {
	if d.buckets == nil {
		d.buckets = map[string]tally{}
	}
	for _, r := range records {
		b := tx.Bucket([]byte(r.Bucket))
		if b == nil {
			if r.Value == nil {
				continue
			}
			var err error
			if b, err = tx.CreateBucket([]byte(r.Bucket)); err != nil {
				return room, err
			}
		}
		b.FillPercent = 0.9 // keys of time only ever come after the others
		t := d.buckets[r.Bucket]
		was := b.Get(r.Key)
		own := b.Bucket(r.Key)
		if own != nil {
			was = own.Get([]byte(largeKey))
		}
		if was != nil {
			t.remove(storedSum(was))
		}
		var stored []byte
		if r.Value != nil {
			from := len(room)
			room = appendRecord(room, r.Bucket, r.Key, r.Value)
			stored = slices.Clip(room[from:])
			t.add(storedSum(stored))
		}
		if err := replace(b, own, r.Key, stored, was != nil); err != nil {
			return room, err
		}
		d.buckets[r.Bucket] = t
	}
	b := tx.Bucket([]byte(system))
	return room, b.Put([]byte(digestKey), encode(system, []byte(digestKey), d.encode()))
}

// replace puts stored in place of what a key held: in the bucket b itself, or in own, the bucket
// that a large record has to itself. nil deletes.
func replace(b, own *bolt.Bucket, key, stored []byte, was bool) error {
	big := len(stored) >= large
	if own != nil && !big {
		if err := b.DeleteBucket(key); err != nil {
			return err
		}
	}
	if own == nil && was && (big || stored == nil) {
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	switch {
	case stored == nil:
		return nil
	case !big:
		return b.Put(key, stored)
	case own == nil:
		var err error
		if own, err = b.CreateBucket(key); err != nil {
			return err
		}
	}
	return own.Put([]byte(largeKey), stored)
}

// arrived reads back what the file now stands at.
func (s *Store) arrived(txid uint64) error {
	slots, err := readSlots(s.file)
	if err != nil {
		return err
	}
	for i := range slots {
		if m, err := slots[i].parse(); err == nil && m.txid == txid {
			s.slots, s.meta = slots, m
			return nil
		}
	}
	return errors.New("transaction was written and is not there")
}

// present makes sure that the open file is still the one at its path, and as long as it was: a
// commit into a deleted file would be gone with the process.
func (s *Store) present() error {
	mine, err := s.file.Stat()
	if err != nil {
		return plain(s.path, err)
	}
	there, err := os.Stat(s.path)
	if err != nil {
		return plain(s.path, fmt.Errorf("gone while it was in use: %w", err))
	}
	if !os.SameFile(mine, there) {
		return fmt.Errorf("state file %s: replaced by another file while it was in use: put it back, or start again", s.path)
	}
	if need := int64(s.meta.high) * pageSize; mine.Size() < need {
		return &Damage{s.path, fmt.Sprintf("byte %d", mine.Size()), []string{"everything beyond"},
			fmt.Errorf("file was cut from outside: %d bytes, %d are in use", mine.Size(), need)}
	}
	return nil
}

// undoMeta puts back the meta page of a transaction that failed after it had been written: its sync
// failed, so that it may or may not survive, while the caller was told that nothing changed. Were
// it left in place, the next transaction would build on it and reuse the pages of the one before.
func (s *Store) undoMeta() error {
	if !s.undo {
		return nil
	}
	slots, err := readSlots(s.file)
	if err != nil {
		return plain(s.path, err)
	}
	for i := range slots {
		if slots[i] == s.slots[i] {
			continue
		}
		if m, err := slots[i].parse(); err == nil && m.txid != s.meta.txid+1 || slots[1-i] != s.slots[1-i] {
			return s.damaged(errors.New("file was changed from outside")) // not by the failed transaction
		}
		if _, err := s.file.WriteAt(s.slots[i][:], int64(i)*pageSize); err != nil {
			return plain(s.path, err)
		}
		if err := s.file.Sync(); err != nil {
			return plain(s.path, err)
		}
	}
	s.undo = false
	return nil
}

// reopen gives bbolt the file anew after a failure, or for the first time when it could not be
// written to so far.
func (s *Store) reopen() error {
	if !s.users.TryLock() {
		return fmt.Errorf("state file %s: has to be opened anew after a failure, and is still being read", s.path)
	}
	defer s.users.Unlock()
	s.closeBolt()
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return plain(s.path, err)
	}
	was := s.file
	s.file = f
	if err := s.resume(was); err != nil {
		f.Close()
		s.file = was
		return err
	}
	was.Close()
	s.stale, s.fault = false, false
	return nil
}

// resume makes sure that the file is still the one that was open and stands where it stood.
func (s *Store) resume(was *os.File) error {
	a, err := was.Stat()
	if err != nil {
		return plain(s.path, err)
	}
	b, err := s.file.Stat()
	if err != nil {
		return plain(s.path, err)
	}
	if !os.SameFile(a, b) {
		return fmt.Errorf("state file %s: replaced by another file while it was in use: put it back, or start again", s.path)
	}
	if err := s.undoMeta(); err != nil {
		return err
	}
	if err := s.untear(); err != nil {
		return err
	}
	if err := s.present(); err != nil {
		return err
	}
	if s.fault {
		if _, err := s.check(s.file); err != nil {
			return err
		}
	}
	slots, err := readSlots(s.file)
	if err != nil {
		return plain(s.path, err)
	}
	if slots != s.slots {
		return s.damaged(errors.New("file was changed from outside"))
	}
	return s.openBolt()
}

// closeBolt takes the file from bbolt. After a panic bbolt may hold its own locks for ever: then
// its file is closed under it, and the mapping stays.
func (s *Store) closeBolt() {
	if s.db == nil {
		return
	}
	if s.fault {
		unlock(s.handle)
		s.handle.Close()
	} else if err := s.db.Close(); err != nil {
		s.o.Logger.Warn("State file was not closed cleanly", "file", s.path, "err", err)
	}
	s.db, s.handle = nil, nil
}

// Size is the length of the file in bytes. It never shrinks; freed pages are used again.
func (s *Store) Size() int64 {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Backup writes a copy of the file as it is now, while commits go on. Every record is checked
// before the first byte is written; the copy opens like any state file. While it is being written
// the file cannot reuse pages, so it grows with what is committed meanwhile.
func (s *Store) Backup(w io.Writer) error {
	return s.view(func(m *image) error {
		if _, err := m.read(s.path, s.o.Describe, nil); err != nil {
			return err
		}
		newest := m.slots[0]
		if n, err := newest.parse(); err != nil || n.txid != m.txid {
			newest = m.slots[1]
		}
		page := make([]byte, pageSize)
		for i := range 2 {
			txid := m.txid
			if txid%2 != uint64(i) {
				txid-- // the spare, which leads to the same records
			}
			s := newest.as(i, txid)
			copy(page, s[:])
			if _, err := w.Write(page); err != nil {
				return fmt.Errorf("backup: %w", err)
			}
		}
		_, err := io.Copy(w, io.NewSectionReader(m.f, 2*pageSize, int64(m.high-2)*pageSize))
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		return nil
	})
}

// Close waits for readers and gives the file and its lock back. A second Close does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.users.Lock()
	defer s.users.Unlock()
	err := s.undoMeta()
	s.release()
	return err
}

func (s *Store) release() {
	s.closeBolt()
	if s.file != nil {
		s.file.Close()
	}
	s.lock.release()
}

// panicked is a panic or a memory fault of bbolt, as an error.
type panicked struct{ cause error }

func (p *panicked) Error() string { return p.cause.Error() }
func (p *panicked) Unwrap() error { return p.cause }

// guard turns a panic into an error, and with it what the processor says when the file behind a
// mapping is shorter than it was or cannot be read.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = &panicked{errors.New("file is shorter than it was, or the disk cannot read it (memory fault)")}
		case error:
			err = &panicked{p}
		default:
			err = &panicked{fmt.Errorf("%v", p)}
		}
	}()
	return fn()
}

// Buckets names the buckets of the last transaction with the number of their records.
func (s *Store) Buckets() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for name, t := range s.digest.buckets {
		n[name] = int(t.count)
	}
	return n
}
