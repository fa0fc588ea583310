package scrape_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/yoyu-sre/yoyu/slo"
	"github.com/yoyu-sre/yoyu/sources"
	"github.com/yoyu-sre/yoyu/sources/scrape"
)

const tick = 30 * time.Second

// availability is the question most tests ask.
var availability = sources.Question{
	SLO: "availability", Period: 30 * slo.Day,
	Indicator: sources.Indicator{Kind: sources.Counters, Total: `http_requests_total`, Bad: `http_requests_total{code=~"5.."}`},
}

// served is a target whose page can be changed.
type served struct {
	*httptest.Server
	handler atomic.Pointer[http.Handler]
	asked   atomic.Int64
}

func serve(t *testing.T, handler http.Handler) *served {
	t.Helper()
	s := &served{}
	s.show(handler)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		(*s.handler.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *served) show(h http.Handler) { s.handler.Store(&h) }

func (s *served) page() string { return s.URL + "/metrics" }

func (s *served) instance() string { return strings.TrimPrefix(s.URL, "http://") }

// text is a page of plain text; lines are joined.
func text(lines ...string) http.Handler {
	return typed("text/plain; version=0.0.4; charset=utf-8", strings.Join(lines, "\n")+"\n")
}

func open(lines ...string) http.Handler {
	return typed("application/openmetrics-text; version=1.0.0; charset=utf-8", strings.Join(lines, "\n")+"\n# EOF\n")
}

func typed(contentType, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		_, _ = io.WriteString(w, body)
	})
}

func status(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

// hang answers when the asker has given up.
var hang = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })

// scraper is a source with a clock of its own, and no test has to wait.
type scraper struct {
	*scrape.Source
	t    *testing.T
	tick time.Duration
	now  time.Time // end of the last span
}

func newScraper(t *testing.T, o scrape.Options) *scraper {
	t.Helper()
	if o.Name == "" {
		o.Name = "pods"
	}
	if o.Tick == 0 {
		o.Tick = tick
	}
	if o.Questions == nil {
		o.Questions = []sources.Question{availability}
	}
	s, err := scrape.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &scraper{Source: s, t: t, tick: o.Tick, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
}

func pages(targets ...*served) scrape.Config {
	c := scrape.DefaultConfig()
	c.Timeout = tick // whoever answers does so in time, on the busiest machine
	for _, s := range targets {
		c.Targets = append(c.Targets, s.page())
	}
	return c
}

// next moves on by d and asks for the tick that ends there.
func (s *scraper) next(d time.Duration) slo.Span {
	s.now = s.now.Add(d)
	return slo.Span{From: s.now.Add(-s.tick), To: s.now}
}

// ask asks for a span; it must be answered.
func (s *scraper) ask(span slo.Span) slo.Sample {
	s.t.Helper()
	samples, err := s.Collect(s.t.Context(), span)
	if err != nil {
		s.t.Fatalf("span %s: %v", span, err)
	}
	if samples[0].Err != nil {
		s.t.Fatalf("span %s: %v", span, samples[0].Err)
	}
	return samples[0]
}

// turn asks for the next tick.
func (s *scraper) turn() slo.Sample { s.t.Helper(); return s.ask(s.next(s.tick)) }

// fails asks for the next tick, which no target answers.
func (s *scraper) fails() error {
	s.t.Helper()
	samples, err := s.Collect(s.t.Context(), s.next(s.tick))
	if err == nil {
		s.t.Fatalf("answered %+v, want an error", samples)
	}
	return err
}

// counts are all events of a sample, whenever they happened.
func counts(sample slo.Sample) (total, bad float64) {
	for _, g := range sample.Groups {
		for _, i := range g.Increments {
			total, bad = total+i.Total, bad+i.Bad
		}
		for _, s := range g.Spreads {
			total, bad = total+s.Total, bad+s.Bad
		}
	}
	return total, bad
}

func want(t *testing.T, what string, sample slo.Sample, total, bad float64) {
	t.Helper()
	if gotTotal, gotBad := counts(sample); gotTotal != total || gotBad != bad {
		t.Errorf("%s: counted %v, bad %v; want %v, bad %v", what, gotTotal, gotBad, total, bad)
	}
}

func covered(sample slo.Sample) (d time.Duration) {
	for _, c := range sample.Covered {
		d += c.Duration()
	}
	return d
}

// program is a real program with a real registry; it keeps its own books over all its lives.
type program struct {
	*served
	options  promhttp.HandlerOpts
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	total, bad, slow float64
}

func start(t *testing.T, options promhttp.HandlerOpts, codes ...string) *program {
	p := &program{options: options}
	p.served = serve(t, http.NotFoundHandler())
	p.restart(codes...)
	return p
}

// restart begins a new life, with the counters of these codes at 0.
func (p *program) restart(codes ...string) {
	registry := prometheus.NewRegistry()
	p.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests."}, []string{"code"})
	p.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_request_duration_seconds", Help: "Time to answer.", Buckets: []float64{0.1, 0.3, 1},
	}, []string{"route"})
	registry.MustRegister(p.requests, p.seconds)
	for _, code := range codes {
		p.requests.WithLabelValues(code)
	}
	p.seconds.WithLabelValues("/pay")
	p.show(promhttp.HandlerFor(registry, p.options))
}

