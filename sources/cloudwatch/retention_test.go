package cloudwatch

import (
	"math"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Whatever is asked, what is kept of it is asked once, in whole buckets of a period that is kept, and
// nothing beside it but what fills a bucket up.
func FuzzSegments(f *testing.F) {
	now := time.Date(2026, time.November, 26, 12, 34, 56, 0, time.UTC)
	for _, age := range []time.Duration{time.Minute, 15 * slo.Day, 63 * slo.Day, 455 * slo.Day, 500 * slo.Day} {
		f.Add(int64(age/time.Minute), int64(400))
	}
	f.Fuzz(func(t *testing.T, ago, length int64) {
		if ago < 0 || ago > 1_000_000 || length <= 0 || length > 1_000_000 {
			return
		}
		e := erasAt(now)
		from := now.Truncate(time.Minute).Add(-time.Duration(ago) * time.Minute)
		to := from.Add(time.Duration(length) * time.Minute)
		at := max(from.UnixMilli(), e.oldest)
		for i, s := range e.segments(from.UnixMilli(), to.UnixMilli()) {
			width := s.period.Milliseconds()
			if s.from%width != 0 || s.to%width != 0 || s.from >= s.to {
				t.Fatalf("%+v is not on whole buckets", s)
			}
			if s.from > at || i > 0 && s.from != at || at-s.from >= width {
				t.Fatalf("%+v begins where %d was to", s, at)
			}
			for _, edge := range []int64{s.from, s.to - width} {
				if e.width(edge) != width {
					t.Fatalf("the bucket at %d is %d long, asked for in %s", edge, e.width(edge), s.period)
				}
			}
			kept := map[time.Duration]time.Duration{minutes: keptMinutes, fives: keptFives, hours: oldest}[s.period]
			if now.Sub(time.UnixMilli(s.from)) > kept {
				t.Fatalf("%+v is older than what is kept in this period", s)
			}
			at = s.to
		}
		if end := to.UnixMilli(); at < end && end > e.oldest || at-end >= hours.Milliseconds() && from.UnixMilli() > e.oldest {
			t.Fatalf("ends at %d, asked up to %d", at, end)
		}
	})
}

// The minutes of a bucket have its events, whole ones, and in none of them more are bad than there are.
func FuzzShares(f *testing.F) {
	f.Add(uint32(3), uint32(2), uint8(5))
	f.Add(uint32(1), uint32(1), uint8(60))
	f.Fuzz(func(t *testing.T, all, bad uint32, count uint8) {
		if bad > all || count == 0 {
			return
		}
		var sum [2]float64
		for _, s := range shares(float64(all), float64(bad), int(count)) {
			if s[0] != math.Trunc(s[0]) || s[1] != math.Trunc(s[1]) || s[1] < 0 || s[1] > s[0] {
				t.Fatalf("%v of %d/%d", s, bad, all)
			}
			sum[0], sum[1] = sum[0]+s[0], sum[1]+s[1]
		}
		if sum != [2]float64{float64(all), float64(bad)} {
			t.Fatalf("%v, want %d/%d", sum, bad, all)
		}
	})
}
