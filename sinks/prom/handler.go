package prom

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/yoyu-sre/yoyu/sinks"
)

// handler answers scrapes.
type handler struct {
	sink *Sink
	rest prometheus.Gatherer
	log  *slog.Logger

	mu      sync.Mutex
	agreed  map[asked]*agreement
	answers map[pageKey]*ending
}

// asked is what a scraper says of the form that it takes.
type asked struct{ accept, encoding string }

// agreement is the form that it gets. The header values are shared: nobody writes into them.
type agreement struct {
	kind expfmt.Format
	key  pageKey // of all families
	typ  []string
}

// maxAgreed bounds what is remembered of scrapers: there are a few kinds of them.
const maxAgreed = 64

// ending is what follows a page, for every scraper of one tick.
type ending struct {
	turn   uint64 // of the snapshot
	made   time.Time
	tail   []byte
	length [1]string // Content-Length
}

// fresh is how long the rest of a page is sent again to further scrapers of a tick.
const fresh = time.Second

var (
	noStore  = []string{"no-store"} // the next tick makes it untrue
	gzipped  = []string{"gzip"}
	varies   = []string{"Accept", "Accept-Encoding"}
	gzipOpen = []byte(gzipHead)
)

// HandlerOptions are the choices of a handler. The zero value serves.
type HandlerOptions struct {
	Logger *slog.Logger // told what the rest cannot gather; nil: nobody
}

// Handler answers GET and HEAD with the newest report and, after it, what rest gathers; nil is no
// rest. No family may come from both.
//
// Accept chooses between text 0.0.4 and OpenMetrics, Accept-Encoding between plain and gzip. The
// parameter collect[], which may come several times, leaves out all families but the one it names
// (collect[]=slo_burn_rate) or those that begin with it (collect[]=slo_error_budget, collect[]=yoyu_).
// A parameter that fits none is answered with 400 and the names there are. When a part of rest
// fails, it is logged and the others are served.
//
// Rest is gathered once for all who ask for everything within a second of a tick.
func (s *Sink) Handler(rest prometheus.Gatherer, o HandlerOptions) http.Handler {
	h := &handler{sink: s, rest: rest, log: o.Logger, agreed: map[asked]*agreement{}, answers: map[pageKey]*ending{}}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

// formats are what a scraper may ask for, the best first.
var formats = []expfmt.Format{expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1, expfmt.FmtText}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, r.Method+": not a way to scrape", http.StatusMethodNotAllowed)
		return
	}
	var wanted []string
	if r.URL.RawQuery != "" {
		wanted = r.URL.Query()["collect[]"]
	}
	form := h.agree(r.Header)
	if len(wanted) > 0 {
		h.some(w, r, wanted, form)
		return
	}
	form.declare(w.Header())
	if r.Method == http.MethodHead {
		return
	}
	newest := h.sink.newest()
	defer h.sink.release(newest)
	var body *page
	turn := uint64(0)
	if newest != nil {
		body, turn = newest.page(form.key), newest.turn
	}
	h.mu.Lock()
	a := h.answers[form.key]
	h.mu.Unlock()
	if a == nil || a.turn != turn || turn == 0 || time.Since(a.made) >= fresh {
		a = h.end(body, h.gather(), form.kind, form.key.compressed)
		a.turn = turn
		h.mu.Lock()
		h.answers[form.key] = a
		h.mu.Unlock()
	}
	a.send(w, body, form.key.compressed)
}

// some answers a scraper that wants some families only.
func (h *handler) some(w http.ResponseWriter, r *http.Request, wanted []string, form *agreement) {
	choice, err := choose(wanted, h.gather())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	form.declare(w.Header())
	if r.Method == http.MethodHead {
		return
	}
	newest := h.sink.newest()
	defer h.sink.release(newest)
	var body *page
	if newest != nil && !choice.none {
		key := form.key
		key.families = choice.ours
		body = newest.page(key)
	}
	h.end(body, choice.rest, form.kind, form.key.compressed).send(w, body, form.key.compressed)
}

// agree finds the form of the answer.
func (h *handler) agree(header http.Header) *agreement {
	accepts, encodings := header["Accept"], header["Accept-Encoding"]
	simple := len(accepts) <= 1 && len(encodings) <= 1
	var said asked
	if simple {
		if len(accepts) > 0 {
			said.accept = accepts[0]
		}
		if len(encodings) > 0 {
			said.encoding = encodings[0]
		}
		h.mu.Lock()
		known := h.agreed[said]
		h.mu.Unlock()
		if known != nil {
			return known
		}
	}
	kind := expfmt.NegotiateAccept(header, formats...)
	form := &agreement{kind: kind, typ: []string{string(kind)}, key: pageKey{compressed: takesGzip(encodings)}}
	if kind.FormatType() == expfmt.TypeOpenMetrics {
		form.key.format = openMetrics
	}
	if simple && len(said.accept)+len(said.encoding) < 4096 {
		h.mu.Lock()
		if len(h.agreed) < maxAgreed {
			h.agreed[said] = form
		}
		h.mu.Unlock()
	}
	return form
}

// declare says the form.
func (a *agreement) declare(header http.Header) {
	header["Content-Type"] = a.typ
	if before := header["Vary"]; len(before) > 0 {
		header["Vary"] = slices.Concat(before, varies)
	} else {
		header["Vary"] = varies
	}
	header["Cache-Control"] = noStore
	if a.key.compressed {
		header["Content-Encoding"] = gzipped
	}
}