func (p *program) load(code string, n int) {
	for i := range n {
		p.requests.WithLabelValues(code).Inc()
		seconds := 0.05
		if i%5 == 4 {
			seconds = 0.7
			p.slow++
		}
		p.seconds.WithLabelValues("/pay").Observe(seconds)
	}
	p.total += float64(n)
	if code[0] == '5' {
		p.bad += float64(n)
	}
}

var formats = map[string]promhttp.HandlerOpts{
	"text":                     {},
	"openmetrics":              {EnableOpenMetrics: true},
	"openmetrics with created": {EnableOpenMetrics: true, EnableOpenMetricsTextCreatedSamples: true},
}

// Over three lives and 200 ticks, with an error class that first appears in the second, yoyu's
// count is the program's own, event by event.
func TestExact(t *testing.T) {
	latency := sources.Question{SLO: "latency", Period: 30 * slo.Day, Indicator: sources.Indicator{
		Kind: sources.Latency, Histogram: "http_request_duration_seconds", Below: 0.3,
	}}
	for format, options := range formats {
		t.Run(format, func(t *testing.T) {
			p := start(t, options, "200")
			s := newScraper(t, scrape.Options{Config: pages(p.served), Questions: []sources.Question{availability, latency}})
			var total, bad, timed, slow float64
			turn := func() {
				t.Helper()
				samples, err := s.Collect(t.Context(), s.next(tick))
				if err != nil {
					t.Fatal(err)
				}
				a, b := counts(samples[0])
				total, bad = total+a, bad+b
				a, b = counts(samples[1])
				timed, slow = timed+a, slow+b
				if total != p.total || bad != p.bad || timed != p.total || slow != p.slow {
					t.Fatalf("at %s counted %v/%v and %v/%v slow; the program %v/%v, %v slow", s.now, bad, total, slow, timed, p.bad, p.total, p.slow)
				}
			}
			for life := range 3 {
				turn() // the load pauses for one scrape after each start …
				for n := range 66 {
					p.load("200", (n*7+life*13)%40)
					if life == 2 || life == 1 && n > 30 {
						p.load("503", n%3)
					}
					turn()
				}
				turn() // … and before each stop
				p.restart("200", "503")
			}
			if p.bad == 0 || p.slow == 0 || p.total < 1000 {
				t.Fatalf("the program had %v/%v: too little to show anything", p.bad, p.total)
			}
		})
	}
}

func TestFirstErrorEverCounts(t *testing.T) {
	p := start(t, promhttp.HandlerOpts{}, "200")
	s := newScraper(t, scrape.Options{Config: pages(p.served)})
	p.load("200", 1000)
	if first := s.turn(); first.Baselined != 1 || first.Series != 1 || covered(first) != tick {
		t.Errorf("the first look: %+v", first)
	}
	p.load("500", 1)
	want(t, "the first error", s.turn(), 1, 1)
}

