package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Report is what a check found in a file.
type Report struct {
	Path     string
	Size     int64      // bytes
	Format   int        // of the file; 0: could not be read
	Commits  uint64     // transactions the file has seen, about
	Buckets  []Contents // in the order of their names
	Free     int        // pages of 4096 bytes that wait to be used again
	Damage   *Damage    // nil: every record is whole and none is missing
	FellBack bool       // the newest transaction was torn, the one before it is whole: see Store.RolledBack
}

// Contents is what one bucket holds.
type Contents struct {
	Bucket string
	Bytes  int64 // keys and values

	tally
}

// Records counts the records in the bucket.
func (c Contents) Records() int { return int(c.count) }

// Verify checks every page and every record of a file that nobody has open, and changes nothing.
// What it finds damaged is in the report and is the error too. Other errors: *LockedError,
// *FormatError, or the file cannot be opened.
func Verify(path string, o Options) (Report, error) { return Read(path, o, nil) }

// Read is Verify that hands over the records it finds whole, by bucket and key, also those of a
// damaged file. Key and Value are valid until yield returns; an error of yield ends it.
func Read(path string, o Options, yield func(Record) error) (Report, error) {
	r := Report{Path: path}
	f, err := os.Open(path)
	if err != nil {
		return r, plain(path, err)
	}
	defer f.Close()
	if ok, err := tryLock(f, true); err != nil {
		return r, plain(path, err)
	} else if !ok {
		return r, &LockedError{path, holder(path)}
	}
	info, err := f.Stat()
	if err != nil {
		return r, plain(path, err)
	}
	if !info.Mode().IsRegular() {
		return r, fmt.Errorf("state file %s: not a regular file", path)
	}
	r.Size = info.Size()
	w, err := examine(path, f, r.Size, o.Describe)
	if w != nil {
		r.FellBack, r.Commits = w.rolledBack, w.txid
		if yield != nil {
			w, err = w.read(path, o.Describe, yield)
		}
		r.Format = int(w.format)
		for _, name := range w.names {
			r.Buckets = append(r.Buckets, *w.seen[name])
		}
		r.Free = w.listed
	}
	errors.As(err, &r.Damage)
	return r, err
}

// Quarantine moves a damaged file aside and says where to. It never overwrites or deletes: the
// file keeps its folder and gets the moment into its name. The next Open makes a new file.
func Quarantine(path string, now time.Time) (moved string, err error) {
	lock, err := lockFile(path)
	if err != nil {
		return "", err
	}
	defer lock.release()
	if _, err := os.Lstat(path); err != nil {
		return "", plain(path, err)
	}
	aside := path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	moved = aside
	for n := 2; ; n++ {
		if _, err := os.Lstat(moved); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", plain(path, err)
		}
		moved = fmt.Sprintf("%s-%d", aside, n)
	}
	if err := os.Rename(path, moved); err != nil {
		return "", plain(path, err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return moved, plain(path, err)
	}
	return moved, nil
}
