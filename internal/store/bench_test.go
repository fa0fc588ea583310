package store

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkCommit commits as a tick does: new records, and the expired ones go, so that the file
// stays as large as it is. Each commit is durable; the median is what a tick waits.
func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		name          string
		records, size int
	}{
		{"1x1MB", 1, 1 << 20},
		{"1x400KB", 1, 400 << 10},
		{"100x10KB", 100, 10 << 10},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, err := Open(filepath.Join(b.TempDir(), "state.db"), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			const kept = 50
			value := bytes.Repeat([]byte("budget "), c.size/7+1)[:c.size]
			took := make([]time.Duration, 0, b.N)
			tick := uint64(0)
			commit := func() {
				tick++
				records := make([]Record, 0, 2*c.records)
				for i := range c.records {
					records = append(records, Record{"slots", key(tick, i), value})
					if tick > kept {
						records = append(records, Record{"slots", key(tick-kept, i), nil})
					}
				}
				if err := s.Commit(records); err != nil {
					b.Fatal(err)
				}
			}
			for range kept + 5 {
				commit()
			}
			b.SetBytes(int64(c.records * c.size))
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				commit()
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
			b.ReportMetric(float64(s.Size())/float64(kept*c.records*c.size), "file/data")
		})
	}
}

func key(tick uint64, i int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, tick), uint16(i))
}

// BenchmarkOpen opens and loads 500 slots of 400 KB: what a restart with 100,000 SLOs reads.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "state.db")
	s, err := Open(path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	s.db.NoSync = true
	value := bytes.Repeat([]byte("budget "), 400<<10/7)
	for i := range uint64(500) {
		if err := s.Commit([]Record{{"slots", key(i, 0), value}}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(s.Size())
	s.Close()
	for b.Loop() {
		s, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		if err := s.Load(func(Record) error { n++; return nil }); err != nil || n != 500 {
			b.Fatal(n, err)
		}
		s.Close()
	}
}
