package rightsizing

import (
	"math"
	"slices"
	"testing"
	"time"
)

// The ladder of VPA's targets: the numbers that people post in issues.
func TestLadder(t *testing.T) {
	for i, want := range []float64{11, 23, 36, 49, 63, 78, 93, 109, 126, 144, 163} {
		if got := math.Floor(cpuScale.end(i) * margin * 1000); got != want {
			t.Errorf("step %d of CPU is %vm, want %vm", i, got, want)
		}
		if steps := cpuScale.steps(want / 1000); math.Abs(steps-float64(i+1)) > 0.1 {
			t.Errorf("%vm is at step %v, want %d", want, steps, i+1)
		}
	}
	for i, want := range map[int]float64{0: 11500000, 19: 380258472, 22: 476450463} {
		if got := math.Floor(memoryScale.end(i) * margin); got != want {
			t.Errorf("step %d of memory is %v, want %v", i, got, want)
		}
	}
}

// Read by hand: 20 below 10m, 60 up to 20.5m, 20 up to 31.525m.
func TestPercentile(t *testing.T) {
	h := Histogram{{0, 20}, {1, 60}, {2, 20}}
	for p, want := range map[float64]float64{0.1: 0.01, 0.2: 0.01, 0.21: 0.0205, 0.5: 0.0205, 0.8: 0.0205, 0.9: 0.031525, 1: 0.031525} {
		near(t, "a percentile", h.percentile(cpuScale, p), want)
	}
	if v := (Histogram{}).percentile(cpuScale, 0.5); v.Defined {
		t.Errorf("nothing was used: %v", v)
	}
	// A bucket that reaches above counts whole: what is in it is not known.
	for amount, want := range map[float64]float64{0: 1, 0.005: 1, 0.01: 0.8, 0.0204: 0.8, 0.0205: 0.2, 0.04: 0} {
		near(t, "a risk", h.above(cpuScale, amount), want)
	}
}

