// Package demo is a shop to try yoyu on: services with routes and pods, customers, and a month of
// history with its incidents.
//
// Everything about the shop is as real as it gets on one machine. Every pod is an HTTP server on a
// loopback port with its own Prometheus registry; its handlers count and time what they answer;
// customers are HTTP requests. Pods restart now and then on the port they had, an incident comes
// up now and then, and /pay of checkout is in trouble from the start, so that there is something
// to see.
//
//	           ┌─ story: how busy, how ill, by seed and minute ─┐
//	           ▼                                                ▼
//	history (OpenMetrics text, up to the opening)   customers ──HTTP──▶ pods ──▶ /metrics
//
// The story counts its minutes from the opening of the shop. Before the opening they are history,
// written as text; from the opening on customers live through them. At the opening every pod is
// rolled out anew, so the counters of the pods start at zero and the history's end where they are:
// to whoever scrapes, the shop is a stranger.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Shop is the demo's shop. Its history can be written at any time; the rest is there from Start
// until Start's context ends.
type Shop struct {
	story  *story
	log    *slog.Logger
	pods   []*pod
	intake *Intake
	beyond string // address of another Datadog than the shop's own; "" without
	still  bool   // nothing happens after the opening

	dir     string // files that the configuration names
	own     bool   // dir was made here
	address string // of the intake
	started time.Time

	running sync.WaitGroup
	served  served
}

// Options are what a shop is made of.
type Options struct {
	Seed   int64        // equal seeds tell equal stories
	Now    time.Time    // the opening, kept to whole multiples of five seconds; zero is now
	Dir    string       // where the files that the configuration names go; "" is a temporary folder
	Intake string       // address of the Datadog that the configuration names; "" is the shop's own
	Still  bool         // no customer comes, no pod restarts: the shop stays as it was at the opening
	Logger *slog.Logger // nil: silent
}

// New makes a shop that is still closed.
func New(o Options) *Shop {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Shop{story: newStory(o.Seed, o.Now), log: o.Logger, dir: o.Dir, intake: NewIntake(), beyond: o.Intake, still: o.Still}
	for _, service := range services {
		for i := range service.pods {
			s.pods = append(s.pods, newPod(s.story, service, i))
		}
	}
	return s
}

// Opening is the moment at which the history ends and the pods begin: the last tick of the demo's
// configuration at or before Options.Now, so that the last minute of the history ends on a tick.
func (s *Shop) Opening() time.Time { return time.Unix(s.story.opening, 0).UTC() }

// Start opens the shop: pods, customers, and a Datadog intake. It returns once all of them answer;
// they go on until ctx ends, and Wait waits for that.
func (s *Shop) Start(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return fmt.Errorf("shop: %w", err)
	}
	if s.still {
		return nil
	}
	s.running.Go(func() {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return s.customers(ctx) })
		g.Go(func() error { return s.restarts(ctx) })
		g.Go(func() error { return s.cluster(ctx) })
		if err := g.Wait(); err != nil && ctx.Err() == nil {
			s.log.Error("shop closed early", "err", err)
		}
	})
	return nil
}

// Wait returns when nothing of the shop is left running, soon after Start's context has ended.
func (s *Shop) Wait() { s.running.Wait() }

// open writes the files and starts the servers, all or none. They end with ctx.
func (s *Shop) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
			s.running.Wait()
		}
	}()
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "yoyu-demo-"); err != nil {
			cancel()
			return err
		}
		s.own = true
	}
	s.started = time.Now()
	s.running.Go(func() {
		<-ctx.Done()
		for _, p := range s.pods {
			p.close()
		}
		if s.own {
			if err := os.RemoveAll(s.dir); err != nil {
				s.log.Warn("files of the demo are left", "dir", s.dir, "err", err)
			}
		}
		cancel()
	})
	if err := s.writeObjects(s.Opening()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, keyFile), []byte(Key+"\n"), 0o600); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("intake: %w", err)
	}
	s.address = l.Addr().String()
	intake := &http.Server{Handler: s.intake, ReadHeaderTimeout: 10 * time.Second}
	s.running.Go(func() { serve(intake, l, s.log) })
	s.running.Go(func() { <-ctx.Done(); intake.Close() })
	for _, p := range s.pods {
		if err := s.begin(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// begin gives a pod a life: new counters, and a server on its port.
func (s *Shop) begin(ctx context.Context, p *pod) error {
	if err := p.begin(ctx, s.minute); err != nil {
		return fmt.Errorf("pod %s: %w", p.name, err)
	}
	server, listener := p.serving()
	s.running.Go(func() { serve(server, listener, s.log) })
	return nil
}

// serve serves until the server is closed.
func serve(server *http.Server, l net.Listener, log *slog.Logger) {
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Error("demo server stopped", "address", l.Addr(), "err", err)
	}
}

// minute is the minute of the story that is being lived: 1 is the first after the opening.
func (s *Shop) minute() int64 { return 1 + int64(time.Since(s.started)/time.Minute) }

// restarts restarts a pod now and then, in the story's order.
func (s *Shop) restarts(ctx context.Context) error {
	for k := 0; ; k++ {
		which, after, away := s.story.restart(k, len(s.pods))
		if err := sleep(ctx, time.Until(s.started.Add(after))); err != nil {
			return err
		}
		if err := s.restart(ctx, s.pods[which], away); err != nil {
			return err
		}
	}
}

// restart lets a pod answer what it has begun, ends it, and starts it anew on the same port: to
// whoever scrapes, the same instance begins again.
func (s *Shop) restart(ctx context.Context, p *pod, away time.Duration) error {
	s.log.Info("pod restarts", "pod", p.name)
	p.end(ctx)
	if err := sleep(ctx, away); err != nil {
		return err
	}
	for {
		err := s.begin(ctx, p)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		s.log.Warn("pod does not come back yet", "err", err) // somebody else has its port
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// sleep waits, at most until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