func TestCreated(t *testing.T) {
	s := newScraper(t, scrape.Options{Config: scrape.Config{Targets: []string{"http://127.0.0.1:1"}}})
	begin := s.now // the source is only there for its clock
	at := func(ticks float64) float64 { return float64(begin.Unix()) + ticks*tick.Seconds() }
	counter := func(value int, created float64) http.Handler {
		return open("# TYPE http_requests counter", fmt.Sprintf(`http_requests_total{code="200"} %d`, value), fmt.Sprintf(`http_requests_created{code="200"} %.3f`, created))
	}
	for _, c := range []struct {
		name   string
		pages  []http.Handler
		counts []float64
	}{
		{"a restart shows although the value rose", []http.Handler{counter(10, at(0)), counter(12, at(1.5))}, []float64{0, 12}},
		{"a fall and a new life are one reset", []http.Handler{counter(10, at(0)), counter(4, at(1.5)), counter(9, at(1.5))}, []float64{0, 4, 5}},
		{"a life that begins after its tick and before its scrape", []http.Handler{counter(10, at(0)), counter(12, at(2.001)), counter(15, at(2.001))}, []float64{0, 12, 3}},
		{"a target's clock an hour ahead", []http.Handler{counter(10, at(120)), counter(12, at(120)), counter(15, at(120))}, []float64{0, 2, 3}},
		{"a time that is none", []http.Handler{counter(10, -1), counter(12, -7)}, []float64{0, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := serve(t, nil)
			s := newScraper(t, scrape.Options{Config: pages(target)})
			s.now = begin
			for i, page := range c.pages {
				target.show(page)
				want(t, fmt.Sprint("tick ", i+1), s.turn(), c.counts[i], 0)
			}
		})
	}
}

// A pod that was born after the first look counts its first value: by the created time of its
// series, or by the start of its process.
func TestBirth(t *testing.T) {
	for name, page := range map[string]func(born time.Time) http.Handler{
		"created": func(born time.Time) http.Handler {
			return open("# TYPE http_requests counter", `http_requests_total{code="200"} 7`, fmt.Sprintf(`http_requests_created{code="200"} %d`, born.Unix()))
		},
		"process": func(born time.Time) http.Handler {
			return text(`http_requests_total{code="200"} 7`, fmt.Sprintf("process_start_time_seconds %d", born.Unix()))
		},
	} {
		for _, c := range []struct {
			when  string
			after time.Duration // from the first look to the birth
			count float64
		}{{"before", -time.Hour, 0}, {"after", 10 * time.Second, 7}} {
			t.Run(name+" "+c.when+" the first look", func(t *testing.T) {
				old, young := serve(t, text(`http_requests_total{code="200"} 100`)), serve(t, status(503))
				s := newScraper(t, scrape.Options{Config: pages(old, young)})
				s.turn()
				young.show(page(s.now.Add(c.after)))
				want(t, "the first value", s.turn(), c.count, 0)
			})
		}
	}
}

func TestDeathAndReturn(t *testing.T) {
	for _, c := range []struct {
		name   string
		gap    time.Duration
		spread bool
	}{
		{"back within 5 minutes: booked at its return", 5 * time.Minute, false},
		{"away for longer: spread over the gap", 5*time.Minute + tick, true},
		{"away for hours", 5 * time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, promhttp.HandlerOpts{}, "200", "500")
			s := newScraper(t, scrape.Options{Config: pages(p.served)})
			s.turn()
			last := s.now
			alive := *p.handler.Load()
			p.show(status(http.StatusServiceUnavailable))
			for s.now.Before(last.Add(c.gap - tick)) {
				if err := s.fails(); scrape.Reason(err) != scrape.HTTP5xx {
					t.Fatal(err)
				}
			}
			p.load("200", 90)
			p.load("500", 10)
			p.show(alive)
			s.now = last.Add(c.gap)
			sample := s.ask(slo.Span{From: last, To: s.now}) // grown by the time that passed
			want(t, "the return", sample, 100, 10)
			spreads := sample.Groups[0].Spreads
			if (len(spreads) > 0) != c.spread {
				t.Errorf("spreads: %+v", spreads)
			}
			for _, sp := range spreads {
				if !sp.From.Equal(last) || !sp.To.Equal(s.now) {
					t.Errorf("spread over (%s, %s], want (%s, %s]", sp.From, sp.To, last, s.now)
				}
			}
			// The last sample vouches for less than five minutes, the new one for its own tick.
			if got := covered(sample); c.gap <= 3*time.Hour && got != min(c.gap, 5*time.Minute) {
				t.Errorf("covered %s of %s", got, c.gap)
			}
		})
	}
}

