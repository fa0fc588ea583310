package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Two daemons do not share a state, a damaged one is refused with the way on, and taking that way
// keeps the damaged file.
func TestStateIsGuarded(t *testing.T) {
	target, page := pod(t)
	page.Store("requests_total{code=\"200\"} 100\n")
	data := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(t.TempDir(), "config.yaml")
	config := fmt.Sprintf(`
tick: 1s
sources: [{name: pods, type: scrape, targets: ["http://%s/metrics"]}]
defaults: {source: pods, period: 2h}
slos:
  - name: it
    service: shop
    objective: 99
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, target)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(address string, more ...string) *yoyu {
		return &yoyu{start(t, "yoyu", append([]string{"run", "--config.file=" + file, "--web.listen-address=" + address, "--storage.path=" + data}, more...)...), address}
	}
	ready := func(y *yoyu) {
		t.Helper()
		until(t, "yoyu", func() (bool, string) {
			_, err := get("http://" + y.address + "/-/ready")
			return err == nil, fmt.Sprint(err)
		})
	}
	first := run(freeAddress(t))
	ready(first)
	page.Store("requests_total{code=\"200\"} 150\n")
	until(t, "fifty requests", func() (bool, string) {
		w := first.slo("it").Windows["1h"]
		return w.Total == 50, fmt.Sprint(w)
	})
	_, stderr, code := runYoyu(t, "run", "--config.file="+file, "--web.listen-address="+freeAddress(t), "--storage.path="+data)
	if code != 1 || !strings.Contains(stderr, filepath.Join(data, "yoyu.db")) || !strings.Contains(stderr, fmt.Sprint(first.cmd.Process.Pid)) {
		t.Errorf("a second daemon: exit %d, said %q; want 1, the file and process %d", code, stderr, first.cmd.Process.Pid)
	}
	first.stop()

	out, stderr, code := runYoyu(t, "state", "verify", "--storage.path="+data)
	if code != 0 || !strings.Contains(out, "slots") {
		t.Errorf("state verify: exit %d: %s%s", code, out, stderr)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, stderr, code := runYoyu(t, "state", "backup", "--to="+copied, "--storage.path="+data); code != 0 {
		t.Errorf("state backup: exit %d: %s", code, stderr)
	}

	state := filepath.Join(data, "yoyu.db")
	text, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	// The record of a row, in every copy: pages that are free hold old ones.
	damaged := bytes.ReplaceAll(text, []byte(`"slo":"it"`), []byte(`"slo":"at"`))
	if bytes.Equal(damaged, text) {
		t.Fatal("the state does not name the SLO")
	}
	text = damaged
	if err := os.WriteFile(state, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"run", "--config.file=" + file, "--web.listen-address=" + freeAddress(t), "--storage.path=" + data},
		{"state", "verify", "--storage.path=" + data},
	} {
		_, stderr, code := runYoyu(t, args...)
		if code != 1 || !strings.Contains(stderr, state) || !strings.Contains(stderr, "--storage.on-corruption=quarantine") {
			t.Errorf("%s of a damaged state: exit %d, said %q", args[0], code, stderr)
		}
	}
	again := run(freeAddress(t), "--storage.on-corruption=quarantine")
	ready(again)
	if w := again.slo("it").Windows["1h"]; w.Total != 0 {
		t.Errorf("after the quarantine: %+v, want nothing", w)
	}
	moved, err := filepath.Glob(filepath.Join(data, "yoyu.db.damaged-*"))
	if err != nil || len(moved) != 1 {
		t.Errorf("moved aside: %v %v", moved, err)
	}
	again.stop()

	// The backup is a state of its own.
	if err := os.Rename(copied, state); err != nil {
		t.Fatal(err)
	}
	restored := run(freeAddress(t))
	ready(restored)
	if w := restored.slo("it").Windows["1h"]; w.Total != 50 {
		t.Errorf("from the backup: %+v, want 50 events", w)
	}
	restored.stop()
}

// testdata/state holds the whole state of a daemon in every form that one was ever kept in, each
// written once by the version that had it and never again. What it counted is known from the number
// of pages it saw of a target whose counters follow from that number (climb). Every later version
// must find it whole, read the same counts out of it and go on from it.
func TestStateOfEveryFormat(t *testing.T) {
	for _, c := range []struct {
		file  string
		pages int
	}{
		{"1.db.gz", 25},
	} {
		t.Run(c.file, func(t *testing.T) {
			packed, err := os.Open(filepath.Join("testdata/state", c.file))
			if err != nil {
				t.Fatal(err)
			}
			defer packed.Close()
			from, err := gzip.NewReader(packed)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(from)
			if err != nil {
				t.Fatal(err)
			}
			data := t.TempDir()
			if err := os.WriteFile(filepath.Join(data, "yoyu.db"), text, 0o600); err != nil {
				t.Fatal(err)
			}
			verify := func() {
				t.Helper()
				if out, stderr, code := runYoyu(t, "state", "verify", "--storage.path="+data); code != 0 {
					t.Fatalf("state verify: exit %d: %s%s", code, out, stderr)
				}
			}
			verify()
			page := newClimb(t, 5)
			if got, want := dumped(t, data), page.between(1, c.pages); got != want {
				t.Errorf("it holds %+v, want %+v", got, want)
			}
			out, stderr, code := runYoyu(t, "state", "dump", "--storage.path="+data)
			if code != 0 || !strings.Contains(out, "last values of the series of slo it") {
				t.Errorf("the dump lacks the series' last values: exit %d: %s%s", code, out, stderr)
			}
			y := runOn(t, page.config(t), data)
			y.shows("yoyu_store_writable 1")
			seen := y.counted().total
			until(t, "counting", func() (bool, string) {
				got := y.counted()
				return got.total > seen, fmt.Sprintf("%+v", got)
			})
			y.stop()
			verify()
		})
	}
	kept, err := filepath.Glob("testdata/state/*")
	if err != nil || len(kept) != 1 {
		t.Errorf("%d states are kept, 1 is tried: %v", len(kept), err)
	}
}
