package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// contents is a store as a map: "bucket/key" to value.
type contents map[string]string

func (c contents) apply(records []Record) {
	for _, r := range records {
		if name := r.Bucket + "/" + string(r.Key); r.Value == nil {
			delete(c, name)
		} else {
			c[name] = string(r.Value)
		}
	}
}

// set is a record to write, drop one to delete.
func set(bucket, key, value string) Record { return Record{bucket, []byte(key), []byte(value)} }
func drop(bucket, key string) Record       { return Record{bucket, []byte(key), nil} }

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func fresh(t testing.TB) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	return open(t, path), path
}

func commit(t testing.TB, s *Store, records ...Record) {
	t.Helper()
	if err := s.Commit(records); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, s *Store) contents {
	t.Helper()
	c, err := loaded(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func loaded(s *Store) (contents, error) {
	c, last := contents{}, ""
	err := s.Load(func(r Record) error {
		name := r.Bucket + "/" + string(r.Key)
		if place := r.Bucket + "\x00" + string(r.Key); place <= last {
			return fmt.Errorf("%q comes after %q", place, last)
		} else {
			last = place
		}
		c[name] = string(r.Value)
		return nil
	})
	return c, err
}

func expect(t testing.TB, s *Store, want contents) {
	t.Helper()
	if got := load(t, s); !maps.Equal(got, want) {
		t.Fatalf("store holds %s, want %s", brief(got), brief(want))
	}
}

// brief is contents for a failure's message.
func brief(c contents) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d records", len(c))
	for i, k := range slices.Sorted(maps.Keys(c)) {
		if i == 12 {
			b.WriteString(" …")
			break
		}
		fmt.Fprintf(&b, " %q=%.12q", k, c[k])
	}
	return b.String()
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "state.db")
	s := open(t, path)
	expect(t, s, contents{})
	commit(t, s, set("slots", "10:00", "12/3"), set("slots", "10:01", ""), set("progress", "prom", "10:02"))
	commit(t, s, set("slots", "10:00", "13/3"), drop("slots", "9:00"), set("slots", "b", "1"), drop("slots", "b"), drop("nowhere", "x"))
	want := contents{"slots/10:00": "13/3", "slots/10:01": "", "progress/prom": "10:02"}
	expect(t, s, want)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error("second Close:", err)
	}
	if err := s.Commit([]Record{set("a", "b", "c")}); !errors.Is(err, ErrClosed) {
		t.Error("Commit after Close:", err)
	}
	if err := s.Load(func(Record) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Error("Load after Close:", err)
	}
	s = open(t, path)
	expect(t, s, want)
	if s.RolledBack {
		t.Error("a file that was closed well was rolled back")
	}
	if got := s.Buckets(); !maps.Equal(got, map[string]int{"slots": 2, "progress": 1}) {
		t.Error(got)
	}
	for name, mode := range map[string]fs.FileMode{"": 0o600, lockSuffix: 0o600} {
		if info, err := os.Stat(path + name); err != nil || info.Mode() != mode {
			t.Error(name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info.Mode(), err)
	}
}