func TestHangingTargetCostsOnlyItself(t *testing.T) {
	t.Parallel() // it waits for two timeouts, each long enough for the other target on a busy machine
	good, bad := serve(t, text(`http_requests_total{code="200"} 1`)), serve(t, hang)
	var told []*scrape.Failure
	config := pages(bad, good)
	config.Timeout = 5 * time.Second
	s := newScraper(t, scrape.Options{Config: config, Failed: func(f *scrape.Failure) { told = append(told, f) }})
	s.turn()
	good.show(text(`http_requests_total{code="200"} 4`))
	sample := s.turn()
	want(t, "the other target", sample, 3, 0)
	if covered(sample) != tick {
		t.Errorf("covered %s", covered(sample))
	}
	if len(told) != 2 || told[0].Reason() != scrape.Timeout || told[0].Error() != "target "+bad.page()+": no whole page within 5s" {
		t.Errorf("told of %v", told)
	}
}

// expiring is a context whose deadline comes when a test says so, and not when a clock does.
type expiring struct {
	context.Context
	over chan struct{}
}

func (e *expiring) Done() <-chan struct{} { return e.over }

func (e *expiring) Err() error {
	select {
	case <-e.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// The caller's deadline ends the turn; what was answered in time counts.
func TestDeadlineKeepsWhatWasAnswered(t *testing.T) {
	ctx := &expiring{t.Context(), make(chan struct{})}
	good, bad := serve(t, text(`http_requests_total 1`)), serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(ctx.over)
		<-r.Context().Done()
	}))
	config := pages(good, bad)
	config.Limits.Concurrency = 1 // the second is asked when the first has answered
	s := newScraper(t, scrape.Options{Config: config})
	samples, err := s.Collect(ctx, s.next(tick))
	if err != nil || covered(samples[0]) != tick {
		t.Errorf("answered %+v, %v", samples, err)
	}
}

func TestCancelledTurnChangesNothing(t *testing.T) {
	good, bad := serve(t, text(`http_requests_total 1`)), serve(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	bad.show(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() }))
	s := newScraper(t, scrape.Options{Config: pages(good, bad)})
	span := s.next(tick)
	if samples, err := s.Collect(ctx, span); err != context.Canceled {
		t.Errorf("answered %+v, %v", samples, err)
	}
	bad.show(text(`http_requests_total 5`))
	if sample := s.ask(span); sample.Baselined != 2 {
		t.Errorf("asked again: %+v", sample)
	}
}

// Where the targets that carry a question's events fail, their silence is not "no events".
func TestQuestionFailsAlone(t *testing.T) {
	shop, billing := serve(t, text(`http_requests_total 1`)), serve(t, text(`bills_total 10`))
	bills := sources.Question{SLO: "bills", Indicator: sources.Indicator{Kind: sources.Counters, Total: "bills_total", Bad: `bills_total{lost="yes"}`}}
	s := newScraper(t, scrape.Options{Config: pages(shop, billing), Questions: []sources.Question{availability, bills}})
	both := func(span slo.Span) (slo.Sample, slo.Sample) {
		t.Helper()
		samples, err := s.Collect(t.Context(), span)
		if err != nil {
			t.Fatal(err)
		}
		return samples[0], samples[1]
	}
	both(s.next(tick))
	begin := s.now
	billing.show(status(http.StatusInternalServerError))
	shop.show(text(`http_requests_total 3`))
	a, b := both(s.next(tick))
	want(t, "the answered question", a, 2, 0)
	if scrape.Reason(b.Err) != scrape.HTTP5xx || b.Groups != nil || b.Covered != nil {
		t.Errorf("the other: %+v", b)
	}
	billing.show(text(`bills_total 14`))
	_, b = both(s.next(tick))
	want(t, "its return", b, 4, 0)
	_, b = both(slo.Span{From: begin, To: s.now})
	want(t, "its return, asked for the grown span", b, 4, 0)
	if covered(b) != 2*tick {
		t.Errorf("covered %s, want both ticks", covered(b))
	}
}

func TestOneOfSeveralTargetsVouches(t *testing.T) {
	a, b := serve(t, text(`http_requests_total 10`)), serve(t, text(`http_requests_total 20`))
	s := newScraper(t, scrape.Options{Config: pages(a, b)})
	s.turn()
	b.show(status(http.StatusBadGateway))
	for range 20 { // ten minutes
		if sample := s.turn(); covered(sample) != tick {
			t.Fatalf("covered %s", covered(sample))
		}
	}
	b.show(text(`http_requests_total 50`))
	sample := s.turn()
	want(t, "its return", sample, 30, 0)
	if len(sample.Groups[0].Spreads) != 1 {
		t.Errorf("10 minutes away, but %+v", sample.Groups)
	}
}

