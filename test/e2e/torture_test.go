package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/yoyu-sre/yoyu/internal/promtest"
)

// deaths is how often yoyu is killed: 50 times in make test, 2,000 by make torture.
func deaths(t *testing.T) int {
	text := os.Getenv("YOYU_TORTURE")
	if text == "" {
		return 50
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("YOYU_TORTURE=%q is no number of deaths", text)
	}
	return n
}

// kill ends the process as a crash does.
func (p *program) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.ended
}

// steady is a target whose counters rise with every page it shows, and which remembers the pages.
type steady struct {
	mu    sync.Mutex
	total int
	bad   int
	shown int
	still bool // it serves nobody: every page says the same
}

func (s *steady) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.still {
		s.shown++
		s.total += 7 + s.shown%5
		s.bad += s.shown % 3
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "requests_total{code=\"200\"} %d\nrequests_total{code=\"500\"} %d\n", s.total, s.bad)
}

// stand says whether it serves nobody from now on, and what it has counted by now.
func (s *steady) stand(still bool) slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.still = still
	return slot{int64(s.total + s.bad), int64(s.bad)}
}

// slot is what one tick counted, by the state file itself.
type slot struct{ total, bad int64 }

var slotEnd = regexp.MustCompile(`^counts of the slot that ends at (\S+) \(level 0\)$`)

// dump reads the slots of single ticks out of the state of a yoyu that does not run.
func dump(t *testing.T, data string) map[int64]slot {
	t.Helper()
	out, stderr, code := runYoyu(t, "state", "--storage.path="+data, "dump")
	if code != 0 {
		t.Fatalf("state dump: exit %d: %s", code, stderr)
	}
	slots := map[int64]slot{}
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var line struct {
			About string
			Cells []struct{ Row, Total, Bad int64 }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		if m := slotEnd.FindStringSubmatch(line.About); m != nil {
			end, err := time.Parse(time.RFC3339, m[1])
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range line.Cells {
				s := slots[end.Unix()]
				slots[end.Unix()] = slot{s.total + c.Total, s.bad + c.Bad}
			}
		}
	}
	return slots
}

