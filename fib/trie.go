package fib

import (
	"encoding/binary"
	"errors"
	"sync/atomic"

	"ffwd/mem"
)

// The trie's strides: 24 bits, then 8 at a time: at most 2 levels for IPv4 and
// 14 for IPv6. Source: DIR-24-8, Gupta, Lin, McKeown, "Routing lookups in
// hardware at memory access speeds", INFOCOM 1998.
const (
	rootBits  = 24
	groupBits = 8
	groupSize = 1 << groupBits
	maxLevels = (128 - rootBits) / groupBits
)

// An entry of the root or of a group is one uint32:
//
//	 31  30      23 22                0
//	+---+----------+------------------+
//	| 0 |  length  |    NextHopID     |  the longest prefix that covers the slot
//	+---+----------+------------------+
//	| 1 |          group              |  the prefixes here are longer than the slot
//	+---+-----------------------------+
//
// 0 is "no route", which is what an untouched page holds. The length is for the
// painter alone: it tells a slot of the prefix being painted from a slot of a
// more specific one, without asking the RIB.
const (
	isGroup     = 1 << 31
	lengthShift = 23
	idMask      = 1<<lengthShift - 1

	// MaxNextHops bounds Options.NextHops: what fits an entry.
	MaxNextHops = 1 << lengthShift
	// MaxGroups bounds Options.Groups4 and Groups6: 8 GiB of groups.
	MaxGroups = 1 << 23
)

// trie is one address family of one Table.
//
// Memory order. Workers read entries with atomic loads, the owner writes them
// with atomic stores. Go's atomics are sequentially consistent, so a worker that
// loads an entry pointing to a group also sees the group as it was filled before
// that entry was stored; the fill itself needs no atomics, because nobody can
// reach the group before. On amd64 the loads are plain MOVs.
type trie struct {
	root   []uint32      // 1<<rootBits
	groups []uint32      // groupSize times the configured number
	dflt   atomic.Uint32 // NextHopID of the /0: not painted, a table with little but a default stays small
	_      [12]byte      // readers above, the owner's below

	refs    []uint32 // per group: prefixes longer than its base that pass through it
	pool    pool     // of groups
	regions []*mem.Region
}

// open maps the tables. The pages are touched as routes come.
func (t *trie) open(groups int, pages mem.Huge) error {
	root, err1 := mem.Map(4<<rootBits, pages)
	body, err2 := mem.Map(4*groupSize*groups, pages)
	refs, err3 := mem.Map(4*groups, mem.Plain)
	t.regions = []*mem.Region{root, body, refs}
	if err := errors.Join(err1, err2, err3); err != nil {
		return errors.Join(err, t.close())
	}
	t.root = mem.Slice[uint32](root, 1<<rootBits)
	t.groups = mem.Slice[uint32](body, groupSize*groups)
	t.refs = mem.Slice[uint32](refs, groups)
	t.pool.limit = uint32(groups)
	return nil
}

func (t *trie) close() error {
	var err error
	for _, r := range t.regions {
		err = errors.Join(err, r.Close())
	}
	t.root, t.groups, t.refs = nil, nil, nil
	return err
}

// key is a prefix as the trie walks it: IPv4 takes the first four bytes. Bits
// below the length are zero.
type key struct {
	addr [16]byte
	bits int
}

func (k *key) rootIndex() uint32 { return binary.BigEndian.Uint32(k.addr[:]) >> (32 - rootBits) }

// levelEnd is how many bits lead to a slot of the prefix's last level.
func (k *key) levelEnd() int {
	return max(rootBits, (k.bits+groupBits-1)/groupBits*groupBits)
}

// slotCount is how many slots of its last level a prefix covers.
func (k *key) slotCount() uint32 { return 1 << (k.levelEnd() - k.bits) }

// group returns the slots of group g.
func (t *trie) group(g uint32) []uint32 {
	return t.groups[g<<groupBits:][:groupSize:groupSize]
}

