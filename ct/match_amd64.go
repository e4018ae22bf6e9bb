package ct

import (
	"unsafe"

	"ffwd/mem"
	"ffwd/packet"
)

// match finds for each packet a flow that has the tag of its hash, and asks the cache for
// the flow. Where there is none it is 0. It may be the wrong one: keys are compared in any
// case.
//
// In assembly a packet costs 6 cycles, and the loads of one do not wait for those of the
// packets before; matchPlain costs 12 (BenchmarkEstablished, 1,000 flows). What lies
// outside of its home bucket is left to Go: one flow in 120 when the table is full, and
// new ones.
func (t *Table) match(heads packet.Heads) {
	hashes, stride := heads.Hashes()
	n := matchHomes(t.bucketBase, uint64(t.numBuckets), t.flowBase, hashes, stride, &t.candidates[0], &t.lines[0], heads.Len())
	for i, at := range t.lines[:n] {
		flow := uint32(0)
		if hash := heads.At(int(at)).Hash; t.bucket(t.home(hash)).passing != 0 {
			flow = t.seek(hash)
		}
		t.candidates[at&(packet.MaxBurst-1)], t.lines[i] = flow, flow
	}
	mem.Prefetch(t.flowBase, unsafe.Sizeof(Flow{}), &t.lines[0], n)
}

// matchHomes stores at found the candidates of the n hashes that lie stride bytes apart,
// and at others, in ascending order, the numbers of those that have none in their home
// bucket; it returns how many they are. Buckets and flows are 64 bytes each.
//
//go:noescape
func matchHomes(buckets unsafe.Pointer, numBuckets uint64, flows unsafe.Pointer, hashes *uint64, stride uintptr, found, others *uint32, n int) int
