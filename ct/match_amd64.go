package ct

import (
	"unsafe"

	"golang.org/x/sys/cpu"

	"ffwd/mem"
	"ffwd/packet"
)

// match finds for each packet a flow that has the tag of its hash, and asks the second level
// of the cache for the flow. Where there is none it is 0. It may be the wrong one: keys are
// compared in any case.
//
// In assembly a packet costs 6 cycles, and the loads of one do not wait for those of the
// packets before; matchPlain costs 12 (BenchmarkEstablished, 1,000 flows). What lies
// outside of its home bucket is left to Go: one flow in 120 when the table is full, and
// new ones.
func (t *Table) match(heads packet.Heads, found *candidates) {
	hashes, stride := heads.Hashes()
	prefetchHomes(t.bucketBase, uint64(t.numBuckets), hashes, stride, heads.Len())
	t.matchSought(heads, found)
}

// matchSought is match where the cache has been asked for the buckets.
func (t *Table) matchSought(heads packet.Heads, found *candidates) {
	hashes, stride := heads.Hashes()
	n := matchTags(t.bucketBase, uint64(t.numBuckets), t.flowBase, hashes, stride, &found[0], &t.lines[0], heads.Len())
	for i, at := range t.lines[:n] {
		flow := uint32(0)
		if hash := heads.At(int(at)).Hash; t.bucket(t.home(hash)).passing != 0 {
			flow = t.seek(hash)
		}
		found[at&(packet.MaxBurst-1)], t.lines[i] = flow, flow
	}
	mem.Prefetch(t.flowBase, unsafe.Sizeof(Flow{}), &t.lines[0], n)
}

// vector tells whether the processor has what keysAndHomes16 is made of. Tests turn it off.
var vector = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ

// keysAndHomes sets keys and hashes of the first n of a run of IPv4, see plainKeys4, and asks
// the cache for their buckets: sixteen at a time where the processor can, from the run's
// columns, and the rest one by one from their frames.
func (t *Table) keysAndHomes(run *packet.Run, n int, zone uint16) {
	tail, sixteens := uint64(zone)<<16|family4, 0
	if vector && n >= 16 {
		sixteens = n &^ 15
		keysAndHomes16(&run.Src4[0], &run.Dst4[0], &run.Ports[0], &run.Proto[0], &run.Heads[0], sixteens,
			tail, &t.secret, t.bucketBase, uint64(t.numBuckets))
	}
	if sixteens < n {
		keysAndHomes4(&run.Heads[sixteens], n-sixteens, tail, &t.secret, t.bucketBase, uint64(t.numBuckets))
	}
}

// What keysAndHomes4 and keysAndHomes16 know: a byte too many or too few does not compile.
var (
	_ [unsafe.Sizeof(packet.Head{})]struct{}         = [48]struct{}{}
	_ [unsafe.Offsetof(packet.Head{}.Key0)]struct{}  = [8]struct{}{}
	_ [unsafe.Offsetof(packet.Head{}.Key1)]struct{}  = [16]struct{}{}
	_ [unsafe.Offsetof(packet.Head{}.Hash)]struct{}  = [24]struct{}{}
	_ [unsafe.Offsetof(packet.Head{}.Proto)]struct{} = [44]struct{}{}
	_ [unsafe.Offsetof(packet.Head{}.Flags)]struct{} = [45]struct{}{}

	_ [packet.HasPorts]struct{}   = [8]struct{}{}
	_ [packet.KeySwapped]struct{} = [16]struct{}{}
)

// keysAndHomes16 takes n packets, a multiple of 16 and at least 16. It stores Key0, Key1 and
// Hash of each head, and Flags whole: HasPorts and, of one from the high end, KeySwapped.
//
//go:noescape
func keysAndHomes16(src, dst, ports *uint32, proto *uint8, heads *packet.Head, n int, tail uint64, s *Secret, buckets unsafe.Pointer, numBuckets uint64)

//go:noescape
func keysAndHomes4(heads *packet.Head, n int, tail uint64, s *Secret, buckets unsafe.Pointer, numBuckets uint64)

//go:noescape
func prefetchHomes(buckets unsafe.Pointer, numBuckets uint64, hashes *uint64, stride uintptr, n int)

// matchTags stores at found the candidates of the n hashes that lie stride bytes apart,
// and at others, in ascending order, the numbers of those that have none in their home
// bucket; it returns how many they are. Buckets and flows are 64 bytes each.
//
//go:noescape
func matchTags(buckets unsafe.Pointer, numBuckets uint64, flows unsafe.Pointer, hashes *uint64, stride uintptr, found, others *uint32, n int) int
