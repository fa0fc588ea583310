package prom

import (
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"sync"
)

// deflater compresses what comes after a page. It goes on with a stream that a packer has paused,
// and knows nothing of what is in it: together they are one gzip member, which every client reads,
// unlike several in a row.
//
//	gzipHead │ page … pause │ rest … end │ checksum, size
type deflater struct {
	flate *flate.Writer
	out   []byte
}

// deflaters are for anyone's use, one at a time. Each holds about a megabyte.
var deflaters = sync.Pool{New: func() any {
	d := &deflater{}
	d.flate, _ = flate.NewWriter(d, flate.BestSpeed) // fails for other levels only
	return d
}}

// gzipHead is what every gzip member begins with: deflate, no flags, no time, quick, no system.
const gzipHead = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"

// Write takes what comes out of the compressor.
func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

// end appends what comes after the page, compressed, and the end of the member.
func (d *deflater) end(out []byte, after *page, rest []byte) []byte {
	d.out = out
	d.flate.Reset(d)
	_, _ = d.flate.Write(rest) // memory does not fail
	_ = d.flate.Close()
	out, d.out = d.out, nil
	out = binary.LittleEndian.AppendUint32(out, crc32.Update(after.crc, crc32.IEEETable, rest))
	return binary.LittleEndian.AppendUint32(out, after.size+uint32(len(rest)))
}