// kill -9 at random moments, again and again, with a real Prometheus as the source: every slot of
// every second equals what a recount of the raw samples says, none is missing, none twice.
func TestKilledAgainAndAgain(t *testing.T) {
	page := &steady{}
	target := httptest.NewServer(page)
	defer target.Close()
	prom := promtest.Start(t, promtest.Options{Jobs: []promtest.Job{{Name: "shop", Targets: []string{strings.TrimPrefix(target.URL, "http://")}}}})
	prom.AwaitScrape("shop", time.Now())
	began := time.Now().Add(-time.Minute)

	dir, address := t.TempDir(), freeAddress(t)
	file, data := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "data")
	err := os.WriteFile(file, fmt.Appendf(nil, `
tick: 1s
sources: [{name: prom, type: prometheus, url: %q, delay: 2s}]
defaults: {source: prom, period: 1h}
slos:
  - name: it
    service: shop
    objective: 99
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, prom.URL()), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	launch := func() *yoyu {
		return &yoyu{start(t, "yoyu", "run", "--config.file="+file, "--web.listen-address="+address, "--storage.path="+data), address}
	}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	worked := 0
	launched, reported := time.Now(), time.Time{} // the first time
	for range deaths(t) {
		y := launch()
		pass(t, time.Duration(100+r.IntN(1400))*time.Millisecond)
		if _, err := get("http://" + address + "/-/ready"); err == nil {
			if worked++; worked == 1 {
				reported = time.Now()
			}
		}
		y.kill()
	}
	if worked < deaths(t)/3 {
		t.Fatalf("only %d of %d lives got as far as a report: nothing is proved", worked, deaths(t))
	}
	// One more life to catch up, ended in order.
	y := launch()
	lastSample := time.Now()
	text := ""
	until(t, "catching up", func() (bool, string) {
		var err error
		text, err = get("http://" + address + "/metrics")
		if err != nil {
			return false, err.Error()
		}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, `slo_last_sample_timestamp_seconds{service="shop",slo="it"} `); ok {
				at, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				return err == nil && at > float64(lastSample.Unix()) && strings.Contains(text, `yoyu_backfill_remaining_seconds{source="prom"} 0`), line
			}
		}
		return false, "no sample yet"
	})
	y.stop()

	got := dump(t, data)
	newest := int64(0)
	for end := range got {
		newest = max(newest, end)
	}
	want := recountByTick(prom.RawSamples("requests_total", began, time.Unix(newest, 0)))
	if len(want) < deaths(t)/2 {
		t.Fatalf("only %d slots with traffic: nothing is proved", len(want))
	}
	sameSlots(t, got, want)
	countedSince(t, text, got, launched, reported)
}

// countedSince compares the counters of a page with the slots: they count what happened since yoyu
// first watched, at some second between two moments, whether it was alive then or not.
func countedSince(t *testing.T, page string, slots map[int64]slot, from, to time.Time) {
	t.Helper()
	series := func(name string) float64 {
		_, rest, _ := strings.Cut(page, "\n"+name+`{service="shop",slo="it"} `)
		text, _, _ := strings.Cut(rest, "\n")
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, page)
		}
		return v
	}
	got := slot{int64(series("slo_events_total")), int64(series("slo_bad_events_total"))}
	newest := int64(math.Ceil(series("slo_last_sample_timestamp_seconds")))
	var could []slot
	for watched := from.Unix() - 1; watched <= to.Unix()+1; watched++ {
		var sum slot
		for end, s := range slots {
			if end > watched && end <= newest {
				sum.total, sum.bad = sum.total+s.total, sum.bad+s.bad
			}
		}
		could = append(could, sum)
	}
	if !slices.Contains(could, got) {
		t.Errorf("the counters say %+v; by when watching may have begun it is one of %+v", got, could)
	}
}

// sameSlots compares what was counted with a recount of the raw samples, second by second.
func sameSlots(t *testing.T, got, want map[int64]slot) {
	t.Helper()
	for end, w := range want {
		if got[end] != w {
			t.Errorf("slot of %s: %+v, want %+v", time.Unix(end, 0).UTC().Format(time.TimeOnly), got[end], w)
		}
	}
	for end, g := range got {
		if _, ok := want[end]; !ok && g != (slot{}) {
			t.Errorf("slot of %s: %+v, where the raw samples have nothing", time.Unix(end, 0).UTC().Format(time.TimeOnly), g)
		}
	}
}

// recountByTick is recount, by the second in which an increase was seen.
func recountByTick(raw model.Matrix) map[int64]slot {
	out := map[int64]slot{}
	for _, s := range raw {
		for i := 1; i < len(s.Values); i++ {
			end := (int64(s.Values[i].Timestamp) + 999) / 1000
			inc := int64(s.Values[i].Value - s.Values[i-1].Value)
			one := out[end]
			one.total += inc
			if s.Metric["code"] == "500" {
				one.bad += inc
			}
			out[end] = one
		}
	}
	return out
}

// The same without a past to ask: what a scraped target counted while yoyu was dead is not lost,
// because its counters remember, and nothing is counted twice.
func TestKilledWhileScraping(t *testing.T) {
	page := &steady{total: 100, bad: 3, still: true}
	target := httptest.NewServer(page)
	defer target.Close()
	dir, address := t.TempDir(), freeAddress(t)
	file, data := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "data")
	err := os.WriteFile(file, fmt.Appendf(nil, `
tick: 1s
sources: [{name: pods, type: scrape, targets: [%q]}]
defaults: {source: pods, period: 1h}
slos:
  - name: it
    service: shop
    objective: 99
    indicator: {counters: {total: 'requests_total', bad: 'requests_total{code="500"}'}}
`, target.URL), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	launch := func() *yoyu {
		return &yoyu{start(t, "yoyu", "run", "--config.file="+file, "--web.listen-address="+address, "--storage.path="+data), address}
	}
	y := launch()
	until(t, "the first look", func() (bool, string) {
		_, err := get("http://" + address + "/-/ready")
		return err == nil, fmt.Sprint(err)
	})
	y.stop() // in order, so that the first look is durable
	for at, s := range dump(t, data) {
		if s != (slot{}) {
			t.Fatalf("while the target stood still %v were counted at %d", s, at)
		}
	}
	first := page.stand(false)

	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	for range deaths(t) / 2 {
		y := launch()
		pass(t, time.Duration(100+r.IntN(1400))*time.Millisecond)
		y.kill()
	}
	y = launch()
	until(t, "a report", func() (bool, string) {
		_, err := get("http://" + address + "/-/ready")
		return err == nil, fmt.Sprint(err)
	})
	// A page that is under way at the end is counted or not: the last ones say the same.
	last := page.stand(true)
	want := slot{last.total - first.total, last.bad - first.bad}
	until(t, "the last page is counted", func() (bool, string) {
		got := y.counted()
		return got == want, fmt.Sprintf("%+v, the target has %+v more than at the first look", got, want)
	})
	y.stop()
	page.mu.Lock()
	defer page.mu.Unlock()
	if page.shown < deaths(t)/4 {
		t.Fatalf("only %d pages were read: nothing is proved", page.shown)
	}
	var sum slot
	for _, s := range dump(t, data) {
		sum.total, sum.bad = sum.total+s.total, sum.bad+s.bad
	}
	if sum != want {
		t.Errorf("the state holds %+v, the target has %+v more than at the first look", sum, want)
	}
}
