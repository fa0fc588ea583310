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

// Somebody without an account sees numbers that Datadog answers, monitors and dashboards made once, and
// an SLO that is counted from there: 0.2 % of bad events spend a fifth of what 99 % allows.
func TestDemoShowsWhatDatadogAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of traffic")
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out, problems screen
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"--web.listen-address=127.0.0.1:0"}, &out, &problems) }()
	answered := regexp.MustCompile(`slo:checkout-availability,service:checkout +[0-9.]+\n(?s:.*)kube_deployment:checkout +[0-9.-]+\n` +
		`(?s:.*)\n +7 to create, 0 to update, 0 to delete, 0 as they should be\n(?s:.*)\n +0 to create, 0 to update, 0 to delete, 7 as they should be\n` +
		`(?s:.*)\n +gateway-availability +99% +7d +[0-9,]+ +\d+ +(79|80)\.\d\d% .* quiet .*\n(?s:.*)/_fake/slos\.\n`)
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
