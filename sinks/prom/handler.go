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
}

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
func (s *Sink) Handler(rest prometheus.Gatherer, o HandlerOptions) http.Handler {
	h := &handler{sink: s, rest: rest, log: o.Logger}
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
	rest := h.gather()
	choice, err := choose(wanted, rest)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}

	kind := expfmt.NegotiateAccept(r.Header, formats...)
	key := pageKey{families: choice.ours, compressed: takesGzip(r.Header.Values("Accept-Encoding"))}
	if kind.FormatType() == expfmt.TypeOpenMetrics {
		key.format = openMetrics
	}
	header := w.Header()
	header.Set("Content-Type", string(kind))
	header.Add("Vary", "Accept")
	header.Add("Vary", "Accept-Encoding")
	header.Set("Cache-Control", "no-store") // the next tick makes it untrue
	if key.compressed {
		header.Set("Content-Encoding", "gzip")
	}
	if r.Method == http.MethodHead {
		return
	}

	tail := tails.Get().(*bytes.Buffer)
	defer recycle(tail)
	h.encode(tail, choice.rest, kind)

	// What comes after is written while the snapshot is held, so that its memory stays as it is.
	newest := h.sink.newest()
	defer h.sink.release(newest)
	body := &page{}
	if newest != nil && !choice.none {
		body = newest.page(key)
	}
	// A scraper that hangs up is its own affair: nothing that is written is asked for success.
	if !key.compressed {
		header.Set("Content-Length", strconv.Itoa(len(body.body)+tail.Len()))
		w.Write(body.body)
		w.Write(tail.Bytes())
		return
	}
	d := deflaters.Get().(*deflater)
	defer deflaters.Put(d)
	end := d.end(tail.AvailableBuffer(), body, tail.Bytes())
	header.Set("Content-Length", strconv.Itoa(len(gzipHead)+len(body.body)+len(end)))
	w.Write([]byte(gzipHead))
	w.Write(body.body)
	w.Write(end)
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
	encoder := expfmt.NewEncoder(to, kind)
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
