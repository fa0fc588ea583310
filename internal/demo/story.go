package demo

import (
	"math"
	"time"
)

// service is one service of the shop.
type service struct {
	name   string
	pods   int
	routes []*route
	timed  bool // its history holds durations too: an objective asks for them
}

// route is one address of a service, and what is normal for it.
type route struct {
	method, path string
	rps          float64 // requests a second over all pods, on the mean of a day
	hours        hours   // how a day of it looks
	failing      float64 // share answered with broken
	slow         float64 // share that takes longer than 300 ms
	unknown      float64 // share answered with 404: the customer's fault, nobody's error
	broken       int     // the code of a failure
}

// hours is how busy an hour of the day is, with 1 for the mean.
type hours func(hour float64) float64

// always is a shop that never closes: quiet before dawn, busy in the afternoon.
func always(hour float64) float64 { return 1 + 0.55*math.Cos((hour-15)/24*2*math.Pi) }

// office is work that people do by day: none of it at night.
func office(hour float64) float64 {
	if hour < 6 || hour > 20 {
		return 0
	}
	return math.Pi / 2 * 24 / 14 * math.Sin((hour-6)/14*math.Pi)
}

var (
	cart   = &route{method: "GET", path: "/cart", rps: 10, hours: always, failing: 0.00008, slow: 0.002, broken: 500}
	pay    = &route{method: "POST", path: "/pay", rps: 4, hours: always, failing: 0.00012, slow: 0.004, broken: 503}
	browse = &route{method: "GET", path: "/browse", rps: 20, hours: always, failing: 0.0003, slow: 0.001, unknown: 0.015, broken: 500}
	search = &route{method: "GET", path: "/search", rps: 8, hours: always, failing: 0.0006, slow: 0.01, broken: 504}
	charge = &route{method: "POST", path: "/charge", rps: 4, hours: always, failing: 0.00005, slow: 0.003, broken: 502}
	refund = &route{method: "POST", path: "/refund", rps: 0.6, hours: office, failing: 0.0004, slow: 0.003, broken: 502}

	checkout = &service{name: "checkout", pods: 3, routes: []*route{cart, pay}, timed: true}
	catalog  = &service{name: "catalog", pods: 2, routes: []*route{browse, search}}
	payment  = &service{name: "payment", pods: 2, routes: []*route{charge, refund}}

	services = []*service{checkout, catalog, payment}
	routes   = []*route{cart, pay, browse, search, charge, refund}
)

// story is how busy and how ill the shop is: a function of the seed and the minute.
//
// Minutes are counted from the opening: minute k ends k minutes after it, so history is 0 and
// below. The time of day is that of the opening, so a shop that opens at night opens quietly.
type story struct {
	seed      uint64
	opening   int64 // Unix seconds
	incidents []incident
}

// incident is trouble with a route in the minutes from ≤ k < to.
type incident struct {
	route         *route
	from, to      int64
	failing, slow float64
}

const (
	month = 30 * 24 * 60 // behind the opening, in minutes
	tick  = 5            // of the demo's configuration, in seconds
)

func newStory(seed int64, now time.Time) *story {
	s := &story{seed: uint64(seed), opening: floorDiv(now.Unix(), tick) * tick}

	// What the month leaves behind is meant: checkout-availability burns and has little left on
	// /pay and much on /cart, checkout-latency has spent about half, catalog is fine, payment has
	// overspent its week.
	s.at(-20, 13, pay, 50, 0.22, 0)
	s.at(-14, 15, cart, 180, 0, 0.4)
	s.at(-12, 10, search, 20, 0.05, 0)
	s.at(-9, 11, pay, 25, 0.18, 0.1)
	s.at(-3, 12, cart, 120, 0, 0.5)
	s.at(-2, 14, charge, 30, 0.16, 0)
	began := -65 - int64(10*s.roll(0, 99))
	s.incidents = append(s.incidents, incident{pay, began, 90, 0.05, 0.08})
	return s
}

