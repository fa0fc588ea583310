package demo

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"
)

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for !holds() {
		select {
		case <-every.C:
		case <-deadline.C:
			t.Fatalf("not in 30 s: %s", what)
		}
	}
}

// quiet is a shop with pods but without customers, and a client of its own.
func quiet(t *testing.T, o Options) (*Shop, *http.Client) {
	t.Helper()
	s := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.open(ctx); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		cancel()
		s.Wait()
	})
	return s, client
}

// scrape reads a page as Prometheus would.
func scrape(t *testing.T, client *http.Client, url string) (map[string]float64, []labels.Labels) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("scrape: %d, %v", resp.StatusCode, err)
	}
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/openmetrics-text") {
		t.Fatalf("content type %q, want OpenMetrics", kind)
	}
	out := map[string]float64{}
	var series []labels.Labels
	p := textparse.NewOpenMetricsParser(body, labels.NewSymbolTable())
	for {
		entry, err := p.Next()
		if err == io.EOF {
			return out, series
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry == textparse.EntrySeries {
			var l labels.Labels
			p.Labels(&l)
			_, _, v := p.Series()
			out[l.String()] = v
			series = append(series, l)
		}
	}
}

// The pods count what they answer: their pages say what the customers saw, to the request.
func TestPodsCountWhatTheyAnswer(t *testing.T) {
	s, client := quiet(t, Options{Seed: 1})
	var g errgroup.Group
	g.SetLimit(64)
	for n := range 300 {
		service := services[n%len(services)]
		p := s.enter(service, n)
		g.Go(func() error {
			defer p.busy.Done()
			s.visit(t.Context(), client, p, service.routes[n/len(services)%2])
			return nil
		})
	}
	g.Wait()

	seen, lost := s.served.sofar()
	all := 0
	for _, n := range seen {
		all += n
	}
	if all != 300 || lost != 0 {
		t.Fatalf("%d answers, %d lost, of 300 requests", all, lost)
	}
	shown := map[answer]int{}
	timed := 0.0
	for _, p := range s.pods {
		values, series := scrape(t, client, p.url("/metrics"))
		for _, l := range series {
			switch l.Get(model.MetricNameLabel) {
			case "http_requests_total":
				code, err := strconv.Atoi(l.Get("code"))
				if err != nil {
					t.Fatal(err)
				}
				shown[answer{l.Get("route"), code}] += int(values[l.String()])
				if l.Get("service") != p.service.name {
					t.Errorf("pod %s shows %s", p.name, l)
				}
			case "http_request_duration_seconds_count":
				timed += values[l.String()]
			}
		}
	}
	for a, n := range shown {
		if n != seen[a] {
			t.Errorf("%v: pages say %d, customers %d", a, n, seen[a])
		}
	}
	for a := range seen {
		if _, ok := shown[a]; !ok {
			t.Errorf("%v is on no page", a)
		}
	}
	if timed != 300 {
		t.Errorf("%v requests were timed, want all 300", timed)
	}
}

// Every series of the history is on a page too, under the labels that a pod knows of itself.
func TestPagesAndHistoryAgreeOnNames(t *testing.T) {
	s, client := quiet(t, Options{Seed: 1, Now: noon})
	live := map[string]int{}
	for _, p := range s.pods {
		_, series := scrape(t, client, p.url("/metrics"))
		for _, l := range series {
			live[l.String()]++
		}
	}
	written := map[string]int{}
	for _, r := range history(t, s, 0, time.Minute) {
		written[labels.NewBuilder(r.labels).Del("job", "instance").Labels().String()]++
	}
	if len(written) == 0 {
		t.Fatal("no history")
	}
	for name, pods := range written {
		if live[name] != pods {
			t.Errorf("%s: in the history of %d pods, on the page of %d", name, pods, live[name])
		}
	}
}

