package pipeline

import (
	"encoding/binary"

	"ffwd/fib"
	"ffwd/packet"
)

// lane takes a run of packets, all of one family and untagged, from the route lookup to
// the device's queue: way, leave. What it knows of them are their heads and a few arrays;
// no packet.Packet is touched.
//
// It makes the checks that Route, TTL, MTU and Rewrite make, before it writes anything,
// and ends at the first packet that one of them would keep or that has a choice of ways:
// this one and all behind it take the stages. So packets leave in the order they came.
//
// It belongs to the stages that find such runs, Express and Depart, and like them to one
// worker. Source: FF-1, FF-5, FF-7, FF-9, FF-12, FF-14.
type lane struct {
	*Worker
	n    int        // packets in the run
	ipv6 bool       // their family
	run  packet.Run // behind Depart, of Heads only Data
	to   [packet.MaxBurst]fib.AdjacencyIndex
	said [packet.MaxBurst]uint16 // what rules have decided, see allowed

	oneHop, oneWay bool // the run has one next hop; leaves by one interface
}

// open tells whether packets may leave by the lane: nothing that stands between Route and
// Confirm asks for more than it does, and there is one routing table.
func (s *Snapshot) open() bool { return s.mayShorten() && len(s.Tables) == 1 }

// way finds the next hops of the run, whose hop limits are above 1, and ends it before the
// first packet that is not just forwarded.
func (l *lane) way() {
	if l.n == 0 {
		return
	}
	table := l.snap.Tables[0]
	if l.ipv6 {
		table.ResolveBatch6(l.run.Dst6[:l.n], l.to[:])
	} else {
		table.ResolveBatch4(l.run.Dst4[:l.n], l.to[:])
	}
	lines, sizes := table.Lines(), &l.run.Size
	latest, most := ^l.to[0], uint32(0) // of the next hop before: most that go one way come together
	hops, first, differ := 0, lines[l.to[0]].Iface, uint16(0)
	for i, to := range l.to[:l.n] {
		if to != latest {
			a := &lines[to]
			if a.Kind != fib.Forward || a.L2Len != packet.EthernetLen {
				l.n = i
				break
			}
			latest, most = to, a.MTUBytes
			hops++
			differ |= a.Iface ^ first
		}
		if uint32(sizes[i&(packet.MaxBurst-1)]) > most {
			l.n = i
			break
		}
	}
	l.oneHop, l.oneWay = hops == 1, differ == 0
}

// leave sends off the run, whose frames are in mbufs.
func (l *lane) leave(mbufs []*packet.Mbuf) {
	if l.n == 0 {
		return
	}
	lines := l.snap.Tables[0].Lines()
	first := &lines[l.to[0]]
	bytes := l.rewrite(mbufs[:l.n], lines)
	if l.oneHop {
		l.counts[0].Add(first, uint64(l.n), bytes)
	} else {
		l.counts[0].AddBurst(lines, l.to[:l.n], l.run.Size[:l.n])
	}
	if l.counter.FastForwarded += uint64(l.n); l.oneWay {
		l.queueAll(mbufs[:l.n], first.Iface, bytes+uint64(l.n*packet.EthernetLen))
		return
	}
	for i, m := range mbufs[:l.n] {
		l.queue(l.snap.Interfaces[lines[l.to[i]].Iface].Port, m, 0)
	}
}

// rewritePlain is rewrite in Go.
func (l *lane) rewritePlain(mbufs []*packet.Mbuf, lines []fib.Adjacency) (bytes uint64) {
	if len(mbufs) > packet.MaxBurst {
		return 0
	}
	le, ipv6 := binary.LittleEndian, l.ipv6
	for i, m := range mbufs {
		a, f := &lines[l.to[i]], (*packet.PlainFrame4)(l.run.Heads[i].Data)
		if ipv6 {
			f[packet.EthernetLen+7]--
		} else {
			(*packet.IPv4)(f[packet.EthernetLen:]).DecrementTTL()
		}
		le.PutUint64(f[0:], le.Uint64(a.L2[0:]))
		le.PutUint32(f[8:], le.Uint32(a.L2[8:]))
		seal(m, packet.EthernetLen+l.run.Size[i])
		bytes += uint64(l.run.Size[i])
	}
	return bytes
}

// queueAll queues frames, of bytes altogether, that leave by one interface.
func (l *lane) queueAll(mbufs []*packet.Mbuf, egress uint16, bytes uint64) {
	port := l.snap.Interfaces[egress].Port
	t := &l.tx[port]
	if t.n+len(mbufs) > len(t.mbufs) {
		l.send(port)
	}
	t.bytes += bytes
	copy(t.mbufs[t.n:], mbufs)
	if t.n += len(mbufs); t.n == len(t.mbufs) {
		l.send(port)
	}
}
