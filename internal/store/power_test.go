package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// The power fails during a commit: of what the transaction wrote since the last sync, pages and meta
// page alike, any sectors are on disk and the others are not. Then the file is opened at the
// transaction before, or at this one if all of it is there, and goes on from there; it is never
// refused, as no commit that returned is lost, and never anything else.
func TestPowerFails(t *testing.T) {
	const sector = 512
	s, path := fresh(t)
	random := rand.New(rand.NewPCG(8, 1))
	state, outcomes := contents{}, map[string]int{}
	for tick := range 12 {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var records []Record
		for i := range 30 {
			records = append(records, set("slots", fmt.Sprintf("%02d:%02d", tick, i), strings.Repeat(fmt.Sprint(tick), 30+i)))
		}
		records = append(records, set("progress", "prom", fmt.Sprint(tick)))
		if tick%2 == 0 {
			records = append(records, set("large", "dictionary", strings.Repeat(fmt.Sprint(tick), large)))
		}
		if tick > 3 {
			for i := range 30 {
				records = append(records, drop("slots", fmt.Sprintf("%02d:%02d", tick-4, i)))
			}
		}
		commit(t, s, records...)
		previous := maps.Clone(state)
		state.apply(records)
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		meta := int(s.meta.txid%2) * pageSize
		if mark := markOf(s.meta.txid); !bytes.Equal(after[meta+markPlace:meta+pageSize], mark[:]) {
			t.Fatal("the commit left no mark")
		}
		clear(after[meta+markPlace : meta+pageSize]) // it comes after the sync that does not end here
		// The file grew before the transaction was written: bbolt syncs that by itself.
		before = append(before, make([]byte, len(after)-len(before))...)
		var changed []int
		for at := 0; at < len(after); at += sector {
			if !bytes.Equal(before[at:at+sector], after[at:at+sector]) {
				changed = append(changed, at)
			}
		}
		m := &small{path: path + ".power", previous: previous, newest: state}
		for try := range 24 / stride(1) {
			file, reached, entry := bytes.Clone(before), 0, false
			// The entry alone; all of it; and else by chance, one of four times all but a few, as where the
			// disk was nearly done.
			few := random.IntN(4)
			missing := func(at int) bool {
				switch {
				case try < 2:
					return try == 0 && at != meta
				case few == 0:
					return random.IntN(len(changed)) == 0
				}
				return random.IntN(2) == 0
			}
			for _, at := range changed {
				if missing(at) {
					continue
				}
				copy(file[at:at+sector], after[at:at+sector])
				reached++
				entry = entry || at == meta
			}
			if other := pageSize - meta; try%2 == 0 { // the last commit's mark had no sync of its own
				clear(file[other+markPlace : other+pageSize])
			}
			if err := os.WriteFile(m.path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			what := fmt.Sprintf("tick %d: %d of %d sectors, entry %v", tick, reached, len(changed), entry)
			report, err := Verify(m.path, Options{})
			if err != nil {
				t.Fatalf("%s: verify: %v", what, err)
			}
			failed, err := Open(m.path, Options{})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			got := load(t, failed)
			switch {
			case reached == len(changed):
				outcomes["whole"]++
				if !maps.Equal(got, state) || failed.RolledBack {
					t.Fatalf("%s: rolled back: %v, %s", what, failed.RolledBack, brief(got))
				}
			case maps.Equal(got, state) && !failed.RolledBack: // what is missing was not needed
				outcomes["whole without"]++
			default:
				outcomes[map[bool]string{true: "torn", false: "before"}[entry]]++
				if !maps.Equal(got, previous) || failed.RolledBack != entry || report.FellBack != entry {
					t.Fatalf("%s: rolled back: %v, verify says %v; %s, want %s", what, failed.RolledBack, report.FellBack, brief(got), brief(previous))
				}
			}
			// It goes on: what was lost is written again, and is there the next time.
			commit(t, failed, records...)
			expect(t, failed, state)
			failed.Close()
			again := open(t, m.path)
			if again.RolledBack {
				t.Fatalf("%s: rolled back again", what)
			}
			expect(t, again, state)
			again.Close()
		}
	}
	for _, outcome := range []string{"torn", "before", "whole"} {
		if outcomes[outcome] == 0 {
			t.Errorf("outcomes %v: none is %s", outcomes, outcome)
		}
	}
	t.Log(outcomes)
}

// What was on disk whole and is not any more is damaged, not torn: it is refused.
func TestMarkedIsNotTorn(t *testing.T) {
	m := smallStore(t)
	file := m.files[len(m.files)-1]
	page := newer(file)
	mark := file[page*pageSize+markPlace : (page+1)*pageSize]
	root := order.Uint64(file[page*pageSize+pageHeader+16:])
	file[root*pageSize+pageHeader+3] ^= 1
	for what, c := range map[string]struct {
		change func()
		want   string
	}{
		"marked":                 {func() {}, "refused"},
		"its mark is damaged":    {func() { mark[0] ^= 1 }, "refused"},
		"it has none":            {func() { clear(mark) }, "rolled back"},
		"it has that of another": {func() { b := markOf(order.Uint64(file[page*pageSize+pageHeader+48:]) - 2); copy(mark, b[:]) }, "rolled back"},
	} {
		was := bytes.Clone(mark)
		c.change()
		got, rolledBack, err := m.inMemory(file)
		if outcome := m.law(t, what, got, rolledBack, err); outcome != c.want {
			t.Errorf("%s: %s, want %s", what, outcome, c.want)
		}
		copy(mark, was)
	}
}

// A torn file on a disk that can only be read is loaded as the transaction before, and mended when it
// can be written.
func TestTornIsMendedWhenItCanBeWritten(t *testing.T) {
	m := smallStore(t)
	file := m.files[len(m.files)-1]
	page := newer(file)
	clear(file[page*pageSize+markPlace : (page+1)*pageSize])
	file[order.Uint64(file[page*pageSize+pageHeader+16:])*pageSize+pageHeader+3] ^= 1
	if err := os.WriteFile(m.path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Store{path: m.path, o: Options{Logger: slog.New(slog.DiscardHandler)}}
	f, err := os.Open(m.path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.check(f)
	if err != nil {
		t.Fatal(err)
	}
	s.file, s.meta, s.slots, s.digest, s.torn, s.stale = f, w.meta, w.slots, w.digest, w.torn, true // as open leaves it
	expect(t, s, m.previous)
	r := set("slots", "after", "again")
	commit(t, s, r)
	m.previous.apply([]Record{r})
	expect(t, s, m.previous)
	s.closeBolt()
	s.file.Close()
	again := open(t, m.path)
	if again.RolledBack {
		t.Error("rolled back again")
	}
	expect(t, again, m.previous)
}
