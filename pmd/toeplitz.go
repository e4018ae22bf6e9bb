package pmd

// NICs spread packets over queues by a hash, Toeplitz: the exclusive or, over the set bits of
// its input, of the 32 key bits that begin at the bit's position. The input is the packet's
// addresses and, where the NIC hashes them, its ports.
//
// Source: Microsoft, "RSS hashing functions".

// symmetricPattern, repeated, is the key under which both directions of a flow hash
// alike: a key that repeats every 16 bits weighs every 16-bit word the same, so that
// swapping source and destination changes nothing. This pattern spreads well.
//
// Source: Woo, Park, "Scalable TCP session monitoring with symmetric receive-side
// scaling" (2012).
var symmetricPattern = [2]byte{0x6d, 0x5a}

// SymmetricKey returns the symmetric key of n bytes.
func SymmetricKey(n int) []byte {
	key := make([]byte, n)
	for i := range key {
		key[i] = symmetricPattern[i%len(symmetricPattern)]
	}
	return key
}

// SymmetricHash is the Toeplitz hash under SymmetricKey of any input whose 16-bit
// words have the given exclusive or: FoldIPv4, FoldIPv6. Since the key has but 16
// bits, so has the hash: its two halves are equal.
func SymmetricHash(fold uint16) uint32 {
	return symmetricHigh[fold>>8] ^ symmetricLow[fold&0xff]
}

// FoldIPv4 returns the exclusive or of the 16-bit words of an IPv4 RSS input. All in
// host order. Ports are 0 where the NIC hashes addresses only.
func FoldIPv4(src, dst uint32, srcPort, dstPort uint16) uint16 {
	both := src ^ dst
	return uint16(both>>16) ^ uint16(both) ^ srcPort ^ dstPort
}

// FoldIPv6 is FoldIPv4's twin; addresses in wire order.
func FoldIPv6(src, dst *[16]byte, srcPort, dstPort uint16) uint16 {
	fold := srcPort ^ dstPort
	for i := 0; i < len(src); i += 2 {
		fold ^= uint16(src[i]^dst[i])<<8 | uint16(src[i+1]^dst[i+1])
	}
	return fold
}

// One byte at an even and at an odd position.
var symmetricHigh, symmetricLow = symmetricTables()

func symmetricTables() (high, low [256]uint32) {
	pattern := uint32(symmetricPattern[0])<<8 | uint32(symmetricPattern[1])
	window := uint64(pattern)<<48 | uint64(pattern)<<32 | uint64(pattern)<<16 | uint64(pattern)
	for value := range 256 {
		for bit := range 8 {
			if value&(0x80>>bit) != 0 {
				high[value] ^= uint32(window >> (32 - bit))
				low[value] ^= uint32(window >> (24 - bit))
			}
		}
	}
	return high, low
}