// at puts an incident some days before the opening's day, by the clock: how much of a budget it
// takes then does not hang on the hour of the opening.
func (s *story) at(days, hour int64, r *route, minutes int64, failing, slow float64) {
	n := uint64(len(s.incidents))
	midnight := (floorDiv(s.opening, 86400) + days) * 86400
	from := floorDiv(midnight+hour*3600-s.opening, 60) + int64(30*s.roll(n, 98))
	s.incidents = append(s.incidents, incident{r, from, from + minutes, failing, slow})
}

// pace is how often an incident comes up after the opening, in minutes.
const pace = 6 * 60

// trouble is the share of requests that fail and that are slow.
func (s *story) trouble(r *route, minute int64) (failing, slow float64) {
	failing, slow = r.failing, r.slow
	for _, i := range s.incidents {
		if i.route == r && minute >= i.from && minute < i.to {
			failing, slow = max(failing, i.failing), max(slow, i.slow)
		}
	}
	if k := minute / pace; minute > 0 {
		n := uint64(k)
		from := k*pace + 150 + int64(150*s.roll(n, 97))
		long := 10 + int64(20*s.roll(n, 96))
		if minute >= from && minute < from+long && routes[s.pick(n, 95, len(routes))] == r {
			failing, slow = 0.02+0.15*s.roll(n, 94), 0.3*s.roll(n, 93)
		}
	}
	return failing, slow
}

// rate is how many requests a second come in over all pods.
func (s *story) rate(r *route, minute int64) float64 {
	second := s.opening + 60*minute
	hour := float64(second-floorDiv(second, 86400)*86400) / 3600
	return r.rps * r.hours(hour)
}

// count is what one pod answers on one route in one minute. Slow ones are counted in all.
type count struct{ fine, unknown, failed, slow, slowest uint64 }

func (c count) all() uint64 { return c.fine + c.unknown + c.failed }

// count rolls the dice of one minute. Shares of requests are rounded by chance, so that what is
// rare happens rarely instead of never.
func (s *story) count(of counter, minute int64) count {
	k, r := uint64(minute), of.route
	round := func(x float64, which uint64) uint64 { return uint64(x + s.roll(k, of.stream<<8|which)) }
	failing, slow := s.trouble(r, minute)
	all := round(s.rate(r, minute)*60/float64(of.service.pods)*(0.9+0.2*s.roll(k, of.stream<<8)), 1)
	var c count
	c.failed = min(all, round(float64(all)*failing, 2))
	c.unknown = min(all-c.failed, round(float64(all)*r.unknown, 3))
	c.fine = all - c.failed - c.unknown
	c.slow = min(all, round(float64(all)*slow, 4))
	c.slowest = min(c.slow, round(float64(c.slow)*slowest, 5))
	return c
}

// slowest is the share of slow requests that takes longer than a second, and brisk the share of
// the others that takes less than a tenth.
const slowest, brisk = 0.05, 0.8

// The lives of pods before the opening: one restart in each two days, at least a day apart.
const epoch = 2 * 24 * 60

// birth is the first minute of the life that a pod lives in a minute of the history.
func (s *story) birth(life uint64, minute int64) int64 {
	for e := floorDiv(minute, epoch); ; e-- {
		if b := e*epoch + int64(1440*s.roll(uint64(e), life<<8|250)); b <= minute {
			return b
		}
	}
}

// restart is the kth restart after the opening: which pod, how long after the opening, and how
// long it is away. Somebody watches now, so restarts come more often than they did: every ten
// minutes.
func (s *story) restart(k, pods int) (pod int, after, away time.Duration) {
	n := uint64(k)
	after = time.Duration(k)*10*time.Minute + 3*time.Minute + time.Duration(6*s.roll(n, 92)*float64(time.Minute))
	return s.pick(n, 91, pods), after, 2*time.Second + time.Duration(2*s.roll(n, 90)*float64(time.Second))
}

// roll is a number in [0, 1) that a seed, a moment and a question have for ever.
func (s *story) roll(moment, question uint64) float64 {
	return float64(mix(mix(mix(s.seed)^moment)^question)>>11) / (1 << 53)
}

func (s *story) pick(moment, question uint64, n int) int {
	return int(s.roll(moment, question) * float64(n))
}

// mix is the finaliser of SplitMix64: every bit of x changes half of the result's.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
