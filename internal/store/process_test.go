package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A child is this test binary run again: the test of that name sees its task in the environment.
const (
	childTask = "YOYU_STORE_TEST_CHILD"
	childPath = "YOYU_STORE_TEST_PATH"
)

// child prepares the test of this name to run again in a process of its own.
func child(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), childTask+"="+t.Name(), childPath+"="+path)
	c.Stderr = os.Stderr
	return c
}

// inChild says whether this is the child of the test, and where its file is.
func inChild(t *testing.T) (path string, ok bool) {
	return os.Getenv(childPath), os.Getenv(childTask) == t.Name()
}

// slotOf is what commit n writes into its slot: of several sizes, and told from every other.
func slotOf(n int) string {
	return strings.Repeat(fmt.Sprintf("%08d", n), 1+n%7*40+n%11/10*large/8)
}

const keptSlots = 20

// killedCommits commits until it is killed, and says after each that it is done.
func killedCommits(t *testing.T, path string) {
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	fmt.Sscan(load(t, s)["progress/n"], &n)
	for {
		n++
		err := s.Commit([]Record{
			set("slots", fmt.Sprintf("%08d", n), slotOf(n)),
			set("progress", "n", fmt.Sprint(n)),
			drop("slots", fmt.Sprintf("%08d", n-keptSlots)),
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("done %d\n", n)
	}
}

// kill -9 at random moments, again and again on the same file: it always opens, and holds every
// commit that was done and of the next one all or nothing.
func TestKilled(t *testing.T) {
	if path, ok := inChild(t); ok {
		killedCommits(t, path)
	}
	s, path := fresh(t)
	s.Close()
	const kills = 30
	rng := rand.New(rand.NewPCG(5, 6))
	commits, between := 0, 0
	for range kills {
		c := child(t, path)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		done, enough := 0, 1+rng.IntN(25)
		var killed <-chan time.Time
		for lines.Scan() {
			if _, err := fmt.Sscanf(lines.Text(), "done %d", &done); err != nil {
				continue
			}
			commits++
			if enough--; enough == 0 {
				killed = time.After(time.Duration(rng.IntN(4000)) * time.Microsecond)
				go func() {
					<-killed
					c.Process.Kill()
				}()
			}
		}
		if err := c.Wait(); err == nil || enough > 0 {
			t.Fatalf("child ended by itself: %v", err)
		}
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := load(t, s)
		s.Close()
		var n int
		fmt.Sscan(got["progress/n"], &n)
		if n != done && n != done+1 || s.RolledBack {
			t.Fatalf("%d commits were done, the file holds %d", done, n)
		}
		if n > done {
			between++
		}
		want := contents{"progress/n": fmt.Sprint(n)}
		for k := max(1, n-keptSlots+1); k <= n; k++ {
			want[fmt.Sprintf("slots/%08d", k)] = slotOf(k)
		}
		if !maps.Equal(got, want) {
			t.Fatalf("after %d commits the file holds %s, want %s", n, brief(got), brief(want))
		}
	}
	t.Logf("%d kills, %d commits, %d of them on disk before they were reported", kills, commits, between)
	if commits < 5*kills {
		t.Errorf("only %d commits in %d runs: too few to prove anything", commits, kills)
	}
}

// Two processes: the second is told who has the file, and gets it when the first has gone.
func TestTwoProcesses(t *testing.T) {
	if path, ok := inChild(t); ok {
		s := open(t, path)
		commit(t, s, set("slots", "a", "of the child"))
		fmt.Println("open")
		io.Copy(io.Discard, os.Stdin)
		return
	}
	s, path := fresh(t)
	s.Close()
	c := child(t, path)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "open"; {
	}
	go io.Copy(io.Discard, out)
	for name, fn := range map[string]func() error{
		"Open":       func() error { _, err := Open(path, Options{}); return err },
		"Verify":     func() error { _, err := Verify(path, Options{}); return err },
		"Quarantine": func() error { _, err := Quarantine(path, time.Now()); return err },
	} {
		err := fn()
		l := new(LockedError)
		if !errors.As(err, &l) || l.PID != c.Process.Pid || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d:", l.PID)) {
			t.Errorf("%s beside process %d: %v", name, c.Process.Pid, err)
		}
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	expect(t, open(t, path), contents{"slots/a": "of the child"})
}

func TestOpenTwiceInOneProcess(t *testing.T) {
	_, path := fresh(t)
	_, err := Open(path, Options{})
	if l := new(LockedError); !errors.As(err, &l) || l.PID != os.Getpid() {
		t.Error(err)
	}
}
