package sinks_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/yoyu-sre/yoyu/internal/rightsizing"
	"github.com/yoyu-sre/yoyu/sinks"
	"github.com/yoyu-sre/yoyu/sinks/sinktest"
	"github.com/yoyu-sre/yoyu/slo"
)

// Slots and Values together are Points, but for order and for what is undefined.
func TestSlotsAreThePoints(t *testing.T) {
	for name, r := range map[string]*sinks.Report{
		"typical": sinktest.Report(), "empty": sinktest.Empty(), "unknown": sinktest.Unknown(), "odd": sinktest.Odd(), "large": sinktest.Large(20),
	} {
		for _, selection := range []sinks.Selection{{}, {AllWindows: true}, {Windows: []string{"5m", sinks.PeriodWindow}}, {Families: []*sinks.Family{sinks.Replicas, sinks.SLOExhaustion}}} {
			want, got := map[string]float64{}, map[string]float64{}
			for p := range r.Points(selection) {
				want[key(p)] = p.Value
			}
			values, i := r.Values(nil, selection), 0
			for p := range r.Slots(selection) {
				if math.Float64bits(values[i]) != math.Float64bits(p.Value) {
					t.Errorf("%s: %s: value %v, slot %v", name, key(p), values[i], p.Value)
				}
				if i++; !math.IsNaN(p.Value) {
					got[key(p)] = p.Value
				}
			}
			if i != len(values) {
				t.Errorf("%s: %d slots, %d values", name, i, len(values))
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: slots\n%v\npoints\n%v", name, got, want)
			}
		}
	}
}

func TestSlotsStopAnywhere(t *testing.T) {
	r := sinktest.Report()
	for stop := 1; stop <= len(r.Values(nil, sinks.Selection{})); stop++ {
		read := 0
		for range r.Slots(sinks.Selection{}) {
			if read++; read == stop {
				break
			}
		}
		if read != stop {
			t.Fatalf("read %d slots, want %d", read, stop)
		}
	}
}

// The law that sinks build on: a report of the same shape has the same slots. Every field of a
// report is changed in turn, so that a family that begins to read another one is found here.
func TestShapeHoldsAllThatLabelsAreMadeOf(t *testing.T) {
	for name, sample := range map[string]func() *sinks.Report{
		"typical": sinktest.Report, "odd": sinktest.Odd,
		"a workload twice, a service of two SLOs": func() *sinks.Report {
			second := sinktest.Workload()
			second.VPA = "second"
			quarter := sinktest.Objective("q", "shop", "99", slo.CalendarPeriod(slo.Quarter, time.UTC))
			again := *quarter
			again.Name = "again"
			return &sinks.Report{
				SLOs:      []slo.Status{sinktest.Status(quarter, nil, nil), sinktest.Status(&again, nil, nil)},
				Workloads: []rightsizing.Workload{sinktest.Workload(), second},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := sample()
			shape, slots := before.Shape(), slotsOf(before)
			if !shape.Fits(sample()) {
				t.Fatal("the same report made again has another shape")
			}
			total := len(leavesOf(sample()))
			if total < 30 {
				t.Fatalf("only %d fields are tried", total)
			}
			for i := range total {
				r := sample()
				leaf := leavesOf(r)[i]
				number := leaf.change()
				fits := shape.Fits(r)
				if fits && !slices.Equal(slotsOf(r), slots) {
					t.Errorf("%s: changes names or labels, and the shape does not notice", leaf.path)
				}
				if number && !fits {
					t.Errorf("%s: is a number, and changes the shape", leaf.path)
				}
			}
		})
	}
}

// A report's memory is used again for the next one: what a shape remembers must not change with it.
func TestShapeOutlivesItsReport(t *testing.T) {
	r := sinktest.Report()
	shape := r.Shape()
	for i := range r.SLOs {
		clear(r.SLOs[i].Labels)
		clear(r.SLOs[i].Windows)
		clear(r.SLOs[i].Alerts)
	}
	clear(r.Workloads[0].Containers)
	clear(r.Workloads[0].Services)
	clear(r.Workloads)
	if !shape.Fits(sinktest.Report()) {
		t.Error("the shape went with its report")
	}
	if shape.Fits(r) {
		t.Error("a spoilt report has the shape still")
	}
}

// leaf is one field of a report that can be changed; number says that it holds no text.
type leaf struct {
	path   string
	change func() (number bool)
}

// leavesOf are all settable fields below the report: numbers, texts, and slices to be shortened.
func leavesOf(r *sinks.Report) []leaf {
	var out []leaf
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		add := func(number bool, change func()) {
			out = append(out, leaf{path, func() bool { change(); return number }})
		}
		switch v.Interface().(type) {
		case time.Time:
			add(true, func() { v.Set(reflect.ValueOf(time.Unix(1e9, 0))) })
			return
		case slo.Value:
			add(true, func() { v.Set(reflect.ValueOf(slo.Value{Defined: !v.Interface().(slo.Value).Defined, Float: 5})) })
			return
		case slo.Policy, slo.Budgeting, slo.Pair, slo.Once, *time.Location:
			return
		}
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(path, v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					walk(path+"."+v.Type().Field(i).Name, v.Field(i))
				}
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
			if v.Len() > 0 {
				add(false, func() { v.SetLen(v.Len() - 1) })
			}
		case reflect.Map:
			for _, name := range v.MapKeys() {
				add(false, func() { v.SetMapIndex(name, reflect.ValueOf("changed")) })
			}
		case reflect.String:
			add(false, func() { v.SetString("changed") })
		case reflect.Bool:
			add(false, func() { v.SetBool(!v.Bool()) })
		case reflect.Float64:
			add(true, func() { v.SetFloat(v.Float()/2 + 1) })
		case reflect.Int, reflect.Int64, reflect.Uint8:
			add(false, func() { v.Set(reflect.ValueOf(3).Convert(v.Type())) })
		default:
			panic(fmt.Sprintf("%s: a %s is not tried", path, v.Kind()))
		}
	}
	walk("report", reflect.ValueOf(r))
	return out
}

func slotsOf(r *sinks.Report) []string {
	var out []string
	for p := range r.Slots(sinks.Selection{}) {
		out = append(out, key(p))
	}
	return out
}

// BenchmarkValues is what a tick costs a sink that has prepared its labels.
func BenchmarkValues(b *testing.B) {
	r := sinktest.Large(10_000)
	shape := r.Shape()
	var values []float64
	b.ReportAllocs()
	for b.Loop() {
		if !shape.Fits(r) {
			b.Fatal("another shape")
		}
		values = r.Values(values[:0], sinks.Selection{})
	}
	b.ReportMetric(float64(len(values)), "slots")
}
