package prom

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// What is found is what strconv finds, for every exponent and for numbers of all kinds.
func TestShortest(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	try := func(v float64) {
		if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
			return
		}
		if got, want := string(appendFraction(nil, v)), strconv.FormatFloat(v, 'g', -1, 64); got != want {
			t.Errorf("%b is %s, want %s", v, got, want)
		}
	}
	for e := uint64(0); e < 2047; e++ {
		for _, mantissa := range []uint64{0, 1, 2, 3, 1<<52 - 1, 1<<52 - 2, 1 << 51, random.Uint64() >> 12, random.Uint64() >> 12, random.Uint64() >> 12} {
			try(math.Float64frombits(e<<52 | mantissa))
		}
	}
	for e := -323; e <= 308; e++ {
		for _, digits := range []string{"1", "2", "5", "9", "25", "123456789", "99999999999999999"} {
			v, err := strconv.ParseFloat(digits+"e"+strconv.Itoa(e), 64)
			if err == nil {
				try(v)
				try(math.Nextafter(v, math.Inf(1)))
				try(math.Nextafter(v, 0))
			}
		}
	}
	for range 100_000 {
		try(random.Float64())
		try(-random.ExpFloat64() * 1000)
		try(float64(random.Uint64N(1e6)) / float64(1+random.Uint64N(1e6)))
		try(float64(random.Int64()))
		try(float64(random.IntN(1e6)) / 1000)
	}
}

func BenchmarkFraction(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 6))
	var values [1024]float64
	for i := range values {
		values[i] = random.ExpFloat64()
	}
	var to [32]byte
	b.Run("ours", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			appendFraction(to[:0], values[i%1024])
		}
	})
	b.Run("strconv", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			strconv.AppendFloat(to[:0], values[i%1024], 'g', -1, 64)
		}
	})
}
