package prom

import (
	"cmp"
	"slices"
	"strings"

	"github.com/yoyu-sre/yoyu/sinks"
)

// layout is the page without its numbers, for all reports of one shape. Nobody changes it.
//
// The labels of a line are two pieces: those of its row (slo, service, the group; a workload, a
// container), shared by all lines about it, and those of its variant (window="1h"), shared by all
// lines of the page. Both are kept escaped, each label with a comma after it:
//
//	slo_burn_rate{   service="shop",slo="a",   window="1h",   zone="x",     }   4.2
//	family.open      row, up to split          variant        row           ↑
//	                                                                        over the last comma
type layout struct {
	shape     *sinks.Shape
	selection sinks.Selection
	slots     int // numbers of a report

	families []family // by name of the vocabulary, those without a place left out
	rows     []string
	variants []string // the first is ""
}

// family is one family of the page.
type family struct {
	index byte               // in sinks.Families
	open  string             // name and brace
	heads [formatsLen]string // HELP and TYPE
	cells []cell
	bound int // bytes that it takes at most
}

// cell is one line of the page.
type cell struct {
	slot    uint32 // of its number
	row     uint32
	split   uint32 // bytes of the row before the variant
	variant uint32
}

// number is the longest that a number may be: "-2.2250738585072014e-308".
const number = 24

// newLayout prepares the pages of all reports that have the shape of r.
func newLayout(r *sinks.Report, selection sinks.Selection) *layout {
	l := &layout{shape: r.Shape(), selection: selection, variants: []string{""}}
	b := builder{
		layout: l, rows: map[string]uint32{}, variants: map[sinks.Label]uint32{},
		cells: map[*sinks.Family][]cell{}, seen: map[line]bool{},
	}
	for p := range r.Slots(selection) {
		b.add(&p)
		l.slots++
	}
	for i, f := range sinks.Families {
		if cells := b.cells[f]; len(cells) > 0 {
			l.families = append(l.families, l.family(i, slices.Clone(cells)))
		}
	}
	return l
}

func (l *layout) family(index int, cells []cell) family {
	f := sinks.Families[index]
	out := family{index: byte(index), open: f.Name + "{", cells: cells}
	for format := range formatsLen {
		out.heads[format] = format.head(f)
	}
	for _, c := range cells {
		out.bound += len(out.open) + len(l.rows[c.row]) + len(l.variants[c.variant]) + len("} \n") + number
	}
	out.bound += len(out.heads[text]) + len(out.heads[openMetrics])
	return out
}

// builder finds the pieces of a layout. It is of use for one.
type builder struct {
	*layout
	rows     map[string]uint32
	variants map[sinks.Label]uint32
	cells    map[*sinks.Family][]cell
	seen     map[line]bool

	labels  []sinks.Label
	scratch []byte
}

// line is what tells the lines of a page apart.
type line struct {
	family       *sinks.Family
	row, variant uint32
}

// add makes a place for a point's series. Two series are the same one on the page when only
// characters that no page can show told them apart: the first keeps its place, so that the whole
// scrape is not lost.
func (b *builder) add(p *sinks.Point) {
	b.labels = b.labels[:0]
	for _, l := range p.Labels {
		// What is no UTF-8 would cost the whole scrape, so what is broken is replaced.
		l.Value = strings.ToValidUTF8(l.Value, "\uFFFD")
		b.labels = append(b.labels, l)
	}
	slices.SortFunc(b.labels, func(x, y sinks.Label) int { return cmp.Compare(x.Name, y.Name) })

	variant := -1 // index of the one label that is not the subject's
	if len(p.Family.Labels) == 1 {
		variant = slices.IndexFunc(b.labels, func(l sinks.Label) bool { return l.Name == p.Family.Labels[0] })
	}
	c := cell{slot: uint32(b.slots)}
	b.scratch = b.scratch[:0]
	for i, l := range b.labels {
		if i == variant {
			c.split, c.variant = uint32(len(b.scratch)), b.variant(l)
			continue
		}
		b.scratch = appendLabel(b.scratch, l)
	}
	row, known := b.rows[string(b.scratch)]
	if !known {
		row = uint32(len(b.layout.rows))
		text := string(b.scratch)
		b.rows[text] = row
		b.layout.rows = append(b.layout.rows, text)
	}
	c.row = row
	if is := (line{p.Family, c.row, c.variant}); !b.seen[is] {
		b.seen[is] = true
		b.cells[p.Family] = append(b.cells[p.Family], c)
	}
}

// variant is the index of a label's text.
func (b *builder) variant(l sinks.Label) uint32 {
	index, known := b.variants[l]
	if !known {
		index = uint32(len(b.layout.variants))
		b.variants[l] = index
		b.layout.variants = append(b.layout.variants, string(appendLabel(nil, l)))
	}
	return index
}

// appendLabel appends name="value", with what both formats want escaped, and a comma.
func appendLabel(to []byte, l sinks.Label) []byte {
	to = append(to, l.Name...)
	to = append(to, `="`...)
	to = appendEscaped(to, l.Value, true)
	return append(to, `",`...)
}

// appendEscaped escapes backslashes and line feeds, and quotes where told.
func appendEscaped(to []byte, s string, quotes bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			to = append(to, `\\`...)
		case c == '\n':
			to = append(to, `\n`...)
		case c == '"' && quotes:
			to = append(to, `\"`...)
		default:
			to = append(to, c)
		}
	}
	return to
}
