//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package store

import "os"

// tryLock leaves the lock to bbolt, which takes its own.
func tryLock(*os.File, bool) (bool, error) { return true, nil }

// unlock does nothing: a lock goes with the file.
func unlock(*os.File) {}

// syncDir does nothing: folders cannot be synced here.
func syncDir(string) error { return nil }
