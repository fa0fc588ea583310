package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

const benchTick = 30 * time.Second

var benchBegan = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func benchEngine(b *testing.B, n int, period time.Duration) (*slo.Engine, []slo.Sample) {
	b.Helper()
	e, err := slo.NewEngine(benchTick)
	if err != nil {
		b.Fatal(err)
	}
	target, err := slo.ParsePercent("99.9")
	if err != nil {
		b.Fatal(err)
	}
	rolling := slo.RollingPeriod(period)
	objectives, samples := make([]slo.Objective, n), make([]slo.Sample, n)
	for i := range objectives {
		name := fmt.Sprint("slo-", i)
		objectives[i] = slo.Objective{Name: name, Target: target, Period: rolling, Policy: slo.Workbook(rolling)}
		samples[i] = slo.Sample{SLO: name, Groups: []slo.GroupSample{{Increments: make([]slo.Increment, 1)}}, Covered: make([]slo.Span, 1)}
	}
	e.Set(objectives)
	return e, samples
}

func benchTurn(samples []slo.Sample, from, to time.Time) {
	span := slo.Span{From: from, To: to}
	for i := range samples {
		s := &samples[i]
		s.Span, s.Covered[0], s.Newest = span, span, to
		s.Groups[0].Increments[0] = slo.Increment{At: to, Total: float64(1000 + i%1000), Bad: float64(i % 2)}
	}
}

// BenchmarkTickDurable is a tick that is on disk before it is shown: ns/slo is all of it but the sync
// of its transaction, fsync-ms what the disk takes for one of as many bytes.
func BenchmarkTickDurable(b *testing.B) {
	const n = 100_000
	b.Run(fmt.Sprintf("slos=%d", n), func(b *testing.B) {
		dir := b.TempDir()
		e, samples := benchEngine(b, n, 30*slo.Day)
		st := newState(dir, slog.New(slog.DiscardHandler))
		if _, err := st.open(e, false); err != nil {
			b.Fatal(err)
		}
		defer st.close()
		e.Watch(benchBegan)
		now := benchBegan
		names := make([]string, n)
		for i := range samples {
			names[i] = samples[i].SLO
		}
		var memory, changes, commits []time.Duration
		turn := func() {
			// A thousand answers at a time, as they come from a source: out of the cache.
			var observed time.Duration
			batch := samples[:1000]
			for first := 0; first < n; first += len(batch) {
				for i := range batch {
					batch[i].SLO = names[first+i]
				}
				benchTurn(batch, now, now.Add(benchTick))
				start := time.Now()
				if err := e.Observe(batch...); err != nil {
					b.Fatal(err)
				}
				observed += time.Since(start)
			}
			now = now.Add(benchTick)
			start := time.Now()
			e.Judge(now)
			judged := time.Now()
			st.commit(e, nil)
			done := time.Now()
			if st.trouble != "" {
				b.Fatal(st.trouble)
			}
			memory, commits = append(memory, observed+judged.Sub(start)), append(commits, done.Sub(judged))
			// What of the commit is not the disk's: the records, made once more.
			start = time.Now()
			_, _ = e.Changes()
			changes = append(changes, time.Since(start))
		}
		for range 70 {
			turn()
		}
		memory, changes, commits = nil, nil, nil
		b.ReportAllocs()
		for b.Loop() {
			turn()
		}
		per := func(d []time.Duration) float64 {
			slices.Sort(d)
			return float64(d[len(d)/2].Nanoseconds()) / n
		}
		ms := func(d []time.Duration) float64 {
			slices.Sort(d)
			return float64(d[len(d)/2].Microseconds()) / 1000
		}
		fsync := ms(syncs(b, dir, 600<<10))
		b.ReportMetric(per(memory)+per(commits)-fsync*1e6/n, "ns/slo")
		b.ReportMetric(per(memory), "memory-ns/slo")
		b.ReportMetric(per(changes), "records-ns/slo")
		b.ReportMetric(ms(commits), "commit-ms")
		b.ReportMetric(fsync, "fsync-ms")
	})
}

