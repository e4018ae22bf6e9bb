package fib

import (
	"encoding/binary"
	"sync/atomic"
)

// Lookup4 returns the next hop of an IPv4 address in host order, NoRoute if no
// prefix covers it. Workers and control side.
func (t *Table) Lookup4(dst uint32) NextHopID {
	e := atomic.LoadUint32(&t.v4.root[dst>>groupBits])
	if e&isGroup != 0 {
		e = atomic.LoadUint32(&t.v4.groups[e<<groupBits|dst&(groupSize-1)]) // the shift drops isGroup
	}
	return t.v4.answer(e)
}

// Lookup6 is Lookup4 for an IPv6 address in wire order.
func (t *Table) Lookup6(dst *[16]byte) NextHopID {
	e := atomic.LoadUint32(&t.v6.root[binary.BigEndian.Uint32(dst[:])>>(32-rootBits)])
	for level := rootBits / 8; e&isGroup != 0; level++ {
		e = atomic.LoadUint32(&t.v6.groups[e<<groupBits|uint32(dst[level&15])])
	}
	return t.v6.answer(e)
}

// answer turns a final entry into what a lookup returns.
func (t *trie) answer(e uint32) NextHopID {
	id := e & idMask
	if id == 0 {
		id = t.dflt.Load()
	}
	return NextHopID(id)
}
