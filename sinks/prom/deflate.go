package prom

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"slices"
	"sync"
)

// packer deflates the lines of a page (RFC 1951), which a general compressor spends most of a
// scrape on. It knows what that one has to find out: a line is like the line before it, label by
// label; where a value differs, it may be one of a while ago; and its number is like nothing
// before. It looks for repetition nowhere else, and its codes are made once, for digits. What it
// cannot foresee is written out: any bytes come back as they were.
//
// It writes one block, open until pause. Its memory may be used again.
type packer struct {
	text   []byte // of the page: what it may look back on, and what whoever feeds it appends
	base   uint32 // bytes of the page before text and maxDistance, modulo 2^32
	crc    uint32 // checksum of the page up to text[:summed]
	summed int

	out    []byte                  // len(out) bytes are complete
	acc    uint64                  // the next bits, the first lowest
	count  uint                    // of bits in acc
	values [1 << recallBits]uint32 // where a value was last, by hash, from the beginning of the page
}

const recallBits = 12

// begin opens the block.
func (p *packer) begin(out []byte) {
	p.out, p.acc, p.count = append(out, codes.head...), codes.headRest, codes.headRestCount
	p.text, p.base, p.crc, p.summed = p.text[:0], maxDistance, 0, 0
	p.values = [1 << recallBits]uint32{} // always too far away
}

// packers are for anyone's use, one at a time.
var packers = sync.Pool{New: func() any { return new(packer) }}

// forget drops the text that no one looks back on any more when the last line begins at before,
// and says how much that was.
func (p *packer) forget(before int) (dropped int) {
	p.sum()
	dropped = min(before, max(0, len(p.text)-maxDistance))
	p.text = p.text[:copy(p.text, p.text[dropped:])]
	p.base += uint32(dropped)
	p.summed -= dropped
	return dropped
}

func (p *packer) sum() {
	p.crc = crc32.Update(p.crc, crc32.IEEETable, p.text[p.summed:])
	p.summed = len(p.text)
}

// pause ends the block, and goes on to the border of a byte as RFC 1951 has it: with an empty
// stored block. Another deflater may write on from there. Checksum and size are those of the text.
func (p *packer) pause() (out []byte, crc, size uint32) {
	p.reserve(16)
	p.put(uint64(codes.literal[endOfBlock].bits), codes.literal[endOfBlock].count)
	p.put(0, 3) // not the last block, stored
	if p.count%8 > 0 {
		p.put(0, 8-p.count%8)
	}
	out = append(p.out, 0, 0, 0xff, 0xff)
	p.out = nil
	p.sum()
	size = p.base - maxDistance + uint32(len(p.text))
	if cap(p.text) > 4*spill { // lines with very long labels
		p.text = nil
	}
	return out, p.crc, size
}

// put writes bits. With up to 7 waiting, 57 more have room.
func (p *packer) put(b uint64, count uint) {
	p.acc |= b << p.count
	p.count += count
	p.flush()
}

// flush moves whole bytes out. There must be room for eight.
func (p *packer) flush() {
	end := len(p.out)
	whole := p.count / 8
	binary.LittleEndian.PutUint64(p.out[end:end+8], p.acc)
	p.out = p.out[:end+int(whole)]
	p.acc >>= whole * 8
	p.count %= 8
}

// reserve makes room for n bytes of output, and for what flush wants beyond them.
func (p *packer) reserve(n int) { p.out = slices.Grow(p.out, n+8) }

// maxDistance is how far back deflate can point.
const maxDistance = 32 << 10

