package demo

import (
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// served is what the customers were answered: their own count, beside that of the pods.
type served struct {
	mu     sync.Mutex
	counts map[answer]int
	lost   int // requests without an answer
}

// answer is one kind of answer.
type answer struct {
	route string
	code  int
}

func (s *served) count(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[answer]int{}
	}
	s.counts[a]++
}

func (s *served) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost++
}

// sofar is what was counted until now.
func (s *served) sofar() (counts map[answer]int, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts), s.lost
}

const (
	beat     = 100 * time.Millisecond // how often customers come in
	crowd    = 128                    // how many wait at most; more stay away
	patience = 10 * time.Second       // how long one waits
)

// customers come at the story's rates until ctx ends.
func (s *Shop) customers(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: patience}
	defer client.CloseIdleConnections()
	var waiting errgroup.Group
	waiting.SetLimit(crowd)
	defer func() { _ = waiting.Wait() }() // a visit counts its failure, and returns none

	t := time.NewTicker(beat)
	defer t.Stop()
	dice := rand.New(rand.NewPCG(s.story.seed, 0))
	due := map[*route]float64{}
	turn := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		for _, service := range services {
			for _, r := range service.routes {
				// Twice a random share is a whole on the mean: customers come in bunches.
				due[r] += s.story.rate(r, s.minute()) * beat.Seconds() * 2 * dice.Float64()
				for ; due[r] >= 1; due[r]-- {
					turn++
					p := s.enter(service, turn)
					if p == nil {
						continue // all pods of the service are away
					}
					came := waiting.TryGo(func() error {
						defer p.busy.Done()
						s.visit(ctx, client, p, r)
						return nil
					})
					if !came {
						p.busy.Done()
					}
				}
			}
		}
	}
}

// enter is a pod of the service that let a customer in, each in its turn; nil when none did.
func (s *Shop) enter(service *service, turn int) *pod {
	for i := range s.pods {
		if p := s.pods[(turn+i)%len(s.pods)]; p.service == service && p.enter() {
			return p
		}
	}
	return nil
}

// visit makes one request and counts its answer.
func (s *Shop) visit(ctx context.Context, client *http.Client, p *pod, r *route) {
	req, err := http.NewRequestWithContext(ctx, r.method, p.url(r.path), nil)
	if err == nil {
		var resp *http.Response
		if resp, err = client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // so that the connection can be used again
			resp.Body.Close()
			s.served.count(answer{r.path, resp.StatusCode})
			return
		}
	}
	if ctx.Err() == nil {
		s.served.lose()
		s.log.Debug("customer got no answer", "pod", p.name, "route", r.path, "err", err)
	}
}
