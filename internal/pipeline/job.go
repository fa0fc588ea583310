package pipeline

import (
	"context"
	"sync"
	"time"
)

// job is one piece of work at a time, in a goroutine of its own, with a result to be fetched.
type job[T any] struct {
	mu     sync.Mutex
	active bool
	done   chan struct{} // closed when the present work has ended
	value  T
	err    error
	ready  bool
}

func newJob[T any]() *job[T] { return &job[T]{} }

// start begins the work; it must not be busy. limit bounds it when positive; then, when given, is
// called once the result can be fetched.
func (j *job[T]) start(ctx context.Context, running *sync.WaitGroup, limit time.Duration, work func(context.Context) (T, error), then ...func()) {
	done := make(chan struct{})
	j.mu.Lock()
	j.active, j.done, j.ready = true, done, false
	j.mu.Unlock()
	running.Go(func() {
		stop := func() {}
		if limit > 0 {
			ctx, stop = context.WithTimeout(ctx, limit)
		}
		defer stop()
		value, err := work(ctx)
		j.mu.Lock()
		j.value, j.err, j.ready, j.active = value, err, true, false
		j.mu.Unlock()
		close(done)
		for _, f := range then {
			f()
		}
	})
}

// busy reports whether work goes on.
func (j *job[T]) busy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.active
}

// ended is closed when the present work has ended.
func (j *job[T]) ended() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.active {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return j.done
}

// take fetches the result, once.
func (j *job[T]) take() (value T, err error, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.ready {
		return value, nil, false
	}
	j.ready = false
	value, err = j.value, j.err
	var zero T
	j.value, j.err = zero, nil
	return value, err, true
}
