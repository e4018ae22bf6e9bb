package packet

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds data to the ones'-complement sum acc and returns the unfolded sum.
// An odd last byte counts as the high byte of a word. Source: RFC 1071.
func Sum(acc uint64, data []byte) uint64 {
	if len(data) >= 64 {
		n := len(data) &^ 31
		acc, data = acc+sumWide(data[:n]), data[n:]
	}
	for len(data) >= 8 {
		v := binary.BigEndian.Uint64(data)
		acc += v>>32 + v&0xffffffff
		data = data[8:]
	}
	for len(data) >= 2 {
		acc += uint64(binary.BigEndian.Uint16(data))
		data = data[2:]
	}
	if len(data) == 1 {
		acc += uint64(data[0]) << 8
	}
	return acc
}

// sumWide sums what is a multiple of 32 bytes long. It adds words in the machine's order, each
// with the carry of the one before, and swaps the bytes of the sum at the end: a ones'-complement
// sum is the same up to that. A full packet takes half the time (BenchmarkTransportOK).
func sumWide(data []byte) uint64 {
	var wide, carry uint64
	le := binary.LittleEndian
	for ; len(data) >= 32; data = data[32:] {
		wide, carry = bits.Add64(wide, le.Uint64(data[0:]), carry)
		wide, carry = bits.Add64(wide, le.Uint64(data[8:]), carry)
		wide, carry = bits.Add64(wide, le.Uint64(data[16:]), carry)
		wide, carry = bits.Add64(wide, le.Uint64(data[24:]), carry)
	}
	wide, carry = bits.Add64(wide, carry, 0) // end-around: 2^64 is 1 modulo 0xffff
	return uint64(bits.ReverseBytes16(Fold(wide + carry)))
}

// Fold reduces an unfolded sum to 16 bits.
func Fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return uint16(acc)
}

// Checksum returns the Internet checksum of data. Source: RFC 1071.
func Checksum(data []byte) uint16 { return ^Fold(Sum(0, data)) }

// ChecksumOK reports whether the header's checksum is right. It reads the 20
// bytes of a header without options, whose version has been found to be 4.
//
// Words are added in the machine's order: a ones'-complement sum is the same up
// to a byte swap whichever order is used, and the test is for all ones.
func (h *IPv4) ChecksumOK() bool {
	le := binary.LittleEndian
	a, b, c := le.Uint64(h[0:]), le.Uint64(h[8:]), le.Uint32(h[16:])
	s, carry := bits.Add64(a, b, 0)
	s, carry = bits.Add64(s, uint64(c), carry)
	s += carry // end-around; s is at most 2^64-2 when there is a carry
	// 2^16 is 1 modulo 0xffff, so folding keeps the remainder, and a header that
	// is not all zeroes folds to all ones if that is 0. The compiler turns this
	// division by a constant into one multiplication.
	return s%0xffff == 0
}

// UpdateChecksum computes the header's checksum over all of its length.
func (h *IPv4) UpdateChecksum(header []byte) {
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], Checksum(header))
}

// DecrementTTL lowers the TTL by one and updates the checksum incrementally.
//
// The word that holds the TTL falls by 0x0100, so the sum's complement rises by
// as much, with end-around carry. HC' = ~(~HC + ~m + m') never gives 0xffff for
// a header that is not all zeroes; the plain addition can, so that one value is
// turned into the 0x0000 that a full computation gives. Seen as a little-endian
// number, where the checksum's first byte is its lower one and ones'-complement
// arithmetic is the same, it rises by 1, or by 2 where that passes 0xffff. The
// TTL must not be 0. Source: FF-7; RFC 1624 section 3.
//
//	bits 0-7 TTL   8-15 protocol   16-31 checksum
func (h *IPv4) DecrementTTL() {
	v := binary.LittleEndian.Uint32(h[8:])
	if v >= 0xfffe<<16 {
		v += 1 << 16
	}
	binary.LittleEndian.PutUint32(h[8:], v+1<<16-1)
}

// Replace writes new over old, both of one even length and at an even offset of what a
// checksum is over, and adds to acc what that takes for Adjust. Source: RFC 1624 section 3.
func Replace(acc uint64, old, new []byte) uint64 {
	for i := 0; i+1 < len(old); i += 2 {
		acc += uint64(^binary.BigEndian.Uint16(old[i:])) + uint64(binary.BigEndian.Uint16(new[i:]))
	}
	copy(old, new)
	return acc
}

// Adjust corrects a checksum by what Replace gathered: HC' = ~(~HC + ~m + m').
// Source: RFC 1624 section 3.
func Adjust(field []byte, acc uint64) {
	binary.BigEndian.PutUint16(field, ^Fold(uint64(^binary.BigEndian.Uint16(field))+acc))
}

// AdjustLE is Adjust where acc is of numbers as loaded, least significant byte first: a
// ones'-complement sum is the same up to a byte swap. Source: RFC 1071 section 2 (B).
func AdjustLE(field []byte, acc uint64) {
	binary.LittleEndian.PutUint16(field, ^Fold(uint64(^binary.LittleEndian.Uint16(field))+acc))
}

// PseudoSum returns the unfolded sum of the IPv6 pseudo-header. Source: RFC 8200 8.1.
func (h *IPv6) PseudoSum(proto uint8, length int) uint64 {
	return Sum(Sum(uint64(proto)+uint64(length), h[8:24]), h[24:40])
}
