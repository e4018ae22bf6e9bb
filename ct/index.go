package ct

import (
	"math/bits"
	"unsafe"
)

// slots is the number of entries in a bucket: what fits a cache line with a 12-bit tag
// and a 28-bit index each.
const slots = 12

// The low bits of an entry are the flow's index, the others the short part of its tag.
const (
	indexBits = 28
	indexMask = 1<<indexBits - 1
)

// Flows of both families and twins have indices that fit, or this would not compile.
const _ = uint(indexMask - 2*MaxFlows - MaxTranslations)

// bucket is one cache line of the hash index.
//
// A flow is entered in the first bucket with a free slot, from its home bucket
// on. passing counts the entries that went past this bucket because it was full;
// a search stops at the first bucket that nobody passed. 64 bytes.
//
// A tag is in two parts: 8 bits beside those of the other slots, to be compared all at
// once, and 4 in the slot's entry. With them one flow in 1,100 of a full table is taken
// for another; with 8 bits alone one in 70, at the price of two lines waited for.
type bucket struct {
	tagsLow  uint64 // tags of slots 0 to 7; 0 is a free slot
	tagsHigh uint32 // tags of slots 8 to 11
	passing  uint32
	entry    [slots]uint32 // of used slots, see entryOf
}

// tagOf is the long part of a hash's tag, never 0.
func tagOf(hash uint64) uint8 { return uint8(max(1, hash>>56)) }

// entryOf is what a slot holds beside the tag's long part. The bits of the hash are none
// that home or Owner go by.
func entryOf(hash uint64, flow uint32) uint32 { return uint32(hash)<<indexBits | flow }

// flow returns the flow of a used slot.
func (b *bucket) flow(slot int) uint32 { return b.entry[slot] & indexMask }

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
			b.entry[slot] = entryOf(hash, flow)
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
			if slot := bits.TrailingZeros32(m); b.entry[slot] == entryOf(hash, flow) {
				b.setTag(slot, 0)
				return
			}
		}
		b.passing--
		i = t.next(i)
	}
}

// seek returns a flow with the hash's tag, or 0.
func (t *Table) seek(hash uint64) uint32 {
	i, tag := t.home(hash), tagOf(hash)
	for range t.numBuckets { // and no further, whatever the index says
		b := t.bucket(i)
		for m := b.match(tag); m != 0; m &= m - 1 {
			if flow := b.entry[bits.TrailingZeros32(m)] ^ entryOf(hash, 0); flow <= indexMask {
				return flow
			}
		}
		if b.passing == 0 {
			break
		}
		i = t.next(i)
	}
	return 0
}
