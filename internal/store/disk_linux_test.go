package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// ownMounts runs the test again in a child with a mount namespace of its own, in which it is given
// a folder on a small file system. It is false in the parent.
func ownMounts(t *testing.T, options string) (dir string, ok bool) {
	t.Helper()
	dir, ok = inChild(t)
	if ok {
		if err := syscall.Mount("none", dir, "tmpfs", 0, options); err != nil {
			fmt.Println("cannot mount:", err)
			t.Skip("a tmpfs cannot be mounted here: ", err)
		}
		return dir, true
	}
	c := child(t, t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := c.Output()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Skip("namespaces are not permitted here: ", err)
	}
	if strings.Contains(string(out), "cannot mount:") {
		t.Skipf("a tmpfs cannot be mounted here: %s", out)
	}
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	return "", false
}

// fails expects a Commit to fail for a cause that the error wraps and says in plain words.
func fails(t *testing.T, s *Store, cause error, words string, records ...Record) {
	t.Helper()
	err := s.Commit(records)
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "state file "+s.path+": "+words+": ") {
		t.Fatalf("Commit: %v, want %v", err, cause)
	}
}

// The disk fills up and is freed again, 60 times, with another number of bytes left each time. A
// commit that fails changes nothing, and the same commit works when there is space.
func TestDiskFull(t *testing.T) {
	dir, ok := ownMounts(t, "size=16m")
	if !ok {
		return
	}
	path, ballast := filepath.Join(dir, "state.db"), filepath.Join(dir, "ballast")
	s := open(t, path)
	rng := rand.New(rand.NewPCG(7, 8))
	want := contents{}
	failures := 0
	for cycle := range 60 {
		var records []Record
		for i := range 3 + cycle {
			records = append(records, set("slots", fmt.Sprintf("%03d", i), strings.Repeat(fmt.Sprintf("%03d", cycle), 1000+rng.IntN(3)*9000)))
		}
		if cycle%5 == 4 {
			records = append(records, set("slots", "large", strings.Repeat(fmt.Sprint(cycle%10), 100_000+cycle*3000)))
		}
		free := fill(t, ballast, cycle%20*pageSize)
		if err := s.Commit(records); err == nil {
			want.apply(records) // the file had free pages enough
		} else if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full") {
			t.Fatalf("cycle %d, %d bytes free: %v", cycle, free, err)
		} else {
			failures++
			expect(t, s, want)
			if cycle%3 == 0 {
				fails(t, s, syscall.ENOSPC, "the disk is full", records...)
				expect(t, s, want)
			}
			if cycle%4 == 0 { // a restart on a full disk
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, path)
				expect(t, s, want)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			commit(t, s, records...)
			want.apply(records)
		}
		expect(t, s, want)
		os.Remove(ballast)
	}
	s.Close()
	r, err := Verify(path, Options{})
	if err != nil || r.FellBack {
		t.Errorf("%+v, %v", r, err)
	}
	fmt.Println(failures, "commits met a full disk")
	if failures < 20 {
		t.Errorf("only %d commits met a full disk", failures)
	}
	fill(t, ballast, 0)
	if _, err := Open(filepath.Join(dir, "other.db"), Options{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a new file on a full disk: %v", err)
	}
}

// fill writes a file until the disk is full but for about free bytes.
func fill(t *testing.T, path string, free int) int {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(0)
	for b := make([]byte, 64<<10); ; {
		n, err := f.Write(b)
		size += int64(n)
		if err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			break
		}
	}
	if err := f.Truncate(max(0, size-int64(free))); err != nil {
		t.Fatal(err)
	}
	return free
}

// A read-only file system: an existing file is loaded, Commit says why it cannot, and works once
// the file system is writable.
func TestReadOnly(t *testing.T) {
	dir, ok := ownMounts(t, "size=8m")
	if !ok {
		return
	}
	path := filepath.Join(dir, "state.db")
	s := open(t, path)
	commit(t, s, set("slots", "a", "1"))
	s.Close()
	remount := func(flags uintptr) {
		if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|flags, "size=8m"); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	if _, err := Open(filepath.Join(dir, "missing.db"), Options{}); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "the file system is read-only") {
		t.Error("a new file:", err)
	}
	if r, err := Verify(path, Options{}); err != nil || len(r.Buckets) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	s = open(t, path)
	for range 3 {
		expect(t, s, contents{"slots/a": "1"})
		fails(t, s, syscall.EROFS, "the file system is read-only", set("slots", "b", "2"))
	}
	var copied strings.Builder
	if err := s.Backup(&copied); err != nil || copied.Len() == 0 {
		t.Error("backup:", err)
	}
	remount(0)
	commit(t, s, set("slots", "b", "2"))
	expect(t, s, contents{"slots/a": "1", "slots/b": "2"})
	s.Close()
	expect(t, open(t, path), contents{"slots/a": "1", "slots/b": "2"})
}

