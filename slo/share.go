package slo

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Share is an exact decimal fraction, such as an objective of 99.9 % or 2 % of a budget.
//
// It is read from decimal text and never passes through binary floating point: 99.9/100 would be
// 0.9990000000000001, and a burn rate that *is* the factor would then fire.
type Share struct {
	num uint64 // numerator
	den uint64 // a power of ten; 0 only in the zero value, which stands for 0
}

// maxDigits bounds the digits behind the point, so that products stay within 128 bits.
const maxDigits = 12

// ParsePercent reads "99.9" or "99.9%" as the share 0.999. It accepts plain decimals of at most
// ten digits behind the point and no sign or exponent; range checks belong to the caller.
func ParsePercent(text string) (Share, error) {
	return parseShare(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "%")), 2)
}

// ParseShare reads "0.999" as the share 0.999.
func ParseShare(text string) (Share, error) { return parseShare(strings.TrimSpace(text), 0) }

func parseShare(text string, shift int) (Share, error) {
	whole, frac, _ := strings.Cut(text, ".")
	if whole+frac == "" || strings.Trim(whole+frac, "0123456789") != "" {
		return Share{}, fmt.Errorf("%q is not a plain decimal number", text)
	}
	frac = strings.TrimRight(frac, "0")
	if len(frac)+shift > maxDigits {
		return Share{}, fmt.Errorf("%q has more than %d digits behind the point", text, maxDigits-shift)
	}
	num, err := strconv.ParseUint(whole+frac, 10, 50)
	if err != nil {
		return Share{}, fmt.Errorf("%q is too large", text)
	}
	// The exponent moves the decimal point exactly.
	den := uint64(1)
	for range len(frac) + shift {
		den *= 10
	}
	return Share{num, den}.reduced(), nil
}

// reduced drops common factors of ten, so that equal shares are equal values.
func (s Share) reduced() Share {
	for s.den > 1 && s.num%10 == 0 {
		s.num, s.den = s.num/10, s.den/10
	}
	return s
}

// Float is the nearest float64.
func (s Share) Float() float64 {
	if s.den == 0 {
		return 0
	}
	return float64(s.num) / float64(s.den)
}

// Rest is exactly 1 − s, the error budget of an objective. It panics above 1: an objective was
// checked before it came here.
func (s Share) Rest() Share {
	if s.den == 0 {
		return Share{1, 1}
	}
	if s.num > s.den {
		panic("slo: share above 1 has no rest")
	}
	return Share{s.den - s.num, s.den}.reduced()
}

// Cmp compares two shares: −1, 0 or 1.
func (s Share) Cmp(t Share) int {
	s.den, t.den = max(s.den, 1), max(t.den, 1)
	ah, al := bits.Mul64(s.num, t.den)
	bh, bl := bits.Mul64(t.num, s.den)
	switch {
	case ah < bh || ah == bh && al < bl:
		return -1
	case ah == bh && al == bl:
		return 0
	}
	return 1
}

// IsZero reports whether the share is exactly 0.
func (s Share) IsZero() bool { return s.num == 0 }

// Percent prints the share as percent without loss: "99.9".
func (s Share) Percent() string {
	den := max(s.den, 1)
	text := strconv.FormatUint(s.num, 10)
	digits := -2
	for den > 1 {
		den, digits = den/10, digits+1
	}
	if digits <= 0 {
		if s.num == 0 {
			return "0"
		}
		return text + strings.Repeat("0", -digits)
	}
	if len(text) <= digits {
		text = strings.Repeat("0", digits-len(text)+1) + text
	}
	return text[:len(text)-digits] + "." + text[len(text)-digits:]
}
