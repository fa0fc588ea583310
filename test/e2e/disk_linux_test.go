package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// The child of a test is this test binary run again; it sees its task and its folder in the
// environment.
const (
	childTask = "YOYU_E2E_CHILD"
	childPath = "YOYU_E2E_PATH"
)

// ownDisk runs the test again in a child with a mount namespace of its own, in which it is given a
// folder that is a small disk. ok is false in the parent. Where mounting is not permitted the test
// is skipped.
func ownDisk(t *testing.T, options string) (dir string, ok bool) {
	t.Helper()
	if os.Getenv(childTask) == t.Name() {
		dir = os.Getenv(childPath)
		if err := syscall.Mount("none", dir, "tmpfs", 0, options); err != nil {
			fmt.Println("cannot mount:", err)
			t.Skip("a tmpfs cannot be mounted here: ", err)
		}
		return dir, true
	}
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), childTask+"="+t.Name(), childPath+"="+t.TempDir(), builtPath+"="+binaries)
	c.Stderr = os.Stderr
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

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 16, 1 << 12, 1} { // to the last byte
		for b := make([]byte, size); ; {
			if _, err := f.Write(b); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				break
			}
		}
	}
}

// notDurable waits until yoyu says so everywhere: the series that the rule YoyuStateNotDurable asks
// for, the page with the reason, and it is ready all the same and goes on counting.
func (y *yoyu) notDurable(reason string) {
	y.t.Helper()
	y.shows("yoyu_store_writable 0")
	until(y.t, "a notice on the page", func() (bool, string) {
		text, err := get("http://" + y.address + "/")
		if err != nil {
			return false, err.Error()
		}
		_, notice, found := strings.Cut(text, "The state is not durable, a restart would have to ask for everything again: ")
		notice, _, _ = strings.Cut(notice, "</p>")
		return found && strings.Contains(notice, reason), fmt.Sprintf("notice %q", notice)
	})
	before := y.counted()
	until(y.t, "counting from memory", func() (bool, string) {
		got := y.counted()
		return got.total > before.total, fmt.Sprintf("%+v", got)
	})
	if _, err := get("http://" + y.address + "/-/ready"); err != nil {
		y.t.Errorf("not ready: %v", err)
	}
}

// durableAgain waits until the series and the page are as before.
func (y *yoyu) durableAgain() {
	y.t.Helper()
	y.shows("yoyu_store_writable 1")
	until(y.t, "the notice goes", func() (bool, string) {
		text, err := get("http://" + y.address + "/")
		return err == nil && !strings.Contains(text, "is not durable"), fmt.Sprint(err)
	})
}

// The disk fills up under a running daemon and is freed again, several times: yoyu goes on from
// memory, says so, becomes durable again by itself, and then a kill -9 loses nothing. Neither does
// one while the disk is full: the next life begins with what was durable, and the target's own
// counters say what came after.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk, ok := ownDisk(t, "size=12m")
	if !ok {
		return
	}
	page := newClimb(t, 200)
	file, data, ballast := page.config(t), filepath.Join(disk, "data"), filepath.Join(disk, "ballast")
	y := runOn(t, file, data)
	y.shows("yoyu_store_writable 1")
	free := func() {
		t.Helper()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		fill(t, ballast)
		y.notDurable("the disk is full")
		free()
		y.durableAgain()
	}
	all := page.between(1, page.stand())
	y.counts("every page", all)
	y.kill()
	if got := dumped(t, data); got != all {
		t.Errorf("after the kill the state holds %+v, want %+v", got, all)
	}
	y = runOn(t, file, data)
	if got := y.counted(); got != all {
		t.Errorf("the next life begins with %+v, want %+v", got, all)
	}

	page.on()
	fill(t, ballast)
	y.notDurable("the disk is full")
	y.kill()
	y = runOn(t, file, data) // on a full disk
	y.notDurable("the disk is full")
	free()
	y.durableAgain()
	all = page.between(1, page.stand())
	y.counts("every page, of all lives", all)
	y.kill()
	if got := dumped(t, data); got != all {
		t.Errorf("in the end the state holds %+v, want %+v", got, all)
	}
}

// A disk that is read-only when yoyu starts, first without a state, then with one: the same.
func TestDiskReadOnly(t *testing.T) {
	t.Parallel()
	disk, ok := ownDisk(t, "size=12m")
	if !ok {
		return
	}
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("none", disk, "tmpfs", syscall.MS_REMOUNT|flags, "size=12m"); err != nil {
			t.Fatal(err)
		}
	}
	page := newClimb(t, 20)
	file, data := page.config(t), filepath.Join(disk, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"without a state", "with a state"} {
		page.on()
		remount(syscall.MS_RDONLY)
		y := runOn(t, file, data)
		y.notDurable("the file system is read-only")
		remount(0)
		y.durableAgain()
		all := page.between(1, page.stand())
		y.counts(name+": every page", all)
		y.kill()
		if got := dumped(t, data); got != all {
			t.Errorf("%s: after the kill the state holds %+v, want %+v", name, got, all)
		}
	}
}

// Every write of the running daemon fails, whatever the disk has: the limit of ulimit -f is taken
// from it and given back.
func TestEveryWriteFails(t *testing.T) {
	t.Parallel()
	page := newClimb(t, 20)
	file, data := page.config(t), filepath.Join(t.TempDir(), "data")
	y := runOn(t, file, data)
	y.shows("yoyu_store_writable 1")
	var was syscall.Rlimit // that of this process, which yoyu has too
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limit := func(size uint64) {
		t.Helper()
		now := syscall.Rlimit{Cur: size, Max: was.Max}
		_, _, err := syscall.Syscall6(syscall.SYS_PRLIMIT64, uintptr(y.cmd.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if err != 0 {
			t.Fatal(err)
		}
	}
	for range 2 {
		limit(0)
		y.notDurable("the file may not grow any further")
		limit(was.Cur)
		y.durableAgain()
	}
	all := page.between(1, page.stand())
	y.counts("every page", all)
	y.kill()
	if got := dumped(t, data); got != all {
		t.Errorf("after the kill the state holds %+v, want %+v", got, all)
	}
}
