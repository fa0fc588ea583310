package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// noon is an opening that no test depends on.
var noon = time.Date(2026, 11, 22, 12, 0, 7, 400e6, time.UTC)

// recorded is one series as Prometheus' own parser read it.
type recorded struct {
	labels labels.Labels
	at     []int64 // ms
	v      []float64
}

// parse reads OpenMetrics text as Prometheus does.
func parse(t testing.TB, text []byte) map[string]*recorded {
	t.Helper()
	out := map[string]*recorded{}
	p := textparse.NewOpenMetricsParser(text, labels.NewSymbolTable())
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		name, at, v := p.Series()
		r := out[string(name)]
		if r == nil {
			r = &recorded{}
			p.Labels(&r.labels)
			out[string(name)] = r
		}
		if at == nil {
			t.Fatalf("%s has no timestamp", name)
		}
		r.at, r.v = append(r.at, *at), append(r.v, v)
	}
}

func history(t testing.TB, s *Shop, back, step time.Duration) map[string]*recorded {
	t.Helper()
	var b bytes.Buffer
	if err := s.History(&b, s.Opening().Add(-back), s.Opening(), step); err != nil {
		t.Fatal(err)
	}
	return parse(t, b.Bytes())
}

// A month as Prometheus' parser reads it: every series at the same moments, the last of them the
// opening, none of them further apart than a gap begins.
func TestMonth(t *testing.T) {
	s := New(Options{Seed: 1, Now: noon})
	var b bytes.Buffer
	b.Grow(128 << 20)
	if err := s.Month(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(b.Bytes(), []byte("\n# EOF\n")) {
		t.Error("month does not end in # EOF")
	}
	var some []byte // one route in six is enough to read
	for line := range bytes.Lines(b.Bytes()) {
		if line[0] == '#' || bytes.Contains(line, []byte(`route="/pay"`)) {
			some = append(some, line...)
		}
	}
	all := parse(t, some)
	if len(all) != 3*(2+6) {
		t.Errorf("%d series of /pay, want two codes and a histogram on three pods", len(all))
	}
	opening := s.Opening().UnixMilli()
	if want := time.Date(2026, 11, 22, 12, 0, 5, 0, time.UTC); !s.Opening().Equal(want) {
		t.Errorf("opening %v, want %v, the tick before %v", s.Opening(), want, noon)
	}
	for name, r := range all {
		if first, last := r.at[0], r.at[len(r.at)-1]; first != opening-(30*24*time.Hour).Milliseconds() || last != opening {
			t.Fatalf("%s is from %d to %d, want thirty days up to %d", name, first, last, opening)
		}
		for i := 1; i < len(r.at); i++ {
			want := 5 * time.Minute
			if r.at[i] > opening-(3*24*time.Hour).Milliseconds() {
				want = time.Minute
			}
			if d := r.at[i] - r.at[i-1]; d != want.Milliseconds() {
				t.Fatalf("%s: %d ms between samples at %d, want %v", name, d, r.at[i], want)
			}
		}
	}
}

// The same seed and opening tell the same story to the byte, another seed another one.
func TestSeed(t *testing.T) {
	write := func(seed int64, from, to time.Duration) string {
		var b bytes.Buffer
		if err := New(Options{Seed: seed, Now: noon}).History(&b, noon.Add(from), noon.Add(to), time.Minute); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const day = 24 * time.Hour
	one := write(7, -day, 0)
	if write(7, -day, 0) != one {
		t.Error("seed 7 tells two stories")
	}
	if write(8, -day, 0) == one {
		t.Error("seeds 7 and 8 tell one story")
	}
	if write(-7, -day, 0) == one {
		t.Error("seeds 7 and -7 tell one story")
	}
	// What is written of the past does not depend on how much of it is written.
	tail := parse(t, []byte(write(7, -time.Hour, 0)))
	for name, r := range parse(t, []byte(one)) {
		short := tail[name]
		if n := len(r.v) - len(short.v); !slices.Equal(r.v[n:], short.v) || !slices.Equal(r.at[n:], short.at) {
			t.Fatalf("%s: the last hour is another when the day before it is written too", name)
		}
	}
	// There is no history after the opening.
	if write(7, -day, day) != one {
		t.Error("history goes on after the opening")
	}
	if got := len(parse(t, []byte(write(7, time.Minute, day)))); got != 0 {
		t.Errorf("%d series after the opening", got)
	}
}

// Counters never fall but when their pod starts again, and then all of that pod's do. A day lies
// between two starts of a pod, at least, and every pod starts again within four.
func TestCountersFallTogether(t *testing.T) {
	all := history(t, New(Options{Seed: 3, Now: noon}), 8*24*time.Hour, 5*time.Minute)
	starts := map[string]map[int64]int{} // by instance and time: series that fell
	busy := map[string]int{}             // series of an instance that count all the time
	for name, r := range all {
		instance := r.labels.Get("instance")
		for i := 1; i < len(r.v); i++ {
			if r.v[i] < r.v[i-1] {
				if starts[instance] == nil {
					starts[instance] = map[int64]int{}
				}
				starts[instance][r.at[i]]++
			}
			if r.v[i] != float64(int64(r.v[i])) && r.labels.Get(model.MetricNameLabel) != durationsName+"_sum" {
				t.Fatalf("%s is %v: no whole number of requests", name, r.v[i])
			}
		}
		if r.labels.Get("code") == "200" && r.labels.Get("route") != "/refund" {
			busy[instance]++
		}
	}
	if len(starts) != 7 {
		t.Errorf("%d pods started again, want all 7", len(starts))
	}
	for instance, at := range starts {
		times := slices.Sorted(maps.Keys(at))
		if len(times) < 3 || len(times) > 5 {
			t.Errorf("%s started %d times in eight days, want about 4", instance, len(times))
		}
		for i, ms := range times {
			if at[ms] < busy[instance] {
				t.Errorf("%s: %d series fell at %d, want at least the %d busy ones", instance, at[ms], ms, busy[instance])
			}
			if i > 0 && ms-times[i-1] < (24*time.Hour).Milliseconds() {
				t.Errorf("%s lived from %d to %d only", instance, times[i-1], ms)
			}
		}
	}
}

// A histogram is whole at every moment: more in every wider bucket, all in the last.
func TestHistogramsAreWhole(t *testing.T) {
	type key struct{ instance, route string }
	buckets, counts, sums := map[key]map[string]*recorded{}, map[key]*recorded{}, map[key]*recorded{}
	for _, r := range history(t, New(Options{Seed: 3, Now: noon}), 24*time.Hour, time.Minute) {
		k := key{r.labels.Get("instance"), r.labels.Get("route")}
		switch r.labels.Get(model.MetricNameLabel) {
		case durationsName + "_bucket":
			if buckets[k] == nil {
				buckets[k] = map[string]*recorded{}
			}
			buckets[k][r.labels.Get("le")] = r
		case durationsName + "_count":
			counts[k] = r
		case durationsName + "_sum":
			sums[k] = r
		}
	}
	if len(buckets) != 6 {
		t.Fatalf("%d histograms, want those of two routes on three pods", len(buckets))
	}
	for k, b := range buckets {
		for i, all := range counts[k].v {
			under := []float64{b["0.1"].v[i], b["0.3"].v[i], b["1.0"].v[i], b["+Inf"].v[i]}
			if !slices.IsSorted(under) || under[3] != all {
				t.Fatalf("%v: buckets %v, count %v at %d", k, under, all, counts[k].at[i])
			}
			if mean := sums[k].v[i] / all; all > 0 && (mean < 0.05 || mean > 0.5) {
				t.Fatalf("%v: a request takes %v s on the mean at %d", k, mean, counts[k].at[i])
			}
		}
	}
}

// window is the bad share and the number of events of an objective in the time before the
// opening, by the simplest sum there is: what each series rose, or has after a fall.
func window(all map[string]*recorded, opening time.Time, length time.Duration, total, bad func(l labels.Labels) bool) (events, failed float64) {
	for _, r := range all {
		if !total(r.labels) && !bad(r.labels) {
			continue
		}
		rise := 0.0
		for i := 1; i < len(r.v); i++ {
			if r.at[i] <= opening.Add(-length).UnixMilli() {
				continue
			}
			if r.v[i] < r.v[i-1] {
				rise += r.v[i]
			} else {
				rise += r.v[i] - r.v[i-1]
			}
		}
		if total(r.labels) {
			events += rise
		}
		if bad(r.labels) {
			failed += rise
		}
	}
	return events, failed
}

// What a newcomer sees first, at whatever hour the shop opens and by whatever seed.
func TestWhatTheMonthLeaves(t *testing.T) {
	on := func(service string, routes ...string) func(bad bool) func(labels.Labels) bool {
		return func(bad bool) func(labels.Labels) bool {
			return func(l labels.Labels) bool {
				return l.Get(model.MetricNameLabel) == "http_requests_total" && l.Get("service") == service &&
					(len(routes) == 0 || slices.Contains(routes, l.Get("route"))) &&
					(!bad || l.Get("code")[0] == '5')
			}
		}
	}
	const day = 24 * time.Hour
	// Since the first of the month, which on the first may be hours or a moment.
	sinceFirst := func(opening time.Time) time.Duration {
		return opening.Sub(time.Date(opening.Year(), opening.Month(), 1, 0, 0, 0, 0, time.UTC))
	}
	for _, opening := range []time.Time{
		noon,
		time.Date(2026, 3, 29, 3, 0, 0, 0, time.UTC),     // before dawn
		time.Date(2026, 7, 1, 6, 0, 30, 0, time.UTC),     // in a month that has just begun
		time.Date(2027, 1, 31, 23, 59, 59, 0, time.UTC),  // in one that is about to end
		time.Date(2026, 9, 15, 17, 30, 1, 0, time.UTC),   // in the afternoon
		time.Date(2026, 12, 24, 10, 15, 59, 0, time.UTC), // in the morning
	} {
		for seed := range int64(2) {
			if seed > 0 && opening != noon {
				continue
			}
			t.Run(fmt.Sprintf("%s seed %d", opening.Format("0102T1504"), seed), func(t *testing.T) {
				s := New(Options{Seed: seed, Now: opening})
				opening := s.Opening()
				long, short := history(t, s, 31*day, 30*time.Minute), history(t, s, 6*time.Hour, time.Minute)
				remaining := func(objective float64, period time.Duration, total, bad func(labels.Labels) bool) float64 {
					events, failed := window(long, opening, period, total, bad)
					return 1 - failed/((1-objective)*events)
				}
				within := func(what string, got, lo, hi float64) {
					t.Helper()
					if !(got >= lo && got <= hi) {
						t.Errorf("%s: %.3f, want %v to %v", what, got, lo, hi)
					}
				}
				burn := func(objective float64, of time.Duration, total, bad func(labels.Labels) bool) float64 {
					events, failed := window(short, opening, of, total, bad)
					if events == 0 {
						return 0
					}
					return failed / events / (1 - objective)
				}
				pay, cart := on("checkout", "/pay"), on("checkout", "/cart")
				within("checkout /pay: budget left", remaining(0.999, 30*day, pay(false), pay(true)), 0.02, 0.4)
				within("checkout /pay: burn in 1h", burn(0.999, time.Hour, pay(false), pay(true)), 14.4*2, 100)
				within("checkout /pay: burn in 5m", burn(0.999, 5*time.Minute, pay(false), pay(true)), 14.4*1.2, 120)
				within("checkout /pay: burn in 6h", burn(0.999, 6*time.Hour, pay(false), pay(true)), 3, 100)
				within("checkout /cart: budget left", remaining(0.999, 30*day, cart(false), cart(true)), 0.75, 1)

				catalog := on("catalog")
				if since := sinceFirst(opening); since > time.Hour {
					within("catalog: budget of the month left", remaining(0.995, since, catalog(false), catalog(true)), 0.5, 1)
				}
				within("catalog: burn in 1h", burn(0.995, time.Hour, catalog(false), catalog(true)), 0, 1)

				charge := on("payment", "/charge")
				within("payment: budget of the week left", remaining(0.9995, 7*day, charge(false), charge(true)), -1.5, -0.05)
				within("payment: burn in 1h", burn(0.9995, time.Hour, charge(false), charge(true)), 0, 6)

				timed := func(le string) func(labels.Labels) bool {
					return func(l labels.Labels) bool {
						return l.Get(model.MetricNameLabel) == durationsName+"_bucket" && l.Get("service") == "checkout" && l.Get("le") == le
					}
				}
				events, fast := window(long, opening, 30*day, timed("+Inf"), timed("0.3"))
				within("checkout-latency: budget left", 1-(events-fast)/(0.01*events), 0.2, 0.7)

				for hour := range 24 { // refunds sleep when people do
					at := opening.Truncate(day).Add(time.Duration(hour-24) * time.Hour)
					refund := on("payment", "/refund")
					upTo, _ := window(long, opening, opening.Sub(at), refund(false), refund(true))
					after, _ := window(long, opening, opening.Sub(at.Add(time.Hour)), refund(false), refund(true))
					switch n := upTo - after; {
					case (hour < 5 || hour > 21) && n > 0:
						t.Errorf("%v refunds in the hour after %d", n, hour)
					case hour > 9 && hour < 16 && n < 1000:
						t.Errorf("%v refunds in the hour after %d", n, hour)
					}
				}
			})
		}
	}
}

// A writer that is full is an error, not half a month.
func TestHistoryToFullDisk(t *testing.T) {
	s := New(Options{Now: noon})
	full := errors.New("disk full")
	if err := s.Month(writer(func([]byte) (int, error) { return 0, full })); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// A month has to be there before somebody gets impatient.
func BenchmarkMonth(b *testing.B) {
	s := New(Options{Seed: 1, Now: noon})
	var size int64
	for b.Loop() {
		size = 0
		if err := s.Month(writer(func(p []byte) (int, error) { size += int64(len(p)); return len(p), nil })); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(size)
	b.ReportMetric(float64(size)/1e6, "MB/month")
}

// Every minute of thirty days.
func BenchmarkHistory(b *testing.B) {
	s := New(Options{Seed: 1, Now: noon})
	var size int64
	for b.Loop() {
		size = 0
		if err := s.History(writer(func(p []byte) (int, error) { size += int64(len(p)); return len(p), nil }), noon.Add(-30*24*time.Hour), noon, time.Minute); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(size)
	b.ReportMetric(float64(size)/1e6, "MB/month")
}