// A restart: the same address, counters from zero, a later start, and no customer without answer.
func TestRestart(t *testing.T) {
	s, client := quiet(t, Options{Seed: 1})
	p := s.pods[0]
	visits := func(n int) {
		var g errgroup.Group
		for range n {
			if !p.enter() {
				t.Fatal("pod takes nobody")
			}
			g.Go(func() error { defer p.busy.Done(); s.visit(t.Context(), client, p, cart); return nil })
		}
		g.Wait()
	}
	const started, timed = `{__name__="process_start_time_seconds"}`, `{__name__="http_request_duration_seconds_count", route="/cart", service="checkout"}`
	const created = `{__name__="http_request_duration_seconds_created", route="/cart", service="checkout"}`
	url := p.url("/metrics")
	visits(20)
	before, _ := scrape(t, client, url)
	if before[timed] != 20 {
		t.Fatalf("%v requests before the restart, want 20", before[timed])
	}

	// Somebody is being served when the restart comes: he gets his answer.
	if !p.enter() {
		t.Fatal("pod takes nobody")
	}
	served := make(chan struct{})
	go func() { defer close(served); defer p.busy.Done(); s.visit(t.Context(), client, p, cart) }()
	if err := s.restart(t.Context(), p, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	<-served
	if counts, lost := s.served.sofar(); lost != 0 {
		t.Errorf("%d customers without an answer; %v", lost, counts)
	}

	after, _ := scrape(t, client, url)
	if after[timed] != 0 {
		t.Errorf("%v requests just after the restart, want none", after[timed])
	}
	if after[started] <= before[started] || after[created] <= before[created] {
		t.Errorf("started %v then %v, created %v then %v: want later ones", before[started], after[started], before[created], after[created])
	}
	visits(3)
	if again, _ := scrape(t, client, url); again[timed] != 3 {
		t.Errorf("%v requests after three", again[timed])
	}
	if p.url("/metrics") != url {
		t.Errorf("pod moved from %s to %s", url, p.url("/metrics"))
	}
}

// The whole shop: customers come by themselves, its configuration names what is there, and when
// its context ends nothing is left: no goroutine, no port, no file.
func TestShop(t *testing.T) {
	before := runtime.NumGoroutine()
	s := New(Options{Seed: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a hundred customers, some on each route", func() bool {
		counts, _ := s.served.sofar()
		all, on := 0, map[string]bool{}
		for a, n := range counts {
			all, on[a.route] = all+n, true
		}
		return all >= 100 && (len(on) == len(routes) || len(on) == len(routes)-1 && !on["/refund"])
	})
	if _, lost := s.served.sofar(); lost != 0 {
		t.Errorf("%d customers without an answer", lost)
	}

	var config struct {
		Tick    string
		Sources []struct {
			Name, Type, Objects string
			Targets             []string
		}
		Sinks []struct {
			Type, URL string
			Key       string `yaml:"api_key_file"`
		}
		SLOs []struct{ Name, Service string } `yaml:"slos"`
	}
	if err := yaml.Unmarshal(s.Config(), &config); err != nil {
		t.Fatalf("%v\n%s", err, s.Config())
	}
	if config.Tick != (tick * time.Second).String() {
		t.Errorf("tick %s, but the history ends on multiples of %d s", config.Tick, tick)
	}
	if len(config.Sources[0].Targets) != 7 || len(config.SLOs) != 5 {
		t.Errorf("configuration names %d targets and %d SLOs", len(config.Sources[0].Targets), len(config.SLOs))
	}
	client := &http.Client{Transport: &http.Transport{}}
	for _, url := range config.Sources[0].Targets {
		scrape(t, client, url)
	}
	if got, err := os.ReadFile(config.Sources[1].Objects); err != nil || string(got) != string(s.Objects(s.Opening())) {
		t.Errorf("objects: %v, %d bytes", err, len(got))
	}
	if key, err := os.ReadFile(config.Sinks[0].Key); err != nil || len(key) == 0 {
		t.Errorf("api key: %v", err)
	}
	resp, err := client.Get(config.Sinks[0].URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("intake's page: %d", resp.StatusCode)
	}
	client.CloseIdleConnections()

	cancel()
	s.Wait()
	for _, url := range append(config.Sources[0].Targets, config.Sinks[0].URL) {
		address := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/metrics")
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Errorf("%s still answers", address)
		}
	}
	if _, err := os.Stat(filepath.Dir(config.Sources[1].Objects)); !os.IsNotExist(err) {
		t.Errorf("files are left: %v", err)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// A shop that cannot open leaves nothing behind either.
func TestShopThatCannotOpen(t *testing.T) {
	before := runtime.NumGoroutine()
	s := New(Options{Dir: filepath.Join(t.TempDir(), "none")})
	if err := s.Start(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "shop: ") {
		t.Errorf("error %v", err)
	}
	s.Wait()
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// A folder that was given is kept, with the files in it.
func TestDirIsKept(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{Dir: dir})
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Start(ctx); err != nil {
		cancel()
		t.Fatal(err)
	}
	cancel()
	s.Wait()
	if _, err := os.Stat(filepath.Join(dir, objectsFile)); err != nil {
		t.Error(err)
	}
}

// The pages are as clean as any exporter's.
func TestPagesAreClean(t *testing.T) {
	s, client := quiet(t, Options{})
	for _, p := range s.pods {
		resp, err := client.Get(p.url("/metrics"))
		if err != nil {
			t.Fatal(err)
		}
		problems, err := promlint.New(resp.Body).Lint()
		resp.Body.Close()
		if err != nil || len(problems) > 0 {
			t.Errorf("%s: %v %v", p.name, problems, err)
		}
	}
}

// After the opening: /pay stays in trouble for an hour and a half, later incidents come up and
// pass, and pods restart every ten minutes, all of them in turn by chance.
func TestTheDayAfter(t *testing.T) {
	for seed := range int64(5) {
		s := newStory(seed, noon)
		for _, k := range []int64{1, 45, 89} {
			if failing, _ := s.trouble(pay, k); failing < 0.0144*2 {
				t.Errorf("seed %d: /pay fails %v in minute %d, want a page's worth", seed, failing, k)
			}
		}
		if failing, _ := s.trouble(pay, 100); failing > 0.001 {
			t.Errorf("seed %d: /pay still fails %v in minute 100", seed, failing)
		}
		troubled, routesHit := 0, map[string]bool{}
		for k := int64(90); k < 14*24*60; k++ {
			for _, r := range routes {
				if failing, _ := s.trouble(r, k); failing > r.failing {
					troubled++
					routesHit[r.path] = true
				}
			}
		}
		if incidents := 14 * 4; troubled < incidents*10 || troubled > incidents*30 {
			t.Errorf("seed %d: %d minutes of trouble in two weeks", seed, troubled)
		}
		if len(routesHit) < 4 {
			t.Errorf("seed %d: trouble only on %v", seed, routesHit)
		}
		var last time.Duration
		hit := map[int]bool{}
		for k := range 100 {
			pod, after, away := s.restart(k, 7)
			if d := after - last; k > 0 && (d < 4*time.Minute || d > 16*time.Minute) {
				t.Errorf("seed %d: restart %d comes %v after the one before", seed, k, d)
			}
			if away < 2*time.Second || away > 4*time.Second {
				t.Errorf("seed %d: pod is away for %v", seed, away)
			}
			last, hit[pod] = after, true
		}
		if len(hit) != 7 {
			t.Errorf("seed %d: only pods %v restart", seed, hit)
		}
	}
}

// The latencies that handlers work for are those of the story: shares of slow requests come out
// as they are meant, on the clock of a bubble.
func TestHandlersTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStory(1, noon)
		p := newPod(s, checkout, 0)
		var took []time.Duration
		codes := map[int]int{}
		for range 4000 {
			code, work := p.fate(pay, 1)
			began := time.Now()
			if err := sleep(t.Context(), work); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(began))
			codes[code]++
		}
		failing, slow := s.trouble(pay, 1)
		if share := float64(codes[503]) / 4000; share < failing*0.7 || share > failing*1.3 {
			t.Errorf("%v fail, want %v", share, failing)
		}
		slices.Sort(took)
		over := len(took) - slices.IndexFunc(took, func(d time.Duration) bool { return d > 300*time.Millisecond })
		if share := float64(over) / 4000; share < slow*0.7 || share > slow*1.3 {
			t.Errorf("%v are slow, want %v", share, slow)
		}
		if took[0] < 10*time.Millisecond || took[len(took)-1] > 1250*time.Millisecond {
			t.Errorf("requests take %v to %v", took[0], took[len(took)-1])
		}
	})
}
