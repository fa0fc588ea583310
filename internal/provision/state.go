package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// state remembers which objects were made, by organisation, so that an empty listing is not taken
// for a first run. It is written after every step, whole or not at all.
type state struct {
	path  string
	where string // the organisation's address, with a word where that has several
	all   stateFile
}

// stateFile is the file: JSON, for people to read.
type stateFile struct {
	Version       int                         `json:"version"`
	Organisations map[string]map[string]entry `json:"organisations"` // by address or "address word", then by "kind/key"
}

// entry is one object.
type entry struct {
	ID      string    `json:"id,omitempty"`
	Pending bool      `json:"pending,omitempty"` // it is about to be made: it may be there already
	Made    time.Time `json:"made,omitzero"`
}

// fresh reports whether an object was made so lately that a read may not find it yet.
func (e entry) fresh() bool { return !e.Made.IsZero() && time.Since(e.Made) < 2*time.Minute }

const stateVersion = 1

// readState reads the file; one that is not there is empty.
func readState(path, where string) (*state, error) {
	s := &state{path: path, where: where, all: stateFile{Version: stateVersion, Organisations: map[string]map[string]entry{}}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if err := json.Unmarshal(data, &s.all); err != nil {
		return nil, fmt.Errorf("state: %s: is damaged (%w); delete it if nothing else remembers: objects are found by their marks", path, err)
	}
	if s.all.Version != stateVersion {
		return nil, fmt.Errorf("state: %s: is of version %d, this yoyu writes %d", path, s.all.Version, stateVersion)
	}
	if s.all.Organisations == nil {
		s.all.Organisations = map[string]map[string]entry{}
	}
	return s, nil
}

func (s *state) get(kind Kind, key string) entry {
	return s.all.Organisations[s.where][string(kind)+"/"+key]
}

// known is how many objects of a kind have an id.
func (s *state) known(kind Kind) int {
	n := 0
	for name, e := range s.all.Organisations[s.where] {
		if strings.HasPrefix(name, string(kind)+"/") && e.ID != "" {
			n++
		}
	}
	return n
}

func (s *state) empty() bool { return len(s.all.Organisations[s.where]) == 0 }

// set writes down what is known of an object; the zero entry forgets it.
func (s *state) set(kind Kind, key string, e entry) error {
	if s.all.Organisations[s.where] == nil {
		s.all.Organisations[s.where] = map[string]entry{}
	}
	name := string(kind) + "/" + key
	if e == (entry{}) {
		delete(s.all.Organisations[s.where], name)
	} else {
		s.all.Organisations[s.where][name] = e
	}
	return s.write()
}

// keep forgets the objects that are not to be kept.
func (s *state) keep(wanted func(kind Kind, key string) bool) error {
	changed := false
	for name := range s.all.Organisations[s.where] {
		if kind, key, _ := strings.Cut(name, "/"); !wanted(Kind(kind), key) {
			delete(s.all.Organisations[s.where], name)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return s.write()
}

// write replaces the file: a new one beside it, on the disk before it takes the name.
func (s *state) write() error {
	text, err := json.MarshalIndent(s.all, "", "  ")
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	folder := filepath.Dir(s.path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	f, err := os.CreateTemp(folder, filepath.Base(s.path)+".*")
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	defer os.Remove(f.Name()) // it has another name by then
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if d, err := os.Open(folder); err == nil { // some file systems cannot, and then need not
		_ = d.Sync()
		d.Close()
	}
	return nil
}