// line writes the line text[begin:] by what it has in common with the line before it, which begins
// at before; before == begin where there is none.
func (p *packer) line(before, begin int) {
	now, old := p.text[begin:], p.text[before:begin]
	p.reserve(2 * len(now)) // a code has 15 bits at most
	distance := begin - before
	if distance+len(now) > maxDistance {
		p.literals(now)
		return
	}
	i, k := 0, 0
	for {
		if n := common(now[i:], old[k:]); n >= 4 {
			p.copy(n, distance+i-k)
			i, k = i+n, k+n
		}
		// They differ, up to the end of a label's value.
		end := quote(now[i:])
		if end < 0 {
			p.literals(now[i:])
			return
		}
		if end >= 8 {
			if n, back := p.recall(begin+i, end); n >= 6 {
				p.copy(n, back)
				i, end = i+n, end-n
			}
		}
		p.literals(now[i : i+end])
		i += end
		next := quote(old[k:])
		if next < 0 {
			p.literals(now[i:])
			return
		}
		if k += next; common(now[i:], old[k:]) < 4 {
			// The end of one value, not of the line: to the beginning of the next.
			p.literals(now[i : i+1])
			i, k = i+1, k+1
		}
	}
}

// recall is how much of the value at a place, at least eight bytes and at most the given, was
// there before, and how far back. It remembers the place for next time.
func (p *packer) recall(at, most int) (n, back int) {
	slot := &p.values[binary.LittleEndian.Uint64(p.text[at:])*0x9e3779b97f4a7c15>>(64-recallBits)]
	here := p.base + uint32(at)
	back = int(here - *slot)
	*slot = here
	if back < 1 || back > min(at, maxDistance) {
		return 0, 0
	}
	return min(common(p.text[at:], p.text[at-back:at]), most), back
}

// quote is the index of the next quote.
func quote(b []byte) int {
	for i, c := range b {
		if c == '"' {
			return i
		}
	}
	return -1
}

// common is how many bytes two texts begin with alike.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// literals writes bytes as they are.
func (p *packer) literals(text []byte) {
	out, acc, count := p.out[len(p.out):cap(p.out)], p.acc, p.count
	filled := 0
	for len(text) >= 3 { // 45 bits at most, with up to 7 that wait
		a, b, c := &codes.literal[text[0]], &codes.literal[text[1]], &codes.literal[text[2]]
		acc |= uint64(a.bits) << count
		count += a.count
		acc |= uint64(b.bits) << count
		count += b.count
		acc |= uint64(c.bits) << count
		count += c.count
		binary.LittleEndian.PutUint64(out[filled:], acc)
		filled += int(count / 8)
		acc >>= count &^ 7
		count %= 8
		text = text[3:]
	}
	p.out, p.acc, p.count = p.out[:len(p.out)+filled], acc, count
	for _, c := range text {
		p.put(uint64(codes.literal[c].bits), codes.literal[c].count)
	}
}

// copy repeats n bytes, at least 4, from a distance back.
func (p *packer) copy(n, distance int) {
	symbol, extra := distanceSymbol(distance)
	d := codes.distance[symbol]
	at := uint64(d.bits) | extra<<d.count
	count := d.count + distanceExtra(symbol)
	for n > 0 {
		step := min(n, 258)
		if left := n - step; left > 0 && left < 3 { // what is left must be long enough too
			step -= 3
		}
		l := codes.length[step]
		p.put(uint64(l.bits)|at<<l.count, l.count+count)
		n -= step
	}
}

// distanceSymbol is the symbol of a distance and its further bits.
func distanceSymbol(distance int) (symbol int, extra uint64) {
	d := uint(distance - 1)
	if d < 4 {
		return int(d), 0
	}
	n := uint(bits.Len(d)) - 2
	return int(2*n + d>>n), uint64(d & (1<<n - 1))
}

func distanceExtra(symbol int) uint {
	if symbol < 4 {
		return 0
	}
	return uint(symbol/2 - 1)
}

// code is what a symbol is written as, with its further bits where they are known.
type code struct {
	bits  uint32
	count uint
}

// codebook is the codes of the block, and its head, which tells them to whoever reads it.
type codebook struct {
	literal  [endOfBlock + 1]code
	length   [259]code // by length, from 3
	distance [30]code

	head          []byte
	headRest      uint64
	headRestCount uint
}

const endOfBlock = 256

var codes = newCodebook()

