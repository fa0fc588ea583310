// Package store is the file in which yoyu's state survives: records in buckets, each with its
// checksum, one transaction per tick, on disk when Commit returns. It knows nothing of SLOs; the
// engine makes the records and reads them.
//
//	Engine ──[]Record──▶ Commit ──▶ state.db ──▶ Open (checks all of it) ──▶ Load ──▶ Engine
//	                                   │
//	                                   └──▶ Verify, Read, Backup, Quarantine: yoyu state …
//
// # What it promises
//
//   - A crash, a kill, a power failure: the file holds every commit that returned nil, and nothing
//     of any other but possibly the one that was under way, whole. (A power failure is survived by
//     disks that keep what fsync says they keep.)
//   - A full disk, a quota, a read-only file system, an input/output error: Commit says so in plain
//     words and nothing has changed. The next Commit works when the trouble is gone; nothing has to
//     be restarted. An existing file on a read-only file system can be opened and loaded.
//   - A damaged file: Open refuses it with the place and what is affected, and changes nothing. It
//     never hands over a record that is not what was written last. Two cases are not refused: when
//     only the newest meta page is damaged, as by a torn write, and when the power failed while the
//     newest transaction was written. Then the file is opened at the transaction before, a warning
//     is logged, and Store.RolledBack is set.
//   - A second process is refused with the number of the first. A folder on NFS or SMB is refused.
//   - A file of a newer format is refused and left untouched. Files of every format ever written
//     keep loading; testdata holds one of each.
//   - The file stays bounded: deleted records give their pages back for new ones. It never shrinks.
//
// A disk that reports writes as done and loses them is found out when it loses a part of a
// transaction, also when that part is replaced by what stood there before. It is not found out when
// it loses a whole transaction, meta page and all: then the file is the one before it.
//
// # The file, format 1
//
// The file is a bbolt database (page format 2, pages of 4096 bytes, integers in the machine's byte
// order). Its buckets are those of the records, and one of the store's own, "\x00yoyu":
//
//	"format"  a uvarint: 1. This key and its value's beginning keep place and shape in every format.
//	"digest"  what the file must hold, written by every transaction: the transaction's number,
//	          the number of buckets, and per bucket in the order of names: length of the name,
//	          name, number of records, and the sum of their checksums modulo 2^64 (8 bytes, big
//	          endian). The other integers are uvarints.
//
// Every value, also those two, is stored as
//
//	format byte: 1 | CRC-32C, 4 bytes, big endian | value
//
// The CRC is that of the format byte, the length of the bucket's name (uvarint), the name, the
// length of the key (uvarint), the key, and the value. So a value belongs to its place: under
// another key it is damaged. What a checksum per record cannot see, a record that is missing or one
// that has come back from the past, the digest does.
//
// A record of which 64 KiB or more are stored is a bucket named by its key, which holds the stored
// value under the key "v": it has pages of its own, so that rewriting it moves no neighbours.
//
// A transaction is synced once, when all of it has been written; bbolt's own sync between its pages
// and its meta page is left out. So a power failure may leave a meta page that leads to pages which are
// not there. All of a file is read when it is opened, which finds that out, and the pages of the
// transaction before are not written to until the next sync. What tells torn from damaged is a mark at
// the end of the meta page, where bbolt writes zeros: the transaction's number and its complement, 8
// bytes each, big endian, written after the sync. Files without marks, as they were written before,
// are like files that were just copied.
//
// Beside the file stands one with the suffix ".lock": the process that has locked it and whose
// number stands in it has the file. A file with the suffix ".new" is one that was being made when
// the process died. Files with ".damaged-" and a time in their names were put aside by Quarantine;
// nobody deletes them.
package store
