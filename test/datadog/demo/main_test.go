package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// screen is what a person would see.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// Within a minute somebody without an account sees numbers that Datadog answers.
func TestDemoShowsWhatDatadogAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of traffic")
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var out, problems screen
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"--web.listen-address=127.0.0.1:0"}, &out, &problems) }()
	answered := regexp.MustCompile(`slo:checkout-availability,service:checkout +[0-9.]+\n(?s:.*)kube_deployment:checkout +[0-9.-]+\n`)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !answered.MatchString(out.String()) {
		select {
		case c := <-code:
			t.Fatalf("ended with %d: %s%s", c, out.String(), problems.String())
		case <-again.C:
		}
	}
	stop()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d", c)
	}
	if strings.Contains(problems.String(), "level=ERROR") {
		t.Errorf("problems: %s", problems.String())
	}
}
