package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	requestsHelp  = "Requests answered, by code."
	durationsHelp = "Time until a request was answered."
)

// pod is one server of a service. It keeps its name and its port over all its lives.
type pod struct {
	service *service
	name    string
	story   *story

	mu       sync.Mutex
	address  string // host:port from the first life on
	server   *http.Server
	listener net.Listener
	busy     sync.WaitGroup // customers on their way
	open     bool           // takes customers
	closed   bool           // for ever

	dice *rand.Rand // guarded by mu
}

func podName(service *service, index int) string { return fmt.Sprintf("%s-%d", service.name, index) }

func newPod(story *story, service *service, index int) *pod {
	name := podName(service, index)
	seed := uint64(len(name))
	for _, b := range []byte(name) {
		seed = mix(seed ^ uint64(b))
	}
	return &pod{service: service, name: name, story: story, dice: rand.New(rand.NewPCG(story.seed, seed))}
}

// begin starts a life: new counters at zero, on a port of its own in the first life and on the
// same one ever after. minute tells the minute of the story.
func (p *pod) begin(ctx context.Context, minute func() int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	address := p.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	if p.closed {
		l.Close()
		return context.Canceled
	}
	if p.address == "" {
		p.address = l.Addr().String()
	}
	p.listener = l
	p.server = &http.Server{Handler: p.handler(minute), ReadHeaderTimeout: 10 * time.Second}
	p.open = true
	return nil
}

// serving is what the present life serves.
func (p *pod) serving() (*http.Server, net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server, p.listener
}

// end ends a life: no more customers, then an answer to all that came, then no server.
func (p *pod) end(ctx context.Context) {
	p.mu.Lock()
	p.open = false
	server := p.server
	p.mu.Unlock()
	p.busy.Wait()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		server.Close() // somebody reads slowly
	}
}

// close ends the last life, whatever is under way.
func (p *pod) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open, p.closed = false, true
	if p.server != nil {
		p.server.Close()
		p.listener.Close() // in case nobody serves it yet
	}
}

// enter lets a customer in, who has to call busy.Done; false while the pod takes none.
func (p *pod) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		p.busy.Add(1)
	}
	return p.open
}

// url is an address of the pod.
func (p *pod) url(path string) string { return "http://" + p.address + path }

// handler is a new life: registry, counters born at zero, routes that count.
func (p *pod) handler(minute func() int64) http.Handler {
	registry := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: requestsName + "_total", Help: requestsHelp}, []string{"service", "route", "code"})
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: durationsName, Help: durationsHelp, Buckets: bounds}, []string{"service", "route"})
	started := prometheus.NewGauge(prometheus.GaugeOpts{Name: "process_start_time_seconds", Help: "Start time of the pod since the Unix epoch in seconds."})
	started.Set(float64(time.Now().UnixMilli()) / 1000)
	registry.MustRegister(requests, durations, started)

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics:                   true,
		EnableOpenMetricsTextCreatedSamples: true,
	}))
	for _, r := range p.service.routes {
		answered := map[int]prometheus.Counter{}
		for _, code := range r.codes() {
			answered[code] = requests.WithLabelValues(p.service.name, r.path, strconv.Itoa(code))
		}
		took := durations.WithLabelValues(p.service.name, r.path)
		mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) {
			began := time.Now()
			code, work := p.fate(r, minute())
			if sleep(req.Context(), work) != nil {
				return // nobody waits for the answer any more: there is none to count
			}
			// Counted before it is sent: whoever has an answer finds it counted.
			took.Observe(time.Since(began).Seconds())
			answered[code].Inc()
			w.WriteHeader(code)
			fmt.Fprintln(w, http.StatusText(code))
		})
	}
	return mux
}

// fate is what becomes of a request: the code of its answer, and the work until then.
func (p *pod) fate(r *route, minute int64) (code int, work time.Duration) {
	failing, slow := p.story.trouble(r, minute)
	p.mu.Lock()
	outcome, pace, within := p.dice.Float64(), p.dice.Float64(), p.dice.Float64()
	p.mu.Unlock()
	switch {
	case outcome < failing:
		code = r.broken
	case outcome < failing+r.unknown:
		code = http.StatusNotFound
	default:
		code = http.StatusOK
	}
	between := func(lo, hi time.Duration) time.Duration { return lo + time.Duration(within*float64(hi-lo)) }
	switch {
	case pace < slow*slowest:
		work = between(1050*time.Millisecond, 1250*time.Millisecond)
	case pace < slow:
		work = between(320*time.Millisecond, 900*time.Millisecond)
	case pace < slow+(1-slow)*brisk:
		work = between(15*time.Millisecond, 90*time.Millisecond)
	default:
		work = between(105*time.Millisecond, 270*time.Millisecond)
	}
	return code, work
}
