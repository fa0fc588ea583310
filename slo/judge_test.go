package slo

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// What judge marks is compared exactly afterwards, and what it does not mark is not looked at again:
// so of the rows of which a pair burns, by exact fractions, none may be without a mark. Traffic is made
// to lie at, just above and just below the thresholds, and in part is bad beyond [0, total].
func TestJudgeMissesNoPairThatBurns(t *testing.T) {
	const tick, rows, turns = 30 * time.Second, 200, 120
	factors := []string{"14.4", "6", "3", "1", "0.0001", "999999"}
	for seed := range uint64(2) {
		random := rand.New(rand.NewPCG(seed, 8))
		e, err := NewEngine(tick)
		if err != nil {
			t.Fatal(err)
		}
		policy := Policy{Severities: []Severity{{Name: "page"}, {Name: "ticket"}}}
		for i, text := range factors {
			factor, err := ParseFactor(text)
			if err != nil {
				t.Fatal(err)
			}
			s := &policy.Severities[i%2]
			s.Pairs = append(s.Pairs, Pair{Long: time.Duration(10+10*i) * time.Minute, Short: time.Duration(1+i) * time.Minute, Factor: factor})
		}
		objectives, samples, rests := make([]Objective, rows), make([]Sample, rows), map[string]*big.Rat{}
		for i := range objectives {
			percent := [...]string{"99.9", "99.999", "50", "0.0001", "99.9999999", "95"}[random.IntN(6)]
			name := fmt.Sprint("slo-", i)
			target, err := ParsePercent(percent)
			if err != nil {
				t.Fatal(err)
			}
			p, _ := new(big.Rat).SetString(percent)
			rests[name] = p.Sub(big.NewRat(1, 1), p.Quo(p, big.NewRat(100, 1)))
			objectives[i] = Objective{Name: name, Target: target, Period: RollingPeriod(Day), Policy: policy}
			samples[i] = Sample{SLO: name, Covered: make([]Span, 1), Groups: []GroupSample{{Increments: make([]Increment, 1)}}}
		}
		e.Set(objectives)
		now := time.Unix(1_700_000_010, 0).UTC()
		e.Watch(now)
		burning, marked := 0, 0
		near := make([]float64, rows) // the factor at which a row burns, but for one event or none
		for turn := range turns {
			span := Span{From: now, To: now.Add(tick)}
			now = span.To
			for i := range samples {
				rest, _ := rests[samples[i].SLO].Float64()
				total := float64(random.IntN([...]int{3, 1000, 100_000, 900_000}[random.IntN(4)]))
				if turn%60 == 0 {
					near[i] = policy.Severities[random.IntN(2)].Pairs[random.IntN(3)].Factor.Float()
				}
				bad := min(math.Round(total*rest*near[i])+float64(random.IntN(10)/9), total)
				if random.IntN(50) == 0 {
					bad = float64(random.IntN(5)) - 2 // a correction of the source: less than nothing
				}
				samples[i].Span, samples[i].Covered[0], samples[i].Newest = span, span, now
				samples[i].Groups[0].Increments[0] = Increment{At: now, Total: total, Bad: bad}
			}
			if err := e.Observe(samples...); err != nil {
				t.Fatal(err)
			}
			e.Judge(now)
			for _, l := range e.lanes {
				for _, b := range l.blocks {
					for row := range b.rows {
						owner := b.owners[row].owner
						if b.burns[row] != 0 {
							marked++
						}
						for _, p := range b.plan.pairs {
							pair := owner.Policy.Severities[p.severity].Pairs[p.pair]
							num, den := pair.Factor.Fraction()
							threshold := new(big.Rat).SetFrac(new(big.Int).SetUint64(num), new(big.Int).SetUint64(den))
							threshold.Mul(threshold, rests[owner.Name])
							above := func(c counts) bool {
								return new(big.Rat).SetInt64(c.bad).Cmp(new(big.Rat).Mul(threshold, new(big.Rat).SetInt64(c.total))) > 0
							}
							if !above(b.counted(p.long, row)) || !above(b.counted(p.short, row)) {
								continue
							}
							burning++
							if b.burns[row] == 0 {
								t.Fatalf("seed %d, %s, %s: %s/%s burns above %s with %v and %v, and is not marked", seed, now, owner.Name,
									pair.Long, pair.Short, threshold.FloatString(9), b.counted(p.long, row), b.counted(p.short, row))
							}
						}
					}
				}
			}
		}
		if all := rows * turns; burning < all/100 || marked == all {
			t.Errorf("seed %d: %d pairs burnt, %d of %d rows were marked: nothing was asked", seed, burning, marked, all)
		}
	}
}
