package cloudwatch

import (
	"fmt"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Cost is what asking for the present costs a month of 30 days. It is an estimate: the price is a
// region's, history and listings are small beside it and left out, and of several statistics of one
// metric each counts, though AWS may bill up to five of them as one.
type Cost struct {
	Metrics int           // asked for every time: statistics of metrics
	Silent  int           // and so many more while there is no traffic
	Every   time.Duration // how often that is
	Price   float64       // US dollars for a thousand; 0: nobody said
}

// Monthly are the metrics that are asked for in 30 days, at most.
func (c Cost) Monthly() float64 {
	return float64(c.Metrics+c.Silent) * float64(30*slo.Day) / float64(c.Every)
}

// Dollars are what these cost, at most.
func (c Cost) Dollars() float64 { return c.Monthly() / 1000 * c.Price }

// String says it for people.
func (c Cost) String() string {
	noun := "metrics"
	if c.Metrics == 1 {
		noun = "metric"
	}
	out := fmt.Sprintf("%d %s every %s", c.Metrics, noun, slo.FormatDuration(c.Every))
	if c.Silent > 0 {
		out += fmt.Sprintf(", %d more while all is silent", c.Silent)
	}
	if out += fmt.Sprintf(": at most %.0f a month", c.Monthly()); c.Price > 0 {
		out += fmt.Sprintf(", some %.2f USD", c.Dollars())
	}
	return out
}

func (s *Source) cost(works []*work) Cost {
	every := max(minutes, time.Duration(s.tick)*time.Millisecond)
	c := Cost{Metrics: distinct(works, (*work).counts), Every: every, Price: s.config.PricePer1000}
	var silent []*work
	for _, w := range works {
		if w.q.scope.Alive != "" {
			silent = append(silent, w)
		}
	}
	c.Silent = distinct(silent, (*work).heartbeats)
	return c
}

// tell logs what asking costs, at the start and when it changes.
func (s *Source) tell(works []*work) {
	c := s.cost(works)
	s.mu.Lock()
	news := c != s.told
	s.told = c
	s.mu.Unlock()
	if news {
		s.log.Info("cloudwatch bills what is asked for", "from", s.name, "metrics", c.Metrics, "every", slo.FormatDuration(c.Every),
			"monthly", int64(c.Monthly()), "usd", fmt.Sprintf("%.2f", c.Dollars()))
	}
}
