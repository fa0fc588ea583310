package slo

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// FactorOf is the burn rate at which a share of the period's budget is gone after long:
// share × period / long (SRE Workbook, ch. 5). Both durations must be positive.
func FactorOf(budget Share, period, long time.Duration) Factor {
	return newFactor(
		new(big.Int).Mul(big.NewInt(int64(budget.num)), big.NewInt(int64(period))),
		new(big.Int).Mul(big.NewInt(int64(max(budget.den, 1))), big.NewInt(int64(long))),
	)
}

// ParseFactor reads a plain decimal burn rate such as "14.4".
func ParseFactor(text string) (Factor, error) {
	s, err := ParseShare(text)
	if err != nil {
		return Factor{}, err
	}
	return Factor{s.num, max(s.den, 1)}, nil
}

// newFactor reduces a fraction. One that does not fit 64 bits loses its lowest bits, beyond any
// number a person writes.
func newFactor(num, den *big.Int) Factor {
	if gcd := new(big.Int).GCD(nil, nil, num, den); gcd.Sign() > 0 {
		num, den = new(big.Int).Quo(num, gcd), new(big.Int).Quo(den, gcd)
	}
	for num.BitLen() > 63 || den.BitLen() > 63 {
		num, den = num.Rsh(num, 1), den.Rsh(den, 1)
	}
	return Factor{num.Uint64(), max(den.Uint64(), 1)}
}

// Float is the nearest float64.
func (f Factor) Float() float64 { return float64(f.num) / float64(max(f.den, 1)) }

// Fraction is the factor itself, num/den, for whoever wants to recompute an alert exactly.
func (f Factor) Fraction() (num, den uint64) { return f.num, max(f.den, 1) }

// String prints at most four digits behind the point: "14.4", "0.9333".
func (f Factor) String() string {
	text := strconv.FormatFloat(f.Float(), 'f', 4, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

// IsZero reports whether the factor is 0.
func (f Factor) IsZero() bool { return f.num == 0 }

// threshold is factor × budget, the error ratio that an alert compares with, as a fraction.
func (f Factor) threshold(budget Share) (num, den uint64) {
	t := newFactor(
		new(big.Int).Mul(new(big.Int).SetUint64(f.num), new(big.Int).SetUint64(budget.num)),
		new(big.Int).Mul(new(big.Int).SetUint64(max(f.den, 1)), new(big.Int).SetUint64(max(budget.den, 1))),
	)
	return t.num, t.den
}

// Reachable reports whether a burn rate can exceed the factor at all: with every event bad it is
// 1/(1 − target), and nothing is above that.
func Reachable(f Factor, target Share) bool {
	num, den := f.threshold(target.Rest())
	return num < den
}

// LargestFactor prints 1/(1 − target), the burn rate with every event bad. A factor must be below.
func LargestFactor(target Share) string {
	rest := target.Rest()
	return Factor{rest.den, max(rest.num, 1)}.String()
}

// exceeds reports bad/total > num/den in exact arithmetic.
func exceeds(bad, total int64, num, den uint64) bool {
	if bad <= 0 || total <= 0 {
		return false
	}
	lh, ll := bits.Mul64(uint64(bad), den)
	rh, rl := bits.Mul64(uint64(total), num)
	return lh > rh || lh == rh && ll > rl
}

// Workbook is the built-in policy, scaled to a period: two pages and two tickets from the SRE
// Workbook, ch. 5. Over periods of at most ten days the shares are larger, as a week has less
// budget to lose. Pairs longer than the period are left out.
func Workbook(period Period) Policy {
	shares := []string{"2", "5", "10", "10"}
	if period.Length <= 10*Day {
		shares = []string{"8", "12.5", "20", "42"}
	}
	policy := Policy{Name: "workbook"}
	for i, w := range []struct {
		severity    string
		long, short time.Duration
	}{
		{"page", time.Hour, 5 * time.Minute},
		{"page", 6 * time.Hour, 30 * time.Minute},
		{"ticket", Day, 2 * time.Hour},
		{"ticket", 3 * Day, 6 * time.Hour},
	} {
		if w.long > period.Length {
			continue
		}
		share, err := ParsePercent(shares[i])
		if err != nil {
			panic(fmt.Sprintf("slo: built-in policy: %v", err))
		}
		pair := Pair{Long: w.long, Short: w.short, Factor: FactorOf(share, period.Length, w.long)}
		if n := len(policy.Severities); n > 0 && policy.Severities[n-1].Name == w.severity {
			policy.Severities[n-1].Pairs = append(policy.Severities[n-1].Pairs, pair)
			continue
		}
		policy.Severities = append(policy.Severities, Severity{Name: w.severity, Pairs: []Pair{pair}})
	}
	return policy
}

// Wilson is the lower bound of the two-sided Wilson score interval of bad/total at z standard
// deviations (1.96 for 95 %): how large the true error ratio is at least. Undefined without events.
func Wilson(bad, total, z float64) Value {
	if total <= 0 {
		return Value{}
	}
	p := bad / total
	zz := z * z / total
	return Defined(max(0, (p+zz/2-z*math.Sqrt(p*(1-p)/total+zz/(4*total)))/(1+zz)))
}
