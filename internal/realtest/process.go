package realtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// ErrEnded says that a process is gone that was waited for.
var ErrEnded = errors.New("the process has ended")

// Poll asks until the condition holds. It gives up when ctx ends or the process does.
func Poll(ctx context.Context, ended <-chan struct{}, condition func() bool) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ended:
			return ErrEnded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Process is a running program with one goroutine that waits for its end.
type Process struct {
	command *exec.Cmd
	done    chan struct{} // closed at its end
	err     error         // how it ended; read after done
}

// Start starts a program.
func Start(command *exec.Cmd) (*Process, error) {
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &Process{command: command, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = command.Wait()
	}()
	return p, nil
}

// Done is closed at the program's end.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop asks the program to end, as an operator does, and says how it did; one that does not in time
// is killed.
func (p *Process) Stop(patience time.Duration) error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("still running %s after SIGTERM", patience)
	}
}

// Kill ends the program as a crash does.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // fails only when it is gone already
	<-p.done
}

// Journal collects what a process writes while others read it.
type Journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *Journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
