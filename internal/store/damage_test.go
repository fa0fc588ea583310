package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// small is a store with a bit of everything: a bucket with branch pages, one that is kept inline,
// a record with pages of its own, free pages; and what it held at each of its last two
// transactions, and as a file after each.
type small struct {
	path             string
	previous, newest contents
	files            [][]byte // after each transaction, without the unused end
}

func smallStore(t testing.TB) *small {
	t.Helper()
	s, path := fresh(t)
	m := &small{path: path, newest: contents{}}
	step := func(records ...Record) {
		commit(t, s, records...)
		m.previous = maps.Clone(m.newest)
		m.newest.apply(records)
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m.files = append(m.files, file[:s.meta.high*pageSize])
	}
	for tick := range 6 {
		var records []Record
		for i := range 40 {
			records = append(records, set("slots", fmt.Sprintf("%02d:%02d", tick, i), strings.Repeat(fmt.Sprint(tick), 30+i)))
		}
		records = append(records, set("progress", "prom", fmt.Sprint(tick)), set("large", "dictionary", strings.Repeat(fmt.Sprint(tick), large)))
		if tick > 3 {
			for i := range 40 {
				records = append(records, drop("slots", fmt.Sprintf("%02d:%02d", tick-4, i)))
			}
		}
		step(records...)
	}
	s.Close()
	return m
}

// law is the promise: the same records; or an error that says where and what; or the records of the
// transaction before, and RolledBack. It returns which of the three.
func (m *small) law(t *testing.T, what string, got contents, rolledBack bool, err error) string {
	t.Helper()
	if err != nil {
		d := new(Damage)
		if !errors.As(err, &d) || d.Place == "" || d.Err == nil {
			t.Errorf("%s: %v", what, err)
		}
		return "refused"
	}
	want, outcome := m.newest, "same"
	if rolledBack {
		want, outcome = m.previous, "rolled back"
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s (rolled back: %v): store holds %s, want %s", what, rolledBack, brief(got), brief(want))
	}
	return outcome
}

// inMemory reads a file without bbolt.
func (m *small) inMemory(file []byte) (contents, bool, error) {
	got := contents{}
	w, err := examine(m.path, bytes.NewReader(file), int64(len(file)), nil)
	if err != nil {
		return nil, false, err
	}
	_, err = w.read(m.path, nil, func(r Record) error {
		got[r.Bucket+"/"+string(r.Key)] = string(r.Value)
		return nil
	})
	return got, w.rolledBack, err
}

// onDisk opens the file as yoyu does.
func (m *small) onDisk() (contents, bool, error) {
	s, err := Open(m.path, Options{})
	if err != nil {
		return nil, false, err
	}
	defer s.Close()
	got, err := loaded(s)
	return got, s.RolledBack, err
}

// stride thins out what takes long under the race detector and with -short.
func stride(n int) int {
	switch {
	case underRace:
		return 5 * n
	case testing.Short():
		return n
	}
	return 1
}

