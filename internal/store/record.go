package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
)

// Record is one key with its value in a bucket. In Commit a nil Value deletes the key; an empty
// one that is not nil is kept as such.
type Record struct {
	Bucket string // not empty, up to 32768 bytes, does not begin with a zero byte
	Key    []byte // 1 to 32768 bytes; records come back in the order of these bytes
	Value  []byte // up to 1 GiB
}

const (
	recordFormat = 1       // first byte of every stored value
	recordHeader = 1 + 4   // format byte, checksum
	maxKey       = 32768   // bbolt's own limit
	maxValue     = 1 << 30 // far above any slot, far below bbolt's limit
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode turns a record's value into the bytes that are stored for it:
//
//	format byte (1) | CRC-32C, big endian (4) | value
//
// The checksum covers the format byte, the lengths and bytes of bucket and key, and the value: a
// whole value under a wrong key is damage like any other.
func encode(bucket string, key, value []byte) []byte {
	return appendRecord(make([]byte, 0, recordHeader+len(value)), bucket, key, value)
}

// appendRecord appends what encode makes.
func appendRecord(b []byte, bucket string, key, value []byte) []byte {
	b = append(b, recordFormat)
	b = binary.BigEndian.AppendUint32(b, checksum(bucket, key, value))
	return append(b, value...)
}

// decode is the way back: the value, a part of stored, and its checksum.
func decode(bucket string, key, stored []byte) ([]byte, uint32, error) {
	if len(stored) < recordHeader {
		return nil, 0, fmt.Errorf("record is %d bytes long, at least %d are needed", len(stored), recordHeader)
	}
	if stored[0] != recordFormat {
		return nil, 0, fmt.Errorf("record has format %d, want %d", stored[0], recordFormat)
	}
	value := stored[recordHeader:]
	want, got := storedSum(stored), checksum(bucket, key, value)
	if got != want {
		return nil, 0, fmt.Errorf("record has checksum %08x, want %08x", got, want)
	}
	return value, want, nil
}

// storedSum is the checksum that stored bytes claim.
func storedSum(stored []byte) uint32 { return binary.BigEndian.Uint32(stored[1:recordHeader]) }

func checksum(bucket string, key, value []byte) uint32 {
	head := make([]byte, 0, 64)
	head = append(head, recordFormat)
	head = binary.AppendUvarint(head, uint64(len(bucket)))
	head = append(head, bucket...)
	head = binary.AppendUvarint(head, uint64(len(key)))
	head = append(head, key...)
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, value)
}

// valid says what is wrong with a record that Commit is asked to write.
func (r Record) valid() error {
	switch {
	case r.Bucket == "" || strings.HasPrefix(r.Bucket, "\x00"):
		return fmt.Errorf("bucket %q: a name is needed that does not begin with a zero byte", r.Bucket)
	case len(r.Bucket) > maxKey:
		return fmt.Errorf("bucket name of %d bytes: at most %d", len(r.Bucket), maxKey)
	case len(r.Key) == 0 || len(r.Key) > maxKey:
		return fmt.Errorf("bucket %s: key of %d bytes: 1 to %d", r.Bucket, len(r.Key), maxKey)
	case len(r.Value) > maxValue:
		return fmt.Errorf("bucket %s: value of %d bytes: at most %d", r.Bucket, len(r.Value), maxValue)
	}
	return nil
}

// digest says what a file must hold: it is written by every transaction and compared with what is
// found on every check. A checksum per record cannot tell that a record is missing; this can.
type digest struct {
	txid    uint64 // transaction that wrote it
	buckets map[string]tally
}

// tally is the content of one bucket.
type tally struct {
	count uint64 // records
	sum   uint64 // their checksums added up, modulo 2^64
}

func (t *tally) add(sum uint32)    { t.count++; t.sum += uint64(sum) }
func (t *tally) remove(sum uint32) { t.count--; t.sum -= uint64(sum) }

// clone is a copy that may be changed.
func (d digest) clone() digest { return digest{d.txid, maps.Clone(d.buckets)} }

// encode: transaction, number of buckets, then per bucket in the order of names the length of its
// name, the name, its records, and the sum in eight bytes big endian; integers are uvarints.
func (d digest) encode() []byte {
	b := binary.AppendUvarint(nil, d.txid)
	b = binary.AppendUvarint(b, uint64(len(d.buckets)))
	for _, name := range slices.Sorted(maps.Keys(d.buckets)) {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
		b = binary.AppendUvarint(b, d.buckets[name].count)
		b = binary.BigEndian.AppendUint64(b, d.buckets[name].sum)
	}
	return b
}

func decodeDigest(b []byte) (digest, error) {
	bad := errors.New("digest cannot be read")
	uvarint := func() (v uint64, ok bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	txid, ok := uvarint()
	if !ok {
		return digest{}, bad
	}
	n, ok := uvarint()
	if !ok {
		return digest{}, bad
	}
	d := digest{txid, map[string]tally{}}
	for range n {
		length, ok := uvarint()
		if !ok || length > uint64(len(b)) {
			return digest{}, bad
		}
		name := string(b[:length])
		b = b[length:]
		count, ok := uvarint()
		if !ok || len(b) < 8 {
			return digest{}, bad
		}
		d.buckets[name] = tally{count, binary.BigEndian.Uint64(b)}
		b = b[8:]
	}
	if len(b) != 0 || uint64(len(d.buckets)) != n {
		return digest{}, bad
	}
	return d, nil
}
