package app

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/slo"
)

// state is what survives a restart on disk: so far, which groups of each objective are kept apart,
// so that a restart does not shuffle groups between their own budget and _other. Counts are asked
// for again.
type state struct {
	dir      string
	log      *slog.Logger
	writable prometheus.Gauge

	mu    sync.Mutex
	names []string
	saved map[string][][]string
}

func newState(dir string, log *slog.Logger) *state {
	return &state{dir: dir, log: log, saved: map[string][][]string{}, writable: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "yoyu_store_writable", Help: "Whether the last write to the storage path succeeded; 1 before the first.",
	})}
}

func (s *state) file() string { return filepath.Join(s.dir, "groups.json") }

// restore hands the engine the groups it kept apart before. A file that cannot be read is said and
// passed over: groups then take their places as they come.
func (s *state) restore(e *slo.Engine, c *config.Config) {
	s.writable.Set(1)
	text, err := os.ReadFile(s.file())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(text, &s.saved)
	}
	if err != nil {
		s.log.Warn("state: groups kept apart before are not known", "file", s.file(), "err", err)
		s.saved = map[string][][]string{}
		return
	}
	for _, o := range c.Objectives {
		e.Keep(o.Name, s.saved[o.Name])
	}
}

// objectives says whose groups are saved from now on.
func (s *state) objectives(c *config.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = s.names[:0]
	for _, o := range c.Objectives {
		if len(o.GroupBy) > 0 {
			s.names = append(s.names, o.Name)
		}
	}
}

// observed saves the groups when they changed.
func (s *state) observed(e *slo.Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := make(map[string][][]string, len(s.names))
	for _, name := range s.names {
		if kept := e.Kept(name); len(kept) > 0 {
			now[name] = kept
		}
	}
	if reflect.DeepEqual(now, s.saved) {
		return
	}
	if err := s.write(now); err != nil {
		s.writable.Set(0)
		s.log.Warn("state: not written, yoyu goes on from memory", "err", err)
		return
	}
	s.writable.Set(1)
	s.saved = now
}

// write replaces the file as a whole: readers find the old one or the new one.
func (s *state) write(groups map[string][][]string) error {
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return err
	}
	text, err := json.MarshalIndent(groups, "", " ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, ".groups-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), s.file())
}