func TestNear(t *testing.T) {
	for _, tt := range []struct {
		a, b float64
		want bool
	}{{0.023, 0.036, true}, {0.011, 0.036, false}, {0.023, 0.023, true}, {0.587, 0.627, true}, {0.587, 0.672, false}, {1.00, 1.09, true}} {
		if got := cpuScale.near(tt.a, tt.b); got != tt.want {
			t.Errorf("%v and %v near: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

// 250 MiB and 25m, shared among containers, some of which may be gone. All else is a measurement.
func TestFloored(t *testing.T) {
	for amount, want := range map[float64]bool{262144000: true, 131072000: true, 87381333: true, 65536000: true, 250e6: false, 260e6: false, 11.5e6: false} {
		if got := floored(memory, amount); got != want {
			t.Errorf("%v: %v, want %v", amount, got, want)
		}
	}
	for amount, want := range map[float64]bool{0.025: true, 0.012: true, 0.008: true, 0.011: false, 0.023: false, 0.036: false} {
		if got := floored(cpu, amount); got != want {
			t.Errorf("%v: %v, want %v", amount, got, want)
		}
	}
}

func TestConfidence(t *testing.T) {
	c := &Checkpoint{First: noon.Add(-10 * day), Last: noon, Samples: 5 * 1440}
	if got := c.Confidence(); got != 5 {
		t.Errorf("half of the samples of ten days: %v days, want 5", got)
	}
	if got := (&Checkpoint{First: noon, Last: noon.Add(-time.Hour)}).Confidence(); got != 0 {
		t.Errorf("a checkpoint that ends before it begins: %v", got)
	}
}

// What people write in commands and environments.
func TestHeapOf(t *testing.T) {
	for _, tt := range []struct {
		args, env []string
		fixed     float64
		share     bool
	}{
		{[]string{"java", "-Xmx512m", "-jar", "app.jar"}, nil, 512 * mib, false},
		{[]string{"sh", "-c", "exec java -Xmx2G -jar app.jar"}, nil, 2 * gib, false},
		{nil, []string{"JAVA_TOOL_OPTIONS=-XX:+UseG1GC -XX:MaxRAMPercentage=75.0"}, 0, true},
		{nil, []string{"NODE_OPTIONS=--max-old-space-size=1536"}, 1536 * mib, false},
		{nil, []string{"GOMEMLIMIT=750MiB"}, 750 * mib, false},
		{nil, []string{"GOMEMLIMIT=off"}, 0, false},
		{nil, []string{"DOTNET_GCHeapHardLimit=0x10000000"}, 256 * mib, false},
		{nil, []string{"DOTNET_GCHeapHardLimitPercent=4B"}, 0, true},
		{[]string{"java", "-Xmx1g", "-XX:MaxRAMPercentage=50"}, nil, 0, true},
		{[]string{"java", "-Xmx"}, []string{"PATH=/bin", "GOMEMLIMIT"}, 0, false},
	} {
		got := HeapOf(tt.args, tt.env)
		if got.Fixed.Float != tt.fixed || got.Fixed.Defined != (tt.fixed > 0) || got.Share != tt.share {
			t.Errorf("%v %v: %+v, want %v, share %v", tt.args, tt.env, got, tt.fixed, tt.share)
		}
	}
}

// What was remembered is remembered after a restart, and what is gone is forgotten.
func TestMemory(t *testing.T) {
	s := newScene()
	s.judge()
	kept := map[string][]byte{}
	keep := func(m *Memory) {
		changes, err := m.Changes()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range changes {
			if kept[r.Key] = r.Value; r.Value == nil {
				delete(kept, r.Key)
			}
		}
	}
	keep(s.memory)
	if again, err := s.memory.Changes(); err != nil || len(again) != 0 {
		t.Errorf("%d changes right after the last, %v", len(again), err)
	}
	var records []Record
	for key, value := range kept {
		records = append(records, Record{key, value})
	}
	m := NewMemory()
	if err := m.Restore(records); err != nil {
		t.Fatal(err)
	}
	j := &Judge{Memory: m, Prices: s.prices}
	j.Judge(s.workloads, s.statuses, noon)
	if got := told(s.checkout()); got != "shrink safe | cpu=over_upper_bound memory=over_upper_bound" {
		t.Errorf("after a restart: %s", got)
	}
	j.Judge(nil, nil, noon.Add(15*day))
	keep(m)
	if len(kept) != 0 {
		t.Errorf("%d records of what is gone are kept", len(kept))
	}
	if err := m.Restore([]Record{{"x", []byte("{")}}); err == nil {
		t.Error("a broken record is read")
	}
}

// A gap in which nobody looked is longer than anything that a target is trusted for.
func TestGap(t *testing.T) {
	m := NewMemory()
	for ago := 10 * day; ago > 3*day; ago -= time.Hour {
		m.need("x", noon.Add(-ago), 0.5)
	}
	s := m.need("x", noon, 0.5)
	if s.watched(noon) != 0 || !s.since(cpuScale, 0.5).Equal(noon) || s.highWater() != 0.5 {
		t.Errorf("watched %s, since %s, high water %v", s.watched(noon), s.since(cpuScale, 0.5), s.highWater())
	}
}

// A target that flaps every minute takes no more memory than one that changes four times a day.
func TestRunsAreBounded(t *testing.T) {
	m := NewMemory()
	for at := noon.Add(-20 * day); at.Before(noon); at = at.Add(time.Minute) {
		m.need("x", at, 0.1+float64(at.Minute()%7))
	}
	s := m.subject("x")
	if len(s.Runs) > 60 || s.highWater() != 6.1 {
		t.Errorf("%d runs, high water %v", len(s.Runs), s.highWater())
	}
	if !slices.IsSortedFunc(s.Runs, func(a, b run) int { return a.From.Compare(b.From) }) {
		t.Error("runs are out of order")
	}
}

// Bars are what the recommender's buckets are, from their own edges: the first 10 millicores wide,
// every next one 5 % wider.
func TestBars(t *testing.T) {
	bars := Histogram{{Index: 0, Weight: 1}, {Index: 2, Weight: 3}}.Bars("cpu")
	if len(bars) != 2 || bars[0] != (Bar{0, bars[0].To, 0.25}) || bars[1].Share != 0.75 {
		t.Fatalf("got %v", bars)
	}
	for i, want := range [][2]float64{{0, 0.01}, {0.0205, 0.031525}} {
		if math.Abs(bars[i].From-want[0]) > 1e-12 || math.Abs(bars[i].To-want[1]) > 1e-12 {
			t.Errorf("bar %d is %v to %v, want %v", i, bars[i].From, bars[i].To, want)
		}
	}
	if bars := (Histogram{{Index: 1}}).Bars("memory"); bars != nil {
		t.Errorf("bars of nothing: %v", bars)
	}
}