// dull pages are free, or hold nothing but one byte: the inside of the large record. One byte of them
// stands for many.
func (m *small) dull(t *testing.T, file []byte) map[int]bool {
	dull := map[int]bool{}
	for at := 0; at < len(file); at += pageSize {
		page := file[at : at+pageSize]
		dull[at/pageSize] = bytes.Count(page, page[:1]) == len(page)
	}
	i, err := readImage(m.path, bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range (&walk{image: i, used: make([]bool, i.high)}).free() {
		dull[int(id)] = true
	}
	return dull
}

func TestEveryByteFlipped(t *testing.T) {
	t.Parallel()
	m := smallStore(t)
	file := slices.Clone(m.files[len(m.files)-1])
	f, err := os.OpenFile(m.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	outcomes, onDisk, dull := map[string]int{}, map[string]int{}, m.dull(t, file)
	for page := 0; page < len(file); page += pageSize {
		step := stride(11)
		if dull[page/pageSize] {
			step = 257
		}
		for i := page; i < page+pageSize && !t.Failed(); i += step {
			mask := byte(1 << (i / 2 % 8))
			if i%2 == 0 {
				mask = 0xff
			}
			file[i] ^= mask
			what := fmt.Sprintf("byte %d ^ %#x", i, mask)
			got, rolledBack, err := m.inMemory(file)
			outcomes[m.law(t, what, got, rolledBack, err)]++
			// The same through bbolt and the disk: what describes pages, and samples of the rest.
			if in := i - page; in < slotSize || in < 1500 && page >= 2*pageSize && in%5 == 0 || in%101 == 0 {
				if _, err := f.WriteAt(file[i:i+1], int64(i)); err != nil {
					t.Fatal(err)
				}
				got, rolledBack, err := m.onDisk()
				onDisk[m.law(t, what+" on disk", got, rolledBack, err)]++
				if _, err := f.WriteAt([]byte{file[i] ^ mask}, int64(i)); err != nil {
					t.Fatal(err)
				}
			}
			file[i] ^= mask
		}
	}
	t.Log(len(file), "bytes, in memory", outcomes, "on disk", onDisk)
	for _, o := range []map[string]int{outcomes, onDisk} {
		if o["refused"] == 0 || o["same"] == 0 || o["rolled back"] == 0 {
			t.Error("not every outcome was seen")
		}
	}
	if got, rolledBack, err := m.onDisk(); m.law(t, "after all", got, rolledBack, err) != "same" {
		t.Error("the file was changed by being opened:", err)
	}
}

func TestEveryLengthCut(t *testing.T) {
	t.Parallel()
	m := smallStore(t)
	file := m.files[len(m.files)-1]
	for n := 0; n < len(file) && !t.Failed(); n += 1 + n/(16*pageSize)*12*stride(7) { // all of the tree, samples of the large record
		got, rolledBack, err := m.inMemory(file[:n])
		if m.law(t, fmt.Sprintf("cut to %d bytes", n), got, rolledBack, err) != "refused" {
			t.Errorf("cut to %d bytes it was opened", n)
		}
	}
	whole, err := os.ReadFile(m.path)
	if err != nil {
		t.Fatal(err)
	}
	for n := len(whole); n >= 0; n -= 1 + 397*stride(5) {
		if err := os.Truncate(m.path, int64(n)); err != nil {
			t.Fatal(err)
		}
		got, rolledBack, err := m.onDisk()
		if outcome := m.law(t, fmt.Sprintf("cut to %d bytes on disk", n), got, rolledBack, err); (outcome == "same") != (n >= len(file)) {
			t.Errorf("cut to %d of %d bytes: %s", n, len(file), outcome)
		}
	}
}

// A page that was lost and one that went to a wrong place: whole pages, each with the marks of
// bbolt, of all ages and all places.
func TestEveryPageReplaced(t *testing.T) {
	t.Parallel()
	m := smallStore(t)
	file := m.files[len(m.files)-1]
	outcomes := map[string]int{}
	// A meta page that tells nothing may have been the newer one: then that is said, in doubt.
	illegible := func(at int, got contents, rolledBack bool) bool {
		return rolledBack && (at >= 2*pageSize || !maps.Equal(got, m.newest))
	}
	for at := 0; at < len(file) && !t.Failed(); at += pageSize {
		was := slices.Clone(file[at : at+pageSize])
		for age, old := range m.files {
			for from := 0; from < len(old) && !t.Failed(); from += pageSize {
				if age != len(m.files)-1 && from != at && from/pageSize%(3*stride(5)) != 0 {
					continue
				}
				copy(file[at:], old[from:from+pageSize])
				got, rolledBack, err := m.inMemory(file)
				// The older file's newer meta page is the previous transaction's: then that is what
				// the file stands at, and a lost last transaction is not told from none.
				if at < 2*pageSize && err == nil && !rolledBack && maps.Equal(got, m.previous) {
					rolledBack = true
				}
				what := fmt.Sprintf("page %d by page %d of transaction %d", at/pageSize, from/pageSize, age)
				outcomes[m.law(t, what, got, illegible(at, got, rolledBack), err)]++
			}
		}
		clear(file[at : at+pageSize])
		got, rolledBack, err := m.inMemory(file)
		outcomes[m.law(t, fmt.Sprintf("page %d zeroed", at/pageSize), got, illegible(at, got, rolledBack), err)]++
		copy(file[at:], was)
	}
	t.Log(outcomes)
}

// A disk that has kept the meta pages of the last transaction and lost its data: pages take turns,
// so what stands there is a transaction before, perfectly whole. Only the digest's number tells.
func TestLostWrites(t *testing.T) {
	s, path := fresh(t)
	var files [][]byte
	for i := range 12 {
		commit(t, s, set("slots", "now", fmt.Sprint(i)))
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file[:s.meta.high*pageSize])
	}
	s.Close()
	whole := false
	for n := 5; n < len(files); n++ {
		lost := slices.Clone(files[n])
		copy(lost[2*pageSize:], files[n-2][2*pageSize:])
		i, err := readImage(path, bytes.NewReader(lost), int64(len(lost)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = i.read(path, nil, nil)
		if !errors.As(err, new(*Damage)) {
			t.Errorf("commit %d lost its data, and the file is opened: %v", n, err)
		} else {
			whole = whole || strings.Contains(err.Error(), "a write was lost")
		}
	}
	if !whole {
		t.Error("no case was left to the digest alone")
	}
}

// After a fallback the file goes on: the next commits mend it.
func TestRolledBackGoesOn(t *testing.T) {
	m := smallStore(t)
	file := m.files[len(m.files)-1]
	at := int64(newer(file)*pageSize + pageHeader + 40)
	f, err := os.OpenFile(m.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{^file[at]}, at); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(m.path, Options{})
	if err != nil || !r.FellBack {
		t.Errorf("%+v, %v", r, err)
	}
	s := open(t, m.path)
	if !s.RolledBack {
		t.Fatal("not rolled back")
	}
	expect(t, s, m.previous)
	for i := range 3 {
		r := set("slots", fmt.Sprint("after ", i), "again")
		commit(t, s, r)
		m.previous.apply([]Record{r})
		expect(t, s, m.previous)
	}
	s.Close()
	s = open(t, m.path)
	if s.RolledBack {
		t.Error("rolled back again")
	}
	expect(t, s, m.previous)
}

// The report names what an operator knows: minutes, not pages.
func TestDamageNamesWhatIsAffected(t *testing.T) {
	s, path := fresh(t)
	var records []Record
	for minute := range 600 {
		records = append(records, Record{"slots", binary.BigEndian.AppendUint32(nil, uint32(minute*60)), []byte("counts of all SLOs")})
	}
	commit(t, s, records...)
	s.Close()
	clock := func(key []byte) string {
		at := binary.BigEndian.Uint32(key) // panics on a key that is too short
		return fmt.Sprintf("%02d:%02d", at/3600, at/60%60)
	}
	o := Options{Describe: func(bucket string, key []byte) string { return bucket + " " + clock(key) }}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		at       int
		affected string // the first
		n        int
		whole    int // records that Read hands over all the same
	}{
		{"a value", bytes.Index(file, records[100].Key) + 4 + recordHeader + 3, "slots 01:40", 1, 599},
		{"a page's header", bytes.Index(file, records[100].Key) / pageSize * pageSize, "slots from slots 01:25 to before slots 02:50", 1, 515},
	} {
		file[c.at] ^= 0x10
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		file[c.at] ^= 0x10
		_, err := Open(path, o)
		d := new(Damage)
		if !errors.As(err, &d) || len(d.Affected) != c.n || d.Affected[0] != c.affected {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, word := range []string{path, fmt.Sprint("page ", c.at/pageSize), c.affected, "--storage.on-corruption=quarantine"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q is missing in: %v", c.name, word, err)
			}
		}
		n := 0
		r, err := Read(path, o, func(Record) error { n++; return nil })
		if r.Damage == nil || err == nil || n != c.whole || r.Buckets[0].Records() != n || r.Format != Format {
			t.Errorf("%s: %d records, %+v", c.name, n, r)
		}
	}
}

func TestDamageError(t *testing.T) {
	d := &Damage{"data/state.db", "page 17, byte 69632", nil, errors.New("page 17 is neither used nor free")}
	const want = "state file data/state.db is damaged at page 17, byte 69632: page 17 is neither used nor free. " +
		"Affected: no record: all of them were found whole. Nothing was changed. Put a backup in its place, or start with " +
		"--storage.on-corruption=quarantine, which keeps the file aside and asks the sources again"
	if d.Error() != want {
		t.Error(d)
	}
	for i := range 10 {
		d.Affected = append(d.Affected, fmt.Sprint("minute ", i))
	}
	if !strings.Contains(d.Error(), "minute 6; minute 7; and 2 more. ") {
		t.Error(d)
	}
}

// A newer format is refused with both numbers, and not a byte is changed.
func TestNewerFormat(t *testing.T) {
	m := smallStore(t)
	file := slices.Clone(m.files[len(m.files)-1])
	newerRecords := slices.Clone(file)
	now, then := encode(system, []byte(formatKey), []byte{Format}), encode(system, []byte(formatKey), []byte{Format + 1})
	if bytes.Count(newerRecords, now) == 0 {
		t.Fatal("no format record")
	}
	newerRecords = bytes.ReplaceAll(newerRecords, now, then)
	newerPages := slices.Clone(file)
	for i := range 2 {
		var s slot
		copy(s[:], newerPages[i*pageSize:])
		order.PutUint32(s[pageHeader+4:], pageVersion+1)
		s = s.as(i, order.Uint64(s[pageHeader+48:]))
		copy(newerPages[i*pageSize:], s[:])
	}
	for _, c := range []struct {
		file []byte
		want string
	}{
		{newerRecords, "was written by a newer yoyu: format 2, this one reads up to 1. It was left untouched"},
		{newerPages, "was written by a newer yoyu: page format 3, this one reads up to 2. It was left untouched"},
	} {
		path := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, fn := range map[string]func() error{
			"Open":   func() error { _, err := Open(path, Options{}); return err },
			"Verify": func() error { _, err := Verify(path, Options{}); return err },
			"Read": func() error {
				_, err := Read(path, Options{}, func(r Record) error { return fmt.Errorf("yielded %v", r) })
				return err
			},
		} {
			if err := fn(); !errors.As(err, new(*FormatError)) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, c.file) {
			t.Error("the file was changed", err)
		}
	}
}

// testdata/format-1.db was written by the first version of this package and is never written again:
// every version to come must load it to these records.
func TestGoldenFormat1(t *testing.T) {
	if order.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the file is of a little-endian machine")
	}
	want := contents{
		"names/slo":                "checkout-availability",
		"progress/aws":             "",
		"progress/prom":            "2026-01-02T03:04:30Z",
		"slots/\x00\x00\x00\x01":   "\x01\x02\x03",
		"slots/\x00\x00\x00\x02":   strings.Repeat("total 120 bad 3;", 100),
		"slots/\x00\x00\x00\x03":   strings.Repeat("0123456789abcdef", 4096),
		"slots/\xff\xff\xff\xff":   "\x00",
		"under \"quotes\"/\x00key": "余裕",
	}
	for i := range 300 {
		want[fmt.Sprintf("many/%03d", i)] = fmt.Sprint(i * i)
	}
	golden, err := os.ReadFile("testdata/format-1.db")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, golden, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(path, Options{})
	if err != nil || r.Format != 1 || r.FellBack || len(r.Buckets) != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	s := open(t, path)
	expect(t, s, want)
	commit(t, s, set("slots", "new", "1"), drop("slots", "\x00\x00\x00\x03"))
	delete(want, "slots/\x00\x00\x00\x03")
	want["slots/new"] = "1"
	expect(t, s, want)
	s.Close()
	expect(t, open(t, path), want)
}

// FuzzFile: whatever is written over a state file, reading it is the same records, those of the
// transaction before with a word about it, or an error; never a fault, never others.
func FuzzFile(f *testing.F) {
	m := smallStore(f)
	file := m.files[len(m.files)-1]
	f.Add(0, []byte{0})
	f.Add(pageSize+20, []byte{1, 2, 3})
	f.Add(4*pageSize, file[5*pageSize:5*pageSize+64])
	f.Add(7*pageSize+8, []byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, at int, patch []byte) {
		if at < 0 || at >= len(file) {
			return
		}
		changed := slices.Clone(file)
		copy(changed[at:], patch)
		got, rolledBack, err := m.inMemory(changed)
		// In doubt a damaged spare meta page is taken for the newer one; the records tell.
		if rolledBack && err == nil && maps.Equal(got, m.newest) {
			rolledBack = false
		}
		m.law(t, fmt.Sprintf("%d bytes at %d", len(patch), at), got, rolledBack, err)
	})
}
