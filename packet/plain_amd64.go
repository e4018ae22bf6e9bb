package packet

import "golang.org/x/sys/cpu"

// vector tells whether the processor has what plainSixteens4 is made of. Tests turn it off.
var vector = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ

// Plain4 finds the headers of plain IPv4 frames in mbufs, from the at-th on up to the first
// that is not plain. mac is as MACBytes has it. It returns how many there are, the bytes
// received in them, and their protocols' bits.
//
// In assembly, because this is a third of all that is done to most packets. What is compared
// with constants is compared at once, in vector registers (FuzzPlain4 holds it to plain4); and
// of leading sixteens of frames that are all plain, where the processor can, all sixteen.
func (r *Run) Plain4(mbufs []*Mbuf, at int, mac uint64) (n int, bytes uint64, protocols uint8) {
	mbufs = mbufs[:min(len(mbufs), MaxBurst)]
	n, bytes, protocols = r.sixteens4(mbufs, at, mac)
	if at+n >= len(mbufs) {
		return n, bytes, protocols
	}
	to, more, all := plainFrames4(&mbufs[0], at+n, len(mbufs), mac, r)
	return to - at, bytes + more, protocols | uint8(all)
}

// sixteens4 is Plain4 for the first sixteens that are all plain. It leaves frames that are
// plain all the same, such as the shortest, never the other way round.
func (r *Run) sixteens4(mbufs []*Mbuf, at int, mac uint64) (n int, bytes uint64, protocols uint8) {
	if !vector || len(mbufs)-at < 16 {
		return 0, 0, 0
	}
	return plainSixteens4(&mbufs[at], len(mbufs)-at, mac, r, at)
}

// sixteens6 is sixteens4 for IPv6.
func (r *Run) sixteens6(mbufs []*Mbuf, at int, mac uint64) (n int, bytes uint64, protocols uint8) {
	if !vector || len(mbufs)-at < 16 {
		return 0, 0, 0
	}
	return plainSixteens6(&mbufs[at], len(mbufs)-at, mac, &r.Heads[at], &r.Size[at], &r.Dst6[at])
}

// plainFrames4 goes from one place to another, of which there is at least one; taken counts
// from the first. It writes Data without the garbage collector's knowledge: frames are DPDK's
// memory, or a test keeps them.
//
//go:noescape
func plainFrames4(mbufs **Mbuf, from, n int, mac uint64, r *Run) (taken int, bytes, protocols uint64)

// plainSixteens4 takes a multiple of 16 of the n, which are the run's from the at-th on, and
// writes Data likewise.
//
//go:noescape
func plainSixteens4(mbufs **Mbuf, n int, mac uint64, r *Run, at int) (taken int, bytes uint64, protocols uint8)

// plainSixteens6 is plainSixteens4 for IPv6.
//
//go:noescape
func plainSixteens6(mbufs **Mbuf, n int, mac uint64, heads *Head, size *uint16, dst **[16]byte) (taken int, bytes uint64, protocols uint8)
