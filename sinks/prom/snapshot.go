package prom

import (
	"slices"
	"strings"
	"sync"

	"github.com/yoyu-sre/yoyu/sinks"
)

// snapshot is one report, and the pages that were made of it so far.
type snapshot struct {
	layout  *layout
	values  []float64 // by slot; NaN is absent
	readers int       // under the lock of the sink
	turn    uint64    // of the report; never 0

	mu    sync.Mutex
	pages map[pageKey]*page
}

// pageKey is what scrapers may ask for.
type pageKey struct {
	format     format
	compressed bool
	families   string // one byte for each chosen one, its index in sinks.Families; "" is all
}

// page is what one kind of scraper gets of a report: all lines of its families, without the end.
type page struct {
	once sync.Once
	used bool // since the last fill

	body      []byte // plain, or deflated up to a byte's border, with more to come
	crc, size uint32 // of the plain text, when deflated
}

// maxPages bounds the choices of families that are remembered; further ones are made for their
// scraper alone.
const maxPages = 16

// spill is how much text a packer lets come together: little enough for a core's cache.
const spill = 128 << 10

// fill takes another report's numbers in. Nobody reads the snapshot meanwhile.
func (n *snapshot) fill(l *layout, r *sinks.Report) {
	if cap(n.values) > 2*l.slots+1024 {
		n.values = nil
	}
	if cap(n.values) < l.slots {
		n.values = make([]float64, 0, l.slots)
	}
	n.layout, n.values = l, r.Values(n.values[:0], l.selection)
	for key, p := range n.pages {
		// A page that was not asked for last time gives its memory back.
		if !p.used {
			delete(n.pages, key)
			continue
		}
		p.once, p.used = sync.Once{}, false
	}
}

// page is the page that a scraper wants, made if it is the first to ask.
func (n *snapshot) page(key pageKey) *page {
	n.mu.Lock()
	p := n.pages[key]
	if p == nil {
		p = &page{}
		if len(n.pages) < maxPages {
			n.pages[key] = p
		}
	}
	p.used = true
	n.mu.Unlock()
	p.once.Do(func() { p.render(n.layout, n.values, key) })
	return p
}

// render writes the page anew, into the memory of the one before.
func (p *page) render(l *layout, values []float64, key pageKey) {
	if key.compressed {
		p.pack(l, values, key)
		return
	}
	bound := 0
	for i := range l.families {
		if f := &l.families[i]; key.chose(f) {
			bound += f.bound
		}
	}
	if cap(p.body) < bound || cap(p.body) > 2*bound+spill {
		p.body = make([]byte, 0, bound)
	}
	to := p.body[:0]
	for i := range l.families {
		f, begun := &l.families[i], false
		if !key.chose(f) {
			continue
		}
		for k := range f.cells {
			c := &f.cells[k]
			v := values[c.slot]
			if v != v {
				continue
			}
			if !begun {
				to, begun = append(to, f.heads[key.format]...), true
			}
			to = l.line(to, f, c, v, key.format)
		}
	}
	p.body = to
}

// pack is render for a compressed page: of the plain one there is no more at a time than the
// packer looks back on.
func (p *page) pack(l *layout, values []float64, key pageKey) {
	w := packers.Get().(*packer)
	defer packers.Put(w)
	w.begin(p.body[:0])
	for i := range l.families {
		f, before := &l.families[i], -1
		if !key.chose(f) {
			continue
		}
		for k := range f.cells {
			c := &f.cells[k]
			v := values[c.slot]
			if v != v {
				continue
			}
			if before < 0 {
				begin := len(w.text)
				w.text = append(w.text, f.heads[key.format]...)
				w.line(begin, begin)
				before = len(w.text)
			}
			begin := len(w.text)
			w.text = l.line(w.text, f, c, v, key.format)
			w.line(before, begin)
			before = begin
			if len(w.text) > spill {
				before -= w.forget(before)
			}
		}
	}
	p.body, p.crc, p.size = w.pause()
	if cap(p.body) > 2*len(p.body)+spill {
		p.body = slices.Clone(p.body)
	}
}

// chose reports whether a family is among those that the scraper wants.
func (k pageKey) chose(f *family) bool {
	return k.families == "" || strings.IndexByte(k.families, f.index) >= 0
}

// line appends one line of a family.
func (l *layout) line(to []byte, f *family, c *cell, v float64, as format) []byte {
	row, variant := l.rows[c.row], l.variants[c.variant]
	to = append(to, f.open...)
	to = append(to, row[:c.split]...)
	to = append(to, variant...)
	to = append(to, row[c.split:]...)
	if row == "" && variant == "" {
		to = to[:len(to)-1] // no labels, no braces
	} else {
		to[len(to)-1] = '}'
	}
	to = append(to, ' ')
	to = appendValue(to, v, as)
	return append(to, '\n')
}
