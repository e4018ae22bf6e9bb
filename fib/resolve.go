package fib

import (
	"sync/atomic"
	"unsafe"
)

const adjacencyBytes = int(unsafe.Sizeof(Adjacency{}))

// One cache line, no more: this does not compile otherwise.
var _ [64 - adjacencyBytes]struct{}
var _ [adjacencyBytes - 64]struct{}

// Lines are all adjacencies, for AdjacencyIndex to index. As Adjacency otherwise.
func (t *Table) Lines() []Adjacency { return t.adjacencies }

// Adjacency is the line at i, which a batch lookup gave. It is read-only and good
// until the caller's next quiescent state. Workers.
func (t *Table) Adjacency(i AdjacencyIndex) *Adjacency { return &t.adjacencies[i] }

// Resolve is the adjacency of a next hop now. Read-only, good until the caller's next
// quiescent state. Workers and control side.
func (t *Table) Resolve(id NextHopID) *Adjacency {
	return &t.adjacencies[atomic.LoadUint32(&t.slots[id])]
}

// Usable is the adjacency of a next hop, nil while no packet can go by it: its
// interface is down or gone, or the gateway's subnet is. As Resolve otherwise.
// Workers. Source: FF-6.
func (t *Table) Usable(id NextHopID) *Adjacency {
	a := t.Resolve(id)
	if a.Kind == Unreachable || a.Kind != Group && !t.carrier(a.Iface) {
		return nil
	}
	return a
}

// Member picks the hop of a group for a flow. The same hash gives the same hop
// while that hop is usable. Adjacencies of any other kind are returned as they
// are. Workers. Source: FF-16.
//
// A member whose port has lost its carrier is passed over at once, before the
// control side has moved its buckets: failover as soon as SetCarrier was called.
func (t *Table) Member(a *Adjacency, hash uint32) *Adjacency {
	if a.Kind != Group {
		return a
	}
	// The bits of the hash that chose the queue are the same for all flows of
	// this worker; the multiplication (Knuth, 2^32/phi) brings in all the others.
	b := hash * 2654435769 >> (32 - groupBucketsLog2)
	var m *Adjacency
	for try := uint32(0); try < memberTries; try++ {
		m = t.Resolve(NextHopID(atomic.LoadUint32(&t.buckets[a.bucket+(b+try)%groupBuckets])))
		if m.Kind != Unreachable && t.carrier(m.Iface) {
			return m
		}
	}
	return m
}

// Leaves tells whether an adjacency leaves by an interface, or any hop of a group does
// that takes flows now. A group that does not costs a look at each of its buckets.
// Workers. Source: FF-15.
func (t *Table) Leaves(a *Adjacency, ifIndex uint16) bool {
	if a.Kind != Group {
		return a.Iface == ifIndex
	}
	for b := range uint32(groupBuckets) {
		if t.Resolve(NextHopID(atomic.LoadUint32(&t.buckets[a.bucket+b]))).Iface == ifIndex {
			return true
		}
	}
	return false
}

// memberTries bounds what a packet of a group pays while ports are down and
// control has not followed yet. Members alternate in the buckets, so that this
// many tries find another one unless nearly all are gone.
const memberTries = 16

// Select is Member for callers that want the next hop's ID.
func (t *Table) Select(a *Adjacency, hash uint32) NextHopID { return t.Member(a, hash).ID }

// SetCarrier tells the path that an interface's link came or went. It takes
// effect on groups with the next packet; SetLink, which is to follow on the
// control side, moves everything else. Any thread, no lock.
func (t *Table) SetCarrier(ifIndex uint16, up bool) {
	word, bit := &t.down[ifIndex/64], uint64(1)<<(ifIndex%64)
	if up {
		word.And(^bit)
	} else {
		word.Or(bit)
	}
}

func (t *Table) carrier(ifIndex uint16) bool {
	return t.down[ifIndex/64].Load()>>(ifIndex%64)&1 == 0
}

// IndexOf is the inverse of Adjacency. Workers.
func (t *Table) IndexOf(a *Adjacency) AdjacencyIndex {
	base := unsafe.Pointer(unsafe.SliceData(t.adjacencies))
	return AdjacencyIndex((uintptr(unsafe.Pointer(a)) - uintptr(base)) / uintptr(adjacencyBytes))
}
