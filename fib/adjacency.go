package fib

import (
	"fmt"
	"net/netip"
)

// Kind is what is done with a packet whose route ends at an adjacency.
type Kind uint8

const (
	// None: no route covers the address. The zero value, so that what was
	// forgotten is not forwarded.
	None Kind = iota
	// Forward: L2 is complete; rewrite and transmit on Iface.
	Forward
	// Glean: the neighbour's MAC is not known. Gateway is the neighbour to
	// resolve; when Family is 0 it is the packet's destination itself.
	Glean
	// Local: the packet is for us. Iface has the address.
	Local
	// Broadcast: the destination is a subnet's broadcast or network address.
	Broadcast
	// Blackhole: drop silently and count.
	Blackhole
	// Unreachable: no usable next hop, or a route that says so.
	Unreachable
	// Prohibit: administratively prohibited.
	Prohibit
	// Group: several hops; Member picks one by the flow's hash.
	Group
	// Punt: a way that only the slow path has.
	Punt
)

var kindNames = [...]string{"none", "forward", "glean", "local", "broadcast",
	"blackhole", "unreachable", "prohibit", "group", "punt"}

// String gives the word used in listings and metrics.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// NextHopID names a next hop of one Table: what a lookup returns. It keeps its
// value while the hop's neighbour, link or members change. Below MaxNextHops.
type NextHopID uint32

// The next hops every Table has. NoRoute is what a lookup returns when no prefix
// covers the address.
const (
	NoRoute NextHopID = iota
	BlackholeID
	UnreachableID
	ProhibitID
	PuntID
	fixedIDs // the first ID that is handed out
)

// AdjacencyIndex is the place of an Adjacency in its Table. Like the Adjacency
// it is good until the worker's next quiescent state.
type AdjacencyIndex uint32

// Adjacency is all that the path needs to know of a packet's next hop: one cache
// line, outside the Go heap, never written after it was published.
type Adjacency struct {
	Kind     Kind
	L2Len    uint8  // bytes of link header before the network header: 14, or 18 with a tag
	MTUBytes uint16 // largest network packet, without link header
	Iface    uint16 // egress interface index; the owner's for Local; 0 is none
	Family   uint8  // of Gateway: 4, 6, or 0 when there is none
	_        uint8
	ID       NextHopID // the next hop this is the adjacency of
	age      uint32    // tells this next hop from others that had its ID: see Counter
	L2       [16]byte  // destination MAC, source MAC and, if L2Len is 18, the 802.1Q tag
	gateway  [16]byte  // 4 or 16 bytes by Family
	bucket   uint32    // Kind Group: index of the first of groupBuckets buckets
	_        [12]byte
}

// The link header the rewriter builds ends with the packet's own EtherType, the
// two bytes before the network header, which never change: whether the packet
// came or goes with a tag or without, it writes the L2Len-2 bytes of L2 at
// L3-L2Len.
//
//	0        6        12   16    18
//	| dst MAC | src MAC | tag | type | network header
//	`------- L2 --------------'
const (
	l2Untagged = 14
	l2Tagged   = 18
	tpid8021Q  = 0x8100 // IEEE 802.1Q-2018 table 9-1
)

// Gateway is the neighbour's address, invalid when Family is 0.
func (a *Adjacency) Gateway() netip.Addr {
	switch a.Family {
	case 4:
		return netip.AddrFrom4([4]byte(a.gateway[:4]))
	case 6:
		return netip.AddrFrom16(a.gateway)
	}
	return netip.Addr{}
}

// MAC is an Ethernet address in wire order.
type MAC [6]byte

// String formats as six pairs of hexadecimal digits with colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}