// A counter that leaves its page and comes back goes on from its last value; while no counter of
// total is there, the last one vouches for less than five minutes.
func TestSeriesLeavesAndReturns(t *testing.T) {
	target := serve(t, text(`http_requests_total 10`))
	s := newScraper(t, scrape.Options{Config: pages(target)})
	s.turn()
	target.show(text(`up 1`))
	var silence time.Duration
	for range 20 {
		silence += covered(s.turn())
	}
	if silence != 5*time.Minute-tick {
		t.Errorf("covered %s of silence", silence)
	}
	target.show(text(`http_requests_total 13`))
	want(t, "the return", s.turn(), 3, 0)
}

func TestAskedTwiceScrapedOnce(t *testing.T) {
	p := start(t, promhttp.HandlerOpts{}, "200")
	s := newScraper(t, scrape.Options{Config: pages(p.served)})
	s.turn()
	begin := s.now
	var each []string
	for n := range 5 {
		p.load("200", n)
		span := s.next(tick)
		first := fmt.Sprint(s.ask(span))
		p.load("200", 1) // belongs to the next slot
		if again := fmt.Sprint(s.ask(span)); again != first {
			t.Errorf("asked again: %s, first %s", again, first)
		}
		each = append(each, first)
	}
	if got := p.asked.Load(); got != 6 {
		t.Errorf("scraped %d times in 6 ticks", got)
	}
	// The grown span is the sum of its ticks, tick by tick; so is each of them asked afterwards.
	whole := s.ask(slo.Span{From: begin, To: s.now})
	want(t, "the grown span", whole, 0+1+2+3+4+4, 0)
	if len(whole.Groups[0].Increments) != 4 || covered(whole) != 5*tick {
		t.Errorf("the grown span: %+v", whole)
	}
	for i, first := range each {
		at := begin.Add(time.Duration(i) * tick)
		if again := fmt.Sprint(s.ask(slo.Span{From: at, To: at.Add(tick)})); again != first {
			t.Errorf("tick %d asked later: %s, first %s", i, again, first)
		}
	}
}

func TestConcurrentCollectsShareOneTurn(t *testing.T) {
	target := serve(t, text(`http_requests_total 10`))
	s := newScraper(t, scrape.Options{Config: pages(target)})
	span := s.next(tick)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if samples, err := s.Collect(t.Context(), span); err != nil || covered(samples[0]) != tick {
				t.Errorf("answered %+v, %v", samples, err)
			}
		})
	}
	wg.Wait()
	if got := target.asked.Load(); got != 1 {
		t.Errorf("scraped %d times", got)
	}
}

// The past is never held up by the present: an old span is answered while a target hangs.
func TestPastDoesNotWaitForPresent(t *testing.T) {
	target := serve(t, text(`http_requests_total 10`))
	entered := make(chan struct{})
	s := newScraper(t, scrape.Options{Config: pages(target)})
	s.turn()
	target.show(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { close(entered); <-r.Context().Done() }))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Collect(ctx, slo.Span{From: s.now, To: s.now.Add(tick)})
		done <- err
	}()
	<-entered
	s.ask(slo.Span{From: s.now.Add(-30 * slo.Day), To: s.now.Add(-29 * slo.Day)})
	// Nor does a second asker of the present wait longer than it wants to.
	impatient, end := context.WithTimeout(t.Context(), time.Millisecond)
	defer end()
	if _, err := s.Collect(impatient, slo.Span{From: s.now, To: s.now.Add(tick)}); err != context.DeadlineExceeded {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != context.Canceled {
		t.Error(err)
	}
}

// The newest end is the present, whatever the clock on the wall says; all before it is the past.
func TestPastIsNotScraped(t *testing.T) {
	target := serve(t, text(`http_requests_total 10`))
	s := newScraper(t, scrape.Options{Config: pages(target)})
	if sample := s.turn(); covered(sample) != tick || !sample.Newest.Equal(s.now) {
		t.Errorf("the present: %+v", sample)
	}
	for _, ago := range []time.Duration{tick, time.Hour, 30 * slo.Day} {
		end := s.now.Add(-ago)
		sample := s.ask(slo.Span{From: end.Add(-slo.Day), To: end})
		if target.asked.Load() != 1 || sample.Covered != nil || sample.Groups != nil || !sample.Newest.IsZero() {
			t.Errorf("%s ago: scraped %d times, answered %+v", ago, target.asked.Load()-1, sample)
		}
	}
}

