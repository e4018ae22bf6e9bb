package ct

import (
	"unsafe"

	"ffwd/packet"
)

// match finds for each packet a flow in its home bucket that has the tag of its hash, and
// asks the cache for the flow. Where there is none it finds any other, or 0: keys are
// compared in any case.
//
// In assembly a packet costs 6 cycles, and the loads of one do not wait for those of the
// packets before; matchPlain costs 12 (BenchmarkEstablished, 1,000 flows).
func (t *Table) match(heads packet.Heads) {
	hashes, stride := heads.Hashes()
	matchHomes(t.bucketBase, uint64(t.numBuckets), t.flowBase, hashes, stride, &t.candidates[0], heads.Len())
}

// matchHomes stores at found the candidates of the n hashes that lie stride bytes apart.
// Buckets and flows are 64 bytes each.
//
//go:noescape
func matchHomes(buckets unsafe.Pointer, numBuckets uint64, flows unsafe.Pointer, hashes *uint64, stride uintptr, found *uint32, n int)