// syncs is how long the disk takes for one write and sync of so many bytes.
func syncs(b *testing.B, dir string, size int) (took []time.Duration) {
	f, err := os.Create(filepath.Join(dir, "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, size)
	for i := range 20 {
		start := time.Now()
		if _, err := f.WriteAt(buf, int64(i*size)); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	return took
}

// BenchmarkRestart opens the state of 100,000 SLOs with 90 days behind them, checks all of it, and
// is ready for the first tick.
func BenchmarkRestart(b *testing.B) {
	const n = 100_000
	b.Run(fmt.Sprintf("slos=%d", n), func(b *testing.B) {
		dir := b.TempDir()
		func() {
			e, samples := benchEngine(b, n, 90*slo.Day)
			st := newState(dir, slog.New(slog.DiscardHandler))
			if _, err := st.open(e, false); err != nil {
				b.Fatal(err)
			}
			defer st.close()
			span := slo.Span{From: benchBegan, To: benchBegan.Add(90 * slo.Day)}
			var increments []slo.Increment
			// Every slot counts something: those of more than a week ago are longer than an hour.
			for at, step := span.From, time.Hour; at.Before(span.To); at = at.Add(step) {
				if span.To.Sub(at) <= 7*slo.Day {
					step = 5 * time.Minute
				}
				increments = append(increments, slo.Increment{
					At: at.Add(benchTick), Total: 700 * float64(step/(5*time.Minute)), Bad: float64(len(increments) % 7 / 6),
				})
			}
			one := samples[0]
			for i := range samples {
				one.SLO = samples[i].SLO
				one.Span, one.Covered, one.Groups = span, []slo.Span{span}, []slo.GroupSample{{Increments: increments}}
				if err := e.Observe(one); err != nil {
					b.Fatal(err)
				}
			}
			e.Judge(span.To)
			st.commit(e, nil)
			if st.trouble != "" {
				b.Fatal(st.trouble)
			}
			b.Logf("state of %d bytes", st.store.Size())
		}()
		for b.Loop() {
			// Whoever wrote the file was another process: its memory is not missing for the file's cache.
			debug.FreeOSMemory()
			e, _ := benchEngine(b, n, 90*slo.Day)
			st := newState(dir, slog.New(slog.DiscardHandler))
			start := time.Now()
			if _, err := st.open(e, false); err != nil {
				b.Fatal(err)
			}
			e.Judge(benchBegan.Add(90 * slo.Day))
			b.ReportMetric(time.Since(start).Seconds(), "s")
			st.close()
		}
	})
}

// BenchmarkStateFile is how the file of 20 SLOs with a period of 30 days grows once it has come to its
// size: after 120 simulated days against after 90.
func BenchmarkStateFile(b *testing.B) {
	b.Run("days=120", func(b *testing.B) {
		for b.Loop() {
			e, samples := benchEngine(b, 20, 30*slo.Day)
			st := newState(b.TempDir(), slog.New(slog.DiscardHandler))
			if _, err := st.open(e, false); err != nil {
				b.Fatal(err)
			}
			size := map[int]int64{}
			now := benchBegan
			for day := 1; day <= 120; day++ {
				for range 8 { // commits, each of which waits for the disk
					for range 36 { // answers of five minutes: what expires is the same as of ten ticks
						benchTurn(samples, now, now.Add(5*time.Minute))
						now = now.Add(5 * time.Minute)
						if err := e.Observe(samples...); err != nil {
							b.Fatal(err)
						}
						e.Judge(now)
					}
					st.commit(e, nil)
				}
				if st.trouble != "" {
					b.Fatal(st.trouble)
				}
				size[day] = st.store.Size()
			}
			b.ReportMetric(float64(size[120])/float64(size[90]), "x-size")
			b.ReportMetric(float64(size[120])/(1<<20), "MiB")
			st.close()
		}
	})
}