// A process that slept is asked for the tick it woke up in: what happened meanwhile is spread over
// the gap, and nobody vouches for it.
func TestSleepIsAGap(t *testing.T) {
	target := serve(t, text(`http_requests_total 10`))
	s := newScraper(t, scrape.Options{Config: pages(target)})
	s.turn()
	asleep := s.now
	target.show(text(`http_requests_total 3610`))
	sample := s.ask(s.next(time.Hour))
	want(t, "an hour's requests", sample, 3600, 0)
	if sp := sample.Groups[0].Spreads; len(sp) != 1 || !sp[0].From.Equal(asleep) || !sp[0].To.Equal(s.now) || covered(sample) != tick {
		t.Errorf("answered %+v", sample)
	}
}

// What is remembered outlives the process. A memory from later than the present is of a clock that
// was wrong: a little is waited for, more is forgotten, so that counting never stops for good.
func TestRestart(t *testing.T) {
	for _, c := range []struct {
		name   string
		after  time.Duration // from the last turn before the restart to the first one after it
		counts []float64     // of the turns after it
	}{
		{"the next tick", tick, []float64{5, 1, 1}},
		{"an hour later", time.Hour, []float64{5, 1, 1}},
		{"the same tick again", 0, []float64{0, 6, 1}},
		{"a clock that was put back by a tick", -tick, []float64{0, 0, 7}},
		{"a clock that had been a year ahead", -365 * slo.Day, []float64{0, 1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := serve(t, text(`http_requests_total 10`))
			before := newScraper(t, scrape.Options{Config: pages(target), Keep: true})
			kept := before.turn().Progress
			if kept == nil {
				t.Fatal("the answer carries no progress")
			}
			s := newScraper(t, scrape.Options{Config: pages(target), Keep: true, Progress: map[string]slo.Progress{"availability": *kept}})
			s.now = before.now.Add(c.after - tick)
			for i, counts := range c.counts {
				target.show(text(fmt.Sprintf(`http_requests_total %d`, 15+i)))
				want(t, fmt.Sprint("turn ", i+1), s.turn(), counts, 0)
			}
		})
	}
}

func TestAnswersAreForgotten(t *testing.T) {
	target := serve(t, text(`http_requests_total 10`))
	s := newScraper(t, scrape.Options{Config: pages(target)})
	s.turn()
	first := slo.Span{From: s.now.Add(-tick), To: s.now}
	s.ask(s.next(2*time.Hour - tick))
	if covered(s.ask(first)) != tick {
		t.Error("forgotten within two hours")
	}
	s.turn()
	if covered(s.ask(first)) != 0 {
		t.Error("remembered after two hours")
	}
}

func TestOnlySomeQuestions(t *testing.T) {
	target := serve(t, text(`http_requests_total 10`))
	other := availability
	other.SLO = "other"
	s := newScraper(t, scrape.Options{Config: pages(target), Questions: []sources.Question{availability, other}})
	span := s.next(tick)
	for _, name := range []string{"other", "availability"} {
		samples, err := s.Collect(t.Context(), span, name)
		if err != nil || len(samples) != 1 || samples[0].SLO != name || covered(samples[0]) != tick {
			t.Errorf("%s: %+v, %v", name, samples, err)
		}
	}
	if target.asked.Load() != 1 {
		t.Errorf("scraped %d times for two questions of one tick", target.asked.Load())
	}
}

func TestSpanOffTicks(t *testing.T) {
	s := newScraper(t, scrape.Options{Config: scrape.Config{Targets: []string{"http://127.0.0.1:1"}}})
	for _, span := range []slo.Span{{From: s.now, To: s.now}, {From: s.now, To: s.now.Add(time.Second)}, {From: s.now.Add(1), To: s.now.Add(tick)}} {
		if _, err := s.Collect(t.Context(), span); err == nil || !strings.Contains(err.Error(), "does not lie on whole ticks of 30s") {
			t.Errorf("%s: %v", span, err)
		}
	}
}