// end makes what follows a page; nil is no page.
func (h *handler) end(body *page, rest []*dto.MetricFamily, kind expfmt.Format, compressed bool) *ending {
	if body == nil {
		body = &page{}
	}
	a := &ending{made: time.Now()}
	tail := tails.Get().(*bytes.Buffer)
	defer recycle(tail)
	h.encode(tail, rest, kind)
	size := len(body.body)
	if compressed {
		d := deflaters.Get().(*deflater)
		defer deflaters.Put(d)
		a.tail = d.end(nil, body, tail.Bytes())
		size += len(gzipHead)
	} else {
		a.tail = bytes.Clone(tail.Bytes())
	}
	a.length[0] = strconv.Itoa(size + len(a.tail))
	return a
}

// send writes the page and what follows it. A scraper that hangs up is its own affair: nothing that is
// written is asked for success.
func (a *ending) send(w http.ResponseWriter, body *page, compressed bool) {
	w.Header()["Content-Length"] = a.length[:]
	if compressed {
		_, _ = w.Write(gzipOpen)
	}
	if body != nil {
		_, _ = w.Write(body.body)
	}
	_, _ = w.Write(a.tail)
}

// gather asks for the rest, and is content with what there is.
func (h *handler) gather() []*dto.MetricFamily {
	if h.rest == nil {
		return nil
	}
	found, err := h.rest.Gather()
	if err != nil {
		h.log.Error("metrics: not all could be gathered", "err", err)
	}
	return found
}

// encode writes the rest as client_golang does, and the end of the page.
func (h *handler) encode(to *bytes.Buffer, rest []*dto.MetricFamily, kind expfmt.Format) {
	var encoder expfmt.Encoder
	if len(rest) > 0 {
		encoder = expfmt.NewEncoder(to, kind)
	}
	for _, f := range rest {
		before := to.Len()
		if err := encoder.Encode(f); err != nil {
			to.Truncate(before) // half a family would cost the whole scrape
			h.log.Error("metrics: a family cannot be written", "family", f.GetName(), "err", err)
		}
	}
	if kind.FormatType() == expfmt.TypeOpenMetrics {
		_, _ = expfmt.FinalizeOpenMetrics(to) // memory does not fail
	}
}

// tails hold the rest of a page while it is written.
var tails = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func recycle(tail *bytes.Buffer) {
	if tail.Cap() <= 1<<20 {
		tail.Reset()
		tails.Put(tail)
	}
}

// choice is what a scraper wants to see.
type choice struct {
	ours string // as in pageKey
	none bool   // nothing of ours
	rest []*dto.MetricFamily
}

// choose reads the collect[] parameters. None of them is all families.
func choose(wanted []string, rest []*dto.MetricFamily) (choice, error) {
	if len(wanted) == 0 {
		return choice{rest: rest}, nil
	}
	ours, others := make([]bool, len(sinks.Families)), make([]bool, len(rest))
	for _, want := range wanted {
		exact := func(name string) bool { return name == want }
		begins := func(name string) bool { return strings.HasPrefix(name, want) }
		// The name of a family that others begin with is that family alone.
		if !mark(ours, others, rest, exact) && !mark(ours, others, rest, begins) {
			return choice{}, fmt.Errorf("collect[]=%s: no family has this name or begins with it; there are %s", want, strings.Join(names(rest), ", "))
		}
	}
	c := choice{none: !slices.Contains(ours, true)}
	if slices.Contains(ours, false) {
		var chosen []byte
		for i, ok := range ours {
			if ok {
				chosen = append(chosen, byte(i))
			}
		}
		c.ours = string(chosen)
	}
	for i, ok := range others {
		if ok {
			c.rest = append(c.rest, rest[i])
		}
	}
	return c, nil
}

// mark notes all families that fit, and says whether there are any.
func mark(ours, others []bool, rest []*dto.MetricFamily, fits func(name string) bool) (any bool) {
	for i, f := range sinks.Families {
		if fits(f.Name) {
			ours[i], any = true, true
		}
	}
	for i, f := range rest {
		if fits(f.GetName()) {
			others[i], any = true, true
		}
	}
	return any
}

// names are those of all families, in order.
func names(rest []*dto.MetricFamily) []string {
	var out []string
	for _, f := range sinks.Families {
		out = append(out, f.Name)
	}
	for _, f := range rest {
		out = append(out, f.GetName())
	}
	slices.Sort(out)
	return out
}

// takesGzip reads Accept-Encoding: gzip if it is welcome and nothing else is more so.
func takesGzip(accept []string) bool {
	gzip, identity, other := -1.0, -1.0, -1.0
	for _, one := range strings.Split(strings.Join(accept, ","), ",") {
		name, parameters, _ := strings.Cut(one, ";")
		quality := 1.0
		if _, number, ok := strings.Cut(parameters, "q="); ok {
			q, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			if err != nil {
				continue
			}
			quality = q
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip":
			gzip = quality
		case "identity":
			identity = quality
		case "*":
			other = quality
		}
	}
	if gzip < 0 {
		gzip = other
	}
	return gzip > 0 && gzip >= identity
}
