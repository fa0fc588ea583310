package scrape

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// pods are the targets that a cluster names. A turn owns them.
type pods struct {
	find    func(context.Context) ([]string, error)
	like    Discovery
	fixed   []*target // those that are configured
	trouble string    // why they could not be found last; "" when they could
}

// discover has the targets of this turn be those that are configured and the pods that there are now. A
// pod that comes again, or stays, is the same target. When nobody can say which there are, those of the
// last turn are asked; it fails when there is none to ask.
func (s *Source) discover(ctx context.Context) error {
	p := s.pods
	if p == nil {
		return nil
	}
	if p.find == nil {
		return errors.New("kubernetes: nobody was given to ask for pods")
	}
	addresses, err := p.find(ctx)
	if err != nil {
		err = fmt.Errorf("kubernetes: pods: %w", err)
		if len(s.targets) == 0 {
			return err
		}
		if text := err.Error(); text != p.trouble {
			p.trouble = text
			s.log.Warn("pods are not known, those of before are asked", "source", s.name, "err", err)
		}
		return nil
	}
	p.trouble = ""
	next := slices.Clone(p.fixed)
	for _, address := range addresses {
		t, err := newTarget(p.like.Scheme + "://" + address + p.like.Path)
		if err != nil {
			return fmt.Errorf("kubernetes: pod %s: %w", address, err)
		}
		same := func(o *target) bool { return o.instance == t.instance && o.page == t.page }
		if slices.ContainsFunc(next, same) {
			continue // it is configured too: its series would count twice
		}
		if i := slices.IndexFunc(s.targets, same); i >= 0 {
			t = s.targets[i]
		} else {
			s.log.Debug("target found", "source", s.name, "target", t.String())
		}
		next = append(next, t)
	}
	for _, t := range s.targets {
		if !slices.Contains(next, t) {
			s.log.Debug("target gone", "source", s.name, "target", t.String())
		}
	}
	s.targets = next
	if len(next) == 0 {
		return fmt.Errorf("kubernetes: no pod runs that selector %q and port %q mean", p.like.Selector, p.like.Port)
	}
	return nil
}