func TestClassicHistogram(t *testing.T) {
	page := func(good, all int, les ...string) http.Handler {
		lines := []string{"# TYPE http_request_duration_seconds histogram"}
		for _, le := range les {
			lines = append(lines, fmt.Sprintf(`http_request_duration_seconds_bucket{le=%q} %d`, le, good))
		}
		return text(append(lines, fmt.Sprintf(`http_request_duration_seconds_bucket{le="+Inf"} %d`, all),
			fmt.Sprintf(`http_request_duration_seconds_sum %d`, all), fmt.Sprintf(`http_request_duration_seconds_count %d`, all))...)
	}
	const between = `threshold 1 is no bucket bound of {__name__="http_request_duration_seconds", instance="ADDRESS", job="pods"}: `
	for _, c := range []struct {
		name string
		les  []string
		note string
	}{
		{"at the bound 1", []string{"1"}, ""},
		{"at the bound 1.0", []string{"0.5", "1.0", "2.5"}, ""},
		{"at the bound 1e0", []string{"1e0"}, ""},
		{"between bounds", []string{"0.5", "2.5"}, between + "the bounds around it are 0.5 and 2.5"},
		{"below all bounds", []string{"2.5", "5"}, between + "the smallest is 2.5"},
		{"above all finite bounds", []string{"0.5"}, between + "the largest is 0.5"},
		{"no buckets", nil, between + "the smallest is +Inf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := serve(t, page(90, 100, c.les...))
			s := newScraper(t, scrape.Options{Config: pages(target), Questions: []sources.Question{{
				SLO: "latency", Indicator: sources.Indicator{Kind: sources.Latency, Histogram: "http_request_duration_seconds", Below: 1},
			}}})
			s.turn()
			target.show(page(97, 110, c.les...))
			sample := s.turn()
			if got := strings.ReplaceAll(sample.Note, target.instance(), "ADDRESS"); got != c.note {
				t.Errorf("note %q, want %q", got, c.note)
			}
			if c.note == "" {
				want(t, "13 requests, 6 of them slow", sample, 10, 3)
			} else if sample.Groups != nil || sample.Covered != nil {
				t.Errorf("counted %+v", sample)
			}
		})
	}
}

// A library that begins to spell a bound otherwise is no new series.
func TestBoundChangesItsSpelling(t *testing.T) {
	page := func(le string, good, all int) http.Handler {
		return text(fmt.Sprintf(`d_bucket{le=%q} %d`, le, good), fmt.Sprintf(`d_bucket{le="+Inf"} %d`, all), fmt.Sprintf(`d_count %d`, all))
	}
	target := serve(t, page("1", 9, 10))
	s := newScraper(t, scrape.Options{Config: pages(target), Questions: []sources.Question{{
		SLO: "latency", Indicator: sources.Indicator{Kind: sources.Latency, Histogram: "d", Below: 1},
	}}})
	s.turn()
	target.show(page("1.0", 11, 13))
	want(t, "one fast and one slow", s.turn(), 3, 1)
}

func TestSummaryIsNoHistogram(t *testing.T) {
	target := serve(t, text("# TYPE d summary", `d{quantile="0.9"} 2`, `d_sum 3`, `d_count 4`))
	s := newScraper(t, scrape.Options{Config: pages(target), Questions: []sources.Question{{
		SLO: "latency", Indicator: sources.Indicator{Kind: sources.Latency, Histogram: "d", Below: 1},
	}}})
	s.turn()
	sample := s.turn()
	if wanted := `{__name__="d", instance="` + target.instance() + `", job="pods"} has no buckets: a summary is no histogram`; sample.Note != wanted || sample.Covered != nil {
		t.Errorf("answered %+v, want the note %s", sample, wanted)
	}
}

func TestGauge(t *testing.T) {
	target := serve(t, nil)
	s := newScraper(t, scrape.Options{Config: pages(target), Questions: []sources.Question{{
		SLO: "ready", GroupBy: []string{"zone"},
		Indicator: sources.Indicator{Kind: sources.Gauge, Selector: "ready", Compare: sources.Comparison{Op: ">=", Value: 1}},
	}}})
	target.show(text(`ready{zone="a"} 1`, `ready{zone="b"} 0`, `ready{zone="c"} NaN`))
	sample := s.turn()
	want(t, "one sample is one event", sample, 2, 1)
	if len(sample.Groups) != 2 || sample.Groups[0].Labels[0] != "a" || sample.Groups[1].Labels[0] != "b" || sample.Groups[1].Increments[0].Bad != 1 {
		t.Errorf("groups: %+v", sample.Groups)
	}
	want(t, "every tick anew", s.turn(), 2, 1)
}

