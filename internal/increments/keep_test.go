package increments

import (
	"reflect"
	"testing"
	"time"
)

// A memory that was written down and read again goes on as if nothing had been.
func TestRestoredMemoryGoesOn(t *testing.T) {
	m := NewMemory(tick, time.Hour)
	m.Started("a", time.UnixMilli(at(-3)))
	m.Count(span(-30, 30), []Series{counter("x", Total, 0, 100, 30, 110), counter("y", Total|Bad, 0, 1)})
	again := NewMemory(tick, time.Hour)
	if err := again.Restore(m.Names(), m.Values()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, m) {
		t.Fatalf("restored %+v, want %+v", again, m)
	}
	next := []Series{counter("x", Total, 60, 130), counter("y", Total|Bad, 900, 4), counter("new", Total|Bad, 60, 3)}
	if got, want := again.Count(span(30, 900), next), m.Count(span(30, 900), next); !reflect.DeepEqual(got, want) {
		t.Errorf("goes on with %+v, want %+v", got, want)
	}
}

// Any other bytes are an error, and leave the memory alone.
func FuzzRestore(f *testing.F) {
	m := NewMemory(tick, time.Hour)
	m.Count(span(-30, 30), []Series{counter("x", Total, 0, 100, 30, 110), counter("y", Total|Bad, 0, 1)})
	f.Add(m.Names(), m.Values())
	f.Add(m.Names()[:9], m.Values())
	f.Add(m.Names(), append(m.Values(), 0))
	f.Add([]byte{}, []byte{})
	f.Add([]byte{memoryFormat, 255, 255, 255, 255, 15}, m.Values())
	f.Fuzz(func(t *testing.T, names, values []byte) {
		got := NewMemory(tick, time.Hour)
		if err := got.Restore(names, values); err != nil {
			if !reflect.DeepEqual(got, NewMemory(tick, time.Hour)) {
				t.Errorf("%v, and yet it remembers %+v", err, got)
			}
			return
		}
		again := NewMemory(tick, time.Hour)
		if err := again.Restore(got.Names(), got.Values()); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if again.Len() != got.Len() || !again.AsOf().Equal(got.AsOf()) {
			t.Errorf("%+v, and again %+v", got, again)
		}
	})
}
