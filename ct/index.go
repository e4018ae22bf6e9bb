package ct

import (
	"math/bits"
	"unsafe"
)

// slots is the number of entries in a bucket: what fits a cache line with an
// 8-bit tag and a 32-bit index each.
const slots = 12

// bucket is one cache line of the hash index.
//
// A flow is entered in the first bucket with a free slot, from its home bucket
// on. passing counts the entries that went past this bucket because it was full;
// a search stops at the first bucket that nobody passed. 64 bytes.
type bucket struct {
	tagsLow  uint64 // tags of slots 0 to 7; 0 is a free slot
	tagsHigh uint32 // tags of slots 8 to 11
	passing  uint32
	flow     [slots]uint32
}

// tagOf is the part of the hash kept in the bucket, never 0.
func tagOf(hash uint64) uint8 { return uint8(max(1, hash>>56)) }

const (
	low7  = 0x7f7f7f7f7f7f7f7f
	ones  = 0x0101010101010101
	pack8 = 0x0102040810204080 // gathers bit 0 of each byte into the top byte
)

// match returns the slots whose tag is t, as a bit mask. Without branches: eight
// tags are compared in one register, and the byte-wise result is gathered into
// bits by a multiplication.
func (b *bucket) match(t uint8) uint32 {
	spread := uint64(t) * ones
	return zeroBytes(b.tagsLow^spread) | zeroBytes(uint64(b.tagsHigh)^spread&0xffffffff|0xffffffff<<32)<<8
}

// zeroBytes returns a bit for each byte of x that is zero, exactly.
func zeroBytes(x uint64) uint32 {
	nonzero := (x&low7 + low7) | x // bit 7 of each byte that is not zero
	return uint32((^nonzero >> 7 & ones) * pack8 >> 56)
}

// first returns a slot whose tag is t. It costs less than match: (x-1) &^ x has
// the top bit of a byte set if the byte is zero, and above the lowest zero byte
// perhaps of others; so the lowest such bit is right, and no more is wanted. The
// bits of slots 8 to 11 go between those of slots 0 to 7.
func (b *bucket) first(t uint8) (slot uint, ok bool) {
	const tops, below = 0x8080808080808080, 4
	spread := uint64(t) * ones
	low, high := b.tagsLow^spread, b.tagsHigh^uint32(spread)
	found := (low-ones)&^low&tops | uint64((high-ones>>32)&^high&(tops>>32))>>below
	if found == 0 {
		return 0, false
	}
	bit := uint(bits.TrailingZeros64(found))
	return bit>>3 + ^bit&below<<1, true
}

func (b *bucket) setTag(slot int, t uint8) {
	if slot < 8 {
		b.tagsLow = b.tagsLow&^(0xff<<(8*slot)) | uint64(t)<<(8*slot)
		return
	}
	shift := 8 * (slot - 8)
	b.tagsHigh = b.tagsHigh&^(0xff<<shift) | uint32(t)<<shift
}

// home returns the number of a hash's first bucket.
func (t *Table) home(hash uint64) uint32 {
	return uint32(uint64(uint32(hash)) * uint64(t.numBuckets) >> 32)
}

func (t *Table) bucket(i uint32) *bucket {
	return (*bucket)(unsafe.Add(t.bucketBase, uintptr(i)*unsafe.Sizeof(bucket{})))
}

func (t *Table) next(i uint32) uint32 {
	if i++; i == t.numBuckets {
		return 0
	}
	return i
}

// enter puts a flow into the index. There is always a free slot: the index has
// more of them than the table has flows.
func (t *Table) enter(hash uint64, flow uint32) {
	i := t.home(hash)
	for {
		b := t.bucket(i)
		if free := b.match(0); free != 0 {
			slot := bits.TrailingZeros32(free)
			b.setTag(slot, tagOf(hash))
			b.flow[slot] = flow
			return
		}
		b.passing++
		i = t.next(i)
	}
}

// remove takes a flow out of the index.
func (t *Table) remove(hash uint64, flow uint32) {
	i := t.home(hash)
	for {
		b := t.bucket(i)
		for m := b.match(tagOf(hash)); m != 0; m &= m - 1 {
			if slot := bits.TrailingZeros32(m); b.flow[slot] == flow {
				b.setTag(slot, 0)
				return
			}
		}
		b.passing--
		i = t.next(i)
	}
}
