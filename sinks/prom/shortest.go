package prom

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
)

// Most of a page is fractions of sixteen or seventeen digits, and finding them is most of its
// work. This is Schubfach (R. Giulietti, The Schubfach way to render doubles, 2020): of all
// decimals that read back as the number, the shortest, and of those the nearest, by three
// multiplications. What it finds is what strconv finds, as a fuzz test holds, and it is written
// where it belongs at once.

// shortest is the decimal digits·10^exponent of a positive finite number, without zeros at its end.
func shortest(v float64) (digits uint64, exponent int) {
	const mantissa = 1<<52 - 1
	b := math.Float64bits(v)
	c, q := b&mantissa, int(b>>52)
	if q > 0 {
		c, q = c|1<<52, q-1
	}
	q -= 1074 // v = c·2^q

	// All that lies between v and half way to its neighbours reads back as v. Below a power of two
	// the neighbour is nearer. In quarters of 2^q:
	below, k := uint64(2), (q*1262611)>>22 // ⌊log₁₀ 2^q⌋
	if c == 1<<52 && b>>52 > 1 {
		below, k = 1, (q*1262611-524031)>>22 // ⌊log₁₀ ¾·2^q⌋
	}
	h := uint(q + (-k*1741647)>>19 + 1) // + ⌊log₂ 10^−k⌋
	g := &powersOfTen[-k-leastPower]
	lower, middle, upper := g.times((4*c-below)<<h), g.times(4*c<<h), g.times((4*c+2)<<h)
	if c%2 > 0 { // an odd number does not get what lies just half way
		lower, upper = lower+1, upper-1
	}

	// s and s+1 are the decimals of exponent k around v; with one digit less there may be one too.
	s := middle / 4
	if s >= 10 {
		tens := s / 10
		down, up := lower <= 40*tens, 40*tens+40 <= upper
		if down != up {
			if up {
				tens++
			}
			return stripped(tens, k+1)
		}
	}
	down, up := lower <= 4*s, 4*s+4 <= upper
	if down == up { // both or neither: the nearer, an even one where both are as near
		up = middle > 4*s+2 || middle == 4*s+2 && s%2 > 0
	}
	if up {
		s++
	}
	return stripped(s, k)
}

// stripped moves zeros at the end into the exponent.
func stripped(digits uint64, exponent int) (uint64, int) {
	for digits%100_000_000 == 0 {
		digits, exponent = digits/100_000_000, exponent+8
	}
	for digits%10 == 0 {
		digits, exponent = digits/10, exponent+1
	}
	return digits, exponent
}

// power is the first 128 bits of a power of ten, rounded up.
type power struct{ high, low uint64 }

// times is the upper half of the product, and its lowest bit says whether anything is below it.
func (p *power) times(x uint64) uint64 {
	middle, _ := bits.Mul64(p.low, x)
	high, low := bits.Mul64(p.high, x)
	low, carry := bits.Add64(low, middle, 0)
	high += carry
	if low > 1 {
		high |= 1
	}
	return high
}

// leastPower and mostPower are the powers of ten that doubles need.
const leastPower, mostPower = -292, 324

var powersOfTen = newPowersOfTen()

func newPowersOfTen() *[mostPower - leastPower + 1]power {
	table := new([mostPower - leastPower + 1]power)
	// The first 128 bits; those of 10^e, e ≥ 0, are all for small e, and then the rest are zeros.
	keep := func(e int, of *big.Int) {
		var first [16]byte
		of.FillBytes(first[:])
		low, carry := bits.Add64(binary.BigEndian.Uint64(first[8:]), 1, 0)
		table[e-leastPower] = power{binary.BigEndian.Uint64(first[:8]) + carry, low}
	}
	ten, p, one, shifted := big.NewInt(10), big.NewInt(1), big.NewInt(1), new(big.Int)
	for e := 0; e <= mostPower; e++ {
		if size := p.BitLen(); size <= 128 {
			keep(e, shifted.Lsh(p, uint(128-size)))
		} else {
			keep(e, shifted.Rsh(p, uint(size-128)))
		}
		if e > 0 && -e >= leastPower { // 10^e is no power of two, so 2^n/10^e has 128 bits for this n
			keep(-e, shifted.Quo(shifted.Lsh(one, uint(127+p.BitLen())), p))
		}
		p.Mul(p, ten)
	}
	return table
}

// appendFraction is strconv.AppendFloat(to, v, 'g', -1, 64) for finite numbers other than zero.
func appendFraction(to []byte, v float64) []byte {
	if v < 0 {
		to, v = append(to, '-'), -v
	}
	digits, exponent := shortest(v)
	n := length(digits)
	point := n + exponent // digits before the point
	begin := len(to)
	switch {
	case point < -3 || point > 6: // d.ddde±dd
		to = appendDigits(append(to, 0), digits, n)
		to[begin] = to[begin+1]
		if to[begin+1] = '.'; n == 1 {
			to = to[:begin+1]
		}
		sign, e := byte('+'), point-1
		if e < 0 {
			sign, e = '-', -e
		}
		to = append(to, 'e', sign)
		if e >= 100 {
			to, e = append(to, '0'+byte(e/100)), e%100
		}
		return append(to, '0'+byte(e/10), '0'+byte(e%10))
	case point <= 0: // 0.000ddd
		to = append(to, "0.000"[:2-point]...)
		return appendDigits(to, digits, n)
	case point >= n: // ddd000
		to = appendDigits(to, digits, n)
		return append(to, "00000"[:point-n]...)
	}
	to = appendDigits(append(to, 0), digits, n) // dd.dd
	copy(to[begin:begin+point], to[begin+1:])
	to[begin+point] = '.'
	return to
}

// length is how many digits a number has, at most seventeen.
func length(digits uint64) int {
	n := (bits.Len64(digits) * 1233) >> 12 // ⌊log₁₀⌋, or one more
	if digits >= tens[n] {
		n++
	}
	return n
}

var tens = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// appendDigits appends the n digits of a number, at most seventeen.
func appendDigits(to []byte, digits uint64, n int) []byte {
	var all [24]byte
	high := digits / 100_000_000
	binary.LittleEndian.PutUint64(all[16:], eight(uint32(digits%100_000_000)))
	binary.LittleEndian.PutUint64(all[8:], eight(uint32(high%100_000_000)))
	all[7] = '0' + byte(high/100_000_000)
	return append(to, all[24-n:]...)
}

// eight is eight digits as text, all found at once: two halves, then four quarters, then each.
func eight(v uint32) uint64 {
	high := v / 10_000
	halves := uint64(high) | uint64(v-high*10_000)<<32
	hundreds := (halves * 10486 >> 20) & (0x7f<<32 | 0x7f)
	quarters := hundreds | (halves-hundreds*100)<<16
	tenths := (quarters * 103 >> 10) & 0x000f_000f_000f_000f
	return tenths | (quarters-tenths*10)<<8 | 0x3030_3030_3030_3030
}