func TestNilDeletesAndEmptyStays(t *testing.T) {
	s, _ := fresh(t)
	commit(t, s, Record{"b", []byte("empty"), []byte{}}, set("b", "gone", "x"))
	commit(t, s, Record{"b", []byte("gone"), nil})
	err := s.Load(func(r Record) error {
		if string(r.Key) != "empty" || r.Value == nil || len(r.Value) != 0 {
			t.Errorf("%+v", r)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCommitAllOrNone(t *testing.T) {
	s, _ := fresh(t)
	commit(t, s, set("slots", "a", "1"))
	for _, c := range []struct {
		name string
		bad  Record
	}{
		{"no bucket", set("", "k", "v")},
		{"the store's own bucket", set("\x00yoyu", "format", "9")},
		{"no key", set("slots", "", "v")},
		{"a key too long", set("slots", strings.Repeat("k", maxKey+1), "v")},
		{"a bucket too long", set(strings.Repeat("b", maxKey+1), "k", "v")},
	} {
		if err := s.Commit([]Record{set("slots", "b", "2"), c.bad, drop("slots", "a")}); err == nil {
			t.Error(c.name, "was committed")
		}
	}
	expect(t, s, contents{"slots/a": "1"})
	commit(t, s, set("slots", strings.Repeat("k", maxKey), "long"))
	commit(t, s, drop("slots", strings.Repeat("k", maxKey)), set("slots", "b", "2"))
	expect(t, s, contents{"slots/a": "1", "slots/b": "2"})
}

func TestLoadStopsWithYield(t *testing.T) {
	s, _ := fresh(t)
	commit(t, s, set("a", "1", "x"), set("a", "2", "x"), set("b", "1", "x"))
	enough, n := errors.New("enough"), 0
	err := s.Load(func(Record) error {
		if n++; n == 2 {
			return enough
		}
		return nil
	})
	if err != enough || n != 2 {
		t.Error(n, err)
	}
}

// Load hands over one moment, whatever is committed while it runs: pages it has yet to read are not
// used again before it is done.
func TestLoadIsOneMoment(t *testing.T) {
	s, _ := fresh(t)
	want := contents{}
	for i := range 200 {
		r := set("slots", fmt.Sprintf("%03d", i), strings.Repeat("before", 200))
		commit(t, s, r)
		want.apply([]Record{r})
	}
	got := contents{}
	err := s.Load(func(r Record) error {
		if len(got) == 0 {
			done := make(chan error)
			go func() {
				var err error
				for i := range 100 {
					err = errors.Join(err, s.Commit([]Record{set("slots", fmt.Sprintf("%03d", i*2), strings.Repeat("after!", 200)), drop("slots", fmt.Sprintf("%03d", i*2+1))}))
				}
				done <- err
			}()
			if err := <-done; err != nil {
				return err
			}
		}
		got[r.Bucket+"/"+string(r.Key)] = string(r.Value)
		return nil
	})
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%s, %v", brief(got), err)
	}
	if after := load(t, s); len(after) != 100 || after["slots/000"] != strings.Repeat("after!", 200) {
		t.Error(brief(after))
	}
}

// Records cross the sizes at which they are kept in another way, in any order, and the store always
// holds what a map holds.
func TestStoreIsAMap(t *testing.T) {
	s, path := fresh(t)
	s.db.NoSync = true
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 40, 900, 1100, 4000, 5000, large - recordHeader - 1, large - recordHeader, large, 200_000}
	want := contents{}
	for round := range 400 {
		var records []Record
		for range 1 + rng.IntN(8) {
			r := Record{Bucket: fmt.Sprint("bucket", rng.IntN(3)), Key: fmt.Appendf(nil, "%04d", rng.IntN(60))}
			if rng.IntN(3) > 0 {
				r.Value = bytes.Repeat([]byte{byte('a' + rng.IntN(26))}, sizes[rng.IntN(len(sizes))])
			}
			records = append(records, r)
		}
		commit(t, s, records...)
		want.apply(records)
		if round%20 == 0 {
			expect(t, s, want)
		}
		if round%50 == 0 {
			s.Close()
			s = open(t, path)
			s.db.NoSync = true
			expect(t, s, want)
		}
	}
	expect(t, s, want)
}

// Three levels of slots as the engine keeps them, each with its own expiry, for 120 days: once the
// longest level is full the file grows no more, but for what the order of freed pages makes.
func TestFileStaysBounded(t *testing.T) {
	s, path := fresh(t)
	s.db.NoSync = true
	const day = 24 * time.Hour
	levels := []struct {
		name       string
		slot, keep time.Duration
		size       int
	}{{"10m", 10 * time.Minute, day, 9_000}, {"1h", time.Hour, 7 * day, 30_000}, {"6h", 6 * time.Hour, 31 * day, 90_000}}
	stamp := func(d time.Duration) []byte { return fmt.Appendf(nil, "%09d", int(d/time.Second)) }
	rng := rand.New(rand.NewPCG(3, 4))
	var early, late, live int64
	end := 120 * day
	if stride(2) > 1 {
		end = 72 * day
	}
	for now := time.Duration(0); now < end; now += levels[0].slot {
		var records []Record
		for _, l := range levels {
			if now%l.slot != 0 {
				continue
			}
			value := make([]byte, l.size*(90+rng.IntN(21))/100)
			records = append(records, Record{l.name, stamp(now), value})
			if now >= l.keep {
				records = append(records, Record{l.name, stamp(now - l.keep), nil})
			}
		}
		commit(t, s, records...)
		if size := s.Size(); now < (31*day+end)/2 {
			early = size
		} else {
			late = max(late, size)
		}
	}
	for _, l := range levels {
		live += int64(l.keep/l.slot) * int64(l.size)
	}
	t.Logf("%d KB of slots, after %d days %d KB, until day %d at most %d KB", live>>10, (31*day+end)/2/day, early>>10, end/day, late>>10)
	if late > early+early/10 {
		t.Errorf("file grew from %d to %d bytes long after the longest level was full", early, late)
	}
	if late > live*3/2 {
		t.Errorf("file is %d bytes for %d bytes of slots", late, live)
	}
	s.Close()
	r, err := Verify(path, Options{})
	if err != nil || len(r.Buckets) != 3 || r.Buckets[2].Bucket != "6h" || r.Buckets[2].Records() != 124 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestBackupWhileRunning(t *testing.T) {
	s, path := fresh(t)
	commit(t, s, set("progress", "n", "0"))
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			value := strings.Repeat(fmt.Sprintf("%06d", n), 20_000)
			if err := s.Commit([]Record{set("slots", fmt.Sprintf("%06d", n%9), value), set("progress", "n", fmt.Sprint(n))}); err != nil {
				done <- err
				return
			}
		}
	}()
	for i := range 10 {
		copied := filepath.Join(t.TempDir(), "backup.db")
		f, err := os.Create(copied)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Backup(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		b := open(t, copied)
		if b.RolledBack {
			t.Error("a backup was rolled back")
		}
		got := load(t, b)
		var n int
		fmt.Sscan(got["progress/n"], &n)
		for k := max(1, n-8); k <= n; k++ {
			if v := got[fmt.Sprintf("slots/%06d", k%9)]; v != strings.Repeat(fmt.Sprintf("%06d", k), 20_000) {
				t.Fatalf("backup %d at commit %d: slot of %d holds %.12q", i, n, k, v)
			}
		}
		// The copy's older meta page leads to the same records: a backup survives the newer one.
		before := maps.Clone(got)
		b.Close()
		file, err := os.ReadFile(copied)
		if err != nil {
			t.Fatal(err)
		}
		file[pageSize*newer(file)+pageHeader+20] ^= 1
		if err := os.WriteFile(copied, file, 0o600); err != nil {
			t.Fatal(err)
		}
		b = open(t, copied)
		if !b.RolledBack {
			t.Error("the damaged meta page of a backup went unnoticed")
		}
		expect(t, b, before)
		commit(t, b, set("more", "a", "b"))
		before["more/a"] = "b"
		expect(t, b, before)
		b.Close()
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	full := errors.New("nothing goes through this pipe")
	r, w := io.Pipe()
	r.CloseWithError(full)
	if err := s.Backup(w); !errors.Is(err, full) {
		t.Error(err)
	}
	s.Close()
	if _, err := Verify(path, Options{}); err != nil {
		t.Error(err)
	}
}

// newer is the meta page of the newer transaction.
func newer(file []byte) int {
	if order.Uint64(file[pageHeader+48:]) > order.Uint64(file[pageSize+pageHeader+48:]) {
		return 0
	}
	return 1
}

func TestManyAtOnce(t *testing.T) {
	s, _ := fresh(t)
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for i := range 40 {
				if err := s.Commit([]Record{set(fmt.Sprint("g", g), fmt.Sprintf("%03d", i), strings.Repeat("x", i*3000))}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 20 {
				if _, err := loaded(s); err != nil {
					t.Error(err)
				}
				if err := s.Backup(io.Discard); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := load(t, s); len(got) != 120 {
		t.Error(brief(got))
	}
}

// Nobody else's file is touched, and what is no state file is not taken for one.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign.db")
	db, err := bolt.Open(foreign, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("members"))
		if err != nil {
			return err
		}
		return b.Put([]byte("etcd-0"), []byte("10.0.0.1"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"empty": "", "zeros": strings.Repeat("\x00", 40_000), "text": strings.Repeat("tick: 30s\n", 5000)} {
		if err := os.WriteFile(filepath.Join(dir, name+".db"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"foreign", "empty", "zeros", "text"} {
		path := filepath.Join(dir, name+".db")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(path, Options{})
		if d := new(Damage); !errors.As(err, &d) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: file was changed", name)
		}
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a folder was opened as a file")
	}
	if _, err := Verify(filepath.Join(dir, "missing.db"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "missing.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Verify made a file")
	}
}

// A process that died while it made its first file leaves half of one under another name.
func TestHalfMadeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, open(t, path), contents{})
}

func TestQuarantine(t *testing.T) {
	s, path := fresh(t)
	commit(t, s, set("slots", "a", "1"))
	if _, err := Quarantine(path, time.Unix(0, 0)); !errors.As(err, new(*LockedError)) {
		t.Error("a file in use was put aside:", err)
	}
	s.Close()
	at := time.Date(2026, 11, 3, 1, 2, 3, 0, time.FixedZone("JST", 9*3600))
	for i, want := range []string{path + ".damaged-20261102T160203Z", path + ".damaged-20261102T160203Z-2"} {
		content := fmt.Sprint("damaged ", i)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, Options{}); !errors.As(err, new(*Damage)) {
			t.Error(err)
		}
		moved, err := Quarantine(path, at)
		if err != nil || moved != want {
			t.Errorf("%s, %v, want %s", moved, err, want)
		}
		if kept, err := os.ReadFile(moved); err != nil || string(kept) != content {
			t.Errorf("%s holds %q, %v", moved, kept, err)
		}
	}
	if _, err := Quarantine(path, at); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	expect(t, open(t, path), contents{})
}
