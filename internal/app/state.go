package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/internal/store"
	"github.com/yoyu-sre/yoyu/slo"
)

// state is what survives a restart: the engine's records and what scrapes remember, in one file,
// one transaction a tick. While it cannot be written yoyu goes on from memory and says so.
type state struct {
	dir     string
	log     *slog.Logger
	mu      sync.Mutex   // guards what follows: the loop commits, a reload asks
	store   *store.Store // nil while it cannot be opened
	retry   time.Time    // when to try again
	trouble string       // why it is not durable; "" when it is

	committed time.Time // when it last became so; zero before

	restored bool                     // there was something in the file
	kept     map[string]slo.Progress  // what sources remember, as durable
	progress map[string]*slo.Progress // and what is newer
	names    map[string][]byte        // of progress, as durable

	memory     *rightsizing.Memory // what was seen of workloads and alerts; the loop's alone
	remembered map[string][]byte   // of it, changed and not yet durable

	writable prometheus.Gauge
	commits  prometheus.Histogram
	size     prometheus.Gauge
}

// The buckets of what sources remember, by SLO, and of what rightsizing remembers.
const (
	nameBucket   = "source-names"
	valueBucket  = "source-values"
	memoryBucket = "rightsizing"
)

// stateFile is the file in the storage folder.
const stateFile = "yoyu.db"

func newState(dir string, log *slog.Logger) *state {
	s := &state{
		dir: dir, log: log, kept: map[string]slo.Progress{}, progress: map[string]*slo.Progress{}, names: map[string][]byte{},
		memory: rightsizing.NewMemory(), remembered: map[string][]byte{},
		writable: prometheus.NewGauge(prometheus.GaugeOpts{Name: "yoyu_store_writable",
			Help: "Whether the state is durable: the last write to the storage path succeeded."}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "yoyu_store_commit_duration_seconds",
			Help: "How long making a tick durable took.", Buckets: []float64{.001, .005, .025, .1, .5, 2.5}}),
		size: prometheus.NewGauge(prometheus.GaugeOpts{Name: "yoyu_store_size_bytes", Help: "Size of the state file."}),
	}
	return s
}

func (s *state) collectors() []prometheus.Collector {
	return []prometheus.Collector{s.writable, s.commits, s.size}
}

func (s *state) file() string { return filepath.Join(s.dir, stateFile) }

// open brings back what was durable: the engine's records into the engine, what sources remember
// as the answer. A file that is damaged, locked or of a newer yoyu is an error, unless quarantine
// lets a damaged one be moved aside. A folder that cannot be used is none: yoyu goes on from
// memory.
func (s *state) open(e *slo.Engine, quarantine bool) (map[string]slo.Progress, error) {
	e.Keeping()
	for attempt := 0; ; attempt++ {
		progress, err := s.load(e)
		var damage *store.Damage
		switch {
		case err == nil:
			s.writable.Set(1)
			return progress, nil
		case errors.Is(err, slo.ErrOtherTick):
			err = fmt.Errorf("%s: %w than %s: take another --storage.path, or move it aside with --storage.on-corruption=quarantine",
				s.file(), slo.ErrOtherTick, slo.FormatDuration(e.Tick()))
		case errors.As(err, &damage):
		case fatal(err):
			return nil, err
		default:
			s.fail(err)
			return nil, nil
		}
		if !quarantine || attempt > 0 {
			return nil, err
		}
		moved, moving := store.Quarantine(s.file(), time.Now())
		if moving != nil {
			return nil, errors.Join(err, moving)
		}
		s.log.Warn("state moved aside, windows are filled from the sources again", "moved", moved, "why", err)
	}
}

// fatal are the errors of a file that must not be touched.
func fatal(err error) bool {
	var locked *store.LockedError
	var format *store.FormatError
	return errors.As(err, &locked) || errors.As(err, &format)
}

