package rightsizing

import (
	"math"
	"time"

	"github.com/yoyu-sre/yoyu/slo"
)

// Checkpoint is what VPA's recommender remembers of one container: how much was used, for how
// long it has been watched, and when it last looked. A VPA's own status says none of it.
type Checkpoint struct {
	Updated     time.Time // when the recommender last wrote it: its heartbeat
	First, Last time.Time // the samples it holds, of all pods
	Samples     int
	CPU, Memory Histogram // memory: the peak of each pod and day, without today's
}

// Confidence is for how many days VPA has watched, as its own estimator counts them: by the clock
// and by one sample a minute, whichever is less (VPA, recommender/logic/estimator.go).
func (c *Checkpoint) Confidence() float64 {
	return max(0, min(c.Last.Sub(c.First).Hours()/24, float64(c.Samples)/1440))
}

// Histogram is decaying usage by buckets of VPA. Nobody changes it.
type Histogram []Bucket

// Bucket is the weight of one bucket.
type Bucket struct {
	Index  int // ascending
	Weight float64
}

// scale is the row of buckets of one resource: the first is first wide, every next one 5 % wider.
type scale struct {
	first float64 // width of the first bucket, in cores or bytes
	top   float64 // where the row ends
}

// The rows of VPA's defaults (aggregations_config.go).
var (
	cpuScale    = scale{0.01, 1000}
	memoryScale = scale{1e7, 1e12}
)

const growth = 1.05

// margin is what VPA adds to what was used.
const margin = 1.15

// start is where bucket n begins, which is where bucket n−1 ends.
func (s scale) start(n int) float64 {
	return s.first * (math.Pow(growth, float64(n)) - 1) / (growth - 1)
}

// last is the index of the last bucket.
func (s scale) last() int {
	return int(math.Ceil(math.Log(s.top*(growth-1)/s.first+1) / math.Log(growth)))
}

// steps is at which step of VPA's ladder a recommendation stands: its targets are the borders of
// buckets times the margin, cut to whole millicores and bytes, so nothing lies between two whole
// steps but what a policy made.
func (s scale) steps(recommended float64) float64 {
	return math.Log(recommended/margin*(growth-1)/s.first+1) / math.Log(growth)
}

// width is how much n steps of the ladder are at an amount.
func (s scale) width(at float64, n int) float64 {
	from := s.steps(at)
	return s.first * (math.Pow(growth, from+float64(n)) - math.Pow(growth, from)) / (growth - 1) * margin
}

// near reports whether two recommendations are at most one step of the ladder, or 10 %, apart. What
// differs by less has not changed: the next sample may bring it back.
func (s scale) near(a, b float64) bool {
	return math.Abs(s.steps(a)-s.steps(b)) < 1.5 || math.Abs(a-b) <= 0.1*max(a, b)
}

// percentile is the upper end of the bucket in which a share p of the weight is reached, as VPA
// reads it; undefined without samples.
func (h Histogram) percentile(s scale, p float64) slo.Value {
	total := h.total()
	if total <= 0 {
		return slo.Value{}
	}
	sum := 0.0
	for _, b := range h {
		// The last bits of a sum are no reason to take the next bucket.
		if sum += b.Weight; sum >= p*total*(1-1e-12) && b.Weight > 0 {
			return slo.Defined(s.end(b.Index))
		}
	}
	return slo.Defined(s.end(h[len(h)-1].Index))
}

// above is the share of the weight in buckets that reach above an amount: how likely the next
// sample is above it, at most. Undefined without samples.
func (h Histogram) above(s scale, amount float64) slo.Value {
	total := h.total()
	if total <= 0 {
		return slo.Value{}
	}
	over := 0.0
	for _, b := range h {
		if s.end(b.Index) > amount*(1+1e-9) { // the border itself is not above
			over += b.Weight
		}
	}
	return slo.Defined(over / total)
}

// end is where a bucket ends; the last has no end, and stands for its start.
func (s scale) end(n int) float64 {
	if last := s.last(); n >= last {
		return s.start(last)
	}
	return s.start(n + 1)
}

func (h Histogram) total() float64 {
	sum := 0.0
	for _, b := range h {
		sum += b.Weight
	}
	return sum
}

// Bar is one bucket with its share of the samples, for people to look at.
type Bar struct {
	From, To float64 // cores or bytes
	Share    float64 // 0 to 1
}

// Bars are the buckets of a histogram of "cpu" or "memory", ascending; nil without samples.
func (h Histogram) Bars(resource string) []Bar {
	total := h.total()
	if total <= 0 {
		return nil
	}
	s := resourceName(resource).scale()
	bars := make([]Bar, 0, len(h))
	for _, b := range h {
		bars = append(bars, Bar{s.start(b.Index), s.end(b.Index), b.Weight / total})
	}
	return bars
}
