package packet

// Plain4 finds the headers of the plain IPv4 frames that lead mbufs. mac is as MACBytes has
// it. It returns how many there are, the bytes received in them, and their protocols' bits.
//
// In assembly, because this is a third of all that is done to most packets. What is compared
// with constants is compared at once, in vector registers (FuzzPlain4 holds it to plain4).
func (r *Run) Plain4(mbufs []*Mbuf, mac uint64) (n int, bytes uint64, protocols uint8) {
	if len(mbufs) == 0 {
		return 0, 0, 0
	}
	n, bytes, all := plainFrames4(&mbufs[0], min(len(mbufs), MaxBurst), mac, r)
	return n, bytes, uint8(all)
}

// plainFrames4 writes Data without the garbage collector's knowledge: frames are DPDK's
// memory, or a test keeps them.
//
//go:noescape
func plainFrames4(mbufs **Mbuf, n int, mac uint64, r *Run) (taken int, bytes, protocols uint64)