// missing is how many groups insert would take for k.
func (t *trie) missing(k *key) int {
	slot := &t.root[k.rootIndex()]
	for base := rootBits; base < k.bits; base += groupBits {
		if *slot&isGroup == 0 {
			return (k.levelEnd() - base) / groupBits
		}
		slot = &t.group(*slot &^ isGroup)[k.addr[base/8]]
	}
	return 0
}

// insert adds a prefix that is not in the trie. ErrFull changes nothing.
func (t *trie) insert(k *key, id NextHopID) error {
	if k.bits == 0 {
		t.dflt.Store(uint32(id))
		return nil
	}
	if n := t.missing(k); n > 0 && n > t.pool.available() {
		return t.full()
	}
	table, first := t.root, k.rootIndex()
	for base := rootBits; base < k.bits; base += groupBits {
		slot := &table[first]
		if *slot&isGroup == 0 {
			t.grow(slot)
		}
		g := *slot &^ isGroup
		t.refs[g]++
		table, first = t.group(g), uint32(k.addr[base/8])
	}
	t.paint(table[first:first+k.slotCount()], k.bits, id, k.bits)
	return nil
}

// full is the ErrFull of groups.
func (t *trie) full() error { return full("groups of long prefixes", int(t.pool.limit)) }

// grow puts a group behind the slot that answers as the slot did. The caller has
// made sure that there is one.
func (t *trie) grow(slot *uint32) {
	g, ok := t.pool.take()
	if !ok {
		panic("fib: no group left although they were counted")
	}
	slots := t.group(g)
	for i := range slots {
		slots[i] = *slot
	}
	atomic.StoreUint32(slot, isGroup|g) // publishes the fill above
}

// replace gives a prefix that is in the trie another next hop.
func (t *trie) replace(k *key, id NextHopID) {
	if k.bits == 0 {
		t.dflt.Store(uint32(id))
		return
	}
	table, first, _ := t.descend(k)
	t.paint(table[first:first+k.slotCount()], k.bits, id, k.bits)
}

// remove takes a prefix out; parent and parentBits are the next hop and length
// of the longest prefix that covers it, 0 and 0 when none but a default does.
func (t *trie) remove(k *key, parent NextHopID, parentBits int, grave *grave) {
	if k.bits == 0 {
		t.dflt.Store(0)
		return
	}
	table, first, path := t.descend(k)
	t.paint(table[first:first+k.slotCount()], k.bits, parent, parentBits)
	for _, slot := range path { // deepest first
		g := *slot &^ isGroup
		t.refs[g]--
		if t.refs[g] > 0 {
			continue
		}
		// No prefix here is longer than the slot, so all slots of the group are
		// alike. A worker that still follows the old entry finds the group
		// intact until the grave's time has come.
		atomic.StoreUint32(slot, t.group(g)[0])
		grave.bury(&t.pool, g)
	}
}

// descend finds the table and the first slot of a prefix that is in the trie,
// and the slots that led there, deepest first.
func (t *trie) descend(k *key) (table []uint32, first uint32, path []*uint32) {
	var buf [maxLevels]*uint32
	at := len(buf)
	table, first = t.root, k.rootIndex()
	for base := rootBits; base < k.bits; base += groupBits {
		at--
		buf[at] = &table[first]
		table, first = t.group(table[first]&^isGroup), uint32(k.addr[base/8])
	}
	return table, first, buf[at:]
}

// paint writes next hop id with length idBits into the slots, and all groups
// below them, that no prefix longer than bits has claimed.
//
// Inserting, replacing and removing are the same painting: before an insert no
// slot has the prefix's own length, and after it no slot has a shorter one.
func (t *trie) paint(slots []uint32, bits int, id NextHopID, idBits int) {
	entry := uint32(idBits)<<lengthShift | uint32(id)
	longest := uint32(bits)<<lengthShift | idMask // the largest entry that may be painted over
	for i := range slots {
		switch e := slots[i]; {
		case e == entry:
		case e <= longest:
			atomic.StoreUint32(&slots[i], entry)
		case e&isGroup != 0:
			t.paint(t.group(e&^isGroup), bits, id, idBits)
		}
	}
}
