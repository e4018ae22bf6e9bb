package pmd

import "fmt"

// maxToeplitzInput is the longest RSS input: IPv6 addresses and ports.
const maxToeplitzInput = 16 + 16 + 2 + 2

// Toeplitz is the hash by which NICs spread packets over queues, in software, for
// comparing the two. Safe for concurrent use.
//
// The hash of an input is the exclusive or, over its set bits, of the 32 key bits
// that begin at the bit's position. That is linear, so each byte at each position
// contributes one of 256 values, tabulated once.
//
// Source: Microsoft, "RSS hashing functions".
type Toeplitz struct {
	table [maxToeplitzInput][256]uint32
}

// NewToeplitz tabulates a key of at least 40 bytes, what the longest input needs.
func NewToeplitz(key []byte) (*Toeplitz, error) {
	if len(key) < maxToeplitzInput+4 {
		return nil, fmt.Errorf("toeplitz key of %d bytes is shorter than %d", len(key), maxToeplitzInput+4)
	}
	t := new(Toeplitz)
	for position := range t.table {
		// Five key bytes hold the eight windows of 32 bits that start in this byte.
		window := uint64(key[position])<<32 | uint64(key[position+1])<<24 | uint64(key[position+2])<<16 |
			uint64(key[position+3])<<8 | uint64(key[position+4])
		for bit := range 8 {
			contribution := uint32(window >> (8 - bit))
			for value := range t.table[position] {
				if value&(0x80>>bit) != 0 {
					t.table[position][value] ^= contribution
				}
			}
		}
	}
	return t, nil
}

// Hash returns the hash of an RSS input of at most 36 bytes, in wire order: source
// address, destination address and, where the NIC hashes them, source port and
// destination port. Bytes past the 36th are ignored.
func (t *Toeplitz) Hash(input []byte) uint32 {
	var hash uint32
	for i, b := range input[:min(len(input), maxToeplitzInput)] {
		hash ^= t.table[i][b]
	}
	return hash
}

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