func TestTargetLabels(t *testing.T) {
	target := serve(t, text(`http_requests_total{code="200",job="theirs",instance="inner",exported_job="deeper"} 1`))
	q := availability
	q.GroupBy = []string{"job", "instance", "exported_job", "exported_exported_job", "exported_instance"}
	q.Indicator.Total = `{__name__=~"http_.*",job="shop"}`
	config := pages(target)
	config.Job = "shop"
	s := newScraper(t, scrape.Options{Config: config, Questions: []sources.Question{q}})
	s.turn()
	target.show(text(`http_requests_total{code="200",job="theirs",instance="inner",exported_job="deeper"} 2`))
	sample := s.turn()
	if got, wanted := fmt.Sprint(sample.Groups[0].Labels), fmt.Sprint([]string{"shop", target.instance(), "deeper", "theirs", "inner"}); got != wanted {
		t.Errorf("labels %s, want %s", got, wanted)
	}
}

// Two pages of one address are two targets, though Prometheus' labels are the same.
func TestTwoPagesOfOneInstance(t *testing.T) {
	var n atomic.Int64
	target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		base := map[string]int64{"/a": 1000, "/b": 5}[r.URL.Path]
		fmt.Fprintf(w, "http_requests_total %d\n", base+n.Load())
	}))
	config := scrape.DefaultConfig()
	config.Targets = []string{target.URL + "/a", target.URL + "/b"}
	s := newScraper(t, scrape.Options{Config: config})
	s.turn()
	n.Add(3)
	want(t, "three on each page", s.turn(), 6, 0)
}

func TestTimestampsOnThePage(t *testing.T) {
	target := serve(t, nil)
	s := newScraper(t, scrape.Options{Config: pages(target)})
	show := func(value int, age time.Duration) {
		target.show(text(fmt.Sprintf("http_requests_total %d %d", value, s.now.Add(tick).Add(-age).UnixMilli())))
	}
	show(10, 0)
	s.turn()
	show(12, 4*time.Minute)
	want(t, "fresh enough: booked at the tick", s.turn(), 2, 0)
	show(15, -time.Hour)
	want(t, "from the future: booked at the tick", s.turn(), 3, 0)
	show(20, 5*time.Minute)
	if sample := s.turn(); sample.Series != 0 {
		t.Errorf("old news: %+v", sample)
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name, contentType, body string
	}{
		{"none", "", "http_requests_total 10\n"},
		{"text", "text/plain", "http_requests_total 10\n"},
		{"text 0.0.4", "text/plain; version=0.0.4", "http_requests_total 10\n"},
		{"text 1.0.0", "text/plain; version=1.0.0; escaping=allow-utf-8", "{\"http_requests_total\"} 10\n"},
		{"openmetrics", "application/openmetrics-text; version=1.0.0; charset=utf-8", "# TYPE http_requests counter\nhttp_requests_total 10 # {trace=\"x\"} 1\n# EOF\n"},
		{"old openmetrics", "application/openmetrics-text; version=0.0.1", "http_requests_total 1e1\n# EOF"},
		{"spaces", "text/plain", "\n\n  # a remark\nhttp_requests_total \t 10 \n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := serve(t, typed(c.contentType, c.body))
			s := newScraper(t, scrape.Options{Config: pages(target)})
			if sample := s.turn(); sample.Series != 1 {
				t.Errorf("answered %+v", sample)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // nobody is there
	var got http.Header
	target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		_, _ = io.WriteString(w, "http_requests_total 1\n")
	}))
	config := pages(target)
	config.Timeout = 10 * time.Second
	s := newScraper(t, scrape.Options{Config: config})
	s.turn()
	for name, wanted := range map[string]string{
		"Accept":                              "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
		"Accept-Encoding":                     "gzip",
		"User-Agent":                          "yoyu",
		"X-Prometheus-Scrape-Timeout-Seconds": "10",
	} {
		if got.Get(name) != wanted {
			t.Errorf("%s: %q, want %q", name, got.Get(name), wanted)
		}
	}
}
