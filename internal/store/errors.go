package store

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Damage says that a file does not hold what was written to it: which file, where, what it
// concerns, and the way on.
type Damage struct {
	Path     string
	Place    string   // where in the file the first fault is: "page 17, byte 69632"
	Affected []string // what cannot be vouched for, in the words of Options.Describe; none: every record was found whole
	Err      error    // the first fault
}

// shown is how many affected records an error names.
const shown = 8

func (d *Damage) Error() string {
	affected := "no record: all of them were found whole"
	if n := len(d.Affected); n > 0 {
		affected = strings.Join(d.Affected[:min(n, shown)], "; ")
		if n > shown {
			affected += fmt.Sprintf("; and %d more", n-shown)
		}
	}
	return fmt.Sprintf("state file %s is damaged at %s: %v. Affected: %s. Nothing was changed. "+
		"Put a backup in its place, or start with --storage.on-corruption=quarantine, "+
		"which keeps the file aside and asks the sources again", d.Path, d.Place, d.Err, affected)
}

func (d *Damage) Unwrap() error { return d.Err }

// FormatError says that a file was written by a newer yoyu than this one. It is left untouched.
type FormatError struct {
	Path   string
	What   string // "format" of the records, or "page format" of bbolt
	Found  int
	Newest int // the newest that this program reads
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("state file %s was written by a newer yoyu: %s %d, this one reads up to %d. "+
		"It was left untouched: run the newer version, or give another --storage.path",
		e.Path, e.What, e.Found, e.Newest)
}

// LockedError says that another process has the file open.
type LockedError struct {
	Path string
	PID  int // 0: unknown
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("state file %s is in use by %s: every yoyu needs a --storage.path of its own", e.Path, who)
}

// ErrClosed is what a closed Store answers.
var ErrClosed = errors.New("state file is closed")

// troubles puts what a disk may say into plain words.
var troubles = []struct {
	cause syscall.Errno
	words string
}{
	{syscall.ENOSPC, "the disk is full"},
	{syscall.EDQUOT, "the disk quota is used up"},
	{syscall.EROFS, "the file system is read-only"},
	{syscall.EIO, "the disk reports an input/output error"},
	{syscall.EFBIG, "the file may not grow any further (limit of the process or of the file system)"},
	{syscall.EACCES, "permission denied"},
	{syscall.EPERM, "the operation is not permitted"},
	{syscall.ENOMEM, "out of memory"},
	{syscall.EMFILE, "too many open files"},
}

// plain says in plain words what went wrong with the file at path. The cause stays in the chain,
// also where bbolt wrapped nothing but its text.
func plain(path string, err error) error {
	for _, t := range troubles {
		if errors.Is(err, t.cause) {
			return fmt.Errorf("state file %s: %s: %w", path, t.words, err)
		}
		if strings.HasSuffix(err.Error(), t.cause.Error()) {
			return fmt.Errorf("state file %s: %s: %w", path, t.words, &caused{err, t.cause})
		}
	}
	return fmt.Errorf("state file %s: %w", path, err)
}

// caused is an error whose text ends with that of its cause, which it did not wrap.
type caused struct {
	error
	cause error
}

func (c *caused) Unwrap() error { return c.cause }