func (s *state) load(e *slo.Engine) (map[string]slo.Progress, error) {
	opened, err := store.Open(s.file(), store.Options{Logger: s.log, Describe: describe(e.Tick())})
	if err != nil {
		return nil, err
	}
	progress := map[string]slo.Progress{}
	var records []slo.Record
	var memory []rightsizing.Record
	err = opened.Load(func(r store.Record) error {
		switch r.Bucket {
		case nameBucket:
			p := progress[string(r.Key)]
			p.Names = bytes.Clone(r.Value)
			progress[string(r.Key)] = p
			s.names[string(r.Key)] = p.Names
		case valueBucket:
			p := progress[string(r.Key)]
			p.Values = bytes.Clone(r.Value)
			progress[string(r.Key)] = p
		case memoryBucket:
			memory = append(memory, rightsizing.Record{Key: string(r.Key), Value: bytes.Clone(r.Value)})
		default:
			records = append(records, slo.Record{Bucket: r.Bucket, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
		}
		return nil
	})
	if err == nil {
		parts := runtime.GOMAXPROCS(0)
		err = e.RestoreParted(records, parts, func(part func(int)) {
			var all sync.WaitGroup
			for i := range parts {
				all.Go(func() { part(i) })
			}
			all.Wait()
		})
	}
	if err == nil {
		err = s.memory.Restore(memory)
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	s.store, s.restored, s.kept = opened, len(records) > 0, progress
	return progress, nil
}

func describe(tick time.Duration) func(bucket string, key []byte) string {
	return func(bucket string, key []byte) string {
		if bucket == memoryBucket {
			return "what was seen of " + strings.Join(strings.FieldsFunc(string(key), func(r rune) bool { return r == 0 }), " ")
		}
		if bucket == nameBucket || bucket == valueBucket {
			return "last values of the series of slo " + string(key)
		}
		return slo.DescribeRecord(tick, bucket, key)
	}
}

// commit makes durable what changed. What cannot be written now is written with the next tick.
func (s *state) commit(e *slo.Engine, progress map[string]*slo.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, p := range progress {
		s.progress[name] = p
	}
	seen, err := s.memory.Changes()
	if err != nil {
		s.log.Error("memory of workloads cannot be kept", "err", err)
	}
	for _, r := range seen {
		s.remembered[r.Key] = r.Value
	}
	if s.store == nil && !s.reopen() {
		return
	}
	changes, done := e.Changes()
	records := make([]store.Record, 0, len(changes)+2*len(s.progress))
	for _, r := range changes {
		records = append(records, store.Record(r))
	}
	for name, p := range s.progress {
		if !bytes.Equal(s.names[name], p.Names) {
			records = append(records, store.Record{Bucket: nameBucket, Key: []byte(name), Value: p.Names})
		}
		records = append(records, store.Record{Bucket: valueBucket, Key: []byte(name), Value: p.Values})
	}
	for key, value := range s.remembered {
		records = append(records, store.Record{Bucket: memoryBucket, Key: []byte(key), Value: value})
	}
	began := time.Now()
	if err := s.store.Commit(records); err != nil {
		s.fail(err)
		return
	}
	s.commits.Observe(time.Since(began).Seconds())
	done()
	for name, p := range s.progress {
		s.names[name], s.kept[name] = p.Names, *p
	}
	clear(s.progress)
	clear(s.remembered)
	s.committed = time.Now()
	s.size.Set(float64(s.store.Size()))
	s.writable.Set(1)
	if s.trouble != "" {
		s.log.Info("state is durable again", "file", s.file())
		s.trouble = ""
	}
}

// reopen tries to open a file that could not be opened at the start. One that turns out to hold a
// state of its own is left alone: only a restart can take it over.
func (s *state) reopen() bool {
	now := time.Now()
	if now.Before(s.retry) {
		return false
	}
	s.retry = now.Add(10 * time.Second)
	opened, err := store.Open(s.file(), store.Options{Logger: s.log})
	if err != nil {
		s.fail(err)
		return false
	}
	empty := true
	err = opened.Load(func(store.Record) error { empty = false; return nil })
	if err == nil && !empty {
		err = errors.New("it can be read again and holds a state of its own: restart yoyu to take it over")
	}
	if err != nil {
		s.fail(errors.Join(fmt.Errorf("%s: %w", s.file(), err), opened.Close()))
		return false
	}
	s.store = opened
	return true
}

// fail says once why the state is not durable, until it is again or the reason changes.
func (s *state) fail(err error) {
	s.writable.Set(0)
	if text := err.Error(); text != s.trouble {
		s.trouble = text
		s.log.Error("state is not durable, yoyu goes on from memory", "err", err)
	}
}

// progressNow is what sources remember at this moment: for a source that a reload makes anew.
func (s *state) progressNow() map[string]slo.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := maps.Clone(s.kept)
	for name, p := range s.progress {
		out[name] = *p
	}
	return out
}

// notices is what the page has to say about the state.
func (s *state) notices() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == "" {
		return nil
	}
	return []string{"The state is not durable, a restart would have to ask for everything again: " + s.trouble}
}

func (s *state) close() {
	if s.store == nil {
		return
	}
	if err := s.store.Close(); err != nil {
		s.log.Error("state not closed", "err", err)
	}
	s.store = nil
}

func addState(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("state", "Look after the file in which counts survive; of a daemon that is not running.")
	dir := c.Flag("storage.path", "Folder for what must survive a restart.").Default("data/").String()
	verb := c.Arg("verb", "verify: check every record; dump: print them, a JSON object a line; backup: copy to --to.").Required().Enum("verify", "dump", "backup")
	to := c.Flag("to", "Where backup writes the copy.").String()
	return "state", func(context.Context) error {
		file := filepath.Join(*dir, stateFile)
		switch *verb {
		case "verify":
			report, err := store.Verify(file, store.Options{Describe: describe(tickOf(file))})
			if err != nil {
				return err
			}
			return json.NewEncoder(p.stdout).Encode(report)
		case "dump":
			return p.dump(file)
		}
		return backup(file, *to)
	}
}

// tickOf is the tick that a file was counted with; a second where it cannot say.
func tickOf(file string) time.Duration {
	tick := time.Second
	_, _ = store.Read(file, store.Options{}, func(r store.Record) error { // who reads it next says what is wrong
		if t, ok := slo.RecordedTick(slo.Record(r)); ok {
			tick = t
		}
		return nil
	})
	return tick
}

// dump prints what a file holds, also what is whole in a damaged one.
func (p *process) dump(file string) error {
	out := json.NewEncoder(p.stdout)
	about := describe(tickOf(file))
	_, err := store.Read(file, store.Options{Describe: about}, func(r store.Record) error {
		line := struct {
			Bucket string          `json:"bucket"`
			About  string          `json:"about"`
			Bytes  int             `json:"bytes"`
			Cells  []slo.Cell      `json:"cells,omitempty"`
			Value  json.RawMessage `json:"value,omitempty"`
		}{Bucket: r.Bucket, About: about(r.Bucket, r.Key), Bytes: len(r.Value), Cells: slo.Cells(slo.Record(r))}
		if len(r.Value) > 0 && r.Value[0] == '{' && json.Valid(r.Value) {
			line.Value = bytes.Clone(r.Value)
		}
		return out.Encode(line)
	})
	return err
}

// backup copies a file whole, or not at all.
func backup(file, to string) error {
	if to == "" {
		return errors.New("state backup: --to names the copy")
	}
	if _, err := os.Stat(file); err != nil {
		return err
	}
	s, err := store.Open(file, store.Options{})
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	err = errors.Join(s.Backup(out), out.Sync(), out.Close(), s.Close())
	if err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}
