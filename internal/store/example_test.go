package store_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/yoyu-sre/yoyu/internal/store"
)

// A tick: the new slot, the source's progress and the slot that expired go together, or not at all.
func Example() {
	dir, err := os.MkdirTemp("", "yoyu")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "data", "state.db")

	s, err := store.Open(path, store.Options{})
	if err != nil {
		panic(err)
	}
	err = s.Commit([]store.Record{
		{Bucket: "slots", Key: []byte("10:05"), Value: []byte("total 120, bad 3")},
		{Bucket: "slots", Key: []byte("09:05"), Value: nil}, // expired
		{Bucket: "progress", Key: []byte("prom"), Value: []byte("10:05")},
	})
	if err != nil {
		panic(err) // nothing has changed: the daemon goes on from memory and tries again
	}
	s.Close()

	s, err = store.Open(path, store.Options{})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	err = s.Load(func(r store.Record) error {
		fmt.Printf("%s %s: %s\n", r.Bucket, r.Key, r.Value)
		return nil
	})
	if err != nil {
		panic(err)
	}
	// Output:
	// progress prom: 10:05
	// slots 10:05: total 120, bad 3
}
