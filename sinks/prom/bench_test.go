//go:build unix

package prom

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// benchSLOs is a large installation: 25 series each, 250,000 together, of four labels or five, as
// SLOs of HTTP services have them.
const benchSLOs = 10_000

// BenchmarkExposition is a tick and its scrape for 10,000 SLOs, 250,000 series: the report is
// written, then asked for. A further scraper is one that asks again in the same tick.
func BenchmarkExposition(b *testing.B) {
	reports := benchReports()
	for _, c := range []struct{ name, encoding string }{{"plain", ""}, {"gzip", "gzip"}} {
		one := newScraper(c.encoding)
		b.Run("yoyu/"+c.name, func(b *testing.B) {
			s := New(Options{})
			h := s.Handler(nil, HandlerOptions{})
			measure(b, func(i int) int {
				write(b, s, reports[i%2])
				return one.get(h)
			})
		})
		b.Run("yoyu/further-"+c.name, func(b *testing.B) {
			s := New(Options{})
			h := s.Handler(prometheus.DefaultGatherer, HandlerOptions{})
			write(b, s, reports[0])
			measure(b, func(int) int { return one.get(h) })
		})
		b.Run("client_golang/"+c.name, func(b *testing.B) {
			h := plain{reports[0], sinks.Selection{}}.handler()
			measure(b, func(int) int { return one.get(h) })
		})
	}
	b.Run("yoyu/unscraped", func(b *testing.B) {
		s := New(Options{})
		measure(b, func(i int) int { write(b, s, reports[i%2]); return 0 })
	})
	b.Run("yoyu/labels", func(b *testing.B) {
		s := New(Options{})
		measure(b, func(i int) int {
			s.Show(sinks.Selection{AllWindows: i%2 == 0})
			write(b, s, reports[0])
			return 0
		})
	})
}

// BenchmarkExpositionRatio runs both ways in turn, so that what else the machine does hits both,
// and reports how many times the CPU of a tick and its scrape client_golang takes: medians.
func BenchmarkExpositionRatio(b *testing.B) {
	reports := benchReports()
	s := New(Options{})
	ours, theirs := s.Handler(nil, HandlerOptions{}), plain{reports[0], sinks.Selection{}}.handler()
	found, one := map[string][]float64{}, map[string]*scraper{"": newScraper(""), "gzip": newScraper("gzip")}
	// Labels are prepared once for many ticks, and a page's memory is used again: a daemon that has just
	// started is not what is compared.
	for i := range 4 {
		for _, encoding := range []string{"", "gzip"} {
			write(b, s, reports[i%2])
			one[encoding].get(ours)
		}
	}
	runtime.GC()
	i := 0
	for b.Loop() {
		for _, c := range []struct{ name, encoding string }{{"plain", ""}, {"gzip", "gzip"}} {
			slow := cpu(func() { one[c.encoding].get(theirs) })
			runtime.GC() // what it leaves behind is not collected at our cost
			var quick []time.Duration
			for range 9 {
				i++
				quick = append(quick, cpu(func() { write(b, s, reports[i%2]); one[c.encoding].get(ours) }))
			}
			slices.Sort(quick)
			found["x-"+c.name] = append(found["x-"+c.name], float64(slow)/float64(quick[len(quick)/2]))
		}
	}
	for unit, all := range found {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], unit)
	}
}

var benchNames = []string{"checkout", "search", "basket", "payment", "catalogue", "login", "shipping"}

// benchReports are two reports of one shape whose numbers differ, with all their digits.
func benchReports() [2]*sinks.Report {
	random := rand.New(rand.NewPCG(1, 2))
	var out [2]*sinks.Report
	for i := range out {
		r := sinktest.Large(benchSLOs)
		for k := range r.SLOs {
			st := &r.SLOs[k]
			team := benchNames[k*len(benchNames)/benchSLOs]
			st.Objective.Name = fmt.Sprintf("%s-availability-%05d", team, k)
			st.Objective.Service = fmt.Sprintf("%s-%03d", team, k/40)
			st.Objective.GroupBy = []string{"method", "route"}
			st.Labels = []string{[]string{"GET", "POST"}[k%2], fmt.Sprintf("/api/v%d/%s/{id}", k%3, benchNames[k%len(benchNames)])}
			for w := range st.Windows {
				st.Windows[w].BurnRate = slo.Defined(random.ExpFloat64())
				st.Windows[w].ErrorRatio = slo.Defined(random.Float64() / 1000)
			}
			for a := range st.Alerts {
				st.Alerts[a].BurnRatio = slo.Defined(random.ExpFloat64() / 14)
			}
			st.EventsTotal, st.BadEventsTotal = float64(random.IntN(1e9)), float64(random.IntN(1e6))
			st.Budget = slo.Budget{
				Allowed: 1e6 * random.Float64(), Spent: float64(random.IntN(1e6)), RemainingRatio: random.Float64(),
				Exhaustion: slo.Defined(1e6 * random.Float64()),
			}
		}
		out[i] = r
	}
	return out
}

// discarded is a connection that takes everything at once.
type discarded struct {
	header http.Header
	bytes  int
}

func (d *discarded) Header() http.Header { return d.header }
func (d *discarded) WriteHeader(int)     {}
func (d *discarded) Write(p []byte) (int, error) {
	d.bytes += len(p)
	return len(p), nil
}

// scraper asks again and again over one connection. What a server allocates for a request is not the
// page's: there is one request for all.
type scraper struct {
	request *http.Request
	to      *discarded
}

func newScraper(encoding string) *scraper {
	s := &scraper{httptest.NewRequest(http.MethodGet, "/metrics", nil), &discarded{header: http.Header{}}}
	s.request.Header.Set("Accept", acceptText)
	s.request.Header.Set("Accept-Encoding", encoding)
	return s
}

func (s *scraper) get(h http.Handler) (wire int) {
	clear(s.to.header)
	s.to.bytes = 0
	h.ServeHTTP(s.to, s.request)
	return s.to.bytes
}

func write(b *testing.B, s *Sink, r *sinks.Report) {
	if err := s.Write(b.Context(), r); err != nil {
		b.Fatal(err)
	}
}

// measure reports the CPU that one turn takes, of all threads, garbage collection included, and the
// bytes that it sends.
func measure(b *testing.B, turn func(i int) (wire int)) {
	turn(0)
	turn(1)
	runtime.GC()
	turn(0) // what is pooled is there again: a daemon collects hardly ever between two ticks
	turn(1)
	b.ReportAllocs()
	i, wire := 0, 0
	used := cpu(func() {
		for b.Loop() {
			wire = turn(i)
			i++
		}
	})
	b.ReportMetric(float64(used.Nanoseconds())/float64(i)/(25*benchSLOs), "cpu-ns/series")
	b.ReportMetric(float64(wire)/1e6, "MB")
}

// cpu is the time that all threads of the process spend on something.
func cpu(on func()) time.Duration {
	begin := spent()
	on()
	return spent() - begin
}

func spent() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
