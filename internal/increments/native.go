package increments

import (
	"math"
	"slices"
)

// Bucket is one bucket of a native histogram: Count observations in (Lower, Upper].
type Bucket struct {
	Lower, Upper float64
	Count        float64
}

// Below is the number of a native histogram's observations at or below a threshold. Inside the
// bucket that holds the threshold it interpolates as Prometheus' histogram_fraction does: on a
// logarithmic scale where the bucket does not touch zero, linearly where it does.
func Below(buckets []Bucket, threshold float64) float64 {
	below := 0.0
	for _, b := range buckets {
		switch {
		case b.Upper <= threshold:
			below += b.Count
		case b.Lower < threshold:
			below += b.Count * share(b, threshold)
		}
	}
	return below
}

func share(b Bucket, threshold float64) float64 {
	switch {
	case math.IsInf(b.Lower, 0) || math.IsInf(b.Upper, 0):
		return 0 // nobody knows where in an endless bucket the observations lie
	case b.Lower > 0:
		return (math.Log2(threshold) - math.Log2(b.Lower)) / (math.Log2(b.Upper) - math.Log2(b.Lower))
	case b.Upper < 0:
		return 1 - (math.Log2(-threshold)-math.Log2(-b.Upper))/(math.Log2(-b.Lower)-math.Log2(-b.Upper))
	}
	return (threshold - b.Lower) / (b.Upper - b.Lower)
}

// Positive narrows the zero bucket of a histogram without negative observations to its upper half,
// as Prometheus does: a duration is never below zero.
func Positive(buckets []Bucket) []Bucket {
	for i, b := range buckets {
		if b.Upper <= 0 {
			return buckets
		}
		if b.Lower < 0 && !math.IsInf(b.Lower, -1) {
			out := slices.Clone(buckets)
			out[i].Lower = 0
			return out
		}
	}
	return buckets
}

// SameLayout reports whether the buckets that two samples share have the same bounds.
func SameLayout(a, b []Bucket) bool {
	upper := make(map[float64]float64, len(a))
	for _, bucket := range a {
		upper[bucket.Lower] = bucket.Upper
	}
	for _, bucket := range b {
		if u, ok := upper[bucket.Lower]; ok && u != bucket.Upper {
			return false
		}
	}
	return true
}