// The limit of ulimit -f.
func TestFileSizeLimit(t *testing.T) {
	path, ok := inChild(t)
	if !ok {
		if out, err := child(t, filepath.Join(t.TempDir(), "state.db")).Output(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limit := func(size uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, path)
	want := contents{}
	for i := range 10 {
		small := set("slots", fmt.Sprint(i), "1")
		commit(t, s, small)
		want.apply([]Record{small})
		limit(uint64(s.Size()) + 7*pageSize)
		big := set("slots", fmt.Sprint("big ", i), strings.Repeat(fmt.Sprint(i), 2*growth))
		fails(t, s, syscall.EFBIG, "the file may not grow any further (limit of the process or of the file system)", big)
		expect(t, s, want)
		limit(was.Cur)
		commit(t, s, big)
		want.apply([]Record{big})
		expect(t, s, want)
	}
}

// swap makes f refer to another open file, so that what is done with it fails as that file does.
// The way back makes it refer to the file at path.
func swap(t *testing.T, f *os.File, path string, flag int) {
	t.Helper()
	g, err := os.OpenFile(path, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := syscall.Dup3(int(g.Fd()), int(f.Fd()), syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

// nowhere answers EIO to every read and write at the offsets of a small file: the first pages of a
// process are never mapped.
const nowhere = "/proc/self/mem"

func TestInputOutputError(t *testing.T) {
	s, path := fresh(t)
	want := contents{}
	for i := range 8 { // leaves free pages, so that the next commit need not grow the file
		r := set("slots", fmt.Sprint(i%3), strings.Repeat("x", 5000))
		commit(t, s, r)
		want.apply([]Record{r})
	}
	for i := range 3 {
		r := set("slots", fmt.Sprint(i), strings.Repeat("y", 5000))
		swap(t, s.handle, nowhere, os.O_RDWR)
		fails(t, s, syscall.EIO, "the disk reports an input/output error", r)
		expect(t, s, want)
		commit(t, s, r)
		want.apply([]Record{r})
		expect(t, s, want)
	}
	// Reading fails: nothing is handed over as if it were all.
	swap(t, s.file, nowhere, os.O_RDONLY)
	if _, err := loaded(s); err == nil {
		t.Error("what cannot be read was loaded")
	}
	if err := s.Backup(&strings.Builder{}); err == nil {
		t.Error("what cannot be read was backed up")
	}
	swap(t, s.file, path, os.O_RDWR)
	expect(t, s, want)
	s.Close()
	expect(t, open(t, path), want)
}

// The last sync fails, after the meta page was written: the commit is reported as failed, so it
// must not be there, neither for this process nor for the next, also when putting it right fails
// for a while.
func TestLastSyncFails(t *testing.T) {
	s, path := fresh(t)
	want := contents{}
	for i := range 12 {
		r := set("slots", fmt.Sprint(i%4), strings.Repeat(fmt.Sprint(i), 3000))
		s.afterCommit = func() error { return os.NewSyscallError("fdatasync", syscall.EIO) }
		if i%2 == 1 {
			swap(t, s.file, path, os.O_RDONLY) // the way back fails too
		}
		fails(t, s, syscall.EIO, "the disk reports an input/output error", r)
		s.afterCommit = nil
		expect(t, s, want)
		if i%3 == 0 {
			again := set("slots", "other", fmt.Sprint(i))
			commit(t, s, again)
			want.apply([]Record{again})
			expect(t, s, want)
		}
		if i%2 == 0 || i%3 == 0 { // what a crash would leave
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			crashed := filepath.Join(t.TempDir(), "state.db")
			if err := os.WriteFile(crashed, file, 0o600); err != nil {
				t.Fatal(err)
			}
			c := open(t, crashed)
			expect(t, c, want)
			c.Close()
		}
		commit(t, s, r)
		want.apply([]Record{r})
		expect(t, s, want)
	}
	s.Close()
	expect(t, open(t, path), want)
}

// The file is cut or spoilt under the feet of a running store: an error, not a fault; and when it is
// whole again, the store goes on.
func TestChangedFromOutside(t *testing.T) {
	s, path := fresh(t)
	want := contents{}
	for i := range 50 {
		r := set("slots", fmt.Sprintf("%02d", i), strings.Repeat("x", 3000))
		commit(t, s, r)
		want.apply([]Record{r})
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	restore := func() {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(whole, 0); err != nil {
			t.Fatal(err)
		}
	}
	next := set("slots", "00", "next")
	damaged := func(what string) {
		t.Helper()
		if err := s.Commit([]Record{next}); !errors.As(err, new(*Damage)) {
			t.Errorf("%s: Commit: %v", what, err)
		}
		if _, err := loaded(s); !errors.As(err, new(*Damage)) {
			t.Errorf("%s: Load: %v", what, err)
		}
	}
	if err := os.Truncate(path, 3*pageSize); err != nil {
		t.Fatal(err)
	}
	damaged("cut")
	high := s.meta.high
	s.meta.high = 2 // as if it had been cut a moment later: bbolt touches what is not there
	if err := s.Commit([]Record{next}); !errors.As(err, new(*Damage)) || !strings.Contains(err.Error(), "memory fault") {
		t.Errorf("cut while it was written: %v", err)
	}
	s.meta.high = high
	damaged("cut, after a fault")
	restore()
	expect(t, s, want)
	commit(t, s, next)
	want.apply([]Record{next})
	expect(t, s, want)

	// Pages that bbolt reads turn into nonsense.
	if whole, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	junk := make([]byte, int(s.meta.high-2)*pageSize)
	for i := range junk {
		junk[i] = 0xd5
	}
	if _, err := f.WriteAt(junk, 2*pageSize); err != nil {
		t.Fatal(err)
	}
	damaged("spoilt")
	damaged("still spoilt")
	backup := slices.Clone(whole) // somebody writes another file over it: that one is left alone
	for i := range 2 {
		var m slot
		copy(m[:], whole[i*pageSize:])
		m = m.as(i, 1000+uint64(i))
		copy(backup[i*pageSize:], m[:])
	}
	if _, err := f.WriteAt(backup, 0); err != nil {
		t.Fatal(err)
	}
	s.undo = true // as after a failed last sync
	if err := s.Commit([]Record{next}); !errors.As(err, new(*Damage)) || !strings.Contains(err.Error(), "from outside") {
		t.Errorf("another file's bytes: %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now[:len(backup)], backup) {
		t.Error("another file's bytes were changed", err)
	}
	restore()
	expect(t, s, want)
	commit(t, s, next)
	s.Close()
	expect(t, open(t, path), want)
}

// A commit into a file that was deleted would be gone with the process.
func TestRemovedWhileOpen(t *testing.T) {
	s, path := fresh(t)
	commit(t, s, set("slots", "a", "1"))
	want := load(t, s)
	aside := path + ".aside"
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	fails(t, s, os.ErrNotExist, "gone while it was in use", set("slots", "b", "2"))
	if err := os.WriteFile(path, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit([]Record{set("slots", "b", "2")}); err == nil || !strings.Contains(err.Error(), "replaced by another file") {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "another" {
		t.Errorf("the other file holds %q, %v", got, err)
	}
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	if got := load(t, s); !maps.Equal(got, want) {
		t.Error(brief(got))
	}
	commit(t, s, set("slots", "b", "2"))
	expect(t, s, contents{"slots/a": "1", "slots/b": "2"})
}

func TestNetworkFileSystems(t *testing.T) {
	for _, c := range []struct {
		magic uint32
		name  string
	}{
		{0x6969, "NFS"}, {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"}, {0x517b, "SMB"},
		{0xef53, ""}, {0x58465342, ""}, {0x01021994, ""}, {0x794c7630, ""}, // ext4, XFS, tmpfs, overlay
	} {
		err := refuseMagic("/data", c.magic)
		if (err != nil) != (c.name != "") || err != nil && !strings.Contains(err.Error(), "state folder /data is on "+c.name+":") {
			t.Errorf("%#x: %v", c.magic, err)
		}
	}
	if err := refuseNetwork(t.TempDir()); err != nil {
		t.Error(err)
	}
}
