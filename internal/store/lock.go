package store

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lock is the file beside the state file that says who has it: it is locked by the process whose
// number stands in it. bbolt locks the state file itself as well, but lets go of it whenever the
// store has to open it anew.
type lock struct {
	f *os.File // nil: the folder cannot be written to, so nobody can write the state either
}

const (
	lockSuffix = ".lock"
	lockWait   = time.Second // a predecessor may just be leaving
	lockRetry  = 20 * time.Millisecond
)

// lockFile takes the lock for the state file at path.
func lockFile(path string) (lock, error) {
	f, err := os.OpenFile(path+lockSuffix, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, fs.ErrPermission):
		return lock{}, nil // bbolt's own lock has to do
	case err != nil:
		return lock{}, plain(path, err)
	}
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockRetry) {
		ok, err := tryLock(f, false)
		if ok {
			break
		}
		if err != nil {
			f.Close()
			return lock{}, plain(path, err)
		}
		if time.Now().After(deadline) {
			f.Close()
			return lock{}, &LockedError{path, holder(path)}
		}
	}
	// The number is for people: a disk too full to hold it is no reason to stay away.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return lock{f}, nil
}

func (l lock) release() {
	if l.f != nil {
		_ = l.f.Truncate(0)
		l.f.Close()
	}
}

// holder is the process that has the state file at path, or 0.
func holder(path string) int {
	b, err := os.ReadFile(path + lockSuffix)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}
