package pipeline

import (
	"encoding/binary"
	"unsafe"

	"ffwd/fib"
	"ffwd/packet"
)

// lane takes a run of packets, all of one family and all that is asked of them done but
// the way out, from the route lookup to the device's queue in three passes: lookup,
// frame, queue. What it knows of them are a few arrays; no packet.Packet is touched.
//
// It makes the checks that Route, TTL, MTU and Rewrite make, before it writes anything,
// and ends at the first packet that one of them would keep or that has a choice of ways:
// this one and all behind it take the stages. So packets leave in the order they came.
//
// It belongs to the stages that find such runs, Express and Depart, and like them to one
// worker. Source: FF-1, FF-5, FF-7, FF-9, FF-12, FF-14.
type lane struct {
	*Worker
	n    int                             // packets in the run
	ipv6 bool                            // their family
	data [packet.MaxBurst]unsafe.Pointer // first byte of the frame: the mbuf may be out of the near caches
	size [packet.MaxBurst]uint16         // bytes of L3
	dst4 [packet.MaxBurst]uint32         // of IPv4
	dst6 [packet.MaxBurst]*[16]byte      // of IPv6
	to   [packet.MaxBurst]fib.AdjacencyIndex
}

// open tells whether packets may leave by the lane: nothing that stands between Route and
// Confirm asks for more than it does, and there is one routing table.
func (s *Snapshot) open() bool { return s.mayShorten() && len(s.Tables) == 1 }

// depart sends off the run, whose untagged frames are in mbufs, as far as it can. It
// returns how many packets that were.
func (l *lane) depart(mbufs []*packet.Mbuf) int {
	if l.n == 0 {
		return 0
	}
	table := l.snap.Tables[0]
	if l.ipv6 {
		table.ResolveBatch6(l.dst6[:l.n], l.to[:])
	} else {
		table.ResolveBatch4(l.dst4[:l.n], l.to[:])
	}
	lines := table.Lines()
	n, oneWay := l.rewrite(mbufs[:l.n], lines)
	l.counts[0].AddBurst(lines, l.to[:n], l.size[:n])
	if l.counter.FastForwarded += uint64(n); oneWay && n > 0 {
		l.queueAll(mbufs[:n], lines[l.to[0]].Iface)
		return n
	}
	for i, m := range mbufs[:n] {
		l.queue(l.snap.Interfaces[lines[l.to[i]].Iface].Port, m, 0)
	}
	return n
}

// rewrite writes hop limit and link header of the leading packets. It returns how many,
// and whether all of them leave by one interface.
func (l *lane) rewrite(mbufs []*packet.Mbuf, lines []fib.Adjacency) (n int, oneWay bool) {
	if len(mbufs) > packet.MaxBurst {
		return 0, false
	}
	le, first, differ := binary.LittleEndian, lines[l.to[0]].Iface, uint16(0)
	ipv6 := l.ipv6
	for i, m := range mbufs {
		a, size := &lines[l.to[i]], l.size[i]
		f := (*plainFrame)(l.data[i])
		if a.Kind != fib.Forward || a.L2Len != packet.EthernetLen || uint32(size) > a.MTUBytes {
			return i, differ == 0
		}
		if ipv6 {
			if f[packet.EthernetLen+7] <= 1 {
				return i, differ == 0
			}
			f[packet.EthernetLen+7]--
		} else {
			if f[packet.EthernetLen+8] <= 1 {
				return i, differ == 0
			}
			(*packet.IPv4)(f[packet.EthernetLen:]).DecrementTTL()
		}
		le.PutUint64(f[0:], le.Uint64(a.L2[0:]))
		le.PutUint32(f[8:], le.Uint32(a.L2[8:]))
		seal(m, packet.EthernetLen+size)
		differ |= a.Iface ^ first
	}
	return len(mbufs), differ == 0
}

// queueAll queues frames that leave by one interface.
func (l *lane) queueAll(mbufs []*packet.Mbuf, egress uint16) {
	port := l.snap.Interfaces[egress].Port
	t := &l.tx[port]
	if t.n+len(mbufs) > len(t.mbufs) {
		l.send(port)
	}
	bytes := uint64(len(mbufs) * packet.EthernetLen)
	for _, n := range l.size[:len(mbufs)] {
		bytes += uint64(n)
	}
	t.bytes += bytes
	copy(t.mbufs[t.n:], mbufs)
	if t.n += len(mbufs); t.n == len(t.mbufs) {
		l.send(port)
	}
}