// newCodebook makes the codes: the more often a symbol comes on a page, the shorter. The weights
// were counted on pages of thousands of SLOs; every byte has one, for names in any script.
func newCodebook() *codebook {
	literals := make([]int, 286)
	for i := range literals {
		switch {
		case '0' <= i && i <= '9':
			literals[i] = 1200
		case i == '\n':
			literals[i] = 700
		case i == '.':
			literals[i] = 120
		case i == '"', i == '}', 'a' <= i && i <= 'z':
			literals[i] = 60
		case ' ' <= i && i <= '~':
			literals[i] = 20
		case i == endOfBlock:
			literals[i] = 1
		case i > endOfBlock && i < 265: // lengths up to 10
			literals[i] = 150
		case i > endOfBlock:
			literals[i] = 100
		default:
			literals[i] = 2
		}
	}
	distances := make([]int, 30)
	for i := range distances {
		switch {
		case 12 <= i && i <= 15: // 65 to 256: a line
			distances[i] = 200
		case i >= 10:
			distances[i] = 20
		default:
			distances[i] = 1
		}
	}
	literalSizes, distanceSizes := sizes(literals), sizes(distances)

	b := &codebook{}
	for symbol, c := range canonical(literalSizes) {
		if symbol <= endOfBlock {
			b.literal[symbol] = c
			continue
		}
		low, extra := lengthOf(symbol)
		for more := range 1 << extra {
			if n := low + more; n < 258 || symbol == 285 {
				b.length[n] = code{c.bits | uint32(more)<<c.count, c.count + extra}
			}
		}
	}
	copy(b.distance[:], canonical(distanceSizes))

	// The head: a dynamic block that is not the last one, 286 and 30 sizes. They are written as
	// they are, each in the four bits of a code in which 0 to 15 are equally long.
	p := packer{}
	p.reserve(256)
	p.put(0b100, 3)
	p.put(286-257, 5)
	p.put(30-1, 5)
	p.put(19-4, 4)
	for _, symbol := range [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15} {
		if symbol < 16 {
			p.put(4, 3)
		} else {
			p.put(0, 3)
		}
	}
	for _, size := range append(literalSizes, distanceSizes...) {
		p.put(uint64(bits.Reverse8(uint8(size))>>4), 4)
	}
	b.head, b.headRest, b.headRestCount = p.out, p.acc, p.count
	return b
}

// lengthOf is the least length that a symbol stands for, and how many further bits it has.
func lengthOf(symbol int) (low int, extra uint) {
	if symbol == 285 {
		return 258, 0
	}
	i := symbol - 257
	if i < 8 {
		return 3 + i, 0
	}
	extra = uint(i/4 - 1)
	return 3 + (4+i%4)<<extra, extra
}

// sizes are the bits of a Huffman code for weighted symbols.
func sizes(weights []int) []int {
	parent := make([]int, len(weights), 2*len(weights)) // 0: none yet
	weights = slices.Clone(weights)
	least := func() (found int) {
		found = -1
		for i, w := range weights {
			if parent[i] == 0 && (found < 0 || w < weights[found]) {
				found = i
			}
		}
		parent[found] = len(weights) // the next node
		return found
	}
	for range len(weights) - 1 {
		a, b := least(), least()
		weights, parent = append(weights, weights[a]+weights[b]), append(parent, 0)
	}
	out := make([]int, len(parent))
	for i := len(parent) - 2; i >= 0; i-- {
		out[i] = out[parent[i]] + 1
	}
	return out[:(len(parent)+1)/2]
}

// canonical are the codes that RFC 1951, 3.2.2, gives to sizes, their first bit lowest.
func canonical(sizes []int) []code {
	out := make([]code, len(sizes))
	next := uint32(0)
	for size := 1; size <= 15; size++ {
		next <<= 1
		for symbol, s := range sizes {
			if s == size {
				out[symbol] = code{bits.Reverse32(next) >> (32 - size), uint(size)}
				next++
			}
		}
	}
	return out
}
