package store

import (
	"bytes"
	"testing"
)

func TestRecordIsBoundToItsPlace(t *testing.T) {
	stored := encode("slots", []byte("10:00"), []byte("99.9"))
	for _, c := range []struct {
		name   string
		bucket string
		key    string
		stored []byte
		whole  bool
	}{
		{"as it was written", "slots", "10:00", stored, true},
		{"under another key", "slots", "10:01", stored, false},
		{"in another bucket", "slotz", "10:00", stored, false},
		{"a letter of the key moved into the bucket", "slots1", "0:00", stored, false},
		{"a letter of the value moved into the key", "slots", "10:009", append(bytes.Clone(stored[:5]), "9.9"...), false},
		{"cut", "slots", "10:00", stored[:len(stored)-1], false},
		{"grown", "slots", "10:00", append(bytes.Clone(stored), 0), false},
		{"nothing", "slots", "10:00", nil, false},
		{"zeros", "slots", "10:00", make([]byte, 9), false},
		{"a format to come", "slots", "10:00", append([]byte{2}, stored[1:]...), false},
	} {
		value, _, err := decode(c.bucket, []byte(c.key), c.stored)
		if (err == nil) != c.whole || c.whole && string(value) != "99.9" {
			t.Errorf("%s: %q, %v", c.name, value, err)
		}
	}
}

// The bytes of a record, computed by hand: CRC-32C of 01 01 'b' 01 'k' 'v' (a table of the
// polynomial 0x1EDC6F41, not this package).
func TestRecordBytes(t *testing.T) {
	if got, want := encode("b", []byte("k"), []byte("v")), []byte{1, 0x98, 0xf8, 0x7f, 0x6e, 'v'}; !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

func TestDigestRoundTrip(t *testing.T) {
	d := digest{7, map[string]tally{"slots": {3, 1 << 40}, "progress": {0, 0}, "": {1, 2}}}
	b := d.encode()
	got, err := decodeDigest(b)
	if err != nil || !bytes.Equal(got.encode(), b) || got.buckets["slots"] != d.buckets["slots"] || got.txid != 7 || len(got.buckets) != 3 {
		t.Errorf("%v, %v", got, err)
	}
	for n := range b {
		if _, err := decodeDigest(b[:n]); err == nil {
			t.Errorf("cut to %d bytes it is still a digest", n)
		}
	}
	if _, err := decodeDigest(append(b, 0)); err == nil {
		t.Error("with a byte too much it is still a digest")
	}
}

// FuzzRecord: decode(encode(r)) = r; a changed byte is an error; and whatever else decodes is
// exactly what encode would have written.
func FuzzRecord(f *testing.F) {
	f.Add("slots", []byte{0, 0, 1}, []byte("counts"), 2, byte(1), []byte{1, 0, 0, 0, 0})
	f.Add("p", []byte("prom"), []byte{}, 0, byte(255), []byte{})
	f.Add("slots", []byte{255}, bytes.Repeat([]byte{0}, 300), 4, byte(128), []byte{2, 1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, bucket string, key, value []byte, at int, mask byte, other []byte) {
		stored := encode(bucket, key, value)
		got, sum, err := decode(bucket, key, stored)
		if err != nil || !bytes.Equal(got, value) || sum != storedSum(stored) {
			t.Fatalf("decode(encode(%q)) = %q, %v", value, got, err)
		}
		if mask != 0 && at >= 0 {
			stored[at%len(stored)] ^= mask
			if got, _, err := decode(bucket, key, stored); err == nil {
				t.Fatalf("byte %d changed by %#x: %q", at%len(stored), mask, got)
			}
		}
		if got, _, err := decode(bucket, key, other); err == nil && !bytes.Equal(encode(bucket, key, got), other) {
			t.Fatalf("%q decodes to %q, which is not written like that", other, got)
		}
	})
}
