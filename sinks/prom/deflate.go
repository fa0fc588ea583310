package prom

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// packer deflates the lines of a page (RFC 1951), which a general compressor spends most of a
// scrape on. It knows what that one has to find out: a line is like the line before it, label by
// label, and its number is like nothing before. So it looks for repetition in the line before
// alone, and its codes are made once, for digits. What it cannot foresee is written out: any bytes
// come back as they were.
//
// It writes one block, open until pause.
type packer struct {
	out   []byte // len(out) bytes are complete
	acc   uint64 // the next bits, the first lowest
	count uint   // of bits in acc
}

// begin opens the block.
func (p *packer) begin(out []byte) {
	p.out, p.acc, p.count = append(out, codes.head...), codes.headRest, codes.headRestCount
}

// pause ends the block, and goes on to the border of a byte as RFC 1951 has it: with an empty
// stored block. Another deflater may write on from there.
func (p *packer) pause() []byte {
	p.reserve(16)
	p.put(uint64(codes.literal[endOfBlock].bits), codes.literal[endOfBlock].count)
	p.put(0, 3) // not the last block, stored
	if p.count%8 > 0 {
		p.put(0, 8-p.count%8)
	}
	out := append(p.out, 0, 0, 0xff, 0xff)
	p.out = nil
	return out
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

// line writes text[begin:], a line, by what it has in common with text[before:], which begins
// with the line before it; before == begin where there is none.
func (p *packer) line(text []byte, before, begin int) {
	now, old := text[begin:], text[before:begin]
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
		// Beyond the difference the end of the label's value is the next chance.
		end := quote(now[i:])
		if end < 0 {
			p.literals(now[i:])
			return
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
	for len(text) >= 3 { // 45 bits at most
		a, b, c := codes.literal[text[0]], codes.literal[text[1]], codes.literal[text[2]]
		p.acc |= uint64(a.bits)<<p.count | uint64(b.bits)<<(p.count+a.count) | uint64(c.bits)<<(p.count+a.count+b.count)
		p.count += a.count + b.count + c.count
		p.flush()
		text = text[3:]
	}
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
		case i == '"', i == 'e', i == '-', i == '+', 'a' <= i && i <= 'z':
			literals[i] = 50
		case ' ' <= i && i <= '~':
			literals[i] = 10
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
		case 10 <= i && i <= 17:
			distances[i] = 40
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
	type node struct {
		weight  int
		symbols []int
	}
	nodes := make([]node, len(weights))
	for i, w := range weights {
		nodes[i] = node{w, []int{i}}
	}
	out := make([]int, len(weights))
	for len(nodes) > 1 {
		slices.SortStableFunc(nodes, func(a, b node) int { return cmp.Compare(b.weight, a.weight) })
		a, b := nodes[len(nodes)-1], nodes[len(nodes)-2]
		joined := node{a.weight + b.weight, slices.Concat(a.symbols, b.symbols)}
		for _, s := range joined.symbols {
			out[s]++
		}
		nodes = append(nodes[:len(nodes)-2], joined)
	}
	return out
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
